/*
 * wrvqvacuum.c: VACUUM: marks dead entries, then rewrites only the lists that
 * have lost much.  README.md tells what every step leaves behind at a crash.
 */
#include "wrvq.h"

#include "access/table.h"
#include "commands/vacuum.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "storage/freespace.h"
#include "storage/indexfsm.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

/* a list is rewritten when it then takes no more than this share of its slots, or has no more of its entries */
#define REWRITTEN_SHARE_MAX 0.7

typedef struct VacuumState
{
	Relation				index;
	BufferAccessStrategy	strategy;
	WrvqMetaData			meta;
	WrvqCodebook		   *codebook; /* NULL: untrained */
	IndexBulkDeleteCallback callback; /* NULL: only count */
	void				   *callback_state;
	IndexBulkDeleteResult  *stats;
	double					removed; /* entries */
	WrvqListUse			   *lists;	 /* [lists] */
	WrvqFront				front;
	BlockNumber				front_capacity;
	BlockNumber				other_pages; /* that are no posting pages */
	BlockNumber				last_other;
	BlockNumber			   *empty; /* [empty_count] pages that were never written, or are damaged */
	BlockNumber				empty_count;
	BlockNumber				empty_capacity;
} VacuumState;

static bool
is_dead(uint64 row, void *argument)
{
	VacuumState	   *state = argument;
	ItemPointerData tid;

	WrvqTidFromRow(row, &tid);
	return state->callback(&tid, state->callback_state);
}

/* Finds entries of a slot that die now and counts the others; a bit per position. */
static uint32
find_dead(VacuumState *state, const WrvqSlotHeader *slot, uint32 *live, uint32 *dead)
{
	uint32 dying = 0;

	*live = *dead = 0;
	for (int i = 0; i < Min(slot->count, WRVQ_BLOCK_ENTRIES); i++)
	{
		uint64 row;

		SWIFT(row = wrvq_kernel.block_row((const uint8 *) (slot + 1), i));
		if (row == WRVQ_ROW_DEAD)
			(*dead)++;
		else if (state->callback != NULL && is_dead(row, state))
			dying |= (uint32) 1 << i;
		else
			(*live)++;
	}
	*dead += pg_popcount32(dying);
	return dying;
}

/* What VACUUM finds on a posting page. */
typedef struct PageUse
{
	struct
	{
		uint32 live;  /* entries */
		uint32 dead;  /* those that die now included */
		uint32 dying; /* a bit per position */
	} slots[WRVQ_PAGE_BYTES / sizeof(WrvqSlotHeader)];
} PageUse;

/* Looks a posting page through, which is locked; false as soon as an entry dies, unless all are wanted. */
static bool
examine_page(VacuumState *state, Buffer buffer, bool all, PageUse *use)
{
	for (int i = 0; i < state->codebook->slots_per_page; i++)
	{
		WrvqSlotHeader *slot = WrvqGetSlot(state->codebook, BufferGetPage(buffer), i);

		use->slots[i].dying = 0;
		if (slot->list == WRVQ_LIST_FREE)
			continue;
		if (slot->list >= state->meta.list_count)
			WrvqCorrupted(state->index, BufferGetBlockNumber(buffer), "a slot belongs to a list that does not exist");
		use->slots[i].dying = find_dead(state, slot, &use->slots[i].live, &use->slots[i].dead);
		if (use->slots[i].dying != 0 && !all)
			return false;
	}
	return true;
}

/* Adds what was found on a page, still locked, to what is known of its lists. */
static void
account_page(VacuumState *state, Buffer buffer, const PageUse *use)
{
	BlockNumber block = BufferGetBlockNumber(buffer);
	int			free_slots = 0;

	for (int i = 0; i < state->codebook->slots_per_page; i++)
	{
		const WrvqSlotHeader *slot = WrvqGetSlot(state->codebook, BufferGetPage(buffer), i);
		WrvqListUse			 *list;

		if (slot->list == WRVQ_LIST_FREE)
		{
			free_slots++;
			continue;
		}
		list = &state->lists[slot->list];
		list->slots++;
		list->live += use->slots[i].live;
		list->dead += use->slots[i].dead;
		list->last_block = block;
		WrvqBalanceSlot(state->lists, block, i, slot);
	}
	state->front.free_slots[block] = free_slots;
	RecordPageWithFreeSpace(state->index, block, free_slots * state->codebook->slot_bytes);
}

