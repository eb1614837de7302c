/* cpu_jobs.c - linears cut into pieces for the thread pool.
 *
 * Pieces are panels of 16 outputs, and rows of activations to be prepared; their sizes depend on
 * the work and never on the number of threads, and no result depends on them at all
 * (kernel_internal.h). A step too small to share runs where it is. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum {
    PREPARE_WORK = 4096,    /* numbers of one piece of activations to prepare */
    LINEAR_WORK = 1 << 16,  /* multiplications of one piece of a linear */
    LEAST_WORK = 1 << 15,   /* below this a piece is not worth sharing */
    LINEAR_BYTES = 1 << 18, /* most weight bytes of one piece with many rows: half an L2 cache */
    FEW_ROWS = 32,          /* up to here a piece is sized by its work, above by its bytes */
    GROUPED_PANELS = 32,    /* float matrices of so many are cut into whole groups of four */
    GROUP_STEPS = 8         /* linears that share a job, at most */
};

static size_t pieces(size_t total, size_t each) {
    return (total + each - 1) / each;
}

static const tfm_cpu_kernels *kernels(const cpu_run *run) {
    return run->plan->be->kernels;
}

static tfm_pool *pool(const cpu_run *run) {
    return run->plan->be->pool;
}

/* ---- linear ---- */

typedef struct linear_job {
    const cpu_run *run;
    size_t n_steps;
    struct {
        tfm_cpu_linear args;
        uint32_t n_panels, panels_each;
        size_t piece_end; /* pieces of this step and those before it */
    } step[GROUP_STEPS];
    /* for the preparation of activations */
    const float *src;
    size_t rows_each;
} linear_job;

static void prepare_piece(void *arg, size_t piece, unsigned worker) {
    const linear_job *j = arg;
    const size_t first = piece * j->rows_each, left = j->run->n_rows - first;
    (void)worker;
    tfm_cpu_act_rows(j->run, &j->step[0].args, j->src, first,
                     first + (left < j->rows_each ? left : j->rows_each));
}

/* Do weights of these types want the same activations? Quantised ones do if their blocks are of one
 * length and their activations of one range. */
static bool same_act(tfm_dtype a, tfm_dtype b) {
    const bool plain_a = a == TFM_F32 || a == TFM_F16, plain_b = b == TFM_F32 || b == TFM_F16;
    if (plain_a || plain_b) return plain_a && plain_b;
    return tfm_dtype_block(a) == tfm_dtype_block(b) && tfm_act_most(a) == tfm_act_most(b);
}

static bool act_ready(const cpu_plan *p, int value, tfm_dtype type) {
    return p->act_value == value && same_act(p->act_type, type);
}

tfm_status tfm_cpu_act_reserve(const cpu_run *run, const tfm_step *s, tfm_cpu_linear *a) {
    cpu_plan *p = run->plan;
    const tfm_tensor *t = p->base.range.graph->weight[s->weight].tensor;
    size_t need, row = kernels(run)->act_bytes(t->dtype, t->dims[1]);
    *a = (tfm_cpu_linear){.type = t->dtype, .k = t->dims[1], .act_stride = (row + 63) / 64 * 64};
    if (row == 0) return TFM_OK;
    if (!tfm_mul_size(a->act_stride, run->n_rows, &need)) {
        return tfm_fail(run->err, TFM_NOMEM, "%u rows are too many", run->n_rows);
    }
    if (need > p->act_cap) {
        void *mem;
        p->act_value = -1;
        TFM_TRY(tfm_alloc_large(&mem, need, 1, run->err));
        tfm_free(p->act);
        p->act = mem;
        p->act_cap = need;
    }
    a->act = p->act;
    return TFM_OK;
}

void tfm_cpu_act_rows(const cpu_run *run, const tfm_cpu_linear *a, const float *src, size_t row,
                      size_t end) {
    for (; row < end; row++) {
        kernels(run)->prepare(a->type, a->k, src + row * a->k,
                              run->plan->act + row * a->act_stride);
    }
}

/* act and act_stride of the job's first step: the value itself, or its rounded form, made if need
 * be. */
static tfm_status prepare_activations(linear_job *j, const tfm_step *s) {
    cpu_plan *p = j->run->plan;
    tfm_cpu_linear *a = &j->step[0].args, r;
    TFM_TRY(tfm_cpu_act_reserve(j->run, s, &r));
    j->src = p->value[s->in[0]];
    a->act = r.act != NULL ? r.act : (const uint8_t *)j->src;
    a->act_stride = r.act != NULL ? r.act_stride : a->k * sizeof(float);
    if (r.act == NULL || act_ready(p, s->in[0], a->type)) return TFM_OK;
    j->rows_each = a->k < PREPARE_WORK ? PREPARE_WORK / a->k : 1;
    tfm_pool_run(pool(j->run), pieces(j->run->n_rows, j->rows_each), prepare_piece, j);
    p->act_value = s->in[0];
    p->act_type = a->type;
    return TFM_OK;
}

