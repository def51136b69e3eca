/*
 * shim.h: libpq, and what of it Swift cannot import by itself.
 */
#ifndef WRVQ_CLIBPQ_SHIM_H
#define WRVQ_CLIBPQ_SHIM_H

#include <libpq-fe.h>
/* PG_DIAG_*: character constants, which Swift does not import as macros. */
#include <postgres_ext.h>

/* FATAL, ERROR, … whatever language the server speaks */
static inline const char *
wrvq_pq_severity(const PGresult *result)
{
	return PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
}

static inline const char *
wrvq_pq_sqlstate(const PGresult *result)
{
	return PQresultErrorField(result, PG_DIAG_SQLSTATE);
}

static inline const char *
wrvq_pq_message(const PGresult *result)
{
	return PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
}

static inline const char *
wrvq_pq_detail(const PGresult *result)
{
	return PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
}

static inline const char *
wrvq_pq_hint(const PGresult *result)
{
	return PQresultErrorField(result, PG_DIAG_MESSAGE_HINT);
}

#endif
