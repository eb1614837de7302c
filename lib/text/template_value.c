/* template_value.c - values: what is true, equal, greater, how long, and what str() of it is.
 *
 * All of it as in Python, because templates were written against that: True == 1, None prints as
 * None, an undefined value is empty and false but cannot be added to anything. */
#include <math.h>
#include <stdio.h>
#include <utf8proc.h>

#include "text/template_internal.h"

tp_val tfm_tp_undefined(const char *name) {
    return (tp_val){.kind = TP_UNDEFINED, .u.name = name};
}
tp_val tfm_tp_none(void) {
    return (tp_val){.kind = TP_NONE};
}
tp_val tfm_tp_bool(bool b) {
    return (tp_val){.kind = TP_BOOL, .u.b = b};
}
tp_val tfm_tp_int(int64_t i, bool own) {
    return (tp_val){.kind = TP_INT, .own = own, .u.i = i};
}
tp_val tfm_tp_float(double f, bool own) {
    return (tp_val){.kind = TP_FLOAT, .own = own, .u.f = f};
}

const char *tfm_tp_kind(const tp_val *v) {
    static const char *const names[] = {"an undefined value",
                                        "None",
                                        "a boolean",
                                        "an integer",
                                        "a float",
                                        "a string",
                                        "a list",
                                        "a dict",
                                        "a namespace",
                                        "the loop",
                                        "a macro",
                                        "a function",
                                        "a method"};
    if (v->kind == TP_LIST && v->u.list->form == TP_FORM_TUPLE) return "a tuple";
    if (v->kind == TP_LIST && v->u.list->form >= TP_FORM_RANGE) return "an iterator";
    return names[v->kind];
}

bool tfm_tp_is_mapping(const tp_val *v) {
    return v->kind == TP_DICT;
}
bool tfm_tp_is_number(const tp_val *v) {
    return v->kind == TP_BOOL || v->kind == TP_INT || v->kind == TP_FLOAT;
}
double tfm_tp_number(const tp_val *v) {
    if (v->kind == TP_FLOAT) return v->u.f;
    return v->kind == TP_BOOL ? (double)v->u.b : (double)v->u.i;
}

bool tfm_tp_true(const tp_val *v) {
    switch (v->kind) {
    case TP_UNDEFINED:
    case TP_NONE: return false;
    case TP_STR: return v->u.s->n > 0;
    case TP_LIST: return v->u.list->form == TP_FORM_GENERATOR || v->u.list->n > 0;
    case TP_DICT: return v->u.dict->n > 0;
    case TP_BOOL:
    case TP_INT:
    case TP_FLOAT: return tfm_tp_number(v) != 0;
    default: return true;
    }
}

/* ---- equality and order ---- */

static int compare_numbers(const tp_val *a, const tp_val *b) {
    if (a->kind == TP_INT && b->kind == TP_INT) return (a->u.i > b->u.i) - (a->u.i < b->u.i);
    double x = tfm_tp_number(a), y = tfm_tp_number(b);
    return (x > y) - (x < y);
}

static tfm_status equal_parts(tp_run *r, const tp_val *a, const tp_val *b, bool *out) {
    *out = false;
    if (a->kind == TP_LIST) {
        const tp_list *x = a->u.list, *y = b->u.list;
        if (x == y) {
            *out = true;
            return TFM_OK;
        }
        if (x->form > TP_FORM_TUPLE || y->form > TP_FORM_TUPLE)
            return tfm_tp_fail(r, "== between iterators is not supported");
        if (x->form != y->form || x->n != y->n) return TFM_OK;
        *out = true;
        for (size_t i = 0; i < x->n && *out; i++)
            TFM_TRY(tfm_tp_equal(r, &x->item[i], &y->item[i], out));
        return TFM_OK;
    }
    const tp_dict *x = a->u.dict, *y = b->u.dict;
    *out = x == y;
    if (x == y || x->n != y->n) return TFM_OK;
    *out = true;
    for (size_t i = 0; i < x->n && *out; i++) {
        tp_val *other;
        TFM_TRY(tfm_tp_dict_get(r, y, &x->pair[i].key, &other));
        *out = other != NULL;
        if (other) TFM_TRY(tfm_tp_equal(r, &x->pair[i].value, other, out));
    }
    return TFM_OK;
}

