/* avx512_quant_internal.h - rows times panels of 16 outputs, for the block-quantised types, VNNI.
 *
 * Included by body_internal.h in place of body_quant_internal.h: the types of 32 columns a block,
 * and what they share with k-quants (avx512_kquant_internal.h). The numerics are those of
 * quant_line_internal.h; integer sums are exact, so only the float operations written there have an
 * order. vpdpbusd multiplies unsigned by signed bytes: weights are made unsigned by adding a bias,
 * and each integer sum starts at -bias * sum(x), which the line of activations has ready. There is
 * another way for weights of 4 bits: paired products.
 *
 * 32 columns of one or two panels are decoded into 8 or 16 registers once and meet every row of a
 * block there: what a type costs to decode is shared by up to QUANT_ROWS rows, and an inner step is
 * one cache line of activations, 16 multiplications of 64 products (10, and 12 additions, where
 * products are paired) and one update of two sums in L1. A single row keeps its sums in registers:
 * then the weights come from memory, strictly forward. */
#include "backend/cpu/kquant_line_internal.h"

enum {
    QUANT_ROWS = 64,    /* rows of a block: their sums and current lines fill half of an L1 cache */
    PAIRED_ROWS = 8,    /* from these on pairing pays for what it costs to prepare */
    QUANT_AHEAD = 2048, /* bytes of weights that are asked for before they are used */
    QUANT_PAGE_AHEAD = 4096 /* a single row: the processor's own requests end with the page */
};

/* 32 columns of one panel: 4 columns of 16 outputs a vector, biased; their scale and min. */
typedef struct quant_part {
    __m512i q[8], less_paired; /* (w0 + 128) w1 summed: too much in every row's paired sum */
    __m512 scale, min;
} quant_part;

/* ---- decoding ---- */

INLINE __m512i load_q(const uint8_t *p) {
    return _mm512_loadu_si512(p);
}

INLINE __m512i bytes_q(int byte) {
    return _mm512_set1_epi8((char)byte);
}

INLINE __m512i broadcast_four(const int8_t *x) {
    int32_t four;
    memcpy(&four, x, sizeof four);
    return _mm512_set1_epi32(four);
}

INLINE __m512 load_halves(const uint8_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)(const void *)p));
}

/* (a & b) | c */
INLINE __m512i and_or(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0xea);
}

INLINE void decode_nibbles(const uint8_t *part, __m512i q[8], int set_bits) {
    UNROLL for (int j = 0; j < 4; j++) {
        const __m512i both = load_q(part + 64 * j), high = _mm512_srli_epi32(both, 4);
        q[2 * j] = and_or(both, bytes_q(15), bytes_q(set_bits));
        q[2 * j + 1] = and_or(high, bytes_q(15), bytes_q(set_bits));
    }
}

/* Adds weight to the bytes whose bit in H1 is set: a row's byte j/2 has the bits of quads j,
 * j+1. */
INLINE void decode_high_bits(const uint8_t *high, __m512i q[8], int weight) {
    const __m512i words = load_q(high);
    UNROLL for (int j = 0; j < 4; j++) {
        const __m512i pick =
            _mm512_add_epi8(_mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), bytes_q(j));
        const __m512i bits = _mm512_shuffle_epi8(words, pick);
        UNROLL for (int i = 0; i < 2; i++) {
            const __m512i bit = _mm512_set1_epi32(i == 0 ? 0x08040201 : (int)0x80402010u);
            const __m512i at = q[2 * j + i];
            const __mmask64 set = _mm512_test_epi8_mask(bits, bit);
            q[2 * j + i] = _mm512_mask_add_epi8(at, set, at, bytes_q(weight));
        }
    }
}

/* Nibbles to what they stand for, with a bias of 128. */
INLINE void look_up_nibbles(const tfm_dtype t, __m512i q[8]) {
    const int8_t *values = t == TFM_MXFP4 ? tfm_fp4_values : tfm_iq4_values;
    const __m128i one = _mm_loadu_si128((const __m128i_u *)(const void *)values);
    const __m512i table = _mm512_xor_si512(_mm512_broadcast_i32x4(one), bytes_q(0x80));
    UNROLL for (int j = 0; j < 8; j++) q[j] = _mm512_shuffle_epi8(table, q[j]);
}

