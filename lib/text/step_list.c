/* step_list.c - the lists of steps that a vocabulary may have: of its normaliser (norm_steps.c) and
 * of its decoder (decode.c). A step is a kind and up to two texts; what kinds there are, and what
 * texts each needs, stands here, for the settings and for the readers of foreign files. */
#include "text/text_internal.h"

typedef struct kind {
    const char *name;
    unsigned n_texts;
} kind;

static const kind norm_kinds[TFM_STEP_KINDS] = {
    [TFM_STEP_NFC] = {"nfc", 0},
    [TFM_STEP_NFD] = {"nfd", 0},
    [TFM_STEP_NFKC] = {"nfkc", 0},
    [TFM_STEP_NFKD] = {"nfkd", 0},
    [TFM_STEP_LOWERCASE] = {"lowercase", 0},
    [TFM_STEP_STRIP_ACCENTS] = {"strip-accents", 0},
    [TFM_STEP_NMT] = {"nmt", 0},
    [TFM_STEP_CHARSMAP] = {"charsmap", 0},
    [TFM_STEP_STRIP_LEFT] = {"strip-left", 0},
    [TFM_STEP_STRIP_RIGHT] = {"strip-right", 0},
    [TFM_STEP_PREPEND] = {"prepend", 1},
    [TFM_STEP_REPLACE] = {"replace", 2},
    [TFM_STEP_REPLACE_REGEX] = {"replace-regex", 2},
};

static const kind decode_kinds[TFM_DECODE_KINDS] = {
    [TFM_DECODE_REPLACE] = {"replace", 2},
    [TFM_DECODE_META] = {"meta", 2},
    [TFM_DECODE_BYTE_FALLBACK] = {"byte-fallback", 0},
    [TFM_DECODE_SUFFIX] = {"suffix", 1},
    [TFM_DECODE_STRIP] = {"strip", 2},
    [TFM_DECODE_FUSE] = {"fuse", 0},
};

const char *tfm_step_name(bool is_decoder, unsigned k) {
    return is_decoder ? decode_kinds[k].name : norm_kinds[k].name;
}

static tfm_status copy_text(char **out, size_t *len, const char *s, tfm_error *err) {
    if (s == NULL) return TFM_OK;
    *len = strlen(s);
    if (*len > TFM_STEP_TEXT_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: a step has a text of over %d bytes",
                        TFM_STEP_TEXT_MAX);
    if (tfm_utf8_span((const unsigned char *)s, *len) != *len)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: a text of a step is not UTF-8");
    return tfm_strndup(out, s, *len, err);
}

tfm_status tfm_steps_add(tfm_steps *l, bool is_decoder, const char *name, const char *a,
                         const char *b, tfm_error *err) {
    const kind *kinds = is_decoder ? decode_kinds : norm_kinds;
    const unsigned n_kinds = is_decoder ? (unsigned)TFM_DECODE_KINDS : (unsigned)TFM_STEP_KINDS;
    const unsigned n_texts = a == NULL ? 0 : b == NULL ? 1 : 2;
    const char *what = is_decoder ? "decoder" : "normaliser";
    unsigned k = 0;
    while (k < n_kinds && strcmp(kinds[k].name, name) != 0) k++;
    if (k == n_kinds)
        return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary: step \"%.40s\" of the %s is not known",
                        name, what);
    if (n_texts != kinds[k].n_texts)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: step \"%s\" of the %s has %u texts, not %u",
                        name, what, n_texts, kinds[k].n_texts);
    if (n_texts > 0 && a[0] == '\0')
        return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary: step \"%s\" of the %s has an empty text",
                        name, what);
    if (l->n == TFM_STEPS_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: a %s of more than %d steps", what,
                        TFM_STEPS_MAX);
    tfm_step *s = &l->step[l->n];
    *s = (tfm_step){.kind = k};
    int64_t number = 0;
    if (is_decoder && k == TFM_DECODE_STRIP && !tfm_parse_i64(b, 0, INT32_MAX, &number))
        return tfm_fail(err, TFM_FORMAT,
                        "vocabulary: step \"strip\" of the decoder wants a number");
    s->number = (uint64_t)number;
    tfm_status st = copy_text(&s->a, &s->a_len, a, err);
    if (st == TFM_OK) st = copy_text(&s->b, &s->b_len, b, err);
    l->n++; /* whatever it has is freed with the list */
    return st;
}

void tfm_steps_clear(tfm_steps *l) {
    for (uint32_t i = 0; i < l->n; i++) {
        tfm_free(l->step[i].a);
        tfm_free(l->step[i].b);
    }
    l->n = 0;
}
