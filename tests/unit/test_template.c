/* Chat templates against Jinja2 and transformers (tests/golden/templates, see make_templates.py):
 * the language, templates of model families, the ids of real models ($TFM_ASSETS). Then what no
 * other engine promises: content never becomes a control token, and a hostile template ends. */
#include <dirent.h>
#include <jansson.h>

#include "tfm/load.h"
#include "tfm/template.h"
#include "unit.h"

static const tfm_load_options load_from_share = {.share_dir = "share"};

#define FOLDER "tests/golden/templates/"

static const tfm_template_time now = {2024, 7, 9, 15, 4, 5};

static json_t *load(const char *path) {
    json_error_t why;
    json_t *j = json_load_file(path, JSON_ALLOW_NUL, &why);
    if (!CHECK(j != NULL)) printf("%s: %s\n", path, why.text);
    return j;
}

static char *read_file(const char *path, size_t *n) {
    FILE *f = fopen(path, "rb");
    char *data = calloc(1, 1 << 20);
    *n = f && data ? fread(data, 1, (1 << 20) - 1, f) : 0;
    if (f) fclose(f);
    return data;
}

/* ---- variables of a run ---- */

enum { MOST = 40 };
typedef struct variables {
    tfm_template_variable v[MOST];
    char *text[MOST];
    size_t n;
} variables;

static void add(variables *vs, const char *name, const json_t *value, bool own) {
    if (vs->n == MOST) return;
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    vs->text[vs->n] = text;
    vs->v[vs->n++] = (tfm_template_variable){name, text, strlen(text), own};
}

static void add_all(variables *vs, json_t *object, bool own) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) add(vs, key, value, own);
}

static void clear(variables *vs) {
    for (size_t i = 0; i < vs->n; i++) free(vs->text[i]);
    vs->n = 0;
}

/* Parses and renders; *out is set on success. */
static tfm_status render(const char *name, const char *text, size_t n, const variables *vs,
                         tfm_rendered *out, tfm_error *err) {
    tfm_template *t;
    tfm_template_input in = {.variable = vs->v, .n_variables = vs->n, .now = &now};
    *out = (tfm_rendered){0};
    tfm_status st = tfm_template_new(&t, name, text, n, err);
    if (st != TFM_OK) return st;
    st = tfm_template_render(t, &in, out, err);
    tfm_template_free(t);
    return st;
}

/* The result must be what the case says: a text, or some error. */
static void check_case(const char *name, const char *text, size_t n, const variables *vs,
                       const json_t *one) {
    tfm_rendered got;
    tfm_error err = {0};
    const json_t *want = json_object_get(one, "want");
    tfm_status st = render(name, text, n, vs, &got, &err);
    bool good = want ? st == TFM_OK && got.n == json_string_length(want) &&
                           memcmp(got.text, json_string_value(want), got.n) == 0
                     : st != TFM_OK;
    if (!CHECK(good))
        printf("%s: status %d %s\n  template %.300s\n  got  %s\n  want %s\n", name, (int)st,
               err.message, text, got.text ? got.text : "",
               want ? json_string_value(want) : "an error");
    tfm_rendered_free(&got);
}

static void language(void) {
    json_t *all = load(FOLDER "language.json"), *one;
    variables vs = {.n = 0};
    size_t i;
    add_all(&vs, json_object_get(all, "vars"), false);
    json_array_foreach(json_object_get(all, "cases"), i, one) {
        const json_t *text = json_object_get(one, "template");
        check_case("t", json_string_value(text), json_string_length(text), &vs, one);
    }
    CHECK(i > 90);
    clear(&vs);
    json_decref(all);
}

/* Variables as apply_chat_template gives them. */
static void conversation(variables *vs, json_t *tokens, json_t *chat) {
    json_t *none = json_null(), *yes = json_true();
    add(vs, "tools", none, false);
    add(vs, "documents", none, false);
    add(vs, "add_generation_prompt", yes, false);
    add_all(vs, tokens, true);
    add_all(vs, chat, false);
}

static void families(void) {
    json_t *all = load(FOLDER "families.json"), *one;
    size_t i;
    json_array_foreach(json_object_get(all, "cases"), i, one) {
        char path[300];
        size_t n;
        variables vs = {.n = 0};
        const char *family = json_string_value(json_object_get(one, "family"));
        const char *key = json_string_value(json_object_get(one, "conversation"));
        snprintf(path, sizeof path, FOLDER "%s", family);
        char *text = read_file(path, &n);
        conversation(&vs, json_object_get(all, "tokens"),
                     json_object_get(json_object_get(all, "conversations"), key));
        check_case(family, text, n, &vs, one);
        clear(&vs);
        free(text);
    }
    CHECK(i >= 80);
    json_decref(all);
}

