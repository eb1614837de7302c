/* cache.h - the keys and values of a token prefix, kept for a later prompt, in memory or in a file.
 *
 *     TFM_TRY(tfm_cache_read(&c, engine, reader, err));             // a stream of kind cache
 *     TFM_TRY(tfm_generator_add_from(g, 0, ids, n, c, false, err)); // what it knows is not computed
 *     ...
 *     tfm_cache_free(c);                                            // before the engine
 *
 * A cache is of one model, one set of numerics and one list of tokens. A prompt takes from it the rows
 * of the tokens that both begin with; the result has the bits of a run without it, because the rows of
 * a prompt are the same whether it is computed whole or in pieces.
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
/* Sets what of a header is the cache's: kind, model, vocabulary, numerics. */
TFM_API tfm_status tfm_cache_header(const tfm_cache *c, tfm_header *h,
                                    tfm_error *err) TFM_MUST_CHECK;
/* The records of the cache, GROUP-END included; the caller writes header and END. */
TFM_API tfm_status tfm_cache_write(const tfm_cache *c, tfm_writer *w,
                                   tfm_error *err) TFM_MUST_CHECK;
/* Reads the present stream of r to its END. TFM_MISMATCH names both models, or both numerics, when
 * they are not those of the engine; TFM_FORMAT: records are missing, or of another shape. */
TFM_API tfm_status tfm_cache_read(tfm_cache **out, tfm_engine *e, tfm_reader *r,
                                  tfm_error *err) TFM_MUST_CHECK;

#endif
