/* threads_internal.h - the one thread pool: fork-join over an index range.
 *
 *     tfm_pool_run(pool, n_chunks, job, arg);    // job(arg, chunk, worker) for chunk in [0, n)
 *
 * Work is split by the caller into fixed chunks that do not depend on the number of threads; which
 * thread takes which chunk is free, so a result must depend on the chunk alone (DESIGN 7).
 * Workers spin at most 20 us for the next job, then sleep: a waiting tool uses no CPU. */
#ifndef TFM_THREADS_INTERNAL_H
#define TFM_THREADS_INTERNAL_H

#include "base/base_internal.h"

typedef struct tfm_pool tfm_pool;
typedef void (*tfm_pool_job)(void *arg, size_t chunk, unsigned worker);

/* n_threads >= 1 counts the caller; 1 starts no thread. Workers set flush-to-zero off and
 * round-to-nearest (MXCSR default) for themselves. */
tfm_status tfm_pool_new(tfm_pool **out, unsigned n_threads, tfm_error *err) TFM_MUST_CHECK;
unsigned tfm_pool_threads(const tfm_pool *p);
/* Runs job for every chunk in [0, n_chunks), caller included; returns when all are done. Not
 * re-entrant. worker is in [0, n_threads): an index for per-thread scratch. */
void tfm_pool_run(tfm_pool *p, size_t n_chunks, tfm_pool_job job, void *arg);
void tfm_pool_free(tfm_pool *p);

/* What this process may use: affinity mask and cgroup (v1, v2) quota, at least 1. */
unsigned tfm_threads_default(void);

#endif
