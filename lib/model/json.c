/* json.c - parses JSON under a memory bound, and flattens a configuration into metadata.
 *
 * jansson builds a tree that can be forty times as large as the text ("[[],[],[],..."). So the text
 * is looked over first: its brackets, strings and commas give an upper estimate of the tree's size,
 * and a text whose estimate is far beyond any real file's is refused before it costs memory. */
#include <math.h>
#include <string.h>

#include "base/json_text_internal.h"
#include "model/json_internal.h"

enum {
    COST_OBJECT = 256, /* bytes of heap, measured with glibc and rounded up */
    COST_ARRAY = 144,  /* its table of eight elements included */
    COST_STRING = 80,  /* value and text; a key costs about the same */
    COST_VALUE = 48,   /* a number, and its place in the array or object around it */
    DEPTH_MAX = 32     /* of configurations; tokenizer.json needs less */
};
/* Room for a vocab.json of 200,000 pieces; longer files have it by their size. */
#define COST_BASE ((uint64_t)40 << 20)

/* Skips the string whose opening quote is at p[i]; returns the index after its end. */
static uint64_t skip_string(const unsigned char *p, uint64_t n, uint64_t i) {
    for (i++; i < n && p[i] != '"'; i++)
        if (p[i] == '\\') i++;
    return i + 1;
}

static uint64_t estimate(const unsigned char *p, uint64_t n) {
    uint64_t cost = 0;
    for (uint64_t i = 0; i < n;) {
        uint64_t from = i++;
        switch (p[from]) {
        case '{': cost += COST_OBJECT; break;
        case '[': cost += COST_ARRAY; break;
        case ',':
        case ':': cost += COST_VALUE; break;
        case '"':
            i = skip_string(p, n, from);
            cost += COST_STRING + (i - from);
            break;
        default: break;
        }
    }
    return cost;
}

tfm_status tfm_json_parse(json_t **out, const void *text, uint64_t n, const char *name,
                          tfm_error *err) {
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL;
    json_error_t why;
    *out = NULL;
    if (estimate(text, n) > COST_BASE + 3 * n)
        return tfm_fail(err, TFM_LIMIT, "%s: too many values for its size", name);
    json_t *j;
    tfm_status st = tfm_json_load(&j, text, (size_t)n, flags, &why, err);
    /* Python writes integers of any size ("model_max_length": 10^30): read all as doubles then. */
    if (st == TFM_FORMAT && json_error_code(&why) == json_error_numeric_overflow)
        st = tfm_json_load(&j, text, (size_t)n, flags | JSON_DECODE_INT_AS_REAL, &why, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "%s", name);
    if (!json_is_object(j)) {
        json_decref(j);
        return tfm_fail(err, TFM_FORMAT, "%s: no JSON object", name);
    }
    *out = j;
    return TFM_OK;
}

const char *tfm_json_text(const json_t *object, const char *key, size_t *len) {
    const json_t *v = json_object_get(object, key);
    if (len) *len = json_string_length(v);
    return json_string_value(v);
}

bool tfm_json_bool(const json_t *object, const char *key, bool fallback) {
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

const char *tfm_json_token(const json_t *object, const char *key, size_t *len) {
    const json_t *v = json_object_get(object, key);
    if (json_is_object(v)) return tfm_json_text(v, "content", len);
    *len = json_string_length(v);
    return json_string_value(v);
}

/* ---- flattening ---- */

/* A number, string or bool; false for containers and null. Whole doubles of a text whose integers
 * had to be read as doubles become INT again where they are exact. */
static tfm_status scalar(tfm_source *s, const json_t *v, tfm_meta *m, bool *is_scalar,
                         tfm_error *err) {
    *is_scalar = true;
    m->type = TFM_META_INT;
    if (json_is_string(v)) {
        m->type = TFM_META_STRING;
        m->s_len = json_string_length(v);
        return tfm_arena_strndup(s->arena, &m->s, json_string_value(v), m->s_len, err);
    }
    if (json_is_integer(v)) {
        m->i = json_integer_value(v);
        m->f = (double)m->i;
    } else if (json_is_boolean(v)) {
        m->is_bool = true;
        m->i = json_is_true(v);
        m->f = (double)m->i;
    } else if (json_is_real(v)) {
        m->type = TFM_META_FLOAT;
        m->f = json_real_value(v);
        if (fabs(m->f) < 9007199254740992.0 && m->f == trunc(m->f)) m->i = (int64_t)m->f;
    } else {
        *is_scalar = false;
    }
    return TFM_OK;
}

static bool all_scalars(const json_t *array) {
    size_t i;
    const json_t *v;
    json_array_foreach(array, i, v) {
        if (json_is_null(v) || json_is_object(v) || json_is_array(v)) return false;
    }
    return true;
}

static tfm_status scalars(tfm_source *s, const json_t *array, tfm_meta *m, tfm_error *err) {
    void *p;
    bool is_scalar;
    m->type = TFM_META_ARRAY;
    m->n = json_array_size(array);
    m->items_form = TFM_ITEMS_META;
    TFM_TRY(tfm_arena_alloc(s->arena, &p, m->n * sizeof(tfm_meta), err));
    tfm_meta *item = p;
    for (size_t i = 0; i < m->n; i++)
        TFM_TRY(scalar(s, json_array_get(array, i), &item[i], &is_scalar, err));
    m->items = item;
    m->item_type = m->n ? item[0].type : TFM_META_INT;
    return TFM_OK;
}

static tfm_status flatten(tfm_source *s, const json_t *v, tfm_buf *key, unsigned depth,
                          tfm_error *err);

static tfm_status child(tfm_source *s, const json_t *v, tfm_buf *key, const char *name,
                        unsigned depth, tfm_error *err) {
    size_t len = key->len;
    tfm_status st = tfm_buf_printf(key, err, "%s%s", depth ? "." : "", name);
    if (st == TFM_OK) st = flatten(s, v, key, depth + 1, err);
    key->len = len;
    return st;
}

static tfm_status children(tfm_source *s, const json_t *v, tfm_buf *key, unsigned depth,
                           tfm_error *err) {
    void *at = json_object_iter((json_t *)(uintptr_t)v);
    char index[24];
    if (depth > DEPTH_MAX) return tfm_fail(err, TFM_LIMIT, "nested more than %d deep", DEPTH_MAX);
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)v, at))
        TFM_TRY(child(s, json_object_iter_value(at), key, json_object_iter_key(at), depth, err));
    for (size_t i = 0; i < json_array_size(v); i++) {
        snprintf(index, sizeof index, "%zu", i);
        TFM_TRY(child(s, json_array_get(v, i), key, index, depth, err));
    }
    return TFM_OK;
}

static tfm_status flatten(tfm_source *s, const json_t *v, tfm_buf *key, unsigned depth,
                          tfm_error *err) {
    tfm_meta m = {0};
    bool is_value;
    if (json_is_array(v) && all_scalars(v)) {
        TFM_TRY(scalars(s, v, &m, err));
    } else {
        TFM_TRY(scalar(s, v, &m, &is_value, err));
        if (!is_value) return children(s, v, key, depth, err);
    }
    TFM_TRY(tfm_arena_strndup(s->arena, &m.key, key->data, key->len, err));
    return tfm_source_add_meta(s, &m, err);
}

tfm_status tfm_json_flatten(tfm_source *s, const json_t *object, const char *prefix,
                            tfm_error *err) {
    tfm_buf key = {0};
    tfm_status st = tfm_buf_str(&key, prefix, err);
    if (st == TFM_OK) st = children(s, object, &key, 0, err);
    tfm_buf_free(&key);
    return st;
}
