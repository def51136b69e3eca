/*
 * wrvqrecalibrate.c: measures an index anew, with the index itself: for
 * wrvq_calibrate(), for one that trained itself, and for VACUUM when the table
 * has grown or shrunk a lot.
 */
#include "wrvq.h"

#include <math.h>

#include "access/relation.h"
#include "access/table.h"
#include "access/xlog.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* rows of the table that serve as queries, and how many random places of the index are looked at for each */
#define QUERIES		  1024
#define TRIES_A_QUERY 64

/* the same index gives the same curve */
#define QUERIES_SEED 20261128

/*
 * Work after which fewer queries must do, and how many at least: rows reranked,
 * or as many entries each as can be estimated in that time.  Half a second; no
 * more than a statement waits that brings rows enough to train.
 */
#define WORK_MAX			   300000.0
#define ENTRIES_A_RERANKED_ROW 250
#define QUERIES_MIN			   128

/* candidates reranked at first to find the true neighbours, how many times more then, and in the end */
#define REACH_FIRST	 128
#define REACH_GROWTH 4
#define REACH_MAX	 32768

/* standard deviations of the estimates' errors that a true neighbour may look farther away by */
#define DEVIATIONS 2.5

/* VACUUM measures anew if there are so many times more, or fewer, entries; it notes any change by more than a tenth */
#define MEASURED_CHANGE_MAX 2.0
#define COUNTED_CHANGE_MAX	1.1

typedef struct Measure
{
	Relation			index;
	const WrvqMetaData *meta;
	const WrvqCodebook *codebook;
	const WrvqSupport  *support;
	WrvqReranker	   *reranker;
	SnapshotData		snapshot; /* what is there now: rows in progress count, too */
	FmgrInfo			operator;
	WrvqSample		   *sample; /* the queries */
	uint64			   *rows;	/* [row_count] the neighbours of all */
	int64				row_count;
	double				work;
} Measure;

/* A row somewhere in the index, each with the same probability; false: there is none at the place looked at. */
static bool
random_row(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, BlockNumber blocks,
		   pg_prng_state *random, uint64 *row)
{
	BlockNumber block = (BlockNumber) pg_prng_uint64_range(random, WRVQ_META_BLOCK + 1, blocks - 1);
	int			number = (int) pg_prng_uint64_range(random, 0, codebook->slots_per_page - 1);
	int			at = (int) pg_prng_uint64_range(random, 0, WRVQ_BLOCK_ENTRIES - 1);
	Buffer		buffer = ReadBuffer(index, block);
	Page		page = BufferGetPage(buffer);
	bool		found = false;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (!PageIsNew(page) && WrvqKindOfPage(index, buffer) == WRVQ_PAGE_POSTING)
	{
		WrvqSlotHeader *slot = WrvqGetSlot(codebook, page, number);

		if (slot->list < meta->list_count && at < slot->count)
		{
			SWIFT(*row = wrvq_kernel.block_row((const uint8 *) (slot + 1), at));
			found = *row != WRVQ_ROW_DEAD;
		}
	}
	UnlockReleaseBuffer(buffer);
	return found;
}

