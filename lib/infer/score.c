/* score.c - log-probabilities of given text: windows, batches, one log-softmax a row.
 *
 *     add -> [texts, a list] -> gather (windows of the texts, in order) -> run -> rows, in order
 *
 * Nothing here depends on what was computed before, as it does in generation, so the texts are
 * worked off strictly in order: a batch takes as many rows as fit, the last text of it may go on in
 * the next one, and results need no sorting. Logits are kept for the rows of one batch only, and a
 * batch stops at LOGITS_MAX numbers of them: a text of a million tokens needs no more memory than
 * one of hundred, but for its ids and scores.
 */
#include <stdio.h>
#include <string.h>

#include "backend/math_internal.h"
#include "infer/infer_internal.h"
#include "tfm/score.h"

#define DEFAULT_SEQUENCES 64u
#define DEFAULT_ROWS 512u
#define LOGITS_MAX (8u << 20) /* numbers of one batch: 32 MiB, a single row excepted */

typedef struct text {
    struct text *next;
    uint32_t group, n, from;
    int32_t *ids;            /* [n] */
    double *score;           /* [n - from] */
    char *message;           /* why it failed */
    bool gathered;           /* all its rows were in a batch */
    uint32_t begin, reached; /* the present window; tokens below `reached` belong to earlier ones */
    tfm_seq seq;             /* of the present window */
} text;

/* Where a row of logits belongs: row `position` of the text. */
typedef struct row_owner {
    text *text;
    uint32_t position;
} row_owner;

struct tfm_scorer {
    tfm_engine *engine;
    tfm_score_options options;
    uint32_t ctx, n_vocab, max_out;
    text *first, **last; /* in the order added */
    text *work;          /* the first whose rows are not all gathered, or NULL */
    text *done;          /* what the last call reported; freed by the next */
    size_t n_open;
    /* one batch */
    int32_t *token;        /* [rows] */
    uint32_t *position;    /* [rows] */
    uint32_t *row_start;   /* [sequences + 1] */
    const uint32_t **page; /* [sequences] */
    uint32_t *group;       /* [sequences] */
    tfm_seq *finished;     /* [n_finished]: windows whose last rows are in this batch */
    uint32_t n_finished;
    uint32_t *out_row; /* [rows] */
    row_owner *owner;  /* [n_out] */
    uint32_t n_out, next_out;
    float *logits; /* [n_out, n_vocab] */
    size_t logits_cap;
};

/* ---- making and freeing ---- */

static void text_free(tfm_scorer *s, text *t) {
    if (!t) return;
    tfm_seq_release(tfm_engine_pages(s->engine), &t->seq);
    tfm_free(t->ids);
    tfm_free(t->score);
    tfm_free(t->message);
    tfm_free(t);
}

static void release_finished(tfm_scorer *s) {
    for (uint32_t i = 0; i < s->n_finished; i++)
        tfm_seq_release(tfm_engine_pages(s->engine), &s->finished[i]);
    s->n_finished = 0;
}

void tfm_scorer_free(tfm_scorer *s) {
    if (!s) return;
    release_finished(s);
    while (s->first) {
        text *t = s->first;
        s->first = t->next;
        text_free(s, t);
    }
    text_free(s, s->done);
    tfm_free(s->token);
    tfm_free(s->position);
    tfm_free(s->row_start);
    tfm_free((void *)s->page);
    tfm_free(s->group);
    tfm_free(s->finished);
    tfm_free(s->out_row);
    tfm_free(s->owner);
    tfm_free(s->logits);
    tfm_free(s);
}

