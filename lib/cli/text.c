/* text.c - a text output by stdio: stdout itself, or a stream over the file of -o.
 *
 * The stream gets a descriptor of its own, because the one of -o belongs to output.c, which closes
 * and renames it when the program ends. What comes from a stream is escaped before it is shown. */
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
    if (fd != STDOUT_FILENO) return tfm_cli_aside_text(&c->out, name, out, err);
    *out = stdout;
    return TFM_OK;
}

tfm_status tfm_cli_close_text(tfm_cli *c, FILE *out, tfm_error *err) {
    if (out == NULL || out == stdout) return TFM_OK; /* tfm_cli_finish closes stdout */
    return tfm_cli_text_end(out, c->output, err);
}

tfm_status tfm_cli_aside_text(const tfm_cli_aside *a, const char *name, FILE **out,
                              tfm_error *err) {
    int own = fcntl(a->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    *out = own >= 0 ? fdopen(own, "w") : NULL;
    if (*out != NULL) return TFM_OK;
    tfm_status st = tfm_fail_errno(err, TFM_IO, "%s", name);
    if (own >= 0) close(own);
    return st;
}

tfm_status tfm_cli_text_end(FILE *out, const char *name, tfm_error *err) {
    bool lost = ferror(out) != 0;
    if (fclose(out) != 0) return tfm_fail_errno(err, TFM_IO, "%s", name);
    return lost ? tfm_fail(err, TFM_IO, "%s: could not be written in full", name) : TFM_OK;
}

size_t tfm_cli_printable(const unsigned char *p, size_t n) {
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len == 0 || len > n || p[0] > 0xf4 || p[0] < 0x20 || p[0] == 0x7f) return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80) return 0;
    if ((p[0] == 0xc2 || p[0] == 0xe0) && p[1] < 0xa0) return 0; /* C1; overlong */
    if ((p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

void tfm_cli_escaped(FILE *out, const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0, len; i < n; i += len) {
        len = tfm_cli_printable(p + i, n - i);
        if (len > 0 && p[i] != '\\')
            fwrite(p + i, 1, len, out);
        else if (p[i] == '\\')
            fputs("\\\\", out);
        else if (p[i] == '\n')
            fputs("\\n", out);
        else if (p[i] == '\t')
            fputs("\\t", out);
        else
            fprintf(out, "\\x%02x", p[i]);
        if (len == 0) len = 1;
    }
}

void tfm_cli_json_string(FILE *out, const char *text, size_t n) {
    const unsigned char *p = (const unsigned char *)text;
    fputc('"', out);
    for (size_t i = 0, len; i < n; i += len) {
        len = tfm_cli_printable(p + i, n - i);
        if (p[i] == '"' || p[i] == '\\')
            fprintf(out, "\\%c", p[i]);
        else if (len > 0)
            fwrite(p + i, 1, len, out);
        else if (p[i] < 0x80)
            fprintf(out, "\\u%04x", p[i]);
        else
            fputs("\\ufffd", out);
        if (len == 0) len = 1;
    }
    fputc('"', out);
}
