/* template_select.c - filters over the items of a sequence: by an attribute of each, by a filter or
 * a test applied to each, by their order. */
#include "text/template_internal.h"

/* The keyword argument `key`, or NULL. */
static const tp_val *keyword(const tp_args *args, const char *key) {
    for (size_t i = 0; i < args->n_key; i++)
        if (strcmp(args->key[i], key) == 0) return &args->key_value[i];
    return NULL;
}

/* item.a.b for attribute "a.b"; numbers are indices. */
static tfm_status attribute_of(tp_run *r, const tp_val *item, const tp_val *attribute,
                               const tp_val *fallback, tp_val *out) {
    tp_val parts, key;
    tp_str dot = {.p = ".", .n = 1};
    *out = *item;
    if (attribute->kind == TP_INT) return tfm_tp_item(r, item, attribute, out);
    if (attribute->kind != TP_STR)
        return tfm_tp_fail(r, "an attribute is a name, not %s", tfm_tp_kind(attribute));
    TFM_TRY(tfm_tp_split(r, attribute->u.s, &dot, -1, &parts));
    for (size_t i = 0; i < parts.u.list->n; i++) {
        tp_val from = *out;
        key = parts.u.list->item[i];
        const tp_str *s = key.u.s;
        int64_t index = 0;
        bool digits = s->n > 0 && s->n < 10;
        for (size_t k = 0; k < s->n && digits; k++) {
            digits = s->p[k] >= '0' && s->p[k] <= '9';
            index = index * 10 + (s->p[k] - '0');
        }
        if (digits) key = tfm_tp_int(index, true);
        TFM_TRY(tfm_tp_item(r, &from, &key, out));
        if (out->kind == TP_UNDEFINED && fallback) *out = *fallback;
    }
    return TFM_OK;
}

/* The name of a filter or test that was given as a string, with a NUL behind. */
static tfm_status name_of(tp_run *r, const char *what, const tp_val *v, const char **out) {
    void *p;
    if (v->kind != TP_STR) return tfm_tp_fail(r, "%s: a name is wanted", what);
    TFM_TRY(tfm_tp_alloc(r, &p, v->u.s->n + 1));
    memcpy(p, v->u.s->p, v->u.s->n);
    *out = p;
    return TFM_OK;
}

static tfm_status map(tp_run *r, const tp_list *in, const tp_args *args, tp_val *out) {
    const tp_val *attribute = keyword(args, "attribute"), *fallback = keyword(args, "default");
    const char *filter = NULL;
    tp_args rest = *args;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_GENERATOR, in->n, out));
    if (attribute == NULL) {
        if (args->n_pos == 0) return tfm_tp_fail(r, "map: a filter or attribute= is wanted");
        TFM_TRY(name_of(r, "map", &args->pos[0], &filter));
        rest = tfm_tp_args_behind(args, 1);
    } else if (args->n_pos || args->n_key > 1 + (fallback != NULL)) {
        return tfm_tp_fail(r, "map: unexpected arguments");
    }
    for (size_t i = 0; i < in->n; i++) {
        tp_val v;
        TFM_TRY(tfm_tp_work(r, 1));
        if (attribute)
            TFM_TRY(attribute_of(r, &in->item[i], attribute, fallback, &v));
        else
            TFM_TRY(tfm_tp_filter(r, filter, &in->item[i], &rest, &v));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, v));
    }
    return TFM_OK;
}

/* select, reject, selectattr, rejectattr */
static tfm_status choose(tp_run *r, const char *name, const tp_list *in, const tp_args *args,
                         tp_val *out) {
    bool wanted = name[0] == 's', by_attribute = strlen(name) > 6;
    const char *test = NULL;
    tp_args rest = *args;
    if (args->n_pos < (size_t)by_attribute)
        return tfm_tp_fail(r, "%s: the name of an attribute is wanted", name);
    if (by_attribute) rest = tfm_tp_args_behind(&rest, 1);
    if (rest.n_pos > 0) {
        TFM_TRY(name_of(r, name, &rest.pos[0], &test));
        rest = tfm_tp_args_behind(&rest, 1);
    } else if (rest.n_key) {
        return tfm_tp_fail(r, "%s: unexpected arguments", name);
    }
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_GENERATOR, 0, out));
    for (size_t i = 0; i < in->n; i++) {
        tp_val v = in->item[i];
        bool is;
        TFM_TRY(tfm_tp_work(r, 1));
        if (by_attribute) TFM_TRY(attribute_of(r, &in->item[i], &args->pos[0], NULL, &v));
        is = tfm_tp_true(&v);
        if (test) TFM_TRY(tfm_tp_test(r, test, &v, &rest, &is));
        if (is == wanted) TFM_TRY(tfm_tp_list_push(r, out->u.list, in->item[i]));
    }
    return TFM_OK;
}

