/* number.c - numbers from text, parsed whole and within a range.
 *
 * strtol and strtod alone would take leading spaces, hexadecimal, "inf" and the locale's decimal
 * sign; here the shape is checked first and only then is the value computed. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/base_internal.h"

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* The digits of s as a magnitude; false when there are none, on another character, on overflow. */
static bool parse_digits(const char *s, uint64_t *out) {
    uint64_t v = 0;
    if (!is_digit(*s)) return false;
    for (; is_digit(*s); s++)
        if (!tfm_mul_u64(v, 10, &v) || !tfm_add_u64(v, (uint64_t)(*s - '0'), &v)) return false;
    *out = v;
    return *s == '\0';
}

bool tfm_parse_u64(const char *s, uint64_t lo, uint64_t hi, uint64_t *out) {
    uint64_t v;
    if (*s == '+') s++;
    if (!parse_digits(s, &v) || v < lo || v > hi) return false;
    *out = v;
    return true;
}

bool tfm_parse_i64(const char *s, int64_t lo, int64_t hi, int64_t *out) {
    bool negative = *s == '-';
    uint64_t magnitude;
    int64_t v;
    if (*s == '+' || *s == '-') s++;
    if (!parse_digits(s, &magnitude)) return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0)) return false;
    if (!negative)
        v = (int64_t)magnitude;
    else
        v = magnitude > (uint64_t)INT64_MAX ? INT64_MIN : -(int64_t)magnitude;
    if (v < lo || v > hi) return false;
    *out = v;
    return true;
}

/* [+-] (digits [. digits] | . digits) [eE [+-] digits] */
static bool is_decimal(const char *s) {
    size_t digits = 0;
    if (*s == '+' || *s == '-') s++;
    for (; is_digit(*s); s++) digits++;
    if (*s == '.')
        for (s++; is_digit(*s); s++) digits++;
    if (digits == 0) return false;
    if (*s == 'e' || *s == 'E') {
        s++;
        if (*s == '+' || *s == '-') s++;
        if (!is_digit(*s)) return false;
        while (is_digit(*s)) s++;
    }
    return *s == '\0';
}

static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;
static locale_t c_locale;

static void make_c_locale(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

bool tfm_parse_double(const char *s, double lo, double hi, double *out) {
    if (!is_decimal(s)) return false;
    /* The program around us may have set a locale whose decimal sign is a comma. */
    pthread_once(&c_locale_once, make_c_locale);
    if (!c_locale) return false;
    int saved = errno;
    double v = strtod_l(s, NULL, c_locale);
    errno = saved;
    if (!isfinite(v) || v < lo || v > hi) return false;
    *out = v;
    return true;
}
