/*
 * wrvqpending.c: rows that wait to be encoded, because the index has not seen
 * enough of them to learn a codebook.  Scans compare them exactly.
 */
#include "wrvq.h"

#include "catalog/index.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* The array of row identifiers of a pending page. */
static ItemPointerData *
pending_items(Page page)
{
	return (ItemPointerData *) PageGetContents(page);
}

/*
 * Adds a row to the pending chain and returns about how many wait; -1, and adds
 * none, if the index has been trained: a trained one's chain only gets shorter.
 * The metapage's lock serialises this: it only happens while an index is small.
 */
int64
WrvqAddPending(Relation index, ItemPointer tid, int dimensions)
{
	Buffer			  meta_buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	WrvqMetaData	 *meta = WrvqPageGetMeta(BufferGetPage(meta_buffer));
	Buffer			  tail = InvalidBuffer, buffer;
	GenericXLogState *xlog;
	Page			  page;
	WrvqPageOpaque	 *opaque;
	bool			  has_room = false;
	int64			  waiting;

	WrvqCheckMeta(index, meta);
	if (meta->is_trained)
	{
		UnlockReleaseBuffer(meta_buffer);
		return -1;
	}
	if (meta->dimensions != 0)
		WrvqCheckRowDimensions(index, meta->dimensions, dimensions);
	if (meta->pending_tail != InvalidBlockNumber)
	{
		tail = WrvqReadPage(index, meta->pending_tail, WRVQ_PAGE_PENDING, BUFFER_LOCK_EXCLUSIVE);
		has_room = WrvqPageGetOpaque(BufferGetPage(tail))->count < WRVQ_PENDING_PER_PAGE;
	}
	buffer = has_room ? tail : WrvqExtend(index);

	xlog = GenericXLogStart(index);
	meta = WrvqPageGetMeta(GenericXLogRegisterBuffer(xlog, meta_buffer, 0));
	page = GenericXLogRegisterBuffer(xlog, buffer, has_room ? 0 : GENERIC_XLOG_FULL_IMAGE);
	if (!has_room)
	{
		WrvqInitPage(page, WRVQ_PAGE_PENDING);
		memset(PageGetContents(page), 0, WRVQ_PAGE_BYTES);
		if (tail != InvalidBuffer)
			WrvqPageGetOpaque(GenericXLogRegisterBuffer(xlog, tail, 0))->next = BufferGetBlockNumber(buffer);
		else
			meta->pending_head = BufferGetBlockNumber(buffer);
		meta->pending_tail = BufferGetBlockNumber(buffer);
	}
	opaque = WrvqPageGetOpaque(page);
	pending_items(page)[opaque->count++] = *tid;
	meta->dimensions = dimensions;
	meta->pending_count++;
	waiting = meta->pending_count;
	GenericXLogFinish(xlog);

	if (tail != InvalidBuffer && tail != buffer)
		UnlockReleaseBuffer(tail);
	UnlockReleaseBuffer(buffer);
	UnlockReleaseBuffer(meta_buffer);
	return waiting;
}

