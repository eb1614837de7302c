/* test_backend.c - whole plans: cut anywhere, fed in any pieces, wrong input refused.
 *
 * A small random Llama runs as one plan and as a chain of plans over parts of its steps; logits,
 * hidden states and caches must agree byte for byte. Then everything that a caller or a file may
 * get wrong: devices, ranges, batches, graphs. */
#include "../ops/model.h"

#include "backend/cpu/cpu_internal.h"
#include "unit.h"

enum { ROWS = 70, SEQS = 2 };

static const ops_shape small = {.blocks = 3,
                                .width = 32,
                                .heads = 4,
                                .kv_heads = 2,
                                .head_dim = 8,
                                .ffn = 64,
                                .vocab = 51,
                                .type = TFM_F32};

/* One sequence of 40 and one of 30 tokens. */
typedef struct input {
    uint32_t row_start[SEQS + 1], position[ROWS], page[SEQS][2], out_row[ROWS];
    const uint32_t *pages[SEQS];
    int32_t token[ROWS];
} input;

static tfm_batch make_batch(input *in) {
    const uint32_t start[SEQS + 1] = {0, 40, ROWS};
    uint64_t random = 9;
    memcpy(in->row_start, start, sizeof start);
    for (uint32_t s = 0; s < SEQS; s++) {
        in->page[s][0] = 3 - s, in->page[s][1] = s;
        in->pages[s] = in->page[s];
        for (uint32_t r = start[s]; r < start[s + 1]; r++) in->position[r] = r - start[s];
    }
    for (uint32_t r = 0; r < ROWS; r++) {
        in->token[r] = (int32_t)(ops_next(&random) % small.vocab);
        in->out_row[r] = r;
    }
    return (tfm_batch){.n_rows = ROWS,
                       .n_seqs = SEQS,
                       .row_start = in->row_start,
                       .token = in->token,
                       .position = in->position,
                       .page = in->pages,
                       .out_row = in->out_row,
                       .n_out = ROWS};
}

typedef struct machine {
    tfm_backend *be;
    tfm_kv *kv;
    tfm_plan *plan;
} machine;

/* Steps [first, end) of g, with a cache for the blocks among them. */
static machine start(const tfm_graph *g, const char *device, unsigned threads, size_t first,
                     size_t end) {
    machine m = {0};
    tfm_error err;
    if (tfm_backend_new(&m.be, device, threads, &err) != TFM_OK) ops_die(device, &err);
    if (m.be->ops->kv_new(m.be, g, 0, g->n_blocks, TFM_F16, &m.kv, &err) != TFM_OK ||
        m.be->ops->kv_reserve(m.kv, 4, &err) != TFM_OK ||
        m.be->ops->plan_new(m.be, g, first, end, m.kv, &m.plan, &err) != TFM_OK) {
        ops_die("plan", &err);
    }
    return m;
}

static void stop(machine *m) {
    m->be->ops->plan_free(m->plan);
    m->be->ops->kv_free(m->kv);
    tfm_backend_free(m->be);
}

static void run_once(const tfm_graph *g, const char *device, unsigned threads, size_t first,
                     size_t end, const tfm_batch *b) {
    machine m = start(g, device, threads, first, end);
    tfm_error err;
    if (m.be->ops->plan_run(m.plan, b, &err) != TFM_OK) ops_die("run", &err);
    stop(&m);
}

static float logits[ROWS * 51], other[ROWS * 51], hidden[2][ROWS * 32];

