/* wrvqrecall.c: wrvq_recall(), wrvq_recall_statistics(): what a search on this index really finds, measured. */
#include "wrvq.h"

#include <math.h>

#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "commands/progress.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* standard deviations of the normal distribution that 95 % lie within */
#define DEVIATIONS_OF_95 1.959964

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
	double			  *recalls;		 /* [measured] of the queries that have neighbours */
	int64			   measured;
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
	table_index_build_scan(heap, index, info, true, true, truth_callback, state, scan);
}

/* Searches for a query; false if it has no neighbours to find. */
static bool
measure_query(IndexScanDesc scan, RecallState *state, int64 query, double *recall)
{
	const double *nearest = state->nearest + query * state->k;
	int			  expected = state->k, returned = 0, found = 0;
	double		  tolerance = Max(SAME_DISTANCE, state->support->tolerance);
	ScanKeyData	  key;
	ItemPointer	  tid;

	while (expected > 0 && nearest[expected - 1] == INFINITY)
		expected--;
	if (expected == 0)
		return false;
	MemSet(&key, 0, sizeof(key));
	key.sk_flags = SK_ORDER_BY;
	key.sk_attno = 1;
	key.sk_strategy = 1;
	key.sk_argument = state->query_values[query];
	key.sk_func = state->operator_function;
	index_rescan(scan, NULL, 0, &key, 1);
	while (returned < expected && (tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		double distance = DatumGetFloat8(scan->xs_orderbyvals[0]);

		if (WrvqRowFromTid(tid) == state->queries->row_ids[query])
			continue;
		returned++;
		/* -infinity, where inner products overflow, is as near as itself */
		found += distance <= nearest[expected - 1] ||
				 distance - nearest[expected - 1] <= tolerance * fabs(nearest[expected - 1]);
	}
	*recall = (double) found / expected;
	return true;
}

/* Searches for every query with the session's settings. */
static void
search_queries(Relation heap, Relation index, RecallState *state, Snapshot snapshot)
{
	IndexScanDesc scan = WrvqIndexBeginScan(heap, index, snapshot, 0, 1);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, WRVQ_PHASE_SEARCHING);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, state->queries->rows);
	for (int64 i = 0; i < state->queries->rows; i++)
	{
		state->measured += measure_query(scan, state, i, &state->recalls[state->measured]);
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, i + 1);
		CHECK_FOR_INTERRUPTS();
	}
	index_endscan(scan);
}

/* Draws the queries. */
static void
begin_recall(RecallState *state, Relation heap, Relation index, Snapshot snapshot, int queries)
{
	IndexInfo *info = BuildIndexInfo(index);
	int64	   rows;

	/* reads with a snapshot, as rows may be in progress */
	info->ii_Concurrent = true;
	state->support = WrvqIndexSupport(index);
	state->queries = WrvqSampleQueries(heap, index, info, snapshot, queries);
	rows = state->queries->rows;
	state->row_context = AllocSetContextCreate(CurrentMemoryContext, "wrvq recall row", ALLOCSET_DEFAULT_SIZES);
	state->nearest = palloc_extended(sizeof(double) * state->k * Max(1, rows), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < state->k * rows; i++)
		state->nearest[i] = INFINITY;
	state->recalls = palloc_extended(sizeof(double) * Max(1, rows), MCXT_ALLOC_HUGE);
	state->query_values = palloc_extended(sizeof(Datum) * Max(1, rows), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < rows; i++)
		state->query_values[i] =
			state->support->datum(state->queries->vectors + i * state->queries->dimensions, state->queries->dimensions);
	WrvqIndexOperator(index, &state->operator_function);
}

/*
 * The only progress views of the server that tell of an index are those of CREATE INDEX and VACUUM; the former's phases
 * are the access method's to name.
 */
static void
begin_progress(Relation heap, Relation index)
{
	static const int numbers[] = {PROGRESS_CREATEIDX_INDEX_OID, PROGRESS_CREATEIDX_ACCESS_METHOD_OID,
								  PROGRESS_CREATEIDX_PHASE};
	const int64		 values[] = {RelationGetRelid(index), index->rd_rel->relam, PROGRESS_CREATEIDX_PHASE_BUILD};

	pgstat_progress_start_command(PROGRESS_COMMAND_CREATE_INDEX, RelationGetRelid(heap));
	pgstat_progress_update_multi_param(lengthof(numbers), numbers, values);
}

