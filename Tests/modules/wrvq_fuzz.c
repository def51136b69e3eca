/*
 * wrvq_fuzz.c: damages pages of an index where a running server would meet
 * them, in its shared buffers, and puts them back.  For Tests/tap/011_fuzz.pl;
 * loaded by path, never installed.
 *
 * One index at a time and nobody else at it: nothing here is WAL-logged.
 */
#include "wrvq.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/storage.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_MODULE_MAGIC;

/* the index that was saved */
static Oid			 saved_index = InvalidOid;
static BlockNumber	 saved_blocks = 0;
static char			*saved_pages = NULL;
static int			 slot_bytes; /* of its posting pages */
static pg_prng_state prng;

static char *
saved_page(BlockNumber block)
{
	return saved_pages + (Size) block * BLCKSZ;
}

/* Writes a page image into its shared buffer, whatever is there. */
static void
write_page(Relation index, BlockNumber block, const char *image)
{
	Buffer buffer = ReadBuffer(index, block);

	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	memcpy(BufferGetPage(buffer), image, BLCKSZ);
	MarkBufferDirty(buffer);
	UnlockReleaseBuffer(buffer);
}

/* What a slot takes on a posting page: wrvq_layout's block behind its header.  Any number does for an index without slots. */
static int
bytes_of_slot(const WrvqMetaData *meta)
{
	int entry_bytes = sizeof(ItemPointerData) + (meta->metric == WRVQ_L2 ? sizeof(uint16) : 0), pieces = 0;

	for (int i = 1; i < meta->shape.level_count; i++)
	{
		const wrvq_level_shape *level = &meta->shape.levels[i];

		entry_bytes += sizeof(uint16) + (level->kind == WRVQ_PRODUCT ? 0 : level->codeword_count <= 256 ? 1 : 2);
		pieces += level->kind == WRVQ_PRODUCT ? level->piece_count : 0;
	}
	return sizeof(WrvqSlotHeader) + WRVQ_BLOCK_ENTRIES * entry_bytes + WRVQ_BLOCK_ENTRIES / 2 * pieces;
}

/* fuzz_save(index): keeps a copy of all its pages. */
PG_FUNCTION_INFO_V1(fuzz_save);
Datum
fuzz_save(PG_FUNCTION_ARGS)
{
	Relation index = relation_open(PG_GETARG_OID(0), AccessExclusiveLock);

	if (saved_pages != NULL)
		pfree(saved_pages);
	saved_index = RelationGetRelid(index);
	saved_blocks = RelationGetNumberOfBlocks(index);
	saved_pages = MemoryContextAllocHuge(TopMemoryContext, (Size) saved_blocks * BLCKSZ);
	for (BlockNumber block = 0; block < saved_blocks; block++)
	{
		Buffer buffer = ReadBuffer(index, block);

		memcpy(saved_page(block), BufferGetPage(buffer), BLCKSZ);
		ReleaseBuffer(buffer);
	}
	slot_bytes = bytes_of_slot(WrvqPageGetMeta(saved_page(WRVQ_META_BLOCK)));
	relation_close(index, NoLock);
	PG_RETURN_VOID();
}

/* fuzz_restore(): makes the index what it was, but of another build, so that no cached codebook hides damage. */
PG_FUNCTION_INFO_V1(fuzz_restore);
Datum
fuzz_restore(PG_FUNCTION_ARGS)
{
	Relation index = relation_open(saved_index, AccessExclusiveLock);

	WrvqPageGetMeta(saved_page(WRVQ_META_BLOCK))->build_id = pg_prng_uint64(&pg_global_prng_state);
	if (RelationGetNumberOfBlocks(index) > saved_blocks)
		RelationTruncate(index, saved_blocks);
	while (RelationGetNumberOfBlocks(index) < saved_blocks)
		ReleaseBuffer(ReadBuffer(index, P_NEW));
	for (BlockNumber block = 0; block < saved_blocks; block++)
		write_page(index, block, saved_page(block));
	RelationSetTargetBlock(index, InvalidBlockNumber);
	relation_close(index, NoLock);
	PG_RETURN_VOID();
}

static uint32
draw(uint32 below)
{
	return (uint32) pg_prng_uint64_range(&prng, 0, below - 1);
}

/* A page of a kind, drawn first, so that rare kinds are met as often as others. */
static BlockNumber
draw_page(void)
{
	WrvqPageKind kind = WRVQ_PAGE_META + draw(WRVQ_PAGE_PENDING);
	BlockNumber	 first = draw(saved_blocks);

	for (BlockNumber i = 0; i < saved_blocks; i++)
	{
		BlockNumber block = (first + i) % saved_blocks;

		if (WrvqPageGetOpaque(saved_page(block))->kind == kind)
			return block;
	}
	return first;
}

