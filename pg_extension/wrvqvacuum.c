/*
 * wrvqvacuum.c: VACUUM: marks dead entries, then rewrites only the lists that
 * have lost much.  README.md tells what every step leaves behind at a crash.
 */
#include "wrvq.h"

#include "access/table.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

/* a list is rewritten when fewer of its entries' places are taken */
#define FILL_MIN 0.7

/* What the pass over the pages saw of a list. */
typedef struct ListUse
{
	uint32 live;
	uint32 slots;
	bool   is_dirty; /* an entry died in this vacuum */
} ListUse;

typedef struct VacuumState
{
	Relation				index;
	BufferAccessStrategy	strategy;
	WrvqMetaData			meta;
	WrvqCodebook		   *codebook; /* NULL: untrained */
	IndexBulkDeleteCallback callback; /* NULL: only count */
	void				   *callback_state;
	IndexBulkDeleteResult  *stats;
	ListUse				   *lists; /* [lists] */
} VacuumState;

static bool
is_dead(uint64 row, void *argument)
{
	VacuumState	   *state = argument;
	ItemPointerData tid;

	WrvqTidFromRow(row, &tid);
	return state->callback(&tid, state->callback_state);
}

/* Finds dead entries of a slot and counts the live ones; a bit per position. */
static uint32
find_dead(VacuumState *state, WrvqSlotHeader *slot)
{
	uint32 dead = 0;

	for (int i = 0; i < Min(slot->count, WRVQ_BLOCK_ENTRIES); i++)
	{
		uint64 row;

		SWIFT(row = wrvq_kernel.block_row((const uint8 *) (slot + 1), i));
		if (row == WRVQ_ROW_DEAD)
			continue;
		if (state->callback != NULL && is_dead(row, state))
			dead |= (uint32) 1 << i;
		else
			state->lists[slot->list].live++;
	}
	return dead;
}

/* Marks dead entries of one posting page, exclusively locked, in one WAL record. */
static void
vacuum_posting_page(VacuumState *state, Buffer buffer)
{
	const WrvqCodebook *codebook = state->codebook;
	Page				page = BufferGetPage(buffer);
	uint32				dead[WRVQ_PAGE_BYTES / sizeof(WrvqSlotHeader)] = {0};
	bool				any = false;
	int					free_slots = 0;

	for (int i = 0; i < codebook->slots_per_page; i++)
	{
		WrvqSlotHeader *slot = WrvqGetSlot(codebook, page, i);

		if (slot->list == WRVQ_LIST_FREE)
		{
			free_slots++;
			continue;
		}
		if (slot->list >= state->meta.list_count)
			WrvqCorrupted(state->index, BufferGetBlockNumber(buffer), "a slot belongs to a list that does not exist");
		state->lists[slot->list].slots++;
		dead[i] = find_dead(state, slot);
		if (dead[i] != 0)
			any = state->lists[slot->list].is_dirty = true;
	}
	if (any)
	{
		GenericXLogState *xlog = GenericXLogStart(state->index);

		page = GenericXLogRegisterBuffer(xlog, buffer, 0);
		for (int i = 0; i < codebook->slots_per_page; i++)
			for (int j = 0; j < WRVQ_BLOCK_ENTRIES; j++)
				if (dead[i] & (uint32) 1 << j)
				{
					SWIFT(wrvq_kernel.block_set_row((uint8 *) (WrvqGetSlot(codebook, page, i) + 1), j, WRVQ_ROW_DEAD));
					state->stats->tuples_removed++;
				}
		GenericXLogFinish(xlog);
	}
	RecordPageWithFreeSpace(state->index, BufferGetBlockNumber(buffer), free_slots * codebook->slot_bytes);
}

