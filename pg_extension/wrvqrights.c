/*
 * wrvqrights.c: who may ask what of an index, found out before anything is locked.
 *
 * A lock that a stranger only waits for already holds up those who come after
 * him, and cancels an autovacuum.  So the catalog is asked first, without a
 * lock, and again with it: while we waited, the index may have been dropped, or
 * a right revoked.
 */
#include "wrvq.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
#include "utils/syscache.h"

/* ---------- is it one of our indexes? ---------- */

static void
refuse_relation(const char *name, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a wrvq index", name),
					hint == NULL ? 0 : errhint("%s", hint)));
}

/* Raises unless the relation is an index of this access method that the session can read; returns its table. */
static Oid
check_relation(Oid oid)
{
	HeapTuple	  tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	Form_pg_class form;
	char		 *method, *name;
	Oid			  heap;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", oid)));
	form = (Form_pg_class) GETSTRUCT(tuple);
	name = pstrdup(NameStr(form->relname));
	method = OidIsValid(form->relam) ? get_am_name(form->relam) : NULL;
	if (method == NULL || strcmp(method, "wrvq") != 0)
		refuse_relation(name, NULL);
	if (form->relkind != RELKIND_INDEX)
		refuse_relation(name, form->relkind == RELKIND_PARTITIONED_INDEX
								  ? "It is partitioned and has no rows itself: name the index of a partition."
								  : NULL);
	if (form->relpersistence == RELPERSISTENCE_TEMP && !isTempOrTempToastNamespace(form->relnamespace))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot read temporary index \"%s\" of another session", name)));
	ReleaseSysCache(tuple);
	heap = IndexGetRelation(oid, true);
	if (!OidIsValid(heap))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("index \"%s\" does not exist any more", name)));
	return heap;
}

/* ---------- rights ---------- */

/* The columns that an index is made of, as pull_varattnos() numbers them. */
static Bitmapset *
indexed_columns(Oid index)
{
	HeapTuple	  tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Form_pg_index form;
	Bitmapset	 *columns = NULL;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	form = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < form->indnatts; i++)
		if (form->indkey.values[i] != 0)
			columns = bms_add_member(columns, form->indkey.values[i] - FirstLowInvalidHeapAttributeNumber);
	ReleaseSysCache(tuple);
	pull_varattnos(WrvqStoredExpressions(index, Anum_pg_index_indexprs), 1, &columns);
	pull_varattnos(WrvqStoredExpressions(index, Anum_pg_index_indpred), 1, &columns);
	return columns;
}

/* May the current user read the table, or at least all that the index is made of? */
static bool
may_select(Oid heap, Oid index)
{
	Bitmapset *columns;
	int		   column = -1;

	if (pg_class_aclcheck(heap, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		return true;
	columns = indexed_columns(index);
	if (bms_is_empty(columns))
		return false;
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		AttrNumber attribute = column + FirstLowInvalidHeapAttributeNumber;
		AclResult  result = attribute == InvalidAttrNumber
								? pg_attribute_aclcheck_all(heap, GetUserId(), ACL_SELECT, ACLMASK_ALL)
								: pg_attribute_aclcheck(heap, attribute, GetUserId(), ACL_SELECT);

		if (result != ACLCHECK_OK)
			return false;
	}
	return true;
}

/* Does row-level security hide rows of the table from the current user?  Whatever row_security says. */
static bool
has_hidden_rows(Oid heap)
{
	return check_enable_rls(heap, InvalidOid, true) == RLS_ENABLED;
}

static void
refuse_hidden_rows(Oid heap, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					errmsg("row-level security hides rows of table \"%s\" from user \"%s\"", get_rel_name(heap),
						   GetUserNameFromId(GetUserId(), false)),
					errdetail("What an index tells of itself covers all rows."), errhint("%s", hint)));
}

static void
check_right(Oid heap, Oid index, WrvqRight right)
{
	/* whoever may call pgstattuple() or pgrowlocks() on any table: pg_monitor, above all */
	bool monitors = has_privs_of_role(GetUserId(), ROLE_PG_STAT_SCAN_TABLES);

	switch (right)
	{
		case WRVQ_MAY_INSPECT:
		case WRVQ_MAY_MEASURE:
			if (!monitors && !may_select(heap, index))
				aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(heap)), get_rel_name(heap));
			if (has_hidden_rows(heap) && right == WRVQ_MAY_MEASURE)
				refuse_hidden_rows(heap, "Ask the owner of the table, or a role that bypasses row-level security.");
			if (has_hidden_rows(heap) && !monitors && !WrvqMayMaintain(heap))
				refuse_hidden_rows(heap, "Ask the owner of the table, or a member of pg_monitor.");
			break;
		case WRVQ_MAY_MAINTAIN:
			if (!WrvqMayMaintain(heap))
				aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(heap)), get_rel_name(heap));
			break;
	}
}

/*
 * Opens an index and its table, the table first, as everyone does, for a user
 * who has the right.
 */
Relation
WrvqOpenIndex(Oid oid, LOCKMODE lock, WrvqRight right, Relation *heap)
{
	Oid		 heap_oid = check_relation(oid);
	Relation index;

	check_right(heap_oid, oid, right);
	*heap = try_table_open(heap_oid, lock);
	index = *heap == NULL ? NULL : try_relation_open(oid, lock);
	/* raises if it is gone; nothing is evaluated before this has passed again */
	if (check_relation(oid) != heap_oid || index == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist any more", oid)));
	check_right(heap_oid, oid, right);
	return index;
}
