/* tokenizer_names.c - share/tokenizers.yaml: the names that files give to their vocabulary and to
 * their way of splitting text, instead of saying what these are.
 *
 * Owns reading the file and looking names up. All of it is read when it is opened, so that a
 * mistake is found by the first who needs any of it; only the tokens of an encoding stay a tree,
 * which tiktoken.c goes through. */
#include "model/tokenizer_names_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    MAX_PATH = 4096,
    MAX_PATTERNS = 16 /* of one way; the most in use are 6 */
};

struct tfm_tokenizer_names {
    tfm_arena *arena;
    const tfm_yaml *doc;
    const tfm_yaml *patterns; /* NULL: none */
    const char **pattern;     /* [patterns->n] their texts, NULL until one is used */
    tfm_split *split;         /* [n_splits] */
    size_t n_splits;
    tfm_gguf_kind *kind; /* [n_kinds] */
    size_t n_kinds;
    tfm_encoding *encoding; /* [n_encodings] */
    size_t n_encodings;
};

/* ---- values ---- */

static tfm_status take_text(const tfm_yaml *y, const char **out, tfm_error *err) {
    *out = y->text;
    if (y->kind == TFM_YAML_SCALAR && y->len > 0) return TFM_OK;
    return tfm_yaml_fail(y, err, TFM_FORMAT, "expected a text");
}

/* A section of this kind; *n entries, none if it is absent. */
static tfm_status section(const tfm_tokenizer_names *t, const char *key, tfm_yaml_kind kind,
                          const tfm_yaml **out, size_t *n, tfm_error *err) {
    const tfm_yaml *y = tfm_yaml_get(t->doc, key);
    *out = y;
    *n = y ? y->n : 0;
    if (y && y->kind != kind)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "%s is no %s", key,
                             kind == TFM_YAML_LIST ? "list" : "mapping");
    return TFM_OK;
}

static tfm_status check_words(const tfm_yaml *list, tfm_error *err) {
    const char *word;
    if (list->kind != TFM_YAML_LIST || list->n == 0)
        return tfm_yaml_fail(list, err, TFM_FORMAT, "expected a list of names");
    for (size_t i = 0; i < list->n; i++) TFM_TRY(take_text(list->entry[i].value, &word, err));
    return TFM_OK;
}

static tfm_status take_names(const tfm_yaml *map, const tfm_yaml **out, tfm_error *err) {
    *out = tfm_yaml_get(map, "names");
    if (*out == NULL) return tfm_yaml_fail(map, err, TFM_FORMAT, "no names");
    return check_words(*out, err);
}

static bool has_name(const tfm_yaml *list, const char *name, size_t n) {
    for (size_t i = 0; list && i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value;
        if (y->len == n && memcmp(y->text, name, n) == 0) return true;
    }
    return false;
}

static tfm_status new_array(tfm_tokenizer_names *t, size_t n, size_t size, void **out,
                            tfm_error *err) {
    size_t bytes;
    if (!tfm_mul_size(n, size, &bytes)) return tfm_fail(err, TFM_LIMIT, "too many names");
    return tfm_arena_alloc(t->arena, out, bytes, err);
}

/* ---- ways of splitting ---- */

/* The alternatives of a list, joined by "|". */
static tfm_status join(tfm_tokenizer_names *t, const tfm_yaml *list, const char **out,
                       tfm_error *err) {
    tfm_buf b = {0};
    const char *text;
    tfm_status st = list->n ? TFM_OK : tfm_yaml_fail(list, err, TFM_FORMAT, "an empty pattern");
    for (size_t i = 0; i < list->n && st == TFM_OK; i++) {
        st = take_text(list->entry[i].value, &text, err);
        if (st == TFM_OK && i > 0) st = tfm_buf_byte(&b, '|', err);
        if (st == TFM_OK) st = tfm_buf_str(&b, text, err);
    }
    if (st == TFM_OK) st = tfm_arena_strndup(t->arena, out, b.data, b.len, err);
    tfm_buf_free(&b);
    return st;
}

/* A text, or a list of alternatives. */
static tfm_status take_plain(tfm_tokenizer_names *t, const tfm_yaml *y, const char **out,
                             tfm_error *err) {
    return y->kind == TFM_YAML_LIST ? join(t, y, out, err) : take_text(y, out, err);
}

