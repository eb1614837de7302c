/* settings.c - the settings of a vocabulary as YAML: the `tokenizer:` section of a model's
 * description (tfm-model(5)). One flat mapping of scalars and lists: `patterns`, the ids `Before`
 * and `After`, and the lists of lists `steps`, `Splitter` and `Decoder`. Unknown keys are passed
 * over, unless they begin with an upper-case letter: those change the ids or the text. Keys that
 * older versions did not have are written only where they say something, so that a vocabulary keeps
 * its id. */
#include <stdlib.h>
#include <yaml.h>

#include "text/text_internal.h"

static const char *const norm_names[] = {"none", "nfc", "nfkc", "nfd", "nfkd", "charsmap", "steps"};
static const char *const type_names[] = {"bytes",     "bpe",        "spm",  "unigram",
                                         "wordpiece", "characters", "words"};

bool tfm_norm_parse(const char *name, tfm_norm *out) {
    for (unsigned i = 0; i < sizeof norm_names / sizeof *norm_names; i++)
        if (strcmp(name, norm_names[i]) == 0) {
            *out = (tfm_norm)i;
            return true;
        }
    return false;
}

const char *tfm_norm_name(tfm_norm n) {
    return norm_names[n];
}

void tfm_vocab_settings_clear(tfm_vocab_settings *s) {
    for (uint32_t i = 0; i < s->n_patterns; i++) tfm_free(s->pattern[i]);
    tfm_steps_clear(&s->steps);
    tfm_steps_clear(&s->splitter);
    tfm_steps_clear(&s->decoder);
    memset(s, 0, sizeof *s);
}

/* ---- writing ---- */

/* A double-quoted YAML scalar in pure ASCII: what libyaml reads back is what went in. */
static tfm_status write_quoted(tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    TFM_TRY(tfm_buf_byte(b, '"', err));
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        bool ok;
        i += tfm_utf8_decode((const unsigned char *)s + i, n - i, &cp, &ok);
        if (!ok) return tfm_fail(err, TFM_FORMAT, "vocabulary: a pattern is not UTF-8");
        if (cp == '"' || cp == '\\')
            TFM_TRY(tfm_buf_printf(b, err, "\\%c", (int)cp));
        else if (cp >= 0x20 && cp < 0x7f)
            TFM_TRY(tfm_buf_byte(b, (unsigned char)cp, err));
        else if (cp < 0x10000)
            TFM_TRY(tfm_buf_printf(b, err, "\\u%04X", (unsigned)cp));
        else
            TFM_TRY(tfm_buf_printf(b, err, "\\U%08X", (unsigned)cp));
    }
    return tfm_buf_byte(b, '"', err);
}

static const char *yes(bool b) {
    return b ? "true" : "false";
}

static tfm_status write_ids(tfm_buf *b, const char *key, const tfm_around *a, tfm_error *err) {
    if (a->n == 0) return TFM_OK;
    TFM_TRY(tfm_buf_printf(b, err, "%s: [%d", key, (int)a->id[0]));
    for (uint32_t i = 1; i < a->n; i++) TFM_TRY(tfm_buf_printf(b, err, ", %d", (int)a->id[i]));
    return tfm_buf_str(b, "]\n", err);
}

static tfm_status write_steps(tfm_buf *b, const char *key, const tfm_steps *l, tfm_list list,
                              tfm_error *err) {
    if (l->n > 0) TFM_TRY(tfm_buf_printf(b, err, "%s:\n", key));
    for (uint32_t i = 0; i < l->n; i++) {
        const tfm_step *s = &l->step[i];
        TFM_TRY(tfm_buf_printf(b, err, "  - [%s", tfm_step_name(list, s->kind)));
        if (s->a) TFM_TRY(tfm_buf_str(b, ", ", err));
        if (s->a) TFM_TRY(write_quoted(b, s->a, s->a_len, err));
        if (s->b) TFM_TRY(tfm_buf_str(b, ", ", err));
        if (s->b) TFM_TRY(write_quoted(b, s->b, s->b_len, err));
        TFM_TRY(tfm_buf_str(b, "]\n", err));
    }
    return TFM_OK;
}

static tfm_status write_text(tfm_buf *b, const char *key, const char *s, tfm_error *err) {
    if (s[0] == '\0') return TFM_OK;
    TFM_TRY(tfm_buf_printf(b, err, "%s: ", key));
    TFM_TRY(write_quoted(b, s, strlen(s), err));
    return tfm_buf_byte(b, '\n', err);
}

