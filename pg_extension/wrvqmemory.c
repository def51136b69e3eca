/*
 * wrvqmemory.c: what a build takes of memory, and what it does with less to
 * keep within maintenance_work_mem: a smaller sample, fewer calibration
 * queries, fewer lists, no workers.  Below what one list of such vectors takes
 * there is nothing left to do without.
 */
#include "wrvq.h"

#include "miscadmin.h"

/* the least that a sort works with, as tuplesort has it */
#define SORT_KILOBYTES_MIN 64

/* rows that a sample has where memory is scarce: sixteen for each of the sixteen codewords of a direction or a piece */
#define SAMPLE_ROWS_MIN 256

/* of the memory, what samples and calibration queries may take: an index is made of the rest */
#define SAMPLE_SHARE  2
#define QUERIES_SHARE 4

/* queries without which a curve says nothing: of ten neighbours each, some hundred */
#define QUERIES_MIN 16

static int64
budget(void)
{
	return (int64) maintenance_work_mem * 1024;
}

/* A view of a codebook of this shape that has no image: sizes follow from shapes alone. */
static wrvq_codebook *
view_of(const wrvq_shape *shape)
{
	wrvq_codebook *view = palloc0(sizeof(wrvq_codebook));

	view->shape = *shape;
	return view;
}

/* The codebook while it is trained, of so many rows: trainer, sample and image. */
static int64
training_bytes(const wrvq_shape *shape, int64 rows, int queries)
{
	int64 trainer, image, scratch;

	SWIFT(trainer = wrvq_training.trainer_bytes(shape, rows));
	SWIFT(image = wrvq_kernel.image_bytes(shape));
	SWIFT(scratch = wrvq_kernel.image_scratch_floats(shape));
	return trainer + image + scratch * sizeof(float) +
		   (rows + queries) * (sizeof(float) * shape->dimensions + sizeof(uint64));
}

/* What every participant of the pass over the table has for itself, beside its sort. */
static int64
participant_bytes(const wrvq_codebook *view, int queries)
{
	int64 statistics, calibration, encoder;

	SWIFT(statistics = wrvq_kernel.statistics_bytes(view));
	SWIFT(calibration = wrvq_kernel.calibration_bytes(view, queries));
	SWIFT(encoder = wrvq_kernel.encode_scratch_bytes(view, WRVQ_BATCH_ROWS));
	return statistics + calibration + encoder + 2 * sizeof(float) * view->shape.dimensions * WRVQ_BATCH_ROWS;
}

/*
 * The pass, and what comes after it, without the sorts.  Workers: what each
 * has, and the leader's sums and image twice, as they lie in shared memory, too.
 */
static int64
pass_bytes(const wrvq_shape *shape, int queries, int workers)
{
	wrvq_codebook *view = view_of(shape);
	int64		   image, query, bytes;

	SWIFT(image = wrvq_kernel.image_bytes(shape));
	SWIFT(query = wrvq_kernel.query_bytes(view));
	bytes = image * (workers > 0 ? 2 : 1) + participant_bytes(view, queries) * (workers > 0 ? workers + 2 : 1) + query +
			sizeof(WrvqListEntry) * shape->levels[0].codeword_count +
			2 * sizeof(float) * (int64) queries * shape->dimensions;
	pfree(view);
	return bytes;
}

/* All of a build by one process whose sample has so many rows; rows 0: there is nothing to train. */
static int64
build_bytes(const wrvq_shape *shape, int64 rows, int queries)
{
	int64 pass = pass_bytes(shape, queries, 0) + SORT_KILOBYTES_MIN * INT64CONST(1024);

	return rows == 0 ? pass : Max(pass, training_bytes(shape, rows, queries));
}

/* How many of the workers that are wanted fit. */
int
WrvqWorkersThatFit(const wrvq_shape *shape, int queries, int wanted)
{
	while (wanted > 0 &&
		   pass_bytes(shape, queries, wanted) + (wanted + 1) * SORT_KILOBYTES_MIN * INT64CONST(1024) > budget())
		wanted--;
	return wanted;
}

