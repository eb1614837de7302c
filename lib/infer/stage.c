/* stage.c - a range of the model over a stream: gather, run one batch, write in input order.
 *
 *     take -> [entries: rows | passed records] -> run (one batch) -> write, in order
 *
 * Owns the groups' caches and what is gathered. An entry is a record on its way through: rows to be
 * computed, or a record that only keeps its place. The rows of one group that are gathered together
 * are one sequence of the batch; a record that goes back in its group first runs what is gathered.
 * What a stage may take is checked once per stream (stage_check.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/stage_internal.h"
#include "tfm/loop.h"

#define DEFAULT_ROWS 512u
#define MAX_ENTRIES 65536u /* gathered at most, whatever they are */

/* ---- groups ---- */

static void group_free(tfm_stage *s, stage_group *g) {
    if (!g) return;
    tfm_seq_release(tfm_engine_pages(s->engine), &g->seq);
    tfm_free(g);
}

static tfm_status group_get(tfm_stage *s, uint32_t number, stage_group **out, tfm_error *err) {
    void **slot;

    TFM_TRY(tfm_group_map_slot(s->groups, number, &slot, err));
    if (!*slot) {
        stage_group *g = NULL;
        tfm_status st = tfm_alloc((void **)&g, 1, sizeof *g, err);
        if (st != TFM_OK) {
            tfm_group_map_remove(s->groups, number);
            return st;
        }
        g->number = number;
        *slot = g;
    }
    *out = *slot;
    return TFM_OK;
}

/* ---- making and freeing ---- */

/* A GROUP-END owns its group, which left the map when it was taken: the number may come again. */
static void entry_free(tfm_stage *s, stage_entry *e) {
    if (e->record.type == TFM_REC_GROUP_END) group_free(s, e->group);
    tfm_free(e->payload);
    memset(e, 0, sizeof *e);
}

static void forget_all(tfm_stage *s) {
    size_t at = 0;

    for (size_t i = 0; i < s->n_entries; i++) entry_free(s, &s->entry[i]);
    s->n_entries = 0;
    s->n_rows = 0;
    for (stage_group *g; s->groups && (g = tfm_group_map_next(s->groups, &at)) != NULL;)
        group_free(s, g);
    tfm_group_map_free(s->groups);
    s->groups = NULL;
}

void tfm_stage_free(tfm_stage *s) {
    if (!s) return;
    forget_all(s);
    tfm_free(s->entry);
    tfm_free(s->batch_group);
    tfm_free(s->token);
    tfm_free(s->position);
    tfm_free(s->row_start);
    tfm_free((void *)s->page);
    tfm_free(s->group);
    tfm_buf_free(&s->taps);
    tfm_free(s->out_row);
    tfm_free(s->out_index);
    tfm_free(s->hidden_in);
    tfm_free(s->result);
    tfm_engine_free(s->engine);
    tfm_free(s);
}

tfm_status tfm_stage_new(tfm_stage **out, tfm_model *model, const tfm_stage_options *o,
                         const tfm_header *in, tfm_error *err) {
    tfm_stage *s = NULL;
    tfm_status st;

    *out = NULL;
    TFM_TRY(tfm_alloc((void **)&s, 1, sizeof *s, err));
    s->options = *o;
    s->model = model;
    if (s->options.row_budget == 0) s->options.row_budget = DEFAULT_ROWS;
    if ((st = tfm_stage_settle(s, in, err)) != TFM_OK) goto fail;
    if ((st = tfm_engine_new(&s->engine, model, &s->options.engine, err)) != TFM_OK) goto fail;
    if ((st = tfm_stage_restart(s, in, err)) != TFM_OK) goto fail;
    if (tfm_engine_n_taps(s->engine) && !o->tap_out) {
        st = tfm_fail(err, TFM_USAGE, "there are taps and no stream that they go to");
        goto fail;
    }
    *out = s;
    return TFM_OK;
fail:
    tfm_stage_free(s);
    return st;
}

tfm_status tfm_stage_restart(tfm_stage *s, const tfm_header *in, tfm_error *err) {
    TFM_TRY(tfm_stage_check(s, in, err));
    forget_all(s);
    return tfm_group_map_new(&s->groups, err);
}

uint64_t tfm_stage_n_failed(const tfm_stage *s) {
    return s->n_failed;
}

/* ---- one batch ---- */

