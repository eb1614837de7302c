/* generate_internal.h - what generate.c (prompts in, events out) and schedule.c (steps) share.
 *
 * A job is one group with its samples; a sample is one sequence. Samples have an order: jobs as
 * they were added, samples of a job ascending. "Older" means earlier in it.
 */
#ifndef TFM_GENERATE_INTERNAL_H
#define TFM_GENERATE_INTERNAL_H

#include "arch/arch_internal.h"
#include "infer/infer_internal.h"
#include "infer/prefix_internal.h"

typedef enum sample_state {
    SAMPLE_WAITING, /* not in flight: not yet, or its pages were taken away */
    SAMPLE_RUNNING,
    SAMPLE_DONE
} sample_state;

typedef struct sample_run {
    sample_state state;
    tfm_seq seq;
    tfm_ids ids; /* prompt and all that was drawn */
    tfm_stop *stop;
    tfm_ids ready; /* certain, in order */
    size_t taken;  /* of ready, reported */
    uint32_t n_new;
    uint32_t n_rows;  /* rows that are wanted in the end, while `is_settled`; else all ids */
    bool is_put_off;  /* was DONE and lost its rows: they come again when it is its turn */
    bool is_settled;  /* nothing is drawn any more: the rows are computed for taps or a cache */
    tfm_end end;      /* once settled or DONE */
    char *message;    /* or why it failed */
    bool is_reported; /* END or ERROR was handed out */
    tfm_buf taps;     /* rows kept and not written yet */
    uint32_t tap_first, n_tap_rows;
    uint32_t tap_next; /* rows before this position are kept already, or are not its own */
    /* its pages in the table of prefixes */
    tfm_prefix_node *node; /* of its first n_known pages, which are the table's */
    uint32_t n_known;
    tfm_prefix_node *announced; /* the last that it has announced and not filled */
    uint32_t n_announced;       /* end of that, in pages; 0: nothing */
} sample_run;

typedef struct job {
    uint32_t group;
    uint32_t n_prompt;
    bool keep; /* the rows of sample 0 go out with its END */
    uint32_t n_unreported;
    sample_run *sample; /* [n_samples] */
} job;

/* A sample by its place. */
typedef struct sample_ref {
    job *job;
    uint32_t sample;
} sample_ref;

struct tfm_generator {
    tfm_engine *engine;
    const tfm_vocab *vocab;    /* or NULL */
    tfm_generation generation; /* what the description says of begin and end */
    tfm_generate_options options;
    tfm_sampler *sampler;
    tfm_stop_set *stops;
    uint32_t ctx, n_vocab;
    job **jobs; /* [n_jobs], arrival order; [0, first) are gone */
    size_t cap, n_jobs, first;
    size_t next_admit;   /* no sample before those of this job waits */
    size_t end_admit;    /* none of this job and those behind it has been let in */
    uint64_t promised;   /* pages that running samples were let in with and have not taken */
    size_t cursor;       /* unordered: where to look next */
    uint32_t active;     /* samples running */
    size_t n_unfinished; /* samples waiting or running */
    tfm_generator_stats stats;
    /* one batch */
    int32_t *token;        /* [rows] */
    uint32_t *position;    /* [rows] */
    uint32_t *row_start;   /* [rows + 1] */
    const uint32_t **page; /* [rows] */
    uint32_t *out_row;     /* [rows] */
    uint32_t *group;       /* [rows] of each sequence, as it is written */
    sample_ref *out_owner; /* [rows] of each row that wants logits */
    sample_ref *seq_owner; /* [rows] of each sequence */
    float *logits;         /* [logits_cap] */
    size_t logits_cap;
    char *message; /* of the last ERROR event */
};

/* ---- schedule.c ---- */

/* One batch: admits, computes, draws. *is_idle: there was nothing to compute. */
tfm_status tfm_schedule_step(tfm_generator *g, bool *is_idle, tfm_error *err) TFM_MUST_CHECK;
/* The sample has ended; its pages go back unless they are kept. */
void tfm_sample_done(tfm_generator *g, job *j, sample_run *s, tfm_end end);
tfm_status tfm_sample_fail(tfm_generator *g, job *j, sample_run *s, const char *message,
                           tfm_error *err) TFM_MUST_CHECK;
/* Its pages and what it has announced go back. */
void tfm_sample_release(tfm_generator *g, sample_run *s);

#endif