/* Marks the entries of a page, exclusively locked, that die now, in one WAL record. */
static void
mark_dead(VacuumState *state, Buffer buffer, const PageUse *use)
{
	GenericXLogState *xlog = NULL;
	Page			  page = NULL;

	for (int i = 0; i < state->codebook->slots_per_page; i++)
	{
		if (use->slots[i].dying == 0)
			continue;
		if (xlog == NULL)
		{
			xlog = GenericXLogStart(state->index);
			page = GenericXLogRegisterBuffer(xlog, buffer, 0);
		}
		for (int j = 0; j < WRVQ_BLOCK_ENTRIES; j++)
			if (use->slots[i].dying & (uint32) 1 << j)
			{
				SWIFT(
					wrvq_kernel.block_set_row((uint8 *) (WrvqGetSlot(state->codebook, page, i) + 1), j, WRVQ_ROW_DEAD));
				state->removed++;
			}
	}
	if (xlog != NULL)
		GenericXLogFinish(xlog);
}

/* Makes room for what is known of this page. */
static void
reserve_block(VacuumState *state, BlockNumber block)
{
	if (block >= state->front_capacity)
	{
		BlockNumber capacity = Max(block + 1024, state->front_capacity + state->front_capacity / 2);

		state->front.free_slots = WrvqResize(state->front.free_slots, capacity);
		state->front_capacity = capacity;
	}
	state->front.free_slots[block] = 0;
}

static void
note_empty(VacuumState *state, BlockNumber block)
{
	if (state->empty_count == state->empty_capacity)
	{
		state->empty_capacity = Max(64, 2 * state->empty_capacity);
		state->empty = WrvqResize(state->empty, sizeof(BlockNumber) * state->empty_capacity);
	}
	state->empty[state->empty_count++] = block;
}

/*
 * Visits a page, locked; false if there is something to write and the lock is
 * not exclusive: nothing has been counted then.
 */
static bool
vacuum_page(VacuumState *state, Buffer buffer, bool accept_empty, bool is_exclusive)
{
	BlockNumber block = BufferGetBlockNumber(buffer);
	PageUse		use;

	reserve_block(state, block);
	if (PageIsNew(BufferGetPage(buffer)) && !accept_empty)
	{
		note_empty(state, block);
		return true;
	}
	if (WrvqIsUnused(state->index, &state->meta, buffer))
	{
		if (!is_exclusive)
			return false;
		WrvqReclaimPage(state->index, state->codebook, buffer);
	}
	if (WrvqKindOfPage(state->index, buffer) != WRVQ_PAGE_POSTING)
	{
		state->other_pages++;
		state->last_other = block;
		return true;
	}
	if (!examine_page(state, buffer, is_exclusive, &use))
		return false;
	mark_dead(state, buffer, &use);
	account_page(state, buffer, &use);
	return true;
}

/* Under a share lock, and once more under an exclusive one if there is something to write. */
static void
visit_block(VacuumState *state, BlockNumber block, bool accept_empty)
{
	Buffer buffer;

	WrvqVacuumDelay();
	buffer = ReadBufferExtended(state->index, MAIN_FORKNUM, block, RBM_NORMAL, state->strategy);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!vacuum_page(state, buffer, accept_empty, false))
	{
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		vacuum_page(state, buffer, accept_empty, true);
	}
	UnlockReleaseBuffer(buffer);
}

/*
 * Visits every page in physical order, those added meanwhile included; then
 * gives back what nothing leads to.  Empty pages come last: one that a list
 * leads to is damage, which following the lists that lack slots finds.  An
 * untrained index has no entries, and pages of codebook and directory neither:
 * these are not read.
 */
static void
vacuum_pages(VacuumState *state)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(state->index);

	state->stats->num_pages = blocks;
	if (state->codebook == NULL)
		return;
	for (BlockNumber block = WRVQ_META_BLOCK + 1; block < blocks; block++)
	{
		if (WrvqHasCodebookPage(&state->meta, block))
		{
			reserve_block(state, block);
			state->other_pages++;
			state->last_other = block;
		}
		else
			visit_block(state, block, false);
		if (block == blocks - 1)
			blocks = RelationGetNumberOfBlocks(state->index);
	}
	state->stats->num_pages = blocks;
	state->stats->tuples_removed += state->removed / state->meta.spill;
	WrvqReclaimSlots(state->index, &state->meta, state->codebook, state->strategy, state->lists);
	for (BlockNumber i = 0; i < state->empty_count; i++)
		visit_block(state, state->empty[i], true);
}

