/* normalise.c - Unicode normalisation forms, by utf8proc.
 *
 * Only for a text that is UTF-8 as a whole: other bytes are no text, and what is no text is kept as
 * it is, so that every byte string survives tokenizing where the vocabulary can spell it.
 *
 * NFC, the one that models use, leaves nearly all text alone. A character that is a starter, is its
 * own NFC and never joins what stands before it is a boundary: the text in front of it is
 * normalised alone (Unicode Standard Annex 15, 9.1). So only the runs of other characters go to
 * utf8proc, each with the character before it. */
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

/* Is there nothing to do? Below U+0080 no form changes anything. */
static bool is_ascii(const unsigned char *s, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++) all |= s[i];
    return all < 0x80;
}

static tfm_status count_marks(tfm_tok_run *r, uint32_t cp, unsigned *marks) {
    if (cp < 0x300 || utf8proc_get_property((utf8proc_int32_t)cp)->combining_class == 0)
        *marks = 0;
    else if (++*marks > MARKS_MAX)
        return tfm_fail(r->err, TFM_RECORD, "more than %d combining marks in a row", MARKS_MAX);
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

/* Appends the normal form of s[0..n) to out. */
static tfm_status add_normal(tfm_tok_run *r, const unsigned char *s, size_t n,
                             utf8proc_option_t how, tfm_buf *out) {
    utf8proc_ssize_t need = utf8proc_decompose(s, (utf8proc_ssize_t)n, NULL, 0, how);
    if (need < 0) return tfm_fail(r->err, TFM_RECORD, "normalising: %s", utf8proc_errmsg(need));
    void *p = r->decomposed; /* one more element: utf8proc_reencode ends it with a NUL */
    tfm_status st = tfm_grow(&p, &r->decomposed_cap, (size_t)need + 1, sizeof(int32_t), r->err);
    r->decomposed = p;
    if (st != TFM_OK) return st;
    need = utf8proc_decompose(s, (utf8proc_ssize_t)n, r->decomposed, need, how);
    if (need >= 0) need = utf8proc_reencode(r->decomposed, need, how);
    if (need < 0) return tfm_fail(r->err, TFM_RECORD, "normalising: %s", utf8proc_errmsg(need));
    return tfm_buf_add(out, r->decomposed, (size_t)need, r->err);
}

/* Is this a boundary of NFC, as above? What joins the character before it is a mark or a vowel or
 * final consonant of Hangul, but for the vowels of Kirat Rai (U+16D40 to U+16D7F), which are
 * letters; a test goes through all decompositions that the library knows. */
bool tfm_nfc_boundary(uint32_t cp) {
    int32_t out[8];
    int class = 0;
    if (cp < 0x300) return true;
    if ((cp >= 0x1100 && cp <= 0x11ff) || (cp >= 0x16d40 && cp <= 0x16d7f)) return false;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)cp);
    if (category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
        category == UTF8PROC_CATEGORY_ME)
        return false;
    utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, out, 8, options(TFM_NORM_NFD), &class);
    if (n < 1 || n > 8) return false;
    n = utf8proc_normalize_utf32(out, n, options(TFM_NORM_NFC));
    return n == 1 && out[0] == (int32_t)cp;
}

/* The answers are kept: a text has few different characters. */
static bool is_boundary(tfm_tok_run *r, uint32_t cp) {
    uint32_t *slot = &r->boundary[cp % TFM_BOUNDARIES];
    if (*slot >> 1 != cp) *slot = cp << 1 | tfm_nfc_boundary(cp);
    return *slot & 1;
}

/* The end of the run of characters at s[i] that are no boundaries. */
static tfm_status run_end(tfm_tok_run *r, const unsigned char *s, size_t n, size_t i, size_t *end) {
    unsigned marks = 0;
    uint32_t cp;
    for (size_t len; i < n; i += len) {
        len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        if (cp < 0x300 || is_boundary(r, cp)) break;
        TFM_TRY(count_marks(r, cp, &marks));
    }
    *end = i;
    return TFM_OK;
}

static tfm_status nfc(tfm_tok_run *r, const unsigned char **text, size_t *n) {
    const unsigned char *s = *text;
    size_t done = 0, boundary = 0, end; /* s[0..done) is in r->normal; where the last boundary is */
    tfm_buf_clear(&r->normal);
    for (size_t i = 0, len; i < *n; i += len) {
        uint32_t cp = s[i];
        len = 1;
        if (cp >= 0x80) len = tfm_utf8_decode(s + i, *n - i, &cp, NULL);
        if (cp < 0x300 || is_boundary(r, cp)) {
            boundary = i;
            continue;
        }
        TFM_TRY(run_end(r, s, *n, i, &end));
        TFM_TRY(tfm_buf_add(&r->normal, s + done, boundary - done, r->err));
        TFM_TRY(add_normal(r, s + boundary, end - boundary, options(TFM_NORM_NFC), &r->normal));
        done = boundary = end;
        len = end - i;
    }
    if (done == 0) return TFM_OK;
    TFM_TRY(tfm_buf_add(&r->normal, s + done, *n - done, r->err));
    *text = (const unsigned char *)r->normal.data;
    *n = r->normal.len;
    return TFM_OK;
}

tfm_status tfm_normal_form(tfm_tok_run *r, tfm_norm form, const unsigned char *s, size_t n,
                           tfm_buf *out) {
    unsigned marks = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        i += tfm_utf8_decode(s + i, n - i, &cp, NULL);
        TFM_TRY(count_marks(r, cp, &marks));
    }
    return add_normal(r, s, n, options(form), out);
}

tfm_status tfm_normalise(tfm_tok_run *r, const unsigned char **text, size_t *n) {
    tfm_norm norm = r->v->set.norm;
    if (norm == TFM_NORM_NONE || !r->is_utf8) return TFM_OK;
    if (norm == TFM_NORM_STEPS) return tfm_norm_steps(r, text, n);
    if (is_ascii(*text, *n)) return TFM_OK;
    if (norm == TFM_NORM_NFC) return nfc(r, text, n);
    tfm_buf_clear(&r->normal);
    TFM_TRY(tfm_normal_form(r, norm, *text, *n, &r->normal));
    *text = (const unsigned char *)r->normal.data;
    *n = r->normal.len;
    return TFM_OK;
}
