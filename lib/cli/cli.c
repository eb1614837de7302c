/* cli.c - the beginning and the end of every program.
 *
 * Owns: the state of file descriptors 0-2, the environment variables, the exit status, the place of
 * share/. Parsing is in options.c, the output file in output.c, signals in signals.c. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "cli/cli_internal.h"

/* A missing fd 0-2 would be given to the next file that is opened, which stray output would then
 * damage. fd 0 is opened for writing and fd 1 for reading, so that a tool that needs the missing
 * one fails with EBADF instead of reading nothing or writing nowhere in silence. */
static void fill_missing_fds(void) {
    static const int modes[3] = {O_WRONLY, O_RDONLY, O_RDWR};
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", modes[fd]) != fd) exit(5);
}

static const char *env(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

void tfm_cli_start(tfm_cli *c, const tfm_program *p, int argc, char **argv) {
    memset(c, 0, sizeof *c);
    c->program = p;
    c->argc = argc;
    c->argv = argv;
    c->next = c->scan = 1;
    c->out.fd = -1;
    tfm_cli_progress_start(c);
    fill_missing_fds();
    tfm_cli_signals_start();
    c->model = env("TFM_MODEL");
    c->device = env("TFM_DEVICE");
    c->no_prov = env("TFM_NO_PROV") != NULL;
    /* Parsed when the options are known: -t overrides a bad value. */
    if (tfm_cli_has_option(p, 't')) c->threads_env = env("TFM_THREADS");
}

void tfm_cli_record_failed(tfm_cli *c) {
    c->any_failed = true;
}

void tfm_cli_group_failed(tfm_cli *c, uint32_t group, const char *why) {
    tfm_cli_record_failed(c);
    tfm_cli_warn(c, "group %u: %s", group, why);
}

void tfm_cli_answer_no(tfm_cli *c) {
    c->worst = 1;
}

/* A header for the ERROR of a stage that fails before its first stream or between two (after an END
 * the next stage would see a good end); what it would have written, nobody can say any more. */
static bool start_error_stream(const tfm_cli *c, tfm_writer *w) {
    tfm_header *h = NULL;
    tfm_status st = tfm_header_new(&h, "error", NULL);

    if (st == TFM_OK) st = tfm_header_set(h, "tool", c->program->name, NULL);
    if (st == TFM_OK) st = tfm_writer_header(w, h, NULL);
    tfm_header_free(h);
    return st == TFM_OK;
}

/* Tells the next stage why this one ends. An upstream failure keeps the name of the stage that
 * failed: "upstream PROGRAM: MESSAGE" is taken apart again. What cannot be written is lost with the
 * pipe; the missing END tells the reader then. */
static void tell_next_stage(const tfm_cli *c, tfm_writer *w, const tfm_error *err) {
    static const char mark[] = "upstream ";
    char program[64];
    const char *name = c->program->name, *message = err->message, *at, *colon;
    tfm_error ignored;

    if (!tfm_writer_is_open(w) && !start_error_stream(c, w)) return;
    if (err->status == TFM_UPSTREAM && (at = strstr(message, mark)) != NULL) {
        at += sizeof mark - 1;
        colon = strstr(at, ": ");
        if (colon != NULL && (size_t)(colon - at) < sizeof program) {
            memcpy(program, at, (size_t)(colon - at));
            program[colon - at] = '\0';
            name = program;
            message = colon + 2;
        }
    }
    if (tfm_writer_error(w, TFM_GROUP_ALL, name, message, &ignored) != TFM_OK) return;
}

/* Closes stdout, then completes or removes -o: a failure of either must find FILE untouched.
 * Returns the exit status; only the first failure of a program is told. */
static int close_outputs(tfm_cli *c, int code) {
    tfm_error err = {0};
    const bool good = code == 0 || code == 1 || code == 4;
    tfm_status st = tfm_cli_close_stdout(&err);
    const tfm_status kept =
        tfm_cli_close_output(c, good && st == TFM_OK, st == TFM_OK ? &err : NULL);
    if (st == TFM_OK) st = kept;
    if (st == TFM_OK || !good) return code;
    tfm_cli_print(c, err.message);
    return 5;
}

int tfm_cli_finish(tfm_cli *c, tfm_status status, tfm_writer *w, const tfm_error *err) {
    int code = tfm_status_exit(status);

    tfm_cli_print_clear();
    if (status != TFM_OK && status != TFM_DONE) {
        const char *message = err && err->message[0] ? err->message : "failed";
        tfm_cli_print(c, message);
        if (status != TFM_RECORD && w != NULL && err != NULL) tell_next_stage(c, w, err);
    }
    if (code == 0 && c->any_failed) code = 4;
    if (code == 0) code = c->worst;
    code = close_outputs(c, code);
    tfm_free(c->given);
    c->given = NULL;
    return code;
}

const char *tfm_cli_share_dir(void) {
    static const char *const beside[] = {"/../share/tfm", "/../../share"};
    static char dir[PATH_MAX + 16];
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    char *slash;

    dir[0] = '\0';
    if (n <= 0) return dir;
    exe[n] = '\0';
    slash = strrchr(exe, '/');
    if (slash == NULL) return dir;
    *slash = '\0';
    for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
        char probe[sizeof dir + 8];
        if (snprintf(dir, sizeof dir, "%s%s", exe, beside[i]) < (int)sizeof dir &&
            snprintf(probe, sizeof probe, "%s/arch", dir) < (int)sizeof probe &&
            access(probe, R_OK | X_OK) == 0)
            return dir;
    }
    /* Nowhere: what is asked for fails with the name of the place where it should be. */
    if (snprintf(dir, sizeof dir, "%s%s", exe, beside[0]) >= (int)sizeof dir) dir[0] = '\0';
    return dir;
}
