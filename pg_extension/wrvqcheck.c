/*
 * wrvqcheck.c: wrvq_check(): does an index hold what README.md promises, and
 * what its table holds?  The first broken promise is an error.
 */
#include "wrvqcheck.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* ---------- memory ---------- */

static uint8 *
enlarge_flags(uint8 *flags, Size old_count, Size count)
{
	flags = WrvqResize(flags, count);
	memset(flags + old_count, 0, count - old_count);
	return flags;
}

/* Is there such a block?  Inserts may have added some since we looked. */
static bool
block_exists(CheckState *state, BlockNumber block)
{
	BlockNumber blocks;

	if (block < state->blocks)
		return true;
	blocks = RelationGetNumberOfBlocks(state->index);
	if (blocks > state->blocks)
	{
		Size slots = state->codebook == NULL ? 0 : state->codebook->slots_per_page;

		state->pages = enlarge_flags(state->pages, state->blocks, blocks);
		if (slots > 0)
			state->slots = enlarge_flags(state->slots, slots * state->blocks, slots * blocks);
		state->blocks = blocks;
	}
	return block < state->blocks;
}

/* ---------- entries ---------- */

/*
 * A row identifier and, in the low 16 bits, a fingerprint of what the index
 * says of the row: enough to tell a copy from a contradiction, and to compare
 * codes later, in 8 bytes a row.
 */
uint64
WrvqCheckEntryKey(const WrvqCodebook *codebook, uint64 row, uint32 list, const uint8 *entry)
{
	return row << 16 | (hash_combine(hash_bytes(entry, codebook->layout.entry_bytes), list) & 0xFFFF);
}

/* Raises unless the row identifier, met on this block, is one that the table can have. */
static void
check_row(CheckState *state, BlockNumber block, uint64 row)
{
	BlockNumber	 heap_block = (BlockNumber) (row >> 16);
	OffsetNumber offset = (OffsetNumber) (row & 0xFFFF);

	/* inserts may have extended the table since we looked */
	if (heap_block >= state->heap_blocks)
		state->heap_blocks = RelationGetNumberOfBlocks(state->heap);
	if (heap_block >= state->heap_blocks || offset == InvalidOffsetNumber || offset > MaxOffsetNumber)
		WrvqCorrupted(state->index, block, psprintf("the table has no row (%u,%u)", heap_block, offset));
}

/*
 * Raises if a code names no codeword of its level (scans use it as an index);
 * returns the sub-list.
 */
static uint32
check_codes(CheckState *state, WrvqSlotPointer at, const uint8 *entry)
{
	const wrvq_shape  *shape = &state->codebook->view.shape;
	const wrvq_layout *layout = &state->codebook->layout;
	const uint8		  *field = entry + (layout->constants_offset >= 0 ? sizeof(uint16) : 0);
	uint32			   sublist;

	for (int i = 1; i < shape->level_count; i++)
	{
		uint32 code = layout->code_bytes[i] == 1 ? field[0] : field[0] | field[1] << 8;

		if (shape->levels[i].kind == WRVQ_FLAT && code >= (uint32) shape->levels[i].codeword_count)
			WrvqCorrupted(state->index, at.block, psprintf("slot %u: level %d has no codeword %u", at.slot, i, code));
		field += layout->code_bytes[i] + sizeof(uint16);
	}
	SWIFT(sublist = wrvq_kernel.entry_sublist(shape, layout, entry));
	return sublist;
}

/* Checks an entry of a slot, whose page is locked, and notes its row. */
static void
check_entry(CheckState *state, WrvqSlotPointer at, const WrvqSlotHeader *slot, int position)
{
	uint64 row;
	uint32 sublist;

	SWIFT(row = wrvq_kernel.block_get(&state->codebook->layout, (const uint8 *) (slot + 1), position, state->entry));
	if (row == WRVQ_ROW_DEAD)
		return;
	check_row(state, at.block, row);
	sublist = check_codes(state, at, state->entry);
	if (sublist < slot->sublist_min || sublist > slot->sublist_max)
		WrvqCorrupted(state->index, at.block,
					  psprintf("slot %u: sub-list %u is outside of the slot's range %u to %u", at.slot, sublist,
							   slot->sublist_min, slot->sublist_max));
	WrvqCheckAddNumber(&state->keys, &state->key_count, &state->key_capacity,
					   WrvqCheckEntryKey(state->codebook, row, slot->list, state->entry));
}