/* Draws rows of the index that are in the table as queries; returns about how many entries there are. */
static double
draw_queries(Measure *measure)
{
	BlockNumber	  blocks = RelationGetNumberOfBlocks(measure->index);
	WrvqSample	 *sample = measure->sample;
	int			  dimensions = measure->meta->dimensions;
	int64		  drawn = 0, tries = 0;
	uint64		 *rows = palloc(sizeof(uint64) * QUERIES);
	pg_prng_state random;

	sample->dimensions = dimensions;
	sample->vectors = palloc_extended(sizeof(float) * dimensions * QUERIES, MCXT_ALLOC_HUGE);
	sample->row_ids = palloc(sizeof(uint64) * QUERIES);
	pg_prng_seed(&random, QUERIES_SEED);
	for (; blocks > 1 && drawn < QUERIES && tries < QUERIES * TRIES_A_QUERY; tries++)
	{
		drawn += random_row(measure->index, measure->meta, measure->codebook, blocks, &random, &rows[drawn]);
		CHECK_FOR_INTERRUPTS();
	}
	for (int64 i = 0; i < drawn; i++)
	{
		const float *vector;
		int			 row_dimensions;
		bool		 is_known = false;

		for (int64 j = 0; j < sample->rows && !is_known; j++)
			is_known = sample->row_ids[j] == rows[i];
		if (is_known || !WrvqFetchVector(measure->reranker, rows[i], &measure->snapshot, &vector, &row_dimensions))
			continue;
		WrvqCheckDimensions(dimensions, row_dimensions);
		if (!WrvqIsIndexable(measure->support, vector, dimensions))
			continue;
		memcpy(sample->vectors + sample->rows * dimensions, vector, sizeof(float) * dimensions);
		sample->row_ids[sample->rows++] = rows[i];
		CHECK_FOR_INTERRUPTS();
	}
	return tries == 0 ? 0
					  : (double) drawn / tries * (blocks - 1) * measure->codebook->slots_per_page * WRVQ_BLOCK_ENTRIES;
}

/* The nearest rows met so far, in order, and how the estimates of all that were reranked missed. */
typedef struct Nearest
{
	int	   count;
	double distances[WRVQ_CALIBRATION_NEIGHBOURS];
	uint64 rows[WRVQ_CALIBRATION_NEIGHBOURS];
	double errors;
	double error_sum;
	double error_squares;
} Nearest;

static void
keep_nearest(Nearest *nearest, double distance, uint64 row)
{
	int at = Min(nearest->count, WRVQ_CALIBRATION_NEIGHBOURS - 1);

	if (isnan(distance) || (nearest->count == WRVQ_CALIBRATION_NEIGHBOURS && distance >= nearest->distances[at]))
		return;
	for (; at > 0 && nearest->distances[at - 1] > distance; at--)
	{
		nearest->distances[at] = nearest->distances[at - 1];
		nearest->rows[at] = nearest->rows[at - 1];
	}
	nearest->distances[at] = distance;
	nearest->rows[at] = row;
	nearest->count = Min(nearest->count + 1, WRVQ_CALIBRATION_NEIGHBOURS);
}

/* Compares some candidates of a query exactly. */
static void
rerank(Measure *measure, const WrvqSearch *search, int64 query, const WrvqCandidates *found, Nearest *nearest)
{
	const float *vector = measure->sample->vectors + query * measure->sample->dimensions;

	WrvqBeginRows(measure->reranker, found->rows, found->count);
	for (int64 i = 0; i < found->count; i++)
	{
		double distance, exact, error;

		CHECK_FOR_INTERRUPTS();
		if (!WrvqRerank(measure->reranker, i, &measure->snapshot, vector, measure->sample->dimensions, &distance))
			continue;
		SWIFT(exact = wrvq_kernel.query_exact(search->query, distance));
		error = exact - found->estimates[i];
		if (isfinite(error))
		{
			nearest->errors++;
			nearest->error_sum += error;
			nearest->error_squares += error * error;
		}
		if (found->rows[i] != measure->sample->row_ids[query])
			keep_nearest(nearest, distance, found->rows[i]);
	}
	WrvqEndRows(measure->reranker);
}

/* May a row whose estimate is next or worse be nearer than those found? */
static bool
may_be_nearer(const WrvqSearch *search, const Nearest *nearest, float next)
{
	double mean, deviation, exact;

	if (isinf(next) && next > 0)
		return false;
	if (nearest->count < WRVQ_CALIBRATION_NEIGHBOURS)
		return true;
	mean = nearest->error_sum / nearest->errors;
	deviation = sqrt(Max(0, nearest->error_squares / nearest->errors - mean * mean));
	SWIFT(exact = wrvq_kernel.query_exact(search->query, nearest->distances[nearest->count - 1]));
	return next + Min(mean, 0) - DEVIATIONS * deviation < exact;
}

