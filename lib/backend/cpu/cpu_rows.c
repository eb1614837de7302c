/* cpu_rows.c - steps that work on single rows, cut into pieces for the thread pool.
 *
 * Consecutive ones are one job: a piece is some rows, and a few rows at a time go through all steps
 * while they are in the cache. That is the same as one step after the other over all rows, because
 * none of them looks at another row. A linear that follows finds its activations rounded: that is
 * done in the same pass. Owns the tables of rope, which are made once for a batch. */
#include <stdatomic.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "backend/math_internal.h"

enum {
    ROW_WORK = 16384,   /* numbers of a value that one piece has */
    BLOCK_WORK = 2048,  /* numbers of a value that go through all steps together: 8 KB */
    TABLE_WORK = 1024,  /* angles of one piece, each some 50 ns */
    GATHER_WORK = 16384 /* numbers of one piece of a gather */
};

static size_t rows_of(size_t work, size_t width) {
    return width < work ? work / (width > 0 ? width : 1) : 1;
}

static void run_pieces(const cpu_run *run, size_t rows_each, tfm_pool_job job, void *arg) {
    tfm_pool_run(run->plan->be->pool, (run->n_rows + rows_each - 1) / rows_each, job, arg);
}

/* ---- gather ---- */

typedef struct gather_job {
    const cpu_run *run;
    const tfm_step *step;
    size_t rows_each;
    atomic_bool failed;
} gather_job;

static tfm_status gather_row(const cpu_run *run, const tfm_step *s, size_t r, tfm_error *err) {
    const tfm_tensor *table = run->plan->base.range.graph->weight[s->weight].tensor;
    const uint32_t row = cpu_batch_row(run, (uint32_t)r);
    uint32_t index = s->u.gather.offset;
    if (s->u.gather.index == TFM_INDEX_TOKEN)
        index = (uint32_t)run->batch->token[row];
    else if (s->u.gather.index == TFM_INDEX_POSITION)
        index += run->batch->position[row];
    float *out = run->plan->value[s->out[0]] + r * cpu_width(run->plan, s->out[0]);
    return tfm_tensor_row_f32(table, index, out, err);
}

static void gather_piece(void *arg, size_t piece, unsigned worker) {
    gather_job *j = arg;
    const size_t first = piece * j->rows_each, end = first + j->rows_each;
    tfm_error err;
    (void)worker;
    for (size_t r = first; r < end && r < j->run->n_rows; r++) {
        if (gather_row(j->run, j->step, r, &err) != TFM_OK) atomic_store(&j->failed, true);
    }
}

tfm_status tfm_cpu_gather(const cpu_run *run, const tfm_step *s) {
    gather_job j = {.run = run, .step = s};
    j.rows_each = rows_of(GATHER_WORK, cpu_width(run->plan, s->out[0]));
    run_pieces(run, j.rows_each, gather_piece, &j);
    for (size_t r = 0; atomic_load(&j.failed) && r < run->n_rows; r++) { /* the first one tells */
        TFM_TRY(gather_row(run, s, r, run->err));
    }
    return TFM_OK;
}

/* ---- row-wise steps ---- */

typedef struct row_job {
    const cpu_run *run;
    const tfm_step *step; /* [n_steps] */
    size_t n_steps;
    tfm_cpu_norm norm[CPU_CHAIN_STEPS]; /* of the steps that are norms */
    size_t rows_each, block_rows;       /* rows of one piece, and of a block in it */
    tfm_cpu_linear next; /* act: where the activations of the linear behind go, or NULL */
} row_job;

bool tfm_cpu_is_rowwise(tfm_op op) {
    switch (op) {
    case TFM_OP_NORM:
    case TFM_OP_ROPE:
    case TFM_OP_SPLIT:
    case TFM_OP_CONCAT:
    case TFM_OP_ACTIVATION:
    case TFM_OP_MULTIPLY:
    case TFM_OP_ADD:
    case TFM_OP_SCALE:
    case TFM_OP_CLIP:
    case TFM_OP_SOFTCAP: return true;
    default: return false;
    }
}

