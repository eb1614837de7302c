/* schedule.c - what runs next: admission, memory, the rows of a batch, what is drawn from them.
 *
 *     admit the oldest that fit -> rows, oldest first -> run -> pages to the table, draws
 *
 * Each step takes the one row of every sample that only waits for its next token, and fills the row
 * budget with rows of prompts, oldest first: a long prompt is cut and holds nobody up. What is in a
 * batch never changes a result, so all of this is free to follow memory and arrival.
 *
 * Samples are let in in order, when there is room for their prompt and a page for each one that
 * runs. When pages run out all the same, they are taken from where they cost least: shared pages
 * nobody uses now; rows that only wait to be given out; then from the youngest sample, which waits
 * again, first in line, and computes its rows once more. So the oldest always goes on and nothing
 * can block. One that does not fit even alone fails, and says so.
 */
#include <stdio.h>
#include <string.h>

#include "infer/generate_internal.h"

/* ---- rows and pages ---- */

static uint32_t wanted_rows(const sample_run *s) {
    return s->is_settled ? s->n_rows : (uint32_t)s->ids.len;
}

/* Rows to compute until something is drawn; 1: a token was drawn and nothing else is missing. */
static uint32_t missing_rows(const sample_run *s) {
    return wanted_rows(s) - s->seq.len;
}

static uint32_t pages_of(uint32_t rows) {
    return rows / TFM_KV_PAGE + (rows % TFM_KV_PAGE != 0);
}

void tfm_sample_release(tfm_generator *g, sample_run *s) {
    tfm_prefix *px = tfm_engine_prefix(g->engine);

    if (px) {
        tfm_prefix_withdraw(px, s->announced);
        tfm_prefix_touch(px, s->node);
        s->node = s->announced = NULL;
        s->n_known = s->n_announced = 0;
    }
    tfm_seq_release(tfm_engine_pages(g->engine), &s->seq);
}

/* ---- the end of a sample ---- */

void tfm_sample_done(tfm_generator *g, job *j, sample_run *s, tfm_end end) {
    if (s->state == SAMPLE_DONE) return;
    if (s->state == SAMPLE_RUNNING) g->active--;
    g->n_unfinished--;
    s->state = SAMPLE_DONE;
    s->end = end;
    s->n_rows = s->seq.len;
    s->is_settled = true;
    if (!j->keep || s != &j->sample[0] || end == TFM_END_ERROR) tfm_sample_release(g, s);
}

tfm_status tfm_sample_fail(tfm_generator *g, job *j, sample_run *s, const char *message,
                           tfm_error *err) {
    TFM_TRY(tfm_strdup(&s->message, message, err));
    tfm_sample_done(g, j, s, TFM_END_ERROR);
    return TFM_OK;
}

static tfm_status sample_finish(tfm_generator *g, job *j, sample_run *s, tfm_end end,
                                tfm_error *err) {
    if (s->stop) TFM_TRY(tfm_stop_flush(s->stop, &s->ready, err));
    tfm_sample_done(g, j, s, end);
    return TFM_OK;
}

/* ---- memory ---- */

/* Back into the line. What was kept of a sample that is done is computed again for who keeps it. */
static void put_back(tfm_generator *g, size_t at, sample_run *s) {
    if (s->state == SAMPLE_RUNNING) g->active--;
    if (s->state == SAMPLE_DONE) {
        g->n_unfinished++;
        s->is_put_off = true;
    }
    s->state = SAMPLE_WAITING;
    tfm_sample_release(g, s);
    if (at < g->next_admit) g->next_admit = at;
    g->stats.preempted++;
}

/* The youngest sample that holds pages and is RUNNING, or (idle) is not. */
static sample_run *youngest(tfm_generator *g, bool idle, size_t *at) {
    for (size_t i = g->n_jobs; i-- > g->first;)
        for (uint32_t k = g->options.n_samples; k-- > 0;) {
            sample_run *s = &g->jobs[i]->sample[k];
            *at = i;
            if (idle ? s->state != SAMPLE_RUNNING && s->seq.n_pages : s->state == SAMPLE_RUNNING)
                return s;
        }
    return NULL;
}

