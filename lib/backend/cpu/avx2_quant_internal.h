/* avx2_quant_internal.h - rows times panels of 16 outputs, for the block-quantised types, AVX2.
 *
 * Included by body_internal.h in place of body_quant_internal.h; the numerics are those of
 * quant_line_internal.h. vpmaddubsw multiplies unsigned by signed bytes and adds two products,
 * which must stay below 2^15:
 *
 *     codes up to 15, 31, 63    8, 4, 2 such sums can be added as int16 before vpmaddwd widens them
 *     q2_K, q3_K                4, then vpmaddwd multiplies by the group's small scale as well
 *     mxfp4                     4, its values with 12 added
 *     q8_0, iq4_nl              none: vpmaddwd on int16 takes as many instructions as any way
 *
 * Codes have no bias taken off: the integer sums start at -bias * sum(x), which the line of
 * activations has (q3_K: small scale times that).
 *
 * 32 columns of a panel are decoded into a buffer in L1 and meet every row of a block there. */
#include "backend/cpu/quant_line_internal.h"

enum {
    QUANT_ROWS = 32, /* rows of a block: their sums and current lines fill half of an L1 cache */
    QUANT_LINES = 4  /* rows that are multiplied at once: their sums are in registers */
};

/* 32 columns of one panel: 4 columns of 16 outputs in 64 bytes; scale and min of its groups. */
typedef struct quant_part {
    uint8_t q[8][64];       /* codes */
    int16_t wide[8][2][32]; /* q8_0, iq4_nl: columns 0 2 and columns 1 3 of every four */
    float scale[2][TFM_PANEL], min[2][TFM_PANEL];
    int16_t small[2][32];   /* q2_K, q3_K: the small scale of a group, twice an output */
    int16_t both_small[32]; /* q3_K: of both groups */
} __attribute__((aligned(64))) quant_part;

/* ---- decoding ---- */

INLINE __m256i load_q(const void *p) {
    return _mm256_loadu_si256((const __m256i_u *)p);
}

INLINE void store_q(void *p, __m256i v) {
    _mm256_storeu_si256((__m256i_u *)p, v);
}

INLINE __m256i bytes_q(int byte) {
    return _mm256_set1_epi8((char)byte);
}

/* Quad j of four signed columns as int16: columns 0 2, columns 1 3. */
INLINE void widen_four(__m256i four, int j, int v, quant_part *w) {
    store_q(&w->wide[j][0][16 * v], _mm256_srai_epi16(_mm256_slli_epi16(four, 8), 8));
    store_q(&w->wide[j][1][16 * v], _mm256_srai_epi16(four, 8));
}

/* Vector v of 2: outputs 8 v .. 8 v + 7. */
INLINE void decode_nibbles(const uint8_t *part, int v, quant_part *w) {
    UNROLL for (int j = 0; j < 4; j++) {
        const __m256i both = load_q(part + 64 * j + 32 * v);
        store_q(w->q[2 * j] + 32 * v, _mm256_and_si256(both, bytes_q(15)));
        store_q(w->q[2 * j + 1] + 32 * v,
                _mm256_and_si256(_mm256_srli_epi32(both, 4), bytes_q(15)));
    }
}

/* Nibbles to what they stand for: mxfp4's with a bias of 12, iq4_nl's as int16. */
INLINE void look_up_nibbles(const tfm_dtype t, int v, quant_part *w) {
    const int8_t *values = t == TFM_IQ4_NL ? tfm_iq4_values : tfm_fp4_values;
    const __m128i one = _mm_loadu_si128((const __m128i_u *)(const void *)values);
    const __m256i table =
        _mm256_broadcastsi128_si256(t == TFM_MXFP4 ? _mm_add_epi8(one, _mm_set1_epi8(12)) : one);
    UNROLL for (int j = 0; j < 8; j++) {
        const __m256i four = _mm256_shuffle_epi8(table, load_q(w->q[j] + 32 * v));
        if (t == TFM_IQ4_NL)
            widen_four(four, j, v, w);
        else
            store_q(w->q[j] + 32 * v, four);
    }
}

INLINE void decode_crumbs(const uint8_t *part, int v, quant_part *w) {
    UNROLL for (int j = 0; j < 2; j++) {
        const __m256i four = load_q(part + 64 * j + 32 * v);
        UNROLL for (int f = 0; f < 4; f++) {
            const __m256i q = _mm256_and_si256(_mm256_srli_epi32(four, 2 * f), bytes_q(3));
            store_q(w->q[4 * j + f] + 32 * v, q);
        }
    }
}

