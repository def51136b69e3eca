/*
 * wrvq.h: on-disk structures, constants and prototypes, grouped by file.
 *
 * README.md beside this file is the design: page formats, lock order, WAL and
 * the pseudocode of every operation.
 */
#ifndef WRVQ_H
#define WRVQ_H

#include "postgres.h"

#include "access/amapi.h"
#include "access/generic_xlog.h"
#include "access/genam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "fmgr.h"
#include "nodes/execnodes.h"
#include "port/atomics.h"
#include "storage/bufmgr.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

#include "wrvqcompat.h"
#include "wrvq_codes.h"
#include "wrvq_kernels.h"
#include "wrvq_training.h"

#define WRVQ_VERSION "1.0"

/* ---------- memory ---------- */

/* Makes an array so many bytes long; NULL: a new one, in the current memory context. */
static inline void *
WrvqResize(void *array, Size bytes)
{
	return array == NULL ? palloc_extended(bytes, MCXT_ALLOC_HUGE) : repalloc_huge(array, bytes);
}

/* ---------- pages ---------- */

#define WRVQ_MAGIC			0x51565257 /* "WRVQ" */
#define WRVQ_FORMAT_VERSION 2
#define WRVQ_META_BLOCK		0

/* at the end of every page; for the convenience of pg_filedump and the like */
#define WRVQ_PAGE_ID 0xFF97

typedef enum WrvqPageKind
{
	WRVQ_PAGE_META = 1,
	WRVQ_PAGE_CODEBOOK = 2,	 /* a stretch of the codebook's image */
	WRVQ_PAGE_DIRECTORY = 3, /* WrvqListEntry array */
	WRVQ_PAGE_POSTING = 4,	 /* slots, each a block of 32 entries */
	WRVQ_PAGE_PENDING = 5	 /* row identifiers that are not encoded yet */
} WrvqPageKind;

typedef struct WrvqPageOpaque
{
	BlockNumber next;  /* pending pages: the chain */
	uint32		stamp; /* last stamp given to a slot of this page; never goes back */
	uint16		kind;  /* WrvqPageKind */
	uint16		count; /* directory: lists; pending: row identifiers; posting: slots in use */
	uint16		unused;
	uint16		page_id; /* WRVQ_PAGE_ID */
} WrvqPageOpaque;

#define WrvqPageGetOpaque(page) ((WrvqPageOpaque *) PageGetSpecialPointer(page))
#define WRVQ_PAGE_BYTES			(BLCKSZ - SizeOfPageHeaderData - MAXALIGN(sizeof(WrvqPageOpaque)))

/* What a recall takes, as measured. */
typedef struct WrvqCurvePoint
{
	float  share; /* of all likelihood that the lists visited have (query_probes) */
	float  lists; /* mean number of them */
	uint32 depth; /* candidates to rerank, for 10 neighbours */
} WrvqCurvePoint;

#define WRVQ_CURVE_POINTS 12

typedef struct WrvqMetaData
{
	uint32		   magic;
	uint32		   format_version;
	uint32		   is_trained; /* there are a codebook and a directory */
	uint32		   metric;	   /* wrvq_metric; fixed from the start */
	uint64		   build_id;   /* random: tells backends that cached codebooks are stale */
	uint32		   dimensions; /* 0 until the first row */
	uint32		   list_count;
	BlockNumber	   codebook_start;
	BlockNumber	   directory_start;
	uint32		   image_crc;	/* CRC-32C of the codebook's image */
	float		   temperature; /* of the lists' likelihoods (query_probes) */
	uint64		   image_bytes;
	double		   loss;			 /* mean squared residual of the rows at build, in scaled units */
	double		   build_entries;	 /* that the build wrote; 0: rows came later */
	double		   entries;			 /* in lists, when they were last counted: by a build, a training, VACUUM */
	double		   measured_entries; /* there were as many when the curve was measured */
	BlockNumber	   pending_head;	 /* InvalidBlockNumber: none */
	BlockNumber	   pending_tail;
	uint64		   pending_count; /* rows ever added to the chain */
	uint32		   spill;		  /* lists a row is in: 1 or 2 */
	uint32		   measured;	  /* queries that the curve was measured with; 0: no curve */
	WrvqCurvePoint curve[WRVQ_CURVE_POINTS];
	uint8		   codebook_sha256[32]; /* of the stored codebook; zero if trained by the index */
	wrvq_shape	   shape;
	uint32		   is_empty; /* trained, but no row was there: the next one may have other dimensions */
} WrvqMetaData;

#define WrvqPageGetMeta(page) ((WrvqMetaData *) PageGetContents(page))

/* Where a block of entries is; the stamp tells whether it is still the same one. */
typedef struct WrvqSlotPointer
{
	BlockNumber block; /* InvalidBlockNumber: none */
	uint32		stamp;
	uint32		slot;
} WrvqSlotPointer;

typedef struct WrvqListEntry
{
	WrvqSlotPointer head;
	WrvqSlotPointer tail;
} WrvqListEntry;

#define WRVQ_LISTS_PER_PAGE (WRVQ_PAGE_BYTES / sizeof(WrvqListEntry))

