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
import time

import numpy as np

from common import connect, load, recall, run, truth

METRICS = {"l2": ("<->", "real_l2_ops"), "ip": ("<#>", "real_ip_ops"), "cosine": ("<=>", "real_cosine_ops")}

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
    connection = connect(options.dsn)
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
            few = min(20, len(query))

            def search(queries, settings):
                times, ids = run(connection, queries, options.k, "wrvq_bench_base", "wrvq_bench_query", operator,
                                 settings=settings)
                return np.median(times), ids

            ms, found = search(len(query), {"enable_seqscan": "off"})
            everything = {"enable_seqscan": "off", "wrvq.probes": 65536, "wrvq.rerank": 100000000}
            _, by_index = search(few, everything)
            seq_ms, by_scan = search(few, {"enable_indexscan": "off"})
            print(f"{rows:8} {metric:7} {build:8.2f} {size:6.2f} {recall(found, expected):7.4f}"
                  f" {recall(by_index, by_scan):6.4f} {ms:7.3f} {seq_ms:7.2f} {seq_ms / ms:6.1f}", flush=True)
            connection.execute("DROP INDEX wrvq_bench_index")


if __name__ == "__main__":
    main()
