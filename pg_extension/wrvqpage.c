/* wrvqpage.c: pages, slots and their checks; the only file that knows page offsets. */
#include "wrvq.h"

#include "access/xloginsert.h"
#include "miscadmin.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

void
WrvqCorrupted(Relation index, BlockNumber block, const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_INDEX_CORRUPTED),
					errmsg("index \"%s\" is corrupted: block %u: %s", RelationGetRelationName(index), block, what),
					errhint("REINDEX the index.")));
}

void
WrvqInitPage(Page page, WrvqPageKind kind)
{
	PageInit(page, BLCKSZ, sizeof(WrvqPageOpaque));
	WrvqPageGetOpaque(page)->next = InvalidBlockNumber;
	WrvqPageGetOpaque(page)->stamp = 0;
	WrvqPageGetOpaque(page)->kind = kind;
	WrvqPageGetOpaque(page)->count = 0;
	WrvqPageGetOpaque(page)->unused = 0;
	WrvqPageGetOpaque(page)->page_id = WRVQ_PAGE_ID;

	/* generic WAL takes what lies between pd_lower and pd_upper for a hole: leave none */
	((PageHeader) page)->pd_lower = ((PageHeader) page)->pd_upper;
}

/*
 * The kind of the page in a buffer that the caller has locked; raises unless it
 * is one of ours.  The header's offsets are compared with the only ones that
 * WrvqInitPage() makes: generic WAL copies by them without looking.
 */
WrvqPageKind
WrvqKindOfPage(Relation index, Buffer buffer)
{
	Page		  page = BufferGetPage(buffer);
	PageHeader	  header = (PageHeader) page;
	LocationIndex special = BLCKSZ - MAXALIGN(sizeof(WrvqPageOpaque));

	if (PageIsNew(page))
		WrvqCorrupted(index, BufferGetBlockNumber(buffer), "the page is empty");
	if (header->pd_special != special || header->pd_upper != special || header->pd_lower != special ||
		WrvqPageGetOpaque(page)->page_id != WRVQ_PAGE_ID)
		WrvqCorrupted(index, BufferGetBlockNumber(buffer), "the page is not one of a wrvq index");
	if (WrvqPageGetOpaque(page)->kind < WRVQ_PAGE_META || WrvqPageGetOpaque(page)->kind > WRVQ_PAGE_PENDING)
		WrvqCorrupted(index, BufferGetBlockNumber(buffer), "the page is of no kind that belongs there");
	return WrvqPageGetOpaque(page)->kind;
}

/* Raises unless the buffer, locked by the caller, holds a page of this kind. */
void
WrvqCheckPage(Relation index, Buffer buffer, WrvqPageKind kind)
{
	if (WrvqKindOfPage(index, buffer) != kind)
		WrvqCorrupted(index, BufferGetBlockNumber(buffer), "the page is of another kind than expected");
}

/* Raises unless there is such a block.  What is asked is remembered, so that a known block costs no system call. */
void
WrvqCheckBlock(Relation index, BlockNumber block)
{
	if (index->rd_amcache == NULL)
		index->rd_amcache = MemoryContextAllocZero(index->rd_indexcxt, sizeof(BlockNumber));
	if (block < *(BlockNumber *) index->rd_amcache)
		return;
	*(BlockNumber *) index->rd_amcache = RelationGetNumberOfBlocks(index);
	if (block >= *(BlockNumber *) index->rd_amcache)
		WrvqCorrupted(index, block, "there is no such block");
}

/*
 * Raises if a page that is about to be locked says that it is of another kind.
 * Nobody can cancel who waits for the lock of a page, and a damaged pointer may
 * lead to a page that its reader has locked already.  But pages that are locked
 * together are of different kinds (README.md has their order), so that nobody
 * waits for himself, nor two for each other, as long as each waits only for
 * pages of the kind that comes next.  Pages that pointers lead to do not change
 * their kind, so no lock is needed to look.
 */
