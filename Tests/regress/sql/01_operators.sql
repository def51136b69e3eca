-- the extension alone, on a bare server
CREATE EXTENSION wrvq;
SELECT wrvq_version();

-- hand-checkable values
SELECT '{1,2,3}'::real[] <-> '{1,2,5}' AS l2, '{1,2,3}'::real[] <#> '{1,2,5}' AS ip, '{3,0}'::real[] <=> '{0,2}' AS cosine;
SELECT '{1,2}'::real[] <=> '{2,4}' AS parallel, '{1,2}'::real[] <=> '{-1,-2}' AS opposite;
SELECT '{0,0}'::real[] <=> '{1,2}' AS zero_vector, '{0,0}'::real[] <-> '{3,4}' AS from_zero;
SELECT pg_typeof('{1}'::real[] <-> '{2}');
SELECT NULL::real[] <-> '{1}' IS NULL AS null_operand;
SELECT '[5:6]={1,2}'::real[] <-> '{4,6}' AS lower_bound_does_not_matter;

-- what single precision cannot hold
SELECT '{1e30,0}'::real[] <-> '{0,1e30}' AS huge, '{1e-30,0}'::real[] <-> '{0,1e-30}' AS tiny;
SELECT '{1e30}'::real[] <#> '{1e30}' AS huge, '{1e-30,1e-30}'::real[] <=> '{1e-30,0}' AS tiny;

-- every length against double precision, one element at a time
CREATE FUNCTION vector_of(seed int, dimensions int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
	SELECT array_agg((hashint4extended(j, seed) % 100000 / 50000.0)::real ORDER BY j) FROM generate_series(1, dimensions) j
$$;
CREATE VIEW reference AS
	SELECT n, a, b, l2, ip, magnitude, 1 + ip / sqrt(aa * bb) AS cosine
	FROM (SELECT n, vector_of(n, n) AS a, vector_of(n + 5000, n) AS b
		FROM (SELECT * FROM generate_series(1, 70) n UNION ALL VALUES (255), (256), (257), (384), (1536), (16000)) lengths) v,
		LATERAL (SELECT sqrt(sum((x::float8 - y) ^ 2)) AS l2, -sum(x::float8 * y) AS ip, sum(abs(x::float8 * y)) AS magnitude,
			sum(x::float8 * x) AS aa, sum(y::float8 * y) AS bb FROM unnest(a, b) u(x, y)) r;
SELECT count(*) AS lengths,
	bool_and(abs((a <-> b) - l2) <= 1e-5 * l2) AS l2,
	bool_and(abs((a <#> b) - ip) <= 1e-5 * magnitude) AS ip,
	bool_and(abs((a <=> b) - cosine) <= 1e-6) AS cosine,
	bool_and((a <-> a) = 0 AND (a <=> a) = 0) AS self
FROM reference;

-- bad input names the value and what was expected
\set SHOW_CONTEXT never
SELECT '{1,2,3}'::real[] <-> '{1,2}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,2,3}'::real[] <#> '{1,2}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,2,3}'::real[] <=> '{1,2}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{}'::real[] <-> '{}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,NULL,3}'::real[] <-> '{1,2,3}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{{1,2},{3,4}}'::real[] <-> '{1,2}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,NaN}'::real[] <-> '{1,2}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,2}'::real[] <#> '{-Infinity,2}';
\echo :LAST_ERROR_SQLSTATE
SELECT '{1,2}'::real[] <=> '{Infinity,0}';
\echo :LAST_ERROR_SQLSTATE
SELECT array_fill(1::real, ARRAY[16001]) <-> array_fill(1::real, ARRAY[16001]);
\echo :LAST_ERROR_SQLSTATE

-- the catalog agrees with itself
SELECT opcname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'wrvq' ORDER BY opcname;
SELECT count(*) AS undocumented FROM pg_depend JOIN pg_proc p ON p.oid = objid
	WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'wrvq') AND obj_description(p.oid, 'pg_proc') IS NULL;
