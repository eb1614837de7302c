/* plan.c - ranges of steps and batches of rows: the checks and decisions all backends share.
 *
 * Owns what a caller of plan_run may get wrong. A backend computes without looking again. */
#include <string.h>

#include "backend/plan_internal.h"

/* Positions fit a signed 32-bit lane with room for a panel. */
static const uint32_t MAX_POSITION = INT32_MAX - 1024;

/* ---- ranges ---- */

static bool step_reads(const tfm_step *s, int value) {
    for (int i = 0; i < s->n_in; i++) {
        if (s->in[i] == value) return true;
    }
    return false;
}

static bool step_writes(const tfm_step *s, int value) {
    for (int i = 0; i < s->n_out; i++) {
        if (s->out[i] == value) return true;
    }
    return false;
}

static bool range_reads_hidden(const tfm_range *r) {
    const tfm_graph *g = r->graph;
    for (size_t i = r->first; i < r->end; i++) {
        if (step_reads(&g->step[i], g->hidden)) return true;
        if (step_writes(&g->step[i], g->hidden)) return false;
    }
    return r->first > 0; /* an empty range hands hidden through */
}

tfm_status tfm_range_init(tfm_range *r, const tfm_graph *g, size_t first, size_t end,
                          const tfm_kv *kv, tfm_error *err) {
    TFM_TRY(tfm_graph_check(g, err));
    if (first > end || end > g->n_steps) {
        return tfm_fail(err, TFM_USAGE, "steps %zu to %zu of %zu: not a range", first, end,
                        g->n_steps);
    }
    *r = (tfm_range){.graph = g, .first = first, .end = end, .needs_all = first};
    const size_t head = g->block_start[g->n_blocks];
    r->hidden_end = end < head ? end : first > head ? first : head;
    for (size_t i = first; i < end; i++) {
        const tfm_step *s = &g->step[i];
        if (s->op == TFM_OP_KEEP || s->op == TFM_OP_ATTEND || s->op == TFM_OP_PATTERN)
            r->needs_all = i + 1;
        if (s->op == TFM_OP_KEEP) r->keeps = true;
        if (s->op != TFM_OP_ATTEND) continue;
        r->attends = true;
        if (s->u.attend.keep_pattern > 0) r->keeps = true;
        const uint32_t layer = (uint32_t)s->u.attend.kv_layer;
        if (kv == NULL || layer >= kv->n_layers || kv->k_at[layer] == SIZE_MAX) {
            return tfm_fail(err, TFM_USAGE, "block %d: the cache has no layer %u", s->block, layer);
        }
    }
    r->reads_hidden = range_reads_hidden(r);
    return TFM_OK;
}

void tfm_schedule_make(tfm_schedule *s, const tfm_range *r, const tfm_batch *b) {
    s->logits = b->logits != NULL && b->n_out > 0 && r->end == r->graph->n_steps;
    s->select = r->needs_all;
    if (b->hidden_out != NULL && s->select < r->hidden_end) s->select = r->hidden_end;
    s->stop = s->logits ? r->end : s->select;
}

/* ---- batches ---- */

static tfm_status check_rows(const tfm_batch *b, tfm_error *err) {
    if (b->n_seqs > 0 && b->row_start[0] != 0) {
        return tfm_fail(err, TFM_USAGE, "batch: the first sequence starts at row %u",
                        b->row_start[0]);
    }
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        const uint32_t from = b->row_start[s], to = b->row_start[s + 1];
        if (from > to || to > b->n_rows) {
            return tfm_fail(err, TFM_USAGE, "batch: sequence %u has rows %u to %u of %u", s, from,
                            to, b->n_rows);
        }
        for (uint32_t r = from; r < to; r++) {
            if (b->position[r] > MAX_POSITION) {
                return tfm_fail(err, TFM_LIMIT, "position %u is past the limit of %u",
                                b->position[r], MAX_POSITION);
            }
            if (r > from && b->position[r] != b->position[r - 1] + 1) {
                return tfm_fail(err, TFM_USAGE, "batch: position %u follows %u in sequence %u",
                                b->position[r], b->position[r - 1], s);
            }
        }
    }
    const uint32_t covered = b->n_seqs > 0 ? b->row_start[b->n_seqs] : 0;
    if (covered != b->n_rows) {
        return tfm_fail(err, TFM_USAGE, "batch: sequences cover %u of %u rows", covered, b->n_rows);
    }
    for (uint32_t i = 0; i < b->n_out; i++) {
        if (b->out_row[i] >= b->n_rows || (i > 0 && b->out_row[i] <= b->out_row[i - 1])) {
            return tfm_fail(err, TFM_USAGE, "batch: row %u wants output: of %u, ascending",
                            b->out_row[i], b->n_rows);
        }
    }
    return TFM_OK;
}

static tfm_status check_pages(const tfm_kv *kv, const tfm_batch *b, tfm_error *err) {
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        if (b->row_start[s] == b->row_start[s + 1]) continue;
        const uint32_t last = b->position[b->row_start[s + 1] - 1] / TFM_KV_PAGE;
        for (uint32_t i = 0; i <= last; i++) {
            if (b->page[s][i] >= kv->n_pages) {
                return tfm_fail(err, TFM_USAGE, "batch: sequence %u uses page %u of %u", s,
                                b->page[s][i], kv->n_pages);
            }
        }
    }
    return TFM_OK;
}

