-- stored codebooks: they are what their SHA-256 says, stay while they are needed, and cost no memory by the row
\set SHOW_CONTEXT never
-- a codebook of one list and two axes; contents and SHA-256 as given
CREATE FUNCTION put_codebook(codebook text, sha256 bytea, first float8) RETURNS void LANGUAGE sql AS $$
	INSERT INTO wrvq.wrvq_codebook_level (name, level, kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords, transform_block_dimensions)
	VALUES (codebook, 0, 'flat', 'one', 16, 1, 0, 0, halves(ARRAY[first, 0]), 0), (codebook, 1, 'flat', 'projection', 16, 2, 0, 0, halves('{1,0,0,1}'), 0);
	INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss)
	VALUES (codebook, 1, 2, 'l2', coalesce(sha256, codebook_sha256(codebook, 2, 'l2')), '{}');
$$;
SELECT put_codebook('axes', NULL, 1);
SELECT wrvq_decode(wrvq_encode('axes', '{1,3}')) AS decoded;
SELECT sha256 AS axes_sha256, encode(substr(sha256, 1, 7), 'hex') AS axes_identity, wrvq_encode('axes', '{1,3}') AS code FROM wrvq.wrvq_codebook WHERE name = 'axes' \gset

-- a lie: another codebook with this SHA-256, first in order of name, so that codes would be decoded by it
SELECT put_codebook('a lie', :'axes_sha256', 4);
\c -
\set SHOW_CONTEXT never
SELECT wrvq_decode(:'code') AS decoded;
\c -
\set SHOW_CONTEXT never
SELECT wrvq_encode('a lie', '{1,3}');
\echo :LAST_ERROR_SQLSTATE
CREATE TABLE plane (embedding real[]);
INSERT INTO plane VALUES ('{1,3}'), ('{2,4}');
CREATE INDEX ON plane USING wrvq (embedding) WITH (codebook = 'a lie');
\echo :LAST_ERROR_SQLSTATE
-- alone it decodes nothing
DELETE FROM wrvq.wrvq_codebook WHERE name = 'axes';
SELECT wrvq_decode(:'code');
\echo :LAST_ERROR_SQLSTATE
SELECT put_codebook('axes', NULL, 1);
SELECT wrvq_decode(:'code') AS decoded;
-- what a backend has cached under the SHA-256 is what it says
SELECT wrvq_decode(wrvq_encode('a lie', '{1,3}')) AS decoded;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'a lie';
-- DELETE and INSERT in place of UPDATE
DELETE FROM wrvq.wrvq_codebook WHERE name = 'axes';
SELECT put_codebook('axes', :'axes_sha256', 4);
\c -
\set SHOW_CONTEXT never
SELECT wrvq_decode(:'code');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM wrvq.wrvq_codebook WHERE name = 'axes';

-- everything that the meaning of a code depends on is covered
SELECT put_codebook('axes', NULL, 1);
CREATE TABLE change (what text, codebook text DEFAULT '', levels text DEFAULT '');
INSERT INTO change (what, codebook) VALUES ('metric', $$metric = 'ip'$$), ('dimensions', 'dimensions = 1'), ('scale', $$properties = '{"scale": 2}'$$),
	('scale', $$properties = '{"scale": 1.5}'$$);
INSERT INTO change (what, levels) VALUES ('weight', $$weight = 'norm' WHERE level = 1$$), ('weight_bits', $$weight_bits = 8, weights = '\x' WHERE level = 1$$),
	('codewords', $$codewords = halves('{1,0,0,2}') WHERE level = 1$$), ('kind', $$kind = 'product' WHERE level = 1$$),
	('codeword_count', 'codeword_count = 1 WHERE level = 1'), ('transform', 'transform = codewords, transform_block_dimensions = 2 WHERE level = 1'),
	('order', 'level = 1 - level');
-- last, as what a session has read stays known to it by its SHA-256
INSERT INTO change (what, codebook) VALUES ('nothing', $$properties = '{"scale": 1.00}'$$), ('nothing', $$properties = '{"scale": 1, "method": "adam"}'$$);
CREATE FUNCTION try_change(change change) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	CREATE TEMP TABLE book AS SELECT * FROM wrvq.wrvq_codebook WHERE name = 'axes';
	CREATE TEMP TABLE levels AS SELECT * FROM wrvq.wrvq_codebook_level WHERE name = 'axes';
	IF change.codebook <> '' THEN EXECUTE 'UPDATE book SET ' || change.codebook; END IF;
	IF change.levels <> '' THEN EXECUTE 'UPDATE levels SET ' || change.levels; END IF;
	UPDATE book SET name = 'changed';
	UPDATE levels SET name = 'changed';
	INSERT INTO wrvq.wrvq_codebook SELECT * FROM book;
	INSERT INTO wrvq.wrvq_codebook_level SELECT * FROM levels;
	BEGIN
		SELECT 'taken: ' || wrvq_decode(wrvq_encode('changed', embedding))::text INTO result FROM plane ORDER BY embedding LIMIT 1;
	EXCEPTION WHEN data_corrupted THEN
		result := 'damaged';
	END;
	DROP TABLE book, levels;
	DELETE FROM wrvq.wrvq_codebook WHERE name = 'changed';
	RETURN result;