/* tfm_e8m0_half of 16 bytes: (e - 1) << 23, and the two subnormals 1 << 21 and 1 << 22. */
INLINE __m512 load_e8m0(const uint8_t *p) {
    const __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)(const void *)p));
    const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    const __mmask16 tiny = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_sllv_epi32(normal, tiny, _mm512_set1_epi32(1 << 21), e));
}

INLINE void decode_codes(const tfm_dtype t, const uint8_t *part, __m512i q[8]) {
    if (t == TFM_Q8_0) {
        UNROLL for (int j = 0; j < 8; j++) {
            q[j] = _mm512_xor_si512(load_q(part + 64 * j), bytes_q(0x80));
        }
        return;
    }
    /* q5_0: 0x70 and the high bit's 16 make code + 112, that is a bias of 128 */
    decode_nibbles(part, q, t == TFM_Q5_0 ? 0x70 : 0);
    if (t == TFM_Q5_0 || t == TFM_Q5_1) decode_high_bits(part + 256, q, 16);
    if (quant_has_table(t)) look_up_nibbles(t, q);
}

INLINE void decode_scales(const tfm_dtype t, const uint8_t *part, quant_part *w) {
    const uint8_t *halves = part + quant_part_bytes(t) - (quant_has_min(t) ? 64 : 32);
    w->scale = t == TFM_MXFP4 ? load_e8m0(part + 256) : load_halves(halves);
    if (quant_has_min(t)) { /* the negated m */
        w->min = _mm512_sub_ps(_mm512_setzero_ps(), load_halves(halves + 32));
    }
}

/* ---- multiplication ---- */

/* Where the integer sum of 32 columns starts: -bias * sum(x). */
INLINE __m512i dot_start(const tfm_dtype t, const quant_line *x) {
    switch (t) {
    case TFM_Q8_0:
    case TFM_Q5_0:
    case TFM_IQ4_NL:
    case TFM_MXFP4: return _mm512_set1_epi32(x->less_128);
    case TFM_Q4_0: return _mm512_set1_epi32(x->less_8);
    default: return _mm512_setzero_si512();
    }
}

/* acc + the float operations of one block of 32 (quant_line_internal.h). */
INLINE __m512 add_dots(const tfm_dtype t, const quant_part *w, const quant_line *x, __m512i dot,
                       __m512 acc) {
    const __m512 sx = _mm512_set1_ps(x->scale);
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(w->scale, sx), acc);
    if (quant_has_min(t)) acc = _mm512_fnmadd_ps(w->min, _mm512_set1_ps(x->sum), acc);
    return acc;
}

/* A line meets the parts of `panels` (1 or 2) panels. acc: [panels]. Two integer sums: eight
 * multiplications that wait for each other would be half the time that a row takes. */
INLINE void multiply_line(const tfm_dtype t, const quant_part *w, const quant_line *x,
                          const int panels, __m512 *acc) {
    __m512i dot[2][2];
    UNROLL for (int p = 0; p < panels; p++) {
        dot[p][0] = dot_start(t, x);
        dot[p][1] = _mm512_setzero_si512();
    }
    UNROLL for (int j = 0; j < 8; j++) {
        const __m512i quad = broadcast_four(x->q + 4 * j);
        UNROLL for (int p = 0; p < panels; p++) {
            dot[p][j / 4] = _mm512_dpbusd_epi32(dot[p][j / 4], w[p].q[j], quad);
        }
    }
    UNROLL for (int p = 0; p < panels; p++) {
        acc[p] = add_dots(t, &w[p], x, _mm512_add_epi32(dot[p][0], dot[p][1]), acc[p]);
    }
}

/* ---- paired products ---- */

/* Fewer multiplications, for weights of 4 bits (Winograd, 1968):
 *
 *     w0 x0 + w1 x1 = (w0 + x1) (w1 + x0) - w0 w1 - x0 x1
 *
 * Column c of an even four is 0, that of the odd four behind it 1. w is a code less 8, so -8 to 7,
 * and x is -120 to 120 (tfm_act_most): their sum fits in -128 to 127, and on vpdpbusd's unsigned
 * side with 128 more. Of codes c = w + 8 then
 *
 *     c0 x0 + c1 x1 = (w0 + x1 + 128) (w1 + x0) - (w0 + 128) w1 - (x1 + 128) x0 + 8 (x0 + x1)
 *
 * The second term is that of the weights (pair_codes), summed once for all rows of a block; the
 * last two are that of the row (paired_start), in its line. Everything is an exact integer, so that
 * rows which do without have the same sums.
 *
 * An addition of bytes takes the place of a multiplication. On Zen 4 vpdpbusd has two of the four
 * pipes and vpaddb all: with six of eight fours paired, all are busy. Intel's processors have both
 * on the same two ports, where more operations are only more. */
