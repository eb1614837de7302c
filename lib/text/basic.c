/* basic.c - BERT's basic tokenizer: a text becomes words, for wordpiece.c.
 *
 *     clean-text      control characters go, white space becomes a space
 *     split-cjk       each ideograph is a word
 *     strip-accents   NFD, without non-spacing marks
 *     lowercase       character by character, without regard to what stands around
 *     always          words end at white space; each punctuation character is a word
 *
 * All in one pass over the characters, in this order, as Hugging Face's tokenizers do it. Without
 * the last, it is a step of a normaliser (norm_steps.c). They know the classes of characters as of
 * Unicode 8, with which the models were trained: what is another class since, or was no character
 * then, stands in the table below. (Found by comparing all code points with tokenizers 0.20.3 and
 * utf8proc 2.8.0, which has Unicode 15.) */
#include <utf8proc.h>

#include "text/text_internal.h"

enum { MARKS_MAX = 2000 }; /* as in normalise.c: they are put in order by insertion */

enum { CLEAN_TEXT = 1, SPLIT_CJK = 2, STRIP_ACCENTS = 4, LOWERCASE = 8 };

typedef enum class { OTHER, SPACE, PUNCTUATION, MARK, CONTROL } class;

static const uint32_t unicode8[][3] = {
    {0x61d, 0x61d, OTHER},         {0x7fd, 0x7fd, OTHER},     {0x890, 0x8e2, OTHER},
    {0x9fd, 0x9fe, OTHER},         {0xa76, 0xa76, OTHER},     {0xafa, 0xaff, OTHER},
    {0xb55, 0xb55, OTHER},         {0xc04, 0xc3c, OTHER},     {0xc77, 0xc77, OTHER},
    {0xc84, 0xc84, OTHER},         {0xd00, 0xd00, OTHER},     {0xd3b, 0xd3c, OTHER},
    {0xd81, 0xd81, OTHER},         {0xeba, 0xeba, OTHER},     {0xece, 0xece, OTHER},
    {0x166d, 0x166d, PUNCTUATION}, {0x1734, 0x1734, MARK},    {0x180f, 0x1886, OTHER},
    {0x1abf, 0x1ace, OTHER},       {0x1b7d, 0x1b7e, OTHER},   {0x1df6, 0x1dfb, OTHER},
    {0x2e43, 0x2e5d, OTHER},       {0xa82c, 0xa82c, OTHER},   {0xa8c5, 0xa8c5, OTHER},
    {0xa8ff, 0xa8ff, OTHER},       {0xa9bd, 0xa9bd, OTHER},   {0x10d24, 0x10f89, OTHER},
    {0x11070, 0x11074, OTHER},     {0x110c2, 0x110cd, OTHER}, {0x111c9, 0x111c9, PUNCTUATION},
    {0x111cf, 0x111cf, OTHER},     {0x1123e, 0x11241, OTHER}, {0x1133b, 0x1133b, OTHER},
    {0x11438, 0x1145e, OTHER},     {0x11660, 0x1166c, OTHER}, {0x116b9, 0x116b9, OTHER},
    {0x1182f, 0x11fff, OTHER},     {0x12ff1, 0x13455, OTHER}, {0x16e97, 0x16f4f, OTHER},
    {0x16fe2, 0x16fe4, OTHER},     {0x1cf00, 0x1cf46, OTHER}, {0x1e000, 0x1e4ef, OTHER},
    {0x1e944, 0x1e95f, OTHER},
};

/* The class that Unicode 8 gave a character, if it is another now. */
static bool was(uint32_t cp, class *is) {
    const size_t n = sizeof unicode8 / sizeof *unicode8, i = tfm_range_of(cp, *unicode8, 3, n);
    if (i < n) *is = (class)unicode8[i][2];
    return i < n;
}

