/*
 * wrvqarithmetic.c: arithmetic of vectors in SQL, as pgvector's types have it:
 * sums and products by element, length, direction, and the aggregates.
 */
#include "wrvq.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "utils/array.h"

/* Elements of finite vectors may leave the range of real: names the first one that did. */
static void
check_range(const float *vector, int dimensions)
{
	ptrdiff_t i;

	SWIFT(i = wrvq_kernel.first_not_finite(vector, dimensions));
	if (i >= 0)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("vector element %d of the result is out of range for type real", (int) i + 1)));
}

static const float *
finite_vector(Datum datum, int *dimensions)
{
	const float *vector = WrvqRealArray(datum, dimensions);

	WrvqCheckFinite(vector, *dimensions);
	return vector;
}

typedef enum Operation
{
	ADD,
	SUBTRACT,
	MULTIPLY
} Operation;

static Datum
combine(FunctionCallInfo fcinfo, Operation operation)
{
	int			 dimensions, b_dimensions;
	const float *a = finite_vector(PG_GETARG_DATUM(0), &dimensions);
	const float *b = finite_vector(PG_GETARG_DATUM(1), &b_dimensions);
	float		*result;

	if (dimensions != b_dimensions)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("different vector dimensions %d and %d", dimensions, b_dimensions)));
	result = palloc(sizeof(float) * dimensions);
	if (operation == MULTIPLY)
		SWIFT(wrvq_kernel.multiply(a, b, result, dimensions));
	else
		SWIFT(wrvq_kernel.add_scaled(a, b, operation == ADD ? 1 : -1, result, dimensions));
	check_range(result, dimensions);
	return WrvqRealDatum(result, dimensions);
}

PG_FUNCTION_INFO_V1(wrvq_add);
Datum
wrvq_add(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, ADD);
}

PG_FUNCTION_INFO_V1(wrvq_sub);
Datum
wrvq_sub(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, SUBTRACT);
}

PG_FUNCTION_INFO_V1(wrvq_mul);
Datum
wrvq_mul(PG_FUNCTION_ARGS)
{
	return combine(fcinfo, MULTIPLY);
}

/* Euclidean length. */
static double
norm(const float *vector, int dimensions)
{
	double square;

	SWIFT(square = wrvq_kernel.inner_product(vector, vector, dimensions));
	return sqrt(square);
}

PG_FUNCTION_INFO_V1(wrvq_vector_dims);
Datum
wrvq_vector_dims(PG_FUNCTION_ARGS)
{
	int dimensions;

	WrvqRealArray(PG_GETARG_DATUM(0), &dimensions);
	PG_RETURN_INT32(dimensions);
}

PG_FUNCTION_INFO_V1(wrvq_vector_norm);
Datum
wrvq_vector_norm(PG_FUNCTION_ARGS)
{
	int			 dimensions;
	const float *vector = finite_vector(PG_GETARG_DATUM(0), &dimensions);

	PG_RETURN_FLOAT8(norm(vector, dimensions));
}

/* A zero vector has no direction and stays what it is, as in pgvector. */
PG_FUNCTION_INFO_V1(wrvq_l2_normalize);
Datum
wrvq_l2_normalize(PG_FUNCTION_ARGS)
{
	int			 dimensions;
	const float *vector = finite_vector(PG_GETARG_DATUM(0), &dimensions);
	double		 length = norm(vector, dimensions);
	float		*result = palloc0(sizeof(float) * dimensions);

	if (length > 0)
		SWIFT(wrvq_kernel.divide(vector, length, result, dimensions));
	return WrvqRealDatum(result, dimensions);
}

/* ---------- aggregates ---------- */

/*
 * The state is a double precision[]: how many vectors, then the sums of their
 * elements.  It is empty, as CREATE AGGREGATE begins it, until the first one.
 */