static void
check_before_lock(Relation index, Buffer buffer, WrvqPageKind kind)
{
	/* where the opaque part of our pages is: this need not be one of them */
	const WrvqPageOpaque *opaque =
		(const WrvqPageOpaque *) ((const char *) BufferGetPage(buffer) + BLCKSZ - sizeof(WrvqPageOpaque));

	if (opaque->kind == kind)
		return;
	if (PageIsNew(BufferGetPage(buffer)))
		WrvqCorrupted(index, BufferGetBlockNumber(buffer), "the page is empty");
	WrvqCorrupted(index, BufferGetBlockNumber(buffer), "the page is of another kind than expected");
}

/* Reads, locks and checks a page; the caller unlocks and releases it. */
Buffer
WrvqReadPage(Relation index, BlockNumber block, WrvqPageKind kind, int lock)
{
	Buffer buffer;

	WrvqCheckBlock(index, block);
	buffer = ReadBuffer(index, block);
	check_before_lock(index, buffer, kind);
	LockBuffer(buffer, lock);
	WrvqCheckPage(index, buffer, kind);
	return buffer;
}

/* A new page at the end of the relation, exclusively locked, not initialised. */
Buffer
WrvqExtend(Relation index)
{
	for (;;)
	{
		Buffer buffer;

		LockRelationForExtension(index, ExclusiveLock);
		buffer = ReadBuffer(index, P_NEW);
		UnlockRelationForExtension(index, ExclusiveLock);
		LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
		/* a free space map that a crash left ahead of the index may have led another backend here */
		if (PageIsNew(BufferGetPage(buffer)))
			return buffer;
		UnlockReleaseBuffer(buffer);
	}
}

/* ---------- the metapage ---------- */

/* Raises if the metadata are not ones that this version can use. */
void
WrvqCheckMeta(Relation index, const WrvqMetaData *meta)
{
	wrvq_status status;
	int64		bytes;

	if (meta->magic != WRVQ_MAGIC)
		WrvqCorrupted(index, WRVQ_META_BLOCK, "it has no wrvq metadata");
	if (meta->format_version != WRVQ_FORMAT_VERSION)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("index \"%s\" has format version %u, this is wrvq %s for version %u",
							   RelationGetRelationName(index), meta->format_version, WRVQ_VERSION, WRVQ_FORMAT_VERSION),
						errhint("REINDEX the index, or install the wrvq that built it.")));
	if (meta->dimensions > WRVQ_DIMENSIONS_MAX || meta->metric > WRVQ_COSINE)
		WrvqCorrupted(index, WRVQ_META_BLOCK, "its dimensions or metric are out of range");
	if (!meta->is_trained)
		return;
	SWIFT(status = wrvq_kernel.shape_check(&meta->shape));
	if (status != WRVQ_OK || meta->spill < 1 || meta->spill > 2)
		WrvqCorrupted(index, WRVQ_META_BLOCK, "its shape is out of range");
	SWIFT(bytes = wrvq_kernel.image_bytes(&meta->shape));
	if ((uint64) bytes != meta->image_bytes || meta->list_count != (uint32) meta->shape.levels[0].codeword_count ||
		meta->dimensions != (uint32) meta->shape.dimensions || meta->metric != (uint32) meta->shape.metric)
		WrvqCorrupted(index, WRVQ_META_BLOCK, "its shape contradicts its counts");
}

/* Copies the metadata, checked. */
void
WrvqReadMeta(Relation index, WrvqMetaData *meta)
{
	Buffer buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_SHARE);

	*meta = *WrvqPageGetMeta(BufferGetPage(buffer));
	UnlockReleaseBuffer(buffer);
	WrvqCheckMeta(index, meta);
}

