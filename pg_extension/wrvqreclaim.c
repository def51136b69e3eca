/*
 * wrvqreclaim.c: gives back what a crash, or a VACUUM that was cancelled, has
 * left: slots that no list leads to, pages that nothing was written to.
 * README.md tells where they come from and why taking them is safe.
 */
#include "wrvq.h"

#include "commands/vacuum.h"
#include "common/hashfn.h"
#include "storage/freespace.h"
#include "utils/memutils.h"

/* A slot in use of a list under suspicion. */
typedef struct UsedSlot
{
	uint32			list;
	uint32			live; /* entries */
	uint32			dead;
	WrvqSlotPointer at;
	bool			is_reached;
} UsedSlot;

typedef struct ReclaimState
{
	Relation			index;
	const WrvqMetaData *meta;
	const WrvqCodebook *codebook;
	WrvqListUse		   *lists;
	UsedSlot		   *slots; /* [slot_count] in order of list, block and slot */
	int64				slot_count;
	int64				slot_capacity;
} ReclaimState;

static uint64
hash_pointer(WrvqSlotPointer pointer)
{
	return hash_bytes_extended((const unsigned char *) &pointer, sizeof(pointer), 0);
}

/*
 * Enters a slot in use into the account of its list.  The directory or another
 * slot leads to each slot once, so that with the directory's heads all accounts
 * are at zero, unless there are slots that nothing leads to, or an insert added
 * some while the pages were read.
 */
void
WrvqBalanceSlot(WrvqListUse *lists, BlockNumber block, int number, const WrvqSlotHeader *slot)
{
	const WrvqSlotPointer at = {.block = block, .stamp = slot->stamp, .slot = number};

	lists[slot->list].balance += hash_pointer(at);
	if (slot->next.block != InvalidBlockNumber)
		lists[slot->list].balance -= hash_pointer(slot->next);
}

/* Closes the accounts with the heads of the lists; is any of them not at zero? */
static bool
close_accounts(ReclaimState *state)
{
	bool any = false;

	for (uint32 list = 0; list < state->meta->list_count;)
	{
		BlockNumber block = WrvqDirectoryBlock(state->meta, list);
		Buffer		buffer = WrvqReadPage(state->index, block, WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);

		for (; list < state->meta->list_count && WrvqDirectoryBlock(state->meta, list) == block; list++)
		{
			WrvqSlotPointer head = WrvqDirectoryEntry(BufferGetPage(buffer), list)->head;

			if (head.block != InvalidBlockNumber)
				state->lists[list].balance -= hash_pointer(head);
			any = any || state->lists[list].balance != 0;
		}
		UnlockReleaseBuffer(buffer);
	}
	return any;
}

static int
compare_slots(const void *a, const void *b)
{
	const UsedSlot *x = a, *y = b;

	if (x->list != y->list)
		return x->list < y->list ? -1 : 1;
	if (x->at.block != y->at.block)
		return x->at.block < y->at.block ? -1 : 1;
	return x->at.slot < y->at.slot ? -1 : x->at.slot > y->at.slot;
}

/* Notes that a slot is reached, if it is among those collected. */
static void
mark_reached(ReclaimState *state, uint32 list, WrvqSlotPointer at)
{
	const UsedSlot key = {.list = list, .at = at};
	UsedSlot	  *slot =
		 state->slot_count == 0 ? NULL : bsearch(&key, state->slots, state->slot_count, sizeof(UsedSlot), compare_slots);

	if (slot != NULL && slot->at.stamp == at.stamp)
		slot->is_reached = true;
}

/* Follows a list from its head and marks its slots; returns how many they are.  Only VACUUM, which we are, moves them. */
static int64
follow_list(ReclaimState *state, uint32 list)
{
	const WrvqCodebook *codebook = state->codebook;
	WrvqChain			chain = {0};
	WrvqListEntry		lists;
	WrvqSlotPointer		at;

	WrvqReadListEntry(state->index, state->meta, list, &lists);
	at = lists.head;
	while (at.block != InvalidBlockNumber)
	{
		Buffer buffer;

		WrvqVacuumDelay();
		buffer = WrvqReadPage(state->index, at.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_SHARE);
		if (!WrvqSlotIs(codebook, BufferGetPage(buffer), at, list))
			WrvqCorrupted(state->index, at.block, "a list leads to a block of another list");
		WrvqFollowChain(state->index, &chain, at.block, at.slot);
		mark_reached(state, list, at);
		at = WrvqGetSlot(codebook, BufferGetPage(buffer), at.slot)->next;
		UnlockReleaseBuffer(buffer);
	}
	return chain.steps;
}

static void
collect_slot(ReclaimState *state, BlockNumber block, int number, const WrvqSlotHeader *slot)
{
	UsedSlot *used;

	if (state->slot_count == state->slot_capacity)
	{
		state->slot_capacity = Max(1024, 2 * state->slot_capacity);
		state->slots = WrvqResize(state->slots, state->slot_capacity * sizeof(UsedSlot));
	}
	used = &state->slots[state->slot_count++];
	used->list = slot->list;
	used->live = used->dead = 0;
	used->at.block = block;
	used->at.stamp = slot->stamp;
	used->at.slot = number;
	used->is_reached = false;
	for (int i = 0; i < Min(slot->count, WRVQ_BLOCK_ENTRIES); i++)
	{
		uint64 row;

		SWIFT(row = wrvq_kernel.block_row((const uint8 *) (slot + 1), i));
		used->live += row != WRVQ_ROW_DEAD;
		used->dead += row == WRVQ_ROW_DEAD;
	}
}

