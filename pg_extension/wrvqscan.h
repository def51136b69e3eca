/* wrvqscan.h: what the files of a scan share. */
#ifndef WRVQ_SCAN_H
#define WRVQ_SCAN_H

#include "wrvq.h"

#include <math.h>

typedef struct ScanResult
{
	double distance;
	uint64 row;
} ScanResult;

/* Rows that wait to be returned. */
typedef struct ScanResults
{
	ScanResult *heap; /* [count] none comes before its parent, that of i at (i - 1) / 2: the first one is the nearest */
	int64		count;
	int64		capacity;
} ScanResults;

typedef struct WrvqScan
{
	const WrvqSupport *support;
	MemoryContext	   context; /* reset by every rescan */
	WrvqMetaData	   meta;
	WrvqReranker	  *reranker;
	Datum			   query_value; /* of the indexed type, not toasted */
	float			  *query;		/* [dimensions] */
	int				   dimensions;
	bool			   query_is_null;
	WrvqSearch		  *search; /* NULL: untrained */
	WrvqRange		  *range;  /* NULL: rows are wanted at any distance */
	bool			   is_ordered;
	uint64			  *pending; /* [pending_count] rows that are not encoded */
	int64			   pending_count;

	/* the round */
	int		round;		 /* -1: none yet */
	bool	exhausted;	 /* nothing is left to widen to */
	int64	first_reach; /* that ten rows take */
	int		first_probes;
	int64	rows;		   /* neighbours that the lists visited are for */
	int64	reach;		   /* candidates to rerank in all */
	int		probes;		   /* lists to visit */
	float	next_estimate; /* the best one that was not reranked */
	bool	visited_all;   /* no list was left out */
	uint64 *taken;		   /* [taken_count] rows reranked so far, sorted */
	int64	taken_count;
	int64	taken_capacity;

	/* what estimates lack of the exact distances, in their units: running mean and sum of squared deviations */
	int64  errors;
	double error_mean;
	double error_squares;
	double estimate_mean;
	int64  inside; /* rows of lists that are in range, or whose estimate is, if the snapshot does not see them */

	/* reranked rows that the snapshot does not see, by their estimates, but those that count as passed already */
	ScanResults unseen;
	int64		unseen_count;  /* in all */
	int64		unseen_passed; /* nearer than the row to be returned next */

	/* reranked rows that are not returned yet */
	ScanResults results;
	int64		rank_limit;	   /* so many rows are supported, those that the snapshot does not see among them */
	bool		is_limited;	   /* only up to the limit */
	double		limit;		   /* an exact distance, as estimates are scaled */
	double		last_distance; /* of the last returned row */
	int64		returned;	   /* rows */
	double		floor;		   /* nearer rows may not be returned any more, for the order's sake */
	bool		is_watched;	   /* the floor is where the last row was that its plan node let through */
	int64		latecomers;	   /* rows found after a farther one was returned */
	int64		dropped;	   /* of these */
} WrvqScan;

/* Is everything to be visited and compared? */
static inline bool
WrvqIsExact(void)
{
	return wrvq_target_recall >= 1 && wrvq_probes == 0 && wrvq_rerank == 0;
}

/* Were all lists asked for?  Then nothing may be missed. */
static inline bool
WrvqIsExhaustive(const WrvqScan *state)
{
	return state->meta.is_trained && (WrvqIsExact() || (uint32) wrvq_probes >= state->meta.list_count);
}

/* Does a distance come before another in SQL's order, in which NaN is the last? */
static inline bool
WrvqIsNearer(double distance, double other)
{
	return !isnan(distance) && (isnan(other) || distance < other);
}

/* ---------- wrvqresults.c ---------- */

extern void		  WrvqReserveResults(ScanResults *results, int64 capacity);
extern void		  WrvqAddResult(ScanResults *results, double distance, uint64 row);
extern ScanResult WrvqRemoveResult(ScanResults *results);

/* ---------- wrvqpassed.c ---------- */

extern bool WrvqIsWatched(IndexScanDesc scan);

/* The row returned last was let through. */
static inline void
WrvqRowPassed(WrvqScan *state)
{
	if (state->is_watched)
		state->floor = state->last_distance;
}

/* ---------- wrvqlastscan.c ---------- */

extern void WrvqNoteScan(Relation index, const WrvqScan *state);
extern void WrvqTellBound(Relation index, const WrvqScan *state);

/* ---------- wrvqround.c ---------- */

extern bool WrvqIsBounded(const WrvqScan *state);
extern bool WrvqIsSupported(WrvqScan *state);
extern void WrvqRunRound(IndexScanDesc scan, WrvqScan *state);

#endif