tfm_status tfm_tp_equal(tp_run *r, const tp_val *a, const tp_val *b, bool *out) {
    TFM_TRY(tfm_tp_work(r, 1));
    if (tfm_tp_is_number(a) && tfm_tp_is_number(b)) {
        *out = !isnan(tfm_tp_number(a)) && !isnan(tfm_tp_number(b)) && compare_numbers(a, b) == 0;
        return TFM_OK;
    }
    *out = a->kind == b->kind;
    if (!*out) return TFM_OK;
    switch (a->kind) {
    case TP_UNDEFINED:
    case TP_NONE: return TFM_OK;
    case TP_STR: *out = tfm_tp_str_equal(a->u.s, b->u.s); return TFM_OK;
    case TP_LIST:
    case TP_DICT: break;
    case TP_NAMESPACE: *out = a->u.dict == b->u.dict; return TFM_OK;
    default: return tfm_tp_fail(r, "== on %s is not supported", tfm_tp_kind(a));
    }
    TFM_TRY(tfm_tp_enter(r));
    tfm_status st = equal_parts(r, a, b, out);
    tfm_tp_leave(r);
    return st;
}

tfm_status tfm_tp_order(tp_run *r, const tp_val *a, const tp_val *b, int *out) {
    TFM_TRY(tfm_tp_work(r, 1));
    if (tfm_tp_is_number(a) && tfm_tp_is_number(b)) {
        *out = compare_numbers(a, b);
        return TFM_OK;
    }
    if (a->kind == TP_STR && b->kind == TP_STR) {
        const tp_str *x = a->u.s, *y = b->u.s;
        size_t n = x->n < y->n ? x->n : y->n;
        *out = n ? memcmp(x->p, y->p, n) : 0; /* of UTF-8: the order of code points */
        if (*out == 0) *out = (x->n > y->n) - (x->n < y->n);
        return TFM_OK;
    }
    return tfm_tp_fail(r, "%s and %s have no order", tfm_tp_kind(a), tfm_tp_kind(b));
}

/* ---- lists and dicts ---- */

tfm_status tfm_tp_list_new(tp_run *r, tp_form form, size_t room, tp_val *out) {
    void *p, *items = NULL;
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_list)));
    if (room > SIZE_MAX / sizeof(tp_val)) return tfm_tp_fail(r, "a list too long");
    if (room) TFM_TRY(tfm_tp_alloc(r, &items, room * sizeof(tp_val)));
    tp_list *l = p;
    *l = (tp_list){.item = items, .cap = room, .form = form};
    *out = (tp_val){.kind = TP_LIST, .u.list = l};
    return TFM_OK;
}

tfm_status tfm_tp_list_push(tp_run *r, tp_list *l, tp_val v) {
    if (l->n == l->cap) {
        void *p;
        size_t cap = l->cap < 4 ? 4 : l->cap * 2;
        TFM_TRY(tfm_tp_alloc(r, &p, cap * sizeof(tp_val)));
        if (l->n) memcpy(p, l->item, l->n * sizeof(tp_val));
        l->item = p;
        l->cap = cap;
    }
    l->item[l->n++] = v;
    return TFM_OK;
}

tfm_status tfm_tp_dict_new(tp_run *r, size_t room, tp_val *out) {
    void *p, *pairs = NULL;
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_dict)));
    if (room > SIZE_MAX / sizeof(tp_pair)) return tfm_tp_fail(r, "a dict too large");
    if (room) TFM_TRY(tfm_tp_alloc(r, &pairs, room * sizeof(tp_pair)));
    tp_dict *d = p;
    *d = (tp_dict){.pair = pairs, .cap = room};
    *out = (tp_val){.kind = TP_DICT, .u.dict = d};
    return TFM_OK;
}

