/* chat.c - the chat templates that a model's source came with, and the special tokens they name.
 *
 * Both stand in what tfm-convert keeps of the source: GGUF's tokenizer.chat_template (and
 * tokenizer.chat_template.NAME), or a Hugging Face folder's chat_template.jinja, else the
 * chat_template of its tokenizer_config.json (one text, or a list of named ones). The text is not
 * looked into here: that is the text layer's (tfm/template.h). */
#include <stdlib.h>
#include <string.h>

#include "base/json_text_internal.h"
#include "model/gguf_internal.h"
#include "model/json_internal.h"

enum { CHAT_MAX = 64 }; /* templates of a model; real ones have up to three */

typedef struct chat_text {
    const char *name, *text;
    size_t n;
} chat_text;

struct tfm_chat {
    tfm_arena *arena;
    chat_text template[CHAT_MAX];
    size_t n_templates;
    chat_text token[16]; /* text: JSON */
    size_t n_tokens;
};

static tfm_status add(tfm_chat *c, const char *name, size_t name_len, const char *text, size_t n,
                      tfm_error *err) {
    if (c->n_templates == CHAT_MAX)
        return tfm_fail(err, TFM_LIMIT, "more than %d chat templates", CHAT_MAX);
    chat_text *t = &c->template[c->n_templates];
    TFM_TRY(tfm_arena_strndup(c->arena, &t->name, name, name_len, err));
    TFM_TRY(tfm_arena_strndup(c->arena, &t->text, text, n, err));
    t->n = n;
    c->n_templates++;
    return TFM_OK;
}

/* ---- GGUF ---- */

static tfm_status from_gguf(tfm_chat *c, const tfm_tensor *blob, tfm_error *err) {
    static const char key[] = "tokenizer.chat_template";
    const size_t len = sizeof key - 1;
    tfm_gguf_cursor at = {.p = blob->data, .n = blob->bytes};
    tfm_gguf_head head;
    TFM_TRY(tfm_gguf_start(&at, &head, err));
    for (uint64_t i = 0; i < head.n_kv; i++) {
        tfm_gguf_kv kv;
        TFM_TRY(tfm_gguf_next_kv(&at, &kv, err));
        if (kv.type != TFM_GGUF_STRING || kv.key_len < len || memcmp(kv.key, key, len) != 0)
            continue;
        const char *text = (const char *)kv.value;
        if (kv.key_len == len)
            TFM_TRY(add(c, "default", 7, text, (size_t)kv.n, err));
        else if (kv.key[len] == '.')
            TFM_TRY(add(c, kv.key + len + 1, kv.key_len - len - 1, text, (size_t)kv.n, err));
    }
    return TFM_OK;
}

/* ---- Hugging Face ---- */

static tfm_status add_token(tfm_chat *c, const char *name, const json_t *value, tfm_error *err) {
    char *text;
    if (c->n_tokens == sizeof c->token / sizeof *c->token) return TFM_OK;
    chat_text *t = &c->token[c->n_tokens];
    TFM_TRY(tfm_json_dump(&text, value, JSON_ENCODE_ANY | JSON_COMPACT, err));
    t->name = name;
    t->n = strlen(text);
    tfm_status st = tfm_arena_strndup(c->arena, &t->text, text, t->n, err);
    free(text); /* jansson's */
    if (st == TFM_OK) c->n_tokens++;
    return st;
}

/* A token is a string, or an object with "content". */
static const json_t *token_text(const json_t *v) {
    if (json_is_object(v)) v = json_object_get(v, "content");
    return json_is_string(v) ? v : NULL;
}

static const char *const token_names[] = {"bos_token", "eos_token", "unk_token", "pad_token",
                                          "sep_token", "cls_token", "mask_token"};
enum { N_TOKEN_NAMES = sizeof token_names / sizeof *token_names, N_BY_ID = 4 };

static tfm_status config_tokens(tfm_chat *c, const json_t *config, tfm_error *err) {
    for (size_t i = 0; i < N_TOKEN_NAMES; i++) {
        const json_t *text = token_text(json_object_get(config, token_names[i]));
        if (text) TFM_TRY(add_token(c, token_names[i], text, err));
    }
    const json_t *more = json_object_get(config, "additional_special_tokens");
    json_t *list = json_array();
    tfm_status st = list ? TFM_OK : tfm_fail(err, TFM_NOMEM, "out of memory");
    for (size_t i = 0; i < json_array_size(more) && st == TFM_OK; i++) {
        const json_t *text = token_text(json_array_get(more, i));
        if (text && json_array_append(list, (json_t *)text) != 0)
            st = tfm_fail(err, TFM_NOMEM, "out of memory");
    }
    if (st == TFM_OK && json_array_size(list) > 0)
        st = add_token(c, "additional_special_tokens", list, err);
    json_decref(list);
    return st;
}

