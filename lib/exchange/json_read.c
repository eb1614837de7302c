/* json_read.c - a line of JSON back to a header, a record, or the end of a stream.
 *
 * jansson builds a tree of some 40 bytes a number. So the member "data", which holds nearly all of
 * a line, is found first and read straight into the payload; the rest of the line goes to jansson.
 * Keys that are not known are passed over, so that people may add their own. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "exchange/exchange_internal.h"
#include "model/json_internal.h"

/* ---- finding a member of the outermost object ---- */

static size_t skip_space(const char *p, size_t n, size_t i) {
    while (i < n && (p[i] == ' ' || p[i] == '\t' || p[i] == '\r' || p[i] == '\n')) i++;
    return i;
}

/* The index behind the string that begins at p[i]; n if it has no end. */
static size_t skip_string(const char *p, size_t n, size_t i) {
    for (i++; i < n && p[i] != '"'; i++)
        if (p[i] == '\\') i++;
    return i < n ? i + 1 : n;
}

/* The index behind the value that begins at p[i]. Whether it is well formed is not asked. */
static size_t skip_value(const char *p, size_t n, size_t i) {
    size_t depth = 0;
    while (i < n) {
        char c = p[i];
        if (c == '"') {
            i = skip_string(p, n, i);
            if (depth == 0) return i;
            continue;
        }
        if (c == '[' || c == '{') depth++;
        if ((c == ']' || c == '}' || c == ',') && depth == 0) return i;
        if (c == ']' || c == '}') {
            depth--;
            if (depth == 0) return i + 1;
        }
        i++;
    }
    return n;
}

/* p[*from..*to) is the value of the first member `key`; false if there is none. */
static bool find_member(const char *p, size_t n, const char *key, size_t *from, size_t *to) {
    size_t i = skip_space(p, n, 0), len = strlen(key);
    if (i == n || p[i] != '{') return false;
    for (i = skip_space(p, n, i + 1); i < n && p[i] == '"'; i = skip_space(p, n, i + 1)) {
        size_t name = i + 1, end = skip_string(p, n, i);
        i = skip_space(p, n, end);
        if (i == n || p[i] != ':') return false;
        *from = skip_space(p, n, i + 1);
        *to = skip_value(p, n, *from);
        if (end - 1 - name == len && memcmp(p + name, key, len) == 0) return *to > *from;
        i = skip_space(p, n, *to);
        if (i == n || p[i] != ',') return false;
    }
    return false;
}

/* ---- values ---- */

typedef struct cursor {
    const char *p, *end;
    tfm_dtype dtype;
    unsigned char *out;
    unsigned rank;
    uint32_t dims[TFM_MAX_RANK];
} cursor;

static void space(cursor *v) {
    while (v->p < v->end && (*v->p == ' ' || *v->p == '\t' || *v->p == '\r')) v->p++;
}

static bool take(cursor *v, char c) {
    space(v);
    if (v->p == v->end || *v->p != c) return false;
    v->p++;
    return true;
}

static void store(cursor *v, uint64_t bits) {
    switch (tfm_dtype_block_bytes(v->dtype)) {
    case 1: *v->out = (unsigned char)bits; break;
    case 2: tfm_store_u16(v->out, (uint16_t)bits); break;
    case 4: tfm_store_u32(v->out, (uint32_t)bits); break;
    default: tfm_store_u64(v->out, bits); break;
    }
    v->out += tfm_dtype_block_bytes(v->dtype);
}

/* The bits of x in the float type; false if a finite x became infinite. */
static bool float_bits(tfm_dtype t, double x, uint64_t *bits) {
    float f = (float)x, back = f;
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    *bits = u;
    if (t == TFM_F16) {
        *bits = tfm_f32_to_f16(f);
        back = tfm_f16_to_f32((uint16_t)*bits);
    } else if (t == TFM_BF16) {
        *bits = tfm_f32_to_bf16(f);
        back = tfm_bf16_to_f32((uint16_t)*bits);
    }
    return isinf(x) || !isinf(back);
}

