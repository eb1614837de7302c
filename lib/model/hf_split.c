/* hf_split.c - pre-tokenizers of tokenizer.json as a list of steps (tfm_vocab_source.splitter), one
 * for one or one for several: what the steps do is exactly what Hugging Face's do. For vocabularies
 * that the fixed settings (hf_pipeline.c) have no words for. */
#include <string.h>

#include "model/hf_steps_internal.h"

/* ByteLevel's own pattern, where use_regex is set. */
#define BYTE_LEVEL_PATTERN                                                                         \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* A text of the file without NUL that is not empty; NULL if it is not one. */
static const char *text_of(const json_t *j, const char *key) {
    const char *s = tfm_hf_plain_text(j, key);
    return s && s[0] ? s : NULL;
}

/* "behavior" and "invert" as one word; NULL if they are not known. */
static const char *behaviour(const json_t *j) {
    static const char *const known[][3] = {{"Removed", "removed", "not-removed"},
                                           {"Isolated", "isolated", "not-isolated"},
                                           {"Contiguous", "contiguous", "not-contiguous"},
                                           {"MergedWithPrevious", "previous", "not-previous"},
                                           {"MergedWithNext", "next", "not-next"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (tfm_hf_text_is(j, "behavior", known[i][0]))
            return known[i][tfm_json_bool(j, "invert", false) ? 2 : 1];
    return NULL;
}

static tfm_status split(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const json_t *pattern = json_object_get(j, "pattern");
    const char *text = text_of(pattern, "String"), *regex = text_of(pattern, "Regex"),
               *how = behaviour(j);
    if (!how || (text != NULL) == (regex != NULL)) return tfm_hf_refuse(err, "pre_tokenizer", j);
    return tfm_hf_steps_add(l, text ? "text" : "regex", text ? text : regex, how, err);
}

static tfm_status byte_level(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    if (tfm_json_bool(j, "add_prefix_space", true))
        TFM_TRY(tfm_hf_steps_add(l, "prefix", " ", "always", err));
    if (tfm_json_bool(j, "use_regex", true))
        TFM_TRY(tfm_hf_steps_add(l, "regex", BYTE_LEVEL_PATTERN, "isolated", err));
    return tfm_hf_steps_add(l, "bytes", NULL, NULL, err);
}

/* Older files say add_prefix_space, newer ones prepend_scheme. */
static tfm_status metaspace(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const char *mark = text_of(j, "replacement"), *scheme = text_of(j, "prepend_scheme");
    bool always =
             scheme ? strcmp(scheme, "always") == 0 : tfm_json_bool(j, "add_prefix_space", true),
         first = scheme && strcmp(scheme, "first") == 0;
    /* Whether a part is the first depends on what normalising left of the text before it. */
    if (!mark || (first && (l->n > 0 || l->d->src.n_steps > 0)))
        return tfm_hf_refuse(err, "pre_tokenizer", j);
    TFM_TRY(tfm_hf_steps_add(l, "replace", " ", mark, err));
    if (always || first)
        TFM_TRY(tfm_hf_steps_add(l, "prefix", mark, always ? "always" : "first", err));
    return tfm_json_bool(j, "split", true) ? tfm_hf_steps_add(l, "text", mark, "next", err)
                                           : TFM_OK;
}

static tfm_status one(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    if (tfm_hf_is_type(j, "Split")) return split(l, j, err);
    if (tfm_hf_is_type(j, "ByteLevel")) return byte_level(l, j, err);
    if (tfm_hf_is_type(j, "Metaspace")) return metaspace(l, j, err);
    if (tfm_hf_is_type(j, "Whitespace")) return tfm_hf_steps_add(l, "words", NULL, NULL, err);
    if (tfm_hf_is_type(j, "UnicodeScripts")) return tfm_hf_steps_add(l, "scripts", NULL, NULL, err);
    if (tfm_hf_is_type(j, "WhitespaceSplit")) return tfm_hf_steps_add(l, "spaces", NULL, NULL, err);
    if (tfm_hf_is_type(j, "BertPreTokenizer")) {
        TFM_TRY(tfm_hf_steps_add(l, "spaces", NULL, NULL, err));
        return tfm_hf_steps_add(l, "punctuation", "isolated", NULL, err);
    }
    if (tfm_hf_is_type(j, "Punctuation")) {
        const char *how = json_object_get(j, "behavior") ? behaviour(j) : "isolated";
        return how ? tfm_hf_steps_add(l, "punctuation", how, NULL, err)
                   : tfm_hf_refuse(err, "pre_tokenizer", j);
    }
    if (tfm_hf_is_type(j, "Digits"))
        return tfm_hf_steps_add(
            l, "digits", tfm_json_bool(j, "individual_digits", false) ? "isolated" : "contiguous",
            NULL, err);
    if (tfm_hf_is_type(j, "CharDelimiterSplit") && text_of(j, "delimiter"))
        return tfm_hf_steps_add(l, "text", text_of(j, "delimiter"), "removed", err);
    return tfm_hf_refuse(err, "pre_tokenizer", j);
}

tfm_status tfm_hf_splitter_steps(tfm_draft *d, const json_t *j, tfm_error *err) {
    tfm_hf_steps l;
    TFM_TRY(tfm_hf_steps_new(&l, d, "pre_tokenizer", "pretokenizers", err));
    if (j && !json_is_null(j)) TFM_TRY(tfm_hf_steps_walk(&l, j, one, err));
    if (l.n == 0) TFM_TRY(tfm_hf_steps_add(&l, "whole", NULL, NULL, err));
    d->src.splitter = l.step;
    d->src.n_splitter = l.n;
    return TFM_OK;
}