/* Numbers the groups of the gathered rows in order of first appearance and gives each entry its
 * place: rows of a group follow one another, whatever lay between them in the stream. */
static void lay_out(tfm_stage *s) {
    uint32_t at = 0;

    s->n_seqs = 0;
    for (size_t i = 0; i < s->n_entries; i++) {
        stage_entry *e = &s->entry[i];
        if (e->n_rows == 0) continue;
        if (!e->group->in_batch) {
            e->group->in_batch = true;
            e->group->rows_in_batch = 0;
            s->batch_group[s->n_seqs++] = e->group;
        }
        e->row = e->group->rows_in_batch; /* within the group, for now */
        e->group->rows_in_batch += e->n_rows;
    }
    for (uint32_t q = 0; q < s->n_seqs; q++) {
        s->row_start[q] = at;
        s->batch_group[q]->batch_row = at;
        at += s->batch_group[q]->rows_in_batch;
        s->batch_group[q]->in_batch = false;
        s->page[q] = s->batch_group[q]->seq.page;
        s->group[q] = s->batch_group[q]->number;
    }
    s->row_start[s->n_seqs] = at;
    for (size_t i = 0; i < s->n_entries; i++)
        if (s->entry[i].n_rows) s->entry[i].row += s->entry[i].group->batch_row;
}

/* Grows one array of the batch to hold n elements. */
#define ROOM(array, n) tfm_grow((void **)&s->array, &s->array##_cap, (n), sizeof *s->array, err)

static tfm_status make_room(tfm_stage *s, tfm_error *err) {
    size_t n = s->n_rows, width = tfm_engine_width(s->engine);

    TFM_TRY(ROOM(batch_group, n));
    TFM_TRY(ROOM(position, n));
    TFM_TRY(ROOM(row_start, n + 1));
    TFM_TRY(ROOM(page, n));
    TFM_TRY(ROOM(group, n));
    TFM_TRY(ROOM(out_row, n));
    TFM_TRY(ROOM(out_index, n));
    if (s->options.part == TFM_PART_EMBED) return ROOM(token, n);
    return ROOM(hidden_in, n * width);
}

static void fill_rows(tfm_stage *s) {
    size_t width = tfm_engine_width(s->engine);

    for (size_t i = 0; i < s->n_entries; i++) {
        const stage_entry *e = &s->entry[i];
        for (uint32_t r = 0; r < e->n_rows; r++) s->position[e->row + r] = e->record.position + r;
        if (e->n_rows == 0) continue;
        if (s->options.part == TFM_PART_EMBED)
            memcpy(s->token + e->row, e->payload, e->n_rows * sizeof *s->token);
        else
            memcpy(s->hidden_in + e->row * width, e->payload, e->n_rows * width * sizeof(float));
    }
}

static bool wants_logits(const tfm_stage *s, const stage_entry *e, uint32_t row) {
    if (s->options.all_rows) return true;
    return (e->record.flags & TFM_FLAG_LAST) && row == e->n_rows - 1;
}

/* HEAD: which rows of the batch want logits, ascending; out_index is the way back. */
static void choose_rows(tfm_stage *s, tfm_batch *b) {
    memset(s->out_index, 0, s->n_rows * sizeof *s->out_index);
    for (size_t i = 0; i < s->n_entries; i++)
        for (uint32_t r = 0; r < s->entry[i].n_rows; r++)
            if (wants_logits(s, &s->entry[i], r)) s->out_index[s->entry[i].row + r] = 1;
    for (uint32_t r = 0; r < s->n_rows; r++)
        if (s->out_index[r]) {
            s->out_index[r] = b->n_out;
            s->out_row[b->n_out++] = r;
        }
}

static tfm_status run_batch(tfm_stage *s, tfm_error *err) {
    tfm_batch b = {.n_rows = s->n_rows};
    size_t need;

    if (s->n_rows == 0) return TFM_OK;
    TFM_TRY(make_room(s, err));
    lay_out(s);
    fill_rows(s);
    b.n_seqs = s->n_seqs;
    b.row_start = s->row_start;
    b.position = s->position;
    b.page = s->page;
    b.group = s->group;
    if (s->options.part == TFM_PART_EMBED)
        b.token = s->token;
    else
        b.hidden_in = s->hidden_in;
    if (s->options.part == TFM_PART_HEAD) {
        choose_rows(s, &b);
        need = (size_t)b.n_out * tfm_engine_n_vocab(s->engine);
        TFM_TRY(ROOM(result, need));
        b.out_row = s->out_row;
        b.logits = s->result;
        if (b.n_out == 0 && tfm_engine_n_taps(s->engine) == 0) return TFM_OK;
    } else {
        need = (size_t)s->n_rows * tfm_engine_width(s->engine);
        TFM_TRY(ROOM(result, need));
        b.hidden_out = s->result;
    }
    return tfm_engine_run(s->engine, &b, err);
}

