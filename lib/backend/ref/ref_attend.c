/* ref_attend.c - softmax(scale q k^T) v per head, over the cached keys, in double.
 *
 *     s[j]  = scale (q . k[j])               or scale (q . k[j] + a (j - i)): alibi_before_scale
 *     s[j]  = softcap tanh(s[j] / softcap)
 *     s[j] += a (j - i)                              (unless before)
 *     out   = sum_j e^(s[j] - m) v[j] / (sum_j e^(s[j] - m) + e^(sink - m)),  m = max(s, sink)
 *
 * for a query at position i and keys j <= i, j > i - window, of the same chunk. K and V are read
 * from the cache, after rounding to its type, the rows of this batch included. Layout of a page
 * here: [position][head][dim] for K, then for V; of type q8_0 each row is blocks of an f16 scale
 * and 32 int8, as in a tensor. */
#include <math.h>
#include <string.h>

#include "backend/math_internal.h"
#include "backend/ref/ref_internal.h"

/* A row of n numbers as row `slot` of a page's K or V. */
static void store(tfm_dtype t, unsigned char *base, size_t slot, const float *v, size_t n) {
    for (size_t i = 0; t == TFM_F32 && i < n; i++) ((float *)(void *)base)[slot * n + i] = v[i];
    for (size_t i = 0; t == TFM_F16 && i < n; i++)
        ((uint16_t *)(void *)base)[slot * n + i] = tfm_f32_to_f16(v[i]);
    for (size_t i = 0; t == TFM_Q8_0 && i < n; i += TFM_KV_BLOCK) {
        unsigned char *block = base + (slot * n + i) / TFM_KV_BLOCK * TFM_KV_BLOCK_BYTES;
        uint16_t scale = tfm_kv_round_q8_0(v + i, (int8_t *)block + 2);
        memcpy(block, &scale, sizeof scale);
    }
}

static double load(tfm_dtype t, const unsigned char *base, size_t at) {
    if (t == TFM_F32) return ((const float *)(const void *)base)[at];
    if (t == TFM_F16) return tfm_f16_to_f32(((const uint16_t *)(const void *)base)[at]);
    const unsigned char *block = base + at / TFM_KV_BLOCK * TFM_KV_BLOCK_BYTES;
    uint16_t scale;
    memcpy(&scale, block, sizeof scale);
    return (double)tfm_f16_to_f32(scale) * (int8_t)block[2 + at % TFM_KV_BLOCK];
}

static void write_cache(const ref_call *c) {
    const tfm_kv *kv = c->plan->base.kv;
    const int layer = c->step->u.attend.kv_layer;
    const size_t k_width = ref_width_in(c, 1), v_width = ref_width_in(c, 2);
    const tfm_batch *b = c->batch;
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        for (uint32_t r = b->row_start[s]; r < b->row_start[s + 1]; r++) {
            unsigned char *page = kv->page[b->page[s][b->position[r] / TFM_KV_PAGE]];
            const size_t slot = b->position[r] % TFM_KV_PAGE;
            store(kv->type, page + kv->k_at[layer], slot, c->in[1] + r * k_width, k_width);
            store(kv->type, page + kv->v_at[layer], slot, c->in[2] + r * v_width, v_width);
        }
    }
}

/* One query head of one row of sequence s. score: room for position + 1 numbers. */
static void attend_head(const ref_call *c, uint32_t s, uint32_t row, uint32_t head, double *score) {
    const tfm_step *st = c->step;
    const tfm_kv *kv = c->plan->base.kv;
    const uint32_t *page = c->batch->page[s];
    const uint32_t position = c->batch->position[row];
    const uint32_t first = tfm_first_key(position, st->u.attend.window, st->u.attend.chunk);
    const size_t k_dim = st->u.attend.k_dim, v_dim = st->u.attend.v_dim;
    const size_t kv_heads = st->u.attend.kv_heads, kv_head = head / (st->u.attend.heads / kv_heads);
    const float *q = c->in[0] + (size_t)row * ref_width_in(c, 0) + head * k_dim;
    float *out = c->out[0] + (size_t)row * ref_width_out(c, 0) + head * v_dim;
    const double scale = st->u.attend.scale, cap = st->u.attend.softcap;
    const double slope = st->u.attend.alibi != NULL ? st->u.attend.alibi[head] : 0.0;
    const double sink = c->w->extra != NULL ? c->w->extra[head] : -INFINITY;
    double max = sink;
    for (uint32_t j = first; j <= position; j++) {
        const unsigned char *k = kv->page[page[j / TFM_KV_PAGE]] + kv->k_at[st->u.attend.kv_layer];
        const size_t at = (j % TFM_KV_PAGE * kv_heads + kv_head) * k_dim;
        const double bias = slope * ((double)j - (double)position);
        double dot = 0.0;
        for (size_t i = 0; i < k_dim; i++) dot += (double)q[i] * load(kv->type, k, at + i);
        double x = scale * (st->u.attend.alibi_before_scale ? dot + bias : dot);
        if (cap > 0.0) x = cap * tfm_tanh(x / cap);
        if (!st->u.attend.alibi_before_scale) x += bias;
        score[j] = x;
        if (x > max) max = x;
    }
    double total = c->w->extra != NULL ? tfm_exp(sink - max) : 0.0;
    for (uint32_t j = first; j <= position; j++) {
        score[j] = tfm_exp(score[j] - max);
        total += score[j];
    }
    float *pattern = tfm_kept_pattern(st, c->batch, row, head);
    for (uint32_t j = 0; pattern != NULL && j <= position; j++) {
        pattern[j] = j < first ? 0.0f : (float)(score[j] / total);
    }
    for (size_t i = 0; i < v_dim; i++) {
        double sum = 0.0;
        for (uint32_t j = first; j <= position; j++) {
            const unsigned char *v =
                kv->page[page[j / TFM_KV_PAGE]] + kv->v_at[st->u.attend.kv_layer];
            sum += score[j] * load(kv->type, v, (j % TFM_KV_PAGE * kv_heads + kv_head) * v_dim + i);
        }
        out[i] = (float)(sum / total);
    }
}

tfm_status tfm_ref_attend(const ref_call *c) {
    const tfm_batch *b = c->batch;
    size_t longest = 0;
    void *score;
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if ((size_t)b->position[r] + 1 > longest) longest = (size_t)b->position[r] + 1;
    }
    TFM_TRY(tfm_alloc(&score, longest, sizeof(double), c->err));
    write_cache(c);
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        for (uint32_t r = b->row_start[s]; r < b->row_start[s + 1]; r++) {
            for (uint32_t h = 0; h < c->step->u.attend.heads; h++) attend_head(c, s, r, h, score);
        }
    }
    tfm_free(score);
    return TFM_OK;
}
