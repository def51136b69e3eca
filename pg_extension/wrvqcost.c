/* wrvqcost.c: what the planner is told a search costs. */
#include "wrvq.h"

#include <math.h>

#include "access/heaptoast.h"
#include "access/sysattr.h"
#include "nodes/pathnodes.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"
#include "utils/spccache.h"

/*
 * In the planner's units, of which a sequential scan of 100,000 rows of 384
 * dimensions in memory takes 21,250 (some 2 us each): measured as parts of its
 * time, on 5,000 and 20,000 rows of 1,536 dimensions, too.
 */
#define COST_PER_QUERY			8.0	  /* executor, tables, reranker */
#define COST_PER_LIST_DIMENSION 2e-5  /* ranking the lists */
#define COST_PER_ENTRY			0.002 /* estimating an entry's distance */
#define COST_PER_PAGE			0.1	  /* pinning a page of entries */
#define COST_PER_RERANKED_ROW	0.75  /* fetching a row, computing its distance */
#define COST_PER_RETURNED_ROW	0.2	  /* fetching it again for the executor, its distance to show */
#define COST_PER_TOASTED_ROW	1.0	  /* looking up where a vector is that is kept out of line */
#define COST_PER_TOAST_CHUNK	0.6	  /* and reading it */

/*
 * Rows reranked for each one returned: so many for the first ones, then fewer
 * by this power of the share of the rows that is returned.  Of 100,000 rows, for
 * LIMIT 100 to 100,000 in steps of half a power of ten: 4.0, 4.6, 3.1 (other
 * queries: 4.5), 3.5, 2.3, 1.75, 1.
 */
#define RERANKED_PER_ROW  4.5
#define RERANKED_EXPONENT 0.36

/* rows that the expected number of lists is for */
#define ROWS_OF_CURVE 10

/* how much dearer than reading all is an index scan that would end before it has the rows that are wanted */
#define SHORT_SCAN_FACTOR 2.0

/* What a search returns and for whom. */
typedef struct Search
{
	const IndexPath *path;
	double			 entries; /* rows in the index */
	double			 rows;	  /* returned if nobody stops it */
	double			 wanted;  /* before somebody does */
	bool			 is_sure; /* that so many are */
	double			 toast;	  /* cost of reading a vector that is kept out of line; 0: in line */
} Search;

/* Bytes of the column in a row, as ANALYZE saw them, or as there is room for. */
static double
bytes_in_line(const RelOptInfo *rel, Relation index)
{
	AttrNumber attribute = index->rd_index->indkey.values[0];
	int32	   width = attribute == 0 ? 0 : get_attavgwidth(index->rd_index->indrelid, attribute);

	return width > 0 ? width : rel->pages * (double) BLCKSZ / Max(rel->tuples, 1);
}

/* The cost of reading the column of one row, where that is kept out of line: less than half of it is in the row. */
static double
toast_cost(const RelOptInfo *rel, Relation index, const WrvqMetaData *meta)
{
	const WrvqSupport *support = WrvqIndexSupport(index);
	float			  *zeros;
	double			   bytes;

	/* codes are short, whatever they are codes of; a damaged metapage may hold anything */
	if (support->codebook != NULL || meta->dimensions == 0 || meta->dimensions > WRVQ_DIMENSIONS_MAX)
		return 0;
	zeros = palloc0(sizeof(float) * meta->dimensions);
	bytes = VARSIZE_ANY(DatumGetPointer(support->datum(zeros, meta->dimensions)));
	if (bytes_in_line(rel, index) > bytes / 2)
		return 0;
	return COST_PER_TOASTED_ROW + COST_PER_TOAST_CHUNK * ceil(bytes / TOAST_MAX_CHUNK_SIZE);
}

/*
 * How many rows the index is asked for: by LIMIT, and by how many of them the
 * query's other conditions let through; without a LIMIT, as many as the planner
 * supposes that the client will fetch.
 */
static void
find_wanted(const PlannerInfo *root, Search *search)
{
	const RelOptInfo *rel = search->path->indexinfo->rel;
	double			  passing = Max(1, Min(rel->rows, search->rows));

	search->is_sure = root->limit_tuples > 0 || root->tuple_fraction <= 0;
	if (root->limit_tuples > 0)
		search->wanted = root->limit_tuples / passing * search->rows;
	else if (root->tuple_fraction <= 0)
		search->wanted = search->rows;
	else if (root->tuple_fraction < 1)
		search->wanted = root->tuple_fraction * search->rows;
	else
		search->wanted = root->tuple_fraction / passing * search->rows;
	search->wanted = Max(1, Min(search->wanted, search->rows));
}

static double
reranked_per_row(const Search *search)
{
	return Min(RERANKED_PER_ROW, pow(Max(1, search->entries / search->wanted), RERANKED_EXPONENT));
}

