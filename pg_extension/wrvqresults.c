/*
 * wrvqresults.c: reranked rows that a scan has not returned yet, the nearest
 * one first.  A heap: under a filter most are never returned, and putting all
 * in order in every round took a tenth of a scan.
 */
#include "wrvqscan.h"

#include "utils/memutils.h"

static inline bool
comes_before(const ScanResult *x, const ScanResult *y)
{
	if (WrvqIsNearer(x->distance, y->distance))
		return true;
	return !WrvqIsNearer(y->distance, x->distance) && x->row < y->row;
}

/* Makes room for so many in all. */
void
WrvqReserveResults(ScanResults *results, int64 capacity)
{
	results->heap = WrvqResize(results->heap, sizeof(ScanResult) * capacity);
	results->capacity = capacity;
}

void
WrvqAddResult(ScanResults *results, double distance, uint64 row)
{
	ScanResult result = {distance, row};
	int64	   at = results->count++;

	for (; at > 0 && comes_before(&result, &results->heap[(at - 1) / 2]); at = (at - 1) / 2)
		results->heap[at] = results->heap[(at - 1) / 2];
	results->heap[at] = result;
}

/* Takes the first one out. */
ScanResult
WrvqRemoveResult(ScanResults *results)
{
	ScanResult *heap = results->heap, first = heap[0], last = heap[--results->count];
	int64		at = 0;

	for (;;)
	{
		int64 child = 2 * at + 1;

		if (child + 1 < results->count && comes_before(&heap[child + 1], &heap[child]))
			child++;
		if (child >= results->count || !comes_before(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return first;
}
