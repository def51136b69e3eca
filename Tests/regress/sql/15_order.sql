-- wrvq.iterative_scan: what becomes of a row that is found when a farther one was returned.
SET jit = off;
CREATE FUNCTION random_vector(n bigint) RETURNS real[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT array_agg((hashint8extended(n, j) % 1000000 / 1e6)::real ORDER BY j) FROM generate_series(1, 16) AS j
$$;
CREATE TABLE item (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO item SELECT n, random_vector(n) FROM generate_series(1, 5000) AS n;
CREATE INDEX item_index ON item USING wrvq (embedding real_cosine_ops);
SET enable_seqscan = off;
SET enable_sort = off;

-- all spellings that the setting has had
SELECT spelling, set_config('wrvq.iterative_scan', spelling, false) AS shown
FROM unnest('{strict_order,relaxed_order,on,off,true,false,yes,no,1,0,ON,Relaxed_Order}'::text[]) AS spelling;
SET wrvq.iterative_scan = true;
SHOW wrvq.iterative_scan;
SET wrvq.iterative_scan = sometimes;
RESET wrvq.iterative_scan;
SHOW wrvq.iterative_scan;

-- A query's rows in the order they come in: how many, how many of them different, how many nearer than one before.
CREATE FUNCTION read(query text, OUT rows bigint, OUT ids bigint, OUT out_of_order bigint) LANGUAGE plpgsql AS $$
DECLARE
  row record;
  farthest float8 := '-Infinity';
  seen int[] := '{}';
BEGIN
  out_of_order := 0;
  FOR row IN EXECUTE query LOOP
    seen := seen || row.id::int;
    out_of_order := out_of_order + (row.distance < farthest)::int;
    farthest := greatest(farthest, row.distance);
  END LOOP;
  rows := cardinality(seen);
  SELECT count(DISTINCT id) INTO ids FROM unnest(seen) AS id;
END $$;

-- without a bound: relaxed order returns every row, once; strict order drops some, in order, and says how many
SET wrvq.max_scan_tuples = 0;
SET wrvq.iterative_scan = relaxed_order;
SELECT rows, ids FROM generate_series(-3, -1) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM item ORDER BY embedding <=> %1$L', random_vector(n)));
SELECT index, returned, dropped, bounded FROM wrvq_last_scan();
SET wrvq.iterative_scan = strict_order;
SELECT rows > 4900 AS nearly_all, rows = ids AS all_different, out_of_order FROM generate_series(-3, -1) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM item ORDER BY embedding <=> %1$L', random_vector(n)));
SELECT returned + dropped AS all_rows, dropped = latecomers AS all_late, bounded FROM wrvq_last_scan();

-- a condition that one row meets, wherever it is: found, for nothing before it was let through
RESET wrvq.iterative_scan;
SELECT count(*) FROM generate_series(1, 60) AS n,
  LATERAL (SELECT id FROM item WHERE id = 83 * n ORDER BY embedding <=> random_vector(-n) LIMIT 1) AS row;
-- in a function, too, and by a cursor
CREATE FUNCTION nearest(wanted int, query real[]) RETURNS SETOF int LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY SELECT id FROM item WHERE id = wanted ORDER BY embedding <=> query LIMIT 1;
END $$;
SELECT count(*) FROM generate_series(1, 40) AS n, LATERAL nearest(83 * n, random_vector(-n));
BEGIN;
DECLARE found CURSOR FOR SELECT id FROM item WHERE id % 2500 = 7 ORDER BY embedding <=> random_vector(-1);
FETCH ALL FROM found;
COMMIT;

-- conditions that a few rows meet, as many as are wanted or fewer: relaxed order finds all of them; strict order nearly all, never
-- out of order
SET wrvq.iterative_scan = relaxed_order;
SELECT wanted, sum(rows) = wanted * 20 AS finds_all FROM unnest('{10,50}'::int[]) AS wanted, generate_series(1, 20) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM item WHERE id %% (5000 / %2$s) = %3$s
    ORDER BY embedding <=> %1$L LIMIT %2$s', random_vector(-n), wanted, n))
GROUP BY wanted ORDER BY wanted;
SET wrvq.iterative_scan = strict_order;
SELECT wanted, sum(rows) >= 0.97 * wanted * 20 AS finds_nearly_all, sum(out_of_order) AS out_of_order FROM unnest('{10,50}'::int[]) AS wanted, generate_series(1, 20) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM item WHERE id %% (5000 / %2$s) = %3$s
    ORDER BY embedding <=> %1$L LIMIT %2$s', random_vector(-n), wanted, n))
GROUP BY wanted ORDER BY wanted;

-- plans that rely on order: Merge Append, WITH TIES, window functions
CREATE TABLE part (id int, embedding real[]) PARTITION BY HASH (id);
CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO part SELECT * FROM item UNION ALL SELECT id + 5000, embedding FROM item WHERE id <= 1000;
CREATE INDEX ON part USING wrvq (embedding real_cosine_ops);
RESET wrvq.iterative_scan;
EXPLAIN (COSTS OFF) SELECT id FROM part ORDER BY embedding <=> random_vector(-1) LIMIT 300;
SELECT sum(rows) AS rows, sum(out_of_order) AS out_of_order FROM generate_series(1, 10) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM part ORDER BY embedding <=> %1$L LIMIT 300', random_vector(-n)));
SELECT sum(rows) AS rows, sum(out_of_order) AS out_of_order FROM generate_series(1, 10) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM part WHERE id %% 2 = 0 ORDER BY embedding <=> %1$L
    LIMIT 100', random_vector(-n)));
-- ties are all there: rows 1 to 1000 are there twice
SELECT count(*) FILTER (WHERE rows = 2) AS with_its_twin FROM generate_series(1, 10) AS n,
  LATERAL read(format('SELECT id, embedding <=> %1$L AS distance FROM part ORDER BY embedding <=> %1$L FETCH FIRST 1 ROW WITH TIES',
    random_vector(100 * n)));
-- ranks go up with distance
SELECT bool_and(rank >= before) AS is_ranked FROM (
  SELECT rank, lag(rank, 1, 0::bigint) OVER (ORDER BY distance) AS before FROM (
    SELECT rank() OVER (ORDER BY embedding <=> random_vector(-1)) AS rank, embedding <=> random_vector(-1) AS distance
    FROM item LIMIT 300) AS row) AS pair;

-- a bound that ends a scan is told, once a statement, and only if it does
SET wrvq.max_scan_tuples = 500;
SELECT count(*) FROM (SELECT id FROM item WHERE id < 0 ORDER BY embedding <=> random_vector(-1) LIMIT 10) AS row;
SELECT bounded FROM wrvq_last_scan();
SELECT n, found.id FROM generate_series(1, 3) AS n
  LEFT JOIN LATERAL (SELECT id FROM item WHERE id < 0 ORDER BY embedding <=> random_vector(-n) LIMIT 10) AS found ON true;
SELECT count(*) FROM (SELECT id FROM item ORDER BY embedding <=> random_vector(-1) LIMIT 10) AS row;
SET wrvq.iterative_scan = off;
SELECT count(*) FROM (SELECT id FROM item WHERE id < 0 ORDER BY embedding <=> random_vector(-1) LIMIT 10) AS row;

DROP TABLE item, part;
DROP FUNCTION read, nearest, random_vector;
