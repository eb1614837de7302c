/* test_tensor.c - the tensor layer: names and sizes, half floats at every rounding boundary,
 * dequantisation and quantisation against the golden file of an independent implementation, the
 * p16 layout against the table in lib/tensor/layout.c. */
#include "tfm/tensor.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/block_internal.h"
#include "unit.h"

static const tfm_dtype block_types[] = {TFM_Q4_0,   TFM_Q4_1,  TFM_Q5_0,  TFM_Q5_1, TFM_Q8_0,
                                        TFM_IQ4_NL, TFM_MXFP4, TFM_Q2_K,  TFM_Q3_K, TFM_Q4_K,
                                        TFM_Q5_K,   TFM_Q6_K,  TFM_IQ4_XS};
static const tfm_dtype float_types[] = {TFM_F32, TFM_F16, TFM_BF16};
enum { N_BLOCK_TYPES = 13, N_FLOAT_TYPES = 3 };

/* A small generator (xorshift), so that every run draws the same numbers. */
static uint64_t random_state = 88172645463325252u;
static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

static void random_bytes(void *p, size_t n) {
    for (size_t i = 0; i < n; i++) ((uint8_t *)p)[i] = (uint8_t)random_u32();
}

static float from_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static uint32_t to_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static int same_f32(float a, float b) {
    return isnan(a) ? isnan(b) : to_bits(a) == to_bits(b);
}

/* ---- names and sizes ---- */

static void names(void) {
    static const char *const all[] = {"f32",  "f16",  "bf16", "i8",   "u8",   "i32",    "i64",
                                      "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4",
                                      "q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "iq4_xs"};
    unsigned known = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const tfm_dtype t = tfm_dtype_parse(all[i]);
        CHECK(t != TFM_DTYPE_NONE);
        CHECK_STR(tfm_dtype_name(t), all[i]);
    }
    for (unsigned t = 0; t < 300; t++) known += tfm_dtype_known(t) ? 1u : 0u;
    CHECK_INT(known, sizeof all / sizeof all[0]);
    CHECK_INT(tfm_dtype_parse("Q4_0"), TFM_DTYPE_NONE);
    CHECK_INT(tfm_dtype_parse(""), TFM_DTYPE_NONE);
    CHECK_STR(tfm_dtype_name((tfm_dtype)99), "?");
    tfm_layout l;
    CHECK(tfm_layout_parse("p16", &l) && l == TFM_LAYOUT_P16);
    CHECK(tfm_layout_parse("rows", &l) && l == TFM_LAYOUT_ROWS);
    CHECK(!tfm_layout_parse("P16", &l));
    CHECK_STR(tfm_layout_name(TFM_LAYOUT_P16), "p16");
}

static uint64_t layout_bytes(tfm_dtype t, tfm_layout l, uint32_t rows, uint32_t k) {
    const uint32_t dims[TFM_MAX_RANK] = {rows, k, 1, 1};
    uint64_t bytes = UINT64_MAX;
    return tfm_layout_bytes(t, l, 2, dims, &bytes, NULL) == TFM_OK ? bytes : UINT64_MAX;
}

