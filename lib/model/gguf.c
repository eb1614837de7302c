/* gguf.c - reads a GGUF file (versions 2 and 3) into a source.
 *
 * Numbers of arrays stay where they are in the file; strings of arrays get a table of pointers,
 * since their places can only be found by walking over all of them. Tensor data must follow one
 * another as ggml itself demands, so no two tensors can overlap.
 *
 * The header (magic up to the first tensor byte) is kept as the blob "source.gguf", and bytes after
 * the last tensor as "source.gguf.tail": with the tensors that is the file. What lies between two
 * tensors is padding and is not kept; the writer pads with zeros, as all writers do. */
#include <string.h>

#include "model/gguf_internal.h"
#include "model/source_internal.h"

enum { TAIL_MAX = 65536 }; /* bytes after the last tensor: padding up to a large alignment */

/* One string of an array. */
typedef struct gguf_text {
    const char *s;
    size_t n;
} gguf_text;

void tfm_gguf_item(const tfm_meta *array, size_t i, tfm_meta *out) {
    if (array->items_form == TFM_GGUF_STRING) {
        const gguf_text *t = (const gguf_text *)array->items + i;
        out->type = TFM_META_STRING;
        out->s = t->s;
        out->s_len = t->n;
        return;
    }
    const unsigned char *first = array->items;
    tfm_gguf_number(array->items_form, first + i * tfm_gguf_value_bytes(array->items_form), out);
}

static tfm_status array_items(tfm_source *s, const tfm_gguf_kv *kv, const tfm_map *map, tfm_meta *m,
                              tfm_error *err) {
    m->n = (size_t)kv->n;
    m->items_form = kv->item_type;
    m->items = kv->value;
    m->item_type = TFM_META_STRING;
    if (kv->item_type != TFM_GGUF_STRING) {
        tfm_meta number = {0};
        static const unsigned char zeros[8];
        tfm_gguf_number(kv->item_type, zeros, &number);
        m->item_type = number.type;
        return TFM_OK;
    }
    /* Every string takes at least 8 bytes of the file, so the table is at most twice its size. */
    void *p;
    size_t bytes;
    if (!tfm_mul_size(m->n, sizeof(gguf_text), &bytes))
        return tfm_fail(err, TFM_LIMIT, "key %s: too many strings", m->key);
    TFM_TRY(tfm_arena_alloc(s->arena, &p, bytes, err));
    gguf_text *t = p;
    tfm_gguf_cursor c = {.p = map->data, .n = kv->to, .at = (uint64_t)(kv->value - map->data)};
    for (size_t i = 0; i < m->n; i++) {
        uint64_t n;
        if (!tfm_gguf_string(&c, &t[i].s, &n))
            return tfm_fail(err, TFM_TRUNCATED, "key %s: an array ends early", m->key);
        t[i].n = (size_t)n;
    }
    m->items = t;
    return TFM_OK;
}

static tfm_status add_kv(tfm_source *s, const tfm_gguf_kv *kv, const tfm_map *map, tfm_error *err) {
    tfm_meta m = {0};
    TFM_TRY(tfm_arena_strndup(s->arena, &m.key, kv->key, kv->key_len, err));
    if (kv->type == TFM_GGUF_STRING) {
        m.type = TFM_META_STRING;
        m.s_len = (size_t)kv->n;
        TFM_TRY(tfm_arena_strndup(s->arena, &m.s, (const char *)kv->value, m.s_len, err));
    } else if (kv->type == TFM_GGUF_ARRAY) {
        m.type = TFM_META_ARRAY;
        TFM_TRY(array_items(s, kv, map, &m, err));
    } else {
        tfm_gguf_number(kv->type, kv->value, &m);
    }
    return tfm_source_add_meta(s, &m, err);
}

/* Infos first, data later: where the data starts is known only after all infos. *data_bytes: from
 * the first byte of the first tensor to the last of the last. */