/* A word in which structure is: header, metadata, list entries, a slot's header, opaque part. */
static int
draw_word(const char *page)
{
	switch (draw(5))
	{
		case 0:
			return 4 * draw(SizeOfPageHeaderData / 4);
		case 1:
			return BLCKSZ - 16 + 4 * draw(4);
		default:
			if (WrvqPageGetOpaque(page)->kind == WRVQ_PAGE_POSTING)
				return SizeOfPageHeaderData + draw((uint32) (WRVQ_PAGE_BYTES / slot_bytes)) * slot_bytes +
					   4 * draw(sizeof(WrvqSlotHeader) / 4);
			return SizeOfPageHeaderData + 4 * draw(sizeof(WrvqMetaData) / 4);
	}
}

/* A number that code may trust once too often. */
static uint32
draw_value(void)
{
	static const uint32 values[] = {0,	   1,		   2,		   31,		   32,		   33,		  255,
									70000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF, 0x7FC00000};
	uint32				at = draw(lengthof(values) + 1);

	return at < lengthof(values) ? values[at] : draw(saved_blocks + 1);
}

/* Damages a copy of a page; says how. */
static const char *
damage_page(char *page, Relation heap)
{
	int at;

	switch (draw(8))
	{
		case 0:
			at = draw(BLCKSZ * 8);
			page[at / 8] ^= 1 << at % 8;
			return psprintf("bit %d flipped", at);
		case 1:
			at = draw_word(page) * 8 + draw(32);
			page[at / 8] ^= 1 << at % 8;
			return psprintf("bit %d flipped", at);
		case 2:
		case 3:
			{
				uint32 value = draw_value();

				at = draw_word(page);
				memcpy(page + at, &value, sizeof(value));
				return psprintf("word at %d is %u", at, value);
			}
		case 4:
			memset(page, 0, BLCKSZ);
			return "zeroed";
		case 5:
			at = draw(BLCKSZ - 64);
			for (int i = 0; i < 64; i++)
				page[at + i] = (char) draw(256);
			return psprintf("noise from %d", at);
		case 6:
			if (draw(2) == 0)
			{
				BlockNumber other = draw(saved_blocks);

				memcpy(page, saved_page(other), BLCKSZ);
				return psprintf("a copy of block %u", other);
			}
			else
			{
				Buffer buffer = ReadBuffer(heap, draw(RelationGetNumberOfBlocks(heap)));

				memcpy(page, BufferGetPage(buffer), BLCKSZ);
				ReleaseBuffer(buffer);
				return "a page of the table";
			}
		default:
			for (int i = SizeOfPageHeaderData; i < BLCKSZ - 16; i++)
				page[i] = (char) draw(256);
			return "noise between header and opaque part";
	}
}

/* fuzz_mutate(seed): damages a page, or cuts the index short; says which and how. */
PG_FUNCTION_INFO_V1(fuzz_mutate);
Datum
fuzz_mutate(PG_FUNCTION_ARGS)
{
	Relation	index = relation_open(saved_index, AccessExclusiveLock);
	Relation	heap = table_open(IndexGetRelation(saved_index, false), AccessShareLock);
	char	   *page = palloc(BLCKSZ);
	BlockNumber block;
	const char *what;

	pg_prng_seed(&prng, PG_GETARG_INT64(0));
	block = draw_page();
	memcpy(page, saved_page(block), BLCKSZ);
	if (draw(20) == 0)
	{
		RelationTruncate(index, block);
		what = "cut off";
	}
	else
	{
		what = damage_page(page, heap);
		write_page(index, block, page);
	}
	table_close(heap, NoLock);
	relation_close(index, NoLock);
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf("block %u (kind %u): %s", block, WrvqPageGetOpaque(saved_page(block))->kind, what)));
}

/* The first page of a kind. */
static BlockNumber
first_page(WrvqPageKind kind)
{
	for (BlockNumber block = 0; block < saved_blocks; block++)
		if (WrvqPageGetOpaque(saved_page(block))->kind == kind)
			return block;
	return InvalidBlockNumber;
}

/* The slot that a pointer on a saved page leads to. */
static WrvqSlotHeader *
saved_slot(WrvqSlotPointer at)
{
	return (WrvqSlotHeader *) (saved_page(at.block) + SizeOfPageHeaderData + (Size) at.slot * slot_bytes);
}

/* Block numbers and pointers to slots that a page holds: those of the metapage, of a list of two slots or more, and of pages. */
enum
{
	PENDING_HEAD,
	PENDING_TAIL,
	CODEBOOK,
	DIRECTORY,
	LIST_HEAD,
	LIST_TAIL,
	LIST_NEXT,
	PENDING_NEXT,
	POINTERS
};

/* Where damage lets them lead: pages that their reader may have locked, and back to where a chain came from. */
enum
{
	TO_ITSELF, /* the page that the pointer is on */
	TO_META,
	TO_CODEBOOK,
	TO_DIRECTORY,
	TO_POSTING,
	TO_PENDING,
	TO_HEAD, /* of the list: the very slot, with its stamp */
	TO_TAIL,
	TARGETS
};

