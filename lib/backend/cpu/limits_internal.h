/* limits_internal.h - loops that do nothing but keep a processor as busy as an instruction set can.
 *
 * One table an instruction set, as with the kernels: limits_generic.c, limits_avx2.c,
 * limits_avx512.c. A loop has more independent chains than latency times units of any processor in
 * sight (12 of them), each step depends on the one before it, and the end goes to `sink`, so that no
 * compiler may drop or move any of it. */
#ifndef TFM_CPU_LIMITS_INTERNAL_H
#define TFM_CPU_LIMITS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

enum { TFM_LIMIT_CHAINS = 12, TFM_LIMIT_SINK = 64 /* bytes */ };

/* DO(i) for every chain. Written out, with a variable each, because an array that a compiler does not
 * unroll lies in memory and then measures that. */
#define TFM_LIMIT_EACH(DO)                                                                         \
    DO(0)                                                                                          \
    DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define TFM_LIMIT_EACH_READ(DO) DO(0) DO(1) DO(2) DO(3)

typedef struct tfm_cpu_limit {
    void (*run)(uint64_t rounds, void *sink); /* NULL: no such instruction, f32 stands for it */
    uint32_t operations;                      /* of one round */
} tfm_cpu_limit;

typedef struct tfm_cpu_limits {
    const char *instruction_set;
    tfm_cpu_limit f32, bf16, int8;
    /* Reads n bytes, a multiple of 1024, 64-byte aligned, in four places at once: processors prefetch
     * within a page, so one place would wait at every page's end. */
    void (*read)(const void *p, size_t n, void *sink);
} tfm_cpu_limits;

extern const tfm_cpu_limits tfm_cpu_limits_generic;
#if defined(__x86_64__)
extern const tfm_cpu_limits tfm_cpu_limits_avx2;
extern const tfm_cpu_limits tfm_cpu_limits_avx512;
#endif

/* The table for the name of kernels. */
const tfm_cpu_limits *tfm_cpu_limits_find(const char *instruction_set);

#endif
