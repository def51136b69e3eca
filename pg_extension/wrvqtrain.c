/* wrvqtrain.c: a codebook of the index's own, from a sample of its rows. */
#include "wrvq.h"

#include <math.h>

#include "commands/progress.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"

/* k-means iterations a level: a fourth gains 1 % of the loss, and finds nothing in fewer entries */
#define TRAINING_ITERATIONS 3

/* the same rows and options give the same codebook */
#define TRAINING_SEED 1

/* codewords of level 1, which key the sub-lists */
#define SUBLISTS 16

/* a training's work, in "tuples" of pg_stat_progress_create_index */
#define PROGRESS_UNITS 1000

/* steps in which a sample moves into shared memory, a sixteenth of it being there twice; smaller ones are not worth it */
#define MOVES		   16
#define MOVE_BYTES_MIN ((Size) 1024 * 1024)

/* Lists that the options ask for; 0: none are said. */
static int
lists_option(Relation index)
{
	WrvqOptions *options = WrvqGetOptions(index);

	return options == NULL ? 0 : options->lists;
}

/*
 * Lists for a number of rows: 4 square roots.  The cost of ranking lists and
 * that of scanning them then stay in proportion.
 */
static int
wanted_lists(Relation index, double rows)
{
	int asked = lists_option(index);

	return asked > 0 ? asked : Max(1, Min(WRVQ_LISTS_MAX, (int) rint(4 * sqrt(rows))));
}

/* By size: with two levels a sub-list must still fill half a block, or ranking it costs what it spares. */
static int
choose_fuzzy_levels(Relation index, double total_rows, int lists)
{
	WrvqOptions *options = WrvqGetOptions(index);

	if (options != NULL && options->fuzzy_levels >= 0)
		return options->fuzzy_levels;
	return total_rows >= (double) lists * SUBLISTS * SUBLISTS * WRVQ_BLOCK_ENTRIES / 2 ? 2 : 1;
}

static wrvq_level_shape
flat_level(int codewords, wrvq_weight_rule rule)
{
	return (wrvq_level_shape){.kind = WRVQ_FLAT, .weight_rule = rule, .weight_bits = 16, .codeword_count = codewords};
}

/* flat lists, flat directions for each level of sub-lists, a product level with a transform */
static void
make_shape(Relation index, int dimensions, double total_rows, int lists, wrvq_shape *shape)
{
	wrvq_status status;

	memset(shape, 0, sizeof(wrvq_shape));
	shape->dimensions = dimensions;
	shape->metric = WrvqIndexSupport(index)->metric;
	shape->scale = 1;
	SWIFT(shape->transform_block_dimensions = wrvq_training.default_transform_block(dimensions));
	shape->fuzzy_levels = choose_fuzzy_levels(index, total_rows, lists);
	shape->levels[0] = flat_level(lists, WRVQ_WEIGHT_ONE);
	shape->level_count = 1;
	for (int i = 0; i < Max(shape->fuzzy_levels, 1); i++)
		shape->levels[shape->level_count++] = flat_level(SUBLISTS, WRVQ_WEIGHT_PROJECTION);
	SWIFT(status = wrvq_training.plan_product(shape));
	if (status != WRVQ_OK)
		elog(ERROR, "bad shape for %d dimensions", dimensions);
}

/* What brings the median length near one, so that weights fit half precision. */
static float
choose_scale(const float *sample, int64 rows, int dimensions)
{
	uint64 *keys = palloc_extended(sizeof(uint64) * Max(rows, 1), MCXT_ALLOC_HUGE);
	float	scale;

	for (int64 at = 0; at < rows; at += WRVQ_BATCH_ROWS)
	{
		SWIFT(wrvq_training.length_keys(sample + at * dimensions, Min(WRVQ_BATCH_ROWS, rows - at), dimensions,
										keys + at));
		CHECK_FOR_INTERRUPTS();
	}
	SWIFT(scale = wrvq_training.median_scale(keys, rows));
	pfree(keys);
	return scale;
}

