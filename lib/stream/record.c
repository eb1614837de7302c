/* record.c - the head of a record: its 64 bytes, its name, and every rule on its fields.
 *
 * One set of rules (tfm_record_check) serves what is read and what is written, so that no tool can
 * write what another must refuse. Payloads are the business of reader.c and writer.c. */
#include <string.h>

#include "stream/stream_internal.h"

/* Byte offsets in the head. */
enum {
    AT_TYPE = 4,
    AT_DTYPE = 5,
    AT_RANK = 6,
    AT_NAME_LEN = 7,
    AT_FLAGS = 8,
    AT_STATUS = 10,
    AT_GROUP = 12,
    AT_POSITION = 16,
    AT_SEQ = 20,
    AT_BYTES = 24,
    AT_DIMS = 32,
    AT_ZERO = 48,
    AT_CRC = 60
};

static const char *const type_names[] = {"none",  "tensor", "text",  "meta", "group-end",
                                         "error", "fork",   "index", "end"};
static const char *const end_names[] = {"open", "stop", "end", "length", "context", "error"};

const char *tfm_rec_type_name(unsigned type) {
    if (type >= 1 && type < sizeof type_names / sizeof *type_names) return type_names[type];
    return type & TFM_REC_ANCILLARY ? "ancillary" : "unknown";
}

bool tfm_record_has_group(const tfm_record *rec) {
    return rec->type == TFM_REC_TENSOR || rec->type == TFM_REC_TEXT || rec->type == TFM_REC_ERROR ||
           rec->type == TFM_REC_FORK || rec->type == TFM_REC_GROUP_END;
}

const char *tfm_end_name(unsigned status) {
    return status < sizeof end_names / sizeof *end_names ? end_names[status] : "?";
}

/* The payload's size as dtype and dims say. */
static tfm_status payload_bytes(const tfm_record *rec, uint64_t *bytes, tfm_error *err) {
    uint64_t count;
    *bytes = 0;
    if (rec->rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_FORMAT, "rank %u is above %u", rec->rank, TFM_MAX_RANK);
    for (unsigned i = rec->rank; i < TFM_MAX_RANK; i++)
        if (rec->dims[i] != 1) return tfm_fail(err, TFM_FORMAT, "unused dimension %u is not 1", i);
    if (rec->dtype == TFM_DTYPE_NONE) {
        if (rec->rank == 0) return TFM_OK;
        return tfm_fail(err, TFM_FORMAT, "has dimensions but no dtype");
    }
    if (!tfm_dtype_known(rec->dtype))
        return tfm_fail(err, TFM_UNSUPPORTED, "needs dtype %u, which this tfm does not know",
                        rec->dtype);
    if (!tfm_dims_count(rec->rank, rec->dims, &count) ||
        !tfm_dtype_bytes((tfm_dtype)rec->dtype, count, bytes) || *bytes > INT64_MAX)
        return tfm_fail(err, TFM_FORMAT, "its dimensions do not give a size in whole %s blocks",
                        tfm_dtype_name((tfm_dtype)rec->dtype));
    return TFM_OK;
}

static bool is_bytes(const tfm_record *rec) {
    return rec->dtype == TFM_U8 && rec->rank == 1;
}

static bool is_pair(const tfm_record *rec, tfm_dtype dtype) {
    return rec->dtype == dtype && rec->rank == 1 && rec->dims[0] == 2;
}

/* What each type asks of dtype and dims. NULL when it is right, else what is wrong. */
static const char *shape_problem(const tfm_record *rec) {
    switch (rec->type) {
    case TFM_REC_TENSOR: return rec->dtype == TFM_DTYPE_NONE ? "a tensor without a dtype" : NULL;
    case TFM_REC_TEXT:
    case TFM_REC_META:
    case TFM_REC_INDEX:
    case TFM_REC_ERROR: return is_bytes(rec) ? NULL : "must be u8 of rank 1";
    case TFM_REC_GROUP_END: return rec->dtype == TFM_DTYPE_NONE ? NULL : "must have no payload";
    case TFM_REC_FORK: return is_pair(rec, TFM_I32) ? NULL : "must be i32 [2]";
    case TFM_REC_END: return is_pair(rec, TFM_I64) ? NULL : "must be i64 [2]";
    default: return NULL;
    }
}

