/* quant_search.c - f32 to blocks of 2 to 6 bits with the scales of least error.
 *
 * Owns the search, but for types with a table of values (quant_table.c). The plain formulas of q8_0
 * and q4_0 are in quant.c, the packing of codes and scales in block.c and kquants.c.
 *
 * Of a group of 16 or 32 numbers x[i] with weights w[i] we want
 *     min sum of w[i] * (s * q[i] - m - x[i])^2     over s, m and integers q[i] in [lo, hi]
 * (m is 0 for the symmetric types). For fixed q the best s and m are a least-squares fit, for fixed
 * s and m the best q is rounding; so several first guesses of the step, each fitted once, and of
 * the best one a few turns of the two. A k-quant then rounds s and m of its 8 or 16 groups to small
 * integers times d and dmin (f16): each group tries the integers around its own best with q rounded
 * anew, d and dmin are fitted to all 256, and so once more.
 *
 * Weights: importance[column] (the mean square of what the column is multiplied with) where it is
 * known, times something that grows with |x|: large weights matter more than their share, as they
 * are where the model has put what it knows.
 *
 * Plain C, sums in four fixed lanes: the same bytes on every machine and any number of threads. */
#include <math.h>
#include <string.h>

#include "base/base_internal.h"
#include "tensor/block_internal.h"
#include "tensor/float16_internal.h"

enum { GROUP_MAX = 32, LANES = 4 };

/* What may be stored. */
typedef struct quant_range {
    float lo, hi;             /* of a code less its bias */
    int scale_lo, scale_hi;   /* integers of a k-quant's scale; both 0: an f16 */
    bool has_min, signed_min; /* x = s * q - m; may m be negative? */
} quant_range;

static bool range_of(tfm_dtype t, quant_range *r) {
    switch (t) {
    case TFM_Q4_0: *r = (quant_range){-8, 7, 0, 0, false, false}; return true;
    case TFM_Q4_1: *r = (quant_range){0, 15, 0, 0, true, true}; return true;
    case TFM_Q5_0: *r = (quant_range){-16, 15, 0, 0, false, false}; return true;
    case TFM_Q5_1: *r = (quant_range){0, 31, 0, 0, true, true}; return true;
    case TFM_IQ4_NL: /* quant_table.c */
    case TFM_IQ4_XS:
    case TFM_MXFP4: *r = (quant_range){0}; return true;
    case TFM_Q2_K: *r = (quant_range){0, 3, 0, 15, true, false}; return true;
    case TFM_Q3_K: *r = (quant_range){-4, 3, -32, 31, false, false}; return true;
    case TFM_Q4_K: *r = (quant_range){0, 15, 0, 63, true, false}; return true;
    case TFM_Q5_K: *r = (quant_range){0, 31, 0, 63, true, false}; return true;
    case TFM_Q6_K: *r = (quant_range){-32, 31, -128, 127, false, false}; return true;
    default: return false;
    }
}

/* ---- one group ---- */

typedef struct group {
    const float *x, *w; /* [n] */
    unsigned n;         /* 16 or 32 */
} group;

typedef struct fit {
    float s, m;
    float error;
} fit;

/* q[i] = the nearest integer to (x[i] + m) * inverse, within [lo, hi]. Adding and taking off 1.5 *
 * 2^23 rounds; the clamp before it keeps the sum in range. */
static inline void round_codes(const group *g, float inverse, float m, const quant_range *r,
                               float *q) {
    const float lo = r->lo, hi = r->hi;
    for (unsigned i = 0; i < g->n; i++) {
        float v = (g->x[i] + m) * inverse;
        v = v < lo ? lo : v;
        v = v > hi ? hi : v;
        q[i] = (v + 0x1.8p23f) - 0x1.8p23f;
    }
}

static inline float sum_lanes(const float *a) {
    return (a[0] + a[1]) + (a[2] + a[3]);
}

static inline float error_of(const group *g, const float *q, float s, float m) {
    float a[LANES] = {0};
    for (unsigned i = 0; i < g->n; i += LANES)
        for (unsigned j = 0; j < LANES; j++) {
            const float e = s * q[i + j] - m - g->x[i + j];
            a[j] += g->w[i + j] * e * e;
        }
    return sum_lanes(a);
}