/* ---------- every page, in physical order ---------- */

static void
check_posting_page(CheckState *state, BlockNumber block, Page page)
{
	const WrvqCodebook	 *codebook = state->codebook;
	const WrvqPageOpaque *opaque = WrvqPageGetOpaque(page);
	int					  used = 0;

	/* of a codebook that was forgotten when there were no rows */
	if (codebook == NULL)
	{
		state->orphan_pages++;
		return;
	}
	for (int i = 0; i < codebook->slots_per_page; i++)
	{
		WrvqSlotHeader *slot = WrvqGetSlot(codebook, page, i);

		if (slot->list == WRVQ_LIST_FREE)
			continue;
		used++;
		state->slots[(Size) block * codebook->slots_per_page + i] = IS_USED;
		if (slot->list >= state->meta.list_count)
			WrvqCorrupted(state->index, block, psprintf("slot %d: there is no list %u", i, slot->list));
		if (slot->stamp == 0 || slot->stamp > opaque->stamp)
			WrvqCorrupted(state->index, block,
						  psprintf("slot %d: its stamp %u is not one of the page, which is at %u", i, slot->stamp,
								   opaque->stamp));
		if (slot->count > WRVQ_BLOCK_ENTRIES)
			WrvqCorrupted(state->index, block, psprintf("slot %d: it claims %u entries", i, slot->count));
	}
	if (used != opaque->count)
		WrvqCorrupted(state->index, block,
					  psprintf("%d slots are in use, the page's count says %u", used, opaque->count));
}

static void
check_page(CheckState *state, BlockNumber block, Buffer buffer)
{
	Page page = BufferGetPage(buffer);

	switch (WrvqKindOfPage(state->index, buffer))
	{
		case WRVQ_PAGE_POSTING:
			check_posting_page(state, block, page);
			break;
		case WRVQ_PAGE_PENDING:
			state->pages[block] |= IS_USED;
			break;
		case WRVQ_PAGE_CODEBOOK:
		case WRVQ_PAGE_DIRECTORY:
			/* of a training that a crash cut short */
			if (!(state->pages[block] & IS_REACHED))
				state->orphan_pages++;
			break;
		default:
			WrvqCorrupted(state->index, block, "the page is of no kind that belongs there");
	}
}

