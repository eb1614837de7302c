/* limits_generic.c - limits of numerics `generic`: 128-bit vectors, no fused multiply-add.
 *
 * int8 has no dot product here: a 16-bit multiply and add of 8 lanes, two operations a lane. */
#include <string.h>

#include "backend/cpu/limits_internal.h"

typedef float vf __attribute__((vector_size(16)));
typedef uint16_t vh __attribute__((vector_size(16)));
typedef uint64_t vq __attribute__((vector_size(16)));

/* x = x m + c, in two roundings: stays near 1. */
static void f32(uint64_t rounds, void *sink) {
    const vf m = {0.5f, 0.5f, 0.5f, 0.5f}, c = m;
#define START(i) vf x##i = c * (float)(i);
#define STEP(i) x##i = x##i * m + c;
#define FOLD(i) x0 = x0 + x##i;
    TFM_LIMIT_EACH(START)
    while (rounds-- > 0) {
        TFM_LIMIT_EACH(STEP)
    }
    TFM_LIMIT_EACH(FOLD)
    memcpy(sink, &x0, sizeof x0);
#undef START
#undef STEP
#undef FOLD
}

static void int8(uint64_t rounds, void *sink) {
    const vh m = {3, 5, 7, 9, 11, 13, 15, 17}, c = m;
#define START(i) vh x##i = c + (uint16_t)(i);
#define STEP(i) x##i = x##i * m + c;
#define FOLD(i) x0 = x0 + x##i;
    TFM_LIMIT_EACH(START)
    while (rounds-- > 0) {
        TFM_LIMIT_EACH(STEP)
    }
    TFM_LIMIT_EACH(FOLD)
    memcpy(sink, &x0, sizeof x0);
#undef START
#undef STEP
#undef FOLD
}

static void read_all(const void *p, size_t n, void *sink) {
    const size_t part = n / sizeof(vq) / 4;
    const vq *v = p;
#define START(j) vq x##j = {0}, y##j = x##j;
#define ADD(j)                                                                                     \
    x##j = x##j + v[(j)*part + i];                                                                 \
    y##j = y##j + v[(j)*part + i + 1];
#define FOLD(j) x0 = x0 + x##j + y##j;
    TFM_LIMIT_EACH_READ(START)
    for (size_t i = 0; i < part; i += 2) {
        TFM_LIMIT_EACH_READ(ADD)
    }
    TFM_LIMIT_EACH_READ(FOLD)
    memcpy(sink, &x0, sizeof x0);
#undef START
#undef ADD
#undef FOLD
}

const tfm_cpu_limits tfm_cpu_limits_generic = {
    .instruction_set = "generic",
    .f32 = {f32, TFM_LIMIT_CHAINS * 4 * 2},
    .int8 = {int8, TFM_LIMIT_CHAINS * 8 * 2},
    .read = read_all,
};
