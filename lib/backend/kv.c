/* kv.c - pages of keys and values: allocation and addressing.
 *
 * A page holds TFM_KV_PAGE positions of every layer of the range, so one number names a piece of a
 * sequence's past; a fork shares pages by sharing numbers (lib/infer counts them). Pages come in
 * slabs and never move: a plan that runs reads them through the table. Rows go out and in (caches
 * in files) without their layout, which is the backend's. Rounding to q8_0 is here because both
 * backends must round alike. */
#include <string.h>

#include "backend/plan_internal.h"
#include "tensor/float16_internal.h"

enum { PAGE_ALIGN = 64 };

bool tfm_kv_type_known(tfm_dtype t) {
    return t == TFM_F32 || t == TFM_F16 || t == TFM_Q8_0;
}

/* As the q8_0 of weights (quant.c): d = amax / 127, q = x / d rounded, halves away from zero. There
 * is nobody to report to, so what f16 cannot hold becomes a scale that is NaN, and shows; and where
 * the scale is 0 as f16, so are the codes. */
uint16_t tfm_kv_round_q8_0(const float x[TFM_KV_BLOCK], int8_t q[TFM_KV_BLOCK]) {
    uint32_t amax_bits = 0; /* magnitudes order like their bits, NaN above all */
    for (unsigned i = 0; i < TFM_KV_BLOCK; i++) {
        const uint32_t mag = tfm_f32_to_bits(x[i]) & 0x7fffffffu;
        amax_bits = mag > amax_bits ? mag : amax_bits;
    }
    const float d = tfm_bits_to_f32(amax_bits) / 127.0f;
    const uint16_t scale = tfm_inline_f32_to_f16(d);
    if (scale == 0 || (scale & 0x7c00u) == 0x7c00u) {
        memset(q, 0, TFM_KV_BLOCK);
        return scale == 0 ? 0 : 0x7e00u;
    }
    const float r = 1.0f / d;
    for (unsigned i = 0; i < TFM_KV_BLOCK; i++) {
        const float v = x[i] * r; /* at most 127 and a rounding error */
        const int t = (int)v;
        const float rest = v - (float)t; /* exact */
        q[i] = (int8_t)(t + (rest >= 0.5f) - (rest <= -0.5f));
    }
    return scale;
}

static bool add_part(size_t *total, uint64_t heads, tfm_dtype type, uint32_t dim) {
    uint64_t n;
    if (!tfm_mul_u64(heads, tfm_kv_head_bytes(type, dim), &n)) return false;
    if (n > SIZE_MAX / 2 - PAGE_ALIGN) return false;
    n = (n + PAGE_ALIGN - 1) / PAGE_ALIGN * PAGE_ALIGN;
    return tfm_add_size(*total, (size_t)n, total);
}

static tfm_status lay_out(tfm_kv *kv, const tfm_graph *g, tfm_error *err) {
    for (uint32_t i = 0; i < g->n_kv; i++) {
        const tfm_kv_shape *s = &g->kv[i];
        kv->k_at[i] = kv->v_at[i] = SIZE_MAX;
        if (s->block < 0 || (uint32_t)s->block < kv->first_block) continue;
        if ((uint32_t)s->block >= kv->end_block) continue;
        const uint32_t odd = s->k_dim % TFM_KV_BLOCK ? s->k_dim : s->v_dim;
        if (kv->type == TFM_Q8_0 && odd % TFM_KV_BLOCK != 0)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "a cache of type q8_0 wants heads of a multiple of %d numbers, those "
                            "of block %d have %u; give --kv f16",
                            TFM_KV_BLOCK, s->block, odd);
        kv->k_at[i] = kv->page_bytes;
        bool fits = add_part(&kv->page_bytes, s->kv_heads, kv->type, s->k_dim);
        kv->v_at[i] = kv->page_bytes;
        fits = fits && add_part(&kv->page_bytes, s->kv_heads, kv->type, s->v_dim);
        if (!fits) return tfm_fail(err, TFM_LIMIT, "the cache of layer %u is too large", i);
    }
    return TFM_OK;
}

