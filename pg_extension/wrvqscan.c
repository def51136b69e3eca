/*
 * wrvqscan.c: searching.  A scan runs in rounds of growing reach; README.md
 * has the pseudocode.
 */
#include "wrvq.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* a round supports the order of this share of what it reranked */
#define RERANK_PER_ROW 4

/* how much farther each round reaches */
#define RERANK_GROWTH 4
#define PROBES_GROWTH 4

typedef struct ScanResult
{
	double distance;
	uint64 row;
} ScanResult;

typedef struct WrvqScan
{
	const WrvqSupport *support;
	MemoryContext	   context; /* reset by every rescan */
	WrvqMetaData	   meta;
	WrvqReranker	  *reranker;
	float			  *query; /* [dimensions] */
	int				   dimensions;
	bool			   query_is_null;
	WrvqSearch		  *search; /* NULL: untrained */

	/* the round */
	int		round;	   /* -1: none yet */
	bool	exhausted; /* nothing is left to widen to */
	int64	reach;	   /* candidates to rerank in all */
	int		probes;	   /* lists to visit */
	uint64 *taken;	   /* [taken_count] rows reranked so far, sorted */
	int64	taken_count;

	/* reranked rows, by distance; those from next are not returned yet */
	ScanResult *results;
	int64		result_count;
	int64		result_capacity;
	int64		next;
	int64		depth;		   /* return results up to here before widening */
	double		last_distance; /* of the last returned row */
	int64		returned;	   /* rows of earlier rounds */
	int64		latecomers;	   /* rows dropped because a farther one was returned */
} WrvqScan;

IndexScanDesc
wrvqbeginscan(Relation index, int nkeys, int norderbys)
{
	IndexScanDesc scan = RelationGetIndexScan(index, nkeys, norderbys);
	WrvqScan	 *state = palloc0(sizeof(WrvqScan));

	state->round = -1;
	state->support = WrvqIndexSupport(index);
	state->context = AllocSetContextCreate(CurrentMemoryContext, "wrvq scan", ALLOCSET_DEFAULT_SIZES);
	scan->opaque = state;
	if (norderbys > 0)
	{
		scan->xs_orderbyvals = palloc0(sizeof(Datum) * norderbys);
		scan->xs_orderbynulls = palloc0(sizeof(bool) * norderbys);
	}
	return scan;
}

void
wrvqrescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys)
{
	WrvqScan *state = scan->opaque;

	if (keys != NULL && scan->numberOfKeys > 0)
		memmove(scan->keyData, keys, scan->numberOfKeys * sizeof(ScanKeyData));
	if (orderbys != NULL && scan->numberOfOrderBys > 0)
		memmove(scan->orderByData, orderbys, scan->numberOfOrderBys * sizeof(ScanKeyData));
	if (state->reranker != NULL)
	{
		WrvqEndRerank(state->reranker);
		state->reranker = NULL;
	}
	MemoryContextReset(state->context);
	state->round = -1;
}

void
wrvqendscan(IndexScanDesc scan)
{
	WrvqScan *state = scan->opaque;

	if (state->round >= 0)
		elog(DEBUG1,
			 "wrvq scan of \"%s\": %d rounds, %d of %u lists, " INT64_FORMAT " entries, " INT64_FORMAT
			 " rows reranked, " INT64_FORMAT " latecomers dropped",
			 RelationGetRelationName(scan->indexRelation), state->round + 1, state->probes,
			 state->meta.is_trained ? state->meta.list_count : 0,
			 state->search != NULL ? state->search->query->visited : 0, state->taken_count, state->latecomers);
	if (state->reranker != NULL)
		WrvqEndRerank(state->reranker);
	MemoryContextDelete(state->context);
	pfree(state);
	scan->opaque = NULL;
}

/* ---------- starting ---------- */

/* The query vector: a NULL one compares as unknown with every row, in any order. */
static void
read_query(IndexScanDesc scan, WrvqScan *state)
{
	state->query_is_null = (scan->orderByData->sk_flags & SK_ISNULL) != 0;
	if (state->query_is_null)
	{
		state->dimensions = Max(1, (int) state->meta.dimensions);
		state->query = palloc0(sizeof(float) * state->dimensions);
		return;
	}
	state->query = unconstify(float *, state->support->vector(scan->orderByData->sk_argument, &state->dimensions));
	if (state->meta.dimensions != 0)
		WrvqCheckDimensions(state->meta.dimensions, state->dimensions);
	WrvqCheckFinite(state->query, state->dimensions);
}

static void
start_scan(IndexScanDesc scan, WrvqScan *state)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);

	if (scan->numberOfOrderBys != 1)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a wrvq index is scanned in order of one distance")));
	pgstat_count_index_scan(scan->indexRelation);
	WrvqReadMeta(scan->indexRelation, &state->meta);
	read_query(scan, state);
	state->search = state->meta.is_trained ? WrvqBeginSearch(scan->indexRelation, &state->meta, state->query) : NULL;
	state->reranker = WrvqBeginRerank(scan->indexRelation, scan->heapRelation, state->support);
	state->exhausted = false;
	state->taken = NULL;
	state->taken_count = 0;
	state->results = NULL;
	state->result_count = state->result_capacity = state->next = state->depth = 0;
	state->last_distance = -DBL_MAX;
	state->returned = state->latecomers = 0;
	MemoryContextSwitchTo(caller);
}

/* ---------- rounds ---------- */

