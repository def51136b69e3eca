-- pgvector's documented examples with only the access method changed
SET client_min_messages = warning;

-- Getting started, storing
CREATE TABLE items (id bigserial PRIMARY KEY, embedding vector(3));
CREATE INDEX ON items USING wrvq (embedding vector_l2_ops);
INSERT INTO items (embedding) VALUES ('[1,2,3]'), ('[4,5,6]');
SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
INSERT INTO items (id, embedding) VALUES (1, '[1,2,3]'), (2, '[4,5,6]')
	ON CONFLICT (id) DO UPDATE SET embedding = EXCLUDED.embedding;
UPDATE items SET embedding = '[1,2,3]' WHERE id = 1;
DELETE FROM items WHERE id = 1;
SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
ALTER TABLE items ADD COLUMN category_id int, ADD COLUMN location_id int, ADD COLUMN content text;
INSERT INTO items (embedding, category_id, location_id, content)
	SELECT ARRAY[i % 13, i % 29, i % 31]::vector, i % 250, i % 3, 'about ' || i FROM generate_series(1, 5000) i;
INSERT INTO items (id, embedding) VALUES (1, '[3,1,2]');

-- Querying
SET enable_seqscan = off;
SET enable_sort = off;
SELECT id, embedding FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 1;
SELECT count(*), min(embedding <-> '[3,1,2]') > 0 AS another FROM (
	SELECT * FROM items WHERE id != 1 ORDER BY embedding <-> (SELECT embedding FROM items WHERE id = 1) LIMIT 5) s;
