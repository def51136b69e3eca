/* wrvqcodebook.c: an index's own copy of its codebook: on pages, and cached per backend. */
#include "wrvq.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_crc32c.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/*
 * Codebooks are cached by build, not by relation: a REINDEX makes a new build,
 * so a stale copy is never used.  The least recently used ones go when all
 * together exceed this.
 */
#define CACHE_BYTES_MAX ((Size) 256 * 1024 * 1024)

typedef struct CachedCodebook
{
	uint64		  build_id; /* key */
	uint64		  last_used;
	int			  pins; /* memory contexts that may point into it */
	MemoryContext context;
	Size		  bytes;
	WrvqCodebook *codebook;
} CachedCodebook;

static HTAB	 *cache = NULL;
static uint64 cache_clock = 0;
static Size	  cache_bytes = 0;

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

static void
evict(void)
{
	while (cache_bytes > CACHE_BYTES_MAX)
	{
		HASH_SEQ_STATUS status;
		CachedCodebook *entry, *oldest = NULL;

		hash_seq_init(&status, cache);
		while ((entry = hash_seq_search(&status)) != NULL)
			if (entry->pins == 0 && (oldest == NULL || entry->last_used < oldest->last_used))
				oldest = entry;
		if (oldest == NULL)
			return;
		cache_bytes -= oldest->bytes;
		MemoryContextDelete(oldest->context);
		hash_search(cache, &oldest->build_id, HASH_REMOVE, NULL);
	}
}

static void
unpin(void *argument)
{
	CachedCodebook *entry = hash_search(cache, argument, HASH_FIND, NULL);

	if (entry != NULL)
		entry->pins--;
}

/* Keeps the codebook until the current memory context is reset, which an error does too. */
static WrvqCodebook *
pin(CachedCodebook *entry)
{
	struct
	{
		MemoryContextCallback callback;
		uint64				  build_id;
	} *reset = palloc(sizeof(*reset));

	reset->build_id = entry->build_id;
	reset->callback.func = unpin;
	reset->callback.arg = &reset->build_id;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reset->callback);
	entry->pins++;
	entry->last_used = ++cache_clock;
	return entry->codebook;
}

/* The codebook of a trained index, valid until the current memory context is reset. */
WrvqCodebook *
WrvqGetCodebook(Relation index, const WrvqMetaData *meta)
{
	CachedCodebook *entry;
	MemoryContext	context, caller;
	WrvqCodebook   *codebook;

	if (cache == NULL)
	{
		HASHCTL control = {.keysize = sizeof(uint64), .entrysize = sizeof(CachedCodebook), .hcxt = CacheMemoryContext};

		cache = hash_create("wrvq codebooks", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(cache, &meta->build_id, HASH_FIND, NULL);
	if (entry != NULL)
	{
		/* whoever sizes something by the one uses it with the other */
		if (memcmp(&entry->codebook->view.shape, &meta->shape, sizeof(wrvq_shape)) != 0)
			WrvqCorrupted(index, WRVQ_META_BLOCK, "its shape is not the one it had");
		return pin(entry);
	}

	/* in a context of the caller's until it is whole, so that an error leaves nothing */
	context = AllocSetContextCreate(CurrentMemoryContext, "wrvq codebook", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	codebook = WrvqReadCodebook(index, meta);
	MemoryContextSwitchTo(caller);
	MemoryContextSetParent(context, CacheMemoryContext);

	entry = hash_search(cache, &meta->build_id, HASH_ENTER, NULL);
	entry->codebook = codebook;
	entry->context = context;
	entry->pins = 0;
	entry->bytes = MemoryContextMemAllocated(context, false);
	cache_bytes += entry->bytes;
	pin(entry);
	evict();
	return codebook;
}
