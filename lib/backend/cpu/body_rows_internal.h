/* body_rows_internal.h - norms, element-wise steps and rope: work on one row, in place if asked. */

INLINE vf elementwise_v(const tfm_step *s, vf a, vf b) {
    switch (s->op) {
    case TFM_OP_ACTIVATION: return activation_v(s->u.activation, a);
    case TFM_OP_MULTIPLY: return a * b;
    case TFM_OP_ADD: return a + b;
    case TFM_OP_SCALE: return a * s->u.scale;
    case TFM_OP_CLIP:
        a = pick(a < s->u.clip.lo, splat(s->u.clip.lo), a);
        return pick(a > s->u.clip.hi, splat(s->u.clip.hi), a);
    default: /* TFM_OP_SOFTCAP */ return s->u.softcap * tanh_v(a / s->u.softcap);
    }
}

/* A vector whose first n lanes are p's numbers, the others 0. */
INLINE vf load_some(const float *p, size_t n) {
    float t[LANES] = {0};
    memcpy(t, p, n * sizeof *p);
    return load(t);
}

INLINE void store_some(float *p, vf v, size_t n) {
    float t[LANES];
    store(t, v);
    memcpy(p, t, n * sizeof *p);
}

KERNEL static void elementwise(const tfm_step *s, size_t n, const float *a, const float *b,
                               float *out) {
    size_t i = 0;
    if (b == NULL) b = a;
    for (; i + LANES <= n; i += LANES) store(out + i, elementwise_v(s, load(a + i), load(b + i)));
    if (i == n) return;
    store_some(out + i, elementwise_v(s, load_some(a + i, n - i), load_some(b + i, n - i)), n - i);
}

KERNEL static void exp_all(size_t n, const float *x, float *out) {
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) store(out + i, exp_v(load(x + i)));
    if (i < n) store_some(out + i, exp_v(load_some(x + i, n - i)), n - i);
}

/* Sum of (x - mean)^2, or of x when `plain`: element i goes to lane i % 16 of accumulator
 * i / 16 % 4; the accumulators join as (0 + 1) + (2 + 3), the lanes in tree_sum; every
 * TFM_NORM_CHUNK numbers are a partial, added ascending. Missing numbers of the last group of 64
 * add an exact 0. */
INLINE float row_sum(const float *x, size_t n, float mean, bool plain) {
    float total = 0.0f;
    for (size_t from = 0; from < n; from += TFM_NORM_CHUNK) {
        const size_t end = n - from < TFM_NORM_CHUNK ? n : from + TFM_NORM_CHUNK;
        vf acc[4][NV];
        float lane[TFM_PANEL];
        UNROLL for (int a = 0; a < 4; a++) {
            UNROLL for (int v = 0; v < NV; v++) acc[a][v] = splat(0.0f);
        }
        for (size_t i = from; i < end; i += 4 * TFM_PANEL) {
            float padded[4 * TFM_PANEL];
            const float *p = x + i;
            if (end - i < 4 * TFM_PANEL) {
                for (size_t j = 0; j < 4 * TFM_PANEL; j++) {
                    padded[j] = j < end - i ? p[j] : plain ? 0.0f : mean;
                }
                p = padded;
            }
            UNROLL for (int a = 0; a < 4; a++) {
                UNROLL for (int v = 0; v < NV; v++) {
                    const vf y = load(p + a * TFM_PANEL + v * LANES);
                    const vf d = y - mean;
                    acc[a][v] = plain ? acc[a][v] + y : madd(d, d, acc[a][v]);
                }
            }
        }
        UNROLL for (int v = 0; v < NV; v++) {
            store(lane + v * LANES, (acc[0][v] + acc[1][v]) + (acc[2][v] + acc[3][v]));
        }
        total = total + tree_sum(lane);
    }
    return total;
}

/* rms: ((x * s) * w) + b with s = 1 / sqrt(sum(x^2) / n + eps); layer: x - mean in place of x. */
INLINE vf norm_v(vf x, float mean, float s, const float *w, const float *b, size_t lanes) {
    vf y = (x - mean) * s;
    if (w != NULL) y = y * (lanes == LANES ? load(w) : load_some(w, lanes));
    if (b != NULL) y = y + (lanes == LANES ? load(b) : load_some(b, lanes));
    return y;
}

KERNEL static void norm(const tfm_cpu_norm *a, const float *x, float *out) {
    const size_t n = a->n;
    for (uint32_t g = 0; g < a->groups; g++, x += n, out += n) {
        const float *w = a->w != NULL ? a->w + (size_t)g * a->w_step : NULL;
        const float *b = a->b != NULL ? a->b + (size_t)g * a->b_step : NULL;
        const float mean = a->kind == TFM_NORM_LAYER ? row_sum(x, n, 0.0f, true) / (float)n : 0.0f;
        const float s = 1.0f / sqrtf(row_sum(x, n, mean, false) / (float)n + a->eps);
        size_t i = 0;
        for (; i + LANES <= n; i += LANES) {
            const vf y = norm_v(load(x + i), mean, s, w != NULL ? w + i : NULL,
                                b != NULL ? b + i : NULL, LANES);
            store(out + i, y);
        }
        if (i == n) continue;
        const vf y = norm_v(load_some(x + i, n - i), mean, s, w != NULL ? w + i : NULL,
                            b != NULL ? b + i : NULL, n - i);
        store_some(out + i, y, n - i);
    }
}

/* (a, b) -> (a cos - b sin, a sin + b cos) */
KERNEL static void rope(const tfm_step *s, const float *cos_sin, const float *x, float *out) {
    const uint32_t half = s->u.rope.rot / 2;
    const bool neox = s->u.rope.mode == TFM_ROPE_NEOX;
    for (uint32_t i = 0; i < half; i++) {
        const uint32_t i0 = neox ? i : 2 * i, i1 = neox ? i + half : 2 * i + 1;
        const float a = x[i0], b = x[i1], c = cos_sin[2 * i], d = cos_sin[2 * i + 1];
        out[i0] = madd_one(a, c, -(b * d));
        out[i1] = madd_one(a, d, b * c);
    }
    if (out != x) {
        const size_t rest = s->u.rope.head_dim - 2 * half;
        memcpy(out + 2 * half, x + 2 * half, rest * sizeof *x);
    }
}
