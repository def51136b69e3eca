/* wrvqvector.c: vectors as SQL values: input checks, operators, operator class support. */
#include "wrvq.h"

#include <math.h>

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

/*
 * The floats of a real[], borrowed where the array is not toasted.  Raises
 * what makes it no vector: dimensions, NULL elements, length.
 */
const float *
WrvqRealArray(Datum datum, int *dimensions)
{
	ArrayType *array = DatumGetArrayTypeP(datum);
	int		   count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
						errmsg("expected a one-dimensional array, not one of %d dimensions", ARR_NDIM(array))));
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (count < 1 || count > WRVQ_DIMENSIONS_MAX)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("expected a vector of 1 to %d dimensions, not %d", WRVQ_DIMENSIONS_MAX, count)));
	if (ARR_HASNULL(array) && array_contains_nulls(array))
	{
		bits8 *bitmap = ARR_NULLBITMAP(array);
		int	   i = 0;

		while (bitmap[i / 8] & (1 << (i % 8)))
			i++;
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("vector element %d is NULL", i + 1),
						errhint("Every element of a vector must be a number.")));
	}
	*dimensions = count;
	return (const float *) ARR_DATA_PTR(array);
}

void
WrvqCheckFinite(const float *vector, int dimensions)
{
	ptrdiff_t i;

	SWIFT(i = wrvq_kernel.first_not_finite(vector, dimensions));
	if (i >= 0)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("vector element %d is %s", (int) i + 1,
							   isnan(vector[i]) ? "NaN"
							   : vector[i] > 0	? "Infinity"
												: "-Infinity"),
						errhint("Every element of a vector must be a finite number.")));
}

void
WrvqCheckDimensions(int expected, int dimensions)
{
	if (expected != dimensions)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %d dimensions, not %d", expected, dimensions)));
}

/* Under cosine a zero vector has no direction and is not indexed. */
bool
WrvqIsIndexable(const WrvqSupport *support, const float *vector, int dimensions)
{
	if (support->metric != WRVQ_COSINE)
		return true;
	for (int i = 0; i < dimensions; i++)
		if (vector[i] != 0)
			return true;
	return false;
}

/* ---------- operators ---------- */

typedef double (*DistanceFunction)(const float *a, const float *b, int dimensions);

double
WrvqL2Distance(const float *a, const float *b, int dimensions)
{
	double result;

	SWIFT(result = wrvq_kernel.l2_distance(a, b, dimensions));
	return result;
}

double
WrvqNegativeInnerProduct(const float *a, const float *b, int dimensions)
{
	double result;

	SWIFT(result = wrvq_kernel.inner_product(a, b, dimensions));
	return -result;
}

double
WrvqCosineDistance(const float *a, const float *b, int dimensions)
{
	double result;

	SWIFT(result = wrvq_kernel.cosine_distance(a, b, dimensions));
	return result;
}

static Datum
distance_of_arrays(FunctionCallInfo fcinfo, DistanceFunction distance)
{
	int			 a_dimensions, b_dimensions;
	const float *a = WrvqRealArray(PG_GETARG_DATUM(0), &a_dimensions);
	const float *b = WrvqRealArray(PG_GETARG_DATUM(1), &b_dimensions);
	double		 result;

	if (a_dimensions != b_dimensions)
		ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
						errmsg("different vector dimensions %d and %d", a_dimensions, b_dimensions)));
	result = distance(a, b, a_dimensions);

	/* a NaN or an infinity in a vector shows in the result: finite ones cost no check */
	if (unlikely(!isfinite(result)))
	{
		WrvqCheckFinite(a, a_dimensions);
		WrvqCheckFinite(b, b_dimensions);
	}

	PG_RETURN_FLOAT8(result);
}

PG_FUNCTION_INFO_V1(wrvq_l2_distance);
Datum
wrvq_l2_distance(PG_FUNCTION_ARGS)
{
	return distance_of_arrays(fcinfo, WrvqL2Distance);
}

PG_FUNCTION_INFO_V1(wrvq_negative_inner_product);
Datum
wrvq_negative_inner_product(PG_FUNCTION_ARGS)
{
	return distance_of_arrays(fcinfo, WrvqNegativeInnerProduct);
}

PG_FUNCTION_INFO_V1(wrvq_cosine_distance);
Datum
wrvq_cosine_distance(PG_FUNCTION_ARGS)
{
	return distance_of_arrays(fcinfo, WrvqCosineDistance);
}

/* ---------- operator class support ---------- */

Datum
WrvqRealDatum(const float *vector, int dimensions)
{
	Size	   bytes = ARR_OVERHEAD_NONULLS(1) + sizeof(float) * dimensions;
	ArrayType *array = palloc0(bytes);

	SET_VARSIZE(array, bytes);
	array->ndim = 1;
	array->elemtype = FLOAT4OID;
	ARR_DIMS(array)[0] = dimensions;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), vector, sizeof(float) * dimensions);
	return PointerGetDatum(array);
}

static const WrvqSupport real_l2_support = {.metric = WRVQ_L2,
											.vector = WrvqRealArray,
											.distance = WrvqL2Distance,
											.datum = WrvqRealDatum};
static const WrvqSupport real_ip_support = {.metric = WRVQ_IP,
											.vector = WrvqRealArray,
											.distance = WrvqNegativeInnerProduct,
											.datum = WrvqRealDatum};
static const WrvqSupport real_cosine_support = {.metric = WRVQ_COSINE,
												.vector = WrvqRealArray,
												.distance = WrvqCosineDistance,
												.datum = WrvqRealDatum};

PG_FUNCTION_INFO_V1(wrvq_real_l2_support);
Datum
wrvq_real_l2_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&real_l2_support);
}

PG_FUNCTION_INFO_V1(wrvq_real_ip_support);
Datum
wrvq_real_ip_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&real_ip_support);
}

PG_FUNCTION_INFO_V1(wrvq_real_cosine_support);
Datum
wrvq_real_cosine_support(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(&real_cosine_support);
}

const WrvqSupport *
WrvqIndexSupport(Relation index)
{
	return (const WrvqSupport *) DatumGetPointer(FunctionCall1(index_getprocinfo(index, 1, 1), PointerGetDatum(NULL)));
}

/* The operator that a class for this type orders by; InvalidOid: it has none. */
Oid
WrvqOrderOperator(Oid family, Oid type, const WrvqSupport *support)
{
	Oid query_type = OidIsValid(support->query_type) ? support->query_type : type;

	return get_opfamily_member(family, type, query_type, WRVQ_ORDER_STRATEGY);
}

/* A query's floats, borrowed from a datum of the query type or made. */
const float *
WrvqReadQuery(const WrvqSupport *support, Datum datum, int *dimensions)
{
	return support->query_type == FLOAT4ARRAYOID ? WrvqRealArray(datum, dimensions)
												 : support->vector(datum, dimensions);
}

/* The function behind the operator that the index orders by, in the current memory context. */
void
WrvqIndexOperator(Relation index, FmgrInfo *function)
{
	Oid member = WrvqOrderOperator(index->rd_opfamily[0], index->rd_opcintype[0], WrvqIndexSupport(index));

	if (!OidIsValid(member))
		elog(ERROR, "operator class of index \"%s\" has no ordering operator", RelationGetRelationName(index));
	fmgr_info(get_opcode(member), function);
}
