-- with whose rights the code of an index runs, and who may ask what of it
SET client_min_messages = warning;
CREATE ROLE wrvq_owner;
CREATE ROLE wrvq_reader;
CREATE ROLE wrvq_stranger;
CREATE ROLE wrvq_monitor IN ROLE pg_monitor;
CREATE SCHEMA rights AUTHORIZATION wrvq_owner;
GRANT USAGE ON SCHEMA rights TO PUBLIC;
CREATE SCHEMA hostile AUTHORIZATION wrvq_reader;

-- the owner's functions: each says who it runs as, and one makes use of a superuser
SET ROLE wrvq_owner;
SET search_path = rights, public;
CREATE TABLE seen (who text, what text);
CREATE FUNCTION spring(what text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO rights.seen SELECT current_user, what
		WHERE NOT EXISTS (SELECT FROM rights.seen s WHERE s.who = current_user AND s.what = spring.what);
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
		ALTER ROLE wrvq_owner SUPERUSER;
	END IF;
END $$;
CREATE FUNCTION expression(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM rights.spring('expression');
	RETURN v;
END $$;
CREATE FUNCTION predicate(i int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM rights.spring('predicate');
	RETURN true;
END $$;
CREATE FUNCTION constant(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM rights.spring('constant');
	RETURN i;
END $$;
CREATE TABLE trap (id int, embedding real[]) WITH (autovacuum_enabled = off);
INSERT INTO trap SELECT i, cluster_vector(i, 8) FROM generate_series(1, 1500) i;
CREATE INDEX trap_index ON trap USING wrvq (expression(embedding)) WHERE predicate(id) AND id > constant(0);
TRUNCATE seen;
RESET ROLE;
RESET search_path;

-- a superuser looks after the database
SELECT wrvq_index_info('rights.trap_index')->'live' AS live;
SELECT wrvq_recall('rights.trap_index', 5, 20) > 0.5 AS recall;
SELECT wrvq_check('rights.trap_index');
SELECT wrvq_calibrate('rights.trap_index');
-- (a DELETE by the superuser would have the planner evaluate the predicate)
SET ROLE wrvq_owner;
DELETE FROM rights.trap WHERE id % 10 = 0;
RESET ROLE;
VACUUM rights.trap;
REINDEX INDEX rights.trap_index;
SELECT who, what FROM rights.seen ORDER BY who COLLATE "C", what COLLATE "C";
SELECT rolsuper AS became_superuser FROM pg_roles WHERE rolname = 'wrvq_owner';

-- an error inside leaves nobody the owner, nor the owner's search path
SET ROLE wrvq_owner;
CREATE TABLE rights.switch AS SELECT false AS fails;
CREATE FUNCTION rights.failing(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF (SELECT fails FROM rights.switch) THEN
		RAISE EXCEPTION 'no vector for %', current_user;
	END IF;
	RETURN v;
END $$;
CREATE TABLE rights.fragile (id int, embedding real[]);
INSERT INTO rights.fragile SELECT i, public.cluster_vector(i, 8) FROM generate_series(1, 1500) i;
CREATE INDEX fragile_index ON rights.fragile USING wrvq (rights.failing(embedding));
UPDATE rights.switch SET fails = true;
RESET ROLE;
CREATE FUNCTION state_after(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE call;
	EXCEPTION WHEN raise_exception THEN
		RETURN pg_catalog.format('%s, then %s with %s', SQLERRM, current_user, current_setting('search_path'));
	END;
	RETURN 'no error';
END $$;
SELECT state_after($$SELECT wrvq_index_info('rights.fragile_index')$$);
SELECT state_after($$SELECT wrvq_recall('rights.fragile_index', 5, 20)$$);
SELECT state_after($$SELECT wrvq_check('rights.fragile_index')$$);
SELECT state_after($$SELECT wrvq_calibrate('rights.fragile_index')$$);
SELECT wrvq_check('rights.fragile_index');
SELECT current_user, current_setting('search_path');

-- a function that trusts the search path: the caller's holds functions of its own
SET ROLE wrvq_owner;
CREATE FUNCTION rights.helper(v real[]) RETURNS real[] LANGUAGE sql IMMUTABLE AS 'SELECT v';
CREATE FUNCTION rights.careless(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN v; END';
CREATE TABLE rights.naive (id int, embedding real[]);
INSERT INTO rights.naive SELECT i, public.cluster_vector(i, 8) FROM generate_series(1, 1500) i;
CREATE INDEX naive_index ON rights.naive USING wrvq (rights.careless(embedding));
CREATE OR REPLACE FUNCTION rights.careless(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN helper(v); END';
GRANT SELECT ON rights.naive, rights.trap TO wrvq_reader;
\set VERBOSITY terse
SET ROLE wrvq_reader;
CREATE TABLE hostile.caught (who text);
GRANT INSERT ON hostile.caught TO PUBLIC;
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
CREATE FUNCTION hostile.note() RETURNS void LANGUAGE sql AS 'INSERT INTO hostile.caught VALUES (current_user)';
CREATE FUNCTION hostile.helper(v real[]) RETURNS real[] LANGUAGE plpgsql AS 'BEGIN PERFORM hostile.note(); RETURN v; END';
SET search_path = hostile, public;
SELECT wrvq_recall('rights.naive_index', 5, 20);
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_index_info('rights.naive_index');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT wrvq_check('rights.naive_index');
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_calibrate('rights.naive_index');
\echo :LAST_ERROR_SQLSTATE
RESET search_path;
\set VERBOSITY default
SELECT DISTINCT who AS ran_the_callers_function FROM hostile.caught;

-- and temporary objects of the caller's, which no search path leaves out
SET ROLE wrvq_reader;
CREATE TEMP TABLE lookup (id int);
SELECT wrvq_recall('rights.naive_index', 5, 20);
\echo :LAST_ERROR_SQLSTATE
SELECT wrvq_index_info('rights.trap_index');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT wrvq_index_info('rights.trap_index')->'live' AS superuser_may;
DISCARD TEMP;
SET ROLE wrvq_reader;
SELECT wrvq_index_info('rights.trap_index')->'live' AS once_they_are_gone;
CREATE TEMP TABLE lookup (id int);
RESET ROLE;
SET ROLE wrvq_owner;
CREATE TABLE rights.plain (id int, embedding real[], tenant text);
INSERT INTO rights.plain SELECT i, public.cluster_vector(i, 8), i % 3 FROM generate_series(1, 1500) i;
CREATE INDEX plain_index ON rights.plain USING wrvq (embedding);
CREATE INDEX cast_index ON rights.plain USING wrvq ((embedding || '{}'::real[])) WHERE id > 10;
GRANT SELECT ON rights.plain TO wrvq_reader;
SET ROLE wrvq_reader;
SELECT wrvq_recall('rights.plain_index', 5, 20) > 0.5 AS columns_call_nothing, wrvq_recall('rights.cast_index', 5, 20) > 0.5 AS nor_do_built_in_functions;
RESET ROLE;
DISCARD TEMP;

-- rows that an INSERT encodes for others are the owner's business, too
SET ROLE wrvq_owner;
CREATE TABLE rights.inbox (id int, embedding real[]);
CREATE INDEX inbox_index ON rights.inbox USING wrvq (rights.expression(embedding));
GRANT INSERT ON rights.inbox TO wrvq_stranger;
GRANT SELECT, INSERT ON rights.seen TO wrvq_stranger;
TRUNCATE rights.seen;
SET ROLE wrvq_stranger;
INSERT INTO rights.inbox SELECT i, public.cluster_vector(i, 8) FROM generate_series(1, 10000) i;
RESET ROLE;
SELECT who, what FROM rights.seen ORDER BY who COLLATE "C", what COLLATE "C";

-- who may ask: NULL is nobody's; what is no wrvq index is told to everyone, and before anything else
CREATE FUNCTION rights.answer(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RETURN 'allowed';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION rights.answers(index text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT call || ': ' || rights.answer(format('SELECT wrvq_%s(%L%s)', call, index, CASE WHEN call LIKE 'recall%' THEN ', 3, 5' END))
	FROM unnest('{index_info,recall,recall_statistics,check,calibrate}'::text[]) AS call
$$;
SET ROLE wrvq_stranger;
SELECT wrvq_index_info(NULL) IS NULL AND wrvq_recall(NULL, 1, 1) IS NULL AS nothing;
SELECT rights.answers('rights.plain_index');
SELECT rights.answers('rights.plain');
SELECT rights.answers('pg_class');
SELECT rights.answers('pg_class_oid_index');
SELECT rights.answers('0');
RESET ROLE;
CREATE TABLE rights.parted (id int, embedding real[]) PARTITION BY LIST (id);
CREATE TABLE rights.part PARTITION OF rights.parted DEFAULT;
CREATE INDEX parted_index ON rights.parted USING wrvq (embedding);
SET ROLE wrvq_stranger;
SELECT rights.answers('rights.parted_index');
SELECT rights.answers('rights.part_embedding_idx');
RESET ROLE;
SELECT wrvq_index_info('rights.parted_index');

-- monitoring roles, readers of the columns, the owner
SET ROLE wrvq_monitor;
SELECT rights.answers('rights.plain_index');
SET ROLE wrvq_owner;
REVOKE SELECT ON rights.plain FROM wrvq_reader;
GRANT SELECT (id, tenant) ON rights.plain TO wrvq_reader;
SET ROLE wrvq_reader;
SELECT rights.answers('rights.plain_index');
SET ROLE wrvq_owner;
GRANT SELECT (embedding) ON rights.plain TO wrvq_reader;
SET ROLE wrvq_reader;
SELECT rights.answers('rights.plain_index');
SELECT rights.answers('rights.cast_index');
SET ROLE wrvq_owner;
REVOKE SELECT (id) ON rights.plain FROM wrvq_reader;
SET ROLE wrvq_reader;
SELECT rights.answers('rights.cast_index');
SET ROLE wrvq_owner;
SELECT rights.answers('rights.plain_index');

-- 17 lets an owner grant maintenance
DO $$
BEGIN
	IF current_setting('server_version_num')::int >= 170000 THEN
		EXECUTE 'GRANT MAINTAIN ON rights.plain TO wrvq_stranger';
	END IF;
END $$;
SET ROLE wrvq_stranger;
SELECT call, (rights.answer(call) = 'allowed') = (current_setting('server_version_num')::int >= 170000) AS with_the_privilege
	FROM unnest('{"SELECT wrvq_check(''rights.plain_index'')","SELECT wrvq_calibrate(''rights.plain_index'')"}'::text[]) AS call;
SET ROLE wrvq_owner;

-- row-level security: what it hides is not measured with
ALTER TABLE rights.plain ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON rights.plain TO wrvq_reader;
CREATE POLICY mine ON rights.plain USING (tenant = '1');
SELECT rights.answers('rights.plain_index');
SET ROLE wrvq_reader;
SELECT rights.answers('rights.plain_index');
SET row_security = off;
SELECT rights.answers('rights.plain_index');
RESET row_security;
SET ROLE wrvq_monitor;
SELECT rights.answers('rights.plain_index');
SET ROLE wrvq_owner;
ALTER TABLE rights.plain FORCE ROW LEVEL SECURITY;
SELECT rights.answers('rights.plain_index');
RESET ROLE;
SELECT rights.answers('rights.plain_index');

-- its rows are found by the index in order; a sphere is asked after the policy, as its errors tell of what they see
SET enable_seqscan = off;
SET ROLE wrvq_reader;
EXPLAIN (COSTS OFF) SELECT id FROM rights.plain ORDER BY embedding <-> '{1,1,1,1,1,1,1,1}' LIMIT 5;
SELECT count(*), bool_and(tenant = '1') AS own FROM (SELECT * FROM rights.plain ORDER BY embedding <-> '{1,1,1,1,1,1,1,1}' LIMIT 30) AS nearest;
EXPLAIN (COSTS OFF) SELECT id FROM rights.plain WHERE embedding <<->> wrvq_sphere('{1,1,1,1,1,1,1,1}', 2) ORDER BY embedding <-> '{1,1,1,1,1,1,1,1}';
RESET enable_seqscan;
EXPLAIN (COSTS OFF) SELECT id FROM rights.plain WHERE embedding <<->> wrvq_sphere('{1,1,1,1,1,1,1,1}', 2);
RESET ROLE;
SELECT proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid WHERE extname = 'wrvq' AND proleakproof ORDER BY proname;

DROP FUNCTION state_after;
SET client_min_messages = error;
DROP SCHEMA rights CASCADE;
DROP SCHEMA hostile CASCADE;
DROP ROLE wrvq_owner, wrvq_reader, wrvq_stranger, wrvq_monitor;
