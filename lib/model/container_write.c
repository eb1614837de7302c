/* container_write.c - writes a model stream in one pass, to a file or a pipe.
 *
 * The INDEX comes before the tensors and holds their offsets, so its own size must be known before
 * the offsets are: offsets are written with a fixed width, which makes the size of the INDEX depend
 * on names and dims only. Offsets count from the first byte of the stream's header. */
#include <string.h>

#include "model/container_internal.h"
#include "model/names_internal.h"

/* 16 digits reach 10 petabytes. */
#define OFFSET_DIGITS 16

static tfm_status add_line(tfm_buf *b, const tfm_tensor *t, uint64_t offset, tfm_error *err) {
    TFM_TRY(tfm_buf_printf(b, err, "%s %s %s %u", t->name, tfm_dtype_name(t->dtype),
                           tfm_layout_name(t->layout), t->rank));
    for (unsigned i = 0; i < t->rank; i++) TFM_TRY(tfm_buf_printf(b, err, " %u", t->dims[i]));
    return tfm_buf_printf(b, err, " %0*llu %llu\n", OFFSET_DIGITS, (unsigned long long)offset,
                          (unsigned long long)t->bytes);
}

/* The INDEX of tensors whose first record starts at `from`. */
static tfm_status make_index(tfm_buf *b, const tfm_tensor *tensor, size_t n, uint64_t from,
                             tfm_error *err) {
    tfm_buf_clear(b);
    for (size_t i = 0; i < n; i++) {
        uint64_t offset = from + tfm_record_head_bytes(strlen(tensor[i].name));
        if (offset > 9999999999999999u || tensor[i].bytes > UINT64_MAX / 4)
            return tfm_fail(err, TFM_LIMIT, "the model is too large for its index");
        TFM_TRY(add_line(b, &tensor[i], offset, err));
        from = offset + tfm_record_tail_bytes(tensor[i].bytes);
    }
    return TFM_OK;
}

static tfm_status check_all(const tfm_header *h, size_t description_len, const tfm_tensor *tensor,
                            size_t n, tfm_error *err) {
    tfm_names names = {0};
    tfm_status st = TFM_OK;
    if (strcmp(tfm_header_kind(h), "model") != 0 || !tfm_header_get(h, "model"))
        return tfm_fail(err, TFM_USAGE, "a model's header must be of kind model and name its id");
    if (description_len > TFM_DESCRIPTION_MAX)
        return tfm_fail(err, TFM_LIMIT, "a description of %zu bytes, at most %u are possible",
                        description_len, TFM_DESCRIPTION_MAX);
    if (n == 0 || n > TFM_MAX_TENSORS)
        return tfm_fail(err, TFM_LIMIT, "%zu tensors, 1 to %u are possible", n, TFM_MAX_TENSORS);
    for (size_t i = 0; i < n && st == TFM_OK; i++) {
        st = tfm_tensor_check(&tensor[i], err);
        if (st == TFM_OK)
            st = tfm_names_add(&names, tensor[i].name, strlen(tensor[i].name), (uint32_t)i, err);
    }
    tfm_names_free(&names);
    return st;
}

static tfm_status write_small(tfm_writer *w, tfm_rec_type type, const char *name, const void *p,
                              size_t n, tfm_error *err) {
    tfm_record rec = {.type = (uint8_t)type, .dtype = TFM_U8, .rank = 1};
    rec.dims[0] = (uint32_t)n;
    for (unsigned i = 1; i < TFM_MAX_RANK; i++) rec.dims[i] = 1;
    memcpy(rec.name, name, strlen(name) + 1);
    return tfm_writer_record(w, &rec, p, err);
}

/* start: the writer's offset where the stream's header began. */
static tfm_status write_tensor(tfm_writer *w, const tfm_tensor *t, size_t i, uint64_t offset,
                               uint64_t start, tfm_tensor_emit emit, void *ctx, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = (uint8_t)t->dtype, .rank = (uint8_t)t->rank};
    TFM_TRY(tfm_stored_dims(t, rec.dims, err));
    memcpy(rec.name, t->name, strlen(t->name) + 1);
    TFM_TRY(tfm_writer_begin(w, &rec, err));
    if (tfm_writer_offset(w) - start != offset)
        return tfm_fail(err, TFM_MISMATCH, "tensor %s would stand at %llu, the index says %llu",
                        t->name, (unsigned long long)(tfm_writer_offset(w) - start),
                        (unsigned long long)offset);
    if (emit)
        TFM_TRY(emit(ctx, i, w, err));
    else
        TFM_TRY(tfm_writer_data(w, t->data, (size_t)t->bytes, err));
    return tfm_writer_finish(w, err);
}

tfm_status tfm_model_write(tfm_writer *w, const tfm_header *h, const char *description,
                           size_t description_len, const tfm_tensor *tensor, size_t n_tensors,
                           tfm_tensor_emit emit, void *ctx, tfm_error *err) {
    tfm_buf index = {0};
    uint64_t start = tfm_writer_offset(w), from;
    tfm_status st = check_all(h, description_len, tensor, n_tensors, err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    if (st == TFM_OK)
        st = write_small(w, TFM_REC_META, TFM_DESCRIPTION_NAME, description, description_len, err);
    if (st == TFM_OK) st = make_index(&index, tensor, n_tensors, 0, err); /* for its size */
    if (st != TFM_OK) goto out;
    from = tfm_writer_offset(w) - start + tfm_record_head_bytes(strlen(TFM_INDEX_NAME)) +
           tfm_record_tail_bytes(index.len);
    st = make_index(&index, tensor, n_tensors, from, err);
    if (st == TFM_OK)
        st = write_small(w, TFM_REC_INDEX, TFM_INDEX_NAME, index.data, index.len, err);
    for (size_t i = 0; i < n_tensors && st == TFM_OK; i++) {
        uint64_t offset = from + tfm_record_head_bytes(strlen(tensor[i].name));
        st = write_tensor(w, &tensor[i], i, offset, start, emit, ctx, err);
        from = offset + tfm_record_tail_bytes(tensor[i].bytes);
    }
    if (st == TFM_OK) st = tfm_writer_end(w, err);
out:
    tfm_buf_free(&index);
    return st;
}
