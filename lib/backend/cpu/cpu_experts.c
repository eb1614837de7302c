/* cpu_experts.c - mixture of experts on the thread pool.
 *
 *     route: logits by the f32 linear kernel; then, row by row, the choice and the softmax:
 *            total = sum of exp(l - max), experts ascending (over the chosen: slots ascending);
 *            over the remaining: slot by slot with the slot's own l for max
 *            or by p + choose, p being sigmoid(l) or the softmax: total = sum of the chosen p;
 *            a group's score is the sum of its largest p + choose, falling
 *     ffn:   (row, slot) pairs sorted by expert -> gate, up -> f, multiply -> down
 *            out[r] = 0; for slots ascending: out[r] = out[r] + weight * y
 *            or, weighing the input, gate and up of weight * x, and out[r] = out[r] + y;
 *            without down y is up's
 *
 * Rows that go to one expert share the decoding of its weights, as rows of a linear do; each one's
 * numbers are its own, so how the router deals a batch changes no bit. */
#include <math.h>
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum { PANELS_EACH = 4, PAIRS_EACH = 8, ROUTE_ROWS = 32 };

static const tfm_cpu_kernels *kernels(const cpu_run *run) {
    return run->plan->be->kernels;
}

static size_t pieces(size_t total, size_t each) {
    return (total + each - 1) / each;
}

/* Takes the next n * size bytes of the plan's scratch, or (mem NULL) only counts them. */
static void *carve(uint8_t *mem, size_t *at, size_t n, size_t size) {
    void *p = mem != NULL ? mem + *at : NULL;
    *at += (n * size + 63) / 64 * 64;
    return p;
}

static tfm_status reserve(cpu_plan *p, size_t bytes, tfm_error *err) {
    void *mem;
    if (bytes <= p->expert_cap) return TFM_OK;
    TFM_TRY(tfm_alloc_aligned(&mem, 64, bytes, 1, err));
    tfm_free(p->expert_scratch);
    p->expert_scratch = mem;
    p->expert_cap = bytes;
    return TFM_OK;
}

/* ---- routing ---- */

typedef struct route_job {
    const cpu_run *run;
    const tfm_step *step;
    tfm_cpu_linear args; /* out: logits [rows, experts] */
    uint32_t n_panels;
    float *work;        /* [rows, experts] */
    float *choice;      /* [rows, experts]: p + more */
    float *group;       /* [rows, experts]: scores of the groups */
    const float *more;  /* [experts] or NULL */
    float *id, *weight; /* [rows, used] */
} route_job;

/* A NaN counts as largest, so that it is chosen and seen. */
static bool larger(float a, float b) {
    return a > b || (isnan(a) && !isnan(b));
}

/* The largest of those that work does not mark, which then marks it; the lowest of equal ones. */
static uint32_t take(const float *score, float *work, uint32_t n) {
    uint32_t best = n;
    for (uint32_t e = 0; e < n; e++) {
        if (work[e] > 0.0f) continue;
        if (best == n || larger(score[e], score[best])) best = e;
    }
    work[best] = 1.0f;
    return best;
}

/* The `used` largest logits of those that work does not mark, falling. */
static void choose(const float *logit, float *work, uint32_t n, uint32_t used, float *id) {
    for (uint32_t i = 0; i < used; i++) id[i] = (float)take(logit, work, n);
}

/* Marks in work [n] the experts of all but the best groups. group: [groups] */
static void leave_groups(const tfm_step *s, const float *choice, uint32_t n, float *group,
                         float *work) {
    const uint32_t groups = s->u.route.groups, each = n / groups;
    for (uint32_t g = 0; g < groups; g++) {
        const size_t at = (size_t)g * each;
        group[g] = 0.0f;
        for (uint32_t i = 0; i < s->u.route.group_sum; i++) {
            group[g] = group[g] + choice[at + take(choice + at, work + at, each)];
        }
    }
    memset(work, 0, n * sizeof *work);
    for (uint32_t i = 0; i < s->u.route.groups_used; i++) take(group, work, groups);
    for (uint32_t g = groups; g-- > 0;) { /* from a mark a group to one an expert, in place */
        const float left = work[g] > 0.0f ? 0.0f : 1.0f;
        for (uint32_t e = 0; e < each; e++) work[(size_t)g * each + e] = left;
    }
}

