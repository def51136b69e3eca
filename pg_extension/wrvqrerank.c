/* wrvqrerank.c: the vectors of rows in the table, and their exact distance from a query. */
#include "wrvq.h"

#include "access/heapam.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/memutils.h"

struct WrvqReranker
{
	const WrvqSupport	*support;
	Relation			 index;
	Relation			 heap;
	BlockNumber			 heap_blocks; /* at least so many */
	bool				 is_heap;	  /* and no other access method's table */
	FmgrInfo			*function;	  /* the operator's function; NULL: support->distance */
	Datum				 query;		  /* its right operand */
	IndexFetchTableData *fetch;
	TupleTableSlot		*slot;
	AttrNumber			 attribute; /* of a plain column; 0: an expression */
	IndexInfo			*info;		/* for an expression or a predicate */
	EState				*estate;
	MemoryContext		 row_context;
	/* rows to rerank one after another, by the pages that they are on */
	const uint64  *rows;
	BlockNumber	  *blocks; /* [page_count] */
	int64		  *firsts; /* [page_count + 1] of each page: among the rows */
	int64		   page_count;
	int64		   page_number; /* of the row reranked last; -1: none yet */
	WrvqPageStream pages;
	WrvqReadAhead  ahead;
	Buffer		   buffer;
	HeapTupleData  tuple;
};

/* bytes of a row that are fetched into the processor's cache before their turn */
#define PREFETCHED_BYTES_MAX 4096

/* In the current memory context. */
WrvqReranker *
WrvqBeginRerank(Relation index, Relation heap, const WrvqSupport *support)
{
	WrvqReranker *reranker = palloc0(sizeof(WrvqReranker));

	reranker->support = support;
	reranker->index = index;
	reranker->heap = heap;
	reranker->is_heap = heap->rd_tableam == GetHeapamTableAmRoutine();
	reranker->slot = table_slot_create(heap, NULL);
	reranker->fetch = table_index_fetch_begin(heap);
	reranker->attribute = index->rd_index->indkey.values[0];
	reranker->row_context = AllocSetContextCreate(CurrentMemoryContext, "wrvq rerank row", ALLOCSET_DEFAULT_SIZES);
	if (reranker->attribute == 0)
	{
		reranker->info = BuildIndexInfo(index);
		reranker->estate = CreateExecutorState();
		GetPerTupleExprContext(reranker->estate)->ecxt_scantuple = reranker->slot;
	}
	return reranker;
}

/*
 * Takes distances from the operator's function.  Two libraries round sums of
 * single precision differently; rows must come in the order of the values that
 * a query shows.
 */
void
WrvqRerankByOperator(WrvqReranker *reranker, FmgrInfo *function, Datum query)
{
	/* with an fn_extra of its own, which goes with the scan's memory: a copied scan key would forget, not free it */
	reranker->function = palloc(sizeof(FmgrInfo));
	fmgr_info_copy(reranker->function, function, CurrentMemoryContext);
	reranker->query = query;
}

/* The indexed value of the row in the slot. */
static Datum
indexed_value(WrvqReranker *reranker, bool *isnull)
{
	Datum values[INDEX_MAX_KEYS];
	bool  nulls[INDEX_MAX_KEYS];

	if (reranker->attribute != 0)
		return slot_getattr(reranker->slot, reranker->attribute, isnull);
	ResetPerTupleExprContext(reranker->estate);
	FormIndexDatum(reranker->info, reranker->slot, reranker->estate, values, nulls);
	*isnull = nulls[0];
	return values[0];
}

/* Raises if the table has no such block; it does not shrink while somebody reads it. */
static void
check_heap_block(WrvqReranker *reranker, BlockNumber block)
{
	if (block < reranker->heap_blocks)
		return;
	reranker->heap_blocks = RelationGetNumberOfBlocks(reranker->heap);
	if (block >= reranker->heap_blocks)
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("index \"%s\" is corrupted: it leads to block %u of table \"%s\", which has %u",
							   RelationGetRelationName(reranker->index), block, RelationGetRelationName(reranker->heap),
							   reranker->heap_blocks),
						errhint("wrvq_check() tells which block of the index. REINDEX it.")));
}

