/* decode.c - pieces to text by a list of steps, as tokenizer.json's decoders have it. There each
 * step is a function from all pieces to as many texts; here one piece comes at a time. What allows
 * that: a step needs to know of the other pieces only whether there was one before, and whether one
 * follows (the space of a word's end is held back until then). */
#include "text/text_internal.h"

void tfm_decode_start(tfm_decode *d, bool continues) {
    d->started = continues;
    d->stripped = 0;
    d->strip_over = continues;
    d->space = false;
}

void tfm_decode_free(tfm_decode *d) {
    tfm_buf_free(&d->in);
    tfm_buf_free(&d->out);
}

static void swap(tfm_decode *d) {
    tfm_buf t = d->in;
    d->in = d->out;
    d->out = t;
}

/* All `a` in d->in by `by`. */
static tfm_status replace(tfm_decode *d, const tfm_step *s, const char *by, size_t by_len,
                          tfm_error *err) {
    const char *at = d->in.data, *end = at + d->in.len, *hit;
    if (d->in.len == 0 || !memmem(at, d->in.len, s->a, s->a_len)) return TFM_OK;
    tfm_buf_clear(&d->out);
    for (; (hit = memmem(at, (size_t)(end - at), s->a, s->a_len)); at = hit + s->a_len) {
        TFM_TRY(tfm_buf_add(&d->out, at, (size_t)(hit - at), err));
        TFM_TRY(tfm_buf_add(&d->out, by, by_len, err));
    }
    TFM_TRY(tfm_buf_add(&d->out, at, (size_t)(end - at), err));
    swap(d);
    return TFM_OK;
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

tfm_status tfm_decode_piece(tfm_decode *d, const tfm_vocab *v, const unsigned char *piece, size_t n,
                            tfm_buf *out, tfm_error *err) {
    const tfm_steps *steps = &v->set.decoder;
    bool fused = false, ends_word = false;
    int byte;
    tfm_buf_clear(&d->in);
    TFM_TRY(tfm_buf_add(&d->in, piece, n, err));
    for (uint32_t i = 0; i < steps->n; i++) {
        const tfm_step *s = &steps->step[i];
        switch ((tfm_decode_kind)s->kind) {
        case TFM_DECODE_REPLACE: TFM_TRY(replace(d, s, s->b, s->b_len, err)); break;
        case TFM_DECODE_META:
            TFM_TRY(replace(d, s, " ", d->started || s->b_len == 0 ? 1 : 0, err));
            break;
        case TFM_DECODE_BYTE_FALLBACK:
            if ((byte = tfm_byte_of((const unsigned char *)d->in.data, d->in.len)) < 0) break;
            tfm_buf_clear(&d->in);
            TFM_TRY(tfm_buf_byte(&d->in, (unsigned char)byte, err));
            break;
        case TFM_DECODE_SUFFIX:
            if (!ends_with(&d->in, s)) break;
            d->in.len -= s->a_len;
            ends_word = true;
            break;
        case TFM_DECODE_STRIP:
            if (fused)
                strip_text(d, s);
            else
                strip(d, s, s->number);
            break;
        case TFM_DECODE_FUSE: fused = true; break;
        case TFM_DECODE_KINDS: break;
        }
    }
    d->started = true;
    if (d->space) TFM_TRY(tfm_buf_byte(out, ' ', err));
    d->space = ends_word;
    return d->in.len > 0 ? tfm_buf_add(out, d->in.data, d->in.len, err) : TFM_OK;
}
