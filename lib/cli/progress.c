/* progress.c - how far a long work is, for people: on a terminal, on SIGUSR1, or every N seconds.
 *
 * A tool calls tfm_cli_progress as often as it likes; most calls only look at the clock. On a
 * terminal there is one line that is written over (message.c clears it before it writes anything
 * else), and none before a second has passed; --progress SECS and SIGUSR1 give whole lines that a
 * log can keep. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli_internal.h"

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void tfm_cli_progress_start(tfm_cli *c) {
    c->start_s = c->shown_s = now_s();
    c->is_terminal = isatty(STDERR_FILENO);
}

void tfm_cli_progress(tfm_cli *c, const char *unit, uint64_t done, uint64_t total) {
    char text[160], share[32] = "";
    double now = now_s(), passed = now - c->start_s;
    bool asked = tfm_cli_signals_asked();
    bool over = !asked && c->progress_s == 0; /* a line that is written over */
    double every = c->progress_s ? c->progress_s : 1.0;

    if (over && (!c->is_terminal || c->quiet)) return;
    if (!asked && now - c->shown_s < every) return;
    if (!asked) c->shown_s = now;
    if (total)
        snprintf(share, sizeof share, " of %llu (%.0f %%)", (unsigned long long)total,
                 100.0 * (double)done / (double)total);
    snprintf(text, sizeof text, "%llu%s %s, %.4g a second, %.0f s", (unsigned long long)done, share,
             unit, passed > 0 ? (double)done / passed : 0.0, passed);
    if (over)
        tfm_cli_print_over(c, text);
    else
        tfm_cli_print(c, text);
}
