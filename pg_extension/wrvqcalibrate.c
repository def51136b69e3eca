/*
 * wrvqcalibrate.c: an index measures itself while it is built: for some of the
 * rows, the true nearest neighbours among all rows, how many lists a search
 * must visit to meet them, and how many candidates it must rerank.
 */
#include "wrvq.h"

#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* their recall at .9 has a standard error of half a point */
#define CALIBRATION_QUERIES 1024

/* the same table gives the same curve */
#define HOLD_OUT_SEED 20261124

/* of these, searches that tell what a temperature costs, and how deep to rerank */
#define TRIAL_QUERIES 128

/* candidates among which a search looks for the true neighbours */
#define DEPTH_MAX 1024

/* the point of the curve that temperatures are compared at, and the one whose lists are searched to find depths */
#define POINT_FOR_TEMPERATURE 6
#define POINT_FOR_DEPTH		  8

/*
 * How the permitted misses are spent: the choice of lists has most, because a
 * list more costs more than a candidate more.  The rest is kept back: the rows
 * measured with are not the queries to come.
 */
#define MISSES_FOR_LISTS 0.88
#define MISSES_FOR_DEPTH 0.06

/*
 * Temperatures to choose from.  Low ones give hard queries many more lists than
 * easy ones, which serves queries that are unlike the rows; the last one gives
 * all the same.  The lowest is taken that costs at most COST_TOLERANCE times
 * what the best one does.
 */
static const float temperatures[] = {0.8f, 1, 1.5f, 2, 3, 4, 6, 8, 12, 24, 1e9f};
#define COST_TOLERANCE 1.4

struct WrvqCalibration
{
	const WrvqCodebook *codebook;
	int					queries;
	float			   *vectors; /* [queries][d] as the user gave them */
	float			   *prepared;
	uint64			   *rows;
	void			   *state;
	float			   *nearness; /* [queries] how near all participants' neighbours are; NULL: there are no others */
};

/* The true neighbours of all queries. */
typedef struct Neighbours
{
	WrvqCalibration *calibration;
	char			*arena;							 /* of one query at a time */
	int				*counts;						 /* [queries] */
	uint64			*rows;							 /* [queries][WRVQ_CALIBRATION_NEIGHBOURS] */
	int				 count;							 /* of all */
	float			*shares[lengthof(temperatures)]; /* [count] that lists better than a neighbour's have */
} Neighbours;

static void
add_query(WrvqCalibration *calibration, const WrvqSample *sample, int64 at)
{
	Size bytes = sizeof(float) * sample->dimensions;

	memcpy((char *) calibration->vectors + calibration->queries * bytes, sample->vectors + at * sample->dimensions,
		   bytes);
	calibration->rows[calibration->queries++] = sample->row_ids[at];
}

/* The last row of a sample takes the place of one that leaves. */
static void
remove_row(WrvqSample *sample, int64 at)
{
	int64 last = --sample->rows;

	memmove(sample->vectors + at * sample->dimensions, sample->vectors + last * sample->dimensions,
			sizeof(float) * sample->dimensions);
	sample->row_ids[at] = sample->row_ids[last];
}

/*
 * Takes some rows of a sample as queries.  hold_out: they leave the sample,
 * which is to be trained on: codewords lie too near to the rows that they are
 * trained on for these to be good judges.
 */
WrvqCalibration *
WrvqNewCalibration(WrvqSample *sample, bool hold_out)
{
	WrvqCalibration *calibration = palloc0(sizeof(WrvqCalibration));
	int64			 wanted = Min(hold_out ? sample->rows / 8 : sample->rows, CALIBRATION_QUERIES);
	pg_prng_state	 random;

	calibration->vectors = palloc_extended(sizeof(float) * sample->dimensions * Max(1, wanted), MCXT_ALLOC_HUGE);
	calibration->rows = palloc(sizeof(uint64) * Max(1, wanted));
	pg_prng_seed(&random, HOLD_OUT_SEED);
	for (int64 i = 0; i < wanted; i++)
	{
		/* not every so-and-so-many-th one: tables have periods */
		int64 at = hold_out ? (int64) pg_prng_uint64_range(&random, 0, sample->rows - 1) : i;

		add_query(calibration, sample, at);
		if (hold_out)
			remove_row(sample, at);
	}
	return calibration;
}