/* "inf", "-inf", "nan", "nan:HEX" */
static tfm_status take_word(cursor *v, tfm_error *err) {
    const char *from = v->p + 1, *close = memchr(from, '"', (size_t)(v->end - from));
    size_t n = close ? (size_t)(close - from) : 0;
    unsigned width = tfm_dtype_block_bytes(v->dtype);
    bool is_float = v->dtype == TFM_F32 || v->dtype == TFM_F16 || v->dtype == TFM_BF16;
    uint64_t bits = v->dtype == TFM_F32 ? 0x7fc00000u : v->dtype == TFM_F16 ? 0x7e00u : 0x7fc0u;
    bool good = is_float;
    if (n == 3 && memcmp(from, "inf", 3) == 0) {
        good = good && float_bits(v->dtype, HUGE_VAL, &bits);
    } else if (n == 4 && memcmp(from, "-inf", 4) == 0) {
        good = good && float_bits(v->dtype, -HUGE_VAL, &bits);
    } else if (n == 4 + 2 * (size_t)width && memcmp(from, "nan:", 4) == 0) {
        bits = 0;
        for (size_t i = 4; i < n; i++) {
            const char *hex = "0123456789abcdef", *at = memchr(hex, from[i], 16);
            good = good && at != NULL;
            bits = bits << 4 | (at ? (uint64_t)(at - hex) : 0);
        }
    } else {
        good = good && n == 3 && memcmp(from, "nan", 3) == 0;
    }
    if (!good)
        return tfm_fail(err, TFM_FORMAT, "data: \"%.*s\" is no value of type %s",
                        (int)(n > 40 ? 40 : n), from, tfm_dtype_name(v->dtype));
    v->p = close + 1;
    store(v, bits);
    return TFM_OK;
}

static bool parse_integer(const char *text, tfm_dtype t, int64_t *x) {
    int64_t lo = t == TFM_I8 ? INT8_MIN : t == TFM_U8 ? 0 : t == TFM_I32 ? INT32_MIN : INT64_MIN;
    int64_t hi = t == TFM_I8    ? INT8_MAX
                 : t == TFM_U8  ? UINT8_MAX
                 : t == TFM_I32 ? INT32_MAX
                                : INT64_MAX;
    double d;
    if (tfm_parse_i64(text, lo, hi, x)) return true;
    /* Programs that know only doubles write 3.0 or 1e3; beyond 2^53 those are not exact. */
    if (!tfm_parse_double(text, -9007199254740992.0, 9007199254740992.0, &d) || d != trunc(d))
        return false;
    *x = (int64_t)d;
    return *x >= lo && *x <= hi;
}

static tfm_status take_value(cursor *v, tfm_error *err) {
    char text[64];
    size_t n = 0;
    int64_t i = 0;
    double d = 0;
    uint64_t bits = 0;
    space(v);
    if (v->p < v->end && *v->p == '"') return take_word(v, err);
    for (; v->p + n < v->end && n < sizeof text - 1; n++) {
        char c = v->p[n];
        if (!(c >= '0' && c <= '9') && c != '-' && c != '+' && c != '.' && c != 'e' && c != 'E')
            break;
        text[n] = c;
    }
    text[n] = '\0';
    bool is_float = v->dtype == TFM_F32 || v->dtype == TFM_F16 || v->dtype == TFM_BF16, good;
    if (is_float)
        good = tfm_parse_double(text, -HUGE_VAL, HUGE_VAL, &d) && float_bits(v->dtype, d, &bits);
    else
        good = parse_integer(text, v->dtype, &i);
    if (!good)
        return tfm_fail(err, TFM_FORMAT, "data: '%s' is no number that %s can hold", n ? text : "",
                        tfm_dtype_name(v->dtype));
    v->p += n;
    store(v, is_float ? bits : (uint64_t)i);
    return TFM_OK;
}