/* Copies columns between one wide value and the parts of it. */
static void copy_parts(const cpu_plan *p, const tfm_step *s, size_t row, size_t end) {
    const bool split = s->op == TFM_OP_SPLIT;
    const int wide = split ? s->in[0] : s->out[0];
    const int n = split ? s->n_out : s->n_in;
    const int *part = split ? s->out : s->in;
    const uint32_t groups = s->u.parts.groups > 1 ? s->u.parts.groups : 1;
    for (; row < end; row++) {
        float *whole = p->value[wide] + row * cpu_width(p, wide);
        for (uint32_t g = 0; g < groups; g++) {
            for (int i = 0; i < n; i++) {
                const size_t width = cpu_width(p, part[i]);
                const size_t size = groups > 1 ? s->u.parts.size[i] : width;
                float *piece = p->value[part[i]] + row * width;
                if (width > size) piece += g * size; /* else the same for all groups */
                memcpy(split ? piece : whole, split ? whole : piece, size * sizeof *whole);
                whole += size;
            }
        }
    }
}

/* Rows [row, end) of a factor that grows with the position. */
static void scale_rows(const row_job *j, const tfm_step *s, size_t row, size_t end) {
    const cpu_plan *p = j->run->plan;
    const size_t width = cpu_width(p, s->out[0]);
    tfm_step one = {.op = TFM_OP_SCALE};
    for (; row < end; row++) {
        const uint32_t at = j->run->batch->position[cpu_batch_row(j->run, (uint32_t)row)];
        one.u.scale.by =
            (float)((double)s->u.scale.by *
                    tfm_growth(s->u.scale.growth, at, s->u.scale.first, s->u.scale.every));
        p->be->kernels->elementwise(&one, width, p->value[s->in[0]] + row * width, NULL,
                                    p->value[s->out[0]] + row * width);
    }
}

/* Rows [row, end) of one step. */
static void run_rows(const row_job *j, size_t step, size_t row, size_t end) {
    const cpu_plan *p = j->run->plan;
    const tfm_step *s = &j->step[step];
    const tfm_cpu_kernels *k = p->be->kernels;
    const size_t width = cpu_width(p, s->out[0]);
    const float *a = p->value[s->in[0]] + row * cpu_width(p, s->in[0]);
    float *out = p->value[s->out[0]] + row * width;
    switch (s->op) {
    case TFM_OP_SPLIT:
    case TFM_OP_CONCAT: copy_parts(p, s, row, end); return;
    case TFM_OP_NORM:
        for (; row < end; row++, a += width, out += width) k->norm(&j->norm[step], a, out);
        return;
    case TFM_OP_ROPE: {
        const float *table = p->rope[cpu_step_weights(p, s)->rope_table].cos_sin;
        for (; row < end; row++, a += width, out += width) {
            k->rope(s, table + row * s->u.rope.rot, a, out);
        }
        return;
    }
    case TFM_OP_SCALE:
        if (s->u.scale.growth == 0.0f) break;
        scale_rows(j, s, row, end);
        return;
    default: break;
    }
    const size_t width_b = s->n_in > 1 ? cpu_width(p, s->in[1]) : 0;
    const float *b = s->n_in > 1 ? p->value[s->in[1]] + row * width_b : NULL;
    if (b == NULL || width_b == width) {
        k->elementwise(s, (end - row) * width, a, b, out);
        return;
    }
    for (; row < end; row++, a += width, out += width, b++) { /* MULTIPLY by one number a row */
        k->elementwise(&(tfm_step){.op = TFM_OP_SCALE, .u.scale.by = *b}, width, a, NULL, out);
    }
}

