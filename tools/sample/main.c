/* main.c - tfm-sample: logits in, tokens out.
 *
 *     logits, tokens (history) -> [draw.c] -> [turn.c] -> tokens, held, GROUP-END
 *
 * A token is drawn for the last row of every `logits` record with flag LAST (every row under
 * --all). Records named `tokens` that travel with the logits are the history that penalties look
 * back on. Owns the options and the streams; how a token is drawn is the library's. The random
 * number depends on (seed, group, position) alone, as in tfm-run.
 */
#include <string.h>

#include "sample.h"
#include "tfm/load.h"

enum { OPT_ALL = TFM_LONG, OPT_IGNORE_END, OPT_STOP };

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    {'m', "model", "FILE", "its vocabulary says which tokens end a group (default: $TFM_MODEL)"},
    {'n', "max-tokens", "N", "end a group after N new tokens (default: no limit)"},
    TFM_OPT_SAMPLING,
    {OPT_ALL, "all", NULL, "draw for every row, not only the last of a turn"},
    {OPT_IGNORE_END, "ignore-end", NULL, "go on after an end token"},
    {OPT_STOP, "stop", "TEXT", "end before TEXT appears; may be given up to 64 times"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-sample", "[options] [FILE...]",
                                    "draw tokens: logits to tokens", options};

/* Ids of another vocabulary would end texts where they do not, and stop at other words. */
static tfm_status check_vocab(const stage *g, const tfm_header *in, tfm_error *err) {
    const char *theirs = tfm_header_get(in, "vocab"), *tool = tfm_header_get(in, "tool");

    if (!g->vocab || !theirs || strcmp(theirs, tfm_vocab_id(g->vocab)) == 0) return TFM_OK;
    return tfm_fail(err, TFM_MISMATCH,
                    "the logits are of vocabulary %s (from %s), %s has %s; give the model that "
                    "made them",
                    theirs, tool ? tool : "an unnamed tool", g->cli->model, tfm_vocab_id(g->vocab));
}

static tfm_status write_header(stage *g, tfm_error *err) {
    const tfm_header *in = tfm_reader_header(g->r);
    tfm_header *h;

    TFM_TRY(tfm_header_expect(in, "logits", err));
    TFM_TRY(check_vocab(g, in, err));
    g->ctx = tfm_header_ctx(in);
    TFM_TRY(tfm_header_copy(&h, in, err));
    tfm_status st = tfm_header_set_kind(h, "tokens", err);
    if (st == TFM_OK) st = tfm_cli_provenance(g->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(g->turn.w, h, err);
    tfm_header_free(h);
    return st;
}

static tfm_status take(stage *g, const tfm_record *rec, tfm_error *err) {
    tfm_status st;

    if (rec->type == TFM_REC_TENSOR && strcmp(rec->name, "logits") == 0)
        st = draw_logits(g, rec, err);
    else if (rec->type == TFM_REC_TENSOR && strcmp(rec->name, "tokens") == 0)
        st = draw_remember(g, rec, err);
    else if (rec->type == TFM_REC_FORK)
        st = draw_fork(g, rec, err);
    else
        st = draw_pass(g, rec, err);
    return st == TFM_OK ? turn_end(&g->turn, rec->flags, err) : st;
}

static tfm_status run_stream(void *ctx, tfm_reader *r, tfm_error *err) {
    stage *g = ctx;
    tfm_record rec;

    g->r = r;
    TFM_TRY(write_header(g, err));
    TFM_TRY(tfm_group_map_new(&g->groups, err));
    tfm_status st;
    while ((st = tfm_reader_next(g->r, &rec, err)) == TFM_OK)
        if ((st = take(g, &rec, err)) != TFM_OK) break;
    draw_close(g);
    tfm_sampler_free(g->sampler);
    g->sampler = NULL;
    g->turn.has_last = false;
    return st == TFM_DONE ? tfm_writer_end(g->turn.w, err) : st;
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
        case OPT_STOP:
            if (o->n_stop == SAMPLE_MAX_STOPS)
                tfm_cli_usage(c, "--stop: %d at most", SAMPLE_MAX_STOPS);
            o->stop[o->n_stop++] = c->arg;
            break;
        }
    }
    o->sampling = tfm_cli_sampling_end(&sampling);
    if (o->n_stop && o->all) tfm_cli_usage(c, "--stop: ends a text, --all draws no text");
    if (o->n_stop && !c->model) tfm_cli_usage(c, "--stop: no model: give -m FILE or set TFM_MODEL");
}

/* What -m tells: the vocabulary, which ids end a text, how ids are spelled. */
static tfm_status read_model(stage *g, tfm_model **model, tfm_error *err) {
    tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};

    if (!g->cli->model) return TFM_OK;
    TFM_TRY(tfm_load_vocab(g->cli->model, &lo, model, err));
    TFM_TRY(tfm_model_vocab(*model, &g->vocab, err));
    TFM_TRY(tfm_model_ends(*model, &g->ends, err));
    if (g->opt->n_stop == 0) return TFM_OK;
    return tfm_stop_set_new(&g->stops, g->vocab, g->opt->stop, g->opt->n_stop, err);
}

int main(int argc, char **argv) {
    tfm_cli cli;
    sample_options o = {0};
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
    if (st == TFM_OK) st = tfm_writer_new(&g.turn.w, fd, name, &err);
    if (st == TFM_OK) st = read_model(&g, &model, &err);
    if (st == TFM_OK)
        st = tfm_cli_streams(&cli, files, n_files, "tfm-unembed", run_stream, &g, &err);
    int status = tfm_cli_finish(&cli, st, g.turn.w, &err);
    tfm_writer_free(g.turn.w);
    tfm_stop_set_free(g.stops);
    tfm_ids_free(&g.ends);
    tfm_model_free(model);
    return status;
}