static tfm_status config_templates(tfm_chat *c, const json_t *value, tfm_error *err) {
    if (json_is_string(value))
        return add(c, "default", 7, json_string_value(value), json_string_length(value), err);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        size_t n, name_len;
        const char *name = tfm_json_text(one, "name", &name_len);
        const char *text = tfm_json_text(one, "template", &n);
        if (name == NULL || text == NULL)
            return tfm_fail(err, TFM_FORMAT, "chat_template: an item without name or template");
        TFM_TRY(add(c, name, name_len, text, n, err));
    }
    return TFM_OK;
}

static tfm_status from_config(tfm_chat *c, const tfm_tensor *blob, bool with_templates,
                              tfm_error *err) {
    json_t *config;
    TFM_TRY(tfm_json_parse(&config, blob->data, blob->bytes, blob->name, err));
    tfm_status st = TFM_OK;
    if (with_templates) st = config_templates(c, json_object_get(config, "chat_template"), err);
    if (st == TFM_OK) st = config_tokens(c, config, err);
    json_decref(config);
    return st;
}

/* ---- what the vocabulary says ---- */

static bool has_token(const tfm_chat *c, const char *name) {
    for (size_t i = 0; i < c->n_tokens; i++)
        if (strcmp(c->token[i].name, name) == 0) return true;
    return false;
}

static tfm_status from_vocab(tfm_chat *c, const tfm_vocab *v, tfm_error *err) {
    const int32_t ids[N_BY_ID] = {tfm_vocab_bos(v), tfm_vocab_eos(v), tfm_vocab_unk(v),
                                  tfm_vocab_pad(v)};
    for (size_t i = 0; i < N_BY_ID; i++) {
        size_t n;
        if (ids[i] < 0 || has_token(c, token_names[i])) continue;
        const char *piece = tfm_vocab_piece(v, (uint32_t)ids[i], &n);
        json_t *text = json_stringn(piece, n);
        if (text == NULL) continue; /* not UTF-8: no template can name it */
        tfm_status st = add_token(c, token_names[i], text, err);
        json_decref(text);
        TFM_TRY(st);
    }
    return TFM_OK;
}

/* ---- from outside ---- */

static const tfm_tensor *blob_of(const tfm_model *m, const char *name) {
    const tfm_tensor *t = tfm_model_tensor(m, name);
    return t && t->dtype == TFM_U8 && t->data ? t : NULL;
}

static tfm_status collect(tfm_chat *c, tfm_model *m, tfm_error *err) {
    const tfm_tensor *gguf = blob_of(m, "source.gguf");
    const tfm_tensor *config = blob_of(m, "source.tokenizer_config.json");
    const tfm_tensor *jinja = blob_of(m, "source.chat_template.jinja");
    const tfm_vocab *v;
    if (gguf == NULL) gguf = blob_of(m, "source.gguf.replaced");
    if (jinja) TFM_TRY(add(c, "default", 7, jinja->data, (size_t)jinja->bytes, err));
    if (config) TFM_TRY(from_config(c, config, jinja == NULL, err));
    if (config == NULL && gguf) TFM_TRY(from_gguf(c, gguf, err));
    TFM_TRY(tfm_model_vocab(m, &v, err));
    return v && config == NULL ? from_vocab(c, v, err) : TFM_OK;
}

tfm_status tfm_chat_open(tfm_chat **out, tfm_model *m, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_chat), err));
    tfm_chat *c = p;
    tfm_status st = tfm_arena_new(&c->arena, err);
    if (st == TFM_OK) {
        st = collect(c, m, err);
        if (st != TFM_OK) tfm_error_prefix(err, st, "%s", tfm_model_path(m));
    }
    if (st != TFM_OK) {
        tfm_chat_free(c);
        return st;
    }
    *out = c;
    return TFM_OK;
}

void tfm_chat_free(tfm_chat *c) {
    if (c == NULL) return;
    if (c->arena) tfm_arena_free(c->arena);
    tfm_free(c);
}

size_t tfm_chat_n_templates(const tfm_chat *c) {
    return c->n_templates;
}

const char *tfm_chat_template(const tfm_chat *c, size_t i, const char **name, size_t *n) {
    *name = c->template[i].name;
    *n = c->template[i].n;
    return c->template[i].text;
}

size_t tfm_chat_n_tokens(const tfm_chat *c) {
    return c->n_tokens;
}

const char *tfm_chat_token(const tfm_chat *c, size_t i, const char **name, size_t *n) {
    *name = c->token[i].name;
    *n = c->token[i].n;
    return c->token[i].text;
}
