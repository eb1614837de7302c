/* draw.c - the groups: what each has so far, the next token, when it ends.
 *
 * Owns the history of each group and the order in which ends are looked for, which is that of
 * tfm-run: the room for a token at all, an end token, a stop string, the number asked for, the
 * context. Under --stop a token that is not certain yet goes out as `held`, so that the generation
 * loop has it; what is certain goes out as `tokens`, as ever. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

#define FORKED_MAX                                                                                 \
    (1u << 24) /* ids that groups have from others: 64 MiB; as in a stream of tokens */

/* What is kept of a group: its tokens so far. */
typedef struct group_state {
    size_t n_forked; /* it began with, of another group */
    int32_t *ids;    /* [n] */
    size_t n, cap;
    uint32_t n_new; /* drawn */
    uint32_t first; /* position of the first drawn one */
    uint32_t n_out; /* written as tokens */
    tfm_stop *stop; /* or NULL */
    bool has_ended; /* what still comes of it is dropped */
} group_state;

static void state_free(group_state *s) {
    if (!s) return;
    tfm_stop_free(s->stop);
    free(s->ids);
    free(s);
}

void draw_close(stage *g) {
    size_t at = 0;

    for (group_state *s; g->groups && (s = tfm_group_map_next(g->groups, &at)) != NULL;)
        state_free(s);
    tfm_group_map_free(g->groups);
    g->groups = NULL;
    g->n_forked = 0;
}

static tfm_status state_get(stage *g, uint32_t group, group_state **out, tfm_error *err) {
    void **slot;

    TFM_TRY(tfm_group_map_slot(g->groups, group, &slot, err));
    if (!*slot && !(*slot = calloc(1, sizeof(group_state)))) {
        tfm_group_map_remove(g->groups, group);
        return tfm_fail(err, TFM_NOMEM, "out of memory");
    }
    *out = *slot;
    return g->stops && !(*out)->stop ? tfm_stop_new(&(*out)->stop, g->stops, err) : TFM_OK;
}

/* Puts ids at `position`, cutting what was there. A gap is left to the penalties: they do not
 * mind. */
static tfm_status remember(group_state *s, uint32_t position, const int32_t *ids, size_t n,
                           tfm_error *err) {
    if (position < s->n) s->n = position;
    if (s->n + n > s->cap) {
        size_t cap = (s->n + n) * 2;
        int32_t *wider = realloc(s->ids, cap * sizeof *ids);
        if (!wider) return tfm_fail(err, TFM_NOMEM, "out of memory");
        s->ids = wider;
        s->cap = cap;
    }
    if (n) memcpy(s->ids + s->n, ids, n * sizeof *ids);
    s->n += n;
    return TFM_OK;
}

/* ---- what is written ---- */

/* One token, as `tokens` (certain) or `held`. */
static tfm_status write_token(stage *g, const tfm_record *from, uint32_t position, int32_t id,
                              bool is_held, uint16_t flags, tfm_error *err) {
    tfm_record rec = {.type = is_held ? TFM_REC_LOOP : TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .group = from->group,
                      .position = position,
                      .dims = {1, 1, 1, 1}};

    snprintf(rec.name, sizeof rec.name, "%s", is_held ? "held" : "tokens");
    rec.flags = (uint16_t)((from->flags & TFM_FLAG_LAST) | flags);
    TFM_TRY(turn_add(&g->turn, &rec, NULL, err));
    g->turn.id = id;
    g->turn.payload = &g->turn.id;
    return TFM_OK;
}

/* Tokens that are certain. */
static tfm_status write_ready(stage *g, const tfm_record *from, group_state *s, const tfm_ids *ids,
                              tfm_error *err) {
    for (size_t i = 0; i < ids->len; i++) {
        uint16_t flags = s->n_out == 0 ? TFM_FLAG_CONTINUES : 0;
        TFM_TRY(write_token(g, from, s->first + s->n_out, ids->data[i], false, flags, err));
        s->n_out++;
    }
    return TFM_OK;
}

static tfm_status write_end(stage *g, group_state *s, uint32_t group, tfm_end how, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_GROUP_END,
                      .group = group,
                      .position = s->first + s->n_out,
                      .status = (uint16_t)how};

    s->has_ended = true;
    return turn_add(&g->turn, &rec, NULL, err);
}