/* The list whose pointers are damaged: its entry in the directory, saved; NULL: there is none. */
static WrvqListEntry *
longest_list(void)
{
	BlockNumber	   block = first_page(WRVQ_PAGE_DIRECTORY);
	WrvqListEntry *lists, *longest = NULL;
	int			   most = 1;

	if (block == InvalidBlockNumber)
		return NULL;
	lists = (WrvqListEntry *) PageGetContents(saved_page(block));
	for (int i = 0; i < WrvqPageGetOpaque(saved_page(block))->count; i++)
	{
		int slots = 0;

		for (WrvqSlotPointer at = lists[i].head; at.block != InvalidBlockNumber; at = saved_slot(at)->next)
			slots++;
		if (slots > most)
		{
			most = slots;
			longest = &lists[i];
		}
	}
	return longest;
}

/* Where the pointer is among the saved pages; NULL: this index has none such. */
static char *
find_pointer(int pointer)
{
	WrvqMetaData  *meta = WrvqPageGetMeta(saved_page(WRVQ_META_BLOCK));
	WrvqListEntry *list = longest_list();

	switch (pointer)
	{
		case PENDING_HEAD:
			return (char *) &meta->pending_head;
		case PENDING_TAIL:
			return (char *) &meta->pending_tail;
		case CODEBOOK:
			return (char *) &meta->codebook_start;
		case DIRECTORY:
			return (char *) &meta->directory_start;
		case LIST_HEAD:
			return list == NULL ? NULL : (char *) &list->head;
		case LIST_TAIL:
			return list == NULL ? NULL : (char *) &list->tail;
		case LIST_NEXT:
			return list == NULL ? NULL : (char *) &saved_slot(list->head)->next;
		default:
			return meta->pending_head == InvalidBlockNumber
					   ? NULL
					   : (char *) &WrvqPageGetOpaque(saved_page(meta->pending_head))->next;
	}
}

/* fuzz_lead(number): lets a pointer lead elsewhere; says which and where to, '' if this index lacks one of both, NULL behind the last. */
PG_FUNCTION_INFO_V1(fuzz_lead);
Datum
fuzz_lead(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {
		"head of pending pages", "tail of pending pages", "codebook",		"directory",
		"head of a list",		 "tail of a list",		  "next of a slot", "next of a pending page"};
	static const WrvqPageKind kinds[] = {
		0, WRVQ_PAGE_META, WRVQ_PAGE_CODEBOOK, WRVQ_PAGE_DIRECTORY, WRVQ_PAGE_POSTING, WRVQ_PAGE_PENDING};
	int				number = PG_GETARG_INT32(0), target = number % TARGETS;
	char		   *pointer, *page = palloc(BLCKSZ);
	WrvqListEntry  *list = longest_list();
	WrvqSlotPointer value = {0, 0, 0};
	BlockNumber		block;
	Relation		index;

	if (number >= POINTERS * TARGETS)
		PG_RETURN_NULL();
	pointer = find_pointer(number / TARGETS);
	if (pointer == NULL || (list == NULL && target >= TO_HEAD))
		PG_RETURN_TEXT_P(cstring_to_text(""));
	block = (pointer - saved_pages) / BLCKSZ;
	if (target >= TO_HEAD)
		value = target == TO_HEAD ? list->head : list->tail;
	else
		value.block = target == TO_ITSELF ? block : first_page(kinds[target]);
	if (value.block == InvalidBlockNumber)
		PG_RETURN_TEXT_P(cstring_to_text(""));

	index = relation_open(saved_index, AccessExclusiveLock);
	memcpy(page, saved_page(block), BLCKSZ);
	memcpy(page + (pointer - saved_page(block)), &value,
		   number / TARGETS >= LIST_HEAD && number / TARGETS <= LIST_NEXT && target >= TO_HEAD ? sizeof(value)
																							   : sizeof(BlockNumber));
	write_page(index, block, page);
	relation_close(index, NoLock);
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf("block %u (kind %u): %s leads to block %u", block,
								 WrvqPageGetOpaque(saved_page(block))->kind, names[number / TARGETS], value.block)));
}

static bool
is_dead(ItemPointer tid, void *state)
{
	return (ItemPointerGetBlockNumberNoCheck(tid) + ItemPointerGetOffsetNumberNoCheck(tid)) % 3 == 0;
}

/* fuzz_vacuum(): what VACUUM does to the index if a third of the rows are dead; the table stays as it is. */
PG_FUNCTION_INFO_V1(fuzz_vacuum);
Datum
fuzz_vacuum(PG_FUNCTION_ARGS)
{
	Relation			   index = relation_open(saved_index, AccessExclusiveLock);
	IndexVacuumInfo		   info = {.index = index, .message_level = DEBUG2};
	IndexBulkDeleteResult *stats = index->rd_indam->ambulkdelete(&info, NULL, is_dead, NULL);

	index->rd_indam->amvacuumcleanup(&info, stats);
	relation_close(index, NoLock);
	PG_RETURN_VOID();
}
