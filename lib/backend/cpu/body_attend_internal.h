/* body_attend_internal.h - attention of some queries of one sequence over one head of the cache.
 *
 *     s[j] = 0; for d ascending: s[j] = s[j] + q[d] * k[j][d]
 *     then scale, alibi and softcap as ref_attend.c has them; m = max over visible keys and sink
 *     per chunk of 1024 positions:  p[j] = exp(s[j] - m)
 *         l: lane j % 16 sums p[j] ascending, then tree_sum
 *         o[d] = 0; for visible j ascending: o[d] = o[d] + p[j] * v[j][d]
 *     total = sum of l, out[d] = sum of o[d], chunks ascending; total + exp(sink - m) last
 *     out[d] / total
 *
 * Panels and chunks are those of absolute positions, so the sums do not depend on where a prompt
 * was cut. A key that a query may not see has p = 0 exactly, and its V is never read. Queries share
 * the reading of K and V; each one's numbers are its own. The scores are kept from one pass to the
 * next: to compute them twice costs more than their way through the caches. */

/* The keys that each query sees: [lo, hi). */
typedef struct attend_span {
    uint32_t lo[TFM_ATTEND_QUERIES], hi[TFM_ATTEND_QUERIES];
} attend_span;

typedef struct attend_scratch {
    float *q;       /* [tiles][k_dim][TILE] */
    float *page;    /* DIRECT 0: K or V of a page as f32 */
    float *v_scale; /* q8_0: [TFM_KV_PAGE][v_dim / 32] */
} attend_scratch;

INLINE size_t round16(size_t n) {
    return (n + 15) / 16 * 16;
}

/* Returns the floats of all parts. */
KERNEL static size_t carve(attend_scratch *s, float *base, size_t k_dim, size_t v_dim) {
    const size_t tiles = (TFM_ATTEND_QUERIES + TILE - 1) / TILE;
    const size_t q = round16(tiles * k_dim * TILE);
    const size_t page = DIRECT ? 0 : TFM_KV_PAGE * (k_dim > v_dim ? k_dim : v_dim);
    const size_t scales = round16(TFM_KV_PAGE * v_dim / SCALED);
    if (s != NULL) *s = (attend_scratch){base, base + q, base + q + page};
    return q + page + scales;
}

KERNEL static size_t attend_bytes(uint32_t k_dim, uint32_t v_dim) {
    return carve(NULL, NULL, k_dim, v_dim) * sizeof(float);
}

KERNEL static void find_spans(const tfm_cpu_attend *a, attend_span *s) {
    for (uint32_t i = 0; i < a->n_queries; i++) {
        const uint32_t position = a->query[i].position;
        s->lo[i] = tfm_first_key(position, a->window, a->chunk);
        s->hi[i] = position + 1;
    }
}

INLINE uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

