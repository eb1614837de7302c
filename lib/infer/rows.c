/* rows.c - sequences of an engine that are run by hand, and what a row costs (tfm/bench.h).
 *
 * Owns page tables and the batches' arrays. No sampling, no admission: what a measurement or a test
 * wants between two clocks. */
#include <string.h>

#include "infer/infer_internal.h"
#include "tfm/bench.h"

#define BATCH_ROWS 512u /* of one sequence; as tfm_generator's default */

struct tfm_rows {
    tfm_engine *e;
    uint32_t n_seqs, length;
    tfm_seq *seq;            /* [n_seqs] */
    const uint32_t **page;   /* [n_seqs] */
    uint32_t *row_start;     /* [n_seqs + 1] */
    uint32_t *position, *id; /* [max(n_seqs, BATCH_ROWS)]; id: of rows that want logits */
    float *logits;           /* [n_seqs, n_vocab], where the caller wants none */
};

static tfm_status fill(tfm_rows *r, tfm_engine *e, uint32_t n_seqs, tfm_error *err) {
    const size_t most = n_seqs > BATCH_ROWS ? n_seqs : BATCH_ROWS;
    size_t n;

    r->e = e;
    r->n_seqs = n_seqs;
    TFM_TRY(tfm_alloc((void **)&r->seq, n_seqs, sizeof *r->seq, err));
    TFM_TRY(tfm_alloc((void **)&r->page, n_seqs, sizeof *r->page, err));
    TFM_TRY(tfm_alloc((void **)&r->row_start, (size_t)n_seqs + 1, sizeof *r->row_start, err));
    TFM_TRY(tfm_alloc((void **)&r->position, most, sizeof *r->position, err));
    TFM_TRY(tfm_alloc((void **)&r->id, most, sizeof *r->id, err));
    if (!tfm_mul_size(n_seqs, tfm_engine_n_vocab(e), &n))
        return tfm_fail(err, TFM_LIMIT, "%u sequences are too many", n_seqs);
    return tfm_alloc((void **)&r->logits, n, sizeof *r->logits, err);
}

tfm_status tfm_rows_new(tfm_rows **out, tfm_engine *e, uint32_t n_seqs, tfm_error *err) {
    tfm_rows *r = NULL;

    *out = NULL;
    if (n_seqs == 0) return tfm_fail(err, TFM_USAGE, "rows of no sequence");
    TFM_TRY(tfm_alloc((void **)&r, 1, sizeof *r, err));
    tfm_status st = fill(r, e, n_seqs, err);
    if (st != TFM_OK) {
        tfm_rows_free(r);
        return st;
    }
    *out = r;
    return TFM_OK;
}

void tfm_rows_free(tfm_rows *r) {
    if (!r) return;
    if (r->seq)
        for (uint32_t s = 0; s < r->n_seqs; s++)
            tfm_seq_release(tfm_engine_pages(r->e), &r->seq[s]);
    tfm_free(r->seq);
    tfm_free(r->page);
    tfm_free(r->row_start);
    tfm_free(r->position);
    tfm_free(r->id);
    tfm_free(r->logits);
    tfm_free(r);
}

/* One batch: n rows of each of the sequences [first, first + n_seqs) from position `at` on; logits
 * of the last of each if `wanted`. */
static tfm_status batch(tfm_rows *r, uint32_t first, uint32_t n_seqs, uint32_t at, uint32_t n,
                        const int32_t *ids, float *logits, bool wanted, tfm_error *err) {
    const tfm_batch b = {.n_rows = n_seqs * n,
                         .n_seqs = n_seqs,
                         .row_start = r->row_start,
                         .token = ids,
                         .position = r->position,
                         .page = r->page,
                         .out_row = r->id,
                         .n_out = wanted ? n_seqs : 0,
                         .logits = wanted ? logits : NULL};
    for (uint32_t s = 0; s < n_seqs; s++) {
        tfm_seq *seq = &r->seq[first + s];
        TFM_TRY(tfm_seq_extend(tfm_engine_pages(r->e), seq, at + n, err));
        r->page[s] = seq->page;
        r->row_start[s] = s * n;
        r->id[s] = s * n + n - 1;
        for (uint32_t i = 0; i < n; i++) r->position[s * n + i] = at + i;
    }
    r->row_start[n_seqs] = n_seqs * n;
    return tfm_engine_run(r->e, &b, err);
}

static tfm_status check(const tfm_rows *r, const int32_t *ids, uint32_t n, tfm_error *err) {
    const uint32_t ctx = tfm_engine_ctx(r->e), n_vocab = tfm_engine_n_vocab(r->e);

    if (n > ctx || r->length > ctx - n)
        return tfm_fail(err, TFM_LIMIT, "%u tokens behind %u do not fit the context of %u", n,
                        r->length, ctx);
    for (size_t i = 0; i < (size_t)r->n_seqs * n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= n_vocab)
            return tfm_fail(err, TFM_RECORD, "id %d is outside the vocabulary", (int)ids[i]);
    return TFM_OK;
}