/* Collects the slots in use of all lists that are under suspicion. */
static void
collect_slots(ReclaimState *state, BufferAccessStrategy strategy)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(state->index);

	for (BlockNumber block = WRVQ_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer buffer;
		Page   page;

		WrvqVacuumDelay();
		buffer = ReadBufferExtended(state->index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		page = BufferGetPage(buffer);
		if (!PageIsNew(page) && WrvqKindOfPage(state->index, buffer) == WRVQ_PAGE_POSTING)
			for (int i = 0; i < state->codebook->slots_per_page; i++)
			{
				const WrvqSlotHeader *slot = WrvqGetSlot(state->codebook, page, i);

				if (slot->list < state->meta->list_count && state->lists[slot->list].balance != 0)
					collect_slot(state, block, i, slot);
			}
		UnlockReleaseBuffer(buffer);
	}
	if (state->slot_count > 0)
		qsort(state->slots, state->slot_count, sizeof(UsedSlot), compare_slots);
}

/* Gives the slots of one list, [count], that were not reached back, and takes them off its account. */
static void
free_unreached(ReclaimState *state, uint32 list, const UsedSlot *slots, int64 count)
{
	WrvqSlotPointer *unreached = palloc_extended(sizeof(WrvqSlotPointer) * count, MCXT_ALLOC_HUGE);
	int				 unreached_count = 0;

	for (int64 i = 0; i < count; i++)
		if (!slots[i].is_reached)
		{
			unreached[unreached_count++] = slots[i].at;
			state->lists[list].slots--;
			state->lists[list].live -= Min(slots[i].live, state->lists[list].live);
			state->lists[list].dead -= Min(slots[i].dead, state->lists[list].dead);
		}
	WrvqFreeSlots(state->index, state->codebook, list, unreached, unreached_count);
	pfree(unreached);
}

/*
 * Frees the slots that no list leads to.  The accounts tell which lists to
 * look at; following these tells which have more slots than they lead to, and
 * only if there is one are the pages read again.  Slots collected then and not
 * reached afterwards were not reached before either: inserts only add at the
 * end, and link what they add in the same record.
 */
void
WrvqReclaimSlots(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, BufferAccessStrategy strategy,
				 WrvqListUse *lists)
{
	ReclaimState state = {.index = index, .meta = meta, .codebook = codebook, .lists = lists};
	bool		 any = false;

	if (!close_accounts(&state))
		return;
	for (uint32 list = 0; list < meta->list_count; list++)
	{
		if (lists[list].balance != 0 && follow_list(&state, list) >= lists[list].slots)
			lists[list].balance = 0;
		any = any || lists[list].balance != 0;
	}
	if (!any)
		return;
	collect_slots(&state, strategy);
	for (int64 i = 0, end; i < state.slot_count; i = end)
	{
		uint32 list = state.slots[i].list;

		for (end = i + 1; end < state.slot_count && state.slots[end].list == list;)
			end++;
		follow_list(&state, list);
		free_unreached(&state, list, state.slots + i, end - i);
	}
	if (state.slots != NULL)
		pfree(state.slots);
}

static bool
is_within(BlockNumber block, BlockNumber start, uint64 bytes)
{
	return block >= start && block < start + (bytes + WRVQ_PAGE_BYTES - 1) / WRVQ_PAGE_BYTES;
}

/* Is this one of the pages of the metapage's codebook and directory? */
bool
WrvqHasCodebookPage(const WrvqMetaData *meta, BlockNumber block)
{
	return is_within(block, meta->codebook_start, meta->image_bytes) ||
		   is_within(block, meta->directory_start,
					 WRVQ_PAGE_BYTES * ((meta->list_count + WRVQ_LISTS_PER_PAGE - 1) / WRVQ_LISTS_PER_PAGE));
}

/*
 * Is this page, locked, one that was added and never written, or one of a
 * codebook or directory that is not the metapage's?  A training that was cut
 * short has left it: nothing leads to it, nor ever did.
 */
bool
WrvqIsUnused(Relation index, const WrvqMetaData *meta, Buffer buffer)
{
	WrvqPageKind kind;

	if (PageIsNew(BufferGetPage(buffer)))
		return true;
	kind = WrvqKindOfPage(index, buffer);
	return (kind == WRVQ_PAGE_CODEBOOK || kind == WRVQ_PAGE_DIRECTORY) &&
		   !WrvqHasCodebookPage(meta, BufferGetBlockNumber(buffer));
}

/* Makes a page of free slots of an unused one, exclusively locked; the metapage is locked against training. */
void
WrvqReclaimPage(Relation index, const WrvqCodebook *codebook, Buffer buffer)
{
	GenericXLogState *xlog = GenericXLogStart(index);

	WrvqInitPostingPage(codebook, GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE), 0);
	GenericXLogFinish(xlog);
}
