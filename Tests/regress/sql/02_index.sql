-- an index finds what a sequential scan finds when it visits and reranks everything
SET client_min_messages = warning;
CREATE FUNCTION cluster_vector(i int, dimensions int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4extended(j, i % 37) % 1000 / 1000.0 + hashint4extended(j, i) % 1000 / 2500.0)::real ORDER BY j)
	FROM generate_series(1, dimensions) j
$$;
CREATE TABLE item (id int PRIMARY KEY, grp int, embedding real[]);
INSERT INTO item SELECT i, i % 10, cluster_vector(i, 24) FROM generate_series(1, 3000) i;
INSERT INTO item SELECT i, i % 10, NULL FROM generate_series(3001, 3010) i;
INSERT INTO item VALUES (3011, 1, array_fill(0::real, ARRAY[24]));

-- rows of the nearest k by index and by sequential scan, over 20 queries; order and distances must agree
CREATE FUNCTION compare_scans(operator text, k int, condition text DEFAULT 'true')
	RETURNS TABLE (queries bigint, same_distances bigint, full_results bigint) LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('SELECT array_agg(d) FROM (SELECT embedding %1$s $1 AS d FROM item WHERE embedding IS NOT NULL'
		' AND %2$s ORDER BY embedding %1$s $1 LIMIT %3$s) s', operator, condition, k);
	query real[];
	by_index float8[];
	by_scan float8[];
BEGIN
	queries := 0; same_distances := 0; full_results := 0;
	FOR query IN SELECT cluster_vector(i * 101 + 7, 24) FROM generate_series(1, 20) i LOOP
		SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = off;
		EXECUTE statement INTO by_index USING query;
		SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
		EXECUTE statement INTO by_scan USING query;
		queries := queries + 1;
		same_distances := same_distances + (by_index = by_scan)::int;
		full_results := full_results + (cardinality(by_index) = cardinality(by_scan))::int;
	END LOOP;
	RETURN NEXT;
END $$;

-- everything visited and reranked: exactly the sequential scan
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
CREATE INDEX item_embedding ON item USING wrvq (embedding);
SELECT * FROM compare_scans('<->', 10);
SELECT * FROM compare_scans('<->', 500);
SELECT * FROM compare_scans('<->', 10, 'grp = 3');
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding real_ip_ops);
SELECT * FROM compare_scans('<#>', 10);
DROP INDEX item_embedding;
-- under cosine the zero vector is not indexed
CREATE INDEX item_embedding ON item USING wrvq (embedding real_cosine_ops);
SELECT * FROM compare_scans('<=>', 10, 'id <> 3011');
DROP INDEX item_embedding;
RESET wrvq.probes;
RESET wrvq.rerank;

-- defaults: full results, and a plan that uses the index
CREATE INDEX item_embedding ON item USING wrvq (embedding) WITH (lists = 50);
SET wrvq.target_recall = 0.99;
SELECT queries, same_distances >= 14 AS most_exact, full_results FROM compare_scans('<->', 10);
RESET wrvq.target_recall;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest_five(real[]) AS SELECT id FROM item ORDER BY embedding <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE nearest_five(NULL);
-- filters and deep limits do not return short
SELECT queries, full_results FROM compare_scans('<->', 10, 'id % 100 = 3');
SELECT queries, full_results FROM compare_scans('<->', 1500);
SET wrvq.iterative_scan = off;
SELECT full_results < queries AS short_without_widening FROM compare_scans('<->', 1500);
RESET wrvq.iterative_scan;
SET wrvq.max_scan_tuples = 100;
SELECT full_results < queries AS short_when_bounded FROM compare_scans('<->', 1500);
RESET wrvq.max_scan_tuples;

-- distances come in order whatever is pulled
SET enable_seqscan = off;
SELECT count(*), bool_and(d >= previous) AS ordered FROM (
	SELECT d, lag(d, 1, 0) OVER (ROWS UNBOUNDED PRECEDING) AS previous FROM (
		SELECT embedding <-> cluster_vector(99, 24) AS d FROM item ORDER BY embedding <-> cluster_vector(99, 24) LIMIT 2000) s) t;

