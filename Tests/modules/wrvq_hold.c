/*
 * wrvq_hold.c: keeps a page of an index locked, so that whoever comes to it
 * stops there.  For Tests/tap/018_races.pl and 026_untrained_race.pl; loaded by
 * path, never installed.
 */
#include "wrvq.h"

#include <unistd.h>

#include <unistd.h>

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/wait_event.h"

PG_MODULE_MAGIC;

/* hold_page_until(index, block, path): until there is such a file; waits for "Extension" meanwhile. */
PG_FUNCTION_INFO_V1(hold_page_until);
Datum
hold_page_until(PG_FUNCTION_ARGS)
{
	Relation	index = relation_open(PG_GETARG_OID(0), AccessShareLock);
	Buffer		buffer = ReadBuffer(index, PG_GETARG_INT32(1));
	const char *path = text_to_cstring(PG_GETARG_TEXT_PP(2));

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	pgstat_report_wait_start(PG_WAIT_EXTENSION);
	while (access(path, F_OK) != 0)
		pg_usleep(10000);
	pgstat_report_wait_end();
	UnlockReleaseBuffer(buffer);
	relation_close(index, AccessShareLock);
	PG_RETURN_VOID();
}

/* read_page(index, block, file): as somebody who reads the page would, but until a file is there, for 10 minutes at most. */
PG_FUNCTION_INFO_V1(read_page);
Datum
read_page(PG_FUNCTION_ARGS)
{
	Relation	index = relation_open(PG_GETARG_OID(0), AccessShareLock);
	Buffer		buffer = ReadBuffer(index, PG_GETARG_INT32(1));
	const char *file = text_to_cstring(PG_GETARG_TEXT_PP(2));

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	for (int i = 0; i < 60000 && access(file, F_OK) != 0; i++)
		pg_usleep(10000);
	UnlockReleaseBuffer(buffer);
	relation_close(index, AccessShareLock);
	PG_RETURN_VOID();
}
