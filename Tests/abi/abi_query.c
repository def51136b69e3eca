/* abi_query.c: the three layers of a search over blocks in guarded memory. */
#include "abi_test.h"

/* A query in its arena, and the index's blocks one after another. */
typedef struct Search
{
	const Index *index;
	wrvq_query	*query;
	uint32_t	*lists; /* [lists] */
} Search;

/* Each list's rows in blocks, each block at a guard of its own. */
static void
scan_all(const Search *search)
{
	const Index *index = search->index;
	int			 bytes = index->layout.entry_bytes;

	for (uint32_t list = 0; list < (uint32_t) index->lists; list++)
	{
		uint8_t *block = NULL;
		int		 count = 0;

		for (int i = 0; i < index->n; i++)
		{
			if (index->encoded[i].list != list)
				continue;
			if (block == NULL)
				block = GUARDED(uint8_t, index->layout.block_bytes);
			KERNEL(block_put)(&index->layout, block, count++, index->rows[i], index->entries + i * bytes);
			if (count < WRVQ_BLOCK_ENTRIES)
				continue;
			KERNEL(query_scan_block)(search->query, list, block, count);
			block = NULL;
			count = 0;
		}
		if (block != NULL)
			KERNEL(query_scan_block)(search->query, list, block, count);
	}
}

/* All lists are ranked, each once; likelihoods add up. */
static bool
lists_are_ranked(const Search *search)
{
	int		  n = search->index->lists;
	bool	  seen[WRVQ_LISTS_MAX] = {false};
	float	 *shares = GUARDED(float, 3);
	uint32_t *few = GUARDED(uint32_t, 3);

	EXPECT(KERNEL(query_lists)(search->query, 0, 3, few) == 3);
	EXPECT(KERNEL(query_lists)(search->query, 3, n, search->lists) == n - 3);
	for (int i = 0; i < n; i++)
	{
		uint32_t list = i < 3 ? few[i] : search->lists[i - 3];

		EXPECT(list < (uint32_t) n && !seen[list]);
		seen[list] = true;
	}
	EXPECT(KERNEL(query_probes)(search->query, 1, 0) >= 1 && KERNEL(query_probes)(search->query, 1, 1) <= n);
	KERNEL(query_shares)(search->query, 1, few, 3, shares);
	for (int i = 0; i < 3; i++)
		EXPECT(shares[i] >= 0 && shares[i] <= 1);
	return true;
}

/* Of all sub-lists of some lists, as many as the share says. */
static bool
sublists_are_chosen(const Search *search)
{
	int		  n = 5, sublists = search->index->sublists, bytes = (sublists + 7) / 8;
	uint32_t *lists = GUARDED(uint32_t, n);
	uint8_t	 *chosen = GUARDED(uint8_t, n * bytes);
	void	 *scratch = guarded((size_t) n * sublists * 8, 8);

	EXPECT(KERNEL(query_lists)(search->query, 0, n, lists) == n);
	for (int quarter = 1; quarter <= 4; quarter++)
	{
		int count = 0;

		KERNEL(query_sublists)(search->query, lists, n, (float) quarter / 4, scratch, chosen);
		for (int i = 0; i < n * sublists; i++)
			count += chosen[i / sublists * bytes + i % sublists / 8] >> (i % sublists % 8) & 1;
		EXPECT(count == n * sublists * quarter / 4);
	}
	return true;
}

