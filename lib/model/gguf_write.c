/* gguf_write.c - a model as a GGUF file.
 *
 * Three ways, the first that fits:
 *   1. The model keeps the header of a GGUF and every tensor as that header says: the header's own
 *      bytes, the tensors, and what followed them. The file is the original, byte for byte.
 *   2. It keeps a header, but tensors have changed their type: its metadata pair by pair (only
 *      general.file_type is new), and a new list of tensors in the same order.
 *   3. It came from elsewhere: metadata from the description's `gguf:` section and the vocabulary.
 *
 * The header is made in memory (it holds no weights); tensors are written from where they lie, p16
 * ones unpacked a few panels at a time. */
#include <string.h>

#include "model/container_internal.h"
#include "model/gguf_internal.h"

enum {
    GGUF_VERSION = 3,
    GGML_NAME_MAX = 63, /* bytes of a tensor's name in ggml */
    UNPACK_ROWS = 256,  /* rows of a p16 tensor that are unpacked at once: 16 panels */
    WRITE_AT_ONCE = 1 << 20
};

/* A file to be written: its header and its tensors in order. */
typedef struct plan {
    tfm_buf header;
    const tfm_tensor **tensor; /* [n] */
    size_t n;
    uint64_t alignment;
    bool is_original;       /* as the header that was kept says */
    const tfm_tensor *tail; /* what followed the last tensor of the original, padding included */
} plan;

static bool starts(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* ---- the list of tensors ---- */

static uint64_t rows_bytes(const tfm_tensor *t) {
    uint64_t count, bytes = 0;
    if (!tfm_dims_count(t->rank, t->dims, &count) || !tfm_dtype_bytes(t->dtype, count, &bytes))
        return 0; /* cannot be: the model was checked when it was opened */
    return bytes;
}

static tfm_status put_info(tfm_buf *b, const tfm_tensor *t, uint64_t offset, tfm_error *err) {
    int type = tfm_gguf_type_number(t->dtype);
    if (type < 0)
        return tfm_fail(err, TFM_UNSUPPORTED, "tensor %s: GGUF has no element type %s", t->name,
                        tfm_dtype_name(t->dtype));
    if (strlen(t->name) > GGML_NAME_MAX)
        return tfm_fail(err, TFM_LIMIT, "tensor %s: its name is too long for GGUF (%d bytes)",
                        t->name, GGML_NAME_MAX);
    TFM_TRY(tfm_gguf_put_string(b, t->name, strlen(t->name), err));
    TFM_TRY(tfm_gguf_put_u32(b, t->rank, err));
    for (unsigned i = 0; i < t->rank; i++)
        TFM_TRY(tfm_gguf_put_u64(b, t->dims[t->rank - 1 - i], err));
    TFM_TRY(tfm_gguf_put_u32(b, (uint32_t)type, err));
    return tfm_gguf_put_u64(b, offset, err);
}

static tfm_status pad(tfm_buf *b, uint64_t alignment, tfm_error *err) {
    while (b->len % alignment != 0) TFM_TRY(tfm_buf_byte(b, 0, err));
    return TFM_OK;
}

/* Magic, counts, the pairs in kv, the list of p's tensors, padding. */
static tfm_status make_header(plan *p, const tfm_buf *kv, uint64_t n_kv, tfm_error *err) {
    tfm_buf *b = &p->header;
    uint64_t offset = 0;
    TFM_TRY(tfm_buf_add(b, "GGUF", 4, err));
    TFM_TRY(tfm_gguf_put_u32(b, GGUF_VERSION, err));
    TFM_TRY(tfm_gguf_put_u64(b, p->n, err));
    TFM_TRY(tfm_gguf_put_u64(b, n_kv, err));
    TFM_TRY(tfm_buf_add(b, kv->data ? kv->data : "", kv->len, err));
    for (size_t i = 0; i < p->n; i++) {
        TFM_TRY(put_info(b, p->tensor[i], offset, err));
        offset += (rows_bytes(p->tensor[i]) + p->alignment - 1) / p->alignment * p->alignment;
    }
    return pad(b, p->alignment, err);
}

/* ggml's number for a file whose matrices are mostly of this type (enum llama_ftype). */
static uint32_t file_type(const plan *p) {
    static const struct {
        tfm_dtype t;
        uint32_t number;
    } map[] = {{TFM_F32, 0},     {TFM_F16, 1},     {TFM_Q4_0, 2},  {TFM_Q4_1, 3},
               {TFM_Q8_0, 7},    {TFM_Q5_0, 8},    {TFM_Q5_1, 9},  {TFM_Q2_K, 10},
               {TFM_Q3_K, 12},   {TFM_Q4_K, 15},   {TFM_Q5_K, 17}, {TFM_Q6_K, 18},
               {TFM_IQ4_NL, 25}, {TFM_IQ4_XS, 30}, {TFM_BF16, 32}, {TFM_MXFP4, 38}};
    enum { N = sizeof map / sizeof *map };
    uint64_t elements[N] = {0}, count;
    size_t best = 0;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < N && p->tensor[i]->rank >= 2; k++)
            if (map[k].t == p->tensor[i]->dtype &&
                tfm_dims_count(p->tensor[i]->rank, p->tensor[i]->dims, &count))
                elements[k] += count;
    for (size_t k = 1; k < N; k++)
        if (elements[k] > elements[best]) best = k;
    return map[best].number;
}

