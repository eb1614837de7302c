/* template_method.c - methods of strings, lists and dicts, as Python has them. Those that would
 * change a value do not exist: the sandbox that templates are written for forbids them. */
#include "text/template_internal.h"

/* Methods that Python has and this has not; a name that neither has is a key, or undefined. */
static const char *const str_elsewhere[] = {
    "casefold",    "center",   "encode",    "expandtabs",   "format_map", "isalnum",
    "isalpha",     "isascii",  "isdecimal", "isidentifier", "islower",    "isnumeric",
    "isprintable", "istitle",  "isupper",   "ljust",        "maketrans",  "rindex",
    "rjust",       "swapcase", "translate", "zfill",        NULL};
static const char *const str_methods[] = {
    "strip",      "lstrip",     "rstrip",     "split",        "rsplit",
    "splitlines", "startswith", "endswith",   "replace",      "upper",
    "lower",      "title",      "capitalize", "join",         "find",
    "rfind",      "index",      "count",      "removeprefix", "removesuffix",
    "partition",  "rpartition", "isdigit",    "isspace",      "format",
    NULL};
static const char *const list_elsewhere[] = {"append", "clear",  "copy",    "extend", "insert",
                                             "pop",    "remove", "reverse", "sort",   NULL};
static const char *const list_methods[] = {"index", "count", NULL};
static const char *const dict_elsewhere[] = {"clear",   "copy",       "fromkeys", "pop",
                                             "popitem", "setdefault", "update",   NULL};
static const char *const dict_methods[] = {"get", "items", "keys", "values", NULL};
static const char *const loop_methods[] = {"cycle", NULL};
static const char *const number_elsewhere[] = {
    "real", "imag", "numerator", "denominator", "bit_length", "is_integer", "conjugate", NULL};
static const char *const nothing[] = {NULL};

static const char *find(const char *const *names, const char *name) {
    for (; *names; names++)
        if (strcmp(*names, name) == 0) return *names;
    return NULL;
}

const char *tfm_tp_method_name(const tp_val *self, const char *name, bool *elsewhere) {
    const char *const *here = nothing, *const *there = nothing;
    switch (self->kind) {
    case TP_STR:
        here = str_methods;
        there = str_elsewhere;
        break;
    case TP_LIST:
        here = self->u.list->form <= TP_FORM_TUPLE ? list_methods : nothing;
        there = list_elsewhere;
        break;
    case TP_DICT:
        here = dict_methods;
        there = dict_elsewhere;
        break;
    case TP_LOOP: here = loop_methods; break;
    case TP_BOOL:
    case TP_INT:
    case TP_FLOAT: there = number_elsewhere; break;
    default: break;
    }
    *elsewhere = find(there, name) != NULL;
    return find(here, name);
}

/* ---- strings ---- */

static tfm_status want_str(const tp_call *c, size_t i, const tp_str **out) {
    *out = NULL;
    if (c->v[i].kind != TP_STR)
        return tfm_tp_fail(c->r, "%s: a string is wanted, not %s", c->name, tfm_tp_kind(&c->v[i]));
    *out = c->v[i].u.s;
    return TFM_OK;
}

/* A string, or NULL for None or nothing. */
static tfm_status may_str(const tp_call *c, size_t i, const tp_str **out) {
    *out = NULL;
    return !c->given[i] || c->v[i].kind == TP_NONE ? TFM_OK : want_str(c, i, out);
}

static tfm_status want_int(const tp_call *c, size_t i, int64_t fallback, int64_t *out) {
    *out = fallback;
    if (!c->given[i]) return TFM_OK;
    if (c->v[i].kind != TP_INT)
        return tfm_tp_fail(c->r, "%s: an integer is wanted, not %s", c->name,
                           tfm_tp_kind(&c->v[i]));
    *out = c->v[i].u.i;
    return TFM_OK;
}

static tfm_status strip(tp_call *c, tp_val *out) {
    const tp_str *chars;
    unsigned sides = c->name[0] == 'l'   ? TP_LEFT
                     : c->name[0] == 'r' ? TP_RIGHT
                                         : TP_LEFT | TP_RIGHT;
    TFM_TRY(tfm_tp_call_bind(c, "chars"));
    TFM_TRY(may_str(c, 0, &chars));
    TFM_TRY(tfm_tp_work(c->r, chars ? c->in->u.s->n / 8 * (1 + chars->n / 8) : c->in->u.s->n / 32));
    return tfm_tp_str(c->r, tfm_tp_strip(c->in->u.s, chars, sides), out);
}

