/* infer_internal.h - sequences over KV pages, the engine's insides.
 *
 *     tfm_seq s = {0};
 *     TFM_TRY(tfm_seq_extend(pages, &s, 10, err));     // room for positions 0..9
 *     ... run a batch with page table s.page ...
 *     tfm_seq_release(pages, &s);
 *
 * Pages are counted references: a fork shares the whole pages of its parent and copies only the one
 * that both would write to. Which page holds what never changes a result (DESIGN 7).
 */
#ifndef TFM_INFER_INTERNAL_H
#define TFM_INFER_INTERNAL_H

#include "backend/backend_internal.h"
#include "base/base_internal.h"
#include "tfm/infer.h"
#include "tfm/stop.h"

/* ---- pages ---- */

/* The page table of one sequence: page[p / TFM_KV_PAGE] holds position p. {0} is empty. */
typedef struct tfm_seq {
    uint32_t *page; /* [n_pages] */
    size_t cap;
    uint32_t n_pages;
    uint32_t len; /* positions [0, len) are there */
} tfm_seq;

typedef struct tfm_pages tfm_pages;
/* kv is borrowed and may be NULL (nothing attends: sequences then only count). max_bytes 0: no
 * limit but memory. */
tfm_status tfm_pages_new(tfm_pages **out, const tfm_backend *be, tfm_kv *kv, uint64_t max_bytes,
                         tfm_error *err) TFM_MUST_CHECK;
void tfm_pages_free(tfm_pages *p);
/* Pages that the limit allows in all, UINT32_MAX for none. */
uint32_t tfm_pages_limit(const tfm_pages *p);
uint32_t tfm_pages_used(const tfm_pages *p);
uint32_t tfm_pages_peak(const tfm_pages *p);  /* most that were in use at once */
uint32_t tfm_pages_room(const tfm_pages *p);  /* more that the limit allows, UINT32_MAX: any */
uint64_t tfm_pages_bytes(const tfm_pages *p); /* of one page */
void tfm_page_ref(tfm_pages *p, uint32_t page);
void tfm_page_unref(tfm_pages *p, uint32_t page);
uint32_t tfm_page_refs(const tfm_pages *p, uint32_t page);

/* Makes positions [s->len, len) writable: new pages, and a copy of a shared last page. TFM_LIMIT
 * when the budget is spent. */
tfm_status tfm_seq_extend(tfm_pages *p, tfm_seq *s, uint32_t len, tfm_error *err) TFM_MUST_CHECK;
/* Forgets positions >= len. */
void tfm_seq_truncate(tfm_pages *p, tfm_seq *s, uint32_t len);
/* *to = the first len positions of from, pages shared. to must be {0}. */
tfm_status tfm_seq_fork(tfm_pages *p, tfm_seq *to, const tfm_seq *from, uint32_t len,
                        tfm_error *err) TFM_MUST_CHECK;
/* The next n positions (1 to TFM_KV_PAGE) are those that the page begins with; s->len is a multiple
 * of TFM_KV_PAGE, and no page lies behind it. */
tfm_status tfm_seq_share(tfm_pages *p, tfm_seq *s, uint32_t page, uint32_t n,
                         tfm_error *err) TFM_MUST_CHECK;
/* `page`, which holds the same rows, takes the place of the i-th one. */
void tfm_seq_replace(tfm_pages *p, tfm_seq *s, uint32_t i, uint32_t page);
/* Gives all pages back; s is {0} after. */
void tfm_seq_release(tfm_pages *p, tfm_seq *s);

/* ---- the engine's insides, for generate.c ---- */

tfm_pages *tfm_engine_pages(tfm_engine *e);
struct tfm_prefix *tfm_engine_prefix(tfm_engine *e); /* NULL: there is none */
tfm_model *tfm_engine_model(tfm_engine *e);
tfm_backend *tfm_engine_backend(tfm_engine *e); /* for tests that put other kernels in */
tfm_kv *tfm_engine_kv(tfm_engine *e);           /* NULL: nothing attends */
const tfm_graph *tfm_engine_graph(const tfm_engine *e);
tfm_dtype tfm_engine_kv_type(const tfm_engine *e);
bool tfm_engine_has_cache(const tfm_engine *e); /* does a step of the range attend? */
/* Runs rows through the whole model. Fills b's outputs. */
tfm_status tfm_engine_run(tfm_engine *e, const tfm_batch *b, tfm_error *err) TFM_MUST_CHECK;

/* The steps [*first, *end) of a range of the model, whose block numbers are checked; a range that
 * is no part becomes the whole. `path` is for the message. */
tfm_status tfm_range_steps(const tfm_graph *g, const char *path, tfm_model_range *r, size_t *first,
                           size_t *end, tfm_error *err) TFM_MUST_CHECK;

/* ---- taps: what the last batch kept, row by row ---- */

/* 0: nothing is kept. */
uint32_t tfm_engine_n_taps(const tfm_engine *e);
/* Appends what was kept of batch rows [first, first + n), whose positions begin at `position`. */
tfm_status tfm_engine_tap_rows(const tfm_engine *e, uint32_t first, uint32_t n, uint32_t position,
                               tfm_buf *to, tfm_error *err) TFM_MUST_CHECK;
/* Writes n such rows as records: position after position, for each one record a tap. */
tfm_status tfm_engine_tap_write(const tfm_engine *e, uint32_t group, uint32_t position, uint32_t n,
                                const tfm_buf *rows, tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;

/* ---- kept caches (cache.h), for generate.c ---- */

struct tfm_cache;
/* Takes over *seq, which is {0} after, also on failure; copies the ids of its rows. */
tfm_status tfm_cache_from_seq(struct tfm_cache **out, tfm_engine *e, tfm_seq *seq,
                              const int32_t *ids, tfm_error *err) TFM_MUST_CHECK;
/* *to = the rows that ids [n] and the cache begin with alike. to must be {0}. */
tfm_status tfm_cache_fork(const struct tfm_cache *c, const int32_t *ids, uint32_t n, tfm_seq *to,
                          tfm_error *err) TFM_MUST_CHECK;

/* Appends one id to *ids. */
tfm_status tfm_seq_ids_add(tfm_ids *ids, int32_t id, tfm_error *err) TFM_MUST_CHECK;

#endif
