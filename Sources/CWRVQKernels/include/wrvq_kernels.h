/*
 * wrvq_kernels.h: the boundary between the extension's C and the Swift kernels.
 *
 * This header is the reference: Swift implements it with `@c @implementation`,
 * so that a signature that drifts does not compile.  Plain C11, no PostgreSQL.
 *
 * Rules that hold for every kernel (../../../pg_extension/README.md says why):
 *   - it borrows the caller's memory, allocates nothing and keeps no pointer
 *     beyond the structures it is handed;
 *   - it calls nothing of PostgreSQL, takes no lock and never longjmps;
 *   - one call covers at most a page, a batch or some 20 ms of work, so that the
 *     caller can check for interrupts in between;
 *   - every pointer has a shape in brackets, row-major unless said otherwise;
 *   - "half" is an IEEE binary16 in a uint16_t.
 *
 * Packed codewords, the layout that all batch kernels read: s codewords of d
 * dimensions as [ceil(s/16)][d][16], padding zero.
 */
#ifndef WRVQ_KERNELS_H
#define WRVQ_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#if defined(__clang__)
#define WRVQ_NONNULL _Nonnull
#define WRVQ_NULLABLE _Nullable
#else
#define WRVQ_NONNULL
#define WRVQ_NULLABLE
#endif

#define WRVQ_DIMENSIONS_MAX 16000
#define WRVQ_LISTS_MAX 65536
#define WRVQ_LEVELS_MAX 16
#define WRVQ_SUBLISTS_MAX 256
#define WRVQ_FUZZY_LEVELS_MAX 2
/* entries in a block; the unit of a scan */
#define WRVQ_BLOCK_ENTRIES 32
/* a block must fit a page beside its header: 32 entries of at most this */
#define WRVQ_ENTRY_BYTES_MAX 252
/* true neighbours that a build finds of each calibration query, and rows it compares in one call */
#define WRVQ_CALIBRATION_NEIGHBOURS 10
#define WRVQ_CALIBRATION_BATCH 128
/* a row identifier with all 48 bits set marks a dead entry */
#define WRVQ_ROW_DEAD 0xffffffffffffULL

typedef enum wrvq_status
{
	WRVQ_OK = 0,
	WRVQ_MORE = 1,				/* not done yet: call again */
	WRVQ_NOT_FINITE = 2,		/* a NaN or an infinity among the inputs */
	WRVQ_ZERO_VECTOR = 3,		/* no direction: length zero under cosine */
	WRVQ_BAD_SHAPE = 4,			/* a shape outside the ranges below */
	WRVQ_BAD_CODE = 5			/* a value that no vector is encoded as (wrvq_codes.h) */
} wrvq_status;

typedef enum wrvq_metric
{
	WRVQ_L2 = 0, WRVQ_IP = 1, WRVQ_COSINE = 2
} wrvq_metric;

typedef enum wrvq_kind
{
	WRVQ_FLAT = 0,				/* s codewords in full dimension */
	WRVQ_PRODUCT = 1			/* m pieces of p dimensions, 16 codewords each */
} wrvq_kind;

typedef enum wrvq_weight_rule
{
	WRVQ_WEIGHT_ONE = 0,		/* w = 1: plain residual quantization */
	WRVQ_WEIGHT_NORM = 1,		/* w = length of the residual */
	WRVQ_WEIGHT_PROJECTION = 2	/* w = least-squares gain */
} wrvq_weight_rule;

/* One level of a codebook: counts only, no data. */
typedef struct wrvq_level_shape
{
	int32_t		kind;			/* wrvq_kind */
	int32_t		weight_rule;	/* wrvq_weight_rule; level 0: one */
	int32_t		weight_bits;	/* 16, 8, 4, 3 or 2 */
	int32_t		codeword_count; /* flat: 1..65,536; product: 16 */
	int32_t		piece_count;	/* product: m; flat: 0 */
	int32_t		piece_dimensions;	/* product: p, m*p >= dimensions; flat: 0 */
} wrvq_level_shape;

/*
 * What an index's codebook looks like: enough to compute every size from.
 * Level 0 is flat with weight one (the lists); then flat levels; a product
 * level may come last.  Stored in the metapage, so its layout is disk format.
 */
