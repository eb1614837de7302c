/* stats.c - minimum, maximum, mean and first values of a tensor of any dtype. */
#include <math.h>
#include <string.h>

#include "show.h"

enum { PIECE = 4096 }; /* values at a time: whole blocks of every dtype */

static tfm_status load(tfm_dtype t, const unsigned char *p, size_t n, double *out, tfm_error *err) {
    static float f[PIECE];
    if (t == TFM_I64 || t == TFM_I32) { /* f32 would round large ids */
        for (size_t i = 0; i < n; i++) {
            int64_t wide = 0;
            int32_t narrow = 0;
            if (t == TFM_I64)
                memcpy(&wide, p + 8 * i, 8);
            else
                memcpy(&narrow, p + 4 * i, 4);
            out[i] = t == TFM_I64 ? (double)wide : (double)narrow;
        }
        return TFM_OK;
    }
    TFM_TRY(tfm_to_f32(t, p, n, f, err));
    for (size_t i = 0; i < n; i++) out[i] = (double)f[i];
    return TFM_OK;
}

static void add(show_values *v, double x, double *sum) {
    if (v->n_first < SHOW_FIRST) v->first[v->n_first++] = x;
    if (isnan(x)) {
        v->n_nan++;
        return;
    }
    if (!(x >= v->min)) v->min = x;
    if (!(x <= v->max)) v->max = x;
    *sum += x;
}

static tfm_status tensor_stats(const tfm_record *rec, const unsigned char *p, show_values *v,
                               tfm_error *err) {
    static double values[PIECE];
    tfm_dtype t = (tfm_dtype)rec->dtype;
    double sum = 0;
    if (!tfm_dims_count(rec->rank, rec->dims, &v->n))
        return tfm_fail(err, TFM_FORMAT, "record %u: too many values", rec->seq);
    v->is_integer = t == TFM_I8 || t == TFM_U8 || t == TFM_I32 || t == TFM_I64;
    v->min = v->max = NAN;
    for (uint64_t at = 0; at < v->n; at += PIECE) {
        size_t n = v->n - at < PIECE ? (size_t)(v->n - at) : PIECE;
        TFM_TRY(load(t, p, n, values, err));
        for (size_t i = 0; i < n; i++) add(v, values[i], &sum);
        p += n / tfm_dtype_block(t) * tfm_dtype_block_bytes(t);
    }
    v->has_stats = v->n > v->n_nan;
    if (v->has_stats) v->mean = sum / (double)(v->n - v->n_nan);
    return TFM_OK;
}

tfm_status show_compute(const tfm_record *rec, const void *payload, show_values *v,
                        tfm_error *err) {
    *v = (show_values){0};
    if (!payload) return TFM_OK;
    switch (rec->type) {
    case TFM_REC_TENSOR:
    case TFM_REC_FORK: return tensor_stats(rec, payload, v, err);
    case TFM_REC_TEXT:
    case TFM_REC_META:
    case TFM_REC_INDEX:
    case TFM_REC_ERROR:
        v->text = payload;
        v->text_len = (size_t)rec->bytes;
        return TFM_OK;
    default: return TFM_OK;
    }
}
