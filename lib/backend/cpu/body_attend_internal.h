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
 * the decoding of K and V; each one's numbers are its own. */

typedef struct attend_scratch {
    float *q;      /* [queries][k_dim] */
    float *k;      /* [k_dim][16] */
    float *v;      /* [16][v_dim] */
    float *out;    /* [queries][v_dim] */
    float *chunk;  /* [queries][v_dim] */
    float *scores; /* [panels][queries][16] */
} attend_scratch;

static size_t round16(size_t n) {
    return (n + 15) / 16 * 16;
}

/* Sizes in floats of the parts above, in order; n panels. */
static size_t carve(attend_scratch *s, float *base, size_t k_dim, size_t v_dim, size_t panels) {
    const size_t size[6] = {round16(TFM_ATTEND_QUERIES * k_dim),
                            k_dim * TFM_PANEL,
                            TFM_PANEL * v_dim,
                            round16(TFM_ATTEND_QUERIES * v_dim),
                            round16(TFM_ATTEND_QUERIES * v_dim),
                            panels * TFM_ATTEND_QUERIES * TFM_PANEL};
    size_t at[7] = {0};
    for (int i = 0; i < 6; i++) at[i + 1] = at[i] + size[i];
    if (s != NULL) {
        *s = (attend_scratch){base + at[0], base + at[1], base + at[2],
                              base + at[3], base + at[4], base + at[5]};
    }
    return at[6];
}

static size_t attend_bytes(uint32_t k_dim, uint32_t v_dim, uint32_t last) {
    return carve(NULL, NULL, k_dim, v_dim, (size_t)last / TFM_PANEL + 1) * sizeof(float);
}

INLINE uint32_t first_visible(const tfm_cpu_attend *a, uint32_t query) {
    const uint32_t position = a->query[query].position;
    return a->window != 0 && position >= a->window ? position - a->window + 1 : 0;
}

/* 16 codes of q8_0 times 16 scales, or all times `one`, to f32: exact. */
INLINE void decode_codes_16(const unsigned char *code, const unsigned char *scale, float one,
                            float *dst) {
    UNROLL for (int v = 0; v < NV; v++) {
        const vi q = __builtin_convertvector(*(const mem_vc *)(code + v * LANES), vi);
        const vf d = scale != NULL ? from_f16(scale + v * LANES * 2) : splat(one);
        store(dst + v * LANES, __builtin_convertvector(q, vf) * d);
    }
}

/* k_panel and v_panel of a q8_0 cache; kernel_internal.h has the layout. */
KERNEL static const float *k_panel_q8_0(const tfm_cpu_attend *a, const attend_scratch *s,
                                        const unsigned char *head, uint32_t panel) {
    const size_t n = (size_t)a->k_dim * TFM_PANEL;
    const unsigned char *code = head + panel * n;
    const unsigned char *scale = head + TFM_KV_PAGE * (size_t)a->k_dim + panel * n / 32 * 2;
    for (size_t d = 0; d < a->k_dim; d++)
        decode_codes_16(code + d * TFM_PANEL, scale + d / 32 * TFM_PANEL * 2, 0.0f,
                        s->k + d * TFM_PANEL);
    return s->k;
}

KERNEL static const float *v_panel_q8_0(const tfm_cpu_attend *a, const attend_scratch *s,
                                        const unsigned char *head, uint32_t panel) {
    const size_t n = (size_t)a->v_dim * TFM_PANEL;
    const unsigned char *code = head + panel * n;
    const unsigned char *scale = head + TFM_KV_PAGE * (size_t)a->v_dim + panel * n / 32 * 2;
    for (size_t i = 0; i < n; i += TFM_PANEL)
        decode_codes_16(code + i, NULL,
                        tfm_inline_f16_to_f32(tfm_inline_load_u16(scale + i / 32 * 2)), s->v + i);
    return s->v;
}

/* The panel of 16 positions from 16 p: K as f32 [k_dim][16]; V as [16][v_dim]. */
INLINE const float *k_panel(const tfm_cpu_attend *a, const attend_scratch *s, uint32_t p) {
    const uint32_t per_page = TFM_KV_PAGE / TFM_PANEL;
    const size_t n = (size_t)a->k_dim * TFM_PANEL, bytes = a->kv_type == TFM_F32 ? 4 : 2;
    const unsigned char *head = a->page[a->table[p / per_page]] + a->k_at;
    const unsigned char *k = head + p % per_page * n * bytes;
    if (a->kv_type == TFM_Q8_0) return k_panel_q8_0(a, s, head, p % per_page);
    if (a->kv_type == TFM_F32) return (const float *)(const void *)k;
    decode_floats(TFM_F16, k, n, s->k);
    return s->k;
}

