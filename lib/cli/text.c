/* text.c - a text output by stdio: stdout itself, or a stream over the file of -o.
 *
 * The stream gets a descriptor of its own, because the one of -o belongs to output.c, which closes
 * and renames it when the program ends. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "cli/cli_internal.h"

tfm_status tfm_cli_open_text(tfm_cli *c, FILE **out, tfm_error *err) {
    const char *name;
    int fd;
    *out = NULL;
    TFM_TRY(tfm_cli_open_output(c, false, &fd, &name, err));
    if (fd == STDOUT_FILENO) {
        *out = stdout;
        return TFM_OK;
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (own >= 0) *out = fdopen(own, "w");
    if (*out != NULL) return TFM_OK;
    tfm_status st = tfm_fail_errno(err, TFM_IO, "%s", name);
    if (own >= 0) close(own);
    return st;
}

tfm_status tfm_cli_close_text(tfm_cli *c, FILE *out, tfm_error *err) {
    if (out == NULL || out == stdout) return TFM_OK; /* tfm_cli_finish closes stdout */
    bool lost = ferror(out) != 0;
    if (fclose(out) != 0) return tfm_fail_errno(err, TFM_IO, "%s", c->output);
    return lost ? tfm_fail(err, TFM_IO, "%s: could not be written in full", c->output) : TFM_OK;
}
