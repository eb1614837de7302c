/* json_write.c - headers and records as lines of JSON.
 *
 * Values that JSON has numbers for are numbers: %.9g gives every f32 (and so every f16 and bf16)
 * back, integers have all their digits. What JSON has no number for is a string: "inf", "-inf",
 * "nan" (the quiet NaN of all zeros), and "nan:HEX" with the bits of any other. A zero with a sign
 * is -0.0, because readers take -0 for an integer. Block types, and bytes that are no UTF-8, are
 * base64. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8_internal.h"
#include "exchange/exchange_internal.h"

static tfm_status put_base64(tfm_buf *b, const unsigned char *p, size_t n, tfm_error *err) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    TFM_TRY(tfm_buf_reserve(b, n / 3 * 4 + 8, err));
    char *at = b->data + b->len;
    for (size_t i = 0; i < n; i += 3) {
        size_t k = n - i < 3 ? n - i : 3;
        uint32_t v = (uint32_t)p[i] << 16;
        if (k > 1) v |= (uint32_t)p[i + 1] << 8;
        if (k > 2) v |= p[i + 2];
        *at++ = digit[v >> 18];
        *at++ = digit[v >> 12 & 63];
        *at++ = k > 1 ? digit[v >> 6 & 63] : '=';
        *at++ = k > 2 ? digit[v & 63] : '=';
    }
    *at = '\0';
    b->len = (size_t)(at - b->data);
    return TFM_OK;
}

tfm_status tfm_json_quote(tfm_buf *b, const char *text, size_t n, tfm_error *err) {
    size_t from = 0;
    TFM_TRY(tfm_buf_byte(b, '"', err));
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
        TFM_TRY(tfm_buf_add(b, text + from, i - from, err));
        from = i + 1;
        if (c == '"' || c == '\\')
            TFM_TRY(tfm_buf_printf(b, err, "\\%c", c));
        else if (c == '\n')
            TFM_TRY(tfm_buf_str(b, "\\n", err));
        else
            TFM_TRY(tfm_buf_printf(b, err, "\\u%04x", c));
    }
    TFM_TRY(tfm_buf_add(b, text + from, n - from, err));
    return tfm_buf_byte(b, '"', err);
}

/* ,"text":"..." or, if it is no UTF-8, ,"base64":"..." */
static tfm_status put_bytes(tfm_buf *b, const void *p, size_t n, bool is_text, tfm_error *err) {
    if (is_text && tfm_utf8_valid(p, n, NULL)) {
        TFM_TRY(tfm_buf_str(b, ",\"text\":", err));
        return tfm_json_quote(b, p, n, err);
    }
    TFM_TRY(tfm_buf_str(b, ",\"base64\":\"", err));
    TFM_TRY(put_base64(b, p, n, err));
    return tfm_buf_byte(b, '"', err);
}

tfm_status tfm_json_header(tfm_buf *b, const tfm_header *h, tfm_error *err) {
    TFM_TRY(tfm_buf_printf(b, err, "{\"type\":\"header\",\"kind\":\"%s\",\"header\":[",
                           tfm_header_kind(h)));
    for (size_t i = 0; i < tfm_header_count(h); i++) {
        const char *value = tfm_header_value(h, i);
        TFM_TRY(tfm_buf_printf(b, err, "%s[\"%s\",", i ? "," : "", tfm_header_key(h, i)));
        TFM_TRY(tfm_json_quote(b, value, strlen(value), err));
        TFM_TRY(tfm_buf_byte(b, ']', err));
    }
    return tfm_buf_str(b, "]}\n", err);
}

tfm_status tfm_json_end(tfm_buf *b, uint64_t records, uint64_t groups, tfm_error *err) {
    return tfm_buf_printf(b, err,
                          "{\"type\":\"end\",\"records\":%" PRIu64 ",\"groups\":%" PRIu64 "}\n",
                          records, groups);
}

/* ---- values ---- */

/* x as it stands in JSON, at most 24 bytes. `bits` are those of a NaN, `plain` those of the NaN
 * that needs no digits, `width` the number of hex digits. */
static size_t format_float(char *out, double x, uint32_t bits, uint32_t plain, int width) {
    enum { ROOM = 32 };
    if (isnan(x) && bits == plain) return (size_t)snprintf(out, ROOM, "\"nan\"");
    if (isnan(x)) return (size_t)snprintf(out, ROOM, "\"nan:%0*" PRIx32 "\"", width, bits);
    if (isinf(x)) return (size_t)snprintf(out, ROOM, x > 0 ? "\"inf\"" : "\"-inf\"");
    if (x == 0) return (size_t)snprintf(out, ROOM, signbit(x) ? "-0.0" : "0");
    size_t n = (size_t)snprintf(out, ROOM, "%.9g", x);
    char *comma = memchr(out, ',', n); /* the program around us may have set a locale */
    if (comma) *comma = '.';
    return n;
}

static size_t format_value(char *out, tfm_dtype t, const unsigned char *p) {
    uint32_t bits;
    float f;
    switch (t) {
    case TFM_F32:
        bits = tfm_load_u32(p);
        memcpy(&f, &bits, sizeof f);
        return format_float(out, (double)f, bits, 0x7fc00000u, 8);
    case TFM_F16:
        bits = tfm_load_u16(p);
        return format_float(out, (double)tfm_f16_to_f32((uint16_t)bits), bits, 0x7e00u, 4);
    case TFM_BF16:
        bits = tfm_load_u16(p);
        return format_float(out, (double)tfm_bf16_to_f32((uint16_t)bits), bits, 0x7fc0u, 4);
    case TFM_I8: return (size_t)sprintf(out, "%d", (signed char)*p);
    case TFM_U8: return (size_t)sprintf(out, "%u", *p);
    case TFM_I32: return (size_t)sprintf(out, "%" PRId32, (int32_t)tfm_load_u32(p));
    default: return (size_t)sprintf(out, "%" PRId64, (int64_t)tfm_load_u64(p));
    }
}

