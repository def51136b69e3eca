/*
 * wrvqrecent.c: where in shared buffers this backend found pages last.  The
 * server's table of them costs several waits for memory a page, which are a
 * sixth of a search with a filter; a look at the buffer itself costs one.
 */
#include "wrvq.h"

#include "pgstat.h"
#include "storage/buf_internals.h"

/* pages remembered, of all relations: 1 MB, of which only what is used takes memory */
#define RECENT_PAGES (1 << 17)

/* one reading in so many asks the server's table, which notes there that the page is in use */
#define READINGS_PER_LOOKUP 8

typedef struct RecentPage
{
	BlockNumber block;
	Buffer		buffer; /* InvalidBuffer: none yet */
} RecentPage;

static RecentPage recent_pages[RECENT_PAGES];

static inline RecentPage *
recent_page(Relation relation, BlockNumber block)
{
	/* neighbours lie side by side, relations far from each other */
	return &recent_pages[(block + WrvqFileNumber(relation) * (RECENT_PAGES / 16 + 1)) % RECENT_PAGES];
}

/* Has the processor fetch what WrvqReadRecent() will look at. */
void
WrvqPrefetchRecent(Relation relation, BlockNumber block)
{
	const RecentPage *recent = recent_page(relation, block);

	if (recent->block == block && recent->buffer != InvalidBuffer)
		__builtin_prefetch(GetBufferDescriptor(recent->buffer - 1));
}

/* ReadBuffer() for pages that are read again and again. */
Buffer
WrvqReadRecent(Relation relation, BlockNumber block)
{
	static unsigned readings;
	RecentPage	   *recent = recent_page(relation, block);

	if (RelationUsesLocalBuffers(relation))
		return ReadBuffer(relation, block);
	/* the buffer tells whether it is still this relation's page */
	if (recent->block == block && recent->buffer != InvalidBuffer && ++readings % READINGS_PER_LOOKUP != 0 &&
		ReadRecentBuffer(WrvqLocator(relation), MAIN_FORKNUM, block, recent->buffer))
	{
		pgstat_count_buffer_read(relation);
		pgstat_count_buffer_hit(relation);
		return recent->buffer;
	}
	recent->block = block;
	return recent->buffer = ReadBuffer(relation, block);
}
