-- arrays of other numbers beside vectors: what clients send for a list of numbers resolves, and reaches the index
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT add_code_codebook('listed', 'l2');
CREATE TABLE listed (id int PRIMARY KEY, embedding real[], code wrvq_code);
INSERT INTO listed SELECT i, cluster_vector(i, 4), wrvq_encode('listed', cluster_vector(i, 4)) FROM generate_series(1, 1500) i;
CREATE INDEX listed_l2 ON listed USING wrvq (embedding);
CREATE INDEX listed_ip ON listed USING wrvq (embedding real_ip_ops);
CREATE INDEX listed_cosine ON listed USING wrvq (embedding real_cosine_ops);
CREATE INDEX listed_code ON listed USING wrvq (code);
CREATE FUNCTION used_index(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
		IF line ~ 'Index Scan using' THEN
			RETURN substring(line FROM 'using (\w+)');
		END IF;
	END LOOP;
	RETURN 'none';
END $$;
SET enable_seqscan = off;

-- every literal that is a vector, on the right and (but for double precision[], which was never one there) on the left
SELECT right_side, operator, used_index(format('SELECT id FROM listed ORDER BY embedding %s %s LIMIT 1', operator, right_side)) AS index,
	CASE operator WHEN '<->' THEN used_index(format('SELECT id FROM listed ORDER BY code <-> %s LIMIT 1', right_side)) END AS code_index
FROM unnest(ARRAY['''{1,2,3,4}''::real[]', 'ARRAY[1,2,3,4]', 'ARRAY[1,2,3.5,4]', 'ARRAY[1,2,3,4]::int2[]', 'ARRAY[1,2,3,4]::int8[]',
	'ARRAY[1,2,3,4]::numeric[]', 'ARRAY[1,2,3,4]::double precision[]']) right_side, unnest(ARRAY['<->', '<#>', '<=>']) operator;
SELECT left_side, used_index(format('SELECT id FROM listed ORDER BY %s <-> embedding LIMIT 1', left_side)) AS index
FROM unnest(ARRAY['''{1,2,3,4}''', 'ARRAY[1,2,3,4]', 'ARRAY[1,2,3.5,4]', 'ARRAY[1,2,3,4]::int2[]', 'ARRAY[1,2,3,4]::int8[]']) left_side;
-- the values are those of real[]
SELECT bool_and((embedding <-> '{1,2,3.25,4}'::double precision[]) = (embedding <-> '{1,2,3.25,4}'::real[])) AS l2,
	bool_and((embedding <#> '{1,2,3.25,4}'::numeric[]) = (embedding <#> '{1,2,3.25,4}'::real[])) AS ip,
	bool_and((embedding <=> '{1,2,3,4}'::int8[]) = (embedding <=> '{1,2,3,4}'::real[])) AS cosine,
	bool_and((code <-> '{1,2,3.25,4}'::double precision[]) = (code <-> '{1,2,3.25,4}'::real[])) AS code
FROM listed;
-- pairs of arrays none of which is a real[]
SELECT ARRAY[1,2] <-> ARRAY[4,6] AS ints, ARRAY[1,2.5] <-> ARRAY[4,6.5] AS numerics, ARRAY[1,2] <-> ARRAY[4.0,6] AS mixed,
	ARRAY[1.0,2] <-> ARRAY[4,6] AS mixed, '{1,2}'::int8[] <-> '{4,6}'::int2[] AS widths, '{1,2}' <-> '{4,6}'::real[] AS untyped;
-- the same by function
SELECT wrvq_l2_distance('{1,2}'::real[], '{4,6}') AS untyped, wrvq_l2_distance(ARRAY[1,2], ARRAY[4,6]) AS ints, wrvq_l2_distance(ARRAY[1,2.5], ARRAY[4,6.5]) AS numerics,
	wrvq_l2_distance('{1,2}'::real[], '{4,6}'::double precision[]) AS doubles, wrvq_cosine_distance('{1,0}'::real[], '{0,1}'::double precision[]) AS cosine,
	wrvq_negative_inner_product('{1,2}'::real[], '{4,6}'::double precision[]) AS ip;
-- a NULL is unknown; what no real can hold, and other bad input, is refused
SELECT '{1}'::real[] <-> NULL::double precision[] AS unknown;
SELECT '{1}'::real[] <-> '{1e39}'::double precision[];
SELECT '{1}'::real[] <-> '{NaN}'::double precision[];
SELECT '{1,2}'::real[] <-> '{1}'::double precision[];
SELECT '{1}'::real[] <-> '{NULL}'::double precision[];

-- parameters: an untyped one is a real[] as before, a typed one reaches the index by a generic plan, too
SET plan_cache_mode = force_generic_plan;
PREPARE by_untyped AS SELECT id FROM listed ORDER BY embedding <-> $1 LIMIT 1;
PREPARE by_double(double precision[]) AS SELECT id FROM listed ORDER BY embedding <-> $1 LIMIT 1;
PREPARE by_numeric(numeric[]) AS SELECT id FROM listed ORDER BY code <-> $1 LIMIT 1;
PREPARE in_untyped AS SELECT id FROM listed WHERE embedding <<->> wrvq_sphere($1, $2);
PREPARE in_half_typed AS SELECT id FROM listed WHERE embedding <<->> wrvq_sphere($1, 0.5);
PREPARE in_double(double precision[], double precision) AS SELECT id FROM listed WHERE embedding <<->> wrvq_sphere($1, $2);
PREPARE encode_untyped AS SELECT wrvq_encode($1, $2);
PREPARE encode_double(text, double precision[]) AS SELECT wrvq_encode($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
SELECT used_index('EXECUTE ' || call) AS index, call FROM unnest(ARRAY['by_untyped(''{1,2,3,4}'')', 'by_double(''{1,2,3,4}'')', 'by_numeric(''{1,2,3,4}'')',
	'in_untyped(''{1,2,3,4}'', 1)', 'in_half_typed(''{1,2,3,4}'')', 'in_double(''{1,2,3,4}'', 1)']) call;
DEALLOCATE ALL;
RESET plan_cache_mode;

-- spheres and codes of every kind of array, with every kind of radius and name
SELECT DISTINCT wrvq_sphere('{1,2}', 0.5), wrvq_sphere(ARRAY[1,2], 0.5), wrvq_sphere(ARRAY[1.0,2], 0.5::real), wrvq_sphere('{1,2}'::int2[], 0.5), wrvq_sphere('{1,2}'::int8[], 0.5),
	wrvq_sphere('{1,2}'::double precision[], 0.5), wrvq_sphere('{1,2}'::double precision[], 0.5::real), wrvq_sphere('{1,2}'::double precision[], '0.5'),
	wrvq_sphere('{1,2}'::double precision[], 0.5::double precision);
SELECT wrvq_sphere('{1,2}', 1) = wrvq_sphere('{1,2}'::double precision[], 1) AS whole_radius, wrvq_sphere('{1,2}'::double precision[], NULL) IS NULL AS no_radius;
SELECT count(DISTINCT code::text) AS same FROM unnest(ARRAY[wrvq_encode('listed', '{3,1,1,1}'), wrvq_encode('listed', ARRAY[3,1,1,1]), wrvq_encode('listed', ARRAY[3,1,1,1.0]), wrvq_encode('listed', '{3,1,1,1}'::int2[]),
	wrvq_encode('listed', '{3,1,1,1}'::int8[]), wrvq_encode('listed', '{3,1,1,1}'::double precision[]), wrvq_encode('listed'::varchar, '{3,1,1,1}'::double precision[]),
	wrvq_encode('listed'::name, '{3,1,1,1}'::double precision[])]) code;
RESET enable_seqscan;

-- arithmetic
SELECT wrvq_add('{1,2}'::real[], '{3,4.5}') AS sum, wrvq_sub('{1,2}'::real[], '{3,4.5}'::double precision[]) AS difference, wrvq_mul(ARRAY[1,2], ARRAY[3,4.5]) AS products,
	wrvq_vector_norm('{3,4}') AS norm, wrvq_l2_normalize('{3,4}') AS direction, wrvq_l2_normalize('{0,0}') AS no_direction, wrvq_vector_dims('{1,2,3}') AS dimensions;
SELECT wrvq_vector_norm('{3e38,3e38}') AS norm, wrvq_l2_normalize('{1e-40,0}') AS direction, wrvq_vector_norm('{1e-40}') > 0 AS tiny;
SELECT wrvq_add('{1,2}'::real[], '{1}');
SELECT wrvq_add('{1,3e38}'::real[], '{1,3e38}');
SELECT wrvq_mul('{1e30}'::real[], '{1e30}'::int8[]);
SELECT wrvq_mul('{1e30}'::real[], '{1e30}');
SELECT wrvq_vector_norm('{1,NaN}');
SELECT wrvq_l2_normalize('{}');
SELECT wrvq_vector_dims('{{1,2},{3,4}}');
-- aggregates: NULL rows do not count; of none the result is NULL
SELECT wrvq_sum(v), wrvq_avg(v) FROM (VALUES ('{1,2}'::real[]), ('{3,5}'), (NULL)) t(v);
SELECT wrvq_sum(v), wrvq_avg(v) FROM (VALUES (NULL::real[])) t(v);
SELECT id % 2 AS part, wrvq_sum(v), wrvq_avg(v) FROM (VALUES (1, '{1,2}'::real[]), (2, '{3,5}'), (3, '{5,8}')) t(id, v) GROUP BY 1 ORDER BY 1;
SELECT wrvq_sum(v) OVER (ORDER BY id) FROM (VALUES (1, '{1,2}'::real[]), (2, '{3,5}'), (3, '{5,8}')) t(id, v);
SELECT wrvq_avg(v) AS mean FROM (VALUES ('{3e38}'::real[]), ('{3e38}')) t(v);
SELECT wrvq_sum(v) FROM (VALUES ('{3e38}'::real[]), ('{3e38}')) t(v);
SELECT wrvq_sum(v) FROM (VALUES ('{1,2}'::real[]), ('{1}')) t(v);
SELECT wrvq_sums_add('{1,1}', '{2}') AS by_hand, wrvq_sums_combine('{1,2}', '{2,5}') AS combined, wrvq_sums_combine('{}', '{2,5}') AS first, wrvq_sums_combine('{2,5}', '{}') AS second;
SELECT wrvq_sums_add('{1}', '{2}');
-- parallel workers add up to the same
SELECT wrvq_avg(embedding) AS serial FROM listed \gset
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT wrvq_avg(embedding) FROM listed;
SELECT wrvq_avg(embedding) <-> :'serial' < 1e-6 AS same FROM listed;
COMMIT;
SELECT (SELECT avg(embedding[1]::float8) FROM listed) - (:'serial'::real[])[1] < 1e-6 AS right;
DROP TABLE listed;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'listed';
DROP FUNCTION used_index(text);