/* A slot of a posting page: this header, then a block of 32 entries (wrvq_layout). */
typedef struct WrvqSlotHeader
{
	uint32			list; /* WRVQ_LIST_FREE: nobody's */
	uint32			stamp;
	WrvqSlotPointer next;
	uint16			count;		 /* entries in use, dead ones included */
	uint8			sublist_min; /* of the entries */
	uint8			sublist_max;
} WrvqSlotHeader;

#define WRVQ_LIST_FREE 0xFFFFFFFF

/* Where a chain of slots or pages has led (WrvqFollowChain). */
typedef struct WrvqChain
{
	int64		steps;
	int64		remember_at;
	BlockNumber block; /* a place passed */
	uint32		slot;
} WrvqChain;

StaticAssertDecl(sizeof(WrvqPageOpaque) == 16, "page opaque is disk format");
StaticAssertDecl(sizeof(WrvqSlotHeader) == 24, "slot header is disk format");
StaticAssertDecl(sizeof(WrvqListEntry) == 24, "list entry is disk format");
StaticAssertDecl(sizeof(WrvqMetaData) <= WRVQ_PAGE_BYTES, "metadata fits its page");
StaticAssertDecl(sizeof(WrvqSlotHeader) + WRVQ_BLOCK_ENTRIES * WRVQ_ENTRY_BYTES_MAX <= WRVQ_PAGE_BYTES,
				 "the largest block fits a page");

#define WRVQ_PENDING_PER_PAGE (WRVQ_PAGE_BYTES / sizeof(ItemPointerData))

/* rows from which an index trains itself: at build and VACUUM, and where INSERT sees to it */
#define WRVQ_TRAIN_ROWS		   1000
#define WRVQ_TRAIN_ROWS_INSERT 10000

/* rows encoded in one call */
#define WRVQ_BATCH_ROWS 128

/* ---------- options ---------- */

typedef struct WrvqOptions
{
	int32 vl_len_;		/* varlena header (do not touch directly!) */
	int	  lists;		/* 0: by the number of rows */
	int	  fuzzy_levels; /* -1: by size */
	int	  spill;		/* lists a row is in */
	int	  codebook_offset;
	int	  m, ef_construction; /* HNSW's: 0 or without effect */
} WrvqOptions;

#define WrvqGetOptions(index) ((WrvqOptions *) (index)->rd_options)

/* ---------- in memory ---------- */

/* A codebook as a backend keeps it. */
typedef struct WrvqCodebook
{
	uint64		  build_id;
	wrvq_codebook view; /* points into image */
	wrvq_layout	  layout;
	Size		  slot_bytes;
	int			  slots_per_page;
	char		 *image;
	/* what INSERT encodes with; once there, it stays as long as the codebook */
	struct WrvqEncoder *row_encoder;
} WrvqCodebook;

/* What an operator of an operator class is for. */
#define WRVQ_ORDER_STRATEGY	 1 /* orders by distance */
#define WRVQ_SPHERE_STRATEGY 2 /* is a vector in a sphere? */

/* What support function 1 of an operator class returns. */
typedef struct WrvqSupport
{
	wrvq_metric metric;
	/* Borrows or makes the floats of a datum in the current memory context; checks all but finiteness. */
	const float *(*vector)(Datum datum, int *dimensions);
	/* The operator's own value, to the tolerance; NULL for types of other extensions, whose operator is called. */
	double (*distance)(const float *a, const float *b, int dimensions);
	double tolerance; /* relative; the operator is called where rows must come in the order of its values */
	/* The other way: a datum as queries are, in the current memory context. */
	Datum (*datum)(const float *vector, int dimensions);
	/* The type of queries, the operator's right operand; InvalidOid: that of the values. */
	Oid query_type;
	/* The stored codebook that a datum is a code of, as WrvqCoderOf() knows it; NULL: data are no codes. */
	uint64 (*codebook)(Datum datum);
} WrvqSupport;

/* ---------- wrvq.c ---------- */

extern wrvq_kernels			 wrvq_kernel;
extern wrvq_code_kernels	 wrvq_code_kernel;
extern wrvq_training_kernels wrvq_training;
extern volatile sig_atomic_t wrvq_in_swift;

/* Runs a statement that calls a kernel: a trap in it becomes an ERROR (see README.md). */
#define SWIFT(statement)   \
	do                     \
	{                      \
		wrvq_in_swift = 1; \
		statement;         \
		wrvq_in_swift = 0; \
	} while (0)

/* wrvq.iterative_scan: what a scan does when more rows are wanted, and with a row that is found after a farther one was returned */
typedef enum WrvqIterativeScan
{
	WRVQ_SCAN_OFF,	  /* ends */
	WRVQ_SCAN_STRICT, /* goes on, drops it */
	WRVQ_SCAN_RELAXED /* goes on, returns it at once */
} WrvqIterativeScan;

extern double wrvq_target_recall;
extern int	  wrvq_probes;
extern int	  wrvq_rerank;
extern int	  wrvq_max_scan_tuples;
extern int	  wrvq_codebook_cache;
extern int	  wrvq_iterative_scan; /* a WrvqIterativeScan */

extern const char *WrvqCodebookOption(Relation index);