tfm_status tfm_rows_run(tfm_rows *r, const int32_t *ids, uint32_t n, float *logits,
                        tfm_error *err) {
    const uint32_t n_vocab = tfm_engine_n_vocab(r->e);

    TFM_TRY(check(r, ids, n, err));
    if (!logits) logits = r->logits;
    if (n == 1) TFM_TRY(batch(r, 0, r->n_seqs, r->length, 1, ids, logits, true, err));
    for (uint32_t s = 0; n > 1 && s < r->n_seqs; s++) {
        for (uint32_t at = 0; at < n; at += BATCH_ROWS) {
            const uint32_t left = n - at, rows = left < BATCH_ROWS ? left : BATCH_ROWS;
            TFM_TRY(batch(r, s, 1, r->length + at, rows, ids + (size_t)s * n + at,
                          logits + (size_t)s * n_vocab, left == rows, err));
        }
    }
    r->length += n;
    return TFM_OK;
}

void tfm_rows_truncate(tfm_rows *r, uint32_t length) {
    for (uint32_t s = 0; s < r->n_seqs; s++)
        tfm_seq_truncate(tfm_engine_pages(r->e), &r->seq[s], length);
    if (length < r->length) r->length = length;
}

tfm_status tfm_rows_copy(tfm_rows *r, const tfm_rows *from, uint32_t length, tfm_error *err) {
    const tfm_backend_ops *ops = tfm_engine_backend(r->e)->ops;

    if (r->e != from->e || r->length != 0 || length > from->length)
        return tfm_fail(err, TFM_USAGE, "%u positions cannot be copied: %u there, %u here", length,
                        from->length, r->length);
    for (uint32_t s = 0; s < r->n_seqs; s++) {
        TFM_TRY(tfm_seq_extend(tfm_engine_pages(r->e), &r->seq[s], length, err));
        if (!tfm_engine_has_cache(r->e)) continue;
        for (uint32_t p = 0; p < r->seq[s].n_pages; p++)
            ops->kv_copy_page(tfm_engine_kv(r->e), r->seq[s].page[p], from->seq[0].page[p]);
    }
    r->length = length;
    return TFM_OK;
}

/* ---- cost ---- */

/* Numbers of a matrix that a row is multiplied with: all, or those of the experts that it uses. */
static void add_matrix(const tfm_tensor *t, uint32_t used, uint64_t *weights, uint64_t *bytes) {
    uint64_t n = 1, b = t->bytes;

    for (uint32_t i = 0; i < t->rank; i++) n *= t->dims[i];
    if (t->rank == 3 && t->dims[0] > 0) {
        n = n / t->dims[0] * used;
        b = b / t->dims[0] * used;
    }
    *weights += n;
    *bytes += b;
}

static void add_step(const tfm_graph *g, const tfm_step *s, uint64_t *weights, uint64_t *bytes) {
    const int id[3] = {s->weight, s->bias, s->extra};

    if (s->op == TFM_OP_LINEAR || s->op == TFM_OP_MOE_ROUTE)
        add_matrix(g->weight[s->weight].tensor, 1, weights, bytes);
    for (int i = 0; s->op == TFM_OP_MOE_FFN && i < 3; i++)
        if (id[i] != TFM_NONE)
            add_matrix(g->weight[id[i]].tensor, g->value[s->in[1]].width, weights, bytes);
}

/* The type that most numbers of the blocks have. */
static tfm_dtype main_type(const tfm_graph *g) {
    uint64_t count[256] = {0}, bytes = 0;
    uint8_t best = TFM_F32;

    for (size_t i = 0; i < g->block_start[g->n_blocks]; i++) {
        const tfm_step *s = &g->step[i];
        const int w = s->op == TFM_OP_LINEAR ? s->weight : s->op == TFM_OP_MOE_FFN ? s->bias : -1;
        if (w < 0) continue;
        const uint8_t type = (uint8_t)g->weight[w].tensor->dtype;
        add_step(g, s, &count[type], &bytes);
        if (count[type] > count[best]) best = type;
    }
    return (tfm_dtype)best;
}

void tfm_engine_cost(tfm_engine *e, tfm_cost *out) {
    const tfm_graph *g = tfm_engine_graph(e);
    const tfm_backend *be = tfm_engine_backend(e);

    *out = (tfm_cost){.type = main_type(g), .threads = be->threads};
    for (size_t i = 0; i < g->n_steps; i++) {
        const bool is_head = i >= g->block_start[g->n_blocks];
        add_step(g, &g->step[i], is_head ? &out->head_weights : &out->block_weights,
                 is_head ? &out->head_bytes : &out->block_bytes);
    }
    if (tfm_engine_has_cache(e))
        out->kv_bytes = be->ops->kv_page_bytes(tfm_engine_kv(e)) / TFM_KV_PAGE;
}
