/* wrvqalter.c: ALTER INDEX … SET: says which options take effect at the next REINDEX only. */
#include "wrvq.h"

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static object_access_hook_type previous_hook = NULL;

static const char *
codebook_of(const WrvqOptions *options)
{
	return options == NULL || options->codebook_offset == 0 ? "" : (const char *) options + options->codebook_offset;
}

/* Appends the names of those that a build looks at and that differ; NULL stands for the defaults. */
static void
append_changed(StringInfo names, const WrvqOptions *before, const WrvqOptions *after)
{
	const WrvqOptions  defaults = {.fuzzy_levels = -1, .spill = 1};
	const WrvqOptions *a = before == NULL ? &defaults : before, *b = after == NULL ? &defaults : after;
	const struct
	{
		const char *name;
		bool		is_changed;
	} options[] = {{"lists", a->lists != b->lists},
				   {"fuzzy_levels", a->fuzzy_levels != b->fuzzy_levels},
				   {"spill", a->spill != b->spill},
				   {"codebook", strcmp(codebook_of(before), codebook_of(after)) != 0}};

	for (int i = 0; i < lengthof(options); i++)
		if (options[i].is_changed)
			appendStringInfo(names, "%s\"%s\"", names->len == 0 ? "" : ", ", options[i].name);
}

/* The options of an index as the command that just changed them left them, which no other command sees yet. */
static WrvqOptions *
options_now(Relation index)
{
	Relation	 classes = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData	 key;
	SysScanDesc	 scan;
	HeapTuple	 tuple;
	WrvqOptions *options = NULL;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(index)));
	scan = systable_beginscan(classes, ClassOidIndexId, true, SnapshotSelf, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		options = (WrvqOptions *) extractRelOptions(tuple, RelationGetDescr(classes), index->rd_indam->amoptions);
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
	return options;
}

/* An index that has not been trained heeds its options when it will be. */
static void
report_changes(Relation index)
{
	StringInfoData names;
	WrvqMetaData   meta;

	initStringInfo(&names);
	append_changed(&names, WrvqGetOptions(index), options_now(index));
	if (names.len == 0)
		return;
	WrvqReadMeta(index, &meta);
	if (meta.is_trained)
		ereport(NOTICE, (errmsg("index \"%s\" stays as it was built: REINDEX to apply %s",
								RelationGetRelationName(index), names.data)));
}

static bool
is_our_index(Oid oid)
{
	HeapTuple	  tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	Form_pg_class form;
	bool		  result = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_class) GETSTRUCT(tuple);
	if (form->relkind == RELKIND_INDEX)
	{
		char *method = get_am_name(form->relam);

		result = method != NULL && strcmp(method, "wrvq") == 0;
	}
	ReleaseSysCache(tuple);
	return result;
}

static void
object_accessed(ObjectAccessType access, Oid class, Oid object, int column, void *argument)
{
	if (previous_hook != NULL)
		previous_hook(access, class, object, column, argument);
	if (access == OAT_POST_ALTER && class == RelationRelationId && column == 0 && is_our_index(object))
	{
		Relation index = index_open(object, NoLock);

		report_changes(index);
		index_close(index, NoLock);
	}
}

/*
 * amoptions() is asked to validate by CREATE INDEX, too, and is told no index;
 * this hook comes after an ALTER, whose own call of amoptions() has loaded the
 * library.
 */
void
WrvqWatchOptions(void)
{
	previous_hook = object_access_hook;
	object_access_hook = object_accessed;
}
