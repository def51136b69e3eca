/*
 * wrvqpassed.c: which rows of a scan its plan node lets through.
 *
 * Strict order binds what leaves the node.  A row that its filter drops has no
 * place in that order, and a row found late, nearer than the dropped one but no
 * nearer than any that was let through, need not be lost.  An access method is
 * not told; but the node runs by a function, behind which we put ours.
 */
#include "wrvqscan.h"

#include "executor/executor.h"
#include "lib/ilist.h"
#include "nodes/nodeFuncs.h"

/* A node that is watched, in the memory of its query. */
typedef struct WatchedNode
{
	dlist_node			  node;
	IndexScanState		 *scan;
	MemoryContextCallback end;
} WatchedNode;

static dlist_head			   watched = DLIST_STATIC_INIT(watched);
static ExecutorStart_hook_type previous_start = NULL;
static ExecProcNodeMtd		   run_index_scan = NULL; /* the server's, the same for all such nodes */

static TupleTableSlot *
run_watched(PlanState *node)
{
	TupleTableSlot *slot = run_index_scan(node);
	IndexScanState *scan = (IndexScanState *) node;

	if (!TupIsNull(slot) && scan->iss_ScanDesc != NULL)
		WrvqRowPassed(scan->iss_ScanDesc->opaque);
	return slot;
}

static void
unwatch(void *node)
{
	dlist_delete(&((WatchedNode *) node)->node);
}

/* Only nodes with a filter: from the others every row goes on. */
static bool
is_to_be_watched(const PlanState *node)
{
	const IndexScanState *scan = (const IndexScanState *) node;

	return IsA(node, IndexScanState) && node->qual != NULL && scan->iss_NumOrderByKeys > 0 &&
		   scan->iss_RelationDesc != NULL && scan->iss_RelationDesc->rd_indam->amgettuple == wrvqgettuple &&
		   (run_index_scan == NULL || run_index_scan == node->ExecProcNodeReal);
}

static bool
watch(PlanState *node, void *context)
{
	if (is_to_be_watched(node))
	{
		MemoryContext query = node->state->es_query_cxt;
		WatchedNode	 *entry = MemoryContextAllocZero(query, sizeof(WatchedNode));

		run_index_scan = node->ExecProcNodeReal;
		ExecSetExecProcNode(node, run_watched);
		entry->scan = (IndexScanState *) node;
		entry->end.func = unwatch;
		entry->end.arg = entry;
		dlist_push_head(&watched, &entry->node);
		MemoryContextRegisterResetCallback(query, &entry->end);
	}
	return planstate_tree_walker(node, watch, context);
}

static void
start_executor(QueryDesc *query, int flags)
{
	if (previous_start != NULL)
		previous_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
	if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && query->planstate != NULL)
		watch(query->planstate, NULL);
}

/* Will WrvqRowPassed() be called for the rows of this scan? */
bool
WrvqIsWatched(IndexScanDesc scan)
{
	dlist_iter iterator;

	dlist_foreach(iterator, &watched)
	{
		if (dlist_container(WatchedNode, node, iterator.cur)->scan->iss_ScanDesc == scan)
			return true;
	}
	return false;
}

void
WrvqWatchExecutor(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = start_executor;
}
