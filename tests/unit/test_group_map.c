/* test_group_map.c - the group map against a plain array. */
#include "tfm/group_map.h"
#include "base/rng_internal.h"
#include "unit.h"

#define N 5000u

/* Adds and removes at random among crowded and spread numbers; find must always agree. */
static void agrees_with_array(void) {
    static char present[N];
    static char value[N];
    tfm_group_map *g;
    size_t count = 0;

    if (!CHECK_INT(tfm_group_map_new(&g, NULL), TFM_OK)) return;
    for (uint32_t i = 0; i < 40000; i++) {
        uint32_t k = (uint32_t)(tfm_rng_uniform(1, i, 0, 0, 0) * N);
        uint32_t group = k % 2 ? k : k * 65536u;
        if (tfm_rng_uniform(2, i, 0, 0, 0) < 0.5) {
            void **slot;
            CHECK_INT(tfm_group_map_slot(g, group, &slot, NULL), TFM_OK);
            CHECK(*slot == (present[k] ? &value[k] : NULL));
            *slot = &value[k];
            count += !present[k];
            present[k] = 1;
        } else {
            CHECK(tfm_group_map_remove(g, group) == (present[k] ? &value[k] : NULL));
            count -= (size_t)present[k];
            present[k] = 0;
        }
    }
    CHECK_INT(tfm_group_map_count(g), count);
    for (uint32_t k = 0; k < N; k++)
        CHECK(tfm_group_map_find(g, k % 2 ? k : k * 65536u) == (present[k] ? &value[k] : NULL));
    size_t at = 0, walked = 0;
    for (char *p; (p = tfm_group_map_next(g, &at)) != NULL; walked++) CHECK(present[p - value]);
    CHECK_INT(walked, count);
    tfm_group_map_free(g);
}

int main(void) {
    UNIT_RUN(agrees_with_array);
    return unit_done();
}
