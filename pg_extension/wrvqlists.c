/* wrvqlists.c: scans the posting pages of a set of lists, or of the sub-lists chosen in these. */
#include "wrvq.h"

#include <math.h>

#include "miscadmin.h"

/* up to how many pages ahead slots are fetched into the processor's cache, and how many for each that is scanned */
#define PREFETCHED_PAGES 2
#define PREFETCHED_SLOTS 2

/* lists so many times as long as the mean one are read ahead whole; what lies farther apart is hardly one list as built */
#define READ_AHEAD_MEANS 4

/*
 * mean entries from which choosing among sub-lists pays: half a block.  At a
 * sixth of a block, ranking them took 13 % of a query and spared 6 % of its
 * entries.
 */
#define SUBLIST_ENTRIES_MIN (WRVQ_BLOCK_ENTRIES / 2)

/*
 * The pages that a set of lists can be expected on, in the order of the visit.
 * Where inserts or VACUUM have led a list elsewhere, it is followed there.
 */
typedef struct ListPages
{
	WrvqPageStream stream;
	BlockNumber	  *blocks; /* [count] */
	int			  *slots;  /* [count] the first to be scanned */
	int			  *ends;   /* [count] one behind the last */
	int			   count;
	int			  *firsts;	/* [lists] the page that each begins on */
	int			   current; /* the one handed out last; -1: none yet */
	Buffer		   buffer;	/* the page being scanned, pinned; of any block */
	int			   ahead;	/* where slots are fetched into the processor's cache: the page */
	int			   ahead_slot;
} ListPages;

/* ---------- pages ---------- */

/* Pages, beside the first, that a list as a build leaves it can be expected to go on to. */
static BlockNumber
pages_expected(const WrvqSearch *search)
{
	const WrvqMetaData *meta = search->meta;
	double				page_entries = (double) search->codebook->slots_per_page * WRVQ_BLOCK_ENTRIES;

	return (BlockNumber) ceil(READ_AHEAD_MEANS * meta->entries / (meta->list_count * page_entries));
}

/* Those of this list: up to its last one, unless inserts or VACUUM have put that elsewhere. */
static BlockNumber
pages_after_head(const WrvqListEntry *entry, BlockNumber most)
{
	BlockNumber head = entry->head.block, tail = entry->tail.block;

	return tail != InvalidBlockNumber && tail > head && tail - head <= most ? tail - head : 0;
}

/* One behind the last slot of a list on one of its pages. */
static int
slots_end(const WrvqSearch *search, const WrvqListEntry *entry, BlockNumber block)
{
	int slots = search->codebook->slots_per_page;

	return block == entry->tail.block ? Min(entry->tail.slot + 1, slots) : slots;
}

/* Adds slots of a page, which may be the one added last; returns its place. */
static int
add_page(ListPages *pages, BlockNumber block, int slot, int end)
{
	if (pages->count == 0 || pages->blocks[pages->count - 1] != block)
	{
		pages->blocks[pages->count] = block;
		pages->slots[pages->count++] = slot;
	}
	pages->ends[pages->count - 1] = end;
	return pages->count - 1;
}

static void
begin_pages(ListPages *pages, WrvqSearch *search, const WrvqListEntry *entries, int count)
{
	BlockNumber expected = pages_expected(search);
	int64		most = 1;

	for (int i = 0; i < count; i++)
		most += 1 + pages_after_head(&entries[i], expected);
	pages->blocks = palloc_extended(sizeof(BlockNumber) * most, MCXT_ALLOC_HUGE);
	pages->slots = palloc_extended(sizeof(int) * most, MCXT_ALLOC_HUGE);
	pages->ends = palloc_extended(sizeof(int) * most, MCXT_ALLOC_HUGE);
	pages->firsts = palloc_extended(sizeof(int) * Max(count, 1), MCXT_ALLOC_HUGE);
	pages->count = 0;
	for (int i = 0; i < count; i++)
	{
		BlockNumber head = entries[i].head.block, more = pages_after_head(&entries[i], expected);

		if (head == InvalidBlockNumber)
			continue;
		WrvqCheckBlock(search->index, head + more);
		pages->firsts[i] = add_page(pages, head, entries[i].head.slot, slots_end(search, &entries[i], head));
		for (BlockNumber block = head + 1; block <= head + more; block++)
			add_page(pages, block, 0, slots_end(search, &entries[i], block));
	}
	pages->current = pages->ahead = -1;
	pages->buffer = InvalidBuffer;
	WrvqBeginPages(&pages->stream, search->index, pages->blocks, pages->count);
}

static void
end_pages(ListPages *pages)
{
	WrvqEndPages(&pages->stream);
	if (BufferIsValid(pages->buffer))
		ReleaseBuffer(pages->buffer);
	pfree(pages->blocks);
	pfree(pages->slots);
	pfree(pages->ends);
	pfree(pages->firsts);
}