/* The pattern that y uses. It is put together once, however often it is used. */
static tfm_status named_pattern(tfm_tokenizer_names *t, const tfm_yaml *y, const char *name,
                                const char **out, tfm_error *err) {
    for (size_t i = 0; t->patterns && i < t->patterns->n; i++) {
        const tfm_yaml_entry *e = &t->patterns->entry[i];
        if (strcmp(e->key, name) != 0 || e->value->kind == TFM_YAML_MAP) continue;
        if (t->pattern[i] == NULL) TFM_TRY(take_plain(t, e->value, &t->pattern[i], err));
        *out = t->pattern[i];
        return TFM_OK;
    }
    return tfm_yaml_fail(y, err, TFM_FORMAT, "patterns has no pattern '%.60s'", name);
}

/* The same, or {use: NAME}. */
static tfm_status take_pattern(tfm_tokenizer_names *t, const tfm_yaml *y, const char **out,
                               tfm_error *err) {
    static const char *const known[] = {"use", NULL};
    const char *name;
    if (y->kind != TFM_YAML_MAP) return take_plain(t, y, out, err);
    TFM_TRY(tfm_yaml_keys(y, known, err));
    if (y->n == 0) return tfm_yaml_fail(y, err, TFM_FORMAT, "use is missing");
    TFM_TRY(take_text(y->entry[0].value, &name, err));
    return named_pattern(t, y, name, out, err);
}

static tfm_status take_patterns(tfm_tokenizer_names *t, const tfm_yaml *list, tfm_split *out,
                                tfm_error *err) {
    void *p;
    if (list->kind != TFM_YAML_LIST || list->n == 0 || list->n > MAX_PATTERNS)
        return tfm_yaml_fail(list, err, TFM_FORMAT, "split is no list of 1 to %d patterns",
                             MAX_PATTERNS);
    TFM_TRY(new_array(t, list->n, sizeof *out->pattern, &p, err));
    out->pattern = p;
    for (size_t i = 0; i < list->n; i++)
        TFM_TRY(take_pattern(t, list->entry[i].value, &out->pattern[i], err));
    out->n_patterns = (uint32_t)list->n;
    return TFM_OK;
}

static tfm_status take_normaliser(const tfm_yaml *y, const char **out, tfm_error *err) {
    static const char *const forms[] = {"none", "nfc", "nfd", "nfkc", "nfkd"};
    *out = "none";
    for (size_t i = 0; y && y->kind == TFM_YAML_SCALAR && i < sizeof forms / sizeof *forms; i++)
        if (strcmp(y->text, forms[i]) == 0) {
            *out = forms[i];
            return TFM_OK;
        }
    if (y == NULL) return TFM_OK;
    return tfm_yaml_fail(y, err, TFM_FORMAT, "normaliser is none of none, nfc, nfd, nfkc, nfkd");
}

static tfm_status take_splits(tfm_tokenizer_names *t, tfm_error *err) {
    static const char *const known[] = {
        "names", "normaliser", "ignore_merges", "add_bos", "characters", "split", NULL};
    const tfm_yaml *list;
    size_t n;
    void *p;
    TFM_TRY(section(t, "patterns", TFM_YAML_MAP, &t->patterns, &n, err));
    TFM_TRY(new_array(t, n, sizeof *t->pattern, &p, err));
    t->pattern = p;
    TFM_TRY(section(t, "splits", TFM_YAML_LIST, &list, &t->n_splits, err));
    TFM_TRY(new_array(t, t->n_splits, sizeof *t->split, &p, err));
    t->split = p;
    for (size_t i = 0; i < t->n_splits; i++) {
        const tfm_yaml *y = list->entry[i].value;
        tfm_split *s = &t->split[i];
        TFM_TRY(tfm_yaml_keys(y, known, err));
        TFM_TRY(take_names(y, &s->names, err));
        TFM_TRY(take_normaliser(tfm_yaml_get(y, "normaliser"), &s->normaliser, err));
        TFM_TRY(tfm_yaml_bool(y, "ignore_merges", &s->ignore_merges, err));
        TFM_TRY(tfm_yaml_bool(y, "add_bos", &s->add_bos, err));
        TFM_TRY(tfm_yaml_bool(y, "characters", &s->characters, err));
        if (!tfm_yaml_get(y, "split")) return tfm_yaml_fail(y, err, TFM_FORMAT, "no split");
        TFM_TRY(take_patterns(t, tfm_yaml_get(y, "split"), s, err));
    }
    return TFM_OK;
}