static tfm_status join(tp_run *r, const tp_list *in, const tp_args *args, tp_val *out) {
    tp_val v[TP_PARAMS_MAX];
    bool given[TP_PARAMS_MAX];
    const tp_str *between = NULL, *s;
    tp_text t = {0};
    TFM_TRY(tfm_tp_bind(r, "join", args, "d attribute", v, given));
    if (given[0]) TFM_TRY(tfm_tp_to_str(r, &v[0], &between));
    for (size_t i = 0; i < in->n; i++) {
        tp_val item = in->item[i];
        TFM_TRY(tfm_tp_work(r, 1));
        if (given[1] && v[1].kind != TP_NONE)
            TFM_TRY(attribute_of(r, &in->item[i], &v[1], NULL, &item));
        if (item.kind == TP_STR && item.u.s->is_markup)
            return tfm_tp_fail(r, "join of values that are marked safe is not supported");
        TFM_TRY(tfm_tp_to_str(r, &item, &s));
        if (i > 0 && between) TFM_TRY(tfm_tp_text_str(r, &t, between));
        TFM_TRY(tfm_tp_text_str(r, &t, s));
    }
    return tfm_tp_text_done(r, &t, out);
}

/* ---- order ---- */

/* Strings are compared without regard to case unless told. */
static tfm_status sort_key(tp_run *r, const tp_val *item, const tp_val *attribute, bool exact,
                           tp_val *out) {
    *out = *item;
    if (attribute && attribute->kind != TP_NONE)
        TFM_TRY(attribute_of(r, item, attribute, NULL, out));
    if (out->kind != TP_STR || exact) return TFM_OK;
    const tp_str *s = out->u.s;
    return tfm_tp_case(r, s, TP_LOWER, out);
}

/* A stable sort of items by key[]; fewest steps where it is sorted already. */
static tfm_status sort_items(tp_run *r, tp_val *item, tp_val *key, size_t n, bool down) {
    for (size_t i = 1; i < n; i++) {
        tp_val v = item[i], k = key[i];
        size_t at = i;
        for (; at > 0; at--) {
            int order;
            TFM_TRY(tfm_tp_order(r, &k, &key[at - 1], &order));
            if (down ? order <= 0 : order >= 0) break;
            item[at] = item[at - 1];
            key[at] = key[at - 1];
        }
        item[at] = v;
        key[at] = k;
    }
    return TFM_OK;
}

static tfm_status sort(tp_run *r, const tp_list *in, const tp_args *args, tp_val *out) {
    tp_val v[TP_PARAMS_MAX], keys;
    bool given[TP_PARAMS_MAX];
    TFM_TRY(tfm_tp_bind(r, "sort", args, "reverse case_sensitive attribute", v, given));
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, in->n, out));
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, in->n, &keys));
    if (given[2] && v[2].kind == TP_STR && memchr(v[2].u.s->p, ',', v[2].u.s->n))
        return tfm_tp_fail(r, "sort by several attributes is not supported");
    for (size_t i = 0; i < in->n; i++) {
        tp_val key;
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(sort_key(r, &in->item[i], given[2] ? &v[2] : NULL, given[1] && tfm_tp_true(&v[1]),
                         &key));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, in->item[i]));
        TFM_TRY(tfm_tp_list_push(r, keys.u.list, key));
    }
    return sort_items(r, out->u.list->item, keys.u.list->item, in->n,
                      given[0] && tfm_tp_true(&v[0]));
}

static tfm_status dictsort(tp_run *r, const tp_val *in, const tp_args *args, tp_val *out) {
    tp_val v[TP_PARAMS_MAX], keys, item;
    bool given[TP_PARAMS_MAX], by_value = false;
    TFM_TRY(tfm_tp_bind(r, "dictsort", args, "case_sensitive by reverse", v, given));
    if (in->kind != TP_DICT) return tfm_tp_fail(r, "dictsort: of %s", tfm_tp_kind(in));
    if (given[1]) {
        by_value = v[1].kind == TP_STR && tfm_tp_str_is(v[1].u.s, "value");
        if (!by_value && !(v[1].kind == TP_STR && tfm_tp_str_is(v[1].u.s, "key")))
            return tfm_tp_fail(r, "dictsort: by is \"key\" or \"value\"");
    }
    const tp_dict *d = in->u.dict;
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, d->n, out));
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, d->n, &keys));
    for (size_t i = 0; i < d->n; i++) {
        tp_val key;
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(sort_key(r, by_value ? &d->pair[i].value : &d->pair[i].key, NULL,
                         given[0] && tfm_tp_true(&v[0]), &key));
        TFM_TRY(tfm_tp_list_new(r, TP_FORM_TUPLE, 2, &item));
        TFM_TRY(tfm_tp_list_push(r, item.u.list, d->pair[i].key));
        TFM_TRY(tfm_tp_list_push(r, item.u.list, d->pair[i].value));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, item));
        TFM_TRY(tfm_tp_list_push(r, keys.u.list, key));
    }
    return sort_items(r, out->u.list->item, keys.u.list->item, d->n,
                      given[2] && tfm_tp_true(&v[2]));
}

