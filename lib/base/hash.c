/* hash.c - CRC-32 (by zlib) and SHA-256 (FIPS 180-4, by ourselves).
 *
 * CRC-32 guards every record against damage; SHA-256 makes the ids of models and vocabularies. */
#include <limits.h>
#include <string.h>
#include <zlib.h>

#include "base/base_internal.h"

uint32_t tfm_crc32(uint32_t crc, const void *p, size_t n) {
    const unsigned char *b = p;
    uLong c = crc;
    while (n > 0) { /* zlib counts in uInt */
        uInt k = n > UINT_MAX / 2 ? UINT_MAX / 2 : (uInt)n;
        c = crc32(c, b, k);
        b += k;
        n -= k;
    }
    return (uint32_t)c;
}

/* Fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2). */
static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static uint32_t load_be(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

/* One round. The eight words keep their places, and what they are called moves on: so they stay in
 * registers. */
static inline void sha256_round(uint32_t a, uint32_t b, uint32_t c, uint32_t *d, uint32_t e,
                                uint32_t f, uint32_t g, uint32_t *h, uint32_t kw) {
    uint32_t t1 = *h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + kw;
    *d += t1;
    *h = t1 + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
}

static void sha256_block(uint32_t state[8], const unsigned char *block) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) w[i] = load_be(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotr(x, 7) ^ rotr(x, 18) ^ x >> 3) + w[i - 7] +
               (rotr(y, 17) ^ rotr(y, 19) ^ y >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i += 8) {
        sha256_round(a, b, c, &d, e, f, g, &h, K[i] + w[i]);
        sha256_round(h, a, b, &c, d, e, f, &g, K[i + 1] + w[i + 1]);
        sha256_round(g, h, a, &b, c, d, e, &f, K[i + 2] + w[i + 2]);
        sha256_round(f, g, h, &a, b, c, d, &e, K[i + 3] + w[i + 3]);
        sha256_round(e, f, g, &h, a, b, c, &d, K[i + 4] + w[i + 4]);
        sha256_round(d, e, f, &g, h, a, b, &c, K[i + 5] + w[i + 5]);
        sha256_round(c, d, e, &f, g, h, a, &b, K[i + 6] + w[i + 6]);
        sha256_round(b, c, d, &e, f, g, h, &a, K[i + 7] + w[i + 7]);
    }
    const uint32_t more[8] = {a, b, c, d, e, f, g, h};
    for (int i = 0; i < 8; i++) state[i] += more[i];
}

void tfm_sha256_init(tfm_sha256 *s) {
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, start, sizeof start);
    s->n_bytes = 0;
}

void tfm_sha256_add(tfm_sha256 *s, const void *p, size_t n) {
    const unsigned char *b = p;
    size_t have = s->n_bytes % 64;
    s->n_bytes += n;
    if (have > 0) {
        size_t k = 64 - have < n ? 64 - have : n;
        if (k) memcpy(s->block + have, b, k);
        if (have + k < 64) return;
        sha256_block(s->state, s->block);
        b += k;
        n -= k;
    }
    for (; n >= 64; b += 64, n -= 64) sha256_block(s->state, b);
    if (n) memcpy(s->block, b, n);
}

void tfm_sha256_hex(tfm_sha256 *s, char out[65]) {
    static const char digits[] = "0123456789abcdef";
    uint64_t bits = s->n_bytes * 8;
    unsigned char pad[72] = {0x80}, *length;
    size_t zeros = (119 - s->n_bytes % 64) % 64; /* so that 1 + zeros + 8 ends a block */
    length = pad + 1 + zeros;
    for (int i = 0; i < 8; i++) length[i] = (unsigned char)(bits >> (56 - 8 * i) & 0xff);
    tfm_sha256_add(s, pad, 1 + zeros + 8);
    for (size_t i = 0; i < 64; i++) out[i] = digits[s->state[i / 8] >> (28 - 4 * (i % 8)) & 15];
    out[64] = '\0';
}
