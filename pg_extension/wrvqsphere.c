/*
 * wrvqsphere.c: spheres as SQL values, and the operators that ask whether a
 * vector lies in one.  A radius is a value of the operator's own distance: of
 * negative inner products under <<#>>.
 */
#include "wrvq.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_type_d.h"
#include "commands/defrem.h"
#include "funcapi.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

static void
check_radius(double radius)
{
	if (isnan(radius))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("radius of a sphere is NaN"),
						errhint("Every vector within a distance of at most the radius is inside.")));
}

PG_FUNCTION_INFO_V1(wrvq_sphere);
Datum
wrvq_sphere(PG_FUNCTION_ARGS)
{
	Datum		 values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	bool		 nulls[2] = {false, false};
	int			 dimensions;
	const float *center = WrvqRealArray(values[0], &dimensions);
	TupleDesc	 descriptor;

	WrvqCheckFinite(center, dimensions);
	check_radius(PG_GETARG_FLOAT8(1));
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "wrvq_sphere() returns no row");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}

/* Takes a sphere apart, in the current memory context; false if its centre or its radius is NULL. */
bool
WrvqReadSphere(Datum datum, WrvqSphere *sphere)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(datum);
	TupleDesc descriptor = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple;
	Datum		  values[2];
	bool		  nulls[2];

	if (descriptor->natts != 2 || TupleDescAttr(descriptor, 0)->atttypid != FLOAT4ARRAYOID ||
		TupleDescAttr(descriptor, 1)->atttypid != FLOAT8OID)
		elog(ERROR, "a sphere must be a row of real[] and double precision");
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, descriptor, values, nulls);
	ReleaseTupleDesc(descriptor);
	if (nulls[0] || nulls[1])
		return false;
	sphere->center = WrvqRealArray(values[0], &sphere->dimensions);
	sphere->radius = DatumGetFloat8(values[1]);
	check_radius(sphere->radius);
	return true;
}

/* ---------- operators ---------- */

/* What an operator calls for each row; kept for as long as its function's information is. */
typedef struct SphereTest
{
	const WrvqSupport *support;
	FmgrInfo		   distance; /* the function of the ordering operator */
} SphereTest;

/*
 * The operator class for a type and a metric says which distance is meant: an
 * extension's type is compared by that extension's function, and the answer is
 * the same with an index and without one.
 */
static void
find_distance(Oid type, wrvq_metric metric, FmgrInfo *information, SphereTest *test)
{
	Oid		  method = get_index_am_oid("wrvq", false), distance = InvalidOid;
	CatCList *classes = SearchSysCacheList1(CLAAMNAMENSP, ObjectIdGetDatum(method));

	for (int i = 0; i < classes->n_members && !OidIsValid(distance); i++)
	{
		Form_pg_opclass form = (Form_pg_opclass) GETSTRUCT(&classes->members[i]->tuple);
		Oid				support;

		if (form->opcintype != type)
			continue;
		support = get_opfamily_proc(form->opcfamily, type, type, 1);
		if (!OidIsValid(support))
			continue;
		test->support = (const WrvqSupport *) DatumGetPointer(OidFunctionCall1(support, PointerGetDatum(NULL)));
		if (test->support->metric == metric)
			distance = WrvqOrderOperator(form->opcfamily, type, test->support);
	}
	ReleaseCatCacheList(classes);
	if (!OidIsValid(distance))
		elog(ERROR, "no wrvq operator class for type %u has this metric", type);
	fmgr_info_cxt(get_opcode(distance), &test->distance, information->fn_mcxt);
}

static Datum
is_in_sphere(FunctionCallInfo fcinfo, wrvq_metric metric)
{
	SphereTest *test = fcinfo->flinfo->fn_extra;
	WrvqSphere	sphere;
	Datum		distance;

	if (test == NULL)
	{
		Oid *types;
		int	 count;

		test = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(SphereTest));
		get_func_signature(fcinfo->flinfo->fn_oid, &types, &count);
		find_distance(types[0], metric, fcinfo->flinfo, test);
		fcinfo->flinfo->fn_extra = test;
	}
	if (!WrvqReadSphere(PG_GETARG_DATUM(1), &sphere))
		PG_RETURN_NULL();
	distance =
		FunctionCall2(&test->distance, PG_GETARG_DATUM(0), test->support->datum(sphere.center, sphere.dimensions));
	/* false for NaN: a zero vector is in no sphere under cosine */
	PG_RETURN_BOOL(DatumGetFloat8(distance) <= sphere.radius);
}

PG_FUNCTION_INFO_V1(wrvq_in_l2_sphere);
Datum
wrvq_in_l2_sphere(PG_FUNCTION_ARGS)
{
	return is_in_sphere(fcinfo, WRVQ_L2);
}

PG_FUNCTION_INFO_V1(wrvq_in_ip_sphere);
Datum
wrvq_in_ip_sphere(PG_FUNCTION_ARGS)
{
	return is_in_sphere(fcinfo, WRVQ_IP);
}

PG_FUNCTION_INFO_V1(wrvq_in_cosine_sphere);
Datum
wrvq_in_cosine_sphere(PG_FUNCTION_ARGS)
{
	return is_in_sphere(fcinfo, WRVQ_COSINE);
}
