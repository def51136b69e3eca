/* wrvqinfo.c: wrvq_index_info(): what an index is made of, and what to do about it. */
#include "wrvq.h"

#include <math.h>

#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/* blocks at the end of the table whose rows count as recent */
#define RECENT_BLOCKS 256

/* advice: how much worse than at build, how much larger, how many dead */
#define LOSS_RATIO_MAX 1.25
#define GROWTH_MAX	   8.0
#define DEAD_SHARE_MAX 0.3

typedef struct IndexUse
{
	int64  live;
	int64  dead;
	int64  pending;
	int64  slots;
	int64 *list_live;	/* [lists]; NULL: untrained */
	double recent_loss; /* NaN: no rows to measure */
} IndexUse;

/* Counts the entries of one posting page. */
static void
count_page(const WrvqMetaData *meta, const WrvqCodebook *codebook, Page page, IndexUse *use)
{
	for (int i = 0; i < codebook->slots_per_page; i++)
	{
		WrvqSlotHeader *slot = WrvqGetSlot(codebook, page, i);

		if (slot->list >= meta->list_count)
			continue;
		use->slots++;
		for (int j = 0; j < Min(slot->count, WRVQ_BLOCK_ENTRIES); j++)
		{
			uint64 row;

			SWIFT(row = wrvq_kernel.block_row((const uint8 *) (slot + 1), j));
			if (row == WRVQ_ROW_DEAD)
			{
				use->dead++;
				continue;
			}
			use->live++;
			use->list_live[slot->list]++;
		}
	}
}

static void
count_entries(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, IndexUse *use)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);
	uint64	   *rows;

	use->pending = WrvqReadPending(index, meta, &rows);
	if (codebook != NULL)
		use->list_live = palloc0(sizeof(int64) * meta->list_count);
	for (BlockNumber block = WRVQ_META_BLOCK + 1; codebook != NULL && block < blocks; block++)
	{
		Buffer buffer = ReadBuffer(index, block);

		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!PageIsNew(BufferGetPage(buffer)) && WrvqKindOfPage(index, buffer) == WRVQ_PAGE_POSTING)
			count_page(meta, codebook, BufferGetPage(buffer), use);
		UnlockReleaseBuffer(buffer);
		CHECK_FOR_INTERRUPTS();
	}
}

typedef struct RecentState
{
	const WrvqSupport *support;
	WrvqEncoder		  *encoder;
	double			   loss;
	int64			   rows;
} RecentState;

static void
encode_recent(RecentState *state)
{
	if (state->encoder->count == 0)
		return;
	WrvqEncode(state->encoder);
	for (int i = 0; i < state->encoder->count; i++)
		state->loss += state->encoder->encoded[i].loss;
	state->rows += state->encoder->count;
	state->encoder->count = 0;
}

static void
recent_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	RecentState *state = argument;
	const float *vector;
	int			 dimensions;

	if (isnull[0] || !alive)
		return;
	vector = state->support->vector(values[0], &dimensions);
	WrvqCheckDimensions(state->encoder->codebook->view.shape.dimensions, dimensions);
	if (!WrvqIsIndexable(state->support, vector, dimensions))
		return;
	WrvqAddVector(state->encoder, vector, tid);
	if (state->encoder->count == state->encoder->capacity)
		encode_recent(state);
}

/* Loss of the rows at the end of the table under the index's codebook: data may drift away from it. */
static double
measure_recent_loss(Relation heap, Relation index, const WrvqCodebook *codebook)
{
	RecentState state = {.support = WrvqIndexSupport(index)};
	BlockNumber blocks = RelationGetNumberOfBlocks(heap), count = Min(blocks, RECENT_BLOCKS);
	IndexInfo  *info = BuildIndexInfo(index);

	/* reads with a snapshot of its own, as rows may be in progress */
	info->ii_Concurrent = true;
	state.encoder = WrvqBeginEncoder(codebook, 1, WRVQ_BATCH_ROWS);
	if (count > 0)
		table_index_build_range_scan(heap, index, info, false, false, false, blocks - count, count, recent_callback,
									 &state, NULL);
	encode_recent(&state);
	return state.rows > 0 ? state.loss / state.rows : NAN;
}

static const char *
advice(const WrvqMetaData *meta, const IndexUse *use)
{
	if (!meta->is_trained)
		return use->pending < WRVQ_TRAIN_ROWS ? NULL : "VACUUM the table: the index then trains itself";
	if (use->dead > DEAD_SHARE_MAX * (use->live + use->dead))
		return "VACUUM the table: many entries are dead";
	if (use->recent_loss > LOSS_RATIO_MAX * meta->loss && meta->build_entries > 0)
		return "REINDEX: recent rows are unlike those that the codebook was trained on";
	if (use->live > GROWTH_MAX * Max(meta->build_entries, WRVQ_TRAIN_ROWS_INSERT))
		return "REINDEX: the table has outgrown the number of lists";
	if (meta->measured == 0 && use->live > 0)
		return "VACUUM the table: the index has not measured its recall yet";
	return NULL;
}

