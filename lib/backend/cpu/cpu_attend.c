/* cpu_attend.c - the ATTEND step: the batch's K and V go to the cache, then every head attends.
 *
 * A call is one kv head and a tile of rows of one sequence, so that K and V of a panel serve all
 * query heads of the group and all rows of the tile:
 *
 *     scores of all chunks -> the largest -> weights and weighted values of each chunk -> their sum
 *
 * A piece of work is some whole calls; or, where there are few and a context is long, each arrow is
 * a meeting of the threads and a piece is one chunk of 1024 keys of one call. Chunks are those of
 * absolute positions either way, so that this choice changes no bit. A page has, for each layer,
 * one kv head after the other; kernel_internal.h says how each lies. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"

enum {
    WRITE_WORK = 8192,     /* numbers that one piece writes to the cache */
    ATTEND_WORK = 1 << 14, /* multiplications of one piece, at least */
    FEW_CALLS = 4,         /* of one thread: below, their chunks are shared */
    CHUNK_PANELS = TFM_KEY_CHUNK / TFM_PANEL
};

typedef struct attend_job {
    const cpu_run *run;
    const tfm_step *step;
    const float *sink;
    uint32_t heads_each;      /* query heads of one call */
    uint32_t blocks;          /* calls that a group of heads makes */
    size_t rows_each;         /* rows of one piece of writing */
    size_t calls, calls_each; /* those of one piece of attention */
    uint32_t panels, chunks;  /* the most that a call spans */
    bool shared;              /* pieces are chunks of calls */
    unsigned char *scratch;   /* of the kernels: [threads] of scratch_bytes */
    size_t scratch_bytes;
    float *memory; /* of calls: [threads, or if shared calls] of memory_floats */
    size_t memory_floats;
} attend_job;

/* One call and its part of the memory; n queries, `chunks` chunks of panels [from, to). */
typedef struct attend_call {
    tfm_cpu_attend a;
    uint32_t row, head, heads; /* query i: row + i / heads, head + i % heads */
    uint32_t from, to, chunks;
    float *score; /* [to - from][n][16] */
    float *max;   /* [chunks][n] */
    float *sum;   /* [chunks][n] */
    float *out;   /* [chunks][n][v_dim] */
} attend_call;

static void write_row(const attend_job *j, uint32_t row) {
    const cpu_plan *p = j->run->plan;
    const tfm_batch *b = j->run->batch;
    const tfm_step *s = j->step;
    const tfm_kv *kv = p->base.kv;
    const size_t k_dim = s->u.attend.k_dim, v_dim = s->u.attend.v_dim;
    const uint32_t position = b->position[row], slot = position % TFM_KV_PAGE;
    unsigned char *page = kv->page[b->page[tfm_batch_sequence(b, row)][position / TFM_KV_PAGE]];
    unsigned char *k = page + kv->k_at[s->u.attend.kv_layer];
    unsigned char *v = page + kv->v_at[s->u.attend.kv_layer];
    const float *k_in = p->value[s->in[1]] + (size_t)row * s->u.attend.kv_heads * k_dim;
    const float *v_in = p->value[s->in[2]] + (size_t)row * s->u.attend.kv_heads * v_dim;
    const size_t k_bytes = tfm_kv_head_bytes(kv->type, s->u.attend.k_dim);
    const size_t v_bytes = tfm_kv_head_bytes(kv->type, s->u.attend.v_dim);
    for (size_t h = 0; h < s->u.attend.kv_heads; h++) {
        p->be->kernels->attend_store(kv->type, k_dim, k_in + h * k_dim, k + h * k_bytes, slot,
                                     TFM_PANEL);
        p->be->kernels->attend_store(kv->type, v_dim, v_in + h * v_dim, v + h * v_bytes, slot, 1);
    }
}

static void write_piece(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    const size_t first = piece * j->rows_each, end = first + j->rows_each;
    (void)worker;
    for (size_t r = first; r < end && r < j->run->n_rows; r++) write_row(j, (uint32_t)r);
}

/* ---- calls ---- */

