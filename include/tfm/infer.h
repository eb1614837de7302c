/* infer.h - running a model: evaluate, sample, generate.
 *
 *     tfm_engine *e;
 *     tfm_engine_options eo = {.device = "auto"};
 *     TFM_TRY(tfm_engine_new(&e, model, &eo, err));
 *
 *     tfm_generator *g;
 *     tfm_generate_options go = {.has_max_tokens = true, .max_tokens = 64};
 *     TFM_TRY(tfm_generator_new(&g, e, &go, err));
 *     TFM_TRY(tfm_generator_add(g, 0, ids, n_ids, err));         // group 0
 *     tfm_event ev;
 *     while ((st = tfm_generator_next(g, &ev, err)) == TFM_OK)
 *         if (ev.type == TFM_EVENT_TOKEN) use(ev.token);
 *     // TFM_DONE: nothing is open any more; add more or free
 *
 * Results depend on (model, numerics, prompt, options, seed, group, sample) and on nothing else:
 * not on what else is in the batch, on threads, or on time.
 */
#ifndef TFM_INFER_H
#define TFM_INFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/model.h"
#include "tfm/status.h"
#include "tfm/stream.h"

/* ---- sampling: the one module ---- */

typedef struct tfm_sampling {
    float temperature;       /* 0: greedy (lowest id wins a tie); default 0 */
    uint32_t top_k;          /* 0: off */
    float top_p;             /* 1 or 0: off; smallest set whose probability is >= top_p */
    float min_p;             /* 0: off; keep p >= min_p * max p */
    float repeat_penalty;    /* 1 or 0: off; logits > 0 divided, <= 0 multiplied */
    float presence_penalty;  /* subtracted once if the id occurred */
    float frequency_penalty; /* subtracted per occurrence */
    uint32_t penalty_last;   /* how many last ids count; 0: all */
    uint64_t seed;
} tfm_sampling;

