/* limits_avx2.c - limits of numerics `avx2`: fma; int8 by pairs to 16 bits, pairs of these to 32
 * bits, and an addition (vpmaddubsw, vpmaddwd, vpaddd): 32 multiply-adds in three instructions. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx2,fma")))
#define VECTOR_BITS 256
#define VF __m256
#define VI __m256i
#define PAIRS(x) _mm256_maddubs_epi16(x, _mm256_set1_epi8(3))
#define FOURS(x) _mm256_madd_epi16(PAIRS(x), _mm256_set1_epi16(1))
#define NEXT_INT8(x) _mm256_add_epi32(FOURS(x), _mm256_set1_epi32(77))
#include "backend/cpu/limits_x86_internal.h"

const tfm_cpu_limits tfm_cpu_limits_avx2 = {.instruction_set = "avx2",
                                            .f32 = {f32, ROUND_F32},
                                            .int8 = {int8, ROUND_INT8},
                                            .read = read_all};
#else
typedef int tfm_no_avx2_limits; /* a translation unit must not be empty */
#endif
