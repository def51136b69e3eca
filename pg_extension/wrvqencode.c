/* wrvqencode.c: batches of vectors on their way to entries. */
#include "wrvq.h"

#include "utils/memutils.h"

static void *
allocate(Size bytes)
{
	char *memory = MemoryContextAllocHuge(CurrentMemoryContext, bytes + 64);

	return (void *) TYPEALIGN(64, memory);
}

/* Lists that a row of the index is in: as many as asked for, if there are so many. */
int
WrvqSpill(Relation index, const WrvqCodebook *codebook)
{
	WrvqOptions *options = WrvqGetOptions(index);

	return Min(options != NULL ? options->spill : 1, codebook->view.shape.levels[0].codeword_count);
}

/* In the current memory context, which frees it. */
WrvqEncoder *
WrvqBeginEncoder(const WrvqCodebook *codebook, int spill, int capacity)
{
	WrvqEncoder *encoder = palloc0(sizeof(WrvqEncoder));
	Size		 vector_bytes = sizeof(float) * codebook->view.shape.dimensions;
	int64		 scratch_bytes;

	SWIFT(scratch_bytes = wrvq_kernel.encode_scratch_bytes(&codebook->view, capacity));
	encoder->codebook = codebook;
	encoder->spill = spill;
	encoder->capacity = capacity;
	encoder->vectors = allocate(vector_bytes * capacity);
	encoder->prepared = allocate(vector_bytes * capacity);
	encoder->scratch = allocate(scratch_bytes);
	encoder->encoded = palloc(sizeof(wrvq_encoded) * spill * capacity);
	encoder->entries = palloc((Size) codebook->layout.entry_bytes * spill * capacity + 1);
	encoder->second_lists = palloc(sizeof(uint32) * capacity);
	encoder->tids = palloc(sizeof(ItemPointerData) * capacity);
	return encoder;
}

/*
 * The encoder for one row at a time that a cached codebook has, empty.  Its
 * memory is so large that the C library would ask the kernel for it, and give
 * it back, with every row.
 */
WrvqEncoder *
WrvqRowEncoder(WrvqCodebook *codebook, int spill)
{
	WrvqEncoder *encoder = codebook->row_encoder;

	if (encoder == NULL || encoder->spill != spill)
	{
		MemoryContext context =
			AllocSetContextCreate(GetMemoryChunkContext(codebook), "wrvq row encoder", ALLOCSET_SMALL_SIZES);
		MemoryContext caller = MemoryContextSwitchTo(context);

		codebook->row_encoder = WrvqBeginEncoder(codebook, spill, 1);
		MemoryContextSwitchTo(caller);
		if (encoder != NULL)
			MemoryContextDelete(GetMemoryChunkContext(encoder));
		encoder = codebook->row_encoder;
	}
	/* an error may have left a row in it */
	encoder->count = 0;
	return encoder;
}

/* The caller has checked dimensions and that there is room. */
void
WrvqAddVector(WrvqEncoder *encoder, const float *vector, ItemPointer tid)
{
	int dimensions = encoder->codebook->view.shape.dimensions;

	Assert(encoder->count < encoder->capacity);
	memcpy(encoder->vectors + (Size) encoder->count * dimensions, vector, sizeof(float) * dimensions);
	encoder->tids[encoder->count] = *tid;
	encoder->count++;
}

/* Encodes what was added; the caller reads encoded, entries and tids and sets count to 0. */
void
WrvqEncode(WrvqEncoder *encoder)
{
	const WrvqCodebook *codebook = encoder->codebook;
	int					dimensions = codebook->view.shape.dimensions;
	ptrdiff_t			bad = 0;
	wrvq_status			status;

	SWIFT(status = wrvq_kernel.prepare(&codebook->view, encoder->vectors, encoder->count, encoder->scratch,
									   encoder->prepared, &bad));
	if (status == WRVQ_NOT_FINITE)
		WrvqCheckFinite(encoder->vectors + bad * dimensions, dimensions);
	if (status != WRVQ_OK)
		elog(ERROR, "could not encode a vector: status %d", (int) status);
	SWIFT(wrvq_kernel.encode(&codebook->view, &codebook->layout, encoder->prepared, encoder->count, encoder->scratch,
							 encoder->encoded, encoder->entries));
	if (encoder->spill == 1)
		return;
	SWIFT(wrvq_kernel.spill_lists(&codebook->view, encoder->prepared, encoder->count, encoder->encoded,
								  encoder->scratch, encoder->second_lists));
	SWIFT(wrvq_kernel.encode_in_lists(&codebook->view, &codebook->layout, encoder->prepared, encoder->count,
									  encoder->second_lists, encoder->scratch, encoder->encoded + encoder->count,
									  encoder->entries + (Size) encoder->count * codebook->layout.entry_bytes));
}
