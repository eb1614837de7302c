/* ops.h - one step as a graph of its own, run on any backend with any cutting of its rows.
 *
 *     float *want = ops_run(&c, "ref", 1, &ops_whole), *got = ops_run(&c, "cpu", 3, &cut);
 *
 * The graph: hidden (all inputs of the step side by side) -> SPLIT if there are several -> the step
 * -> logits. Rows are those of a few sequences; a cutting says how they are dealt to batches. All
 * numbers come from a seed, so a failure repeats. Used by tests/unit/test_ops*.c and bench_ops. */
#ifndef TFM_TESTS_OPS_H
#define TFM_TESTS_OPS_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend_internal.h"

enum { OPS_MAX_SEQS = 4, OPS_MAX_WEIGHTS = 6 };

typedef struct ops_case {
    char name[160];
    tfm_graph g;
    tfm_value value[6]; /* 0 hidden, 1 output, 2.. inputs */
    tfm_step step[2];   /* SPLIT, the tested step */
    size_t block_start[2];
    tfm_weight weight[OPS_MAX_WEIGHTS];
    tfm_tensor tensor[OPS_MAX_WEIGHTS];
    tfm_kv_shape kv;
    tfm_dtype kv_type;
    float *inv_freq, *alibi; /* owned */
    uint32_t n_seqs, length[OPS_MAX_SEQS], start[OPS_MAX_SEQS];
    uint32_t n_rows;
    float *hidden;  /* [n_rows, g.width], sequence after sequence */
    int32_t *token; /* [n_rows] */
    uint64_t random;
} ops_case;

/* How rows become batches. */
typedef struct ops_cutting {
    unsigned most;  /* rows of one sequence in a batch; 0: all */
    bool at_random; /* 1..most rows, sequences come and go */
    bool alone;     /* one sequence a batch */
    uint64_t seed;  /* of the page order and the random cuts */
} ops_cutting;

static const ops_cutting ops_whole = {0, false, false, 1};

/* ---- random numbers ---- */