static tfm_status take_level(cursor *v, unsigned level, tfm_error *err) {
    if (level == v->rank) return take_value(v, err);
    bool good = take(v, '[');
    for (uint32_t i = 0; i < v->dims[level] && good; i++) {
        if (i > 0) good = take(v, ',');
        if (good) TFM_TRY(take_level(v, level + 1, err));
    }
    if (good && take(v, ']')) return TFM_OK;
    return tfm_fail(err, TFM_FORMAT, "data: its lists are not as long as shape says");
}

/* The length of a flat list p[0..n) that starts with '['. */
static uint64_t list_length(const char *p, size_t n) {
    uint64_t commas = 0;
    size_t i = skip_space(p, n, 1);
    if (i < n && p[i] == ']') return 0;
    for (; i < n; i++) {
        if (p[i] == '"')
            i = skip_string(p, n, i) - 1;
        else if (p[i] == ',')
            commas++;
    }
    return commas + 1;
}

/* Reads data[0..n) into item->payload, whose shape is in item->rec. */
static tfm_status take_data(tfm_json_item *item, const char *data, size_t n, tfm_error *err) {
    tfm_record *rec = &item->rec;
    cursor v = {.p = data, .end = data + n, .dtype = (tfm_dtype)rec->dtype, .rank = rec->rank};
    uint64_t count = 0;
    memcpy(v.dims, rec->dims, sizeof v.dims);
    if (!tfm_dims_count(rec->rank, rec->dims, &count)) count = UINT64_MAX;
    if (tfm_dtype_block(v.dtype) > 1)
        return tfm_fail(err, TFM_FORMAT, "data: values of type %s come as base64",
                        tfm_dtype_name(v.dtype));
    /* A value and its comma take two bytes: a lying shape is seen before it costs memory. */
    if (count > 0 && (count - 1) * 2 >= n)
        return tfm_fail(err, TFM_FORMAT, "data: fewer values than shape says");
    size_t inner = n > 0 && data[0] == '[' ? skip_space(data, n, 1) : n;
    if (rec->rank != 1 && (count == 0 || (rec->rank > 1 && inner < n && data[inner] != '['))) {
        v.rank = 1;
        v.dims[0] = (uint32_t)count;
    }
    TFM_TRY(tfm_buf_reserve(&item->payload, (size_t)rec->bytes, err));
    v.out = (unsigned char *)item->payload.data;
    TFM_TRY(take_level(&v, 0, err));
    space(&v);
    if (v.p != v.end) return tfm_fail(err, TFM_FORMAT, "data: more values than shape says");
    item->payload.len = (size_t)rec->bytes;
    return TFM_OK;
}

static int sextet(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static tfm_status take_base64(tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    while (n > 0 && s[n - 1] == '=') n--;
    TFM_TRY(tfm_buf_reserve(b, n / 4 * 3 + 3, err));
    uint32_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int six = sextet(s[i]);
        if (six < 0 || n % 4 == 1)
            return tfm_fail(err, TFM_FORMAT, "base64: byte %zu is no part of it", i);
        v = v << 6 | (uint32_t)six;
        if (i % 4 != 0) b->data[b->len++] = (char)(v >> (6 - 2 * (i % 4)) & 0xff);
    }
    b->data[b->len] = '\0';
    return TFM_OK;
}

/* ---- fields ---- */

/* A whole number from 0 to hi; `fallback` where the key is missing. */
static tfm_status take_u64(const json_t *o, const char *key, uint64_t hi, uint64_t fallback,
                           uint64_t *out, tfm_error *err) {
    const json_t *v = json_object_get(o, key);
    double d = json_number_value(v);
    *out = fallback;
    if (!v) return TFM_OK;
    if (!json_is_number(v) || d < 0 || d != trunc(d) || d > (double)hi)
        return tfm_fail(err, TFM_FORMAT, "%s: must be a whole number from 0 to %" PRIu64, key, hi);
    *out = json_is_integer(v) ? (uint64_t)json_integer_value(v) : (uint64_t)d;
    return TFM_OK;
}