/* Makes pages free without stopping anybody; false if there is nothing left to take. */
static bool reclaim(tfm_generator *g) {
    tfm_prefix *px = tfm_engine_prefix(g->engine);
    size_t at;

    if (px && tfm_prefix_evict(px)) return true;
    sample_run *s = youngest(g, true, &at);
    if (!s) return false;
    if (s->state == SAMPLE_DONE)
        put_back(g, at, s);
    else
        tfm_sample_release(g, s);
    return true;
}

/* Room for `len` positions of s. If that takes s itself out of the batch its state says so. */
static tfm_status make_room(tfm_generator *g, job *j, sample_run *s, uint32_t len, tfm_error *err) {
    tfm_pages *pages = tfm_engine_pages(g->engine);
    tfm_error why = {0};
    char text[200];
    size_t at;

    for (;;) {
        tfm_status st = tfm_seq_extend(pages, &s->seq, len, &why);
        if (st != TFM_LIMIT) {
            if (st != TFM_OK && err) *err = why;
            return st;
        }
        if (reclaim(g)) continue;
        sample_run *victim = youngest(g, false, &at);
        if (victim == s && g->active == 1) {
            snprintf(text, sizeof text,
                     "the cache's memory, %u pages of %u positions, is spent at position %u; give "
                     "more --kv-memory or fewer --max-tokens",
                     tfm_pages_limit(pages), TFM_KV_PAGE, s->seq.len);
            return tfm_sample_fail(g, j, s, text, err);
        }
        put_back(g, at, victim);
        if (victim == s) return TFM_OK;
    }
}

/* ---- shared prefixes ---- */

/* Takes from the table what it has of the sample's next pages. *waits: the next one is being
 * computed by somebody else. The last wanted row is always computed: who has its page takes that,
 * too, but one position less. */
static tfm_status take_shared(tfm_generator *g, sample_run *s, bool *waits, tfm_error *err) {
    tfm_prefix *px = tfm_engine_prefix(g->engine);
    tfm_pages *pages = tfm_engine_pages(g->engine);
    const uint32_t rows = wanted_rows(s);

    *waits = false;
    while (s->seq.len == s->n_known * TFM_KV_PAGE && rows - s->seq.len >= TFM_KV_PAGE) {
        tfm_prefix_node *n = tfm_prefix_find(px, s->node, s->ids.data + s->seq.len);
        if (!n) return TFM_OK;
        if (tfm_prefix_page(n) == TFM_NO_PAGE) {
            *waits = tfm_prefix_owner(n) != s;
            return TFM_OK;
        }
        const bool is_last = rows - s->seq.len == TFM_KV_PAGE;
        const uint32_t take = is_last ? TFM_KV_PAGE - 1 : TFM_KV_PAGE;
        tfm_seq_truncate(pages, &s->seq, s->seq.len); /* pages that a failed extend has left */
        TFM_TRY(tfm_seq_share(pages, &s->seq, tfm_prefix_page(n), take, err));
        g->stats.shared_rows += take;
        if (is_last) return TFM_OK;
        s->node = n;
        s->n_known++;
    }
    return TFM_OK;
}

/* Says that the full pages which rows [len, len + n) belong to are on their way. */
static tfm_status announce(tfm_generator *g, sample_run *s, uint32_t n, tfm_error *err) {
    tfm_prefix *px = tfm_engine_prefix(g->engine);
    uint32_t page = s->n_announced ? s->n_announced : s->n_known;
    tfm_prefix_node *at = s->n_announced ? s->announced : s->node;

    if (s->seq.len / TFM_KV_PAGE > page) return TFM_OK; /* behind somebody else's page: later */
    for (; page * TFM_KV_PAGE < s->seq.len + n && (page + 1) * TFM_KV_PAGE <= wanted_rows(s);
         page++) {
        const int32_t *ids = s->ids.data + page * TFM_KV_PAGE;
        if (tfm_prefix_find(px, at, ids)) return TFM_OK;
        TFM_TRY(tfm_prefix_announce(px, at, ids, s, &at, err));
        s->announced = at;
        s->n_announced = page + 1;
    }
    return TFM_OK;
}