typedef struct wrvq_shape
{
	int32_t		dimensions;		/* d: 1..16,000 */
	int32_t		metric;			/* wrvq_metric */
	int32_t		level_count;	/* 1..WRVQ_LEVELS_MAX */
	int32_t		fuzzy_levels;	/* 0 to 2: so many levels' codes, from level 1, key sub-lists */
	/* rows and columns of each diagonal block of the transform; 0: no transform */
	int32_t		transform_block_dimensions;
	float		scale;			/* vectors are multiplied by it first; outliers become shorter (Lengths.swift) */
	wrvq_level_shape levels[WRVQ_LEVELS_MAX];
} wrvq_shape;

/*
 * A codebook as the kernels read it: pointers into one image of
 * image_bytes(shape) bytes.  Everything is in the *prepared* space: scaled,
 * normalised under cosine, transformed, and for L2 with the centre subtracted.
 */
typedef struct wrvq_codebook
{
	wrvq_shape	shape;
	float	   *WRVQ_NONNULL center;	/* [d]; zero unless L2 */
	uint16_t   *WRVQ_NULLABLE transform;	/* halves, each block packed as codewords = rows of T */
	float	   *WRVQ_NONNULL list_half_norms;	/* [ceil16(lists)] half the squared length; padding +inf */
	/*
	 * Every 16 lists in sequence are a group, near each other where there are
	 * many: their means, packed halves [ceil(groups/16)][d][16], and half the
	 * squared lengths of those, [ceil16(groups)], padding +inf.
	 */
	uint16_t   *WRVQ_NONNULL list_groups;
	float	   *WRVQ_NONNULL group_half_norms;
	/*
	 * What ranks the lists, [ceil16(lists)] each, from the entries at build: the
	 * mean and the variance of the part of the distance that does not depend
	 * on the query, and the residuals' variance per dimension.
	 */
	float	   *WRVQ_NONNULL list_means;
	float	   *WRVQ_NONNULL list_variances;
	float	   *WRVQ_NONNULL list_residual_variances;
	/*
	 * means over a sub-list's entries of the fuzzy levels' factors, halves
	 * [max(1, fuzzy_levels)][lists][sublists], and of the constant, [lists][sublists]
	 */
	uint16_t   *WRVQ_NONNULL sublist_weights;
	uint16_t   *WRVQ_NONNULL sublist_constants;
	/* flat: packed halves [ceil(s/16)][d][16]; product: packed halves [m][p][16] */
	uint16_t   *WRVQ_NONNULL codewords[WRVQ_LEVELS_MAX];
} wrvq_codebook;

/*
 * Where the fields of 32 entries lie in a block, all transposed: row
 * identifiers [32] of 6 bytes; constants [32] halves (L2 only); for each level
 * from 1 its codes (flat: [32] of 1 or 2 bytes; product: [m][16], entry e of
 * the lower 16 in the low nibble of byte e, of the upper 16 in the high one)
 * and its factors [32] halves.  An *entry* is the same fields of one row in
 * sequence, nibbles of product codes in pairs, without the identifier.
 *
 * The estimate of <x,q> is <c0,q> + sum_i factor_i * table_i[code_i], where
 * factor_i = g * w_i and g = <r,r>/<r^,r> undoes the shrinking of the decoded
 * residual r^; of |x-q|^2 it is |q-c0|^2 + constant - 2 sum_i factor_i *
 * table_i[code_i], constant = |r|^2 + 2 g <r^,c0>.
 */
typedef struct wrvq_layout
{
	int32_t		entry_bytes;	/* without the row identifier */
	int32_t		block_bytes;	/* a multiple of 4 */
	int32_t		constants_offset;	/* in the block; -1: none */
	int32_t		codes_offset[WRVQ_LEVELS_MAX];
	int32_t		factors_offset[WRVQ_LEVELS_MAX];
	int32_t		code_bytes[WRVQ_LEVELS_MAX];	/* per entry; product: ceil(m/2) */
	int32_t		product_level;	/* 0: none */
} wrvq_layout;

/*
 * The state of one query, at the head of the caller's arena of query_bytes()
 * bytes; the arrays follow it there.  The caller only reads the counts.
 */
