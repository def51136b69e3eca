-- vectors as codes of a stored codebook
\set SHOW_CONTEXT never

-- by hand: two lists, four axes, then two pieces of two dimensions; weights of 16, 2 and 16 bits
CREATE FUNCTION add_code_codebook(codebook text, metric text, weights float8[] DEFAULT '{4,-1,2,1}') RETURNS void LANGUAGE sql AS $$
	INSERT INTO wrvq.wrvq_codebook_level (name, level, kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords, transform_block_dimensions, transform, weights)
	VALUES ($1, 0, 'flat', 'one', 16, 2, 0, 0, halves(array_fill(1::float8, ARRAY[4]) || array_fill(-1::float8, ARRAY[4])), 0, NULL, NULL),
		($1, 1, 'flat', 'projection', 2, 4, 0, 0, (SELECT halves(array_agg((j = i)::int::float8 ORDER BY i, j)) FROM generate_series(0, 3) i, generate_series(0, 3) j),
			0, NULL, halves(weights)),
		-- its transform exchanges the halves of a vector
		($1, 2, 'product', 'projection', 16, 16, 2, 2,
			(SELECT halves(array_agg((k = 2 * i + 1)::int * 0.5::float8 ORDER BY i, k, j))
			FROM generate_series(0, 1) i, generate_series(0, 15) k, generate_series(0, 1) j),
			4, halves('{0,0,1,0, 0,0,0,1, 1,0,0,0, 0,1,0,0}'), NULL);
	INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss) VALUES ($1, 1, 4, $2, codebook_sha256($1, 4, $2), '{}');
$$;
SELECT add_code_codebook('hand', 'l2'), add_code_codebook('other hand', 'l2', '{4,-2,2,1}'), add_code_codebook('angle', 'cosine');

-- {3,1,1,1} is list 0 and twice axis 0, which leaves nothing; {1,1.5,7,5} leaves {0,0.5,6,4}: at most 4 times axis 2, and 6 times the piece {0.5,0.5}
SELECT wrvq_encode('hand', '{3,1,1,1}') AS code, wrvq_decode(wrvq_encode('hand', '{3,1,1,1}')) AS decoded;
SELECT wrvq_encode('hand', '{-1,-1,-1,-2}') AS code, wrvq_decode(wrvq_encode('hand', '{-1,-1,-1,-2}')) AS decoded;
SELECT wrvq_decode(code, 1) AS one, wrvq_decode(code, 2) AS two, wrvq_decode(code, 3) AS three
FROM wrvq_encode('hand', '{1,1.5,7,5}') AS code;
SELECT wrvq_decode(wrvq_encode('angle', '{30,30,30,30}'), 1) AS normalised;
SELECT wrvq_encode(NULL, '{1,2,3,4}') IS NULL AS no_codebook, wrvq_encode('hand', NULL) IS NULL AS no_vector, wrvq_decode(NULL) IS NULL AS no_code;
SELECT code::text::wrvq_code::text = code::text AS text_survives, upper(code::text)::wrvq_code::text = code::text AS in_capitals, pg_column_size(code) AS bytes
FROM wrvq_encode('hand', '{3,1,1,1}') AS code;

-- a distance is that of the decoded vector
SELECT code <-> '{3,1,1,5}'::real[] AS l2, '{3,1,1,5}'::real[] <-> code AS l2, code <#> '{1,2,3,4}'::real[] AS ip, code <=> '{3,1,1,1}'::real[] AS cosine,
	code <=> '{0,0,0,0}'::real[] AS zero, code <-> code AS self
FROM wrvq_encode('hand', '{3,1,1,1}') AS code;

CREATE TABLE item (id int PRIMARY KEY, embedding real[], code wrvq_code GENERATED ALWAYS AS (wrvq_encode('hand', embedding)) STORED);
INSERT INTO item SELECT i, cluster_vector(i, 4) FROM generate_series(1, 1500) i;
INSERT INTO item VALUES (0, NULL);
CREATE FUNCTION check_code_distances(operator text, OUT pairs bigint, OUT adc bool, OUT sdc bool, OUT commuted bool) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($query$
		SELECT count(*), bool_and(abs((code %1$s v) - (x %1$s v)) <= 1e-4 * abs(x %1$s v) + 1e-5),
			bool_and(abs((code %1$s w) - (x %1$s wrvq_decode(w))) <= 1e-4 * abs(x %1$s wrvq_decode(w)) + 1e-5),
			bool_and((code %1$s v) = (v %1$s code) AND (code %1$s w) = (w %1$s code))
		FROM (SELECT v, wrvq_encode('hand', v) AS w FROM (VALUES ('{1,2,3,4}'::real[]), ('{0.1,0,0,0}'), ('{-5,1,1,1}')) q(v)) q,
			(SELECT code, wrvq_decode(code) AS x FROM item WHERE id > 0 OFFSET 0) item
		$query$, operator) INTO pairs, adc, sdc, commuted;
