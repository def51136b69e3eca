-- operator classes for pgvector's types, beside its own access methods
CREATE EXTENSION wrvq_pgvector CASCADE;
SELECT extname FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY extname;
SELECT opcname, opcintype::regtype, opcdefault, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
	WHERE amname = 'wrvq' ORDER BY opcintype::regtype::text, opcname;
-- the operators are pgvector's
SELECT DISTINCT amopopr::regoperator, e.extname FROM pg_amop JOIN pg_am a ON a.oid = amopmethod
	JOIN pg_depend d ON d.objid = amopopr AND d.classid = 'pg_operator'::regclass AND deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid
	WHERE amname = 'wrvq' ORDER BY 2, 1;
SELECT count(*) AS undocumented FROM pg_depend JOIN pg_proc p ON p.oid = objid
	WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wrvq_pgvector') AND obj_description(p.oid, 'pg_proc') IS NULL;

SET client_min_messages = warning;
CREATE FUNCTION cluster_vector(i int, dimensions int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4extended(j, i % 37) % 1000 / 1000.0 + hashint4extended(j, i) % 1000 / 2500.0)::real ORDER BY j)
	FROM generate_series(1, dimensions) j
$$;

-- rows of the nearest k by index and by sequential scan, over 20 queries: the very same distances, in the same order
CREATE FUNCTION compare_scans(expression text, operator text, query_type text, k int, condition text DEFAULT 'true', dimensions int DEFAULT 24)
	RETURNS TABLE (queries bigint, by_wrvq bigint, same_distances bigint, full_results bigint) LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('SELECT array_agg(d) FROM (SELECT %1$s %2$s $1::%3$s AS d FROM item WHERE %4$s'
		' ORDER BY %1$s %2$s $1::%3$s LIMIT %5$s) s', expression, operator, query_type, condition, k);
	query real[];
	by_index float8[];
	by_scan float8[];
	line text;
BEGIN
	queries := 0; by_wrvq := 0; same_distances := 0; full_results := 0;
	FOR query IN SELECT cluster_vector(i * 101 + 7, dimensions) FROM generate_series(1, 20) i LOOP
		SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_bitmapscan = off;
		EXECUTE statement INTO by_index USING query;
		FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement USING query LOOP
			by_wrvq := by_wrvq + (line ~ 'Index Scan using item_wrvq')::int;
		END LOOP;
		SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
		EXECUTE statement INTO by_scan USING query;
		queries := queries + 1;
		same_distances := same_distances + (by_index = by_scan)::int;
		full_results := full_results + (cardinality(by_index) = cardinality(by_scan))::int;
	END LOOP;
	RETURN NEXT;
END $$;

CREATE TABLE item (id int PRIMARY KEY, grp int, embedding vector(24), half halfvec(24));
INSERT INTO item SELECT i, i % 10, v, v FROM (SELECT i, cluster_vector(i, 24) AS v FROM generate_series(1, 3000) i) s;
INSERT INTO item SELECT i, i % 10, NULL, NULL FROM generate_series(3001, 3010) i;

-- everything visited and reranked: exactly the sequential scan
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
CREATE INDEX item_wrvq ON item USING wrvq (embedding);
SELECT * FROM compare_scans('embedding', '<->', 'vector', 100, 'embedding IS NOT NULL');
SELECT * FROM compare_scans('embedding', '<->', 'vector', 10, 'grp = 3');
SELECT wrvq_check('item_wrvq');
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (embedding vector_ip_ops);
SELECT * FROM compare_scans('embedding', '<#>', 'vector', 100);
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (embedding vector_cosine_ops) WITH (spill = 2);
SELECT * FROM compare_scans('embedding', '<=>', 'vector', 100);
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (half);
SELECT * FROM compare_scans('half', '<->', 'halfvec', 100, 'half IS NOT NULL');
SELECT wrvq_check('item_wrvq');
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (half halfvec_ip_ops);
SELECT * FROM compare_scans('half', '<#>', 'halfvec', 100);
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (half halfvec_cosine_ops);
SELECT * FROM compare_scans('half', '<=>', 'halfvec', 100);
DROP INDEX item_wrvq;
RESET wrvq.probes;
RESET wrvq.rerank;

