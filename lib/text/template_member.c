/* template_member.c - a.name, a[key], a[from:to:step], with Jinja's rules for what is not there.
 *
 * a.name looks for an attribute (a method) first and for an item then; a['name'] the other way
 * round. What neither has is undefined, which may be tested but not used further. */
#include "text/template_internal.h"

static tfm_status undefined_base(tp_run *r, const tp_val *a) {
    if (a->u.name) return tfm_tp_fail(r, "'%s' is undefined", a->u.name);
    return tfm_tp_fail(r, "a value that is undefined");
}

static tfm_status loop_member(tp_run *r, const tp_loop *l, const char *name, tp_val *out) {
    int64_t at = (int64_t)l->at, n = (int64_t)l->list->n;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"index", at + 1}, {"index0", at}, {"revindex", n - at}, {"revindex0", n - at - 1},
        {"length", n},     {"depth", 1},   {"depth0", 0}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0) {
            *out = tfm_tp_int(numbers[i].value, true);
            return TFM_OK;
        }
    if (strcmp(name, "first") == 0) {
        *out = tfm_tp_bool(at == 0);
    } else if (strcmp(name, "last") == 0) {
        *out = tfm_tp_bool(at == n - 1);
    } else if (strcmp(name, "previtem") == 0) {
        *out = at > 0 ? l->list->item[at - 1] : tfm_tp_undefined("loop.previtem");
    } else if (strcmp(name, "nextitem") == 0) {
        *out = at + 1 < n ? l->list->item[at + 1] : tfm_tp_undefined("loop.nextitem");
    } else if (strcmp(name, "cycle") == 0) {
        return TFM_DONE; /* a method */
    } else {
        return tfm_tp_fail(r, "loop.%s is not supported", name);
    }
    return TFM_OK;
}

/* *found: is there such an attribute, so that items do not count? */
static tfm_status method(tp_run *r, const tp_val *a, const char *name, bool *found, tp_val *out) {
    bool elsewhere = false;
    const char *known = tfm_tp_method_name(a, name, &elsewhere);
    void *p;
    *found = known != NULL;
    if (elsewhere)
        return tfm_tp_fail(r, "the method %s of %s is not supported", name, tfm_tp_kind(a));
    if (name[0] == '_' && name[1] == '_')
        return tfm_tp_fail(r, "the attribute %s is not allowed", name);
    if (!*found) return TFM_OK;
    TFM_TRY(tfm_tp_alloc(r, &p, sizeof(tp_method)));
    *(tp_method *)p = (tp_method){*a, known};
    *out = (tp_val){.kind = TP_METHOD, .u.method = p};
    return TFM_OK;
}

static tfm_status in_dict(tp_run *r, const tp_dict *d, const tp_val *key, bool *found,
                          tp_val *out) {
    tp_val *there;
    TFM_TRY(tfm_tp_dict_get(r, d, key, &there));
    *found = there != NULL;
    if (there) *out = *there;
    return TFM_OK;
}

tfm_status tfm_tp_attribute(tp_run *r, const tp_val *a, const char *name, tp_val *out) {
    tp_str s = {.p = name, .n = strlen(name)};
    tp_val key = {.kind = TP_STR, .u.s = &s};
    bool found = false;
    *out = tfm_tp_undefined(name);
    switch (a->kind) {
    case TP_UNDEFINED: return undefined_base(r, a);
    case TP_NAMESPACE: return in_dict(r, a->u.dict, &key, &found, out);
    case TP_LOOP: {
        tfm_status st = loop_member(r, a->u.loop, name, out);
        if (st != TFM_DONE) return st;
        return method(r, a, name, &found, out);
    }
    case TP_MACRO:
    case TP_FUNCTION:
    case TP_METHOD: return tfm_tp_fail(r, "attributes of %s are not supported", tfm_tp_kind(a));
    default: break;
    }
    TFM_TRY(method(r, a, name, &found, out));
    if (found || a->kind != TP_DICT) return TFM_OK;
    return in_dict(r, a->u.dict, &key, &found, out);
}

/* The character or item at an index that may count from the end. */
static tfm_status at_index(tp_run *r, const tp_val *a, int64_t i, tp_val *out) {
    int64_t n;
    TFM_TRY(tfm_tp_len(r, a, &n));
    if (i < 0) i += n;
    if (i < 0 || i >= n) return TFM_OK;
    if (a->kind == TP_LIST) {
        *out = a->u.list->item[i];
        return TFM_OK;
    }
    const tp_str *s = a->u.s;
    size_t from = 0;
    for (; i > 0; i--) from += tfm_tp_step(s->p + from, s->n - from);
    return tfm_tp_str(r, tfm_tp_part(s, from, from + tfm_tp_step(s->p + from, s->n - from)), out);
}

