/* template_json.c - JSON text to values, and the filter tojson: Python's json.dumps, separators
 * included.
 *
 * What tojson puts around values (brackets, quotes) counts as content: a message must not be able
 * to choose where the template's own text stands. */
#include "base/json_text_internal.h"
#include "base/utf8_internal.h"
#include "text/template_internal.h"

/* ---- JSON to values ---- */

/* Words for the author of a message. No template has a control token of one of them alone, so that
 * even where one is made of "<|" + role + "|>", it is the one that the template means. */
static bool is_usual_role(const tp_str *s) {
    static const char *const usual[] = {
        "system", "user",    "assistant",   "tool", "developer", "function",  "ipython",
        "model",  "context", "observation", "bot",  "document",  "documents", "tools"};
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        if (tfm_tp_str_is(s, usual[i])) return true;
    return false;
}

typedef struct reading {
    tp_run *r;
    bool own;
    bool roles; /* this is `messages`: roles are of interest */
} reading;

/* depth: 0 is the value itself; of messages, 2 is inside of a message. */
static tfm_status read_value(const reading *in, const json_t *j, unsigned depth, tp_val *out);

static tfm_status read_object(const reading *in, const json_t *j, unsigned depth, tp_val *out) {
    tp_run *r = in->r;
    TFM_TRY(tfm_tp_dict_new(r, json_object_size(j), out));
    for (void *at = json_object_iter((json_t *)j); at;
         at = json_object_iter_next((json_t *)j, at)) {
        const char *name = json_object_iter_key(at);
        const json_t *value = json_object_iter_value(at);
        reading inner = *in;
        tp_val key, v;
        TFM_TRY(tfm_tp_bytes(r, name, json_object_iter_key_len(at), in->own, &key));
        if (in->roles && depth == 1 && strcmp(name, "role") == 0 && json_is_string(value)) {
            tp_str s = {.p = json_string_value(value), .n = json_string_length(value)};
            inner.own = is_usual_role(&s);
        }
        TFM_TRY(read_value(&inner, value, depth + 1, &v));
        TFM_TRY(tfm_tp_dict_add(r, out->u.dict, key, v));
    }
    return TFM_OK;
}

static tfm_status read_value(const reading *in, const json_t *j, unsigned depth, tp_val *out) {
    tp_run *r = in->r;
    if (depth > TP_VALUE_DEPTH)
        return tfm_tp_fail(r, "more than %d lists and objects within each other", TP_VALUE_DEPTH);
    switch (json_typeof(j)) {
    case JSON_OBJECT: return read_object(in, j, depth, out);
    case JSON_ARRAY:
        TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, json_array_size(j), out));
        for (size_t i = 0; i < json_array_size(j); i++) {
            tp_val v;
            TFM_TRY(read_value(in, json_array_get(j, i), depth + 1, &v));
            TFM_TRY(tfm_tp_list_push(r, out->u.list, v));
        }
        return TFM_OK;
    case JSON_STRING:
        return tfm_tp_bytes(r, json_string_value(j), json_string_length(j), in->own, out);
    case JSON_INTEGER: *out = tfm_tp_int(json_integer_value(j), in->own); return TFM_OK;
    case JSON_REAL: *out = tfm_tp_float(json_real_value(j), in->own); return TFM_OK;
    case JSON_NULL: *out = tfm_tp_none(); return TFM_OK;
    default: *out = tfm_tp_bool(json_is_true(j)); return TFM_OK;
    }
}

tfm_status tfm_tp_from_json(tp_run *r, const char *text, size_t n, const char *what, bool own,
                            tp_val *out) {
    json_t *j;
    json_error_t why;
    reading in = {r, own, strcmp(what, "messages") == 0};
    tfm_status st = tfm_json_load(&j, text, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why, r->err);
    if (st == TFM_FORMAT)
        return tfm_fail(r->err, TFM_RECORD, "%s: not JSON: %s (line %d, column %d)", what, why.text,
                        why.line, why.column);
    if (st != TFM_OK) return st;
    st = read_value(&in, j, 0, out);
    json_decref(j);
    return st;
}

/* ---- values to JSON ---- */

typedef struct writing {
    tp_run *r;
    const tp_json_style *style;
    tp_text t;
    unsigned depth;
} writing;

static tfm_status put(writing *w, const char *s) {
    return tfm_tp_text_bytes(w->r, &w->t, s, strlen(s), false);
}

static tfm_status put_escape(writing *w, uint32_t c, bool own) {
    static const char hex[] = "0123456789abcdef";
    char s[6] = {'\\', 'u', hex[c >> 12 & 15], hex[c >> 8 & 15], hex[c >> 4 & 15], hex[c & 15]};
    return tfm_tp_text_bytes(w->r, &w->t, s, 6, own);
}

/* One character that cannot stand as it is. */
static tfm_status put_special(writing *w, uint32_t c, bool own) {
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *known = c && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (known) {
        char s[2] = {'\\', to[known - from]};
        return tfm_tp_text_bytes(w->r, &w->t, s, 2, own);
    }
    if (c < 0x10000) return put_escape(w, c, own);
    TFM_TRY(put_escape(w, 0xd800 + ((c - 0x10000) >> 10), own));
    return put_escape(w, 0xdc00 + ((c - 0x10000) & 0x3ff), own);
}

