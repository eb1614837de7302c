/* gguf_vocab.c - the vocabulary in a GGUF's metadata (keys tokenizer.ggml.*).
 *
 * Four models are taken: "llama" (SentencePiece BPE by scores, byte fallback), "gpt2" (byte-level
 * BPE by merges, its pre-tokenizer known by name), "bert" (WordPiece) and "t5" (SentencePiece
 * unigram). Any other is refused by name. Where a key is absent the value is the one that llama.cpp
 * assumes, since that is what its files rely on. */
#include <string.h>

#include "model/gguf_internal.h"
#include "model/source_internal.h"

#define KEY "tokenizer.ggml."

/* ggml's token types. */
enum { GGML_UNKNOWN = 2, GGML_CONTROL = 3, GGML_USER = 4, GGML_UNUSED = 5, GGML_BYTE = 6 };

static unsigned flags_of(int64_t ggml_type) {
    switch (ggml_type) {
    case GGML_UNKNOWN: return TFM_TOKEN_UNKNOWN;
    case GGML_CONTROL: return TFM_TOKEN_CONTROL;
    case GGML_USER: return TFM_TOKEN_ADDED;
    case GGML_UNUSED: return TFM_TOKEN_UNUSED;
    case GGML_BYTE: return TFM_TOKEN_BYTE;
    default: return 0;
    }
}

static bool is_text(const tfm_meta *m, const char *s) {
    return m && m->type == TFM_META_STRING && m->s_len == strlen(s) &&
           memcmp(m->s, s, m->s_len) == 0;
}

/* An array of the given element type under KEY; NULL if absent. `want` elements unless 0. */
static tfm_status find_array(const tfm_source *s, const char *key, tfm_meta_type type, size_t want,
                             const tfm_meta **out, tfm_error *err) {
    const tfm_meta *m = tfm_source_meta(s, key);
    *out = m;
    if (!m) return TFM_OK;
    if (m->type != TFM_META_ARRAY || m->item_type != type)
        return tfm_fail(err, TFM_FORMAT, "%s has the wrong type", key);
    if (want != 0 && m->n != want)
        return tfm_fail(err, TFM_FORMAT, "%s has %zu elements, the vocabulary has %zu", key, m->n,
                        want);
    return TFM_OK;
}

static tfm_status take_pieces(const tfm_source *s, tfm_draft *d, bool spm, tfm_error *err) {
    const tfm_meta *tokens, *scores, *types;
    tfm_meta item;
    TFM_TRY(find_array(s, KEY "tokens", TFM_META_STRING, 0, &tokens, err));
    if (!tokens) return tfm_fail(err, TFM_FORMAT, "no " KEY "tokens");
    TFM_TRY(find_array(s, KEY "scores", TFM_META_FLOAT, tokens->n, &scores, err));
    TFM_TRY(find_array(s, KEY "token_type", TFM_META_INT, tokens->n, &types, err));
    if (spm && !scores) return tfm_fail(err, TFM_FORMAT, "no " KEY "scores");
    TFM_TRY(tfm_draft_pieces(d, tokens->n, spm, err));
    for (uint32_t i = 0; i < d->src.n; i++) {
        tfm_meta_item(tokens, i, &item);
        if (item.s_len > UINT32_MAX) return tfm_fail(err, TFM_LIMIT, "token %u is too long", i);
        d->piece[i] = item.s;
        d->piece_len[i] = (uint32_t)item.s_len;
        if (spm && tfm_meta_item(scores, i, &item)) d->score[i] = (float)item.f;
        if (types && tfm_meta_item(types, i, &item)) d->flags[i] = (uint8_t)flags_of(item.i);
    }
    return TFM_OK;
}

static tfm_status take_merges(const tfm_source *s, tfm_draft *d, tfm_error *err) {
    const tfm_meta *merges;
    tfm_meta item;
    TFM_TRY(find_array(s, KEY "merges", TFM_META_STRING, 0, &merges, err));
    if (!merges) return tfm_fail(err, TFM_FORMAT, "no " KEY "merges");
    TFM_TRY(tfm_draft_merges(d, merges->n, err));
    for (uint32_t i = 0; i < d->src.n_merges; i++) {
        tfm_meta_item(merges, i, &item);
        TFM_TRY(tfm_draft_merge_text(d, i, item.s, item.s_len, err));
    }
    return TFM_OK;
}

