/* backend_internal.h - steps, graphs, batches, and the interface of a backend.
 *
 *     tfm_graph (from lib/arch) --plan_new(range of steps)--> tfm_plan --plan_run(batch)-->
 *
 *     TFM_TRY(tfm_backend_new(&be, "cpu", n_threads, err));
 *     TFM_TRY(be->ops->kv_new(be, graph, 0, graph->n_blocks, TFM_F16, &kv, err));
 *     TFM_TRY(be->ops->plan_new(be, graph, first, end, kv, &plan, err));
 *     TFM_TRY(be->ops->plan_run(plan, &batch, err));
 *
 * A graph is data: a list of steps over named values, made from a model's description by lib/arch.
 * A backend knows steps, never architectures. It prepares the weights of the steps it is given (it
 * touches no others), plans its memory once for a row budget, and runs batches of ragged rows. It
 * owns order, fusion and threads; admission, page tables, fork and free belong to lib/infer.
 * The orders of DESIGN 7 bind: one row and many rows do the same operations per output, and a
 * fusion never changes bits.
 */
#ifndef TFM_BACKEND_INTERNAL_H
#define TFM_BACKEND_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"
#include "tfm/tensor.h"

/* ---- steps ---- */

typedef enum tfm_op {
    TFM_OP_GATHER,     /* out[r,:] = W[index,:]; token, position + offset, offset */
    TFM_OP_NORM,       /* rms: x / sqrt(mean(x^2) + eps) * w; layer: (x-mean)/sqrt(var+eps)*w + b;
                          over each of `groups` equal parts of the row (heads), weight per part or
                          shared; w and b may be absent */
    TFM_OP_LINEAR,     /* out[r,o] = sum_k W[o,k] x[r,k] (+ b[o]); sum starts at 0, b after */
    TFM_OP_SPLIT,      /* out_i = consecutive slices of in, or of each of `groups` equal parts */
    TFM_OP_CONCAT,     /* the reverse */
    TFM_OP_ROPE,       /* rotate pairs of each head by position * inv_freq[i] */
    TFM_OP_ATTEND,     /* out = softmax(scale q k^T (softcap, alibi, mask)) v per head; ref_attend.c
                          has the formula */
    TFM_OP_ACTIVATION, /* out = f(in) */
    TFM_OP_MULTIPLY,   /* out = a * b; b is as wide as a, or one number a row */
    TFM_OP_ADD,        /* out = a + b */
    TFM_OP_SCALE,      /* out = in * factor, which may grow with the position */
    TFM_OP_CLIP,       /* out = min(max(in, lo), hi) */
    TFM_OP_SOFTCAP,    /* out = cap * tanh(in / cap) */
    TFM_OP_MOE_ROUTE, /* the experts of each row and their weights; ref_experts.c has the formula */
    TFM_OP_MOE_FFN,   /* out = sum of weight * expert(in), or of weight * matrix of the expert in */
    TFM_OP_COUNT,     /* kinds that a description can name; the ones behind it are inserted */
    TFM_OP_EDIT = TFM_OP_COUNT, /* an intervention: columns of a value are set, or added to */
    TFM_OP_PATTERN,             /* one on the probabilities of the ATTEND before it */
    TFM_OP_KEEP                 /* a tap: the value is copied out for the caller */
} tfm_op;

typedef enum tfm_activation {
    TFM_ACT_SILU,       /* x / (1 + exp(-x)) */
    TFM_ACT_GELU,       /* x/2 (1 + erf(x / sqrt 2)) */
    TFM_ACT_GELU_TANH,  /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
    TFM_ACT_GELU_QUICK, /* x / (1 + exp(-1.702 x)) */
    TFM_ACT_RELU,
    TFM_ACT_RELU2, /* relu squared */
    TFM_ACT_TANH,
    TFM_ACT_SIGMOID,
    TFM_ACT_ELU /* x, below 0 exp(x) - 1 */
} tfm_activation;

typedef enum tfm_index { TFM_INDEX_TOKEN, TFM_INDEX_POSITION, TFM_INDEX_FIXED } tfm_index;
typedef enum tfm_norm { TFM_NORM_RMS, TFM_NORM_LAYER } tfm_norm;
typedef enum tfm_rope { TFM_ROPE_NEOX, TFM_ROPE_INTERLEAVED } tfm_rope;
/* What the weights of a row's experts are a softmax over: all experts, those that were chosen, or
 * for each slot those that no slot before it has. */
