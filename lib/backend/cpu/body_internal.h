/* body_internal.h - the kernels, compiled once for each table.
 *
 * A kernels_*.c defines LANES (f32 of one vector), KERNEL (attributes of every function), TABLE and
 * NUMERICS (names of the table and of what it computes), then includes this. Optional: FMA, FROM_F16
 * and ADD_PAIRS, instructions for what body_vector_internal.h has in C. See kernel_internal.h for the numerics. */
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

static size_t linear_bytes(tfm_dtype t, uint32_t k) {
    (void)t, (void)k;
    return 0;
}

/* A block of rows passes over all panels before the next block comes: the panels stay in L2, the
 * rows in L1. */
static void linear(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end, uint32_t row,
                   uint32_t row_end, void *scratch) {
    const bool plain = a->type == TFM_F32 || a->type == TFM_F16 || a->type == TFM_BF16;
    (void)scratch;
    for (; row < row_end; row += ROW_BLOCK) {
        const uint32_t end = row_end - row < ROW_BLOCK ? row_end : row + ROW_BLOCK;
        for (uint32_t p = panel; p < panel_end; p++) {
            if (plain)
                linear_float(a, p, row, end);
            else
                linear_quant(a, p, row, end);
        }
    }
}

const tfm_cpu_kernels TABLE = {
    .name = NUMERICS,
    .lanes = LANES,
    .act_bytes = act_bytes,
    .prepare = prepare,
    .linear_bytes = linear_bytes,
    .linear = linear,
    .attend_bytes = attend_bytes,
    .attend = attend,
    .norm = norm,
    .elementwise = elementwise,
    .rope = rope,
    .exp = exp_all,
};