/* Adds weight to the bytes whose bit in H1 is set: a row's byte j/2 has the bits of quads j,
 * j+1. */
INLINE void decode_high_bits(const uint8_t *high, int v, int weight, quant_part *w) {
    const __m256i words = load_q(high + 32 * v);
    UNROLL for (int j = 0; j < 8; j++) {
        const __m256i lane = _mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0, 0x0c0c0c0c,
                                              0x08080808, 0x04040404, 0);
        const __m256i bits = _mm256_shuffle_epi8(words, _mm256_add_epi8(lane, bytes_q(j / 2)));
        const __m256i bit = _mm256_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010u);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
        const __m256i add = _mm256_and_si256(set, bytes_q(weight));
        store_q(w->q[j] + 32 * v, _mm256_or_si256(load_q(w->q[j] + 32 * v), add));
    }
}

INLINE void decode_high_crumbs(const uint8_t *high, int v, quant_part *w) {
    UNROLL for (int j = 0; j < 2; j++) {
        const __m256i h = load_q(high + 64 * j + 32 * v);
        const __m256i at[4] = {_mm256_slli_epi32(h, 4), _mm256_slli_epi32(h, 2), h,
                               _mm256_srli_epi32(h, 2)};
        UNROLL for (int f = 0; f < 4; f++) {
            uint8_t *q = w->q[4 * j + f] + 32 * v;
            store_q(q, _mm256_or_si256(load_q(q), _mm256_and_si256(at[f], bytes_q(0x30))));
        }
    }
}

INLINE void widen_bytes(const uint8_t *part, int v, quant_part *w) {
    UNROLL for (int j = 0; j < 8; j++) widen_four(load_q(part + 64 * j + 32 * v), j, v, w);
}

INLINE __m256 load_halves(const uint8_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)(const void *)p));
}

/* tfm_e8m0_half of 8 bytes: (e - 1) << 23, and the two subnormals 1 << 21 and 1 << 22. */
INLINE __m256 load_e8m0(const uint8_t *p) {
    const __m256i one = _mm256_set1_epi32(1);
    const __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)(const void *)p));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);
    const __m256i least = _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), _mm256_min_epi32(e, one));
    return _mm256_castsi256_ps(_mm256_max_epi32(normal, least));
}

/* 8 bytes, one an output, as int32. */
INLINE __m256i packed_at(const uint8_t *packed, int i, int v) {
    const void *at = packed + i * TFM_PANEL + 8 * v;
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)at));
}

INLINE __m256i low_bits(__m256i x, int shift, int bits) {
    return _mm256_and_si256(_mm256_srli_epi32(x, shift), _mm256_set1_epi32((1 << bits) - 1));
}

/* The small scale (group) and min of group j of a k-quant block, as int32. */
INLINE __m256i small_scale(const tfm_dtype t, const uint8_t *packed, int j, int v) {
    const void *at = packed + j * TFM_PANEL + 8 * v;
    __m256i low, high;
    switch (t) {
    case TFM_Q2_K: return low_bits(packed_at(packed, j, v), 0, 4);
    case TFM_Q3_K:
        low = low_bits(packed_at(packed, j % 8, v), j / 8 * 4, 4);
        high = low_bits(packed_at(packed, 8 + j % 4, v), j / 4 * 2, 2);
        low = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
        return _mm256_sub_epi32(low, _mm256_set1_epi32(32));
    case TFM_Q6_K: return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i_u *)at));
    default:
        if (j < 4) return low_bits(packed_at(packed, j, v), 0, 6);
        low = low_bits(packed_at(packed, 4 + j, v), 0, 4);
        high = low_bits(packed_at(packed, j - 4, v), 6, 2);
        return _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
    }
}

INLINE __m256i small_min(const tfm_dtype t, const uint8_t *packed, int j, int v) {
    if (t == TFM_Q2_K) return low_bits(packed_at(packed, j, v), 4, 4);
    if (j < 4) return low_bits(packed_at(packed, 4 + j, v), 0, 6);
    const __m256i low = low_bits(packed_at(packed, 4 + j, v), 4, 4);
    return _mm256_or_si256(low, _mm256_slli_epi32(low_bits(packed_at(packed, j, v), 6, 2), 4));
}

