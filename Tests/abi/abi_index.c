/* abi_index.c: what an index does with the kernels before it is asked: encode rows, fill blocks, calibrate. */
#include "abi_test.h"

#define ROWS 300

/* The codebook's image from what was trained, as a build makes it. */
static void
bind_image(Index *index)
{
	const wrvq_shape *shape = &index->trained.shape;
	float			 *scratch = guarded(sizeof(float) * (size_t) KERNEL(image_scratch_floats)(shape), 8);

	KERNEL(image_bind)(shape, guarded((size_t) KERNEL(image_bytes)(shape), 64), &index->codebook);
	if (index->trained.transform != NULL)
		KERNEL(image_set_transform)(&index->codebook, index->trained.transform);
	for (int level = 0; level < shape->level_count; level++)
		KERNEL(image_set_level)(&index->codebook, level, index->trained.codewords[level], scratch);
	KERNEL(layout)(shape, &index->layout);
}

/* Encodes all rows in one batch, then again for their second lists. */
static bool
encode_rows(Index *index)
{
	int			  n = index->n, entry_bytes = index->layout.entry_bytes;
	void		 *scratch = guarded((size_t) KERNEL(encode_scratch_bytes)(&index->codebook, n), 64);
	uint32_t	 *lists = GUARDED(uint32_t, n);
	wrvq_encoded *encoded = GUARDED(wrvq_encoded, n), *spilled = GUARDED(wrvq_encoded, n);
	uint8_t		 *entries = GUARDED(uint8_t, n * entry_bytes), *spilled_entries = GUARDED(uint8_t, n * entry_bytes);
	ptrdiff_t	  bad = -1;

	index->prepared = GUARDED(float, n * index->d);
	EXPECT(KERNEL(prepare)(&index->codebook, index->vectors, n, scratch, index->prepared, &bad) == WRVQ_OK);
	KERNEL(encode)(&index->codebook, &index->layout, index->prepared, n, scratch, encoded, entries);
	KERNEL(spill_lists)(&index->codebook, index->prepared, n, encoded, scratch, lists);
	KERNEL(encode_in_lists)
	(&index->codebook, &index->layout, index->prepared, n, lists, scratch, spilled, spilled_entries);
	index->encoded = GUARDED(wrvq_encoded, 2 * n);
	memcpy(index->encoded, encoded, sizeof(wrvq_encoded) * n);
	memcpy(index->encoded + n, spilled, sizeof(wrvq_encoded) * n);
	index->entries = GUARDED(uint8_t, 2 * n * entry_bytes);
	memcpy(index->entries, entries, (size_t) n * entry_bytes);
	memcpy(index->entries + n * entry_bytes, spilled_entries, (size_t) n * entry_bytes);
	for (int i = 0; i < n; i++)
		EXPECT(spilled[i].list == lists[i] && lists[i] != encoded[i].list);
	return true;
}

/* The statistics, gathered by two participants of a build. */
static void
set_statistics(Index *index)
{
	int		 half = index->n / 2;
	size_t	 bytes = (size_t) KERNEL(statistics_bytes)(&index->codebook);
	uint8_t *sums = guarded_zeros(bytes, 8), *others = guarded_zeros(bytes, 8);

	KERNEL(statistics_add)(&index->codebook, &index->layout, sums, index->encoded, index->entries, half);
	KERNEL(statistics_add)
	(&index->codebook, &index->layout, others, index->encoded + half, index->entries + half * index->layout.entry_bytes,
	 index->n - half);
	KERNEL(statistics_merge)(&index->codebook, sums, others);
	KERNEL(image_set_statistics)(&index->codebook, sums);
}

bool
make_index(wrvq_metric metric, Index *index)
{
	wrvq_shape shape = sample_shape(metric);

	memset(index, 0, sizeof(*index));
	EXPECT(KERNEL(shape_check)(&shape) == WRVQ_OK);
	EXPECT(train(&shape, ROWS, &index->trained));
	index->d = shape.dimensions;
	index->n = ROWS;
	index->lists = shape.levels[0].codeword_count;
	index->sublists = shape.levels[1].codeword_count;
	bind_image(index);
	/* as the trainer saw them, before they were scaled; lengths say nothing under cosine */
	index->vectors = GUARDED(float, index->n * index->d);
	for (int i = 0; i < index->n * index->d; i++)
		index->vectors[i] = index->trained.sample[i] / shape.scale;
	index->rows = GUARDED(uint64_t, index->n);
	for (int i = 0; i < index->n; i++)
		index->rows[i] = (uint64_t) (i / 5) << 16 | (uint64_t) (i % 5 + 1);
	EXPECT(encode_rows(index));
	set_statistics(index);
	return true;
}

