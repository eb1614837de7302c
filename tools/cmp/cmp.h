/* cmp.h - comparing the values of two tensors, a piece at a time, and statistics over many. */
#ifndef TFM_TOOLS_CMP_H
#define TFM_TOOLS_CMP_H

#include <stdio.h>

#include "tfm/stream.h"

enum { CMP_PIECE = 4096 }; /* values at a time: whole blocks of every dtype */

/* Two values are taken as equal if |a - b| <= abs or |a - b| <= rel * max(|a|, |b|). */
typedef struct cmp_tolerance {
    double abs, rel;
} cmp_tolerance;

/* {0} before the first piece. */
typedef struct cmp_result {
    uint64_t n, n_different; /* values; those beyond the tolerance */
    uint64_t n_nan;          /* of those, the ones of which one is NaN */
    bool other_bits;         /* some bytes differ, whatever the values */
    double max_abs, max_rel; /* over all pairs of numbers, those within the tolerance included */
    uint64_t first;          /* the first different one, in row order */
    double first_a, first_b;
} cmp_result;

/* Adds the next n values (at most CMP_PIECE, whole blocks) of two tensors of dtype t. Without a
 * tolerance values that are equal but have other bits count as different. Integers are compared
 * exactly, whatever the tolerance. a_values, b_values [n]: the values as double. */
tfm_status cmp_values(tfm_dtype t, const void *a, const void *b, size_t n,
                      const cmp_tolerance *tolerance, cmp_result *out, double *a_values,
                      double *b_values, tfm_error *err) TFM_MUST_CHECK;
/* After the last piece: blocks can have other bits and the same values (a scale that nothing uses);
 * without a tolerance that is a difference, too. */
void cmp_values_end(tfm_dtype t, const cmp_tolerance *tolerance, cmp_result *out);

/* ---- stats.c: --stats ---- */

typedef struct cmp_stats cmp_stats;
tfm_status cmp_stats_new(cmp_stats **out, tfm_error *err) TFM_MUST_CHECK;
void cmp_stats_free(cmp_stats *s);
/* The next tensor; is_logits: its last dimension is a vocabulary. TFM_LIMIT: too many names. */
tfm_status cmp_stats_begin(cmp_stats *s, const tfm_record *rec, bool is_logits,
                           tfm_error *err) TFM_MUST_CHECK;
void cmp_stats_add(cmp_stats *s, const double *a, const double *b, size_t n);
/* The table: a line for each name in order of appearance, and the total. */
void cmp_stats_print(const cmp_stats *s, FILE *out);

#endif
