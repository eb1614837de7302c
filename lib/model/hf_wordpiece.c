/* hf_wordpiece.c - WordLevel (a token a word), and WordPiece as BERT and its relatives have it: in
 * a tokenizer.json, or as a list of pieces (vocab.txt) whose settings stand in
 * tokenizer_config.json. */
#include <string.h>

#include "model/json_internal.h"
#include "model/tokenizer_names_internal.h"

enum { MAX_WORD = 100 }; /* BERT's own limit, where the file does not say */

static bool is_type(const json_t *j, const char *type) {
    const char *t = tfm_json_text(j, "type", NULL);
    return t && strcmp(t, type) == 0;
}

static const char *type_of(const json_t *j) {
    const char *type = tfm_json_text(j, "type", NULL);
    return type ? type : "?";
}

bool tfm_hf_is_wordpiece(const json_t *model) {
    /* Files older than the type key are told apart by what they hold. */
    return tfm_json_text(model, "type", NULL)
               ? is_type(model, "WordPiece")
               : json_object_get(model, "max_input_chars_per_word") != NULL;
}

/* What both forms share. */
static void defaults(tfm_draft *d) {
    tfm_vocab_source *v = &d->src;
    v->type = TFM_VOCAB_WORDPIECE;
    v->inner_prefix = "##";
    v->max_word = MAX_WORD;
    v->normaliser = "none";
}

/* Its characters stay text: a control token would not be printed. */
static void set_unknown(tfm_draft *d, int32_t id) {
    d->src.unk = id;
    if (id >= 0)
        d->flags[id] = (uint8_t)((d->flags[id] & ~(unsigned)(TFM_TOKEN_CONTROL | TFM_TOKEN_ADDED)) |
                                 TFM_TOKEN_UNKNOWN);
}

/* ---- tokenizer.json ---- */

static tfm_status take_model(tfm_draft *d, const json_t *model, tfm_error *err) {
    const json_t *most = json_object_get(model, "max_input_chars_per_word");
    size_t n;
    const char *prefix = tfm_json_text(model, "continuing_subword_prefix", &n);
    defaults(d);
    if (prefix) {
        if (memchr(prefix, '\0', n) || n > 31)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "model.continuing_subword_prefix of %zu bytes, or with a NUL", n);
        TFM_TRY(tfm_arena_strndup(d->arena, &d->src.inner_prefix, prefix, n, err));
    }
    if (most && (!json_is_integer(most) || json_integer_value(most) < 0 ||
                 json_integer_value(most) > INT32_MAX))
        return tfm_fail(err, TFM_FORMAT,
                        "model.max_input_chars_per_word is no number of characters");
    if (most) d->src.max_word = (uint32_t)json_integer_value(most);
    return TFM_OK;
}

/* "strip_accents": null means as lowercase says. */
static tfm_status take_normalizer(tfm_draft *d, const json_t *j, tfm_error *err) {
    if (!j || json_is_null(j)) return TFM_OK;
    if (!is_type(j, "BertNormalizer"))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "normalizer %s with WordPiece (BertNormalizer is taken)", type_of(j));
    d->src.clean_text = tfm_json_bool(j, "clean_text", true);
    d->src.split_cjk = tfm_json_bool(j, "handle_chinese_chars", true);
    d->src.lowercase = tfm_json_bool(j, "lowercase", true);
    d->src.strip_accents = tfm_json_bool(j, "strip_accents", d->src.lowercase);
    return TFM_OK;
}

static tfm_status take_decoder(tfm_draft *d, const json_t *j, tfm_error *err) {
    if (!is_type(j, "WordPiece"))
        return tfm_fail(err, TFM_UNSUPPORTED, "decoder %s with WordPiece (WordPiece is taken)",
                        type_of(j));
    const char *prefix = tfm_json_text(j, "prefix", NULL);
    if (prefix && strcmp(prefix, d->src.inner_prefix) != 0)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "decoder.prefix '%s' is not model.continuing_subword_prefix", prefix);
    d->src.clean_spaces = tfm_json_bool(j, "cleanup", true);
    return TFM_OK;
}

/* Added tokens are looked for in the text as it stands. */
static tfm_status check_added(const tfm_draft *d, const json_t *added, tfm_error *err) {
    bool changes =
        d->src.clean_text || d->src.split_cjk || d->src.strip_accents || d->src.lowercase;
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        if (changes && !tfm_json_bool(token, "special", false) &&
            tfm_json_bool(token, "normalized", true))
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "added token '%s' is matched in the normalized text",
                            tfm_json_text(token, "content", NULL));
    }
    return TFM_OK;
}

