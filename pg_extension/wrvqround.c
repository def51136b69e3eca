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

/*
 * How many times more neighbours a round's lists are for once those of the lists before are returned: some half of the
 * lists, and then all.  Smaller steps cost more in sum: with 10, a filter that one row in 100 passes takes as long as if
 * all lists were visited at once.
 */
#define ROWS_GROWTH 150

/* the fewest entries that lists have for each of the neighbours that they are for */
#define ENTRIES_A_ROW 20

/* how many times more lists that is, if wrvq.probes says how many are visited first */
#define PROBES_GROWTH 4

/* rows that the lists of the first round support in a sphere, of which some may be missed; the least by which lists grow */
#define ROWS_OF_FIRST_SPHERE 8
#define RANGE_PROBES_GROWTH	 2

/* how many times the lists of any other first round are visited in a sphere: if nothing is found, that is the end */
#define SPHERE_MARGIN 1.5

/* the first round supports the ten neighbours that WrvqRerankDepth() and WrvqProbes() are for, and a row that asks */
#define ROWS_OF_FIRST_ROUND 11

/* More lists, for more neighbours than the lists visited so far are for. */
static int
widen_lists(WrvqScan *state, int lists)
{
	double probes = (double) state->probes * PROBES_GROWTH;

	state->rows *= ROWS_GROWTH;
	if (wrvq_probes == 0)
		probes = Max(state->probes, WrvqProbes(&state->meta, state->search->query, state->rows));
	probes = Max(probes, (double) state->rows * ENTRIES_A_ROW * lists / Max(state->meta.build_entries, 1));
	/* what is left beyond two thirds of the lists is not worth a visit of its own */
	return probes > lists * 2.0 / 3 ? lists : (int) probes;
}