END $$;
SELECT operator, c.* FROM unnest('{<->,<#>,<=>}'::text[]) operator, check_code_distances(operator) c;
-- every pair, so that no operand comes twice in a row
SELECT bool_and(abs((a.code <-> b.code) - (wrvq_decode(a.code) <-> wrvq_decode(b.code))) <= 1e-5) AS all_pairs
FROM (SELECT * FROM item WHERE id BETWEEN 1 AND 40) a, (SELECT * FROM item WHERE id BETWEEN 41 AND 80) b;
SELECT count(*) AS without_vector, count(code) AS with_code, count(code <-> '{1,2,3,4}'::real[]) AS with_distance FROM item WHERE id = 0;
-- codes of another codebook in one column
SELECT bool_and(abs((code <-> '{1,2,3,4}'::real[]) - (wrvq_decode(code) <-> '{1,2,3,4}'::real[])) < 1e-5) AS both
FROM (SELECT wrvq_encode(CASE WHEN id % 2 = 0 THEN 'hand' ELSE 'other hand' END, embedding) AS code FROM item WHERE id > 0) s;
-- in parallel workers
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT count(*) FROM item WHERE code <-> '{1,1,1,1}'::real[] < 1000 AND wrvq_encode('hand', embedding)::text = code::text;
COMMIT;

-- filled by a trigger
CREATE TABLE triggered (embedding real[], code wrvq_code);
CREATE FUNCTION encode_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.code := wrvq_encode('hand', NEW.embedding);
	RETURN NEW;
END $$;
CREATE TRIGGER encode_it BEFORE INSERT OR UPDATE ON triggered FOR EACH ROW EXECUTE FUNCTION encode_it();
INSERT INTO triggered SELECT embedding FROM item;
UPDATE triggered SET embedding = '{1,1,1,1}' WHERE embedding IS NULL;
SELECT count(*), bool_and(code::text = wrvq_encode('hand', embedding)::text) AS right_codes FROM triggered;
DROP TABLE triggered;

-- an index on codes alone, no vectors anywhere
ALTER TABLE item ALTER code DROP EXPRESSION;
ALTER TABLE item DROP embedding;
CREATE FUNCTION compare_code_scans(operator text, k int) RETURNS TABLE (queries bigint, agree bigint) LANGUAGE plpgsql AS $$
DECLARE
	query real[];
	by_index float8[];
	by_scan float8[];
	statement text := format('SELECT array_agg(d) FROM (SELECT code %s $1 AS d FROM item WHERE code IS NOT NULL ORDER BY code %1$s $1 LIMIT %s) s', operator, k);
BEGIN
	queries := 0;
	agree := 0;
	FOR i IN 1..20 LOOP
		query := cluster_vector(100000 + i, 4);
		SET LOCAL enable_seqscan = off;
		EXECUTE statement INTO by_index USING query;
		SET LOCAL enable_seqscan = on;
		SET LOCAL enable_indexscan = off;
		EXECUTE statement INTO by_scan USING query;
		SET LOCAL enable_indexscan = on;
		queries := queries + 1;
		agree := agree + (by_index = by_scan)::int;
	END LOOP;
	RETURN NEXT;
END $$;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
CREATE INDEX item_code ON item USING wrvq (code);
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY code <-> '{1,2,3,4}'::real[] LIMIT 3;
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY '{1,2,3,4}'::real[] <-> code LIMIT 3;
-- the operator class orders by vectors: a code as the query is decoded first
EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY code <-> wrvq_decode(wrvq_encode('hand', '{1,2,3,4}')) LIMIT 3;
RESET enable_seqscan;
SELECT * FROM compare_code_scans('<->', 30);
INSERT INTO item SELECT i, wrvq_encode('hand', cluster_vector(i, 4)) FROM generate_series(1501, 1700) i;
UPDATE item SET code = wrvq_encode('hand', '{9,9,9,9}') WHERE id % 100 = 0;
DELETE FROM item WHERE id % 7 = 0;
SELECT * FROM compare_code_scans('<->', 30);
VACUUM item;
SELECT * FROM compare_code_scans('<->', 1700);
SELECT wrvq_check('item_code');
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT id FROM item WHERE code <<->> wrvq_sphere('{1,0.5,1,0.5}', 0.9);
SELECT array_agg(id ORDER BY id) AS inside INTO TEMP by_index FROM item WHERE code <<->> wrvq_sphere('{1,0.5,1,0.5}', 0.9);
RESET enable_seqscan;
SELECT cardinality(inside) > 10 AS some, inside = (SELECT array_agg(id ORDER BY id) FROM item WHERE (code <-> '{1,0.5,1,0.5}'::real[]) <= 0.9) AS sphere
FROM by_index;
SELECT wrvq_recall('item_code', 10, 50);
-- it takes the codes' own codebook
CREATE FUNCTION describe(index regclass, OUT metric text, OUT live int, OUT lists int, OUT codebook text) LANGUAGE sql AS $$
	SELECT i->>'metric', (i->>'live')::int, (i->>'lists')::int,
		coalesce((SELECT name FROM wrvq.wrvq_codebook WHERE encode(sha256, 'hex') = i->>'codebook_sha256'), 'its own')
	FROM wrvq_index_info($1) i
