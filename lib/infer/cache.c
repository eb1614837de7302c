/* cache.c - kept caches: a page table with the tokens it was computed from; to a stream and back.
 *
 * In a stream the rows of each layer are tensors of their own, without the layout that a backend
 * gives its pages: blk.N.k and blk.N.v, [n, kv_heads * dim] of the cache's type. The order is fixed
 * (tokens, then block after block, k before v, records ascending by position), so a reader needs to
 * count rows only.
 */
#include <stdio.h>
#include <string.h>

#include "infer/infer_internal.h"
#include "tfm/cache.h"

#define CHUNK_BYTES (1u << 20) /* of one record, if a row is not longer */

struct tfm_cache {
    tfm_engine *engine;
    int32_t *ids; /* [seq.len] */
    tfm_seq seq;
};

void tfm_cache_free(tfm_cache *c) {
    if (!c) return;
    tfm_seq_release(tfm_engine_pages(c->engine), &c->seq);
    tfm_free(c->ids);
    tfm_free(c);
}

const int32_t *tfm_cache_ids(const tfm_cache *c, uint32_t *n) {
    *n = c->seq.len;
    return c->ids;
}

tfm_status tfm_cache_from_seq(tfm_cache **out, tfm_engine *e, tfm_seq *seq, const int32_t *ids,
                              tfm_error *err) {
    tfm_cache *c = NULL;

    *out = NULL;
    tfm_status st = tfm_alloc((void **)&c, 1, sizeof *c, err);
    if (st != TFM_OK) {
        tfm_seq_release(tfm_engine_pages(e), seq);
        return st;
    }
    c->engine = e;
    c->seq = *seq;
    memset(seq, 0, sizeof *seq);
    st = tfm_alloc((void **)&c->ids, c->seq.len, sizeof *ids, err);
    if (st != TFM_OK) {
        tfm_cache_free(c);
        return st;
    }
    if (c->seq.len) memcpy(c->ids, ids, c->seq.len * sizeof *ids);
    *out = c;
    return TFM_OK;
}

uint32_t tfm_cache_common(const tfm_cache *c, const int32_t *ids, size_t n) {
    uint32_t same = 0;

    while (same < n && same < c->seq.len && ids[same] == c->ids[same]) same++;
    return same;
}

tfm_status tfm_cache_fork(const tfm_cache *c, const int32_t *ids, uint32_t n, tfm_seq *to,
                          tfm_error *err) {
    return tfm_seq_fork(tfm_engine_pages(c->engine), to, &c->seq, tfm_cache_common(c, ids, n), err);
}

/* ---- the tensors of a cache ---- */

/* One of them: K or V of a layer; the cache's type. */
typedef struct part {
    uint32_t layer;
    bool is_v;
    tfm_dtype type;
    uint32_t width; /* numbers of a row */
    char name[32];
} part;

static part part_of(const tfm_cache *c, uint32_t layer, bool is_v) {
    const tfm_kv_shape *s = &tfm_engine_graph(c->engine)->kv[layer];
    part p = {.layer = layer, .is_v = is_v, .type = tfm_engine_kv_type(c->engine)};

    p.width = s->kv_heads * (is_v ? s->v_dim : s->k_dim);
    snprintf(p.name, sizeof p.name, "blk.%d.%s", s->block, is_v ? "v" : "k");
    return p;
}

static size_t row_bytes(const part *p) {
    return (size_t)p->width / tfm_dtype_block(p->type) * tfm_dtype_block_bytes(p->type);
}

static uint32_t chunk_rows(const part *p) {
    size_t n = CHUNK_BYTES / row_bytes(p);
    return n ? (uint32_t)n : 1;
}

/* ---- writing ---- */

