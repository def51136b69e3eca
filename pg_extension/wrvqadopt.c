/* wrvqadopt.c: an index takes a stored codebook for its own. */
#include "wrvq.h"

#include <math.h>


/* lists of a codebook that an index of codes takes over: rows a list, and lists for each square root of the rows */
#define ADOPTED_LIST_ROWS_MAX 4096
#define ADOPTED_LISTS_MAX	  16

static void
fill_image(const WrvqStoredCodebook *stored, WrvqCodebook *codebook)
{
	const wrvq_shape *shape = &codebook->view.shape;
	float			 *scratch;
	int64			  scratch_floats;

	SWIFT(scratch_floats = wrvq_kernel.image_scratch_floats(shape));
	scratch = palloc_extended(sizeof(float) * scratch_floats, MCXT_ALLOC_HUGE);

	/* the transform first: the other levels go into the space that it makes */
	for (int i = 0; i < shape->level_count; i++)
	{
		float *transform = WrvqStoredTransform(stored, i);

		if (transform == NULL)
			continue;
		SWIFT(wrvq_kernel.image_set_transform(&codebook->view, transform));
		pfree(transform);
	}
	for (int i = 0; i < shape->level_count; i++)
	{
		float *rows = WrvqStoredCodewords(stored, i);

		SWIFT(wrvq_kernel.image_set_level(&codebook->view, i, rows, scratch));
		pfree(rows);
	}
}

/* Compares what the index asks for with what the codebook is. */
static void
check_codebook(Relation index, const WrvqStoredCodebook *stored, int dimensions)
{
	wrvq_metric metric = WrvqIndexSupport(index)->metric;

	if (dimensions > 0 && stored->dimensions != dimensions)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("codebook \"%s\" has %d dimensions, the indexed vectors have %d", stored->name,
							   stored->dimensions, dimensions)));
	if (stored->metric != (int) metric)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("codebook \"%s\" is trained for metric %s, the operator class is for %s", stored->name,
							   WrvqMetricName(stored->metric), WrvqMetricName(metric)),
						errhint("Train a codebook with --metric %s.", WrvqMetricName(metric))));
	for (int i = 0; i < stored->level_count; i++)
		if (stored->levels[i].kind == WRVQ_FLAT && stored->transform_blocks[i] != 0)
			WrvqCannotUseCodebook(stored->name,
								  psprintf("Level %d is flat and has a transform, which an index does not take.", i));
}

/* How many of its levels from 1 on can key sub-lists. */
static int
fuzzy_levels_max(const wrvq_shape *shape)
{
	int levels = 0, sublists = 1;

	while (levels < WRVQ_FUZZY_LEVELS_MAX && levels + 1 < shape->level_count &&
		   shape->levels[levels + 1].kind == WRVQ_FLAT &&
		   shape->levels[levels + 1].codeword_count <= WRVQ_SUBLISTS_MAX / sublists)
		sublists *= shape->levels[++levels].codeword_count;
	return levels;
}

static void
check_options(Relation index, const char *name, wrvq_shape *shape)
{
	WrvqOptions *options = WrvqGetOptions(index);
	int			 most = fuzzy_levels_max(shape);

	if (options->lists != 0 && options->lists != shape->levels[0].codeword_count)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"lists\" is %d, but codebook \"%s\" has %d lists", options->lists, name,
							   shape->levels[0].codeword_count),
						errhint("Leave out \"lists\".")));
	if (options->fuzzy_levels > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"fuzzy_levels\" is %d, but level %d of codebook \"%s\" cannot key sub-lists",
						options->fuzzy_levels, most + 1, name),
				 errhint("Sub-lists have the codes of flat levels from 1 on, %d of them at most.", WRVQ_SUBLISTS_MAX)));
	shape->fuzzy_levels = options->fuzzy_levels >= 0 ? options->fuzzy_levels : Min(most, 1);
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