static void cut_anywhere(void) {
    const char *const devices[] = {"ref", "cpu", "cpu"};
    ops_model m;
    ops_model_new(&m, &small);
    for (unsigned d = 0; d < 3; d++) {
        input in;
        tfm_batch b = make_batch(&in);
        b.logits = logits;
        b.hidden_out = hidden[0]; /* of the last block */
        run_once(&m.g, devices[d], d, 0, m.g.n_steps, &b);
        memset(other, 0, sizeof other);
        /* embed | block 0 | blocks 1, 2 | head */
        const size_t cut[] = {0, m.block_start[0], m.block_start[1], m.block_start[3], m.g.n_steps};
        for (int i = 0; i < 4; i++) {
            tfm_batch part = b;
            part.hidden_in = i == 0 ? NULL : hidden[1];
            part.hidden_out = i == 3 ? NULL : hidden[1];
            part.token = i == 0 ? b.token : NULL;
            part.logits = i == 3 ? other : NULL;
            run_once(&m.g, devices[d], d, cut[i], cut[i + 1], &part);
        }
        CHECK(memcmp(logits, other, sizeof logits) == 0);
        CHECK(memcmp(hidden[0], hidden[1], sizeof hidden[0]) == 0);
    }
    ops_model_free(&m);
}

/* Logits of a few rows, with and without hidden states, are those of all rows. */
static void rows_that_want_output(void) {
    ops_model m;
    ops_model_new(&m, &small);
    for (int d = 0; d < 2; d++) {
        const char *device = d ? "cpu" : "ref";
        input in;
        tfm_batch b = make_batch(&in);
        b.logits = logits;
        run_once(&m.g, device, 2, 0, m.g.n_steps, &b);
        const uint32_t want[] = {0, 7, 39, 69};
        b.out_row = want;
        b.n_out = 4;
        b.logits = other;
        for (int with_hidden = 0; with_hidden < 2; with_hidden++) {
            b.hidden_out = with_hidden ? hidden[0] : NULL;
            memset(other, 0, sizeof other);
            run_once(&m.g, device, 2, 0, m.g.n_steps, &b);
            for (int i = 0; i < 4; i++) {
                CHECK(memcmp(other + i * 51, logits + want[i] * 51, 51 * sizeof(float)) == 0);
            }
            CHECK(other[4 * 51] == 0.0f); /* nothing behind them is written */
        }
        b.n_out = 0; /* fills the cache and no more */
        b.hidden_out = NULL;
        run_once(&m.g, device, 2, 0, m.g.n_steps, &b);
    }
    ops_model_free(&m);
}

/* Relative to the largest logit of a row, ref and cpu differ by roundings only. */
static void cpu_follows_ref(void) {
    const tfm_dtype types[] = {TFM_F32, TFM_F16, TFM_BF16};
    for (int t = 0; t < 3; t++) {
        ops_shape shape = small;
        ops_model m;
        input in;
        tfm_batch b = make_batch(&in);
        shape.type = types[t];
        ops_model_new(&m, &shape);
        b.logits = logits;
        run_once(&m.g, "ref", 1, 0, m.g.n_steps, &b);
        b.logits = other;
        run_once(&m.g, "cpu", 2, 0, m.g.n_steps, &b);
        for (int r = 0; r < ROWS; r++) {
            float top = 0, far = 0;
            for (int i = r * 51; i < (r + 1) * 51; i++) {
                top = fmaxf(top, fabsf(logits[i]));
                far = fmaxf(far, fabsf(logits[i] - other[i]));
            }
            /* 3 blocks of sums of 64 products are good to about 1e-6. But where nearly equal
             * numbers are rounded again (f16 in the cache, bf16 before a linear) they may fall on
             * either side: a unit of those, 2^-11 and 2^-9, in a few of the inputs of a sum. */
            CHECK(far <= top * (types[t] == TFM_BF16 ? 2e-2f : 1e-3f));
        }
        ops_model_free(&m);
    }
}