/* Phases of a build, for pg_stat_progress_create_index; the first one is the server's. */
typedef enum WrvqPhase
{
	WRVQ_PHASE_SAMPLE = 2,
	WRVQ_PHASE_TRAIN,
	WRVQ_PHASE_ENCODE,
	WRVQ_PHASE_SORT,
	WRVQ_PHASE_WRITE,
	WRVQ_PHASE_MEASURE
} WrvqPhase;

extern void WrvqBeginPhase(WrvqPhase phase, int64 tuples);

/* ---------- wrvqalter.c ---------- */

extern void WrvqWatchOptions(void);

/* ---------- wrvqvector.c ---------- */

extern const WrvqSupport *WrvqIndexSupport(Relation index);
extern void				  WrvqIndexOperator(Relation index, FmgrInfo *function);
extern Oid				  WrvqOrderOperator(Oid family, Oid type, const WrvqSupport *support);
extern const float		 *WrvqReadQuery(const WrvqSupport *support, Datum datum, int *dimensions);
extern const float		 *WrvqRealArray(Datum datum, int *dimensions);
extern Datum			  WrvqRealDatum(const float *vector, int dimensions);
extern double			  WrvqL2Distance(const float *a, const float *b, int dimensions);
extern double			  WrvqNegativeInnerProduct(const float *a, const float *b, int dimensions);
extern double			  WrvqCosineDistance(const float *a, const float *b, int dimensions);
extern void				  WrvqCheckFinite(const float *vector, int dimensions);
extern void				  WrvqCheckDimensions(int expected, int dimensions);
extern bool				  WrvqIsIndexable(const WrvqSupport *support, const float *vector, int dimensions);

/* ---------- wrvqsphere.c ---------- */

/* A value of SQL type wrvq_sphere. */
typedef struct WrvqSphere
{
	const float *center; /* borrowed from the value, or made */
	int			 dimensions;
	double		 radius; /* never NaN */
} WrvqSphere;

extern bool WrvqReadSphere(Datum datum, WrvqSphere *sphere);

/* ---------- wrvqrange.c ---------- */

/* What confines a scan. */
typedef struct WrvqRange
{
	bool		 is_empty;		 /* NULL: compares as unknown with every row */
	bool		 is_one_of_many; /* there are other spheres, which are not looked at */
	Datum		 center_value;	 /* of the indexed type */
	const float *center;		 /* [dimensions] */
	int			 dimensions;
	double		 radius;
} WrvqRange;

extern WrvqRange *WrvqReadRange(IndexScanDesc scan, const WrvqSupport *support, const WrvqMetaData *meta);
extern bool		  WrvqIsCenter(const WrvqRange *range, const float *vector, int dimensions);
extern double	  WrvqExpectedDeviation(const WrvqMetaData *meta, const wrvq_query *query);
extern double	  WrvqRangeBound(const WrvqRange *range, const WrvqMetaData *meta, const wrvq_query *query, double mean,
								 double deviation);
extern int64	  wrvqgetbitmap(IndexScanDesc scan, TIDBitmap *bitmap);

/* ---------- wrvqpage.c ---------- */

extern void			   WrvqInitPage(Page page, WrvqPageKind kind);
extern Buffer		   WrvqReadPage(Relation index, BlockNumber block, WrvqPageKind kind, int lock);
extern void			   WrvqCheckBlock(Relation index, BlockNumber block);
extern WrvqPageKind	   WrvqKindOfPage(Relation index, Buffer buffer);
extern void			   WrvqCheckPage(Relation index, Buffer buffer, WrvqPageKind kind);
extern Buffer		   WrvqExtend(Relation index);
extern void			   WrvqReadMeta(Relation index, WrvqMetaData *meta);
extern void			   WrvqCheckMeta(Relation index, const WrvqMetaData *meta);
extern void			   WrvqInitMeta(Relation index, ForkNumber fork);
extern WrvqSlotHeader *WrvqGetSlot(const WrvqCodebook *codebook, Page page, int slot);
extern bool			   WrvqSlotIs(const WrvqCodebook *codebook, Page page, WrvqSlotPointer pointer, uint32 list);
extern void			   WrvqInitPostingPage(const WrvqCodebook *codebook, Page page, uint32 stamp);
extern int			   WrvqFreeSlot(const WrvqCodebook *codebook, Page page);
extern Buffer		   WrvqLockFreePage(Relation index, const WrvqCodebook *codebook, bool *is_new);
extern WrvqSlotPointer WrvqUseSlot(const WrvqCodebook *codebook, Page page, BlockNumber block, int slot, uint32 list);
extern void			   WrvqPutEntry(const WrvqCodebook *codebook, WrvqSlotHeader *slot, uint32 sublist, ItemPointer tid,
									const uint8 *entry);
