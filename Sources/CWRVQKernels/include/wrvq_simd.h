/*
 * wrvq_simd.h: vector primitives that the Swift standard library lacks or
 * lowers badly (measured: 4 to 300 times).  Imported by Swift as SIMDn<T>
 * functions and always inlined; each has a portable fallback, so that no Swift
 * source names an instruction set.
 */
#ifndef WRVQ_SIMD_H
#define WRVQ_SIMD_H
#if defined(__clang__)
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define WS_INLINE static inline __attribute__((always_inline, unused))

typedef float ws_f32x8 __attribute__((ext_vector_type(8)));
typedef uint32_t ws_u32x8 __attribute__((ext_vector_type(8)));
typedef int32_t ws_i32x8 __attribute__((ext_vector_type(8)));
typedef uint16_t ws_u16x8 __attribute__((ext_vector_type(8)));
typedef uint16_t ws_u16x16 __attribute__((ext_vector_type(16)));
typedef uint8_t ws_u8x8 __attribute__((ext_vector_type(8)));
typedef uint8_t ws_u8x16 __attribute__((ext_vector_type(16)));
typedef uint8_t ws_u8x32 __attribute__((ext_vector_type(32)));

/* acc + a*b: fused where the target has it, never a libm call */
WS_INLINE ws_f32x8
ws_fma(ws_f32x8 acc, ws_f32x8 a, ws_f32x8 b)
{
#if defined(__FMA__) || defined(__aarch64__)
	return __builtin_elementwise_fma(a, b, acc);
#else
	return acc + a * b;
#endif
}

/* eight halves as floats */
WS_INLINE ws_f32x8
ws_half8(ws_u16x8 h)
{
#if defined(__F16C__)
	return (ws_f32x8) _mm256_cvtph_ps((__m128i) h);
#elif defined(__aarch64__)
	float16x8_t f = vreinterpretq_f16_u16((uint16x8_t) h);
	ws_f32x8	r;

	r.lo = (__typeof__(r.lo)) vcvt_f32_f16(vget_low_f16(f));
	r.hi = (__typeof__(r.hi)) vcvt_high_f32_f16(f);
	return r;
#else
	ws_u32x8	u = __builtin_convertvector(h, ws_u32x8);
	ws_u32x8	m = (u & 0x7fff) << 13;
	ws_u32x8	f = (ws_u32x8) ((ws_f32x8) m * 0x1p112f);
	ws_u32x8	big = (ws_u32x8) ((ws_i32x8) m > 0x0f7fffff);

	return (ws_f32x8) ((f & ~big) | ((m | 0x7f800000) & big) | ((u & 0x8000) << 16));
#endif
}

/* whether the look-ups below are one instruction; else a caller does better with loads */
WS_INLINE bool
ws_has_lookup(void)
{
#if defined(__SSSE3__) || defined(__aarch64__)
	return true;
#else
	return false;
#endif
}

/* look up 16 byte indices 0..15 in a table of 16 bytes */
WS_INLINE ws_u8x16
ws_lookup16(ws_u8x16 table, ws_u8x16 index)
{
#if defined(__SSSE3__)
	return (ws_u8x16) _mm_shuffle_epi8((__m128i) table, (__m128i) index);
#elif defined(__aarch64__)
	return (ws_u8x16) vqtbl1q_u8((uint8x16_t) table, (uint8x16_t) index);
#else
	ws_u8x16	r;

	for (int i = 0; i < 16; i++)
		r[i] = table[index[i] & 15];
	return r;
#endif
}

/* the same twice: lanes of 16 against their own tables */
WS_INLINE ws_u8x32
ws_lookup16x2(ws_u8x32 table, ws_u8x32 index)
{
#if defined(__AVX2__)
	return (ws_u8x32) _mm256_shuffle_epi8((__m256i) table, (__m256i) index);
#else
	ws_u8x32	r;

	r.lo = ws_lookup16(table.lo, index.lo);
	r.hi = ws_lookup16(table.hi, index.hi);
	return r;
#endif
}

/* look up eight bytes' lower four bits in a table of 16 floats */
WS_INLINE ws_f32x8
ws_lookup16_float(ws_f32x8 low, ws_f32x8 high, ws_u8x8 index)
{
#if defined(__AVX2__)
	ws_u8x16	wide = __builtin_shufflevector(index, index, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
	__m256i		i = _mm256_cvtepu8_epi32((__m128i) wide);
	__m256		l = _mm256_permutevar8x32_ps((__m256) low, i);
	__m256		h = _mm256_permutevar8x32_ps((__m256) high, i);

	return (ws_f32x8) _mm256_blendv_ps(l, h, _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)));
#else
	ws_f32x8	r;

	for (int i = 0; i < 8; i++)
		r[i] = index[i] & 8 ? high[index[i] & 7] : low[index[i] & 7];
	return r;
#endif
}

WS_INLINE ws_f32x8
ws_float_u16(ws_u16x8 v)
{
	return __builtin_convertvector(v, ws_f32x8);
}

WS_INLINE ws_f32x8
ws_max(ws_f32x8 a, ws_f32x8 b)
{
	return __builtin_elementwise_max(a, b);
}

WS_INLINE ws_f32x8
ws_min(ws_f32x8 a, ws_f32x8 b)
{
#if defined(__AVX__)
	/* yields b where a is NaN */
	return (ws_f32x8) _mm256_min_ps((__m256) a, (__m256) b);
#else
	return __builtin_elementwise_min(a, b);
#endif
}

WS_INLINE ws_f32x8
ws_sqrt8(ws_f32x8 v)
{
	return __builtin_elementwise_sqrt(v);
}

WS_INLINE float
ws_sqrt(float x)
{
	return __builtin_sqrtf(x);
}

WS_INLINE double
ws_sqrt_double(double x)
{
	return __builtin_sqrt(x);
}

/* x, of which the optimiser then knows nothing */
WS_INLINE float
ws_opaque(float x)
{
#if defined(__x86_64__)
	__asm__("" : "+x"(x));
#elif defined(__aarch64__)
	__asm__("" : "+w"(x));
#endif
	return x;
}

/* rounds to nearest even; the value must fit */
WS_INLINE int32_t
ws_round(float x)
{
#if defined(__SSE__)
	return _mm_cvtss_si32(_mm_set_ss(x));
#else
	return (int32_t) __builtin_rintf(x);
#endif
}

/*
 * Raises a number that other processes raise as well, and returns it.  If two do so at
 * once, the lesser may stay, until the next time.
 */
WS_INLINE float
ws_raise_shared(float *shared, float value)
{
	float		current;

	__atomic_load(shared, &current, __ATOMIC_RELAXED);
	if (!(value > current))
		return current;
	__atomic_store(shared, &value, __ATOMIC_RELAXED);
	return value;
}

/* a bit per lane: a < b */
WS_INLINE uint32_t
ws_less_mask(ws_f32x8 a, ws_f32x8 b)
{
#if defined(__AVX__)
	return (uint32_t) _mm256_movemask_ps(_mm256_cmp_ps((__m256) a, (__m256) b, _CMP_LT_OQ));
#else
	uint32_t	mask = 0;

	for (int i = 0; i < 8; i++)
		mask |= (uint32_t) (a[i] < b[i]) << i;
	return mask;
#endif
}

WS_INLINE void
ws_prefetch(const void *p)
{
	__builtin_prefetch(p);
}

#endif							/* __clang__ */
#endif