INLINE bool pairing_pays(const tfm_dtype t, size_t rows) {
    return tfm_act_is_short(t) && rows >= PAIRED_ROWS && __builtin_cpu_is("amd");
}

/* Codes of 32 columns to w0 + 128 and w1, in turn, those that are paired; returns what they make
 * the sum of every row too large. */
INLINE __m512i pair_codes(__m512i q[8]) {
    __m512i sum = _mm512_setzero_si512();
    UNROLL for (int j = 0; j < PAIRED_FOURS; j += 2) {
        q[j] = _mm512_add_epi8(q[j], bytes_q(128 - 8));
        q[j + 1] = _mm512_sub_epi8(q[j + 1], bytes_q(8));
        sum = _mm512_dpbusd_epi32(sum, q[j], q[j + 1]);
    }
    return sum;
}

/* dot + the sums of fours j and j + 1, codes q[j] and q[j + 1]. */
INLINE __m512i multiply_two(int j, const __m512i *q, __m512i x0, __m512i x1, __m512i dot) {
    if (j < PAIRED_FOURS) {
        const __m512i left = _mm512_add_epi8(q[j], x1), right = _mm512_add_epi8(q[j + 1], x0);
        return _mm512_dpbusd_epi32(dot, left, right);
    }
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(dot, q[j], x0), q[j + 1], x1);
}

/* As multiply_line. */
INLINE void multiply_paired_line(const tfm_dtype t, const quant_part *w, const quant_line *x,
                                 const int panels, __m512 *acc) {
    const __m512i start = _mm512_set1_epi32(x->paired[t == TFM_Q4_0]);
    __m512i dot[2];
    UNROLL for (int p = 0; p < panels; p++) dot[p] = _mm512_sub_epi32(start, w[p].less_paired);
    UNROLL for (int j = 0; j < 8; j += 2) {
        const __m512i x0 = broadcast_four(x->q + 4 * j), x1 = broadcast_four(x->q + 4 * j + 4);
        UNROLL for (int p = 0; p < panels; p++) dot[p] = multiply_two(j, w[p].q, x0, x1, dot[p]);
    }
    UNROLL for (int p = 0; p < panels; p++) acc[p] = add_dots(t, &w[p], x, dot[p], acc[p]);
}

/* ---- many rows ---- */

/* All rows of a block, their sums in memory: [rows][panels][16]. Each asks for one more line of the
 * weights to come, `ahead` of each panel: all at once they would keep lines of activations
 * waiting. */
INLINE void multiply_rows(const tfm_dtype t, const bool paired, const quant_part *w,
                          const uint8_t *lines, size_t stride, size_t rows, const int panels,
                          const uint8_t *ahead, size_t panel_bytes, float *sums) {
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
        if (paired)
            multiply_paired_line(t, w, x, panels, acc);
        else
            multiply_line(t, w, x, panels, acc);
        UNROLL for (int p = 0; p < panels; p++) _mm512_store_ps(sums + p * TFM_PANEL, acc[p]);
    }
}

/* Where to ask for weights while those at `w` of `panels` panels are used: further on, or, past the
 * end of the first panel, in the panels that follow. */
INLINE const uint8_t *find_ahead(const tfm_cpu_linear *a, const uint8_t *w, const uint8_t *end,
                                 int panels) {
    const uint8_t *ahead = w + QUANT_AHEAD;
    return ahead < end ? ahead : ahead + (size_t)(panels - 1) * a->panel_bytes;
}

