/* gguf_section.c - a description's `gguf:` section as GGUF metadata.
 *
 *     general.architecture: {str: "NAME"}
 *     NAME.rope.freq_base: {f32: 10000}
 *     some.array: {u32: [1, 2, 3]}
 *
 * The section is YAML of this one shape, read by libyaml's events; anything else is refused, so
 * that what is written is exactly what stands there. */
#include <string.h>
#include <yaml.h>

#include "model/gguf_internal.h"

static const struct {
    const char *name;
    uint32_t type;
} types[] = {{"u32", TFM_GGUF_U32},   {"i32", TFM_GGUF_I32}, {"u64", TFM_GGUF_U64},
             {"i64", TFM_GGUF_I64},   {"f32", TFM_GGUF_F32}, {"bool", TFM_GGUF_BOOL},
             {"str", TFM_GGUF_STRING}};

tfm_status tfm_gguf_put_u32(tfm_buf *b, uint32_t v, tfm_error *err) {
    unsigned char p[4];
    tfm_store_u32(p, v);
    return tfm_buf_add(b, p, sizeof p, err);
}

tfm_status tfm_gguf_put_u64(tfm_buf *b, uint64_t v, tfm_error *err) {
    unsigned char p[8];
    tfm_store_u64(p, v);
    return tfm_buf_add(b, p, sizeof p, err);
}

tfm_status tfm_gguf_put_string(tfm_buf *b, const char *s, size_t n, tfm_error *err) {
    TFM_TRY(tfm_gguf_put_u64(b, n, err));
    return tfm_buf_add(b, s, n, err);
}

tfm_status tfm_gguf_put_key(tfm_buf *b, const char *key, uint32_t type, uint64_t *n_kv,
                            tfm_error *err) {
    TFM_TRY(tfm_gguf_put_string(b, key, strlen(key), err));
    ++*n_kv;
    return tfm_gguf_put_u32(b, type, err);
}

/* One scalar of a type, without the type. */
static tfm_status put_scalar(tfm_buf *b, uint32_t type, const char *s, size_t n, tfm_error *err) {
    int64_t i = 0;
    uint64_t u = 0;
    double f = 0;
    float f32;
    bool good = true;
    switch (type) {
    case TFM_GGUF_STRING: return tfm_gguf_put_string(b, s, n, err);
    case TFM_GGUF_U32: good = tfm_parse_u64(s, 0, UINT32_MAX, &u); break;
    case TFM_GGUF_U64: good = tfm_parse_u64(s, 0, UINT64_MAX, &u); break;
    case TFM_GGUF_I32: good = tfm_parse_i64(s, INT32_MIN, INT32_MAX, &i); break;
    case TFM_GGUF_I64: good = tfm_parse_i64(s, INT64_MIN, INT64_MAX, &i); break;
    case TFM_GGUF_F32: good = tfm_parse_double(s, -3.4028235e38, 3.4028235e38, &f); break;
    default:
        u = strcmp(s, "true") == 0;
        good = u || strcmp(s, "false") == 0;
        break;
    }
    if (!good || strlen(s) != n)
        return tfm_fail(err, TFM_FORMAT, "the description's gguf section has the wrong value '%s'",
                        s);
    if (type == TFM_GGUF_BOOL) return tfm_buf_byte(b, (unsigned char)u, err);
    if (type == TFM_GGUF_I32 || type == TFM_GGUF_I64) u = (uint64_t)i;
    if (type == TFM_GGUF_F32) {
        uint32_t bits;
        f32 = (float)f;
        memcpy(&bits, &f32, sizeof bits);
        u = bits;
    }
    if (type == TFM_GGUF_U64 || type == TFM_GGUF_I64) return tfm_gguf_put_u64(b, u, err);
    return tfm_gguf_put_u32(b, (uint32_t)u, err);
}

/* What has been read of the shape above. */
typedef struct state {
    tfm_buf *b;
    uint64_t *n_kv;
    unsigned depth; /* 0 outside, 1 in the section, 2 in {type: value}, 3 in an array */
    char *key;      /* the key whose value comes, at depth 1 and 2 */
    uint32_t type;
    bool has_type;
    size_t count_at; /* where the array's length stands */
    uint64_t n_items;
} state;

static tfm_status wrong(tfm_error *err) {
    return tfm_fail(err, TFM_FORMAT, "the description's gguf section is not key: {type: value}");
}

static tfm_status on_scalar(state *s, const char *text, size_t n, tfm_error *err) {
    if (s->depth == 1 && !s->key) return tfm_strndup(&s->key, text, n, err);
    if (s->depth == 2 && !s->has_type) {
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            if (strcmp(types[i].name, text) != 0) continue;
            s->type = types[i].type;
            s->has_type = true;
            return TFM_OK;
        }
        return wrong(err);
    }
    if (s->depth == 3) {
        s->n_items++;
        return put_scalar(s->b, s->type, text, n, err);
    }
    if (s->depth != 2) return wrong(err);
    TFM_TRY(tfm_gguf_put_key(s->b, s->key, s->type, s->n_kv, err));
    return put_scalar(s->b, s->type, text, n, err);
}

static tfm_status on_sequence(state *s, tfm_error *err) {
    if (s->depth != 2 || !s->has_type) return wrong(err);
    TFM_TRY(tfm_gguf_put_key(s->b, s->key, TFM_GGUF_ARRAY, s->n_kv, err));
    TFM_TRY(tfm_gguf_put_u32(s->b, s->type, err));
    s->count_at = s->b->len;
    s->n_items = 0;
    s->depth = 3;
    return tfm_gguf_put_u64(s->b, 0, err);
}

static tfm_status on_event(state *s, const yaml_event_t *e, tfm_error *err) {
    switch (e->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(s, (const char *)e->data.scalar.value, e->data.scalar.length, err);
    case YAML_SEQUENCE_START_EVENT: return on_sequence(s, err);
    case YAML_SEQUENCE_END_EVENT:
        tfm_store_u64(s->b->data + s->count_at, s->n_items);
        s->depth = 2;
        return TFM_OK;
    case YAML_MAPPING_START_EVENT:
        if (s->depth > 1 || (s->depth == 1 && !s->key)) return wrong(err);
        s->depth++;
        return TFM_OK;
    case YAML_MAPPING_END_EVENT:
        s->depth--;
        tfm_free(s->key);
        s->key = NULL;
        s->has_type = false;
        return TFM_OK;
    case YAML_ALIAS_EVENT: return wrong(err);
    default: return TFM_OK;
    }
}

tfm_status tfm_gguf_put_section(tfm_buf *b, const tfm_buf *section, uint64_t *n_kv,
                                tfm_error *err) {
    yaml_parser_t parser;
    yaml_event_t event;
    state s = {.b = b, .n_kv = n_kv};
    tfm_status st = TFM_OK;
    bool more = true;
    if (!yaml_parser_initialize(&parser)) return tfm_fail(err, TFM_NOMEM, "out of memory");
    yaml_parser_set_input_string(&parser, (const unsigned char *)section->data, section->len);
    while (more && st == TFM_OK) {
        if (!yaml_parser_parse(&parser, &event)) {
            st = tfm_fail(err, TFM_FORMAT, "the description's gguf section is no YAML: %s",
                          parser.problem ? parser.problem : "?");
            break;
        }
        more = event.type != YAML_STREAM_END_EVENT;
        st = on_event(&s, &event, err);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    tfm_free(s.key);
    return st;
}
