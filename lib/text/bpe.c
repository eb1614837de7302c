/* bpe.c - byte-level BPE: the text is cut by the pre-tokenizer, each piece is a string of bytes,
 * and every byte is a symbol to begin with.
 *
 * Pieces of the vocabulary are written in the byte alphabet (bytes.c), but merging goes by ids, so
 * the alphabet is needed only to look up a whole piece (ignore_merges). Bytes that are no UTF-8 are
 * cut out before the pre-tokenizer, which takes only text, and are merged by themselves. */
#include "text/text_internal.h"

/* Is the whole piece in the vocabulary? */
static tfm_status whole_piece(tfm_tok_run *r, const unsigned char *s, size_t n, int32_t *id) {
    *id = -1;
    if (n > r->v->set.max_piece) return TFM_OK;
    tfm_buf_clear(&r->word);
    TFM_TRY(tfm_buf_reserve(&r->word, 2 * n, r->err));
    unsigned char *out = (unsigned char *)r->word.data;
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c[4];
        size_t k = tfm_utf8_encode(tfm_byte_to_char(s[i]), c);
        memcpy(out + len, c, k);
        len += k;
    }
    *id = tfm_vocab_lookup_text(r->v, out, len);
    if (*id >= 0 && (r->v->flags[*id] & TFM_TOKEN_ADDED)) *id = -1;
    return TFM_OK;
}

static tfm_status merge_piece(tfm_tok_run *r, const unsigned char *s, size_t n) {
    int32_t id = -1;
    if (n == 1) return tfm_run_byte(r, s);
    if (r->v->set.ignore_merges) TFM_TRY(whole_piece(r, s, n, &id));
    if (id >= 0) return tfm_ids_push(r->ids, id, r->err);
    TFM_TRY(tfm_run_syms(r, n));
    for (size_t i = 0; i < n; i++) {
        r->sym[i].id = tfm_vocab_byte(r->v, s[i]);
        r->sym[i].start = (uint32_t)i;
    }
    TFM_TRY(tfm_merge(r, s, n, n));
    for (uint32_t i = 0; i != UINT32_MAX; i = r->sym[i].next) {
        if (r->sym[i].id >= 0)
            TFM_TRY(tfm_ids_push(r->ids, r->sym[i].id, r->err));
        else
            TFM_TRY(tfm_run_byte(r, s + r->sym[i].start));
    }
    return TFM_OK;
}

/* Ids of the pieces that wait, in order. */
static tfm_status drain(tfm_tok_run *r) {
    unsigned n = r->n_waiting;
    r->n_waiting = 0;
    for (unsigned i = 0; i < n; i++) {
        const tfm_waiting *w = &r->waiting[i];
        bool found;
        TFM_TRY(tfm_words_find(r, w->home, w->s, w->n, &found));
        if (found) continue;
        size_t before = r->ids->len;
        TFM_TRY(merge_piece(r, w->s, w->n));
        tfm_words_keep(w->home, w->s, w->n, r->ids->data + before, r->ids->len - before);
    }
    return TFM_OK;
}

/* A piece is looked up some pieces later, when its slot has arrived from memory. */
static tfm_status byte_piece(tfm_tok_run *r, const unsigned char *s, size_t n) {
    r->waiting[r->n_waiting++] = (tfm_waiting){s, n, tfm_words_home(r, s, n)};
    return r->n_waiting < TFM_WAITING ? TFM_OK : drain(r);
}

tfm_status tfm_byte_fragment(tfm_tok_run *r, const unsigned char *text, size_t n, bool first) {
    (void)first; /* ByteLevel(add_prefix_space) is for every stretch between special tokens */
    TFM_TRY(tfm_normalise(r, &text, &n));
    if (n > 0 && r->v->set.add_prefix_space && text[0] != ' ') {
        tfm_buf_clear(&r->text);
        TFM_TRY(tfm_buf_byte(&r->text, ' ', r->err));
        TFM_TRY(tfm_buf_add(&r->text, text, n, r->err));
        text = (const unsigned char *)r->text.data;
        n = r->text.len;
    }
    while (n > 0) {
        size_t valid = tfm_utf8_span(text, n), broken = 0;
        if (valid > 0) TFM_TRY(tfm_pretok_split(r, text, valid, byte_piece));
        text += valid;
        n -= valid;
        while (broken < n && tfm_utf8_span(text + broken, n - broken < 4 ? n - broken : 4) == 0)
            broken++;
        if (broken > 0) TFM_TRY(byte_piece(r, text, broken));
        text += broken;
        n -= broken;
    }
    return drain(r);
}
