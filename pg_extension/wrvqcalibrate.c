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

/* the same table gives the same curve */
#define HOLD_OUT_SEED 20261124

/* of these, searches that tell what a temperature costs, and how deep to rerank */
#define TRIAL_QUERIES 128

/* as many again three times if this share of their neighbours is so deep: then many of the misses will be there */
#define DEEP_TRIALS		4
#define DEEP_PLACE		256
#define DEEP_NEIGHBOURS 0.02

/* candidates among which a search looks for the true neighbours at first, and how many times more if they are not there */
#define DEPTH_FIRST	 1024
#define DEPTH_GROWTH 16

/* the point of the curve that temperatures are compared at */
#define POINT_FOR_TEMPERATURE 6

/* the points of the curve whose lists are searched to find depths: .8, .9, .95, .98, .995 */
static const int depth_points[] = {2, 4, 6, 8, 10};

/*
 * The permitted misses that are spent on lists and on depth; the rest is kept
 * back: the rows measured with are not the queries to come.
 */
#define MISSES_SPENT 0.94

/*
 * How much of that lists may get.  Where codes tell neighbours well apart from
 * others, a list more costs more than a candidate more; where all rows are about
 * as far away, it is the other way round.
 */
static const double misses_for_lists[] = {0.88, 0.8, 0.7, 0.55, 0.4, 0.25};

/*
 * Lists get the most unless another division costs less than this part: the cost is a rough one, and queries from elsewhere
 * than the rows miss more by depth.  Of 100,000 text embeddings, queries of people: the cheapest division found .886, .943,
 * .975, .987 at .90, .95, .98, .99; the first one .895, .951, .978, .988 in no more time but at .99.
 */
#define DIVISION_GAIN 0.8

/* entries that can be estimated in the time that a row takes to be reranked (wrvqcost.c, with the pages they are on) */
#define ENTRIES_A_RERANKED_ROW 250

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
	int64			 most = Min(hold_out ? sample->rows / 8 : sample->rows, WRVQ_CALIBRATION_QUERIES);
	int64			 wanted = sample->rows > 0 ? WrvqQueriesThatFit(sample->dimensions, most) : 0;
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
	WrvqEncoder *encoder = WrvqBeginEncoder(codebook, 1, WRVQ_BATCH_ROWS);

	calibration->codebook = codebook;
	calibration->prepared = palloc_extended(sizeof(float) * dimensions * Max(1, calibration->queries), MCXT_ALLOC_HUGE);
	for (int at = 0; at < calibration->queries; at += WRVQ_BATCH_ROWS)
	{
		Size		offset = (Size) at * dimensions;
		ptrdiff_t	bad;
		wrvq_status status;

		SWIFT(status = wrvq_kernel.prepare(&codebook->view, calibration->vectors + offset,
										   Min(WRVQ_BATCH_ROWS, calibration->queries - at), encoder->scratch,
										   calibration->prepared + offset, &bad));
		if (status != WRVQ_OK)
			elog(ERROR, "could not prepare a calibration query of %d dimensions", dimensions);
	}
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