/* All columns of `panels` panels meet many rows. sums: [rows][panels][16] */
INLINE void quant_panels(const tfm_dtype t, const bool paired, const tfm_cpu_linear *a,
                         const uint8_t *w, const uint8_t *lines, size_t rows, const int panels,
                         float *sums) {
    const uint8_t *end = w + a->panel_bytes; /* of the first panel */
    for (uint32_t k = 0; k < a->k; k += 32) {
        quant_part part[2];
        UNROLL for (int p = 0; p < panels; p++) {
            const uint8_t *at = w + (size_t)p * a->panel_bytes;
            decode_codes(t, at, part[p].q);
            decode_scales(t, at, &part[p]);
            if (paired) part[p].less_paired = pair_codes(part[p].q);
        }
        multiply_rows(t, paired, part, lines, a->act_stride, rows, panels,
                      find_ahead(a, w, end, panels), a->panel_bytes, sums);
        w += quant_part_bytes(t), lines += sizeof(quant_line);
    }
}

/* Where the results of a block will go lies a page apart for every row: asked for in time. */
INLINE void ask_results(const tfm_cpu_linear *a, uint32_t panel, int panels, uint32_t row,
                        size_t rows) {
    const float *out = a->out + row * (size_t)a->n_out + (size_t)panel * TFM_PANEL;
    for (size_t r = 0; r < rows; r++, out += a->n_out) {
        for (int p = 0; p < panels; p++) _mm_prefetch(out + p * TFM_PANEL, _MM_HINT_T1);
    }
}

/* A single row and one panel, every byte loaded in its turn: scales lie last, and asked for before
 * the codes they break the row of lines by which the processor knows what to fetch (q8_0 beside
 * fast memory: 0.77 of reading, so 1.0). */
INLINE void quant_row(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *w,
                      const uint8_t *lines, float *sums) {
    __m512 acc = _mm512_setzero_ps();
    for (uint32_t k = 0; k < a->k; k += 32, w += quant_part_bytes(t), lines += sizeof(quant_line)) {
        const quant_line *x = (const quant_line *)(const void *)lines;
        quant_part part;
        __m512i dot[2] = {dot_start(t, x), _mm512_setzero_si512()};
        if (t == TFM_Q8_0 || t == TFM_Q4_0 || t == TFM_Q4_1) /* q5_0, q5_1: a tenth slower */
            _mm_prefetch(w + QUANT_PAGE_AHEAD, _MM_HINT_T1);
        decode_codes(t, w, part.q);
        UNROLL for (int j = 0; j < 8; j++) {
            dot[j / 4] = _mm512_dpbusd_epi32(dot[j / 4], part.q[j], broadcast_four(x->q + 4 * j));
        }
        decode_scales(t, w, &part);
        acc = add_dots(t, &part, x, _mm512_add_epi32(dot[0], dot[1]), acc);
    }
    _mm512_store_ps(sums, acc);
}

#include "backend/cpu/avx512_kquant_internal.h"

INLINE void many_rows(const tfm_dtype t, const bool paired, const tfm_cpu_linear *a,
                      const uint8_t *w, const uint8_t *lines, size_t rows, const int panels,
                      float *sums) {
    if (is_kquant(t))
        kquant_panels(t, paired, a, w, lines, rows, panels, sums);
    else
        quant_panels(t, paired, a, w, lines, rows, panels, sums);
}

/* All rows of a block times `panels` (1 or 2) panels; a single row takes them one by one. */
INLINE void quant_block(const tfm_dtype t, const tfm_cpu_linear *a, uint32_t panel, int panels,
                        uint32_t row, size_t rows) {
    float sums[QUANT_ROWS * 2 * TFM_PANEL] __attribute__((aligned(64)));
    const uint8_t *w = a->w + panel * a->panel_bytes, *lines = a->act + row * a->act_stride;
    if (rows == 1) {
        if (is_kquant(t))
            kquant_row(t, a, w, lines, sums);
        else
            quant_row(t, a, w, lines, sums);
    } else {
        ask_results(a, panel, panels, row, rows);
        memset(sums, 0, rows * (size_t)panels * TFM_PANEL * sizeof *sums);
        const bool paired = pairing_pays(t, rows);
        if (paired && panels == 2)
            many_rows(t, true, a, w, lines, rows, 2, sums);
        else if (paired)
            many_rows(t, true, a, w, lines, rows, 1, sums);
        else if (panels == 2)
            many_rows(t, false, a, w, lines, rows, 2, sums);
        else
            many_rows(t, false, a, w, lines, rows, 1, sums);
    }
    finish_panels(a, panel, panel + (uint32_t)panels, sums, (size_t)panels * TFM_PANEL, row, rows);
}

#include "backend/cpu/quant_types_internal.h"
