/* message.c - the one place where a program speaks to people: "tfm-tool: what: why" on stderr.
 *
 * A message is one line and one write, so that the lines of a pipeline's stages do not mix. What
 * comes from outside (file names, upstream messages) cannot send control characters to a terminal. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

enum { LINE_MAX_BYTES = 1024 }; /* a tfm_error is at most 600; PIPE_BUF (atomic) is 4096 */

void tfm_cli_print(const tfm_cli *c, const char *message) {
    char line[LINE_MAX_BYTES];
    int n = snprintf(line, sizeof line - 1, "%s: %s", c->program->name, message);
    size_t len = n < 0 ? 0 : (size_t)n;
    ssize_t written;

    if (len > sizeof line - 2) len = sizeof line - 2;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    line[len++] = '\n';
    do written = write(STDERR_FILENO, line, len);
    while (written < 0 && errno == EINTR);
    /* Nobody is left to tell when stderr itself fails; the exit status still says it. */
}

static void print_formatted(const tfm_cli *c, const char *prefix, const char *fmt, va_list ap)
    __attribute__((format(printf, 3, 0)));
static void print_formatted(const tfm_cli *c, const char *prefix, const char *fmt, va_list ap) {
    char text[LINE_MAX_BYTES];
    int n = snprintf(text, sizeof text, "%s", prefix);
    if (n >= 0 && (size_t)n < sizeof text) vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
    tfm_cli_print(c, text);
}

void tfm_cli_warn(tfm_cli *c, const char *fmt, ...) {
    va_list ap;
    if (c->quiet) return;
    va_start(ap, fmt);
    print_formatted(c, "warning: ", fmt, ap);
    va_end(ap);
}

void tfm_cli_say(tfm_cli *c, const char *fmt, ...) {
    va_list ap;
    if (c->verbose == 0) return;
    va_start(ap, fmt);
    print_formatted(c, "", fmt, ap);
    va_end(ap);
}

void tfm_cli_usage(tfm_cli *c, const char *fmt, ...) {
    va_list ap;
    tfm_error ignored = {0};
    va_start(ap, fmt);
    print_formatted(c, "", fmt, ap);
    va_end(ap);
    if (tfm_cli_close_output(c, false, &ignored) != TFM_OK) tfm_cli_print(c, ignored.message);
    exit(2);
}