/* Gets ready for the encoding pass. */
void
WrvqBeginCalibration(WrvqCalibration *calibration, const WrvqCodebook *codebook)
{
	int			 dimensions = codebook->view.shape.dimensions;
	int64		 bytes;
	WrvqEncoder *encoder = WrvqBeginEncoder(codebook, 1, Max(1, calibration->queries));
	ptrdiff_t	 bad;
	wrvq_status	 status;

	calibration->codebook = codebook;
	SWIFT(status = wrvq_kernel.prepare(&codebook->view, calibration->vectors, calibration->queries, encoder->scratch,
									   encoder->prepared, &bad));
	if (status != WRVQ_OK)
		elog(ERROR, "could not prepare a calibration query of %d dimensions", dimensions);
	calibration->prepared = encoder->prepared;
	SWIFT(bytes = wrvq_kernel.calibration_bytes(&codebook->view, calibration->queries));
	calibration->state = palloc_extended(bytes, MCXT_ALLOC_HUGE);
	WrvqShareCalibration(calibration, calibration->state);
}

/* The same queries, no neighbours found yet, for a participant of a parallel build: calibration_bytes(). */
void
WrvqShareCalibration(const WrvqCalibration *calibration, void *state)
{
	SWIFT(wrvq_kernel.calibration_begin(&calibration->codebook->view, calibration->prepared, calibration->rows,
										calibration->queries, state));
}

/* What a participant needs to calibrate in such a state; nearness: as calibration_exchange() takes it. */
WrvqCalibration *
WrvqPartOfCalibration(const WrvqCodebook *codebook, int queries, void *state, float *nearness)
{
	WrvqCalibration *calibration = palloc0(sizeof(WrvqCalibration));

	calibration->codebook = codebook;
	calibration->queries = queries;
	calibration->state = state;
	calibration->nearness = nearness;
	return calibration;
}

/* Adds what a participant has found. */
void
WrvqMergeCalibration(WrvqCalibration *calibration, void *state)
{
	SWIFT(wrvq_kernel.calibration_merge(&calibration->codebook->view, calibration->queries, calibration->state, state));
}

int
WrvqCalibrationQueries(const WrvqCalibration *calibration)
{
	return calibration->queries;
}

/* Compares the rows of an encoded batch with the queries. */
void
WrvqCalibrate(WrvqCalibration *calibration, const WrvqEncoder *encoder)
{
	uint64 rows[WRVQ_BATCH_ROWS];

	StaticAssertStmt(WRVQ_BATCH_ROWS <= WRVQ_CALIBRATION_BATCH, "a batch is calibrated in one call");
	for (int i = 0; i < encoder->count; i++)
		rows[i] = WrvqRowFromTid(&encoder->tids[i]);
	if (calibration->nearness != NULL)
		SWIFT(wrvq_kernel.calibration_exchange(&encoder->codebook->view, calibration->queries, calibration->state,
											   calibration->nearness));
	SWIFT(wrvq_kernel.calibration_add(&encoder->codebook->view, calibration->queries, calibration->state,
									  encoder->prepared, rows, encoder->encoded,
									  encoder->spill > 1 ? encoder->encoded + encoder->count : NULL, encoder->count));
}

/* ---------- the curve ---------- */

static int
compare_floats(const void *a, const void *b)
{
	float x = *(const float *) a, y = *(const float *) b;

	return (x > y) - (x < y);
}

static wrvq_query *
begin_query(Neighbours *all, int i)
{
	const WrvqCodebook *codebook = all->calibration->codebook;
	wrvq_status			status;

	SWIFT(status = wrvq_kernel.query_begin(&codebook->view, &codebook->layout,
										   all->calibration->vectors + (Size) i * codebook->view.shape.dimensions,
										   all->arena));
	if (status != WRVQ_OK)
		elog(ERROR, "could not start a calibration query");
	CHECK_FOR_INTERRUPTS();
	return (wrvq_query *) all->arena;
}