static tfm_status alloc_batch(tfm_scorer *s, tfm_error *err) {
    size_t rows = s->options.row_budget, seqs = s->options.sequences;

    TFM_TRY(tfm_alloc((void **)&s->token, rows, sizeof *s->token, err));
    TFM_TRY(tfm_alloc((void **)&s->position, rows, sizeof *s->position, err));
    TFM_TRY(tfm_alloc((void **)&s->row_start, seqs + 1, sizeof *s->row_start, err));
    TFM_TRY(tfm_alloc((void **)&s->page, seqs, sizeof *s->page, err));
    TFM_TRY(tfm_alloc((void **)&s->group, seqs, sizeof *s->group, err));
    TFM_TRY(tfm_alloc((void **)&s->finished, seqs, sizeof *s->finished, err));
    TFM_TRY(tfm_alloc((void **)&s->out_row, rows, sizeof *s->out_row, err));
    return tfm_alloc((void **)&s->owner, rows, sizeof *s->owner, err);
}

tfm_status tfm_scorer_new(tfm_scorer **out, tfm_engine *e, const tfm_score_options *o,
                          tfm_error *err) {
    tfm_scorer *s = NULL;
    uint32_t ctx = tfm_engine_ctx(e);

    *out = NULL;
    if (o->stride >= ctx)
        return tfm_fail(err, TFM_USAGE, "a stride of %u must be below the context of %u", o->stride,
                        ctx);
    TFM_TRY(tfm_alloc((void **)&s, 1, sizeof *s, err));
    s->engine = e;
    s->options = *o;
    if (s->options.sequences == 0) s->options.sequences = DEFAULT_SEQUENCES;
    if (s->options.row_budget == 0) s->options.row_budget = DEFAULT_ROWS;
    s->ctx = ctx;
    s->n_vocab = tfm_engine_n_vocab(e);
    s->max_out = LOGITS_MAX / s->n_vocab ? LOGITS_MAX / s->n_vocab : 1;
    s->last = &s->first;
    tfm_status st = alloc_batch(s, err);
    if (st != TFM_OK) {
        tfm_scorer_free(s);
        return st;
    }
    *out = s;
    return TFM_OK;
}

/* ---- adding ---- */

/* Why a text cannot be scored, in `why`; false if it can. */
static bool refuse(const tfm_scorer *s, const int32_t *ids, size_t n, char *why, size_t size) {
    if (n > UINT32_MAX - s->ctx) {
        snprintf(why, size, "the text has %zu tokens, more than positions can number", n);
        return true;
    }
    if (n > s->ctx && s->options.stride == 0) {
        snprintf(why, size,
                 "the text has %zu tokens, the context is %u; give a longer --ctx or a --stride", n,
                 s->ctx);
        return true;
    }
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->n_vocab) {
            snprintf(why, size, "id %d at position %zu is outside the vocabulary of %u",
                     (int)ids[i], i, s->n_vocab);
            return true;
        }
    return false;
}

static void append(tfm_scorer *s, text *t) {
    *s->last = t;
    s->last = &t->next;
    if (!s->work) s->work = t;
    s->n_open++;
}

tfm_status tfm_scorer_add_failed(tfm_scorer *s, uint32_t group, const char *message,
                                 tfm_error *err) {
    text *t = NULL;

    TFM_TRY(tfm_alloc((void **)&t, 1, sizeof *t, err));
    t->group = group;
    tfm_status st = tfm_strdup(&t->message, message, err);
    if (st == TFM_OK)
        append(s, t);
    else
        text_free(s, t);
    return st;
}

tfm_status tfm_scorer_add(tfm_scorer *s, uint32_t group, const int32_t *ids, size_t n, size_t from,
                          tfm_error *err) {
    text *t = NULL;
    char why[160];

    if (refuse(s, ids, n, why, sizeof why)) return tfm_scorer_add_failed(s, group, why, err);
    TFM_TRY(tfm_alloc((void **)&t, 1, sizeof *t, err));
    t->group = group;
    t->n = (uint32_t)n;
    if (from == 0) from = 1;
    t->from = (uint32_t)(from < n ? from : n);
    t->reached = 1;
    tfm_status st = tfm_alloc((void **)&t->ids, n, sizeof *ids, err);
    if (st == TFM_OK) st = tfm_alloc((void **)&t->score, n - t->from, sizeof *t->score, err);
    if (st != TFM_OK) {
        text_free(s, t);
        return st;
    }
    if (n) memcpy(t->ids, ids, n * sizeof *ids);
    append(s, t);
    return TFM_OK;
}

