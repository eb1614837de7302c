/* loop.c - rounds of the generation loop: what goes into the pipe, what comes back. Also prompts
 * that go through the pipe once.
 *
 *     round: GROUP-END of the finished | rows of the open | new prompts -> FLUSH -> read to FLUSH
 *
 * Owns which groups are open and the one token that each has in flight. Nothing can deadlock: a
 * stage gathers until FLUSH, so no answer is written before this side has written all of its round
 * and reads; large records that pass by go in an exchange of their own. The last record of a round
 * is kept back until it is known to be the last, because it carries FLUSH.
 */
#include <stdio.h>
#include <string.h>

#include "infer/stage_internal.h"
#include "tfm/group_map.h"
#include "tfm/loop.h"

#define DEFAULT_SEQUENCES 64u
#define DEFAULT_ROWS 512u
#define SMALL_PASS 4096u /* bytes of passed records that need no exchange of their own */

typedef struct loop_group {
    uint32_t group;
    uint32_t len;     /* prompt and drawn tokens */
    int32_t id;       /* the last drawn one */
    bool is_answered; /* a token came back in this round */
    bool has_begun;   /* a token came back ever */
    bool is_over;
    uint16_t how; /* tfm_end, once it is over */
    uint32_t end; /* position of its GROUP-END */
} loop_group;

typedef struct loop {
    tfm_stage *stage;
    tfm_prompts *prompts;
    tfm_reader *in;
    tfm_writer *w;
    tfm_loop_options options;
    bool *is_cut;
    bool has_header;    /* of the loop */
    tfm_group_map *map; /* of loop_group */
    loop_group **open;  /* [n_open] in the order of admission */
    size_t n_open, open_cap;
    tfm_group_map *gone; /* numbers that ended in this round: not to be used again in it */
    tfm_prompt next;     /* read, not yet sent */
    bool has_next, prompts_ended;
    bool is_draining; /* the writer of the prompts waits: finish what is open first */
    tfm_record last;  /* kept back */
    void *last_payload;
    bool has_last;
} loop;

/* ---- into the pipe ---- */

static tfm_status send_last(loop *l, uint16_t flags, tfm_error *err) {
    if (!l->has_last) return TFM_OK;
    l->last.flags = (uint16_t)(l->last.flags | flags);
    tfm_status st = tfm_stage_take(l->stage, &l->last, l->last_payload, l->w, err);
    tfm_free(l->last_payload);
    l->last_payload = NULL;
    l->has_last = false;
    return st;
}

/* rec->bytes must be set; the payload is copied. */
static tfm_status send(loop *l, const tfm_record *rec, const void *payload, tfm_error *err) {
    TFM_TRY(send_last(l, 0, err));
    if (rec->bytes) {
        TFM_TRY(tfm_alloc(&l->last_payload, (size_t)rec->bytes, 1, err));
        memcpy(l->last_payload, payload, (size_t)rec->bytes);
    }
    l->last = *rec;
    l->last.flags &= (uint16_t)~TFM_FLAG_FLUSH;
    l->has_last = true;
    return TFM_OK;
}

static tfm_status send_tokens(loop *l, uint32_t group, uint32_t position, const int32_t *ids,
                              size_t n, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .flags = TFM_FLAG_LAST,
                      .group = group,
                      .position = position,
                      .bytes = n * sizeof *ids,
                      .dims = {(uint32_t)n, 1, 1, 1},
                      .name = "tokens"};
    return send(l, &rec, ids, err);
}

/* The group's caches may be freed. Its number may not come back before this has. */
static tfm_status send_end(loop *l, uint32_t group, uint32_t position, uint16_t how,
                           tfm_error *err) {
    tfm_record rec = {
        .type = TFM_REC_GROUP_END, .status = how, .group = group, .position = position};
    void **slot;

    if (l->gone) {
        TFM_TRY(tfm_group_map_slot(l->gone, group, &slot, err));
        *slot = l;
    }
    return send(l, &rec, NULL, err);
}

