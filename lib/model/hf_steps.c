/* hf_steps.c - normalizers and decoders of tokenizer.json as lists of steps (tfm_vocab_step), one
 * for one: what the steps do is exactly what Hugging Face's do. Types, patterns and settings that
 * have no such step are refused by name. */
#include <string.h>

#include "model/hf_steps_internal.h"

enum {
    STEPS_MAX = 32,
    DEPTH_MAX = 4 /* of Sequences */
};

/* ---- lists ---- */

tfm_status tfm_hf_steps_new(tfm_hf_steps *l, tfm_draft *d, const char *stage, const char *members,
                            tfm_error *err) {
    void *p;
    TFM_TRY(tfm_arena_alloc(d->arena, &p, STEPS_MAX * sizeof(tfm_vocab_step), err));
    *l = (tfm_hf_steps){.d = d, .stage = stage, .members = members, .step = p};
    return TFM_OK;
}

tfm_status tfm_hf_steps_add(tfm_hf_steps *l, const char *kind, const char *a, const char *b,
                            tfm_error *err) {
    if (l->n == STEPS_MAX)
        return tfm_fail(err, TFM_LIMIT, "a %s of over %d steps", l->stage, STEPS_MAX);
    l->step[l->n++] = (tfm_vocab_step){.kind = kind, .a = a, .b = b};
    return TFM_OK;
}

bool tfm_hf_steps_has(const tfm_hf_steps *l, const char *kind) {
    for (uint32_t i = 0; i < l->n; i++)
        if (strcmp(l->step[i].kind, kind) == 0) return true;
    return false;
}

static tfm_status walk(tfm_hf_steps *l, const json_t *j, tfm_hf_stage_fn one, unsigned depth,
                       tfm_error *err) {
    if (!tfm_hf_is_type(j, "Sequence")) return one(l, j, err);
    if (depth == 0) return tfm_hf_refuse(err, l->stage, j);
    const json_t *members = tfm_hf_sequence(j, l->members);
    for (size_t i = 0; i < json_array_size(members); i++)
        TFM_TRY(walk(l, json_array_get(members, i), one, depth - 1, err));
    return TFM_OK;
}

tfm_status tfm_hf_steps_walk(tfm_hf_steps *l, const json_t *j, tfm_hf_stage_fn one,
                             tfm_error *err) {
    return walk(l, j, one, DEPTH_MAX, err);
}

const char *tfm_hf_plain_text(const json_t *j, const char *key) {
    size_t n;
    const char *s = tfm_json_text(j, key, &n);
    return s && strlen(s) == n ? s : NULL;
}

/* ---- normalizer ---- */

/* Base64 (RFC 4648) of the table, into the arena. */
static tfm_status decode_table(tfm_draft *d, const char *s, size_t n, tfm_error *err) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t bits = 0;
    void *p;
    size_t len = 0;
    unsigned have = 0;
    TFM_TRY(tfm_arena_alloc(d->arena, &p, n / 4 * 3 + 3, err));
    unsigned char *out = p;
    while (n > 0 && s[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) {
        const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;
        if (!at) return tfm_fail(err, TFM_FORMAT, "normalizer Precompiled: its table is no base64");
        bits = bits << 6 | (uint32_t)(at - alphabet);
        have += 6;
        if (have < 8) continue;
        have -= 8;
        out[len++] = (unsigned char)(bits >> have);
    }
    d->src.charsmap = out;
    d->src.charsmap_len = len;
    return TFM_OK;
}

static tfm_status precompiled(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    size_t n;
    const char *table = tfm_json_text(j, "precompiled_charsmap", &n);
    if (!table || n == 0 || l->d->src.charsmap_len > 0) return tfm_hf_refuse(err, "normalizer", j);
    TFM_TRY(decode_table(l->d, table, n, err));
    return tfm_hf_steps_add(l, "charsmap", NULL, NULL, err);
}

/* Replace of either stage, by a text or by a regex. */
static tfm_status replace(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const json_t *pattern = json_object_get(j, "pattern");
    const char *text = tfm_hf_plain_text(pattern, "String"),
               *regex = tfm_hf_plain_text(pattern, "Regex"),
               *content = tfm_hf_plain_text(j, "content");
    if (!content || (text != NULL) == (regex != NULL) || (text ? text : regex)[0] == '\0')
        return tfm_hf_refuse(err, l->stage, j);
    return tfm_hf_steps_add(l, text ? "replace" : "replace-regex", text ? text : regex, content,
                            err);
}

