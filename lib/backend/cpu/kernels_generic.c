/* kernels_generic.c - the generic kernels for any processor, 4 lanes a vector; the choice of a
 * table. */
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__SSE2__)
#include <emmintrin.h>
#define ADD_PAIRS(a, b) _mm_madd_epi16((__m128i)(a), (__m128i)(b))
#endif

#define LANES 4
#define KERNEL
#define TABLE tfm_cpu_kernels_generic
#include "backend/cpu/body_internal.h"

#if defined(__x86_64__)
/* avx2 (with the operating system's leave) and f16c, bit 29 of leaf 1's ecx. */
static bool has_avx2(void) {
    unsigned a, b, c = 0, d;
    return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1u) != 0;
}
#endif

const tfm_cpu_kernels *tfm_cpu_kernels_find(const char *instruction_set) {
    if (strcmp(instruction_set, "generic") != 0) return NULL;
#if defined(__x86_64__)
    if (has_avx2()) return &tfm_cpu_kernels_generic_avx2;
#endif
    return &tfm_cpu_kernels_generic;
}
