/*
 * wrvqsearch.c: the three layers: ranks lists and sub-lists, scans their
 * blocks, and keeps the best candidates.  What the distances mean is the
 * kernels' business; here are the pages.
 */
#include "wrvq.h"

#include <math.h>

#include "miscadmin.h"

/* the best lists are visited first, so that most later entries miss the threshold */
#define FIRST_LISTS 16

/* how far ahead the page is of which a block is fetched into the processor's cache */
#define PREFETCHED_PAGE 2

/*
 * mean entries from which choosing among sub-lists pays: half a block.  At a
 * sixth of a block, ranking them took 13 % of a query and spared 6 % of its
 * entries.
 */
#define SUBLIST_ENTRIES_MIN (WRVQ_BLOCK_ENTRIES / 2)

/* candidates kept for each one that a round asks for, once there are no more lists to visit */
#define CANDIDATES_KEPT 32

/* candidates kept where all up to a bound are wanted, and how many more if those were too few */
#define WITHIN_LIMIT_MIN	1000
#define WITHIN_LIMIT_GROWTH 8

/* Prepares the query in the current memory context, where everything about the search stays. */
WrvqSearch *
WrvqBeginSearch(Relation index, const WrvqMetaData *meta, const float *vector)
{
	WrvqSearch *search = palloc0(sizeof(WrvqSearch));
	int64		bytes;
	wrvq_status status;
	char	   *arena;

	search->index = index;
	search->meta = meta;
	search->codebook = WrvqGetCodebook(index, meta);
	search->slots_max = (int64) RelationGetNumberOfBlocks(index) * search->codebook->slots_per_page;
	SWIFT(bytes = wrvq_kernel.query_bytes(&search->codebook->view));
	arena = palloc_extended(bytes + 64, MCXT_ALLOC_HUGE);
	arena = (char *) TYPEALIGN(64, arena);
	SWIFT(status = wrvq_kernel.query_begin(&search->codebook->view, &search->codebook->layout, vector, arena));
	if (status != WRVQ_OK)
		elog(ERROR, "could not start a query: status %d", (int) status);
	search->query = (wrvq_query *) arena;
	return search;
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
 * Scans the blocks of one list, or those of its chosen sub-lists.  A slot that
 * is no longer this list's (vacuum has moved the list since the pointer to it
 * was read) starts the list anew: rows met twice are reranked once.
 */
