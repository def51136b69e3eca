/*
 * wrvqowner.c: with whose rights the code of an index runs.
 *
 * The expressions and the predicate of an index call functions that the owner
 * of its table chose.  The executor evaluates them as whoever wrote the query
 * that names them.  Everything else (a build scan, a measurement, rows that are
 * encoded later than they came) is not asked for by the caller, so it runs as
 * the owner, in a security-restricted operation and with a search path that
 * holds nothing of the caller's.
 */
#include "wrvq.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* of PostgreSQL 17's own maintenance commands; 15 and 16 leave theirs the caller's */
#define SAFE_SEARCH_PATH "pg_catalog, pg_temp"

/*
 * Expressions (of a column of pg_index) as they are stored: the relation cache
 * would evaluate what is constant in them, which is what we must not do yet.
 */
Node *
WrvqStoredExpressions(Oid index, AttrNumber column)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	Node	 *expressions = NULL;
	bool	  isnull;
	Datum	  stored;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", index);
	stored = SysCacheGetAttr(INDEXRELID, tuple, column, &isnull);
	if (!isnull)
		expressions = stringToNode(TextDatumGetCString(stored));
	ReleaseSysCache(tuple);
	return expressions;
}

/* Names in a function of one of these languages were looked up when it was compiled. */
static bool
is_interpreted(Oid function, void *context)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid		  language;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	ReleaseSysCache(tuple);
	return language != INTERNALlanguageId && language != ClanguageId;
}

static bool
looks_names_up(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a domain's conditions may call anything */
	if (IsA(node, CoerceToDomain) || check_functions_in_node(node, is_interpreted, context))
		return true;
	return expression_tree_walker(node, looks_names_up, context);
}

static bool
session_has_temporary_objects(void)
{
	Oid			schema, toast_schema;
	Relation	depend;
	SysScanDesc scan;
	ScanKeyData keys[2];
	bool		found;

	GetTempNamespaceState(&schema, &toast_schema);
	if (!OidIsValid(schema))
		return false;
	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(NamespaceRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(schema));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

/*
 * May the index's code run as its owner in this session?  No search path keeps
 * temporary objects out of sight: a view or a domain of the caller's that a
 * function of the owner's takes for its own would run the caller's code with
 * the owner's rights.  Who may become the owner gains nothing by that.
 */
bool
WrvqCanActAsOwner(Relation heap, Relation index)
{
	if (has_privs_of_role(GetOuterUserId(), heap->rd_rel->relowner) || !session_has_temporary_objects())
		return true;
	return !looks_names_up(WrvqStoredExpressions(RelationGetRelid(index), Anum_pg_index_indexprs), NULL) &&
		   !looks_names_up(WrvqStoredExpressions(RelationGetRelid(index), Anum_pg_index_indpred), NULL);
}

/*
 * From here to WrvqEndAsOwner() the current user is the owner of the table.  An
 * error in between puts the caller's rights and settings back, as the
 * (sub)transaction that it aborts does for its own.
 */
void
WrvqBeginAsOwner(Relation heap, Relation index, WrvqCaller *caller)
{
	if (!WrvqCanActAsOwner(heap, index))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot evaluate index \"%s\" as the owner of its table in a session that has temporary "
							   "objects",
							   RelationGetRelationName(index)),
						errdetail("Functions that the index calls could take them for objects of their own."),
						errhint("DISCARD TEMP, or connect anew.")));
	GetUserIdAndSecContext(&caller->user, &caller->security);
	SetUserIdAndSecContext(heap->rd_rel->relowner, caller->security | SECURITY_RESTRICTED_OPERATION);
	caller->nest_level = NewGUCNestLevel();
	set_config_option("search_path", SAFE_SEARCH_PATH, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
WrvqEndAsOwner(const WrvqCaller *caller)
{
	AtEOXact_GUC(false, caller->nest_level);
	SetUserIdAndSecContext(caller->user, caller->security);
}
