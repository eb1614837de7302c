/* plain.c - arrays that no stream was: each becomes the records of a group, or of many.
 *
 * The kind says what a record must look like: tokens i32 [n], hidden and logits f32 [n, width],
 * scores f32 [n], embedding f32 [width]; any other kind takes arrays as they are. An array with one
 * dimension more is a batch: its first axis counts groups. Element types that a stream has not are
 * converted where no value changes (int64 ids that fit i32, float64 that are whole f32, ...), else
 * refused. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "exchange/exchange_internal.h"

static const struct {
    const char *kind, *name;
    tfm_dtype dtype;
    unsigned rank;
} kinds[] = {{"tokens", "tokens", TFM_I32, 1},
             {"hidden", "hidden", TFM_F32, 2},
             {"logits", "logits", TFM_F32, 2},
             {"scores", "scores", TFM_F32, 1},
             {"embedding", "embedding", TFM_F32, 1}};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

/* Index in kinds, N_KINDS for a kind that takes anything. */
static size_t find_kind(const char *kind) {
    size_t i = 0;
    while (i < N_KINDS && strcmp(kinds[i].kind, kind) != 0) i++;
    return i;
}

/* What the records of the array are. */
typedef struct shape {
    tfm_dtype dtype;
    unsigned rank, skip; /* skip: 1 if the first axis counts groups */
    uint64_t batch, rows, row_values;
} shape;

static tfm_dtype natural_dtype(tfm_element e, const tfm_import_options *o) {
    switch (e) {
    case TFM_EL_F32:
    case TFM_EL_F64: return TFM_F32;
    case TFM_EL_F16: return TFM_F16;
    case TFM_EL_BF16: return TFM_BF16;
    case TFM_EL_I8: return TFM_I8;
    case TFM_EL_U8:
    case TFM_EL_BOOL: return TFM_U8;
    case TFM_EL_I16:
    case TFM_EL_I32: return TFM_I32;
    case TFM_EL_U16: return o->bf16 ? TFM_BF16 : TFM_I32;
    default: return TFM_I64;
    }
}

static tfm_status shape_of(const tfm_plain *p, const tfm_array *a, shape *s, tfm_error *err) {
    size_t k = find_kind(p->o->kind);
    *s = (shape){.dtype = natural_dtype(a->element, p->o), .rank = a->rank, .batch = 1};
    if (a->element == TFM_EL_TEXT)
        return tfm_fail(err, TFM_UNSUPPORTED, "%s: strings have no place in a tensor",
                        a->name ? a->name : "the array");
    if (k < N_KINDS) {
        s->dtype = kinds[k].dtype;
        s->rank = kinds[k].rank;
        s->skip = a->rank == s->rank + 1;
    }
    if (a->rank - s->skip != s->rank || s->rank > TFM_MAX_RANK)
        return tfm_fail(err, TFM_FORMAT, "%s: has %u dimensions; kind %s takes %u%s",
                        a->name ? a->name : "the array", a->rank, p->o->kind,
                        k < N_KINDS ? s->rank : TFM_MAX_RANK,
                        k < N_KINDS ? ", or one more that counts groups" : " at most");
    if (s->skip) s->batch = a->dims[0];
    for (unsigned i = s->skip; i < a->rank; i++)
        if (a->dims[i] > UINT32_MAX)
            return tfm_fail(err, TFM_LIMIT, "%s: a dimension above %u",
                            a->name ? a->name : "the array", UINT32_MAX);
    s->rows = s->rank > 0 ? a->dims[s->skip] : 1;
    s->row_values = 1;
    for (unsigned i = s->skip + 1; i < a->rank; i++) s->row_values *= a->dims[i];
    return TFM_OK;
}

/* "g12/NAME": the group and the name; false for any other name. */
static bool split_name(const char *name, uint32_t *group, const char **rest) {
    uint64_t v = 0;
    const char *p = name + 1;
    if (!name[0] || name[0] != 'g' || *p < '0' || *p > '9') return false;
    for (; *p >= '0' && *p <= '9'; p++)
        if ((v = v * 10 + (uint64_t)(*p - '0')) >= UINT32_MAX) return false;
    if (*p != '/' || p[1] == '\0') return false;
    *group = (uint32_t)v;
    *rest = p + 1;
    return true;
}

/* The name of an array's records. */
static const char *record_name(const tfm_plain *p, const tfm_array *a) {
    size_t k = find_kind(p->o->kind);
    uint32_t group;
    const char *rest;
    if (p->o->name) return p->o->name;
    if (k < N_KINDS) return kinds[k].name;
    if (!a->name) return "tensor";
    return split_name(a->name, &group, &rest) ? rest : a->name;
}