/* Control characters that are white space are SPACE here; clean() tells them apart. */
static class class_of(uint32_t cp) {
    class is;
    if (tfm_is_space(cp)) return SPACE;
    if (cp < 0x80) {
        if (cp < 0x20 || cp == 0x7f) return CONTROL;
        bool word =
            (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z');
        return word ? OTHER : PUNCTUATION;
    }
    if (cp == 0xfffd) return CONTROL;
    if (was(cp, &is)) return is;
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO: return CONTROL;
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO: return PUNCTUATION;
    case UTF8PROC_CATEGORY_MN: return MARK;
    default: return OTHER;
    }
}

/* 2B920 is where BERT's own list has it, though the block begins at 2B820. */
static bool is_ideograph(uint32_t cp) {
    return (cp >= 0x4e00 && cp <= 0x9fff) || (cp >= 0x3400 && cp <= 0x4dbf) ||
           (cp >= 0x20000 && cp <= 0x2a6df) || (cp >= 0x2a700 && cp <= 0x2b73f) ||
           (cp >= 0x2b740 && cp <= 0x2b81f) || (cp >= 0x2b920 && cp <= 0x2ceaf) ||
           (cp >= 0xf900 && cp <= 0xfaff) || (cp >= 0x2f800 && cp <= 0x2fa1f);
}

/* ---- characters to words: r->text is the word so far ---- */

static tfm_status end_word(tfm_tok_run *r) {
    if (r->text.len == 0) return TFM_OK;
    TFM_TRY(tfm_wordpiece_word(r, (const unsigned char *)r->text.data, r->text.len));
    tfm_buf_clear(&r->text);
    return TFM_OK;
}

static tfm_status put(tfm_tok_run *r, uint32_t cp) {
    unsigned char utf8[4];
    if (r->basic_out) return tfm_buf_add(r->basic_out, utf8, tfm_utf8_encode(cp, utf8), r->err);
    class is = class_of(cp);
    if (is == SPACE || is == PUNCTUATION) TFM_TRY(end_word(r));
    if (is == SPACE) return TFM_OK;
    TFM_TRY(tfm_buf_add(&r->text, utf8, tfm_utf8_encode(cp, utf8), r->err));
    return is == PUNCTUATION ? end_word(r) : TFM_OK;
}

