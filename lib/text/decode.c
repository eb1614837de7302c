/* decode.c - pieces to text by a list of steps, as tokenizer.json's decoders have it. There each
 * step is a function from all pieces to as many texts; here one piece comes at a time. What allows
 * that: a step needs to know of the other pieces only the one before, if there was one, and whether
 * one follows (the space of a word's end is held back until then). */
#include "text/text_internal.h"

enum {
    GROWTH_MAX = 64,      /* times the piece, all that a step makes of it, */
    GROWTH_BASE = 1 << 20 /* and so many bytes */
};

void tfm_decode_start(tfm_decode *d, bool continues) {
    for (unsigned i = 0; i < TFM_STEPS_MAX; i++) d->seen[i] = continues;
    d->stripped = 0;
    d->strip_over = continues;
    d->held = 0;
    d->space = false;
    tfm_buf_clear(&d->last);
}

void tfm_decode_free(tfm_decode *d) {
    tfm_buf_free(&d->in);
    tfm_buf_free(&d->out);
    tfm_buf_free(&d->last);
}

static void swap(tfm_decode *d) {
    tfm_buf t = d->in;
    d->in = d->out;
    d->out = t;
}

static tfm_status add(tfm_decode *d, const char *p, size_t n, tfm_error *err) {
    if (d->out.len + n > d->most)
        return tfm_fail(err, TFM_RECORD, "decoding makes a piece over %d times as long",
                        GROWTH_MAX);
    return tfm_buf_add(&d->out, p, n, err);
}

/* All `a` in d->in by `by`. */
static tfm_status replace(tfm_decode *d, const tfm_step *s, const char *by, size_t by_len,
                          tfm_error *err) {
    const char *at = d->in.data, *end = at + d->in.len, *hit;
    if (d->in.len == 0 || !memmem(at, d->in.len, s->a, s->a_len)) return TFM_OK;
    tfm_buf_clear(&d->out);
    for (; (hit = memmem(at, (size_t)(end - at), s->a, s->a_len)); at = hit + s->a_len) {
        TFM_TRY(add(d, at, (size_t)(hit - at), err));
        TFM_TRY(add(d, by, by_len, err));
    }
    TFM_TRY(add(d, at, (size_t)(end - at), err));
    swap(d);
    return TFM_OK;
}

/* What matches a in d->in by b. A match of nothing counts, but not behind another, nor where there
 * is no text. */
static tfm_status replace_matches(tfm_decode *d, tfm_tok_run *r, uint32_t step, tfm_error *err) {
    const tfm_step *p = &r->v->set.decoder.step[step];
    const unsigned char *s = (const unsigned char *)d->in.data;
    const size_t n = d->in.len;
    size_t done = 0, from = 0, begin, end;
    bool found, any = false;
    if (tfm_utf8_span(s, n) != n) return TFM_OK; /* no pattern says anything about it */
    while (from <= n && n > 0) {
        TFM_TRY(tfm_pretok_find(r, TFM_LIST_DECODE, step, s, n, from, &found, &begin, &end));
        if (!found) break;
        if (begin == end && any && begin == done) {
            uint32_t cp;
            from += from < n ? tfm_utf8_decode(s + from, n - from, &cp, NULL) : 1;
            continue;
        }
        if (!any) tfm_buf_clear(&d->out);
        TFM_TRY(add(d, d->in.data + done, begin - done, err));
        TFM_TRY(add(d, p->b, p->b_len, err));
        done = from = end;
        any = true;
    }
    if (!any) return TFM_OK;
    TFM_TRY(add(d, d->in.data + done, n - done, err));
    swap(d);
    return TFM_OK;
}

static tfm_status replace_regex(tfm_decode *d, const tfm_tokenizer *t, uint32_t step,
                                tfm_error *err) {
    tfm_tok_run *r;
    TFM_TRY(tfm_run_take(&r, t, d->in.len, err));
    r->err = err;
    r->src_len = d->in.len; /* what a pattern may cost goes by it */
    tfm_status st = replace_matches(d, r, step, err);
    tfm_run_give(r);
    return st;
}

/* Takes up to `most` of the character a off the start of d->in; returns how many. */
static uint64_t strip(tfm_decode *d, const tfm_step *s, uint64_t most) {
    size_t at = 0;
    uint64_t count = 0;
    while (count < most && d->in.len - at >= s->a_len &&
           memcmp(d->in.data + at, s->a, s->a_len) == 0) {
        at += s->a_len;
        count++;
    }
    if (at > 0) memmove(d->in.data, d->in.data + at, d->in.len - at);
    d->in.len -= at;
    return count;
}

/* The same over the whole text, of which d->in is the next part. */
static void strip_text(tfm_decode *d, const tfm_step *s) {
    if (d->strip_over) return;
    d->stripped += strip(d, s, s->number - d->stripped);
    d->strip_over = d->stripped == s->number || d->in.len > 0;
}

static bool ends_with(const tfm_buf *b, const tfm_step *s) {
    return b->len >= s->a_len && memcmp(b->data + b->len - s->a_len, s->a, s->a_len) == 0;
}

/* Takes up to `most` of a off the end of d->in; returns how many. */
static uint64_t strip_end(tfm_decode *d, const tfm_step *s, uint64_t most) {
    uint64_t count = 0;
    for (; count < most && ends_with(&d->in, s); count++) d->in.len -= s->a_len;
    return count;
}

/* The same over the whole text, of which d->in is the next part: what may be its end is held, as a
 * count, and not put together anew for each part. */
