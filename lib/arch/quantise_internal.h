/* quantise_internal.h - what tfm-convert needs to quantise: which type a tensor gets, what its
 * columns are multiplied with (importance), and whole tensors by all threads. */
#ifndef TFM_ARCH_QUANTISE_INTERNAL_H
#define TFM_ARCH_QUANTISE_INTERNAL_H

#include "backend/backend_internal.h"
#include "base/threads_internal.h"
#include "tfm/load.h"

/* ---- quantise.c ---- */

/* TFM_TYPE_MIXED's type for a tensor (canonical name), of a model of n_blocks. is_output: the
 * output projection, or the embedding where it is that, too. */
tfm_dtype tfm_mixed_type(const char *name, uint32_t n_blocks, bool is_output);
/* `want`, or the nearest type of blocks of 32 if the columns are no whole blocks of it, or
 * TFM_DTYPE_NONE if they are no multiple of 32 either. */
tfm_dtype tfm_type_for_columns(tfm_dtype want, uint32_t columns);
/* Layout rows, any type of numbers, to blocks with searched scales. importance: [columns] or
 * NULL. */
tfm_status tfm_quantise_tensor(tfm_pool *pool, const tfm_tensor *from, const void *src,
                               tfm_dtype to, const float *importance, void *dst,
                               tfm_error *err) TFM_MUST_CHECK;

/* ---- importance.c: the mean square of each column's input, from a stream of taps ---- */

typedef struct tfm_importance tfm_importance;

/* Learns from the graph which value each matrix reads. Tensors are known by their index from
 * first_tensor. */
tfm_status tfm_importance_new(tfm_importance **out, const tfm_graph *g,
                              const tfm_tensor *first_tensor, size_t n_tensors,
                              tfm_error *err) TFM_MUST_CHECK;
void tfm_importance_free(tfm_importance *m);
/* What matrices read and a probe can tap; name: NULL or room for as many as are returned. */
size_t tfm_importance_names(const tfm_importance *m, const char **name);
/* Reads r to its end. Names that feed no matrix are left out. more: added to every column, in units
 * of the average one, for taps that tell little of what will flow there. */
tfm_status tfm_importance_read(tfm_importance *m, tfm_reader *r, float more,
                               tfm_error *err) TFM_MUST_CHECK;
/* [columns] of a tensor; NULL if it reads no value of a step. *value: the value's name; *rows: how
 * many were read of it, 0: the result is NULL. */
const float *tfm_importance_of(const tfm_importance *m, size_t tensor, const char **value,
                               uint64_t *rows);
/* SHA-256 over all that was read. */
void tfm_importance_digest(const tfm_importance *m, char out[65]);

#endif
