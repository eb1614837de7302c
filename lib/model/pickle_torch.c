/* pickle_torch.c - the names that a checkpoint's pickle may say, and what they build.
 *
 * Owns the list of names (facts of torch.save's output: torch/_utils.py, torch/storage.py) and the
 * check that a tensor lies inside its storage. A call is a look-up in this list and one of six
 * small functions: there is no way from here to anything else. */
#include <string.h>

#include "model/pickle_internal.h"

enum call { CALL_NONE, CALL_DICT, CALL_SET, CALL_SIZE, CALL_TENSOR, CALL_PARAMETER };

typedef struct known_name {
    const char *module, *name;
    enum call call;
    tfm_dtype dtype; /* of a storage class */
    uint8_t element; /* bytes, 0: no storage class */
} known_name;

static const known_name known[] = {
    {"collections", "OrderedDict", CALL_DICT, TFM_DTYPE_NONE, 0},
    {"__builtin__", "set", CALL_SET, TFM_DTYPE_NONE, 0},
    {"builtins", "set", CALL_SET, TFM_DTYPE_NONE, 0},
    {"torch", "Size", CALL_SIZE, TFM_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_tensor", CALL_TENSOR, TFM_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_tensor_v2", CALL_TENSOR, TFM_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_parameter", CALL_PARAMETER, TFM_DTYPE_NONE, 0},
    {"torch._utils", "_rebuild_parameter_with_state", CALL_PARAMETER, TFM_DTYPE_NONE, 0},
    {"torch", "FloatStorage", CALL_NONE, TFM_F32, 4},
    {"torch", "HalfStorage", CALL_NONE, TFM_F16, 2},
    {"torch", "BFloat16Storage", CALL_NONE, TFM_BF16, 2},
    {"torch", "CharStorage", CALL_NONE, TFM_I8, 1},
    {"torch", "ByteStorage", CALL_NONE, TFM_U8, 1},
    {"torch", "BoolStorage", CALL_NONE, TFM_U8, 1},
    {"torch", "IntStorage", CALL_NONE, TFM_I32, 4},
    {"torch", "LongStorage", CALL_NONE, TFM_I64, 8},
    /* of types that tfm has not: fine in a file as long as no weight is of them */
    {"torch", "DoubleStorage", CALL_NONE, TFM_DTYPE_NONE, 8},
    {"torch", "ShortStorage", CALL_NONE, TFM_DTYPE_NONE, 2},
};

static bool is_text(const char *s, const char *p, size_t n) {
    return strlen(s) == n && memcmp(s, p, n) == 0;
}

tfm_status tfm_pickle_name(tfm_pickle_value *out, const char *module, size_t n_module,
                           const char *name, size_t n_name, tfm_error *err) {
    enum { SHOWN = 100 }; /* bytes of a hostile name */
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (!is_text(known[i].module, module, n_module) || !is_text(known[i].name, name, n_name))
            continue;
        *out = (tfm_pickle_value){.kind = TFM_PICKLE_NAME, .u.i = (int64_t)i};
        return TFM_OK;
    }
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "its pickle asks for %.*s.%.*s, which builds no tensor and no plain container: "
                    "refused, nothing of it was run",
                    n_module < SHOWN ? (int)n_module : SHOWN, module,
                    n_name < SHOWN ? (int)n_name : SHOWN, name);
}

/* ---- containers ---- */

tfm_status tfm_pickle_container(tfm_pickle *k, tfm_pickle_kind kind, tfm_pickle_value *out,
                                tfm_error *err) {
    void *p;
    TFM_TRY(tfm_arena_alloc(k->arena, &p, sizeof(tfm_pickle_items), err));
    *out = (tfm_pickle_value){.kind = (uint8_t)kind, .u.items = p};
    return TFM_OK;
}

/* Twice the room when there is none; the old array stays in the arena, so all of them together are
 * at most twice what is used. */
static tfm_status make_room(tfm_pickle *k, tfm_pickle_items *to, size_t n, tfm_error *err) {
    const size_t need = (size_t)to->n + n; /* both at most TFM_PICKLE_MAX_VALUES */
    const size_t cap = to->cap == 0 || need > 2 * (size_t)to->cap ? need : 2 * (size_t)to->cap;
    void *p;
    if (need <= to->cap) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(k->arena, &p, cap * sizeof *to->v, err));
    if (to->n) memcpy(p, to->v, to->n * sizeof *to->v);
    to->v = p;
    to->cap = (uint32_t)cap;
    return TFM_OK;
}

