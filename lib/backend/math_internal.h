/* math_internal.h - exp, log, pow, tanh, erf, sin, cos of our own, in double.
 *
 *     double p = tfm_exp(score - maximum);
 *
 * libm differs by version and processor, so a result that must be the same everywhere (law 2) may
 * not pass through it. These use only + - * / and bit operations, which IEEE 754 specifies exactly:
 * the same bits on every machine, with every compiler. Bounds, measured against long double by
 * tests/unit/test_math.c, are for finite arguments; NaN gives NaN. The float versions of the CPU
 * kernels are in cpu/body_math_internal.h.
 */
#ifndef TFM_MATH_INTERNAL_H
#define TFM_MATH_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

/* Relative error <= 4e-16; below -745.2 it is 0, above 709.8 infinity. */
double tfm_exp(double x);
/* The sum of tfm_exp(x[i] - shift), added in ascending order; several times as fast as calls. x:
 * [n] */
double tfm_exp_sum(const float *x, size_t n, double shift);
/* e^x - 1; relative error <= 1e-15. */
double tfm_expm1(double x);
/* Natural logarithm; relative error <= 5e-16. log(0) = -inf, negative: NaN. */
double tfm_log(double x);
/* x^y for x > 0 as exp(y log x); relative error <= 6e-16 (1 + |y log x|). Else NaN. */
double tfm_pow(double x, double y);
/* Relative error <= 2e-15. */
double tfm_tanh(double x);
/* Absolute error <= 4e-15. */
double tfm_erf(double x);
/* *s = sin(x), *c = cos(x) for |x| <= 2^35 (else NaN): absolute error <= 4e-16. */
void tfm_sincos(double x, double *s, double *c);
/* 1 + growth ln(1 + floor((position + first) / every)), every > 0: a factor that grows with the
 * position, in steps. */
double tfm_growth(double growth, uint32_t position, uint32_t first, uint32_t every);

#endif
