#!/usr/bin/env python3
"""What writing costs with wrvq, with pgvector's HNSW and without an index, on one server.

    pip install numpy 'psycopg[binary]'
    benchmarks/writes.py --base BASE.npy --dsn 'host=… dbname=…' [--rows 50000] [--json FILE]

Needs a server with both extensions (see benchmarks/bench).  The first rows fill the tables, as many again are what is
written.  Single statements run in PL/pgSQL, so that neither round trips nor the parsing of vectors count.  --step prepare
loads and builds, --step measure measures; without it, both.  Drops and creates tables bench_….
"""
import argparse
import json
import multiprocessing
import re
import struct
import subprocess
import threading
import time

import numpy as np

from common import BINARY, connect

# name, type of the column, index
TABLES = {
    "plain": ("real[]", None),
    "plain_vector": ("vector", None),
    "wrvq": ("real[]", "USING wrvq (embedding)"),
    "hnsw": ("vector", "USING hnsw (embedding vector_l2_ops)"),
}
WITHOUT_INDEX = {"wrvq": "plain", "hnsw": "plain_vector"}
INSERTED = {"plain": 5000, "plain_vector": 5000, "wrvq": 5000, "hnsw": 2000}
UPDATED = 1000
INSERTERS = 4

INSERT = """
DO $$ DECLARE new record; BEGIN
    FOR new IN SELECT embedding FROM bench_new_{kind} WHERE id >= {start} AND id < {start} + {count} LOOP
        INSERT INTO bench_{table} VALUES ({start}, 0, new.embedding);
        {commit}
    END LOOP;
END $$"""


def kind(type):
    return "real" if type == "real[]" else type


def copy_rows(connection, table, vectors, type, text=False):
    """COPY into (id, round, embedding); seconds."""
    if text:
        data = "".join(f"{i}\t0\t{{{','.join(map(repr, row))}}}\n" for i, row in enumerate(vectors.tolist())).encode()
    else:
        encode = BINARY[type]
        rows = (struct.pack(">hiiiii", 3, 4, i, 4, 0, len(body)) + body for i, body in enumerate(map(encode, vectors)))
        data = b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"".join(rows) + struct.pack(">h", -1)
    start = time.monotonic()
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN" + ("" if text else " (FORMAT binary)")) as copy:
        for at in range(0, len(data), 1 << 16):
            copy.write(data[at:at + (1 << 16)])
    return time.monotonic() - start


def make_table(connection, name, type, vectors):
    connection.execute(f"DROP TABLE IF EXISTS {name}")
    connection.execute(f"CREATE TABLE {name} (id int, round int, embedding {type}{'' if type == 'real[]' else f'({vectors.shape[1]})'})"
                       " WITH (autovacuum_enabled = off)")
    # rows of 384 dimensions stay in the table with either type
    connection.execute(f"ALTER TABLE {name} ALTER embedding SET STORAGE PLAIN")
    copy_rows(connection, name, vectors, type)


def prepare(connection, base, new):
    for extension in ("wrvq", "vector"):
        connection.execute(f"CREATE EXTENSION IF NOT EXISTS {extension}")
    for type in ("real[]", "vector"):
        make_table(connection, f"bench_new_{kind(type)}", type, new)
        connection.execute(f"CREATE INDEX ON bench_new_{kind(type)} (id)")
    for table, (type, index) in TABLES.items():
        make_table(connection, f"bench_{table}", type, base)
        if index:
            start = time.monotonic()
            connection.execute(f"CREATE INDEX bench_{table}_index ON bench_{table} {index}")
            print(f"{table}: built in {time.monotonic() - start:.1f} s")
        connection.execute(f"VACUUM ANALYZE bench_{table}")


def timed(connection, statement):
    """Seconds, and bytes of WAL."""
    before = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
    start = time.monotonic()
    connection.execute(statement)
    seconds = time.monotonic() - start
    return seconds, int(connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (before,)).fetchone()[0])


def insert(connection, table, start, count, commit=False):
    """Inserts rows in one transaction, or each in its own."""
    statement = INSERT.format(kind=kind(TABLES[table][0]), table=table, start=start, count=count, commit="COMMIT;" if commit else "")
    seconds, wal = timed(connection, statement)
    return {"us": 1e6 * seconds / count, "wal": wal / count}


