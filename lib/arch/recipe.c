/* recipe.c - carries out a recipe: transposes, sorts and takes rows, reorders rotary rows, widens.
 *
 * Also puts tensors on top of one another, and blocks together whose codes and scales are two
 * tensors. All but the transpose move whole rows, so block-quantised weights are moved bit for bit.
 */
#include "arch/arch_internal.h"

#include <string.h>

#include "tensor/block_internal.h"

/* Row of the interleaved groups that becomes row `row` of the sorted parts. */
static uint64_t group_row(const tfm_recipe *r, uint64_t row) {
    uint64_t sum = r->part[0], before = 0; /* parts are 1 at least */
    uint32_t i = 0;
    for (uint32_t k = 1; k < r->n_parts; k++) sum += r->part[k];
    const uint64_t groups = r->rows / sum;
    for (; i + 1 < r->n_parts && row >= groups * r->part[i]; i++) {
        row -= groups * r->part[i];
        before += r->part[i];
    }
    return row / r->part[i] * sum + before + row % r->part[i];
}

/* Row of a source's matrix (after transposing) that becomes row `row` of the result's. */
static uint64_t source_row(const tfm_recipe *r, uint64_t row, uint64_t n_rows) {
    if (r->rope_heads > 0) {
        uint64_t width = n_rows / r->rope_heads;
        uint64_t at = row % width;
        if (at < r->rope_rot) row = row - at + (at % 2) * (r->rope_rot / 2) + at / 2;
    }
    if (r->row_count > 0)
        row = row / r->row_count * r->row_every + r->row_first + row % r->row_count;
    return r->n_parts > 0 ? group_row(r, row) : row;
}

/* dst: [n] elements of column `row` of src [in, out]. */
static void column(const char *src, uint64_t row, uint64_t n_out, uint64_t n, size_t size,
                   char *dst) {
    for (uint64_t k = 0; k < n; k++) memcpy(dst + k * size, src + (k * n_out + row) * size, size);
}

static tfm_status widen(const tfm_recipe *r, void *dst, tfm_error *err) {
    const tfm_tensor *s = r->source;
    const size_t size = tfm_dtype_block_bytes(s->dtype);
    const uint64_t n = r->out.dims[0];
    float *to = dst;
    for (uint64_t i = 0; i < n; i++) {
        TFM_TRY(tfm_to_f32(s->dtype, (const char *)s->data + source_row(r, i, n) * size, 1, to + i,
                           err));
        to[i] += r->add;
    }
    return TFM_OK;
}

static void stack(const tfm_recipe *r, char *dst) {
    const size_t each = (size_t)(r->out.bytes / r->n_stack);
    for (uint32_t i = 0; i < r->n_stack; i++) memcpy(dst + i * each, r->stack[i]->data, each);
}

/* Matrix m, of n_rows rows, of blocks whose codes and scales lie apart. */
static void join_blocks(const tfm_recipe *r, uint32_t m, uint64_t n_rows, size_t row_bytes,
                        char *dst) {
    const tfm_dtype t = r->out.dtype;
    const size_t size = tfm_dtype_block_bytes(t), n = row_bytes / size;
    const size_t scale_bytes = size - TFM_PAIRS_BYTES;
    uint8_t *to = (uint8_t *)dst;
    for (uint64_t i = 0; i < n_rows; i++) {
        const uint64_t block = ((uint64_t)m * r->rows + source_row(r, i, n_rows)) * n;
        const uint8_t *pairs = (const uint8_t *)r->source->data + block * TFM_PAIRS_BYTES;
        const uint8_t *scale = (const uint8_t *)r->scales->data + block * scale_bytes;
        for (size_t b = 0; b < n; b++, to += size) {
            tfm_block_from_pairs(t, pairs + b * TFM_PAIRS_BYTES, scale + b * scale_bytes, to);
        }
    }
}

/* One matrix of n_rows rows at dst. */
static void make_matrix(const tfm_recipe *r, const char *src, uint64_t n_rows, size_t row_bytes,
                        char *dst) {
    const size_t size = tfm_dtype_block_bytes(r->source->dtype);
    for (uint64_t i = 0; i < n_rows; i++) {
        const uint64_t from = source_row(r, i, n_rows);
        if (r->transpose) /* a source of [row_bytes / size, rows] */
            column(src, from, r->rows, row_bytes / size, size, dst + i * row_bytes);
        else
            memcpy(dst + i * row_bytes, src + from * row_bytes, row_bytes);
    }
}

tfm_status tfm_recipe_run(const tfm_recipe *r, void *dst, tfm_error *err) {
    if (r->to_f32) return widen(r, dst, err);
    if (r->stack != NULL) {
        stack(r, dst);
        return TFM_OK;
    }
    const uint64_t n_rows = r->out_rows;
    const size_t to = (size_t)(r->out.bytes / r->matrices);
    const size_t from = (size_t)(r->source->bytes / r->matrices);
    for (uint32_t m = 0; m < r->matrices && n_rows > 0 && r->scales != NULL; m++)
        join_blocks(r, m, n_rows, to / (size_t)n_rows, (char *)dst + m * to);
    for (uint32_t m = 0; m < r->matrices && n_rows > 0 && r->scales == NULL; m++)
        make_matrix(r, (const char *)r->source->data + m * from, n_rows, to / (size_t)n_rows,
                    (char *)dst + m * to);
    return TFM_OK;
}
