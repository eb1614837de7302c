/* kernels_generic_avx2.c - the generic kernels once more, 8 lanes a vector: the same operations in
 * the same order on every lane, so the same bits, about twice as fast. Conversion from f16 and
 * integer products are exact, so the instructions for them may be used. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define KERNEL __attribute__((target("avx2,f16c")))
#define FROM_F16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(p)))
#define ADD_PAIRS(a, b) _mm256_madd_epi16((__m256i)(a), (__m256i)(b))
#define NUMERICS "generic"
#define TABLE tfm_cpu_kernels_generic_avx2
#include "backend/cpu/body_internal.h"
#else
typedef int tfm_no_avx2; /* a translation unit must not be empty */
#endif
