/* template_filter.c - filters over one value. Those over the items of a sequence by an attribute, a
 * filter or a test are in template_select.c. */
#include <math.h>
#include <stdlib.h>
#include <strings.h>
#include <utf8proc.h>

#include "text/template_internal.h"

static tfm_status as_str(const tp_call *c, const tp_str **out) {
    return tfm_tp_to_str(c->r, c->in, out);
}

static tfm_status trim(tp_call *c, tp_val *out) {
    const tp_str *s, *chars = NULL;
    TFM_TRY(tfm_tp_call_bind(c, "chars"));
    TFM_TRY(as_str(c, &s));
    if (c->given[0] && c->v[0].kind != TP_NONE) TFM_TRY(tfm_tp_to_str(c->r, &c->v[0], &chars));
    TFM_TRY(tfm_tp_work(c->r, chars ? s->n / 8 * (1 + chars->n / 8) : s->n / 32));
    return tfm_tp_str(c->r, tfm_tp_strip(s, chars, TP_LEFT | TP_RIGHT), out);
}

static tfm_status length(tp_call *c, tp_val *out) {
    int64_t n;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(tfm_tp_len(c->r, c->in, &n));
    *out = tfm_tp_int(n, false);
    return TFM_OK;
}

static tfm_status letter_case(tp_call *c, tp_val *out) {
    const tp_str *s;
    tp_case how = c->name[0] == 'u'   ? TP_UPPER
                  : c->name[0] == 'l' ? TP_LOWER
                  : c->name[0] == 't' ? TP_WORDS
                                      : TP_CAPITALIZE;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(as_str(c, &s));
    return tfm_tp_case(c->r, s, how, out);
}

static tfm_status string(tp_call *c, tp_val *out) {
    const tp_str *s;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(as_str(c, &s));
    return tfm_tp_str(c->r, *s, out);
}

static tfm_status safe(tp_call *c, tp_val *out) {
    const tp_str *s;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(as_str(c, &s));
    tp_str marked = *s;
    marked.is_markup = true;
    return tfm_tp_str(c->r, marked, out);
}

static tfm_status fallback(tp_call *c, tp_val *out) {
    TFM_TRY(tfm_tp_call_bind(c, "default_value boolean"));
    bool use = c->in->kind == TP_UNDEFINED ||
               (c->given[1] && tfm_tp_true(&c->v[1]) && !tfm_tp_true(c->in));
    *out = *c->in;
    if (use && c->given[0]) *out = c->v[0];
    if (use && !c->given[0]) return tfm_tp_bytes(c->r, "", 0, true, out);
    return TFM_OK;
}

static tfm_status first_last(tp_call *c, tp_val *out) {
    tp_list *l;
    bool first = c->name[0] == 'f';
    TFM_TRY(tfm_tp_call_bind(c, ""));
    if (!first && c->in->kind == TP_LIST && c->in->u.list->form == TP_FORM_GENERATOR)
        return tfm_tp_fail(c->r, "last: of an iterator; make it a list first");
    TFM_TRY(tfm_tp_items(c->r, c->in, &l));
    *out = l->n ? l->item[first ? 0 : l->n - 1] : tfm_tp_undefined(c->name);
    return TFM_OK;
}

static tfm_status replace(tp_call *c, tp_val *out) {
    const tp_str *s, *old, *with;
    int64_t most = -1;
    TFM_TRY(tfm_tp_call_bind(c, "old new count"));
    if (!c->given[0] || !c->given[1]) return tfm_tp_fail(c->r, "replace: two strings are wanted");
    TFM_TRY(as_str(c, &s));
    TFM_TRY(tfm_tp_to_str(c->r, &c->v[0], &old));
    TFM_TRY(tfm_tp_to_str(c->r, &c->v[1], &with));
    if (s->is_markup)
        return tfm_tp_fail(c->r, "replace in a value that is marked safe is not supported");
    if (c->given[2] && c->v[2].kind == TP_INT) most = c->v[2].u.i;
    TFM_TRY(tfm_tp_work(c->r, s->n / 32));
    return tfm_tp_replace(c->r, s, old, with, most, out);
}

static tfm_status to_list(tp_call *c, tp_val *out) {
    tp_list *l;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(tfm_tp_items(c->r, c->in, &l));
    TFM_TRY(tfm_tp_work(c->r, l->n));
    TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_LIST, l->n, out));
    for (size_t i = 0; i < l->n; i++) TFM_TRY(tfm_tp_list_push(c->r, out->u.list, l->item[i]));
    return TFM_OK;
}

