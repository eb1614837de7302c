/* engine.c - a model on a device: graph, plan, cache; one pass over one sequence.
 *
 * Owns backend, graph, plan, KV pages. Knows nothing of sampling or of who asks. The context in
 * force is settled here, once, because length-dependent rope scaling is fixed from it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "infer/infer_internal.h"
#include "infer/prefix_internal.h"
#include "infer/probe_internal.h"

#define DEFAULT_CTX 4096u
#define PASS_ROWS 512u /* rows of one batch in tfm_engine_logits */

struct tfm_engine {
    tfm_model *model;
    tfm_backend *be;
    tfm_graph *graph;   /* as the description says */
    tfm_probe *probe;   /* borrowed, or NULL */
    probe_graph probed; /* with the probe in it; arena NULL: there is none */
    tfm_taps taps;
    tfm_kv *kv;
    tfm_plan *plan;
    tfm_pages *pages;
    tfm_prefix *prefix; /* or NULL */
    tfm_model_range range;
    uint32_t ctx;
    tfm_dtype kv_type;
    char numerics[96];
};

static tfm_status settle_ctx(tfm_engine *e, const tfm_engine_options *o, tfm_error *err) {
    uint32_t own = e->graph->ctx_train, most = e->graph->max_position;

    e->ctx = o->ctx ? o->ctx : own < DEFAULT_CTX ? own : DEFAULT_CTX;
    if (e->ctx > most)
        return tfm_fail(err, TFM_MISMATCH,
                        "%s: a context of %u was asked for, the model's positions end at %u; give "
                        "--ctx %u or less",
                        tfm_model_path(e->model), e->ctx, most, most);
    return TFM_OK;
}

/* The type of the cache unless one is asked for: f16, but f32 where every linear weight is f32. Who
 * keeps a model in f32 wants its own choices; an f16 cache changes one of the seven texts by which
 * llama2.c's stories260K is judged. */
static tfm_dtype default_kv_type(const tfm_graph *g) {
    for (size_t i = 0; i < g->n_steps; i++) {
        const tfm_step *s = &g->step[i];
        const int w = s->op == TFM_OP_LINEAR ? s->weight : s->op == TFM_OP_MOE_FFN ? s->bias : -1;
        if (w >= 0 && g->weight[w].tensor->dtype != TFM_F32) return TFM_F16;
    }
    return TFM_F32;
}

tfm_status tfm_range_steps(const tfm_graph *g, const char *path, tfm_model_range *r, size_t *first,
                           size_t *end, tfm_error *err) {
    if (!r->is_part)
        *r = (tfm_model_range){.has_embed = true, .has_head = true, .end_block = g->n_blocks};
    if (r->first_block > r->end_block || r->end_block > g->n_blocks)
        return tfm_fail(err, TFM_USAGE, "%s has blocks 0-%u, not %u-%u", path, g->n_blocks - 1,
                        r->first_block, r->end_block - 1);
    *first = r->has_embed ? 0 : g->block_start[r->first_block];
    *end = r->has_head ? g->n_steps : g->block_start[r->end_block];
    return TFM_OK;
}

/* The steps [first, end) become a plan, with the probe in them if there is one. */
static tfm_status make_plan(tfm_engine *e, tfm_probe *probe, size_t first, size_t end,
                            tfm_error *err) {
    const tfm_graph *g = e->graph;

    e->probe = probe;
    if (probe) {
        TFM_TRY(tfm_probe_apply(&e->probed, probe, g, first, end, err));
        TFM_TRY(tfm_taps_init(&e->taps, &e->probed, err));
        g = &e->probed.graph;
        first = e->probed.first;
        end = e->probed.end;
    }
    return e->be->ops->plan_new(e->be, g, first, end, e->kv, &e->plan, err);
}

tfm_status tfm_engine_new(tfm_engine **out, tfm_model *model, const tfm_engine_options *o,
                          tfm_error *err) {
    tfm_engine *e = NULL;
    tfm_status st;
    tfm_dtype kv_type = o->kv_type;
    size_t first = 0, end = 0;

    *out = NULL;
    if (o->prefix_cache && o->probe)
        return tfm_fail(
            err, TFM_USAGE,
            "a prefix cache holds what the model computes by itself, and saves rows that "
            "taps would want: not with taps or interventions");
    if ((st = tfm_alloc((void **)&e, 1, sizeof *e, err)) != TFM_OK) return st;
    e->model = model;
    if ((st = tfm_graph_new(&e->graph, model, o->ctx, err)) != TFM_OK) goto fail;
    if ((st = settle_ctx(e, o, err)) != TFM_OK) goto fail;
    st = tfm_backend_new(&e->be, o->device ? o->device : "auto", o->threads, err);
    if (st != TFM_OK) goto fail;
    const tfm_backend_ops *ops = e->be->ops;
    if (kv_type == TFM_DTYPE_NONE) kv_type = default_kv_type(e->graph);
    e->kv_type = kv_type;
    e->range = o->range;
    st = tfm_range_steps(e->graph, tfm_model_path(model), &e->range, &first, &end, err);
    if (st != TFM_OK) goto fail;
    if (e->graph->n_kv && e->range.first_block < e->range.end_block) {
        st = ops->kv_new(e->be, e->graph, e->range.first_block, e->range.end_block, kv_type, &e->kv,
                         err);
        if (st != TFM_OK) goto fail;
    }
    if ((st = make_plan(e, o->probe, first, end, err)) != TFM_OK) goto fail;
    st = tfm_pages_new(&e->pages, e->be, e->kv, o->kv_bytes, err);
    if (st != TFM_OK) goto fail;
    if (o->prefix_cache && e->kv && (st = tfm_prefix_new(&e->prefix, e->pages, err)) != TFM_OK)
        goto fail;
    snprintf(e->numerics, sizeof e->numerics, "%s %s kv=%s ctx=%" PRIu32, ops->name,
             e->be->instruction_set, tfm_dtype_name(kv_type), e->ctx);
    *out = e;
    return TFM_OK;
fail:
    tfm_engine_free(e);
    return st;
}

