/*
 * wrvqcatalog.c: stored codebooks, wrvq.wrvq_codebook and wrvq.wrvq_codebook_level.
 *
 * All of it between WrvqBeginReading() and WrvqEndReading(), in SPI's memory.  Users'
 * statements come here, and what they have in front of pg_catalog, or beside it,
 * must not be called: queries name the schema of every table, function, type
 * and operator, and run with a search_path of our own.
 */
#include "wrvq.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"

static const char *const metric_names[] = {"l2", "ip", "cosine"};
static const char *const weight_names[] = {"one", "norm", "projection"};

/* columns of the codebook's query */
enum
{
	DIMENSIONS = 1,
	METRIC,
	SHA256,
	SCALE,
	SCALE_TEXT
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

static int settings_level;

void
WrvqBeginReading(void)
{
	SPI_connect();
	settings_level = NewGUCNestLevel();
	set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
					  false);
}

void
WrvqEndReading(void)
{
	AtEOXact_GUC(false, settings_level);
	SPI_finish();
}

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

const char *
WrvqWeightName(int weight_rule)
{
	return weight_names[weight_rule];
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
	static const int  columns[WRVQ_STORED_PARTS] = {CODEWORDS, TRANSFORM, WEIGHTS};
	wrvq_level_shape *level = &stored->levels[row];
	char			 *kind = spi_text(row, KIND);

	if (strcmp(kind, "flat") != 0 && strcmp(kind, "product") != 0)
		WrvqCannotUseCodebook(stored->name, psprintf("Level " UINT64_FORMAT " is of unknown kind \"%s\".", row, kind));
	level->kind = strcmp(kind, "flat") == 0 ? WRVQ_FLAT : WRVQ_PRODUCT;
	level->weight_rule = number_of(spi_text(row, WEIGHT), weight_names, lengthof(weight_names));
	if (level->weight_rule < 0)
		WrvqCannotUseCodebook(stored->name, psprintf("Level " UINT64_FORMAT " has weights of unknown kind \"%s\".", row,
													 spi_text(row, WEIGHT)));
	level->weight_bits = spi_int(row, WEIGHT_BITS);
	level->codeword_count = spi_int(row, CODEWORD_COUNT);
	level->piece_count = spi_int(row, PIECE_COUNT);
	level->piece_dimensions = spi_int(row, PIECE_DIMENSIONS);
	stored->transform_blocks[row] = spi_int(row, TRANSFORM_BLOCK);
	for (int part = 0; part < WRVQ_STORED_PARTS; part++)
		stored->parts[row][part] = spi_bytes(row, columns[part]);
}

/* Reads a codebook's row; false if there is none of the name. */
bool
WrvqReadStored(const char *name, WrvqStoredCodebook *stored)
{
	bytea *sha;
	bool   isnull;

	memset(stored, 0, sizeof(WrvqStoredCodebook));
	/* it may be an option of a relation, whose memory a query may replace */
	stored->name = name = pstrdup(name);
	run("SELECT dimensions, metric, sha256, scale::pg_catalog.float4, scale"
		" FROM (SELECT dimensions, metric, sha256,"
		"   coalesce(properties OPERATOR(pg_catalog.->>) 'scale'::pg_catalog.text, '1') AS scale"
		"  FROM wrvq.wrvq_codebook WHERE name OPERATOR(pg_catalog.=) $1) AS codebook",
		name);
	if (SPI_processed == 0)
		return false;
	stored->dimensions = spi_int(0, DIMENSIONS);
	stored->metric = number_of(spi_text(0, METRIC), metric_names, lengthof(metric_names));
	if (stored->metric < 0)
		WrvqCannotUseCodebook(name, psprintf("It is for unknown metric \"%s\".", spi_text(0, METRIC)));
	stored->scale = DatumGetFloat4(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, SCALE, &isnull));
	stored->scale_text = spi_text(0, SCALE_TEXT);
	sha = spi_bytes(0, SHA256);
	memcpy(stored->sha256, VARDATA_ANY(sha), Min(sizeof(stored->sha256), VARSIZE_ANY_EXHDR(sha)));
	return true;
}

/*
 * Reads its levels; false if there are none, as in the middle of a restore, or
 * if they are not what the SHA-256 is of.
 */
