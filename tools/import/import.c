/* import.c - tfm-import: JSON lines, npy, npz or safetensors as a tensor stream. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tfm/exchange.h"

enum {
    OPT_FROM = TFM_LONG,
    OPT_KIND,
    OPT_NAME,
    OPT_GROUP,
    OPT_POSITION,
    OPT_SET,
    OPT_BF16,
    OPT_ROUND,
    MAX_SET = 256 /* of one command line */
};

static const tfm_option options[] = {
    {OPT_FROM, "from", "FORMAT",
     "jsonl, npy, npz or safetensors (default: told by the first bytes)"},
    {OPT_KIND, "kind", "KIND",
     "tokens, hidden, logits, scores, embedding, text or tensor (default: what tfm-export kept)"},
    {OPT_NAME, "name", "NAME", "name of the records (default: as the kind has it, or the array)"},
    {OPT_GROUP, "group", "N", "the first array's group (default: 0)"},
    {OPT_POSITION, "position", "N", "position of the first row (default: 0)"},
    {OPT_SET, "set", "KEY=VALUE", "set a header key; may be given again"},
    {OPT_BF16, "bf16", NULL, "arrays of uint16 are the bits of bf16"},
    {OPT_ROUND, "round", NULL, "round float64 that are no f32"},
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-import", "[options] [FILE...]",
                                    "Make tensor streams of files of other programs.", options};

typedef struct import {
    tfm_cli cli;
    tfm_import_options o;
    char *set[MAX_SET]; /* "KEY\0VALUE" */
    size_t n_set;
} import;

/* Splits KEY=VALUE and tries it on a header of its own, so that a wrong one is a usage error. */
static void take_set(import *im) {
    tfm_error err = {0};
    tfm_header *h;
    char *copy = strdup(im->cli.arg), *equals = copy ? strchr(copy, '=') : NULL;
    if (!copy) tfm_cli_usage(&im->cli, "--set: out of memory");
    if (im->n_set == MAX_SET) tfm_cli_usage(&im->cli, "--set: more than %d times", MAX_SET);
    if (!equals) tfm_cli_usage(&im->cli, "--set %.60s: must be KEY=VALUE", im->cli.arg);
    *equals = '\0';
    if (copy[0] >= 'A' && copy[0] <= 'Z')
        tfm_cli_usage(&im->cli, "--set: the critical key %.60s would be understood by nobody",
                      copy);
    tfm_status st = tfm_header_new(&h, "tensor", &err);
    if (st == TFM_OK) st = tfm_header_set(h, copy, equals + 1, &err);
    tfm_header_free(h);
    if (st != TFM_OK) tfm_cli_usage(&im->cli, "--set: %s", err.message);
    im->set[im->n_set++] = copy;
}

static void take_kind(import *im) {
    tfm_error err = {0};
    tfm_header *h;
    if (strcmp(im->cli.arg, "model") == 0)
        tfm_cli_usage(&im->cli, "--kind model: tfm-convert makes models");
    if (strcmp(im->cli.arg, "error") == 0)
        tfm_cli_usage(&im->cli, "--kind error: is not for streams of data");
    if (tfm_header_new(&h, im->cli.arg, &err) != TFM_OK)
        tfm_cli_usage(&im->cli, "--kind: %s", err.message);
    tfm_header_free(h);
    im->o.kind = im->cli.arg;
}

static void take_option(import *im, int c) {
    switch (c) {
    case OPT_FROM:
        im->o.format = tfm_exchange_parse(im->cli.arg);
        if (im->o.format == TFM_EXCHANGE_NONE)
            tfm_cli_usage(&im->cli, "--from: '%s' is none of jsonl, npy, npz, safetensors",
                          im->cli.arg);
        break;
    case OPT_KIND: take_kind(im); break;
    case OPT_NAME: im->o.name = im->cli.arg; break;
    case OPT_GROUP: im->o.group = tfm_cli_u32(&im->cli, 0, UINT32_MAX - 1); break;
    case OPT_POSITION: im->o.position = tfm_cli_u32(&im->cli, 0, UINT32_MAX); break;
    case OPT_SET: take_set(im); break;
    case OPT_BF16: im->o.bf16 = true; break;
    case OPT_ROUND: im->o.round = true; break;
    default: break;
    }
}

static tfm_status write_header(import *im, const tfm_header *given, tfm_writer *w, tfm_error *err) {
    tfm_header *h;
    TFM_TRY(tfm_header_copy(&h, given, err));
    tfm_status st = TFM_OK;
    for (size_t i = 0; i < im->n_set && st == TFM_OK; i++)
        st = tfm_header_set(h, im->set[i], im->set[i] + strlen(im->set[i]) + 1, err);
    if (st == TFM_OK) st = tfm_cli_provenance(&im->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    tfm_header_free(h);
    return st;
}

static tfm_status import_streams(import *im, tfm_importer *in, tfm_writer *w, tfm_error *err) {
    const tfm_header *h;
    tfm_record rec;
    const void *payload;
    tfm_status st;
    while ((st = tfm_import_stream(in, &h, err)) == TFM_OK) {
        TFM_TRY(write_header(im, h, w, err));
        while ((st = tfm_import_next(in, &rec, &payload, err)) == TFM_OK) {
            if (rec.type == TFM_REC_ERROR) tfm_cli_record_failed(&im->cli);
            TFM_TRY(tfm_writer_record(w, &rec, payload, err));
        }
        if (st != TFM_DONE) return st;
        TFM_TRY(tfm_writer_end(w, err));
    }
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status import_file(import *im, const char *path, tfm_writer *w, tfm_error *err) {
    tfm_importer *in = NULL;
    const char *name;
    int fd;
    TFM_TRY(tfm_cli_open_input(&im->cli, path, &fd, &name, err));
    tfm_status st = tfm_import_new(&in, fd, name, &im->o, err);
    if (st == TFM_OK) st = import_streams(im, in, w, err);
    tfm_import_free(in);
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

int main(int argc, char **argv) {
    static import im; /* its table is too much for a stack frame */
    tfm_error err = {0};
    tfm_writer *w = NULL;
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&im.cli, &program, argc, argv);
    for (int c; (c = tfm_cli_next(&im.cli)) != 0;) take_option(&im, c);
    int n = tfm_cli_operands(&im.cli, &files);
    tfm_status st = tfm_cli_open_output(&im.cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, name, &err);
    if (st == TFM_OK && n == 0) st = import_file(&im, NULL, w, &err);
    for (int i = 0; i < n && st == TFM_OK; i++) st = import_file(&im, files[i], w, &err);
    int code = tfm_cli_finish(&im.cli, st, w, &err);
    tfm_writer_free(w);
    for (size_t i = 0; i < im.n_set; i++) free(im.set[i]);
    return code;
}
