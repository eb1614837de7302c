/* body_quant_internal.h - rows times one panel of 16 outputs, for the block-quantised types.
 *
 * Activations are int8 with a scale sx per 32 (tfm_quantize_act_i8). For groups j of 16 or 32
 * columns, ascending:
 *
 *     acc = madd((float)(sum_k q[k] x[k]), scale[j] * sx, acc)
 *     acc = madd((float)(sum_k x[k]), -(min[j] * sx), acc)           only for types with a minimum
 *
 * The integer sums are exact, so their order is free; scale[j] and min[j] are the f32 numbers that
 * tfm_block_decode gives. The bias is added last.
 *
 * A 32-bit lane of weights holds 4 columns of one output; as int16 its even bytes meet x[0], x[2],
 * its odd ones x[1], x[3], two products and their sum a lane. */

#include "tensor/block_internal.h"

/* One row of activations: [k] int16 with every 4 columns in the order 0 2 1 3, then [k/32] f32
 * scales, then [k/16] int32 sums of 16. */
static size_t quant_act_bytes(uint32_t k) {
    return (size_t)k * 2 + (size_t)k / 32 * 4 + (size_t)k / 16 * 4;
}

KERNEL static void prepare_quant(uint32_t k, const float *src, uint8_t *act) {
    int16_t *x = (int16_t *)(void *)act;
    float *scale = (float *)(void *)(act + (size_t)k * 2);
    int32_t *sum = (int32_t *)(void *)(act + (size_t)k * 2 + (size_t)k / 32 * 4);
    for (uint32_t b = 0; b < k / 32; b++) {
        int8_t q[32];
        tfm_quantize_act_i8(src + (size_t)b * 32, 32, q, &scale[b]);
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

/* Scales of the 16 outputs for 1 or 2 groups of 32 columns. */
typedef struct group_scales {
    float scale[2][TFM_PANEL], min[2][TFM_PANEL];
} __attribute__((aligned(64))) group_scales;

/* acc[16] += the group g of a part, `group` columns wide: dot * (scale * sx) - sum * (min * sx). */
INLINE void add_group(const quads *w, const int16_t *x, const group_scales *gs, int g, int group,
                      float sx, int32_t sum, bool has_min, float *acc) {
    vi dot[NV];
    dot_quads(w, x, g * group / 4, group / 4, dot);
    UNROLL for (int v = 0; v < NV; v++) {
        const vf scaled = load(&gs->scale[g][v * LANES]) * sx;
        vf y = madd(__builtin_convertvector(dot[v], vf), scaled, load(acc + v * LANES));
        if (has_min) y = madd(splat((float)sum), -(load(&gs->min[g][v * LANES]) * sx), y);
        store(acc + v * LANES, y);
    }
}

/* acc[rows][16] += one 32-column part. group: 16 or 32. */
INLINE void add_part(const tfm_cpu_linear *a, const quads *w, const group_scales *gs, size_t k,
                     int group, bool has_min, uint32_t row, size_t rows, float *acc) {
    for (size_t r = 0; r < rows; r++, acc += TFM_PANEL) {
        const uint8_t *act = a->act + (row + r) * a->act_stride;
        const int16_t *x = (const int16_t *)(const void *)act + k;
        const float *scales = (const float *)(const void *)(act + (size_t)a->k * 2);
        const int32_t *sums = (const int32_t *)(const void *)(scales + a->k / 32) + k / 16;
        const float sx = scales[k / 32];
        if (group == 32) {
            add_group(w, x, gs, 0, 32, sx, sums[0] + sums[1], has_min, acc);
        } else {
            add_group(w, x, gs, 0, 16, sx, sums[0], has_min, acc);
            add_group(w, x, gs, 1, 16, sx, sums[1], has_min, acc);
        }
    }
}

/* ---- 32-column types ---- */

INLINE void linear_32(const tfm_cpu_linear *a, const uint8_t *piece, int low_bits, int high_bits,
                      unsigned bias, bool has_min, uint32_t row, size_t rows, float *acc) {
    const size_t part = (size_t)(32 * (low_bits + high_bits) / 8 * TFM_PANEL);
    for (size_t k = 0; k < a->k; k += 32) {
        quads w;
        group_scales gs;
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
            store(&gs.scale[0][v * LANES], from_f16(piece + v * LANES * 2));
            /* min as tfm_block_scales has it: the negated m */
            if (has_min) store(&gs.min[0][v * LANES], -from_f16(piece + 32 + v * LANES * 2));
        }
        piece += has_min ? 64 : 32;
        add_part(a, &w, &gs, k, 32, has_min, row, rows, acc);
    }
}

INLINE vu bytes_u(const uint8_t *p) {
    return __builtin_convertvector(*(const mem_vb *)p, vu);
}

/* Every byte of codes, 0 to 15, by values: a tree of choices, each by one bit of the code spread
 * over its byte. There is no shuffle in generic vectors, and 64 look-ups take longer. */
INLINE vu look_up(vu codes, const int8_t *values) {
    vu v[16];
    UNROLL for (int i = 0; i < 16; i++) v[i] = splat_u(0x01010101u * (uint8_t)values[i]);
    UNROLL for (int bit = 0; bit < 4; bit++) {
        const vu one = (codes >> bit) & 0x01010101u, mask = (one << 8) - one; /* one * 255 */
        UNROLL for (int i = 0; i < 8 >> bit; i++) {
            v[i] = v[2 * i] ^ (mask & (v[2 * i] ^ v[2 * i + 1]));
        }
    }
    return v[0];
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
        group_scales gs;
        decode_values(piece, values, &w);
        piece += 16 * TFM_PANEL;
        if (is_e8m0) {
            UNROLL for (int v = 0; v < NV; v++) {
                store(&gs.scale[0][v * LANES], from_e8m0(piece + v * LANES));
            }
        } else {
            UNROLL for (int v = 0; v < NV; v++) {
                store(&gs.scale[0][v * LANES], from_f16(piece + v * LANES * 2));
            }
        }
        piece += (is_e8m0 ? 1 : 2) * TFM_PANEL;
        add_part(a, &w, &gs, k, 32, false, row, rows, acc);
    }
}

