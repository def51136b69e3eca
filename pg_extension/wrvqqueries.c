/*
 * wrvqqueries.c: what wrvq_recall() searches for.
 *
 * People search where rows are and where rows were: until VACUUM, entries of
 * deleted rows lie between a query and what it may find.  So queries are drawn
 * from the rows of the table and from those deleted since the index was made.
 */
#include "wrvq.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/transam.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

/* the same table gives the same queries */
#define QUERY_SEED 20261128

/* blocks looked at for each query wanted: more than one, as rows of one block came together and may be alike */
#define BLOCKS_PER_QUERY 2

typedef struct QuerySampler
{
	Relation		   heap;
	Relation		   index;
	const WrvqSupport *support;
	AttrNumber		   attribute;
	Snapshot		   snapshot;
	WrvqSample		  *sample;
	int64			   seen;
	pg_prng_state	   random;
	MemoryContext	   page_context;
} QuerySampler;

/* A row of a page that may become a query. */
typedef struct QueryRow
{
	OffsetNumber offset; /* that the index knows */
	bool		 is_visible;
	Datum		 value; /* a copy */
} QueryRow;

/*
 * Was it deleted when the index had it?  Then it is a vector like the others,
 * of which an older one, or one whose insertion failed, may be none.
 */
static bool
was_indexed(QuerySampler *sampler, HeapTupleHeader row)
{
	TransactionId made = HeapTupleHeaderGetXmin(sampler->index->rd_indextuple->t_data);
	TransactionId deleted = HeapTupleHeaderGetUpdateXid(row);

	if (HeapTupleHeaderIsHeapOnly(row) || HeapTupleHeaderIsHotUpdated(row) || !TransactionIdIsNormal(deleted) ||
		TransactionIdPrecedes(deleted, made))
		return false;
	return HeapTupleHeaderXminCommitted(row) || TransactionIdDidCommit(HeapTupleHeaderGetRawXmin(row));
}

/* Looks at a row of a share-locked page; false if it is none of ours. */
static bool
look_at_row(QuerySampler *sampler, Buffer buffer, HeapTuple tuple, OffsetNumber root, QueryRow *row)
{
	bool isnull;

	row->is_visible = HeapTupleSatisfiesVisibility(tuple, sampler->snapshot, buffer);
	if (!row->is_visible && !was_indexed(sampler, tuple->t_data))
		return false;
	row->value = heap_getattr(tuple, sampler->attribute, RelationGetDescr(sampler->heap), &isnull);
	/* what a deleted row has out of line may be gone already */
	if (isnull || (!row->is_visible && VARATT_IS_EXTERNAL(DatumGetPointer(row->value))))
		return false;
	row->value = PointerGetDatum(memcpy(palloc(VARSIZE_ANY(DatumGetPointer(row->value))), DatumGetPointer(row->value),
										VARSIZE_ANY(DatumGetPointer(row->value))));
	row->offset = root;
	return true;
}

/* All rows of a page that may become queries, in the page's memory. */
static int
read_page(QuerySampler *sampler, BlockNumber block, QueryRow *rows)
{
	Buffer		 buffer = ReadBuffer(sampler->heap, block);
	OffsetNumber roots[MaxHeapTuplesPerPage];
	int			 count = 0;
	Page		 page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	if (!PageIsNew(page))
	{
		heap_get_root_tuples(page, roots);
		for (OffsetNumber i = FirstOffsetNumber; i <= PageGetMaxOffsetNumber(page); i++)
		{
			ItemId		  item = PageGetItemId(page, i);
			HeapTupleData tuple = {.t_tableOid = RelationGetRelid(sampler->heap)};

			if (!ItemIdIsNormal(item))
				continue;
			tuple.t_data = (HeapTupleHeader) PageGetItem(page, item);
			tuple.t_len = ItemIdGetLength(item);
			ItemPointerSet(&tuple.t_self, block, i);
			count += look_at_row(sampler, buffer, &tuple, OffsetNumberIsValid(roots[i - 1]) ? roots[i - 1] : i,
								 &rows[count]);
		}
	}
	UnlockReleaseBuffer(buffer);
	return count;
}

