/* pool.h - from the hidden rows of a group to one vector.
 *
 *     tfm_pooler *p;
 *     tfm_pool_options o = {.how = TFM_POOL_MEAN, .normalise = true};
 *     TFM_TRY(tfm_pooler_new(&p, &o, err));
 *     TFM_TRY(tfm_pooler_take(p, group, 0, rows, n, width, err));    // any number of pieces
 *     const float *vector;                                           // [width]
 *     uint32_t width, n_rows;
 *     TFM_TRY(tfm_pooler_end(p, group, &vector, &width, &n_rows, err));
 *
 * Sums are made in double, row after row in ascending order of position, and rounded once; so
 * pieces of any size give the same bits. Groups may interleave.
 */
#ifndef TFM_POOL_H
#define TFM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "tfm/status.h"

typedef enum tfm_pool_how {
    TFM_POOL_MEAN, /* of all rows */
    TFM_POOL_CLS,  /* the first row */
    TFM_POOL_LAST  /* the last row */
} tfm_pool_how;

typedef struct tfm_pool_options {
    tfm_pool_how how;
    bool normalise; /* divide by the Euclidean norm; a vector of zeros stays as it is */
} tfm_pool_options;

typedef struct tfm_pooler tfm_pooler;
TFM_API tfm_status tfm_pooler_new(tfm_pooler **out, const tfm_pool_options *o,
                                  tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_pooler_free(tfm_pooler *p);
/* Takes rows [n, width] of the group, the first at `position`. Rows must follow each other from
 * position 0, all of one width; CLS and LAST also take a group that goes back, MEAN cannot take
 * rows away again. TFM_RECORD says what is wrong: the group is to be given up. */
TFM_API tfm_status tfm_pooler_take(tfm_pooler *p, uint32_t group, uint32_t position,
                                   const float *rows, uint32_t n, uint32_t width,
                                   tfm_error *err) TFM_MUST_CHECK;
/* The vector of a group, which is then forgotten: *vector [*width] is borrowed until the next call,
 * *n_rows is how many rows it is made of. TFM_RECORD: the group had no row. */
TFM_API tfm_status tfm_pooler_end(tfm_pooler *p, uint32_t group, const float **vector,
                                  uint32_t *width, uint32_t *n_rows, tfm_error *err) TFM_MUST_CHECK;
/* Forgets a group that failed. */
TFM_API void tfm_pooler_drop(tfm_pooler *p, uint32_t group);

#endif