static tfm_status write_wordpiece(tfm_buf *b, const tfm_vocab_settings *s, tfm_error *err) {
    TFM_TRY(tfm_buf_str(b, "inner-prefix: ", err));
    TFM_TRY(write_quoted(b, s->inner_prefix, strlen(s->inner_prefix), err));
    TFM_TRY(tfm_buf_printf(b, err, "\nmax-word: %u\nclean-text: %s\nsplit-cjk: %s\n", s->max_word,
                           yes(s->clean_text), yes(s->split_cjk)));
    return tfm_buf_printf(b, err, "strip-accents: %s\nlowercase: %s\nclean-up-spaces: %s\n",
                          yes(s->strip_accents), yes(s->lowercase), yes(s->clean_spaces));
}

tfm_status tfm_vocab_settings_write(tfm_buf *b, const tfm_vocab_settings *s, tfm_error *err) {
    TFM_TRY(tfm_buf_printf(b, err, "type: %s\n", type_names[s->type]));
    if (s->id[0] != '\0') TFM_TRY(tfm_buf_printf(b, err, "id: \"%s\"\n", s->id));
    TFM_TRY(tfm_buf_printf(b, err, "size: %u\nmax-piece: %u\n", s->n, s->max_piece));
    TFM_TRY(tfm_buf_printf(b, err, "bos: %d\neos: %d\nunk: %d\npad: %d\n", (int)s->bos, (int)s->eos,
                           (int)s->unk, (int)s->pad));
    TFM_TRY(tfm_buf_printf(b, err, "add-bos: %s\nadd-eos: %s\n", yes(s->add_bos), yes(s->add_eos)));
    TFM_TRY(tfm_buf_printf(
        b, err, "add-space-prefix: %s\nspace-to-meta: %s\nremove-extra-spaces: %s\n",
        yes(s->add_space_prefix), yes(s->space_to_meta), yes(s->remove_extra_spaces)));
    TFM_TRY(tfm_buf_printf(b, err, "normaliser: %s\nignore-merges: %s\nbyte-level: %s\n",
                           norm_names[s->norm], yes(s->ignore_merges), yes(s->byte_level)));
    TFM_TRY(tfm_buf_printf(b, err, "add-prefix-space: %s\n", yes(s->add_prefix_space)));
    if (s->n_source > 0) TFM_TRY(tfm_buf_printf(b, err, "Source-pieces: %u\n", s->n_source));
    if (s->split_spaces) TFM_TRY(tfm_buf_str(b, "Split-spaces: true\n", err));
    TFM_TRY(write_ids(b, "Before", &s->before, err));
    TFM_TRY(write_ids(b, "After", &s->after, err));
    TFM_TRY(write_steps(b, "steps", &s->steps, TFM_LIST_NORM, err));
    TFM_TRY(write_steps(b, "Splitter", &s->splitter, TFM_LIST_SPLIT, err));
    TFM_TRY(write_steps(b, "Decoder", &s->decoder, TFM_LIST_DECODE, err));
    TFM_TRY(write_text(b, "Word-suffix", s->word_suffix, err));
    TFM_TRY(write_text(b, "Word-prefix", s->word_prefix, err));
    if (s->fuse_unknown) TFM_TRY(tfm_buf_str(b, "Fuse-unknown: true\n", err));
    if (s->matching) TFM_TRY(tfm_buf_str(b, "Matching: true\n", err));
    if (s->type == TFM_VOCAB_WORDPIECE) TFM_TRY(write_wordpiece(b, s, err));
    if (s->n_patterns == 0) return TFM_OK;
    TFM_TRY(tfm_buf_str(b, "patterns:\n", err));
    for (uint32_t i = 0; i < s->n_patterns; i++) {
        TFM_TRY(tfm_buf_str(b, "  - ", err));
        TFM_TRY(write_quoted(b, s->pattern[i], s->pattern_len[i], err));
        TFM_TRY(tfm_buf_byte(b, '\n', err));
    }
    return TFM_OK;
}

/* ---- reading ---- */

static tfm_status bad_value(const char *key, const char *value, tfm_error *err) {
    return tfm_fail(err, TFM_FORMAT, "vocabulary settings: %s: bad value \"%s\"", key, value);
}

