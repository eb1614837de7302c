/* scan_internal.h - plain pre-tokenizer patterns, matched without PCRE2 (scan.c); for pretok.c and
 * its tests.
 *
 *     tfm_scan_new(&scan, pattern, n, err);            NULL in scan: the pattern is not plain
 *     question = compiled tfm_scan_question(scan);     by PCRE2, with the flags of the general path
 *     tfm_scan_table_new(&table, scan, general, err);  one for each run: it learns
 *     tfm_scan_next(&use, s, n, from, &found, &begin, &end); */
#ifndef TFM_SCAN_INTERNAL_H
#define TFM_SCAN_INTERNAL_H

#ifndef PCRE2_CODE_UNIT_WIDTH
#define PCRE2_CODE_UNIT_WIDTH 8
#endif
#include <pcre2.h>

#include "text/text_internal.h"

typedef struct tfm_scan tfm_scan;
typedef struct tfm_scan_table tfm_scan_table;

/* *out = NULL with TFM_OK: the pattern (in PCRE2's spelling) is for PCRE2. */
tfm_status tfm_scan_new(tfm_scan **out, const char *pattern, size_t n,
                        tfm_error *err) TFM_MUST_CHECK;
void tfm_scan_free(tfm_scan *s);
/* A pattern that captures, for each class, the character if it is in the class. */
const tfm_buf *tfm_scan_question(const tfm_scan *s);
tfm_status tfm_scan_table_new(tfm_scan_table **out, const tfm_scan *s,
                              pcre2_general_context *general, tfm_error *err) TFM_MUST_CHECK;
void tfm_scan_table_free(tfm_scan_table *t);

/* A scan in use; steps count the characters looked at. */
typedef struct tfm_scan_use {
    const tfm_scan *scan;
    const pcre2_code *question;
    tfm_scan_table *table;
    uint64_t steps, steps_max;
    tfm_status status;
    tfm_error *err;
} tfm_scan_use;
/* The first match in s[from..n), which must be valid UTF-8. TFM_RECORD past steps_max. */
tfm_status tfm_scan_next(tfm_scan_use *u, const unsigned char *s, size_t n, size_t from,
                         bool *found, size_t *begin, size_t *end) TFM_MUST_CHECK;

#endif
