/* quant_table.c - f32 to blocks whose codes number a table of values: iq4_nl, iq4_xs, mxfp4.
 *
 * Owns the choice of scales and codes of one block. Weights and checks are quant_search.c's,
 * the tables block.c's.
 *
 * iq4_nl: values are not evenly spaced, so rounding is a search among the 15 middles between
 * neighbours; else as in quant_search.c: several first guesses of the step, each fitted once by
 * least squares, and a few turns of rounding and fitting of the best.
 *
 * iq4_xs: the same for each of its 8 groups; then their scales become small integers times d (f16),
 * of which the neighbours are tried, and d is fitted to all 256 numbers.
 *
 * mxfp4: the scale is a power of two, so there is nothing to fit: the one at which the largest
 * number falls into the topmost binade (the OCP Microscaling specification) and its neighbours are
 * tried. Halves go to the even code, as that specification has it.
 *
 * Plain C in a fixed order: the same bytes on every machine. */
#include <math.h>
#include <string.h>

#include "base/base_internal.h"
#include "tensor/block_internal.h"
#include "tensor/float16_internal.h"

enum { N = 32, GROUPS = 8, LANES = 4 };

typedef struct table_fit {
    float d, error;
    uint8_t codes[N];
} table_fit;

/* codes[i] = the number of the value nearest to x[i] * inverse; the lower one of two. Middle after
 * middle for all of the block at once: compilers make vectors of that. */
static void nearest_iq4(const float *x, float inverse, uint8_t *codes) {
    float v[N];
    int32_t code[N] = {0};
    for (unsigned i = 0; i < N; i++) v[i] = x[i] * inverse;
    for (unsigned k = 0; k + 1 < 16; k++) {
        const float middle = 0.5f * (float)(tfm_iq4_values[k] + tfm_iq4_values[k + 1]);
        for (unsigned i = 0; i < N; i++) code[i] += v[i] > middle;
    }
    for (unsigned i = 0; i < N; i++) codes[i] = (uint8_t)code[i];
}

/* The same for the doubled values of mxfp4. A zero keeps no sign. */
static void nearest_fp4(const float *x, float inverse, uint8_t *codes) {
    for (unsigned i = 0; i < N; i++) {
        const float v = fabsf(x[i]) * inverse;
        const int size = (v > 0.5f) + (v >= 1.5f) + (v > 2.5f) + (v >= 3.5f) + (v > 5.0f) +
                         (v >= 7.0f) + (v > 10.0f);
        codes[i] = (uint8_t)(x[i] < 0.0f && size > 0 ? size + 8 : size);
    }
}

static float sum_lanes(const float *a) {
    return (a[0] + a[1]) + (a[2] + a[3]);
}

static float error_of(const int8_t *values, const uint8_t *codes, float d, const float *x,
                      const float *w) {
    float a[LANES] = {0};
    for (unsigned i = 0; i < N; i++) {
        const float e = d * (float)values[codes[i]] - x[i];
        a[i % LANES] += w[i] * e * e;
    }
    return sum_lanes(a);
}

/* The d of least error for these codes. */
static float fit_scale(const int8_t *values, const uint8_t *codes, const float *x, const float *w) {
    float xq[LANES] = {0}, qq[LANES] = {0};
    for (unsigned i = 0; i < N; i++) {
        const float q = (float)values[codes[i]], wq = w[i] * q;
        xq[i % LANES] += wq * x[i];
        qq[i % LANES] += wq * q;
    }
    const float all = sum_lanes(qq);
    return all > 0.0f ? sum_lanes(xq) / all : 0.0f;
}

/* Rounds by `inverse`, fits, and keeps what is better than the best. */
static void try_step(const float *x, const float *w, float inverse, table_fit *best) {
    table_fit f;
    nearest_iq4(x, inverse, f.codes);
    f.d = fit_scale(tfm_iq4_values, f.codes, x, w);
    f.error = error_of(tfm_iq4_values, f.codes, f.d, x, w);
    if (f.error < best->error) *best = f;
}

static float reciprocal(float d) {
    const float r = d != 0.0f ? 1.0f / d : 0.0f;
    return isfinite(r) ? r : 0.0f;
}

/* The number of largest magnitude, the first one of several. */
static float largest(const float *x) {
    float top = 0.0f;
    for (unsigned i = 0; i < N; i++)
        if (fabsf(x[i]) > fabsf(top)) top = x[i];
    return top;
}

/* The best scale of 32 numbers, as a float. */
static table_fit search_iq4(const float *x, const float *w) {
    enum { GUESSES = 7, TURNS = 4 };
    const float top = largest(x);
    table_fit best = {.error = INFINITY};
    /* The largest lies on the lowest or on the highest value, or a little beyond. */
    for (int side = 0; side < 2 && fabsf(top) >= 1e-30f; side++)
        for (int c = -GUESSES; c <= GUESSES; c++) {
            const float at = side ? tfm_iq4_values[15] : tfm_iq4_values[0];
            try_step(x, w, (at + 2.0f * (float)c) / top, &best);
        }
    for (unsigned turn = 0; turn < TURNS && best.d != 0.0f; turn++) {
        const float before = best.error;
        try_step(x, w, reciprocal(best.d), &best);
        if (best.error >= before) break;
    }
    return best;
}

