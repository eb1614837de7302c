/* tiktoken.c - vocabularies of OpenAI's tiktoken: a line for each token, base64 and its rank, which
 * is the id. Any two neighbours merge that together are a token, the lowest rank first.
 *
 * The file says neither how text is split nor which special tokens there are. FILE.json beside it
 * may, in the words of tiktoken.Encoding ("pat_str", "special_tokens", "explicit_n_vocab"); else
 * the name of the file must be that of an encoding in share/tokenizers.yaml. */
#include <string.h>

#include "model/json_internal.h"
#include "model/tokenizer_names_internal.h"
#include "text/text_internal.h"

enum {
    PIECE_MAX = 512,   /* bytes; the longest in use have 128. Bounds the work per token */
    SPECIAL_MAX = 2048 /* the most in use are 1,609 */
};

typedef struct special {
    const char *text;
    int32_t id;
} special;

/* ---- lines ---- */

static int base64_value(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes s[0..n) into out; false if it is not base64. "=" alone, which stands in a file in use, is
 * the empty string. */
static bool base64(const unsigned char *s, size_t n, unsigned char *out, size_t *len) {
    uint32_t bits = 0;
    unsigned have = 0;
    size_t pads = 0;
    *len = 0;
    while (n > 0 && s[n - 1] == '=' && pads < 2) n--, pads++;
    if (n == 0) return pads == 1;
    if ((n + pads) % 4 != 0) return false;
    for (size_t i = 0; i < n; i++) {
        int v = base64_value(s[i]);
        if (v < 0) return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        out[(*len)++] = (unsigned char)(bits >> have);
    }
    return (bits & ((1u << have) - 1)) == 0;
}

typedef struct entry {
    unsigned char bytes[PIECE_MAX];
    size_t len;
    uint32_t rank;
} entry;

/* The line at p[*at..n), which is moved behind it; false if it is none. */
static bool next_line(const unsigned char *p, uint64_t n, uint64_t *at, entry *e) {
    const unsigned char *line = p + *at, *end = memchr(line, '\n', (size_t)(n - *at));
    size_t len = end ? (size_t)(end - line) : (size_t)(n - *at);
    uint64_t rank = 0;
    *at += len + (end != NULL);
    if (len > 0 && line[len - 1] == '\r') len--;
    const unsigned char *space = memchr(line, ' ', len);
    if (!space || space == line) return false;
    size_t encoded = (size_t)(space - line), digits = len - encoded - 1;
    if (encoded > (PIECE_MAX + 2) / 3 * 4 || digits < 1 || digits > 9) return false;
    for (size_t i = 0; i < digits; i++) {
        if (space[1 + i] < '0' || space[1 + i] > '9') return false;
        rank = rank * 10 + (uint64_t)(space[1 + i] - '0');
    }
    e->rank = (uint32_t)rank;
    return base64(line, encoded, e->bytes, &e->len);
}

bool tfm_tiktoken_matches(const unsigned char *p, uint64_t n) {
    entry e;
    uint64_t at = 0;
    return n > 0 && next_line(p, n < 1024 ? n : 1024, &at, &e) && at <= 1024;
}

/* Number of tokens and the highest rank. */
static tfm_status count(const unsigned char *p, uint64_t n, uint64_t *tokens, uint64_t *top,
                        tfm_error *err) {
    entry e;
    *tokens = *top = 0;
    for (uint64_t at = 0; at < n;) {
        if (!next_line(p, n, &at, &e))
            return tfm_fail(err, TFM_FORMAT,
                            "line %llu is not a token in base64 (of at most %d bytes) and its rank",
                            (unsigned long long)*tokens + 1, PIECE_MAX);
        ++*tokens;
        if (e.rank > *top) *top = e.rank;
    }
    return TFM_OK;
}

/* The bytes in the alphabet of byte-level BPE. */
static tfm_status spell(tfm_draft *d, const entry *e, tfm_error *err) {
    void *p;
    size_t len = 0;
    TFM_TRY(tfm_arena_alloc(d->arena, &p, 2 * e->len, err));
    for (size_t i = 0; i < e->len; i++)
        len += tfm_utf8_encode(tfm_byte_to_char(e->bytes[i]), (unsigned char *)p + len);
    d->piece[e->rank] = p;
    d->piece_len[e->rank] = (uint32_t)len;
    d->flags[e->rank] = 0;
    return TFM_OK;
}

static tfm_status take_lines(tfm_draft *d, const unsigned char *p, uint64_t n, tfm_error *err) {
    entry e;
    void *seen;
    tfm_status st = TFM_OK;
    TFM_TRY(tfm_alloc(&seen, d->src.n, 1, err));
    for (uint32_t i = 0; i < d->src.n; i++) d->flags[i] = TFM_TOKEN_UNUSED;
    for (uint64_t at = 0; at < n && st == TFM_OK && next_line(p, n, &at, &e);) {
        if (((unsigned char *)seen)[e.rank]++)
            st = tfm_fail(err, TFM_FORMAT, "two tokens have the rank %u", e.rank);
        else if (e.len > 0)
            st = spell(d, &e, err);
    }
    tfm_free(seen);
    return st;
}

/* ---- special tokens ---- */

typedef struct specials {
    special token[SPECIAL_MAX];
    size_t n;
    int64_t top; /* highest id */
} specials;

static tfm_status add(specials *s, const char *text, int64_t id, tfm_error *err) {
    if (s->n == SPECIAL_MAX || id < 0 || id >= TFM_SOURCE_MAX_VOCAB)
        return tfm_fail(err, TFM_LIMIT, "more than %d special tokens, or an id out of range",
                        SPECIAL_MAX);
    s->token[s->n++] = (special){text, (int32_t)id};
    if (id > s->top) s->top = id;
    return TFM_OK;
}

/* ---- special tokens of an encoding that has a name ---- */

/* map[key] as a text, which must be there. */
static tfm_status text_of(const tfm_yaml *map, const char *key, const tfm_yaml **out,
                          tfm_error *err) {
    *out = tfm_yaml_get(map, key);
    if (*out && (*out)->kind == TFM_YAML_SCALAR) return TFM_OK;
    return tfm_yaml_fail(map, err, TFM_FORMAT, "%s is missing, or no text", key);
}

/* The token that `text` is with `part` in place of {}. */
static tfm_status add_filled(tfm_draft *d, specials *s, const tfm_yaml *text, const char *part,
                             size_t n, int64_t id, tfm_error *err) {
    const char *at = strstr(text->text, "{}"), *copy;
    tfm_buf b = {0};
    if (!at) return tfm_yaml_fail(text, err, TFM_FORMAT, "the text has no {} to fill");
    tfm_status st = tfm_buf_add(&b, text->text, (size_t)(at - text->text), err);
    if (st == TFM_OK) st = tfm_buf_add(&b, part, n, err);
    if (st == TFM_OK) st = tfm_buf_str(&b, at + 2, err);
    if (st == TFM_OK) st = tfm_arena_strndup(d->arena, &copy, b.data, b.len, err);
    tfm_buf_free(&b);
    return st == TFM_OK ? add(s, copy, id, err) : st;
}

static tfm_status take_range(const tfm_yaml *map, int64_t *from, int64_t *to, tfm_error *err) {
    TFM_TRY(tfm_yaml_number(map, "from", 0, TFM_SOURCE_MAX_VOCAB, from, err));
    return tfm_yaml_number(map, "to", 0, TFM_SOURCE_MAX_VOCAB, to, err);
}

/* {text: "<|{}|>", each: WORDS}: a token for each word, from *id on. */
static tfm_status add_words(tfm_draft *d, specials *s, const tfm_tokenizer_names *names,
                            const tfm_yaml *map, int64_t *id, tfm_error *err) {
    const tfm_yaml *text, *each;
    TFM_TRY(text_of(map, "text", &text, err));
    TFM_TRY(text_of(map, "each", &each, err));
    const char *at = tfm_tokenizer_names_words(names, each->text);
    if (!at) return tfm_yaml_fail(each, err, TFM_FORMAT, "words has no '%.60s'", each->text);
    for (at += strspn(at, " "); *at; at += strspn(at, " ")) {
        const size_t n = strcspn(at, " ");
        TFM_TRY(add_filled(d, s, text, at, n, (*id)++, err));
        at += n;
    }
    return TFM_OK;
}

/* {text: "<|{}|>", from: 0, to: 3000, step: 2, decimals: 2}: 0.00, 0.02, ... 30.00. */
static tfm_status add_numbers(tfm_draft *d, specials *s, const tfm_yaml *map, int64_t *id,
                              tfm_error *err) {
    const tfm_yaml *text;
    int64_t from = 0, to = 0, step = 1, decimals = 0, unit = 1;
    char number[64];
    TFM_TRY(text_of(map, "text", &text, err));
    TFM_TRY(take_range(map, &from, &to, err));
    TFM_TRY(tfm_yaml_number(map, "step", 1, TFM_SOURCE_MAX_VOCAB, &step, err));
    TFM_TRY(tfm_yaml_number(map, "decimals", 0, 6, &decimals, err));
    for (int64_t i = 0; i < decimals; i++) unit *= 10;
    for (int64_t v = from; v <= to; v += step) {
        int n = snprintf(number, sizeof number, "%lld", (long long)(v / unit));
        if (decimals > 0)
            n += snprintf(number + n, sizeof number - (size_t)n, ".%0*lld", (int)decimals,
                          (long long)(v % unit));
        TFM_TRY(add_filled(d, s, text, number, (size_t)n, (*id)++, err));
    }
    return TFM_OK;
}

/* {text: "<|{}|>", from: A, to: B}: a token for each id of A to B that is nothing else's. */
static tfm_status add_reserved(tfm_draft *d, specials *s, const tfm_yaml *map, tfm_error *err) {
    static const char *const known[] = {"text", "from", "to", NULL};
    const tfm_yaml *text;
    const size_t named = s->n;
    int64_t from = 0, to = 0;
    char number[32];
    TFM_TRY(tfm_yaml_keys(map, known, err));
    TFM_TRY(text_of(map, "text", &text, err));
    TFM_TRY(take_range(map, &from, &to, err));
    for (int64_t id = from; id <= to; id++) {
        bool taken = false;
        for (size_t i = 0; i < named; i++) taken = taken || s->token[i].id == id;
        int n = snprintf(number, sizeof number, "%lld", (long long)id);
        if (!taken) TFM_TRY(add_filled(d, s, text, number, (size_t)n, id, err));
    }
    return TFM_OK;
}

/* The tokens that follow those of the file. */
static tfm_status add_next(tfm_draft *d, specials *s, const tfm_tokenizer_names *names,
                           const tfm_yaml *list, int64_t id, tfm_error *err) {
    static const char *const known[] = {"text", "each", "from", "to", "step", "decimals", NULL};
    for (size_t i = 0; list && i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value;
        if (y->kind == TFM_YAML_SCALAR) {
            TFM_TRY(add(s, y->text, id++, err));
            continue;
        }
        TFM_TRY(tfm_yaml_keys(y, known, err));
        TFM_TRY(tfm_yaml_get(y, "each") ? add_words(d, s, names, y, &id, err)
                                        : add_numbers(d, s, y, &id, err));
    }
    return TFM_OK;
}

static tfm_status add_named(tfm_draft *d, specials *s, const tfm_tokenizer_names *names,
                            const tfm_encoding *e, int64_t free_id, tfm_error *err) {
    int64_t id = 0;
    for (size_t i = 0; e->tokens && i < e->tokens->n; i++) {
        TFM_TRY(
            tfm_yaml_number(e->tokens, e->tokens->entry[i].key, 0, TFM_SOURCE_MAX_VOCAB, &id, err));
        TFM_TRY(add(s, e->tokens->entry[i].key, id, err));
    }
    if (e->reserved) TFM_TRY(add_reserved(d, s, e->reserved, err));
    return add_next(d, s, names, e->next, free_id, err);
}

/* ---- FILE.json ---- */

/* ^ and $ are the ends of the text in tiktoken, of a line in tfm's patterns. */
static tfm_status take_pattern(tfm_draft *d, const char *s, size_t n, tfm_error *err) {
    tfm_buf b = {0};
    tfm_status st = TFM_OK;
    bool in_class = false;
    for (size_t i = 0; i < n && st == TFM_OK; i++) {
        if (s[i] == '\\' && i + 1 < n) {
            st = tfm_buf_add(&b, s + i++, 2, err);
            continue;
        }
        if (s[i] == '[') in_class = true;
        if (s[i] == ']') in_class = false;
        if (!in_class && (s[i] == '$' || s[i] == '^'))
            st = tfm_buf_str(&b, s[i] == '$' ? "\\z" : "\\A", err);
        else
            st = tfm_buf_byte(&b, (unsigned char)s[i], err);
    }
    if (st == TFM_OK) st = tfm_draft_pattern(d, b.data ? b.data : "", b.len, err);
    tfm_buf_free(&b);
    return st;
}

static tfm_status check_keys(json_t *j, tfm_error *err) {
    static const char *const known[] = {"name", "pat_str", "special_tokens", "explicit_n_vocab"};
    for (void *at = json_object_iter(j); at; at = json_object_iter_next(j, at)) {
        bool is_known = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            is_known = is_known || strcmp(known[i], json_object_iter_key(at)) == 0;
        if (!is_known)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "%s is not known (name, pat_str, special_tokens, explicit_n_vocab are)",
                            json_object_iter_key(at));
    }
    return TFM_OK;
}