/* The loss that encoding says it has is the one that training found; a row alone has the same code. */
bool
rows_are_encoded(void)
{
	for (int metric = WRVQ_L2; metric <= WRVQ_COSINE; metric++)
	{
		Index		  index;
		double		  residual = 0, loss = 0, trained;
		int			  d, bytes, last;
		void		 *scratch;
		float		 *prepared, *vector;
		wrvq_encoded *encoded;
		uint8_t		 *entry;
		ptrdiff_t	  bad = -1;

		EXPECT(make_index((wrvq_metric) metric, &index));
		d = index.d;
		bytes = index.layout.entry_bytes;
		scratch = guarded((size_t) KERNEL(encode_scratch_bytes)(&index.codebook, 1), 64);
		prepared = GUARDED(float, d);
		encoded = GUARDED(wrvq_encoded, 1);
		entry = GUARDED(uint8_t, bytes);
		for (int i = 0; i < index.n; i++)
		{
			vector = index.vectors + i * d;
			residual += index.encoded[i].residual_squared / index.n;
			loss += index.encoded[i].loss / index.n;
			if (i % 37 != 0)
				continue;
			EXPECT(KERNEL(prepare)(&index.codebook, GUARDED_COPY(float, vector, d), 1, scratch, prepared, &bad) ==
				   WRVQ_OK);
			EXPECT(memcmp(prepared, index.prepared + i * d, sizeof(float) * (size_t) d) == 0);
			KERNEL(encode)(&index.codebook, &index.layout, prepared, 1, scratch, encoded, entry);
			EXPECT(memcmp(entry, index.entries + i * bytes, (size_t) bytes) == 0);
			EXPECT(KERNEL(entry_sublist)(&index.trained.shape, &index.layout, entry) == index.encoded[i].sublist);
		}
		last = index.trained.shape.level_count - 1;
		trained = index.trained.loss[last];
		EXPECT(fabs(residual - index.trained.loss[0]) < 0.02 * residual && fabs(loss - trained) < 0.1 * trained);
		vector = GUARDED_COPY(float, index.vectors, d);
		vector[d - 1] = INFINITY;
		EXPECT(KERNEL(prepare)(&index.codebook, vector, 1, scratch, prepared, &bad) == WRVQ_NOT_FINITE && bad == 0);
		EXPECT(release_guarded());
	}
	return true;
}

/* A block gives back what was put into it, and forgets a row that is told dead. */
bool
blocks_keep_entries(void)
{
	Index	 index;
	int		 bytes;
	uint8_t *block, *entry;

	EXPECT(make_index(WRVQ_L2, &index));
	bytes = index.layout.entry_bytes;
	block = GUARDED(uint8_t, index.layout.block_bytes);
	entry = GUARDED(uint8_t, bytes);
	for (int i = 0; i < WRVQ_BLOCK_ENTRIES; i++)
		KERNEL(block_put)
	(&index.layout, block, i, index.rows[i], GUARDED_COPY(uint8_t, index.entries + i * bytes, bytes));
	for (int i = 0; i < WRVQ_BLOCK_ENTRIES; i++)
	{
		EXPECT(KERNEL(block_get)(&index.layout, block, i, entry) == index.rows[i]);
		EXPECT(memcmp(entry, index.entries + i * bytes, (size_t) bytes) == 0);
		KERNEL(block_set_row)(block, i, WRVQ_ROW_DEAD);
		EXPECT(KERNEL(block_row)(block, i) == WRVQ_ROW_DEAD);
	}
	return release_guarded();
}