static tfm_status split(tp_call *c, tp_val *out) {
    const tp_str *sep;
    int64_t most;
    TFM_TRY(tfm_tp_call_bind(c, "sep maxsplit"));
    TFM_TRY(may_str(c, 0, &sep));
    TFM_TRY(want_int(c, 1, -1, &most));
    return c->name[0] == 'r' ? tfm_tp_rsplit(c->r, c->in->u.s, sep, most, out)
                             : tfm_tp_split(c->r, c->in->u.s, sep, most, out);
}

static bool has_end(const tp_str *s, const tp_str *end, bool front) {
    return end->n <= s->n &&
           (end->n == 0 || memcmp(front ? s->p : s->p + s->n - end->n, end->p, end->n) == 0);
}

/* startswith, endswith: of one string or any of a tuple. */
static tfm_status has_affix(tp_call *c, tp_val *out) {
    bool front = c->name[0] == 's', any = false;
    const tp_str *one;
    TFM_TRY(tfm_tp_call_bind(c, "prefix"));
    if (c->v[0].kind == TP_LIST && c->v[0].u.list->form == TP_FORM_TUPLE) {
        const tp_list *l = c->v[0].u.list;
        for (size_t i = 0; i < l->n; i++) {
            if (l->item[i].kind != TP_STR) return tfm_tp_fail(c->r, "%s: no string", c->name);
            any = any || has_end(c->in->u.s, l->item[i].u.s, front);
        }
    } else {
        TFM_TRY(want_str(c, 0, &one));
        any = has_end(c->in->u.s, one, front);
    }
    *out = tfm_tp_bool(any);
    return TFM_OK;
}

static tfm_status remove_affix(tp_call *c, tp_val *out) {
    bool front = c->name[6] == 'p';
    const tp_str *end;
    TFM_TRY(tfm_tp_call_bind(c, "prefix"));
    TFM_TRY(want_str(c, 0, &end));
    if (!has_end(c->in->u.s, end, front)) return tfm_tp_str(c->r, *c->in->u.s, out);
    return tfm_tp_str(c->r,
                      front ? tfm_tp_part(c->in->u.s, end->n, c->in->u.s->n)
                            : tfm_tp_part(c->in->u.s, 0, c->in->u.s->n - end->n),
                      out);
}

static tfm_status replace(tp_call *c, tp_val *out) {
    const tp_str *old, *with;
    int64_t most;
    TFM_TRY(tfm_tp_call_bind(c, "old new count"));
    TFM_TRY(want_str(c, 0, &old));
    TFM_TRY(want_str(c, 1, &with));
    TFM_TRY(want_int(c, 2, -1, &most));
    TFM_TRY(tfm_tp_work(c->r, c->in->u.s->n / 32));
    return tfm_tp_replace(c->r, c->in->u.s, old, with, most, out);
}

static tfm_status letter_case(tp_call *c, tp_val *out) {
    tp_case how = c->name[0] == 'u'   ? TP_UPPER
                  : c->name[0] == 'l' ? TP_LOWER
                  : c->name[0] == 't' ? TP_TITLE
                                      : TP_CAPITALIZE;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    return tfm_tp_case(c->r, c->in->u.s, how, out);
}

static tfm_status join(tp_call *c, tp_val *out) {
    tp_list *l;
    tp_text t = {0};
    TFM_TRY(tfm_tp_call_bind(c, "iterable"));
    TFM_TRY(tfm_tp_items(c->r, &c->v[0], &l));
    for (size_t i = 0; i < l->n; i++) {
        if (l->item[i].kind != TP_STR)
            return tfm_tp_fail(c->r, "join: item %zu is %s", i, tfm_tp_kind(&l->item[i]));
        if (i > 0) TFM_TRY(tfm_tp_text_str(c->r, &t, c->in->u.s));
        TFM_TRY(tfm_tp_text_str(c->r, &t, l->item[i].u.s));
    }
    return tfm_tp_text_done(c->r, &t, out);
}

static tfm_status position(tp_call *c, tp_val *out) {
    const tp_str *what;
    TFM_TRY(tfm_tp_call_bind(c, "sub"));
    TFM_TRY(want_str(c, 0, &what));
    TFM_TRY(tfm_tp_work(c->r, c->in->u.s->n / 8));
    size_t at =
        c->name[0] == 'r' ? tfm_tp_rfind(c->in->u.s, what) : tfm_tp_find(c->in->u.s, what, 0);
    if (at == SIZE_MAX && c->name[0] == 'i')
        return tfm_tp_fail(c->r, "index: there is no such part");
    tp_str head = tfm_tp_part(c->in->u.s, 0, at == SIZE_MAX ? 0 : at);
    *out = tfm_tp_int(at == SIZE_MAX ? -1 : (int64_t)tfm_tp_length(&head), false);
    return TFM_OK;
}

