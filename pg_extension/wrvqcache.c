/* wrvqcache.c: codebooks that a backend keeps between statements. */
#include "wrvq.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/*
 * What is cached never changes under its key.  The least recently used
 * codebooks go when all together exceed wrvq.codebook_cache, and those of an
 * index that was rebuilt or dropped at the end of the transaction that learns
 * of it.
 */

typedef struct CacheKey
{
	uint64 id;
	uint64 kind; /* WrvqCacheKind, without padding */
} CacheKey;

typedef struct CacheEntry
{
	CacheKey	  key;
	Oid			  index;	  /* InvalidOid: of none */
	Oid			  file;		  /* the index's, when it was cached */
	bool		  is_suspect; /* the index has changed somehow */
	bool		  is_stale;	  /* nobody will look for it */
	uint64		  last_used;
	int			  pins; /* memory contexts that may point into it */
	MemoryContext context;
	Size		  bytes;
	void		 *value;
} CacheEntry;

static HTAB	 *cache = NULL;
static uint64 cache_clock = 0;
static Size	  cache_bytes = 0;
static bool	  has_suspects = false;

static void
remove_entry(CacheEntry *entry)
{
	MemoryContext context = entry->context;

	Assert(entry->pins == 0);
	cache_bytes -= entry->bytes;
	hash_search(cache, &entry->key, HASH_REMOVE, NULL);
	MemoryContextDelete(context);
}

/* The one that goes next; the last one used stays, however large, unless nothing is to be kept. */
static CacheEntry *
least_recently_used(void)
{
	HASH_SEQ_STATUS status;
	CacheEntry	   *entry, *oldest = NULL;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (entry->pins == 0 && (entry->last_used != cache_clock || wrvq_codebook_cache == 0) &&
			(oldest == NULL || entry->last_used < oldest->last_used))
			oldest = entry;
	return oldest;
}

static void
evict(void)
{
	while (cache_bytes > (Size) wrvq_codebook_cache * 1024)
	{
		CacheEntry *oldest = least_recently_used();

		if (oldest == NULL)
			return;
		remove_entry(oldest);
	}
}

static void
unpin(void *argument)
{
	CacheEntry *entry = hash_search(cache, argument, HASH_FIND, NULL);
	Size		bytes;

	if (entry == NULL || --entry->pins > 0)
		return;
	/* its encoder for single rows may have come */
	bytes = MemoryContextMemAllocated(entry->context, true);
	cache_bytes += bytes - entry->bytes;
	entry->bytes = bytes;
	if (entry->is_stale)
		remove_entry(entry);
	else
		evict();
}

/* Something about a relation has changed, or about any: which, the catalog will tell. */
static void
suspect(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS status;
	CacheEntry	   *entry;

	hash_seq_init(&status, cache);
	while ((entry = hash_seq_search(&status)) != NULL)
		if (OidIsValid(entry->index) && (relation == InvalidOid || relation == entry->index))
			entry->is_suspect = has_suspects = true;
}

/* Is the index still the one that the codebook was read from? */
static bool
is_of_index(const CacheEntry *entry)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(entry->index));
	bool	  is_same;

	if (!HeapTupleIsValid(tuple))
		return false;
	is_same = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode == entry->file;
	ReleaseSysCache(tuple);
	return is_same;
}

/* Gives back the codebooks of indexes that were rebuilt or dropped; those in use go when they are not any more. */
static void
drop_stale(XactEvent event, void *argument)
{
	CacheKey keys[16];
	int		 count;

	if (event != XACT_EVENT_PRE_COMMIT || !has_suspects)
		return;
	do
	{
		HASH_SEQ_STATUS status;
		CacheEntry	   *entry;

		/* a look at the catalog may make others suspect: no walk through the table is open meanwhile */
		has_suspects = false;
		count = 0;
		hash_seq_init(&status, cache);
		while ((entry = hash_seq_search(&status)) != NULL)
			if (entry->is_suspect && count < lengthof(keys))
			{
				entry->is_suspect = false;
				keys[count++] = entry->key;
			}
		for (int i = 0; i < count; i++)
		{
			bool is_stale;

			entry = hash_search(cache, &keys[i], HASH_FIND, NULL);
			if (entry == NULL)
				continue;
			is_stale = !is_of_index(entry);
			if (is_stale && entry->key.kind == WRVQ_CACHED_CODEBOOK)
				WrvqUnshareImage(entry->key.id);
			if (is_stale && entry->pins == 0)
				remove_entry(entry);
			else
				entry->is_stale = is_stale;
		}
	} while (count == lengthof(keys));
}

static void
create_cache(void)
{
	HASHCTL control = {.keysize = sizeof(CacheKey), .entrysize = sizeof(CacheEntry), .hcxt = CacheMemoryContext};

	cache = hash_create("wrvq codebooks", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(suspect, (Datum) 0);
	RegisterXactCallback(drop_stale, NULL);
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

/*
 * Caches a value that lies in the context, which becomes the cache's; it is
 * then as one that was found.  index: whose it is, or NULL.
 */
void *
WrvqCache(WrvqCacheKind kind, uint64 id, Relation index, void *value, MemoryContext context)
{
	CacheKey	key = {id, kind};
	CacheEntry *entry;
	bool		found;

	if (cache == NULL)
		create_cache();
	entry = hash_search(cache, &key, HASH_ENTER, &found);
	Assert(!found);
	MemoryContextSetParent(context, CacheMemoryContext);
	entry->index = index == NULL ? InvalidOid : RelationGetRelid(index);
	entry->file = index == NULL ? InvalidOid : WrvqFileNumber(index);
	entry->is_suspect = entry->is_stale = false;
	entry->value = value;
	entry->context = context;
	entry->pins = 0;
	entry->bytes = MemoryContextMemAllocated(context, true);
	cache_bytes += entry->bytes;
	pin(entry);
	evict();
	return value;
}