/* ---- k-quants: 256 columns ---- */

/* The small integer scale and min of group j as in tfm_kquant_scales; s: [n_scales][16] bytes. */
INLINE void small_scales(tfm_dtype t, const uint8_t *s, int j, int v, vf *scale, vf *min) {
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
    } else if (j < 4) {
        a = BYTE(j) & 63u;
        b = BYTE(4 + j) & 63u;
    } else {
        a = (BYTE(4 + j) & 15u) | (BYTE(j - 4) >> 6) << 4;
        b = BYTE(4 + j) >> 4 | (BYTE(j) >> 6) << 4;
    }
#undef BYTE
    *scale = __builtin_convertvector((vi)a, vf);
    *min = __builtin_convertvector((vi)b, vf);
}

/* group: columns a scale; n_scales: scale bytes a block. */
INLINE void linear_256(const tfm_cpu_linear *a, const uint8_t *piece, const tfm_dtype t,
                       int low_bits, int high_bits, unsigned bias, int group, int n_scales,
                       bool has_min, uint32_t row, size_t rows, float *acc) {
    const size_t part = (size_t)(32 * (low_bits + high_bits) / 8 * TFM_PANEL);
    for (size_t k = 0; k < a->k; k += 256) {
        const uint8_t *packed = piece + 8 * part, *d = packed + n_scales * TFM_PANEL;
        for (int i = 0; i < 8; i++, piece += part) {
            quads w;
            group_scales gs;
            decode_codes(piece, low_bits, high_bits, bias, &w);
            for (int g = 0; g < 32 / group; g++) {
                UNROLL for (int v = 0; v < NV; v++) {
                    vf scale, min;
                    small_scales(t, packed, i * (32 / group) + g, v, &scale, &min);
                    store(&gs.scale[g][v * LANES], from_f16(d + v * LANES * 2) * scale);
                    if (!has_min) continue;
                    store(&gs.min[g][v * LANES], from_f16(d + 32 + v * LANES * 2) * min);
                }
            }
            add_part(a, &w, &gs, k + (size_t)i * 32, group, has_min, row, rows, acc);
        }
        piece = d + (has_min ? 64 : 32);
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

enum { QUANT_ROWS = 32 };

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
