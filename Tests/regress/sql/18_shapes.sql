-- an index has a shape at every dimension, whatever the options (the kernels' tests try all of them)
CREATE FUNCTION wide_vector(i int, dimensions int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4extended(j, i) % 1000 / 1000.0)::real ORDER BY j) FROM generate_series(1, dimensions) j
$$;
CREATE FUNCTION shapes(dimensions int, options text[]) RETURNS TABLE (with_options text, bytes int, finds_itself bool)
LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE wide AS SELECT i AS id, wide_vector(i, dimensions) AS embedding FROM generate_series(1, 12) i;
	SET LOCAL enable_seqscan = off;
	FOREACH with_options IN ARRAY options LOOP
		EXECUTE format('CREATE INDEX wide_embedding ON wide USING wrvq (embedding) WITH (%s)', with_options);
		PERFORM wrvq_check('wide_embedding');
		bytes := wrvq_index_info('wide_embedding')->'bytes_per_entry';
		finds_itself := (SELECT id FROM wide ORDER BY embedding <-> wide_vector(5, dimensions) LIMIT 1) = 5;
		RETURN NEXT;
		DROP INDEX wide_embedding;
	END LOOP;
	DROP TABLE wide;
END $$;
SELECT dimensions, s.* FROM unnest(ARRAY[1, 2, 3, 5, 1888, 1889, 1904, 1913, 2401]) dimensions,
	shapes(dimensions, ARRAY['lists = 1', 'lists = 2, fuzzy_levels = 0', 'lists = 2, fuzzy_levels = 2, spill = 2']) s;
SELECT dimensions, s.* FROM unnest(ARRAY[15708, 16000]) dimensions,
	shapes(dimensions, ARRAY['lists = 1, fuzzy_levels = 2', 'lists = 2']) s;
DROP FUNCTION shapes, wide_vector;