static tfm_status put_file_type(tfm_buf *kv, const plan *p, uint64_t *n_kv, tfm_error *err) {
    TFM_TRY(tfm_gguf_put_key(kv, "general.file_type", TFM_GGUF_U32, n_kv, err));
    return tfm_gguf_put_u32(kv, file_type(p), err);
}

static tfm_status put_quantization_version(tfm_buf *kv, const plan *p, uint64_t *n_kv,
                                           tfm_error *err) {
    for (size_t i = 0; i < p->n; i++) {
        if (tfm_dtype_block(p->tensor[i]->dtype) == 1) continue;
        TFM_TRY(tfm_gguf_put_key(kv, "general.quantization_version", TFM_GGUF_U32, n_kv, err));
        return tfm_gguf_put_u32(kv, 2, err); /* GGML_QNT_VERSION since 2023 */
    }
    return TFM_OK;
}

/* ---- 1 and 2: from a header that was kept ---- */

static bool key_is(const tfm_gguf_kv *kv, const char *key) {
    return kv->key_len == strlen(key) && memcmp(kv->key, key, kv->key_len) == 0;
}

/* Passes over the pairs: alignment into *p, the pairs (but for the file type) into *kept. */
static tfm_status scan_pairs(tfm_gguf_cursor *c, uint64_t n, plan *p, tfm_buf *kept,
                             uint64_t *n_kept, bool *has_version, tfm_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        tfm_gguf_kv kv;
        TFM_TRY(tfm_gguf_next_kv(c, &kv, err));
        if (key_is(&kv, "general.alignment") && tfm_gguf_value_bytes(kv.type) > 0) {
            tfm_meta v;
            tfm_gguf_number(kv.type, kv.value, &v);
            p->alignment = (uint64_t)v.i;
        }
        if (key_is(&kv, "general.quantization_version")) *has_version = true;
        if (key_is(&kv, "general.file_type")) continue;
        TFM_TRY(tfm_buf_add(kept, c->p + kv.from, (size_t)(kv.to - kv.from), err));
        ++*n_kept;
    }
    if (p->alignment < 8 || p->alignment > 65536 || (p->alignment & (p->alignment - 1)) != 0)
        return tfm_fail(err, TFM_FORMAT, "the GGUF header that was kept has a wrong alignment");
    return TFM_OK;
}

/* The model's tensors in the header's order; *same: all of the header's types and places. */
static tfm_status scan_infos(tfm_gguf_cursor *c, uint64_t n, plan *p, const tfm_model *m,
                             bool *same, tfm_error *err) {
    uint64_t offset = 0;
    for (uint64_t i = 0; i < n; i++) {
        tfm_gguf_info info;
        char name[TFM_NAME_MAX + 1];
        TFM_TRY(tfm_gguf_next_info(c, &info, err));
        memcpy(name, info.name, info.name_len);
        name[info.name_len] = '\0';
        const tfm_tensor *t = tfm_model_tensor(m, name);
        if (!t)
            return tfm_fail(err, TFM_MISMATCH,
                            "the GGUF header that was kept lists tensor %s, the model has none",
                            name);
        if (t->rank != info.rank || memcmp(t->dims, info.dims, sizeof info.dims) != 0)
            return tfm_fail(err, TFM_MISMATCH, "tensor %s has other dimensions than in its GGUF",
                            name);
        *same = *same && t->dtype == info.dtype && info.offset == offset;
        offset += (info.bytes + p->alignment - 1) / p->alignment * p->alignment;
        p->tensor[p->n++] = t;
    }
    return TFM_OK;
}

