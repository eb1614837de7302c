/* kquant_line_internal.h - k-quant linears in the numerics `avx2` and `avx512`: activations.
 *
 * Activations are int8 with one scale sx per 256 (tfm_quantize_act_i8), the length of the weights'
 * blocks, so that a block's small scales are applied in integers. The sum of one output, blocks
 * ascending; d and dmin are the f16 numbers of the block, s[j] and n[j] the small integer scale and
 * min of its group j of 16 or 32 columns:
 *
 *     dots = sum over j of s[j] * (sum of weight times activation over group j)
 *     acc = fma((float)dots, d * sx, acc)
 *     q2_K q4_K q5_K:
 *     mins = sum over j of n[j] * (sum of the activations of group j)
 *     acc = fma((float)mins, -(dmin * sx), acc)
 *
 * dots and mins are exact in 32 bits, so their order is free, and what is rounded is their
 * conversion, once. With 127 for an activation, |dots| is at most
 *
 *     q2_K 15 * 3, q3_K 32 * 4, q4_K 63 * 15, q5_K 63 * 31, q6_K 128 * 32, iq4_xs 32 * 127
 *
 * times 127 * 256: 2^27 for q6_K and iq4_xs; codes without their bias taken off at most double
 * that. Paired products of q4_K (avx512_quant_internal.h) have at most 63 * 96 * 135 * 8 < 2^23 too
 * much until that of the weights is taken off.
 * |mins| is at most 63 * 127 * 256 < 2^21. The bias is added last. One row and many rows do
 * these same operations, so how rows and panels are blocked is free. */

#include "backend/cpu/quant_line_internal.h"

/* 256 activations and all that the kernels need to know of them: six cache lines. */
typedef struct kquant_line {
    int8_t q[256];
    union {
        int32_t less_32[16]; /* -32 times the sum of 16 of them */
        int32_t paired[8];   /* avx512, q4_K: as quant_line's, of 32 of them */
    };
    int16_t sum_16[16], sum_32[8];
    float scale;      /* sx */
    int32_t less_128; /* -128 times the sum of all */
    int32_t unused[2];
} kquant_line;

/* An odd number of cache lines a row (quant_line_internal.h). */
static size_t kquant_line_bytes(uint32_t k) {
    return (size_t)k / 256 * sizeof(kquant_line) + 64;
}

INLINE void make_kquant_line(const float *src, kquant_line *to, int most) {
    int32_t largest = 0, all = 0;
    for (int i = 0; i < 256; i += 32) {
        __m256 x[4];
        UNROLL for (int v = 0; v < 4; v++) x[v] = _mm256_loadu_ps(src + i + 8 * v);
        const int32_t bits = largest_bits(x);
        largest = bits > largest ? bits : largest;
    }
    for (int i = 0; i < 8; i++) {
        const __m256i codes = round_32(src + 32 * i, largest, most);
        int32_t sum[2];
        _mm256_storeu_si256((__m256i_u *)(void *)(to->q + 32 * i), codes);
        sum_halves(codes, sum);
        for (int half = 0; half < 2; half++) {
            to->sum_16[2 * i + half] = (int16_t)sum[half];
            if (most == 127) to->less_32[2 * i + half] = -32 * sum[half];
        }
        to->sum_32[i] = (int16_t)(sum[0] + sum[1]);
        all += sum[0] + sum[1];
#if LANES == 16
        if (most < 127) to->paired[i] = paired_start(codes);
#endif
    }
    to->scale = largest < 0x7f800000 ? scale_of(largest, most) : NAN;
    to->less_128 = -128 * all;
}

/* A line is made beside and stored in one go: the other threads have read what lies there, so each
 * of its cache lines has to be fetched back, and some fifty small stores a line fill the queue in
 * which they wait (in a whole model 5 times slower). */
KERNEL static void prepare_kquant(uint32_t k, const float *src, uint8_t *act, int most) {
    kquant_line *to = (kquant_line *)(void *)act, line __attribute__((aligned(64))) = {0};
    for (uint32_t b = 0; b < k / 256; b++, to++, src += 256) {
        make_kquant_line(src, &line, most);
        memcpy(to, &line, sizeof line);
    }
}

INLINE const kquant_line *kquant_line_at(const uint8_t *lines) {
    return (const kquant_line *)(const void *)lines;
}

/* Two int16 sums as one lane of 32 bits, [2 p] low. */
INLINE int32_t sum_pair(const int16_t *sums, int p) {
    int32_t both;
    memcpy(&both, sums + 2 * p, sizeof both);
    return both;
}

/* ---- what the types have ---- */

INLINE bool is_kquant(const tfm_dtype t) {
    return t == TFM_Q2_K || t == TFM_Q3_K || t == TFM_Q4_K || t == TFM_Q5_K || t == TFM_Q6_K ||
           t == TFM_IQ4_XS;
}

static size_t quant_act_bytes(tfm_dtype t, uint32_t k) {
    return tfm_dtype_block(t) == 256 ? kquant_line_bytes(k) : line_bytes(k);
}

KERNEL static void prepare_quant(tfm_dtype t, uint32_t k, const float *src, uint8_t *act) {
    if (is_kquant(t))
        prepare_kquant(k, src, act, tfm_act_most(t));
    else
        prepare_lines(k, src, act, tfm_act_most(t));
}

INLINE bool kquant_has_min(const tfm_dtype t) {
    return t == TFM_Q2_K || t == TFM_Q4_K || t == TFM_Q5_K;
}

/* Groups of 32 columns, else of 16. */
INLINE bool kquant_groups_32(const tfm_dtype t) {
    return t == TFM_Q4_K || t == TFM_Q5_K || t == TFM_IQ4_XS;
}

/* Bytes of the codes of 32 columns of a panel (layout.c). */
INLINE size_t kquant_part_bytes(const tfm_dtype t) {
    switch (t) {
    case TFM_Q2_K: return 128;
    case TFM_Q3_K: return 128 + 64;
    case TFM_Q4_K:
    case TFM_IQ4_XS: return 256;
    case TFM_Q5_K: return 256 + 64;
    default: return 256 + 128;
    }
}

/* Of the small scales after the eight parts of a block; f16 d, and dmin, follow. */
INLINE size_t kquant_scale_bytes(const tfm_dtype t) {
    return t == TFM_Q2_K || t == TFM_Q6_K ? 256 : t == TFM_IQ4_XS ? 96 : 192;
}

INLINE size_t kquant_block_bytes(const tfm_dtype t) {
    return 8 * kquant_part_bytes(t) + kquant_scale_bytes(t) + (kquant_has_min(t) ? 64 : 32);
}