/* Where the first round reaches; later ones multiply it. */
static void
plan_round(WrvqScan *state)
{
	int lists = state->meta.is_trained ? (int) state->meta.list_count : 0;
	/* a sphere bounds its scan itself */
	int64 bound = wrvq_max_scan_tuples > 0 && state->range == NULL ? wrvq_max_scan_tuples : INT64_MAX / 64;

	if (state->round == 0)
	{
		state->first_reach = WrvqRerankDepth(&state->meta);
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
		if (!state->visited_all && (state->returned + state->next >= state->rows || isinf(state->next_estimate)))
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

static inline int
compare_results(const ScanResult *x, const ScanResult *y)
{
	/* NaN, the distance from a zero vector under cosine, sorts last as in SQL */
	if (isnan(x->distance) || isnan(y->distance))
	{
		if (isnan(x->distance) != isnan(y->distance))
			return isnan(x->distance) ? 1 : -1;
	}
	else if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

#define ST_SORT			 sort_results
#define ST_ELEMENT_TYPE	 ScanResult
#define ST_COMPARE(a, b) compare_results(a, b)
#define ST_SCOPE		 static
#define ST_DEFINE
#include "lib/sort_template.h"

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

/* Computes exact distances of new rows and adds them to the results.  estimates: NULL if there are none. */
static void
rerank_rows(IndexScanDesc scan, WrvqScan *state, const uint64 *rows, const float *estimates, int64 count)
{
	if (state->result_count + count > state->result_capacity)
	{
		state->result_capacity = Max(2 * state->result_capacity, state->result_count + count);
		state->results = state->results == NULL
							 ? MemoryContextAllocHuge(state->context, state->result_capacity * sizeof(ScanResult))
							 : repalloc_huge(state->results, state->result_capacity * sizeof(ScanResult));
	}
	WrvqBeginRows(state->reranker, rows, count);
	for (int64 i = 0; i < count; i++)
	{
		ScanResult *result = &state->results[state->result_count];

		CHECK_FOR_INTERRUPTS();
		if (!WrvqRerank(state->reranker, i, scan->xs_snapshot, state->query, state->dimensions, &result->distance))
			continue;
		if (estimates != NULL)
			add_error(state, result->distance, estimates[i]);
		if (!state->is_ordered)
		{
			if (!(result->distance <= state->range->radius))
				continue;
			state->inside += estimates != NULL;
		}
		else if (result->distance < state->last_distance)
		{
			state->latecomers++;
			continue;
		}
		result->row = rows[i];
		state->result_count++;
	}
	WrvqEndRows(state->reranker);
}

/* Adds rows, sorted, to those that were reranked. */
static void
take_rows(WrvqScan *state, const uint64 *rows, int64 count)
{
	Size bytes = (state->taken_count + count) * sizeof(uint64);

	if (count == 0)
		return;
	state->taken =
		state->taken == NULL ? MemoryContextAllocHuge(state->context, bytes) : repalloc_huge(state->taken, bytes);
	SWIFT(wrvq_kernel.rows_merge(state->taken, state->taken_count, rows, count));
	state->taken_count += count;
}

/* Rows that are not encoded are all candidates, of the first round. */
static void
rerank_pending(IndexScanDesc scan, WrvqScan *state)
{
	uint64 *rows;
	int64	count = WrvqReadPending(scan->indexRelation, &state->meta, &rows), kept;

	if (count == 0)
		return;
	SWIFT(kept = wrvq_kernel.rows_sort(rows, count));
	rerank_rows(scan, state, rows, NULL, kept);
	take_rows(state, rows, kept);
}

static double
error_deviation(const WrvqScan *state)
{
	return state->errors > 1 ? sqrt(state->error_squares / (state->errors - 1)) : 0;
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
	if (found.visited_all && isinf(found.next))
		state->exhausted = true;
	if (!state->is_ordered)
		state->exhausted =
			!(found.next <= range_bound(state) && !isinf(found.next)) && range_probes(state) == state->probes;
	pfree(found.rows);
	pfree(found.estimates);
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

	return depth > 0 && isfinite(depth) ? state->error_mean - deviation * deviation / depth : state->error_mean;
}

/*
 * The exact distance, as estimates are scaled, up to which at most a permitted
 * share of the rows is still among those that were not reranked: their
 * estimates miss as the others' do.
 */
static double
supported_distance(const WrvqScan *state)
{
	return state->next_estimate + error_bias(state) - WrvqDeviations() * error_deviation(state);
}

/* How many of the sorted results the round supports in their order, beside those that were returned. */
static int64
supported_results(const WrvqScan *state)
{
	int64  most = state->result_count, rows = 0;
	double limit;

	if (!state->is_ordered || state->exhausted || (state->round == 0 && wrvq_rerank > 0))
		return most;
	/* neighbours farther away are in more lists */
	if (!state->visited_all)
		most = Min(most, state->rows - state->returned);
	if (state->round == 0)
		return Max(0, Min(most, ROWS_OF_FIRST_ROUND * state->reach / state->first_reach));
	limit = supported_distance(state);
	while (rows < most)
	{
		double exact;

		SWIFT(exact = wrvq_kernel.query_exact(state->search->query, state->results[rows].distance));
		/* NaN is not supported before the end */
		if (!(exact <= limit))
			break;
		rows++;
	}
	return rows;
}

/* Widens the reach, and says how many of the results, sorted, the round supports in their order. */
void
WrvqRunRound(IndexScanDesc scan, WrvqScan *state)
{
	MemoryContext caller = MemoryContextSwitchTo(state->context);
	int64		  returned = state->next;

	state->round++;
	if (state->is_ordered || state->round == 0)
		plan_round(state);
	if (state->round == 0)
		rerank_pending(scan, state);
	if (state->search != NULL)
		search_lists(scan, state);
	else
		state->exhausted = true;
	if (!wrvq_iterative_scan && state->range == NULL)
		state->exhausted = true;

	/* what was returned is not needed any more */
	state->result_count -= returned;
	memmove(state->results, state->results + returned, state->result_count * sizeof(ScanResult));
	state->next = 0;
	if (state->is_ordered)
		sort_results(state->results, state->result_count);
	state->returned += returned;
	state->depth = supported_results(state);
	MemoryContextSwitchTo(caller);
}
