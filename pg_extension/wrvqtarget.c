/*
 * wrvqtarget.c: what wrvq.target_recall makes of the curve that an index
 * measured: lists to visit, candidates to rerank.
 */
#include "wrvq.h"

#include <math.h>

#include "lib/stringinfo.h"

/* share of the neighbours that the points of the curve stand for */
const double wrvq_curve_recalls[WRVQ_CURVE_POINTS] = {0.5,	0.7,  0.8,	0.85, 0.9,	 0.925,
													  0.95, 0.97, 0.98, 0.99, 0.995, 1.0};

/*
 * Without a curve: share of the lists at a target of .95, and how much it grows with the logarithm of permitted misses;
 * what finds all but half of those of uniform vectors, the hardest there are: 100,000 x 64 and 10,000 x 64.
 */
#define SHARE_AT_95	  0.6
#define SHARE_PER_LOG 0.14
#define SHARE_MIN	  0.1

/*
 * The more neighbours, the more of them are in lists not visited: misses grow by
 * this power of their number.  Of 100,000 and of a million rows, lists that miss
 * .03 of 100 neighbours miss .07 and .08 of 1,000, .11 and .13 of 3,000.
 */
#define MISSES_EXPONENT 0.45

/* without a curve: candidates reranked at first at a target of .95; their errors then tell whether they were enough */
#define DEPTH_AT_95 64

/*
 * misses at the limit up to which a later round returns rows, for each that a
 * target permits: nearer than that, and in rounds that reach farther than was
 * asked for, there are fewer.  Simulated at a target of .95 with filters of 10, 1
 * and .1 % from all estimates and distances of two indexes: 1.8 finds .966, .970,
 * .953 of 100,000 rows and .965, .968 of a million.  Some more are in lists that
 * are not visited: measured, 1.5 finds .986, .957, .973 and .969, .966, .950, the
 * last with 50,000 rows reranked, which is why wrvq.max_scan_tuples is that.
 */
#define MISSES_AT_LIMIT 1.5

/*
 * The same where all nearer rows are hidden from the snapshot: the ten rows wanted are then all at the limit.  Of 20,000
 * random rows of 64 dimensions, the nearest 1,000 deleted, 1.5 finds .88, 0.5 .97.
 */
#define MISSES_AT_LIMIT_HIDDEN 0.5

/* the fewest of the sub-lists to visit, and how many more for each permitted miss less */
#define SUBLIST_SHARE_MIN	   0.5
#define SUBLIST_SHARE_PER_MISS 3.0

/* The curve at a recall. */
static void
interpolate(const WrvqMetaData *meta, double recall, double *share, double *lists, double *depth)
{
	double from = 0, from_share = 0, from_lists = 1, from_depth = 1;

	for (int i = 0; i < WRVQ_CURVE_POINTS; i++)
	{
		const WrvqCurvePoint *point = &meta->curve[i];

		if (recall <= wrvq_curve_recalls[i])
		{
			double part = (recall - from) / (wrvq_curve_recalls[i] - from);

			*share = from_share + part * (point->share - from_share);
			*lists = from_lists + part * (point->lists - from_lists);
			*depth = from_depth + part * (point->depth - from_depth);
			return;
		}
		from = wrvq_curve_recalls[i];
		from_share = point->share;
		from_lists = point->lists;
		from_depth = point->depth;
	}
	*share = 1;
	*lists = meta->list_count;
	*depth = from_depth;
}

/* The index trained itself as its first rows came, or was empty: nothing was measured. */
static int
probes_without_curve(const WrvqMetaData *meta, double recall)
{
	double share = SHARE_AT_95 - SHARE_PER_LOG * log(Max(1 - recall, 1e-6) / 0.05);

	return (int) ceil(Max(SHARE_MIN, Min(1.0, share)) * meta->list_count);
}

