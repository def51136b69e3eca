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

/*
 * Lists for a number of rows: 4 square roots.  The cost of ranking lists and
 * that of scanning them then stay in proportion.
 */
static int
choose_lists(Relation index, double rows)
{
	WrvqOptions *options = WrvqGetOptions(index);

	if (options != NULL && options->lists > 0)
		return options->lists;
	return Max(1, Min(WRVQ_LISTS_MAX, (int) rint(4 * sqrt(rows))));
}

/* Sample rows that training wants: enough a list, and no more than fit maintenance_work_mem. */
int64
WrvqSampleRows(Relation index, int dimensions, double total_rows)
{
	int64 wanted = Max((int64) 10000, (int64) choose_lists(index, total_rows) * 25);
	int64 fitting = (int64) maintenance_work_mem * 1024 / 2 / (sizeof(float) * Max(dimensions, 1));

	return Max(1, Min(wanted, Max(fitting, 256)));
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
make_shape(Relation index, int dimensions, double total_rows, wrvq_shape *shape)
{
	int			lists = choose_lists(index, total_rows);
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

/* A codebook for an index of about total_rows rows, empty as yet, in the current memory context. */
WrvqCodebook *
WrvqPlanCodebook(Relation index, const float *sample, int64 rows, int dimensions, double total_rows)
{
	wrvq_shape shape;

	make_shape(index, dimensions, total_rows, &shape);
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
		pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_DONE, (int64) (progress * 1000));
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

/* Fills a planned codebook; consumes the sample.  With the help of workers, if there are any. */
void
WrvqTrain(WrvqCodebook *codebook, float *sample, int64 rows, WrvqWorkers *workers)
{
	MemoryContext	  caller = CurrentMemoryContext;
	MemoryContext	  context = AllocSetContextCreate(caller, "wrvq training", ALLOCSET_DEFAULT_SIZES);
	const wrvq_shape *shape = &codebook->view.shape;
	char			 *memory = WrvqTrainingMemory(workers);
	wrvq_trainer	 *trainer;

	MemoryContextSwitchTo(context);
	prepare_sample(sample, rows, shape);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_SUBPHASE, 3);
	pgstat_progress_update_param(PROGRESS_CREATEIDX_TUPLES_TOTAL, 1000);
	if (memory != NULL)
	{
		/* the sample where the workers can see it, too */
		memcpy(memory, sample, sizeof(float) * shape->dimensions * rows);
		sample = (float *) memory;
		memory += sample_bytes(codebook, rows);
	}
	else
		memory = (char *) TYPEALIGN(64, MemoryContextAllocHuge(context, WrvqTrainingBytes(codebook, rows) -
																			sample_bytes(codebook, rows) + 64));
	SWIFT(trainer = wrvq_training.trainer_begin(shape, sample, rows, TRAINING_SEED, TRAINING_ITERATIONS, memory));
	run_trainer(trainer, workers);
	take_results(codebook, trainer);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
}