static tfm_status read_type(tfm_vocab_settings *s, const char *value, tfm_error *err) {
    for (unsigned i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (strcmp(value, type_names[i]) == 0) {
            s->type = (tfm_vocab_type)i;
            return TFM_OK;
        }
    return tfm_fail(
        err, TFM_UNSUPPORTED,
        "vocabulary settings: type \"%s\" is not known (known: bytes, bpe, spm, unigram, "
        "wordpiece, characters, words)",
        value);
}

static tfm_status read_id(tfm_vocab_settings *s, const char *value, tfm_error *err) {
    size_t n = strlen(value);
    if (n == 0 || n >= sizeof s->id || strspn(value, "0123456789abcdefghijklmnopqrstuvwxyz-") != n)
        return bad_value("id", value, err);
    memcpy(s->id, value, n + 1);
    return TFM_OK;
}

/* One scalar setting; keys that are not known are passed over. */
static tfm_status read_scalar(tfm_vocab_settings *s, const char *key, const char *value,
                              tfm_error *err) {
    const struct {
        const char *key;
        int32_t *id;
    } ids[] = {{"bos", &s->bos}, {"eos", &s->eos}, {"unk", &s->unk}, {"pad", &s->pad}};
    const struct {
        const char *key;
        bool *flag;
    } flags[] = {{"add-bos", &s->add_bos},
                 {"add-eos", &s->add_eos},
                 {"add-space-prefix", &s->add_space_prefix},
                 {"space-to-meta", &s->space_to_meta},
                 {"remove-extra-spaces", &s->remove_extra_spaces},
                 {"ignore-merges", &s->ignore_merges},
                 {"byte-level", &s->byte_level},
                 {"add-prefix-space", &s->add_prefix_space},
                 {"Split-spaces", &s->split_spaces},
                 {"Fuse-unknown", &s->fuse_unknown},
                 {"Matching", &s->matching},
                 {"clean-text", &s->clean_text},
                 {"split-cjk", &s->split_cjk},
                 {"strip-accents", &s->strip_accents},
                 {"lowercase", &s->lowercase},
                 {"clean-up-spaces", &s->clean_spaces}};
    const struct {
        const char *key;
        int64_t most;
        uint32_t *count;
    } counts[] = {{"size", TFM_VOCAB_MAX, &s->n},
                  {"max-piece", INT32_MAX, &s->max_piece},
                  {"max-word", INT32_MAX, &s->max_word},
                  {"Source-pieces", TFM_VOCAB_MAX, &s->n_source}};
    const struct {
        const char *key;
        size_t most;
        char *text;
    } texts[] = {{"inner-prefix", TFM_INNER_MAX, s->inner_prefix},
                 {"Word-suffix", TFM_AFFIX_MAX, s->word_suffix},
                 {"Word-prefix", TFM_AFFIX_MAX, s->word_prefix}};
    int64_t number;
    for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (strcmp(key, ids[i].key) != 0) continue;
        if (!tfm_parse_i64(value, -1, TFM_VOCAB_MAX, &number)) return bad_value(key, value, err);
        *ids[i].id = (int32_t)number;
        return TFM_OK;
    }
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(key, flags[i].key) != 0) continue;
        *flags[i].flag = strcmp(value, "true") == 0;
        return *flags[i].flag || strcmp(value, "false") == 0 ? TFM_OK : bad_value(key, value, err);
    }
    if (strcmp(key, "type") == 0) return read_type(s, value, err);
    if (strcmp(key, "id") == 0) return read_id(s, value, err);
    if (strcmp(key, "normaliser") == 0) {
        if (tfm_norm_parse(value, &s->norm)) return TFM_OK;
        return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary settings: normaliser \"%s\" is not known",
                        value);
    }
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        if (strcmp(key, counts[i].key) != 0) continue;
        if (!tfm_parse_i64(value, 0, counts[i].most, &number)) return bad_value(key, value, err);
        *counts[i].count = (uint32_t)number;
        return TFM_OK;
    }
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(key, texts[i].key) != 0) continue;
        if (strlen(value) > texts[i].most) return bad_value(key, value, err);
        strcpy(texts[i].text, value);
        return TFM_OK;
    }
    if (key[0] >= 'A' && key[0] <= 'Z')
        return tfm_fail(err, TFM_UNSUPPORTED, "vocabulary settings: this version does not know %s",
                        key);
    return TFM_OK;
}

static tfm_status add_pattern(tfm_vocab_settings *s, const char *p, size_t n, tfm_error *err) {
    if (s->n_patterns == TFM_PATTERNS_MAX || n > TFM_PATTERN_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary settings: more than %d patterns of %d bytes",
                        TFM_PATTERNS_MAX, TFM_PATTERN_MAX);
    TFM_TRY(tfm_strndup(&s->pattern[s->n_patterns], p, n, err));
    s->pattern_len[s->n_patterns++] = n;
    return TFM_OK;
}

