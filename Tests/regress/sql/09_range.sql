-- range search: a sphere as an index condition
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE TABLE item (id int PRIMARY KEY, grp int, embedding real[]) WITH (autovacuum_enabled = off);

-- by hand: the radius counts as inside, in the value of each operator
SELECT v, v::real[] <<->> wrvq_sphere('{1,2,3}', 2) AS l2, v::real[] <<#>> wrvq_sphere('{1,2,3}', -14) AS ip,
	v::real[] <<=>> wrvq_sphere('{1,2,3}', 0) AS cosine
	FROM (VALUES ('{1,2,3}'), ('{1,2,5}'), ('{1,2,5.001}'), ('{2,4,6}'), ('{0,0,0}')) s(v);
SELECT wrvq_sphere('{1,2}', 0.5), (wrvq_sphere('{1,2}', 0.5)).center, (wrvq_sphere('{1,2}', 0.5)).radius, wrvq_sphere(NULL, 1) IS NULL AS of_null;
SELECT '{1}'::real[] <<->> NULL AS no_sphere, '{1}'::real[] <<->> ROW(NULL, 1)::wrvq_sphere AS no_center, '{1}'::real[] <<->> ROW('{1}', NULL)::wrvq_sphere AS no_radius;
SELECT '{1}'::real[] <<->> wrvq_sphere('{1}', 'Infinity') AS everything, '{1}'::real[] <<->> wrvq_sphere('{1}', -0.1) AS nothing,
	'{0}'::real[] <<=>> wrvq_sphere('{1}', 'Infinity') AS no_direction;
SELECT wrvq_sphere('{1}', 'NaN');
\echo :LAST_ERROR_SQLSTATE
SELECT '{1}'::real[] <<->> ROW('{1}', 'NaN')::wrvq_sphere;
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_sphere('{1,NaN}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_sphere('{1,NULL}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,2}'::real[] <<->> wrvq_sphere('{1,2,3}', 1);
\echo :LAST_ERROR_SQLSTATE

-- sphere i of a table: its centre a row, beside a row, or anywhere; its radius the very distance of a row, near or far
CREATE FUNCTION sphere_of(operator text, i int, OUT center real[], OUT other real[], OUT radius float8) LANGUAGE plpgsql AS $$
BEGIN
	SELECT CASE i % 3 WHEN 0 THEN cluster_vector(i * 101, 24) WHEN 1 THEN cluster_vector(i * 977 + 100000, 24)
		ELSE array_agg((hashint4extended(i, j) % 2000 / 1000.0)::real) END INTO center FROM generate_series(1, 24) j;
	other := CASE i % 2 WHEN 0 THEN center ELSE cluster_vector(i * 13, 24) END;
	EXECUTE format('SELECT d FROM (SELECT embedding %s $1 AS d FROM item WHERE embedding IS NOT NULL) s WHERE d <> ''NaN'' ORDER BY d OFFSET $2 LIMIT 1',
		operator) INTO radius USING center, (ARRAY[0, 1, 3, 9, 30, 100, 400, 1500])[1 + i / 3 % 8];
	radius := coalesce(radius, 1);
END $$;

-- what 48 spheres find by index and by sequential scan.  by_wrvq: three lines of a plan; wrong: not inside, or twice;
-- same_bitmap: the rows of the index scan by bitmap; same_first and ordered: with an ORDER BY, from the sphere's centre or from elsewhere
CREATE FUNCTION compare_ranges(operator text, condition text DEFAULT 'true')
	RETURNS TABLE (by_wrvq bigint, same bigint, wrong bigint, found_share float8, same_bitmap bigint, same_first bigint, ordered bigint) LANGUAGE plpgsql AS $$
DECLARE
	line text;
	inside text := '<' || operator || '>';
	statement text := format('SELECT ARRAY(SELECT id FROM item WHERE embedding %s wrvq_sphere($1, $3) AND %s)', inside, condition);
	ordering text := format('SELECT ARRAY(SELECT embedding %2$s $2 FROM item WHERE embedding %1$s wrvq_sphere($1, $3) AND %3$s'
		' ORDER BY embedding %2$s $2 LIMIT $4)', inside, operator, condition);
	by_index int[]; by_scan int[]; by_bitmap int[];
	first_by_index float8[]; first_by_scan float8[];
	s record; most int; found bigint := 0; rows bigint := 0;
