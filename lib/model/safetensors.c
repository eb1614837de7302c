/* safetensors.c - the tensors of one .safetensors file.
 *
 *     u64 n | JSON of n bytes: {"name": {"dtype", "shape", "data_offsets": [from, to]}, ...} | data
 *
 * Offsets count from the first byte after the JSON. The format demands that the tensors cover the
 * data without gap or overlap, and so does this reader: one pass over them in the order of their
 * offsets checks it, and a hostile file has no room to hide anything. Tensors come out in that
 * order. */
#include <stdlib.h>
#include <string.h>

#include "model/json_internal.h"

#define HEADER_MAX ((uint64_t)100 << 20) /* bytes; the format's own limit */

static const struct {
    const char *name;
    tfm_dtype dtype;
} dtypes[] = {{"F32", TFM_F32}, {"F16", TFM_F16}, {"BF16", TFM_BF16}, {"I8", TFM_I8},
              {"U8", TFM_U8},   {"BOOL", TFM_U8}, {"I32", TFM_I32},   {"I64", TFM_I64}};

typedef struct entry {
    const char *name; /* in the JSON tree */
    tfm_tensor t;
    uint64_t from, to;
} entry;

static tfm_status take_dtype(const json_t *v, entry *e, tfm_error *err) {
    const char *name = tfm_json_text(v, "dtype", NULL);
    if (!name) return tfm_fail(err, TFM_FORMAT, "tensor %s has no dtype", e->name);
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++) {
        if (strcmp(dtypes[i].name, name) != 0) continue;
        e->t.dtype = dtypes[i].dtype;
        return TFM_OK;
    }
    return tfm_fail(err, TFM_UNSUPPORTED, "tensor %s: element type %s is not supported", e->name,
                    name);
}

static tfm_status take_shape(const json_t *v, entry *e, tfm_error *err) {
    const json_t *shape = json_object_get(v, "shape");
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_LIMIT, "tensor %s: its shape has %zu dimensions, at most %d",
                        e->name, rank, TFM_MAX_RANK);
    e->t.rank = (unsigned)rank;
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) e->t.dims[i] = 1;
    for (size_t i = 0; i < rank; i++) {
        json_int_t d = json_integer_value(json_array_get(shape, i));
        if (d < 1 || d > UINT32_MAX)
            return tfm_fail(err, TFM_FORMAT, "tensor %s has a dimension of %lld", e->name,
                            (long long)d);
        e->t.dims[i] = (uint32_t)d;
    }
    return TFM_OK;
}

static tfm_status take_entry(const char *name, const json_t *v, entry *e, tfm_error *err) {
    const json_t *offsets = json_object_get(v, "data_offsets");
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    size_t len = strlen(name);
    e->name = name;
    if (len == 0 || len > TFM_NAME_MAX)
        return tfm_fail(err, TFM_FORMAT, "a tensor's name has %zu bytes, not 1 to %d", len,
                        TFM_NAME_MAX);
    TFM_TRY(take_dtype(v, e, err));
    TFM_TRY(take_shape(v, e, err));
    if (json_array_size(offsets) != 2 || !json_is_integer(from) || !json_is_integer(to) ||
        json_integer_value(from) < 0 || json_integer_value(to) < json_integer_value(from))
        return tfm_fail(err, TFM_FORMAT, "tensor %s: its data_offsets are wrong", name);
    e->from = (uint64_t)json_integer_value(from);
    e->to = (uint64_t)json_integer_value(to);
    e->t.bytes = e->to - e->from;
    return TFM_OK;
}

static int by_offset(const void *x, const void *y) {
    const entry *a = x, *b = y;
    if (a->from != b->from) return a->from < b->from ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* data: [n_data] bytes after the JSON. */
static tfm_status add_entries(tfm_source *s, entry *e, size_t n, const unsigned char *data,
                              uint64_t n_data, tfm_error *err) {
    uint64_t at = 0;
    qsort(e, n, sizeof *e, by_offset);
    for (size_t i = 0; i < n; i++) {
        if (e[i].from != at)
            return tfm_fail(err, TFM_FORMAT, "tensor %s starts at %llu, not at %llu", e[i].name,
                            (unsigned long long)e[i].from, (unsigned long long)at);
        if (e[i].to > n_data)
            return tfm_fail(err, TFM_TRUNCATED, "the file ends before the end of tensor %s",
                            e[i].name);
        at = e[i].to;
        e[i].t.data = data + e[i].from;
        TFM_TRY(tfm_arena_strndup(s->arena, &e[i].t.name, e[i].name, strlen(e[i].name), err));
        TFM_TRY(tfm_source_add_tensor(s, &e[i].t, err));
    }
    if (at != n_data)
        return tfm_fail(err, TFM_FORMAT, "%llu bytes follow the last tensor",
                        (unsigned long long)(n_data - at));
    return TFM_OK;
}

static tfm_status read_tree(tfm_source *s, json_t *tree, const unsigned char *data, uint64_t n_data,
                            tfm_error *err) {
    size_t n = 0;
    void *p;
    if (json_object_size(tree) > TFM_MAX_TENSORS + 1)
        return tfm_fail(err, TFM_LIMIT, "%zu tensors, at most %u", json_object_size(tree),
                        TFM_MAX_TENSORS);
    TFM_TRY(tfm_alloc(&p, json_object_size(tree), sizeof(entry), err));
    entry *e = p;
    tfm_status st = TFM_OK;
    for (void *at = json_object_iter(tree); at && st == TFM_OK;
         at = json_object_iter_next(tree, at)) {
        const char *name = json_object_iter_key(at);
        if (strcmp(name, "__metadata__") == 0) continue;
        st = take_entry(name, json_object_iter_value(at), &e[n++], err);
    }
    if (st == TFM_OK) st = add_entries(s, e, n, data, n_data, err);
    tfm_free(e);
    return st;
}

tfm_status tfm_safetensors_read(tfm_source *s, const char *path, tfm_error *err) {
    tfm_source_file *f;
    json_t *tree;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    const tfm_map map = f->map;
    if (map.size < 8) return tfm_fail(err, TFM_TRUNCATED, "%s: shorter than a header", path);
    uint64_t n = tfm_load_u64(map.data);
    if (n > HEADER_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: a header of %llu bytes, at most %llu", path,
                        (unsigned long long)n, (unsigned long long)HEADER_MAX);
    if (n > map.size - 8) return tfm_fail(err, TFM_TRUNCATED, "%s: ends inside its header", path);
    f->head = 8 + n;
    TFM_TRY(tfm_json_parse(&tree, map.data + 8, n, path, err));
    tfm_status st = read_tree(s, tree, map.data + 8 + n, map.size - 8 - n, err);
    json_decref(tree);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", path);
}