static void sizes(void) {
    uint64_t n = 7;
    const uint32_t huge[TFM_MAX_RANK] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, 1};
    const uint32_t empty[TFM_MAX_RANK] = {UINT32_MAX, UINT32_MAX, UINT32_MAX, 0};
    CHECK(!tfm_dims_count(3, huge, &n) && n == 7);
    CHECK(tfm_dims_count(4, empty, &n) && n == 0);
    CHECK(tfm_dims_count(0, huge, &n) && n == 1);
    CHECK(!tfm_dims_count(5, huge, &n));
    CHECK(tfm_dtype_bytes(TFM_Q6_K, 512, &n) && n == 420);
    CHECK(!tfm_dtype_bytes(TFM_Q6_K, 511, &n));
    CHECK(!tfm_dtype_bytes(TFM_I64, UINT64_MAX / 4, &n));
    CHECK(!tfm_dtype_bytes((tfm_dtype)99, 1, &n));
    CHECK_INT(layout_bytes(TFM_F32, TFM_LAYOUT_ROWS, 3, 5), 60);
    CHECK_INT(layout_bytes(TFM_F32, TFM_LAYOUT_P16, 3, 5), 16 * 5 * 4);
    CHECK_INT(layout_bytes(TFM_BF16, TFM_LAYOUT_P16, 17, 5), 32 * 6 * 2);
    CHECK_INT(layout_bytes(TFM_F16, TFM_LAYOUT_P16, 16, 5), 16 * 5 * 2);
    CHECK_INT(layout_bytes(TFM_Q4_0, TFM_LAYOUT_P16, 17, 64), 32 * 2 * 18);
    CHECK_INT(layout_bytes(TFM_Q4_0, TFM_LAYOUT_ROWS, 32, 33), UINT64_MAX);
    CHECK_INT(layout_bytes(TFM_I8, TFM_LAYOUT_P16, 16, 16), UINT64_MAX);
    CHECK_INT(layout_bytes(TFM_F32, TFM_LAYOUT_P16, UINT32_MAX, UINT32_MAX), UINT64_MAX);
    CHECK_INT(layout_bytes(TFM_F32, (tfm_layout)2, 1, 1), UINT64_MAX);
    CHECK_INT(layout_bytes((tfm_dtype)99, TFM_LAYOUT_ROWS, 1, 1), UINT64_MAX);
    CHECK_INT(tfm_layout_bytes(TFM_Q4_0, TFM_LAYOUT_ROWS, 0, huge, &n, NULL), TFM_FORMAT);
}

/* ---- half floats ---- */

/* The value of a finite half by its definition. */
static double half_value(uint32_t h) {
    const uint32_t e = h >> 10 & 31u, m = h & 1023u;
    const double mag = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, (int)e - 25);
    return (h & 0x8000u) != 0 ? -mag : mag;
}

static void half_to_float(void) {
    unsigned wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        const float f = tfm_f16_to_f32((uint16_t)h);
        const uint32_t sign = (h & 0x8000u) << 16;
        if ((h & 0x7c00u) != 0x7c00u) {
            wrong += to_bits(f) != to_bits((float)half_value(h));
        } else if ((h & 1023u) == 0) {
            wrong += to_bits(f) != (sign | 0x7f800000u);
        } else { /* quiet NaN with the sign and the payload */
            wrong += to_bits(f) != (sign | 0x7fc00000u | (h & 1023u) << 13);
        }
        wrong += tfm_f32_to_f16(f) != ((h & 0x7fffu) > 0x7c00u ? h | 0x200u : h);
    }
    CHECK_INT(wrong, 0);
}

/* Around the middle of two neighbours: below goes down, above goes up, the tie goes to even. The
 * conversion is monotonic if it is right at every boundary. */
