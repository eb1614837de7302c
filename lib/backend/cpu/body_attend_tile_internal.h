/* body_attend_tile_internal.h - the inner products of attention: a few queries against a page.
 *
 * Included by body_internal.h. K and V are read from the page as they lie there and become f32 in
 * registers, which is free beside the multiply-adds of several queries; a table without an
 * instruction for f16 (DIRECT 0) decodes the page first. Sums stay in registers over the whole head
 * (scores) or the whole page (values). Every sum is one chain, so tiles may have any shape. */

#if defined(FROM_F16)
#define DIRECT 1
#else
#define DIRECT 0
#endif

enum {
    TILE = LANES == 16  ? 24
           : LANES == 8 ? 6
                        : 3,           /* queries of the largest tile */
    TILE_SUMS = LANES == 16 ? 24 : 12, /* vectors of sums that fit in the registers */
    PAGE_PANELS = TFM_KV_PAGE / TFM_PANEL,
    SCALED = 32 /* numbers of a q8_0 cache with one scale */
};

/* How many panels or vectors of V beside `queries` queries, where one of them takes `each` vectors
 * of sums. With 16 lanes a query's number is an operand of the multiply-add itself if it is used
 * once, and that is faster than any other shape (measured); then 4 sums suffice to hide the
 * latency. */
INLINE int tile_fit(int queries, int each) {
    const int most = LANES == 16 ? 4 : TILE_SUMS;
    return 4 * each * queries <= most ? 4 : 2 * each * queries <= most ? 2 : 1;
}

/* The size of the next tile, of those that are compiled, when so many queries are left. */
INLINE uint32_t tile_size(uint32_t queries) {
    const uint32_t sizes[] = {TILE, 16, 8, 4, 2, 1};
    int i = 0;
    while (sizes[i] > TILE || sizes[i] > queries) i++;
    return sizes[i];
}

/* CALL with N, a constant, for the size n; not for sizes above TILE, which do not occur. */
#define TILE_CALL(n, CALL)                                                                         \
    do {                                                                                           \
        if ((n) == TILE) {                                                                         \
            enum { N = TILE };                                                                     \
            CALL;                                                                                  \
        } else if (TILE > 16 && (n) == 16) {                                                       \
            enum { N = TILE > 16 ? 16 : 1 };                                                       \
            CALL;                                                                                  \
        } else if (TILE > 8 && (n) == 8) {                                                         \
            enum { N = TILE > 8 ? 8 : 1 };                                                         \
            CALL;                                                                                  \
        } else if (TILE > 4 && (n) == 4) {                                                         \
            enum { N = TILE > 4 ? 4 : 1 };                                                         \
            CALL;                                                                                  \
        } else if ((n) == 2) {                                                                     \
            enum { N = 2 };                                                                        \
            CALL;                                                                                  \
        } else {                                                                                   \
            enum { N = 1 };                                                                        \
            CALL;                                                                                  \
        }                                                                                          \
    } while (0)

/* K or V of one head in one page: f32, f16, or codes with their scales. */
typedef struct attend_page {
    tfm_dtype type;
    const unsigned char *data;
    const unsigned char *ahead; /* the same of the page that comes next, called into L2: with L1 as
                                     its aim it was no faster than without (measured) */
    const unsigned char *k_scale; /* f16 [PAGE_PANELS][k_dim / 32][16] */
    const float *v_scale;         /* [TFM_KV_PAGE][v_dim / 32] */
} attend_page;

INLINE vf from_codes(const void *p) {
#if defined(FROM_I8)
    return (vf)FROM_I8(p);
#else
    return __builtin_convertvector(__builtin_convertvector(*(const mem_vc *)p, vi), vf);
#endif
}

INLINE size_t element_bytes(const tfm_dtype type) {
    return type == TFM_F32 ? 4 : type == TFM_F16 ? 2 : 1;
}

/* LANES numbers from element `at` on; those of a q8_0 cache still want their scale. */
INLINE vf page_vector(const tfm_dtype type, const unsigned char *data, size_t at) {
    if (type == TFM_F32) return load(data + 4 * at);
    if (type == TFM_F16) return from_f16(data + 2 * at);
    return from_codes(data + at);
}

/* sum[i * panels * NV + j] = s of `queries` queries and the 16 keys of each of `panels` panels.
 * q: [k_dim][TILE]. first: the first panel's number in the page. */
INLINE void score_sums(const tfm_dtype type, const attend_page *k, size_t first, size_t k_dim,
                       const float *q, const int queries, const int panels, vf sum[TILE_SUMS]) {
    const size_t step = type == TFM_Q8_0 ? SCALED : k_dim;
    const int vectors = panels * NV;
    vf scale[TILE_SUMS];
    UNROLL for (int i = 0; i < queries * vectors; i++) sum[i] = splat(0.0f);
    for (size_t from = 0; from < k_dim; from += step) {
        UNROLL for (int v = 0; type == TFM_Q8_0 && v < vectors; v++) {
            const size_t at = ((first + (size_t)(v / NV)) * k_dim + from) / SCALED * TFM_PANEL;
            scale[v] = from_f16(k->k_scale + 2 * (at + (size_t)(v % NV * LANES)));
        }
        for (size_t d = from; d < from + step; d++) {
            vf column[TILE_SUMS];
            UNROLL for (int v = 0; v < vectors; v++) {
                const size_t at = ((first + (size_t)(v / NV)) * k_dim + d) * TFM_PANEL;
                if (v % NV == 0) __builtin_prefetch(k->ahead + at * element_bytes(type), 0, 2);
                column[v] = page_vector(type, k->data, at + (size_t)(v % NV * LANES));
                if (type == TFM_Q8_0) column[v] = column[v] * scale[v];
            }
            UNROLL for (int i = 0; i < queries; i++) {
                const vf x = splat(q[d * TILE + (size_t)i]);
                UNROLL for (int v = 0; v < vectors; v++) {
                    sum[i * vectors + v] = madd(column[v], x, sum[i * vectors + v]);
                }
            }
        }
    }
}

