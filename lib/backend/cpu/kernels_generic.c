/* kernels_generic.c - the generic kernels for any processor, 4 lanes a vector; the choice of a
 * table. */
#define LANES 4
#define KERNEL
#define TABLE tfm_cpu_kernels_generic
#include "backend/cpu/body_internal.h"

const tfm_cpu_kernels *tfm_cpu_kernels_find(const char *instruction_set) {
    if (strcmp(instruction_set, "generic") != 0) return NULL;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return &tfm_cpu_kernels_generic_avx2;
#endif
    return &tfm_cpu_kernels_generic;
}
