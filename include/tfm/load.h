/* load.h - from whatever people have on disk to a model that runs, and to model.bin.
 *
 *     tfm_load_options o = {.share_dir = "/usr/share/tfm"};
 *     tfm_model *m;
 *     TFM_TRY(tfm_load(&m, "llama.gguf", &o, err));      // model.bin or GGUF
 *
 * This is where the architecture files (share/arch/x.yaml, see tfm-arch(5)) are applied: they say
 * which checkpoints they match, how hyper-parameters and tensors are named there, and what the steps
 * of one block are. The result is a description that the runtime can follow without them.
 */
#ifndef TFM_LOAD_H
#define TFM_LOAD_H

#include "tfm/model.h"
#include "tfm/status.h"
#include "tfm/stream.h"

typedef struct tfm_load_options {
    const char *share_dir;      /* holds arch/x.yaml; needed for foreign checkpoints only */
    const char *arch_file;      /* use this architecture file instead of matching */
    const char *tokenizer_path; /* see tfm_source_open */
} tfm_load_options;

/* Opens model.bin, or a foreign checkpoint in place: tensors are views into the mapped file where
 * no permutation is needed. Neither pipes nor devices. */
TFM_API tfm_status tfm_load(tfm_model **out, const char *path, const tfm_load_options *o,
                            tfm_error *err) TFM_MUST_CHECK;

/* Opens only the vocabulary of whatever lies at `path`, cheaply: no architecture is resolved and no
 * weight is read. model.bin; GGUF (vocabulary-only files included); a Hugging Face folder or a
 * tokenizer.json; a SentencePiece tokenizer.model; a llama2.c checkpoint with its tokenizer beside
 * it, or a llama2.c tokenizer.bin itself. o may be NULL. The model has no steps and no tensors but
 * the vocabulary's; tfm_model_vocab gives it. Its id is 64 zeros unless `path` is a model.bin.
 * TFM_NOTFOUND: there is no vocabulary, with the cure. */
TFM_API tfm_status tfm_load_vocab(const char *path, const tfm_load_options *o, tfm_model **out,
                                  tfm_error *err) TFM_MUST_CHECK;

typedef struct tfm_convert_options {
    tfm_load_options load;
    tfm_dtype type;     /* target of 2-D weights; TFM_DTYPE_NONE: as they are. Norms, biases stay
                           f32. A width that is no whole number of blocks keeps f16, reported. */
    tfm_layout layout;  /* of 2-D linear weights; embeddings used by gather stay rows */
    void (*report)(void *ctx, const char *line); /* NULL, or told what was changed or kept */
    void *report_ctx;
} tfm_convert_options;

/* Reads `path` (model.bin included: change of type or layout) and writes a model stream to w.
 * h (kind model) is what the caller has prepared; model and vocab keys are set here. */
TFM_API tfm_status tfm_convert(const char *path, const tfm_convert_options *o, tfm_header *h,
                               tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;

#endif