/* ---- writing ---- */

/* The rows of one entry as records of at most TFM_PAYLOAD_MAX; the flags go on the last. */
static tfm_status write_rows(tfm_stage *s, const stage_entry *e, const float *rows, uint32_t n,
                             uint32_t position, uint32_t width, tfm_writer *w, tfm_error *err) {
    uint32_t most = (uint32_t)(TFM_PAYLOAD_MAX / (width * sizeof(float)));
    tfm_record rec = {
        .type = TFM_REC_TENSOR, .dtype = TFM_F32, .rank = 2, .group = e->record.group};

    if (most == 0)
        return tfm_fail(err, TFM_LIMIT, "a row of %u numbers does not fit a record", width);
    snprintf(rec.name, sizeof rec.name, "%s",
             s->options.part == TFM_PART_HEAD ? "logits" : "hidden");
    for (uint32_t at = 0; at < n; at += most) {
        uint32_t some = n - at < most ? n - at : most;
        rec.position = position + at;
        rec.dims[0] = some;
        rec.dims[1] = width;
        rec.dims[2] = rec.dims[3] = 1;
        rec.flags = at + some == n ? e->record.flags : 0;
        TFM_TRY(tfm_writer_record(w, &rec, rows + (size_t)at * width, err));
    }
    return TFM_OK;
}

static tfm_status write_result(tfm_stage *s, const stage_entry *e, tfm_writer *w, tfm_error *err) {
    uint32_t width = tfm_engine_width(s->engine), n_vocab = tfm_engine_n_vocab(s->engine);

    if (s->options.part != TFM_PART_HEAD)
        return write_rows(s, e, s->result + (size_t)e->row * width, e->n_rows, e->record.position,
                          width, w, err);
    uint32_t first = s->options.all_rows ? 0 : e->n_rows - 1, n = e->n_rows - first;
    if (!wants_logits(s, e, first)) { /* nothing to say, but the writer may be waiting */
        const tfm_record note = TFM_FLUSH_NOTE;
        return e->record.flags & TFM_FLAG_FLUSH ? tfm_writer_record(w, &note, NULL, err) : TFM_OK;
    }
    size_t index = s->out_index[e->row + first]; /* rows of one entry are consecutive */
    return write_rows(s, e, s->result + index * n_vocab, n, e->record.position + first, n_vocab, w,
                      err);
}

/* What was kept of the entry's rows; of other records those that a stream of values needs, too. */
static tfm_status write_taps(tfm_stage *s, const stage_entry *e, tfm_error *err) {
    tfm_writer *to = s->options.tap_out;
    uint8_t type = e->record.type;

    if (!to || tfm_engine_n_taps(s->engine) == 0) return TFM_OK;
    if (e->n_rows == 0) {
        if (type != TFM_REC_GROUP_END && type != TFM_REC_ERROR && type != TFM_REC_FORK)
            return TFM_OK;
        return tfm_writer_record(to, &e->record, e->payload, err);
    }
    tfm_buf_clear(&s->taps);
    TFM_TRY(tfm_engine_tap_rows(s->engine, e->row, e->n_rows, e->record.position, &s->taps, err));
    TFM_TRY(tfm_engine_tap_write(s->engine, e->record.group, e->record.position, e->n_rows,
                                 &s->taps, to, err));
    return e->record.flags & TFM_FLAG_FLUSH ? tfm_writer_flush(to, err) : TFM_OK;
}

static tfm_status write_entry(tfm_stage *s, stage_entry *e, tfm_writer *w, tfm_error *err) {
    TFM_TRY(write_taps(s, e, err));
    if (e->n_rows) return write_result(s, e, w, err);
    return tfm_writer_record(w, &e->record, e->payload, err);
}