/* Lists that a query can be expected to visit. */
double
WrvqExpectedProbes(const WrvqMetaData *meta)
{
	double share, lists, depth;

	if (!meta->is_trained)
		return 0;
	if (wrvq_target_recall >= 1)
		return meta->list_count;
	if (meta->measured == 0)
		return probes_without_curve(meta, wrvq_target_recall);
	interpolate(meta, wrvq_target_recall, &share, &lists, &depth);
	return lists;
}

/* Lists for each entry; an index that has never counted its entries has few, or they came with nobody looking. */
static double
entries_share(const WrvqMetaData *meta)
{
	return meta->list_count / Max(meta->entries, meta->list_count);
}

/* Lists to visit for so many neighbours of a query that has just begun. */
int
WrvqProbes(const WrvqMetaData *meta, const wrvq_query *query, int64 rows)
{
	double misses = (1 - wrvq_target_recall) * pow((double) WRVQ_CALIBRATION_NEIGHBOURS / rows, MISSES_EXPONENT);
	double share, lists, depth;
	int	   probes;

	if (wrvq_target_recall >= 1)
		return meta->list_count;
	if (meta->measured == 0)
		return probes_without_curve(meta, 1 - misses);
	interpolate(meta, 1 - misses, &share, &lists, &depth);
	SWIFT(probes = wrvq_kernel.query_probes(query, meta->temperature, (float) share));
	/* lists that have no more entries than are to be reranked are no choice */
	return Max(probes, (int) Min(meta->list_count, ceil(Max(depth, rows) * entries_share(meta))));
}

/* Share of the sub-lists to visit in lists that are not among the very best. */
float
WrvqSublistShare(void)
{
	return Max(SUBLIST_SHARE_MIN, 1 - SUBLIST_SHARE_PER_MISS * (1 - wrvq_target_recall));
}

/* Candidates to rerank for ten neighbours: the rarer a miss may be, the more; all if there may be none. */
int64
WrvqRerankDepth(const WrvqMetaData *meta)
{
	double share, lists, depth;

	if (wrvq_target_recall >= 1)
		return WRVQ_ALL_CANDIDATES;
	if (meta->is_trained && meta->measured > 0)
		interpolate(meta, wrvq_target_recall, &share, &lists, &depth);
	else
		depth = DEPTH_AT_95 * sqrt(0.05 / Max(1 - wrvq_target_recall, 0.0005));
	return Max(WRVQ_DEPTH_MIN, (int64) ceil(depth));
}

/*
 * Standard deviations that a normal variable exceeds in a part of the permitted
 * share of cases; hidden: of the rows up to the limit, the share that the
 * snapshot does not see.  (Abramowitz and Stegun, Handbook of Mathematical Functions,
 * 26.2.23: right to 5e-4.)
 */
double
WrvqDeviations(double hidden)
{
	double misses = (1 - wrvq_target_recall) * (MISSES_AT_LIMIT + hidden * (MISSES_AT_LIMIT_HIDDEN - MISSES_AT_LIMIT));
	double tail = Max(1e-6, Min(0.5, misses)), t = sqrt(-2 * log(tail));

	return t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
}

/* Appends the curve as a JSON array; null without one. */
void
WrvqDescribeCurve(const WrvqMetaData *meta, StringInfo json)
{
	if (meta->measured == 0)
	{
		appendStringInfoString(json, "null");
		return;
	}
	for (int i = 0; i < WRVQ_CURVE_POINTS - 1; i++)
		appendStringInfo(json, "%s{\"recall\": %g, \"lists\": %.0f, \"rerank\": %u}", i == 0 ? "[" : ", ",
						 wrvq_curve_recalls[i], Max(Min(meta->curve[i].lists, meta->list_count), 0),
						 Max(WRVQ_DEPTH_MIN, meta->curve[i].depth));
	/* what the last point was measured to take bounds targets up to 1, but 1 itself means all */
	appendStringInfo(json, ", {\"recall\": 1, \"lists\": %u, \"rerank\": %.0f}]", meta->list_count,
					 Max(meta->entries, 0) / meta->spill);
}