tfm_status tfm_tp_item(tp_run *r, const tp_val *a, const tp_val *key, tp_val *out) {
    bool found = false;
    bool is_index = key->kind == TP_INT || key->kind == TP_BOOL;
    *out = tfm_tp_undefined(NULL);
    if (a->kind == TP_UNDEFINED) return undefined_base(r, a);
    if (a->kind == TP_DICT) TFM_TRY(in_dict(r, a->u.dict, key, &found, out));
    if (is_index && (a->kind == TP_STR || (a->kind == TP_LIST && a->u.list->form <= TP_FORM_RANGE)))
        return at_index(r, a, key->kind == TP_INT ? key->u.i : key->u.b, out);
    if (found || key->kind != TP_STR) return TFM_OK;
    /* The name outlives the value that it comes from: undefined values keep it for messages. */
    void *p;
    TFM_TRY(tfm_tp_alloc(r, &p, key->u.s->n + 1));
    memcpy(p, key->u.s->p, key->u.s->n);
    *out = tfm_tp_undefined(p);
    if (a->kind == TP_NAMESPACE || a->kind == TP_LOOP) return tfm_tp_attribute(r, a, p, out);
    return method(r, a, p, &found, out);
}

/* One bound of a slice: missing, None or an integer. */
static tfm_status bound(tp_run *r, const tp_val *v, bool *given, int64_t *out) {
    *given = v && v->kind != TP_NONE;
    if (!*given) return TFM_OK;
    if (v->kind != TP_INT) return tfm_tp_fail(r, "a slice by %s", tfm_tp_kind(v));
    *out = v->u.i;
    return TFM_OK;
}

/* Python's rules for what lies outside of 0..n. */
static int64_t clip(int64_t i, int64_t n, bool backwards) {
    if (i < 0) i += n;
    if (i < 0) return backwards ? -1 : 0;
    if (i >= n) return backwards ? n - 1 : n;
    return i;
}

static tfm_status slice_list(tp_run *r, const tp_val *a, int64_t from, int64_t to, int64_t step,
                             tp_val *out) {
    const tp_list *l = a->u.list;
    TFM_TRY(tfm_tp_list_new(r, l->form == TP_FORM_TUPLE ? TP_FORM_TUPLE : TP_FORM_LIST, 0, out));
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, l->item[i]));
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return TFM_OK;
}

static tfm_status slice_str(tp_run *r, const tp_str *s, int64_t from, int64_t to, int64_t step,
                            tp_val *out) {
    tp_text t = {0};
    TFM_TRY(tfm_tp_work(r, s->n / 8));
    if (step == 1) {
        size_t i = 0, begin;
        int64_t at = 0;
        for (; at < from; at++) i += tfm_tp_step(s->p + i, s->n - i);
        for (begin = i; at < to; at++) i += tfm_tp_step(s->p + i, s->n - i);
        return tfm_tp_str(r, tfm_tp_part(s, begin, i), out);
    }
    tp_list *chars;
    tp_val whole = {.kind = TP_STR, .u.s = s}, part;
    TFM_TRY(tfm_tp_items(r, &whole, &chars));
    whole = (tp_val){.kind = TP_LIST, .u.list = chars};
    TFM_TRY(slice_list(r, &whole, from, to, step, &part));
    for (size_t i = 0; i < part.u.list->n; i++)
        TFM_TRY(tfm_tp_text_str(r, &t, part.u.list->item[i].u.s));
    return tfm_tp_text_done(r, &t, out);
}

tfm_status tfm_tp_slice(tp_run *r, const tp_val *a, const tp_val *from, const tp_val *to,
                        const tp_val *step, tp_val *out) {
    int64_t i = 0, j = 0, k = 1, n;
    bool has_i, has_j, has_k;
    if (a->kind == TP_UNDEFINED) return undefined_base(r, a);
    if (a->kind != TP_STR && !(a->kind == TP_LIST && a->u.list->form <= TP_FORM_TUPLE))
        return tfm_tp_fail(r, "a slice of %s is not supported", tfm_tp_kind(a));
    TFM_TRY(bound(r, from, &has_i, &i));
    TFM_TRY(bound(r, to, &has_j, &j));
    TFM_TRY(bound(r, step, &has_k, &k));
    if (k == 0) return tfm_tp_fail(r, "a slice with step 0");
    TFM_TRY(tfm_tp_len(r, a, &n));
    i = has_i ? clip(i, n, k < 0) : k < 0 ? n - 1 : 0;
    j = has_j ? clip(j, n, k < 0) : k < 0 ? -1 : n;
    if (k > 0 && j < i) j = i;
    if (a->kind == TP_LIST) return slice_list(r, a, i, j, k, out);
    return slice_str(r, a->u.s, i, j, k, out);
}
