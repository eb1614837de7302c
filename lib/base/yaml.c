/* yaml.c - text to document tree.
 *
 * Owns: driving libyaml's event parser and the limits. The event parser rather than the document
 * loader, because limits must hold while the tree grows, not after.
 */
#include "base/yaml_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A list or mapping that is not closed yet: its entries grow here and move to the arena at the
 * end. */
typedef struct level {
    tfm_yaml *node;
    tfm_yaml_entry *entry;
    size_t n, cap;
    const char *key; /* mapping: the key that waits for its value */
    bool has_key;
} level;

typedef struct loader {
    tfm_arena *arena;
    const char *file;
    level stack[TFM_YAML_MAX_DEPTH];
    size_t depth;
    size_t n_nodes;
    const tfm_yaml *root;
} loader;

tfm_status tfm_yaml_fail(const tfm_yaml *y, tfm_error *err, tfm_status status, const char *fmt,
                         ...) {
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return tfm_fail(err, status, "%s:%u: %s", y->file, y->line, text);
}

static tfm_status refuse(const loader *l, const yaml_event_t *ev, tfm_error *err, tfm_status status,
                         const char *what) {
    return tfm_fail(err, status, "%s:%u: %s", l->file, (unsigned)ev->start_mark.line + 1, what);
}

static tfm_status node_new(loader *l, tfm_yaml_kind kind, const yaml_event_t *ev, tfm_yaml **out,
                           tfm_error *err) {
    void *p;
    if (++l->n_nodes > TFM_YAML_MAX_NODES)
        return refuse(l, ev, err, TFM_LIMIT, "more than 100000 values in one document");
    TFM_TRY(tfm_arena_alloc(l->arena, &p, sizeof(tfm_yaml), err));
    *out = p;
    (*out)->kind = kind;
    (*out)->line = (unsigned)ev->start_mark.line + 1;
    (*out)->file = l->file;
    return TFM_OK;
}

/* Puts a finished or just opened node where it belongs. */
static tfm_status attach(loader *l, const tfm_yaml *node, tfm_error *err) {
    level *up;
    if (l->depth == 0) {
        l->root = node;
        return TFM_OK;
    }
    up = &l->stack[l->depth - 1];
    if (up->n == up->cap) {
        void *p = up->entry;
        TFM_TRY(tfm_grow(&p, &up->cap, up->n + 1, sizeof *up->entry, err));
        up->entry = p;
    }
    up->entry[up->n].key = up->key;
    up->entry[up->n].value = node;
    up->n++;
    up->has_key = false;
    up->key = NULL;
    return TFM_OK;
}

static tfm_status on_scalar(loader *l, const yaml_event_t *ev, tfm_error *err) {
    const char *text = (const char *)ev->data.scalar.value;
    size_t len = ev->data.scalar.length;
    const char *copy;
    tfm_yaml *node;
    if (ev->data.scalar.anchor || ev->data.scalar.tag)
        return refuse(l, ev, err, TFM_UNSUPPORTED,
                      "anchors and tags are not used here: write the "
                      "value out");
    if (memchr(text, 0, len) != NULL)
        return refuse(l, ev, err, TFM_FORMAT, "a text holds a NUL byte");
    TFM_TRY(tfm_arena_strndup(l->arena, &copy, text, len, err));
    if (l->depth > 0) {
        level *up = &l->stack[l->depth - 1];
        if (up->node->kind == TFM_YAML_MAP && !up->has_key) {
            up->key = copy;
            up->has_key = true;
            return TFM_OK;
        }
    }
    TFM_TRY(node_new(l, TFM_YAML_SCALAR, ev, &node, err));
    node->text = copy;
    node->len = len;
    node->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return attach(l, node, err);
}