typedef struct Sums
{
	ArrayType *array;
	double	  *values;	   /* [1 + dimensions] count, sums; NULL: empty */
	int		   dimensions; /* 0: empty */
} Sums;

static Sums
sums_of(ArrayType *array)
{
	Sums sums = {.array = array};

	if (ARR_NDIM(array) == 0)
		return sums;
	if (ARR_NDIM(array) > 1 || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != FLOAT8OID || ARR_DIMS(array)[0] < 2)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected the state of an aggregate of vectors: a count and their sums")));
	sums.values = (double *) ARR_DATA_PTR(array);
	sums.dimensions = ARR_DIMS(array)[0] - 1;
	return sums;
}

static Sums
new_sums(MemoryContext context, int dimensions)
{
	int		   count = dimensions + 1;
	Size	   bytes = ARR_OVERHEAD_NONULLS(1) + sizeof(double) * count;
	ArrayType *array = MemoryContextAllocZero(context, bytes);

	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->elemtype = FLOAT8OID;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	return sums_of(array);
}

/* Argument 0 as sums that may be changed: the aggregate's own, or a copy for whoever calls the function otherwise. */
static Sums
own_sums(FunctionCallInfo fcinfo, int dimensions)
{
	MemoryContext context;
	bool		  is_aggregate = AggCheckCallContext(fcinfo, &context) != 0;
	Sums		  sums = sums_of(PG_GETARG_ARRAYTYPE_P(0)), copy;

	if (sums.values == NULL)
		return new_sums(is_aggregate ? context : CurrentMemoryContext, dimensions);
	WrvqCheckDimensions(sums.dimensions, dimensions);
	if (is_aggregate)
		return sums;
	copy = new_sums(CurrentMemoryContext, dimensions);
	memcpy(copy.values, sums.values, sizeof(double) * (dimensions + 1));
	return copy;
}

PG_FUNCTION_INFO_V1(wrvq_sums_add);
Datum
wrvq_sums_add(PG_FUNCTION_ARGS)
{
	int			 dimensions;
	const float *vector = finite_vector(PG_GETARG_DATUM(1), &dimensions);
	Sums		 sums = own_sums(fcinfo, dimensions);

	sums.values[0]++;
	SWIFT(wrvq_kernel.add_to_sums(sums.values + 1, vector, dimensions));
	PG_RETURN_POINTER(sums.array);
}

/* What two parallel workers have seen. */
PG_FUNCTION_INFO_V1(wrvq_sums_combine);
Datum
wrvq_sums_combine(PG_FUNCTION_ARGS)
{
	Sums other = sums_of(PG_GETARG_ARRAYTYPE_P(1)), sums;

	if (other.values == NULL)
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	sums = own_sums(fcinfo, other.dimensions);
	sums.values[0] += other.values[0];
	SWIFT(wrvq_kernel.add_sums(sums.values + 1, other.values + 1, other.dimensions));
	PG_RETURN_POINTER(sums.array);
}

/* NULL of no vectors. */
static Datum
divided_sums(FunctionCallInfo fcinfo, bool by_count)
{
	Sums   sums = sums_of(PG_GETARG_ARRAYTYPE_P(0));
	float *result;

	if (sums.values == NULL)
		PG_RETURN_NULL();
	result = palloc(sizeof(float) * sums.dimensions);
	SWIFT(wrvq_kernel.divide_sums(sums.values + 1, by_count ? sums.values[0] : 1, result, sums.dimensions));
	check_range(result, sums.dimensions);
	return WrvqRealDatum(result, sums.dimensions);
}

PG_FUNCTION_INFO_V1(wrvq_sums_total);
Datum
wrvq_sums_total(PG_FUNCTION_ARGS)
{
	return divided_sums(fcinfo, false);
}

PG_FUNCTION_INFO_V1(wrvq_sums_mean);
Datum
wrvq_sums_mean(PG_FUNCTION_ARGS)
{
	return divided_sums(fcinfo, true);
}