typedef enum tfm_softmax {
    TFM_SOFTMAX_BEFORE,
    TFM_SOFTMAX_AFTER,
    TFM_SOFTMAX_REMAINING
} tfm_softmax;

/* ---- interventions: what an EDIT step does ---- */

typedef enum tfm_edit_kind {
    TFM_EDIT_SET, /* x = data, or 0 where data is NULL */
    TFM_EDIT_ADD, /* x = x + data */
    TFM_EDIT_ROWS /* x = the data of the row's group and position, if there is such a row */
} tfm_edit_kind;

typedef struct tfm_edit_row {
    uint32_t group, position;
    const float *data; /* [width] */
    uint32_t width;    /* the edit's; of a pattern: heads * (position + 1) */
} tfm_edit_row;

/* Acts on columns [first, first + width) of rows at positions from..to, both included. What it
 * does to a row depends on the row's group and position alone. */
typedef struct tfm_edit {
    tfm_edit_kind kind;
    uint32_t first, width;
    uint32_t from, to;
    const float *data;       /* SET, ADD: [width] */
    const tfm_edit_row *row; /* ROWS: [n_rows], ascending by group, then position */
    size_t n_rows;
} tfm_edit;

#define TFM_STEP_MAX_IN 4
#define TFM_STEP_MAX_OUT 4
#define TFM_NONE (-1)

/* One step. in/out are value ids of the graph, weight ids of the graph or TFM_NONE. A step may name
 * the same value as input and output (in place), but not LINEAR, SPLIT and CONCAT. All values are
 * f32 [rows, width]. Between blocks only `hidden` lives: a block reads nothing else that it has not
 * written itself. */
typedef struct tfm_step {
    tfm_op op;
    int block;        /* number of the block it belongs to, -1 for embedding and head */
    const char *name; /* tap name without the block: "attn_norm", "attn_q", "ffn_down" */
    int n_in, n_out;
    int in[TFM_STEP_MAX_IN];
    int out[TFM_STEP_MAX_OUT];
    /* extra: attention sinks [heads]; of MOE_ROUTE [experts], what is added to the scores for the
     * choice only. MOE_FFN has its three matrices here, each [experts, out, in]:
     * weight: gate (or TFM_NONE), bias: up, extra: down (or TFM_NONE: up alone, no gate). */
    int weight, bias, extra;
    union {
        struct {
            tfm_index index;
            uint32_t offset; /* added to the position */
        } gather;
        struct {
            tfm_norm kind;
            float eps;
            uint32_t groups; /* 1: the whole row */
        } norm;
        struct {
            tfm_rope mode;
            uint32_t heads, head_dim;
            uint32_t first, rot;   /* dims [first, first + rot) of each head turn; rot is even */
            const float *inv_freq; /* [rot/2], final (scaling applied), owned by the graph */
            float magnitude;       /* cos and sin are multiplied by this (yarn, longrope), else 1 */
        } rope;
        struct {
            uint32_t heads, kv_heads; /* heads is a multiple of kv_heads */
            uint32_t k_dim, v_dim;    /* per head */
            float scale;
            float softcap;      /* 0: none */
            uint32_t window;    /* a query sees keys > position - window; 0: all */
            uint32_t chunk;     /* and keys of its own chunk of so many positions; 0: all */
            const float *alibi; /* [heads] slopes, or NULL */
            bool alibi_before_scale;
            int kv_layer;          /* index of this layer's cache in graph->kv */
            uint32_t keep_pattern; /* the probabilities go to kept[keep_pattern - 1]; 0: nowhere */
        } attend;                  /* in: q [heads*k_dim], k [kv_heads*k_dim], v [kv_heads*v_dim];
                     out: [heads*v_dim] */
        tfm_activation activation;
        struct {
            tfm_activation kind;
            float limit;      /* 0: none; else gate <= limit and -limit <= up <= limit */
            float shift;      /* added to up after that */
            uint32_t bias[3]; /* of gate, up, down: weight id + 1, [experts, out]; 0: none */
            bool weigh_input; /* a slot's weight multiplies x, not what the expert makes of it */
        } experts;            /* MOE_FFN. in: x, ids [used], weights [used] */
        struct {
            uint32_t used; /* experts of a row, the slots */
            tfm_softmax softmax;
            float near;       /* of REMAINING, 0: none; else only experts whose logit l is near the
                                 slot's own m: m - l <= near * max(|l|, m) */
            bool renormalise; /* the slots' weights are divided by their sum */
            bool sigmoid;     /* each expert by itself instead of a softmax */
            float scale;      /* times this */
            /* groups > 1: experts are taken from the groups_used best of so many equal groups; a
             * group counts as the sum of its group_sum largest scores for the choice */
            uint32_t groups, groups_used, group_sum;
        } route; /* in: x; out: ids [used] (whole numbers), weights [used] */
        /* SPLIT, CONCAT. groups > 1: each of so many equal parts of the wide value is made of
         * size[i] columns of narrow value i, which is groups * size[i] wide; of CONCAT it may be
         * size[i] wide, too: all parts have the same. groups 0 or 1: sizes are the widths. */
        struct {
            uint32_t groups, size[TFM_STEP_MAX_OUT];
        } parts;
        /* by * (1 + growth ln(1 + floor((position + first) / every))) */
        struct {
            float by, growth; /* growth 0: by alone */
            uint32_t every, first;
        } scale;
        float softcap;
        struct {
            float lo, hi;
        } clip;
        const tfm_edit *edit; /* in place: one value, in and out; owned by who inserted it */
        struct {
            const tfm_edit *edit; /* SET to 0 or ROWS, of whole rows [heads, position + 1] */
            uint32_t heads, kv_heads, v_dim;
            int kv_layer;
            uint32_t keep; /* where its ATTEND keeps the pattern: kept[keep] */
        } pattern;         /* in place: what the heads gave, [heads*v_dim] */
        uint32_t keep;     /* the value goes to kept[keep]; one input, no output */
    } u;
} tfm_step;