enum { STEP_TEXTS = 3 }; /* kind, a, b */

/* Where the reader stands: in the top mapping (depth 1) between keys, at a value, or inside
 * something nested, of which only the lists named above are of interest. */
typedef struct walk {
    int depth;
    bool at_value;
    char key[64];
    char *text[STEP_TEXTS]; /* of the step that is read */
    unsigned n_texts;
} walk;

static bool is_key(const walk *w, const char *key) {
    return strcmp(w->key, key) == 0;
}

/* The list of steps that the key names, NULL if it names none. */
static tfm_steps *steps_of(tfm_vocab_settings *s, const walk *w, tfm_list *list) {
    static const char *const keys[TFM_LIST_KINDS] = {
        [TFM_LIST_NORM] = "steps", [TFM_LIST_DECODE] = "Decoder", [TFM_LIST_SPLIT] = "Splitter"};
    tfm_steps *const steps[TFM_LIST_KINDS] = {[TFM_LIST_NORM] = &s->steps,
                                              [TFM_LIST_DECODE] = &s->decoder,
                                              [TFM_LIST_SPLIT] = &s->splitter};
    for (unsigned i = 0; i < TFM_LIST_KINDS; i++)
        if (is_key(w, keys[i])) {
            if (list) *list = (tfm_list)i;
            return steps[i];
        }
    return NULL;
}

static bool in_steps(tfm_vocab_settings *s, const walk *w) {
    return w->depth == 3 && steps_of(s, w, NULL) != NULL;
}

static tfm_status add_id(tfm_around *a, const char *value, tfm_error *err) {
    int64_t number;
    if (a->n == TFM_VOCAB_AROUND || !tfm_parse_i64(value, 0, TFM_VOCAB_MAX, &number))
        return bad_value("Before or After", value, err);
    a->id[a->n++] = (int32_t)number;
    return TFM_OK;
}

/* An element of a list in the top mapping. */
static tfm_status on_item(tfm_vocab_settings *s, const walk *w, const char *value, size_t n,
                          tfm_error *err) {
    if (is_key(w, "patterns")) return add_pattern(s, value, n, err);
    if (strlen(value) != n) return bad_value(w->key, value, err);
    if (is_key(w, "Before")) return add_id(&s->before, value, err);
    if (is_key(w, "After")) return add_id(&s->after, value, err);
    return steps_of(s, w, NULL) ? bad_value(w->key, value, err) : TFM_OK;
}

static tfm_status on_step_text(walk *w, const char *value, size_t n, tfm_error *err) {
    if (w->n_texts == STEP_TEXTS || strlen(value) != n) return bad_value(w->key, value, err);
    TFM_TRY(tfm_strndup(&w->text[w->n_texts], value, n, err));
    w->n_texts++;
    return TFM_OK;
}

static void drop_texts(walk *w) {
    for (unsigned i = 0; i < STEP_TEXTS; i++) {
        tfm_free(w->text[i]);
        w->text[i] = NULL;
    }
    w->n_texts = 0;
}

static tfm_status end_step(tfm_vocab_settings *s, walk *w, tfm_error *err) {
    tfm_list list = TFM_LIST_NORM;
    tfm_steps *steps = steps_of(s, w, &list);
    if (w->n_texts == 0 || steps == NULL) return bad_value(w->key, "[]", err);
    TFM_TRY(tfm_steps_add(steps, list, w->text[0], w->text[1], w->text[2], err));
    drop_texts(w);
    return TFM_OK;
}