static Buffer
scan_list(WrvqSearch *search, uint32 list, WrvqListEntry *entry, const uint8 *chosen, Buffer buffer)
{
	const WrvqCodebook *codebook = search->codebook;
	WrvqSlotPointer		at = entry->head;
	int64				visited = 0;
	int					restarts = 0;

	while (at.block != InvalidBlockNumber)
	{
		Page page;

		WrvqCheckBlock(search->index, at.block);
		buffer = ReleaseAndReadBuffer(buffer, search->index, at.block);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		WrvqCheckPage(search->index, buffer, WRVQ_PAGE_POSTING);
		page = BufferGetPage(buffer);

		/* all that the list has in sequence on this page, under one lock */
		do
		{
			WrvqSlotHeader *slot;

			if (!WrvqSlotIs(codebook, page, at, list))
			{
				if (++restarts > 1000)
					WrvqCorrupted(search->index, at.block, "a list leads to a block of another list");
				LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
				WrvqReadListEntry(search->index, search->meta, list, entry);
				LockBuffer(buffer, BUFFER_LOCK_SHARE);
				at = entry->head;
				visited = 0;
				break;
			}
			slot = WrvqGetSlot(codebook, page, at.slot);
			if (slot->count > 0 && is_chosen(slot, chosen, WrvqSublistCount(&search->meta->shape)))
				SWIFT(wrvq_kernel.query_scan_block(search->query, list, (const uint8 *) (slot + 1), slot->count));
			at = slot->next;
			visited++;
		} while (at.block == BufferGetBlockNumber(buffer) && visited <= search->slots_max);
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);

		if (visited > search->slots_max)
		{
			/* the index may have grown since the scan began */
			search->slots_max = (int64) RelationGetNumberOfBlocks(search->index) * codebook->slots_per_page;
			if (visited > search->slots_max)
				WrvqCorrupted(search->index, at.block, "the blocks of a list run in a circle");
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
choose_sublists(WrvqSearch *search, const uint32 *lists, int count, int *bytes_per_list)
{
	const wrvq_shape *shape = &search->meta->shape;
	int				  sublists = WrvqSublistCount(shape);
	void			 *scratch;
	uint8			 *chosen;

	*bytes_per_list = (sublists + 7) / 8;
	/* wrvq.probes asks for whole lists; and a block that several sub-lists share is scanned for any of them */
	if (sublists == 1 || wrvq_probes > 0 || count == 0 ||
		search->meta->build_entries < (double) SUBLIST_ENTRIES_MIN * sublists * search->meta->list_count)
		return NULL;
	scratch = palloc_extended(sizeof(uint64) * sublists * count, MCXT_ALLOC_HUGE);
	chosen = palloc_extended((Size) *bytes_per_list * count, MCXT_ALLOC_HUGE);
	SWIFT(wrvq_kernel.query_sublists(search->query, lists, count, WrvqSublistShare(), scratch, chosen));
	pfree(scratch);
	return chosen;
}

/* Where lists begin, page by page. */
typedef struct ListHeads
{
	BlockNumber *blocks; /* [count] */
	int			*lists;	 /* [count]: the first list that begins there */
	int			 count;
} ListHeads;

static ListHeads
find_heads(WrvqSearch *search, const WrvqListEntry *entries, int count)
{
	ListHeads heads = {.blocks = palloc_extended(sizeof(BlockNumber) * Max(count, 1), MCXT_ALLOC_HUGE),
					   .lists = palloc_extended(sizeof(int) * Max(count, 1), MCXT_ALLOC_HUGE)};

	for (int i = 0; i < count; i++)
	{
		BlockNumber block = entries[i].head.block;

		if (block == InvalidBlockNumber || (heads.count > 0 && heads.blocks[heads.count - 1] == block))
			continue;
		WrvqCheckBlock(search->index, block);
		heads.lists[heads.count] = i;
		heads.blocks[heads.count++] = block;
	}
	return heads;
}

/* Has the processor fetch the block with which the first list on a page ahead begins. */
static void
prefetch_block(const WrvqSearch *search, const WrvqPageStream *pages, const WrvqListEntry *entry)
{
	const char *slot =
		(const char *) WrvqGetSlot(search->codebook, WrvqPageAhead(pages, PREFETCHED_PAGE), entry->head.slot);

	for (Size at = 0; at < search->codebook->slot_bytes; at += WRVQ_CACHE_LINE_BYTES)
		__builtin_prefetch(slot + at);
}

/*
 * Scans a set of lists in order of number: neighbours share directory and
 * posting pages.  Where each list begins is read ahead; most end on that page.
 */
static void
scan_lists(WrvqSearch *search, const uint32 *lists, int count, bool whole)
{
	WrvqListEntry *entries = palloc_extended(sizeof(WrvqListEntry) * Max(count, 1), MCXT_ALLOC_HUGE);
	ListHeads	   heads;
	int			   head = 0;
	WrvqPageStream pages;
	Buffer		   buffer = InvalidBuffer;
	int			   bytes_per_list = 0;
	uint8		  *chosen = whole ? NULL : choose_sublists(search, lists, count, &bytes_per_list);

	for (int i = 0; i < count;)
	{
		BlockNumber block = WrvqDirectoryBlock(search->meta, lists[i]);
		Buffer		directory = WrvqReadPage(search->index, block, WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);

		for (; i < count && WrvqDirectoryBlock(search->meta, lists[i]) == block; i++)
			entries[i] = *WrvqDirectoryEntry(BufferGetPage(directory), lists[i]);
		UnlockReleaseBuffer(directory);
	}
	heads = find_heads(search, entries, count);
	WrvqBeginPages(&pages, search->index, heads.blocks, heads.count);
	for (int i = 0; i < count; i++)
	{
		if (entries[i].head.block == InvalidBlockNumber)
			continue;
		if (head < heads.count && heads.lists[head] == i)
		{
			buffer = WrvqNextPage(&pages, buffer);
			if (head + PREFETCHED_PAGE < heads.count)
				prefetch_block(search, &pages, &entries[heads.lists[head + PREFETCHED_PAGE]]);
			head++;
		}
		buffer = scan_list(search, lists[i], &entries[i], chosen == NULL ? NULL : chosen + i * bytes_per_list, buffer);
	}
	WrvqEndPages(&pages);
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	pfree(heads.blocks);
	pfree(heads.lists);
	if (chosen != NULL)
		pfree(chosen);
	pfree(entries);
}

/* Visits the best probes lists and keeps the best limit candidates. */
static void
visit_lists(WrvqSearch *search, int probes, int64 limit)
{
	uint32 *lists = palloc_extended(sizeof(uint32) * probes, MCXT_ALLOC_HUGE);
	int64	bytes;
	int32	first, rest;

	if (search->candidates != NULL)
		pfree(search->candidates);
	SWIFT(bytes = wrvq_kernel.candidates_bytes(limit));
	search->candidates = palloc_extended(bytes, MCXT_ALLOC_HUGE);
	search->probes = probes;
	search->limit = limit;
	SWIFT(wrvq_kernel.query_round(search->query, limit, search->candidates));
	SWIFT(first = wrvq_kernel.query_lists(search->query, 0, Min(FIRST_LISTS, probes), lists));
	scan_lists(search, lists, first, true);
	SWIFT(rest = wrvq_kernel.query_lists(search->query, first, probes - first, lists));
	scan_lists(search, lists, rest, (uint32) probes == search->meta->list_count);
	pfree(lists);
}

/*
 * Candidates to keep where so many are asked for now: never more than a scan may rerank, unless asked for.  A round
 * that leaves lists out is followed by one that visits more of them, and finds its candidates anew.
 */
static int64
candidates_kept(const WrvqSearch *search, int probes, int64 reach)
{
	int64 kept = (uint32) probes == search->meta->list_count ? reach * CANDIDATES_KEPT : reach;

	return wrvq_max_scan_tuples > 0 ? Min(kept, Max(reach, wrvq_max_scan_tuples)) : kept;
}

/* The best reach candidates of the lists visited last that are new. */
static WrvqCandidates
take_candidates(WrvqSearch *search, int64 reach, const uint64 *taken, int64 taken_count)
{
	WrvqCandidates found;

	found.rows = palloc_extended(sizeof(uint64) * Max(reach, 1), MCXT_ALLOC_HUGE);
	found.estimates = palloc_extended(sizeof(float) * Max(reach, 1), MCXT_ALLOC_HUGE);
	SWIFT(found.count = wrvq_kernel.query_take(search->query, reach, taken, taken_count, found.rows, found.estimates,
											   &found.next));
	found.visited_all = (uint32) search->probes == search->meta->list_count;
	return found;
}

/*
 * The best reach candidates of the best probes lists, without those among
 * taken[taken_count]: rows and estimates, both in order of row identifier.
 * Of all lists more candidates are kept than are asked for now, so that a wider
 * reach visits none again.
 */
WrvqCandidates
WrvqSearchLists(WrvqSearch *search, int probes, int64 reach, const uint64 *taken, int64 taken_count)
{
	/* no more than the index has room for */
	int64 most = search->slots_max * WRVQ_BLOCK_ENTRIES + 1;

	/* room for rows met twice */
	reach = Min(search->meta->spill > 1 ? reach + reach / 2 : reach, most);
	if (search->probes != probes || reach > search->limit)
		visit_lists(search, probes, search->probes == 0 ? reach : Min(candidates_kept(search, probes, reach), most));
	return take_candidates(search, reach, taken, taken_count);
}

/*
 * All candidates of the best probes lists whose estimates are at most bound,
 * without those among taken[taken_count]; otherwise as WrvqSearchLists(), which
 * comes first.
 */
WrvqCandidates
WrvqSearchWithin(WrvqSearch *search, int probes, float bound, const uint64 *taken, int64 taken_count)
{
	int64 most = search->slots_max * WRVQ_BLOCK_ENTRIES + 1, limit = Max(search->limit, WITHIN_LIMIT_MIN), within;

	if (isinf(bound) && bound > 0)
		limit = most;
	for (;; limit *= WITHIN_LIMIT_GROWTH)
	{
		limit = Min(limit, most);
		if (search->probes != probes || limit > search->limit)
			visit_lists(search, probes, limit);
		SWIFT(within = wrvq_kernel.query_within(search->query, bound));
		if (within < search->limit || search->limit == most)
			return take_candidates(search, Min(within, search->limit), taken, taken_count);
	}
}

/* places[count]: where these rows stand among the best limit candidates, from 0; limit if they do not. */
void
WrvqSearchPlaces(WrvqSearch *search, int probes, int64 limit, const uint64 *rows, int count, int64 *places)
{
	visit_lists(search, probes, limit);
	for (int i = 0; i < count; i++)
		SWIFT(places[i] = wrvq_kernel.query_place(search->query, rows[i]));
}