tfm_status tfm_tp_dict_add(tp_run *r, tp_dict *d, tp_val key, tp_val value) {
    if (d->n == d->cap) {
        void *p;
        size_t cap = d->cap < 4 ? 4 : d->cap * 2;
        TFM_TRY(tfm_tp_alloc(r, &p, cap * sizeof(tp_pair)));
        if (d->n) memcpy(p, d->pair, d->n * sizeof(tp_pair));
        d->pair = p;
        d->cap = cap;
    }
    d->pair[d->n++] = (tp_pair){key, value};
    return TFM_OK;
}

tfm_status tfm_tp_dict_get(tp_run *r, const tp_dict *d, const tp_val *key, tp_val **out) {
    *out = NULL;
    TFM_TRY(tfm_tp_work(r, d->n / 8));
    if (key->kind == TP_DICT || (key->kind == TP_LIST && key->u.list->form == TP_FORM_LIST))
        return tfm_tp_fail(r, "%s cannot be a key", tfm_tp_kind(key));
    for (size_t i = 0; i < d->n; i++) {
        bool same;
        if (key->kind == TP_STR && d->pair[i].key.kind == TP_STR)
            same = tfm_tp_str_equal(key->u.s, d->pair[i].key.u.s);
        else
            TFM_TRY(tfm_tp_equal(r, key, &d->pair[i].key, &same));
        if (!same) continue;
        *out = &d->pair[i].value;
        return TFM_OK;
    }
    return TFM_OK;
}

tfm_status tfm_tp_dict_find(tp_run *r, const tp_dict *d, const char *key, tp_val **out) {
    tp_str s = {.p = key, .n = strlen(key)};
    tp_val k = {.kind = TP_STR, .u.s = &s};
    return tfm_tp_dict_get(r, d, &k, out);
}

tfm_status tfm_tp_dict_set(tp_run *r, tp_dict *d, tp_val key, tp_val value) {
    tp_val *there;
    TFM_TRY(tfm_tp_dict_get(r, d, &key, &there));
    if (there == NULL) return tfm_tp_dict_add(r, d, key, value);
    *there = value;
    return TFM_OK;
}

static tfm_status characters(tp_run *r, const tp_str *s, tp_list **out) {
    tp_val list;
    size_t len;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, tfm_tp_length(s), &list));
    for (size_t i = 0; i < s->n; i += len) {
        tp_val c;
        len = tfm_tp_step(s->p + i, s->n - i);
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(tfm_tp_str(r, tfm_tp_part(s, i, i + len), &c));
        TFM_TRY(tfm_tp_list_push(r, list.u.list, c));
    }
    *out = list.u.list;
    return TFM_OK;
}

tfm_status tfm_tp_items(tp_run *r, const tp_val *v, tp_list **out) {
    tp_val list;
    switch (v->kind) {
    case TP_UNDEFINED:
        TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, 0, &list));
        *out = list.u.list;
        return TFM_OK;
    case TP_STR: return characters(r, v->u.s, out);
    case TP_LIST:
        if (v->u.list->form == TP_FORM_GENERATOR && v->u.list->is_used)
            return tfm_tp_fail(r, "an iterator is used twice; make it a list first");
        v->u.list->is_used = true;
        *out = v->u.list;
        return TFM_OK;
    case TP_DICT:
        TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, v->u.dict->n, &list));
        for (size_t i = 0; i < v->u.dict->n; i++)
            TFM_TRY(tfm_tp_list_push(r, list.u.list, v->u.dict->pair[i].key));
        *out = list.u.list;
        return tfm_tp_work(r, v->u.dict->n);
    default: return tfm_tp_fail(r, "%s has no items", tfm_tp_kind(v));
    }
}

