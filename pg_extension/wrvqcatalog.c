/*
 * wrvqcatalog.c: stored codebooks, wrvq.wrvq_codebook and wrvq.wrvq_codebook_level.
 *
 * All of it between SPI_connect() and SPI_finish(), in SPI's memory.  Queries
 * run with whatever search_path the user has, so they name the schema of every
 * table, function, type and operator.
 */
#include "wrvq.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

static const char *const metric_names[] = {"l2", "ip", "cosine"};
static const char *const weight_names[] = {"one", "norm", "projection"};

/* columns of the codebook's query */
enum
{
	DIMENSIONS = 1,
	METRIC,
	SHA256,
	SCALE
};

/* columns of the levels' query */
enum
{
	KIND = 1,
	WEIGHT,
	WEIGHT_BITS,
	CODEWORD_COUNT,
	PIECE_COUNT,
	PIECE_DIMENSIONS,
	CODEWORDS,
	TRANSFORM_BLOCK,
	TRANSFORM,
	WEIGHTS
};

static int
spi_int(uint64 row, int column)
{
	bool  isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}

static char *
spi_text(uint64 row, int column)
{
	char *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value != NULL ? value : "";
}

/* NULL if the column is */
static bytea *
spi_bytes(uint64 row, int column)
{
	bool  isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? NULL : DatumGetByteaPP(value);
}

void
WrvqCannotUseCodebook(const char *name, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("codebook \"%s\" cannot be used", name),
					errdetail_internal("%s", detail)));
}

const char *
WrvqMetricName(wrvq_metric metric)
{
	return metric_names[metric];
}

static int
number_of(const char *name, const char *const *names, int count)
{
	for (int i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return i;
	return -1;
}

static void
run(const char *query, const char *name)
{
	Oid	  types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};

	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read codebook \"%s\"", name);
}

static void
read_level(WrvqStoredCodebook *stored, uint64 row)
{
	wrvq_level_shape *level = &stored->levels[row];
	char			 *kind = spi_text(row, KIND);

	if (strcmp(kind, "flat") != 0 && strcmp(kind, "product") != 0)
		WrvqCannotUseCodebook(stored->name, psprintf("Level " UINT64_FORMAT " is of unknown kind \"%s\".", row, kind));
	level->kind = strcmp(kind, "flat") == 0 ? WRVQ_FLAT : WRVQ_PRODUCT;
	level->weight_rule = number_of(spi_text(row, WEIGHT), weight_names, lengthof(weight_names));
	level->weight_bits = spi_int(row, WEIGHT_BITS);
	level->codeword_count = spi_int(row, CODEWORD_COUNT);
	level->piece_count = spi_int(row, PIECE_COUNT);
	level->piece_dimensions = spi_int(row, PIECE_DIMENSIONS);
	stored->transform_blocks[row] = spi_int(row, TRANSFORM_BLOCK);
}

/* Reads a codebook's row; false if there is none of the name. */
bool
WrvqReadStored(const char *name, WrvqStoredCodebook *stored)
{
	bytea *sha;

	memset(stored, 0, sizeof(WrvqStoredCodebook));
	stored->name = name;
	run("SELECT dimensions, metric, sha256, coalesce((properties OPERATOR(pg_catalog.->>) "
		"'scale'::pg_catalog.text)::pg_catalog.float4, 1)"
		" FROM wrvq.wrvq_codebook WHERE name OPERATOR(pg_catalog.=) $1",
		name);
	if (SPI_processed == 0)
		return false;
	stored->dimensions = spi_int(0, DIMENSIONS);
	stored->metric = number_of(spi_text(0, METRIC), metric_names, lengthof(metric_names));
	stored->scale = strtof(spi_text(0, SCALE), NULL);
	sha = spi_bytes(0, SHA256);
	stored->sha256_bytes = Min(sizeof(stored->sha256), VARSIZE_ANY_EXHDR(sha));
	memcpy(stored->sha256, VARDATA_ANY(sha), stored->sha256_bytes);
	return true;
}

/*
 * Reads what its levels look like; false if there are none, as in the middle of
 * a restore.  The rows stay SPI's result, for the functions below.
 */
bool
WrvqReadStoredLevels(WrvqStoredCodebook *stored)
{
	run("SELECT kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords,"
		" transform_block_dimensions, transform, weights"
		" FROM wrvq.wrvq_codebook_level WHERE name OPERATOR(pg_catalog.=) $1 ORDER BY level",
		stored->name);
	if (SPI_processed > WRVQ_LEVELS_MAX)
		WrvqCannotUseCodebook(stored->name, psprintf("It has " UINT64_FORMAT " levels, expected 1 to %d.",
													 SPI_processed, WRVQ_LEVELS_MAX));
	stored->level_count = SPI_processed;
	for (int i = 0; i < stored->level_count; i++)
		read_level(stored, i);
	return stored->level_count > 0;
}

/* The halves of a level's column as floats; raises if there are not as many as expected. */
static float *
read_halves(const WrvqStoredCodebook *stored, int level, int column, int64 expected)
{
	bytea  *bytes = spi_bytes(level, column);
	float  *floats;
	uint16 *halves;

	if (bytes == NULL || (int64) VARSIZE_ANY_EXHDR(bytes) != 2 * expected)
		WrvqCannotUseCodebook(stored->name,
							  psprintf("Level %d has " INT64_FORMAT " bytes where " INT64_FORMAT " were expected.",
									   level, bytes == NULL ? (int64) 0 : (int64) VARSIZE_ANY_EXHDR(bytes),
									   2 * expected));
	floats = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * expected);
	/* a short varlena is not aligned */
	halves = MemoryContextAllocHuge(CurrentMemoryContext, 2 * expected);
	memcpy(halves, VARDATA_ANY(bytes), 2 * expected);
	SWIFT(wrvq_kernel.half_to_float(halves, floats, expected));
	pfree(halves);
	WrvqCheckFinite(floats, expected);
	return floats;
}

/* flat [s][d], product [m][16][p]; of a shape that was checked */
float *
WrvqStoredCodewords(const WrvqStoredCodebook *stored, int level)
{
	const wrvq_level_shape *shape = &stored->levels[level];

	return read_halves(stored, level, CODEWORDS,
					   shape->kind == WRVQ_FLAT ? (int64) shape->codeword_count * stored->dimensions
												: (int64) shape->piece_count * 16 * shape->piece_dimensions);
}

/* The transform's diagonal blocks in sequence; NULL if there is none. */
float *
WrvqStoredTransform(const WrvqStoredCodebook *stored, int level)
{
	int64 elements = 0, block = stored->transform_blocks[level];

	for (int64 start = 0; block > 0 && start < stored->dimensions; start += block)
	{
		int64 size = Min(block, stored->dimensions - start);

		elements += size * size;
	}
	return elements == 0 ? NULL : read_halves(stored, level, TRANSFORM, elements);
}

/* The values that a stored weight can take, [2^weight_bits]; NULL if any. */
float *
WrvqStoredWeights(const WrvqStoredCodebook *stored, int level)
{
	const wrvq_level_shape *shape = &stored->levels[level];

	if (shape->weight_bits == 16 || shape->weight_rule == WRVQ_WEIGHT_ONE)
		return NULL;
	return read_halves(stored, level, WEIGHTS, INT64CONST(1) << shape->weight_bits);
}
