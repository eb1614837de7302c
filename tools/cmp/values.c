/* values.c - comparing the values of two tensors, piece by piece in double precision. */
#include <math.h>
#include <string.h>

#include "cmp.h"

enum { PIECE = 4096 }; /* values at a time: whole blocks of every dtype */

static bool is_integer(tfm_dtype t) {
    return t == TFM_I8 || t == TFM_U8 || t == TFM_I32 || t == TFM_I64;
}

/* n values of p as double; integers up to 2^53 exactly. */
static tfm_status load(tfm_dtype t, const unsigned char *p, size_t n, double *out, tfm_error *err) {
    static float f[PIECE];
    if (t == TFM_I64 || t == TFM_I32) {
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

/* exact: must the bits be the same? */
static void compare_one(double a, double b, bool exact, bool same_bits,
                        const cmp_tolerance *tolerance, uint64_t at, cmp_result *out) {
    bool nan = isnan(a) || isnan(b), different;
    double diff = a == b ? 0 : fabs(a - b), larger = fmax(fabs(a), fabs(b));
    double rel = diff == 0 ? 0 : diff / larger;
    if (!nan && diff > out->max_abs) out->max_abs = diff;
    if (!nan && rel > out->max_rel) out->max_rel = rel;
    if (exact)
        different = !same_bits;
    else if (nan)
        different = !(isnan(a) && isnan(b));
    else if (isinf(diff))
        different = true; /* rel * inf would allow anything */
    else
        different = diff > tolerance->abs && diff > tolerance->rel * larger;
    if (!different) return;
    if (out->n_different++ == 0) {
        out->first = at;
        out->first_a = a;
        out->first_b = b;
    }
    if (nan) out->n_nan++;
}

tfm_status cmp_values(const tfm_record *rec, const void *a, const void *b,
                      const cmp_tolerance *tolerance, cmp_result *out, tfm_error *err) {
    static double va[PIECE], vb[PIECE];
    const unsigned char *pa = a, *pb = b;
    tfm_dtype t = (tfm_dtype)rec->dtype;
    uint32_t block = tfm_dtype_block(t), block_bytes = tfm_dtype_block_bytes(t);
    bool exact = is_integer(t) || (tolerance->abs == 0 && tolerance->rel == 0);
    *out = (cmp_result){0};
    if (!tfm_dims_count(rec->rank, rec->dims, &out->n))
        return tfm_fail(err, TFM_FORMAT, "record %u: too many values", rec->seq);
    for (uint64_t at = 0; at < out->n; at += PIECE) {
        size_t n = out->n - at < PIECE ? (size_t)(out->n - at) : PIECE;
        TFM_TRY(load(t, pa, n, va, err));
        TFM_TRY(load(t, pb, n, vb, err));
        for (size_t i = 0; i < n; i++) {
            bool same_bits =
                block == 1 ? memcmp(pa + i * block_bytes, pb + i * block_bytes, block_bytes) == 0
                           : va[i] == vb[i];
            compare_one(va[i], vb[i], exact, same_bits, tolerance, at + i, out);
        }
        pa += n / block * block_bytes;
        pb += n / block * block_bytes;
    }
    /* Blocks can have other bits and the same values: -0, a scale that nothing uses. */
    if (out->n_different == 0 && exact) out->n_different = 1;
    return TFM_OK;
}
