/* bench_attend.c - speed of the ATTEND step by context, beside the machine's own limits.
 *
 *     make build/tests/ops/bench_attend
 *     build/tests/ops/bench_attend cpu 1 f16 32/4x64 1024 32768
 *
 * DEVICE THREADS CACHE HEADS/KVxWIDTH CONTEXT...: for each context the best of several of: the last
 * 512 rows of a prompt of that length (GFLOP/s: 4 x width for each pair of a query head and a key
 * it sees), and one row at its end (GB/s: the bytes of K and V). Around them what one thread can do
 * at most: the f32 limit of the instruction set (limits.h), and reading 256 MB. With one thread,
 * processor time is taken instead of wall time, so that a busy machine can be used. Not a test:
 * nothing here is judged. */

#include "limits.h"
#include "ops.h"

enum { ROWS = 512, READ_BYTES = 256 << 20 };

typedef struct bench {
    ops_case c;
    tfm_backend *be;
    tfm_kv *kv;
    tfm_plan *plan, *split; /* the whole graph; without the step: what is taken off */
    uint32_t *page;
    float *out;
} bench;

/* ---- the machine ---- */

static void machine(const char *when, const char *set) {
    const tfm_cpu_limits *limits = tfm_cpu_limits_find(set);
    unsigned char *memory = ops_alloc(READ_BYTES);
    double flops = 0, bytes = 0;
    memset(memory, 1, READ_BYTES);
    for (int i = 0; i < 5; i++) {
        flops = fmax(flops, limit_compute(&limits->f32));
        bytes = fmax(bytes, limit_read(limits, memory, READ_BYTES));
    }
    free(memory);
    printf("%-8s one thread: %.1f GFLOP/s, %.1f GB/s\n", when, flops, bytes);
}

/* ---- the step ---- */

/* Seconds of n rows that end before `end`, best of `times`. */
static double run(const bench *b, tfm_plan *plan, uint32_t n, uint32_t end, int times) {
    static uint32_t position[ROWS];
    static int32_t token[ROWS];
    const uint32_t row_start[2] = {0, n}, last = n - 1, *page = b->page;
    for (uint32_t i = 0; i < n; i++) position[i] = end - n + i;
    const tfm_batch batch = {.n_rows = n,
                             .n_seqs = 1,
                             .row_start = row_start,
                             .token = token,
                             .position = position,
                             .page = &page,
                             .hidden_in = b->c.hidden,
                             .out_row = &last,
                             .n_out = plan == b->plan ? 1 : 0,
                             .logits = plan == b->plan ? b->out : NULL};
    double best = 1e9;
    tfm_error err;
    for (int i = 0; i < times; i++) {
        const double from = now();
        if (b->be->ops->plan_run(plan, &batch, &err) != TFM_OK) ops_die("run", &err);
        best = fmin(best, now() - from);
    }
    return best;
}

static void start(bench *b, const char *device, unsigned threads, const char *cache,
                  const char *form, uint32_t context) {
    unsigned heads, kv_heads, width;
    tfm_error err;
    if (sscanf(form, "%u/%ux%u", &heads, &kv_heads, &width) != 3) ops_die("HEADS/KVxWIDTH", NULL);
    memset(b, 0, sizeof *b);
    tfm_step *s = ops_begin(&b->c, TFM_OP_ATTEND, 1);
    s->u.attend.heads = heads;
    s->u.attend.kv_heads = kv_heads;
    s->u.attend.k_dim = s->u.attend.v_dim = width;
    s->u.attend.scale = 1.0f / sqrtf((float)width);
    b->c.kv = (tfm_kv_shape){kv_heads, width, width, 0};
    ops_sequence(&b->c, 0, ROWS);
    const uint32_t widths[4] = {heads * width, kv_heads * width, kv_heads * width, 0};
    ops_finish(&b->c, widths, heads * width, 1.0f);
    const uint32_t n_pages = (context + ROWS) / TFM_KV_PAGE;
    if (tfm_backend_new(&b->be, device, threads, &err) != TFM_OK ||
        b->be->ops->kv_new(b->be, &b->c.g, 0, 1, tfm_dtype_parse(cache), &b->kv, &err) != TFM_OK ||
        b->be->ops->kv_reserve(b->kv, n_pages, &err) != TFM_OK ||
        b->be->ops->plan_new(b->be, &b->c.g, 0, 2, b->kv, &b->plan, &err) != TFM_OK ||
        b->be->ops->plan_new(b->be, &b->c.g, 0, 1, b->kv, &b->split, &err) != TFM_OK) {
        ops_die(device, &err);
    }
    b->page = ops_alloc(n_pages * sizeof *b->page);
    b->out = ops_alloc(heads * width * sizeof(float));
    for (uint32_t i = 0; i < n_pages; i++) b->page[i] = i;
    /* The past: the same rows again and again. K and V do not depend on what a row attends to, but
     * to run them all would take long, so each page is written at its own position, then moved. */
    run(b, b->plan, ROWS, ROWS, 1);
    for (uint32_t i = ROWS / TFM_KV_PAGE; i < n_pages; i++) {
        b->be->ops->kv_copy_page(b->kv, i, i % (ROWS / TFM_KV_PAGE));
    }
}

static void stop(bench *b) {
    b->be->ops->plan_free(b->plan);
    b->be->ops->plan_free(b->split);
    b->be->ops->kv_free(b->kv);
    tfm_backend_free(b->be);
    free(b->page);
    free(b->out);
    ops_case_free(&b->c);
}

static void measure(bench *b, uint32_t context) {
    const tfm_step *s = &b->c.step[1];
    const double rows = context < ROWS ? context : ROWS, width = s->u.attend.k_dim;
    const double pairs = rows * (context - rows / 2.0 + 0.5) * s->u.attend.heads;
    const double all = run(b, b->plan, (uint32_t)rows, context, context > 8192 ? 3 : 6) -
                       run(b, b->split, (uint32_t)rows, context, 20);
    const double one = run(b, b->plan, 1, context, 20) - run(b, b->split, 1, context, 20);
    const double bytes = (double)context * (double)b->be->ops->kv_page_bytes(b->kv) / TFM_KV_PAGE;
    printf("%8u %9.3f ms a row, %7.1f GFLOP/s; one: %9.3f ms, %6.1f GFLOP/s, %6.2f GB/s\n", context,
           1e3 * all / rows, 4e-9 * width * pairs / all, 1e3 * one,
           4e-9 * width * context * s->u.attend.heads / one, bytes / one * 1e-9);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: bench_attend DEVICE THREADS CACHE HEADS/KVxWIDTH CONTEXT...\n");
        return 2;
    }
    const unsigned threads = (unsigned)strtoul(argv[2], NULL, 10);
    if (threads == 1) clock_used = CLOCK_PROCESS_CPUTIME_ID;
    for (int i = 5; i < argc; i++) {
        bench b;
        const uint32_t context = (uint32_t)strtoul(argv[i], NULL, 10);
        start(&b, argv[1], threads, argv[3], argv[4], context);
        if (i == 5) machine("before", b.be->instruction_set);
        measure(&b, context);
        if (i + 1 == argc) machine("after", b.be->instruction_set);
        stop(&b);
    }
    return 0;
}
