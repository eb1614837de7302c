/* check.c - tfm-check: is this a valid stream, or model? Reads every byte, checks every CRC.
 *
 * The verdicts are the program's data and go to stdout, one line a bad file; the status is the
 * answer. A file that cannot be read has no answer: that is a failure. */
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/cli.h"

static const tfm_option options[] = {TFM_OPT_COMMON, TFM_OPT_END};
static const tfm_program program = {"tfm-check", "[options] [FILE...]",
                                    "Verify tensor streams and models: every rule, every CRC.",
                                    options};

typedef struct counts {
    uint64_t streams, records, bytes;
} counts;

static tfm_status read_all(int fd, const char *name, counts *n, tfm_error *err) {
    tfm_reader *r;
    tfm_record rec;
    TFM_TRY(tfm_reader_new(&r, fd, name, err));
    tfm_status st;
    while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
        n->streams++;
        while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) n->records++;
        if (st != TFM_DONE) break;
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
