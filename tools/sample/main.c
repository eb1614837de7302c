/* main.c - tfm-sample: logits in, tokens out.
 *
 * A token is drawn for the last row of every `logits` record with flag LAST (every row under --all).
 * Records named `tokens` that travel with the logits are the history that penalties look back on.
 * Owns the options, the history of each group, and when a group ends; how a token is drawn is the
 * library's. The random number depends on (seed, group, position) alone, as in tfm-run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tfm/group_map.h"
#include "tfm/load.h"

enum { OPT_ALL = TFM_LONG, OPT_IGNORE_END };

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    {'m', "model", "FILE", "its vocabulary says which tokens end a group (default: $TFM_MODEL)"},
    {'n', "max-tokens", "N", "end a group after N new tokens (default: no limit)"},
    TFM_OPT_SAMPLING,
    {OPT_ALL, "all", NULL, "draw for every row, not only the last of a turn"},
    {OPT_IGNORE_END, "ignore-end", NULL, "go on after an end token"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-sample", "[options] [FILE...]",
                                    "draw tokens: logits to tokens", options};

typedef struct sample_options {
    tfm_sampling sampling;
    bool has_max, all, ignore_end;
    uint32_t max;
} sample_options;

/* What is kept of a group: its tokens so far. */
typedef struct group_state {
    int32_t *ids;
    size_t n, cap;
    uint32_t n_new;
    bool has_ended; /* what still comes of it is dropped */
} group_state;

/* One stream on its way through. */
typedef struct stage {
    tfm_cli *cli;
    const sample_options *opt;
    const tfm_vocab *vocab; /* or NULL */
    tfm_reader *r;
    tfm_writer *w;
    tfm_group_map *groups;
    tfm_sampler *sampler; /* made when the width is known */
    uint32_t n_vocab;
} stage;

static void state_free(group_state *s) {
    if (!s) return;
    free(s->ids);
    free(s);
}

static tfm_status state_get(stage *g, uint32_t group, group_state **out, tfm_error *err) {
    void **slot;

    TFM_TRY(tfm_group_map_slot(g->groups, group, &slot, err));
    if (!*slot && !(*slot = calloc(1, sizeof(group_state))))
        return tfm_fail(err, TFM_NOMEM, "out of memory");
    *out = *slot;
    return TFM_OK;
}

/* Puts ids at `position`, cutting what was there. A gap is left to the penalties: they do not mind. */
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

static tfm_status write_token(stage *g, const tfm_record *from, uint32_t position, int32_t id,
                              bool is_first, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .group = from->group,
                      .position = position,
                      .dims = {1, 1, 1, 1},
                      .name = "tokens"};
    rec.flags = (uint16_t)((from->flags & (TFM_FLAG_FLUSH | TFM_FLAG_LAST)) |
                           (is_first ? TFM_FLAG_CONTINUES : 0));
    return tfm_writer_record(g->w, &rec, &id, err);
}

static tfm_status end_group(stage *g, group_state *s, uint32_t group, uint32_t position,
                            tfm_end how, tfm_error *err) {
    s->has_ended = true;
    return tfm_writer_group_end(g->w, group, position, how, err);
}

/* One row: draw, write, settle whether the group ends. */
static tfm_status draw(stage *g, const tfm_record *rec, group_state *s, const float *logits,
                       uint32_t position, tfm_error *err) {
    tfm_error why = {0};
    int32_t id;

    tfm_status st =
        tfm_sample(g->sampler, logits, s->ids, s->n, rec->group, 0, position, &id, &why);
    if (st == TFM_RECORD) {
        tfm_cli_record_failed(g->cli);
        TFM_TRY(tfm_writer_error(g->w, rec->group, program.name, why.message, err));
        return end_group(g, s, rec->group, position, TFM_END_ERROR, err);
    }
    if (st != TFM_OK) return tfm_fail(err, st, "%s", why.message);
    if (g->vocab && !g->opt->ignore_end && (uint32_t)id < tfm_vocab_size(g->vocab) &&
        (tfm_vocab_flags(g->vocab, (uint32_t)id) & TFM_TOKEN_EOG))
        return end_group(g, s, rec->group, position, TFM_END_TOKEN, err);
    TFM_TRY(write_token(g, rec, position, id, s->n_new == 0, err));
    TFM_TRY(remember(s, position, &id, 1, err));
    if (++s->n_new == g->opt->max && g->opt->has_max)
        return end_group(g, s, rec->group, position + 1, TFM_END_LENGTH, err);
    return TFM_OK;
}

static tfm_status take_logits(stage *g, const tfm_record *rec, tfm_error *err) {
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
    uint32_t rows = rec->dims[0], first = g->opt->all ? 0 : rows - 1;
    if (!g->opt->all && !(rec->flags & TFM_FLAG_LAST)) return TFM_OK;
    if (g->opt->has_max && g->opt->max == 0 && !s->has_ended)
        return end_group(g, s, rec->group, rec->position + rows, TFM_END_LENGTH, err);
    for (uint32_t i = first; i < rows && !s->has_ended; i++)
        TFM_TRY(draw(g, rec, s, (const float *)payload + (size_t)i * g->n_vocab,
                     rec->position + i + 1, err));
    return TFM_OK;
}

