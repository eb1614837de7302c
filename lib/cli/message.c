/* message.c - the one place where a program speaks to people: "tfm-tool: what: why" on stderr.
 *
 * A message is one line and one write, so that the lines of a pipeline's stages do not mix. What
 * comes from outside (file names, upstream messages) cannot send control characters to a
 * terminal. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

enum { LINE_MAX_BYTES = 1024 }; /* a tfm_error is at most 600; PIPE_BUF (atomic) is 4096 */

#define CLEAR_LINE "\r\033[K" /* on a terminal: to its beginning, and nothing behind it */

static bool is_over; /* the cursor stands behind a line that is to be written over */

static void put(const char *bytes, size_t n) {
    ssize_t written;
    do written = write(STDERR_FILENO, bytes, n);
    while (written < 0 && errno == EINTR);
    /* Nobody is left to tell when stderr itself fails; the exit status still says it. */
}

static void print(const tfm_cli *c, const char *message, bool over) {
    char line[LINE_MAX_BYTES];
    size_t start = is_over || over ? sizeof CLEAR_LINE - 1 : 0;
    int n = snprintf(line, sizeof line - 1, "%s%s: %s", start ? CLEAR_LINE : "", c->program->name,
                     message);
    size_t len = n < 0 ? 0 : (size_t)n;

    if (len > sizeof line - 2) len = sizeof line - 2;
    for (size_t i = start; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = '?';
    if (!over) line[len++] = '\n';
    is_over = over;
    put(line, len);
}

void tfm_cli_print(const tfm_cli *c, const char *message) {
    print(c, message, false);
}

void tfm_cli_print_over(const tfm_cli *c, const char *message) {
    print(c, message, true);
}

void tfm_cli_print_clear(void) {
    if (is_over) put(CLEAR_LINE, sizeof CLEAR_LINE - 1);
    is_over = false;
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

const char *tfm_cli_plural(uint64_t n) {
    return n == 1 ? "" : "s";
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
