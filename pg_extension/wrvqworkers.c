/*
 * wrvqworkers.c: parallel workers of a build.  They are started once: first
 * they help to train, a unit of the trainer's step at a time, then every
 * participant encodes a part of the table and sorts what it encoded.
 */
#include "wrvq.h"

#include <sys/statvfs.h>

#include "access/parallel.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/dsm_impl.h"
#include "storage/spin.h"
#include "tcop/tcopprot.h"
#include "utils/float.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#define KEY_SHARED	   UINT64CONST(0xFF97000000000001)
#define KEY_SCAN	   UINT64CONST(0xFF97000000000002)
#define KEY_SORT	   UINT64CONST(0xFF97000000000003)
#define KEY_IMAGE	   UINT64CONST(0xFF97000000000004)
#define KEY_STATES	   UINT64CONST(0xFF97000000000005)
#define KEY_TRAINING   UINT64CONST(0xFF97000000000006)
#define KEY_QUERY_TEXT UINT64CONST(0xFF97000000000007)
#define KEY_NEARNESS   UINT64CONST(0xFF97000000000008)

/* left free in /dev/shm by us */
#define SPARE_SHARED_BYTES (8 * 1024 * 1024)

typedef enum Stage
{
	STAGE_TRAIN,
	STAGE_ENCODE
} Stage;

/* What leader and workers have in common. */
typedef struct Shared
{
	Oid		   heap;
	Oid		   index;
	bool	   is_concurrent;
	int		   participants; /* workers that were started, and the leader; set before STAGE_ENCODE */
	int		   queries;		 /* of the calibration */
	wrvq_shape shape;
	Size	   trainer_offset; /* of the trainer, behind the sample */

	ConditionVariable changed; /* stage or ticket */
	pg_atomic_uint32  stage;
	/*
	 * The step of the training (upper half), how many units it has and which
	 * one comes next (16 bits each): one number, so that no unit of one step is
	 * taken for one of another.
	 */
	pg_atomic_uint64  ticket;
	pg_atomic_uint32  units_done;
	pg_atomic_uint64  rows_encoded;
	ConditionVariable units_are_done;

	/* what the workers have found */
	slock_t mutex;
	double	heap_tuples;
	double	rows;
	double	loss;
} Shared;

struct WrvqWorkers
{
	ParallelContext *context;
	Snapshot		 snapshot;
	Shared			*shared;
	char			*image;
	char			*states;
	float			*nearness; /* [queries] of the calibration's neighbours */
	char			*training; /* NULL: the leader trains alone */
	Sharedsort		*sort;
};

/* ---------- memory ---------- */

/* A participant's statistics, and behind them its part of the calibration. */
static Size
statistics_bytes(const WrvqCodebook *codebook)
{
	int64 bytes;

	SWIFT(bytes = wrvq_kernel.statistics_bytes(&codebook->view));
	return TYPEALIGN(64, bytes);
}

static Size
state_bytes(const WrvqCodebook *codebook, int queries)
{
	int64 bytes;

	SWIFT(bytes = wrvq_kernel.calibration_bytes(&codebook->view, queries));
	return statistics_bytes(codebook) + TYPEALIGN(64, bytes);
}

static void *
aligned(void *memory)
{
	return (void *) TYPEALIGN(64, memory);
}

/* Containers often have little of it, and asking for more than there is is an error. */
bool
WrvqHasSharedMemory(Size bytes)
{
	struct statvfs file_system;

	if (dynamic_shared_memory_type != DSM_IMPL_POSIX || statvfs("/dev/shm", &file_system) != 0)
		return true;
	return (double) file_system.f_bavail * file_system.f_frsize > (double) bytes + SPARE_SHARED_BYTES;
}

static void
estimate(ParallelContext *context, Size bytes)
{
	shm_toc_estimate_chunk(&context->estimator, bytes);
	shm_toc_estimate_keys(&context->estimator, 1);
}

static void *
allocate(WrvqWorkers *workers, uint64 key, Size bytes)
{
	void *memory = shm_toc_allocate(workers->context->toc, bytes);

	shm_toc_insert(workers->context->toc, key, memory);
	return memory;
}

/* ---------- starting ---------- */

