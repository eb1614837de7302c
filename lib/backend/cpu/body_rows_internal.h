/* body_rows_internal.h - norms, element-wise steps and rope: work on one row, in place if asked. */

enum { ROW_AHEAD = 512 }; /* numbers: values of many rows come from L3 */

INLINE vf elementwise_v(const tfm_step *s, vf a, vf b) {
    switch (s->op) {
    case TFM_OP_ACTIVATION: return activation_v(s->u.activation, a);
    case TFM_OP_MULTIPLY: return a * b;
    case TFM_OP_ADD: return a + b;
    case TFM_OP_SCALE: return a * s->u.scale.by;
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
    for (; i + LANES <= n; i += LANES) {
        __builtin_prefetch(a + i + ROW_AHEAD);
        __builtin_prefetch(b + i + ROW_AHEAD);
        store(out + i, elementwise_v(s, load(a + i), load(b + i)));
    }
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

/* (a, b) -> (a cos - b sin, a sin + b cos), one number each. */
INLINE void turn(vf *a, vf *b, vf cosine, vf sine) {
    const vf x = *a;
    *a = madd(x, cosine, -(*b * sine));
    *b = madd(x, sine, *b * cosine);
}

/* The same for pair i of a head. */
INLINE void turn_one(float *out, const float *x, size_t at, size_t other, float cosine,
                     float sine) {
    const float a = x[at], b = x[other];
    out[at] = madd_one(a, cosine, -(b * sine));
    out[other] = madd_one(a, sine, b * cosine);
}

INLINE void turn_halves(const float *cosine, const float *sine, size_t half, const float *x,
                        float *out) {
    size_t i = 0;
    for (; i + LANES <= half; i += LANES) {
        vf a = load(x + i), b = load(x + half + i);
        turn(&a, &b, load(cosine + i), load(sine + i));
        store(out + i, a);
        store(out + half + i, b);
    }
    for (; i < half; i++) turn_one(out, x, i, half + i, cosine[i], sine[i]);
}

#if LANES == 4
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#define ZIP_LOW 0, 4, 1, 5
#define ZIP_HIGH 2, 6, 3, 7
#elif LANES == 8
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#define ZIP_LOW 0, 8, 1, 9, 2, 10, 3, 11
#define ZIP_HIGH 4, 12, 5, 13, 6, 14, 7, 15
#else
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#define ZIP_LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define ZIP_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#endif

INLINE void turn_neighbours(const float *cosine, const float *sine, size_t half, const float *x,
                            float *out) {
    size_t i = 0;
    for (; i + LANES <= half; i += LANES) {
        const vf low = load(x + 2 * i), high = load(x + 2 * i + LANES);
        vf a = __builtin_shufflevector(low, high, EVEN);
        vf b = __builtin_shufflevector(low, high, ODD);
        turn(&a, &b, load(cosine + i), load(sine + i));
        store(out + 2 * i, __builtin_shufflevector(a, b, ZIP_LOW));
        store(out + 2 * i + LANES, __builtin_shufflevector(a, b, ZIP_HIGH));
    }
    for (; i < half; i++) turn_one(out, x, 2 * i, 2 * i + 1, cosine[i], sine[i]);
}

KERNEL static void rope(const tfm_step *s, const float *cos_sin, const float *x, float *out) {
    const size_t half = s->u.rope.rot / 2, dim = s->u.rope.head_dim, first = s->u.rope.first;
    const size_t end = first + 2 * half;
    const float *sine = cos_sin + half;
    for (uint32_t h = 0; h < s->u.rope.heads; h++, x += dim, out += dim) {
        if (s->u.rope.mode == TFM_ROPE_NEOX)
            turn_halves(cos_sin, sine, half, x + first, out + first);
        else
            turn_neighbours(cos_sin, sine, half, x + first, out + first);
        if (out != x) {
            memcpy(out, x, first * sizeof *x);
            memcpy(out + end, x + end, (dim - end) * sizeof *x);
        }
    }
}
