/* wrvqrerank.c: the vectors of rows in the table, and their exact distance from a query. */
#include "wrvq.h"

#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/memutils.h"

struct WrvqReranker
{
	const WrvqSupport	*support;
	Relation			 index;
	Relation			 heap;
	BlockNumber			 heap_blocks; /* at least so many */
	FmgrInfo			*function;	  /* the operator's function; NULL: support->distance */
	Datum				 query;		  /* its right operand */
	IndexFetchTableData *fetch;
	TupleTableSlot		*slot;
	AttrNumber			 attribute; /* of a plain column; 0: an expression */
	IndexInfo			*info;		/* for an expression or a predicate */
	EState				*estate;
	MemoryContext		 row_context;
};

/* In the current memory context. */
WrvqReranker *
WrvqBeginRerank(Relation index, Relation heap, const WrvqSupport *support)
{
	WrvqReranker *reranker = palloc0(sizeof(WrvqReranker));

	reranker->support = support;
	reranker->index = index;
	reranker->heap = heap;
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

static bool
rerank_by_operator(WrvqReranker *reranker, uint64 row, Snapshot snapshot, double *distance)
{
	MemoryContext caller = MemoryContextSwitchTo(reranker->row_context);
	Datum		  value;
	bool		  found = fetch_value(reranker, row, snapshot, &value);

	if (found)
		*distance = DatumGetFloat8(FunctionCall2(reranker->function, value, reranker->query));
	MemoryContextSwitchTo(caller);
	return found;
}

/* The operator's own value for a row that the snapshot sees; false if it sees none. */
bool
WrvqRerank(WrvqReranker *reranker, uint64 row, Snapshot snapshot, const float *query, int dimensions, double *distance)
{
	const float *vector;
	int			 row_dimensions;

	if (reranker->function != NULL)
		return rerank_by_operator(reranker, row, snapshot, distance);
	if (!WrvqFetchVector(reranker, row, snapshot, &vector, &row_dimensions))
		return false;
	WrvqCheckDimensions(dimensions, row_dimensions);
	*distance = reranker->support->distance(vector, query, dimensions);
	return true;
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