extern void			   WrvqFollowChain(Relation index, WrvqChain *chain, BlockNumber block, uint32 slot);
extern Buffer		   WrvqReadTail(Relation index, const WrvqCodebook *codebook, uint32 list, WrvqSlotPointer tail);
extern WrvqListEntry  *WrvqDirectoryEntry(Page page, uint32 list);
extern BlockNumber	   WrvqDirectoryBlock(const WrvqMetaData *meta, uint32 list);
extern void			   WrvqReadListEntry(Relation index, const WrvqMetaData *meta, uint32 list, WrvqListEntry *entry);
extern uint64		   WrvqRowFromTid(ItemPointer tid);
extern void			   WrvqTidFromRow(uint64 row, ItemPointer tid);
#define WrvqBlockFromRow(row)  ((BlockNumber) ((row) >> 16))
#define WrvqOffsetFromRow(row) ((OffsetNumber) (row))
extern void WrvqCorrupted(Relation index, BlockNumber block, const char *what) __attribute__((noreturn));

/* ---------- wrvqcodebook.c ---------- */

extern int			 WrvqSublistCount(const wrvq_shape *shape);
extern WrvqCodebook *WrvqGetCodebook(Relation index, const WrvqMetaData *meta);
extern WrvqCodebook *WrvqReadCodebook(Relation index, const WrvqMetaData *meta);
extern WrvqCodebook *WrvqBindCodebook(const wrvq_shape *shape, char *image);
extern WrvqCodebook *WrvqNewCodebook(const wrvq_shape *shape);
extern void			 WrvqStoreCodebook(Relation index, WrvqMetaData *meta, const WrvqCodebook *codebook);

/* ---------- wrvqcache.c ---------- */

typedef enum WrvqCacheKind
{
	WRVQ_CACHED_CODEBOOK, /* WrvqCodebook by build_id */
	WRVQ_CACHED_CODER	  /* WrvqCoder by identity */
} WrvqCacheKind;

extern void *WrvqFindCached(WrvqCacheKind kind, uint64 id);
extern void *WrvqCache(WrvqCacheKind kind, uint64 id, Relation index, void *value, MemoryContext context);

/* ---------- wrvqshare.c ---------- */

extern char *WrvqSharedImage(uint64 build_id, Size bytes);
extern char *WrvqShareImage(uint64 build_id, const char *contents, Size bytes);
extern void	 WrvqUnshareImage(uint64 build_id);

/* ---------- wrvqcatalog.c ---------- */

/* Values know their codebook by the beginning of its SHA-256, so many bytes. */
#define WRVQ_IDENTITY_BYTES ((int) sizeof(uint64) - 1)

/* What a level's bytes are. */
typedef enum WrvqStoredPart
{
	WRVQ_STORED_CODEWORDS,
	WRVQ_STORED_TRANSFORM,
	WRVQ_STORED_WEIGHTS,
	WRVQ_STORED_PARTS
} WrvqStoredPart;

/* A stored codebook as it was read. */
typedef struct WrvqStoredCodebook
{
	const char		*name;
	int				 dimensions;
	int				 metric; /* wrvq_metric */
	float			 scale;
	const char		*scale_text; /* in decimal, as stored */
	uint8			 sha256[32];
	int				 level_count;
	wrvq_level_shape levels[WRVQ_LEVELS_MAX];
	int32			 transform_blocks[WRVQ_LEVELS_MAX];
	bytea			*parts[WRVQ_LEVELS_MAX][WRVQ_STORED_PARTS]; /* NULL: none */
} WrvqStoredCodebook;

extern void		   WrvqBeginReading(void);
extern void		   WrvqEndReading(void);
extern bool		   WrvqReadStored(const char *name, WrvqStoredCodebook *stored);
extern bool		   WrvqReadStoredLevels(WrvqStoredCodebook *stored);
extern bool		   WrvqReadStoredOf(uint64 identity, WrvqStoredCodebook *stored);
extern float	  *WrvqStoredCodewords(const WrvqStoredCodebook *stored, int level);
extern float	  *WrvqStoredTransform(const WrvqStoredCodebook *stored, int level);
extern float	  *WrvqStoredWeights(const WrvqStoredCodebook *stored, int level);
extern const char *WrvqMetricName(wrvq_metric metric);
extern const char *WrvqWeightName(int weight_rule);
extern void		   WrvqCannotUseCodebook(const char *name, const char *detail) __attribute__((noreturn));
extern void		   WrvqReportAlike(const char *name, const char *other) __attribute__((noreturn));

/* ---------- wrvqidentity.c ---------- */

extern bool WrvqIsWhatItsHashSays(const WrvqStoredCodebook *stored);

/* ---------- wrvqadopt.c ---------- */

extern WrvqCodebook *WrvqLoadCodebook(Relation index, int dimensions, uint8 *sha256);
extern WrvqCodebook *WrvqAdoptCodebook(Relation index, uint64 identity, double rows, uint8 *sha256);
extern void			 WrvqReportNoCodebook(Relation index, int elevel);

/* ---------- wrvqkept.c ---------- */

extern WrvqCodebook *WrvqKeptCodebook(Relation heap, Relation index, uint8 *sha256);

/* ---------- wrvqcoder.c ---------- */

/* A stored codebook as values of type wrvq_code want it. */
typedef struct WrvqCoder
{
	uint64	   identity; /* the first 8 bytes of its values */
	uint8	   sha256[32];
	char	  *name;
	wrvq_coder view;
	Size	   scratch_bytes; /* to encode or decode a value */
} WrvqCoder;

