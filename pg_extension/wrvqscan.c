/* wrvqscan.c: what the executor calls: a scan begins, returns rows, begins anew, ends. */
#include "wrvqscan.h"

#include "pgstat.h"
#include "utils/memutils.h"

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
	if (state->round >= 0)
		WrvqNoteScan(scan->indexRelation, state);
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
		WrvqNoteScan(scan->indexRelation, state);
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
		state->query_value = state->support->datum(state->query, state->dimensions);
		return;
	}
	state->query_value = PointerGetDatum(PG_DETOAST_DATUM(scan->orderByData->sk_argument));
	state->query = unconstify(float *, WrvqReadQuery(state->support, state->query_value, &state->dimensions));
	if (state->meta.dimensions != 0)
		WrvqCheckDimensions(state->meta.dimensions, state->dimensions);
	WrvqCheckFinite(state->query, state->dimensions);
}

/*
 * What a scan looks for.  In order of distance from the centre of its sphere,
 * it ends at the radius.  In any other order, the whole sphere is searched and
 * the executor sorts: it is told nothing but that every distance is above
 * -infinity.
 */
static void
read_conditions(IndexScanDesc scan, WrvqScan *state)
{
	state->range = WrvqReadRange(scan, state->support, &state->meta);
	state->is_ordered = scan->numberOfOrderBys > 0;
	state->query_is_null = false;
	if (state->range != NULL && state->range->is_empty)
		return;
	if (state->is_ordered)
		read_query(scan, state);
	if (state->range == NULL)
		return;
	state->is_ordered = state->is_ordered && !state->query_is_null && !WrvqIsExhaustive(state) &&
						WrvqIsCenter(state->range, state->query, state->dimensions);
	state->query_value = state->range->center_value;
	state->query = unconstify(float *, state->range->center);
	state->dimensions = state->range->dimensions;
}

static void
begin_rerank(IndexScanDesc scan, WrvqScan *state)
{
	state->reranker = WrvqBeginRerank(scan->indexRelation, scan->heapRelation, state->support);
	if (state->support->distance == NULL || state->support->tolerance > 0)
	{
		FmgrInfo function;

		WrvqIndexOperator(scan->indexRelation, &function);
		WrvqRerankByOperator(state->reranker, &function, state->query_value);
	}
}

/*
 * Reads the metapage and the rows that are not encoded.  A training that ends
 * between the two has moved rows from these into lists, of which a metapage from
 * before it knows nothing.  A trained index stays so: rows that are moved after
 * the second look are found in their lists.
 */
static void
read_index(Relation index, WrvqScan *state)
{
	WrvqMetaData now;

	WrvqReadMeta(index, &now);
	do
	{
		state->meta = now;
		state->pending_count = WrvqReadPending(index, &state->meta, &state->pending);
		if (!state->meta.is_trained)
			WrvqReadMeta(index, &now);
	} while (now.is_trained != state->meta.is_trained);
}

static void
start_scan(IndexScanDesc scan, WrvqScan *state)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);

	if (scan->numberOfOrderBys > 1 || scan->numberOfOrderBys + scan->numberOfKeys == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a wrvq index is scanned in order of one distance, or within a sphere")));
	pgstat_count_index_scan(scan->indexRelation);
	WrvqCountSearch(scan);
	read_index(scan->indexRelation, state);
	state->search = NULL;
	read_conditions(scan, state);
	if (state->range == NULL || !state->range->is_empty)
	{
		if (state->meta.is_trained)
			state->search = WrvqBeginSearch(scan->indexRelation, &state->meta, state->query);
		begin_rerank(scan, state);
	}
	state->exhausted = false;
	state->taken = NULL;
	state->taken_count = state->taken_capacity = 0;
	memset(&state->results, 0, sizeof(state->results));
	memset(&state->unseen, 0, sizeof(state->unseen));
	state->unseen_count = state->unseen_passed = 0;
	state->rank_limit = 0;
	state->last_distance = state->floor = -INFINITY;
	state->is_watched = wrvq_iterative_scan == WRVQ_SCAN_STRICT && WrvqIsWatched(scan);
	state->returned = state->latecomers = state->dropped = state->errors = 0;
	state->error_mean = state->error_squares = state->estimate_mean = 0;
	state->inside = 0;
	state->next_estimate = INFINITY;
	state->visited_all = false;
	MemoryContextSwitchTo(caller);
}

/* ---------- rows ---------- */

/* In strict order nothing nearer may follow; but if the plan's filter drops this row, it may: see wrvqpassed.c. */
static void
note_returned(WrvqScan *state, double distance)
{
	if (WrvqIsNearer(distance, state->last_distance) && wrvq_iterative_scan == WRVQ_SCAN_RELAXED)
		return;
	state->last_distance = distance;
	if (wrvq_iterative_scan != WRVQ_SCAN_RELAXED && !state->is_watched)
		state->floor = distance;
}

bool
wrvqgettuple(IndexScanDesc scan, ScanDirection direction)
{
	WrvqScan  *state = scan->opaque;
	ScanResult result;

	Assert(ScanDirectionIsForward(direction));
	if (state->round < 0)
		start_scan(scan, state);
	if (state->range != NULL && state->range->is_empty)
		return false;
	while (!WrvqIsSupported(state))
	{
		if (state->round >= 0 && state->exhausted)
		{
			WrvqTellBound(scan->indexRelation, state);
			return false;
		}
		WrvqRunRound(scan, state);
	}
	if (state->range != NULL && !(state->results.heap[0].distance <= state->range->radius))
		return false;
	result = WrvqRemoveResult(&state->results);
	state->returned++;
	WrvqTidFromRow(result.row, &scan->xs_heaptid);
	scan->xs_recheck = state->range != NULL && state->range->is_one_of_many;
	if (state->is_ordered)
		note_returned(state, result.distance);
	if (scan->numberOfOrderBys > 0)
	{
		scan->xs_recheckorderby = !state->is_ordered;
		scan->xs_orderbyvals[0] = Float8GetDatum(state->is_ordered ? result.distance : -INFINITY);
		scan->xs_orderbynulls[0] = state->is_ordered && state->query_is_null;
	}
	return true;
}
