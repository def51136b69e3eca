-- spill = 2: every row in two lists, found once
SET client_min_messages = warning;
CREATE TABLE item (id int PRIMARY KEY, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(1, 3000) i;
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (lists = 50, spill = 2);
SELECT i->>'spill' AS spill, i->>'entries' AS entries FROM wrvq_index_info('item_embedding') i;
SELECT queries, same_distances >= 16 AS most_exact, full_results FROM compare_scans('<->', 10);
SELECT queries, full_results FROM compare_scans('<->', 10, 'id % 100 = 3');
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
SELECT * FROM compare_scans('<->', 50);
SELECT * FROM compare_scans('<->', 2000);

-- no row twice, whatever is pulled
SET enable_seqscan = off;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM item ORDER BY embedding <-> cluster_vector(5, 24)) s;
RESET wrvq.probes;
RESET wrvq.rerank;
-- whole tables in rounds: what the first rounds miss comes too late for its place, so let them miss nothing
SET wrvq.target_recall = 0.999;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM item ORDER BY embedding <-> cluster_vector(5, 24)) s;
RESET wrvq.target_recall;
RESET enable_seqscan;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;

-- changes
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(3001, 5000) i;
UPDATE item SET embedding = cluster_vector(id + 10000, 24) WHERE id % 7 = 0;
DELETE FROM item WHERE id % 2 = 0;
SELECT * FROM compare_scans('<->', 50);
VACUUM item;
SELECT * FROM compare_scans('<->', 50);
SELECT i->>'live' AS live FROM wrvq_index_info('item_embedding') i;
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding real_ip_ops) WITH (spill = 2);
SELECT * FROM compare_scans('<#>', 10);
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding real_cosine_ops) WITH (spill = 2);
SELECT * FROM compare_scans('<=>', 10);

-- an index that trains itself spills too; one list has nowhere to spill to
TRUNCATE item;
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (spill = 2);
INSERT INTO item SELECT i, cluster_vector(i, 24) FROM generate_series(1, 2000) i;
VACUUM item;
SELECT i->>'spill' AS spill, i->>'entries' AS entries FROM wrvq_index_info('item_embedding') i;
SELECT * FROM compare_scans('<->', 50);
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (spill = 2, lists = 1);
SELECT i->>'spill' AS spill, i->>'entries' AS entries FROM wrvq_index_info('item_embedding') i;
SELECT * FROM compare_scans('<->', 50);
RESET ALL;
CREATE INDEX ON item USING wrvq (embedding) WITH (spill = 3);
\echo :LAST_ERROR_SQLSTATE
DROP TABLE item;