extern const WrvqCoder *WrvqCoderNamed(const char *name);
extern const WrvqCoder *WrvqCoderOf(uint64 identity);
extern bool				WrvqHasCoder(uint64 identity);
extern void			   *WrvqAllocateAligned(MemoryContext context, Size bytes);

/* ---------- wrvqcode.c ---------- */

/* The first byte of a value; the others of its identity are the first ones of the codebook's SHA-256. */
#define WRVQ_CODE_FORMAT 1

/* A value of type wrvq_code, borrowed from a datum: the codebook's identity, then what wrvq_codes.h says. */
typedef struct WrvqCodeValue
{
	uint64		 identity;
	const uint8 *code; /* not aligned */
	Size		 code_bytes;
} WrvqCodeValue;

extern WrvqCodeValue WrvqReadCode(Datum datum);
extern void			 WrvqCheckCode(const WrvqCoder *coder, const WrvqCodeValue *value);
extern void			 WrvqBadCode(const WrvqCoder *coder) __attribute__((noreturn));
extern float		*WrvqDecode(const WrvqCoder *coder, const WrvqCodeValue *value, int levels, void *scratch);

/* ---------- wrvqmemory.c ---------- */

extern int	 WrvqWorkersThatFit(const wrvq_shape *shape, int queries, int wanted);
extern bool	 WrvqTrainingFits(const wrvq_shape *shape, int64 training_bytes, int queries);
extern int	 WrvqSortKilobytes(const wrvq_shape *shape, int queries, int workers);
extern int	 WrvqQueriesThatFit(int dimensions, int64 wanted);
extern int64 WrvqHeldOutRows(int dimensions, int64 rows);
extern int64 WrvqSampleThatFits(const wrvq_shape *shape, int64 wanted);
extern int	 WrvqListsThatFit(const wrvq_shape *shape, int wanted);
extern bool	 WrvqListsFit(const wrvq_shape *shape, int lists);
extern void	 WrvqCheckListsFit(Relation index, const wrvq_shape *shape, int lists);

/* ---------- wrvqtrain.c ---------- */

typedef struct WrvqWorkers WrvqWorkers;

extern WrvqCodebook *WrvqPlanCodebook(Relation index, const float *sample, int64 rows, int dimensions,
									  double total_rows, bool may_refuse);
extern void			 WrvqTrain(WrvqCodebook *codebook, float *sample, int64 rows, WrvqWorkers *workers);
extern Size			 WrvqTrainingBytes(const WrvqCodebook *codebook, int64 rows);
extern int64		 WrvqSampleRows(Relation index, int dimensions, double total_rows);

/* ---------- wrvqsample.c ---------- */

/* Rows drawn from a table, at random in order of position. */
typedef struct WrvqSample
{
	int64	capacity;
	int64	rows;
	int		dimensions; /* 0 until the first row */
	float  *vectors;	/* [rows][d] */
	uint64 *row_ids;	/* [rows] where they are in the table */
	double	total_rows; /* estimate: indexable rows of the table */
	uint64	codebook;	/* of the first row, where rows are codes; else 0 */
} WrvqSample;

extern WrvqSample *WrvqSampleTable(Relation heap, Relation index, IndexInfo *info, int64 wanted);

/* ---------- wrvqqueries.c ---------- */

extern WrvqSample *WrvqSampleQueries(Relation heap, Relation index, IndexInfo *info, Snapshot snapshot, int64 wanted);

/* ---------- wrvqbuild.c ---------- */

extern IndexBuildResult *wrvqbuild(Relation heap, Relation index, IndexInfo *info);
extern void				 wrvqbuildempty(Relation index);

/* ---------- wrvqwriter.c ---------- */

typedef struct WrvqWriter WrvqWriter;

extern WrvqWriter *WrvqBeginWriter(Relation index, const WrvqCodebook *codebook);
extern void		   WrvqWriteEntry(WrvqWriter *writer, uint32 list, uint32 sublist, ItemPointer tid, const uint8 *entry);
extern void		   WrvqEndWriter(WrvqWriter *writer);
extern void		   WrvqWriteDirectory(Relation index, WrvqMetaData *meta);
extern void		   WrvqFillDirectory(Relation index, const WrvqMetaData *meta, const WrvqListEntry *entries);
extern const WrvqListEntry *WrvqWrittenLists(const WrvqWriter *writer);
extern void					WrvqWriteMeta(Relation index, const WrvqMetaData *meta);

/* ---------- wrvqencode.c ---------- */

/* A batch of vectors on their way to entries. */
typedef struct WrvqEncoder
{
	const WrvqCodebook *codebook;
	int					spill;	  /* entries a row */
	int					capacity; /* rows */
	int					count;
	float			   *vectors; /* [capacity][d] */
	float			   *prepared;
	char			   *scratch;
	uint32			   *second_lists; /* [capacity] */
	wrvq_encoded	   *encoded;	  /* [spill][capacity]: row i of count has entries i and count + i */
	uint8			   *entries;	  /* [spill][capacity][entry_bytes] */
	ItemPointerData	   *tids;		  /* [capacity] */
} WrvqEncoder;