/* Each slot's softmax over the experts that no slot before it has, and that are near it. */
static void weigh_remaining(const route_job *j, const float *logit, float *work, const float *id,
                            float *weight) {
    const uint32_t n = j->args.n_out, used = j->step->u.route.used;
    const double near = j->step->u.route.near;
    for (uint32_t s = 0; s < used; s++) {
        const float m = logit[(uint32_t)id[s]];
        float total = 0.0f;
        for (uint32_t e = 0; e < n; e++) {
            const double l = logit[e];
            const bool far = near > 0.0 && (double)m - l > near * fmax(fabs(l), (double)m);
            work[e] = far ? -INFINITY : logit[e] - m;
        }
        for (uint32_t i = 0; i < s; i++) work[(uint32_t)id[i]] = -INFINITY;
        kernels(j->run)->exp(n, work, work);
        for (uint32_t e = 0; e < n; e++) total = total + work[e];
        weight[s] = work[(uint32_t)id[s]] / total * j->step->u.route.scale;
    }
}

static void route_row(const route_job *j, uint32_t row) {
    const uint32_t n = j->args.n_out, used = j->step->u.route.used;
    const float *logit = j->args.out + (size_t)row * n;
    float *work = j->work + (size_t)row * n;
    float *id = j->id + (size_t)row * used, *weight = j->weight + (size_t)row * used;
    float total = 0.0f;
    memset(work, 0, n * sizeof *work);
    choose(logit, work, n, used, id);
    if (j->step->u.route.softmax == TFM_SOFTMAX_REMAINING) {
        weigh_remaining(j, logit, work, id, weight);
        return;
    }
    const float max = logit[(uint32_t)id[0]];
    for (uint32_t e = 0; e < n; e++) work[e] = logit[e] - max;
    kernels(j->run)->exp(n, work, work);
    if (j->step->u.route.softmax == TFM_SOFTMAX_AFTER || j->step->u.route.renormalise) {
        for (uint32_t i = 0; i < used; i++) total = total + work[(uint32_t)id[i]];
    } else {
        for (uint32_t e = 0; e < n; e++) total = total + work[e];
    }
    for (uint32_t i = 0; i < used; i++) {
        weight[i] = work[(uint32_t)id[i]] / total * j->step->u.route.scale;
    }
}

static void route_by_score(const route_job *j, uint32_t row) {
    const tfm_step sigmoid = {.op = TFM_OP_ACTIVATION, .u = {.activation = TFM_ACT_SIGMOID}};
    const uint32_t n = j->args.n_out, used = j->step->u.route.used;
    float *p = j->args.out + (size_t)row * n, *choice = j->choice + (size_t)row * n;
    float *work = j->work + (size_t)row * n;
    float *id = j->id + (size_t)row * used, *weight = j->weight + (size_t)row * used;
    float max = p[0], all = 0.0f, total = 0.0f;
    if (j->step->u.route.sigmoid) {
        kernels(j->run)->elementwise(&sigmoid, n, p, NULL, p);
    } else {
        for (uint32_t e = 1; e < n; e++) max = larger(p[e], max) ? p[e] : max;
        for (uint32_t e = 0; e < n; e++) p[e] = p[e] - max;
        kernels(j->run)->exp(n, p, p);
        for (uint32_t e = 0; e < n; e++) all = all + p[e];
        for (uint32_t e = 0; e < n; e++) p[e] = p[e] / all;
    }
    for (uint32_t e = 0; e < n; e++) choice[e] = j->more != NULL ? p[e] + j->more[e] : p[e];
    memset(work, 0, n * sizeof *work);
    if (j->step->u.route.groups > 1) {
        leave_groups(j->step, choice, n, j->group + (size_t)row * n, work);
    }
    choose(choice, work, n, used, id);
    for (uint32_t i = 0; i < used; i++) total = total + p[(uint32_t)id[i]];
    if (!j->step->u.route.renormalise) total = 1.0f;
    for (uint32_t i = 0; i < used; i++) {
        weight[i] = p[(uint32_t)id[i]] / total * j->step->u.route.scale;
    }
}

static void route_piece(void *arg, size_t piece, unsigned worker) {
    const route_job *j = arg;
    const cpu_plan *p = j->run->plan;
    const uint32_t row = (uint32_t)piece * ROUTE_ROWS, left = j->run->n_rows - row;
    const uint32_t end = row + (left < ROUTE_ROWS ? left : ROUTE_ROWS);
    kernels(j->run)->linear(&j->args, 0, j->n_panels, row, end,
                            p->scratch + worker * p->scratch_bytes);
    const bool by_score =
        j->step->u.route.sigmoid || j->more != NULL || j->step->u.route.groups > 1;
    for (uint32_t r = row; r < end; r++) by_score ? route_by_score(j, r) : route_row(j, r);
}