static tfm_status count(tp_call *c, tp_val *out) {
    const tp_str *what;
    int64_t n = 0;
    TFM_TRY(tfm_tp_call_bind(c, "sub"));
    TFM_TRY(want_str(c, 0, &what));
    TFM_TRY(tfm_tp_work(c->r, c->in->u.s->n / 8));
    if (what->n == 0) n = (int64_t)tfm_tp_length(c->in->u.s) + 1;
    for (size_t at = 0; what->n && (at = tfm_tp_find(c->in->u.s, what, at)) != SIZE_MAX;
         at += what->n)
        n++;
    *out = tfm_tp_int(n, false);
    return TFM_OK;
}

static tfm_status partition(tp_call *c, tp_val *out) {
    const tp_str *sep;
    bool last = c->name[0] == 'r';
    TFM_TRY(tfm_tp_call_bind(c, "sep"));
    TFM_TRY(want_str(c, 0, &sep));
    if (sep->n == 0) return tfm_tp_fail(c->r, "%s: empty separator", c->name);
    TFM_TRY(tfm_tp_work(c->r, c->in->u.s->n / 8));
    size_t at = last ? tfm_tp_rfind(c->in->u.s, sep) : tfm_tp_find(c->in->u.s, sep, 0);
    size_t cut[4] = {0, at, at + sep->n, c->in->u.s->n};
    if (at == SIZE_MAX) cut[1] = cut[2] = last ? 0 : c->in->u.s->n;
    TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_TUPLE, 3, out));
    for (int i = 0; i < 3; i++) {
        tp_val v;
        TFM_TRY(tfm_tp_str(c->r, tfm_tp_part(c->in->u.s, cut[i], cut[i + 1]), &v));
        TFM_TRY(tfm_tp_list_push(c->r, out->u.list, v));
    }
    return TFM_OK;
}

static tfm_status all_are(tp_call *c, tp_val *out) {
    bool digit = c->name[2] == 'd', all = c->in->u.s->n > 0;
    size_t len;
    TFM_TRY(tfm_tp_call_bind(c, ""));
    for (size_t i = 0; i < c->in->u.s->n && all; i += len) {
        uint32_t ch = tfm_tp_char(c->in->u.s->p + i, c->in->u.s->n - i, &len);
        if (digit && ch >= 0x80) return tfm_tp_fail(c->r, "isdigit beyond ASCII is not supported");
        all = digit ? ch >= '0' && ch <= '9' : tfm_tp_is_space(ch);
    }
    *out = tfm_tp_bool(all);
    return tfm_tp_work(c->r, c->in->u.s->n / 8);
}

static tfm_status splitlines(tp_call *c, tp_val *out) {
    TFM_TRY(tfm_tp_call_bind(c, "keepends"));
    return tfm_tp_splitlines(c->r, c->in->u.s, c->given[0] && tfm_tp_true(&c->v[0]), out);
}

/* The value of the field p[0..n): a number, a name, or nothing for the next one. */
static tfm_status format_field(tp_call *c, const char *p, size_t n, size_t *next,
                               const tp_val **out) {
    const tp_args *a = c->args;
    *out = NULL;
    if (n == 0 && *next < a->n_pos) {
        *out = &a->pos[(*next)++];
    } else if (n == 1 && p[0] >= '0' && p[0] <= '9' && (size_t)(p[0] - '0') < a->n_pos) {
        *out = &a->pos[p[0] - '0'];
    } else {
        for (size_t k = 0; k < a->n_key; k++)
            if (strlen(a->key[k]) == n && memcmp(a->key[k], p, n) == 0) *out = &a->key_value[k];
    }
    if (*out) return TFM_OK;
    return tfm_tp_fail(c->r, "format: the field {%.*s} has no value, or is more than a name",
                       (int)(n < 40 ? n : 40), p);
}

/* "{} {0} {name}".format(...), without conversions and format specifications. */
static tfm_status format(tp_call *c, tp_val *out) {
    const tp_str *s = c->in->u.s, *text;
    size_t done = 0, next = 0;
    tp_text t = {0};
    for (size_t i = 0; i < s->n; i++) {
        char ch = s->p[i];
        if (ch != '{' && ch != '}') continue;
        TFM_TRY(tfm_tp_text_part(c->r, &t, s, done, i));
        if (i + 1 < s->n && s->p[i + 1] == ch) { /* doubled: itself */
            TFM_TRY(tfm_tp_text_part(c->r, &t, s, i, i + 1));
            done = ++i + 1;
            continue;
        }
        const char *end = ch == '{' ? memchr(s->p + i, '}', s->n - i) : NULL;
        const tp_val *v;
        if (end == NULL) return tfm_tp_fail(c->r, "format: a bracket alone");
        size_t n = (size_t)(end - s->p) - i - 1;
        TFM_TRY(format_field(c, s->p + i + 1, n, &next, &v));
        TFM_TRY(tfm_tp_to_str(c->r, v, &text));
        TFM_TRY(tfm_tp_text_str(c->r, &t, text));
        i += n + 1;
        done = i + 1;
    }
    TFM_TRY(tfm_tp_text_part(c->r, &t, s, done, s->n));
    return tfm_tp_text_done(c->r, &t, out);
}