/*
 * The indexed value of a row that the snapshot sees, borrowed until the next
 * call; false if it sees none.  HOT chains are followed as an index scan does.
 */
static bool
fetch_value(WrvqReranker *reranker, uint64 row, Snapshot snapshot, Datum *value)
{
	ItemPointerData tid;
	bool			call_again = false, isnull;

	WrvqTidFromRow(row, &tid);
	if (!ItemPointerIsValid(&tid))
		return false;
	check_heap_block(reranker, ItemPointerGetBlockNumber(&tid));
	if (!table_index_fetch_tuple(reranker->fetch, &tid, snapshot, reranker->slot, &call_again, NULL))
		return false;
	MemoryContextReset(reranker->row_context);
	*value = indexed_value(reranker, &isnull);
	return !isnull;
}

/* The vector of a row that the snapshot sees, borrowed until the next call; false if it sees none. */
bool
WrvqFetchVector(WrvqReranker *reranker, uint64 row, Snapshot snapshot, const float **vector, int *dimensions)
{
	MemoryContext caller = MemoryContextSwitchTo(reranker->row_context);
	Datum		  value;
	bool		  found = fetch_value(reranker, row, snapshot, &value);

	if (found)
		*vector = reranker->support->vector(value, dimensions);
	MemoryContextSwitchTo(caller);
	return found;
}

/* The codebook that a row that the snapshot sees is a code of; 0 if it sees none, or rows are no codes. */
uint64
WrvqFetchCodebook(WrvqReranker *reranker, uint64 row, Snapshot snapshot)
{
	MemoryContext caller = MemoryContextSwitchTo(reranker->row_context);
	uint64		  codebook = 0;
	Datum		  value;

	if (reranker->support->codebook != NULL && fetch_value(reranker, row, snapshot, &value))
		codebook = reranker->support->codebook(value);
	MemoryContextSwitchTo(caller);
	return codebook;
}

/*
 * What rows[count], in order of position, are reranked by: until WrvqEndRows()
 * the pages of a heap are read in sequence, some of them pinned ahead.
 */
void
WrvqBeginRows(WrvqReranker *reranker, const uint64 *rows, int64 count)
{
	int64 pages = 0;

	reranker->rows = rows;
	reranker->blocks = palloc_extended(sizeof(BlockNumber) * Max(count, 1), MCXT_ALLOC_HUGE);
	reranker->firsts = palloc_extended(sizeof(int64) * (count + 1), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < count; i++)
	{
		BlockNumber block = WrvqBlockFromRow(rows[i]);

		if (pages > 0 && reranker->blocks[pages - 1] == block)
			continue;
		check_heap_block(reranker, block);
		reranker->blocks[pages] = block;
		reranker->firsts[pages++] = i;
	}
	reranker->firsts[pages] = count;
	reranker->page_count = pages;
	reranker->page_number = -1;
	reranker->buffer = InvalidBuffer;
	if (reranker->is_heap)
		WrvqBeginPages(&reranker->pages, reranker->heap, reranker->blocks, pages);
	else
		WrvqBeginReadAhead(&reranker->ahead, reranker->heap, reranker->blocks, pages);
}

void
WrvqEndRows(WrvqReranker *reranker)
{
	if (reranker->is_heap)
		WrvqEndPages(&reranker->pages);
	if (BufferIsValid(reranker->buffer))
		ReleaseBuffer(reranker->buffer);
	pfree(reranker->blocks);
	pfree(reranker->firsts);
}

/* Where the first row on a page ahead is looked up there; NULL: nowhere. */
static inline ItemId
item_ahead(const WrvqReranker *reranker, int distance)
{
	Page		 page = WrvqPageAhead(&reranker->pages, distance);
	OffsetNumber offset;

	if (page == NULL)
		return NULL;
	offset = WrvqOffsetFromRow(reranker->rows[reranker->firsts[reranker->page_number + distance]]);
	return offset < FirstOffsetNumber || offset > MaxHeapTuplesPerPage ? NULL : PageGetItemId(page, offset);
}

