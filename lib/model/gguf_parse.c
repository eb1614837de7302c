/* gguf_parse.c - the grammar of a GGUF header (versions 2 and 3), every length checked.
 *
 *     "GGUF" u32 version, u64 tensors, u64 pairs
 *     pair:   string key, u32 type, value      array value: u32 type, u64 n, n values
 *     tensor: string name, u32 rank, u64 dims[rank] (fastest first), u32 type, u64 offset
 *     string: u64 bytes, bytes
 *
 * Owns no memory: everything points into the bytes that it was given. */
#include <string.h>

#include "model/gguf_internal.h"

enum { KEY_MAX = 65535 }; /* bytes; the specification's limit */

/* ggml's tensor types; those without a dtype are named in the message that refuses them. */
static const struct ggml_type {
    int number;
    tfm_dtype dtype;
    const char *name;
} ggml_types[] = {
    {0, TFM_F32, "f32"},        {1, TFM_F16, "f16"},      {2, TFM_Q4_0, "q4_0"},
    {3, TFM_Q4_1, "q4_1"},      {6, TFM_Q5_0, "q5_0"},    {7, TFM_Q5_1, "q5_1"},
    {8, TFM_Q8_0, "q8_0"},      {9, 0, "q8_1"},           {10, TFM_Q2_K, "q2_K"},
    {11, TFM_Q3_K, "q3_K"},     {12, TFM_Q4_K, "q4_K"},   {13, TFM_Q5_K, "q5_K"},
    {14, TFM_Q6_K, "q6_K"},     {15, 0, "q8_K"},          {16, 0, "iq2_xxs"},
    {17, 0, "iq2_xs"},          {18, 0, "iq3_xxs"},       {19, 0, "iq1_s"},
    {20, TFM_IQ4_NL, "iq4_nl"}, {21, 0, "iq3_s"},         {22, 0, "iq2_s"},
    {23, TFM_IQ4_XS, "iq4_xs"}, {24, TFM_I8, "i8"},       {25, 0, "i16"},
    {26, TFM_I32, "i32"},       {27, TFM_I64, "i64"},     {28, 0, "f64"},
    {29, 0, "iq1_m"},           {30, TFM_BF16, "bf16"},   {34, 0, "tq1_0"},
    {35, 0, "tq2_0"},           {39, TFM_MXFP4, "mxfp4"},
};
enum { N_GGML_TYPES = sizeof ggml_types / sizeof *ggml_types };

int tfm_gguf_type_number(tfm_dtype t) {
    for (int i = 0; i < N_GGML_TYPES; i++)
        if (ggml_types[i].dtype == t && t != TFM_DTYPE_NONE) return ggml_types[i].number;
    return -1;
}

static tfm_status dtype_of(uint32_t number, tfm_dtype *out, tfm_error *err) {
    for (int i = 0; i < N_GGML_TYPES; i++) {
        if ((uint32_t)ggml_types[i].number != number) continue;
        *out = ggml_types[i].dtype;
        if (*out != TFM_DTYPE_NONE) return TFM_OK;
        return tfm_fail(err, TFM_UNSUPPORTED, "element type %s is not supported",
                        ggml_types[i].name);
    }
    return tfm_fail(err, TFM_UNSUPPORTED, "unknown element type %u", number);
}

/* ---- primitives ---- */

static tfm_status ends_early(const tfm_gguf_cursor *c, const char *what, tfm_error *err) {
    return tfm_fail(err, TFM_TRUNCATED, "the GGUF header ends in %s at byte %llu", what,
                    (unsigned long long)c->at);
}

/* The next n bytes, or NULL. */
static const unsigned char *take(tfm_gguf_cursor *c, uint64_t n) {
    if (n > c->n - c->at) return NULL;
    const unsigned char *p = c->p + c->at;
    c->at += n;
    return p;
}

static bool take_u32(tfm_gguf_cursor *c, uint32_t *out) {
    const unsigned char *p = take(c, 4);
    if (p) *out = tfm_load_u32(p);
    return p != NULL;
}