void tfm_engine_free(tfm_engine *e) {
    if (!e) return;
    tfm_prefix_free(e->prefix);
    tfm_pages_free(e->pages);
    if (e->plan) e->be->ops->plan_free(e->plan);
    if (e->kv) e->be->ops->kv_free(e->kv);
    tfm_backend_free(e->be);
    tfm_taps_free(&e->taps);
    tfm_probe_graph_free(&e->probed);
    tfm_graph_free(e->graph);
    tfm_free(e);
}

uint32_t tfm_engine_ctx(const tfm_engine *e) {
    return e->ctx;
}
uint32_t tfm_engine_n_vocab(const tfm_engine *e) {
    return e->graph->n_vocab;
}
uint32_t tfm_engine_width(const tfm_engine *e) {
    return e->graph->width;
}
const char *tfm_engine_numerics(const tfm_engine *e) {
    return e->numerics;
}
tfm_pages *tfm_engine_pages(tfm_engine *e) {
    return e->pages;
}
tfm_prefix *tfm_engine_prefix(tfm_engine *e) {
    return e->prefix;
}
tfm_kv *tfm_engine_kv(tfm_engine *e) {
    return e->kv;
}
const tfm_graph *tfm_engine_graph(const tfm_engine *e) {
    return e->graph;
}
tfm_dtype tfm_engine_kv_type(const tfm_engine *e) {
    return e->kv_type;
}
bool tfm_engine_has_cache(const tfm_engine *e) {
    return e->kv != NULL;
}
tfm_model *tfm_engine_model(tfm_engine *e) {
    return e->model;
}
tfm_backend *tfm_engine_backend(tfm_engine *e) {
    return e->be;
}

tfm_status tfm_engine_run(tfm_engine *e, const tfm_batch *b, tfm_error *err) {
    tfm_batch with_taps = *b;
    if (e->probe) tfm_probe_meet(e->probe, b);

    TFM_TRY(tfm_taps_prepare(&e->taps, &with_taps, err));
    return e->be->ops->plan_run(e->plan, &with_taps, err);
}

uint32_t tfm_engine_n_taps(const tfm_engine *e) {
    return e->taps.n_written;
}

tfm_status tfm_engine_tap_rows(const tfm_engine *e, uint32_t first, uint32_t n, uint32_t position,
                               tfm_buf *to, tfm_error *err) {
    return tfm_taps_rows(&e->taps, first, n, position, to, err);
}

tfm_status tfm_engine_tap_write(const tfm_engine *e, uint32_t group, uint32_t position, uint32_t n,
                                const tfm_buf *rows, tfm_writer *w, tfm_error *err) {
    return tfm_taps_write(&e->taps, group, position, n, rows, w, err);
}

/* Rows [first, first + n) of one sequence, logits of each. */
static tfm_status pass(tfm_engine *e, const tfm_seq *seq, const int32_t *ids, uint32_t first,
                       uint32_t n, float *logits, tfm_error *err) {
    uint32_t position[PASS_ROWS], out_row[PASS_ROWS];
    uint32_t row_start[2] = {0, n};
    const uint32_t *page = seq->page;
    tfm_batch b = {.n_rows = n, .n_seqs = 1, .row_start = row_start, .token = ids + first};

    for (uint32_t i = 0; i < n; i++) {
        position[i] = first + i;
        out_row[i] = i;
    }
    b.position = position;
    b.page = &page;
    b.out_row = out_row;
    b.n_out = n;
    b.logits = logits + (size_t)first * e->graph->n_vocab;
    return tfm_engine_run(e, &b, err);
}

tfm_status tfm_engine_logits(tfm_engine *e, const int32_t *ids, size_t n, float *logits,
                             tfm_error *err) {
    tfm_seq seq = {0};
    tfm_status st = TFM_OK;

    if (n > e->ctx)
        return tfm_fail(err, TFM_LIMIT, "%zu tokens do not fit the context of %u; give --ctx", n,
                        e->ctx);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= e->graph->n_vocab)
            return tfm_fail(err, TFM_RECORD, "id %d at position %zu is outside the vocabulary",
                            (int)ids[i], i);
    for (uint32_t at = 0; at < n && st == TFM_OK;) {
        uint32_t rows = (uint32_t)n - at < PASS_ROWS ? (uint32_t)n - at : PASS_ROWS;
        st = tfm_seq_extend(e->pages, &seq, at + rows, err);
        if (st == TFM_OK) st = pass(e, &seq, ids, at, rows, logits, err);
        at += rows;
    }
    tfm_seq_release(e->pages, &seq);
    return st;
}
