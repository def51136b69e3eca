\echo Use "CREATE EXTENSION wrvq_pgvector" to load this file. \quit

-- spheres: a halfvec is no real[] of its own accord, and then a vector and a literal need to be told which they are

CREATE FUNCTION wrvq_sphere(center vector, radius float8) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN wrvq_sphere(center::real[], radius);
COMMENT ON FUNCTION wrvq_sphere(vector, float8) IS 'all vectors within a distance of a centre, which are inside';

CREATE FUNCTION wrvq_sphere(center halfvec, radius float8) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN wrvq_sphere(center::real[], radius);
COMMENT ON FUNCTION wrvq_sphere(halfvec, float8) IS 'all vectors within a distance of a centre, which are inside';

CREATE FUNCTION wrvq_sphere(center text, radius float8) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN wrvq_sphere(pg_catalog.translate(center, '[]', '{}')::real[], radius);
COMMENT ON FUNCTION wrvq_sphere(text, float8) IS 'all vectors within a distance of a centre, which is written as real[] or as pgvector''s types';

-- vector

CREATE FUNCTION wrvq_vector_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_vector_l2_support(internal) IS 'support of operator class vector_l2_ops';

CREATE FUNCTION wrvq_vector_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_vector_ip_support(internal) IS 'support of operator class vector_ip_ops';

CREATE FUNCTION wrvq_vector_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_vector_cosine_support(internal) IS 'support of operator class vector_cosine_ops';

