/* avx2_quant_internal.h - rows times panels of 16 outputs, for the block-quantised types, AVX2.
 *
 * Included by body_internal.h in place of body_quant_internal.h: the types of 32 columns a block,
 * and what they share with k-quants (avx2_kquant_internal.h); the numerics are those of
 * quant_line_internal.h. vpmaddubsw multiplies unsigned by signed bytes and adds two products,
 * which must stay below 2^15:
 *
 *     codes up to 15, 31, 63    8, 4, 2 such sums can be added as int16 before vpmaddwd widens them
 *     mxfp4                     4, its values with 12 added
 *     iq4_xs                    none: magnitudes times activations that take the signs
 *     q8_0, iq4_nl              none: vpmaddwd on int16 takes as many instructions as any way
 *
 * Codes have no bias taken off: the integer sums start at -bias * sum(x), which the line of
 * activations has.
 *
 * 32 columns of a panel are decoded into a buffer in L1 and meet every row of a block there. */
#include "backend/cpu/kquant_line_internal.h"

enum {
    QUANT_ROWS = 32, /* rows of a block: their sums and current lines fill half of an L1 cache */
    QUANT_LINES = 4  /* rows that are multiplied at once: their sums are in registers */
};

/* 32 columns of one panel: 4 columns of 16 outputs in 64 bytes; their scale and min. */
typedef struct quant_part {
    uint8_t q[8][64];       /* codes */
    int16_t wide[8][2][32]; /* q8_0, iq4_nl: columns 0 2 and columns 1 3 of every four */
    float scale[TFM_PANEL], min[TFM_PANEL];
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
INLINE void decode_nibbles(const uint8_t *part, int v, uint8_t (*q)[64]) {
    UNROLL for (int j = 0; j < 4; j++) {
        const __m256i both = load_q(part + 64 * j + 32 * v);
        store_q(q[2 * j] + 32 * v, _mm256_and_si256(both, bytes_q(15)));
        store_q(q[2 * j + 1] + 32 * v, _mm256_and_si256(_mm256_srli_epi32(both, 4), bytes_q(15)));
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

/* Adds weight to the bytes whose bit in H1 is set: a row's byte j/2 has the bits of quads j,
 * j+1. */
INLINE void decode_high_bits(const uint8_t *high, int v, int weight, uint8_t (*q)[64]) {
    const __m256i words = load_q(high + 32 * v);
    UNROLL for (int j = 0; j < 8; j++) {
        const __m256i lane = _mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0, 0x0c0c0c0c,
                                              0x08080808, 0x04040404, 0);
        const __m256i bits = _mm256_shuffle_epi8(words, _mm256_add_epi8(lane, bytes_q(j / 2)));
        const __m256i bit = _mm256_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010u);
        const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(bits, bit), bit);
        const __m256i add = _mm256_and_si256(set, bytes_q(weight));
        store_q(q[j] + 32 * v, _mm256_or_si256(load_q(q[j] + 32 * v), add));
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

INLINE void decode_part(const tfm_dtype t, const uint8_t *part, quant_part *w) {
    const uint8_t *halves = part + quant_part_bytes(t) - (quant_has_min(t) ? 64 : 32);
    UNROLL for (int v = 0; v < 2; v++) {
        if (t == TFM_Q8_0)
            widen_bytes(part, v, w);
        else
            decode_nibbles(part, v, w->q);
        if (t == TFM_Q5_0 || t == TFM_Q5_1) decode_high_bits(part + 256, v, 16, w->q);
        if (quant_has_table(t)) look_up_nibbles(t, v, w);
        _mm256_store_ps(&w->scale[8 * v], t == TFM_MXFP4 ? load_e8m0(part + 256 + 8 * v)
                                                         : load_halves(halves + 16 * v));
        if (!quant_has_min(t)) continue; /* the negated m */
        const __m256 m = load_halves(halves + 32 + 16 * v);
        _mm256_store_ps(&w->min[8 * v], _mm256_sub_ps(_mm256_setzero_ps(), m));
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

/* Where the integer sum of 32 columns starts. */
INLINE __m256i dot_start(const tfm_dtype t, const quant_line *x) {
    switch (t) {
    case TFM_Q4_0: return _mm256_set1_epi32(x->less_8);
    case TFM_Q5_0: return _mm256_set1_epi32(x->less_8 * 2);
    case TFM_MXFP4: return _mm256_set1_epi32(x->less_8 / 2 * 3); /* -12 times the sum */
    default: return _mm256_setzero_si256();
    }
}

/* acc + the float operations of one block of 32 (quant_line_internal.h). */
INLINE __m256 add_dots(const tfm_dtype t, const quant_part *w, const quant_line *x, int v,
                       __m256i dot, __m256 acc) {
    const __m256 sx = _mm256_set1_ps(x->scale);
    const __m256 scale = _mm256_load_ps(&w->scale[8 * v]);
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, sx), acc);
    if (!quant_has_min(t)) return acc;
    return _mm256_fnmadd_ps(_mm256_load_ps(&w->min[8 * v]), _mm256_set1_ps(x->sum), acc);
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

/* pairs[row][v] = the int16 sums of quads [first, first + count) of rows, x and so on at `stride`
 * bytes, times vector v. */
INLINE void multiply_quads(const uint8_t (*w)[64], const int8_t *x, size_t stride, const int rows,
                           int first, int count, __m256i pairs[QUANT_LINES][2]) {
    UNROLL for (int j = first; j < first + count; j++) {
        const __m256i q[2] = {hold(load_q(w[j])), hold(load_q(w[j] + 32))};
        UNROLL for (int r = 0; r < rows; r++) {
            int32_t four;
            memcpy(&four, x + (size_t)r * stride + 4 * j, sizeof four);
            const __m256i quad = _mm256_set1_epi32(four);
            UNROLL for (int v = 0; v < 2; v++) {
                const __m256i pair = _mm256_maddubs_epi16(q[v], quad);
                pairs[r][v] = j == first ? pair : hold(_mm256_add_epi16(pairs[r][v], pair));
            }
        }
    }
}

/* dot[row][v] = the products of a q8_0 part. */
INLINE void multiply_wide(const quant_part *w, const uint8_t *lines, size_t stride, const int rows,
                          __m256i dot[QUANT_LINES][2]) {
    UNROLL for (int j = 0; j < 16; j++) {
        const int16_t *at = w->wide[j / 2][j % 2];
        const __m256i q[2] = {hold(load_q(at)), hold(load_q(at + 16))};
        UNROLL for (int r = 0; r < rows; r++) {
            int32_t pair;
            memcpy(&pair, line_at(lines, stride, r)->wide + 2 * j, sizeof pair);
            UNROLL for (int v = 0; v < 2; v++) {
                const __m256i product = _mm256_madd_epi16(q[v], _mm256_set1_epi32(pair));
                __m256i *to = &dot[r][v];
                *to = j == 0 ? product : hold(_mm256_add_epi32(*to, product));
            }
        }
    }
}

/* dot[row][v] = the products of a part of codes. */
INLINE void multiply_codes(const tfm_dtype t, const quant_part *w, const uint8_t *lines,
                           size_t stride, const int rows, __m256i dot[QUANT_LINES][2]) {
    __m256i pairs[QUANT_LINES][2];
    const int count = quads_at_once(t);
    UNROLL for (int first = 0; first < 8; first += count) {
        multiply_quads(w->q, line_at(lines, stride, 0)->q, stride, rows, first, count, pairs);
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < 2; v++) {
                const __m256i product = _mm256_madd_epi16(pairs[r][v], _mm256_set1_epi16(1));
                if (first == 0) dot[r][v] = dot_start(t, line_at(lines, stride, r));
                dot[r][v] = hold(_mm256_add_epi32(dot[r][v], product));
            }
        }
    }
}

/* rows (at most QUANT_LINES) lines at `stride` bytes meet a part. sums: rows of 16 at
 * sums_stride. */
INLINE void multiply_some(const tfm_dtype t, const quant_part *w, const uint8_t *lines,
                          size_t stride, const int rows, float *sums, size_t sums_stride) {
    __m256i dot[QUANT_LINES][2];
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

/* All columns of `panels` panels. sums: [rows][panels][16] */
INLINE void quant_panels(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *w,
                         const uint8_t *lines, size_t rows, int panels, float *sums) {
    for (uint32_t k = 0; k < a->k; k += 32) {
        for (int p = 0; p < panels; p++) {
            quant_part part;
            decode_part(t, w + (size_t)p * a->panel_bytes, &part);
            multiply_rows(t, &part, lines, a->act_stride, rows, sums + p * TFM_PANEL,
                          (size_t)panels * TFM_PANEL);
        }
        w += quant_part_bytes(t), lines += sizeof(quant_line);
    }
}

#include "backend/cpu/avx2_kquant_internal.h"

#include "backend/cpu/avx2_quant_row_internal.h"

/* All rows of a block times `panels` (1 or 2) panels. */
INLINE void quant_block(const tfm_dtype t, const tfm_cpu_linear *a, uint32_t panel, int panels,
                        uint32_t row, size_t rows) {
    float sums[QUANT_ROWS * 2 * TFM_PANEL] __attribute__((aligned(64)));
    const uint8_t *w = a->w + panel * a->panel_bytes, *lines = a->act + row * a->act_stride;
    const size_t width = (size_t)panels * TFM_PANEL;
    if (rows == 1 && has_row_kernel(t)) {
        row_panel(t, a, w, lines, sums);
        finish_panels(a, panel, panel + 1, sums, width, row, 1);
        return;
    }
    memset(sums, 0, rows * width * sizeof *sums);
    if (is_kquant(t))
        kquant_panels(t, a, w, lines, rows, panels, sums);
    else
        quant_panels(t, a, w, lines, rows, panels, sums);
    finish_panels(a, panel, panel + (uint32_t)panels, sums, width, row, rows);
}

#include "backend/cpu/quant_types_internal.h"