static tfm_status take_flags(const json_t *o, uint16_t *flags, tfm_error *err) {
    static const char *const names[] = {"flush", "last", "continues"};
    const json_t *list = json_object_get(o, "flags"), *v;
    size_t i;
    if (list && !json_is_array(list))
        return tfm_fail(err, TFM_FORMAT, "flags: must be a list of names");
    json_array_foreach(list, i, v) {
        const char *name = json_string_value(v);
        unsigned k = 0;
        while (k < 3 && (!name || strcmp(names[k], name) != 0)) k++;
        if (k == 3)
            return tfm_fail(err, TFM_FORMAT, "flags: '%.40s' is none of flush, last, continues",
                            name ? name : "?");
        *flags |= (uint16_t)(1u << k);
    }
    return TFM_OK;
}

static tfm_status take_status(const json_t *o, tfm_record *rec, tfm_error *err) {
    const char *name = tfm_json_text(o, "status", NULL);
    uint64_t v;
    if (!name) {
        TFM_TRY(take_u64(o, "status", UINT16_MAX, 0, &v, err));
        rec->status = (uint16_t)v;
        return TFM_OK;
    }
    while (rec->status <= TFM_END_ERROR && strcmp(tfm_end_name(rec->status), name) != 0)
        rec->status++;
    if (rec->status > TFM_END_ERROR)
        return tfm_fail(err, TFM_FORMAT, "status: '%.40s' is no way for a group to end", name);
    return TFM_OK;
}

static tfm_status take_type(const json_t *o, tfm_record *rec, tfm_error *err) {
    static const char *const names[] = {"tensor", "text", "meta", "group-end", "error", "fork"};
    const char *name = tfm_json_text(o, "type", NULL);
    uint64_t number;
    if (name && strcmp(name, "ancillary") == 0) {
        TFM_TRY(take_u64(o, "number", UINT8_MAX, 0, &number, err));
        if (!(number & TFM_REC_ANCILLARY))
            return tfm_fail(err, TFM_FORMAT, "number: must be from 128 to 255");
        rec->type = (uint8_t)number;
        return TFM_OK;
    }
    for (unsigned i = 0; name && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) rec->type = (uint8_t)(i + 1);
    return rec->type
               ? TFM_OK
               : tfm_fail(err, TFM_FORMAT, "type: '%.40s' is none of a record", name ? name : "");
}

static tfm_status take_shape(const json_t *o, tfm_record *rec, const char *data, size_t n,
                             tfm_error *err) {
    const json_t *shape = json_object_get(o, "shape");
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) rec->dims[i] = 1;
    if (!shape) { /* a list of values, or one value */
        uint64_t length = n > 0 && data[0] == '[' ? list_length(data, n) : 1;
        if (length > UINT32_MAX || (n > 1 && memchr(data + 1, '[', n - 1)))
            return tfm_fail(err, TFM_FORMAT, "shape: is missing");
        rec->rank = n > 0 && data[0] == '[';
        rec->dims[0] = (uint32_t)length;
        return TFM_OK;
    }
    if (!json_is_array(shape) || json_array_size(shape) > TFM_MAX_RANK)
        return tfm_fail(err, TFM_FORMAT, "shape: must be a list of at most %d numbers",
                        TFM_MAX_RANK);
    rec->rank = (uint8_t)json_array_size(shape);
    for (unsigned i = 0; i < rec->rank; i++) {
        json_int_t d = json_integer_value(json_array_get(shape, i));
        if (!json_is_integer(json_array_get(shape, i)) || d < 0 || d > UINT32_MAX)
            return tfm_fail(err, TFM_FORMAT, "shape: must be a list of whole numbers");
        rec->dims[i] = (uint32_t)d;
    }
    return TFM_OK;
}

/* Without a dtype: whole numbers are i32, others f32. */
static tfm_status take_dtype(const json_t *o, tfm_record *rec, const char *data, size_t n,
                             tfm_error *err) {
    const char *name = tfm_json_text(o, "dtype", NULL);
    rec->dtype = TFM_I32;
    for (size_t i = 0; i < n; i++)
        if (memchr(".eE\"", data[i], 4)) rec->dtype = TFM_F32;
    if (name) rec->dtype = (uint8_t)tfm_dtype_parse(name);
    return rec->dtype ? TFM_OK : tfm_fail(err, TFM_FORMAT, "dtype: '%.40s' is not known", name);
}

