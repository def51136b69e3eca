/* wrvqcache.c: codebooks that a backend keeps between statements. */
#include "wrvq.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

/*
 * What is cached never changes under its key, so nothing is ever invalidated.
 * The least recently used codebooks go when all together exceed this.
 */
#define CACHE_BYTES_MAX ((Size) 256 * 1024 * 1024)

typedef struct CacheKey
{
	uint64 id;
	uint64 kind; /* WrvqCacheKind, without padding */
} CacheKey;

typedef struct CacheEntry
{
	CacheKey	  key;
	uint64		  last_used;
	int			  pins; /* memory contexts that may point into it */
	MemoryContext context;
	Size		  bytes;
	void		 *value;
} CacheEntry;

static HTAB	 *cache = NULL;
static uint64 cache_clock = 0;
static Size	  cache_bytes = 0;

static void
evict(void)
{
	while (cache_bytes > CACHE_BYTES_MAX)
	{
		HASH_SEQ_STATUS status;
		CacheEntry	   *entry, *oldest = NULL;

		hash_seq_init(&status, cache);
		while ((entry = hash_seq_search(&status)) != NULL)
			if (entry->pins == 0 && (oldest == NULL || entry->last_used < oldest->last_used))
				oldest = entry;
		if (oldest == NULL)
			return;
		cache_bytes -= oldest->bytes;
		MemoryContextDelete(oldest->context);
		hash_search(cache, &oldest->key, HASH_REMOVE, NULL);
	}
}

static void
unpin(void *argument)
{
	CacheEntry *entry = hash_search(cache, argument, HASH_FIND, NULL);

	if (entry != NULL)
		entry->pins--;
}

/* Keeps the value until the current memory context is reset, which an error does too. */
static void *
pin(CacheEntry *entry)
{
	struct
	{
		MemoryContextCallback callback;
		CacheKey			  key;
	} *reset = palloc(sizeof(*reset));

	reset->key = entry->key;
	reset->callback.func = unpin;
	reset->callback.arg = &reset->key;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &reset->callback);
	entry->pins++;
	entry->last_used = ++cache_clock;
	return entry->value;
}

/* What is cached under the key, valid until the current memory context is reset; NULL if nothing is. */
void *
WrvqFindCached(WrvqCacheKind kind, uint64 id)
{
	CacheKey	key = {id, kind};
	CacheEntry *entry = cache == NULL ? NULL : hash_search(cache, &key, HASH_FIND, NULL);

	return entry == NULL ? NULL : pin(entry);
}

/* Caches a value that lies in the context, which becomes the cache's; it is then as one that was found. */
void *
WrvqCache(WrvqCacheKind kind, uint64 id, void *value, MemoryContext context)
{
	CacheKey	key = {id, kind};
	CacheEntry *entry;
	bool		found;

	if (cache == NULL)
	{
		HASHCTL control = {.keysize = sizeof(CacheKey), .entrysize = sizeof(CacheEntry), .hcxt = CacheMemoryContext};

		cache = hash_create("wrvq codebooks", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(cache, &key, HASH_ENTER, &found);
	Assert(!found);
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->value = value;
	entry->context = context;
	entry->pins = 0;
	entry->bytes = MemoryContextMemAllocated(context, true);
	cache_bytes += entry->bytes;
	pin(entry);
	evict();
	return value;
}