static void half_rounding(void) {
    unsigned wrong = 0;
    for (uint32_t h = 0; h < 0x7c00u; h++) {
        const double above = h + 1 == 0x7c00u ? 65536.0 : half_value(h + 1);
        const float middle = (float)((half_value(h) + above) / 2); /* exact: 12 bits at most */
        const uint32_t even = h + (h & 1u);
        for (uint32_t sign = 0; sign <= 1; sign++) {
            const uint32_t s16 = sign << 15, s32 = sign << 31;
            const uint32_t m = to_bits(middle) | s32;
            wrong += tfm_f32_to_f16(from_bits(m)) != (even | s16);
            wrong += tfm_f32_to_f16(from_bits(m - 1)) != (h | s16);
            wrong += tfm_f32_to_f16(from_bits(m + 1)) != ((h + 1) | s16);
        }
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(tfm_f32_to_f16(3.4e38f), 0x7c00);
    CHECK_INT(tfm_f32_to_f16(-INFINITY), 0xfc00);
    CHECK_INT(tfm_f32_to_f16(from_bits(1)), 0);
    CHECK_INT(tfm_f32_to_f16(from_bits(0x80000001u)), 0x8000);
    CHECK_INT(tfm_f32_to_f16(from_bits(0x7f800001u)), 0x7e00);
    CHECK_INT(tfm_f32_to_f16(from_bits(0xffc02000u)), 0xfe01);
}

/* The nearest half of a random float, searched by distance. */
static void half_random(void) {
    unsigned wrong = 0;
    for (unsigned i = 0; i < 200000; i++) {
        const float f = from_bits(random_u32());
        if (!isfinite(f) || fabsf(f) >= 65520.0f) continue;
        const uint32_t h = tfm_f32_to_f16(f);
        const double distance = fabs(half_value(h) - (double)f);
        const uint32_t mag = h & 0x7fffu;
        if (mag > 0) wrong += fabs(half_value(h - 1) - (double)f) < distance;
        if (mag < 0x7bffu) wrong += fabs(half_value(h + 1) - (double)f) < distance;
        wrong += (h >> 15) != (to_bits(f) >> 31);
    }
    CHECK_INT(wrong, 0);
}

static void bfloat(void) {
    unsigned wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        const uint32_t up = h << 16;
        const int is_nan = (h & 0x7fffu) > 0x7f80u, is_special = (h & 0x7f80u) == 0x7f80u;
        wrong += to_bits(tfm_bf16_to_f32((uint16_t)h)) != up;
        wrong += tfm_f32_to_bf16(from_bits(up)) != (is_nan ? h | 0x40u : h);
        if (is_special) continue;
        wrong += tfm_f32_to_bf16(from_bits(up | 0x7fffu)) != h;
        wrong += tfm_f32_to_bf16(from_bits(up | 0x8000u)) != h + (h & 1u);
        wrong += tfm_f32_to_bf16(from_bits(up | 0x8001u)) != h + 1;
    }
    CHECK_INT(wrong, 0);
    CHECK(isnan(tfm_bf16_to_f32(tfm_f32_to_bf16(from_bits(0x7f800001u)))));
    CHECK(isnan(tfm_bf16_to_f32(tfm_f32_to_bf16(from_bits(0xffffffffu)))));
}

/* ---- rows ---- */

static void plain_types(void) {
    const int8_t i8[3] = {-128, 0, 127};
    const uint8_t u8[3] = {0, 128, 255};
    const uint8_t i32[8] = {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0};
    const uint8_t i64[8] = {0, 0, 0, 0, 0, 0, 0, 0x80};
    uint8_t moved[1 + 4 * 3];
    float x[3];
    CHECK(tfm_to_f32(TFM_I8, i8, 3, x, NULL) == TFM_OK && x[0] == -128.0f && x[2] == 127.0f);
    CHECK(tfm_to_f32(TFM_U8, u8, 3, x, NULL) == TFM_OK && x[1] == 128.0f && x[2] == 255.0f);
    CHECK(tfm_to_f32(TFM_I32, i32, 2, x, NULL) == TFM_OK && x[0] == -1.0f && x[1] == 1.0f);
    CHECK(tfm_to_f32(TFM_I64, i64, 1, x, NULL) == TFM_OK && x[0] == -0x1p63f);
    for (size_t i = 0; i < N_FLOAT_TYPES; i++) { /* any alignment, there and back */
        const float src[3] = {1.5f, -0.0f, -INFINITY};
        CHECK_INT(tfm_from_f32(float_types[i], src, 3, moved + 1, NULL), TFM_OK);
        CHECK_INT(tfm_to_f32(float_types[i], moved + 1, 3, x, NULL), TFM_OK);
        CHECK(memcmp(x, src, sizeof src) == 0);
    }
    CHECK_INT(tfm_to_f32((tfm_dtype)99, u8, 1, x, NULL), TFM_UNSUPPORTED);
    CHECK_INT(tfm_to_f32(TFM_Q4_0, u8, 3, x, NULL), TFM_FORMAT);
    CHECK_INT(tfm_from_f32(TFM_Q4_K, x, 0, moved, NULL), TFM_UNSUPPORTED);
    CHECK_INT(tfm_from_f32(TFM_Q4_0, x, 3, moved, NULL), TFM_FORMAT);
}