$$;
SELECT * FROM describe('item_code');
SET enable_seqscan = off;
SELECT count(*), count(d) AS known FROM (SELECT code <-> NULL::real[] AS d FROM item ORDER BY code <-> NULL::real[] LIMIT 5) s;
SELECT id FROM item ORDER BY code <-> '{1,2,3}'::real[] LIMIT 1;
\echo :LAST_ERROR_SQLSTATE
RESET enable_seqscan;
DROP INDEX item_code;
CREATE INDEX item_code ON item USING wrvq (code wrvq_code_ip_ops) WITH (spill = 2);
SELECT * FROM compare_code_scans('<#>', 30);
SELECT * FROM describe('item_code');
DROP INDEX item_code;
-- under cosine vectors are normalised, which the codebook's were not
CREATE INDEX item_code ON item USING wrvq (code wrvq_code_cosine_ops);
SELECT * FROM compare_code_scans('<=>', 30);
SELECT * FROM describe('item_code');
DROP INDEX item_code;
CREATE INDEX item_code ON item USING wrvq (code) WITH (lists = 20);
SELECT * FROM describe('item_code');
DROP INDEX item_code;
CREATE INDEX item_code ON item USING wrvq (code) WITH (fuzzy_levels = 0);
SELECT metric, live, codebook FROM describe('item_code');
DROP INDEX item_code;
CREATE INDEX item_code ON item USING wrvq (code) WITH (codebook = 'other hand');
SELECT * FROM describe('item_code');
DROP INDEX item_code;
-- rows of other codebooks are decoded like all others
CREATE TABLE mixed AS SELECT id, CASE WHEN id % 3 = 2 THEN wrvq_encode('other hand', wrvq_decode(code)) ELSE code END AS code FROM item WHERE code IS NOT NULL;
CREATE INDEX mixed_code ON mixed USING wrvq (code);
SELECT live, lists, codebook IN ('hand', 'other hand') AS one_of_them FROM describe('mixed_code');
SELECT wrvq_check('mixed_code'), wrvq_recall('mixed_code', 10, 50);
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM mixed ORDER BY code <-> '{1,2,3,4}'::real[]) s;
RESET enable_seqscan;
DROP TABLE mixed;
CREATE TABLE turned AS SELECT id, wrvq_encode('angle', wrvq_decode(code)) AS code FROM item WHERE code IS NOT NULL;
CREATE INDEX turned_cosine ON turned USING wrvq (code wrvq_code_cosine_ops);
CREATE INDEX turned_l2 ON turned USING wrvq (code);
SELECT metric, lists, codebook FROM describe('turned_cosine');
SELECT metric, lists, codebook FROM describe('turned_l2');
SELECT wrvq_check('turned_cosine'), wrvq_check('turned_l2'), wrvq_recall('turned_cosine', 10, 50), wrvq_recall('turned_l2', 10, 50);
DROP TABLE turned;
-- small tables compare their rows, and train when there are enough
CREATE TABLE grown (LIKE item);
CREATE INDEX ON grown USING wrvq (code);
INSERT INTO grown SELECT * FROM item LIMIT 500;
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM grown ORDER BY code <-> '{1,2,3,4}'::real[]) s;
INSERT INTO grown SELECT * FROM item;
VACUUM grown;
SELECT * FROM describe('grown_code_idx');
SELECT wrvq_check('grown_code_idx');
RESET ALL;
DROP TABLE grown;

