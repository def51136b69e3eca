/* wrvqrecalibrate.c: wrvq_calibrate(): measures an index anew, as its build did. */
#include "wrvq.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/index.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* rows of the table that serve as queries */
#define CALIBRATION_ROWS 1024

/* The curve of an index by what a snapshot sees, into meta; false if there are no rows to measure with. */
static bool
measure(Relation heap, Relation index, WrvqMetaData *meta)
{
	const WrvqCodebook *codebook = WrvqGetCodebook(index, meta);
	IndexInfo		   *info = BuildIndexInfo(index);
	Snapshot			snapshot = RegisterSnapshot(GetTransactionSnapshot());
	WrvqCalibration	   *calibration;
	WrvqPass		   *pass;
	WrvqSample		   *sample;

	/* reads with a snapshot, as rows may be in progress */
	info->ii_Concurrent = true;
	sample = WrvqSampleTable(heap, index, info, CALIBRATION_ROWS);
	calibration = WrvqNewCalibration(sample, false);
	WrvqBeginCalibration(calibration, codebook);
	pass = WrvqBeginPass(heap, index, info, codebook, meta->spill, calibration, NULL, NULL);
	/* closes the scan */
	WrvqRunPass(pass, table_beginscan_strat(heap, snapshot, 0, NULL, true, true), false);
	UnregisterSnapshot(snapshot);
	meta->entries = pass->rows * meta->spill;
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
	if (measure(heap, index, &meta))
		write_curve(index, &meta);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);

	WrvqEndAsOwner(&user);
	relation_close(index, NoLock);
	table_close(heap, NoLock);
	PG_RETURN_VOID();
}
