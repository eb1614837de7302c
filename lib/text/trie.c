/* trie.c - the pieces of a unigram vocabulary as a trie in a hash table, so that all pieces that
 * begin at one place in a text are found in one walk.
 *
 * A slot is one edge: from a node, by a byte, to a child, and the piece that ends there. Node 0 is
 * the root. The table stands in files and may lie; a walk is as long as the caller lets it be. */
#include <stdlib.h>

#include "text/text_internal.h"

static uint32_t slot_of(uint32_t node, unsigned byte) {
    return (uint32_t)tfm_hash_pair((int32_t)node, (int32_t)byte);
}

bool tfm_trie_step(const tfm_vocab *v, uint32_t *node, unsigned byte, int32_t *id) {
    uint32_t at = slot_of(*node, byte) & v->trie_mask;
    for (int probe = 0; probe < TFM_PROBE_MAX; probe++, at = (at + 1) & v->trie_mask) {
        const tfm_trie_slot *s = &v->trie[at];
        if (s->byte1 == 0) return false;
        if (s->byte1 != byte + 1 || s->node != *node) continue;
        *node = s->child;
        *id = s->id1 > 0 && s->id1 <= v->n_leaves ? (int32_t)(s->id1 - 1) : -1;
        return true;
    }
    return false;
}

/* ---- building ---- */

static int by_bytes(const void *x, const void *y) {
    const tfm_trie_key *a = x, *b = y;
    size_t n = a->len < b->len ? a->len : b->len;
    int c = n ? memcmp(a->p, b->p, n) : 0;
    if (c != 0) return c;
    if (a->len != b->len) return a->len < b->len ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static uint32_t shared(const tfm_trie_key *a, const tfm_trie_key *b) {
    uint32_t i = 0;
    while (i < a->len && i < b->len && a->p[i] == b->p[i]) i++;
    return i;
}

tfm_status tfm_trie_sort(tfm_trie_key *key, uint32_t n, uint32_t *edges, tfm_error *err) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (key[i].len > TFM_TRIE_DEPTH)
            return tfm_fail(err, TFM_LIMIT, "vocabulary: piece %u has %u bytes; at most %d",
                            key[i].id, key[i].len, TFM_TRIE_DEPTH);
    qsort(key, n, sizeof *key, by_bytes);
    for (uint32_t i = 0; i < n; i++) count += key[i].len - (i ? shared(&key[i - 1], &key[i]) : 0);
    if (count >= 1u << 28) return tfm_fail(err, TFM_LIMIT, "vocabulary: pieces of over 256 MiB");
    *edges = (uint32_t)count;
    return TFM_OK;
}

tfm_status tfm_trie_keys(const tfm_vocab *v, const double *wide, tfm_trie_key **out, uint32_t *n,
                         uint32_t *edges, tfm_error *err) {
    void *p;
    *n = 0;
    TFM_TRY(tfm_alloc(&p, v->set.n, sizeof(tfm_trie_key), err));
    tfm_trie_key *key = p;
    for (uint32_t id = 0; id < v->set.n; id++) {
        size_t len;
        const unsigned char *s = tfm_vocab_bytes(v, id, &len);
        if (len == 0 || (v->flags[id] & TFM_NOT_TEXT) != 0 || (wide && wide[id] != wide[id]))
            continue;
        key[(*n)++] = (tfm_trie_key){s, (uint32_t)len, id};
    }
    tfm_status st = tfm_trie_sort(key, *n, edges, err);
    *out = st == TFM_OK ? key : NULL;
    if (st != TFM_OK) tfm_free(key);
    return st;
}

static bool insert(tfm_trie_slot *slots, uint32_t mask, tfm_trie_slot s) {
    uint32_t at = slot_of(s.node, s.byte1 - 1) & mask;
    for (int probe = 0; probe < TFM_PROBE_MAX; probe++, at = (at + 1) & mask)
        if (slots[at].byte1 == 0) {
            slots[at] = s;
            return true;
        }
    return false;
}

/* Keys are sorted, so each shares a path with the one before; equal ones: the first id counts. */
bool tfm_trie_fill(tfm_trie_slot *slots, uint32_t mask, const tfm_trie_key *key, uint32_t n) {
    uint32_t path[TFM_TRIE_DEPTH + 1] = {0}, nodes = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = i ? shared(&key[i - 1], &key[i]) : 0; k < key[i].len; k++) {
            tfm_trie_slot s = {.node = path[k], .byte1 = key[i].p[k] + 1u, .child = ++nodes};
            if (k + 1 == key[i].len) s.id1 = key[i].id + 1;
            path[k + 1] = nodes;
            if (!insert(slots, mask, s)) return false;
        }
    }
    return true;
}