extern WrvqEncoder *WrvqBeginEncoder(const WrvqCodebook *codebook, int spill, int capacity);
extern WrvqEncoder *WrvqRowEncoder(WrvqCodebook *codebook, int spill);
extern int			WrvqSpill(Relation index, const WrvqCodebook *codebook);
extern void			WrvqAddVector(WrvqEncoder *encoder, const float *vector, ItemPointer tid);
extern void			WrvqEncode(WrvqEncoder *encoder);

/* ---------- wrvqcalibrate.c ---------- */

/* queries that a build measures itself with: their recall at .9 has a standard error of half a point */
#define WRVQ_CALIBRATION_QUERIES 1024

typedef struct WrvqCalibration WrvqCalibration;

extern WrvqCalibration *WrvqNewCalibration(WrvqSample *sample, bool hold_out);
extern void				WrvqBeginCalibration(WrvqCalibration *calibration, const WrvqCodebook *codebook);
extern void				WrvqShareCalibration(const WrvqCalibration *calibration, void *state);
extern WrvqCalibration *WrvqPartOfCalibration(const WrvqCodebook *codebook, int queries, void *state, float *nearness);
extern void				WrvqMergeCalibration(WrvqCalibration *calibration, void *state);
extern int				WrvqCalibrationQueries(const WrvqCalibration *calibration);
extern void				WrvqCalibrate(WrvqCalibration *calibration, const WrvqEncoder *encoder);
extern void				WrvqEndCalibration(WrvqCalibration *calibration, Relation index, WrvqMetaData *meta);

/* ---------- wrvqrecalibrate.c ---------- */

extern void WrvqFollowTable(Relation heap, Relation index, double rows);

/* ---------- wrvqtarget.c ---------- */

extern const double wrvq_curve_recalls[WRVQ_CURVE_POINTS];

/* candidates reranked at least: a LIMIT of 10 is served by one round */
#define WRVQ_DEPTH_MIN 20

/* more than any index has, and still some to multiply by */
#define WRVQ_ALL_CANDIDATES (INT64_MAX / 64)

extern void	  WrvqDescribeCurve(const WrvqMetaData *meta, struct StringInfoData *json);
extern double WrvqExpectedProbes(const WrvqMetaData *meta);
extern int	  WrvqProbes(const WrvqMetaData *meta, const wrvq_query *query, int64 rows);
extern float  WrvqSublistShare(void);
extern int64  WrvqRerankDepth(const WrvqMetaData *meta);
extern double WrvqDeviations(double hidden);

/* ---------- wrvqpass.c ---------- */

typedef struct WrvqPass
{
	Relation		   heap;
	Relation		   index;
	IndexInfo		  *info;
	const WrvqSupport *support;
	WrvqEncoder		  *encoder;
	WrvqCalibration	  *calibration;
	void			  *statistics; /* NULL: not wanted */
	Tuplesortstate	  *sort;	   /* NULL: not wanted */
	TupleTableSlot	  *sort_slot;
	MemoryContext	   row_context;
	double			   rows; /* encoded */
	double			   loss; /* their sum */
	pg_atomic_uint64   own_rows;
	pg_atomic_uint64  *rows_of_all; /* encoded by all participants so far, for whoever watches */
} WrvqPass;

extern Tuplesortstate *WrvqBeginSort(int memory_kb, SortCoordinate coordinate);
extern WrvqPass *WrvqBeginPass(Relation heap, Relation index, IndexInfo *info, const WrvqCodebook *codebook, int spill,
							   WrvqCalibration *calibration, void *statistics, Tuplesortstate *sort);
extern double	 WrvqRunPass(WrvqPass *pass, TableScanDesc scan, bool progress);
extern void		 WrvqWriteSorted(Tuplesortstate *sort, WrvqWriter *writer);

/* ---------- wrvqworkers.c ---------- */

extern WrvqWorkers	  *WrvqStartWorkers(Relation heap, Relation index, IndexInfo *info, const WrvqCodebook *codebook,
										int queries, Size training_bytes);
extern bool			   WrvqHasSharedMemory(Size bytes);
extern void			  *WrvqTrainingMemory(const WrvqWorkers *workers);
extern void			   WrvqTrainTogether(WrvqWorkers *workers, wrvq_trainer *trainer, uint32 step, int32 units);
extern Tuplesortstate *WrvqEncodeTogether(WrvqWorkers *workers, Relation heap, Relation index, IndexInfo *info,
										  const WrvqCodebook *codebook, WrvqCalibration *calibration, void *statistics,
										  double *heap_tuples, double *rows, double *loss);
extern void			   WrvqEndWorkers(WrvqWorkers *workers);

/* ---------- wrvqinsert.c ---------- */

extern bool wrvqinsert(Relation index, Datum *values, bool *isnull, ItemPointer tid, Relation heap,
					   IndexUniqueCheck check, bool unchanged, IndexInfo *info);
extern void WrvqInsertEntry(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, uint32 list,
							uint32 sublist, ItemPointer tid, const uint8 *entry);
extern void WrvqInsertEncoded(Relation index, const WrvqMetaData *meta, WrvqEncoder *encoder);

/* ---------- wrvqpending.c ---------- */

