/* ref_experts.c - mixture of experts: which experts a row goes to, and what they make of it.
 *
 *     route: l[e] = sum_k W[e,k] x[k] (+ b[e]); the `used` largest, ties to the lower expert
 *            p = softmax over all experts, or over the chosen ones
 *            weight[s] = scale p[s] (/ sum of the chosen p)
 *            or slot by slot a softmax over the experts that no slot before has, and of these,
 *            with m = l[id[s]], only those with m - l[e] <= near max(|l[e]|, m)
 *            or p = sigmoid(l); the choice is by p + choose if there is such a vector;
 *            in groups: among the experts of the groups_used groups whose group_sum largest
 *            p + choose have the largest sum, ties to the lower group
 *     ffn:   out = sum over slots s ascending of weight[s] * down_e(f(gate_e x) * up_e x),
 *            e = id[s]; without a gate f(up_e x); each of the three with its bias, if it has
 *            one; with a limit f(min(gate_e x, limit)) * (clip(up_e x, -limit, limit) + shift);
 *            or, weighing the input, the sum of down_e(..) with weight[s] x in place of x;
 *            without down the sum of weight[s] * up_e x
 *
 * Slots stand by falling logit, or falling p + choose. The router is never rounded below f32. */
#include <math.h>

#include "backend/math_internal.h"
#include "backend/ref/ref_internal.h"

/* A NaN counts as largest, so that it is chosen and seen. */
static bool larger(double a, double b) {
    return a > b || (isnan(a) && !isnan(b));
}

/* The largest logit that is not taken; the lowest expert of equal ones. */
static uint32_t choose(const double *logit, uint32_t n, const bool *taken) {
    uint32_t best = n;
    for (uint32_t e = 0; e < n; e++) {
        if (!taken[e] && (best == n || larger(logit[e], logit[best]))) best = e;
    }
    return best;
}

/* The softmax of slot m's expert among those that are not in id[0..slot). */
static double among_remaining(const tfm_step *s, const double *logit, uint32_t n, uint32_t slot,
                              const float *id) {
    const double m = logit[(uint32_t)id[slot]], near = s->u.route.near;
    double total = 0.0;
    for (uint32_t e = 0; e < n; e++) {
        bool out = near > 0.0 && m - logit[e] > near * fmax(fabs(logit[e]), m);
        for (uint32_t i = 0; i < slot; i++) out = out || (uint32_t)id[i] == e;
        if (!out) total += tfm_exp(logit[e] - m);
    }
    return 1.0 / total;
}

/* One row. logit: [n]; id, weight: [used]. */
static void route_row(const tfm_step *s, const double *logit, uint32_t n, bool *taken, float *id,
                      float *weight) {
    const uint32_t used = s->u.route.used;
    double all = 0.0, chosen = 0.0, max = -INFINITY;
    for (uint32_t e = 0; e < n; e++) taken[e] = false;
    for (uint32_t i = 0; i < used; i++) {
        const uint32_t e = choose(logit, n, taken);
        taken[e] = true;
        id[i] = (float)e;
        if (i == 0) max = logit[e];
    }
    for (uint32_t e = 0; e < n; e++) {
        all += tfm_exp(logit[e] - max);
        if (taken[e]) chosen += tfm_exp(logit[e] - max);
    }
    const bool over_chosen = s->u.route.softmax == TFM_SOFTMAX_AFTER || s->u.route.renormalise;
    for (uint32_t i = 0; i < used; i++) {
        double p = tfm_exp(logit[(uint32_t)id[i]] - max) / (over_chosen ? chosen : all);
        if (s->u.route.softmax == TFM_SOFTMAX_REMAINING) p = among_remaining(s, logit, n, i, id);
        weight[i] = (float)(p * (double)s->u.route.scale);
    }
}

/* The sum of the group's largest choices. taken: [n], false for this group before and after. */
static double group_score(const tfm_step *s, const double *choice, uint32_t each, bool *taken) {
    double sum = 0.0;
    for (uint32_t i = 0; i < s->u.route.group_sum; i++) {
        const uint32_t e = choose(choice, each, taken);
        taken[e] = true;
        sum += choice[e];
    }
    for (uint32_t e = 0; e < each; e++) taken[e] = false;
    return sum;
}

