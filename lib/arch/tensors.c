/* tensors.c - from the checkpoint's tensors to recipes for the canonical ones.
 *
 * Every tensor of the checkpoint must be used, or named under `ignore`: one that nobody knows may
 * change the result, so it is an error and never dropped in silence.
 */
#include "arch/resolve_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tensor/block_internal.h"

#define FILL_MAX 65536.0    /* elements of a computed tensor: each is an expression to evaluate */
#define STORED_MAX 4194304u /* numbers that all expressions together may read of the checkpoint */

/* What an entry says about one format. */
typedef struct mapping {
    const tfm_yaml *where;
    const tfm_yaml *names; /* a name, a list of names, or NULL */
    const tfm_yaml *spec;  /* the mapping with transforms, or NULL */
    const char *suffix;    /* ".weight" or ".bias" of a module, or "" */
    bool optional;
    int expert; /* what the component E stands for; -1: itself */
} mapping;

static tfm_status number(const tfm_resolver *r, const tfm_yaml *y, double lo, double hi,
                         double *out, tfm_error *err) {
    tfm_val v;
    if (y->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "expected a number or an expression");
    TFM_TRY(tfm_expr_eval(y, y->text, &r->scope, &v, err));
    if (v.kind != TFM_VAL_NUM || v.num != floor(v.num) || !(v.num >= lo && v.num <= hi))
        return tfm_yaml_fail(y, err, TFM_FORMAT,
                             "'%.60s' must give a whole number from %.9g to "
                             "%.9g",
                             y->text, lo, hi);
    *out = v.num;
    return TFM_OK;
}

static tfm_status fit(const tfm_recipe *c, const tfm_yaml *where, tfm_error *err) {
    return tfm_yaml_fail(where, err, TFM_MISMATCH,
                         "tensor '%s' (rows %u) does not fit what the "
                         "architecture file does with it",
                         c->out.name, c->out.dims[0]);
}

/* Rows of one matrix: of three dims the first counts matrices. */
static uint32_t *rows_of(tfm_recipe *c) {
    return &c->out.dims[c->out.rank == 3 ? 1 : 0];
}

static tfm_status find_one(const tfm_resolver *r, const mapping *m, const char *name,
                           const tfm_tensor **out, tfm_error *err);
static tfm_status lost(const tfm_resolver *r, const mapping *m, const char *tried, tfm_error *err);

/* blocks: [TYPE, NAME]: the tensor has the codes of blocks, [.., blocks, 16] bytes, and NAME their
 * scales, [.., blocks]. */
