-- an index tells what it is made of and what it finds
CREATE TABLE item (id int PRIMARY KEY, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(1, 3000) i;
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (lists = 50);
SELECT key, jsonb_typeof(value) FROM jsonb_each(wrvq_index_info('item_embedding')) ORDER BY key;
CREATE VIEW counts AS SELECT i->>'dimensions' AS dimensions, i->>'metric' AS metric, i->>'lists' AS lists, i->>'sublists' AS sublists,
	i->>'live' AS live, i->>'dead' AS dead, i->>'tail' AS tail, i->>'pending' AS pending, i->>'advice' AS advice
	FROM wrvq_index_info('item_embedding') i;
SELECT * FROM counts;
SELECT (i->>'loss')::float8 BETWEEN 0 AND 1 AS loss, (i->>'recent_loss')::float8 < 1.25 * (i->>'loss')::float8 AS stable,
	jsonb_array_length(i->'calibration') AS points FROM wrvq_index_info('item_embedding') i;
SELECT i->'list_entries'->>'mean' AS mean, (i->'list_entries'->>'most')::int BETWEEN 60 AND 3000 AS most,
	(i->'list_entries'->>'empty_lists')::int < 50 AS empty, (i->>'block_fill')::float8 BETWEEN 0.5 AND 1 AS fill
	FROM wrvq_index_info('item_embedding') i;

-- inserts and deletes are counted; VACUUM sweeps up
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(3001, 4000) i;
DELETE FROM item WHERE id % 2 = 0;
SELECT live, dead, tail FROM counts;
VACUUM item;
SELECT live, dead::int < 1000 AS swept, advice FROM counts;

-- rows of another kind: the loss says so
INSERT INTO item SELECT i, (SELECT array_agg((x * 5)::real) FROM unnest(cluster_vector(i * 7, 24)) x) FROM generate_series(10001, 20000) i;
SELECT advice FROM counts;
REINDEX INDEX item_embedding;
SELECT advice FROM counts;

-- recall, measured with rows of the table: a setting, and exact when everything is visited and reranked
SELECT wrvq_recall('item_embedding', 10, 500) >= 0.9 AS at_default;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
SELECT wrvq_recall('item_embedding', 10, 50) AS all_visited;
SET wrvq.probes = 1;
SET wrvq.rerank = 10;
SET wrvq.iterative_scan = off;
SELECT wrvq_recall('item_embedding', 10, 50) < 1 AS one_list;
RESET ALL;
-- as one row: the mean, its confidence interval, the worst tenth
SELECT round(recall::numeric, 6) = round(wrvq_recall('item_embedding', 5, 200)::numeric, 6) AS recall, 0 < low AND low < recall AND recall <= high AND high <= 1 AS interval,
	worst_tenth < recall AS worst_tenth, queries FROM wrvq_recall_statistics('item_embedding', 5, 200);
SELECT (wrvq_recall_statistics('item_embedding')).queries, wrvq_recall('item_embedding') = (wrvq_recall_statistics('item_embedding', 10, 100)).recall AS defaults;
-- what was found each time may still be missed another time: the more queries, the less often
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
SELECT recall, round(low::numeric, 3) AS low, high, worst_tenth, queries FROM wrvq_recall_statistics('item_embedding', 10, 50);
SELECT recall, round(low::numeric, 3) AS low, high, worst_tenth, queries FROM wrvq_recall_statistics('item_embedding', 10, 400);
-- the worst tenth are the queries that find least, a part of one counted whole
SET wrvq.probes = 1;
SET wrvq.rerank = 10;
SET wrvq.iterative_scan = off;
SELECT worst_tenth < recall AND worst_tenth * 3 <= recall * 15 AS worst_tenth, low < recall AND recall < high AS interval, queries FROM wrvq_recall_statistics('item_embedding', 10, 15);
RESET ALL;

-- measuring anew
INSERT INTO item SELECT i, cluster_vector(i * 31, 24) FROM generate_series(20001, 20100) i;
DELETE FROM item WHERE id > 20000;
VACUUM item;
SELECT wrvq_calibrate('item_embedding');
SELECT jsonb_array_length(wrvq_index_info('item_embedding')->'calibration') AS points,
	bool_and((p->>'lists')::float8 BETWEEN 1 AND 50) AS lists, bool_and((p->>'rerank')::int BETWEEN 1 AND 13000) AS rerank
	FROM jsonb_array_elements(wrvq_index_info('item_embedding')->'calibration') p;
SELECT wrvq_recall('item_embedding', 10, 500) >= 0.9 AS calibrated;
SELECT wrvq_check('item_embedding');

-- people search where rows were, too: a clump of rows is deleted, and not vacuumed; a search that does not go on finds no others there
CREATE TABLE clump (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO clump SELECT i, cluster_vector(i, 24) FROM generate_series(1, 3000) i;
INSERT INTO clump SELECT i, (SELECT array_agg((x + 7)::real ORDER BY n) FROM unnest(cluster_vector(i, 24)) WITH ORDINALITY u (x, n)) FROM generate_series(3001, 5000) i;
CREATE INDEX clump_embedding ON clump USING wrvq (embedding) WITH (lists = 20);
SET wrvq.probes = 10;
SET wrvq.rerank = 150;
SET wrvq.iterative_scan = off;
SELECT recall > 0.9 AS before FROM wrvq_recall_statistics('clump_embedding', 10, 200);
DELETE FROM clump WHERE id > 3000;
SELECT recall BETWEEN 0.5 AND 0.7 AS recall, worst_tenth, queries FROM wrvq_recall_statistics('clump_embedding', 10, 200);
RESET wrvq.iterative_scan;
RESET wrvq.probes;
RESET wrvq.rerank;
SELECT recall > 0.9 AS goes_on FROM wrvq_recall_statistics('clump_embedding', 10, 200);
-- not with rows that no index ever had
INSERT INTO clump VALUES (1, '{1,2}');
BEGIN;
DROP INDEX clump_embedding;
INSERT INTO clump VALUES (1, '{1,2}'), (2, '{1,NULL}');
DELETE FROM clump WHERE id = 2 OR id > 1000 OR cardinality(embedding) = 2;
COMMIT;
CREATE INDEX clump_embedding ON clump USING wrvq (embedding) WITH (lists = 20);
SELECT recall > 0.9 AS recall, queries FROM wrvq_recall_statistics('clump_embedding', 10, 10000);
DROP TABLE clump;

-- an untrained index
CREATE TABLE few (id int, embedding real[]);
CREATE INDEX few_embedding ON few USING wrvq (embedding);
SELECT wrvq_recall('few_embedding', 10, 50) AS no_rows;
SELECT * FROM wrvq_recall_statistics('few_embedding');
INSERT INTO few SELECT i, cluster_vector(i, 24) FROM generate_series(1, 20) i;
SELECT wrvq_index_info('few_embedding');
SELECT wrvq_recall('few_embedding', 10, 50) AS compared_exactly;
TRUNCATE few;
INSERT INTO few SELECT 1, cluster_vector(1, 24);
SELECT * FROM wrvq_recall_statistics('few_embedding');

-- bad arguments
SELECT wrvq_calibrate('few_embedding');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_calibrate('item');
\echo :LAST_ERROR_SQLSTATE
CREATE ROLE wrvq_nobody;
SET ROLE wrvq_nobody;
SELECT wrvq_calibrate('item_embedding');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
DROP ROLE wrvq_nobody;
SELECT wrvq_index_info('item');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_index_info('item_pkey');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_recall('item_embedding', 0, 10);
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_recall('item_embedding', 10, 1000000);
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_recall_statistics('item_embedding', 1001);
\echo :LAST_ERROR_SQLSTATE
DROP VIEW counts;
DROP TABLE item, few;