tfm_status tfm_tp_contains(tp_run *r, const tp_val *in, const tp_val *v, bool *out) {
    *out = false;
    if (in->kind == TP_STR) {
        if (v->kind != TP_STR) return tfm_tp_fail(r, "%s in a string", tfm_tp_kind(v));
        *out = tfm_tp_find(in->u.s, v->u.s, 0) != SIZE_MAX;
        return tfm_tp_work(r, in->u.s->n / 32);
    }
    if (in->kind == TP_DICT) {
        tp_val *there;
        TFM_TRY(tfm_tp_dict_get(r, in->u.dict, v, &there));
        *out = there != NULL;
        return TFM_OK;
    }
    tp_list *l;
    TFM_TRY(tfm_tp_items(r, in, &l));
    for (size_t i = 0; i < l->n && !*out; i++) TFM_TRY(tfm_tp_equal(r, &l->item[i], v, out));
    return TFM_OK;
}

tfm_status tfm_tp_len(tp_run *r, const tp_val *v, int64_t *out) {
    switch (v->kind) {
    case TP_UNDEFINED: *out = 0; return TFM_OK;
    case TP_STR: *out = (int64_t)tfm_tp_length(v->u.s); return tfm_tp_work(r, v->u.s->n / 32);
    case TP_DICT: *out = (int64_t)v->u.dict->n; return TFM_OK;
    case TP_LIST:
        if (v->u.list->form == TP_FORM_GENERATOR) break;
        *out = (int64_t)v->u.list->n;
        return TFM_OK;
    default: break;
    }
    return tfm_tp_fail(r, "%s has no length", tfm_tp_kind(v));
}

/* ---- str() and repr() ---- */