static tfm_status strip_text_end(tfm_decode *d, const tfm_step *s, tfm_error *err) {
    const uint64_t here = strip_end(d, s, s->number), before = d->held;
    const bool is_all = d->in.len == 0;
    d->held = !is_all ? here : before + here < s->number ? before + here : s->number;
    uint64_t due = is_all ? before + here - d->held : before;
    if (due == 0) return TFM_OK;
    tfm_buf_clear(&d->out);
    for (; due > 0; due--) TFM_TRY(tfm_buf_add(&d->out, s->a, s->a_len, err));
    if (!is_all) TFM_TRY(tfm_buf_add(&d->out, d->in.data, d->in.len, err));
    swap(d);
    return TFM_OK;
}

/* A piece of GPT-2's alphabet as bytes; any other stays. */
static tfm_status bytes(tfm_decode *d, tfm_error *err) {
    tfm_buf_clear(&d->out);
    for (size_t i = 0; i < d->in.len;) {
        uint32_t cp;
        i += tfm_utf8_decode((const unsigned char *)d->in.data + i, d->in.len - i, &cp, NULL);
        int byte = tfm_char_to_byte(cp);
        if (byte < 0) return TFM_OK;
        TFM_TRY(tfm_buf_byte(&d->out, (unsigned char)byte, err));
    }
    swap(d);
    return TFM_OK;
}

/* "##ing" goes on in a word, "ing" begins one. */
static tfm_status join_word(tfm_decode *d, const tfm_step *s, bool seen, tfm_error *err) {
    if (!seen) return TFM_OK;
    tfm_buf_clear(&d->out);
    size_t cut = s->a_len;
    if (cut == 0 || d->in.len < cut || memcmp(d->in.data, s->a, cut) != 0) {
        cut = 0;
        TFM_TRY(tfm_buf_byte(&d->out, ' ', err));
    }
    if (d->in.len > cut) TFM_TRY(tfm_buf_add(&d->out, d->in.data + cut, d->in.len - cut, err));
    swap(d);
    return TFM_OK;
}

/* *drop: is the piece the one before it? */
static tfm_status distinct(tfm_decode *d, bool seen, bool *drop, tfm_error *err) {
    *drop = seen && d->last.len == d->in.len &&
            (d->in.len == 0 || memcmp(d->last.data, d->in.data, d->in.len) == 0);
    if (*drop) return TFM_OK;
    tfm_buf_clear(&d->last);
    return d->in.len > 0 ? tfm_buf_add(&d->last, d->in.data, d->in.len, err) : TFM_OK;
}

/* What a step of one piece says to those behind it. */
typedef struct here {
    bool fused, ends_word, drop;
} here;

static tfm_status one_step(tfm_decode *d, const tfm_tokenizer *t, uint32_t i, bool seen, here *h,
                           tfm_error *err) {
    const tfm_step *s = &t->v->set.decoder.step[i];
    int byte;
    switch ((tfm_decode_kind)s->kind) {
    case TFM_DECODE_REPLACE: return replace(d, s, s->b, s->b_len, err);
    case TFM_DECODE_META: return replace(d, s, " ", seen || s->b_len == 0 ? 1 : 0, err);
    case TFM_DECODE_BYTE_FALLBACK:
        if ((byte = tfm_byte_of((const unsigned char *)d->in.data, d->in.len)) < 0) return TFM_OK;
        tfm_buf_clear(&d->in);
        return tfm_buf_byte(&d->in, (unsigned char)byte, err);
    case TFM_DECODE_SUFFIX:
        h->ends_word = ends_with(&d->in, s);
        if (h->ends_word) d->in.len -= s->a_len;
        return TFM_OK;
    case TFM_DECODE_STRIP:
        if (h->fused)
            strip_text(d, s);
        else
            strip(d, s, s->number);
        return TFM_OK;
    case TFM_DECODE_STRIP_END:
        if (h->fused) return strip_text_end(d, s, err);
        strip_end(d, s, s->number);
        return TFM_OK;
    case TFM_DECODE_FUSE: h->fused = true; return TFM_OK;
    case TFM_DECODE_BYTES: h->fused = true; return bytes(d, err);
    case TFM_DECODE_WORDS: return join_word(d, s, seen, err);
    case TFM_DECODE_SPACES: return join_word(d, s, seen, err);
    case TFM_DECODE_CLEAN:
        if (d->in.len > 0) tfm_wordpiece_clean(d->in.data, &d->in.len);
        return TFM_OK;
    case TFM_DECODE_DISTINCT: return distinct(d, seen, &h->drop, err);
    case TFM_DECODE_SOME: h->drop = d->in.len == 0; return TFM_OK;
    case TFM_DECODE_REPLACE_REGEX: return replace_regex(d, t, i, err);
    case TFM_DECODE_KINDS: break;
    }
    return TFM_OK;
}

tfm_status tfm_decode_piece(tfm_decode *d, const tfm_tokenizer *t, const unsigned char *piece,
                            size_t n, tfm_buf *out, tfm_error *err) {
    const tfm_steps *steps = &t->v->set.decoder;
    here h = {.fused = false};
    d->most = (uint64_t)n * GROWTH_MAX + GROWTH_BASE;
    tfm_buf_clear(&d->in);
    TFM_TRY(tfm_buf_add(&d->in, piece, n, err));
    for (uint32_t i = 0; i < steps->n; i++) {
        const bool seen = d->seen[i];
        d->seen[i] = true;
        TFM_TRY(one_step(d, t, i, seen, &h, err));
        if (h.drop) return TFM_OK;
    }
    if (d->space) TFM_TRY(tfm_buf_byte(out, ' ', err));
    d->space = h.ends_word;
    return d->in.len > 0 ? tfm_buf_add(out, d->in.data, d->in.len, err) : TFM_OK;
}
