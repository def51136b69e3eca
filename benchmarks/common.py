"""What the benchmarks share: loading vectors, the exact answer, and timing inside the server."""
import struct

import numpy as np
import psycopg

# The statement is planned once and kept, as in an application's prepared statement; neither round trips nor the parsing of
# vector text count.  %(filter)s is SQL, or TRUE.
LOOP = """
CREATE OR REPLACE FUNCTION bench_run(queries int, OUT times float8[], OUT ids int[]) LANGUAGE plpgsql AS $$
DECLARE
    q record;
    start timestamptz;
    found int[];
BEGIN
    times := '{{}}';
    ids := '{{}}';
    FOR q IN SELECT embedding FROM {query} WHERE id < queries ORDER BY id LOOP
        start := clock_timestamp();
        SELECT array_agg(id) INTO found FROM
            (SELECT id FROM {base} WHERE {filter} ORDER BY embedding {operator} q.embedding LIMIT {k}) s;
        times := times || extract(epoch FROM clock_timestamp() - start)::float8 * 1000;
        ids := ids || found || array_fill(-1, ARRAY[{k} - coalesce(cardinality(found), 0)]);
    END LOOP;
END $$"""


def connect(dsn):
    connection = psycopg.connect(dsn, autocommit=True)
    connection.execute("SET jit = off")
    return connection


def real_array(row):
    """A row as the binary form of real[]."""
    element = np.zeros(len(row), dtype=[("length", ">i4"), ("value", ">f4")])
    element["length"] = 4
    element["value"] = row
    return struct.pack(">iiIii", 1, 0, 700, len(row), 1) + element.tobytes()


def pgvector(row):
    """A row as the binary form of pgvector's vector."""
    return struct.pack(">hh", len(row), 0) + row.astype(">f4").tobytes()


def pgvector_half(row):
    return struct.pack(">hh", len(row), 0) + row.astype(">f2").tobytes()


BINARY = {"real[]": real_array, "vector": pgvector, "halfvec": pgvector_half}


def load(connection, table, vectors, type="real[]"):
    """A table (id, embedding) of the vectors by binary COPY; ids count from 0."""
    column = type if type == "real[]" else f"{type}({vectors.shape[1]})"
    connection.execute(f"DROP TABLE IF EXISTS {table}")
    connection.execute(f"CREATE TABLE {table} (id int, embedding {column})")
    with connection.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for i, row in enumerate(vectors):
            body = BINARY[type](row)
            copy.write(struct.pack(">hiii", 2, 4, i, len(body)) + body)
        copy.write(struct.pack(">h", -1))
    connection.execute(f"VACUUM ANALYZE {table}")


def truth(base, query, metric, k):
    """The exact k nearest rows of every query, as sets."""
    if metric == "cosine":
        base = base / np.maximum(np.linalg.norm(base, axis=1, keepdims=True), 1e-30)
    half_norms = 0.5 * (base * base).sum(1) if metric == "l2" else 0
    nearest = np.empty((len(query), k), dtype=np.int64)
    for start in range(0, len(query), 256):
        score = query[start:start + 256] @ base.T - half_norms
        nearest[start:start + 256] = np.argpartition(-score, k - 1, axis=1)[:, :k]
    return nearest


def run(connection, queries, k, base="bench_base", query="bench_query", operator="<->", filter="TRUE", settings=()):
    """Times of every query in ms and the ids found, [queries][k], -1 where there was none."""
    with connection.transaction():
        for name, value in dict(settings).items():
            connection.execute(f"SET LOCAL {name} = {value}")
        connection.execute(LOOP.format(query=query, base=base, operator=operator, filter=filter, k=k))
        times, ids = connection.execute("SELECT * FROM bench_run(%s)", (queries,)).fetchone()
    return np.array(times), np.array(ids).reshape(queries, k)


def recall(found, expected):
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, expected)]))
