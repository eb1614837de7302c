/* gguf_vocab.c - the vocabulary in a GGUF's metadata (keys tokenizer.ggml.*).
 *
 * Two models are taken: "llama" (SentencePiece BPE by scores, byte fallback) and "gpt2" (byte-level
 * BPE by merges, its pre-tokenizer known by name). Any other is refused by name. Where a key is
 * absent the value is the one that llama.cpp assumes, since that is what its files rely on. */
#include <string.h>

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
    bool spm = v->type == TFM_VOCAB_SPM;
    TFM_TRY(take_id(s, d, KEY "bos_token_id", spm ? 1 : -1, &v->bos, err));
    TFM_TRY(take_id(s, d, KEY "eos_token_id", spm ? 2 : -1, &v->eos, err));
    TFM_TRY(take_id(s, d, KEY "unknown_token_id", spm ? 0 : -1, &v->unk, err));
    TFM_TRY(take_id(s, d, KEY "padding_token_id", -1, &v->pad, err));
    take_bool(s, KEY "add_bos_token", &v->add_bos);
    take_bool(s, KEY "add_eos_token", &v->add_eos);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        TFM_TRY(take_id(s, d, ends[i], -1, &id, err));
        tfm_draft_flag(d, id, TFM_TOKEN_EOG);
    }
    return TFM_OK;
}

tfm_status tfm_gguf_vocab(const tfm_source *s, tfm_draft *d, bool *found, tfm_error *err) {
    const tfm_meta *model = tfm_source_meta(s, KEY "model");
    const tfm_meta *pre = tfm_source_meta(s, KEY "pre");
    bool spm = is_text(model, "llama");
    *found = model != NULL && !is_text(model, "none");
    if (!*found) return TFM_OK;
    if (!spm && !is_text(model, "gpt2"))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "tokenizer model '%s' is not supported (llama and gpt2 are)",
                        model->type == TFM_META_STRING ? model->s : "?");
    TFM_TRY(take_pieces(s, d, spm, err));
    tfm_vocab_source *v = &d->src;
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
