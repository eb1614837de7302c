/* main.c - tfm-run: tokens in, tokens out, the whole model and the loop in one program.
 *
 * Owns the options and the order of reading and writing. Between two steps of the generator all
 * that it has to say is written and flushed, so that the head of the line streams, and prompts that
 * are there are read; it waits for one only when there is nothing to compute. A prompt thus joins
 * as soon as it has come, which changes when something is computed, never what.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "run.h"
#include "tfm/load.h"

#define AHEAD 2u        /* times -b: samples that run or wait, so that no place stays empty */
#define OPEN_GROUPS 64u /* times -b: groups not yet written, most of which wait for their turn */
#define MAX_STOPS 64

enum { OPT_ECHO = TFM_LONG, OPT_STOP, OPT_UNORDERED, OPT_IGNORE_END, OPT_SAVE, OPT_LOAD };

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
    TFM_OPT_KV_MEMORY,
    {TFM_OPTION_PREFIX_CACHE, "prefix-cache", NULL,
     "keep what was computed for later prompts that begin alike"},
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
        case TFM_OPTION_KV_MEMORY: o->engine.kv_bytes = tfm_cli_size(c); break;
        case TFM_OPTION_PREFIX_CACHE: o->engine.prefix_cache = true; break;
        case OPT_SAVE: o->save_cache = tfm_cli_second_output(c); break;
        case OPT_LOAD:
            if (o->load_cache)
                tfm_cli_usage(c, "--load-cache: given twice; one file holds many: cat them");
            o->load_cache = c->arg;
            break;
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
    if (!o->engine.kv_bytes) o->engine.kv_bytes = tfm_cli_default_kv_memory(c);
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

/* One stream of prompts, and what it comes to. */
typedef struct run_pump {
    tfm_cli *cli;
    const run_options *opt;
    tfm_prompts *prompts;
    tfm_generator *generator;
    run_output *out;
    tfm_writer *w;
    bool has_ended; /* there are no more prompts */
    bool is_turn;   /* the last one was a turn: what follows it in the stream may need its answer */
    uint64_t n_tokens;
} run_pump;

static bool wants_prompt(const run_pump *p) {
    const uint32_t b = p->opt->generate.sequences;

    if (p->has_ended || (p->is_turn && tfm_generator_open(p->generator))) return false;
    return tfm_generator_unfinished(p->generator) < (size_t)b * AHEAD &&
           tfm_generator_open(p->generator) < (size_t)b * OPEN_GROUPS;
}

/* Gives the generator the prompts that are there; waits for one if there is nothing else to do. */
static tfm_status take_prompts(run_pump *p, tfm_error *err) {
    bool is_there = true;

    while (is_there && wants_prompt(p)) {
        tfm_prompt prompt;
        tfm_status st;
        if (tfm_generator_open(p->generator)) {
            st = tfm_prompts_poll(p->prompts, &prompt, &is_there, err);
        } else {
            TFM_TRY(flush(p->w, p->opt->generate.tap_out, err));
            st = tfm_prompts_next(p->prompts, &prompt, err);
        }
        p->has_ended = st == TFM_DONE;
        if (p->has_ended || (st == TFM_OK && !is_there)) return TFM_OK;
        if (st != TFM_OK) return st;
        p->is_turn = prompt.is_turn;
        TFM_TRY(add_prompt(p->opt->caches, p->generator, p->out, &prompt, err));
    }
    return TFM_OK;
}

static tfm_status write_events(run_pump *p, tfm_error *err) {
    while (tfm_generator_ready(p->generator)) {
        tfm_event ev;
        TFM_TRY(tfm_generator_next(p->generator, &ev, err));
        p->n_tokens += ev.type == TFM_EVENT_TOKEN;
        TFM_TRY(run_caches_event(p->opt->caches, p->prompts, &ev, err));
        TFM_TRY(run_output_event(p->out, &ev, err));
    }
    return TFM_OK;
}

static void say_stats(const run_pump *p) {
    tfm_generator_stats s;

    tfm_generator_get_stats(p->generator, &s);
    tfm_cli_say(p->cli,
                "%" PRIu64 " tokens, %" PRIu64 " steps, %" PRIu64 " rows computed, %" PRIu64
                " shared, %" PRIu64 " times out of memory, cache at most %.1f MiB",
                p->n_tokens, s.steps, s.rows, s.shared_rows, s.preempted,
                (double)s.peak_pages * (double)s.page_bytes / (1 << 20));
}

/* Until the present stream has ended and all is written. */
static tfm_status pump(run_pump *p, tfm_error *err) {
    for (;;) {
        TFM_TRY(take_prompts(p, err));
        if (!tfm_generator_ready(p->generator)) {
            if (tfm_generator_open(p->generator) == 0 && p->has_ended) break;
            TFM_TRY(flush(p->w, p->opt->generate.tap_out, err));
            TFM_TRY(tfm_generator_step(p->generator, err));
            tfm_cli_progress(p->cli, "tokens", p->n_tokens, 0);
        }
        TFM_TRY(write_events(p, err));
    }
    tfm_cli_warn_unknown(p->cli, tfm_prompts_unknown(p->prompts));
    say_stats(p);
    return run_output_rest(p->out, p->prompts, err);
}

typedef struct run {
    tfm_cli *cli;
    const run_options *opt;
    tfm_model *model;
    tfm_engine *engine;
    tfm_writer *w;
} run;

static tfm_status run_stream(void *ctx, tfm_reader *r, tfm_error *err) {
    const run *u = ctx;
    tfm_cli *c = u->cli;
    const run_options *o = u->opt;
    const tfm_vocab *vocab;
    tfm_prompts *prompts = NULL;
    tfm_generator *g = NULL;
    run_output *out = NULL;
    tfm_status st = tfm_model_vocab(u->model, &vocab, err);

    if (st == TFM_OK) st = tfm_prompts_new(&prompts, r, vocab, tfm_model_path(u->model), err);
    if (st == TFM_OK) st = tfm_generator_new(&g, u->engine, &o->generate, err);
    if (st == TFM_OK) st = run_output_new(&out, c, u->w, o, err);
    if (st == TFM_OK) st = run_caches_start(o->caches, tfm_prompts_has_turns(prompts), err);
    if (st == TFM_OK) st = write_header(c, o, u->engine, u->model, tfm_reader_header(r), u->w, err);
    run_pump p = {.cli = c, .opt = o, .prompts = prompts, .generator = g, .out = out, .w = u->w};
    if (st == TFM_OK) st = pump(&p, err);
    if (st == TFM_OK) st = tfm_writer_end(u->w, err);
    if (st == TFM_OK) st = tfm_cli_taps_end(c, err);
    run_output_free(out);
    tfm_generator_free(g);
    tfm_prompts_free(prompts);
    return st;
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
    run u = {.cli = &cli, .opt = &o, .model = model, .engine = engine, .w = w};
    if (st == TFM_OK)
        st = tfm_cli_streams(&cli, files, n_files, "tfm-tokenize", run_stream, &u, &err);
    if (st == TFM_OK) st = run_caches_save(o.caches, &err);
    run_caches_free(o.caches);
    tfm_engine_free(engine);
    st = tfm_cli_probe_close(&cli, st, &err);
    int status = tfm_cli_finish(&cli, st, w, &err);
    tfm_writer_free(w);
    tfm_model_free(model);
    return status;
}