/* All waiting rows, in order, in the current memory context. */
int64
WrvqReadPending(Relation index, const WrvqMetaData *meta, uint64 **rows)
{
	BlockNumber block = meta->pending_head;
	WrvqChain	chain = {0};
	int64		count = 0, capacity = 0;

	*rows = NULL;
	while (block != InvalidBlockNumber)
	{
		Buffer			buffer;
		WrvqPageOpaque *opaque;

		WrvqFollowChain(index, &chain, block, 0);
		buffer = WrvqReadPage(index, block, WRVQ_PAGE_PENDING, BUFFER_LOCK_SHARE);
		opaque = WrvqPageGetOpaque(BufferGetPage(buffer));
		if (opaque->count > WRVQ_PENDING_PER_PAGE)
			WrvqCorrupted(index, block, "a pending page claims more rows than it can hold");
		if (count + opaque->count > capacity)
		{
			capacity = Max(2 * capacity, count + (int64) WRVQ_PENDING_PER_PAGE);
			*rows = WrvqResize(*rows, capacity * sizeof(uint64));
		}
		for (int i = 0; i < opaque->count; i++)
			(*rows)[count++] = WrvqRowFromTid(&pending_items(BufferGetPage(buffer))[i]);
		block = opaque->next;
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	return count;
}

static int
compare_rows(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a, y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* Vectors of waiting rows that are not deleted, as many as a codebook wants to learn from. */
static int64
sample_pending(Relation index, WrvqReranker *reranker, const uint64 *rows, int64 count, int dimensions,
			   Snapshot snapshot, float **vectors)
{
	int64 capacity = Min(count, WrvqSampleRows(index, dimensions, count)), taken = 0;

	*vectors = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * dimensions * capacity);
	for (int64 i = 0; i < count && taken < capacity; i++)
	{
		const float *vector;
		int			 row_dimensions;

		/* evenly spread: take when the share taken falls behind the share seen */
		if (taken * count > i * capacity)
			continue;
		if (WrvqFetchVector(reranker, rows[i], snapshot, &vector, &row_dimensions))
		{
			WrvqCheckDimensions(dimensions, row_dimensions);
			if (!WrvqIsIndexable(WrvqIndexSupport(index), vector, dimensions))
				continue;
			memcpy(*vectors + taken++ * dimensions, vector, sizeof(float) * dimensions);
		}
		CHECK_FOR_INTERRUPTS();
	}
	return taken;
}

/* Codes may have come before their codebook, in a restore: nobody knew of how many dimensions they are. */
static void
learn_dimensions(WrvqReranker *reranker, WrvqMetaData *meta, const uint64 *rows, int64 count, Snapshot snapshot)
{
	for (int64 i = 0; i < count && meta->dimensions == 0; i++)
	{
		const float *vector;
		int			 dimensions;

		if (WrvqFetchVector(reranker, rows[i], snapshot, &vector, &dimensions))
			meta->dimensions = dimensions;
	}
}

/* The codebook that the rows are codes of, if it fits; NULL: it does not, or they are none. */
static WrvqCodebook *
adopt_codebook(Relation index, WrvqReranker *reranker, WrvqMetaData *meta, const uint64 *rows, int64 count,
			   Snapshot snapshot)
{
	uint64 codebook = 0;

	/* of a row that is still there */
	for (int64 i = 0; i < count && codebook == 0; i++)
		codebook = WrvqFetchCodebook(reranker, rows[i], snapshot);
	return WrvqAdoptCodebook(index, codebook, count, meta->codebook_sha256);
}

/* Trains or loads a codebook and makes it valid, with all lists empty. */
static bool
install_codebook(Relation index, WrvqReranker *reranker, WrvqMetaData *meta, const uint64 *rows, int64 count,
				 Snapshot snapshot)
{
	WrvqCodebook *codebook = NULL;
	Buffer		  buffer;
	WrvqMetaData *current;

	learn_dimensions(reranker, meta, rows, count, snapshot);
	if (WrvqCodebookOption(index) != NULL)
		codebook = WrvqLoadCodebook(index, meta->dimensions, meta->codebook_sha256);
	else if (WrvqIndexSupport(index)->codebook != NULL)
		codebook = adopt_codebook(index, reranker, meta, rows, count, snapshot);
	if (codebook == NULL)
	{
		float *vectors;
		int64  sampled = sample_pending(index, reranker, rows, count, meta->dimensions, snapshot, &vectors);

		if (sampled < Min(WRVQ_TRAIN_ROWS, WrvqSampleRows(index, meta->dimensions, count)))
			return false;
		codebook = WrvqPlanCodebook(index, vectors, sampled, meta->dimensions, count, false);
		WrvqTrain(codebook, vectors, sampled, NULL);
	}
	meta->build_id = pg_prng_uint64(&pg_global_prng_state);
	meta->build_entries = 0;
	meta->spill = WrvqSpill(index, codebook);

	elog(DEBUG1, "index \"%s\" has a codebook for " INT64_FORMAT " waiting rows", RelationGetRelationName(index),
		 count);

	/* codebook and directory are contiguous: nobody else may extend meanwhile */
	LockRelationForExtension(index, ExclusiveLock);
	WrvqStoreCodebook(index, meta, codebook);
	WrvqWriteDirectory(index, meta);
	UnlockRelationForExtension(index, ExclusiveLock);
	WrvqReclaimForgotten(index, codebook);

	/* inserts may have added to the pending chain since meta was read: keep what they wrote */
	buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	current = WrvqPageGetMeta(BufferGetPage(buffer));
	meta->pending_head = current->pending_head;
	meta->pending_tail = current->pending_tail;
	meta->pending_count = current->pending_count;
	meta->is_trained = true;
	meta->is_empty = false;
	{
		GenericXLogState *xlog = GenericXLogStart(index);

		*WrvqPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0)) = *meta;
		GenericXLogFinish(xlog);
	}
	UnlockReleaseBuffer(buffer);
	return true;
}

