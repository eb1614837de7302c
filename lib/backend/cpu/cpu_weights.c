/* cpu_weights.c - weights as the kernels want them: p16 panels, and small vectors as f32.
 *
 * A matrix that lies in p16 is used where it is (a mapped model.bin is never copied); one in layout
 * `rows` is repacked, sixteen rows a piece, on all threads. */
#include <stdlib.h>

#include "backend/cpu/cpu_internal.h"

typedef struct pack_job {
    const tfm_tensor *t;
    uint8_t *to;
    size_t row_bytes, panel_bytes;
} pack_job;

static void pack_panel(void *arg, size_t panel, unsigned worker) {
    const pack_job *j = arg;
    const uint32_t first = (uint32_t)panel * TFM_PANEL;
    const uint32_t left = j->t->dims[0] - first, n = left < TFM_PANEL ? left : TFM_PANEL;
    (void)worker;
    /* Cannot fail: the whole tensor's sizes have been checked. */
    tfm_status st = tfm_pack_p16(j->t->dtype, n, j->t->dims[1],
                                 (const uint8_t *)j->t->data + first * j->row_bytes,
                                 j->to + panel * j->panel_bytes, NULL);
    (void)st;
}

static tfm_status prepare_matrix(cpu_plan *p, const tfm_tensor *t, cpu_weights *w, tfm_error *err) {
    uint64_t bytes, row_bytes;
    TFM_TRY(tfm_layout_bytes(t->dtype, TFM_LAYOUT_P16, 2, t->dims, &bytes, err));
    w->n_panels = (t->dims[0] + TFM_PANEL - 1) / TFM_PANEL;
    w->panel_bytes = w->n_panels > 0 ? bytes / w->n_panels : 0;
    if (t->layout == TFM_LAYOUT_P16) {
        w->panels = t->data;
        return TFM_OK;
    }
    if (!tfm_dtype_bytes(t->dtype, t->dims[1], &row_bytes)) {
        return tfm_fail(err, TFM_LIMIT, "a weight row of %u is too long", t->dims[1]);
    }
    TFM_TRY(tfm_alloc_large(&w->memory, bytes, 1, err));
    w->panels = w->memory;
    pack_job job = {t, w->memory, row_bytes, w->panel_bytes};
    tfm_pool_run(p->be->pool, w->n_panels, pack_panel, &job);
    return TFM_OK;
}

/* The router in f32, whatever type it is stored in: which expert a row goes to must not hang on
 * it. */
static tfm_status prepare_router(cpu_plan *p, const tfm_tensor *t, cpu_weights *w, tfm_error *err) {
    const uint64_t n = tfm_weight_count(t);
    tfm_tensor f = *t;
    void *rows;
    TFM_TRY(tfm_alloc_large(&rows, n, sizeof(float), err));
    f.dtype = TFM_F32;
    f.data = rows;
    tfm_status st = tfm_to_f32(t->dtype, t->data, n, rows, err);
    if (st == TFM_OK) st = prepare_matrix(p, &f, w, err);
    tfm_free(rows);
    return st;
}

/* One matrix of every expert, packed expert by expert. */
static tfm_status prepare_experts(cpu_plan *p, const tfm_tensor *t, cpu_expert_matrix *m,
                                  tfm_error *err) {
    uint64_t bytes, row_bytes;
    tfm_tensor one = *t;
    one.rank = 2;
    one.dims[0] = t->dims[1];
    one.dims[1] = t->dims[2];
    TFM_TRY(tfm_layout_bytes(t->dtype, TFM_LAYOUT_P16, 2, one.dims, &bytes, err));
    if (!tfm_dtype_bytes(t->dtype, t->dims[2], &row_bytes)) {
        return tfm_fail(err, TFM_LIMIT, "a weight row of %u is too long", t->dims[2]);
    }
    m->n_panels = (t->dims[1] + TFM_PANEL - 1) / TFM_PANEL;
    m->panel_bytes = bytes / m->n_panels;
    TFM_TRY(tfm_alloc_large(&m->memory, t->dims[0], bytes, err));
    m->panels = m->memory;
    for (uint32_t e = 0; e < t->dims[0]; e++) {
        one.data = (const uint8_t *)t->data + (uint64_t)e * t->dims[1] * row_bytes;
        pack_job job = {&one, (uint8_t *)m->memory + e * bytes, row_bytes, m->panel_bytes};
        tfm_pool_run(p->be->pool, m->n_panels, pack_panel, &job);
    }
    return TFM_OK;
}