static tfm_status take_tokens(stage *g, const tfm_record *rec, tfm_error *err) {
    const void *payload;
    group_state *s;

    if (rec->dtype != TFM_I32 || rec->rank != 1)
        return tfm_fail(err, TFM_FORMAT, "record %u: tokens must be i32 of rank 1", rec->seq);
    TFM_TRY(tfm_reader_payload(g->r, &payload, err));
    TFM_TRY(state_get(g, rec->group, &s, err));
    return remember(s, rec->position, payload, rec->dims[0], err);
}

/* GROUP-END, TEXT, ERROR and what we do not know: passed on, unless we ended the group ourselves. */
static tfm_status pass(stage *g, const tfm_record *rec, tfm_error *err) {
    group_state *s = tfm_group_map_find(g->groups, rec->group);
    const void *payload;

    TFM_TRY(tfm_reader_payload(g->r, &payload, err));
    bool is_over = s && s->has_ended;
    if (rec->type == TFM_REC_ERROR && !is_over) tfm_cli_record_failed(g->cli);
    if (rec->type == TFM_REC_GROUP_END) state_free(tfm_group_map_remove(g->groups, rec->group));
    return is_over ? TFM_OK : tfm_writer_record(g->w, rec, payload, err);
}

static tfm_status write_header(stage *g, tfm_error *err) {
    const tfm_header *in = tfm_reader_header(g->r);
    tfm_header *h;

    if (strcmp(tfm_header_kind(in), "logits") != 0)
        return tfm_fail(err, TFM_MISMATCH, "the input is a stream of kind %s, logits are wanted",
                        tfm_header_kind(in));
    TFM_TRY(tfm_header_copy(&h, in, err));
    tfm_status st = tfm_header_set_kind(h, "tokens", err);
    if (st == TFM_OK) st = tfm_cli_provenance(g->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(g->w, h, err);
    tfm_header_free(h);
    return st;
}

static tfm_status run_stream(stage *g, tfm_error *err) {
    tfm_record rec;
    size_t at = 0;

    TFM_TRY(write_header(g, err));
    TFM_TRY(tfm_group_map_new(&g->groups, err));
    tfm_status st;
    while ((st = tfm_reader_next(g->r, &rec, err)) == TFM_OK) {
        bool is_tensor = rec.type == TFM_REC_TENSOR;
        if (is_tensor && strcmp(rec.name, "logits") == 0)
            st = take_logits(g, &rec, err);
        else if (is_tensor && strcmp(rec.name, "tokens") == 0)
            st = take_tokens(g, &rec, err);
        else
            st = pass(g, &rec, err);
        if (st != TFM_OK) break;
    }
    for (group_state *s; (s = tfm_group_map_next(g->groups, &at)) != NULL;) state_free(s);
    tfm_group_map_free(g->groups);
    tfm_sampler_free(g->sampler);
    g->groups = NULL;
    g->sampler = NULL;
    return st == TFM_DONE ? tfm_writer_end(g->w, err) : st;
}

static tfm_status run_file(stage *g, const char *path, tfm_error *err) {
    const char *name;
    int fd;

    TFM_TRY(tfm_cli_open_input(g->cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&g->r, fd, name, err);
    while (st == TFM_OK && (st = tfm_reader_stream(g->r, err)) == TFM_OK) st = run_stream(g, err);
    tfm_reader_free(g->r);
    if (fd > 0) close(fd);
    return st == TFM_DONE ? TFM_OK : st;
}

static void parse(tfm_cli *c, sample_options *o) {
    tfm_cli_sampling sampling;

    tfm_cli_sampling_start(&sampling);
    for (int opt; (opt = tfm_cli_next(c)) != 0;) {
        if (tfm_cli_sampling_take(c, opt, &sampling)) continue;
        switch (opt) {
        case 'n':
            o->has_max = true;
            o->max = tfm_cli_u32(c, 0, UINT32_MAX);
            break;
        case OPT_ALL: o->all = true; break;
        case OPT_IGNORE_END: o->ignore_end = true; break;
        }
    }
    o->sampling = tfm_cli_sampling_end(&sampling);
}

int main(int argc, char **argv) {
    tfm_cli cli;
    sample_options o = {0};
    tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    stage g = {.cli = &cli, .opt = &o};
    tfm_error err = {0};
    tfm_model *model = NULL;
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&cli, &program, argc, argv);
    parse(&cli, &o);
    int n_files = tfm_cli_operands(&cli, &files);
    tfm_status st = tfm_cli_open_output(&cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&g.w, fd, name, &err);
    if (st == TFM_OK && cli.model) st = tfm_load_vocab(cli.model, &lo, &model, &err);
    if (st == TFM_OK && model) st = tfm_model_vocab(model, &g.vocab, &err);
    if (st == TFM_OK && n_files == 0) st = run_file(&g, NULL, &err);
    for (int i = 0; st == TFM_OK && i < n_files; i++) st = run_file(&g, files[i], &err);
    int status = tfm_cli_finish(&cli, st, g.w, &err);
    tfm_writer_free(g.w);
    tfm_model_free(model);
    return status;
}
