/* math.c - elementary functions in double from additions and multiplications alone.
 *
 * Shape of each: reduce the argument exactly (or with a compensated constant), sum a Taylor series
 * whose first dropped term is below 2^-55 of the result, put the exponent back. Taylor coefficients
 * rather than fitted ones: they can be checked by eye, and speed is not the point here. */
#include "backend/math_internal.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* ln 2 and pi/2 in pieces. The high piece has so few bits that n * piece is exact. */
static const double LN2_HI = 0x1.62e42fefp-1; /* 33 bits */
static const double LN2_LO = 0x1.473de6af278edp-34;
static const double LOG2_E = 0x1.71547652b82fep+0;
static const double TWO_OVER_PI = 0x1.45f306dc9c883p-1;

enum { EXP_LANES = 8 };

/* Adding and taking off 1.5 * 2^52 rounds to the nearest integer, |x| < 2^51. */
static double round_even(double x) {
    return (x + 0x1.8p52) - 0x1.8p52;
}

static double power_of_two(int n) { /* -1022 <= n <= 1023 */
    uint64_t bits = (uint64_t)(n + 1023) << 52;
    double d;
    memcpy(&d, &bits, sizeof d);
    return d;
}

/* e^r - 1 for |r| <= 0.35: r + r^2/2! + ... + r^14/14!; the next term is 1e-19 at most. */
static double expm1_small(double r) {
    double sum = 0.0;
    for (int i = 14; i >= 2; i--) sum = (sum + 1.0) * r / (double)i;
    return r + r * sum;
}

/* x = n ln2 + r, |r| <= ln2 / 2. */
static double reduce_ln2(double x, double *n) {
    *n = round_even(x * LOG2_E);
    return (x - *n * LN2_HI) - *n * LN2_LO;
}

double tfm_exp(double x) {
    double n;
    if (isnan(x)) return x;
    if (x > 709.79) return INFINITY;
    if (x < -745.2) return 0.0;
    const double e = 1.0 + expm1_small(reduce_ln2(x, &n));
    /* In two steps, so that neither factor overflows and a subnormal result is rounded once. */
    const int half = (int)n / 2;
    return e * power_of_two(half) * power_of_two((int)n - half);
}

/* e[i] = tfm_exp(x[i]), the same bits, for |x[i]| <= 700: side by side the divisions need not wait
 * for one another. */
static void exp_lanes(const double *x, double *e) {
    double n[EXP_LANES], r[EXP_LANES], sum[EXP_LANES] = {0};
    for (int i = 0; i < EXP_LANES; i++) r[i] = reduce_ln2(x[i], &n[i]);
    for (int k = 14; k >= 2; k--)
        for (int i = 0; i < EXP_LANES; i++) sum[i] = (sum[i] + 1.0) * r[i] / (double)k;
    for (int i = 0; i < EXP_LANES; i++) {
        const int half = (int)n[i] / 2;
        const double f = 1.0 + (r[i] + r[i] * sum[i]);
        e[i] = f * power_of_two(half) * power_of_two((int)n[i] - half);
    }
}

double tfm_exp_sum(const float *x, size_t n, double shift) {
    double d[EXP_LANES], e[EXP_LANES], sum = 0.0;
    size_t i = 0;
    for (; n - i >= EXP_LANES; i += EXP_LANES) {
        bool ordinary = true;
        for (int k = 0; k < EXP_LANES; k++) {
            d[k] = (double)x[i + (size_t)k] - shift;
            ordinary = ordinary && d[k] >= -700.0 && d[k] <= 700.0;
        }
        if (ordinary) exp_lanes(d, e);
        for (int k = 0; k < EXP_LANES; k++) sum += ordinary ? e[k] : tfm_exp(d[k]);
    }
    for (; i < n; i++) sum += tfm_exp((double)x[i] - shift);
    return sum;
}

double tfm_expm1(double x) {
    if (x > -0.34 && x < 0.34) return expm1_small(x);
    return tfm_exp(x) - 1.0; /* the result is at least 0.28 in size: no digits cancel */
}

