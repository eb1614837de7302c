/* npy.c - the header of a NumPy array file: written as version 1.0, read as 1.0, 2.0 and 3.0.
 *
 *     \x93NUMPY major minor | length u16 (1.0) or u32 | {'descr': '<f4', 'fortran_order': False,
 *     'shape': (3, 4), } spaces newline | data
 *
 * The header is a Python dictionary. It is not evaluated: the three keys with the few values that
 * NumPy writes are matched as text, everything else is refused. Data in other than little-endian
 * row order is refused with the cure. */
#include <inttypes.h>
#include <string.h>

#include "exchange/exchange_internal.h"

#define NPY_MAGIC "\x93NUMPY"
enum { NPY_MAGIC_LEN = 6, NPY_HEADER_MAX = 1 << 16 };

static const struct {
    const char *descr, *name;
    size_t bytes;
} elements[] = {[TFM_EL_F32] = {"<f4", "float32", 4}, [TFM_EL_F16] = {"<f2", "float16", 2},
                [TFM_EL_I8] = {"|i1", "int8", 1},     [TFM_EL_U8] = {"|u1", "uint8", 1},
                [TFM_EL_I32] = {"<i4", "int32", 4},   [TFM_EL_I64] = {"<i8", "int64", 8},
                [TFM_EL_U16] = {"<u2", "uint16", 2},  [TFM_EL_BF16] = {"", "bfloat16", 2},
                [TFM_EL_F64] = {"<f8", "float64", 8}, [TFM_EL_BOOL] = {"|b1", "bool", 1},
                [TFM_EL_I16] = {"<i2", "int16", 2},   [TFM_EL_U32] = {"<u4", "uint32", 4},
                [TFM_EL_U64] = {"<u8", "uint64", 8},  [TFM_EL_TEXT] = {"", "bytes", 1}};

const char *tfm_element_name(tfm_element e) {
    return elements[e].name;
}

tfm_element tfm_array_of_dtype(tfm_dtype t, unsigned rank, const uint32_t *dims, tfm_array *a) {
    static const struct {
        tfm_dtype dtype;
        tfm_element element;
    } plain[] = {{TFM_F32, TFM_EL_F32}, {TFM_F16, TFM_EL_F16}, {TFM_BF16, TFM_EL_BF16},
                 {TFM_I8, TFM_EL_I8},   {TFM_U8, TFM_EL_U8},   {TFM_I32, TFM_EL_I32},
                 {TFM_I64, TFM_EL_I64}};
    uint64_t block = tfm_dtype_block(t), block_bytes = tfm_dtype_block_bytes(t);
    *a = (tfm_array){.element = TFM_EL_U8, .rank = rank, .count = 1};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (plain[i].dtype == t) a->element = plain[i].element;
    a->element_bytes = elements[a->element].bytes;
    for (unsigned i = 0; i < rank; i++) a->count *= a->dims[i] = dims[i];
    if (block > 1 && dims[rank - 1] % block == 0) {
        a->dims[rank - 1] = dims[rank - 1] / block * block_bytes;
        a->count = a->count / block * block_bytes;
    } else if (block > 1) {
        a->rank = 1;
        a->dims[0] = a->count = a->count / block * block_bytes;
    }
    a->bytes = a->count * a->element_bytes;
    return a->element;
}

tfm_status tfm_npy_header(tfm_buf *b, const tfm_array *a, tfm_error *err) {
    size_t start = b->len;
    /* NumPy has no bfloat16: its bits go as unsigned integers. */
    tfm_element e = a->element == TFM_EL_BF16 ? TFM_EL_U16 : a->element;
    TFM_TRY(tfm_buf_add(b, NPY_MAGIC "\1\0\0\0", NPY_MAGIC_LEN + 4, err));
    TFM_TRY(tfm_buf_printf(b, err, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                           elements[e].descr));
    for (unsigned i = 0; i < a->rank; i++)
        TFM_TRY(tfm_buf_printf(b, err, "%s%" PRIu64, i ? ", " : "", a->dims[i]));
    TFM_TRY(tfm_buf_str(b, a->rank == 1 ? ",), }" : "), }", err));
    while ((b->len - start) % 64 != 63) TFM_TRY(tfm_buf_byte(b, ' ', err));
    TFM_TRY(tfm_buf_byte(b, '\n', err));
    tfm_store_u16(b->data + start + NPY_MAGIC_LEN + 2,
                  (uint16_t)(b->len - start - NPY_MAGIC_LEN - 4));
    return TFM_OK;
}

