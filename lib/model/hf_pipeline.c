/* hf_pipeline.c - the stages of tokenizer.json around its model: normalizer, pre_tokenizer,
 * post_processor, decoder, and the properties of added tokens.
 *
 * Each stage is taken only if tfm's tokenizer does exactly the same with the settings that come out
 * (tfm_vocab_source); everything else is refused by its name. The two families that are taken:
 *
 *     byte level   [NFC...]  Split*, Digits*  ByteLevel            (GPT-2, Llama 3, Qwen)
 *     characters   [NFC...]  Prepend, Replace(" " by U+2581), or Metaspace   (Llama 2, Mistral)
 */
#include <string.h>

#include "model/json_internal.h"

#define META_SPACE "\xe2\x96\x81" /* U+2581 */
/* ByteLevel's own pattern when use_regex is set (GPT-2's). Its last alternative, "|\s+", is left
 * out: what no alternative matches is a part of its own, which gives the same parts, and without it
 * the vocabulary has the same id as the one that a GGUF calls gpt-2. */
#define GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"

static const char *type_of(const json_t *j) {
    const char *type = tfm_json_text(j, "type", NULL);
    return type ? type : "?";
}

static bool is_type(const json_t *j, const char *type) {
    return strcmp(type_of(j), type) == 0;
}

static bool text_is(const json_t *j, const char *key, const char *want) {
    size_t n;
    const char *s = tfm_json_text(j, key, &n);
    return s && n == strlen(want) && memcmp(s, want, n) == 0;
}

static tfm_status refuse(tfm_error *err, const char *stage, const json_t *j) {
    return tfm_fail(err, TFM_UNSUPPORTED, "%s %s is not supported (with these settings)", stage,
                    type_of(j));
}

/* The members of a Sequence, under either name; NULL if it is none. */
static const json_t *sequence(const json_t *j, const char *key) {
    return is_type(j, "Sequence") ? json_object_get(j, key) : NULL;
}

/* ---- normalizer ---- */

static tfm_status unicode_form(tfm_draft *d, const json_t *j, const char *form, tfm_error *err) {
    /* A second form, or one after spaces were changed, would need an order of its own. */
    if (strcmp(d->src.normaliser, "none") != 0) return refuse(err, "normalizer", j);
    d->src.normaliser = form;
    return TFM_OK;
}

tfm_status tfm_hf_normalizer(tfm_draft *d, const json_t *j, tfm_error *err) {
    static const char *const forms[][2] = {
        {"NFC", "nfc"}, {"NFD", "nfd"}, {"NFKC", "nfkc"}, {"NFKD", "nfkd"}};
    const json_t *members = sequence(j, "normalizers");
    if (!j || json_is_null(j)) return TFM_OK;
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        if (is_type(m, "Sequence")) return refuse(err, "normalizer", m); /* never nested in use */
        TFM_TRY(tfm_hf_normalizer(d, m, err));
    }
    if (members) return TFM_OK;
    for (size_t i = 0; i < 4; i++)
        if (is_type(j, forms[i][0])) return unicode_form(d, j, forms[i][1], err);
    if (is_type(j, "Prepend") && text_is(j, "prepend", META_SPACE)) {
        d->src.add_space_prefix = d->prefix_always = d->normalises_spaces = true;
        return TFM_OK;
    }
    if (is_type(j, "Replace") && text_is(json_object_get(j, "pattern"), "String", " ") &&
        text_is(j, "content", META_SPACE)) {
        d->src.space_to_meta = d->normalises_spaces = true;
        return TFM_OK;
    }
    return refuse(err, "normalizer", j);
}

/* ---- pre_tokenizer ---- */

static tfm_status split(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *pattern = json_object_get(j, "pattern");
    size_t n;
    const char *regex = tfm_json_text(pattern, "Regex", &n);
    if (tfm_json_bool(j, "invert", false)) return refuse(err, "pre_tokenizer", j);
    if (text_is(j, "behavior", "Isolated") && regex) return tfm_draft_pattern(d, regex, n, err);
    /* Where all spaces have become U+2581 there is nothing left to split at. */
    if (text_is(pattern, "String", " ") && d->src.space_to_meta &&
        !text_is(j, "behavior", "Removed"))
        return TFM_OK;
    return refuse(err, "pre_tokenizer", j);
}

static tfm_status byte_level(tfm_draft *d, const json_t *j, tfm_error *err) {
    d->src.byte_level = true;
    d->src.add_prefix_space = tfm_json_bool(j, "add_prefix_space", true);
    /* After a split the space would go before every part, not before the text. */
    if (d->src.add_prefix_space && d->src.n_patterns > 0) return refuse(err, "pre_tokenizer", j);
    if (tfm_json_bool(j, "use_regex", true))
        return tfm_draft_pattern(d, GPT2_PATTERN, strlen(GPT2_PATTERN), err);
    return TFM_OK;
}

/* Older files say add_prefix_space, newer ones prepend_scheme. Unlike Prepend this puts no space
 * before a stretch of text that begins with one. */