static void add_queries(const attend_job *j, attend_call *c, uint32_t n_rows) {
    const cpu_plan *p = j->run->plan;
    const tfm_step *s = j->step;
    for (uint32_t i = 0; i < n_rows * c->heads; i++) {
        const uint32_t row = c->row + i / c->heads, head = c->head + i % c->heads;
        const size_t at = (size_t)row * s->u.attend.heads + head;
        c->a.query[i].q = p->value[s->in[0]] + at * c->a.k_dim;
        c->a.query[i].out = p->value[s->out[0]] + at * c->a.v_dim;
        c->a.query[i].position = j->run->batch->position[row];
        c->a.query[i].slope = s->u.attend.alibi != NULL ? s->u.attend.alibi[head] : 0.0f;
        c->a.query[i].sink = j->sink != NULL ? j->sink[head] : 0.0f;
    }
    c->a.n_queries = n_rows * c->heads;
}

/* Panels that a sequence's rows at positions first..last look at. */
static void find_panels(const tfm_step *s, uint32_t first, uint32_t last, uint32_t *from,
                        uint32_t *to) {
    *from = tfm_first_key(first, s->u.attend.window, s->u.attend.chunk) / TFM_PANEL;
    *to = last / TFM_PANEL + 1;
}

static uint32_t chunks_of(uint32_t from, uint32_t to) {
    return (to - 1) / CHUNK_PANELS - from / CHUNK_PANELS + 1;
}

static void make_call(const attend_job *j, size_t call, unsigned worker, attend_call *c) {
    const cpu_plan *p = j->run->plan;
    const tfm_batch *b = j->run->batch;
    const tfm_step *s = j->step;
    const tfm_kv *kv = p->base.kv;
    const uint32_t kv_heads = s->u.attend.kv_heads, group = s->u.attend.heads / kv_heads;
    const uint32_t block = (uint32_t)(call % j->blocks);
    const uint32_t kv_head = (uint32_t)(call / j->blocks % kv_heads);
    const cpu_row_tile *t = &p->tile[call / j->blocks / kv_heads];
    const uint32_t left = group - block * j->heads_each;
    c->a = (tfm_cpu_attend){.kv_type = kv->type,
                            .k_dim = s->u.attend.k_dim,
                            .v_dim = s->u.attend.v_dim,
                            .scale = s->u.attend.scale,
                            .softcap = s->u.attend.softcap,
                            .window = s->u.attend.window,
                            .chunk = s->u.attend.chunk,
                            .alibi_before_scale = s->u.attend.alibi_before_scale,
                            .has_sink = j->sink != NULL,
                            .page = kv->page,
                            .table = b->page[t->seq],
                            .k_at = kv->k_at[s->u.attend.kv_layer],
                            .v_at = kv->v_at[s->u.attend.kv_layer]};
    c->a.k_at += kv_head * tfm_kv_head_bytes(kv->type, c->a.k_dim);
    c->a.v_at += kv_head * tfm_kv_head_bytes(kv->type, c->a.v_dim);
    c->row = t->row;
    c->head = kv_head * group + block * j->heads_each;
    c->heads = left < j->heads_each ? left : j->heads_each;
    add_queries(j, c, t->n_rows);
    find_panels(s, b->position[t->row], b->position[t->row + t->n_rows - 1], &c->from, &c->to);
    c->chunks = chunks_of(c->from, c->to);
    c->score = j->memory + (j->shared ? call : worker) * j->memory_floats;
    c->max = c->score + (size_t)(c->to - c->from) * c->a.n_queries * TFM_PANEL;
    c->sum = c->max + (size_t)c->chunks * c->a.n_queries;
    c->out = c->sum + (size_t)c->chunks * c->a.n_queries;
}

/* Panels [*from, *to) of chunk i of a call; returns their scores. */
static float *chunk_panels(const attend_call *c, size_t i, uint32_t *from, uint32_t *to) {
    const uint32_t first = (c->from / CHUNK_PANELS + (uint32_t)i) * CHUNK_PANELS;
    *from = first > c->from ? first : c->from;
    *to = first + CHUNK_PANELS < c->to ? first + CHUNK_PANELS : c->to;
    return c->score + (size_t)(*from - c->from) * c->a.n_queries * TFM_PANEL;
}

