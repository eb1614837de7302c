/* container.c - an open model: model.bin mapped and indexed, or one made in memory from parts.
 *
 * Opening reads three small things: the header, the description and the INDEX (and the END at the
 * very end, which proves that the file is whole). The heads of tensor records are not read: each
 * stands on the last page of the tensor before it, so reading them would touch a page a tensor.
 * What the heads would say stands in the INDEX, whose CRC is checked, and every offset in it is
 * checked against the file's size. That makes opening O(number of tensors) at any file size.
 *
 * Does not interpret the description (lib/arch does) nor the vocabulary (lib/text does). */
#include <string.h>

#include "base/utf8_internal.h"
#include "model/container_internal.h"
#include "model/names_internal.h"

struct tfm_model {
    char *path;
    char id[65];
    char vocab_id[17];
    tfm_header *header;
    char *description; /* NUL-terminated */
    size_t description_len;
    tfm_map map;
    char *index;        /* the INDEX text; its names are NUL-terminated in place */
    tfm_tensor *tensor; /* [n_tensors], in file order */
    size_t n_tensors;
    tfm_names names; /* of tensors */
    tfm_vocab *vocab;
    void *owner;
    void (*free_owner)(void *owner);
};

void tfm_model_free(tfm_model *m) {
    if (!m) return;
    tfm_vocab_free(m->vocab);
    tfm_names_free(&m->names);
    tfm_free(m->tensor);
    tfm_free(m->index);
    tfm_map_close(&m->map);
    tfm_free(m->description);
    tfm_header_free(m->header);
    tfm_free(m->path);
    if (m->free_owner) m->free_owner(m->owner);
    tfm_free(m);
}

/* ---- shared with the writer ---- */

tfm_status tfm_stored_dims(const tfm_tensor *t, uint32_t stored[TFM_MAX_RANK], tfm_error *err) {
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) stored[i] = i < t->rank ? t->dims[i] : 1;
    if (t->layout != TFM_LAYOUT_P16) return TFM_OK;
    if (stored[0] > UINT32_MAX - 15 || stored[1] == UINT32_MAX)
        return tfm_fail(err, TFM_LIMIT, "tensor %s: %u x %u is too large for layout p16", t->name,
                        stored[0], stored[1]);
    stored[0] = (stored[0] + 15) & ~15u;
    if (t->dtype == TFM_BF16) stored[1] += stored[1] & 1;
    return TFM_OK;
}

tfm_status tfm_tensor_check(const tfm_tensor *t, tfm_error *err) {
    size_t len = t->name ? strlen(t->name) : 0;
    uint64_t bytes;
    if (len == 0 || len > TFM_NAME_MAX)
        return tfm_fail(err, TFM_FORMAT, "a tensor's name has %zu bytes, not 1 to %d", len,
                        TFM_NAME_MAX);
    for (size_t i = 0; i < len; i++)
        if (t->name[i] <= ' ' || t->name[i] > '~')
            return tfm_fail(err, TFM_FORMAT, "tensor name '%s' is not printable ASCII", t->name);
    if (t->rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_LIMIT, "tensor %s has %u dimensions, at most %d are possible",
                        t->name, t->rank, TFM_MAX_RANK);
    tfm_status st = tfm_layout_bytes(t->dtype, t->layout, t->rank, t->dims, &bytes, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "tensor %s", t->name);
    if (bytes != t->bytes || bytes == 0)
        return tfm_fail(err, TFM_FORMAT, "tensor %s has %llu bytes, its dimensions say %llu",
                        t->name, (unsigned long long)t->bytes, (unsigned long long)bytes);
    return TFM_OK;
}

uint64_t tfm_record_head_bytes(size_t name_len) {
    return 64 + (((uint64_t)name_len + 63) & ~(uint64_t)63);
}

uint64_t tfm_record_tail_bytes(uint64_t payload_bytes) {
    return (payload_bytes + 4 + 63) & ~(uint64_t)63;
}

