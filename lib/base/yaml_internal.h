/* yaml_internal.h - a small document tree over libyaml, with line numbers and limits.
 *
 *     TFM_TRY(tfm_yaml_parse(&doc, arena, "x.yaml", text, len, err));
 *     const tfm_yaml *p = tfm_yaml_get(doc, "parameters");
 *     if (p) return tfm_yaml_fail(p, err, TFM_FORMAT, "expected a mapping");
 *
 * Owns no meaning: a scalar is its text. Documents come from outside, so anchors, aliases, tags,
 * repeated keys, NUL bytes and a second document are refused, and depth and count are limited.
 */
#ifndef TFM_YAML_INTERNAL_H
#define TFM_YAML_INTERNAL_H

#include "base/base_internal.h"

#define TFM_YAML_MAX_BYTES (256u << 10)
#define TFM_YAML_MAX_NODES 100000u
#define TFM_YAML_MAX_DEPTH 24u

typedef enum tfm_yaml_kind { TFM_YAML_SCALAR, TFM_YAML_LIST, TFM_YAML_MAP } tfm_yaml_kind;

typedef struct tfm_yaml tfm_yaml;
typedef struct tfm_yaml_entry {
    const char *key; /* NULL in a list */
    const tfm_yaml *value;
} tfm_yaml_entry;

struct tfm_yaml {
    tfm_yaml_kind kind;
    bool quoted;      /* scalar: stood in quotes or a block */
    unsigned line;    /* from 1 */
    const char *file; /* for messages */
    const char *text; /* scalar */
    size_t len;
    tfm_yaml_entry *entry; /* list and map, in order */
    size_t n;
};

/* Parses one document. Everything lives in the arena. An empty text is an empty mapping. */
tfm_status tfm_yaml_parse(const tfm_yaml **out, tfm_arena *a, const char *file, const char *text,
                          size_t len, tfm_error *err) TFM_MUST_CHECK;
/* Reads and parses the file at `path`; messages have its name without the folder. */
tfm_status tfm_yaml_file(const tfm_yaml **out, tfm_arena *a, const char *path,
                         tfm_error *err) TFM_MUST_CHECK;
/* The value of a key, or NULL (also when `map` is NULL or no mapping). */
const tfm_yaml *tfm_yaml_get(const tfm_yaml *map, const char *key);
/* Is it the plain scalar `null`, `~` or nothing? */
bool tfm_yaml_is_null(const tfm_yaml *y);
/* Fails if map is no mapping or has a key that is not in the NULL-terminated list. */
tfm_status tfm_yaml_keys(const tfm_yaml *map, const char *const *known,
                         tfm_error *err) TFM_MUST_CHECK;
/* map[key] as true or false, or a whole number from lo to hi; *out is left where it is absent. */
tfm_status tfm_yaml_bool(const tfm_yaml *map, const char *key, bool *out,
                         tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_yaml_number(const tfm_yaml *map, const char *key, int64_t lo, int64_t hi,
                           int64_t *out, tfm_error *err) TFM_MUST_CHECK;
/* "FILE:LINE: ..." */
tfm_status tfm_yaml_fail(const tfm_yaml *y, tfm_error *err, tfm_status status, const char *fmt, ...)
    TFM_PRINTF(4, 5);

#endif
