/* avx512_quant_internal.h - rows times panels of 16 outputs, for the block-quantised types, VNNI.
 *
 * Included by body_internal.h in place of body_quant_internal.h. The numerics are those of
 * quant_line_internal.h; integer sums are exact, so only the float operations written there have an
 * order. vpdpbusd multiplies unsigned by signed bytes: weights are made unsigned by adding a bias,
 * and each integer sum starts at -bias * sum(x), which the line of activations has ready.
 *
 * 32 columns of one or two panels are decoded into 8 or 16 registers once and meet every row of a
 * block there: what a type costs to decode is shared by up to QUANT_ROWS rows, and an inner step is
 * one cache line of activations, 16 multiplications of 64 pairs and one update of two sums in L1. A
 * single row keeps its sums in registers: then the weights come from memory, strictly forward. */
#include "backend/cpu/quant_line_internal.h"

enum {
    QUANT_ROWS = 64,    /* rows of a block: their sums and current lines fill half of an L1 cache */
    QUANT_AHEAD = 2048, /* bytes of weights that are asked for before they are used */
    QUANT_FAR_AHEAD = 3072, /* so for a single row: what one thread can have on its way */
    QUANT_PAGE_AHEAD = 4096 /* a single row: the processor's own requests end with the page */
};

/* 32 columns of one panel: 4 columns of 16 outputs a vector, biased; scale and min of its
 * groups. */
typedef struct quant_part {
    __m512i q[8];
    __m512 scale[2], min[2];
} quant_part;

/* ---- decoding ---- */

INLINE __m512i load_q(const uint8_t *p) {
    return _mm512_loadu_si512(p);
}

INLINE __m512i bytes_q(int byte) {
    return _mm512_set1_epi8((char)byte);
}

INLINE __m512 load_halves(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)(const void *)p));
}

/* (a & b) | c */
INLINE __m512i and_or(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0xea);
}

INLINE void decode_nibbles(const uint8_t *part, quant_part *w, int set_bits) {
    UNROLL for (int j = 0; j < 4; j++) {
        const __m512i both = load_q(part + 64 * j), high = _mm512_srli_epi32(both, 4);
        w->q[2 * j] = and_or(both, bytes_q(15), bytes_q(set_bits));
        w->q[2 * j + 1] = and_or(high, bytes_q(15), bytes_q(set_bits));
    }
}

/* Adds weight to the bytes whose bit in H1 is set: a row's byte j/2 has the bits of quads j,
 * j+1. */
INLINE void decode_high_bits(const uint8_t *high, quant_part *w, int weight) {
    const __m512i words = load_q(high);
    UNROLL for (int j = 0; j < 4; j++) {
        const __m512i pick =
            _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), bytes_q(j));
        const __m512i bits = _mm512_shuffle_epi8(words, pick);
        UNROLL for (int i = 0; i < 2; i++) {
            const __m512i bit = _mm512_set1_epi32(i == 0 ? 0x08040201 : (int)0x80402010u);
            __m512i *q = &w->q[2 * j + i];
            *q = _mm512_mask_add_epi8(*q, _mm512_test_epi8_mask(bits, bit), *q, bytes_q(weight));
        }
    }
}

/* Nibbles to what they stand for, with a bias of 128. */
INLINE void look_up_nibbles(const tfm_dtype t, quant_part *w) {
    const int8_t *values = t == TFM_IQ4_NL ? tfm_iq4_values : tfm_fp4_values;
    const __m128i one = _mm_loadu_si128((const __m128i_u *)(const void *)values);
    const __m512i table = _mm512_xor_si512(_mm512_broadcast_i32x4(one), bytes_q(0x80));
    UNROLL for (int j = 0; j < 8; j++) w->q[j] = _mm512_shuffle_epi8(table, w->q[j]);
}