/* Marks the experts of the groups that are not used as taken. group: [groups] */
static void leave_groups(const tfm_step *s, const double *choice, uint32_t n, double *group,
                         bool *taken) {
    const uint32_t groups = s->u.route.groups, each = n / groups;
    bool *group_taken = taken + n; /* [groups], not more than n */
    for (uint32_t g = 0; g < groups; g++) {
        group[g] = group_score(s, choice + (size_t)g * each, each, taken + (size_t)g * each);
        group_taken[g] = false;
    }
    for (uint32_t i = 0; i < s->u.route.groups_used; i++) {
        group_taken[choose(group, groups, group_taken)] = true;
    }
    for (uint32_t e = 0; e < n; e++) taken[e] = !group_taken[e / each];
}

/* The same by scores. score: [n], becomes p; choice: [2, n]; taken: [2, n]; more: [n] or NULL. */
static void route_by_score(const tfm_step *s, double *score, const float *more, uint32_t n,
                           double *choice, bool *taken, float *id, float *weight) {
    const uint32_t used = s->u.route.used;
    double max = score[0], all = 0.0, chosen = 0.0;
    for (uint32_t e = 1; e < n; e++) max = larger(score[e], max) ? score[e] : max;
    for (uint32_t e = 0; e < n; e++) all += tfm_exp(score[e] - max);
    for (uint32_t e = 0; e < n; e++) {
        score[e] = s->u.route.sigmoid ? tfm_ref_activation(TFM_ACT_SIGMOID, score[e])
                                      : tfm_exp(score[e] - max) / all;
        choice[e] = more != NULL ? score[e] + more[e] : score[e];
        taken[e] = false;
    }
    if (s->u.route.groups > 1) leave_groups(s, choice, n, choice + n, taken);
    for (uint32_t i = 0; i < used; i++) {
        const uint32_t e = choose(choice, n, taken);
        taken[e] = true;
        id[i] = (float)e;
        chosen += score[e];
    }
    for (uint32_t i = 0; i < used; i++) {
        const double p = score[(uint32_t)id[i]] / (s->u.route.renormalise ? chosen : 1.0);
        weight[i] = (float)(p * (double)s->u.route.scale);
    }
}

tfm_status tfm_ref_route(const ref_call *c) {
    const uint32_t n = c->plan->base.range.graph->weight[c->step->weight].tensor->dims[0];
    const uint32_t k = ref_width_in(c, 0), used = c->step->u.route.used;
    void *logit = NULL, *taken = NULL;
    const bool by_score =
        c->step->u.route.sigmoid || c->w->extra != NULL || c->step->u.route.groups > 1;
    tfm_status st = tfm_alloc(&logit, 3 * (size_t)n, sizeof(double), c->err);
    if (st == TFM_OK) st = tfm_alloc(&taken, 2 * (size_t)n, sizeof(bool), c->err);
    for (uint32_t r = 0; st == TFM_OK && r < c->n_rows; r++) {
        for (uint32_t e = 0; e < n; e++) {
            double sum = 0.0;
            for (uint32_t i = 0; i < k; i++) {
                sum += (double)c->w->weight[(size_t)e * k + i] * c->in[0][(size_t)r * k + i];
            }
            ((double *)logit)[e] = c->w->bias != NULL ? sum + c->w->bias[e] : sum;
        }
        float *id = c->out[0] + (size_t)r * used, *weight = c->out[1] + (size_t)r * used;
        if (by_score)
            route_by_score(c->step, logit, c->w->extra, n, (double *)logit + n, taken, id, weight);
        else
            route_row(c->step, logit, n, taken, id, weight);
    }
    tfm_free(logit);
    tfm_free(taken);
    return st;
}

/* y = W_e x (+ b_e): matrix e of a tensor [experts, out, in], one row. bias: [experts, out] or
 * NULL. */
