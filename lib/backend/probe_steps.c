/* probe_steps.c - the steps that are inserted into a graph: EDIT (interventions), KEEP (taps).
 *
 *     EDIT  x[r, first..first + width) = data | 0 | x + data | the row given for (group, position)
 *     KEEP  kept[r,:] = x[r,:]
 *
 * One implementation for all backends on the host: copies and single additions have no faster truth.
 * A row's group comes from its sequence, so what happens to a row does not depend on the batch. */
#include <string.h>

#include "backend/plan_internal.h"

uint32_t tfm_batch_sequence(const tfm_batch *b, uint32_t row) {
    uint32_t lo = 0, hi = b->n_seqs; /* row_start[lo] <= row < row_start[hi] */
    while (hi - lo > 1) {
        const uint32_t mid = lo + (hi - lo) / 2;
        if (b->row_start[mid] <= row)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* The data for (group, position), or NULL. */
static const float *find_row(const tfm_edit *e, uint32_t group, uint32_t position) {
    size_t lo = 0, hi = e->n_rows;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        const tfm_edit_row *r = &e->row[mid];
        if (r->group == group && r->position == position) return r->data;
        if (r->group < group || (r->group == group && r->position < position))
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

/* One row x [e->width]. */
static void edit_row(const tfm_edit *e, uint32_t group, uint32_t position, float *x) {
    const size_t bytes = e->width * sizeof *x;
    const float *data;
    if (position < e->from || position > e->to) return;
    switch (e->kind) {
    case TFM_EDIT_SET:
        if (e->data != NULL)
            memcpy(x, e->data, bytes);
        else
            memset(x, 0, bytes);
        return;
    case TFM_EDIT_ADD:
        for (uint32_t i = 0; i < e->width; i++) x[i] = x[i] + e->data[i];
        return;
    case TFM_EDIT_ROWS:
        data = find_row(e, group, position);
        if (data != NULL) memcpy(x, data, bytes);
        return;
    }
}

void tfm_edit_run(const tfm_step *s, const tfm_batch *b, const uint32_t *row_of, uint32_t n_rows,
                  uint32_t width, float *value) {
    const tfm_edit *e = s->u.edit;
    for (uint32_t r = 0; r < n_rows; r++) {
        const uint32_t row = row_of != NULL ? row_of[r] : r;
        const uint32_t group = b->group != NULL ? b->group[tfm_batch_sequence(b, row)] : 0;
        edit_row(e, group, b->position[row], value + (size_t)r * width + e->first);
    }
}

void tfm_keep_run(const tfm_step *s, const tfm_batch *b, uint32_t width, const float *value) {
    memcpy(b->kept[s->u.keep], value, (size_t)b->n_rows * width * sizeof *value);
}

float *tfm_kept_pattern(const tfm_step *s, const tfm_batch *b, uint32_t row, uint32_t head) {
    if (s->u.attend.keep_pattern == 0) return NULL;
    const uint64_t heads = s->u.attend.heads, keys = (uint64_t)b->position[row] + 1;
    return b->kept[s->u.attend.keep_pattern - 1] + heads * b->keys_at[row] + head * keys;
}