/* Shortest digits that read back the same; exponents as Python writes them. */
void tfm_tp_float_text(double f, char *out) {
    char digits[40], mantissa[24];
    int precision = 0, exponent = 0;
    double back = 0;
    if (!isfinite(f)) {
        snprintf(out, TP_FLOAT_TEXT, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    for (; precision < 17; precision++) {
        int n = snprintf(digits, sizeof digits, "%.*e", precision, f);
        for (int i = 0; i < n; i++) /* whatever the locale's decimal sign is */
            if (digits[i] == ',') digits[i] = '.';
        if (tfm_parse_double(digits, -INFINITY, INFINITY, &back) && back == f) break;
    }
    const char *e = strchr(digits, 'e');
    size_t k = 0;
    for (const char *p = digits; p < e; p++)
        if (*p >= '0' && *p <= '9' && k < sizeof mantissa - 1) mantissa[k++] = *p;
    mantissa[k] = '\0';
    for (const char *p = e + 2; *p; p++) exponent = exponent * 10 + (*p - '0');
    if (e[1] == '-') exponent = -exponent;
    const char *sign = digits[0] == '-' ? "-" : "";
    int n = (int)k;
    if (exponent < -4 || exponent >= 16)
        snprintf(out, TP_FLOAT_TEXT, "%s%c%s%se%c%02d", sign, mantissa[0], n > 1 ? "." : "",
                 mantissa + 1, exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
    else if (exponent < 0)
        snprintf(out, TP_FLOAT_TEXT, "%s0.%.*s%s", sign, -exponent - 1, "000", mantissa);
    else if (exponent >= n - 1)
        snprintf(out, TP_FLOAT_TEXT, "%s%s%.*s.0", sign, mantissa, exponent - n + 1,
                 "0000000000000000");
    else
        snprintf(out, TP_FLOAT_TEXT, "%s%.*s.%s", sign, exponent + 1, mantissa,
                 mantissa + exponent + 1);
}

static tfm_status put(tp_run *r, tp_text *t, const char *s, bool own) {
    return tfm_tp_text_bytes(r, t, s, strlen(s), own);
}

static bool is_printable(uint32_t c) {
    if (c < 0x80) return c >= 0x20 && c < 0x7f;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

static tfm_status repr_str(tp_run *r, const tp_str *s, tp_text *t) {
    char quote = s->n && memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n) ? '"' : '\'';
    size_t len;
    TFM_TRY(tfm_tp_text_bytes(r, t, &quote, 1, false));
    for (size_t i = 0; i < s->n; i += len) {
        char escape[12];
        uint32_t c = tfm_tp_char(s->p + i, s->n - i, &len);
        if (c == (unsigned char)quote || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", (int)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (is_printable(c))
            escape[0] = '\0';
        else
            snprintf(escape, sizeof escape,
                     c < 0x100     ? "\\x%02x"
                     : c < 0x10000 ? "\\u%04x"
                                   : "\\U%08x",
                     (unsigned)c);
        if (escape[0])
            TFM_TRY(put(r, t, escape, tfm_tp_own_at(s, i)));
        else
            TFM_TRY(tfm_tp_text_part(r, t, s, i, i + len));
    }
    return tfm_tp_text_bytes(r, t, &quote, 1, false);
}

static tfm_status repr_list(tp_run *r, const tp_list *l, tp_text *t) {
    bool tuple = l->form == TP_FORM_TUPLE;
    if (l->form > TP_FORM_TUPLE)
        return tfm_tp_fail(r, "an iterator cannot be printed; make it a list first");
    TFM_TRY(put(r, t, tuple ? "(" : "[", false));
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0) TFM_TRY(put(r, t, ", ", false));
        TFM_TRY(tfm_tp_repr(r, &l->item[i], t));
    }
    if (tuple && l->n == 1) TFM_TRY(put(r, t, ",", false));
    return put(r, t, tuple ? ")" : "]", false);
}

static tfm_status repr_dict(tp_run *r, const tp_dict *d, tp_text *t) {
    TFM_TRY(put(r, t, "{", false));
    for (size_t i = 0; i < d->n; i++) {
        if (i > 0) TFM_TRY(put(r, t, ", ", false));
        TFM_TRY(tfm_tp_repr(r, &d->pair[i].key, t));
        TFM_TRY(put(r, t, ": ", false));
        TFM_TRY(tfm_tp_repr(r, &d->pair[i].value, t));
    }
    return put(r, t, "}", false);
}

tfm_status tfm_tp_repr(tp_run *r, const tp_val *v, tp_text *t) {
    char text[TP_FLOAT_TEXT];
    tfm_status st;
    TFM_TRY(tfm_tp_work(r, 1));
    switch (v->kind) {
    case TP_UNDEFINED: return put(r, t, "Undefined", false);
    case TP_NONE: return put(r, t, "None", v->own);
    case TP_BOOL: return put(r, t, v->u.b ? "True" : "False", v->own);
    case TP_INT:
        snprintf(text, sizeof text, "%lld", (long long)v->u.i);
        return put(r, t, text, v->own);
    case TP_FLOAT: tfm_tp_float_text(v->u.f, text); return put(r, t, text, v->own);
    case TP_STR: return repr_str(r, v->u.s, t);
    case TP_LIST:
    case TP_DICT: break;
    default: return tfm_tp_fail(r, "%s cannot be printed", tfm_tp_kind(v));
    }
    TFM_TRY(tfm_tp_enter(r));
    st = v->kind == TP_LIST ? repr_list(r, v->u.list, t) : repr_dict(r, v->u.dict, t);
    tfm_tp_leave(r);
    return st;
}

tfm_status tfm_tp_to_str(tp_run *r, const tp_val *v, const tp_str **out) {
    static const tp_str empty = {.p = ""};
    tp_text t = {0};
    tp_val s;
    *out = &empty;
    if (v->kind == TP_UNDEFINED) return TFM_OK;
    if (v->kind != TP_STR) {
        TFM_TRY(tfm_tp_repr(r, v, &t));
        TFM_TRY(tfm_tp_text_done(r, &t, &s));
        *out = s.u.s;
    } else {
        *out = v->u.s;
    }
    return TFM_OK;
}