/* Visits every page in physical order, those added meanwhile included. */
static void
vacuum_pages(VacuumState *state)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(state->index);

	for (BlockNumber block = WRVQ_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer buffer;

		WrvqVacuumDelay();
		buffer = ReadBufferExtended(state->index, MAIN_FORKNUM, block, RBM_NORMAL, state->strategy);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		/* a crash may leave a page that was added and never written */
		if (!PageIsNew(BufferGetPage(buffer)) && WrvqPageGetOpaque(BufferGetPage(buffer))->kind == WRVQ_PAGE_POSTING &&
			state->codebook != NULL)
		{
			WrvqCheckPage(state->index, buffer, WRVQ_PAGE_POSTING);
			vacuum_posting_page(state, buffer);
		}
		UnlockReleaseBuffer(buffer);
		if (block == blocks - 1)
			blocks = RelationGetNumberOfBlocks(state->index);
	}
	state->stats->num_pages = blocks;
}

/* ---------- rewriting a list ---------- */

/* Entries taken out of a list's slots. */
typedef struct Extract
{
	WrvqSlotPointer *slots; /* [slot_count] what to free afterwards */
	int				 slot_count;
	int				 count;
	uint64			*rows;	  /* [count] */
	uint8			*entries; /* [count][entry_bytes] */
	uint32			*order;	  /* [count] by sub-list */
} Extract;

static uint32
entry_sublist(const WrvqCodebook *codebook, const uint8 *entry)
{
	if (codebook->view.shape.fuzzy_levels == 0)
		return 0;
	return entry[codebook->layout.constants_offset >= 0 ? 2 : 0];
}

static int
compare_order(const void *a, const void *b)
{
	uint32 x = *(const uint32 *) a, y = *(const uint32 *) b;

	return x < y ? -1 : x > y;
}

/*
 * Copies the live entries of all slots before the tail.  Nobody but vacuum
 * changes those slots, so the copy stays true without a lock.
 */
static void
extract_entries(VacuumState *state, uint32 list, const WrvqListEntry *lists, int slots, Extract *extract)
{
	const WrvqCodebook *codebook = state->codebook;
	Size				entry_bytes = codebook->layout.entry_bytes;
	WrvqSlotPointer		at = lists->head;

	extract->slots = palloc(sizeof(WrvqSlotPointer) * slots);
	extract->rows = palloc_extended(sizeof(uint64) * slots * WRVQ_BLOCK_ENTRIES, MCXT_ALLOC_HUGE);
	extract->entries = palloc_extended(entry_bytes * slots * WRVQ_BLOCK_ENTRIES + 1, MCXT_ALLOC_HUGE);
	extract->order = palloc_extended(sizeof(uint32) * slots * WRVQ_BLOCK_ENTRIES, MCXT_ALLOC_HUGE);
	extract->slot_count = extract->count = 0;
	while (at.block != lists->tail.block || at.slot != lists->tail.slot)
	{
		Buffer			buffer;
		WrvqSlotHeader *slot;

		if (at.block == InvalidBlockNumber || extract->slot_count >= slots)
			WrvqCorrupted(state->index, lists->tail.block, "a list does not lead to its tail");
		WrvqVacuumDelay();
		buffer = WrvqReadPage(state->index, at.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_SHARE);
		if (!WrvqSlotIs(codebook, BufferGetPage(buffer), at, list))
			WrvqCorrupted(state->index, at.block, "a list leads to a block of another list");
		slot = WrvqGetSlot(codebook, BufferGetPage(buffer), at.slot);
		for (int i = 0; i < slot->count; i++)
		{
			uint8 *entry = extract->entries + entry_bytes * extract->count;
			uint64 row;

			SWIFT(row = wrvq_kernel.block_get(&codebook->layout, (const uint8 *) (slot + 1), i, entry));
			if (row == WRVQ_ROW_DEAD)
				continue;
			extract->rows[extract->count] = row;
			extract->order[extract->count] = entry_sublist(codebook, entry) << 24 | extract->count;
			extract->count++;
		}
		extract->slots[extract->slot_count++] = at;
		at = slot->next;
		UnlockReleaseBuffer(buffer);
	}
	qsort(extract->order, extract->count, sizeof(uint32), compare_order);
}