tfm_status tfm_plain_open(tfm_plain *p, const tfm_import_options *o, const tfm_array *array,
                          size_t n, tfm_error *err) {
    void *table;
    const char *rest;
    shape s;
    uint64_t next = o->group; /* the group of the next array that does not say its own */
    *p = (tfm_plain){.o = o, .array = array, .n = n};
    if (!o->kind)
        return tfm_fail(err, TFM_USAGE,
                        "arrays without the manifest of tfm-export: say what they are by --kind "
                        "(tokens, hidden, logits, scores, embedding, tensor)");
    TFM_TRY(tfm_alloc(&table, n, sizeof *p->group, err));
    p->group = table;
    for (size_t i = 0; i < n; i++) {
        TFM_TRY(shape_of(p, &array[i], &s, err));
        if (strlen(record_name(p, &array[i])) > TFM_NAME_MAX)
            return tfm_fail(err, TFM_LIMIT, "%.80s...: a name above %d bytes", array[i].name,
                            TFM_NAME_MAX);
        if (array[i].name && split_name(array[i].name, &p->group[i], &rest) && s.skip == 0)
            continue;
        if (next + s.batch > UINT32_MAX)
            return tfm_fail(err, TFM_LIMIT, "groups beyond %u", UINT32_MAX - 1);
        p->group[i] = (uint32_t)next;
        /* Arrays of a kind are one group each; others may all belong to one. */
        if (find_kind(o->kind) < N_KINDS) next += s.batch;
    }
    return TFM_OK;
}

void tfm_plain_close(tfm_plain *p) {
    tfm_free(p->group);
    tfm_buf_free(&p->values);
    *p = (tfm_plain){0};
}

/* ---- values ---- */

/* Element i of a as a double (exact for all but the largest integers) and as an integer. */
static void load(tfm_element e, const unsigned char *p, double *d, int64_t *i, bool *fits) {
    uint64_t u;
    uint32_t w;
    float f;
    *fits = true;
    *d = 0;
    switch (e) {
    case TFM_EL_F32:
        w = tfm_load_u32(p);
        memcpy(&f, &w, sizeof f);
        *d = (double)f;
        return;
    case TFM_EL_F64:
        u = tfm_load_u64(p);
        memcpy(d, &u, sizeof *d);
        return;
    case TFM_EL_F16: *d = (double)tfm_f16_to_f32(tfm_load_u16(p)); return;
    case TFM_EL_BF16: *d = (double)tfm_bf16_to_f32(tfm_load_u16(p)); return;
    case TFM_EL_I8: *i = (int8_t)*p; return;
    case TFM_EL_U8:
    case TFM_EL_BOOL: *i = *p; return;
    case TFM_EL_I16: *i = (int16_t)tfm_load_u16(p); return;
    case TFM_EL_U16: *i = tfm_load_u16(p); return;
    case TFM_EL_I32: *i = (int32_t)tfm_load_u32(p); return;
    case TFM_EL_U32: *i = tfm_load_u32(p); return;
    default:
        u = tfm_load_u64(p);
        *fits = e == TFM_EL_I64 || u <= INT64_MAX;
        *i = (int64_t)u;
        return;
    }
}

static bool is_float(tfm_element e) {
    return e == TFM_EL_F32 || e == TFM_EL_F16 || e == TFM_EL_BF16 || e == TFM_EL_F64;
}

/* May elements of this type become the dtype at all? */
static bool may_convert(tfm_element e, tfm_dtype t) {
    return t == TFM_F32 ? is_float(e) : !is_float(e);
}

static tfm_status convert_one(const tfm_plain *p, tfm_element e, tfm_dtype t,
                              const unsigned char *from, unsigned char *to, tfm_error *err) {
    double d;
    int64_t i = 0;
    bool fits;
    uint32_t bits;
    load(e, from, &d, &i, &fits);
    if (t == TFM_F32) {
        float f = (float)d;
        if (!p->o->round && !isnan(d) && (double)f != d)
            return tfm_fail(err, TFM_FORMAT, "%.17g is no f32: x.astype('float32'), or --round", d);
        memcpy(&bits, &f, sizeof bits);
        tfm_store_u32(to, bits);
        return TFM_OK;
    }
    if (!fits || (t == TFM_I32 && (i < INT32_MIN || i > INT32_MAX)))
        return tfm_fail(err, TFM_FORMAT, "a value does not fit %s", tfm_dtype_name(t));
    if (t == TFM_I32)
        tfm_store_u32(to, (uint32_t)i);
    else if (t == TFM_I64)
        tfm_store_u64(to, (uint64_t)i);
    else
        *to = (unsigned char)i;
    return TFM_OK;
}