/* The best s for these q without a minimum. */
static inline float fit_scale(const group *g, const float *q) {
    float xq[LANES] = {0}, qq[LANES] = {0};
    for (unsigned i = 0; i < g->n; i += LANES)
        for (unsigned j = 0; j < LANES; j++) {
            const float wq = g->w[i + j] * q[i + j];
            xq[j] += wq * g->x[i + j];
            qq[j] += wq * q[i + j];
        }
    const float d = sum_lanes(qq);
    return d > 0.0f ? sum_lanes(xq) / d : 0.0f;
}

/* The best s and m for these q: two normal equations. */
static inline void fit_both(const group *g, const float *q, bool signed_min, float *s, float *m) {
    float w[LANES] = {0}, x[LANES] = {0}, k[LANES] = {0}, xq[LANES] = {0}, qq[LANES] = {0};
    for (unsigned i = 0; i < g->n; i += LANES)
        for (unsigned j = 0; j < LANES; j++) {
            const float wi = g->w[i + j], wq = wi * q[i + j];
            w[j] += wi;
            x[j] += wi * g->x[i + j];
            k[j] += wq;
            xq[j] += wq * g->x[i + j];
            qq[j] += wq * q[i + j];
        }
    const double sw = (double)sum_lanes(w), sx = (double)sum_lanes(x), sq = (double)sum_lanes(k);
    const double sxq = (double)sum_lanes(xq), sqq = (double)sum_lanes(qq);
    const double det = sw * sqq - sq * sq;
    *m = -1.0f;
    if (det > 0.0) {
        *s = (float)((sw * sxq - sx * sq) / det);
        *m = (float)((sq * sxq - sqq * sx) / det);
    }
    if (det > 0.0 && (signed_min || *m >= 0.0f)) return;
    *m = 0.0f;
    *s = fit_scale(g, q);
}

/* Fits the codes in q, and keeps the fit if it is better. */
static inline void try_codes(const group *g, const float *q, const quant_range *r, fit *best) {
    fit f = {0};
    if (r->has_min)
        fit_both(g, q, r->signed_min, &f.s, &f.m);
    else
        f.s = fit_scale(g, q);
    f.error = error_of(g, q, f.s, f.m);
    if (f.error < best->error) *best = f;
}

static inline void refine(const group *g, const quant_range *r, fit *best) {
    enum { TURNS = 4 };
    float q[GROUP_MAX];
    for (unsigned turn = 0; turn < TURNS && best->s != 0.0f; turn++) {
        const float before = best->error;
        round_codes(g, 1.0f / best->s, best->m, r, q);
        try_codes(g, q, r, best);
        if (best->error >= before) return;
    }
}

/* Steps from a little finer to coarser than what just covers the group. */
static inline void search_min(const group *g, const quant_range *r, fit *best) {
    enum { GUESSES = 18 };
    float q[GROUP_MAX], low = g->x[0], high = g->x[0];
    for (unsigned i = 1; i < g->n; i++) {
        low = g->x[i] < low ? g->x[i] : low;
        high = g->x[i] > high ? g->x[i] : high;
    }
    if (!r->signed_min && low > 0.0f) low = 0.0f;
    *best = (fit){0.0f, low < 0.0f || r->signed_min ? -low : 0.0f, INFINITY};
    if (high <= low) return;
    for (int c = 0; c < GUESSES; c++) {
        const float step = (r->hi - 0.8f + 0.1f * (float)c) / (high - low);
        round_codes(g, step, -low, r, q);
        try_codes(g, q, r, best);
    }
}

/* The largest number in magnitude lies on the lowest or on the highest code, or a little beyond. */
static inline void search_symmetric(const group *g, const quant_range *r, fit *best) {
    enum { GUESSES = 8 };
    float q[GROUP_MAX], top = 0.0f;
    for (unsigned i = 0; i < g->n; i++)
        if (fabsf(g->x[i]) > fabsf(top)) top = g->x[i];
    *best = (fit){0.0f, 0.0f, INFINITY};
    if (fabsf(top) < 1e-30f) return; /* its reciprocal would not be finite */
    for (int side = 0; side < 2; side++)
        for (int c = -GUESSES; c <= GUESSES; c++) {
            const float code = (side ? r->hi : r->lo) + 0.125f * (float)c;
            if (fabsf(code) < 1.0f) continue;
            round_codes(g, code / top, 0.0f, r, q);
            try_codes(g, q, r, best);
        }
}

static inline void search(const group *g, const quant_range *r, fit *best) {
    if (r->has_min)
        search_min(g, r, best);
    else
        search_symmetric(g, r, best);
    refine(g, r, best);
}