INLINE const float *v_panel(const tfm_cpu_attend *a, const attend_scratch *s, uint32_t p) {
    const uint32_t per_page = TFM_KV_PAGE / TFM_PANEL;
    const size_t n = (size_t)a->v_dim * TFM_PANEL, bytes = a->kv_type == TFM_F32 ? 4 : 2;
    const unsigned char *head = a->page[a->table[p / per_page]] + a->v_at;
    const unsigned char *v = head + p % per_page * n * bytes;
    if (a->kv_type == TFM_Q8_0) return v_panel_q8_0(a, s, head, p % per_page);
    if (a->kv_type == TFM_F32) return (const float *)(const void *)v;
    decode_floats(TFM_F16, v, n, s->v);
    return s->v;
}

/* Lane numbers of vector v of the panel, as keys: 16 p + v LANES + lane. */
INLINE vi key_numbers(uint32_t p, int v) {
    vi lane;
    UNROLL for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane + (int32_t)(p * TFM_PANEL + (uint32_t)(v * LANES));
}

/* Dot products of one panel to scores; what the query may not see becomes -infinity. */
INLINE void finish_scores(const tfm_cpu_attend *a, uint32_t query, uint32_t p, float *score,
                          vf max[NV]) {
    const int32_t position = (int32_t)a->query[query].position;
    const int32_t first = (int32_t)first_visible(a, query);
    const float slope = a->query[query].slope;
    UNROLL for (int v = 0; v < NV; v++) {
        const vi key = key_numbers(p, v);
        const vf bias = slope * __builtin_convertvector(key - position, vf);
        vf s = load(score + v * LANES);
        if (a->alibi_before_scale) s = s + bias;
        s = s * a->scale;
        if (a->softcap > 0.0f) s = a->softcap * tanh_v(s / a->softcap);
        if (!a->alibi_before_scale) s = s + bias;
        s = pick((key >= first) & (key <= position), s, splat(-INFINITY));
        max[v] = pick(s > max[v], s, max[v]);
        store(score + v * LANES, s);
    }
}

/* Pass 1: all scores, and each query's exact maximum. */
KERNEL static void attend_scores(const tfm_cpu_attend *a, const attend_scratch *s, uint32_t from,
                                 uint32_t to, float *max) {
    vf lanes[TFM_ATTEND_QUERIES][NV];
    for (uint32_t i = 0; i < a->n_queries; i++) {
        const float start = a->has_sink ? a->query[i].sink : -INFINITY;
        UNROLL for (int v = 0; v < NV; v++) lanes[i][v] = splat(start);
    }
    for (uint32_t p = from; p < to; p++) {
        float *score = s->scores + (size_t)(p - from) * TFM_ATTEND_QUERIES * TFM_PANEL;
        memset(score, 0, a->n_queries * TFM_PANEL * sizeof *score);
        rows_times_panel(k_panel(a, s, p), a->k_dim, s->q, a->k_dim, score, a->n_queries);
        for (uint32_t i = 0; i < a->n_queries; i++) {
            finish_scores(a, i, p, score + (size_t)i * TFM_PANEL, lanes[i]);
        }
    }
    for (uint32_t i = 0; i < a->n_queries; i++) {
        float lane[TFM_PANEL];
        UNROLL for (int v = 0; v < NV; v++) store(lane + v * LANES, lanes[i][v]);
        max[i] = lane[0];
        for (int j = 1; j < TFM_PANEL; j++) max[i] = lane[j] > max[i] ? lane[j] : max[i];
    }
}

/* out[d] += p[j] v[j][d] for the keys j0 <= j < j1 of a panel, ascending; v: [16][v_dim]. */
INLINE void add_values(const float *p, const float *v, uint32_t v_dim, uint32_t j0, uint32_t j1,
                       float *out) {
    enum { WIDE = 4 }; /* vectors held in registers over the keys */
    size_t d = 0;
    for (; d + WIDE * LANES <= v_dim; d += WIDE * LANES) {
        vf sum[WIDE];
        UNROLL for (int i = 0; i < WIDE; i++) sum[i] = load(out + d + (size_t)i * LANES);
        for (uint32_t j = j0; j < j1; j++) {
            const float *row = v + (size_t)j * v_dim + d;
            UNROLL for (int i = 0; i < WIDE; i++) sum[i] =
                madd(splat(p[j]), load(row + i * LANES), sum[i]);
        }
        UNROLL for (int i = 0; i < WIDE; i++) store(out + d + (size_t)i * LANES, sum[i]);
    }
    for (; d < v_dim; d++) {
        float sum = out[d];
        for (uint32_t j = j0; j < j1; j++) sum = madd_one(p[j], v[(size_t)j * v_dim + d], sum);
        out[d] = sum;
    }
}

