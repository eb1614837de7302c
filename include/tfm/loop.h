/* loop.h - the generation loop as a pipe, seen from its first stage.
 *
 *     tfm_loop_options o = {.sequences = 32, .program = "tfm-embed"};
 *     TFM_TRY(tfm_loop_run(stage, prompts, loop, w, &o, &is_cut, err));   // to END, END included
 *
 *     prompts --> embed --> attend ... --> unembed --> sample --> tee --> detok
 *                   ^                                              |
 *                   +-------------------- loop --------------------+
 *
 * Goes in rounds, so that what runs together never depends on timing: one record of every open
 * group (a whole prompt for one that is new, the last token for the others), the last one with
 * FLUSH, every one with LAST; then the loop is read until the record with FLUSH has come back. A
 * group that ended there frees its place, and its GROUP-END goes down the pipe, so that every stage
 * frees its cache.
 */
#ifndef TFM_LOOP_H
#define TFM_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "tfm/prompts.h"
#include "tfm/stage.h"
#include "tfm/status.h"
#include "tfm/stream.h"

typedef struct tfm_loop_options {
    uint32_t sequences;  /* groups open at once; 0: 64 */
    uint32_t row_budget; /* rows of prompts in one round, of several prompts; 0: 512 */
    const char *program; /* name for ERROR records */
} tfm_loop_options;

/* Bytes that one open group may have in the loop at once: its token and its GROUP-END. */
#define TFM_LOOP_BYTES 320u

/* One stream: s is an embedding stage and w has its header; the present stream of `loop` is read
 * from its header, after the first round was written, to its END. *is_cut: it was the loop that
 * ended early (TFM_TRUNCATED), so that a stage behind was lost or its reader left. */
TFM_API tfm_status tfm_loop_run(tfm_stage *s, tfm_prompts *prompts, tfm_reader *loop, tfm_writer *w,
                                const tfm_loop_options *o, bool *is_cut,
                                tfm_error *err) TFM_MUST_CHECK;

/* Without a loop: every prompt goes through s once, as a group that is left open; END included. For
 * what must be whole before it can be tokenized (raw bytes). */
TFM_API tfm_status tfm_stage_prompts(tfm_stage *s, tfm_prompts *prompts, tfm_writer *w,
                                     const char *program, tfm_error *err) TFM_MUST_CHECK;

#endif