static tfm_status check_gather(const tfm_step *s, const tfm_tensor *table, const tfm_batch *b,
                               tfm_error *err) {
    const bool by_token = s->u.gather.index == TFM_INDEX_TOKEN;
    if (s->u.gather.index == TFM_INDEX_FIXED) return TFM_OK; /* known since the graph was checked */
    if (by_token && b->token == NULL) {
        return tfm_fail(err, TFM_USAGE, "batch: step %s needs tokens", s->name);
    }
    for (uint32_t r = 0; r < b->n_rows; r++) {
        if (by_token && (b->token[r] < 0 || (uint32_t)b->token[r] >= table->dims[0])) {
            return tfm_fail(err, TFM_MISMATCH, "token %d is outside the vocabulary of %u",
                            (int)b->token[r], table->dims[0]);
        }
        if (!by_token && (uint64_t)b->position[r] + s->u.gather.offset >= table->dims[0]) {
            return tfm_fail(err, TFM_LIMIT, "position %u is past the model's last, %lld",
                            b->position[r],
                            (long long)table->dims[0] - 1 - (long long)s->u.gather.offset);
        }
    }
    return TFM_OK;
}

tfm_status tfm_batch_check(const tfm_plan *p, const tfm_batch *b, tfm_error *err) {
    const tfm_range *r = &p->range;
    const tfm_graph *g = r->graph;
    TFM_TRY(check_rows(b, err));
    if (r->reads_hidden && b->hidden_in == NULL && b->n_rows > 0) {
        return tfm_fail(err, TFM_USAGE, "batch: this range of steps starts from hidden states");
    }
    for (size_t i = r->first; i < r->end; i++) {
        const tfm_step *s = &g->step[i];
        if (s->op == TFM_OP_GATHER) {
            TFM_TRY(check_gather(s, g->weight[s->weight].tensor, b, err));
        }
    }
    if (r->keeps && (b->kept == NULL || b->keys_at == NULL) && b->n_rows > 0) {
        return tfm_fail(err, TFM_USAGE, "batch: no place for the values that are kept");
    }
    return r->attends ? check_pages(p->kv, b, err) : TFM_OK;
}

void tfm_keep_rows(float *v, size_t width, const uint32_t *keep, uint32_t n_keep) {
    for (uint32_t i = 0; i < n_keep; i++) {
        if (keep[i] != i) memcpy(v + i * width, v + keep[i] * width, width * sizeof *v);
    }
}

/* ---- weights ---- */

uint64_t tfm_weight_count(const tfm_tensor *t) {
    uint64_t n = 1;
    for (unsigned i = 0; i < t->rank; i++) n *= t->dims[i];
    return n;
}

tfm_status tfm_weight_f32(const tfm_graph *g, int weight, float **out, tfm_error *err) {
    void *mem;
    *out = NULL;
    if (weight == TFM_NONE) return TFM_OK;
    const tfm_tensor *t = g->weight[weight].tensor;
    const uint64_t n = tfm_weight_count(t);
    TFM_TRY(tfm_alloc_aligned(&mem, 64, n, sizeof(float), err));
    tfm_status st = tfm_to_f32(t->dtype, t->data, n, mem, err);
    if (st != TFM_OK) {
        tfm_free(mem);
        return st;
    }
    *out = mem;
    return TFM_OK;
}

uint32_t tfm_expert_id(float id, uint32_t n_experts) {
    return id >= 0.0f && id < (float)n_experts ? (uint32_t)id : 0;
}

/* Types that a matrix of a linear may have. */
static tfm_status matrix_supported(const tfm_graph *g, const tfm_step *s, int weight,
                                   tfm_error *err) {
    if (weight == TFM_NONE) return TFM_OK;
    const tfm_dtype t = g->weight[weight].tensor->dtype;
    if (t == TFM_F32 || t == TFM_F16 || t == TFM_BF16 || tfm_dtype_block(t) > 1) return TFM_OK;
    return tfm_fail(err, TFM_UNSUPPORTED, "step %s: weights of type %s", s->name,
                    tfm_dtype_name(t));
}

tfm_status tfm_step_supported(const tfm_backend *be, const tfm_graph *g, const tfm_step *s,
                              tfm_error *err) {
    (void)be;
    if (s->op < 0 || s->op > TFM_OP_KEEP) {
        return tfm_fail(err, TFM_UNSUPPORTED, "step %s: unknown kind %d", s->name, (int)s->op);
    }
    if (s->op == TFM_OP_LINEAR) return matrix_supported(g, s, s->weight, err);
    if (s->op != TFM_OP_MOE_FFN) return TFM_OK;
    TFM_TRY(matrix_supported(g, s, s->weight, err));
    TFM_TRY(matrix_supported(g, s, s->bias, err));
    return matrix_supported(g, s, s->extra, err);
}
