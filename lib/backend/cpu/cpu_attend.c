/* cpu_attend.c - the ATTEND step: the batch's K and V go to the cache, then every head attends.
 *
 * A piece is one kv head and a tile of rows of one sequence, so that the decoded K and V of a panel
 * serve all query heads of the group and all rows of the tile. A page has, for each layer, one kv head
 * after the other; kernel_internal.h says how each lies. */
#include <string.h>

#include "backend/cpu/cpu_internal.h"
#include "tensor/float16_internal.h"

enum {
    WRITE_WORK = 8192,    /* numbers that one piece writes to the cache */
    ATTEND_WORK = 1 << 16 /* multiplications of one piece, at least */
};

typedef struct attend_job {
    const cpu_run *run;
    const tfm_step *step;
    const float *sink;
    uint32_t heads_each;      /* query heads of one call */
    size_t rows_each;         /* rows of one piece of writing */
    size_t calls, calls_each; /* (tile, kv head) pairs, and those of one piece of attention */
} attend_job;

/* One head of one position, n numbers, to where `head` has it in panels of `panel` positions (1: row
 * after row). */
static void store_head(tfm_dtype t, unsigned char *head, size_t slot, size_t panel,
                       const float *from, size_t n) {
    const size_t lane = slot % panel, first = slot / panel * panel, at = first * n + lane;
    if (t == TFM_F32) {
        float *f = (float *)(void *)head + at;
        for (size_t i = 0; i < n; i++) f[i * panel] = from[i];
    } else if (t == TFM_F16) {
        uint16_t *h = (uint16_t *)(void *)head + at;
        for (size_t i = 0; i < n; i++) h[i * panel] = tfm_inline_f32_to_f16(from[i]);
    } else {
        int8_t *code = (int8_t *)head + at, q[TFM_KV_BLOCK];
        uint16_t *scale = (uint16_t *)(void *)(head + TFM_KV_PAGE * n) + first * (n / 32) + lane;
        for (size_t b = 0; b < n / TFM_KV_BLOCK; b++) {
            scale[b * panel] = tfm_kv_round_q8_0(from + b * TFM_KV_BLOCK, q);
            for (size_t i = 0; i < TFM_KV_BLOCK; i++) code[(b * TFM_KV_BLOCK + i) * panel] = q[i];
        }
    }
}

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
    for (size_t h = 0; h < s->u.attend.kv_heads; h++) {
        store_head(kv->type, k + h * tfm_kv_head_bytes(kv->type, s->u.attend.k_dim), slot,
                   TFM_PANEL, k_in + h * k_dim, k_dim);
        store_head(kv->type, v + h * tfm_kv_head_bytes(kv->type, s->u.attend.v_dim), slot, 1,
                   v_in + h * v_dim, v_dim);
    }
}

static void write_piece(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    const size_t first = piece * j->rows_each, end = first + j->rows_each;
    (void)worker;
    for (size_t r = first; r < end && r < j->run->n_rows; r++) write_row(j, (uint32_t)r);
}

/* Query heads [head, head + n_heads) of the tile's rows, all of one kv head. */
static void attend_heads(const attend_job *j, const cpu_row_tile *t, uint32_t kv_head,
                         uint32_t head, uint32_t n_heads, void *scratch) {
    const cpu_plan *p = j->run->plan;
    const tfm_batch *b = j->run->batch;
    const tfm_step *s = j->step;
    const tfm_kv *kv = p->base.kv;
    const size_t k_dim = s->u.attend.k_dim, v_dim = s->u.attend.v_dim;
    tfm_cpu_attend a = {.kv_type = kv->type,
                        .k_dim = s->u.attend.k_dim,
                        .v_dim = s->u.attend.v_dim,
                        .scale = s->u.attend.scale,
                        .softcap = s->u.attend.softcap,
                        .window = s->u.attend.window,
                        .alibi_before_scale = s->u.attend.alibi_before_scale,
                        .has_sink = j->sink != NULL,
                        .page = kv->page,
                        .table = b->page[t->seq],
                        .k_at = kv->k_at[s->u.attend.kv_layer],
                        .v_at = kv->v_at[s->u.attend.kv_layer]};
    a.k_at += kv_head * tfm_kv_head_bytes(kv->type, a.k_dim);
    a.v_at += kv_head * tfm_kv_head_bytes(kv->type, a.v_dim);
    for (uint32_t r = t->row; r < t->row + t->n_rows; r++) {
        for (uint32_t h = head; h < head + n_heads; h++) {
            const size_t at = (size_t)r * s->u.attend.heads + h;
            const uint32_t i = a.n_queries++;
            a.query[i].q = p->value[s->in[0]] + at * k_dim;
            a.query[i].out = p->value[s->out[0]] + at * v_dim;
            a.query[i].position = b->position[r];
            a.query[i].pattern = tfm_kept_pattern(s, b, r, h);
            a.query[i].slope = s->u.attend.alibi != NULL ? s->u.attend.alibi[h] : 0.0f;
            a.query[i].sink = j->sink != NULL ? j->sink[h] : 0.0f;
        }
    }
    p->be->kernels->attend(&a, scratch);
}

