/* signals.c - a signal that ends the program takes the unfinished -o file with it.
 *
 * Owns: the dispositions of SIGPIPE, SIGXFSZ, SIGUSR1 and of the signals that end a program, and the path to
 * remove. The path is in a static buffer because a handler may touch nothing else safely. A signal
 * that was ignored when the program started (nohup, a background job) stays ignored, except SIGPIPE:
 * a reader that left must always end a filter, quietly and by that signal (DESIGN 8). */
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

static char path_to_remove[PATH_MAX];
static volatile sig_atomic_t has_path;
static volatile sig_atomic_t is_asked;

static void on_ask(int sig) {
    (void)sig;
    is_asked = 1;
}

static void on_end(int sig) {
    if (has_path) unlink(path_to_remove);
    /* The handler was installed with SA_RESETHAND and SA_NODEFER: this takes the default action. */
    raise(sig);
}

void tfm_cli_signals_start(void) {
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
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

bool tfm_cli_signals_asked(void) {
    bool asked = is_asked;
    is_asked = 0;
    return asked;
}

tfm_status tfm_cli_signals_remove(const char *path, tfm_error *err) {
    size_t n = strlen(path);
    has_path = 0;
    if (n >= sizeof path_to_remove)
        return tfm_fail(err, TFM_LIMIT, "%.60s...: the path is longer than %zu bytes", path,
                        sizeof path_to_remove - 1);
    memcpy(path_to_remove, path, n + 1);
    has_path = 1;
    return TFM_OK;
}

void tfm_cli_signals_keep(void) {
    has_path = 0;
}
