/* ref_linear.c - out[r,o] = sum_k W[o,k] x[r,k] + b[o], summed in double, rounded once.
 *
 * The activations are rounded first, as the weight's type demands (DESIGN 7): not at all for f32
 * and f16, to bf16 for bf16, for the quantised types to int8 with one scale per block of the
 * weights, 32 or 256 columns. There
 *
 *     out = sum over groups j of scale[j] sx * (sum_k q[k] qx[k]) - min[j] sx * (sum_k qx[k])
 *
 * where sx is the activation's scale of the block that group j (16 or 32 wide) lies in. */
#include "backend/ref/ref_internal.h"
#include "tensor/block_internal.h"

static size_t row_bytes(const tfm_tensor *w) {
    return w->dims[1] / tfm_dtype_block(w->dtype) * (size_t)tfm_dtype_block_bytes(w->dtype);
}

static tfm_status linear_float(const ref_call *c, float *row, float *x) {
    const tfm_tensor *w = &c->w->matrix; /* [n_out, k] */
    const uint32_t n_out = w->dims[0], k = w->dims[1];
    const size_t n = (size_t)c->n_rows * k;
    for (size_t i = 0; i < n; i++) {
        x[i] = w->dtype == TFM_BF16 ? tfm_bf16_to_f32(tfm_f32_to_bf16(c->in[0][i])) : c->in[0][i];
    }
    for (uint32_t o = 0; o < n_out; o++) {
        const unsigned char *data = w->data;
        TFM_TRY(tfm_to_f32(w->dtype, data + o * row_bytes(w), k, row, c->err));
        for (uint32_t r = 0; r < c->n_rows; r++) {
            double sum = 0.0;
            for (uint32_t i = 0; i < k; i++) sum += (double)row[i] * x[(size_t)r * k + i];
            if (c->w->bias != NULL) sum += c->w->bias[o];
            c->out[0][(size_t)r * n_out + o] = (float)sum;
        }
    }
    return TFM_OK;
}

/* One block times the rounded activations that meet it, whose scale is sx. */
static double block_dot(tfm_dtype t, const int8_t *q, const float *scale, const float *min,
                        const int8_t *x, double sx) {
    const uint32_t group = tfm_block_group(t), count = tfm_dtype_block(t);
    double total = 0.0;
    for (uint32_t j = 0; j < count / group; j++) {
        int32_t dot = 0, sum = 0;
        for (uint32_t i = j * group; i < (j + 1) * group; i++) {
            dot += q[i] * x[i];
            sum += x[i];
        }
        total += (double)scale[j] * sx * dot - (double)min[j] * sx * sum;
    }
    return total;
}

static void linear_block(const ref_call *c, const int8_t *x, const float *x_scale, double *sum) {
    const tfm_tensor *w = &c->w->matrix; /* [n_out, k] */
    const uint32_t n_out = w->dims[0], k = w->dims[1], count = tfm_dtype_block(w->dtype);
    int8_t q[TFM_BLOCK_MAX];
    float scale[TFM_BLOCK_GROUPS], min[TFM_BLOCK_GROUPS];
    for (uint32_t o = 0; o < n_out; o++) {
        const uint8_t *block = (const uint8_t *)w->data + o * row_bytes(w);
        for (uint32_t r = 0; r < c->n_rows; r++) sum[r] = 0.0;
        for (uint32_t i = 0; i < k; i += count, block += tfm_dtype_block_bytes(w->dtype)) {
            tfm_block_decode(w->dtype, block, q, scale, min);
            for (uint32_t r = 0; r < c->n_rows; r++) {
                const size_t at = (size_t)r * k + i;
                sum[r] += block_dot(w->dtype, q, scale, min, x + at, (double)x_scale[at / count]);
            }
        }
        for (uint32_t r = 0; r < c->n_rows; r++) {
            if (c->w->bias != NULL) sum[r] += c->w->bias[o];
            c->out[0][(size_t)r * n_out + o] = (float)sum[r];
        }
    }
}

tfm_status tfm_ref_linear(const ref_call *c) {
    const uint32_t k = c->w->matrix.dims[1];
    const size_t n = (size_t)c->n_rows * k;
    const uint32_t block = tfm_dtype_block(c->w->matrix.dtype);
    void *x = NULL, *row = NULL, *scale = NULL;
    tfm_status st;
    if (block == 1) {
        st = tfm_alloc(&row, k, sizeof(float), c->err);
        if (st == TFM_OK) st = tfm_alloc(&x, n, sizeof(float), c->err);
        if (st == TFM_OK) st = linear_float(c, row, x);
    } else {
        st = tfm_alloc(&row, c->n_rows, sizeof(double), c->err);
        if (st == TFM_OK) st = tfm_alloc(&x, n, 1, c->err);
        if (st == TFM_OK) st = tfm_alloc(&scale, n / block, sizeof(float), c->err);
        if (st == TFM_OK) {
            tfm_quantize_act_i8(c->w->matrix.dtype, c->in[0], n, x, scale);
            linear_block(c, x, scale, row);
        }
    }
    tfm_free(x);
    tfm_free(row);
    tfm_free(scale);
    return st;
}
