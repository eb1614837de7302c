/* body_quant_internal.h - rows times one panel of 16 outputs, for the block-quantised types.
 *
 * Activations are int8 with a scale sx per block of the weight's type (tfm_quantize_act_i8). Types
 * of 32 columns a block, blocks ascending, d and m the block's scale and min (the second line only
 * for types with a minimum):
 *
 *     acc = madd((float)(sum_k q[k] x[k]), d * sx, acc)
 *     acc = madd((float)(sum_k x[k]), -(m * sx), acc)
 *
 * k-quants, 256 columns a block with small integer scales s[j] and mins n[j] of its groups of 16 or
 * 32 columns:
 *
 *     acc = madd((float)(sum_j s[j] * sum_k q[k] x[k]), d * sx, acc)
 *     acc = madd((float)(sum_j n[j] * sum_k x[k]), -(dmin * sx), acc)
 *
 * The integer sums are exact and fit in 32 bits (kquant_line_internal.h), so their order is free.
 * The bias is added last.
 *
 * A 32-bit lane of weights holds 4 columns of one output; as int16 its even bytes meet x[0], x[2],
 * its odd ones x[1], x[3], two products and their sum a lane. */

#include "tensor/block_internal.h"

/* One row of activations: [k] int16 with every 4 columns in the order 0 2 1 3, then [k/32] f32
 * scales (k-quants: a block's eight are equal), then [k/16] int32 sums of 16. */
static size_t quant_act_bytes(tfm_dtype t, uint32_t k) {
    (void)t;
    return (size_t)k * 2 + (size_t)k / 32 * 4 + (size_t)k / 16 * 4;
}

KERNEL static void prepare_quant(tfm_dtype t, uint32_t k, const float *src, uint8_t *act) {
    const uint32_t block = tfm_dtype_block(t);
    int16_t *x = (int16_t *)(void *)act;
    float *scale = (float *)(void *)(act + (size_t)k * 2);
    int32_t *sum = (int32_t *)(void *)(act + (size_t)k * 2 + (size_t)k / 32 * 4);
    int8_t codes[TFM_BLOCK_MAX];
    for (uint32_t b = 0; b < k / 32; b++) {
        const uint32_t in_block = b * 32 % block;
        const int8_t *q = codes + in_block;
        if (in_block == 0)
            tfm_quantize_act_i8(t, src + (size_t)b * 32, block, codes, &scale[b]);
        else
            scale[b] = scale[b - 1];
        for (int i = 0; i < 32; i += 4, x += 4) {
            x[0] = q[i], x[1] = q[i + 2], x[2] = q[i + 1], x[3] = q[i + 3];
        }
        for (int half = 0; half < 2; half++) {
            int32_t s = 0;
            for (int i = 0; i < 16; i++) s += q[16 * half + i];
            sum[2 * b + (uint32_t)half] = s;
        }
    }
}

/* 32 columns of a panel, ready for multiplication: even and odd columns of each 4 as int16. */
typedef struct quads {
    int16_t even[8][2 * TFM_PANEL], odd[8][2 * TFM_PANEL];
} __attribute__((aligned(64))) quads;

/* One vector of codes, 4 columns a lane, as bytes; less bias; split into even and odd. */
INLINE void put_quad(quads *to, int j, int v, vu codes, unsigned bias) {
    const vs even = (vs)(codes & 0x00ff00ffu), odd = (vs)((codes >> 8) & 0x00ff00ffu);
    store(&to->even[j][v * LANES * 2], (vf)(even - (int16_t)bias));
    store(&to->odd[j][v * LANES * 2], (vf)(odd - (int16_t)bias));
}

INLINE void put_signed_quad(quads *to, int j, int v, vu codes) {
    store(&to->even[j][v * LANES * 2], (vf)((vs)(codes << 8) >> 8));
    store(&to->odd[j][v * LANES * 2], (vf)((vs)codes >> 8));
}

