/* bench.h - what a pass of a model costs, and what the machine could do at most.
 *
 *     tfm_rows *r;
 *     TFM_TRY(tfm_rows_new(&r, engine, 1, err));             // one sequence, empty
 *     TFM_TRY(tfm_rows_run(r, prompt, 512, logits, err));    // a prompt of 512: [1, n_vocab]
 *     TFM_TRY(tfm_rows_run(r, &token, 1, logits, err));      // one token behind it
 *     tfm_rows_truncate(r, 512);                             // and back, to measure it again
 *     tfm_rows_free(r);
 *
 *     tfm_limits *l;
 *     tfm_limit_figures f;
 *     TFM_TRY(tfm_limits_new(&l, "cpu:avx512", 2, 0, err));
 *     TFM_TRY(tfm_limits_measure(l, &f, err));               // 0.2 s
 *     tfm_limits_free(l);
 *
 * Nothing here times a pass: clocks are the caller's. What runs is what tfm_generator runs, less
 * the choice of the next token.
 */
#ifndef TFM_BENCH_H
#define TFM_BENCH_H

#include <stdint.h>

#include "tfm/infer.h"
#include "tfm/status.h"

/* ---- sequences of an engine, run by hand ---- */

typedef struct tfm_rows tfm_rows;
/* n_seqs >= 1 empty sequences. Borrows e; to be freed before it. */
TFM_API tfm_status tfm_rows_new(tfm_rows **out, tfm_engine *e, uint32_t n_seqs,
                                tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_rows_free(tfm_rows *r);
/* Appends n tokens to every sequence: ids [n_seqs, n]. One token of all sequences is one batch; of
 * more, each sequence is run by itself in batches of at most 512 rows. logits (may be NULL):
 * [n_seqs, n_vocab], those of the last token of each. TFM_LIMIT past the context. */
TFM_API tfm_status tfm_rows_run(tfm_rows *r, const int32_t *ids, uint32_t n, float *logits,
                                tfm_error *err) TFM_MUST_CHECK;
/* Forgets positions >= length. */
TFM_API void tfm_rows_truncate(tfm_rows *r, uint32_t length);
/* Every sequence of r, which must be empty, becomes the first `length` positions of the first
 * sequence of `from` (same engine, at least as long), each with a cache of its own. */
TFM_API tfm_status tfm_rows_copy(tfm_rows *r, const tfm_rows *from, uint32_t length,
                                 tfm_error *err) TFM_MUST_CHECK;

/* ---- what a row costs ---- */

/* Of the linear layers only: numbers multiplied for one row, and their bytes in the model. Of
 * experts, those that a row uses. Embedding tables are looked up, not multiplied, and count in no
 * figure; a head counts, also where it is the embedding. */
typedef struct tfm_cost {
    uint64_t block_weights, block_bytes; /* every row */
    uint64_t head_weights, head_bytes;   /* rows whose logits are wanted */
    uint64_t kv_bytes;                   /* of one position of one sequence, all layers */
    tfm_dtype type;                      /* that most of the block weights have */
    unsigned threads;
} tfm_cost;
TFM_API void tfm_engine_cost(tfm_engine *e, tfm_cost *out);

/* ---- the machine's limits ---- */

/* In 1e9 bytes and 1e9 operations a second, all threads together; a multiply-add is two operations.
 * bf16 and int8 are the dot products of the instruction set, or what it has in their place: bf16 is
 * f32 where there is none. */
typedef struct tfm_limit_figures {
    double read;
    double f32, bf16, int8;
} tfm_limit_figures;

typedef struct tfm_limits tfm_limits;
/* device and threads as for an engine ("ref" has the limits of cpu:generic). buffer_bytes: what is
 * read, larger than the caches; 0: four times the last cache, 256 MiB at least, 512 MiB at most. */
TFM_API tfm_status tfm_limits_new(tfm_limits **out, const char *device, unsigned threads,
                                  uint64_t buffer_bytes, tfm_error *err) TFM_MUST_CHECK;
/* "generic", "avx2", "avx512". */
TFM_API const char *tfm_limits_instruction_set(const tfm_limits *l);
TFM_API uint64_t tfm_limits_buffer_bytes(const tfm_limits *l);
/* The best of a few short runs of each. */
TFM_API tfm_status tfm_limits_measure(tfm_limits *l, tfm_limit_figures *out,
                                      tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_limits_free(tfm_limits *l);

#endif
