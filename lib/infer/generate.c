/* generate.c - the generation loop: admission, batches, draws, events in order.
 *
 *     add -> [waiting jobs] -> admit -> [active samples: prefill, decode] -> ready ids -> next
 *
 * A job is one group with its K samples; a sample is one sequence. Each step takes one row of every
 * decoding sample and fills the rest of the row budget with prompt rows, in order of arrival. What is
 * in a batch never changes a result, so admission is free to follow memory. Sample 0 computes the
 * prompt; the others fork its cache.
 *
 * Events wait with their sample until it is its turn (or, unordered, until somebody asks); what is
 * drawn but may still belong to a stop string waits in the sample's matcher.
 */
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "infer/infer_internal.h"
#include "tfm/cache.h"

#define DEFAULT_SEQUENCES 64u
#define DEFAULT_ROWS 512u
#define MAX_SAMPLES 65536u

typedef enum sample_state {
    SAMPLE_WAITING,
    SAMPLE_PREFILL,
    SAMPLE_DECODE,
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
    tfm_end end;         /* once DONE */
    char *message;       /* or why it failed */
    bool is_reported;    /* END or ERROR was handed out */
    bool is_prompt_only; /* the prompt runs for its taps, then `end` */
    tfm_buf taps;        /* rows kept and not written yet */
    uint32_t tap_first, n_tap_rows;
} sample_run;

typedef struct job {
    uint32_t group;
    uint32_t n_prompt;
    uint32_t reserved; /* pages set aside while active */
    bool keep;         /* the rows of sample 0 go out with its END */
    uint32_t n_open;   /* samples not DONE */
    uint32_t n_unreported;
    sample_run *sample; /* [n_samples] */
} job;

struct tfm_generator {
    tfm_engine *engine;
    const tfm_vocab *vocab;    /* or NULL */
    tfm_generation generation; /* what the description says of begin and end */
    tfm_generate_options opt;
    tfm_sampler *sampler;
    tfm_stop_set *stops;
    uint32_t ctx, n_vocab;
    job **jobs; /* [n_jobs], arrival order; [0, first) are gone */
    size_t cap, n_jobs, first, next_admit;
    size_t cursor;   /* unordered: where to look next */
    uint32_t active; /* samples in flight */
    uint64_t reserved;
    /* one batch */
    int32_t *token;        /* [rows] */
    uint32_t *position;    /* [rows] */
    uint32_t *row_start;   /* [rows + 1] */
    const uint32_t **page; /* [rows] */
    uint32_t *out_row;     /* [rows] */
    uint32_t *group;       /* [rows] of each sequence, as it is written */
    struct owner {
        job *job;
        uint32_t sample;
    } * out_owner, *seq_owner; /* [rows] of each row that wants logits, of each sequence */
    float *logits;             /* [logits_cap] */
    size_t logits_cap;
    char *message; /* of the last ERROR event */
};

/* ---- making and freeing ---- */

static void job_free(tfm_generator *g, job *j) {
    if (!j) return;
    for (uint32_t i = 0; j->sample && i < g->opt.n_samples; i++) {
        sample_run *s = &j->sample[i];
        tfm_seq_release(tfm_engine_pages(g->engine), &s->seq);
        tfm_ids_free(&s->ids);
        tfm_ids_free(&s->ready);
        tfm_stop_free(s->stop);
        tfm_buf_free(&s->taps);
        tfm_free(s->message);
    }
    tfm_free(j->sample);
    tfm_free(j);
}

void tfm_generator_free(tfm_generator *g) {
    if (!g) return;
    for (size_t i = g->first; i < g->n_jobs; i++) job_free(g, g->jobs[i]);
    tfm_free(g->jobs);
    tfm_sampler_free(g->sampler);
    tfm_stop_set_free(g->stops);
    tfm_generation_free(&g->generation);
    tfm_free(g->token);
    tfm_free(g->position);
    tfm_free(g->row_start);
    tfm_free((void *)g->page);
    tfm_free(g->out_row);
    tfm_free(g->out_owner);
    tfm_free(g->seq_owner);
    tfm_free(g->group);
    tfm_free(g->logits);
    tfm_free(g->message);
    tfm_free(g);
}