static tfm_status take_id(const tfm_source *s, const tfm_draft *d, const char *key,
                          int32_t fallback, int32_t *out, tfm_error *err) {
    const tfm_meta *m = tfm_source_meta(s, key);
    *out = fallback < (int64_t)d->src.n ? fallback : -1;
    if (!m) return TFM_OK;
    /* u32 0xffffffff and i32 -1 both mean none */
    if (m->type == TFM_META_INT && (m->i == -1 || m->i == UINT32_MAX)) {
        *out = -1;
        return TFM_OK;
    }
    if (m->type != TFM_META_INT || m->i < 0 || m->i >= d->src.n)
        return tfm_fail(err, TFM_FORMAT, "%s is no id of this vocabulary", key);
    *out = (int32_t)m->i;
    return TFM_OK;
}

static void take_bool(const tfm_source *s, const char *key, bool *value) {
    *value = tfm_source_int(s, key, *value) != 0;
}

/* What both models share once pieces and defaults are there. */
static tfm_status take_specials(const tfm_source *s, tfm_draft *d, tfm_error *err) {
    static const char *const ends[] = {KEY "eot_token_id", KEY "eom_token_id"};
    tfm_vocab_source *v = &d->src;
    int32_t id;
    bool spm = v->type == TFM_VOCAB_SPM, uni = v->type == TFM_VOCAB_UNIGRAM;
    TFM_TRY(take_id(s, d, KEY "bos_token_id", spm ? 1 : -1, &v->bos, err));
    TFM_TRY(take_id(s, d, KEY "eos_token_id", spm ? 2 : uni ? 1 : -1, &v->eos, err));
    TFM_TRY(take_id(s, d, KEY "unknown_token_id", spm ? 0 : uni ? 2 : -1, &v->unk, err));
    TFM_TRY(take_id(s, d, KEY "padding_token_id", uni ? 0 : -1, &v->pad, err));
    take_bool(s, KEY "add_bos_token", &v->add_bos);
    take_bool(s, KEY "add_eos_token", &v->add_eos);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        TFM_TRY(take_id(s, d, ends[i], -1, &id, err));
        tfm_draft_flag(d, id, TFM_TOKEN_EOG);
    }
    return TFM_OK;
}

/* ---- WordPiece ---- */

/* GGUF puts U+2581 before a piece that begins a word and nothing before one that goes on; names in
 * brackets and control tokens stay. Back to "##". */
static bool is_name(const char *s, uint32_t n) {
    return n > 2 && s[0] == '[' && s[n - 1] == ']';
}

static tfm_status bert_pieces(tfm_draft *d, tfm_error *err) {
    static const char meta[] = "\xe2\x96\x81";
    for (uint32_t i = 0; i < d->src.n; i++) {
        const char *s = d->piece[i];
        uint32_t n = d->piece_len[i];
        void *p;
        if (n == 0 || (d->flags[i] & (TFM_TOKEN_CONTROL | TFM_TOKEN_UNKNOWN)) || is_name(s, n))
            continue;
        if (n > 3 && memcmp(s, meta, 3) == 0) {
            d->piece[i] = s + 3;
            d->piece_len[i] = n - 3;
            continue;
        }
        TFM_TRY(tfm_arena_alloc(d->arena, &p, (size_t)n + 2, err));
        memcpy(p, "##", 2);
        memcpy((char *)p + 2, s, n);
        d->piece[i] = p;
        d->piece_len[i] = n + 2;
    }
    return TFM_OK;
}

/* Where the file does not say whether text is lower-cased, llama.cpp assumes that it is. With
 * pieces that no lower-cased text can reach that would be wrong without a sign. */
static tfm_status check_case(const tfm_source *s, const tfm_draft *d, tfm_error *err) {
    if (!d->src.lowercase || tfm_source_meta(s, KEY "normalizer.lowercase")) return TFM_OK;
    for (uint32_t i = 0; i < d->src.n; i++)
        for (uint32_t k = 0; k < d->piece_len[i] && d->flags[i] == 0; k++)
            if (d->piece[i][k] >= 'A' && d->piece[i][k] <= 'Z' &&
                !is_name(d->piece[i], d->piece_len[i]))
                return tfm_fail(err, TFM_UNSUPPORTED,
                                "no " KEY
                                "normalizer.lowercase, but a piece with capitals, '%.*s': "
                                "whether text is lower-cased is not known; give a tokenizer with "
                                "--tokenizer",
                                (int)(d->piece_len[i] < 60 ? d->piece_len[i] : 60), d->piece[i]);
    return TFM_OK;
}