static const tfm_split *find_split(const tfm_tokenizer_names *t, const char *name) {
    for (size_t i = 0; i < t->n_splits; i++)
        if (has_name(t->split[i].names, name, strlen(name))) return &t->split[i];
    return NULL;
}

/* The way that y names. */
static tfm_status named_split(const tfm_tokenizer_names *t, const tfm_yaml *y, const char *name,
                              const tfm_split **out, tfm_error *err) {
    *out = find_split(t, name);
    return *out ? TFM_OK : tfm_yaml_fail(y, err, TFM_FORMAT, "splits has no name '%.60s'", name);
}

/* ---- GGUF ---- */

static tfm_status take_type(const tfm_yaml *y, tfm_vocab_type *out, tfm_error *err) {
    static const struct {
        const char *name;
        tfm_vocab_type type;
    } known[] = {{"spm", TFM_VOCAB_SPM},
                 {"bpe", TFM_VOCAB_BPE},
                 {"unigram", TFM_VOCAB_UNIGRAM},
                 {"wordpiece", TFM_VOCAB_WORDPIECE}};
    const tfm_yaml *type = tfm_yaml_get(y, "type");
    for (size_t i = 0; type && i < sizeof known / sizeof *known; i++)
        if (type->kind == TFM_YAML_SCALAR && strcmp(type->text, known[i].name) == 0) {
            *out = known[i].type;
            return TFM_OK;
        }
    return tfm_yaml_fail(type ? type : y, err, TFM_FORMAT,
                         "type is none of spm, bpe, unigram, wordpiece");
}

static tfm_status take_kind(const tfm_yaml *y, tfm_gguf_kind *k, tfm_error *err) {
    static const char *const known[] = {
        "type", "bos", "eos", "unk", "pad", "add_bos", "add_eos", "add_space_prefix", NULL};
    int32_t *const id[] = {&k->bos, &k->eos, &k->unk, &k->pad};
    TFM_TRY(tfm_yaml_keys(y, known, err));
    TFM_TRY(take_type(y, &k->type, err));
    for (size_t i = 0; i < sizeof id / sizeof *id; i++) {
        int64_t v = -1;
        TFM_TRY(tfm_yaml_number(y, known[1 + i], 0, TFM_SOURCE_MAX_VOCAB, &v, err));
        *id[i] = (int32_t)v;
    }
    TFM_TRY(tfm_yaml_bool(y, "add_bos", &k->add_bos, err));
    TFM_TRY(tfm_yaml_bool(y, "add_eos", &k->add_eos, err));
    return tfm_yaml_bool(y, "add_space_prefix", &k->add_space_prefix, err);
}

static tfm_status take_kinds(tfm_tokenizer_names *t, tfm_error *err) {
    const tfm_yaml *map;
    void *p;
    TFM_TRY(section(t, "gguf", TFM_YAML_MAP, &map, &t->n_kinds, err));
    TFM_TRY(new_array(t, t->n_kinds, sizeof *t->kind, &p, err));
    t->kind = p;
    for (size_t i = 0; i < t->n_kinds; i++) {
        t->kind[i].name = map->entry[i].key;
        TFM_TRY(take_kind(map->entry[i].value, &t->kind[i], err));
    }
    return TFM_OK;
}

/* ---- lists of classes ---- */

static tfm_status check_classes(const tfm_tokenizer_names *t, tfm_error *err) {
    const tfm_yaml *merges, *wordpiece;
    const tfm_split *split;
    size_t n, n_wordpiece;
    TFM_TRY(section(t, "merges", TFM_YAML_MAP, &merges, &n, err));
    TFM_TRY(section(t, "wordpiece", TFM_YAML_LIST, &wordpiece, &n_wordpiece, err));
    for (size_t i = 0; i < n; i++) {
        const tfm_yaml *y = merges->entry[i].value;
        TFM_TRY(named_split(t, y, merges->entry[i].key, &split, err));
        TFM_TRY(check_words(y, err));
    }
    return wordpiece ? check_words(wordpiece, err) : TFM_OK;
}

/* Is the class in the list? A name that ends in * stands for all that begin so, "none" for none. */
static bool has_class(const tfm_yaml *list, const char *kind) {
    if (kind == NULL) return has_name(list, "none", 4);
    for (size_t i = 0; list && i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value;
        const bool is_prefix = y->text[y->len - 1] == '*';
        if (is_prefix ? strncmp(kind, y->text, y->len - 1) == 0 : strcmp(kind, y->text) == 0)
            return true;
    }
    return false;
}

