/* ref.c - the reference backend: every step is a loop that reads like its formula.
 *
 * It is what the other backends are judged by, so it has no fusion, no threads and no cleverness:
 * one step after the other over whole values, sums in double, each result rounded once to f32. It
 * shares the other backends' rounding points (activations before a linear, K and V in the cache)
 * and nothing else: orders of summation are its own. */
#include <string.h>

#include "backend/ref/ref_internal.h"

static void free_weights(ref_weights *w) {
    tfm_free(w->matrix_memory);
    tfm_free(w->weight);
    tfm_free(w->bias);
    tfm_free(w->extra);
    for (int i = 0; i < 3; i++) tfm_free(w->expert[i]);
}

static void plan_free(tfm_plan *base) {
    ref_plan *p = (ref_plan *)base;
    if (p == NULL) return;
    const tfm_range *r = &p->base.range;
    for (size_t i = 0; p->weights != NULL && i < r->end - r->first; i++) {
        free_weights(&p->weights[i]);
    }
    for (size_t i = 0; p->value != NULL && i < r->graph->n_values; i++) tfm_free(p->value[i]);
    tfm_free(p->weights);
    tfm_free(p->value);
    tfm_free(p);
}

/* The matrix of a linear in layout rows: borrowed if it is so already, else unpacked. */
static tfm_status prepare_matrix(ref_weights *w, const tfm_tensor *t, tfm_error *err) {
    uint64_t bytes;
    w->matrix = *t;
    if (t->layout == TFM_LAYOUT_ROWS) return TFM_OK;
    TFM_TRY(tfm_layout_bytes(t->dtype, TFM_LAYOUT_ROWS, 2, t->dims, &bytes, err));
    TFM_TRY(tfm_alloc_aligned(&w->matrix_memory, 64, bytes, 1, err));
    TFM_TRY(tfm_unpack_p16(t->dtype, t->dims[0], t->dims[1], t->data, w->matrix_memory, err));
    w->matrix.layout = TFM_LAYOUT_ROWS;
    w->matrix.data = w->matrix_memory;
    w->matrix.bytes = bytes;
    return TFM_OK;
}

static tfm_status prepare_step(ref_weights *w, const tfm_graph *g, const tfm_step *s,
                               tfm_error *err) {
    TFM_TRY(tfm_step_supported(NULL, g, s, err));
    if (s->op == TFM_OP_LINEAR) TFM_TRY(prepare_matrix(w, g->weight[s->weight].tensor, err));
    if (s->op == TFM_OP_NORM || s->op == TFM_OP_MOE_ROUTE) {
        TFM_TRY(tfm_weight_f32(g, s->weight, &w->weight, err));
    }
    if (s->op == TFM_OP_NORM || s->op == TFM_OP_LINEAR || s->op == TFM_OP_MOE_ROUTE) {
        TFM_TRY(tfm_weight_f32(g, s->bias, &w->bias, err));
    }
    if (s->op == TFM_OP_ATTEND || s->op == TFM_OP_MOE_ROUTE)
        TFM_TRY(tfm_weight_f32(g, s->extra, &w->extra, err));
    for (int i = 0; s->op == TFM_OP_MOE_FFN && i < 3; i++) {
        TFM_TRY(tfm_weight_f32(g, (int)s->u.experts.bias[i] - 1, &w->expert[i], err));
    }
    return TFM_OK;
}

static tfm_status plan_new(tfm_backend *be, const tfm_graph *g, size_t first, size_t end,
                           tfm_kv *kv, tfm_plan **out, tfm_error *err) {
    void *mem;
    tfm_range range;
    *out = NULL;
    TFM_TRY(tfm_range_init(&range, g, first, end, kv, err));
    TFM_TRY(tfm_alloc(&mem, 1, sizeof(ref_plan), err));
    ref_plan *p = mem;
    p->base = (struct tfm_plan){.backend = be, .range = range, .kv = kv};
    tfm_status st = tfm_alloc(&mem, end - first, sizeof *p->weights, err);
    if (st == TFM_OK) {
        p->weights = mem;
        st = tfm_alloc(&mem, g->n_values, sizeof *p->value, err);
    }
    if (st == TFM_OK) p->value = mem;
    for (size_t i = first; st == TFM_OK && i < end; i++) {
        st = prepare_step(&p->weights[i - first], g, &g->step[i], err);
    }
    if (st != TFM_OK) {
        plan_free(&p->base);
        return st;
    }
    *out = &p->base;
    return TFM_OK;
}

/* ---- running ---- */

static bool range_uses(const tfm_range *r, int value) {
    if (value == r->graph->hidden) return true;
    for (size_t i = r->first; i < r->end; i++) {
        const tfm_step *s = &r->graph->step[i];
        for (int j = 0; j < s->n_in; j++) {
            if (s->in[j] == value) return true;
        }
        for (int j = 0; j < s->n_out; j++) {
            if (s->out[j] == value) return true;
        }
    }
    return false;
}

