#!/usr/bin/env python3
"""Vectors stored as codes (wrvq_code) beside real[]: bytes, sequential scans, what is lost, and an index on codes alone.

Trains each codebook on the rows by the command-line tool, unless it is stored from an earlier run.  Times are the server's, one process, everything in shared
buffers: give it enough of them (1 GB).  Needs numpy and psycopg.
"""
import argparse
import os
import subprocess
import time

import numpy as np
from psycopg import conninfo

import common

K = 10
CODEBOOKS = {
    "flat:256,flat:256,product:4": 16,
    "flat:256,flat:256,product:6": 4,
    ",".join(["flat:256"] * 16): 4,
    ",".join(["flat:256"] * 8): 4,
}


def read_vectors(path, parts):
    """The rows of a file, or, for more dimensions, of `parts` rows one after another, of unit length."""
    rows = np.load(path).astype(np.float32)
    if parts == 1:
        return rows
    rows = rows[:len(rows) // parts * parts].reshape(-1, rows.shape[1] * parts)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def train(cli, dsn, name, levels, bits):
    server = conninfo.conninfo_to_dict(dsn)
    variables = {"PG" + {"dbname": "database"}.get(k, k).upper(): str(v) for k, v in server.items()}
    subprocess.run([cli, "train", "--table", "wrvq_bench_base", "--column", "embedding", "--name", name, "--levels", levels,
                    "--weight-bits", str(bits), "--seed", "1"],
                   env={**os.environ, **variables}, check=True, capture_output=True)


def search(connection, table, queries, settings):
    """Median ms of a query, and the ids that it found."""
    times, ids = common.run(connection, queries, K, table, "wrvq_bench_query", settings=settings)
    return float(np.median(times)), ids


def megabytes(connection, relation):
    return connection.execute("SELECT pg_total_relation_size(%s::regclass) / 1e6", (relation,)).fetchone()[0]


def correlation(connection, queries):
    return connection.execute(
        "SELECT avg(r) FROM (SELECT corr(c.embedding <-> q.embedding, b.embedding <-> q.embedding) AS r"
        " FROM wrvq_bench_query q, wrvq_bench_code c JOIN wrvq_bench_base b USING (id) WHERE q.id < %s GROUP BY q.id) s",
        (queries,)).fetchone()[0]


SEQUENTIAL = {"enable_indexscan": "off", "max_parallel_workers_per_gather": 0}
BY_INDEX = {"enable_seqscan": "off"}


def measure(connection, arguments, dimensions, expected, plain, levels, bits):
    name = f"bench {dimensions} {levels} {bits}"
    if connection.execute("SELECT FROM wrvq.wrvq_codebook WHERE name = %s", (name,)).rowcount == 0:
        train(arguments.cli, arguments.dsn, name, levels, bits)
    if arguments.train_only:
        return
    connection.execute("DROP TABLE IF EXISTS wrvq_bench_code")
    connection.execute("SET max_parallel_workers_per_gather = 0")
    start = time.perf_counter()
    connection.execute("CREATE TABLE wrvq_bench_code AS SELECT id, wrvq_encode(%s, embedding) AS embedding FROM wrvq_bench_base",
                       (name,))
    encoded = time.perf_counter() - start
    connection.execute("VACUUM ANALYZE wrvq_bench_code")
    bytes = connection.execute("SELECT pg_column_size(embedding) FROM wrvq_bench_code LIMIT 1").fetchone()[0]
    ms, found = search(connection, "wrvq_bench_code", arguments.code_scans, SEQUENTIAL)
    short = levels if levels.count(",") < 4 else f"{levels.count(',') + 1} × flat:256"
    rows = connection.execute("SELECT count(*) FROM wrvq_bench_base").fetchone()[0]
    print(f"{short}, {bits} bits: {bytes} bytes, table {megabytes(connection, 'wrvq_bench_code'):.1f} MB, encoded {rows / encoded:,.0f} rows/s, "
          f"scan {ms:.2f} ms = {plain / ms:.1f} times, correlation {correlation(connection, 5):.4f}, "
          f"scan recall {common.recall(found, expected[:arguments.code_scans]):.3f}", flush=True)
    for title, options in (("the codes' codebook", ""), ("a codebook of its own", f"WITH (lists = {round(4 * rows ** 0.5)})")):
        measure_index(connection, expected, found, title, options)


def measure_index(connection, expected, scanned, title, options):
    """An index on the codes; scanned: what a scan of them finds, of the first queries."""
    start = time.perf_counter()
    connection.execute(f"CREATE INDEX wrvq_bench_code_index ON wrvq_bench_code USING wrvq (embedding) {options}")
    built = time.perf_counter() - start
    ms, found = search(connection, "wrvq_bench_code", len(expected), BY_INDEX)
    rows = connection.execute("SELECT wrvq_recall('wrvq_bench_code_index', 10, 300)").fetchone()[0]
    print(f"  index with {title}: {megabytes(connection, 'wrvq_bench_code_index'):.1f} MB, built in {built:.2f} s, {ms:.3f} ms, "
          f"recall {common.recall(found, expected):.3f}, of the codes {common.recall(found[:len(scanned)], scanned):.3f}, "
          f"for rows {rows:.3f}", flush=True)
    connection.execute("DROP INDEX wrvq_bench_code_index")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query", required=True)
    parser.add_argument("--dsn", required=True)
    parser.add_argument("--cli", default=".build/release/wrvq")
    parser.add_argument("--parts", type=int, default=1, help="vectors of so many rows each, for more dimensions")
    parser.add_argument("--codebooks", type=int, nargs="+", default=range(len(CODEBOOKS)), help="which, from 0")
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--scans", type=int, default=20, help="queries by sequential scan of the vectors")
    parser.add_argument("--code-scans", type=int, default=200, help="queries by sequential scan of the codes")
    parser.add_argument("--queries", type=int, default=300, help="queries by index")
    arguments = parser.parse_args()
    connection = common.connect(arguments.dsn)
    connection.execute("CREATE EXTENSION IF NOT EXISTS wrvq")
    base, query = (read_vectors(path, arguments.parts) for path in (arguments.base, arguments.query))
    query = query[:arguments.queries]
    common.load(connection, "wrvq_bench_base", base)
    common.load(connection, "wrvq_bench_query", query)
    # in line: nobody's query comes out of TOAST for every row
    connection.execute("ALTER TABLE wrvq_bench_query ALTER embedding SET STORAGE PLAIN")
    connection.execute("UPDATE wrvq_bench_query SET embedding = embedding || '{}'::real[]")
    connection.execute("VACUUM FULL ANALYZE wrvq_bench_query")
    expected = common.truth(base, query, "l2", K)
    plain, found = search(connection, "wrvq_bench_base", arguments.scans, SEQUENTIAL)
    print(f"{len(base)} rows of {base.shape[1]} dimensions as real[]: {megabytes(connection, 'wrvq_bench_base'):.1f} MB, "
          f"sequential scan {plain:.2f} ms, recall {common.recall(found, expected[:arguments.scans]):.3f}", flush=True)
    for levels, bits in [list(CODEBOOKS.items())[i] for i in arguments.codebooks]:
        measure(connection, arguments, base.shape[1], expected, plain, levels, bits)


if __name__ == "__main__":
    main()
