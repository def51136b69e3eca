/*
 * wrvqcodedistance.c: distances of values of type wrvq_code, and the support of their operator classes.
 *
 * A distance is that of the decoded vectors.  One operand of a query stays the same
 * from row to row: its look-up tables are kept with the call site, under its bytes.
 */
#include "wrvq.h"

#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/memutils.h"

static double (*const decoded_distances[])(const float *a, const float *b, int dimensions) = {
	[WRVQ_L2] = WrvqL2Distance, [WRVQ_IP] = WrvqNegativeInnerProduct, [WRVQ_COSINE] = WrvqCosineDistance};

/* A copy of an operand's bytes. */
typedef struct Operand
{
	char *bytes;
	Size  size;
	Size  capacity;
} Operand;

/* What a call site keeps from row to row. */
typedef struct DistanceState
{
	MemoryContext	 context; /* of all that belongs to the coder */
	const WrvqCoder *coder;
	void			*scratch;
	wrvq_code_query *query;
	Operand			 queried; /* what the tables are for; empty: they are for nothing */
	/* the operands of the call before: the one that comes again is the query */
	Operand left;
	Operand right;
} DistanceState;

static bool
is_same(const Operand *operand, const void *bytes, Size size)
{
	return operand->size == size && memcmp(operand->bytes, bytes, size) == 0;
}

static void
remember(DistanceState *state, Operand *operand, const void *bytes, Size size)
{
	if (size > operand->capacity)
	{
		operand->bytes = MemoryContextAlloc(state->context, size);
		operand->capacity = size;
	}
	memcpy(operand->bytes, bytes, size);
	operand->size = size;
}

/* The call site's state, for values of this codebook. */
static DistanceState *
distance_state(FunctionCallInfo fcinfo, uint64 identity)
{
	DistanceState *state = fcinfo->flinfo->fn_extra;
	MemoryContext  context, caller;

	if (state != NULL && state->coder->identity == identity)
		return state;
	if (state != NULL)
		MemoryContextDelete(state->context);
	fcinfo->flinfo->fn_extra = NULL;
	context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "wrvq code distance", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	state = palloc0(sizeof(DistanceState));
	state->context = context;
	state->coder = WrvqCoderOf(identity);
	state->scratch = WrvqAllocateAligned(context, state->coder->scratch_bytes);
	MemoryContextSwitchTo(caller);
	fcinfo->flinfo->fn_extra = state;
	return state;
}

/* Fills the tables for a vector, known by its bytes as an operand. */
static void
begin_query(DistanceState *state, wrvq_metric metric, const float *vector, const void *bytes, Size size)
{
	if (state->query == NULL)
	{
		int64 arena;

		SWIFT(arena = wrvq_code_kernel.code_query_bytes(&state->coder->view));
		state->query = WrvqAllocateAligned(state->context, arena);
	}
	state->queried.size = 0;
	SWIFT(wrvq_code_kernel.code_query_begin(&state->coder->view, metric, vector, state->query));
	remember(state, &state->queried, bytes, size);
}

static double
table_distance(DistanceState *state, const WrvqCodeValue *value)
{
	wrvq_status status;
	double		distance;

	WrvqCheckCode(state->coder, value);
	SWIFT(status = wrvq_code_kernel.code_distance(state->query, value->code, &distance));
	if (status != WRVQ_OK)
		WrvqBadCode(state->coder);
	return distance;
}

/*
 * A value and a vector (ADC).  The vector is recognised as it came: where that is
 * out of line, fetching it for every row would cost more than all the rest.
 */
static Datum
distance_from_vector(FunctionCallInfo fcinfo, wrvq_metric metric, int code_argument)
{
	WrvqCodeValue	value = WrvqReadCode(PG_GETARG_DATUM(code_argument));
	struct varlena *operand = (struct varlena *) PG_GETARG_POINTER(1 - code_argument);
	DistanceState  *state = distance_state(fcinfo, value.identity);

	/* what a pointer into memory leads to may change */
	if (VARATT_IS_EXTERNAL(operand) && !VARATT_IS_EXTERNAL_ONDISK(operand))
		operand = PG_DETOAST_DATUM(PointerGetDatum(operand));
	if (!is_same(&state->queried, operand, VARSIZE_ANY(operand)))
	{
		int			 dimensions;
		const float *vector = WrvqRealArray(PointerGetDatum(operand), &dimensions);

		if (dimensions != state->coder->view.dimensions)
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("different vector dimensions %d and %d",
																	state->coder->view.dimensions, dimensions)));
		WrvqCheckFinite(vector, dimensions);
		begin_query(state, metric, vector, operand, VARSIZE_ANY(operand));
	}
	PG_RETURN_FLOAT8(table_distance(state, &value));
}