/* Adds a query's true neighbours: among the candidates of all lists, as many as it takes. */
static void
find_neighbours(Measure *measure, int64 query)
{
	const WrvqSample *sample = measure->sample;
	WrvqSearch *search = WrvqBeginSearch(measure->index, measure->meta, sample->vectors + query * sample->dimensions);
	Nearest		nearest = {0};
	uint64	   *taken = palloc(sizeof(uint64) * 2 * REACH_MAX);
	int64		taken_count = 0;
	WrvqCandidates found;

	for (int64 reach = REACH_FIRST; reach <= REACH_MAX; reach *= REACH_GROWTH)
	{
		found = WrvqSearchLists(search, measure->meta->list_count, reach, taken, taken_count);
		rerank(measure, search, query, &found, &nearest);
		/* by now all of a row's entries that are better than the next one have been met */
		if (found.count > 0 && taken_count + found.count <= 2 * REACH_MAX)
		{
			SWIFT(wrvq_kernel.rows_merge(taken, taken_count, found.rows, found.count));
			taken_count += found.count;
		}
		measure->work += found.count;
		if (!may_be_nearer(search, &nearest, found.next))
			break;
	}
	measure->work += (double) search->query->visited / ENTRIES_A_RERANKED_ROW;
	memcpy(measure->rows + measure->row_count, nearest.rows, sizeof(uint64) * nearest.count);
	measure->row_count += nearest.count;
}

/* Finds the true neighbours of as many of the queries as the work permits; the others are dropped. */
static void
find_all_neighbours(Measure *measure)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "wrvq neighbours", ALLOCSET_DEFAULT_SIZES);
	int64		  query = 0;

	for (; query < measure->sample->rows && (query < QUERIES_MIN || measure->work < WORK_MAX); query++)
	{
		MemoryContext caller = MemoryContextSwitchTo(context);

		if (measure->support->distance == NULL || measure->support->tolerance > 0)
			WrvqRerankByOperator(measure->reranker, &measure->operator,
								 measure->support->datum(measure->sample->vectors + query * measure->sample->dimensions,
														 measure->sample->dimensions));
		find_neighbours(measure, query);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
	measure->sample->rows = query;
}

/* Passes the neighbours by, as a build does with all rows: each row once. */
static void
calibrate_rows(Measure *measure, WrvqCalibration *calibration)
{
	WrvqEncoder *encoder = WrvqBeginEncoder(measure->codebook, measure->meta->spill, WRVQ_BATCH_ROWS);
	int64		 count;

	SWIFT(count = wrvq_kernel.rows_sort(measure->rows, measure->row_count));
	for (int64 i = 0; i < count; i++)
	{
		const float	   *vector;
		int				dimensions;
		ItemPointerData tid;

		CHECK_FOR_INTERRUPTS();
		if (WrvqFetchVector(measure->reranker, measure->rows[i], &measure->snapshot, &vector, &dimensions) &&
			WrvqIsIndexable(measure->support, vector, dimensions))
		{
			WrvqCheckDimensions(measure->meta->dimensions, dimensions);
			WrvqTidFromRow(measure->rows[i], &tid);
			WrvqAddVector(encoder, vector, &tid);
		}
		if (encoder->count == encoder->capacity || (i == count - 1 && encoder->count > 0))
		{
			WrvqEncode(encoder);
			WrvqCalibrate(calibration, encoder);
			encoder->count = 0;
		}
	}
}

