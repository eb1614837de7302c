/* prefix.c - the table of shared pages: find, announce, fill, evict.
 *
 * Owns nodes and one reference on the page of each filled one. Filled nodes are in a list by last
 * use; a path is touched from its end to its beginning, so that parents are newer than their
 * children and the oldest node is a leaf as a rule. One with children is never evicted: they could
 * not be found any more.
 */
#include <string.h>

#include "infer/prefix_internal.h"

struct tfm_prefix_node {
    tfm_prefix_node *parent, *next_in_bucket;
    tfm_prefix_node *newer, *older; /* filled ones */
    const void *owner;
    uint64_t hash;
    uint32_t page, n_children;
    int32_t ids[TFM_KV_PAGE];
};

struct tfm_prefix {
    tfm_pages *pages;
    tfm_prefix_node **bucket; /* [n_buckets], a power of two */
    size_t n_buckets, n_nodes;
    tfm_prefix_node *newest, *oldest;
    uint32_t n_filled;
};

tfm_status tfm_prefix_new(tfm_prefix **out, tfm_pages *pages, tfm_error *err) {
    *out = NULL;
    TFM_TRY(tfm_alloc((void **)out, 1, sizeof **out, err));
    (*out)->pages = pages;
    return TFM_OK;
}

void tfm_prefix_free(tfm_prefix *px) {
    if (!px) return;
    for (size_t i = 0; i < px->n_buckets; i++)
        for (tfm_prefix_node *n = px->bucket[i], *next; n; n = next) {
            next = n->next_in_bucket;
            if (n->page != TFM_NO_PAGE) tfm_page_unref(px->pages, n->page);
            tfm_free(n);
        }
    tfm_free(px->bucket);
    tfm_free(px);
}

uint32_t tfm_prefix_page(const tfm_prefix_node *n) {
    return n->page;
}
const void *tfm_prefix_owner(const tfm_prefix_node *n) {
    return n->owner;
}
uint32_t tfm_prefix_count(const tfm_prefix *px) {
    return px->n_filled;
}

/* ---- the table ---- */

/* FNV-1a over whole ids, from the parent's hash on, so that it is one of the whole chain; then
 * mixed, because buckets are taken by the low bits. */
static uint64_t hash_of(const tfm_prefix_node *parent, const int32_t *ids) {
    uint64_t h = parent ? parent->hash : 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < TFM_KV_PAGE; i++) h = (h ^ (uint32_t)ids[i]) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    return h ^ h >> 33;
}

tfm_prefix_node *tfm_prefix_find(tfm_prefix *px, tfm_prefix_node *parent, const int32_t *ids) {
    if (px->n_buckets == 0) return NULL;
    uint64_t h = hash_of(parent, ids);
    tfm_prefix_node *n = px->bucket[h & (px->n_buckets - 1)];
    while (n && (n->hash != h || n->parent != parent || memcmp(n->ids, ids, sizeof n->ids) != 0))
        n = n->next_in_bucket;
    return n;
}

static tfm_status grow_table(tfm_prefix *px, tfm_error *err) {
    tfm_prefix_node **bucket = NULL;
    size_t n = px->n_buckets ? px->n_buckets * 2 : 64;

    if (px->n_nodes < px->n_buckets) return TFM_OK;
    TFM_TRY(tfm_alloc((void **)&bucket, n, sizeof(tfm_prefix_node *), err));
    for (size_t i = 0; i < px->n_buckets; i++)
        for (tfm_prefix_node *at = px->bucket[i], *next; at; at = next) {
            next = at->next_in_bucket;
            at->next_in_bucket = bucket[at->hash & (n - 1)];
            bucket[at->hash & (n - 1)] = at;
        }
    tfm_free(px->bucket);
    px->bucket = bucket;
    px->n_buckets = n;
    return TFM_OK;
}

tfm_status tfm_prefix_announce(tfm_prefix *px, tfm_prefix_node *parent, const int32_t *ids,
                               const void *owner, tfm_prefix_node **out, tfm_error *err) {
    tfm_prefix_node *n = NULL;

    *out = NULL;
    TFM_TRY(grow_table(px, err));
    TFM_TRY(tfm_alloc((void **)&n, 1, sizeof *n, err));
    n->parent = parent;
    n->owner = owner;
    n->page = TFM_NO_PAGE;
    n->hash = hash_of(parent, ids);
    memcpy(n->ids, ids, sizeof n->ids);
    n->next_in_bucket = px->bucket[n->hash & (px->n_buckets - 1)];
    px->bucket[n->hash & (px->n_buckets - 1)] = n;
    px->n_nodes++;
    if (parent) parent->n_children++;
    *out = n;
    return TFM_OK;
}

static void remove_node(tfm_prefix *px, tfm_prefix_node *n) {
    tfm_prefix_node **at = &px->bucket[n->hash & (px->n_buckets - 1)];
    while (*at != n) at = &(*at)->next_in_bucket;
    *at = n->next_in_bucket;
    if (n->parent) n->parent->n_children--;
    px->n_nodes--;
    tfm_free(n);
}

void tfm_prefix_withdraw(tfm_prefix *px, tfm_prefix_node *last) {
    const void *owner = last ? last->owner : NULL;
    while (last && last->page == TFM_NO_PAGE && last->owner == owner) {
        tfm_prefix_node *parent = last->parent;
        remove_node(px, last);
        last = parent;
    }
}

/* ---- by last use ---- */

static void unlink_node(tfm_prefix *px, tfm_prefix_node *n) {
    *(n->newer ? &n->newer->older : &px->newest) = n->older;
    *(n->older ? &n->older->newer : &px->oldest) = n->newer;
}

static void link_newest(tfm_prefix *px, tfm_prefix_node *n) {
    n->newer = NULL;
    n->older = px->newest;
    *(px->newest ? &px->newest->newer : &px->oldest) = n;
    px->newest = n;
}

void tfm_prefix_fill(tfm_prefix *px, tfm_prefix_node *n, uint32_t page) {
    n->page = page;
    n->owner = NULL;
    tfm_page_ref(px->pages, page);
    link_newest(px, n);
    px->n_filled++;
}

void tfm_prefix_touch(tfm_prefix *px, tfm_prefix_node *n) {
    for (; n; n = n->parent) {
        if (n->page == TFM_NO_PAGE) continue;
        unlink_node(px, n);
        link_newest(px, n);
    }
}

bool tfm_prefix_evict(tfm_prefix *px) {
    tfm_prefix_node *n = px->oldest;

    while (n && (n->n_children || tfm_page_refs(px->pages, n->page) > 1)) n = n->newer;
    if (!n) return false;
    unlink_node(px, n);
    tfm_page_unref(px->pages, n->page);
    px->n_filled--;
    remove_node(px, n);
    return true;
}
