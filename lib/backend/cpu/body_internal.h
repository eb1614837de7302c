/* body_internal.h - the kernels, compiled once for each table.
 *
 * A kernels_*.c defines LANES (f32 of one vector), KERNEL (attributes of every function), TABLE and
 * NUMERICS (names of the table and of what it computes), then includes this. Optional, instructions
 * for what is in C otherwise: FMA, FROM_F16, TO_F16, FROM_I8, ADD_PAIRS, LARGER, SCALE. See
 * kernel_internal.h for the numerics. */
#include <math.h>
#include <string.h>

#include "backend/cpu/kernel_internal.h"
#include "tensor/float16_internal.h"

#include "backend/cpu/body_vector_internal.h"

#include "backend/cpu/body_math_internal.h"

#include "backend/cpu/body_rows_internal.h"

#include "backend/cpu/body_linear_internal.h"

#if defined(QUANT_KERNELS)
#include QUANT_KERNELS
#else
#include "backend/cpu/body_quant_internal.h"
#endif

#include "backend/cpu/body_attend_tile_internal.h"

#include "backend/cpu/body_attend_internal.h"

static bool is_float(tfm_dtype t) {
    return t == TFM_F32 || t == TFM_F16 || t == TFM_BF16;
}

static size_t act_bytes(tfm_dtype t, uint32_t k) {
    if (t == TFM_F32 || t == TFM_F16) return 0;
    return t == TFM_BF16 ? bf16_act_bytes(k) : quant_act_bytes(t, k);
}

static void prepare(tfm_dtype t, uint32_t k, const float *src, uint8_t *act) {
    if (t == TFM_BF16)
        prepare_bf16(k, src, act);
    else
        prepare_quant(t, k, src, act);
}

static size_t linear_bytes(tfm_dtype t, uint32_t k) {
    (void)k;
    return is_float(t) ? linear_float_bytes() : 0;
}

static void linear(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end, uint32_t row,
                   uint32_t row_end, void *scratch) {
    if (is_float(a->type))
        linear_float(a, panel, panel_end, row, row_end, scratch);
    else
        linear_quant_all(a, panel, panel_end, row, row_end);
}

const tfm_cpu_kernels TABLE = {
    .name = NUMERICS,
    .act_bytes = act_bytes,
    .prepare = prepare,
    .linear_bytes = linear_bytes,
    .linear = linear,
    .attend_bytes = attend_bytes,
    .attend_scores = attend_scores,
    .attend_values = attend_values,
    .attend_finish = attend_finish,
    .attend_store = attend_store,
    .norm = norm,
    .elementwise = elementwise,
    .rope = rope,
    .exp = exp_all,
};
