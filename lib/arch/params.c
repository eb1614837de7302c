/* params.c - hyper-parameters: where each stands in the checkpoint, or what it is computed from.
 *
 * Evaluated on demand and once, so that a file may define them in any order; a parameter that needs
 * itself is an error, not a loop.
 */
#include "arch/resolve_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static tfm_status from_meta(const tfm_resolver *r, const tfm_yaml *where, const tfm_meta *m,
                            tfm_val *out, tfm_error *err) {
    void *p;
    tfm_val *item;
    *out = (tfm_val){0};
    switch (m->type) {
    case TFM_META_INT:
    case TFM_META_FLOAT:
        if (!isfinite(m->f))
            return tfm_yaml_fail(where, err, TFM_FORMAT, "the checkpoint's '%s' is not finite",
                                 m->key);
        *out = (tfm_val){.kind = TFM_VAL_NUM, .num = m->f};
        return TFM_OK;
    case TFM_META_STRING:
        *out = (tfm_val){.kind = TFM_VAL_STR, .str = m->s, .len = m->s_len};
        return TFM_OK;
    case TFM_META_ARRAY: break;
    }
    if (m->n > TFM_MAX_LIST)
        return tfm_yaml_fail(where, err, TFM_LIMIT,
                             "the checkpoint's '%s' has %zu elements; at "
                             "most %u are possible here",
                             m->key, m->n, TFM_MAX_LIST);
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (m->n + 1) * sizeof *item, err));
    item = p;
    for (size_t i = 0; i < m->n; i++) {
        tfm_meta one;
        if (!tfm_meta_item(m, i, &one) || one.type == TFM_META_ARRAY)
            return tfm_yaml_fail(where, err, TFM_FORMAT, "the checkpoint's '%s' is no plain list",
                                 m->key);
        one.key = m->key;
        TFM_TRY(from_meta(r, where, &one, &item[i], err));
    }
    *out = (tfm_val){.kind = TFM_VAL_LIST, .item = item, .n = m->n};
    return TFM_OK;
}

/* The checkpoint's value of a key: in the object that the file's `within` names, if it is there. */
static const tfm_meta *meta_of(const tfm_resolver *r, const char *key) {
    const tfm_yaml *within = tfm_yaml_get(tfm_yaml_get(r->arch, "within"), r->format);
    char inner[512];
    const tfm_meta *m = NULL;
    if (within != NULL && within->kind == TFM_YAML_SCALAR &&
        snprintf(inner, sizeof inner, "%s.%s", within->text, key) < (int)sizeof inner)
        m = tfm_source_meta(r->source, inner);
    return m ? m : tfm_source_meta(r->source, key);
}

/* One place, or a list of places of which the first that is there counts: a metadata key, or
 * "=expression". */
static tfm_status from_places(const tfm_resolver *r, const tfm_yaml *y, tfm_val *out,
                              tfm_error *err) {
    size_t n = y->kind == TFM_YAML_LIST ? y->n : 1;
    *out = (tfm_val){0};
    for (size_t i = 0; i < n && out->kind == TFM_VAL_NONE; i++) {
        const tfm_yaml *one = y->kind == TFM_YAML_LIST ? y->entry[i].value : y;
        const tfm_meta *m;
        const char *key;
        if (one->kind != TFM_YAML_SCALAR)
            return tfm_yaml_fail(one, err, TFM_FORMAT, "expected a metadata key or =expression");
        if (one->text[0] == '=') {
            TFM_TRY(tfm_expr_eval(one, one->text + 1, &r->scope, out, err));
            continue;
        }
        TFM_TRY(tfm_arch_key(r, &key, one->text, err));
        m = meta_of(r, key);
        if (m != NULL) TFM_TRY(from_meta(r, one, m, out, err));
    }
    return TFM_OK;
}

