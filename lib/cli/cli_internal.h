/* cli_internal.h - what the files of this layer ask of each other. */
#ifndef TFM_CLI_INTERNAL_H
#define TFM_CLI_INTERNAL_H

#include "cli/cli.h"

/* options.c: the letters of the common options. */
enum { TFM_OPT_NO_PROV = 0x1001 };
bool tfm_cli_has_option(const tfm_program *p, int letter);

/* message.c: "tfm-tool: message" on stderr in one write; control characters become '?'. */
void tfm_cli_print(const tfm_cli *c, const char *message);

/* output.c */
/* Renames the temporary over FILE (keep) or removes it; a second call does nothing. */
tfm_status tfm_cli_close_output(tfm_cli *c, bool keep, tfm_error *err) TFM_MUST_CHECK;
/* Flushes and closes stdout; TFM_IO if anything of it was lost. */
tfm_status tfm_cli_close_stdout(tfm_error *err) TFM_MUST_CHECK;

/* signals.c */
void tfm_cli_signals_start(void);
/* The file to remove when a signal ends the program; NULL for none. Copied; TFM_LIMIT if too long. */
tfm_status tfm_cli_signals_remove(const char *path, tfm_error *err) TFM_MUST_CHECK;
void tfm_cli_signals_keep(void); /* nothing to remove any more */

#endif
