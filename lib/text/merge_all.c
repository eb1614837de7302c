/* merge_all.c - the merges of a vocabulary that has none but its pieces, as tiktoken has it: any
 * two neighbours merge that together are a piece, the one with the lowest id first. As a table of
 * pairs this is BPE like any other; several pairs then have one rank, and of these the leftmost in
 * the text goes first, here as there. */
#include "text/text_internal.h"

enum { PAIRS_MAX = 1 << 26, PIECE_MAX = 1024 }; /* what a piece may cost is its length squared */

static tfm_status splits_of(const tfm_vocab *v, uint32_t id, tfm_buf *pairs, tfm_error *err) {
    size_t n;
    const unsigned char *p = tfm_vocab_bytes(v, id, &n);
    if (n > PIECE_MAX)
        return tfm_fail(err, TFM_LIMIT, "vocabulary: piece %u has %zu bytes; at most %d", id, n,
                        PIECE_MAX);
    int32_t same = n > 0 ? tfm_vocab_lookup(v, p, n) : (int32_t)id;
    if (same != (int32_t)id)
        return tfm_fail(err, TFM_FORMAT, "vocabulary: tokens %d and %u are the same", (int)same,
                        id);
    for (size_t i = 1; i < n; i++) {
        int32_t left, right;
        if ((p[i] & 0xc0) == 0x80) continue; /* within a character of the byte alphabet */
        if ((left = tfm_vocab_lookup_text(v, p, i)) < 0) continue;
        if ((right = tfm_vocab_lookup_text(v, p + i, n - i)) < 0) continue;
        tfm_merge_slot m = {left, right, id + 1, (int32_t)id};
        TFM_TRY(tfm_buf_add(pairs, &m, sizeof m, err));
    }
    return TFM_OK;
}

tfm_status tfm_merge_all(const tfm_vocab *v, tfm_merge_slot **out, uint32_t *n, tfm_error *err) {
    tfm_buf pairs = {0};
    tfm_status st = TFM_OK;
    for (uint32_t id = 0; id < v->set.n && st == TFM_OK; id++) {
        if ((v->flags[id] & (TFM_NOT_TEXT | TFM_TOKEN_ADDED)) == 0)
            st = splits_of(v, id, &pairs, err);
        if (st == TFM_OK && pairs.len / sizeof(tfm_merge_slot) > PAIRS_MAX)
            st = tfm_fail(err, TFM_LIMIT, "vocabulary: more than %d pairs of pieces", PAIRS_MAX);
    }
    *out = (tfm_merge_slot *)(void *)pairs.data;
    *n = (uint32_t)(pairs.len / sizeof(tfm_merge_slot));
    return st;
}
