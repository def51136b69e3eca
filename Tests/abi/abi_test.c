/*
 * abi_test.c: the kernels as a stranger's C program sees them, through the
 * headers and the static library alone.  Prints TAP.
 */
#include "abi_test.h"

#define LENGTH_MAX 530

wrvq_kernels		  kernels;
wrvq_code_kernels	  code_kernels;
wrvq_training_kernels training;
bool				  kernels_called[sizeof(wrvq_kernels) / sizeof(void (*)(void))];
bool				  codes_called[sizeof(wrvq_code_kernels) / sizeof(void (*)(void))];
bool				  training_called[sizeof(wrvq_training_kernels) / sizeof(void (*)(void))];

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
float
next_value(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return (float) (*state >> 8) / 8388608.0f - 1.0f;
}

bool
is_close(double actual, double expected, double magnitude)
{
	return fabs(actual - expected) <= 1e-5 * magnitude + 1e-12;
}

float *
random_rows(int count, uint32_t *state)
{
	float *values = GUARDED(float, count);

	for (int i = 0; i < count; i++)
		values[i] = next_value(state);
	return values;
}

/* An index's usual codebook in small, with a remainder in every loop: odd dimensions, lists and pieces. */
wrvq_shape
sample_shape(wrvq_metric metric)
{
	wrvq_shape shape;

	memset(&shape, 0, sizeof(shape));
	shape.dimensions = 43;
	shape.metric = metric;
	shape.level_count = 3;
	shape.fuzzy_levels = 1;
	shape.transform_block_dimensions = 43;
	shape.scale = metric == WRVQ_COSINE ? 1 : 0.5f;
	shape.levels[0] = (wrvq_level_shape){WRVQ_FLAT, WRVQ_WEIGHT_ONE, 16, 37, 0, 0};
	shape.levels[1] = (wrvq_level_shape){WRVQ_FLAT, WRVQ_WEIGHT_PROJECTION, 16, 12, 0, 0};
	shape.levels[2] = (wrvq_level_shape){WRVQ_PRODUCT, WRVQ_WEIGHT_PROJECTION, 16, 16, 11, 4};
	return shape;
}

/* All three distances against double-precision sums, at every tail length: the last values lie before the guard. */
static bool
distances_agree(void)
{
	uint32_t state = 1;
	float	*all_a = random_rows(LENGTH_MAX, &state), *all_b = random_rows(LENGTH_MAX, &state);

	for (int n = 1; n <= LENGTH_MAX; n++)
	{
		const float *a = all_a + LENGTH_MAX - n, *b = all_b + LENGTH_MAX - n;
		double		 square = 0, product = 0, magnitude = 0, aa = 0, bb = 0;

		for (int i = 0; i < n; i++)
		{
			square += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
			product += (double) a[i] * b[i];
			magnitude += fabs((double) a[i] * b[i]);
			aa += (double) a[i] * a[i];
			bb += (double) b[i] * b[i];
		}
		EXPECT(is_close(KERNEL(l2_distance)(a, b, n), sqrt(square), sqrt(square)));
		EXPECT(is_close(KERNEL(inner_product)(a, b, n), product, magnitude));
		EXPECT(is_close(KERNEL(cosine_distance)(a, b, n), 1 - product / sqrt(aa * bb), 1));
		EXPECT(KERNEL(first_not_finite)(a, n) == -1);
	}
	for (int n = 1; n <= LENGTH_MAX; n += 7)
	{
		all_a[LENGTH_MAX - n] = NAN;
		EXPECT(KERNEL(first_not_finite)(all_a, LENGTH_MAX) == LENGTH_MAX - n);
	}
	EXPECT(isnan(KERNEL(cosine_distance)(guarded_zeros(sizeof(float) * 3, sizeof(float)), all_b, 3)));
	return release_guarded();
}