/* What an index with this codebook looks like, without fuzzy levels. */
static void
take_shape(const WrvqStoredCodebook *stored, int metric, wrvq_shape *shape)
{
	memset(shape, 0, sizeof(wrvq_shape));
	shape->dimensions = stored->dimensions;
	shape->metric = metric;
	shape->scale = stored->scale;
	shape->level_count = stored->level_count;
	memcpy(shape->levels, stored->levels, sizeof(shape->levels));
	for (int i = 0; i < stored->level_count; i++)
		if (stored->transform_blocks[i] != 0)
			shape->transform_block_dimensions = stored->transform_blocks[i];
}

static bool
is_valid(const wrvq_shape *shape)
{
	wrvq_status status;

	SWIFT(status = wrvq_kernel.shape_check(shape));
	return status == WRVQ_OK;
}

/* The codebook in memory of the given context. */
static WrvqCodebook *
make_codebook(const WrvqStoredCodebook *stored, const wrvq_shape *shape, uint8 *sha256, MemoryContext context)
{
	MemoryContext spi = MemoryContextSwitchTo(context);
	WrvqCodebook *codebook = WrvqNewCodebook(shape);

	MemoryContextSwitchTo(spi);
	fill_image(stored, codebook);
	memcpy(sha256, stored->sha256, sizeof(stored->sha256));
	return codebook;
}

/*
 * The codebook that the index's reloptions name, in the current memory context;
 * NULL if there is none of that name.  dimensions 0 takes the codebook's.
 */
WrvqCodebook *
WrvqLoadCodebook(Relation index, int dimensions, uint8 *sha256)
{
	MemoryContext	   caller = CurrentMemoryContext;
	WrvqStoredCodebook stored;
	WrvqCodebook	  *codebook = NULL;
	wrvq_shape		   shape;

	WrvqBeginReading();
	if (WrvqReadStored(WrvqCodebookOption(index), &stored) && WrvqReadStoredLevels(&stored))
	{
		check_codebook(index, &stored, dimensions);
		take_shape(&stored, stored.metric, &shape);
		check_options(index, stored.name, &shape);
		if (!is_valid(&shape))
			WrvqCannotUseCodebook(stored.name,
								  "An index takes a flat level of weight one, then flat levels, then at most one"
								  " product level; an entry may have 252 bytes.");
		codebook = make_codebook(&stored, &shape, sha256, caller);
	}
	WrvqEndReading();
	return codebook;
}

/* Does a codebook that rows are codes of make an index of so many that is as good as one with a codebook of its own? */
static bool
is_adoptable(Relation index, const WrvqStoredCodebook *stored, double rows)
{
	wrvq_metric metric = WrvqIndexSupport(index)->metric;
	double		lists = stored->levels[0].codeword_count;

	/* only under cosine are vectors normalised */
	if (metric == WRVQ_COSINE && stored->metric != WRVQ_COSINE)
		return false;
	for (int i = 0; i < stored->level_count; i++)
		if (stored->levels[i].kind == WRVQ_FLAT && stored->transform_blocks[i] != 0)
			return false;
	return lists * ADOPTED_LIST_ROWS_MAX >= rows && lists <= ADOPTED_LISTS_MAX * sqrt(rows);
}

/*
 * The codebook of this identity, which about so many rows of the index are codes of, in the current
 * memory context: its lists and levels are theirs already.  NULL if it does not fit, or if the
 * reloptions ask for others: the index trains one of its own.
 */
WrvqCodebook *
WrvqAdoptCodebook(Relation index, uint64 identity, double rows, uint8 *sha256)
{
	MemoryContext	   caller = CurrentMemoryContext;
	WrvqOptions		  *options = WrvqGetOptions(index);
	WrvqStoredCodebook stored;
	WrvqCodebook	  *codebook = NULL;
	wrvq_shape		   shape;

	if (identity == 0 || (options != NULL && (options->lists > 0 || options->fuzzy_levels >= 0)))
		return NULL;
	WrvqBeginReading();
	if (WrvqReadStoredOf(identity, &stored) && WrvqReadStoredLevels(&stored) && is_adoptable(index, &stored, rows))
	{
		take_shape(&stored, WrvqIndexSupport(index)->metric, &shape);
		shape.fuzzy_levels = Min(fuzzy_levels_max(&shape), 1);
		if (is_valid(&shape))
			codebook = make_codebook(&stored, &shape, sha256, caller);
	}
	WrvqEndReading();
	return codebook;
}
