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

/* the best lists are visited first, so that most later entries miss the threshold */
#define FIRST_LISTS 16

/*
 * mean entries from which choosing among sub-lists pays: half a block.  At a
 * sixth of a block, ranking them took 13 % of a query and spared 6 % of its
 * entries.
 */
#define SUBLIST_ENTRIES_MIN (WRVQ_BLOCK_ENTRIES / 2)

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
	WrvqCodebook	  *codebook; /* NULL: untrained */
	WrvqReranker	  *reranker;
	float			  *query; /* [dimensions] */
	int				   dimensions;
	bool			   query_is_null;
	wrvq_query		  *state;
	int64			   slots_max; /* slots that the index can have: no list is longer */

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
			 state->meta.is_trained ? state->meta.list_count : 0, state->state != NULL ? state->state->visited : 0,
			 state->taken_count, state->latecomers);
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
begin_query(WrvqScan *state)
{
	int64		bytes;
	wrvq_status status;
	char	   *arena;

	SWIFT(bytes = wrvq_kernel.query_bytes(&state->codebook->view));
	arena = MemoryContextAllocHuge(state->context, bytes + 64);
	arena = (char *) TYPEALIGN(64, arena);
	SWIFT(status = wrvq_kernel.query_begin(&state->codebook->view, &state->codebook->layout, state->query, arena));
	if (status != WRVQ_OK)
		elog(ERROR, "could not start a query: status %d", (int) status);
	state->state = (wrvq_query *) arena;
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
	state->codebook = NULL;
	state->state = NULL;
	if (state->meta.is_trained)
	{
		state->codebook = WrvqGetCodebook(scan->indexRelation, &state->meta);
		state->slots_max = (int64) RelationGetNumberOfBlocks(scan->indexRelation) * state->codebook->slots_per_page;
		begin_query(state);
	}
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

/* ---------- the search layer ---------- */

static int
sublist_count(const wrvq_shape *shape)
{
	return shape->fuzzy_levels > 0 ? shape->levels[1].codeword_count : 1;
}

/* Does the block hold entries of a chosen sub-list, as far as their range tells? */
static bool
is_chosen(const WrvqSlotHeader *slot, const uint8 *chosen, int sublists)
{
	if (chosen == NULL)
		return true;
	for (int i = slot->sublist_min; i <= Min(slot->sublist_max, sublists - 1); i++)
		if (chosen[i / 8] & (1 << i % 8))
			return true;
	return false;
}

/*
 * Scans the blocks of one list, or those of its chosen sub-lists.  A slot that is no longer this list's (vacuum
 * has moved the list since the pointer to it was read) starts the list anew:
 * rows met twice are reranked once.
 */
static Buffer
scan_list(Relation index, WrvqScan *state, uint32 list, WrvqListEntry *entry, const uint8 *chosen, Buffer buffer)
{
	const WrvqCodebook *codebook = state->codebook;
	WrvqSlotPointer		at = entry->head;
	int64				visited = 0;
	int					restarts = 0;

	while (at.block != InvalidBlockNumber)
	{
		Page page;

		buffer = ReleaseAndReadBuffer(buffer, index, at.block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		WrvqCheckPage(index, buffer, WRVQ_PAGE_POSTING);
		page = BufferGetPage(buffer);

		/* all that the list has in sequence on this page, under one lock */
		do
		{
			WrvqSlotHeader *slot;

			if (!WrvqSlotIs(codebook, page, at, list))
			{
				if (++restarts > 1000)
					WrvqCorrupted(index, at.block, "a list leads to a block of another list");
				LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
				WrvqReadListEntry(index, &state->meta, list, entry);
				LockBuffer(buffer, BUFFER_LOCK_SHARE);
				at = entry->head;
				visited = 0;
				break;
			}
			slot = WrvqGetSlot(codebook, page, at.slot);
			if (slot->count > 0 && is_chosen(slot, chosen, sublist_count(&state->meta.shape)))
				SWIFT(wrvq_kernel.query_scan_block(state->state, list, (const uint8 *) (slot + 1), slot->count));
			at = slot->next;
			visited++;
		} while (at.block == BufferGetBlockNumber(buffer) && visited <= state->slots_max);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);

		if (visited > state->slots_max)
		{
			/* the index may have grown since the scan began */
			state->slots_max = (int64) RelationGetNumberOfBlocks(index) * codebook->slots_per_page;
			if (visited > state->slots_max)
				WrvqCorrupted(index, at.block, "the blocks of a list run in a circle");
		}
		CHECK_FOR_INTERRUPTS();
	}
	return buffer;
}

/*
 * The fuzzy layer: a bit for every sub-list of these lists that is worth a
 * visit; NULL if all are.
 */
static uint8 *
choose_sublists(WrvqScan *state, const uint32 *lists, int count, int *bytes_per_list)
{
	const wrvq_shape *shape = &state->meta.shape;
	int				  sublists = sublist_count(shape);
	void			 *scratch;
	uint8			 *chosen;

	*bytes_per_list = (sublists + 7) / 8;
	/* wrvq.probes asks for whole lists; and a block that several sub-lists share is scanned for any of them */
	if (sublists == 1 || wrvq_probes > 0 || count == 0 ||
		state->meta.build_entries < (double) SUBLIST_ENTRIES_MIN * sublists * state->meta.list_count)
		return NULL;
	scratch = palloc_extended(sizeof(uint64) * sublists * count, MCXT_ALLOC_HUGE);
	chosen = palloc_extended((Size) *bytes_per_list * count, MCXT_ALLOC_HUGE);
	SWIFT(wrvq_kernel.query_sublists(state->state, lists, count, WrvqSublistShare(), scratch, chosen));
	pfree(scratch);
	return chosen;
}

/* Scans a set of lists in order of number: neighbours share directory and posting pages. */
static void
scan_lists(Relation index, WrvqScan *state, const uint32 *lists, int count, bool whole)
{
	WrvqListEntry *entries = palloc_extended(sizeof(WrvqListEntry) * Max(count, 1), MCXT_ALLOC_HUGE);
	Buffer		   buffer = InvalidBuffer;
	int			   bytes_per_list = 0;
	uint8		  *chosen = whole ? NULL : choose_sublists(state, lists, count, &bytes_per_list);

	for (int i = 0; i < count;)
	{
		BlockNumber block = WrvqDirectoryBlock(&state->meta, lists[i]);
		Buffer		directory = WrvqReadPage(index, block, WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);

		for (; i < count && WrvqDirectoryBlock(&state->meta, lists[i]) == block; i++)
			entries[i] = *WrvqDirectoryEntry(BufferGetPage(directory), lists[i]);
		UnlockReleaseBuffer(directory);
	}
	for (int i = 0; i < count; i++)
		buffer =
			scan_list(index, state, lists[i], &entries[i], chosen == NULL ? NULL : chosen + i * bytes_per_list, buffer);
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	if (chosen != NULL)
		pfree(chosen);
	pfree(entries);
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
	/* no more than the index has room for */
	int64	limit = Min(state->reach, state->slots_max * WRVQ_BLOCK_ENTRIES + 1), bytes, count;
	uint32 *lists = palloc_extended(sizeof(uint32) * state->probes, MCXT_ALLOC_HUGE);
	char   *memory;
	uint64 *rows;
	int32	first, rest;
	bool	all = (uint32) state->probes == state->meta.list_count;

	SWIFT(bytes = wrvq_kernel.candidates_bytes(limit));
	memory = palloc_extended(bytes, MCXT_ALLOC_HUGE);
	SWIFT(wrvq_kernel.query_round(state->state, limit, memory));
	SWIFT(first = wrvq_kernel.query_lists(state->state, 0, Min(FIRST_LISTS, state->probes), lists));
	scan_lists(scan->indexRelation, state, lists, first, true);
	SWIFT(rest = wrvq_kernel.query_lists(state->state, first, state->probes - first, lists));
	scan_lists(scan->indexRelation, state, lists, rest, all);

	rows = palloc_extended(sizeof(uint64) * Max(limit, 1), MCXT_ALLOC_HUGE);
	SWIFT(count = wrvq_kernel.query_take(state->state, state->taken, state->taken_count, rows));
	rerank_rows(scan, state, rows, count);
	take_rows(state, rows, count);

	/* everything was visited and nothing was left out: no round can find more */
	if (all && state->state->candidate_count < limit)
		state->exhausted = true;
	pfree(rows);
	pfree(memory);
	pfree(lists);
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
	if (state->codebook != NULL)
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
