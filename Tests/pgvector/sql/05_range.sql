-- range search on pgvector's types: by pgvector's distances, with the centre written in any way
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE TABLE item (id int PRIMARY KEY, embedding vector(24), half halfvec(24));
INSERT INTO item SELECT i, v, v FROM (SELECT i, cluster_vector(i, 24) AS v FROM generate_series(1, 3000) i) s;
INSERT INTO item VALUES (3001, NULL, NULL), (3002, array_fill(0, ARRAY[24])::vector, array_fill(0, ARRAY[24])::halfvec);

-- the centre as real[], as either type, and as a literal of both forms
SELECT '[1,2,5]'::vector <<->> wrvq_sphere('[1,2,3]', 2) AS vector_literal, '[1,2,5]'::vector <<->> wrvq_sphere('{1,2,3}', 2) AS real_literal,
	'[1,2,5]'::vector <<->> wrvq_sphere('[1,2,3]'::vector, 2) AS vector, '[1,2,5]'::vector <<->> wrvq_sphere('[1,2,3]'::halfvec, 1.9) AS halfvec,
	'[1,2,5]'::halfvec <<->> wrvq_sphere(ARRAY[1,2,3], 2) AS reals, '{1,2,5}'::real[] <<->> wrvq_sphere('[1,2,3]', 2) AS real_column;
SELECT '[1,2,5]'::halfvec <<#>> wrvq_sphere('[1,2,3]'::halfvec, -20) AS ip, '[2,4,6]'::halfvec <<=>> wrvq_sphere('[1,2,3]'::vector, 1e-9) AS cosine,
	'[0,0]'::vector <<=>> wrvq_sphere('[1,2]', 'Infinity') AS no_direction;
-- a halfvec is compared with halves: what is no half is rounded as pgvector does, what is none refused
SELECT '[0.1]'::halfvec <<->> wrvq_sphere('{0.1}', 0) AS rounded, '[0.1]'::vector <<->> wrvq_sphere('[0.1]'::halfvec, 0) AS not_rounded;
SELECT '[1]'::halfvec <<->> wrvq_sphere('{65519}', 65503) AS largest;
SELECT '[1]'::halfvec <<->> wrvq_sphere('{65520}', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT '[1,2]'::vector <<->> wrvq_sphere('[1,2,3]', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT '[1,2]'::vector <<->> wrvq_sphere('1,2', 1);
\echo :LAST_ERROR_SQLSTATE

-- 24 spheres by index and by pgvector's own comparison, in the sphere's order, in another one and in none; the radius is
-- the very distance of a row
CREATE FUNCTION compare_ranges(expression text, operator text, type text)
	RETURNS TABLE (by_wrvq bigint, wrong bigint, missed bigint, same_order bigint) LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('SELECT ARRAY(SELECT id FROM item WHERE %1$s <%2$s> wrvq_sphere($1::%3$s, $3))', expression, operator, type);
	plain text := format('SELECT ARRAY(SELECT id FROM item WHERE %1$s %2$s $1::%3$s <= $3 AND %1$s %2$s $1::%3$s <> ''NaN'')', expression, operator, type);
	ordering text := format('SELECT ARRAY(SELECT %1$s %2$s $2::%3$s FROM item WHERE %1$s <%2$s> wrvq_sphere($1::%3$s, $3)'
		' ORDER BY %1$s %2$s $2::%3$s)', expression, operator, type);
	center real[]; other real[]; radius float8;
	by_index int[]; by_scan int[];
	first_by_index float8[]; first_by_scan float8[];
	line text;
BEGIN
	by_wrvq := 0; wrong := 0; missed := 0; same_order := 0;
	FOR i IN 1..24 LOOP
		center := cluster_vector(i * 101 + i % 3 * 5000, 24);
		other := CASE i % 2 WHEN 0 THEN center ELSE cluster_vector(i, 24) END;
		SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off;
		EXECUTE format('SELECT %1$s %2$s $1::%3$s FROM item WHERE id < 3001 ORDER BY 1 OFFSET $2 LIMIT 1', expression, operator, type)
			INTO radius USING center, (ARRAY[0, 2, 15, 60, 500, 2000])[1 + i % 6];
		EXECUTE plain INTO by_scan USING center, other, radius;
		EXECUTE ordering INTO first_by_scan USING center, other, radius;
		SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = on; SET LOCAL enable_sort = off;
		EXECUTE statement INTO by_index USING center, other, radius;
		EXECUTE ordering INTO first_by_index USING center, other, radius;
		FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement USING center, other, radius LOOP
			by_wrvq := by_wrvq + (line ~ 'Index Scan using item_wrvq')::int;
		END LOOP;
		SET LOCAL enable_sort = on;
		wrong := wrong + cardinality(by_index) - (SELECT count(DISTINCT id) FROM unnest(by_index) id WHERE id = ANY (by_scan));
		missed := missed + (SELECT count(*) FROM unnest(by_scan) id WHERE id <> ALL (by_index));
		same_order := same_order + (first_by_index = first_by_scan)::int;
	END LOOP;
	RETURN NEXT;
END $$;
SET wrvq.probes = 65536;
CREATE FUNCTION compare_classes() RETURNS TABLE (class text, by_wrvq bigint, wrong bigint, missed bigint, same_order bigint) LANGUAGE plpgsql AS $$
DECLARE
	operator text; type text;
BEGIN
	FOR class, operator, type IN SELECT t || '_' || c, o, t FROM unnest(ARRAY['vector', 'halfvec']) t, (VALUES ('l2_ops', '<->'), ('ip_ops', '<#>'), ('cosine_ops', '<=>')) v(c, o) LOOP
		EXECUTE format('DROP INDEX IF EXISTS item_wrvq; CREATE INDEX item_wrvq ON item USING wrvq (%s %s)',
			CASE type WHEN 'vector' THEN 'embedding' ELSE 'half' END, class);
		RETURN QUERY SELECT class, c.* FROM compare_ranges(CASE type WHEN 'vector' THEN 'embedding' ELSE 'half' END, operator, type) c;
	END LOOP;
END $$;
SELECT * FROM compare_classes();
-- an expression index
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq ((embedding::halfvec(24)) halfvec_l2_ops);
SELECT * FROM compare_ranges('embedding::halfvec(24)', '<->', 'halfvec');
RESET wrvq.probes;
SET enable_seqscan = off;
PREPARE inside(vector, float8) AS SELECT count(*) FROM item WHERE embedding <<->> wrvq_sphere($1, $2);
DROP INDEX item_wrvq;
CREATE INDEX item_wrvq ON item USING wrvq (embedding);
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE inside(NULL, NULL);
EXECUTE inside(cluster_vector(41, 24)::vector, 0);
EXECUTE inside(NULL, 1);
RESET ALL;
DROP TABLE item;
