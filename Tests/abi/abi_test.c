/*
 * abi_test.c: the kernels as a stranger's C program sees them, through the
 * headers and the static library alone.  Prints TAP.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wrvq_kernels.h"
#include "wrvq_training.h"

#define LENGTH_MAX 530

static int tests = 0;
static int failures = 0;

static void
report(bool passed, const char *level, const char *promise)
{
	tests++;
	if (!passed)
		failures++;
	printf("%s %d - %s: %s\n", passed ? "ok" : "not ok", tests, level, promise);
}

/* A value in [-1, 1) that every C library computes alike. */
static float
next_value(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (float) (*state >> 8) / 8388608.0f - 1.0f;
}

static bool
is_close(double actual, double expected, double magnitude)
{
	return fabs(actual - expected) <= 1e-5 * magnitude + 1e-12;
}

/* All three distances against double-precision sums, at every tail length. */
static bool
distances_agree(const wrvq_kernels *kernels)
{
	float	 a[LENGTH_MAX], b[LENGTH_MAX];
	uint32_t state = 1;
	int		 n, i;

	for (i = 0; i < LENGTH_MAX; i++)
	{
		a[i] = next_value(&state);
		b[i] = next_value(&state);
	}
	for (n = 1; n <= LENGTH_MAX; n++)
	{
		double square = 0, product = 0, magnitude = 0, aa = 0, bb = 0;

		for (i = 0; i < n; i++)
		{
			square += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
			product += (double) a[i] * b[i];
			magnitude += fabs((double) a[i] * b[i]);
			aa += (double) a[i] * a[i];
			bb += (double) b[i] * b[i];
		}
		if (!is_close(kernels->l2_distance(a, b, n), sqrt(square), sqrt(square)) ||
			!is_close(kernels->inner_product(a, b, n), product, magnitude) ||
			!is_close(kernels->cosine_distance(a, b, n), 1 - product / sqrt(aa * bb), 1))
			return false;
	}
	return true;
}

/* The nearest of s codewords is the one that a plain loop finds. */
static bool
assignment_is_nearest(const wrvq_kernels *kernels)
{
	enum
	{
		n = 7,
		s = 37,
		d = 19,
		padded = 48
	};
	float	 x[n * d], rows[s * d], packed[padded * d], half_norms[padded], scratch[32 * n], scores[n];
	uint32_t codes[n], state = 2;
	int		 i, j, k;

	for (i = 0; i < n * d; i++)
		x[i] = next_value(&state);
	for (i = 0; i < s * d; i++)
		rows[i] = next_value(&state);
	for (j = 0; j < padded; j++)
	{
		half_norms[j] = j < s ? 0 : INFINITY;
		for (k = 0; j < s && k < d; k++)
			half_norms[j] += rows[j * d + k] * rows[j * d + k] / 2;
	}
	kernels->pack(rows, s, d, packed);
	kernels->assign(x, n, d, packed, half_norms, s, scratch, codes, scores);
	for (i = 0; i < n; i++)
	{
		int	   nearest = -1;
		double best = INFINITY;

		for (j = 0; j < s; j++)
		{
			double square = 0;

			for (k = 0; k < d; k++)
				square += ((double) x[i * d + k] - rows[j * d + k]) * ((double) x[i * d + k] - rows[j * d + k]);
			if (square < best)
			{
				best = square;
				nearest = j;
			}
		}
		if (codes[i] != (uint32_t) nearest)
			return false;
	}
	return true;
}

/* Every half but the NaNs survives the way to a float and back. */
static bool
halves_survive(const wrvq_kernels *kernels)
{
	for (uint32_t bits = 0; bits < 0x10000; bits += 8)
	{
		uint16_t halves[8], back[8];
		float	 floats[8];

		if ((bits & 0x7c00) == 0x7c00)
			continue;
		for (int i = 0; i < 8; i++)
			halves[i] = (uint16_t) (bits + i);
		kernels->half_to_float(halves, floats, 8);
		kernels->float_to_half(floats, back, 8);
		if (memcmp(halves, back, sizeof(halves)) != 0)
			return false;
	}
	return true;
}

