/* body_internal.h - the generic kernels, compiled once for each vector width.
 *
 * A kernels_*.c defines LANES (f32 of one vector), KERNEL (attributes of every function) and TABLE
 * (name of the table), then includes this. See kernel_internal.h for the numerics. */
#include <math.h>
#include <string.h>

#include "backend/cpu/kernel_internal.h"
#include "tensor/float16_internal.h"

#include "backend/cpu/body_vector_internal.h"

#include "backend/cpu/body_math_internal.h"

#include "backend/cpu/body_rows_internal.h"

#include "backend/cpu/body_linear_internal.h"

#include "backend/cpu/body_quant_internal.h"

#include "backend/cpu/body_attend_internal.h"

static size_t act_bytes(tfm_dtype t, uint32_t k) {
    if (t == TFM_F32 || t == TFM_F16) return 0;
    return t == TFM_BF16 ? (size_t)k * sizeof(float) : quant_act_bytes(k);
}

KERNEL static void prepare(tfm_dtype t, uint32_t k, const float *src, uint8_t *act) {
    if (t != TFM_BF16) {
        prepare_quant(k, src, act);
        return;
    }
    float *x = (float *)(void *)act;
    for (uint32_t i = 0; i < k; i++) x[i] = tfm_inline_bf16_to_f32(tfm_inline_f32_to_bf16(src[i]));
}

static void linear(const tfm_cpu_linear *a, uint32_t panel, uint32_t row, uint32_t row_end) {
    if (a->type == TFM_F32 || a->type == TFM_F16 || a->type == TFM_BF16) {
        linear_float(a, panel, row, row_end);
    } else {
        linear_quant(a, panel, row, row_end);
    }
}

const tfm_cpu_kernels TABLE = {
    .name = "generic",
    .lanes = LANES,
    .act_bytes = act_bytes,
    .prepare = prepare,
    .linear = linear,
    .attend_bytes = attend_bytes,
    .attend = attend,
    .norm = norm,
    .elementwise = elementwise,
    .rope = rope,
    .exp = exp_all,
};
