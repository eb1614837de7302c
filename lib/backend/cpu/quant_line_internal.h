/* quant_line_internal.h - quantised linears in the numerics `avx2` and `avx512`: activations.
 *
 * Activations are int8 with a scale sx per 32 (tfm_quantize_act_i8); one line holds 32 of them and
 * all that the kernels need to know of them, for every weight type: a cache line.
 *
 * The sum of one output, columns in groups of 32, ascending; d and m are the f16 scale and min of a
 * block, s and n the small integers of a k-quant, exact in f32 when multiplied by d, dmin:
 *
 *     q4_0 q5_0 q8_0       acc = fma((float)dot, d * sx, acc)
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

typedef struct quant_line {
    int8_t q[32];
    float scale;       /* sx */
    float sum;         /* sx times the sum of q */
    float half_sum[2]; /* of 16 each */
    int32_t less_128;  /* -128 times the sum of q, and so on */
    int32_t less_8;
    int32_t less_32[2]; /* of 16 each */
} quant_line;

/* An odd number of lines a row: the lines of consecutive rows fall into different sets of a cache. */
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