/* The Q and H parts of 32 columns (layout.c). low_bits 2, 4; high_bits 0, 1, 2. */
INLINE void decode_codes(const uint8_t *part, int low_bits, int high_bits, unsigned bias,
                         quads *to) {
    const uint8_t *high = part + 32 * low_bits / 8 * TFM_PANEL;
    const int low_per = 8 / low_bits; /* quads in one 32-bit lane */
    UNROLL for (int v = 0; v < NV; v++) {
        const vu h1 = high_bits == 1 ? load_u(high + v * LANES * 4) : splat_u(0);
        UNROLL for (int j = 0; j < 8; j++) {
            const uint8_t *at = part + (j / low_per * TFM_PANEL + v * LANES) * 4;
            const uint32_t mask = low_bits == 4 ? 0x0f0f0f0fu : 0x03030303u;
            vu codes = (load_u(at) >> (j % low_per * low_bits)) & mask;
            if (high_bits == 1) { /* bits 4j..4j+3 to the 4 bytes */
                const vu b = (h1 >> (4 * j)) & 0xfu;
                const vu two = b | b << 7;
                codes |= ((two | two << 14) & 0x01010101u) << low_bits;
            } else if (high_bits == 2) {
                const uint8_t *ht = high + (j / 4 * TFM_PANEL + v * LANES) * 4;
                codes |= ((load_u(ht) >> (j % 4 * 2)) & 0x03030303u) << low_bits;
            }
            put_quad(to, j, v, codes, bias);
        }
    }
}

/* dot[16] of the quads [first, first + count) with one row. */
INLINE void dot_quads(const quads *w, const int16_t *x, int first, int count, vi dot[NV]) {
    UNROLL for (int v = 0; v < NV; v++) {
        dot[v] = (vi){0};
        UNROLL for (int j = first; j < first + count; j++) {
            int32_t pair[2];
            memcpy(pair, x + 4 * j, sizeof pair);
            const vs even = (vs)load(&w->even[j][v * LANES * 2]);
            const vs odd = (vs)load(&w->odd[j][v * LANES * 2]);
            dot[v] += add_pairs(even, (vs)((vi){0} + pair[0]));
            dot[v] += add_pairs(odd, (vs)((vi){0} + pair[1]));
        }
    }
}

/* Columns k, k + 1 .. of a row of activations. */
typedef struct act_at {
    const int16_t *x;
    float scale;
    const int32_t *sum; /* of 16 columns each */
} act_at;

INLINE act_at find_act(const tfm_cpu_linear *a, size_t row, size_t k) {
    const uint8_t *act = a->act + row * a->act_stride;
    const float *scales = (const float *)(const void *)(act + (size_t)a->k * 2);
    const int32_t *sums = (const int32_t *)(const void *)(scales + a->k / 32);
    return (act_at){(const int16_t *)(const void *)act + k, scales[k / 32], sums + k / 16};
}

/* The 16 outputs' scale and min of a block. */
typedef struct block_scales {
    float scale[TFM_PANEL], min[TFM_PANEL];
} __attribute__((aligned(64))) block_scales;

/* acc[rows][16] += one block of 32 columns. */
INLINE void add_part(const tfm_cpu_linear *a, const quads *w, const block_scales *s, size_t k,
                     bool has_min, uint32_t row, size_t rows, float *acc) {
    for (size_t r = 0; r < rows; r++, acc += TFM_PANEL) {
        const act_at x = find_act(a, row + r, k);
        const float sum = (float)(x.sum[0] + x.sum[1]);
        vi dot[NV];
        dot_quads(w, x.x, 0, 8, dot);
        UNROLL for (int v = 0; v < NV; v++) {
            const vf scaled = load(&s->scale[v * LANES]) * x.scale;
            vf y = madd(__builtin_convertvector(dot[v], vf), scaled, load(acc + v * LANES));
            if (has_min) y = madd(splat(sum), -(load(&s->min[v * LANES]) * x.scale), y);
            store(acc + v * LANES, y);
        }
    }
}

/* ---- 32-column types ---- */

INLINE void linear_32(const tfm_cpu_linear *a, const uint8_t *piece, int low_bits, int high_bits,
                      unsigned bias, bool has_min, uint32_t row, size_t rows, float *acc) {
    const size_t part = (size_t)(32 * (low_bits + high_bits) / 8 * TFM_PANEL);
    for (size_t k = 0; k < a->k; k += 32) {
        quads w;
        block_scales gs;
        if (low_bits == 8) {
            UNROLL for (int j = 0; j < 8; j++) {
                UNROLL for (int v = 0; v < NV; v++) {
                    put_signed_quad(&w, j, v, load_u(piece + (j * TFM_PANEL + v * LANES) * 4));
                }
            }
        } else {
            decode_codes(piece, low_bits, high_bits, bias, &w);
        }
        piece += part;
        UNROLL for (int v = 0; v < NV; v++) {
            store(&gs.scale[v * LANES], from_f16(piece + v * LANES * 2));
            /* min as tfm_block_scales has it: the negated m */
            if (has_min) store(&gs.min[v * LANES], -from_f16(piece + 32 + v * LANES * 2));
        }
        piece += has_min ? 64 : 32;
        add_part(a, &w, &gs, k, has_min, row, rows, acc);
    }
}