typedef struct wrvq_query
{
	const wrvq_codebook *WRVQ_NULLABLE codebook;
	wrvq_layout layout;
	float		norm_squared;	/* of the prepared query */
	float		inner_factor;	/* of inner products in a distance: 2 for L2, else 1 */
	float		table_scale;	/* product table: value = byte sum * scale + bias */
	float		table_bias;
	float		threshold;		/* estimates from here on are not kept */
	float		deviation;		/* of a list's distances from their mean: the mean over the lists */
	float	   *WRVQ_NULLABLE vector;	/* [d] prepared */
	float	   *WRVQ_NULLABLE list_products;	/* [ceil16(lists)] */
	float	   *WRVQ_NULLABLE list_scores;	/* [ceil16(lists)], padding +inf */
	float	   *WRVQ_NULLABLE list_likelihoods;	/* [ceil16(lists)], of the last question about shares */
	uint64_t   *WRVQ_NULLABLE list_keys;	/* [lists] score in order-preserving bits, list number */
	float	   *WRVQ_NULLABLE tables[WRVQ_LEVELS_MAX];	/* flat levels from 1: [max(256, s)] */
	uint8_t    *WRVQ_NULLABLE product_table;	/* [m rounded up to a multiple of 4][16], at most 127 */
	float	   *WRVQ_NULLABLE scratch;
	/* the round */
	float	   *WRVQ_NULLABLE candidate_estimates;	/* [capacity] the best ranked_count first */
	uint64_t   *WRVQ_NULLABLE candidate_rows;	/* [capacity] in the same order */
	int64_t		limit;
	int64_t		candidate_capacity;
	int64_t		candidate_count;
	int64_t		ranked_count;	/* handed out by query_take(); -1: none */
	uint64_t   *WRVQ_NULLABLE ranked_bounds;	/* positions that the ranking has come by: see Selection.swift */
	int64_t		ranked_bound_count;
	int64_t		visited;		/* entries estimated since query_begin */
} wrvq_query;

/* What encode() says of a row beside its entry. */
typedef struct wrvq_encoded
{
	uint32_t	list;
	uint32_t	sublist;		/* zero without fuzzy levels */
	float		norm_squared;	/* of the prepared vector */
	float		residual_squared;	/* after level 0 */
	float		loss;			/* after the last level */
} wrvq_encoded;

