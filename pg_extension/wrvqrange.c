/*
 * wrvqrange.c: the sphere that a scan is confined to, and how far such a scan
 * must reach.
 */
#include "wrvq.h"

#include <math.h>

#include "access/skey.h"
#include "access/table.h"
#include "catalog/index.h"

/*
 * Of several spheres the smallest; the executor checks the others.  Raises what
 * makes a centre no query.  In the current memory context.  NULL: the scan is
 * confined to none.
 */
WrvqRange *
WrvqReadRange(IndexScanDesc scan, const WrvqSupport *support, const WrvqMetaData *meta)
{
	WrvqRange *range;

	if (scan->numberOfKeys == 0)
		return NULL;
	range = palloc0(sizeof(WrvqRange));
	range->is_one_of_many = scan->numberOfKeys > 1;
	for (int i = 0; i < scan->numberOfKeys; i++)
	{
		ScanKey	   key = &scan->keyData[i];
		WrvqSphere sphere;

		if ((key->sk_flags & SK_ISNULL) != 0 || !WrvqReadSphere(key->sk_argument, &sphere))
		{
			range->is_empty = true;
			return range;
		}
		if (meta->dimensions != 0)
			WrvqCheckDimensions(meta->dimensions, sphere.dimensions);
		WrvqCheckFinite(sphere.center, sphere.dimensions);
		if (i > 0 && sphere.radius >= range->radius)
			continue;
		/* as the indexed type holds it: a halfvec is compared with halves */
		range->center_value = support->datum(sphere.center, sphere.dimensions);
		range->center = WrvqReadQuery(support, range->center_value, &range->dimensions);
		range->radius = sphere.radius;
	}
	return range;
}

/* Is this vector the centre? */
bool
WrvqIsCenter(const WrvqRange *range, const float *vector, int dimensions)
{
	return dimensions == range->dimensions && memcmp(vector, range->center, sizeof(float) * dimensions) == 0;
}

/* The deviation of estimates' errors that what the codes lose on average makes expect. */
double
WrvqExpectedDeviation(const WrvqMetaData *meta, const wrvq_query *query)
{
	return query->inner_factor * sqrt(Max(meta->loss, 0) * query->norm_squared / meta->dimensions);
}

/*
 * The estimate up to which candidates may be inside: mean and deviation tell
 * how those that were reranked missed.  The best of many estimates are too good
 * rather than too bad, which must not make the others look farther away; and
 * what the codes lose on average is the least to be expected.
 */
double
WrvqRangeBound(const WrvqRange *range, const WrvqMetaData *meta, const wrvq_query *query, double mean, double deviation)
{
	double expected = WrvqExpectedDeviation(meta, query), exact;

	SWIFT(exact = wrvq_kernel.query_exact(query, range->radius));
	/* the farthest radius for which the square does not turn around */
	if (meta->metric == WRVQ_L2 && range->radius < 0)
		exact = -INFINITY;
	return exact - Min(mean, 0) + WrvqDeviations(0) * Max(deviation, expected);
}

/* Every page of the table; returns how many. */
static int64
add_all_pages(Relation heap, TIDBitmap *bitmap)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(heap);

	for (BlockNumber block = 0; block < blocks; block++)
		tbm_add_page(bitmap, block);
	return blocks;
}

/* Every row of the scan; returns how many. */
static int64
add_rows(IndexScanDesc scan, TIDBitmap *bitmap)
{
	int64 rows = 0;

	for (; wrvqgettuple(scan, ForwardScanDirection); rows++)
		tbm_add_tuples(bitmap, &scan->xs_heaptid, 1, scan->xs_recheck);
	/* lets go of the table */
	wrvqrescan(scan, NULL, 0, NULL, 0);
	return rows;
}

/*
 * All rows of a sphere, for OR and for AND with other indexes.  Such a scan is
 * not told its table, on which the executor holds a lock.
 *
 * The planner may take a partial index for its predicate alone.  No sphere then
 * excludes anything, not even a NULL, which no list has: every page may hold
 * rows, and the executor checks the predicate.
 */
int64
wrvqgetbitmap(IndexScanDesc scan, TIDBitmap *bitmap)
{
	Relation heap = table_open(IndexGetRelation(RelationGetRelid(scan->indexRelation), false), NoLock);
	int64	 found;

	scan->heapRelation = heap;
	found = scan->numberOfKeys == 0 ? add_all_pages(heap, bitmap) : add_rows(scan, bitmap);
	scan->heapRelation = NULL;
	table_close(heap, NoLock);
	return found;
}