/* Puts a row into the reservoir, or leaves it, all with the same chance. */
static void
add_row(QuerySampler *sampler, BlockNumber block, const QueryRow *row)
{
	WrvqSample	   *sample = sampler->sample;
	int64			at = sampler->seen < sample->capacity ? sampler->seen
														  : (int64) pg_prng_uint64_range(&sampler->random, 0, sampler->seen);
	int				dimensions;
	const float	   *vector;
	ItemPointerData tid;

	if (at >= sample->capacity)
	{
		sampler->seen++;
		return;
	}
	vector = sampler->support->vector(PointerGetDatum(PG_DETOAST_DATUM(row->value)), &dimensions);
	if (!WrvqIsIndexable(sampler->support, vector, dimensions) ||
		(!row->is_visible && sample->dimensions != 0 && dimensions != sample->dimensions))
		return;
	WrvqCheckFinite(vector, dimensions);
	if (sample->dimensions == 0)
	{
		sample->dimensions = dimensions;
		sample->vectors =
			MemoryContextAllocHuge(GetMemoryChunkContext(sample), sizeof(float) * dimensions * sample->capacity);
	}
	WrvqCheckDimensions(sample->dimensions, dimensions);
	memcpy(sample->vectors + at * dimensions, vector, sizeof(float) * dimensions);
	ItemPointerSet(&tid, block, row->offset);
	sample->row_ids[at] = WrvqRowFromTid(&tid);
	sampler->seen++;
	sample->rows = Min(sampler->seen, sample->capacity);
}

static void
add_page(QuerySampler *sampler, BlockNumber block)
{
	MemoryContext caller = MemoryContextSwitchTo(sampler->page_context);
	QueryRow	  rows[MaxHeapTuplesPerPage];
	int			  count = read_page(sampler, block, rows);

	for (int i = 0; i < count; i++)
		add_row(sampler, block, &rows[i]);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(sampler->page_context);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Draws queries, in the current memory context.  Of an expression or a part of
 * the table, or of rows that are no heap's, only those rows that are there: what
 * the index would make of a deleted one is not ours to ask.
 */
WrvqSample *
WrvqSampleQueries(Relation heap, Relation index, IndexInfo *info, Snapshot snapshot, int64 wanted)
{
	QuerySampler	 sampler = {.heap = heap,
								.index = index,
								.support = WrvqIndexSupport(index),
								.attribute = index->rd_index->indkey.values[0],
								.snapshot = snapshot};
	BlockNumber		 blocks = RelationGetNumberOfBlocks(heap);
	BlockSamplerData sampled;

	if (heap->rd_tableam != GetHeapamTableAmRoutine() || sampler.attribute == 0 || info->ii_Predicate != NIL)
		return WrvqSampleTable(heap, index, info, wanted);
	sampler.sample = palloc0(sizeof(WrvqSample));
	sampler.sample->capacity = wanted;
	sampler.sample->row_ids = palloc(sizeof(uint64) * wanted);
	sampler.page_context = AllocSetContextCreate(CurrentMemoryContext, "wrvq queries", ALLOCSET_DEFAULT_SIZES);
	pg_prng_seed(&sampler.random, QUERY_SEED);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, 2);
	BlockSampler_Init(&sampled, blocks, wanted * BLOCKS_PER_QUERY, QUERY_SEED);
	while (BlockSampler_HasMore(&sampled))
		add_page(&sampler, BlockSampler_Next(&sampled));
	/* a few rows in a table of many empty blocks */
	if (sampler.seen == 0)
		for (BlockNumber block = 0; block < blocks; block++)
			add_page(&sampler, block);
	MemoryContextDelete(sampler.page_context);
	return sampler.sample;
}