static tfm_status alloc_batch(tfm_generator *g, tfm_error *err) {
    size_t n = g->opt.row_budget;

    TFM_TRY(tfm_alloc((void **)&g->token, n, sizeof *g->token, err));
    TFM_TRY(tfm_alloc((void **)&g->position, n, sizeof *g->position, err));
    TFM_TRY(tfm_alloc((void **)&g->row_start, n + 1, sizeof *g->row_start, err));
    TFM_TRY(tfm_alloc((void **)&g->page, n, sizeof *g->page, err));
    TFM_TRY(tfm_alloc((void **)&g->out_row, n, sizeof *g->out_row, err));
    TFM_TRY(tfm_alloc((void **)&g->group, n, sizeof *g->group, err));
    TFM_TRY(tfm_alloc((void **)&g->seq_owner, n, sizeof *g->seq_owner, err));
    return tfm_alloc((void **)&g->out_owner, n, sizeof *g->out_owner, err);
}

static tfm_status read_generation(tfm_generator *g, tfm_error *err) {
    const tfm_model *m = tfm_engine_model(g->engine);
    TFM_TRY(tfm_generation_read(&g->generation, m, err));
    if (g->generation.n_start + g->generation.n_forced + g->generation.n_suppressed == 0)
        return TFM_OK;
    return tfm_fail(
        err, TFM_UNSUPPORTED,
        "%s: asks for start, forced or suppressed tokens, which this version does not do",
        tfm_model_path(m));
}

tfm_status tfm_generator_new(tfm_generator **out, tfm_engine *e, const tfm_generate_options *o,
                             tfm_error *err) {
    tfm_generator *g = NULL;
    tfm_status st;

    *out = NULL;
    if (o->n_samples > MAX_SAMPLES)
        return tfm_fail(err, TFM_USAGE, "%u samples of a prompt; give %u at most", o->n_samples,
                        MAX_SAMPLES);
    if (tfm_engine_n_taps(e) && !o->tap_out)
        return tfm_fail(err, TFM_USAGE, "there are taps and no stream that they go to");
    TFM_TRY(tfm_alloc((void **)&g, 1, sizeof *g, err));
    g->engine = e;
    g->opt = *o;
    if (g->opt.n_samples == 0) g->opt.n_samples = 1;
    if (g->opt.sequences == 0) g->opt.sequences = DEFAULT_SEQUENCES;
    if (g->opt.sequences < g->opt.n_samples) g->opt.sequences = g->opt.n_samples;
    if (g->opt.row_budget == 0) g->opt.row_budget = DEFAULT_ROWS;
    if (g->opt.row_budget < g->opt.sequences) g->opt.row_budget = g->opt.sequences;
    g->ctx = tfm_engine_ctx(e);
    g->n_vocab = tfm_engine_n_vocab(e);
    if ((st = tfm_model_vocab(tfm_engine_model(e), &g->vocab, err)) != TFM_OK) goto fail;
    if ((st = read_generation(g, err)) != TFM_OK) goto fail;
    if ((st = tfm_sampler_new(&g->sampler, &o->sampling, g->n_vocab, err)) != TFM_OK) goto fail;
    if (o->n_stop) {
        st = tfm_stop_set_new(&g->stops, g->vocab, o->stop, o->n_stop, err);
        if (st != TFM_OK) goto fail;
    }
    if ((st = alloc_batch(g, err)) != TFM_OK) goto fail;
    *out = g;
    return TFM_OK;
fail:
    tfm_generator_free(g);
    return st;
}

/* ---- the end of a sample ---- */

static void sample_done(tfm_generator *g, job *j, sample_run *s, tfm_end end) {
    if (s->state == SAMPLE_DONE) return;
    if (s->state != SAMPLE_WAITING) g->active--;
    s->state = SAMPLE_DONE;
    s->end = end;
    if (!j->keep || s != &j->sample[0] || end == TFM_END_ERROR)
        tfm_seq_release(tfm_engine_pages(g->engine), &s->seq);
    if (--j->n_open == 0) { /* rows that are kept stay counted until they are given out */
        uint32_t kept = j->sample[0].seq.n_pages;
        g->reserved -= j->reserved > kept ? j->reserved - kept : 0;
        j->reserved = j->reserved > kept ? kept : j->reserved;
    }
}

static tfm_status sample_fail(tfm_generator *g, job *j, sample_run *s, const char *message,
                              tfm_error *err) {
    TFM_TRY(tfm_strdup(&s->message, message, err));
    sample_done(g, j, s, TFM_END_ERROR);
    return TFM_OK;
}

static tfm_status sample_finish(tfm_generator *g, job *j, sample_run *s, tfm_end end,
                                tfm_error *err) {
    if (s->stop) TFM_TRY(tfm_stop_flush(s->stop, &s->ready, err));
    sample_done(g, j, s, end);
    return TFM_OK;
}

