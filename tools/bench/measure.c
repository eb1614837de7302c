/* measure.c - the cases, run in turn.
 *
 * A case is a fixed number of rows behind a fixed number of others, whose cache is computed once
 * and copied; after every repetition it is cut back. The cases of one repetition follow each other,
 * so that whatever disturbs the machine for a while disturbs all of them, and the limits are
 * measured between repetitions for the same reason. Ids are given, not chosen: what a token is has
 * no influence on how long it takes, and sampling has its own cost. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

static void add(bench_figures *f, bench_case c) {
    for (size_t i = 0; i < f->n_cases; i++) {
        const bench_case *old = &f->cases[i];
        if (old->is_prompt == c.is_prompt && old->sequences == c.sequences && old->depth == c.depth)
            return;
    }
    f->cases[f->n_cases++] = c;
}

void bench_cases(const bench_options *o, bench_figures *f, uint32_t *ctx) {
    if (o->prompt) add(f, (bench_case){true, o->prompt, 1, 0, {0}});
    for (size_t i = 0; o->generate && i < o->n_sequences; i++)
        add(f, (bench_case){false, o->generate, o->sequences[i], o->context, {0}});
    for (size_t i = 0; i < o->n_depth; i++) {
        if (o->prompt) add(f, (bench_case){true, o->prompt, 1, o->depth[i], {0}});
        if (o->generate) add(f, (bench_case){false, o->generate, 1, o->depth[i], {0}});
    }
    *ctx = 2;
    for (size_t i = 0; i < f->n_cases; i++)
        if (f->cases[i].depth + f->cases[i].tokens > *ctx)
            *ctx = f->cases[i].depth + f->cases[i].tokens;
}

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct run {
    tfm_rows *rows[MAX_CASES];
    int32_t *ids;  /* as many as any call wants */
    float *logits; /* [sequences, n_vocab] of the widest case */
} run;

/* One repetition of a case, and back to where it began. */
static tfm_status run_case(const run *r, const bench_case *c, tfm_rows *rows, double *seconds,
                           tfm_error *err) {
    const double from = now_s();
    if (c->is_prompt)
        TFM_TRY(tfm_rows_run(rows, r->ids, c->tokens, r->logits, err));
    else
        for (uint32_t i = 0; i < c->tokens; i++)
            TFM_TRY(tfm_rows_run(rows, r->ids + i, 1, r->logits, err));
    *seconds = now_s() - from;
    tfm_rows_truncate(rows, c->depth);
    return TFM_OK;
}

/* Caches of all cases: the deepest is computed, the others are its beginning. */
static tfm_status fill(run *r, const bench_figures *f, tfm_engine *e, tfm_error *err) {
    uint32_t deepest = 0;
    tfm_rows *first;
    tfm_status st = TFM_OK;

    for (size_t i = 0; i < f->n_cases; i++)
        if (f->cases[i].depth > deepest) deepest = f->cases[i].depth;
    TFM_TRY(tfm_rows_new(&first, e, 1, err));
    if (deepest) st = tfm_rows_run(first, r->ids, deepest, r->logits, err);
    for (size_t i = 0; st == TFM_OK && i < f->n_cases; i++) {
        st = tfm_rows_new(&r->rows[i], e, f->cases[i].sequences, err);
        if (st == TFM_OK) st = tfm_rows_copy(r->rows[i], first, f->cases[i].depth, err);
    }
    tfm_rows_free(first);
    return st;
}

static tfm_status start(run *r, const bench_figures *f, tfm_engine *e, tfm_error *err) {
    const uint32_t n_vocab = tfm_engine_n_vocab(e);
    size_t widest = 1, n_ids = tfm_engine_ctx(e);

    for (size_t i = 0; i < f->n_cases; i++)
        if (f->cases[i].sequences > widest) widest = f->cases[i].sequences;
    /* A step of case i begins at id i. */
    n_ids += widest;
    r->ids = calloc(n_ids, sizeof *r->ids);
    r->logits = calloc(widest * n_vocab, sizeof *r->logits);
    if (!r->ids || !r->logits) return tfm_fail(err, TFM_NOMEM, "no memory for %zu ids", n_ids);
    for (size_t i = 0; i < n_ids; i++) r->ids[i] = (int32_t)((i * 7919 + 3) % n_vocab);
    return fill(r, f, e, err);
}

static tfm_status repeat(tfm_cli *c, run *r, bench_figures *f, struct bench_prober *prober,
                         tfm_error *err) {
    const uint64_t total = (uint64_t)f->repeat * f->n_cases;
    double ignored;

    for (size_t i = 0; i < f->n_cases; i++) /* memory grows and the file is read */
        TFM_TRY(run_case(r, &f->cases[i], r->rows[i], &ignored, err));
    if (prober) TFM_TRY(bench_prober_ask(prober, &f->limit[0], err));
    for (uint32_t k = 0; k < f->repeat; k++) {
        for (size_t i = 0; i < f->n_cases; i++) {
            bench_case *x = &f->cases[i];
            TFM_TRY(run_case(r, x, r->rows[i], &x->seconds[k], err));
            tfm_cli_progress(c, "measurements", (uint64_t)k * f->n_cases + i + 1, total);
        }
        if (prober) TFM_TRY(bench_prober_ask(prober, &f->limit[k + 1], err));
        if (f->has_start) TFM_TRY(bench_start_up(c, f->kv_type, &f->start[k], err));
    }
    return TFM_OK;
}

tfm_status bench_measure(tfm_cli *c, bench_figures *f, tfm_engine *e, struct bench_prober *prober,
                         tfm_error *err) {
    run r = {.ids = NULL};

    tfm_status st = start(&r, f, e, err);
    if (st == TFM_OK) st = repeat(c, &r, f, prober, err);
    for (size_t i = 0; i < f->n_cases; i++) tfm_rows_free(r.rows[i]);
    free(r.ids);
    free(r.logits);
    return st;
}

tfm_status bench_once(tfm_engine *e, tfm_error *err) {
    const int32_t id = 0;
    tfm_rows *rows;

    TFM_TRY(tfm_rows_new(&rows, e, 1, err));
    const tfm_status st = tfm_rows_run(rows, &id, 1, NULL, err);
    tfm_rows_free(rows);
    return st;
}
