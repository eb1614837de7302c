/* norm_steps.c - a normaliser that is a list of steps, as tokenizer.json has them: each step's output
 * is the next one's input. What each step does is fixed by Hugging Face's tokenizers; the comments say
 * what may surprise.
 *
 * Only for a text that is UTF-8 as a whole (tfm_normalise looks). Steps may make a text longer, and a
 * list of them could do so without end; so there is a bound in proportion to the text. */
#include <utf8proc.h>

#include "text/text_internal.h"

enum {
    GROWTH_MAX = 64,       /* times the text; U+FDFA, the worst character of NFKC, grows 11 times */
    GROWTH_BASE = 1 << 16, /* and so many bytes */
    GRAPHEME_MAX = 5       /* bytes of a cluster that is replaced as a whole */
};

/* What stands in out is the text from now on. */
static void give(const tfm_buf *out, const unsigned char **s, size_t *n) {
    *n = out->len;
    if (out->len > 0) *s = (const unsigned char *)out->data;
}

static bool is_ascii(const unsigned char *s, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++) all |= s[i];
    return all < 0x80;
}

static tfm_status add(tfm_tok_run *r, tfm_buf *out, const void *p, size_t n) {
    if (out->len + n > (uint64_t)r->src_len * GROWTH_MAX + GROWTH_BASE ||
        out->len + n > TFM_TEXT_MAX)
        return tfm_fail(r->err, TFM_RECORD, "the normalised text is over %d times as long",
                        GROWTH_MAX);
    return tfm_buf_add(out, p, n, r->err);
}

static tfm_status add_cp(tfm_tok_run *r, tfm_buf *out, uint32_t cp) {
    unsigned char c[4];
    return add(r, out, c, tfm_utf8_encode(cp, c));
}

/* ---- characters one by one ---- */

