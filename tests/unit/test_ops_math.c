/* test_ops_math.c - what every CPU table computes of single numbers: exp, tanh and erf against long
 * double libm, rounding to a cache's type against the functions for one number.
 *
 * Errors are in units of u = 2^-24, the relative roundoff of f32; the bounds are those that
 * body_math_internal.h states. tanh is seen through ACT_TANH, erf through
 * gelu(x) = x/2 (1 + erf(x / sqrt 2)). */
#include <math.h>

#include "backend/cpu/kernel_internal.h"
#include "backend/plan_internal.h"
#include "unit.h"

enum { N = 1 << 20 };
static float x[N], y[N], z[N];

static double relative(float got, long double want) {
    return (double)fabsl(((long double)got - want) / want) * 0x1p24;
}

/* x[i]: both signs, magnitudes from lo to hi, evenly in the logarithm. */
static void fill(double lo, double hi) {
    for (int i = 0; i < N; i++) {
        x[i] = (float)(lo * pow(hi / lo, (double)(i / 2) / (N / 2)));
        if (i % 2) x[i] = -x[i];
    }
}

static void run(const tfm_cpu_kernels *k, tfm_activation kind, float *out) {
    const tfm_step s = {.op = TFM_OP_ACTIVATION, .u.activation = kind};
    k->elementwise(&s, N, x, NULL, out);
}

/* The numerics of this processor. */
static const tfm_cpu_kernels *tables[3];
static int n_tables;

static void find_tables(void) {
    const char *const names[] = {"generic", "avx2", "avx512"};
    for (int i = 0; i < 3; i++) {
        const tfm_cpu_kernels *k = tfm_cpu_kernels_find(names[i]);
        if (k != NULL) tables[n_tables++] = k;
    }
}

static void exponential_of(const tfm_cpu_kernels *k) {
    double worst = 0;
    fill(1e-9, 88.7);
    k->exp(N, x, y);
    for (int i = 0; i < N; i++) {
        if (x[i] < -87.33654f) continue;
        worst = fmax(worst, relative(y[i], expl((long double)x[i])));
    }
    printf("# %s: exp %.2f u relative\n", k->name, worst);
    CHECK(worst <= 3.0);
    const float edge[] = {0.0f,     -0.0f, -87.4f,   -INFINITY, 88.73f,
                          INFINITY, NAN,   88.7228f, -87.3365f};
    float out[9];
    k->exp(9, edge, out);
    CHECK(out[0] == 1.0f && out[1] == 1.0f);
    CHECK(out[2] == 0.0f && out[3] == 0.0f);
    CHECK(out[4] == INFINITY && out[5] == INFINITY && isnan(out[6]));
    CHECK(isfinite(out[7]) && out[8] >= 0x1p-126f);
}

static void exponential(void) {
    for (int i = 0; i < n_tables; i++) exponential_of(tables[i]);
}

static void tangent_of(const tfm_cpu_kernels *k) {
    double worst = 0;
    fill(1e-30, 20.0);
    run(k, TFM_ACT_TANH, y);
    for (int i = 0; i < N; i++) worst = fmax(worst, relative(y[i], tanhl((long double)x[i])));
    printf("# %s: tanh %.2f u relative\n", k->name, worst);
    CHECK(worst <= 4.0);
    x[0] = INFINITY, x[1] = -INFINITY, x[2] = NAN, x[3] = -0.0f;
    run(k, TFM_ACT_TANH, y);
    CHECK(y[0] == 1.0f && y[1] == -1.0f && isnan(y[2]) && y[3] == 0.0f && signbit(y[3]));
}

static void hyperbolic_tangent(void) {
    for (int i = 0; i < n_tables; i++) tangent_of(tables[i]);
}

static void error_function_of(const tfm_cpu_kernels *k) {
    double worst = 0;
    fill(1e-6, 8.0);
    run(k, TFM_ACT_GELU, y);
    for (int i = 0; i < N; i++) { /* gelu's 1 + erf and its product add 3 u */
        const long double a = (long double)x[i] * 0.70710678118654752440L;
        worst = fmax(worst, (double)fabsl(2.0L * y[i] / x[i] - 1.0L - erfl(a)) * 0x1p24);
    }
    printf("# %s: erf %.2f u absolute, with gelu's own roundings\n", k->name, worst);
    CHECK(worst <= 6.0);
}