/* Arithmetic of SQL values is that of a plain loop, to the last bit. */
static bool
arithmetic_agrees(void)
{
	enum
	{
		n = 37
	};
	float  *a = guarded_zeros(sizeof(float) * n, sizeof(float)), *b = guarded_zeros(sizeof(float) * n, sizeof(float));
	float  *out = guarded_zeros(sizeof(float) * n, sizeof(float));
	double *sums = guarded_zeros(sizeof(double) * n, sizeof(double));
	double *others = guarded_zeros(sizeof(double) * n, sizeof(double));

	for (int i = 0; i < n; i++)
	{
		a[i] = (float) (i + 1) / 7;
		b[i] = (float) (i - 20) / 3;
		others[i] = i * 1e9;
	}
	KERNEL(add_scaled)(a, b, -1, out, n);
	for (int i = 0; i < n; i++)
		EXPECT(out[i] == a[i] - b[i]);
	KERNEL(multiply)(a, b, out, n);
	for (int i = 0; i < n; i++)
		EXPECT(out[i] == a[i] * b[i]);
	KERNEL(divide)(a, 1e-3, out, n);
	for (int i = 0; i < n; i++)
		EXPECT(out[i] == (float) ((double) a[i] / 1e-3));
	KERNEL(add_to_sums)(sums, a, n);
	KERNEL(add_sums)(sums, others, n);
	KERNEL(divide_sums)(sums, 3, out, n);
	for (int i = 0; i < n; i++)
	{
		EXPECT(sums[i] == (double) a[i] + others[i]);
		EXPECT(out[i] == (float) (sums[i] / 3));
	}
	return release_guarded();
}

/* The nearest of s codewords is the one that a plain loop finds, with the products that it finds. */
static bool
assignment_is_nearest(void)
{
	enum
	{
		n = 7,
		s = 37,
		d = 19,
		padded = 48
	};
	uint32_t state = 2;
	float	*x = random_rows(n * d, &state), *rows = random_rows(s * d, &state);
	float *packed = GUARDED(float, padded *d), *half_norms = GUARDED(float, padded), *scratch = GUARDED(float, 32 * n);
	float *scores = GUARDED(float, n), *products = GUARDED(float, n *padded);
	uint32_t *codes = GUARDED(uint32_t, n);

	for (int j = 0; j < padded; j++)
	{
		half_norms[j] = j < s ? 0 : INFINITY;
		for (int k = 0; j < s && k < d; k++)
			half_norms[j] += rows[j * d + k] * rows[j * d + k] / 2;
	}
	KERNEL(pack)(rows, s, d, packed);
	KERNEL(assign)(x, n, d, packed, half_norms, s, scratch, codes, scores);
	KERNEL(inner_products)(x, n, d, packed, s, products);
	for (int i = 0; i < n; i++)
	{
		int	   nearest = -1;
		double best = INFINITY;

		for (int j = 0; j < s; j++)
		{
			double square = 0, product = 0;

			for (int k = 0; k < d; k++)
			{
				double difference = (double) x[i * d + k] - rows[j * d + k];

				square += difference * difference;
				product += (double) x[i * d + k] * rows[j * d + k];
			}
			EXPECT(is_close(products[i * padded + j], product, d));
			if (square < best)
			{
				best = square;
				nearest = j;
			}
		}
		EXPECT(codes[i] == (uint32_t) nearest);
	}
	return release_guarded();
}

/* A product level on 16 rows at once chooses what a plain loop chooses, the last piece reaching beyond the dimensions. */
static bool
tile_is_nearest(void)
{
	enum
	{
		m = 5,
		p = 4,
		d = 18
	};
	uint32_t state = 5;
	float	*x = random_rows(16 * d, &state), *codewords = random_rows(m * 16 * p, &state);
	float	*half_norms = GUARDED(float, m * 16), *fit = GUARDED(float, 2 * 16);
	uint8_t *codes = GUARDED(uint8_t, 16 * m);

	for (int i = 0; i < m * 16 * p; i++)
		if (i / (16 * p) * p + i % p >= d)
			codewords[i] = 0;
	for (int i = 0; i < m * 16; i++)
	{
		half_norms[i] = 0;
		for (int k = 0; k < p; k++)
			half_norms[i] += codewords[i * p + k] * codewords[i * p + k] / 2;
	}
	KERNEL(encode_tile)(x, d, codewords, half_norms, m, p, codes, fit);
	for (int row = 0; row < 16; row++)
		for (int piece = 0; piece < m; piece++)
		{
			double best = -INFINITY, chosen = 0;

			for (int code = 0; code < 16; code++)
			{
				const float *codeword = codewords + (piece * 16 + code) * p;
				double		 score = -half_norms[piece * 16 + code];

				for (int k = 0; k < p && piece * p + k < d; k++)
					score += (double) x[(piece * p + k) * 16 + row] * codeword[k];
				best = fmax(best, score);
				if (code == codes[row * m + piece])
					chosen = score;
			}
			EXPECT(is_close(chosen, best, p));
		}
	return release_guarded();
}