/* The pages that are full now go to the table; where it has the same one already, that is used. */
static tfm_status give_pages(tfm_generator *g, sample_run *s, tfm_error *err) {
    tfm_prefix *px = tfm_engine_prefix(g->engine);

    while ((s->n_known + 1) * TFM_KV_PAGE <= s->seq.len) {
        const int32_t *ids = s->ids.data + s->n_known * TFM_KV_PAGE;
        tfm_prefix_node *n = tfm_prefix_find(px, s->node, ids);
        if (!n) TFM_TRY(tfm_prefix_announce(px, s->node, ids, s, &n, err));
        if (tfm_prefix_page(n) != TFM_NO_PAGE)
            tfm_seq_replace(tfm_engine_pages(g->engine), &s->seq, s->n_known, tfm_prefix_page(n));
        else if (tfm_prefix_owner(n) == s)
            tfm_prefix_fill(px, n, s->seq.page[s->n_known]);
        else
            return TFM_OK; /* its owner will */
        s->node = n;
        s->n_known++;
    }
    if (s->n_known >= s->n_announced) {
        s->announced = NULL;
        s->n_announced = 0;
    }
    return TFM_OK;
}

/* ---- admission ---- */

/* Pages that the running samples have been let in with and have not taken yet. */
static uint64_t count_promised(const tfm_generator *g) {
    uint64_t n = 0;

    for (size_t i = g->first; i < g->end_admit; i++)
        for (uint32_t k = 0; k < g->options.n_samples; k++) {
            const sample_run *s = &g->jobs[i]->sample[k];
            uint32_t need = pages_of(wanted_rows(s));
            if (s->state == SAMPLE_RUNNING && need > s->seq.n_pages) n += need - s->seq.n_pages;
        }
    return n;
}

/* A sibling that has the prompt's rows, or NULL. */
static const sample_run *sibling_with_prompt(const tfm_generator *g, const job *j, uint32_t k) {
    for (uint32_t i = 0; i < g->options.n_samples; i++)
        if (i != k && j->sample[i].state == SAMPLE_RUNNING && j->sample[i].seq.len >= j->n_prompt)
            return &j->sample[i];
    return NULL;
}

/* Does an older sibling compute the prompt right now? Then the sample waits for its logits. */
static bool follows(const job *j, uint32_t k) {
    if (j->sample[k].n_new || j->sample[k].is_settled) return false;
    for (uint32_t i = 0; i < k; i++)
        if (j->sample[i].state == SAMPLE_RUNNING && j->sample[i].n_new == 0) return true;
    return false;
}

/* Is there room for `need` pages and one for each that runs? Takes what nobody uses to make it. */
static bool has_room(tfm_generator *g, uint64_t need) {
    tfm_pages *pages = tfm_engine_pages(g->engine);
    tfm_prefix *px = tfm_engine_prefix(g->engine);

    if (tfm_pages_room(pages) == UINT32_MAX) return true;
    need += g->active ? g->promised + g->active : 0;
    if (g->active && need > (uint64_t)tfm_pages_room(pages) + (px ? tfm_prefix_count(px) : 0))
        return false; /* even without the shared ones */
    while (need > tfm_pages_room(pages))
        if (g->active ? !px || !tfm_prefix_evict(px) : !reclaim(g)) return false;
    return true;
}

