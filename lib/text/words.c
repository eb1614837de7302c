/* words.c - a cache from a piece of text to its ids: most of any text is words seen before.
 *
 *     home = hash of the bytes -> two slots beside each other -> ids, or merge and keep
 *
 * Each run of a tokenizer has its own, so no lock stands between threads, and what is found is what
 * merging would give, so results never depend on what was seen before. Its size is fixed: a new
 * word pushes the older of its two neighbours out. Slots that were never written cost no memory
 * (calloc), so that a short text does not pay for the table. */
#include "text/text_internal.h"

enum {
    SLOTS = 1 << 15
}; /* 4 MiB; half of a slot's two cache lines is touched by nearly all words */

static uint64_t load8(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static uint64_t load4(const unsigned char *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* Not pinned, unlike tfm_hash_bytes: the last word overlaps the one before, so there is no tail. */
static uint64_t hash(const unsigned char *p, size_t n) {
    uint64_t h = tfm_hash_mix(0x74666d5f776f7264u, n);
    if (n > 8) {
        for (size_t i = 0; i + 8 < n; i += 8) h = tfm_hash_mix(h, load8(p + i));
        return tfm_hash_mix(h, load8(p + (n - 8)));
    }
    if (n >= 4) return tfm_hash_mix(h, load4(p) | load4(p + (n - 4)) << 32);
    return tfm_hash_mix(h, p[0] | (uint64_t)p[n / 2] << 8 | (uint64_t)p[n - 1] << 16);
}

static bool is_word(const tfm_word *w, const unsigned char *s, size_t n) {
    if (w->len != n) return false;
    if (n >= 8) {
        for (size_t i = 0; i + 8 < n; i += 8)
            if (load8(w->key + i) != load8(s + i)) return false;
        return load8(w->key + (n - 8)) == load8(s + (n - 8));
    }
    if (n >= 4) return load4(w->key) == load4(s) && load4(w->key + (n - 4)) == load4(s + (n - 4));
    return w->key[0] == s[0] && w->key[n / 2] == s[n / 2] && w->key[n - 1] == s[n - 1];
}

static void make(tfm_tok_run *r) {
    r->words_tried = true;
    if (tfm_alloc(&r->words_memory, SLOTS + 2, sizeof(tfm_word), NULL) != TFM_OK) return;
    /* Two slots, side by side, begin on a cache line. */
    r->words = (tfm_word *)(((uintptr_t)r->words_memory + 2 * sizeof(tfm_word) - 1) /
                            (2 * sizeof(tfm_word)) * (2 * sizeof(tfm_word)));
}

tfm_word *tfm_words_home(tfm_tok_run *r, const unsigned char *s, size_t n) {
    if (n == 0 || n > TFM_WORD_MAX) return NULL;
    if (r->words == NULL) {
        if (!r->words_tried) make(r);
        if (r->words == NULL) return NULL; /* no memory for it: slower, no less right */
    }
    tfm_word *w = r->words + ((hash(s, n) >> 20) & (SLOTS / 2 - 1)) * 2;
    __builtin_prefetch(w);
    __builtin_prefetch(w + 1);
    return w;
}

tfm_status tfm_words_find(tfm_tok_run *r, const tfm_word *home, const unsigned char *s, size_t n,
                          bool *found) {
    const tfm_word *w = home;
    *found = false;
    if (w == NULL || (!is_word(w, s, n) && !is_word(++w, s, n))) return TFM_OK;
    *found = true;
    TFM_TRY(tfm_ids_room(r->ids, TFM_WORD_IDS, r->err));
    int32_t *to = r->ids->data + r->ids->len;
    for (unsigned i = 0; i < w->n_ids; i++) to[i] = w->id[i];
    r->ids->len += w->n_ids;
    return TFM_OK;
}

void tfm_words_keep(tfm_word *home, const unsigned char *s, size_t n, const int32_t *ids,
                    size_t n_ids) {
    if (home == NULL || n_ids > TFM_WORD_IDS) return;
    home[1] = home[0];
    home->len = (uint8_t)n;
    home->n_ids = (uint8_t)n_ids;
    memcpy(home->key, s, n);
    memcpy(home->id, ids, n_ids * sizeof *ids);
}

void tfm_words_free(tfm_tok_run *r) {
    tfm_free(r->words_memory);
}