/* A sequence goes on from a copy of its page as from the page. */
static void pages_can_be_copied(void) {
    ops_model m;
    ops_model_new(&m, &small);
    for (int d = 0; d < 2; d++) {
        input in;
        tfm_batch b = make_batch(&in);
        tfm_error err;
        machine run = start(&m.g, d ? "cpu" : "ref", 1, 0, m.g.n_steps);
        const uint32_t first[2] = {0, 20}, second[2] = {0, 20}, copied[] = {0};
        const uint32_t *const copied_pages[] = {copied};
        b.n_seqs = 1;
        b.n_rows = b.n_out = 20;
        b.row_start = first;
        CHECK_INT(run.be->ops->plan_run(run.plan, &b, &err), TFM_OK);
        run.be->ops->kv_copy_page(run.kv, 0, in.page[0][0]);
        b.row_start = second;
        b.token += 20, b.position += 20;
        b.logits = logits;
        CHECK_INT(run.be->ops->plan_run(run.plan, &b, &err), TFM_OK);
        b.page = copied_pages;
        b.logits = other;
        CHECK_INT(run.be->ops->plan_run(run.plan, &b, &err), TFM_OK);
        CHECK(memcmp(logits, other, 20 * 51 * sizeof(float)) == 0);
        CHECK(run.be->ops->kv_page_bytes(run.kv) == 3 * 2 * 2 * 8 * TFM_KV_PAGE * 2);
        stop(&run);
    }
    ops_model_free(&m);
}

static void wrong_batches(void) {
    ops_model m;
    ops_model_new(&m, &small);
    for (int d = 0; d < 2; d++) {
        machine run = start(&m.g, d ? "cpu" : "ref", 1, 0, m.g.n_steps);
        tfm_error err;
        input in;
        tfm_batch b = make_batch(&in);
#define REFUSED(status) CHECK_INT(run.be->ops->plan_run(run.plan, &b, &err), (status))
        b.logits = logits;
        REFUSED(TFM_OK);
        in.token[5] = 51;
        REFUSED(TFM_MISMATCH);
        CHECK_STR(err.message, "token 51 is outside the vocabulary of 51");
        in.token[5] = -1;
        REFUSED(TFM_MISMATCH);
        b = make_batch(&in);
        in.position[7] = 9;
        REFUSED(TFM_USAGE);
        b = make_batch(&in);
        for (uint32_t r = 40; r < 70; r++) in.position[r] = 0x7ffffff0u + r;
        REFUSED(TFM_LIMIT);
        b = make_batch(&in);
        in.page[1][0] = 4;
        REFUSED(TFM_USAGE);
        b = make_batch(&in);
        in.row_start[2] = 71;
        REFUSED(TFM_USAGE);
        in.row_start[2] = 69;
        REFUSED(TFM_USAGE);
        in.row_start[0] = 1;
        REFUSED(TFM_USAGE);
        b = make_batch(&in);
        in.out_row[3] = 2;
        REFUSED(TFM_USAGE);
        in.out_row[3] = 70;
        REFUSED(TFM_USAGE);
        b = make_batch(&in);
        b.token = NULL;
        REFUSED(TFM_USAGE);
        b.n_rows = 0; /* nothing to do is no error */
        REFUSED(TFM_OK);
        stop(&run);
        run = start(&m.g, d ? "cpu" : "ref", 1, m.block_start[1], m.g.n_steps);
        b = make_batch(&in);
        REFUSED(TFM_USAGE); /* no hidden_in */
        stop(&run);
#undef REFUSED
    }
    ops_model_free(&m);
}