/* ---- tiktoken ---- */

static tfm_status check_kind(const tfm_yaml *y, tfm_yaml_kind kind, const char *what,
                             tfm_error *err) {
    if (y == NULL || y->kind == kind) return TFM_OK;
    return tfm_yaml_fail(y, err, TFM_FORMAT, "%s", what);
}

static tfm_status take_encoding(tfm_tokenizer_names *t, const tfm_yaml *y, tfm_encoding *e,
                                tfm_error *err) {
    static const char *const known[] = {"names", "vocab_size", "split", "tokens",
                                        "next",  "reserved",   NULL};
    const tfm_yaml *split = tfm_yaml_get(y, "split");
    void *p;
    TFM_TRY(tfm_yaml_keys(y, known, err));
    TFM_TRY(take_names(y, &e->names, err));
    TFM_TRY(tfm_yaml_number(y, "vocab_size", 1, TFM_SOURCE_MAX_VOCAB, &e->vocab_size, err));
    e->tokens = tfm_yaml_get(y, "tokens");
    e->next = tfm_yaml_get(y, "next");
    e->reserved = tfm_yaml_get(y, "reserved");
    TFM_TRY(check_kind(e->tokens, TFM_YAML_MAP, "tokens is no mapping of texts to ids", err));
    TFM_TRY(check_kind(e->next, TFM_YAML_LIST, "next is no list", err));
    TFM_TRY(check_kind(e->reserved, TFM_YAML_MAP, "reserved is no mapping", err));
    if (split == NULL) return tfm_yaml_fail(y, err, TFM_FORMAT, "no split");
    if (split->kind == TFM_YAML_SCALAR) return named_split(t, split, split->text, &e->split, err);
    TFM_TRY(new_array(t, 1, sizeof *e->split, &p, err));
    ((tfm_split *)p)->normaliser = "none";
    e->split = p;
    return take_patterns(t, split, p, err);
}

static tfm_status take_encodings(tfm_tokenizer_names *t, tfm_error *err) {
    const tfm_yaml *list, *words;
    const char *text;
    size_t n_words;
    void *p;
    TFM_TRY(section(t, "words", TFM_YAML_MAP, &words, &n_words, err));
    for (size_t i = 0; i < n_words; i++) TFM_TRY(take_text(words->entry[i].value, &text, err));
    TFM_TRY(section(t, "tiktoken", TFM_YAML_LIST, &list, &t->n_encodings, err));
    TFM_TRY(new_array(t, t->n_encodings, sizeof *t->encoding, &p, err));
    t->encoding = p;
    for (size_t i = 0; i < t->n_encodings; i++)
        TFM_TRY(take_encoding(t, list->entry[i].value, &t->encoding[i], err));
    return TFM_OK;
}

/* ---- opening ---- */

static tfm_status read_all(tfm_tokenizer_names *t, const char *share_dir, tfm_error *err) {
    static const char *const known[] = {"patterns",  "splits", "gguf",     "merges",
                                        "wordpiece", "words",  "tiktoken", NULL};
    char path[MAX_PATH];
    if (share_dir == NULL)
        return tfm_fail(err, TFM_USAGE,
                        "the names of this vocabulary stand in tokenizers.yaml, whose folder must "
                        "be given (share_dir)");
    if (snprintf(path, sizeof path, "%s/tokenizers.yaml", share_dir) >= (int)sizeof path)
        return tfm_fail(err, TFM_LIMIT, "path '%.80s...' is too long", share_dir);
    TFM_TRY(tfm_yaml_file(&t->doc, t->arena, path, err));
    TFM_TRY(tfm_yaml_keys(t->doc, known, err));
    TFM_TRY(take_splits(t, err));
    TFM_TRY(take_kinds(t, err));
    TFM_TRY(check_classes(t, err));
    return take_encodings(t, err);
}

tfm_status tfm_tokenizer_names_open(tfm_tokenizer_names **out, const char *share_dir,
                                    tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_tokenizer_names), err));
    tfm_tokenizer_names *t = p;
    tfm_status st = tfm_arena_new(&t->arena, err);
    if (st == TFM_OK) st = read_all(t, share_dir, err);
    if (st == TFM_OK)
        *out = t;
    else
        tfm_tokenizer_names_free(t);
    return st;
}

