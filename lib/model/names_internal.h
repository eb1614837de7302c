/* names_internal.h - a hash table from names to indices, for tensor names and metadata keys.
 *
 *     tfm_names n = {0};
 *     TFM_TRY(tfm_names_add(&n, "blk.0.attn_q.weight", 19, 7, err));
 *     uint32_t i = tfm_names_find(&n, name, strlen(name));        // 7, or TFM_NO_NAME
 *     tfm_names_free(&n);
 *
 * Names come from hostile files: a duplicate is refused, and so is a table whose names were chosen
 * to collide, so that neither adding nor finding can become quadratic. */
#ifndef TFM_NAMES_INTERNAL_H
#define TFM_NAMES_INTERNAL_H

#include "base/base_internal.h"

#define TFM_NO_NAME UINT32_MAX

typedef struct tfm_name_slot {
    const char *name; /* NULL: free */
    uint32_t len;
    uint32_t index;
    uint64_t hash;
} tfm_name_slot;

/* {0} is empty. */
typedef struct tfm_names {
    tfm_name_slot *slot; /* [mask + 1], or NULL */
    size_t mask, n;
} tfm_names;

/* Borrows `name`, which must outlive the table. TFM_FORMAT: the name is there already. */
tfm_status tfm_names_add(tfm_names *t, const char *name, size_t len, uint32_t index,
                         tfm_error *err) TFM_MUST_CHECK;
/* Room for n names without growing: saves time where the number is known. */
tfm_status tfm_names_reserve(tfm_names *t, size_t n, tfm_error *err) TFM_MUST_CHECK;
uint32_t tfm_names_find(const tfm_names *t, const char *name, size_t len);
void tfm_names_free(tfm_names *t);

#endif