static wrvq_shape
small_shape(void)
{
	wrvq_shape shape;

	memset(&shape, 0, sizeof(shape));
	shape.dimensions = 24;
	shape.metric = WRVQ_L2;
	shape.level_count = 2;
	shape.scale = 1;
	shape.levels[0].codeword_count = 5;
	shape.levels[0].weight_bits = 16;
	shape.levels[1].weight_rule = WRVQ_WEIGHT_PROJECTION;
	shape.levels[1].weight_bits = 16;
	shape.levels[1].codeword_count = 16;
	return shape;
}

/* A shape read from a damaged page is refused, not believed. */
static bool
bad_shapes_are_refused(const wrvq_kernels *kernels)
{
	wrvq_shape shape = small_shape();

	if (kernels->shape_check(&shape) != WRVQ_OK)
		return false;
	shape.dimensions = 0;
	if (kernels->shape_check(&shape) != WRVQ_BAD_SHAPE)
		return false;
	shape = small_shape();
	shape.levels[1].codeword_count = -1;
	if (kernels->shape_check(&shape) != WRVQ_BAD_SHAPE)
		return false;
	memset(&shape, 0x7f, sizeof(shape));
	return kernels->shape_check(&shape) == WRVQ_BAD_SHAPE;
}

/* Trains a codebook on 200 vectors; true if the loss falls from level to level. */
static bool
training_reduces_loss(const wrvq_training_kernels *training)
{
	enum
	{
		n = 200
	};
	wrvq_shape	  shape = small_shape();
	float		  sample[n * 24];
	uint32_t	  state = 3;
	int64_t		  bytes = training->trainer_bytes(&shape, n);
	void		 *memory = aligned_alloc(64, (size_t) (bytes + 63) / 64 * 64);
	wrvq_trainer *trainer;
	bool		  falls;

	if (bytes <= 0 || memory == NULL)
		return false;
	for (int i = 0; i < n * 24; i++)
		sample[i] = next_value(&state);
	trainer = training->trainer_begin(&shape, sample, n, 42, 10, memory);
	do
	{
		for (int32_t unit = 0; unit < training->trainer_units(trainer); unit++)
			training->trainer_work(trainer, unit);
	} while (training->trainer_advance(trainer) == WRVQ_MORE);
	falls = training->trainer_loss(trainer, 1) < training->trainer_loss(trainer, 0) &&
			training->trainer_loss(trainer, 1) > 0 && training->trainer_progress(trainer) == 1;
	free(memory);
	return falls;
}

static void
check_level(const char *level, void (*fill_kernels)(wrvq_kernels *), void (*fill_training)(wrvq_training_kernels *))
{
	wrvq_kernels		  kernels;
	wrvq_training_kernels training;
	const float			  finite[3] = {1, 2, 3};
	const float			  broken[3] = {1, 2, NAN};
	const float			  zero[3] = {0, 0, 0};

	fill_kernels(&kernels);
	fill_training(&training);

	report(distances_agree(&kernels), level, "distances agree with double precision at every length");
	report(isnan(kernels.cosine_distance(zero, finite, 3)), level, "the cosine of a zero vector is NaN");
	report(kernels.first_not_finite(finite, 3) == -1 && kernels.first_not_finite(broken, 3) == 2, level,
		   "first_not_finite finds the NaN");
	report(halves_survive(&kernels), level, "halves survive the way to floats and back");
	report(assignment_is_nearest(&kernels), level, "assign finds the nearest codeword");
	report(bad_shapes_are_refused(&kernels), level, "shape_check refuses bad shapes");
	report(training_reduces_loss(&training), level, "training reduces the loss from level to level");
}

int
main(void)
{
	check_level("base", wrvq_kernels_base, wrvq_training_base);
#if defined(__x86_64__)
	if (wrvq_cpu_is_v3())
		check_level("x86-64-v3", wrvq_kernels_v3, wrvq_training_v3);
	else
		printf("# x86-64-v3 skipped: this processor lacks it\n");
#endif
	printf("1..%d\n", tests);
	return failures != 0;
}
