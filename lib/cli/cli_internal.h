/* cli_internal.h - what the files of this layer ask of each other. */
#ifndef TFM_CLI_INTERNAL_H
#define TFM_CLI_INTERNAL_H

#include "cli/cli.h"

/* options.c: the letters of the common options. */
enum { TFM_OPT_NO_PROV = 0x1001, TFM_OPT_PROGRESS_SECS };
bool tfm_cli_has_option(const tfm_program *p, int letter);

/* message.c: "tfm-tool: message" on stderr in one write; control characters become '?'. */
void tfm_cli_print(const tfm_cli *c, const char *message);

/* The same over the line before, without its end: progress on a terminal. The next message of
 * either kind, or the end of the program (tfm_cli_print_clear), takes it away. */
void tfm_cli_print_over(const tfm_cli *c, const char *message);
void tfm_cli_print_clear(void);

/* progress.c */
void tfm_cli_progress_start(tfm_cli *c);

/* output.c */
/* Renames the temporary over FILE (keep) or removes it; a second call does nothing. */
tfm_status tfm_cli_close_output(tfm_cli *c, bool keep, tfm_error *err) TFM_MUST_CHECK;
/* Flushes and closes stdout; TFM_IO if anything of it was lost. */
tfm_status tfm_cli_close_stdout(tfm_error *err) TFM_MUST_CHECK;

/* signals.c */
void tfm_cli_signals_start(void);
/* A file to remove when a signal ends the program. Copied; TFM_LIMIT if too long, or one too
 * many. */
tfm_status tfm_cli_signals_remove(const char *path, tfm_error *err) TFM_MUST_CHECK;
/* true: signals that end the program wait until false is said. Between making a file and naming it
 * above, one would leave the file behind. */
void tfm_cli_signals_hold(bool hold);
void tfm_cli_signals_keep(const char *path); /* is not to be removed any more */
bool tfm_cli_signals_asked(void);            /* did SIGUSR1 come since the last call? */

#endif
