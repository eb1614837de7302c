/* cpu_run.c - one batch through a range of steps.
 *
 * Owns the order of steps, the growth of buffers, and what is known about prepared activations.
 * Consecutive linears that read the same value (q, k, v; gate, up) are one job if their weights
 * want the same activations: these are prepared once and the threads meet once. So are consecutive
 * steps that work on single rows (add, norm; activation, multiply): a row goes through all of them
 * while it is in the cache, and is rounded for the linear that reads it. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

/* Buffers for n_rows rows. On failure row_cap is 0, and the next run starts anew. */
static tfm_status reserve_rows(cpu_plan *p, uint32_t n_rows, tfm_error *err) {
    const tfm_graph *g = p->base.range.graph;
    void *mem;
    size_t n;
    if (n_rows <= p->row_cap) return TFM_OK;
    p->row_cap = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        tfm_free(p->value[i]);
        p->value[i] = NULL;
        if (!p->used[i]) continue;
        if (!tfm_mul_size(n_rows, g->value[i].width, &n)) {
            return tfm_fail(err, TFM_NOMEM, "%u rows are too many", n_rows);
        }
        TFM_TRY(tfm_alloc_large(&mem, n, sizeof(float), err));
        p->value[i] = mem;
    }
    for (size_t i = 0; i < p->n_rope; i++) {
        tfm_free(p->rope[i].cos_sin);
        p->rope[i].cos_sin = NULL;
        if (!tfm_mul_size(n_rows, p->rope[i].step->u.rope.rot, &n)) {
            return tfm_fail(err, TFM_NOMEM, "%u rows are too many", n_rows);
        }
        TFM_TRY(tfm_alloc_large(&mem, n, sizeof(float), err));
        p->rope[i].cos_sin = mem;
    }
    p->row_cap = n_rows;
    return TFM_OK;
}

tfm_status tfm_cpu_reserve_scratch(cpu_plan *p, size_t bytes, tfm_error *err) {
    const unsigned threads = tfm_pool_threads(p->be->pool);
    void *mem;
    if (bytes <= p->scratch_bytes) return TFM_OK;
    const size_t want = (bytes + bytes / 2 + 63) / 64 * 64; /* a sequence grows token by token */
    TFM_TRY(tfm_alloc_large(&mem, threads, want, err));
    tfm_free(p->scratch);
    p->scratch = mem;
    p->scratch_bytes = want;
    return TFM_OK;
}

/* How many steps from i on are linears of one value that can run side by side: no output is that
 * value or another's output. */
static size_t linear_run(const tfm_graph *g, size_t i, size_t to) {
    for (size_t n = 1; i + n < to; n++) {
        const tfm_step *s = &g->step[i + n];
        if (s->op != TFM_OP_LINEAR || s->in[0] != g->step[i].in[0]) return n;
        for (size_t j = 0; j < n; j++) {
            if (g->step[i + j].out[0] == s->out[0]) return n;
        }
    }
    return to - i;
}

static tfm_status run_step(const cpu_run *run, const tfm_step *s) {
    switch (s->op) {
    case TFM_OP_GATHER: return tfm_cpu_gather(run, s);
    case TFM_OP_ATTEND: return tfm_cpu_attend_step(run, s);
    case TFM_OP_MOE_ROUTE: return tfm_cpu_route(run, s);
    case TFM_OP_MOE_FFN: return tfm_cpu_experts(run, s);
    case TFM_OP_EDIT:
        tfm_edit_run(s, run->batch, run->row_of, run->n_rows, cpu_width(run->plan, s->out[0]),
                     run->plan->value[s->out[0]]);
        return TFM_OK;
    case TFM_OP_PATTERN:
        return tfm_pattern_run(&run->plan->base, s, run->batch, run->plan->value[s->out[0]],
                               run->err);
    case TFM_OP_KEEP:
        tfm_keep_run(s, run->batch, cpu_width(run->plan, s->in[0]), run->plan->value[s->in[0]]);
        return TFM_OK;
    default: return tfm_fail(run->err, TFM_UNSUPPORTED, "cpu has no step %d", (int)s->op);
    }
}

