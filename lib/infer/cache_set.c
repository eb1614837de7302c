/* cache_set.c - many caches, and which of them knows most of a prompt.
 *
 * They are kept in the order of their ids as words in a dictionary: what begins like a prompt for
 * the longest stands right before or right behind the prompt's own place. Sorted when first asked
 * after an addition, because a file is read whole before any prompt.
 */
#include <stdlib.h>

#include "infer/infer_internal.h"
#include "tfm/cache.h"

struct tfm_cache_set {
    tfm_cache **cache; /* [n] */
    size_t n, cap;
    bool is_sorted;
};

tfm_status tfm_cache_set_new(tfm_cache_set **out, tfm_error *err) {
    *out = NULL;
    return tfm_alloc((void **)out, 1, sizeof **out, err);
}

void tfm_cache_set_free(tfm_cache_set *set) {
    if (!set) return;
    for (size_t i = 0; i < set->n; i++) tfm_cache_free(set->cache[i]);
    tfm_free(set->cache);
    tfm_free(set);
}

tfm_status tfm_cache_set_add(tfm_cache_set *set, tfm_cache *c, tfm_error *err) {
    tfm_status st = tfm_grow((void **)&set->cache, &set->cap, set->n + 1, sizeof(tfm_cache *), err);
    if (st != TFM_OK) {
        tfm_cache_free(c);
        return st;
    }
    set->cache[set->n++] = c;
    set->is_sorted = false;
    return TFM_OK;
}

size_t tfm_cache_set_count(const tfm_cache_set *set) {
    return set->n;
}

/* Where ids [n] stand to the cache: < 0 before it, > 0 behind it. */
static int compare(const int32_t *ids, size_t n, const tfm_cache *c) {
    uint32_t n_own, same = tfm_cache_common(c, ids, n);
    const int32_t *own = tfm_cache_ids(c, &n_own);

    if (same == n || same == n_own) return n < n_own ? -1 : n > n_own;
    return ids[same] < own[same] ? -1 : 1;
}

static int by_ids(const void *a, const void *b) {
    uint32_t n;
    const int32_t *ids = tfm_cache_ids(*(tfm_cache *const *)a, &n);
    return compare(ids, n, *(tfm_cache *const *)b);
}

const tfm_cache *tfm_cache_set_best(tfm_cache_set *set, const int32_t *ids, size_t n) {
    const tfm_cache *best = NULL;
    size_t lo = 0, hi = set->n;
    uint32_t most = 0;

    if (!set->is_sorted && set->n) qsort(set->cache, set->n, sizeof(tfm_cache *), by_ids);
    set->is_sorted = true;
    while (lo < hi) { /* the first that does not stand before the prompt */
        size_t mid = lo + (hi - lo) / 2;
        if (compare(ids, n, set->cache[mid]) > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (size_t i = lo ? lo - 1 : 0; i <= lo && i < set->n; i++) {
        uint32_t same = tfm_cache_common(set->cache[i], ids, n);
        if (same <= most) continue;
        most = same;
        best = set->cache[i];
    }
    return best;
}
