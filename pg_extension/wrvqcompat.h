/* wrvqcompat.h: every difference between server versions. */
#ifndef WRVQ_COMPAT_H
#define WRVQ_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "wrvq requires PostgreSQL 15 or later"
#endif

#endif
