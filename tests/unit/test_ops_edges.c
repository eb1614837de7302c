/* test_ops_edges.c - kernels read and write nothing behind what they are given.
 *
 * Every array ends where its page does, and the next page cannot be touched: a model.bin's last
 * tensor may end with the file. Sanitizers see the same only of what malloc gave, and not in every
 * vector instruction. The numbers are looked at by the other test_ops files. */
#include <sys/mman.h>
#include <unistd.h>

#include "../ops/ops.h"

#include "backend/cpu/kernel_internal.h"
#include "backend/plan_internal.h"
#include "unit.h"

enum {
    MOST_MAPS = 1 << 10,
    ROWS_AT = TFM_KEY_CHUNK - 5, /* so that queries end in the next chunk */
    PAGES = (ROWS_AT + TFM_ATTEND_QUERIES) / TFM_KV_PAGE + 1
};

static struct map {
    void *at;
    size_t bytes;
} maps[MOST_MAPS];
static size_t n_maps;

/* n bytes, zero, the last of them the last of a page that none follows. */
static void *edge(size_t n) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), used = (n + page - 1) / page * page;
    char *p = mmap(NULL, used + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || n_maps == MOST_MAPS || mprotect(p + used, page, PROT_NONE) != 0)
        ops_die("test memory", NULL);
    maps[n_maps++] = (struct map){p, used + page};
    return p + used - n;
}

static void unmap_all(void) {
    while (n_maps > 0) {
        n_maps--;
        munmap(maps[n_maps].at, maps[n_maps].bytes);
    }
}

static float *edge_row(uint64_t *random, size_t n) {
    float *p = edge(n * sizeof *p);
    for (size_t i = 0; i < n; i++) p[i] = ops_uniform(random);
    return p;
}

/* For the kernels' own scratch, which is aligned. */
static void *edge_scratch(size_t n) {
    return edge((n + 63) / 64 * 64);
}

/* ---- linears ---- */

static void run_linear(const tfm_cpu_kernels *kernels, tfm_dtype t, uint32_t n_out, uint32_t k,
                       uint32_t rows) {
    uint64_t random = k + rows;
    tfm_tensor w = ops_tensor(&random, t, TFM_LAYOUT_ROWS, n_out, k, 1.0f);
    tfm_error err;
    const uint32_t n_panels = (n_out + TFM_PANEL - 1) / TFM_PANEL;
    const size_t bytes = ops_bytes(&w, TFM_LAYOUT_P16), row = kernels->act_bytes(t, k);
    float *x = edge_row(&random, (size_t)rows * k);
    uint8_t *in_rows = edge(w.bytes), *panels = edge(bytes);
    memcpy(in_rows, w.data, w.bytes);
    free((void *)(uintptr_t)w.data);
    if (tfm_pack_p16(t, n_out, k, in_rows, panels, &err) != TFM_OK) ops_die("pack", &err);
    tfm_cpu_linear a = {.type = t,
                        .w = panels,
                        .panel_bytes = bytes / n_panels,
                        .k = k,
                        .n_out = n_out,
                        .bias = edge(n_out * sizeof(float)),
                        .act = (const uint8_t *)x,
                        .act_stride = k * sizeof *x,
                        .out = edge((size_t)rows * n_out * sizeof(float))};
    if (row > 0) {
        a.act_stride = (row + 63) / 64 * 64;
        uint8_t *act = edge_scratch(rows * a.act_stride);
        for (uint32_t r = 0; r < rows; r++) {
            kernels->prepare(t, k, x + (size_t)r * k, act + r * a.act_stride);
        }
        a.act = act;
    }
    void *scratch = edge_scratch(kernels->linear_bytes(t, k));
    kernels->linear(&a, 0, n_panels, 0, rows, scratch);
    for (uint32_t p = 0; p < n_panels; p++) kernels->linear(&a, p, p + 1, rows - 1, rows, scratch);
    CHECK(isfinite(a.out[(size_t)rows * n_out - 1]));
    unmap_all();
}

static void linears(const tfm_cpu_kernels *kernels) {
    const tfm_dtype types[] = {TFM_F32,  TFM_F16,  TFM_BF16,   TFM_Q4_0,  TFM_Q4_1, TFM_Q5_0,
                               TFM_Q5_1, TFM_Q8_0, TFM_IQ4_NL, TFM_MXFP4, TFM_Q2_K, TFM_Q3_K,
                               TFM_Q4_K, TFM_Q5_K, TFM_Q6_K,   TFM_IQ4_XS};
    const uint32_t outs[] = {1, 16, 53, 80}, rows[] = {1, 2, 5, 67};
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        const uint32_t block = tfm_dtype_block(types[t]);
        for (int i = 0; i < 16; i++) {
            run_linear(kernels, types[t], outs[i / 4], block > 1 ? block : 37, rows[i % 4]);
            run_linear(kernels, types[t], outs[i / 4], block > 1 ? 3 * block : 1029, rows[i % 4]);
        }
    }
}