static tfm_status take_blocks(const tfm_resolver *r, const mapping *m, const tfm_yaml *y,
                              tfm_recipe *c, tfm_error *err) {
    const tfm_tensor *codes = c->source, *scales;
    const unsigned rank = codes->rank;
    if (y->kind != TFM_YAML_LIST || y->n != 2 || y->entry[0].value->kind != TFM_YAML_SCALAR ||
        y->entry[1].value->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'blocks' is [type, name of the scales]");
    const tfm_dtype t = tfm_dtype_parse(y->entry[0].value->text);
    const char *name = y->entry[1].value->text;
    if (!tfm_block_is_pairs(t))
        return tfm_yaml_fail(y, err, TFM_UNSUPPORTED,
                             "'%.40s' is no type whose blocks are codes of 4 bits and a scale",
                             y->entry[0].value->text);
    if (strcmp(m->suffix, ".bias") == 0) return TFM_OK;
    TFM_TRY(find_one(r, m, name, &scales, err));
    if (scales == NULL) return lost(r, m, name, err);
    const tfm_dtype want = tfm_dtype_block_bytes(t) - TFM_PAIRS_BYTES == 1 ? TFM_U8 : TFM_F16;
    bool fits = rank >= 3 && rank == scales->rank + 1u && codes->dtype == TFM_U8 &&
                scales->dtype == want && codes->dims[rank - 1] == TFM_PAIRS_BYTES &&
                codes->dims[rank - 2] <= UINT32_MAX / tfm_dtype_block(t);
    for (unsigned i = 0; fits && i + 1 < rank; i++) fits = codes->dims[i] == scales->dims[i];
    if (!fits)
        return tfm_yaml_fail(y, err, TFM_MISMATCH,
                             "'%.100s' and '%.100s' are not the codes and the scales of %s blocks",
                             codes->name, scales->name, tfm_dtype_name(t));
    r->source_used[scales - tfm_source_tensor_at(r->source, 0)] = true;
    c->scales = scales;
    c->out.dtype = t;
    c->out.rank = rank - 1;
    c->out.dims[rank - 1] = 1;
    c->out.dims[rank - 2] *= tfm_dtype_block(t);
    return TFM_OK;
}

/* shape: [dims], slowest first: the same numbers seen otherwise. A module's bias is left alone. */
static tfm_status take_shape(const tfm_resolver *r, const tfm_yaml *y, tfm_recipe *c,
                             const char *suffix, tfm_error *err) {
    uint64_t before, after;
    double v;
    if (y->kind != TFM_YAML_LIST || y->n < 1 || y->n > 3)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'shape' is a list of one to three dims");
    if (strcmp(suffix, ".bias") == 0) return TFM_OK;
    if (!tfm_dims_count(c->out.rank, c->out.dims, &before)) return fit(c, y, err);
    c->out.rank = (uint8_t)y->n;
    for (size_t i = 0; i < 4; i++) c->out.dims[i] = 1;
    for (size_t i = 0; i < y->n; i++) {
        TFM_TRY(number(r, y->entry[i].value, 1, 4294967295.0, &v, err));
        c->out.dims[i] = (uint32_t)v;
    }
    if (!tfm_dims_count(c->out.rank, c->out.dims, &after) || after != before) return fit(c, y, err);
    return TFM_OK;
}

/* groups: [a, b, ...]: rows a, b, ... in turn are sorted into all a, all b, ... */
static tfm_status take_groups(const tfm_resolver *r, const tfm_yaml *y, tfm_recipe *c,
                              tfm_error *err) {
    uint64_t sum = 0;
    double v;
    if (y->kind != TFM_YAML_LIST || y->n < 2 || y->n > TFM_RECIPE_PARTS)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'groups' is a list of two to %d counts of rows",
                             TFM_RECIPE_PARTS);
    for (size_t i = 0; i < y->n; i++) {
        TFM_TRY(number(r, y->entry[i].value, 1, 4294967295.0, &v, err));
        c->part[i] = (uint32_t)v;
        sum += c->part[i];
    }
    if (c->out.rank < 1 || *rows_of(c) % sum != 0) return fit(c, y, err);
    c->n_parts = (uint32_t)y->n;
    c->rows = *rows_of(c);
    return TFM_OK;
}

/* rows: [first, count] or [first, count, every]. */
static tfm_status take_rows(const tfm_resolver *r, const tfm_yaml *y, tfm_recipe *c,
                            tfm_error *err) {
    uint32_t *rows = rows_of(c);
    double v[3] = {0, 0, *rows};
    if (y->kind != TFM_YAML_LIST || y->n < 2 || y->n > 3)
        return tfm_yaml_fail(y, err, TFM_FORMAT,
                             "'rows' is [first, count] or [first, count, "
                             "every]");
    for (size_t i = 0; i < y->n; i++)
        TFM_TRY(number(r, y->entry[i].value, i == 0 ? 0 : 1, 4294967295.0, &v[i], err));
    if (c->out.rank < 1 || v[0] + v[1] > v[2] || fmod(*rows, v[2]) != 0) return fit(c, y, err);
    c->row_first = (uint32_t)v[0];
    c->row_count = (uint32_t)v[1];
    c->row_every = (uint32_t)v[2];
    *rows = *rows / c->row_every * c->row_count;
    return TFM_OK;
}