/* All rows times panels_each panels. */
static void linear_piece(void *arg, size_t piece, unsigned worker) {
    const linear_job *j = arg;
    const cpu_plan *p = j->run->plan;
    size_t i = 0;
    while (piece >= j->step[i].piece_end) i++;
    if (i > 0) piece -= j->step[i - 1].piece_end;
    const uint32_t first = (uint32_t)piece * j->step[i].panels_each;
    const uint32_t left = j->step[i].n_panels - first;
    const uint32_t end = first + (left < j->step[i].panels_each ? left : j->step[i].panels_each);
    kernels(j->run)->linear(&j->step[i].args, first, end, 0, j->run->n_rows,
                            p->scratch + worker * p->scratch_bytes);
}

/* Panels of one piece: enough work to be worth a claim, few enough to share and to stay in L2.
 * Fours of a float type, if there are enough to share: its kernels take so many at once, and one
 * panel of a single row waits for its own sums. Else pairs for several rows. */
static uint32_t panels_each(const cpu_weights *w, tfm_dtype type, uint32_t k, uint32_t n_rows) {
    const size_t work = (size_t)k * TFM_PANEL * n_rows > 0 ? (size_t)k * TFM_PANEL * n_rows : 1;
    size_t n = pieces(LINEAR_WORK, work), shared = w->n_panels / 8;
    if (n_rows > FEW_ROWS) {
        const size_t fit = LINEAR_BYTES / (w->panel_bytes > 0 ? w->panel_bytes : 1);
        shared = w->n_panels / 16; /* some dozen pieces for up to as many threads */
        n = fit < shared ? fit : shared;
    } else if (n > shared) {
        const size_t least = pieces(LEAST_WORK, work);
        n = shared > least ? shared : least;
    }
    const bool fours = tfm_dtype_block(type) == 1 && w->n_panels >= GROUPED_PANELS;
    const size_t together = fours ? 4 : n_rows > 1 ? 2 : 1;
    n = n < together ? together : n / together * together;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static tfm_status run_group(const cpu_run *run, const tfm_step *s, size_t n_steps) {
    cpu_plan *p = run->plan;
    linear_job j = {.run = run, .n_steps = n_steps};
    size_t n_pieces = 0;
    for (size_t i = 0; i < n_steps; i++) {
        const tfm_tensor *t = p->base.range.graph->weight[s[i].weight].tensor;
        const cpu_weights *w = cpu_step_weights(p, &s[i]);
        j.step[i].args = (tfm_cpu_linear){.type = t->dtype,
                                          .w = w->panels,
                                          .panel_bytes = w->panel_bytes,
                                          .k = t->dims[1],
                                          .n_out = t->dims[0],
                                          .bias = w->bias,
                                          .out = p->value[s[i].out[0]]};
        j.step[i].n_panels = w->n_panels;
        j.step[i].panels_each = panels_each(w, t->dtype, t->dims[1], run->n_rows);
        n_pieces += pieces(w->n_panels, j.step[i].panels_each);
        j.step[i].piece_end = n_pieces;
        TFM_TRY(
            tfm_cpu_reserve_scratch(p, kernels(run)->linear_bytes(t->dtype, t->dims[1]), run->err));
    }
    TFM_TRY(prepare_activations(&j, s));
    for (size_t i = 1; i < n_steps; i++) {
        j.step[i].args.act = j.step[0].args.act;
        j.step[i].args.act_stride = j.step[0].args.act_stride;
    }
    tfm_pool_run(pool(run), n_pieces, linear_piece, &j);
    return TFM_OK;
}

tfm_status tfm_cpu_linear_group(const cpu_run *run, const tfm_step *s, size_t n_steps) {
    const tfm_graph *g = run->plan->base.range.graph;
    while (n_steps > 0) { /* runs whose weights want the same activations */
        size_t n = 1;
        const tfm_dtype t = g->weight[s->weight].tensor->dtype;
        while (n < n_steps && n < GROUP_STEPS &&
               same_act(t, g->weight[s[n].weight].tensor->dtype)) {
            n++;
        }
        TFM_TRY(run_group(run, s, n));
        s += n;
        n_steps -= n;
    }
    return TFM_OK;
}