/* Values with room for n_rows rows. On failure row_cap is 0, and the next run starts anew. */
static tfm_status reserve_rows(ref_plan *p, uint32_t n_rows, tfm_error *err) {
    const tfm_graph *g = p->base.range.graph;
    if (n_rows <= p->row_cap) return TFM_OK;
    p->row_cap = 0;
    for (size_t i = 0; i < g->n_values; i++) {
        size_t n;
        void *mem;
        tfm_free(p->value[i]);
        p->value[i] = NULL;
        if (!range_uses(&p->base.range, (int)i)) continue;
        if (!tfm_mul_size(n_rows, g->value[i].width, &n)) {
            return tfm_fail(err, TFM_NOMEM, "%u rows are too many", n_rows);
        }
        TFM_TRY(tfm_alloc_aligned(&mem, 64, n, sizeof(float), err));
        p->value[i] = mem;
    }
    p->row_cap = n_rows;
    return TFM_OK;
}

static tfm_status run_step(ref_call *c) {
    for (int i = 0; i < c->step->n_in; i++) c->in[i] = c->plan->value[c->step->in[i]];
    for (int i = 0; i < c->step->n_out; i++) c->out[i] = c->plan->value[c->step->out[i]];
    switch (c->step->op) {
    case TFM_OP_GATHER: return tfm_ref_gather(c);
    case TFM_OP_LINEAR: return tfm_ref_linear(c);
    case TFM_OP_ATTEND: return tfm_ref_attend(c);
    case TFM_OP_MOE_ROUTE: return tfm_ref_route(c);
    case TFM_OP_MOE_FFN: return tfm_ref_experts(c);
    case TFM_OP_NORM: tfm_ref_norm(c); break;
    case TFM_OP_SPLIT: tfm_ref_split(c); break;
    case TFM_OP_CONCAT: tfm_ref_concat(c); break;
    case TFM_OP_EDIT:
        tfm_edit_run(c->step, c->batch, c->row_of, c->n_rows, ref_width_out(c, 0), c->out[0]);
        break;
    case TFM_OP_PATTERN:
        return tfm_pattern_run(&c->plan->base, c->step, c->batch, c->out[0], c->err);
    case TFM_OP_KEEP: tfm_keep_run(c->step, c->batch, ref_width_in(c, 0), c->in[0]); break;
    case TFM_OP_ROPE: tfm_ref_rope(c); break;
    default: tfm_ref_elementwise(c); break;
    }
    return TFM_OK;
}

static tfm_status run_steps(ref_call *c, size_t from, size_t to) {
    const tfm_range *r = &c->plan->base.range;
    for (size_t i = from; i < to; i++) {
        c->step = &r->graph->step[i];
        c->w = &c->plan->weights[i - r->first];
        TFM_TRY(run_step(c));
    }
    return TFM_OK;
}

static tfm_status plan_run(tfm_plan *base, const tfm_batch *b, tfm_error *err) {
    ref_plan *p = (ref_plan *)base;
    const tfm_range *r = &p->base.range;
    const tfm_graph *g = r->graph;
    tfm_schedule when;
    if (b->n_rows == 0) return TFM_OK;
    TFM_TRY(tfm_batch_check(base, b, err));
    TFM_TRY(reserve_rows(p, b->n_rows, err));
    const size_t hidden_bytes = (size_t)b->n_rows * g->width * sizeof(float);
    float *hidden = p->value[g->hidden];
    if (r->reads_hidden) memcpy(hidden, b->hidden_in, hidden_bytes);

    tfm_schedule_make(&when, r, b);
    ref_call c = {.plan = p, .batch = b, .n_rows = b->n_rows, .err = err};
    TFM_TRY(run_steps(&c, r->first, when.select));
    if (b->hidden_out != NULL) memcpy(b->hidden_out, hidden, hidden_bytes);
    if (!when.logits) return TFM_OK;
    for (size_t i = 0; i < g->n_values; i++) {
        if (p->value[i] == NULL) continue;
        tfm_keep_rows(p->value[i], g->value[i].width, b->out_row, b->n_out);
    }
    c.n_rows = b->n_out;
    c.row_of = b->out_row;
    TFM_TRY(run_steps(&c, when.select, when.stop));
    memcpy(b->logits, p->value[g->logits], (size_t)b->n_out * g->n_vocab * sizeof(float));
    return TFM_OK;
}

static void ref_free(tfm_backend *be) {
    tfm_free(be);
}

static const tfm_backend_ops ref_ops = {
    .name = "ref",
    .supports = tfm_step_supported,
    .plan_new = plan_new,
    .plan_run = plan_run,
    .plan_free = plan_free,
    .kv_new = tfm_kv_new,
    .kv_reserve = tfm_kv_reserve,
    .kv_copy_page = tfm_kv_copy_page,
    .kv_page_bytes = tfm_kv_page_bytes,
    .kv_read = tfm_kv_read,
    .kv_write = tfm_kv_write,
    .kv_free = tfm_kv_free,
    .free = ref_free,
};

tfm_status tfm_backend_ref_new(tfm_backend **out, tfm_error *err) {
    void *mem;
    *out = NULL;
    TFM_TRY(tfm_alloc(&mem, 1, sizeof(tfm_backend), err));
    tfm_backend *be = mem;
    *be = (tfm_backend){.ops = &ref_ops, .instruction_set = "", .threads = 1};
    *out = be;
    return TFM_OK;
}