/*
 * Has the processor fetch the line pointer of one page ahead, and the row
 * itself of a nearer one. The pointer is read without a lock: if it is just
 * being changed, something else is fetched.
 */
static void
prefetch_rows(const WrvqReranker *reranker)
{
	ItemId item = item_ahead(reranker, WRVQ_PAGES_PINNED);

	if (item != NULL)
		__builtin_prefetch(item);
	item = item_ahead(reranker, WRVQ_PAGES_PINNED / 2);
	if (item != NULL)
	{
		const char *row = (char *) WrvqPageAhead(&reranker->pages, WRVQ_PAGES_PINNED / 2) + ItemIdGetOffset(item);

		for (int at = 0; at < Min(ItemIdGetLength(item), PREFETCHED_BYTES_MAX); at += WRVQ_CACHE_LINE_BYTES)
			__builtin_prefetch(row + at);
	}
}

/* The indexed value of a row of a heap; otherwise as fetch_value(). */
static bool
fetch_value_ahead(WrvqReranker *reranker, int64 i, Snapshot snapshot, Datum *value)
{
	ItemPointerData tid;
	bool			found, isnull;

	if (reranker->page_number < 0 || i >= reranker->firsts[reranker->page_number + 1])
	{
		reranker->page_number++;
		reranker->buffer = WrvqNextPage(&reranker->pages, reranker->buffer);
		prefetch_rows(reranker);
	}
	WrvqTidFromRow(reranker->rows[i], &tid);
	LockBuffer(reranker->buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&tid, reranker->heap, reranker->buffer, snapshot, &reranker->tuple, NULL, true);
	LockBuffer(reranker->buffer, BUFFER_LOCK_UNLOCK);
	if (!found)
		return false;
	MemoryContextReset(reranker->row_context);
	if (reranker->attribute != 0)
		*value = heap_getattr(&reranker->tuple, reranker->attribute, RelationGetDescr(reranker->heap), &isnull);
	else
	{
		ExecStoreBufferHeapTuple(&reranker->tuple, reranker->slot, reranker->buffer);
		*value = indexed_value(reranker, &isnull);
	}
	return !isnull;
}

static bool
fetch_row(WrvqReranker *reranker, int64 i, Snapshot snapshot, Datum *value)
{
	if (reranker->is_heap)
		return fetch_value_ahead(reranker, i, snapshot, value);
	if (reranker->page_number < 0 || i >= reranker->firsts[reranker->page_number + 1])
		WrvqReadAheadAt(&reranker->ahead, ++reranker->page_number);
	return fetch_value(reranker, reranker->rows[i], snapshot, value);
}

static double
distance_from(WrvqReranker *reranker, Datum value, const float *query, int dimensions)
{
	const float *vector;
	int			 row_dimensions;

	if (reranker->function != NULL)
		return DatumGetFloat8(FunctionCall2(reranker->function, value, reranker->query));
	vector = reranker->support->vector(value, &row_dimensions);
	WrvqCheckDimensions(dimensions, row_dimensions);
	return reranker->support->distance(vector, query, dimensions);
}

/* The operator's own value for the i-th of the rows; false if the snapshot does not see it. */
bool
WrvqRerank(WrvqReranker *reranker, int64 i, Snapshot snapshot, const float *query, int dimensions, double *distance)
{
	MemoryContext caller = MemoryContextSwitchTo(reranker->row_context);
	Datum		  value;
	bool		  found = fetch_row(reranker, i, snapshot, &value);

	if (found)
		*distance = distance_from(reranker, value, query, dimensions);
	MemoryContextSwitchTo(caller);
	return found;
}

void
WrvqEndRerank(WrvqReranker *reranker)
{
	table_index_fetch_end(reranker->fetch);
	ExecDropSingleTupleTableSlot(reranker->slot);
	if (reranker->estate != NULL)
		FreeExecutorState(reranker->estate);
	MemoryContextDelete(reranker->row_context);
	pfree(reranker);
}