/* "strip_accents": null means as lowercase says. */
static tfm_status bert(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    bool lowercase = tfm_json_bool(j, "lowercase", true);
    const char *letters;
    char text[8];
    snprintf(text, sizeof text, "%s%s%s%s", tfm_json_bool(j, "clean_text", true) ? "c" : "",
             tfm_json_bool(j, "handle_chinese_chars", true) ? "j" : "",
             tfm_json_bool(j, "strip_accents", lowercase) ? "a" : "", lowercase ? "l" : "");
    if (text[0] == '\0') return TFM_OK;
    TFM_TRY(tfm_arena_strndup(l->d->arena, &letters, text, strlen(text), err));
    return tfm_hf_steps_add(l, "bert", letters, NULL, err);
}

static tfm_status normalizer(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    static const char *const plain[][2] = {{"NFC", "nfc"},
                                           {"NFD", "nfd"},
                                           {"NFKC", "nfkc"},
                                           {"NFKD", "nfkd"},
                                           {"Nmt", "nmt"},
                                           {"Lowercase", "lowercase"},
                                           {"StripAccents", "strip-accents"}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (tfm_hf_is_type(j, plain[i][0]))
            return tfm_hf_steps_add(l, plain[i][1], NULL, NULL, err);
    if (tfm_hf_is_type(j, "Precompiled")) return precompiled(l, j, err);
    if (tfm_hf_is_type(j, "Replace")) return replace(l, j, err);
    if (tfm_hf_is_type(j, "Strip")) {
        const json_t *left = json_object_get(j, "strip_left"),
                     *right = json_object_get(j, "strip_right");
        if (!json_is_boolean(left) || !json_is_boolean(right))
            return tfm_hf_refuse(err, "normalizer", j);
        if (json_is_true(left)) TFM_TRY(tfm_hf_steps_add(l, "strip-left", NULL, NULL, err));
        return json_is_true(right) ? tfm_hf_steps_add(l, "strip-right", NULL, NULL, err) : TFM_OK;
    }
    if (tfm_hf_is_type(j, "BertNormalizer")) return bert(l, j, err);
    if (tfm_hf_is_type(j, "ByteLevel")) return tfm_hf_steps_add(l, "bytes", NULL, NULL, err);
    if (tfm_hf_is_type(j, "Prepend")) {
        const char *text = tfm_hf_plain_text(j, "prepend");
        if (!text) return tfm_hf_refuse(err, "normalizer", j);
        return text[0] ? tfm_hf_steps_add(l, "prepend", text, NULL, err) : TFM_OK;
    }
    return tfm_hf_refuse(err, "normalizer", j);
}

tfm_status tfm_hf_normalizer_steps(tfm_draft *d, const json_t *j, tfm_error *err) {
    tfm_hf_steps l;
    TFM_TRY(tfm_hf_steps_new(&l, d, "normalizer", "normalizers", err));
    TFM_TRY(tfm_hf_steps_walk(&l, j, normalizer, err));
    if (l.n == 0) return TFM_OK;
    d->src.normaliser = "steps";
    d->src.step = l.step;
    d->src.n_steps = l.n;
    return TFM_OK;
}

/* ---- decoder ---- */

static tfm_status add_number(tfm_hf_steps *l, const char *kind, const char *content, json_int_t n,
                             tfm_error *err) {
    const char *number;
    char text[24];
    snprintf(text, sizeof text, "%d", (int)n);
    TFM_TRY(tfm_arena_strndup(l->d->arena, &number, text, strlen(text), err));
    return tfm_hf_steps_add(l, kind, content, number, err);
}

static tfm_status strip(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const char *content = tfm_hf_plain_text(j, "content");
    json_int_t start = json_integer_value(json_object_get(j, "start")),
               stop = json_integer_value(json_object_get(j, "stop"));
    if (!content || !content[0] || start < 0 || start > 1000 || stop < 0 || stop > 1000)
        return tfm_hf_refuse(err, "decoder", j);
    if (start > 0 || stop == 0) TFM_TRY(add_number(l, "strip", content, start, err));
    return stop > 0 ? add_number(l, "strip-end", content, stop, err) : TFM_OK;
}

static tfm_status word_pieces(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const char *prefix = tfm_hf_plain_text(j, "prefix");
    if (!prefix) return tfm_hf_refuse(err, "decoder", j);
    if (prefix[0]) TFM_TRY(tfm_hf_steps_add(l, "words", prefix, NULL, err));
    return tfm_json_bool(j, "cleanup", true)
               ? tfm_hf_steps_add(l, "clean-up-spaces", NULL, NULL, err)
               : TFM_OK;
}

static tfm_status ctc(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const char *pad = tfm_hf_plain_text(j, "pad_token"),
               *space = tfm_hf_plain_text(j, "word_delimiter_token");
    if (!pad || !pad[0] || !space || !space[0] || tfm_hf_steps_has(l, "distinct"))
        return tfm_hf_refuse(err, "decoder", j);
    TFM_TRY(tfm_hf_steps_add(l, "distinct", NULL, NULL, err));
    TFM_TRY(tfm_hf_steps_add(l, "replace", pad, "", err));
    if (tfm_json_bool(j, "cleanup", true)) {
        TFM_TRY(tfm_hf_steps_add(l, "clean-up-spaces", NULL, NULL, err));
        TFM_TRY(tfm_hf_steps_add(l, "replace", space, " ", err));
    }
    return tfm_hf_steps_add(l, "some", NULL, NULL, err);
}

/* Older files say add_prefix_space, newer ones prepend_scheme. */
static tfm_status metaspace(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const char *replacement = tfm_hf_plain_text(j, "replacement"),
               *scheme = tfm_hf_plain_text(j, "prepend_scheme");
    bool first = scheme ? strcmp(scheme, "never") != 0 : tfm_json_bool(j, "add_prefix_space", true);
    if (!replacement || !replacement[0]) return tfm_hf_refuse(err, "decoder", j);
    return tfm_hf_steps_add(l, "meta", replacement, first ? "first" : "", err);
}

/* The suffix stands at the end of pieces only: elsewhere it could not be known in time whether the
 * piece is the last. */
static tfm_status suffix(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    const char *text = tfm_hf_plain_text(j, "suffix");
    size_t n = text ? strlen(text) : 0;
    if (n == 0) return tfm_hf_refuse(err, "decoder", j);
    for (uint32_t i = 0; i < l->d->src.n; i++) {
        const char *piece = l->d->piece[i];
        size_t len = l->d->piece_len[i];
        const char *at = len > 0 ? memmem(piece, len, text, n) : NULL;
        if (at && at != piece + len - n)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "decoder BPEDecoder: piece %u has its suffix, but not at the end", i);
    }
    return tfm_hf_steps_add(l, "suffix", text, NULL, err);
}

