/* unigram.c - SentencePiece's unigram model: of all ways to cut a text into pieces, the one with
 * the highest sum of scores (Viterbi; Kudo, 2018).
 *
 * One pass: from each character the trie gives every piece that begins there, and the best way to
 * each piece's end is kept. A character that is no piece by itself may be unknown, for a score 10
 * below the lowest. Where no piece reaches beyond the current place the way so far is final: it is
 * written out and its nodes are used again, so a long text needs little memory, and only the sum
 * goes on. How sums are rounded decides between ways that are nearly as good, so it is the model's:
 * single precision in SentencePiece, double in tokenizer.json. */
#include "text/text_internal.h"

enum { FLUSH_BYTES = 1024, UNKNOWN = -2 };

void tfm_unigram_scores(tfm_tokenizer *t) {
    const tfm_vocab *v = t->v;
    double least = 0, most = 0;
    bool any = false;
    for (uint32_t i = 0; i < v->n_leaves; i++) {
        if (v->map && v->map[i] == TFM_PAIR_NO_TEXT) continue;
        double score = v->scores[i];
        if (v->wide) memcpy(&score, v->wide + 2 * (size_t)i, sizeof score);
        /* Double precision is Hugging Face's, where every piece of the model counts. */
        if (v->wide ? score != score
                    : !v->map && (v->flags[i] & (TFM_NOT_TEXT | TFM_TOKEN_ADDED)) != 0)
            continue;
        if (!any || score < least) least = score;
        if (!any || score > most) most = score;
        any = true;
    }
    t->unknown_score = v->wide ? least - 10 : (double)((float)least - 10.0f);
    t->most_score = most;
}

/* The node at this place, made empty if it is new. */
static tfm_status node_at(tfm_tok_run *r, size_t at, size_t *top, tfm_best **out) {
    if (at >= r->best_cap) {
        void *p = r->best;
        tfm_status st = tfm_grow(&p, &r->best_cap, at + 1, sizeof *r->best, r->err);
        r->best = p;
        if (st != TFM_OK) return st;
    }
    while (*top < at) r->best[++*top].id = -1;
    *out = &r->best[at];
    return TFM_OK;
}

static void offer(const tfm_tok_run *r, tfm_best *b, double score, uint32_t from, int32_t id) {
    if (!r->v->wide) score = (double)(float)score;
    if (b->id != -1 && !(score > b->score)) return;
    *b = (tfm_best){.score = score, .from = from, .id = id};
}

/* An added token is text here only where normalising made it; SentencePiece prefers it. */
static double score_of(const tfm_tok_run *r, int32_t id, size_t len) {
    double wide;
    if (r->v->wide) {
        memcpy(&wide, r->v->wide + 2 * (size_t)id, sizeof wide);
        return wide;
    }
    if (!r->v->map && (r->v->flags[id] & TFM_TOKEN_ADDED))
        return (double)((float)len * (float)r->t->most_score) - 0.1;
    return (double)r->v->scores[id];
}

/* Offers all pieces at s[at..n) to the nodes where they end; nodes are counted from `base`. */
static tfm_status expand(tfm_tok_run *r, const unsigned char *s, size_t n, size_t base, size_t at,
                         size_t *top) {
    const uint32_t from = (uint32_t)(at - base);
    const double sum = r->best[from].score;
    const size_t most = n - at < TFM_TRIE_DEPTH ? n - at : TFM_TRIE_DEPTH;
    tfm_best *b;
    uint32_t cp, node = 0;
    size_t len = tfm_utf8_decode(s + at, n - at, &cp, NULL);
    bool whole = false;
    for (size_t k = 0; k < most; k++) {
        int32_t id;
        if (!tfm_trie_step(r->v, &node, s[at + k], &id)) break;
        if (id < 0 || (!r->v->map && (r->v->flags[id] & TFM_NOT_TEXT) != 0)) continue;
        TFM_TRY(node_at(r, from + k + 1, top, &b));
        offer(r, b, score_of(r, id, k + 1) + sum, from, id);
        whole = whole || k + 1 == len;
    }
    if (whole) return TFM_OK;
    TFM_TRY(node_at(r, from + len, top, &b));
    offer(r, b, r->t->unknown_score + sum, from, UNKNOWN);
    return TFM_OK;
}

/* Writes out the best way to node `end`; s is the text at node 0. */
static tfm_status write_way(tfm_tok_run *r, const unsigned char *s, uint32_t end) {
    for (uint32_t at = end; at > 0; at = r->best[at].from) r->best[r->best[at].from].to = at;
    if (r->v->map) return tfm_pair_write(r, s, end);
    for (uint32_t at = 0, to; at < end; at = to) {
        uint64_t before = r->unknown;
        to = r->best[at].to;
        int32_t id = r->best[to].id;
        if (id >= 0)
            TFM_TRY(tfm_ids_push(r->ids, id, r->err));
        else
            TFM_TRY(tfm_spell(r, s + at, to - at, r->after_unknown));
        r->after_unknown = r->unknown != before;
    }
    return TFM_OK;
}

tfm_status tfm_unigram_piece(tfm_tok_run *r, const unsigned char *s, size_t n) {
    size_t base = 0, top = 0, at = 0;
    tfm_best *b;
    r->after_unknown = false;
    TFM_TRY(node_at(r, 0, &top, &b));
    *b = (tfm_best){0};
    while (at < n) {
        uint32_t cp;
        /* In a pair a stretch that is unknown is one piece, and stays together. */
        const bool whole = !r->v->map || r->best[top].id != UNKNOWN || top >= TFM_STRETCH_MAX;
        if (at - base == top && top >= FLUSH_BYTES && whole) {
            double sum = r->best[top].score;
            TFM_TRY(write_way(r, s + base, (uint32_t)top));
            r->best[0] = (tfm_best){.score = sum};
            base = at;
            top = 0;
        }
        TFM_TRY(expand(r, s, n, base, at, &top));
        at += tfm_utf8_decode(s + at, n - at, &cp, NULL);
    }
    return write_way(r, s + base, (uint32_t)(n - base));
}