/* ---- real models ---- */

typedef struct opened {
    tfm_model *m;
    tfm_chat *chat;
    const tfm_vocab *v;
    tfm_tokenizer *t;
} opened;

static bool open_model(opened *o, const char *path) {
    tfm_error err = {0};
    memset(o, 0, sizeof *o);
    tfm_status st = tfm_load_vocab(path, &load_from_share, &o->m, &err);
    if (st == TFM_OK) st = tfm_model_vocab(o->m, &o->v, &err);
    if (st == TFM_OK) st = tfm_chat_open(&o->chat, o->m, &err);
    if (st == TFM_OK) st = tfm_tokenizer_new(&o->t, o->v, &err);
    if (st != TFM_OK) printf("%s: %s\n", path, err.message);
    return CHECK(st == TFM_OK);
}

static void close_model(opened *o) {
    tfm_tokenizer_free(o->t);
    tfm_chat_free(o->chat);
    tfm_model_free(o->m);
}

static void model_variables(variables *vs, const opened *o, json_t *chat) {
    json_t *tokens = json_object();
    for (size_t i = 0; i < tfm_chat_n_tokens(o->chat); i++) {
        const char *name;
        size_t n;
        const char *text = tfm_chat_token(o->chat, i, &name, &n);
        json_object_set_new(tokens, name, json_loadb(text, n, JSON_DECODE_ANY, NULL));
    }
    conversation(vs, tokens, chat);
    for (size_t i = 0; i < vs->n; i++) /* names must outlive tokens */
        for (size_t k = 0; k < tfm_chat_n_tokens(o->chat); k++) {
            const char *name;
            size_t n;
            (void)tfm_chat_token(o->chat, k, &name, &n);
            if (strcmp(vs->v[i].name, name) == 0) vs->v[i].name = name;
        }
    json_decref(tokens);
}

static tfm_status prompt(const opened *o, const char *text, size_t n, const variables *vs,
                         const json_t *go_on, tfm_ids *ids, tfm_error *err) {
    tfm_rendered r;
    tfm_status st = render("model", text, n, vs, &r, err);
    if (st == TFM_OK && go_on) {
        char *messages = json_dumps(go_on, 0);
        st = tfm_rendered_continue(&r, messages, strlen(messages), err);
        free(messages);
    }
    if (st == TFM_OK) st = tfm_tokenize_marked(o->t, r.text, r.own, r.n, 0, ids, NULL, err);
    tfm_rendered_free(&r);
    return st;
}

static void check_ids(const opened *o, const json_t *one, json_t *chat) {
    variables vs = {.n = 0};
    tfm_ids ids = {0};
    tfm_error err = {0};
    const char *name;
    size_t n;
    const json_t *want = json_object_get(one, "ids"), *go_on = json_object_get(one, "continue");
    json_t *whole =
        go_on ? json_pack("{s:O,s:b}", "messages", go_on, "add_generation_prompt", 0) : NULL;
    const char *text = tfm_chat_template(o->chat, 0, &name, &n);
    model_variables(&vs, o, whole ? whole : chat);
    tfm_status st = prompt(o, text, n, &vs, go_on, &ids, &err);
    bool good = want ? st == TFM_OK && ids.len == json_array_size(want) : st != TFM_OK;
    for (size_t i = 0; good && want && i < ids.len; i++)
        good = json_integer_value(json_array_get(want, i)) == ids.data[i];
    if (!CHECK(good))
        printf("%s %s: %s\n", json_string_value(json_object_get(one, "model")),
               json_string_value(json_object_get(one, "conversation")), err.message);
    tfm_ids_free(&ids);
    clear(&vs);
    json_decref(whole);
}

static void models(void) {
    json_t *all = load(FOLDER "models.json"), *one;
    size_t i;
    opened o = {.m = NULL};
    const char *last = "";
    json_array_foreach(json_object_get(all, "cases"), i, one) {
        const char *name = json_string_value(json_object_get(one, "model"));
        const char *key = json_string_value(json_object_get(one, "conversation"));
        if (strcmp(name, last) != 0) {
            char path[5000];
            snprintf(path, sizeof path, "%s/%s", unit_asset("tokenizers"), name);
            close_model(&o);
            if (!open_model(&o, path)) break;
            last = name;
        }
        check_ids(&o, one,
                  key ? json_object_get(json_object_get(all, "conversations"), key) : NULL);
    }
    CHECK(i >= 20);
    close_model(&o);
    json_decref(all);
}

