/* hf_steps_internal.h - a stage of tokenizer.json becoming a list of steps (tfm_vocab_step): what
 * normalizers, pre-tokenizers and decoders have in common. */
#ifndef TFM_HF_STEPS_INTERNAL_H
#define TFM_HF_STEPS_INTERNAL_H

#include "model/json_internal.h"

typedef struct tfm_hf_steps {
    tfm_draft *d;
    const char *stage;    /* "normalizer", for messages */
    const char *members;  /* "normalizers": where a Sequence has them */
    tfm_vocab_step *step; /* in the draft's arena */
    uint32_t n;
} tfm_hf_steps;

tfm_status tfm_hf_steps_new(tfm_hf_steps *l, tfm_draft *d, const char *stage, const char *members,
                            tfm_error *err) TFM_MUST_CHECK;
/* a and b are kept as they are, or NULL. */
tfm_status tfm_hf_steps_add(tfm_hf_steps *l, const char *kind, const char *a, const char *b,
                            tfm_error *err) TFM_MUST_CHECK;
/* Does the list have a step of this kind? */
bool tfm_hf_steps_has(const tfm_hf_steps *l, const char *kind);
/* one() for j, or for each member of a Sequence, which may hold others. */
typedef tfm_status (*tfm_hf_stage_fn)(tfm_hf_steps *l, const json_t *j, tfm_error *err);
tfm_status tfm_hf_steps_walk(tfm_hf_steps *l, const json_t *j, tfm_hf_stage_fn one,
                             tfm_error *err) TFM_MUST_CHECK;
/* Member `key` as a text without NUL, which may be empty; NULL if it is none. */
const char *tfm_hf_plain_text(const json_t *j, const char *key);

#endif