tfm_status tfm_cache_header(tfm_engine *e, tfm_header *h, tfm_error *err) {
    tfm_model *m = tfm_engine_model(e);

    TFM_TRY(tfm_header_set_kind(h, "cache", err));
    TFM_TRY(tfm_header_set(h, "model", tfm_model_id(m), err));
    if (*tfm_model_vocab_id(m)) TFM_TRY(tfm_header_set(h, "vocab", tfm_model_vocab_id(m), err));
    return tfm_header_set(h, "numerics", tfm_engine_numerics(e), err);
}

static tfm_status write_part(const tfm_cache *c, const part *p, uint32_t group, void *rows,
                             tfm_writer *w, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = (uint8_t)p->type, .rank = 2, .group = group};
    tfm_kv *kv = tfm_engine_kv(c->engine);

    snprintf(rec.name, sizeof rec.name, "%s", p->name);
    for (uint32_t at = 0, n; at < c->seq.len; at += n) {
        n = c->seq.len - at < chunk_rows(p) ? c->seq.len - at : chunk_rows(p);
        rec.position = at;
        rec.dims[0] = n;
        rec.dims[1] = p->width;
        rec.dims[2] = rec.dims[3] = 1;
        tfm_engine_backend(c->engine)->ops->kv_read(kv, p->layer, p->is_v, c->seq.page, at, n,
                                                    rows);
        TFM_TRY(tfm_writer_record(w, &rec, rows, err));
    }
    return TFM_OK;
}

tfm_status tfm_cache_write(const tfm_cache *c, uint32_t group, tfm_writer *w, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .group = group,
                      .dims = {c->seq.len, 1, 1, 1},
                      .name = "tokens"};
    uint32_t n_layers = tfm_engine_kv(c->engine) ? tfm_engine_graph(c->engine)->n_kv : 0;
    tfm_status st = TFM_OK;

    TFM_TRY(tfm_writer_record(w, &rec, c->ids, err));
    for (uint32_t i = 0; i < 2 * n_layers && st == TFM_OK; i++) {
        part p = part_of(c, i / 2, i % 2);
        void *rows = NULL;
        st = tfm_alloc(&rows, chunk_rows(&p), row_bytes(&p), err);
        if (st == TFM_OK) st = write_part(c, &p, group, rows, w, err);
        tfm_free(rows);
    }
    return st == TFM_OK ? tfm_writer_group_end(w, group, c->seq.len, TFM_END_OPEN, err) : st;
}

/* ---- reading ---- */

static tfm_status check_header(tfm_engine *e, const tfm_header *h, tfm_error *err) {
    tfm_model *m = tfm_engine_model(e);
    const char *model = tfm_header_get(h, "model"), *numerics = tfm_header_get(h, "numerics");

    if (strcmp(tfm_header_kind(h), "cache") != 0)
        return tfm_fail(err, TFM_MISMATCH, "a stream of kind %s, a cache is wanted",
                        tfm_header_kind(h));
    if (!model || strcmp(model, tfm_model_id(m)) != 0)
        return tfm_fail(err, TFM_MISMATCH, "the cache is of model %.16s, %s is model %.16s",
                        model ? model : "(none)", tfm_model_path(m), tfm_model_id(m));
    if (!numerics || strcmp(numerics, tfm_engine_numerics(e)) != 0)
        return tfm_fail(err, TFM_MISMATCH, "the cache was computed by '%s', this run is '%s'",
                        numerics ? numerics : "(not said)", tfm_engine_numerics(e));
    return TFM_OK;
}