static tfm_status put_lower(tfm_tok_run *r, uint32_t cp) {
    if (!(r->basic & LOWERCASE)) return put(r, cp);
    if (cp < 0x80) return put(r, cp >= 'A' && cp <= 'Z' ? cp + 32 : cp);
    if (cp == 0x130) { /* the one character that becomes two */
        TFM_TRY(put(r, 'i'));
        return put(r, 0x307);
    }
    return put(r, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

/* ---- strip-accents: marks that stay wait in r->decomposed until a starter comes ---- */

static int combining_class(int32_t cp) {
    return utf8proc_get_property(cp)->combining_class;
}

static tfm_status put_waiting(tfm_tok_run *r, size_t *n) {
    for (size_t i = 0; i < *n; i++) TFM_TRY(put_lower(r, (uint32_t)r->decomposed[i]));
    *n = 0;
    return TFM_OK;
}

/* One more combining character, behind those whose class is not higher. */
static tfm_status wait_in_order(tfm_tok_run *r, size_t *n, int32_t cp) {
    size_t i = *n;
    if (*n == MARKS_MAX)
        return tfm_fail(r->err, TFM_RECORD, "more than %d combining marks in a row", MARKS_MAX);
    void *p = r->decomposed;
    tfm_status st = tfm_grow(&p, &r->decomposed_cap, *n + 1, sizeof(int32_t), r->err);
    r->decomposed = p;
    if (st != TFM_OK) return st;
    for (; i > 0 && combining_class(r->decomposed[i - 1]) > combining_class(cp); i--)
        r->decomposed[i] = r->decomposed[i - 1];
    r->decomposed[i] = cp;
    (*n)++;
    return TFM_OK;
}

static tfm_status put_stripped(tfm_tok_run *r, uint32_t cp, size_t *n_waiting) {
    int32_t part[8];
    class is;
    int unused = 0;
    utf8proc_ssize_t n = 1;
    part[0] = (int32_t)cp;
    if (cp >= 0xc0 && !(was(cp, &is) && is == OTHER))
        n = utf8proc_decompose_char(part[0], part, 8, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
                                    &unused);
    if (n < 1 || n > 8)
        return tfm_fail(r->err, TFM_RECORD, "normalising: U+%04X has no form", (unsigned)cp);
    for (utf8proc_ssize_t i = 0; i < n; i++) {
        bool starts = part[i] < 0x300 || combining_class(part[i]) == 0;
        bool goes = part[i] >= 0x300 && class_of((uint32_t)part[i]) == MARK;
        if (starts) TFM_TRY(put_waiting(r, n_waiting));
        if (goes) continue;
        TFM_TRY(starts ? put_lower(r, (uint32_t)part[i]) : wait_in_order(r, n_waiting, part[i]));
    }
    return TFM_OK;
}

/* ---- one stretch of text ---- */

/* Does clean-text drop it? */
static bool is_dropped(uint32_t cp) {
    if (cp == '\t' || cp == '\n' || cp == '\r') return false;
    return class_of(cp) == CONTROL || cp < 0x20 || cp == 0x85;
}

static tfm_status character(tfm_tok_run *r, uint32_t cp, size_t *n_waiting) {
    if ((r->basic & CLEAN_TEXT) && is_dropped(cp)) return TFM_OK;
    if ((r->basic & CLEAN_TEXT) && tfm_is_space(cp)) cp = ' ';
    bool alone = (r->basic & SPLIT_CJK) && is_ideograph(cp);
    if (alone) {
        TFM_TRY(put_waiting(r, n_waiting));
        TFM_TRY(put(r, ' '));
    }
    TFM_TRY(r->basic & STRIP_ACCENTS ? put_stripped(r, cp, n_waiting) : put_lower(r, cp));
    return alone ? put(r, ' ') : TFM_OK;
}

bool tfm_basic_is_punctuation(uint32_t cp) {
    return class_of(cp) == PUNCTUATION;
}

tfm_status tfm_basic_normalise(tfm_tok_run *r, const char *letters, const unsigned char *s,
                               size_t n, tfm_buf *out) {
    size_t n_waiting = 0;
    r->basic = (strchr(letters, 'c') ? CLEAN_TEXT : 0u) | (strchr(letters, 'j') ? SPLIT_CJK : 0u) |
               (strchr(letters, 'a') ? STRIP_ACCENTS : 0u) |
               (strchr(letters, 'l') ? LOWERCASE : 0u);
    r->basic_out = out;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        i += tfm_utf8_decode(s + i, n - i, &cp, NULL);
        TFM_TRY(character(r, cp, &n_waiting));
    }
    return put_waiting(r, &n_waiting);
}

tfm_status tfm_basic_fragment(tfm_tok_run *r, const unsigned char *s, size_t n) {
    const tfm_vocab_settings *set = &r->v->set;
    size_t n_waiting = 0;
    r->basic = (set->clean_text ? CLEAN_TEXT : 0u) | (set->split_cjk ? SPLIT_CJK : 0u) |
               (set->strip_accents ? STRIP_ACCENTS : 0u) | (set->lowercase ? LOWERCASE : 0u);
    r->basic_out = NULL;
    tfm_buf_clear(&r->text);
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        bool ok;
        len = tfm_utf8_decode(s + i, n - i, &cp, &ok);
        if (!ok) return tfm_run_byte(r, s + i); /* which no vocabulary of this type can spell */
        TFM_TRY(character(r, cp, &n_waiting));
    }
    TFM_TRY(put_waiting(r, &n_waiting));
    return end_word(r);
}