tfm_status tfm_kv_new(tfm_backend *be, const tfm_graph *g, uint32_t first_block, uint32_t end_block,
                      tfm_dtype type, tfm_kv **out, tfm_error *err) {
    void *mem;
    (void)be;
    *out = NULL;
    if (!tfm_kv_type_known(type))
        return tfm_fail(err, TFM_UNSUPPORTED, "a cache of type %s: must be f16, f32 or q8_0",
                        tfm_dtype_name(type));
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
    TFM_TRY(tfm_alloc_large(&slab, more, kv->page_bytes, err));
    memset(slab, 0, more * kv->page_bytes);
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

/* ---- rows out of pages and into them ---- */

/* One head of one position: where its numbers lie in the page. */
typedef struct kv_cell {
    unsigned char *code; /* the first number; of q8_0 its code */
    size_t step;         /* from one number to the next, in bytes */
    unsigned char *scale;
    size_t scale_step; /* q8_0 only */
} kv_cell;

/* base: the layer's K or V in the page. */
static kv_cell cell_of(const tfm_kv *kv, const tfm_kv_shape *s, bool is_v, unsigned char *base,
                       uint32_t slot, uint32_t h) {
    const size_t dim = is_v ? s->v_dim : s->k_dim, panel = is_v ? 0 : kv->k_panel;
    const size_t size = kv->type == TFM_F32 ? 4 : kv->type == TFM_F16 ? 2 : 1;
    const size_t n_scales = dim / TFM_KV_BLOCK;
    if (kv->k_panel == 0) { /* q8_0: a scale and 32 codes, as in a tensor */
        const size_t at = ((size_t)slot * s->kv_heads + h) * dim;
        if (kv->type != TFM_Q8_0) return (kv_cell){base + at * size, size, NULL, 0};
        unsigned char *block = base + at / TFM_KV_BLOCK * TFM_KV_BLOCK_BYTES;
        return (kv_cell){block + 2, 1, block, TFM_KV_BLOCK_BYTES};
    }
    unsigned char *head = base + h * tfm_kv_head_bytes(kv->type, (uint32_t)dim);
    unsigned char *scale = head + TFM_KV_PAGE * dim;
    if (panel == 0)
        return (kv_cell){head + slot * dim * size, size, scale + slot * n_scales * 2, 2};
    const size_t lane = slot % panel, first = slot / panel * panel;
    return (kv_cell){head + (first * dim + lane) * size, panel * size,
                     scale + (first * n_scales + lane) * 2, panel * 2};
}

static void copy_number(unsigned char *page, unsigned char *row, size_t n, bool store) {
    if (store)
        memcpy(page, row, n);
    else
        memcpy(row, page, n);
}

/* One head between its cell and its part of a row; returns the end of that part. */
static unsigned char *copy_cell(const tfm_kv *kv, kv_cell c, uint32_t dim, unsigned char *row,
                                bool store) {
    const size_t size = kv->type == TFM_F32 ? 4 : kv->type == TFM_F16 ? 2 : 1;
    const bool is_whole = kv->type == TFM_Q8_0 && kv->k_panel == 0; /* scales among the codes */
    for (uint32_t i = 0; i < dim; i++, row += size) {
        const size_t block = i / TFM_KV_BLOCK;
        if (kv->type == TFM_Q8_0 && i % TFM_KV_BLOCK == 0) {
            copy_number(c.scale + block * c.scale_step, row, 2, store);
            row += 2;
        }
        copy_number(c.code + i * c.step + (is_whole ? 2 * block : 0), row, size, store);
    }
    return row;
}

/* Copies number after number between rows and pages; `store` says which way. */
static void copy_rows(const tfm_kv *kv, uint32_t layer, bool is_v, const uint32_t *page,
                      uint32_t first, uint32_t n, unsigned char *rows, bool store) {
    const tfm_kv_shape *s = &kv->shape[layer];
    for (uint32_t p = first; p < first + n; p++) {
        unsigned char *base =
            kv->page[page[p / TFM_KV_PAGE]] + (is_v ? kv->v_at[layer] : kv->k_at[layer]);
        for (uint32_t h = 0; h < s->kv_heads; h++)
            rows = copy_cell(kv, cell_of(kv, s, is_v, base, p % TFM_KV_PAGE, h),
                             is_v ? s->v_dim : s->k_dim, rows, store);
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