static tfm_status plan_kept(plan *p, const tfm_model *m, const tfm_tensor *blob, tfm_error *err) {
    tfm_gguf_cursor c = {.p = blob->data, .n = blob->bytes};
    tfm_gguf_head head;
    tfm_buf kept = {0};
    uint64_t n_kept = 0;
    bool same = true, has_version = false;
    tfm_status st = tfm_gguf_start(&c, &head, err);
    if (st == TFM_OK && head.n_tensors > tfm_model_n_tensors(m))
        st = tfm_fail(err, TFM_MISMATCH, "the GGUF header that was kept lists %llu tensors",
                      (unsigned long long)head.n_tensors);
    if (st == TFM_OK) st = scan_pairs(&c, head.n_kv, p, &kept, &n_kept, &has_version, err);
    if (st == TFM_OK) st = scan_infos(&c, head.n_tensors, p, m, &same, err);
    if (st == TFM_OK && same) {
        p->is_original = true;
        p->tail = tfm_model_tensor(m, "source.gguf.tail");
        st = tfm_buf_add(&p->header, blob->data, (size_t)blob->bytes, err);
    } else if (st == TFM_OK) {
        st = put_file_type(&kept, p, &n_kept, err);
        if (st == TFM_OK && !has_version) st = put_quantization_version(&kept, p, &n_kept, err);
        if (st == TFM_OK) st = make_header(p, &kept, n_kept, err);
    }
    tfm_buf_free(&kept);
    return st;
}

/* ---- 3: from the description ---- */

static tfm_status put_vocab(tfm_model *m, const tfm_vocab *v, const char *share_dir, tfm_buf *kv,
                            uint64_t *n_kv, tfm_error *err) {
    tfm_tokenizer_names *names;
    TFM_TRY(tfm_tokenizer_names_open(&names, share_dir, err));
    tfm_status st = tfm_gguf_put_vocab(kv, m, v, names, n_kv, err);
    tfm_tokenizer_names_free(names);
    return st;
}

static tfm_status make_pairs(plan *p, tfm_model *m, const tfm_vocab *v, const char *share_dir,
                             tfm_buf *kv, uint64_t *n_kv, tfm_error *err) {
    tfm_buf section = {0};
    bool found;
    tfm_status st =
        tfm_description_section(tfm_model_description(m, NULL), "gguf", &section, &found, err);
    if (st == TFM_OK && !found)
        st = tfm_fail(err, TFM_UNSUPPORTED, "this architecture has no names in GGUF");
    if (st == TFM_OK) st = tfm_gguf_put_section(kv, &section, n_kv, err);
    bool has_type = st == TFM_OK && strstr(section.data, "general.file_type:") != NULL;
    if (st == TFM_OK && !has_type) st = put_file_type(kv, p, n_kv, err);
    if (st == TFM_OK) st = put_quantization_version(kv, p, n_kv, err);
    if (st == TFM_OK && v) st = put_vocab(m, v, share_dir, kv, n_kv, err);
    tfm_buf_free(&section);
    return st;
}

static tfm_status plan_new(plan *p, tfm_model *m, const tfm_vocab *v, const char *share_dir,
                           tfm_error *err) {
    tfm_buf kv = {0};
    uint64_t n_kv = 0;
    for (size_t i = 0; i < tfm_model_n_tensors(m); i++) {
        const tfm_tensor *t = tfm_model_tensor_at(m, i);
        if (!starts(t->name, "vocab.") && !starts(t->name, "source.")) p->tensor[p->n++] = t;
    }
    tfm_status st = make_pairs(p, m, v, share_dir, &kv, &n_kv, err);
    if (st == TFM_OK) st = make_header(p, &kv, n_kv, err);
    tfm_buf_free(&kv);
    return st;
}

