/* check.c - tfm-check: is this a valid stream, or model? Reads every byte, checks every CRC.
 *
 * A stream of kind model must also be one: its index is compared with its records.
 *
 * The verdicts are the program's data and go to stdout, one line a bad file; the status is the
 * answer. A file that cannot be read has no answer: that is a failure. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tfm/model.h"

static const tfm_option options[] = {TFM_OPT_COMMON, TFM_OPT_END};
static const tfm_program program = {"tfm-check", "[options] [FILE...]",
                                    "Verify tensor streams and models: every rule, every CRC.",
                                    options};

typedef struct counts {
    uint64_t streams, records, bytes;
} counts;

/* What tfm_index_check_* says, with the file's name and the cure. */
static tfm_status verdict(tfm_status st, const char *name, tfm_error *err) {
    if (tfm_status_exit(st) != 3) return st;
    const tfm_error why = *err;
    return tfm_fail(err, st, "%s: a stream, but no model: %s; make it anew with tfm-convert", name,
                    why.message);
}

static tfm_status check_record(tfm_index_check *index, tfm_reader *r, const tfm_record *rec,
                               const char *name, tfm_error *err) {
    const uint64_t at = tfm_reader_offset(r);
    const void *payload = NULL;
    if (rec->type == TFM_REC_INDEX && rec->bytes <= TFM_INDEX_MAX)
        TFM_TRY(tfm_reader_payload(r, &payload, err));
    return verdict(tfm_index_check_record(index, rec, at, payload, err), name, err);
}

/* The rest of the present stream; index: NULL if it is no model. */
static tfm_status read_stream(tfm_reader *r, tfm_index_check *index, const char *name, counts *n,
                              tfm_error *err) {
    tfm_record rec;
    tfm_status st;
    while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
        n->records++;
        if (index) TFM_TRY(check_record(index, r, &rec, name, err));
    }
    if (st != TFM_DONE) return st;
    return index ? verdict(tfm_index_check_end(index, err), name, err) : TFM_OK;
}

static tfm_status read_all(int fd, const char *name, counts *n, tfm_error *err) {
    tfm_reader *r;
    tfm_status st;
    TFM_TRY(tfm_reader_new(&r, fd, name, err));
    for (;;) {
        const uint64_t start = tfm_reader_offset(r);
        tfm_index_check *index = NULL;
        st = tfm_reader_stream(r, err);
        if (st != TFM_OK) break;
        n->streams++;
        if (strcmp(tfm_header_kind(tfm_reader_header(r)), "model") == 0)
            st = tfm_index_check_new(&index, start, err);
        if (st == TFM_OK) st = read_stream(r, index, name, n, err);
        tfm_index_check_free(index);
        if (st != TFM_OK) break;
    }
    n->bytes = tfm_reader_offset(r);
    tfm_reader_free(r);
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status check_file(tfm_cli *cli, FILE *out, const char *path, tfm_error *err) {
    const char *name;
    counts n = {0};
    int fd;
    TFM_TRY(tfm_cli_open_input(cli, path, &fd, &name, err));
    tfm_status st = read_all(fd, name, &n, err);
    if (fd != STDIN_FILENO) close(fd);
    if (tfm_status_exit(st) == 3) {
        tfm_cli_answer_no(cli);
        if (!cli->quiet) fprintf(out, "%s\n", err->message);
        return TFM_OK;
    }
    if (st == TFM_OK && cli->verbose)
        fprintf(out, "%s: good: streams %" PRIu64 ", records %" PRIu64 ", bytes %" PRIu64 "\n",
                name, n.streams, n.records, n.bytes);
    return st;
}

int main(int argc, char **argv) {
    tfm_cli cli;
    tfm_error err = {0};
    FILE *out = NULL;
    char **files;

    tfm_cli_start(&cli, &program, argc, argv);
    while (tfm_cli_next(&cli) != 0) continue;
    int n = tfm_cli_operands(&cli, &files);
    tfm_status st = tfm_cli_open_text(&cli, &out, &err);
    if (st == TFM_OK && n == 0) st = check_file(&cli, out, NULL, &err);
    for (int i = 0; i < n && st == TFM_OK; i++) st = check_file(&cli, out, files[i], &err);
    if (st == TFM_OK) st = tfm_cli_close_text(&cli, out, &err);
    return tfm_cli_finish(&cli, st, NULL, &err);
}
