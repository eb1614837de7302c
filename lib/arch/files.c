/* files.c - what all sections of an architecture file have in common: named sets that are
 * shared between files, $names, and the macros of step lists.
 *
 * Everything here works on document trees and knows no step: a macro's body is copied with its
 * arguments put in, and read as if it had been written there.
 */
#include "arch/resolve_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_MACRO_DEPTH 12
#define MAX_ARGUMENTS 16

/* ---- sets ---- */

static void put_entry(tfm_yaml *map, const tfm_yaml_entry *e) {
    size_t i = 0;
    while (i < map->n && strcmp(map->entry[i].key, e->key) != 0) i++;
    map->entry[i] = *e;
    if (i == map->n) map->n++;
}

/* The sets that a section uses, in order, into list[]. */
static tfm_status used_sets(const tfm_resolver *r, const tfm_yaml *section, const char *name,
                            const tfm_yaml **list, size_t *n, tfm_error *err) {
    const tfm_yaml *use = tfm_yaml_get(section, "use");
    const tfm_yaml *sets = tfm_yaml_get(r->shared, name);
    size_t count = use == NULL ? 0 : use->kind == TFM_YAML_LIST ? use->n : 1;
    *n = 0;
    if (count > 16) return tfm_yaml_fail(use, err, TFM_LIMIT, "more than 16 sets");
    for (size_t i = 0; i < count; i++) {
        const tfm_yaml *y = use->kind == TFM_YAML_LIST ? use->entry[i].value : use;
        const tfm_yaml *set = y->kind == TFM_YAML_SCALAR ? tfm_yaml_get(sets, y->text) : NULL;
        if (set == NULL || set->kind != TFM_YAML_MAP)
            return tfm_yaml_fail(y, err, TFM_NOTFOUND, "macros.yaml has no set of %s '%.60s'", name,
                                 y->kind == TFM_YAML_SCALAR ? y->text : "?");
        list[(*n)++] = set;
    }
    return TFM_OK;
}

tfm_status tfm_arch_section(const tfm_resolver *r, const char *name, const tfm_yaml **out,
                            tfm_error *err) {
    const tfm_yaml *own = tfm_yaml_get(r->arch, name), *set[16];
    size_t n = 0, total = own ? own->n : 0;
    tfm_yaml *map;
    void *p;
    if (own != NULL && own->kind != TFM_YAML_MAP)
        return tfm_yaml_fail(own, err, TFM_FORMAT, "'%s' must be a mapping", name);
    if (own != NULL) TFM_TRY(used_sets(r, own, name, set, &n, err));
    for (size_t i = 0; i < n; i++) total += set[i]->n;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, sizeof *map, err));
    map = p;
    *map = own ? *own : *r->arch;
    map->n = 0;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (total + 1) * sizeof(tfm_yaml_entry), err));
    map->entry = p;
    if (total > 4096) return tfm_yaml_fail(own, err, TFM_LIMIT, "more than 4096 entries");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < set[i]->n; k++) put_entry(map, &set[i]->entry[k]);
    for (size_t k = 0; own && k < own->n; k++)
        if (strcmp(own->entry[k].key, "use") != 0) put_entry(map, &own->entry[k]);
    *out = map;
    return TFM_OK;
}

/* ---- $names ---- */

static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

tfm_status tfm_substitute(tfm_arena *a, const char **out, const char *text, tfm_subst get,
                          const void *ctx, tfm_error *err) {
    tfm_buf b = {0};
    tfm_status st = TFM_OK;
    *out = text;
    if (strchr(text, '$') == NULL) return TFM_OK;
    while (*text != '\0' && st == TFM_OK) {
        size_t n = 0;
        const char *with;
        if (*text == '$')
            while (is_name(text[1 + n])) n++;
        with = n > 0 ? get(ctx, text + 1, n) : NULL;
        if (with != NULL) {
            st = tfm_buf_str(&b, with, err);
            text += 1 + n;
        } else {
            st = tfm_buf_add(&b, text++, 1, err);
        }
        if (st == TFM_OK && b.len > 4096) st = tfm_fail(err, TFM_LIMIT, "a text grows too long");
    }
    if (st == TFM_OK) st = tfm_arena_strndup(a, out, b.data ? b.data : "", b.len, err);
    tfm_buf_free(&b);
    return st;
}

static const char *arch_name(const void *ctx, const char *name, size_t len) {
    return len == 4 && memcmp(name, "arch", 4) == 0 ? ctx : NULL;
}

