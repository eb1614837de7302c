/* prompts.h - from a token stream to whole prompts in one's own vocabulary.
 *
 *     tfm_prompts *p;
 *     TFM_TRY(tfm_prompts_new(&p, reader, vocab, "story.tfms", err));
 *     while ((st = tfm_prompts_next(p, &prompt, err)) == TFM_OK) {
 *         ... prompt.ids, prompt.n, prompt.passed ...
 *     }                                        // TFM_DONE: END of this stream
 *
 * Every tool that has a model and takes tokens reads them through this, so that the neutral
 * vocabulary `raw-bytes` is turned into the model's in one place, exactly as tfm-tokenize -m would
 * have, and tokens of another vocabulary are refused in one place.
 */
#ifndef TFM_PROMPTS_H
#define TFM_PROMPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"
#include "tfm/stream.h"
#include "tfm/tokenizer.h"

/* A record that is not tokens: to be passed on. One of the stream (tfm_record_has_group: META,
 * ancillary ones) comes with the group that follows it, and is no part of that. */
typedef struct tfm_passed {
    tfm_record record;
    void *payload; /* [record.bytes] */
} tfm_passed;

/* One group. Owned by tfm_prompts, alive until its next call. */
typedef struct tfm_prompt {
    uint32_t group;
    int32_t *ids; /* [n] */
    size_t n;
    tfm_passed *passed; /* [n_passed], in the order they came */
    size_t n_passed;
    char *program; /* ERROR record of the group: who failed, NULL if nobody */
    char *message;
    bool flush;     /* the writer waits for results: write them before asking for the next prompt */
    bool is_turn;   /* of a stream of turns: all of the group so far; it goes on after the answer */
    bool has_ended; /* of a stream of turns: GROUP-END has come; there is nothing to answer */
} tfm_prompt;

typedef struct tfm_prompts tfm_prompts;

/* For the present stream of r (after tfm_reader_stream). Borrows r and vocab (NULL: ids are taken
 * as they are). The stream must be of kind tokens, and of vocab or of raw-bytes; else TFM_MISMATCH
 * that names both and where each came from (`model_path`). */
TFM_API tfm_status tfm_prompts_new(tfm_prompts **out, tfm_reader *r, const tfm_vocab *vocab,
                                   const char *model_path, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_prompts_free(tfm_prompts *p);
/* Is this a stream of turns (header key `turns`)? Then tfm_prompts_next gives a group at each
 * record with the flags LAST and FLUSH, with all its ids so far, and once more at its end. */
TFM_API bool tfm_prompts_has_turns(const tfm_prompts *p);
/* One id of the answer to the last turn of a group: it counts as the group's, so that the next
 * record can follow it. */
TFM_API tfm_status tfm_prompts_append(tfm_prompts *p, uint32_t group, int32_t id,
                                      tfm_error *err) TFM_MUST_CHECK;
/* The next group whose GROUP-END has come (or, at END, that had none). FORK begins a group with the
 * ids of another that is open. A gap between positions and
 * what the tokenizer refuses make the group a failed one, not the stream. */
TFM_API tfm_status tfm_prompts_next(tfm_prompts *p, tfm_prompt *prompt,
                                    tfm_error *err) TFM_MUST_CHECK;
/* At TFM_DONE: the records of the stream behind the last group. */
TFM_API const tfm_passed *tfm_prompts_rest(const tfm_prompts *p, size_t *n);
/* Characters for which the unknown token stands in what was tokenized here so far. */
TFM_API uint64_t tfm_prompts_unknown(const tfm_prompts *p);
/* The same without waiting for the writer: *is_there false if no group is whole yet. */
TFM_API tfm_status tfm_prompts_poll(tfm_prompts *p, tfm_prompt *prompt, bool *is_there,
                                    tfm_error *err) TFM_MUST_CHECK;

#endif
