/*
 * wrvqtrainer.c: a background worker that trains an index whose rows came one
 * by one, so that none of those who insert them waits for it.  It is started
 * when it is needed and ends when it is done; nothing has to be preloaded.
 */
#include "wrvq.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/snapmgr.h"

PGDLLEXPORT void WrvqTrainerMain(Datum index);

/*
 * Asks for a worker to train the index; nothing happens where the server has
 * none to spare: whoever asks comes again, and so does VACUUM.  A temporary
 * table is its session's own.
 */
void
WrvqStartTrainer(Relation index)
{
	BackgroundWorker worker = {.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
							   .bgw_start_time = BgWorkerStart_RecoveryFinished,
							   .bgw_restart_time = BGW_NEVER_RESTART};

	if (!IsUnderPostmaster || RelationUsesLocalBuffers(index))
		return;
	snprintf(worker.bgw_name, BGW_MAXLEN, "wrvq trainer of index %u", RelationGetRelid(index));
	strlcpy(worker.bgw_type, "wrvq trainer", BGW_MAXLEN);
	strlcpy(worker.bgw_library_name, "$libdir/wrvq", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "WrvqTrainerMain", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(RelationGetRelid(index));
	memcpy(worker.bgw_extra, &MyDatabaseId, sizeof(Oid));
	if (!RegisterDynamicBackgroundWorker(&worker, NULL))
		elog(DEBUG1, "no background worker is free to train index \"%s\"", RelationGetRelationName(index));
}

/* Opens a relation unless somebody is changing it, or it has gone, or is not there for others yet. */
static Relation
open_unless_busy(Oid oid)
{
	if (!OidIsValid(oid) || !ConditionalLockRelationOid(oid, RowExclusiveLock))
		return NULL;
	return try_relation_open(oid, NoLock);
}

/* As an INSERT of many rows does it in line, and with its locks. */
static void
train(Oid oid)
{
	Relation heap = open_unless_busy(IndexGetRelation(oid, true)), index;

	if (heap == NULL)
		return;
	index = open_unless_busy(oid);
	if (index == NULL || index->rd_rel->relkind != RELKIND_INDEX || index->rd_indam->aminsert != wrvqinsert)
		return;
	pgstat_report_activity(STATE_RUNNING, psprintf("wrvq: training index \"%s\"", RelationGetRelationName(index)));
	WrvqDrainPending(index, heap, WRVQ_TRAIN_ROWS_INSERT, false);
	relation_close(index, NoLock);
	relation_close(heap, NoLock);
}

void
WrvqTrainerMain(Datum index)
{
	Oid database;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	train(DatumGetObjectId(index));
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, NULL);
}
