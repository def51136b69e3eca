/* wrvqcatalog.c: stored codebooks, wrvq_codebook and wrvq_codebook_level. */
#include "wrvq.h"

#include "catalog/pg_type_d.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static const char *const metric_names[] = {"l2", "ip", "cosine"};
static const char *const weight_names[] = {"one", "norm", "projection"};

/* columns of the query below */
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
	LEVEL
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

static void
incompatible(const char *name, const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("codebook \"%s\" cannot be used by an index", name), errdetail_internal("%s", detail)));
}

static void
run(const char *query, const char *name, int expected)
{
	Oid	  types[1] = {TEXTOID};
	Datum values[1] = {CStringGetTextDatum(name)};

	if (SPI_execute_with_args(query, 1, types, values, NULL, true, 0) != expected)
		elog(ERROR, "could not read codebook \"%s\"", name);
}

/* The halves of a bytea column as floats; raises if there are not as many as expected. */
static float *
spi_halves(const char *name, uint64 row, int column, int64 expected)
{
	bool   isnull;
	Datum  value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);
	bytea *bytes = isnull ? NULL : DatumGetByteaPP(value);
	float *floats;

	if (bytes == NULL || (int64) VARSIZE_ANY_EXHDR(bytes) != 2 * expected)
		incompatible(name, psprintf("Level %d has " INT64_FORMAT " bytes where " INT64_FORMAT " were expected.",
									spi_int(row, LEVEL), bytes == NULL ? (int64) 0 : (int64) VARSIZE_ANY_EXHDR(bytes),
									2 * expected));
	floats = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(float) * expected);
	/* a short varlena is not aligned */
	{
		uint16 *halves = MemoryContextAllocHuge(CurrentMemoryContext, 2 * expected);

		memcpy(halves, VARDATA_ANY(bytes), 2 * expected);
		SWIFT(wrvq_kernel.half_to_float(halves, floats, expected));
		pfree(halves);
	}
	WrvqCheckFinite(floats, expected);
	return floats;
}

/* Reads one level's row into the shape. */
static void
read_level_shape(const char *name, uint64 row, wrvq_shape *shape)
{
	wrvq_level_shape *level = &shape->levels[row];
	char			 *kind = spi_text(row, KIND), *weight = spi_text(row, WEIGHT);

	if (strcmp(kind, "flat") != 0 && strcmp(kind, "product") != 0)
		incompatible(name, psprintf("Level " UINT64_FORMAT " is of unknown kind \"%s\".", row, kind));
	level->kind = strcmp(kind, "flat") == 0 ? WRVQ_FLAT : WRVQ_PRODUCT;
	level->weight_rule = -1;
	for (int i = 0; i < lengthof(weight_names); i++)
		if (strcmp(weight, weight_names[i]) == 0)
			level->weight_rule = i;
	level->weight_bits = spi_int(row, WEIGHT_BITS);
	level->codeword_count = spi_int(row, CODEWORD_COUNT);
	level->piece_count = spi_int(row, PIECE_COUNT);
	level->piece_dimensions = spi_int(row, PIECE_DIMENSIONS);
	if (spi_int(row, TRANSFORM_BLOCK) != 0)
	{
		if (level->kind != WRVQ_PRODUCT)
			incompatible(name, psprintf("Level " UINT64_FORMAT " is flat and has a transform.", row));
		shape->transform_block_dimensions = spi_int(row, TRANSFORM_BLOCK);
	}
}

/* Halves in the transform's diagonal blocks. */
static int64
transform_elements(const wrvq_shape *shape)
{
	int64 elements = 0, block = shape->transform_block_dimensions;

	for (int64 start = 0; block > 0 && start < shape->dimensions; start += block)
	{
		int64 size = Min(block, shape->dimensions - start);

		elements += size * size;
	}
	return elements;
}

static void
fill_image(const char *name, WrvqCodebook *codebook)
{
	const wrvq_shape *shape = &codebook->view.shape;
	float			 *scratch = palloc(sizeof(float) * 2 * (shape->dimensions + 16));

	/* the transform first: the other levels go into the space that it makes */
	for (int i = 0; i < shape->level_count; i++)
		if (shape->levels[i].kind == WRVQ_PRODUCT && shape->transform_block_dimensions > 0)
		{
			float *rows = spi_halves(name, i, TRANSFORM, transform_elements(shape));

			SWIFT(wrvq_kernel.image_set_transform(&codebook->view, rows));
			pfree(rows);
		}
	for (int i = 0; i < shape->level_count; i++)
	{
		const wrvq_level_shape *level = &shape->levels[i];
		int64					elements = level->kind == WRVQ_FLAT ? (int64) level->codeword_count * shape->dimensions
																	: (int64) level->piece_count * 16 * level->piece_dimensions;
		float				   *rows = spi_halves(name, i, CODEWORDS, elements);

		SWIFT(wrvq_kernel.image_set_level(&codebook->view, i, rows, scratch));
		pfree(rows);
	}
}