/* TFM_DONE: END is there instead. */
static tfm_status read_ids(tfm_cache *c, tfm_reader *r, uint32_t *group, tfm_error *err) {
    uint32_t n_vocab = tfm_engine_n_vocab(c->engine);
    const void *payload;
    tfm_record rec;

    tfm_status st = tfm_reader_next(r, &rec, err);
    if (st != TFM_OK) return st;
    if (rec.type != TFM_REC_TENSOR || rec.dtype != TFM_I32 || rec.rank != 1 ||
        strcmp(rec.name, "tokens") != 0)
        return tfm_fail(err, TFM_FORMAT, "record %u: a cache begins with its tokens", rec.seq);
    *group = rec.group;
    if (rec.dims[0] > tfm_engine_ctx(c->engine))
        return tfm_fail(err, TFM_FORMAT, "the cache has %u tokens, its context is %u", rec.dims[0],
                        tfm_engine_ctx(c->engine));
    TFM_TRY(tfm_reader_payload(r, &payload, err));
    TFM_TRY(tfm_alloc((void **)&c->ids, rec.dims[0], sizeof *c->ids, err));
    if (rec.bytes) memcpy(c->ids, payload, (size_t)rec.bytes);
    for (uint32_t i = 0; i < rec.dims[0]; i++)
        if (c->ids[i] < 0 || (uint32_t)c->ids[i] >= n_vocab)
            return tfm_fail(err, TFM_FORMAT, "the cache has id %d, the vocabulary %u",
                            (int)c->ids[i], n_vocab);
    TFM_TRY(tfm_seq_extend(tfm_engine_pages(c->engine), &c->seq, rec.dims[0], err));
    return TFM_OK;
}

static tfm_status read_part(tfm_cache *c, const part *p, tfm_reader *r, uint32_t group,
                            tfm_error *err) {
    const void *payload;
    tfm_record rec;

    for (uint32_t at = 0; at < c->seq.len; at += rec.dims[0]) {
        tfm_status st = tfm_reader_next(r, &rec, err);
        if (st == TFM_DONE) return tfm_fail(err, TFM_FORMAT, "the cache ends before %s", p->name);
        if (st != TFM_OK) return st;
        if (rec.type != TFM_REC_TENSOR || rec.dtype != p->type || rec.rank != 2 ||
            rec.group != group || rec.position != at || rec.dims[1] != p->width ||
            rec.dims[0] == 0 || rec.dims[0] > c->seq.len - at || strcmp(rec.name, p->name) != 0)
            return tfm_fail(err, TFM_FORMAT, "record %u: %s [n, %u] of group %u at %u was expected",
                            rec.seq, p->name, p->width, group, at);
        TFM_TRY(tfm_reader_payload(r, &payload, err));
        tfm_engine_backend(c->engine)->ops->kv_write(tfm_engine_kv(c->engine), p->layer, p->is_v,
                                                     c->seq.page, at, rec.dims[0], payload);
    }
    return TFM_OK;
}

static tfm_status read_end(tfm_reader *r, uint32_t group, tfm_error *err) {
    tfm_record rec;
    tfm_status st = tfm_reader_next(r, &rec, err);

    if (st == TFM_DONE) return tfm_fail(err, TFM_FORMAT, "the cache has no GROUP-END");
    if (st == TFM_OK && (rec.type != TFM_REC_GROUP_END || rec.group != group))
        return tfm_fail(err, TFM_FORMAT, "record %u: GROUP-END of group %u was expected", rec.seq,
                        group);
    return st;
}

tfm_status tfm_cache_read(tfm_cache **out, tfm_engine *e, tfm_reader *r, tfm_error *err) {
    uint32_t n_layers = tfm_engine_kv(e) ? tfm_engine_graph(e)->n_kv : 0;
    tfm_cache *c = NULL;
    uint32_t group = 0;

    *out = NULL;
    TFM_TRY(check_header(e, tfm_reader_header(r), err));
    TFM_TRY(tfm_alloc((void **)&c, 1, sizeof *c, err));
    c->engine = e;
    tfm_status st = read_ids(c, r, &group, err);
    for (uint32_t i = 0; i < 2 * n_layers && st == TFM_OK; i++) {
        part p = part_of(c, i / 2, i % 2);
        st = read_part(c, &p, r, group, err);
    }
    if (st == TFM_OK) st = read_end(r, group, err);
    if (st != TFM_OK) {
        tfm_cache_free(c);
        return st;
    }
    *out = c;
    return TFM_OK;
}
