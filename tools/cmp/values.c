/* values.c - comparing the values of two tensors, piece by piece in double precision. */
#include <math.h>
#include <string.h>

#include "cmp.h"

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
    return tfm_dtype_is_integer(t) || (tolerance->abs == 0 && tolerance->rel == 0);
}

tfm_status cmp_values(tfm_dtype t, const void *a, const void *b, size_t n,
                      const cmp_tolerance *tolerance, cmp_result *out, double *a_values,
                      double *b_values, tfm_error *err) {
    const unsigned char *pa = a, *pb = b;
    uint32_t block = tfm_dtype_block(t), block_bytes = tfm_dtype_block_bytes(t);
    bool exact = is_exact(t, tolerance);
    bool all_same = memcmp(a, b, n / block * block_bytes) == 0;
    TFM_TRY(tfm_to_f64(t, pa, n, a_values, err));
    TFM_TRY(tfm_to_f64(t, pb, n, b_values, err));
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