/* Before the chains, so that what this sees and they do not reach is not just new. */
static void
check_pages(CheckState *state)
{
	BufferAccessStrategy strategy = GetAccessStrategy(BAS_BULKREAD);
	BlockNumber			 blocks = state->blocks;

	for (BlockNumber block = WRVQ_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer buffer = ReadBufferExtended(state->index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		/* a crash may leave a page that was added and never written */
		if (PageIsNew(BufferGetPage(buffer)))
			state->orphan_pages++;
		else
			check_page(state, block, buffer);
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	FreeAccessStrategy(strategy);
}

/* ---------- codebook and lists ---------- */

/* Raises unless these contiguous pages of the metapage's are inside the index. */
static void
check_extent(CheckState *state, const char *what, BlockNumber start, uint64 pages)
{
	if (start <= WRVQ_META_BLOCK || start + pages > state->blocks)
		WrvqCorrupted(state->index, WRVQ_META_BLOCK,
					  psprintf("its %s would be blocks %u and on, outside of the index", what, start));
	for (uint64 i = 0; i < pages; i++)
		state->pages[start + i] |= IS_REACHED;
}

/* Afresh, not from the cache, so that it is the pages that are checked. */
static void
check_codebook(CheckState *state)
{
	WrvqMetaData *meta = &state->meta;

	check_extent(state, "codebook", meta->codebook_start, (meta->image_bytes + WRVQ_PAGE_BYTES - 1) / WRVQ_PAGE_BYTES);
	check_extent(state, "directory", meta->directory_start,
				 (meta->list_count + WRVQ_LISTS_PER_PAGE - 1) / WRVQ_LISTS_PER_PAGE);
	state->codebook = WrvqReadCodebook(state->index, meta);
	state->entry = palloc(state->codebook->layout.entry_bytes + 1);
	state->slots = enlarge_flags(NULL, 0, (Size) state->blocks * state->codebook->slots_per_page);
}

static void
check_directory(CheckState *state)
{
	for (uint32 list = 0; list < state->meta.list_count; list += WRVQ_LISTS_PER_PAGE)
	{
		BlockNumber block = WrvqDirectoryBlock(&state->meta, list);
		Buffer		buffer = WrvqReadPage(state->index, block, WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);
		uint32		count = WrvqPageGetOpaque(BufferGetPage(buffer))->count;
		uint32		expected = Min(WRVQ_LISTS_PER_PAGE, state->meta.list_count - list);

		if (count != expected)
			WrvqCorrupted(state->index, block,
						  psprintf("%u lists belong there, the page's count says %u", expected, count));
		UnlockReleaseBuffer(buffer);
	}
}

/* Checks the slot that a list leads to from some block; returns where it goes on. */
static WrvqSlotPointer
check_slot(CheckState *state, uint32 list, BlockNumber from, WrvqSlotPointer at)
{
	const WrvqCodebook *codebook = state->codebook;
	Buffer				buffer;
	WrvqSlotHeader	   *slot;
	WrvqSlotPointer		next;
	uint8			   *flags;

	if (!block_exists(state, at.block))
		WrvqCorrupted(state->index, from, psprintf("list %u leads to block %u, outside of the index", list, at.block));
	buffer = WrvqReadPage(state->index, at.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_SHARE);
	if (!WrvqSlotIs(codebook, BufferGetPage(buffer), at, list))
		WrvqCorrupted(state->index, at.block,
					  psprintf("slot %u: list %u leads there, but it is not the slot that was meant", at.slot, list));
	flags = &state->slots[(Size) at.block * codebook->slots_per_page + at.slot];
	if (*flags & IS_REACHED)
		WrvqCorrupted(state->index, at.block, psprintf("slot %u: list %u comes there twice", at.slot, list));
	*flags |= IS_REACHED;

	slot = WrvqGetSlot(codebook, BufferGetPage(buffer), at.slot);
	for (int i = 0; i < slot->count; i++)
		check_entry(state, at, slot, i);
	next = slot->next;
	UnlockReleaseBuffer(buffer);
	return next;
}

/*
 * A list seems to end at this slot: raises unless the directory says so too.
 * Under the locks of both, in the order of an insert; if one came in between,
 * returns the slot that it added.
 */
static WrvqSlotPointer
check_end(CheckState *state, uint32 list, WrvqSlotPointer last)
{
	BlockNumber		block = WrvqDirectoryBlock(&state->meta, list);
	Buffer			directory = WrvqReadPage(state->index, block, WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);
	WrvqSlotPointer tail = WrvqDirectoryEntry(BufferGetPage(directory), list)->tail;
	Buffer			buffer = WrvqReadPage(state->index, last.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_SHARE);
	WrvqSlotPointer next = WrvqGetSlot(state->codebook, BufferGetPage(buffer), last.slot)->next;

	if (next.block == InvalidBlockNumber &&
		(tail.block != last.block || tail.slot != last.slot || tail.stamp != last.stamp))
		WrvqCorrupted(state->index, block,
					  psprintf("list %u ends in slot %u of block %u, its tail is said to be slot %u of block %u", list,
							   last.slot, last.block, tail.slot, tail.block));
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(directory);
	return next;
}

static void
check_list(CheckState *state, uint32 list)
{
	BlockNumber		from = WrvqDirectoryBlock(&state->meta, list);
	WrvqListEntry	lists;
	WrvqSlotPointer at;

	WrvqReadListEntry(state->index, &state->meta, list, &lists);
	if ((lists.head.block == InvalidBlockNumber) != (lists.tail.block == InvalidBlockNumber))
		WrvqCorrupted(state->index, from, psprintf("list %u has only one of head and tail", list));
	at = lists.head;
	while (at.block != InvalidBlockNumber)
	{
		WrvqSlotPointer next = check_slot(state, list, from, at);

		if (next.block == InvalidBlockNumber)
			next = check_end(state, list, at);
		from = at.block;
		at = next;
		CHECK_FOR_INTERRUPTS();
	}
}

static void
check_lists(CheckState *state)
{
	Size count;

	check_directory(state);
	for (uint32 list = 0; list < state->meta.list_count; list++)
	{
		check_list(state, list);
		CHECK_FOR_INTERRUPTS();
	}
	count = (Size) state->blocks * state->codebook->slots_per_page;
	for (Size i = 0; i < count; i++)
		state->orphan_slots += state->slots[i] == IS_USED;
}

/* ---------- pending rows ---------- */

/* Checks a page of the chain, reached from another one, and notes its rows; returns the next page. */
static BlockNumber
check_pending_page(CheckState *state, BlockNumber from, BlockNumber block)
{
	Buffer			 buffer;
	WrvqPageOpaque	*opaque;
	ItemPointerData *items;
	BlockNumber		 next;

	if (!block_exists(state, block))
		WrvqCorrupted(state->index, from, psprintf("block %u comes next, outside of the index", block));
	if (state->pages[block] & IS_REACHED)
		WrvqCorrupted(state->index, block, "the chain of pending pages comes there twice");
	state->pages[block] |= IS_REACHED;
	buffer = WrvqReadPage(state->index, block, WRVQ_PAGE_PENDING, BUFFER_LOCK_SHARE);
	opaque = WrvqPageGetOpaque(BufferGetPage(buffer));
	items = (ItemPointerData *) PageGetContents(BufferGetPage(buffer));
	if (opaque->count > WRVQ_PENDING_PER_PAGE)
		WrvqCorrupted(state->index, block, "a pending page claims more rows than it can hold");
	for (int i = 0; i < opaque->count; i++)
	{
		uint64 row = WrvqRowFromTid(&items[i]);

		check_row(state, block, row);
		WrvqCheckAddNumber(&state->pending, &state->pending_count, &state->pending_capacity, row);
	}
	next = opaque->next;
	UnlockReleaseBuffer(buffer);
	return next;
}

/* As check_end(), for the chain of pending pages and the metapage. */
static BlockNumber
check_pending_end(CheckState *state, BlockNumber last)
{
	Buffer		  meta_buffer = WrvqReadPage(state->index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_SHARE);
	WrvqMetaData *meta = WrvqPageGetMeta(BufferGetPage(meta_buffer));
	Buffer		  buffer = WrvqReadPage(state->index, last, WRVQ_PAGE_PENDING, BUFFER_LOCK_SHARE);
	BlockNumber	  next = WrvqPageGetOpaque(BufferGetPage(buffer))->next;

	if (next == InvalidBlockNumber && meta->pending_tail != last)
		WrvqCorrupted(state->index, WRVQ_META_BLOCK,
					  psprintf("pending pages end at block %u, not at block %u", last, meta->pending_tail));
	if (meta->pending_count < (uint64) state->pending_count)
		WrvqCorrupted(state->index, WRVQ_META_BLOCK, "more rows are pending than were ever added");
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(meta_buffer);
	return next;
}

static void
check_pending(CheckState *state)
{
	BlockNumber from = WRVQ_META_BLOCK, block;

	/* anew: the chain may have begun since */
	WrvqReadMeta(state->index, &state->meta);
	if ((state->meta.pending_head == InvalidBlockNumber) != (state->meta.pending_tail == InvalidBlockNumber))
		WrvqCorrupted(state->index, WRVQ_META_BLOCK, "its pending pages have only one of head and tail");
	block = state->meta.pending_head;
	while (block != InvalidBlockNumber)
	{
		BlockNumber next = check_pending_page(state, from, block);

		if (next == InvalidBlockNumber)
			next = check_pending_end(state, block);
		from = block;
		block = next;
		CHECK_FOR_INTERRUPTS();
	}
	/* one record makes a page and its link: no crash comes between them */
	for (block = 0; block < state->blocks; block++)
		if (state->pages[block] == IS_USED)
			WrvqCorrupted(state->index, block, "the chain of pending pages does not lead to this one");
}

/* ---------- the function ---------- */

static void
check_index(CheckState *state)
{
	/* pending rows are not moved into lists meanwhile; held no longer than the index is read */
	LockPage(state->index, WRVQ_META_BLOCK, ExclusiveLock);
	if (!block_exists(state, WRVQ_META_BLOCK))
		WrvqCorrupted(state->index, WRVQ_META_BLOCK, "the index has no pages");
	WrvqReadMeta(state->index, &state->meta);
	if (state->meta.metric != state->support->metric)
		WrvqCorrupted(state->index, WRVQ_META_BLOCK, "its metric is not that of the operator class");
	if (state->meta.is_trained)
		check_codebook(state);
	check_pages(state);
	if (state->meta.is_trained)
		check_lists(state);
	check_pending(state);
	UnlockPage(state->index, WRVQ_META_BLOCK, ExclusiveLock);
	WrvqCheckListedRows(state);
	WrvqCheckPendingRows(state);
}

/* What a crash may have left is no error, but worth knowing. */
static void
report(CheckState *state)
{
	elog(DEBUG1,
		 "wrvq check of \"%s\": " INT64_FORMAT " entries, " INT64_FORMAT " rows pending; " INT64_FORMAT
		 " encoded anew, " INT64_FORMAT " of them different",
		 RelationGetRelationName(state->index), state->entry_count, state->pending_count, state->sampled,
		 state->different);
	if (state->orphan_slots > 0 || state->orphan_pages > 0 || state->repeated_rows > 0)
		ereport(NOTICE, (errmsg("index \"%s\" is sound, but has " INT64_FORMAT " unused slots, " INT64_FORMAT
								" unused pages and " INT64_FORMAT " rows more than once",
								RelationGetRelationName(state->index), state->orphan_slots, state->orphan_pages,
								state->repeated_rows),
						 errdetail("A crash or a cancelled VACUUM leaves them.  They take space and change no answer."),
						 errhint("VACUUM the table to have slots and pages back.")));
}

static void
open_relations(CheckState *state, Oid index, LOCKMODE lock)
{
	state->index = WrvqOpenIndex(index, lock, WRVQ_MAY_MAINTAIN, &state->heap);
	if (!state->index->rd_index->indisvalid)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" is not valid: it was never finished", RelationGetRelationName(state->index))));
	/* a standby has no contents of it */
	if (RecoveryInProgress() && state->index->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot access temporary or unlogged relations during recovery")));
}