static tfm_status check_type(const tfm_record *rec, bool is_model, tfm_error *err) {
    unsigned type = rec->type;
    if (type < TFM_REC_ANCILLARY && (type < TFM_REC_TENSOR || type > TFM_REC_END))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "needs record type %u, which this tfm does not know; a newer one is needed",
                        type);
    if (rec->flags & ~(unsigned)TFM_FLAG_ALL)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "needs flag bits 0x%04x, which this tfm does not know; a newer one is "
                        "needed",
                        (unsigned)rec->flags & ~(unsigned)TFM_FLAG_ALL);
    const char *problem = shape_problem(rec);
    if (problem) return tfm_fail(err, TFM_FORMAT, "%s: %s", tfm_rec_type_name(type), problem);
    if (type == TFM_REC_INDEX && !is_model)
        return tfm_fail(err, TFM_FORMAT, "an index in a stream that is no model");
    if (type < TFM_REC_ANCILLARY && rec->status > (type == TFM_REC_GROUP_END ? TFM_END_ERROR : 0))
        return tfm_fail(err, TFM_FORMAT, "status %u has no meaning in a record of type %s",
                        rec->status, tfm_rec_type_name(type));
    if (rec->group == TFM_GROUP_ALL && type != TFM_REC_ERROR)
        return tfm_fail(err, TFM_FORMAT, "group %u is for errors only", rec->group);
    if (type == TFM_REC_TENSOR && rec->rank > 0 &&
        (uint64_t)rec->position + rec->dims[0] > (uint64_t)UINT32_MAX + 1)
        return tfm_fail(err, TFM_FORMAT, "its rows pass position %u", UINT32_MAX);
    return TFM_OK;
}

tfm_status tfm_record_check(const tfm_record *rec, bool is_model, uint64_t *bytes, tfm_error *err) {
    size_t name_len = strnlen(rec->name, sizeof rec->name);
    *bytes = 0;
    if (name_len > TFM_NAME_MAX || !tfm_is_plain_utf8(rec->name, name_len))
        return tfm_fail(err, TFM_FORMAT, "its name is not UTF-8 without control characters");
    TFM_TRY(check_type(rec, is_model, err));
    TFM_TRY(payload_bytes(rec, bytes, err));
    if (!is_model && *bytes > TFM_PAYLOAD_MAX)
        return tfm_fail(err, TFM_LIMIT, "its payload of %llu bytes is above the limit of %u",
                        (unsigned long long)*bytes, TFM_PAYLOAD_MAX);
    return TFM_OK;
}

size_t tfm_record_format(const tfm_record *rec, unsigned char *out) {
    size_t name_len = strnlen(rec->name, TFM_NAME_MAX);
    size_t size = TFM_HEAD_SIZE + (size_t)tfm_pad64(name_len);
    memset(out, 0, size);
    memcpy(out, TFM_REC_MAGIC, 4);
    out[AT_TYPE] = rec->type;
    out[AT_DTYPE] = rec->dtype;
    out[AT_RANK] = rec->rank;
    out[AT_NAME_LEN] = (unsigned char)name_len;
    tfm_store_u16(out + AT_FLAGS, rec->flags);
    tfm_store_u16(out + AT_STATUS, rec->status);
    tfm_store_u32(out + AT_GROUP, rec->group);
    tfm_store_u32(out + AT_POSITION, rec->position);
    tfm_store_u32(out + AT_SEQ, rec->seq);
    tfm_store_u64(out + AT_BYTES, rec->bytes);
    for (int i = 0; i < TFM_MAX_RANK; i++) tfm_store_u32(out + AT_DIMS + 4 * i, rec->dims[i]);
    if (name_len) memcpy(out + TFM_HEAD_SIZE, rec->name, name_len);
    uint32_t crc = tfm_crc32(0, out, AT_CRC);
    crc = tfm_crc32(crc, out + TFM_HEAD_SIZE, size - TFM_HEAD_SIZE);
    tfm_store_u32(out + AT_CRC, crc);
    return size;
}

