/* quant_line_internal.h - quantised linears in the numerics `avx2` and `avx512`: activations.
 *
 * Here for the types of 32 columns a block; kquant_line_internal.h has those of 256.
 *
 * Activations are int8 with a scale sx per 32 (tfm_quantize_act_i8); one line holds 32 of them and
 * all that the kernels need to know of them, for every such weight type whose activations have the
 * same range (tfm_act_most), 120 for q4_0 and q4_1, else 127: a cache line.
 *
 * The sum of one output, blocks ascending; d and m are the scale and min of a block:
 *
 *     q4_0 q5_0 q8_0,
 *     iq4_nl mxfp4         acc = fma((float)dot, d * sx, acc)
 *     q4_1 q5_1            the same, then acc = fma(m, sum, acc)
 *
 * dot is the sum of weight times activation over the block as an integer, below 2^24, so exact in
 * any order. sum is sx * (float)(sum of the activations), rounded once. The bias is added last. One
 * row and many rows do these same operations, so how rows and panels are blocked is free. */

#include "tensor/block_internal.h"

/* Of the 8 fours of columns in 32, those whose products are paired (avx512_quant_internal.h). */
enum { PAIRED_FOURS = 6, PAIRED_MASK = (1 << PAIRED_FOURS) - 1 };

typedef struct quant_line {
    int8_t q[32];
    float scale;      /* sx */
    float sum;        /* sx times the sum of q */
    int32_t less_128; /* -128 times the sum of q */
    int32_t less_8;
    int32_t paired[2]; /* avx512, up to 120: where paired sums start, of codes, of codes less 8 */
    int32_t unused[2]; /* a cache line is filled */
#if LANES == 8
    int16_t wide[32]; /* q, every four in the order 0 2 1 3, for q8_0 and iq4_nl */
#endif
} quant_line;

/* An odd number of lines a row: the lines of consecutive rows fall into different sets of a
 * cache. */
static size_t line_bytes(uint32_t k) {
    return ((size_t)k / 32 | 1) * sizeof(quant_line);
}

/* The largest magnitude of 32 numbers, as its bits: they order alike, NaN above all. */
INLINE int32_t largest_bits(const __m256 x[4]) {
    const __m256i size = _mm256_set1_epi32(0x7fffffff);
    __m256i top = _mm256_and_si256(_mm256_castps_si256(x[0]), size);
    UNROLL for (int i = 1; i < 4; i++) {
        top = _mm256_max_epi32(top, _mm256_and_si256(_mm256_castps_si256(x[i]), size));
    }
    __m128i t = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0x4e));
    t = _mm_max_epi32(t, _mm_shuffle_epi32(t, 0xb1));
    return _mm_cvtsi128_si32(t);
}

/* Their scale, 0 or not finite: see round_32. most: tfm_act_most of the weights. */
INLINE float scale_of(int32_t largest, int most) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(largest))) / (float)most;
}

/* 32 numbers as tfm_quantize_act_i8 rounds them, with the same bits: division and conversion round
 * the same way. largest: of their block; a scale of zero, or not finite, gives zeros. */