/* Lets sample k in, if it may be: its state is then another. */
static tfm_status admit_sample(tfm_generator *g, job *j, uint32_t k, tfm_error *err) {
    tfm_pages *pages = tfm_engine_pages(g->engine);
    sample_run *s = &j->sample[k];
    uint32_t rows = wanted_rows(s), need = pages_of(rows);
    char why[200];
    const uint64_t shared = g->stats.shared_rows;
    bool waits;

    if (need > tfm_pages_limit(pages)) {
        snprintf(why, sizeof why,
                 "needs %u pages of %u positions, the cache's memory is %u; give more --kv-memory",
                 need, TFM_KV_PAGE, tfm_pages_limit(pages));
        return tfm_sample_fail(g, j, s, why, err);
    }
    const bool is_follower = follows(j, k);
    const sample_run *from = is_follower || s->seq.len ? NULL : sibling_with_prompt(g, j, k);
    if (from)
        TFM_TRY(tfm_seq_fork(pages, &s->seq, &from->seq,
                             j->n_prompt < rows ? j->n_prompt : rows - 1, err));
    else if (tfm_engine_prefix(g->engine) && !is_follower)
        TFM_TRY(take_shared(g, s, &waits, err));
    /* A page that is shared and not full is copied at the first row. */
    need = is_follower ? 1 : need - s->seq.n_pages + (s->seq.len % TFM_KV_PAGE != 0);
    if (!has_room(g, need)) {
        if (g->active) {
            tfm_sample_release(g, s);
            g->stats.shared_rows = shared;
            return TFM_OK;
        }
        snprintf(why, sizeof why,
                 "needs %u pages of %u positions, %u are free: caches that are kept have the rest; "
                 "give more --kv-memory",
                 need, TFM_KV_PAGE, tfm_pages_room(pages));
        return tfm_sample_fail(g, j, s, why, err);
    }
    s->state = SAMPLE_RUNNING;
    g->active++;
    g->promised += need;
    return TFM_OK;
}

static uint32_t count_waiting(const tfm_generator *g, const job *j) {
    uint32_t n = 0;

    for (uint32_t k = 0; k < g->options.n_samples; k++) n += j->sample[k].state == SAMPLE_WAITING;
    return n;
}

/* The samples of a job come together, to compute its prompt once. *is_full: somebody has to wait,
 * and so has who is behind. */
static tfm_status admit_job(tfm_generator *g, size_t at, bool *is_full, tfm_error *err) {
    job *j = g->jobs[at];
    uint32_t n = count_waiting(g, j);

    *is_full = n && n == g->options.n_samples && g->active + n > g->options.sequences;
    for (uint32_t k = 0; k < g->options.n_samples && n && !*is_full; k++) {
        const sample_run *s = &j->sample[k];
        if (s->state != SAMPLE_WAITING || (s->is_put_off && at != g->first)) continue;
        if (g->active < g->options.sequences) TFM_TRY(admit_sample(g, j, k, err));
        *is_full = s->state == SAMPLE_WAITING;
    }
    if (at >= g->end_admit) g->end_admit = at + 1;
    return TFM_OK;
}

/* In order, and nobody overtakes. */
static tfm_status admit(tfm_generator *g, tfm_error *err) {
    bool is_full = false;

    g->promised = count_promised(g);
    for (size_t i = g->next_admit; i < g->n_jobs && !is_full; i++)
        TFM_TRY(admit_job(g, i, &is_full, err));
    while (g->next_admit < g->n_jobs && count_waiting(g, g->jobs[g->next_admit]) == 0)
        g->next_admit++;
    return TFM_OK;
}

/* ---- the rows of a batch ---- */

