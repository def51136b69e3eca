/* abi_codes.c: vectors as values of codes and weights. */
#include "abi_test.h"

/* The trained codebook as a stored one is read: bound, then level by level. */
static bool
make_coder(const Trained *trained, wrvq_coder *coder)
{
	const wrvq_shape *shape = &trained->shape;

	memset(coder, 0, sizeof(*coder));
	coder->dimensions = shape->dimensions;
	coder->metric = shape->metric;
	coder->level_count = shape->level_count;
	coder->scale = shape->scale;
	for (int level = 0; level < shape->level_count; level++)
	{
		coder->levels[level].shape = shape->levels[level];
		if (shape->levels[level].kind == WRVQ_PRODUCT)
			coder->levels[level].transform_block_dimensions = shape->transform_block_dimensions;
	}
	EXPECT(CODE(coder_check)(coder) == WRVQ_OK);
	CODE(coder_bind)(coder, guarded((size_t) CODE(coder_bytes)(coder), 64));
	for (int level = 0; level < shape->level_count; level++)
		CODE(coder_set_level)
	(coder, level, trained->codewords[level],
	 coder->levels[level].transform_block_dimensions > 0 ? trained->transform : NULL, trained->weights[level]);
	return true;
}

/* The operator's value by a plain loop. */
static double
distance_of(int metric, const float *a, const float *b, int d)
{
	double square = 0, product = 0, aa = 0, bb = 0;

	for (int k = 0; k < d; k++)
	{
		square += ((double) a[k] - b[k]) * ((double) a[k] - b[k]);
		product += (double) a[k] * b[k];
		aa += (double) a[k] * a[k];
		bb += (double) b[k] * b[k];
	}
	return metric == WRVQ_L2 ? sqrt(square) : metric == WRVQ_IP ? -product : 1 - product / sqrt(aa * bb);
}

/* Every level brings a vector's code nearer to it, and distances are those of what the code says. */
static bool
code_is_good(const wrvq_coder *coder, const float *vector, void *scratch, double *losses)
{
	int		 d = coder->dimensions;
	uint8_t *code = GUARDED(uint8_t, coder->code_bytes);
	float	*decoded = GUARDED(float, d), *other = GUARDED(float, d);
	void	*arena = guarded((size_t) CODE(code_query_bytes)(coder), 64);
	double	*distance = GUARDED(double, 1);

	EXPECT(CODE(encode)(coder, vector, scratch, code) == WRVQ_OK);
	for (int levels = 1; levels <= coder->level_count; levels++)
	{
		EXPECT(CODE(decode)(coder, code, levels, scratch, decoded) == WRVQ_OK);
		for (int k = 0; k < d; k++)
			losses[levels - 1] += ((double) vector[k] - decoded[k]) * ((double) vector[k] - decoded[k]);
	}
	for (int k = 0; k < d; k++)
		other[k] = vector[(k + 1) % d];
	for (int metric = WRVQ_L2; metric <= WRVQ_COSINE; metric++)
	{
		double expected = distance_of(metric, decoded, other, d);

		CODE(code_query_begin)(coder, metric, other, arena);
		EXPECT(CODE(code_distance)(arena, code, distance) == WRVQ_OK);
		EXPECT(fabs(*distance - expected) <= 1e-3 * (1 + fabs(expected)));
		/* no vector has a codeword that there is not */
		code[coder->levels[0].code_offset] ^= 0x80;
		EXPECT(CODE(code_distance)(arena, code, distance) == WRVQ_BAD_CODE);
		EXPECT(CODE(decode)(coder, code, 1, scratch, decoded) == WRVQ_BAD_CODE);
		code[coder->levels[0].code_offset] ^= 0x80;
		EXPECT(CODE(decode)(coder, code, coder->level_count, scratch, decoded) == WRVQ_OK);
	}
	return true;
}

bool
codes_decode(void)
{
	for (int metric = WRVQ_L2; metric <= WRVQ_IP; metric++)
	{
		wrvq_shape shape = sample_shape((wrvq_metric) metric);
		wrvq_coder coder;
		Trained	   trained;
		double	   losses[WRVQ_LEVELS_MAX] = {0};
		void	  *scratch;
		float	  *vector;
		uint8_t	  *code;

		shape.levels[1].weight_bits = 4;
		EXPECT(train(&shape, 300, &trained) && make_coder(&trained, &coder));
		scratch = guarded((size_t) CODE(scratch_bytes)(&coder), 64);
		vector = GUARDED(float, shape.dimensions);
		for (int i = 0; i < 20; i++)
		{
			for (int k = 0; k < shape.dimensions; k++)
				vector[k] = trained.sample[i * shape.dimensions + k] / shape.scale;
			EXPECT(code_is_good(&coder, vector, scratch, losses));
		}
		for (int level = 1; level < shape.level_count; level++)
			EXPECT(losses[level] < losses[level - 1]);
		vector[shape.dimensions - 1] = NAN;
		code = GUARDED(uint8_t, coder.code_bytes);
		EXPECT(CODE(encode)(&coder, vector, scratch, code) == WRVQ_NOT_FINITE);
		coder.levels[0].shape.codeword_count = 0;
		EXPECT(CODE(coder_check)(&coder) == WRVQ_BAD_SHAPE);
		EXPECT(release_guarded());
	}
	return true;
}