/* U+0130 is the one character whose lower case is two; final sigma is not looked for. */
static tfm_status lower(tfm_tok_run *r, uint32_t cp, tfm_buf *out) {
    if (cp == 0x130) return add(r, out, "i\xcc\x87", 3);
    return add_cp(r, out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

static tfm_status strip_accent(tfm_tok_run *r, uint32_t cp, tfm_buf *out) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    bool mark = c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
    return mark ? TFM_OK : add_cp(r, out, cp);
}

/* SentencePiece's rules nmt, but U+0000, U+0085 and U+00A0 stay. */
static tfm_status nmt(tfm_tok_run *r, uint32_t cp, tfm_buf *out) {
    if ((cp >= 1 && cp <= 8) || cp == 0xb || (cp >= 0xe && cp <= 0x1f) || cp == 0x7f ||
        cp == 0x8f || cp == 0x9f)
        return TFM_OK;
    if (cp == 9 || cp == 0xa || cp == 0xc || cp == 0xd || cp == 0x1680 ||
        (cp >= 0x200b && cp <= 0x200f) || cp == 0x2028 || cp == 0x2029 || cp == 0x2581 ||
        cp == 0xfeff || cp == 0xfffd)
        return add(r, out, " ", 1);
    return add_cp(r, out, cp);
}

static tfm_status each(tfm_tok_run *r, const unsigned char **s, size_t *n, tfm_buf *out,
                       tfm_status (*fn)(tfm_tok_run *r, uint32_t cp, tfm_buf *out)) {
    TFM_TRY(tfm_buf_reserve(out, *n, r->err));
    for (size_t i = 0; i < *n;) {
        uint32_t cp;
        i += tfm_utf8_decode(*s + i, *n - i, &cp, NULL);
        TFM_TRY(fn(r, cp, out));
    }
    give(out, s, n);
    return TFM_OK;
}

/* ---- white space at the ends ---- */

static void strip_left(const unsigned char **s, size_t *n) {
    while (*n > 0) {
        uint32_t cp;
        size_t len = tfm_utf8_decode(*s, *n, &cp, NULL);
        if (!tfm_is_space(cp)) break;
        *s += len;
        *n -= len;
    }
}

static void strip_right(const unsigned char *s, size_t *n) {
    while (*n > 0) {
        size_t i = *n - 1;
        uint32_t cp;
        while (i > 0 && (s[i] & 0xc0) == 0x80) i--;
        tfm_utf8_decode(s + i, *n - i, &cp, NULL);
        if (!tfm_is_space(cp)) break;
        *n = i;
    }
}

/* ---- the table ---- */

/* A short cluster that begins with something in the table is replaced as a whole, marks and all, by
 * what the shortest such stands for; of the others each character that begins so. */
static tfm_status cluster(tfm_tok_run *r, const unsigned char *s, size_t n, tfm_buf *out) {
    const tfm_charsmap *map = &r->v->charsmap;
    const unsigned char *text;
    size_t len;
    if (n <= GRAPHEME_MAX && tfm_charsmap_find(map, s, n, true, &text, &len) > 0)
        return add(r, out, text, len);
    for (size_t i = 0, k; i < n; i += k) {
        uint32_t cp;
        k = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        if (tfm_charsmap_find(map, s + i, k, true, &text, &len) == 0) {
            text = s + i;
            len = k;
        }
        TFM_TRY(add(r, out, text, len));
    }
    return TFM_OK;
}

static tfm_status charsmap(tfm_tok_run *r, const unsigned char **s, size_t *n, tfm_buf *out) {
    if (r->v->charsmap.n_units == 0) return TFM_OK;
    for (size_t i = 0, k; i < *n; i += k) {
        k = tfm_grapheme(*s + i, *n - i);
        TFM_TRY(cluster(r, *s + i, k, out));
    }
    if (tfm_utf8_span((const unsigned char *)out->data, out->len) != out->len)
        return tfm_fail(r->err, TFM_RECORD, "the table of replacements makes what is no UTF-8");
    give(out, s, n);
    return TFM_OK;
}

/* ---- replacing ---- */

static tfm_status replace(tfm_tok_run *r, const tfm_step *p, const unsigned char **s, size_t *n,
                          tfm_buf *out) {
    const unsigned char *at = *s, *end = *s + *n, *hit = memmem(at, *n, p->a, p->a_len);
    if (hit == NULL) return TFM_OK;
    for (; hit; hit = memmem(at, (size_t)(end - at), p->a, p->a_len)) {
        TFM_TRY(add(r, out, at, (size_t)(hit - at)));
        TFM_TRY(add(r, out, p->b, p->b_len));
        at = hit + p->a_len;
    }
    TFM_TRY(add(r, out, at, (size_t)(end - at)));
    give(out, s, n);
    return TFM_OK;
}

static tfm_status replace_regex(tfm_tok_run *r, uint32_t step, const unsigned char **s, size_t *n,
                                tfm_buf *out) {
    const tfm_step *p = &r->v->set.steps.step[step];
    size_t done = 0, begin, end;
    for (bool found = true; done < *n;) {
        TFM_TRY(tfm_pretok_find(r, step, *s, *n, done, &found, &begin, &end));
        if (!found) break;
        if (begin == end)
            return tfm_fail(r->err, TFM_RECORD, "normaliser: the pattern matches no character");
        TFM_TRY(add(r, out, *s + done, begin - done));
        TFM_TRY(add(r, out, p->b, p->b_len));
        done = end;
    }
    if (done == 0) return TFM_OK;
    TFM_TRY(add(r, out, *s + done, *n - done));
    give(out, s, n);
    return TFM_OK;
}

/* ---- one step, and all ---- */

static tfm_status form(tfm_tok_run *r, tfm_norm norm, const unsigned char **s, size_t *n,
                       tfm_buf *out) {
    if (is_ascii(*s, *n)) return TFM_OK;
    TFM_TRY(tfm_normal_form(r, norm, *s, *n, out));
    give(out, s, n);
    return TFM_OK;
}

static tfm_status one(tfm_tok_run *r, uint32_t i, const unsigned char **s, size_t *n,
                      tfm_buf *out) {
    const tfm_step *p = &r->v->set.steps.step[i];
    switch ((tfm_step_kind)p->kind) {
    case TFM_STEP_NFC: return form(r, TFM_NORM_NFC, s, n, out);
    case TFM_STEP_NFD: return form(r, TFM_NORM_NFD, s, n, out);
    case TFM_STEP_NFKC: return form(r, TFM_NORM_NFKC, s, n, out);
    case TFM_STEP_NFKD: return form(r, TFM_NORM_NFKD, s, n, out);
    case TFM_STEP_LOWERCASE: return each(r, s, n, out, lower);
    case TFM_STEP_STRIP_ACCENTS:
        return is_ascii(*s, *n) ? TFM_OK : each(r, s, n, out, strip_accent);
    case TFM_STEP_NMT: return each(r, s, n, out, nmt);
    case TFM_STEP_CHARSMAP: return charsmap(r, s, n, out);
    case TFM_STEP_STRIP_LEFT: strip_left(s, n); return TFM_OK;
    case TFM_STEP_STRIP_RIGHT: strip_right(*s, n); return TFM_OK;
    case TFM_STEP_PREPEND:
        TFM_TRY(add(r, out, p->a, p->a_len));
        TFM_TRY(add(r, out, *s, *n));
        give(out, s, n);
        return TFM_OK;
    case TFM_STEP_REPLACE: return replace(r, p, s, n, out);
    case TFM_STEP_REPLACE_REGEX: return replace_regex(r, i, s, n, out);
    case TFM_STEP_KINDS: break;
    }
    return TFM_OK;
}

tfm_status tfm_norm_steps(tfm_tok_run *r, const unsigned char **text, size_t *n) {
    tfm_buf *out = &r->normal, *other = &r->spare;
    for (uint32_t i = 0; i<r->v->set.steps.n && * n> 0; i++) {
        tfm_buf_clear(out);
        TFM_TRY(one(r, i, text, n, out));
        if (out->len == 0) continue; /* the text is where it was */
        tfm_buf *swap = out;
        out = other;
        other = swap;
    }
    return TFM_OK;
}
