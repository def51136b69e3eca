/*
 * wrvqcoder.c: stored codebooks as values of type wrvq_code want them.
 *
 * A value names its codebook by what is in it, not by how it is called, so that
 * it means the same after a codebook was dropped and loaded again, in whatever
 * database, under whatever name.
 */
#include "wrvq.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define SHA256_BYTES (sizeof(uint64) - 1)

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

	memcpy(bytes + 1, sha256, SHA256_BYTES);
	memcpy(&identity, bytes, sizeof(identity));
	return identity;
}

/* Fills in what a coder looks like, and checks it. */
static void
take_shape(const WrvqStoredCodebook *stored, wrvq_coder *coder)
{
	wrvq_status status;

	if (stored->sha256_bytes != sizeof(stored->sha256))
		WrvqCannotUseCodebook(stored->name,
							  psprintf("Its SHA-256 has %d bytes where 32 were expected.", stored->sha256_bytes));
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

/*
 * The coder of a codebook whose row was read, from the cache if it is there, and
 * the end of SPI; NULL if its levels are missing.
 */
static const WrvqCoder *
finish_reading(WrvqStoredCodebook *stored, MemoryContext caller)
{
	uint64		  identity = identity_of(stored->sha256);
	MemoryContext spi = MemoryContextSwitchTo(caller), context;
	WrvqCoder	 *coder = WrvqFindCached(WRVQ_CACHED_CODER, identity);

	MemoryContextSwitchTo(spi);
	if (coder == NULL && WrvqReadStoredLevels(stored))
	{
		/* a context of the caller's until it is whole, so that an error leaves nothing */
		context = AllocSetContextCreate(caller, "wrvq coder", ALLOCSET_DEFAULT_SIZES);
		coder = make_coder(stored, context);
		MemoryContextSwitchTo(caller);
		WrvqCache(WRVQ_CACHED_CODER, identity, coder, context);
	}
	SPI_finish();
	MemoryContextSwitchTo(caller);
	return coder;
}

/* The codebook of this name, valid until the current memory context is reset. */
const WrvqCoder *
WrvqCoderNamed(const char *name)
{
	MemoryContext	   caller = CurrentMemoryContext;
	WrvqStoredCodebook stored;
	const WrvqCoder	  *coder = NULL;

	SPI_connect();
	if (WrvqReadStored(name, &stored))
		coder = finish_reading(&stored, caller);
	if (coder == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("codebook \"%s\" does not exist", name),
				 errhint("Train it with \"wrvq train\" or load it with \"wrvq load\". If a dump is being restored, a "
						 "generated column may have come before the codebooks: once all is restored, restore that "
						 "table's rows with \"pg_restore --data-only --table\".")));
	return coder;
}

/* A codebook, by whatever name, whose SHA-256 begins like that; NULL if there is none. */
static char *
name_of(const uint8 *sha256)
{
	Oid	   types[1] = {BYTEAOID};
	bytea *start = palloc(VARHDRSZ + SHA256_BYTES);
	Datum  values[1] = {PointerGetDatum(start)};

	SET_VARSIZE(start, VARHDRSZ + SHA256_BYTES);
	memcpy(VARDATA(start), sha256, SHA256_BYTES);
	if (SPI_execute_with_args("SELECT name FROM wrvq.wrvq_codebook"
							  " WHERE pg_catalog.substr(sha256, 1, 7) OPERATOR(pg_catalog.=) $1"
							  " ORDER BY name LIMIT 1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a codebook");
	return SPI_processed == 0 ? NULL : SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/* As WrvqReadStored(), by what values have of the codebook; between SPI_connect() and SPI_finish(). */
bool
WrvqReadStoredOf(uint64 identity, WrvqStoredCodebook *stored)
{
	char *name = name_of((const uint8 *) &identity + 1);

	return name != NULL && WrvqReadStored(name, stored);
}

/* Is there the codebook of values of this identity? */
bool
WrvqHasCoder(uint64 identity)
{
	WrvqStoredCodebook stored;
	bool			   found;

	SPI_connect();
	found = WrvqReadStoredOf(identity, &stored) && WrvqReadStoredLevels(&stored);
	SPI_finish();
	return found;
}

static void
report_no_codebook(const uint8 *sha256)
{
	char digits[2 * SHA256_BYTES + 1] = {0};

	hex_encode((const char *) sha256, SHA256_BYTES, digits);
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
	SPI_connect();
	if (WrvqReadStoredOf(identity, &stored))
		coder = finish_reading(&stored, caller);
	if (coder == NULL)
		report_no_codebook((const uint8 *) &identity + 1);
	return coder;
}