extern int64 WrvqAddPending(Relation index, ItemPointer tid, int dimensions);
extern int64 WrvqReadPending(Relation index, const WrvqMetaData *meta, uint64 **rows);
extern void	 WrvqDrainPending(Relation index, Relation heap, int64 threshold, bool wait);
extern int64 WrvqRemovePending(Relation index, bool (*drop)(uint64 row, void *state), void *state);

/* ---------- wrvqempty.c ---------- */

extern void WrvqCheckRowDimensions(Relation index, int expected, int dimensions);
extern void WrvqForgetDimensions(Relation index);
extern void WrvqNoteEmpty(Relation index, const WrvqCodebook *codebook, BufferAccessStrategy strategy);
extern void WrvqBeginFilling(Relation index, WrvqMetaData *meta, int dimensions);
extern void WrvqReclaimForgotten(Relation index, const WrvqCodebook *codebook);

/* ---------- wrvqtrainer.c ---------- */

extern void WrvqStartTrainer(Relation index);

/* ---------- wrvqsearch.c ---------- */

/* One query on its way through the layers. */
typedef struct WrvqSearch
{
	Relation			index;
	const WrvqMetaData *meta;
	const WrvqCodebook *codebook;
	wrvq_query		   *query;
	int64				slots_max; /* slots that the index can have: no list is longer */
	/* the candidates of the lists visited */
	int	  probes; /* 0: none yet */
	int64 limit;
	bool  skips_sublists; /* not all of these lists were scanned whole */
	char *candidates;
} WrvqSearch;

/* Candidates of a round that are new: the search's own, until it goes on. */
typedef struct WrvqCandidates
{
	int64		  count;
	const uint64 *rows;		   /* [count] ascending */
	const float	 *estimates;   /* [count] of their distances, as query_exact() scales them */
	float		  next;		   /* the best estimate that is not among them; infinity: none */
	bool		  visited_all; /* no list was left out */
} WrvqCandidates;

extern WrvqSearch	 *WrvqBeginSearch(Relation index, const WrvqMetaData *meta, const float *vector);
extern WrvqCandidates WrvqSearchLists(WrvqSearch *search, int probes, int64 reach, const uint64 *taken,
									  int64 taken_count);
extern WrvqCandidates WrvqSearchWithin(WrvqSearch *search, int probes, float bound, const uint64 *taken,
									   int64 taken_count);
extern void WrvqSearchPlaces(WrvqSearch *search, int probes, int64 limit, const uint64 *rows, int count, int64 *places);

/* ---------- wrvqscan.c ---------- */

extern IndexScanDesc wrvqbeginscan(Relation index, int nkeys, int norderbys);
extern void			 wrvqrescan(IndexScanDesc scan, ScanKey keys, int nkeys, ScanKey orderbys, int norderbys);
extern bool			 wrvqgettuple(IndexScanDesc scan, ScanDirection direction);
extern void			 wrvqendscan(IndexScanDesc scan);

/* ---------- wrvqpassed.c ---------- */

extern void WrvqWatchExecutor(void);

/* ---------- wrvqlists.c ---------- */

extern void WrvqScanLists(WrvqSearch *search, const uint32 *lists, int count, bool whole);

/* ---------- wrvqreadahead.c ---------- */

/* Requests for pages that somebody else will read. */
typedef struct WrvqReadAhead
{
	Relation		   relation;
	const BlockNumber *blocks; /* [count] */
	int64			   count;
	int64			   requested;		/* of them */
	int64			   distance;		/* how far ahead */
	int64			   misses;			/* pages that the backend had read before */
	BlockNumber		   relation_blocks; /* 0: not asked yet */
} WrvqReadAhead;

/* pages that are pinned before their turn, if they can be spared, so that what is on them can be fetched into the processor's cache */
#define WRVQ_PAGES_PINNED 4

#define WRVQ_CACHE_LINE_BYTES 64

/* Pages read one after another. */
typedef struct WrvqPageStream
{
	ReadStream	 *stream; /* the server's; NULL: it has none, we read ahead ourselves */
	WrvqReadAhead ahead;
	int64		  next;						 /* of the blocks: to be read */
	int64		  handed_out;				 /* pages */
	int			  pins;						 /* so many of those that follow are pinned */
	Buffer		  pinned[WRVQ_PAGES_PINNED]; /* [pins] a ring of them */
} WrvqPageStream;

extern void	  WrvqBeginReadAhead(WrvqReadAhead *ahead, Relation relation, const BlockNumber *blocks, int64 count);
extern void	  WrvqReadAheadAt(WrvqReadAhead *ahead, int64 i);
extern void	  WrvqBeginPages(WrvqPageStream *pages, Relation relation, const BlockNumber *blocks, int64 count);
extern Buffer WrvqNextPage(WrvqPageStream *pages, Buffer buffer);
extern Page	  WrvqPageAhead(const WrvqPageStream *pages, int distance);
extern void	  WrvqEndPages(WrvqPageStream *pages);

/* ---------- wrvqrecent.c ---------- */

extern void	  WrvqPrefetchPlace(Relation relation, BlockNumber block);
extern void	  WrvqPrefetchRecent(Relation relation, BlockNumber block);
extern Buffer WrvqReadRecent(Relation relation, BlockNumber block);

/* ---------- wrvqrerank.c ---------- */