INLINE vu bytes_u(const uint8_t *p) {
    return __builtin_convertvector(*(const mem_vb *)p, vu);
}

/* Bytes of one of two, by a bit of each code. */
INLINE vu choose(vu codes, int bit, const vu *two) {
    const vu one = (codes >> bit) & 0x01010101u, mask = (one << 8) - one; /* one * 255 */
    return two[0] ^ (mask & (two[0] ^ two[1]));
}

/* Every byte of codes, 0 to 15, by values: a tree of choices, each by one bit of the code spread
 * over its byte. There is no shuffle in generic vectors, and 64 look-ups take longer. */
INLINE vu look_up(vu codes, const int8_t *values) {
    vu v[16];
    UNROLL for (int i = 0; i < 16; i++) v[i] = splat_u(0x01010101u * (uint8_t)values[i]);
    UNROLL for (int i = 0; i < 8; i++) v[i] = choose(codes, 0, v + 2 * i);
    UNROLL for (int i = 0; i < 4; i++) v[i] = choose(codes, 1, v + 2 * i);
    UNROLL for (int i = 0; i < 2; i++) v[i] = choose(codes, 2, v + 2 * i);
    return choose(codes, 3, v);
}

/* tfm_e8m0_half of LANES bytes: (e - 1) << 23, and the two subnormals 1 << 21 and 1 << 22. */
INLINE vf from_e8m0(const uint8_t *p) {
    const vu e = bytes_u(p), tiny = (vu)(e < 2);
    return (vf)((tiny & ((vu){0} + (1u << 21)) << (e & 1)) | (~tiny & (e - 1) << 23));
}

/* Nibbles that number 16 values (tfm_block_form.values). */
INLINE void decode_values(const uint8_t *part, const int8_t *values, quads *to) {
    for (int v = 0; v < NV; v++) {
        for (int j = 0; j < 8; j++) {
            const vu both = load_u(part + (j / 2 * TFM_PANEL + v * LANES) * 4);
            put_signed_quad(to, j, v, look_up((both >> (4 * (j % 2))) & 0x0f0f0f0fu, values));
        }
    }
}

INLINE void linear_values(const tfm_cpu_linear *a, const uint8_t *piece, const int8_t *values,
                          bool is_e8m0, uint32_t row, size_t rows, float *acc) {
    for (size_t k = 0; k < a->k; k += 32) {
        quads w;
        block_scales gs;
        decode_values(piece, values, &w);
        piece += 16 * TFM_PANEL;
        if (is_e8m0) {
            UNROLL for (int v = 0; v < NV; v++) {
                store(&gs.scale[v * LANES], from_e8m0(piece + v * LANES));
            }
        } else {
            UNROLL for (int v = 0; v < NV; v++) {
                store(&gs.scale[v * LANES], from_f16(piece + v * LANES * 2));
            }
        }
        piece += (is_e8m0 ? 1 : 2) * TFM_PANEL;
        add_part(a, &w, &gs, k, false, row, rows, acc);
    }
}

/* ---- k-quants: 256 columns ---- */

/* The small integer scale and min of group j as in tfm_kquant_scales; s: [n_scales][16] bytes. */
INLINE void small_scales(tfm_dtype t, const uint8_t *s, int j, int v, vi *scale, vi *min) {
    vu a = splat_u(0), b = splat_u(0);
    s += v * LANES;
#define BYTE(i) bytes_u(s + (i)*TFM_PANEL)
    if (t == TFM_Q2_K) {
        a = BYTE(j) & 15u;
        b = BYTE(j) >> 4;
    } else if (t == TFM_Q3_K) {
        a = (BYTE(j % 8) >> (uint32_t)(j / 8 * 4)) & 15u;
        a |= ((BYTE(8 + j % 4) >> (uint32_t)(j / 4 * 2)) & 3u) << 4;
        a -= 32u;
    } else if (t == TFM_Q6_K) {
        a = (vu) __builtin_convertvector(*(const mem_vc *)(s + j * TFM_PANEL), vi);
    } else if (t == TFM_IQ4_XS) {
        a = (BYTE(2 + j / 2) >> (uint32_t)(j % 2 * 4)) & 15u;
        a |= ((BYTE(j / 4) >> (uint32_t)(j % 4 * 2)) & 3u) << 4;
        a -= 32u;
    } else if (j < 4) {
        a = BYTE(j) & 63u;
        b = BYTE(4 + j) & 63u;
    } else {
        a = (BYTE(4 + j) & 15u) | (BYTE(j - 4) >> 6) << 4;
        b = BYTE(4 + j) >> 4 | (BYTE(j) >> 6) << 4;
    }
#undef BYTE
    *scale = (vi)a;
    *min = (vi)b;
}

