/* limits_generic.c - limits of numerics `generic`: 128-bit vectors, no fused multiply-add.
 *
 * int8 has no dot product here: a 16-bit multiply and add of 8 lanes, two operations a lane. */
#include "backend/cpu/limits_internal.h"

typedef float vf __attribute__((vector_size(16)));
typedef uint16_t vh __attribute__((vector_size(16)));
typedef uint64_t vq __attribute__((vector_size(16)));

#define ADD(x, y) ((x) + (y))

/* x = x / 2 + 1 / 2, in two roundings: stays near 1. */
#define HALF ((vf){0.5f, 0.5f, 0.5f, 0.5f})
#define FIRST_F32(i) (HALF * (float)(i))
#define NEXT_F32(x) ((x)*HALF + HALF)
TFM_LIMIT_LOOP(, f32, vf, FIRST_F32, NEXT_F32, ADD)

#define ODD ((vh){3, 5, 7, 9, 11, 13, 15, 17})
#define FIRST_INT8(i) (ODD + (uint16_t)(i))
#define NEXT_INT8(x) ((x)*ODD + ODD)
TFM_LIMIT_LOOP(, int8, vh, FIRST_INT8, NEXT_INT8, ADD)

TFM_LIMIT_READ(, read_all, vq, ADD)

const tfm_cpu_limits tfm_cpu_limits_generic = {
    .instruction_set = "generic",
    .f32 = {f32, TFM_LIMIT_CHAINS * 4 * 2},
    .int8 = {int8, TFM_LIMIT_CHAINS * 8 * 2},
    .read = read_all,
};
