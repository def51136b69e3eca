/*
 * wrvq_codes.h: vectors as values of codes and weights of a stored codebook.
 *
 * An index holds its codebook in a form made for scanning (wrvq_kernels.h); a
 * value outlives any index, so it is what `wrvq encode` makes of the vector:
 * the codebook's own codes and weights, whatever its levels are.  The rules for
 * kernels are those of wrvq_kernels.h.
 */
#ifndef WRVQ_CODES_H
#define WRVQ_CODES_H

#include "wrvq_kernels.h"

/* One level; the caller fills in the counts, coder_bind() the rest. */
typedef struct wrvq_coder_level
{
	wrvq_level_shape shape;
	int32_t		transform_block_dimensions;	/* rows of each diagonal block of the transform; 0: no transform */
	int32_t		code_offset;	/* of its code in a value, in bytes */
	int32_t		weight_offset;	/* of its weight in a value, in bits; -1: the weight is 1 and not stored */
	uint16_t   *WRVQ_NULLABLE codewords;	/* flat: packed halves [ceil(s/16)][d][16]; product: [m][p][16] */
	uint16_t   *WRVQ_NULLABLE transform;	/* halves, each diagonal block packed as codewords = rows of T */
	uint16_t   *WRVQ_NULLABLE inverse;	/* the same of its transpose */
	/* what is taken off a product with a codeword to score it: half its squared length, or 0; [ceil16(s)] or [m][16] */
	float	   *WRVQ_NULLABLE half_norms;
	float	   *WRVQ_NULLABLE weights;	/* ascending [2^weight_bits]; NULL: weights are halves */
} wrvq_coder_level;

/* A stored codebook: any levels in any order, the first one flat and of weight one. */
typedef struct wrvq_coder
{
	int32_t		dimensions;
	int32_t		metric;			/* wrvq_metric */
	int32_t		level_count;
	float		scale;
	int32_t		code_bytes;		/* of a value */
	int32_t		has_center;
	/*
	 * The mean of level 0's codewords for L2, else zero, [d]: distances are
	 * taken from it, so that they keep their precision however far off the
	 * origin the data lies.
	 */
	float	   *WRVQ_NULLABLE center;
	wrvq_coder_level levels[WRVQ_LEVELS_MAX];
} wrvq_coder;

/*
 * A value, code_bytes long: the squared length of the decoded vector, scaled
 * and seen from the centre (float); each level's codes (flat: 1 or 2 bytes;
 * product: 4 bits a piece, the even one in the low nibble); each stored weight
 * in weight_bits bits, least significant first: a half, or the number of one of
 * the level's values.  Little-endian, at any address.
 */

/* A vector to compare codes with, at the head of code_query_bytes() bytes; its arrays follow it there. */
typedef struct wrvq_code_query
{
	const wrvq_coder *WRVQ_NULLABLE coder;
	int32_t		metric;			/* of the distances: any, not only the codebook's */
	float		center_squared;	/* of the codebook's centre */
	double		norm_squared;	/* of the prepared vector */
	float	   *WRVQ_NULLABLE vector;	/* [d] as it came */
	float	   *WRVQ_NULLABLE prepared;	/* [d] scaled, and seen from the centre, or normalised */
	/* inner products: flat [s], product [m rounded up to even][16] */
	float	   *WRVQ_NULLABLE tables[WRVQ_LEVELS_MAX];
	/* the same of the centre, where cosine needs lengths as seen from the origin */
	float	   *WRVQ_NULLABLE center_tables[WRVQ_LEVELS_MAX];
	float	   *WRVQ_NULLABLE scratch;
} wrvq_code_query;