typedef struct WrvqReranker WrvqReranker;

extern WrvqReranker *WrvqBeginRerank(Relation index, Relation heap, const WrvqSupport *support);
extern void			 WrvqRerankByOperator(WrvqReranker *reranker, FmgrInfo *function, Datum query);
extern bool			 WrvqFetchVector(WrvqReranker *reranker, uint64 row, Snapshot snapshot, const float **vector,
									 int *dimensions);
extern uint64		 WrvqFetchCodebook(WrvqReranker *reranker, uint64 row, Snapshot snapshot);
extern void			 WrvqBeginRows(WrvqReranker *reranker, const uint64 *rows, int64 count);
extern bool			 WrvqRerank(WrvqReranker *reranker, int64 i, Snapshot snapshot, const float *query, int dimensions,
								double *distance);
extern void			 WrvqEndRows(WrvqReranker *reranker);
extern void			 WrvqEndRerank(WrvqReranker *reranker);

/* ---------- wrvqrights.c ---------- */

/* What a function that is given an index wants to do with it. */
typedef enum WrvqRight
{
	WRVQ_MAY_INSPECT, /* tell what it is made of */
	WRVQ_MAY_MEASURE, /* search with rows of the table */
	WRVQ_MAY_MAINTAIN /* what the table's owner may */
} WrvqRight;

extern Relation WrvqOpenIndex(Oid oid, LOCKMODE lock, WrvqRight right, Relation *heap);

/* ---------- wrvqowner.c ---------- */

/* Who becomes the current user again. */
typedef struct WrvqCaller
{
	Oid user;
	int security;
	int nest_level; /* of settings */
} WrvqCaller;

extern Node *WrvqStoredExpressions(Oid index, AttrNumber column);
extern bool	 WrvqCanActAsOwner(Relation heap, Relation index);
extern void	 WrvqBeginAsOwner(Relation heap, Relation index, WrvqCaller *caller);
extern void	 WrvqEndAsOwner(const WrvqCaller *caller);

/* ---------- wrvqrecall.c ---------- */

/* phases of pg_stat_progress_create_index, after those of a build */
#define WRVQ_PHASE_COMPARING 101
#define WRVQ_PHASE_SEARCHING 102

/* ---------- wrvqcompact.c ---------- */

typedef struct WrvqFront WrvqFront;

extern void WrvqFreeSlots(Relation index, const WrvqCodebook *codebook, uint32 list, const WrvqSlotPointer *slots,
						  int count);
extern bool WrvqRewriteList(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook, uint32 list,
							WrvqFront *front);

/* ---------- wrvqshrink.c ---------- */

/* Where an index that shrinks to a part of its pages puts its entries. */
struct WrvqFront
{
	BlockNumber blocks;		/* pages to shrink to; 0: it does not shrink */
	BlockNumber next;		/* pages before it have no free slot */
	uint8	   *free_slots; /* [all pages] that VACUUM knows of */
};

extern void		   WrvqPlanFront(WrvqFront *front, BlockNumber blocks, BlockNumber other_pages, BlockNumber last_other,
								 double slots, const WrvqCodebook *codebook);
extern Buffer	   WrvqLockFrontPage(Relation index, const WrvqCodebook *codebook, WrvqFront *front, bool *is_new);
extern BlockNumber WrvqTruncate(Relation index, const WrvqCodebook *codebook, BufferAccessStrategy strategy,
								bool seems_empty);

/* ---------- wrvqreclaim.c ---------- */

/* What VACUUM's pass over the pages saw of a list. */
typedef struct WrvqListUse
{
	uint32		slots;
	uint32		live; /* entries */
	uint32		dead;
	BlockNumber last_block; /* of the slots */
	uint64		balance;	/* hashes of the slots less those of the pointers to slots */
} WrvqListUse;

extern void WrvqBalanceSlot(WrvqListUse *lists, BlockNumber block, int number, const WrvqSlotHeader *slot);
extern void WrvqReclaimSlots(Relation index, const WrvqMetaData *meta, const WrvqCodebook *codebook,
							 BufferAccessStrategy strategy, WrvqListUse *lists);
extern bool WrvqHasCodebookPage(const WrvqMetaData *meta, BlockNumber block);
extern bool WrvqIsUnused(Relation index, const WrvqMetaData *meta, Buffer buffer);
extern void WrvqReclaimPage(Relation index, const WrvqCodebook *codebook, Buffer buffer);

/* ---------- wrvqvacuum.c ---------- */

extern IndexBulkDeleteResult *wrvqbulkdelete(IndexVacuumInfo *info, IndexBulkDeleteResult *stats,
											 IndexBulkDeleteCallback callback, void *state);
extern IndexBulkDeleteResult *wrvqvacuumcleanup(IndexVacuumInfo *info, IndexBulkDeleteResult *stats);

/* ---------- wrvqcost.c ---------- */

extern void wrvqcostestimate(struct PlannerInfo *root, struct IndexPath *path, double loop_count, Cost *startup,
							 Cost *total, Selectivity *selectivity, double *correlation, double *pages);

/* ---------- wrvqvalidate.c ---------- */

extern bool wrvqvalidate(Oid opclass);

#endif
