/* kernels_generic.c - the generic kernels for any processor, 4 lanes a vector. */
#if defined(__SSE2__)
#include <emmintrin.h>
#define ADD_PAIRS(a, b) _mm_madd_epi16((__m128i)(a), (__m128i)(b))
#endif

#define LANES 4
#define KERNEL
#define NUMERICS "generic"
#define TABLE tfm_cpu_kernels_generic
#include "backend/cpu/body_internal.h"