/* The group ends; what was held back is certain now. */
static tfm_status finish(stage *g, const tfm_record *from, group_state *s, tfm_end how,
                         tfm_error *err) {
    tfm_ids ready = {0};
    tfm_status st = s->stop ? tfm_stop_flush(s->stop, &ready, err) : TFM_OK;

    if (st == TFM_OK) st = write_ready(g, from, s, &ready, err);
    tfm_ids_free(&ready);
    return st == TFM_OK ? write_end(g, s, from->group, how, err) : st;
}

/* The group fails for the reason in g->why, if that is its own; else the stream does. */
static tfm_status fail(stage *g, const tfm_record *from, group_state *s, tfm_status st,
                       tfm_error *err) {
    size_t n = strlen(g->why.message);
    tfm_record rec = {.type = TFM_REC_ERROR,
                      .dtype = TFM_U8,
                      .rank = 1,
                      .group = from->group,
                      .dims = {(uint32_t)n, 1, 1, 1}};

    if (st != TFM_RECORD) return tfm_fail(err, st, "%s", g->why.message);
    tfm_cli_group_failed(g->cli, from->group, g->why.message);
    snprintf(rec.name, sizeof rec.name, "%s", g->cli->program->name);
    TFM_TRY(turn_add(&g->turn, &rec, g->why.message, err));
    return write_end(g, s, from->group, TFM_END_ERROR, err);
}

/* ---- drawing ---- */

static bool is_end(const stage *g, int32_t id) {
    for (size_t i = 0; i < g->ends.len; i++)
        if (g->ends.data[i] == id) return true;
    return g->vocab && (uint32_t)id < tfm_vocab_size(g->vocab) &&
           (tfm_vocab_flags(g->vocab, (uint32_t)id) & TFM_TOKEN_EOG);
}

/* Writes what a drawn token makes certain, or holds it. */
static tfm_status give(stage *g, const tfm_record *rec, group_state *s, int32_t id,
                       uint32_t position, bool *stopped, tfm_error *err) {
    tfm_ids ready = {0};
    tfm_status st;

    *stopped = false;
    if (!s->stop) {
        ready = (tfm_ids){.data = &id, .len = 1, .cap = 1};
        return write_ready(g, rec, s, &ready, err);
    }
    st = tfm_stop_push(s->stop, id, &ready, stopped, &g->why);
    if (st != TFM_OK) {
        tfm_ids_free(&ready);
        return fail(g, rec, s, st, err);
    }
    st = write_ready(g, rec, s, &ready, err);
    tfm_ids_free(&ready);
    if (st == TFM_OK && !*stopped && s->n_out < s->n_new)
        st = write_token(g, rec, position, id, true, 0, err);
    return st;
}

/* One row: draw, write, settle whether the group ends. position: of the new token. */
static tfm_status draw(stage *g, const tfm_record *rec, group_state *s, const float *logits,
                       uint32_t position, tfm_error *err) {
    bool stopped;
    int32_t id;

    if (!s->stop || s->n_new == 0) s->first = position - s->n_out; /* also after going back */
    if (g->opt->has_max && g->opt->max == 0) return finish(g, rec, s, TFM_END_LENGTH, err);
    bool in_ctx = g->ctx && !g->opt->all;
    if (in_ctx && position >= g->ctx) return finish(g, rec, s, TFM_END_CONTEXT, err);
    tfm_status st =
        tfm_sample(g->sampler, logits, s->ids, s->n, rec->group, 0, position, &id, &g->why);
    if (st != TFM_OK) return fail(g, rec, s, st, err);
    if (!g->opt->ignore_end && is_end(g, id)) return finish(g, rec, s, TFM_END_TOKEN, err);
    TFM_TRY(remember(s, position, &id, 1, err));
    s->n_new++;
    TFM_TRY(give(g, rec, s, id, position, &stopped, err));
    if (s->has_ended) return TFM_OK;
    if (stopped) return write_end(g, s, rec->group, TFM_END_STOP, err);
    if (g->opt->has_max && s->n_new >= g->opt->max) return finish(g, rec, s, TFM_END_LENGTH, err);
    if (in_ctx && position + 1 >= g->ctx) return finish(g, rec, s, TFM_END_CONTEXT, err);
    return TFM_OK;
}