static bool is_list(const walk *w) {
    static const char *const keys[] = {"patterns", "Before",   "After",
                                       "steps",    "Splitter", "Decoder"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (is_key(w, keys[i])) return true;
    return false;
}

static tfm_status on_scalar(tfm_vocab_settings *s, walk *w, const yaml_event_t *e, tfm_error *err) {
    const char *value = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    if (in_steps(s, w)) return on_step_text(w, value, n, err);
    if (w->depth == 2) return on_item(s, w, value, n, err);
    if (w->depth != 1) return TFM_OK;
    if (!w->at_value) {
        if (n >= sizeof w->key || strlen(value) != n)
            return tfm_fail(err, TFM_FORMAT, "vocabulary settings: a key is longer than %zu bytes",
                            sizeof w->key - 1);
        memcpy(w->key, value, n + 1);
        w->at_value = true;
        return TFM_OK;
    }
    w->at_value = false;
    if (strlen(value) != n) return bad_value(w->key, value, err);
    return read_scalar(s, w->key, value, err);
}

static tfm_status on_event(tfm_vocab_settings *s, walk *w, const yaml_event_t *e, tfm_error *err) {
    switch (e->type) {
    case YAML_SCALAR_EVENT: return on_scalar(s, w, e, err);
    case YAML_MAPPING_START_EVENT:
    case YAML_SEQUENCE_START_EVENT:
        if (w->depth == 0 && e->type != YAML_MAPPING_START_EVENT)
            return tfm_fail(err, TFM_FORMAT, "vocabulary settings: not a mapping");
        if (w->depth == 1 && !w->at_value)
            return tfm_fail(err, TFM_FORMAT, "vocabulary settings: a key is not a scalar");
        if (w->depth == 1 && w->key[0] >= 'A' && w->key[0] <= 'Z' && !is_list(w))
            return read_scalar(s, w->key, "", err);
        w->depth++;
        return TFM_OK;
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        if (in_steps(s, w)) TFM_TRY(end_step(s, w, err));
        if (--w->depth == 1) w->at_value = false;
        return TFM_OK;
    case YAML_ALIAS_EVENT:
        return tfm_fail(err, TFM_FORMAT, "vocabulary settings: aliases are not taken");
    default: return TFM_OK;
    }
}

static tfm_status check_ids(const tfm_vocab_settings *s, tfm_error *err) {
    const int32_t ids[] = {s->bos, s->eos, s->unk, s->pad};
    if (s->n == 0 || s->id[0] == '\0')
        return tfm_fail(err, TFM_FORMAT, "vocabulary settings: size or id is missing");
    for (unsigned i = 0; i < 4; i++)
        if (ids[i] >= 0 && (uint32_t)ids[i] >= s->n)
            return tfm_fail(err, TFM_FORMAT,
                            "vocabulary settings: special token %d is not among %u pieces",
                            (int)ids[i], s->n);
    if ((s->add_bos && s->bos < 0) || (s->add_eos && s->eos < 0))
        return tfm_fail(err, TFM_FORMAT,
                        "vocabulary settings: a token is to be added that is not there");
    for (uint32_t i = 0; i < 2 * TFM_VOCAB_AROUND; i++) {
        const tfm_around *a = i < TFM_VOCAB_AROUND ? &s->before : &s->after;
        uint32_t k = i % TFM_VOCAB_AROUND;
        if (k < a->n && (uint32_t)a->id[k] >= s->n)
            return tfm_fail(err, TFM_FORMAT,
                            "vocabulary settings: special token %d is not among %u pieces",
                            (int)a->id[k], s->n);
    }
    return TFM_OK;
}

/* Which models take parts as they are, and that a model which only does so gets them. */
static tfm_status check_splitter(const tfm_vocab_settings *s, tfm_error *err) {
    bool can = (s->type == TFM_VOCAB_BPE && !s->byte_level) || s->type == TFM_VOCAB_WORDPIECE ||
               (s->type == TFM_VOCAB_UNIGRAM && s->n_source == 0) || s->type == TFM_VOCAB_WORDS;
    if (s->splitter.n > 0 ? can : s->type != TFM_VOCAB_WORDS) return TFM_OK;
    return tfm_fail(err, TFM_FORMAT, "vocabulary settings: type and Splitter do not go together");
}

tfm_status tfm_vocab_settings_read(tfm_vocab_settings *s, const char *yaml, size_t n,
                                   tfm_error *err) {
    yaml_parser_t parser;
    walk w = {0};
    tfm_status st = TFM_OK;
    memset(s, 0, sizeof *s);
    s->bos = s->eos = s->unk = s->pad = -1;
    if (!yaml_parser_initialize(&parser)) return tfm_fail(err, TFM_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, n);
    for (bool more = true; more && st == TFM_OK;) {
        yaml_event_t e;
        if (!yaml_parser_parse(&parser, &e)) {
            if (parser.error == YAML_MEMORY_ERROR)
                st = tfm_fail(err, TFM_NOMEM, "out of memory");
            else
                st = tfm_fail(err, TFM_FORMAT, "vocabulary settings: line %zu: %s",
                              parser.problem_mark.line + 1,
                              parser.problem ? parser.problem : "not YAML");
            break;
        }
        more = e.type != YAML_STREAM_END_EVENT;
        st = on_event(s, &w, &e, err);
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&parser);
    drop_texts(&w);
    if (st == TFM_OK) st = check_ids(s, err);
    if (st == TFM_OK) st = check_splitter(s, err);
    if (st != TFM_OK) tfm_vocab_settings_clear(s);
    return st;
}