static Neighbours *
begin_neighbours(WrvqCalibration *calibration)
{
	const WrvqCodebook *codebook = calibration->codebook;
	Neighbours		   *all = palloc0(sizeof(Neighbours));
	int					queries = Max(1, calibration->queries);
	int64				bytes;

	all->calibration = calibration;
	SWIFT(bytes = wrvq_kernel.query_bytes(&codebook->view));
	all->arena = palloc_extended(bytes + 64, MCXT_ALLOC_HUGE);
	all->arena = (char *) TYPEALIGN(64, all->arena);
	all->counts = palloc0(sizeof(int) * queries);
	all->rows = palloc(sizeof(uint64) * WRVQ_CALIBRATION_NEIGHBOURS * queries);
	for (int t = 0; t < lengthof(temperatures); t++)
		all->shares[t] = palloc(sizeof(float) * WRVQ_CALIBRATION_NEIGHBOURS * queries);
	return all;
}

/* Looks up where the lists of a query's neighbours stand at temperatures from first to last. */
static void
add_query_shares(Neighbours *all, int i, int first, int last)
{
	WrvqCalibration	   *calibration = all->calibration;
	const WrvqCodebook *codebook = calibration->codebook;
	uint32				lists[WRVQ_CALIBRATION_NEIGHBOURS];
	wrvq_query		   *query = begin_query(all, i);

	SWIFT(all->counts[i] =
			  wrvq_kernel.calibration_neighbours(&codebook->view, calibration->queries, calibration->state, i, query,
												 all->rows + i * WRVQ_CALIBRATION_NEIGHBOURS, lists));
	for (int t = first; t <= last; t++)
		SWIFT(wrvq_kernel.query_shares(query, temperatures[t], lists, all->counts[i], all->shares[t] + all->count));
	all->count += all->counts[i];
}

/* Sorts the shares at temperatures from first to last. */
static void
sort_shares(Neighbours *all, int first, int last)
{
	for (int t = first; t <= last; t++)
		qsort(all->shares[t], all->count, sizeof(float), compare_floats);
}

/* The share that finds this part of the neighbours. */
static float
share_for(const Neighbours *all, int temperature, double recall)
{
	int at = (int) ceil(recall * all->count) - 1;

	return all->shares[temperature][Max(0, Min(all->count - 1, at))];
}

/* What is left of a recall for the lists, and for the depth. */
static double
list_recall(double recall)
{
	return 1 - (1 - recall) * MISSES_FOR_LISTS;
}

static double
depth_recall(double recall)
{
	return 1 - (1 - recall) * MISSES_FOR_DEPTH;
}

/* The i-th query of those that are tried out, of count. */
static int
trial_query(const WrvqCalibration *calibration, int i, int count)
{
	return (int) ((int64) i * calibration->queries / count);
}

/* means[count]: numbers of lists that queries visit at temperatures and shares [count]. */
static void
mean_probes(Neighbours *all, const float *at_temperatures, const float *shares, int count, double *means)
{
	int queries = Min(all->calibration->queries, TRIAL_QUERIES);

	memset(means, 0, sizeof(double) * count);
	for (int i = 0; i < queries; i++)
	{
		wrvq_query *query = begin_query(all, trial_query(all->calibration, i, queries));

		for (int j = 0; j < count; j++)
		{
			int probes;

			SWIFT(probes = wrvq_kernel.query_probes(query, at_temperatures[j], shares[j]));
			means[j] += (double) probes / queries;
		}
	}
}