static void attend_piece(void *arg, size_t piece, unsigned worker) {
    const attend_job *j = arg;
    const cpu_plan *p = j->run->plan;
    const uint32_t kv_heads = j->step->u.attend.kv_heads;
    const uint32_t group = j->step->u.attend.heads / kv_heads;
    const size_t first = piece * j->calls_each, end = first + j->calls_each;
    for (size_t call = first; call < end && call < j->calls; call++) {
        const uint32_t kv_head = (uint32_t)(call % kv_heads);
        for (uint32_t h = 0; h < group; h += j->heads_each) {
            const uint32_t n = group - h < j->heads_each ? group - h : j->heads_each;
            attend_heads(j, &p->tile[call / kv_heads], kv_head, kv_head * group + h, n,
                         p->scratch + worker * p->scratch_bytes);
        }
    }
}

/* Tiles of at most `rows` rows, none across two sequences; *longest is the last position. */
static tfm_status make_tiles(const cpu_run *run, uint32_t rows, size_t *n, uint32_t *last) {
    cpu_plan *p = run->plan;
    const tfm_batch *b = run->batch;
    *n = 0;
    *last = 0;
    TFM_TRY(tfm_grow((void **)&p->tile, &p->tile_cap, b->n_rows, sizeof *p->tile, run->err));
    for (uint32_t s = 0; s < b->n_seqs; s++) {
        for (uint32_t r = b->row_start[s]; r < b->row_start[s + 1]; r += rows) {
            const uint32_t left = b->row_start[s + 1] - r;
            p->tile[*n] = (cpu_row_tile){s, r, left < rows ? left : rows};
            const uint32_t end = b->position[r + p->tile[*n].n_rows - 1];
            *last = end > *last ? end : *last;
            (*n)++;
        }
    }
    return TFM_OK;
}

tfm_status tfm_cpu_attend_step(const cpu_run *run, const tfm_step *s) {
    cpu_plan *p = run->plan;
    const uint32_t group = s->u.attend.heads / s->u.attend.kv_heads;
    attend_job j = {.run = run, .step = s, .sink = cpu_step_weights(p, s)->extra};
    uint32_t last;
    size_t n_tiles;
    j.heads_each = group < TFM_ATTEND_QUERIES ? group : TFM_ATTEND_QUERIES;
    TFM_TRY(make_tiles(run, TFM_ATTEND_QUERIES / j.heads_each, &n_tiles, &last));
    TFM_TRY(tfm_cpu_reserve_scratch(
        p, p->be->kernels->attend_bytes(s->u.attend.k_dim, s->u.attend.v_dim, last), run->err));
    const size_t width = cpu_width(p, s->in[1]) + (size_t)cpu_width(p, s->in[2]);
    j.rows_each = width < WRITE_WORK ? WRITE_WORK / width : 1;
    tfm_pool_run(p->be->pool, (run->n_rows + j.rows_each - 1) / j.rows_each, write_piece, &j);
    /* Small ones together: waking a thread costs as much as some ten thousand multiplications. */
    const size_t work = ((size_t)last + 1) * group * (s->u.attend.k_dim + s->u.attend.v_dim);
    j.calls = n_tiles * s->u.attend.kv_heads;
    j.calls_each = ATTEND_WORK / work + 1;
    tfm_pool_run(p->be->pool, (j.calls + j.calls_each - 1) / j.calls_each, attend_piece, &j);
    return TFM_OK;
}
