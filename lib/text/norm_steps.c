/* norm_steps.c - a normaliser that is a list of steps, as tokenizer.json has them: each step's
 * output is the next one's input. What each step does is fixed by Hugging Face's tokenizers; the
 * comments say what may surprise.
 *
 * Only for a text that is UTF-8 as a whole (tfm_normalise looks). Steps may make a text longer, and
 * a list of them could do so without end; so there is a bound in proportion to the text. */
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

/* ---- Unicode 9 ---- */

/* Hugging Face's normal forms and marks are those of Unicode 9.0. These are the characters which
 * later versions, up to 15.0, added with a decomposition, a combining class or as marks: there they
 * stay as they are, and nothing moves across them. */
static bool is_newer(uint32_t cp) {
    static const uint32_t range[][2] = {
        {0x7fd, 0x7fd},     {0x898, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},
        {0xafa, 0xaff},     {0xb55, 0xb55},     {0xc04, 0xc04},     {0xc3c, 0xc3c},
        {0xcf3, 0xcf3},     {0xd00, 0xd00},     {0xd3b, 0xd3c},     {0xd81, 0xd81},
        {0xeba, 0xeba},     {0xece, 0xece},     {0x1715, 0x1715},   {0x180f, 0x180f},
        {0x1abf, 0x1ace},   {0x1cf7, 0x1cf7},   {0x1df6, 0x1dfa},   {0x32ff, 0x32ff},
        {0xa7f2, 0xa7f4},   {0xa82c, 0xa82c},   {0xa8ff, 0xa8ff},   {0xab69, 0xab69},
        {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba}, {0x10d24, 0x10d27},
        {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
        {0x11070, 0x11070}, {0x11073, 0x11074}, {0x110c2, 0x110c2}, {0x11145, 0x11146},
        {0x111ce, 0x111cf}, {0x11241, 0x11241}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e},
        {0x1182c, 0x1183a}, {0x11930, 0x11935}, {0x11937, 0x11938}, {0x1193b, 0x1193e},
        {0x11940, 0x11940}, {0x11942, 0x11943}, {0x119d1, 0x119d7}, {0x119da, 0x119e0},
        {0x119e4, 0x119e4}, {0x11a01, 0x11a0a}, {0x11a33, 0x11a39}, {0x11a3b, 0x11a3e},
        {0x11a47, 0x11a47}, {0x11a51, 0x11a5b}, {0x11a8a, 0x11a99}, {0x11d31, 0x11d36},
        {0x11d3a, 0x11d3a}, {0x11d3c, 0x11d3d}, {0x11d3f, 0x11d45}, {0x11d47, 0x11d47},
        {0x11d8a, 0x11d8e}, {0x11d90, 0x11d91}, {0x11d93, 0x11d97}, {0x11ef3, 0x11ef6},
        {0x11f00, 0x11f01}, {0x11f03, 0x11f03}, {0x11f34, 0x11f3a}, {0x11f3e, 0x11f42},
        {0x13440, 0x13440}, {0x13447, 0x13455}, {0x16f4f, 0x16f4f}, {0x16f7f, 0x16f87},
        {0x16fe4, 0x16fe4}, {0x16ff0, 0x16ff1}, {0x1cf00, 0x1cf2d}, {0x1cf30, 0x1cf46},
        {0x1e030, 0x1e06d}, {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae},
        {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}};
    const size_t n = sizeof range / sizeof *range;
    return tfm_range_of(cp, *range, 2, n) < n;
}

/* Marks of Unicode 9: two have become letters since, one punctuation mark has become a mark. */
static bool is_mark(uint32_t cp) {
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)cp);
    if (cp == 0x1cf2 || cp == 0x1cf3) return true;
    if (cp == 0x111c9 || is_newer(cp)) return false;
    return c == UTF8PROC_CATEGORY_MN || c == UTF8PROC_CATEGORY_MC || c == UTF8PROC_CATEGORY_ME;
}

/* ---- characters one by one ---- */

/* U+0130 is the one character whose lower case is two; final sigma is not looked for. */
static tfm_status lower(tfm_tok_run *r, uint32_t cp, tfm_buf *out) {
    if (cp == 0x130) return add(r, out, "i\xcc\x87", 3);
    return add_cp(r, out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp));
}

static tfm_status strip_accent(tfm_tok_run *r, uint32_t cp, tfm_buf *out) {
    return is_mark(cp) ? TFM_OK : add_cp(r, out, cp);
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
        TFM_TRY(tfm_pretok_find(r, TFM_LIST_NORM, step, *s, *n, done, &found, &begin, &end));
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
    size_t done = 0;
    if (is_ascii(*s, *n)) return TFM_OK;
    for (size_t i = 0, len; i < *n; i += len) {
        uint32_t cp = (*s)[i];
        len = 1;
        if (cp < 0x80) continue;
        len = tfm_utf8_decode(*s + i, *n - i, &cp, NULL);
        if (!is_newer(cp)) continue;
        TFM_TRY(tfm_normal_form(r, norm, *s + done, i - done, out));
        TFM_TRY(add(r, out, *s + i, len));
        done = i + len;
    }
    TFM_TRY(tfm_normal_form(r, norm, *s + done, *n - done, out));
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
    case TFM_STEP_BERT:
        TFM_TRY(tfm_basic_normalise(r, p->a, *s, *n, out));
        give(out, s, n);
        return TFM_OK;
    case TFM_STEP_BYTES:
        for (size_t k = 0; k < *n; k++) TFM_TRY(add_cp(r, out, tfm_byte_to_char((*s)[k])));
        give(out, s, n);
        return TFM_OK;
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
