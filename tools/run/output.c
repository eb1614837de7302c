/* output.c - from the generator's events to records.
 *
 * Owns what has to be written around the new tokens of each group: records that passed by, the
 * prompt under --echo, who failed. With K samples group g becomes the groups g*K .. g*K+K-1, each
 * with the records that belong to g. Prompts leave in the order they came (unless --unordered), so
 * a queue searched from its front is enough.
 */
#include <stdlib.h>
#include <string.h>

#include "run.h"

typedef struct pending {
    struct pending *next;
    tfm_prompt prompt;      /* deep copy */
    unsigned char *started; /* [n_samples] was the prologue written? */
    uint32_t n_open;        /* samples not ended */
    bool is_told;           /* that it failed */
    bool has_begun;         /* records of the stream were written, which go with the first sample */
} pending;

struct run_output {
    tfm_cli *cli;
    tfm_writer *w;
    const run_options *opt;
    uint32_t n_samples;
    pending *first, **last;
};

static tfm_status no_memory(tfm_error *err) {
    return tfm_fail(err, TFM_NOMEM, "out of memory");
}

static void pending_free(pending *p) {
    if (!p) return;
    for (size_t i = 0; i < p->prompt.n_passed; i++) free(p->prompt.passed[i].payload);
    free(p->prompt.passed);
    free(p->prompt.ids);
    free(p->prompt.program);
    free(p->started);
    free(p);
}

tfm_status run_output_new(run_output **out, tfm_cli *cli, tfm_writer *w, const run_options *o,
                          tfm_error *err) {
    run_output *r = *out = calloc(1, sizeof *r);
    if (!r) return no_memory(err);
    r->cli = cli;
    r->w = w;
    r->opt = o;
    r->n_samples = o->generate.n_samples ? o->generate.n_samples : 1;
    r->last = &r->first;
    return TFM_OK;
}

void run_output_free(run_output *r) {
    if (!r) return;
    while (r->first) {
        pending *p = r->first;
        r->first = p->next;
        pending_free(p);
    }
    free(r);
}

static bool copy_bytes(void *out, const void *from, size_t n) {
    void *p = malloc(n ? n : 1);
    if (!p) return false;
    if (n) memcpy(p, from, n);
    memcpy(out, &p, sizeof p);
    return true;
}

static bool copy_prompt(pending *p, const tfm_prompt *from, bool echo) {
    tfm_prompt *to = &p->prompt;

    to->group = from->group;
    to->is_turn = from->is_turn;
    if (echo) {
        if (!copy_bytes(&to->ids, from->ids, from->n * sizeof *from->ids)) return false;
        to->n = from->n;
    }
    if (from->program && !copy_bytes(&to->program, from->program, strlen(from->program) + 1))
        return false;
    to->passed = calloc(from->n_passed ? from->n_passed : 1, sizeof *to->passed);
    if (!to->passed) return false;
    for (size_t i = 0; i < from->n_passed; i++, to->n_passed++) {
        to->passed[i].record = from->passed[i].record;
        if (!copy_bytes(&to->passed[i].payload, from->passed[i].payload,
                        (size_t)from->passed[i].record.bytes))
            return false;
    }
    return true;
}

tfm_status run_output_add(run_output *r, const tfm_prompt *from, tfm_error *err) {
    /* In order, the events of a number that comes again follow those of the one before it. */
    for (const pending *q = r->opt->generate.unordered ? r->first : NULL; q; q = q->next)
        if (q->prompt.group == from->group)
            return tfm_fail(err, TFM_FORMAT,
                            "group %u comes again while it is computed; leave out --unordered",
                            from->group);
    pending *p = calloc(1, sizeof *p);

    if (!p || !(p->started = calloc(r->n_samples, 1)) || !copy_prompt(p, from, r->opt->echo)) {
        pending_free(p);
        return no_memory(err);
    }
    p->n_open = r->n_samples;
    *r->last = p;
    r->last = &p->next;
    return TFM_OK;
}

/* ---- records ---- */

static tfm_status write_passed(run_output *r, const tfm_passed *p, uint32_t group, tfm_error *err) {
    tfm_record rec = p->record;

    if (tfm_record_has_group(&rec)) rec.group = group;
    rec.flags = 0;
    return tfm_writer_record(r->w, &rec, p->payload, err);
}

/* What comes before the first new token: the records that passed by, then the prompt. */
static tfm_status prologue(run_output *r, pending *p, uint32_t group, tfm_error *err) {
    for (size_t i = 0; i < p->prompt.n_passed; i++) {
        const tfm_passed *one = &p->prompt.passed[i];
        if (tfm_record_has_group(&one->record) || !p->has_begun)
            TFM_TRY(write_passed(r, one, group, err));
    }
    p->has_begun = true;
    if (!r->opt->echo || p->prompt.n == 0) return TFM_OK;
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .group = group,
                      .dims = {(uint32_t)p->prompt.n, 1, 1, 1},
                      .name = "tokens"};
    return tfm_writer_record(r->w, &rec, p->prompt.ids, err);
}