static tfm_status decoder(tfm_hf_steps *l, const json_t *j, tfm_error *err) {
    /* The whole text, or bytes that were joined, are not seen piece by piece. */
    bool fused = tfm_hf_steps_has(l, "fuse") || tfm_hf_steps_has(l, "bytes");
    bool late = fused || tfm_hf_steps_has(l, "byte-fallback") || tfm_hf_steps_has(l, "suffix");
    if (tfm_hf_is_type(j, "Fuse")) return tfm_hf_steps_add(l, "fuse", NULL, NULL, err);
    if (tfm_hf_is_type(j, "Strip") && !tfm_hf_steps_has(l, "suffix") &&
        !tfm_hf_steps_has(l, "strip-end") && (!late || fused))
        return strip(l, j, err);
    if (late) return tfm_hf_refuse(err, "decoder", j);
    if (tfm_hf_is_type(j, "ByteFallback"))
        return tfm_hf_steps_add(l, "byte-fallback", NULL, NULL, err);
    if (tfm_hf_is_type(j, "Metaspace")) return metaspace(l, j, err);
    if (tfm_hf_is_type(j, "BPEDecoder") && l->n == 0) return suffix(l, j, err);
    if (tfm_hf_is_type(j, "ByteLevel") && l->d->exact)
        return tfm_hf_steps_add(l, "bytes", NULL, NULL, err);
    if (tfm_hf_is_type(j, "WordPiece") && l->d->exact) return word_pieces(l, j, err);
    if (tfm_hf_is_type(j, "CTC") && l->d->exact) return ctc(l, j, err);
    if (tfm_hf_is_type(j, "Replace")) return replace(l, j, err);
    return tfm_hf_refuse(err, "decoder", j);
}

tfm_status tfm_hf_decoder_steps(tfm_draft *d, const json_t *j, tfm_error *err) {
    tfm_hf_steps l;
    bool is_none = !j || json_is_null(j);
    if (is_none && !d->exact)
        return tfm_fail(err, TFM_UNSUPPORTED, "no decoder: tokens would be joined by spaces");
    TFM_TRY(tfm_hf_steps_new(&l, d, "decoder", "decoders", err));
    TFM_TRY(is_none ? tfm_hf_steps_add(&l, "spaces", NULL, NULL, err)
                    : tfm_hf_steps_walk(&l, j, decoder, err));
    if (l.n == 0 && d->exact) TFM_TRY(tfm_hf_steps_add(&l, "fuse", NULL, NULL, err));
    if (l.n == 0) return tfm_hf_refuse(err, "decoder", j);
    d->src.decoder = l.step;
    d->src.n_decoder = l.n;
    return TFM_OK;
}
