/* assemble_internal.h - everything a model is made of, before it is used in place (load.c) or
 * written (convert.c): description, and a list of tensors each of which lies somewhere or has a
 * recipe. */
#ifndef TFM_ARCH_ASSEMBLE_INTERNAL_H
#define TFM_ARCH_ASSEMBLE_INTERNAL_H

#include "arch/arch_internal.h"

typedef struct tfm_part {
    tfm_tensor t;             /* as the model shall have it; data NULL if `recipe` must run */
    const tfm_recipe *recipe; /* or NULL */
} tfm_part;

typedef struct tfm_assembly {
    tfm_model *model; /* the source is a model.bin; else NULL and: */
    tfm_source *source;
    tfm_resolved resolved;
    tfm_buf vocab_only; /* the description of a source without tensors */
    const char *description;
    size_t description_len;
    const char *vocab_id; /* "" for none */
    bool has_steps;
    tfm_part *part; /* vocabulary, weights, kept metadata, in this order */
    size_t n_parts;
} tfm_assembly;

/* Opens `path` (model.bin or foreign). vocab_only: the vocabulary's tensors and nothing else, no
 * architecture is resolved. */
tfm_status tfm_assemble(tfm_assembly *out, const char *path, const tfm_load_options *o,
                        bool vocab_only, tfm_error *err) TFM_MUST_CHECK;
void tfm_assembly_free(tfm_assembly *a);
/* SHA-256 over description, vocabulary id, target type and the source's digest. */
tfm_status tfm_assembly_id(const tfm_assembly *a, const char *type, bool full, char out[65],
                           tfm_error *err) TFM_MUST_CHECK;
/* Does the file begin like a tensor stream? No for folders. */
tfm_status tfm_is_model_file(const char *path, bool *yes, tfm_error *err) TFM_MUST_CHECK;

#endif
