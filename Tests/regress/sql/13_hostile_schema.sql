-- other people's objects: a schema "wrvq" that is there already
\set SHOW_CONTEXT never
SELECT current_database() AS regress_database \gset
CREATE ROLE wrvq_regress_villain;
CREATE DATABASE wrvq_regress_schema;
\c wrvq_regress_schema
\set SHOW_CONTEXT never

-- somebody else's: its owner could drop codebooks, and with them the extension
CREATE SCHEMA wrvq AUTHORIZATION wrvq_regress_villain;
CREATE EXTENSION wrvq;
\echo :LAST_ERROR_SQLSTATE
CREATE EXTENSION wrvq SCHEMA wrvq;
SELECT count(*) AS extensions FROM pg_extension WHERE extname = 'wrvq';
-- the way out that the hint names
ALTER SCHEMA wrvq OWNER TO CURRENT_USER;
-- with a relation of our name, even if it is ours by now
CREATE TABLE wrvq.wrvq_codebook (name text);
CREATE EXTENSION wrvq;
\echo :LAST_ERROR_SQLSTATE
DROP TABLE wrvq.wrvq_codebook;
-- with objects of other names, and others who may create some: they stay, and DROP EXTENSION leaves them alone
CREATE TABLE wrvq.mine AS SELECT 1 AS a;
GRANT USAGE, CREATE ON SCHEMA wrvq TO wrvq_regress_villain;
SET ROLE wrvq_regress_villain;
CREATE FUNCTION wrvq.substr(bytea, int, int) RETURNS bytea IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''substr() of the villain was called''; END';
CREATE FUNCTION wrvq.octet_length(text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''octet_length() of the villain was called''; END';
RESET ROLE;
CREATE EXTENSION wrvq;
INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss) VALUES ('one', 1, 4, 'l2', '\x00', '{}');
SET ROLE wrvq_regress_villain;
SELECT name FROM wrvq.wrvq_codebook;
DROP TABLE wrvq.wrvq_codebook;
DROP SCHEMA wrvq CASCADE;
DROP EXTENSION wrvq;
DELETE FROM wrvq.wrvq_codebook;
CREATE TRIGGER villain BEFORE INSERT ON wrvq.wrvq_codebook FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_immutable();
RESET ROLE;
DELETE FROM wrvq.wrvq_codebook;
DROP EXTENSION wrvq;
SELECT * FROM wrvq.mine;
-- all in that one schema
CREATE EXTENSION wrvq SCHEMA wrvq;
SELECT array_agg(DISTINCT n.nspname) AS schemas FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	JOIN pg_proc p ON p.oid = d.objid AND d.classid = 'pg_proc'::regclass JOIN pg_namespace n ON n.oid = p.pronamespace WHERE e.extname = 'wrvq';
SELECT '{3,4}'::real[] OPERATOR(wrvq.<->) '{0,0}'::real[] AS distance, wrvq.wrvq_version() IS NOT NULL AS version;
SELECT wrvq.wrvq_encode('missing', '{1}');
DROP EXTENSION wrvq;
DROP SCHEMA wrvq CASCADE;

-- no such schema yet: the extension's own, and nothing of it among the user's tables
CREATE EXTENSION wrvq SCHEMA wrvq;
CREATE EXTENSION wrvq;
SELECT n.nspname AS schema, count(*) AS relations FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'wrvq') AND c.relkind = 'r' GROUP BY 1;
ALTER EXTENSION wrvq SET SCHEMA wrvq;
DROP SCHEMA wrvq CASCADE;
DROP EXTENSION wrvq;
SELECT count(*) AS left_behind FROM pg_namespace WHERE nspname = 'wrvq';
\c :regress_database
DROP DATABASE wrvq_regress_schema;
DROP ROLE wrvq_regress_villain;