tfm_status tfm_pickle_append(tfm_pickle *k, const tfm_pickle_value *to, const tfm_pickle_value *v,
                             size_t n, tfm_error *err) {
    tfm_pickle_items *items = to->u.items;
    if (n == 0) return TFM_OK;
    /* A call can copy a list that is remembered, again and again: copies count. */
    if (n > TFM_PICKLE_MAX_VALUES - k->n_items)
        return tfm_fail(err, TFM_LIMIT, "its pickle has more than %u values in containers",
                        TFM_PICKLE_MAX_VALUES);
    k->n_items += (uint32_t)n;
    TFM_TRY(make_room(k, items, n, err));
    memcpy(items->v + items->n, v, n * sizeof *v);
    items->n += (uint32_t)n;
    return TFM_OK;
}

/* OrderedDict() or OrderedDict([(key, value), ...]). */
static tfm_status call_dict(tfm_pickle *k, const tfm_pickle_items *a, tfm_pickle_value *out,
                            tfm_error *err) {
    TFM_TRY(tfm_pickle_container(k, TFM_PICKLE_DICT, out, err));
    if (a->n == 0) return TFM_OK;
    if (a->n != 1 || a->v[0].kind != TFM_PICKLE_LIST)
        return tfm_fail(err, TFM_UNSUPPORTED, "its pickle makes an OrderedDict of no list");
    const tfm_pickle_items *list = a->v[0].u.items;
    for (uint32_t i = 0; i < list->n; i++) {
        const tfm_pickle_value *pair = &list->v[i];
        if ((pair->kind != TFM_PICKLE_LIST && pair->kind != TFM_PICKLE_TUPLE) ||
            pair->u.items->n != 2)
            return tfm_fail(err, TFM_FORMAT, "its pickle makes an OrderedDict of no pairs");
        TFM_TRY(tfm_pickle_append(k, out, pair->u.items->v, 2, err));
    }
    return TFM_OK;
}

/* set([...]) and torch.Size((...)): the values of the one argument. */
static tfm_status call_values(tfm_pickle *k, tfm_pickle_kind kind, const tfm_pickle_items *a,
                              tfm_pickle_value *out, tfm_error *err) {
    TFM_TRY(tfm_pickle_container(k, kind, out, err));
    if (a->n != 1 || (a->v[0].kind != TFM_PICKLE_LIST && a->v[0].kind != TFM_PICKLE_TUPLE))
        return tfm_fail(err, TFM_UNSUPPORTED, "its pickle makes a set or size of no list");
    return tfm_pickle_append(k, out, a->v[0].u.items->v, a->v[0].u.items->n, err);
}

/* ---- tensors ---- */

static tfm_status bad_tensor(const char *why, tfm_error *err) {
    return tfm_fail(err, TFM_FORMAT, "its pickle has a bad tensor: %s", why);
}

static bool take_count(const tfm_pickle_value *v, uint64_t *out) {
    if (v->kind != TFM_PICKLE_INT || v->u.i < 0) return false;
    *out = (uint64_t)v->u.i;
    return true;
}

static tfm_status take_shape(tfm_pickle_tensor *t, const tfm_pickle_value *size,
                             const tfm_pickle_value *stride, tfm_error *err) {
    uint64_t d;
    if (size->kind != TFM_PICKLE_TUPLE || stride->kind != TFM_PICKLE_TUPLE ||
        size->u.items->n != stride->u.items->n)
        return bad_tensor("no size and stride", err);
    if (size->u.items->n > TFM_MAX_RANK)
        return tfm_fail(err, TFM_LIMIT, "a tensor has %u dimensions, at most %d", size->u.items->n,
                        TFM_MAX_RANK);
    t->rank = size->u.items->n;
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) t->dims[i] = 1;
    for (unsigned i = 0; i < t->rank; i++) {
        if (!take_count(&size->u.items->v[i], &d) || d > UINT32_MAX ||
            !take_count(&stride->u.items->v[i], &t->stride[i]))
            return bad_tensor("a dimension or stride out of range", err);
        t->dims[i] = (uint32_t)d;
    }
    return TFM_OK;
}

/* The last element must be in the storage, and there may be no more elements than it has: what is
 * larger repeats itself (stride 0), and a few bytes could claim to be any size. */
