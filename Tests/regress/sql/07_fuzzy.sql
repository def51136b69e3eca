-- sub-lists by the codes of none, one or two levels
CREATE TABLE part (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO part SELECT i, cluster_vector(i, 24) FROM generate_series(1, 9000) i;
CREATE FUNCTION fuzzy(levels int, OUT sublists int, OUT own float8, OUT all_visited float8) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DROP INDEX IF EXISTS part_embedding;
		CREATE INDEX part_embedding ON part USING wrvq (embedding) WITH (lists = 2, fuzzy_levels = %s)', levels);
	PERFORM wrvq_check('part_embedding');
	sublists := wrvq_index_info('part_embedding')->'sublists';
	PERFORM set_config('wrvq.target_recall', '0.9', true);
	own := wrvq_recall('part_embedding', 10, 100);
	PERFORM set_config('wrvq.probes', '2', true), set_config('wrvq.rerank', '100000', true);
	all_visited := wrvq_recall('part_embedding', 10, 100);
END $$;
BEGIN;
SELECT levels, sublists, own >= 0.85 AS own, all_visited FROM generate_series(0, 2) levels, fuzzy(levels);
COMMIT;

-- rows that come later, and a list that VACUUM rewrites, stay in order of sub-list
INSERT INTO part SELECT i, cluster_vector(i, 24) FROM generate_series(9001, 10000) i;
SELECT wrvq_check('part_embedding');
DELETE FROM part WHERE id % 3 = 0;
VACUUM part;
SELECT wrvq_check('part_embedding');
SELECT wrvq_index_info('part_embedding')->'live' AS live, wrvq_recall('part_embedding', 10, 100) >= 0.9 AS own;

-- by size: sub-lists of two levels only where they would fill half a block each
DROP INDEX part_embedding;
CREATE INDEX part_embedding ON part USING wrvq (embedding) WITH (lists = 1);
SELECT wrvq_index_info('part_embedding')->'sublists' AS sublists;
CREATE INDEX part_many ON part USING wrvq (embedding) WITH (lists = 2);
SELECT wrvq_index_info('part_many')->'sublists' AS sublists;
DROP TABLE part;
DROP FUNCTION fuzzy;