static tfm_status payload_size(tfm_record *rec, tfm_error *err) {
    uint64_t count;
    if (!tfm_dims_count(rec->rank, rec->dims, &count) ||
        !tfm_dtype_bytes((tfm_dtype)rec->dtype, count, &rec->bytes))
        return tfm_fail(err, TFM_FORMAT, "shape: is not a whole number of %s blocks",
                        tfm_dtype_name((tfm_dtype)rec->dtype));
    if (rec->bytes > TFM_PAYLOAD_MAX)
        return tfm_fail(err, TFM_LIMIT,
                        "%" PRIu64 " bytes are above the limit of %u of a record: split its rows",
                        rec->bytes, TFM_PAYLOAD_MAX);
    return TFM_OK;
}

static tfm_status take_payload(tfm_json_item *item, const json_t *o, const char *data, size_t n,
                               tfm_error *err) {
    tfm_record *rec = &item->rec;
    const char *array = tfm_json_text(o, "array", NULL);
    size_t len, base64_len;
    const char *text = tfm_json_text(o, "text", &len);
    const char *base64 = tfm_json_text(o, "base64", &base64_len);
    bool is_bytes =
        rec->type == TFM_REC_TEXT || rec->type == TFM_REC_META || rec->type == TFM_REC_ERROR;
    if ((data != NULL) + (array != NULL) + (text != NULL) + (base64 != NULL) > 1)
        return tfm_fail(err, TFM_FORMAT, "more than one of data, text, base64 and array");
    if (text)
        TFM_TRY(tfm_buf_add(&item->payload, text, len, err));
    else if (base64)
        TFM_TRY(take_base64(&item->payload, base64, base64_len, err));
    if (is_bytes && !data && !array) {
        if (item->payload.len > TFM_PAYLOAD_MAX)
            return tfm_fail(err, TFM_LIMIT, "a text of %zu bytes is above the limit of %u",
                            item->payload.len, TFM_PAYLOAD_MAX);
        rec->dtype = TFM_U8;
        rec->rank = 1;
        rec->dims[0] = (uint32_t)item->payload.len;
        rec->bytes = item->payload.len;
        return TFM_OK;
    }
    if (!data && !array && !base64) {
        bool is_bare = rec->type == TFM_REC_GROUP_END || (rec->type & TFM_REC_ANCILLARY);
        return is_bare && !text ? TFM_OK : tfm_fail(err, TFM_FORMAT, "data: is missing");
    }
    TFM_TRY(take_shape(o, rec, data, n, err));
    TFM_TRY(take_dtype(o, rec, data, n, err));
    TFM_TRY(payload_size(rec, err));
    if (data) return take_data(item, data, n, err);
    if (base64 && item->payload.len != rec->bytes)
        return tfm_fail(err, TFM_FORMAT, "base64: has %zu bytes, shape says %" PRIu64,
                        item->payload.len, rec->bytes);
    if (!array) return TFM_OK;
    TFM_TRY(take_u64(o, "row", UINT32_MAX, 0, &item->row, err));
    return tfm_strdup(&item->array, array, err);
}

static tfm_status take_record(tfm_json_item *item, const json_t *o, const char *data, size_t n,
                              tfm_error *err) {
    tfm_record *rec = &item->rec;
    uint64_t v;
    size_t len;
    const char *name = tfm_json_text(o, "name", &len);
    item->kind = TFM_JSON_RECORD;
    TFM_TRY(take_type(o, rec, err));
    if (name && (len > TFM_NAME_MAX || strlen(name) != len))
        return tfm_fail(err, TFM_FORMAT, "name: is longer than %d bytes, or holds a NUL",
                        TFM_NAME_MAX);
    if (name) memcpy(rec->name, name, len + 1);
    TFM_TRY(take_u64(o, "group", UINT32_MAX - 1, 0, &v, err));
    rec->group = (uint32_t)v;
    TFM_TRY(take_u64(o, "position", UINT32_MAX, 0, &v, err));
    rec->position = (uint32_t)v;
    item->has_flags = json_object_get(o, "flags") != NULL;
    TFM_TRY(take_flags(o, &rec->flags, err));
    TFM_TRY(take_status(o, rec, err));
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) rec->dims[i] = 1;
    return take_payload(item, o, data, n, err);
}