INLINE __m256i round_32(const float *src, int32_t largest, int most) {
    const __m256 top = _mm256_set1_ps((float)most), bottom = _mm256_set1_ps((float)-most);
    const float scale = scale_of(largest, most);
    const __m256 s = _mm256_set1_ps(scale);
    __m256i q[4];
    if (largest >= 0x7f800000 || !(scale > 0.0f)) return _mm256_setzero_si256();
    UNROLL for (int i = 0; i < 4; i++) {
        const __m256 r = _mm256_min_ps(_mm256_div_ps(_mm256_loadu_ps(src + 8 * i), s), top);
        q[i] = _mm256_cvtps_epi32(_mm256_max_ps(r, bottom));
    }
    /* Packing works in halves of 128 bits: 0 4 1 5 2 6 3 7 puts the fours in order. */
    const __m256i codes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    return _mm256_permutevar8x32_epi32(codes, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
}

/* The sums of the two halves of 32 codes. */
INLINE void sum_halves(__m256i codes, int32_t sum[2]) {
    __m256i s = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    s = _mm256_madd_epi16(s, _mm256_set1_epi16(1));
    s = _mm256_hadd_epi32(s, s);
    s = _mm256_hadd_epi32(s, s); /* the half's sum in all its lanes */
    sum[0] = _mm_cvtsi128_si32(_mm256_castsi256_si128(s));
    sum[1] = _mm_cvtsi128_si32(_mm256_extracti128_si256(s, 1));
}

#if LANES == 16
/* 8 (x0 + x1) - (x1 + 128) x0 over the paired fours of 32 columns (avx512_quant_internal.h). */
INLINE int32_t paired_start(__m256i codes) {
    const __m256i other =
        _mm256_xor_si256(_mm256_shuffle_epi32(codes, 0xb1), _mm256_set1_epi8(-128));
    const __m256i start =
        _mm256_maskz_dpbusd_epi32(PAIRED_MASK, _mm256_setzero_si256(), _mm256_set1_epi8(8), codes);
    const __m256i less =
        _mm256_maskz_dpbusd_epi32(PAIRED_MASK & 0x55, _mm256_setzero_si256(), other, codes);
    const __m256i all = _mm256_sub_epi32(start, less);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
}
#endif

INLINE void make_line(const float *src, quant_line *to, int most) {
    __m256 x[4];
    int32_t sum[2];
    UNROLL for (int i = 0; i < 4; i++) x[i] = _mm256_loadu_ps(src + 8 * i);
    const int32_t largest = largest_bits(x);
    const __m256i codes = round_32(src, largest, most);
    _mm256_storeu_si256((__m256i_u *)(void *)to->q, codes);
#if LANES == 8
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8);
    const __m256i odd = _mm256_srai_epi16(codes, 8);
    const __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    __m256i_u *wide = (__m256i_u *)(void *)to->wide;
    _mm256_storeu_si256(wide, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256(wide + 1, _mm256_permute2x128_si256(low, high, 0x31));
#endif
    sum_halves(codes, sum);
    to->scale = largest < 0x7f800000 ? scale_of(largest, most) : NAN;
    to->sum = to->scale * (float)(sum[0] + sum[1]);
    to->less_128 = -128 * (sum[0] + sum[1]);
    to->less_8 = -8 * (sum[0] + sum[1]);
#if LANES == 16
    if (most < 127) {
        to->paired[0] = paired_start(codes);
        to->paired[1] = to->paired[0] + to->less_8;
    }
#endif
}

KERNEL static void prepare_lines(uint32_t k, const float *src, uint8_t *act, int most) {
    quant_line *to = (quant_line *)(void *)act;
    for (uint32_t b = 0; b < k / 32; b++, to++, src += 32) make_line(src, to, most);
}

/* ---- what the types have ---- */

INLINE bool quant_has_min(const tfm_dtype t) {
    return t == TFM_Q4_1 || t == TFM_Q5_1;
}

/* Nibbles that number the 16 values of a table. */
INLINE bool quant_has_table(const tfm_dtype t) {
    return t == TFM_IQ4_NL || t == TFM_MXFP4;
}

/* Bytes of 32 columns of a panel (layout.c), with their scales. */
INLINE size_t quant_part_bytes(const tfm_dtype t) {
    switch (t) {
    case TFM_Q8_0: return 512 + 32;
    case TFM_Q4_0: return 256 + 32;
    case TFM_Q4_1: return 256 + 64;
    case TFM_Q5_0: return 256 + 64 + 32;
    case TFM_Q5_1: return 256 + 64 + 64;
    case TFM_IQ4_NL: return 256 + 32;
    default: return 256 + 16; /* mxfp4 */
    }
}