static tfm_status push_pair(tp_run *r, tp_list *l, const tp_pair *p) {
    tp_val v;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_TUPLE, 2, &v));
    TFM_TRY(tfm_tp_list_push(r, v.u.list, p->key));
    TFM_TRY(tfm_tp_list_push(r, v.u.list, p->value));
    return tfm_tp_list_push(r, l, v);
}

static tfm_status items(tp_call *c, tp_val *out) {
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_GENERATOR, 0, out));
    if (c->in->kind == TP_UNDEFINED) return TFM_OK;
    if (c->in->kind != TP_DICT) return tfm_tp_fail(c->r, "items: of %s", tfm_tp_kind(c->in));
    TFM_TRY(tfm_tp_work(c->r, c->in->u.dict->n));
    for (size_t i = 0; i < c->in->u.dict->n; i++)
        TFM_TRY(push_pair(c->r, out->u.list, &c->in->u.dict->pair[i]));
    return TFM_OK;
}

static tfm_status reversed(tp_call *c, tp_val *out) {
    tp_list *l;
    tp_text t = {0};
    TFM_TRY(tfm_tp_call_bind(c, ""));
    if (c->in->kind == TP_DICT || c->in->kind == TP_UNDEFINED)
        return tfm_tp_fail(c->r, "reverse: of %s is not supported", tfm_tp_kind(c->in));
    TFM_TRY(tfm_tp_items(c->r, c->in, &l));
    TFM_TRY(tfm_tp_work(c->r, l->n));
    TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_GENERATOR, l->n, out));
    for (size_t i = l->n; i-- > 0;) {
        if (c->in->kind == TP_STR)
            TFM_TRY(tfm_tp_text_str(c->r, &t, l->item[i].u.s));
        else
            TFM_TRY(tfm_tp_list_push(c->r, out->u.list, l->item[i]));
    }
    return c->in->kind == TP_STR ? tfm_tp_text_done(c->r, &t, out) : TFM_OK;
}

/* ---- numbers ---- */

/* The text of a number without spaces around; false if it is longer than any, or has a NUL. */
static bool number_text(const tp_str *t, char out[64]) {
    if (t->n == 0 || t->n >= 64 || memchr(t->p, '\0', t->n)) return false;
    memcpy(out, t->p, t->n);
    out[t->n] = '\0';
    return true;
}

/* Might Python read a number where we do not: "1_000", digits of other scripts, "1e999", "inf"? */
static bool may_be_number(const tp_str *t) {
    static const char *const words[] = {"inf", "infinity", "nan"};
    bool digit = false;
    size_t sign = t->n > 0 && (t->p[0] == '+' || t->p[0] == '-'), len;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (t->n - sign == strlen(words[i]) && strncasecmp(t->p + sign, words[i], t->n - sign) == 0)
            return true;
    for (size_t i = 0; i < t->n; i += len) {
        const uint32_t c = tfm_tp_char(t->p + i, t->n - i, &len);
        const bool is_digit = utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
        if (!is_digit && (c == '\0' || c >= 0x80 || strchr("+-._eE", (int)c) == NULL)) return false;
        digit = digit || is_digit;
    }
    return digit;
}

static tfm_status to_number(tp_call *c, tp_val *out) {
    char text[64];
    double f = 0;
    bool whole = c->name[0] == 'i', good = tfm_tp_is_number(c->in);
    TFM_TRY(tfm_tp_call_bind(c, "default base"));
    if (c->given[1]) return tfm_tp_fail(c->r, "%s: a base is not supported", c->name);
    if (c->in->kind == TP_UNDEFINED)
        return tfm_tp_fail(c->r, "%s: of %s", c->name, tfm_tp_kind(c->in));
    bool own = c->in->own;
    if (good && c->in->kind != TP_FLOAT && whole) {
        *out = tfm_tp_int(c->in->kind == TP_INT ? c->in->u.i : c->in->u.b, own);
        return TFM_OK;
    }
    if (good) {
        f = tfm_tp_number(c->in);
    } else if (c->in->kind == TP_STR) {
        const tp_str t = tfm_tp_strip(c->in->u.s, NULL, TP_LEFT | TP_RIGHT);
        const bool is_short = number_text(&t, text);
        int64_t i;
        if (is_short && whole && tfm_parse_i64(text, INT64_MIN, INT64_MAX, &i)) {
            *out = tfm_tp_int(i, false);
            return TFM_OK;
        }
        good = is_short && tfm_parse_double(text, -1e308, 1e308, &f);
        if (!good && may_be_number(&t))
            return tfm_tp_fail(c->r, "%s: a number that is not plainly decimal", c->name);
    }
    if (good && whole && !(f > -9e18 && f < 9e18))
        return tfm_tp_fail(c->r, "a number that is too large");
    if (good)
        *out = whole ? tfm_tp_int((int64_t)f, own) : tfm_tp_float(f, own);
    else
        *out = c->given[0] ? c->v[0] : whole ? tfm_tp_int(0, true) : tfm_tp_float(0, true);
    return TFM_OK;
}

