/* utf8.c - strict UTF-8: RFC 3629, no surrogates, nothing overlong, nothing above U+10FFFF. */
#include "base/utf8_internal.h"

/* What a lead byte asks for: length (0: not a lead byte) and the range of the second byte. */
static size_t lead(unsigned char c, unsigned char *lo, unsigned char *hi) {
    *lo = 0x80;
    *hi = 0xbf;
    if (c < 0x80) return 1;
    if (c < 0xc2) return 0;
    if (c < 0xe0) return 2;
    if (c < 0xf0) {
        if (c == 0xe0) *lo = 0xa0;
        if (c == 0xed) *hi = 0x9f;
        return 3;
    }
    if (c > 0xf4) return 0;
    if (c == 0xf0) *lo = 0x90;
    if (c == 0xf4) *hi = 0x8f;
    return 4;
}

size_t tfm_utf8_decode(const unsigned char *s, size_t n, uint32_t *cp, bool *ok) {
    unsigned char lo, hi;
    size_t len = lead(s[0], &lo, &hi);
    if (ok) *ok = true;
    if (len == 1) {
        *cp = s[0];
        return 1;
    }
    if (len == 0 || len > n) goto broken;
    uint32_t v = s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (s[i] < lo || s[i] > hi) goto broken;
        v = v << 6 | (s[i] & 0x3fu);
        lo = 0x80;
        hi = 0xbf;
    }
    *cp = v;
    return len;
broken:
    *cp = 0xFFFD;
    if (ok) *ok = false;
    return 1;
}

size_t tfm_utf8_encode(uint32_t cp, unsigned char out[4]) {
    if (cp < 0x80) {
        out[0] = (unsigned char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (unsigned char)(0xc0 | cp >> 6);
        out[1] = (unsigned char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        if (cp >= 0xd800 && cp <= 0xdfff) return 0;
        out[0] = (unsigned char)(0xe0 | cp >> 12);
        out[1] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (unsigned char)(0x80 | (cp & 0x3f));
        return 3;
    }
    if (cp > 0x10ffff) return 0;
    out[0] = (unsigned char)(0xf0 | cp >> 18);
    out[1] = (unsigned char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (unsigned char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (unsigned char)(0x80 | (cp & 0x3f));
    return 4;
}

bool tfm_utf8_valid(const void *s, size_t n, size_t *bad) {
    const unsigned char *p = s;
    size_t i = 0;
    while (i < n) {
        uint32_t cp;
        bool ok;
        size_t len = tfm_utf8_decode(p + i, n - i, &cp, &ok);
        if (!ok) {
            if (bad) *bad = i;
            return false;
        }
        i += len;
    }
    return true;
}

size_t tfm_utf8_tail(const void *s, size_t n) {
    const unsigned char *p = s;
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        const unsigned char *c = p + n - k;
        unsigned char lo, hi;
        if ((c[0] & 0xc0) == 0x80) continue;
        if (lead(c[0], &lo, &hi) <= k) return 0; /* complete, or no lead byte */
        return k > 1 && (c[1] < lo || c[1] > hi) ? 0 : k;
    }
    return 0;
}