/* The loops above are short and know their length after inlining. */
static fit search_group(const float *x, const float *w, unsigned n, const quant_range *r) {
    fit best;
    if (n == 16) {
        const group g = {x, w, 16};
        search(&g, r, &best);
    } else {
        const group g = {x, w, 32};
        search(&g, r, &best);
    }
    return best;
}

/* ---- types with an f16 scale for each group ---- */

static void put_f16(uint8_t *p, float v) {
    const uint16_t h = tfm_inline_f32_to_f16(v);
    p[0] = (uint8_t)(h & 0xff);
    p[1] = (uint8_t)(h >> 8);
}

static float as_f16(float v) {
    return tfm_inline_f16_to_f32(tfm_inline_f32_to_f16(v));
}

/* A reciprocal that is finite: of a scale too small for one the codes do not matter. */
static float reciprocal(float s) {
    const float r = s != 0.0f ? 1.0f / s : 0.0f;
    return isfinite(r) ? r : 0.0f;
}

static void put_codes(tfm_dtype t, uint8_t *block, const float *q) {
    uint8_t codes[TFM_BLOCK_MAX];
    const unsigned bias = tfm_block_form_of(t)->bias;
    for (uint32_t i = 0; i < tfm_dtype_block(t); i++) codes[i] = (uint8_t)((int)q[i] + (int)bias);
    tfm_block_put_codes(t, block, codes);
}

static void encode_simple(tfm_dtype t, const float *x, const float *w, const quant_range *r,
                          uint8_t *block) {
    const tfm_block_form *form = tfm_block_form_of(t);
    const group g = {x, w, 32};
    float q[32];
    const fit f = search_group(x, w, 32, r);
    const float s = as_f16(f.s), m = as_f16(f.m);
    round_codes(&g, reciprocal(s), m, r, q);
    put_f16(block + form->d_at, s);
    if (r->has_min) put_f16(block + form->m_at, -m); /* these types add it */
    put_codes(t, block, q);
}

/* ---- k-quants ---- */

typedef struct super {
    const float *x, *w; /* [256] */
    unsigned group;     /* 16 or 32 */
    float want_s[16], want_m[16];
    float d, dmin;    /* as f16 hold them */
    int s[16], m[16]; /* the integers of each group */
    float q[256];
    double error;
} super;

static int nearest(float v, int lo, int hi) {
    if (!(v > (float)lo)) return lo;
    if (v >= (float)hi) return hi;
    return (int)((v + 0x1.8p23f) - 0x1.8p23f);
}

/* The integers around the best real ones, of which the group's error is least. */
static float choose_group(super *b, unsigned k, const quant_range *r) {
    const unsigned n = b->group;
    const group g = {b->x + k * n, b->w + k * n, n};
    const int s0 = nearest(b->want_s[k] * reciprocal(b->d), r->scale_lo, r->scale_hi);
    const int m0 = r->has_min ? nearest(b->want_m[k] * reciprocal(b->dmin), 0, r->scale_hi) : 0;
    float best = INFINITY, q[GROUP_MAX];
    for (int s = s0 - 1; s <= s0 + 1; s++)
        for (int m = m0 - 1; m <= m0 + 1; m++) {
            if (s < r->scale_lo || s > r->scale_hi || m < 0 || m > r->scale_hi) continue;
            if (!r->has_min && m != 0) continue;
            const float scale = b->d * (float)s, min = b->dmin * (float)m;
            round_codes(&g, reciprocal(scale), min, r, q);
            const float e = error_of(&g, q, scale, min);
            if (!(e < best)) continue;
            best = e;
            b->s[k] = s;
            b->m[k] = m;
            memcpy(b->q + k * n, q, n * sizeof *q);
        }
    return best;
}

static void choose(super *b, const quant_range *r) {
    b->error = 0.0;
    for (unsigned k = 0; k < 256 / b->group; k++) b->error += (double)choose_group(b, k, r);
}

/* The best d and dmin for the integers chosen: sum of w * (d * s * q - dmin * m - x)^2. */
static void fit_super(super *b) {
    double a = 0, c = 0, e = 0, x = 0, y = 0;
    for (unsigned i = 0; i < 256; i++) {
        const double w = (double)b->w[i], v = (double)b->x[i];
        const uint32_t g = i / b->group;
        const double sq = (double)b->s[g] * (double)b->q[i];
        const double m = (double)b->m[g];
        a += w * sq * sq;
        c += w * sq * m;
        e += w * m * m;
        x += w * sq * v;
        y += w * m * v;
    }
    const double det = a * e - c * c;
    if (det > 1e-9 * a * e && e > 0.0) {
        b->d = as_f16((float)((x * e - c * y) / det));
        b->dmin = as_f16((float)((c * x - a * y) / det));
    } else if (a > 0.0) {
        b->d = as_f16((float)(x / a));
    }
}

