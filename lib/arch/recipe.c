/* recipe.c - carries out a recipe: transposes, takes rows, reorders rotary rows, widens.
 *
 * Also puts tensors on top of one another. All but the transpose move whole rows, so block-quantised weights are moved bit for bit.
 */
#include "arch/arch_internal.h"

#include <string.h>

/* Row of the source (after transposing) that becomes row `row` of the result. */
static uint64_t source_row(const tfm_recipe *r, uint64_t row, uint64_t n_rows) {
    if (r->rope_heads > 0) {
        uint64_t width = n_rows / r->rope_heads;
        uint64_t at = row % width;
        if (at < r->rope_rot) row = row - at + (at % 2) * (r->rope_rot / 2) + at / 2;
    }
    if (r->row_count > 0)
        row = row / r->row_count * r->row_every + r->row_first + row % r->row_count;
    return row;
}

/* dst: [n] elements of column `row` of src [in, out]. */
static void column(const char *src, uint64_t row, uint64_t n_out, uint64_t n, size_t size,
                   char *dst) {
    for (uint64_t k = 0; k < n; k++) memcpy(dst + k * size, src + (k * n_out + row) * size, size);
}

static tfm_status widen(const tfm_recipe *r, void *dst, tfm_error *err) {
    const tfm_tensor *s = r->source;
    size_t size = tfm_dtype_block_bytes(s->dtype);
    uint64_t n = r->out.dims[0];
    for (uint64_t i = 0; i < n; i++)
        TFM_TRY(tfm_to_f32(s->dtype, (const char *)s->data + source_row(r, i, n) * size, 1,
                           (float *)dst + i, err));
    return TFM_OK;
}

static void stack(const tfm_recipe *r, char *dst) {
    const size_t each = (size_t)(r->out.bytes / r->n_stack);
    for (uint32_t i = 0; i < r->n_stack; i++) memcpy(dst + i * each, r->stack[i]->data, each);
}

tfm_status tfm_recipe_run(const tfm_recipe *r, void *dst, tfm_error *err) {
    const tfm_tensor *s = r->source;
    const char *src = s->data;
    uint64_t n_rows = r->out.dims[0], row_bytes;
    if (r->to_f32) return widen(r, dst, err);
    if (r->stack != NULL) {
        stack(r, dst);
        return TFM_OK;
    }
    row_bytes = n_rows ? r->out.bytes / n_rows : 0;
    for (uint64_t i = 0; i < n_rows; i++) {
        char *to = (char *)dst + i * row_bytes;
        uint64_t from = source_row(r, i, n_rows);
        if (r->transpose)
            column(src, from, s->dims[1], s->dims[0], tfm_dtype_block_bytes(s->dtype), to);
        else
            memcpy(to, src + from * row_bytes, (size_t)row_bytes);
    }
    return TFM_OK;
}