/* rope_pairs: heads, or [heads, rot]; 0 heads: as it is. */
static tfm_status take_pairs(const tfm_resolver *r, const tfm_yaml *y, tfm_recipe *c,
                             tfm_error *err) {
    bool list = y->kind == TFM_YAML_LIST;
    double heads, rot, width, rows = *rows_of(c);
    if (list && y->n != 2)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'rope_pairs' is heads, or [heads, rot]");
    TFM_TRY(number(r, list ? y->entry[0].value : y, 0, 65536, &heads, err));
    if (heads == 0) return TFM_OK;
    if (c->out.rank < 1 || fmod(rows, heads) != 0) return fit(c, y, err);
    width = rows / heads;
    rot = width;
    if (list) TFM_TRY(number(r, y->entry[1].value, 2, width, &rot, err));
    if (fmod(rot, 2) != 0) return fit(c, y, err);
    c->rope_heads = (uint32_t)heads;
    c->rope_rot = (uint32_t)rot;
    return TFM_OK;
}

static tfm_status take_transpose(const tfm_resolver *r, const tfm_yaml *y, tfm_recipe *c,
                                 tfm_error *err) {
    double yes;
    uint32_t *rows = rows_of(c), n = *rows;
    TFM_TRY(number(r, y, 0, 1, &yes, err));
    if (yes == 0 || c->out.rank < 2) return TFM_OK; /* a bias stays as it is */
    if (tfm_dtype_block(c->out.dtype) != 1)
        return tfm_yaml_fail(y, err, TFM_UNSUPPORTED, "tensor '%s' is %s and cannot be transposed",
                             c->out.name, tfm_dtype_name(c->out.dtype));
    c->transpose = true;
    rows[0] = rows[1];
    rows[1] = n;
    return TFM_OK;
}

/* add: a number that every element of a vector is increased by. */
static tfm_status take_add(const tfm_resolver *r, const mapping *m, const tfm_yaml *y,
                           tfm_recipe *c, tfm_error *err) {
    tfm_val v;
    if (y->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "expected a number or an expression");
    TFM_TRY(tfm_expr_eval(y, y->text, &r->scope, &v, err));
    if (v.kind != TFM_VAL_NUM) return tfm_yaml_fail(y, err, TFM_FORMAT, "'add' takes a number");
    if (v.num == 0 || strcmp(m->suffix, ".bias") == 0) return TFM_OK;
    if (c->out.rank != 1 || tfm_dtype_block(c->out.dtype) != 1) return fit(c, y, err);
    c->to_f32 = true;
    c->add = (float)v.num;
    c->out.dtype = TFM_F32;
    return TFM_OK;
}

/* Vectors are made at once: they are small, and the compiler may want to read one (rotary
 * tables). */
static tfm_status make_vector(const tfm_resolver *r, tfm_recipe *c, tfm_error *err) {
    void *p;
    if (c->out.data != NULL || c->out.rank != 1) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (size_t)c->out.bytes, err));
    TFM_TRY(tfm_recipe_run(c, p, err));
    c->out.data = p;
    return TFM_OK;
}

static tfm_status transforms(const tfm_resolver *r, const mapping *m, tfm_recipe *c,
                             tfm_error *err) {
    const tfm_yaml *y;
    if ((y = tfm_yaml_get(m->spec, "blocks")) != NULL) TFM_TRY(take_blocks(r, m, y, c, err));
    if ((y = tfm_yaml_get(m->spec, "shape")) != NULL) TFM_TRY(take_shape(r, y, c, m->suffix, err));
    bool vector = c->out.rank == 1 && (c->out.dtype == TFM_F16 || c->out.dtype == TFM_BF16);
    c->matrices = c->out.rank == 3 ? c->out.dims[0] : 1;
    if ((y = tfm_yaml_get(m->spec, "transpose")) != NULL) TFM_TRY(take_transpose(r, y, c, err));
    c->rows = c->out.rank > 0 ? *rows_of(c) : 0;
    if ((y = tfm_yaml_get(m->spec, "groups")) != NULL) TFM_TRY(take_groups(r, y, c, err));
    if ((y = tfm_yaml_get(m->spec, "rows")) != NULL) TFM_TRY(take_rows(r, y, c, err));
    if ((y = tfm_yaml_get(m->spec, "rope_pairs")) != NULL) TFM_TRY(take_pairs(r, y, c, err));
    if (vector && strcmp(r->format, "gguf") != 0) {
        c->to_f32 = true;
        c->out.dtype = TFM_F32;
    }
    if ((y = tfm_yaml_get(m->spec, "add")) != NULL) TFM_TRY(take_add(r, m, y, c, err));
    c->out_rows = c->out.rank > 0 ? *rows_of(c) : 0;
    if (c->out.rank == 3 && c->out.dims[2] == 1) c->out.rank = 2; /* biases, seen as columns */
    if (c->transpose || c->n_parts > 0 || c->row_count > 0 || c->rope_heads > 0 || c->to_f32 ||
        c->scales != NULL)
        c->out.data = NULL;
    return tfm_layout_bytes(c->out.dtype, TFM_LAYOUT_ROWS, c->out.rank, c->out.dims, &c->out.bytes,
                            err);
}

