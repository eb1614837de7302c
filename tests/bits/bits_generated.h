/* bits_generated.h - the ids that a generator gives, against those of a loop that runs one sequence
 * token by token and draws from its logits.
 *
 * Greedy and drawn, with penalties and stop strings, with several samples of a prompt: by 1, 3 and
 * 32 sequences at once, any row budget, a cache of any size or just large enough for one group,
 * groups added in any order, reported in order or as they come. */
#ifndef TFM_TESTS_BITS_GENERATED_H
#define TFM_TESTS_BITS_GENERATED_H

#include "bits_truth.h"

enum { BITS_GROUPS = 12, BITS_NEW = 14, BITS_SAMPLES = 2, BITS_PROMPT = 65 };

typedef struct bits_text {
    uint32_t n;
    int32_t id[BITS_NEW];
    tfm_end end;
} bits_text;

typedef struct bits_texts {
    uint32_t length[BITS_GROUPS]; /* of the prompts */
    bits_text text[BITS_GROUPS][BITS_SAMPLES];
    char stop[2][8];          /* strings that occur in some of the texts */
    const char *stop_list[2]; /* the same, as generators borrow them */
} bits_texts;

typedef struct bits_drawing {
    const char *name;
    tfm_sampling sampling;
    bool stops;
} bits_drawing;

static const bits_drawing bits_drawings[] = {
    {"greedy", {.temperature = 0}, false},
    {"greedy with a repeat penalty", {.repeat_penalty = 1.4f, .penalty_last = 9}, false},
    {"top-p with a seed", {.temperature = 0.8f, .top_p = 0.9f, .seed = 7}, false},
    {"top-k, min-p, penalties",
     {.temperature = 1.5f,
      .top_k = 20,
      .min_p = 0.02f,
      .presence_penalty = 0.3f,
      .frequency_penalty = 0.1f,
      .seed = 99},
     false},
    {"greedy with stop strings", {.temperature = 0}, true},
    {"top-p, a penalty, stop strings",
     {.temperature = 1.3f, .top_p = 0.95f, .repeat_penalty = 1.2f, .seed = 3},
     true},
};
enum { BITS_DRAWINGS = 6 };

/* How a generator is run. */
typedef struct bits_manner {
    const bits_drawing *drawing;
    uint32_t row_budget; /* 0: the default */
    bool unordered;
    bool tight; /* the cache holds one group, no more */
} bits_manner;

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

/* The plain loop. Always BITS_NEW tokens. */
static inline void bits_texts_draw(bits_texts *x, const bits_truth *t, tfm_model *model,
                                   const tfm_sampling *sampling) {
    tfm_engine *e = bits_engine(model, t, 1, (tfm_model_range){.is_part = false});
    tfm_sampler *sampler;
    float logits[BITS_VOCAB];
    int32_t ids[BITS_PROMPT + BITS_NEW];
    uint64_t random = 3;
    tfm_error err;
    if (tfm_sampler_new(&sampler, sampling, BITS_VOCAB, &err) != TFM_OK) ops_die("sampler", &err);
    for (uint32_t g = 0; g < BITS_GROUPS; g++) {
        const uint32_t known = t->n[g % BITS_STREAMS];
        const uint32_t n = bits_pick_length(&random, known < BITS_PROMPT ? known : BITS_PROMPT);
        x->length[g] = n;
        memcpy(ids, t->token[g % BITS_STREAMS], n * sizeof *ids);
        tfm_seq prompt = {0};
        for (uint32_t i = 0; i < n; i++) bits_one_row(e, &prompt, ids[i], logits);
        for (uint32_t k = 0; k < BITS_SAMPLES; k++) {
            float last[BITS_VOCAB];
            tfm_seq seq = {0};
            memcpy(last, logits, sizeof last);
            if (tfm_seq_fork(tfm_engine_pages(e), &seq, &prompt, n, &err) != TFM_OK) {
                ops_die("fork", &err);
            }
            for (uint32_t i = n; i < n + BITS_NEW; i++) {
                if (tfm_sample(sampler, last, ids, i, g, k, i, &ids[i], &err) != TFM_OK) {
                    ops_die("sample", &err);
                }
                x->text[g][k].id[i - n] = ids[i];
                bits_one_row(e, &seq, ids[i], last);
            }
            x->text[g][k].n = BITS_NEW;
            x->text[g][k].end = TFM_END_LENGTH;
            tfm_seq_release(tfm_engine_pages(e), &seq);
        }
        tfm_seq_release(tfm_engine_pages(e), &prompt);
    }
    tfm_sampler_free(sampler);
    tfm_engine_free(e);
}

