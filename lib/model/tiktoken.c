/* tiktoken.c - vocabularies of OpenAI's tiktoken: a line for each token, base64 and its rank, which
 * is the id. Any two neighbours merge that together are a token, the lowest rank first.
 *
 * The file says neither how text is split nor which special tokens there are. FILE.json beside it
 * may, in the words of tiktoken.Encoding ("pat_str", "special_tokens", "explicit_n_vocab"); else
 * the name of the file must be that of an encoding that tiktoken or Whisper has. */
#include <string.h>

#include "model/json_internal.h"
#include "text/text_internal.h"

enum {
    PIECE_MAX = 512,       /* bytes; the longest in use have 128. Bounds the work per token */
    SPECIAL_MAX = 2048,    /* the most in use are 1,609 */
    TIMESTAMPS = 1501,     /* Whisper: <|0.00|> to <|30.00|> */
    WHISPER_LANGUAGES = 99 /* and one more since large-v3 */
};

/* OpenAI's pattern, but for "\s++$": $ is the end of the text there, of a line here. */
#define CL100K                                                                                     \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+" \
    "[\\r\\n]*|\\s++(?!\\S)|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

typedef struct special {
    const char *text;
    int32_t id;
} special;

typedef enum family { PLAIN, HARMONY, WHISPER } family;

static const struct encoding {
    const char *name;
    const char *pre;     /* named pre-tokenizer with the same pattern, or NULL: */
    const char *pattern; /* the pattern */
    family family;
    special token[16];
} encodings[] = {
    {"gpt2", "gpt-2", NULL, PLAIN, {{"<|endoftext|>", 50256}}},
    {"r50k_base", "gpt-2", NULL, PLAIN, {{"<|endoftext|>", 50256}}},
    {"p50k_base", "gpt-2", NULL, PLAIN, {{"<|endoftext|>", 50256}}},
    {"p50k_edit",
     "gpt-2",
     NULL,
     PLAIN,
     {{"<|endoftext|>", 50256},
      {"<|fim_prefix|>", 50281},
      {"<|fim_middle|>", 50282},
      {"<|fim_suffix|>", 50283}}},
    {"cl100k_base",
     NULL,
     CL100K,
     PLAIN,
     {{"<|endoftext|>", 100257},
      {"<|fim_prefix|>", 100258},
      {"<|fim_middle|>", 100259},
      {"<|fim_suffix|>", 100260},
      {"<|endofprompt|>", 100276}}},
    {"o200k_base", "gpt-4o", NULL, PLAIN, {{"<|endoftext|>", 199999}, {"<|endofprompt|>", 200018}}},
    {"o200k_harmony",
     "gpt-4o",
     NULL,
     HARMONY,
     {{"<|startoftext|>", 199998},
      {"<|endoftext|>", 199999},
      {"<|return|>", 200002},
      {"<|constrain|>", 200003},
      {"<|channel|>", 200005},
      {"<|start|>", 200006},
      {"<|end|>", 200007},
      {"<|message|>", 200008},
      {"<|call|>", 200012},
      {"<|endofprompt|>", 200018}}},
    {"multilingual", "gpt-2", NULL, WHISPER, {{NULL, 0}}},
};
enum { N_ENCODINGS = sizeof encodings / sizeof *encodings };

/* ---- lines ---- */

static int base64_value(unsigned char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decodes s[0..n) into out; false if it is not base64. "=" alone, which Whisper's file has, is the
 * empty string. */
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

/* The bytes in GPT-2's alphabet. */
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

static tfm_status add_printed(tfm_draft *d, specials *s, const char *text, size_t n, int64_t id,
                              tfm_error *err) {
    const char *copy;
    TFM_TRY(tfm_arena_strndup(d->arena, &copy, text, n, err));
    return add(s, copy, id, err);
}

/* What Whisper adds from the first free id on. */
static tfm_status add_whisper(tfm_draft *d, specials *s, int64_t id, unsigned n_languages,
                              tfm_error *err) {
    static const char languages[] =
        "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no "
        "th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw "
        "gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl "
        "mg as tt haw ln ha ba jw su yue";
    static const char *const tasks[] = {"<|translate|>",   "<|transcribe|>", "<|startoflm|>",
                                        "<|startofprev|>", "<|nospeech|>",   "<|notimestamps|>"};
    char text[32];
    int n;
    TFM_TRY(add(s, "<|endoftext|>", id++, err));
    TFM_TRY(add(s, "<|startoftranscript|>", id++, err));
    const char *at = languages;
    for (unsigned i = 0; i < n_languages; i++) {
        size_t len = strcspn(at, " ");
        n = snprintf(text, sizeof text, "<|%.*s|>", (int)len, at);
        TFM_TRY(add_printed(d, s, text, (size_t)n, id++, err));
        at += len + 1;
    }
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) TFM_TRY(add(s, tasks[i], id++, err));
    for (int i = 0; i < TIMESTAMPS; i++) {
        n = snprintf(text, sizeof text, "<|%d.%02d|>", i / 50, i % 50 * 2);
        TFM_TRY(add_printed(d, s, text, (size_t)n, id++, err));
    }
    return TFM_OK;
}