/* `map:` translates words: the checkpoint's on the left, ours on the right. */
static tfm_status translate(const tfm_param *p, const tfm_yaml *map, tfm_val *v, tfm_error *err) {
    char list[256] = "";
    if (v->kind != TFM_VAL_STR) return TFM_OK;
    for (size_t i = 0; i < map->n; i++) {
        const tfm_yaml *to = map->entry[i].value;
        size_t used = strlen(list);
        if (to->kind == TFM_YAML_SCALAR && strlen(map->entry[i].key) == v->len &&
            memcmp(map->entry[i].key, v->str, v->len) == 0) {
            v->str = to->text;
            v->len = to->len;
            return TFM_OK;
        }
        snprintf(list + used, sizeof list - used, " %s", map->entry[i].key);
    }
    return tfm_yaml_fail(map, err, TFM_UNSUPPORTED, "the checkpoint's %s is '%.*s'; supported:%s",
                         p->name, (int)(v->len > 60 ? 60 : v->len), v->str, list);
}

static tfm_status check_range(const tfm_resolver *r, const tfm_param *p, const tfm_val *v,
                              tfm_error *err) {
    const tfm_yaml *lo = tfm_yaml_get(p->spec, "min"), *hi = tfm_yaml_get(p->spec, "max");
    tfm_val a = {.num = -INFINITY}, b = {.num = INFINITY};
    if (v->kind == TFM_VAL_LIST) {
        for (size_t i = 0; i < v->n; i++) TFM_TRY(check_range(r, p, &v->item[i], err));
        return TFM_OK;
    }
    if (v->kind != TFM_VAL_NUM) return TFM_OK;
    if (lo != NULL) TFM_TRY(tfm_expr_eval(lo, lo->text, &r->scope, &a, err));
    if (hi != NULL) TFM_TRY(tfm_expr_eval(hi, hi->text, &r->scope, &b, err));
    if (v->num >= a.num && v->num <= b.num) return TFM_OK;
    return tfm_yaml_fail(p->spec, err, TFM_FORMAT, "%s is %.9g; it must be from %.9g to %.9g",
                         p->name, v->num, a.num, b.num);
}

static tfm_status missing(const tfm_resolver *r, const tfm_param *p, const tfm_yaml *places,
                          tfm_error *err) {
    const tfm_yaml *first =
        places && places->kind == TFM_YAML_LIST && places->n > 0 ? places->entry[0].value : places;
    const char *key = first && first->kind == TFM_YAML_SCALAR ? first->text : NULL;
    if (key == NULL)
        return tfm_yaml_fail(p->spec, err, TFM_UNSUPPORTED,
                             "%s is needed, and a %s checkpoint does "
                             "not have it",
                             p->name, r->format);
    TFM_TRY(tfm_arch_key(r, &key, key, err));
    return tfm_yaml_fail(p->spec, err, TFM_UNSUPPORTED, "%s is needed: the checkpoint has no '%s'",
                         p->name, key);
}

/* `each`: an expression over n, once for every layer. */
static tfm_status evaluate_each(tfm_resolver *r, tfm_param *p, const tfm_yaml *each,
                                tfm_error *err) {
    int saved = r->layer;
    tfm_val layers, *item;
    bool known;
    tfm_status st = TFM_OK;
    void *mem;
    TFM_TRY(tfm_param_get(r, "layers", 6, &layers, &known, err));
    if (!known || layers.kind != TFM_VAL_NUM || !(layers.num >= 1 && layers.num <= TFM_MAX_LAYERS))
        return tfm_yaml_fail(each, err, TFM_FORMAT, "'each' needs the parameter 'layers', 1 to %u",
                             TFM_MAX_LAYERS);
    TFM_TRY(tfm_arena_alloc(r->arena, &mem, (size_t)layers.num * sizeof *item, err));
    item = mem;
    for (r->layer = 0; r->layer < (int)layers.num && st == TFM_OK; r->layer++) {
        st = tfm_expr_eval(each, each->text, &r->scope, &item[r->layer], err);
        if (st == TFM_OK && item[r->layer].kind != TFM_VAL_NUM)
            st = tfm_yaml_fail(each, err, TFM_FORMAT, "'each' must give numbers");
    }
    r->layer = saved;
    p->value = (tfm_val){.kind = TFM_VAL_LIST, .item = item, .n = (size_t)layers.num};
    return st;
}

