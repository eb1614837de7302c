/* template.c - chat templates from outside: parse, render, cut for a continuation.
 *
 * Owns the limits of a run: steps, memory, output. Each is generous for the longest conversations
 * and small enough that a hostile template ends within a second. */
#include <stdarg.h>
#include <stdio.h>

#include "base/json_text_internal.h"
#include "text/template_internal.h"

enum {
    STEPS = 10 * 1000 * 1000,
    MEMORY = 48 << 20, /* bytes of values, and... */
    MEMORY_FACTOR = 16 /* ... this much for each byte of the variables */
};

/* ---- what a run is charged ---- */

tfm_status tfm_tp_fail(tp_run *r, const char *fmt, ...) {
    char text[520];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return tfm_fail(r->err, TFM_RECORD, "%s:%u: %s", r->t->name, r->line, text);
}

tfm_status tfm_tp_work(tp_run *r, size_t n) {
    if (n > r->steps_left) {
        r->steps_left = 0;
        return tfm_tp_fail(r, "the template takes too many steps");
    }
    r->steps_left -= n;
    return TFM_OK;
}

tfm_status tfm_tp_alloc(tp_run *r, void **out, size_t n) {
    *out = NULL;
    if (n > r->bytes_left) return tfm_tp_fail(r, "the template takes too much memory");
    r->bytes_left -= n;
    TFM_TRY(tfm_tp_work(r, n / 256));
    return tfm_arena_alloc(r->arena, out, n ? n : 1, r->err);
}

tfm_status tfm_tp_enter(tp_run *r) {
    if (++r->depth > TP_EVAL_DEPTH)
        return tfm_tp_fail(r, "more than %d levels within each other", TP_EVAL_DEPTH);
    return TFM_OK;
}

void tfm_tp_leave(tp_run *r) {
    r->depth--;
}

/* ---- a template ---- */

static tfm_status parse(tfm_template *t, const char *text, size_t n, tfm_error *err) {
    tp_parser p = {.arena = t->arena, .name = t->name, .err = err};
    tfm_status st = tfm_tp_lex(&p, text, n);
    if (st == TFM_OK) st = tfm_tp_parse(&p, &t->body);
    tfm_free(p.tok);
    tfm_free(p.names);
    return st;
}

tfm_status tfm_template_new(tfm_template **out, const char *name, const char *text, size_t n,
                            tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_template), err));
    tfm_template *t = p;
    tfm_status st = tfm_arena_new(&t->arena, err);
    if (st == TFM_OK) st = tfm_arena_strndup(t->arena, &t->name, name, strlen(name), err);
    if (st == TFM_OK) st = parse(t, text, n, err);
    if (st != TFM_OK) {
        tfm_template_free(t);
        return st;
    }
    *out = t;
    return TFM_OK;
}

void tfm_template_free(tfm_template *t) {
    if (t == NULL) return;
    if (t->arena) tfm_arena_free(t->arena);
    tfm_free(t);
}

/* ---- a run ---- */

static tfm_status set_variables(tp_run *r) {
    const tfm_template_input *in = r->in;
    for (size_t i = 0; i < in->n_variables; i++) {
        const tfm_template_variable *v = &in->variable[i];
        tp_val value;
        TFM_TRY(tfm_tp_from_json(r, v->json, v->n, v->name, v->is_own, &value));
        TFM_TRY(tfm_tp_set(r, v->name, value));
    }
    return TFM_OK;
}

static tfm_status run(tp_run *r) {
    void *p;
    uint64_t bytes = 0;
    for (size_t i = 0; i < r->in->n_variables; i++) bytes += r->in->variable[i].n;
    r->steps_left = r->in->max_steps ? r->in->max_steps : STEPS + bytes;
    r->bytes_left = MEMORY + MEMORY_FACTOR * bytes;
    r->out_max = (size_t)(r->bytes_left / 4);
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_scope)));
    r->scope = p;
    TFM_TRY(set_variables(r));
    TFM_TRY(tfm_tp_run_body(r));
    TFM_TRY(tfm_buf_byte(&r->text, '\0', r->err)); /* there is a buffer even for nothing */
    return tfm_buf_byte(&r->mask, 0, r->err);
}

tfm_status tfm_template_render(const tfm_template *t, const tfm_template_input *in,
                               tfm_rendered *out, tfm_error *err) {
    tfm_error own_err; /* messages are made in it even if nobody wants them */
    tp_run r = {.t = t, .in = in, .err = err ? err : &own_err};
    *out = (tfm_rendered){NULL, NULL, 0};
    TFM_TRY(tfm_arena_new(&r.arena, err));
    tfm_status st = run(&r);
    tfm_arena_free(r.arena);
    if (st != TFM_OK) {
        tfm_buf_free(&r.text);
        tfm_buf_free(&r.mask);
        return st;
    }
    *out = (tfm_rendered){r.text.data, (unsigned char *)r.mask.data, r.text.len - 1};
    return TFM_OK;
}

void tfm_rendered_free(tfm_rendered *r) {
    tfm_free(r->text);
    tfm_free(r->own);
    *r = (tfm_rendered){NULL, NULL, 0};
}

/* ---- continuing the final message ---- */

/* The text of the last message: its content, or that of the last part of it. NULL: none. */
static const json_t *final_text(const json_t *messages) {
    size_t n = json_array_size(messages);
    const json_t *content = n ? json_object_get(json_array_get(messages, n - 1), "content") : NULL;
    if (json_is_array(content) && json_array_size(content) > 0)
        content = json_object_get(json_array_get(content, json_array_size(content) - 1), "text");
    return json_is_string(content) ? content : NULL;
}

/* The last place where s stands as content, SIZE_MAX if there is none: what the template itself
 * prints behind the message may hold the same words. */
static size_t rfind_content(const tfm_rendered *r, const tp_str *s) {
    size_t content = 0; /* bytes of it from i on */
    for (size_t i = r->n; i-- > 0;) {
        content = r->own[i] ? 0 : content + 1;
        if (content >= s->n && memcmp(r->text + i, s->p, s->n) == 0) return i;
    }
    return SIZE_MAX;
}

static tfm_status cut_behind(tfm_rendered *r, const json_t *text, tfm_error *err) {
    tp_str s = {.p = json_string_value(text), .n = json_string_length(text)};
    tp_str all = {.p = r->text, .n = r->n};
    s = tfm_tp_strip(&s, NULL, TP_LEFT | TP_RIGHT);
    if (s.n == 0)
        return tfm_fail(err, TFM_RECORD, "the final message has no text that could be continued");
    size_t at = rfind_content(r, &s);
    if (at == SIZE_MAX)
        return tfm_fail(
            err, TFM_RECORD,
            "the final message does not stand in the prompt as it was given, so that it "
            "cannot be continued");
    all.n = at + s.n;
    r->n = tfm_tp_strip(&all, NULL, TP_RIGHT).n;
    r->text[r->n] = '\0';
    return TFM_OK;
}

tfm_status tfm_rendered_continue(tfm_rendered *r, const char *messages, size_t n, tfm_error *err) {
    json_t *j;
    json_error_t why;
    tfm_status st = tfm_json_load(&j, messages, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why, err);
    if (st == TFM_FORMAT) return tfm_fail(err, TFM_RECORD, "messages: not JSON: %s", why.text);
    if (st != TFM_OK) return st;
    const json_t *text = final_text(j);
    st = text ? cut_behind(r, text, err)
              : tfm_fail(err, TFM_RECORD, "the final message has no text that could be continued");
    json_decref(j);
    return st;
}
