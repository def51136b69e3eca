/* wrvqcompat.h: every difference between server versions. */
#ifndef WRVQ_COMPAT_H
#define WRVQ_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "wrvq requires PostgreSQL 15 or later"
#endif

/* Sleeps if VACUUM has used up its cost limit; 18 asks whether ANALYZE is speaking. */
#if PG_VERSION_NUM >= 180000
#define WrvqVacuumDelay() vacuum_delay_point(false)
#else
#define WrvqVacuumDelay() vacuum_delay_point()
#endif

/* 18 takes counters for EXPLAIN, of searches */
#if PG_VERSION_NUM >= 180000
#define WrvqIndexBeginScan(heap, index, snapshot, keys, orderbys) \
	index_beginscan(heap, index, snapshot, NULL, keys, orderbys)
#define WrvqCountSearch(scan)                \
	do                                       \
	{                                        \
		if ((scan)->instrument != NULL)      \
			(scan)->instrument->nsearches++; \
	} while (0)
#else
#define WrvqIndexBeginScan(heap, index, snapshot, keys, orderbys) index_beginscan(heap, index, snapshot, keys, orderbys)
#define WrvqCountSearch(scan)									  ((void) 0)
#endif

/* May the current user maintain the table?  17 lets an owner grant that. */
#if PG_VERSION_NUM >= 170000
#define WrvqMayMaintain(table) (pg_class_aclcheck(table, GetUserId(), ACL_MAINTAIN) == ACLCHECK_OK)
#elif PG_VERSION_NUM >= 160000
#define WrvqMayMaintain(table) object_ownercheck(RelationRelationId, table, GetUserId())
#else
#define WrvqMayMaintain(table) pg_class_ownercheck(table, GetUserId())
#endif

/* Does the table's vacuum_truncate, which in 18 has a setting for its default, let VACUUM truncate? */
#define WRVQ_TABLE_TRUNCATES(table) (((StdRdOptions *) (table)->rd_options)->vacuum_truncate)
#if PG_VERSION_NUM >= 180000
#define WrvqMayTruncate(table)                                                                  \
	((table)->rd_options != NULL && ((StdRdOptions *) (table)->rd_options)->vacuum_truncate_set \
		 ? WRVQ_TABLE_TRUNCATES(table)                                                          \
		 : vacuum_truncate)
#else
#define WrvqMayTruncate(table) ((table)->rd_options == NULL || WRVQ_TABLE_TRUNCATES(table))
#endif

/* 17 has streams that read pages ahead of their use; NULL where there are none */
#if PG_VERSION_NUM >= 170000
#include "storage/read_stream.h"
#define WrvqBeginStream(relation, next_block, data) \
	read_stream_begin_relation(READ_STREAM_DEFAULT, NULL, relation, MAIN_FORKNUM, next_block, data, 0)
#define WrvqNextOfStream(stream) read_stream_next_buffer(stream, NULL)
#define WrvqEndStream(stream)	 read_stream_end(stream)
#else
typedef struct ReadStream ReadStream;
#define WrvqBeginStream(relation, next_block, data) ((void) (next_block), (ReadStream *) NULL)
#define WrvqNextOfStream(stream)					InvalidBuffer
#define WrvqEndStream(stream)						((void) 0)
#endif

/* 16 calls nodes of files locators */
#if PG_VERSION_NUM >= 160000
#define WrvqLocator(relation)	 ((relation)->rd_locator)
#define WrvqMakeLocator(s, f)	 ((RelFileLocator){.spcOid = (s), .dbOid = MyDatabaseId, .relNumber = (f)})
#define WrvqFileNumber(relation) ((relation)->rd_locator.relNumber)
#else
#define WrvqLocator(relation)	 ((relation)->rd_node)
#define WrvqMakeLocator(s, f)	 ((RelFileNode){.spcNode = (s), .dbNode = MyDatabaseId, .relNode = (f)})
#define WrvqFileNumber(relation) ((relation)->rd_node.relNode)
#endif

#endif
