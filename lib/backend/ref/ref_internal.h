/* ref_internal.h - the reference backend: steps as plain functions over whole [rows, width] values.
 *
 * Shared by ref.c (plans, batches), ref_steps.c (row-wise steps), ref_linear.c, ref_attend.c,
 * ref_experts.c. */
#ifndef TFM_REF_INTERNAL_H
#define TFM_REF_INTERNAL_H

#include "backend/plan_internal.h"

/* The weights of one step. A matrix is kept in layout rows, the rest as f32. */
typedef struct ref_weights {
    tfm_tensor matrix;   /* linear: [out, in], layout rows */
    void *matrix_memory; /* owned when the tensor had to be unpacked, else NULL */
    float *weight;       /* norm, router */
    float *bias;         /* norm, linear, router */
    float *extra;        /* attention sinks */
    float *expert[3];    /* biases of gate, up, down, [experts, out], or NULL */
} ref_weights;

typedef struct ref_plan {
    struct tfm_plan base;
    ref_weights *weights; /* [range.end - range.first] */
    float **value;        /* [n_values], each [row_cap, width], NULL if the range does not use it */
    uint32_t row_cap;
} ref_plan;

/* One step on one batch. Row r of the values is row `row_of[r]` of the batch. */
typedef struct ref_call {
    const ref_plan *plan;
    const tfm_step *step;
    const ref_weights *w;
    const tfm_batch *batch;
    uint32_t n_rows;
    const uint32_t *row_of; /* NULL: the same row */
    const float *in[TFM_STEP_MAX_IN];
    float *out[TFM_STEP_MAX_OUT];
    tfm_error *err;
} ref_call;

static inline uint32_t ref_width_in(const ref_call *c, int i) {
    return c->plan->base.range.graph->value[c->step->in[i]].width;
}

static inline uint32_t ref_width_out(const ref_call *c, int i) {
    return c->plan->base.range.graph->value[c->step->out[i]].width;
}

static inline uint32_t ref_position(const ref_call *c, uint32_t row) {
    return c->batch->position[c->row_of != NULL ? c->row_of[row] : row];
}

tfm_status tfm_ref_gather(const ref_call *c) TFM_MUST_CHECK;
void tfm_ref_norm(const ref_call *c);
void tfm_ref_split(const ref_call *c);
void tfm_ref_concat(const ref_call *c);
void tfm_ref_rope(const ref_call *c);
void tfm_ref_elementwise(const ref_call *c); /* activation multiply add scale clip softcap */
tfm_status tfm_ref_linear(const ref_call *c) TFM_MUST_CHECK;
tfm_status tfm_ref_attend(const ref_call *c) TFM_MUST_CHECK;
tfm_status tfm_ref_route(const ref_call *c) TFM_MUST_CHECK;
tfm_status tfm_ref_experts(const ref_call *c) TFM_MUST_CHECK;
double tfm_ref_activation(tfm_activation kind, double x);

#endif