/* Where the first round reaches; later ones multiply it. */
static void
plan_round(WrvqScan *state)
{
	int	  lists = state->meta.is_trained ? (int) state->meta.list_count : 0;
	int64 bound = wrvq_max_scan_tuples > 0 ? wrvq_max_scan_tuples : INT64_MAX / 64;

	if (state->round == 0)
	{
		state->reach = wrvq_rerank > 0 ? wrvq_rerank : Min(WrvqRerankDepth(), bound);
		state->probes = wrvq_probes > 0 ? wrvq_probes : WrvqProbes(&state->meta);
	}
	else
	{
		state->reach = Min(state->reach * RERANK_GROWTH, Max(bound, state->reach));
		state->probes = state->probes > lists / PROBES_GROWTH ? lists : state->probes * PROBES_GROWTH;
	}
	state->probes = Max(1, Min(state->probes, lists));
	/* no more candidates can be kept than there are rows */
	if (state->reach >= bound)
		state->exhausted = true;
}

static int
compare_results(const void *a, const void *b)
{
	const ScanResult *x = a, *y = b;

	/* NaN, the distance from a zero vector under cosine, sorts last as in SQL */
	if (isnan(x->distance) || isnan(y->distance))
	{
		if (isnan(x->distance) != isnan(y->distance))
			return isnan(x->distance) ? 1 : -1;
	}
	else if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* Computes exact distances of new rows and adds them to the results. */
static void
rerank_rows(IndexScanDesc scan, WrvqScan *state, const uint64 *rows, int64 count)
{
	if (state->result_count + count > state->result_capacity)
	{
		state->result_capacity = Max(2 * state->result_capacity, state->result_count + count);
		state->results = state->results == NULL
							 ? MemoryContextAllocHuge(state->context, state->result_capacity * sizeof(ScanResult))
							 : repalloc_huge(state->results, state->result_capacity * sizeof(ScanResult));
	}
	for (int64 i = 0; i < count; i++)
	{
		ScanResult *result = &state->results[state->result_count];

		CHECK_FOR_INTERRUPTS();
		if (!WrvqRerank(state->reranker, rows[i], scan->xs_snapshot, state->query, state->dimensions,
						&result->distance))
			continue;
		if (result->distance < state->last_distance)
		{
			state->latecomers++;
			continue;
		}
		result->row = rows[i];
		state->result_count++;
	}
}

/* Adds rows, sorted, to those that were reranked. */
static void
take_rows(WrvqScan *state, const uint64 *rows, int64 count)
{
	Size bytes = (state->taken_count + count) * sizeof(uint64);

	if (count == 0)
		return;
	state->taken =
		state->taken == NULL ? MemoryContextAllocHuge(state->context, bytes) : repalloc_huge(state->taken, bytes);
	SWIFT(wrvq_kernel.rows_merge(state->taken, state->taken_count, rows, count));
	state->taken_count += count;
}

/* Rows that are not encoded are all candidates, of the first round. */
static void
rerank_pending(IndexScanDesc scan, WrvqScan *state)
{
	uint64 *rows;
	int64	count = WrvqReadPending(scan->indexRelation, &state->meta, &rows), kept;

	if (count == 0)
		return;
	SWIFT(kept = wrvq_kernel.rows_sort(rows, count));
	rerank_rows(scan, state, rows, kept);
	take_rows(state, rows, kept);
}

/* Searches the lists in reach and reranks the candidates that are new. */
static void
search_lists(IndexScanDesc scan, WrvqScan *state)
{
	uint64 *rows;
	bool	complete;
	int64	count =
		WrvqSearchLists(state->search, state->probes, state->reach, state->taken, state->taken_count, &rows, &complete);

	rerank_rows(scan, state, rows, count);
	take_rows(state, rows, count);
	if (complete)
		state->exhausted = true;
	pfree(rows);
}

static void
run_round(IndexScanDesc scan, WrvqScan *state)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);
	int64		  returned = state->next;

	state->round++;
	plan_round(state);
	if (state->round == 0)
		rerank_pending(scan, state);
	if (state->search != NULL)
		search_lists(scan, state);
	else
		state->exhausted = true;
	if (!wrvq_iterative_scan)
		state->exhausted = true;

	/* what was returned is not needed any more */
	state->result_count -= returned;
	memmove(state->results, state->results + returned, state->result_count * sizeof(ScanResult));
	state->next = 0;
	qsort(state->results, state->result_count, sizeof(ScanResult), compare_results);
	state->returned += returned;
	if (state->exhausted)
		state->depth = state->result_count;
	else if (wrvq_rerank > 0 && state->round == 0)
		state->depth = state->result_count;
	else
		state->depth = Min(state->result_count, Max(0, state->reach / RERANK_PER_ROW - state->returned));
	MemoryContextSwitchTo(caller);
}

bool
wrvqgettuple(IndexScanDesc scan, ScanDirection direction)
{
	WrvqScan   *state = scan->opaque;
	ScanResult *result;

	Assert(ScanDirectionIsForward(direction));
	if (state->round < 0)
		start_scan(scan, state);
	while (state->next >= state->depth)
	{
		if (state->round >= 0 && state->exhausted)
			return false;
		run_round(scan, state);
	}
	result = &state->results[state->next++];
	state->last_distance = result->distance;
	WrvqTidFromRow(result->row, &scan->xs_heaptid);
	scan->xs_recheck = false;
	scan->xs_recheckorderby = false;
	scan->xs_orderbyvals[0] = Float8GetDatum(result->distance);
	scan->xs_orderbynulls[0] = state->query_is_null;
	return true;
}