enum { VALUE_ROOM = 40 }; /* the longest value, its comma and brackets */

/* The values of one level of the nested arrays; *p goes on through the payload. */
static tfm_status put_level(tfm_buf *b, const tfm_record *rec, unsigned level,
                            const unsigned char **p, tfm_error *err) {
    tfm_dtype t = (tfm_dtype)rec->dtype;
    uint32_t n = level < rec->rank ? rec->dims[level] : 1;
    if (level < rec->rank) TFM_TRY(tfm_buf_byte(b, '[', err));
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) TFM_TRY(tfm_buf_byte(b, ',', err));
        if (level + 1 < rec->rank) {
            TFM_TRY(put_level(b, rec, level + 1, p, err));
            continue;
        }
        TFM_TRY(tfm_buf_reserve(b, VALUE_ROOM, err));
        b->len += format_value(b->data + b->len, t, *p);
        *p += tfm_dtype_block_bytes(t);
    }
    return level < rec->rank ? tfm_buf_byte(b, ']', err) : TFM_OK;
}

/* Arrays nested as the shape says hold at least one bracket each: without values, shapes such as
 * [4000000000, 0] would be endless. */
static tfm_status put_values(tfm_buf *b, const tfm_record *rec, const unsigned char *p,
                             tfm_error *err) {
    TFM_TRY(tfm_buf_str(b, ",\"data\":", err));
    return rec->bytes == 0 ? tfm_buf_str(b, "[]", err) : put_level(b, rec, 0, &p, err);
}

/* ---- records ---- */

static tfm_status put_type(tfm_buf *b, const tfm_record *rec, tfm_error *err) {
    static const char *const names[] = {"",          "tensor", "text", "meta",
                                        "group-end", "error",  "fork", "index"};
    if (rec->type & TFM_REC_ANCILLARY)
        return tfm_buf_printf(b, err, "{\"type\":\"ancillary\",\"number\":%u", rec->type);
    return tfm_buf_printf(b, err, "{\"type\":\"%s\"", names[rec->type]);
}

static tfm_status put_flags(tfm_buf *b, unsigned flags, tfm_error *err) {
    static const char *const names[] = {"flush", "last", "continues"};
    const char *before = "";
    TFM_TRY(tfm_buf_str(b, ",\"flags\":[", err));
    for (unsigned i = 0; i < 3; i++) {
        if (!(flags >> i & 1)) continue;
        TFM_TRY(tfm_buf_printf(b, err, "%s\"%s\"", before, names[i]));
        before = ",";
    }
    return tfm_buf_byte(b, ']', err);
}

static tfm_status put_shape(tfm_buf *b, const tfm_record *rec, tfm_error *err) {
    TFM_TRY(tfm_buf_printf(b, err, ",\"dtype\":\"%s\",\"shape\":[",
                           tfm_dtype_name((tfm_dtype)rec->dtype)));
    for (unsigned i = 0; i < rec->rank; i++)
        TFM_TRY(tfm_buf_printf(b, err, "%s%" PRIu32, i ? "," : "", rec->dims[i]));
    return tfm_buf_byte(b, ']', err);
}

static tfm_status put_payload(tfm_buf *b, const tfm_record *rec, const void *payload,
                              bool as_base64, tfm_error *err) {
    size_t n = (size_t)rec->bytes;
    bool is_text =
        rec->type == TFM_REC_TEXT || rec->type == TFM_REC_META || rec->type == TFM_REC_ERROR;
    if (rec->dtype == TFM_DTYPE_NONE) return TFM_OK;
    if (is_text) return put_bytes(b, payload, n, true, err);
    TFM_TRY(put_shape(b, rec, err));
    if ((rec->type & TFM_REC_ANCILLARY) || as_base64 || tfm_dtype_block((tfm_dtype)rec->dtype) > 1)
        return put_bytes(b, payload, n, false, err);
    return put_values(b, rec, payload, err);
}

tfm_status tfm_json_record(tfm_buf *b, const tfm_record *rec, const void *payload, bool as_base64,
                           const char *array, uint64_t row, tfm_error *err) {
    TFM_TRY(put_type(b, rec, err));
    TFM_TRY(tfm_buf_str(b, ",\"name\":", err));
    TFM_TRY(tfm_json_quote(b, rec->name, strlen(rec->name), err));
    TFM_TRY(tfm_buf_printf(b, err, ",\"group\":%" PRIu32 ",\"position\":%" PRIu32, rec->group,
                           rec->position));
    TFM_TRY(put_flags(b, rec->flags, err));
    if (rec->type == TFM_REC_GROUP_END)
        TFM_TRY(tfm_buf_printf(b, err, ",\"status\":\"%s\"", tfm_end_name(rec->status)));
    else if (rec->status != 0)
        TFM_TRY(tfm_buf_printf(b, err, ",\"status\":%u", rec->status));
    if (array) {
        TFM_TRY(put_shape(b, rec, err));
        TFM_TRY(tfm_buf_str(b, ",\"array\":", err));
        TFM_TRY(tfm_json_quote(b, array, strlen(array), err));
        TFM_TRY(tfm_buf_printf(b, err, ",\"row\":%" PRIu64, row));
    } else {
        TFM_TRY(put_payload(b, rec, payload, as_base64, err));
    }
    return tfm_buf_str(b, "}\n", err);
}