static tfm_status evaluate(tfm_resolver *r, tfm_param *p, tfm_error *err) {
    static const char *const known[] = {"gguf",        "hf",   "llama2c", "or",    "is",
                                        "map",         "min",  "max",     "write", "write_if",
                                        "write_value", "each", "need",    NULL};
    const tfm_yaml *is, *places, *other, *map, *each, *need;
    if (p->spec->kind == TFM_YAML_SCALAR)
        return tfm_expr_eval(p->spec, p->spec->text, &r->scope, &p->value, err);
    TFM_TRY(tfm_yaml_keys(p->spec, known, err));
    is = tfm_yaml_get(p->spec, "is");
    places = tfm_yaml_get(p->spec, r->format);
    other = tfm_yaml_get(p->spec, "or");
    map = tfm_yaml_get(p->spec, "map");
    each = tfm_yaml_get(p->spec, "each");
    need = tfm_yaml_get(p->spec, "need");
    for (size_t i = 0; i < p->spec->n; i++) {
        const tfm_yaml_entry *e = &p->spec->entry[i];
        bool list = e->value->kind != TFM_YAML_SCALAR;
        if (list && e->value != places && e->value != map && strcmp(e->key, "gguf") != 0 &&
            strcmp(e->key, "hf") != 0 && strcmp(e->key, "llama2c") != 0)
            return tfm_yaml_fail(e->value, err, TFM_FORMAT, "'%s' takes one expression", e->key);
    }
    if (need != NULL)
        return tfm_yaml_fail(tfm_yaml_get(r->arch, "parameters"), err, TFM_FORMAT,
                             "parameter '%s' must be given: %s", p->name, need->text);
    if (each != NULL)
        TFM_TRY(evaluate_each(r, p, each, err));
    else if (is != NULL)
        TFM_TRY(tfm_expr_eval(is, is->text, &r->scope, &p->value, err));
    else if (places != NULL)
        TFM_TRY(from_places(r, places, &p->value, err));
    if (p->value.kind == TFM_VAL_NONE) {
        if (other == NULL) return missing(r, p, places, err);
        return tfm_expr_eval(other, other->text, &r->scope, &p->value, err);
    }
    if (map != NULL && map->kind == TFM_YAML_MAP) TFM_TRY(translate(p, map, &p->value, err));
    return check_range(r, p, &p->value, err);
}

tfm_status tfm_param_get(tfm_resolver *r, const char *name, size_t len, tfm_val *out, bool *known,
                         tfm_error *err) {
    *known = false;
    for (size_t i = 0; i < r->n_params; i++) {
        tfm_param *p = &r->param[i];
        if (strlen(p->name) != len || memcmp(p->name, name, len) != 0) continue;
        if (p->state == TFM_PARAM_BUSY)
            return tfm_yaml_fail(p->spec, err, TFM_FORMAT, "parameter '%s' is defined by itself",
                                 p->name);
        if (p->state == TFM_PARAM_NEW) {
            p->state = TFM_PARAM_BUSY;
            TFM_TRY(evaluate(r, p, err));
            p->state = TFM_PARAM_DONE;
        }
        *out = p->value;
        *known = true;
        return TFM_OK;
    }
    return TFM_OK;
}

/* Nobody knows the name: which sets of macros.yaml, that the file does not use, have it? */
static tfm_status in_a_set(const tfm_resolver *r, const char *name, size_t len, tfm_error *err) {
    const tfm_yaml *sets = tfm_yaml_get(r->shared, "parameters");
    char word[64], list[128] = "";
    if (snprintf(word, sizeof word, "%.*s", (int)(len < 63 ? len : 63), name) != (int)len)
        return TFM_OK;
    for (size_t i = 0; sets && i < sets->n; i++) {
        const size_t used = strlen(list);
        if (tfm_yaml_get(sets->entry[i].value, word) != NULL)
            snprintf(list + used, sizeof list - used, " %s", sets->entry[i].key);
    }
    if (list[0] == '\0') return TFM_OK;
    return tfm_yaml_fail(tfm_yaml_get(r->arch, "parameters"), err, TFM_FORMAT,
                         "parameter '%s' is needed; sets that have it:%s", word, list);
}