static const struct {
    const char *name;
    tfm_status (*run)(tp_call *c, tp_val *out);
} str_table[] = {{"strip", strip},
                 {"lstrip", strip},
                 {"rstrip", strip},
                 {"split", split},
                 {"rsplit", split},
                 {"splitlines", splitlines},
                 {"startswith", has_affix},
                 {"endswith", has_affix},
                 {"replace", replace},
                 {"upper", letter_case},
                 {"lower", letter_case},
                 {"title", letter_case},
                 {"capitalize", letter_case},
                 {"join", join},
                 {"find", position},
                 {"rfind", position},
                 {"index", position},
                 {"count", count},
                 {"removeprefix", remove_affix},
                 {"removesuffix", remove_affix},
                 {"partition", partition},
                 {"rpartition", partition},
                 {"isdigit", all_are},
                 {"isspace", all_are},
                 {"format", format}};

static tfm_status str_method(tp_call *c, tp_val *out) {
    if (c->in->u.s->is_markup)
        return tfm_tp_fail(c->r, "%s of a value that is marked safe is not supported", c->name);
    for (size_t i = 0; i < sizeof str_table / sizeof *str_table; i++)
        if (strcmp(c->name, str_table[i].name) == 0) return str_table[i].run(c, out);
    return tfm_tp_fail(c->r, "the method %s of a string is not supported", c->name);
}

/* ---- lists, dicts, loops ---- */

static tfm_status list_method(tp_call *c, const tp_list *l, tp_val *out) {
    int64_t n = 0;
    bool first = c->name[0] == 'i';
    TFM_TRY(tfm_tp_call_bind(c, "value"));
    for (size_t i = 0; i < l->n; i++) {
        bool same;
        TFM_TRY(tfm_tp_equal(c->r, &l->item[i], &c->v[0], &same));
        if (same && first) {
            *out = tfm_tp_int((int64_t)i, false);
            return TFM_OK;
        }
        n += same;
    }
    if (first) return tfm_tp_fail(c->r, "index: there is no such item");
    *out = tfm_tp_int(n, false);
    return TFM_OK;
}

static tfm_status dict_method(tp_call *c, const tp_dict *d, tp_val *out) {
    tp_val *there, pair;
    if (strcmp(c->name, "get") == 0) {
        TFM_TRY(tfm_tp_call_bind(c, "key default"));
        if (!c->given[0]) return tfm_tp_fail(c->r, "get: a key is wanted");
        TFM_TRY(tfm_tp_dict_get(c->r, d, &c->v[0], &there));
        *out = there ? *there : c->given[1] ? c->v[1] : tfm_tp_none();
        return TFM_OK;
    }
    TFM_TRY(tfm_tp_call_bind(c, ""));
    TFM_TRY(tfm_tp_work(c->r, d->n));
    TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_VIEW, d->n, out));
    for (size_t i = 0; i < d->n; i++) {
        if (c->name[0] == 'i') {
            TFM_TRY(tfm_tp_list_new(c->r, TP_FORM_TUPLE, 2, &pair));
            TFM_TRY(tfm_tp_list_push(c->r, pair.u.list, d->pair[i].key));
            TFM_TRY(tfm_tp_list_push(c->r, pair.u.list, d->pair[i].value));
        } else {
            pair = c->name[0] == 'k' ? d->pair[i].key : d->pair[i].value;
        }
        TFM_TRY(tfm_tp_list_push(c->r, out->u.list, pair));
    }
    return TFM_OK;
}

tfm_status tfm_tp_call_method(tp_run *r, const tp_method *m, const tp_args *args, tp_val *out) {
    tp_call c = {.r = r, .name = m->name, .in = &m->self, .args = args};
    switch (m->self.kind) {
    case TP_STR: return str_method(&c, out);
    case TP_LIST: return list_method(&c, m->self.u.list, out);
    case TP_DICT: return dict_method(&c, m->self.u.dict, out);
    default:
        if (args->n_pos == 0 || args->n_key) return tfm_tp_fail(r, "cycle: items are wanted");
        *out = args->pos[m->self.u.loop->at % args->n_pos];
        return TFM_OK;
    }
}
