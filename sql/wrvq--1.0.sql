\echo Use "CREATE EXTENSION wrvq" to load this file. \quit

-- operators

CREATE FUNCTION wrvq_l2_distance(real[], real[]) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_l2_distance(real[], real[]) IS 'Euclidean distance';

CREATE FUNCTION wrvq_negative_inner_product(real[], real[]) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_negative_inner_product(real[], real[]) IS 'negative inner product';

CREATE FUNCTION wrvq_cosine_distance(real[], real[]) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_cosine_distance(real[], real[]) IS 'cosine distance; NaN for a zero vector';

CREATE OPERATOR <-> (
	LEFTARG = real[], RIGHTARG = real[], FUNCTION = wrvq_l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (real[], real[]) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = real[], RIGHTARG = real[], FUNCTION = wrvq_negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (real[], real[]) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = real[], RIGHTARG = real[], FUNCTION = wrvq_cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (real[], real[]) IS 'cosine distance';

-- spheres: what is within a distance

CREATE TYPE wrvq_sphere AS (center real[], radius float8);
COMMENT ON TYPE wrvq_sphere IS 'all vectors within a distance of a centre, in the value of the operator that it is used with';

CREATE FUNCTION wrvq_sphere(center real[], radius float8) RETURNS wrvq_sphere
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_sphere(real[], float8) IS 'all vectors within a distance of a centre, which are inside';

CREATE FUNCTION wrvq_in_l2_sphere(real[], wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_l2_sphere(real[], wrvq_sphere) IS 'is the vector within the sphere''s radius by Euclidean distance?';

CREATE FUNCTION wrvq_in_ip_sphere(real[], wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_ip_sphere(real[], wrvq_sphere) IS 'is the vector within the sphere''s radius by negative inner product?';

CREATE FUNCTION wrvq_in_cosine_sphere(real[], wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_cosine_sphere(real[], wrvq_sphere) IS 'is the vector within the sphere''s radius by cosine distance?';

CREATE OPERATOR <<->> (
	LEFTARG = real[], RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_l2_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<->> (real[], wrvq_sphere) IS 'within the radius by Euclidean distance';

CREATE OPERATOR <<#>> (
	LEFTARG = real[], RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_ip_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<#>> (real[], wrvq_sphere) IS 'within the radius by negative inner product';

CREATE OPERATOR <<=>> (
	LEFTARG = real[], RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_cosine_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<=>> (real[], wrvq_sphere) IS 'within the radius by cosine distance';

-- access method

CREATE FUNCTION wrvqhandler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C;
COMMENT ON FUNCTION wrvqhandler(internal) IS 'wrvq index access method handler';

CREATE ACCESS METHOD wrvq TYPE INDEX HANDLER wrvqhandler;
COMMENT ON ACCESS METHOD wrvq IS 'weight residual vector quantization index access method';

-- operator classes

CREATE FUNCTION wrvq_real_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_real_l2_support(internal) IS 'support of operator class real_l2_ops';

CREATE FUNCTION wrvq_real_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_real_ip_support(internal) IS 'support of operator class real_ip_ops';

CREATE FUNCTION wrvq_real_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_real_cosine_support(internal) IS 'support of operator class real_cosine_ops';

CREATE OPERATOR CLASS real_l2_ops
	DEFAULT FOR TYPE real[] USING wrvq AS
	OPERATOR 1 <-> (real[], real[]) FOR ORDER BY float_ops,
	OPERATOR 2 <<->> (real[], wrvq_sphere),
	FUNCTION 1 wrvq_real_l2_support(internal);

CREATE OPERATOR CLASS real_ip_ops
	FOR TYPE real[] USING wrvq AS
	OPERATOR 1 <#> (real[], real[]) FOR ORDER BY float_ops,
	OPERATOR 2 <<#>> (real[], wrvq_sphere),
	FUNCTION 1 wrvq_real_ip_support(internal);

CREATE OPERATOR CLASS real_cosine_ops
	FOR TYPE real[] USING wrvq AS
	OPERATOR 1 <=> (real[], real[]) FOR ORDER BY float_ops,
	OPERATOR 2 <<=>> (real[], wrvq_sphere),
	FUNCTION 1 wrvq_real_cosine_support(internal);

-- codebooks: what `wrvq train` and `wrvq load` store, in a schema of their own, so that nobody meets them among the user's tables

-- A schema's owner may drop all that is in it.  So one that is there already must belong to whoever owns the extension, or to a superuser.
DO $$
DECLARE
	owner pg_catalog.oid := (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) 'wrvq');
	taken pg_catalog.name := (SELECT c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
		WHERE n.nspname OPERATOR(pg_catalog.=) 'wrvq'
			AND c.relname OPERATOR(pg_catalog.=) ANY ('{wrvq_codebook,wrvq_codebook_level,wrvq_codebook_pkey,wrvq_codebook_level_pkey,wrvq_codebook_identity}') LIMIT 1);
	trusted bool := (SELECT r.rolsuper OR r.rolname OPERATOR(pg_catalog.=) CURRENT_USER FROM pg_catalog.pg_roles r WHERE r.oid OPERATOR(pg_catalog.=) owner);
BEGIN
	IF owner IS NULL THEN
		CREATE SCHEMA wrvq;
		COMMENT ON SCHEMA wrvq IS 'stored codebooks of extension wrvq';
	ELSIF trusted IS NOT TRUE THEN
		RAISE EXCEPTION 'schema "wrvq" belongs to role "%"', pg_catalog.pg_get_userbyid(owner)
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'The extension keeps its codebooks in a schema of that name, whose owner could drop them.',
				HINT = pg_catalog.format('Rename that schema with ALTER SCHEMA wrvq RENAME TO another_name, or, if its contents are harmless, take it over with ALTER SCHEMA wrvq OWNER TO %I.', CURRENT_USER);
	ELSIF taken IS NOT NULL THEN
		RAISE EXCEPTION 'schema "wrvq" has a relation "%" already', taken
			USING ERRCODE = 'duplicate_object',
				DETAIL = 'The extension keeps its codebooks in a schema of that name, in relations of that name.',
				HINT = 'Rename that schema with ALTER SCHEMA wrvq RENAME TO another_name, or drop the relation.';
	END IF;
END $$;

CREATE TABLE wrvq.wrvq_codebook (
	name text PRIMARY KEY CHECK (octet_length(name) BETWEEN 1 AND 255),
	version int NOT NULL,
	dimensions int NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
	metric text NOT NULL CHECK (metric IN ('l2', 'ip', 'cosine')),
	sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
	loss float8[] NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	properties jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE wrvq.wrvq_codebook IS 'codebooks for wrvq indexes; rows are immutable';
COMMENT ON COLUMN wrvq.wrvq_codebook.loss IS 'quantization loss after each level: mean squared length of the residual of a scaled vector';

CREATE TABLE wrvq.wrvq_codebook_level (
	name text NOT NULL,
	level int NOT NULL CHECK (level >= 0),
	kind text NOT NULL CHECK (kind IN ('flat', 'product')),
	weight text NOT NULL CHECK (weight IN ('one', 'norm', 'projection')),
	weight_bits int NOT NULL CHECK (weight_bits IN (16, 8, 4, 3, 2)),
	codeword_count int NOT NULL,
	piece_count int NOT NULL,
	piece_dimensions int NOT NULL,
	codewords bytea NOT NULL,
	transform_block_dimensions int NOT NULL,
	transform bytea,
	weights bytea,
	PRIMARY KEY (name, level)
);
COMMENT ON TABLE wrvq.wrvq_codebook_level IS 'levels of codebooks; rows are immutable';
COMMENT ON COLUMN wrvq.wrvq_codebook_level.codewords IS 'little-endian halves: flat [codeword_count][dimensions], product [piece_count][16][piece_dimensions]';
COMMENT ON COLUMN wrvq.wrvq_codebook_level.transform IS 'little-endian halves: the diagonal blocks in sequence, each square';

-- already compressed in every sense: storing them plainly saves the attempt
ALTER TABLE wrvq.wrvq_codebook_level
	ALTER codewords SET STORAGE EXTERNAL, ALTER transform SET STORAGE EXTERNAL;

GRANT USAGE ON SCHEMA wrvq TO PUBLIC;
GRANT SELECT ON wrvq.wrvq_codebook, wrvq.wrvq_codebook_level TO PUBLIC;

-- what needs a codebook, as far as the catalogs know

CREATE FUNCTION wrvq.wrvq_code_columns() RETURNS TABLE (classid oid, objid oid, objsubid int)
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
	-- the type, and domains, arrays and composite types made of it
	WITH RECURSIVE code_type (oid) AS (
		SELECT d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_type t ON t.oid = d.objid
		WHERE d.classid = 'pg_type'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
			AND e.extname = 'wrvq' AND t.typname = 'wrvq_code'
		UNION
		SELECT t.oid FROM code_type c, pg_type t
		WHERE t.typelem = c.oid OR t.typbasetype = c.oid
			OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.atttypid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
	)
	SELECT 'pg_class'::regclass::oid, r.oid, a.attnum::int
	FROM code_type c JOIN pg_attribute a ON a.atttypid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
		JOIN pg_class r ON r.oid = a.attrelid AND r.relkind IN ('r', 'm')
$$;
COMMENT ON FUNCTION wrvq.wrvq_code_columns() IS 'columns of tables and materialized views that may hold values of type wrvq_code';

CREATE FUNCTION wrvq.wrvq_codebook_dependents(codebook text)
	RETURNS TABLE (kind text, object text, classid oid, objid oid, objsubid int)
	LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
	WITH encoder AS (
		SELECT p.oid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid JOIN pg_proc p ON p.oid = d.objid
		WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
			AND e.extname = 'wrvq' AND p.proname = 'wrvq_encode'
	), expression AS (
		SELECT DISTINCT d.classid, d.objid, d.objsubid, CASE d.classid
			WHEN 'pg_attrdef'::regclass THEN (SELECT pg_get_expr(x.adbin, x.adrelid) FROM pg_attrdef x WHERE x.oid = d.objid)
			WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(d.objid)
			WHEN 'pg_rewrite'::regclass THEN pg_get_ruledef(d.objid)
			WHEN 'pg_trigger'::regclass THEN pg_get_triggerdef(d.objid)
			WHEN 'pg_proc'::regclass THEN pg_get_function_sqlbody(d.objid)
			WHEN 'pg_class'::regclass THEN coalesce(
				(SELECT pg_get_expr(x.adbin, x.adrelid) FROM pg_attrdef x WHERE x.adrelid = d.objid AND x.adnum = d.objsubid),
				(SELECT pg_get_indexdef(x.indexrelid) FROM pg_index x WHERE x.indexrelid = d.objid AND d.objsubid = 0))
			END AS definition
		FROM encoder JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = encoder.oid AND d.deptype IN ('n', 'a')
		-- the extension's own functions call each other
		WHERE NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = d.classid AND m.objid = d.objid AND m.deptype = 'e')
	), dependent AS (
		SELECT 'index' AS kind, 'pg_class'::regclass::oid AS classid, c.oid AS objid, 0 AS objsubid
		FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'wrvq' AND 'codebook=' || codebook = ANY (c.reloptions)
		UNION ALL
		-- by its name, or by one that only comes with the rows
		SELECT 'expression', x.classid, x.objid, x.objsubid FROM expression x
		WHERE x.definition IS NULL OR x.definition ~ 'wrvq_encode\(\(*(?![(''])'
			OR strpos(x.definition, '''' || replace(codebook, '''', '''''') || '''::') > 0
		UNION ALL
		-- codes know it by its contents, whatever it is called
		SELECT 'column', c.classid, c.objid, c.objsubid FROM wrvq.wrvq_code_columns() c
		WHERE NOT EXISTS (SELECT FROM wrvq.wrvq_codebook one JOIN wrvq.wrvq_codebook other ON other.sha256 = one.sha256 AND other.name <> one.name
			WHERE one.name = codebook)
	)
	SELECT kind, pg_describe_object(classid, objid, objsubid), classid, objid, objsubid FROM dependent ORDER BY kind = 'column', 2
$$;
COMMENT ON FUNCTION wrvq.wrvq_codebook_dependents(text) IS
	'indexes and expressions that name a codebook, and columns whose codes may be of it';

-- codebooks never change, and go only if nothing needs them

CREATE FUNCTION wrvq.wrvq_codebook_is_immutable() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	RAISE EXCEPTION 'codebook "%" cannot be changed', OLD.name
		USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'Indexes and codes depend on it. Store the changed codebook under another name.';
END $$;
COMMENT ON FUNCTION wrvq.wrvq_codebook_is_immutable() IS 'refuses updates of codebooks';

CREATE FUNCTION wrvq.wrvq_codebook_is_distinct() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	other text := (SELECT c.name FROM wrvq.wrvq_codebook c
		WHERE substr(c.sha256, 1, 7) = substr(NEW.sha256, 1, 7) AND c.sha256 <> NEW.sha256 LIMIT 1);
BEGIN
	IF other IS NOT NULL THEN
		RAISE EXCEPTION 'codebooks "%" and "%" differ, but their SHA-256 begin alike', NEW.name, other
			USING ERRCODE = 'object_not_in_prerequisite_state',
				DETAIL = 'A code names its codebook by these 7 bytes.',
				HINT = 'Train the new one with another seed.';
	END IF;
	RETURN NEW;
END $$;
COMMENT ON FUNCTION wrvq.wrvq_codebook_is_distinct() IS 'refuses codebooks that codes could not tell from another one';

CREATE FUNCTION wrvq.wrvq_codebook_is_needed() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	codebook text;
	objects text[];
BEGIN
	IF coalesce(nullif(current_setting('wrvq.allow_codebook_removal', true), '')::bool, false) THEN
		RETURN OLD;
	ELSIF TG_OP = 'TRUNCATE' THEN
		-- all names at once, so that no other name for the same contents is left
		SELECT c.name, array_agg(d.object ORDER BY d.object) INTO codebook, objects
		FROM wrvq.wrvq_codebook c, LATERAL (SELECT n.object FROM wrvq.wrvq_codebook_dependents(c.name) n
			UNION SELECT pg_describe_object(o.classid, o.objid, o.objsubid) FROM wrvq.wrvq_code_columns() o) d
		GROUP BY c.name ORDER BY c.name LIMIT 1;
	-- levels that are left over, or go with their codebook, nobody needs
	ELSIF TG_TABLE_NAME = 'wrvq_codebook' OR EXISTS (SELECT FROM wrvq.wrvq_codebook c WHERE c.name = OLD.name) THEN
		codebook := OLD.name;
		SELECT array_agg(d.object) INTO objects FROM wrvq.wrvq_codebook_dependents(codebook) d;
	END IF;
	IF objects IS NOT NULL THEN
		RAISE EXCEPTION 'codebook "%" cannot be removed because other objects may need it', codebook
			USING ERRCODE = 'dependent_objects_still_exist',
				DETAIL = array_to_string(objects[:10], E'\n') || CASE WHEN cardinality(objects) > 10 THEN pg_catalog.format(E'\nand %s others', cardinality(objects) - 10) ELSE '' END,
				HINT = '"wrvq drop" looks into the columns for codes that do. SET wrvq.allow_codebook_removal = on lets it go all the same, and its codes cannot be read then.';
	END IF;
	RETURN OLD;
END $$;
COMMENT ON FUNCTION wrvq.wrvq_codebook_is_needed() IS 'refuses to remove codebooks that other objects may need';

-- not a foreign key: a parallel pg_restore may load the levels first
CREATE FUNCTION wrvq.wrvq_codebook_delete_levels() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	DELETE FROM wrvq.wrvq_codebook_level WHERE name = OLD.name;
	RETURN NULL;
END $$;
COMMENT ON FUNCTION wrvq.wrvq_codebook_delete_levels() IS 'deletes the levels of a deleted codebook';

CREATE TRIGGER wrvq_codebook_is_immutable BEFORE UPDATE ON wrvq.wrvq_codebook
	FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_immutable();
CREATE TRIGGER wrvq_codebook_is_immutable BEFORE UPDATE ON wrvq.wrvq_codebook_level
	FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_immutable();
CREATE TRIGGER wrvq_codebook_is_distinct BEFORE INSERT ON wrvq.wrvq_codebook
	FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_distinct();
CREATE TRIGGER wrvq_codebook_is_needed BEFORE DELETE ON wrvq.wrvq_codebook
	FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_needed();
CREATE TRIGGER wrvq_codebook_is_needed BEFORE DELETE ON wrvq.wrvq_codebook_level
	FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_is_needed();
CREATE TRIGGER wrvq_codebooks_are_needed BEFORE TRUNCATE ON wrvq.wrvq_codebook
	FOR EACH STATEMENT EXECUTE FUNCTION wrvq.wrvq_codebook_is_needed();
CREATE TRIGGER wrvq_codebooks_are_needed BEFORE TRUNCATE ON wrvq.wrvq_codebook_level
	FOR EACH STATEMENT EXECUTE FUNCTION wrvq.wrvq_codebook_is_needed();
CREATE TRIGGER wrvq_codebook_delete_levels AFTER DELETE ON wrvq.wrvq_codebook
	FOR EACH ROW EXECUTE FUNCTION wrvq.wrvq_codebook_delete_levels();

-- what another server replicates here, or a session with session_replication_role = replica does, is no exception
ALTER TABLE wrvq.wrvq_codebook ENABLE ALWAYS TRIGGER wrvq_codebook_is_immutable, ENABLE ALWAYS TRIGGER wrvq_codebook_is_distinct,
	ENABLE ALWAYS TRIGGER wrvq_codebook_is_needed, ENABLE ALWAYS TRIGGER wrvq_codebooks_are_needed,
	ENABLE ALWAYS TRIGGER wrvq_codebook_delete_levels;
ALTER TABLE wrvq.wrvq_codebook_level ENABLE ALWAYS TRIGGER wrvq_codebook_is_immutable,
	ENABLE ALWAYS TRIGGER wrvq_codebook_is_needed, ENABLE ALWAYS TRIGGER wrvq_codebooks_are_needed;

SELECT pg_catalog.pg_extension_config_dump('wrvq.wrvq_codebook', '');
SELECT pg_catalog.pg_extension_config_dump('wrvq.wrvq_codebook_level', '');

-- vectors as codes of a stored codebook

CREATE TYPE wrvq_code;

CREATE FUNCTION wrvq_code_in(cstring) RETURNS wrvq_code
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_in(cstring) IS 'input of type wrvq_code';

CREATE FUNCTION wrvq_code_out(wrvq_code) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_out(wrvq_code) IS 'output of type wrvq_code';

CREATE FUNCTION wrvq_code_recv(internal) RETURNS wrvq_code
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_recv(internal) IS 'binary input of type wrvq_code';

CREATE FUNCTION wrvq_code_send(wrvq_code) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_send(wrvq_code) IS 'binary output of type wrvq_code';

-- external: codes cannot be compressed
CREATE TYPE wrvq_code (
	INPUT = wrvq_code_in, OUTPUT = wrvq_code_out, RECEIVE = wrvq_code_recv, SEND = wrvq_code_send, STORAGE = external
);
COMMENT ON TYPE wrvq_code IS 'a vector as codes and weights of a stored codebook';

-- a value knows its codebook by the beginning of its SHA-256
CREATE INDEX wrvq_codebook_identity ON wrvq.wrvq_codebook (substr(sha256, 1, 7));

CREATE FUNCTION wrvq_encode(codebook text, vector real[]) RETURNS wrvq_code
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 100;
COMMENT ON FUNCTION wrvq_encode(text, real[]) IS 'codes and weights of a vector';

CREATE FUNCTION wrvq_decode(code wrvq_code) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION wrvq_decode(wrvq_code) IS 'the vector that a code stands for';

CREATE FUNCTION wrvq_decode(code wrvq_code, levels int) RETURNS real[]
	AS 'MODULE_PATHNAME', 'wrvq_decode_levels' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION wrvq_decode(wrvq_code, int) IS 'the vector that the first levels of a code stand for';

CREATE FUNCTION wrvq_l2_distance(wrvq_code, real[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_code_vector_l2' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_l2_distance(wrvq_code, real[]) IS 'Euclidean distance';

CREATE FUNCTION wrvq_l2_distance(real[], wrvq_code) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_vector_code_l2' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_l2_distance(real[], wrvq_code) IS 'Euclidean distance';

CREATE FUNCTION wrvq_l2_distance(wrvq_code, wrvq_code) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_code_code_l2' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_l2_distance(wrvq_code, wrvq_code) IS 'Euclidean distance';

CREATE FUNCTION wrvq_negative_inner_product(wrvq_code, real[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_code_vector_ip' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_negative_inner_product(wrvq_code, real[]) IS 'negative inner product';

CREATE FUNCTION wrvq_negative_inner_product(real[], wrvq_code) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_vector_code_ip' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_negative_inner_product(real[], wrvq_code) IS 'negative inner product';

CREATE FUNCTION wrvq_negative_inner_product(wrvq_code, wrvq_code) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_code_code_ip' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_negative_inner_product(wrvq_code, wrvq_code) IS 'negative inner product';

CREATE FUNCTION wrvq_cosine_distance(wrvq_code, real[]) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_code_vector_cosine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_cosine_distance(wrvq_code, real[]) IS 'cosine distance; NaN for a zero vector';

CREATE FUNCTION wrvq_cosine_distance(real[], wrvq_code) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_vector_code_cosine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_cosine_distance(real[], wrvq_code) IS 'cosine distance; NaN for a zero vector';

CREATE FUNCTION wrvq_cosine_distance(wrvq_code, wrvq_code) RETURNS float8
	AS 'MODULE_PATHNAME', 'wrvq_code_code_cosine' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_cosine_distance(wrvq_code, wrvq_code) IS 'cosine distance; NaN for a zero vector';

CREATE OPERATOR <-> (
	LEFTARG = wrvq_code, RIGHTARG = real[], FUNCTION = wrvq_l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (wrvq_code, real[]) IS 'Euclidean distance';

CREATE OPERATOR <-> (
	LEFTARG = real[], RIGHTARG = wrvq_code, FUNCTION = wrvq_l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (real[], wrvq_code) IS 'Euclidean distance';

CREATE OPERATOR <-> (
	LEFTARG = wrvq_code, RIGHTARG = wrvq_code, FUNCTION = wrvq_l2_distance, COMMUTATOR = '<->'
);
COMMENT ON OPERATOR <-> (wrvq_code, wrvq_code) IS 'Euclidean distance';

CREATE OPERATOR <#> (
	LEFTARG = wrvq_code, RIGHTARG = real[], FUNCTION = wrvq_negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (wrvq_code, real[]) IS 'negative inner product';

CREATE OPERATOR <#> (
	LEFTARG = real[], RIGHTARG = wrvq_code, FUNCTION = wrvq_negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (real[], wrvq_code) IS 'negative inner product';

CREATE OPERATOR <#> (
	LEFTARG = wrvq_code, RIGHTARG = wrvq_code, FUNCTION = wrvq_negative_inner_product, COMMUTATOR = '<#>'
);
COMMENT ON OPERATOR <#> (wrvq_code, wrvq_code) IS 'negative inner product';

CREATE OPERATOR <=> (
	LEFTARG = wrvq_code, RIGHTARG = real[], FUNCTION = wrvq_cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (wrvq_code, real[]) IS 'cosine distance';

CREATE OPERATOR <=> (
	LEFTARG = real[], RIGHTARG = wrvq_code, FUNCTION = wrvq_cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (real[], wrvq_code) IS 'cosine distance';

CREATE OPERATOR <=> (
	LEFTARG = wrvq_code, RIGHTARG = wrvq_code, FUNCTION = wrvq_cosine_distance, COMMUTATOR = '<=>'
);
COMMENT ON OPERATOR <=> (wrvq_code, wrvq_code) IS 'cosine distance';

CREATE FUNCTION wrvq_in_l2_sphere(wrvq_code, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_l2_sphere(wrvq_code, wrvq_sphere) IS 'is the decoded vector within the sphere''s radius by Euclidean distance?';

CREATE FUNCTION wrvq_in_ip_sphere(wrvq_code, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_ip_sphere(wrvq_code, wrvq_sphere) IS 'is the decoded vector within the sphere''s radius by negative inner product?';

CREATE FUNCTION wrvq_in_cosine_sphere(wrvq_code, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_cosine_sphere(wrvq_code, wrvq_sphere) IS 'is the decoded vector within the sphere''s radius by cosine distance?';

CREATE OPERATOR <<->> (
	LEFTARG = wrvq_code, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_l2_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<->> (wrvq_code, wrvq_sphere) IS 'within the radius by Euclidean distance';

CREATE OPERATOR <<#>> (
	LEFTARG = wrvq_code, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_ip_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<#>> (wrvq_code, wrvq_sphere) IS 'within the radius by negative inner product';

CREATE OPERATOR <<=>> (
	LEFTARG = wrvq_code, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_cosine_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<=>> (wrvq_code, wrvq_sphere) IS 'within the radius by cosine distance';

CREATE FUNCTION wrvq_code_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_l2_support(internal) IS 'support of operator class wrvq_code_l2_ops';

CREATE FUNCTION wrvq_code_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_ip_support(internal) IS 'support of operator class wrvq_code_ip_ops';

CREATE FUNCTION wrvq_code_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_code_cosine_support(internal) IS 'support of operator class wrvq_code_cosine_ops';

CREATE OPERATOR CLASS wrvq_code_l2_ops
	DEFAULT FOR TYPE wrvq_code USING wrvq AS
	OPERATOR 1 <-> (wrvq_code, real[]) FOR ORDER BY float_ops,
	OPERATOR 2 <<->> (wrvq_code, wrvq_sphere),
	FUNCTION 1 wrvq_code_l2_support(internal);

CREATE OPERATOR CLASS wrvq_code_ip_ops
	FOR TYPE wrvq_code USING wrvq AS
	OPERATOR 1 <#> (wrvq_code, real[]) FOR ORDER BY float_ops,
	OPERATOR 2 <<#>> (wrvq_code, wrvq_sphere),
	FUNCTION 1 wrvq_code_ip_support(internal);

CREATE OPERATOR CLASS wrvq_code_cosine_ops
	FOR TYPE wrvq_code USING wrvq AS
	OPERATOR 1 <=> (wrvq_code, real[]) FOR ORDER BY float_ops,
	OPERATOR 2 <<=>> (wrvq_code, wrvq_sphere),
	FUNCTION 1 wrvq_code_cosine_support(internal);

-- functions

CREATE FUNCTION wrvq_version() RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_version() IS 'version of the loaded wrvq library';

CREATE FUNCTION wrvq_index_info(regclass) RETURNS jsonb
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION wrvq_index_info(regclass) IS 'counts, loss, calibration and advice of an index';

CREATE FUNCTION wrvq_recall(index regclass, k int DEFAULT 10, queries int DEFAULT 100) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION wrvq_recall(regclass, int, int) IS 'recall of an index, measured with rows of its table at the present settings';

CREATE FUNCTION wrvq_recall_statistics(index regclass, k int DEFAULT 10, queries int DEFAULT 100,
		OUT recall float8, OUT low float8, OUT high float8, OUT worst_tenth float8, OUT queries int) RETURNS record
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION wrvq_recall_statistics(regclass, int, int) IS 'recall of an index with its 95 % confidence interval, and that of the worst tenth of the queries';

CREATE FUNCTION wrvq_last_scan(OUT index regclass, OUT rounds int, OUT lists_visited int, OUT lists int, OUT entries bigint,
		OUT reranked bigint, OUT not_visible bigint, OUT returned bigint, OUT latecomers bigint, OUT dropped bigint, OUT bounded boolean)
	RETURNS record AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION wrvq_last_scan() IS 'what the last scan of a wrvq index in this session did';

CREATE FUNCTION wrvq_calibrate(index regclass) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION wrvq_calibrate(regclass) IS 'measures anew what wrvq.target_recall takes, as the build of the index did';

CREATE FUNCTION wrvq_check(index regclass) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION wrvq_check(regclass) IS 'raises an error if an index is damaged or disagrees with its table';

-- arithmetic of vectors, under the names that pgvector's types have it by, prefixed

CREATE FUNCTION wrvq_vector_dims(real[]) RETURNS int
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_vector_dims(real[]) IS 'number of dimensions of a vector';

CREATE FUNCTION wrvq_vector_norm(real[]) RETURNS float8
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_vector_norm(real[]) IS 'Euclidean length of a vector';

CREATE FUNCTION wrvq_l2_normalize(real[]) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_l2_normalize(real[]) IS 'vector of the same direction and length 1; a zero vector stays zero';

CREATE FUNCTION wrvq_add(real[], real[]) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_add(real[], real[]) IS 'sum of two vectors';

CREATE FUNCTION wrvq_sub(real[], real[]) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_sub(real[], real[]) IS 'difference of two vectors';

CREATE FUNCTION wrvq_mul(real[], real[]) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_mul(real[], real[]) IS 'products of the elements of two vectors';

CREATE FUNCTION wrvq_sums_add(float8[], real[]) RETURNS float8[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_sums_add(float8[], real[]) IS 'transition function of wrvq_sum and wrvq_avg';

CREATE FUNCTION wrvq_sums_combine(float8[], float8[]) RETURNS float8[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_sums_combine(float8[], float8[]) IS 'combine function of wrvq_sum and wrvq_avg';

CREATE FUNCTION wrvq_sums_total(float8[]) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_sums_total(float8[]) IS 'final function of wrvq_sum';

CREATE FUNCTION wrvq_sums_mean(float8[]) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_sums_mean(float8[]) IS 'final function of wrvq_avg';

CREATE AGGREGATE wrvq_sum(real[]) (
	SFUNC = wrvq_sums_add, STYPE = float8[], INITCOND = '{}', COMBINEFUNC = wrvq_sums_combine, FINALFUNC = wrvq_sums_total,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE wrvq_sum(real[]) IS 'sum of vectors';

CREATE AGGREGATE wrvq_avg(real[]) (
	SFUNC = wrvq_sums_add, STYPE = float8[], INITCOND = '{}', COMBINEFUNC = wrvq_sums_combine, FINALFUNC = wrvq_sums_mean,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE wrvq_avg(real[]) IS 'mean of vectors';

-- Other arrays of numbers on the right.  Clients send a list of numbers as double precision[], which is no real[] of its own
-- accord.  Arrays that are (of integers, numeric) get operators, too: they would otherwise have two to choose from.  All are SQL,
-- which the planner replaces by what it calls, so that the operators reach the index.
--
-- A parameter of a domain loses against one of the very type.  So the functions for double precision[] take a domain on the left:
-- what is untyped, or a real[] of its own accord, stays a real[].
CREATE DOMAIN wrvq.vector AS real[];
COMMENT ON DOMAIN wrvq.vector IS 'a vector beside one of double precision[]';

CREATE DOMAIN wrvq.radius AS float8;
COMMENT ON DOMAIN wrvq.radius IS 'a radius beside a centre of double precision[]';

CREATE DOMAIN wrvq.codebook_name AS text;
COMMENT ON DOMAIN wrvq.codebook_name IS 'a codebook''s name beside a vector of double precision[]';

DO $$
DECLARE
	other text;
	name text;
	symbol text;
	what text;
	left_type text;
	loses text;
BEGIN
	FOREACH other IN ARRAY ARRAY['float8[]', 'numeric[]', 'int2[]', 'int4[]', 'int8[]'] LOOP
		loses := CASE other WHEN 'float8[]' THEN 'wrvq.vector' ELSE 'real[]' END;
		FOR name, symbol, what IN VALUES ('l2_distance', '<->', 'Euclidean distance'),
			('negative_inner_product', '<#>', 'negative inner product'), ('cosine_distance', '<=>', 'cosine distance')
		LOOP
			FOREACH left_type IN ARRAY ARRAY['real[]', 'wrvq_code'] LOOP
				EXECUTE pg_catalog.format('CREATE FUNCTION wrvq.%1$s(%2$s, %3$s) RETURNS float8
					LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1 OPERATOR(@extschema@.%4$s) $2::real[]',
					name, left_type, other, symbol);
				EXECUTE pg_catalog.format('COMMENT ON FUNCTION wrvq.%s(%s, %s) IS %L', name, left_type, other, what);
				EXECUTE pg_catalog.format('CREATE OPERATOR %s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = wrvq.%s)', symbol, left_type, other, name);
				EXECUTE pg_catalog.format('COMMENT ON OPERATOR %s (%s, %s) IS %L', symbol, left_type, other, what);
			END LOOP;
			FOREACH left_type IN ARRAY ARRAY[loses, 'wrvq_code'] LOOP
				EXECUTE pg_catalog.format('CREATE FUNCTION wrvq_%1$s(%2$s, %3$s) RETURNS float8
					LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN @extschema@.wrvq_%1$s($1::%4$s, $2::real[])',
					name, left_type, other, CASE left_type WHEN 'wrvq_code' THEN 'wrvq_code' ELSE 'real[]' END);
				EXECUTE pg_catalog.format('COMMENT ON FUNCTION wrvq_%s(%s, %s) IS %L', name, left_type, other, what);
			END LOOP;
		END LOOP;
		FOR name, what IN VALUES ('wrvq_add', 'sum of two vectors'), ('wrvq_sub', 'difference of two vectors'),
			('wrvq_mul', 'products of the elements of two vectors')
		LOOP
			EXECUTE pg_catalog.format('CREATE FUNCTION %1$s(%2$s, %3$s) RETURNS real[]
				LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN @extschema@.%1$s($1::real[], $2::real[])', name, loses, other);
			EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s(%s, %s) IS %L', name, loses, other, what);
		END LOOP;
	END LOOP;
END $$;

CREATE FUNCTION wrvq_sphere(center float8[], radius wrvq.radius) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN @extschema@.wrvq_sphere(center::real[], radius::float8);
COMMENT ON FUNCTION wrvq_sphere(float8[], wrvq.radius) IS 'all vectors within a distance of a centre, which are inside';

CREATE FUNCTION wrvq_encode(codebook wrvq.codebook_name, vector float8[]) RETURNS wrvq_code
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE COST 100 RETURN @extschema@.wrvq_encode(codebook::text, vector::real[]);
COMMENT ON FUNCTION wrvq_encode(wrvq.codebook_name, float8[]) IS 'codes and weights of a vector';
