/* wrvqcodebook.c: an index's own copy of its codebook: on pages, and in memory. */
#include "wrvq.h"

#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/memutils.h"

/* Sub-lists of a list: one for each choice of the fuzzy levels' codewords. */
int
WrvqSublistCount(const wrvq_shape *shape)
{
	int count = 1;

	for (int i = 1; i <= shape->fuzzy_levels; i++)
		count *= shape->levels[i].codeword_count;
	return count;
}

/* A codebook of a valid shape over an image, 64-byte aligned, in the current memory context. */
WrvqCodebook *
WrvqBindCodebook(const wrvq_shape *shape, char *image)
{
	WrvqCodebook *codebook = palloc0(sizeof(WrvqCodebook));

	codebook->image = image;
	SWIFT(wrvq_kernel.image_bind(shape, codebook->image, &codebook->view));
	SWIFT(wrvq_kernel.layout(shape, &codebook->layout));
	codebook->slot_bytes = sizeof(WrvqSlotHeader) + codebook->layout.block_bytes;
	codebook->slots_per_page = WRVQ_PAGE_BYTES / codebook->slot_bytes;
	return codebook;
}

/* An empty codebook of a valid shape in the current memory context. */
WrvqCodebook *
WrvqNewCodebook(const wrvq_shape *shape)
{
	int64 bytes;
	char *image;

	SWIFT(bytes = wrvq_kernel.image_bytes(shape));
	image = MemoryContextAllocExtended(CurrentMemoryContext, bytes + 64, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	return WrvqBindCodebook(shape, (char *) TYPEALIGN(64, image));
}

static uint32
image_crc(const char *image, Size bytes)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, image, bytes);
	FIN_CRC32C(crc);
	return crc;
}

/*
 * Appends the image as codebook pages and notes it in meta (which the caller
 * writes).  Each page is its own WAL record: until the metapage points at them,
 * they are just unused pages.
 */
void
WrvqStoreCodebook(Relation index, WrvqMetaData *meta, const WrvqCodebook *codebook)
{
	const wrvq_shape *shape = &codebook->view.shape;
	int64			  bytes;

	SWIFT(bytes = wrvq_kernel.image_bytes(shape));
	meta->shape = *shape;
	meta->dimensions = shape->dimensions;
	meta->list_count = shape->levels[0].codeword_count;
	meta->image_bytes = bytes;
	meta->image_crc = image_crc(codebook->image, bytes);
	meta->codebook_start = InvalidBlockNumber;
	for (int64 offset = 0; offset < bytes; offset += WRVQ_PAGE_BYTES)
	{
		Buffer			  buffer = WrvqExtend(index);
		GenericXLogState *xlog = GenericXLogStart(index);
		Page			  page = GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE);

		WrvqInitPage(page, WRVQ_PAGE_CODEBOOK);
		memcpy(PageGetContents(page), codebook->image + offset, Min((int64) WRVQ_PAGE_BYTES, bytes - offset));
		if (offset == 0)
			meta->codebook_start = BufferGetBlockNumber(buffer);
		else if (BufferGetBlockNumber(buffer) != meta->codebook_start + offset / WRVQ_PAGE_BYTES)
			elog(ERROR, "codebook pages of index \"%s\" are not contiguous", RelationGetRelationName(index));
		GenericXLogFinish(xlog);
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Reads the codebook from its pages, into the current memory context; the
 * checksum proves that it is the one that was written.
 */
WrvqCodebook *
WrvqReadCodebook(Relation index, const WrvqMetaData *meta)
{
	WrvqCodebook *codebook = WrvqNewCodebook(&meta->shape);

	codebook->build_id = meta->build_id;
	for (uint64 offset = 0; offset < meta->image_bytes; offset += WRVQ_PAGE_BYTES)
	{
		BlockNumber block = meta->codebook_start + offset / WRVQ_PAGE_BYTES;
		Buffer		buffer = WrvqReadPage(index, block, WRVQ_PAGE_CODEBOOK, BUFFER_LOCK_SHARE);

		memcpy(codebook->image + offset, PageGetContents(BufferGetPage(buffer)),
			   Min((uint64) WRVQ_PAGE_BYTES, meta->image_bytes - offset));
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
	if (image_crc(codebook->image, meta->image_bytes) != meta->image_crc)
		WrvqCorrupted(index, meta->codebook_start, "the codebook's checksum does not match");
	return codebook;
}

/*
 * The codebook as backends share it, in the current memory context.  One that is
 * read from its pages is shared with those who come later.
 */
static WrvqCodebook *
attach_codebook(Relation index, const WrvqMetaData *meta)
{
	char		 *image = WrvqSharedImage(meta->build_id, meta->image_bytes);
	WrvqCodebook *codebook;

	if (image == NULL)
	{
		MemoryContext caller = CurrentMemoryContext;
		MemoryContext own = AllocSetContextCreate(caller, "wrvq codebook image", ALLOCSET_DEFAULT_SIZES);

		MemoryContextSwitchTo(own);
		codebook = WrvqReadCodebook(index, meta);
		MemoryContextSwitchTo(caller);
		image = WrvqShareImage(meta->build_id, codebook->image, meta->image_bytes);
		if (image == NULL)
			return codebook;
		MemoryContextDelete(own);
	}
	codebook = WrvqBindCodebook(&meta->shape, image);
	codebook->build_id = meta->build_id;
	return codebook;
}

/* The codebook of a trained index, valid until the current memory context is reset. */
WrvqCodebook *
WrvqGetCodebook(Relation index, const WrvqMetaData *meta)
{
	/* by build, not by relation: a REINDEX makes a new build, so a stale copy is never used */
	WrvqCodebook *codebook = WrvqFindCached(WRVQ_CACHED_CODEBOOK, meta->build_id);
	MemoryContext context, caller;

	if (codebook != NULL)
	{
		/* whoever sizes something by the one uses it with the other */
		if (memcmp(&codebook->view.shape, &meta->shape, sizeof(wrvq_shape)) != 0)
			WrvqCorrupted(index, WRVQ_META_BLOCK, "its shape is not the one it had");
		return codebook;
	}

	/* in a context of the caller's until it is whole, so that an error leaves nothing */
	context = AllocSetContextCreate(CurrentMemoryContext, "wrvq codebook", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	codebook = attach_codebook(index, meta);
	MemoryContextSwitchTo(caller);
	return WrvqCache(WRVQ_CACHED_CODEBOOK, meta->build_id, index, codebook, context);
}
