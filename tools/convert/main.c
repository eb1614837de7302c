/* tfm-convert - any checkpoint to model.bin, another type or layout, or back to GGUF.
 *
 *     GGUF, Hugging Face folder, PyTorch file, llama2.c, model.bin -> model stream | GGUF
 *
 * The output is written in one pass and may be a pipe. */
#include <string.h>

#include "cli/cli.h"
#include "tfm/load.h"

enum { OPT_ARCH = TFM_LONG, OPT_LAYOUT, OPT_PORTABLE, OPT_TO, OPT_TOKENIZER, OPT_TYPE };

static const tfm_option option_table[] = {
    TFM_OPT_COMMON,
    {OPT_ARCH, "arch", "FILE", "use this architecture file (default: the one that matches IN)"},
    {OPT_LAYOUT, "layout", "LAYOUT", "rows or p16, of linear weights (default: p16)"},
    {OPT_PORTABLE, "portable", NULL, "choose nothing for a kind of machine: --layout rows"},
    TFM_OPT_PROGRESS,
    {OPT_TO, "to", "FORMAT", "model or gguf (default: model)"},
    {OPT_TOKENIZER, "tokenizer", "FILE", "take the vocabulary from FILE, not from IN"},
    {OPT_TYPE, "type", "TYPE", "f32, f16, bf16, q8_0 or q4_0 (default: as it is)"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-convert", "[options] IN",
                                    "turn a checkpoint into model.bin", option_table};

typedef struct options {
    tfm_convert_options convert;
    const char *in;
    bool to_gguf, layout_given, portable;
} options;

static tfm_dtype parse_type(tfm_cli *c) {
    tfm_dtype t = tfm_dtype_parse(c->arg);
    if (t != TFM_F32 && t != TFM_F16 && t != TFM_BF16 && t != TFM_Q8_0 && t != TFM_Q4_0)
        tfm_cli_usage(c, "%s: '%s' is none of f32, f16, bf16, q8_0, q4_0", c->opt, c->arg);
    return t;
}

static void parse(tfm_cli *c, options *o) {
    char **operand;
    o->convert.layout = TFM_LAYOUT_P16;
    for (int opt; (opt = tfm_cli_next(c)) != 0;) switch (opt) {
        case OPT_ARCH: o->convert.load.arch_file = c->arg; break;
        case OPT_LAYOUT:
            if (!tfm_layout_parse(c->arg, &o->convert.layout))
                tfm_cli_usage(c, "%s: '%s' is none of rows, p16", c->opt, c->arg);
            o->layout_given = true;
            break;
        case OPT_PORTABLE: o->portable = true; break;
        case OPT_TO:
            o->to_gguf = strcmp(c->arg, "gguf") == 0;
            if (!o->to_gguf && strcmp(c->arg, "model") != 0)
                tfm_cli_usage(c, "%s: '%s' is none of model, gguf", c->opt, c->arg);
            break;
        case OPT_TOKENIZER: o->convert.load.tokenizer_path = c->arg; break;
        case OPT_TYPE: o->convert.type = parse_type(c); break;
        }
    if (tfm_cli_operands(c, &operand) != 1)
        tfm_cli_usage(c, "one IN is needed: a file or folder to convert");
    o->in = operand[0];
    if (strcmp(o->in, "-") == 0)
        tfm_cli_usage(c, "IN: a checkpoint is mapped, so it must be a file or folder, not a pipe");
    if (o->portable && o->layout_given && o->convert.layout != TFM_LAYOUT_ROWS)
        tfm_cli_usage(c, "--portable: contradicts --layout p16");
    if (o->to_gguf && o->layout_given && o->convert.layout != TFM_LAYOUT_ROWS)
        tfm_cli_usage(c, "--to gguf: GGUF has no layout but rows");
    if (o->portable || o->to_gguf) o->convert.layout = TFM_LAYOUT_ROWS;
}

static void report(void *ctx, const char *line) {
    tfm_cli_warn(ctx, "%s", line);
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
    st = tfm_gguf_write(m, fd, name, err);
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
    int fd, status;
    tfm_status st;

    tfm_cli_start(&c, &program, argc, argv);
    parse(&c, &o);
    o.convert.load.share_dir = tfm_cli_share_dir();
    o.convert.report = report;
    o.convert.progress = progress;
    o.convert.report_ctx = &c;
    st = tfm_cli_open_output(&c, true, &fd, &name, &err);
    if (st == TFM_OK && o.to_gguf) st = to_gguf(&o, fd, name, &err);
    if (st == TFM_OK && !o.to_gguf) {
        st = tfm_writer_new(&w, fd, name, &err);
        if (st == TFM_OK) st = to_model(&c, &o, w, &err);
    }
    status = tfm_cli_finish(&c, st, w, &err);
    tfm_writer_free(w);
    return status;
}
