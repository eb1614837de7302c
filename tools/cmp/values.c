/* values.c - comparing the values of two tensors, piece by piece in double precision. */
#include <math.h>
#include <string.h>

#include "cmp.h"

static bool is_integer(tfm_dtype t) {
    return t == TFM_I8 || t == TFM_U8 || t == TFM_I32 || t == TFM_I64;
}

/* n values of p as double; integers up to 2^53 exactly. */
static tfm_status load(tfm_dtype t, const unsigned char *p, size_t n, double *out, tfm_error *err) {
    static float f[CMP_PIECE];
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

static bool is_exact(tfm_dtype t, const cmp_tolerance *tolerance) {
    return is_integer(t) || (tolerance->abs == 0 && tolerance->rel == 0);
}

tfm_status cmp_values(tfm_dtype t, const void *a, const void *b, size_t n,
                      const cmp_tolerance *tolerance, cmp_result *out, double *a_values,
                      double *b_values, tfm_error *err) {
    const unsigned char *pa = a, *pb = b;
    uint32_t block = tfm_dtype_block(t), block_bytes = tfm_dtype_block_bytes(t);
    bool exact = is_exact(t, tolerance);
    bool all_same = memcmp(a, b, n / block * block_bytes) == 0;
    TFM_TRY(load(t, pa, n, a_values, err));
    TFM_TRY(load(t, pb, n, b_values, err));
    for (size_t i = 0; i < n && !all_same; i++) {
        bool same_bits = block == 1
                             ? memcmp(pa + i * block_bytes, pb + i * block_bytes, block_bytes) == 0
                             : a_values[i] == b_values[i];
        compare_one(a_values[i], b_values[i], exact, same_bits, tolerance, out->n + i, out);
    }
    if (!all_same) out->other_bits = true;
    out->n += n;
    return TFM_OK;
}

void cmp_values_end(tfm_dtype t, const cmp_tolerance *tolerance, cmp_result *out) {
    if (out->n_different == 0 && out->other_bits && is_exact(t, tolerance)) out->n_different = 1;
}