/* ---- adding ---- */

/* Why a prompt cannot run, in `text`; false if it can. */
static bool refuse(const tfm_generator *g, const int32_t *ids, size_t n, char *text, size_t size) {
    if (n == 0) {
        snprintf(text, size, "the prompt has no token: there is nothing to go on from");
        return true;
    }
    if (n > g->ctx) {
        snprintf(text, size, "the prompt has %zu tokens, the context is %u; give a longer --ctx", n,
                 g->ctx);
        return true;
    }
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= g->n_vocab) {
            snprintf(text, size, "id %d at position %zu is outside the vocabulary of %u",
                     (int)ids[i], i, g->n_vocab);
            return true;
        }
    return false;
}

static tfm_status job_new(tfm_generator *g, uint32_t group, job **out, tfm_error *err) {
    job *j = NULL;

    *out = NULL;
    if (g->first > 64 && g->first > g->n_jobs / 2) { /* forget what is gone */
        memmove(g->jobs, g->jobs + g->first, (g->n_jobs - g->first) * sizeof *g->jobs);
        g->n_jobs -= g->first;
        g->next_admit -= g->first;
        g->first = 0;
    }
    TFM_TRY(tfm_grow((void **)&g->jobs, &g->cap, g->n_jobs + 1, sizeof *g->jobs, err));
    TFM_TRY(tfm_alloc((void **)&j, 1, sizeof *j, err));
    tfm_status st = tfm_alloc((void **)&j->sample, g->opt.n_samples, sizeof *j->sample, err);
    if (st != TFM_OK) {
        tfm_free(j);
        return st;
    }
    j->group = group;
    j->n_open = j->n_unreported = g->opt.n_samples;
    g->jobs[g->n_jobs++] = j;
    *out = j;
    return TFM_OK;
}

tfm_status tfm_generator_add_failed(tfm_generator *g, uint32_t group, const char *message,
                                    tfm_error *err) {
    job *j;

    TFM_TRY(job_new(g, group, &j, err));
    for (uint32_t i = 0; i < g->opt.n_samples; i++)
        TFM_TRY(sample_fail(g, j, &j->sample[i], message, err));
    return TFM_OK;
}

tfm_status tfm_generator_add(tfm_generator *g, uint32_t group, const int32_t *ids, size_t n,
                             tfm_error *err) {
    return tfm_generator_add_from(g, group, ids, n, NULL, false, err);
}

tfm_status tfm_generator_add_from(tfm_generator *g, uint32_t group, const int32_t *ids, size_t n,
                                  const tfm_cache *from, bool keep, tfm_error *err) {
    char why[160];
    job *j;

    if (refuse(g, ids, n, why, sizeof why)) return tfm_generator_add_failed(g, group, why, err);
    TFM_TRY(job_new(g, group, &j, err));
    j->n_prompt = (uint32_t)n;
    j->keep = keep;
    /* The last row is always computed: its logits are wanted. */
    if (from) TFM_TRY(tfm_cache_fork(from, ids, (uint32_t)n - 1, &j->sample[0].seq, err));
    for (uint32_t k = 0; k < g->opt.n_samples; k++) {
        sample_run *s = &j->sample[k];
        TFM_TRY(tfm_grow((void **)&s->ids.data, &s->ids.cap, n, sizeof *ids, err));
        memcpy(s->ids.data, ids, n * sizeof *ids);
        s->ids.len = n;
        if (g->stops) TFM_TRY(tfm_stop_new(&s->stop, g->stops, err));
        bool no_tokens = g->opt.has_max_tokens && g->opt.max_tokens == 0;
        if (!no_tokens && n < g->ctx) continue;
        s->end = no_tokens ? TFM_END_LENGTH : TFM_END_CONTEXT;
        s->is_prompt_only = k == 0 && (keep || tfm_engine_n_taps(g->engine));
        if (!s->is_prompt_only) sample_done(g, j, s, s->end);
    }
    return TFM_OK;
}

size_t tfm_generator_open(const tfm_generator *g) {
    return g->n_jobs - g->first;
}

/* ---- admission ---- */

/* Pages that the job may need at most. */
static uint64_t worst_pages(const tfm_generator *g, const job *j) {
    uint64_t len = g->ctx;
    if (g->opt.has_max_tokens && (uint64_t)j->n_prompt + g->opt.max_tokens < len)
        len = (uint64_t)j->n_prompt + g->opt.max_tokens;
    return (len + TFM_KV_PAGE - 1) / TFM_KV_PAGE * g->opt.n_samples;
}