/* tfm_e8m0_half of 16 bytes: (e - 1) << 23, and the two subnormals 1 << 21 and 1 << 22. */
INLINE __m512 load_e8m0(const uint8_t *p) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)(const void *)p));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __mmask16 tiny = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, tiny, _mm512_set1_epi32(1 << 21), e));
}

INLINE void decode_q6_k(const uint8_t *part, quant_part *w) {
    decode_nibbles(part, w, 0);
    UNROLL for (int j = 0; j < 2; j++) {
        const __m512i h = load_q(part + 256 + 64 * j), mask = bytes_q(0x30);
        const __m512i at[4] = {_mm512_slli_epi32(h, 4), _mm512_slli_epi32(h, 2), h,
                               _mm512_srli_epi32(h, 2)};
        UNROLL for (int f = 0; f < 4; f++) w->q[4 * j + f] = and_or(at[f], mask, w->q[4 * j + f]);
    }
}

/* 16 bytes, one an output, each four times: the 4 columns of every lane. */
INLINE __m512i spread_bytes(__m128i one) {
    const __m512i pick =
        _mm512_set_epi32(0x0f0f0f0f, 0x0e0e0e0e, 0x0d0d0d0d, 0x0c0c0c0c, 0x0b0b0b0b, 0x0a0a0a0a,
                         0x09090909, 0x08080808, 0x07070707, 0x06060606, 0x05050505, 0x04040404,
                         0x03030303, 0x02020202, 0x01010101, 0);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(one), pick);
}

/* Q2 codes of 16 columns through a table of 4 bytes an output (lane). */
INLINE void look_up_codes(const uint8_t *part, __m512i table, __m512i q[4]) {
    const __m512i codes = load_q(part);
    const __m512i lane = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    UNROLL for (int f = 0; f < 4; f++) {
        const __m512i index = and_or(_mm512_srli_epi32(codes, (unsigned)(2 * f)), bytes_q(3), lane);
        q[f] = _mm512_shuffle_epi8(table, index);
    }
}

/* code * scale, at most 45, for both groups of part i. */
INLINE void decode_q2_k(const uint8_t *part, const uint8_t *packed, int i, quant_part *w) {
    UNROLL for (int g = 0; g < 2; g++) {
        const uint8_t *at = packed + (2 * i + g) * TFM_PANEL;
        const __m128i low =
            _mm_and_si128(_mm_loadu_si128((const __m128i_u *)(const void *)at), _mm_set1_epi8(15));
        const __m512i s = spread_bytes(low), s2 = _mm512_add_epi8(s, s);
        const __m512i table =
            _mm512_add_epi8(_mm512_and_si512(s, _mm512_set1_epi32((int)0xff00ff00u)),
                            _mm512_and_si512(s2, _mm512_set1_epi32((int)0xffff0000u)));
        look_up_codes(part + 64 * g, table, w->q + 4 * g);
    }
}

/* The signed 6-bit scales of group j of a q3_K block. */
INLINE __m128i scale_q3_k(const uint8_t *packed, int j) {
    const __m128i low = _mm_loadu_si128((const __m128i_u *)(const void *)(packed + j % 8 * 16));
    const __m128i high =
        _mm_loadu_si128((const __m128i_u *)(const void *)(packed + (8 + j % 4) * 16));
    const __m128i l = _mm_and_si128(_mm_srli_epi32(low, j / 8 * 4), _mm_set1_epi8(15));
    const __m128i h = _mm_and_si128(_mm_srli_epi32(high, j / 4 * 2), _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(l, _mm_slli_epi32(h, 4)), _mm_set1_epi8(32));
}

/* 128 - (code - 4) * scale, from 0 to 252: the table has the low two bits, 128 + (4 - low) * scale,
 * and where the high bit is set four scales are taken off. */