/* The probabilities of the queries that want them, from the weights left in the scores. */
static void write_patterns(const attend_job *j, const attend_call *c, const float *total) {
    const uint32_t n = c->a.n_queries;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t position = c->a.query[i].position;
        const uint32_t first = tfm_first_key(position, c->a.window, c->a.chunk);
        float *out =
            tfm_kept_pattern(j->step, j->run->batch, c->row + i / c->heads, c->head + i % c->heads);
        if (out == NULL) return;
        for (uint32_t k = 0; k < first; k++) out[k] = 0.0f;
        for (uint32_t k = first; k <= position; k++) {
            const size_t panel = k / TFM_PANEL - c->from;
            out[k] = c->score[(panel * n + i) * TFM_PANEL + k % TFM_PANEL] / total[i];
        }
    }
}

/* Of the n_max maxima of each query the largest. */
static void join_max(const attend_call *c, size_t n_max, float *max) {
    const size_t n = c->a.n_queries;
    for (size_t i = 0; i < n; i++) max[i] = c->max[i];
    for (size_t k = n; k < n_max * n; k++)
        max[k % n] = c->max[k] > max[k % n] ? c->max[k] : max[k % n];
}

static void scores_of_chunk(const attend_job *j, const attend_call *c, size_t chunk,
                            unsigned worker) {
    uint32_t from, to;
    float *score = chunk_panels(c, chunk, &from, &to);
    j->run->plan->be->kernels->attend_scores(&c->a, from, to, score,
                                             c->max + chunk * c->a.n_queries,
                                             j->scratch + worker * j->scratch_bytes);
}

static void values_of_chunk(const attend_job *j, const attend_call *c, size_t chunk,
                            const float *max, unsigned worker) {
    const size_t n = c->a.n_queries;
    uint32_t from, to;
    float *score = chunk_panels(c, chunk, &from, &to);
    j->run->plan->be->kernels->attend_values(&c->a, from, to, score, max, c->sum + chunk * n,
                                             c->out + chunk * n * c->a.v_dim,
                                             j->scratch + worker * j->scratch_bytes);
}

static void finish_call(const attend_job *j, const attend_call *c, const float *max) {
    float total[TFM_ATTEND_QUERIES];
    j->run->plan->be->kernels->attend_finish(&c->a, c->chunks, c->sum, c->out, max, total);
    write_patterns(j, c, total);
}

/* ---- pieces ---- */

static void whole_calls(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    const size_t first = piece * j->calls_each, end = first + j->calls_each;
    for (size_t call = first; call < end && call < j->calls; call++) {
        attend_call c;
        float max[TFM_ATTEND_QUERIES];
        make_call(j, call, worker, &c);
        j->run->plan->be->kernels->attend_scores(&c.a, c.from, c.to, c.score, max,
                                                 j->scratch + worker * j->scratch_bytes);
        for (size_t i = 0; i < c.chunks; i++) values_of_chunk(j, &c, i, max, worker);
        finish_call(j, &c, max);
    }
}

static void shared_scores(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    attend_call c;
    make_call(j, piece / j->chunks, worker, &c);
    if (piece % j->chunks < c.chunks) scores_of_chunk(j, &c, piece % j->chunks, worker);
}

static void shared_values(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    attend_call c;
    float max[TFM_ATTEND_QUERIES];
    make_call(j, piece / j->chunks, worker, &c);
    if (piece % j->chunks >= c.chunks) return;
    join_max(&c, c.chunks, max);
    values_of_chunk(j, &c, piece % j->chunks, max, worker);
}

static void shared_finish(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    attend_call c;
    float max[TFM_ATTEND_QUERIES];
    make_call(j, piece, worker, &c);
    join_max(&c, c.chunks, max);
    finish_call(j, &c, max);
}

/* ---- the step ---- */

/* Tiles of at most `rows` rows, none across two sequences, and the most panels and chunks of
 * one. */