/* program NULL: it failed here. */
static tfm_status send_error(loop *l, uint32_t group, const char *program, const char *message,
                             tfm_error *err) {
    const tfm_stage_options *o = &l->stage->options;
    size_t n = strlen(message);
    tfm_record rec = {.type = TFM_REC_ERROR,
                      .dtype = TFM_U8,
                      .rank = 1,
                      .group = group,
                      .bytes = n,
                      .dims = {(uint32_t)n, 1, 1, 1}};

    snprintf(rec.name, sizeof rec.name, "%s", program ? program : l->options.program);
    if (!program && o->failed) o->failed(o->ctx, group, message);
    TFM_TRY(send(l, &rec, message, err));
    return send_end(l, group, 0, TFM_END_ERROR, err);
}

/* ---- what comes back ---- */

static tfm_status cut(loop *l, tfm_status st, tfm_error *err) {
    if (st == TFM_TRUNCATED) *l->is_cut = true;
    if (st != TFM_DONE) return st;
    *l->is_cut = true;
    return tfm_fail(err, TFM_TRUNCATED, "the loop ended before its END");
}

static void take_token(loop_group *g, const tfm_record *rec, const void *payload) {
    if (rec->position != g->len) return; /* released later: it was known as it was held */
    g->id = (int32_t)tfm_load_u32(payload);
    g->len++;
    g->is_answered = g->has_begun = true;
}

static tfm_status take_answer(loop *l, const tfm_record *rec, tfm_error *err) {
    loop_group *g = tfm_group_map_find(l->map, rec->group);
    bool is_held = rec->type == TFM_REC_LOOP && strcmp(rec->name, "held") == 0;
    bool is_tokens = rec->type == TFM_REC_TENSOR && strcmp(rec->name, "tokens") == 0;
    const void *payload;

    if (!g || g->is_over) return TFM_OK;
    if (is_held || is_tokens) {
        if (rec->dtype != TFM_I32 || rec->bytes != sizeof(int32_t))
            return tfm_fail(err, TFM_FORMAT,
                            "the loop: record %u: a token of group %u must be i32 [1]", rec->seq,
                            rec->group);
        TFM_TRY(tfm_reader_payload(l->in, &payload, err));
        take_token(g, rec, payload);
    } else if (rec->type == TFM_REC_GROUP_END) {
        g->is_over = true;
        g->how = rec->status;
        g->end = rec->position;
    } else if (rec->type == TFM_REC_ERROR) {
        g->is_over = true;
        g->how = TFM_END_ERROR;
        g->end = g->has_begun ? g->len : 0;
    }
    return TFM_OK;
}

static tfm_status read_header(loop *l, tfm_error *err) {
    if (l->has_header) return TFM_OK;
    tfm_status st = tfm_reader_stream(l->in, err);
    if (st != TFM_OK) return cut(l, st, err);
    l->has_header = true;
    return tfm_header_expect(tfm_reader_header(l->in), "tokens", err);
}

/* Sends what was kept back with FLUSH and reads until FLUSH has come round. */
static tfm_status exchange(loop *l, tfm_error *err) {
    tfm_record rec;

    if (!l->has_last) return TFM_OK;
    TFM_TRY(send_last(l, TFM_FLAG_FLUSH, err));
    TFM_TRY(read_header(l, err));
    do {
        tfm_status st = tfm_reader_next(l->in, &rec, err);
        if (st != TFM_OK) return cut(l, st, err);
        TFM_TRY(take_answer(l, &rec, err));
    } while (!(rec.flags & TFM_FLAG_FLUSH));
    return TFM_OK;
}

static tfm_status check_answers(const loop *l, tfm_error *err) {
    for (size_t i = 0; i < l->n_open; i++) {
        const loop_group *g = l->open[i];
        if (g->is_over || g->is_answered) continue;
        return tfm_fail(err, TFM_FORMAT,
                        "the loop brought no token of group %u at position %u: is it the output of "
                        "this pipeline's tfm-sample?",
                        g->group, g->len);
    }
    return TFM_OK;
}

