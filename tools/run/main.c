/* main.c - tfm-run: tokens in, tokens out, the whole model and the loop in one program.
 *
 * Owns the options and the order of reading and writing: prompts are read until the generator has
 * enough, or the writer says FLUSH, or the stream ends; events are written as they come and flushed
 * before each computation, so that the head of the line streams.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run.h"
#include "tfm/load.h"

#define GROUPS_AHEAD 4u /* times -b: groups read ahead, so that slots never wait for their turn */
#define MAX_STOPS 64

enum {
    OPT_ECHO = TFM_LONG,
    OPT_STOP,
    OPT_UNORDERED,
    OPT_IGNORE_END,
    OPT_KV_BYTES,
    OPT_SAVE,
    OPT_LOAD
};

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {'n', "max-tokens", "N", "stop after N new tokens (default: at an end token or the context)"},
    {'N', "samples", "K", "samples of each record: group g becomes g*K .. g*K+K-1 (default: 1)"},
    {'b', "sequences", "N", "sequences in flight at once; never changes results (default: 64)"},
    {'c', "ctx", "N",
     "context: prompt and new tokens together (default: the model's, 4096 at most)"},
    TFM_OPT_PROGRESS,
    TFM_OPT_SAMPLING,
    {OPT_STOP, "stop", "TEXT", "end before TEXT appears; may be given up to 64 times"},
    {OPT_ECHO, "echo", NULL, "write the prompt's tokens too"},
    {OPT_IGNORE_END, "ignore-end", NULL, "go on after an end token"},
    {OPT_UNORDERED, "unordered", NULL, "write groups as they come, not in input order"},
    TFM_OPT_KV,
    {OPT_KV_BYTES, "kv-bytes", "N",
     "budget of the cache in bytes (default: 0, what memory allows)"},
    {OPT_SAVE, "save-cache", "FILE", "write the cache of each group to FILE"},
    {OPT_LOAD, "load-cache", "FILE",
     "do not compute what a prompt has in common with a cache of FILE"},
    TFM_OPT_PROBE,
    TFM_OPT_END};

static const tfm_program program = {"tfm-run", "[options] [FILE...]",
                                    "generate: the whole model, tokens to tokens", options};

static const char *stops[MAX_STOPS];

static void parse(tfm_cli *c, run_options *o) {
    tfm_cli_sampling sampling;
    tfm_generate_options *g = &o->generate;

    tfm_cli_sampling_start(&sampling);
    g->n_samples = 1;
    g->sequences = 64;
    g->stop = stops;
    for (int opt; (opt = tfm_cli_next(c)) != 0;) {
        if (tfm_cli_sampling_take(c, opt, &sampling) || tfm_cli_probe_take(c, opt)) continue;
        switch (opt) {
        case 'n':
            g->has_max_tokens = true;
            g->max_tokens = tfm_cli_u32(c, 0, UINT32_MAX);
            break;
        case 'N': g->n_samples = tfm_cli_u32(c, 1, 65536); break;
        case 'b': g->sequences = tfm_cli_u32(c, 1, 65536); break;
        case 'c': o->engine.ctx = tfm_cli_u32(c, 1, UINT32_MAX); break;
        case OPT_ECHO: o->echo = true; break;
        case OPT_UNORDERED: g->unordered = true; break;
        case OPT_IGNORE_END: g->ignore_eog = true; break;
        case OPT_KV_BYTES: o->engine.kv_bytes = tfm_cli_u64(c, 0, UINT64_MAX); break;
        case OPT_SAVE: o->save_cache = c->arg; break;
        case OPT_LOAD: o->load_cache = c->arg; break;
        case OPT_STOP:
            if (g->n_stop == MAX_STOPS) tfm_cli_usage(c, "--stop: %d at most", MAX_STOPS);
            stops[g->n_stop++] = c->arg;
            break;
        case TFM_OPTION_KV: o->engine.kv_type = tfm_cli_kv(c); break;
        }
    }
    g->sampling = tfm_cli_sampling_end(&sampling);
    o->engine.device = c->device;
    o->engine.threads = c->threads;
    if (!c->model) tfm_cli_usage(c, "no model: give -m FILE or set TFM_MODEL");
}

