/*
 * wrvqpass.c: the pass over a table that encodes every row, measures what the
 * index wants to know of its rows, and hands the entries to a sort.  A build
 * makes one, in several processes if it has workers; wrvq_calibrate() makes one
 * without a sort.
 */
#include "wrvq.h"

#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

/*
 * The order of entries on pages: by list and sub-list, then by position in the
 * table, so that a scan's candidates come in long runs of heap pages.
 */
static int64
sort_key(const wrvq_encoded *encoded, ItemPointer tid)
{
	return (int64) encoded->list << 40 | (int64) encoded->sublist << 32 | ItemPointerGetBlockNumber(tid);
}

static TupleDesc
entry_descriptor(void)
{
	TupleDesc descriptor = CreateTemplateTupleDesc(2);

	TupleDescInitEntry(descriptor, 1, "key", INT8OID, -1, 0);
	TupleDescInitEntry(descriptor, 2, "payload", BYTEAOID, -1, 0);
	return descriptor;
}

/* A sort of entries; coordinate: of a participant of a parallel build, or NULL. */
Tuplesortstate *
WrvqBeginSort(int memory_kb, SortCoordinate coordinate)
{
	AttrNumber attribute = 1;
	Oid		   less_than = Int8LessOperator, collation = InvalidOid;
	bool	   nulls_first = false;

	return tuplesort_begin_heap(entry_descriptor(), 1, &attribute, &less_than, &collation, &nulls_first, memory_kb,
								coordinate, TUPLESORT_NONE);
}

/* In the current memory context.  calibration and statistics are the caller's; sort NULL: entries are dropped. */
WrvqPass *
WrvqBeginPass(Relation heap, Relation index, IndexInfo *info, const WrvqCodebook *codebook, int spill,
			  WrvqCalibration *calibration, void *statistics, Tuplesortstate *sort)
{
	WrvqPass *pass = palloc0(sizeof(WrvqPass));

	pass->heap = heap;
	pass->index = index;
	pass->info = info;
	pass->support = WrvqIndexSupport(index);
	pass->calibration = calibration;
	pass->statistics = statistics;
	pass->sort = sort;
	pass->encoder = WrvqBeginEncoder(codebook, spill, WRVQ_BATCH_ROWS);
	pass->sort_slot = MakeSingleTupleTableSlot(entry_descriptor(), &TTSOpsVirtual);
	pg_atomic_init_u64(&pass->own_rows, 0);
	pass->rows_of_all = &pass->own_rows;
	pass->row_context = AllocSetContextCreate(CurrentMemoryContext, "wrvq row", ALLOCSET_DEFAULT_SIZES);
	return pass;
}

/* Hands the entries of the encoded batch to the sort. */
static void
sort_batch(WrvqPass *pass)
{
	WrvqEncoder *encoder = pass->encoder;
	Size		 entry_bytes = encoder->codebook->layout.entry_bytes;
	Size		 payload_bytes = sizeof(ItemPointerData) + entry_bytes;
	bytea		*payload = palloc(VARHDRSZ + payload_bytes);

	SET_VARSIZE(payload, VARHDRSZ + payload_bytes);
	for (int i = 0; i < encoder->count * encoder->spill; i++)
	{
		TupleTableSlot *slot = pass->sort_slot;
		ItemPointer		tid = &encoder->tids[i % encoder->count];

		memcpy(VARDATA(payload), tid, sizeof(ItemPointerData));
		memcpy(VARDATA(payload) + sizeof(ItemPointerData), encoder->entries + i * entry_bytes, entry_bytes);
		ExecClearTuple(slot);
		slot->tts_values[0] = Int64GetDatum(sort_key(&encoder->encoded[i], tid));
		slot->tts_values[1] = PointerGetDatum(payload);
		slot->tts_isnull[0] = slot->tts_isnull[1] = false;
		ExecStoreVirtualTuple(slot);
		tuplesort_puttupleslot(pass->sort, slot);
	}
	pfree(payload);
}

static void
encode_batch(WrvqPass *pass)
{
	WrvqEncoder		   *encoder = pass->encoder;
	const WrvqCodebook *codebook = encoder->codebook;

	if (encoder->count == 0)
		return;
	WrvqEncode(encoder);
	if (pass->statistics != NULL)
		SWIFT(wrvq_kernel.statistics_add(&codebook->view, &codebook->layout, pass->statistics, encoder->encoded,
										 encoder->entries, encoder->count * encoder->spill));
	if (pass->sort != NULL)
		sort_batch(pass);
	for (int i = 0; i < encoder->count; i++)
		pass->loss += encoder->encoded[i].loss;
	WrvqCalibrate(pass->calibration, encoder);
	pass->rows += encoder->count;
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE,
								 (int64) pg_atomic_add_fetch_u64(pass->rows_of_all, encoder->count));
	encoder->count = 0;
}

static void
row_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	WrvqPass	 *pass = argument;
	MemoryContext caller;
	const float	 *vector;
	int			  dimensions;

	if (isnull[0])
		return;
	caller = MemoryContextSwitchTo(pass->row_context);
	vector = pass->support->vector(values[0], &dimensions);
	WrvqCheckDimensions(pass->encoder->codebook->view.shape.dimensions, dimensions);
	/* the encoder says if it is not finite */
	if (WrvqIsIndexable(pass->support, vector, dimensions))
	{
		WrvqAddVector(pass->encoder, vector, tid);
		if (pass->encoder->count == pass->encoder->capacity)
			encode_batch(pass);
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(pass->row_context);
}

/* Reads the table, or this participant's part of a parallel scan.  Returns the rows of the table met. */
double
WrvqRunPass(WrvqPass *pass, TableScanDesc scan, bool progress)
{
	double heap_tuples =
		table_index_build_scan(pass->heap, pass->index, pass->info, true, progress, row_callback, pass, scan);

	encode_batch(pass);
	ExecDropSingleTupleTableSlot(pass->sort_slot);
	MemoryContextDelete(pass->row_context);
	return heap_tuples;
}

/* Writes the sorted entries in order. */
void
WrvqWriteSorted(Tuplesortstate *sort, WrvqWriter *writer)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(entry_descriptor(), &TTSOpsMinimalTuple);
	int64			done = 0;

	while (tuplesort_gettupleslot(sort, true, false, slot, NULL))
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
