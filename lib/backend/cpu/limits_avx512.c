/* limits_avx512.c - limits of numerics `avx512`: fma, vdpbf16ps, vpdpbusd. */
#if defined(__x86_64__)
#include <immintrin.h>

#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni,avx512bf16")))
#define VECTOR_BITS 512
#define VF __m512
#define VI __m512i
#define PAIR _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f))
#define NEXT_BF16(x) _mm512_dpbf16_ps(x, PAIR, PAIR)
#define NEXT_INT8(x) _mm512_dpbusd_epi32(x, _mm512_set1_epi8(3), _mm512_set1_epi8(3))
#include "backend/cpu/limits_x86_internal.h"

const tfm_cpu_limits tfm_cpu_limits_avx512 = {.instruction_set = "avx512",
                                              .f32 = {f32, ROUND_F32},
                                              .bf16 = {bf16, ROUND_BF16},
                                              .int8 = {int8, ROUND_INT8},
                                              .read = read_all};
#else
typedef int tfm_no_avx512_limits; /* a translation unit must not be empty */
#endif
