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

#endif
