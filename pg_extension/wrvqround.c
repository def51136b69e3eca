/*
 * wrvqround.c: a scan runs in rounds of growing reach; README.md has the
 * pseudocode.
 */
#include "wrvqscan.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/memutils.h"

/* how much farther each round reaches */
#define REACH_GROWTH 1.5

/* how much more room is made for rows than they take now */
#define ROOM_GROWTH 4

/* rows that the snapshot does not see: room for the first ones */
#define UNSEEN_ROOM 16

/* rows whose pages are listed together: enough that reading ahead hardly notices, few enough to take little memory */
#define ROWS_LISTED 4096

/*
 * How many times more neighbours a round's lists are for once those of the lists before are returned: some half of the
 * lists, and then all.  Smaller steps save nothing: with 8, a filter that one row in 100 passes takes a tenth longer among
 * a million rows, and one that a tenth passes finds two points less.
 */
#define ROWS_GROWTH 150

/* the fewest entries that lists have for each of the neighbours that they are for */
#define ENTRIES_A_ROW 20

/*
 * How many more deviations of the errors a round must reach where no curve tells how deep neighbours lie: the estimates
 * of uniform vectors, 10,000 x 64, find .88 at a target of .95 without.
 */
#define DEVIATIONS_WITHOUT_CURVE 1.0

/* how many times more lists that is, if wrvq.probes says how many are visited first */
#define PROBES_GROWTH 4

/* rows that the lists of the first round support in a sphere, of which some may be missed; the least by which lists grow */
#define ROWS_OF_FIRST_SPHERE 8
#define RANGE_PROBES_GROWTH	 2

/* how many times the lists of any other first round are visited in a sphere: if nothing is found, that is the end */
#define SPHERE_MARGIN 1.5

/* the first round supports the ten neighbours that WrvqRerankDepth() and WrvqProbes() are for, and a row that asks */
#define ROWS_OF_FIRST_ROUND 11

/*
 * Rows that the snapshot does not see may be half as many again as those that a round supports: misses grow by the power .45
 * of the rank (wrvqtarget.c), so that of ten rows of which the last ranks sixteenth hardly more are missed.
 */
#define RANK_MARGIN 1.5

/* once it is the rows that a snapshot does not see that want more lists: for so many times the rank come by */
#define RANK_GROWTH 2

/* errors of estimates that what the codebook loses stands for: until as many are known, they say little by themselves */
#define ERRORS_EXPECTED 16

/* the share of the rows that wrvq.rerank asks for up to which hidden ones hardly matter: a little more would not either */
#define HIDDEN_SHARE 0.25

/* Is a candidate of the lists visited left?  (An estimate that overflows below is as good as any.) */
static bool
has_next(const WrvqScan *state)
{
	return state->next_estimate != INFINITY;
}

/* Does the row to be returned next come after so many, those that the snapshot does not see among them? */
static bool
is_beyond(const WrvqScan *state, int64 rows)
{
	return state->returned >= rows || state->returned + state->unseen_passed >= rows * RANK_MARGIN;
}

/* More lists, for more neighbours than the lists visited so far are for. */
static int
widen_lists(WrvqScan *state, int lists)
{
	double probes = (double) state->probes * PROBES_GROWTH;

	if (is_beyond(state, state->rows) || !has_next(state))
		state->rows *= ROWS_GROWTH;
	else
		state->rows = RANK_GROWTH * (state->returned + state->unseen_passed);
	if (wrvq_probes == 0)
		probes = Max(state->probes, WrvqProbes(&state->meta, state->search->query, state->rows));
	probes = Max(probes, (double) state->rows * ENTRIES_A_ROW * lists / Max(state->meta.entries, lists));
	/* what is left beyond two thirds of the lists is not worth a visit of its own */
	return probes > lists * 2.0 / 3 ? lists : (int) probes;
}

/* more than there can be, with room for what is multiplied */
#define ROWS_UNBOUND (INT64_MAX / 64)

/* What bounds the rows to rerank; a sphere bounds its scan itself. */
static int64
rows_bound(const WrvqScan *state)
{
	return wrvq_max_scan_tuples > 0 && state->range == NULL ? wrvq_max_scan_tuples : ROWS_UNBOUND;
}

