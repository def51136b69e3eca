/*
 * wrvqshrink.c: makes an index smaller that has much more room than it needs:
 * VACUUM moves the lists that reach into its end to the front, and gives the
 * end back to the file system.
 */
#include "wrvq.h"

#include "access/parallel.h"
#include "catalog/storage.h"
#include "commands/vacuum.h"
#include "storage/freespace.h"
#include "storage/lmgr.h"

/*
 * An index shrinks when it has so many times the pages that it needs, to so
 * many times.  The first is above what is free between two ordinary
 * autovacuums, some 20 %: moving costs as much as writing everything anew.
 */
#define SHRINK_FROM 1.25
#define SHRINK_TO	1.1

/* pages by which no index needs to shrink */
#define SHRINK_BLOCKS_MIN 8

/* the least share of its pages for which it is worth to lock an index exclusively */
#define TRUNCATE_SHARE_MIN (1.0 / 16)

/*
 * Decides whether an index of so many pages, of which so many (up to the last
 * one) have no slots, shrinks to hold a number of slots; free_slots is there.
 */
void
WrvqPlanFront(WrvqFront *front, BlockNumber blocks, BlockNumber other_pages, BlockNumber last_other, double slots,
			  const WrvqCodebook *codebook)
{
	double needed = other_pages + slots / codebook->slots_per_page;
	double target = Max(SHRINK_TO * needed + SHRINK_BLOCKS_MIN / 2, last_other + 1.0);

	front->next = WRVQ_META_BLOCK + 1;
	front->blocks = blocks > SHRINK_FROM * needed + SHRINK_BLOCKS_MIN && target < blocks ? (BlockNumber) target : 0;
}

/*
 * A page with a free slot, exclusively locked, in the front of an index that
 * shrinks if there is one; anywhere otherwise.  Does not wait, as
 * WrvqLockFreePage() does not.
 */
Buffer
WrvqLockFrontPage(Relation index, const WrvqCodebook *codebook, WrvqFront *front, bool *is_new)
{
	*is_new = false;
	for (; front->next < front->blocks; front->next++)
	{
		Buffer buffer;

		if (front->free_slots[front->next] == 0)
			continue;
		buffer = ReadBuffer(index, front->next);
		if (ConditionalLockBuffer(buffer))
		{
			if (WrvqKindOfPage(index, buffer) == WRVQ_PAGE_POSTING &&
				WrvqFreeSlot(codebook, BufferGetPage(buffer)) >= 0)
			{
				front->free_slots[front->next]--;
				return buffer;
			}
			LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
		}
		ReleaseBuffer(buffer);
		/* somebody else is at it or has taken what was free */
		front->free_slots[front->next] = 0;
	}
	return WrvqLockFreePage(index, codebook, is_new);
}

/* Pages up to the last one that is not just free slots. */
static BlockNumber
used_blocks(Relation index, const WrvqCodebook *codebook, BufferAccessStrategy strategy)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index);

	for (; blocks > WRVQ_META_BLOCK + 1; blocks--)
	{
		Buffer buffer;
		bool   is_used = false;

		WrvqVacuumDelay();
		buffer = ReadBufferExtended(index, MAIN_FORKNUM, blocks - 1, RBM_NORMAL, strategy);
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (!PageIsNew(BufferGetPage(buffer)))
		{
			is_used = WrvqKindOfPage(index, buffer) != WRVQ_PAGE_POSTING;
			for (int i = 0; i < codebook->slots_per_page && !is_used; i++)
				is_used = WrvqGetSlot(codebook, BufferGetPage(buffer), i)->list != WRVQ_LIST_FREE;
		}
		UnlockReleaseBuffer(buffer);
		if (is_used)
			break;
	}
	return blocks;
}

/*
 * Gives pages at the end that have nothing but free slots back to the file
 * system, if they are many and nobody else has the index open; returns how
 * many pages it has.  Of an index that seems to have no rows that is noted
 * under the same lock.
 */
BlockNumber
WrvqTruncate(Relation index, const WrvqCodebook *codebook, BufferAccessStrategy strategy, bool seems_empty)
{
	BlockNumber blocks = RelationGetNumberOfBlocks(index), used = used_blocks(index, codebook, strategy);

	if (blocks - used < Max(SHRINK_BLOCKS_MIN / 2, blocks * TRUNCATE_SHARE_MIN) && !seems_empty)
		return blocks;
	/* a lock of this strength takes a transaction ID, which a parallel VACUUM must not take */
	if (IsInParallelMode() || !ConditionalLockRelation(index, AccessExclusiveLock))
		return blocks;
	/* inserts may have come meanwhile */
	used = used_blocks(index, codebook, strategy);
	blocks = RelationGetNumberOfBlocks(index);
	if (used < blocks)
		RelationTruncate(index, used);
	if (seems_empty)
		WrvqNoteEmpty(index, codebook, strategy);
	UnlockRelation(index, AccessExclusiveLock);
	return used;
}