static uint32_t golden_u32(FILE *f) {
    uint8_t b[4] = {0};
    if (fread(b, 1, 4, f) != 4) return UINT32_MAX;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

/* One case of quant.bin; 0 at the end of the file. */
static int golden_case(FILE *f) {
    static uint8_t in[1 << 16], want[1 << 16], got[1 << 16];
    const tfm_dtype t = (tfm_dtype)golden_u32(f);
    if (feof(f)) return 0;
    const uint32_t direction = golden_u32(f), count = golden_u32(f);
    const uint32_t n_in = golden_u32(f), n_want = golden_u32(f);
    if (!CHECK(n_in <= sizeof in && n_want <= sizeof want)) return 0;
    if (!CHECK(fread(in, 1, n_in, f) == n_in && fread(want, 1, n_want, f) == n_want)) return 0;
    memset(got, 0xaa, sizeof got);
    if (direction == 0) {
        float x[1 << 14];
        CHECK_INT(tfm_to_f32(t, in, count, x, NULL), TFM_OK);
        memcpy(got, x, n_want);
    } else {
        float x[1 << 14];
        memcpy(x, in, n_in);
        CHECK_INT(tfm_from_f32(t, x, count, got, NULL), TFM_OK);
    }
    if (memcmp(got, want, n_want) != 0) {
        uint32_t at = 0;
        while (got[at] == want[at]) at++;
        printf("%s, direction %u: byte %u of %u differs\n", tfm_dtype_name(t), direction, at,
               n_want);
    }
    CHECK(memcmp(got, want, n_want) == 0);
    return 1;
}

static void golden(void) {
    FILE *f = fopen("tests/golden/quant/quant.bin", "rb");
    unsigned n = 0;
    if (!CHECK(f != NULL)) return;
    while (golden_case(f)) n++;
    CHECK_INT(n, N_BLOCK_TYPES + 2);
    fclose(f);
}

/* Every number comes back within half a step; q8_0 in C's own words. */
static void quantise_bounds(void) {
    float x[32], y[32];
    uint8_t q8[34], q4[18];
    unsigned wrong = 0;
    for (unsigned n = 0; n < 2000; n++) {
        float amax = 0;
        const int e = (int)(n % 40) - 22;
        for (unsigned i = 0; i < 32; i++) {
            x[i] = ldexpf((float)(int32_t)random_u32(), e - 31);
            amax = fmaxf(amax, fabsf(x[i]));
        }
        wrong += tfm_from_f32(TFM_Q8_0, x, 32, q8, NULL) != TFM_OK;
        wrong += tfm_from_f32(TFM_Q4_0, x, 32, q4, NULL) != TFM_OK;
        const float r = 1.0f / (amax / 127.0f);
        for (unsigned i = 0; i < 32; i++) wrong += (int8_t)q8[2 + i] != (int)roundf(x[i] * r);
        /* half a step, and what the rounding of d to f16 (2^-11, or half of 2^-24) makes of 127 */
        wrong += tfm_to_f32(TFM_Q8_0, q8, 32, y, NULL) != TFM_OK;
        const float slack8 = amax * 0x1.01p-11f + 127 * 0x1p-25f;
        for (unsigned i = 0; i < 32; i++) {
            wrong += fabsf(y[i] - x[i]) > 0.5f * amax / 127.0f + slack8;
        }
        /* the far end, of the other sign than m, is cut from 8 to 7 steps: a whole step there */
        wrong += tfm_to_f32(TFM_Q4_0, q4, 32, y, NULL) != TFM_OK;
        const float slack4 = amax * 0x1.01p-11f + 8 * 0x1p-25f;
        for (unsigned i = 0; i < 32; i++) wrong += fabsf(y[i] - x[i]) > amax / 8.0f + slack4;
    }
    CHECK_INT(wrong, 0);
}

static void quantise_refuses(void) {
    float x[64] = {0};
    uint8_t out[68];
    tfm_error err = {0};
    x[40] = NAN;
    CHECK_INT(tfm_from_f32(TFM_Q8_0, x, 64, out, &err), TFM_FORMAT);
    CHECK_STR(err.message, "element 40 is not finite: q8_0 cannot hold it");
    x[40] = INFINITY;
    CHECK_INT(tfm_from_f32(TFM_Q4_0, x, 64, out, &err), TFM_FORMAT);
    x[40] = 65520.0f * 8.0f;
    CHECK_INT(tfm_from_f32(TFM_Q4_0, x, 64, out, &err), TFM_LIMIT);
    CHECK_INT(tfm_from_f32(TFM_Q8_0, x, 64, out, &err), TFM_OK);
    x[40] = nextafterf(65520.0f * 8.0f, 0.0f);
    CHECK_INT(tfm_from_f32(TFM_Q4_0, x, 64, out, &err), TFM_OK);
    x[40] = from_bits(3); /* the reciprocal of its scale overflows */
    CHECK_INT(tfm_from_f32(TFM_Q8_0, x, 64, out, &err), TFM_OK);
    CHECK_INT(tfm_from_f32(TFM_Q4_0, x, 64, out, &err), TFM_OK);
}

static void activations(void) {
    float x[64], scale[2];
    int8_t q[64];
    unsigned wrong = 0;
    for (unsigned n = 0; n < 500; n++) {
        float amax = 0;
        const int e = (int)(n % 200) - 120;
        for (unsigned i = 0; i < 64; i++) {
            x[i] = i < 32 ? 0.0f : ldexpf((float)(int32_t)random_u32(), e - 31);
            amax = fmaxf(amax, fabsf(x[i]));
        }
        tfm_quantize_act_i8(TFM_Q8_0, x, 64, q, scale);
        wrong += scale[0] != 0.0f || scale[1] != amax / 127.0f;
        for (unsigned i = 0; i < 64; i++) {
            const float s = scale[i / 32];
            wrong += q[i] != (s > 0 ? (int)lrintf(x[i] / s) : 0);
        }
        tfm_quantize_act_i8(TFM_Q4_1, x, 64, q, scale);
        wrong += scale[1] != amax / 120.0f;
        for (unsigned i = 32; i < 64; i++) wrong += q[i] != (int)lrintf(x[i] / scale[1]);
    }
    CHECK_INT(wrong, 0);
    memset(x, 0, sizeof x);
    x[0] = 127.0f; /* scale 1: ties go to even */
    x[1] = 0.5f, x[2] = 1.5f, x[3] = -2.5f, x[4] = -3.5f;
    tfm_quantize_act_i8(TFM_Q8_0, x, 32, q, scale);
    CHECK(q[0] == 127 && q[1] == 0 && q[2] == 2 && q[3] == -2 && q[4] == -4);
    x[0] = from_bits(190), x[1] = -x[0], x[2] = x[3] = x[4] = 0; /* 190 units over 1 unit */
    tfm_quantize_act_i8(TFM_Q8_0, x, 32, q, scale);
    CHECK(q[0] == 127 && q[1] == -127 && scale[0] > 0.0f);
    x[0] = from_bits(179), x[1] = -x[0];
    tfm_quantize_act_i8(TFM_Q4_0, x, 32, q, scale);
    CHECK(q[0] == 120 && q[1] == -120 && scale[0] > 0.0f);
    x[7] = NAN;
    tfm_quantize_act_i8(TFM_Q8_0, x, 32, q, scale);
    CHECK(isnan(scale[0]) && q[0] == 0);
    x[7] = -INFINITY;
    tfm_quantize_act_i8(TFM_Q8_0, x, 32, q, scale);
    CHECK(isnan(scale[0]) && q[0] == 0);
}

/* ---- p16 ---- */

/* The code of element k of `row` in a panel piece at p, read as layout.c's table says. */
static unsigned panel_code(tfm_dtype t, const uint8_t *p, unsigned row, unsigned k) {
    const int has_q2 = t == TFM_Q2_K || t == TFM_Q3_K;
    const int has_h1 = t == TFM_Q5_0 || t == TFM_Q5_1 || t == TFM_Q3_K || t == TFM_Q5_K;
    const unsigned low_bytes = t == TFM_Q8_0 ? 512 : has_q2 ? 128 : 256;
    const unsigned high_bytes = has_h1 ? 64 : t == TFM_Q6_K ? 128 : 0;
    const uint8_t *low = p + k / 32 * (low_bytes + high_bytes), *high = low + low_bytes;
    const unsigned i = k % 32, b = i % 4;
    if (t == TFM_Q8_0) return low[(i / 4 * 16 + row) * 4 + b];
    const unsigned pair_at = (i / 16 * 16 + row) * 4 + b, pair_shift = i % 16 / 4 * 2;
    unsigned code = has_q2 ? low[pair_at] >> pair_shift & 3u
                           : low[(i / 8 * 16 + row) * 4 + b] >> (i % 8 / 4 * 4) & 15u;
    if (has_h1) code |= (high[row * 4 + i / 8] >> i % 8 & 1u) << (has_q2 ? 2 : 4);
    if (t == TFM_Q6_K) code |= (high[pair_at] >> pair_shift & 3u) << 4;
    return code;
}

/* Bytes of the scale parts of one row, at the end of its share of the piece: the last d or m, the
 * one before it, and the scale bytes. */
static unsigned check_tail(tfm_dtype t, const uint8_t *piece, const uint8_t *block, unsigned row) {
    const tfm_block_form *form = tfm_block_form_of(t);
    const unsigned bytes = tfm_dtype_block_bytes(t);
    unsigned at = 16 * bytes, wrong = 0;
    if (form->has_min) {
        at -= 32;
        wrong += memcmp(piece + at + 2 * row, block + form->m_at, 2) != 0;
    }
    const unsigned d_bytes = t == TFM_MXFP4 ? 1 : 2;
    at -= 16 * d_bytes;
    wrong += memcmp(piece + at + d_bytes * row, block + form->d_at, d_bytes) != 0;
    at -= 16u * form->n_scales;
    for (unsigned i = 0; i < form->n_scales; i++) {
        wrong += piece[at + i * 16 + row] != block[form->scales_at + i];
    }
    return wrong;
}

static void p16_matches_table(void) {
    for (size_t n = 0; n < N_BLOCK_TYPES; n++) {
        static uint8_t rows[16 * TFM_BLOCK_BYTES_MAX], panel[16 * TFM_BLOCK_BYTES_MAX];
        const tfm_dtype t = block_types[n];
        const uint32_t k = tfm_dtype_block(t), bytes = tfm_dtype_block_bytes(t);
        unsigned wrong = 0;
        random_bytes(rows, sizeof rows);
        CHECK_INT(tfm_pack_p16(t, 16, k, rows, panel, NULL), TFM_OK);
        for (unsigned row = 0; row < 16; row++) {
            uint8_t codes[TFM_BLOCK_MAX];
            tfm_block_codes(t, rows + row * bytes, codes);
            for (unsigned i = 0; i < k; i++) wrong += panel_code(t, panel, row, i) != codes[i];
            wrong += check_tail(t, panel, rows + row * bytes, row);
        }
        if (wrong != 0) printf("%s: %u places differ\n", tfm_dtype_name(t), wrong);
        CHECK_INT(wrong, 0);
    }
    uint16_t src[2][3] = {{1, 2, 3}, {4, 5, 6}}, out[64];
    CHECK_INT(tfm_pack_p16(TFM_F16, 2, 3, src, out, NULL), TFM_OK);
    CHECK(out[0] == 1 && out[1] == 4 && out[2] == 0 && out[16] == 2 && out[17] == 5);
    CHECK_INT(tfm_pack_p16(TFM_BF16, 2, 3, src, out, NULL), TFM_OK);
    CHECK(out[0] == 1 && out[1] == 2 && out[2] == 4 && out[3] == 5 && out[32] == 3 &&
          out[33] == 0 && out[34] == 6 && out[35] == 0);
}

/* pack, unpack is the identity on random bytes; rows read alike from both; padding is zero. */
static void p16_round_trip(tfm_dtype t, uint32_t rows, uint32_t k) {
    const uint64_t n = layout_bytes(t, TFM_LAYOUT_ROWS, rows, k);
    const uint64_t n_packed = layout_bytes(t, TFM_LAYOUT_P16, rows, k);
    uint8_t *src = malloc(n), *back = malloc(n), *packed = malloc(n_packed);
    uint8_t *again = calloc(1, n_packed);
    float *a = malloc(k * sizeof *a), *b = malloc(k * sizeof *b);
    unsigned wrong = 0;
    random_bytes(src, n);
    memset(packed, 0xaa, n_packed);
    CHECK_INT(tfm_pack_p16(t, rows, k, src, packed, NULL), TFM_OK);
    CHECK_INT(tfm_unpack_p16(t, rows, k, packed, back, NULL), TFM_OK);
    CHECK(memcmp(src, back, n) == 0);
    CHECK_INT(tfm_pack_p16(t, rows, k, back, again, NULL), TFM_OK);
    CHECK(memcmp(packed, again, n_packed) == 0);
    const tfm_tensor plain = {NULL, t, TFM_LAYOUT_ROWS, 2, {rows, k, 1, 1}, src, n};
    const tfm_tensor panels = {NULL, t, TFM_LAYOUT_P16, 2, {rows, k, 1, 1}, packed, n_packed};
    for (uint32_t r = 0; r < rows; r++) {
        wrong += tfm_tensor_row_f32(&plain, r, a, NULL) != TFM_OK;
        wrong += tfm_tensor_row_f32(&panels, r, b, NULL) != TFM_OK;
        for (uint32_t i = 0; i < k; i++) wrong += !same_f32(a[i], b[i]);
    }
    CHECK_INT(wrong, 0);
    free(src), free(back), free(packed), free(again), free(a), free(b);
}

static void p16_identity(void) {
    static const uint32_t heights[] = {1, 15, 16, 17, 33};
    static const uint32_t widths[] = {1, 2, 3, 7, 64, 65};
    for (size_t h = 0; h < 5; h++) {
        for (size_t n = 0; n < N_FLOAT_TYPES; n++) {
            for (size_t w = 0; w < 6; w++) p16_round_trip(float_types[n], heights[h], widths[w]);
        }
        for (size_t n = 0; n < N_BLOCK_TYPES; n++) {
            const tfm_dtype t = block_types[n];
            for (uint32_t w = 1; w <= 3; w++) {
                p16_round_trip(t, heights[h], w * tfm_dtype_block(t));
            }
        }
    }
}

/* One row of all ones: everything past it in the panel is zero. */
static void p16_padding(void) {
    for (size_t n = 0; n < N_BLOCK_TYPES; n++) {
        static uint8_t panel[16 * TFM_BLOCK_BYTES_MAX];
        const tfm_dtype t = block_types[n];
        const uint32_t bytes = tfm_dtype_block_bytes(t);
        uint8_t ones[TFM_BLOCK_BYTES_MAX], zero[TFM_BLOCK_BYTES_MAX] = {0};
        memset(ones, 0xff, sizeof ones);
        memset(panel, 0xaa, sizeof panel);
        CHECK_INT(tfm_pack_p16(t, 1, tfm_dtype_block(t), ones, panel, NULL), TFM_OK);
        unsigned set = 0;
        for (uint32_t i = 0; i < 16 * bytes; i++) set += panel[i] == 0xff ? 1u : 0u;
        CHECK_INT(set, bytes);
        uint8_t all[16 * TFM_BLOCK_BYTES_MAX];
        CHECK_INT(tfm_unpack_p16(t, 16, tfm_dtype_block(t), panel, all, NULL), TFM_OK);
        CHECK(memcmp(all, ones, bytes) == 0 && memcmp(all + bytes, zero, bytes) == 0);
    }
}

static void row_access(void) {
    const float src[2][2] = {{1, 2}, {3, 4}};
    tfm_tensor t = {"w", TFM_F32, TFM_LAYOUT_ROWS, 2, {2, 2, 1, 1}, src, sizeof src};
    tfm_error err = {0};
    float row[2];
    CHECK(tfm_tensor_row_f32(&t, 1, row, &err) == TFM_OK && row[0] == 3 && row[1] == 4);
    CHECK_INT(tfm_tensor_row_f32(&t, 2, row, &err), TFM_MISMATCH);
    CHECK_STR(err.message, "w: row 2 is past the last of 2 rows");
    t.bytes--;
    CHECK_INT(tfm_tensor_row_f32(&t, 0, row, &err), TFM_MISMATCH);
    t.rank = 1;
    CHECK_INT(tfm_tensor_row_f32(&t, 0, row, &err), TFM_MISMATCH);
}

/* Doubles: whole numbers that f32 would round, and the values of tfm_to_f32 over a piece's end. */
static void doubles(void) {
    const int32_t i32[] = {16777217, -7};
    const int64_t i64[] = {9007199254740991, -1};
    static float src[2048 + 32], f32[2048 + 32];
    static double f64[2048 + 32];
    static uint8_t q[(2048 + 32) / 32 * 34];
    tfm_error err = {0};
    CHECK(tfm_to_f64(TFM_I32, i32, 2, f64, &err) == TFM_OK && f64[0] == 16777217.0);
    CHECK(f64[1] == -7.0);
    CHECK(tfm_to_f64(TFM_I64, i64, 2, f64, &err) == TFM_OK && f64[0] == 9007199254740991.0);
    CHECK(f64[1] == -1.0);
    for (int i = 0; i < 2048 + 32; i++) src[i] = (float)(i % 97) - 40.25f;
    CHECK_INT(tfm_from_f32(TFM_Q8_0, src, 2048 + 32, q, &err), TFM_OK);
    CHECK_INT(tfm_to_f32(TFM_Q8_0, q, 2048 + 32, f32, &err), TFM_OK);
    CHECK_INT(tfm_to_f64(TFM_Q8_0, q, 2048 + 32, f64, &err), TFM_OK);
    unsigned wrong = 0;
    for (int i = 0; i < 2048 + 32; i++) wrong += f64[i] != (double)f32[i];
    CHECK_INT(wrong, 0);
    CHECK_INT(tfm_to_f64(TFM_Q8_0, q, 33, f64, &err), TFM_FORMAT);
    CHECK(tfm_dtype_is_integer(TFM_I64) && !tfm_dtype_is_integer(TFM_Q8_0));
}

int main(void) {
    UNIT_RUN(names);
    UNIT_RUN(sizes);
    UNIT_RUN(half_to_float);
    UNIT_RUN(half_rounding);
    UNIT_RUN(half_random);
    UNIT_RUN(bfloat);
    UNIT_RUN(plain_types);
    UNIT_RUN(golden);
    UNIT_RUN(quantise_bounds);
    UNIT_RUN(quantise_refuses);
    UNIT_RUN(activations);
    UNIT_RUN(p16_matches_table);
    UNIT_RUN(p16_identity);
    UNIT_RUN(p16_padding);
    UNIT_RUN(row_access);
    UNIT_RUN(doubles);
    return unit_done();
}