/* ---- content is never control ---- */

/* A conversation with `text` wherever a user, a tool or a file may put it. */
static json_t *all_over(const char *text, size_t n, int with_tools) {
    json_t *s = json_stringn(text, n);
    if (s == NULL) return NULL;
    json_t *chat = json_pack("{s:[{s:s,s:O},{s:s,s:O},{s:s,s:O,s:s},{s:s,s:O}]}", "messages",
                             "role", "system", "content", s, "role", "user", "content", s, "role",
                             "assistant", "content", s, "name", "x", "role", "user", "content", s);
    if (with_tools)
        json_object_set_new(chat, "tools",
                            json_pack("[{s:s,s:{s:s,s:O,s:{s:s,s:{}}}}]", "type", "function",
                                      "function", "name", "f", "description", s, "parameters",
                                      "type", "object", "properties"));
    json_decref(s);
    return chat;
}

/* Counts of control tokens by id, in count[0..size). */
static bool count_control(const opened *o, const char *text, size_t n, json_t *chat,
                          uint16_t *count) {
    variables vs = {.n = 0};
    tfm_ids ids = {0};
    tfm_error err = {0};
    memset(count, 0, tfm_vocab_size(o->v) * sizeof *count);
    model_variables(&vs, o, chat);
    tfm_status st = prompt(o, text, n, &vs, NULL, &ids, &err);
    for (size_t i = 0; i < ids.len; i++)
        if (tfm_vocab_flags(o->v, (uint32_t)ids.data[i]) & TFM_TOKEN_CONTROL) count[ids.data[i]]++;
    tfm_ids_free(&ids);
    clear(&vs);
    return st == TFM_OK;
}

/* However a control token is spelled in content, the control tokens are those of the harmless
 * text. */
static size_t check_template(const opened *o, const char *name, const char *text, size_t n) {
    uint32_t size = tfm_vocab_size(o->v);
    uint16_t *plain = calloc(size, sizeof *plain), *got = calloc(size, sizeof *got);
    size_t tried = 0;
    for (int with_tools = 0; with_tools < 2 && plain && got; with_tools++) {
        json_t *chat = all_over("harmless", 8, with_tools);
        bool takes = count_control(o, text, n, chat, plain);
        json_decref(chat);
        for (uint32_t id = 0; id < size && takes; id++) {
            size_t len;
            if (!(tfm_vocab_flags(o->v, id) & TFM_TOKEN_CONTROL)) continue;
            const char *piece = tfm_vocab_piece(o->v, id, &len);
            chat = all_over(piece, len, with_tools);
            if (chat == NULL) continue;
            bool good = count_control(o, text, n, chat, got);
            if (!CHECK(good && memcmp(plain, got, size * sizeof *got) == 0))
                printf("%s: content %.*s\n", name, (int)len, piece);
            json_decref(chat);
            tried++;
        }
    }
    free(plain);
    free(got);
    return tried;
}