/* ---- the INDEX ---- */

/* `from` is where the first record after the INDEX starts. Every tensor must begin where a record's
 * head fits before it, so none overlap. *end: where the record after the last tensor starts. */
static tfm_status parse_index(tfm_model *m, uint64_t from, uint64_t *end, tfm_error *err) {
    char *at = m->index;
    TFM_TRY(tfm_names_reserve(&m->names, m->n_tensors, err));
    for (size_t i = 0; i < m->n_tensors; i++) {
        tfm_tensor *t = &m->tensor[i];
        uint64_t offset, first;
        if (!tfm_index_line(&at, t, &offset))
            return tfm_fail(err, TFM_FORMAT, "the index is wrong in line %zu", i + 1);
        TFM_TRY(tfm_tensor_check(t, err));
        first = from + tfm_record_head_bytes(strlen(t->name));
        if (offset < first || offset % 64 != 0)
            return tfm_fail(err, TFM_FORMAT, "tensor %s: offset %llu is wrong (not before %llu)",
                            t->name, (unsigned long long)offset, (unsigned long long)first);
        if (offset > m->map.size || t->bytes > m->map.size - offset ||
            tfm_record_tail_bytes(t->bytes) > m->map.size - offset)
            return tfm_fail(err, TFM_TRUNCATED, "the file ends before the end of tensor %s",
                            t->name);
        t->data = m->map.data + offset;
        from = offset + tfm_record_tail_bytes(t->bytes);
        TFM_TRY(tfm_names_add(&m->names, t->name, strlen(t->name), (uint32_t)i, err));
    }
    *end = from;
    return TFM_OK;
}

static tfm_status load_index(tfm_model *m, const void *text, size_t n, uint64_t from, uint64_t *end,
                             tfm_error *err) {
    void *p;
    size_t lines;
    TFM_TRY(tfm_index_copy(&m->index, text, n, &lines, err));
    TFM_TRY(tfm_alloc(&p, lines, sizeof *m->tensor, err));
    m->tensor = p;
    m->n_tensors = lines;
    return parse_index(m, from, end, err);
}

/* ---- opening ---- */

/* The record at offset `at` of the file: its payload, CRC checked, and where the next starts. */
static tfm_status small_record(const tfm_model *m, uint64_t at, tfm_rec_type type, const char *name,
                               tfm_record *rec, const unsigned char **payload, uint64_t *next,
                               tfm_error *err) {
    uint64_t payload_at;
    const unsigned char *p = m->map.data + at;
    size_t left = m->map.size - (size_t)at;
    TFM_TRY(tfm_record_parse(rec, p, left, true, &payload_at, next, err));
    if (rec->type != type || strcmp(rec->name, name) != 0)
        return tfm_fail(err, TFM_FORMAT, "record '%s' of type %u stands where %s%s must be",
                        rec->name, rec->type, name, name[0] ? "" : "the end");
    if (*next > left) return tfm_fail(err, TFM_TRUNCATED, "the file ends inside '%s'", name);
    *payload = p + payload_at;
    if (tfm_load_u32(*payload + rec->bytes) != tfm_crc32(0, *payload, (size_t)rec->bytes))
        return tfm_fail(err, TFM_FORMAT, "'%s' is damaged: its CRC-32 is wrong", name);
    for (uint64_t i = payload_at + rec->bytes + 4; i < *next; i++)
        if (p[i] != 0) return tfm_fail(err, TFM_FORMAT, "'%s': padding that is not zero", name);
    *next += at;
    return TFM_OK;
}

/* The whole value in lower-case hex digits, n of them. */
static bool is_hex(const char *s, size_t n) {
    return s && strlen(s) == n && strspn(s, "0123456789abcdef") == n;
}

