"""What a Python user types first: a list of numbers as the vector, with no adapter, on a column of real[].

Each driver sends a list in its own way: psycopg as double precision[], psycopg2 as an ARRAY[...] of numeric,
asyncpg as whatever type the server says that the parameter has.
"""

import asyncio
import os
import unittest

import asyncpg
import psycopg
import psycopg2

ROWS = 1500
NEAREST = "SELECT id FROM lists ORDER BY embedding <-> {} LIMIT 1"
INSIDE = "SELECT id FROM lists WHERE embedding <<->> wrvq_sphere({}, {})"


class ListTests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        # a database without pgvector
        with psycopg.connect(dbname="postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS lists")
            connection.execute("CREATE DATABASE lists")
        cls.connection = psycopg.connect(dbname="lists", autocommit=True)
        cls.connection.execute("SET client_min_messages = warning")
        cls.connection.execute("CREATE EXTENSION wrvq")
        cls.connection.execute("CREATE TABLE lists (id int PRIMARY KEY, embedding real[])")
        cls.connection.execute(
            f"INSERT INTO lists SELECT i, ARRAY[i, i % 7, i % 11] FROM generate_series(1, {ROWS}) i"
        )
        cls.connection.execute("CREATE INDEX lists_embedding ON lists USING wrvq (embedding)")
        cls.connection.execute("SET enable_seqscan = off")

    @classmethod
    def tearDownClass(cls):
        cls.connection.close()
        with psycopg.connect(dbname="postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE lists")

    def assert_uses_index(self, query, parameters, **options):
        lines = self.connection.execute("EXPLAIN " + query, parameters, **options).fetchall()
        self.assertIn("using lists_embedding ", "\n".join(line for (line,) in lines))

    def test_psycopg(self):
        for query in ([700.25, 0.0, 7.0], [700, 0, 7]):
            for prepare in (False, True):
                found = self.connection.execute(NEAREST.format("%s"), (query,), prepare=prepare).fetchone()
                self.assertEqual(found, (700,))
            self.assert_uses_index(NEAREST.format("%s"), (query,))
            found = self.connection.execute(INSIDE.format("%s", "%s"), (query, 0.75)).fetchall()
            self.assertEqual(found, [(700,)])
            self.assert_uses_index(INSIDE.format("%s", "%s"), (query, 0.75))

    def test_psycopg_binary(self):
        found = self.connection.execute(NEAREST.format("%b"), ([700.0, 0.0, 7.0],), binary=True).fetchone()
        self.assertEqual(found, (700,))

    def test_psycopg2(self):
        connection = psycopg2.connect(dbname="lists")
        try:
            with connection.cursor() as cursor:
                for query in ([700.25, 0.0, 7.0], [700, 0, 7], [700, 0.5, 7]):
                    cursor.execute(NEAREST.format("%s"), (query,))
                    self.assertEqual(cursor.fetchone(), (700,))
                    cursor.execute(INSIDE.format("%s", "%s"), (query, 0.75))
                    self.assertEqual(cursor.fetchall(), [(700,)])
        finally:
            connection.close()

    def test_asyncpg(self):
        async def search(query):
            connection = await asyncpg.connect(
                host=os.environ["PGHOST"], port=os.environ["PGPORT"], user=os.environ["PGUSER"], database="lists"
            )
            try:
                nearest = await connection.fetchval(NEAREST.format("$1"), query)
                inside = await connection.fetchval(INSIDE.format("$1", "$2"), query, 0.75)
                doubles = await connection.fetchval(NEAREST.format("$1::double precision[]"), query)
                return nearest, inside, doubles
            finally:
                await connection.close()

        for query in ([700.25, 0.0, 7.0], [700, 0, 7]):
            self.assertEqual(asyncio.run(search(query)), (700, 700, 700))

    def test_wrong_dimensions(self):
        with self.assertRaisesRegex(psycopg.errors.DataException, "3 dimensions, not 2"):
            self.connection.execute(NEAREST.format("%s"), ([1.0, 2.0],))


if __name__ == "__main__":
    unittest.main()
