-- dimensions beyond HNSW's 2,000 up to pgvector's 16,000; vectors out of line
SET client_min_messages = warning;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
CREATE TABLE item (id int PRIMARY KEY, embedding vector(2100), half halfvec(2100));
INSERT INTO item SELECT i, v, v FROM (SELECT i, cluster_vector(i, 2100) AS v FROM generate_series(1, 1000) i) s;
-- TOASTed, as the index has to fetch them
SELECT pg_relation_size('item') < 1000 * 2100 AS out_of_line;
CREATE INDEX ON item USING hnsw (embedding vector_l2_ops);
CREATE INDEX item_wrvq ON item USING wrvq (embedding) WITH (lists = 8);
SELECT * FROM compare_scans('embedding', '<->', 'vector', 20, dimensions => 2100);
SELECT wrvq_check('item_wrvq');
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (half halfvec_cosine_ops) WITH (lists = 8);
SELECT * FROM compare_scans('half', '<=>', 'halfvec', 20, dimensions => 2100);
-- compressed too
ALTER TABLE item ALTER half SET STORAGE EXTENDED;
UPDATE item SET half = (SELECT array_agg(id % 5 + j % 3) FROM generate_series(1, 2100) j)::halfvec WHERE id % 2 = 0;
SELECT bool_and(pg_column_compression(half) IS NOT NULL) AS compressed FROM item WHERE id % 2 = 0;
SELECT wrvq_check('item_wrvq');
SELECT * FROM compare_scans('half', '<=>', 'halfvec', 20, dimensions => 2100);
-- a toasted query from the outer row
SET enable_seqscan = off;
SELECT q.id, count(*), min(n.d) < 1e-6 AS finds_itself FROM (SELECT id, half FROM item WHERE id IN (1, 2, 3)) q,
	LATERAL (SELECT half <=> q.half AS d FROM item ORDER BY half <=> q.half LIMIT 2) n GROUP BY q.id ORDER BY q.id;
RESET enable_seqscan;
DROP TABLE item;

CREATE TABLE item (id int PRIMARY KEY, embedding vector(16000), half halfvec(16000));
INSERT INTO item SELECT i, v, v FROM (SELECT i, cluster_vector(i, 16000) AS v FROM generate_series(1, 30) i) s;
CREATE INDEX item_wrvq ON item USING wrvq (embedding);
SELECT * FROM compare_scans('embedding', '<->', 'vector', 20, dimensions => 16000);
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (half halfvec_ip_ops);
SELECT * FROM compare_scans('half', '<#>', 'halfvec', 20, dimensions => 16000);
DROP INDEX item_wrvq;
-- encoded, not only compared
CREATE INDEX item_wrvq ON item USING wrvq (embedding) WITH (lists = 2);
INSERT INTO item SELECT i, v, v FROM (SELECT i, cluster_vector(i, 16000) AS v FROM generate_series(31, 40) i) s;
SELECT i->>'dimensions' AS dimensions, i->>'trained' AS trained, i->>'entries' AS entries, (i->>'bytes_per_entry')::int <= 252 AS fits
	FROM wrvq_index_info('item_wrvq') i;
SELECT wrvq_check('item_wrvq');
SELECT * FROM compare_scans('embedding', '<->', 'vector', 20, dimensions => 16000);
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (half halfvec_cosine_ops) WITH (lists = 2);
SELECT wrvq_check('item_wrvq');
SELECT * FROM compare_scans('half', '<=>', 'halfvec', 20, dimensions => 16000);
DROP TABLE item;

-- distances are the operator's own, where single precision overflows too
CREATE TABLE item (id int PRIMARY KEY, embedding vector(2));
INSERT INTO item SELECT i, ARRAY[i, 0]::vector FROM generate_series(1, 20) i;
INSERT INTO item VALUES (21, '[3e38,3e38]'), (22, '[-3e38,3e38]');
CREATE INDEX item_wrvq ON item USING wrvq (embedding);
SET enable_seqscan = off;
SELECT id, embedding <-> '[0,0]' AS distance FROM item WHERE id > 18 ORDER BY embedding <-> '[0,0]', id;
RESET enable_seqscan;
DROP TABLE item;
RESET wrvq.probes;
RESET wrvq.rerank;
