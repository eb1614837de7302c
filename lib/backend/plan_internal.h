/* plan_internal.h - what every backend does alike: ranges, batches, wanted rows, KV pages.
 *
 *     run:   tfm_batch_check -> steps [first, select) on all rows
 *                            -> keep the rows that want output
 *                            -> steps [select, stop) on those
 *
 * After the last ATTEND of a range no row influences another, so rows that nobody wants are dropped
 * there (or where hidden_out is taken, if it is wanted; or behind the last KEEP, which copies all
 * rows, so that what is kept does not depend on how a prompt was cut). Private to lib/backend. */
#ifndef TFM_PLAN_INTERNAL_H
#define TFM_PLAN_INTERNAL_H

#include "backend/backend_internal.h"
#include "base/base_internal.h"

/* ---- a range of steps ---- */

typedef struct tfm_range {
    const tfm_graph *graph;
    size_t first, end;
    size_t hidden_end; /* hidden_out is the residual stream before this step */
    size_t needs_all; /* first step behind the last that needs every row (ATTEND, KEEP), or first */
    bool attends, keeps; /* is there an ATTEND; is a value copied out? */
    bool reads_hidden;   /* hidden is read before the range writes it: hidden_in is needed */
} tfm_range;

/* Checks the graph, the range and that every layer it attends with is in kv. */
tfm_status tfm_range_init(tfm_range *r, const tfm_graph *g, size_t first, size_t end,
                          const tfm_kv *kv, tfm_error *err) TFM_MUST_CHECK;

/* The first member of every backend's plan. */
struct tfm_plan {
    tfm_backend *backend;
    tfm_range range;
    tfm_kv *kv; /* borrowed, NULL if no step attends */
};

/* Where a run of this batch drops rows, and where it stops. select <= stop. */
typedef struct tfm_schedule {
    size_t select, stop;
    bool logits; /* the batch wants them and the range makes them */
} tfm_schedule;
void tfm_schedule_make(tfm_schedule *s, const tfm_range *r, const tfm_batch *b);

/* ---- a batch ---- */

/* Everything a run relies on: shapes, tokens and positions inside every gathered table, consecutive
 * positions, pages that exist. TFM_USAGE, TFM_LIMIT or TFM_MISMATCH. */
tfm_status tfm_batch_check(const tfm_plan *p, const tfm_batch *b, tfm_error *err) TFM_MUST_CHECK;

/* Moves row keep[i] of v [rows, width] to row i; keep ascends. */
void tfm_keep_rows(float *v, size_t width, const uint32_t *keep, uint32_t n_keep);

/* ---- inserted steps: the same for every backend, copies and single additions ---- */

/* The sequence that row `row` of the batch belongs to. */
uint32_t tfm_batch_sequence(const tfm_batch *b, uint32_t row);
/* EDIT: value [n_rows, width] in place; row r is row row_of[r] of the batch (NULL: r). */
void tfm_edit_run(const tfm_step *s, const tfm_batch *b, const uint32_t *row_of, uint32_t n_rows,
                  uint32_t width, float *value);
/* PATTERN: the kept pattern is edited; where that changed it, the head gives sum_j pattern[j] v[j],
 * in `value` [b->n_rows, heads * v_dim]. */
tfm_status tfm_pattern_run(const tfm_plan *plan, const tfm_step *s, const tfm_batch *b,
                           float *value, tfm_error *err) TFM_MUST_CHECK;
/* KEEP: value [b->n_rows, width] goes to b->kept. */
void tfm_keep_run(const tfm_step *s, const tfm_batch *b, uint32_t width, const float *value);
/* Where the pattern of head h of row r begins: [position + 1]; NULL if it is not kept. */
float *tfm_kept_pattern(const tfm_step *s, const tfm_batch *b, uint32_t row, uint32_t head);

/* ---- weights ---- */

/* Number of elements; the graph has been checked. */
uint64_t tfm_weight_count(const tfm_tensor *t);
/* A small weight (norm, bias, sinks) as f32 [count], in memory of its own; *out = NULL for
 * weight == TFM_NONE. */
tfm_status tfm_weight_f32(const tfm_graph *g, int weight, float **out,
                          tfm_error *err) TFM_MUST_CHECK;

/* The expert that a slot's id names; one that is none (an intervention may write anything) is 0. */
uint32_t tfm_expert_id(float id, uint32_t n_experts);

/* supports() of both backends: the types a step can have. */
tfm_status tfm_step_supported(const tfm_backend *be, const tfm_graph *g, const tfm_step *s,
                              tfm_error *err) TFM_MUST_CHECK;

/* ---- KV pages: storage; a backend writes and reads them in one of two layouts ---- */

/* Numbers of a q8_0 cache that share a scale, never of two heads; bytes of such a block in a
 * row. */
enum { TFM_KV_BLOCK = 32, TFM_KV_BLOCK_BYTES = 34 };

/* A page is for each layer of the range: K of TFM_KV_PAGE positions, then V of them; a layer starts
 * at a multiple of 64 bytes. */
struct tfm_kv {
    tfm_dtype type; /* f32, f16, q8_0 */
    uint32_t first_block, end_block, n_layers;
    uint32_t k_panel;    /* head after head, each as kernel_internal.h of cpu says; 0: K and V as
                            [PAGE][kv_heads][dim], q8_0 in blocks as tensors have it */
    tfm_kv_shape *shape; /* [n_layers] */
    size_t *k_at, *v_at; /* [n_layers]: byte offsets in a page, SIZE_MAX for a layer not in range */
    size_t page_bytes;
    unsigned char **page; /* [n_pages] */
    size_t page_cap;
    uint32_t n_pages;
    void **slab; /* one allocation for every kv_reserve that grew */
    size_t n_slabs, slab_cap;
};

tfm_status tfm_kv_new(tfm_backend *be, const tfm_graph *g, uint32_t first_block, uint32_t end_block,
                      tfm_dtype type, tfm_kv **out, tfm_error *err) TFM_MUST_CHECK;
bool tfm_kv_type_known(tfm_dtype t);
/* Rounds a block to codes, returns their scale as f16: x[i] is about (float)q[i] * scale, which is
 * exact in f32. A block that holds a NaN, an infinity or more than f16 can scale gets the scale
 * NaN. */
uint16_t tfm_kv_round_q8_0(const float x[TFM_KV_BLOCK], int8_t q[TFM_KV_BLOCK]);
/* Bytes that a page has for one head's K (or V) of `dim` numbers in every position, in any
 * layout. */
static inline size_t tfm_kv_head_bytes(tfm_dtype t, uint32_t dim) {
    const size_t n = (size_t)TFM_KV_PAGE * dim;
    return t == TFM_F32 ? n * 4 : t == TFM_F16 ? n * 2 : n + n / TFM_KV_BLOCK * 2;
}
tfm_status tfm_kv_reserve(tfm_kv *kv, uint32_t n_pages, tfm_error *err) TFM_MUST_CHECK;
void tfm_kv_copy_page(tfm_kv *kv, uint32_t to, uint32_t from);
uint64_t tfm_kv_page_bytes(const tfm_kv *kv);
void tfm_kv_read(const tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page, uint32_t first,
                 uint32_t n, void *rows);
void tfm_kv_write(tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page, uint32_t first,
                  uint32_t n, const void *rows);
void tfm_kv_free(tfm_kv *kv);

#endif
