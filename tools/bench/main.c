/* main.c - tfm-bench: how fast a model runs on this machine, and how far that is from what it
 * could.
 *
 * Owns the options and the order of things; what is measured is in measure.c. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum {
    OPT_CONTEXT = TFM_LONG,
    OPT_DEPTH,
    OPT_GENERATE,
    OPT_JSON,
    OPT_NO_LIMITS,
    OPT_NO_START,
    OPT_ONCE,
    OPT_PRICE,
    OPT_PROMPT,
    OPT_REPEAT,
    OPT_SVG
};

static const tfm_option option_table[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    TFM_OPT_KV,
    {'b', "sequences", "LIST", "numbers of sequences that generate at once (default: 1,32)"},
    {OPT_CONTEXT, "context", "N", "tokens before those that are generated (default: 128)"},
    {OPT_DEPTH, "depth", "LIST",
     "prompt and generation behind so many tokens, too (default: none)"},
    {OPT_GENERATE, "generate", "N", "generate N tokens a sequence; 0: none (default: 32)"},
    {OPT_JSON, "json", NULL, "JSON lines instead of a table"},
    {OPT_NO_LIMITS, "no-limits", NULL, "do not measure the machine's own limits"},
    {OPT_NO_START, "no-start", NULL, "do not measure the start-up time"},
    {OPT_ONCE, "once", NULL, "only open the model and compute one token; write nothing"},
    {OPT_PRICE, "price", "X", "price of an hour of this machine: gives that of a million tokens"},
    TFM_OPT_PROGRESS,
    {OPT_PROMPT, "prompt", "N", "a prompt of N tokens; 0: none (default: 512)"},
    {OPT_REPEAT, "repeat", "N", "repetitions (default: 5)"},
    {OPT_SVG, "svg", "FILE", "write a chart to FILE, too"},
    TFM_OPT_END};

static const tfm_program program = {
    "tfm-bench", "[options]", "how fast a model runs, and how near that is to the machine's limits",
    option_table};

enum { MAX_TOKENS = 1 << 20, MAX_SEQUENCES = 4096 };

/* "1,8,32" */
static size_t parse_list(tfm_cli *c, uint32_t lo, uint32_t hi, uint32_t out[MAX_LIST]) {
    const char *at = c->arg;

    for (size_t n = 0; n < MAX_LIST; at++) {
        char *end = NULL;
        unsigned long v = 0;
        if (*at >= '0' && *at <= '9') v = strtoul(at, &end, 10);
        if (!end || v < lo || v > hi || (*end != ',' && *end != '\0'))
            tfm_cli_usage(c, "%s: '%s' is no list of numbers from %u to %u", c->option, c->arg, lo,
                          hi);
        out[n++] = (uint32_t)v;
        at = end;
        if (*at == '\0') return n;
    }
    tfm_cli_usage(c, "%s: %d numbers at most", c->option, MAX_LIST);
}

static void parse(tfm_cli *c, bench_options *o) {
    char **operand;

    *o = (bench_options){.prompt = 512,
                         .generate = 32,
                         .context = 128,
                         .sequences = {1, 32},
                         .n_sequences = 2,
                         .repeat = 5,
                         .with_limits = true,
                         .with_start = true};
    for (int opt; (opt = tfm_cli_next(c)) != 0;) switch (opt) {
        case 'b': o->n_sequences = parse_list(c, 1, MAX_SEQUENCES, o->sequences); break;
        case OPT_CONTEXT: o->context = tfm_cli_u32(c, 0, MAX_TOKENS); break;
        case OPT_DEPTH: o->n_depth = parse_list(c, 1, MAX_TOKENS, o->depth); break;
        case OPT_GENERATE: o->generate = tfm_cli_u32(c, 0, MAX_TOKENS); break;
        case OPT_JSON: o->json = true; break;
        case OPT_NO_LIMITS: o->with_limits = false; break;
        case OPT_NO_START: o->with_start = false; break;
        case OPT_ONCE: o->once = true; break;
        case OPT_PRICE: o->price = tfm_cli_double(c, 0, 1e9); break;
        case OPT_PROMPT: o->prompt = tfm_cli_u32(c, 0, MAX_TOKENS); break;
        case OPT_REPEAT: o->repeat = tfm_cli_u32(c, 1, MAX_REPEAT); break;
        case OPT_SVG: o->svg = tfm_cli_second_output(c); break;
        case TFM_OPTION_KV: o->kv_type = tfm_cli_kv(c); break;
        }
    if (tfm_cli_operands(c, &operand) > 0)
        tfm_cli_usage(c, "%s: there are no operands; the model is given by -m", operand[0]);
    if (!c->model) tfm_cli_usage(c, "no model: give -m FILE or set TFM_MODEL");
    if (!o->prompt && !o->generate && !o->once)
        tfm_cli_usage(c, "--prompt 0 and --generate 0: nothing to measure");
    if (o->svg && !o->with_limits)
        tfm_cli_usage(c, "--svg: shows shares of the limits, so not with --no-limits");
}

