/* sample.c - logits to the next id: penalties, temperature, top-k, top-p, min-p, the draw.
 *
 * Owns the order of these and nothing of generation. A draw is a pure function of (logits, history,
 * options, seed, group, sample, position): the random number is counter-based, candidates are taken
 * by (logit descending, id ascending), sums run in double in that one order. Candidates come off a
 * heap as long as the filters want more, so a vocabulary of 262,144 is never sorted whole.
 */
#include <math.h>
#include <string.h>

#include "backend/math_internal.h"
#include "base/base_internal.h"
#include "base/rng_internal.h"
#include "tfm/infer.h"

typedef struct candidate {
    float logit;
    int32_t id;
} candidate;

struct tfm_sampler {
    tfm_sampling options;
    uint32_t n_vocab;
    float *logit;    /* [n_vocab] penalised copy */
    uint32_t *count; /* [n_vocab] occurrences in the history, zero between calls */
    candidate *heap; /* [n_vocab] */
    double *weight;  /* [n_vocab] exp(logit - max) of the kept ones, in order */
};

void tfm_sampler_free(tfm_sampler *s) {
    if (!s) return;
    tfm_free(s->logit);
    tfm_free(s->count);
    tfm_free(s->heap);
    tfm_free(s->weight);
    tfm_free(s);
}

static tfm_status check_options(const tfm_sampling *o, tfm_error *err) {
    if (!(o->temperature >= 0.0f && o->temperature <= 1e6f))
        return tfm_fail(err, TFM_USAGE, "temperature %g: give a number from 0 to 1e6",
                        (double)o->temperature);
    if (!(o->top_p >= 0.0f && o->top_p <= 1.0f))
        return tfm_fail(err, TFM_USAGE, "top-p %g: give a number from 0 to 1", (double)o->top_p);
    if (!(o->min_p >= 0.0f && o->min_p <= 1.0f))
        return tfm_fail(err, TFM_USAGE, "min-p %g: give a number from 0 to 1", (double)o->min_p);
    if (!(o->repeat_penalty >= 0.0f && o->repeat_penalty <= 1e6f))
        return tfm_fail(err, TFM_USAGE, "repeat penalty %g: give a number from 0 to 1e6",
                        (double)o->repeat_penalty);
    if (!isfinite(o->presence_penalty) || !isfinite(o->frequency_penalty))
        return tfm_fail(err, TFM_USAGE, "presence and frequency penalties must be finite");
    return TFM_OK;
}

tfm_status tfm_sampler_new(tfm_sampler **out, const tfm_sampling *o, uint32_t n_vocab,
                           tfm_error *err) {
    tfm_sampler *s = NULL;
    tfm_status st;

    *out = NULL;
    TFM_TRY(check_options(o, err));
    if (n_vocab == 0) return tfm_fail(err, TFM_USAGE, "sampling needs a vocabulary of one or more");
    if ((st = tfm_alloc((void **)&s, 1, sizeof *s, err)) != TFM_OK) return st;
    s->options = *o;
    s->n_vocab = n_vocab;
    if (s->options.top_p == 0.0f) s->options.top_p = 1.0f;
    if (s->options.repeat_penalty == 0.0f) s->options.repeat_penalty = 1.0f;
    if ((st = tfm_alloc((void **)&s->logit, n_vocab, sizeof *s->logit, err)) != TFM_OK ||
        (st = tfm_alloc((void **)&s->count, n_vocab, sizeof *s->count, err)) != TFM_OK ||
        (st = tfm_alloc((void **)&s->heap, n_vocab, sizeof *s->heap, err)) != TFM_OK ||
        (st = tfm_alloc((void **)&s->weight, n_vocab, sizeof *s->weight, err)) != TFM_OK) {
        tfm_sampler_free(s);
        return st;
    }
    *out = s;
    return TFM_OK;
}

/* ---- penalties ---- */

/* Copies logits into s->logit and applies the penalties to every id of the last `penalty_last`. */
static void penalise(tfm_sampler *s, const float *logits, const int32_t *history, size_t n) {
    const tfm_sampling *o = &s->options;
    size_t first = o->penalty_last && o->penalty_last < n ? n - o->penalty_last : 0;

    memcpy(s->logit, logits, s->n_vocab * sizeof *logits);
    if (o->repeat_penalty == 1.0f && o->presence_penalty == 0.0f && o->frequency_penalty == 0.0f)
        return;
    for (size_t i = first; i < n; i++)
        if (history[i] >= 0 && (uint32_t)history[i] < s->n_vocab) s->count[history[i]]++;
    for (size_t i = first; i < n; i++) {
        if (history[i] < 0 || (uint32_t)history[i] >= s->n_vocab) continue;
        uint32_t c = s->count[history[i]];
        if (c == 0) continue; /* this id had its turn */
        s->count[history[i]] = 0;
        float l = s->logit[history[i]];
        l = l > 0.0f ? l / o->repeat_penalty : l * o->repeat_penalty;
        l -= o->presence_penalty;
        l -= o->frequency_penalty * (float)c;
        s->logit[history[i]] = l;
    }
}