/* ---- attention ---- */

/* Pages with K and V of one head; V begins at *v_at. */
static void fill_cache(const tfm_cpu_kernels *kernels, tfm_dtype t, uint32_t k_dim, uint32_t v_dim,
                       unsigned char *page[PAGES], size_t *v_at) {
    uint64_t random = k_dim;
    float *k = edge_row(&random, k_dim), *v = edge_row(&random, v_dim);
    *v_at = (tfm_kv_head_bytes(t, k_dim) + 63) / 64 * 64;
    for (int p = 0; p < PAGES; p++) {
        page[p] = edge_scratch(*v_at + tfm_kv_head_bytes(t, v_dim));
        for (size_t slot = 0; slot < TFM_KV_PAGE; slot++) {
            kernels->attend_store(t, k_dim, k, page[p], slot, TFM_PANEL);
            kernels->attend_store(t, v_dim, v, page[p] + *v_at, slot, 1);
        }
    }
}

/* n queries from position ROWS_AT on: chunks of 1024 keys, each by itself. */
static void run_attend(const tfm_cpu_kernels *kernels, tfm_cpu_attend *a, uint32_t n) {
    enum { CHUNK = TFM_KEY_CHUNK / TFM_PANEL };
    uint64_t random = n;
    float *q = edge_row(&random, (size_t)n * a->k_dim);
    float *to = edge((size_t)n * a->v_dim * sizeof *to);
    for (uint32_t i = 0; i < n; i++) {
        a->query[i].q = q + (size_t)i * a->k_dim;
        a->query[i].out = to + (size_t)i * a->v_dim;
        a->query[i].position = ROWS_AT + i;
    }
    a->n_queries = n;
    const uint32_t first = a->window != 0 ? (ROWS_AT - a->window + 1) / TFM_PANEL : 0;
    const uint32_t end = (ROWS_AT + n - 1) / TFM_PANEL + 1;
    const size_t from_chunk = first / CHUNK, chunks = (end - 1) / CHUNK - from_chunk + 1;
    float *score = edge((size_t)(end - first) * n * TFM_PANEL * sizeof *score);
    float *max = edge(n * sizeof *max), *total = edge(n * sizeof *total);
    float *sum = edge(chunks * n * sizeof *sum);
    float *out = edge(chunks * n * a->v_dim * sizeof *out);
    void *scratch = edge_scratch(kernels->attend_bytes(a->k_dim, a->v_dim));
    kernels->attend_scores(a, first, end, score, max, scratch);
    for (size_t c = 0; c < chunks; c++) {
        const uint32_t at = (uint32_t)(from_chunk + c) * CHUNK, from = at > first ? at : first;
        const uint32_t stop = at + CHUNK < end ? at + CHUNK : end;
        kernels->attend_values(a, from, stop, score + (size_t)(from - first) * n * TFM_PANEL, max,
                               sum + c * n, out + c * n * a->v_dim, scratch);
    }
    kernels->attend_finish(a, chunks, sum, out, max, total);
    CHECK(fabsf(to[(size_t)n * a->v_dim - 1]) <= 1.01f); /* a mean of numbers up to 1 */
}

static void attention(const tfm_cpu_kernels *kernels) {
    const tfm_dtype types[] = {TFM_F32, TFM_F16, TFM_Q8_0};
    const uint32_t dims[][2] = {{64, 128}, {96, 32}, {33, 17}, {1, 1}, {80, 20}};
    const uint32_t counts[] = {1, 2, 5, 7, 11, 24};
    for (int i = 0; i < 15; i++) {
        tfm_cpu_attend a = {.kv_type = types[i % 3], .scale = 0.3f};
        unsigned char *page[PAGES];
        uint32_t table[PAGES];
        a.k_dim = dims[i / 3][0], a.v_dim = dims[i / 3][1];
        if (a.kv_type == TFM_Q8_0 && (a.k_dim % 32 != 0 || a.v_dim % 32 != 0)) continue;
        fill_cache(kernels, a.kv_type, a.k_dim, a.v_dim, page, &a.v_at);
        for (uint32_t p = 0; p < PAGES; p++) table[p] = PAGES - 1 - p;
        a.page = page, a.table = table;
        for (int j = 0; j < 12; j++) {
            a.window = j % 2 == 0 ? 0 : 70;
            a.softcap = j % 3 == 0 ? 5.0f : 0.0f;
            run_attend(kernels, &a, counts[j / 2]);
        }
        unmap_all();
    }
}

int main(void) {
    const tfm_cpu_kernels *tables[] = {&tfm_cpu_kernels_generic, tfm_cpu_kernels_find("generic"),
                                       tfm_cpu_kernels_find("avx2"),
                                       tfm_cpu_kernels_find("avx512")};
    for (int i = 0; i < 4; i++) {
        if (tables[i] == NULL) continue;
        linears(tables[i]);
        attention(tables[i]);
        printf("ok - %s\n", tables[i]->name);
    }
    return unit_done();
}