/* The kernels of one instruction-set level. */
typedef struct wrvq_kernels
{
	/* --- distances: reference double precision, 1e-5 relative --- */

	/* Euclidean distance, inner product and 1 - cosine of a[n] and b[n]; NaN for a zero vector under cosine. */
	double		(*WRVQ_NONNULL l2_distance) (const float *WRVQ_NONNULL a, const float *WRVQ_NONNULL b, ptrdiff_t n);
	double		(*WRVQ_NONNULL inner_product) (const float *WRVQ_NONNULL a, const float *WRVQ_NONNULL b, ptrdiff_t n);
	double		(*WRVQ_NONNULL cosine_distance) (const float *WRVQ_NONNULL a, const float *WRVQ_NONNULL b, ptrdiff_t n);

	/* Index of the first NaN or infinity in a[n], or -1. */
	ptrdiff_t	(*WRVQ_NONNULL first_not_finite) (const float *WRVQ_NONNULL a, ptrdiff_t n);

	/* --- halves --- */
	void		(*WRVQ_NONNULL half_to_float) (const uint16_t *WRVQ_NONNULL halves, float *WRVQ_NONNULL floats, ptrdiff_t n);
	/* Rounds to nearest even; what exceeds the range becomes +-65504. */
	void		(*WRVQ_NONNULL float_to_half) (const float *WRVQ_NONNULL floats, uint16_t *WRVQ_NONNULL halves, ptrdiff_t n);

	/* --- batches against packed codewords --- */

	/* rows[s][d] -> packed[ceil(s/16)][d][16] */
	void		(*WRVQ_NONNULL pack) (const float *WRVQ_NONNULL rows, ptrdiff_t s, ptrdiff_t d, float *WRVQ_NONNULL packed);

	/* products[n][ceil16(s)] = <x[n][d], packed codewords> */
	void		(*WRVQ_NONNULL inner_products) (const float *WRVQ_NONNULL x, ptrdiff_t n, ptrdiff_t d,
												const float *WRVQ_NONNULL packed, ptrdiff_t s, float *WRVQ_NONNULL products);

	/*
	 * codes[n] = the codeword with the largest <x,c> - half_norms[c] (the
	 * nearest one, if half_norms is half its squared length; the lower number
	 * wins ties), scores[n] = that value.  half_norms[ceil16(s)] must be +inf
	 * in the padding.  scratch: 32*n floats.
	 */
	void		(*WRVQ_NONNULL assign) (const float *WRVQ_NONNULL x, ptrdiff_t n, ptrdiff_t d,
										const float *WRVQ_NONNULL packed, const float *WRVQ_NONNULL half_norms, ptrdiff_t s,
										float *WRVQ_NONNULL scratch, uint32_t *WRVQ_NONNULL codes, float *WRVQ_NONNULL scores);

	/*
	 * A product level on 16 rows side by side, x[d][16]: codes[16][m] = of each
	 * piece the codeword of codewords[m][16][p] with the largest <x,c> -
	 * half_norms[m][16], the lower number winning ties; fit[2][16] = the rows'
	 * products with their codewords, and the squared lengths of these.
	 */
	void		(*WRVQ_NONNULL encode_tile) (const float *WRVQ_NONNULL x, ptrdiff_t d, const float *WRVQ_NONNULL codewords,
											 const float *WRVQ_NONNULL half_norms, ptrdiff_t m, ptrdiff_t p,
											 uint8_t *WRVQ_NONNULL codes, float *WRVQ_NONNULL fit);

	/* --- an index's codebook --- */

	/* WRVQ_OK, or WRVQ_BAD_SHAPE if the shape is outside its ranges (so that a damaged one is harmless). */
	wrvq_status (*WRVQ_NONNULL shape_check) (const wrvq_shape *WRVQ_NONNULL shape);
	int64_t		(*WRVQ_NONNULL image_bytes) (const wrvq_shape *WRVQ_NONNULL shape);
	/* Points codebook into image, 64-byte aligned, image_bytes() long; reads nothing of it. */
	void		(*WRVQ_NONNULL image_bind) (const wrvq_shape *WRVQ_NONNULL shape, void *WRVQ_NONNULL image,
											wrvq_codebook *WRVQ_NONNULL codebook);
	/* rows: the transform's blocks in sequence, each [b][b], orthogonal. */
	void		(*WRVQ_NONNULL image_set_transform) (wrvq_codebook *WRVQ_NONNULL codebook, const float *WRVQ_NONNULL rows);
	/*
	 * Level 0 must come first (it sets the centre), and decides the order of
	 * the lists: where there are many, not that of its rows.  flat: rows[s][d]
	 * in the original space, scaled; product: rows[m][16][p] in the transformed
	 * one.  scratch: image_scratch_floats(), 8-byte aligned.
	 */
	int64_t		(*WRVQ_NONNULL image_scratch_floats) (const wrvq_shape *WRVQ_NONNULL shape);
	void		(*WRVQ_NONNULL image_set_level) (wrvq_codebook *WRVQ_NONNULL codebook, int32_t level,
												 const float *WRVQ_NONNULL rows, float *WRVQ_NONNULL scratch);
	void		(*WRVQ_NONNULL layout) (const wrvq_shape *WRVQ_NONNULL shape, wrvq_layout *WRVQ_NONNULL layout);

	/* --- encoding --- */

	/*
	 * x[n][d] -> prepared[n][d].  WRVQ_NOT_FINITE or WRVQ_ZERO_VECTOR and the
	 * offending row in *bad if a row cannot be indexed.  scratch: of
	 * encode_scratch_bytes().
	 */
	wrvq_status (*WRVQ_NONNULL prepare) (const wrvq_codebook *WRVQ_NONNULL codebook, const float *WRVQ_NONNULL x, ptrdiff_t n,
										 void *WRVQ_NONNULL scratch, float *WRVQ_NONNULL prepared, ptrdiff_t *WRVQ_NONNULL bad);
	/* Bytes of scratch that prepare() and encode() want for a batch of n. */
	int64_t		(*WRVQ_NONNULL encode_scratch_bytes) (const wrvq_codebook *WRVQ_NONNULL codebook, ptrdiff_t n);
	/*
	 * prepared[n][d] -> encoded[n], entries[n][entry_bytes].  A row's code does
	 * not depend on the batch it comes in.  scratch 64-byte aligned.
	 */
	void		(*WRVQ_NONNULL encode) (const wrvq_codebook *WRVQ_NONNULL codebook, const wrvq_layout *WRVQ_NONNULL layout,
										const float *WRVQ_NONNULL prepared, ptrdiff_t n, void *WRVQ_NONNULL scratch,
										wrvq_encoded *WRVQ_NONNULL encoded, uint8_t *WRVQ_NONNULL entries);
	/*
	 * A second list for every encoded row, near it and missing it in another
	 * direction than the first one; the first again where there is no other.
	 */
	void		(*WRVQ_NONNULL spill_lists) (const wrvq_codebook *WRVQ_NONNULL codebook, const float *WRVQ_NONNULL prepared, ptrdiff_t n,
											 const wrvq_encoded *WRVQ_NONNULL encoded, void *WRVQ_NONNULL scratch,
											 uint32_t *WRVQ_NONNULL lists);
	/* encode() with the lists[n] given. */
	void		(*WRVQ_NONNULL encode_in_lists) (const wrvq_codebook *WRVQ_NONNULL codebook, const wrvq_layout *WRVQ_NONNULL layout,
												 const float *WRVQ_NONNULL prepared, ptrdiff_t n, const uint32_t *WRVQ_NONNULL lists,
												 void *WRVQ_NONNULL scratch, wrvq_encoded *WRVQ_NONNULL encoded,
												 uint8_t *WRVQ_NONNULL entries);
	/*
	 * Sums over the encoded rows that the ranking of lists and sub-lists needs:
	 * statistics_bytes() of memory, zeroed by the caller, added to row by row
	 * and turned into the codebook's statistics at the end of a build.
	 */
	int64_t		(*WRVQ_NONNULL statistics_bytes) (const wrvq_codebook *WRVQ_NONNULL codebook);
	void		(*WRVQ_NONNULL statistics_add) (const wrvq_codebook *WRVQ_NONNULL codebook, const wrvq_layout *WRVQ_NONNULL layout,
												void *WRVQ_NONNULL statistics, const wrvq_encoded *WRVQ_NONNULL encoded,
												const uint8_t *WRVQ_NONNULL entries, ptrdiff_t n);
	/* Adds other's sums to statistics. */
	void		(*WRVQ_NONNULL statistics_merge) (const wrvq_codebook *WRVQ_NONNULL codebook, void *WRVQ_NONNULL statistics,
												  const void *WRVQ_NONNULL other);
	void		(*WRVQ_NONNULL image_set_statistics) (wrvq_codebook *WRVQ_NONNULL codebook, const void *WRVQ_NONNULL statistics);

	/* --- calibration: how far down the ranking of lists do the true neighbours lie? --- */

	/* Bytes of the state for this many queries. */
	int64_t		(*WRVQ_NONNULL calibration_bytes) (const wrvq_codebook *WRVQ_NONNULL codebook, ptrdiff_t queries);
	/* prepared[queries][d], rows[queries]: the queries and their own row identifiers. */
	void		(*WRVQ_NONNULL calibration_begin) (const wrvq_codebook *WRVQ_NONNULL codebook, const float *WRVQ_NONNULL prepared,
												   const uint64_t *WRVQ_NONNULL rows, ptrdiff_t queries, void *WRVQ_NONNULL memory);
	/*
	 * Compares n <= WRVQ_CALIBRATION_BATCH prepared and encoded rows with every
	 * query; spilled[n]: the rows in their second lists, if they have any.
	 */
	void		(*WRVQ_NONNULL calibration_add) (const wrvq_codebook *WRVQ_NONNULL codebook, ptrdiff_t queries, void *WRVQ_NONNULL memory,
												 const float *WRVQ_NONNULL prepared, const uint64_t *WRVQ_NONNULL rows,
												 const wrvq_encoded *WRVQ_NONNULL encoded,
												 const wrvq_encoded *WRVQ_NULLABLE spilled, ptrdiff_t n);
	/*
	 * Tells other participants, which have the same queries and rows of their own, how near
	 * neighbours found so far are, and learns it from them: nearness[queries], at first
	 * -INFINITY.  What they know to be too far need not be kept here either.
	 */
	void		(*WRVQ_NONNULL calibration_exchange) (const wrvq_codebook *WRVQ_NONNULL codebook, ptrdiff_t queries,
													  void *WRVQ_NONNULL memory, float *WRVQ_NONNULL nearness);
	/*
	 * One query's true neighbours, nearest first: rows[WRVQ_CALIBRATION_NEIGHBOURS] and
	 * the better of their lists, as query (begun with the same vector) ranks them.
	 * Returns how many there are.
	 */
	ptrdiff_t	(*WRVQ_NONNULL calibration_neighbours) (const wrvq_codebook *WRVQ_NONNULL codebook, ptrdiff_t queries,
														void *WRVQ_NONNULL memory, ptrdiff_t index,
														const wrvq_query *WRVQ_NONNULL query, uint64_t *WRVQ_NONNULL rows,
														uint32_t *WRVQ_NONNULL lists);
	/*
	 * Adds to memory what other, begun with the same queries, has found among
	 * rows of its own.
	 */
	void		(*WRVQ_NONNULL calibration_merge) (const wrvq_codebook *WRVQ_NONNULL codebook, ptrdiff_t queries, void *WRVQ_NONNULL memory,
												   void *WRVQ_NONNULL other);

	/* --- blocks --- */

	void		(*WRVQ_NONNULL block_put) (const wrvq_layout *WRVQ_NONNULL layout, uint8_t *WRVQ_NONNULL block, int32_t position,
										   uint64_t row, const uint8_t *WRVQ_NONNULL entry);
	/* Returns the row identifier. */
	uint64_t	(*WRVQ_NONNULL block_get) (const wrvq_layout *WRVQ_NONNULL layout, const uint8_t *WRVQ_NONNULL block, int32_t position,
										   uint8_t *WRVQ_NONNULL entry);
	/* The sub-list of an entry: its fuzzy levels' codes as digits, level 1's first. */
	uint32_t	(*WRVQ_NONNULL entry_sublist) (const wrvq_shape *WRVQ_NONNULL shape, const wrvq_layout *WRVQ_NONNULL layout,
											   const uint8_t *WRVQ_NONNULL entry);
	uint64_t	(*WRVQ_NONNULL block_row) (const uint8_t *WRVQ_NONNULL block, int32_t position);
	void		(*WRVQ_NONNULL block_set_row) (uint8_t *WRVQ_NONNULL block, int32_t position, uint64_t row);

	/* --- queries --- */

	/* Bytes of the arena of one query. */
	int64_t		(*WRVQ_NONNULL query_bytes) (const wrvq_codebook *WRVQ_NONNULL codebook);
	/*
	 * Prepares vector[d], fills the look-up tables and scores the lists.
	 * WRVQ_NOT_FINITE as prepare(); under cosine a zero vector is as good a
	 * query as any other.  arena 64-byte aligned; it starts with the wrvq_query.
	 */
	wrvq_status (*WRVQ_NONNULL query_begin) (const wrvq_codebook *WRVQ_NONNULL codebook, const wrvq_layout *WRVQ_NONNULL layout,
											 const float *WRVQ_NONNULL vector, void *WRVQ_NONNULL arena);
	/*
	 * The exact layer: ranks first .. first+n-1 of the lists by distance, as a
	 * set in order of list number (neighbours in number share pages).  Each call
	 * goes on where the one before ended, or starts again from 0 with the same steps.
	 * Returns how many: less than n at the end.
	 */
	int32_t		(*WRVQ_NONNULL query_lists) (wrvq_query *WRVQ_NONNULL query, int32_t first, int32_t n, uint32_t *WRVQ_NONNULL lists);
	/*
	 * How likely a list has something near the query falls by e with every
	 * temperature * deviation of its score.  Returns how many lists, best first,
	 * come before this share (0..1) of all likelihood is spent: at least 1.
	 */
	int32_t		(*WRVQ_NONNULL query_probes) (const wrvq_query *WRVQ_NONNULL query, float temperature, float share);
	/* shares[n]: the share of all likelihood that the lists have that are better than each of lists[n]. */
	void		(*WRVQ_NONNULL query_shares) (const wrvq_query *WRVQ_NONNULL query, float temperature,
											  const uint32_t *WRVQ_NONNULL lists, ptrdiff_t n, float *WRVQ_NONNULL shares);
	/*
	 * The fuzzy layer: among all sub-lists of lists[n], chooses the given share
	 * (0..1] by approximate distance; chosen[n][ceil(sublists/8)] gets a bit per
	 * sub-list to scan, least significant first.  scratch: n*sublists*8 bytes.
	 */
	void		(*WRVQ_NONNULL query_sublists) (wrvq_query *WRVQ_NONNULL query, const uint32_t *WRVQ_NONNULL lists, int32_t n,
												float share, void *WRVQ_NONNULL scratch, uint8_t *WRVQ_NONNULL chosen);
	/* Memory for a round that keeps limit candidates. */
	int64_t		(*WRVQ_NONNULL candidates_bytes) (int64_t limit);
	/* Starts a round: forgets all candidates; from now on the best limit are kept. */
	void		(*WRVQ_NONNULL query_round) (wrvq_query *WRVQ_NONNULL query, int64_t limit, void *WRVQ_NONNULL candidates);
	/* The search layer: estimates the first count entries of a block of this list and keeps the best. */
	void		(*WRVQ_NONNULL query_scan_block) (wrvq_query *WRVQ_NONNULL query, uint32_t list,
												  const uint8_t *WRVQ_NONNULL block, int32_t count);
	/*
	 * The round's best n candidates, less those that its earlier calls have handed
	 * out and those in taken[taken_count] (sorted), by row identifier, each once, where
	 * they lie: candidate_rows[*first...], candidate_estimates[*first...], until the
	 * next call or round.  Returns how many.  *next: the least estimate that was not
	 * handed out, +inf if there is none.  n is at most limit.
	 */
	int64_t		(*WRVQ_NONNULL query_take) (wrvq_query *WRVQ_NONNULL query, int64_t n, const uint64_t *WRVQ_NULLABLE taken,
											int64_t taken_count, int64_t *WRVQ_NONNULL first, float *WRVQ_NONNULL next);
	/* How many of the candidates kept have an estimate of at most bound; those met twice count twice. */
	int64_t		(*WRVQ_NONNULL query_within) (const wrvq_query *WRVQ_NONNULL query, float bound);
	/* What the estimate of a row would be if it were exact: from the operator's value. */
	double		(*WRVQ_NONNULL query_exact) (const wrvq_query *WRVQ_NONNULL query, double distance);
	/*
	 * The place of a row, from 0, among the round's candidates in order of
	 * estimate; limit if it is not among them.
	 */
	int64_t		(*WRVQ_NONNULL query_place) (wrvq_query *WRVQ_NONNULL query, uint64_t row);
	/* Sorts rows[n], each once; returns how many are left. */
	int64_t		(*WRVQ_NONNULL rows_sort) (uint64_t *WRVQ_NONNULL rows, int64_t n);
	/* taken[taken_count + n] := the union of two sorted, disjoint sets. */
	void		(*WRVQ_NONNULL rows_merge) (uint64_t *WRVQ_NONNULL taken, int64_t taken_count, const uint64_t *WRVQ_NONNULL rows, int64_t n);
	/* ---- arithmetic of SQL values, element by element, [n] each; out may be an input ---- */

	/* out = a + factor * b */
	void		(*WRVQ_NONNULL add_scaled) (const float *WRVQ_NONNULL a, const float *WRVQ_NONNULL b, float factor, float *WRVQ_NONNULL out, ptrdiff_t n);
	/* out = a * b */
	void		(*WRVQ_NONNULL multiply) (const float *WRVQ_NONNULL a, const float *WRVQ_NONNULL b, float *WRVQ_NONNULL out, ptrdiff_t n);
	/* sums += a */
	void		(*WRVQ_NONNULL add_to_sums) (double *WRVQ_NONNULL sums, const float *WRVQ_NONNULL a, ptrdiff_t n);
	/* sums += others */
	void		(*WRVQ_NONNULL add_sums) (double *WRVQ_NONNULL sums, const double *WRVQ_NONNULL others, ptrdiff_t n);
	/* out = a / divisor, in double precision */
	void		(*WRVQ_NONNULL divide) (const float *WRVQ_NONNULL a, double divisor, float *WRVQ_NONNULL out, ptrdiff_t n);
	/* out = sums / divisor */
	void		(*WRVQ_NONNULL divide_sums) (const double *WRVQ_NONNULL sums, double divisor, float *WRVQ_NONNULL out, ptrdiff_t n);
} wrvq_kernels;

