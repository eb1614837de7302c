/* groups.c - which groups of a stream are open, and how far each has come.
 *
 * A hash table with linear probing and deletion by shifting back. Its memory follows the number of
 * open groups, each of which cost the sender at least 128 bytes; the hash is seeded by an address,
 * so that no file can be made to collide. */
#include "stream/stream_internal.h"

static size_t slot_of(const tfm_groups *g, uint32_t group) {
    uint32_t h = group ^ g->seed; /* a 32-bit finaliser: every input bit reaches every output bit */
    h = (h ^ h >> 16) * 0x7feb352du;
    h = (h ^ h >> 15) * 0x846ca68bu;
    return (h ^ h >> 16) & (g->cap - 1);
}

/* The slot of the group, or the empty one where it belongs. cap > used. */
static size_t find(const tfm_groups *g, uint32_t group) {
    size_t i = slot_of(g, group);
    while (g->slot[i].group != TFM_GROUP_ALL && g->slot[i].group != group)
        i = (i + 1) & (g->cap - 1);
    return i;
}

static tfm_status grow(tfm_groups *g, tfm_error *err) {
    tfm_groups bigger = {.cap = g->cap ? g->cap * 2 : 16, .used = g->used};
    void *p;
    TFM_TRY(tfm_alloc(&p, bigger.cap, sizeof *bigger.slot, err));
    bigger.slot = p;
    bigger.seed = (uint32_t)((uintptr_t)p >> 4) * 0x9e3779b9u;
    for (size_t i = 0; i < bigger.cap; i++) bigger.slot[i].group = TFM_GROUP_ALL;
    for (size_t i = 0; i < g->cap; i++)
        if (g->slot[i].group != TFM_GROUP_ALL)
            bigger.slot[find(&bigger, g->slot[i].group)] = g->slot[i];
    tfm_free(g->slot);
    *g = bigger;
    return TFM_OK;
}

static void remove_group(tfm_groups *g, uint32_t group) {
    if (g->cap == 0) return;
    size_t mask = g->cap - 1, hole = find(g, group);
    if (g->slot[hole].group != group) return;
    g->used--;
    for (size_t i = (hole + 1) & mask; g->slot[i].group != TFM_GROUP_ALL; i = (i + 1) & mask) {
        /* May the entry at i move to the hole: is its own place not between the two? */
        size_t home = slot_of(g, g->slot[i].group);
        if (((i - home) & mask) < ((i - hole) & mask)) continue;
        g->slot[hole] = g->slot[i];
        hole = i;
    }
    g->slot[hole].group = TFM_GROUP_ALL;
}

tfm_status tfm_groups_note(tfm_groups *g, const tfm_record *rec, tfm_error *err) {
    switch (rec->type) {
    case TFM_REC_TENSOR:
    case TFM_REC_TEXT:
    case TFM_REC_FORK:
    case TFM_REC_ERROR:
        if (rec->group == TFM_GROUP_ALL) return TFM_OK; /* the ERROR of a whole stream */
        break;
    case TFM_REC_GROUP_END: remove_group(g, rec->group); return TFM_OK;
    default: return TFM_OK;
    }
    if (g->used * 2 >= g->cap) TFM_TRY(grow(g, err));
    struct tfm_group_slot *s = &g->slot[find(g, rec->group)];
    if (s->group == TFM_GROUP_ALL) {
        *s = (struct tfm_group_slot){rec->group, 0};
        g->used++;
    }
    if (rec->type != TFM_REC_TENSOR) return TFM_OK;
    if (rec->position < s->position)
        return tfm_fail(err, TFM_FORMAT, "group %u goes back from position %u to %u", rec->group,
                        s->position, rec->position);
    s->position = rec->position;
    return TFM_OK;
}

void tfm_groups_clear(tfm_groups *g) {
    for (size_t i = 0; i < g->cap; i++) g->slot[i].group = TFM_GROUP_ALL;
    g->used = 0;
}

void tfm_groups_free(tfm_groups *g) {
    tfm_free(g->slot);
    *g = (tfm_groups){0};
}
