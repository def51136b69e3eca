/* wrvqrecall.c: wrvq_recall(): what a search on this index really finds, measured. */
#include "wrvq.h"

#include <math.h>

#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* relative difference up to which two distances are the same, or what the operator leaves: rows at the same are as good */
#define SAME_DISTANCE 1e-12

typedef struct RecallState
{
	const WrvqSupport *support;
	FmgrInfo		   operator_function; /* where the support has no distance of its own */
	WrvqSample		  *queries;
	int				   k;
	Datum			  *query_values; /* [queries] of the indexed type */
	double			  *nearest;		 /* [queries][k] true distances, ascending */
	MemoryContext	   row_context;
} RecallState;

/* Keeps the k least distances of a query in order. */
static void
keep_nearest(double *nearest, int k, double distance)
{
	int at = k - 1;

	/* NaN, from a zero vector, is no distance */
	if (!(distance < nearest[at]))
		return;
	for (; at > 0 && nearest[at - 1] > distance; at--)
		nearest[at] = nearest[at - 1];
	nearest[at] = distance;
}

static double
distance(RecallState *state, Datum value, const float *vector, int64 query)
{
	const WrvqSample *queries = state->queries;
	const float		 *other = queries->vectors + query * queries->dimensions;

	if (state->support->distance != NULL)
		return state->support->distance(vector, other, queries->dimensions);
	return DatumGetFloat8(FunctionCall2(&state->operator_function, value, state->query_values[query]));
}

static void
truth_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	RecallState	 *state = argument;
	WrvqSample	 *queries = state->queries;
	uint64		  row = WrvqRowFromTid(tid);
	MemoryContext caller;
	Datum		  value;
	const float	 *vector;
	int			  dimensions;

	if (isnull[0])
		return;
	caller = MemoryContextSwitchTo(state->row_context);
	value = PointerGetDatum(PG_DETOAST_DATUM(values[0]));
	vector = state->support->vector(value, &dimensions);
	WrvqCheckDimensions(queries->dimensions, dimensions);
	for (int64 i = 0; i < queries->rows; i++)
		if (row != queries->row_ids[i])
			keep_nearest(state->nearest + i * state->k, state->k, distance(state, value, vector, i));
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->row_context);
	CHECK_FOR_INTERRUPTS();
}

/* The true distances, by one pass over what the snapshot sees. */
static void
find_truth(Relation heap, Relation index, RecallState *state, Snapshot snapshot)
{
	IndexInfo	 *info = BuildIndexInfo(index);
	TableScanDesc scan = table_beginscan_strat(heap, snapshot, 0, NULL, true, true);

	info->ii_Concurrent = true;
	/* closes the scan */
	table_index_build_scan(heap, index, info, true, false, truth_callback, state, scan);
}

/* How many of a query's true neighbours the index returns, and how many there are. */
static void
count_found(IndexScanDesc scan, RecallState *state, int64 query, int64 *found, int64 *expected)
{
	const double *nearest = state->nearest + query * state->k;
	int			  count = state->k, returned = 0;
	double		  tolerance = Max(SAME_DISTANCE, state->support->tolerance);
	ScanKeyData	  key;
	ItemPointer	  tid;

	while (count > 0 && nearest[count - 1] == INFINITY)
		count--;
	*expected += count;
	MemSet(&key, 0, sizeof(key));
	key.sk_flags = SK_ORDER_BY;
	key.sk_attno = 1;
	key.sk_strategy = 1;
	key.sk_argument = state->query_values[query];
	key.sk_func = state->operator_function;
	index_rescan(scan, NULL, 0, &key, 1);
	while (returned < count && (tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		double distance = DatumGetFloat8(scan->xs_orderbyvals[0]);

		if (WrvqRowFromTid(tid) == state->queries->row_ids[query])
			continue;
		returned++;
		/* -infinity, where inner products overflow, is as near as itself */
		*found +=
			distance <= nearest[count - 1] || distance - nearest[count - 1] <= tolerance * fabs(nearest[count - 1]);
	}
}

/* Searches for every query with the session's settings; returns the share of true neighbours found. */
static double
search_queries(Relation heap, Relation index, RecallState *state, Snapshot snapshot)
{
	IndexScanDesc scan = WrvqIndexBeginScan(heap, index, snapshot, 0, 1);
	int64		  found = 0, expected = 0;

	for (int64 i = 0; i < state->queries->rows; i++)
	{
		count_found(scan, state, i, &found, &expected);
		CHECK_FOR_INTERRUPTS();
	}
	index_endscan(scan);
	return expected > 0 ? (double) found / expected : NAN;
}

static void
check_argument(const char *name, int value, int most)
{
	if (value < 1 || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is %d, expected 1 to %d", name, value, most)));
}

/*
 * Recall at k of the index for rows of its own table, drawn at random, each
 * without itself; NaN if there are not two rows.
 */
PG_FUNCTION_INFO_V1(wrvq_recall);
Datum
wrvq_recall(PG_FUNCTION_ARGS)
{
	int			k = PG_GETARG_INT32(1), queries = PG_GETARG_INT32(2);
	RecallState state = {.k = k};
	Relation	heap, index;
	IndexInfo  *info;
	Snapshot	snapshot;
	WrvqCaller	user;
	double		recall;

	check_argument("k", k, 1000);
	check_argument("queries", queries, 10000);
	index = WrvqOpenIndex(PG_GETARG_OID(0), AccessShareLock, WRVQ_MAY_MEASURE, &heap);
	WrvqBeginAsOwner(heap, index, &user);
	/* reads with a snapshot, as rows may be in progress */
	info = BuildIndexInfo(index);
	info->ii_Concurrent = true;
	state.support = WrvqIndexSupport(index);
	state.queries = WrvqSampleTable(heap, index, info, queries);
	state.row_context = AllocSetContextCreate(CurrentMemoryContext, "wrvq recall row", ALLOCSET_DEFAULT_SIZES);
	state.nearest = palloc_extended(sizeof(double) * k * Max(1, state.queries->rows), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < k * state.queries->rows; i++)
		state.nearest[i] = INFINITY;
	state.query_values = palloc_extended(sizeof(Datum) * Max(1, state.queries->rows), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < state.queries->rows; i++)
		state.query_values[i] =
			state.support->datum(state.queries->vectors + i * state.queries->dimensions, state.queries->dimensions);
	WrvqIndexOperator(index, &state.operator_function);

	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	find_truth(heap, index, &state, snapshot);
	recall = search_queries(heap, index, &state, snapshot);
	UnregisterSnapshot(snapshot);
	WrvqEndAsOwner(&user);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	PG_RETURN_FLOAT8(recall);
}