-- at the default settings
CREATE INDEX item_wrvq ON item USING wrvq (embedding vector_l2_ops) WITH (lists = 50);
SELECT by_wrvq, same_distances >= 16 AS most_exact, full_results FROM compare_scans('embedding', '<->', 'vector', 10);
SELECT by_wrvq, full_results FROM compare_scans('embedding', '<->', 'vector', 10, 'id % 100 = 3');
SELECT wrvq_recall('item_wrvq', 10, 50) > 0.8 AS recall;
SELECT info->>'dimensions' AS dimensions, info->>'metric' AS metric, info->>'live' AS live FROM wrvq_index_info('item_wrvq') info;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
-- rows at the same distance by pgvector's own operator are as good: nothing is missed
SELECT wrvq_recall('item_wrvq', 10, 50) AS recall;

-- INSERT, UPDATE, DELETE, COPY and VACUUM
INSERT INTO item SELECT i, i % 10, v, v FROM (SELECT i, cluster_vector(i, 24) AS v FROM generate_series(4001, 5000) i) s;
UPDATE item SET embedding = cluster_vector(id + 10000, 24)::vector WHERE id % 7 = 0;
UPDATE item SET grp = grp + 1 WHERE id % 5 = 0;
DELETE FROM item WHERE id % 3 = 0;
SELECT wrvq_check('item_wrvq');
SELECT * FROM compare_scans('embedding', '<->', 'vector', 100);
VACUUM item;
COPY (SELECT i, 1, cluster_vector(i, 24)::vector(24), NULL FROM generate_series(6001, 6500) i) TO PROGRAM 'cat > wrvq_pgvector_copy.txt';
COPY item FROM PROGRAM 'cat wrvq_pgvector_copy.txt; rm wrvq_pgvector_copy.txt';
SELECT wrvq_check('item_wrvq');
SELECT * FROM compare_scans('embedding', '<->', 'vector', 100);

-- HNSW and IVFFlat beside it: each answers, and dropping one leaves the others
CREATE INDEX item_hnsw ON item USING hnsw (embedding vector_l2_ops);
CREATE INDEX item_ivfflat ON item USING ivfflat (embedding vector_l2_ops) WITH (lists = 10);
INSERT INTO item SELECT i, 1, v, v FROM (SELECT i, cluster_vector(i, 24) AS v FROM generate_series(7001, 7100) i) s;
SELECT amname, (SELECT count(*) FROM pg_opclass WHERE opcmethod = a.oid AND opcname IN ('vector_l2_ops', 'vector_ip_ops', 'vector_cosine_ops')) AS same_names
	FROM pg_class c JOIN pg_am a ON a.oid = relam WHERE relname LIKE 'item\_%' AND amname <> 'btree' ORDER BY amname;
BEGIN;
DROP INDEX item_hnsw, item_ivfflat;
SELECT by_wrvq, same_distances FROM compare_scans('embedding', '<->', 'vector', 100);
ROLLBACK;
BEGIN;
DROP INDEX item_wrvq, item_ivfflat;
SET LOCAL enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> (SELECT embedding FROM item WHERE id = 1) LIMIT 5) s;
ROLLBACK;

-- NULL queries, cursors, prepared statements, a query from the outer row
DROP INDEX item_hnsw, item_ivfflat;
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <-> NULL::vector LIMIT 3) s;
PREPARE nearest(vector) AS SELECT id FROM item ORDER BY embedding <-> $1 LIMIT 1;
EXECUTE nearest(cluster_vector(41, 24)::vector);
SELECT q.id, count(*), bool_or(n.id = q.id) AS finds_itself FROM (SELECT id, embedding FROM item WHERE id IN (1, 2, 4)) q,
	LATERAL (SELECT id FROM item ORDER BY embedding <-> q.embedding LIMIT 2) n GROUP BY q.id ORDER BY q.id;
-- bad input: pgvector's own errors for values, ours for what an index cannot take
SELECT id FROM item ORDER BY embedding <-> '[1,2,3]' LIMIT 1;
\echo :LAST_ERROR_SQLSTATE
INSERT INTO item (id, embedding) VALUES (9000, '[1,2,3]');
\echo :LAST_ERROR_SQLSTATE
RESET enable_seqscan;
CREATE INDEX ON item USING wrvq (embedding vector_l1_ops);
\echo :LAST_ERROR_SQLSTATE
CREATE INDEX ON item USING wrvq (embedding halfvec_l2_ops);
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE mixed (embedding vector);
INSERT INTO mixed VALUES ('[1,2,3]'), ('[1,2]');
CREATE INDEX ON mixed USING wrvq (embedding);
\echo :LAST_ERROR_SQLSTATE
DROP TABLE mixed, item;