static tfm_status check_inside(const tfm_pickle_tensor *t, tfm_error *err) {
    uint64_t count, last = t->offset;
    if (!tfm_dims_count(t->rank, t->dims, &count)) return bad_tensor("its size overflows", err);
    if (count == 0) return TFM_OK;
    for (unsigned i = 0; i < t->rank; i++) {
        uint64_t reach;
        if (!tfm_mul_u64(t->dims[i] - 1u, t->stride[i], &reach) || !tfm_add_u64(last, reach, &last))
            return bad_tensor("its strides overflow", err);
    }
    if (last >= t->storage->count || count > t->storage->count)
        return bad_tensor("it reaches beyond its storage", err);
    return TFM_OK;
}

/* (storage, offset, size, stride, ...): the rest is about gradients. */
static tfm_status call_tensor(tfm_pickle *k, const tfm_pickle_items *a, tfm_pickle_value *out,
                              tfm_error *err) {
    void *p;
    if (a->n < 4 || a->v[0].kind != TFM_PICKLE_STORAGE)
        return bad_tensor("it has no storage, offset, size and stride", err);
    if (k->n_tensors++ >= TFM_PICKLE_MAX_TENSORS)
        return tfm_fail(err, TFM_LIMIT, "more than %u tensors", TFM_PICKLE_MAX_TENSORS);
    TFM_TRY(tfm_arena_alloc(k->arena, &p, sizeof(tfm_pickle_tensor), err));
    tfm_pickle_tensor *t = p;
    t->storage = a->v[0].u.storage;
    if (!take_count(&a->v[1], &t->offset)) return bad_tensor("its offset is no number", err);
    TFM_TRY(take_shape(t, &a->v[2], &a->v[3], err));
    TFM_TRY(check_inside(t, err));
    *out = (tfm_pickle_value){.kind = TFM_PICKLE_TENSOR, .u.tensor = t};
    return TFM_OK;
}

tfm_status tfm_pickle_call(tfm_pickle *k, const tfm_pickle_value *callable,
                           const tfm_pickle_value *args, tfm_pickle_value *out, tfm_error *err) {
    const tfm_pickle_items *a = args->u.items;
    const known_name *name = &known[callable->u.i];
    switch (name->call) {
    case CALL_DICT: return call_dict(k, a, out, err);
    case CALL_SET: return call_values(k, TFM_PICKLE_SET, a, out, err);
    case CALL_SIZE: return call_values(k, TFM_PICKLE_TUPLE, a, out, err);
    case CALL_TENSOR: return call_tensor(k, a, out, err);
    case CALL_PARAMETER: /* (tensor, requires_grad, hooks) */
        if (a->n < 1 || a->v[0].kind != TFM_PICKLE_TENSOR)
            return bad_tensor("a parameter without a tensor", err);
        *out = a->v[0];
        return TFM_OK;
    case CALL_NONE: break;
    }
    return tfm_fail(err, TFM_UNSUPPORTED, "its pickle calls %s.%s, which is only a type",
                    name->module, name->name);
}

/* ---- storages ---- */

tfm_status tfm_pickle_persistent(tfm_pickle *k, const tfm_pickle_value *id, tfm_pickle_value *out,
                                 tfm_error *err) {
    void *p;
    uint64_t bytes;
    const tfm_pickle_value *v = id->kind == TFM_PICKLE_TUPLE ? id->u.items->v : NULL;
    if (!v || id->u.items->n != 5 || !tfm_pickle_text(&v[0], "storage") ||
        v[1].kind != TFM_PICKLE_NAME || v[2].kind != TFM_PICKLE_TEXT ||
        known[v[1].u.i].element == 0)
        return tfm_fail(err, TFM_FORMAT, "its pickle refers to something that is no storage");
    const known_name *name = &known[v[1].u.i];
    TFM_TRY(tfm_arena_alloc(k->arena, &p, sizeof(tfm_pickle_storage), err));
    tfm_pickle_storage *s = p;
    *s = (tfm_pickle_storage){
        .dtype = name->dtype, .type_name = name->name, .element = name->element};
    if (!take_count(&v[4], &s->count) || !tfm_mul_u64(s->count, s->element, &bytes))
        return tfm_fail(err, TFM_FORMAT, "its pickle has a storage of a bad size");
    uint64_t there;
    TFM_TRY(k->find(k->find_ctx, v[2].u.text, v[2].n, &s->data, &there, err));
    if (bytes > there)
        return tfm_fail(err, TFM_FORMAT, "storage %.*s has %llu bytes, its pickle says %llu",
                        v[2].n < 100 ? (int)v[2].n : 100, v[2].u.text, (unsigned long long)there,
                        (unsigned long long)bytes);
    *out = (tfm_pickle_value){.kind = TFM_PICKLE_STORAGE, .u.storage = s};
    return TFM_OK;
}