/* Did wrvq.max_scan_tuples end the scan, while there was more to come? */
bool
WrvqIsBounded(const WrvqScan *state)
{
	return state->search != NULL && state->is_ordered && state->exhausted && wrvq_iterative_scan != WRVQ_SCAN_OFF &&
		   rows_bound(state) != ROWS_UNBOUND && !(state->visited_all && !has_next(state));
}

/* Where the first round reaches; later ones multiply it. */
static void
plan_round(WrvqScan *state)
{
	int	  lists = state->meta.is_trained ? (int) state->meta.list_count : 0;
	int64 bound = rows_bound(state);

	if (state->round == 0)
	{
		state->first_reach = WrvqRerankDepth(&state->meta);
		if (WrvqIsExact())
			state->reach = bound = ROWS_UNBOUND;
		else
			state->reach = wrvq_rerank > 0 ? wrvq_rerank : Min(state->first_reach, bound);
		if (wrvq_probes > 0)
			state->probes = wrvq_probes;
		else if (state->search != NULL)
			state->probes = WrvqProbes(&state->meta, state->search->query, WRVQ_CALIBRATION_NEIGHBOURS);
		state->rows = ROWS_OF_FIRST_ROUND;
	}
	else
	{
		state->reach = Min((int64) ceil(state->reach * REACH_GROWTH), Max(bound, state->reach));
		if (!state->visited_all && (is_beyond(state, state->rows) || !has_next(state)))
			state->probes = widen_lists(state, lists);
		/* the last round */
		if (state->reach >= bound)
			state->probes = lists;
	}
	state->probes = Max(1, Min(state->probes, lists));
	if (state->round == 0)
		state->first_probes = state->probes;
	if (!state->is_ordered && wrvq_probes == 0)
		state->probes = Max(1, Min((int) ceil(state->probes * SPHERE_MARGIN), lists));
	/* no more candidates can be kept than there are rows */
	if (state->reach >= bound)
		state->exhausted = true;
}

/* Notes by how much an estimate missed. */
static void
add_error(WrvqScan *state, double distance, float estimate)
{
	double exact, error, difference;

	SWIFT(exact = wrvq_kernel.query_exact(state->search->query, distance));
	error = exact - estimate;
	if (!isfinite(error))
		return;
	state->errors++;
	difference = error - state->error_mean;
	state->error_mean += difference / state->errors;
	state->error_squares += difference * (error - state->error_mean);
	state->estimate_mean += (estimate - state->estimate_mean) / state->errors;
}

/*
 * Room for so many rows, and for some of those to come, but not for more than may
 * come: each time that an array moves, what it leaves is hardly used again.
 */
static int64
roomy(const WrvqScan *state, int64 rows)
{
	return state->exhausted ? rows : Min(rows * ROOM_GROWTH, Max(rows, rows_bound(state)));
}

/* Makes room for so many reranked rows more. */
static void
reserve_rows(WrvqScan *state, int64 more)
{
	int64 results = state->results.count + more, taken = state->taken_count + more;

	if (results > state->results.capacity)
		WrvqReserveResults(&state->results, roomy(state, results));
	if (taken <= state->taken_capacity)
		return;
	state->taken_capacity = roomy(state, taken);
	state->taken = WrvqResize(state->taken, sizeof(uint64) * state->taken_capacity);
}

/* A row that the snapshot does not see: where it is, only the estimate tells. */
static void
add_unseen(WrvqScan *state, float estimate, uint64 row)
{
	double radius;

	if (state->unseen.count == state->unseen.capacity)
		WrvqReserveResults(&state->unseen, Max(UNSEEN_ROOM, ROOM_GROWTH * state->unseen.count));
	WrvqAddResult(&state->unseen, estimate, row);
	state->unseen_count++;
	if (state->is_ordered)
		return;
	SWIFT(radius = wrvq_kernel.query_exact(state->search->query, state->range->radius));
	state->inside += estimate <= radius;
}

