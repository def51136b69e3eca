/* abi_memory.c: memory with an inaccessible page behind it. */
#define _DEFAULT_SOURCE
#include "abi_test.h"

#include <sys/mman.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(address, bytes)	((void) (address), (void) (bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void) (address), (void) (bytes))
#endif

#define REGIONS_MAX 512
#define SPOILED		0x7f /* enormous as floats, no number as halves */
#define UNTOUCHED	0xa5

typedef struct Region
{
	uint8_t *mapping;
	size_t	 usable; /* then comes the guard */
	size_t	 start;	 /* what was asked for is mapping[start .. start + bytes - 1] */
	size_t	 bytes;
} Region;

static Region regions[REGIONS_MAX];
static int	  region_count = 0;

/*
 * Memory full of bytes that a kernel must not expect anything of.  Where its
 * size is no multiple of the alignment, less than that lies between its end and
 * the guard: release_guarded() finds whoever has written there, or in front,
 * and AddressSanitizer whoever has read.
 */
void *
guarded(size_t bytes, size_t alignment)
{
	size_t	page = (size_t) sysconf(_SC_PAGESIZE);
	size_t	rounded = (bytes + alignment - 1) / alignment * alignment;
	size_t	usable = (rounded + page) / page * page;
	Region *region = &regions[region_count++];

	if (region_count > REGIONS_MAX)
		abort();
	region->mapping = mmap(NULL, usable + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (region->mapping == MAP_FAILED || mprotect(region->mapping + usable, page, PROT_NONE) != 0)
		abort();
	region->usable = usable;
	region->start = usable - rounded;
	region->bytes = bytes;
	memset(region->mapping, UNTOUCHED, usable);
	memset(region->mapping + region->start, SPOILED, bytes);
	ASAN_POISON_MEMORY_REGION(region->mapping, region->start);
	ASAN_POISON_MEMORY_REGION(region->mapping + region->start + bytes, rounded - bytes);
	return region->mapping + region->start;
}

void *
guarded_zeros(size_t bytes, size_t alignment)
{
	return memset(guarded(bytes, alignment), 0, bytes);
}

void *
guarded_copy(const void *source, size_t bytes, size_t alignment)
{
	return memcpy(guarded(bytes, alignment), source, bytes);
}

/* Unmaps all of it; true if nothing beside it was written to. */
bool
release_guarded(void)
{
	size_t page = (size_t) sysconf(_SC_PAGESIZE);
	bool   intact = true;

	while (region_count > 0)
	{
		Region *region = &regions[--region_count];

		ASAN_UNPOISON_MEMORY_REGION(region->mapping, region->usable);
		for (size_t i = 0; i < region->usable; i++)
			if ((i < region->start || i >= region->start + region->bytes) && region->mapping[i] != UNTOUCHED)
				intact = false;
		munmap(region->mapping, region->usable + page);
	}
	return intact;
}
