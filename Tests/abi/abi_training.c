/* abi_training.c: codebooks trained in guarded memory. */
#include "abi_test.h"

/* Rows around a few centres, unit length under cosine, as the trainer wants them. */
static float *
clustered_rows(const wrvq_shape *shape, int n, uint32_t *state)
{
	enum
	{
		clusters = 9
	};
	int	   d = shape->dimensions;
	float *centers = random_rows(clusters * d, state);
	float *rows = random_rows(n * d, state);

	for (int i = 0; i < n; i++)
	{
		double square = 0;

		for (int k = 0; k < d; k++)
		{
			float *value = &rows[i * d + k];

			*value = shape->scale * (centers[i % clusters * d + k] + 0.4f * *value);
			square += (double) *value * *value;
		}
		for (int k = 0; shape->metric == WRVQ_COSINE && k < d; k++)
			rows[i * d + k] = (float) (rows[i * d + k] / sqrt(square));
	}
	return rows;
}

static int
codeword_values(const wrvq_shape *shape, int level)
{
	const wrvq_level_shape *l = &shape->levels[level];

	return l->kind == WRVQ_FLAT ? l->codeword_count * shape->dimensions : l->piece_count * 16 * l->piece_dimensions;
}

static int
transform_values(const wrvq_shape *shape)
{
	int block = shape->transform_block_dimensions, values = 0;

	for (int start = 0; block > 0 && start < shape->dimensions; start += block)
	{
		int size = start + block < shape->dimensions ? block : shape->dimensions - start;

		values += size * size;
	}
	return values;
}

bool
train(const wrvq_shape *shape, int n, Trained *trained)
{
	uint32_t	  state = 3;
	int64_t		  bytes = TRAINING(trainer_bytes)(shape, n);
	float		 *consumed;
	wrvq_trainer *trainer;

	EXPECT(bytes > 0);
	memset(trained, 0, sizeof(*trained));
	trained->shape = *shape;
	trained->n = n;
	trained->sample = clustered_rows(shape, n, &state);
	consumed = GUARDED_COPY(float, trained->sample, n * shape->dimensions);
	trainer = TRAINING(trainer_begin)(shape, consumed, n, 42, 10, guarded((size_t) bytes, 64));
	do
	{
		EXPECT(TRAINING(trainer_level)(trainer) < shape->level_count);
		for (int32_t unit = 0; unit < TRAINING(trainer_units)(trainer); unit++)
			TRAINING(trainer_work)(trainer, unit);
	} while (TRAINING(trainer_advance)(trainer) == WRVQ_MORE);
	EXPECT(TRAINING(trainer_progress)(trainer) == 1);
	for (int level = 0; level < shape->level_count; level++)
	{
		int bits = shape->levels[level].weight_bits;

		trained->codewords[level] =
			GUARDED_COPY(float, TRAINING(trainer_codewords)(trainer, level), codeword_values(shape, level));
		trained->loss[level] = TRAINING(trainer_loss)(trainer, level);
		if (bits < 16)
			trained->weights[level] = GUARDED_COPY(float, TRAINING(trainer_weights)(trainer, level), 1 << bits);
	}
	if (transform_values(shape) > 0)
		trained->transform = GUARDED_COPY(float, TRAINING(trainer_transform)(trainer), transform_values(shape));
	return true;
}

bool
training_reduces_loss(void)
{
	for (int metric = WRVQ_L2; metric <= WRVQ_COSINE; metric++)
	{
		wrvq_shape shape = sample_shape((wrvq_metric) metric);
		Trained	   trained;

		EXPECT(TRAINING(default_transform_block)(shape.dimensions) == shape.dimensions);
		EXPECT(train(&shape, 300, &trained));
		for (int level = 1; level < shape.level_count; level++)
			EXPECT(trained.loss[level] > 0 && trained.loss[level] < trained.loss[level - 1]);
	}
	return true;
}

bool
weights_are_fitted(void)
{
	enum
	{
		n = 501
	};
	uint32_t  state = 4;
	float	 *weights = random_rows(n, &state);
	uint32_t *bins = GUARDED(uint32_t, 65536);

	for (int count = 2; count <= 256; count *= 2)
	{
		float *grid = GUARDED(float, count);

		TRAINING(fit_weights)(weights, n, count, bins, grid);
		for (int i = 0; i < count; i++)
			EXPECT(isfinite(grid[i]) && (i == 0 || grid[i] >= grid[i - 1]));
	}
	return release_guarded();
}

/* The median length becomes one, zeros and an outlier apart, and rows are scaled by it in place. */
bool
samples_are_prepared(void)
{
	enum
	{
		n = 7,
		d = 3
	};
	static const float lengths[n] = {8, 8, 1e30f, 8, 0, 16, 1};
	uint64_t		  *keys = GUARDED(uint64_t, n);
	float			  *rows = GUARDED(float, n *d);
	float			   scale;

	for (int i = 0; i < n * d; i++)
		rows[i] = i % d == 1 ? lengths[i / d] : 0;
	TRAINING(length_keys)(rows, n, d, keys);
	scale = TRAINING(median_scale)(keys, n);
	EXPECT(scale == 0.125f);
	EXPECT(TRAINING(prepare_sample)(rows, n, d, WRVQ_L2, scale) == n);
	EXPECT(rows[1] == 1 && rows[5 * d + 1] == 2 && rows[2 * d + 1] > 1 && rows[2 * d + 1] < 1e4f);
	EXPECT(TRAINING(prepare_sample)(rows, n, d, WRVQ_COSINE, 1) == n - 1);
	return release_guarded();
}

bool
product_levels_are_planned(void)
{
	wrvq_shape *shape = GUARDED(wrvq_shape, 1);

	*shape = sample_shape(WRVQ_L2);
	shape->level_count = 2;
	EXPECT(TRAINING(plan_product)(shape) == WRVQ_OK);
	EXPECT(shape->level_count == 3 && shape->levels[2].kind == WRVQ_PRODUCT);
	EXPECT(KERNEL(shape_check)(shape) == WRVQ_OK);
	return release_guarded();
}
