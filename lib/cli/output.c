/* output.c - opening inputs and the output, and completing the output.
 *
 * -o FILE is written to a temporary in FILE's own folder (a rename is only atomic within one file
 * system) and renamed when the program succeeded: FILE is the old one or the whole new one, never a
 * part. A symbolic link is followed, its target is replaced. A FIFO or a device cannot be replaced
 * and is written directly. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "cli/cli_internal.h"

tfm_status tfm_cli_open_input(tfm_cli *c, const char *path, int *fd, const char **name,
                              tfm_error *err) {
    struct stat st;
    (void)c;
    *fd = -1;
    if (path == NULL || strcmp(path, "-") == 0) {
        *fd = STDIN_FILENO;
        *name = "stdin";
        return TFM_OK;
    }
    *name = path;
    if (*path == '\0')
        return tfm_fail(err, TFM_USAGE, "the name of a file is empty (an unset variable?)");
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return tfm_fail_errno(err, TFM_IO, "%s", path);
    if (fstat(*fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        close(*fd);
        *fd = -1;
        errno = EISDIR;
        return tfm_fail_errno(err, TFM_IO, "%s", path);
    }
    return TFM_OK;
}

/* The temporary's name: ".NAME.tfm-XXXXXX" beside `final`. */
static tfm_status temp_name(char **out, const char *final, tfm_error *err) {
    tfm_buf b = {0};
    const char *slash = strrchr(final, '/');
    size_t dir_len = slash ? (size_t)(slash - final) + 1 : 0;
    tfm_status st = tfm_buf_add(&b, final, dir_len, err);
    if (st == TFM_OK) st = tfm_buf_byte(&b, '.', err);
    if (st == TFM_OK) st = tfm_buf_str(&b, final + dir_len, err);
    if (st == TFM_OK) st = tfm_buf_str(&b, ".tfm-XXXXXX", err);
    *out = st == TFM_OK ? b.data : NULL;
    if (st != TFM_OK) tfm_buf_free(&b);
    return st;
}

/* Gives the new file the mode that FILE has, or that creating it would have given. */
static void set_mode(int fd, const struct stat *old) {
    mode_t mask = umask(0);
    umask(mask);
    if (fchmod(fd, old ? (old->st_mode & 07777) : (0666 & ~mask)) != 0) {
        /* Some file systems have no modes; the contents are what -o promises. */
    }
}

static tfm_status open_temp(tfm_cli_aside *a, const char *path, const struct stat *old,
                            tfm_error *err) {
    char real[PATH_MAX];

    TFM_TRY(tfm_strdup(&a->final, old && realpath(path, real) ? real : path, err));
    TFM_TRY(temp_name(&a->temp, a->final, err));
    tfm_cli_signals_hold(true); /* a file that is there is one that a signal removes */
    a->fd = mkostemp(a->temp, O_CLOEXEC);
    tfm_status st = TFM_OK;
    if (a->fd < 0) {
        st = tfm_fail_errno(err, TFM_IO, "%s: cannot create a file beside it", path);
        tfm_free(a->temp);
        a->temp = NULL;
    } else {
        st = tfm_cli_signals_remove(a->temp, err);
    }
    tfm_cli_signals_hold(false);
    if (st == TFM_OK) set_mode(a->fd, old);
    return st;
}

static void aside_free(tfm_cli_aside *a) {
    tfm_free(a->temp);
    tfm_free(a->final);
    *a = (tfm_cli_aside){.fd = -1};
}

tfm_status tfm_cli_aside_open(tfm_cli_aside *a, const char *path, tfm_error *err) {
    struct stat st;
    bool exists = stat(path, &st) == 0;

    *a = (tfm_cli_aside){.fd = -1};
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return tfm_fail_errno(err, TFM_IO, "%s", path);
    }
    if (exists && !S_ISREG(st.st_mode)) {
        a->fd = open(path, O_WRONLY | O_CLOEXEC);
        return a->fd < 0 ? tfm_fail_errno(err, TFM_IO, "%s", path) : TFM_OK;
    }
    tfm_status status = open_temp(a, path, exists ? &st : NULL, err);
    if (status == TFM_OK) return TFM_OK;
    tfm_error ignored = {0};
    if (tfm_cli_aside_close(a, false, &ignored) != TFM_OK) aside_free(a);
    return status;
}

tfm_status tfm_cli_aside_close(tfm_cli_aside *a, bool keep, tfm_error *err) {
    tfm_status status = TFM_OK;

    if (a->fd > STDERR_FILENO && close(a->fd) != 0)
        status = tfm_fail_errno(err, TFM_IO, "%s", a->final ? a->final : "the output");
    if (a->temp != NULL) {
        if (keep && status == TFM_OK && rename(a->temp, a->final) != 0)
            status = tfm_fail_errno(err, TFM_IO, "%s: cannot rename onto it", a->final);
        if (!keep || status != TFM_OK) unlink(a->temp);
        tfm_cli_signals_keep(a->temp);
    }
    aside_free(a);
    return status;
}

tfm_status tfm_cli_open_output(tfm_cli *c, bool binary, int *fd, const char **name,
                               tfm_error *err) {
    *fd = -1;
    *name = c->output ? c->output : "stdout";
    if (c->output)
        TFM_TRY(tfm_cli_aside_open(&c->out, c->output, err));
    else
        c->out.fd = STDOUT_FILENO;
    if (binary && isatty(c->out.fd))
        return tfm_fail(err, TFM_USAGE,
                        "%s: is a terminal, the output is binary: "
                        "use -o FILE or a pipe",
                        *name);
    *fd = c->out.fd;
    return TFM_OK;
}

tfm_status tfm_cli_close_output(tfm_cli *c, bool keep, tfm_error *err) {
    return tfm_cli_aside_close(&c->out, keep, err);
}

tfm_status tfm_cli_close_stdout(tfm_error *err) {
    bool lost = ferror(stdout) != 0;
    /* A stdio write that failed earlier has left no errno; the stream can only say that it did. */
    if (fflush(stdout) != 0) return tfm_fail_errno(err, TFM_IO, "stdout");
    if (lost) return tfm_fail(err, TFM_IO, "stdout: could not be written in full");
    /* Some file systems report a failed write only here. */
    if (close(STDOUT_FILENO) != 0 && errno != EBADF) return tfm_fail_errno(err, TFM_IO, "stdout");
    return TFM_OK;
}