INLINE __m256i twice(__m256i low, __m256i high) {
    const __m256i mask = _mm256_set1_epi32(0xffff);
    return _mm256_or_si256(_mm256_and_si256(low, mask), _mm256_slli_epi32(high, 16));
}

/* The scales of part i of a k-quant block; packed: what follows its parts. */
INLINE void decode_scales(const tfm_dtype t, const uint8_t *packed, int i, int v, quant_part *w) {
    const uint8_t *halves = packed + quant_tail_bytes(t) - (quant_has_min(t) ? 64 : 32) + 16 * v;
    const int groups = t == TFM_Q4_K || t == TFM_Q5_K ? 1 : 2;
    const __m256 d = load_halves(halves);
    __m256i s[2];
    UNROLL for (int g = 0; g < groups; g++) {
        s[g] = small_scale(t, packed, groups * i + g, v);
        if (t == TFM_Q2_K || t == TFM_Q3_K) {
            store_q(&w->small[g][16 * v], twice(s[g], s[g]));
            _mm256_store_ps(&w->scale[0][8 * v], d);
        } else {
            _mm256_store_ps(&w->scale[g][8 * v], _mm256_mul_ps(d, _mm256_cvtepi32_ps(s[g])));
        }
        if (!quant_has_min(t)) continue;
        const __m256 min = _mm256_cvtepi32_ps(small_min(t, packed, groups * i + g, v));
        _mm256_store_ps(&w->min[g][8 * v], _mm256_mul_ps(load_halves(halves + 32), min));
    }
    if (t == TFM_Q3_K) store_q(&w->both_small[16 * v], twice(s[0], s[1]));
}

/* Part i of a block; packed: of a k-quant block only. */
INLINE void decode_part(const tfm_dtype t, const uint8_t *part, const uint8_t *packed, int i,
                        quant_part *w) {
    const uint8_t *halves = part + quant_part_bytes(t) - (quant_has_min(t) ? 64 : 32);
    const bool fifth = t == TFM_Q5_0 || t == TFM_Q5_1 || t == TFM_Q5_K;
    UNROLL for (int v = 0; v < 2; v++) {
        if (t == TFM_Q8_0)
            widen_bytes(part, v, w);
        else if (t == TFM_Q2_K || t == TFM_Q3_K)
            decode_crumbs(part, v, w);
        else
            decode_nibbles(part, v, w);
        if (fifth) decode_high_bits(part + 256, v, 16, w);
        if (quant_has_table(t)) look_up_nibbles(t, v, w);
        if (t == TFM_Q3_K) decode_high_bits(part + 128, v, 4, w);
        if (t == TFM_Q6_K) decode_high_crumbs(part + 256, v, w);
        if (is_kquant(t)) {
            decode_scales(t, packed, i, v, w);
            continue;
        }
        _mm256_store_ps(&w->scale[0][8 * v], t == TFM_MXFP4 ? load_e8m0(part + 256 + 8 * v)
                                                            : load_halves(halves + 16 * v));
        if (!quant_has_min(t)) continue; /* the negated m */
        const __m256 m = load_halves(halves + 32 + 16 * v);
        _mm256_store_ps(&w->min[0][8 * v], _mm256_sub_ps(_mm256_setzero_ps(), m));
    }
}

/* ---- multiplication ---- */

INLINE bool multiplies_wide(const tfm_dtype t) {
    return t == TFM_Q8_0 || t == TFM_IQ4_NL;
}

/* Sums of pairs that int16 can hold (file head). */
INLINE int quads_at_once(const tfm_dtype t) {
    switch (t) {
    case TFM_Q6_K: return 2;
    case TFM_Q4_0:
    case TFM_Q4_1:
    case TFM_Q4_K: return 8;
    default: return 4;
    }
}

/* Where the integer sum of a half (q6_K) or of all 32 columns starts. */
INLINE __m256i dot_start(const tfm_dtype t, const quant_part *w, const quant_line *x, int half,
                         int v) {
    switch (t) {
    case TFM_Q4_0: return _mm256_set1_epi32(x->less_8);
    case TFM_Q5_0: return _mm256_set1_epi32(x->less_8 * 2);
    case TFM_MXFP4: return _mm256_set1_epi32(x->less_8 / 2 * 3); /* -12 times the sum */
    case TFM_Q6_K: return _mm256_set1_epi32(x->less_32[half]);
    case TFM_Q3_K: { /* s0 * -4 sum0 + s1 * -4 sum1 */
        const uint32_t first = (uint32_t)(x->less_32[0] / 8) & 0xffffu;
        const uint32_t second = (uint32_t)(x->less_32[1] / 8) << 16;
        return _mm256_madd_epi16(load_q(&w->both_small[16 * v]),
                                 _mm256_set1_epi32((int)(first | second)));
    }
    default: return _mm256_setzero_si256();
    }
}