INLINE void decode_q3_k(const uint8_t *part, const uint8_t *packed, int i, quant_part *w) {
    const __m512i words = load_q(part + 128);
    UNROLL for (int g = 0; g < 2; g++) {
        const __m512i s = spread_bytes(scale_q3_k(packed, 2 * i + g));
        const __m512i s2 = _mm512_add_epi8(s, s), s4 = _mm512_add_epi8(s2, s2);
        const __m512i odd = _mm512_and_si512(s, _mm512_set1_epi32((int)0xff00ff00u));
        const __m512i two = and_or(s2, _mm512_set1_epi32(0x00ffff00),
                                   _mm512_and_si512(s4, _mm512_set1_epi32(0x000000ff)));
        const __m512i table = _mm512_xor_si512(_mm512_add_epi8(odd, two), bytes_q(0x80));
        look_up_codes(part + 64 * g, table, w->q + 4 * g);
        UNROLL for (int f = 0; f < 4; f++) {
            const int j = 4 * g + f;
            const __m512i pick = _mm512_add_epi8(
                _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), bytes_q(j / 2));
            const __m512i bit = _mm512_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010u);
            const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(words, pick), bit);
            w->q[j] = _mm512_mask_sub_epi8(w->q[j], set, w->q[j], s4);
        }
    }
}

INLINE __m512 float_bytes(__m128i b) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
}

INLINE __m128i packed_at(const uint8_t *packed, int i) {
    return _mm_loadu_si128((const __m128i_u *)(const void *)(packed + i * TFM_PANEL));
}

/* The 6-bit scale and min of group j of a q4_K or q5_K block. */
INLINE void scales_q4_k(const uint8_t *packed, int j, __m128i *scale, __m128i *min) {
    const __m128i six = _mm_set1_epi8(63), four = _mm_set1_epi8(15), top = _mm_set1_epi8(0x30);
    if (j < 4) {
        *scale = _mm_and_si128(packed_at(packed, j), six);
        *min = _mm_and_si128(packed_at(packed, 4 + j), six);
        return;
    }
    const __m128i both = packed_at(packed, 4 + j);
    const __m128i s = packed_at(packed, j - 4), m = packed_at(packed, j);
    *scale = _mm_or_si128(_mm_and_si128(both, four), _mm_and_si128(_mm_srli_epi32(s, 2), top));
    *min = _mm_or_si128(_mm_and_si128(_mm_srli_epi32(both, 4), four),
                        _mm_and_si128(_mm_srli_epi32(m, 2), top));
}

/* The scales of part i of a k-quant block; packed: what follows its parts. */
INLINE void decode_scales(const tfm_dtype t, const uint8_t *packed, int i, quant_part *w) {
    const uint8_t *halves = packed + quant_tail_bytes(t) - (quant_has_min(t) ? 64 : 32);
    const __m512 d = load_halves(halves);
    const __m512 dmin = quant_has_min(t) ? load_halves(halves + 32) : _mm512_setzero_ps();
    __m128i scale, min;
    switch (t) {
    case TFM_Q2_K: /* the small scales are in the products */
        w->scale[0] = d;
        UNROLL for (int g = 0; g < 2; g++) {
            min = _mm_srli_epi32(packed_at(packed, 2 * i + g), 4);
            w->min[g] = _mm512_mul_ps(dmin, float_bytes(_mm_and_si128(min, _mm_set1_epi8(15))));
        }
        break;
    case TFM_Q3_K: /* so here, negated (decode_q3_k) */
        w->scale[0] = _mm512_sub_ps(_mm512_setzero_ps(), d);
        break;
    case TFM_Q6_K:
        UNROLL for (int g = 0; g < 2; g++) {
            scale = packed_at(packed, 2 * i + g);
            w->scale[g] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(scale)));
        }
        break;
    default:
        scales_q4_k(packed, i, &scale, &min);
        w->scale[0] = _mm512_mul_ps(d, float_bytes(scale));
        w->min[0] = _mm512_mul_ps(dmin, float_bytes(min));
        break;
    }
}

