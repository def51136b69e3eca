/*
 * wrvq_training.h: what CREATE INDEX needs to train a codebook by itself, and
 * what the command-line tool drives with threads: the same state machine.
 *
 * A trainer lives in the caller's memory and consumes a sample of prepared
 * vectors (scaled; unit length under cosine), which it turns into residuals
 * level by level.  Every level is trained by linear residual fine-tuning
 * (paper section on codebook training, "L"): k-means for weight one, spherical
 * k-means on unit residuals otherwise, balanced PCA and k-means per piece for
 * a product level.  Weights of fewer than 16 bits are quantized in the loop: a
 * level's 2^bits values are fitted to its weights once its codewords are
 * fixed, and the next level sees what the rounded weights leave.
 *
 *     do {
 *         for (unit = 0; unit < trainer_units(t); unit++)   // in any order, in parallel
 *             trainer_work(t, unit);                        // each at most some 20 ms
 *     } while (trainer_advance(t) == WRVQ_MORE);
 *
 * The result depends on the sample, the shape and the seed only, never on the
 * number of threads.
 */
#ifndef WRVQ_TRAINING_H
#define WRVQ_TRAINING_H

#include "wrvq_kernels.h"

typedef struct wrvq_trainer wrvq_trainer;

typedef struct wrvq_training_kernels
{
	/* The transform_block_dimensions that suit vectors of so many dimensions. */
	int32_t		(*WRVQ_NONNULL default_transform_block) (int32_t dimensions);

	/*
	 * Appends to a shape of flat levels the product level that suits an index:
	 * level_count grows by one.  WRVQ_BAD_SHAPE if no entry could hold it, or if
	 * the rest of the shape is bad.
	 */
	wrvq_status (*WRVQ_NONNULL plan_product) (wrvq_shape *WRVQ_NONNULL shape);

	/* --- a sample: its scale first, then its rows --- */

	/* keys[n] = the lengths of rows[n][d], which are finite, as numbers in the same order. */
	void		(*WRVQ_NONNULL length_keys) (const float *WRVQ_NONNULL rows, ptrdiff_t n, ptrdiff_t d, uint64_t *WRVQ_NONNULL keys);
	/*
	 * The power of two that brings the median length nearest to one; keys[n] are
	 * consumed.  Zeros do not count; 1 if there is nothing else.  For cosine the
	 * scale is 1.
	 */
	float		(*WRVQ_NONNULL median_scale) (uint64_t *WRVQ_NONNULL keys, ptrdiff_t n);
	/*
	 * Scales (cosine: normalises) rows[n][d], which are finite, in place; outliers
	 * become shorter.  Returns how many are left: under cosine those of length
	 * zero go, and the others move up.
	 */
	ptrdiff_t	(*WRVQ_NONNULL prepare_sample) (float *WRVQ_NONNULL rows, ptrdiff_t n, ptrdiff_t d, int32_t metric, float scale);

	/* --- the trainer --- */

	/* Bytes of memory for a trainer on n sample rows, without the sample; 0 if the shape is bad. */
	int64_t		(*WRVQ_NONNULL trainer_bytes) (const wrvq_shape *WRVQ_NONNULL shape, int64_t n);
	/*
	 * sample[n][d] (n >= 1) is consumed.  memory: trainer_bytes(), 64-byte
	 * aligned.  iterations: k-means iterations a level, 1..100.
	 */
	wrvq_trainer *WRVQ_NONNULL (*WRVQ_NONNULL trainer_begin) (const wrvq_shape *WRVQ_NONNULL shape, float *WRVQ_NONNULL sample, int64_t n,
															  uint64_t seed, int32_t iterations, void *WRVQ_NONNULL memory);
	int32_t		(*WRVQ_NONNULL trainer_units) (const wrvq_trainer *WRVQ_NONNULL trainer);
	/*
	 * trainer may be another process's view of the memory, if the sample is
	 * mapped at the same distance from it.
	 */
	void		(*WRVQ_NONNULL trainer_work) (wrvq_trainer *WRVQ_NONNULL trainer, int32_t unit);
	/* Ends the current step; WRVQ_MORE until all levels are trained. */
	wrvq_status (*WRVQ_NONNULL trainer_advance) (wrvq_trainer *WRVQ_NONNULL trainer);
	/* The level being trained, and the share 0..1 of the whole work that is done. */
	int32_t		(*WRVQ_NONNULL trainer_level) (const wrvq_trainer *WRVQ_NONNULL trainer);
	float		(*WRVQ_NONNULL trainer_progress) (const wrvq_trainer *WRVQ_NONNULL trainer);

	/* --- results, valid once a level is trained --- */

	/* flat: [s][d]; product: [m][16][p].  Rounded through halves, so that storing them as halves loses nothing. */
	const float *WRVQ_NONNULL (*WRVQ_NONNULL trainer_codewords) (const wrvq_trainer *WRVQ_NONNULL trainer, int32_t level);
	/* The product level's transform: diagonal blocks in sequence, each [b][b]; rounded likewise. */
	const float *WRVQ_NONNULL (*WRVQ_NONNULL trainer_transform) (const wrvq_trainer *WRVQ_NONNULL trainer);
	/*
	 * The 2^weight_bits values, ascending, that the level's stored weights can
	 * take: only where it has fewer than 16 bits and its rule is not one.
	 */
	const float *WRVQ_NONNULL (*WRVQ_NONNULL trainer_weights) (const wrvq_trainer *WRVQ_NONNULL trainer, int32_t level);
	/* Quantization loss on the sample after the level: mean squared length of the residual. */
	double		(*WRVQ_NONNULL trainer_loss) (const wrvq_trainer *WRVQ_NONNULL trainer, int32_t level);

	/* --- the same step alone, for who trains otherwise --- */

	/*
	 * grid[count] = values, ascending, that weights[n] (n >= 1) can be rounded
	 * to, each a half; count: 2 to 256.  bins: 65,536 numbers of scratch.
	 */
	void		(*WRVQ_NONNULL fit_weights) (const float *WRVQ_NONNULL weights, ptrdiff_t n, int32_t count, uint32_t *WRVQ_NONNULL bins,
											 float *WRVQ_NONNULL grid);
} wrvq_training_kernels;

void		wrvq_training_base(wrvq_training_kernels *WRVQ_NONNULL kernels);
void		wrvq_training_v3(wrvq_training_kernels *WRVQ_NONNULL kernels);	/* x86-64-v3 */

#endif
