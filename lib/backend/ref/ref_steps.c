/* ref_steps.c - the row-wise steps, each as its formula, in double, rounded once to f32. */
#include <math.h>
#include <string.h>

#include "backend/math_internal.h"
#include "backend/ref/ref_internal.h"

/* out[r,:] = W[token(r),:], W[position(r) + offset,:], or W[offset,:] */
tfm_status tfm_ref_gather(const ref_call *c) {
    const tfm_tensor *table = c->plan->base.range.graph->weight[c->step->weight].tensor;
    const uint32_t width = ref_width_out(c, 0);
    for (uint32_t r = 0; r < c->n_rows; r++) {
        const uint32_t row = c->row_of != NULL ? c->row_of[r] : r;
        uint32_t index = c->step->u.gather.offset;
        if (c->step->u.gather.index == TFM_INDEX_TOKEN)
            index = (uint32_t)c->batch->token[row];
        else if (c->step->u.gather.index == TFM_INDEX_POSITION)
            index += ref_position(c, r);
        TFM_TRY(tfm_tensor_row_f32(table, index, c->out[0] + (size_t)r * width, c->err));
    }
    return TFM_OK;
}

/* One group x[n]: (x - mean) / sqrt(mean((x - mean)^2) + eps) * w + b; rms has mean 0 and no b. */
static void norm_group(const tfm_step *s, const float *x, uint32_t n, const float *w,
                       const float *b, float *out) {
    double mean = 0.0, square = 0.0;
    if (s->u.norm.kind == TFM_NORM_LAYER) {
        for (uint32_t i = 0; i < n; i++) mean += x[i];
        mean /= n;
    }
    for (uint32_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    const double root = sqrt(square / n + (double)s->u.norm.eps);
    for (uint32_t i = 0; i < n; i++) {
        double y = (x[i] - mean) / root;
        if (w != NULL) y *= w[i];
        if (b != NULL) y += b[i];
        out[i] = (float)y;
    }
}

void tfm_ref_norm(const ref_call *c) {
    const tfm_graph *g = c->plan->base.range.graph;
    const uint32_t width = ref_width_in(c, 0), groups = c->step->u.norm.groups;
    const uint32_t n = width / groups;
    const float *w = c->w->weight, *b = c->w->bias;
    /* A weight as wide as the row has its own part for each group. */
    const bool w_each = w != NULL && tfm_weight_count(g->weight[c->step->weight].tensor) == width;
    const bool b_each = b != NULL && tfm_weight_count(g->weight[c->step->bias].tensor) == width;
    for (uint32_t r = 0; r < c->n_rows; r++) {
        for (uint32_t i = 0; i < groups; i++) {
            const size_t at = (size_t)r * width + (size_t)i * n;
            norm_group(c->step, c->in[0] + at, n, w_each ? w + (size_t)i * n : w,
                       b_each ? b + (size_t)i * n : b, c->out[0] + at);
        }
    }
}

/* Where group g of narrow value i, `width` wide, starts in its row, and how many columns it has. */
static size_t part_of(const tfm_step *s, int i, size_t width, uint32_t g, size_t *n) {
    *n = s->u.parts.groups > 1 ? s->u.parts.size[i] : width;
    return width > *n ? g * *n : 0; /* as wide as one group: the same for all */
}

static uint32_t groups_of(const tfm_step *s) {
    return s->u.parts.groups > 1 ? s->u.parts.groups : 1;
}

/* out_i[r, g, :] = in[r, g, columns of i] */
void tfm_ref_split(const ref_call *c) {
    const float *from = c->in[0];
    for (uint32_t r = 0; r < c->n_rows; r++) {
        for (uint32_t g = 0; g < groups_of(c->step); g++) {
            for (int i = 0; i < c->step->n_out; i++) {
                const size_t width = ref_width_out(c, i);
                size_t n, at = part_of(c->step, i, width, g, &n);
                memcpy(c->out[i] + r * width + at, from, n * sizeof *from);
                from += n;
            }
        }
    }
}

/* out[r, g, columns of i] = in_i[r, g, :], or in_i[r, :] */
void tfm_ref_concat(const ref_call *c) {
    float *to = c->out[0];
    for (uint32_t r = 0; r < c->n_rows; r++) {
        for (uint32_t g = 0; g < groups_of(c->step); g++) {
            for (int i = 0; i < c->step->n_in; i++) {
                const size_t width = ref_width_in(c, i);
                size_t n, at = part_of(c->step, i, width, g, &n);
                memcpy(to, c->in[i] + r * width + at, n * sizeof *to);
                to += n;
            }
        }
    }
}

/* (a, b) -> (a cos - b sin, a sin + b cos) with the angle position * inv_freq[i]. The pair i of a
 * head is (i, i + rot/2) for neox, (2i, 2i + 1) for interleaved, counted from its column
 * `first`. */
static void rope_head(const tfm_step *s, uint32_t position, const float *x, float *out) {
    const uint32_t half = s->u.rope.rot / 2, first = s->u.rope.first;
    const bool neox = s->u.rope.mode == TFM_ROPE_NEOX;
    for (uint32_t i = 0; i < half; i++) {
        const uint32_t i0 = first + (neox ? i : 2 * i), i1 = neox ? i0 + half : i0 + 1;
        const double a = x[i0], b = x[i1];
        double sine, cosine;
        tfm_sincos((double)position * (double)s->u.rope.inv_freq[i], &sine, &cosine);
        sine *= (double)s->u.rope.magnitude;
        cosine *= (double)s->u.rope.magnitude;
        out[i0] = (float)(a * cosine - b * sine);
        out[i1] = (float)(a * sine + b * cosine);
    }
    for (uint32_t i = 0; i < first; i++) out[i] = x[i];
    for (uint32_t i = first + 2 * half; i < s->u.rope.head_dim; i++) out[i] = x[i];
}

void tfm_ref_rope(const ref_call *c) {
    const uint32_t heads = c->step->u.rope.heads;
    for (uint32_t r = 0; r < c->n_rows; r++) {
        for (uint32_t h = 0; h < heads; h++) {
            const size_t at = ((size_t)r * heads + h) * c->step->u.rope.head_dim;
            rope_head(c->step, ref_position(c, r), c->in[0] + at, c->out[0] + at);
        }
    }
}

double tfm_ref_activation(tfm_activation kind, double x) {
    switch (kind) {
    case TFM_ACT_SILU: return x / (1.0 + tfm_exp(-x));
    case TFM_ACT_GELU: return 0.5 * x * (1.0 + tfm_erf(x * 0.70710678118654752));
    case TFM_ACT_GELU_TANH: /* sqrt(2/pi) */
        return 0.5 * x * (1.0 + tfm_tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
    case TFM_ACT_GELU_QUICK: return x / (1.0 + tfm_exp(-1.702 * x));
    case TFM_ACT_RELU: return x > 0.0 || isnan(x) ? x : 0.0;
    case TFM_ACT_RELU2: return x > 0.0 || isnan(x) ? x * x : 0.0;
    case TFM_ACT_TANH: return tfm_tanh(x);
    case TFM_ACT_SIGMOID: return 1.0 / (1.0 + tfm_exp(-x));
    case TFM_ACT_ELU: return x > 0.0 || isnan(x) ? x : tfm_expm1(x);
    }
    return NAN; /* not reached: the graph has been checked */
}

static double elementwise(const tfm_step *s, double a, double b) {
    switch (s->op) {
    case TFM_OP_ACTIVATION: return tfm_ref_activation(s->u.activation, a);
    case TFM_OP_MULTIPLY: return a * b;
    case TFM_OP_ADD: return a + b;
    case TFM_OP_CLIP:
        return a < (double)s->u.clip.lo   ? (double)s->u.clip.lo
               : a > (double)s->u.clip.hi ? (double)s->u.clip.hi
                                          : a;
    case TFM_OP_SOFTCAP: return (double)s->u.softcap * tfm_tanh(a / (double)s->u.softcap);
    default: return NAN; /* not reached: only these are sent here */
    }
}

/* The factor is rounded to f32 before it multiplies. */
static void scale_rows(const ref_call *c) {
    const tfm_step *s = c->step;
    const uint32_t width = ref_width_out(c, 0);
    for (uint32_t r = 0; r < c->n_rows; r++) {
        double by = s->u.scale.by;
        if (s->u.scale.growth != 0.0f) {
            by = (float)(by * tfm_growth(s->u.scale.growth, ref_position(c, r), s->u.scale.first,
                                         s->u.scale.every));
        }
        for (size_t i = (size_t)r * width; i < (size_t)(r + 1) * width; i++) {
            c->out[0][i] = (float)(c->in[0][i] * by);
        }
    }
}

void tfm_ref_elementwise(const ref_call *c) {
    const size_t n = (size_t)c->n_rows * ref_width_out(c, 0);
    const float *b = c->step->n_in > 1 ? c->in[1] : c->in[0];
    if (c->step->op == TFM_OP_SCALE) {
        scale_rows(c);
        return;
    }
    /* One number a row: MULTIPLY only. */
    const uint32_t each = c->step->n_in > 1 ? ref_width_out(c, 0) / ref_width_in(c, 1) : 1;
    for (size_t i = 0; i < n; i++) {
        c->out[0][i] = (float)elementwise(c->step, c->in[0][i], b[i / each]);
    }
}
