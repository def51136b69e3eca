/* wrvqcost.c: what the planner is told a search costs. */
#include "wrvq.h"

#include <math.h>

#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "utils/float.h"
#include "utils/selfuncs.h"

/*
 * Measured on an index of 100,000 rows of 384 dimensions, in the planner's
 * units (a sequentially read page, some 2 us of a scan in memory).
 */
#define COST_PER_QUERY			8.0	  /* executor, tables, reranker */
#define COST_PER_LIST_DIMENSION 2e-5  /* ranking the lists */
#define COST_PER_ENTRY			0.002 /* estimating an entry's distance */
#define COST_PER_PAGE			0.1	  /* pinning a page of entries */
#define COST_PER_RERANKED_ROW	0.75  /* fetching a row, computing its distance */

/* rows reranked for each row returned */
#define RERANKED_PER_ROW 4

/* rows that the expected number of lists is for */
#define ROWS_OF_CURVE 10

void
wrvqcostestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
				 Selectivity *selectivity, double *correlation, double *pages)
{
	GenericCosts costs;
	Relation	 index;
	WrvqMetaData meta;
	double		 entries = path->indexinfo->tuples, rows, share = 1.0;

	/* without an order or a sphere there is nothing that this index can do */
	if (path->indexorderbys == NIL && path->indexclauses == NIL)
	{
		*startup = *total = get_float8_infinity();
		*selectivity = 0;
		*correlation = 0;
		*pages = 0;
		return;
	}
	MemSet(&costs, 0, sizeof(costs));
	genericcostestimate(root, path, loop_count, &costs);

	index = index_open(path->indexinfo->indexoid, NoLock);
	WrvqReadMeta(index, &meta);
	index_close(index, NoLock);
	rows = path->indexclauses == NIL ? entries : costs.indexSelectivity * entries;
	*startup = COST_PER_QUERY;
	if (meta.is_trained)
	{
		double probes = wrvq_probes > 0 ? wrvq_probes : WrvqExpectedProbes(&meta);
		double depth = wrvq_rerank > 0 ? wrvq_rerank : WrvqRerankDepth(&meta);

		/* without an order, all of a sphere is searched: its rows are in so many more lists than the nearest ten */
		if (path->indexorderbys == NIL)
			probes *= Max(1, rows / ROWS_OF_CURVE);
		/* a damaged curve may hold anything */
		share = probes >= 0 && probes < meta.list_count ? probes / meta.list_count : 1.0;
		*startup += COST_PER_LIST_DIMENSION * meta.list_count * meta.dimensions + COST_PER_ENTRY * share * entries +
					COST_PER_PAGE * share * path->indexinfo->pages + COST_PER_RERANKED_ROW * Min(depth, entries);
	}
	else
		*startup += COST_PER_RERANKED_ROW * entries;

	*total = *startup + COST_PER_RERANKED_ROW * RERANKED_PER_ROW * rows;
	*selectivity = costs.indexSelectivity;
	/* the rows of a sphere are on pages that reranking has just read: a bitmap spares none */
	*correlation = path->indexclauses == NIL ? 0 : 1;
	*pages = costs.numIndexPages;
}