/* Cuts a text where a stop string begins, as soon as one is complete. */
static inline void bits_text_cut(const bits_texts *x, const bits_model *m, bits_text *text) {
    char spelled[2 * BITS_NEW + 1] = "";
    size_t begin[BITS_NEW];
    for (uint32_t i = 0; i < text->n; i++) {
        begin[i] = strlen(spelled);
        strcat(spelled, m->piece[text->id[i]]);
        const char *cut = NULL;
        for (int k = 0; k < 2; k++) {
            const char *at = strstr(spelled, x->stop[k]);
            if (at != NULL && (cut == NULL || at < cut)) cut = at;
        }
        if (cut == NULL) continue;
        const size_t end = (size_t)(cut - spelled);
        text->end = TFM_END_STOP;
        text->n = 0;
        for (uint32_t j = 0; j <= i && begin[j] < end; j++) {
            const bool whole = begin[j] + strlen(m->piece[text->id[j]]) <= end;
            text->n++;
            if (!whole) text->id[j] = m->piece[text->id[j]][0] - '0'; /* its first letter */
        }
        return;
    }
}

static inline void bits_texts_new(bits_texts *x, const bits_truth *t, const bits_model *m,
                                  const bits_drawing *d) {
    bits_texts_draw(x, t, m->model, &d->sampling);
    for (int i = 0; i < 2; i++) x->stop_list[i] = x->stop[i];
    if (d->stops) {
        const int32_t *a = x->text[0][0].id, *b = x->text[1][0].id;
        snprintf(x->stop[0], sizeof x->stop[0], "%s%s", m->piece[a[4]], m->piece[a[5]]);
        snprintf(x->stop[1], sizeof x->stop[1], "%s", m->piece[b[9]] + strlen(m->piece[b[9]]) - 1);
    }
    for (int i = 0; i < BITS_GROUPS * BITS_SAMPLES; i++) {
        bits_text *text = &x->text[i / BITS_SAMPLES][i % BITS_SAMPLES];
        if (d->stops) bits_text_cut(x, m, text);
        bits_digest = tfm_crc32(bits_digest, text->id, text->n * sizeof *text->id);
    }
}

static inline tfm_generator *bits_generator(const bits_texts *x, const bits_truth *t,
                                            const bits_way *way, const bits_manner *how,
                                            tfm_engine *e, tfm_writer *taps) {
    uint64_t random = way->seed;
    uint32_t order[BITS_GROUPS];
    const tfm_generate_options o = {.sampling = how->drawing->sampling,
                                    .has_max_tokens = true,
                                    .max_tokens = BITS_NEW,
                                    .sequences = way->n_seqs,
                                    .stop = x->stop_list,
                                    .n_stop = how->drawing->stops ? 2 : 0,
                                    .tap_out = taps,
                                    .n_samples = BITS_SAMPLES,
                                    .unordered = how->unordered,
                                    .row_budget = how->row_budget};
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

/* An engine whose cache is just as large as the longest group needs it. */
static inline tfm_engine *bits_tight_engine(const bits_truth *t, const bits_way *way) {
    const tfm_model_range all = {.is_part = false};
    const uint64_t pages = (BITS_PROMPT + BITS_NEW + TFM_KV_PAGE - 1) / TFM_KV_PAGE * BITS_SAMPLES;
    tfm_engine *e = bits_engine(way->model, t, way->threads, all);
    bits_kv_bytes = pages * tfm_engine_backend(e)->ops->kv_page_bytes(tfm_engine_kv(e));
    tfm_engine_free(e);
    e = bits_engine(way->model, t, way->threads, all);
    bits_kv_bytes = 0;
    return e;
}

/* How many ids and ends differ, or are missing. */
static inline size_t bits_run_generated(const bits_texts *x, const bits_truth *t,
                                        const bits_way *way, const bits_manner *how) {
    tfm_engine *e =
        how->tight ? bits_tight_engine(t, way)
                   : bits_engine(way->model, t, way->threads, (tfm_model_range){.is_part = false});
    const int tap_fd = bits_probe != NULL ? bits_memory_file() : -1;
    tfm_writer *taps = tap_fd >= 0 ? bits_writer(tap_fd, "tensor") : NULL;
    tfm_generator *g = bits_generator(x, t, way, how, e, taps);
    uint32_t seen[BITS_GROUPS][BITS_SAMPLES] = {{0}};
    size_t wrong = 0, left = BITS_GROUPS * BITS_SAMPLES;
    tfm_event ev;
    tfm_status st;
    tfm_error err;
    while ((st = tfm_generator_next(g, &ev, &err)) == TFM_OK) {
        if (ev.type == TFM_EVENT_ERROR) ops_die(ev.message, NULL);
        const bits_text *want = &x->text[ev.group][ev.sample];
        uint32_t *n = &seen[ev.group][ev.sample];
        if (ev.type == TFM_EVENT_TOKEN) {
            bits_ids++;
            wrong += ev.position != x->length[ev.group] + *n || *n >= want->n ||
                     want->id[*n] != ev.token;
            ++*n;
        } else {
            wrong += ev.end != want->end || *n != want->n;
            left--;
        }
    }
    if (st != TFM_DONE) ops_die("generate", &err);
    tfm_generator_free(g);
    tfm_engine_free(e);
    tfm_writer_free(taps);
    if (tap_fd >= 0) close(tap_fd);
    return wrong + left;
}

#endif
