/*
 * wrvqcheckrows.c: wrvq_check(): does an index hold the rows that its table
 * holds, each as often as it should, coded as it should be?
 */
#include "wrvqcheck.h"

#include "access/table.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "utils/memutils.h"

/* rows whose vector is encoded anew, and the share of them whose code may differ: by another CPU's rounding */
#define SAMPLE_ROWS			1000
#define DIFFERENT_SHARE_MAX 0.05

void
WrvqCheckAddNumber(uint64 **numbers, int64 *count, int64 *capacity, uint64 number)
{
	if (*count == *capacity)
	{
		*capacity = Max(1024, 2 * *capacity);
		*numbers = WrvqResize(*numbers, *capacity * sizeof(uint64));
	}
	(*numbers)[(*count)++] = number;
}

static int
compare_numbers(const void *a, const void *b)
{
	uint64 x = *(const uint64 *) a, y = *(const uint64 *) b;

	CHECK_FOR_INTERRUPTS();
	return x < y ? -1 : x > y;
}

/* The first place of a sorted array whose number is not less. */
static int64
lower_bound(const uint64 *numbers, int64 count, uint64 number)
{
	int64 low = 0;

	while (count > 0)
	{
		int64 half = count / 2;

		if (numbers[low + half] < number)
		{
			low += half + 1;
			count -= half + 1;
		}
		else
			count = half;
	}
	return low;
}

static bool
contains(const uint64 *numbers, int64 count, uint64 number)
{
	int64 at = lower_bound(numbers, count, number);

	return at < count && numbers[at] == number;
}

/* Is the row in a list?  Once the keys are sorted. */
static bool
is_listed(CheckState *state, uint64 row)
{
	int64 at = lower_bound(state->keys, state->key_count, row << 16);

	return at < state->key_count && state->keys[at] >> 16 == row;
}

/* ---------- rows ---------- */

/* The last block whose entries name the row: for messages only, so slowness does not matter. */
static BlockNumber
block_of_row(CheckState *state, uint64 row)
{
	const WrvqCodebook *codebook = state->codebook;

	for (BlockNumber block = state->blocks - 1; block > WRVQ_META_BLOCK; block--)
		for (int i = 0; i < codebook->slots_per_page; i++)
		{
			bool			found = false;
			Buffer			buffer;
			WrvqSlotHeader *slot;

			if (!(state->slots[(Size) block * codebook->slots_per_page + i] & IS_REACHED))
				continue;
			CHECK_FOR_INTERRUPTS();
			buffer = WrvqReadPage(state->index, block, WRVQ_PAGE_POSTING, BUFFER_LOCK_SHARE);
			slot = WrvqGetSlot(codebook, BufferGetPage(buffer), i);
			for (int j = 0; j < slot->count && !found; j++)
			{
				uint64 other;

				SWIFT(other = wrvq_kernel.block_row((const uint8 *) (slot + 1), j));
				found = other == row;
			}
			UnlockReleaseBuffer(buffer);
			if (found)
				return block;
		}
	return WRVQ_META_BLOCK;
}

static char *
row_name(uint64 row)
{
	return psprintf("(%u,%u)", (BlockNumber) (row >> 16), (OffsetNumber) (row & 0xFFFF));
}

/*
 * Sorts the rows and raises if one has more entries than it has lists.  A crash
 * in the middle of moving pending rows leaves exact copies (and rows both
 * pending and in a list), which scans return once: these are only counted.
 */
void
WrvqCheckListedRows(CheckState *state)
{
	int64 kept = 0;

	state->entry_count = state->key_count;
	qsort(state->keys, state->key_count, sizeof(uint64), compare_numbers);
	for (int64 i = 0; i < state->key_count;)
	{
		uint64 row = state->keys[i] >> 16;
		int64  first = kept, end = i;

		for (; end < state->key_count && state->keys[end] >> 16 == row; end++)
			if (kept == first || state->keys[kept - 1] != state->keys[end])
				state->keys[kept++] = state->keys[end];
		if (kept - first > state->meta.spill)
			WrvqCorrupted(state->index, block_of_row(state, row),
						  psprintf("row %s of the table is there and in another place", row_name(row)));
		state->repeated_rows += end - i > state->meta.spill;
		i = end;
	}
	state->key_count = kept;
}

