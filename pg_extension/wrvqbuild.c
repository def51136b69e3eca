/* wrvqbuild.c: CREATE INDEX: sample, train, encode, sort, write. */
#include "wrvq.h"

#include "access/htup_details.h"
#include "catalog/index.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "commands/progress.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/tuplesort.h"

/* rows drawn to measure an index with whose codebook is given */
#define CALIBRATION_ROWS 1024

/* pages among which there is a row */
#define FIRST_BLOCKS 64

typedef struct BuildState
{
	Relation		   heap;
	Relation		   index;
	IndexInfo		  *info;
	const WrvqSupport *support;
	WrvqMetaData	   meta;
	WrvqCodebook	  *codebook;	   /* NULL: untrained */
	uint64			   first_codebook; /* of rows that are codes */
	WrvqCalibration	  *calibration;
	WrvqWorkers		  *workers; /* NULL: none */
	void			  *statistics;
	Tuplesortstate	  *sort;
	double			   expected_rows; /* by the sample */
	double			   heap_tuples;
	double			   rows;
	double			   loss;
} BuildState;

/* Encodes every row, into the sort. */
static void
encode_table(BuildState *state)
{
	int64 bytes;

	WrvqBeginPhase(WRVQ_PHASE_ENCODE, (int64) state->expected_rows);
	SWIFT(bytes = wrvq_kernel.statistics_bytes(&state->codebook->view));
	state->statistics = palloc_extended(bytes, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	WrvqBeginCalibration(state->calibration, state->codebook);
	if (state->workers != NULL)
		state->sort =
			WrvqEncodeTogether(state->workers, state->heap, state->index, state->info, state->codebook,
							   state->calibration, state->statistics, &state->heap_tuples, &state->rows, &state->loss);
	else
	{
		WrvqPass *pass;

		state->sort = WrvqBeginSort(WrvqSortKilobytes(&state->codebook->view.shape,
													  WrvqCalibrationQueries(state->calibration), 0),
									NULL);
		pass = WrvqBeginPass(state->heap, state->index, state->info, state->codebook, state->meta.spill,
							 state->calibration, state->statistics, state->sort);
		state->heap_tuples = WrvqRunPass(pass, NULL, true);
		state->rows = pass->rows;
		state->loss = pass->loss;
	}
}

/* Writes codebook, lists and directory, in this order. */
static void
write_index(BuildState *state)
{
	WrvqWriter *writer;

	if (state->rows > 0)
		SWIFT(wrvq_kernel.image_set_statistics(&state->codebook->view, state->statistics));
	WrvqBeginPhase(WRVQ_PHASE_SORT, (int64) state->rows * state->meta.spill);
	tuplesort_performsort(state->sort);
	WrvqStoreCodebook(state->index, &state->meta, state->codebook);
	/* before the entries, which come and go: an index can be cut off behind the last page that stays */
	WrvqWriteDirectory(state->index, &state->meta);
	WrvqBeginPhase(WRVQ_PHASE_WRITE, (int64) state->rows * state->meta.spill);
	writer = WrvqBeginWriter(state->index, state->codebook);
	WrvqWriteSorted(state->sort, writer);
	WrvqEndWriter(writer);
	WrvqFillDirectory(state->index, &state->meta, WrvqWrittenLists(writer));
	tuplesort_end(state->sort);
}

static void
build_trained(BuildState *state)
{
	state->meta.dimensions = state->codebook->view.shape.dimensions;
	state->meta.spill = WrvqSpill(state->index, state->codebook);
	encode_table(state);
	write_index(state);
	state->meta.is_trained = true;
	state->meta.build_entries = state->meta.entries = state->rows * state->meta.spill;
	state->meta.loss = state->rows > 0 ? state->loss / state->rows : 0;
	WrvqBeginPhase(WRVQ_PHASE_MEASURE, 0);
	WrvqEndCalibration(state->calibration, state->index, &state->meta);
	WrvqWriteMeta(state->index, &state->meta);
}

/* Too few rows to learn from: they wait, unencoded, and are compared exactly. */
static void
pending_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	BuildState	*state = argument;
	const float *vector;
	int			 dimensions;

	if (isnull[0])
		return;
	vector = state->support->vector(values[0], &dimensions);
	WrvqCheckFinite(vector, dimensions);
	if (!WrvqIsIndexable(state->support, vector, dimensions))
		return;
	WrvqAddPending(index, tid, dimensions);
	state->rows++;
}

/* The first rows tell whether a stored codebook fits the table at all. */
static void
check_codebook_dimensions(BuildState *state, const WrvqCodebook *codebook, int dimensions)
{
	if (dimensions != codebook->view.shape.dimensions)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("codebook \"%s\" has %d dimensions, the indexed vectors have %d",
							   WrvqCodebookOption(state->index), codebook->view.shape.dimensions, dimensions)));
}

/*
 * A parallel pg_restore may create an index before it has loaded the codebooks:
 * it orders an index behind the data of its own table only.  What pg_dump
 * writes and pg_restore says in every session is check_function_bodies = off.
 */
static bool
is_restoring(void)
{
	return IsBinaryUpgrade || !check_function_bodies;
}

static void
first_codebook_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	BuildState *state = argument;

	if (!isnull[0] && alive && state->first_codebook == 0)
		state->first_codebook = state->support->codebook(values[0]);
}

/* The same of codes, which nobody can read without their codebook: the first rows tell. */
static bool
awaits_codebook(BuildState *state)
{
	BlockNumber blocks = Min(RelationGetNumberOfBlocks(state->heap), FIRST_BLOCKS);

	if (state->support->codebook == NULL || !is_restoring() || blocks == 0)
		return false;
	table_index_build_range_scan(state->heap, state->index, state->info, false, false, false, 0, blocks,
								 first_codebook_callback, state, NULL);
	return state->first_codebook != 0 && !WrvqHasCoder(state->first_codebook);
}