tfm_status tfm_cpu_route(const cpu_run *run, const tfm_step *s) {
    cpu_plan *p = run->plan;
    const cpu_weights *w = cpu_step_weights(p, s);
    const tfm_tensor *t = p->base.range.graph->weight[s->weight].tensor;
    const size_t n = (size_t)run->n_rows * t->dims[0];
    size_t bytes = 0;
    carve(NULL, &bytes, 4 * n, sizeof(float));
    TFM_TRY(reserve(p, bytes, run->err));
    TFM_TRY(
        tfm_cpu_reserve_scratch(p, p->be->kernels->linear_bytes(TFM_F32, t->dims[1]), run->err));
    float *logits = (float *)(void *)p->expert_scratch;
    route_job j = {.run = run, .step = s, .n_panels = w->n_panels, .work = logits + n};
    j.choice = logits + 2 * n;
    j.group = logits + 3 * n;
    j.more = w->extra;
    j.args = (tfm_cpu_linear){.type = TFM_F32,
                              .w = w->panels,
                              .panel_bytes = w->panel_bytes,
                              .k = t->dims[1],
                              .n_out = t->dims[0],
                              .bias = w->bias,
                              .act = (const uint8_t *)p->value[s->in[0]],
                              .act_stride = t->dims[1] * sizeof(float),
                              .out = logits};
    j.id = p->value[s->out[0]];
    j.weight = p->value[s->out[1]];
    tfm_pool_run(p->be->pool, pieces(run->n_rows, ROUTE_ROWS), route_piece, &j);
    return TFM_OK;
}

/* ---- the experts ---- */

typedef struct expert_job {
    const cpu_run *run;
    const tfm_step *step;
    uint32_t used, n_pairs, n_experts, ffn, width;
    uint32_t *first;  /* [experts + 1]: pairs of expert e are [first[e], first[e + 1]) */
    uint32_t *active; /* [experts]: those that have pairs */
    uint32_t n_active;
    uint32_t *slot;   /* [pairs]: row of the batch * used + slot */
    uint32_t *pair;   /* [rows, used]: where a slot's pair stands */
    float *gate, *up; /* [pairs, ffn] */
    float *y;         /* [pairs, width out] */
    uint8_t *act;     /* [pairs] of act_stride */
    /* the linear that runs */
    const cpu_expert_matrix *w;
    const float *bias; /* [experts, n_out] or NULL */
    tfm_cpu_linear args;
    const float *src; /* [rows or pairs, k] */
    bool by_row;      /* src has a row for each row of the batch, else for each pair */
    bool weighed;     /* the rows of src times their slots' weights */
} expert_job;

static void prepare_piece(void *arg, size_t piece, unsigned worker) {
    const expert_job *j = arg;
    const tfm_cpu_linear *a = &j->args;
    const uint32_t from = (uint32_t)piece * PAIRS_EACH;
    const cpu_plan *p = j->run->plan;
    float *scaled = (float *)(void *)(p->scratch + worker * p->scratch_bytes); /* [k] */
    tfm_step times = {.op = TFM_OP_SCALE};
    for (uint32_t i = from; i < from + PAIRS_EACH && i < j->n_pairs; i++) {
        const float *x = j->src + (size_t)(j->by_row ? j->slot[i] / j->used : i) * a->k;
        uint8_t *to = j->act + i * a->act_stride;
        if (j->weighed) {
            times.u.scale.by = p->value[j->step->in[2]][j->slot[i]];
            kernels(j->run)->elementwise(&times, a->k, x, NULL, scaled);
            x = scaled;
        }
        if (kernels(j->run)->act_bytes(a->type, a->k) == 0)
            memcpy(to, x, a->k * sizeof *x);
        else
            kernels(j->run)->prepare(a->type, a->k, x, to);
    }
}

