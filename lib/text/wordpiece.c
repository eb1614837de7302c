/* wordpiece.c - WordPiece: a word becomes its longest prefix that is a piece, then the longest
 * piece that goes on from there, and so on. (Wu et al., 2016; as BERT applies it.)
 *
 * Pieces that go on within a word begin with inner-prefix ("##"). A word of which any part is no
 * piece, or that is longer than max-word characters, is one unknown token. The longest piece is
 * found in one walk down the trie (trie.c), whose depth bounds the work per character. */
#include "text/text_internal.h"

void tfm_wordpiece_start(tfm_tokenizer *t) {
    const char *prefix = t->v->set.inner_prefix;
    int32_t id;
    t->has_inner = true;
    t->inner_node = 0;
    for (size_t i = 0; prefix[i] && t->has_inner; i++)
        t->has_inner = tfm_trie_step(t->v, &t->inner_node, (unsigned char)prefix[i], &id);
}

/* The longest piece at s[0..n), from this node of the trie: its id and length, or -1. */
static int32_t longest(const tfm_vocab *v, uint32_t node, const unsigned char *s, size_t n,
                       size_t *len) {
    int32_t best = -1;
    const size_t most = n < TFM_TRIE_DEPTH ? n : TFM_TRIE_DEPTH;
    for (size_t k = 0; k < most; k++) {
        int32_t id;
        if (!tfm_trie_step(v, &node, s[k], &id)) break;
        if (id < 0 || (v->flags[id] & TFM_NOT_TEXT) != 0) continue;
        best = id;
        *len = k + 1;
    }
    return best;
}

static size_t count_characters(const unsigned char *s, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) count += (s[i] & 0xc0) != 0x80;
    return count;
}

/* Appends the pieces of a word; *whole false: it has no such, and nothing was appended. */
static tfm_status cut_word(tfm_tok_run *r, const unsigned char *s, size_t n, bool *whole) {
    const tfm_tokenizer *t = r->t;
    const size_t before = r->ids->len;
    size_t len = 0;
    *whole = false;
    for (size_t at = 0; at < n; at += len) {
        int32_t id = -1;
        if (at == 0 || t->has_inner)
            id = longest(r->v, at ? t->inner_node : 0, s + at, n - at, &len);
        if (id < 0) {
            r->ids->len = before;
            return TFM_OK;
        }
        TFM_TRY(tfm_ids_push(r->ids, id, r->err));
    }
    *whole = true;
    return TFM_OK;
}

tfm_status tfm_unknown_word(tfm_tok_run *r, const unsigned char *s, size_t n) {
    if (r->v->set.unk < 0)
        return tfm_fail(r->err, TFM_RECORD, "the vocabulary cannot spell \"%.*s\"",
                        (int)(n < 16 ? n - tfm_utf8_tail(s, n) : 16 - tfm_utf8_tail(s, 16)),
                        (const char *)s);
    r->unknown += count_characters(s, n);
    return tfm_ids_push(r->ids, r->v->set.unk, r->err);
}

tfm_status tfm_wordpiece_word(tfm_tok_run *r, const unsigned char *s, size_t n) {
    bool found = false;
    tfm_word *home = tfm_words_home(r, s, n);
    TFM_TRY(tfm_words_find(r, home, s, n, &found));
    if (found) return TFM_OK;
    const size_t before = r->ids->len, characters = count_characters(s, n);
    if (characters <= r->v->set.max_word) TFM_TRY(cut_word(r, s, n, &found));
    if (found) {
        tfm_words_keep(home, s, n, r->ids->data + before, r->ids->len - before);
        return TFM_OK;
    }
    return tfm_unknown_word(r, s, n);
}

/* ---- the way back ---- */

/* Every `from` in the text becomes `to`, which is not longer. */
static void replace(char *s, size_t *n, const char *from, const char *to) {
    const size_t from_len = strlen(from), to_len = strlen(to);
    size_t out = 0;
    for (size_t i = 0; i < *n;) {
        if (*n - i >= from_len && memcmp(s + i, from, from_len) == 0) {
            memcpy(s + out, to, to_len);
            out += to_len;
            i += from_len;
        } else {
            s[out++] = s[i++];
        }
    }
    *n = out;
}

/* The list of Hugging Face's decoder. */
void tfm_wordpiece_clean(char *s, size_t *n) {
    static const char *const joined[][2] = {{" .", "."},     {" ?", "?"},           {" !", "!"},
                                            {" ,", ","},     {" ' ", "'"},          {" n't", "n't"},
                                            {" 'm", "'m"},   {" do not", " don't"}, {" 's", "'s"},
                                            {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++)
        replace(s, n, joined[i][0], joined[i][1]);
}

/* A piece that begins no word is joined to the one before it; before others stands a space, but not
 * before what clean-up-spaces knows. */
tfm_status tfm_wordpiece_add(const tfm_vocab_settings *set, tfm_buf *out, const unsigned char *p,
                             size_t n, bool first, tfm_error *err) {
    const size_t from = out->len, prefix = strlen(set->inner_prefix);
    if (!first && n >= prefix && memcmp(p, set->inner_prefix, prefix) == 0) {
        p += prefix;
        n -= prefix;
    } else if (!first) {
        TFM_TRY(tfm_buf_byte(out, ' ', err));
    }
    TFM_TRY(tfm_buf_add(out, p, n, err));
    size_t len = out->len - from;
    if (set->clean_spaces) tfm_wordpiece_clean(out->data + from, &len);
    out->len = from + len;
    return TFM_OK;
}
