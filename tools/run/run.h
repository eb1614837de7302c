/* run.h - what main.c (options) and output.c (records) of tfm-run share. */
#ifndef RUN_H
#define RUN_H

#include "cli/cli.h"
#include "tfm/cache.h"
#include "tfm/infer.h"
#include "tfm/prompts.h"

typedef struct run_options {
    tfm_engine_options engine;
    tfm_generate_options generate;
    bool echo;
    const char *load_cache, *save_cache; /* files, or NULL */
    struct run_caches *caches;           /* made once the engine is there */
} run_options;

/* ---- caches.c: computed prompts that are kept ---- */

typedef struct run_caches run_caches;
/* Reads --load-cache. To be freed before the engine. */
tfm_status run_caches_new(run_caches **out, tfm_cli *cli, const run_options *o, tfm_engine *e,
                          tfm_error *err) TFM_MUST_CHECK;
void run_caches_free(run_caches *c);
/* A stream begins. */
tfm_status run_caches_start(run_caches *c, bool has_turns, tfm_error *err) TFM_MUST_CHECK;
/* Gives a prompt to the generator, with what is known of it. */
tfm_status run_caches_add(run_caches *c, tfm_generator *g, const tfm_prompt *p,
                          tfm_error *err) TFM_MUST_CHECK;
/* Was the group ended by an error while its writer goes on? */
bool run_caches_dropped(const run_caches *c, uint32_t group);
/* Sees every event; takes over its cache. */
tfm_status run_caches_event(run_caches *c, tfm_prompts *prompts, const tfm_event *ev,
                            tfm_error *err) TFM_MUST_CHECK;
/* A group of turns has ended, after *length tokens. */
tfm_status run_caches_end(run_caches *c, uint32_t group, uint32_t *length,
                          tfm_error *err) TFM_MUST_CHECK;
/* Completes --save-cache, at the end of everything. */
tfm_status run_caches_save(run_caches *c, tfm_error *err) TFM_MUST_CHECK;

/* ---- output.c ---- */

/* Prompts that were given to the generator and are not wholly written, in that order. */
typedef struct run_output run_output;

tfm_status run_output_new(run_output **out, tfm_cli *cli, tfm_writer *w, const run_options *o,
                          tfm_error *err) TFM_MUST_CHECK;
void run_output_free(run_output *out);
/* Notes the prompt (copies what is needed later). */
tfm_status run_output_add(run_output *out, const tfm_prompt *p, tfm_error *err) TFM_MUST_CHECK;
/* A group of turns has ended: what came with its end, and GROUP-END. */
tfm_status run_output_end(run_output *out, const tfm_prompt *p, uint32_t length,
                          tfm_error *err) TFM_MUST_CHECK;
/* The stream has ended: its records behind the last group. */
tfm_status run_output_rest(run_output *out, const tfm_prompts *prompts,
                           tfm_error *err) TFM_MUST_CHECK;
/* Writes what the event stands for. */
tfm_status run_output_event(run_output *out, const tfm_event *ev, tfm_error *err) TFM_MUST_CHECK;

#endif