static bool take_u64(tfm_gguf_cursor *c, uint64_t *out) {
    const unsigned char *p = take(c, 8);
    if (p) *out = tfm_load_u64(p);
    return p != NULL;
}

bool tfm_gguf_string(tfm_gguf_cursor *c, const char **s, uint64_t *n) {
    if (!take_u64(c, n)) return false;
    *s = (const char *)take(c, *n);
    return *s != NULL;
}

uint64_t tfm_gguf_value_bytes(uint32_t type) {
    switch (type) {
    case TFM_GGUF_U8:
    case TFM_GGUF_I8:
    case TFM_GGUF_BOOL: return 1;
    case TFM_GGUF_U16:
    case TFM_GGUF_I16: return 2;
    case TFM_GGUF_U32:
    case TFM_GGUF_I32:
    case TFM_GGUF_F32: return 4;
    case TFM_GGUF_U64:
    case TFM_GGUF_I64:
    case TFM_GGUF_F64: return 8;
    default: return 0;
    }
}

static float load_f32(const unsigned char *p) {
    uint32_t u = tfm_load_u32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static double load_f64(const unsigned char *p) {
    uint64_t u = tfm_load_u64(p);
    double f;
    memcpy(&f, &u, sizeof f);
    return f;
}

void tfm_gguf_number(uint32_t type, const unsigned char *p, tfm_meta *out) {
    out->type = TFM_META_INT;
    switch (type) {
    case TFM_GGUF_U8: out->i = p[0]; break;
    case TFM_GGUF_I8: out->i = (int8_t)p[0]; break;
    case TFM_GGUF_BOOL: out->i = p[0] != 0; break;
    case TFM_GGUF_U16: out->i = tfm_load_u16(p); break;
    case TFM_GGUF_I16: out->i = (int16_t)tfm_load_u16(p); break;
    case TFM_GGUF_U32: out->i = tfm_load_u32(p); break;
    case TFM_GGUF_I32: out->i = (int32_t)tfm_load_u32(p); break;
    case TFM_GGUF_U64:
        out->i = tfm_load_u64(p) > INT64_MAX ? INT64_MAX : (int64_t)tfm_load_u64(p);
        break;
    case TFM_GGUF_I64: out->i = (int64_t)tfm_load_u64(p); break;
    default: out->type = TFM_META_FLOAT; break;
    }
    out->is_bool = type == TFM_GGUF_BOOL;
    out->f = (double)out->i;
    if (type == TFM_GGUF_F32) out->f = (double)load_f32(p);
    if (type == TFM_GGUF_F64) out->f = load_f64(p);
}

/* ---- the parts of a header ---- */

tfm_status tfm_gguf_start(tfm_gguf_cursor *c, tfm_gguf_head *head, tfm_error *err) {
    const unsigned char *magic = take(c, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0)
        return tfm_fail(err, TFM_FORMAT, "no GGUF file: its first bytes are not GGUF");
    if (!take_u32(c, &head->version)) return ends_early(c, "its first bytes", err);
    if (head->version >= 0x01000000)
        return tfm_fail(err, TFM_UNSUPPORTED, "a big-endian GGUF file");
    if (head->version != 2 && head->version != 3)
        return tfm_fail(err, TFM_UNSUPPORTED, "GGUF version %u; 2 and 3 can be read",
                        head->version);
    if (!take_u64(c, &head->n_tensors) || !take_u64(c, &head->n_kv))
        return ends_early(c, "its counts", err);
    return TFM_OK;
}

/* Passes over an array's elements; kv->value is already at the first. */
static tfm_status skip_items(tfm_gguf_cursor *c, const tfm_gguf_kv *kv, tfm_error *err) {
    uint64_t size = tfm_gguf_value_bytes(kv->item_type), total, n;
    const char *s;
    int key_len = (int)kv->key_len;
    if (size > 0) {
        if (!tfm_mul_u64(kv->n, size, &total) || !take(c, total))
            return ends_early(c, "an array", err);
        return TFM_OK;
    }
    if (kv->item_type != TFM_GGUF_STRING)
        return tfm_fail(err, TFM_UNSUPPORTED, "key %.*s: an array of type %u", key_len, kv->key,
                        kv->item_type);
    for (uint64_t i = 0; i < kv->n; i++)
        if (!tfm_gguf_string(c, &s, &n)) return ends_early(c, "an array of strings", err);
    return TFM_OK;
}

tfm_status tfm_gguf_next_kv(tfm_gguf_cursor *c, tfm_gguf_kv *kv, tfm_error *err) {
    uint64_t n;
    *kv = (tfm_gguf_kv){.from = c->at};
    if (!tfm_gguf_string(c, &kv->key, &n) || !take_u32(c, &kv->type))
        return ends_early(c, "a metadata key", err);
    if (n == 0 || n > KEY_MAX || memchr(kv->key, '\0', (size_t)n))
        return tfm_fail(err, TFM_FORMAT,
                        "a metadata key of %llu bytes is empty, too long or binary",
                        (unsigned long long)n);
    kv->key_len = (size_t)n;
    uint64_t size = tfm_gguf_value_bytes(kv->type);
    if (size > 0) {
        if (!(kv->value = take(c, size))) return ends_early(c, "a metadata value", err);
    } else if (kv->type == TFM_GGUF_STRING) {
        const char *s;
        if (!tfm_gguf_string(c, &s, &kv->n)) return ends_early(c, "a metadata string", err);
        kv->value = (const unsigned char *)s;
    } else if (kv->type == TFM_GGUF_ARRAY) {
        if (!take_u32(c, &kv->item_type) || !take_u64(c, &kv->n))
            return ends_early(c, "an array", err);
        kv->value = c->p + c->at;
        TFM_TRY(skip_items(c, kv, err));
    } else {
        return tfm_fail(err, TFM_FORMAT, "key %.*s has the unknown type %u", (int)kv->key_len,
                        kv->key, kv->type);
    }
    kv->to = c->at;
    return TFM_OK;
}

static tfm_status take_dims(tfm_gguf_cursor *c, tfm_gguf_info *info, tfm_error *err) {
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) info->dims[i] = 1;
    for (unsigned i = 0; i < info->rank; i++) {
        uint64_t v;
        if (!take_u64(c, &v)) return ends_early(c, "a tensor's dimensions", err);
        if (v == 0 || v > UINT32_MAX)
            return tfm_fail(err, TFM_FORMAT, "tensor %.*s has a dimension of %llu",
                            (int)info->name_len, info->name, (unsigned long long)v);
        info->dims[info->rank - 1 - i] = (uint32_t)v;
    }
    return TFM_OK;
}

