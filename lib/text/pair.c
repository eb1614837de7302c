/* pair.c - a unigram model whose pieces are not the vocabulary's own, as Marian has it: text is cut
 * by the model of the source language, and what comes of it is looked up in a vocabulary that both
 * languages share.
 *
 *     vocab.trie, vocab.scores   number the model's pieces
 *     vocab.map                  from these numbers to ids: -1 none (the unknown token), -2 no text
 *
 * A stretch of characters that the model does not know is one piece, as it stands, and may be found
 * in the vocabulary, too. */
#include "text/text_internal.h"

tfm_status tfm_pair_keys(const tfm_vocab_source *src, tfm_trie_key **out, uint32_t *n,
                         uint32_t *edges, tfm_error *err) {
    void *p;
    *n = 0;
    TFM_TRY(tfm_alloc(&p, src->n_source, sizeof(tfm_trie_key), err));
    tfm_trie_key *key = p;
    *out = key;
    for (uint32_t i = 0; i < src->n_source; i++) {
        if (src->source_id[i] == TFM_PAIR_NO_TEXT || src->source_len[i] == 0) continue;
        key[(*n)++] =
            (tfm_trie_key){(const unsigned char *)src->source_piece[i], src->source_len[i], i};
    }
    tfm_status st = tfm_trie_sort(key, *n, edges, err);
    if (st == TFM_OK) return TFM_OK;
    tfm_free(p);
    *out = NULL;
    return st;
}

/* Characters, but for the space that is put before words. */
static uint64_t count(const unsigned char *s, size_t n) {
    uint64_t characters = 0;
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        i += tfm_utf8_decode(s + i, n - i, &cp, NULL);
        characters += cp != 0x2581;
    }
    return characters;
}

static tfm_status unknown(tfm_tok_run *r, const unsigned char *s, size_t n) {
    if (r->v->set.unk < 0)
        return tfm_fail(r->err, TFM_RECORD, "the vocabulary cannot spell \"%.*s\"",
                        (int)(n < 16 ? n : 16), (const char *)s);
    r->unknown += count(s, n);
    return tfm_ids_push(r->ids, r->v->set.unk, r->err);
}

static tfm_status known_piece(tfm_tok_run *r, int32_t piece, const unsigned char *s, size_t n) {
    int32_t id = r->v->map[piece];
    r->after_unknown = false;
    if (id < 0 || (uint32_t)id >= r->v->set.n) return unknown(r, s, n);
    return tfm_ids_push(r->ids, id, r->err);
}

/* goes_on: the stretch began in what was written before, and is longer than any piece. */
static tfm_status unknown_piece(tfm_tok_run *r, const unsigned char *s, size_t n, bool goes_on) {
    int32_t id = -1;
    r->after_unknown = true;
    if (goes_on) {
        r->unknown += count(s, n);
        return TFM_OK;
    }
    id = tfm_vocab_lookup_text(r->v, s, n);
    return id >= 0 ? tfm_ids_push(r->ids, id, r->err) : unknown(r, s, n);
}

tfm_status tfm_pair_write(tfm_tok_run *r, const unsigned char *s, uint32_t end) {
    for (uint32_t at = 0, to; at < end; at = to) {
        to = r->best[at].to;
        int32_t piece = r->best[to].id;
        if (piece >= 0) {
            TFM_TRY(known_piece(r, piece, s + at, to - at));
            continue;
        }
        while (to < end && r->best[r->best[to].to].id < 0) to = r->best[to].to;
        TFM_TRY(unknown_piece(r, s + at, to - at, at == 0 && r->after_unknown));
    }
    return TFM_OK;
}
