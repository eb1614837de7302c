/* score.h - what main.c (options, input) and output.c (lines and records) of tfm-score share. */
#ifndef SCORE_H
#define SCORE_H

#include "cli/cli.h"
#include "tfm/infer.h"
#include "tfm/prompts.h"
#include "tfm/score.h"

typedef enum score_form {
    FORM_TOKENS, /* TSV, a line a token */
    FORM_PPL,    /* TSV, a line a group and one for all */
    FORM_SCORES, /* a stream of kind scores */
    FORM_ROWS    /* a stream of kind logits */
} score_form;

typedef struct score_options {
    tfm_engine_options engine;
    tfm_score_options score;
    score_form form;
    uint32_t from;
    const char *given; /* a stream of tokens, or NULL */
} score_options;

/* Where results go: text or a stream. */
typedef struct score_output score_output;

/* Opens the output of the program (-o). */
tfm_status score_output_new(score_output **out, tfm_cli *c, score_form form,
                            tfm_error *err) TFM_MUST_CHECK;
void score_output_free(score_output *o);
/* The writer of a stream, NULL for text: for tfm_cli_finish. */
tfm_writer *score_output_writer(score_output *o);
/* A new stream of the input begins, ends. vocab may be NULL. */
tfm_status score_output_start(score_output *o, const tfm_header *in, const tfm_model *m,
                              const tfm_engine *e, const tfm_vocab *vocab,
                              tfm_error *err) TFM_MUST_CHECK;
tfm_status score_output_end(score_output *o, const tfm_prompts *prompts,
                            tfm_error *err) TFM_MUST_CHECK;
/* Notes a text that was given to the scorer; keeps the records that came with it. */
tfm_status score_output_add(score_output *o, const tfm_prompt *p, tfm_error *err) TFM_MUST_CHECK;
/* Writes one report of the scorer. */
tfm_status score_output_take(score_output *o, const tfm_scored *r, tfm_error *err) TFM_MUST_CHECK;
/* What was written is to be seen now: its reader waits. */
tfm_status score_output_flush(score_output *o, tfm_error *err) TFM_MUST_CHECK;
/* After the last stream: the line for all of it, if it is `complete`; closes a text. o may be
 * NULL. */
tfm_status score_output_close(score_output *o, bool complete, tfm_error *err) TFM_MUST_CHECK;

#endif