tfm_status tfm_gguf_next_info(tfm_gguf_cursor *c, tfm_gguf_info *info, tfm_error *err) {
    uint64_t n;
    uint32_t rank, type;
    tfm_status st;
    *info = (tfm_gguf_info){0};
    if (!tfm_gguf_string(c, &info->name, &n) || !take_u32(c, &rank))
        return ends_early(c, "a tensor's name", err);
    if (n == 0 || n > TFM_NAME_MAX || memchr(info->name, '\0', (size_t)n))
        return tfm_fail(err, TFM_FORMAT,
                        "a tensor's name of %llu bytes is empty, too long or binary",
                        (unsigned long long)n);
    info->name_len = (size_t)n;
    if (rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_LIMIT, "tensor %.*s has %u dimensions, at most %d are possible",
                        (int)n, info->name, rank, TFM_MAX_RANK);
    info->rank = rank;
    TFM_TRY(take_dims(c, info, err));
    if (!take_u32(c, &type) || !take_u64(c, &info->offset))
        return ends_early(c, "a tensor's type", err);
    st = dtype_of(type, &info->dtype, err);
    if (st == TFM_OK)
        st = tfm_layout_bytes(info->dtype, TFM_LAYOUT_ROWS, rank, info->dims, &info->bytes, err);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "tensor %.*s", (int)n, info->name);
}