static tfm_status take_header(tfm_model *m, size_t *used, tfm_error *err) {
    const unsigned char *p = m->map.data;
    size_t n = m->map.size;
    if (n >= 2 && p[0] == 0x1f && p[1] == 0x8b)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "is gzipped, and a model is used in place: gunzip it first");
    TFM_TRY(tfm_header_parse(&m->header, p, n < TFM_HEADER_MAX ? n : TFM_HEADER_MAX, used, err));
    if (strcmp(tfm_header_kind(m->header), "model") != 0)
        return tfm_fail(err, TFM_FORMAT, "a stream of kind %s, not a model",
                        tfm_header_kind(m->header));
    const char *id = tfm_header_get(m->header, "model");
    const char *vocab = tfm_header_get(m->header, "vocab");
    if (!is_hex(id, 64))
        return tfm_fail(err, TFM_FORMAT, "the header's model id is not 64 hexadecimal digits");
    memcpy(m->id, id, 65);
    if (vocab && !is_hex(vocab, 16) && strcmp(vocab, "raw-bytes") != 0)
        return tfm_fail(err, TFM_FORMAT, "the header's vocab id is not 16 hexadecimal digits");
    if (vocab) memcpy(m->vocab_id, vocab, strlen(vocab) + 1);
    return TFM_OK;
}

static tfm_status take_description(tfm_model *m, const void *text, uint64_t n, tfm_error *err) {
    if (n > TFM_DESCRIPTION_MAX)
        return tfm_fail(err, TFM_LIMIT, "a description of %llu bytes, at most %u are possible",
                        (unsigned long long)n, TFM_DESCRIPTION_MAX);
    if (memchr(text, '\0', (size_t)n))
        return tfm_fail(err, TFM_FORMAT, "the description holds a NUL byte");
    m->description_len = (size_t)n;
    return tfm_strndup(&m->description, text, (size_t)n, err);
}

static tfm_status open_map(tfm_model *m, tfm_error *err) {
    size_t used;
    uint64_t next;
    const unsigned char *payload;
    tfm_record rec;
    TFM_TRY(take_header(m, &used, err));
    TFM_TRY(small_record(m, used, TFM_REC_META, TFM_DESCRIPTION_NAME, &rec, &payload, &next, err));
    TFM_TRY(take_description(m, payload, rec.bytes, err));
    TFM_TRY(small_record(m, next, TFM_REC_INDEX, TFM_INDEX_NAME, &rec, &payload, &next, err));
    TFM_TRY(load_index(m, payload, (size_t)rec.bytes, next, &next, err));
    TFM_TRY(small_record(m, next, TFM_REC_END, "", &rec, &payload, &next, err));
    if (next != m->map.size)
        return tfm_fail(err, TFM_FORMAT, "%llu bytes follow the model; it must be alone in a file",
                        (unsigned long long)(m->map.size - next));
    return TFM_OK;
}

tfm_status tfm_model_open(tfm_model **out, const char *path, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_model), err));
    tfm_model *m = p;
    tfm_status st = tfm_strdup(&m->path, path, err);
    if (st == TFM_OK) st = tfm_map_open(&m->map, path, err);
    if (st == TFM_OK) {
        st = open_map(m, err);
        if (st != TFM_OK) tfm_error_prefix(err, st, "%s", path);
    }
    if (st == TFM_OK)
        *out = m;
    else
        tfm_model_free(m);
    return st;
}

/* ---- from parts ---- */