/* A page with a free slot, exclusively locked; no other lock is held. */
static Buffer
lock_page_for_slot(VacuumState *state, bool *is_new)
{
	BlockNumber block = GetPageWithFreeSpace(state->index, state->codebook->slot_bytes);

	*is_new = false;
	while (block != InvalidBlockNumber)
	{
		Buffer buffer = WrvqReadPage(state->index, block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);

		if (WrvqFreeSlot(state->codebook, BufferGetPage(buffer)) >= 0)
			return buffer;
		UnlockReleaseBuffer(buffer);
		block = RecordAndGetPageWithFreeSpace(state->index, block, 0, state->codebook->slot_bytes);
	}
	*is_new = true;
	return WrvqExtend(state->index);
}

/* Writes one slot of up to 32 entries that goes on to next; returns the pointer to it. */
static WrvqSlotPointer
write_slot(VacuumState *state, uint32 list, const Extract *extract, int first, int count, WrvqSlotPointer next)
{
	const WrvqCodebook *codebook = state->codebook;
	bool				is_new;
	Buffer				buffer = lock_page_for_slot(state, &is_new);
	GenericXLogState   *xlog = GenericXLogStart(state->index);
	Page				page = GenericXLogRegisterBuffer(xlog, buffer, is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
	WrvqSlotPointer		added;
	WrvqSlotHeader	   *slot;

	if (is_new)
		WrvqInitPostingPage(codebook, page, 0);
	added = WrvqUseSlot(codebook, page, BufferGetBlockNumber(buffer), WrvqFreeSlot(codebook, page), list);
	slot = WrvqGetSlot(codebook, page, added.slot);
	for (int i = first; i < first + count; i++)
	{
		uint32			at = extract->order[i] & 0xFFFFFF;
		const uint8	   *entry = extract->entries + (Size) codebook->layout.entry_bytes * at;
		ItemPointerData tid;

		WrvqTidFromRow(extract->rows[at], &tid);
		WrvqPutEntry(codebook, slot, entry_sublist(codebook, entry), &tid, entry);
	}
	slot->next = next;
	GenericXLogFinish(xlog);
	if (is_new)
		RecordPageWithFreeSpace(state->index, BufferGetBlockNumber(buffer),
								(codebook->slots_per_page - 1) * codebook->slot_bytes);
	UnlockReleaseBuffer(buffer);
	return added;
}

/* Gives slots that no list leads to back to their pages. */
static void
free_slots(VacuumState *state, uint32 list, const WrvqSlotPointer *slots, int count)
{
	const WrvqCodebook *codebook = state->codebook;

	for (int i = 0; i < count;)
	{
		Buffer			  buffer = WrvqReadPage(state->index, slots[i].block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);
		BlockNumber		  block = BufferGetBlockNumber(buffer);
		GenericXLogState *xlog = GenericXLogStart(state->index);
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
		RecordPageWithFreeSpace(state->index, block, free_count * codebook->slot_bytes);
	}
}

/* Takes dead entries out of the tail, in place: it goes on receiving inserts. */
static void
compact_tail(VacuumState *state, uint32 list, WrvqSlotPointer tail)
{
	const WrvqCodebook *codebook = state->codebook;
	Buffer				buffer = WrvqReadPage(state->index, tail.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState   *xlog;
	WrvqSlotHeader	   *slot;
	uint8			   *entry = palloc(codebook->layout.entry_bytes + 1);
	int					kept = 0;

	if (!WrvqSlotIs(codebook, BufferGetPage(buffer), tail, list))
		WrvqCorrupted(state->index, tail.block, "a list's tail is not where the directory says");
	xlog = GenericXLogStart(state->index);
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

/*
 * Rewrites a list without its dead entries, in order of sub-list.  The new
 * slots lead to the old tail, which stays where it is; one change of the
 * directory makes them the list; then the old slots are free.
 */
static void
rewrite_list(VacuumState *state, uint32 list)
{
	WrvqListEntry	  lists;
	Extract			  extract;
	WrvqSlotPointer	  next;
	Buffer			  directory;
	GenericXLogState *xlog;

	WrvqReadListEntry(state->index, &state->meta, list, &lists);
	if (lists.head.block == InvalidBlockNumber)
		return;
	compact_tail(state, list, lists.tail);
	if (lists.head.block == lists.tail.block && lists.head.slot == lists.tail.slot)
		return;
	/* inserts during this vacuum may have added slots that the count does not know */
	extract_entries(state, list, &lists, state->lists[list].slots + 1024, &extract);

	next = lists.tail;
	for (int end = extract.count; end > 0;)
	{
		int count = (end - 1) % WRVQ_BLOCK_ENTRIES + 1;

		WrvqVacuumDelay();
		next = write_slot(state, list, &extract, end - count, count, next);
		end -= count;
	}
	directory =
		WrvqReadPage(state->index, WrvqDirectoryBlock(&state->meta, list), WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
	xlog = GenericXLogStart(state->index);
	WrvqDirectoryEntry(GenericXLogRegisterBuffer(xlog, directory, 0), list)->head = next;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(directory);
	free_slots(state, list, extract.slots, extract.slot_count);
}

static void
rewrite_lists(VacuumState *state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq list", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(context);

	for (uint32 list = 0; list < state->meta.list_count; list++)
	{
		ListUse *use = &state->lists[list];

		/* the tail is never full: leave one slot out of the account */
		if (use->is_dirty && use->live < FILL_MIN * WRVQ_BLOCK_ENTRIES * (use->slots - 1.0) + 1)
		{
			rewrite_list(state, list);
			MemoryContextReset(context);
		}
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}

/* ---------- the access method's two calls ---------- */

static void
begin_vacuum(VacuumState *state, IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	state->index = info->index;
	state->strategy = info->strategy;
	state->stats = stats != NULL ? stats : palloc0(sizeof(IndexBulkDeleteResult));
	WrvqReadMeta(info->index, &state->meta);
	if (state->meta.is_trained)
	{
		state->codebook = WrvqGetCodebook(info->index, &state->meta);
		state->lists = palloc_extended(sizeof(ListUse) * state->meta.list_count, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}
}

/* Live entries by the pass over the pages, and waiting rows. */
static void
count_tuples(VacuumState *state)
{
	uint64 *rows;

	state->stats->num_index_tuples = WrvqReadPending(state->index, &state->meta, &rows);
	for (uint32 list = 0; state->codebook != NULL && list < state->meta.list_count; list++)
		state->stats->num_index_tuples += (double) state->lists[list].live / state->meta.spill;
	state->stats->estimated_count = false;
}

IndexBulkDeleteResult *
wrvqbulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, IndexBulkDeleteCallback callback, void *state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq vacuum", ALLOCSET_DEFAULT_SIZES);
	VacuumState	  vacuum = {.callback = callback, .callback_state = state};
	MemoryContext caller;

	if (stats == NULL)
		stats = palloc0(sizeof(IndexBulkDeleteResult));
	caller = MemoryContextSwitchTo(context);

	/* waiting rows are not moved into lists while their identifiers are taken away */
	LockPage(info->index, WRVQ_META_BLOCK, ExclusiveLock);
	begin_vacuum(&vacuum, info, stats);
	stats->tuples_removed += WrvqRemovePending(info->index, is_dead, &vacuum);
	vacuum_pages(&vacuum);
	if (vacuum.codebook != NULL)
		rewrite_lists(&vacuum);
	count_tuples(&vacuum);
	UnlockPage(info->index, WRVQ_META_BLOCK, ExclusiveLock);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return stats;
}

IndexBulkDeleteResult *
wrvqvacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats)
{
	MemoryContext context, caller;
	Relation	  heap;

	/* ANALYZE writes nothing */
	if (info->analyze_only)
		return stats;
	context = AllocSetContextCreate(CurrentMemoryContext, "wrvq vacuum", ALLOCSET_DEFAULT_SIZES);
	if (stats == NULL)
	{
		VacuumState vacuum = {0};

		stats = palloc0(sizeof(IndexBulkDeleteResult));
		caller = MemoryContextSwitchTo(context);
		begin_vacuum(&vacuum, info, stats);
		vacuum_pages(&vacuum);
		count_tuples(&vacuum);
	}
	else
		caller = MemoryContextSwitchTo(context);
	heap = table_open(info->index->rd_index->indrelid, AccessShareLock);
	WrvqDrainPending(info->index, heap, WRVQ_TRAIN_ROWS, true);
	table_close(heap, AccessShareLock);
	IndexFreeSpaceMapVacuum(info->index);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return stats;
}