static tfm_status unique(tp_run *r, const tp_list *in, const tp_args *args, tp_val *out) {
    tp_val v[TP_PARAMS_MAX], seen;
    bool given[TP_PARAMS_MAX];
    TFM_TRY(tfm_tp_bind(r, "unique", args, "case_sensitive attribute", v, given));
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_GENERATOR, 0, out));
    TFM_TRY(tfm_tp_list_new(r, TP_FORM_LIST, 0, &seen));
    for (size_t i = 0; i < in->n; i++) {
        tp_val key;
        bool there = false;
        TFM_TRY(sort_key(r, &in->item[i], given[1] ? &v[1] : NULL, given[0] && tfm_tp_true(&v[0]),
                         &key));
        if (key.kind == TP_DICT || (key.kind == TP_LIST && key.u.list->form == TP_FORM_LIST))
            return tfm_tp_fail(r, "unique: of %s", tfm_tp_kind(&key));
        for (size_t k = 0; k < seen.u.list->n && !there; k++)
            TFM_TRY(tfm_tp_equal(r, &seen.u.list->item[k], &key, &there));
        if (there) continue;
        TFM_TRY(tfm_tp_list_push(r, seen.u.list, key));
        TFM_TRY(tfm_tp_list_push(r, out->u.list, in->item[i]));
    }
    return TFM_OK;
}

/* min, max */
static tfm_status extreme(tp_run *r, const char *name, const tp_list *in, const tp_args *args,
                          tp_val *out) {
    tp_val v[TP_PARAMS_MAX], best = tfm_tp_none(), key;
    bool given[TP_PARAMS_MAX];
    TFM_TRY(tfm_tp_bind(r, name, args, "case_sensitive attribute", v, given));
    *out = tfm_tp_undefined(name);
    for (size_t i = 0; i < in->n; i++) {
        int order = 1;
        TFM_TRY(sort_key(r, &in->item[i], given[1] ? &v[1] : NULL, given[0] && tfm_tp_true(&v[0]),
                         &key));
        if (i > 0) TFM_TRY(tfm_tp_order(r, &key, &best, &order));
        if (i > 0 && (name[1] == 'i' ? order >= 0 : order <= 0)) continue;
        best = key;
        *out = in->item[i];
    }
    return TFM_OK;
}

static tfm_status sum(tp_run *r, const tp_list *in, const tp_args *args, tp_val *out) {
    tp_val v[TP_PARAMS_MAX];
    bool given[TP_PARAMS_MAX];
    TFM_TRY(tfm_tp_bind(r, "sum", args, "attribute start", v, given));
    *out = given[1] ? v[1] : tfm_tp_int(0, true);
    for (size_t i = 0; i < in->n; i++) {
        tp_val item = in->item[i], so_far = *out;
        if (given[0] && v[0].kind != TP_NONE)
            TFM_TRY(attribute_of(r, &in->item[i], &v[0], NULL, &item));
        TFM_TRY(tfm_tp_work(r, 1));
        TFM_TRY(tfm_tp_binary(r, TP_OP_ADD, &so_far, &item, out));
    }
    return TFM_OK;
}

tfm_status tfm_tp_select_filter(tp_run *r, const char *name, const tp_val *v, const tp_args *args,
                                bool *known, tp_val *out) {
    static const char *const names[] = {"map",        "select", "reject", "selectattr",
                                        "rejectattr", "join",   "sort",   "unique",
                                        "min",        "max",    "sum"};
    tp_list *l;
    *known = true;
    if (strcmp(name, "dictsort") == 0) return dictsort(r, v, args, out);
    *known = false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        *known = *known || strcmp(name, names[i]) == 0;
    if (!*known) return TFM_OK;
    if (!tfm_tp_true(v) &&
        (name[0] == 'r' || strncmp(name, "map", 3) == 0 || strncmp(name, "sel", 3) == 0))
        return tfm_tp_list_new(r, TP_FORM_GENERATOR, 0, out); /* of None, too */
    TFM_TRY(tfm_tp_items(r, v, &l));
    switch (name[0]) {
    case 'j': return join(r, l, args, out);
    case 'u': return unique(r, l, args, out);
    case 'r': return choose(r, name, l, args, out);
    case 's':
        if (name[1] == 'u') return sum(r, l, args, out);
        return name[1] == 'o' ? sort(r, l, args, out) : choose(r, name, l, args, out);
    default: break;
    }
    return strcmp(name, "map") == 0 ? map(r, l, args, out) : extreme(r, name, l, args, out);
}
