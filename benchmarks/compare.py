#!/usr/bin/env python3
"""wrvq beside pgvector's HNSW and IVFFlat on one server: build, size, recall and time, filters, clients.

    pip install numpy 'psycopg[binary]'
    benchmarks/compare.py --base BASE.npy [--query QUERY.npy] --dsn 'host=… dbname=…' [--json FILE]

Needs a server with both extensions (benchmarks/bench makes one).  Without --query, the last 1,000 rows of the base are
held out as queries.  wrvq indexes a real[], pgvector's indexes a vector; with --type, both the same vector or halfvec.
Times are medians of single queries taken inside the server (see common.py); "at recall r" is read off the measured curve,
straight between its points on a logarithmic axis of time.  Drops and creates tables bench_….

With --cli, the tool also trains a codebook on the table, and an index is built with it.  With --bindir (of the server's
programs), pgbench says what clients see: prepared statements, the query vector from a table by its number, at the first
setting tried that has a recall of .95.
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import time

import numpy as np

from common import connect, load, recall, run, truth

OPERATOR = {"l2": "<->", "ip": "<#>", "cosine": "<=>"}
COLUMN = {"real": "real[]"}
# for each type of column that wrvq is to index: the columns of wrvq and of pgvector
TYPES = {"real": ("real", "vector"), "vector": ("vector", "vector"), "halfvec": ("halfvec", "halfvec")}
K = 10
RECALLS = (0.95, 0.99)
# settings for filters: at those of unfiltered queries HNSW finds less, at the second ones about as much as wrvq
FILTERED = {
    "wrvq": ({},),
    "HNSW": ({"hnsw.iterative_scan": "strict_order", "hnsw.ef_search": 120},
             {"hnsw.iterative_scan": "relaxed_order", "hnsw.ef_search": 800}),
}


class Contender:
    """An index: how to make it, on which table, and the settings to try."""

    def __init__(self, name, table, ddl, setting, values):
        self.name, self.table, self.ddl, self.setting, self.values = name, table, ddl, setting, values

    def build(self, connection, times=1):
        """Median seconds of some builds, and megabytes."""
        seconds = []
        for _ in range(times):
            connection.execute("DROP INDEX IF EXISTS bench_index")
            start = time.monotonic()
            connection.execute(f"CREATE INDEX bench_index ON {self.table} {self.ddl}")
            seconds.append(time.monotonic() - start)
        size = connection.execute("SELECT pg_relation_size('bench_index')").fetchone()[0]
        return float(np.median(seconds)), size / 1e6


def contenders(types, metric, rows):
    ours, theirs = (f"bench_{type}" for type in types)
    our_class, their_class = (f"{type}_{metric}_ops" for type in types)
    targets = (0.7, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999)
    lists = max(1, rows // 1000)
    probes = sorted({max(1, round(lists * share)) for share in (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)})
    return [
        Contender("wrvq", ours, f"USING wrvq (embedding {our_class})", "wrvq.target_recall", targets),
        Contender("wrvq, spill = 2", ours, f"USING wrvq (embedding {our_class}) WITH (spill = 2)",
                  "wrvq.target_recall", targets),
        Contender("HNSW", theirs, f"USING hnsw (embedding {their_class}) WITH (m = 16, ef_construction = 64)",
                  "hnsw.ef_search", (20, 40, 80, 120, 160, 240, 400, 800)),
        Contender("IVFFlat", theirs, f"USING ivfflat (embedding {their_class}) WITH (lists = {lists})",
                  "ivfflat.probes", probes),
    ]


def query_table(table):
    return table.replace("bench_", "bench_query_")


def measure(connection, contender, metric, queries, expected):
    """The curve: (setting, recall, median ms)."""
    curve = []
    for value in contender.values:
        times, ids = run(connection, queries, K, contender.table, query_table(contender.table), OPERATOR[metric],
                         settings={"enable_seqscan": "off", contender.setting: value})
        curve.append((value, recall(ids, expected), float(np.median(times))))
        if curve[-1][1] > 0.9985:
            break
    return curve


def time_at(curve, wanted):
    """Median ms at a recall, or None where the curve does not reach it."""
    points = sorted((r, ms) for _, r, ms in curve)
    recalls, logs = [r for r, _ in points], [np.log(ms) for _, ms in points]
    if recalls[-1] < wanted:
        return None
    return float(np.exp(np.interp(wanted, recalls, logs)))


def measure_filters(connection, contender, metric, base, query, settings):
    """For filters that one row in 10, 100, 1,000 passes: recall@10, queries that came back short, median ms."""
    results = []
    for every in (10, 100, 1000):
        keep = np.arange(len(base)) % every == 3 % every
        if keep.sum() < 2 * K:
            continue
        expected = np.where(keep)[0][truth(base[keep], query, metric, K)]
        times, ids = run(connection, len(query), K, contender.table, query_table(contender.table), OPERATOR[metric],
                         filter=f"id % {every} = {3 % every}",
                         settings={"enable_seqscan": "off", "enable_sort": "off", **settings})
        results.append((1 / every, recall(ids, expected), int((ids < 0).any(axis=1).sum()), float(np.median(times))))
    return results


def build_with_ready_codebook(connection, contender, options):
    """Trains a codebook by the tool; median seconds of some builds with it."""
    connection.execute("DELETE FROM wrvq.wrvq_codebook WHERE name = 'bench'")
    subprocess.run([options.cli, "train", "--dbname", options.dsn, "--table", contender.table, "--column", "embedding",
                    "--metric", options.metric, "--name", "bench"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ready = Contender("ready", contender.table, contender.ddl + " WITH (codebook = bench)", None, ())
    return ready.build(connection, 5)[0]


def client_rates(contender, metric, queries, curve, options):
    """Queries a second that 1 and 2 clients of pgbench get answered, and the setting."""
    value = next((value for value, r, _ in curve if r >= RECALLS[0]), None)
    if value is None:
        return None
    table = contender.table
    rates = []
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"\\set n random(0, {queries - 1})\n"
                     f"SELECT id FROM {table} ORDER BY embedding {OPERATOR[metric]}"
                     f" (SELECT embedding FROM {query_table(table)} WHERE id = :n) LIMIT {K};\n")
        script.flush()
        for clients in (1, 2):
            output = subprocess.run([os.path.join(options.bindir, "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "1",
                                     "-T", "5", "-f", script.name, options.dsn],
                                    env={**os.environ, "PGOPTIONS": f"-c enable_seqscan=off -c {contender.setting}={value}"},
                                    capture_output=True, text=True, check=True).stdout
            rates.append(float(re.search(r"tps = ([0-9.]+)", output).group(1)))
    return value, rates


def own_recall(connection, targets):
    """What wrvq_recall() says of rows of the table."""
    result = []
    for target in targets:
        connection.execute(f"SET wrvq.target_recall = {target}")
        result.append((target, connection.execute("SELECT wrvq_recall('bench_index', 10, 1000)").fetchone()[0]))
    connection.execute("RESET wrvq.target_recall")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--query")
    parser.add_argument("--dsn", default="")
    parser.add_argument("--metric", choices=OPERATOR, default="l2")
    parser.add_argument("--type", choices=TYPES, default="real", help="of the column that wrvq indexes")
    parser.add_argument("--cli", help="the command-line tool")
    parser.add_argument("--bindir", help="the server's programs")
    parser.add_argument("--json", help="write all figures here")
    options = parser.parse_args()
    base = np.load(options.base).astype(np.float32)
    if options.query:
        query = np.load(options.query).astype(np.float32)
    else:
        order = np.random.default_rng(7).permutation(len(base))
        base, query = base[order[1000:]], base[order[:1000]]
    if options.type == "halfvec":
        base, query = (vectors.astype(np.float16).astype(np.float32) for vectors in (base, query))
    expected = truth(base, query, options.metric, K)

    connection = connect(options.dsn)
    connection.execute("CREATE EXTENSION IF NOT EXISTS wrvq_pgvector CASCADE")
    types = TYPES[options.type]
    for type in dict.fromkeys(types):
        load(connection, f"bench_{type}", base, COLUMN.get(type, type))
        load(connection, f"bench_query_{type}", query, COLUMN.get(type, type))
        connection.execute(f"ALTER TABLE bench_query_{type} ADD PRIMARY KEY (id)")
    print(f"{len(base):,} rows of {base.shape[1]} dimensions, {len(query):,} queries, {options.metric},"
          f" wrvq on {options.type}; "
          + connection.execute("SHOW server_version").fetchone()[0])

    report = {}
    for contender in contenders(types, options.metric, len(base)):
        is_wrvq = contender.name.startswith("wrvq")
        entry = {}
        if contender.name == "wrvq" and options.cli:
            entry["ready_build_s"] = build_with_ready_codebook(connection, contender, options)
        entry["build_s"], entry["megabytes"] = contender.build(connection, 3 if is_wrvq else 1)
        print(f"\n{contender.name}: built in {entry['build_s']:.2f} s, {entry['megabytes']:.1f} MB")
        if "ready_build_s" in entry:
            print(f"  with a ready codebook: {entry['ready_build_s']:.2f} s")
        # IVFFlat takes tens of milliseconds: a fifth of the queries will do
        queries = 200 if contender.name == "IVFFlat" else len(query)
        curve = measure(connection, contender, options.metric, queries, expected[:queries])
        for value, r, ms in curve:
            print(f"  {contender.setting} = {value:<6} recall@{K} {r:.4f}  {ms:7.3f} ms")
        entry["curve"] = curve
        if options.bindir and contender.name != "IVFFlat":
            entry["clients"] = client_rates(contender, options.metric, len(query), curve, options)
            if entry["clients"]:
                value, rates = entry["clients"]
                print(f"  pgbench, {contender.setting} = {value}: {rates[0]:,.0f} queries a second, two clients {rates[1]:,.0f}")
        if is_wrvq:
            entry["own_rows"] = own_recall(connection, (0.9, 0.95, 0.98, 0.99))
            print("  rows of the table: " + ", ".join(f"{t}: {r:.4f}" for t, r in entry["own_rows"]))
        entry["filters"] = []
        for settings in FILTERED.get(contender.name, ()):
            results = measure_filters(connection, contender, options.metric, base, query[:200], settings)
            entry["filters"].append((settings, results))
            for share, r, short, ms in results:
                print(f"  filter {share:.1%}: recall@{K} {r:.4f}, {short} of 200 short, {ms:.2f} ms"
                      + "".join(f", {value}" for value in settings.values()))
        report[contender.name] = entry
    connection.execute("DROP INDEX bench_index")

    print(f"\n{'index':18}{'build s':>9}{'MB':>8}" + "".join(f"{f'ms at {r}':>12}{'per s':>8}" for r in RECALLS))
    for name, entry in report.items():
        line = f"{name:18}{entry['build_s']:9.2f}{entry['megabytes']:8.1f}"
        for r in RECALLS:
            ms = time_at(entry["curve"], r)
            line += f"{ms:12.3f}{1000 / ms:8.0f}" if ms else f"{'–':>12}{'–':>8}"
        print(line)
    ours, hnsw = report["wrvq"], report["HNSW"]
    print(f"wrvq against HNSW: build {hnsw['build_s'] / ours['build_s']:.1f} × faster,"
          + (f" with a ready codebook {hnsw['build_s'] / ours['ready_build_s']:.1f} ×," if "ready_build_s" in ours else "") +
          f" {hnsw['megabytes'] / ours['megabytes']:.1f} × smaller", end="")
    for r in RECALLS:
        a, b = time_at(ours["curve"], r), time_at(hnsw["curve"], r)
        if a and b:
            print(f", {b / a:.1f} × the throughput at {r}", end="")
    print()
    if options.json:
        with open(options.json, "w") as file:
            json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