static tfm_status add_infos(tfm_source *s, tfm_gguf_cursor *c, uint64_t n, uint64_t alignment,
                            uint64_t *data_bytes, tfm_error *err) {
    uint64_t next = 0, end = 0;
    for (uint64_t i = 0; i < n; i++) {
        tfm_gguf_info info;
        TFM_TRY(tfm_gguf_next_info(c, &info, err));
        tfm_tensor t = {.dtype = info.dtype, .rank = info.rank, .bytes = info.bytes};
        memcpy(t.dims, info.dims, sizeof t.dims);
        TFM_TRY(tfm_arena_strndup(s->arena, &t.name, info.name, info.name_len, err));
        if (info.offset != next)
            return tfm_fail(err, TFM_FORMAT, "tensor %s is at offset %llu, not at %llu", t.name,
                            (unsigned long long)info.offset, (unsigned long long)next);
        if (!tfm_add_u64(info.offset, info.bytes, &end) || end > UINT64_MAX - alignment)
            return tfm_fail(err, TFM_LIMIT, "tensor %s is too large", t.name);
        next = (end + alignment - 1) / alignment * alignment;
        TFM_TRY(tfm_source_add_tensor(s, &t, err));
    }
    *data_bytes = end;
    return TFM_OK;
}

static tfm_status place_data(tfm_source *s, const tfm_map *map, uint64_t data_at,
                             uint64_t alignment, uint64_t data_bytes, tfm_error *err) {
    uint64_t at = data_at;
    if (s->n_tensors > 0 && (data_at > map->size || data_bytes > map->size - data_at))
        return tfm_fail(err, TFM_TRUNCATED, "the file has %zu bytes, its tensors need %llu more",
                        map->size,
                        (unsigned long long)(data_at + data_bytes - (uint64_t)map->size));
    for (size_t i = 0; i < s->n_tensors; i++) {
        s->tensor[i].data = map->data + at;
        at += (s->tensor[i].bytes + alignment - 1) / alignment * alignment;
    }
    uint64_t end = data_at + data_bytes;
    if (end < map->size) {
        if (map->size - end > TAIL_MAX)
            return tfm_fail(err, TFM_FORMAT, "%llu bytes follow the last tensor",
                            (unsigned long long)(map->size - end));
        return tfm_source_add_blob(s, "gguf.tail", map->data + end, map->size - end, err);
    }
    return TFM_OK;
}

tfm_status tfm_gguf_read(tfm_source *s, tfm_error *err) {
    const tfm_map *map = &s->file[0].map;
    tfm_gguf_cursor c = {.p = map->data, .n = map->size};
    tfm_gguf_head head;
    uint64_t data_bytes = 0;
    TFM_TRY(tfm_gguf_start(&c, &head, err));
    if (head.n_tensors > TFM_MAX_TENSORS || head.n_kv > TFM_SOURCE_MAX_META)
        return tfm_fail(err, TFM_LIMIT, "%llu tensors and %llu metadata keys; at most %u and %u",
                        (unsigned long long)head.n_tensors, (unsigned long long)head.n_kv,
                        TFM_MAX_TENSORS, TFM_SOURCE_MAX_META);
    for (uint64_t i = 0; i < head.n_kv; i++) {
        tfm_gguf_kv kv;
        TFM_TRY(tfm_gguf_next_kv(&c, &kv, err));
        TFM_TRY(add_kv(s, &kv, map, err));
    }
    int64_t alignment = tfm_source_int(s, "general.alignment", TFM_GGUF_ALIGNMENT);
    if (alignment < 8 || alignment > TAIL_MAX || (alignment & (alignment - 1)) != 0)
        return tfm_fail(err, TFM_FORMAT, "general.alignment %lld is no power of two from 8 to %d",
                        (long long)alignment, TAIL_MAX);
    uint64_t step = (uint64_t)alignment;
    TFM_TRY(add_infos(s, &c, head.n_tensors, step, &data_bytes, err));
    uint64_t data_at = (c.at + step - 1) / step * step;
    if (data_at > map->size) data_at = map->size; /* no tensors and no padding: a vocabulary */
    /* With another vocabulary the header must not be written back as it is. */
    const char *blob = s->tokenizer_path ? "gguf.replaced" : "gguf";
    TFM_TRY(tfm_source_add_blob(s, blob, map->data, data_at, err));
    s->file[0].head = data_at;
    return place_data(s, map, data_at, step, data_bytes, err);
}