/* Turns to the next page to fetch slots of; false if it is too far ahead. */
static bool
prefetch_page(ListPages *pages)
{
	int	 next = Max(pages->ahead, pages->current) + 1;
	Page page;

	if (next >= pages->count || next > pages->current + PREFETCHED_PAGES)
		return false;
	page = WrvqPageAhead(&pages->stream, next - pages->current);
	if (page == NULL)
		return false;
	pages->ahead = next;
	pages->ahead_slot = pages->slots[next];
	__builtin_prefetch(page);
	__builtin_prefetch((const char *) page + BLCKSZ - WRVQ_CACHE_LINE_BYTES);
	return true;
}

/*
 * Has the processor fetch slots that will be scanned after this one, as evenly
 * as they are scanned.  Into its second cache: where all lines that are waited
 * for have to fit into the first, a scan takes half as long again.
 */
static void
prefetch_slots(ListPages *pages, const WrvqCodebook *codebook)
{
	for (int i = 0; i < PREFETCHED_SLOTS; i++)
	{
		const char *slot, *line;

		if ((pages->ahead <= pages->current || pages->ahead_slot >= pages->ends[pages->ahead]) && !prefetch_page(pages))
			return;
		slot = (const char *) WrvqGetSlot(codebook, WrvqPageAhead(&pages->stream, pages->ahead - pages->current),
										  pages->ahead_slot++);
		for (line = (const char *) TYPEALIGN_DOWN(WRVQ_CACHE_LINE_BYTES, slot); line < slot + codebook->slot_bytes;
			 line += WRVQ_CACHE_LINE_BYTES)
			__builtin_prefetch(line, 0, 2);
	}
}

static void
next_page(ListPages *pages)
{
	pages->buffer = WrvqNextPage(&pages->stream, pages->buffer);
	pages->current++;
}

/* Makes this block the page being scanned. */
static void
turn_to(ListPages *pages, const WrvqSearch *search, BlockNumber block)
{
	if (BufferIsValid(pages->buffer) && BufferGetBlockNumber(pages->buffer) == block)
		return;
	if (pages->current + 1 < pages->count && pages->blocks[pages->current + 1] == block)
	{
		next_page(pages);
		return;
	}
	WrvqCheckBlock(search->index, block);
	if (BufferIsValid(pages->buffer))
		ReleaseBuffer(pages->buffer);
	pages->buffer = InvalidBuffer;
	pages->buffer = WrvqReadRecent(search->index, block);
}

/* ---------- lists ---------- */

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
static void
scan_list(WrvqSearch *search, uint32 list, WrvqListEntry *entry, const uint8 *chosen, ListPages *pages)
{
	const WrvqCodebook *codebook = search->codebook;
	WrvqSlotPointer		at = entry->head;
	int64				visited = 0;
	int					restarts = 0;

	while (at.block != InvalidBlockNumber)
	{
		Buffer buffer;
		Page   page;

		turn_to(pages, search, at.block);
		buffer = pages->buffer;
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
			if (chosen == NULL)
				prefetch_slots(pages, codebook);
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
		search->meta->entries < (double) SUBLIST_ENTRIES_MIN * sublists * search->meta->list_count)
		return NULL;
	scratch = palloc_extended(sizeof(uint64) * sublists * count, MCXT_ALLOC_HUGE);
	chosen = palloc_extended((Size) *bytes_per_list * count, MCXT_ALLOC_HUGE);
	SWIFT(wrvq_kernel.query_sublists(search->query, lists, count, WrvqSublistShare(), scratch, chosen));
	pfree(scratch);
	return chosen;
}

static WrvqListEntry *
read_entries(const WrvqSearch *search, const uint32 *lists, int count)
{
	WrvqListEntry *entries = palloc_extended(sizeof(WrvqListEntry) * Max(count, 1), MCXT_ALLOC_HUGE);

	for (int i = 0; i < count;)
	{
		BlockNumber block = WrvqDirectoryBlock(search->meta, lists[i]);
		Buffer		directory = WrvqReadPage(search->index, block, WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);

		for (; i < count && WrvqDirectoryBlock(search->meta, lists[i]) == block; i++)
			entries[i] = *WrvqDirectoryEntry(BufferGetPage(directory), lists[i]);
		UnlockReleaseBuffer(directory);
	}
	return entries;
}

/*
 * Scans lists, in order of number: neighbours share directory and posting pages.
 * whole: all their sub-lists.
 */
void
WrvqScanLists(WrvqSearch *search, const uint32 *lists, int count, bool whole)
{
	int			   bytes_per_list = 0;
	uint8		  *chosen = whole ? NULL : choose_sublists(search, lists, count, &bytes_per_list);
	WrvqListEntry *entries = read_entries(search, lists, count);
	ListPages	   pages;

	search->skips_sublists |= chosen != NULL;
	begin_pages(&pages, search, entries, count);
	for (int i = 0; i < count; i++)
	{
		if (entries[i].head.block == InvalidBlockNumber)
			continue;
		while (pages.current < pages.firsts[i])
			next_page(&pages);
		scan_list(search, lists[i], &entries[i], chosen == NULL ? NULL : chosen + i * bytes_per_list, &pages);
	}
	end_pages(&pages);
	if (chosen != NULL)
		pfree(chosen);
	pfree(entries);
}