/* Codes that cannot be read wait, like rows that are too few to learn from. */
static void
unread_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	BuildState *state = argument;

	if (isnull[0])
		return;
	WrvqAddPending(index, tid, 0);
	state->rows++;
}

/* Rows go to the pending chain; returns how many the table has. */
static double
build_untrained(BuildState *state, IndexBuildCallback callback)
{
	return table_index_build_scan(state->heap, state->index, state->info, true, true, callback, state, NULL);
}

static WrvqWorkers *
start_workers(BuildState *state, const WrvqCodebook *codebook, Size training_bytes)
{
	return WrvqStartWorkers(state->heap, state->index, state->info, codebook,
							WrvqCalibrationQueries(state->calibration), training_bytes);
}

/* The codebook of a column of codes, and rows to measure the index with; NULL and no rows: it does not fit. */
static WrvqCodebook *
adopt_codebook(BuildState *state, WrvqSample **sample)
{
	WrvqSample	 *drawn = WrvqSampleTable(state->heap, state->index, state->info, CALIBRATION_ROWS);
	WrvqCodebook *codebook = NULL;

	if (drawn->rows >= WRVQ_TRAIN_ROWS)
		codebook = WrvqAdoptCodebook(state->index, drawn->codebook, drawn->total_rows, state->meta.codebook_sha256);
	if (codebook != NULL)
		*sample = drawn;
	return codebook;
}

/* The stored codebook if one is named, or the rows' own, else one trained on a sample; NULL if there is too little. */
static WrvqCodebook *
choose_codebook(BuildState *state)
{
	WrvqOptions	 *options = WrvqGetOptions(state->index);
	bool		  has_lists = options != NULL && options->lists > 0, trains, is_enough;
	WrvqSample	 *sample = NULL;
	WrvqCodebook *codebook = NULL;

	if (WrvqCodebookOption(state->index) != NULL)
	{
		codebook = WrvqLoadCodebook(state->index, 0, state->meta.codebook_sha256);
		if (codebook == NULL)
			codebook = WrvqKeptCodebook(state->heap, state->index, state->meta.codebook_sha256);
	}
	else if (state->support->codebook != NULL)
		codebook = adopt_codebook(state, &sample);
	/* a ready codebook needs only some rows to measure the index with */
	if (sample == NULL)
		sample = WrvqSampleTable(state->heap, state->index, state->info, codebook != NULL ? CALIBRATION_ROWS : 0);
	state->expected_rows = sample->total_rows;
	if (codebook != NULL && sample->rows > 0)
		check_codebook_dimensions(state, codebook, sample->dimensions);
	if (WrvqCodebookOption(state->index) != NULL && codebook == NULL)
		WrvqReportNoCodebook(state->index, sample->rows > 0 && !is_restoring() ? ERROR : WARNING);
	/* a full sample is one of many rows, for which there is not the memory */
	is_enough = sample->rows > 0 && sample->rows >= Min(WRVQ_TRAIN_ROWS, sample->capacity);
	trains = codebook == NULL && (is_enough || (has_lists && sample->rows > 0));
	state->calibration = WrvqNewCalibration(sample, trains && is_enough);
	if (codebook != NULL)
		state->workers = start_workers(state, codebook, 0);
	else if (trains)
	{
		codebook =
			WrvqPlanCodebook(state->index, sample->vectors, sample->rows, sample->dimensions, sample->total_rows, true);
		state->workers = start_workers(state, codebook, WrvqTrainingBytes(codebook, sample->rows));
		WrvqTrain(codebook, sample->vectors, sample->rows, state->workers);
		sample->vectors = NULL;
	}
	if (sample->vectors != NULL)
		pfree(sample->vectors);
	return codebook;
}

IndexBuildResult *
wrvqbuild(Relation heap, Relation index, IndexInfo *info)
{
	BuildState		  state = {.heap = heap, .index = index, .info = info, .support = WrvqIndexSupport(index)};
	MemoryContext	  context = AllocSetContextCreate(CurrentMemoryContext, "wrvq build", ALLOCSET_DEFAULT_SIZES);
	MemoryContext	  caller = MemoryContextSwitchTo(context);
	IndexBuildResult *result;

	if (RelationGetNumberOfBlocks(index) != 0)
		elog(ERROR, "index \"%s\" already contains data", RelationGetRelationName(index));
	WrvqInitMeta(index, MAIN_FORKNUM);
	WrvqReadMeta(index, &state.meta);
	state.meta.build_id = pg_prng_uint64(&pg_global_prng_state);

	if (awaits_codebook(&state))
	{
		ereport(WARNING,
				(errmsg("the codebook of the codes in table \"%s\" does not exist yet", RelationGetRelationName(heap)),
				 errdetail("The index compares all rows until VACUUM or REINDEX finds it there.")));
		state.heap_tuples = build_untrained(&state, unread_callback);
	}
	else if ((state.codebook = choose_codebook(&state)) != NULL)
		build_trained(&state);
	else
		state.heap_tuples = build_untrained(&state, pending_callback);
	if (state.workers != NULL)
		WrvqEndWorkers(state.workers);

	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	result = palloc(sizeof(IndexBuildResult));
	result->heap_tuples = state.heap_tuples;
	result->index_tuples = state.rows;
	return result;
}

void
wrvqbuildempty(Relation index)
{
	WrvqInitMeta(index, INIT_FORKNUM);
}
