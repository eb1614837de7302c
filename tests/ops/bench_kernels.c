/* bench_kernels.c - one linear kernel by itself, on one thread, against this processor's peak.
 *
 *     build/tests/ops/bench_kernels [-k 2048] [-n 2048] [-t SECONDS] NUMERICS TYPE... ROWS...
 *
 * For every TYPE (all block types: "all") and number of ROWS, best of several: GOP/s (two per
 * weight and row), GB/s of weights read, and the share of the int8 limit of the instruction set
 * (limits.h), measured just before and after, the better one. Fewer than four rows run over weights
 * that do not fit in a cache, and the limit is reading them, measured in turn with it; many rows
 * run over n outputs. Pieces are 8 panels. Times are those of the processor (a busy machine slows
 * it less). Not a test: nothing here is judged. */
#include <unistd.h>

#include "limits.h"
#include "ops.h"

#include "backend/cpu/kernel_internal.h"

enum { MAX_ROWS = 1024, PIECE = 8, MEMORY = 192 << 20 };

static uint32_t width = 2048, outputs = 2048;
static double seconds = 0.15;

/* ---- one case ---- */

typedef struct bench {
    const tfm_cpu_kernels *k;
    tfm_cpu_linear a;
    uint32_t rows, panels;
    void *scratch;
} bench;

static void run_once(const bench *b) {
    for (uint32_t p = 0; p < b->panels; p += PIECE) {
        const uint32_t end = p + PIECE < b->panels ? p + PIECE : b->panels;
        b->k->linear(&b->a, p, end, 0, b->rows, b->scratch);
    }
}

static void measure(const char *numerics, tfm_dtype t, uint32_t rows) {
    const tfm_cpu_limits *limits = tfm_cpu_limits_find(numerics);
    bench b = {.k = tfm_cpu_kernels_find(numerics), .rows = rows};
    uint64_t random = 1;
    if (b.k == NULL) ops_die(numerics, NULL);
    tfm_tensor w = ops_tensor(&random, t, TFM_LAYOUT_P16, TFM_PANEL, width, 1.0f);
    b.a = (tfm_cpu_linear){.type = t, .panel_bytes = w.bytes, .k = width, .n_out = outputs};
    if (rows < 4) b.a.n_out = (uint32_t)(MEMORY / w.bytes * TFM_PANEL);
    b.panels = b.a.n_out / TFM_PANEL;
    uint8_t *weights = ops_alloc(b.panels * w.bytes);
    for (uint32_t p = 0; p < b.panels; p++) memcpy(weights + p * w.bytes, w.data, w.bytes);
    b.a.w = weights;
    float *x = ops_random_row(&random, (size_t)rows * width, 3.0f);
    const size_t act = b.k->act_bytes(t, width);
    b.a.act_stride = act == 0 ? width * sizeof(float) : (act + 63) / 64 * 64;
    uint8_t *lines = ops_alloc(rows * b.a.act_stride);
    const double before = limit_compute(&limits->int8), from = now();
    double read = 0;
    for (uint32_t r = 0; r < rows && act > 0; r++) {
        b.k->prepare(t, width, x + (size_t)r * width, lines + r * b.a.act_stride);
    }
    const double prepared = now() - from;
    b.a.act = act > 0 ? lines : (const uint8_t *)x;
    b.a.out = ops_alloc((size_t)rows * b.a.n_out * sizeof(float));
    b.scratch = ops_alloc(b.k->linear_bytes(t, width) + 64);
    double best = 1e9, all = 0;
    for (int i = 0; i < 3 || all < seconds; i++) {
        const double start = now();
        run_once(&b);
        const double took = now() - start;
        all += took;
        best = took < best ? took : best;
        const double rate = rows < 4 ? limit_read(limits, weights, b.panels * w.bytes) : 0;
        read = rate > read ? rate : read;
    }
    const double after = limit_compute(&limits->int8), top = after > before ? after : before;
    const double gop = 2e-9 * rows * (double)b.a.n_out * width / best;
    const double rate = (double)b.panels * (double)w.bytes / best / 1e9;
    printf("%-6s %-5s k %5u n %7u rows %4u: %7.1f GOP/s %5.1f %% of %6.1f, %6.2f GB/s", numerics,
           tfm_dtype_name(t), width, b.a.n_out, rows, gop, 100 * gop / top, top, rate);
    if (read > 0)
        printf(" %5.1f %% of %5.2f\n", 100 * rate / read, read);
    else
        printf(", prepare %5.2f ns a number\n", 1e9 * prepared / rows / width);
    fflush(stdout);
    free((void *)(uintptr_t)w.data), free(weights), free(x), free(lines), free(b.a.out);
    free(b.scratch);
}

int main(int argc, char **argv) {
    const tfm_dtype block[] = {TFM_Q8_0,   TFM_Q4_0,  TFM_Q4_1,  TFM_Q5_0, TFM_Q5_1,
                               TFM_IQ4_NL, TFM_MXFP4, TFM_Q2_K,  TFM_Q3_K, TFM_Q4_K,
                               TFM_Q5_K,   TFM_Q6_K,  TFM_IQ4_XS};
    tfm_dtype types[32];
    int n_types = 0, o;
    clock_used = CLOCK_PROCESS_CPUTIME_ID;
    while ((o = getopt(argc, argv, "k:n:t:")) != -1) {
        if (o == 'k') width = (uint32_t)strtoul(optarg, NULL, 10);
        if (o == 'n') outputs = (uint32_t)strtoul(optarg, NULL, 10);
        if (o == 't') seconds = strtod(optarg, NULL);
    }
    if (argc - optind < 3 || width % 256 != 0) {
        fprintf(stderr, "usage: bench_kernels [-k WIDTH] [-n OUTPUTS] NUMERICS TYPE... ROWS...\n");
        return 2;
    }
    const char *numerics = argv[optind++];
    for (; optind < argc && (argv[optind][0] < '0' || argv[optind][0] > '9'); optind++) {
        if (strcmp(argv[optind], "all") == 0) {
            for (int i = 0; i < 10; i++) types[n_types++] = block[i];
        } else if (n_types < 16) {
            types[n_types++] = tfm_dtype_parse(argv[optind]);
        }
    }
    for (; optind < argc; optind++) {
        const uint32_t rows = (uint32_t)strtoul(argv[optind], NULL, 10);
        for (int i = 0; i < n_types && rows > 0 && rows <= MAX_ROWS; i++) {
            measure(numerics, types[i], rows);
        }
    }
    return 0;
}
