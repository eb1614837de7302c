/* signals.c - a signal that ends the program takes its unfinished files with it.
 *
 * Owns: the dispositions of SIGPIPE, SIGXFSZ, SIGUSR1 and of the signals that end a program, and
 * the paths to remove. They are in static buffers because a handler may touch nothing else safely.
 * A signal that was ignored when the program started (nohup, a background job) stays ignored,
 * except SIGPIPE: a reader that left must always end a filter, quietly and by that signal (DESIGN
 * 8). */
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

enum { MAX_PATHS = 2 }; /* -o, and one that a program writes besides */
static char path_to_remove[MAX_PATHS][PATH_MAX];
static volatile sig_atomic_t has_path[MAX_PATHS];
static volatile sig_atomic_t is_asked;

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

static void on_ask(int sig) {
    (void)sig;
    is_asked = 1;
}

static void on_end(int sig) {
    for (int i = 0; i < MAX_PATHS; i++)
        if (has_path[i]) unlink(path_to_remove[i]);
    /* The handler was installed with SA_RESETHAND and SA_NODEFER: this takes the default action. */
    raise(sig);
}

void tfm_cli_signals_start(void) {
    struct sigaction act = {0}, old;
    sigset_t unblock;

    act.sa_handler = on_end;
    act.sa_flags = (int)(SA_RESETHAND | SA_NODEFER);
    sigemptyset(&act.sa_mask);
    sigemptyset(&unblock);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        if (ends[i] != SIGPIPE && sigaction(ends[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue;
        sigaction(ends[i], &act, NULL);
        sigaddset(&unblock, ends[i]);
    }
    sigprocmask(SIG_UNBLOCK, &unblock, NULL);
    act.sa_handler = on_ask; /* SIGUSR1: how far is it? Never the end of a program */
    act.sa_flags = SA_RESTART;
    sigaction(SIGUSR1, &act, NULL);
    /* Past the file size limit write() then fails with EFBIG: a message, not a core dump. */
    act.sa_handler = SIG_IGN;
    act.sa_flags = 0;
    sigaction(SIGXFSZ, &act, NULL);
}

void tfm_cli_signals_hold(bool hold) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) sigaddset(&set, ends[i]);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

bool tfm_cli_signals_asked(void) {
    bool asked = is_asked;
    is_asked = 0;
    return asked;
}

tfm_status tfm_cli_signals_remove(const char *path, tfm_error *err) {
    size_t n = strlen(path);
    int i = 0;

    while (i < MAX_PATHS && has_path[i]) i++;
    if (i == MAX_PATHS)
        return tfm_fail(err, TFM_LIMIT, "%s: more than %d files are being written", path,
                        MAX_PATHS);
    if (n >= sizeof path_to_remove[i])
        return tfm_fail(err, TFM_LIMIT, "%.60s...: the path is longer than %zu bytes", path,
                        sizeof path_to_remove[i] - 1);
    memcpy(path_to_remove[i], path, n + 1);
    has_path[i] = 1;
    return TFM_OK;
}

void tfm_cli_signals_keep(const char *path) {
    for (int i = 0; i < MAX_PATHS; i++)
        if (has_path[i] && strcmp(path_to_remove[i], path) == 0) has_path[i] = 0;
}