static tfm_status expert_linear(const ref_call *c, int weight, float *bias, uint32_t e,
                                const float *x, float *y) {
    const tfm_tensor *t = c->plan->base.range.graph->weight[weight].tensor;
    ref_weights w = {.matrix = *t};
    if (bias != NULL) w.bias = bias + (size_t)e * t->dims[1];
    w.matrix.rank = 2;
    w.matrix.dims[0] = t->dims[1];
    w.matrix.dims[1] = t->dims[2];
    w.matrix.bytes = t->bytes / t->dims[0];
    w.matrix.data = (const unsigned char *)t->data + e * w.matrix.bytes;
    const ref_call one = {.plan = c->plan,
                          .step = c->step,
                          .w = &w,
                          .batch = c->batch,
                          .n_rows = 1,
                          .in = {x},
                          .out = {y},
                          .err = c->err};
    return tfm_ref_linear(&one);
}

/* One row, one slot: y [width out]; inner: [2, ffn]; x: [width in]. */
static tfm_status run_expert(const ref_call *c, uint32_t e, const float *x, float *inner,
                             uint32_t ffn, float *y) {
    const tfm_step *s = c->step;
    const bool gated = s->weight != TFM_NONE;
    const float limit = s->u.experts.limit;
    float *gate = inner, *up = inner + ffn;
    if (s->extra == TFM_NONE) return expert_linear(c, s->bias, c->w->expert[1], e, x, y);
    TFM_TRY(expert_linear(c, s->bias, c->w->expert[1], e, x, up));
    if (gated) TFM_TRY(expert_linear(c, s->weight, c->w->expert[0], e, x, gate));
    for (uint32_t i = 0; i < ffn; i++) {
        if (limit > 0.0f) {
            if (gated && gate[i] > limit) gate[i] = limit;
            up[i] = up[i] < -limit ? -limit : up[i] > limit ? limit : up[i];
        }
        const double a = tfm_ref_activation(s->u.experts.kind, gated ? gate[i] : up[i]);
        if (s->u.experts.shift != 0.0f) up[i] += s->u.experts.shift;
        gate[i] = gated ? (float)a * up[i] : (float)a;
    }
    return expert_linear(c, s->extra, c->w->expert[2], e, gate, y);
}

tfm_status tfm_ref_experts(const ref_call *c) {
    const tfm_tensor *up = c->plan->base.range.graph->weight[c->step->bias].tensor;
    const uint32_t ffn = up->dims[1], width = ref_width_out(c, 0), used = ref_width_in(c, 1);
    const uint32_t width_in = up->dims[2];
    void *inner = NULL, *y = NULL, *sum = NULL, *weighed = NULL;
    tfm_status st = tfm_alloc(&inner, 2 * (size_t)ffn, sizeof(float), c->err);
    if (st == TFM_OK) st = tfm_alloc(&y, width, sizeof(float), c->err);
    if (st == TFM_OK) st = tfm_alloc(&sum, width, sizeof(double), c->err);
    if (st == TFM_OK) st = tfm_alloc(&weighed, width_in, sizeof(float), c->err);
    for (uint32_t r = 0; st == TFM_OK && r < c->n_rows; r++) {
        for (uint32_t i = 0; i < width; i++) ((double *)sum)[i] = 0.0;
        for (uint32_t s = 0; st == TFM_OK && s < used; s++) {
            const size_t at = (size_t)r * used + s;
            const uint32_t e = tfm_expert_id(c->in[1][at], up->dims[0]);
            const float *x = c->in[0] + (size_t)r * width_in;
            double weight = c->in[2][at];
            if (c->step->u.experts.weigh_input) {
                for (uint32_t i = 0; i < width_in; i++)
                    ((float *)weighed)[i] = (float)(weight * x[i]);
                x = weighed;
                weight = 1.0;
            }
            st = run_expert(c, e, x, inner, ffn, y);
            for (uint32_t i = 0; st == TFM_OK && i < width; i++) {
                ((double *)sum)[i] += weight * ((float *)y)[i];
            }
        }
        for (uint32_t i = 0; st == TFM_OK && i < width; i++) {
            c->out[0][(size_t)r * width + i] = (float)((double *)sum)[i];
        }
    }
    tfm_free(inner);
    tfm_free(y);
    tfm_free(sum);
    tfm_free(weighed);
    return st;
}
