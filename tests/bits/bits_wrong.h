/* bits_wrong.h - kernels that are right to within rounding, and break the law.
 *
 * Each gives a good result for any batch, but not the same bits for every batch: what the harness
 * must find. */
#ifndef TFM_TESTS_BITS_WRONG_H
#define TFM_TESTS_BITS_WRONG_H

#include "backend/cpu/cpu_internal.h"
#include "bits_truth.h"

static tfm_cpu_kernels bits_wrong_table;
static const tfm_cpu_kernels *bits_good;

static void bits_use_wrong(tfm_backend *be) {
    ((cpu_backend *)be)->kernels = &bits_wrong_table;
}

/* Element i of head's K or V at position p. K: [KV_PAGE / 16][dim][16], V: [KV_PAGE][dim]. */
static inline float bits_cached(const tfm_cpu_attend *a, bool is_k, uint32_t p, uint32_t i) {
    const uint32_t slot = p % TFM_KV_PAGE;
    const size_t at =
        is_k ? ((size_t)(slot / TFM_PANEL) * a->k_dim + i) * TFM_PANEL + slot % TFM_PANEL
             : (size_t)slot * a->v_dim + i;
    const unsigned char *base = a->page[a->table[p / TFM_KV_PAGE]] + (is_k ? a->k_at : a->v_at);
    if (a->kv_type == TFM_F32) return ((const float *)(const void *)base)[at];
    return tfm_f16_to_f32(((const uint16_t *)(const void *)base)[at]);
}

static inline float bits_score(const tfm_cpu_attend *a, uint32_t q, uint32_t p) {
    float dot = 0.0f;
    for (uint32_t i = 0; i < a->k_dim; i++) dot += a->query[q].q[i] * bits_cached(a, true, p, i);
    return dot * a->scale;
}

/* Plain attention whose keys are summed in panels of as many keys as there are queries. */
static void bits_panels_by_batch(const tfm_cpu_attend *a, size_t n_chunks, const float *sums,
                                 const float *outs, const float *maxima, float *totals) {
    const uint32_t panel = 1 + a->n_queries;
    float out[256]; /* no head of these models is wider */
    (void)n_chunks, (void)sums, (void)outs, (void)maxima, (void)totals;
    for (uint32_t q = 0; q < a->n_queries; q++) {
        const uint32_t end = a->query[q].position + 1;
        float max = -INFINITY, total = 0.0f;
        for (uint32_t p = 0; p < end; p++) max = fmaxf(max, bits_score(a, q, p));
        memset(out, 0, a->v_dim * sizeof *out);
        for (uint32_t p = 0; p < end; p += panel) {
            const uint32_t n = end - p < panel ? end - p : panel;
            float weight[TFM_ATTEND_QUERIES + 1], sum = 0.0f;
            for (uint32_t j = 0; j < n; j++) {
                weight[j] = bits_score(a, q, p + j) - max;
                bits_good->exp(1, &weight[j], &weight[j]);
                sum += weight[j];
            }
            total += sum;
            for (uint32_t i = 0; i < a->v_dim; i++) {
                float part = 0.0f;
                for (uint32_t j = 0; j < n; j++)
                    part += weight[j] * bits_cached(a, false, p + j, i);
                out[i] += part;
            }
        }
        for (uint32_t i = 0; i < a->v_dim; i++) a->query[q].out[i] = out[i] / total;
    }
}

/* Many rows get their sum in other pieces than few: here, off by one unit in the last place. */
static void bits_linear_by_rows(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end,
                                uint32_t row, uint32_t end, void *scratch) {
    bits_good->linear(a, panel, panel_end, row, end, scratch);
    if (end - row < 8) return;
    for (uint32_t r = row; r < end; r++) {
        float *out = &a->out[(size_t)r * a->n_out + (size_t)panel * TFM_PANEL];
        *out = nextafterf(*out, INFINITY);
    }
}

/* exp as the head of a vector computes it is not exp as its tail does. */
static void bits_activation_by_tail(const tfm_step *s, size_t n, const float *a, const float *b,
                                    float *out) {
    bits_good->elementwise(s, n, a, b, out);
    if (s->op == TFM_OP_ACTIVATION) out[n - 1] = nextafterf(out[n - 1], INFINITY);
}

#endif