BEGIN
	by_wrvq := 0; same := 0; wrong := 0; same_bitmap := 0; same_first := 0; ordered := 0;
	FOR i IN 1..48 LOOP
		SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
		SELECT * INTO s FROM sphere_of(operator, i);
		most := CASE i % 5 WHEN 0 THEN 5 ELSE 100000 END;
		EXECUTE statement INTO by_scan USING s.center, s.other, s.radius;
		EXECUTE ordering INTO first_by_scan USING s.center, s.other, s.radius, most;
		SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_sort = off;
		EXECUTE statement INTO by_index USING s.center, s.other, s.radius;
		EXECUTE ordering INTO first_by_index USING s.center, s.other, s.radius, most;
		FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || ordering USING s.center, s.other, s.radius, most LOOP
			by_wrvq := by_wrvq + (line ~ '(Index Scan using item_embedding|Index Cond: .*wrvq_sphere|Order By: )')::int;
		END LOOP;
		SET LOCAL enable_sort = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = on;
		EXECUTE statement INTO by_bitmap USING s.center, s.other, s.radius;
		same_bitmap := same_bitmap + (by_index <@ by_bitmap AND by_index @> by_bitmap AND cardinality(by_index) = cardinality(by_bitmap))::int;
		same := same + (by_index <@ by_scan AND by_index @> by_scan AND cardinality(by_index) = cardinality(by_scan))::int;
		wrong := wrong + cardinality(by_index) - (SELECT count(DISTINCT id) FROM unnest(by_index) id WHERE id = ANY (by_scan));
		found := found + cardinality(by_index);
		rows := rows + cardinality(by_scan);
		same_first := same_first + (first_by_index = first_by_scan)::int;
		ordered := ordered + (SELECT coalesce(bool_and(d >= previous), true)::int FROM (SELECT d, lag(d) OVER () AS previous FROM unnest(first_by_index) d) o);
	END LOOP;
	found_share := found::float8 / rows;
	RETURN NEXT;
END $$;

-- an empty index, then rows that wait for a codebook
CREATE INDEX item_embedding ON item USING wrvq (embedding);
SELECT count(*) FROM item WHERE embedding <<->> wrvq_sphere('{1,2,3}', 1);
INSERT INTO item SELECT i, i % 10, cluster_vector(i, 24) FROM generate_series(1, 600) i;
SELECT * FROM compare_ranges('<->');
DROP INDEX item_embedding;
INSERT INTO item SELECT i, i % 10, cluster_vector(i, 24) FROM generate_series(601, 4000) i;
INSERT INTO item SELECT i, i % 10, NULL FROM generate_series(4001, 4010) i;
INSERT INTO item VALUES (4011, 1, array_fill(0::real, ARRAY[24]));
ANALYZE item;

-- all lists probed: exactly the sequential scan, whatever else is set
CREATE FUNCTION compare_classes(options text) RETURNS TABLE (class text, by_wrvq bigint, same bigint, wrong bigint, same_bitmap bigint, same_first bigint, ordered bigint) LANGUAGE plpgsql AS $$
DECLARE
	operator text;
BEGIN
	FOR class, operator IN VALUES ('real_l2_ops', '<->'), ('real_ip_ops', '<#>'), ('real_cosine_ops', '<=>') LOOP
		EXECUTE format('DROP INDEX IF EXISTS item_embedding; CREATE INDEX item_embedding ON item USING wrvq (embedding %s) %s', class, options);
		RETURN QUERY SELECT class, c.by_wrvq, c.same, c.wrong, c.same_bitmap, c.same_first, c.ordered FROM compare_ranges(operator) c;
	END LOOP;
END $$;
SET wrvq.probes = 65536;
SELECT * FROM compare_classes('');
SELECT * FROM compare_classes('WITH (spill = 2)');
SET wrvq.rerank = 1000000;
SELECT * FROM compare_classes('WITH (lists = 20)');
-- with a filter, and after changes
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding);
SELECT same, wrong, same_bitmap, same_first, ordered FROM compare_ranges('<->', 'grp IN (3, 4)');
DELETE FROM item WHERE id % 4 = 0;
UPDATE item SET embedding = cluster_vector(id + 10000, 24) WHERE id % 7 = 0;
SELECT same, wrong, same_bitmap, same_first, ordered FROM compare_ranges('<->');
VACUUM item;
SELECT same, wrong, same_bitmap, same_first, ordered FROM compare_ranges('<->');
RESET wrvq.rerank;
RESET wrvq.probes;