static tfm_status read_settings(json_t *j, specials *s, tfm_error *err) {
    json_t *tokens = json_object_get(j, "special_tokens");
    const json_t *n_vocab = json_object_get(j, "explicit_n_vocab");
    TFM_TRY(check_keys(j, err));
    if (tokens && !json_is_object(tokens))
        return tfm_fail(err, TFM_FORMAT, "special_tokens is not an object of texts and ids");
    for (void *at = json_object_iter(tokens); at; at = json_object_iter_next(tokens, at)) {
        const json_t *id = json_object_iter_value(at);
        if (!json_is_integer(id))
            return tfm_fail(err, TFM_FORMAT, "special_tokens: '%s' has no id",
                            json_object_iter_key(at));
        TFM_TRY(add(s, json_object_iter_key(at), json_integer_value(id), err));
    }
    if (!tfm_json_text(j, "pat_str", NULL)) return tfm_fail(err, TFM_FORMAT, "no pat_str");
    if (n_vocab && (!json_is_integer(n_vocab) || json_integer_value(n_vocab) < 1 ||
                    json_integer_value(n_vocab) > TFM_SOURCE_MAX_VOCAB))
        return tfm_fail(err, TFM_FORMAT, "explicit_n_vocab is no size of a vocabulary");
    if (json_integer_value(n_vocab) - 1 > s->top) s->top = json_integer_value(n_vocab) - 1;
    return TFM_OK;
}