static tfm_status take_bert(const tfm_source *s, tfm_draft *d, tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    v->type = TFM_VOCAB_WORDPIECE;
    v->inner_prefix = "##";
    v->max_word = 100; /* GGUF does not say; BERT's own limit */
    v->clean_text = v->split_cjk = v->clean_spaces = v->lowercase = true;
    take_bool(s, KEY "normalizer.lowercase", &v->lowercase);
    v->strip_accents = v->lowercase;
    take_bool(s, KEY "normalizer.strip_accents", &v->strip_accents);
    TFM_TRY(check_case(s, d, err));
    TFM_TRY(bert_pieces(d, err));
    v->add_bos = v->add_eos = true;
    TFM_TRY(take_specials(s, d, err));
    if (v->bos < 0) TFM_TRY(take_id(s, d, KEY "cls_token_id", 101, &v->bos, err));
    TFM_TRY(take_id(s, d, KEY "seperator_token_id", 102, &v->eos, err)); /* so spelled */
    take_bool(s, KEY "add_sep_token", &v->add_eos);
    if (v->unk < 0) v->unk = 100 < v->n ? 100 : -1;
    if (v->unk >= 0) d->flags[v->unk] = TFM_TOKEN_UNKNOWN;
    tfm_draft_flag(d, v->bos, TFM_TOKEN_CONTROL);
    tfm_draft_flag(d, v->eos, TFM_TOKEN_CONTROL);
    return TFM_OK;
}

/* ---- unigram ---- */

/* The table of replacements: an array of bytes, in place. */
static tfm_status take_charsmap(const tfm_source *s, tfm_draft *d, tfm_error *err) {
    const tfm_meta *m;
    TFM_TRY(find_array(s, KEY "precompiled_charsmap", TFM_META_INT, 0, &m, err));
    if (!m) return TFM_OK;
    if (m->items_form != TFM_GGUF_U8 && m->items_form != TFM_GGUF_I8)
        return tfm_fail(err, TFM_FORMAT, KEY "precompiled_charsmap is no array of bytes");
    d->src.charsmap = m->items;
    d->src.charsmap_len = m->n;
    return TFM_OK;
}

static tfm_status take_unigram(const tfm_source *s, tfm_draft *d, tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    v->type = TFM_VOCAB_UNIGRAM;
    v->normaliser = "charsmap";
    v->space_to_meta = true;
    v->add_eos = true;
    take_bool(s, KEY "add_space_prefix", &v->add_space_prefix);
    take_bool(s, KEY "remove_extra_whitespaces", &v->remove_extra_spaces);
    TFM_TRY(take_charsmap(s, d, err));
    return take_specials(s, d, err);
}

tfm_status tfm_gguf_vocab(const tfm_source *s, tfm_draft *d, bool *found, tfm_error *err) {
    const tfm_meta *model = tfm_source_meta(s, KEY "model");
    const tfm_meta *pre = tfm_source_meta(s, KEY "pre");
    bool spm = is_text(model, "llama");
    *found = model != NULL && !is_text(model, "none");
    if (!*found) return TFM_OK;
    bool unigram = is_text(model, "t5");
    if (!spm && !unigram && !is_text(model, "gpt2") && !is_text(model, "bert"))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "tokenizer model '%s' is not supported (llama, gpt2, bert and t5 are)",
                        model->type == TFM_META_STRING ? model->s : "?");
    TFM_TRY(take_pieces(s, d, spm || unigram, err));
    if (unigram) return take_unigram(s, d, err);
    tfm_vocab_source *v = &d->src;
    if (is_text(model, "bert")) return take_bert(s, d, err);
    if (spm) {
        v->type = TFM_VOCAB_SPM;
        v->add_bos = true;
        v->space_to_meta = true;
        v->add_space_prefix = true;
        take_bool(s, KEY "add_space_prefix", &v->add_space_prefix);
        take_bool(s, KEY "remove_extra_whitespaces", &v->remove_extra_spaces);
    } else {
        v->type = TFM_VOCAB_BPE;
        v->byte_level = true;
        TFM_TRY(take_merges(s, d, err));
        if (!pre || pre->type != TFM_META_STRING)
            return tfm_fail(
                err, TFM_UNSUPPORTED,
                "no " KEY
                "pre: the file does not say how text is split; give a tokenizer with --tokenizer");
        TFM_TRY(tfm_pretokenizer_named(v, pre->s, err));
        take_bool(s, KEY "add_space_prefix", &v->add_prefix_space);
    }
    return take_specials(s, d, err);
}
