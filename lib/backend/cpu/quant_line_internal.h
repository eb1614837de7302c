/* quant_line_internal.h - quantised linears in the numerics `avx2` and `avx512`: activations.
 *
 * Activations are int8 with a scale sx per 32 (tfm_quantize_act_i8); one line holds 32 of them and
 * all that the kernels need to know of them, for every weight type: a cache line.
 *
 * The sum of one output, columns in groups of 32, ascending; d and m are the f16 scale and min of a
 * block, s and n the small integers of a k-quant, exact in f32 when multiplied by d, dmin:
 *
 *     q4_0 q5_0 q8_0,
 *     iq4_nl mxfp4         acc = fma((float)dot, d * sx, acc)
 *     q4_1 q5_1            the same, then acc = fma(m, sum, acc)
 *     q4_K q5_K            acc = fma((float)dot, (d * s) * sx, acc), then
 *                          acc = fma(-(dmin * n), sum, acc)
 *     q6_K                 t = (float)dot0 * (d * s0); t = fma((float)dot1, d * s1, t);
 *                          acc = fma(t, sx, acc)
 *     q3_K                 acc = fma((float)(s0 dot0 + s1 dot1), d * sx, acc)
 *     q2_K                 the same, then acc = fma(-(dmin * n0), half_sum[0], acc),
 *                          acc = fma(-(dmin * n1), half_sum[1], acc)
 *
 * dot is the sum of weight times activation over the group, dot0 and dot1 over its halves of 16, as
 * integers; they and their products with s are below 2^24, so exact in any order. sum and half_sum
 * are sx * (float)(sum of the activations), rounded once. The bias is added last. One row and many
 * rows do these same operations, so how rows and panels are blocked is free. */

#include "tensor/block_internal.h"

typedef struct quant_line {
    int8_t q[32];
    float scale;       /* sx */
    float sum;         /* sx times the sum of q */
    float half_sum[2]; /* of 16 each */
    int32_t less_128;  /* -128 times the sum of q, and so on */
    int32_t less_8;
    int32_t less_32[2]; /* of 16 each */
#if LANES == 8
    int16_t wide[32]; /* q, every four in the order 0 2 1 3, for q8_0 */
#endif
} quant_line;

/* An odd number of lines a row: the lines of consecutive rows fall into different sets of a
 * cache. */
static size_t quant_act_bytes(uint32_t k) {
    return ((size_t)k / 32 | 1) * sizeof(quant_line);
}

/* What follows from the codes: first and second are the sums of the halves. */
INLINE void finish_line(quant_line *to, float scale, int32_t first, int32_t second) {
    const int32_t both = first + second;
    to->scale = scale;
    to->sum = scale * (float)both;
    to->half_sum[0] = scale * (float)first;
    to->half_sum[1] = scale * (float)second;
    to->less_128 = -128 * both;
    to->less_8 = -8 * both;
    to->less_32[0] = -32 * first;
    to->less_32[1] = -32 * second;
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

/* tfm_quantize_act_i8 of 32 numbers with the same bits: division and conversion round the same way;
 * a scale of zero gives zeros, one that is not finite zeros and NaN. */
INLINE void make_line(const float *src, quant_line *to) {
    const __m256 most = _mm256_set1_ps(127.0f), least = _mm256_set1_ps(-127.0f);
    __m256 x[4];
    __m256i q[4];
    UNROLL for (int i = 0; i < 4; i++) x[i] = _mm256_loadu_ps(src + 8 * i);
    const int32_t bits = largest_bits(x);
    float scale = _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits))) / 127.0f;
    const bool some = bits < 0x7f800000 && scale > 0.0f;
    const __m256 s = _mm256_set1_ps(scale);
    UNROLL for (int i = 0; i < 4; i++) {
        const __m256 r = _mm256_min_ps(_mm256_div_ps(x[i], s), most);
        q[i] = _mm256_cvtps_epi32(_mm256_max_ps(r, least));
    }
    /* Packing works in halves of 128 bits: 0 4 1 5 2 6 3 7 puts the fours in order. */
    __m256i codes =
        _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    codes = _mm256_permutevar8x32_epi32(codes, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
    if (!some) codes = _mm256_setzero_si256();
    _mm256_storeu_si256((__m256i_u *)(void *)to->q, codes);
#if LANES == 8
    const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(codes, 8), 8);
    const __m256i odd = _mm256_srai_epi16(codes, 8);
    const __m256i low = _mm256_unpacklo_epi32(even, odd), high = _mm256_unpackhi_epi32(even, odd);
    __m256i_u *wide = (__m256i_u *)(void *)to->wide;
    _mm256_storeu_si256(wide, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_storeu_si256(wide + 1, _mm256_permute2x128_si256(low, high, 0x31));
#endif
    __m256i sum = _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
    sum = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    sum = _mm256_hadd_epi32(sum, sum);
    sum = _mm256_hadd_epi32(sum, sum); /* the half's sum in all its lanes */
    if (bits >= 0x7f800000) scale = NAN;
    finish_line(to, scale, _mm_cvtsi128_si32(_mm256_castsi256_si128(sum)),
                _mm_cvtsi128_si32(_mm256_extracti128_si256(sum, 1)));
}

KERNEL static void prepare_quant(uint32_t k, const float *src, uint8_t *act) {
    quant_line *to = (quant_line *)(void *)act;
    for (uint32_t b = 0; b < k / 32; b++, to++, src += 32) make_line(src, to);
}

/* ---- what the types have ---- */

INLINE bool is_kquant(const tfm_dtype t) {
    return t == TFM_Q2_K || t == TFM_Q3_K || t == TFM_Q4_K || t == TFM_Q5_K || t == TFM_Q6_K;
}

INLINE bool quant_has_min(const tfm_dtype t) {
    return t == TFM_Q4_1 || t == TFM_Q5_1 || t == TFM_Q2_K || t == TFM_Q4_K || t == TFM_Q5_K;
}

/* Nibbles that number the 16 values of a table. */
INLINE bool quant_has_table(const tfm_dtype t) {
    return t == TFM_IQ4_NL || t == TFM_MXFP4;
}

/* Bytes of 32 columns of a panel (layout.c), for the 32-column types with their f16 scales. */
INLINE size_t quant_part_bytes(const tfm_dtype t) {
    switch (t) {
    case TFM_Q8_0: return 512 + 32;
    case TFM_Q4_0: return 256 + 32;
    case TFM_Q4_1: return 256 + 64;
    case TFM_Q5_0: return 256 + 64 + 32;
    case TFM_Q5_1: return 256 + 64 + 64;
    case TFM_IQ4_NL: return 256 + 32;
    case TFM_MXFP4: return 256 + 16;
    case TFM_Q2_K: return 128;
    case TFM_Q3_K: return 128 + 64;
    case TFM_Q4_K: return 256;
    case TFM_Q5_K: return 256 + 64;
    default: return 256 + 128;
    }
}

/* Bytes after the eight parts of a k-quant block: small scales, then f16 d (and dmin). */
INLINE size_t quant_tail_bytes(const tfm_dtype t) {
    switch (t) {
    case TFM_Q2_K: return 256 + 64;
    case TFM_Q3_K: return 192 + 32;
    case TFM_Q6_K: return 256 + 32;
    default: return 192 + 64;
    }
}
