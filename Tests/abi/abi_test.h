/*
 * abi_test.h: what the files of this test share.
 *
 * Whatever a kernel is handed comes from guarded memory, whose last byte lies
 * before a page that nobody may touch, and every call is counted, so that no
 * kernel is forgotten.
 */
#ifndef ABI_TEST_H
#define ABI_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wrvq_codes.h"
#include "wrvq_kernels.h"
#include "wrvq_training.h"

/* ---------- abi_test.c ---------- */

/* The kernels of the level under test, and which of them were called. */
extern wrvq_kernels			 kernels;
extern wrvq_code_kernels	 code_kernels;
extern wrvq_training_kernels training;
extern bool					 kernels_called[sizeof(wrvq_kernels) / sizeof(void (*)(void))];
extern bool					 codes_called[sizeof(wrvq_code_kernels) / sizeof(void (*)(void))];
extern bool					 training_called[sizeof(wrvq_training_kernels) / sizeof(void (*)(void))];

#define NUMBER_OF(type, name) (offsetof(type, name) / sizeof(void (*)(void)))
#define KERNEL(name)		  (kernels_called[NUMBER_OF(wrvq_kernels, name)] = true, kernels.name)
#define CODE(name)			  (codes_called[NUMBER_OF(wrvq_code_kernels, name)] = true, code_kernels.name)
#define TRAINING(name)		  (training_called[NUMBER_OF(wrvq_training_kernels, name)] = true, training.name)

/* Ends a test that returns whether a promise is kept. */
#define EXPECT(condition)                                            \
	do                                                               \
	{                                                                \
		if (!(condition))                                            \
		{                                                            \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			return false;                                            \
		}                                                            \
	} while (0)

extern float	  next_value(uint32_t *state);
extern bool		  is_close(double actual, double expected, double magnitude);
extern float	 *random_rows(int count, uint32_t *state);
extern wrvq_shape sample_shape(wrvq_metric metric);

/* ---------- abi_memory.c ---------- */

extern void *guarded(size_t bytes, size_t alignment);
extern void *guarded_zeros(size_t bytes, size_t alignment);
extern void *guarded_copy(const void *source, size_t bytes, size_t alignment);
extern bool	 release_guarded(void);

#define GUARDED(type, count)			((type *) guarded(sizeof(type) * (size_t) (count), _Alignof(type)))
#define GUARDED_COPY(type, from, count) ((type *) guarded_copy(from, sizeof(type) * (size_t) (count), _Alignof(type)))

/* ---------- abi_training.c ---------- */

/* A codebook in the trainer's form; codewords and transform lie in guarded memory. */
typedef struct Trained
{
	wrvq_shape shape;
	float	  *sample; /* [n][d] what it was trained on */
	int		   n;
	float	  *codewords[WRVQ_LEVELS_MAX];
	float	  *transform;
	float	  *weights[WRVQ_LEVELS_MAX];
	double	   loss[WRVQ_LEVELS_MAX];
} Trained;

extern bool train(const wrvq_shape *shape, int n, Trained *trained);
extern bool training_reduces_loss(void);
extern bool weights_are_fitted(void);
extern bool samples_are_prepared(void);
extern bool product_levels_are_planned(void);

/* ---------- abi_index.c, abi_query.c ---------- */

/* Rows in an index of their own: a codebook, and the rows encoded. */
typedef struct Index
{
	Trained		  trained;
	int			  d, n, lists, sublists;
	float		 *vectors;	/* [n][d], the user's */
	float		 *prepared; /* [n][d] */
	wrvq_codebook codebook;
	wrvq_layout	  layout;
	wrvq_encoded *encoded; /* [n], and [n] of the second lists */
	uint8_t		 *entries; /* [2n][entry_bytes] */
	uint64_t	 *rows;	   /* [n] identifiers, ascending */
} Index;

extern bool make_index(wrvq_metric metric, Index *index);
extern bool rows_are_encoded(void);
extern bool blocks_keep_entries(void);
extern bool calibration_finds_neighbours(void);
extern bool queries_find_rows(void);

/* ---------- abi_codes.c ---------- */

extern bool codes_decode(void);

#endif