CREATE FUNCTION wrvq_in_l2_sphere(vector, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_l2_sphere(vector, wrvq_sphere) IS 'is the vector within the sphere''s radius by Euclidean distance?';

CREATE OPERATOR <<->> (
	LEFTARG = vector, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_l2_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<->> (vector, wrvq_sphere) IS 'within the radius by Euclidean distance';

CREATE FUNCTION wrvq_in_ip_sphere(vector, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_ip_sphere(vector, wrvq_sphere) IS 'is the vector within the sphere''s radius by negative inner product?';

CREATE OPERATOR <<#>> (
	LEFTARG = vector, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_ip_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<#>> (vector, wrvq_sphere) IS 'within the radius by negative inner product';

CREATE FUNCTION wrvq_in_cosine_sphere(vector, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_cosine_sphere(vector, wrvq_sphere) IS 'is the vector within the sphere''s radius by cosine distance?';

CREATE OPERATOR <<=>> (
	LEFTARG = vector, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_cosine_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<=>> (vector, wrvq_sphere) IS 'within the radius by cosine distance';

CREATE OPERATOR CLASS vector_l2_ops
	DEFAULT FOR TYPE vector USING wrvq AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 <<->> (vector, wrvq_sphere),
	FUNCTION 1 wrvq_vector_l2_support(internal);

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING wrvq AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 <<#>> (vector, wrvq_sphere),
	FUNCTION 1 wrvq_vector_ip_support(internal);

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING wrvq AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
	OPERATOR 2 <<=>> (vector, wrvq_sphere),
	FUNCTION 1 wrvq_vector_cosine_support(internal);

-- halfvec

CREATE FUNCTION wrvq_halfvec_l2_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_halfvec_l2_support(internal) IS 'support of operator class halfvec_l2_ops';

CREATE FUNCTION wrvq_halfvec_ip_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_halfvec_ip_support(internal) IS 'support of operator class halfvec_ip_ops';

CREATE FUNCTION wrvq_halfvec_cosine_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_halfvec_cosine_support(internal) IS 'support of operator class halfvec_cosine_ops';

CREATE FUNCTION wrvq_in_l2_sphere(halfvec, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_l2_sphere(halfvec, wrvq_sphere) IS 'is the vector within the sphere''s radius by Euclidean distance?';

CREATE OPERATOR <<->> (
	LEFTARG = halfvec, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_l2_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<->> (halfvec, wrvq_sphere) IS 'within the radius by Euclidean distance';

CREATE FUNCTION wrvq_in_ip_sphere(halfvec, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_ip_sphere(halfvec, wrvq_sphere) IS 'is the vector within the sphere''s radius by negative inner product?';

CREATE OPERATOR <<#>> (
	LEFTARG = halfvec, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_ip_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<#>> (halfvec, wrvq_sphere) IS 'within the radius by negative inner product';

CREATE FUNCTION wrvq_in_cosine_sphere(halfvec, wrvq_sphere) RETURNS bool
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION wrvq_in_cosine_sphere(halfvec, wrvq_sphere) IS 'is the vector within the sphere''s radius by cosine distance?';

CREATE OPERATOR <<=>> (
	LEFTARG = halfvec, RIGHTARG = wrvq_sphere, FUNCTION = wrvq_in_cosine_sphere, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <<=>> (halfvec, wrvq_sphere) IS 'within the radius by cosine distance';

CREATE OPERATOR CLASS halfvec_l2_ops
	DEFAULT FOR TYPE halfvec USING wrvq AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 <<->> (halfvec, wrvq_sphere),
	FUNCTION 1 wrvq_halfvec_l2_support(internal);

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING wrvq AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 <<#>> (halfvec, wrvq_sphere),
	FUNCTION 1 wrvq_halfvec_ip_support(internal);

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING wrvq AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
	OPERATOR 2 <<=>> (halfvec, wrvq_sphere),
	FUNCTION 1 wrvq_halfvec_cosine_support(internal);

-- Arrays of numbers beside pgvector's types, on either side.  A vector is a real[] of its own accord, so these operators would
-- otherwise be those of real[], which no index on the vector answers.  All are SQL, which the planner replaces by pgvector's own.
DO $$
DECLARE
	-- pgvector may be in another schema
	vector_schema text := (SELECT extnamespace::regnamespace FROM pg_catalog.pg_extension WHERE extname OPERATOR(pg_catalog.=) 'vector');
	type text;
	other text;
	name text;
	symbol text;
	what text;
	signature text;
BEGIN
	FOREACH type IN ARRAY ARRAY['vector', 'halfvec'] LOOP
		FOREACH other IN ARRAY ARRAY['real[]', 'float8[]', 'numeric[]', 'int2[]', 'int4[]', 'int8[]'] LOOP
			-- A real[] beside a halfvec is taken as double precision[]: an operator of its own would also fit a vector, which pgvector
			-- compares with a halfvec by the operator of halfvec.
			CONTINUE WHEN type = 'halfvec' AND other = 'real[]';
			FOR name, symbol, what IN VALUES ('wrvq_l2_distance', '<->', 'Euclidean distance'),
				('wrvq_negative_inner_product', '<#>', 'negative inner product'), ('wrvq_cosine_distance', '<=>', 'cosine distance')
			LOOP
				EXECUTE pg_catalog.format('CREATE FUNCTION %1$s(%5$s.%2$s, %3$s) RETURNS float8
					LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $1 OPERATOR(%5$s.%4$s) $2::real[]::%5$s.%2$s',
					name, type, other, symbol, vector_schema);
				EXECUTE pg_catalog.format('CREATE FUNCTION %1$s(%3$s, %5$s.%2$s) RETURNS float8
					LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN $2 OPERATOR(%5$s.%4$s) $1::real[]::%5$s.%2$s',
					name, type, other, symbol, vector_schema);
				EXECUTE pg_catalog.format('CREATE OPERATOR %1$s (LEFTARG = %5$s.%2$s, RIGHTARG = %3$s, FUNCTION = %4$s, COMMUTATOR = %1$s)',
					symbol, type, other, name, vector_schema);
				EXECUTE pg_catalog.format('CREATE OPERATOR %1$s (LEFTARG = %3$s, RIGHTARG = %5$s.%2$s, FUNCTION = %4$s, COMMUTATOR = %1$s)',
					symbol, type, other, name, vector_schema);
				FOREACH signature IN ARRAY ARRAY[pg_catalog.format('(%s.%s, %s)', vector_schema, type, other), pg_catalog.format('(%s, %s.%s)', other, vector_schema, type)]
				LOOP
					EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s%s IS %L', name, signature, what);
					EXECUTE pg_catalog.format('COMMENT ON OPERATOR %s %s IS %L', symbol, signature, what);
				END LOOP;
			END LOOP;
		END LOOP;
	END LOOP;
END $$;

-- encoding: a halfvec is no real[] of its own accord, and a literal may be written as pgvector's types are

CREATE FUNCTION wrvq_encode(codebook text, vector halfvec) RETURNS wrvq_code
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE COST 100 RETURN wrvq_encode(codebook, vector::real[]);
COMMENT ON FUNCTION wrvq_encode(text, halfvec) IS 'codes and weights of a vector';

CREATE FUNCTION wrvq_encode(codebook text, vector vector) RETURNS wrvq_code
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE COST 100 RETURN wrvq_encode(codebook, vector::real[]);
COMMENT ON FUNCTION wrvq_encode(text, vector) IS 'codes and weights of a vector';

CREATE FUNCTION wrvq_encode(codebook text, vector text) RETURNS wrvq_code
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE COST 100 RETURN wrvq_encode(codebook, pg_catalog.translate(vector, '[]', '{}')::real[]);
COMMENT ON FUNCTION wrvq_encode(text, text) IS 'codes and weights of a vector, which is written as real[] or as pgvector''s types';
