/* wrvqinsert.c: INSERT: encode the row, append it to its list's tail. */
#include "wrvq.h"

#include "nodes/execnodes.h"
#include "utils/memutils.h"

/*
 * Adds an entry to a slot if it is the last one of its list and has room; the
 * page is exclusively locked.  One that leads on may be about to be freed by
 * VACUUM, which has copied its entries.
 */
static bool
append_to_slot(Relation index, const WrvqCodebook *codebook, Buffer buffer, WrvqSlotPointer tail, uint32 sublist,
			   ItemPointer tid, const uint8 *entry)
{
	const WrvqSlotHeader *slot = WrvqGetSlot(codebook, BufferGetPage(buffer), tail.slot);
	GenericXLogState	 *xlog;
	Page				  page;

	if (slot->next.block != InvalidBlockNumber || slot->count >= WRVQ_BLOCK_ENTRIES)
		return false;
	xlog = GenericXLogStart(index);
	page = GenericXLogRegisterBuffer(xlog, buffer, 0);
	WrvqPutEntry(codebook, WrvqGetSlot(codebook, page, tail.slot), sublist, tid, entry);
	GenericXLogFinish(xlog);
	return true;
}

/* The common case: the tail has room.  One page is locked, one WAL record written. */
static bool
append_to_tail(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, uint32 list, uint32 sublist,
			   ItemPointer tid, const uint8 *entry)
{
	WrvqListEntry lists;
	Buffer		  buffer;
	bool		  done;

	WrvqReadListEntry(index, meta, list, &lists);
	if (lists.tail.block == InvalidBlockNumber)
		return false;
	buffer = WrvqReadPage(index, lists.tail.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);
	/* vacuum may have moved the list, another insert its tail, since we looked */
	done = WrvqSlotIs(codebook, BufferGetPage(buffer), lists.tail, list) &&
		   append_to_slot(index, codebook, buffer, lists.tail, sublist, tid, entry);
	UnlockReleaseBuffer(buffer);
	return done;
}

/*
 * The tail is full, or the list has none: gives the list another slot that
 * starts with the entry.  Locks, in this order: directory page, tail page, page
 * of the new slot (without waiting).  One WAL record covers all three, so that
 * a crash leaves either all of it or nothing.
 */