/* ---- all together ---- */

/* What tokenizers.yaml has under the name of the file. */
static tfm_status find_encoding(const tfm_tokenizer_names *names, const char *path,
                                int64_t vocab_size, const tfm_encoding **out, tfm_error *err) {
    static const char suffix[] = ".tiktoken";
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char known[300];
    size_t n = strlen(base);
    if (n > sizeof suffix - 1 && strcmp(base + n - (sizeof suffix - 1), suffix) == 0)
        n -= sizeof suffix - 1;
    *out = tfm_tokenizer_names_encoding(names, base, n, vocab_size);
    if (*out) return TFM_OK;
    tfm_tokenizer_names_list_encodings(names, known, sizeof known);
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "a tiktoken file does not say how text is split: name it as its encoding (%s), "
                    "or put pat_str and special_tokens into %s.json",
                    known, base);
}

static tfm_status put_specials(tfm_draft *d, const specials *s, tfm_error *err) {
    for (size_t i = 0; i < s->n; i++) {
        int32_t id = s->token[i].id;
        size_t n = strlen(s->token[i].text);
        if (d->flags[id] != TFM_TOKEN_UNUSED || n == 0)
            return tfm_fail(err, TFM_FORMAT,
                            "special token '%s' has the id %d, which is another token's",
                            s->token[i].text, (int)id);
        d->piece[id] = s->token[i].text;
        d->piece_len[id] = (uint32_t)n;
        d->flags[id] = TFM_TOKEN_CONTROL;
    }
    return TFM_OK;
}