/* The codes of part i of a block; packed: of a k-quant block only. */
INLINE void decode_codes(const tfm_dtype t, const uint8_t *part, const uint8_t *packed, int i,
                         quant_part *w) {
    if (t == TFM_Q8_0) {
        UNROLL for (int j = 0; j < 8; j++) {
            w->q[j] = _mm512_xor_si512(load_q(part + 64 * j), bytes_q(0x80));
        }
    } else if (t == TFM_Q2_K) {
        decode_q2_k(part, packed, i, w);
    } else if (t == TFM_Q3_K) {
        decode_q3_k(part, packed, i, w);
    } else if (t == TFM_Q6_K) {
        decode_q6_k(part, w);
    } else {
        /* q5_0: 0x70 and the high bit's 16 make code + 112, that is a bias of 128 */
        decode_nibbles(part, w, t == TFM_Q5_0 ? 0x70 : 0);
        if (t == TFM_Q5_0 || t == TFM_Q5_1 || t == TFM_Q5_K) decode_high_bits(part + 256, w, 16);
        if (quant_has_table(t)) look_up_nibbles(t, w);
    }
}

/* The scales of a part of 32 columns that has its own. */
INLINE void own_scales(const tfm_dtype t, const uint8_t *part, quant_part *w) {
    const uint8_t *halves = part + quant_part_bytes(t) - (quant_has_min(t) ? 64 : 32);
    w->scale[0] = t == TFM_MXFP4 ? load_e8m0(part + 256) : load_halves(halves);
    if (quant_has_min(t)) { /* the negated m */
        w->min[0] = _mm512_sub_ps(_mm512_setzero_ps(), load_halves(halves + 32));
    }
}

INLINE void decode_part(const tfm_dtype t, const uint8_t *part, const uint8_t *packed, int i,
                        quant_part *w) {
    decode_codes(t, part, packed, i, w);
    if (is_kquant(t))
        decode_scales(t, packed, i, w);
    else
        own_scales(t, part, w);
}

/* ---- multiplication ---- */

/* Where the integer sum of a half (q6_K) or of all 32 columns starts: -bias * sum(x). */
INLINE __m512i dot_start(const tfm_dtype t, const quant_line *x, int half) {
    switch (t) {
    case TFM_Q8_0:
    case TFM_Q5_0:
    case TFM_IQ4_NL:
    case TFM_MXFP4:
    case TFM_Q3_K: return _mm512_set1_epi32(x->less_128);
    case TFM_Q4_0: return _mm512_set1_epi32(x->less_8);
    case TFM_Q6_K: return _mm512_set1_epi32(x->less_32[half]);
    default: return _mm512_setzero_si512();
    }
}

/* acc + the float operations of one group of 32 (quant_line_internal.h); dot[1] is q6_K's. */
INLINE __m512 add_dots(const tfm_dtype t, const quant_part *w, const quant_line *x,
                       const __m512i dot[2], __m512 acc) {
    const __m512 sx = _mm512_set1_ps(x->scale);
    if (t == TFM_Q6_K) {
        const __m512 first = _mm512_mul_ps(_mm512_cvtepi32_ps(dot[0]), w->scale[0]);
        const __m512 both = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[1]), w->scale[1], first);
        return _mm512_fmadd_ps(both, sx, acc);
    }
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[0]), _mm512_mul_ps(w->scale[0], sx), acc);
    if (t == TFM_Q2_K) {
        acc = _mm512_fnmadd_ps(w->min[0], _mm512_set1_ps(x->half_sum[0]), acc);
        return _mm512_fnmadd_ps(w->min[1], _mm512_set1_ps(x->half_sum[1]), acc);
    }
    if (quant_has_min(t)) acc = _mm512_fnmadd_ps(w->min[0], _mm512_set1_ps(x->sum), acc);
    return acc;
}

#include "backend/cpu/avx512_quant_row_internal.h"