/* ---- reading ---- */

typedef struct cursor {
    const char *p, *end;
} cursor;

static void skip_space(cursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\t')) c->p++;
}

static bool take(cursor *c, const char *word) {
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0) return false;
    c->p += n;
    return true;
}

/* 'text' or "text", without escapes. */
static bool take_quoted(cursor *c, const char **text, size_t *n) {
    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"')) return false;
    const char *close = memchr(c->p + 1, *c->p, (size_t)(c->end - c->p - 1));
    if (!close) return false;
    *text = c->p + 1;
    *n = (size_t)(close - *text);
    c->p = close + 1;
    return memchr(*text, '\\', *n) == NULL;
}

static bool take_u64(cursor *c, uint64_t *v) {
    skip_space(c);
    const char *from = c->p;
    for (*v = 0; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (!tfm_mul_u64(*v, 10, v) || !tfm_add_u64(*v, (uint64_t)(*c->p - '0'), v)) return false;
    return c->p > from;
}

/* '<f4' and the like. */
static tfm_status take_descr(cursor *c, tfm_array *a, tfm_error *err) {
    const char *s;
    size_t n, i = 0;
    cursor bytes;
    uint64_t width;
    if (!take_quoted(c, &s, &n))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "an array of records (a structured dtype): export "
                        "its fields one by one");
    for (; i < sizeof elements / sizeof *elements; i++) {
        const char *d = elements[i].descr;
        /* "=" is what NumPy itself never writes; "|" and "<" are the same where a byte is all. */
        if (n == strlen(d) && n > 1 && memcmp(s + 1, d + 1, n - 1) == 0 &&
            (s[0] == d[0] || (elements[i].bytes == 1 && s[0] == '<')))
            break;
    }
    if (i < sizeof elements / sizeof *elements) {
        a->element = (tfm_element)i;
        a->element_bytes = elements[i].bytes;
        return TFM_OK;
    }
    bytes = (cursor){s + 2, s + n};
    if (n > 2 && memcmp(s, "|S", 2) == 0 && take_u64(&bytes, &width) && bytes.p == bytes.end &&
        width <= SIZE_MAX) {
        a->element = TFM_EL_TEXT;
        a->element_bytes = (size_t)width;
        return TFM_OK;
    }
    int shown = (int)(n > 40 ? 40 : n);
    if (n > 1 && s[0] == '>')
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "elements '%.*s' are big-endian: a.astype(a.dtype.newbyteorder('<'))",
                        shown, s);
    return tfm_fail(err, TFM_UNSUPPORTED, "elements of type '%.*s' have no place in a stream",
                    shown, s);
}

static tfm_status take_shape(cursor *c, tfm_array *a, tfm_error *err) {
    bool good = take(c, "("), more = good && !take(c, ")");
    a->rank = 0;
    while (more) {
        if (a->rank == TFM_ARRAY_RANK)
            return tfm_fail(err, TFM_LIMIT, "more than %d dimensions", TFM_ARRAY_RANK);
        good = take_u64(c, &a->dims[a->rank++]);
        bool comma = good && take(c, ",");
        more = good && !take(c, ")");
        if (more && !comma) good = false;
        if (!good) break;
    }
    return good ? TFM_OK : tfm_fail(err, TFM_FORMAT, "its shape is no tuple of numbers");
}

