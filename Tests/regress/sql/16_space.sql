-- VACUUM takes all dead entries out of short lists, and what is loaded again takes no more room
SET client_min_messages = warning;
CREATE FUNCTION info(index regclass, key text) RETURNS text LANGUAGE sql AS $$ SELECT wrvq_index_info(index)->>key $$;
CREATE FUNCTION small_vector(i int, dimensions int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4extended(i, j) % 100000 / 100000.0)::real ORDER BY j) FROM generate_series(1, dimensions) j
$$;

-- lists of one slot: 400 of 25 rows each
CREATE TABLE short (id int, embedding real[]);
INSERT INTO short SELECT i, small_vector(i, 3) FROM generate_series(1, 10000) i;
CREATE INDEX short_embedding ON short USING wrvq (embedding);
CREATE TABLE sizes AS SELECT pg_relation_size('short_embedding') AS built;
SELECT info('short_embedding', 'lists') AS lists, info('short_embedding', 'dead') AS dead;
-- some rows, then all of them
DELETE FROM short WHERE id % 5 = 0;
VACUUM short;
SELECT info('short_embedding', 'live') AS live, info('short_embedding', 'dead')::int < 300 AS hardly_any_dead,
	info('short_embedding', 'advice') AS advice;
DELETE FROM short;
VACUUM short;
SELECT info('short_embedding', 'entries') AS entries, info('short_embedding', 'dead') AS dead, info('short_embedding', 'advice') AS advice;
SELECT wrvq_check('short_embedding');
INSERT INTO short SELECT i, small_vector(i, 3) FROM generate_series(1, 10000) i;
-- a page or two may be left half full
SELECT pg_relation_size('short_embedding') <= 1.1 * built AS no_larger FROM sizes;
-- every row replaced, time and again
DO $$ BEGIN
	FOR cycle IN 1 .. 3 LOOP
		UPDATE short SET embedding = small_vector(id + cycle * 100000, 3);
	END LOOP;
END $$;
VACUUM short;
SELECT info('short_embedding', 'live') AS live, info('short_embedding', 'dead')::int < 1500 AS few_dead,
	info('short_embedding', 'advice') AS advice;
SELECT wrvq_check('short_embedding');

-- lists of two slots, of which one and a half die: two slots are needed still, but the dead do not stay
CREATE TABLE pair (id int, embedding real[]);
INSERT INTO pair SELECT i, small_vector(i, 3) FROM generate_series(1, 1200) i;
CREATE INDEX pair_embedding ON pair USING wrvq (embedding) WITH (lists = 20);
DELETE FROM pair WHERE id % 5 IN (1, 3);
VACUUM pair;
SELECT info('pair_embedding', 'live') AS live, info('pair_embedding', 'dead')::int <= 0.3 * info('pair_embedding', 'entries')::int AS few_dead,
	info('pair_embedding', 'advice') AS advice;
SELECT wrvq_check('pair_embedding');
-- a small table's partition-sized index, with rows in two lists
CREATE INDEX pair_spilled ON pair USING wrvq (embedding) WITH (lists = 100, spill = 2);
DELETE FROM pair WHERE id > 20;
VACUUM pair;
SELECT info('pair_spilled', 'live') AS live, info('pair_spilled', 'dead') AS dead, info('pair_embedding', 'dead') AS dead_of_the_other;
SELECT wrvq_check('pair_spilled'), wrvq_check('pair_embedding');
DROP TABLE short, pair, sizes;
DROP FUNCTION info, small_vector;

-- an index without rows takes vectors of any dimension: after a rollback, and after all rows are gone
SET client_min_messages = warning;
CREATE FUNCTION small_vector(i int, dimensions int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4extended(i, j) % 100000 / 100000.0)::real ORDER BY j) FROM generate_series(1, dimensions) j
$$;
CREATE FUNCTION dimensions(index regclass) RETURNS text LANGUAGE sql AS
	$$ SELECT (wrvq_index_info(index)->>'dimensions') || ', trained: ' || (wrvq_index_info(index)->>'trained') $$;
CREATE TABLE item (id int, embedding real[]);
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (lists = 20);
BEGIN;
INSERT INTO item VALUES (1, small_vector(1, 3));
ROLLBACK;
INSERT INTO item VALUES (2, small_vector(2, 5));
VACUUM item;
SELECT dimensions('item_embedding');
INSERT INTO item VALUES (2, small_vector(2, 5));
SELECT dimensions('item_embedding');
-- not while there is one
VACUUM item;
INSERT INTO item VALUES (3, small_vector(3, 3));
DELETE FROM item;
VACUUM item;
SELECT dimensions('item_embedding');

-- trained, and emptied: it goes on with rows of the same dimensions
INSERT INTO item SELECT i, small_vector(i, 5) FROM generate_series(1, 1500) i;
VACUUM item;
SELECT dimensions('item_embedding');
DELETE FROM item;
INSERT INTO item VALUES (1, small_vector(1, 7));
VACUUM item;
SELECT dimensions('item_embedding');
INSERT INTO item SELECT i, small_vector(i, 5) FROM generate_series(1, 100) i;
SELECT dimensions('item_embedding');
INSERT INTO item VALUES (1, small_vector(1, 7));
SELECT wrvq_check('item_embedding');
-- and begins anew with those of others, on the pages that it had
DELETE FROM item;
VACUUM item;
BEGIN;
INSERT INTO item VALUES (1, small_vector(1, 7));
SELECT dimensions('item_embedding');
ROLLBACK;
SELECT wrvq_check('item_embedding');
VACUUM item;
SELECT dimensions('item_embedding');
INSERT INTO item SELECT i, small_vector(i, 9) FROM generate_series(1, 1500) i;
SELECT dimensions('item_embedding');
INSERT INTO item VALUES (1, small_vector(1, 5));
VACUUM item;
SELECT dimensions('item_embedding');
VACUUM item;
SELECT wrvq_check('item_embedding');
SET enable_seqscan = off;
SET wrvq.probes = 100000;
SET wrvq.rerank = 1000000;
SELECT id FROM item ORDER BY embedding <-> small_vector(77, 9) LIMIT 1;
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> small_vector(77, 9) LIMIT 2000) found;
DROP TABLE item;
DROP FUNCTION dimensions, small_vector;