-- bad input names the value and what was expected
SELECT ''::wrvq_code;
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,2,3,4}'::wrvq_code;
\echo :LAST_ERROR_SQLSTATE
SELECT '1:0123456789abcd:00112233'::wrvq_code;
\echo :LAST_ERROR_SQLSTATE
SELECT '2:0123456789abcd:0011223344'::wrvq_code;
\echo :LAST_ERROR_SQLSTATE
SELECT '1:0123456789abcd:001122334'::wrvq_code;
\echo :LAST_ERROR_SQLSTATE
SELECT '1:0123456789abcd:00112233zz'::wrvq_code;
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('missing', '{1,2,3,4}');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{1,2,3}');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{1,NaN,3,4}');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{1,NULL,3,4}');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{{1,2},{3,4}}');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{1,2,3,4}') <-> '{1,2}'::real[];
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{1,2,3,4}') <-> '{1,2,3,Infinity}'::real[];
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_encode('hand', '{1,2,3,4}') <-> wrvq_encode('other hand', '{1,2,3,4}');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_decode(wrvq_encode('hand', '{1,2,3,4}'), 4);
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_decode(wrvq_encode('hand', '{1,2,3,4}'), 0);
\echo :LAST_ERROR_SQLSTATE
-- values that the codebook does not give: too long, list 2 of two
SELECT wrvq_decode((wrvq_encode('hand', '{1,2,3,4}')::text || '00')::wrvq_code);
\echo :LAST_ERROR_SQLSTATE
SELECT (overlay(wrvq_encode('hand', '{1,2,3,4}')::text PLACING '02' FROM 26 FOR 2))::wrvq_code <-> '{1,2,3,4}'::real[];
\echo :LAST_ERROR_SQLSTATE
-- an index on what cannot be decoded
INSERT INTO item VALUES (-1, '1:0123456789abcd:0011223344');
CREATE INDEX ON item USING wrvq (code);
\echo :LAST_ERROR_SQLSTATE
DELETE FROM item WHERE id = -1;
-- a codebook that is not whole
SELECT add_code_codebook('broken', 'l2', '{4,-4,2,1}');
SET wrvq.allow_codebook_removal = on;
DELETE FROM wrvq.wrvq_codebook_level WHERE name = 'broken' AND level = 0;
RESET wrvq.allow_codebook_removal;
SELECT wrvq_encode('broken', '{1,2,3,4}');
\echo :LAST_ERROR_SQLSTATE

-- a dropped codebook: a new session has no copy; under another name it is the same one
CREATE TABLE level_backup AS SELECT * FROM wrvq.wrvq_codebook_level WHERE name = 'hand';
CREATE TABLE backup AS SELECT * FROM wrvq.wrvq_codebook WHERE name = 'hand';
DELETE FROM wrvq.wrvq_codebook WHERE name = 'hand';
\echo :LAST_ERROR_SQLSTATE
SET wrvq.allow_codebook_removal = on;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'hand';
\c -
\set SHOW_CONTEXT never
SELECT count(code::text) > 0 AS readable FROM item;
SELECT code <-> '{1,2,3,4}'::real[] FROM item LIMIT 1;
\echo :LAST_ERROR_SQLSTATE
-- a parallel restore may be at the index before it is at the codebook
CREATE INDEX item_code ON item USING wrvq (code);
\echo :LAST_ERROR_SQLSTATE
SET check_function_bodies = off;
CREATE INDEX item_code ON item USING wrvq (code);
RESET check_function_bodies;
VACUUM item;
\echo :LAST_ERROR_SQLSTATE
UPDATE backup SET name = 'renamed';
UPDATE level_backup SET name = 'renamed';
INSERT INTO wrvq.wrvq_codebook SELECT * FROM backup;
INSERT INTO wrvq.wrvq_codebook_level SELECT * FROM level_backup;
SELECT code <-> wrvq_encode('renamed', '{9,9,9,9}') AS distance FROM item WHERE id = 100;
SELECT i->>'trained' AS trained FROM wrvq_index_info('item_code') i;
SET wrvq.probes = 65536;
SET wrvq.rerank = 1000000;
SELECT * FROM compare_code_scans('<->', 30);
INSERT INTO item SELECT 2000 + i, wrvq_encode('renamed', cluster_vector(i, 4)) FROM generate_series(1, 20) i;
SELECT * FROM compare_code_scans('<->', 30);
VACUUM item;
SELECT * FROM describe('item_code');
SELECT * FROM compare_code_scans('<->', 30);
SELECT wrvq_check('item_code');
RESET ALL;

DROP TABLE item, backup, level_backup;
DELETE FROM wrvq.wrvq_codebook;
SELECT count(*) AS levels FROM wrvq.wrvq_codebook_level;