static tfm_status admit(tfm_generator *g, tfm_error *err) {
    uint32_t limit = tfm_pages_limit(tfm_engine_pages(g->engine)), k = g->opt.n_samples;
    uint32_t held = tfm_pages_held(tfm_engine_pages(g->engine));

    limit = limit == UINT32_MAX ? limit : limit > held ? limit - held : 0;

    for (; g->next_admit < g->n_jobs; g->next_admit++) {
        job *j = g->jobs[g->next_admit];
        if (j->n_open == 0) continue;
        uint64_t need = worst_pages(g, j);
        if (need > limit) {
            char why[160];
            snprintf(why, sizeof why,
                     "needs %llu pages of %u positions, the cache's budget is %u; give fewer "
                     "--max-tokens or a smaller --ctx",
                     (unsigned long long)need, TFM_KV_PAGE, limit);
            for (uint32_t i = 0; i < k; i++) TFM_TRY(sample_fail(g, j, &j->sample[i], why, err));
            continue;
        }
        if (g->active && g->active + k > g->opt.sequences) return TFM_OK;
        if (g->reserved + need > limit) return TFM_OK;
        g->reserved += need;
        j->reserved = (uint32_t)need;
        for (uint32_t i = 0; i < k; i++) {
            if (j->sample[i].state != SAMPLE_WAITING) continue;
            j->sample[i].state = SAMPLE_PREFILL;
            g->active++;
        }
    }
    return TFM_OK;
}

/* ---- one step ---- */

/* Adds rows [first, first + n) of sample k to the batch. */
static tfm_status add_rows(tfm_generator *g, tfm_batch *b, job *j, uint32_t k, uint32_t n,
                           bool wants_logits, tfm_error *err) {
    sample_run *s = &j->sample[k];
    uint32_t first = s->seq.len;

    TFM_TRY(tfm_seq_extend(tfm_engine_pages(g->engine), &s->seq, first + n, err));
    for (uint32_t i = 0; i < n; i++) {
        g->token[b->n_rows + i] = s->ids.data[first + i];
        g->position[b->n_rows + i] = first + i;
    }
    b->n_rows += n;
    g->page[b->n_seqs] = s->seq.page;
    g->group[b->n_seqs] = j->group * g->opt.n_samples + k;
    g->seq_owner[b->n_seqs] = (struct owner){j, k};
    g->row_start[++b->n_seqs] = b->n_rows;
    if (wants_logits) {
        g->out_row[b->n_out] = b->n_rows - 1;
        g->out_owner[b->n_out].job = j;
        g->out_owner[b->n_out++].sample = k;
    }
    return TFM_OK;
}

static tfm_status gather_rows(tfm_generator *g, tfm_batch *b, tfm_error *err) {
    uint32_t decoding = 0;

    g->row_start[0] = 0;
    for (size_t i = g->first; i < g->next_admit; i++)
        for (uint32_t k = 0; k < g->opt.n_samples; k++)
            if (g->jobs[i]->sample[k].state == SAMPLE_DECODE) decoding++;
    uint32_t room = g->opt.row_budget - decoding; /* active <= sequences <= row_budget */
    for (size_t i = g->first; i < g->next_admit; i++) {
        job *j = g->jobs[i];
        for (uint32_t k = 0; k < g->opt.n_samples; k++) {
            sample_run *s = &j->sample[k];
            if (s->state == SAMPLE_DECODE) {
                TFM_TRY(add_rows(g, b, j, k, 1, true, err));
            } else if (s->state == SAMPLE_PREFILL && k == 0 && room) {
                uint32_t left = j->n_prompt - s->seq.len;
                uint32_t n = left < room ? left : room;
                room -= n;
                TFM_TRY(add_rows(g, b, j, k, n, n == left, err));
            }
        }
    }
    return TFM_OK;
}

/* The vocabulary's ends, and those that the checkpoint's configuration names. */
static bool is_end(const tfm_generator *g, int32_t id) {
    for (size_t i = 0; i < g->generation.n_end; i++)
        if (g->generation.end[i] == id) return true;
    return g->vocab && (uint32_t)id < tfm_vocab_size(g->vocab) &&
           (tfm_vocab_flags(g->vocab, (uint32_t)id) & TFM_TOKEN_EOG);
}

