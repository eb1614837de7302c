/* taps.c - what a batch kept, from the backend's memory to records.
 *
 *     kept[tap]: [rows, width]   ->   rows: for each row, tap after tap   ->   one record each
 *
 * One record is one row of one tap: [1, width], [1, heads, width of a head], and for a pattern
 * [1, heads, position + 1]. So nothing about the records depends on how rows came together in
 * batches; and a pattern needs no padding. Within a group they ascend by position, at one position
 * they follow the order of the steps.
 */
#include <stdio.h>
#include <string.h>

#include "infer/probe_internal.h"

tfm_status tfm_taps_init(tfm_taps *t, const probe_graph *g, tfm_error *err) {
    *t = (tfm_taps){.tap = g->tap, .n = g->graph.n_kept};
    for (uint32_t i = 0; i < t->n; i++) t->n_written += g->tap[i].name != NULL;
    if (t->n == 0) return TFM_OK;
    TFM_TRY(tfm_alloc((void **)&t->kept, t->n, sizeof *t->kept, err));
    return tfm_alloc((void **)&t->cap, t->n, sizeof *t->cap, err);
}

void tfm_taps_free(tfm_taps *t) {
    for (uint32_t i = 0; t->kept && i < t->n; i++) tfm_free(t->kept[i]);
    tfm_free((void *)t->kept);
    tfm_free(t->cap);
    tfm_free(t->keys_at);
    *t = (tfm_taps){0};
}

/* Numbers of one row at a position. */
static size_t row_size(const probe_tap *tap, uint32_t position) {
    return tap->width ? tap->width : (size_t)tap->heads * ((size_t)position + 1);
}

tfm_status tfm_taps_prepare(tfm_taps *t, tfm_batch *b, tfm_error *err) {
    uint64_t keys = 0;
    size_t need;

    if (t->n == 0) return TFM_OK;
    TFM_TRY(tfm_grow((void **)&t->keys_at, &t->keys_cap, b->n_rows, sizeof *t->keys_at, err));
    for (uint32_t r = 0; r < b->n_rows; r++) {
        t->keys_at[r] = keys;
        keys += (uint64_t)b->position[r] + 1;
    }
    for (uint32_t i = 0; i < t->n; i++) {
        const probe_tap *tap = &t->tap[i];
        bool fits = tap->width ? tfm_mul_size(b->n_rows, tap->width, &need)
                               : keys <= SIZE_MAX && tfm_mul_size((size_t)keys, tap->heads, &need);
        if (!fits)
            return tfm_fail(err, TFM_NOMEM, "tap %s: %u rows are too many",
                            tap->name ? tap->name : "of a pattern", b->n_rows);
        TFM_TRY(tfm_grow((void **)&t->kept[i], &t->cap[i], need, sizeof(float), err));
    }
    b->kept = t->kept;
    b->keys_at = t->keys_at;
    return TFM_OK;
}

tfm_status tfm_taps_rows(const tfm_taps *t, uint32_t first, uint32_t n, uint32_t position,
                         tfm_buf *to, tfm_error *err) {
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < t->n; i++) {
            const probe_tap *tap = &t->tap[i];
            if (!tap->name) continue;
            size_t size = row_size(tap, position + r);
            size_t at = tap->width ? (size_t)(first + r) * size
                                   : (size_t)(t->keys_at[first + r] * tap->heads);
            TFM_TRY(tfm_buf_add(to, t->kept[i] + at, size * sizeof(float), err));
        }
    return TFM_OK;
}

static tfm_status write_row(const probe_tap *tap, uint32_t group, uint32_t position,
                            const char *data, tfm_writer *w, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_F32,
                      .rank = tap->heads ? 3 : 2,
                      .group = group,
                      .position = position,
                      .dims = {1, tap->heads ? tap->heads : tap->width, 1, 1}};

    if (tap->heads) rec.dims[2] = tap->width ? tap->dim : position + 1;
    snprintf(rec.name, sizeof rec.name, "%s", tap->name);
    return tfm_writer_record(w, &rec, data, err);
}

tfm_status tfm_taps_write(const tfm_taps *t, uint32_t group, uint32_t position, uint32_t n,
                          const tfm_buf *rows, tfm_writer *w, tfm_error *err) {
    const char *data = rows->data;

    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < t->n; i++) {
            if (!t->tap[i].name) continue;
            TFM_TRY(write_row(&t->tap[i], group, position + r, data, w, err));
            data += row_size(&t->tap[i], position + r) * sizeof(float);
        }
    return TFM_OK;
}
