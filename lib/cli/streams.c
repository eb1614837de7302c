/* streams.c - every stream of every input file, for programs that take one after another. */
#include <unistd.h>

#include "cli/cli_internal.h"

static tfm_status read_file(tfm_cli *c, const char *path, const char *writer, tfm_cli_stream_fn fn,
                            void *ctx, tfm_error *err) {
    tfm_reader *r = NULL;
    const char *name;
    int fd;

    TFM_TRY(tfm_cli_open_input(c, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) tfm_reader_writer(r, writer);
    while (st == TFM_OK && (st = tfm_reader_stream(r, err)) == TFM_OK) st = fn(ctx, r, err);
    tfm_reader_free(r);
    if (fd != STDIN_FILENO) close(fd);
    return st == TFM_DONE ? TFM_OK : st;
}

tfm_status tfm_cli_streams(tfm_cli *c, char **files, int n_files, const char *writer,
                           tfm_cli_stream_fn fn, void *ctx, tfm_error *err) {
    if (n_files == 0) return read_file(c, NULL, writer, fn, ctx, err);
    for (int i = 0; i < n_files; i++) TFM_TRY(read_file(c, files[i], writer, fn, ctx, err));
    return TFM_OK;
}
