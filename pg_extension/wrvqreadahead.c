/*
 * wrvqreadahead.c: pages that a search knows it will read are asked for before
 * they are needed, so that a disk works on several at a time.
 */
#include "wrvq.h"

#include "executor/instrument.h"
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

#if PG_VERSION_NUM >= 170000

static BlockNumber
next_block(ReadStream *stream, void *data, void *buffer_data)
{
	WrvqPageStream *pages = data;

	return pages->requested < pages->count ? pages->blocks[pages->requested++] : InvalidBlockNumber;
}

/* blocks[count] of a relation: no two in sequence equal. */
void
WrvqBeginPages(WrvqPageStream *pages, Relation relation, const BlockNumber *blocks, int64 count)
{
	pages->blocks = blocks;
	pages->count = count;
	pages->requested = 0;
	pages->stream = read_stream_begin_relation(READ_STREAM_DEFAULT, NULL, relation, MAIN_FORKNUM, next_block, pages, 0);
}

/* The next page, pinned, in exchange for the pin of another one (or InvalidBuffer). */
Buffer
WrvqNextPage(WrvqPageStream *pages, Buffer buffer)
{
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
	return read_stream_next_buffer(pages->stream, NULL);
}

void
WrvqEndPages(WrvqPageStream *pages)
{
	read_stream_end(pages->stream);
}

#else

void
WrvqBeginPages(WrvqPageStream *pages, Relation relation, const BlockNumber *blocks, int64 count)
{
	WrvqBeginReadAhead(&pages->ahead, relation, blocks, count);
	pages->next = 0;
}

Buffer
WrvqNextPage(WrvqPageStream *pages, Buffer buffer)
{
	int64 i = pages->next++;

	WrvqReadAheadAt(&pages->ahead, i);
	return ReleaseAndReadBuffer(buffer, pages->ahead.relation, pages->ahead.blocks[i]);
}

void
WrvqEndPages(WrvqPageStream *pages)
{
}

#endif
