/* limits_internal.h - loops that do nothing but keep a processor as busy as an instruction set can.
 *
 * One table an instruction set, as with the kernels: limits_generic.c, limits_avx2.c,
 * limits_avx512.c. A loop has more independent chains than latency times units of any processor in
 * sight (12 of them), each step depends on the one before it, and the end goes to `sink`, so that
 * no compiler may drop or move any of it. */
#ifndef TFM_CPU_LIMITS_INTERNAL_H
#define TFM_CPU_LIMITS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { TFM_LIMIT_CHAINS = 12, TFM_LIMIT_SINK = 64 /* bytes */ };

/* A loop of TFM_LIMIT_CHAINS chains: x = FIRST(number), x = NEXT(x) each round, at the end all are
 * added. A variable each, because an array that a compiler does not unroll lies in memory and then
 * measures that. */
#define TFM_LIMIT_LOOP(attribute, name, type, FIRST, NEXT, ADD)                                    \
    attribute static void name(uint64_t rounds, void *sink) {                                      \
        type a = FIRST(0), b = FIRST(1), c = FIRST(2), d = FIRST(3), e = FIRST(4), f = FIRST(5);   \
        type g = FIRST(6), h = FIRST(7), i = FIRST(8), j = FIRST(9), k = FIRST(10), l = FIRST(11); \
        while (rounds-- > 0) {                                                                     \
            a = NEXT(a), b = NEXT(b), c = NEXT(c), d = NEXT(d), e = NEXT(e), f = NEXT(f);          \
            g = NEXT(g), h = NEXT(h), i = NEXT(i), j = NEXT(j), k = NEXT(k), l = NEXT(l);          \
        }                                                                                          \
        a = ADD(ADD(ADD(a, b), ADD(c, d)), ADD(e, f));                                             \
        a = ADD(a, ADD(ADD(ADD(g, h), ADD(i, j)), ADD(k, l)));                                     \
        memcpy(sink, &a, sizeof a);                                                                \
    }

/* Adds up n bytes in eight sums, two in each of four places. */
#define TFM_LIMIT_READ(attribute, name, type, ADD)                                                 \
    attribute static void name(const void *p, size_t n, void *sink) {                              \
        const size_t part = n / sizeof(type) / 4;                                                  \
        const type *u = p, *v = u + part, *w = v + part, *x = w + part;                            \
        type a = {0}, b = a, c = a, d = a, e = a, f = a, g = a, h = a;                             \
        for (size_t i = 0; i < part; i += 2) {                                                     \
            a = ADD(a, u[i]), b = ADD(b, u[i + 1]), c = ADD(c, v[i]), d = ADD(d, v[i + 1]);        \
            e = ADD(e, w[i]), f = ADD(f, w[i + 1]), g = ADD(g, x[i]), h = ADD(h, x[i + 1]);        \
        }                                                                                          \
        a = ADD(ADD(ADD(a, b), ADD(c, d)), ADD(ADD(e, f), ADD(g, h)));                             \
        memcpy(sink, &a, sizeof a);                                                                \
    }

typedef struct tfm_cpu_limit {
    void (*run)(uint64_t rounds, void *sink); /* NULL: no such instruction, f32 stands for it */
    uint32_t operations;                      /* of one round */
} tfm_cpu_limit;

typedef struct tfm_cpu_limits {
    const char *instruction_set;
    tfm_cpu_limit f32, bf16, int8;
    /* Reads n bytes, a multiple of 1024, 64-byte aligned, in four places at once: processors
     * prefetch within a page, so one place would wait at every page's end. */
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