static void
fill_shared_memory(WrvqWorkers *workers, Relation heap, Relation index, const WrvqCodebook *codebook, int queries,
				   Size image_bytes, Size training_bytes)
{
	ParallelContext *context = workers->context;
	int				 most = context->nworkers + 1;
	Shared			*shared = allocate(workers, KEY_SHARED, sizeof(Shared));
	char			*text;

	memset(shared, 0, sizeof(Shared));
	shared->heap = RelationGetRelid(heap);
	shared->index = RelationGetRelid(index);
	shared->is_concurrent = workers->snapshot != SnapshotAny;
	shared->queries = queries;
	shared->shape = codebook->view.shape;
	ConditionVariableInit(&shared->changed);
	ConditionVariableInit(&shared->units_are_done);
	pg_atomic_init_u32(&shared->stage, STAGE_TRAIN);
	pg_atomic_init_u64(&shared->ticket, 0);
	pg_atomic_init_u32(&shared->units_done, 0);
	pg_atomic_init_u64(&shared->rows_encoded, 0);
	SpinLockInit(&shared->mutex);
	workers->shared = shared;

	table_parallelscan_initialize(heap,
								  allocate(workers, KEY_SCAN, table_parallelscan_estimate(heap, workers->snapshot)),
								  workers->snapshot);
	workers->sort = allocate(workers, KEY_SORT, tuplesort_estimate_shared(most));
	tuplesort_initialize_shared(workers->sort, most, context->seg);
	workers->image = aligned(allocate(workers, KEY_IMAGE, image_bytes + 64));
	workers->states = aligned(allocate(workers, KEY_STATES, state_bytes(codebook, queries) * most + 64));
	workers->nearness = allocate(workers, KEY_NEARNESS, sizeof(float) * Max(1, queries));
	if (training_bytes > 0)
		workers->training = aligned(allocate(workers, KEY_TRAINING, training_bytes + 64));
	text = allocate(workers, KEY_QUERY_TEXT, strlen(debug_query_string ? debug_query_string : "") + 1);
	strcpy(text, debug_query_string ? debug_query_string : "");
}

/* Pages of what the table keeps out of line: longer vectors, above all. */
static BlockNumber
toast_blocks(Relation heap)
{
	Relation	toast;
	BlockNumber blocks;

	if (!OidIsValid(heap->rd_rel->reltoastrelid))
		return 0;
	toast = table_open(heap->rd_rel->reltoastrelid, AccessShareLock);
	blocks = RelationGetNumberOfBlocks(toast);
	table_close(toast, AccessShareLock);
	return blocks;
}

/*
 * How many workers the server plans for a table of so many pages.  It counts
 * those in line only, few where vectors are long, and compares them with a
 * setting: for this question that is as much smaller.
 */
static int
plan_workers(Relation heap, Relation index)
{
	double in_line = Max(RelationGetNumberOfBlocks(heap), 1);
	int	   least = (int) (min_parallel_table_scan_size * in_line / (in_line + toast_blocks(heap)));
	int	   nest_level = NewGUCNestLevel(), wanted;
	char   value[16];

	snprintf(value, sizeof(value), "%d", least);
	set_config_option("min_parallel_table_scan_size", value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
					  false);
	wanted = plan_create_index_workers(RelationGetRelid(heap), RelationGetRelid(index));
	AtEOXact_GUC(false, nest_level);
	return wanted;
}

/*
 * Starts workers for a codebook of codebook's shape, if the server has any to
 * spare: NULL if not.  training_bytes: of memory for WrvqTrain(), 0 if there is
 * nothing to train.
 */
WrvqWorkers *
WrvqStartWorkers(Relation heap, Relation index, IndexInfo *info, const WrvqCodebook *codebook, int queries,
				 Size training_bytes)
{
	int			 wanted = WrvqWorkersThatFit(&codebook->view.shape, queries, plan_workers(heap, index));
	WrvqWorkers *workers;
	int64		 image_bytes;

	if (wanted == 0)
		return NULL;
	if (!WrvqHasSharedMemory(training_bytes) || !WrvqTrainingFits(&codebook->view.shape, training_bytes, queries))
		training_bytes = 0;
	workers = palloc0(sizeof(WrvqWorkers));
	EnterParallelMode();
	workers->context = CreateParallelContext("wrvq", "WrvqBuildWorker", wanted);
	workers->snapshot = info->ii_Concurrent ? RegisterSnapshot(GetTransactionSnapshot()) : SnapshotAny;
	SWIFT(image_bytes = wrvq_kernel.image_bytes(&codebook->view.shape));
	estimate(workers->context, sizeof(Shared));
	estimate(workers->context, table_parallelscan_estimate(heap, workers->snapshot));
	estimate(workers->context, tuplesort_estimate_shared(wanted + 1));
	estimate(workers->context, image_bytes + 64);
	estimate(workers->context, state_bytes(codebook, queries) * (wanted + 1) + 64);
	estimate(workers->context, sizeof(float) * Max(1, queries));
	if (training_bytes > 0)
		estimate(workers->context, training_bytes + 64);
	estimate(workers->context, strlen(debug_query_string ? debug_query_string : "") + 1);
	InitializeParallelDSM(workers->context);
	if (workers->context->seg != NULL)
	{
		fill_shared_memory(workers, heap, index, codebook, queries, image_bytes, training_bytes);
		LaunchParallelWorkers(workers->context);
		elog(DEBUG1, "wrvq build of \"%s\": %d of %d parallel workers started", RelationGetRelationName(index),
			 workers->context->nworkers_launched, wanted);
	}
	if (workers->context->seg == NULL || workers->context->nworkers_launched == 0)
	{
		WrvqEndWorkers(workers);
		return NULL;
	}
	workers->shared->participants = workers->context->nworkers_launched + 1;
	return workers;
}

