/* step_list.c - the lists of steps that a vocabulary may have: of its normaliser (norm_steps.c), of
 * its splitter (split_steps.c) and of its decoder (decode.c). A step is a kind and up to two texts;
 * what kinds there are, and what texts each needs, stands here, for the settings and for the
 * readers of foreign files. */
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
    [TFM_STEP_BERT] = {"bert", 1},
    [TFM_STEP_BYTES] = {"bytes", 0},
};

static const kind split_kinds[TFM_SPLIT_KINDS] = {
    [TFM_SPLIT_WHOLE] = {"whole", 0},     [TFM_SPLIT_SPACES] = {"spaces", 0},
    [TFM_SPLIT_WORDS] = {"words", 0},     [TFM_SPLIT_PUNCTUATION] = {"punctuation", 1},
    [TFM_SPLIT_DIGITS] = {"digits", 1},   [TFM_SPLIT_TEXT] = {"text", 2},
    [TFM_SPLIT_REGEX] = {"regex", 2},     [TFM_SPLIT_REPLACE] = {"replace", 2},
    [TFM_SPLIT_PREFIX] = {"prefix", 2},   [TFM_SPLIT_BYTES] = {"bytes", 0},
    [TFM_SPLIT_SCRIPTS] = {"scripts", 0},
};

static const kind decode_kinds[TFM_DECODE_KINDS] = {
    [TFM_DECODE_REPLACE] = {"replace", 2},
    [TFM_DECODE_META] = {"meta", 2},
    [TFM_DECODE_BYTE_FALLBACK] = {"byte-fallback", 0},
    [TFM_DECODE_SUFFIX] = {"suffix", 1},
    [TFM_DECODE_STRIP] = {"strip", 2},
    [TFM_DECODE_FUSE] = {"fuse", 0},
    [TFM_DECODE_STRIP_END] = {"strip-end", 2},
    [TFM_DECODE_BYTES] = {"bytes", 0},
    [TFM_DECODE_WORDS] = {"words", 1},
    [TFM_DECODE_SPACES] = {"spaces", 0},
    [TFM_DECODE_CLEAN] = {"clean-up-spaces", 0},
    [TFM_DECODE_DISTINCT] = {"distinct", 0},
    [TFM_DECODE_SOME] = {"some", 0},
    [TFM_DECODE_REPLACE_REGEX] = {"replace-regex", 2},
};

static const struct {
    const char *what;
    const kind *kinds;
    unsigned n;
} lists[TFM_LIST_KINDS] = {
    [TFM_LIST_NORM] = {"normaliser", norm_kinds, TFM_STEP_KINDS},
    [TFM_LIST_DECODE] = {"decoder", decode_kinds, TFM_DECODE_KINDS},
    [TFM_LIST_SPLIT] = {"splitter", split_kinds, TFM_SPLIT_KINDS},
};

const char *tfm_step_name(tfm_list list, unsigned k) {
    return lists[list].kinds[k].name;
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

/* "isolated", or "not-isolated" where what does not match is what is split at. */
static tfm_status read_behaviour(tfm_step *s, const char *name, tfm_error *err) {
    static const char *const names[TFM_SPLIT_BEHAVIOURS] = {
        [TFM_SPLIT_REMOVED] = "removed",
        [TFM_SPLIT_ISOLATED] = "isolated",
        [TFM_SPLIT_CONTIGUOUS] = "contiguous",
        [TFM_SPLIT_PREVIOUS] = "previous",
        [TFM_SPLIT_NEXT] = "next",
    };
    const char *rest = name;
    s->inverse = strncmp(name, "not-", 4) == 0;
    if (s->inverse) rest += 4;
    for (unsigned i = 0; i < TFM_SPLIT_BEHAVIOURS; i++)
        if (strcmp(rest, names[i]) == 0) {
            s->behaviour = (tfm_behaviour)i;
            return TFM_OK;
        }
    return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary: splitting as \"%.40s\" is not known", name);
}

static bool is_one_of(const char *s, const char *a, const char *b) {
    return strcmp(s, a) == 0 || strcmp(s, b) == 0;
}

/* What the texts of some kinds have to say. */
static tfm_status read_texts(tfm_step *s, tfm_list list, const char *a, const char *b,
                             tfm_error *err) {
    int64_t number = 0;
    if (list == TFM_LIST_SPLIT) {
        if (s->kind == TFM_SPLIT_PUNCTUATION || s->kind == TFM_SPLIT_DIGITS)
            return read_behaviour(s, a, err);
        if (s->kind == TFM_SPLIT_TEXT || s->kind == TFM_SPLIT_REGEX)
            return read_behaviour(s, b, err);
        if (s->kind == TFM_SPLIT_PREFIX && !is_one_of(b, "always", "first"))
            return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary: a prefix \"%.40s\" is not known", b);
    }
    if (list == TFM_LIST_NORM && s->kind == TFM_STEP_BERT && strspn(a, "cjal") != strlen(a))
        return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary: step \"bert\" as \"%.40s\" is not known",
                        a);
    if (list == TFM_LIST_DECODE &&
        (s->kind == TFM_DECODE_STRIP || s->kind == TFM_DECODE_STRIP_END) &&
        !tfm_parse_i64(b, 0, INT32_MAX, &number))
        return tfm_fail(err, TFM_FORMAT, "vocabulary: step \"%s\" of the decoder wants a number",
                        tfm_step_name(list, s->kind));
    s->number = (uint64_t)number;
    return TFM_OK;
}

tfm_status tfm_steps_add(tfm_steps *l, tfm_list list, const char *name, const char *a,
                         const char *b, tfm_error *err) {
    const kind *kinds = lists[list].kinds;
    const unsigned n_kinds = lists[list].n;
    const unsigned n_texts = a == NULL ? 0 : b == NULL ? 1 : 2;
    const char *what = lists[list].what;
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
    TFM_TRY(read_texts(s, list, a, b, err));
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
