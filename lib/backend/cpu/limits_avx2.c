/* limits_avx2.c - limits of numerics `avx2`: fma; int8 by pairs to 16 bits, pairs of these to 32 bits,
 * and an addition (vpmaddubsw, vpmaddwd, vpaddd): 32 multiply-adds in three instructions. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "backend/cpu/limits_internal.h"

#define TARGET __attribute__((target("avx2,fma")))

TARGET static void f32(uint64_t rounds, void *sink) {
    const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(1.0f);
#define START(i) __m256 x##i = _mm256_set1_ps((float)(i));
#define STEP(i) x##i = _mm256_fmadd_ps(x##i, a, b);
#define FOLD(i) x0 = _mm256_add_ps(x0, x##i);
    TFM_LIMIT_EACH(START)
    while (rounds-- > 0) {
        TFM_LIMIT_EACH(STEP)
    }
    TFM_LIMIT_EACH(FOLD)
    memcpy(sink, &x0, sizeof x0);
#undef START
#undef STEP
#undef FOLD
}

TARGET static void int8(uint64_t rounds, void *sink) {
    const __m256i a = _mm256_set1_epi8(3), one = _mm256_set1_epi16(1), c = _mm256_set1_epi32(77);
#define START(i) __m256i x##i = _mm256_set1_epi32(i);
#define STEP(i) x##i = _mm256_add_epi32(_mm256_madd_epi16(_mm256_maddubs_epi16(x##i, a), one), c);
#define FOLD(i) x0 = _mm256_add_epi32(x0, x##i);
    TFM_LIMIT_EACH(START)
    while (rounds-- > 0) {
        TFM_LIMIT_EACH(STEP)
    }
    TFM_LIMIT_EACH(FOLD)
    memcpy(sink, &x0, sizeof x0);
#undef START
#undef STEP
#undef FOLD
}

TARGET static void read_all(const void *p, size_t n, void *sink) {
    const size_t part = n / sizeof(__m256i) / 4;
    const __m256i *v = p;
#define START(j) __m256i x##j = _mm256_setzero_si256(), y##j = x##j;
#define ADD(j)                                                                                     \
    x##j = _mm256_add_epi64(x##j, v[(j)*part + i]);                                                \
    y##j = _mm256_add_epi64(y##j, v[(j)*part + i + 1]);
#define FOLD(j) x0 = _mm256_add_epi64(x0, _mm256_add_epi64(x##j, y##j));
    TFM_LIMIT_EACH_READ(START)
    for (size_t i = 0; i < part; i += 2) {
        TFM_LIMIT_EACH_READ(ADD)
    }
    TFM_LIMIT_EACH_READ(FOLD)
    memcpy(sink, &x0, sizeof x0);
#undef START
#undef ADD
#undef FOLD
}

const tfm_cpu_limits tfm_cpu_limits_avx2 = {
    .instruction_set = "avx2",
    .f32 = {f32, TFM_LIMIT_CHAINS * 8 * 2},
    .int8 = {int8, TFM_LIMIT_CHAINS * 32 * 2},
    .read = read_all,
};
#else
typedef int tfm_no_avx2_limits; /* a translation unit must not be empty */
#endif
