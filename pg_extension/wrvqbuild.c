/* wrvqbuild.c: CREATE INDEX: sample, train, encode, sort, write. */
#include "wrvq.h"

#include "access/htup_details.h"
#include "catalog/index.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

/* rows drawn to measure an index with whose codebook is given */
#define CALIBRATION_ROWS 128

typedef struct BuildState
{
	Relation		   heap;
	Relation		   index;
	IndexInfo		  *info;
	const WrvqSupport *support;
	WrvqMetaData	   meta;
	WrvqCodebook	  *codebook; /* NULL: untrained */
	WrvqEncoder		  *encoder;
	WrvqCalibration	  *calibration;
	void			  *statistics;
	Tuplesortstate	  *sort;
	TupleTableSlot	  *sort_slot;
	MemoryContext	   row_context;
	double			   entries;
	double			   loss;
} BuildState;

/*
 * The order of entries on pages: by list and sub-list, then by position in the
 * table, so that a scan's candidates come in long runs of heap pages.
 */
static int64
sort_key(const wrvq_encoded *encoded, ItemPointer tid)
{
	return (int64) encoded->list << 40 | (int64) encoded->sublist << 32 | ItemPointerGetBlockNumber(tid);
}

/* Encodes the batch and hands it to the sort. */
static void
flush_batch(BuildState *state)
{
	WrvqEncoder *encoder = state->encoder;
	Size		 entry_bytes = state->codebook->layout.entry_bytes;
	Size		 payload_bytes = sizeof(ItemPointerData) + entry_bytes;
	bytea		*payload = palloc(VARHDRSZ + payload_bytes);
	int			 entries = encoder->count * encoder->spill;

	if (encoder->count == 0)
		return;
	WrvqEncode(encoder);
	SWIFT(wrvq_kernel.statistics_add(&state->codebook->view, &state->codebook->layout, state->statistics,
									 encoder->encoded, encoder->entries, entries));
	SET_VARSIZE(payload, VARHDRSZ + payload_bytes);
	for (int i = 0; i < entries; i++)
	{
		TupleTableSlot *slot = state->sort_slot;
		ItemPointer		tid = &encoder->tids[i % encoder->count];

		memcpy(VARDATA(payload), tid, sizeof(ItemPointerData));
		memcpy(VARDATA(payload) + sizeof(ItemPointerData), encoder->entries + i * entry_bytes, entry_bytes);
		ExecClearTuple(slot);
		slot->tts_values[0] = Int64GetDatum(sort_key(&encoder->encoded[i], tid));
		slot->tts_values[1] = PointerGetDatum(payload);
		slot->tts_isnull[0] = slot->tts_isnull[1] = false;
		ExecStoreVirtualTuple(slot);
		tuplesort_puttupleslot(state->sort, slot);
		state->loss += i < encoder->count ? encoder->encoded[i].loss : 0;
	}
	WrvqCalibrate(state->calibration, encoder);
	state->entries += encoder->count;
	encoder->count = 0;
	pfree(payload);
}

static void
build_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	BuildState	 *state = argument;
	MemoryContext caller;
	const float	 *vector;
	int			  dimensions;

	if (isnull[0])
		return;
	caller = MemoryContextSwitchTo(state->row_context);
	vector = state->support->vector(values[0], &dimensions);
	WrvqCheckDimensions(state->meta.dimensions, dimensions);
	WrvqCheckFinite(vector, dimensions);
	if (WrvqIsIndexable(state->support, vector, dimensions))
	{
		WrvqAddVector(state->encoder, vector, tid);
		if (state->encoder->count == state->encoder->capacity)
			flush_batch(state);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->row_context);
}

static void
begin_sort(BuildState *state)
{
	TupleDesc  descriptor = CreateTemplateTupleDesc(2);
	AttrNumber attribute = 1;
	Oid		   operator= Int8LessOperator, collation = InvalidOid;
	bool	   nulls_first = false;

	TupleDescInitEntry(descriptor, 1, "key", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, 2, "payload", BYTEAOID, -1, 0);
	state->sort = tuplesort_begin_heap(descriptor, 1, &attribute, &operator, & collation, &nulls_first,
									   maintenance_work_mem, NULL, TUPLESORT_NONE);
	state->sort_slot = MakeSingleTupleTableSlot(descriptor, &TTSOpsVirtual);
}

static void
write_entries(BuildState *state, WrvqWriter *writer)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(state->sort_slot->tts_tupleDescriptor, &TTSOpsMinimalTuple);
	int64			done = 0;

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, 6);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, (int64) state->entries);
	while (tuplesort_gettupleslot(state->sort, true, false, slot, NULL))
	{
		bool			isnull;
		int64			key = DatumGetInt64(slot_getattr(slot, 1, &isnull));
		bytea		   *payload = DatumGetByteaPP(slot_getattr(slot, 2, &isnull));
		ItemPointerData tid;

		memcpy(&tid, VARDATA_ANY(payload), sizeof(ItemPointerData));
		WrvqWriteEntry(writer, (uint32) (key >> 40), (uint32) (key >> 32) & 0xFF, &tid,
					   (uint8 *) VARDATA_ANY(payload) + sizeof(ItemPointerData));
		if (++done % 1024 == 0)
			pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, done);
	}
	ExecDropSingleTupleTableSlot(slot);
}