static tfm_status add_recipe(tfm_resolver *r, const tfm_recipe *c, tfm_error *err) {
    void *bigger;
    if (r->n_recipes == TFM_MAX_TENSORS)
        return tfm_fail(err, TFM_LIMIT, "more than %u tensors", TFM_MAX_TENSORS);
    if (r->n_recipes == r->cap_recipes) {
        size_t cap = r->cap_recipes ? 2 * r->cap_recipes : 256;
        TFM_TRY(tfm_arena_alloc(r->arena, &bigger, cap * sizeof *c, err));
        if (r->n_recipes > 0) memcpy(bigger, r->recipe, r->n_recipes * sizeof *c);
        r->recipe = bigger;
        r->cap_recipes = cap;
    }
    TFM_TRY(
        tfm_names_add(&r->names, c->out.name, strlen(c->out.name), (uint32_t)r->n_recipes, err));
    r->recipe[r->n_recipes++] = *c;
    return TFM_OK;
}

/* ---- finding ---- */

/* Tries a name with each of the format's prefixes, then for a module's weight without ".weight". */
static tfm_status find_one(const tfm_resolver *r, const mapping *m, const char *name,
                           const tfm_tensor **out, tfm_error *err) {
    const tfm_yaml *prefix = tfm_yaml_get(tfm_yaml_get(r->arch, "prefix"), r->format);
    size_t n = prefix == NULL ? 1 : prefix->kind == TFM_YAML_LIST ? prefix->n : 1;
    char buf[512];
    *out = NULL;
    TFM_TRY(tfm_layer_name(r->arena, &name, name, r->layer, err));
    if (m->expert >= 0) TFM_TRY(tfm_component_name(r->arena, &name, name, 'E', m->expert, err));
    for (size_t i = 0; i < n && *out == NULL; i++) {
        const tfm_yaml *p =
            prefix && prefix->kind == TFM_YAML_LIST ? prefix->entry[i].value : prefix;
        const char *before = p && p->kind == TFM_YAML_SCALAR ? p->text : "";
        if (snprintf(buf, sizeof buf, "%s%s%s", before, name, m->suffix) >= (int)sizeof buf)
            return tfm_yaml_fail(m->where, err, TFM_LIMIT, "a tensor name is too long");
        *out = tfm_source_tensor(r->source, buf);
        if (*out == NULL && strcmp(m->suffix, ".weight") == 0) {
            snprintf(buf, sizeof buf, "%s%s", before, name);
            *out = tfm_source_tensor(r->source, buf);
        }
    }
    return TFM_OK;
}

static tfm_status find_source(const tfm_resolver *r, const mapping *m, const char *canonical,
                              const tfm_tensor **out, const char **tried, tfm_error *err) {
    size_t n = m->names && m->names->kind == TFM_YAML_LIST ? m->names->n : 1;
    *out = NULL;
    *tried = canonical;
    for (size_t i = 0; i < n && *out == NULL; i++) {
        const tfm_yaml *y =
            m->names && m->names->kind == TFM_YAML_LIST ? m->names->entry[i].value : m->names;
        const char *name = canonical;
        if (y != NULL) {
            if (y->kind != TFM_YAML_SCALAR)
                return tfm_yaml_fail(y, err, TFM_FORMAT, "expected a tensor name");
            name = y->text;
        }
        if (i == 0) *tried = name;
        TFM_TRY(find_one(r, m, name, out, err));
    }
    return TFM_OK;
}

