/* bits_generated.h - the ids that a generator gives, against those of a loop that runs one sequence
 * token by token and draws from its logits.
 *
 * Greedy and drawn, with penalties, with several samples of a prompt: by 1, 3 and 32 sequences at
 * once, any row budget, groups added in any order, reported in order or as they come. */
#ifndef TFM_TESTS_BITS_GENERATED_H
#define TFM_TESTS_BITS_GENERATED_H

#include "bits_truth.h"

enum { BITS_GROUPS = 12, BITS_NEW = 14, BITS_SAMPLES = 2 };

typedef struct bits_texts {
    uint32_t length[BITS_GROUPS]; /* of the prompts */
    int32_t id[BITS_GROUPS][BITS_SAMPLES][BITS_NEW];
} bits_texts;

static const tfm_sampling bits_sampling[] = {
    {.temperature = 0},
    {.temperature = 0, .repeat_penalty = 1.4f, .penalty_last = 9},
    {.temperature = 0.8f, .top_p = 0.9f, .seed = 7},
    {.temperature = 1.5f, .top_k = 20, .min_p = 0.02f, .presence_penalty = 0.3f, .seed = 99},
};
enum { BITS_SAMPLINGS = 4 };

/* One row through e; logits [BITS_VOCAB]. */
static inline void bits_one_row(tfm_engine *e, tfm_seq *seq, int32_t token, float *logits) {
    const uint32_t row_start[2] = {0, 1}, position = seq->len, zero = 0;
    tfm_error err;
    if (tfm_seq_extend(tfm_engine_pages(e), seq, position + 1, &err) != TFM_OK) {
        ops_die("pages", &err);
    }
    const uint32_t *page = seq->page;
    const tfm_batch b = {.n_rows = 1,
                         .n_seqs = 1,
                         .row_start = row_start,
                         .token = &token,
                         .position = &position,
                         .page = &page,
                         .out_row = &zero,
                         .n_out = 1,
                         .logits = logits};
    if (tfm_engine_run(e, &b, &err) != TFM_OK) ops_die("run", &err);
}

/* The plain loop. */
static inline void bits_texts_new(bits_texts *x, const bits_truth *t, tfm_model *model,
                                  const tfm_sampling *sampling) {
    tfm_engine *e = bits_engine(model, t, 1, (tfm_model_range){.is_part = false});
    tfm_sampler *sampler;
    float logits[BITS_VOCAB];
    int32_t *ids = ops_alloc((t->n + BITS_NEW) * sizeof *ids);
    uint64_t random = 3;
    tfm_error err;
    if (tfm_sampler_new(&sampler, sampling, BITS_VOCAB, &err) != TFM_OK) ops_die("sampler", &err);
    for (uint32_t g = 0; g < BITS_GROUPS; g++) {
        const uint32_t n = x->length[g] = bits_pick_length(&random, t->n < 130 ? t->n : 130);
        memcpy(ids, t->token[g % BITS_STREAMS], n * sizeof *ids);
        for (uint32_t k = 0; k < BITS_SAMPLES; k++) {
            tfm_seq seq = {0};
            for (uint32_t i = 0; i < n; i++) bits_one_row(e, &seq, ids[i], logits);
            for (uint32_t i = n; i < n + BITS_NEW; i++) {
                if (tfm_sample(sampler, logits, ids, i, g, k, i, &ids[i], &err) != TFM_OK) {
                    ops_die("sample", &err);
                }
                x->id[g][k][i - n] = ids[i];
                bits_one_row(e, &seq, ids[i], logits);
            }
            tfm_seq_release(tfm_engine_pages(e), &seq);
        }
    }
    free(ids);
    tfm_sampler_free(sampler);
    tfm_engine_free(e);
}

static inline tfm_generator *bits_generator(const bits_texts *x, const bits_truth *t,
                                            const bits_way *way, const tfm_sampling *sampling,
                                            tfm_engine *e, tfm_writer *taps) {
    static const uint32_t budget[] = {0, 1, 7, 33};
    uint64_t random = way->seed;
    uint32_t order[BITS_GROUPS];
    const tfm_generate_options o = {.sampling = *sampling,
                                    .has_max_tokens = true,
                                    .max_tokens = BITS_NEW,
                                    .sequences = way->n_seqs,
                                    .tap_out = taps,
                                    .n_samples = BITS_SAMPLES,
                                    .unordered = ops_next(&random) % 2 == 0,
                                    .row_budget = budget[ops_next(&random) % 4]};
    tfm_generator *g;
    tfm_error err;
    if (tfm_generator_new(&g, e, &o, &err) != TFM_OK) ops_die("generator", &err);
    bits_shuffle(order, BITS_GROUPS, &random);
    for (uint32_t i = 0; i < BITS_GROUPS; i++) {
        const uint32_t k = order[i];
        if (tfm_generator_add(g, k, t->token[k % BITS_STREAMS], x->length[k], &err) != TFM_OK) {
            ops_die("add", &err);
        }
    }
    return g;
}

/* How many ids differ, and how many are missing. */
static inline size_t bits_run_generated(const bits_texts *x, const bits_truth *t,
                                        const bits_way *way, const tfm_sampling *sampling) {
    tfm_engine *e = bits_engine(way->model, t, way->threads, (tfm_model_range){.is_part = false});
    const int tap_fd = bits_probe != NULL ? bits_memory_file() : -1;
    tfm_writer *taps = tap_fd >= 0 ? bits_writer(tap_fd, "tensor") : NULL;
    tfm_generator *g = bits_generator(x, t, way, sampling, e, taps);
    size_t wrong = 0, left = BITS_GROUPS * BITS_SAMPLES * BITS_NEW;
    tfm_event ev;
    tfm_status st;
    tfm_error err;
    while ((st = tfm_generator_next(g, &ev, &err)) == TFM_OK) {
        if (ev.type == TFM_EVENT_ERROR) ops_die(ev.message, NULL);
        if (ev.type != TFM_EVENT_TOKEN) continue;
        const uint32_t at = ev.position - x->length[ev.group];
        wrong += at >= BITS_NEW || x->id[ev.group][ev.sample][at] != ev.token;
        left--;
    }
    if (st != TFM_DONE) ops_die("generate", &err);
    tfm_generator_free(g);
    tfm_engine_free(e);
    tfm_writer_free(taps);
    if (tap_fd >= 0) close(tap_fd);
    return wrong + left;
}

#endif
