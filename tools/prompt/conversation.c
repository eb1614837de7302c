/* conversation.c - one conversation as JSON to the variables that its template sees.
 *
 * An array is the messages. An object holds them as "messages" (or the FIELD of -j); "tools" and
 * "documents" are the template's variables of that name; "add_generation_prompt" and
 * "continue_final_message" are switches; every other member is a variable, those of
 * "chat_template_kwargs" included. A record's own members count before the options. */
#include <stdlib.h>
#include <string.h>

#include "prompt.h"

static tfm_status add(conversation *c, const char *name, const char *json, size_t n, bool own,
                      tfm_error *err) {
    if (c->n == VARIABLES_MAX)
        return tfm_fail(err, TFM_RECORD, "more than %d variables", VARIABLES_MAX);
    c->variable[c->n++] = (tfm_template_variable){name, json, n, own};
    return TFM_OK;
}

static tfm_status add_text(conversation *c, const char *name, const char *json, tfm_error *err) {
    return add(c, name, json, strlen(json), false, err);
}

static tfm_status add_json(conversation *c, const char *name, const json_t *v, bool own,
                           tfm_error *err) {
    char *text;
    TFM_TRY(tfm_cli_json_dump(&text, v, JSON_ENCODE_ANY | JSON_COMPACT, err));
    if (c->n < VARIABLES_MAX) {
        c->owned[c->n] = text;
    } else {
        free(text);
        text = NULL;
    }
    return add(c, name, text, text ? strlen(text) : 0, own, err);
}

/* ---- what is the same for every record ---- */

/* bos_token and the like are meant to be special; other variables are content. */
static bool names_token(const char *name) {
    size_t n = strlen(name);
    return n > 6 && strcmp(name + n - 6, "_token") == 0;
}

static void read_set(fixed *f, tfm_cli *c, size_t i) {
    const char *set = f->opt->set[i];
    size_t n = strcspn(set, "=");
    tfm_error why = {0};
    if (n == 0 || set[n] == '\0') tfm_cli_usage(c, "--set: %s: is not KEY=JSON", set);
    f->set_name[i] = strndup(set, n);
    tfm_status st = tfm_cli_json(&f->set[i], set + n + 1, strlen(set + n + 1),
                                 JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL, &why);
    if (f->set_name[i] == NULL || st != TFM_OK)
        tfm_cli_usage(c, "--set: %s: the value is not JSON (a string needs its quotes)", set);
}

static tfm_status read_tools(fixed *f, tfm_cli *c, tfm_error *err) {
    char *text;
    size_t n;
    json_error_t why;
    TFM_TRY(tfm_cli_read_file(c, f->opt->tools_path, RECORD_MAX, &text, &n, err));
    tfm_status st = tfm_cli_json(&f->tools, text ? text : "", n,
                                 JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why, err);
    free(text);
    if (st == TFM_FORMAT)
        return tfm_fail(err, st, "%s: not JSON: %s (line %d, column %d)", f->opt->tools_path,
                        why.text, why.line, why.column);
    if (st != TFM_OK) return st;
    json_t *inner = json_object_get(f->tools, "tools");
    if (inner) {
        json_incref(inner);
        json_decref(f->tools);
        f->tools = inner;
    }
    if (json_is_array(f->tools)) return TFM_OK;
    return tfm_fail(err, TFM_FORMAT, "%s: not an array of tools", f->opt->tools_path);
}

tfm_status fixed_open(fixed *f, tfm_cli *c, const options *opt, const tfm_chat *chat,
                      tfm_error *err) {
    *f = (fixed){.opt = opt, .chat = chat};
    for (size_t i = 0; i < opt->n_sets; i++) read_set(f, c, i);
    return opt->tools_path ? read_tools(f, c, err) : TFM_OK;
}

void fixed_close(fixed *f) {
    json_decref(f->tools);
    for (size_t i = 0; i < SETS_MAX; i++) {
        json_decref(f->set[i]);
        free(f->set_name[i]);
    }
}

