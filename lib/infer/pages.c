/* pages.c - who owns which page of the KV cache: page tables, fork, copy on write, the budget.
 *
 * Owns reference counts and the free list; the bytes are the backend's. Free pages are taken lowest
 * number first so that the cache grows only when it must. Growth is by half, so that a backend is
 * asked seldom.
 */
#include <string.h>

#include "infer/infer_internal.h"

struct tfm_pages {
    const tfm_backend *be;
    tfm_kv *kv;
    uint32_t *refs; /* [cap] */
    uint32_t *free; /* [n_free], a stack */
    size_t refs_cap, free_cap;
    uint32_t n_pages; /* that the backend has */
    uint32_t n_free;
    uint32_t limit;
    uint32_t peak; /* most that were taken at once */
};

tfm_status tfm_pages_new(tfm_pages **out, const tfm_backend *be, tfm_kv *kv, uint64_t max_bytes,
                         tfm_error *err) {
    tfm_pages *p = NULL;

    *out = NULL;
    TFM_TRY(tfm_alloc((void **)&p, 1, sizeof *p, err));
    p->be = be;
    p->kv = kv;
    p->limit = UINT32_MAX;
    if (kv && max_bytes) {
        uint64_t bytes = be->ops->kv_page_bytes(kv);
        uint64_t n = bytes ? max_bytes / bytes : UINT32_MAX;
        p->limit = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
    }
    *out = p;
    return TFM_OK;
}

void tfm_pages_free(tfm_pages *p) {
    if (!p) return;
    tfm_free(p->refs);
    tfm_free(p->free);
    tfm_free(p);
}

uint32_t tfm_pages_limit(const tfm_pages *p) {
    return p->limit;
}

uint32_t tfm_pages_used(const tfm_pages *p) {
    return p->n_pages - p->n_free;
}

uint32_t tfm_pages_peak(const tfm_pages *p) {
    return p->peak;
}

uint32_t tfm_pages_room(const tfm_pages *p) {
    return p->limit == UINT32_MAX ? UINT32_MAX : p->limit - tfm_pages_used(p);
}

uint64_t tfm_pages_bytes(const tfm_pages *p) {
    return p->kv ? p->be->ops->kv_page_bytes(p->kv) : 0;
}

/* Asks the backend for more pages, at least one. */
static tfm_status grow(tfm_pages *p, tfm_error *err) {
    uint32_t more = p->n_pages / 2 + 8;

    if (more > p->limit - p->n_pages) more = p->limit - p->n_pages;
    if (more == 0)
        return tfm_fail(
            err, TFM_LIMIT,
            "the cache's memory, %u pages of %u positions, is spent; give more --kv-memory",
            p->limit, TFM_KV_PAGE);
    uint32_t n = p->n_pages + more;
    TFM_TRY(tfm_grow((void **)&p->refs, &p->refs_cap, n, sizeof *p->refs, err));
    TFM_TRY(tfm_grow((void **)&p->free, &p->free_cap, n, sizeof *p->free, err));
    if (p->kv) TFM_TRY(p->be->ops->kv_reserve(p->kv, n, err));
    memset(p->refs + p->n_pages, 0, more * sizeof *p->refs);
    for (uint32_t i = n; i-- > p->n_pages;) p->free[p->n_free++] = i;
    p->n_pages = n;
    return TFM_OK;
}

static tfm_status take_page(tfm_pages *p, uint32_t *page, tfm_error *err) {
    if (p->n_free == 0) TFM_TRY(grow(p, err));
    *page = p->free[--p->n_free];
    p->refs[*page] = 1;
    if (tfm_pages_used(p) > p->peak) p->peak = tfm_pages_used(p);
    return TFM_OK;
}

void tfm_page_ref(tfm_pages *p, uint32_t page) {
    p->refs[page]++;
}

void tfm_page_unref(tfm_pages *p, uint32_t page) {
    if (--p->refs[page] == 0) p->free[p->n_free++] = page;
}

uint32_t tfm_page_refs(const tfm_pages *p, uint32_t page) {
    return p->refs[page];
}

tfm_status tfm_seq_extend(tfm_pages *p, tfm_seq *s, uint32_t len, tfm_error *err) {
    if (len <= s->len) return TFM_OK;
    uint32_t need = (len - 1) / TFM_KV_PAGE + 1;

    TFM_TRY(tfm_grow((void **)&s->page, &s->cap, need, sizeof *s->page, err));
    uint32_t partial = s->len / TFM_KV_PAGE;
    if (s->len % TFM_KV_PAGE && p->refs[s->page[partial]] > 1) { /* both would write */
        uint32_t old = s->page[partial], copy;
        TFM_TRY(take_page(p, &copy, err));
        if (p->kv) p->be->ops->kv_copy_page(p->kv, copy, old);
        tfm_page_unref(p, old);
        s->page[partial] = copy;
    }
    while (s->n_pages < need) {
        TFM_TRY(take_page(p, &s->page[s->n_pages], err));
        s->n_pages++;
    }
    s->len = len;
    return TFM_OK;
}

tfm_status tfm_seq_share(tfm_pages *p, tfm_seq *s, uint32_t page, uint32_t n, tfm_error *err) {
    TFM_TRY(tfm_grow((void **)&s->page, &s->cap, s->n_pages + 1, sizeof *s->page, err));
    tfm_page_ref(p, page);
    s->page[s->n_pages++] = page;
    s->len += n;
    return TFM_OK;
}

void tfm_seq_replace(tfm_pages *p, tfm_seq *s, uint32_t i, uint32_t page) {
    tfm_page_ref(p, page);
    tfm_page_unref(p, s->page[i]);
    s->page[i] = page;
}

void tfm_seq_truncate(tfm_pages *p, tfm_seq *s, uint32_t len) {
    if (len < s->len) s->len = len;
    uint32_t need = s->len ? (s->len - 1) / TFM_KV_PAGE + 1 : 0;
    while (s->n_pages > need)
        tfm_page_unref(p, s->page[--s->n_pages]); /* a failed extend left some */
}

tfm_status tfm_seq_fork(tfm_pages *p, tfm_seq *to, const tfm_seq *from, uint32_t len,
                        tfm_error *err) {
    uint32_t n = len ? (len - 1) / TFM_KV_PAGE + 1 : 0;

    TFM_TRY(tfm_grow((void **)&to->page, &to->cap, n, sizeof *to->page, err));
    for (uint32_t i = 0; i < n; i++) p->refs[to->page[i] = from->page[i]]++;
    to->n_pages = n;
    to->len = len;
    return TFM_OK;
}

void tfm_seq_release(tfm_pages *p, tfm_seq *s) {
    tfm_seq_truncate(p, s, 0);
    tfm_free(s->page);
    memset(s, 0, sizeof *s);
}
