-- Rows that a snapshot does not see, between a query and the rows that it wants: deleted and not vacuumed, updated, filtered.
-- The share of the true rows that is found stays that of wrvq.target_recall (0.95; bounds leave room for some 150 draws).
CREATE FUNCTION random_vector(n bigint) RETURNS real[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_agg((hashint8extended(n, j) % 1000000 / 1e6)::real ORDER BY j) FROM generate_series(1, 32) AS j
$$;
CREATE TABLE item (id int PRIMARY KEY, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO item SELECT n, random_vector(n) FROM generate_series(1, 5000) AS n;
CREATE INDEX item_l2 ON item USING wrvq (embedding);
CREATE INDEX item_cosine ON item USING wrvq (embedding real_cosine_ops);

-- The mean share of the true rows that a query finds after a change, which is taken back.  All are SQL with %1$s for the query.
CREATE FUNCTION share_found(change text, query text, queries int, OUT mean float8, OUT worst float8)
LANGUAGE plpgsql SET jit = off AS $$
DECLARE
  vector text;
  truth int[];
  found int[];
  share float8;
BEGIN
  mean := 0;
  worst := 1;
  FOR i IN 1..queries LOOP
    vector := quote_literal(random_vector(1000000 + i)) || '::real[]';
    BEGIN
      PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_bitmapscan', 'off', true);
      EXECUTE format(change, vector);
      EXECUTE format('SELECT ARRAY(' || query || ')', vector) INTO truth;
      PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_seqscan', 'off', true),
        set_config('enable_sort', 'off', true);
      EXECUTE format('SELECT ARRAY(' || query || ')', vector) INTO found;
      RAISE EXCEPTION 'taken back' USING ERRCODE = 'P0099';
    EXCEPTION WHEN SQLSTATE 'P0099' THEN
      NULL;
    END;
    SELECT count(*)::float8 / cardinality(truth) INTO share FROM unnest(truth) AS id WHERE id = ANY (found);
    mean := mean + share / queries;
    worst := least(worst, share);
  END LOOP;
END $$;

-- the nearest rows deleted, by number
SELECT rows, operator, mean >= 0.9 AS is_right, CASE WHEN mean < 0.9 THEN mean END AS mean
FROM (VALUES (0, '<->'), (10, '<->'), (30, '<->'), (100, '<->'), (1000, '<->'), (3000, '<->'), (100, '<=>'), (1000, '<=>'))
       AS test (rows, operator),
  LATERAL share_found(
    format('DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY embedding %s %%1$s LIMIT %s)', operator, rows),
    format('SELECT id FROM item ORDER BY embedding %s %%1$s LIMIT 10', operator), 15);
-- rows far apart deleted: nine of ten
SELECT mean >= 0.9 AS is_right, CASE WHEN mean < 0.9 THEN mean END AS mean
FROM share_found('DELETE FROM item WHERE id %% 10 <> 0', 'SELECT id FROM item ORDER BY embedding <-> %s LIMIT 10', 8);
-- updated ten times: as many old versions of each
SELECT mean >= 0.9 AS is_right, CASE WHEN mean < 0.9 THEN mean END AS mean
FROM share_found(
  'DO $do$ BEGIN FOR i IN 1..10 LOOP
     UPDATE item SET embedding = embedding WHERE id IN (SELECT id FROM item ORDER BY embedding <-> %s LIMIT 20);
   END LOOP; END $do$', 'SELECT id FROM item ORDER BY embedding <-> %s LIMIT 10', 15);
-- filtered: the nearest pass not
SELECT mean >= 0.9 AS is_right, CASE WHEN mean < 0.9 THEN mean END AS mean
FROM share_found('CREATE TEMPORARY TABLE near AS SELECT id FROM item ORDER BY embedding <-> %s LIMIT 1000; ANALYZE near',
  'SELECT id FROM item WHERE NOT EXISTS (SELECT FROM near WHERE near.id = item.id OFFSET 0)
   ORDER BY embedding <-> %s LIMIT 10', 15);
-- with wrvq.rerank, too
SET wrvq.rerank = 200;
SELECT mean >= 0.9 AS is_right, CASE WHEN mean < 0.9 THEN mean END AS mean
FROM share_found('DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY embedding <-> %1$s LIMIT 400)',
  'SELECT id FROM item ORDER BY embedding <-> %s LIMIT 10', 15);
RESET wrvq.rerank;

-- spheres, in order and not, most of their rows deleted: the nearest, or any
SELECT inside, deleted, victims, sorted, mean >= 0.9 AND worst >= 0.6 AS is_right,
  CASE WHEN mean < 0.9 OR worst < 0.6 THEN mean || ', at least ' || worst END AS found
FROM (VALUES (300, 280, 'embedding <-> %s', true), (1000, 900, 'embedding <-> %s', false), (1000, 900, 'id %% 100', false),
             (300, 280, 'id %% 100', true)) AS test (inside, deleted, victims, sorted),
  LATERAL share_found(
    'CREATE TEMPORARY TABLE inside AS SELECT id, embedding, embedding <-> %1$s AS distance FROM item
     ORDER BY 3 LIMIT ' || inside || '; ANALYZE inside;
     DELETE FROM item WHERE id IN (SELECT id FROM inside ORDER BY ' || replace(victims, '%s', '%1$s') || ' LIMIT ' || deleted || ')',
    'SELECT id FROM item WHERE embedding <<->> wrvq_sphere(%1$s, (SELECT max(distance) FROM inside))'
    || CASE WHEN sorted THEN ' ORDER BY embedding <-> %1$s' ELSE '' END, 10);

-- a target of 1 is the sequential scan's answer, whatever wrvq.max_scan_tuples says
SET wrvq.target_recall = 1;
SET wrvq.max_scan_tuples = 100;
SELECT round(mean::numeric, 6) AS mean, worst FROM share_found('DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY embedding <-> %s LIMIT 300)',
  'SELECT id FROM item ORDER BY embedding <-> %s LIMIT 100', 8);
SELECT round(mean::numeric, 6) AS mean, worst FROM share_found('SELECT', 'SELECT id FROM item WHERE embedding <<=>> wrvq_sphere(%s, 0.6)', 8);
RESET wrvq.target_recall;
RESET wrvq.max_scan_tuples;

DROP TABLE item;
DROP FUNCTION share_found, random_vector;