END $$;
SELECT what, codebook || levels AS change, try_change(c) FROM change c;
DROP FUNCTION try_change;
DROP TABLE change;

-- two names for equal contents are legal, two contents that codes could not tell apart are not
SELECT put_codebook('twin', NULL, 1);
SELECT wrvq_decode(wrvq_encode('twin', '{1,3}')) AS decoded, wrvq_encode('twin', '{1,3}') <-> :'code'::wrvq_code AS distance;
SELECT put_codebook('alike', substr(:'axes_sha256'::bytea, 1, 7) || sha256('')::bytea, 4);
\echo :LAST_ERROR_SQLSTATE
SELECT put_codebook('alike', substr(:'axes_sha256'::bytea, 1, 7) || substr(sha256('')::bytea, 1, 25), 4);
\echo :LAST_ERROR_SQLSTATE
SET session_replication_role = replica;
SELECT put_codebook('alike', substr(:'axes_sha256'::bytea, 1, 7) || substr(sha256('')::bytea, 1, 25), 4);
RESET session_replication_role;
-- if it came in by other ways
BEGIN;
ALTER TABLE wrvq.wrvq_codebook DISABLE TRIGGER wrvq_codebook_is_distinct;
SELECT put_codebook('alike', substr(:'axes_sha256'::bytea, 1, 7) || substr(sha256('')::bytea, 1, 25), 4);
SAVEPOINT s;
SELECT wrvq_encode('alike', '{1,3}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
ALTER TABLE wrvq.wrvq_codebook DISABLE TRIGGER wrvq_codebook_is_distinct;
SELECT put_codebook('alike', substr(:'axes_sha256'::bytea, 1, 7) || substr(sha256('')::bytea, 1, 25), 4);
COMMIT;
\c -
\set SHOW_CONTEXT never
SELECT wrvq_decode(:'code');
\echo :LAST_ERROR_SQLSTATE
DELETE FROM wrvq.wrvq_codebook WHERE name = 'alike';
ALTER TABLE wrvq.wrvq_codebook ENABLE ALWAYS TRIGGER wrvq_codebook_is_distinct;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'twin';

-- who needs a codebook
CREATE DOMAIN code_domain AS wrvq_code;
CREATE TYPE code_pair AS (a code_domain, b int);
CREATE TABLE holder (a wrvq_code, b code_domain[], c code_pair, gone wrvq_code, embedding real[], other int,
	encoded wrvq_code GENERATED ALWAYS AS (wrvq_encode('axes', embedding)) STORED, by_default wrvq_code DEFAULT wrvq_encode('axes', '{1,2}'));
ALTER TABLE holder DROP gone;
CREATE TABLE parts (code wrvq_code) PARTITION BY LIST ((code IS NULL));
CREATE TABLE part PARTITION OF parts DEFAULT;
CREATE TABLE holders (h holder[]);
CREATE MATERIALIZED VIEW stored AS SELECT a FROM holder;
CREATE VIEW shown AS SELECT wrvq_encode('it''s another', '{1,2}') AS code;
CREATE VIEW any_of_them AS SELECT wrvq_encode(codebook, '{1,2}') AS code FROM (VALUES ('axes')) v(codebook);
CREATE TABLE checked (embedding real[] CHECK (wrvq_encode('axes', embedding) IS NOT NULL));
CREATE INDEX by_code ON checked USING hash ((wrvq_decode(wrvq_encode('axes', embedding))));
CREATE FUNCTION encode_axes(real[]) RETURNS wrvq_code RETURN wrvq_encode('axes', $1);
CREATE INDEX named ON plane USING wrvq (embedding) WITH (codebook = 'axes');
SELECT kind, object FROM wrvq.wrvq_codebook_dependents('axes');
SELECT kind, object FROM wrvq.wrvq_codebook_dependents('it''s another') WHERE kind <> 'column';
SELECT bool_and(kind = 'column') AS only_columns FROM wrvq.wrvq_codebook_dependents('missing') WHERE object NOT LIKE '%any_of_them';
DELETE FROM wrvq.wrvq_codebook WHERE name = 'axes';
\echo :LAST_ERROR_SQLSTATE
DELETE FROM wrvq.wrvq_codebook_level WHERE name = 'axes' AND level = 1;
TRUNCATE wrvq.wrvq_codebook;
\echo :LAST_ERROR_SQLSTATE
TRUNCATE wrvq.wrvq_codebook, wrvq.wrvq_codebook_level;
TRUNCATE wrvq.wrvq_codebook_level;
SET session_replication_role = replica;
DELETE FROM wrvq.wrvq_codebook;
TRUNCATE wrvq.wrvq_codebook;
UPDATE wrvq.wrvq_codebook SET metric = 'ip';
UPDATE wrvq.wrvq_codebook_level SET level = level + 1;
RESET session_replication_role;
SELECT count(*) FROM wrvq.wrvq_codebook_level WHERE name = 'axes';
-- columns are content with another name, all else is not
SELECT put_codebook('twin', NULL, 1);
SELECT kind, count(*) FROM wrvq.wrvq_codebook_dependents('axes') GROUP BY 1;
DROP VIEW any_of_them, shown;
DROP FUNCTION encode_axes;
DROP TABLE checked;
DROP INDEX named;
ALTER TABLE holder ALTER encoded DROP EXPRESSION, ALTER by_default DROP DEFAULT;
SELECT kind, object FROM wrvq.wrvq_codebook_dependents('axes');
TRUNCATE wrvq.wrvq_codebook;
DELETE FROM wrvq.wrvq_codebook;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'twin';
SELECT name FROM wrvq.wrvq_codebook;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'axes';
-- by force; a session that has not loaded the library knows the setting as well
\c -
\set SHOW_CONTEXT never
BEGIN;
SET LOCAL wrvq.allow_codebook_removal = 1;
TRUNCATE wrvq.wrvq_codebook, wrvq.wrvq_codebook_level;
ROLLBACK;
BEGIN;
SET LOCAL wrvq.allow_codebook_removal = on;
DELETE FROM wrvq.wrvq_codebook_level WHERE level = 1;
DELETE FROM wrvq.wrvq_codebook;
ROLLBACK;
DELETE FROM wrvq.wrvq_codebook;
DROP TABLE holders, parts, holder CASCADE;
DROP TYPE code_pair, code_domain;
-- nobody left
DELETE FROM wrvq.wrvq_codebook;
SELECT count(*) FROM wrvq.wrvq_codebook_level;

-- an index built anew when its codebook is gone has its own copy
SELECT put_codebook('axes', NULL, 1);
CREATE UNLOGGED TABLE unlogged AS SELECT * FROM plane;
CREATE INDEX kept ON plane USING wrvq (embedding) WITH (codebook = 'axes');
CREATE INDEX kept_unlogged ON unlogged USING wrvq (embedding) WITH (codebook = 'axes');
SET wrvq.allow_codebook_removal = on;
DELETE FROM wrvq.wrvq_codebook WHERE name = 'axes';
RESET wrvq.allow_codebook_removal;
REINDEX INDEX kept;
REINDEX INDEX CONCURRENTLY kept;
REINDEX TABLE unlogged;
VACUUM FULL plane;
BEGIN;
REINDEX INDEX kept;
REINDEX INDEX kept;
COMMIT;
BEGIN;
TRUNCATE plane;
ROLLBACK;
REINDEX INDEX kept;
SELECT wrvq_index_info(i)->>'codebook_sha256' = substr(:'axes_sha256', 3) AS same, wrvq_index_info(i)->>'live' AS live, wrvq_check(i) FROM unnest('{kept,kept_unlogged}'::regclass[]) i;
-- another table's index has none, nor has one for other options
CREATE TABLE other_plane AS SELECT * FROM plane;
CREATE INDEX ON other_plane USING wrvq (embedding) WITH (codebook = 'axes');
\echo :LAST_ERROR_SQLSTATE
DROP TABLE unlogged, other_plane;
DROP INDEX kept;

-- no memory by the row when names alternate
CREATE FUNCTION memory_after(rows int, codebooks int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	bytes bigint;
BEGIN
	-- the rows of the FROM clause are all encoded before the context is looked at, in the same statement
	SELECT sum(m.total_bytes) INTO bytes FROM (SELECT count(wrvq_encode('axes ' || n % codebooks, '{1,3}')) FROM generate_series(1, rows) n) s,
		LATERAL (SELECT total_bytes FROM pg_backend_memory_contexts WHERE s IS NOT NULL) m;
	RETURN bytes;
END $$;
SELECT count(put_codebook('axes ' || n, NULL, 2 ^ n)) FROM generate_series(0, 7) n;
SELECT codebooks, memory_after(20, codebooks) > 0 AS warm, memory_after(6000, codebooks) - memory_after(1000, codebooks) < 1000000 AS bounded
FROM unnest('{1,2,4,5,8}'::int[]) codebooks;
SELECT count(DISTINCT wrvq_decode(wrvq_encode('axes ' || n % 8, '{1,3}'), 1)) AS codebooks FROM generate_series(1, 100) n;
-- the settings of a session do not change what a codebook is
SET extra_float_digits = -10;
SELECT put_codebook('scaled', NULL, 1);
DELETE FROM wrvq.wrvq_codebook WHERE name = 'scaled';
INSERT INTO wrvq.wrvq_codebook_level SELECT 'scaled', level, kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords, transform_block_dimensions
	FROM wrvq.wrvq_codebook_level WHERE name = 'axes 0';
INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss, properties)
	VALUES ('scaled', 1, 2, 'l2', codebook_sha256('scaled', 2, 'l2', '0.12345679'), '{}', '{"scale": 0.12345679}');
SELECT wrvq_encode('scaled', '{8.1,0}') AS code \gset
\c -
SELECT wrvq_encode('scaled', '{8.1,0}')::text = :'code' AS same;
DELETE FROM wrvq.wrvq_codebook;
DROP FUNCTION memory_after, put_codebook;
DROP TABLE plane;
