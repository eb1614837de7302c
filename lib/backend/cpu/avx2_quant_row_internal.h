/* avx2_quant_row_internal.h - a single row: types of 32 columns a block whose codes are numbers.
 *
 * Included by avx2_quant_internal.h. Decoding into a buffer pays where rows share it; a single
 * row's weights go from memory through registers into the sums, every byte in its turn. The
 * integers are the same, so are the bits. */

INLINE bool has_row_kernel(const tfm_dtype t) {
    return t == TFM_Q8_0 || t == TFM_Q4_0 || t == TFM_Q4_1 || t == TFM_Q5_0 || t == TFM_Q5_1;
}

INLINE __m256i quad_of(const quant_line *x, int j) {
    int32_t four;
    memcpy(&four, x->q + 4 * j, sizeof four);
    return _mm256_set1_epi32(four);
}

/* dot + 32 bytes of q8_0 times quad j. vpmaddubsw wants one factor without sign: |w| times x with
 * the sign of w; two products are at most 2 * 128 * 127 < 2^15. */
INLINE __m256i row_bytes(const uint8_t *at, const quant_line *x, int j, __m256i dot) {
    const __m256i w = load_q(at);
    const __m256i pair =
        _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(quad_of(x, j), w));
    return _mm256_add_epi32(dot, _mm256_madd_epi16(pair, _mm256_set1_epi16(1)));
}

/* 16 where the bit of quad j is set; high: the words of high bits. */
INLINE __m256i row_fifth(__m256i high, int j) {
    const __m256i pick = _mm256_add_epi8(_mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0,
                                                          0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                                         bytes_q(j / 2));
    const __m256i bit = _mm256_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010u);
    const __m256i set = _mm256_and_si256(_mm256_shuffle_epi8(high, pick), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(set, bit), bytes_q(16));
}

/* The int16 sums of quads 2 i and 2 i + 1 of 8 outputs. */
INLINE __m256i row_nibbles(const tfm_dtype t, const uint8_t *at, __m256i high, const quant_line *x,
                           int i) {
    const __m256i both = load_q(at);
    __m256i low = _mm256_and_si256(both, bytes_q(15));
    __m256i top = _mm256_and_si256(_mm256_srli_epi32(both, 4), bytes_q(15));
    if (t == TFM_Q5_0 || t == TFM_Q5_1) {
        low = _mm256_or_si256(low, row_fifth(high, 2 * i));
        top = _mm256_or_si256(top, row_fifth(high, 2 * i + 1));
    }
    return _mm256_add_epi16(_mm256_maddubs_epi16(low, quad_of(x, 2 * i)),
                            _mm256_maddubs_epi16(top, quad_of(x, 2 * i + 1)));
}

/* acc + a part; dot_start and the float operations as with many rows. acc: [2] of 8 outputs. */
INLINE void row_part(const tfm_dtype t, const uint8_t *part, const quant_line *x, __m256 acc[2]) {
    const uint8_t *halves = part + quant_part_bytes(t) - (quant_has_min(t) ? 64 : 32);
    const bool fifth = t == TFM_Q5_0 || t == TFM_Q5_1;
    __m256i dot[2] = {dot_start(t, x), dot_start(t, x)}, pairs[2];
    UNROLL for (int i = 0; i < 4; i++) {
        UNROLL for (int v = 0; v < 2; v++) {
            const uint8_t *at = part + 64 * i + 32 * v;
            if (t == TFM_Q8_0) {
                dot[v] = row_bytes(at, x, i, dot[v]);
                continue;
            }
            const __m256i high = fifth ? load_q(part + 256 + 32 * v) : _mm256_setzero_si256();
            const __m256i two = row_nibbles(t, at, high, x, i);
            pairs[v] = i == 0 || (fifth && i == 2) ? two : _mm256_add_epi16(pairs[v], two);
            if (i == 3 || (fifth && i == 1)) { /* what int16 can hold (quads_at_once) */
                const __m256i sum = _mm256_madd_epi16(pairs[v], _mm256_set1_epi16(1));
                dot[v] = _mm256_add_epi32(dot[v], sum);
            }
        }
    }
    UNROLL for (int j = 4; t == TFM_Q8_0 && j < 8; j++) {
        UNROLL for (int v = 0; v < 2; v++) dot[v] = row_bytes(part + 64 * j + 32 * v, x, j, dot[v]);
    }
    UNROLL for (int v = 0; v < 2; v++) {
        const __m256 d = load_halves(halves + 16 * v), sx = _mm256_set1_ps(x->scale);
        acc[v] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[v]), _mm256_mul_ps(d, sx), acc[v]);
        if (!quant_has_min(t)) continue;
        const __m256 m = _mm256_sub_ps(_mm256_setzero_ps(), load_halves(halves + 32 + 16 * v));
        acc[v] = _mm256_fnmadd_ps(m, _mm256_set1_ps(x->sum), acc[v]);
    }
}

/* A row times a panel. sums: [16] */
INLINE void row_panel(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *w,
                      const uint8_t *lines, float *sums) {
    const quant_line *x = (const quant_line *)(const void *)lines;
    __m256 acc[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (uint32_t k = 0; k < a->k; k += 32, w += quant_part_bytes(t), x++) row_part(t, w, x, acc);
    _mm256_store_ps(sums, acc[0]);
    _mm256_store_ps(sums + 8, acc[1]);
}
