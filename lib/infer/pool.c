/* pool.c - one vector of the hidden rows of each group: mean, first, last.
 *
 * Owns the sums of the groups that are open: one vector of doubles each, whatever the length. Where
 * rows come from and where vectors go is the caller's business.
 */
#include <math.h>
#include <string.h>

#include "infer/infer_internal.h"
#include "tfm/group_map.h"
#include "tfm/pool.h"

typedef struct pool_group {
    uint32_t n_rows, width;
    double *sum; /* [width]: the sum, or the row that counts */
} pool_group;

struct tfm_pooler {
    tfm_pool_options options;
    tfm_group_map *groups; /* of pool_group */
    float *vector;         /* [vector_cap]: what the last end gave out */
    size_t vector_cap;
};

static void group_free(pool_group *g) {
    if (!g) return;
    tfm_free(g->sum);
    tfm_free(g);
}

tfm_status tfm_pooler_new(tfm_pooler **out, const tfm_pool_options *o, tfm_error *err) {
    tfm_pooler *p = NULL;

    *out = NULL;
    TFM_TRY(tfm_alloc((void **)&p, 1, sizeof *p, err));
    p->options = *o;
    tfm_status st = tfm_group_map_new(&p->groups, err);
    if (st != TFM_OK) {
        tfm_pooler_free(p);
        return st;
    }
    *out = p;
    return TFM_OK;
}

void tfm_pooler_free(tfm_pooler *p) {
    size_t at = 0;

    if (!p) return;
    for (pool_group *g; p->groups && (g = tfm_group_map_next(p->groups, &at)) != NULL;)
        group_free(g);
    tfm_group_map_free(p->groups);
    tfm_free(p->vector);
    tfm_free(p);
}

void tfm_pooler_drop(tfm_pooler *p, uint32_t group) {
    group_free(tfm_group_map_remove(p->groups, group));
}

static tfm_status group_get(tfm_pooler *p, uint32_t group, uint32_t width, pool_group **out,
                            tfm_error *err) {
    pool_group *g = tfm_group_map_find(p->groups, group);
    void **slot;

    if (!g) {
        TFM_TRY(tfm_alloc((void **)&g, 1, sizeof *g, err));
        g->width = width;
        tfm_status st = tfm_alloc((void **)&g->sum, width, sizeof *g->sum, err);
        if (st == TFM_OK) st = tfm_group_map_slot(p->groups, group, &slot, err);
        if (st != TFM_OK) {
            group_free(g);
            return st;
        }
        *slot = g;
    }
    *out = g;
    return TFM_OK;
}

/* sum[i] = row[i], or += row[i] */
static void put_row(pool_group *g, const float *row, bool add) {
    for (uint32_t i = 0; i < g->width; i++)
        g->sum[i] = add ? g->sum[i] + (double)row[i] : (double)row[i];
}

tfm_status tfm_pooler_take(tfm_pooler *p, uint32_t group, uint32_t position, const float *rows,
                           uint32_t n, uint32_t width, tfm_error *err) {
    pool_group *g;

    TFM_TRY(group_get(p, group, width, &g, err));
    if (g->width != width)
        return tfm_fail(err, TFM_RECORD, "rows of %u numbers follow rows of %u", width, g->width);
    if (position > g->n_rows)
        return tfm_fail(err, TFM_RECORD, "positions %u to %u are missing", g->n_rows, position - 1);
    if (position < g->n_rows && p->options.how == TFM_POOL_MEAN)
        return tfm_fail(err, TFM_RECORD,
                        "position %u comes again: rows cannot be taken out of a mean", position);
    if (n == 0) return TFM_OK;
    switch (p->options.how) {
    case TFM_POOL_MEAN:
        for (uint32_t i = 0; i < n; i++) put_row(g, rows + (size_t)i * width, true);
        break;
    case TFM_POOL_CLS:
        if (position == 0) put_row(g, rows, false);
        break;
    case TFM_POOL_LAST: put_row(g, rows + (size_t)(n - 1) * width, false); break;
    }
    g->n_rows = position + n;
    return TFM_OK;
}

/* The divisor: of the mean, then of the norm. Everything stays in double until the last
 * rounding. */
static void finish(const tfm_pool_options *o, pool_group *g) {
    double square = 0;

    if (o->how == TFM_POOL_MEAN)
        for (uint32_t i = 0; i < g->width; i++) g->sum[i] /= (double)g->n_rows;
    if (!o->normalise) return;
    for (uint32_t i = 0; i < g->width; i++) square += g->sum[i] * g->sum[i];
    double norm = sqrt(square); /* IEEE 754 rounds it exactly: the same everywhere */
    for (uint32_t i = 0; norm > 0 && i < g->width; i++) g->sum[i] /= norm;
}

tfm_status tfm_pooler_end(tfm_pooler *p, uint32_t group, const float **vector, uint32_t *width,
                          uint32_t *n_rows, tfm_error *err) {
    pool_group *g = tfm_group_map_remove(p->groups, group);
    tfm_status st;

    if (!g || g->n_rows == 0) {
        group_free(g);
        return tfm_fail(err, TFM_RECORD, "the group has no row: there is nothing to pool");
    }
    finish(&p->options, g);
    st = tfm_grow((void **)&p->vector, &p->vector_cap, g->width, sizeof *p->vector, err);
    for (uint32_t i = 0; st == TFM_OK && i < g->width; i++) p->vector[i] = (float)g->sum[i];
    *vector = p->vector;
    *width = g->width;
    *n_rows = g->n_rows;
    group_free(g);
    return st;
}