/* Some panels of one expert, all its pairs. */
static void linear_piece(void *arg, size_t piece, unsigned worker) {
    const expert_job *j = arg;
    const size_t each = pieces(j->w->n_panels, PANELS_EACH);
    const uint32_t e = j->active[piece / each], first = (uint32_t)(piece % each) * PANELS_EACH;
    const uint32_t left = j->w->n_panels - first;
    const cpu_plan *p = j->run->plan;
    tfm_cpu_linear a = j->args;
    a.w = j->w->panels + (size_t)e * j->w->n_panels * j->w->panel_bytes;
    if (j->bias != NULL) a.bias = j->bias + (size_t)e * a.n_out;
    kernels(j->run)->linear(&a, first, first + (left < PANELS_EACH ? left : PANELS_EACH),
                            j->first[e], j->first[e + 1], p->scratch + worker * p->scratch_bytes);
}

/* Bytes of one prepared row for the weight t, whose last dim is k. */
static size_t act_stride(const cpu_run *run, const tfm_tensor *t) {
    const size_t bytes = kernels(run)->act_bytes(t->dtype, t->dims[2]);
    return ((bytes > 0 ? bytes : t->dims[2] * sizeof(float)) + 63) / 64 * 64;
}

/* out [pairs, n_out] = each pair's expert of weight `id` times its row of src. part: its place
 * among the step's three matrices. */
static tfm_status expert_linear(expert_job *j, int part, int id, const float *src, bool by_row,
                                float *out) {
    const tfm_tensor *t = j->run->plan->base.range.graph->weight[id].tensor;
    tfm_pool *pool = j->run->plan->be->pool;
    j->w = &cpu_step_weights(j->run->plan, j->step)->expert[part];
    j->bias = cpu_step_weights(j->run->plan, j->step)->expert_bias[part];
    j->src = src;
    j->by_row = by_row;
    j->weighed = by_row && j->step->u.experts.weigh_input;
    j->args = (tfm_cpu_linear){.type = t->dtype,
                               .panel_bytes = j->w->panel_bytes,
                               .k = t->dims[2],
                               .n_out = t->dims[1],
                               .act = j->act,
                               .act_stride = act_stride(j->run, t),
                               .out = out};
    size_t scratch = kernels(j->run)->linear_bytes(t->dtype, t->dims[2]);
    if (j->weighed && scratch < t->dims[2] * sizeof(float)) scratch = t->dims[2] * sizeof(float);
    TFM_TRY(tfm_cpu_reserve_scratch(j->run->plan, scratch, j->run->err));
    tfm_pool_run(pool, pieces(j->n_pairs, PAIRS_EACH), prepare_piece, j);
    tfm_pool_run(pool, j->n_active * pieces(j->w->n_panels, PANELS_EACH), linear_piece, j);
    return TFM_OK;
}

/* With a limit: gate <= limit, -limit <= up <= limit, and then up + shift. */
static void clamp(const tfm_step *s, size_t n, float *gate, float *up) {
    const float limit = s->u.experts.limit, shift = s->u.experts.shift;
    for (size_t i = 0; limit > 0.0f && i < n; i++) {
        if (gate[i] > limit) gate[i] = limit;
        up[i] = up[i] < -limit ? -limit : up[i] > limit ? limit : up[i];
    }
    if (s->weight == TFM_NONE || shift == 0.0f) return; /* -0 + 0 is another number */
    for (size_t i = 0; i < n; i++) up[i] = up[i] + shift;
}

static void activate_piece(void *arg, size_t piece, unsigned worker) {
    const expert_job *j = arg;
    const tfm_step f = {.op = TFM_OP_ACTIVATION, .u = {.activation = j->step->u.experts.kind}};
    const tfm_step times = {.op = TFM_OP_MULTIPLY};
    const size_t from = piece * PAIRS_EACH, left = j->n_pairs - from;
    const size_t n = (left < PAIRS_EACH ? left : PAIRS_EACH) * j->ffn, at = from * j->ffn;
    float *gate = j->gate + at, *up = j->up + at;
    (void)worker;
    clamp(j->step, n, gate, up);
    if (j->step->weight == TFM_NONE) {
        kernels(j->run)->elementwise(&f, n, up, NULL, gate);
        return;
    }
    kernels(j->run)->elementwise(&f, n, gate, NULL, gate);
    kernels(j->run)->elementwise(&times, n, gate, up, gate);
}

