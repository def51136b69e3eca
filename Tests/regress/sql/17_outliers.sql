-- a few rows that are far longer or shorter than the others spoil nothing for these, and are found themselves
CREATE FUNCTION times(v real[], factor float8) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((x * factor)::real ORDER BY n) FROM unnest(v) WITH ORDINALITY u(x, n)
$$;
CREATE TABLE ordinary AS SELECT i AS id, cluster_vector(i, 32) AS embedding FROM generate_series(1, 6000) i;
CREATE TABLE query AS SELECT cluster_vector(53 * i + 7, 32) AS v FROM generate_series(1000, 1039) i;
CREATE TABLE mixed (id int, embedding real[]) WITH (autovacuum_enabled = off);

CREATE FUNCTION nearest_mixed(operator text, v real[], k int, by_index bool) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE found int[];
BEGIN
	PERFORM set_config('enable_seqscan', CASE WHEN by_index THEN 'off' ELSE 'on' END, true),
		set_config('enable_indexscan', CASE WHEN by_index THEN 'on' ELSE 'off' END, true);
	EXECUTE format('SELECT array_agg(id) FROM (SELECT id FROM mixed ORDER BY embedding %s $1 LIMIT $2) s', operator)
		INTO found USING v, k;
	RETURN found;
END $$;

-- Every step-th row times a factor, in the table when the index is built or inserted afterwards: recall of ordinary
-- queries; the share of outliers that a search for them finds; is the loss that of ordinary rows?
CREATE FUNCTION with_outliers(factor float8, step int, operator text, class text, late bool, OUT recall float8,
	OUT own float8, OUT loss float8) LANGUAGE plpgsql AS $$
BEGIN
	DROP INDEX IF EXISTS mixed_embedding;
	TRUNCATE mixed;
	INSERT INTO mixed SELECT id, CASE WHEN id % step = 3 THEN times(embedding, factor) ELSE embedding END FROM ordinary
		WHERE NOT late OR id % step <> 3;
	EXECUTE format('CREATE INDEX mixed_embedding ON mixed USING wrvq (embedding %s)', class);
	IF late THEN
		INSERT INTO mixed SELECT id, times(embedding, factor) FROM ordinary WHERE id % step = 3;
	END IF;
	PERFORM wrvq_check('mixed_embedding');
	recall := (SELECT avg((SELECT count(*) FROM unnest(by_index) AS id WHERE id = ANY (by_scan))) / 10
		FROM (SELECT nearest_mixed(operator, v, 10, true) AS by_index, nearest_mixed(operator, v, 10, false) AS by_scan
			FROM query OFFSET 0) s);
	own := (SELECT avg((nearest_mixed(operator, embedding, 1, true) = nearest_mixed(operator, embedding, 1, false))::int)
		FROM (SELECT embedding FROM mixed WHERE id % step = 3 LIMIT 20) s);
	loss := wrvq_index_info('mixed_embedding')->'loss';
END $$;
SET client_min_messages = warning;
BEGIN;
SELECT factor, step, operator, late, recall >= 0.93 AS recall, own, loss < 0.1 AS loss
FROM (VALUES (1e7, 6000, '<->', 'real_l2_ops', false), (1e7, 600, '<->', 'real_l2_ops', false),
	(1e30, 600, '<->', 'real_l2_ops', false), (40, 600, '<->', 'real_l2_ops', false),
	(1e-30, 600, '<->', 'real_l2_ops', false), (1e7, 600, '<->', 'real_l2_ops', true),
	(1e7, 6000, '<#>', 'real_ip_ops', false), (-1e7, 600, '<#>', 'real_ip_ops', false),
	(1e30, 600, '<=>', 'real_cosine_ops', false), (1e-30, 600, '<=>', 'real_cosine_ops', true))
	AS outliers (factor, step, operator, class, late), with_outliers(factor, step, operator, class, late);
COMMIT;

-- one row in a hundred
BEGIN;
SELECT recall >= 0.93 AS recall, own FROM with_outliers(1e7, 60, '<->', 'real_l2_ops', false);
COMMIT;
SELECT wrvq_recall('mixed_embedding', 10, 200) >= 0.9 AS recall;

-- they come later, and a REINDEX meets them; then spheres around an ordinary row and around one of them
BEGIN;
SELECT recall >= 0.93 AS recall, own FROM with_outliers(1e7, 600, '<->', 'real_l2_ops', true);
COMMIT;
REINDEX INDEX mixed_embedding;
SET enable_seqscan = off;
SELECT count(*) >= 0.9 * true_count AS found, count(*) > 100 AS many, bool_and(id % 600 <> 3) AS ordinary
FROM query, LATERAL (SELECT id FROM mixed WHERE embedding <<->> wrvq_sphere(v, 1.6)) s,
	(SELECT count(*) AS true_count FROM ordinary, query WHERE embedding <-> v <= 1.6 AND id % 600 <> 3) t GROUP BY true_count;
SELECT count(*) FROM (SELECT embedding AS v FROM mixed WHERE id % 600 = 3) s,
	LATERAL (SELECT id FROM mixed WHERE embedding <<->> wrvq_sphere(v, 1) AND id % 600 = 3) t;
RESET enable_seqscan;
RESET client_min_messages;

-- nothing but unlike lengths, from 1e-20 to 1e20, and nothing but zeros and one row
TRUNCATE mixed;
INSERT INTO mixed SELECT id, times(embedding, 10.0 ^ (id % 41 - 20)) FROM ordinary;
REINDEX INDEX mixed_embedding;
SELECT wrvq_check('mixed_embedding');
TRUNCATE mixed;
INSERT INTO mixed SELECT id, times(embedding, CASE WHEN id = 77 THEN 1e20 ELSE 0 END) FROM ordinary WHERE id <= 2000;
REINDEX INDEX mixed_embedding;
SELECT wrvq_check('mixed_embedding');
SET enable_seqscan = off;
SELECT id = 77 AS own FROM mixed ORDER BY embedding <-> times(cluster_vector(77, 32), 1e20) LIMIT 1;
SELECT id <> 77 AS zero FROM mixed ORDER BY embedding <-> cluster_vector(77, 32) LIMIT 1;
RESET enable_seqscan;
DROP TABLE mixed, ordinary, query;
DROP FUNCTION with_outliers, nearest_mixed, times;