static tfm_status absolute(tp_call *c, tp_val *out) {
    TFM_TRY(tfm_tp_call_bind(c, ""));
    if (!tfm_tp_is_number(c->in)) return tfm_tp_fail(c->r, "abs: of %s", tfm_tp_kind(c->in));
    *out = *c->in;
    if (c->in->kind == TP_FLOAT) {
        out->u.f = fabs(c->in->u.f);
    } else {
        int64_t i = c->in->kind == TP_INT ? c->in->u.i : c->in->u.b;
        if (i == INT64_MIN) return tfm_tp_fail(c->r, "a number that is too large");
        *out = tfm_tp_int(i < 0 ? -i : i, c->in->own);
    }
    return TFM_OK;
}

/* ---- tojson, indent, format ---- */

/* indent=N, indent="text" or None. */
static tfm_status json_indent(tp_call *c, const tp_val *v, tp_str *room, const tp_str **out) {
    *out = NULL;
    if (v->kind == TP_NONE || v->kind == TP_UNDEFINED) return TFM_OK;
    if (v->kind == TP_STR) {
        *out = v->u.s;
        return TFM_OK;
    }
    if (v->kind != TP_INT || v->u.i > 64)
        return tfm_tp_fail(c->r, "tojson: indent is no small number");
    static const char spaces[] = "                                                                ";
    *room = (tp_str){.p = spaces, .n = v->u.i < 0 ? 0 : (size_t)v->u.i};
    *out = room;
    return TFM_OK;
}

static tfm_status json_separators(tp_call *c, const tp_val *v, tp_json_style *style) {
    if (v->kind == TP_NONE || v->kind == TP_UNDEFINED) return TFM_OK;
    const tp_list *l = v->kind == TP_LIST ? v->u.list : NULL;
    if (l == NULL || l->n != 2 || l->item[0].kind != TP_STR || l->item[1].kind != TP_STR)
        return tfm_tp_fail(c->r, "tojson: separators are two strings");
    style->item = l->item[0].u.s;
    style->key = l->item[1].u.s;
    return TFM_OK;
}

static tfm_status to_json(tp_call *c, tp_val *out) {
    static const tp_str item_space = {.p = ", ", .n = 2}, item = {.p = ",", .n = 1},
                        key = {.p = ": ", .n = 2};
    tp_json_style style = {.item = &item_space, .key = &key};
    tp_str room;
    TFM_TRY(tfm_tp_call_bind(c, "ensure_ascii indent separators sort_keys"));
    style.ascii = c->given[0] && tfm_tp_true(&c->v[0]);
    TFM_TRY(json_indent(c, &c->v[1], &room, &style.indent));
    if (style.indent) style.item = &item;
    TFM_TRY(json_separators(c, &c->v[2], &style));
    style.sort = c->given[3] && tfm_tp_true(&c->v[3]);
    return tfm_tp_to_json(c->r, c->in, &style, out);
}