/* Scales the sample in place, or normalises it under cosine, as prepare() will do with every row. */
static void
prepare_sample(float *sample, int64 rows, const wrvq_shape *shape)
{
	for (int64 at = 0; at < rows; at += WRVQ_BATCH_ROWS)
	{
		int64	  count = Min(WRVQ_BATCH_ROWS, rows - at);
		ptrdiff_t kept;

		SWIFT(kept = wrvq_training.prepare_sample(sample + at * shape->dimensions, count, shape->dimensions,
												  shape->metric, shape->scale));
		if (kept != count)
			elog(ERROR, "a sample row has no direction");
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Sample rows that training wants: enough a list.  dimensions, unless they are 0: and no more than fit, but a row
 * for each list that was asked for, of those that are not held out.
 */
int64
WrvqSampleRows(Relation index, int dimensions, double total_rows)
{
	int		   asked = lists_option(index), lists = wanted_lists(index, total_rows);
	int64	   wanted = Max((int64) 10000, (int64) lists * 25);
	wrvq_shape shape;

	if (dimensions == 0)
		return wanted;
	make_shape(index, dimensions, total_rows, lists, &shape);
	if (asked > 0 && WrvqListsFit(&shape, asked))
		return Max(WrvqSampleThatFits(&shape, wanted), asked + WrvqHeldOutRows(dimensions, asked));
	shape.levels[0].codeword_count = WrvqListsThatFit(&shape, lists);
	return WrvqSampleThatFits(&shape, wanted);
}

/*
 * Lists of an index that learns from so many rows of all: as many as were asked
 * for, or as suit the rows.  No more than there are rows to learn from, as
 * others would be copies of these, and no more than fit the memory.
 */
static int
choose_lists(Relation index, wrvq_shape *shape, int64 rows, double total_rows, bool may_refuse)
{
	int wanted = wanted_lists(index, total_rows), lists = wanted, fitting;

	if (lists_option(index) > 0)
	{
		if (lists > total_rows)
			lists = Min(lists, rows);
		if (lists < wanted)
			ereport(NOTICE, (errmsg("lists of index \"%s\" reduced to %d of %d: there are no more rows to learn from",
									RelationGetRelationName(index), lists, wanted),
							 errhint("REINDEX once the table has more rows.")));
		if (may_refuse)
			WrvqCheckListsFit(index, shape, lists);
		if (WrvqListsFit(shape, lists))
			return Min(lists, rows);
	}
	fitting = Min(WrvqListsThatFit(shape, lists), rows);
	if (fitting < lists)
		ereport(NOTICE, (errmsg("lists of index \"%s\" reduced to %d of %d, to keep within maintenance_work_mem",
								RelationGetRelationName(index), fitting, lists),
						 errhint("With more memory, searches of the index are faster.")));
	return fitting;
}

/*
 * A codebook for an index of about total_rows rows, empty as yet, in the
 * current memory context.  may_refuse: raises an error if the lists that were
 * asked for do not fit the memory.
 */
WrvqCodebook *
WrvqPlanCodebook(Relation index, const float *sample, int64 rows, int dimensions, double total_rows, bool may_refuse)
{
	wrvq_shape shape;
	int		   lists;

	make_shape(index, dimensions, total_rows, wanted_lists(index, total_rows), &shape);
	lists = choose_lists(index, &shape, rows, total_rows, may_refuse);
	make_shape(index, dimensions, total_rows, lists, &shape);
	if (shape.metric != WRVQ_COSINE)
		shape.scale = choose_scale(sample, rows, dimensions);
	return WrvqNewCodebook(&shape);
}

static Size
sample_bytes(const WrvqCodebook *codebook, int64 rows)
{
	return TYPEALIGN(64, sizeof(float) * codebook->view.shape.dimensions * rows);
}

/* Memory for a sample of so many rows and its trainer. */
Size
WrvqTrainingBytes(const WrvqCodebook *codebook, int64 rows)
{
	int64 bytes;

	SWIFT(bytes = wrvq_training.trainer_bytes(&codebook->view.shape, rows));
	return sample_bytes(codebook, rows) + bytes;
}

static void
run_trainer(wrvq_trainer *trainer, WrvqWorkers *workers)
{
	wrvq_status status;
	uint32		step = 0;

	do
	{
		int32 units;
		float progress;

		SWIFT(units = wrvq_training.trainer_units(trainer));
		if (WrvqTrainingMemory(workers) != NULL)
			WrvqTrainTogether(workers, trainer, ++step, units);
		else
			for (int32 unit = 0; unit < units; unit++)
			{
				SWIFT(wrvq_training.trainer_work(trainer, unit));
				CHECK_FOR_INTERRUPTS();
			}
		SWIFT(status = wrvq_training.trainer_advance(trainer));
		SWIFT(progress = wrvq_training.trainer_progress(trainer));
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) (progress * PROGRESS_UNITS));
		CHECK_FOR_INTERRUPTS();
	} while (status == WRVQ_MORE);
}