/* Fixed arrays arrive in Swift as tuples, which cannot be indexed. */
#if defined(__clang__)
#define WRVQ_ACCESSOR static inline __attribute__((always_inline, unused))
WRVQ_ACCESSOR const wrvq_level_shape *WRVQ_NONNULL wrvq_shape_level(const wrvq_shape *WRVQ_NONNULL s, ptrdiff_t i) { return &s->levels[i]; }
WRVQ_ACCESSOR void wrvq_shape_set_level(wrvq_shape *WRVQ_NONNULL s, ptrdiff_t i, wrvq_level_shape level) { s->levels[i] = level; }
WRVQ_ACCESSOR uint16_t *WRVQ_NONNULL wrvq_codebook_level(const wrvq_codebook *WRVQ_NONNULL c, ptrdiff_t i) { return c->codewords[i]; }
WRVQ_ACCESSOR void wrvq_codebook_set_level(wrvq_codebook *WRVQ_NONNULL c, ptrdiff_t i, uint16_t *WRVQ_NONNULL p) { c->codewords[i] = p; }
WRVQ_ACCESSOR ptrdiff_t wrvq_layout_codes(const wrvq_layout *WRVQ_NONNULL l, ptrdiff_t i) { return l->codes_offset[i]; }
WRVQ_ACCESSOR ptrdiff_t wrvq_layout_factors(const wrvq_layout *WRVQ_NONNULL l, ptrdiff_t i) { return l->factors_offset[i]; }
WRVQ_ACCESSOR ptrdiff_t wrvq_layout_code_bytes(const wrvq_layout *WRVQ_NONNULL l, ptrdiff_t i) { return l->code_bytes[i]; }
WRVQ_ACCESSOR int wrvq_layout_is_product(const wrvq_layout *WRVQ_NONNULL l, ptrdiff_t i) { return l->product_level == i; }
WRVQ_ACCESSOR void wrvq_layout_set_level(wrvq_layout *WRVQ_NONNULL l, ptrdiff_t i, int32_t codes, int32_t factors, int32_t bytes)
{ l->codes_offset[i] = codes; l->factors_offset[i] = factors; l->code_bytes[i] = bytes; }
WRVQ_ACCESSOR const wrvq_shape *WRVQ_NONNULL wrvq_codebook_shape(const wrvq_codebook *WRVQ_NONNULL c) { return &c->shape; }
WRVQ_ACCESSOR const wrvq_layout *WRVQ_NONNULL wrvq_query_layout(const wrvq_query *WRVQ_NONNULL q) { return &q->layout; }
WRVQ_ACCESSOR float *WRVQ_NONNULL wrvq_query_table(const wrvq_query *WRVQ_NONNULL q, ptrdiff_t i) { return q->tables[i]; }
WRVQ_ACCESSOR void wrvq_query_set_table(wrvq_query *WRVQ_NONNULL q, ptrdiff_t i, float *WRVQ_NONNULL p) { q->tables[i] = p; }
#endif

/* Each fills the table for one instruction-set level. */
void		wrvq_kernels_base(wrvq_kernels *WRVQ_NONNULL kernels);
void		wrvq_kernels_v3(wrvq_kernels *WRVQ_NONNULL kernels);	/* x86-64-v3 */

/* Does this machine run x86-64-v3 code? */
static inline int
wrvq_cpu_is_v3(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
		__builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
		__builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt") &&
		__builtin_cpu_supports("movbe");
#else
	return 0;
#endif
}

#endif