static tfm_status add_fixed(conversation *c, const fixed *f, tfm_error *err) {
    for (size_t i = 0; f->chat && i < tfm_chat_n_tokens(f->chat); i++) {
        const char *name;
        size_t n;
        const char *json = tfm_chat_token(f->chat, i, &name, &n);
        TFM_TRY(add(c, name, json, n, true, err));
    }
    TFM_TRY(add_text(c, "documents", "null", err));
    if (f->tools)
        TFM_TRY(add_json(c, "tools", f->tools, false, err));
    else
        TFM_TRY(add_text(c, "tools", "null", err));
    for (size_t i = 0; i < f->opt->n_sets; i++)
        TFM_TRY(add_json(c, f->set_name[i], f->set[i], names_token(f->set_name[i]), err));
    return TFM_OK;
}

/* ---- one record ---- */

static tfm_status add_members(conversation *c, const json_t *object, const char *field,
                              tfm_error *err) {
    for (void *at = json_object_iter((json_t *)object); at;
         at = json_object_iter_next((json_t *)object, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *v = json_object_iter_value(at);
        if (strcmp(name, field) == 0 || strcmp(name, "messages") == 0 ||
            strcmp(name, "add_generation_prompt") == 0 ||
            strcmp(name, "continue_final_message") == 0)
            continue;
        if (strcmp(name, "chat_template_kwargs") == 0 && json_is_object(v))
            TFM_TRY(add_members(c, v, field, err));
        else
            TFM_TRY(add_json(c, name, v, false, err));
    }
    return TFM_OK;
}

static tfm_status check_messages(const json_t *messages, const char *field, tfm_error *err) {
    if (messages == NULL) return tfm_fail(err, TFM_RECORD, "no \"%s\" in the object", field);
    if (!json_is_array(messages)) return tfm_fail(err, TFM_RECORD, "the messages are no array");
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!json_is_object(json_array_get(messages, i)))
            return tfm_fail(err, TFM_RECORD, "message %zu is no object", i);
    return TFM_OK;
}

static bool is_on(const json_t *object, const char *name, bool fallback) {
    const json_t *v = json_object_get(object, name);
    return v ? json_is_true(v) : fallback;
}

static tfm_status read_json(conversation *c, const fixed *f, tfm_error *err) {
    const char *field = f->opt->field ? f->opt->field : "messages";
    bool is_array = json_is_array(c->json);
    const json_t *messages = is_array ? c->json : json_object_get(c->json, field);
    if (!is_array && !json_is_object(c->json))
        return tfm_fail(err, TFM_RECORD, "neither an array of messages nor an object");
    if (is_array && f->opt->frame == TFM_FRAME_JSONL)
        return tfm_fail(err, TFM_RECORD, "not a JSON object");
    TFM_TRY(check_messages(messages, field, err));
    TFM_TRY(add_fixed(c, f, err));
    if (!is_array) TFM_TRY(add_members(c, c->json, field, err));
    c->continues = is_on(c->json, "continue_final_message", f->opt->continues);
    bool generation =
        is_on(c->json, "add_generation_prompt", !f->opt->no_generation && !c->continues);
    if (generation && c->continues)
        return tfm_fail(err, TFM_RECORD,
                        "a generation prompt and a continued message cannot both be wanted");
    TFM_TRY(add_text(c, "add_generation_prompt", generation ? "true" : "false", err));
    TFM_TRY(add_json(c, "messages", messages, false, err));
    c->messages = c->variable[c->n - 1].json;
    c->messages_len = c->variable[c->n - 1].n;
    return TFM_OK;
}

tfm_status conversation_read(conversation *c, const fixed *f, const char *text, size_t n,
                             tfm_error *err) {
    json_error_t why;
    memset(c, 0, sizeof *c);
    if (n > RECORD_MAX) return tfm_fail(err, TFM_RECORD, "longer than %d bytes", RECORD_MAX);
    tfm_status st = tfm_cli_json(
        &c->json, text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &why, err);
    if (st == TFM_FORMAT)
        return tfm_fail(err, TFM_FORMAT, "not JSON: %s (line %d, column %d)", why.text, why.line,
                        why.column);
    return st == TFM_OK ? read_json(c, f, err) : st;
}

void conversation_free(conversation *c) {
    for (size_t i = 0; i < c->n; i++) free(c->owned[i]);
    json_decref(c->json);
    memset(c, 0, sizeof *c);
}
