#!/usr/bin/env python3
"""Recall, time and size of wrvq on a set of vectors, against the exact answer.

    pip install numpy 'psycopg[binary]'
    benchmarks/recall.py --base BASE.npy --query QUERY.npy --dsn 'host=… dbname=…'

For each metric, on the vectors as they are and with every row scaled by a lognormal factor (sigma 0.5), builds an index
with default options and prints: build time, index size, recall@k at default settings, recall with every list visited
and everything reranked, and the median server-side time of a query with the index and by sequential scan.  Times are
taken inside the server by a PL/pgSQL loop over a table of query vectors: neither round trips nor the parsing of vector
text count.  Drops and creates the tables wrvq_bench_base and wrvq_bench_query.
"""
import argparse
import struct
import time

import numpy as np
import psycopg

METRICS = {"l2": ("<->", "real_l2_ops"), "ip": ("<#>", "real_ip_ops"), "cosine": ("<=>", "real_cosine_ops")}

LOOP = """
CREATE OR REPLACE FUNCTION wrvq_bench_run(operator text, k int, queries int, OUT ms float8, OUT ids int[])
LANGUAGE plpgsql AS $$
DECLARE
    q record;
    start timestamptz;
    times float8[] := '{}';
    found int[];
BEGIN
    ids := '{}';
    FOR q IN SELECT embedding FROM wrvq_bench_query WHERE id < queries ORDER BY id LOOP
        start := clock_timestamp();
        EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM wrvq_bench_base ORDER BY embedding %s $1 LIMIT %s) s',
            operator, k) INTO found USING q.embedding;
        times := times || extract(epoch FROM clock_timestamp() - start)::float8 * 1000;
        ids := ids || found || array_fill(-1, ARRAY[k - coalesce(cardinality(found), 0)]);
    END LOOP;
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY t) INTO ms FROM unnest(times) t;
END $$"""


def copy_vectors(connection, table, vectors):
    """Binary COPY: rows (id, embedding real[])."""
    element = np.zeros(vectors.shape, dtype=[("length", ">i4"), ("value", ">f4")])
    element["length"] = 4
    element["value"] = vectors
    header = struct.pack(">iiIii", 1, 0, 700, vectors.shape[1], 1)
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for i, row in enumerate(element):
            body = header + row.tobytes()
            copy.write(struct.pack(">hiii", 2, 4, i, len(body)) + body)
        copy.write(struct.pack(">h", -1))


def load(connection, table, vectors):
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"CREATE TABLE {table} (id int, embedding real[])")
    copy_vectors(connection, table, vectors)
    connection.execute(f"VACUUM ANALYZE {table}")


def truth(base, query, metric, k):
    """The exact k nearest rows of every query, in double precision where they are close."""
    if metric == "cosine":
        base = base / np.maximum(np.linalg.norm(base, axis=1, keepdims=True), 1e-30)
    score = query @ base.T
    if metric == "l2":
        score -= 0.5 * (base * base).sum(1)
    return np.argpartition(-score, k, axis=1)[:, :k]


def run(connection, operator, k, queries, settings):
    with connection.transaction():
        for name, value in settings.items():
            connection.execute(f"SET LOCAL {name} = {value}")
        ms, ids = connection.execute("SELECT * FROM wrvq_bench_run(%s, %s, %s)", (operator, k, queries)).fetchone()
    return ms, np.array(ids).reshape(queries, k)


def recall(found, expected):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, expected)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--dsn", default="")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    base, query = np.load(options.base).astype(np.float32), np.load(options.query).astype(np.float32)
    factors = np.exp(0.5 * np.random.default_rng(options.seed).standard_normal((len(base), 1))).astype(np.float32)
    connection = psycopg.connect(options.dsn, autocommit=True)
    connection.execute(LOOP)
    load(connection, "wrvq_bench_query", query)
    print(f"{'rows':8} {'metric':7} {'build s':>8} {'MB':>6} {'recall':>7} {'exact':>6} {'ms':>7} {'seq ms':>7} {'ratio':>6}")
    for rows, vectors in (("plain", base), ("scaled", base * factors)):
        load(connection, "wrvq_bench_base", vectors)
        for metric, (operator, opclass) in METRICS.items():
            expected = truth(vectors, query, metric, options.k)
            start = time.monotonic()
            connection.execute(f"CREATE INDEX wrvq_bench_index ON wrvq_bench_base USING wrvq (embedding {opclass})")
            build = time.monotonic() - start
            size = connection.execute("SELECT pg_relation_size('wrvq_bench_index')").fetchone()[0] / 1e6
            ms, found = run(connection, operator, options.k, len(query), {"enable_seqscan": "off"})
            everything = {"enable_seqscan": "off", "wrvq.probes": 65536, "wrvq.rerank": 100000000}
            few = min(20, len(query))
            _, by_index = run(connection, operator, options.k, few, everything)
            seq_ms, by_scan = run(connection, operator, options.k, few, {"enable_indexscan": "off"})
            print(f"{rows:8} {metric:7} {build:8.2f} {size:6.2f} {recall(found, expected):7.4f}"
                  f" {recall(by_index, by_scan):6.4f} {ms:7.3f} {seq_ms:7.2f} {seq_ms / ms:6.1f}", flush=True)
            connection.execute("DROP INDEX wrvq_bench_index")


if __name__ == "__main__":
    main()