/* The id of the largest logit, the lowest id on a tie; -1 if one of them is NaN. */
static int32_t arg_max(const float *logit, uint32_t n) {
    uint32_t best = 0;
    bool nan = false;

    for (uint32_t i = 0; i < n; i++) {
        nan |= logit[i] != logit[i];
        if (logit[i] > logit[best]) best = i;
    }
    return nan ? -1 : (int32_t)best;
}

/* ---- candidates in order, off a heap ---- */

static bool before(candidate a, candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(candidate *h, size_t n, size_t i) {
    candidate c = h[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && before(h[child + 1], h[child])) child++;
        if (!before(h[child], c)) break;
        h[i] = h[child];
        i = child;
    }
    h[i] = c;
}

/* Takes the first `want` candidates in order to the end of the heap array: the i-th lies at
 * heap[n_vocab - 1 - i]. `more` says after each whether to go on; returns how many were taken. */
typedef struct taker {
    candidate *heap;
    size_t n_heap, n_vocab;
} taker;

static candidate take(taker *t) {
    candidate top = t->heap[0];
    t->heap[0] = t->heap[--t->n_heap];
    if (t->n_heap) sift_down(t->heap, t->n_heap, 0);
    t->heap[t->n_heap] = top;
    return top;
}

/* The kept candidates, best first, are heap[n_vocab-1], heap[n_vocab-2], ...; their weights stand
 * in s->weight[0..kept). `inv_t` = 1/temperature, `max` = the largest logit. */
static size_t keep(tfm_sampler *s, double inv_t, float max) {
    const tfm_sampling *o = &s->options;
    taker t = {s->heap, s->n_vocab, s->n_vocab};
    size_t limit = o->top_k && o->top_k < s->n_vocab ? o->top_k : s->n_vocab;
    double total = 0.0, sum = 0.0;
    size_t kept = 0;

    for (uint32_t i = 0; i < s->n_vocab; i++) s->heap[i] = (candidate){s->logit[i], (int32_t)i};
    for (size_t i = s->n_vocab / 2; i-- > 0;) sift_down(s->heap, s->n_vocab, i);

    if (o->top_p < 1.0f) { /* top-p is a share of what top-k left */
        if (limit < s->n_vocab) {
            for (size_t i = 0; i < limit; i++)
                total += tfm_exp(((double)take(&t).logit - max) * inv_t);
        } else {
            for (uint32_t i = 0; i < s->n_vocab; i++)
                total += tfm_exp(((double)s->logit[i] - max) * inv_t);
        }
    }
    while (kept < limit) {
        candidate c = s->n_vocab - kept > t.n_heap ? s->heap[s->n_vocab - 1 - kept] : take(&t);
        double w = tfm_exp(((double)c.logit - max) * inv_t);
        if (kept > 0 && w < (double)o->min_p) break;
        s->weight[kept++] = w;
        sum += w;
        if (o->top_p < 1.0f && sum >= (double)o->top_p * total) break;
    }
    return kept;
}

tfm_status tfm_sample(tfm_sampler *s, const float *logits, const int32_t *history, size_t n_history,
                      uint32_t group, uint32_t sample, uint32_t position, int32_t *id,
                      tfm_error *err) {
    const tfm_sampling *o = &s->options;

    penalise(s, logits, history, n_history);
    int32_t best = arg_max(s->logit, s->n_vocab);
    if (best < 0)
        return tfm_fail(err, TFM_RECORD, "a logit at position %u is not a number", position);
    float max = s->logit[best];
    if (max == -INFINITY || max == INFINITY)
        return tfm_fail(err, TFM_RECORD, "the largest logit at position %u is infinite", position);
    *id = best;
    if (o->temperature == 0.0f) return TFM_OK;

    double inv_t = 1.0 / (double)o->temperature;
    double u = tfm_rng_uniform(o->seed, group, sample, position, 0);
    double sum = 0.0, run = 0.0;
    if (o->top_k == 0 && o->top_p >= 1.0f && o->min_p == 0.0f) { /* no order needed: by id */
        for (uint32_t i = 0; i < s->n_vocab; i++)
            sum += s->weight[i] = tfm_exp(((double)s->logit[i] - max) * inv_t);
        for (uint32_t i = 0; i < s->n_vocab; i++)
            if ((run += s->weight[i]) > u * sum) {
                *id = (int32_t)i;
                return TFM_OK;
            }
        return TFM_OK; /* rounding at the very end: the most likely id */
    }
    size_t kept = keep(s, inv_t, max);
    for (size_t i = 0; i < kept; i++) sum += s->weight[i];
    for (size_t i = 0; i < kept; i++)
        if ((run += s->weight[i]) > u * sum) {
            *id = s->heap[s->n_vocab - 1 - i].id;
            return TFM_OK;
        }
    return TFM_OK;
}
