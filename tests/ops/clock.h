/* clock.h - the clock of the benchmarks here. */
#ifndef TFM_TESTS_CLOCK_H
#define TFM_TESTS_CLOCK_H

#include <time.h>

/* CLOCK_PROCESS_CPUTIME_ID where one thread works: what others do on the machine is not counted. */
static clockid_t clock_used = CLOCK_MONOTONIC;

/* Seconds. */
static inline double now(void) {
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