tfm_status tfm_arch_key(const tfm_resolver *r, const char **out, const char *text, tfm_error *err) {
    return tfm_substitute(r->arena, out, text, arch_name, r->gguf_arch, err);
}

/* ---- macros ---- */

typedef struct arguments {
    const char *name[MAX_ARGUMENTS], *value[MAX_ARGUMENTS];
    size_t n;
} arguments;

typedef struct expansion {
    const tfm_resolver *r;
    tfm_yaml *out;
    size_t cap;
    unsigned depth;
} expansion;

static const char *argument(const void *ctx, const char *name, size_t len) {
    const arguments *a = ctx;
    for (size_t i = 0; i < a->n; i++)
        if (strlen(a->name[i]) == len && memcmp(a->name[i], name, len) == 0) return a->value[i];
    return NULL;
}

/* A copy of y with arguments put in. Depth is bounded by the parser's limit. */
static tfm_status copy_node(const tfm_resolver *r, const tfm_yaml *y, const arguments *args,
                            const tfm_yaml **out, tfm_error *err) {
    tfm_yaml *node;
    void *p;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, sizeof *node, err));
    node = p;
    *node = *y;
    *out = node;
    if (y->kind == TFM_YAML_SCALAR) {
        TFM_TRY(tfm_substitute(r->arena, &node->text, y->text, argument, args, err));
        node->len = strlen(node->text);
        return TFM_OK;
    }
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (y->n + 1) * sizeof(tfm_yaml_entry), err));
    node->entry = p;
    for (size_t i = 0; i < y->n; i++) {
        if (y->kind == TFM_YAML_MAP)
            TFM_TRY(tfm_substitute(r->arena, &node->entry[i].key, y->entry[i].key, argument, args,
                                   err));
        TFM_TRY(copy_node(r, y->entry[i].value, args, &node->entry[i].value, err));
    }
    return TFM_OK;
}

static const tfm_yaml *find_macro(const tfm_resolver *r, const char *name) {
    const tfm_yaml *m = tfm_yaml_get(tfm_yaml_get(r->arch, "macros"), name);
    return m ? m : tfm_yaml_get(tfm_yaml_get(r->shared, "macros"), name);
}

static tfm_status set_argument(arguments *a, const tfm_yaml_entry *e, bool declare,
                               tfm_error *err) {
    size_t i = 0;
    if (e->value->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(e->value, err, TFM_FORMAT, "argument '%.40s' must be one word",
                             e->key);
    while (i < a->n && strcmp(a->name[i], e->key) != 0) i++;
    if (i == a->n && !declare)
        return tfm_yaml_fail(e->value, err, TFM_FORMAT, "the macro has no argument '%.40s'",
                             e->key);
    if (i == MAX_ARGUMENTS)
        return tfm_yaml_fail(e->value, err, TFM_LIMIT, "more than %d arguments", MAX_ARGUMENTS);
    a->name[i] = e->key;
    a->value[i] = e->value->text;
    if (i == a->n) a->n++;
    return TFM_OK;
}

/* Both conditions must hold. */
static tfm_status both(const tfm_resolver *r, const char *outer, const tfm_yaml *inner,
                       const char **out, tfm_error *err) {
    tfm_buf b = {0};
    tfm_status st;
    *out = outer ? outer : inner ? inner->text : NULL;
    if (outer == NULL || inner == NULL) return TFM_OK;
    st = tfm_buf_printf(&b, err, "(%s) and (%s)", outer, inner->text);
    if (st == TFM_OK) st = tfm_arena_strndup(r->arena, out, b.data, b.len, err);
    tfm_buf_free(&b);
    return st;
}

static tfm_status add_step(expansion *x, const tfm_yaml *step, const char *condition,
                           tfm_error *err) {
    const tfm_yaml *own = tfm_yaml_get(step, "if");
    tfm_yaml *copy, *value;
    void *p;
    if (x->out->n == x->cap)
        return tfm_yaml_fail(step, err, TFM_LIMIT, "more than %zu steps", x->cap);
    x->out->entry[x->out->n++].value = step;
    if (condition == NULL || (own != NULL && own->text == condition)) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(x->r->arena, &p, 2 * sizeof *copy, err));
    copy = p;
    value = copy + 1;
    *copy = *step;
    *value = (tfm_yaml){.kind = TFM_YAML_SCALAR,
                        .line = step->line,
                        .file = step->file,
                        .text = condition,
                        .len = strlen(condition)};
    TFM_TRY(tfm_arena_alloc(x->r->arena, &p, (step->n + 1) * sizeof(tfm_yaml_entry), err));
    copy->entry = p;
    memcpy(copy->entry, step->entry, step->n * sizeof(tfm_yaml_entry));
    put_entry(copy, &(tfm_yaml_entry){"if", value});
    x->out->entry[x->out->n - 1].value = copy;
    return TFM_OK;
}

