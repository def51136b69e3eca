\echo Use "CREATE EXTENSION wrvq_pgvector" to load this file. \quit

-- spheres: a halfvec is no real[] of its own accord, and then a vector and a literal need to be told which they are

CREATE FUNCTION wrvq_sphere(center vector, radius float8) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN wrvq_sphere(center::real[], radius);
COMMENT ON FUNCTION wrvq_sphere(vector, float8) IS 'all vectors within a distance of a centre, which are inside';

CREATE FUNCTION wrvq_sphere(center halfvec, radius float8) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN wrvq_sphere(center::real[], radius);
COMMENT ON FUNCTION wrvq_sphere(halfvec, float8) IS 'all vectors within a distance of a centre, which are inside';

CREATE FUNCTION wrvq_sphere(center text, radius float8) RETURNS wrvq_sphere
	LANGUAGE SQL IMMUTABLE STRICT PARALLEL SAFE RETURN wrvq_sphere(translate(center, '[]', '{}')::real[], radius);
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
