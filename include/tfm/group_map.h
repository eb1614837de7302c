/* group_map.h - a map from group number to whatever a stage keeps for that group.
 *
 *     tfm_group_map *map;
 *     void **slot;
 *     TFM_TRY(tfm_group_map_new(&map, err));
 *     TFM_TRY(tfm_group_map_slot(map, rec.group, &slot, err));
 *     if (!*slot) *slot = my_state_new();
 *     ...
 *     tfm_group_map_remove(map, rec.group);
 *
 * Records of different groups interleave, so every stage that keeps something needs this. Look-up
 * is one hash step whatever the numbers are. The map owns its table, never the values.
 */
#ifndef TFM_GROUP_MAP_H
#define TFM_GROUP_MAP_H

#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"

typedef struct tfm_group_map tfm_group_map;

TFM_API tfm_status tfm_group_map_new(tfm_group_map **out, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_group_map_free(tfm_group_map *g);
TFM_API size_t tfm_group_map_count(const tfm_group_map *g);
/* The value of `group`, or NULL. */
TFM_API void *tfm_group_map_find(const tfm_group_map *g, uint32_t group);
/* Where the value of `group` is kept; makes room with a NULL value if it is new. Valid until the
 * next call that adds or removes. */
TFM_API tfm_status tfm_group_map_slot(tfm_group_map *g, uint32_t group, void ***slot,
                                      tfm_error *err) TFM_MUST_CHECK;
/* Forgets the group; returns its value. */
TFM_API void *tfm_group_map_remove(tfm_group_map *g, uint32_t group);
/* Walks in no particular order: start with *at = 0; returns NULL after the last value. */
TFM_API void *tfm_group_map_next(const tfm_group_map *g, size_t *at);

#endif