size_t tfm_scorer_open(const tfm_scorer *s) {
    return s->n_open;
}

/* ---- windows and batches ---- */

/* One past the last row of the text that anybody wants. */
static uint32_t last_row(const tfm_scorer *s, const text *t) {
    if (t->from >= t->n && !s->options.rows) return 0; /* no score */
    return s->options.rows ? t->n : t->n - 1;
}

static uint32_t window_end(const tfm_scorer *s, const text *t) {
    return t->n - t->begin <= s->ctx ? t->n : t->begin + s->ctx;
}

/* The rows of the window that are computed are [begin, stop), those wanted [*want, stop). */
static uint32_t window_stop(const tfm_scorer *s, const text *t, uint32_t *want) {
    uint32_t end = window_end(s, t);
    uint32_t stop = end == t->n ? last_row(s, t) : end - 1;
    uint32_t scored = t->from ? t->from - 1 : 0;

    *want = t->reached - 1 > scored ? t->reached - 1 : scored;
    if (*want < t->begin) *want = t->begin;
    return stop;
}

static void next_window(tfm_scorer *s, text *t) {
    uint32_t end = window_end(s, t);

    if (end == t->n) {
        t->gathered = true;
        s->work = t->next;
        return;
    }
    t->reached = end;
    t->begin += s->options.stride;
}

/* Puts rows of the present window of t into the batch: as many as there is room for. */
static tfm_status add_rows(tfm_scorer *s, tfm_batch *b, text *t, uint32_t want, uint32_t stop,
                           tfm_error *err) {
    uint32_t first = t->begin + t->seq.len, n = stop - first;
    uint32_t room = s->options.row_budget - b->n_rows, room_out = s->max_out - s->n_out;
    uint32_t unwanted = first < want ? want - first : 0;

    if (n > room) n = room;
    if (n > unwanted && n - unwanted > room_out) n = unwanted + room_out;
    if (n == 0) return TFM_OK;
    TFM_TRY(tfm_seq_extend(tfm_engine_pages(s->engine), &t->seq, t->seq.len + n, err));
    for (uint32_t i = 0; i < n; i++) {
        s->token[b->n_rows + i] = t->ids[first + i];
        s->position[b->n_rows + i] = first + i - t->begin;
        if (first + i < want) continue;
        s->out_row[s->n_out] = b->n_rows + i;
        s->owner[s->n_out++] = (row_owner){t, first + i};
    }
    b->n_rows += n;
    s->page[b->n_seqs] = t->seq.page;
    s->group[b->n_seqs] = t->group;
    s->row_start[++b->n_seqs] = b->n_rows;
    if (first + n < stop) return TFM_OK;
    s->finished[s->n_finished++] = t->seq;
    t->seq = (tfm_seq){0};
    next_window(s, t);
    return TFM_OK;
}

static tfm_status gather(tfm_scorer *s, tfm_batch *b, tfm_error *err) {
    s->row_start[0] = 0;
    s->n_out = s->next_out = 0;
    while (s->work && b->n_rows < s->options.row_budget && s->n_out < s->max_out &&
           b->n_seqs < s->options.sequences) {
        text *t = s->work;
        uint32_t want, stop;
        if (t->message) { /* failed; what was begun is of no use */
            tfm_seq_release(tfm_engine_pages(s->engine), &t->seq);
            t->gathered = true;
            s->work = t->next;
            continue;
        }
        stop = window_stop(s, t, &want);
        if (stop <= want) { /* nothing of this window is asked for */
            next_window(s, t);
            continue;
        }
        TFM_TRY(add_rows(s, b, t, want, stop, err));
    }
    return TFM_OK;
}

