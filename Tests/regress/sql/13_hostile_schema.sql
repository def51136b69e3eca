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
INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss) VALUES ('one', 1, 4, 'l2', sha256(''), '{}');
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
\set SHOW_CONTEXT never
DROP DATABASE wrvq_regress_schema;

-- operators, functions and tables of the villain's, in front of ours and of pg_catalog, in a schema that everybody searches
CREATE SCHEMA villain AUTHORIZATION wrvq_regress_villain;
GRANT USAGE ON SCHEMA villain TO PUBLIC;
SET ROLE wrvq_regress_villain;
CREATE FUNCTION villain.trap(text) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''% of the villain was called by %'', $1, current_user; END';
DO $$
DECLARE
	operator record;
	call record;
BEGIN
	-- the same operators on the same types, and on wider ones
	FOR operator IN SELECT *, 'operator_function_' || row_number() OVER () AS function FROM (VALUES ('->>', 'jsonb', 'text', 'text'), ('->>', 'jsonb', 'anyelement', 'text'), ('=', 'text', 'text', 'bool'), ('=', 'bytea', 'bytea', 'bool'),
		('<>', 'text', 'text', 'bool'), ('<>', 'bytea', 'bytea', 'bool'), ('=', 'oid', 'oid', 'bool'), ('=', 'int', 'int', 'bool'), ('=', 'oid', 'regclass', 'bool'),
		('=', 'name', 'text', 'bool'), ('=', 'regclass', 'regclass', 'bool'), ('=', '"char"', 'text', 'bool'), ('||', 'text', 'text', 'text'), ('~', 'text', 'text', 'bool'),
		('>', 'int', 'int', 'bool'), ('-', 'int', 'int', 'int')) v(name, l, r, result)
	LOOP
		EXECUTE format('CREATE FUNCTION villain.%5$s(%1$s, %2$s) RETURNS %3$s LANGUAGE plpgsql AS $f$ BEGIN PERFORM villain.trap(%4$L); END $f$',
			operator.l, operator.r, operator.result, format('%s(%s,%s)', operator.name, operator.l, operator.r), operator.function);
		EXECUTE format('CREATE OPERATOR villain.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = villain.%s)', operator.name, operator.l, operator.r, operator.function);
	END LOOP;
	FOR call IN SELECT * FROM (VALUES ('substr', 'bytea, int, int', 'bytea'), ('octet_length', 'bytea', 'int'), ('current_setting', 'text, bool', 'text'), ('strpos', 'text, text', 'int'),
		('replace', 'text, text, text', 'text'), ('pg_describe_object', 'oid, oid, int', 'text'), ('array_to_string', 'text[], text', 'text'), ('format', 'text', 'text'),
		('pg_get_expr', 'pg_node_tree, oid', 'text'), ('now', '', 'timestamptz'), ('float4', 'text', 'float4'), ('cardinality', 'anyarray', 'int')) v(name, arguments, result)
	LOOP
		EXECUTE format('CREATE FUNCTION villain.%I(%s) RETURNS %s LANGUAGE plpgsql AS $f$ BEGIN PERFORM villain.trap(%L); END $f$', call.name, call.arguments, call.result, call.name);
	END LOOP;
END $$;
CREATE TABLE villain.wrvq_codebook AS SELECT 'mine'::text AS name;
CREATE TABLE villain.pg_depend AS SELECT 1 AS classid;
RESET ROLE;
SELECT add_codebook('victim', 8, 'l2');
CREATE TABLE prey AS SELECT i AS id, cluster_vector(i, 8) AS embedding FROM generate_series(1, 200) i;
SET search_path = villain, pg_catalog, public;
SELECT 'a'::text = 'a'::text;
SELECT substr(''::bytea, 1, 1);
-- nothing of this is met by any function, build or trigger of ours
SELECT public.wrvq_encode('victim', '{1,2,3,4,5,6,7,8}') AS code \gset
SELECT public.wrvq_decode(:'code') IS NOT NULL AS decoded, (:'code'::public.wrvq_code OPERATOR(public.<->) '{1,2,3,4,5,6,7,8}'::real[]) OPERATOR(pg_catalog.>=) 0 AS distance;
CREATE INDEX prey_embedding ON public.prey USING wrvq (embedding) WITH (codebook = 'victim');
CREATE TABLE public.prey_code (code public.wrvq_code);
INSERT INTO public.prey_code SELECT public.wrvq_encode('victim', embedding) FROM public.prey;
CREATE INDEX ON public.prey_code USING wrvq (code) WITH (codebook = 'victim');
SELECT public.wrvq_check('public.prey_embedding');
UPDATE wrvq.wrvq_codebook SET version = 2;
DELETE FROM wrvq.wrvq_codebook;
DELETE FROM wrvq.wrvq_codebook_level;
TRUNCATE wrvq.wrvq_codebook;
SELECT kind, object FROM wrvq.wrvq_codebook_dependents('victim');
INSERT INTO wrvq.wrvq_codebook (name, version, dimensions, metric, sha256, loss) SELECT 'again', version, dimensions, metric, sha256, loss FROM wrvq.wrvq_codebook;
SET wrvq.allow_codebook_removal = on;
DELETE FROM wrvq.wrvq_codebook;
SELECT public.wrvq_encode('victim', '{1,2,3,4,5,6,7,8}');
\c -
\set SHOW_CONTEXT never
SET search_path = villain, pg_catalog, public;
SELECT public.wrvq_decode(:'code');
RESET search_path;
DROP TABLE prey, prey_code;
SET client_min_messages = warning;
DROP SCHEMA villain CASCADE;
RESET client_min_messages;
DROP ROLE wrvq_regress_villain;