static tfm_status take_dictionary(cursor *c, tfm_array *a, tfm_error *err) {
    const char *key;
    size_t n;
    unsigned seen = 0; /* a bit for each of the three keys */
    if (!take(c, "{")) return tfm_fail(err, TFM_FORMAT, "its header is no dictionary");
    while (!take(c, "}")) {
        unsigned bit = 0;
        if (!take_quoted(c, &key, &n) || !take(c, ":"))
            return tfm_fail(err, TFM_FORMAT, "its header is not as NumPy writes it");
        if (n == 5 && memcmp(key, "descr", 5) == 0) {
            bit = 1;
            TFM_TRY(take_descr(c, a, err));
        } else if (n == 5 && memcmp(key, "shape", 5) == 0) {
            bit = 2;
            TFM_TRY(take_shape(c, a, err));
        } else if (n == 13 && memcmp(key, "fortran_order", 13) == 0) {
            bit = 4;
            if (take(c, "True"))
                seen |= 8;
            else if (!take(c, "False"))
                return tfm_fail(err, TFM_FORMAT, "its fortran_order is neither True nor False");
        }
        if (bit == 0 || (seen & bit) != 0)
            return tfm_fail(err, TFM_FORMAT, "its header has the key '%.*s' %s",
                            (int)(n > 40 ? 40 : n), key, bit ? "twice" : "that no array has");
        seen |= bit;
        if (!take(c, ",")) {
            if (take(c, "}")) break;
            return tfm_fail(err, TFM_FORMAT, "its header is not as NumPy writes it");
        }
    }
    skip_space(c);
    if ((seen & 7) != 7 || c->p != c->end)
        return tfm_fail(err, TFM_FORMAT, "its header is not descr, fortran_order and shape");
    if ((seen & 8) != 0 && a->rank > 1)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "it is stored column by column: numpy.ascontiguousarray(a)");
    return TFM_OK;
}

tfm_status tfm_npy_parse(tfm_array *a, const unsigned char *p, uint64_t n, tfm_error *err) {
    *a = (tfm_array){0};
    if (n < NPY_MAGIC_LEN + 4) return tfm_fail(err, TFM_TRUNCATED, "too short for an npy array");
    if (memcmp(p, NPY_MAGIC, NPY_MAGIC_LEN) != 0)
        return tfm_fail(err, TFM_FORMAT, "no npy array: the first bytes are others");
    unsigned major = p[NPY_MAGIC_LEN];
    size_t head = NPY_MAGIC_LEN + 2 + (major == 1 ? 2 : 4);
    if (major < 1 || major > 3)
        return tfm_fail(err, TFM_UNSUPPORTED, "version %u of npy is not known", major);
    if (n < head) return tfm_fail(err, TFM_TRUNCATED, "too short for an npy array");
    uint64_t len = major == 1 ? tfm_load_u16(p + 8) : tfm_load_u32(p + 8);
    if (len > NPY_HEADER_MAX)
        return tfm_fail(err, TFM_LIMIT, "a header of %" PRIu64 " bytes, at most %d", len,
                        NPY_HEADER_MAX);
    if (n - head < len) return tfm_fail(err, TFM_TRUNCATED, "ends inside its header");
    cursor c = {(const char *)p + head, (const char *)p + head + len};
    TFM_TRY(take_dictionary(&c, a, err));
    a->count = 1;
    for (unsigned i = 0; i < a->rank; i++)
        if (!tfm_mul_u64(a->count, a->dims[i], &a->count))
            return tfm_fail(err, TFM_FORMAT, "its shape is too large");
    if (!tfm_mul_u64(a->count, a->element_bytes, &a->bytes))
        return tfm_fail(err, TFM_FORMAT, "its shape is too large");
    if (n - head - len != a->bytes)
        return tfm_fail(err, n - head - len < a->bytes ? TFM_TRUNCATED : TFM_FORMAT,
                        "has %" PRIu64 " bytes of data, its shape says %" PRIu64, n - head - len,
                        a->bytes);
    a->data = p + head + len;
    return TFM_OK;
}
