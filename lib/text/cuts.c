/* cuts.c - where a text without pre-tokenizer may be cut before it is merged.
 *
 * While merging, every symbol that spans two characters is a piece of the vocabulary, letter by
 * letter (merge.c sees to that, whatever the tables say). So if no piece holds the characters x y
 * side by side, no symbol ever spans x and y: what is left and what is right of the cut are merged
 * as if they stood alone, and in the same order. Between a letter and a space (U+2581) that holds
 * for nearly all vocabularies, which makes words of the text, and words are found in the cache
 * (words.c).
 *
 * The pairs of neighbours in all pieces are kept as hashed bits. Two pairs may share a bit: then a
 * cut is not made where it could be. One pass over the vocabulary costs 0.5 ms for 32,000 pieces,
 * so it is made when a tokenizer has been given some text, not at start. */
#include "text/text_internal.h"

enum { BITS_MIN = 1 << 20, BITS_MAX = 1 << 23, BITS_PER_PIECE = 32 };

struct tfm_cuts {
    uint32_t mask;   /* number of bits - 1 */
    uint64_t bits[]; /* [(mask + 1) / 64] */
};

static uint32_t place(const tfm_cuts *c, uint32_t left, uint32_t right) {
    uint64_t h = ((uint64_t)left << 21 ^ right) * 0x9e3779b97f4a7c15u; /* 2^64 / golden ratio */
    return (uint32_t)(h >> 32) & c->mask;
}

bool tfm_cuts_between(const tfm_cuts *c, uint32_t left, uint32_t right) {
    uint32_t at = place(c, left, right);
    return (c->bits[at / 64] >> (at % 64) & 1) == 0;
}

tfm_status tfm_cuts_new(tfm_cuts **out, const tfm_vocab *v, tfm_error *err) {
    void *p;
    uint32_t n_bits = BITS_MIN;
    *out = NULL;
    while (n_bits < BITS_MAX && n_bits / BITS_PER_PIECE < v->set.n) n_bits *= 2;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_cuts) + n_bits / 8, err));
    tfm_cuts *c = p;
    c->mask = n_bits - 1;
    for (uint32_t id = 0; id < v->set.n; id++) {
        size_t len, i;
        uint32_t left, right;
        const unsigned char *s = tfm_vocab_bytes(v, id, &len);
        if (len == 0) continue;
        for (i = tfm_utf8_decode(s, len, &left, NULL); i < len; left = right) {
            i += tfm_utf8_decode(s + i, len - i, &right, NULL);
            uint32_t at = place(c, left, right);
            c->bits[at / 64] |= (uint64_t)1 << (at % 64);
        }
    }
    *out = c;
    return TFM_OK;
}

void tfm_cuts_free(tfm_cuts *c) {
    tfm_free(c);
}