/* What lists may miss at most at a point of the curve leaves this. */
static double
list_recall(int point)
{
	return 1 - (1 - wrvq_curve_recalls[point]) * misses_for_lists[0];
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
		shares[t] = share_for(all, t, list_recall(POINT_FOR_TEMPERATURE));
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

/* Where a neighbour stands among all candidates of some lists, and the share that lists better than its own have. */
typedef struct Place
{
	float place;
	float share;
} Place;

/* Those of the lists of each of the depth points. */
typedef struct Places
{
	Place *places[lengthof(depth_points)]; /* [counts[]] the deepest first */
	int	   counts[lengthof(depth_points)];
	int	   neighbours; /* those in other lists included */
} Places;

static int
compare_places(const void *a, const void *b)
{
	float x = ((const Place *) a)->place, y = ((const Place *) b)->place;

	return (x < y) - (x > y);
}

/*
 * The places of a query's neighbours in lists that are visited, however far
 * down; at least the limit for those in sub-lists that are left out.
 */
static int64
find_places(WrvqSearch *search, int probes, const uint64 *rows, int count, int64 *found)
{
	int64 limit = Max(search->limit, DEPTH_FIRST), most = search->slots_max * WRVQ_BLOCK_ENTRIES + 1;

	for (;; limit *= DEPTH_GROWTH)
	{
		int kept = 0;

		limit = Min(limit, most);
		WrvqSearchPlaces(search, probes, limit, rows, count, found);
		for (int i = 0; i < count; i++)
			kept += found[i] < limit;
		CHECK_FOR_INTERRUPTS();
		if (kept == count || limit == most)
			return limit;
	}
}

/* Searches for one query the lists of each depth point. */
static void
add_query_places(Neighbours *all, int i, Relation index, const WrvqMetaData *meta, Places *places)
{
	WrvqCalibration *calibration = all->calibration;
	WrvqSearch		*search =
		WrvqBeginSearch(index, meta, calibration->vectors + (Size) i * calibration->codebook->view.shape.dimensions);
	uint32 lists[WRVQ_CALIBRATION_NEIGHBOURS];
	float  shares[WRVQ_CALIBRATION_NEIGHBOURS];

	SWIFT(all->counts[i] =
			  wrvq_kernel.calibration_neighbours(&calibration->codebook->view, calibration->queries, calibration->state,
												 i, search->query, all->rows + i * WRVQ_CALIBRATION_NEIGHBOURS, lists));
	SWIFT(wrvq_kernel.query_shares(search->query, meta->temperature, lists, all->counts[i], shares));
	for (int p = 0; p < lengthof(depth_points); p++)
	{
		float  share = meta->curve[depth_points[p]].share, visited_shares[WRVQ_CALIBRATION_NEIGHBOURS];
		uint64 visited[WRVQ_CALIBRATION_NEIGHBOURS];
		int64  found[WRVQ_CALIBRATION_NEIGHBOURS], limit;
		int	   probes, count = 0;

		SWIFT(probes = wrvq_kernel.query_probes(search->query, meta->temperature, share));
		for (int j = 0; j < all->counts[i]; j++)
		{
			if (!(shares[j] <= share))
				continue;
			visited_shares[count] = shares[j];
			visited[count++] = all->rows[i * WRVQ_CALIBRATION_NEIGHBOURS + j];
		}
		limit = find_places(search, probes, visited, count, found);
		for (int j = 0; j < count; j++)
			if (found[j] < limit)
				places->places[p][places->counts[p]++] = (Place){(float) found[j], visited_shares[j]};
	}
	places->neighbours += all->counts[i];
}

/* Are many neighbours far down? */
static bool
is_deep(const Places *places)
{
	int last = lengthof(depth_points) - 1, deep = 0;

	for (int i = 0; i < places->counts[last]; i++)
		deep += places->places[last][i].place >= DEEP_PLACE;
	return deep > DEEP_NEIGHBOURS * places->neighbours;
}

/* How far down candidates must be reranked: by searching the index, which has its pages by now. */
static Places *
find_all_places(Neighbours *all, Relation index, const WrvqMetaData *meta)
{
	int			  queries = Min(all->calibration->queries, TRIAL_QUERIES * DEEP_TRIALS);
	Places		 *places = palloc0(sizeof(Places));
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq trial", ALLOCSET_DEFAULT_SIZES);

	for (int p = 0; p < lengthof(depth_points); p++)
		places->places[p] = palloc(sizeof(Place) * WRVQ_CALIBRATION_NEIGHBOURS * Max(1, queries));
	for (int trial = 0; trial < DEEP_TRIALS && (trial == 0 || is_deep(places)); trial++)
		for (int i = trial; i < queries; i += DEEP_TRIALS)
		{
			MemoryContext caller = MemoryContextSwitchTo(context);

			add_query_places(all, trial_query(all->calibration, i, queries), index, meta, places);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(context);
		}
	for (int p = 0; p < lengthof(depth_points); p++)
		qsort(places->places[p], places->counts[p], sizeof(Place), compare_places);
	MemoryContextDelete(context);
	return places;
}

/* The candidates to rerank where lists up to a share are visited, if so many of the neighbours there may lie deeper. */
static uint32
depth_for(const Places *places, const WrvqMetaData *meta, float share, double misses)
{
	int p = 0, deeper = (int) (misses * places->neighbours);

	/* of more lists, which have more candidates, rather than fewer */
	while (p < lengthof(depth_points) - 1 && meta->curve[depth_points[p]].share < share)
		p++;
	for (int i = 0; i < places->counts[p]; i++)
		if (places->places[p][i].share <= share && deeper-- == 0)
			return (uint32) places->places[p][i].place + 1;
	return 1;
}

/* About how many lists find so many of the neighbours, by those of the points of the curve where lists may miss most. */
static double
lists_for(const double *lists, double recall)
{
	for (int i = 1; i < WRVQ_CURVE_POINTS; i++)
	{
		double from = list_recall(i - 1), to = list_recall(i);

		if (recall <= to)
			return lists[i - 1] + (lists[i] - lists[i - 1]) * Max(0, recall - from) / (to - from);
	}
	return lists[WRVQ_CURVE_POINTS - 1];
}

/* Divides each point's permitted misses between lists and depth so that a search costs least. */
static void
divide_misses(Neighbours *all, int temperature, const double *lists, const Places *places, WrvqMetaData *meta)
{
	double			   entries_a_list = meta->entries / meta->list_count;
	const WrvqMetaData undivided = *meta;

	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
	{
		double permitted = 1 - wrvq_curve_recalls[i], best = INFINITY, bound = INFINITY;

		for (int j = 0; j < lengthof(misses_for_lists); j++)
		{
			double recall = 1 - permitted * misses_for_lists[j];
			float  share = share_for(all, temperature, recall);
			uint32 depth = depth_for(places, &undivided, share, permitted * (MISSES_SPENT - misses_for_lists[j]));
			double cost = lists_for(lists, recall) * entries_a_list +
						  (double) Max(depth, WRVQ_DEPTH_MIN) * ENTRIES_A_RERANKED_ROW;

			if (!(cost < Min(best, bound)))
				continue;
			if (j == 0)
				bound = cost * DIVISION_GAIN;
			best = cost;
			meta->curve[i].share = share;
			meta->curve[i].lists = (float) lists_for(lists, recall);
			meta->curve[i].depth = depth;
		}
	}
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
	meta->measured_entries = meta->entries;
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
		meta->curve[i].share = shares[i] = share_for(all, temperature, list_recall(i));
		at_temperatures[i] = meta->temperature;
	}
	mean_probes(all, at_temperatures, shares, WRVQ_CURVE_POINTS, lists);
	divide_misses(all, temperature, lists, find_all_places(all, index, meta), meta);
	meta->measured = calibration->queries;
}