static void sum_piece(void *arg, size_t piece, unsigned worker) {
    const expert_job *j = arg;
    const cpu_plan *p = j->run->plan;
    const size_t from = piece * PAIRS_EACH;
    const bool plain = j->step->u.experts.weigh_input;
    (void)worker;
    for (size_t r = from; r < from + PAIRS_EACH && r < j->run->n_rows; r++) {
        float *out = p->value[j->step->out[0]] + r * j->width;
        memset(out, 0, j->width * sizeof *out);
        for (uint32_t s = 0; s < j->used; s++) {
            const float weight = plain ? 1.0f : p->value[j->step->in[2]][r * j->used + s];
            const float *y = j->y + (size_t)j->pair[r * j->used + s] * j->width;
            for (uint32_t i = 0; i < j->width; i++) out[i] = out[i] + weight * y[i];
        }
    }
}

/* Deals the (row, slot) pairs to their experts, rows ascending within each. */
static void deal(expert_job *j) {
    const float *id = j->run->plan->value[j->step->in[1]];
    memset(j->first, 0, (j->n_experts + 1) * sizeof *j->first);
    for (uint32_t i = 0; i < j->n_pairs; i++) j->first[tfm_expert_id(id[i], j->n_experts) + 1]++;
    j->n_active = 0;
    for (uint32_t e = 0; e < j->n_experts; e++) {
        if (j->first[e + 1] > 0) j->active[j->n_active++] = e;
        j->first[e + 1] += j->first[e];
    }
    for (uint32_t i = 0; i < j->n_pairs; i++) { /* first[e] moves to the end of e's pairs */
        const uint32_t e = tfm_expert_id(id[i], j->n_experts);
        j->slot[j->first[e]] = i;
        j->pair[i] = j->first[e]++;
    }
    memmove(j->first + 1, j->first, j->n_experts * sizeof *j->first);
    j->first[0] = 0;
}

/* Memory for all pairs, out of the plan's scratch; twice: once to count. */
static size_t lay_out(expert_job *j, uint8_t *mem, size_t stride) {
    size_t at = 0;
    j->first = carve(mem, &at, (size_t)j->n_experts + 1, sizeof(uint32_t));
    j->active = carve(mem, &at, j->n_experts, sizeof(uint32_t));
    j->slot = carve(mem, &at, j->n_pairs, sizeof(uint32_t));
    j->pair = carve(mem, &at, j->n_pairs, sizeof(uint32_t));
    j->gate = carve(mem, &at, (size_t)j->n_pairs * j->ffn, sizeof(float));
    j->up = carve(mem, &at, (size_t)j->n_pairs * j->ffn, sizeof(float));
    j->y = carve(mem, &at, (size_t)j->n_pairs * j->width, sizeof(float));
    j->act = carve(mem, &at, j->n_pairs, stride);
    return at;
}

tfm_status tfm_cpu_experts(const cpu_run *run, const tfm_step *s) {
    cpu_plan *p = run->plan;
    const tfm_graph *g = p->base.range.graph;
    const tfm_tensor *up = g->weight[s->bias].tensor;
    const tfm_tensor *down = s->extra != TFM_NONE ? g->weight[s->extra].tensor : NULL;
    const uint32_t used = cpu_width(p, s->in[1]);
    if (run->n_rows > UINT32_MAX / used) {
        return tfm_fail(run->err, TFM_NOMEM, "%u rows are too many", run->n_rows);
    }
    expert_job j = {.run = run, .step = s, .used = used, .n_pairs = run->n_rows * used};
    j.n_experts = up->dims[0];
    j.ffn = up->dims[1];
    j.width = down != NULL ? down->dims[1] : up->dims[1];
    size_t stride = act_stride(run, up);
    if (down != NULL && act_stride(run, down) > stride) stride = act_stride(run, down);
    if (s->weight != TFM_NONE && act_stride(run, g->weight[s->weight].tensor) > stride) {
        stride = act_stride(run, g->weight[s->weight].tensor);
    }
    TFM_TRY(reserve(p, lay_out(&j, NULL, stride), run->err));
    lay_out(&j, p->expert_scratch, stride);
    deal(&j);
    const float *x = p->value[s->in[0]];
    if (s->weight != TFM_NONE) TFM_TRY(expert_linear(&j, 0, s->weight, x, true, j.gate));
    TFM_TRY(expert_linear(&j, 1, s->bias, x, true, down != NULL ? j.up : j.y));
    if (down != NULL) {
        tfm_pool_run(p->be->pool, pieces(j.n_pairs, PAIRS_EACH), activate_piece, &j);
        TFM_TRY(expert_linear(&j, 2, s->extra, j.gate, false, j.y));
    }
    tfm_pool_run(p->be->pool, pieces(run->n_rows, PAIRS_EACH), sum_piece, &j);
    return TFM_OK;
}
