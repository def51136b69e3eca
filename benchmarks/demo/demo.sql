-- What `make demo` asks the server, once table and index are there.
\set ON_ERROR_STOP 1
\pset footer off
\pset null ''

\echo
\echo 'How the server answers "the ten nearest":'
\pset tuples_only on
EXPLAIN (COSTS OFF) SELECT id FROM package ORDER BY embedding <-> (SELECT embedding FROM package WHERE name = 'multicommand') LIMIT 10;
\pset tuples_only off

\echo '5. "More like this": five packages, and the five nearest to each by the meaning of their summaries'
\echo '   (distance: 0 is the same sentence, 1.41 unrelated)'
\echo

-- The ten nearest neighbours, as an application would ask for them.
PREPARE more_like (text) AS
  SELECT to_char(embedding <-> (SELECT embedding FROM package WHERE name = $1), '0.000') AS distance,
    name AS package, left(summary, 90) AS summary
  FROM package
  ORDER BY embedding <-> (SELECT embedding FROM package WHERE name = $1)
  LIMIT 6;

EXECUTE more_like ('multicommand');
EXECUTE more_like ('cellscope');
EXECUTE more_like ('pcheck');
EXECUTE more_like ('text4q-cortex');
EXECUTE more_like ('django-queues');

\echo '6. With and without the index: the ten nearest neighbours of 200 packages, searched inside the server'
\echo

SET client_min_messages = warning;

CREATE FUNCTION pg_temp.search(OUT query int, OUT neighbours int[], OUT milliseconds float8) RETURNS SETOF record
LANGUAGE plpgsql AS $$
DECLARE
  v real[];
  begun timestamptz;
BEGIN
  FOR query, v IN SELECT id, embedding FROM package WHERE id % 50 = 7 ORDER BY id LOOP
    begun := clock_timestamp();
    neighbours := ARRAY(SELECT id FROM package ORDER BY embedding <-> v LIMIT 11);
    milliseconds := extract(epoch FROM clock_timestamp() - begun) * 1000;
    neighbours := (array_remove(neighbours, query))[1:10]; -- each row is its own nearest
    RETURN NEXT;
  END LOOP;
END $$;

CREATE TEMP TABLE by_index AS SELECT * FROM pg_temp.search();
ALTER FUNCTION pg_temp.search() SET enable_indexscan = off;
CREATE TEMP TABLE by_scan AS SELECT * FROM pg_temp.search();

WITH quality AS (
  SELECT avg((SELECT count(*) FROM unnest(by_index.neighbours) AS n WHERE n = ANY (by_scan.neighbours)) / 10.0) AS recall
  FROM by_index JOIN by_scan USING (query)
), speed AS (
  SELECT (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) FROM by_index) AS with_index,
    (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) FROM by_scan) AS without_index
)
SELECT what AS "measured here", figure
FROM quality, speed, LATERAL (VALUES
  ('true neighbours found (recall@10)', to_char(recall, '0.000')),
  ('a query with the index, median', to_char(with_index, '990.000') || ' ms'),
  ('a query without it, median', to_char(without_index, '990.000') || ' ms'),
  ('size of the table', pg_size_pretty(pg_table_size('package'))),
  ('size of the index', pg_size_pretty(pg_relation_size('package_embedding_idx'))),
  ('time to build the index', obj_description('package_embedding_idx'::regclass))
) AS facts (what, figure);