/* Adds the next n rows of sample k, for which there is room. */
static void add_rows(tfm_generator *g, tfm_batch *b, job *j, uint32_t k, uint32_t first,
                     uint32_t n) {
    sample_run *s = &j->sample[k];

    for (uint32_t i = 0; i < n; i++) {
        g->token[b->n_rows + i] = s->ids.data[first + i];
        g->position[b->n_rows + i] = first + i;
    }
    b->n_rows += n;
    g->page[b->n_seqs] = s->seq.page;
    g->group[b->n_seqs] = j->group * g->options.n_samples + k;
    g->seq_owner[b->n_seqs] = (sample_ref){j, k};
    g->row_start[++b->n_seqs] = b->n_rows;
    if (missing_rows(s) == 0) {
        g->out_row[b->n_out] = b->n_rows - 1;
        g->out_owner[b->n_out++] = (sample_ref){j, k};
    }
}

/* Rows of one running sample: at most *room of a prompt, which is less after. */
static tfm_status take_rows(tfm_generator *g, tfm_batch *b, job *j, uint32_t k, uint32_t *room,
                            tfm_error *err) {
    const bool has_prefix = tfm_engine_prefix(g->engine) != NULL;
    sample_run *s = &j->sample[k];
    const bool is_next = missing_rows(s) == 1; /* counted before */
    bool waits = false;

    if (follows(j, k)) return TFM_OK;
    if (has_prefix && !is_next) TFM_TRY(take_shared(g, s, &waits, err));
    if (waits) return TFM_OK;
    uint32_t first = s->seq.len, n = missing_rows(s);
    if (!is_next) n = n < *room ? n : *room;
    if (n == 0) return TFM_OK;
    if (has_prefix && !is_next) TFM_TRY(announce(g, s, n, err));
    TFM_TRY(make_room(g, j, s, first + n, err));
    if (s->state != SAMPLE_RUNNING) return TFM_OK;
    if (!is_next) *room -= n;
    add_rows(g, b, j, k, first, n);
    return TFM_OK;
}

static tfm_status gather_rows(tfm_generator *g, tfm_batch *b, tfm_error *err) {
    uint32_t decoding = 0;

    g->row_start[0] = 0;
    for (size_t i = g->first; i < g->end_admit; i++)
        for (uint32_t k = 0; k < g->options.n_samples; k++) {
            const sample_run *s = &g->jobs[i]->sample[k];
            decoding += s->state == SAMPLE_RUNNING && missing_rows(s) == 1;
        }
    uint32_t room = g->options.row_budget - decoding; /* active <= sequences < row_budget */
    for (size_t i = g->first; i < g->end_admit; i++)
        for (uint32_t k = 0; k < g->options.n_samples; k++)
            if (g->jobs[i]->sample[k].state == SAMPLE_RUNNING)
                TFM_TRY(take_rows(g, b, g->jobs[i], k, &room, err));
    return TFM_OK;
}

/* ---- draws ---- */

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
    if (st == TFM_RECORD) return tfm_sample_fail(g, j, s, why.message, err);
    if (st != TFM_OK) {
        if (err) *err = why;
        return st;
    }
    if (!g->options.ignore_eog && is_end(g, id)) return sample_finish(g, j, s, TFM_END_TOKEN, err);
    TFM_TRY(tfm_seq_ids_add(&s->ids, id, err));
    s->n_new++;
    if (s->stop) {
        st = tfm_stop_push(s->stop, id, &s->ready, &stopped, &why);
        if (st == TFM_RECORD) return tfm_sample_fail(g, j, s, why.message, err);
        if (st != TFM_OK) {
            if (err) *err = why;
            return st;
        }
    } else {
        TFM_TRY(tfm_seq_ids_add(&s->ready, id, err));
    }
    if (stopped) {
        tfm_sample_done(g, j, s, TFM_END_STOP);
        return TFM_OK;
    }
    if (g->options.has_max_tokens && s->n_new >= g->options.max_tokens)
        return sample_finish(g, j, s, TFM_END_LENGTH, err);
    if (s->ids.len >= g->ctx) return sample_finish(g, j, s, TFM_END_CONTEXT, err);
    return TFM_OK;
}

/* All rows of sample k are there. If they were the prompt's, those that follow it fork them (before
 * it draws, because a sample that ends gives its pages back) and draw from the same logits. */
