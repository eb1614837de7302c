/* load.h - from whatever people have on disk to a model that runs, and to model.bin.
 *
 *     tfm_load_options o = {.share_dir = "/usr/share/tfm"};
 *     tfm_model *m;
 *     TFM_TRY(tfm_load(&m, "llama.gguf", &o, err));      // model.bin or GGUF
 *
 * This is where the architecture files (share/arch/x.yaml, see tfm-arch(5)) are applied: they say
 * which checkpoints they match, how hyper-parameters and tensors are named there, and what the
 * steps of one block are. The result is a description that the runtime can follow without them.
 */
#ifndef TFM_LOAD_H
#define TFM_LOAD_H

#include "tfm/model.h"
#include "tfm/status.h"
#include "tfm/stream.h"
#include "tfm/tokenizer.h"

typedef struct tfm_load_options {
    /* Holds arch/x.yaml and tokenizers.yaml; needed for foreign checkpoints only. */
    const char *share_dir;
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
 * it, or a llama2.c tokenizer.bin itself. o may be NULL; share_dir is needed as tfm_source_options
 * says. What is no model.bin gives a model without steps and without weights whose id is 64 zeros;
 * tfm_model_vocab gives the vocabulary. TFM_NOTFOUND: there is none, with the cure. */
TFM_API tfm_status tfm_load_vocab(const char *path, const tfm_load_options *o, tfm_model **out,
                                  tfm_error *err) TFM_MUST_CHECK;

/* Appends to *ids the ids that end a text because the checkpoint's configuration names them, in
 * addition to the vocabulary's own (TFM_TOKEN_EOG). */
TFM_API tfm_status tfm_model_ends(const tfm_model *m, tfm_ids *ids, tfm_error *err) TFM_MUST_CHECK;

typedef struct tfm_convert_options {
    tfm_load_options load;
    tfm_dtype
        type;   /* of matrices: f32, f16, bf16, any block type; TFM_DTYPE_NONE: as they are. Norms,
                       biases and learned positions stay as they are, or become f32. Where the width
                       is no whole number of blocks of 256, the nearest type of blocks of 32 is
                       taken, and f16 where it is none of those either; both are reported. */
    bool mixed; /* type is q4_K; some matrices become q6_K: of the output, and attn_v and ffn_down
                       in half of the blocks */
    /* NULL, or taps of a calibration run: how much each column counts when scales are searched
     * (tfm_quantise). Borrowed, read to its end. name: for messages. */
    tfm_reader *imatrix;
    const char *imatrix_name;
    /* NULL, or asked for such taps where there is no imatrix and scales of any matrix are searched
     * (but those of q4_0 when that is the type: it is a formula). name: [n], what matrices read.
     * *out is borrowed and read to its end. */
    tfm_status (*calibrate)(void *ctx, const char *const *name, size_t n, tfm_reader **out,
                            tfm_error *err);
    void *calibrate_ctx;
    unsigned threads;  /* 0: what the process may use; never changes a byte */
    tfm_layout layout; /* of 2-D linear weights; an embedding that is looked up stays rows */
    void (*report)(void *ctx, const char *line); /* NULL, or told what was changed or kept */
    void (*detail)(void *ctx, const char *line); /* NULL, or told more */
    void *report_ctx;
    /* NULL, or called as tensors are written: bytes so far and in all. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
} tfm_convert_options;

/* Reads `path` (model.bin included: change of type or layout) and writes a model stream to w, with
 * one tensor in memory at a time. h (kind model) is what the caller has prepared; model and vocab
 * keys are set here. The same input and options give the same bytes. */
TFM_API tfm_status tfm_convert(const char *path, const tfm_convert_options *o, tfm_header *h,
                               tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;
/* The same into memory (all converted tensors are held): for tfm_gguf_write. */
TFM_API tfm_status tfm_convert_load(tfm_model **out, const char *path, const tfm_convert_options *o,
                                    tfm_error *err) TFM_MUST_CHECK;

#endif
