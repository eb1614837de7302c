/* body_math_internal.h - exp, tanh, erf and the activations on vectors of f32.
 *
 * With u = 2^-24: relative error of exp <= 3 u, of tanh <= 4 u, absolute error of erf <= 3 u
 * (measured by tests/unit/test_ops_math.c). Only + - * / and bit operations: the same bits
 * everywhere. */

static const float EXP_LOWEST = -87.33654f; /* below: 0, so that no subnormal arises */
static const float EXP_HIGHEST = 88.72283f; /* above: infinity */

/* x = n ln2 + r, |r| <= ln2 / 2; n is a whole number as a float. ln 2 in two pieces, the first so
 * short that n times it is exact. Adding 1.5 * 2^23 and taking it off rounds to nearest even. */
INLINE vf reduce(vf x, vf *n) {
    *n = madd(x, splat(0x1.715476p+0f), splat(0x1.8p23f)) - 0x1.8p23f;
    return madd(*n, splat(-0x1.0bfbe8p-15f), madd(*n, splat(-0x1.62ep-1f), x));
}

/* e^r - 1 for |r| <= 0.35: Taylor to r^7/7!; the next term is 5e-9 of 1. */
INLINE vf expm1_small(vf r) {
    vf p = madd(r, splat(1.0f / 5040.0f), splat(1.0f / 720.0f));
    p = madd(p, r, splat(1.0f / 120.0f));
    p = madd(p, r, splat(1.0f / 24.0f));
    p = madd(p, r, splat(1.0f / 6.0f));
    p = madd(p, r, splat(0.5f));
    return madd(r * r, p, r);
}

/* e^r for |r| <= ln2 / 2. With fma: 1 + r (1 + r P(r)), P fitted to 1e-8 = 0.2 u
 * (mpmath.chebyfit). */
INLINE vf exp_small(vf r) {
#if defined(FMA)
    vf p = madd(r, splat(0x1.6d113cp-10f), splat(0x1.120ba2p-7f));
    p = madd(p, r, splat(0x1.55551ap-5f));
    p = madd(p, r, splat(0x1.5554dcp-3f));
    p = madd(p, r, splat(0.5f));
    p = madd(p, r, splat(1.0f));
    return madd(p, r, splat(1.0f));
#else
    return 1.0f + expm1_small(r);
#endif
}

/* 2^n for whole -126 <= n <= 127 */
INLINE vf power_of_two(vi n) {
    return (vf)((vu)(n + 127) << 23);
}

/* e^x for x that is not above EXP_HIGHEST, or NaN. SCALE puts the exponent in and cuts what is
 * below EXP_LOWEST; without it n, which reaches 128, is put in as two factors, both exact. */
INLINE vf exp_fall(vf x) {
    vf n;
#if defined(SCALE)
    const vf p = exp_small(reduce(x, &n));
    return (vf)SCALE(x, EXP_LOWEST, p, n);
#else
    const vf p = exp_small(reduce(pick(x < EXP_LOWEST, splat(EXP_LOWEST), x), &n));
    const vi i = (vi)((vu)(n + 0x1.8p23f) - 0x4b400000u); /* for a NaN any i will do */
    const vi half = i >> 1;
    return pick(x < EXP_LOWEST, splat(0.0f), p * power_of_two(half) * power_of_two(i - half));
#endif
}

INLINE vf exp_v(vf x) {
    const vf y = exp_fall(pick(x > EXP_HIGHEST, splat(EXP_HIGHEST), x)); /* NaN passes */
    return pick(x > EXP_HIGHEST, splat(INFINITY), y);
}

/* tanh |x| = e / (e + 2) with e = e^2|x| - 1 = 2^n (e^r - 1) + (2^n - 1), no cancellation. */
INLINE vf tanh_v(vf x) {
    const vu sign = (vu)x & 0x80000000u;
    vf n, a = (vf)((vu)x & 0x7fffffffu);
    a = pick(a > 10.0f, splat(10.0f), a); /* tanh(10) is 1 in f32 */
    const vf r = reduce(a + a, &n);
    const vf two_n = power_of_two((vi)((vu)(n + 0x1.8p23f) - 0x4b400000u));
    const vf e = madd(two_n, expm1_small(r), two_n - 1.0f);
    return (vf)((vu)(e / (e + 2.0f)) | sign);
}

/* |x| < 1: x P(x^2); else 1 - e^(-x^2) Q(1 / (1 + x/2)). P and Q are Chebyshev fits of erf(x)/x on
 * [0, 1] (1.2e-9) and of e^(x^2) erfc(x) on [1, 4] (1.2e-10), made with mpmath.chebyfit. */
INLINE vf erf_v(vf x) {
    const vu sign = (vu)x & 0x80000000u;
    vf a = (vf)((vu)x & 0x7fffffffu);
    a = pick(a > 4.0f, splat(4.0f), a); /* 1 - erf(4) = 1.5e-8 */
    const vf a2 = a * a;
    vf p = madd(a2, splat(7.87587487e-5f), splat(-8.0168643e-4f));
    p = madd(p, a2, splat(5.18908724e-3f));
    p = madd(p, a2, splat(-2.68542115e-2f));
    p = madd(p, a2, splat(0.112835944f));
    p = madd(p, a2, splat(-0.37612626f));
    p = madd(p, a2, splat(1.12837911f)) * a;
    const vf t = 1.0f / madd(a, splat(0.5f), splat(1.0f));
    vf q = madd(t, splat(0.120852433f), splat(-0.476525277f));
    q = madd(q, t, splat(0.571265161f));
    q = madd(q, t, splat(-0.110208295f));
    q = madd(q, t, splat(0.35103032f));
    q = madd(q, t, splat(0.258751363f));
    q = madd(q, t, splat(0.285061628f));
    q = madd(q, t, splat(-1.64236393e-4f));
    q = 1.0f - exp_v(-a2) * q;
    return (vf)((vu)pick(a < 1.0f, p, q) | sign);
}

INLINE vf activation_v(tfm_activation kind, vf x) {
    const vi positive = ~(x <= 0.0f); /* NaN counts, and so comes through */
    switch (kind) {
    case TFM_ACT_SILU: return x / (1.0f + exp_v(-x));
    case TFM_ACT_GELU: return 0.5f * x * (1.0f + erf_v(x * 0.707106781f));
    case TFM_ACT_GELU_TANH: /* sqrt(2/pi) */
        return 0.5f * x * (1.0f + tanh_v(0.797884561f * (x + 0.044715f * x * x * x)));
    case TFM_ACT_GELU_QUICK: return x / (1.0f + exp_v(-1.702f * x));
    case TFM_ACT_RELU: return pick(positive, x, splat(0.0f));
    case TFM_ACT_RELU2: return pick(positive, x * x, splat(0.0f));
    case TFM_ACT_TANH: return tanh_v(x);
    case TFM_ACT_SIGMOID: return 1.0f / (1.0f + exp_v(-x));
    case TFM_ACT_ELU: return pick(positive, x, exp_v(x) - 1.0f);
    }
    return x;
}
