/* kernels_avx512.c - numerics `avx512`: 16 lanes, fma, and kernels of its own where they pay. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 16
#define KERNEL                                                                                     \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,fma,f16c")))
#define FMA(a, b, c) _mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c))
#define FROM_F16(p) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)(p)))
#define ADD_PAIRS(a, b) _mm512_madd_epi16((__m512i)(a), (__m512i)(b))
#define DOT_BF16(acc, w, x) _mm512_dpbf16_ps((__m512)(acc), (__m512bh)(w), (__m512bh)(x))
#define QUANT_KERNELS "backend/cpu/avx512_quant_internal.h"
#define NUMERICS "avx512"
#define TABLE tfm_cpu_kernels_avx512
#include "backend/cpu/body_internal.h"
#else
typedef int tfm_no_avx512; /* a translation unit must not be empty */
#endif