static tfm_status step(tfm_scorer *s, tfm_error *err) {
    tfm_batch b = {0};
    size_t need;

    TFM_TRY(gather(s, &b, err));
    if (b.n_rows == 0) return TFM_OK;
    if (!tfm_mul_size(s->n_out, s->n_vocab, &need))
        return tfm_fail(err, TFM_NOMEM, "logits of %u rows do not fit memory", s->n_out);
    TFM_TRY(tfm_grow((void **)&s->logits, &s->logits_cap, need, sizeof *s->logits, err));
    b.row_start = s->row_start;
    b.token = s->token;
    b.position = s->position;
    b.page = s->page;
    b.group = s->group;
    b.out_row = s->out_row;
    b.n_out = s->n_out;
    b.logits = s->logits;
    tfm_status st = tfm_engine_run(s->engine, &b, err);
    release_finished(s);
    return st;
}

/* ---- one row ---- */

/* x[i] - log sum exp(x), ascending, in double: *shift is what is taken from every logit. False: a
 * NaN, or nothing that is finite. */
static bool log_sum(const float *x, uint32_t n, double *shift) {
    double largest = (double)x[0];

    for (uint32_t i = 0; i < n; i++) {
        if (x[i] != x[i]) return false;
        if ((double)x[i] > largest) largest = (double)x[i];
    }
    *shift = largest + tfm_log(tfm_exp_sum(x, n, largest));
    return *shift - *shift == 0; /* neither infinite nor NaN */
}

/* Settles the next row of the batch; *report is set when it is to be reported. */
static tfm_status settle_row(tfm_scorer *s, tfm_scored *out, bool *report, tfm_error *err) {
    float *x = s->logits + (size_t)s->next_out * s->n_vocab;
    row_owner o = s->owner[s->next_out++];
    text *t = o.text;
    double shift;
    char why[80];

    *report = false;
    if (t->message) return TFM_OK;
    if (!log_sum(x, s->n_vocab, &shift)) {
        snprintf(why, sizeof why, "the logits at position %u are not finite", o.position);
        return tfm_strdup(&t->message, why, err);
    }
    if (o.position + 1 < t->n && o.position + 1 >= t->from)
        t->score[o.position + 1 - t->from] = (double)x[t->ids[o.position + 1]] - shift;
    if (!s->options.rows) return TFM_OK;
    for (uint32_t i = 0; i < s->n_vocab; i++) x[i] = (float)((double)x[i] - shift);
    *out =
        (tfm_scored){.type = TFM_SCORED_ROW, .group = t->group, .position = o.position, .row = x};
    *report = true;
    return TFM_OK;
}

static void report_text(tfm_scorer *s, tfm_scored *out) {
    text *t = s->first;

    s->first = t->next;
    if (!s->first) s->last = &s->first;
    if (s->work == t) s->work = t->next;
    s->n_open--;
    s->done = t;
    *out = (tfm_scored){.type = TFM_SCORED_TEXT, .group = t->group, .ids = t->ids, .n = t->n};
    out->from = t->from;
    out->score = t->score;
    if (!t->message) return;
    *out = (tfm_scored){.type = TFM_SCORED_ERROR, .group = t->group, .message = t->message};
}

tfm_status tfm_scorer_next(tfm_scorer *s, tfm_scored *out, tfm_error *err) {
    text_free(s, s->done);
    s->done = NULL;
    for (;;) {
        text *t = s->first;
        bool report;
        if (!t) return TFM_DONE;
        if (s->next_out < s->n_out && s->owner[s->next_out].text == t) {
            TFM_TRY(settle_row(s, out, &report, err));
            if (report) return TFM_OK;
        } else if (t->gathered || t->message) {
            report_text(s, out);
            return TFM_OK;
        } else {
            TFM_TRY(step(s, err));
        }
    }
}

double tfm_perplexity(double nll, uint64_t n) {
    double tokens = (double)n;
    return tfm_exp(nll / tokens);
}