-- a nested loop with the query from the outer row
EXPLAIN (COSTS OFF) SELECT q.id, n.id FROM (SELECT id, embedding FROM item WHERE id IN (1, 2, 3)) q,
	LATERAL (SELECT id FROM item ORDER BY embedding <-> q.embedding LIMIT 2) n;
SELECT q.id, count(*), bool_or(n.id = q.id) AS finds_itself FROM (SELECT id, embedding FROM item WHERE id IN (1, 2, 3)) q,
	LATERAL (SELECT id FROM item ORDER BY embedding <-> q.embedding LIMIT 2) n GROUP BY q.id ORDER BY q.id;

-- cursors and prepared statements
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM item ORDER BY embedding <-> cluster_vector(7, 24);
FETCH 1 FROM c;
MOVE 100 FROM c;
COMMIT;
PREPARE nearest(real[]) AS SELECT id FROM item ORDER BY embedding <-> $1 LIMIT 1;
EXECUTE nearest(cluster_vector(41, 24));
EXECUTE nearest(cluster_vector(1234, 24));
-- an unknown query compares as unknown with every row
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> NULL::real[] LIMIT 3) s;

-- bad queries
SELECT id FROM item ORDER BY embedding <-> '{1,2,3}' LIMIT 1;
\echo :LAST_ERROR_SQLSTATE
SELECT id FROM item ORDER BY embedding <-> (ARRAY['NaN'::real] || array_fill(1::real, ARRAY[23])) LIMIT 1;
\echo :LAST_ERROR_SQLSTATE
SELECT id FROM item ORDER BY embedding <-> (ARRAY[NULL::real] || array_fill(1::real, ARRAY[23])) LIMIT 1;
\echo :LAST_ERROR_SQLSTATE
RESET enable_seqscan;

-- REINDEX, CREATE INDEX CONCURRENTLY, partial, expression and unlogged indexes
REINDEX INDEX item_embedding;
REINDEX INDEX CONCURRENTLY item_embedding;
SELECT queries, full_results FROM compare_scans('<->', 10);
DROP INDEX item_embedding;
CREATE INDEX CONCURRENTLY item_embedding ON item USING wrvq (embedding);
SELECT indisvalid FROM pg_index WHERE indexrelid = 'item_embedding'::regclass;
SELECT queries, full_results FROM compare_scans('<->', 10);
DROP INDEX item_embedding;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
CREATE INDEX item_partial ON item USING wrvq (embedding) WHERE grp = 4;
PREPARE nearest_five_of_four(real[]) AS SELECT id FROM item WHERE grp = 4 ORDER BY embedding <-> $1 LIMIT 5;
EXPLAIN (COSTS OFF) EXECUTE nearest_five_of_four(NULL);
SELECT * FROM compare_scans('<->', 10, 'grp = 4');
DROP INDEX item_partial;
CREATE FUNCTION first_eight(real[]) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT $1[1:8]';
CREATE INDEX item_expression ON item USING wrvq (first_eight(embedding));
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY first_eight(embedding) <-> '{1,1,1,1,1,1,1,1}' LIMIT 3;
CREATE TEMP TABLE by_index AS SELECT id FROM item ORDER BY first_eight(embedding) <-> '{1,1,1,1,1,1,1,1}' LIMIT 20;
SET enable_indexscan = off;
RESET enable_seqscan;
SELECT count(*) AS same FROM by_index JOIN (SELECT id FROM item WHERE embedding IS NOT NULL
	ORDER BY first_eight(embedding) <-> '{1,1,1,1,1,1,1,1}' LIMIT 20) s USING (id);
RESET enable_indexscan;
DROP INDEX item_expression;
CREATE UNLOGGED TABLE unlogged_item AS SELECT id, embedding FROM item;
CREATE INDEX ON unlogged_item USING wrvq (embedding);
SET enable_seqscan = off;
SELECT id FROM unlogged_item ORDER BY embedding <-> cluster_vector(77, 24) LIMIT 1;
RESET enable_seqscan;
DROP TABLE unlogged_item;
RESET wrvq.probes;
RESET wrvq.rerank;
DROP TABLE item;
