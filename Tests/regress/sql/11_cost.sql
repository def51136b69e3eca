-- the planner takes the faster plan: TOAST counts on both sides, and so does how many rows are wanted
SET max_parallel_workers_per_gather = 0;
CREATE FUNCTION plan(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Scan' THEN
			RETURN regexp_replace(line, '^[ >-]*', '');
		END IF;
	END LOOP;
END $$;
CREATE FUNCTION wide_vector(seed int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT v || v || v || v || v || v || v || v FROM cluster_vector(seed, 192) v OFFSET 0
$$;
-- 1,536 dimensions, out of line; before and after ANALYZE has seen that
CREATE TABLE wide (id int, tenant int, embedding real[]) WITH (autovacuum_enabled = off);
ALTER TABLE wide ALTER embedding SET STORAGE EXTERNAL;
INSERT INTO wide SELECT i, i % 50, wide_vector(i) FROM generate_series(1, 2000) i;
CREATE INDEX wide_index ON wide USING wrvq (embedding) WITH (lists = 100);
SELECT plan('SELECT id FROM wide ORDER BY embedding <-> wide_vector(1) LIMIT 10') AS not_analyzed;
ANALYZE wide;
SELECT n, plan(format('SELECT id FROM wide ORDER BY embedding <-> wide_vector(1) LIMIT %s', n)) FROM unnest('{1,10,100,300,1900,2000}'::int[]) AS n;
SELECT plan('SELECT id FROM wide ORDER BY embedding <-> wide_vector(1)') AS all_rows;
SELECT plan('DECLARE c CURSOR FOR SELECT id FROM wide ORDER BY embedding <-> wide_vector(1)') AS cursor;
-- a sphere asks about every vector
SELECT plan('SELECT id FROM wide WHERE embedding <<->> wrvq_sphere(wide_vector(1), 0.1)') AS sphere;
SELECT plan('SELECT id FROM wide WHERE embedding <-> wide_vector(1) < 0.5 ORDER BY embedding <-> wide_vector(1) LIMIT 10') AS threshold;
-- the rows of one tenant are soon sorted
CREATE INDEX wide_tenant ON wide (tenant);
SELECT plan('SELECT id FROM wide WHERE tenant = 7 ORDER BY embedding <-> wide_vector(1) LIMIT 10') AS one_in_50;
DROP INDEX wide_tenant;

-- generic plans, which do not know the limit
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(real[], int) AS SELECT id FROM wide ORDER BY embedding <-> $1 LIMIT $2;
SELECT plan('EXECUTE nearest(wide_vector(1), 10)') AS generic;
DEALLOCATE nearest;
RESET plan_cache_mode;
-- functions that are not inlined: how often is the index scanned?
CREATE FUNCTION match_set(query real[], count int) RETURNS SETOF int LANGUAGE sql STABLE SET wrvq.target_recall = 0.9 AS $$
	SELECT id FROM wide ORDER BY embedding <-> query LIMIT count
$$;
CREATE FUNCTION match_definer(query real[], threshold float8, count int) RETURNS TABLE (id int, distance float8) LANGUAGE sql STABLE SECURITY DEFINER AS $$
	SELECT w.id, w.embedding <-> query FROM wide w WHERE w.embedding <-> query < threshold ORDER BY w.embedding <-> query LIMIT count
$$;
CREATE FUNCTION match_plpgsql(query real[], count int) RETURNS SETOF int LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
BEGIN
	RETURN QUERY SELECT id FROM wide ORDER BY embedding <-> query LIMIT count;
END $$;
CREATE FUNCTION index_scans() RETURNS bigint LANGUAGE sql AS $$
	SELECT pg_stat_get_numscans('wide_index'::regclass) + pg_stat_get_xact_numscans('wide_index'::regclass)
$$;
BEGIN;
SELECT index_scans() AS before \gset
SELECT count(*) FROM match_set(wide_vector(1), 10);
SELECT index_scans() - :before AS scans;
SELECT count(*) FROM match_definer(wide_vector(1), 100, 10);
SELECT index_scans() - :before AS scans;
SELECT count(*) FROM match_plpgsql(wide_vector(1), 10);
SELECT index_scans() - :before AS scans;
COMMIT;
DROP FUNCTION match_set, match_definer, match_plpgsql, index_scans;
DROP TABLE wide;

-- EXPLAIN of 18 counts searches, of bitmap scans, too
CREATE FUNCTION searches(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
	found text := 'none';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		found := coalesce(substring(line FROM 'Index Searches: (\d+)'), found);
	END LOOP;
	RETURN CASE WHEN found = (CASE WHEN current_setting('server_version_num')::int >= 180000 THEN '1' ELSE 'none' END) THEN 'as it should be' ELSE found END;
END $$;
CREATE TABLE item AS SELECT i AS id, cluster_vector(i, 8) AS embedding FROM generate_series(1, 1200) i;
CREATE INDEX ON item USING wrvq (embedding);
SET enable_seqscan = off;
SELECT searches('SELECT id FROM item ORDER BY embedding <-> cluster_vector(1, 8) LIMIT 10') AS ordered;
SELECT searches('SELECT id FROM item ORDER BY embedding <-> cluster_vector(1, 8) LIMIT 500') AS in_many_rounds;
SET enable_indexscan = off;
SELECT searches('SELECT id FROM item WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 8), 0.1)') AS bitmap;
RESET enable_seqscan;
RESET enable_indexscan;
DROP TABLE item;
DROP FUNCTION searches;

-- in line: the first rows by the index, nearly all of them by a sequential scan
CREATE TABLE narrow (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO narrow SELECT i, cluster_vector(i, 192) FROM generate_series(1, 5000) i;
CREATE INDEX narrow_index ON narrow USING wrvq (embedding) WITH (lists = 100);
ANALYZE narrow;
SELECT n, plan(format('SELECT id FROM narrow ORDER BY embedding <-> cluster_vector(1, 192) LIMIT %s', n)) FROM unnest('{10,100,2500,4900}'::int[]) AS n;
SELECT plan('SELECT id FROM narrow ORDER BY embedding <-> cluster_vector(1, 192)') AS all_rows;
-- rows that a scan would not return must not be looked for there, however cheap reading them is
SET wrvq.max_scan_tuples = 100;
SELECT plan('SELECT id FROM narrow ORDER BY embedding <-> cluster_vector(1, 192) LIMIT 10') AS within_bound;
SELECT plan('SELECT id FROM narrow ORDER BY embedding <-> cluster_vector(1, 192) LIMIT 200') AS beyond;
SELECT plan('SELECT id FROM narrow WHERE id % 100 = 0 ORDER BY embedding <-> cluster_vector(1, 192) LIMIT 10') AS beyond_by_filter;
RESET wrvq.max_scan_tuples;
DROP TABLE narrow;

-- a small table is soon read
CREATE TABLE small (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO small SELECT i, cluster_vector(i, 16) FROM generate_series(1, 50) i;
CREATE INDEX small_index ON small USING wrvq (embedding);
ANALYZE small;
SELECT plan('SELECT id FROM small ORDER BY embedding <-> cluster_vector(1, 16) LIMIT 5');
DROP TABLE small;
DROP FUNCTION plan, wide_vector;
RESET max_parallel_workers_per_gather;