/* As rerank_rows(), which has made room. */
static void
rerank_listed(IndexScanDesc scan, WrvqScan *state, const uint64 *rows, const float *estimates, int64 count)
{
	WrvqBeginRows(state->reranker, rows, count);
	for (int64 i = 0; i < count; i++)
	{
		double distance;

		CHECK_FOR_INTERRUPTS();
		if (!WrvqRerank(state->reranker, i, scan->xs_snapshot, state->query, state->dimensions, &distance))
		{
			if (estimates != NULL)
				add_unseen(state, estimates[i], rows[i]);
			continue;
		}
		if (estimates != NULL)
			add_error(state, distance, estimates[i]);
		if (!state->is_ordered)
		{
			if (!(distance <= state->range->radius))
				continue;
			state->inside += estimates != NULL;
		}
		else if (WrvqIsNearer(distance, state->last_distance))
		{
			state->latecomers++;
			if (WrvqIsNearer(distance, state->floor))
			{
				state->dropped++;
				continue;
			}
		}
		WrvqAddResult(&state->results, distance, rows[i]);
	}
	WrvqEndRows(state->reranker);
}

/* Computes exact distances of new rows and adds them to the results.  estimates: NULL if there are none. */
static void
rerank_rows(IndexScanDesc scan, WrvqScan *state, const uint64 *rows, const float *estimates, int64 count)
{
	reserve_rows(state, count);
	for (int64 at = 0; at < count; at += ROWS_LISTED)
		rerank_listed(scan, state, rows + at, estimates == NULL ? NULL : estimates + at, Min(count - at, ROWS_LISTED));
}

/* Adds rows, sorted, to those that were reranked; rerank_rows() has made room. */
static void
take_rows(WrvqScan *state, const uint64 *rows, int64 count)
{
	if (count == 0)
		return;
	SWIFT(wrvq_kernel.rows_merge(state->taken, state->taken_count, rows, count));
	state->taken_count += count;
}

/* Rows that are not encoded are all candidates, of the first round. */
static void
rerank_pending(IndexScanDesc scan, WrvqScan *state)
{
	int64 kept;

	if (state->pending_count == 0)
		return;
	SWIFT(kept = wrvq_kernel.rows_sort(state->pending, state->pending_count));
	rerank_rows(scan, state, state->pending, NULL, kept);
	take_rows(state, state->pending, kept);
}

/*
 * The deviation of the errors.  Those of a few rows say little, and what a
 * snapshot sees where all nearer rows are hidden from it are just the rows that
 * look nearer than they are: then the errors are never less than is expected.
 */
static double
error_deviation(const WrvqScan *state)
{
	double expected = WrvqExpectedDeviation(&state->meta, state->search->query);
	double squares = state->error_squares + ERRORS_EXPECTED * expected * expected;
	double deviation = sqrt(squares / (Max(state->errors, 1) - 1 + ERRORS_EXPECTED));

	return state->unseen_count > 0 ? Max(deviation, expected) : deviation;
}

/* The estimate up to which a candidate may be in range. */
static double
range_bound(const WrvqScan *state)
{
	return WrvqIsExhaustive(state) ? INFINITY
								   : WrvqRangeBound(state->range, &state->meta, state->search->query, state->error_mean,
													error_deviation(state));
}

/*
 * The lists to visit for as many rows as were found in range: what was measured
 * for ten neighbours holds for ten; more rows, farther away, are in more lists.
 */
static int
range_probes(const WrvqScan *state)
{
	double wanted = ceil((double) state->first_probes * state->inside / ROWS_OF_FIRST_SPHERE);

	if (wanted <= state->probes)
		return state->probes;
	return (int) Min(Max(wanted, RANGE_PROBES_GROWTH * (double) state->probes), state->meta.list_count);
}

/* Candidates of the lists in reach that are new. */
static WrvqCandidates
find_candidates(WrvqScan *state)
{
	if (state->is_ordered || state->round == 0)
		return WrvqSearchLists(state->search, state->probes, state->reach, state->taken, state->taken_count);
	state->probes = range_probes(state);
	return WrvqSearchWithin(state->search, state->probes, range_bound(state), state->taken, state->taken_count);
}

/* Searches the lists in reach and reranks the candidates that are new. */
static void
search_lists(IndexScanDesc scan, WrvqScan *state)
{
	WrvqCandidates found = find_candidates(state);

	rerank_rows(scan, state, found.rows, found.estimates, found.count);
	take_rows(state, found.rows, found.count);
	state->next_estimate = found.next;
	state->visited_all = found.visited_all;
	if (found.visited_all && !has_next(state))
		state->exhausted = true;
	if (!state->is_ordered)
		state->exhausted =
			!(found.next <= range_bound(state) && has_next(state)) && range_probes(state) == state->probes;
}

