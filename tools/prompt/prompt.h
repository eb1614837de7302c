/* prompt.h - the parts of tfm-prompt: options; a conversation to its variables. */
#ifndef TFM_TOOLS_PROMPT_H
#define TFM_TOOLS_PROMPT_H

#include <jansson.h>

#include "cli/cli.h"
#include "tfm/load.h"
#include "tfm/template.h"
#include "tfm/tokenizer.h"

enum { SETS_MAX = 64, RECORD_MAX = 16 << 20 /* bytes of one conversation */ };

typedef struct options {
    tfm_cli_frame frame;
    const char *field; /* of JSONL: holds the messages */
    bool flush_each, text;
    bool no_generation, continues;
    const char *tools_path, *template_path;
    const char *set[SETS_MAX]; /* KEY=JSON */
    size_t n_sets;
    tfm_template_time now;
    uint64_t first;
    char **files;
    int n_files;
} options;

/* ---- conversation.c: JSON to the variables of a template ---- */

enum { VARIABLES_MAX = 256 };

typedef struct conversation {
    tfm_template_variable variable[VARIABLES_MAX];
    char *owned[VARIABLES_MAX]; /* text of variable[i] if it is ours, else NULL */
    size_t n;
    json_t *json;
    const char *messages; /* JSON text */
    size_t messages_len;
    bool continues;
} conversation;

/* What is the same for every record. */
typedef struct fixed {
    const options *opt;
    const tfm_chat *chat;
    json_t *tools; /* --tools, or NULL */
    json_t *set[SETS_MAX];
    char *set_name[SETS_MAX];
} fixed;

tfm_status fixed_open(fixed *f, tfm_cli *c, const options *opt, const tfm_chat *chat,
                      tfm_error *err) TFM_MUST_CHECK;
void fixed_close(fixed *f);
/* TFM_FORMAT: not JSON; TFM_RECORD: no conversation. */
tfm_status conversation_read(conversation *c, const fixed *f, const char *text, size_t n,
                             tfm_error *err) TFM_MUST_CHECK;
void conversation_free(conversation *c);

#endif
