/* merge.c - the heart of both tokenizers: neighbours are merged pair by pair, best pair first, the
 * leftmost of equals, until no pair can be merged.
 *
 * What a pair becomes and how good it is differs: BPE has a table of pairs in rank order (Sennrich
 * et al., 2016), SentencePiece takes the pair whose joined text is the piece of the highest score
 * (Kudo & Richardson, 2018). Both are a pure function of the pair, kept with the left symbol.
 *
 * Short pieces (nearly all words) are scanned; long ones use a heap of (rank, position) keys, so a
 * megabyte of one letter costs n log n. A key whose symbol has changed since is recognised because
 * the symbol's present pair has another rank; if it has the same rank, merging is right anyway. */
#include "text/text_internal.h"

#define NONE UINT32_MAX
#define NO_RANK UINT32_MAX

/* A float as an unsigned number, so that a higher score gives a lower number; NaN is last. */
static uint32_t score_rank(float score) {
    uint32_t bits;
    if (score != score) return NO_RANK - 1;
    score += 0.0f; /* -0 is 0 */
    memcpy(&bits, &score, 4);
    bits = bits >> 31 ? ~bits : bits | 0x80000000u; /* ascending with the score */
    return ~bits;
}

static size_t sym_end(const tfm_tok_run *r, uint32_t i, size_t text_len) {
    return r->sym[i].next == NONE ? text_len : r->sym[r->sym[i].next].start;
}

/* tfm_vocab_merge, by a cache of the pairs last asked for: the table of a large vocabulary (8 MB
 * for 128,000 pieces) does not fit near the processor, the pairs of a text mostly do. */
static int32_t merge_of(const tfm_tok_run *r, int32_t left, int32_t right, uint32_t *rank) {
    if (left < 0 || right < 0) return -1;
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    tfm_pair *p = &r->pairs[(h ^ h >> 32) >> 18 & (TFM_PAIRS - 1)];
    if (p->left1 != (uint32_t)left + 1 || p->right != right) {
        p->left1 = (uint32_t)left + 1;
        p->right = right;
        p->id = tfm_vocab_merge(r->v, left, right, &p->rank);
    }
    *rank = p->rank;
    return p->id;
}

/* Finds out what symbol i and its right neighbour would become. */
static void look(tfm_tok_run *r, const unsigned char *text, size_t text_len, uint32_t i) {
    tfm_sym *s = &r->sym[i];
    s->pair_id = -1;
    s->pair_rank = NO_RANK;
    if (s->next == NONE) return;
    if (r->v->set.type == TFM_VOCAB_BPE) {
        s->pair_id = merge_of(r, s->id, r->sym[s->next].id, &s->pair_rank);
        if (s->pair_id < 0 || r->v->set.byte_level || r->v->set.splitter.n > 0) return;
    }
    size_t len = sym_end(r, s->next, text_len) - s->start;
    if (r->v->set.type == TFM_VOCAB_BPE) {
        /* A piece must be what it spells: cuts.c relies on it, and the table may lie. */
        size_t n;
        const unsigned char *piece = tfm_vocab_bytes(r->v, (uint32_t)s->pair_id, &n);
        if (n != len || memcmp(piece, text + s->start, n) != 0) s->pair_id = -1;
        return;
    }
    s->pair_id = tfm_vocab_lookup_text(r->v, text + s->start, len);
    if (s->pair_id >= 0) s->pair_rank = score_rank(r->v->scores[s->pair_id]);
}

/* Joins symbol i and its right neighbour; looks at the two pairs that this changes. */
static void join(tfm_tok_run *r, const unsigned char *text, size_t text_len, uint32_t i) {
    tfm_sym *s = &r->sym[i];
    s->id = s->pair_id;
    r->sym[s->next].pair_id = -1;
    s->next = r->sym[s->next].next;
    if (s->next != NONE) r->sym[s->next].prev = i;
    look(r, text, text_len, i);
    if (s->prev != NONE) look(r, text, text_len, s->prev);
}

static void merge_short(tfm_tok_run *r, const unsigned char *text, size_t text_len) {
    for (;;) {
        uint32_t best = NONE;
        for (uint32_t i = 0; i != NONE; i = r->sym[i].next)
            if (r->sym[i].pair_id >= 0 &&
                (best == NONE || r->sym[i].pair_rank < r->sym[best].pair_rank))
                best = i;
        if (best == NONE) return;
        join(r, text, text_len, best);
    }
}

/* ---- a heap of u64 keys, four children a node: a node's children share a cache line ---- */

static void sift_down(uint64_t *heap, size_t n, size_t i) {
    uint64_t key = heap[i];
    for (;;) {
        size_t child = 4 * i + 1, best = child, end = child + 4 < n ? child + 4 : n;
        if (child >= n) break;
        for (size_t c = child + 1; c < end; c++)
            if (heap[c] < heap[best]) best = c;
        if (heap[best] >= key) break;
        heap[i] = heap[best];
        i = best;
    }
    heap[i] = key;
}

static tfm_status push(tfm_tok_run *r, size_t *n, uint32_t i) {
    const tfm_sym *s = &r->sym[i];
    if (s->pair_id < 0) return TFM_OK;
    if (*n == r->heap_cap) {
        void *p = r->heap;
        tfm_status st = tfm_grow(&p, &r->heap_cap, *n + 1, sizeof *r->heap, r->err);
        r->heap = p;
        if (st != TFM_OK) return st;
    }
    uint64_t key = (uint64_t)s->pair_rank << 32 | i;
    size_t at = (*n)++;
    for (; at > 0 && r->heap[(at - 1) / 4] > key; at = (at - 1) / 4)
        r->heap[at] = r->heap[(at - 1) / 4];
    r->heap[at] = key;
    return TFM_OK;
}

static tfm_status merge_long(tfm_tok_run *r, const unsigned char *text, size_t text_len, size_t n) {
    size_t size = 0;
    for (uint32_t i = 0; i < n; i++) TFM_TRY(push(r, &size, i));
    while (size > 0) {
        uint64_t key = r->heap[0];
        uint32_t i = (uint32_t)key;
        r->heap[0] = r->heap[--size];
        if (size > 0) sift_down(r->heap, size, 0);
        if (r->sym[i].pair_id < 0 || r->sym[i].pair_rank != (uint32_t)(key >> 32)) continue;
        join(r, text, text_len, i);
        TFM_TRY(push(r, &size, i));
        if (r->sym[i].prev != NONE) TFM_TRY(push(r, &size, r->sym[i].prev));
    }
    return TFM_OK;
}

tfm_status tfm_merge(tfm_tok_run *r, const unsigned char *text, size_t text_len, size_t n) {
    if (r->pairs == NULL && r->v->merges != NULL) {
        void *p;
        TFM_TRY(tfm_alloc(&p, TFM_PAIRS, sizeof *r->pairs, r->err));
        r->pairs = p;
    }
    for (uint32_t i = 0; i < n; i++) {
        r->sym[i].prev = i == 0 ? NONE : i - 1;
        r->sym[i].next = i + 1 == n ? NONE : i + 1;
    }
    for (uint32_t i = 0; i < n; i++) look(r, text, text_len, i);
    if (n > TFM_SMALL_PIECE) return merge_long(r, text, text_len, n);
    merge_short(r, text, text_len);
    return TFM_OK;
}