/* d as f16 holds it, written to p. */
static float put_f16(uint8_t *p, float d) {
    const uint16_t h = tfm_inline_f32_to_f16(d);
    p[0] = (uint8_t)(h & 0xff);
    p[1] = (uint8_t)(h >> 8);
    return tfm_inline_f16_to_f32(h);
}

static void encode_iq4_nl(const float *x, const float *w, uint8_t *block) {
    table_fit best = search_iq4(x, w);
    nearest_iq4(x, reciprocal(put_f16(block, best.d)), best.codes);
    tfm_block_put_codes(TFM_IQ4_NL, block, best.codes);
}

/* The nearest integer that leaves a neighbour on both sides among the 6-bit scales. */
static int nearest_scale(float v) {
    if (!(v > -31.0f)) return -31;
    return v > 30.0f ? 30 : (int)((v + 0x1.8p23f) - 0x1.8p23f);
}

/* The integers around want[k] / d of which each group's error is least; codes: [256]. Returns the
 * best d for them. */
static float choose_scales(const float *x, const float *w, const float *want, float d, int *scale,
                           uint8_t *codes) {
    double xq = 0.0, qq = 0.0;
    for (unsigned k = 0; k < GROUPS; k++, x += N, w += N, codes += N) {
        const int s0 = nearest_scale(want[k] * reciprocal(d));
        float least = INFINITY;
        for (int s = s0 - 1; s <= s0 + 1; s++) {
            table_fit f = {.d = d * (float)s};
            nearest_iq4(x, reciprocal(f.d), f.codes);
            f.error = error_of(tfm_iq4_values, f.codes, f.d, x, w);
            if (!(f.error < least)) continue;
            least = f.error;
            scale[k] = s;
            memcpy(codes, f.codes, N);
        }
        for (unsigned i = 0; i < N; i++) {
            const double q = (double)(scale[k] * tfm_iq4_values[codes[i]]);
            xq += (double)w[i] * q * (double)x[i];
            qq += (double)w[i] * q * q;
        }
    }
    return qq > 0.0 ? (float)(xq / qq) : 0.0f;
}

static void encode_iq4_xs(const float *x, const float *w, uint8_t *block) {
    enum { TURNS = 2 };
    const tfm_block_form *form = tfm_block_form_of(TFM_IQ4_XS);
    uint8_t codes[GROUPS * N] = {0};
    float want[GROUPS], top = 0.0f;
    int scale[GROUPS] = {0};
    for (unsigned k = 0; k < GROUPS; k++) {
        want[k] = search_iq4(x + k * N, w + k * N).d;
        if (fabsf(want[k]) > fabsf(top)) top = want[k];
    }
    float d = put_f16(block + form->d_at, top / -32.0f); /* these reach one further below zero */
    for (unsigned turn = 0; turn < TURNS; turn++) {
        d = put_f16(block + form->d_at, choose_scales(x, w, want, d, scale, codes));
    }
    (void)choose_scales(x, w, want, d, scale, codes);
    tfm_kquant_put_scales(TFM_IQ4_XS, block + form->scales_at, scale, NULL);
    tfm_block_put_codes(TFM_IQ4_XS, block, codes);
}

static void encode_mxfp4(const float *x, const float *w, uint8_t *block) {
    const float top = fabsf(largest(x));
    table_fit best = {.error = INFINITY};
    int exponent = 0, chosen = 0;
    if (top > 0.0f) (void)frexpf(top, &exponent); /* top = 0.5 to 1 times 2^exponent */
    /* e2m1 reaches from 4 to 6 in its topmost binade; the byte's bias is 127 */
    const int first = top > 0.0f ? exponent - 1 - 2 + 127 : 0;
    for (int e = first - 1; e <= first + 1; e++) {
        if (e < 0 || e > 254) continue;
        table_fit f = {.d = tfm_e8m0_half((uint8_t)e)};
        nearest_fp4(x, reciprocal(f.d), f.codes);
        f.error = error_of(tfm_fp4_values, f.codes, f.d, x, w);
        if (!(f.error < best.error)) continue;
        best = f;
        chosen = e;
    }
    block[0] = (uint8_t)chosen;
    tfm_block_put_codes(TFM_MXFP4, block, best.codes);
}

void tfm_block_encode_values(tfm_dtype t, const float *x, const float *w, uint8_t *block) {
    if (t == TFM_MXFP4)
        encode_mxfp4(x, w, block);
    else if (t == TFM_IQ4_XS)
        encode_iq4_xs(x, w, block);
    else
        encode_iq4_nl(x, w, block);
}
