/*
 * wrvqshare.c: images of codebooks that backends share, so that a hundred
 * connections do not hold a hundred copies.  From PostgreSQL 17 on, where an
 * extension gets shared memory by name without being preloaded; before, every
 * backend has its own.
 *
 * An image lies in a dynamic shared memory segment of its own and never
 * changes.  A table of a fixed size says which there are, under one lock.  The
 * server keeps a segment that is in the table; one that was taken out of it
 * goes when the last backend that has attached it detaches.
 */
#include "wrvq.h"

#if PG_VERSION_NUM >= 170000

#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/dsm_registry.h"
#include "storage/lwlock.h"
#include "utils/memutils.h"

/* an image below this is not shared: a hundred backends hold 25 MB of such, and a segment is a limited resource */
#define SHARED_BYTES_MIN ((Size) 256 * 1024)

/* entries of the table; the bound of wrvq.codebook_cache is met long before with the images of large indexes */
#define SHARED_IMAGES_MAX 64

typedef struct SharedImage
{
	uint64	   build_id;
	uint64	   last_used;
	Size	   bytes; /* 0: the entry is free */
	dsm_handle handle;
} SharedImage;

typedef struct SharedImages
{
	int			tranche;
	LWLock		lock;
	uint64		clock;
	SharedImage images[SHARED_IMAGES_MAX];
} SharedImages;

static void
init_images(void *memory)
{
	SharedImages *images = memory;

	memset(images, 0, sizeof(SharedImages));
	images->tranche = LWLockNewTrancheId();
	LWLockInitialize(&images->lock, images->tranche);
}

/* The table, locked; NULL: this process is no backend of a running server. */
static SharedImages *
lock_images(void)
{
	static SharedImages *images = NULL;
	bool				 found;

	if (!IsUnderPostmaster)
		return NULL;
	if (images == NULL)
	{
		images = GetNamedDSMSegment("wrvq codebooks", sizeof(SharedImages), init_images, &found);
		LWLockRegisterTranche(images->tranche, "wrvq codebooks");
	}
	LWLockAcquire(&images->lock, LW_EXCLUSIVE);
	return images;
}

static SharedImage *
find_image(SharedImages *images, uint64 build_id)
{
	for (int i = 0; i < SHARED_IMAGES_MAX; i++)
		if (images->images[i].bytes > 0 && images->images[i].build_id == build_id)
			return &images->images[i];
	return NULL;
}

static void
forget(SharedImage *image)
{
	dsm_unpin_segment(image->handle);
	image->bytes = 0;
}

/* A free entry for so many bytes, all images together within the bound; the least recently used ones give way. */
static SharedImage *
make_room(SharedImages *images, Size bytes)
{
	for (;;)
	{
		SharedImage *oldest = NULL, *free = NULL;
		Size		 all = bytes;

		for (int i = 0; i < SHARED_IMAGES_MAX; i++)
		{
			SharedImage *image = &images->images[i];

			all += image->bytes;
			if (image->bytes == 0)
				free = image;
			else if (oldest == NULL || image->last_used < oldest->last_used)
				oldest = image;
		}
		if (oldest == NULL || (free != NULL && all <= (Size) wrvq_codebook_cache * 1024))
			return free;
		forget(oldest);
	}
}

static void
detach(void *segment)
{
	dsm_detach(segment);
}

/* The image in a segment, attached until the current memory context is deleted. */
static char *
keep_attached(dsm_segment *segment)
{
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	callback->func = detach;
	callback->arg = segment;
	dsm_pin_mapping(segment);
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	return dsm_segment_address(segment);
}

static char *
attach(SharedImages *images, SharedImage *image)
{
	dsm_segment *segment;

	/* a copy in a context that is still there: a segment is attached once */
	if (dsm_find_mapping(image->handle) != NULL)
		return NULL;
	segment = dsm_attach(image->handle);
	if (segment == NULL)
		return NULL;
	image->last_used = ++images->clock;
	return keep_attached(segment);
}

/*
 * The image of a build that a backend has shared, valid until the current
 * memory context is deleted; NULL: there is none.
 */
char *
WrvqSharedImage(uint64 build_id, Size bytes)
{
	SharedImages *images;
	SharedImage	 *image;
	char		 *address = NULL;

	if (bytes < SHARED_BYTES_MIN || wrvq_codebook_cache == 0 || (images = lock_images()) == NULL)
		return NULL;
	image = find_image(images, build_id);
	if (image != NULL && image->bytes == bytes)
		address = attach(images, image);
	LWLockRelease(&images->lock);
	return address;
}

/* Shares an image that was read from its pages and checked; the shared one, as WrvqSharedImage(), or NULL. */
char *
WrvqShareImage(uint64 build_id, const char *contents, Size bytes)
{
	SharedImages *images;
	SharedImage	 *image;
	dsm_segment	 *segment;
	char		 *address = NULL;

	if (bytes < SHARED_BYTES_MIN || wrvq_codebook_cache == 0 || !WrvqHasSharedMemory(bytes) ||
		(images = lock_images()) == NULL)
		return NULL;
	image = find_image(images, build_id);
	if (image != NULL)
		address = attach(images, image);
	else if ((image = make_room(images, bytes)) != NULL &&
			 (segment = dsm_create(bytes, DSM_CREATE_NULL_IF_MAXSEGMENTS)) != NULL)
	{
		memcpy(dsm_segment_address(segment), contents, bytes);
		address = keep_attached(segment);
		dsm_pin_segment(segment);
		*image = (SharedImage){build_id, ++images->clock, bytes, dsm_segment_handle(segment)};
	}
	LWLockRelease(&images->lock);
	return address;
}

/* Nobody will look for the image of this build any more; who has it may go on. */
void
WrvqUnshareImage(uint64 build_id)
{
	SharedImages *images = lock_images();
	SharedImage	 *image;

	if (images == NULL)
		return;
	image = find_image(images, build_id);
	if (image != NULL)
		forget(image);
	LWLockRelease(&images->lock);
}

#else

char *
WrvqSharedImage(uint64 build_id, Size bytes)
{
	return NULL;
}

char *
WrvqShareImage(uint64 build_id, const char *contents, Size bytes)
{
	return NULL;
}

void
WrvqUnshareImage(uint64 build_id)
{
}

#endif
