/*
 * wrvqcoder.c: stored codebooks as values of type wrvq_code want them.
 *
 * A value names its codebook by what is in it, not by how it is called, so that
 * it means the same after a codebook was dropped and loaded again, in whatever
 * database, under whatever name.
 */
#include "wrvq.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

/* Kernels want 64 bytes. */
void *
WrvqAllocateAligned(MemoryContext context, Size bytes)
{
	return (void *) TYPEALIGN(64, MemoryContextAllocHuge(context, bytes + 64));
}

static uint64
identity_of(const uint8 *sha256)
{
	uint8  bytes[sizeof(uint64)] = {WRVQ_CODE_FORMAT};
	uint64 identity;

	memcpy(bytes + 1, sha256, WRVQ_IDENTITY_BYTES);
	memcpy(&identity, bytes, sizeof(identity));
	return identity;
}

/* Fills in what a coder looks like, and checks it. */
static void
take_shape(const WrvqStoredCodebook *stored, wrvq_coder *coder)
{
	wrvq_status status;

	coder->dimensions = stored->dimensions;
	coder->metric = stored->metric;
	coder->scale = stored->scale;
	coder->level_count = stored->level_count;
	for (int i = 0; i < stored->level_count; i++)
	{
		coder->levels[i].shape = stored->levels[i];
		coder->levels[i].transform_block_dimensions = stored->transform_blocks[i];
	}
	SWIFT(status = wrvq_code_kernel.coder_check(coder));
	if (status != WRVQ_OK)
		WrvqCannotUseCodebook(stored->name, "Its levels are damaged.");
}

/* Makes the coder in the current memory context. */
static WrvqCoder *
make_coder(const WrvqStoredCodebook *stored, MemoryContext context)
{
	WrvqCoder *coder = MemoryContextAllocZero(context, sizeof(WrvqCoder));
	int64	   bytes;

	take_shape(stored, &coder->view);
	coder->identity = identity_of(stored->sha256);
	memcpy(coder->sha256, stored->sha256, sizeof(coder->sha256));
	coder->name = MemoryContextStrdup(context, stored->name);
	SWIFT(bytes = wrvq_code_kernel.coder_bytes(&coder->view));
	SWIFT(wrvq_code_kernel.coder_bind(&coder->view, WrvqAllocateAligned(context, bytes)));
	for (int i = 0; i < stored->level_count; i++)
	{
		float *codewords = WrvqStoredCodewords(stored, i);
		float *transform = WrvqStoredTransform(stored, i);
		float *weights = WrvqStoredWeights(stored, i);

		SWIFT(wrvq_code_kernel.coder_set_level(&coder->view, i, codewords, transform, weights));
		pfree(codewords);
	}
	SWIFT(coder->scratch_bytes = wrvq_code_kernel.scratch_bytes(&coder->view));
	return coder;
}

/* Caches the coder of a codebook that was read. */
static const WrvqCoder *
cache_coder(const WrvqStoredCodebook *stored, MemoryContext caller)
{
	/* a context of the caller's until it is whole, so that an error leaves nothing */
	MemoryContext context = AllocSetContextCreate(caller, "wrvq coder", ALLOCSET_DEFAULT_SIZES);
	WrvqCoder	 *coder = make_coder(stored, context);
	MemoryContext spi = MemoryContextSwitchTo(caller);

	WrvqCache(WRVQ_CACHED_CODER, coder->identity, NULL, coder, context);
	MemoryContextSwitchTo(spi);
	return coder;
}

/* The coder that is cached under the identity of a codebook whose row was read. */
static const WrvqCoder *
find_coder(const WrvqStoredCodebook *stored, MemoryContext caller)
{
	MemoryContext	 spi = MemoryContextSwitchTo(caller);
	const WrvqCoder *coder = WrvqFindCached(WRVQ_CACHED_CODER, identity_of(stored->sha256));

	MemoryContextSwitchTo(spi);
	if (coder != NULL && memcmp(coder->sha256, stored->sha256, sizeof(stored->sha256)) != 0)
		WrvqReportAlike(stored->name, coder->name);
	return coder;
}

/* The codebook of this name, valid until the current memory context is reset. */
const WrvqCoder *
WrvqCoderNamed(const char *name)
{
	MemoryContext	   caller = CurrentMemoryContext;
	WrvqStoredCodebook stored;
	const WrvqCoder	  *coder = NULL;

	WrvqBeginReading();
	if (WrvqReadStored(name, &stored))
	{
		coder = find_coder(&stored, caller);
		if (coder == NULL && WrvqReadStoredLevels(&stored))
			coder = cache_coder(&stored, caller);
	}
	WrvqEndReading();
	if (coder == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("codebook \"%s\" does not exist", name),
				 errhint("Train it with \"wrvq train\" or load it with \"wrvq load\". If a dump is being restored, a "
						 "generated column may have come before the codebooks: once all is restored, restore that "
						 "table's rows with \"pg_restore --data-only --table\".")));
	return coder;
}

/* Is there the codebook of values of this identity? */
bool
WrvqHasCoder(uint64 identity)
{
	WrvqStoredCodebook stored;
	bool			   found;

	WrvqBeginReading();
	found = WrvqReadStoredOf(identity, &stored);
	WrvqEndReading();
	return found;
}

static void
report_no_codebook(const uint8 *sha256)
{
	char digits[2 * WRVQ_IDENTITY_BYTES + 1] = {0};

	hex_encode((const char *) sha256, WRVQ_IDENTITY_BYTES, digits);
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the codebook of this code does not exist"),
					errdetail("Its SHA-256 begins with %s.", digits),
					errhint("Load it with \"wrvq load\", under any name, or restore the tables wrvq.wrvq_codebook and "
							"wrvq.wrvq_codebook_level from a dump that has it.")));
}

/* The codebook of values of this identity, valid until the current memory context is reset. */
const WrvqCoder *
WrvqCoderOf(uint64 identity)
{
	MemoryContext	   caller = CurrentMemoryContext;
	const WrvqCoder	  *coder = WrvqFindCached(WRVQ_CACHED_CODER, identity);
	WrvqStoredCodebook stored;

	if (coder != NULL)
		return coder;
	WrvqBeginReading();
	if (WrvqReadStoredOf(identity, &stored))
		coder = cache_coder(&stored, caller);
	WrvqEndReading();
	if (coder == NULL)
		report_no_codebook((const uint8 *) &identity + 1);
	return coder;
}
