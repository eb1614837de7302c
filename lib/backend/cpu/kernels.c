/* kernels.c - the choice of a table: which instruction sets this build and processor have. */
#include <string.h>

#include "backend/cpu/kernel_internal.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* f16c has no name in __builtin_cpu_supports; bit 29 of leaf 1's ecx. That the operating system
 * keeps wide registers is in the answer for avx2 and avx512f. */
static bool has_f16c(void) {
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1u) != 0;
}

static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && has_f16c();
}

static bool has_avx2_fma(void) {
    return has_avx2() && __builtin_cpu_supports("fma");
}

/* avx512_bf16: bit 5 of eax of leaf 7, subleaf 1. */
static bool has_avx512(void) {
    unsigned a = 0, b, c, d;
    return has_avx2_fma() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni") &&
           __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1u) != 0;
}
#endif

static bool always(void) {
    return true;
}

/* Best first; a name that stands twice is the same numerics. */
static const struct choice {
    const tfm_cpu_kernels *table;
    bool (*usable)(void);
} choices[] = {
#if defined(__x86_64__)
    {&tfm_cpu_kernels_avx512, has_avx512},
    {&tfm_cpu_kernels_avx2, has_avx2_fma},
    {&tfm_cpu_kernels_generic_avx2, has_avx2},
#endif
    {&tfm_cpu_kernels_generic, always},
};

const tfm_cpu_kernels *tfm_cpu_kernels_find(const char *instruction_set) {
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        if (instruction_set != NULL && strcmp(choices[i].table->name, instruction_set) != 0)
            continue;
        if (choices[i].usable()) return choices[i].table;
    }
    return NULL;
}