static tfm_status by_settings(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *cutter = json_object_get(j, "pre_tokenizer"),
                 *added = json_object_get(j, "added_tokens");
    TFM_TRY(take_normalizer(d, json_object_get(j, "normalizer"), err));
    if (!is_type(cutter, "BertPreTokenizer"))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "pre_tokenizer %s with WordPiece (BertPreTokenizer is taken)",
                        type_of(cutter));
    TFM_TRY(take_decoder(d, json_object_get(j, "decoder"), err));
    TFM_TRY(check_added(d, added, err));
    return tfm_hf_take_added(d, added, err);
}

tfm_status tfm_hf_wordpiece(tfm_draft *d, json_t *j, tfm_error *err) {
    const json_t *model = json_object_get(j, "model"), *added = json_object_get(j, "added_tokens");
    size_t n;
    TFM_TRY(tfm_hf_take_vocab(d, json_object_get(model, "vocab"), added, err));
    TFM_TRY(take_model(d, model, err));
    TFM_TRY(tfm_hf_either(d, j, by_settings, tfm_hf_stages, err));
    const char *unk = tfm_json_text(model, "unk_token", &n);
    set_unknown(d, tfm_draft_find(d, unk ? unk : "[UNK]", unk ? n : 5));
    return tfm_hf_postprocessor(d, json_object_get(j, "post_processor"), err);
}

/* ---- WordLevel ---- */

bool tfm_hf_is_wordlevel(const json_t *model) {
    return is_type(model, "WordLevel");
}

tfm_status tfm_hf_wordlevel(tfm_draft *d, json_t *j, tfm_error *err) {
    const json_t *model = json_object_get(j, "model");
    size_t n;
    TFM_TRY(tfm_hf_take_vocab(d, json_object_get(model, "vocab"),
                              json_object_get(j, "added_tokens"), err));
    d->src.type = TFM_VOCAB_WORDS;
    d->exact = true;
    TFM_TRY(tfm_hf_stages(d, j, err));
    const char *unk = tfm_json_text(model, "unk_token", &n);
    if (unk && (d->src.unk = tfm_draft_find(d, unk, n)) >= 0)
        tfm_draft_flag(d, d->src.unk, TFM_TOKEN_UNKNOWN);
    return tfm_hf_postprocessor(d, json_object_get(j, "post_processor"), err);
}

/* ---- vocab.txt ---- */

static tfm_status take_settings(tfm_draft *d, const json_t *config, tfm_error *err) {
    const json_t *never = json_object_get(config, "never_split");
    tfm_vocab_source *v = &d->src;
    defaults(d);
    if (!tfm_json_bool(config, "do_basic_tokenize", true) || json_array_size(never) > 0)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "tokenizer_config.json: do_basic_tokenize or never_split is set");
    v->clean_text = v->clean_spaces = true;
    v->split_cjk = tfm_json_bool(config, "tokenize_chinese_chars", true);
    v->lowercase = tfm_json_bool(config, "do_lower_case", true);
    v->strip_accents = tfm_json_bool(config, "strip_accents", v->lowercase);
    return TFM_OK;
}

/* The token that the configuration names, or the usual one. */
static int32_t control_token(tfm_draft *d, const json_t *config, const char *key,
                             const char *usual) {
    size_t n = strlen(usual), named;
    const char *name = tfm_json_token(config, key, &named);
    int32_t id = tfm_draft_find(d, name ? name : usual, name ? named : n);
    tfm_draft_flag(d, id, TFM_TOKEN_CONTROL);
    return id;
}

tfm_status tfm_wordpiece_list(tfm_source *s, tfm_draft *d, const json_t *config,
                              const json_t *added, const char *kind, tfm_error *err) {
    const tfm_tokenizer_names *names;
    tfm_vocab_source *v = &d->src;
    TFM_TRY(tfm_source_tokenizers(s, &names, err));
    if (!tfm_tokenizer_names_is_wordpiece(names, kind))
        return tfm_fail(
            err, TFM_UNSUPPORTED,
            "vocab.txt of %s, which is not known to be WordPiece; save a tokenizer.json",
            kind ? kind : "a tokenizer without a class");
    TFM_TRY(take_settings(d, config, err));
    TFM_TRY(tfm_hf_take_added(d, added, err));
    v->pad = control_token(d, config, "pad_token", "[PAD]");
    v->bos = control_token(d, config, "cls_token", "[CLS]");
    v->eos = control_token(d, config, "sep_token", "[SEP]");
    control_token(d, config, "mask_token", "[MASK]");
    set_unknown(d, control_token(d, config, "unk_token", "[UNK]"));
    v->add_bos = v->bos >= 0;
    v->add_eos = v->eos >= 0;
    return TFM_OK;
}