/* acc + the float operations of one group of 32 (quant_line_internal.h); dot[1] is q6_K's. */
INLINE __m256 add_dots(const tfm_dtype t, const quant_part *w, const quant_line *x, int v,
                       const __m256i dot[2], __m256 acc) {
    const __m256 sx = _mm256_set1_ps(x->scale);
    const __m256 scale = _mm256_load_ps(&w->scale[0][8 * v]);
    const __m256 min = _mm256_load_ps(&w->min[0][8 * v]);
    if (t == TFM_Q6_K) {
        const __m256 first = _mm256_mul_ps(_mm256_cvtepi32_ps(dot[0]), scale);
        const __m256 second = _mm256_load_ps(&w->scale[1][8 * v]);
        const __m256 both = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[1]), second, first);
        return _mm256_fmadd_ps(both, sx, acc);
    }
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[0]), _mm256_mul_ps(scale, sx), acc);
    if (t == TFM_Q2_K) {
        acc = _mm256_fnmadd_ps(min, _mm256_set1_ps(x->half_sum[0]), acc);
        const __m256 second = _mm256_load_ps(&w->min[1][8 * v]);
        return _mm256_fnmadd_ps(second, _mm256_set1_ps(x->half_sum[1]), acc);
    }
    return quant_has_min(t) ? _mm256_fnmadd_ps(min, _mm256_set1_ps(x->sum), acc) : acc;
}

INLINE const quant_line *line_at(const uint8_t *lines, size_t stride, int row) {
    return (const quant_line *)(const void *)(lines + (size_t)row * stride);
}

/* What is in this register is computed here and stays: gcc makes trees of chains of additions, for
 * which 16 registers are few, and loads a vector again for each use of it. */
INLINE __m256i hold(__m256i v) {
    __asm__ volatile("" : "+x"(v));
    return v;
}

/* pairs[row][v] = the int16 sums of quads [first, first + count) of rows times vector v. */
INLINE void multiply_quads(const quant_part *w, const uint8_t *lines, size_t stride, const int rows,
                           int first, int count, __m256i pairs[QUANT_LINES][2]) {
    UNROLL for (int j = first; j < first + count; j++) {
        const __m256i q[2] = {hold(load_q(w->q[j])), hold(load_q(w->q[j] + 32))};
        UNROLL for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, line_at(lines, stride, r)->q + 4 * j, sizeof four);
            const __m256i quad = _mm256_set1_epi32(four);
            UNROLL for (int v = 0; v < 2; v++) {
                const __m256i pair = _mm256_maddubs_epi16(q[v], quad);
                pairs[r][v] = j == first ? pair : hold(_mm256_add_epi16(pairs[r][v], pair));
            }
        }
    }
}

/* dot[row][v][0] = the products of a q8_0 part. */
INLINE void multiply_wide(const quant_part *w, const uint8_t *lines, size_t stride, const int rows,
                          __m256i dot[QUANT_LINES][2][2]) {
    UNROLL for (int j = 0; j < 16; j++) {
        const int16_t *at = w->wide[j / 2][j % 2];
        const __m256i q[2] = {hold(load_q(at)), hold(load_q(at + 16))};
        UNROLL for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, line_at(lines, stride, r)->wide + 2 * j, sizeof pair);
            UNROLL for (int v = 0; v < 2; v++) {
                const __m256i product = _mm256_madd_epi16(q[v], _mm256_set1_epi32(pair));
                __m256i *to = &dot[r][v][0];
                *to = j == 0 ? product : hold(_mm256_add_epi32(*to, product));
            }
        }
    }
}