/* Tries all temperatures out, with some of the queries. */
static int
choose_temperature(Neighbours *all)
{
	float  shares[lengthof(temperatures)];
	double costs[lengthof(temperatures)], best = INFINITY;
	int	   chosen = 0, queries = Min(all->calibration->queries, TRIAL_QUERIES);

	for (int i = 0; i < queries; i++)
		add_query_shares(all, trial_query(all->calibration, i, queries), 0, lengthof(temperatures) - 1);
	sort_shares(all, 0, lengthof(temperatures) - 1);
	if (all->count == 0)
		return 0;

	for (int t = 0; t < lengthof(temperatures); t++)
		shares[t] = share_for(all, t, list_recall(wrvq_curve_recalls[POINT_FOR_TEMPERATURE]));
	mean_probes(all, temperatures, shares, lengthof(temperatures), costs);
	for (int t = 0; t < lengthof(temperatures); t++)
	{
		best = Min(best, costs[t]);
		elog(DEBUG1, "temperature %g: %.1f lists a query", temperatures[t], costs[t]);
	}
	while (costs[chosen] > best * COST_TOLERANCE)
		chosen++;
	return chosen;
}

/* How many candidates to rerank for each recall: by searching the index, which has its pages by now. */
static void
measure_depths(Neighbours *all, Relation index, WrvqMetaData *meta)
{
	WrvqCalibration *calibration = all->calibration;
	int				 queries = Min(calibration->queries, TRIAL_QUERIES), count = 0;
	float			*places = palloc(sizeof(float) * WRVQ_CALIBRATION_NEIGHBOURS * Max(1, queries));
	MemoryContext	 context = AllocSetContextCreate(CurrentMemoryContext, "wrvq trial", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < queries; i++)
	{
		int			  at = trial_query(calibration, i, queries), probes;
		MemoryContext caller = MemoryContextSwitchTo(context);
		WrvqSearch	 *search =
			WrvqBeginSearch(index, meta,
							calibration->vectors + (Size) at * calibration->codebook->view.shape.dimensions);
		int64 found[WRVQ_CALIBRATION_NEIGHBOURS];

		SWIFT(probes = wrvq_kernel.query_probes(search->query, meta->temperature, meta->curve[POINT_FOR_DEPTH].share));
		WrvqSearchPlaces(search, probes, DEPTH_MAX, all->rows + at * WRVQ_CALIBRATION_NEIGHBOURS, all->counts[at],
						 found);
		for (int j = 0; j < all->counts[at]; j++)
			if (found[j] < DEPTH_MAX)
				places[count++] = (float) found[j];
		MemoryContextSwitchTo(caller);
		MemoryContextReset(context);
	}
	qsort(places, count, sizeof(float), compare_floats);
	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
	{
		int place = (int) ceil(depth_recall(wrvq_curve_recalls[i]) * count) - 1;

		meta->curve[i].depth = count == 0 ? DEPTH_MAX : (uint32) places[Max(0, Min(count - 1, place))] + 1;
	}
	MemoryContextDelete(context);
	pfree(places);
}

/*
 * Writes the curve into the metadata, once the codebook has its statistics and
 * the index its pages.
 */
void
WrvqEndCalibration(WrvqCalibration *calibration, Relation index, WrvqMetaData *meta)
{
	Neighbours *all = begin_neighbours(calibration);
	float		shares[WRVQ_CURVE_POINTS], at_temperatures[WRVQ_CURVE_POINTS];
	double		lists[WRVQ_CURVE_POINTS];
	int			temperature;

	meta->measured = 0;
	temperature = choose_temperature(all);
	all->count = 0;
	for (int i = 0; i < calibration->queries; i++)
		add_query_shares(all, i, temperature, temperature);
	if (all->count == 0)
		return;
	sort_shares(all, temperature, temperature);
	meta->temperature = temperatures[temperature];
	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
	{
		shares[i] = share_for(all, temperature, list_recall(wrvq_curve_recalls[i]));
		at_temperatures[i] = meta->temperature;
	}
	mean_probes(all, at_temperatures, shares, WRVQ_CURVE_POINTS, lists);
	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
	{
		meta->curve[i].share = shares[i];
		meta->curve[i].lists = (float) lists[i];
	}
	measure_depths(all, index, meta);
	meta->measured = calibration->queries;
}
