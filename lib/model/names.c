/* names.c - the hash table of names: open addressing, linear probing, at most half full.
 *
 * The hash is fixed (the library keeps no global state to seed it), so an attacker can make names
 * that collide. The cure is a bound on the length of a probe: at half load an honest table of
 * 65,536 names stays two orders of magnitude below it. */
#include <string.h>

#include "model/names_internal.h"

enum { FIRST_SLOTS = 64, MAX_PROBE = 4096 };

/* FNV-1a, then the finaliser of splitmix64, so that the low bits depend on every byte. */
static uint64_t hash_name(const char *s, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

static bool same(const tfm_name_slot *s, uint64_t hash, const char *name, size_t len) {
    return s->hash == hash && s->len == len && memcmp(s->name, name, len) == 0;
}

/* The slot that holds the name, or the free one where it belongs; NULL past MAX_PROBE. */
static tfm_name_slot *locate(const tfm_names *t, uint64_t hash, const char *name, size_t len) {
    for (size_t i = 0; i < MAX_PROBE; i++) {
        tfm_name_slot *s = &t->slot[(hash + i) & t->mask];
        if (!s->name || same(s, hash, name, len)) return s;
    }
    return NULL;
}

/* Moves everything into a table of n slots, a power of two. */
static tfm_status resize(tfm_names *t, size_t n, tfm_error *err) {
    tfm_names wider = {.mask = n - 1, .n = t->n};
    void *p;
    TFM_TRY(tfm_alloc(&p, n, sizeof *wider.slot, err));
    wider.slot = p;
    for (size_t i = 0; t->slot && i <= t->mask; i++) {
        const tfm_name_slot *old = &t->slot[i];
        if (!old->name) continue;
        tfm_name_slot *s = locate(&wider, old->hash, old->name, old->len);
        if (!s) {
            tfm_free(wider.slot);
            return tfm_fail(err, TFM_LIMIT, "too many names collide");
        }
        *s = *old;
    }
    tfm_free(t->slot);
    *t = wider;
    return TFM_OK;
}

tfm_status tfm_names_reserve(tfm_names *t, size_t n, tfm_error *err) {
    size_t slots = FIRST_SLOTS;
    while (slots / 2 < n && slots <= SIZE_MAX / 4) slots *= 2;
    return t->slot && slots <= t->mask + 1 ? TFM_OK : resize(t, slots, err);
}

tfm_status tfm_names_add(tfm_names *t, const char *name, size_t len, uint32_t index,
                         tfm_error *err) {
    if (len > UINT32_MAX || index == TFM_NO_NAME)
        return tfm_fail(err, TFM_LIMIT, "a name of %zu bytes is too long", len);
    if (!t->slot || t->n >= (t->mask + 1) / 2) TFM_TRY(tfm_names_reserve(t, t->n + 1, err));
    uint64_t hash = hash_name(name, len);
    tfm_name_slot *s = locate(t, hash, name, len);
    if (!s) return tfm_fail(err, TFM_LIMIT, "too many names collide");
    if (s->name)
        return tfm_fail(err, TFM_FORMAT, "'%.*s' is there twice", len < 256 ? (int)len : 256, name);
    *s = (tfm_name_slot){.name = name, .len = (uint32_t)len, .index = index, .hash = hash};
    t->n++;
    return TFM_OK;
}

uint32_t tfm_names_find(const tfm_names *t, const char *name, size_t len) {
    if (!t->slot) return TFM_NO_NAME;
    const tfm_name_slot *s = locate(t, hash_name(name, len), name, len);
    return s && s->name ? s->index : TFM_NO_NAME;
}

void tfm_names_free(tfm_names *t) {
    tfm_free(t->slot);
    *t = (tfm_names){0};
}