static tfm_status prepare_all_experts(cpu_plan *p, const tfm_step *s, cpu_weights *w,
                                      tfm_error *err) {
    const tfm_graph *g = p->base.range.graph;
    const int id[3] = {s->weight, s->bias, s->extra};
    void *mem;
    TFM_TRY(tfm_alloc(&mem, 3, sizeof *w->expert, err));
    w->expert = mem;
    for (int i = 0; i < 3; i++) {
        if (id[i] == TFM_NONE) continue;
        TFM_TRY(prepare_experts(p, g->weight[id[i]].tensor, &w->expert[i], err));
        TFM_TRY(tfm_weight_f32(g, (int)s->u.experts.bias[i] - 1, &w->expert_bias[i], err));
    }
    return TFM_OK;
}

static bool same_rope(const tfm_step *a, const tfm_step *b) {
    if (a->u.rope.rot != b->u.rope.rot) return false;
    if (!(a->u.rope.magnitude == b->u.rope.magnitude)) return false;
    for (uint32_t i = 0; i < a->u.rope.rot / 2; i++) {
        if (!(a->u.rope.inv_freq[i] == b->u.rope.inv_freq[i])) return false;
    }
    return true;
}

static tfm_status find_rope_table(cpu_plan *p, const tfm_step *s, int *table, tfm_error *err) {
    for (size_t i = 0; i < p->n_rope; i++) {
        *table = (int)i;
        if (same_rope(p->rope[i].step, s)) return TFM_OK;
    }
    TFM_TRY(tfm_grow((void **)&p->rope, &p->rope_cap, p->n_rope + 1, sizeof *p->rope, err));
    *table = (int)p->n_rope;
    p->rope[p->n_rope++] = (cpu_rope_table){.step = s};
    return TFM_OK;
}

tfm_status tfm_cpu_weights_prepare(cpu_plan *p, const tfm_step *s, cpu_weights *w, tfm_error *err) {
    const tfm_graph *g = p->base.range.graph;
    TFM_TRY(tfm_step_supported(&p->be->base, g, s, err));
    switch (s->op) {
    case TFM_OP_LINEAR:
        TFM_TRY(prepare_matrix(p, g->weight[s->weight].tensor, w, err));
        return tfm_weight_f32(g, s->bias, &w->bias, err);
    case TFM_OP_NORM:
        TFM_TRY(tfm_weight_f32(g, s->weight, &w->weight, err));
        return tfm_weight_f32(g, s->bias, &w->bias, err);
    case TFM_OP_MOE_ROUTE:
        TFM_TRY(prepare_router(p, g->weight[s->weight].tensor, w, err));
        TFM_TRY(tfm_weight_f32(g, s->extra, &w->extra, err));
        return tfm_weight_f32(g, s->bias, &w->bias, err);
    case TFM_OP_MOE_FFN: return prepare_all_experts(p, s, w, err);
    case TFM_OP_ATTEND: return tfm_weight_f32(g, s->extra, &w->extra, err);
    case TFM_OP_ROPE: return find_rope_table(p, s, &w->rope_table, err);
    default: return TFM_OK;
    }
}

/* ---- huge pages ---- */

typedef struct stretch {
    const uint8_t *at;
    size_t bytes;
} stretch;

static int by_address(const void *a, const void *b) {
    const uintptr_t x = (uintptr_t)((const stretch *)a)->at,
                    y = (uintptr_t)((const stretch *)b)->at;
    return x < y ? -1 : x > y;
}

void tfm_cpu_weights_advise(const cpu_plan *p) {
    enum { HUGE_PAGE = 2 << 20, GAP = 1 << 20 };
    const tfm_range *r = &p->base.range;
    const size_t n_steps = r->end - r->first;
    size_t n = 0;
    void *mem;
    tfm_error ignored;
    if (tfm_alloc(&mem, n_steps, sizeof(stretch), &ignored) != TFM_OK) return;
    stretch *s = mem;
    for (size_t i = 0; i < n_steps; i++) {
        const cpu_weights *w = &p->weights[i];
        if (w->panels == NULL || w->memory != NULL) continue;
        s[n++] = (stretch){w->panels, w->n_panels * w->panel_bytes};
    }
    qsort(s, n, sizeof *s, by_address);
    for (size_t i = 0, next; i < n; i = next) { /* a small gap, a norm, would cut a huge page */
        size_t bytes = s[i].bytes;
        for (next = i + 1; next < n; next++) {
            const size_t apart = (uintptr_t)s[next].at - (uintptr_t)s[i].at;
            if (apart > bytes && apart - bytes > GAP) break;
            if (apart + s[next].bytes > bytes) bytes = apart + s[next].bytes;
        }
        if (bytes >= HUGE_PAGE) tfm_advise_huge(s[i].at, bytes);
    }
    tfm_free(s);
}

void tfm_cpu_weights_free(cpu_weights *w) {
    for (int i = 0; w->expert != NULL && i < 3; i++) tfm_free(w->expert[i].memory);
    for (int i = 0; i < 3; i++) tfm_free(w->expert_bias[i]);
    tfm_free(w->expert);
    tfm_free(w->memory);
    tfm_free(w->weight);
    tfm_free(w->bias);
    tfm_free(w->extra);
}
