/* cmp.h - comparing the values of two tensors. */
#ifndef TFM_TOOLS_CMP_H
#define TFM_TOOLS_CMP_H

#include "tfm/stream.h"

/* Two values are taken as equal if |a - b| <= abs or |a - b| <= rel * max(|a|, |b|). */
typedef struct cmp_tolerance {
    double abs, rel;
} cmp_tolerance;

typedef struct cmp_result {
    uint64_t n, n_different; /* values; those beyond the tolerance */
    uint64_t n_nan;          /* of those, the ones of which one is NaN */
    double max_abs, max_rel; /* over all pairs of numbers, those within the tolerance included */
    uint64_t first;          /* the first different one, in row order */
    double first_a, first_b;
} cmp_result;

/* a and b: payloads of rec's dtype and dims that are not the same bytes. Without a tolerance values
 * that are equal but have other bits count as different. Integers are compared exactly, whatever the
 * tolerance. */
tfm_status cmp_values(const tfm_record *rec, const void *a, const void *b,
                      const cmp_tolerance *tolerance, cmp_result *out,
                      tfm_error *err) TFM_MUST_CHECK;

#endif