/* The header of the output: the input's, of this model now. */
static tfm_status write_header(tfm_cli *c, const run_options *o, tfm_engine *e, tfm_model *m,
                               const tfm_header *in, tfm_writer *w, tfm_error *err) {
    const char *vocab = tfm_model_vocab_id(m);
    tfm_header *h;
    char text[16];

    TFM_TRY(tfm_header_copy(&h, in, err));
    tfm_status st = tfm_header_set_kind(h, "tokens", err);
    if (st == TFM_OK) st = tfm_header_set(h, "tokenize", NULL, err);
    if (st == TFM_OK && *vocab) st = tfm_header_set(h, "vocab", vocab, err);
    if (st == TFM_OK) st = tfm_header_set(h, "model", tfm_model_id(m), err);
    /* A path that no header can hold (TFM_FORMAT) is no hint; nothing depends on it. */
    if (st == TFM_OK) st = tfm_header_set(h, "model-hint", c->model, err);
    if (st == TFM_FORMAT) st = tfm_header_set(h, "model-hint", NULL, err);
    if (st == TFM_OK) st = tfm_header_set(h, "numerics", tfm_engine_numerics(e), err);
    snprintf(text, sizeof text, "%u", o->generate.n_samples);
    if (st == TFM_OK && o->generate.n_samples > 1) st = tfm_header_set(h, "samples", text, err);
    if (st == TFM_OK) st = tfm_cli_provenance(c, h, err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    if (st == TFM_OK) st = tfm_cli_taps_header(c, h, err);
    tfm_header_free(h);
    return st;
}

static tfm_status add_prompt(run_caches *caches, tfm_generator *g, run_output *out,
                             const tfm_prompt *p, tfm_error *err) {
    bool is_dropped = run_caches_dropped(caches, p->group);

    if (p->has_ended) {
        uint32_t length;
        TFM_TRY(run_caches_end(caches, p->group, &length, err));
        return is_dropped ? TFM_OK : run_output_end(out, p, length, err);
    }
    if (is_dropped) return TFM_OK;
    TFM_TRY(run_output_add(out, p, err));
    return run_caches_add(caches, g, p, err);
}

static tfm_status flush(tfm_writer *w, tfm_writer *taps, tfm_error *err) {
    TFM_TRY(tfm_writer_flush(w, err));
    return taps ? tfm_writer_flush(taps, err) : TFM_OK;
}

/* Reads prompts and writes events until the present stream has ended and all is written. */
static tfm_status pump(tfm_cli *c, const run_options *o, tfm_prompts *prompts, tfm_generator *g,
                       run_output *out, tfm_writer *w, tfm_error *err) {
    const size_t ahead = (size_t)o->generate.sequences * GROUPS_AHEAD;
    tfm_writer *taps = o->generate.tap_out;
    bool more = true;

    uint64_t n_tokens = 0;

    for (;;) {
        bool drain = false;
        while (more && !drain && tfm_generator_open(g) < ahead) {
            tfm_prompt p;
            tfm_status st = tfm_prompts_next(prompts, &p, err);
            if (st == TFM_DONE) {
                more = false;
                break;
            }
            if (st != TFM_OK) return st;
            drain = p.flush;
            TFM_TRY(add_prompt(o->caches, g, out, &p, err));
        }
        do {
            tfm_event ev;
            if (!tfm_generator_ready(g)) TFM_TRY(flush(w, taps, err));
            tfm_status st = tfm_generator_next(g, &ev, err);
            if (st == TFM_DONE) {
                if (!more) return TFM_OK;
                TFM_TRY(flush(w, taps, err));
                break;
            }
            if (st != TFM_OK) return st;
            n_tokens += ev.type == TFM_EVENT_TOKEN;
            tfm_cli_progress(c, "tokens", n_tokens, 0);
            TFM_TRY(run_caches_event(o->caches, prompts, &ev, err));
            TFM_TRY(run_output_event(out, &ev, err));
        } while (drain || !more || tfm_generator_open(g) >= ahead);
    }
}

static tfm_status run_stream(tfm_cli *c, const run_options *o, tfm_engine *e, tfm_model *m,
                             tfm_reader *r, tfm_writer *w, tfm_error *err) {
    const tfm_vocab *vocab;
    tfm_prompts *prompts = NULL;
    tfm_generator *g = NULL;
    run_output *out = NULL;
    tfm_status st = tfm_model_vocab(m, &vocab, err);

    if (st == TFM_OK) st = tfm_prompts_new(&prompts, r, vocab, tfm_model_path(m), err);
    if (st == TFM_OK) st = tfm_generator_new(&g, e, &o->generate, err);
    if (st == TFM_OK) st = run_output_new(&out, c, w, o, err);
    if (st == TFM_OK) st = run_caches_start(o->caches, tfm_prompts_has_turns(prompts), err);
    if (st == TFM_OK) st = write_header(c, o, e, m, tfm_reader_header(r), w, err);
    if (st == TFM_OK) st = pump(c, o, prompts, g, out, w, err);
    if (st == TFM_OK) st = tfm_writer_end(w, err);
    if (st == TFM_OK) st = tfm_cli_taps_end(c, err);
    run_output_free(out);
    tfm_generator_free(g);
    tfm_prompts_free(prompts);
    return st;
}

/* Every stream of one input file. */
static tfm_status run_file(tfm_cli *c, const run_options *o, tfm_engine *e, tfm_model *m,
                           const char *path, tfm_writer *w, tfm_error *err) {
    tfm_reader *r = NULL;
    const char *name;
    int fd;

    TFM_TRY(tfm_cli_open_input(c, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) tfm_reader_writer(r, "tfm-tokenize");
    while (st == TFM_OK && (st = tfm_reader_stream(r, err)) == TFM_OK)
        st = run_stream(c, o, e, m, r, w, err);
    tfm_reader_free(r);
    if (fd > 0) close(fd);
    return st == TFM_DONE ? TFM_OK : st;
}

int main(int argc, char **argv) {
    tfm_cli cli;
    run_options o = {0};
    tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    tfm_error err = {0};
    tfm_model *model = NULL;
    tfm_engine *engine = NULL;
    tfm_writer *w = NULL;
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&cli, &program, argc, argv);
    parse(&cli, &o);
    if (tfm_cli_lists_taps(&cli)) return tfm_cli_list_taps(&cli, &(tfm_model_range){0});
    int n_files = tfm_cli_operands(&cli, &files);
    tfm_status st = tfm_cli_open_output(&cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, name, &err);
    if (st == TFM_OK) st = tfm_cli_probe_open(&cli, &o.engine.probe, &o.generate.tap_out, &err);
    if (st == TFM_OK && o.engine.probe && (o.load_cache || o.save_cache))
        st = tfm_fail(&err, TFM_USAGE,
                      "a cache holds what the model computes by itself: no taps or interventions "
                      "with --load-cache and --save-cache");
    if (st == TFM_OK) st = tfm_load(&model, cli.model, &lo, &err);
    if (st == TFM_OK) st = tfm_engine_new(&engine, model, &o.engine, &err);
    if (st == TFM_OK) st = run_caches_new(&o.caches, &cli, &o, engine, &err);
    if (st == TFM_OK && n_files == 0) st = run_file(&cli, &o, engine, model, NULL, w, &err);
    for (int i = 0; st == TFM_OK && i < n_files; i++)
        st = run_file(&cli, &o, engine, model, files[i], w, &err);
    if (st == TFM_OK) st = run_caches_save(o.caches, &err);
    run_caches_free(o.caches);
    tfm_engine_free(engine);
    st = tfm_cli_probe_close(&cli, st, &err);
    int status = tfm_cli_finish(&cli, st, w, &err);
    tfm_writer_free(w);
    tfm_model_free(model);
    return status;
}
