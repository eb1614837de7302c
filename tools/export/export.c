/* export.c - tfm-export: streams as JSON lines, npy, npz or safetensors. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tfm/exchange.h"

enum { OPT_TO = TFM_LONG, OPT_EACH, OPT_BASE64 };

static const tfm_option options[] = {
    {OPT_TO, "to", "FORMAT",
     "jsonl, npy, npz or safetensors (default: as -o FILE is called, or jsonl)"},
    {OPT_EACH, "each", NULL,
     "an array for each record (default: rows of a group and name are joined)"},
    {OPT_BASE64, "base64", NULL, "jsonl: tensors as base64 instead of numbers"},
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-export", "[options] [FILE...]",
                                    "Write tensor streams as files of other programs.", options};

static void take_option(tfm_cli *cli, int c, tfm_export_options *o) {
    if (c == OPT_EACH) o->each = true;
    if (c == OPT_BASE64) o->base64 = true;
    if (c != OPT_TO) return;
    o->format = tfm_exchange_parse(cli->arg);
    if (o->format == TFM_EXCHANGE_NONE)
        tfm_cli_usage(cli, "--to: '%s' is none of jsonl, npy, npz, safetensors", cli->arg);
}

static void choose_format(tfm_cli *cli, tfm_export_options *o) {
    if (o->format == TFM_EXCHANGE_NONE && cli->output) {
        o->format = tfm_exchange_of_path(cli->output);
        if (o->format == TFM_EXCHANGE_NONE)
            tfm_cli_usage(cli,
                          "-o %s: the name tells no format: use --to jsonl, npy, npz or "
                          "safetensors",
                          cli->output);
    }
    if (o->format == TFM_EXCHANGE_NONE) o->format = TFM_EXCHANGE_JSONL;
    if (o->base64 && o->format != TFM_EXCHANGE_JSONL)
        tfm_cli_usage(cli, "--base64: is for jsonl only");
    if (o->each && o->format == TFM_EXCHANGE_JSONL)
        tfm_cli_usage(cli, "--each: jsonl has a line for each record anyway");
}

static tfm_status export_records(tfm_cli *cli, tfm_exporter *e, tfm_reader *r, tfm_error *err) {
    tfm_record rec;
    const void *payload;
    for (;;) {
        TFM_TRY(tfm_reader_next(r, &rec, err));
        if (rec.type == TFM_REC_ERROR) tfm_cli_record_failed(cli);
        TFM_TRY(tfm_reader_payload(r, &payload, err));
        TFM_TRY(tfm_export_record(e, &rec, payload, err));
    }
}

static tfm_status export_streams(tfm_cli *cli, tfm_exporter *e, tfm_reader *r, tfm_error *err) {
    tfm_status st;
    while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
        tfm_cli_note_salvaged(cli, tfm_reader_header(r));
        TFM_TRY(tfm_export_header(e, tfm_reader_header(r), err));
        st = export_records(cli, e, r, err);
        if (st != TFM_DONE) return st;
        TFM_TRY(tfm_export_end(e, err));
    }
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status export_file(tfm_cli *cli, tfm_exporter *e, const char *path, tfm_error *err) {
    tfm_reader *r;
    const char *name;
    int fd;
    TFM_TRY(tfm_cli_open_input(cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) st = export_streams(cli, e, r, err);
    tfm_reader_free(r);
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

int main(int argc, char **argv) {
    tfm_cli cli;
    tfm_error err = {0};
    tfm_export_options o = {.spool = -1};
    tfm_exporter *e = NULL;
    tfm_status st = TFM_OK;
    FILE *spool = NULL;
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int c; (c = tfm_cli_next(&cli)) != 0;) take_option(&cli, c, &o);
    choose_format(&cli, &o);
    int n = tfm_cli_operands(&cli, &files);
    if (o.format == TFM_EXCHANGE_SAFETENSORS) { /* its header comes first and is known last */
        spool = tmpfile();
        if (!spool) st = tfm_fail(&err, TFM_IO, "a temporary file: %s", strerror(errno));
        if (spool) o.spool = fileno(spool);
    }
    if (st == TFM_OK)
        st = tfm_cli_open_output(&cli, o.format != TFM_EXCHANGE_JSONL, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_export_new(&e, fd, name, &o, &err);
    if (st == TFM_OK && n == 0) st = export_file(&cli, e, NULL, &err);
    for (int i = 0; i < n && st == TFM_OK; i++) st = export_file(&cli, e, files[i], &err);
    if (st == TFM_OK) st = tfm_export_finish(e, &err);
    tfm_export_free(e);
    if (spool) fclose(spool); /* only read from by now */
    return tfm_cli_finish(&cli, st, NULL, &err);
}