/* Pass 2 for the panels [from, to) of one chunk: s->chunk and part_sum of every query. */
INLINE void attend_chunk(const tfm_cpu_attend *a, const attend_scratch *s, uint32_t first_panel,
                         uint32_t from, uint32_t to, const float *max, float *part_sum) {
    vf lanes[TFM_ATTEND_QUERIES][NV];
    for (uint32_t i = 0; i < a->n_queries; i++) {
        UNROLL for (int v = 0; v < NV; v++) lanes[i][v] = splat(0.0f);
    }
    memset(s->chunk, 0, (size_t)a->n_queries * a->v_dim * sizeof *s->chunk);
    for (uint32_t p = from; p < to; p++) {
        float *score = s->scores + (size_t)(p - first_panel) * TFM_ATTEND_QUERIES * TFM_PANEL;
        const float *values = v_panel(a, s, p);
        const uint32_t base = p * TFM_PANEL;
        for (uint32_t i = 0; i < a->n_queries; i++, score += TFM_PANEL) {
            const uint32_t lo = first_visible(a, i), hi = a->query[i].position + 1;
            if (base >= hi || base + TFM_PANEL <= lo) continue; /* sees none of it */
            UNROLL for (int v = 0; v < NV; v++) {
                const vf w = exp_v(load(score + v * LANES) - max[i]);
                lanes[i][v] = lanes[i][v] + w;
                store(score + v * LANES, w);
            }
            add_values(score, values, a->v_dim, lo > base ? lo - base : 0,
                       hi - base < TFM_PANEL ? hi - base : TFM_PANEL,
                       s->chunk + (size_t)i * a->v_dim);
        }
    }
    for (uint32_t i = 0; i < a->n_queries; i++) {
        float lane[TFM_PANEL];
        UNROLL for (int v = 0; v < NV; v++) store(lane + v * LANES, lanes[i][v]);
        part_sum[i] = tree_sum(lane);
    }
}

/* The probabilities of one query, from the weights that attend_chunk left in the scores. */
KERNEL static void write_pattern(const tfm_cpu_attend *a, const attend_scratch *s, uint32_t query,
                                 uint32_t first_panel, float total) {
    const uint32_t position = a->query[query].position, first = first_visible(a, query);
    float *out = a->query[query].pattern;
    for (uint32_t j = 0; j < first; j++) out[j] = 0.0f;
    for (uint32_t j = first; j <= position; j++) {
        const size_t panel = j / TFM_PANEL - first_panel;
        out[j] =
            s->scores[(panel * TFM_ATTEND_QUERIES + query) * TFM_PANEL + j % TFM_PANEL] / total;
    }
}

KERNEL static void attend(const tfm_cpu_attend *a, void *scratch) {
    attend_scratch s;
    float max[TFM_ATTEND_QUERIES], total[TFM_ATTEND_QUERIES] = {0}, part[TFM_ATTEND_QUERIES];
    uint32_t first = UINT32_MAX, last = 0;
    for (uint32_t i = 0; i < a->n_queries; i++) {
        first = first_visible(a, i) < first ? first_visible(a, i) : first;
        last = a->query[i].position > last ? a->query[i].position : last;
    }
    const uint32_t from = first / TFM_PANEL, to = last / TFM_PANEL + 1;
    carve(&s, scratch, a->k_dim, a->v_dim, to - from);
    for (uint32_t i = 0; i < a->n_queries; i++) {
        memcpy(s.q + (size_t)i * a->k_dim, a->query[i].q, a->k_dim * sizeof(float));
    }
    attend_scores(a, &s, from, to, max);
    memset(s.out, 0, (size_t)a->n_queries * a->v_dim * sizeof *s.out);
    const uint32_t per_chunk = TFM_KEY_CHUNK / TFM_PANEL;
    for (uint32_t p = from; p < to;) {
        const uint32_t chunk_end = (p / per_chunk + 1) * per_chunk;
        const uint32_t end = chunk_end < to ? chunk_end : to;
        attend_chunk(a, &s, from, p, end, max, part);
        for (uint32_t i = 0; i < a->n_queries; i++) total[i] = total[i] + part[i];
        elementwise(&(tfm_step){.op = TFM_OP_ADD}, (size_t)a->n_queries * a->v_dim, s.out, s.chunk,
                    s.out);
        p = end;
    }
    for (uint32_t i = 0; i < a->n_queries; i++) {
        if (a->has_sink) {
            float sink = a->query[i].sink - max[i];
            exp_all(1, &sink, &sink);
            total[i] = total[i] + sink;
        }
        for (uint32_t d = 0; d < a->v_dim; d++) {
            a->query[i].out[d] = s.out[(size_t)i * a->v_dim + d] / total[i];
        }
        if (a->query[i].pattern != NULL) write_pattern(a, &s, i, from, total[i]);
    }
}
