-- what wrvq.target_recall asks for is found, also where all rows are about as far away
SET client_min_messages = warning;
SELECT setseed(0.19);
CREATE TABLE even (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO even SELECT i, (SELECT array_agg(random()::real) FROM generate_series(1, 64) j WHERE i > 0) FROM generate_series(1, 12000) i;
-- the recall found at a target, less what the sample may deviate
CREATE FUNCTION finds(index regclass, targets float8[], slack float8) RETURNS TABLE (target float8, is_reached boolean) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH target IN ARRAY targets LOOP
		PERFORM set_config('wrvq.target_recall', target::text, true);
		is_reached := wrvq_recall(index, 10, 300) BETWEEN target - slack AND target + 2.5 * slack;
		RETURN NEXT;
	END LOOP;
END $$;
CREATE INDEX even_cosine ON even USING wrvq (embedding real_cosine_ops);
SELECT * FROM finds('even_cosine', '{0.9, 0.95, 0.98, 0.99}', 0.015);
CREATE INDEX even_l2 ON even USING wrvq (embedding);
SELECT * FROM finds('even_l2', '{0.9, 0.95, 0.98, 0.99}', 0.015);

-- 1 means all rows: what a sequential scan finds, whatever bounds other scans
SET wrvq.max_scan_tuples = 100;
SELECT * FROM finds('even_cosine', '{1}', 0);
SELECT * FROM finds('even_l2', '{1}', 0);
SET wrvq.target_recall = 1;
CREATE FUNCTION nearest(index_scan boolean, query real[], rows int) RETURNS int[] LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_indexscan', index_scan::text, true), set_config('enable_seqscan', (NOT index_scan)::text, true);
	RETURN (SELECT array_agg(id) FROM (SELECT id FROM even ORDER BY embedding <-> query LIMIT rows) s);
END $$;
SELECT count(*), bool_and(nearest(true, embedding, 50) = nearest(false, embedding, 50)) AS same FROM even WHERE id % 1000 = 7;
SELECT cardinality(nearest(true, embedding, 12000)) AS all_rows FROM even WHERE id = 7;
-- and in a sphere
CREATE FUNCTION inside(index_scan boolean, query real[], radius float8) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('enable_indexscan', index_scan::text, true), set_config('enable_bitmapscan', index_scan::text, true),
		set_config('enable_seqscan', (NOT index_scan)::text, true);
	RETURN (SELECT count(*) FROM even WHERE embedding <<->> wrvq_sphere(query, radius));
END $$;
SELECT count(*), bool_and(inside(true, embedding, 2.85) = inside(false, embedding, 2.85)) AS same,
	bool_and(inside(false, embedding, 2.85) > 10) AS some FROM even WHERE id % 1000 = 7;
SELECT count(*) AS points, max(p->>'recall') AS last_recall, (array_agg(p->>'rerank' ORDER BY (p->>'recall')::float8 DESC))[1] AS last_rerank
	FROM jsonb_array_elements(wrvq_index_info('even_l2')->'calibration') p;
RESET wrvq.target_recall;
RESET wrvq.max_scan_tuples;
DROP FUNCTION nearest, inside;
DROP INDEX even_cosine, even_l2;

-- an index that its rows trained has measured itself, and measuring anew does not make it visit all lists
CREATE TABLE grown (id int, embedding real[]) WITH (autovacuum_enabled = off);
CREATE INDEX grown_cosine ON grown USING wrvq (embedding real_cosine_ops);
INSERT INTO grown SELECT id, embedding FROM even WHERE id <= 10010;
CREATE VIEW points AS SELECT (p->>'recall')::float8 AS recall, (p->>'lists')::float8 / (i->>'lists')::float8 AS lists, (p->>'rerank')::int AS rerank,
	i->>'advice' AS advice FROM wrvq_index_info('grown_cosine') i, jsonb_array_elements(i->'calibration') p;
SELECT count(*) AS points, bool_and(lists < 0.95 OR recall > 0.98) AS lists_left, min(advice) AS advice FROM points;
SELECT * FROM finds('grown_cosine', '{0.9, 0.95, 0.99}', 0.02);
SELECT wrvq_calibrate('grown_cosine');
SELECT count(*) AS points, bool_and(lists < 0.95 OR recall > 0.98) AS lists_left FROM points;
SELECT * FROM finds('grown_cosine', '{0.9, 0.95, 0.99}', 0.02);
-- VACUUM leaves a curve alone that fits, and measures anew where many rows were deleted
CREATE TABLE before AS SELECT * FROM points;
DELETE FROM grown WHERE id % 4 = 0;
VACUUM grown;
SELECT count(*) AS changed FROM (SELECT recall, lists FROM points EXCEPT SELECT recall, lists FROM before) s;
DELETE FROM grown WHERE id % 4 <> 1;
VACUUM grown;
SELECT count(*) > 5 AS changed, (SELECT rerank FROM points WHERE recall = 1) AS rows FROM
	(SELECT recall, lists FROM points EXCEPT SELECT recall, lists FROM before) s;
SELECT * FROM finds('grown_cosine', '{0.9, 0.95, 0.99}', 0.02);
SELECT wrvq_check('grown_cosine');
DROP VIEW points;
DROP TABLE grown, before;
-- rows of three dimensions and lists that are left with two or three rows each
CREATE TABLE grown (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO grown SELECT i, ARRAY[random(), random(), random()]::real[] FROM generate_series(1, 10000) i;
CREATE INDEX grown_l2 ON grown USING wrvq (embedding);
DELETE FROM grown WHERE id % 4 <> 0;
VACUUM grown;
SELECT * FROM finds('grown_l2', '{0.95, 0.99}', 0.02);
DELETE FROM grown WHERE id % 100 <> 0;
VACUUM grown;
SELECT is_reached FROM (SELECT wrvq_recall('grown_l2', 10, 100) > 0.93 AS is_reached) s;
DROP TABLE grown;
DROP FUNCTION finds;
DROP TABLE even;
