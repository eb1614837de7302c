/* split_steps.c - a text by the steps of a splitter, as the pre-tokenizers of tokenizer.json do it:
 * each step is applied to every part that the one before it left, and each part that the last one
 * leaves goes to the model by itself. A part has no memory of what stood beside it.
 *
 * Parts are not gathered: a step hands each on as soon as it is whole, so the steps are nested
 * calls and only those that change a part need memory. How much they may make in all is bounded in
 * proportion to the text.
 *
 * The classes of characters were compared with tokenizers 0.20.3 at every code point. */
#include <utf8proc.h>

#include "text/text_internal.h"

enum {
    GROWTH_MAX = 64,      /* times the text, all that changed parts may have, */
    GROWTH_BASE = 1 << 20 /* and so many bytes */
};

static tfm_status step(tfm_tok_run *r, uint32_t i, const unsigned char *s, size_t n, bool is_first);

/* ---- parts ---- */

/* The part that is being put together. */
typedef struct cut {
    tfm_tok_run *r;
    uint32_t i; /* the step */
    const unsigned char *s;
    size_t begin, end;
    bool any, is_match; /* the last stretch that went into it */
    bool is_first;
} cut;

static tfm_status next(const cut *c, size_t begin, size_t end) {
    return step(c->r, c->i + 1, c->s + begin, end - begin, c->is_first && begin == 0);
}

static tfm_status flush(cut *c) {
    bool any = c->any;
    c->any = false;
    return any ? next(c, c->begin, c->end) : TFM_OK;
}

/* The next stretch, which is what is split at or what lies between: a part of its own, or more of
 * the one before. */
static tfm_status stretch(cut *c, size_t begin, size_t end, bool is_match) {
    const tfm_step *p = &c->r->v->set.splitter.step[c->i];
    const bool is = is_match != p->inverse, was = c->is_match;
    bool joins = false;
    switch (p->behaviour) {
    case TFM_SPLIT_CONTIGUOUS: joins = is == was; break;
    case TFM_SPLIT_PREVIOUS: joins = is && !was; break;
    case TFM_SPLIT_NEXT: joins = !is && was; break;
    default: break;
    }
    c->is_match = is;
    if (joins && c->any) {
        c->end = end;
        return TFM_OK;
    }
    TFM_TRY(flush(c));
    c->any = !(is && p->behaviour == TFM_SPLIT_REMOVED);
    c->begin = begin;
    c->end = end;
    return TFM_OK;
}

/* ---- what is split at ---- */

static bool is_number(uint32_t cp) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)cp);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

static tfm_status at_characters(cut *c, size_t n, bool (*is)(uint32_t cp)) {
    size_t done = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = tfm_utf8_decode(c->s + i, n - i, &cp, NULL);
        if (!is(cp)) continue;
        if (i > done) TFM_TRY(stretch(c, done, i, false));
        TFM_TRY(stretch(c, i, i + len, true));
        done = i + len;
    }
    return done < n ? stretch(c, done, n, false) : TFM_OK;
}

static tfm_status at_text(cut *c, size_t n, const tfm_step *p) {
    size_t done = 0;
    const unsigned char *hit;
    for (; (hit = memmem(c->s + done, n - done, p->a, p->a_len)); done += p->a_len) {
        size_t at = (size_t)(hit - c->s);
        if (at > done) TFM_TRY(stretch(c, done, at, false));
        TFM_TRY(stretch(c, at, at + p->a_len, true));
        done = at;
    }
    return done < n ? stretch(c, done, n, false) : TFM_OK;
}

/* A match of nothing counts, but not behind another. */
static tfm_status at_regex(cut *c, size_t n) {
    size_t done = 0, from = 0, begin, end;
    bool found, any = false;
    while (from <= n) {
        TFM_TRY(tfm_pretok_find(c->r, TFM_LIST_SPLIT, c->i, c->s, n, from, &found, &begin, &end));
        if (!found) break;
        if (begin == end && any && begin == done) {
            uint32_t cp;
            from += from < n ? tfm_utf8_decode(c->s + from, n - from, &cp, NULL) : 1;
            continue;
        }
        if (begin > done) TFM_TRY(stretch(c, done, begin, false));
        TFM_TRY(stretch(c, begin, end, true));
        done = from = end;
        any = true;
    }
    return done < n ? stretch(c, done, n, false) : TFM_OK;
}

static tfm_status split(tfm_tok_run *r, uint32_t i, const unsigned char *s, size_t n,
                        bool is_first) {
    const tfm_step *p = &r->v->set.splitter.step[i];
    cut c = {.r = r, .i = i, .s = s, .is_first = is_first};
    switch ((tfm_split_kind)p->kind) {
    case TFM_SPLIT_SPACES: TFM_TRY(at_characters(&c, n, tfm_is_space)); break;
    case TFM_SPLIT_PUNCTUATION: TFM_TRY(at_characters(&c, n, tfm_basic_is_punctuation)); break;
    case TFM_SPLIT_DIGITS: TFM_TRY(at_characters(&c, n, is_number)); break;
    case TFM_SPLIT_TEXT: TFM_TRY(at_text(&c, n, p)); break;
    default: TFM_TRY(at_regex(&c, n)); break;
    }
    return flush(&c);
}

