/* wrvqcheck.h: what the files of wrvq_check() share. */
#ifndef WRVQ_CHECK_H
#define WRVQ_CHECK_H

#include "wrvq.h"

#include "utils/snapshot.h"

/* what is known of a page or a slot */
#define IS_USED	   1
#define IS_REACHED 2

typedef struct CheckState
{
	Relation		   index;
	Relation		   heap;
	const WrvqSupport *support;
	Snapshot		   snapshot;
	WrvqMetaData	   meta;
	WrvqCodebook	  *codebook; /* NULL: untrained */
	BlockNumber		   blocks;
	BlockNumber		   heap_blocks;
	uint8			  *pages; /* [blocks] used: a pending page; reached: by what the metapage says */
	uint8			  *slots; /* [blocks][slots_per_page] */
	uint8			  *entry; /* scratch */

	/* a key for each live entry: row identifier and fingerprint, sorted after the lists were read */
	uint64 *keys;
	int64	key_count;
	int64	entry_count;
	int64	key_capacity;
	uint64 *pending; /* [pending_count] row identifiers, sorted likewise */
	int64	pending_count;
	int64	pending_capacity;

	/* what a crash may leave */
	int64 orphan_slots;
	int64 orphan_pages;
	int64 repeated_rows;

	/* rows encoded anew */
	MemoryContext row_context;
	WrvqEncoder	 *encoder;
	int64		  listed; /* rows of the table that were found in lists */
	int64		  sampled;
	int64		  different;
	uint64		  first_different;
} CheckState;

/* ---------- wrvqcheck.c ---------- */

extern uint64 WrvqCheckEntryKey(const WrvqCodebook *codebook, uint64 row, uint32 list, const uint8 *entry);

/* ---------- wrvqcheckrows.c ---------- */

extern void WrvqCheckAddNumber(uint64 **numbers, int64 *count, int64 *capacity, uint64 number);
extern void WrvqCheckListedRows(CheckState *state);
extern void WrvqCheckPendingRows(CheckState *state);
extern void WrvqCheckTable(CheckState *state);

#endif