static void
check_argument(const char *name, int value, int most)
{
	if (value < 1 || value > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is %d, expected 1 to %d", name, value, most)));
}

/* Measures with rows of the index's table, deleted ones among them, drawn at random, each searched for without itself. */
static void
measure_recall(RecallState *state, Oid oid, int k, int queries)
{
	Relation   heap, index;
	Snapshot   snapshot;
	WrvqCaller user;

	check_argument("k", k, 1000);
	check_argument("queries", queries, 10000);
	memset(state, 0, sizeof(RecallState));
	state->k = k;
	index = WrvqOpenIndex(oid, AccessShareLock, WRVQ_MAY_MEASURE, &heap);
	WrvqBeginAsOwner(heap, index, &user);
	begin_progress(heap, index);
	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	begin_recall(state, heap, index, snapshot, queries);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, WRVQ_PHASE_COMPARING);
	find_truth(heap, index, state, snapshot);
	search_queries(heap, index, state, snapshot);
	UnregisterSnapshot(snapshot);
	pgstat_progress_end_command();
	WrvqEndAsOwner(&user);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
}

/* ---------- statistics ---------- */

static int
compare_doubles(const void *a, const void *b)
{
	double x = *(const double *) a, y = *(const double *) b;

	return (x > y) - (x < y);
}

static double
mean(const double *values, int64 count)
{
	double sum = 0;

	for (int64 i = 0; i < count; i++)
		sum += values[i];
	return count > 0 ? sum / count : NAN;
}

/*
 * Wilson's score interval of 95 %: that of a share of so many trials that their
 * variance is the one of the queries' mean.  The neighbours of one query are
 * found or missed together, so these are at least as many as queries, and fewer
 * than neighbours.  (E. B. Wilson, Probable Inference, the Law of Succession, and
 * Statistical Inference, JASA 22, 1927.)
 */
static void
confidence_interval(const RecallState *state, double recall, double *low, double *high)
{
	double squares = 0, variance, trials = state->measured, z = DEVIATIONS_OF_95, center, half;

	for (int64 i = 0; i < state->measured; i++)
		squares += (state->recalls[i] - recall) * (state->recalls[i] - recall);
	variance = squares / Max(1, state->measured - 1) / state->measured;
	if (variance > 0)
		trials = Max(trials, Min(trials * state->k, recall * (1 - recall) / variance));
	center = (recall + z * z / (2 * trials)) / (1 + z * z / trials);
	half = z / (1 + z * z / trials) * sqrt(recall * (1 - recall) / trials + z * z / (4 * trials * trials));
	/* at the ends the rounding would show */
	*low = recall > 0 ? center - half : 0;
	*high = recall < 1 ? center + half : 1;
}

/* Recall at k of the index; NaN if there are not two rows. */
PG_FUNCTION_INFO_V1(wrvq_recall);
Datum
wrvq_recall(PG_FUNCTION_ARGS)
{
	RecallState state;

	measure_recall(&state, PG_GETARG_OID(0), PG_GETARG_INT32(1), PG_GETARG_INT32(2));
	PG_RETURN_FLOAT8(mean(state.recalls, state.measured));
}

/* The same with its confidence interval, the mean of the worst tenth of the queries, and their number. */
PG_FUNCTION_INFO_V1(wrvq_recall_statistics);
Datum
wrvq_recall_statistics(PG_FUNCTION_ARGS)
{
	RecallState state;
	TupleDesc	descriptor;
	Datum		values[5];
	bool		nulls[5] = {false};
	double		recall, low, high;

	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "wrvq_recall_statistics() returns a row");
	measure_recall(&state, PG_GETARG_OID(0), PG_GETARG_INT32(1), PG_GETARG_INT32(2));
	values[4] = Int32GetDatum((int32) state.measured);
	if (state.measured > 0)
	{
		recall = mean(state.recalls, state.measured);
		confidence_interval(&state, recall, &low, &high);
		qsort(state.recalls, state.measured, sizeof(double), compare_doubles);
		values[0] = Float8GetDatum(recall);
		values[1] = Float8GetDatum(low);
		values[2] = Float8GetDatum(high);
		values[3] = Float8GetDatum(mean(state.recalls, (state.measured + 9) / 10));
	}
	else
		nulls[0] = nulls[1] = nulls[2] = nulls[3] = true;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