static tfm_status expand_list(expansion *x, const tfm_yaml *list, const char *condition,
                              tfm_error *err);

static tfm_status expand_macro(expansion *x, const tfm_yaml *call, const tfm_yaml *macro,
                               const char *condition, tfm_error *err) {
    static const char *const known[] = {"arguments", "steps", NULL};
    const tfm_yaml *given = call->entry[0].value, *declared, *body;
    arguments args = {.n = 0};
    if (x->depth == MAX_MACRO_DEPTH)
        return tfm_yaml_fail(call, err, TFM_LIMIT, "macros use each other more than %d deep",
                             MAX_MACRO_DEPTH);
    for (size_t i = 1; i < call->n; i++)
        if (strcmp(call->entry[i].key, "if") != 0)
            return tfm_yaml_fail(call, err, TFM_FORMAT,
                                 "a macro's arguments stand under its name, "
                                 "like {%s: {%.40s: ...}}",
                                 call->entry[0].key, call->entry[i].key);
    TFM_TRY(tfm_yaml_keys(macro, known, err));
    declared = tfm_yaml_get(macro, "arguments");
    body = tfm_yaml_get(macro, "steps");
    if (body == NULL || (declared != NULL && declared->kind != TFM_YAML_MAP))
        return tfm_yaml_fail(macro, err, TFM_FORMAT,
                             "a macro has 'steps' and may have "
                             "'arguments: {name: default}'");
    for (size_t i = 0; declared && i < declared->n; i++)
        TFM_TRY(set_argument(&args, &declared->entry[i], true, err));
    if (given->kind == TFM_YAML_LIST ||
        (given->kind == TFM_YAML_SCALAR && !tfm_yaml_is_null(given)))
        return tfm_yaml_fail(given, err, TFM_FORMAT, "the arguments of a macro are a mapping");
    for (size_t i = 0; i < given->n; i++)
        TFM_TRY(set_argument(&args, &given->entry[i], false, err));
    TFM_TRY(copy_node(x->r, body, &args, &body, err));
    x->depth++;
    TFM_TRY(expand_list(x, body, condition, err));
    x->depth--;
    return TFM_OK;
}

static tfm_status expand_list(expansion *x, const tfm_yaml *list, const char *condition,
                              tfm_error *err) {
    if (list->kind != TFM_YAML_LIST)
        return tfm_yaml_fail(list, err, TFM_FORMAT, "expected a list of steps");
    for (size_t i = 0; i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value, *own = tfm_yaml_get(y, "if"), *macro;
        const char *when;
        if (y->kind != TFM_YAML_MAP || y->n == 0)
            return tfm_yaml_fail(y, err, TFM_FORMAT,
                                 "a step is a mapping like {norm: attn_norm, "
                                 "in: x, out: h}");
        if (own != NULL && own->kind != TFM_YAML_SCALAR)
            return tfm_yaml_fail(own, err, TFM_FORMAT, "'if' takes one expression");
        TFM_TRY(both(x->r, condition, own, &when, err));
        macro = find_macro(x->r, y->entry[0].key);
        if (macro != NULL)
            TFM_TRY(expand_macro(x, y, macro, when, err));
        else
            TFM_TRY(add_step(x, y, when, err));
    }
    return TFM_OK;
}

tfm_status tfm_arch_expand(const tfm_resolver *r, const tfm_yaml *list, const tfm_yaml **out,
                           tfm_error *err) {
    expansion x = {.r = r, .cap = TFM_MAX_BLOCK_STEPS};
    void *p;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, sizeof *x.out, err));
    x.out = p;
    *x.out = *list;
    x.out->kind = TFM_YAML_LIST;
    x.out->n = 0;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, x.cap * sizeof(tfm_yaml_entry), err));
    x.out->entry = p;
    *out = x.out;
    return expand_list(&x, list, NULL, err);
}
