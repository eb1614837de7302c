/* special.c - added and control tokens in a text: leftmost, then longest, as Hugging Face's
 * tokenizers match them. Control tokens only where the caller asks (TFM_TOK_PARSE_SPECIAL, or the
 * marks of tfm_tokenize_marked): what people write must not turn into control by itself.
 *
 * The table is sorted by text, so all tokens that share the bytes seen so far are one range, which
 * each further byte narrows by binary search; no automaton has to be built at start. */
#include "text/text_internal.h"

static const unsigned char *special_bytes(const tfm_vocab *v, uint32_t i, size_t *len) {
    uint32_t from = v->special_offsets[i], to = v->special_offsets[i + 1];
    if (from > to || to > v->special_len || to - from > TFM_SPECIAL_LEN_MAX) {
        *len = 0;
        return v->special_text;
    }
    *len = to - from;
    return v->special_text + from;
}

/* The first byte ranges, by one pass over the (few) special tokens. */
void tfm_special_index(tfm_tokenizer *t) {
    const tfm_vocab *v = t->v;
    uint32_t i = 0;
    for (unsigned c = 0; c < 256; c++) {
        t->special_from[c] = i;
        for (; i < v->n_special; i++) {
            size_t len;
            const unsigned char *p = special_bytes(v, i, &len);
            if (len == 0 || p[0] > c) break;
        }
    }
    t->special_from[256] = i;
}

/* The first entry in [lo, hi) whose byte at `depth` is >= c (entries are longer than depth). */
static uint32_t lower(const tfm_vocab *v, uint32_t lo, uint32_t hi, size_t depth, unsigned c) {
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        size_t len;
        const unsigned char *p = special_bytes(v, mid, &len);
        if (len > depth && p[depth] >= c)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

static bool is_allowed(const tfm_vocab *v, int32_t id, bool control) {
    if (id < 0 || (uint32_t)id >= v->set.n) return false;
    unsigned f = v->flags[id];
    if (f & (TFM_TOKEN_CONTROL | TFM_TOKEN_UNKNOWN)) return control;
    return (f & TFM_TOKEN_ADDED) != 0;
}

int32_t tfm_special_at(const tfm_tokenizer *t, const unsigned char *text, size_t i, size_t n,
                       size_t control_n, size_t *best_len) {
    const tfm_vocab *v = t->v;
    uint32_t lo = t->special_from[text[i]], hi = t->special_from[text[i] + 1u];
    int32_t best = -1;
    for (size_t depth = 1; lo < hi; depth++) {
        size_t len;
        for (; lo < hi && (special_bytes(v, lo, &len), len <= depth); lo++) {
            if (len != depth || !is_allowed(v, v->special_ids[lo], depth <= control_n)) continue;
            if (best < 0 || *best_len < depth) best = v->special_ids[lo];
            *best_len = depth;
        }
        if (i + depth >= n || lo >= hi) break;
        unsigned c = text[i + depth];
        uint32_t from = lower(v, lo, hi, depth, c);
        hi = lower(v, from, hi, depth, c + 1);
        lo = from;
    }
    return best;
}