/* `what` does something with a tensor of its own: none of the other keys can. */
static tfm_status alone(const mapping *m, const char *what, tfm_error *err) {
    static const char *const other[] = {"transpose", "groups", "rows",  "rope_pairs", "add",
                                        "stack",     "fill",   "shape", "blocks"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        const bool may = strcmp(other[i], what) == 0 ||
                         (strcmp(other[i], "shape") == 0 && strcmp(what, "fill") == 0);
        if (!may && tfm_yaml_get(m->spec, other[i]) != NULL)
            return tfm_yaml_fail(m->spec, err, TFM_FORMAT, "'%s' cannot go with '%s'", what,
                                 other[i]);
    }
    return TFM_OK;
}

/* For stored() and dot() in `fill`: a small tensor of the checkpoint, which is used by that. */
static tfm_status stored(const tfm_scope *s, const tfm_yaml *where, const char *name, size_t len,
                         bool all, const tfm_tensor **out, tfm_error *err) {
    tfm_resolver *r = (tfm_resolver *)(uintptr_t)s; /* the scope is its first member */
    const mapping m = {.where = where, .suffix = "", .expert = -1};
    const char *copy;
    uint64_t n;
    TFM_TRY(tfm_arena_strndup(r->arena, &copy, name, len, err));
    TFM_TRY(tfm_layer_name(r->arena, &copy, copy, r->layer, err));
    TFM_TRY(find_one(r, &m, copy, out, err));
    if (*out == NULL)
        return tfm_yaml_fail(where, err, TFM_UNSUPPORTED, "the checkpoint has no tensor '%.200s'",
                             copy);
    if ((*out)->data == NULL || tfm_dtype_block((*out)->dtype) != 1 ||
        !tfm_dims_count((*out)->rank, (*out)->dims, &n))
        return tfm_yaml_fail(where, err, TFM_UNSUPPORTED,
                             "tensor '%.200s' is not stored as plain numbers", copy);
    if (!all) n = 1;
    if (n > STORED_MAX - r->n_stored)
        return tfm_yaml_fail(where, err, TFM_LIMIT, "more than %u numbers are read", STORED_MAX);
    r->n_stored += (uint32_t)n;
    r->source_used[*out - tfm_source_tensor_at(r->source, 0)] = true;
    return TFM_OK;
}

/* The dims of what is filled: `count` elements, or `shape`. */
static tfm_status fill_dims(const tfm_resolver *r, const mapping *m, tfm_tensor *t, double *n,
                            tfm_error *err) {
    const tfm_yaml *count = tfm_yaml_get(m->spec, "count"), *shape = tfm_yaml_get(m->spec, "shape");
    double dim;
    if ((count == NULL) == (shape == NULL))
        return tfm_yaml_fail(m->spec, err, TFM_FORMAT, "'fill' needs either 'count' or 'shape'");
    if (shape != NULL && (shape->kind != TFM_YAML_LIST || shape->n < 1 || shape->n > 3))
        return tfm_yaml_fail(shape, err, TFM_FORMAT, "'shape' is a list of one to three dims");
    t->rank = shape != NULL ? (uint8_t)shape->n : 1;
    *n = 1;
    for (size_t i = 0; i < t->rank; i++) {
        const tfm_yaml *y = shape != NULL ? shape->entry[i].value : count;
        TFM_TRY(number(r, y, 1, FILL_MAX / *n, &dim, err));
        t->dims[i] = (uint32_t)dim;
        *n *= dim;
    }
    return TFM_OK;
}