double tfm_log(double x) {
    uint64_t bits;
    int exponent = 0;
    if (isnan(x) || x < 0.0) return NAN;
    if (x == 0.0) return -INFINITY;
    if (isinf(x)) return x;
    if (x < 0x1p-1022) {
        x *= 0x1p54;
        exponent = -54;
    }
    memcpy(&bits, &x, sizeof bits);
    exponent += (int)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) { /* m in (0.707, 1.414] */
        m *= 0.5;
        exponent++;
    }
    /* log m = 2 atanh(s) = 2 (s + s^3/3 + s^5/5 + ...), |s| <= 0.1716; after s^23 comes 1e-19.
     * With f = m - 1, which is exact, 2 s = f - s f: the leading term f carries no rounding. */
    const double f = m - 1.0, s = f / (2.0 + f), s2 = s * s;
    double sum = 0.0;
    for (int i = 23; i >= 3; i -= 2) sum = (sum + 1.0 / (double)i) * s2;
    const double n = (double)exponent;
    return n * LN2_HI + (f - (s * (f - 2.0 * sum) - n * LN2_LO));
}

double tfm_pow(double x, double y) {
    if (!(x > 0.0)) return NAN;
    return tfm_exp(y * tfm_log(x));
}

double tfm_tanh(double x) {
    if (isnan(x)) return x;
    const double a = x < 0.0 ? -x : x;
    const double e = a > 22.0 ? 0x1p60 : tfm_expm1(2.0 * a); /* above 22 the result rounds to 1 */
    const double t = e / (e + 2.0);
    return x < 0.0 ? -t : t;
}

/* erf x = 2/sqrt(pi) e^(-x^2) sum x (2x^2)^n / (1 3 5 ... 2n+1): no term cancels. */
double tfm_erf(double x) {
    if (isnan(x)) return x;
    const double a = x < 0.0 ? -x : x;
    double result = 1.0; /* 1 - erf(6) = 2e-17 */
    if (a < 6.0) {
        double term = a, sum = a;
        for (int n = 1; term > sum * 0x1p-56; n++) {
            term *= 2.0 * a * a / (double)(2 * n + 1);
            sum += term;
        }
        result = 0x1.20dd750429b6dp+0 * tfm_exp(-a * a) * sum;
        if (result > 1.0) result = 1.0;
    }
    return x < 0.0 ? -result : result;
}

/* x - n pi/2 for |n| < 2^36: the first three pieces of pi/2 have 17 bits each, so that n * piece
 * and the subtractions from x are exact; what remains is known to 2^-104. */
static double reduce_half_pi(double x, double n) {
    static const double piece[4] = {0x1.921fp+0, 0x1.6a88p-17, 0x1.0b46p-34, 0x1.1a62633145c07p-54};
    for (int i = 0; i < 4; i++) x -= n * piece[i];
    return x;
}

void tfm_sincos(double x, double *s, double *c) {
    if (!(x >= -0x1p35 && x <= 0x1p35)) {
        *s = *c = NAN;
        return;
    }
    const double n = round_even(x * TWO_OVER_PI);
    const double r = reduce_half_pi(x, n), r2 = r * r;
    double sine = 0.0, cosine = 0.0; /* |r| <= pi/4: r^19/19! is 8e-20, r^18/18! is 2e-18 */
    for (int i = 16; i >= 2; i -= 2) sine = -(1.0 + sine) * r2 / (double)(i * (i + 1));
    for (int i = 16; i >= 2; i -= 2) cosine = -(1.0 + cosine) * r2 / (double)(i * (i - 1));
    sine = r + r * sine;
    cosine = 1.0 + cosine;
    switch ((int64_t)n & 3) {
    case 0: *s = sine, *c = cosine; break;
    case 1: *s = cosine, *c = -sine; break;
    case 2: *s = -sine, *c = -cosine; break;
    default: *s = -cosine, *c = sine; break;
    }
}

double tfm_growth(double growth, uint32_t position, uint32_t first, uint32_t every) {
    const uint64_t steps = ((uint64_t)position + first) / every;
    return 1.0 + growth * tfm_log(1.0 + (double)steps);
}
