/* kernels_generic_avx2.c - the generic kernels once more, 8 lanes a vector: the same operations in
 * the same order on every lane, so the same bits, about twice as fast. */
#if defined(__x86_64__)
#define LANES 8
#define KERNEL __attribute__((target("avx2")))
#define TABLE tfm_cpu_kernels_generic_avx2
#include "backend/cpu/body_internal.h"
#else
typedef int tfm_no_avx2; /* a translation unit must not be empty */
#endif
