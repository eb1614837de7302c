/* cpu.c - the cpu backend and its plans: threads, kernels, prepared weights.
 *
 * Memory is planned once: a value has one buffer for the whole range, and buffers grow to the
 * largest batch seen, so a token costs no allocation. */
#include "backend/cpu/cpu_internal.h"

static void plan_free(tfm_plan *base) {
    cpu_plan *p = (cpu_plan *)base;
    if (p == NULL) return;
    const tfm_range *r = &p->base.range;
    for (size_t i = 0; p->weights != NULL && i < r->end - r->first; i++) {
        tfm_cpu_weights_free(&p->weights[i]);
    }
    for (size_t i = 0; p->value != NULL && i < r->graph->n_values; i++) tfm_free(p->value[i]);
    for (size_t i = 0; i < p->n_rope; i++) tfm_free(p->rope[i].cos_sin);
    tfm_free(p->weights);
    tfm_free(p->value);
    tfm_free(p->used);
    tfm_free(p->rope);
    tfm_free(p->act);
    tfm_free(p->tile);
    tfm_free(p->expert_scratch);
    tfm_free(p->scratch);
    tfm_free(p);
}

/* Which values the range touches, and whether its last step may write to the caller. */
static void find_values(cpu_plan *p) {
    const tfm_range *r = &p->base.range;
    const tfm_graph *g = r->graph;
    p->used[g->hidden] = true;
    p->logits_direct = r->end == g->n_steps && r->end > r->first &&
                       g->block_start[g->n_blocks] < g->n_steps && r->needs_all < r->end &&
                       g->logits != g->hidden;
    for (size_t i = r->first; i < r->end; i++) {
        const tfm_step *s = &g->step[i];
        for (int j = 0; j < s->n_in; j++) {
            p->used[s->in[j]] = true;
            if (s->in[j] == g->logits) p->logits_direct = false;
        }
        for (int j = 0; j < s->n_out; j++) {
            p->used[s->out[j]] = true;
            if (s->out[j] == g->logits && i + 1 != r->end) p->logits_direct = false;
        }
    }
    if (p->logits_direct) p->used[g->logits] = false;
}

static tfm_status fill_plan(cpu_plan *p, tfm_error *err) {
    const tfm_range *r = &p->base.range;
    void *mem;
    TFM_TRY(tfm_alloc(&mem, r->end - r->first, sizeof *p->weights, err));
    p->weights = mem;
    TFM_TRY(tfm_alloc(&mem, r->graph->n_values, sizeof *p->value, err));
    p->value = mem;
    TFM_TRY(tfm_alloc(&mem, r->graph->n_values, sizeof *p->used, err));
    p->used = mem;
    find_values(p);
    for (size_t i = r->first; i < r->end; i++) {
        const tfm_step *s = &r->graph->step[i];
        TFM_TRY(tfm_cpu_weights_prepare(p, s, &p->weights[i - r->first], err));
    }
    tfm_cpu_weights_advise(p);
    return TFM_OK;
}

static tfm_status plan_new(tfm_backend *be, const tfm_graph *g, size_t first, size_t end,
                           tfm_kv *kv, tfm_plan **out, tfm_error *err) {
    void *mem;
    tfm_range range;
    *out = NULL;
    TFM_TRY(tfm_range_init(&range, g, first, end, kv, err));
    TFM_TRY(tfm_alloc(&mem, 1, sizeof(cpu_plan), err));
    cpu_plan *p = mem;
    p->base = (struct tfm_plan){.backend = be, .range = range, .kv = kv};
    p->be = (cpu_backend *)be;
    tfm_status st = fill_plan(p, err);
    if (st != TFM_OK) {
        plan_free(&p->base);
        return st;
    }
    *out = &p->base;
    return TFM_OK;
}

static void cpu_free(tfm_backend *base) {
    cpu_backend *be = (cpu_backend *)base;
    tfm_pool_free(be->pool);
    tfm_free(be);
}

static tfm_status kv_new(tfm_backend *be, const tfm_graph *g, uint32_t first_block,
                         uint32_t end_block, tfm_dtype type, tfm_kv **out, tfm_error *err) {
    TFM_TRY(tfm_kv_new(be, g, first_block, end_block, type, out, err));
    (*out)->k_panel = TFM_PANEL;
    return TFM_OK;
}

static const tfm_backend_ops cpu_ops = {
    .name = "cpu",
    .supports = tfm_step_supported,
    .plan_new = plan_new,
    .plan_run = tfm_cpu_plan_run,
    .plan_free = plan_free,
    .kv_new = kv_new,
    .kv_reserve = tfm_kv_reserve,
    .kv_copy_page = tfm_kv_copy_page,
    .kv_page_bytes = tfm_kv_page_bytes,
    .kv_read = tfm_kv_read,
    .kv_write = tfm_kv_write,
    .kv_free = tfm_kv_free,
    .free = cpu_free,
};

tfm_status tfm_backend_cpu_new(tfm_backend **out, const char *instruction_set, unsigned threads,
                               tfm_error *err) {
    void *mem;
    *out = NULL;
    const tfm_cpu_kernels *kernels = tfm_cpu_kernels_find(instruction_set);
    if (kernels == NULL) {
        return tfm_fail(err, TFM_DEVICE,
                        "device cpu:%s: this processor or build has not got it, use cpu",
                        instruction_set);
    }
    TFM_TRY(tfm_alloc(&mem, 1, sizeof(cpu_backend), err));
    cpu_backend *be = mem;
    be->kernels = kernels;
    tfm_status st = tfm_pool_new(&be->pool, threads > 0 ? threads : tfm_threads_default(), err);
    if (st != TFM_OK) {
        tfm_free(be);
        return st;
    }
    be->base = (struct tfm_backend){&cpu_ops, kernels->name, tfm_pool_threads(be->pool)};
    *out = &be->base;
    return TFM_OK;
}
