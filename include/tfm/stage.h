/* stage.h - a range of a Transformer as a filter: records in, records out, a cache for each group.
 *
 *     tfm_stage_options o = {.part = TFM_PART_BLOCKS, .first_block = 0, .end_block = 16};
 *     TFM_TRY(tfm_stage_new(&s, model, &o, tfm_reader_header(r), err));
 *     TFM_TRY(tfm_stage_header(s, h, err));                 // kind, model, next-block, numerics
 *     TFM_TRY(tfm_writer_header(w, h, err));
 *     TFM_TRY(tfm_stage_run(s, r, w, err));                 // to END, END included
 *
 * What tfm-embed, tfm-attend and tfm-unembed have in common. Records are gathered until FLUSH, END
 * or the row budget, run as one batch and written in input order with their flags; what is gathered
 * together never changes a result. Records that the stage does not consume pass through in their
 * place. A group that cannot go on (a gap between positions, the context, an unknown id) becomes an
 * ERROR record and GROUP-END, the others go on.
 */
#ifndef TFM_STAGE_H
#define TFM_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "tfm/infer.h"
#include "tfm/model.h"
#include "tfm/status.h"
#include "tfm/stream.h"

typedef enum tfm_part {
    TFM_PART_EMBED,  /* tokens i32 [n] -> hidden f32 [n, width]; the tokens are passed on, too */
    TFM_PART_BLOCKS, /* hidden [n, width] -> hidden [n, width] */
    TFM_PART_HEAD    /* hidden [n, width] -> logits f32 [1, vocabulary] of the row with flag LAST */
} tfm_part;

typedef struct tfm_stage_options {
    tfm_part part;
    uint32_t first_block, end_block; /* BLOCKS: [first, end); end 0: to the last */
    bool all_rows;                   /* HEAD: logits of every row */
    bool any_block;                  /* HEAD: a stream before any block will do (logit lens) */
    tfm_engine_options engine;       /* ctx 0: that of the input's `numerics`, else the default */
    uint32_t row_budget;             /* rows that end a batch; 0: 512 */
    const char *program;             /* name for ERROR records */
    /* Told of each group that fails here (not of those that failed before); may be NULL. */
    void (*failed)(void *ctx, uint32_t group, const char *why);
    void *ctx;           /* of failed */
    tfm_writer *tap_out; /* where the taps of engine.probe go; with it GROUP-END, FORK
                                        and ERROR records, END is the caller's */
} tfm_stage_options;

typedef struct tfm_stage tfm_stage;

/* Borrows model. `in` is the input's header: kind, model, next-block, side and context must fit,
 * else TFM_MISMATCH that names both. */
TFM_API tfm_status tfm_stage_new(tfm_stage **out, tfm_model *model, const tfm_stage_options *o,
                                 const tfm_header *in, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_stage_free(tfm_stage *s);
/* Checks the header of a further stream of the same input; groups start anew. */
TFM_API tfm_status tfm_stage_restart(tfm_stage *s, const tfm_header *in,
                                     tfm_error *err) TFM_MUST_CHECK;
/* Sets in h what this stage's output is. */
TFM_API tfm_status tfm_stage_header(const tfm_stage *s, tfm_header *h,
                                    tfm_error *err) TFM_MUST_CHECK;
/* The present stream of r to its END; everything goes to w, END included. */
TFM_API tfm_status tfm_stage_run(tfm_stage *s, tfm_reader *r, tfm_writer *w,
                                 tfm_error *err) TFM_MUST_CHECK;
/* Groups that failed so far, here or before. */
TFM_API uint64_t tfm_stage_n_failed(const tfm_stage *s);
/* The context that a header's `numerics` name, 0 if none. */
TFM_API uint32_t tfm_header_ctx(const tfm_header *h);

/* ---- the same by hand, for a stage that has more than one input ---- */

/* Takes one record (payload copied) as if it had come in; runs and writes when its flags, or the
 * row budget, say so. */
TFM_API tfm_status tfm_stage_take(tfm_stage *s, const tfm_record *rec, const void *payload,
                                  tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;
/* Runs what is gathered and writes it. */
TFM_API tfm_status tfm_stage_flush(tfm_stage *s, tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;

#endif