INLINE uint32_t most(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* 16 codes of q8_0 times 16 scales, or all times `one`, to f32: exact. */
INLINE void decode_codes_16(const unsigned char *code, const unsigned char *scale, float one,
                            float *dst) {
    UNROLL for (int v = 0; v < NV; v++) {
        const vf d = scale != NULL ? from_f16(scale + v * LANES * 2) : splat(one);
        store(dst + v * LANES, from_codes(code + v * LANES) * d);
    }
}

/* This head's K (or V) in the page of panel p; the last is that of panel `to` - 1. */
INLINE attend_page find_page(const tfm_cpu_attend *a, const attend_scratch *s, uint32_t p,
                             uint32_t to, bool is_v) {
    const size_t dim = is_v ? a->v_dim : a->k_dim, n = TFM_KV_PAGE * dim;
    const size_t at = is_v ? a->v_at : a->k_at, number = p / PAGE_PANELS;
    const unsigned char *data = a->page[a->table[number]] + at, *scale = data + n;
    attend_page r = {.type = a->kv_type, .data = data};
    r.ahead = number < (to - 1) / PAGE_PANELS ? a->page[a->table[number + 1]] + at : data;
    if (r.type == TFM_Q8_0 && is_v) {
        for (size_t i = 0; i < n / SCALED; i += LANES) {
            store(s->v_scale + i, from_f16(scale + 2 * i));
        }
        r.v_scale = s->v_scale;
    } else if (r.type == TFM_Q8_0) {
        r.k_scale = scale;
    }
    if (DIRECT || r.type == TFM_F32) return r;
    if (r.type == TFM_F16) {
        decode_floats(TFM_F16, data, n, s->page);
    } else {
        for (size_t i = 0; i < n; i += TFM_PANEL) {
            const size_t block =
                i / (dim * TFM_PANEL) * (dim / SCALED) + i / TFM_PANEL % dim / SCALED;
            const unsigned char *k_scale = is_v ? NULL : scale + 2 * TFM_PANEL * block;
            decode_codes_16(data + i, k_scale, is_v ? s->v_scale[i / SCALED] : 0.0f, s->page + i);
        }
    }
    return (attend_page){.type = TFM_F32, .data = (const unsigned char *)s->page, .ahead = r.ahead};
}

/* ---- pass 1: scores and their maximum ---- */

/* Lane numbers of vector v of the panel, as keys: 16 p + v LANES + lane. */
INLINE vi key_numbers(uint32_t p, int v) {
    vi lane;
    UNROLL for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane + (int32_t)(p * TFM_PANEL + (uint32_t)(v * LANES));
}

/* Dot products of panel p, one query, to scores; what the query may not see becomes -infinity. */
KERNEL static void finish_scores(const tfm_cpu_attend *a, const attend_span *span, uint32_t query,
                                 uint32_t p, float *score, float *max) {
    const int32_t position = (int32_t)a->query[query].position;
    UNROLL for (int v = 0; v < NV; v++) {
        const vi key = key_numbers(p, v);
        const vf bias = a->query[query].slope * __builtin_convertvector(key - position, vf);
        vf s = load(score + v * LANES);
        if (a->alibi_before_scale) s = s + bias;
        s = s * a->scale;
        if (a->softcap > 0.0f) s = a->softcap * tanh_v(s / a->softcap);
        if (!a->alibi_before_scale) s = s + bias;
        s = pick((key >= (int32_t)span->lo[query]) & (key <= position), s, splat(-INFINITY));
        store(max + v * LANES, larger(s, load(max + v * LANES)));
        store(score + v * LANES, s);
    }
}

/* Queries [query, query + queries) of one tile (q: [k_dim][TILE] from the first of them on) and
 * panels [p, p + panels) of one page. plain: all keys are seen, and there is nothing but the
 * scale. */
INLINE void score_tile(const tfm_dtype type, const tfm_cpu_attend *a, const attend_span *span,
                       const attend_page *k, const float *q, uint32_t query, const int queries,
                       uint32_t p, const int panels, bool plain, float *score,
                       float (*max)[TFM_PANEL]) {
    vf sum[TILE_SUMS];
    const size_t p_step = (size_t)a->n_queries * TFM_PANEL;
    const vf scale = splat(plain ? a->scale : 1.0f);
    score += (size_t)query * TFM_PANEL;
    score_sums(type, k, p % PAGE_PANELS, a->k_dim, q, queries, panels, sum);
    UNROLL for (int i = 0; i < queries; i++) {
        UNROLL for (int u = 0; u < panels * NV; u++) {
            vf *x = &sum[i * panels * NV + u];
            *x = *x * scale;
            store(score + (size_t)(u / NV) * p_step + i * TFM_PANEL + u % NV * LANES, *x);
        }
    }
    UNROLL for (int i = 0; plain && i < queries; i++) {
        float *top = max[query + (uint32_t)i];
        UNROLL for (int v = 0; v < NV; v++) {
            vf m = load(top + v * LANES);
            UNROLL for (int u = v; u < panels * NV; u += NV) m =
                larger(sum[i * panels * NV + u], m);
            store(top + v * LANES, m);
        }
    }
    for (uint32_t i = 0; !plain && i < (uint32_t)queries; i++) {
        for (uint32_t u = 0; u < (uint32_t)panels; u++) {
            finish_scores(a, span, query + i, p + u, score + u * p_step + i * TFM_PANEL,
                          max[query + i]);
        }
    }
}

/* Panels [p, end) of one page. */
INLINE void score_panels(const tfm_dtype type, const tfm_cpu_attend *a, const attend_span *span,
                         const attend_page *k, const float *q, uint32_t query, const int queries,
                         uint32_t p, uint32_t end, bool plain, float *score,
                         float (*max)[TFM_PANEL]) {
    const int wide = tile_fit(queries, NV);
    const size_t p_step = (size_t)a->n_queries * TFM_PANEL;
    for (; p + (uint32_t)wide <= end; p += (uint32_t)wide, score += (size_t)wide * p_step) {
        score_tile(type, a, span, k, q, query, queries, p, wide, plain, score, max);
    }
    for (; wide > 1 && p < end; p++, score += p_step) {
        score_tile(type, a, span, k, q, query, queries, p, 1, plain, score, max);
    }
}

/* One tile of queries and panels [p, end) of one page; score: of panel p. Panels that all queries
 * see whole, the first of them, are plain. */
INLINE void score_queries(const tfm_dtype type, const tfm_cpu_attend *a, const attend_span *span,
                          const attend_page *k, const float *q, uint32_t query, uint32_t queries,
                          uint32_t p, uint32_t end, float *score, float (*max)[TFM_PANEL]) {
    uint32_t whole = a->softcap > 0.0f ? p : end;
    for (uint32_t i = query; i < query + queries; i++) {
        const bool seen = a->query[i].slope == 0.0f && span->lo[i] <= p * TFM_PANEL;
        whole = least(whole, seen ? most(p, span->hi[i] / TFM_PANEL) : p);
    }
    while (p < end) {
        const bool plain = p < whole;
        const uint32_t to = plain ? whole : end;
        for (uint32_t i = 0; i < queries;) {
            const uint32_t n = tile_size(queries - i);
            TILE_CALL(
                n, score_panels(type, a, span, k, q + i, query + i, N, p, to, plain, score, max));
            i += n;
        }
        score += (size_t)(to - p) * a->n_queries * TFM_PANEL;
        p = to;
    }
}

KERNEL static void score_page_f32(const tfm_cpu_attend *a, const attend_span *span,
                                  const attend_page *k, const float *q, uint32_t query,
                                  uint32_t queries, uint32_t p, uint32_t end, float *score,
                                  float (*max)[TFM_PANEL]) {
    score_queries(TFM_F32, a, span, k, q, query, queries, p, end, score, max);
}

#if DIRECT
KERNEL static void score_page_f16(const tfm_cpu_attend *a, const attend_span *span,
                                  const attend_page *k, const float *q, uint32_t query,
                                  uint32_t queries, uint32_t p, uint32_t end, float *score,
                                  float (*max)[TFM_PANEL]) {
    score_queries(TFM_F16, a, span, k, q, query, queries, p, end, score, max);
}

KERNEL static void score_page_q8_0(const tfm_cpu_attend *a, const attend_span *span,
                                   const attend_page *k, const float *q, uint32_t query,
                                   uint32_t queries, uint32_t p, uint32_t end, float *score,
                                   float (*max)[TFM_PANEL]) {
    score_queries(TFM_Q8_0, a, span, k, q, query, queries, p, end, score, max);
}
#endif

/* All queries and panels [p, end) of one page. */
KERNEL static void score_page(const tfm_cpu_attend *a, const attend_span *span,
                              const attend_page *k, const float *q, uint32_t p, uint32_t end,
                              float *score, float (*max)[TFM_PANEL]) {
    for (uint32_t query = 0; query < a->n_queries; query += TILE, q += (size_t)a->k_dim * TILE) {
        const uint32_t n = least(a->n_queries - query, TILE);
        uint32_t lo = UINT32_MAX, hi = 0;
        for (uint32_t i = query; i < query + n; i++) {
            lo = least(lo, span->lo[i]);
            hi = most(hi, span->hi[i]);
        }
        const uint32_t from = most(p, lo / TFM_PANEL);
        const uint32_t to = least(end, (hi + TFM_PANEL - 1) / TFM_PANEL);
        if (from >= to) continue;
        float *at = score + (size_t)(from - p) * a->n_queries * TFM_PANEL;
        if (k->type == TFM_F32) score_page_f32(a, span, k, q, query, n, from, to, at, max);
#if DIRECT
        if (k->type == TFM_F16) score_page_f16(a, span, k, q, query, n, from, to, at, max);
        if (k->type == TFM_Q8_0) score_page_q8_0(a, span, k, q, query, n, from, to, at, max);
#endif
    }
}

KERNEL static void attend_scores(const tfm_cpu_attend *a, uint32_t from, uint32_t to, float *score,
                                 float *max, void *scratch) {
    attend_scratch s;
    attend_span span;
    float lanes[TFM_ATTEND_QUERIES][TFM_PANEL];
    carve(&s, scratch, a->k_dim, a->v_dim);
    find_spans(a, &span);
    for (uint32_t i = 0; i < a->n_queries; i++) {
        float *q = s.q + (size_t)(i / TILE) * a->k_dim * TILE + i % TILE;
        for (uint32_t d = 0; d < a->k_dim; d++) q[(size_t)d * TILE] = a->query[i].q[d];
        const float start = a->has_sink ? a->query[i].sink : -INFINITY;
        for (int j = 0; j < TFM_PANEL; j++) lanes[i][j] = start;
    }
    for (uint32_t p = from; p < to;) {
        const uint32_t end = least((p / PAGE_PANELS + 1) * PAGE_PANELS, to);
        const attend_page k = find_page(a, &s, p, to, false);
        score_page(a, &span, &k, s.q, p, end, score, lanes);
        score += (size_t)(end - p) * a->n_queries * TFM_PANEL;
        p = end;
    }
    for (uint32_t i = 0; i < a->n_queries; i++) {
        max[i] = lanes[i][0];
        for (int j = 1; j < TFM_PANEL; j++) max[i] = lanes[i][j] > max[i] ? lanes[i][j] : max[i];
    }
}

/* ---- pass 2: weights and weighted values ---- */

/* Scores of panels [p, end) to weights, for every query; lanes: their sums. */
INLINE void weigh_page(const tfm_cpu_attend *a, const attend_span *span, uint32_t p, uint32_t end,
                       const float *max, float *score, float (*lanes)[TFM_PANEL]) {
    for (uint32_t i = 0; i < a->n_queries; i++) {
        const uint32_t from = most(p, span->lo[i] / TFM_PANEL);
        const uint32_t to = least(end, (span->hi[i] + TFM_PANEL - 1) / TFM_PANEL);
        vf sum[NV];
        UNROLL for (int v = 0; v < NV; v++) sum[v] = load(lanes[i] + v * LANES);
        for (uint32_t u = from; u < to; u++) {
            float *w = score + ((size_t)(u - p) * a->n_queries + i) * TFM_PANEL;
            UNROLL for (int v = 0; v < NV; v++) {
                const vf x = exp_fall(load(w + v * LANES) - max[i]);
                sum[v] = sum[v] + x;
                store(w + v * LANES, x);
            }
        }
        UNROLL for (int v = 0; v < NV; v++) store(lanes[i] + v * LANES, sum[v]);
    }
}

/* Weights times values for queries [query, query + n) and keys [from, to) of a page. weight: of
 * panel p. */
KERNEL static void value_keys(const tfm_cpu_attend *a, const attend_page *v, const float *weight,
                              uint32_t p, uint32_t query, uint32_t n, uint32_t from, uint32_t to,
                              float *out) {
    const size_t p_step = (size_t)a->n_queries * TFM_PANEL;
    if (from >= to) return;
    const uint32_t base = from / TFM_KV_PAGE * TFM_KV_PAGE;
    weight += (from / TFM_PANEL - p) * p_step + (size_t)query * TFM_PANEL;
    out += (size_t)query * a->v_dim;
    from -= base, to -= base;
    if (v->type == TFM_F32) value_tiles_f32(v, a->v_dim, weight, p_step, from, to, n, out);
#if DIRECT
    if (v->type == TFM_F16) value_tiles_f16(v, a->v_dim, weight, p_step, from, to, n, out);
    if (v->type == TFM_Q8_0) value_tiles_q8_0(v, a->v_dim, weight, p_step, from, to, n, out);
#endif
}

/* Queries [query, query + n), and of the keys [from, to) those that each one sees: those with the
 * same keys (the heads of a row) at once. weight: of panel p. */
KERNEL static void value_rows(const tfm_cpu_attend *a, const attend_span *span,
                              const attend_page *v, const float *weight, uint32_t p, uint32_t query,
                              uint32_t n, uint32_t from, uint32_t to, float *out) {
    for (uint32_t i = query, end; from < to && i < query + n; i = end) {
        for (end = i + 1;
             end < query + n && span->lo[end] == span->lo[i] && span->hi[end] == span->hi[i];) {
            end++;
        }
        value_keys(a, v, weight, p, i, end - i, most(from, span->lo[i]), least(to, span->hi[i]),
                   out);
    }
}

/* Panels [p, end) of one page: the keys that all queries of a tile see for all at once, those
 * before and behind for the queries that see them. weight: of panel p. */
KERNEL static void value_page(const tfm_cpu_attend *a, const attend_span *span,
                              const attend_page *v, const float *weight, uint32_t p, uint32_t end,
                              float *out) {
    const uint32_t from = p * TFM_PANEL, to = end * TFM_PANEL;
    for (uint32_t query = 0; query < a->n_queries; query += TILE) {
        const uint32_t n = least(a->n_queries - query, TILE);
        uint32_t lo = from, hi = to;
        for (uint32_t i = query; i < query + n; i++) {
            lo = most(lo, span->lo[i]);
            hi = least(hi, span->hi[i]);
        }
        if (lo >= hi) lo = hi = to; /* none in common */
        value_rows(a, span, v, weight, p, query, n, from, lo, out);
        value_keys(a, v, weight, p, query, n, lo, hi, out);
        value_rows(a, span, v, weight, p, query, n, hi, to, out);
    }
}

KERNEL static void attend_values(const tfm_cpu_attend *a, uint32_t from, uint32_t to, float *score,
                                 const float *max, float *sum, float *out, void *scratch) {
    const size_t p_step = (size_t)a->n_queries * TFM_PANEL;
    attend_scratch s;
    attend_span span;
    float lanes[TFM_ATTEND_QUERIES][TFM_PANEL] = {{0}};
    carve(&s, scratch, a->k_dim, a->v_dim);
    find_spans(a, &span);
    memset(out, 0, (size_t)a->n_queries * a->v_dim * sizeof *out);
    for (uint32_t p = from; p < to;) {
        const uint32_t end = least((p / PAGE_PANELS + 1) * PAGE_PANELS, to);
        const attend_page v = find_page(a, &s, p, to, true);
        weigh_page(a, &span, p, end, max, score, lanes);
        value_page(a, &span, &v, score, p, end, out);
        score += (size_t)(end - p) * p_step;
        p = end;
    }
    for (uint32_t i = 0; i < a->n_queries; i++) sum[i] = tree_sum(lanes[i]);
}

/* ---- the end ---- */

KERNEL static void attend_finish(const tfm_cpu_attend *a, size_t n_chunks, const float *sum,
                                 const float *out, const float *max, float *total) {
    const size_t n = a->n_queries, v_dim = a->v_dim;
    for (size_t i = 0; i < n; i++) {
        const float *part = out + i * v_dim;
        float *to = a->query[i].out;
        total[i] = 0.0f;
        for (size_t c = 0; c < n_chunks; c++) total[i] = total[i] + sum[c * n + i];
        if (a->has_sink) {
            float x = a->query[i].sink - max[i];
            exp_all(1, &x, &x);
            total[i] = total[i] + x;
        }
        size_t d = 0;
        for (; d + LANES <= v_dim; d += LANES) {
            vf x = splat(0.0f);
            for (size_t c = 0; c < n_chunks; c++) x = x + load(part + c * n * v_dim + d);
            store(to + d, x / total[i]);
        }
        for (; d < v_dim; d++) {
            float x = 0.0f;
            for (size_t c = 0; c < n_chunks; c++) x = x + part[c * n * v_dim + d];
            to[d] = x / total[i];
        }
    }
}

/* ---- writing to the cache ---- */

/* 32 numbers to codes at every step-th byte, as tfm_kv_round_q8_0; returns their scale as f16. */
INLINE uint16_t round_codes(const float *x, int8_t *code, size_t step) {
    enum { VECTORS = SCALED / LANES };
    vu top = {0}; /* magnitudes order like their bits, NaN above all */
    UNROLL for (int i = 0; i < VECTORS; i++) {
        const vu mag = load_u(x + i * LANES) & 0x7fffffffu;
        top = (vu)pick((vi)mag > (vi)top, (vf)mag, (vf)top);
    }
    uint32_t amax = 0;
    for (int l = 0; l < LANES; l++) amax = top[l] > amax ? top[l] : amax;
    const float d = tfm_bits_to_f32(amax) / 127.0f;
    const uint16_t scale = tfm_inline_f32_to_f16(d);
    if (scale == 0 || (scale & 0x7c00u) == 0x7c00u) {
        for (size_t i = 0; i < SCALED; i++) code[i * step] = 0;
        return scale == 0 ? 0 : 0x7e00u;
    }
    const float r = 1.0f / d;
    for (int i = 0; i < VECTORS; i++, code += LANES * step) {
        const vf v = load(x + i * LANES) * r;
        const vi whole = __builtin_convertvector(v, vi);
        const vf rest = v - __builtin_convertvector(whole, vf);
        const vi q = whole - (rest >= 0.5f) + (rest <= -0.5f); /* a true lane is -1 */
        for (size_t l = 0; l < LANES; l++) code[l * step] = (int8_t)q[l];
    }
    return scale;
}

INLINE void store_halves(const float *src, size_t n, uint16_t *to, size_t step) {
    size_t i = 0;
#if defined(TO_F16)
    for (; i + LANES <= n; i += LANES) {
        uint16_t some[LANES];
        TO_F16(some, load(src + i));
        if (step == 1) memcpy(to + i, some, sizeof some);
        for (size_t l = 0; step != 1 && l < LANES; l++) to[(i + l) * step] = some[l];
    }
#endif
    for (; i < n; i++) to[i * step] = tfm_inline_f32_to_f16(src[i]);
}

KERNEL static void attend_store(tfm_dtype type, size_t n, const float *src, void *head, size_t slot,
                                size_t panel) {
    const size_t lane = slot % panel, first = slot / panel * panel, at = first * n + lane;
    if (type == TFM_F32) {
        float *to = (float *)head + at;
        for (size_t i = 0; i < n; i++) to[i * panel] = src[i];
    } else if (type == TFM_F16) {
        store_halves(src, n, (uint16_t *)head + at, panel);
    } else {
        int8_t *code = (int8_t *)head + at;
        uint16_t *scale = (uint16_t *)(void *)((int8_t *)head + TFM_KV_PAGE * n);
        scale += first * (n / SCALED) + lane;
        for (size_t i = 0; i < n; i += SCALED) {
            scale[i / SCALED * panel] = round_codes(src + i, code + i * panel, panel);
        }
    }
}