static tfm_status write_svg(const char *path, const bench_figures *f, tfm_error *err) {
    tfm_cli_aside file;
    tfm_error second;
    FILE *out;

    TFM_TRY(tfm_cli_aside_open(&file, path, err));
    tfm_status st = tfm_cli_aside_text(&file, path, &out, err);
    if (st == TFM_OK) {
        bench_svg(out, f);
        st = tfm_cli_text_end(out, path, err);
    }
    const tfm_status closed = tfm_cli_aside_close(&file, st == TFM_OK, &second);
    if (st != TFM_OK || closed == TFM_OK) return st;
    *err = second;
    return closed;
}

static tfm_status report(const bench_options *o, const bench_figures *f, FILE *out,
                         tfm_error *err) {
    if (o->json)
        bench_json(out, f);
    else
        bench_table(out, f);
    return o->svg ? write_svg(o->svg, f, err) : TFM_OK;
}

static tfm_status open_engine(const tfm_cli *c, const bench_options *o, uint32_t ctx, tfm_model **m,
                              tfm_engine **e, tfm_error *err) {
    const tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    const tfm_engine_options eo = {
        .device = c->device, .threads = c->threads, .ctx = ctx, .kv_type = o->kv_type};

    TFM_TRY(tfm_load(m, c->model, &lo, err));
    return tfm_engine_new(e, *m, &eo, err);
}

static tfm_status measure(tfm_cli *c, const bench_options *o, bench_figures *f,
                          struct bench_prober *prober, tfm_error *err) {
    tfm_model *m = NULL;
    tfm_engine *e = NULL;
    uint32_t ctx;

    bench_cases(o, f, &ctx);
    tfm_status st = open_engine(c, o, o->once ? 0 : ctx, &m, &e, err);
    if (st == TFM_OK && o->once) {
        st = bench_once(e, err);
        tfm_cli_say(c, "one token computed: %s", tfm_engine_numerics(e));
    }
    if (st == TFM_OK && !o->once) {
        snprintf(f->numerics, sizeof f->numerics, "%s", tfm_engine_numerics(e));
        tfm_engine_cost(e, &f->cost);
        st = bench_measure(c, f, e, prober, err);
    }
    f->peak_bytes = bench_peak_bytes();
    tfm_engine_free(e);
    tfm_model_free(m);
    return st;
}

static tfm_status run(tfm_cli *c, const bench_options *o, bench_figures *f, tfm_error *err) {
    struct bench_prober *prober = NULL;
    FILE *out = NULL;

    TFM_TRY(tfm_cli_open_text(c, &out, err));
    tfm_status st = TFM_OK;
    if (f->has_limits) {
        st = bench_prober_start(&prober, c->device, c->threads, err);
        if (st == TFM_OK)
            snprintf(f->limit_set, sizeof f->limit_set, "%s", bench_prober_set(prober));
    }
    if (st == TFM_OK) st = measure(c, o, f, prober, err);
    bench_prober_stop(prober);
    if (st == TFM_OK && !o->once) st = report(o, f, out, err);
    tfm_error close_err;
    const tfm_status closed = tfm_cli_close_text(c, out, &close_err);
    if (st != TFM_OK || closed == TFM_OK) return st;
    *err = close_err;
    return closed;
}

int main(int argc, char **argv) {
    static bench_figures figures;
    static bench_case cases[MAX_CASES];
    tfm_cli cli;
    bench_options o;
    tfm_error err = {0};

    tfm_cli_start(&cli, &program, argc, argv);
    parse(&cli, &o);
    figures.model = cli.model;
    figures.cases = cases;
    figures.repeat = o.repeat;
    figures.has_limits = o.with_limits && !o.once;
    figures.has_start = o.with_start;
    figures.kv_type = o.kv_type;
    figures.price = o.price;
    bench_processor(figures.processor, sizeof figures.processor);
    figures.cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    if (getloadavg(&figures.load, 1) != 1) figures.load = -1;
    const tfm_status st = run(&cli, &o, &figures, &err);
    return tfm_cli_finish(&cli, st, NULL, &err);
}