enum { QUANT_ROWS = 32 };

/* The integer sums of a block of 256 columns. */
typedef struct block_sums {
    int32_t dot[QUANT_ROWS * TFM_PANEL], min[QUANT_ROWS * TFM_PANEL]; /* [rows][16] */
} __attribute__((aligned(64))) block_sums;

INLINE vi load_i(const int32_t *p) {
    return (vi)load((const float *)(const void *)p);
}

INLINE void store_i(int32_t *p, vi v) {
    store((float *)(void *)p, (vf)v);
}

/* sums += group g of the part at column k: `group` columns with small scale and min. */
INLINE void add_group(const tfm_cpu_linear *a, const quads *w, size_t k, int g, int group,
                      const vi scale[NV], const vi min[NV], bool has_min, uint32_t row, size_t rows,
                      block_sums *sums) {
    for (size_t r = 0; r < rows; r++) {
        const act_at x = find_act(a, row + r, k);
        const int32_t sum = group == 32 ? x.sum[0] + x.sum[1] : x.sum[g];
        vi dot[NV];
        dot_quads(w, x.x, g * group / 4, group / 4, dot);
        UNROLL for (int v = 0; v < NV; v++) {
            int32_t *to = &sums->dot[r * TFM_PANEL + (size_t)(v * LANES)];
            store_i(to, load_i(to) + dot[v] * scale[v]);
            if (!has_min) continue;
            to = &sums->min[r * TFM_PANEL + (size_t)(v * LANES)];
            store_i(to, load_i(to) + min[v] * sum);
        }
    }
}

/* acc[rows][16] += a block; halves: d and dmin. */
INLINE void add_block(const tfm_cpu_linear *a, const block_sums *sums, const uint8_t *halves,
                      size_t k, bool has_min, uint32_t row, size_t rows, float *acc) {
    for (size_t r = 0; r < rows; r++) {
        const float sx = find_act(a, row + r, k).scale;
        UNROLL for (int v = 0; v < NV; v++) {
            const size_t at = r * TFM_PANEL + (size_t)(v * LANES);
            const vf dot = __builtin_convertvector(load_i(&sums->dot[at]), vf);
            vf y = madd(dot, from_f16(halves + v * LANES * 2) * sx, load(acc + at));
            if (has_min) {
                const vf min = __builtin_convertvector(load_i(&sums->min[at]), vf);
                y = madd(min, -(from_f16(halves + 32 + v * LANES * 2) * sx), y);
            }
            store(acc + at, y);
        }
    }
}

/* group: columns a scale; n_scales: scale bytes a block. */
INLINE void linear_256(const tfm_cpu_linear *a, const uint8_t *piece, const tfm_dtype t,
                       int low_bits, int high_bits, unsigned bias, int group, int n_scales,
                       bool has_min, uint32_t row, size_t rows, float *acc) {
    const size_t part = (size_t)(32 * (low_bits + high_bits) / 8 * TFM_PANEL);
    for (size_t k = 0; k < a->k; k += 256) {
        const uint8_t *packed = piece + 8 * part, *halves = packed + n_scales * TFM_PANEL;
        block_sums sums;
        memset(sums.dot, 0, rows * TFM_PANEL * sizeof *sums.dot);
        memset(sums.min, 0, rows * TFM_PANEL * sizeof *sums.min);
        for (int i = 0; i < 8; i++, piece += part) {
            quads w;
            if (t == TFM_IQ4_XS)
                decode_values(piece, tfm_iq4_values, &w);
            else
                decode_codes(piece, low_bits, high_bits, bias, &w);
            for (int g = 0; g < 32 / group; g++) {
                vi scale[NV], min[NV];
                UNROLL for (int v = 0; v < NV; v++) {
                    small_scales(t, packed, i * (32 / group) + g, v, &scale[v], &min[v]);
                }
                add_group(a, &w, k + (size_t)i * 32, g, group, scale, min, has_min, row, rows,
                          &sums);
            }
        }
        add_block(a, &sums, halves, k, has_min, row, rows, acc);
        piece = halves + (has_min ? 64 : 32);
    }
}