static inline uint64_t ops_next(uint64_t *s) { /* splitmix64 */
    uint64_t z = *s += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline float ops_uniform(uint64_t *s) { /* (-1, 1) */
    return (float)((double)(int64_t)ops_next(s) * 0x1p-63);
}

static inline _Noreturn void ops_die(const char *what, const tfm_error *err) {
    printf("%s: %s\n", what, err != NULL ? err->message : "out of memory");
    exit(1);
}

static inline void *ops_alloc(size_t n) {
    void *p = NULL;
    if (posix_memalign(&p, 64, n > 0 ? n : 1) != 0) ops_die("test memory", NULL);
    memset(p, 0, n);
    return p;
}

static inline float *ops_random_row(uint64_t *s, size_t n, float size) {
    float *p = ops_alloc(n * sizeof *p);
    for (size_t i = 0; i < n; i++) p[i] = size * ops_uniform(s);
    return p;
}

/* ---- weights ---- */

/* Random blocks: quants and packed scales are any bits, the f16 scales stay near 1e-2. */
static inline void ops_random_blocks(uint64_t *s, tfm_dtype t, uint8_t *p, size_t n) {
    const uint32_t bytes = tfm_dtype_block_bytes(t);
    for (size_t i = 0; i < n * bytes; i++) p[i] = (uint8_t)ops_next(s);
    for (size_t b = 0; b < n; b++, p += bytes) {
        /* where d and m stand: the table of block.c, said again here on purpose */
        const int at = t == TFM_Q2_K ? 80 : t == TFM_Q3_K ? 108 : t == TFM_Q6_K ? 208 : 0;
        const bool has_m =
            t == TFM_Q4_1 || t == TFM_Q5_1 || t == TFM_Q2_K || t == TFM_Q4_K || t == TFM_Q5_K;
        const uint64_t e = t == TFM_MXFP4 ? ops_next(s) % 32 : 0; /* some subnormal scales */
        if (t == TFM_MXFP4) p[0] = (uint8_t)(e < 3 ? e : 118 + e % 4);
        for (int i = 0; t != TFM_MXFP4 && i < (has_m ? 2 : 1); i++) {
            const uint16_t h = tfm_f32_to_f16(0.01f * ops_uniform(s));
            p[at + 2 * i] = (uint8_t)h;
            p[at + 2 * i + 1] = (uint8_t)(h >> 8);
        }
    }
}

static inline uint64_t ops_bytes(const tfm_tensor *w, tfm_layout layout) {
    tfm_error err;
    uint64_t bytes;
    if (tfm_layout_bytes(w->dtype, layout, w->rank, w->dims, &bytes, &err) != TFM_OK) {
        ops_die("weight", &err);
    }
    return bytes;
}

/* A random tensor [rows, k], or [k] if rows is 0; its data is malloc'd. */
static inline tfm_tensor ops_tensor(uint64_t *s, tfm_dtype t, tfm_layout layout, uint32_t rows,
                                    uint32_t k, float size) {
    tfm_tensor w = {.name = "w", .dtype = t, .rank = rows > 0 ? 2 : 1, .dims = {1, 1, 1, 1}};
    tfm_error err;
    w.dims[0] = rows > 0 ? rows : k;
    if (rows > 0) w.dims[1] = k;
    w.bytes = ops_bytes(&w, TFM_LAYOUT_ROWS);
    const size_t count = (size_t)(rows > 0 ? rows : 1) * k;
    uint8_t *data = ops_alloc(w.bytes);
    if (tfm_dtype_block(t) > 1) {
        ops_random_blocks(s, t, data, count / tfm_dtype_block(t));
    } else {
        float *f = ops_random_row(s, count, size);
        if (tfm_from_f32(t, f, count, data, &err) != TFM_OK) ops_die("weight", &err);
        free(f);
    }
    if (layout == TFM_LAYOUT_P16) {
        w.layout = layout;
        w.bytes = ops_bytes(&w, layout);
        uint8_t *packed = ops_alloc(w.bytes);
        if (tfm_pack_p16(t, rows, k, data, packed, &err) != TFM_OK) ops_die("weight", &err);
        free(data);
        data = packed;
    }
    w.data = data;
    return w;
}

static inline int ops_weight(ops_case *c, tfm_dtype t, tfm_layout layout, uint32_t rows,
                             uint32_t k) {
    const int id = (int)c->g.n_weights++;
    c->tensor[id] = ops_tensor(&c->random, t, layout, rows, k, 1.0f);
    c->weight[id].tensor = &c->tensor[id];
    return id;
}

/* ---- cases ---- */

/* An empty case of one step, which the caller fills in before ops_finish. */
static inline tfm_step *ops_begin(ops_case *c, tfm_op op, uint64_t seed) {
    memset(c, 0, sizeof *c);
    c->random = seed;
    c->kv_type = TFM_F16;
    c->step[1] = (tfm_step){.op = op, .name = "tested", .n_out = 1};
    c->step[1].weight = c->step[1].bias = c->step[1].extra = TFM_NONE;
    c->step[0] = (tfm_step){.op = TFM_OP_SPLIT, .name = "inputs", .n_in = 1};
    c->step[0].weight = c->step[0].bias = c->step[0].extra = TFM_NONE;
    return &c->step[1];
}

static inline void ops_sequence(ops_case *c, uint32_t start, uint32_t length) {
    c->start[c->n_seqs] = start;
    c->length[c->n_seqs++] = length;
    c->n_rows += length;
}

/* Inputs of these widths (0 ends the list) in (-size, size), one output. */
static inline void ops_finish(ops_case *c, const uint32_t in[4], uint32_t out_width, float size) {
    tfm_graph *g = &c->g;
    uint32_t width = 0;
    int n_in = 0;
    for (int i = 0; i < 6; i++) c->value[i] = (tfm_value){"unused", 1};
    for (; n_in < 4 && in[n_in] > 0; n_in++) {
        c->value[2 + n_in] = (tfm_value){"in", in[n_in]};
        c->step[0].out[n_in] = c->step[1].in[n_in] = 2 + n_in;
        width += in[n_in];
    }
    if (width == 0) width = 1; /* gather has no input */
    c->value[0] = (tfm_value){"hidden", width};
    c->value[1] = (tfm_value){"out", out_width};
    c->step[0].n_out = c->step[1].n_in = n_in;
    c->step[1].out[0] = 1;
    if (n_in == 1) c->step[1].in[0] = 0; /* reads hidden itself, no SPLIT */
    g->value = c->value;
    g->n_values = 6;
    g->weight = c->weight;
    g->step = n_in > 1 ? c->step : c->step + 1;
    g->n_steps = n_in > 1 ? 2 : 1;
    c->block_start[1] = g->n_steps;
    g->block_start = c->block_start;
    g->n_blocks = 1;
    g->hidden = 0;
    g->logits = 1;
    g->kv = &c->kv;
    g->n_kv = c->step[1].op == TFM_OP_ATTEND ? 1 : 0;
    g->width = width;
    g->n_vocab = out_width;
    g->max_position = UINT32_MAX;
    c->hidden = ops_random_row(&c->random, (size_t)c->n_rows * width, size);
    c->token = ops_alloc(c->n_rows * sizeof *c->token);
}

static inline void ops_case_free(ops_case *c) {
    for (size_t i = 0; i < c->g.n_weights; i++) free((void *)(uintptr_t)c->tensor[i].data);
    free(c->inv_freq);
    free(c->alibi);
    free(c->hidden);
    free(c->token);
}

/* ---- running ---- */

/* Called with every backend that ops_run makes: a test may put other kernels in. */
static void (*ops_hook)(tfm_backend *be);

typedef struct ops_runner {
    const ops_case *c;
    tfm_backend *be;
    tfm_kv *kv;
    tfm_plan *plan;
    uint32_t *page[OPS_MAX_SEQS];
    uint32_t done[OPS_MAX_SEQS]; /* rows of each sequence that have run */
    float *out;                  /* [n_rows, out width] */
    uint64_t random;
} ops_runner;

/* Page tables that cover every sequence, page numbers in a random order. */
static inline void ops_pages(ops_runner *r) {
    const ops_case *c = r->c;
    uint32_t n = 0, used = 0;
    tfm_error err;
    for (uint32_t s = 0; s < c->n_seqs; s++) n += (c->start[s] + c->length[s]) / TFM_KV_PAGE + 1;
    uint32_t *order = ops_alloc(n * sizeof *order);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t j = (uint32_t)(ops_next(&r->random) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
    for (uint32_t s = 0; s < c->n_seqs; s++) {
        const uint32_t need = (c->start[s] + c->length[s]) / TFM_KV_PAGE + 1;
        r->page[s] = ops_alloc(need * sizeof(uint32_t));
        memcpy(r->page[s], order + used, need * sizeof(uint32_t));
        used += need;
    }
    free(order);
    if (r->kv == NULL) return;
    if (r->be->ops->kv_reserve(r->kv, n / 2, &err) != TFM_OK || /* in two goes: pages stay */
        r->be->ops->kv_reserve(r->kv, n, &err) != TFM_OK) {
        ops_die(c->name, &err);
    }
}

static inline void ops_run_batch(ops_runner *r, const uint32_t take[OPS_MAX_SEQS]) {
    const ops_case *c = r->c;
    const size_t width = c->g.width, n_out = c->g.n_vocab;
    uint32_t row_start[OPS_MAX_SEQS + 1] = {0}, n = 0, n_seqs = 0, base = 0;
    const uint32_t *page[OPS_MAX_SEQS];
    tfm_error err;
    float *hidden = ops_alloc(c->n_rows * width * sizeof(float));
    float *logits = ops_alloc(c->n_rows * n_out * sizeof(float));
    int32_t *token = ops_alloc(c->n_rows * sizeof *token);
    uint32_t *position = ops_alloc(c->n_rows * sizeof *position);
    uint32_t *row = ops_alloc(c->n_rows * sizeof *row), *from = ops_alloc(c->n_rows * sizeof *from);
    for (uint32_t s = 0; s < c->n_seqs; base += c->length[s++]) {
        if (take[s] == 0) continue;
        page[n_seqs] = r->page[s];
        for (uint32_t i = 0; i < take[s]; i++, n++, r->done[s]++) {
            from[n] = base + r->done[s];
            memcpy(hidden + n * width, c->hidden + from[n] * width, width * sizeof(float));
            token[n] = c->token[from[n]];
            position[n] = c->start[s] + r->done[s];
            row[n] = n;
        }
        row_start[++n_seqs] = n;
    }
    const tfm_batch b = {.n_rows = n,
                         .n_seqs = n_seqs,
                         .row_start = row_start,
                         .token = token,
                         .position = position,
                         .page = page,
                         .hidden_in = hidden,
                         .out_row = row,
                         .n_out = n,
                         .logits = logits};
    if (r->be->ops->plan_run(r->plan, &b, &err) != TFM_OK) ops_die(c->name, &err);
    for (uint32_t i = 0; i < n; i++) {
        memcpy(r->out + from[i] * n_out, logits + i * n_out, n_out * sizeof(float));
    }
    free(hidden), free(logits), free(token), free(position), free(row), free(from);
}

/* One more batch as the cutting deals it; false when all rows have run. */
static inline bool ops_deal(ops_runner *r, const ops_cutting *cut) {
    const ops_case *c = r->c;
    uint32_t take[OPS_MAX_SEQS] = {0};
    bool left = false, any = false;
    for (uint32_t s = 0; s < c->n_seqs; s++) {
        const uint32_t rest = c->length[s] - r->done[s];
        uint32_t most = cut->most > 0 && cut->most < rest ? cut->most : rest;
        if (rest == 0) continue;
        left = true;
        if (cut->alone && any) continue;
        if (cut->at_random) {
            if (ops_next(&r->random) % 3 == 0) continue;
            most = 1 + (uint32_t)(ops_next(&r->random) % most);
        }
        take[s] = most;
        any = true;
    }
    if (any) ops_run_batch(r, take);
    return left;
}

/* [n_rows, out width]; the caller frees it. */
static inline float *ops_run(const ops_case *c, const char *device, unsigned threads,
                             const ops_cutting *cut) {
    ops_runner r = {.c = c, .random = cut->seed};
    tfm_error err;
    if (tfm_backend_new(&r.be, device, threads, &err) != TFM_OK) ops_die(c->name, &err);
    if (ops_hook != NULL) ops_hook(r.be);
    if (c->g.n_kv > 0 && r.be->ops->kv_new(r.be, &c->g, 0, 1, c->kv_type, &r.kv, &err) != TFM_OK) {
        ops_die(c->name, &err);
    }
    ops_pages(&r);
    if (r.be->ops->plan_new(r.be, &c->g, 0, c->g.n_steps, r.kv, &r.plan, &err) != TFM_OK) {
        ops_die(c->name, &err);
    }
    r.out = ops_alloc((size_t)c->n_rows * c->g.n_vocab * sizeof(float));
    while (ops_deal(&r, cut)) continue;
    r.be->ops->plan_free(r.plan);
    r.be->ops->kv_free(r.kv);
    for (uint32_t s = 0; s < c->n_seqs; s++) free(r.page[s]);
    tfm_backend_free(r.be);
    return r.out;
}

#endif