tfm_status tfm_stage_flush(tfm_stage *s, tfm_writer *w, tfm_error *err) {
    TFM_TRY(run_batch(s, err));
    for (size_t i = 0; i < s->n_entries; i++) {
        TFM_TRY(write_entry(s, &s->entry[i], w, err));
        entry_free(s, &s->entry[i]);
    }
    s->n_entries = 0;
    s->n_rows = 0;
    return TFM_OK;
}

/* ---- taking ---- */

static tfm_status add_entry(tfm_stage *s, const tfm_record *rec, const void *payload,
                            uint32_t n_rows, stage_group *g, tfm_error *err) {
    TFM_TRY(tfm_grow((void **)&s->entry, &s->entry_cap, s->n_entries + 1, sizeof *s->entry, err));
    stage_entry *e = &s->entry[s->n_entries];
    *e = (stage_entry){.record = *rec, .n_rows = n_rows, .group = g};
    if (payload && rec->bytes) {
        TFM_TRY(tfm_alloc(&e->payload, (size_t)rec->bytes, 1, err));
        memcpy(e->payload, payload, (size_t)rec->bytes);
    }
    s->n_entries++;
    s->n_rows += n_rows;
    return TFM_OK;
}

/* What was taken leaves no record of its own: a FLUSH goes on with the one before it, or alone. */
static tfm_status hand_on_flush(tfm_stage *s, const tfm_record *rec, tfm_error *err) {
    const tfm_record note = TFM_FLUSH_NOTE;

    if (!(rec->flags & TFM_FLAG_FLUSH)) return TFM_OK;
    if (s->n_entries == 0) return add_entry(s, &note, NULL, 0, NULL, err);
    s->entry[s->n_entries - 1].record.flags |= TFM_FLAG_FLUSH;
    return TFM_OK;
}

/* The group goes no further: ERROR now, GROUP-END with status error when its own comes. */
static tfm_status fail_group(tfm_stage *s, stage_group *g, const tfm_record *from, const char *why,
                             tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_ERROR,
                      .dtype = TFM_U8,
                      .rank = 1,
                      .flags = from->flags & TFM_FLAG_FLUSH,
                      .group = from->group,
                      .bytes = strlen(why),
                      .dims = {(uint32_t)strlen(why), 1, 1, 1}};

    snprintf(rec.name, sizeof rec.name, "%s", s->options.program);
    g->has_failed = true;
    s->n_failed++;
    if (s->options.failed) s->options.failed(s->options.ctx, from->group, why);
    return add_entry(s, &rec, why, 0, g, err);
}

static tfm_status take_rows(tfm_stage *s, const tfm_record *rec, const void *payload, tfm_writer *w,
                            tfm_error *err) {
    uint32_t n = rec->dims[0];
    stage_group *g;
    char why[160] = "";

    TFM_TRY(tfm_stage_check_rows(s, rec, err));
    TFM_TRY(group_get(s, rec->group, &g, err));
    if (g->has_failed) return hand_on_flush(s, rec, err);
    if (rec->position < g->len) { /* the group goes back: what is gathered must not see it */
        TFM_TRY(tfm_stage_flush(s, w, err));
        tfm_seq_truncate(tfm_engine_pages(s->engine), &g->seq, rec->position);
        g->len = rec->position;
    }
    tfm_stage_refuse(s, g, rec, payload, why, sizeof why);
    if (*why) return fail_group(s, g, rec, why, err);
    if (tfm_engine_has_cache(s->engine)) {
        tfm_error full = {0};
        tfm_status st = tfm_seq_extend(tfm_engine_pages(s->engine), &g->seq, g->len + n, &full);
        if (st == TFM_LIMIT) return fail_group(s, g, rec, full.message, err);
        if (st != TFM_OK) return tfm_fail(err, st, "%s", full.message);
    }
    g->len += n;
    if (s->options.part == TFM_PART_EMBED) { /* the history that tfm-sample looks back on */
        tfm_record history = *rec;
        history.flags = 0;
        TFM_TRY(add_entry(s, &history, payload, 0, g, err));
    }
    return n ? add_entry(s, rec, payload, n, g, err) : hand_on_flush(s, rec, err);
}