/* Writes the metapage of an untrained, empty index as block 0 of a fork. */
void
WrvqInitMeta(Relation index, ForkNumber fork)
{
	wrvq_metric	  metric = WrvqIndexSupport(index)->metric;
	Buffer		  buffer = ReadBufferExtended(index, fork, P_NEW, RBM_NORMAL, NULL);
	Page		  page;
	WrvqMetaData *meta;

	Assert(BufferGetBlockNumber(buffer) == WRVQ_META_BLOCK);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	page = BufferGetPage(buffer);
	START_CRIT_SECTION();
	WrvqInitPage(page, WRVQ_PAGE_META);
	meta = WrvqPageGetMeta(page);
	memset(meta, 0, sizeof(WrvqMetaData));
	meta->magic = WRVQ_MAGIC;
	meta->format_version = WRVQ_FORMAT_VERSION;
	meta->metric = metric;
	meta->codebook_start = InvalidBlockNumber;
	meta->directory_start = InvalidBlockNumber;
	meta->pending_head = InvalidBlockNumber;
	meta->pending_tail = InvalidBlockNumber;
	MarkBufferDirty(buffer);
	if (fork == INIT_FORKNUM || RelationNeedsWAL(index))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* ---------- slots ---------- */

WrvqSlotHeader *
WrvqGetSlot(const WrvqCodebook *codebook, Page page, int slot)
{
	return (WrvqSlotHeader *) (PageGetContents(page) + slot * codebook->slot_bytes);
}

/* Does the page still hold what the pointer was made for? */
bool
WrvqSlotIs(const WrvqCodebook *codebook, Page page, WrvqSlotPointer pointer, uint32 list)
{
	WrvqSlotHeader *slot;

	if (pointer.slot >= (uint32) codebook->slots_per_page)
		return false;
	slot = WrvqGetSlot(codebook, page, pointer.slot);
	return slot->list == list && slot->stamp == pointer.stamp && slot->count <= WRVQ_BLOCK_ENTRIES;
}

/* Initialises a page of free slots; stamps go on from the given one. */
void
WrvqInitPostingPage(const WrvqCodebook *codebook, Page page, uint32 stamp)
{
	WrvqInitPage(page, WRVQ_PAGE_POSTING);
	WrvqPageGetOpaque(page)->stamp = stamp;
	memset(PageGetContents(page), 0, WRVQ_PAGE_BYTES);
	for (int i = 0; i < codebook->slots_per_page; i++)
		WrvqGetSlot(codebook, page, i)->list = WRVQ_LIST_FREE;
}

/* A free slot of the page, or -1. */
int
WrvqFreeSlot(const WrvqCodebook *codebook, Page page)
{
	for (int i = 0; i < codebook->slots_per_page; i++)
		if (WrvqGetSlot(codebook, page, i)->list == WRVQ_LIST_FREE)
			return i;
	return -1;
}

/* Gives a free slot to a list, empty and unlinked; returns the pointer to it. */
WrvqSlotPointer
WrvqUseSlot(const WrvqCodebook *codebook, Page page, BlockNumber block, int slot, uint32 list)
{
	WrvqPageOpaque *opaque = WrvqPageGetOpaque(page);
	WrvqSlotHeader *header = WrvqGetSlot(codebook, page, slot);
	WrvqSlotPointer pointer;

	memset(header, 0, codebook->slot_bytes);
	header->list = list;
	header->stamp = ++opaque->stamp;
	header->next.block = InvalidBlockNumber;
	header->sublist_min = UINT8_MAX;
	opaque->count++;

	pointer.block = block;
	pointer.stamp = header->stamp;
	pointer.slot = slot;
	return pointer;
}

/* Appends an entry to a slot with room. */
void
WrvqPutEntry(const WrvqCodebook *codebook, WrvqSlotHeader *slot, uint32 sublist, ItemPointer tid, const uint8 *entry)
{
	Assert(slot->count < WRVQ_BLOCK_ENTRIES);
	SWIFT(wrvq_kernel.block_put(&codebook->layout, (uint8 *) (slot + 1), slot->count, WrvqRowFromTid(tid), entry));
	slot->count++;
	slot->sublist_min = Min(slot->sublist_min, sublist);
	slot->sublist_max = Max(slot->sublist_max, sublist);
}

/*
 * A page with a free slot, exclusively locked; *is_new: it must be initialised
 * first.  Never waits for a page, so that a caller may hold others: busy ones
 * are left to those who are at them, which also keeps parallel inserts apart.
 */
Buffer
WrvqLockFreePage(Relation index, const WrvqCodebook *codebook, bool *is_new)
{
	BlockNumber block = RelationGetTargetBlock(index);
	Buffer		buffer;

	if (block == InvalidBlockNumber)
		block = GetPageWithFreeSpace(index, codebook->slot_bytes);
	/* after a crash the map may know pages that the index has lost, or has put to another use since */
	for (int tries = 0; tries < 4 && block != InvalidBlockNumber && block < RelationGetNumberOfBlocks(index);)
	{
		buffer = ReadBuffer(index, block);
		if (!ConditionalLockBuffer(buffer))
		{
			ReleaseBuffer(buffer);
			tries++;
			block = GetPageWithFreeSpace(index, codebook->slot_bytes);
			continue;
		}
		*is_new = PageIsNew(BufferGetPage(buffer));
		if (*is_new ||
			(WrvqKindOfPage(index, buffer) == WRVQ_PAGE_POSTING && WrvqFreeSlot(codebook, BufferGetPage(buffer)) >= 0))
		{
			RelationSetTargetBlock(index, block);
			return buffer;
		}
		UnlockReleaseBuffer(buffer);
		block = RecordAndGetPageWithFreeSpace(index, block, 0, codebook->slot_bytes);
	}
	*is_new = true;
	buffer = WrvqExtend(index);
	RelationSetTargetBlock(index, BufferGetBlockNumber(buffer));
	return buffer;
}

/* ---------- chains ---------- */

/*
 * To be called for each slot (of pending pages: 0) that a chain leads to, with
 * chain all zero at first; raises if the chain runs in a circle.  It does when
 * it comes back to the place remembered, which is moved on after ever more
 * steps (Brent): noticed before the circle has been gone round three times.
 */
void
WrvqFollowChain(Relation index, WrvqChain *chain, BlockNumber block, uint32 slot)
{
	if (chain->steps > 0 && block == chain->block && slot == chain->slot)
		WrvqCorrupted(index, block, "the chain that leads there runs in a circle");
	if (chain->steps == chain->remember_at)
	{
		chain->block = block;
		chain->slot = slot;
		chain->remember_at = 2 * chain->remember_at + 1;
	}
	chain->steps++;
}

/* The page of the last slot of a list, exclusively locked; the caller has locked the directory, which says where that is. */
Buffer
WrvqReadTail(Relation index, const WrvqCodebook *codebook, uint32 list, WrvqSlotPointer tail)
{
	Buffer buffer = WrvqReadPage(index, tail.block, WRVQ_PAGE_POSTING, BUFFER_LOCK_EXCLUSIVE);

	if (!WrvqSlotIs(codebook, BufferGetPage(buffer), tail, list) ||
		WrvqGetSlot(codebook, BufferGetPage(buffer), tail.slot)->next.block != InvalidBlockNumber)
		WrvqCorrupted(index, tail.block, "a list's tail is not where the directory says");
	return buffer;
}

/* ---------- the directory ---------- */

BlockNumber
WrvqDirectoryBlock(const WrvqMetaData *meta, uint32 list)
{
	return meta->directory_start + list / WRVQ_LISTS_PER_PAGE;
}

WrvqListEntry *
WrvqDirectoryEntry(Page page, uint32 list)
{
	return (WrvqListEntry *) PageGetContents(page) + list % WRVQ_LISTS_PER_PAGE;
}

void
WrvqReadListEntry(Relation index, const WrvqMetaData *meta, uint32 list, WrvqListEntry *entry)
{
	Buffer buffer = WrvqReadPage(index, WrvqDirectoryBlock(meta, list), WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_SHARE);

	*entry = *WrvqDirectoryEntry(BufferGetPage(buffer), list);
	UnlockReleaseBuffer(buffer);
}

/* ---------- row identifiers ---------- */

/* A heap TID as the 48-bit number that the kernels carry: in order of position in the table. */
uint64
WrvqRowFromTid(ItemPointer tid)
{
	return (uint64) ItemPointerGetBlockNumberNoCheck(tid) << 16 | ItemPointerGetOffsetNumberNoCheck(tid);
}

void
WrvqTidFromRow(uint64 row, ItemPointer tid)
{
	ItemPointerSet(tid, WrvqBlockFromRow(row), (OffsetNumber) (row & 0xFFFF));
}