static void
take_results(WrvqCodebook *codebook, const wrvq_trainer *trainer)
{
	float		*scratch;
	const float *transform;
	int64		 scratch_floats;

	SWIFT(scratch_floats = wrvq_kernel.image_scratch_floats(&codebook->view.shape));
	scratch = palloc_extended(sizeof(float) * scratch_floats, MCXT_ALLOC_HUGE);
	SWIFT(transform = wrvq_training.trainer_transform(trainer));
	SWIFT(wrvq_kernel.image_set_transform(&codebook->view, transform));
	for (int i = 0; i < codebook->view.shape.level_count; i++)
	{
		const float *codewords;

		SWIFT(codewords = wrvq_training.trainer_codewords(trainer, i));
		SWIFT(wrvq_kernel.image_set_level(&codebook->view, i, codewords, scratch));
	}
}

/*
 * Moves the sample to where the workers see it, too, from its end on: what has
 * been copied is given back at once, so that there are no two of it.
 */
static void
move_sample(float *sample, Size bytes, char *target)
{
	Size step = Max(bytes / MOVES, MOVE_BYTES_MIN);

	while (bytes > 0)
	{
		Size part = Min(step, bytes);

		bytes -= part;
		memcpy(target + bytes, (char *) sample + bytes, part);
		if (bytes > 0)
			sample = repalloc_huge(sample, bytes);
		CHECK_FOR_INTERRUPTS();
	}
	pfree(sample);
}

/* Fills a planned codebook; consumes and frees the sample.  With the help of workers, if there are any. */
void
WrvqTrain(WrvqCodebook *codebook, float *sample, int64 rows, WrvqWorkers *workers)
{
	MemoryContext	  caller = CurrentMemoryContext;
	MemoryContext	  context = AllocSetContextCreate(caller, "wrvq training", ALLOCSET_DEFAULT_SIZES);
	const wrvq_shape *shape = &codebook->view.shape;
	char			 *memory = WrvqTrainingMemory(workers);
	float			 *rows_of_all = (float *) memory;
	wrvq_trainer	 *trainer;

	MemoryContextSwitchTo(context);
	WrvqBeginPhase(WRVQ_PHASE_TRAIN, PROGRESS_UNITS);
	prepare_sample(sample, rows, shape);
	if (memory != NULL)
	{
		move_sample(sample, sizeof(float) * shape->dimensions * rows, memory);
		memory += sample_bytes(codebook, rows);
	}
	else
	{
		rows_of_all = sample;
		memory = (char *) TYPEALIGN(64, MemoryContextAllocHuge(context, WrvqTrainingBytes(codebook, rows) -
																			sample_bytes(codebook, rows) + 64));
	}
	SWIFT(trainer = wrvq_training.trainer_begin(shape, rows_of_all, rows, TRAINING_SEED, TRAINING_ITERATIONS, memory));
	run_trainer(trainer, workers);
	take_results(codebook, trainer);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	if (rows_of_all == sample)
		pfree(sample);
}