/* ---- words ---- */

/* What Unicode 15.1 and 16 added to \w, which utf8proc does not know yet. */
static bool is_new_word(uint32_t cp) {
    static const uint32_t range[][2] = {
        {0x897, 0x897},     {0x1c89, 0x1c8a},   {0xa7cb, 0xa7cd},   {0xa7da, 0xa7dc},
        {0x105c0, 0x105f3}, {0x10d40, 0x10d65}, {0x10d69, 0x10d6d}, {0x10d6f, 0x10d85},
        {0x10ec2, 0x10ec4}, {0x10efc, 0x10efc}, {0x11380, 0x11389}, {0x1138b, 0x1138b},
        {0x1138e, 0x1138e}, {0x11390, 0x113b5}, {0x113b7, 0x113c0}, {0x113c2, 0x113c2},
        {0x113c5, 0x113c5}, {0x113c7, 0x113ca}, {0x113cc, 0x113d3}, {0x113e1, 0x113e2},
        {0x116d0, 0x116e3}, {0x11bc0, 0x11be0}, {0x11bf0, 0x11bf9}, {0x11f5a, 0x11f5a},
        {0x13460, 0x143fa}, {0x16100, 0x16139}, {0x16d40, 0x16d6c}, {0x16d70, 0x16d79},
        {0x18cff, 0x18cff}, {0x1ccf0, 0x1ccf9}, {0x1e5d0, 0x1e5fa}, {0x2ebf0, 0x2ee5d}};
    const size_t n = sizeof range / sizeof *range;
    return tfm_range_of(cp, *range, 2, n) < n;
}

/* \w of Rust's regex crate: letters, marks, decimal digits, letter numbers, connectors, joiners and
 * letters in circles. */
bool tfm_is_word(uint32_t cp) {
    switch (utf8proc_category((utf8proc_int32_t)cp)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    return cp == 0x200c || cp == 0x200d || (cp >= 0x24b6 && cp <= 0x24e9) ||
           (cp >= 0x1f130 && cp <= 0x1f149) || (cp >= 0x1f150 && cp <= 0x1f169) ||
           (cp >= 0x1f170 && cp <= 0x1f189) || is_new_word(cp);
}

/* \w+|[^\w\s]+ */
static tfm_status words(tfm_tok_run *r, uint32_t step_i, const unsigned char *s, size_t n,
                        bool is_first) {
    enum { SPACE, WORD, OTHER } was = SPACE, is;
    const cut c = {.r = r, .i = step_i, .s = s, .is_first = is_first};
    size_t begin = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        is = tfm_is_space(cp) ? SPACE : tfm_is_word(cp) ? WORD : OTHER;
        if (is != was) {
            if (was != SPACE) TFM_TRY(next(&c, begin, i));
            begin = i;
        }
        was = is;
    }
    return was == SPACE ? TFM_OK : next(&c, begin, n);
}

/* A character of no script (a space) goes with what it follows. */
static tfm_status scripts(tfm_tok_run *r, uint32_t step_i, const unsigned char *s, size_t n,
                          bool is_first) {
    const cut c = {.r = r, .i = step_i, .s = s, .is_first = is_first};
    size_t begin = 0;
    int was = -1;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        const int is = tfm_script_of(cp);
        if (is < 0 || is == was) continue;
        if (was >= 0) TFM_TRY(next(&c, begin, i));
        begin = i;
        was = is;
    }
    return was < 0 ? TFM_OK : next(&c, begin, n);
}

/* ---- steps that change a part ---- */

static tfm_status part_of(tfm_tok_run *r, uint32_t i, tfm_buf **out) {
    if (r->part == NULL) {
        void *p;
        TFM_TRY(tfm_alloc(&p, TFM_STEPS_MAX, sizeof *r->part, r->err));
        r->part = p;
    }
    *out = &r->part[i];
    tfm_buf_clear(*out);
    return TFM_OK;
}

static tfm_status add(tfm_tok_run *r, tfm_buf *out, const void *p, size_t n) {
    r->parts_bytes += n;
    if (r->parts_bytes > (uint64_t)r->src_len * GROWTH_MAX + GROWTH_BASE)
        return tfm_fail(r->err, TFM_RECORD, "splitting makes the text over %d times as long",
                        GROWTH_MAX);
    return tfm_buf_add(out, p, n, r->err);
}

static tfm_status replace(tfm_tok_run *r, const tfm_step *p, const unsigned char *s, size_t n,
                          tfm_buf *out) {
    const unsigned char *at = s, *end = s + n, *hit;
    for (; (hit = memmem(at, (size_t)(end - at), p->a, p->a_len)); at = hit + p->a_len) {
        TFM_TRY(add(r, out, at, (size_t)(hit - at)));
        TFM_TRY(add(r, out, p->b, p->b_len));
    }
    return add(r, out, at, (size_t)(end - at));
}

