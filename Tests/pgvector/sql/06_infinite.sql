-- Distances that overflow: pgvector adds up inner products in single precision.
-- \<#> of these is -Infinity for every row of positive numbers, Infinity for those of negative ones; rows of both have NaN,
-- which sorts last.
CREATE FUNCTION far_vector(n bigint) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg((CASE n % 4 WHEN 0 THEN 1e20 WHEN 1 THEN -1e20 WHEN 2 THEN 1e20 * (-1) ^ j ELSE 1e-3 END
                    * (1 + hashint8extended(n, j) % 1000 / 1e4))::real ORDER BY j)::vector
  FROM generate_series(1, 8) AS j
$$;

-- what the index returns, in groups, beside what the table has
CREATE FUNCTION kinds(source text) RETURNS TABLE (kind text, rows bigint) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format(
    'SELECT CASE WHEN d = ''NaN'' THEN ''NaN'' WHEN abs(d) = ''Infinity'' THEN d::text ELSE ''finite'' END, count(*)
     FROM (SELECT embedding <#> far_vector(4) AS d FROM %s ORDER BY embedding <#> far_vector(4)) AS row
     GROUP BY 1 ORDER BY 1', source);
END $$;

CREATE TABLE few (id int, embedding vector(8));
INSERT INTO few SELECT n, far_vector(n) FROM generate_series(1, 40) AS n;
CREATE INDEX few_index ON few USING wrvq (embedding vector_ip_ops);
CREATE TABLE many (id int, embedding vector(8));
INSERT INTO many SELECT n, far_vector(n) FROM generate_series(1, 2000) AS n;
CREATE INDEX many_index ON many USING wrvq (embedding vector_ip_ops);

SET wrvq.max_scan_tuples = 0;
SET wrvq.probes = 100000;
SET wrvq.rerank = 100000;
SET enable_indexscan = off;
SELECT * FROM kinds('few');
SELECT * FROM kinds('many');
RESET enable_indexscan;
SET enable_seqscan = off;
SET enable_sort = off;
EXPLAIN (COSTS OFF) SELECT id FROM many ORDER BY embedding <#> far_vector(4);
SELECT * FROM kinds('few');
SELECT * FROM kinds('many');
-- in order, NaN last
SELECT count(*) AS out_of_order
FROM (SELECT d, lag(d) OVER () AS before
      FROM (SELECT embedding <#> far_vector(4) AS d FROM many ORDER BY embedding <#> far_vector(4) OFFSET 0) AS row) AS pair
WHERE d < before;
-- rows as near as the nearest ones are found
SELECT wrvq_recall('few_index', 5, 40);
RESET wrvq.probes;
RESET wrvq.rerank;
SELECT count(*) FROM (SELECT id FROM many ORDER BY embedding <#> far_vector(4) LIMIT 10) AS row
WHERE id % 4 = 0;
DROP TABLE few, many;
DROP FUNCTION kinds, far_vector;
