/* wrvqwriter.c: writes the pages of a build: entries in order of list, packed without a gap. */
#include "wrvq.h"

#include "miscadmin.h"
#include "storage/freespace.h"
#include "utils/memutils.h"

struct WrvqWriter
{
	Relation			index;
	const WrvqCodebook *codebook;
	PGAlignedBlock		page;  /* the page being filled */
	BlockNumber			block; /* its number to be */
	int					slot;  /* the slot being filled, -1: none yet */
	uint32				list;  /* its list */
	WrvqListEntry	   *lists; /* [lists] */
};

static void
init_lists(WrvqListEntry *lists, int count)
{
	for (int i = 0; i < count; i++)
	{
		lists[i].head = lists[i].tail = (WrvqSlotPointer){InvalidBlockNumber, 0, 0};
	}
}

/* After this, only the writer may extend the index. */
WrvqWriter *
WrvqBeginWriter(Relation index, const WrvqCodebook *codebook)
{
	WrvqWriter *writer = palloc0(sizeof(WrvqWriter));
	int			lists = codebook->view.shape.levels[0].codeword_count;

	writer->index = index;
	writer->codebook = codebook;
	writer->block = RelationGetNumberOfBlocks(index);
	writer->slot = -1;
	writer->list = WRVQ_LIST_FREE;
	writer->lists = palloc_extended(sizeof(WrvqListEntry) * lists, MCXT_ALLOC_HUGE);
	init_lists(writer->lists, lists);
	WrvqInitPostingPage(codebook, writer->page.data, 0);
	return writer;
}

/* Appends a finished page to the index; returns its number. */
static BlockNumber
append_page(Relation index, Page contents)
{
	Buffer			  buffer = WrvqExtend(index);
	BlockNumber		  block = BufferGetBlockNumber(buffer);
	GenericXLogState *xlog = GenericXLogStart(index);

	memcpy(GenericXLogRegisterBuffer(xlog, buffer, GENERIC_XLOG_FULL_IMAGE), contents, BLCKSZ);
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
	return block;
}

static void
flush_page(WrvqWriter *writer)
{
	if (append_page(writer->index, writer->page.data) != writer->block)
		elog(ERROR, "posting pages of index \"%s\" are not contiguous", RelationGetRelationName(writer->index));
	writer->block++;
	WrvqInitPostingPage(writer->codebook, writer->page.data, 0);
	CHECK_FOR_INTERRUPTS();
}

/* Goes on to the next slot, for a list. */
static void
next_slot(WrvqWriter *writer, uint32 list)
{
	WrvqListEntry  *entry = &writer->lists[list];
	WrvqSlotPointer pointer;

	if (writer->list == list)
	{
		/* where the list goes on is known before it is written: slots come in sequence */
		WrvqSlotHeader *full = WrvqGetSlot(writer->codebook, writer->page.data, writer->slot);

		if (writer->slot + 1 < writer->codebook->slots_per_page)
			full->next = (WrvqSlotPointer){writer->block, writer->slot + 2, writer->slot + 1};
		else
			full->next = (WrvqSlotPointer){writer->block + 1, 1, 0};
	}
	if (++writer->slot == writer->codebook->slots_per_page)
	{
		flush_page(writer);
		writer->slot = 0;
	}
	pointer = WrvqUseSlot(writer->codebook, writer->page.data, writer->block, writer->slot, list);
	Assert(pointer.stamp == (uint32) writer->slot + 1);
	if (writer->list != list)
		entry->head = pointer;
	entry->tail = pointer;
	writer->list = list;
}

/* Entries must come in order of list. */
void
WrvqWriteEntry(WrvqWriter *writer, uint32 list, uint32 sublist, ItemPointer tid, const uint8 *entry)
{
	if (writer->list != list ||
		WrvqGetSlot(writer->codebook, writer->page.data, writer->slot)->count == WRVQ_BLOCK_ENTRIES)
		next_slot(writer, list);
	WrvqPutEntry(writer->codebook, WrvqGetSlot(writer->codebook, writer->page.data, writer->slot), sublist, tid, entry);
}

/* Writes the last page; its free slots are for inserts. */
void
WrvqEndWriter(WrvqWriter *writer)
{
	int			free_slots = writer->codebook->slots_per_page - (writer->slot + 1);
	BlockNumber block = writer->block;

	if (writer->slot < 0)
		return;
	flush_page(writer);
	RecordPageWithFreeSpace(writer->index, block, free_slots * writer->codebook->slot_bytes);
}

const WrvqListEntry *
WrvqWrittenLists(const WrvqWriter *writer)
{
	return writer->lists;
}

/* Appends a directory of empty lists and notes it in meta. */
void
WrvqWriteDirectory(Relation index, WrvqMetaData *meta)
{
	meta->directory_start = InvalidBlockNumber;
	for (uint32 first = 0; first < meta->list_count; first += WRVQ_LISTS_PER_PAGE)
	{
		uint32		   count = Min(WRVQ_LISTS_PER_PAGE, meta->list_count - first);
		PGAlignedBlock page;
		BlockNumber	   block;

		WrvqInitPage(page.data, WRVQ_PAGE_DIRECTORY);
		memset(PageGetContents(page.data), 0, WRVQ_PAGE_BYTES);
		WrvqPageGetOpaque(page.data)->count = count;
		init_lists((WrvqListEntry *) PageGetContents(page.data), count);
		block = append_page(index, page.data);
		if (first == 0)
			meta->directory_start = block;
		else if (block != WrvqDirectoryBlock(meta, first))
			elog(ERROR, "directory pages of index \"%s\" are not contiguous", RelationGetRelationName(index));
	}
}

/* Lets the directory, which nobody reads yet, lead to lists. */
void
WrvqFillDirectory(Relation index, const WrvqMetaData *meta, const WrvqListEntry *entries)
{
	for (uint32 first = 0; first < meta->list_count; first += WRVQ_LISTS_PER_PAGE)
	{
		uint32 count = Min(WRVQ_LISTS_PER_PAGE, meta->list_count - first);
		Buffer buffer =
			WrvqReadPage(index, WrvqDirectoryBlock(meta, first), WRVQ_PAGE_DIRECTORY, BUFFER_LOCK_EXCLUSIVE);
		GenericXLogState *xlog = GenericXLogStart(index);

		memcpy(WrvqDirectoryEntry(GenericXLogRegisterBuffer(xlog, buffer, 0), first), entries + first,
			   count * sizeof(WrvqListEntry));
		GenericXLogFinish(xlog);
		UnlockReleaseBuffer(buffer);
	}
}

/* Replaces the metadata: the last step that makes a codebook and its lists valid. */
void
WrvqWriteMeta(Relation index, const WrvqMetaData *meta)
{
	Buffer			  buffer = WrvqReadPage(index, WRVQ_META_BLOCK, WRVQ_PAGE_META, BUFFER_LOCK_EXCLUSIVE);
	GenericXLogState *xlog = GenericXLogStart(index);
	Page			  page = GenericXLogRegisterBuffer(xlog, buffer, 0);

	*WrvqPageGetMeta(page) = *meta;
	GenericXLogFinish(xlog);
	UnlockReleaseBuffer(buffer);
}
