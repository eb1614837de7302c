/* utf8_internal.h - UTF-8 one character at a time, strict (no surrogates, no overlong, <=
 * 10FFFF). */
#ifndef TFM_UTF8_INTERNAL_H
#define TFM_UTF8_INTERNAL_H

#include "base/base_internal.h"

/* Decodes one character of s[0..n): returns its length 1..4 and sets *cp; on a broken byte returns
 * 1 and sets *cp = 0xFFFD with *ok = false. n must be > 0. `ok` may be NULL. */
size_t tfm_utf8_decode(const unsigned char *s, size_t n, uint32_t *cp, bool *ok);
/* Writes cp to out, returns 1..4; 0 for a surrogate or > 10FFFF. */
size_t tfm_utf8_encode(uint32_t cp, unsigned char out[4]);
/* Is all of it valid? If not and bad != NULL, *bad is the offset of the first broken byte. */
bool tfm_utf8_valid(const void *s, size_t n, size_t *bad);
/* How many bytes at the end of s[0..n) are an unfinished but so far valid character (0..3). */
size_t tfm_utf8_tail(const void *s, size_t n);

#endif
