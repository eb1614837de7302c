/* run.h - what main.c (options) and output.c (records) of tfm-run share. */
#ifndef RUN_H
#define RUN_H

#include "cli/cli.h"
#include "tfm/infer.h"
#include "tfm/prompts.h"

typedef struct run_options {
    tfm_engine_options engine;
    tfm_generate_options generate;
    bool echo;
} run_options;

/* Prompts that were given to the generator and are not wholly written, in that order. */
typedef struct run_output run_output;

tfm_status run_output_new(run_output **out, tfm_cli *cli, tfm_writer *w, const run_options *o,
                          tfm_error *err) TFM_MUST_CHECK;
void run_output_free(run_output *out);
/* Notes the prompt (copies what is needed later). */
tfm_status run_output_add(run_output *out, const tfm_prompt *p, tfm_error *err) TFM_MUST_CHECK;
/* Writes what the event stands for. */
tfm_status run_output_event(run_output *out, const tfm_event *ev, tfm_error *err) TFM_MUST_CHECK;

#endif