/*
 * The mean error of all estimates.  Those reranked were chosen by estimate: where
 * rows lie exponentially denser the farther away they are, more of them lack
 * than exceed, by rate * variance; the rate is 1 / mean depth below the limit.
 */
static double
error_bias(const WrvqScan *state)
{
	double deviation = error_deviation(state), depth = state->next_estimate - state->estimate_mean;
	double bias = state->error_mean;

	if (depth > 0 && isfinite(depth))
		bias -= deviation * deviation / depth;
	/* rows seen beyond hidden ones are farther away than they look; the others are not */
	return state->unseen_count > 0 ? Min(bias, 0) : bias;
}

/*
 * The exact distance, as estimates are scaled, up to which at most a permitted
 * share of the rows is still among those that were not reranked: their
 * estimates miss as the others' do.
 */
static double
supported_distance(const WrvqScan *state)
{
	double hidden = (double) state->unseen_passed / (state->returned + state->unseen_passed + 1);

	return state->next_estimate + error_bias(state) -
		   (WrvqDeviations(hidden) + (state->meta.measured > 0 ? 0 : DEVIATIONS_WITHOUT_CURVE)) *
			   error_deviation(state);
}

/* Were as many candidates reranked as wrvq.rerank asks for, and is the snapshot shown most of them? */
static bool
is_as_asked(const WrvqScan *state)
{
	return state->round == 0 && wrvq_rerank > 0 && state->unseen_count <= HIDDEN_SHARE * state->taken_count;
}

/* How many rows, and up to which distance, the round supports in their order. */
static void
support_results(WrvqScan *state)
{
	state->rank_limit = INT64_MAX;
	state->is_limited = false;
	if (!state->is_ordered || state->exhausted || is_as_asked(state))
		return;
	/* neighbours farther away are in more lists */
	if (!state->visited_all)
		state->rank_limit = state->rows;
	/* without a curve, only the errors met tell how far down rows of this rank may be */
	if (state->round == 0 && wrvq_rerank == 0 && state->meta.measured > 0)
		state->rank_limit = Min(state->rank_limit, ROWS_OF_FIRST_ROUND * state->reach / state->first_reach);
	else
	{
		state->is_limited = true;
		state->limit = supported_distance(state);
	}
}

/* Passes the rows that the snapshot does not see and that are nearer than one at this distance, as estimates are scaled. */
static void
pass_unseen(WrvqScan *state, double exact)
{
	double bias = error_bias(state);

	while (state->unseen.count > 0 && state->unseen.heap[0].distance + bias <= exact)
	{
		WrvqRemoveResult(&state->unseen);
		state->unseen_passed++;
	}
}

/* Is there a row that the rounds so far support as the next one? */
bool
WrvqIsSupported(WrvqScan *state)
{
	bool   has_result = state->results.count > 0;
	double exact = INFINITY;

	if (state->round < 0 || state->exhausted || !state->is_ordered ||
		(state->rank_limit == INT64_MAX && !state->is_limited))
		return has_result;
	/* a latecomer is returned at once */
	if (has_result && WrvqIsNearer(state->results.heap[0].distance, state->last_distance))
		return true;
	if (has_result && (state->is_limited || state->unseen.count > 0))
		SWIFT(exact = wrvq_kernel.query_exact(state->search->query, state->results.heap[0].distance));
	if (state->unseen.count > 0)
		pass_unseen(state, state->is_limited ? Min(exact, state->limit) : exact);
	if (!has_result || is_beyond(state, state->rank_limit))
		return false;
	/* NaN is the last in order: only if everything is NaN it may come before the end */
	if (isnan(state->results.heap[0].distance) && state->last_distance > -INFINITY)
		return false;
	return !state->is_limited || exact <= state->limit;
}

/* Widens the reach, and says which results the round supports in their order. */
void
WrvqRunRound(IndexScanDesc scan, WrvqScan *state)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);

	state->round++;
	if (state->is_ordered || state->round == 0)
		plan_round(state);
	if (state->round == 0)
		rerank_pending(scan, state);
	if (state->search == NULL)
		state->exhausted = true;
	else
		search_lists(scan, state);
	if (wrvq_iterative_scan == WRVQ_SCAN_OFF && state->range == NULL)
		state->exhausted = true;
	support_results(state);
	MemoryContextSwitchTo(caller);
}
