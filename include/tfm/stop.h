/* stop.h - stop strings: hold tokens back while they may be part of one, cut the text exactly.
 *
 *     tfm_stop_set *set;                         // once: the strings, the bytes of every id
 *     TFM_TRY(tfm_stop_set_new(&set, vocab, strings, n, err));
 *     tfm_stop *s;                               // for each sample
 *     TFM_TRY(tfm_stop_new(&s, set, err));
 *     TFM_TRY(tfm_stop_push(s, id, &ready, &stopped, err));
 *     ... ready: ids that are certain now ...
 *
 * Text is that of the generated part only, as the detokenizer spells it; a control token spells
 * nothing. The one module for everybody who generates.
 */
#ifndef TFM_STOP_H
#define TFM_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"
#include "tfm/tokenizer.h"

typedef struct tfm_stop_set tfm_stop_set;
typedef struct tfm_stop tfm_stop;

/* Borrows strings (64 at most, of 1 to 4096 bytes) and vocab. TFM_USAGE if there are more, a string
 * has another length, or vocab is NULL. */
TFM_API tfm_status tfm_stop_set_new(tfm_stop_set **out, const tfm_vocab *vocab,
                                    const char *const *strings, size_t n,
                                    tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_stop_set_free(tfm_stop_set *set);
/* The matcher of one sample. Borrows set. */
TFM_API tfm_status tfm_stop_new(tfm_stop **out, const tfm_stop_set *set,
                                tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_stop_free(tfm_stop *s);
/* Takes the next id. Appends to *ready the ids that are now certain; *stopped is set when a stop
 * string is complete: then *ready got the ids that spell exactly the text before it. TFM_RECORD:
 * the id is outside the vocabulary, or the vocabulary cannot spell that text. */
TFM_API tfm_status tfm_stop_push(tfm_stop *s, int32_t id, tfm_ids *ready, bool *stopped,
                                 tfm_error *err) TFM_MUST_CHECK;
/* Appends what is still held back: the text ended otherwise. */
TFM_API tfm_status tfm_stop_flush(tfm_stop *s, tfm_ids *ready, tfm_error *err) TFM_MUST_CHECK;

#endif
