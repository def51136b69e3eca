-- arrays of numbers beside pgvector's types: what clients send for a list of numbers reaches the index
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE listed (id int PRIMARY KEY, embedding vector(3), half halfvec(3));
INSERT INTO listed SELECT i, ARRAY[i % 13, i % 29, i % 31]::vector, ARRAY[i % 13, i % 29, i % 31]::vector::halfvec FROM generate_series(1, 2000) i;
CREATE INDEX listed_l2 ON listed USING wrvq (embedding);
CREATE INDEX listed_ip ON listed USING wrvq (embedding vector_ip_ops);
CREATE INDEX listed_cosine ON listed USING wrvq (embedding vector_cosine_ops);
CREATE INDEX listed_half ON listed USING wrvq (half);
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
CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;
SET enable_seqscan = off;
SELECT operand, operator, used_index(format('SELECT id FROM listed ORDER BY embedding %s %s LIMIT 1', operator, operand)) AS index,
	used_index(format('SELECT id FROM listed ORDER BY %s %s embedding LIMIT 1', operand, operator)) AS commuted
FROM unnest(ARRAY['''[1,2,3]''', '''{1,2,3}''::real[]', 'ARRAY[1,2,3]', 'ARRAY[1,2,3.5]', 'ARRAY[1,2,3]::int2[]', 'ARRAY[1,2,3]::int8[]',
	'ARRAY[1,2,3]::numeric[]', 'ARRAY[1,2,3]::double precision[]', '''[1,2,3]''::vector']) operand, unnest(ARRAY['<->', '<#>', '<=>']) operator;
SELECT operand, used_index(format('SELECT id FROM listed ORDER BY half <-> %s LIMIT 1', operand)) AS index,
	used_index(format('SELECT id FROM listed ORDER BY %s <-> half LIMIT 1', operand)) AS commuted
FROM unnest(ARRAY['''[1,2,3]''', '''{1,2,3}''::real[]', 'ARRAY[1,2,3]', 'ARRAY[1,2,3.5]', 'ARRAY[1,2,3]::int2[]', 'ARRAY[1,2,3]::int8[]',
	'ARRAY[1,2,3]::numeric[]', 'ARRAY[1,2,3]::double precision[]', '''[1,2,3]''::halfvec', '''[1,2,3]''::vector']) operand;
-- the values are pgvector's own
SELECT bool_and((embedding <-> '{1,2,3.25}'::double precision[]) = (embedding <-> '[1,2,3.25]')) AS l2, bool_and((embedding <#> ARRAY[1,2,3]) = (embedding <#> '[1,2,3]')) AS ip,
	bool_and((embedding <=> ARRAY[1,2,3.25]) = (embedding <=> '[1,2,3.25]')) AS cosine, bool_and((half <-> '{1,2,3.25}'::real[]) = (half <-> '[1,2,3.25]')) AS half
FROM listed;
-- what pgvector resolves by itself goes on resolving: vector with halfvec, sparsevec, distances without a class of ours
SELECT embedding <-> half AS half, half <-> embedding AS half, embedding <-> '{1:1}/3'::sparsevec AS sparse, embedding <+> '[1,2,3]' AS l1,
	pg_typeof(embedding + '[1,2,3]') AS sum
FROM listed WHERE id = 5;
SELECT embedding <-> ARRAY[1,2] FROM listed WHERE id = 5;
SELECT half <-> ARRAY[1,2,1e6] FROM listed WHERE id = 5;
-- parameters
SET plan_cache_mode = force_generic_plan;
PREPARE by_untyped AS SELECT id FROM listed ORDER BY embedding <-> $1 LIMIT 1;
PREPARE by_double(double precision[]) AS SELECT id FROM listed ORDER BY embedding <-> $1 LIMIT 1;
PREPARE in_double(double precision[], double precision) AS SELECT id FROM listed WHERE embedding <<->> wrvq_sphere($1, $2);
SELECT name, parameter_types FROM pg_prepared_statements ORDER BY name;
SELECT used_index('EXECUTE ' || call) AS index, call FROM unnest(ARRAY['by_untyped(''[1,2,3]'')', 'by_double(''{1,2,3}'')', 'in_double(''{1,2,3}'', 1)']) call;
DEALLOCATE ALL;
RESET plan_cache_mode;
-- spheres and codes: text in either form, every type and array
SELECT count(DISTINCT sphere) FROM unnest(ARRAY[wrvq_sphere('[1,2,3]', 0.5), wrvq_sphere('{1,2,3}', 0.5), wrvq_sphere('[1,2,3]'::vector, 0.5), wrvq_sphere('[1,2,3]'::halfvec, 0.5), wrvq_sphere(ARRAY[1,2,3], 0.5),
	wrvq_sphere(ARRAY[1,2,3.0], 0.5), wrvq_sphere('{1,2,3}'::real[], 0.5), wrvq_sphere('{1,2,3}'::double precision[], 0.5), wrvq_sphere('[1,2,3]'::text, 0.5)]) sphere;
SELECT form, message
FROM (VALUES ('''[1,2,3]'''), ('''{1,2,3}'''), ('''[1,2,3]''::vector'), ('''[1,2,3]''::halfvec'), ('ARRAY[1,2,3]'), ('ARRAY[1,2,3.5]'), ('''{1,2,3}''::double precision[]')) f(form),
	LATERAL (SELECT error_of(format('SELECT wrvq_encode(''none'', %s)', form)) AS message) e;
RESET enable_seqscan;
DROP TABLE listed;
DROP FUNCTION used_index(text), error_of(text);