static size_t row_chain(const tfm_graph *g, size_t i, size_t to) {
    size_t n = 0;
    while (i + n < to && n < CPU_CHAIN_STEPS && tfm_cpu_is_rowwise(g->step[i + n].op)) n++;
    return n;
}

/* The step at `at` if it is a linear of what the step before it made, else NULL. */
static const tfm_step *chain_reader(const tfm_graph *g, size_t at, size_t to) {
    const tfm_step *s = &g->step[at];
    return at < to && s->op == TFM_OP_LINEAR && s->in[0] == s[-1].out[0] ? s : NULL;
}

static tfm_status run_steps(const cpu_run *run, size_t from, size_t to) {
    cpu_plan *p = run->plan;
    const tfm_graph *g = p->base.range.graph;
    for (size_t i = from; i < to;) {
        const tfm_step *s = &g->step[i];
        const tfm_step *next = NULL; /* the linear whose activations are made on the way */
        size_t n = row_chain(g, i, to);
        if (n > 0) {
            next = chain_reader(g, i + n, to);
            TFM_TRY(tfm_cpu_rowwise(run, s, n, next));
        } else if (s->op == TFM_OP_LINEAR) {
            n = linear_run(g, i, to);
            TFM_TRY(tfm_cpu_linear_group(run, s, n));
        } else {
            n = 1;
            TFM_TRY(run_step(run, s));
        }
        i += n;
        for (; s < &g->step[i]; s++) {
            for (int j = 0; j < s->n_out; j++) {
                if (s->out[j] == p->act_value) p->act_value = -1;
            }
        }
        if (next == NULL) continue;
        p->act_value = next->in[0];
        p->act_type = g->weight[next->weight].tensor->dtype;
    }
    return TFM_OK;
}

/* Drops the rows that nobody wants; what was computed per row is void. */
static void keep_wanted(cpu_run *run) {
    cpu_plan *p = run->plan;
    const tfm_graph *g = p->base.range.graph;
    for (size_t i = 0; i < g->n_values; i++) {
        if (p->value[i] == NULL) continue;
        tfm_keep_rows(p->value[i], g->value[i].width, run->batch->out_row, run->batch->n_out);
    }
    for (size_t i = 0; i < p->n_rope; i++) p->rope[i].ready = false;
    p->act_value = -1;
    run->n_rows = run->batch->n_out;
    run->row_of = run->batch->out_row;
}

tfm_status tfm_cpu_plan_run(tfm_plan *plan, const tfm_batch *b, tfm_error *err) {
    cpu_plan *p = (cpu_plan *)plan;
    const tfm_range *r = &p->base.range;
    const tfm_graph *g = r->graph;
    tfm_schedule when;
    if (b->n_rows == 0) return TFM_OK;
    TFM_TRY(tfm_batch_check(plan, b, err));
    TFM_TRY(reserve_rows(p, b->n_rows, err));
    const size_t hidden_bytes = (size_t)b->n_rows * g->width * sizeof(float);
    float *hidden = p->value[g->hidden];
    if (r->reads_hidden) memcpy(hidden, b->hidden_in, hidden_bytes);

    tfm_schedule_make(&when, r, b);
    cpu_run run = {.plan = p, .batch = b, .n_rows = b->n_rows, .err = err};
    for (size_t i = 0; i < p->n_rope; i++) p->rope[i].ready = false;
    p->act_value = -1;
    TFM_TRY(run_steps(&run, r->first, when.select));
    if (b->hidden_out != NULL) memcpy(b->hidden_out, hidden, hidden_bytes);
    if (!when.logits) return TFM_OK;
    keep_wanted(&run);
    if (p->logits_direct) p->value[g->logits] = b->logits;
    tfm_status st = run_steps(&run, when.select, when.stop);
    if (p->logits_direct) {
        p->value[g->logits] = NULL; /* the caller's, not ours to free */
    } else if (st == TFM_OK) {
        memcpy(b->logits, p->value[g->logits], (size_t)b->n_out * g->n_vocab * sizeof(float));
    }
    return st;
}