/* Draws the next id of sample k from one row of logits and settles what follows from it. */
static tfm_status draw(tfm_generator *g, job *j, uint32_t k, const float *logits, tfm_error *err) {
    sample_run *s = &j->sample[k];
    uint32_t position = (uint32_t)s->ids.len;
    tfm_error why = {0};
    bool stopped = false;
    int32_t id;

    tfm_status st =
        tfm_sample(g->sampler, logits, s->ids.data, s->ids.len, j->group, k, position, &id, &why);
    if (st == TFM_RECORD) return sample_fail(g, j, s, why.message, err);
    if (st != TFM_OK) {
        if (err) *err = why;
        return st;
    }
    if (!g->opt.ignore_eog && is_end(g, id)) return sample_finish(g, j, s, TFM_END_TOKEN, err);
    TFM_TRY(tfm_seq_ids_add(&s->ids, id, err));
    s->n_new++;
    s->state = SAMPLE_DECODE;
    if (s->stop) {
        st = tfm_stop_push(s->stop, id, &s->ready, &stopped, &why);
        if (st == TFM_RECORD) return sample_fail(g, j, s, why.message, err);
        if (st != TFM_OK) {
            if (err) *err = why;
            return st;
        }
    } else {
        TFM_TRY(tfm_seq_ids_add(&s->ready, id, err));
    }
    if (stopped) {
        sample_done(g, j, s, TFM_END_STOP);
        return TFM_OK;
    }
    if (g->opt.has_max_tokens && s->n_new >= g->opt.max_tokens)
        return sample_finish(g, j, s, TFM_END_LENGTH, err);
    if (s->ids.len >= g->ctx) return sample_finish(g, j, s, TFM_END_CONTEXT, err);
    return TFM_OK;
}

/* The prompt of j is computed: every sample goes on from it with the same logits. The others fork
 * before sample 0 draws, because a sample that ends gives its pages back. */
static tfm_status branch(tfm_generator *g, job *j, const float *logits, tfm_error *err) {
    if (j->sample[0].is_prompt_only)
        return sample_finish(g, j, &j->sample[0], j->sample[0].end, err);
    for (uint32_t k = 1; k < g->opt.n_samples; k++)
        TFM_TRY(tfm_seq_fork(tfm_engine_pages(g->engine), &j->sample[k].seq, &j->sample[0].seq,
                             j->n_prompt, err));
    for (uint32_t k = 0; k < g->opt.n_samples; k++) TFM_TRY(draw(g, j, k, logits, err));
    return TFM_OK;
}

/* ---- taps: rows wait with their sample until it is its turn ---- */

static tfm_status gather_taps(tfm_generator *g, const tfm_batch *b, tfm_error *err) {
    for (uint32_t q = 0; q < b->n_seqs; q++) {
        sample_run *s = &g->seq_owner[q].job->sample[g->seq_owner[q].sample];
        uint32_t first = b->row_start[q], n = b->row_start[q + 1] - first;
        if (s->n_tap_rows == 0) s->tap_first = b->position[first];
        s->n_tap_rows += n;
        TFM_TRY(tfm_engine_tap_rows(g->engine, first, n, b->position[first], &s->taps, err));
    }
    return TFM_OK;
}

static tfm_status write_taps(tfm_generator *g, const job *j, uint32_t k, tfm_error *err) {
    sample_run *s = &j->sample[k];

    if (s->n_tap_rows == 0) return TFM_OK;
    TFM_TRY(tfm_engine_tap_write(g->engine, j->group * g->opt.n_samples + k, s->tap_first,
                                 s->n_tap_rows, &s->taps, g->opt.tap_out, err));
    s->n_tap_rows = 0;
    tfm_buf_clear(&s->taps);
    return TFM_OK;
}

/* Those of the sample whose turn it is need not wait for its end. */
static tfm_status write_first_taps(tfm_generator *g, tfm_error *err) {
    const job *j = g->jobs[g->first];
    uint32_t k = 0;

    if (g->opt.unordered) return TFM_OK;
    while (k < g->opt.n_samples && j->sample[k].is_reported) k++;
    return k < g->opt.n_samples ? write_taps(g, j, k, err) : TFM_OK;
}

