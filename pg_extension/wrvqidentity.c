/* wrvqidentity.c: is a stored codebook what its SHA-256 says? */
#include "wrvq.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "miscadmin.h"

/* hashed between two looks at interrupts: some milliseconds */
#define CHUNK_BYTES ((Size) 1024 * 1024)

static void
add_bytes(pg_cryptohash_ctx *hash, const void *bytes, Size size)
{
	for (Size done = 0; done < size; done += CHUNK_BYTES)
	{
		CHECK_FOR_INTERRUPTS();
		if (pg_cryptohash_update(hash, (const uint8 *) bytes + done, Min(CHUNK_BYTES, size - done)) < 0)
			elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
	}
}

static void
add_line(pg_cryptohash_ctx *hash, char *line)
{
	add_bytes(hash, line, strlen(line));
	pfree(line);
}

/* At least one digit after the point, and no more than needed, as Codebook.scaleText has it. */
static char *
canonical_scale(const char *text)
{
	char *scale = psprintf("%s%s", text, strchr(text, '.') == NULL ? ".0" : "");
	char *end = scale + strlen(scale);

	while (end - scale > 2 && end[-1] == '0' && end[-2] != '.')
		*--end = '\0';
	return scale;
}

/* The bytes that Codebook+Identity.swift tells of. */
static void
add_codebook(pg_cryptohash_ctx *hash, const WrvqStoredCodebook *stored)
{
	add_line(hash, psprintf("wrvq-codebook-1\n%d\n%s\n%s\n", stored->dimensions, WrvqMetricName(stored->metric),
							canonical_scale(stored->scale_text)));
	for (int i = 0; i < stored->level_count; i++)
	{
		const wrvq_level_shape *level = &stored->levels[i];

		add_line(hash, psprintf("%s %d %d %d %s %d\n", level->kind == WRVQ_FLAT ? "flat" : "product",
								level->codeword_count, level->piece_count, level->piece_dimensions,
								WrvqWeightName(level->weight_rule), level->weight_bits));
		for (int part = 0; part < WRVQ_STORED_PARTS; part++)
			if (stored->parts[i][part] != NULL)
				add_bytes(hash, VARDATA_ANY(stored->parts[i][part]), VARSIZE_ANY_EXHDR(stored->parts[i][part]));
	}
}

/*
 * Codes and indexes mean what is in their codebook, and name it by this hash.
 * Nothing else keeps a row from being written by hand, or from changing on its
 * way from another server.
 */
bool
WrvqIsWhatItsHashSays(const WrvqStoredCodebook *stored)
{
	pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
	uint8			   sha256[PG_SHA256_DIGEST_LENGTH];

	if (hash == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		if (pg_cryptohash_init(hash) < 0)
			elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
		add_codebook(hash, stored);
		if (pg_cryptohash_final(hash, sha256, sizeof(sha256)) < 0)
			elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(hash));
	}
	PG_FINALLY();
	{
		pg_cryptohash_free(hash);
	}
	PG_END_TRY();
	return memcmp(sha256, stored->sha256, sizeof(sha256)) == 0;
}
