/* limits.c - which loops belong to which numerics. */
#include <string.h>

#include "backend/cpu/limits_internal.h"

const tfm_cpu_limits *tfm_cpu_limits_find(const char *instruction_set) {
#if defined(__x86_64__)
    if (strcmp(instruction_set, "avx2") == 0) return &tfm_cpu_limits_avx2;
    if (strcmp(instruction_set, "avx512") == 0) return &tfm_cpu_limits_avx512;
#endif
    (void)instruction_set;
    return &tfm_cpu_limits_generic;
}