/* count values from element `at` on as dtype t; *out is in the file or in p->values. */
static tfm_status take_values(tfm_plain *p, const tfm_array *a, tfm_dtype t, uint64_t at,
                              uint64_t count, const void **out, tfm_error *err) {
    const char *name = a->name ? a->name : "the array";
    const unsigned char *from = a->data + at * a->element_bytes;
    tfm_array same;
    tfm_element own = tfm_array_of_dtype(t, 0, NULL, &same);
    *out = from;
    if (own == a->element || (own == TFM_EL_BF16 && a->element == TFM_EL_U16)) return TFM_OK;
    if (!may_convert(a->element, t))
        return tfm_fail(err, TFM_FORMAT, "%s: elements are %s, kind %s takes %s", name,
                        tfm_element_name(a->element), p->o->kind, tfm_dtype_name(t));
    size_t width = tfm_dtype_block_bytes(t);
    tfm_buf_clear(&p->values);
    TFM_TRY(tfm_buf_reserve(&p->values, (size_t)count * width, err));
    unsigned char *to = (unsigned char *)p->values.data;
    for (uint64_t i = 0; i < count; i++) {
        tfm_status st =
            convert_one(p, a->element, t, from + i * a->element_bytes, to + i * width, err);
        if (st != TFM_OK) return tfm_error_prefix(err, st, "%s: element %" PRIu64, name, at + i);
    }
    *out = to;
    return TFM_OK;
}

/* ---- records ---- */

static void next_part(tfm_plain *p, const shape *s) {
    if (p->row < s->rows) return;
    p->row = 0;
    if (++p->batch < s->batch) return;
    p->batch = 0;
    p->i++;
}

tfm_status tfm_plain_next(tfm_plain *p, tfm_record *rec, const void **payload, tfm_error *err) {
    shape s;
    uint64_t row_bytes;
    *payload = NULL;
    while (p->i < p->n) { /* an array of no groups has no records */
        TFM_TRY(shape_of(p, &p->array[p->i], &s, err));
        if (s.batch > 0) break;
        p->i++;
    }
    if (p->i == p->n) return TFM_DONE;
    const tfm_array *a = &p->array[p->i];
    *rec = (tfm_record){.type = TFM_REC_TENSOR,
                        .dtype = (uint8_t)s.dtype,
                        .rank = (uint8_t)s.rank,
                        .group = p->group[p->i] + (uint32_t)p->batch};
    memcpy(rec->name, record_name(p, a), strlen(record_name(p, a)));
    for (unsigned i = 0; i < TFM_MAX_RANK; i++)
        rec->dims[i] = i < s.rank ? (uint32_t)a->dims[i + s.skip] : 1;
    if (!tfm_mul_u64(s.row_values, tfm_dtype_block_bytes(s.dtype), &row_bytes) ||
        (row_bytes > TFM_PAYLOAD_MAX && a->bytes > 0))
        return tfm_fail(err, TFM_LIMIT, "%s: a row is larger than the %u bytes of a record",
                        a->name ? a->name : "the array", TFM_PAYLOAD_MAX);
    uint64_t left = s.rows - p->row, n = row_bytes ? TFM_PAYLOAD_MAX / row_bytes : left;
    if (n > left) n = left;
    if (n < s.rows && p->n > 1 && find_kind(p->o->kind) == N_KINDS)
        return tfm_fail(err, TFM_LIMIT,
                        "%s: is above 16 MiB and not the only array: import them one by one",
                        a->name ? a->name : "the array");
    if (s.rank > 0) rec->dims[0] = (uint32_t)n;
    if ((uint64_t)p->o->position + s.rows > UINT32_MAX)
        return tfm_fail(err, TFM_LIMIT, "its rows pass position %u", UINT32_MAX);
    /* The vector of an embedding is no sequence of rows. */
    rec->position = p->o->position + (uint32_t)p->row;
    if (n == left) rec->flags = TFM_FLAG_LAST;
    TFM_TRY(take_values(p, a, s.dtype, (p->batch * s.rows + p->row) * s.row_values,
                        n * s.row_values, payload, err));
    p->row += s.rank > 0 ? n : 1;
    if (n == left) p->row = s.rows;
    next_part(p, &s);
    return TFM_OK;
}
