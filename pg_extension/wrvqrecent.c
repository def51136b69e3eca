/*
 * wrvqrecent.c: where in shared buffers this backend found pages last.  The
 * server's table of them costs several waits for memory a page, which are a
 * sixth of a search with a filter; a look at the buffer itself costs one.
 */
#include "wrvq.h"

#include "pgstat.h"
#include "storage/buf_internals.h"

/* pages remembered, of all relations: 1 MB, of which only what is used takes memory */
#define RECENT_PAGES (1 << 18)

/* InvalidBuffer: none yet; the buffer itself tells which page it holds */
static Buffer recent_buffers[RECENT_PAGES];

static inline Buffer *
recent_buffer(Relation relation, BlockNumber block)
{
	/* neighbours lie side by side, relations far from each other */
	return &recent_buffers[(block + WrvqFileNumber(relation) * (RECENT_PAGES / 16 + 1)) % RECENT_PAGES];
}

/* Has the processor fetch where a page was found last, for WrvqPrefetchRecent(). */
void
WrvqPrefetchPlace(Relation relation, BlockNumber block)
{
	__builtin_prefetch(recent_buffer(relation, block));
}

/* Has the processor fetch what WrvqReadRecent() will look at. */
void
WrvqPrefetchRecent(Relation relation, BlockNumber block)
{
	Buffer recent = *recent_buffer(relation, block);

	if (recent != InvalidBuffer)
		__builtin_prefetch(GetBufferDescriptor(recent - 1));
}

/*
 * Has the page in this buffer the highest count of uses?  By that the server
 * chooses what to replace; ReadBuffer() would raise it, ReadRecentBuffer()
 * does not.
 */
static inline bool
is_most_used(Buffer buffer)
{
	return BUF_STATE_GET_USAGECOUNT(pg_atomic_read_u32(&GetBufferDescriptor(buffer - 1)->state)) == BM_MAX_USAGE_COUNT;
}

/* ReadBuffer() for pages that are read again and again. */
Buffer
WrvqReadRecent(Relation relation, BlockNumber block)
{
	Buffer *recent = recent_buffer(relation, block);

	if (RelationUsesLocalBuffers(relation))
		return ReadBuffer(relation, block);
	if (*recent != InvalidBuffer && is_most_used(*recent) &&
		ReadRecentBuffer(WrvqLocator(relation), MAIN_FORKNUM, block, *recent))
	{
		pgstat_count_buffer_read(relation);
		pgstat_count_buffer_hit(relation);
		return *recent;
	}
	return *recent = ReadBuffer(relation, block);
}
