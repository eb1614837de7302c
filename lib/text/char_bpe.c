/* char_bpe.c - BPE over characters with all that the model of a tokenizer.json may say: what ends a
 * word has a suffix ("</w>": CLIP, GPT-1), what does not begin one a prefix, an unknown character
 * is bytes or a token, which may stand for a run of such. (Without these, spm.c does it.)
 *
 * A symbol is the character with its affixes, looked up whole; from there on only ids count, for a
 * piece need not be what the text spells. A part of the text is merged by itself, so there is no
 * cutting (cuts.c); parts are found in the cache of words. */
#include "text/text_internal.h"

typedef struct symbols {
    tfm_tok_run *r;
    size_t n;
    bool unknown; /* one is due */
} symbols;

static void push(symbols *y, int32_t id) {
    y->r->sym[y->n].id = id;
    y->r->sym[y->n].start = (uint32_t)y->n;
    y->n++;
}

/* The unknown token comes before the next character that is known. It waits, as in Hugging Face's
 * program, behind bytes that follow it. */
static void push_unknown(symbols *y) {
    if (y->unknown) push(y, y->r->v->set.unk);
    y->unknown = false;
}

/* Byte tokens, if all are there. */
static bool push_bytes(symbols *y, const unsigned char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (tfm_vocab_byte(y->r->v, s[i]) < 0) return false;
    for (size_t i = 0; i < n; i++) push(y, tfm_vocab_byte(y->r->v, s[i]));
    return true;
}

/* The character s[at..at+len) of a word of n bytes. */
static tfm_status character(symbols *y, const unsigned char *s, size_t at, size_t len, size_t n) {
    tfm_tok_run *r = y->r;
    const tfm_vocab_settings *set = &r->v->set;
    unsigned char text[4 + 2 * TFM_AFFIX_MAX];
    size_t k = 0, prefix = at > 0 ? strlen(set->word_prefix) : 0,
           suffix = at + len == n ? strlen(set->word_suffix) : 0;
    if (prefix) memcpy(text, set->word_prefix, prefix);
    k += prefix;
    memcpy(text + k, s + at, len);
    k += len;
    if (suffix) memcpy(text + k, set->word_suffix, suffix);
    k += suffix;
    if (y->n > TFM_TEXT_MAX) return tfm_fail(r->err, TFM_LIMIT, "a word of too many bytes");
    TFM_TRY(tfm_run_syms(r, y->n + k + 2)); /* its bytes, and an unknown one before and behind */
    int32_t id = tfm_vocab_lookup_text(r->v, text, k);
    if (id >= 0) {
        push_unknown(y);
        push(y, id);
        return TFM_OK;
    }
    if (push_bytes(y, text, k)) return TFM_OK;
    if (set->unk < 0)
        return tfm_fail(r->err, TFM_RECORD, "the vocabulary cannot spell \"%.*s\"", (int)len,
                        (const char *)s + at);
    r->unknown++;
    if (!set->fuse_unknown) push_unknown(y);
    y->unknown = true;
    return TFM_OK;
}

static tfm_status merge_word(tfm_tok_run *r, const unsigned char *s, size_t n) {
    symbols y = {.r = r};
    uint32_t cp;
    int32_t id = r->v->set.ignore_merges ? tfm_vocab_lookup_text(r->v, s, n) : -1;
    if (id >= 0) return tfm_ids_push(r->ids, id, r->err);
    for (size_t i = 0, len; i < n; i += len) {
        len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        TFM_TRY(character(&y, s, i, len, n));
    }
    push_unknown(&y);
    if (y.n == 0) return TFM_OK;
    TFM_TRY(tfm_merge(r, s, y.n, y.n));
    for (uint32_t i = 0; i != UINT32_MAX; i = r->sym[i].next)
        TFM_TRY(tfm_ids_push(r->ids, r->sym[i].id, r->err));
    return TFM_OK;
}

tfm_status tfm_char_bpe(tfm_tok_run *r, const unsigned char *s, size_t n) {
    bool found;
    tfm_word *home = tfm_words_home(r, s, n);
    const uint64_t unknown = r->unknown;
    TFM_TRY(tfm_words_find(r, home, s, n, &found));
    if (found) return TFM_OK;
    const size_t before = r->ids->len;
    TFM_TRY(merge_word(r, s, n));
    if (r->unknown == unknown) /* they are counted each time */
        tfm_words_keep(home, s, n, r->ids->data + before, r->ids->len - before);
    return TFM_OK;
}