static tfm_status take_fork(tfm_stage *s, const tfm_record *rec, const void *payload, tfm_writer *w,
                            tfm_error *err) {
    stage_group *parent, *child;
    uint32_t from, len;

    if (rec->dtype != TFM_I32 || rec->bytes != 8)
        return tfm_fail(err, TFM_FORMAT, "record %u: a FORK holds two i32: parent and length",
                        rec->seq);
    from = tfm_load_u32(payload);
    len = tfm_load_u32((const char *)payload + 4);
    TFM_TRY(tfm_stage_flush(s, w, err));
    parent = tfm_group_map_find(s->groups, from);
    /* Of a parent without rows nothing has come here, and nothing is taken from it. */
    if (len > (parent ? parent->len : 0) || tfm_group_map_find(s->groups, rec->group))
        return tfm_fail(err, TFM_FORMAT,
                        "record %u: FORK of group %u at %u into %u: the parent must be open and as "
                        "long, the new group not open",
                        rec->seq, from, len, rec->group);
    TFM_TRY(group_get(s, rec->group, &child, err));
    parent = tfm_group_map_find(s->groups, from);
    child->len = len;
    child->has_failed = parent && parent->has_failed;
    if (parent && tfm_engine_has_cache(s->engine))
        TFM_TRY(tfm_seq_fork(tfm_engine_pages(s->engine), &child->seq, &parent->seq, len, err));
    return add_entry(s, rec, payload, 0, child, err);
}

/* What comes later under this number is a new group, also while rows of this one are gathered. */
static tfm_status take_end(tfm_stage *s, const tfm_record *rec, tfm_error *err) {
    stage_group *g = tfm_group_map_remove(s->groups, rec->group);
    tfm_record passed = *rec;

    if (g && g->has_failed) { /* as tfm-run ends a group whose prompt did not run */
        passed.status = TFM_END_ERROR;
        passed.position = 0;
    }
    tfm_status st = add_entry(s, &passed, NULL, 0, g, err);
    if (st != TFM_OK) group_free(s, g);
    return st;
}

static tfm_status take_passed(tfm_stage *s, const tfm_record *rec, const void *payload,
                              tfm_error *err) {
    stage_group *g = NULL;

    if (rec->type == TFM_REC_ERROR) {
        TFM_TRY(group_get(s, rec->group, &g, err));
        g->has_failed = true;
        s->n_failed++;
    }
    return add_entry(s, rec, payload, 0, g, err);
}

static bool is_rows(const tfm_stage *s, const tfm_record *rec) {
    const char *name = s->options.part == TFM_PART_EMBED ? "tokens" : "hidden";
    return rec->type == TFM_REC_TENSOR && strcmp(rec->name, name) == 0;
}

tfm_status tfm_stage_take(tfm_stage *s, const tfm_record *rec, const void *payload, tfm_writer *w,
                          tfm_error *err) {
    bool flush = rec->flags & TFM_FLAG_FLUSH;

    if (is_rows(s, rec))
        TFM_TRY(take_rows(s, rec, payload, w, err));
    else if (rec->type == TFM_REC_FORK)
        TFM_TRY(take_fork(s, rec, payload, w, err));
    else if (rec->type == TFM_REC_GROUP_END)
        TFM_TRY(take_end(s, rec, err));
    else
        TFM_TRY(take_passed(s, rec, payload, err));
    if (!flush && s->n_rows < s->options.row_budget && s->n_entries < MAX_ENTRIES) return TFM_OK;
    TFM_TRY(tfm_stage_flush(s, w, err));
    return flush ? tfm_writer_flush(w, err) : TFM_OK;
}

/* The model's tokens are known only when a group's text is whole. */
static tfm_status run_raw(tfm_stage *s, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    const tfm_vocab *vocab;
    tfm_prompts *p;

    TFM_TRY(tfm_model_vocab(s->model, &vocab, err));
    TFM_TRY(tfm_prompts_new(&p, r, vocab, tfm_model_path(s->model), err));
    tfm_status st = tfm_stage_prompts(s, p, w, s->options.program, err);
    tfm_prompts_free(p);
    return st;
}

tfm_status tfm_stage_run(tfm_stage *s, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    const void *payload;
    tfm_record rec;
    tfm_status st;

    if (tfm_stage_is_raw(s, tfm_reader_header(r))) return run_raw(s, r, w, err);
    while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
        TFM_TRY(tfm_reader_payload(r, &payload, err));
        TFM_TRY(tfm_stage_take(s, &rec, payload, w, err));
    }
    if (st != TFM_DONE) return st;
    TFM_TRY(tfm_stage_flush(s, w, err));
    return tfm_writer_end(w, err);
}