static tfm_status bytes(tfm_tok_run *r, const unsigned char *s, size_t n, tfm_buf *out) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c[4];
        TFM_TRY(add(r, out, c, tfm_utf8_encode(tfm_byte_to_char(s[i]), c)));
    }
    return TFM_OK;
}

static tfm_status change(tfm_tok_run *r, uint32_t i, const unsigned char *s, size_t n,
                         bool is_first) {
    const tfm_step *p = &r->v->set.splitter.step[i];
    tfm_buf *out;
    if (p->kind == TFM_SPLIT_PREFIX &&
        ((p->b[0] == 'f' && !is_first) || (n >= p->a_len && memcmp(s, p->a, p->a_len) == 0)))
        return step(r, i + 1, s, n, is_first);
    TFM_TRY(part_of(r, i, &out));
    if (p->kind == TFM_SPLIT_REPLACE) {
        TFM_TRY(replace(r, p, s, n, out));
    } else if (p->kind == TFM_SPLIT_BYTES) {
        TFM_TRY(bytes(r, s, n, out));
    } else {
        TFM_TRY(add(r, out, p->a, p->a_len));
        TFM_TRY(add(r, out, s, n));
    }
    return step(r, i + 1, (const unsigned char *)out->data, out->len, is_first);
}

/* ---- all of it ---- */

static tfm_status one_word(tfm_tok_run *r, const unsigned char *s, size_t n) {
    int32_t id = tfm_vocab_lookup_text(r->v, s, n);
    return id >= 0 ? tfm_ids_push(r->ids, id, r->err) : tfm_unknown_word(r, s, n);
}

static tfm_status model(tfm_tok_run *r, const unsigned char *s, size_t n) {
    switch (r->v->set.type) {
    case TFM_VOCAB_UNIGRAM: return tfm_unigram_piece(r, s, n);
    case TFM_VOCAB_WORDPIECE: return tfm_wordpiece_word(r, s, n);
    case TFM_VOCAB_WORDS: return one_word(r, s, n);
    default: return tfm_char_bpe(r, s, n);
    }
}

static tfm_status step(tfm_tok_run *r, uint32_t i, const unsigned char *s, size_t n,
                       bool is_first) {
    if (n == 0) return TFM_OK;
    if (i == r->v->set.splitter.n) return model(r, s, n);
    switch ((tfm_split_kind)r->v->set.splitter.step[i].kind) {
    case TFM_SPLIT_WHOLE: return step(r, i + 1, s, n, is_first);
    case TFM_SPLIT_WORDS: return words(r, i, s, n, is_first);
    case TFM_SPLIT_SCRIPTS: return scripts(r, i, s, n, is_first);
    case TFM_SPLIT_REPLACE:
    case TFM_SPLIT_PREFIX:
    case TFM_SPLIT_BYTES: return change(r, i, s, n, is_first);
    default: return split(r, i, s, n, is_first);
    }
}

/* Bytes that are no UTF-8: a part where text becomes bytes anyway, else as the model can. */
static tfm_status broken(tfm_tok_run *r, const unsigned char *s, size_t n) {
    const tfm_steps *steps = &r->v->set.splitter;
    tfm_buf *out;
    for (uint32_t i = 0; i < steps->n; i++) {
        if (steps->step[i].kind != TFM_SPLIT_BYTES) continue;
        TFM_TRY(part_of(r, i, &out));
        TFM_TRY(bytes(r, s, n, out));
        return model(r, (const unsigned char *)out->data, out->len);
    }
    for (size_t i = 0; i < n; i++) TFM_TRY(tfm_run_byte(r, s + i));
    return TFM_OK;
}

/* A stretch of normalised text without added tokens. */
static tfm_status parts(tfm_tok_run *r, const unsigned char *s, size_t n, bool is_first) {
    while (n > 0) {
        size_t valid = tfm_utf8_span(s, n), end = valid;
        if (valid > 0) TFM_TRY(step(r, 0, s, valid, is_first));
        while (end < n && tfm_utf8_span(s + end, n - end < 4 ? n - end : 4) == 0) end++;
        if (end > valid) TFM_TRY(broken(r, s + valid, end - valid));
        s += end;
        n -= end;
        is_first = false;
    }
    return TFM_OK;
}

tfm_status tfm_split_fragment(tfm_tok_run *r, const unsigned char *s, size_t n, bool first) {
    const bool is_first = first && s == r->src;
    size_t done = 0, at = 0;
    tfm_special_hit hit;
    TFM_TRY(tfm_normalise(r, &s, &n));
    while (r->v->special_matching && tfm_special_next(r, true, s, n, done, &at, &hit)) {
        if (hit.begin > done) TFM_TRY(parts(r, s + done, hit.begin - done, is_first && done == 0));
        TFM_TRY(tfm_ids_push(r->ids, hit.id, r->err));
        done = hit.end;
    }
    return parts(r, s + done, n - done, is_first && done == 0);
}
