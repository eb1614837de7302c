/* kv.c - pages of keys and values: allocation and addressing.
 *
 * A page holds TFM_KV_PAGE positions of every layer of the range, so one number names a piece of a
 * sequence's past; a fork shares pages by sharing numbers (lib/infer counts them). Pages come in
 * slabs and never move: a plan that runs reads them through the table. Rows go out and in (caches in
 * files) without their layout, which is the backend's. */
#include <string.h>

#include "backend/plan_internal.h"

enum { PAGE_ALIGN = 64 };

static bool add_part(size_t *total, uint64_t positions, uint64_t heads, uint64_t dim,
                     size_t element) {
    uint64_t n;
    if (!tfm_mul_u64(heads, dim, &n) || !tfm_mul_u64(n, positions * element, &n)) return false;
    if (n > SIZE_MAX / 2 - PAGE_ALIGN) return false;
    n = (n + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN;
    return tfm_add_size(*total, (size_t)n, total);
}

static tfm_status lay_out(tfm_kv *kv, const tfm_graph *g, tfm_error *err) {
    const size_t element = kv->type == TFM_F32 ? 4 : 2;
    for (uint32_t i = 0; i < g->n_kv; i++) {
        const tfm_kv_shape *s = &g->kv[i];
        kv->k_at[i] = kv->v_at[i] = SIZE_MAX;
        if (s->block < 0 || (uint32_t)s->block < kv->first_block) continue;
        if ((uint32_t)s->block >= kv->end_block) continue;
        kv->k_at[i] = kv->page_bytes;
        bool fits = add_part(&kv->page_bytes, TFM_KV_PAGE, s->kv_heads, s->k_dim, element);
        kv->v_at[i] = kv->page_bytes;
        fits = fits && add_part(&kv->page_bytes, TFM_KV_PAGE, s->kv_heads, s->v_dim, element);
        if (!fits) return tfm_fail(err, TFM_LIMIT, "the cache of layer %u is too large", i);
    }
    return TFM_OK;
}

tfm_status tfm_kv_new(tfm_backend *be, const tfm_graph *g, uint32_t first_block, uint32_t end_block,
                      tfm_dtype type, tfm_kv **out, tfm_error *err) {
    void *mem;
    (void)be;
    *out = NULL;
    if (type != TFM_F32 && type != TFM_F16) {
        return tfm_fail(err, TFM_UNSUPPORTED, "a cache of type %s: must be f16 or f32",
                        tfm_dtype_name(type));
    }
    TFM_TRY(tfm_alloc(&mem, 1, sizeof(tfm_kv), err));
    tfm_kv *kv = mem;
    *kv = (tfm_kv){.type = type, .first_block = first_block, .end_block = end_block};
    kv->n_layers = g->n_kv;
    tfm_status st = tfm_alloc(&mem, g->n_kv, sizeof *kv->shape, err);
    if (st == TFM_OK) {
        kv->shape = mem;
        for (uint32_t i = 0; i < g->n_kv; i++) kv->shape[i] = g->kv[i];
        st = tfm_alloc(&mem, g->n_kv, sizeof *kv->k_at, err);
    }
    if (st == TFM_OK) {
        kv->k_at = mem;
        st = tfm_alloc(&mem, g->n_kv, sizeof *kv->v_at, err);
    }
    if (st == TFM_OK) {
        kv->v_at = mem;
        st = lay_out(kv, g, err);
    }
    if (st != TFM_OK) {
        tfm_kv_free(kv);
        return st;
    }
    *out = kv;
    return TFM_OK;
}

tfm_status tfm_kv_reserve(tfm_kv *kv, uint32_t n_pages, tfm_error *err) {
    void *slab;
    if (n_pages <= kv->n_pages) return TFM_OK;
    const size_t more = n_pages - kv->n_pages;
    TFM_TRY(tfm_grow((void **)&kv->page, &kv->page_cap, n_pages, sizeof *kv->page, err));
    TFM_TRY(tfm_grow((void **)&kv->slab, &kv->slab_cap, kv->n_slabs + 1, sizeof *kv->slab, err));
    TFM_TRY(tfm_alloc_aligned(&slab, PAGE_ALIGN, more, kv->page_bytes, err));
    kv->slab[kv->n_slabs++] = slab;
    for (size_t i = 0; i < more; i++) {
        kv->page[kv->n_pages + i] = (unsigned char *)slab + i * kv->page_bytes;
    }
    kv->n_pages = n_pages;
    return TFM_OK;
}

void tfm_kv_copy_page(tfm_kv *kv, uint32_t to, uint32_t from) {
    if (to != from) memcpy(kv->page[to], kv->page[from], kv->page_bytes);
}

uint64_t tfm_kv_page_bytes(const tfm_kv *kv) {
    return kv->page_bytes;
}

/* Where element i of head h of a position lies, in elements from the layer's K or V in a page. */
static size_t place(const tfm_kv *kv, const tfm_kv_shape *s, bool is_v, uint32_t slot, uint32_t h,
                    uint32_t i) {
    const size_t dim = is_v ? s->v_dim : s->k_dim, panel = kv->k_panel;
    if (panel == 0) return ((size_t)slot * s->kv_heads + h) * dim + i;
    if (is_v) return ((size_t)h * TFM_KV_PAGE + slot) * dim + i;
    return (size_t)h * TFM_KV_PAGE * dim + (slot / panel * dim + i) * panel + slot % panel;
}

/* Copies element after element between rows and pages; `store` says which way. */
static void copy_rows(const tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page,
                      uint32_t first, uint32_t n, unsigned char *rows, bool store) {
    const tfm_kv_shape *s = &kv->shape[layer];
    const size_t element = kv->type == TFM_F32 ? 4 : 2;
    const uint32_t dim = is_v ? s->v_dim : s->k_dim;
    for (uint32_t p = first; p < first + n; p++) {
        unsigned char *base =
            kv->page[page[p / TFM_KV_PAGE]] + (is_v ? kv->v_at[layer] : kv->k_at[layer]);
        for (uint32_t h = 0; h < s->kv_heads; h++)
            for (uint32_t i = 0; i < dim; i++, rows += element) {
                unsigned char *at = base + place(kv, s, is_v, p % TFM_KV_PAGE, h, i) * element;
                if (store)
                    memcpy(at, rows, element);
                else
                    memcpy(rows, at, element);
            }
    }
}

void tfm_kv_read(const tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page, uint32_t first,
                 uint32_t n, void *rows) {
    copy_rows(kv, layer, is_v, page, first, n, rows, false);
}

void tfm_kv_write(tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page, uint32_t first,
                  uint32_t n, const void *rows) {
    copy_rows(kv, layer, is_v, page, first, n, (unsigned char *)rows, true);
}

void tfm_kv_free(tfm_kv *kv) {
    if (kv == NULL) return;
    for (size_t i = 0; i < kv->n_slabs; i++) tfm_free(kv->slab[i]);
    tfm_free(kv->slab);
    tfm_free(kv->page);
    tfm_free(kv->shape);
    tfm_free(kv->k_at);
    tfm_free(kv->v_at);
    tfm_free(kv);
}
