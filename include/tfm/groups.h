/* groups.h - a map from group number to whatever a stage keeps for that group.
 *
 *     tfm_groups *map;
 *     void **slot;
 *     TFM_TRY(tfm_groups_new(&map, err));
 *     TFM_TRY(tfm_groups_slot(map, rec.group, &slot, err));
 *     if (!*slot) *slot = my_state_new();
 *     ...
 *     tfm_groups_remove(map, rec.group);
 *
 * Records of different groups interleave, so every stage that keeps something needs this. Look-up is
 * one hash step whatever the numbers are. The map owns its table, never the values.
 */
#ifndef TFM_GROUPS_H
#define TFM_GROUPS_H

#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"

typedef struct tfm_groups tfm_groups;

TFM_API tfm_status tfm_groups_new(tfm_groups **out, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_groups_free(tfm_groups *g);
TFM_API size_t tfm_groups_count(const tfm_groups *g);
/* The value of `group`, or NULL. */
TFM_API void *tfm_groups_find(const tfm_groups *g, uint32_t group);
/* Where the value of `group` is kept; makes room with a NULL value if it is new. Valid until the next
 * call that adds or removes. */
TFM_API tfm_status tfm_groups_slot(tfm_groups *g, uint32_t group, void ***slot,
                                   tfm_error *err) TFM_MUST_CHECK;
/* Forgets the group; returns its value. */
TFM_API void *tfm_groups_remove(tfm_groups *g, uint32_t group);
/* Walks in no particular order: start with *at = 0; returns NULL after the last value. */
TFM_API void *tfm_groups_next(const tfm_groups *g, size_t *at);

#endif