/* out[i][d...] += sum over keys j in [j0, j1) of the page, ascending, of p[j] v[j][d...], for
 * `vectors` vectors from column d on. p: weights of the panel of key j0 and the first query; the
 * next query is 16 behind, the next panel p_step; out rows are v_dim apart. */
INLINE void value_sums(const tfm_dtype type, const attend_page *v, size_t v_dim, size_t d,
                       const float *p, size_t p_step, uint32_t j0, uint32_t j1, const int queries,
                       const int vectors, float *out) {
    vf sum[TILE_SUMS];
    UNROLL for (int i = 0; i < queries; i++) {
        UNROLL for (int c = 0; c < vectors; c++) sum[i * vectors + c] =
            load(out + (size_t)i * v_dim + d + (size_t)(c * LANES));
    }
    for (uint32_t j = j0; j < j1;) {
        const float *w = p + (j / TFM_PANEL - j0 / TFM_PANEL) * p_step + j % TFM_PANEL;
        const uint32_t rest = TFM_PANEL - j % TFM_PANEL, end = j1 - j < rest ? j1 : j + rest;
        for (; j < end; j++, w++) {
            vf column[TILE_SUMS];
            UNROLL for (int c = 0; c < vectors; c++) {
                const size_t at = d + (size_t)(c * LANES);
                __builtin_prefetch(v->ahead + (j * v_dim + at) * element_bytes(type), 0, 2);
                column[c] = page_vector(type, v->data, j * v_dim + at);
                if (type == TFM_Q8_0) {
                    column[c] = column[c] * v->v_scale[(j * v_dim + at) / SCALED];
                }
            }
            UNROLL for (int i = 0; i < queries; i++) {
                const vf x = splat(w[i * TFM_PANEL]);
                UNROLL for (int c = 0; c < vectors; c++) sum[i * vectors + c] =
                    madd(x, column[c], sum[i * vectors + c]);
            }
        }
    }
    UNROLL for (int i = 0; i < queries; i++) {
        UNROLL for (int c = 0; c < vectors; c++)
            store(out + (size_t)i * v_dim + d + (size_t)(c * LANES), sum[i * vectors + c]);
    }
}

/* The same for single columns from d on: what is left of an odd v_dim, so never q8_0. */
KERNEL static void value_rest(const attend_page *v, size_t v_dim, size_t d, const float *p,
                              size_t p_step, uint32_t j0, uint32_t j1, float *out) {
    for (; d < v_dim; d++) {
        float sum = out[d];
        for (uint32_t j = j0; j < j1; j++) {
            const unsigned char *at = v->data + (j * v_dim + d) * element_bytes(v->type);
            const float x = v->type == TFM_F32
                                ? *(const float *)(const void *)at
                                : tfm_inline_f16_to_f32(*(const uint16_t *)(const void *)at);
            sum = madd_one(p[(j / TFM_PANEL - j0 / TFM_PANEL) * p_step + j % TFM_PANEL], x, sum);
        }
        out[d] = sum;
    }
}

/* All columns of `queries` queries. */
INLINE void value_tile(const tfm_dtype type, const attend_page *v, size_t v_dim, const float *p,
                       size_t p_step, uint32_t j0, uint32_t j1, const int queries, float *out) {
    const int wide = tile_fit(queries, 1);
    size_t d = 0;
    for (; d + (size_t)(wide * LANES) <= v_dim; d += (size_t)(wide * LANES)) {
        value_sums(type, v, v_dim, d, p, p_step, j0, j1, queries, wide, out);
    }
    for (; wide > 1 && d + LANES <= v_dim; d += LANES) {
        value_sums(type, v, v_dim, d, p, p_step, j0, j1, queries, 1, out);
    }
    for (int i = 0; d < v_dim && i < queries; i++) {
        value_rest(v, v_dim, d, p + i * TFM_PANEL, p_step, j0, j1, out + (size_t)i * v_dim);
    }
}

/* Any number of queries up to TILE, in tiles of the sizes that are compiled. */
INLINE void value_tiles(const tfm_dtype type, const attend_page *v, size_t v_dim, const float *p,
                        size_t p_step, uint32_t j0, uint32_t j1, uint32_t queries, float *out) {
    while (queries > 0) {
        const uint32_t n = tile_size(queries);
        TILE_CALL(n, value_tile(type, v, v_dim, p, p_step, j0, j1, N, out));
        queries -= n;
        p += n * TFM_PANEL;
        out += n * v_dim;
    }
}

KERNEL static void value_tiles_f32(const attend_page *v, size_t v_dim, const float *p,
                                   size_t p_step, uint32_t j0, uint32_t j1, uint32_t queries,
                                   float *out) {
    value_tiles(TFM_F32, v, v_dim, p, p_step, j0, j1, queries, out);
}

#if DIRECT
KERNEL static void value_tiles_f16(const attend_page *v, size_t v_dim, const float *p,
                                   size_t p_step, uint32_t j0, uint32_t j1, uint32_t queries,
                                   float *out) {
    value_tiles(TFM_F16, v, v_dim, p, p_step, j0, j1, queries, out);
}

KERNEL static void value_tiles_q8_0(const attend_page *v, size_t v_dim, const float *p,
                                    size_t p_step, uint32_t j0, uint32_t j1, uint32_t queries,
                                    float *out) {
    value_tiles(TFM_Q8_0, v, v_dim, p, p_step, j0, j1, queries, out);
}
#endif
