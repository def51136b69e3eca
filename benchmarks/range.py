#!/usr/bin/env python3
"""Range search: what spheres of so many rows find and take, by index and by sequential scan.

    pip install numpy 'psycopg[binary]'
    benchmarks/range.py --base BASE.npy --query QUERY.npy --dsn 'host=… dbname=…' [--metric l2] [--queries 100]

Every query's radius lies halfway between the distances of its k-th and its next row, so that k rows are inside.  Recall is
the share of them that is found; times are medians of single queries taken inside the server.  Drops and creates tables
bench_….
"""
import argparse

import numpy as np

from common import connect, load

OPERATOR = {"l2": "<<->>", "ip": "<<#>>", "cosine": "<<=>>"}
ROWS = (1, 3, 10, 20, 50, 200, 1000, 5000)

LOOP = """
CREATE OR REPLACE FUNCTION bench_range(radii float8[], OUT times float8[], OUT counts int[]) LANGUAGE plpgsql AS $$
DECLARE
    q record;
    start timestamptz;
    found int;
BEGIN
    times := '{{}}';
    counts := '{{}}';
    FOR q IN SELECT id, embedding FROM bench_query WHERE id < cardinality(radii) ORDER BY id LOOP
        start := clock_timestamp();
        SELECT count(*) INTO found FROM bench_base WHERE embedding {operator} wrvq_sphere(q.embedding, radii[q.id + 1]);
        times := times || extract(epoch FROM clock_timestamp() - start)::float8 * 1000;
        counts := counts || found;
    END LOOP;
END $$"""


def sorted_distances(base, query, metric):
    """[queries][rows], in double precision, as the operators have them."""
    base, query = base.astype(np.float64), query.astype(np.float64)
    products = query @ base.T
    squares = (base * base).sum(1)[None], (query * query).sum(1)[:, None]
    if metric == "l2":
        distances = np.sqrt(np.maximum(squares[0] + squares[1] - 2 * products, 0))
    elif metric == "ip":
        distances = -products
    else:
        distances = 1 - products / np.sqrt(squares[0] * squares[1])
    return np.sort(distances, axis=1)


def measure(connection, radii, **settings):
    """Times in ms and rows found, a query each."""
    with connection.transaction():
        for name, value in settings.items():
            connection.execute(f"SET LOCAL {name} = {value}")
        times, counts = connection.execute("SELECT * FROM bench_range(%s)", ([float(r) for r in radii],)).fetchone()
    return np.array(times), np.array(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--dsn", default="")
    parser.add_argument("--metric", choices=OPERATOR, default="l2")
    parser.add_argument("--queries", type=int, default=100)
    options = parser.parse_args()
    base = np.load(options.base).astype(np.float32)
    query = np.load(options.query).astype(np.float32)[:options.queries]
    distances = sorted_distances(base, query, options.metric)

    connection = connect(options.dsn)
    connection.execute("CREATE EXTENSION IF NOT EXISTS wrvq")
    load(connection, "bench_base", base)
    load(connection, "bench_query", query)
    connection.execute(f"CREATE INDEX ON bench_base USING wrvq (embedding real_{options.metric}_ops)")
    connection.execute(LOOP.format(operator=OPERATOR[options.metric]))
    print(f"{len(base):,} rows of {base.shape[1]} dimensions, {len(query):,} queries, {options.metric}")
    by_index, by_scan = {"enable_seqscan": "off"}, {"enable_indexscan": "off", "enable_bitmapscan": "off"}
    for rows in ROWS:
        radii = (distances[:, rows - 1] + distances[:, rows]) / 2
        line = f"{rows:6,} rows:"
        for target in (0.9, 0.95, 0.99):
            times, counts = measure(connection, radii, **by_index, **{"wrvq.target_recall": target})
            line += f"  at {target} {(counts / rows).mean():.4f} in {np.median(times):.2f} ms"
        # the function has kept a plan with the index
        connection.execute("DISCARD PLANS")
        times, counts = measure(connection, radii[:20], **by_scan)
        connection.execute("DISCARD PLANS")
        print(f"{line}  by scan {(counts / rows).mean():.4f} in {np.median(times):.1f} ms", flush=True)


if __name__ == "__main__":
    main()
