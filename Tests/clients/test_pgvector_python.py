"""pgvector's Python client, as its users use it, on tables whose index is wrvq's.

The server is the one that the PG... variables lead to.
"""

import asyncio
import unittest

import numpy
import psycopg
from pgvector import HalfVector, Vector
from pgvector.psycopg import register_vector, register_vector_async

DIMENSIONS = 24
ROWS = 2000


def vectors(seed, count):
    return numpy.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=numpy.float32)


class ClientTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.connection = psycopg.connect(dbname="postgres", autocommit=True)
        cls.connection.execute("SET client_min_messages = warning")
        cls.connection.execute("CREATE EXTENSION IF NOT EXISTS wrvq_pgvector CASCADE")
        register_vector(cls.connection)
        cls.connection.execute("DROP TABLE IF EXISTS items")
        cls.connection.execute(
            f"CREATE TABLE items (id int PRIMARY KEY, embedding vector({DIMENSIONS}), half halfvec({DIMENSIONS}))"
        )
        cls.rows = vectors(1, ROWS)
        cls.load(cls.rows)
        cls.connection.execute("CREATE INDEX items_embedding ON items USING wrvq (embedding vector_cosine_ops)")
        cls.connection.execute("CREATE INDEX items_half ON items USING wrvq (half halfvec_l2_ops)")
        # all lists, every row compared exactly, and no other way: answers can be computed here
        for setting in ("wrvq.probes = 65536", "wrvq.rerank = 1000000", "enable_seqscan = off"):
            cls.connection.execute(f"SET {setting}")

    @classmethod
    def tearDownClass(cls):
        cls.connection.execute("DROP TABLE items")
        cls.connection.close()

    @classmethod
    def load(cls, rows):
        """Binary COPY, as pgvector's examples load."""
        with cls.connection.cursor().copy("COPY items (id, embedding, half) FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "vector", "halfvec"])
            for number, row in enumerate(rows):
                copy.write_row([number, row, HalfVector(row)])

    def assert_uses(self, index, query, parameters):
        lines = self.connection.execute("EXPLAIN " + query, parameters).fetchall()
        self.assertIn(f"using {index} ", "\n".join(line for (line,) in lines))

    def cosine_order(self, query, rows):
        similarity = rows @ query / numpy.linalg.norm(rows, axis=1) / numpy.linalg.norm(query)
        return list(numpy.argsort(-similarity)[:10])

    def test_numpy_query(self):
        search = "SELECT id FROM items ORDER BY embedding <=> %s LIMIT 10"
        for query in vectors(2, 20):
            self.assert_uses("items_embedding", search, (query,))
            found = [number for (number,) in self.connection.execute(search, (query,))]
            self.assertEqual(found, self.cosine_order(query, self.rows))

    def test_binary_and_prepared(self):
        search = "SELECT id FROM items ORDER BY embedding <=> %b LIMIT 10"
        for query in vectors(3, 20):
            found = [number for (number,) in self.connection.execute(search, (query,), prepare=True, binary=True)]
            self.assertEqual(found, self.cosine_order(query, self.rows))

    def test_vector_object(self):
        search = "SELECT id FROM items ORDER BY embedding <=> %s LIMIT 1"
        self.assertEqual(self.connection.execute(search, (Vector(self.rows[7]),)).fetchone(), (7,))

    def test_half(self):
        search = "SELECT id, half FROM items ORDER BY half <-> %s LIMIT 1"
        query = HalfVector(self.rows[11])
        self.assert_uses("items_half", search, (query,))
        number, value = self.connection.execute(search, (query,)).fetchone()
        self.assertEqual(number, 11)
        numpy.testing.assert_array_equal(value.to_numpy(), self.rows[11].astype(numpy.float16))

    def test_values_come_back(self):
        value = self.connection.execute("SELECT embedding FROM items WHERE id = 3").fetchone()[0]
        numpy.testing.assert_array_equal(getattr(value, "to_numpy", lambda: value)(), self.rows[3])

    def test_changes(self):
        other = vectors(4, 1)[0]
        with self.connection.transaction(force_rollback=True):
            self.connection.execute("INSERT INTO items (id, embedding) VALUES (%s, %s)", (ROWS, other))
            self.connection.execute("UPDATE items SET embedding = %s WHERE id = 0", (other + 0.001,))
            search = "SELECT id FROM items ORDER BY embedding <=> %s LIMIT 2"
            self.assertEqual(self.connection.execute(search, (other,)).fetchall(), [(ROWS,), (0,)])

    def test_wrong_dimensions(self):
        with self.assertRaisesRegex(psycopg.errors.DataException, "24 dimensions, not 2"):
            self.connection.execute("SELECT id FROM items ORDER BY embedding <=> %s LIMIT 1", (numpy.array([1, 2]),))

    def test_async(self):
        async def nearest(query):
            async with await psycopg.AsyncConnection.connect(dbname="postgres") as connection:
                await register_vector_async(connection)
                await connection.execute("SET enable_seqscan = off")
                cursor = await connection.execute("SELECT id FROM items ORDER BY embedding <=> %s LIMIT 1", (query,))
                return await cursor.fetchone()

        self.assertEqual(asyncio.run(nearest(self.rows[5])), (5,))


if __name__ == "__main__":
    unittest.main()