/* The answer to a turn is complete, the group is not: a record of no tokens says so. */
static tfm_status write_turn_end(const tfm_event *ev, uint32_t group, tfm_writer *w,
                                 tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .flags = TFM_FLAG_LAST | TFM_FLAG_FLUSH,
                      .group = group,
                      .position = ev->position,
                      .dims = {0, 1, 1, 1},
                      .name = "tokens"};
    return tfm_writer_record(w, &rec, NULL, err);
}

/* What failed before was told there; all samples of a prompt mostly fail for one reason. */
static void note_failed(run_output *r, pending *p, const char *why) {
    if (p->prompt.program || p->is_told)
        tfm_cli_record_failed(r->cli);
    else
        tfm_cli_group_failed(r->cli, p->prompt.group, why);
    p->is_told = true;
}

tfm_status run_output_end(run_output *r, const tfm_prompt *p, uint32_t length, tfm_error *err) {
    pending only_passed = {.prompt = *p};

    only_passed.prompt.n = 0;
    TFM_TRY(prologue(r, &only_passed, p->group, err));
    if (!p->message) return tfm_writer_group_end(r->w, p->group, length, TFM_END_OPEN, err);
    note_failed(r, &only_passed, p->message);
    TFM_TRY(tfm_writer_error(r->w, p->group, p->program ? p->program : "tfm-run", p->message, err));
    return tfm_writer_group_end(r->w, p->group, length, TFM_END_ERROR, err);
}

tfm_status run_output_rest(run_output *r, const tfm_prompts *prompts, tfm_error *err) {
    size_t n;
    const tfm_passed *p = tfm_prompts_rest(prompts, &n);

    for (size_t i = 0; i < n; i++) TFM_TRY(write_passed(r, p + i, 0, err));
    return TFM_OK;
}

/* The end of a sample, in the output or among the taps. */
static tfm_status write_end(const tfm_event *ev, uint32_t group, const char *program, tfm_writer *w,
                            tfm_error *err) {
    if (ev->type == TFM_EVENT_END)
        return tfm_writer_group_end(w, group, ev->position, ev->end, err);
    TFM_TRY(tfm_writer_error(w, group, program ? program : "tfm-run", ev->message, err));
    return tfm_writer_group_end(w, group, ev->position, TFM_END_ERROR, err);
}

static tfm_status write_token(run_output *r, const tfm_event *ev, uint32_t group, bool is_first,
                              tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .group = group,
                      .position = ev->position,
                      .dims = {1, 1, 1, 1},
                      .name = "tokens"};
    if (is_first && !r->opt->echo) rec.flags = TFM_FLAG_CONTINUES;
    return tfm_writer_record(r->w, &rec, &ev->token, err);
}

static void drop(run_output *r, pending **at) {
    pending *p = *at;
    *at = p->next;
    if (r->last == &p->next) r->last = at;
    pending_free(p);
}

tfm_status run_output_event(run_output *r, const tfm_event *ev, tfm_error *err) {
    pending **at = &r->first;
    uint64_t number = (uint64_t)ev->group * r->n_samples + ev->sample;

    while (*at && (*at)->prompt.group != ev->group) at = &(*at)->next;
    if (!*at) return tfm_fail(err, TFM_FORMAT, "group %u is open twice", ev->group);
    if (number >= TFM_GROUP_ALL)
        return tfm_fail(err, TFM_LIMIT, "group %u times %u samples is past the last group number",
                        ev->group, r->n_samples);
    pending *p = *at;
    uint32_t group = (uint32_t)number;
    if (!p->started[ev->sample]) {
        TFM_TRY(prologue(r, p, group, err));
        p->started[ev->sample] = 1;
    }
    if (ev->type == TFM_EVENT_TOKEN) {
        TFM_TRY(write_token(r, ev, group, p->started[ev->sample] == 1, err));
        p->started[ev->sample] = 2;
        return TFM_OK;
    }
    if (ev->type == TFM_EVENT_ERROR) note_failed(r, p, ev->message);
    if (p->prompt.is_turn && ev->type == TFM_EVENT_END)
        TFM_TRY(write_turn_end(ev, group, r->w, err));
    else
        TFM_TRY(write_end(ev, group, p->prompt.program, r->w, err));
    if (r->opt->generate.tap_out)
        TFM_TRY(write_end(ev, group, p->prompt.program, r->opt->generate.tap_out, err));
    if (--p->n_open == 0) drop(r, at);
    return TFM_OK;
}