/* A snapshot that sees nothing of which the index need not know; before the index is read. */
static void
take_snapshot(CheckState *state)
{
	state->snapshot = RegisterSnapshot(GetTransactionSnapshot());
	if (IsolationUsesXactSnapshot() && state->index->rd_index->indcheckxmin &&
		!TransactionIdPrecedes(HeapTupleHeaderGetXmin(state->index->rd_indextuple->t_data), state->snapshot->xmin))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("index \"%s\" cannot be checked by a snapshot that is older than it",
							   RelationGetRelationName(state->index))));
}

PG_FUNCTION_INFO_V1(wrvq_check);
Datum
wrvq_check(PG_FUNCTION_ARGS)
{
	CheckState	  state = {0};
	LOCKMODE	  lock = RecoveryInProgress() ? AccessShareLock : ShareUpdateExclusiveLock;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq check", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller;
	WrvqCaller	  user;

	/* keeps VACUUM out and lets the others go on; a standby has no such lock: pause its replay instead */
	open_relations(&state, PG_GETARG_OID(0), lock);

	WrvqBeginAsOwner(state.heap, state.index, &user);
	caller = MemoryContextSwitchTo(context);
	state.row_context = AllocSetContextCreate(context, "wrvq check row", ALLOCSET_DEFAULT_SIZES);
	state.support = WrvqIndexSupport(state.index);
	take_snapshot(&state);
	check_index(&state);
	WrvqCheckTable(&state);
	report(&state);
	UnregisterSnapshot(state.snapshot);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	WrvqEndAsOwner(&user);
	relation_close(state.index, lock);
	table_close(state.heap, lock);
	PG_RETURN_VOID();
}