/* Slots that the list takes once it is rewritten. */
static uint32
slots_needed(const WrvqListUse *use)
{
	return use->live == 0 ? 1 : (use->live - 1) / WRVQ_BLOCK_ENTRIES + 1;
}

/*
 * Has the list lost so much that it is to be rewritten?  Entries count, too:
 * two slots of which one and a half are dead would stay two for ever.  A list of
 * one slot costs hardly more than the marks did.  Entries that died in an
 * earlier VACUUM count as those of this one: it may not have come to its end.
 */
static bool
is_sparse(const WrvqListUse *use)
{
	if (use->dead == 0)
		return false;
	return use->slots == 1 || slots_needed(use) <= REWRITTEN_SHARE_MAX * use->slots ||
		   use->live <= REWRITTEN_SHARE_MAX * (use->live + use->dead);
}

/* Decides whether the index shrinks, by the slots that its lists will take. */
static void
plan_front(VacuumState *state)
{
	double slots = 0;

	for (uint32 list = 0; list < state->meta.list_count; list++)
	{
		const WrvqListUse *use = &state->lists[list];

		slots += is_sparse(use) ? slots_needed(use) : use->slots;
	}
	WrvqPlanFront(&state->front, (BlockNumber) state->stats->num_pages, state->other_pages + 1, state->last_other,
				  slots, state->codebook);
}

/*
 * Rewrites sparse lists, and if the index shrinks those that reach beyond what
 * it shrinks to.  The first ones find the front full still: they go again.
 */
static void
rewrite_lists(VacuumState *state)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq list", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller;
	bool		  again = false;

	if (state->codebook == NULL)
		return;
	plan_front(state);
	caller = MemoryContextSwitchTo(context);
	for (int round = 0; round == 0 || (round == 1 && again && state->front.blocks > 0); round++)
		for (uint32 list = 0; list < state->meta.list_count; list++)
		{
			WrvqListUse *use = &state->lists[list];
			bool is_behind = state->front.blocks > 0 && use->slots > 0 && use->last_block >= state->front.blocks;

			if (!is_behind && (round > 0 || !is_sparse(use)))
				continue;
			if (WrvqRewriteList(state->index, &state->meta, state->codebook, list, &state->front))
				use->last_block = 0;
			else
			{
				use->last_block = MaxBlockNumber;
				again = true;
			}
			MemoryContextReset(context);
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
		state->lists = palloc_extended(sizeof(WrvqListUse) * state->meta.list_count, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
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
	rewrite_lists(&vacuum);
	count_tuples(&vacuum);
	UnlockPage(info->index, WRVQ_META_BLOCK, ExclusiveLock);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return stats;
}

/* The last thing that VACUUM does here: on a standby the lock that it takes is held until VACUUM's commit is replayed. */
static void
truncate_index(IndexVacuumInfo *info, IndexBulkDeleteResult *stats, Relation heap)
{
	WrvqMetaData meta;

	WrvqReadMeta(info->index, &meta);
	if (meta.is_trained && WrvqMayTruncate(heap))
		stats->num_pages = WrvqTruncate(info->index, WrvqGetCodebook(info->index, &meta), info->strategy,
										stats->num_index_tuples == 0 && !meta.is_empty);
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
		LockPage(info->index, WRVQ_META_BLOCK, ExclusiveLock);
		begin_vacuum(&vacuum, info, stats);
		vacuum_pages(&vacuum);
		rewrite_lists(&vacuum);
		count_tuples(&vacuum);
		UnlockPage(info->index, WRVQ_META_BLOCK, ExclusiveLock);
	}
	else
		caller = MemoryContextSwitchTo(context);
	heap = table_open(info->index->rd_index->indrelid, AccessShareLock);
	WrvqDrainPending(info->index, heap, WRVQ_TRAIN_ROWS, true);
	WrvqForgetDimensions(info->index);
	WrvqFollowTable(heap, info->index, stats->num_index_tuples);
	IndexFreeSpaceMapVacuum(info->index);
	truncate_index(info, stats, heap);
	table_close(heap, AccessShareLock);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return stats;
}