tfm_status draw_logits(stage *g, const tfm_record *rec, tfm_error *err) {
    const void *payload;
    group_state *s;

    if (rec->dtype != TFM_F32 || rec->rank != 2 || rec->dims[1] == 0)
        return tfm_fail(err, TFM_FORMAT,
                        "record %u: logits must be f32 of rank 2, not %s of rank %u", rec->seq,
                        tfm_dtype_name((tfm_dtype)rec->dtype), rec->rank);
    if (g->sampler && rec->dims[1] != g->n_vocab)
        return tfm_fail(err, TFM_FORMAT, "record %u: %u logits a row, earlier ones had %u",
                        rec->seq, rec->dims[1], g->n_vocab);
    TFM_TRY(tfm_reader_payload(g->r, &payload, err));
    if (!g->sampler)
        TFM_TRY(tfm_sampler_new(&g->sampler, &g->opt->sampling, g->n_vocab = rec->dims[1], err));
    TFM_TRY(state_get(g, rec->group, &s, err));
    uint32_t rows = rec->dims[0], first = g->opt->all || rows == 0 ? 0 : rows - 1;
    if (!g->opt->all && !(rec->flags & TFM_FLAG_LAST)) return TFM_OK;
    for (uint32_t i = first; i < rows && !s->has_ended; i++)
        TFM_TRY(draw(g, rec, s, (const float *)payload + (size_t)i * g->n_vocab,
                     rec->position + i + 1, err));
    return TFM_OK;
}

tfm_status draw_remember(stage *g, const tfm_record *rec, tfm_error *err) {
    const void *payload;
    group_state *s;

    if (rec->dtype != TFM_I32 || rec->rank != 1)
        return tfm_fail(err, TFM_FORMAT, "record %u: tokens must be i32 of rank 1", rec->seq);
    TFM_TRY(tfm_reader_payload(g->r, &payload, err));
    TFM_TRY(state_get(g, rec->group, &s, err));
    return remember(s, rec->position, payload, rec->dims[0], err);
}

tfm_status draw_fork(stage *g, const tfm_record *rec, tfm_error *err) {
    const group_state *parent;
    const void *payload;
    group_state *s;
    uint32_t from[2]; /* the parent, and how long it was */

    TFM_TRY(tfm_reader_payload(g->r, &payload, err));
    if (rec->dtype != TFM_I32 || rec->bytes != sizeof from)
        return tfm_fail(err, TFM_FORMAT, "record %u: a FORK holds two i32: parent and length",
                        rec->seq);
    memcpy(from, payload, sizeof from);
    TFM_TRY(state_get(g, rec->group, &s, err));
    parent = tfm_group_map_find(g->groups, from[0]);
    if (!parent || parent == s) return TFM_OK; /* nothing is known of it: there is no history */
    const size_t n = from[1] < parent->n ? from[1] : parent->n;
    g->n_forked -= s->n_forked;
    s->n_forked = 0;
    if (n > FORKED_MAX - g->n_forked)
        return tfm_fail(err, TFM_LIMIT,
                        "record %u: open groups have more than %u tokens by FORK; end some first",
                        rec->seq, FORKED_MAX);
    s->n_forked = n;
    g->n_forked += n;
    return remember(s, 0, parent->ids, n, err);
}

/* GROUP-END, TEXT, ERROR and what we do not know: passed on, unless we ended the group
 * ourselves. */
tfm_status draw_pass(stage *g, const tfm_record *rec, tfm_error *err) {
    group_state *s = tfm_record_has_group(rec) ? tfm_group_map_find(g->groups, rec->group) : NULL;
    const void *payload;

    TFM_TRY(tfm_reader_payload(g->r, &payload, err));
    bool is_over = s && s->has_ended;
    if (rec->type == TFM_REC_ERROR && !is_over) tfm_cli_record_failed(g->cli);
    if (rec->type == TFM_REC_GROUP_END && s) {
        g->n_forked -= s->n_forked;
        state_free(tfm_group_map_remove(g->groups, rec->group));
    }
    return is_over ? TFM_OK : turn_add(&g->turn, rec, payload, err);
}
