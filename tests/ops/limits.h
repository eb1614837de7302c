/* limits.h - what one thread can do at most, for the benchmarks here: the loops that tfm-bench's
 * limits are made of, timed by their clock. */
#ifndef TFM_TESTS_LIMITS_H
#define TFM_TESTS_LIMITS_H

#include "backend/cpu/limits_internal.h"
#include "clock.h"

/* GOP/s. limit: of tfm_cpu_limits_find; one that has no loop is not to be asked for. */
static inline double limit_compute(const tfm_cpu_limit *limit) {
    const uint64_t rounds = 1000000;
    unsigned char sink[TFM_LIMIT_SINK];
    const double from = now();
    limit->run(rounds, sink);
    const double took = now() - from;
    __asm__ volatile("" : : "r"(sink) : "memory");
    return 1e-9 * (double)rounds * limit->operations / took;
}

/* GB/s of reading n bytes at p, 64-byte aligned, with nothing done to them. */
static inline double limit_read(const tfm_cpu_limits *limits, const void *p, size_t n) {
    unsigned char sink[TFM_LIMIT_SINK];
    const size_t whole = n / 1024 * 1024;
    const double from = now();
    limits->read(p, whole, sink);
    const double took = now() - from;
    __asm__ volatile("" : : "r"(sink) : "memory");
    return 1e-9 * (double)whole / took;
}

#endif