/* What the file does not say, from FILE.json or by the file's name. */
static tfm_status find_specials(tfm_source *src, tfm_draft *d, const char *path, json_t *settings,
                                specials *s, const tfm_encoding **e, tfm_error *err) {
    const tfm_tokenizer_names *names;
    *e = NULL;
    if (settings) return read_settings(settings, s, err);
    TFM_TRY(tfm_source_tokenizers(src, &names, err));
    TFM_TRY(find_encoding(names, path, tfm_source_int(src, "vocab_size", 0), e, err));
    return add_named(d, s, names, *e, s->top + 1, err);
}

static tfm_status fill(tfm_source *src, tfm_draft *d, const char *path, const tfm_map *file,
                       json_t *settings, specials *s, tfm_error *err) {
    static const char end[] = "<|endoftext|>";
    const tfm_encoding *e;
    uint64_t tokens, top;
    size_t n;
    TFM_TRY(count(file->data, file->size, &tokens, &top, err));
    if (top >= 2 * tokens)
        return tfm_fail(err, TFM_LIMIT, "%llu tokens with ranks up to %llu",
                        (unsigned long long)tokens, (unsigned long long)top);
    s->top = (int64_t)top;
    TFM_TRY(find_specials(src, d, path, settings, s, &e, err));
    if (e && tokens < 256)
        return tfm_fail(err, TFM_FORMAT, "the encoding of this name has more tokens");
    if ((uint64_t)s->top >= 2 * (tokens + s->n))
        return tfm_fail(err, TFM_LIMIT, "%llu tokens with ids up to %lld",
                        (unsigned long long)tokens, (long long)s->top);
    TFM_TRY(tfm_draft_pieces(d, (uint64_t)s->top + 1, false, err));
    TFM_TRY(take_lines(d, file->data, file->size, err));
    TFM_TRY(put_specials(d, s, err));
    d->src.type = TFM_VOCAB_BPE;
    if (e) {
        tfm_split_apply(e->split, &d->src);
    } else {
        const char *pattern = tfm_json_text(settings, "pat_str", &n);
        TFM_TRY(take_pattern(d, pattern, n, err));
    }
    d->src.byte_level = d->src.merge_all = d->src.ignore_merges = true;
    d->src.bos = d->src.eos = tfm_draft_find(d, end, sizeof end - 1);
    return TFM_OK;
}