static void row_piece(void *arg, size_t piece, unsigned worker) {
    const row_job *j = arg;
    const size_t first = piece * j->rows_each, left = j->run->n_rows - first;
    const size_t end = first + (left < j->rows_each ? left : j->rows_each);
    (void)worker;
    for (size_t row = first; row < end; row += j->block_rows) {
        const size_t stop = end - row < j->block_rows ? end : row + j->block_rows;
        for (size_t i = 0; i < j->n_steps; i++) run_rows(j, i, row, stop);
        if (j->next.act == NULL) continue;
        const int last = j->step[j->n_steps - 1].out[0];
        tfm_cpu_act_rows(j->run, &j->next, j->run->plan->value[last], row, stop);
    }
}

static tfm_cpu_norm norm_args(const cpu_plan *p, const tfm_step *s) {
    const tfm_graph *g = p->base.range.graph;
    const cpu_weights *w = cpu_step_weights(p, s);
    const uint32_t width = cpu_width(p, s->in[0]), n = width / s->u.norm.groups;
    tfm_cpu_norm a = {.kind = s->u.norm.kind, .eps = s->u.norm.eps, .n = n};
    a.groups = s->u.norm.groups;
    a.w = w->weight;
    a.b = w->bias;
    if (a.w != NULL && tfm_weight_count(g->weight[s->weight].tensor) == width) a.w_step = n;
    if (a.b != NULL && tfm_weight_count(g->weight[s->bias].tensor) == width) a.b_step = n;
    return a;
}

/* ---- tables of rope ---- */

typedef struct table_job {
    const cpu_run *run;
    const tfm_step *step;
    float *cos_sin; /* [rows][2][rot / 2] */
    size_t rows_each;
} table_job;

static void table_piece(void *arg, size_t piece, unsigned worker) {
    const table_job *j = arg;
    const tfm_step *s = j->step;
    const uint32_t half = s->u.rope.rot / 2;
    const size_t first = piece * j->rows_each, end = first + j->rows_each;
    (void)worker;
    for (size_t r = first; r < end && r < j->run->n_rows; r++) {
        float *to = j->cos_sin + r * s->u.rope.rot;
        const double position = j->run->batch->position[cpu_batch_row(j->run, (uint32_t)r)];
        for (uint32_t i = 0; i < half; i++) {
            double sine, cosine;
            tfm_sincos(position * (double)s->u.rope.inv_freq[i], &sine, &cosine);
            to[i] = (float)(cosine * (double)s->u.rope.magnitude);
            to[half + i] = (float)(sine * (double)s->u.rope.magnitude);
        }
    }
}

static void make_table(const cpu_run *run, const tfm_step *s) {
    cpu_rope_table *t = &run->plan->rope[cpu_step_weights(run->plan, s)->rope_table];
    table_job j = {.run = run, .step = s, .cos_sin = t->cos_sin};
    if (t->ready) return;
    j.rows_each = rows_of(TABLE_WORK, s->u.rope.rot / 2);
    run_pieces(run, j.rows_each, table_piece, &j);
    t->ready = true;
}

tfm_status tfm_cpu_rowwise(const cpu_run *run, const tfm_step *s, size_t n_steps,
                           const tfm_step *next) {
    row_job j = {.run = run, .step = s, .n_steps = n_steps};
    size_t width = 1;
    if (next != NULL) TFM_TRY(tfm_cpu_act_reserve(run, next, &j.next));
    for (size_t i = 0; i < n_steps; i++) {
        const uint32_t in = cpu_width(run->plan, s[i].in[0]);
        const uint32_t out = cpu_width(run->plan, s[i].out[0]);
        width = in > width ? in : width;
        width = out > width ? out : width;
        if (s[i].op == TFM_OP_NORM) j.norm[i] = norm_args(run->plan, &s[i]);
        if (s[i].op == TFM_OP_ROPE) make_table(run, &s[i]);
    }
    j.rows_each = rows_of(ROW_WORK, width);
    j.block_rows = rows_of(BLOCK_WORK, width);
    run_pieces(run, j.rows_each, row_piece, &j);
    return TFM_OK;
}