typedef struct tfm_sampler tfm_sampler; /* scratch for one thread */
TFM_API tfm_status tfm_sampler_new(tfm_sampler **out, const tfm_sampling *s, uint32_t n_vocab,
                                   tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_sampler_free(tfm_sampler *s);
/* Draws the id that follows. logits: [n_vocab], not changed. history: the ids so far (prompt and
 * generated). position: that of the new token. Order: penalties, temperature, top-k, top-p, min-p,
 * draw. A NaN logit is TFM_RECORD. */
TFM_API tfm_status tfm_sample(tfm_sampler *s, const float *logits, const int32_t *history,
                              size_t n_history, uint32_t group, uint32_t sample, uint32_t position,
                              int32_t *id, tfm_error *err) TFM_MUST_CHECK;

/* ---- engine: a model on a device ---- */

/* What of the model runs: a range of the steps. Zeroes: all of it. */
typedef struct tfm_model_range {
    bool is_part;
    bool has_embed, has_head;        /* the steps before the blocks, those behind */
    uint32_t first_block, end_block; /* [first, end) */
} tfm_model_range;

typedef struct tfm_engine_options {
    const char *device; /* NULL: "auto" */
    unsigned threads;   /* 0: what the process may use */
    uint32_t ctx;       /* 0: min(the model's, 4096) */
    tfm_dtype kv_type;  /* f16, f32, q8_0; 0: f32 if all linear weights are f32, else f16 */
    tfm_model_range range;
    uint64_t kv_bytes; /* budget of the cache; 0: no limit but memory */
    bool prefix_cache; /* keep full pages of what was computed for prompts that begin alike, as
                                long as kv_bytes allows; not with a probe */
    struct tfm_probe *probe; /* taps and interventions (probe.h), borrowed; or NULL */
} tfm_engine_options;

typedef struct tfm_engine tfm_engine;
/* Borrows model. Compiles its description, prepares weights. */
TFM_API tfm_status tfm_engine_new(tfm_engine **out, tfm_model *model, const tfm_engine_options *o,
                                  tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_engine_free(tfm_engine *e);
TFM_API uint32_t tfm_engine_ctx(const tfm_engine *e);
TFM_API uint32_t tfm_engine_n_vocab(const tfm_engine *e);
TFM_API uint32_t tfm_engine_width(const tfm_engine *e); /* of the residual stream */
/* For the header's `numerics` key: "cpu generic kv=f16 ctx=512". */
TFM_API const char *tfm_engine_numerics(const tfm_engine *e);
/* One pass over one sequence from an empty cache; logits of every row: [n, n_vocab]. */
TFM_API tfm_status tfm_engine_logits(tfm_engine *e, const int32_t *ids, size_t n, float *logits,
                                     tfm_error *err) TFM_MUST_CHECK;

/* ---- generation ---- */

typedef struct tfm_generate_options {
    tfm_sampling sampling;
    bool has_max_tokens;     /* false: until an end token or the context */
    uint32_t max_tokens;     /* new tokens of a sample, 0 allowed */
    uint32_t sequences;      /* -b: samples in flight at once; 0: 64 */
    uint32_t n_samples;      /* -N: K samples of each group, 0 and 1 are one */
    bool unordered;          /* events of any group as they come, not group after group */
    bool ignore_eog;         /* go on after an end token */
    const char *const *stop; /* stop strings (bytes), need a vocabulary */
    size_t n_stop;
    uint32_t row_budget; /* rows of one batch; 0: 512 */
    /* Where the taps of the engine's probe go (probe.h), sample after sample as END and ERROR
     * events are given out; GROUP-END and ERROR records are the caller's. Needed if there are taps:
     * then a prompt runs even where no token is asked for. */
    tfm_writer *tap_out;
} tfm_generate_options;

typedef enum tfm_event_type {
    TFM_EVENT_TOKEN, /* one new token of (group, sample) at position */
    TFM_EVENT_END,   /* the sample is complete: end says how */
    TFM_EVENT_ERROR  /* the sample failed: message; an END event does not follow */
} tfm_event_type;
typedef struct tfm_event {
    tfm_event_type type;
    uint32_t group, sample;
    uint32_t position; /* of the token; at END: length of the sequence */
    int32_t token;
    tfm_end end;
    const char *message; /* ERROR: borrowed until the next call */
    struct tfm_cache
        *cache; /* END of sample 0 of a group added with `keep`, else NULL: the rows that
                                were computed, the caller's to free (cache.h) */
} tfm_event;

typedef struct tfm_generator tfm_generator;
TFM_API tfm_status tfm_generator_new(tfm_generator **out, tfm_engine *e,
                                     const tfm_generate_options *o, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_generator_free(tfm_generator *g);
/* Adds a prompt (copied). An empty prompt, one that does not fit the context or the cache's budget,
 * or an id outside the vocabulary becomes an ERROR event of that group, sample 0 first. Groups are
 * reported in the order added, samples of a group ascending. */
TFM_API tfm_status tfm_generator_add(tfm_generator *g, uint32_t group, const int32_t *ids, size_t n,
                                     tfm_error *err) TFM_MUST_CHECK;
/* The same for a prompt that may begin as `from` does (cache.h, only used during the call; NULL:
 * nothing is known): the rows of the tokens that both begin with are not computed again. keep: the
 * rows of sample 0 come with its END event; then a prompt runs even where no token is asked for. */
TFM_API tfm_status tfm_generator_add_from(tfm_generator *g, uint32_t group, const int32_t *ids,
                                          size_t n, const struct tfm_cache *from, bool keep,
                                          tfm_error *err) TFM_MUST_CHECK;
/* A group that failed before it got here: keeps its place in the order. */
TFM_API tfm_status tfm_generator_add_failed(tfm_generator *g, uint32_t group, const char *message,
                                            tfm_error *err) TFM_MUST_CHECK;
/* Groups added and not yet wholly reported: a caller bounds memory by them. */
TFM_API size_t tfm_generator_open(const tfm_generator *g);
/* Samples that are not computed to their end: with fewer than `sequences` there is room for
 * more. */
TFM_API size_t tfm_generator_unfinished(const tfm_generator *g);
/* Would tfm_generator_next return at once, without computing? A caller flushes when not. */
TFM_API bool tfm_generator_ready(const tfm_generator *g);
/* Computes one batch, if anything is unfinished: a row of each sequence that goes on, and rows of
 * prompts up to the row budget. Groups may be added between two steps; they join at the next. */
TFM_API tfm_status tfm_generator_step(tfm_generator *g, tfm_error *err) TFM_MUST_CHECK;
/* The next event; computes when none is ready. A token is held back while it may be part of a stop
 * string. Where a stop string begins inside a token, that token is replaced by ids that spell the
 * part before it, so that the text is cut exactly. TFM_DONE when no group is open. */
TFM_API tfm_status tfm_generator_next(tfm_generator *g, tfm_event *ev,
                                      tfm_error *err) TFM_MUST_CHECK;

/* What was done so far, and what is held now. */
typedef struct tfm_generator_stats {
    uint64_t steps;
    uint64_t rows;        /* computed */
    uint64_t shared_rows; /* taken from the prefix cache instead */
    uint64_t preempted;   /* times that a sample lost its pages, to be computed again */
    size_t running, waiting;
    uint32_t pages, peak_pages; /* of the engine: in use, and the most that ever were */
    uint64_t page_bytes;
} tfm_generator_stats;
TFM_API void tfm_generator_get_stats(const tfm_generator *g, tfm_generator_stats *stats);

#endif
