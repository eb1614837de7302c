/* special.c - added and control tokens in a text: leftmost, then longest, as Hugging Face's
 * tokenizers match them. Control tokens only where the caller asks (TFM_TOK_PARSE_SPECIAL, or the
 * marks of tfm_tokenize_marked): what people write must not turn into control by itself.
 *
 * The table is sorted by text, so all tokens that share the bytes seen so far are one range, which
 * each further byte narrows by binary search; no automaton has to be built at start.
 *
 * Where vocab.special_matching says so, a token is looked for in the normalised text instead (there
 * its text in the table is normalised, too), or counts only where it is a word of its own. */
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

static unsigned matching(const tfm_vocab *v, uint32_t i) {
    return v->special_matching ? v->special_matching[i] : 0;
}

static bool is_allowed(const tfm_vocab *v, uint32_t i, bool normal, bool control) {
    const int32_t id = v->special_ids[i];
    if (id < 0 || (uint32_t)id >= v->set.n) return false;
    if (((matching(v, i) & TFM_MATCH_NORMALISED) != 0) != normal) return false;
    unsigned f = v->flags[id];
    if (f & (TFM_TOKEN_CONTROL | TFM_TOKEN_UNKNOWN)) return control;
    return (f & TFM_TOKEN_ADDED) != 0;
}

/* The longest added token at text[i..n), or control token of at most control_n bytes: its place in
 * the table, or n_special. */
static uint32_t special_at(const tfm_tokenizer *t, bool normal, const unsigned char *text, size_t i,
                           size_t n, size_t control_n, size_t *best_len) {
    const tfm_vocab *v = t->v;
    uint32_t lo = t->special_from[text[i]], hi = t->special_from[text[i] + 1u];
    uint32_t best = v->n_special;
    *best_len = 0;
    for (size_t depth = 1; lo < hi; depth++) {
        size_t len;
        for (; lo < hi && (special_bytes(v, lo, &len), len <= depth); lo++) {
            if (len != depth || !is_allowed(v, lo, normal, depth <= control_n)) continue;
            if (*best_len < depth) best = lo; /* of the same text the lowest id */
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

/* Where the last character of s[from..to) begins, which is UTF-8; else *ok is false. */
static size_t last(const unsigned char *s, size_t from, size_t to, uint32_t *cp, bool *ok) {
    size_t i = to - 1;
    while (i > from && to - i < 4 && (s[i] & 0xc0) == 0x80) i--;
    *ok = true;
    if (tfm_utf8_decode(s + i, to - i, cp, ok) != to - i) *ok = false;
    return i;
}

/* White space at the end of s[from..to) is left to a token that asks for it. */
static size_t strip_right(const unsigned char *s, size_t from, size_t to) {
    while (to > from) {
        uint32_t cp;
        bool ok;
        size_t i = last(s, from, to, &cp, &ok);
        if (!ok || !tfm_is_space(cp)) break;
        to = i;
    }
    return to;
}

static size_t strip_left(const unsigned char *s, size_t from, size_t to) {
    while (from < to) {
        uint32_t cp;
        size_t len = tfm_utf8_decode(s + from, to - from, &cp, NULL);
        if (!tfm_is_space(cp)) break;
        from += len;
    }
    return from;
}

/* Is s[begin..end) of s[0..n) neither behind nor before a character of a word? */
static bool stands_alone(const unsigned char *s, size_t begin, size_t end, size_t n) {
    uint32_t cp;
    bool ok;
    if (begin > 0 && (last(s, 0, begin, &cp, &ok), ok && tfm_is_word(cp))) return false;
    if (end == n) return true;
    tfm_utf8_decode(s + end, n - end, &cp, &ok);
    return !ok || !tfm_is_word(cp);
}

/* How many of the bytes s[i..n), as many as a token may be long, may be those of a control
 * token. */
static size_t control_bytes(const tfm_tok_run *r, size_t i, size_t n) {
    if (r->marks == NULL) return r->flags & TFM_TOK_PARSE_SPECIAL ? n - i : 0;
    size_t most = n - i < TFM_SPECIAL_LEN_MAX ? n - i : TFM_SPECIAL_LEN_MAX;
    const unsigned char *end = memchr(r->marks + i, 0, most);
    return end ? (size_t)(end - (r->marks + i)) : most;
}

bool tfm_special_next(const tfm_tok_run *r, bool normal, const unsigned char *s, size_t n,
                      size_t done, size_t *at, tfm_special_hit *hit) {
    const tfm_tokenizer *t = r->t;
    const tfm_vocab *v = r->v;
    for (size_t i = *at, len; i < n;) {
        if (t->special_from[s[i]] == t->special_from[s[i] + 1u]) {
            i++;
            continue;
        }
        const size_t control_n = normal ? 0 : control_bytes(r, i, n);
        const uint32_t k = special_at(t, normal, s, i, n, control_n, &len);
        if (k == v->n_special) {
            i++;
            continue;
        }
        const size_t begin = i;
        i += len;
        if ((matching(v, k) & TFM_MATCH_WORD) && !stands_alone(s, begin, i, n)) continue;
        const unsigned flags = v->flags[v->special_ids[k]];
        *at = i;
        *hit = (tfm_special_hit){.id = v->special_ids[k], .begin = begin, .end = i};
        if (flags & TFM_TOKEN_LSTRIP) hit->begin = strip_right(s, done, begin);
        if (flags & TFM_TOKEN_RSTRIP) hit->end = strip_left(s, i, n);
        if (hit->begin < done && (flags & TFM_TOKEN_LSTRIP)) hit->begin = done;
        if (hit->begin < hit->end) return true; /* else the token before took it along */
    }
    *at = n;
    return false;
}
