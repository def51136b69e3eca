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

/* 18 takes counters for EXPLAIN */
#if PG_VERSION_NUM >= 180000
#define WrvqIndexBeginScan(heap, index, snapshot, keys, orderbys) \
	index_beginscan(heap, index, snapshot, NULL, keys, orderbys)
#else
#define WrvqIndexBeginScan(heap, index, snapshot, keys, orderbys) index_beginscan(heap, index, snapshot, keys, orderbys)
#endif

/* Does the current user own the table or index? */
#if PG_VERSION_NUM >= 160000
#define WrvqIsOwner(relation) object_ownercheck(RelationRelationId, relation, GetUserId())
#else
#define WrvqIsOwner(relation) pg_class_ownercheck(relation, GetUserId())
#endif

/* 17 keeps maintenance from the search_path of whoever runs it */
#if PG_VERSION_NUM >= 170000
#define WrvqRestrictSearchPath() RestrictSearchPath()
#else
#define WrvqRestrictSearchPath() ((void) 0)
#endif

#endif
