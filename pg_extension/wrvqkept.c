/*
 * wrvqkept.c: an index that is built anew goes on with its own copy of a codebook that is not stored any more.
 *
 * REINDEX, VACUUM FULL, CLUSTER, TRUNCATE and ALTER TABLE give the index another
 * file; the one that it had is there until the commit.  REINDEX CONCURRENTLY
 * makes another index, beside the one that has the copy.
 */
#include "wrvq.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlogutils.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/smgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

/* The codebook of an index's pages, if it is a stored one that does for this index. */
static WrvqCodebook *
read_copy(Relation index, Relation pages, uint8 *sha256)
{
	static const uint8 none[sizeof(((WrvqMetaData *) 0)->codebook_sha256)];
	WrvqOptions		  *options = WrvqGetOptions(index);
	WrvqMetaData	   meta;

	if (RelationGetNumberOfBlocks(pages) == 0)
		return NULL;
	WrvqReadMeta(pages, &meta);
	if (!meta.is_trained || memcmp(meta.codebook_sha256, none, sizeof(none)) == 0 ||
		meta.metric != (uint32) WrvqIndexSupport(index)->metric)
		return NULL;
	if (options->lists > 0 && options->lists != (int) meta.list_count)
		return NULL;
	if (options->fuzzy_levels >= 0 && options->fuzzy_levels != meta.shape.fuzzy_levels)
		return NULL;
	memcpy(sha256, meta.codebook_sha256, sizeof(meta.codebook_sha256));
	return WrvqReadCodebook(pages, &meta);
}

/* The file that the index had before this transaction gave it another one. */
static bool
find_former_file(Relation index, Oid *space, Oid *file)
{
	Relation	classes = table_open(RelationRelationId, AccessShareLock);
	bool		found = false;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationGetRelid(index)));
	scan = systable_beginscan(classes, ClassOidIndexId, true, SnapshotAny, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		/* versions that this transaction has replaced, the last one last */
		if ((tuple->t_data->t_infomask & HEAP_XMAX_INVALID) != 0 || class->relfilenode == WrvqFileNumber(index) ||
			!TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(tuple->t_data)))
			continue;
		*space = OidIsValid(class->reltablespace) ? class->reltablespace : MyDatabaseTableSpace;
		*file = class->relfilenode;
		found = true;
	}
	systable_endscan(scan);
	table_close(classes, AccessShareLock);
	return found;
}

static WrvqCodebook *
read_former_file(Relation index, uint8 *sha256)
{
	WrvqCodebook *codebook = NULL;
	Relation	  former;
	Oid			  space, file;

	/* a temporary one's pages are in the session's own buffers, where nothing leads to them */
	if (index->rd_rel->relpersistence == RELPERSISTENCE_TEMP || !find_former_file(index, &space, &file))
		return NULL;
	former = CreateFakeRelcacheEntry(WrvqMakeLocator(space, file));
	former->rd_rel->relkind = RELKIND_INDEX;
	/* where WrvqCheckBlock() remembers how many blocks there are */
	former->rd_indexcxt = CurrentMemoryContext;
	former->rd_rel->relpersistence = index->rd_rel->relpersistence;
	if (smgrexists(RelationGetSmgr(former), MAIN_FORKNUM))
		codebook = read_copy(index, former, sha256);
	FreeFakeRelcacheEntry(former);
	return codebook;
}

static WrvqCodebook *
read_sibling(Relation heap, Relation index, uint8 *sha256)
{
	List		 *indexes = RelationGetIndexList(heap);
	WrvqCodebook *codebook = NULL;
	ListCell	 *cell;

	foreach(cell, indexes)
	{
		Relation sibling;

		if (codebook != NULL || lfirst_oid(cell) == RelationGetRelid(index))
			continue;
		sibling = index_open(lfirst_oid(cell), AccessShareLock);
		if (sibling->rd_rel->relam == index->rd_rel->relam && sibling->rd_opfamily[0] == index->rd_opfamily[0] &&
			WrvqCodebookOption(sibling) != NULL && strcmp(WrvqCodebookOption(sibling), WrvqCodebookOption(index)) == 0)
			codebook = read_copy(index, sibling, sha256);
		index_close(sibling, AccessShareLock);
	}
	list_free(indexes);
	return codebook;
}

/* The copy, in the current memory context, of a codebook that the reloptions name and that is not stored; NULL: there is none. */
WrvqCodebook *
WrvqKeptCodebook(Relation heap, Relation index, uint8 *sha256)
{
	WrvqCodebook *codebook = read_former_file(index, sha256);

	if (codebook == NULL)
		codebook = read_sibling(heap, index, sha256);
	if (codebook != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("codebook \"%s\" does not exist", WrvqCodebookOption(index)),
				 errdetail("Index \"%s\" is built with the copy of a codebook that it had.",
						   RelationGetRelationName(index))));
	return codebook;
}