static tfm_status take_header(tfm_json_item *item, const json_t *o, tfm_error *err) {
    const char *kind = tfm_json_text(o, "kind", NULL);
    const json_t *lines = json_object_get(o, "header"), *line;
    size_t i;
    item->kind = TFM_JSON_HEADER;
    if (!kind) return tfm_fail(err, TFM_FORMAT, "kind: is missing");
    if (strcmp(kind, "model") == 0)
        return tfm_fail(err, TFM_UNSUPPORTED, "a model: tfm-convert makes those");
    if (strcmp(kind, "error") == 0)
        return tfm_fail(err, TFM_FORMAT, "kind error is not for streams of data");
    TFM_TRY(tfm_header_new(&item->header, kind, err));
    if (lines && !json_is_array(lines))
        return tfm_fail(err, TFM_FORMAT, "header: must be a list of [key, value]");
    json_array_foreach(lines, i, line) {
        const json_t *value = json_array_get(line, 1);
        const char *key = json_string_value(json_array_get(line, 0));
        if (json_array_size(line) != 2 || !key || !json_is_string(value) ||
            strlen(json_string_value(value)) != json_string_length(value))
            return tfm_fail(err, TFM_FORMAT, "header: must be a list of [key, value]");
        if (key[0] >= 'A' && key[0] <= 'Z')
            return tfm_fail(err, TFM_UNSUPPORTED, "header: needs '%.64s', which is not known", key);
        TFM_TRY(tfm_header_add(item->header, key, json_string_value(value), err));
    }
    return TFM_OK;
}

tfm_status tfm_json_item_read(tfm_json_item *item, const char *line, size_t n, tfm_error *err) {
    size_t from = 0, to = 0;
    tfm_buf data = {0};
    json_t *o = NULL;
    tfm_json_item_clear(item);
    item->rec = (tfm_record){0};
    tfm_buf_clear(&item->payload);
    item->row = 0;
    bool has_data = find_member(line, n, "data", &from, &to);
    const char *values = has_data ? line + from : NULL;
    tfm_status st = TFM_OK;
    if (has_data) { /* jansson gets a 0 in its place */
        while (to > from + 1 && line[to - 1] == ' ') to--;
        st = tfm_buf_add(&data, line, from, err);
        if (st == TFM_OK) st = tfm_buf_byte(&data, '0', err);
        if (st == TFM_OK) st = tfm_buf_add(&data, line + to, n - to, err);
        if (st == TFM_OK) st = tfm_json_parse(&o, data.data, data.len, "JSON", err);
    } else {
        st = tfm_json_parse(&o, line, n, "JSON", err);
    }
    tfm_buf_free(&data);
    if (st != TFM_OK) return st;
    const char *type = tfm_json_text(o, "type", NULL);
    if (type && strcmp(type, "header") == 0) {
        st = take_header(item, o, err);
    } else if (type && strcmp(type, "end") == 0) {
        item->kind = TFM_JSON_END;
        st = take_u64(o, "records", UINT32_MAX, UINT64_MAX, &item->records, err);
        if (st == TFM_OK) st = take_u64(o, "groups", UINT32_MAX, UINT64_MAX, &item->groups, err);
    } else {
        st = take_record(item, o, values, has_data ? to - from : 0, err);
    }
    json_decref(o);
    return st;
}

void tfm_json_item_clear(tfm_json_item *item) {
    tfm_header_free(item->header);
    tfm_free(item->array);
    item->header = NULL;
    item->array = NULL;
}