/* Everything kept is handed out once, in order of row; what was taken before is left out. */
static bool
rows_are_taken(const Search *search, uint64_t own)
{
	int		  n = search->index->n, taken;
	float	 *estimates, *next = GUARDED(float, 1);
	int64_t	 *first = GUARDED(int64_t, 1);
	uint64_t *rows, *best, *merged;

	KERNEL(query_round)(search->query, n, guarded((size_t) KERNEL(candidates_bytes)(n), 8));
	scan_all(search);
	EXPECT(KERNEL(query_within)(search->query, INFINITY) == n && KERNEL(query_within)(search->query, -INFINITY) == 0);
	EXPECT(KERNEL(query_place)(search->query, own) < 10 && KERNEL(query_place)(search->query, 77) == n);
	taken = (int) KERNEL(query_take)(search->query, 10, NULL, 0, first, next);
	rows = search->query->candidate_rows + *first;
	estimates = search->query->candidate_estimates + *first;
	best = GUARDED_COPY(uint64_t, rows, 10);
	EXPECT(taken == 10 && KERNEL(rows_sort)(best, taken) == taken && memcmp(best, rows, sizeof(uint64_t) * 10) == 0);
	merged = GUARDED(uint64_t, n);
	memcpy(merged, best, sizeof(uint64_t) * 10);
	for (int i = 0; i < taken; i++)
		EXPECT(estimates[i] <= next[0]);

	/* a round that starts anew */
	KERNEL(query_round)(search->query, n, guarded((size_t) KERNEL(candidates_bytes)(n), 8));
	scan_all(search);
	EXPECT(KERNEL(query_take)(search->query, n, best, 10, first, next) == n - 10 && isinf(next[0]));
	rows = search->query->candidate_rows + *first;
	KERNEL(rows_merge)(merged, 10, GUARDED_COPY(uint64_t, rows, n - 10), n - 10);
	for (int i = 0; i < n; i++)
		EXPECT(merged[i] == search->index->rows[i]);
	return true;
}

/* The operator's value as an estimate: near it for a row that the codes describe well. */
static bool
exact_is_near_estimates(const Search *search, const float *vector)
{
	const Index *index = search->index;
	int			 d = index->d, n = index->n;
	float		*estimates, *next = GUARDED(float, 1);
	int64_t		*first = GUARDED(int64_t, 1);
	double		 mean = 0, square = 0;

	KERNEL(query_round)(search->query, n, guarded((size_t) KERNEL(candidates_bytes)(n), 8));
	scan_all(search);
	EXPECT(KERNEL(query_take)(search->query, n, NULL, 0, first, next) == n && *first == 0);
	estimates = search->query->candidate_estimates;
	for (int i = 0; i < n; i++)
	{
		const float *row = GUARDED_COPY(float, index->vectors + i * d, d);
		double		 distance, error;

		switch (index->trained.shape.metric)
		{
			case WRVQ_L2:
				distance = KERNEL(l2_distance)(vector, row, d);
				break;
			case WRVQ_IP:
				distance = -KERNEL(inner_product)(vector, row, d);
				break;
			default:
				distance = KERNEL(cosine_distance)(vector, row, d);
		}
		error = estimates[i] - KERNEL(query_exact)(search->query, distance);
		mean += error / n;
		square += error * error / n;
	}
	/* errors are products of a residual, of which the loss is the square, and the query; they cancel */
	EXPECT(square < 4 * index->trained.loss[index->trained.shape.level_count - 1] * (1 + search->query->norm_squared));
	EXPECT(fabs(mean) < sqrt(square));
	return true;
}

bool
queries_find_rows(void)
{
	for (int metric = WRVQ_L2; metric <= WRVQ_COSINE; metric++)
		for (int i = 0; i < 3; i++)
		{
			Index	 index;
			float	*vector;
			Search	 search = {.index = &index};
			uint32_t own = (uint32_t) i * 101;

			EXPECT(make_index((wrvq_metric) metric, &index));
			vector = GUARDED_COPY(float, index.vectors + (size_t) own * index.d, index.d);
			search.query = guarded((size_t) KERNEL(query_bytes)(&index.codebook), 64);
			search.lists = GUARDED(uint32_t, index.lists);
			EXPECT(KERNEL(query_begin)(&index.codebook, &index.layout, vector, search.query) == WRVQ_OK);
			EXPECT(lists_are_ranked(&search) && sublists_are_chosen(&search));
			EXPECT(rows_are_taken(&search, index.rows[own]) && exact_is_near_estimates(&search, vector));
			vector[index.d - 1] = NAN;
			EXPECT(KERNEL(query_begin)(&index.codebook, &index.layout, vector, search.query) == WRVQ_NOT_FINITE);
			EXPECT(release_guarded());
		}
	return true;
}