/* A number, or null for what was not measured. */
static void
append_number(StringInfo json, const char *key, double value)
{
	if (isfinite(value))
		appendStringInfo(json, ", \"%s\": %.9g", key, value);
	else
		appendStringInfo(json, ", \"%s\": null", key);
}

static void
append_codebook(StringInfo json, const WrvqMetaData *meta, const WrvqCodebook *codebook)
{
	appendStringInfo(
		json,
		", \"lists\": %u, \"sublists\": %d, \"spill\": %u, \"bytes_per_entry\": %d, \"codebook_bytes\": " UINT64_FORMAT,
		meta->list_count, WrvqSublistCount(&meta->shape), meta->spill,
		(int) sizeof(ItemPointerData) + codebook->layout.entry_bytes, meta->image_bytes);
	appendStringInfoString(json, ", \"codebook_sha256\": ");
	for (int i = 0; i < 32; i++)
	{
		if (meta->codebook_sha256[i] != 0)
		{
			appendStringInfoChar(json, '"');
			for (int j = 0; j < 32; j++)
				appendStringInfo(json, "%02x", meta->codebook_sha256[j]);
			appendStringInfoChar(json, '"');
			return;
		}
	}
	/* trained by the index itself */
	appendStringInfoString(json, "null");
}

/* How evenly the rows are spread: entries that are alive in a list, and how full the blocks are. */
static void
append_lists(StringInfo json, const WrvqMetaData *meta, const IndexUse *use)
{
	int64  most = 0;
	uint32 empty = 0;

	for (uint32 i = 0; i < meta->list_count; i++)
	{
		most = Max(most, use->list_live[i]);
		empty += use->list_live[i] == 0;
	}
	appendStringInfo(json, ", \"list_entries\": {\"mean\": %.1f, \"most\": " INT64_FORMAT ", \"empty_lists\": %u}",
					 (double) use->live / meta->list_count, most, empty);
	append_number(json, "block_fill",
				  use->slots > 0 ? (double) (use->live + use->dead) / (use->slots * WRVQ_BLOCK_ENTRIES) : NAN);
}

static char *
describe(const WrvqMetaData *meta, const WrvqCodebook *codebook, const IndexUse *use)
{
	static const char *const metrics[] = {"l2", "ip", "cosine"};
	const char				*what = advice(meta, use);
	StringInfoData			 json;

	initStringInfo(&json);
	appendStringInfo(&json,
					 "{\"dimensions\": %u, \"metric\": \"%s\", \"trained\": %s, \"entries\": " INT64_FORMAT
					 ", \"live\": " INT64_FORMAT ", \"dead\": " INT64_FORMAT ", \"pending\": " INT64_FORMAT
					 ", \"tail\": " INT64_FORMAT,
					 meta->dimensions, metrics[meta->metric], meta->is_trained ? "true" : "false",
					 use->live + use->dead, use->live, use->dead, use->pending,
					 Max(0, use->live + use->dead - (int64) meta->build_entries));
	if (meta->is_trained)
	{
		append_codebook(&json, meta, codebook);
		append_lists(&json, meta, use);
		append_number(&json, "loss", meta->build_entries > 0 ? meta->loss : NAN);
		append_number(&json, "recent_loss", use->recent_loss);
		appendStringInfoString(&json, ", \"calibration\": ");
		WrvqDescribeCurve(meta, &json);
	}
	if (what != NULL)
		appendStringInfo(&json, ", \"advice\": \"%s\"}", what);
	else
		appendStringInfoString(&json, ", \"advice\": null}");
	return json.data;
}

PG_FUNCTION_INFO_V1(wrvq_index_info);
Datum
wrvq_index_info(PG_FUNCTION_ARGS)
{
	Relation	  heap, index = WrvqOpenIndex(PG_GETARG_OID(0), AccessShareLock, WRVQ_MAY_INSPECT, &heap);
	WrvqCaller	  user;
	IndexUse	  use = {.recent_loss = NAN};
	WrvqCodebook *codebook = NULL;
	WrvqMetaData  meta;
	char		 *json;

	WrvqReadMeta(index, &meta);
	if (meta.is_trained)
	{
		codebook = WrvqGetCodebook(index, &meta);
		WrvqBeginAsOwner(heap, index, &user);
		use.recent_loss = measure_recent_loss(heap, index, codebook);
		WrvqEndAsOwner(&user);
	}
	count_entries(index, &meta, codebook, &use);
	json = describe(&meta, codebook, &use);
	relation_close(index, AccessShareLock);
	table_close(heap, AccessShareLock);
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(json));
}