static void first_steps(super *b, const quant_range *r) {
    float top_s = 0.0f, top_m = 0.0f;
    for (unsigned k = 0; k < 256 / b->group; k++) {
        const fit f = search_group(b->x + k * b->group, b->w + k * b->group, b->group, r);
        b->want_s[k] = f.s;
        b->want_m[k] = f.m;
        if (fabsf(f.s) > fabsf(top_s)) top_s = f.s;
        if (f.m > top_m) top_m = f.m;
    }
    /* Symmetric scales reach one further below zero: the largest takes that end. */
    b->d = as_f16(top_s / (float)(r->has_min ? r->scale_hi : r->scale_lo));
    b->dmin = as_f16(top_m / (float)r->scale_hi);
}

static void encode_super(tfm_dtype t, const float *x, const float *w, const quant_range *r,
                         uint8_t *block) {
    enum { TURNS = 3 };
    const tfm_block_form *form = tfm_block_form_of(t);
    super b = {.x = x, .w = w, .group = form->group}, next;
    first_steps(&b, r);
    choose(&b, r);
    for (unsigned turn = 0; turn < TURNS; turn++) {
        next = b;
        fit_super(&next);
        if (next.d == b.d && next.dmin == b.dmin) break;
        choose(&next, r);
        if (!(next.error < b.error) || next.dmin < 0.0f) break;
        b = next;
    }
    put_f16(block + form->d_at, b.d);
    if (r->has_min) put_f16(block + form->m_at, b.dmin);
    tfm_kquant_put_scales(t, block + form->scales_at, b.s, b.m);
    put_codes(t, block, b.q);
}

/* ---- rows ---- */

/* Squares of weights and sums of them stay finite, and so does a scale as f16. */
static tfm_status check_row(tfm_dtype t, const float *x, uint32_t k, uint64_t at, tfm_error *err) {
    for (uint32_t i = 0; i < k; i++) {
        if (!isfinite(x[i]))
            return tfm_fail(err, TFM_FORMAT, "element %llu is not finite: %s cannot hold it",
                            (unsigned long long)(at + i), tfm_dtype_name(t));
        if (fabsf(x[i]) > 65504.0f)
            return tfm_fail(err, TFM_LIMIT, "element %llu (%g) is too large for %s",
                            (unsigned long long)(at + i), (double)x[i], tfm_dtype_name(t));
    }
    return TFM_OK;
}

/* w = importance * (root mean square of the block + |x|), in units in which x is about 1. */
static void make_weights(const float *x, const float *importance, uint32_t n, float *w) {
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    const float rms = (float)sqrt(sum / (double)n), unit = reciprocal(rms);
    for (uint32_t i = 0; i < n; i++) {
        w[i] = 1.0f + fabsf(x[i]) * unit;
        if (importance) w[i] *= importance[i];
    }
}

bool tfm_can_quantise(tfm_dtype t) {
    quant_range r;
    return range_of(t, &r);
}

tfm_status tfm_quantise(tfm_dtype t, const float *src, uint64_t n_rows, uint32_t k,
                        const float *importance, void *dst, tfm_error *err) {
    const uint32_t block = tfm_dtype_block(t), bytes = tfm_dtype_block_bytes(t);
    quant_range r;
    uint8_t *p = dst;
    float w[TFM_BLOCK_MAX];
    if (!range_of(t, &r))
        return tfm_fail(err, TFM_UNSUPPORTED, "no search for %s", tfm_dtype_name(t));
    if (k % block != 0)
        return tfm_fail(err, TFM_FORMAT, "%u columns are not whole %s blocks of %u", k,
                        tfm_dtype_name(t), block);
    for (uint64_t row = 0; row < n_rows; row++) {
        const float *x = src + row * k;
        TFM_TRY(check_row(t, x, k, row * k, err));
        for (uint32_t at = 0; at < k; at += block, p += bytes) {
            make_weights(x + at, importance ? importance + at : NULL, block, w);
            memset(p, 0, bytes);
            if (tfm_block_form_of(t)->values)
                tfm_block_encode_values(t, x + at, w, p);
            else if (r.scale_hi)
                encode_super(t, x + at, w, &r, p);
            else
                encode_simple(t, x + at, w, &r, p);
        }
    }
    return TFM_OK;
}