/* What the measure of distances of prepared rows is: its order is that of the metric. */
static double
prepared_distance(const Index *index, int a, int b)
{
	double sum = 0;

	for (int k = 0; k < index->d; k++)
	{
		double x = index->prepared[a * index->d + k], y = index->prepared[b * index->d + k];

		sum += index->trained.shape.metric == WRVQ_L2 ? (x - y) * (x - y) : -x * y;
	}
	return sum;
}

/* Is a row among the ten nearest of a query row, but for what rounding may turn round? */
static bool
is_neighbour(const Index *index, int query, int row)
{
	double distance = prepared_distance(index, query, row);
	int	   nearer = 0;

	for (int i = 0; i < index->n; i++)
		if (i != query && prepared_distance(index, query, i) < distance - 1e-4 * (1 + fabs(distance)))
			nearer++;
	return row != query && nearer < WRVQ_CALIBRATION_NEIGHBOURS;
}

/* Adds rows first .. first+n-1, which two participants of a build see each in part. */
static void
calibrate(const Index *index, void *memory, int queries, int first, int n)
{
	for (int done = 0; done < n; done += WRVQ_CALIBRATION_BATCH)
	{
		int at = first + done, size = n - done < WRVQ_CALIBRATION_BATCH ? n - done : WRVQ_CALIBRATION_BATCH;

		KERNEL(calibration_add)
		(&index->codebook, queries, memory, GUARDED_COPY(float, index->prepared + at * index->d, size * index->d),
		 GUARDED_COPY(uint64_t, index->rows + at, size), GUARDED_COPY(wrvq_encoded, index->encoded + at, size),
		 GUARDED_COPY(wrvq_encoded, index->encoded + index->n + at, size), size);
	}
}

bool
calibration_finds_neighbours(void)
{
	enum
	{
		queries = 19
	};

	for (int metric = WRVQ_L2; metric <= WRVQ_COSINE; metric++)
	{
		Index	  index;
		size_t	  bytes;
		void	 *memory, *other, *arena;
		uint32_t *lists = GUARDED(uint32_t, WRVQ_CALIBRATION_NEIGHBOURS);
		uint64_t *rows = GUARDED(uint64_t, WRVQ_CALIBRATION_NEIGHBOURS);
		float	 *prepared;
		uint64_t *own;
		float	 *shared;

		EXPECT(make_index((wrvq_metric) metric, &index));
		bytes = (size_t) KERNEL(calibration_bytes)(&index.codebook, queries);
		memory = guarded(bytes, 8);
		other = guarded(bytes, 8);
		arena = guarded((size_t) KERNEL(query_bytes)(&index.codebook), 64);
		prepared = GUARDED_COPY(float, index.prepared, queries *index.d);
		own = GUARDED_COPY(uint64_t, index.rows, queries);
		KERNEL(calibration_begin)(&index.codebook, prepared, own, queries, memory);
		KERNEL(calibration_begin)(&index.codebook, prepared, own, queries, other);
		shared = GUARDED(float, queries);
		for (int i = 0; i < queries; i++)
			shared[i] = -INFINITY;
		calibrate(&index, memory, queries, 0, index.n / 3);
		KERNEL(calibration_exchange)(&index.codebook, queries, memory, shared);
		KERNEL(calibration_exchange)(&index.codebook, queries, other, shared);
		calibrate(&index, other, queries, index.n / 3, index.n - index.n / 3);
		KERNEL(calibration_merge)(&index.codebook, queries, memory, other);
		for (int i = 0; i < queries; i++)
		{
			EXPECT(KERNEL(query_begin)(&index.codebook, &index.layout,
									   GUARDED_COPY(float, index.vectors + i * index.d, index.d), arena) == WRVQ_OK);
			EXPECT(KERNEL(calibration_neighbours)(&index.codebook, queries, memory, i, arena, rows, lists) ==
				   WRVQ_CALIBRATION_NEIGHBOURS);
			for (int k = 0; k < WRVQ_CALIBRATION_NEIGHBOURS; k++)
			{
				EXPECT(lists[k] < (uint32_t) index.lists);
				EXPECT(is_neighbour(&index, i, (int) (rows[k] >> 16) * 5 + (int) (rows[k] & 0xffff) - 1));
			}
		}
		EXPECT(release_guarded());
	}
	return true;
}
