/* wrvqlastscan.c: what a scan did, told to who asks; and to who did not, if a bound ended it. */
#include "wrvqscan.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"

/* A scan that is over: the last one of this session. */
typedef struct LastScan
{
	Oid	  index; /* InvalidOid: none yet */
	int	  rounds;
	int	  lists_visited;
	int	  lists;
	int64 entries;
	int64 reranked;
	int64 not_visible;
	int64 returned;
	int64 latecomers;
	int64 dropped;
	bool  is_bounded;
} LastScan;

#define LAST_SCAN_COLUMNS 11

static LastScan last_scan;

void
WrvqNoteScan(Relation index, const WrvqScan *state)
{
	bool is_searched = state->search != NULL;

	last_scan = (LastScan){
		.index = RelationGetRelid(index),
		.rounds = state->round + 1,
		.lists_visited = is_searched ? state->probes : 0,
		.lists = is_searched ? (int) state->meta.list_count : 0,
		.entries = is_searched ? state->search->query->visited : 0,
		.reranked = state->taken_count,
		.not_visible = state->unseen_count,
		.returned = state->returned,
		.latecomers = state->latecomers,
		.dropped = state->dropped,
		.is_bounded = is_searched && WrvqIsBounded(state) && state->results.count == 0,
	};
	elog(DEBUG1,
		 "wrvq scan of \"%s\": %d rounds, %d of %d lists, " INT64_FORMAT " entries, " INT64_FORMAT
		 " rows reranked, " INT64_FORMAT " of them not visible, " INT64_FORMAT " latecomers, " INT64_FORMAT " dropped",
		 RelationGetRelationName(index), last_scan.rounds, last_scan.lists_visited, last_scan.lists, last_scan.entries,
		 last_scan.reranked, last_scan.not_visible, last_scan.latecomers, last_scan.dropped);
}

/* wrvq_last_scan(): NULL in all columns if there was none. */
PG_FUNCTION_INFO_V1(wrvq_last_scan);
Datum
wrvq_last_scan(PG_FUNCTION_ARGS)
{
	bool	  nulls[LAST_SCAN_COLUMNS];
	TupleDesc description;
	Datum	  values[LAST_SCAN_COLUMNS] = {
			ObjectIdGetDatum(last_scan.index),		Int32GetDatum(last_scan.rounds),
			Int32GetDatum(last_scan.lists_visited), Int32GetDatum(last_scan.lists),
			Int64GetDatum(last_scan.entries),		Int64GetDatum(last_scan.reranked),
			Int64GetDatum(last_scan.not_visible),	Int64GetDatum(last_scan.returned),
			Int64GetDatum(last_scan.latecomers),	Int64GetDatum(last_scan.dropped),
			BoolGetDatum(last_scan.is_bounded),
	};

	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "wrvq_last_scan() does not return a row");
	memset(nulls, last_scan.index == InvalidOid, sizeof(nulls));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}

/*
 * Says that a scan was asked for more rows than wrvq.max_scan_tuples let it find:
 * once a statement of the client, however many scans there are in it.
 */
void
WrvqTellBound(Relation index, const WrvqScan *state)
{
	static TimestampTz told = 0;

	if (!WrvqIsBounded(state) || told == GetCurrentStatementStartTimestamp())
		return;
	told = GetCurrentStatementStartTimestamp();
	ereport(NOTICE,
			(errmsg("scan of index \"%s\" ended at wrvq.max_scan_tuples, %d rows, with more to come",
					RelationGetRelationName(index), wrvq_max_scan_tuples),
			 errhint("Rows may be missing. Raise wrvq.max_scan_tuples (0 is no limit); for a condition that few "
					 "rows meet, an index on its column or a partial index is faster.")));
}