static tfm_status metaspace(tfm_draft *d, const json_t *j, tfm_error *err) {
    static const char parts[] = META_SPACE "?[^" META_SPACE "]+|" META_SPACE;
    size_t n;
    const char *scheme = tfm_json_text(j, "prepend_scheme", &n);
    if (!text_is(j, "replacement", META_SPACE) || d->src.space_to_meta)
        return refuse(err, "pre_tokenizer", j);
    d->src.space_to_meta = true;
    d->src.add_prefix_space =
        scheme ? strcmp(scheme, "never") != 0 : tfm_json_bool(j, "add_prefix_space", true);
    d->prefix_always = d->src.add_prefix_space && !(scheme && strcmp(scheme, "first") == 0);
    d->src.add_space_prefix = d->prefix_always;
    if (tfm_json_bool(j, "split", true)) return tfm_draft_pattern(d, parts, sizeof parts - 1, err);
    return TFM_OK;
}

tfm_status tfm_hf_pretokenizer(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *members = sequence(j, "pretokenizers");
    if (!j || json_is_null(j)) return TFM_OK;
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        if (is_type(m, "Sequence")) return refuse(err, "pre_tokenizer", m);
        TFM_TRY(tfm_hf_pretokenizer(d, m, err));
    }
    if (members) return TFM_OK;
    if (d->src.byte_level) /* a pattern behind it would see the byte alphabet, not the text */
        return tfm_fail(err, TFM_UNSUPPORTED, "pre_tokenizer %s after ByteLevel", type_of(j));
    if (is_type(j, "Split")) return split(d, j, err);
    if (is_type(j, "ByteLevel")) return byte_level(d, j, err);
    if (is_type(j, "Metaspace")) return metaspace(d, j, err);
    if (is_type(j, "Digits")) {
        const char *p = tfm_json_bool(j, "individual_digits", false) ? "\\p{N}" : "\\p{N}+";
        return tfm_draft_pattern(d, p, strlen(p), err);
    }
    return refuse(err, "pre_tokenizer", j);
}

/* ---- decoder: tfm undoes what it did, so the file must ask for just that ---- */

tfm_status tfm_hf_decoder(const tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *members = sequence(j, "decoders");
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        if (is_type(m, "Sequence")) return refuse(err, "decoder", m);
        TFM_TRY(tfm_hf_decoder(d, m, err));
    }
    if (members) return TFM_OK;
    if (!j || json_is_null(j))
        return tfm_fail(err, TFM_UNSUPPORTED, "no decoder: tokens would be joined by spaces");
    if (d->src.byte_level) return is_type(j, "ByteLevel") ? TFM_OK : refuse(err, "decoder", j);
    bool good = is_type(j, "ByteFallback") || is_type(j, "Fuse") || is_type(j, "Metaspace") ||
                (is_type(j, "Replace") && text_is(j, "content", " ") &&
                 text_is(json_object_get(j, "pattern"), "String", META_SPACE)) ||
                (is_type(j, "Strip") && text_is(j, "content", " ") &&
                 json_integer_value(json_object_get(j, "start")) <= 1 &&
                 json_integer_value(json_object_get(j, "stop")) == 0);
    return good ? TFM_OK : refuse(err, "decoder", j);
}

/* ---- post_processor: only BOS before and EOS after one text ---- */

/* The id that a template's special token stands for; -1 if it is not exactly one. */
static int32_t template_id(const json_t *j, const json_t *part, const tfm_draft *d) {
    size_t n;
    const char *name = tfm_json_text(json_object_get(part, "SpecialToken"), "id", &n);
    if (!name) return -1;
    const json_t *token = json_object_get(json_object_get(j, "special_tokens"), name);
    const json_t *ids = json_object_get(token, "ids");
    json_int_t id = json_integer_value(json_array_get(ids, 0));
    return json_array_size(ids) == 1 && id >= 0 && id < d->src.n ? (int32_t)id : -1;
}

static tfm_status set_bos(tfm_draft *d, const json_t *j, int32_t id, tfm_error *err) {
    if (id < 0 || d->src.add_bos) return refuse(err, "post_processor", j);
    d->src.bos = id;
    d->src.add_bos = true;
    return TFM_OK;
}

static tfm_status set_eos(tfm_draft *d, const json_t *j, int32_t id, tfm_error *err) {
    if (id < 0 || d->src.add_eos) return refuse(err, "post_processor", j);
    d->src.eos = id;
    d->src.add_eos = true;
    return TFM_OK;
}

static tfm_status template(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *single = json_object_get(j, "single");
    bool seen = false;
    for (size_t i = 0; i < json_array_size(single); i++) {
        const json_t *part = json_array_get(single, i);
        if (json_object_get(part, "Sequence")) {
            if (seen) return refuse(err, "post_processor", j);
            seen = true;
        } else if (seen) {
            TFM_TRY(set_eos(d, j, template_id(j, part, d), err));
        } else {
            TFM_TRY(set_bos(d, j, template_id(j, part, d), err));
        }
    }
    return seen ? TFM_OK : refuse(err, "post_processor", j);
}