/* Every half but the NaNs survives the way to a float and back, at every tail length. */
static bool
halves_survive(void)
{
	enum
	{
		count = 61
	};
	uint16_t *halves = GUARDED(uint16_t, count), *back = GUARDED(uint16_t, count);
	float	 *floats = GUARDED(float, count);

	for (uint32_t bits = 0; bits < 0x10000; bits++)
	{
		int n = 1 + (int) (bits % count);

		for (int i = 0; i < n; i++)
		{
			uint32_t half = bits + (uint32_t) i * 1024;

			halves[count - n + i] = (uint16_t) ((half & 0x7c00) == 0x7c00 ? 0 : half);
		}
		KERNEL(half_to_float)(halves + count - n, floats + count - n, n);
		KERNEL(float_to_half)(floats + count - n, back + count - n, n);
		EXPECT(memcmp(halves + count - n, back + count - n, sizeof(uint16_t) * (size_t) n) == 0);
	}
	return release_guarded();
}

/* A shape read from a damaged page is refused, not believed. */
static bool
bad_shapes_are_refused(void)
{
	wrvq_shape *shape = guarded(sizeof(wrvq_shape), _Alignof(wrvq_shape));

	EXPECT(KERNEL(shape_check)(shape) == WRVQ_BAD_SHAPE);
	*shape = sample_shape(WRVQ_L2);
	EXPECT(KERNEL(shape_check)(shape) == WRVQ_OK);
	shape->dimensions = 0;
	EXPECT(KERNEL(shape_check)(shape) == WRVQ_BAD_SHAPE);
	*shape = sample_shape(WRVQ_L2);
	shape->levels[1].codeword_count = -1;
	EXPECT(KERNEL(shape_check)(shape) == WRVQ_BAD_SHAPE);
	return release_guarded();
}

/* Nobody added a kernel and forgot it here. */
static bool
all_are_called(void)
{
	for (size_t i = 0; i < sizeof(kernels_called); i++)
		if (!kernels_called[i])
			printf("# member %zu of wrvq_kernels was not called\n", i);
	return memchr(kernels_called, false, sizeof(kernels_called)) == NULL &&
		   memchr(codes_called, false, sizeof(codes_called)) == NULL &&
		   memchr(training_called, false, sizeof(training_called)) == NULL;
}

static void
check_level(const char *level)
{
	memset(kernels_called, 0, sizeof(kernels_called));
	memset(codes_called, 0, sizeof(codes_called));
	memset(training_called, 0, sizeof(training_called));
	report(distances_agree(), level, "distances agree with double precision at every length");
	report(arithmetic_agrees(), level, "arithmetic of vectors is that of a plain loop");
	report(halves_survive(), level, "halves survive the way to floats and back");
	report(assignment_is_nearest(), level, "assign finds the nearest codeword");
	report(tile_is_nearest(), level, "encode_tile finds the nearest codewords of every piece");
	report(bad_shapes_are_refused(), level, "shape_check refuses bad shapes");
	report(training_reduces_loss() && release_guarded(), level, "training reduces the loss from level to level");
	report(weights_are_fitted(), level, "fit_weights gives ascending values");
	report(samples_are_prepared(), level, "samples are scaled by their median length");
	report(product_levels_are_planned(), level, "plan_product appends a level");
	report(rows_are_encoded(), level, "rows are encoded as well as training promises, alone as in a batch");
	report(blocks_keep_entries(), level, "blocks keep entries");
	report(calibration_finds_neighbours(), level, "calibration finds the true neighbours");
	report(queries_find_rows(), level, "queries rank lists and sub-lists and find rows");
	report(codes_decode(), level, "codes decode, and compare as what they decode to");
	report(all_are_called(), level, "every kernel was called, with nothing but guarded memory");
}

int
main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	wrvq_kernels_base(&kernels);
	wrvq_code_kernels_base(&code_kernels);
	wrvq_training_base(&training);
	check_level("base");
#if defined(__x86_64__)
	if (wrvq_cpu_is_v3())
	{
		wrvq_kernels_v3(&kernels);
		wrvq_code_kernels_v3(&code_kernels);
		wrvq_training_v3(&training);
		check_level("x86-64-v3");
	}
	else
		printf("# x86-64-v3 skipped: this processor lacks it\n");
#endif
	printf("1..%d\n", tests);
	return failures != 0;
}
