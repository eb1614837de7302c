/* json_text_internal.h - JSON text to jansson's tree and back, right also when memory runs out.
 * Everything else is asked of jansson itself. */
#ifndef TFM_JSON_TEXT_INTERNAL_H
#define TFM_JSON_TEXT_INTERNAL_H

#include <jansson.h>

#include "base/base_internal.h"

/* Parses text[0..n); flags as for json_loadb. *out is the caller's to json_decref, NULL on failure.
 * TFM_FORMAT: not JSON; *why (may be NULL) says where. TFM_NOMEM: memory ran out. Any thread. */
tfm_status tfm_json_load(json_t **out, const void *text, size_t n, size_t flags, json_error_t *why,
                         tfm_error *err) TFM_MUST_CHECK;
/* The text of j; flags as for json_dumps. *out is the caller's to free() (jansson made it), NULL on
 * failure, which is TFM_NOMEM. */
tfm_status tfm_json_dump(char **out, const json_t *j, size_t flags, tfm_error *err) TFM_MUST_CHECK;

#endif