static tfm_status copy_parts(tfm_model *m, const tfm_model_parts *parts, tfm_error *err) {
    void *p;
    if (!is_hex(parts->id, 64))
        return tfm_fail(err, TFM_USAGE, "the model id is not 64 hexadecimal digits");
    memcpy(m->id, parts->id, 65);
    if (parts->vocab_id && strlen(parts->vocab_id) < sizeof m->vocab_id)
        memcpy(m->vocab_id, parts->vocab_id, strlen(parts->vocab_id) + 1);
    TFM_TRY(tfm_strdup(&m->path, parts->path, err));
    TFM_TRY(tfm_header_new(&m->header, "model", err));
    TFM_TRY(tfm_header_set(m->header, "model", m->id, err));
    if (m->vocab_id[0]) TFM_TRY(tfm_header_set(m->header, "vocab", m->vocab_id, err));
    TFM_TRY(take_description(m, parts->description, parts->description_len, err));
    if (parts->n_tensors > TFM_MAX_TENSORS)
        return tfm_fail(err, TFM_LIMIT, "%zu tensors, at most %u are possible", parts->n_tensors,
                        TFM_MAX_TENSORS);
    TFM_TRY(tfm_alloc(&p, parts->n_tensors, sizeof *m->tensor, err));
    m->tensor = p;
    m->n_tensors = parts->n_tensors;
    for (size_t i = 0; i < m->n_tensors; i++) {
        m->tensor[i] = parts->tensor[i];
        TFM_TRY(tfm_tensor_check(&m->tensor[i], err));
        TFM_TRY(tfm_names_add(&m->names, m->tensor[i].name, strlen(m->tensor[i].name), (uint32_t)i,
                              err));
    }
    return TFM_OK;
}

tfm_status tfm_model_from_parts(tfm_model **out, const tfm_model_parts *parts, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_model), err));
    tfm_model *m = p;
    tfm_status st = copy_parts(m, parts, err);
    if (st != TFM_OK) {
        tfm_model_free(m); /* the owner stays with the caller */
        return st;
    }
    m->owner = parts->owner;
    m->free_owner = parts->free_owner;
    *out = m;
    return TFM_OK;
}

/* ---- looking ---- */

const char *tfm_model_path(const tfm_model *m) {
    return m->path;
}

const char *tfm_model_id(const tfm_model *m) {
    return m->id;
}

const char *tfm_model_vocab_id(const tfm_model *m) {
    return m->vocab_id;
}

const tfm_header *tfm_model_header(const tfm_model *m) {
    return m->header;
}

const char *tfm_model_description(const tfm_model *m, size_t *len) {
    if (len) *len = m->description_len;
    return m->description;
}

const tfm_tensor *tfm_model_tensor(const tfm_model *m, const char *name) {
    uint32_t i = tfm_names_find(&m->names, name, strlen(name));
    return i == TFM_NO_NAME ? NULL : &m->tensor[i];
}

size_t tfm_model_n_tensors(const tfm_model *m) {
    return m->n_tensors;
}

const tfm_tensor *tfm_model_tensor_at(const tfm_model *m, size_t i) {
    return i < m->n_tensors ? &m->tensor[i] : NULL;
}

/* ---- the vocabulary ---- */

static bool lookup(void *ctx, const char *name, tfm_tensor *out) {
    const tfm_tensor *t = tfm_model_tensor(ctx, name);
    if (t) *out = *t;
    return t != NULL;
}

tfm_status tfm_model_vocab(tfm_model *m, const tfm_vocab **out, tfm_error *err) {
    tfm_buf settings = {0};
    tfm_vocab *v = NULL;
    bool found;
    *out = m->vocab;
    if (m->vocab) return TFM_OK;
    tfm_status st = tfm_description_section(m->description, "tokenizer", &settings, &found, err);
    if (st != TFM_OK || !found) goto out;
    st = tfm_vocab_open(&v, settings.data, settings.len, lookup, m, err);
    if (st == TFM_OK && m->vocab_id[0] && strcmp(m->vocab_id, tfm_vocab_id(v)) != 0) {
        st = tfm_fail(err, TFM_MISMATCH, "the header names vocabulary %s, the tables are %s",
                      m->vocab_id, tfm_vocab_id(v));
        tfm_vocab_free(v);
        v = NULL;
    }
    if (st != TFM_OK) st = tfm_error_prefix(err, st, "%s", m->path);
    *out = m->vocab = v;
out:
    tfm_buf_free(&settings);
    return st;
}