static void
append_slot(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, uint32 list, uint32 sublist,
			ItemPointer tid, const uint8 *entry)
{
	Buffer directory = WrvqReadPage(index, WrvqDirectoryBlock(meta, list), WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
	WrvqSlotPointer	  tail = WrvqDirectoryEntry(BufferGetPage(directory), list)->tail, added;
	Buffer			  tail_buffer = InvalidBuffer, buffer = InvalidBuffer;
	GenericXLogState *xlog;
	Page			  page, tail_page = NULL;
	WrvqListEntry	 *lists;
	bool			  is_new = false;

	if (tail.block != InvalidBlockNumber)
	{
		tail_buffer = WrvqReadTail(index, codebook, list, tail);
		if (append_to_slot(index, codebook, tail_buffer, tail, sublist, tid, entry))
		{
			UnlockReleaseBuffer(tail_buffer);
			UnlockReleaseBuffer(directory);
			return;
		}
	}

	/* the tail's own page first: it is locked, and the list stays together */
	if (tail_buffer != InvalidBuffer && WrvqFreeSlot(codebook, BufferGetPage(tail_buffer)) >= 0)
		buffer = tail_buffer;
	else
		buffer = WrvqLockFreePage(index, codebook, &is_new);

	xlog = GenericXLogStart(index);
	lists = WrvqDirectoryEntry(GenericXLogRegisterBuffer(xlog, directory, 0), list);
	if (tail_buffer != InvalidBuffer)
		tail_page = GenericXLogRegisterBuffer(xlog, tail_buffer, 0);
	page = buffer == tail_buffer ? tail_page
								 : GenericXLogRegisterBuffer(xlog, buffer, is_new ? GENERIC_XLOG_FULL_IMAGE : 0);
	if (is_new)
		WrvqInitPostingPage(codebook, page, 0);
	added = WrvqUseSlot(codebook, page, BufferGetBlockNumber(buffer), WrvqFreeSlot(codebook, page), list);
	WrvqPutEntry(codebook, WrvqGetSlot(codebook, page, added.slot), sublist, tid, entry);
	if (tail_page != NULL)
		WrvqGetSlot(codebook, tail_page, tail.slot)->next = added;
	else
		lists->head = added;
	lists->tail = added;
	GenericXLogFinish(xlog);

	if (buffer != tail_buffer)
		UnlockReleaseBuffer(buffer);
	if (tail_buffer != InvalidBuffer)
		UnlockReleaseBuffer(tail_buffer);
	UnlockReleaseBuffer(directory);
}

/* Appends an encoded row to its list. */
void
WrvqInsertEntry(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, uint32 list, uint32 sublist,
				ItemPointer tid, const uint8 *entry)
{
	if (!append_to_tail(index, meta, codebook, list, sublist, tid, entry))
		append_slot(index, meta, codebook, list, sublist, tid, entry);
}

/* Appends all entries of an encoded batch, and empties it. */
void
WrvqInsertEncoded(Relation index, const WrvqMetaData *meta, WrvqEncoder *encoder)
{
	const WrvqCodebook *codebook = encoder->codebook;

	for (int i = 0; i < encoder->count * encoder->spill; i++)
		WrvqInsertEntry(index, meta, codebook, encoder->encoded[i].list, encoder->encoded[i].sublist,
						&encoder->tids[i % encoder->count], encoder->entries + (Size) i * codebook->layout.entry_bytes);
	encoder->count = 0;
}

/* Rows that this statement has added to the pending chain, with one more. */
static int64
count_for_statement(IndexInfo *info)
{
	if (info->ii_AmCache == NULL)
		info->ii_AmCache = MemoryContextAllocZero(info->ii_Context, sizeof(int64));
	return ++*(int64 *) info->ii_AmCache;
}

/*
 * Adds a row to an untrained index; false if it has been trained by now.
 *
 * A statement that brings enough rows to learn from itself trains in line: it
 * takes its time anyway, and nobody may see its rows yet, or ever.  Rows that
 * come a few a statement leave that to a background worker, or to VACUUM.  A
 * failed attempt, say for rows all rolled back, is repeated only after some more.
 */
static bool
insert_pending(Relation index, Relation heap, IndexInfo *info, const float *vector, int dimensions, ItemPointer tid)
{
	int64 waiting;

	WrvqCheckFinite(vector, dimensions);
	waiting = WrvqAddPending(index, tid, dimensions);
	if (waiting < 0)
		return false;
	if (count_for_statement(info) % WRVQ_TRAIN_ROWS_INSERT == 0 && WrvqCanActAsOwner(heap, index))
		WrvqDrainPending(index, heap, WRVQ_TRAIN_ROWS_INSERT, false);
	else if (waiting >= WRVQ_TRAIN_ROWS_INSERT && waiting % WRVQ_TRAIN_ROWS == 0)
		WrvqStartTrainer(index);
	return true;
}

static void
insert_vector(Relation index, Relation heap, IndexInfo *info, const float *vector, int dimensions, ItemPointer tid)
{
	WrvqMetaData  meta;
	WrvqCodebook *codebook;
	WrvqEncoder	 *encoder;

	WrvqReadMeta(index, &meta);
	if (meta.is_empty)
		WrvqBeginFilling(index, &meta, dimensions);
	if (!meta.is_trained)
	{
		if (insert_pending(index, heap, info, vector, dimensions, tid))
			return;
		WrvqReadMeta(index, &meta);
	}
	WrvqCheckRowDimensions(index, meta.dimensions, dimensions);
	codebook = WrvqGetCodebook(index, &meta);
	encoder = WrvqRowEncoder(codebook, meta.spill);
	WrvqAddVector(encoder, vector, tid);
	WrvqEncode(encoder);
	WrvqInsertEncoded(index, &meta, encoder);
}

bool
wrvqinsert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap, IndexUniqueCheck check,
		   bool unchanged, IndexInfo *info)
{
	const WrvqSupport *support;
	MemoryContext	   context, caller;
	const float		  *vector;
	int				   dimensions;

	if (isnull[0])
		return false;
	context = AllocSetContextCreate(CurrentMemoryContext, "wrvq insert", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	support = WrvqIndexSupport(index);
	vector = support->vector(values[0], &dimensions);
	if (WrvqIsIndexable(support, vector, dimensions))
		insert_vector(index, heap, info, vector, dimensions, tid);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return false;
}
