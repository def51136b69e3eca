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
DROP FUNCTION finds;
DROP TABLE even;
