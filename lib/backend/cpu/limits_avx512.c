/* limits_avx512.c - limits of numerics `avx512`: fma, vdpbf16ps, vpdpbusd. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "backend/cpu/limits_internal.h"

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")))

TARGET static void f32(uint64_t rounds, void *sink) {
    const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(1.0f);
#define START(i) __m512 x##i = _mm512_set1_ps((float)(i));
#define STEP(i) x##i = _mm512_fmadd_ps(x##i, a, b);
#define FOLD(i) x0 = _mm512_add_ps(x0, x##i);
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

TARGET static void bf16(uint64_t rounds, void *sink) {
    const __m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
#define START(i) __m512 x##i = _mm512_set1_ps((float)(i));
#define STEP(i) x##i = _mm512_dpbf16_ps(x##i, a, a);
#define FOLD(i) x0 = _mm512_add_ps(x0, x##i);
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
    const __m512i a = _mm512_set1_epi8(3);
#define START(i) __m512i x##i = _mm512_set1_epi32(i);
#define STEP(i) x##i = _mm512_dpbusd_epi32(x##i, a, a);
#define FOLD(i) x0 = _mm512_add_epi32(x0, x##i);
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
    const size_t part = n / sizeof(__m512i) / 4;
    const __m512i *v = p;
#define START(j) __m512i x##j = _mm512_setzero_si512(), y##j = x##j;
#define ADD(j)                                                                                     \
    x##j = _mm512_add_epi64(x##j, v[(j)*part + i]);                                                \
    y##j = _mm512_add_epi64(y##j, v[(j)*part + i + 1]);
#define FOLD(j) x0 = _mm512_add_epi64(x0, _mm512_add_epi64(x##j, y##j));
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