/* FILE.json, or NULL. */
static tfm_status beside(tfm_source *s, const char *path, const char **name, json_t **out,
                         tfm_error *err) {
    tfm_buf b = {0};
    tfm_source_file *f;
    *out = NULL;
    tfm_status st = tfm_buf_printf(&b, err, "%s.json", path);
    if (st == TFM_OK) st = tfm_arena_strndup(s->arena, name, b.data, b.len, err);
    tfm_buf_free(&b);
    if (st != TFM_OK || !tfm_path_is_file(*name)) return st;
    TFM_TRY(tfm_source_map(s, *name, &f, err));
    return tfm_json_parse(out, f->map.data, f->map.size, *name, err);
}

tfm_status tfm_tiktoken(tfm_source *s, const char *path, const tfm_map *file, tfm_draft *d,
                        tfm_error *err) {
    void *p;
    const char *name = NULL;
    json_t *settings;
    tfm_status st = beside(s, path, &name, &settings, err);
    d->json = settings; /* freed with the draft; special tokens point into it */
    TFM_TRY(st);
    TFM_TRY(tfm_alloc(&p, 1, sizeof(specials), err));
    ((specials *)p)->top = -1;
    st = fill(s, d, path, file, settings, p, err);
    tfm_free(p);
    return st == TFM_OK || !settings ? st : tfm_error_prefix(err, st, "with %s", name);
}