/* ---- writing ---- */

static tfm_status write_pad(int fd, const char *name, uint64_t bytes, uint64_t alignment,
                            tfm_error *err) {
    static const unsigned char zeros[4096];
    uint64_t left = (alignment - bytes % alignment) % alignment;
    while (left > 0) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        TFM_TRY(tfm_fd_write_full(fd, name, zeros, n, err));
        left -= n;
    }
    return TFM_OK;
}

static tfm_status write_rows(int fd, const char *name, const void *data, uint64_t bytes,
                             tfm_error *err) {
    const unsigned char *p = data;
    while (bytes > 0) {
        size_t n = bytes < WRITE_AT_ONCE ? (size_t)bytes : WRITE_AT_ONCE;
        TFM_TRY(tfm_fd_write_full(fd, name, p, n, err));
        p += n;
        bytes -= n;
    }
    return TFM_OK;
}

/* A p16 tensor is a row of independent panels, so some of them are a tensor of their own. */
static tfm_status write_p16(int fd, const char *name, const tfm_tensor *t, tfm_error *err) {
    uint32_t rows = t->dims[0], k = t->dims[1], step = rows < UNPACK_ROWS ? rows : UNPACK_ROWS;
    uint32_t part_dims[TFM_MAX_RANK] = {step, k, 1, 1};
    uint64_t packed, plain;
    const unsigned char *src = t->data;
    void *out;
    TFM_TRY(tfm_layout_bytes(t->dtype, TFM_LAYOUT_P16, 2, part_dims, &packed, err));
    TFM_TRY(tfm_layout_bytes(t->dtype, TFM_LAYOUT_ROWS, 2, part_dims, &plain, err));
    TFM_TRY(tfm_alloc(&out, (size_t)plain, 1, err));
    tfm_status st = TFM_OK;
    for (uint32_t row = 0; row < rows && st == TFM_OK; row += step, src += packed) {
        if (step > rows - row) {
            step = rows - row;
            part_dims[0] = step;
            st = tfm_layout_bytes(t->dtype, TFM_LAYOUT_ROWS, 2, part_dims, &plain, err);
        }
        if (st == TFM_OK) st = tfm_unpack_p16(t->dtype, step, k, src, out, err);
        if (st == TFM_OK) st = write_rows(fd, name, out, plain, err);
    }
    tfm_free(out);
    return st;
}

static tfm_status write_plan(const plan *p, int fd, const char *name, tfm_error *err) {
    TFM_TRY(write_rows(fd, name, p->header.data, p->header.len, err));
    for (size_t i = 0; i < p->n; i++) {
        const tfm_tensor *t = p->tensor[i];
        uint64_t bytes = rows_bytes(t);
        if (t->layout == TFM_LAYOUT_P16)
            TFM_TRY(write_p16(fd, name, t, err));
        else
            TFM_TRY(write_rows(fd, name, t->data, bytes, err));
        bool last = i + 1 == p->n;
        if (!last || !p->is_original) TFM_TRY(write_pad(fd, name, bytes, p->alignment, err));
    }
    return p->tail ? write_rows(fd, name, p->tail->data, p->tail->bytes, err) : TFM_OK;
}

tfm_status tfm_gguf_write(tfm_model *m, const char *share_dir, int fd, const char *name,
                          tfm_error *err) {
    const tfm_tensor *blob = tfm_model_tensor(m, "source.gguf");
    const tfm_vocab *v = NULL;
    plan p = {.alignment = TFM_GGUF_ALIGNMENT};
    void *list;
    if (!blob) TFM_TRY(tfm_model_vocab(m, &v, err));
    TFM_TRY(tfm_alloc(&list, tfm_model_n_tensors(m) + 1, sizeof *p.tensor, err));
    p.tensor = list;
    tfm_status st = blob ? plan_kept(&p, m, blob, err) : plan_new(&p, m, v, share_dir, err);
    if (st != TFM_OK)
        st = tfm_error_prefix(err, st, "%s", tfm_model_path(m));
    else
        st = write_plan(&p, fd, name, err);
    tfm_buf_free(&p.header);
    tfm_free(list);
    return st;
}
