/* test_math.c - the library's own elementary functions against long double libm.
 *
 * The bounds are those that math_internal.h states; each is checked on a dense sweep, near its
 * reductions' seams and at its special values. */
#include <math.h>
#include <stdint.h>

#include "backend/math_internal.h"
#include "unit.h"

static double worst(double a, double b) {
    return a > b ? a : b;
}

static double relative(double got, long double want) {
    if (want == 0.0L) return got == 0.0 ? 0.0 : 1.0;
    return (double)fabsl(((long double)got - want) / want);
}

static void exponentials(void) {
    double e = 0, m = 0, t = 0;
    for (int i = -2000000; i <= 2000000; i += 7) {
        const double x = (double)i * 3.5e-4;
        e = worst(e, relative(tfm_exp(x), expl((long double)x)));
        const double y = (double)i * 1e-5;
        m = worst(m, relative(tfm_expm1(y), expm1l((long double)y)));
        t = worst(t, relative(tfm_tanh(y), tanhl((long double)y)));
    }
    for (double x = 1e-300; x < 1e-3; x *= 1.7) {
        t = worst(t, relative(tfm_tanh(x), tanhl((long double)x)));
    }
    CHECK(e <= 4e-16);
    CHECK(m <= 1e-15);
    CHECK(t <= 2e-15);
    CHECK(tfm_exp(0.0) == 1.0);
    CHECK(tfm_exp(-INFINITY) == 0.0 && tfm_exp(INFINITY) == INFINITY && isnan(tfm_exp(NAN)));
    CHECK(tfm_exp(-745.0) == 0x1p-1074 && tfm_exp(-746.0) == 0.0);
    CHECK(isfinite(tfm_exp(709.78)) && tfm_exp(710.0) == INFINITY);
    CHECK(tfm_tanh(INFINITY) == 1.0 && tfm_tanh(-INFINITY) == -1.0 && isnan(tfm_tanh(NAN)));
    printf("# exp %.2g expm1 %.2g tanh %.2g relative\n", e, m, t);
}

/* Lanes or one by one, ordinary arguments or not: the same bits. */
static void sum_of_exponentials(void) {
    static const float hard[] = {-1000.0f, -745.1f, -708.5f,   -1e-30f,
                                 0.0f,     -700.0f, -INFINITY, 690.0f};
    float x[100];
    for (uint32_t i = 0; i < 100; i++) x[i] = -0.37f * (float)((i * 7919) % 97);
    for (size_t n = 0; n <= 100; n++) {
        if (n > 50) x[n - 1] = hard[n % 8];
        double want = 0.0;
        for (size_t i = 0; i < n; i++) want += tfm_exp((double)x[i] - 1.25);
        CHECK(tfm_exp_sum(x, n, 1.25) == want);
    }
    x[3] = NAN;
    CHECK(isnan(tfm_exp_sum(x, 100, 1.25)));
}

static void logarithms(void) {
    double l = 0, p = 0;
    for (double x = 1e-320; x < 1e300; x *= 1.0007) {
        l = worst(l, relative(tfm_log(x), logl((long double)x)));
    }
    for (double x = 0.5; x < 2.0; x += 1.1e-5) {
        l = worst(l, relative(tfm_log(x), logl((long double)x)));
    }
    for (double y = -1.0; y <= 0.0; y += 1e-4) {
        const long double want = powl(500000.0L, (long double)y);
        p = worst(p, relative(tfm_pow(500000.0, y), want) / (1 + fabs(y * log(500000.0))));
    }
    CHECK(l <= 5e-16);
    CHECK(p <= 6e-16);
    CHECK(tfm_log(1.0) == 0.0 && tfm_log(0.0) == -INFINITY && isnan(tfm_log(-1.0)));
    CHECK(tfm_log(INFINITY) == INFINITY && isnan(tfm_log(NAN)) && isnan(tfm_pow(-1.0, 2.0)));
    printf("# log %.2g pow %.2g relative\n", l, p);
}

static void error_function(void) {
    double e = 0;
    for (double x = -7.0; x <= 7.0; x += 1.3e-4) {
        e = worst(e, (double)fabsl(tfm_erf(x) - erfl((long double)x)));
    }
    CHECK(e <= 4e-15);
    CHECK(tfm_erf(0.0) == 0.0 && tfm_erf(INFINITY) == 1.0 && tfm_erf(-9.0) == -1.0);
    CHECK(isnan(tfm_erf(NAN)));
    printf("# erf %.2g absolute\n", e);
}

static double sincos_error(double x) {
    double s, c;
    tfm_sincos(x, &s, &c);
    return worst((double)fabsl(s - sinl((long double)x)), (double)fabsl(c - cosl((long double)x)));
}

static void circle(void) {
    double e = 0, s, c;
    for (int i = -400000; i <= 400000; i++) e = worst(e, sincos_error((double)i * 0.0137));
    for (uint32_t p = 1; p < 4000000000u; p += 99991) e = worst(e, sincos_error((double)p));
    for (int i = 0; i < 300000; i++) { /* next to multiples of pi/2: the hardest reductions */
        e = worst(e, sincos_error((double)i * 1.5707963267948966));
        e = worst(e, sincos_error((double)i * 0.78539816339744828));
    }
    e = worst(e, sincos_error(0x1p35));
    CHECK(e <= 4e-16);
    tfm_sincos(0.0, &s, &c);
    CHECK(s == 0.0 && c == 1.0);
    tfm_sincos(0x1.1p35, &s, &c);
    CHECK(isnan(s) && isnan(c));
    tfm_sincos(NAN, &s, &c);
    CHECK(isnan(s) && isnan(c));
    printf("# sin, cos %.2g absolute\n", e);
}

int main(void) {
    UNIT_RUN(exponentials);
    UNIT_RUN(sum_of_exponentials);
    UNIT_RUN(logarithms);
    UNIT_RUN(error_function);
    UNIT_RUN(circle);
    return unit_done();
}