/* `fill`: a table computed from parameters; i counts its elements. */
static tfm_status fill(tfm_resolver *r, const mapping *m, const char *name, tfm_error *err) {
    const tfm_yaml *what = tfm_yaml_get(m->spec, "fill");
    tfm_recipe c = {.out = {.name = name, .dtype = TFM_F32, .rank = 1, .dims = {1, 1, 1, 1}}};
    tfm_status st = TFM_OK;
    double n = 0;
    float *data;
    void *p;
    if (what->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(what, err, TFM_FORMAT, "'fill' is one expression");
    if (m->names != NULL)
        return tfm_yaml_fail(m->spec, err, TFM_FORMAT, "'fill' cannot go with 'name'");
    TFM_TRY(alone(m, "fill", err));
    TFM_TRY(fill_dims(r, m, &c.out, &n, err));
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (size_t)n * sizeof *data, err));
    data = p;
    r->scope.stored = stored;
    for (r->index = 0; (double)r->index < n && st == TFM_OK; r->index++) {
        tfm_val v;
        st = tfm_expr_eval(what, what->text, &r->scope, &v, err);
        if (st == TFM_OK && v.kind != TFM_VAL_NUM)
            st = tfm_yaml_fail(what, err, TFM_FORMAT, "'fill' must give numbers");
        if (st == TFM_OK) data[r->index] = (float)v.num;
    }
    r->index = -1;
    r->scope.stored = NULL;
    if (st != TFM_OK) return st;
    c.out.bytes = (uint64_t)n * sizeof *data;
    c.out.data = data;
    return add_recipe(r, &c, err);
}

static tfm_status lost(const tfm_resolver *r, const mapping *m, const char *tried, tfm_error *err) {
    TFM_TRY(tfm_layer_name(r->arena, &tried, tried, r->layer, err));
    if (m->expert >= 0) TFM_TRY(tfm_component_name(r->arena, &tried, tried, 'E', m->expert, err));
    return tfm_yaml_fail(m->where, err, TFM_UNSUPPORTED,
                         "the checkpoint has no tensor '%s%s', "
                         "which is needed",
                         tried, m->suffix);
}

/* `stack`: matrices of one shape, E = 0 and up, as one tensor [n, rows, columns]; vectors as a
 * matrix. */
static tfm_status stack(tfm_resolver *r, const mapping *m, const char *canonical, const char *name,
                        tfm_error *err) {
    const tfm_yaml *count = tfm_yaml_get(m->spec, "stack");
    const tfm_tensor *t, **list;
    tfm_recipe c = {.rope_heads = 0};
    mapping one = *m;
    const char *tried;
    double n;
    void *p;
    TFM_TRY(alone(m, "stack", err));
    TFM_TRY(number(r, count, 0, 4096, &n, err));
    if (n == 0 && m->optional) return TFM_OK;
    if (n == 0) return tfm_yaml_fail(count, err, TFM_FORMAT, "'stack' is 0: nothing to stack");
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (size_t)n * sizeof *list, err));
    list = p;
    for (one.expert = 0; one.expert < (int)n; one.expert++) {
        TFM_TRY(find_source(r, &one, canonical, &t, &tried, err));
        if (t == NULL && one.expert == 0 && m->optional) return TFM_OK;
        if (t == NULL) return lost(r, &one, tried, err);
        const tfm_tensor *first = one.expert > 0 ? list[0] : t;
        if (t->rank < 1 || t->rank > 2 || t->rank != first->rank || t->dtype != first->dtype ||
            t->dims[0] != first->dims[0] || t->dims[1] != first->dims[1])
            return tfm_yaml_fail(m->where, err, TFM_MISMATCH,
                                 "tensor '%.100s' does not have the shape and type of those it is "
                                 "stacked with",
                                 t->name);
        list[one.expert] = t;
        r->source_used[t - tfm_source_tensor_at(r->source, 0)] = true;
    }
    c.source = list[0];
    c.stack = list;
    c.n_stack = (uint32_t)n;
    c.out = *list[0];
    c.out.name = name;
    c.out.data = NULL;
    c.out.rank++;
    c.out.dims[2] = c.out.dims[1];
    c.out.dims[1] = c.out.dims[0];
    c.out.dims[0] = c.n_stack;
    TFM_TRY(
        tfm_layout_bytes(c.out.dtype, TFM_LAYOUT_ROWS, c.out.rank, c.out.dims, &c.out.bytes, err));
    return add_recipe(r, &c, err);
}