/* May a trainer and its sample lie in shared memory, while both images are there, too? */
bool
WrvqTrainingFits(const wrvq_shape *shape, int64 training_bytes, int queries)
{
	int64 image;

	SWIFT(image = wrvq_kernel.image_bytes(shape));
	return training_bytes + 2 * image + (int64) queries * sizeof(float) * shape->dimensions <= budget();
}

/* What is left for the sorts of all participants together. */
int
WrvqSortKilobytes(const wrvq_shape *shape, int queries, int workers)
{
	int64 left = (budget() - pass_bytes(shape, queries, workers)) / 1024;

	return (int) Max((int64) SORT_KILOBYTES_MIN * (workers + 1), left);
}

/* Calibration queries out of those wanted: they are in memory some ten times over. */
int
WrvqQueriesThatFit(int dimensions, int64 wanted)
{
	wrvq_shape	   shape = {.dimensions = dimensions,
							.level_count = 1,
							.scale = 1,
							.levels = {{.kind = WRVQ_FLAT, .weight_bits = 16, .codeword_count = 1}}};
	wrvq_codebook *view = view_of(&shape);
	int64		   low = Min(wanted, QUERIES_MIN), high = wanted;

	while (low < high)
	{
		int64 middle = (low + high + 1) / 2, bytes;

		SWIFT(bytes = wrvq_kernel.calibration_bytes(view, middle));
		if (bytes + 3 * (int64) sizeof(float) * middle * dimensions <= budget() / QUERIES_SHARE)
			low = middle;
		else
			high = middle - 1;
	}
	pfree(view);
	return (int) low;
}

/* Rows that a build holds out of a sample, at most, if so many are to be left. */
int64
WrvqHeldOutRows(int dimensions, int64 rows)
{
	return Min(rows / 7 + 1, WrvqQueriesThatFit(dimensions, WRVQ_CALIBRATION_QUERIES));
}

/* Sample rows out of those wanted that leave room for the rest, given a codebook's shape. */
int64
WrvqSampleThatFits(const wrvq_shape *shape, int64 wanted)
{
	int64 row_bytes = sizeof(float) * shape->dimensions;
	int64 low = Min(wanted, SAMPLE_ROWS_MIN), high = Min(wanted, Max(low, budget() / SAMPLE_SHARE / row_bytes));

	while (low < high)
	{
		int64 middle = (low + high + 1) / 2;

		if (build_bytes(shape, middle, WrvqQueriesThatFit(shape->dimensions, middle / 8)) <= budget())
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/* What a build takes whose shape has so many lists, each of which is to have a row in the sample. */
static int64
bytes_with_lists(const wrvq_shape *shape, int lists)
{
	wrvq_shape other = *shape;

	other.levels[0].codeword_count = lists;
	return build_bytes(&other, Max(lists, SAMPLE_ROWS_MIN), QUERIES_MIN);
}

/*
 * Lists out of those wanted: as many as fit, or as take half of the memory where
 * a single one takes all of it.
 */
int
WrvqListsThatFit(const wrvq_shape *shape, int wanted)
{
	int	  low = 1, high = wanted;
	int64 most = Max(budget(), bytes_with_lists(shape, 1) + budget() / 2);

	while (low < high)
	{
		int middle = low + (high - low + 1) / 2;

		if (bytes_with_lists(shape, middle) <= most)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/*
 * Do lists that were asked for fit?  What one list takes is not their fault:
 * a build without the option takes as much, if memory is that scarce.
 */
bool
WrvqListsFit(const wrvq_shape *shape, int lists)
{
	return bytes_with_lists(shape, lists) - bytes_with_lists(shape, 1) <= budget();
}

/* Refuses lists that were asked for and do not fit. */
void
WrvqCheckListsFit(Relation index, const wrvq_shape *shape, int lists)
{
	int64 bytes = bytes_with_lists(shape, lists);

	if (WrvqListsFit(shape, lists))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("memory required for %d lists is %lld MB, maintenance_work_mem is %d MB", lists,
					(long long) (bytes / (1024 * 1024) + 1), maintenance_work_mem / 1024),
			 errdetail("Index \"%s\" is to have so many lists, of vectors of %d dimensions.",
					   RelationGetRelationName(index), shape->dimensions),
			 errhint("Raise maintenance_work_mem, or leave out the option \"lists\": as many are then made as fit.")));
}
