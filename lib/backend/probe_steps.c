/* probe_steps.c - the steps that are inserted into a graph: EDIT, PATTERN (interventions), KEEP
 * (taps).
 *
 *     EDIT  x[r, first..first + width) = data | 0 | x + data | the row given for (group, position)
 *     PATTERN  pattern[r,h,:] = 0 | the row given; where that changes a bit of it
 *              out[r,h,:] = sum over j ascending of pattern[r,h,j] v[j,:], in double
 *     KEEP  kept[r,:] = x[r,:]
 *
 * ATTEND divides by the sum of the weights once, behind the weighted sum, so a pattern (each weight
 * divided) cannot give the same bits. A head whose pattern comes out as it was therefore keeps what
 * ATTEND gave: to put back a run's own patterns changes nothing.
 *
 * One implementation for all backends on the host: copies and single additions have no faster
 * truth. A row's group comes from its sequence, so what happens to a row does not depend on the
 * batch. */
#include <inttypes.h>
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

/* [heads, position + 1] of one row. */
static float *row_pattern(const tfm_batch *b, uint32_t kept, uint64_t heads, uint32_t row) {
    return b->kept[kept] + heads * b->keys_at[row];
}

float *tfm_kept_pattern(const tfm_step *s, const tfm_batch *b, uint32_t row, uint32_t head) {
    if (s->u.attend.keep_pattern == 0) return NULL;
    return row_pattern(b, s->u.attend.keep_pattern - 1, s->u.attend.heads, row) +
           head * ((size_t)b->position[row] + 1);
}

/* ---- patterns ---- */

/* V of one sequence as the cache has it. */
typedef struct values {
    void *cached; /* [keys, kv_heads * v_dim] of the cache's type */
    float *v;     /* the same */
} values;

static void values_free(values *x) {
    tfm_free(x->cached);
    tfm_free(x->v);
    *x = (values){0};
}

static tfm_status values_read(values *x, const tfm_plan *plan, const tfm_step *s,
                              const uint32_t *page, uint32_t keys, tfm_error *err) {
    const tfm_kv *kv = plan->kv;
    const size_t width = (size_t)s->u.pattern.kv_heads * s->u.pattern.v_dim;
    uint64_t bytes;
    void *p;
    if (!tfm_dtype_bytes(kv->type, (uint64_t)keys * width, &bytes) || bytes > SIZE_MAX) {
        return tfm_fail(err, TFM_NOMEM, "%" PRIu32 " keys are too many", keys);
    }
    TFM_TRY(tfm_alloc(&x->cached, 1, (size_t)bytes, err));
    TFM_TRY(tfm_alloc(&p, keys, width * sizeof *x->v, err));
    x->v = p;
    plan->backend->ops->kv_read(kv, (uint32_t)s->u.pattern.kv_layer, true, page, 0, keys,
                                x->cached);
    return tfm_to_f32(kv->type, x->cached, (uint64_t)keys * width, x->v, err);
}

/* out [v_dim] = sum_j p[j] v[j]; stride: from one v to the next. A key without weight is not
 * read. */
static void weigh(const float *p, const float *v, size_t stride, uint32_t keys, uint32_t v_dim,
                  float *out) {
    for (uint32_t i = 0; i < v_dim; i++) {
        double sum = 0.0;
        for (uint32_t j = 0; j < keys; j++)
            if (p[j] != 0.0f) sum += (double)p[j] * (double)v[j * stride + i];
        out[i] = (float)sum;
    }
}

/* One row of a sequence of which `last` is the last position; x is read when it is first needed. */
static tfm_status pattern_row(const tfm_plan *plan, const tfm_step *s, const tfm_batch *b,
                              uint32_t seq, uint32_t row, values *x, float *out, tfm_error *err) {
    const tfm_edit *e = s->u.pattern.edit;
    const uint32_t heads = s->u.pattern.heads, kv_heads = s->u.pattern.kv_heads;
    const uint32_t v_dim = s->u.pattern.v_dim, position = b->position[row], keys = position + 1;
    const uint32_t last = b->position[b->row_start[seq + 1] - 1];
    const float *data = NULL;
    float *pattern = row_pattern(b, s->u.pattern.keep, heads, row);

    if (position < e->from || position > e->to) return TFM_OK;
    if (e->kind == TFM_EDIT_ROWS) {
        data = find_row(e, b->group != NULL ? b->group[seq] : 0, position);
        if (data == NULL) return TFM_OK;
    }
    for (uint32_t h = 0; h < heads; h++) {
        float *p = pattern + (size_t)h * keys;
        if (data != NULL && memcmp(p, data + (size_t)h * keys, keys * sizeof *p) == 0) continue;
        if (data != NULL)
            memcpy(p, data + (size_t)h * keys, keys * sizeof *p);
        else
            memset(p, 0, keys * sizeof *p);
        if (x->v == NULL) TFM_TRY(values_read(x, plan, s, b->page[seq], last + 1, err));
        weigh(p, x->v + (size_t)(h / (heads / kv_heads)) * v_dim, (size_t)kv_heads * v_dim, keys,
              v_dim, out + (size_t)h * v_dim);
    }
    return TFM_OK;
}

tfm_status tfm_pattern_run(const tfm_plan *plan, const tfm_step *s, const tfm_batch *b,
                           float *value, tfm_error *err) {
    const size_t width = (size_t)s->u.pattern.heads * s->u.pattern.v_dim;
    tfm_status st = TFM_OK;
    for (uint32_t q = 0; st == TFM_OK && q < b->n_seqs; q++) {
        values x = {0};
        for (uint32_t r = b->row_start[q]; st == TFM_OK && r < b->row_start[q + 1]; r++)
            st = pattern_row(plan, s, b, q, r, &x, value + r * width, err);
        values_free(&x);
    }
    return st;
}