/* A line meets the parts of `panels` (1 or 2) panels. acc: [panels]. Two integer sums for any type:
 * eight multiplications that wait for each other would be half the time that a row takes. */
INLINE void multiply_line(const tfm_dtype t, const quant_part *w, const quant_line *x,
                          const int panels, __m512 *acc) {
    __m512i dot[2][2];
    UNROLL for (int p = 0; p < panels; p++) {
        dot[p][0] = dot_start(t, x, 0);
        dot[p][1] = t == TFM_Q6_K ? dot_start(t, x, 1) : _mm512_setzero_si512();
    }
    UNROLL for (int j = 0; j < 8; j++) {
        const int half = j / 4;
        int32_t four;
        memcpy(&four, x->q + 4 * j, sizeof four);
        const __m512i quad = _mm512_set1_epi32(four);
        UNROLL for (int p = 0; p < panels; p++) {
            dot[p][half] = _mm512_dpbusd_epi32(dot[p][half], w[p].q[j], quad);
        }
    }
    UNROLL for (int p = 0; p < panels; p++) {
        if (t != TFM_Q6_K) dot[p][0] = _mm512_add_epi32(dot[p][0], dot[p][1]);
        acc[p] = add_dots(t, &w[p], x, dot[p], acc[p]);
    }
}

/* All rows of a block, their sums in memory: [rows][panels][16]. Each asks for one more line of the
 * weights to come, `ahead` of each panel: all at once they would keep lines of activations
 * waiting. */
INLINE void multiply_rows(const tfm_dtype t, const quant_part *w, const uint8_t *lines,
                          size_t stride, size_t rows, const int panels, const uint8_t *ahead,
                          size_t panel_bytes, float *sums) {
    const uint8_t *last = ahead + quant_part_bytes(t);
    for (; rows > 0; rows--, lines += stride, sums += panels * TFM_PANEL) {
        const quant_line *x = (const quant_line *)(const void *)lines;
        __m512 acc[2];
        UNROLL for (int p = 0; p < panels; p++) {
            _mm_prefetch(ahead + (size_t)p * panel_bytes, _MM_HINT_T0);
        }
        ahead = ahead + 64 < last ? ahead + 64 : last;
        _mm_prefetch(x + 2, _MM_HINT_T0);
        UNROLL for (int p = 0; p < panels; p++) acc[p] = _mm512_load_ps(sums + p * TFM_PANEL);
        multiply_line(t, w, x, panels, acc);
        UNROLL for (int p = 0; p < panels; p++) _mm512_store_ps(sums + p * TFM_PANEL, acc[p]);
    }
}

/* For q2_K and q3_K, where there is much to compute. Other types lose by it: up to a third with
 * q4_K. */
INLINE void ask_part(const uint8_t *at, size_t bytes) {
    UNROLL for (size_t i = 0; i < bytes; i += 64) _mm_prefetch(at + i, _MM_HINT_T1);
}

/* Part i of a block of `panels` panels meets all rows. one: a single row, whose sums are in acc. */
INLINE void quant_step(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *part,
                       const uint8_t *packed, int i, const uint8_t *lines, size_t rows,
                       const bool one, const int panels, const uint8_t *end, __m512 *acc,
                       float *sums) {
    quant_part w[2];
    const uint8_t *ahead = part + QUANT_AHEAD;
    if (one && (t == TFM_Q2_K || t == TFM_Q3_K)) {
        ask_part(part + QUANT_FAR_AHEAD, quant_part_bytes(t));
        if (i == 7) ask_part(packed + QUANT_FAR_AHEAD, quant_tail_bytes(t));
        acc[0] = row_crumbs(t, part, packed, i, (const quant_line *)(const void *)lines, acc[0]);
        return;
    }
    if (one && !is_kquant(t)) {
        if (t == TFM_Q8_0 || t == TFM_Q4_0 || t == TFM_Q4_1) /* q5_0, q5_1: a tenth slower */
            _mm_prefetch(part + QUANT_PAGE_AHEAD, _MM_HINT_T1);
        acc[0] = row_part(t, part, (const quant_line *)(const void *)lines, acc[0]);
        return;
    }
    UNROLL for (int p = 0; p < panels; p++) {
        const size_t at = (size_t)p * a->panel_bytes;
        decode_part(t, part + at, packed + at, i, &w[p]);
    }
    if (one) {
        multiply_line(t, w, (const quant_line *)(const void *)lines, panels, acc);
        return;
    }
    if (ahead >= end)
        ahead += (size_t)(panels - 1) * a->panel_bytes; /* of the panels that follow */
    multiply_rows(t, w, lines, a->act_stride, rows, panels, ahead, a->panel_bytes, sums);
}

