/*
 * wrvqsearch.c: ranks lists, has them scanned, and keeps the best candidates.
 * What the distances mean is the kernels' business.
 */
#include "wrvq.h"

#include <math.h>

/* the best lists are visited first, so that most later entries miss the threshold */
#define FIRST_LISTS 16

/*
 * Candidates kept for each one that a round asks for, but the first, after which most scans end: a filter that one row in
 * 100 passes reaches no farther.
 */
#define CANDIDATES_KEPT 64

/* entries among which so many rows are looked for that may have two */
#define SPILL_ENTRIES 1.5

/* candidates kept where all up to a bound are wanted, and how many more if those were too few */
#define WITHIN_LIMIT_MIN	1000
#define WITHIN_LIMIT_GROWTH 8

/* Prepares the query in the current memory context, where everything about the search stays. */
WrvqSearch *
WrvqBeginSearch(Relation index, const WrvqMetaData *meta, const float *vector)
{
	WrvqSearch *search = palloc0(sizeof(WrvqSearch));
	int64		bytes;
	wrvq_status status;
	char	   *arena;

	search->index = index;
	search->meta = meta;
	search->codebook = WrvqGetCodebook(index, meta);
	search->slots_max = (int64) RelationGetNumberOfBlocks(index) * search->codebook->slots_per_page;
	SWIFT(bytes = wrvq_kernel.query_bytes(&search->codebook->view));
	arena = palloc_extended(bytes + 64, MCXT_ALLOC_HUGE);
	arena = (char *) TYPEALIGN(64, arena);
	SWIFT(status = wrvq_kernel.query_begin(&search->codebook->view, &search->codebook->layout, vector, arena));
	if (status != WRVQ_OK)
		elog(ERROR, "could not start a query: status %d", (int) status);
	search->query = (wrvq_query *) arena;
	return search;
}

/* Forgets all candidates; from now on the best limit are kept. */
static void
begin_visit(WrvqSearch *search, int64 limit)
{
	int64 bytes;

	if (search->candidates != NULL)
		pfree(search->candidates);
	SWIFT(bytes = wrvq_kernel.candidates_bytes(limit));
	search->candidates = palloc_extended(bytes, MCXT_ALLOC_HUGE);
	search->probes = 0;
	search->limit = limit;
	search->skips_sublists = false;
	SWIFT(wrvq_kernel.query_round(search->query, limit, search->candidates));
}

/* Visits the next lists, up to the best probes. */
static void
visit_lists(WrvqSearch *search, int probes)
{
	int32	first = search->probes, count = probes - first;
	uint32 *lists = palloc_extended(sizeof(uint32) * Max(count, 1), MCXT_ALLOC_HUGE);

	if (first == 0)
	{
		SWIFT(first = wrvq_kernel.query_lists(search->query, 0, Min(FIRST_LISTS, count), lists));
		WrvqScanLists(search, lists, first, true);
	}
	SWIFT(count = wrvq_kernel.query_lists(search->query, first, probes - first, lists));
	WrvqScanLists(search, lists, count, (uint32) probes == search->meta->list_count);
	search->probes = probes;
	pfree(lists);
}

/*
 * Has the best probes lists visited and the best needed candidates of them kept, or the best limit where they are
 * visited anew.  Lists that were visited are not visited again, unless too few of their candidates were kept, or
 * sub-lists were left out that are looked into now.
 */
static void
need_candidates(WrvqSearch *search, int probes, int64 needed, int64 limit)
{
	if (search->candidates != NULL && probes == search->probes && needed <= search->limit)
		return;
	if (search->candidates == NULL || probes <= search->probes || needed > search->limit || search->skips_sublists)
		begin_visit(search, limit);
	visit_lists(search, probes);
}

/* The entries among which so many rows are looked for. */
static int64
entries_of(const WrvqSearch *search, int64 rows)
{
	return search->meta->spill > 1 ? (int64) (rows * SPILL_ENTRIES) : rows;
}

/* Candidates to keep where so many are asked for now: never more than a scan may rerank, unless asked for. */
static int64
candidates_kept(const WrvqSearch *search, int64 needed)
{
	int64 kept = search->probes == 0 ? needed : needed * CANDIDATES_KEPT;

	return wrvq_max_scan_tuples > 0 ? Min(kept, Max(needed, entries_of(search, wrvq_max_scan_tuples))) : kept;
}

/* The best needed candidates of the lists visited last that are new. */
static WrvqCandidates
take_candidates(WrvqSearch *search, int64 needed, const uint64 *taken, int64 taken_count)
{
	WrvqCandidates found;
	int64		   first;

	SWIFT(found.count = wrvq_kernel.query_take(search->query, needed, taken, taken_count, &first, &found.next));
	found.rows = search->query->candidate_rows + first;
	found.estimates = search->query->candidate_estimates + first;
	found.visited_all = (uint32) search->probes == search->meta->list_count;
	return found;
}

/*
 * The best candidates of the best probes lists, reach of them, or as many entries
 * more as rows may have two, without those among taken[taken_count]: rows and
 * estimates, both in order of row identifier.
 * From the second time on more candidates are kept than are asked for now, so that
 * a wider reach visits no list again.
 */
WrvqCandidates
WrvqSearchLists(WrvqSearch *search, int probes, int64 reach, const uint64 *taken, int64 taken_count)
{
	/* no more than the index has room for */
	int64 most = search->slots_max * WRVQ_BLOCK_ENTRIES + 1, needed = Min(entries_of(search, reach), most);

	need_candidates(search, probes, needed, Min(candidates_kept(search, needed), most));
	/* those to come are at most one row each */
	if (wrvq_max_scan_tuples > 0 && search->query->ranked_count > 0)
		needed = Min(needed, search->query->ranked_count + Max(Max(reach, wrvq_max_scan_tuples) - taken_count, 0));
	return take_candidates(search, needed, taken, taken_count);
}

/*
 * All candidates of the best probes lists whose estimates are at most bound,
 * without those among taken[taken_count]; otherwise as WrvqSearchLists(), which
 * comes first.
 */
WrvqCandidates
WrvqSearchWithin(WrvqSearch *search, int probes, float bound, const uint64 *taken, int64 taken_count)
{
	int64 most = search->slots_max * WRVQ_BLOCK_ENTRIES + 1, limit = Max(search->limit, WITHIN_LIMIT_MIN), within;

	if (isinf(bound) && bound > 0)
		limit = most;
	for (;; limit *= WITHIN_LIMIT_GROWTH)
	{
		limit = Min(limit, most);
		need_candidates(search, probes, limit, limit);
		SWIFT(within = wrvq_kernel.query_within(search->query, bound));
		if (within < search->limit || search->limit == most)
			return take_candidates(search, Min(within, search->limit), taken, taken_count);
	}
}

/* places[count]: where these rows stand among the best limit candidates, from 0; limit if they do not. */
void
WrvqSearchPlaces(WrvqSearch *search, int probes, int64 limit, const uint64 *rows, int count, int64 *places)
{
	need_candidates(search, probes, limit, limit);
	for (int i = 0; i < count; i++)
		SWIFT(places[i] = wrvq_kernel.query_place(search->query, rows[i]));
}
