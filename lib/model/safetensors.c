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

enum { NAME_MAX_BYTES = 4096 }; /* of files in general; those of models are shorter */

static tfm_status take_dtype(const json_t *v, tfm_safetensors_entry *e, tfm_error *err) {
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

static tfm_status take_shape(const json_t *v, tfm_safetensors_entry *e, tfm_error *err) {
    const json_t *shape = json_object_get(v, "shape");
    size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_LIMIT, "tensor %s: its shape has %zu dimensions, at most %d",
                        e->name, rank, TFM_MAX_RANK);
    e->t.rank = (unsigned)rank;
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) e->t.dims[i] = 1;
    for (size_t i = 0; i < rank; i++) {
        json_int_t d = json_integer_value(json_array_get(shape, i));
        if (!json_is_integer(json_array_get(shape, i)) || d < 0 || d > UINT32_MAX)
            return tfm_fail(err, TFM_FORMAT, "tensor %s has a dimension of %lld", e->name,
                            (long long)d);
        e->t.dims[i] = (uint32_t)d;
    }
    return TFM_OK;
}

static tfm_status take_entry(const char *name, const json_t *v, tfm_safetensors_entry *e,
                             tfm_error *err) {
    const json_t *offsets = json_object_get(v, "data_offsets");
    const json_t *from = json_array_get(offsets, 0), *to = json_array_get(offsets, 1);
    size_t len = strlen(name);
    e->name = name;
    if (len == 0 || len > NAME_MAX_BYTES)
        return tfm_fail(err, TFM_FORMAT, "a tensor's name has %zu bytes, not 1 to %d", len,
                        NAME_MAX_BYTES);
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
    const tfm_safetensors_entry *a = x, *b = y;
    if (a->from != b->from) return a->from < b->from ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Sorts the entries and sets their data, which lies in data[0..n_data), all of it used. */
static tfm_status place_entries(tfm_safetensors_entry *e, size_t n, const unsigned char *data,
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
    }
    if (at != n_data)
        return tfm_fail(err, TFM_FORMAT, "%llu bytes follow the last tensor",
                        (unsigned long long)(n_data - at));
    return TFM_OK;
}

static tfm_status read_tree(tfm_safetensors *s, const unsigned char *data, uint64_t n_data,
                            tfm_error *err) {
    void *p;
    if (json_object_size(s->tree) > TFM_MAX_TENSORS + 1)
        return tfm_fail(err, TFM_LIMIT, "%zu tensors, at most %u", json_object_size(s->tree),
                        TFM_MAX_TENSORS);
    TFM_TRY(tfm_alloc(&p, json_object_size(s->tree), sizeof *s->entry, err));
    s->entry = p;
    for (void *at = json_object_iter(s->tree); at; at = json_object_iter_next(s->tree, at)) {
        const char *name = json_object_iter_key(at);
        if (strcmp(name, "__metadata__") == 0) continue;
        TFM_TRY(take_entry(name, json_object_iter_value(at), &s->entry[s->n++], err));
    }
    return place_entries(s->entry, s->n, data, n_data, err);
}

tfm_status tfm_safetensors_open(tfm_safetensors *s, const unsigned char *p, uint64_t size,
                                const char *name, tfm_error *err) {
    *s = (tfm_safetensors){0};
    if (size < 8) return tfm_fail(err, TFM_TRUNCATED, "%s: shorter than a header", name);
    uint64_t n = tfm_load_u64(p);
    if (n > HEADER_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: a header of %llu bytes, at most %llu", name,
                        (unsigned long long)n, (unsigned long long)HEADER_MAX);
    if (n > size - 8) return tfm_fail(err, TFM_TRUNCATED, "%s: ends inside its header", name);
    s->head = 8 + n;
    TFM_TRY(tfm_json_parse(&s->tree, p + 8, n, name, err));
    tfm_status st = read_tree(s, p + s->head, size - s->head, err);
    if (st == TFM_OK) return TFM_OK;
    tfm_safetensors_close(s);
    return tfm_error_prefix(err, st, "%s", name);
}

void tfm_safetensors_close(tfm_safetensors *s) {
    tfm_free(s->entry);
    json_decref(s->tree);
    *s = (tfm_safetensors){0};
}

static tfm_status add_entries(tfm_source *s, const tfm_safetensors *file, tfm_error *err) {
    for (size_t i = 0; i < file->n; i++) {
        tfm_tensor t = file->entry[i].t;
        const char *name = file->entry[i].name;
        if (strlen(name) > TFM_NAME_MAX)
            return tfm_fail(err, TFM_FORMAT, "a tensor's name has %zu bytes, not 1 to %d",
                            strlen(name), TFM_NAME_MAX);
        for (unsigned k = 0; k < t.rank; k++)
            if (t.dims[k] == 0)
                return tfm_fail(err, TFM_FORMAT, "tensor %s has a dimension of 0", name);
        TFM_TRY(tfm_arena_strndup(s->arena, &t.name, name, strlen(name), err));
        TFM_TRY(tfm_source_add_tensor(s, &t, err));
    }
    return TFM_OK;
}

tfm_status tfm_safetensors_read(tfm_source *s, const char *path, tfm_error *err) {
    tfm_source_file *f;
    tfm_safetensors file;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    TFM_TRY(tfm_safetensors_open(&file, f->map.data, f->map.size, path, err));
    f->head = file.head;
    tfm_status st = add_entries(s, &file, err);
    tfm_safetensors_close(&file);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", path);
}
