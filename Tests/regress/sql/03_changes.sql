-- INSERT, UPDATE, DELETE, COPY and VACUUM keep an index right
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, note text, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO item SELECT i, 'old', cluster_vector(i, 24) FROM generate_series(1, 2000) i;
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (lists = 40);
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;

INSERT INTO item SELECT i, 'new', cluster_vector(i, 24) FROM generate_series(2001, 4000) i;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
UPDATE item SET note = 'updated' WHERE id % 3 = 0;
UPDATE item SET embedding = cluster_vector(id + 10000, 24) WHERE id % 7 = 0;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
DELETE FROM item WHERE id % 2 = 0;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
VACUUM item;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
INSERT INTO item SELECT i, 'again', cluster_vector(i, 24) FROM generate_series(5001, 7000) i;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);

-- an aborted insert is never seen
BEGIN;
INSERT INTO item VALUES (100000, 'aborted', cluster_vector(107, 24));
ROLLBACK;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);

-- replacing every row again and again reuses the space
CREATE TEMP TABLE size AS SELECT pg_relation_size('item_embedding') AS bytes;
UPDATE item SET embedding = cluster_vector(id + 1, 24);
VACUUM item;
UPDATE item SET embedding = cluster_vector(id + 2, 24);
VACUUM item;
UPDATE item SET embedding = cluster_vector(id + 3, 24);
VACUUM item;
UPDATE item SET embedding = cluster_vector(id + 4, 24);
VACUUM item;
UPDATE item SET embedding = cluster_vector(id + 5, 24);
VACUUM item;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
SELECT pg_relation_size('item_embedding') <= 3 * bytes AS bounded FROM size;

DELETE FROM item;
VACUUM item;
SELECT wrvq_check('item_embedding');
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> cluster_vector(1, 24) LIMIT 10) s;
RESET enable_seqscan;
COPY (SELECT i, 'copied', cluster_vector(i, 24) FROM generate_series(1, 500) i) TO PROGRAM 'cat > wrvq_regress_copy.txt';
COPY item FROM PROGRAM 'cat wrvq_regress_copy.txt; rm wrvq_regress_copy.txt';
SELECT * FROM compare_scans('<->', 50);

-- rows that cannot be indexed are refused and nothing is lost
INSERT INTO item VALUES (9000, '', '{1,2,3}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item VALUES (9001, '', array_fill('NaN'::real, ARRAY[24]));
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item VALUES (9002, '', ARRAY['Infinity'::real] || array_fill(0::real, ARRAY[23]));
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item VALUES (9003, '', ARRAY[NULL::real] || array_fill(0::real, ARRAY[23]));
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item VALUES (9004, '', ARRAY[array_fill(1::real, ARRAY[24])]);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item VALUES (9005, '', '{}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item VALUES (9006, 'not indexed', NULL);
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
DROP TABLE item;

-- an index on an empty table waits for rows, compares them exactly, and trains itself
CREATE TABLE item (id int PRIMARY KEY, embedding real[]) WITH (autovacuum_enabled = off);
CREATE INDEX item_embedding ON item USING wrvq (embedding);
SELECT wrvq_check('item_embedding');
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> '{1,2,3}' LIMIT 10) s;
RESET enable_seqscan;
RESET wrvq.probes;
RESET wrvq.rerank;
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(1, 500) i;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
DELETE FROM item WHERE id <= 100;
VACUUM item;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(501, 3000) i;
-- enough to learn from: VACUUM trains it
VACUUM item;
SELECT wrvq_check('item_embedding');
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
SELECT * FROM compare_scans('<->', 50);
-- and so does an INSERT once there are many
TRUNCATE item;
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(1, 12000) i;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
DELETE FROM item WHERE id % 2 = 0;
VACUUM item;
SELECT wrvq_check('item_embedding');
SELECT * FROM compare_scans('<->', 50);
RESET wrvq.probes;
RESET wrvq.rerank;
DROP TABLE item;

-- degenerate data: duplicates only, one row, one dimension, more lists than rows
CREATE TABLE item (id int, embedding real[]);
INSERT INTO item SELECT i, array_fill(0.5::real, ARRAY[24]) FROM generate_series(1, 2500) i;
CREATE INDEX ON item USING wrvq (embedding);
SELECT wrvq_check('item_embedding_idx');
SELECT queries, full_results FROM compare_scans('<->', 50);
DROP TABLE item;
CREATE TABLE item (id int, embedding real[]);
INSERT INTO item SELECT 1, cluster_vector(1, 24);
CREATE INDEX ON item USING wrvq (embedding) WITH (lists = 100);
SELECT wrvq_index_info('item_embedding_idx')->'lists' AS lists;
SELECT wrvq_check('item_embedding_idx');
SELECT * FROM compare_scans('<->', 50);
DROP TABLE item;
CREATE TABLE line (id int, embedding real[]);
INSERT INTO line SELECT i, ARRAY[i::real] FROM generate_series(1, 2000) i;
CREATE INDEX ON line USING wrvq (embedding);
SELECT wrvq_check('line_embedding_idx');
SET enable_seqscan = off;
SELECT id FROM line ORDER BY embedding <-> '{1000.4}' LIMIT 4;
RESET enable_seqscan;
DROP TABLE line;
-- the most dimensions there may be, in toasted rows
CREATE TABLE wide (id int, embedding real[]);
INSERT INTO wide SELECT i, vector_of(i, 16000) FROM generate_series(1, 8) i;
CREATE INDEX ON wide USING wrvq (embedding) WITH (lists = 2);
SELECT wrvq_check('wide_embedding_idx');
SET enable_seqscan = off;
SELECT id FROM wide ORDER BY embedding <-> vector_of(5, 16000) LIMIT 1;
RESET enable_seqscan;
DROP TABLE wide;