/* {"cls": ["<s>", 0], "sep": ["</s>", 2]} */
static int32_t pair_id(const tfm_draft *d, const json_t *j, const char *key) {
    const json_t *id = json_array_get(json_object_get(j, key), 1);
    json_int_t v = json_integer_value(id);
    return json_is_integer(id) && v >= 0 && v < d->src.n ? (int32_t)v : -1;
}

tfm_status tfm_hf_postprocessor(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *members = sequence(j, "processors");
    if (!j || json_is_null(j)) return TFM_OK;
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *m = json_array_get(members, i);
        if (is_type(m, "Sequence")) return refuse(err, "post_processor", m);
        TFM_TRY(tfm_hf_postprocessor(d, m, err));
    }
    if (members || is_type(j, "ByteLevel")) return TFM_OK; /* ByteLevel moves offsets only */
    if (is_type(j, "TemplateProcessing")) return template(d, j, err);
    if (is_type(j, "RobertaProcessing") || is_type(j, "BertProcessing")) {
        TFM_TRY(set_bos(d, j, pair_id(d, j, "cls"), err));
        return set_eos(d, j, pair_id(d, j, "sep"), err);
    }
    return refuse(err, "post_processor", j);
}

/* ---- added tokens and tokenizer_config.json ---- */

tfm_status tfm_hf_added_flags(const tfm_draft *d, const json_t *token, unsigned *flags,
                              tfm_error *err) {
    const char *content = tfm_json_text(token, "content", NULL);
    bool special = tfm_json_bool(token, "special", false);
    bool changes =
        strcmp(d->src.normaliser, "none") != 0 || d->src.space_to_meta || d->src.add_space_prefix;
    *flags = special ? TFM_TOKEN_CONTROL : TFM_TOKEN_ADDED;
    if (tfm_json_bool(token, "lstrip", false)) *flags |= TFM_TOKEN_LSTRIP;
    if (tfm_json_bool(token, "rstrip", false)) *flags |= TFM_TOKEN_RSTRIP;
    if (tfm_json_bool(token, "single_word", false))
        return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' with single_word", content);
    /* tfm puts a space before a text and after control tokens, not after other added ones. */
    if (!special && d->prefix_always)
        return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' behind which a space is put",
                        content);
    /* Control tokens are matched only on request and then as they are written. */
    if (!special && changes && tfm_json_bool(token, "normalized", true))
        return tfm_fail(err, TFM_UNSUPPORTED, "added token '%s' is matched in the normalized text",
                        content);
    return TFM_OK;
}

/* is_list: the file lists no added tokens of its own, so a token that is named here is special. */
static void named_token(tfm_draft *d, const json_t *config, const char *key, bool is_list,
                        int32_t *id) {
    size_t n;
    const char *name = tfm_json_token(config, key, &n);
    int32_t found = name ? tfm_draft_find(d, name, n) : -1;
    if (found < 0) return;
    *id = found;
    if (is_list) tfm_draft_flag(d, found, TFM_TOKEN_CONTROL);
}

void tfm_hf_config_tokens(tfm_draft *d, const json_t *config, bool is_list) {
    tfm_vocab_source *v = &d->src;
    int32_t bos = v->bos, eos = v->eos;
    named_token(d, config, "bos_token", is_list, &bos);
    named_token(d, config, "eos_token", is_list, &eos);
    named_token(d, config, "unk_token", false, &v->unk);
    named_token(d, config, "pad_token", is_list, &v->pad);
    /* What a template puts around a text is settled there; the name may mean another token. */
    if (!v->add_bos || is_list) v->bos = bos;
    if (!v->add_eos || is_list) v->eos = eos;
    tfm_draft_flag(d, eos, TFM_TOKEN_EOG);
    if (!is_list) return;
    v->add_bos = tfm_json_bool(config, "add_bos_token", v->add_bos);
    v->add_eos = tfm_json_bool(config, "add_eos_token", v->add_eos);
}

/* "added_tokens_decoder": {"32000": {"content": ...}, ...} */
tfm_status tfm_hf_added_list(const json_t *config, json_t **out, tfm_error *err) {
    json_t *decoder = json_object_get(config, "added_tokens_decoder");
    json_t *list = json_array();
    *out = list;
    if (!list) return tfm_fail(err, TFM_NOMEM, "out of memory");
    for (void *at = json_object_iter(decoder); at; at = json_object_iter_next(decoder, at)) {
        int64_t id;
        if (!tfm_parse_i64(json_object_iter_key(at), 0, INT32_MAX, &id))
            return tfm_fail(err, TFM_FORMAT, "added token '%s' is no id", json_object_iter_key(at));
        json_t *token = json_copy(json_object_iter_value(at));
        if (!token || json_object_set_new(token, "id", json_integer(id)) != 0 ||
            json_array_append_new(list, token) != 0)
            return tfm_fail(err, TFM_NOMEM, "out of memory, or an added token is no object");
    }
    return TFM_OK;
}