static tfm_status on_open(loader *l, const yaml_event_t *ev, tfm_yaml_kind kind, tfm_error *err) {
    const yaml_char_t *anchor =
        kind == TFM_YAML_MAP ? ev->data.mapping_start.anchor : ev->data.sequence_start.anchor;
    const yaml_char_t *tag =
        kind == TFM_YAML_MAP ? ev->data.mapping_start.tag : ev->data.sequence_start.tag;
    tfm_yaml *node;
    if (anchor || tag)
        return refuse(l, ev, err, TFM_UNSUPPORTED,
                      "anchors and tags are not used here: write the "
                      "value out");
    if (l->depth == TFM_YAML_MAX_DEPTH)
        return refuse(l, ev, err, TFM_LIMIT, "nested more than 24 deep");
    if (l->depth > 0 && l->stack[l->depth - 1].node->kind == TFM_YAML_MAP &&
        !l->stack[l->depth - 1].has_key)
        return refuse(l, ev, err, TFM_FORMAT, "a key must be a plain text");
    TFM_TRY(node_new(l, kind, ev, &node, err));
    TFM_TRY(attach(l, node, err));
    memset(&l->stack[l->depth], 0, sizeof(level));
    l->stack[l->depth++].node = node;
    return TFM_OK;
}

static int by_key(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted, not compared pair by pair: a hostile mapping may have 50,000 keys. */
static tfm_status check_unique(const tfm_yaml *map, tfm_error *err) {
    void *p;
    const char **key;
    tfm_status st = TFM_OK;
    TFM_TRY(tfm_alloc(&p, map->n, sizeof *key, err));
    key = p;
    for (size_t i = 0; i < map->n; i++) key[i] = map->entry[i].key;
    qsort(key, map->n, sizeof *key, by_key);
    for (size_t i = 1; i < map->n && st == TFM_OK; i++)
        if (strcmp(key[i - 1], key[i]) == 0)
            st = tfm_yaml_fail(map, err, TFM_FORMAT, "key '%.80s' stands twice", key[i]);
    tfm_free(p);
    return st;
}

static tfm_status on_close(loader *l, tfm_error *err) {
    level *top = &l->stack[l->depth - 1];
    void *p;
    if (top->n > 0) {
        TFM_TRY(tfm_arena_alloc(l->arena, &p, top->n * sizeof(tfm_yaml_entry), err));
        memcpy(p, top->entry, top->n * sizeof(tfm_yaml_entry));
        top->node->entry = p;
        top->node->n = top->n;
    }
    l->depth--;
    tfm_free(top->entry);
    top->entry = NULL;
    return top->node->kind == TFM_YAML_MAP ? check_unique(top->node, err) : TFM_OK;
}

static tfm_status on_event(loader *l, const yaml_event_t *ev, tfm_error *err) {
    switch (ev->type) {
    case YAML_SCALAR_EVENT: return on_scalar(l, ev, err);
    case YAML_SEQUENCE_START_EVENT: return on_open(l, ev, TFM_YAML_LIST, err);
    case YAML_MAPPING_START_EVENT: return on_open(l, ev, TFM_YAML_MAP, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return on_close(l, err);
    case YAML_ALIAS_EVENT:
        return refuse(l, ev, err, TFM_UNSUPPORTED,
                      "aliases are not used here: write the value "
                      "out");
    case YAML_DOCUMENT_START_EVENT:
        if (l->root != NULL)
            return refuse(l, ev, err, TFM_FORMAT, "a second document: there must be one");
        return TFM_OK;
    default: return TFM_OK;
    }
}

static tfm_status load(loader *l, yaml_parser_t *parser, tfm_error *err) {
    bool more = true;
    while (more) {
        yaml_event_t ev;
        tfm_status st;
        if (!yaml_parser_parse(parser, &ev)) {
            if (parser->error == YAML_MEMORY_ERROR)
                return tfm_fail(err, TFM_NOMEM, "%s: out of memory", l->file);
            return tfm_fail(err, TFM_FORMAT, "%s:%u: not YAML: %s", l->file,
                            (unsigned)parser->problem_mark.line + 1,
                            parser->problem ? parser->problem : "unreadable");
        }
        more = ev.type != YAML_STREAM_END_EVENT;
        st = on_event(l, &ev, err);
        yaml_event_delete(&ev);
        if (st != TFM_OK) return st;
    }
    return TFM_OK;
}

tfm_status tfm_yaml_parse(const tfm_yaml **out, tfm_arena *a, const char *file, const char *text,
                          size_t len, tfm_error *err) {
    loader l = {.arena = a};
    yaml_parser_t parser;
    tfm_status st;
    *out = NULL;
    if (len > TFM_YAML_MAX_BYTES)
        return tfm_fail(err, TFM_LIMIT, "%s: %zu bytes of YAML; at most %u are allowed", file, len,
                        TFM_YAML_MAX_BYTES);
    TFM_TRY(tfm_arena_strndup(a, &l.file, file, strlen(file), err));
    if (!yaml_parser_initialize(&parser))
        return tfm_fail(err, TFM_NOMEM, "%s: out of memory", file);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    st = load(&l, &parser, err);
    yaml_parser_delete(&parser);
    while (l.depth > 0) tfm_free(l.stack[--l.depth].entry);
    if (st != TFM_OK) return st;
    if (l.root == NULL) {
        void *p;
        tfm_yaml *empty;
        TFM_TRY(tfm_arena_alloc(a, &p, sizeof *empty, err));
        empty = p;
        empty->kind = TFM_YAML_MAP;
        empty->line = 1;
        empty->file = l.file;
        l.root = empty;
    }
    *out = l.root;
    return TFM_OK;
}

tfm_status tfm_yaml_file(const tfm_yaml **out, tfm_arena *a, const char *path, tfm_error *err) {
    tfm_buf text = {0};
    const char *base = strrchr(path, '/');
    tfm_status st = tfm_file_read(&text, path, TFM_YAML_MAX_BYTES, err);
    if (st == TFM_OK)
        st = tfm_yaml_parse(out, a, base ? base + 1 : path, text.data ? text.data : "", text.len,
                            err);
    tfm_buf_free(&text);
    return st;
}

const tfm_yaml *tfm_yaml_get(const tfm_yaml *map, const char *key) {
    if (map == NULL || map->kind != TFM_YAML_MAP) return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->entry[i].key, key) == 0) return map->entry[i].value;
    return NULL;
}