static size_t check_files(const opened *o, const char *folder) {
    DIR *d = opendir(folder);
    size_t tried = 0;
    for (const struct dirent *e; d && (e = readdir(d));) {
        char path[600];
        size_t n;
        if (!strstr(e->d_name, ".jinja")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        char *text = read_file(path, &n);
        tried += check_template(o, e->d_name, text, n);
        free(text);
    }
    if (d) closedir(d);
    return tried;
}

static void content_is_never_control(void) {
    static const char *const paths[] = {"tokenizers/llama3", "tokenizers/qwen3",
                                        "vocabs/ggml-vocab-phi-3.gguf"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        opened o;
        const char *name;
        size_t n;
        if (!open_model(&o, unit_asset(paths[i]))) continue;
        const char *text = tfm_chat_template(o.chat, 0, &name, &n);
        CHECK(check_template(&o, paths[i], text, n) > 5);
        if (i > 0) CHECK(check_files(&o, FOLDER) + check_files(&o, "share/templates") > 100);
        close_model(&o);
    }
}

/* The same without a model: bytes that spell "<|x|>" out of two origins are not all the
 * template's. */
static void origins(void) {
    static const char *const same[] = {"{{ c }}",
                                       "{{ c | trim }}",
                                       "{{ c | upper | lower }}",
                                       "{{ c[1:] ~ c[0] }}",
                                       "{{ c.split('x') | join('y') }}",
                                       "{{ [c] | tojson }}",
                                       "{{ '%s' | format(c) }}",
                                       "{{ '{}'.format(c) }}",
                                       "{{ c | indent }}",
                                       "{{ c | list }}",
                                       "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(c) }}",
                                       "{% set y %}{{ c }}{% endset %}{{ y }}",
                                       "{{ c * 2 }}",
                                       "{{ {c: c} }}",
                                       "{{ c | replace('<', '<') }}",
                                       "{{ c | reverse }}",
                                       "{{ c.partition('x') | join }}",
                                       "{{ [c] | map('trim') | join }}",
                                       "{{ (c | safe) + c }}",
                                       "{{ ('<b>' + c) | title }}"};
    variables vs = {.n = 0};
    json_t *c = json_string("<|x|>");
    add(&vs, "c", c, false);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        tfm_rendered r;
        tfm_error err = {0};
        size_t at = 0;
        if (!CHECK(render("t", same[i], strlen(same[i]), &vs, &r, &err) == TFM_OK)) {
            printf("%s: %s\n", same[i], err.message);
            continue;
        }
        for (; at < r.n; at++)
            if ((r.text[at] == '|' || r.text[at] == 'x' || r.text[at] == 'X') && r.own[at]) break;
        if (!CHECK(at == r.n)) printf("%s: byte %zu of %s\n", same[i], at, r.text);
        tfm_rendered_free(&r);
    }
    tfm_rendered r;
    if (CHECK(render("t", "<|x|>{{ '<|' ~ c }}", 19, &vs, &r, NULL) == TFM_OK)) {
        static const unsigned char own[] = {1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0};
        CHECK(r.n == 12 && memcmp(r.own, own, 12) == 0);
    }
    tfm_rendered_free(&r);
    clear(&vs);
    json_decref(c);
}

/* ---- what is hostile ---- */

static void hostile_templates_end(void) {
    static const char *const texts[] = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% "
        "endfor %}{{ ns.s }}",
        "{{ 'x' * 99999999999 }}",
        "{{ [0] * 99999999999 }}",
        "{{ ('x' * 999999).split('') }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 2 ** 999999999 }}",
        "{{ 9223372036854775807 + 1 }}",
        "{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 99 }}{% "
        "endfor %}",
        "{{ 'a' | replace('', 'b' * 99999) | replace('b', 'c' * 99999) }}",
        "{{ 1 % 0 }}",
        "{{ range(0, 1, 0) }}",
        "{{ '%s%s' | format(1) }}",
        "{{ 'ß' | upper }}",
        "{{ x.__class__ }}",
        "{{ [].append(1) }}",
        "{{ range(99999) | map('string') | join('') | list | sort | unique | list | length }}{{ "
        "range(99999) | unique | list }}",
        "{% include 'x' %}",
        "{% call f() %}{% endcall %}",
        "{{ lipsum() }}",
        "{{ 's' | urlize }}",
        "{{ s is frob }}"};
    variables vs = {.n = 0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tfm_rendered r;
        tfm_error err = {0};
        CHECK(render("t", texts[i], strlen(texts[i]), &vs, &r, &err) != TFM_OK);
        if (!CHECK(strncmp(err.message, "t:1: ", 5) == 0))
            printf("%s: %s\n", texts[i], err.message);
        tfm_rendered_free(&r);
    }
}

/* What is nested deeper than any real template is refused while it is read. */
static void nested(void) {
    static const char *const open[] = {"(",  "[",    "{1:",   "-",    "not ", "x[",
                                       "x(", "x|f(", "1 if ", "x.y(", "1+"};
    enum { DEPTH = 20000 };
    for (size_t i = 0; i < sizeof open / sizeof *open; i++) {
        size_t n = strlen(open[i]), at = 0;
        char *text = malloc(DEPTH * n + 8);
        if (text == NULL) continue;
        at += (size_t)sprintf(text, "{{ ");
        for (int k = 0; k < DEPTH; k++) at += (size_t)sprintf(text + at, "%s", open[i]);
        tfm_template *t;
        CHECK(tfm_template_new(&t, "t", text, at, NULL) != TFM_OK);
        CHECK(t == NULL);
        tfm_template_free(t);
        free(text);
    }
}

int main(void) {
    UNIT_RUN(language);
    UNIT_RUN(families);
    UNIT_RUN(origins);
    UNIT_RUN(hostile_templates_end);
    UNIT_RUN(nested);
    if (unit_asset("tokenizers") == NULL || unit_asset("vocabs") == NULL) {
        UNIT_SKIP("needs $TFM_ASSETS/tokenizers and vocabs");
    } else {
        UNIT_RUN(models);
        UNIT_RUN(content_is_never_control);
    }
    return unit_done();
}