/* Shared memory for WrvqTrain(), NULL if there is none. */
void *
WrvqTrainingMemory(const WrvqWorkers *workers)
{
	return workers == NULL ? NULL : workers->training;
}

/* ---------- training ---------- */

/* Works on units of the current step until all are taken; returns the step. */
static uint32
work_on_units(Shared *shared, wrvq_trainer *trainer)
{
	for (;;)
	{
		uint64 ticket = pg_atomic_fetch_add_u64(&shared->ticket, 1);
		uint32 units = (ticket >> 16) & 0xFFFF, unit = ticket & 0xFFFF;

		if (unit >= units)
			return ticket >> 32;
		SWIFT(wrvq_training.trainer_work(trainer, unit));
		if (pg_atomic_add_fetch_u32(&shared->units_done, 1) == units)
			ConditionVariableSignal(&shared->units_are_done);
		CHECK_FOR_INTERRUPTS();
	}
}

/* One step of the trainer, by all; the caller advances it. */
void
WrvqTrainTogether(WrvqWorkers *workers, wrvq_trainer *trainer, uint32 step, int32 units)
{
	Shared *shared = workers->shared;

	shared->trainer_offset = (char *) trainer - workers->training;
	Assert(units < 0xFFFF);
	pg_atomic_write_u32(&shared->units_done, 0);
	/* a barrier: what the trainer has advanced to is there for all */
	pg_atomic_exchange_u64(&shared->ticket, (uint64) step << 32 | (uint64) units << 16);
	ConditionVariableBroadcast(&shared->changed);
	work_on_units(shared, trainer);
	ConditionVariablePrepareToSleep(&shared->units_are_done);
	while (pg_atomic_read_u32(&shared->units_done) < (uint32) units)
		ConditionVariableSleep(&shared->units_are_done, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
	ConditionVariableCancelSleep();
	pg_memory_barrier();
}

/* A worker's part, until the training is over. */
static void
help_to_train(Shared *shared, char *training)
{
	while (pg_atomic_read_u32(&shared->stage) == STAGE_TRAIN)
	{
		uint32 step = pg_atomic_read_u64(&shared->ticket) >> 32;

		/* step 0: the trainer is not there yet */
		if (step > 0)
			step = work_on_units(shared, (wrvq_trainer *) (training + shared->trainer_offset));
		ConditionVariablePrepareToSleep(&shared->changed);
		while (pg_atomic_read_u32(&shared->stage) == STAGE_TRAIN && pg_atomic_read_u64(&shared->ticket) >> 32 == step)
			ConditionVariableSleep(&shared->changed, WAIT_EVENT_PARALLEL_CREATE_INDEX_SCAN);
		ConditionVariableCancelSleep();
	}
}

/* ---------- encoding ---------- */

/* For the sorts of all participants. */
static int
sort_kilobytes(const Shared *shared)
{
	return WrvqSortKilobytes(&shared->shape, shared->queries, shared->participants - 1);
}

/* One participant's pass and sort; returns the rows of the table that it met. */
static double
encode_part(Shared *shared, Sharedsort *sort, ParallelTableScanDesc scan, Relation heap, Relation index,
			IndexInfo *info, const WrvqCodebook *codebook, char *state, float *nearness, WrvqPass *result)
{
	SortCoordinate	coordinate = palloc0(sizeof(SortCoordinateData));
	Tuplesortstate *sorted;
	WrvqPass	   *pass;
	double			heap_tuples;

	coordinate->isWorker = true;
	coordinate->nParticipants = -1;
	coordinate->sharedsort = sort;
	sorted = WrvqBeginSort(sort_kilobytes(shared) / shared->participants, coordinate);
	pass = WrvqBeginPass(heap, index, info, codebook, WrvqSpill(index, codebook),
						 WrvqPartOfCalibration(codebook, shared->queries, state + statistics_bytes(codebook), nearness),
						 state, sorted);
	pass->rows_of_all = &shared->rows_encoded;
	heap_tuples = WrvqRunPass(pass, table_beginscan_parallel(heap, scan), !IsParallelWorker());
	tuplesort_performsort(sorted);
	tuplesort_end(sorted);
	*result = *pass;
	return heap_tuples;
}

PGDLLEXPORT void WrvqBuildWorker(dsm_segment *segment, shm_toc *toc);

/* What a worker does. */
void
WrvqBuildWorker(dsm_segment *segment, shm_toc *toc)
{
	Shared		 *shared = shm_toc_lookup(toc, KEY_SHARED, false);
	char		 *training = shm_toc_lookup(toc, KEY_TRAINING, true);
	Sharedsort	 *sort = shm_toc_lookup(toc, KEY_SORT, false);
	LOCKMODE	  heap_lock = shared->is_concurrent ? ShareUpdateExclusiveLock : ShareLock;
	LOCKMODE	  index_lock = shared->is_concurrent ? RowExclusiveLock : AccessExclusiveLock;
	Relation	  heap, index;
	IndexInfo	 *info;
	WrvqCodebook *codebook;
	char		 *states;
	WrvqPass	  pass;
	double		  heap_tuples;

	debug_query_string = shm_toc_lookup(toc, KEY_QUERY_TEXT, false);
	pgstat_report_activity(STATE_RUNNING, debug_query_string);
	help_to_train(shared, training == NULL ? NULL : aligned(training));

	heap = table_open(shared->heap, heap_lock);
	index = index_open(shared->index, index_lock);
	info = BuildIndexInfo(index);
	info->ii_Concurrent = shared->is_concurrent;
	codebook = WrvqBindCodebook(&shared->shape, aligned(shm_toc_lookup(toc, KEY_IMAGE, false)));
	states = aligned(shm_toc_lookup(toc, KEY_STATES, false));
	tuplesort_attach_shared(sort, segment);
	heap_tuples = encode_part(shared, sort, shm_toc_lookup(toc, KEY_SCAN, false), heap, index, info, codebook,
							  states + state_bytes(codebook, shared->queries) * (ParallelWorkerNumber + 1),
							  shm_toc_lookup(toc, KEY_NEARNESS, false), &pass);
	SpinLockAcquire(&shared->mutex);
	shared->heap_tuples += heap_tuples;
	shared->rows += pass.rows;
	shared->loss += pass.loss;
	SpinLockRelease(&shared->mutex);
	index_close(index, index_lock);
	table_close(heap, heap_lock);
}

/*
 * The whole pass: every participant's part, and what they have found.  The
 * entries come out of the sort that is returned, once it is performed.
 */
Tuplesortstate *
WrvqEncodeTogether(WrvqWorkers *workers, Relation heap, Relation index, IndexInfo *info, const WrvqCodebook *codebook,
				   WrvqCalibration *calibration, void *statistics, double *heap_tuples, double *rows, double *loss)
{
	Shared		  *shared = workers->shared;
	Size		   bytes = state_bytes(codebook, shared->queries);
	SortCoordinate coordinate = palloc0(sizeof(SortCoordinateData));
	WrvqPass	   pass;
	int64		   image_bytes;

	SWIFT(image_bytes = wrvq_kernel.image_bytes(&codebook->view.shape));
	memcpy(workers->image, codebook->image, image_bytes);
	for (int i = 0; i < shared->participants; i++)
	{
		char *state = workers->states + i * bytes;

		memset(state, 0, statistics_bytes(codebook));
		WrvqShareCalibration(calibration, state + statistics_bytes(codebook));
	}
	for (int i = 0; i < shared->queries; i++)
		workers->nearness[i] = -get_float4_infinity();
	pg_memory_barrier();
	pg_atomic_write_u32(&shared->stage, STAGE_ENCODE);
	ConditionVariableBroadcast(&shared->changed);

	*heap_tuples = encode_part(shared, workers->sort, shm_toc_lookup(workers->context->toc, KEY_SCAN, false), heap,
							   index, info, codebook, workers->states, workers->nearness, &pass);
	WaitForParallelWorkersToFinish(workers->context);
	*heap_tuples += shared->heap_tuples;
	*rows = pass.rows + shared->rows;
	*loss = pass.loss + shared->loss;
	for (int i = 0; i < shared->participants; i++)
	{
		char *state = workers->states + i * bytes;

		SWIFT(wrvq_kernel.statistics_merge(&codebook->view, statistics, state));
		WrvqMergeCalibration(calibration, state + statistics_bytes(codebook));
	}
	coordinate->isWorker = false;
	coordinate->nParticipants = shared->participants;
	coordinate->sharedsort = workers->sort;
	return WrvqBeginSort(sort_kilobytes(shared), coordinate);
}

/* Waits for the workers to be gone and frees what was shared, sorted entries included. */
void
WrvqEndWorkers(WrvqWorkers *workers)
{
	WaitForParallelWorkersToFinish(workers->context);
	if (workers->snapshot != SnapshotAny)
		UnregisterSnapshot(workers->snapshot);
	DestroyParallelContext(workers->context);
	ExitParallelMode();
}