bool tfm_yaml_is_null(const tfm_yaml *y) {
    return y->kind == TFM_YAML_SCALAR && !y->quoted &&
           (y->len == 0 || strcmp(y->text, "~") == 0 || strcmp(y->text, "null") == 0);
}

tfm_status tfm_yaml_keys(const tfm_yaml *map, const char *const *known, tfm_error *err) {
    if (map->kind != TFM_YAML_MAP) return tfm_yaml_fail(map, err, TFM_FORMAT, "expected a mapping");
    for (size_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (known[k] != NULL && strcmp(known[k], map->entry[i].key) != 0) k++;
        if (known[k] == NULL)
            return tfm_yaml_fail(map->entry[i].value, err, TFM_FORMAT, "unknown key '%.60s'",
                                 map->entry[i].key);
    }
    return TFM_OK;
}

tfm_status tfm_yaml_bool(const tfm_yaml *map, const char *key, bool *out, tfm_error *err) {
    const tfm_yaml *y = tfm_yaml_get(map, key);
    if (y == NULL) return TFM_OK;
    *out = y->kind == TFM_YAML_SCALAR && strcmp(y->text, "true") == 0;
    if (*out || (y->kind == TFM_YAML_SCALAR && strcmp(y->text, "false") == 0)) return TFM_OK;
    return tfm_yaml_fail(y, err, TFM_FORMAT, "%s is neither true nor false", key);
}

tfm_status tfm_yaml_number(const tfm_yaml *map, const char *key, int64_t lo, int64_t hi,
                           int64_t *out, tfm_error *err) {
    const tfm_yaml *y = tfm_yaml_get(map, key);
    if (y == NULL || (y->kind == TFM_YAML_SCALAR && tfm_parse_i64(y->text, lo, hi, out)))
        return TFM_OK;
    return tfm_yaml_fail(y, err, TFM_FORMAT, "%.60s is no number from %lld to %lld", key,
                         (long long)lo, (long long)hi);
}
