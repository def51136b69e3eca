/*
 * wrvqempty.c: an index that has no rows left takes vectors of any dimension
 * again, as a new one does.  VACUUM finds out that there are none; the next
 * INSERT decides: of the same dimensions, it goes on with codebook and lists;
 * of others, the index is untrained again.
 */
#include "wrvq.h"

#include "miscadmin.h"
#include "storage/freespace.h"

/* Raises unless a row has the dimensions of those that the index has. */
void
WrvqCheckRowDimensions(Relation index, int expected, int dimensions)
{
	const char *codebook = WrvqCodebookOption(index);

	if (expected == dimensions)
		return;
	ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION), errmsg("expected %d dimensions, not %d", expected, dimensions),
					errdetail("Index \"%s\" has vectors of %d dimensions, the new row's has %d.",
							  RelationGetRelationName(index), expected, dimensions),
					codebook != NULL
						? errhint("The index was made with codebook \"%s\", which tells the dimensions.", codebook)
						: errhint("If no row of %d dimensions is left, VACUUM the table while nobody else uses "
								  "it, and the index takes vectors of any dimension again.",
								  expected)));
}

/* Forgets the dimensions of an untrained index whose rows are all gone. */
void
WrvqForgetDimensions(Relation index)
{
	WrvqMetaData  meta;
	WrvqMetaData *current;
	Buffer		  buffer;
	uint64		 *rows;

	WrvqReadMeta(index, &meta);
	if (meta.is_trained || meta.dimensions == 0 || WrvqReadPending(index, &meta, &rows) > 0)
		return;
	buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	current = WrvqPageGetMeta(BufferGetPage(buffer));
	/* whoever has added a row since has counted it under this lock */
	if (!current->is_trained && current->pending_count == meta.pending_count)
	{
		GenericXLogState *xlog = GenericXLogStart(index);

		WrvqPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0))->dimensions = 0;
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(buffer);
}

static bool
has_live_entries(const WrvqCodebook *codebook, Page page)
{
	for (int i = 0; i < codebook->slots_per_page; i++)
	{
		const WrvqSlotHeader *slot = WrvqGetSlot(codebook, page, i);

		for (int j = 0; slot->list != WRVQ_LIST_FREE && j < Min(slot->count, WRVQ_BLOCK_ENTRIES); j++)
		{
			uint64 row;

			SWIFT(row = wrvq_kernel.block_row((const uint8 *) (slot + 1), j));
			if (row != WRVQ_ROW_DEAD)
				return true;
		}
	}
	return false;
}

/*
 * Notes in the metapage of a trained index that it has no rows, if that is so.
 * The caller has locked the index exclusively: an INSERT that has read the
 * metapage before would otherwise still add its row to a list.
 */
void
WrvqNoteEmpty(Relation index, const WrvqCodebook *codebook, BufferAccessStrategy strategy)
{
	BlockNumber		  blocks = RelationGetNumberOfBlocks(index);
	GenericXLogState *xlog;
	WrvqMetaData	  meta;
	uint64			 *rows;
	Buffer			  buffer;

	WrvqReadMeta(index, &meta);
	if (WrvqReadPending(index, &meta, &rows) > 0)
		return;
	for (BlockNumber block = WRVQ_META_BLOCK + 1; block < blocks; block++)
	{
		bool is_used;

		CHECK_FOR_INTERRUPTS();
		buffer = ReadBufferExtended(index, MAIN_FORKNUM, block, RBM_NORMAL, strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		is_used = !PageIsNew(BufferGetPage(buffer)) && WrvqKindOfPage(index, buffer) == WRVQ_PAGE_POSTING &&
				  has_live_entries(codebook, BufferGetPage(buffer));
		UnlockReleaseBuffer(buffer);
		if (is_used)
			return;
	}
	buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	xlog = GenericXLogStart(index);
	WrvqPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0))->is_empty = true;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
}

/* Makes the metadata those of an index that has never been trained; what it had on other pages is nobody's. */
static void
forget_codebook(WrvqMetaData *meta)
{
	meta->is_trained = false;
	meta->dimensions = 0;
	meta->list_count = 0;
	meta->codebook_start = meta->directory_start = InvalidBlockNumber;
	meta->image_bytes = meta->image_crc = 0;
	meta->loss = meta->build_entries = 0;
	meta->measured = 0;
	memset(meta->codebook_sha256, 0, sizeof(meta->codebook_sha256));
	memset(&meta->shape, 0, sizeof(meta->shape));
}

/* Before the first row is added to a trained index that was empty; reads the metadata anew. */
void
WrvqBeginFilling(Relation index, WrvqMetaData *meta, int dimensions)
{
	Buffer		  buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	WrvqMetaData *current = WrvqPageGetMeta(BufferGetPage(buffer));

	/* a stored codebook that the index was made for has its dimensions for good */
	if (current->is_empty && (current->dimensions == (uint32) dimensions || WrvqCodebookOption(index) == NULL))
	{
		GenericXLogState *xlog = GenericXLogStart(index);

		current = WrvqPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0));
		current->is_empty = false;
		if (current->dimensions != (uint32) dimensions)
			forget_codebook(current);
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(buffer);
	WrvqReadMeta(index, meta);
}

/*
 * Makes free slots, as a new codebook has them, of the posting pages of a
 * codebook that was forgotten: nothing leads to them, and their stamps go on.
 * Before the metapage leads to the new codebook.
 */
void
WrvqReclaimForgotten(Relation index, const WrvqCodebook *codebook)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);

	for (BlockNumber block = WRVQ_META_BLOCK + 1; block < blocks; block++)
	{
		Buffer buffer = ReadBuffer(index, block);

		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		if (!PageIsNew(BufferGetPage(buffer)) && WrvqKindOfPage(index, buffer) == WRVQ_PAGE_POSTING)
		{
			uint32			  stamp = WrvqPageGetOpaque(BufferGetPage(buffer))->stamp;
			GenericXLogState *xlog = GenericXLogStart(index);

			WrvqInitPostingPage(codebook, GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE), stamp);
			GenericXLogFinish(xlog);
			RecordPageWithFreeSpace(index, block, codebook->slots_per_page * codebook->slot_bytes);
		}
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
}