static tfm_status indent(tp_call *c, tp_val *out) {
    const tp_str *s;
    tp_val text, lines;
    tp_text t = {0}, pad = {0};
    TFM_TRY(tfm_tp_call_bind(c, "width first blank"));
    if (c->in->kind != TP_STR) return tfm_tp_fail(c->r, "indent: of %s", tfm_tp_kind(c->in));
    TFM_TRY(as_str(c, &s));
    if (c->given[0] && c->v[0].kind != TP_STR && c->v[0].kind != TP_INT)
        return tfm_tp_fail(c->r, "indent: by %s", tfm_tp_kind(&c->v[0]));
    if (c->given[0] && c->v[0].kind == TP_STR)
        TFM_TRY(tfm_tp_text_str(c->r, &pad, c->v[0].u.s));
    else
        for (int64_t i = c->given[0] ? c->v[0].u.i : 4; i > 0; i--)
            TFM_TRY(tfm_tp_text_bytes(c->r, &pad, " ", 1, true));
    /* The ends of lines are those of the text, so they are content's if it is. */
    tp_str newline = {.p = "\n", .n = 1, .own = s->own && s->mask == NULL};
    tp_str width = {.p = pad.p ? pad.p : "", .n = pad.n, .mask = pad.mask};
    TFM_TRY(tfm_tp_concat(c->r, s, &newline, &text));
    TFM_TRY(tfm_tp_splitlines(c->r, text.u.s, false, &lines));
    bool first = c->given[1] && tfm_tp_true(&c->v[1]), blank = c->given[2] && tfm_tp_true(&c->v[2]);
    for (size_t i = 0; i < lines.u.list->n; i++) {
        const tp_str *line = lines.u.list->item[i].u.s;
        if (i > 0) TFM_TRY(tfm_tp_text_str(c->r, &t, &newline));
        if (i == 0 ? first : blank || line->n > 0) TFM_TRY(tfm_tp_text_str(c->r, &t, &width));
        TFM_TRY(tfm_tp_text_str(c->r, &t, line));
    }
    return tfm_tp_text_done(c->r, &t, out);
}

tfm_status tfm_tp_format(tp_run *r, const tp_str *format, const tp_val *value, tp_val *out) {
    bool many = value->kind == TP_LIST && value->u.list->form == TP_FORM_TUPLE;
    size_t n = many ? value->u.list->n : 1, used = 0, done = 0;
    tp_text t = {0};
    for (size_t i = 0; i + 1 <= format->n; i++) {
        if (format->p[i] != '%') continue;
        char kind = i + 1 < format->n ? format->p[i + 1] : '\0';
        TFM_TRY(tfm_tp_text_part(r, &t, format, done, i));
        if (kind == '%') {
            TFM_TRY(tfm_tp_text_part(r, &t, format, i, i + 1));
        } else if (kind == 's' || kind == 'd') {
            const tp_str *s;
            if (used == n) return tfm_tp_fail(r, "%%: not enough values for the format");
            const tp_val *v = many ? &value->u.list->item[used] : value;
            used++;
            if (kind == 'd' && v->kind != TP_INT)
                return tfm_tp_fail(r, "%%d of %s", tfm_tp_kind(v));
            TFM_TRY(tfm_tp_to_str(r, v, &s));
            TFM_TRY(tfm_tp_text_str(r, &t, s));
        } else {
            return tfm_tp_fail(r, "formats other than %%s, %%d and %%%% are not supported");
        }
        done = ++i + 1;
    }
    if (used < n) return tfm_tp_fail(r, "%%: more values than the format takes");
    TFM_TRY(tfm_tp_text_part(r, &t, format, done, format->n));
    return tfm_tp_text_done(r, &t, out);
}

static tfm_status format(tp_call *c, tp_val *out) {
    const tp_str *s;
    tp_val values;
    TFM_TRY(as_str(c, &s));
    if (c->args->n_key) return tfm_tp_fail(c->r, "format: named values are not supported");
    TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_TUPLE, c->args->n_pos, &values));
    for (size_t i = 0; i < c->args->n_pos; i++)
        TFM_TRY(tfm_tp_list_push(c->r, values.u.list, c->args->pos[i]));
    return tfm_tp_format(c->r, s, &values, out);
}

/* ---- all of them ---- */

static const struct {
    const char *name;
    tfm_status (*run)(tp_call *c, tp_val *out);
} table[] = {
    {"trim", trim},
    {"length", length},
    {"count", length},
    {"upper", letter_case},
    {"lower", letter_case},
    {"title", letter_case},
    {"capitalize", letter_case},
    {"string", string},
    {"safe", safe},
    {"default", fallback},
    {"d", fallback},
    {"first", first_last},
    {"last", first_last},
    {"replace", replace},
    {"list", to_list},
    {"items", items},
    {"reverse", reversed},
    {"int", to_number},
    {"float", to_number},
    {"abs", absolute},
    {"tojson", to_json},
    {"indent", indent},
    {"format", format},
};

tfm_status tfm_tp_filter(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                         tp_val *out) {
    tp_val in = *v; /* *out may be *v */
    tp_call c = {.r = r, .name = name, .in = &in, .args = args};
    bool known = false;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(name, table[i].name) == 0) return table[i].run(&c, out);
    TFM_TRY(tfm_tp_select_filter(r, name, &in, args, &known, out));
    return known ? TFM_OK : tfm_tp_fail(r, "the filter %s is not supported", name);
}
