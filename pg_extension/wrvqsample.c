/* wrvqsample.c: a random sample of a table's vectors. */
#include "wrvq.h"

#include <math.h>

#include "commands/progress.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/memutils.h"
#include "utils/sampling.h"

/* the same table gives the same sample */
#define SAMPLING_SEED 20261123

typedef struct SampleState
{
	WrvqSample		  *sample;
	Relation		   index;
	const WrvqSupport *support;
	MemoryContext	   row_context;
	int64			   wanted; /* 0: as many as training wants */
	ReservoirStateData reservoir;
	double			   rows_seen;
	double			   rows_to_skip; /* -1: draw anew */
} SampleState;

/* As reservoir_init_selection_state(), which begins differently every time. */
static void
begin_reservoir(ReservoirState reservoir, int64 rows)
{
	sampler_random_init_state(SAMPLING_SEED, &reservoir->randstate);
	reservoir->W = exp(-log(sampler_random_fract(&reservoir->randstate)) / rows);
}

/* The first row tells the dimensions, and with them how many rows to draw. */
static void
begin_sample(SampleState *state, int dimensions, MemoryContext context)
{
	WrvqSample *sample = state->sample;

	sample->dimensions = dimensions;
	sample->capacity = state->wanted > 0 ? state->wanted : WrvqSampleRows(state->index, dimensions, sample->total_rows);
	sample->row_ids = MemoryContextAllocHuge(context, sizeof(uint64) * sample->capacity);
	sample->vectors = MemoryContextAllocHuge(context, sizeof(float) * dimensions * sample->capacity);
}

/* Vitter's algorithm Z, as ANALYZE does it. */
static void
add_to_sample(SampleState *state, const float *vector, ItemPointer tid)
{
	WrvqSample *sample = state->sample;
	Size		bytes = sizeof(float) * sample->dimensions;
	int64		position = sample->rows;

	if (sample->rows < sample->capacity)
		sample->rows++;
	else
	{
		if (state->rows_to_skip < 0)
			state->rows_to_skip = reservoir_get_next_S(&state->reservoir, state->rows_seen, sample->capacity);
		if (state->rows_to_skip-- > 0)
			return;
		position = (int64) (sample->capacity * sampler_random_fract(&state->reservoir.randstate));
	}
	memcpy((char *) sample->vectors + position * bytes, vector, bytes);
	sample->row_ids[position] = WrvqRowFromTid(tid);
}

static void
sample_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	SampleState	 *state = argument;
	MemoryContext caller;
	const float	 *vector;
	int			  dimensions;

	/* rows that are only seen by older snapshots teach nothing, and their toast may be gone */
	if (isnull[0] || !alive)
		return;
	caller = MemoryContextSwitchTo(state->row_context);
	vector = state->support->vector(values[0], &dimensions);
	WrvqCheckFinite(vector, dimensions);
	if (WrvqIsIndexable(state->support, vector, dimensions))
	{
		if (state->sample->dimensions == 0)
		{
			begin_sample(state, dimensions, caller);
			if (state->support->codebook != NULL)
				state->sample->codebook = state->support->codebook(values[0]);
		}
		WrvqCheckDimensions(state->sample->dimensions, dimensions);
		add_to_sample(state, vector, tid);
		state->rows_seen++;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextReset(state->row_context);
}

/* Rows of the table that a sample's size is planned for, before any is read. */
static double
guess_rows(Relation heap, BlockNumber blocks)
{
	double tuples = heap->rd_rel->reltuples, pages = heap->rd_rel->relpages;

	if (tuples > 0 && pages > 0)
		return tuples / pages * blocks;
	/* never analysed: vectors of some hundred dimensions come a few to a page */
	return 4.0 * blocks;
}

/* Blocks read between two reports of progress, where all are. */
#define BLOCKS_REPORTED 256

static void
read_blocks(SampleState *state, Relation heap, IndexInfo *info, BlockNumber start, BlockNumber count)
{
	table_index_build_range_scan(heap, state->index, info, false, false, false, start, count, sample_callback, state,
								 NULL);
}

static void
read_all_blocks(SampleState *state, Relation heap, IndexInfo *info, BlockNumber blocks)
{
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL, blocks);
	for (BlockNumber at = 0; at < blocks; at += Min(BLOCKS_REPORTED, blocks - at))
	{
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, at);
		read_blocks(state, heap, info, at, Min(BLOCKS_REPORTED, blocks - at));
		CHECK_FOR_INTERRUPTS();
	}
	pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, blocks);
}

/*
 * Draws rows that qualify for the index: a reservoir over as many random blocks
 * as rows are wanted, or over all.  wanted 0 draws as many as training wants.  In the current memory
 * context.
 */
WrvqSample *
WrvqSampleTable(Relation heap, Relation index, IndexInfo *info, int64 wanted)
{
	SampleState state = {0};
	BlockNumber blocks = RelationGetNumberOfBlocks(heap), visited = 0;

	state.sample = palloc0(sizeof(WrvqSample));
	state.sample->total_rows = guess_rows(heap, blocks);
	state.index = index;
	state.support = WrvqIndexSupport(index);
	state.row_context = AllocSetContextCreate(CurrentMemoryContext, "wrvq sample row", ALLOCSET_DEFAULT_SIZES);
	state.rows_to_skip = -1;
	state.wanted = wanted;
	if (wanted == 0)
		wanted = WrvqSampleRows(index, 0, state.sample->total_rows);
	begin_reservoir(&state.reservoir, wanted);
	WrvqBeginPhase(WRVQ_PHASE_SAMPLE, 0);

	if (blocks <= wanted)
	{
		read_all_blocks(&state, heap, info, blocks);
		visited = blocks;
	}
	else
	{
		BlockSamplerData sampler;

		BlockSampler_Init(&sampler, blocks, wanted, SAMPLING_SEED);
		pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_TOTAL, wanted);
		for (; BlockSampler_HasMore(&sampler); visited++)
		{
			read_blocks(&state, heap, info, BlockSampler_Next(&sampler), 1);
			pgstat_progress_update_param(PROGRESS_SCAN_BLOCKS_DONE, (int64) visited + 1);
			CHECK_FOR_INTERRUPTS();
		}
	}
	/* a few rows in a table of many empty blocks */
	if (state.rows_seen == 0 && visited < blocks)
	{
		read_all_blocks(&state, heap, info, blocks);
		visited = blocks;
	}
	state.sample->total_rows = visited == 0 ? 0 : state.rows_seen / visited * blocks;
	MemoryContextDelete(state.row_context);
	return state.sample;
}