/* One function a type, so that every shift and mask above is a constant. */
#define LINEAR_32(name, low, high, bias, has_min)                                                  \
    KERNEL static void name(const tfm_cpu_linear *a, const uint8_t *w, uint32_t row, size_t rows,  \
                            float *acc) {                                                          \
        linear_32(a, w, low, high, bias, has_min, row, rows, acc);                                 \
    }
#define LINEAR_VALUES(name, values, is_e8m0)                                                       \
    KERNEL static void name(const tfm_cpu_linear *a, const uint8_t *w, uint32_t row, size_t rows,  \
                            float *acc) {                                                          \
        linear_values(a, w, values, is_e8m0, row, rows, acc);                                      \
    }
#define LINEAR_256(name, type, low, high, bias, group, n_scales, has_min)                          \
    KERNEL static void name(const tfm_cpu_linear *a, const uint8_t *w, uint32_t row, size_t rows,  \
                            float *acc) {                                                          \
        linear_256(a, w, type, low, high, bias, group, n_scales, has_min, row, rows, acc);         \
    }

LINEAR_32(linear_q4_0, 4, 0, 8, false)
LINEAR_32(linear_q4_1, 4, 0, 0, true)
LINEAR_32(linear_q5_0, 4, 1, 16, false)
LINEAR_32(linear_q5_1, 4, 1, 0, true)
LINEAR_32(linear_q8_0, 8, 0, 0, false)
LINEAR_VALUES(linear_iq4_nl, tfm_iq4_values, false)
LINEAR_VALUES(linear_mxfp4, tfm_fp4_values, true)
LINEAR_256(linear_q2_k, TFM_Q2_K, 2, 0, 0, 16, 16, true)
LINEAR_256(linear_q3_k, TFM_Q3_K, 2, 1, 4, 16, 12, false)
LINEAR_256(linear_q4_k, TFM_Q4_K, 4, 0, 0, 32, 12, true)
LINEAR_256(linear_q5_k, TFM_Q5_K, 4, 1, 0, 32, 12, true)
LINEAR_256(linear_q6_k, TFM_Q6_K, 4, 2, 32, 16, 16, false)
LINEAR_256(linear_iq4_xs, TFM_IQ4_XS, 4, 0, 0, 32, 6, false)

KERNEL static void linear_quant(const tfm_cpu_linear *a, uint32_t panel, uint32_t row,
                                uint32_t row_end) {
    float acc[QUANT_ROWS * TFM_PANEL] __attribute__((aligned(64)));
    const uint8_t *w = a->w + panel * a->panel_bytes;
    const size_t rows = row_end - row;
    memset(acc, 0, rows * TFM_PANEL * sizeof *acc);
    switch (a->type) {
    case TFM_Q4_0: linear_q4_0(a, w, row, rows, acc); break;
    case TFM_Q4_1: linear_q4_1(a, w, row, rows, acc); break;
    case TFM_Q5_0: linear_q5_0(a, w, row, rows, acc); break;
    case TFM_Q5_1: linear_q5_1(a, w, row, rows, acc); break;
    case TFM_Q8_0: linear_q8_0(a, w, row, rows, acc); break;
    case TFM_IQ4_NL: linear_iq4_nl(a, w, row, rows, acc); break;
    case TFM_MXFP4: linear_mxfp4(a, w, row, rows, acc); break;
    case TFM_Q2_K: linear_q2_k(a, w, row, rows, acc); break;
    case TFM_Q3_K: linear_q3_k(a, w, row, rows, acc); break;
    case TFM_Q4_K: linear_q4_k(a, w, row, rows, acc); break;
    case TFM_Q5_K: linear_q5_k(a, w, row, rows, acc); break;
    case TFM_IQ4_XS: linear_iq4_xs(a, w, row, rows, acc); break;
    default: linear_q6_k(a, w, row, rows, acc); break;
    }
    finish_panels(a, panel, panel + 1, acc, TFM_PANEL, row, rows);
}

/* A block of rows passes over all panels before the next block comes: the panels stay in L2, the
 * rows in L1. */
static void linear_quant_all(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end,
                             uint32_t row, uint32_t row_end) {
    for (; row < row_end; row += QUANT_ROWS) {
        const uint32_t end = row_end - row < QUANT_ROWS ? row_end : row + QUANT_ROWS;
        for (uint32_t p = panel; p < panel_end; p++) linear_quant(a, p, row, end);
    }
}
