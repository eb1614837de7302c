/* detok.c - ids to text, one id at a time, whole characters only.
 *
 * Exactness comes first: the bytes that come out, finish() included, are the bytes that went in
 * wherever the vocabulary can say them. Bytes that can no longer become a character are given out
 * as they are; only the possible beginning of one (at most 3 bytes) is held back. */
#include "text/text_internal.h"

struct tfm_detok {
    const tfm_tokenizer *t;
    const tfm_vocab *v; /* t's */
    unsigned flags;
    bool at_start; /* no text yet: a space that the tokenizer put there is taken off */
    tfm_buf buf;   /* what came with the last push, then what is held back */
    size_t given;  /* bytes of buf handed out by the last call */
    tfm_decode steps;
};

tfm_status tfm_detok_new(tfm_detok **out, const tfm_tokenizer *t, unsigned flags, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_detok), err));
    tfm_detok *d = p;
    d->t = t;
    d->v = t->v;
    d->flags = flags;
    d->at_start = (flags & TFM_DETOK_CONTINUES) == 0;
    tfm_decode_start(&d->steps, !d->at_start);
    *out = d;
    return TFM_OK;
}

void tfm_detok_free(tfm_detok *d) {
    if (d == NULL) return;
    tfm_buf_free(&d->buf);
    tfm_decode_free(&d->steps);
    tfm_free(d);
}

int tfm_byte_of(const unsigned char *p, size_t n) {
    int value = 0;
    if (n != 6 || memcmp(p, "<0x", 3) != 0 || p[5] != '>') return -1;
    for (int i = 3; i < 5; i++) {
        static const char hex[] = "0123456789ABCDEF";
        const char *at = p[i] ? strchr(hex, p[i]) : NULL;
        if (at == NULL) return -1;
        value = value * 16 + (int)(at - hex);
    }
    return value;
}

/* The byte alphabet undone; other characters stay. */
static tfm_status add_byte_level(tfm_detok *d, const unsigned char *p, size_t n, tfm_error *err) {
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        bool ok;
        size_t len = tfm_utf8_decode(p + i, n - i, &cp, &ok);
        int byte = ok ? tfm_char_to_byte(cp) : -1;
        if (byte >= 0)
            TFM_TRY(tfm_buf_byte(&d->buf, (unsigned char)byte, err));
        else
            TFM_TRY(tfm_buf_add(&d->buf, p + i, len, err));
        i += len;
    }
    return TFM_OK;
}

/* U+2581 becomes a space. */
static tfm_status add_meta(tfm_detok *d, const unsigned char *p, size_t n, tfm_error *err) {
    for (size_t i = 0; i < n;) {
        if (n - i >= TFM_META_LEN && memcmp(p + i, TFM_META, TFM_META_LEN) == 0) {
            TFM_TRY(tfm_buf_byte(&d->buf, ' ', err));
            i += TFM_META_LEN;
        } else {
            TFM_TRY(tfm_buf_byte(&d->buf, p[i++], err));
        }
    }
    return TFM_OK;
}

/* Control and unknown tokens are words like others. */
static tfm_status add_wordpiece(tfm_detok *d, uint32_t id, tfm_error *err) {
    size_t n;
    const unsigned char *p = tfm_vocab_bytes(d->v, id, &n);
    bool first = d->at_start;
    if ((d->v->flags[id] & TFM_TOKEN_CONTROL) && !(d->flags & TFM_DETOK_SHOW_SPECIAL))
        return TFM_OK;
    d->at_start = false;
    return tfm_wordpiece_add(&d->v->set, &d->buf, p, n, first, err);
}

static tfm_status add_token(tfm_detok *d, uint32_t id, tfm_error *err) {
    const tfm_vocab *v = d->v;
    unsigned flags = v->flags[id];
    size_t n;
    const unsigned char *p = tfm_vocab_bytes(v, id, &n);
    bool show = (d->flags & TFM_DETOK_SHOW_SPECIAL) != 0;
    if (v->set.splitter.n > 0 && (show || !(flags & TFM_TOKEN_CONTROL)))
        return tfm_decode_piece(&d->steps, d->t, p, n, &d->buf, err);
    if (v->set.type == TFM_VOCAB_WORDPIECE) return add_wordpiece(d, id, err);
    if (flags & TFM_TOKEN_CONTROL) return show ? tfm_buf_add(&d->buf, p, n, err) : TFM_OK;
    if ((flags & TFM_TOKEN_UNKNOWN) && v->set.type == TFM_VOCAB_CHARACTERS)
        return tfm_buf_add(&d->buf, p, n, err);
    if (flags & TFM_TOKEN_UNKNOWN) /* U+2047 between spaces, as SentencePiece prints it */
        return show ? tfm_buf_add(&d->buf, p, n, err) : tfm_buf_str(&d->buf, " \xe2\x81\x87 ", err);
    if (v->set.decoder.n > 0) return tfm_decode_piece(&d->steps, d->t, p, n, &d->buf, err);
    if (flags & TFM_TOKEN_BYTE) {
        int byte = tfm_byte_of(p, n);
        if (byte >= 0) return tfm_buf_byte(&d->buf, (unsigned char)byte, err);
    }
    if (v->set.type == TFM_VOCAB_BPE && v->set.byte_level && !(flags & TFM_TOKEN_ADDED))
        return add_byte_level(d, p, n, err);
    if (v->set.space_to_meta) return add_meta(d, p, n, err);
    return tfm_buf_add(&d->buf, p, n, err);
}

tfm_status tfm_detok_push(tfm_detok *d, int32_t id, const char **bytes, size_t *n, tfm_error *err) {
    const tfm_vocab_settings *set = &d->v->set;
    size_t held = d->buf.len - d->given;
    if (id < 0 || (uint32_t)id >= set->n)
        return tfm_fail(err, TFM_RECORD, "token %d is not in the vocabulary of %u pieces", (int)id,
                        set->n);
    if (held > 0 && d->given > 0) memmove(d->buf.data, d->buf.data + d->given, held);
    d->buf.len = held;
    d->given = 0;
    TFM_TRY(add_token(d, (uint32_t)id, err));
    if (d->at_start && d->buf.len > 0 && set->decoder.n == 0 &&
        (d->v->flags[id] & TFM_TOKEN_CONTROL) == 0) {
        d->at_start = false;
        if ((set->add_space_prefix || set->add_prefix_space) && d->buf.data[held] == ' ' &&
            (d->v->flags[id] & (TFM_TOKEN_ADDED | TFM_TOKEN_BYTE)) == 0) {
            memmove(d->buf.data + held, d->buf.data + held + 1, d->buf.len - held - 1);
            d->buf.len--;
        }
    }
    if (d->buf.len == 0) {
        *bytes = "";
        *n = 0;
        return TFM_OK;
    }
    d->given = d->buf.len - tfm_utf8_tail(d->buf.data, d->buf.len);
    *bytes = d->buf.data;
    *n = d->given;
    return TFM_OK;
}

tfm_status tfm_detok_finish(tfm_detok *d, const char **bytes, size_t *n, tfm_error *err) {
    (void)err;
    *n = d->buf.len - d->given;
    *bytes = *n > 0 ? d->buf.data + d->given : "";
    d->buf.len = d->given = 0;
    d->at_start = (d->flags & TFM_DETOK_CONTINUES) == 0;
    tfm_decode_start(&d->steps, !d->at_start);
    return TFM_OK;
}
