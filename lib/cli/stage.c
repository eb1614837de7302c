/* stage.c - the run of a tool that is one stage of the model: embed, attend, unembed.
 *
 * Each stream of each file goes through one tfm_stage; the stage is made when the first header is
 * there, because the context comes from it. */
#include <string.h>

#include "cli/cli.h"
#include "tfm/loop.h"

typedef struct stage_run {
    tfm_cli *cli;
    tfm_stage_options *options;
    tfm_model *model;
    const tfm_vocab *vocab; /* or NULL */
    tfm_stage *stage;
    tfm_writer *w;
    tfm_cli_prompts_run *run_prompts; /* or NULL */
    void *ctx;
} stage_run;

/* Tokens that must be gathered before the stage can take them: for the loop, or to be tokenized. */
static bool wants_prompts(const stage_run *run, const tfm_header *in) {
    const char *vocab = tfm_header_get(in, "vocab");

    if (run->run_prompts) return true;
    return run->options->part == TFM_PART_EMBED && run->vocab && vocab &&
           strcmp(vocab, "raw-bytes") == 0;
}

/* Makes the stage for the input that h describes, then lets h describe its output. */
static tfm_status begin(stage_run *run, tfm_header *h, bool has_prompts, tfm_error *err) {
    if (has_prompts) { /* in the model's vocabulary by now */
        TFM_TRY(tfm_header_set(h, "tokenize", NULL, err));
        if (run->vocab) TFM_TRY(tfm_header_set(h, "vocab", tfm_model_vocab_id(run->model), err));
    }
    if (!run->stage)
        TFM_TRY(tfm_stage_new(&run->stage, run->model, run->options, h, err));
    else
        TFM_TRY(tfm_stage_restart(run->stage, h, err));
    TFM_TRY(tfm_stage_header(run->stage, h, err));
    tfm_status st = tfm_header_set(h, "model-hint", run->cli->model, err);
    /* A path that no header can hold (TFM_FORMAT) is no hint; nothing depends on it. */
    if (st == TFM_FORMAT) st = tfm_header_set(h, "model-hint", NULL, err);
    if (st == TFM_OK) st = tfm_cli_provenance(run->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(run->w, h, err);
    return st == TFM_OK ? tfm_cli_taps_header(run->cli, h, err) : st;
}

static tfm_status run_stream(void *ctx, tfm_reader *r, tfm_error *err) {
    stage_run *run = ctx;
    const tfm_header *in = tfm_reader_header(r);
    tfm_prompts *p = NULL;
    tfm_header *h;

    TFM_TRY(tfm_header_copy(&h, in, err));
    tfm_status st = TFM_OK;
    if (wants_prompts(run, in))
        st = tfm_prompts_new(&p, r, run->vocab, tfm_model_path(run->model), err);
    if (st == TFM_OK) st = begin(run, h, p != NULL, err);
    tfm_header_free(h);
    if (st == TFM_OK && !p)
        st = tfm_stage_run(run->stage, r, run->w, err);
    else if (st == TFM_OK && run->run_prompts)
        st = run->run_prompts(run->ctx, run->stage, p, run->w, err);
    else if (st == TFM_OK)
        st = tfm_stage_prompts(run->stage, p, run->w, run->options->program, err);
    if (st == TFM_OK && p) tfm_cli_warn_unknown(run->cli, tfm_prompts_unknown(p));
    tfm_prompts_free(p);
    return st == TFM_OK ? tfm_cli_taps_end(run->cli, err) : st;
}

/* The stage that a pipeline has in front of this one. */
static const char *writer_before(const tfm_stage_options *o) {
    if (o->part == TFM_PART_EMBED) return "tfm-tokenize";
    return o->part == TFM_PART_BLOCKS && o->first_block == 0 ? "tfm-embed" : "tfm-attend";
}

/* The range of the options; a model's last block is not known yet. */
static tfm_model_range range_of(const tfm_stage_options *o) {
    tfm_model_range r = {.is_part = true, .has_embed = o->part == TFM_PART_EMBED};

    if (o->part == TFM_PART_BLOCKS) {
        r.first_block = o->first_block;
        r.end_block = o->end_block ? o->end_block : UINT32_MAX;
    } else if (o->part == TFM_PART_HEAD) {
        r.has_head = true;
        r.first_block = r.end_block = UINT32_MAX;
    }
    return r;
}

int tfm_cli_stage(tfm_cli *c, tfm_stage_options *o) {
    return tfm_cli_stage_prompts(c, o, NULL, NULL);
}

static void tell_failed(void *ctx, uint32_t group, const char *why) {
    tfm_cli_group_failed(ctx, group, why);
}

int tfm_cli_stage_prompts(tfm_cli *c, tfm_stage_options *o, tfm_cli_prompts_run *run_prompts,
                          void *ctx) {
    tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    stage_run run = {.cli = c, .options = o, .run_prompts = run_prompts, .ctx = ctx};
    tfm_error err = {0};
    const char *name;
    char **files;
    int fd, n_files = tfm_cli_operands(c, &files);

    if (!c->model) tfm_cli_usage(c, "no model: give -m FILE or set TFM_MODEL");
    if (tfm_cli_lists_taps(c)) {
        tfm_model_range range = range_of(o);
        return tfm_cli_list_taps(c, &range);
    }
    o->program = c->program->name;
    o->failed = tell_failed;
    o->ctx = c;
    o->engine.device = c->device;
    o->engine.threads = c->threads;
    tfm_status st = tfm_cli_open_output(c, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&run.w, fd, name, &err);
    if (st == TFM_OK) st = tfm_cli_probe_open(c, &o->engine.probe, &o->tap_out, &err);
    if (st == TFM_OK) st = tfm_load(&run.model, c->model, &lo, &err);
    if (st == TFM_OK && o->part == TFM_PART_EMBED)
        st = tfm_model_vocab(run.model, &run.vocab, &err);
    if (st == TFM_OK)
        st = tfm_cli_streams(c, files, n_files, writer_before(o), run_stream, &run, &err);
    if (run.stage && tfm_stage_n_failed(run.stage)) tfm_cli_record_failed(c);
    tfm_stage_free(run.stage);
    st = tfm_cli_probe_close(c, st, &err);
    int status = tfm_cli_finish(c, st, run.w, &err);
    tfm_writer_free(run.w);
    tfm_model_free(run.model);
    return status;
}
