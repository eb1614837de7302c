/* stats.c - minimum, maximum, mean and first values of a tensor of any dtype. */
#include <math.h>

#include "show.h"

enum { PIECE = 4096 }; /* values at a time: whole blocks of every dtype */

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
    v->is_integer = tfm_dtype_is_integer(t);
    v->min = v->max = NAN;
    for (uint64_t at = 0; at < v->n; at += PIECE) {
        size_t n = v->n - at < PIECE ? (size_t)(v->n - at) : PIECE;
        TFM_TRY(tfm_to_f64(t, p, n, values, err)); /* f32 would round large ids */
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
