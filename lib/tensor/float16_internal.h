/* float16_internal.h - half and bfloat16 to float and back, inline for loops over whole rows.
 *
 *     for (size_t i = 0; i < n; i++) dst[i] = tfm_inline_f16_to_f32(src[i]);
 *
 * Plain integer code that compilers turn into vector code; the same bits as the F16C instructions
 * for every input, so that a SIMD kernel may use those: rounding is to nearest, ties to even; a NaN
 * keeps its sign and upper payload bits and becomes quiet. No step makes a subnormal float, so a
 * flush-to-zero mode of the processor cannot change a result. The functions for everybody else are
 * in tfm/tensor.h. */
#ifndef TFM_FLOAT16_INTERNAL_H
#define TFM_FLOAT16_INTERNAL_H

#include <stdint.h>
#include <string.h>

static inline float tfm_bits_to_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t tfm_f32_to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

/* Little-endian numbers at any alignment, as block scales and GGUF data lie. */
static inline uint16_t tfm_inline_load_u16(const void *p) {
    const unsigned char *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t tfm_inline_load_u32(const void *p) {
    const unsigned char *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline float tfm_inline_f16_to_f32(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t mag = h & 0x7fffu;
    /* A subnormal is its mantissa times 2^-24: exact in float. */
    const uint32_t subnormal = tfm_f32_to_bits((float)(int32_t)mag * 0x1p-24f);
    /* Exponent bias 15 -> 127. */
    const uint32_t normal = (mag << 13) + (112u << 23);
    const uint32_t special = (mag << 13) | 0x7f800000u | (mag > 0x7c00u ? 0x400000u : 0);
    const uint32_t finite = mag < 0x400u ? subnormal : normal;
    return tfm_bits_to_f32(sign | (mag >= 0x7c00u ? special : finite));
}

static inline uint16_t tfm_inline_f32_to_f16(float f) {
    const uint32_t bits = tfm_f32_to_bits(f);
    const uint32_t sign = bits >> 16 & 0x8000u;
    const uint32_t mag = bits & 0x7fffffffu;
    /* Below 2^-14 the unit is 2^-24, which is the last mantissa bit of 0.5: the addition rounds. */
    const uint32_t subnormal =
        tfm_f32_to_bits(tfm_bits_to_f32(mag < 0x38800000u ? mag : 0) + 0.5f) - 0x3f000000u;
    /* A carry out of the mantissa raises the exponent, up to infinity, as rounding should. */
    const uint32_t normal = (mag + 0xfffu + (mag >> 13 & 1u) - (112u << 23)) >> 13;
    const uint32_t special =
        mag > 0x7f800000u ? 0x7e00u | (mag >> 13 & 0x3ffu) : 0x7c00u; /* NaN : infinity */
    const uint32_t finite = mag < 0x38800000u ? subnormal : normal;
    return (uint16_t)(sign | (mag >= 0x47800000u ? special : finite)); /* 2^16 and above */
}

static inline float tfm_inline_bf16_to_f32(uint16_t h) {
    return tfm_bits_to_f32((uint32_t)h << 16);
}

static inline uint16_t tfm_inline_f32_to_bf16(float f) {
    const uint32_t bits = tfm_f32_to_bits(f);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint32_t nan = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

#endif
