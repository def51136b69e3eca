\echo Use "CREATE EXTENSION wrvq_pgvector" to load this file. \quit

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

CREATE OPERATOR CLASS vector_l2_ops
	DEFAULT FOR TYPE vector USING wrvq AS
	OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 wrvq_vector_l2_support(internal);

CREATE OPERATOR CLASS vector_ip_ops
	FOR TYPE vector USING wrvq AS
	OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
	FUNCTION 1 wrvq_vector_ip_support(internal);

CREATE OPERATOR CLASS vector_cosine_ops
	FOR TYPE vector USING wrvq AS
	OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
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

CREATE OPERATOR CLASS halfvec_l2_ops
	DEFAULT FOR TYPE halfvec USING wrvq AS
	OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 wrvq_halfvec_l2_support(internal);

CREATE OPERATOR CLASS halfvec_ip_ops
	FOR TYPE halfvec USING wrvq AS
	OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 wrvq_halfvec_ip_support(internal);

CREATE OPERATOR CLASS halfvec_cosine_ops
	FOR TYPE halfvec USING wrvq AS
	OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
	FUNCTION 1 wrvq_halfvec_cosine_support(internal);
