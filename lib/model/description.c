/* description.c - cuts one section out of a description.
 *
 * The description is YAML, but of a fixed shape (tfm-model(5)): top-level keys stand in column 0,
 * and the two sections that this layer reads are blocks of lines indented by two. So no YAML parser
 * is needed here, and opening a vocabulary does not pay for parsing the steps of a large model. */
#include <string.h>

#include "model/container_internal.h"

enum { INDENT = 2 };

/* Just after the line "KEY:", or NULL. */
static const char *find_key(const char *s, const char *key) {
    size_t n = strlen(key);
    while (s) {
        if (strncmp(s, key, n) == 0 && s[n] == ':' && s[n + 1 + strspn(s + n + 1, " ")] == '\n')
            return strchr(s, '\n') + 1;
        s = strchr(s, '\n');
        if (s) s++;
    }
    return NULL;
}

tfm_status tfm_description_section(const char *description, const char *key, tfm_buf *text,
                                   bool *found, tfm_error *err) {
    const char *s = find_key(description, key);
    *found = s != NULL;
    while (s && (*s == ' ' || *s == '\n')) {
        size_t skip = strspn(s, " ");
        if (skip > INDENT) skip = INDENT;
        const char *end = strchr(s, '\n');
        size_t n = end ? (size_t)(end + 1 - s) : strlen(s);
        TFM_TRY(tfm_buf_add(text, s + skip, n - skip, err));
        s += n;
    }
    return s ? tfm_buf_add(text, "", 0, err) : TFM_OK;
}