/* ---- a round ---- */

static tfm_status close_finished(loop *l, tfm_error *err) {
    size_t kept = 0;

    tfm_group_map_free(l->gone);
    l->gone = NULL;
    TFM_TRY(tfm_group_map_new(&l->gone, err));
    for (size_t i = 0; i < l->n_open; i++) {
        loop_group *g = l->open[i];
        if (!g->is_over) {
            l->open[kept++] = g;
            continue;
        }
        tfm_status st = send_end(l, g->group, g->end, g->how, err);
        if (st != TFM_OK) { /* the rest stays in the list, to be freed once */
            memmove(l->open + kept, l->open + i, (l->n_open - i) * sizeof(loop_group *));
            l->n_open -= i - kept;
            return st;
        }
        tfm_group_map_remove(l->map, g->group);
        tfm_free(g);
    }
    l->n_open = kept;
    if (kept == 0) l->is_draining = false;
    return TFM_OK;
}

static tfm_status send_rows(loop *l, tfm_error *err) {
    for (size_t i = 0; i < l->n_open; i++) {
        loop_group *g = l->open[i];
        g->is_answered = false;
        TFM_TRY(send_tokens(l, g->group, g->len - 1, &g->id, 1, err));
    }
    return TFM_OK;
}

/* The next prompt into l->next, if there is one and this round may take it. */
static tfm_status fetch(loop *l, tfm_error *err) {
    if (l->has_next || l->prompts_ended || l->is_draining) return TFM_OK;
    tfm_status st = tfm_prompts_next(l->prompts, &l->next, err);
    if (st == TFM_DONE) {
        l->prompts_ended = true;
        return TFM_OK;
    }
    l->has_next = st == TFM_OK;
    return st;
}

static tfm_status send_all(loop *l, const tfm_passed *p, size_t n, tfm_error *err) {
    for (size_t i = 0; i < n; i++) TFM_TRY(send(l, &p[i].record, p[i].payload, err));
    return TFM_OK;
}

static tfm_status send_passed(loop *l, const tfm_passed *p, size_t n, tfm_error *err) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < n; i++) bytes += p[i].record.bytes;
    TFM_TRY(send_all(l, p, n, err));
    return bytes > SMALL_PASS ? exchange(l, err) : TFM_OK;
}

static tfm_status open_group(loop *l, const tfm_prompt *p, tfm_error *err) {
    loop_group *g = NULL;
    void **slot;

    TFM_TRY(tfm_grow((void **)&l->open, &l->open_cap, l->n_open + 1, sizeof *l->open, err));
    TFM_TRY(tfm_alloc((void **)&g, 1, sizeof *g, err));
    *g = (loop_group){.group = p->group, .len = (uint32_t)p->n};
    l->open[l->n_open++] = g;
    TFM_TRY(tfm_group_map_slot(l->map, p->group, &slot, err));
    *slot = g;
    return send_tokens(l, p->group, 0, p->ids, p->n, err);
}

/* Sends l->next. */
static tfm_status admit(loop *l, tfm_error *err) {
    const tfm_prompt *p = &l->next;

    l->is_draining = p->flush;
    l->has_next = false; /* its memory lasts until the next one is asked for */
    TFM_TRY(send_passed(l, p->passed, p->n_passed, err));
    if (p->message) return send_error(l, p->group, p->program, p->message, err);
    if (p->n == 0)
        return send_error(l, p->group, NULL,
                          "the prompt has no token: there is nothing to go on from", err);
    return open_group(l, p, err);
}

static tfm_status admit_some(loop *l, tfm_error *err) {
    uint32_t budget = l->options.row_budget;

    for (size_t rows = 0; l->n_open < l->options.sequences;) {
        TFM_TRY(fetch(l, err));
        if (!l->has_next) return TFM_OK;
        size_t n = l->next.n + 1; /* one for what a failed prompt costs */
        if (rows && rows + n > budget) return TFM_OK;
        if (tfm_group_map_find(l->map, l->next.group) || tfm_group_map_find(l->gone, l->next.group))
            return TFM_OK; /* the number is used again: when the one before has ended */
        rows += n;
        TFM_TRY(admit(l, err));
    }
    return TFM_OK;
}

