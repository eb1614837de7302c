/* score.h - how likely a model finds given text: the log-probability of each of its tokens.
 *
 *     tfm_scorer *s;
 *     tfm_score_options o = {0};
 *     TFM_TRY(tfm_scorer_new(&s, engine, &o, err));
 *     TFM_TRY(tfm_scorer_add(s, 0, ids, n_ids, 1, err));           // group 0, from token 1 on
 *     tfm_scored r;
 *     while ((st = tfm_scorer_next(s, &r, err)) == TFM_OK)
 *         if (r.type == TFM_SCORED_TEXT) use(r.score, r.n - r.from); // TFM_DONE: add more or free
 *
 * The score of a token is the log-softmax of the logits of the row before it, in double, added in
 * ascending order of ids: the same bits whatever else is in the batch, on one backend. The first
 * token of a text has no row before it, so it has no score.
 *
 * A text longer than the context fails, unless there is a stride: then windows of the context's
 * length begin at every multiple of it, each computed by itself, and a token is scored in the first
 * window that reaches it. So all tokens but those of the first window have at least context -
 * stride tokens before them.
 */
#ifndef TFM_SCORE_H
#define TFM_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/infer.h"
#include "tfm/status.h"

typedef struct tfm_score_options {
    uint32_t stride;     /* 0: none; else below the context */
    bool rows;           /* report the whole distribution behind every scored token, too */
    uint32_t sequences;  /* texts in one batch at most; 0: 64 */
    uint32_t row_budget; /* rows of one batch; 0: 512 */
} tfm_score_options;

typedef enum tfm_scored_type {
    TFM_SCORED_ROW,  /* with `rows`: a distribution of the text, in ascending order of position */
    TFM_SCORED_TEXT, /* the text is complete */
    TFM_SCORED_ERROR /* the text failed; nothing more comes of it */
} tfm_scored_type;

/* What is borrowed lives until the next call. */
typedef struct tfm_scored {
    tfm_scored_type type;
    uint32_t group;
    const int32_t *ids;  /* [n]; TEXT */
    uint32_t n, from;    /* TEXT: tokens [from, n) have scores; from <= n */
    const double *score; /* [n - from]; TEXT: natural logarithms, 0 or less */
    uint32_t position;   /* ROW: of the row; the token at position + 1 is what it foretells */
    const float *row;    /* [n_vocab]; ROW: log-probabilities */
    const char *message; /* ERROR */
} tfm_scored;

typedef struct tfm_scorer tfm_scorer;
/* Borrows e. TFM_USAGE: a stride that is not below the context. */
TFM_API tfm_status tfm_scorer_new(tfm_scorer **out, tfm_engine *e, const tfm_score_options *o,
                                  tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_scorer_free(tfm_scorer *s);
/* Adds a text (copied); tokens before `from` are read but not scored (0 is taken as 1). An id
 * outside the vocabulary, or more tokens than the context without a stride, is an ERROR of that
 * text. Texts are reported in the order added. A text of one token or none is complete without a
 * score. */
TFM_API tfm_status tfm_scorer_add(tfm_scorer *s, uint32_t group, const int32_t *ids, size_t n,
                                  size_t from, tfm_error *err) TFM_MUST_CHECK;
/* A text that failed before it got here: keeps its place in the order. */
TFM_API tfm_status tfm_scorer_add_failed(tfm_scorer *s, uint32_t group, const char *message,
                                         tfm_error *err) TFM_MUST_CHECK;
/* Texts added and not yet wholly reported. */
TFM_API size_t tfm_scorer_open(const tfm_scorer *s);
/* The next report; computes when none is ready. TFM_DONE: no text is open. */
TFM_API tfm_status tfm_scorer_next(tfm_scorer *s, tfm_scored *out, tfm_error *err) TFM_MUST_CHECK;

/* exp(nll / n), the perplexity of n tokens whose negative log-probabilities add up to nll; NaN for
 * no tokens. */
TFM_API double tfm_perplexity(double nll, uint64_t n);

#endif