static void error_function(void) {
    for (int i = 0; i < n_tables; i++) error_function_of(tables[i]);
}

/* The copy for 8 lanes gives the same bits for every kind. */
static void both_widths(void) {
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2")) {
        UNIT_SKIP("needs a processor with avx2");
        return;
    }
    for (int kind = TFM_ACT_SILU; kind <= TFM_ACT_ELU; kind++) {
        fill(1e-12, 130.0);
        run(&tfm_cpu_kernels_generic, (tfm_activation)kind, y);
        run(&tfm_cpu_kernels_generic_avx2, (tfm_activation)kind, z);
        CHECK(memcmp(y, z, sizeof y) == 0);
    }
#else
    UNIT_SKIP("only x86 has two widths");
#endif
}

/* ---- the cache ---- */

enum { DIM = 96, PANEL = 16 };
static unsigned char head[2][TFM_KV_PAGE * DIM * 4];

/* Number i of a row that is hard to round: ties, far apart magnitudes, and in some what q8_0 or f16
 * have no room for. */
static float hard(unsigned row, unsigned i) {
    const float sizes[] = {1.0f, 127.0f, 1e-3f, 3e4f, 6e-8f, 1e-9f, 1e9f, 254.0f};
    const float v = (float)((int)((row * 131 + i * 37) % 509) - 254) / 2.0f * sizes[row % 8];
    if (row == 17 && i == 5) return NAN;
    if (row == 18 && i == 70) return -INFINITY;
    return row == 19 ? 0.0f : v / 127.0f;
}

/* Rows of a page in panels of `panel` positions, by the kernel and number by number. */
static void stored_as(const tfm_cpu_kernels *k, tfm_dtype t, size_t panel) {
    float row[DIM];
    memset(head, 0x55, sizeof head);
    for (unsigned slot = 0; slot < TFM_KV_PAGE; slot++) {
        const size_t lane = slot % panel, first = slot / panel * panel;
        for (unsigned i = 0; i < DIM; i++) row[i] = hard(slot, i);
        k->attend_store(t, DIM, row, head[0], slot, panel);
        for (unsigned b = 0; t == TFM_Q8_0 && b < DIM / TFM_KV_BLOCK; b++) {
            int8_t q[TFM_KV_BLOCK];
            const uint16_t scale = tfm_kv_round_q8_0(row + b * TFM_KV_BLOCK, q);
            const size_t at = first * (DIM / TFM_KV_BLOCK) + b * panel + lane;
            memcpy(head[1] + TFM_KV_PAGE * DIM + 2 * at, &scale, 2);
            for (unsigned i = 0; i < TFM_KV_BLOCK; i++) {
                head[1][first * DIM + (b * TFM_KV_BLOCK + i) * panel + lane] = (unsigned char)q[i];
            }
        }
        for (unsigned i = 0; t == TFM_F16 && i < DIM; i++) {
            const uint16_t h = tfm_f32_to_f16(row[i]);
            memcpy(head[1] + 2 * (first * DIM + i * panel + lane), &h, 2);
        }
    }
    CHECK(memcmp(head[0], head[1], sizeof head[0]) == 0);
}

static void rounding_to_the_cache(void) {
    for (int i = 0; i < n_tables; i++) {
        for (int p = 0; p < 2; p++) {
            stored_as(tables[i], TFM_F16, p ? PANEL : 1);
            stored_as(tables[i], TFM_Q8_0, p ? PANEL : 1);
        }
    }
    stored_as(&tfm_cpu_kernels_generic, TFM_Q8_0, PANEL);
}

int main(void) {
    find_tables();
    UNIT_RUN(exponential);
    UNIT_RUN(hyperbolic_tangent);
    UNIT_RUN(error_function);
    UNIT_RUN(both_widths);
    UNIT_RUN(rounding_to_the_cache);
    return unit_done();
}
