/* bench_ops.c - speed of a backend on a random Llama of 110 million parameters.
 *
 *     make build/tests/ops/bench_ops && build/tests/ops/bench_ops cpu 2 f32 q8_0 q4_K
 *
 * DEVICE THREADS TYPE...: for each weight type the best of five of: one token of one sequence
 * behind 128 others (GB/s: weight bytes read), one token of each of 32 sequences, a prompt of 512
 * (GOP/s: two per weight and row, the head for one row). With one thread, processor time is taken
 * instead of wall time, so that a busy machine can be used. Not a test: nothing here is judged. */

#include "clock.h"
#include "model.h"

enum { PROMPT = 512, BEHIND = 128, SEQUENCES = 32, REPEAT = 5 };

static const ops_shape shape = {.blocks = 12,
                                .width = 768,
                                .heads = 12,
                                .kv_heads = 12,
                                .head_dim = 64,
                                .ffn = 2048,
                                .vocab = 32000,
                                .layout = TFM_LAYOUT_P16};

typedef struct bench {
    ops_model m;
    tfm_backend *be;
    tfm_kv *kv;
    tfm_plan *plan;
    float *logits;
    double head_weights, block_weights; /* numbers */
    double bytes;
} bench;

/* Seconds of one batch: n rows of each of `seqs` sequences from `position` on, best of REPEAT. */
static double run(const bench *b, uint32_t seqs, uint32_t n, uint32_t position) {
    static uint32_t row_start[SEQUENCES + 1], positions[PROMPT], last[SEQUENCES];
    static uint32_t page[SEQUENCES][PROMPT / TFM_KV_PAGE];
    static const uint32_t *pages[SEQUENCES];
    static int32_t token[PROMPT];
    const uint32_t per_seq = (position + n - 1) / TFM_KV_PAGE + 1;
    for (uint32_t s = 0; s < seqs; s++) {
        row_start[s + 1] = (s + 1) * n;
        last[s] = (s + 1) * n - 1;
        pages[s] = page[s];
        for (uint32_t p = 0; p < per_seq; p++) page[s][p] = s * per_seq + p;
        for (uint32_t i = 0; i < n; i++) {
            positions[s * n + i] = position + i;
            token[s * n + i] = (int32_t)((s * 71 + i * 13) % shape.vocab);
        }
    }
    const tfm_batch batch = {.n_rows = seqs * n,
                             .n_seqs = seqs,
                             .row_start = row_start,
                             .token = token,
                             .position = positions,
                             .page = pages,
                             .out_row = last,
                             .n_out = seqs,
                             .logits = b->logits};
    double best = 1e9;
    tfm_error err;
    for (int i = 0; i < REPEAT + 1; i++) { /* the first one warms up */
        const double from = now();
        if (b->be->ops->plan_run(b->plan, &batch, &err) != TFM_OK) ops_die("run", &err);
        const double took = now() - from;
        if (i > 0 && took < best) best = took;
    }
    return best;
}

static void start(bench *b, const char *device, unsigned threads, tfm_dtype type) {
    ops_shape s = shape;
    tfm_error err;
    s.type = type;
    memset(b, 0, sizeof *b);
    ops_model_new(&b->m, &s);
    for (size_t i = 1; i < b->m.g.n_weights; i++) { /* without the embedding table */
        const tfm_tensor *t = &b->m.tensor[i];
        if (t->rank != 2) continue;
        if (t->dims[0] == s.vocab)
            b->head_weights += (double)t->dims[0] * t->dims[1];
        else
            b->block_weights += (double)t->dims[0] * t->dims[1];
        b->bytes += (double)t->bytes;
    }
    const tfm_graph *g = &b->m.g;
    const uint32_t n_pages = SEQUENCES * (BEHIND / TFM_KV_PAGE + 1);
    if (tfm_backend_new(&b->be, device, threads, &err) != TFM_OK ||
        b->be->ops->kv_new(b->be, g, 0, g->n_blocks, TFM_F16, &b->kv, &err) != TFM_OK ||
        b->be->ops->kv_reserve(b->kv, n_pages, &err) != TFM_OK ||
        b->be->ops->plan_new(b->be, g, 0, g->n_steps, b->kv, &b->plan, &err) != TFM_OK) {
        ops_die(device, &err);
    }
    b->logits = ops_alloc((size_t)SEQUENCES * s.vocab * sizeof(float));
}

static void stop(bench *b) {
    b->be->ops->plan_free(b->plan);
    b->be->ops->kv_free(b->kv);
    tfm_backend_free(b->be);
    free(b->logits);
    ops_model_free(&b->m);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: bench_ops DEVICE THREADS TYPE...\n");
        return 2;
    }
    const unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
    if (threads == 1) clock_used = CLOCK_PROCESS_CPUTIME_ID;
    printf("%-6s %8s %10s %7s %12s %10s %8s\n", "type", "MB", "1: tok/s", "GB/s", "32: tok/s",
           "512: tok/s", "GOP/s");
    for (int i = 3; i < argc; i++) {
        bench b;
        start(&b, argv[1], threads, tfm_dtype_parse(argv[i]));
        const double one = run(&b, 1, 1, BEHIND), many = run(&b, SEQUENCES, 1, BEHIND);
        const double prompt = run(&b, 1, PROMPT, 0);
        const double gop = 2e-9 * (b.block_weights * PROMPT + b.head_weights);
        printf("%-6s %8.1f %10.2f %7.2f %12.1f %10.1f %8.1f\n", argv[i], b.bytes / 1e6, 1 / one,
               b.bytes / one / 1e9, SEQUENCES / many, PROMPT / prompt, gop / prompt);
        fflush(stdout);
        stop(&b);
    }
    return 0;
}