static tfm_status make_tiles(attend_job *j, uint32_t rows, size_t *n) {
    const tfm_batch *b = j->run->batch;
    cpu_plan *p = j->run->plan;
    *n = 0;
    TFM_TRY(tfm_grow((void **)&p->tile, &p->tile_cap, b->n_rows, sizeof *p->tile, j->run->err));
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        for (uint32_t r = b->row_start[s]; r < b->row_start[s + 1]; r += rows) {
            const uint32_t left = b->row_start[s + 1] - r, take = left < rows ? left : rows;
            uint32_t from, to;
            p->tile[(*n)++] = (cpu_row_tile){s, r, take};
            find_panels(j->step, b->position[r], b->position[r + take - 1], &from, &to);
            j->panels = to - from > j->panels ? to - from : j->panels;
            j->chunks = chunks_of(from, to) > j->chunks ? chunks_of(from, to) : j->chunks;
        }
    }
    return TFM_OK;
}

/* Memory for what the job's calls keep from one pass to the next, and for the kernels. */
static tfm_status reserve_memory(attend_job *j, size_t most_queries) {
    cpu_plan *p = j->run->plan;
    const size_t threads = tfm_pool_threads(p->be->pool), v_dim = j->step->u.attend.v_dim;
    const size_t call = most_queries * ((size_t)j->panels * TFM_PANEL + j->chunks * (v_dim + 2));
    size_t bytes;
    j->scratch_bytes = p->be->kernels->attend_bytes(j->step->u.attend.k_dim, (uint32_t)v_dim);
    j->scratch_bytes = (j->scratch_bytes + 63) / 64 * 64;
    j->memory_floats = (call + 15) / 16 * 16;
    if (!tfm_mul_size(j->memory_floats * sizeof(float), j->shared ? j->calls : threads, &bytes)) {
        return tfm_fail(j->run->err, TFM_NOMEM, "%u rows are too many", j->run->n_rows);
    }
    TFM_TRY(tfm_cpu_reserve_scratch(p, bytes / threads + 1 + j->scratch_bytes, j->run->err));
    j->scratch = p->scratch;
    j->memory = (float *)(void *)(p->scratch + threads * j->scratch_bytes);
    return TFM_OK;
}

tfm_status tfm_cpu_attend_step(const cpu_run *run, const tfm_step *s) {
    cpu_plan *p = run->plan;
    tfm_pool *pool = p->be->pool;
    const uint32_t group = s->u.attend.heads / s->u.attend.kv_heads;
    attend_job j = {.run = run, .step = s, .sink = cpu_step_weights(p, s)->extra};
    size_t n_tiles;
    j.heads_each = group < TFM_ATTEND_QUERIES ? group : TFM_ATTEND_QUERIES;
    j.blocks = (group + j.heads_each - 1) / j.heads_each;
    const uint32_t tile_rows = TFM_ATTEND_QUERIES / j.heads_each;
    TFM_TRY(make_tiles(&j, tile_rows, &n_tiles));
    j.calls = n_tiles * s->u.attend.kv_heads * j.blocks;
    j.shared = j.chunks > 1 && tfm_pool_threads(pool) > 1 &&
               j.calls < (size_t)FEW_CALLS * tfm_pool_threads(pool);
    TFM_TRY(reserve_memory(&j, (size_t)(tile_rows < run->n_rows ? tile_rows : run->n_rows) *
                                   j.heads_each));
    const size_t width = cpu_width(p, s->in[1]) + (size_t)cpu_width(p, s->in[2]);
    j.rows_each = width < WRITE_WORK ? WRITE_WORK / width : 1;
    tfm_pool_run(pool, (run->n_rows + j.rows_each - 1) / j.rows_each, write_piece, &j);
    if (j.shared) {
        tfm_pool_run(pool, j.calls * j.chunks, shared_scores, &j);
        tfm_pool_run(pool, j.calls * j.chunks, shared_values, &j);
        tfm_pool_run(pool, j.calls, shared_finish, &j);
        return TFM_OK;
    }
    /* Small ones together: waking a thread costs as much as some ten thousand multiplications. */
    const size_t work =
        (size_t)j.panels * TFM_PANEL * group * (s->u.attend.k_dim + s->u.attend.v_dim);
    j.calls_each = ATTEND_WORK / work + 1;
    tfm_pool_run(pool, (j.calls + j.calls_each - 1) / j.calls_each, whole_calls, &j);
    return TFM_OK;
}