-- by target: nothing wrong, and no more missed than the target permits
CREATE FUNCTION compare_targets(class text, operator text) RETURNS TABLE (target float8, wrong bigint, enough bool, ordered bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('DROP INDEX IF EXISTS item_embedding; CREATE INDEX item_embedding ON item USING wrvq (embedding %s)', class);
	FOREACH target IN ARRAY ARRAY[0.8, 0.95, 0.99] LOOP
		PERFORM set_config('wrvq.target_recall', target::text, true);
		RETURN QUERY SELECT target, c.wrong, c.found_share >= target, c.ordered FROM compare_ranges(operator) c;
	END LOOP;
END $$;
SELECT * FROM compare_targets('real_l2_ops', '<->');
SELECT * FROM compare_targets('real_ip_ops', '<#>');
SELECT * FROM compare_targets('real_cosine_ops', '<=>');
-- what bounds a scan in order of distance does not bound a sphere
DROP INDEX item_embedding;
CREATE INDEX item_embedding ON item USING wrvq (embedding);
SET wrvq.max_scan_tuples = 50;
SET wrvq.iterative_scan = off;
SELECT wrong, found_share >= 0.95 AS enough, ordered FROM compare_ranges('<->');
RESET wrvq.max_scan_tuples;
RESET wrvq.iterative_scan;

-- plans
SET enable_seqscan = off;
SET plan_cache_mode = force_generic_plan;
PREPARE inside(real[], float8) AS SELECT id FROM item WHERE embedding <<->> wrvq_sphere($1, $2);
EXPLAIN (COSTS OFF) EXECUTE inside(NULL, NULL);
PREPARE nearest_inside(real[], float8) AS SELECT id FROM item WHERE embedding <<->> wrvq_sphere($1, $2) ORDER BY embedding <-> $1 LIMIT 3;
EXPLAIN (COSTS OFF) EXECUTE nearest_inside(NULL, NULL);
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE embedding <<->> wrvq_sphere(array_fill(1::real, ARRAY[2]), 0.5);
-- prepared: other spheres, and none
EXECUTE inside(cluster_vector(41, 24), 0);
EXECUTE inside(cluster_vector(42, 24), 0);
EXECUTE nearest_inside(cluster_vector(42, 24), 0.1);
EXECUTE nearest_inside(cluster_vector(42, 24), -1);
EXECUTE inside(NULL, 1);
EXECUTE inside(cluster_vector(41, 24), NULL);
EXECUTE nearest_inside(NULL, 1);
EXECUTE inside('{1,2}', 1);
\echo :LAST_ERROR_SQLSTATE
EXECUTE inside(cluster_vector(41, 24), 'NaN');
\echo :LAST_ERROR_SQLSTATE
SELECT id FROM item WHERE embedding <<->> ROW(cluster_vector(41, 24), NULL)::wrvq_sphere;
-- a join: every outer row its sphere, some of them NULL
SET wrvq.probes = 65536;
EXPLAIN (COSTS OFF) SELECT a.id, b.id FROM item a JOIN item b ON b.embedding <<->> wrvq_sphere(a.embedding, a.grp / 10.0) WHERE a.id < 30 OR a.id > 4005;
SELECT count(*), sum(b.id) FROM item a JOIN item b ON b.embedding <<->> wrvq_sphere(a.embedding, 0.6 + a.grp / 10.0) WHERE a.id < 30 OR a.id > 4005;
SELECT count(*), sum(b.id) FROM item a JOIN item b ON (b.embedding <-> a.embedding) <= 0.6 + a.grp / 10.0 WHERE a.id < 30 OR a.id > 4005;
-- two spheres: the executor checks the other one
EXPLAIN (COSTS OFF) SELECT count(*) FROM item WHERE embedding <<->> wrvq_sphere('{1,1}', 2) AND embedding <<->> wrvq_sphere('{2,2}', 2.1);
SELECT count(*) FROM item WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 24), 2.2) AND embedding <<->> wrvq_sphere(cluster_vector(38, 24), 2.3);
SELECT count(*) FROM item WHERE (embedding <-> cluster_vector(1, 24)) <= 2.2 AND (embedding <-> cluster_vector(38, 24)) <= 2.3;
SELECT count(*) FROM (SELECT id FROM item WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 24), 2.2) AND embedding <<->> wrvq_sphere(cluster_vector(38, 24), 2.3)
	ORDER BY embedding <-> cluster_vector(2, 24)) s;
