/* quantise.c - which type a tensor gets when it is quantised, and the work of it on all threads.
 *
 * Rows are quantised one by one, so chunks of a fixed number of rows give the same bytes whichever
 * thread takes them. How a row is quantised is the tensor layer's (quant_search.c). */
#include "arch/quantise_internal.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- types ---- */

/* The blocks where one more bit pays most: the first eighth, the last, and every third between. */
static bool gets_more(uint32_t block, uint32_t n_blocks) {
    const uint32_t eighth = n_blocks / 8;
    return block < eighth || block >= 7 * n_blocks / 8 || (block - eighth) % 3 == 2;
}

tfm_dtype tfm_mixed_type(const char *name, uint32_t n_blocks, bool is_output) {
    unsigned block;
    int end = 0;
    if (is_output) return TFM_Q6_K;
    if (sscanf(name, "blk.%5u.%n", &block, &end) != 1 || end == 0) return TFM_Q4_K;
    const char *part = name + end;
    if (strcmp(part, "attn_qkv.weight") == 0) return TFM_Q5_K;
    if (strcmp(part, "attn_v.weight") != 0 && strncmp(part, "ffn_down", 8) != 0) return TFM_Q4_K;
    return gets_more(block, n_blocks) ? TFM_Q6_K : TFM_Q4_K;
}

tfm_dtype tfm_type_for_columns(tfm_dtype want, uint32_t columns) {
    if (columns % tfm_dtype_block(want) == 0) return want;
    if (columns % 32 != 0) return TFM_DTYPE_NONE;
    switch (want) {
    case TFM_Q2_K:
    case TFM_Q3_K:
    case TFM_IQ4_XS: return TFM_IQ4_NL; /* as large as q4_0, its values denser near zero */
    case TFM_Q4_K: return TFM_Q5_0;
    case TFM_Q5_K: return TFM_Q5_1;
    default: return TFM_Q8_0;
    }
}

/* ---- a tensor ---- */

enum { CHUNK_ROWS = 16 };

typedef struct job {
    const tfm_tensor *from;
    const unsigned char *src;
    unsigned char *dst;
    tfm_dtype to;
    const float *importance;
    float *rows; /* [threads][CHUNK_ROWS * columns] */
    uint64_t n_rows;
    uint32_t columns;
    uint64_t from_bytes, to_bytes; /* of a row */
    atomic_size_t failed;          /* the first chunk that did, SIZE_MAX: none */
} job;

static tfm_status run_chunk(const job *j, size_t chunk, float *rows, tfm_error *err) {
    const uint64_t first = (uint64_t)chunk * CHUNK_ROWS;
    const uint64_t left = j->n_rows - first, n = left < CHUNK_ROWS ? left : CHUNK_ROWS;
    TFM_TRY(tfm_to_f32(j->from->dtype, j->src + first * j->from_bytes, n * j->columns, rows, err));
    return tfm_quantise(j->to, rows, n, j->columns, j->importance, j->dst + first * j->to_bytes,
                        err);
}

static void work(void *arg, size_t chunk, unsigned worker) {
    job *j = arg;
    float *rows = j->rows + (size_t)worker * CHUNK_ROWS * j->columns;
    size_t seen = atomic_load(&j->failed);
    if (chunk >= seen || run_chunk(j, chunk, rows, NULL) == TFM_OK) return;
    while (chunk < seen && !atomic_compare_exchange_weak(&j->failed, &seen, chunk)) {
    }
}

tfm_status tfm_quantise_tensor(tfm_pool *pool, const tfm_tensor *from, const void *src,
                               tfm_dtype to, const float *importance, void *dst, tfm_error *err) {
    job j = {.from = from, .src = src, .dst = dst, .to = to, .importance = importance};
    uint64_t count;
    void *p;
    j.columns = from->dims[from->rank - 1];
    if (!tfm_dims_count(from->rank, from->dims, &count) || j.columns == 0 ||
        !tfm_dtype_bytes(from->dtype, j.columns, &j.from_bytes) ||
        !tfm_dtype_bytes(to, j.columns, &j.to_bytes))
        return tfm_fail(err, TFM_LIMIT, "the tensor's rows are no whole blocks");
    j.n_rows = count / j.columns;
    TFM_TRY(
        tfm_alloc(&p, (size_t)tfm_pool_threads(pool) * CHUNK_ROWS * j.columns, sizeof(float), err));
    j.rows = p;
    atomic_init(&j.failed, SIZE_MAX);
    tfm_pool_run(pool, (size_t)((j.n_rows + CHUNK_ROWS - 1) / CHUNK_ROWS), work, &j);
    /* Once more, for the message: the first chunk that fails is the same for any threads. */
    const size_t failed = atomic_load(&j.failed);
    tfm_status st = failed == SIZE_MAX ? TFM_OK : run_chunk(&j, failed, j.rows, err);
    tfm_free(j.rows);
    return st;
}