/* Two values, decoded. */
static double
decoded_distance(DistanceState *state, wrvq_metric metric, const WrvqCodeValue *left, const WrvqCodeValue *right)
{
	int			 levels = state->coder->view.level_count;
	const float *a = WrvqDecode(state->coder, left, levels, state->scratch);
	const float *b = WrvqDecode(state->coder, right, levels, state->scratch);

	return decoded_distances[metric](a, b, state->coder->view.dimensions);
}

/* Two values (SDC): by tables for the one that also was in the call before. */
static Datum
distance_of_codes(FunctionCallInfo fcinfo, wrvq_metric metric)
{
	WrvqCodeValue		 left = WrvqReadCode(PG_GETARG_DATUM(0)), right = WrvqReadCode(PG_GETARG_DATUM(1));
	const WrvqCodeValue *query = NULL, *other = NULL;
	DistanceState		*state;

	if (left.identity != right.identity)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the codes are of different codebooks, \"%s\" and \"%s\"",
							   WrvqCoderOf(left.identity)->name, WrvqCoderOf(right.identity)->name),
						errhint("Decode one of them with wrvq_decode().")));
	state = distance_state(fcinfo, left.identity);
	if (is_same(&state->right, right.code, right.code_bytes))
		query = &right, other = &left;
	else if (is_same(&state->left, left.code, left.code_bytes))
		query = &left, other = &right;
	if (query == NULL)
	{
		double distance = decoded_distance(state, metric, &left, &right);

		remember(state, &state->left, left.code, left.code_bytes);
		remember(state, &state->right, right.code, right.code_bytes);
		PG_RETURN_FLOAT8(distance);
	}
	remember(state, &state->left, left.code, left.code_bytes);
	remember(state, &state->right, right.code, right.code_bytes);
	if (!is_same(&state->queried, query->code, query->code_bytes))
		begin_query(state, metric, WrvqDecode(state->coder, query, state->coder->view.level_count, state->scratch),
					query->code, query->code_bytes);
	PG_RETURN_FLOAT8(table_distance(state, other));
}

#define DISTANCES(name, metric)                         \
	PG_FUNCTION_INFO_V1(wrvq_code_vector_##name);       \
	Datum wrvq_code_vector_##name(PG_FUNCTION_ARGS)     \
	{                                                   \
		return distance_from_vector(fcinfo, metric, 0); \
	}                                                   \
	PG_FUNCTION_INFO_V1(wrvq_vector_code_##name);       \
	Datum wrvq_vector_code_##name(PG_FUNCTION_ARGS)     \
	{                                                   \
		return distance_from_vector(fcinfo, metric, 1); \
	}                                                   \
	PG_FUNCTION_INFO_V1(wrvq_code_code_##name);         \
	Datum wrvq_code_code_##name(PG_FUNCTION_ARGS)       \
	{                                                   \
		return distance_of_codes(fcinfo, metric);       \
	}

DISTANCES(l2, WRVQ_L2)
DISTANCES(ip, WRVQ_IP)
DISTANCES(cosine, WRVQ_COSINE)

/* ---------- operator class support ---------- */

/* The decoded vector. */
static const float *
code_vector(Datum datum, int *dimensions)
{
	WrvqCodeValue	 value = WrvqReadCode(datum);
	const WrvqCoder *coder = WrvqCoderOf(value.identity);
	void			*scratch = WrvqAllocateAligned(CurrentMemoryContext, coder->scratch_bytes);

	*dimensions = coder->view.dimensions;
	return WrvqDecode(coder, &value, coder->view.level_count, scratch);
}

static uint64
code_codebook(Datum datum)
{
	return WrvqReadCode(datum).identity;
}

/* The operators' sums of look-ups are as exact as that (wrvq_codes.h). */
#define SUPPORT(name, metric_, distance_)                                 \
	PG_FUNCTION_INFO_V1(wrvq_code_##name##_support);                      \
	Datum wrvq_code_##name##_support(PG_FUNCTION_ARGS)                    \
	{                                                                     \
		static const WrvqSupport support = {.metric = metric_,            \
											.vector = code_vector,        \
											.distance = distance_,        \
											.tolerance = 1e-4,            \
											.datum = WrvqRealDatum,       \
											.query_type = FLOAT4ARRAYOID, \
											.codebook = code_codebook};   \
                                                                          \
		PG_RETURN_POINTER(&support);                                      \
	}

SUPPORT(l2, WRVQ_L2, WrvqL2Distance)
SUPPORT(ip, WRVQ_IP, WrvqNegativeInnerProduct)
SUPPORT(cosine, WRVQ_COSINE, WrvqCosineDistance)