/* Conditions on the indexed vector, index conditions among them: each reads it again. */
static int
conditions_on_vector(const IndexOptInfo *info)
{
	Bitmapset *indexed = NULL;
	int		   count = 0;
	ListCell  *cell;

	if (info->indexkeys[0] != 0)
		indexed = bms_add_member(indexed, info->indexkeys[0] - FirstLowInvalidHeapAttributeNumber);
	else
		pull_varattnos((Node *) info->indexprs, info->rel->relid, &indexed);
	foreach(cell, info->rel->baserestrictinfo)
	{
		Bitmapset *used = NULL;

		pull_varattnos((Node *) lfirst_node(RestrictInfo, cell)->clause, info->rel->relid, &used);
		count += bms_overlap(used, indexed);
	}
	return count;
}

/* What precedes the first row. */
static double
startup_cost(const Search *search, const WrvqMetaData *meta)
{
	double entries = search->entries, rerank = COST_PER_RERANKED_ROW + search->toast;
	double probes, depth, share;

	if (!meta->is_trained)
		return COST_PER_QUERY + rerank * entries;
	probes = wrvq_probes > 0 ? wrvq_probes : WrvqExpectedProbes(meta);
	depth = wrvq_rerank > 0 ? wrvq_rerank : WrvqRerankDepth(meta);
	/* without an order, all of a sphere is searched: its rows are in so many more lists than the nearest ten */
	if (search->path->indexorderbys == NIL)
		probes *= Max(1, search->rows / ROWS_OF_CURVE);
	/* a damaged curve may hold anything */
	share = probes >= 0 && probes < meta->list_count ? probes / meta->list_count : 1.0;
	return COST_PER_QUERY + COST_PER_LIST_DIMENSION * meta->list_count * meta->dimensions +
		   COST_PER_ENTRY * share * entries * meta->spill + COST_PER_PAGE * share * search->path->indexinfo->pages +
		   rerank * Min(depth, entries);
}

/* What the planner makes of the same answer by reading the whole table; and what it forgets there: vectors out of line. */
static double
scan_cost(const Search *search, int conditions, double *forgotten)
{
	const RelOptInfo *rel = search->path->indexinfo->rel;
	double			  page_cost;

	get_tablespace_page_costs(rel->reltablespace, NULL, &page_cost);
	*forgotten = search->toast * conditions * rel->tuples;
	if (search->path->indexorderbys != NIL)
		*forgotten += search->toast * Min(rel->rows, rel->tuples);
	return page_cost * rel->pages + (cpu_tuple_cost + rel->baserestrictcost.per_tuple) * rel->tuples +
		   cpu_operator_cost * (1 + 2 * log2(Max(2, search->wanted))) * rel->rows;
}

void
wrvqcostestimate(PlannerInfo *root, IndexPath *path, double loop_count, Cost *startup, Cost *total,
				 Selectivity *selectivity, double *correlation, double *pages)
{
	GenericCosts costs;
	Relation	 index;
	WrvqMetaData meta;
	Search		 search = {.path = path, .entries = Max(1, path->indexinfo->tuples)};
	double		 row_cost, table_cost, forgotten;
	int			 conditions;

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
	search.toast = toast_cost(path->indexinfo->rel, index, &meta);
	index_close(index, NoLock);
	search.rows = path->indexclauses == NIL ? search.entries : costs.indexSelectivity * search.entries;
	find_wanted(root, &search);

	*startup = startup_cost(&search, &meta);
	conditions = conditions_on_vector(path->indexinfo);
	row_cost = (COST_PER_RERANKED_ROW + search.toast) * reranked_per_row(&search) + COST_PER_RETURNED_ROW +
			   search.toast * (1 + conditions - list_length(path->indexclauses));

	/*
	 * The planner does not count what is out of line.  It compares our cost
	 * with that of reading the table, so ours becomes the same part of that as
	 * it is of the cost with all counted.
	 */
	table_cost = scan_cost(&search, conditions, &forgotten);
	if (forgotten > 0)
	{
		*startup *= table_cost / (table_cost + forgotten);
		row_cost *= table_cost / (table_cost + forgotten);
	}

	/* who is sure to want more than a scan returns shall rather have all of them */
	if (search.is_sure && path->indexorderbys != NIL && path->indexclauses == NIL && wrvq_max_scan_tuples > 0 &&
		reranked_per_row(&search) * search.wanted > wrvq_max_scan_tuples && search.wanted > ROWS_OF_CURVE)
		row_cost = Max(row_cost, SHORT_SCAN_FACTOR * table_cost / search.wanted);

	*total = *startup + row_cost * search.rows;
	*selectivity = costs.indexSelectivity;
	/* rows are on pages that reranking has just read */
	*correlation = 1;
	*pages = costs.numIndexPages;
}