/* Compares what the index asks for with what the codebook is. */
static void
check_codebook(Relation index, const char *name, int dimensions, const char *metric)
{
	const WrvqSupport *support = WrvqIndexSupport(index);
	int				   codebook_dimensions = spi_int(0, 1);

	if (dimensions > 0 && codebook_dimensions != dimensions)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("codebook \"%s\" has %d dimensions, the indexed vectors have %d", name,
							   codebook_dimensions, dimensions)));
	if (strcmp(metric, metric_names[support->metric]) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("codebook \"%s\" is trained for metric %s, the operator class is for %s", name, metric,
							   metric_names[support->metric]),
						errhint("Train a codebook with --metric %s.", metric_names[support->metric])));
}

static void
check_options(Relation index, const char *name, wrvq_shape *shape)
{
	WrvqOptions *options = WrvqGetOptions(index);
	bool		 can_be_fuzzy = shape->level_count > 1 && shape->levels[1].kind == WRVQ_FLAT &&
						shape->levels[1].codeword_count <= WRVQ_SUBLISTS_MAX;

	if (options->lists != 0 && options->lists != shape->levels[0].codeword_count)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"lists\" is %d, but codebook \"%s\" has %d lists", options->lists, name,
							   shape->levels[0].codeword_count),
						errhint("Leave out \"lists\".")));
	if (options->fuzzy_levels > 0 && !can_be_fuzzy)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"fuzzy_levels\" is %d, but level 1 of codebook \"%s\" cannot key sub-lists",
							   options->fuzzy_levels, name)));
	shape->fuzzy_levels = options->fuzzy_levels >= 0 ? options->fuzzy_levels : can_be_fuzzy;
}

/*
 * There is no codebook of the name in the reloptions: an ERROR when rows wait
 * for it, a WARNING on an empty table or while a dump is restored.
 */
void
WrvqReportNoCodebook(Relation index, int elevel)
{
	ereport(elevel,
			(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("codebook \"%s\" does not exist", WrvqCodebookOption(index)),
			 elevel >= ERROR
				 ? errhint("Train one with \"wrvq train\", load one with \"wrvq load\", or leave out the option.")
				 : errdetail("The index trains one of its own; REINDEX it once the codebook is there.")));
}

/*
 * The codebook that the index's reloptions name, in the current memory context;
 * NULL if there is none of that name.  dimensions 0 takes the codebook's.
 */
WrvqCodebook *
WrvqLoadCodebook(Relation index, int dimensions, uint8 *sha256)
{
	const char	 *name = WrvqCodebookOption(index);
	const char	 *schema = quote_identifier(get_namespace_name(get_func_namespace(index->rd_amhandler)));
	MemoryContext caller = CurrentMemoryContext, spi;
	WrvqCodebook *codebook;
	wrvq_shape	  shape = {0};
	wrvq_status	  status;
	bool		  isnull;
	bytea		 *sha;

	SPI_connect();
	run(psprintf("SELECT dimensions, metric, sha256, coalesce((properties->>'scale')::float4, 1)"
				 " FROM %s.wrvq_codebook WHERE name = $1",
				 schema),
		name, SPI_OK_SELECT);
	if (SPI_processed == 0)
	{
		SPI_finish();
		return NULL;
	}
	check_codebook(index, name, dimensions, spi_text(0, 2));
	shape.dimensions = spi_int(0, 1);
	shape.metric = WrvqIndexSupport(index)->metric;
	shape.scale = DatumGetFloat4(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 4, &isnull));
	sha = DatumGetByteaPP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
	memset(sha256, 0, 32);
	memcpy(sha256, VARDATA_ANY(sha), Min(32, VARSIZE_ANY_EXHDR(sha)));

	run(psprintf("SELECT kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, codewords,"
				 " transform_block_dimensions, transform, level"
				 " FROM %s.wrvq_codebook_level WHERE name = $1 ORDER BY level",
				 schema),
		name, SPI_OK_SELECT);
	if (SPI_processed == 0)
	{
		/* half restored */
		SPI_finish();
		return NULL;
	}
	if (SPI_processed > WRVQ_LEVELS_MAX)
		incompatible(name, psprintf("It has " UINT64_FORMAT " levels, an index takes 1 to %d.", SPI_processed,
									WRVQ_LEVELS_MAX));
	shape.level_count = SPI_processed;
	for (int i = 0; i < shape.level_count; i++)
		read_level_shape(name, i, &shape);
	check_options(index, name, &shape);
	SWIFT(status = wrvq_kernel.shape_check(&shape));
	if (status != WRVQ_OK)
		incompatible(name,
					 "An index takes a flat level of weight one, then flat levels, then at most one product level;"
					 " an entry may have 252 bytes.");

	spi = MemoryContextSwitchTo(caller);
	codebook = WrvqNewCodebook(&shape);
	MemoryContextSwitchTo(spi);
	fill_image(name, codebook);
	SPI_finish();
	return codebook;
}