static tfm_status look_up(const tfm_scope *s, const char *name, size_t len, tfm_val *out,
                          bool *known, tfm_error *err) {
    tfm_resolver *r = (tfm_resolver *)(uintptr_t)s; /* the scope is its first member */
    *known = true;
    if (len == 1 && *name == 'n' && r->layer >= 0)
        *out = (tfm_val){.kind = TFM_VAL_NUM, .num = r->layer};
    else if (len == 1 && *name == 'i' && r->index >= 0)
        *out = (tfm_val){.kind = TFM_VAL_NUM, .num = (double)r->index};
    else if (len == 6 && memcmp(name, "format", 6) == 0)
        *out = (tfm_val){.kind = TFM_VAL_STR, .str = r->format, .len = strlen(r->format)};
    else
        TFM_TRY(tfm_param_get(r, name, len, out, known, err));
    return *known ? TFM_OK : in_a_set(r, name, len, err);
}

/* `refuse:` a list of {if, say}: what the file knows that it cannot do. */
static tfm_status check_refused(const tfm_resolver *r, tfm_error *err) {
    static const char *const known[] = {"if", "say", NULL};
    const tfm_yaml *list = tfm_yaml_get(r->arch, "refuse");
    for (size_t i = 0; list && i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value;
        const tfm_yaml *when = tfm_yaml_get(y, "if"), *say = tfm_yaml_get(y, "say");
        bool yes;
        TFM_TRY(tfm_yaml_keys(y, known, err));
        if (when == NULL || say == NULL || when->kind != TFM_YAML_SCALAR ||
            say->kind != TFM_YAML_SCALAR)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'refuse' is a list of {if: ..., say: ...}");
        TFM_TRY(tfm_expr_true(when, when->text, &r->scope, &yes, err));
        if (yes) return tfm_yaml_fail(y, err, TFM_UNSUPPORTED, "%s", say->text);
    }
    return TFM_OK;
}

tfm_status tfm_params_load(tfm_resolver *r, tfm_error *err) {
    const tfm_yaml *section;
    tfm_val v;
    void *p;
    bool known;
    TFM_TRY(tfm_arch_section(r, "parameters", &section, err));
    if (section->n > TFM_MAX_PARAMS)
        return tfm_yaml_fail(section, err, TFM_LIMIT, "more than %u parameters", TFM_MAX_PARAMS);
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (section->n + 1) * sizeof *r->param, err));
    r->param = p;
    r->n_params = section->n;
    r->scope.name = look_up;
    for (size_t i = 0; i < section->n; i++)
        r->param[i] = (tfm_param){.name = section->entry[i].key, .spec = section->entry[i].value};
    for (size_t i = 0; i < section->n; i++) {
        /* What the file itself must give is missed only by who asks for it. */
        if (tfm_yaml_get(r->param[i].spec, "need") != NULL) continue;
        TFM_TRY(tfm_param_get(r, r->param[i].name, strlen(r->param[i].name), &v, &known, err));
    }
    TFM_TRY(tfm_param_get(r, "layers", 6, &v, &known, err));
    if (!known || v.kind != TFM_VAL_NUM || !(v.num >= 1 && v.num <= TFM_MAX_LAYERS) ||
        v.num != floor(v.num))
        return tfm_yaml_fail(section, err, TFM_FORMAT, "parameter 'layers' must be 1 to %u",
                             TFM_MAX_LAYERS);
    r->n_layers = (uint32_t)v.num;
    return check_refused(r, err);
}