/* One canonical tensor of one layer (r->layer; -1: none). */
static tfm_status map_one(tfm_resolver *r, const mapping *m, const char *canonical,
                          tfm_error *err) {
    const tfm_tensor *t;
    const char *name, *tried;
    char buf[256];
    tfm_recipe c = {.rope_heads = 0};
    if (snprintf(buf, sizeof buf, "%s%s", canonical, m->suffix) >= (int)sizeof buf)
        return tfm_yaml_fail(m->where, err, TFM_LIMIT, "a tensor name is too long");
    TFM_TRY(tfm_layer_name(r->arena, &name, buf, r->layer, err));
    if (m->spec && tfm_yaml_get(m->spec, "fill")) {
        if (strcmp(m->suffix, ".bias") == 0) return TFM_OK;
        return fill(r, m, name, err);
    }
    if (m->spec && tfm_yaml_get(m->spec, "stack"))
        return strcmp(m->suffix, ".bias") == 0 ? TFM_OK : stack(r, m, canonical, name, err);
    TFM_TRY(find_source(r, m, canonical, &t, &tried, err));
    if (t == NULL) return m->optional ? TFM_OK : lost(r, m, tried, err);
    r->source_used[t - tfm_source_tensor_at(r->source, 0)] = true;
    c.source = t;
    c.out = *t;
    c.out.name = name;
    TFM_TRY(transforms(r, m, &c, err));
    TFM_TRY(make_vector(r, &c, err));
    return add_recipe(r, &c, err);
}

/* ---- entries ---- */

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + n - k, end) == 0;
}

static bool has_layer(const char *name) {
    return strncmp(name, "N.", 2) == 0 || strstr(name, ".N.") != NULL || ends_with(name, ".N");
}

