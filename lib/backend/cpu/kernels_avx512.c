/* kernels_avx512.c - numerics `avx512`: 16 lanes, fma, and kernels of its own where they pay. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 16
#define KERNEL                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma,f16c")))
#define FMA(a, b, c) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#define FROM_F16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)(p)))
#define FROM_I8(p) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i_u *)(p))))
#define TO_F16(p, v) _mm256_storeu_si256((__m256i_u *)(p), _mm512_cvtps_ph((__m512)(v), 0))
#define LARGER(s, m) _mm512_max_ps((__m512)(s), (__m512)(m))
/* y 2^n where x is not below `low`, else 0 */
#define SCALE(x, low, y, n)                                                                        \
    _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask((__m512)(x), _mm512_set1_ps(low), _CMP_NLT_UQ),      \
                           (__m512)(y), (__m512)(n))
#define ADD_PAIRS(a, b) _mm512_madd_epi16((__m512i)(a), (__m512i)(b))
#define DOT_BF16(acc, w, x) _mm512_dpbf16_ps((__m512)(acc), (__m512bh)(w), (__m512bh)(x))
#define QUANT_KERNELS "backend/cpu/avx512_quant_internal.h"
#define NUMERICS "avx512"
#define TABLE tfm_cpu_kernels_avx512
#include "backend/cpu/body_internal.h"
#else
typedef int tfm_no_avx512; /* a translation unit must not be empty */
#endif