static tfm_status put_string(writing *w, const tp_str *s) {
    size_t done = 0, len;
    TFM_TRY(put(w, "\""));
    for (size_t i = 0; i < s->n; i += len) {
        uint32_t c = tfm_tp_char(s->p + i, s->n - i, &len);
        if (c >= 0x20 && c != '"' && c != '\\' && (c < 0x7f || !w->style->ascii)) continue;
        TFM_TRY(tfm_tp_text_part(w->r, &w->t, s, done, i));
        TFM_TRY(put_special(w, c, tfm_tp_own_at(s, i)));
        done = i + len;
    }
    TFM_TRY(tfm_tp_text_part(w->r, &w->t, s, done, s->n));
    return put(w, "\"");
}

static tfm_status new_line(writing *w) {
    if (w->style->indent == NULL) return TFM_OK;
    TFM_TRY(put(w, "\n"));
    for (unsigned i = 0; i < w->depth; i++) TFM_TRY(tfm_tp_text_str(w->r, &w->t, w->style->indent));
    return TFM_OK;
}

static tfm_status put_value(writing *w, const tp_val *v);

static tfm_status put_list(writing *w, const tp_list *l) {
    if (l->form != TP_FORM_LIST && l->form != TP_FORM_TUPLE)
        return tfm_tp_fail(w->r, "tojson: this sequence is no JSON value; make it a list first");
    if (l->n == 0) return put(w, "[]");
    TFM_TRY(put(w, "["));
    w->depth++;
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0) TFM_TRY(tfm_tp_text_str(w->r, &w->t, w->style->item));
        TFM_TRY(new_line(w));
        TFM_TRY(put_value(w, &l->item[i]));
    }
    w->depth--;
    TFM_TRY(new_line(w));
    return put(w, "]");
}

static tfm_status put_key(writing *w, const tp_val *key) {
    const tp_str *s;
    if (key->kind == TP_STR) return put_string(w, key->u.s);
    if (key->kind == TP_NONE) return put(w, "\"null\"");
    if (key->kind == TP_BOOL) return put(w, key->u.b ? "\"true\"" : "\"false\"");
    if (key->kind != TP_INT && key->kind != TP_FLOAT)
        return tfm_tp_fail(w->r, "tojson: %s is no key in JSON", tfm_tp_kind(key));
    TFM_TRY(tfm_tp_to_str(w->r, key, &s));
    return put_string(w, s);
}

/* The pairs of d by their keys, which must be strings. */
static tfm_status sorted(writing *w, const tp_dict *d, tp_pair **out) {
    void *p;
    TFM_TRY(tfm_tp_alloc(w->r, &p, d->n * sizeof(tp_pair)));
    tp_pair *pair = p;
    for (size_t i = 0; i < d->n; i++) {
        size_t k = i;
        for (; k > 0; k--) {
            int order;
            TFM_TRY(tfm_tp_work(w->r, 1));
            TFM_TRY(tfm_tp_order(w->r, &d->pair[i].key, &pair[k - 1].key, &order));
            if (order >= 0) break;
            pair[k] = pair[k - 1];
        }
        pair[k] = d->pair[i];
    }
    *out = pair;
    return TFM_OK;
}

static tfm_status put_dict(writing *w, const tp_dict *d) {
    tp_pair *pair = d->pair;
    if (d->n == 0) return put(w, "{}");
    if (w->style->sort) TFM_TRY(sorted(w, d, &pair));
    TFM_TRY(put(w, "{"));
    w->depth++;
    for (size_t i = 0; i < d->n; i++) {
        if (i > 0) TFM_TRY(tfm_tp_text_str(w->r, &w->t, w->style->item));
        TFM_TRY(new_line(w));
        TFM_TRY(put_key(w, &pair[i].key));
        TFM_TRY(tfm_tp_text_str(w->r, &w->t, w->style->key));
        TFM_TRY(put_value(w, &pair[i].value));
    }
    w->depth--;
    TFM_TRY(new_line(w));
    return put(w, "}");
}

static tfm_status put_value(writing *w, const tp_val *v) {
    char text[TP_FLOAT_TEXT];
    const tp_str *s;
    tfm_status st;
    TFM_TRY(tfm_tp_work(w->r, 1));
    switch (v->kind) {
    case TP_NONE: return put(w, "null");
    case TP_BOOL: return put(w, v->u.b ? "true" : "false");
    case TP_STR: return put_string(w, v->u.s);
    case TP_INT: TFM_TRY(tfm_tp_to_str(w->r, v, &s)); return tfm_tp_text_str(w->r, &w->t, s);
    case TP_FLOAT:
        tfm_tp_float_text(v->u.f, text);
        if (text[0] == 'n') return put(w, "NaN");
        if (strchr(text, 'i')) return put(w, text[0] == '-' ? "-Infinity" : "Infinity");
        return put(w, text);
    case TP_LIST:
    case TP_DICT: break;
    default: return tfm_tp_fail(w->r, "tojson: %s is no JSON value", tfm_tp_kind(v));
    }
    TFM_TRY(tfm_tp_enter(w->r));
    st = v->kind == TP_LIST ? put_list(w, v->u.list) : put_dict(w, v->u.dict);
    tfm_tp_leave(w->r);
    return st;
}

tfm_status tfm_tp_to_json(tp_run *r, const tp_val *v, const tp_json_style *style, tp_val *out) {
    writing w = {.r = r, .style = style};
    TFM_TRY(put_value(&w, v));
    return tfm_tp_text_done(r, &w.t, out);
}
