/*
 * wrvqcompact.c: rewrites a list that has lost much, while inserts and scans go
 * on.  README.md tells what every step leaves behind at a crash.
 */
#include "wrvq.h"

#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/freespace.h"

typedef struct Rewrite
{
	Relation			index;
	const WrvqMetaData *meta;
	const WrvqCodebook *codebook;
	WrvqFront		   *front;
	bool				is_in_front; /* of what was written, nothing lies behind it */
} Rewrite;

/* Entries taken out of a list's slots. */
typedef struct Extract
{
	WrvqSlotPointer *slots; /* [slot_count] what to free afterwards */
	int				 slot_count;
	int				 slot_capacity;
	uint32			 count;
	uint64			*rows;	  /* [count] */
	uint8			*entries; /* [count][entry_bytes] */
	uint64			*order;	  /* [count] by sub-list */
} Extract;

static uint32
entry_sublist(const WrvqCodebook *codebook, const uint8 *entry)
{
	uint32 sublist;

	SWIFT(sublist = wrvq_kernel.entry_sublist(&codebook->view.shape, &codebook->layout, entry));
	return sublist;
}

static int
compare_order(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a, y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* Makes room for one slot more. */
static void
reserve_slot(Extract *extract, Size entry_bytes)
{
	Size entries;

	if (extract->slot_count < extract->slot_capacity)
		return;
	extract->slot_capacity = Max(16, 2 * extract->slot_capacity);
	entries = (Size) extract->slot_capacity * WRVQ_BLOCK_ENTRIES;
	extract->slots = WrvqResize(extract->slots, sizeof(WrvqSlotPointer) * extract->slot_capacity);
	extract->rows = WrvqResize(extract->rows, sizeof(uint64) * entries);
	extract->entries = WrvqResize(extract->entries, entry_bytes * entries + 1);
	extract->order = WrvqResize(extract->order, sizeof(uint64) * entries);
}

/* Copies the live entries of one slot. */
static void
extract_slot(const WrvqCodebook *codebook, const WrvqSlotHeader *slot, Extract *extract)
{
	for (int i = 0; i < slot->count; i++)
	{
		uint8 *entry = extract->entries + (Size) codebook->layout.entry_bytes * extract->count;
		uint64 row;

		SWIFT(row = wrvq_kernel.block_get(&codebook->layout, (const uint8 *) (slot + 1), i, entry));
		if (row == WRVQ_ROW_DEAD)
			continue;
		extract->rows[extract->count] = row;
		extract->order[extract->count] = (uint64) entry_sublist(codebook, entry) << 32 | extract->count;
		extract->count++;
	}
}

/*
 * Copies the live entries of all slots before the tail.  Nobody but vacuum
 * changes those slots, so the copy stays true without a lock.
 */
static void
extract_entries(const Rewrite *rewrite, uint32 list, const WrvqListEntry *lists, Extract *extract)
{
	const WrvqCodebook *codebook = rewrite->codebook;
	WrvqSlotPointer		at = lists->head;
	WrvqChain			chain = {0};

	while (at.block != lists->tail.block || at.slot != lists->tail.slot)
	{
		Buffer buffer;

		if (at.block == InvalidBlockNumber)
			WrvqCorrupted(rewrite->index, lists->tail.block, "a list does not lead to its tail");
		WrvqFollowChain(rewrite->index, &chain, at.block, at.slot);
		WrvqVacuumDelay();
		reserve_slot(extract, codebook->layout.entry_bytes);
		buffer = WrvqReadPage(rewrite->index, at.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_SHARE);
		if (!WrvqSlotIs(codebook, BufferGetPage(buffer), at, list))
			WrvqCorrupted(rewrite->index, at.block, "a list leads to a block of another list");
		extract_slot(codebook, WrvqGetSlot(codebook, BufferGetPage(buffer), at.slot), extract);
		extract->slots[extract->slot_count++] = at;
		at = WrvqGetSlot(codebook, BufferGetPage(buffer), at.slot)->next;
		UnlockReleaseBuffer(buffer);
	}
	if (extract->count > 0)
		qsort(extract->order, extract->count, sizeof(uint64), compare_order);
}

/* Adds copies of some entries to a slot with room for them. */
static void
put_entries(const Rewrite *rewrite, WrvqSlotHeader *slot, const Extract *extract, int first, int count)
{
	const WrvqCodebook *codebook = rewrite->codebook;

	for (int i = first; i < first + count; i++)
	{
		uint32			at = (uint32) extract->order[i];
		const uint8	   *entry = extract->entries + (Size) codebook->layout.entry_bytes * at;
		ItemPointerData tid;

		WrvqTidFromRow(extract->rows[at], &tid);
		WrvqPutEntry(codebook, slot, entry_sublist(codebook, entry), &tid, entry);
	}
}

/* Notes whether something is being written behind the front. */
static void
note_place(Rewrite *rewrite, Buffer buffer)
{
	if (BufferGetBlockNumber(buffer) >= rewrite->front->blocks)
		rewrite->is_in_front = false;
}

/* Writes one slot of up to 32 entries that goes on to next; returns the pointer to it. */
static WrvqSlotPointer
write_slot(Rewrite *rewrite, uint32 list, const Extract *extract, int first, int count, WrvqSlotPointer next)
{
	const WrvqCodebook *codebook = rewrite->codebook;
	bool				is_new;
	Buffer				buffer = WrvqLockFrontPage(rewrite->index, codebook, rewrite->front, &is_new);
	GenericXLogState   *xlog = GenericXLogStart(rewrite->index);
	Page				page = GenericXLogRegisterBuffer(xlog, buffer, is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
	WrvqSlotPointer		added;
	WrvqSlotHeader	   *slot;

	note_place(rewrite, buffer);
	if (is_new)
		WrvqInitPostingPage(codebook, page, 0);
	added = WrvqUseSlot(codebook, page, BufferGetBlockNumber(buffer), WrvqFreeSlot(codebook, page), list);
	slot = WrvqGetSlot(codebook, page, added.slot);
	put_entries(rewrite, slot, extract, first, count);
	slot->next = next;
	GenericXLogFinish(xlog);
	if (is_new)
		RecordPageWithFreeSpace(rewrite->index, BufferGetBlockNumber(buffer),
								(codebook->slots_per_page - 1) * codebook->slot_bytes);
	UnlockReleaseBuffer(buffer);
	return added;
}

/* Gives slots of a list that nothing leads to any more back to their pages; cheapest in order of block. */
void
WrvqFreeSlots(Relation index, const WrvqCodebook *codebook, uint32 list, const WrvqSlotPointer *slots, int count)
{
	for (int i = 0; i < count;)
	{
		Buffer			  buffer = WrvqReadPage(index, slots[i].block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);
		BlockNumber		  block = BufferGetBlockNumber(buffer);
		GenericXLogState *xlog = GenericXLogStart(index);
		Page			  page = GenericXLogRegisterBuffer(xlog, buffer, 0);
		int				  free_count = 0;

		for (; i < count && slots[i].block == block; i++)
			if (WrvqSlotIs(codebook, page, slots[i], list))
			{
				WrvqGetSlot(codebook, page, slots[i].slot)->list = WRVQ_LIST_FREE;
				WrvqPageGetOpaque(page)->count--;
			}
		for (int j = 0; j < codebook->slots_per_page; j++)
			free_count += WrvqGetSlot(codebook, page, j)->list == WRVQ_LIST_FREE;
		GenericXLogFinish(xlog);
		UnlockReleaseBuffer(buffer);
		RecordPageWithFreeSpace(index, block, free_count * codebook->slot_bytes);
	}
}

/* The page of a slot of the list, exclusively locked. */
static Buffer
read_slot(const Rewrite *rewrite, uint32 list, WrvqSlotPointer at)
{
	Buffer buffer = WrvqReadPage(rewrite->index, at.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);

	if (!WrvqSlotIs(rewrite->codebook, BufferGetPage(buffer), at, list))
		WrvqCorrupted(rewrite->index, at.block, "a list's tail is not where the directory says");
	return buffer;
}

/* Takes dead entries out of the tail, in place: it goes on receiving inserts. */
static void
compact_tail(const Rewrite *rewrite, uint32 list, WrvqSlotPointer tail)
{
	const WrvqCodebook *codebook = rewrite->codebook;
	Buffer				buffer = read_slot(rewrite, list, tail);
	GenericXLogState   *xlog;
	WrvqSlotHeader	   *slot;
	uint8			   *entry = palloc(codebook->layout.entry_bytes + 1);
	int					kept = 0;

	xlog = GenericXLogStart(rewrite->index);
	slot = WrvqGetSlot(codebook, GenericXLogRegisterBuffer(xlog, buffer, 0), tail.slot);
	for (int i = 0; i < slot->count; i++)
	{
		uint64 row;

		SWIFT(row = wrvq_kernel.block_get(&codebook->layout, (const uint8 *) (slot + 1), i, entry));
		if (row == WRVQ_ROW_DEAD)
			continue;
		if (kept != i)
			SWIFT(wrvq_kernel.block_put(&codebook->layout, (uint8 *) (slot + 1), kept, row, entry));
		kept++;
	}
	if (kept < slot->count)
	{
		slot->count = kept;
		GenericXLogFinish(xlog);
	}
	else
		GenericXLogAbort(xlog);
	UnlockReleaseBuffer(buffer);
	pfree(entry);
}

/* The slots that a rewritten list has left are free, for others too. */
static void
free_extracted(const Rewrite *rewrite, uint32 list, const Extract *extract)
{
	WrvqFront *front = rewrite->front;

	WrvqFreeSlots(rewrite->index, rewrite->codebook, list, extract->slots, extract->slot_count);
	for (int i = 0; i < extract->slot_count; i++)
		if (extract->slots[i].block < front->blocks)
		{
			front->free_slots[extract->slots[i].block]++;
			front->next = Min(front->next, extract->slots[i].block);
		}
}

/*
 * Gives a list a new tail, empty, as an insert that finds the tail full: the
 * old one is then a slot like any other.
 */
static void
renew_tail(Rewrite *rewrite, uint32 list)
{
	const WrvqCodebook *codebook = rewrite->codebook;
	Buffer directory = WrvqReadPage(rewrite->index, WrvqDirectoryBlock(rewrite->meta, list), WRVQ_PAGE_DIRECTORY,
									BUFFER_LOCK_EXCLUSIVE);
	WrvqSlotPointer	  tail = WrvqDirectoryEntry(BufferGetPage(directory), list)->tail, added;
	Buffer			  tail_buffer = WrvqReadTail(rewrite->index, rewrite->codebook, list, tail), buffer;
	bool			  is_new;
	GenericXLogState *xlog;
	WrvqListEntry	 *entry;
	Page			  tail_page, page;

	buffer = WrvqLockFrontPage(rewrite->index, codebook, rewrite->front, &is_new);
	note_place(rewrite, buffer);
	xlog = GenericXLogStart(rewrite->index);
	entry = WrvqDirectoryEntry(GenericXLogRegisterBuffer(xlog, directory, 0), list);
	tail_page = GenericXLogRegisterBuffer(xlog, tail_buffer, 0);
	page = GenericXLogRegisterBuffer(xlog, buffer, is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
	if (is_new)
		WrvqInitPostingPage(codebook, page, 0);
	added = WrvqUseSlot(codebook, page, BufferGetBlockNumber(buffer), WrvqFreeSlot(codebook, page), list);
	WrvqGetSlot(codebook, tail_page, tail.slot)->next = added;
	entry->tail = added;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(tail_buffer);
	UnlockReleaseBuffer(directory);
}

/*
 * The switch: the directory leads to the new slots, and the entries that fill
 * none of them, from first on, go to the tail.  False if inserts have left too little
 * room there.
 */
static bool
switch_list(const Rewrite *rewrite, uint32 list, WrvqSlotPointer head, WrvqSlotPointer tail, const Extract *extract,
			int first)
{
	const WrvqCodebook *codebook = rewrite->codebook;
	int					count = extract->count - first;
	Buffer directory = WrvqReadPage(rewrite->index, WrvqDirectoryBlock(rewrite->meta, list), WRVQ_PAGE_DIRECTORY,
									BUFFER_LOCK_EXCLUSIVE);
	Buffer tail_buffer = read_slot(rewrite, list, tail);
	bool   has_room = WrvqGetSlot(codebook, BufferGetPage(tail_buffer), tail.slot)->count + count <= WRVQ_BLOCK_ENTRIES;

	if (has_room)
	{
		GenericXLogState *xlog = GenericXLogStart(rewrite->index);

		WrvqDirectoryEntry(GenericXLogRegisterBuffer(xlog, directory, 0), list)->head = head;
		if (count > 0)
			put_entries(rewrite, WrvqGetSlot(codebook, GenericXLogRegisterBuffer(xlog, tail_buffer, 0), tail.slot),
						extract, first, count);
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(tail_buffer);
	UnlockReleaseBuffer(directory);
	return has_room;
}

/*
 * Rewrites a list without its dead entries, in order of sub-list.  It gets a
 * new tail, where inserts go on; full slots that lead to it are written, last
 * one first; one change of the directory makes them the list, and one of the tail adds what
 * is left over; then the old slots are free.  Returns false if some of it found
 * no room in the front of an index that shrinks.
 */
bool
WrvqRewriteList(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, uint32 list, WrvqFront *front)
{
	Rewrite			rewrite = {index, meta, codebook, front, true};
	WrvqListEntry	lists;
	Extract			extract = {0};
	WrvqSlotPointer next;
	int				full;

	WrvqReadListEntry(index, meta, list, &lists);
	if (lists.head.block == InvalidBlockNumber)
		return true;
	if (lists.head.block == lists.tail.block && lists.head.slot == lists.tail.slot &&
		(front->blocks == 0 || lists.tail.block < front->blocks))
	{
		compact_tail(&rewrite, list, lists.tail);
		return true;
	}
	renew_tail(&rewrite, list);
	WrvqReadListEntry(index, meta, list, &lists);
	extract_entries(&rewrite, list, &lists, &extract);

	/* one to 32 entries are left over, if there are any */
	full = extract.count == 0 ? 0 : (extract.count - 1) / WRVQ_BLOCK_ENTRIES * WRVQ_BLOCK_ENTRIES;
	next = lists.tail;
	for (int end = full; end > 0; end -= WRVQ_BLOCK_ENTRIES)
	{
		WrvqVacuumDelay();
		next = write_slot(&rewrite, list, &extract, end - WRVQ_BLOCK_ENTRIES, WRVQ_BLOCK_ENTRIES, next);
	}
	if (!switch_list(&rewrite, list, next, lists.tail, &extract, full))
	{
		next = write_slot(&rewrite, list, &extract, full, extract.count - full, next);
		switch_list(&rewrite, list, next, lists.tail, &extract, extract.count);
	}
	free_extracted(&rewrite, list, &extract);
	return rewrite.is_in_front;
}