/* What is done with a tensor; sets *skip when its `if` does not hold. */
static tfm_status take_spec(const tfm_resolver *r, const tfm_yaml *spec, mapping *m, bool *skip,
                            tfm_error *err) {
    static const char *const known[] = {"name",  "transpose", "rows",  "rope_pairs", "fill",
                                        "count", "if",        "stack", "shape",      "groups",
                                        "add",   "blocks",    NULL};
    const tfm_yaml *when = tfm_yaml_get(spec, "if");
    bool yes = true;
    TFM_TRY(tfm_yaml_keys(spec, known, err));
    if (when != NULL && when->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(when, err, TFM_FORMAT, "'if' takes one expression");
    if (when != NULL) TFM_TRY(tfm_expr_true(when, when->text, &r->scope, &yes, err));
    m->spec = spec;
    m->names = tfm_yaml_get(spec, "name");
    *skip = !yes;
    return TFM_OK;
}

/* Sets *skip when the entry does not concern this checkpoint (its format or its `if`). */
static tfm_status read_mapping(const tfm_resolver *r, const tfm_yaml *spec, mapping *m, bool *skip,
                               tfm_error *err) {
    static const char *const known[] = {"gguf", "hf", "llama2c", "optional", NULL};
    const tfm_yaml *y;
    TFM_TRY(tfm_yaml_keys(spec, known, err));
    *m = (mapping){.where = spec, .suffix = "", .expert = -1};
    y = tfm_yaml_get(spec, "optional");
    if (y != NULL) {
        if (y->kind != TFM_YAML_SCALAR)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'optional' takes one expression");
        TFM_TRY(tfm_expr_true(y, y->text, &r->scope, &m->optional, err));
    }
    y = tfm_yaml_get(spec, r->format);
    *skip = y == NULL && strcmp(r->format, "gguf") != 0;
    m->names = y;
    if (y != NULL && y->kind == TFM_YAML_LIST && y->n > 0 &&
        y->entry[0].value->kind == TFM_YAML_MAP) {
        *skip = true; /* the first that holds */
        for (size_t i = 0; i < y->n && *skip; i++) {
            const tfm_yaml *one = y->entry[i].value;
            if (one->kind != TFM_YAML_MAP)
                return tfm_yaml_fail(one, err, TFM_FORMAT, "a list of names, or one of mappings");
            TFM_TRY(take_spec(r, one, m, skip, err));
        }
        return TFM_OK;
    }
    if (y == NULL || y->kind != TFM_YAML_MAP) return TFM_OK;
    return take_spec(r, y, m, skip, err);
}

/* A name without .weight or .bias is a module: its weight, and its bias if there is one. */
static tfm_status map_layer(tfm_resolver *r, const tfm_yaml_entry *e, tfm_error *err) {
    mapping m;
    bool skip;
    TFM_TRY(read_mapping(r, e->value, &m, &skip, err));
    if (skip) return TFM_OK;
    if (ends_with(e->key, ".weight") || ends_with(e->key, ".bias"))
        return map_one(r, &m, e->key, err);
    m.suffix = ".weight";
    TFM_TRY(map_one(r, &m, e->key, err));
    m.suffix = ".bias";
    m.optional = true;
    return map_one(r, &m, e->key, err);
}

static tfm_status map_entry(tfm_resolver *r, const tfm_yaml_entry *e, tfm_error *err) {
    uint32_t n = has_layer(e->key) ? r->n_layers : 1;
    tfm_status st = TFM_OK;
    for (uint32_t i = 0; i < n && st == TFM_OK; i++) {
        r->layer = has_layer(e->key) ? (int)i : -1;
        st = map_layer(r, e, err);
    }
    r->layer = -1;
    return st;
}

/* ---- what is left over ---- */

/* Does `name` fit `pattern`, whose component N stands for any number and a star at its end for the
 * rest? */
static bool fits(const char *pattern, const char *name) {
    while (*pattern != '\0') {
        if (pattern[0] == '*' && pattern[1] == '\0') return true;
        bool layer = *pattern == 'N' && (pattern[1] == '.' || pattern[1] == '\0');
        if (layer && *name >= '0' && *name <= '9') {
            while (*name >= '0' && *name <= '9') name++;
            pattern++;
        } else if (*pattern++ != *name++) {
            return false;
        }
    }
    return *name == '\0';
}

static bool is_ignored(const tfm_resolver *r, const tfm_yaml *list, const char *name) {
    const tfm_yaml *prefix = tfm_yaml_get(tfm_yaml_get(r->arch, "prefix"), r->format);
    size_t n_prefix = prefix && prefix->kind == TFM_YAML_LIST ? prefix->n : 0;
    for (size_t i = 0; list && i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value;
        if (y->kind != TFM_YAML_SCALAR) continue;
        if (fits(y->text, name)) return true;
        for (size_t k = 0; k < n_prefix; k++) {
            const tfm_yaml *p = prefix->entry[k].value;
            if (p->kind == TFM_YAML_SCALAR && strncmp(name, p->text, p->len) == 0 &&
                fits(y->text, name + p->len))
                return true;
        }
    }
    return false;
}

/* What a GGUF file has besides is kept, though no step uses it: else the file could not be written
 * back as it was. */
static tfm_status keep(tfm_resolver *r, const tfm_tensor *t, tfm_error *err) {
    tfm_recipe c = {.out = *t, .source = t, .kept = true};
    if (strcmp(r->format, "gguf") != 0) return TFM_OK;
    return add_recipe(r, &c, err);
}

static tfm_status check_left_over(tfm_resolver *r, tfm_error *err) {
    const tfm_yaml *section, *list;
    size_t n = tfm_source_n_tensors(r->source), left = 0;
    const char *first = NULL;
    TFM_TRY(tfm_arch_section(r, "ignore", &section, err));
    list = tfm_yaml_get(section, r->format);
    for (size_t i = 0; i < n; i++) {
        const tfm_tensor *t = tfm_source_tensor_at(r->source, i);
        if (r->source_used[i]) continue;
        if (is_ignored(r, list, t->name))
            TFM_TRY(keep(r, t, err));
        else if (left++ == 0)
            first = t->name;
    }
    if (left == 0) return TFM_OK;
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "%s does not know %zu tensor%s of the checkpoint, the "
                    "first is '%.100s': the result would be wrong without",
                    r->arch->file, left, left == 1 ? "" : "s", first);
}

tfm_status tfm_tensors_map(tfm_resolver *r, tfm_error *err) {
    const tfm_yaml *section;
    void *p;
    TFM_TRY(tfm_arch_section(r, "tensors", &section, err));
    TFM_TRY(tfm_arena_alloc(r->arena, &p, tfm_source_n_tensors(r->source) + 1, err));
    r->source_used = p;
    for (size_t i = 0; i < section->n; i++) TFM_TRY(map_entry(r, &section->entry[i], err));
    return check_left_over(r, err);
}
