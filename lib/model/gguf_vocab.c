/* gguf_vocab.c - the vocabulary in a GGUF's metadata (keys tokenizer.ggml.*).
 *
 * Four kinds are taken: SentencePiece BPE by scores with byte fallback, byte-level BPE by merges
 * whose pre-tokenizer has a name, WordPiece, and SentencePiece unigram. Which one a file has is
 * said by a name, too; the names stand in share/tokenizers.yaml. Where a key is absent the value is
 * the one that ggml's programs assume, since that is what their files rely on. */
#include <string.h>

#include "model/gguf_internal.h"
#include "model/tokenizer_names_internal.h"

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

/* What all kinds share once pieces and defaults are there. */
static tfm_status take_specials(const tfm_source *s, tfm_draft *d, const tfm_gguf_kind *kind,
                                tfm_error *err) {
    static const char *const ends[] = {KEY "eot_token_id", KEY "eom_token_id"};
    tfm_vocab_source *v = &d->src;
    int32_t id;
    TFM_TRY(take_id(s, d, KEY "bos_token_id", kind->bos, &v->bos, err));
    TFM_TRY(take_id(s, d, KEY "eos_token_id", kind->eos, &v->eos, err));
    TFM_TRY(take_id(s, d, KEY "unknown_token_id", kind->unk, &v->unk, err));
    TFM_TRY(take_id(s, d, KEY "padding_token_id", kind->pad, &v->pad, err));
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

static tfm_status word_pieces(tfm_draft *d, tfm_error *err) {
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

/* Where the file does not say whether text is lower-cased, ggml's programs assume that it is. With
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

static tfm_status take_wordpiece(const tfm_source *s, tfm_draft *d, const tfm_gguf_kind *kind,
                                 tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    v->inner_prefix = "##";
    v->max_word = 100; /* GGUF does not say; the limit of the first WordPiece */
    v->clean_text = v->split_cjk = v->clean_spaces = v->lowercase = true;
    take_bool(s, KEY "normalizer.lowercase", &v->lowercase);
    v->strip_accents = v->lowercase;
    take_bool(s, KEY "normalizer.strip_accents", &v->strip_accents);
    TFM_TRY(check_case(s, d, err));
    TFM_TRY(word_pieces(d, err));
    TFM_TRY(take_specials(s, d, kind, err));
    if (v->bos < 0 || !tfm_source_meta(s, KEY "bos_token_id"))
        TFM_TRY(take_id(s, d, KEY "cls_token_id", kind->bos, &v->bos, err));
    TFM_TRY(take_id(s, d, KEY "seperator_token_id", kind->eos, &v->eos, err)); /* so spelled */
    take_bool(s, KEY "add_sep_token", &v->add_eos);
    if (v->unk < 0 && kind->unk < (int64_t)v->n) v->unk = kind->unk;
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

static tfm_status take_unigram(const tfm_source *s, tfm_draft *d, const tfm_gguf_kind *kind,
                               tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    v->normaliser = "charsmap";
    v->space_to_meta = true;
    take_bool(s, KEY "add_space_prefix", &v->add_space_prefix);
    take_bool(s, KEY "remove_extra_whitespaces", &v->remove_extra_spaces);
    TFM_TRY(take_charsmap(s, d, err));
    return take_specials(s, d, kind, err);
}

/* ---- SentencePiece by scores, and bytes by merges ---- */

static tfm_status take_spm(const tfm_source *s, tfm_draft *d, const tfm_gguf_kind *kind,
                           tfm_error *err) {
    d->src.space_to_meta = true;
    take_bool(s, KEY "add_space_prefix", &d->src.add_space_prefix);
    take_bool(s, KEY "remove_extra_whitespaces", &d->src.remove_extra_spaces);
    return take_specials(s, d, kind, err);
}

static tfm_status take_bpe(const tfm_source *s, tfm_draft *d, const tfm_tokenizer_names *names,
                           const tfm_gguf_kind *kind, tfm_error *err) {
    const char *pre = tfm_source_text(s, KEY "pre");
    TFM_TRY(take_merges(s, d, err));
    if (!pre)
        return tfm_fail(
            err, TFM_UNSUPPORTED,
            "no " KEY
            "pre: the file does not say how text is split; give a tokenizer with --tokenizer");
    TFM_TRY(tfm_tokenizer_names_split(names, pre, &d->src, err));
    take_bool(s, KEY "add_space_prefix", &d->src.add_prefix_space);
    return take_specials(s, d, kind, err);
}

/* The kind that the file names. */
static tfm_status find_kind(const tfm_tokenizer_names *names, const tfm_meta *model,
                            const tfm_gguf_kind **out, tfm_error *err) {
    const bool is_name = model->type == TFM_META_STRING;
    char known[200];
    *out = is_name ? tfm_tokenizer_names_gguf_kind(names, model->s, model->s_len) : NULL;
    if (*out) return TFM_OK;
    tfm_tokenizer_names_list_kinds(names, known, sizeof known);
    return tfm_fail(err, TFM_UNSUPPORTED, "tokenizer model '%.60s' is not supported (known: %s)",
                    is_name ? model->s : "?", known);
}

tfm_status tfm_gguf_vocab(tfm_source *s, tfm_draft *d, bool *found, tfm_error *err) {
    const tfm_meta *model = tfm_source_meta(s, KEY "model");
    const tfm_tokenizer_names *names;
    const tfm_gguf_kind *kind;
    *found = model != NULL && !is_text(model, "none");
    if (!*found) return TFM_OK;
    TFM_TRY(tfm_source_tokenizers(s, &names, err));
    TFM_TRY(find_kind(names, model, &kind, err));
    const bool has_scores = kind->type == TFM_VOCAB_SPM || kind->type == TFM_VOCAB_UNIGRAM;
    TFM_TRY(take_pieces(s, d, has_scores, err));
    d->src.type = kind->type;
    d->src.add_bos = kind->add_bos;
    d->src.add_eos = kind->add_eos;
    d->src.add_space_prefix = kind->add_space_prefix;
    switch (kind->type) {
    case TFM_VOCAB_SPM: return take_spm(s, d, kind, err);
    case TFM_VOCAB_UNIGRAM: return take_unigram(s, d, kind, err);
    case TFM_VOCAB_WORDPIECE: return take_wordpiece(s, d, kind, err);
    default: return take_bpe(s, d, names, kind, err);
    }
}
