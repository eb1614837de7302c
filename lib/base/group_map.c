/* group_map.c - the map of tfm/group_map.h: open addressing, linear probing, removal by moving up.
 *
 * The table is at most half full. The number is spread by a multiplication and its upper bits are
 * used, so that rows of consecutive numbers, the usual case, do not collide; whoever picks numbers
 * to collide can make a chain no longer than the groups he keeps open.
 */
#include "base/base_internal.h"
#include "tfm/group_map.h"

typedef struct entry {
    uint32_t group;
    bool is_used;
    void *value;
} entry;

struct tfm_group_map {
    entry *entry; /* [1 << bits] */
    unsigned bits;
    size_t count;
};

#define FIRST_BITS 4u

static size_t size_of(const tfm_group_map *g) {
    return (size_t)1 << g->bits;
}

static size_t place(const tfm_group_map *g, uint32_t group) {
    uint64_t spread = (uint64_t)group * 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio (Knuth) */
    size_t mask = size_of(g) - 1, i = (size_t)(spread >> (64 - g->bits));
    while (g->entry[i].is_used && g->entry[i].group != group) i = (i + 1) & mask;
    return i;
}

tfm_status tfm_group_map_new(tfm_group_map **out, tfm_error *err) {
    tfm_group_map *g = NULL;

    *out = NULL;
    TFM_TRY(tfm_alloc((void **)&g, 1, sizeof *g, err));
    g->bits = FIRST_BITS;
    tfm_status st = tfm_alloc((void **)&g->entry, size_of(g), sizeof *g->entry, err);
    if (st != TFM_OK) {
        tfm_free(g);
        return st;
    }
    *out = g;
    return TFM_OK;
}

void tfm_group_map_free(tfm_group_map *g) {
    if (!g) return;
    tfm_free(g->entry);
    tfm_free(g);
}

size_t tfm_group_map_count(const tfm_group_map *g) {
    return g->count;
}

void *tfm_group_map_find(const tfm_group_map *g, uint32_t group) {
    return g->entry[place(g, group)].value;
}

static tfm_status widen(tfm_group_map *g, tfm_error *err) {
    entry *old = g->entry;
    size_t n = size_of(g);

    entry *wide = NULL;
    TFM_TRY(tfm_alloc((void **)&wide, n * 2, sizeof *wide, err));
    g->entry = wide;
    g->bits++;
    for (size_t i = 0; i < n; i++)
        if (old[i].is_used) g->entry[place(g, old[i].group)] = old[i];
    tfm_free(old);
    return TFM_OK;
}

tfm_status tfm_group_map_slot(tfm_group_map *g, uint32_t group, void ***slot, tfm_error *err) {
    *slot = NULL;
    size_t i = place(g, group);
    if (!g->entry[i].is_used) {
        if (2 * (g->count + 1) > size_of(g)) {
            TFM_TRY(widen(g, err));
            i = place(g, group);
        }
        g->entry[i] = (entry){.group = group, .is_used = true};
        g->count++;
    }
    *slot = &g->entry[i].value;
    return TFM_OK;
}

void *tfm_group_map_remove(tfm_group_map *g, uint32_t group) {
    size_t mask = size_of(g) - 1, i = place(g, group);
    void *value = g->entry[i].value;

    if (!g->entry[i].is_used) return NULL;
    g->entry[i] = (entry){.is_used = false};
    g->count--;
    for (size_t k = (i + 1) & mask; g->entry[k].is_used; k = (k + 1) & mask) {
        entry moved = g->entry[k];
        g->entry[k] = (entry){.is_used = false};
        g->entry[place(g, moved.group)] = moved;
    }
    return value;
}

void *tfm_group_map_next(const tfm_group_map *g, size_t *at) {
    while (*at < size_of(g)) {
        const entry *e = &g->entry[(*at)++];
        if (e->is_used && e->value) return e->value;
    }
    return NULL;
}