static tfm_status complete(tfm_generator *g, job *j, uint32_t k, const float *logits,
                           tfm_error *err) {
    tfm_pages *pages = tfm_engine_pages(g->engine);
    sample_run *s = &j->sample[k];
    const bool is_first = s->n_new == 0;

    if (s->is_settled) {
        tfm_sample_done(g, j, s, s->end);
        return TFM_OK;
    }
    for (uint32_t i = k + 1; is_first && i < g->options.n_samples; i++) {
        sample_run *other = &j->sample[i];
        if (other->state != SAMPLE_RUNNING || other->n_new) continue;
        tfm_sample_release(g, other);
        TFM_TRY(tfm_seq_fork(pages, &other->seq, &s->seq, j->n_prompt, err));
        other->node = s->node; /* the same pages */
        other->n_known = s->n_known;
    }
    TFM_TRY(draw(g, j, k, logits, err));
    for (uint32_t i = k + 1; is_first && i < g->options.n_samples; i++)
        if (j->sample[i].state == SAMPLE_RUNNING && j->sample[i].n_new == 0)
            TFM_TRY(draw(g, j, i, logits, err));
    return TFM_OK;
}

/* ---- taps: rows wait with their sample until it is its turn ---- */

static tfm_status gather_taps(tfm_generator *g, const tfm_batch *b, tfm_error *err) {
    for (uint32_t q = 0; q < b->n_seqs; q++) {
        sample_run *s = &g->seq_owner[q].job->sample[g->seq_owner[q].sample];
        uint32_t first = b->row_start[q], n = b->row_start[q + 1] - first;
        uint32_t position = b->position[first];
        uint32_t skip = s->tap_next > position ? s->tap_next - position : 0;
        if (skip >= n) continue; /* all computed once more */
        if (s->n_tap_rows == 0) s->tap_first = position + skip;
        s->n_tap_rows += n - skip;
        s->tap_next = position + n;
        TFM_TRY(
            tfm_engine_tap_rows(g->engine, first + skip, n - skip, position + skip, &s->taps, err));
    }
    return TFM_OK;
}

/* ---- a step ---- */

static tfm_status run_batch(tfm_generator *g, tfm_batch *b, tfm_error *err) {
    size_t need;

    if (!tfm_mul_size(b->n_out, g->n_vocab, &need))
        return tfm_fail(err, TFM_NOMEM, "logits of %u rows do not fit memory", b->n_out);
    TFM_TRY(tfm_grow((void **)&g->logits, &g->logits_cap, need, sizeof *g->logits, err));
    b->row_start = g->row_start;
    b->token = g->token;
    b->position = g->position;
    b->page = g->page;
    b->group = g->group;
    b->out_row = g->out_row;
    b->logits = g->logits;
    g->stats.steps++;
    g->stats.rows += b->n_rows;
    return tfm_engine_run(g->engine, b, err);
}

tfm_status tfm_schedule_step(tfm_generator *g, bool *is_idle, tfm_error *err) {
    tfm_batch b = {0};

    TFM_TRY(admit(g, err));
    TFM_TRY(gather_rows(g, &b, err));
    *is_idle = b.n_rows == 0; /* all that was waiting failed or ended at once, or must wait */
    if (*is_idle) return TFM_OK;
    TFM_TRY(run_batch(g, &b, err));
    if (tfm_engine_n_taps(g->engine)) TFM_TRY(gather_taps(g, &b, err));
    for (uint32_t q = 0; q < b.n_seqs && tfm_engine_prefix(g->engine); q++)
        TFM_TRY(give_pages(g, &g->seq_owner[q].job->sample[g->seq_owner[q].sample], err));
    for (uint32_t i = 0; i < b.n_out; i++)
        TFM_TRY(complete(g, g->out_owner[i].job, g->out_owner[i].sample,
                         g->logits + (size_t)i * g->n_vocab, err));
    return TFM_OK;
}