static void load_fields(tfm_record *rec, const unsigned char *b) {
    *rec = (tfm_record){.type = b[AT_TYPE],
                        .dtype = b[AT_DTYPE],
                        .rank = b[AT_RANK],
                        .flags = tfm_load_u16(b + AT_FLAGS),
                        .status = tfm_load_u16(b + AT_STATUS),
                        .group = tfm_load_u32(b + AT_GROUP),
                        .position = tfm_load_u32(b + AT_POSITION),
                        .seq = tfm_load_u32(b + AT_SEQ),
                        .bytes = tfm_load_u64(b + AT_BYTES)};
    for (int i = 0; i < TFM_MAX_RANK; i++) rec->dims[i] = tfm_load_u32(b + AT_DIMS + 4 * i);
    memcpy(rec->name, b + TFM_HEAD_SIZE, b[AT_NAME_LEN]);
}

/* Magic, CRC and padding of the head and name, all `size` bytes of them. */
static tfm_status check_frame(const unsigned char *b, size_t size, tfm_error *err) {
    uint32_t crc = tfm_crc32(0, b, AT_CRC);
    crc = tfm_crc32(crc, b + TFM_HEAD_SIZE, size - TFM_HEAD_SIZE);
    if (crc != tfm_load_u32(b + AT_CRC))
        return tfm_fail(err, TFM_FORMAT, "damaged: the CRC of its head does not match");
    for (size_t i = AT_ZERO; i < AT_CRC; i++)
        if (b[i] != 0) return tfm_fail(err, TFM_FORMAT, "reserved bytes are not zero");
    for (size_t i = TFM_HEAD_SIZE + b[AT_NAME_LEN]; i < size; i++)
        if (b[i] != 0) return tfm_fail(err, TFM_FORMAT, "the padding of its name is not zero");
    return TFM_OK;
}

tfm_status tfm_record_parse(tfm_record *rec, const void *p, size_t n, bool is_model,
                            uint64_t *payload_at, uint64_t *next, tfm_error *err) {
    const unsigned char *b = p;
    uint64_t bytes;
    *rec = (tfm_record){0};
    *payload_at = *next = 0;
    if (memcmp(b, TFM_REC_MAGIC, n < 4 ? n : 4) != 0)
        return tfm_fail(err, TFM_FORMAT, "damaged: no record begins here");
    if (n < TFM_HEAD_SIZE) return tfm_fail(err, TFM_TRUNCATED, "ends inside the head of a record");
    size_t size = TFM_HEAD_SIZE + (size_t)tfm_pad64(b[AT_NAME_LEN]);
    if (n < size) return tfm_fail(err, TFM_TRUNCATED, "ends inside the name of a record");
    TFM_TRY(check_frame(b, size, err));
    load_fields(rec, b);
    if (strlen(rec->name) != b[AT_NAME_LEN])
        return tfm_fail(err, TFM_FORMAT, "its name is not UTF-8 without control characters");
    TFM_TRY(tfm_record_check(rec, is_model, &bytes, err));
    if (bytes != rec->bytes)
        return tfm_fail(err, TFM_FORMAT,
                        "its %llu payload bytes are not the %llu of its dimensions",
                        (unsigned long long)rec->bytes, (unsigned long long)bytes);
    *payload_at = size;
    *next = size + tfm_pad64(bytes + 4); /* bytes <= INT64_MAX: no overflow */
    return TFM_OK;
}