def concurrent_rate(dsn, table, inserters, start, count, commit=False):
    """Rows a second that so many sessions insert together, as insert()."""
    connections = [connect(dsn) for _ in range(inserters)]
    threads = [threading.Thread(target=insert, args=(c, table, start + i * count, count, commit)) for i, c in enumerate(connections)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    for connection in connections:
        connection.close()
    return inserters * count / seconds


def count(queue):
    end, sum = time.monotonic() + 2, 0
    while time.monotonic() < end:
        for i in range(1000):
            sum += i
    queue.put(sum)


def cpu_scaling(processes):
    """How much more so many processes get done than one, if all they do is compute."""
    done = []
    for n in (1, processes):
        queue = multiprocessing.Queue()
        workers = [multiprocessing.Process(target=count, args=(queue,)) for _ in range(n)]
        for worker in workers:
            worker.start()
        done.append(sum(queue.get() for _ in workers))
        for worker in workers:
            worker.join()
    return done[1] / done[0]


def index_wal(connection, table, before, bindir):
    """Bytes of the generic WAL records of a table's index since a position, full pages included; and pages they changed."""
    after, directory, file = connection.execute(
        "SELECT pg_current_wal_flush_lsn(), current_setting('data_directory'), pg_relation_filenode(%s)", (f"bench_{table}_index",)).fetchone()
    text = subprocess.run([f"{bindir}/pg_waldump", "-p", f"{directory}/pg_wal", "-r", "Generic", "-s", before, "-e", after],
                          capture_output=True, text=True, check=True).stdout
    total, pages = 0, set()
    for line in text.splitlines():
        blocks = re.findall(rf"rel \d+/\d+/{file} (?:fork \w+ )?blk (\d+)", line)
        if blocks:
            total += int(re.search(r"len \(rec/tot\):\s*\d+/\s*(\d+)", line).group(1))
            pages.update(blocks)
    return total, len(pages)


def measure_table(connection, table, report):
    count = INSERTED[table]
    connection.execute("CHECKPOINT")
    insert(connection, table, 0, 100)
    entry = report[table] = {"insert": insert(connection, table, 100, count - 100)}
    # five rows to a page, which is full: none of the new versions finds room beside the old one
    pages = f"ctid >= '(1000,0)' AND ctid < '({1000 + UPDATED // 5},0)'"
    entry["update_rows"] = connection.execute(f"SELECT count(*) FROM bench_{table} WHERE {pages}").fetchone()[0]
    entry["update_s"] = timed(connection, f"UPDATE bench_{table} SET round = 1 WHERE {pages}")[0]


def measure_vacuum(connection, table, entry, bindir):
    connection.execute(f"VACUUM bench_{table}")
    connection.execute(f"DELETE FROM bench_{table} WHERE id % 10 = 3")
    connection.execute("CHECKPOINT")
    before = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
    entry["vacuum_s"], entry["vacuum_wal"] = timed(connection, f"VACUUM bench_{table}")
    if bindir and table != "plain":
        connection.execute("SELECT pg_switch_wal()")
        entry["vacuum_index_wal"], entry["vacuum_index_pages"] = index_wal(connection, table, before, bindir)


def measure(connection, options, base, new):
    report = {"cpu_scaling": cpu_scaling(INSERTERS)}
    tables = [table for table in TABLES if not (options.without_hnsw and table in ("hnsw", "plain_vector"))]
    for table in tables:
        measure_table(connection, table, report)
    for table in ("plain", "wrvq"):
        entry = report[table]
        entry["one_inserter"] = concurrent_rate(options.dsn, table, 1, 0, 8000)
        entry["more_inserters"] = concurrent_rate(options.dsn, table, INSERTERS, 8000, 8000)
        entry["one_committer"] = concurrent_rate(options.dsn, table, 1, 0, 8000, commit=True)
        entry["more_committers"] = concurrent_rate(options.dsn, table, INSERTERS, 8000, 8000, commit=True)
        connection.execute("CHECKPOINT")
        wal = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()[0]
        entry["copy_binary"] = len(new) / copy_rows(connection, f"bench_{table}", new, "real[]")
        entry["copy_wal"] = int(connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)", (wal,)).fetchone()[0]) / len(new)
    for table in ("plain", "wrvq"):
        report[table]["copy_text"] = max(10000 / copy_rows(connection, f"bench_{table}", new[at:at + 10000], "real[]", text=True)
                                         for at in (0, 10000))
    for table in [table for table in ("wrvq", "hnsw") if table in tables]:
        # as large as it was, and no churn but the deletion
        type, index = TABLES[table]
        if table == "wrvq":
            make_table(connection, "bench_wrvq", type, base)
            connection.execute(f"CREATE INDEX bench_wrvq_index ON bench_wrvq {index}")
        measure_vacuum(connection, table, report[table], options.bindir)
    return report


def ratio(a, b):
    return f"{a / b:.0f} ×" if b > 0 and a / b >= 10 else f"{a / max(b, 1e-9):.1f} ×"


def show(report):
    wrvq, hnsw, plain = report["wrvq"], report["hnsw"], report["plain"]
    cost = {t: {k: report[t]["insert"][k] - report[WITHOUT_INDEX[t]]["insert"][k] for k in ("us", "wal")} for t in WITHOUT_INDEX}
    update = {t: report[t]["update_s"] for t in WITHOUT_INDEX}
    rows = [
        ("index cost of a single-row INSERT, µs", f"{cost['wrvq']['us']:.1f}", f"{cost['hnsw']['us']:.0f}", ratio(cost["hnsw"]["us"], cost["wrvq"]["us"])),
        ("its WAL, bytes, first rows after a checkpoint", f"{cost['wrvq']['wal']:.0f}", f"{cost['hnsw']['wal']:.0f}", ratio(cost["hnsw"]["wal"], cost["wrvq"]["wal"])),
        ("its WAL, bytes, over a COPY of as many rows", f"{wrvq['copy_wal'] - plain['copy_wal']:.0f}", "", ""),
        ("rows/s, one inserter", f"{wrvq['one_inserter']:,.0f}", "", f"{plain['one_inserter']:,.0f} without index"),
        (f"rows/s, {INSERTERS} inserters", f"{wrvq['more_inserters']:,.0f}", "",
         f"{wrvq['more_inserters'] / wrvq['one_inserter']:.2f} × one; {plain['more_inserters'] / plain['one_inserter']:.2f} × without index; "
         f"{report['cpu_scaling']:.2f} × if they only compute"),
        ("rows/s, one inserter, a transaction each", f"{wrvq['one_committer']:,.0f}", "", f"{plain['one_committer']:,.0f} without index"),
        (f"rows/s, {INSERTERS} inserters, a transaction each", f"{wrvq['more_committers']:,.0f}", "",
         f"{wrvq['more_committers'] / wrvq['one_committer']:.2f} × one; {plain['more_committers'] / plain['one_committer']:.2f} × without index"),
        ("binary COPY, rows/s", f"{wrvq['copy_binary']:,.0f}", "", f"{plain['copy_binary']:,.0f} without index"),
        ("text COPY, rows/s", f"{wrvq['copy_text']:,.0f}", "", f"{plain['copy_text']:,.0f} without index"),
        (f"UPDATE of another column of {wrvq['update_rows']:,} rows, s", f"{update['wrvq']:.3f}", f"{update['hnsw']:.2f}", ratio(update["hnsw"], update["wrvq"])),
        ("VACUUM after deleting a tenth, s", f"{wrvq['vacuum_s']:.2f}", f"{hnsw['vacuum_s']:.1f}", ratio(hnsw["vacuum_s"], wrvq["vacuum_s"])),
    ]
    if "vacuum_index_wal" in wrvq:
        changed = wrvq["vacuum_index_pages"] * 8192
        rows.append(("its index WAL, MB", f"{wrvq['vacuum_index_wal'] / 1e6:.1f}", f"{hnsw['vacuum_index_wal'] / 1e6:.0f}",
                     f"{wrvq['vacuum_index_wal'] / max(1, changed):.2f} × the pages changed"))
    print("| | wrvq | HNSW | |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True)
    parser.add_argument("--dsn", default="")
    parser.add_argument("--rows", type=int, default=50000)
    parser.add_argument("--step", choices=("prepare", "measure"))
    parser.add_argument("--without-hnsw", action="store_true", help="leave out what takes minutes")
    parser.add_argument("--bindir", help="of the server, on this machine: to look into its WAL")
    parser.add_argument("--json", help="write all figures here")
    options = parser.parse_args()
    vectors = np.load(options.base, mmap_mode="r")[:2 * options.rows].astype(np.float32)
    base, new = vectors[:options.rows], vectors[options.rows:]
    connection = connect(options.dsn)
    if options.step != "measure":
        prepare(connection, base, new)
    if options.step != "prepare":
        report = measure(connection, options, base, new)
        if "hnsw" in report:
            show(report)
        else:
            print(json.dumps(report, indent=1))
        if options.json:
            with open(options.json, "w") as file:
                json.dump(report, file, indent=1)


if __name__ == "__main__":
    main()
