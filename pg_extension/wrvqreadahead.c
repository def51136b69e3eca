/*
 * wrvqreadahead.c: pages that a search knows it will read are asked for before
 * they are needed, so that a disk works on several at a time.
 */
#include "wrvq.h"

#include "executor/instrument.h"
#include "miscadmin.h"
#include "utils/spccache.h"

/* blocks[count] of a relation, in the order in which they will be read; borrowed. */
void
WrvqBeginReadAhead(WrvqReadAhead *ahead, Relation relation, const BlockNumber *blocks, int64 count)
{
	ahead->relation = relation;
	ahead->blocks = blocks;
	ahead->count = count;
	ahead->requested = 0;
	ahead->relation_blocks = 0;
	ahead->distance = get_tablespace_io_concurrency(relation->rd_rel->reltablespace);
	ahead->misses = pgBufferUsage.shared_blks_read;
}

/*
 * To be called before blocks[i] is read.  As long as everything is found in
 * shared buffers nothing is requested: looking each page up twice would cost a
 * search in memory some 2 %.
 */
void
WrvqReadAheadAt(WrvqReadAhead *ahead, int64 i)
{
	if (pgBufferUsage.shared_blks_read == ahead->misses)
		return;
	if (ahead->relation_blocks == 0)
		ahead->relation_blocks = RelationGetNumberOfBlocks(ahead->relation);
	for (ahead->requested = Max(ahead->requested, i + 1); ahead->requested < Min(ahead->count, i + 1 + ahead->distance);
		 ahead->requested++)
		/* a damaged page may lead anywhere: whoever reads there says so */
		if (ahead->blocks[ahead->requested] != ahead->blocks[ahead->requested - 1] &&
			ahead->blocks[ahead->requested] < ahead->relation_blocks)
			PrefetchBuffer(ahead->relation, MAIN_FORKNUM, ahead->blocks[ahead->requested]);
}

static BlockNumber
next_block(ReadStream *stream, void *data, void *buffer_data)
{
	WrvqPageStream *pages = data;

	return pages->next < pages->ahead.count ? pages->ahead.blocks[pages->next++] : InvalidBlockNumber;
}

static Buffer
read_next(WrvqPageStream *pages)
{
	if (pages->stream != NULL)
		return WrvqNextOfStream(pages->stream);
	if (pages->next >= pages->ahead.count)
		return InvalidBuffer;
	WrvqReadAheadAt(&pages->ahead, pages->next);
	if (pages->next + 2 * WRVQ_PAGES_PINNED < pages->ahead.count)
		WrvqPrefetchPlace(pages->ahead.relation, pages->ahead.blocks[pages->next + 2 * WRVQ_PAGES_PINNED]);
	if (pages->next + WRVQ_PAGES_PINNED < pages->ahead.count)
		WrvqPrefetchRecent(pages->ahead.relation, pages->ahead.blocks[pages->next + WRVQ_PAGES_PINNED]);
	return WrvqReadRecent(pages->ahead.relation, pages->ahead.blocks[pages->next++]);
}

/*
 * How many pages this backend may pin before their turn: no more than its share
 * of all buffers, as if every process that the server may have did the same,
 * less one for the page at hand.  (The server bounds its own streams so, from 16
 * on.)  Pages that are pinned cannot make room for others.
 */
static int
spare_pins(Relation relation)
{
	int share = RelationUsesLocalBuffers(relation) ? NLocBuffer / 4 : NBuffers / MaxBackends;

	return Max(0, Min(share - 1, WRVQ_PAGES_PINNED));
}

/* blocks[count] of a relation: no two in sequence equal. */
void
WrvqBeginPages(WrvqPageStream *pages, Relation relation, const BlockNumber *blocks, int64 count)
{
	WrvqBeginReadAhead(&pages->ahead, relation, blocks, count);
	pages->next = 0;
	pages->stream = WrvqBeginStream(relation, next_block, pages);
	pages->handed_out = 0;
	pages->pins = spare_pins(relation);
	for (int i = 0; i < pages->pins; i++)
		pages->pinned[i] = read_next(pages);
}

/* The next page, pinned, in exchange for the pin of another one (or InvalidBuffer). */
Buffer
WrvqNextPage(WrvqPageStream *pages, Buffer buffer)
{
	Buffer *pinned, next;

	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	if (pages->pins == 0)
		return read_next(pages);
	pinned = &pages->pinned[pages->handed_out++ % pages->pins];
	next = *pinned;
	*pinned = read_next(pages);
	return next;
}

/* The page that comes so many after the one handed out last, 1 to WRVQ_PAGES_PINNED; NULL: none does, or it is not pinned. */
Page
WrvqPageAhead(const WrvqPageStream *pages, int distance)
{
	Buffer buffer = InvalidBuffer;

	if (distance <= pages->pins)
		buffer = pages->pinned[(pages->handed_out + distance - 1) % pages->pins];
	return BufferIsValid(buffer) ? BufferGetPage(buffer) : NULL;
}

void
WrvqEndPages(WrvqPageStream *pages)
{
	for (int i = 0; i < pages->pins; i++)
		if (BufferIsValid(pages->pinned[i]))
			ReleaseBuffer(pages->pinned[i]);
	if (pages->stream != NULL)
		WrvqEndStream(pages->stream);
}