/* dot[row][v][half] = the products of a part of codes; half: q6_K. */
INLINE void multiply_codes(const tfm_dtype t, const quant_part *w, const uint8_t *lines,
                           size_t stride, const int rows, __m256i dot[QUANT_LINES][2][2]) {
    __m256i pairs[QUANT_LINES][2];
    const int count = quads_at_once(t);
    UNROLL for (int first = 0; first < 8; first += count) {
        const int half = t == TFM_Q6_K ? first / 4 : 0;
        const bool fresh = first == 0 || (t == TFM_Q6_K && first == 4);
        multiply_quads(w, lines, stride, rows, first, count, pairs);
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < 2; v++) {
                const bool small = t == TFM_Q2_K || t == TFM_Q3_K;
                const __m256i by =
                    small ? load_q(&w->small[first / 4][16 * v]) : _mm256_set1_epi16(1);
                const __m256i product = _mm256_madd_epi16(pairs[r][v], by);
                __m256i *to = &dot[r][v][half];
                if (fresh) *to = dot_start(t, w, line_at(lines, stride, r), half, v);
                *to = hold(_mm256_add_epi32(*to, product));
            }
        }
    }
}

/* rows (at most QUANT_LINES) lines at `stride` bytes meet a part. sums: rows of 16 at
 * sums_stride. */
INLINE void multiply_some(const tfm_dtype t, const quant_part *w, const uint8_t *lines,
                          size_t stride, const int rows, float *sums, size_t sums_stride) {
    __m256i dot[QUANT_LINES][2][2];
    if (multiplies_wide(t))
        multiply_wide(w, lines, stride, rows, dot);
    else
        multiply_codes(t, w, lines, stride, rows, dot);
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 2; v++) {
            float *to = sums + (size_t)r * sums_stride + 8 * v;
            const quant_line *x = line_at(lines, stride, r);
            _mm256_store_ps(to, add_dots(t, w, x, v, dot[r][v], _mm256_load_ps(to)));
        }
    }
}

INLINE void multiply_rows(const tfm_dtype t, const quant_part *w, const uint8_t *lines,
                          size_t stride, size_t rows, float *sums, size_t sums_stride) {
    for (; rows >= QUANT_LINES; rows -= QUANT_LINES) {
        UNROLL for (int r = 0; r < QUANT_LINES; r++) {
            const quant_line *next = line_at(lines, stride, r) + 1;
            _mm_prefetch(next, _MM_HINT_T0);
            if (multiplies_wide(t)) _mm_prefetch(next->wide, _MM_HINT_T0);
        }
        multiply_some(t, w, lines, stride, QUANT_LINES, sums, sums_stride);
        lines += QUANT_LINES * stride;
        sums += QUANT_LINES * sums_stride;
    }
    for (; rows > 0; rows--, lines += stride, sums += sums_stride) {
        multiply_some(t, w, lines, stride, 1, sums, sums_stride);
    }
}

#include "backend/cpu/avx2_quant_row_internal.h"

/* All rows of a block times `panels` (1 or 2) panels. */
INLINE void quant_block(const tfm_dtype t, const tfm_cpu_linear *a, uint32_t panel, int panels,
                        uint32_t row, size_t rows) {
    float sums[QUANT_ROWS * 2 * TFM_PANEL] __attribute__((aligned(64)));
    const uint8_t *w = a->w + panel * a->panel_bytes, *lines = a->act + row * a->act_stride;
    const size_t bytes = quant_part_bytes(t), width = (size_t)panels * TFM_PANEL;
    const int parts = is_kquant(t) ? 8 : 1;
    if (rows == 1 && has_row_kernel(t)) {
        row_panel(t, a, w, lines, sums);
        finish_panels(a, panel, panel + 1, sums, width, row, 1);
        return;
    }
    memset(sums, 0, rows * width * sizeof *sums);
    for (uint32_t k = 0; k < a->k; k += 32 * (uint32_t)parts) {
        const uint8_t *packed = w + 8 * bytes;
        for (int i = 0; i < parts; i++, w += bytes, lines += sizeof(quant_line)) {
            for (int p = 0; p < panels; p++) {
                const size_t at = (size_t)p * a->panel_bytes;
                quant_part part;
                decode_part(t, w + at, packed + at, i, &part);
                multiply_rows(t, &part, lines, a->act_stride, rows, sums + p * TFM_PANEL, width);
            }
        }
        if (is_kquant(t)) w += quant_tail_bytes(t);
    }
    finish_panels(a, panel, panel + (uint32_t)panels, sums, width, row, rows);
}

#include "backend/cpu/quant_types_internal.h"
