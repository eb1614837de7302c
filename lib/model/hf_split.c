/* hf_split.c - pre-tokenizers of tokenizer.json as a list of steps (tfm_vocab_source.splitter), one
 * for one or one for several: what the steps do is exactly what Hugging Face's do. For vocabularies
 * that the fixed settings (hf_pipeline.c) have no words for. */
#include <string.h>

#include "model/json_internal.h"

/* ByteLevel's own pattern, where use_regex is set (GPT-2's). */
#define GPT2_PATTERN                                                                               \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

enum { STEPS_MAX = 32 };

typedef struct list {
    tfm_draft *d;
    tfm_vocab_step *step;
    uint32_t n;
} list;

static tfm_status add(list *l, const char *kind, const char *a, const char *b, tfm_error *err) {
    if (l->n == STEPS_MAX) return tfm_fail(err, TFM_LIMIT, "a pre_tokenizer of over 32 steps");
    l->step[l->n++] = (tfm_vocab_step){.kind = kind, .a = a, .b = b};
    return TFM_OK;
}

/* A text of the file without NUL that is not empty; NULL if it is not one. */
static const char *plain_text(const json_t *j, const char *key) {
    size_t n;
    const char *s = tfm_json_text(j, key, &n);
    return s && n > 0 && strlen(s) == n ? s : NULL;
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

static tfm_status split(list *l, const json_t *j, tfm_error *err) {
    const json_t *pattern = json_object_get(j, "pattern");
    const char *text = plain_text(pattern, "String"), *regex = plain_text(pattern, "Regex"),
               *how = behaviour(j);
    if (!how || (text != NULL) == (regex != NULL)) return tfm_hf_refuse(err, "pre_tokenizer", j);
    return add(l, text ? "text" : "regex", text ? text : regex, how, err);
}

static tfm_status byte_level(list *l, const json_t *j, tfm_error *err) {
    if (tfm_json_bool(j, "add_prefix_space", true)) TFM_TRY(add(l, "prefix", " ", "always", err));
    if (tfm_json_bool(j, "use_regex", true))
        TFM_TRY(add(l, "regex", GPT2_PATTERN, "isolated", err));
    return add(l, "bytes", NULL, NULL, err);
}

/* Older files say add_prefix_space, newer ones prepend_scheme. */
static tfm_status metaspace(list *l, const json_t *j, tfm_error *err) {
    const char *mark = plain_text(j, "replacement"), *scheme = plain_text(j, "prepend_scheme");
    bool always =
             scheme ? strcmp(scheme, "always") == 0 : tfm_json_bool(j, "add_prefix_space", true),
         first = scheme && strcmp(scheme, "first") == 0;
    /* Whether a part is the first depends on what normalising left of the text before it. */
    if (!mark || (first && (l->n > 0 || l->d->src.n_steps > 0)))
        return tfm_hf_refuse(err, "pre_tokenizer", j);
    TFM_TRY(add(l, "replace", " ", mark, err));
    if (always || first) TFM_TRY(add(l, "prefix", mark, always ? "always" : "first", err));
    return tfm_json_bool(j, "split", true) ? add(l, "text", mark, "next", err) : TFM_OK;
}

static tfm_status one(list *l, const json_t *j, tfm_error *err) {
    if (tfm_hf_is_type(j, "Split")) return split(l, j, err);
    if (tfm_hf_is_type(j, "ByteLevel")) return byte_level(l, j, err);
    if (tfm_hf_is_type(j, "Metaspace")) return metaspace(l, j, err);
    if (tfm_hf_is_type(j, "Whitespace")) return add(l, "words", NULL, NULL, err);
    if (tfm_hf_is_type(j, "WhitespaceSplit")) return add(l, "spaces", NULL, NULL, err);
    if (tfm_hf_is_type(j, "BertPreTokenizer")) {
        TFM_TRY(add(l, "spaces", NULL, NULL, err));
        return add(l, "punctuation", "isolated", NULL, err);
    }
    if (tfm_hf_is_type(j, "Punctuation")) {
        const char *how = json_object_get(j, "behavior") ? behaviour(j) : "isolated";
        return how ? add(l, "punctuation", how, NULL, err) : tfm_hf_refuse(err, "pre_tokenizer", j);
    }
    if (tfm_hf_is_type(j, "Digits"))
        return add(l, "digits",
                   tfm_json_bool(j, "individual_digits", false) ? "isolated" : "contiguous", NULL,
                   err);
    if (tfm_hf_is_type(j, "CharDelimiterSplit") && plain_text(j, "delimiter"))
        return add(l, "text", plain_text(j, "delimiter"), "removed", err);
    return tfm_hf_refuse(err, "pre_tokenizer", j);
}

static tfm_status all(list *l, const json_t *j, unsigned depth, tfm_error *err) {
    const json_t *members = tfm_hf_sequence(j, "pretokenizers");
    if (!tfm_hf_is_type(j, "Sequence")) return one(l, j, err);
    if (depth == 0) return tfm_hf_refuse(err, "pre_tokenizer", j);
    for (size_t i = 0; i < json_array_size(members); i++)
        TFM_TRY(all(l, json_array_get(members, i), depth - 1, err));
    return TFM_OK;
}

tfm_status tfm_hf_splitter_steps(tfm_draft *d, const json_t *j, tfm_error *err) {
    void *p;
    TFM_TRY(tfm_arena_alloc(d->arena, &p, STEPS_MAX * sizeof(tfm_vocab_step), err));
    list l = {.d = d, .step = p};
    if (j && !json_is_null(j)) TFM_TRY(all(&l, j, 4, err));
    if (l.n == 0) TFM_TRY(add(&l, "whole", NULL, NULL, err));
    d->src.splitter = l.step;
    d->src.n_splitter = l.n;
    return TFM_OK;
}
