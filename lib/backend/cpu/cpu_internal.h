/* cpu_internal.h - the cpu backend: plans, and how steps become jobs of the thread pool.
 *
 * cpu.c makes backends and plans, cpu_weights.c prepares weights, cpu_run.c walks the steps,
 * cpu_jobs.c (linears), cpu_rows.c, cpu_attend.c and cpu_experts.c cut a step into pieces,
 * kernel_internal.h computes a piece. */
#ifndef TFM_CPU_INTERNAL_H
#define TFM_CPU_INTERNAL_H

#include "backend/cpu/kernel_internal.h"
#include "backend/plan_internal.h"
#include "base/threads_internal.h"

typedef struct cpu_backend {
    struct tfm_backend base;
    tfm_pool *pool;
    const tfm_cpu_kernels *kernels;
} cpu_backend;

/* Matrices of all experts as p16 panels, expert after expert. */
typedef struct cpu_expert_matrix {
    const uint8_t *panels;
    size_t panel_bytes;
    uint32_t n_panels; /* of one expert */
    void *memory;      /* owned */
} cpu_expert_matrix;

/* The weights of one step. */
typedef struct cpu_weights {
    const uint8_t *panels; /* linear, router: p16 */
    size_t panel_bytes;
    uint32_t n_panels;
    float *weight, *bias, *extra; /* norm; norm, linear, router; sinks, choice: owned, or NULL */
    void *memory;                 /* owned p16 copy, NULL when the tensor is p16 already */
    int rope_table;               /* index into the plan's tables */
    cpu_expert_matrix *expert;    /* [3] gate, up, down: owned, or NULL */
    float *expert_bias[3];        /* theirs, [experts, out]: owned, or NULL */
} cpu_weights;

/* cos and sin of a batch for one set of frequencies; steps with equal frequencies share it. */
typedef struct cpu_rope_table {
    const tfm_step *step; /* the first that uses it */
    float *cos_sin;       /* [rows][2][rot / 2]: cos, then sin */
    bool ready;           /* filled for the present rows */
} cpu_rope_table;

/* A few rows of one sequence that attend together. */
typedef struct cpu_row_tile {
    uint32_t seq, row, n_rows;
} cpu_row_tile;

typedef struct cpu_plan {
    struct tfm_plan base;
    cpu_backend *be;
    cpu_weights *weights; /* [range.end - range.first] */
    float **value;        /* [n_values]: [row_cap, width]; NULL if the range does not use it */
    bool *used;           /* [n_values] */
    bool logits_direct;   /* only the last step touches the logits, and it is in the head: it writes
                             into the caller's memory */
    uint32_t row_cap;
    cpu_rope_table *rope;
    size_t n_rope, rope_cap;
    /* Activations as the linears of `act_type` want them, of value act_value; -1: none. */
    uint8_t *act;
    size_t act_cap;
    int act_value;
    tfm_dtype act_type;
    cpu_row_tile *tile; /* scratch of attention */
    size_t tile_cap;
    uint8_t *expert_scratch; /* of the experts' steps */
    size_t expert_cap;
    unsigned char *scratch; /* [threads] of scratch_bytes */
    size_t scratch_bytes;
} cpu_plan;

/* The batch that runs. Row r of the values is row row_of[r] of the batch (NULL: the same). */
typedef struct cpu_run {
    cpu_plan *plan;
    const tfm_batch *batch;
    uint32_t n_rows;
    const uint32_t *row_of;
    tfm_error *err;
} cpu_run;

static inline uint32_t cpu_width(const cpu_plan *p, int value) {
    return p->base.range.graph->value[value].width;
}

static inline uint32_t cpu_batch_row(const cpu_run *run, uint32_t row) {
    return run->row_of != NULL ? run->row_of[row] : row;
}

static inline const cpu_weights *cpu_step_weights(const cpu_plan *p, const tfm_step *s) {
    return &p->weights[(size_t)(s - p->base.range.graph->step) - p->base.range.first];
}

/* cpu_weights.c */
tfm_status tfm_cpu_weights_prepare(cpu_plan *p, const tfm_step *s, cpu_weights *w,
                                   tfm_error *err) TFM_MUST_CHECK;
void tfm_cpu_weights_free(cpu_weights *w);
/* Asks for huge pages where weights are used in place, in stretches: reads nothing, may do
 * nothing. */
void tfm_cpu_weights_advise(const cpu_plan *p);

/* cpu_run.c */
tfm_status tfm_cpu_plan_run(tfm_plan *plan, const tfm_batch *b, tfm_error *err) TFM_MUST_CHECK;

/* At least `bytes` of p->scratch for each thread; what was in it is void. */
tfm_status tfm_cpu_reserve_scratch(cpu_plan *p, size_t bytes, tfm_error *err) TFM_MUST_CHECK;

/* cpu_rows.c: n_steps consecutive row-wise steps (at most CPU_CHAIN_STEPS) as one job. next: the
 * linear that reads the last one's output, whose activations are then made in the same job; or
 * NULL. */
enum { CPU_CHAIN_STEPS = 8 };
bool tfm_cpu_is_rowwise(tfm_op op); /* norm, rope, split, concat, element-wise */
tfm_status tfm_cpu_rowwise(const cpu_run *run, const tfm_step *s, size_t n_steps,
                           const tfm_step *next) TFM_MUST_CHECK;
tfm_status tfm_cpu_gather(const cpu_run *run, const tfm_step *s) TFM_MUST_CHECK;
/* cpu_jobs.c: n_steps consecutive linears that read the same value. */
tfm_status tfm_cpu_linear_group(const cpu_run *run, const tfm_step *s,
                                size_t n_steps) TFM_MUST_CHECK;
/* Sets a's type, k, act and act_stride for the activations of a linear and all rows, and makes room
 * for them in the plan; act is NULL where it takes the f32 rows themselves. */
tfm_status tfm_cpu_act_reserve(const cpu_run *run, const tfm_step *linear,
                               tfm_cpu_linear *a) TFM_MUST_CHECK;
/* Activations of rows [row, end); src: of row 0. */
void tfm_cpu_act_rows(const cpu_run *run, const tfm_cpu_linear *a, const float *src, size_t row,
                      size_t end);
/* cpu_attend.c */
tfm_status tfm_cpu_attend_step(const cpu_run *run, const tfm_step *s) TFM_MUST_CHECK;
/* cpu_experts.c */
tfm_status tfm_cpu_route(const cpu_run *run, const tfm_step *s) TFM_MUST_CHECK;
tfm_status tfm_cpu_experts(const cpu_run *run, const tfm_step *s) TFM_MUST_CHECK;

#endif