/* The first key that a query at `position` sees. */
static inline uint32_t tfm_first_key(uint32_t position, uint32_t window, uint32_t chunk) {
    const uint32_t by_window = window != 0 && position >= window ? position - window + 1 : 0;
    const uint32_t by_chunk = chunk != 0 ? position - position % chunk : 0;
    return by_window > by_chunk ? by_window : by_chunk;
}

typedef struct tfm_value {
    const char *name; /* "x", "q", "h" */
    uint32_t width;
} tfm_value;

typedef struct tfm_weight {
    const tfm_tensor *tensor; /* borrowed from the model; linear [out, in], norm [width], ... */
} tfm_weight;

typedef struct tfm_kv_shape {
    uint32_t kv_heads, k_dim, v_dim;
    int block; /* the block it belongs to */
} tfm_kv_shape;

/* Made and freed by lib/arch; immutable while plans use it. */
typedef struct tfm_graph {
    tfm_value *value;
    size_t n_values;
    tfm_weight *weight;
    size_t n_weights;
    tfm_step *step;
    size_t n_steps;
    /* steps [0, block_start[0]) embed, [block_start[b], block_start[b+1]) block b,
     * [block_start[n_blocks], n_steps) final norm and output projection */
    size_t *block_start; /* [n_blocks + 1] */
    uint32_t n_blocks;
    int hidden;       /* value id of the residual stream: in and out of every block */
    int logits;       /* value id of the last step's output */
    tfm_kv_shape *kv; /* [n_kv] */
    uint32_t n_kv;
    uint32_t width, n_vocab;
    uint32_t ctx_train;    /* the model's own context */
    uint32_t max_position; /* positions a learned table has, or UINT32_MAX */
    uint32_t n_kept;       /* values that KEEP steps and patterns copy out */
    void *owner;           /* lib/arch's arena */
} tfm_graph;

/* ---- batch: ragged rows without padding ---- */

/* Sequences are consecutive runs of rows: sequence s has rows [row_start[s], row_start[s+1]) at
 * ascending consecutive positions. All arrays are host memory, borrowed during plan_run. */
typedef struct tfm_batch {
    uint32_t n_rows, n_seqs;
    const uint32_t *row_start;   /* [n_seqs + 1] */
    const int32_t *token;        /* [n_rows]; NULL when the range starts from hidden */
    const uint32_t *position;    /* [n_rows] */
    const uint32_t *const *page; /* [n_seqs]: page[s][p / TFM_KV_PAGE] holds position p */
    const uint32_t *group;       /* [n_seqs] numbers that EDIT steps know rows by; NULL: all 0 */
    /* input when the range does not start at step 0: */
    const float *hidden_in; /* [n_rows, width] or NULL */
    /* outputs; NULL when not wanted */
    float *hidden_out;       /* [n_rows, width]: the residual stream after the range's last block */
    const uint32_t *out_row; /* [n_out] rows that want logits, ascending */
    uint32_t n_out;
    float *logits; /* [n_out, n_vocab], only if the range ends at n_steps */
    /* Kept values [graph->n_kept], all rows: [n_rows, width]; a pattern has for row r, from
     * heads * keys_at[r] on, [heads, position + 1]. May be NULL if the range keeps nothing. */
    float *const *kept;
    const uint64_t *keys_at; /* [n_rows]: keys (position + 1 each) of the rows before r */
} tfm_batch;