/* Encodes waiting rows and appends them to their lists; rows of deleted tuples stay for VACUUM. */
static void
encode_pending(Relation index, WrvqReranker *reranker, const WrvqMetaData *meta, uint64 *rows, int64 *count,
			   Snapshot snapshot)
{
	WrvqCodebook	  *codebook = WrvqGetCodebook(index, meta);
	WrvqEncoder		  *encoder = WrvqBeginEncoder(codebook, meta->spill, WRVQ_BATCH_ROWS);
	const WrvqSupport *support = WrvqIndexSupport(index);
	int64			   moved = 0;

	for (int64 i = 0; i < *count; i++)
	{
		const float *vector;
		int			 dimensions;

		if (WrvqFetchVector(reranker, rows[i], snapshot, &vector, &dimensions))
		{
			ItemPointerData tid;

			WrvqCheckDimensions(meta->dimensions, dimensions);
			WrvqTidFromRow(rows[i], &tid);
			/* codes that could not be read may turn out to be no vectors of an index */
			if (WrvqIsIndexable(support, vector, dimensions))
				WrvqAddVector(encoder, vector, &tid);
			rows[moved++] = rows[i];
		}
		if (encoder->count == encoder->capacity || (i == *count - 1 && encoder->count > 0))
		{
			WrvqEncode(encoder);
			WrvqInsertEncoded(index, meta, encoder);
		}
		CHECK_FOR_INTERRUPTS();
	}
	*count = moved;
}

/*
 * Removes rows of a pending page, locked, for which drop() says so; false if
 * there are some and the lock is not exclusive.
 */
static bool
remove_from_page(Relation index, Buffer buffer, bool (*drop)(uint64 row, void *state), void *state, bool is_exclusive,
				 int64 *removed)
{
	const WrvqPageOpaque *opaque = WrvqPageGetOpaque(BufferGetPage(buffer));
	ItemPointerData		  kept[WRVQ_PENDING_PER_PAGE];
	int					  count = 0;
	GenericXLogState	 *xlog;
	Page				  page;

	if (opaque->count > WRVQ_PENDING_PER_PAGE)
		WrvqCorrupted(index, BufferGetBlockNumber(buffer), "a pending page claims more rows than it can hold");
	for (int i = 0; i < opaque->count; i++)
	{
		ItemPointerData *item = &pending_items(BufferGetPage(buffer))[i];

		if (!drop(WrvqRowFromTid(item), state))
			kept[count++] = *item;
		else if (!is_exclusive)
			return false;
	}
	if (count == opaque->count)
		return true;
	*removed += opaque->count - count;
	xlog = GenericXLogStart(index);
	page = GenericXLogRegisterBuffer(xlog, buffer, 0);
	memcpy(pending_items(page), kept, count * sizeof(ItemPointerData));
	WrvqPageGetOpaque(page)->count = count;
	GenericXLogFinish(xlog);
	return true;
}