static bool
read_levels(WrvqStoredCodebook *stored, bool *is_damaged)
{
	*is_damaged = false;
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
	if (stored->level_count == 0)
		return false;
	*is_damaged = !WrvqIsWhatItsHashSays(stored);
	return !*is_damaged;
}

static void
report_damaged(const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_DATA_CORRUPTED),
		 errmsg("codebook \"%s\" is damaged: its contents do not match its SHA-256", name),
		 errhint(
			 "Remove it by \"wrvq drop --force\", and load it again by \"wrvq load\", or restore it from a dump.")));
}

/* Reads what is in a codebook whose row was read; false if that is missing, as in the middle of a restore. */
bool
WrvqReadStoredLevels(WrvqStoredCodebook *stored)
{
	bool is_damaged;

	if (read_levels(stored, &is_damaged))
		return true;
	if (is_damaged)
		report_damaged(stored->name);
	return false;
}

/* The names of all codebooks whose SHA-256 begins like that; NULL ends them. */
static char **
names_of(const uint8 *sha256)
{
	Oid	   types[1] = {BYTEAOID};
	bytea *start = palloc(VARHDRSZ + WRVQ_IDENTITY_BYTES);
	Datum  values[1] = {PointerGetDatum(start)};
	char **names;

	SET_VARSIZE(start, VARHDRSZ + WRVQ_IDENTITY_BYTES);
	memcpy(VARDATA(start), sha256, WRVQ_IDENTITY_BYTES);
	if (SPI_execute_with_args("SELECT name FROM wrvq.wrvq_codebook"
							  " WHERE pg_catalog.substr(sha256, 1, 7) OPERATOR(pg_catalog.=) $1 ORDER BY name",
							  1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not look for a codebook");
	names = palloc0(sizeof(char *) * (SPI_processed + 1));
	for (uint64 i = 0; i < SPI_processed; i++)
		names[i] = spi_text(i, 1);
	return names;
}

void
WrvqReportAlike(const char *name, const char *other)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("codebooks \"%s\" and \"%s\" differ, but their SHA-256 begin alike", name, other),
					errdetail("A code names its codebook by these %d bytes.", WRVQ_IDENTITY_BYTES),
					errhint("Remove the one that no code is of.")));
}

/*
 * Reads a codebook, by whatever name, that values of this identity are codes of; false if there is none.
 * One of several names for the same SHA-256 may be a lie: then another one will do.
 */
bool
WrvqReadStoredOf(uint64 identity, WrvqStoredCodebook *stored)
{
	char			 **names = names_of((const uint8 *) &identity + 1);
	const char		  *damaged = NULL;
	WrvqStoredCodebook found = {0};

	for (int i = 0; names[i] != NULL; i++)
	{
		bool is_damaged;

		if (!WrvqReadStored(names[i], stored))
			continue;
		if (i > 0 && memcmp(stored->sha256, found.sha256, sizeof(found.sha256)) != 0)
			WrvqReportAlike(names[i], names[i - 1]);
		if (found.level_count > 0)
			continue;
		if (!read_levels(stored, &is_damaged))
			stored->level_count = 0;
		if (is_damaged)
			damaged = names[i];
		found = *stored;
	}
	if (found.level_count == 0 && damaged != NULL)
		report_damaged(damaged);
	*stored = found;
	return found.level_count > 0;
}

/* The halves of a level's column as floats; raises if there are not as many as expected. */
static float *
read_halves(const WrvqStoredCodebook *stored, int level, WrvqStoredPart part, int64 expected)
{
	bytea  *bytes = stored->parts[level][part];
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

	return read_halves(stored, level, WRVQ_STORED_CODEWORDS,
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
	return elements == 0 ? NULL : read_halves(stored, level, WRVQ_STORED_TRANSFORM, elements);
}

/* The values that a stored weight can take, [2^weight_bits]; NULL if any. */
float *
WrvqStoredWeights(const WrvqStoredCodebook *stored, int level)
{
	const wrvq_level_shape *shape = &stored->levels[level];

	if (shape->weight_bits == 16 || shape->weight_rule == WRVQ_WEIGHT_ONE)
		return NULL;
	return read_halves(stored, level, WRVQ_STORED_WEIGHTS, INT64CONST(1) << shape->weight_bits);
}
