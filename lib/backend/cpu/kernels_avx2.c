/* kernels_avx2.c - numerics `avx2`: 8 lanes, fma, and kernels of its own where they pay. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define KERNEL __attribute__((target("avx2,fma,f16c")))
#define FMA(a, b, c) _mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c))
#define FROM_F16(p) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(p)))
#define FROM_I8(p) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadu_si64(p)))
#define TO_F16(p, v) _mm_storeu_si128((__m128i_u *)(p), _mm256_cvtps_ph((__m256)(v), 0))
#define LARGER(s, m) _mm256_max_ps((__m256)(s), (__m256)(m))
#define ADD_PAIRS(a, b) _mm256_madd_epi16((__m256i)(a), (__m256i)(b))
#define QUANT_KERNELS "backend/cpu/avx2_quant_internal.h"
#define NUMERICS "avx2"
#define TABLE tfm_cpu_kernels_avx2
#include "backend/cpu/body_internal.h"
#else
typedef int tfm_no_avx2; /* a translation unit must not be empty */
#endif