-- one sphere or another, and another index's condition: by bitmaps
CREATE INDEX item_grp ON item (grp);
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE embedding <<->> wrvq_sphere('{1,1}', 2) OR embedding <<->> wrvq_sphere('{2,2}', 2.1) OR grp = 3;
SELECT count(*), sum(id) FROM item WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 24), 2.2) OR embedding <<->> wrvq_sphere(cluster_vector(38, 24), 2.3) OR grp = 3;
SELECT count(*), sum(id) FROM item WHERE (embedding <-> cluster_vector(1, 24)) <= 2.2 OR (embedding <-> cluster_vector(38, 24)) <= 2.3 OR grp = 3;
SELECT count(*), sum(id) FROM item WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 24), 2.2) OR embedding <<->> NULL OR embedding <<->> ROW(NULL, 1)::wrvq_sphere;
SELECT count(*), sum(id) FROM item WHERE (embedding <-> cluster_vector(1, 24)) <= 2.2;
SET enable_indexscan = off;
SELECT count(*), sum(b.id) FROM item a JOIN item b
	ON b.embedding <<->> wrvq_sphere(a.embedding, a.grp / 10.0) OR b.embedding <<->> wrvq_sphere(cluster_vector(38, 24), a.grp / 9.0) WHERE a.id < 30;
SELECT count(*), sum(b.id) FROM item a JOIN item b
	ON (b.embedding <-> a.embedding) <= a.grp / 10.0 OR (b.embedding <-> cluster_vector(38, 24)) <= a.grp / 9.0 WHERE a.id < 30;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE embedding <<->> wrvq_sphere('{1,1}', 2) ORDER BY embedding <-> '{1,1}' LIMIT 3;
EXECUTE inside('{1,2}', 1);
\echo :LAST_ERROR_SQLSTATE
RESET enable_indexscan;
DROP INDEX item_grp;
-- an order that is unknown
SELECT count(*) FROM (SELECT id FROM item WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 24), 1.5) ORDER BY embedding <-> (SELECT NULL::real[])) s;
-- a cursor over one that ends before the sphere does
BEGIN;
DECLARE c CURSOR FOR SELECT embedding <<->> wrvq_sphere(cluster_vector(1, 24), 2) AS inside FROM item
	WHERE embedding <<->> wrvq_sphere(cluster_vector(1, 24), 2);
FETCH 2 FROM c;
MOVE 50 FROM c;
COMMIT;
RESET wrvq.probes;
-- an operator of another metric misses the index
SET enable_seqscan = on;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE embedding <<=>> wrvq_sphere('{1,2}', 0.5);
RESET ALL;
DROP TABLE item;

-- a partial index may be taken for its predicate alone, by bitmap: then no row is left out, not even one without a vector
CREATE TABLE third AS SELECT n AS id, CASE WHEN n % 30 > 0 THEN ARRAY[n % 7, n % 11, n % 13]::real[] END AS embedding
	FROM generate_series(1, 3000) AS n;
CREATE INDEX ON third USING wrvq (embedding) WHERE id % 3 = 0;
SET enable_seqscan = off;
SET enable_indexscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM third WHERE id % 3 = 0 ORDER BY embedding <-> '{1,2,3}' LIMIT 1000;
SELECT count(*), count(d), min(d) FROM (SELECT embedding <-> '{1,2,3}' AS d FROM third WHERE id % 3 = 0
	ORDER BY embedding <-> '{1,2,3}' LIMIT 1000) AS nearest;
RESET enable_seqscan;
RESET enable_indexscan;
DROP TABLE third;