void tfm_tokenizer_names_free(tfm_tokenizer_names *t) {
    if (t == NULL) return;
    tfm_arena_free(t->arena);
    tfm_free(t);
}

/* ---- looking up ---- */

void tfm_split_apply(const tfm_split *split, tfm_vocab_source *src) {
    src->byte_level = !split->characters;
    src->space_to_meta = split->characters;
    src->ignore_merges = split->ignore_merges;
    if (split->add_bos) src->add_bos = true;
    src->normaliser = split->normaliser;
    src->pattern = split->pattern;
    src->n_patterns = split->n_patterns;
}

const tfm_split *tfm_tokenizer_names_split_at(const tfm_tokenizer_names *t, size_t i) {
    return i < t->n_splits ? &t->split[i] : NULL;
}

const tfm_gguf_kind *tfm_tokenizer_names_gguf_kind(const tfm_tokenizer_names *t, const char *name,
                                                   size_t n) {
    for (size_t i = 0; i < t->n_kinds; i++)
        if (strlen(t->kind[i].name) == n && memcmp(t->kind[i].name, name, n) == 0)
            return &t->kind[i];
    return NULL;
}

const tfm_gguf_kind *tfm_tokenizer_names_gguf_of_type(const tfm_tokenizer_names *t,
                                                      tfm_vocab_type type) {
    for (size_t i = 0; i < t->n_kinds; i++)
        if (t->kind[i].type == type) return &t->kind[i];
    return NULL;
}

const tfm_split *tfm_tokenizer_names_merges_split(const tfm_tokenizer_names *t, const char *kind) {
    const tfm_yaml *map = tfm_yaml_get(t->doc, "merges");
    for (size_t i = 0; map && i < map->n; i++)
        if (has_class(map->entry[i].value, kind)) return find_split(t, map->entry[i].key);
    return NULL;
}

bool tfm_tokenizer_names_is_wordpiece(const tfm_tokenizer_names *t, const char *kind) {
    return has_class(tfm_yaml_get(t->doc, "wordpiece"), kind);
}

const tfm_encoding *tfm_tokenizer_names_encoding(const tfm_tokenizer_names *t, const char *name,
                                                 size_t n, int64_t vocab_size) {
    for (size_t i = 0; i < t->n_encodings; i++) {
        const tfm_encoding *e = &t->encoding[i];
        if (has_name(e->names, name, n) && (e->vocab_size == 0 || e->vocab_size == vocab_size))
            return e;
    }
    return NULL;
}

const char *tfm_tokenizer_names_words(const tfm_tokenizer_names *t, const char *name) {
    const tfm_yaml *y = tfm_yaml_get(tfm_yaml_get(t->doc, "words"), name);
    return y ? y->text : NULL;
}

/* ---- messages ---- */

/* Appends a name that does not stand in the list yet: ", name". */
static void list_name(char *out, size_t size, size_t *len, const char *name) {
    const size_t n = strlen(name);
    for (const char *at = out; (at = strstr(at, name)) != NULL; at++)
        if ((at == out || at[-1] == ' ') && (at[n] == '\0' || at[n] == ',')) return;
    if (*len + n + 3 > size) return;
    *len += (size_t)snprintf(out + *len, size - *len, "%s%s", *len ? ", " : "", name);
}

void tfm_tokenizer_names_list_kinds(const tfm_tokenizer_names *t, char *out, size_t size) {
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->n_kinds; i++) list_name(out, size, &len, t->kind[i].name);
}

void tfm_tokenizer_names_list_encodings(const tfm_tokenizer_names *t, char *out, size_t size) {
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < t->n_encodings; i++)
        for (size_t k = 0; k < t->encoding[i].names->n; k++)
            list_name(out, size, &len, t->encoding[i].names->entry[k].value->text);
}

tfm_status tfm_tokenizer_names_split(const tfm_tokenizer_names *t, const char *name,
                                     tfm_vocab_source *src, tfm_error *err) {
    const tfm_split *split = find_split(t, name);
    char list[400];
    size_t len = 0;
    if (split) {
        tfm_split_apply(split, src);
        return TFM_OK;
    }
    list[0] = '\0';
    for (size_t i = 0; i < t->n_splits; i++)
        list_name(list, sizeof list, &len, t->split[i].names->entry[0].value->text);
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "pre-tokenizer \"%.60s\" is not known; known are, among others: %s", name,
                    list);
}