/* ---- KV pages ---- */

#ifndef TFM_KV_PAGE     /* tests/long/bits.bats builds with small ones */
#define TFM_KV_PAGE 64u /* positions a page holds, all layers of the range; a multiple of 16 */
#endif

typedef struct tfm_kv tfm_kv;     /* pages of one range of blocks, of one type */
typedef struct tfm_plan tfm_plan; /* prepared steps */

/* ---- the backend ---- */

typedef struct tfm_backend tfm_backend;
typedef struct tfm_backend_ops {
    const char *name; /* "ref", "cpu" */
    /* Can it run this step with these weights? If not: TFM_UNSUPPORTED saying what. */
    tfm_status (*supports)(const tfm_backend *be, const tfm_graph *g, const tfm_step *step,
                           tfm_error *err);
    /* Prepares steps [first, end): packs or maps their weights, plans memory. kv may be NULL if no
     * step attends. Batches may have any number of rows; memory grows to the largest seen. */
    tfm_status (*plan_new)(tfm_backend *be, const tfm_graph *g, size_t first, size_t end,
                           tfm_kv *kv, tfm_plan **out, tfm_error *err);
    /* Runs one batch; blocks until the outputs are there. Writes the rows' K and V to the cache. */
    tfm_status (*plan_run)(tfm_plan *plan, const tfm_batch *b, tfm_error *err);
    void (*plan_free)(tfm_plan *plan);
    /* A cache for blocks [first_block, end_block) in type f32, f16 or q8_0; no page is allocated
     * yet. */
    tfm_status (*kv_new)(tfm_backend *be, const tfm_graph *g, uint32_t first_block,
                         uint32_t end_block, tfm_dtype type, tfm_kv **out, tfm_error *err);
    /* Makes pages [0, n_pages) usable (never shrinks); existing pages stay where they are. */
    tfm_status (*kv_reserve)(tfm_kv *kv, uint32_t n_pages, tfm_error *err);
    void (*kv_copy_page)(tfm_kv *kv, uint32_t to, uint32_t from);
    uint64_t (*kv_page_bytes)(const tfm_kv *kv);
    /* K (or V) of one layer, positions [first, first + n) of the sequence with this page table, out
     * of the cache or into it: rows [n, kv_heads * dim] of the cache's type, whatever its
     * layout. */
    void (*kv_read)(const tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page,
                    uint32_t first, uint32_t n, void *rows);
    void (*kv_write)(tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page, uint32_t first,
                     uint32_t n, const void *rows);
    void (*kv_free)(tfm_kv *kv);
    void (*free)(tfm_backend *be);
} tfm_backend_ops;

struct tfm_backend {
    const tfm_backend_ops *ops;
    const char *instruction_set; /* "generic", "avx2"; part of the header's `numerics` */
    unsigned threads;
};

/* device: "auto", "ref", "cpu" (the best instruction set of this processor), "cpu:generic",
 * "cpu:avx2", "cpu:avx512"; others TFM_DEVICE with the reason and what there is.
 * threads 0: what the process may use. */
tfm_status tfm_backend_new(tfm_backend **out, const char *device, unsigned threads,
                           tfm_error *err) TFM_MUST_CHECK;
void tfm_backend_free(tfm_backend *be);
/* The names it knows, i = 0, 1, ... until NULL; the machine may be without the instructions of
 * one. */
const char *tfm_backend_device(size_t i);

/* The constructors behind it. */
tfm_status tfm_backend_ref_new(tfm_backend **out, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_backend_cpu_new(tfm_backend **out, const char *instruction_set, unsigned threads,
                               tfm_error *err) TFM_MUST_CHECK;

/* Checks a graph once, for all backends: ids in range, widths and weight shapes fit every step.
 * After this a backend may trust it. */
tfm_status tfm_graph_check(const tfm_graph *g, tfm_error *err) TFM_MUST_CHECK;
/* What it says about step i alone; the graph's values are sound. */
tfm_status tfm_graph_check_step(const tfm_graph *g, size_t i, tfm_error *err) TFM_MUST_CHECK;

#endif
