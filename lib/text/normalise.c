/* normalise.c - Unicode normalisation forms, by utf8proc.
 *
 * Only for a text that is UTF-8 as a whole: other bytes are no text, and what is no text is kept as
 * it is, so that every byte string survives tokenizing where the vocabulary can spell it. */
#include <utf8proc.h>

#include "text/text_internal.h"

/* Combining marks in a row are put in order by insertion, which is quadratic in their number.
 * Unicode's own stream-safe format allows 30; this keeps a hostile text from costing seconds. */
enum { MARKS_MAX = 2000 };

bool tfm_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
           c == 0x205f || c == 0x3000;
}

/* Is there nothing to do? Below U+0300 the composed forms change nothing, below U+0080 none does.
 * (U+00A0 and others change under NFKC.) Also refuses endless runs of marks. */
static tfm_status scan(tfm_tok_run *r, tfm_norm norm, const unsigned char *s, size_t n,
                       bool *same) {
    uint32_t limit = norm == TFM_NORM_NFC ? 0x300 : 0x80, cp;
    unsigned marks = 0;
    *same = true;
    for (size_t i = 0; i < n;) {
        i += tfm_utf8_decode(s + i, n - i, &cp, NULL);
        if (cp >= limit) *same = false;
        if (cp < 0x300 || utf8proc_get_property((utf8proc_int32_t)cp)->combining_class == 0)
            marks = 0;
        else if (++marks > MARKS_MAX)
            return tfm_fail(r->err, TFM_RECORD, "more than %d combining marks in a row", MARKS_MAX);
    }
    return TFM_OK;
}

static utf8proc_option_t options(tfm_norm norm) {
    switch (norm) {
    case TFM_NORM_NFC: return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case TFM_NORM_NFD: return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case TFM_NORM_NFKC: return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    default: return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
    }
}

tfm_status tfm_normalise(tfm_tok_run *r, const unsigned char **text, size_t *n) {
    tfm_norm norm = r->v->set.norm;
    bool same;
    if (norm == TFM_NORM_NONE || !r->is_utf8) return TFM_OK;
    TFM_TRY(scan(r, norm, *text, *n, &same));
    if (same) return TFM_OK;
    utf8proc_option_t how = options(norm);
    utf8proc_ssize_t need = utf8proc_decompose(*text, (utf8proc_ssize_t)*n, NULL, 0, how);
    if (need < 0) return tfm_fail(r->err, TFM_RECORD, "normalising: %s", utf8proc_errmsg(need));
    void *p = r->decomposed; /* one more element: utf8proc_reencode ends it with a NUL */
    tfm_status st = tfm_grow(&p, &r->decomposed_cap, (size_t)need + 1, sizeof(int32_t), r->err);
    r->decomposed = p;
    if (st != TFM_OK) return st;
    need = utf8proc_decompose(*text, (utf8proc_ssize_t)*n, r->decomposed, need, how);
    if (need >= 0) need = utf8proc_reencode(r->decomposed, need, how);
    if (need < 0) return tfm_fail(r->err, TFM_RECORD, "normalising: %s", utf8proc_errmsg(need));
    *text = (const unsigned char *)r->decomposed;
    *n = (size_t)need;
    return TFM_OK;
}