/* Encodes every row and writes lists and directory. */
static double
build_trained(BuildState *state)
{
	double		heap_tuples;
	int64		statistics_bytes;
	WrvqWriter *writer;

	SWIFT(statistics_bytes = wrvq_kernel.statistics_bytes(&state->codebook->view));
	state->statistics = palloc_extended(statistics_bytes, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	state->meta.spill = WrvqSpill(state->index, state->codebook);
	state->encoder = WrvqBeginEncoder(state->codebook, state->meta.spill, WRVQ_BATCH_ROWS);
	state->meta.dimensions = state->codebook->view.shape.dimensions;
	WrvqBeginCalibration(state->calibration, state->codebook);
	begin_sort(state);

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, 4);
	heap_tuples =
		table_index_build_scan(state->heap, state->index, state->info, true, true, build_callback, state, NULL);
	flush_batch(state);
	if (state->entries > 0)
	{
		SWIFT(wrvq_kernel.image_set_statistics(&state->codebook->view, state->statistics));
		state->meta.list_count = state->codebook->view.shape.levels[0].codeword_count;
		WrvqEndCalibration(state->calibration, &state->meta);
	}

	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, 5);
	tuplesort_performsort(state->sort);

	WrvqStoreCodebook(state->index, &state->meta, state->codebook);
	writer = WrvqBeginWriter(state->index, state->codebook);
	write_entries(state, writer);
	WrvqEndWriter(writer);
	WrvqWriteDirectory(state->index, &state->meta, WrvqWrittenLists(writer));
	tuplesort_end(state->sort);

	state->meta.is_trained = true;
	state->meta.build_entries = state->entries * state->meta.spill;
	state->meta.loss = state->entries > 0 ? state->loss / state->entries : 0;
	WrvqWriteMeta(state->index, &state->meta);
	return heap_tuples;
}

/* Too few rows to learn from: they wait, unencoded, and are compared exactly. */
static void
pending_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	BuildState	*state = argument;
	const float *vector;
	int			 dimensions;

	if (isnull[0])
		return;
	vector = state->support->vector(values[0], &dimensions);
	WrvqCheckFinite(vector, dimensions);
	if (!WrvqIsIndexable(state->support, vector, dimensions))
		return;
	WrvqAddPending(index, tid, dimensions);
	state->entries++;
}

/* The first rows tell whether a stored codebook fits the table at all. */
static void
check_codebook_dimensions(BuildState *state, const WrvqCodebook *codebook, int dimensions)
{
	if (dimensions != codebook->view.shape.dimensions)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("codebook \"%s\" has %d dimensions, the indexed vectors have %d",
							   WrvqCodebookOption(state->index), codebook->view.shape.dimensions, dimensions)));
}

/*
 * A parallel pg_restore may create an index before it has loaded the codebooks:
 * it orders an index behind the data of its own table only.  What pg_dump
 * writes and pg_restore says in every session is check_function_bodies = off.
 */
static bool
is_restoring(void)
{
	return IsBinaryUpgrade || !check_function_bodies;
}

/* The stored codebook if one is named, else one trained on a sample; NULL if there is too little. */
static WrvqCodebook *
choose_codebook(BuildState *state)
{
	WrvqOptions	 *options = WrvqGetOptions(state->index);
	bool		  has_lists = options != NULL && options->lists > 0;
	WrvqSample	 *sample;
	WrvqCodebook *codebook = NULL;

	if (WrvqCodebookOption(state->index) != NULL)
		codebook = WrvqLoadCodebook(state->index, 0, state->meta.codebook_sha256);
	/* a ready codebook needs only some rows to measure the index with */
	sample = WrvqSampleTable(state->heap, state->index, state->info, codebook != NULL ? CALIBRATION_ROWS : 0);
	if (codebook != NULL && sample->rows > 0)
		check_codebook_dimensions(state, codebook, sample->dimensions);
	if (WrvqCodebookOption(state->index) != NULL && codebook == NULL)
		WrvqReportNoCodebook(state->index, sample->rows > 0 && !is_restoring() ? ERROR : WARNING);
	state->calibration = WrvqNewCalibration(sample);
	if (codebook == NULL && (sample->rows >= WRVQ_TRAIN_ROWS || (has_lists && sample->rows > 0)))
		codebook = WrvqTrain(state->index, sample->vectors, sample->rows, sample->dimensions, sample->total_rows);
	if (sample->vectors != NULL)
		pfree(sample->vectors);
	return codebook;
}

IndexBuildResult *
wrvqbuild(Relation heap, Relation index, IndexInfo *info)
{
	BuildState		  state = {.heap = heap, .index = index, .info = info, .support = WrvqIndexSupport(index)};
	MemoryContext	  context = AllocSetContextCreate(CurrentMemoryContext, "wrvq build", ALLOCSET_DEFAULT_SIZES);
	MemoryContext	  caller = MemoryContextSwitchTo(context);
	IndexBuildResult *result;
	double			  heap_tuples;

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	state.row_context = AllocSetContextCreate(context, "wrvq build row", ALLOCSET_DEFAULT_SIZES);
	WrvqInitMeta(index, MAIN_FORKNUM);
	WrvqReadMeta(index, &state.meta);
	state.meta.build_id = pg_prng_uint64(&pg_global_prng_state);

	state.codebook = choose_codebook(&state);
	if (state.codebook != NULL)
		heap_tuples = build_trained(&state);
	else
		heap_tuples = table_index_build_scan(heap, index, info, true, true, pending_callback, &state, NULL);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	result = palloc(sizeof(IndexBuildResult));
	result->heap_tuples = heap_tuples;
	result->index_tuples = state.entries;
	return result;
}

void
wrvqbuildempty(Relation index)
{
	WrvqInitMeta(index, INIT_FORKNUM);
}