static void wrong_plans(void) {
    ops_model m;
    tfm_backend *be = NULL;
    tfm_kv *kv = NULL;
    tfm_plan *plan = NULL;
    tfm_error err;
    ops_model_new(&m, &small);
    for (int d = 0; d < 2; d++) {
        CHECK_INT(tfm_backend_new(&be, d ? "cpu" : "ref", 1, &err), TFM_OK);
        CHECK_INT(be->ops->kv_new(be, &m.g, 1, 3, TFM_BF16, &kv, &err), TFM_UNSUPPORTED);
        CHECK_INT(be->ops->kv_new(be, &m.g, 1, 3, TFM_F32, &kv, &err), TFM_OK);
        CHECK_INT(be->ops->plan_new(be, &m.g, 3, 2, kv, &plan, &err), TFM_USAGE);
        CHECK_INT(be->ops->plan_new(be, &m.g, 0, m.g.n_steps + 1, kv, &plan, &err), TFM_USAGE);
        /* block 0 is not in the cache */
        CHECK_INT(be->ops->plan_new(be, &m.g, 0, m.g.n_steps, kv, &plan, &err), TFM_USAGE);
        CHECK_INT(be->ops->plan_new(be, &m.g, 0, m.g.n_steps, NULL, &plan, &err), TFM_USAGE);
        CHECK(plan == NULL);
        CHECK_INT(be->ops->plan_new(be, &m.g, m.block_start[1], m.g.n_steps, kv, &plan, &err),
                  TFM_OK);
        be->ops->plan_free(plan);
        be->ops->kv_free(kv);
        tfm_backend_free(be);
    }
    ops_model_free(&m);
}

/* A cache's rows come back as they went in, whatever the type and the layout of its pages; and a
 * backend that computed rows gives the same ones as the other. */
static void rows_of_a_cache(void) {
    const tfm_dtype types[] = {TFM_F32, TFM_F16, TFM_Q8_0};
    const uint32_t page[3] = {2, 0, 3}, n = TFM_KV_PAGE + 37;
    tfm_kv_shape shape = {.kv_heads = 3, .k_dim = 32, .v_dim = 64};
    tfm_graph g = {.kv = &shape, .n_kv = 1, .n_blocks = 1};
    tfm_error err;
    for (int i = 0; i < 6; i++) {
        const tfm_dtype t = types[i / 2];
        tfm_backend *be = NULL;
        tfm_kv *kv = NULL;
        uint64_t bytes, random = 5;
        CHECK_INT(tfm_backend_new(&be, i % 2 ? "cpu" : "ref", 1, &err), TFM_OK);
        CHECK_INT(be->ops->kv_new(be, &g, 0, 1, t, &kv, &err), TFM_OK);
        CHECK_INT(be->ops->kv_reserve(kv, 4, &err), TFM_OK);
        CHECK_INT(be->ops->kv_page_bytes(kv), TFM_KV_PAGE * 3 * 96 *
                                                  (t == TFM_F32   ? 128
                                                   : t == TFM_F16 ? 64
                                                                  : 34) /
                                                  32);
        unsigned char *rows[2], *back;
        for (int is_v = 0; is_v < 2; is_v++) {
            CHECK(tfm_dtype_bytes(t, (uint64_t)n * 3 * (is_v ? 64 : 32), &bytes));
            rows[is_v] = ops_alloc(bytes);
            for (size_t b = 0; b < bytes; b++) rows[is_v][b] = (unsigned char)ops_next(&random);
            be->ops->kv_write(kv, 0, is_v, page, 70, n, rows[is_v]);
        }
        for (int is_v = 0; is_v < 2; is_v++) {
            CHECK(tfm_dtype_bytes(t, (uint64_t)n * 3 * (is_v ? 64 : 32), &bytes));
            back = ops_alloc(bytes);
            be->ops->kv_read(kv, 0, is_v, page, 70, 30, back);
            be->ops->kv_read(kv, 0, is_v, page, 100, n - 30, back + bytes / n * 30);
            CHECK(memcmp(back, rows[is_v], bytes) == 0);
            free(back);
            free(rows[is_v]);
        }
        be->ops->kv_free(kv);
        tfm_backend_free(be);
    }
}