static tfm_status step(tfm_generator *g, tfm_error *err) {
    tfm_batch b = {0};
    size_t need;

    TFM_TRY(admit(g, err));
    TFM_TRY(gather_rows(g, &b, err));
    if (b.n_rows == 0) return TFM_OK; /* all that was waiting failed or ended at once */
    if (!tfm_mul_size(b.n_out, g->n_vocab, &need))
        return tfm_fail(err, TFM_NOMEM, "logits of %u rows do not fit memory", b.n_out);
    TFM_TRY(tfm_grow((void **)&g->logits, &g->logits_cap, need, sizeof *g->logits, err));
    b.row_start = g->row_start;
    b.token = g->token;
    b.position = g->position;
    b.page = g->page;
    b.group = g->group;
    b.out_row = g->out_row;
    b.logits = g->logits;
    TFM_TRY(tfm_engine_run(g->engine, &b, err));
    if (tfm_engine_n_taps(g->engine)) TFM_TRY(gather_taps(g, &b, err));
    for (uint32_t i = 0; i < b.n_out; i++) {
        job *j = g->out_owner[i].job;
        uint32_t k = g->out_owner[i].sample;
        const float *logits = g->logits + (size_t)i * g->n_vocab;
        if (j->sample[k].state == SAMPLE_PREFILL)
            TFM_TRY(branch(g, j, logits, err));
        else
            TFM_TRY(draw(g, j, k, logits, err));
    }
    return TFM_OK;
}

/* ---- events ---- */

/* The next event of a sample; false if it has none yet. */
static bool sample_event(tfm_generator *g, job *j, uint32_t k, tfm_event *ev) {
    sample_run *s = &j->sample[k];

    *ev = (tfm_event){.group = j->group, .sample = k, .position = j->n_prompt + (uint32_t)s->taken};
    if (s->taken < s->ready.len) {
        ev->type = TFM_EVENT_TOKEN;
        ev->token = s->ready.data[s->taken++];
        return true;
    }
    if (s->state != SAMPLE_DONE || s->is_reported) return false;
    s->is_reported = true;
    j->n_unreported--;
    ev->end = s->end;
    ev->type = TFM_EVENT_END;
    if (s->message) {
        ev->type = TFM_EVENT_ERROR;
        tfm_free(g->message);
        ev->message = g->message = s->message;
        s->message = NULL;
    }
    return true;
}

/* The rows of a group that is kept, with the END of its first sample. */
static tfm_status give_cache(tfm_generator *g, job *j, uint32_t k, tfm_event *ev, tfm_error *err) {
    sample_run *s = &j->sample[k];

    if (!j->keep || k != 0) return TFM_OK;
    if (j->n_open == 0) {
        g->reserved -= j->reserved;
        j->reserved = 0;
    }
    return tfm_cache_from_seq(&ev->cache, g->engine, &s->seq, s->ids.data, err);
}

static bool has_event(const sample_run *s) {
    return s->taken < s->ready.len || (s->state == SAMPLE_DONE && !s->is_reported);
}

/* The sample that may speak now, or false. Ordered: the first that is not wholly reported. */
static bool find_speaker(const tfm_generator *g, size_t *at, uint32_t *k) {
    size_t n = g->n_jobs - g->first;

    for (size_t i = 0; i < n; i++) {
        size_t p = g->opt.unordered ? g->first + (g->cursor + i) % n : g->first + i;
        for (*k = 0; *k < g->opt.n_samples; ++*k) {
            const sample_run *s = &g->jobs[p]->sample[*k];
            *at = p;
            if (has_event(s)) return true;
            if (!g->opt.unordered && !s->is_reported) return false;
        }
    }
    return false;
}

/* Frees jobs at the front that are wholly reported. */
static void forget(tfm_generator *g) {
    while (g->first < g->n_jobs && g->jobs[g->first]->n_unreported == 0) {
        job_free(g, g->jobs[g->first]);
        g->jobs[g->first++] = NULL;
        if (g->next_admit < g->first) g->next_admit = g->first;
    }
}

bool tfm_generator_ready(const tfm_generator *g) {
    size_t at;
    uint32_t k;
    return find_speaker(g, &at, &k);
}

tfm_status tfm_generator_next(tfm_generator *g, tfm_event *ev, tfm_error *err) {
    size_t at;
    uint32_t k;

    for (;;) {
        forget(g);
        if (g->first == g->n_jobs) return TFM_DONE;
        if (find_speaker(g, &at, &k)) {
            if (!sample_event(g, g->jobs[at], k, ev)) continue;
            if (ev->type != TFM_EVENT_TOKEN) TFM_TRY(write_taps(g, g->jobs[at], k, err));
            if (ev->type == TFM_EVENT_END) TFM_TRY(give_cache(g, g->jobs[at], k, ev, err));
            g->cursor = at - g->first;
            return TFM_OK;
        }
        TFM_TRY(step(g, err));
        TFM_TRY(write_first_taps(g, err));
    }
}