/* The kernels of one instruction-set level. */
typedef struct wrvq_code_kernels
{
	/* WRVQ_OK, or WRVQ_BAD_SHAPE if the counts are outside their ranges. */
	wrvq_status (*WRVQ_NONNULL coder_check) (const wrvq_coder *WRVQ_NONNULL coder);
	/* Bytes of the arrays of a valid coder. */
	int64_t		(*WRVQ_NONNULL coder_bytes) (const wrvq_coder *WRVQ_NONNULL coder);
	/* Points the coder into memory, 64-byte aligned, and lays out its values. */
	void		(*WRVQ_NONNULL coder_bind) (wrvq_coder *WRVQ_NONNULL coder, void *WRVQ_NONNULL memory);
	/*
	 * Fills in one level, level 0 first.  codewords: flat [s][d], product
	 * [m][16][p]; transform: the blocks in sequence, each [b][b]; weights:
	 * [2^weight_bits].
	 */
	void		(*WRVQ_NONNULL coder_set_level) (wrvq_coder *WRVQ_NONNULL coder, int32_t level, const float *WRVQ_NONNULL codewords,
												 const float *WRVQ_NULLABLE transform, const float *WRVQ_NULLABLE weights);
	/* Bytes of scratch that encode() and decode() want. */
	int64_t		(*WRVQ_NONNULL scratch_bytes) (const wrvq_coder *WRVQ_NONNULL coder);
	/* vector[d] -> code[code_bytes]; WRVQ_NOT_FINITE.  scratch 64-byte aligned. */
	wrvq_status (*WRVQ_NONNULL encode) (const wrvq_coder *WRVQ_NONNULL coder, const float *WRVQ_NONNULL vector,
										void *WRVQ_NONNULL scratch, uint8_t *WRVQ_NONNULL code);
	/* The sum of the first levels, in the scale of what was encoded; WRVQ_BAD_CODE if no vector has this code. */
	wrvq_status (*WRVQ_NONNULL decode) (const wrvq_coder *WRVQ_NONNULL coder, const uint8_t *WRVQ_NONNULL code, int32_t levels,
										void *WRVQ_NONNULL scratch, float *WRVQ_NONNULL vector);
	int64_t		(*WRVQ_NONNULL code_query_bytes) (const wrvq_coder *WRVQ_NONNULL coder);
	/* Fills the look-up tables for distances of the vector[d], which is finite.  arena 64-byte aligned. */
	void		(*WRVQ_NONNULL code_query_begin) (const wrvq_coder *WRVQ_NONNULL coder, int32_t metric,
												  const float *WRVQ_NONNULL vector, void *WRVQ_NONNULL arena);
	/*
	 * The operator's value for the decoded code and the query's vector (ADC, eq.
	 * 14), to 1e-4 of it: NaN where a length is zero under cosine.
	 * WRVQ_BAD_CODE as decode().
	 */
	wrvq_status (*WRVQ_NONNULL code_distance) (const wrvq_code_query *WRVQ_NONNULL query, const uint8_t *WRVQ_NONNULL code,
											   double *WRVQ_NONNULL distance);
} wrvq_code_kernels;

#if defined(__clang__)
WRVQ_ACCESSOR wrvq_coder_level *WRVQ_NONNULL wrvq_coder_level_of(const wrvq_coder *WRVQ_NONNULL c, ptrdiff_t i) { return (wrvq_coder_level *) &c->levels[i]; }
WRVQ_ACCESSOR float *WRVQ_NULLABLE wrvq_code_query_table(const wrvq_code_query *WRVQ_NONNULL q, ptrdiff_t i) { return q->tables[i]; }
WRVQ_ACCESSOR void wrvq_code_query_set_table(wrvq_code_query *WRVQ_NONNULL q, ptrdiff_t i, float *WRVQ_NONNULL p) { q->tables[i] = p; }
WRVQ_ACCESSOR float *WRVQ_NULLABLE wrvq_code_query_center_table(const wrvq_code_query *WRVQ_NONNULL q, ptrdiff_t i) { return q->center_tables[i]; }
WRVQ_ACCESSOR void wrvq_code_query_set_center_table(wrvq_code_query *WRVQ_NONNULL q, ptrdiff_t i, float *WRVQ_NONNULL p) { q->center_tables[i] = p; }
#endif

/* Each fills the table for one instruction-set level. */
void		wrvq_code_kernels_base(wrvq_code_kernels *WRVQ_NONNULL kernels);
void		wrvq_code_kernels_v3(wrvq_code_kernels *WRVQ_NONNULL kernels);	/* x86-64-v3 */

#endif
