/* bench_kernels.c - one linear kernel by itself, on one thread, against this processor's peak.
 *
 *     build/tests/ops/bench_kernels [-k 2048] [-n 2048] [-t SECONDS] NUMERICS TYPE... ROWS...
 *
 * For every TYPE (all block types: "all") and number of ROWS, best of several: GOP/s (two per weight
 * and row), GB/s of weights read, and the share of the peak: of vpdpbusd (avx512) or vpmaddubsw with
 * vpmaddwd and vpaddd (avx2) on registers, measured just before and after, the better one. Fewer than
 * four rows run over weights that do not fit in a cache, and the limit is reading them, measured in
 * turn with it; many rows run over n outputs. Pieces are 8 panels. Times are
 * those of the processor (a busy machine slows it less). Not a test: nothing here is judged. */
#include <immintrin.h>
#include <time.h>
#include <unistd.h>

#include "ops.h"

#include "backend/cpu/kernel_internal.h"

enum { MAX_ROWS = 1024, PIECE = 8, MEMORY = 192 << 20 };

static uint32_t width = 2048, outputs = 2048;
static double seconds = 0.15;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- peaks: GOP/s of a loop without loads ---- */

/* Twelve sums, each in a register by name: an array would live in memory. */
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

__attribute__((target("avx512f,avx512vnni"))) static double peak_avx512(void) {
#define SUM(j) __m512i sum##j = _mm512_setzero_si512();
    TWELVE(SUM)
#undef SUM
    const __m512i x = _mm512_set1_epi8(3);
    const int n = 1000000;
    const double from = now();
    for (int i = 0; i < n; i++) {
#define STEP(j) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(sum##j) : "v"(x));
        TWELVE(STEP)
#undef STEP
    }
    return 128e-9 * 12 * n / (now() - from);
}

__attribute__((target("avx2"))) static double peak_avx2(void) {
#define SUM(j) __m256i sum##j = _mm256_setzero_si256();
    TWELVE(SUM)
#undef SUM
    const __m256i x = _mm256_set1_epi8(3);
    __m256i t;
    const int n = 1000000;
    const double from = now();
    for (int i = 0; i < n; i++) {
#define STEP(j)                                                                                    \
    __asm__ volatile("vpmaddubsw %2, %2, %1\n\tvpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0"           \
                     : "+x"(sum##j), "=&x"(t)                                                      \
                     : "x"(x));
        TWELVE(STEP)
#undef STEP
    }
    return 64e-9 * 12 * n / (now() - from);
}

static double peak(const char *numerics) {
    return strcmp(numerics, "avx512") == 0 ? peak_avx512() : peak_avx2();
}

/* GB/s of reading the weights with nothing done to them: for one row that is the limit. */
__attribute__((target("avx2"))) static double read_rate(const uint8_t *p, size_t n) {
    __m256i sum[4] = {_mm256_setzero_si256()};
    const double from = now();
    for (size_t i = 0; i + 128 <= n; i += 128) {
        for (int j = 0; j < 4; j++) {
            const __m256i x = _mm256_loadu_si256((const __m256i_u *)(const void *)(p + i + 32 * j));
            sum[j] = _mm256_xor_si256(sum[j], x);
        }
    }
    for (int j = 0; j < 4; j++) __asm__ volatile("" : : "x"(sum[j]));
    return (double)n / (now() - from) / 1e9;
}

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
    const double before = peak(numerics), from = now();
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
        const double rate = rows < 4 ? read_rate(weights, b.panels * w.bytes) : 0;
        read = rate > read ? rate : read;
    }
    const double after = peak(numerics), top = after > before ? after : before;
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
    const tfm_dtype block[] = {TFM_Q8_0, TFM_Q4_0, TFM_Q4_1, TFM_Q5_0, TFM_Q5_1,
                               TFM_Q2_K, TFM_Q3_K, TFM_Q4_K, TFM_Q5_K, TFM_Q6_K};
    tfm_dtype types[32];
    int n_types = 0, o;
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
