/* template.h - chat templates: a conversation to the text that a model was trained on.
 *
 *     tfm_template *t;
 *     TFM_TRY(tfm_template_new(&t, "model.bin", text, n, err));
 *     tfm_template_variable v[] = {{"messages", json, json_len, false},
 *                                  {"add_generation_prompt", "true", 4, false},
 *                                  {"bos_token", "\"<s>\"", 5, true}};
 *     tfm_template_input in = {.variable = v, .n_variables = 3};
 *     TFM_TRY(tfm_template_render(t, &in, &prompt, err));
 *     TFM_TRY(tfm_tokenize_marked(tok, prompt.text, prompt.own, prompt.n, 0, &ids, &unknown, err));
 *
 * Templates are programs in Jinja2. This is an interpreter for the part of it that chat templates
 * use, with the settings of Hugging Face's apply_chat_template; the rest is an error that names the
 * line and what is missing, never an approximation. A template cannot do anything but make text;
 * its steps, its memory and its output are limited.
 *
 * Every byte of the result carries its origin: the template's own text (and variables that are
 * marked so, as bos_token), or content (messages, tools). Origins survive filters, slices, joins.
 * Only the template's own bytes may be taken for control tokens: who writes "<|im_end|>" in a
 * message has written ten characters.
 */
#ifndef TFM_TEMPLATE_H
#define TFM_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"

typedef struct tfm_template tfm_template;

/* Parses a template (copied); `name` (copied) is for messages: "NAME:LINE: ...". TFM_FORMAT: not a
 * template; TFM_UNSUPPORTED: it has a statement that this version has not. Immutable afterwards,
 * may be used from many threads. */
TFM_API tfm_status tfm_template_new(tfm_template **out, const char *name, const char *text,
                                    size_t n, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_template_free(tfm_template *t);

/* A variable that the template sees. json: its value as JSON text. is_own: its strings count as the
 * template's own. In `messages`, a value of "role" that is one of the usual words (system, user,
 * assistant, tool, ...) counts as the template's own in any case, because some templates make a
 * control token of it. */
typedef struct tfm_template_variable {
    const char *name;
    const char *json;
    size_t n;
    bool is_own;
} tfm_template_variable;

/* What strftime_now tells. */
typedef struct tfm_template_time {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
} tfm_template_time;

/* Is there such a time in the Gregorian calendar, from year 1 to 9999? A 60th second counts. */
TFM_API bool tfm_template_is_time(const tfm_template_time *t);

typedef struct tfm_template_input {
    const tfm_template_variable *variable; /* [n_variables]; a later one of the same name counts */
    size_t n_variables;
    const tfm_template_time *now; /* NULL: strftime_now is an error */
    uint64_t max_steps;           /* 0: 10 million, and one for each byte of the variables */
} tfm_template_input;

typedef struct tfm_rendered {
    char *text;         /* [n] UTF-8, and a NUL */
    unsigned char *own; /* [n] 1: the template's own, 0: content */
    size_t n;
} tfm_rendered;

/* Runs the template. TFM_RECORD: it failed on this conversation (its own raise_exception, a value
 * that is not there, a limit), or uses what is not supported. *out belongs to the caller. */
TFM_API tfm_status tfm_template_render(const tfm_template *t, const tfm_template_input *in,
                                       tfm_rendered *out, tfm_error *err) TFM_MUST_CHECK;
/* Cuts *r behind the last occurrence of the final message (white space around it taken off), as
 * apply_chat_template(continue_final_message=True) does. messages: the JSON of the variable.
 * TFM_RECORD: there is no such text in it. */
TFM_API tfm_status tfm_rendered_continue(tfm_rendered *r, const char *messages, size_t n,
                                         tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_rendered_free(tfm_rendered *r);

#endif