/* <|reserved_200000|> and so on where nothing else is. */
static tfm_status add_reserved(tfm_draft *d, specials *s, tfm_error *err) {
    char text[40];
    const size_t named = s->n;
    for (int32_t id = 200000; id < 201088; id++) {
        /* tiktoken's own list gives 200018 two names; here the reserved one is left out. */
        bool taken = false;
        for (size_t i = 0; i < named; i++) taken = taken || s->token[i].id == id;
        int n = snprintf(text, sizeof text, "<|reserved_%d|>", (int)id);
        if (!taken) TFM_TRY(add_printed(d, s, text, (size_t)n, id, err));
    }
    return TFM_OK;
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

static const struct encoding *encoding_of(const char *path, tfm_error *err) {
    static const char suffix[] = ".tiktoken";
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    size_t n = strlen(base);
    if (n > sizeof suffix - 1 && strcmp(base + n - (sizeof suffix - 1), suffix) == 0)
        n -= sizeof suffix - 1;
    for (size_t i = 0; i < N_ENCODINGS; i++)
        if (strlen(encodings[i].name) == n && memcmp(encodings[i].name, base, n) == 0)
            return &encodings[i];
    (void)!tfm_fail(err, TFM_UNSUPPORTED,
                    "a tiktoken file does not say how text is split: name it gpt2, r50k_base, "
                    "p50k_base, p50k_edit, cl100k_base, o200k_base, o200k_harmony or multilingual "
                    "(.tiktoken), or put pat_str and special_tokens into %.*s.json",
                    (int)strlen(base), base);
    return NULL;
}

static tfm_status named_specials(tfm_draft *d, const struct encoding *e, uint64_t n_tokens,
                                 uint64_t top, int64_t n_vocab, specials *s, tfm_error *err) {
    int64_t free_id = (int64_t)top + 1;
    const int64_t added = free_id + 2 + WHISPER_LANGUAGES + 6 + TIMESTAMPS;
    bool is_english = strcmp(e->name, "gpt2") == 0 && n_vocab == added;
    for (size_t i = 0; i < 16 && e->token[i].text && !is_english; i++)
        TFM_TRY(add(s, e->token[i].text, e->token[i].id, err));
    if (e->family == HARMONY) TFM_TRY(add_reserved(d, s, err));
    if (e->family == WHISPER || is_english)
        TFM_TRY(add_whisper(d, s, free_id, WHISPER_LANGUAGES + (n_vocab == added + 1), err));
    if (n_tokens < 256) return tfm_fail(err, TFM_FORMAT, "%s has more tokens", e->name);
    return TFM_OK;
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

static tfm_status fill(tfm_draft *d, const char *path, const tfm_map *file, json_t *settings,
                       int64_t n_vocab, specials *s, tfm_error *err) {
    static const char end[] = "<|endoftext|>";
    const struct encoding *e = settings ? NULL : encoding_of(path, err);
    uint64_t tokens, top;
    size_t n;
    if (!settings && !e) return TFM_UNSUPPORTED;
    TFM_TRY(count(file->data, file->size, &tokens, &top, err));
    if (top >= 2 * tokens)
        return tfm_fail(err, TFM_LIMIT, "%llu tokens with ranks up to %llu",
                        (unsigned long long)tokens, (unsigned long long)top);
    s->top = (int64_t)top;
    if (settings)
        TFM_TRY(read_settings(settings, s, err));
    else
        TFM_TRY(named_specials(d, e, tokens, top, n_vocab, s, err));
    if ((uint64_t)s->top >= 2 * (tokens + s->n))
        return tfm_fail(err, TFM_LIMIT, "%llu tokens with ids up to %lld",
                        (unsigned long long)tokens, (long long)s->top);
    TFM_TRY(tfm_draft_pieces(d, (uint64_t)s->top + 1, false, err));
    TFM_TRY(take_lines(d, file->data, file->size, err));
    TFM_TRY(put_specials(d, s, err));
    d->src.type = TFM_VOCAB_BPE;
    d->src.byte_level = true;
    if (settings) {
        const char *pattern = tfm_json_text(settings, "pat_str", &n);
        TFM_TRY(take_pattern(d, pattern, n, err));
    } else if (e->pre) {
        TFM_TRY(tfm_pretokenizer_named(&d->src, e->pre, err));
    } else {
        TFM_TRY(tfm_draft_pattern(d, e->pattern, strlen(e->pattern), err));
    }
    d->src.merge_all = d->src.ignore_merges = true;
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
    st = fill(d, path, file, settings, tfm_source_int(s, "vocab_size", 0), p, err);
    tfm_free(p);
    return st == TFM_OK || !settings ? st : tfm_error_prefix(err, st, "with %s", name);
}