static tfm_status run(loop *l, tfm_error *err) {
    const tfm_passed *rest;
    size_t n_rest;

    for (;;) {
        TFM_TRY(close_finished(l, err));
        TFM_TRY(send_rows(l, err));
        TFM_TRY(admit_some(l, err));
        if (l->n_open == 0 && !l->has_next && l->prompts_ended) break;
        TFM_TRY(exchange(l, err));
        TFM_TRY(check_answers(l, err));
    }
    rest = tfm_prompts_rest(l->prompts, &n_rest);
    TFM_TRY(send_passed(l, rest, n_rest, err));
    TFM_TRY(send_last(l, 0, err));
    TFM_TRY(tfm_stage_flush(l->stage, l->w, err));
    TFM_TRY(tfm_writer_end(l->w, err));
    TFM_TRY(read_header(l, err));
    for (tfm_record rec;;) {
        tfm_status st = tfm_reader_next(l->in, &rec, err);
        if (st == TFM_DONE) return TFM_OK;
        if (st != TFM_OK) return cut(l, st, err);
    }
}

tfm_status tfm_loop_run(tfm_stage *s, tfm_prompts *prompts, tfm_reader *in, tfm_writer *w,
                        const tfm_loop_options *o, bool *is_cut, tfm_error *err) {
    loop l = {.stage = s, .prompts = prompts, .in = in, .w = w, .options = *o, .is_cut = is_cut};

    *is_cut = false;
    if (l.options.sequences == 0) l.options.sequences = DEFAULT_SEQUENCES;
    if (l.options.row_budget == 0) l.options.row_budget = DEFAULT_ROWS;
    tfm_status st = tfm_group_map_new(&l.map, err);
    if (st == TFM_OK) st = run(&l, err);
    for (size_t i = 0; i < l.n_open; i++) tfm_free(l.open[i]);
    tfm_free(l.open);
    tfm_free(l.last_payload);
    tfm_group_map_free(l.map);
    tfm_group_map_free(l.gone);
    return st;
}

/* ---- no loop ---- */

static tfm_status send_prompt(loop *l, const tfm_prompt *p, tfm_error *err) {
    TFM_TRY(send_all(l, p->passed, p->n_passed, err));
    if (p->message) return send_error(l, p->group, p->program, p->message, err);
    TFM_TRY(send_tokens(l, p->group, 0, p->ids, p->n, err));
    return send_end(l, p->group, (uint32_t)p->n, TFM_END_OPEN, err);
}

static tfm_status send_prompts(loop *l, tfm_prompts *prompts, tfm_error *err) {
    const tfm_passed *rest;
    tfm_prompt p;
    tfm_status st;
    size_t n;

    while ((st = tfm_prompts_next(prompts, &p, err)) == TFM_OK) {
        TFM_TRY(send_prompt(l, &p, err));
        TFM_TRY(send_last(l, p.flush ? TFM_FLAG_FLUSH : 0, err));
    }
    if (st != TFM_DONE) return st;
    rest = tfm_prompts_rest(prompts, &n);
    TFM_TRY(send_all(l, rest, n, err));
    return send_last(l, 0, err);
}

tfm_status tfm_stage_prompts(tfm_stage *s, tfm_prompts *prompts, tfm_writer *w, const char *program,
                             tfm_error *err) {
    loop l = {.stage = s, .w = w, .options = {.program = program}};
    tfm_status st = send_prompts(&l, prompts, err);

    tfm_free(l.last_payload);
    if (st != TFM_OK) return st;
    TFM_TRY(tfm_stage_flush(s, w, err));
    return tfm_writer_end(w, err);
}