/* What q8_0 rounds to, and that what it cannot hold shows. */
static void rounding_of_a_cache(void) {
    float x[32];
    int8_t q[32];
    for (int i = 0; i < 32; i++) x[i] = (float)(i - 16) * 0.5f;
    uint16_t d = tfm_kv_round_q8_0(x, q);
    CHECK_INT(d, tfm_f32_to_f16(8.0f / 127.0f));
    CHECK_INT(q[0], -127);
    CHECK_INT(q[16], 0);
    CHECK_INT(q[17], 8); /* 0.5 * 127 / 8 = 7.9375 */
    for (int i = 0; i < 32; i++)
        CHECK(fabsf((float)q[i] * tfm_f16_to_f32(d) - x[i]) <
              0.04f); /* half a step and d's error */
    const float bad[] = {NAN, INFINITY, -INFINITY, 1e8f};
    for (int i = 0; i < 4; i++) {
        x[3] = bad[i];
        CHECK(isnan(tfm_f16_to_f32(tfm_kv_round_q8_0(x, q))));
    }
    for (int i = 0; i < 32; i++) x[i] = 1e-30f;
    CHECK_INT(tfm_kv_round_q8_0(x, q), 0);
    CHECK_INT(q[5], 0);
}

/* Blocks are never of two heads. */
static void caches_that_are_refused(void) {
    tfm_kv_shape shape = {.kv_heads = 2, .k_dim = 64, .v_dim = 48, .block = 0};
    tfm_graph g = {.kv = &shape, .n_kv = 1, .n_blocks = 1};
    tfm_backend *be = NULL;
    tfm_kv *kv = NULL;
    tfm_error err;
    CHECK_INT(tfm_backend_new(&be, "cpu", 1, &err), TFM_OK);
    CHECK_INT(be->ops->kv_new(be, &g, 0, 1, TFM_Q8_0, &kv, &err), TFM_UNSUPPORTED);
    CHECK(strstr(err.message, "have 48; give --kv f16") != NULL);
    CHECK(kv == NULL);
    tfm_backend_free(be);
}

static void devices(void) {
    const struct {
        const char *device, *name, *instruction_set;
    } good[] = {{"auto", "cpu", tfm_cpu_kernels_find(NULL)->name},
                {"cpu", "cpu", tfm_cpu_kernels_find(NULL)->name},
                {"ref", "ref", ""},
                {"cpu:generic", "cpu", "generic"},
                {"cpu:avx2", "cpu", "avx2"},
                {"cpu:avx512", "cpu", "avx512"}};
    tfm_backend *be = NULL;
    tfm_error err;
    for (int i = 0; i < 6; i++) {
        const bool here = i < 4 || tfm_cpu_kernels_find(good[i].instruction_set) != NULL;
        const tfm_status st = tfm_backend_new(&be, good[i].device, 2, &err);
        CHECK_INT(st, here ? TFM_OK : TFM_DEVICE);
        if (st != TFM_OK) continue;
        CHECK_STR(be->ops->name, good[i].name);
        CHECK_STR(be->instruction_set, good[i].instruction_set);
        tfm_backend_free(be);
    }
    CHECK_INT(tfm_backend_new(&be, "cuda", 1, &err), TFM_DEVICE);
    CHECK(be == NULL);
    CHECK_STR(err.message, "device cuda: not in this build, which has auto, cpu, cpu:generic, "
                           "cpu:avx2, cpu:avx512, ref");
    CHECK_INT(tfm_backend_new(&be, "", 1, &err), TFM_DEVICE);
    CHECK_INT(tfm_backend_cpu_new(&be, "avx9", 1, &err), TFM_DEVICE);
    tfm_backend_free(NULL);
}

/* ---- graphs ---- */

