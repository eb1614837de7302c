/* limits_avx512.c - limits of numerics `avx512`: fma, vdpbf16ps, vpdpbusd. */
#if defined(__x86_64__)
#include <immintrin.h>

#include "backend/cpu/limits_internal.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")))

#define FIRST_F32(i) _mm512_set1_ps((float)(i))
#define NEXT_F32(x) _mm512_fmadd_ps(x, _mm512_set1_ps(0.5f), _mm512_set1_ps(1.0f))
TFM_LIMIT_LOOP(TARGET, f32, __m512, FIRST_F32, NEXT_F32, _mm512_add_ps)

#define PAIR _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f))
#define NEXT_BF16(x) _mm512_dpbf16_ps(x, PAIR, PAIR)
TFM_LIMIT_LOOP(TARGET, bf16, __m512, FIRST_F32, NEXT_BF16, _mm512_add_ps)

#define NEXT_INT8(x) _mm512_dpbusd_epi32(x, _mm512_set1_epi8(3), _mm512_set1_epi8(3))
TFM_LIMIT_LOOP(TARGET, int8, __m512i, _mm512_set1_epi32, NEXT_INT8, _mm512_add_epi32)

TFM_LIMIT_READ(TARGET, read_all, __m512i, _mm512_add_epi64)

const tfm_cpu_limits tfm_cpu_limits_avx512 = {
    .instruction_set = "avx512",
    .f32 = {f32, TFM_LIMIT_CHAINS * 16 * 2},
    .bf16 = {bf16, TFM_LIMIT_CHAINS * 32 * 2},
    .int8 = {int8, TFM_LIMIT_CHAINS * 64 * 2},
    .read = read_all,
};
#else
typedef int tfm_no_avx512_limits; /* a translation unit must not be empty */
#endif