/*
 * Removes rows for which drop() says so from the pending chain, page by page.
 * An emptied chain keeps its pages: the next untrained rows use them.
 */
int64
WrvqRemovePending(Relation index, bool (*drop)(uint64 row, void *state), void *state)
{
	WrvqMetaData meta;
	WrvqChain	 chain = {0};
	BlockNumber	 block;
	int64		 removed = 0;

	WrvqReadMeta(index, &meta);
	block = meta.pending_head;
	while (block != InvalidBlockNumber)
	{
		Buffer buffer = WrvqReadPage(index, block, WRVQ_PAGE_PENDING, BUFFER_LOCK_SHARE);

		WrvqFollowChain(index, &chain, block, 0);
		if (!remove_from_page(index, buffer, drop, state, false, &removed))
		{
			LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
			LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
			WrvqCheckPage(index, buffer, WRVQ_PAGE_PENDING);
			remove_from_page(index, buffer, drop, state, true, &removed);
		}
		block = WrvqPageGetOpaque(BufferGetPage(buffer))->next;
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	return removed;
}

typedef struct SortedRows
{
	const uint64 *rows;
	int64		  count;
} SortedRows;

static bool
is_among(uint64 row, void *state)
{
	SortedRows *sorted = state;

	return bsearch(&row, sorted->rows, sorted->count, sizeof(uint64), compare_rows) != NULL;
}

/*
 * Encodes the waiting rows once threshold of them have come, training a
 * codebook first if there is none.  The lock on the metapage keeps VACUUM from
 * taking row identifiers away meanwhile; an insert does not wait for it.
 *
 * These rows came with other statements, and perhaps from other users, so they
 * are the table owner's business; where the index must not be evaluated as its
 * owner, they wait for a VACUUM.
 */
void
WrvqDrainPending(Relation index, Relation heap, int64 threshold, bool wait)
{
	WrvqMetaData  meta;
	SnapshotData  dirty;
	WrvqReranker *reranker;
	WrvqCaller	  user;
	SortedRows	  sorted;
	uint64		 *rows;
	int64		  count;
	bool		  has_trained = false;

	if (!WrvqCanActAsOwner(heap, index))
		return;
	if (wait)
		LockPage(index, WRVQ_META_BLOCK, ExclusiveLock);
	else if (!ConditionalLockPage(index, WRVQ_META_BLOCK, ExclusiveLock))
		return;
	InitDirtySnapshot(dirty);
	WrvqReadMeta(index, &meta);
	count = WrvqReadPending(index, &meta, &rows);
	if (count >= (meta.is_trained ? 1 : threshold))
	{
		WrvqBeginAsOwner(heap, index, &user);
		reranker = WrvqBeginRerank(index, heap, WrvqIndexSupport(index));
		has_trained = !meta.is_trained;
		if (meta.is_trained || install_codebook(index, reranker, &meta, rows, count, &dirty))
		{
			/* with those that came while it was trained; none does any more */
			count = WrvqReadPending(index, &meta, &rows);
			encode_pending(index, reranker, &meta, rows, &count, &dirty);
			qsort(rows, count, sizeof(uint64), compare_rows);
			sorted.rows = rows;
			sorted.count = count;
			WrvqRemovePending(index, is_among, &sorted);
		}
		WrvqEndRerank(reranker);
		WrvqEndAsOwner(&user);
	}
	UnlockPage(index, WRVQ_META_BLOCK, ExclusiveLock);
	/* VACUUM does so with all rows */
	if (has_trained && meta.is_trained && !wait)
		WrvqFollowTable(heap, index, count);
}
