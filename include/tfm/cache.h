/* cache.h - the keys and values of a token prefix, kept for a later prompt, in memory or in a file.
 *
 *     TFM_TRY(tfm_cache_read(&c, engine, reader, err)); // of a stream of kind cache
 *     TFM_TRY(tfm_generator_add_from(g, 0, ids, n, c, false, err));
 *     ...                                               // what c knows is not computed
 *     tfm_cache_free(c);                                // before the engine
 *
 * A cache is of one model, one set of numerics and one list of tokens. A prompt takes from it the
 * rows of the tokens that both begin with; the result has the bits of a run without it, because the
 * rows of a prompt are the same whether it is computed whole or in pieces.
 */
#ifndef TFM_CACHE_H
#define TFM_CACHE_H

#include <stdint.h>

#include "tfm/infer.h"
#include "tfm/status.h"
#include "tfm/stream.h"

/* Lives in the pages of its engine and must be freed before it. */
typedef struct tfm_cache tfm_cache;
TFM_API void tfm_cache_free(tfm_cache *c);
/* Its tokens: ids [*n], borrowed. */
TFM_API const int32_t *tfm_cache_ids(const tfm_cache *c, uint32_t *n);
/* With how many ids do ids [n] and the cache begin alike? */
TFM_API uint32_t tfm_cache_common(const tfm_cache *c, const int32_t *ids, size_t n);

/* ---- in a stream: each cache is a group ---- */

/* Sets what of a header is the caches': kind, model, vocabulary, numerics. */
TFM_API tfm_status tfm_cache_header(tfm_engine *e, tfm_header *h, tfm_error *err) TFM_MUST_CHECK;
/* The records of the cache as this group, GROUP-END included; the caller writes header and END. */
TFM_API tfm_status tfm_cache_write(const tfm_cache *c, uint32_t group, tfm_writer *w,
                                   tfm_error *err) TFM_MUST_CHECK;
/* The next cache of the present stream of r; TFM_DONE at its END. TFM_MISMATCH names both models,
 * or both numerics, when they are not those of the engine; TFM_FORMAT: records are missing, or of
 * another shape. */
TFM_API tfm_status tfm_cache_read(tfm_cache **out, tfm_engine *e, tfm_reader *r,
                                  tfm_error *err) TFM_MUST_CHECK;

/* ---- many, and the one that knows most of a prompt ---- */

typedef struct tfm_cache_set tfm_cache_set;
TFM_API tfm_status tfm_cache_set_new(tfm_cache_set **out, tfm_error *err) TFM_MUST_CHECK;
/* Frees the caches in it, too. */
TFM_API void tfm_cache_set_free(tfm_cache_set *set);
/* Takes c over, also on failure. */
TFM_API tfm_status tfm_cache_set_add(tfm_cache_set *set, tfm_cache *c,
                                     tfm_error *err) TFM_MUST_CHECK;
TFM_API size_t tfm_cache_set_count(const tfm_cache_set *set);
/* The cache that ids [n] begin with for the longest, borrowed; NULL if none has the first id. */
TFM_API const tfm_cache *tfm_cache_set_best(tfm_cache_set *set, const int32_t *ids, size_t n);

#endif