/* Refused with what is wrong; then made good again. */
#define BROKEN(place, wrong)                                                                       \
    do {                                                                                           \
        const __typeof__(place) was = (place);                                                     \
        (place) = (wrong);                                                                         \
        if (!CHECK(tfm_graph_check(g, &err) != TFM_OK)) printf("  accepted: %s\n", #place);        \
        (place) = was;                                                                             \
    } while (0)

static void wrong_graphs(void) {
    ops_model m;
    tfm_error err;
    ops_model_new(&m, &small);
    tfm_graph *g = &m.g;
    tfm_step *embed = &m.step[0], *block = &m.step[m.block_start[1]];
    tfm_step *norm = &block[0], *linear = &block[1], *rope = &block[4], *attend = &block[6];
    tfm_tensor *w = &m.tensor[linear->weight];
    CHECK_INT(tfm_graph_check(g, &err), TFM_OK);
    BROKEN(g->hidden, -1);
    BROKEN(g->hidden, M_VALUES);
    BROKEN(g->logits, M_H);
    BROKEN(g->width, 33);
    BROKEN(g->n_vocab, 50);
    BROKEN(g->value[M_UP].width, 0);
    BROKEN(g->value[M_UP].width, UINT32_MAX);
    BROKEN(m.block_start[1], m.block_start[2] + 1);
    BROKEN(m.block_start[3], g->n_steps + 1);
    BROKEN(embed->weight, TFM_NONE);
    BROKEN(embed->weight, 1 << 20);
    BROKEN(embed->n_in, 1);
    BROKEN(norm->u.norm.groups, 0);
    BROKEN(norm->u.norm.groups, 5);
    BROKEN(norm->u.norm.eps, -1.0f);
    BROKEN(norm->weight, linear->weight);
    BROKEN(norm->op, (tfm_op)(TFM_OP_KEEP + 1));
    BROKEN(norm->n_in, 0);
    BROKEN(norm->n_out, 0);
    BROKEN(norm->in[0], M_VALUES);
    BROKEN(norm->out[0], -1);
    BROKEN(linear->out[0], M_H);
    BROKEN(linear->out[0], M_UP);
    BROKEN(linear->weight, TFM_NONE);
    BROKEN(linear->bias, norm->weight + 8);
    BROKEN(w->bytes, w->bytes - 1);
    BROKEN(w->data, NULL);
    BROKEN(w->dims[0], 1u << 31);
    BROKEN(w->dtype, (tfm_dtype)99);
    BROKEN(w->rank, 1);
    BROKEN(rope->u.rope.rot, 3);
    BROKEN(rope->u.rope.rot, 10);
    BROKEN(rope->u.rope.first, 1);
    BROKEN(rope->u.rope.first, UINT32_MAX);
    BROKEN(rope->u.rope.heads, 3);
    BROKEN(rope->u.rope.inv_freq, NULL);
    BROKEN(rope->u.rope.magnitude, NAN);
    BROKEN(m.inv_freq[1], INFINITY);
    BROKEN(attend->u.attend.kv_heads, 3);
    BROKEN(attend->u.attend.kv_heads, 0);
    BROKEN(attend->u.attend.v_dim, 9);
    BROKEN(attend->u.attend.kv_layer, 3);
    BROKEN(attend->u.attend.kv_layer, -1);
    BROKEN(attend->u.attend.scale, NAN);
    BROKEN(attend->u.attend.softcap, -1.0f);
    BROKEN(attend->extra, norm->weight);
    BROKEN(m.kv[1].k_dim, 16);
    /* a block reads what only an earlier block wrote */
    BROKEN(norm->in[0], M_ATT);
    CHECK_INT(tfm_graph_check(g, &err), TFM_OK);
    ops_model_free(&m);
}

int main(void) {
    UNIT_RUN(cut_anywhere);
    UNIT_RUN(rows_that_want_output);
    UNIT_RUN(cpu_follows_ref);
    UNIT_RUN(pages_can_be_copied);
    UNIT_RUN(wrong_batches);
    UNIT_RUN(wrong_plans);
    UNIT_RUN(rows_of_a_cache);
    UNIT_RUN(rounding_of_a_cache);
    UNIT_RUN(caches_that_are_refused);
    UNIT_RUN(devices);
    UNIT_RUN(wrong_graphs);
    return unit_done();
}
