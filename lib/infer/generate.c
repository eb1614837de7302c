/* generate.c - generation from outside: prompts in, events in order.
 *
 *     add -> [waiting] -> schedule.c: [running] -> ready ids -> next
 *
 * Events wait with their sample until it is its turn (or, unordered, until somebody asks); what is
 * drawn but may still belong to a stop string waits in the sample's matcher.
 */
#include <stdio.h>
#include <string.h>

#include "infer/generate_internal.h"
#include "tfm/cache.h"

#define DEFAULT_SEQUENCES 64u
#define DEFAULT_ROWS 512u
#define MAX_SAMPLES 65536u

/* ---- making and freeing ---- */

static void job_free(tfm_generator *g, job *j) {
    if (!j) return;
    for (uint32_t i = 0; j->sample && i < g->options.n_samples; i++) {
        sample_run *s = &j->sample[i];
        tfm_sample_release(g, s);
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
    size_t n = g->options.row_budget;

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
    g->options = *o;
    if (g->options.n_samples == 0) g->options.n_samples = 1;
    if (g->options.sequences == 0) g->options.sequences = DEFAULT_SEQUENCES;
    if (g->options.sequences < g->options.n_samples) g->options.sequences = g->options.n_samples;
    if (g->options.row_budget == 0) g->options.row_budget = DEFAULT_ROWS;
    if (g->options.row_budget <= g->options.sequences) /* prompts go on, too */
        g->options.row_budget = g->options.sequences + 1;
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
        g->end_admit -= g->first;
        g->first = 0;
    }
    TFM_TRY(tfm_grow((void **)&g->jobs, &g->cap, g->n_jobs + 1, sizeof *g->jobs, err));
    TFM_TRY(tfm_alloc((void **)&j, 1, sizeof *j, err));
    tfm_status st = tfm_alloc((void **)&j->sample, g->options.n_samples, sizeof *j->sample, err);
    if (st != TFM_OK) {
        tfm_free(j);
        return st;
    }
    j->group = group;
    j->n_unreported = g->options.n_samples;
    g->n_unfinished += g->options.n_samples;
    g->jobs[g->n_jobs++] = j;
    *out = j;
    return TFM_OK;
}

tfm_status tfm_generator_add_failed(tfm_generator *g, uint32_t group, const char *message,
                                    tfm_error *err) {
    job *j;

    TFM_TRY(job_new(g, group, &j, err));
    for (uint32_t i = 0; i < g->options.n_samples; i++)
        TFM_TRY(tfm_sample_fail(g, j, &j->sample[i], message, err));
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
    for (uint32_t k = 0; k < g->options.n_samples; k++) {
        sample_run *s = &j->sample[k];
        TFM_TRY(tfm_grow((void **)&s->ids.data, &s->ids.cap, n, sizeof *ids, err));
        memcpy(s->ids.data, ids, n * sizeof *ids);
        s->ids.len = n;
        s->tap_next = k ? (uint32_t)n : 0; /* the prompt's rows are sample 0's */
        if (g->stops) TFM_TRY(tfm_stop_new(&s->stop, g->stops, err));
        bool no_tokens = g->options.has_max_tokens && g->options.max_tokens == 0;
        if (!no_tokens && n < g->ctx) continue;
        s->end = no_tokens ? TFM_END_LENGTH : TFM_END_CONTEXT;
        s->is_settled = k == 0 && (keep || tfm_engine_n_taps(g->engine));
        s->n_rows = (uint32_t)n;
        if (!s->is_settled) tfm_sample_done(g, j, s, s->end);
    }
    return TFM_OK;
}

size_t tfm_generator_open(const tfm_generator *g) {
    return g->n_jobs - g->first;
}

size_t tfm_generator_unfinished(const tfm_generator *g) {
    return g->n_unfinished;
}

/* ---- taps: rows wait with their sample until it is its turn ---- */

static tfm_status write_taps(tfm_generator *g, const job *j, uint32_t k, tfm_error *err) {
    sample_run *s = &j->sample[k];

    if (s->n_tap_rows == 0) return TFM_OK;
    TFM_TRY(tfm_engine_tap_write(g->engine, j->group * g->options.n_samples + k, s->tap_first,
                                 s->n_tap_rows, &s->taps, g->options.tap_out, err));
    s->n_tap_rows = 0;
    tfm_buf_clear(&s->taps);
    return TFM_OK;
}

/* Those of the sample whose turn it is need not wait for its end. */
static tfm_status write_first_taps(tfm_generator *g, tfm_error *err) {
    uint32_t k = 0;

    if (g->options.unordered || g->first == g->n_jobs) return TFM_OK;
    const job *j = g->jobs[g->first];
    while (k < g->options.n_samples && j->sample[k].is_reported) k++;
    return k < g->options.n_samples ? write_taps(g, j, k, err) : TFM_OK;
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
    s->node = NULL; /* the pages of the table may now go before the sample does */
    s->n_known = 0;
    return tfm_cache_from_seq(&ev->cache, g->engine, &s->seq, s->ids.data, err);
}

static bool has_event(const sample_run *s) {
    return s->taken < s->ready.len || (s->state == SAMPLE_DONE && !s->is_reported);
}

/* The sample that may speak now, or false. Ordered: the first that is not wholly reported. */
static bool find_speaker(const tfm_generator *g, size_t *at, uint32_t *k) {
    size_t n = g->n_jobs - g->first;

    for (size_t i = 0; i < n; i++) {
        size_t p = g->options.unordered ? g->first + (g->cursor + i) % n : g->first + i;
        for (*k = 0; *k < g->options.n_samples; ++*k) {
            const sample_run *s = &g->jobs[p]->sample[*k];
            *at = p;
            if (has_event(s)) return true;
            if (!g->options.unordered && !s->is_reported) return false;
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
        if (g->end_admit < g->first) g->end_admit = g->first;
    }
}

bool tfm_generator_ready(const tfm_generator *g) {
    size_t at;
    uint32_t k;
    return find_speaker(g, &at, &k);
}

tfm_status tfm_generator_step(tfm_generator *g, tfm_error *err) {
    bool is_idle;

    forget(g);
    TFM_TRY(tfm_schedule_step(g, &is_idle, err));
    return write_first_taps(g, err);
}

void tfm_generator_get_stats(const tfm_generator *g, tfm_generator_stats *stats) {
    const tfm_pages *pages = tfm_engine_pages(g->engine);

    *stats = g->stats;
    stats->running = g->active;
    stats->waiting = g->n_unfinished - g->active;
    stats->pages = tfm_pages_used(pages);
    stats->peak_pages = tfm_pages_peak(pages);
    stats->page_bytes = tfm_pages_bytes(pages);
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
        TFM_TRY(tfm_generator_step(g, err));
    }
}
