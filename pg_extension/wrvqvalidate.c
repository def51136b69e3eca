/* wrvqvalidate.c: checks an operator class, as amvalidate() wants. */
#include "wrvq.h"

#include "access/amvalidate.h"
#include "access/htup_details.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

static bool
complain(const char *family, const char *object, const char *what)
{
	ereport(INFO, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				   errmsg("operator family \"%s\" of access method wrvq contains %s %s", family, object, what)));
	return false;
}

/* The first operator orders by a float8 distance. */
static bool
validate_order(const char *family, Form_pg_amop form)
{
	const char *name = format_operator(form->amopopr);

	if (form->amoppurpose != AMOP_ORDER)
		return complain(family, name, "that does not order");
	if (get_op_rettype(form->amopopr) != FLOAT8OID || !opfamily_can_sort_type(form->amopsortfamily, FLOAT8OID))
		return complain(family, name, "that does not order by double precision");
	if (!check_amop_signature(form->amopopr, FLOAT8OID, form->amoplefttype, form->amoprighttype))
		return complain(family, name, "with a wrong signature");
	return true;
}

/* The second one, which a class may lack, asks whether a vector is in a sphere, which is a row. */
static bool
validate_sphere(const char *family, Form_pg_amop form)
{
	const char *name = format_operator(form->amopopr);

	if (form->amoppurpose != AMOP_SEARCH || get_typtype(form->amoprighttype) != TYPTYPE_COMPOSITE)
		return complain(family, name, "that does not search a sphere");
	if (!check_amop_signature(form->amopopr, BOOLOID, form->amoplefttype, form->amoprighttype))
		return complain(family, name, "with a wrong signature");
	return true;
}

static bool
validate_operators(const char *family, Oid family_oid)
{
	CatCList *list = SearchSysCacheList1(AMOPSTRATEGY, ObjectIdGetDatum(family_oid));
	bool	  valid = true;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_amop form = (Form_pg_amop) GETSTRUCT(&list->members[i]->tuple);

		if (form->amopstrategy == WRVQ_ORDER_STRATEGY)
			valid &= validate_order(family, form);
		else if (form->amopstrategy == WRVQ_SPHERE_STRATEGY)
			valid &= validate_sphere(family, form);
		else
			valid = complain(family, format_operator(form->amopopr), "that is not operator 1 or 2");
	}
	ReleaseCatCacheList(list);
	return valid;
}

static bool
validate_functions(const char *family, Oid family_oid)
{
	CatCList *list = SearchSysCacheList1(AMPROCNUM, ObjectIdGetDatum(family_oid));
	bool	  valid = list->n_members > 0;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_amproc form = (Form_pg_amproc) GETSTRUCT(&list->members[i]->tuple);

		if (form->amprocnum != 1 || !check_amproc_signature(form->amproc, INTERNALOID, true, 1, 1, INTERNALOID))
			valid = complain(family, format_procedure(form->amproc), "that is not support function 1");
	}
	ReleaseCatCacheList(list);
	return valid;
}

bool
wrvqvalidate(Oid opclass)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Oid		  family_oid;
	char	 *family;
	bool	  valid;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator class %u", opclass);
	family_oid = ((Form_pg_opclass) GETSTRUCT(tuple))->opcfamily;
	ReleaseSysCache(tuple);
	tuple = SearchSysCache1(OPFAMILYOID, ObjectIdGetDatum(family_oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for operator family %u", family_oid);
	family = pstrdup(NameStr(((Form_pg_opfamily) GETSTRUCT(tuple))->opfname));
	ReleaseSysCache(tuple);
	valid = validate_operators(family, family_oid);
	return validate_functions(family, family_oid) && valid;
}