SELECT count(*) > 5 AS many FROM items WHERE embedding <-> '[3,1,2]' < 5;
SELECT count(*) FROM (SELECT * FROM items WHERE embedding <-> '[3,1,2]' < 5 ORDER BY embedding <-> '[3,1,2]' LIMIT 5) s;
SELECT embedding <-> '[3,1,2]' AS distance FROM items ORDER BY 1 LIMIT 2;
SELECT (embedding <#> '[3,1,2]') * -1 AS inner_product FROM items WHERE id = 1;
SELECT 1 - (embedding <=> '[3,1,2]') AS cosine_similarity FROM items WHERE id = 1;
-- operators that we have no class for work as ever
SELECT id, embedding <+> '[3,1,2]' AS l1 FROM items ORDER BY embedding <+> '[3,1,2]' LIMIT 1;
SELECT AVG(embedding) FROM items WHERE id < 3;
SELECT category_id, AVG(embedding) FROM items WHERE category_id < 2 GROUP BY category_id ORDER BY 1;
SELECT SUM(embedding) FROM items WHERE id < 3;
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
DROP INDEX items_embedding_idx;

-- Indexing: every class
CREATE INDEX ON items USING wrvq (embedding vector_l2_ops);
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
DROP INDEX items_embedding_idx;
CREATE INDEX ON items USING wrvq (embedding vector_ip_ops) WITH (lists = 100);
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY embedding <#> '[3,1,2]' LIMIT 5;
DROP INDEX items_embedding_idx;
CREATE INDEX ON items USING wrvq (embedding vector_cosine_ops) WITH (lists = 100);
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY embedding <=> '[3,1,2]' LIMIT 5;
DROP INDEX items_embedding_idx;
SET maintenance_work_mem = '64MB';
SET max_parallel_maintenance_workers = 7;
-- HNSW's options go through, without effect
SET client_min_messages = notice;
CREATE INDEX CONCURRENTLY ON items USING wrvq (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64);
SET client_min_messages = warning;
SELECT i->>'trained' AS trained, i->>'entries' AS entries FROM wrvq_index_info('items_embedding_idx') i;
ALTER INDEX items_embedding_idx RESET (m, ef_construction);
REINDEX INDEX items_embedding_idx;
DROP INDEX items_embedding_idx;
-- what they refuse, we do
CREATE INDEX ON items USING wrvq (embedding vector_l2_ops) WITH (m = 1);
CREATE INDEX ON items USING wrvq (embedding vector_l2_ops) WITH (lists = 1000);
DROP INDEX items_embedding_idx;
-- no operator classes for L1, bits and sparse vectors
CREATE INDEX ON items USING wrvq (embedding vector_l1_ops);
CREATE INDEX ON items USING wrvq ((binary_quantize(embedding)::bit(3)) bit_hamming_ops);
CREATE INDEX ON items USING wrvq ((embedding::sparsevec(3)) sparsevec_l2_ops);
CREATE INDEX CONCURRENTLY ON items USING wrvq (embedding vector_l2_ops) WITH (lists = 100);
SELECT phase, round(100.0 * blocks_done / nullif(blocks_total, 0), 1) AS "%" FROM pg_stat_progress_create_index;
SELECT phase, tuples_done, tuples_total FROM pg_stat_progress_create_index;
RESET maintenance_work_mem;
RESET max_parallel_maintenance_workers;
BEGIN;
-- settings of pgvector's access methods may stay where they are
SET LOCAL hnsw.ef_search = 100;
SET LOCAL ivfflat.probes = 10;
SET LOCAL hnsw.iterative_scan = strict_order;
SET LOCAL hnsw.max_scan_tuples = 20000;
SET LOCAL hnsw.scan_mem_multiplier = 2;
SET LOCAL ivfflat.iterative_scan = relaxed_order;
SET LOCAL ivfflat.max_probes = 100;
SELECT count(*) FROM (SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5) s;
COMMIT;
-- exact search to compare with, as monitoring does; the plan with its buffers
BEGIN;
CREATE TEMP TABLE by_index AS SELECT id FROM items ORDER BY embedding <-> '[3,1,2]', id LIMIT 5;
SET LOCAL enable_indexscan = off;
SET LOCAL enable_seqscan = on;
SET LOCAL enable_sort = on;
SET LOCAL max_parallel_workers_per_gather = 4;
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
-- an expression around the operator is no order that an index has
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY 1 - (embedding <=> '[3,1,2]') DESC LIMIT 5;
SELECT count(*) AS same FROM by_index JOIN (SELECT id FROM items ORDER BY embedding <-> '[3,1,2]', id LIMIT 5) s USING (id);
COMMIT;
DO $$
DECLARE
	line text;
	lines text := '';
BEGIN
	FOR line IN EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 5 LOOP
		lines := lines || line;
	END LOOP;
	ASSERT lines ~ 'Index Scan using items_embedding_idx' AND lines ~ 'Buffers: ', lines;
END $$;

-- Filtering
SELECT count(*), bool_and(category_id = 123) FROM (
	SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5) s;
EXPLAIN (COSTS OFF) SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
-- an index on the filter column beside it, of one column or more: the planner may take either
CREATE INDEX ON items (category_id);
CREATE INDEX items_location ON items (location_id, category_id);
SELECT count(*), bool_and(category_id = 123) FROM (
	SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5) s;
SELECT count(*), bool_and(category_id = 123 AND location_id = 1) FROM (
	SELECT * FROM items WHERE location_id = 1 AND category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5) s;
DROP INDEX items_location;
DROP INDEX items_embedding_idx;
-- partial indexes
CREATE INDEX items_123 ON items USING wrvq (embedding vector_l2_ops) WHERE (category_id = 123);
DROP INDEX items_category_id_idx;
EXPLAIN (COSTS OFF) SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
SELECT count(*), bool_and(category_id = 123) FROM (
	SELECT * FROM items WHERE category_id = 123 ORDER BY embedding <-> '[3,1,2]' LIMIT 50) s;
DROP INDEX items_123;
-- partitions
CREATE TABLE parted (embedding vector(3), category_id int) PARTITION BY LIST (category_id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
CREATE INDEX ON parted USING wrvq (embedding);
INSERT INTO parted SELECT embedding, 1 + id % 2 FROM items;
EXPLAIN (COSTS OFF) SELECT * FROM parted ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
SELECT count(*), bool_and(d <= 2) AS near FROM (SELECT embedding <-> '[3,1,2]' AS d FROM parted ORDER BY embedding <-> '[3,1,2]' LIMIT 5) s;

-- Maintenance
CREATE INDEX index_name ON items USING wrvq (embedding vector_l2_ops);
REINDEX INDEX CONCURRENTLY index_name;
VACUUM items;
ALTER TABLE items ALTER COLUMN embedding SET STORAGE PLAIN;
SELECT pg_size_pretty(pg_relation_size('index_name')) <> '0 bytes' AS has_size;
DROP INDEX index_name;

-- Iterative scans, with the distance filter outside
CREATE INDEX ON items USING wrvq (embedding vector_l2_ops);
WITH relaxed_results AS MATERIALIZED (
	SELECT id, embedding <-> '[1,2,3]' AS distance FROM items WHERE category_id = 123 ORDER BY distance LIMIT 5
) SELECT count(*) FROM (SELECT * FROM relaxed_results ORDER BY distance + 0) s;
WITH nearest_results AS MATERIALIZED (
	SELECT id, embedding <-> '[1,2,3]' AS distance FROM items ORDER BY distance LIMIT 5
) SELECT count(*) FROM (SELECT * FROM nearest_results WHERE distance < 5 ORDER BY distance) s;
DROP INDEX items_embedding_idx;

-- Half-precision vectors, and half-precision indexing
CREATE TABLE half_items (id bigserial PRIMARY KEY, embedding halfvec(3));
INSERT INTO half_items (embedding) VALUES ('[1,2,3]'), ('[4,5,6]');
CREATE INDEX ON half_items USING wrvq (embedding halfvec_l2_ops);
SELECT * FROM half_items ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
CREATE INDEX ON items USING wrvq ((embedding::halfvec(3)) halfvec_l2_ops);
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY embedding::halfvec(3) <-> '[1,2,3]' LIMIT 5;
SELECT count(*) FROM (SELECT * FROM items ORDER BY embedding::halfvec(3) <-> '[1,2,3]' LIMIT 5) s;
DROP INDEX items_embedding_idx;

-- Binary quantization: by scan, then ranked by the vectors
SELECT count(*) FROM (SELECT * FROM (
	SELECT * FROM items ORDER BY binary_quantize(embedding)::bit(3) <~> binary_quantize('[1,-2,3]'::vector) LIMIT 20
) s ORDER BY embedding <=> '[1,-2,3]' LIMIT 5) t;

-- Indexing subvectors
CREATE INDEX items_sub ON items USING wrvq ((subvector(embedding, 1, 2)::vector(2)) vector_cosine_ops);
EXPLAIN (COSTS OFF) SELECT * FROM items ORDER BY subvector(embedding, 1, 2)::vector(2) <=> subvector('[1,2,3]'::vector, 1, 2) LIMIT 5;
SELECT count(*) FROM (SELECT * FROM (
	SELECT * FROM items ORDER BY subvector(embedding, 1, 2)::vector(2) <=> subvector('[1,2,3]'::vector, 1, 2) LIMIT 20
) s ORDER BY embedding <=> '[1,2,3]' LIMIT 5) t;
DROP INDEX items_sub;

-- Hybrid search: a filter by full text, ranked by distance
CREATE INDEX items_embedding_idx ON items USING wrvq (embedding vector_l2_ops);
SELECT id FROM items, plainto_tsquery('about 77') query
	WHERE to_tsvector('simple', content) @@ query ORDER BY embedding <-> '[3,1,2]' LIMIT 5;
-- reciprocal ranks of both searches, summed
WITH by_meaning AS (
	SELECT id, RANK() OVER (ORDER BY embedding <-> '[3,1,2]') AS rank FROM items ORDER BY embedding <-> '[3,1,2]' LIMIT 20
), by_words AS (
	SELECT id, RANK() OVER (ORDER BY ts_rank_cd(to_tsvector('simple', content), query) DESC) AS rank
	FROM items, plainto_tsquery('simple', 'about 77') query WHERE to_tsvector('simple', content) @@ query LIMIT 20
)
SELECT count(*), max(coalesce(1.0 / (60 + by_meaning.rank), 0) + coalesce(1.0 / (60 + by_words.rank), 0)) > 0.016 AS ranked
FROM by_meaning FULL JOIN by_words USING (id);
DROP INDEX items_embedding_idx;

-- More precision: double precision[] or numeric[], with an expression index on vectors
CREATE TABLE precise_items (id bigserial PRIMARY KEY, embedding double precision[]);
ALTER TABLE precise_items ADD CHECK (vector_dims(embedding::vector) = 3);
INSERT INTO precise_items (embedding) VALUES ('{1,2,3}'), ('{4,5,6}');
CREATE INDEX ON precise_items USING wrvq ((embedding::vector(3)) vector_l2_ops);
EXPLAIN (COSTS OFF) SELECT * FROM precise_items ORDER BY embedding::vector(3) <-> '[3,1,2]' LIMIT 5;
SELECT * FROM precise_items ORDER BY embedding::vector(3) <-> '[3,1,2]' LIMIT 5;

-- Vectors of different dimensions in one column: expression and partial indexes
CREATE TABLE embeddings (model_id bigint, item_id bigint, embedding vector, PRIMARY KEY (model_id, item_id));
CREATE INDEX embeddings_123 ON embeddings USING wrvq ((embedding::vector(3)) vector_l2_ops) WHERE (model_id = 123);
INSERT INTO embeddings SELECT 123, id, embedding FROM items;
INSERT INTO embeddings SELECT 124, id, subvector(embedding, 1, 2) FROM items;
REINDEX INDEX embeddings_123;
EXPLAIN (COSTS OFF) SELECT * FROM embeddings WHERE model_id = 123 ORDER BY embedding::vector(3) <-> '[3,1,2]' LIMIT 5;
SELECT item_id, embedding FROM embeddings WHERE model_id = 123 ORDER BY embedding::vector(3) <-> '[3,1,2]' LIMIT 1;
INSERT INTO embeddings SELECT 123, id + 1000000, embedding FROM items LIMIT 500;
VACUUM embeddings;
SELECT wrvq_check('embeddings_123');
-- a dump of what was changed: nothing but the access method
SELECT indexdef FROM pg_indexes WHERE indexname = 'embeddings_123';
DROP TABLE items, parted, half_items, precise_items, embeddings;
