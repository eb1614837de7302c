/* avx512_quant_row_internal.h - a single row: q2_K and q3_K, and the types of 32 columns a block.
 *
 * Included by avx512_quant_internal.h. With many rows of q2_K and q3_K the small scales are
 * multiplied into the codes, which costs a table of products for every 16 columns and is shared by
 * the rows. One row does it the other way: codes as they are, then both halves' sums, which fit in
 * int16, times both scales in one vpmaddwd. The integers are the same, so are the bits. */

/* 16 columns of crumbs, part's half g; dot starts at what is given. high: q3_K's words of high
 * bits. */
INLINE __m512i row_half(const tfm_dtype t, const uint8_t *part, __m512i high, int g,
                        const quant_line *x, __m512i dot) {
    const __m512i codes = load_q(part + 64 * g);
    UNROLL for (int f = 0; f < 4; f++) {
        const int j = 4 * g + f;
        int32_t four;
        memcpy(&four, x->q + 4 * j, sizeof four);
        __m512i q = _mm512_and_si512(_mm512_srli_epi32(codes, (unsigned)(2 * f)), bytes_q(3));
        if (t == TFM_Q3_K) {
            const __m512i pick = _mm512_add_epi8(
                _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), bytes_q(j / 2));
            const __m512i bit = _mm512_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010u);
            const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(high, pick), bit);
            q = _mm512_mask_add_epi8(q, set, q, bytes_q(4));
        }
        dot = _mm512_dpbusd_epi32(dot, q, _mm512_set1_epi32(four));
    }
    return dot;
}

/* (high << 16) | (low & 0xffff): two int16 a lane. */
INLINE __m512i row_pair(__m512i low, __m512i high) {
    return _mm512_mask_blend_epi16(0x55555555u, _mm512_slli_epi32(high, 16), low);
}

/* acc + part i of a q2_K or q3_K block times its line. */
INLINE __m512 row_crumbs(const tfm_dtype t, const uint8_t *part, const uint8_t *packed, int i,
                         const quant_line *x, __m512 acc) {
    const uint8_t *halves = packed + quant_tail_bytes(t) - (quant_has_min(t) ? 64 : 32);
    const __m512 sx = _mm512_set1_ps(x->scale), d = load_halves(halves);
    const __m512i high = t == TFM_Q3_K ? load_q(part + 128) : _mm512_setzero_si512();
    __m512i dot[2], small[2], min[2];
    UNROLL for (int g = 0; g < 2; g++) {
        if (t == TFM_Q3_K) { /* codes are 4 too large */
            dot[g] = _mm512_set1_epi32(x->less_32[g] / 8);
            small[g] = _mm512_cvtepi8_epi32(scale_q3_k(packed, 2 * i + g));
        } else {
            const __m512i both = _mm512_cvtepu8_epi32(packed_at(packed, 2 * i + g));
            dot[g] = _mm512_setzero_si512();
            small[g] = _mm512_and_si512(both, _mm512_set1_epi32(15));
            min[g] = _mm512_srli_epi32(both, 4);
        }
        dot[g] = row_half(t, part, high, g, x, dot[g]);
    }
    /* at most 16 products of 4 * 127 and of 32 times that */
    const __m512i sum = _mm512_madd_epi16(row_pair(dot[0], dot[1]), row_pair(small[0], small[1]));
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(d, sx), acc);
    if (t == TFM_Q3_K) return acc;
    const __m512 dmin = load_halves(halves + 32);
    UNROLL for (int g = 0; g < 2; g++) {
        const __m512 m = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(min[g]));
        acc = _mm512_fnmadd_ps(m, _mm512_set1_ps(x->half_sum[g]), acc);
    }
    return acc;
}

/* acc + a part of 32 columns that has scales of its own, every byte loaded in its turn: scales lie
 * last, and asked for before the codes they break the row of lines by which the processor knows
 * what to fetch (q8_0 beside fast memory: 0.77 of reading, so 1.0). */
INLINE __m512 row_part(const tfm_dtype t, const uint8_t *part, const quant_line *x, __m512 acc) {
    quant_part w;
    __m512i dot[2] = {dot_start(t, x, 0), _mm512_setzero_si512()};
    decode_codes(t, part, NULL, 0, &w);
    UNROLL for (int j = 0; j < 8; j++) {
        int32_t four;
        memcpy(&four, x->q + 4 * j, sizeof four);
        dot[j / 4] = _mm512_dpbusd_epi32(dot[j / 4], w.q[j], _mm512_set1_epi32(four));
    }
    dot[0] = _mm512_add_epi32(dot[0], dot[1]);
    own_scales(t, part, &w);
    return add_dots(t, &w, x, dot, acc);
}