/* All columns of `panels` panels. sums: [rows][panels][16] */
INLINE void quant_panels(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *w,
                         const uint8_t *lines, size_t rows, const bool one, const int panels,
                         float *sums) {
    const size_t bytes = quant_part_bytes(t);
    const uint8_t *end = w + a->panel_bytes; /* of the first panel */
    __m512 acc[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (uint32_t k = 0; k < a->k;) {
        if (!is_kquant(t)) {
            quant_step(t, a, w, w, 0, lines, rows, one, panels, end, acc, sums);
            w += bytes, lines += sizeof(quant_line), k += 32;
            continue;
        }
        const uint8_t *packed = w + 8 * bytes;
        if (one) { /* then i is a constant, and decoding its scales few instructions */
            UNROLL for (int i = 0; i < 8; i++) {
                quant_step(t, a, w + (size_t)i * bytes, packed, i,
                           lines + (size_t)i * sizeof(quant_line), rows, one, panels, end, acc,
                           sums);
            }
        } else {
            for (int i = 0; i < 8; i++) {
                quant_step(t, a, w + (size_t)i * bytes, packed, i,
                           lines + (size_t)i * sizeof(quant_line), rows, one, panels, end, acc,
                           sums);
            }
        }
        w = packed + quant_tail_bytes(t), lines += 8 * sizeof(quant_line), k += 256;
    }
    if (!one) return;
    UNROLL for (int p = 0; p < panels; p++) _mm512_store_ps(sums + p * TFM_PANEL, acc[p]);
}

/* Where the results of a block will go lies a page apart for every row: asked for in time. */
INLINE void ask_results(const tfm_cpu_linear *a, uint32_t panel, int panels, uint32_t row,
                        size_t rows) {
    const float *out = a->out + row * (size_t)a->n_out + (size_t)panel * TFM_PANEL;
    for (size_t r = 0; r < rows; r++, out += a->n_out) {
        for (int p = 0; p < panels; p++) _mm_prefetch(out + p * TFM_PANEL, _MM_HINT_T1);
    }
}

/* All rows of a block times `panels` (1 or 2) panels; a single row takes them one by one. */
INLINE void quant_block(const tfm_dtype t, const tfm_cpu_linear *a, uint32_t panel, int panels,
                        uint32_t row, size_t rows) {
    float sums[QUANT_ROWS * 2 * TFM_PANEL] __attribute__((aligned(64)));
    const uint8_t *w = a->w + panel * a->panel_bytes, *lines = a->act + row * a->act_stride;
    if (rows == 1) {
        quant_panels(t, a, w, lines, 1, true, 1, sums);
    } else {
        ask_results(a, panel, panels, row, rows);
        memset(sums, 0, rows * (size_t)panels * TFM_PANEL * sizeof *sums);
        if (panels == 2)
            quant_panels(t, a, w, lines, rows, false, 2, sums);
        else
            quant_panels(t, a, w, lines, rows, false, 1, sums);
    }
    finish_panels(a, panel, panel + (uint32_t)panels, sums, (size_t)panels * TFM_PANEL, row, rows);
}

#include "backend/cpu/quant_types_internal.h"
