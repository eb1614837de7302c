/* float16.c - the exported half and bfloat16 conversions of single numbers.
 *
 * The arithmetic is in float16_internal.h, where loops over rows can inline it. */
#include "tensor/float16_internal.h"

#include "tfm/tensor.h"

float tfm_f16_to_f32(uint16_t h) {
    return tfm_inline_f16_to_f32(h);
}

uint16_t tfm_f32_to_f16(float f) {
    return tfm_inline_f32_to_f16(f);
}

float tfm_bf16_to_f32(uint16_t h) {
    return tfm_inline_bf16_to_f32(h);
}

uint16_t tfm_f32_to_bf16(float f) {
    return tfm_inline_f32_to_bf16(f);
}
