-- real[] beside vector: how operators resolve when both extensions are there
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, embedding vector(3));
INSERT INTO item SELECT i, ARRAY[i % 13, i % 29, i % 31]::vector FROM generate_series(1, 2000) i;
CREATE INDEX ON item USING wrvq (embedding);
CREATE FUNCTION plan_of(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || statement;
END $$;
SET enable_seqscan = off;
-- pgvector's operator: a vector, an untyped literal or parameter, a cast
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY embedding <-> '[3,1,2]' LIMIT 1;
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY embedding <-> ARRAY[3,1,2]::real[]::vector LIMIT 1;
-- pgvector casts vector to real[] implicitly and real[] to vector only on assignment: without operators of its own for a
-- vector and a real[], a real[] operand would make the operator that of real[], which this index does not have
SELECT line FROM plan_of($$SELECT id FROM item ORDER BY embedding <-> '{3,1,2}'::real[] LIMIT 1$$) line WHERE line ~ 'Scan|Key|Order By';
SELECT (embedding <-> '{3,1,2}'::real[]) = (embedding <-> '[3,1,2]') AS same_value FROM item WHERE id = 1;
-- vector and halfvec together go on resolving as they did
SELECT pg_typeof('[1,2]'::vector <-> '[1,4]'::halfvec), '[1,2]'::vector <-> '[1,4]'::halfvec AS distance;
-- a column of each type
ALTER TABLE item ADD real_embedding real[];
UPDATE item SET real_embedding = embedding::real[];
CREATE INDEX ON item USING wrvq (real_embedding);
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY real_embedding <-> '{3,1,2}' LIMIT 1;
SELECT i.real_embedding <-> '{3,1,2}' = i.embedding <-> '[3,1,2]' AS same FROM item i ORDER BY real_embedding <-> '{3,1,2}' LIMIT 1;
RESET enable_seqscan;

-- dropping: an index keeps the extension unless CASCADE
DROP EXTENSION wrvq_pgvector;
BEGIN;
DROP EXTENSION wrvq_pgvector CASCADE;
SELECT indexdef FROM pg_indexes WHERE tablename = 'item' ORDER BY 1;
ROLLBACK;
-- moved to another schema, it works on
CREATE SCHEMA other;
ALTER EXTENSION wrvq_pgvector SET SCHEMA other;
CREATE INDEX item_other ON item USING wrvq (embedding other.vector_cosine_ops);
SELECT indexdef FROM pg_indexes WHERE indexname = 'item_other';
DROP TABLE item;
ALTER EXTENSION wrvq_pgvector SET SCHEMA public;
