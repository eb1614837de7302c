/* limits_avx2.c - limits of numerics `avx2`: fma; int8 by pairs to 16 bits, pairs of these to 32
 * bits, and an addition (vpmaddubsw, vpmaddwd, vpaddd): 32 multiply-adds in three instructions. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "backend/cpu/limits_internal.h"

#define TARGET __attribute__((target("avx2,fma")))

#define FIRST_F32(i) _mm256_set1_ps((float)(i))
#define NEXT_F32(x) _mm256_fmadd_ps(x, _mm256_set1_ps(0.5f), _mm256_set1_ps(1.0f))
TFM_LIMIT_LOOP(TARGET, f32, __m256, FIRST_F32, NEXT_F32, _mm256_add_ps)

#define PAIRS(x) _mm256_maddubs_epi16(x, _mm256_set1_epi8(3))
#define FOURS(x) _mm256_madd_epi16(PAIRS(x), _mm256_set1_epi16(1))
#define NEXT_INT8(x) _mm256_add_epi32(FOURS(x), _mm256_set1_epi32(77))
TFM_LIMIT_LOOP(TARGET, int8, __m256i, _mm256_set1_epi32, NEXT_INT8, _mm256_add_epi32)

TFM_LIMIT_READ(TARGET, read_all, __m256i, _mm256_add_epi64)

const tfm_cpu_limits tfm_cpu_limits_avx2 = {
    .instruction_set = "avx2",
    .f32 = {f32, TFM_LIMIT_CHAINS * 8 * 2},
    .int8 = {int8, TFM_LIMIT_CHAINS * 32 * 2},
    .read = read_all,
};
#else
typedef int tfm_no_avx2_limits; /* a translation unit must not be empty */
#endif