/* The curve of an index as it is, into meta; false if there are no rows to measure with.  entries 0: to be found out. */
static bool
measure_index(Relation heap, Relation index, WrvqMetaData *meta, double entries)
{
	Measure			 measure = {.index = index, .meta = meta, .support = WrvqIndexSupport(index)};
	WrvqCalibration *calibration;
	double			 estimated;

	measure.codebook = WrvqGetCodebook(index, meta);
	measure.sample = palloc0(sizeof(WrvqSample));
	measure.rows = palloc(sizeof(uint64) * WRVQ_CALIBRATION_NEIGHBOURS * QUERIES);
	measure.reranker = WrvqBeginRerank(index, heap, measure.support);
	InitDirtySnapshot(measure.snapshot);
	WrvqIndexOperator(index, &measure.operator);
	estimated = draw_queries(&measure);
	meta->entries = entries > 0 ? entries : estimated;
	find_all_neighbours(&measure);
	calibration = WrvqNewCalibration(measure.sample, false);
	WrvqBeginCalibration(calibration, measure.codebook);
	calibrate_rows(&measure, calibration);
	WrvqEndRerank(measure.reranker);
	WrvqEndCalibration(calibration, index, meta);
	return meta->measured > 0;
}

/* Replaces the curve and nothing else: rows may have come meanwhile. */
static void
write_curve(Relation index, const WrvqMetaData *measured)
{
	Buffer			  buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState *xlog = GenericXLogStart(index);
	WrvqMetaData	 *meta = WrvqPageGetMeta(GenericXLogRegisterBuffer(xlog, buffer, 0));

	meta->temperature = measured->temperature;
	meta->measured = measured->measured;
	meta->entries = measured->entries;
	meta->measured_entries = measured->measured_entries;
	memcpy(meta->curve, measured->curve, sizeof(meta->curve));
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
}

/* Notes how many entries there are, and measures anew what was measured when there were far fewer or more, or never. */
void
WrvqFollowTable(Relation heap, Relation index, double rows)
{
	WrvqMetaData  meta;
	WrvqCaller	  user;
	MemoryContext context, caller;
	double		  entries;
	bool		  is_stale;

	WrvqReadMeta(index, &meta);
	if (!meta.is_trained)
		return;
	entries = rows * meta.spill;
	is_stale = meta.measured == 0 || entries * MEASURED_CHANGE_MAX < meta.measured_entries ||
			   entries > meta.measured_entries * MEASURED_CHANGE_MAX;
	if (is_stale && entries > 0 && WrvqCanActAsOwner(heap, index))
	{
		context = AllocSetContextCreate(CurrentMemoryContext, "wrvq calibrate", ALLOCSET_DEFAULT_SIZES);
		caller = MemoryContextSwitchTo(context);
		WrvqBeginAsOwner(heap, index, &user);
		if (measure_index(heap, index, &meta, entries))
			write_curve(index, &meta);
		WrvqEndAsOwner(&user);
		MemoryContextSwitchTo(caller);
		MemoryContextDelete(context);
	}
	else if (entries > meta.entries * COUNTED_CHANGE_MAX || meta.entries > entries * COUNTED_CHANGE_MAX)
	{
		meta.entries = entries;
		write_curve(index, &meta);
	}
}

PG_FUNCTION_INFO_V1(wrvq_calibrate);
Datum
wrvq_calibrate(PG_FUNCTION_ARGS)
{
	Relation	  heap, index;
	MemoryContext context, caller;
	WrvqMetaData  meta;
	WrvqCaller	  user;

	PreventCommandDuringRecovery("wrvq_calibrate()");
	/* keeps VACUUM and another calibration out */
	index = WrvqOpenIndex(PG_GETARG_OID(0), ShareUpdateExclusiveLock, WRVQ_MAY_MAINTAIN, &heap);
	WrvqBeginAsOwner(heap, index, &user);
	context = AllocSetContextCreate(CurrentMemoryContext, "wrvq calibrate", ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	WrvqReadMeta(index, &meta);
	if (!meta.is_trained)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("index \"%s\" has not been trained yet", RelationGetRelationName(index)),
						errhint("It compares all rows until there are %d, and then trains itself at the next VACUUM.",
								WRVQ_TRAIN_ROWS)));
	if (measure_index(heap, index, &meta, 0))
		write_curve(index, &meta);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	WrvqEndAsOwner(&user);
	relation_close(index, NoLock);
	table_close(heap, NoLock);
	PG_RETURN_VOID();
}
