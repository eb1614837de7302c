/* tfm-convert - any checkpoint to model.bin, another type or layout, or back to GGUF.
 *
 *     GGUF, Hugging Face folder, PyTorch file, llama2.c, model.bin -> model stream | GGUF
 *
 * The output is written in one pass and may be a pipe. */
#include <string.h>
#include <unistd.h>

#include "calibrate.h"
#include "cli/cli.h"
#include "tfm/load.h"

enum {
    OPT_ARCH = TFM_LONG,
    OPT_IMATRIX,
    OPT_LAYOUT,
    OPT_PORTABLE,
    OPT_TO,
    OPT_TOKENIZER,
    OPT_TYPE
};

static const tfm_option option_table[] = {
    TFM_OPT_COMMON,
    {OPT_ARCH, "arch", "FILE", "use this architecture file (default: the one that matches IN)"},
    {OPT_IMATRIX, "imatrix", "FILE",
     "what columns count: taps of a run; - is stdin; none: the same"},
    {OPT_LAYOUT, "layout", "LAYOUT", "rows or p16, of linear weights (default: p16)"},
    {OPT_PORTABLE, "portable", NULL, "choose nothing for a kind of machine: --layout rows"},
    TFM_OPT_PROGRESS,
    TFM_OPT_THREADS,
    {OPT_TO, "to", "FORMAT", "model or gguf (default: model)"},
    {OPT_TOKENIZER, "tokenizer", "FILE", "take the vocabulary from FILE, not from IN"},
    {OPT_TYPE, "type", "TYPE",
     "f32 f16 bf16 q8_0 q6_K q5_K q4_K q3_K q2_K mixed ... (default: as it is)"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-convert", "[options] IN",
                                    "turn a checkpoint into model.bin", option_table};

typedef struct options {
    tfm_convert_options convert;
    const char *in;
    bool to_gguf, layout_given, portable;
    bool no_imatrix; /* --imatrix none */
    calibration calibration;
} options;

static void parse_type(tfm_cli *c, options *o) {
    tfm_dtype t = tfm_dtype_parse(c->arg);
    o->convert.mixed = strcmp(c->arg, "mixed") == 0;
    if (o->convert.mixed) t = TFM_Q4_K;
    if (t == TFM_DTYPE_NONE || t == TFM_U8 || tfm_dtype_is_integer(t))
        tfm_cli_usage(
            c,
            "%s: '%s' is none of f32, f16, bf16, q8_0, q6_K, q5_K, q4_K, q3_K, q2_K, mixed, "
            "q5_1, q5_0, q4_1, q4_0, iq4_nl, iq4_xs, mxfp4",
            c->option, c->arg);
    o->convert.type = t;
}

static void parse(tfm_cli *c, options *o) {
    char **operand;
    o->convert.layout = TFM_LAYOUT_P16;
    for (int opt; (opt = tfm_cli_next(c)) != 0;) switch (opt) {
        case OPT_ARCH: o->convert.load.arch_file = c->arg; break;
        case OPT_LAYOUT:
            if (!tfm_layout_parse(c->arg, &o->convert.layout))
                tfm_cli_usage(c, "%s: '%s' is none of rows, p16", c->option, c->arg);
            o->layout_given = true;
            break;
        case OPT_PORTABLE: o->portable = true; break;
        case OPT_TO:
            o->to_gguf = strcmp(c->arg, "gguf") == 0;
            if (!o->to_gguf && strcmp(c->arg, "model") != 0)
                tfm_cli_usage(c, "%s: '%s' is none of model, gguf", c->option, c->arg);
            break;
        case OPT_TOKENIZER: o->convert.load.tokenizer_path = c->arg; break;
        case OPT_IMATRIX:
            o->no_imatrix = strcmp(c->arg, "none") == 0;
            o->convert.imatrix_name = o->no_imatrix ? NULL : c->arg;
            break;
        case OPT_TYPE: parse_type(c, o); break;
        }
    if (tfm_cli_operands(c, &operand) != 1)
        tfm_cli_usage(c, "one IN is needed: a file or folder to convert");
    o->in = operand[0];
    if (strcmp(o->in, "-") == 0)
        tfm_cli_usage(c, "IN: a checkpoint is mapped, so it must be a file or folder, not a pipe");
    if (o->convert.imatrix_name && !tfm_can_quantise(o->convert.type))
        tfm_cli_usage(c, "--imatrix: nothing is weighed without --type of 2 to 6 bits");
    if (o->portable && o->layout_given && o->convert.layout != TFM_LAYOUT_ROWS)
        tfm_cli_usage(c, "--portable: contradicts --layout p16");
    if (o->to_gguf && o->layout_given && o->convert.layout != TFM_LAYOUT_ROWS)
        tfm_cli_usage(c, "--to gguf: GGUF has no layout but rows");
    if (o->portable || o->to_gguf) o->convert.layout = TFM_LAYOUT_ROWS;
}

static void report(void *ctx, const char *line) {
    tfm_cli_warn(ctx, "%s", line);
}

static void detail(void *ctx, const char *line) {
    tfm_cli *c = ctx;
    if (c->verbose > 0) tfm_cli_warn(c, "%s", line);
}

static tfm_status open_imatrix(tfm_cli *c, options *o, int *fd, tfm_error *err) {
    if (!o->convert.imatrix_name) {
        o->calibration =
            (calibration){.in = o->in, .load = &o->convert.load, .threads = c->threads};
        o->convert.calibrate = o->no_imatrix ? NULL : calibration_start;
        o->convert.calibrate_ctx = &o->calibration;
        return TFM_OK;
    }
    TFM_TRY(tfm_cli_open_input(c, o->convert.imatrix_name, fd, &o->convert.imatrix_name, err));
    return tfm_reader_new(&o->convert.imatrix, *fd, o->convert.imatrix_name, err);
}

static void progress(void *ctx, uint64_t done, uint64_t total) {
    tfm_cli_progress(ctx, "bytes of tensors", done, total);
}

static tfm_status to_gguf(const options *o, int fd, const char *name, tfm_error *err) {
    tfm_model *m;
    tfm_status st;
    if (o->convert.type == TFM_DTYPE_NONE)
        TFM_TRY(tfm_load(&m, o->in, &o->convert.load, err));
    else
        TFM_TRY(tfm_convert_load(&m, o->in, &o->convert, err));
    st = tfm_gguf_write(m, o->convert.load.share_dir, fd, name, err);
    tfm_model_free(m);
    return st;
}

static tfm_status to_model(tfm_cli *c, const options *o, tfm_writer *w, tfm_error *err) {
    tfm_header *h;
    tfm_status st;
    TFM_TRY(tfm_header_new(&h, "model", err));
    st = tfm_cli_provenance(c, h, err);
    if (st == TFM_OK) st = tfm_convert(o->in, &o->convert, h, w, err);
    tfm_header_free(h);
    return st;
}

int main(int argc, char **argv) {
    tfm_cli c;
    options o = {.in = NULL};
    tfm_error err = {0};
    tfm_writer *w = NULL;
    const char *name;
    int fd, imatrix_fd = 0, status;
    tfm_status st;

    tfm_cli_start(&c, &program, argc, argv);
    parse(&c, &o);
    o.convert.load.share_dir = tfm_cli_share_dir();
    o.convert.report = report;
    o.convert.detail = detail;
    o.convert.progress = progress;
    o.convert.threads = c.threads;
    o.convert.report_ctx = &c;
    st = tfm_cli_open_output(&c, true, &fd, &name, &err);
    if (st == TFM_OK) st = open_imatrix(&c, &o, &imatrix_fd, &err);
    if (st == TFM_OK && o.to_gguf) st = to_gguf(&o, fd, name, &err);
    if (st == TFM_OK && !o.to_gguf) {
        st = tfm_writer_new(&w, fd, name, &err);
        if (st == TFM_OK) st = to_model(&c, &o, w, &err);
    }
    st = calibration_end(&o.calibration, st, &err);
    status = tfm_cli_finish(&c, st, w, &err);
    tfm_writer_free(w);
    tfm_reader_free(o.convert.imatrix);
    if (imatrix_fd > 0) close(imatrix_fd);
    return status;
}