void
WrvqCheckPendingRows(CheckState *state)
{
	qsort(state->pending, state->pending_count, sizeof(uint64), compare_numbers);
	for (int64 i = 0; i < state->pending_count; i++)
	{
		uint64 row = state->pending[i];

		if (i > 0 && state->pending[i - 1] == row)
			WrvqCorrupted(state->index, state->meta.pending_head,
						  psprintf("row %s of the table is pending twice from here on", row_name(row)));
		state->repeated_rows += is_listed(state, row);
	}
}

/* ---------- the table ---------- */

/* Is one of the index's entries for the row what the encoder made of it? */
static bool
is_known(CheckState *state, int encoded, uint64 row)
{
	const uint8 *entry = state->encoder->entries + (Size) encoded * state->codebook->layout.entry_bytes;
	uint64		 key = WrvqCheckEntryKey(state->codebook, row, state->encoder->encoded[encoded].list, entry);

	return contains(state->keys, state->key_count, key);
}

/* Encodes the sampled rows and counts those for which the index has another code. */
static void
compare_codes(CheckState *state)
{
	WrvqEncoder *encoder = state->encoder;

	WrvqEncode(encoder);
	for (int i = 0; i < encoder->count; i++)
	{
		uint64 row = WrvqRowFromTid(&encoder->tids[i]);
		bool   known = true;

		for (uint32 list = 0; list < state->meta.spill; list++)
			known = known && is_known(state, list * encoder->count + i, row);
		if (!known && state->different++ == 0)
			state->first_different = row;
	}
	encoder->count = 0;
}

/* Takes one row in so many, evenly spread over the table. */
static void
sample_row(CheckState *state, const float *vector, int dimensions, ItemPointer tid)
{
	if (dimensions != state->meta.dimensions)
		WrvqCorrupted(state->index, block_of_row(state, WrvqRowFromTid(tid)),
					  psprintf("row %s of the table has %d dimensions, the index %u", row_name(WrvqRowFromTid(tid)),
							   dimensions, state->meta.dimensions));
	if (state->encoder == NULL)
		state->encoder = WrvqBeginEncoder(state->codebook, state->meta.spill, WRVQ_BATCH_ROWS);
	WrvqAddVector(state->encoder, vector, tid);
	state->sampled++;
	if (state->encoder->count == state->encoder->capacity)
		compare_codes(state);
}

/* A row that our snapshot sees must be in the index, if it qualifies. */
static void
table_callback(Relation index, ItemPointer tid, Datum *values, bool *isnull, bool alive, void *argument)
{
	CheckState	 *state = argument;
	uint64		  row = WrvqRowFromTid(tid);
	bool		  listed = is_listed(state, row), is_sampled = false;
	MemoryContext caller;
	const float	 *vector;
	int			  dimensions;

	if (isnull[0])
		return;
	if (listed && state->sampled < SAMPLE_ROWS)
		is_sampled = state->listed++ % Max(1, state->key_count / state->meta.spill / SAMPLE_ROWS) == 0;
	/* most rows need not be detoasted */
	if (!is_sampled && (listed || contains(state->pending, state->pending_count, row)))
		return;
	caller = MemoryContextSwitchTo(state->row_context);
	vector = state->support->vector(values[0], &dimensions);
	MemoryContextSwitchTo(caller);
	if (is_sampled)
		sample_row(state, vector, dimensions, tid);
	else if (WrvqIsIndexable(state->support, vector, dimensions))
		ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
						errmsg("index \"%s\" is corrupted: row %s of table \"%s\" is not in it",
							   RelationGetRelationName(index), row_name(row), RelationGetRelationName(state->heap)),
						errhint("REINDEX the index.")));
	MemoryContextReset(state->row_context);
}

void
WrvqCheckTable(CheckState *state)
{
	IndexInfo	 *info = BuildIndexInfo(state->index);
	TableScanDesc scan = table_beginscan_strat(state->heap, state->snapshot, 0, NULL, true, true);

	/* as for CREATE INDEX CONCURRENTLY: what our snapshot sees, by the root of its HOT chain */
	info->ii_Concurrent = true;
	table_index_build_scan(state->heap, state->index, info, true, false, table_callback, state, scan);
	if (state->encoder != NULL && state->encoder->count > 0)
		compare_codes(state);
	if (state->different > DIFFERENT_SHARE_MAX * state->sampled)
		WrvqCorrupted(state->index, block_of_row(state, state->first_different),
					  psprintf("the code of row %s of the table is not that of its vector, as with " INT64_FORMAT
							   " of " INT64_FORMAT " rows",
							   row_name(state->first_different), state->different, state->sampled));
}
