/* avx512_kquant_internal.h - rows times panels of 16 outputs, for the k-quants, VNNI.
 *
 * Included by avx512_quant_internal.h, whose head says how codes and rows meet. The numerics are
 * those of kquant_line_internal.h: between the float steps at the end of a block of 256 columns a
 * row has integer sums, and a part of 32 columns costs one multiplication more than those of its
 * codes (q6_K two). With many rows q2_K and q3_K cost none: there the small scales are multiplied
 * into the codes, by a table of products for every 16 columns that the rows share. */

/* ---- decoding: scales ---- */

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

/* The signed 6-bit scales of group j of a q3_K block. */
INLINE __m128i scale_q3_k(const uint8_t *packed, int j) {
    const __m128i low = _mm_loadu_si128((const __m128i_u *)(const void *)(packed + j % 8 * 16));
    const __m128i high =
        _mm_loadu_si128((const __m128i_u *)(const void *)(packed + (8 + j % 4) * 16));
    const __m128i l = _mm_and_si128(_mm_srli_epi32(low, j / 8 * 4), _mm_set1_epi8(15));
    const __m128i h = _mm_and_si128(_mm_srli_epi32(high, j / 4 * 2), _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(l, _mm_slli_epi32(h, 4)), _mm_set1_epi8(32));
}

/* The signed 6-bit scales of group j of an iq4_xs block. */
INLINE __m128i scale_iq4_xs(const uint8_t *packed, int j) {
    const __m128i low = _mm_srli_epi32(packed_at(packed, 2 + j / 2), j % 2 * 4);
    const __m128i high = _mm_srli_epi32(packed_at(packed, j / 4), j % 4 * 2);
    const __m128i l = _mm_and_si128(low, _mm_set1_epi8(15));
    const __m128i h = _mm_and_si128(high, _mm_set1_epi8(3));
    return _mm_sub_epi8(_mm_or_si128(l, _mm_slli_epi32(h, 4)), _mm_set1_epi8(32));
}

/* The scales of group j, as int32, of a type with groups of 32. */
INLINE __m512i scale_of_32(const tfm_dtype t, const uint8_t *packed, int j) {
    __m128i scale, min;
    if (t == TFM_IQ4_XS) return _mm512_cvtepi8_epi32(scale_iq4_xs(packed, j));
    scales_q4_k(packed, j, &scale, &min);
    return _mm512_cvtepu8_epi32(scale);
}

/* (high << 16) | low of 16 outputs, signed or not. */
INLINE __m512i pair_bytes(const bool is_signed, __m128i low, __m128i high) {
    const __m256i both =
        _mm256_set_m128i(_mm_unpackhi_epi8(low, high), _mm_unpacklo_epi8(low, high));
    return is_signed ? _mm512_cvtepi8_epi16(both) : _mm512_cvtepu8_epi16(both);
}

/* What the end of a block needs: its scale and min, the small mins of groups 2 p and 2 p + 1. */
typedef struct kquant_tail {
    __m512 d, dmin;
    __m512i min[8];
} kquant_tail;

INLINE int kquant_min_pairs(const tfm_dtype t) {
    return !kquant_has_min(t) ? 0 : kquant_groups_32(t) ? 4 : 8;
}

INLINE void decode_tail(const tfm_dtype t, const uint8_t *packed, kquant_tail *w) {
    const uint8_t *halves = packed + kquant_scale_bytes(t);
    const int pairs = kquant_min_pairs(t);
    UNROLL for (int p = 0; p < pairs; p++) {
        __m128i scale, min[2];
        UNROLL for (int i = 0; i < 2; i++) {
            if (t == TFM_Q2_K) {
                min[i] = _mm_srli_epi32(packed_at(packed, 2 * p + i), 4);
                min[i] = _mm_and_si128(min[i], _mm_set1_epi8(15));
            } else {
                scales_q4_k(packed, 2 * p + i, &scale, &min[i]);
            }
        }
        w->min[p] = pair_bytes(false, min[0], min[1]);
    }
    w->d = load_halves(halves);
    if (kquant_has_min(t)) w->dmin = load_halves(halves + 32);
}

/* acc + the float operations of a block. */
INLINE __m512 add_block(const tfm_dtype t, const kquant_tail *w, const kquant_line *x, __m512i dots,
                        __m512 acc) {
    const __m512 sx = _mm512_set1_ps(x->scale);
    const int16_t *sums = t == TFM_Q2_K ? x->sum_16 : x->sum_32;
    const int pairs = kquant_min_pairs(t);
    __m512i mins = _mm512_setzero_si512();
    acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots), _mm512_mul_ps(w->d, sx), acc);
    if (!kquant_has_min(t)) return acc;
    UNROLL for (int p = 0; p < pairs; p++) {
        mins = _mm512_dpwssd_epi32(mins, w->min[p], _mm512_set1_epi32(sum_pair(sums, p)));
    }
    return _mm512_fnmadd_ps(_mm512_cvtepi32_ps(mins), _mm512_mul_ps(w->dmin, sx), acc);
}

/* ---- decoding: codes, for many rows ---- */

/* 32 columns of one panel: 4 columns of 16 outputs a vector; the small scales of its groups, if
 * they are not in the codes. */
typedef struct kquant_part {
    __m512i q[8], scale[2];
    __m512i less_paired; /* times the scale: as quant_part's */
} kquant_part;

INLINE void decode_q6_k(const uint8_t *part, __m512i q[8]) {
    decode_nibbles(part, q, 0);
    UNROLL for (int j = 0; j < 2; j++) {
        const __m512i h = load_q(part + 256 + 64 * j), mask = bytes_q(0x30);
        const __m512i at[4] = {_mm512_slli_epi32(h, 4), _mm512_slli_epi32(h, 2), h,
                               _mm512_srli_epi32(h, 2)};
        UNROLL for (int f = 0; f < 4; f++) q[4 * j + f] = and_or(at[f], mask, q[4 * j + f]);
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
INLINE void decode_q2_k(const uint8_t *part, const uint8_t *packed, int i, __m512i q[8]) {
    UNROLL for (int g = 0; g < 2; g++) {
        const uint8_t *at = packed + (2 * i + g) * TFM_PANEL;
        const __m128i low =
            _mm_and_si128(_mm_loadu_si128((const __m128i_u *)(const void *)at), _mm_set1_epi8(15));
        const __m512i s = spread_bytes(low), s2 = _mm512_add_epi8(s, s);
        const __m512i table =
            _mm512_add_epi8(_mm512_and_si512(s, _mm512_set1_epi32((int)0xff00ff00u)),
                            _mm512_and_si512(s2, _mm512_set1_epi32((int)0xffff0000u)));
        look_up_codes(part + 64 * g, table, q + 4 * g);
    }
}

/* 128 - (code - 4) * scale, from 0 to 252: the table has the low two bits, 128 + (4 - low) * scale,
 * and where the high bit is set four scales are taken off. */
INLINE void decode_q3_k(const uint8_t *part, const uint8_t *packed, int i, __m512i q[8]) {
    const __m512i words = load_q(part + 128);
    UNROLL for (int g = 0; g < 2; g++) {
        const __m512i s = spread_bytes(scale_q3_k(packed, 2 * i + g));
        const __m512i s2 = _mm512_add_epi8(s, s), s4 = _mm512_add_epi8(s2, s2);
        const __m512i odd = _mm512_and_si512(s, _mm512_set1_epi32((int)0xff00ff00u));
        const __m512i two = and_or(s2, _mm512_set1_epi32(0x00ffff00),
                                   _mm512_and_si512(s4, _mm512_set1_epi32(0x000000ff)));
        const __m512i table = _mm512_xor_si512(_mm512_add_epi8(odd, two), bytes_q(0x80));
        look_up_codes(part + 64 * g, table, q + 4 * g);
        UNROLL for (int f = 0; f < 4; f++) {
            const int j = 4 * g + f;
            const __m512i pick = _mm512_add_epi8(
                _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0), bytes_q(j / 2));
            const __m512i bit = _mm512_set1_epi32(j % 2 == 0 ? 0x08040201 : (int)0x80402010u);
            const __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(words, pick), bit);
            q[j] = _mm512_mask_sub_epi8(q[j], set, q[j], s4);
        }
    }
}

/* Part i of a block. */
INLINE void decode_kquant(const tfm_dtype t, const bool paired, const uint8_t *part,
                          const uint8_t *packed, int i, kquant_part *w) {
    switch (t) {
    case TFM_Q2_K: decode_q2_k(part, packed, i, w->q); break;
    case TFM_Q3_K: decode_q3_k(part, packed, i, w->q); break;
    case TFM_Q6_K:
        decode_q6_k(part, w->q);
        UNROLL for (int g = 0; g < 2; g++) {
            w->scale[g] = _mm512_cvtepi8_epi32(packed_at(packed, 2 * i + g));
        }
        break;
    default:
        decode_nibbles(part, w->q, 0);
        if (t == TFM_Q5_K) decode_high_bits(part + 256, w->q, 16);
        if (t == TFM_IQ4_XS) look_up_nibbles(t, w->q);
        w->scale[0] = scale_of_32(t, packed, i);
        if (paired) w->less_paired = _mm512_mullo_epi32(pair_codes(w->q), w->scale[0]);
        break;
    }
}

/* ---- many rows ---- */

/* Part i of a line meets those of `panels` panels. dots: [panels][16] */
INLINE void multiply_part(const tfm_dtype t, const kquant_part *w, const kquant_line *x, int i,
                          const int panels, int32_t *dots) {
    const bool scaled = t == TFM_Q2_K || t == TFM_Q3_K;
    __m512i dot[2][2];
    UNROLL for (int p = 0; p < panels; p++) {
        dot[p][0] = dot[p][1] = _mm512_setzero_si512();
        if (scaled) dot[p][0] = _mm512_load_si512(dots + p * TFM_PANEL);
        if (t == TFM_IQ4_XS) dot[p][0] = _mm512_set1_epi32(-128 * x->sum_32[i]);
        if (t != TFM_Q6_K) continue;
        UNROLL for (int g = 0; g < 2; g++) dot[p][g] = _mm512_set1_epi32(x->less_32[2 * i + g]);
    }
    UNROLL for (int j = 0; j < 8; j++) {
        const __m512i quad = broadcast_four(x->q + 32 * i + 4 * j);
        UNROLL for (int p = 0; p < panels; p++) {
            dot[p][j / 4] = _mm512_dpbusd_epi32(dot[p][j / 4], w[p].q[j], quad);
        }
    }
    UNROLL for (int p = 0; p < panels; p++) {
        int32_t *to = dots + p * TFM_PANEL;
        if (t == TFM_Q6_K) {
            UNROLL for (int g = 0; g < 2; g++) {
                dot[p][g] = _mm512_mullo_epi32(dot[p][g], w[p].scale[g]);
            }
        }
        __m512i sum = _mm512_add_epi32(dot[p][0], dot[p][1]);
        if (kquant_groups_32(t)) sum = _mm512_mullo_epi32(sum, w[p].scale[0]);
        if (!scaled) sum = _mm512_add_epi32(sum, _mm512_load_si512(to));
        _mm512_store_si512(to, sum);
    }
}

/* As multiply_part. */
INLINE void multiply_paired_part(const kquant_part *w, const kquant_line *x, int i,
                                 const int panels, int32_t *dots) {
    __m512i dot[2];
    UNROLL for (int p = 0; p < panels; p++) dot[p] = _mm512_set1_epi32(x->paired[i]);
    UNROLL for (int j = 0; j < 8; j += 2) {
        const int8_t *fours = x->q + 32 * i + 4 * j;
        const __m512i x0 = broadcast_four(fours), x1 = broadcast_four(fours + 4);
        UNROLL for (int p = 0; p < panels; p++) dot[p] = multiply_two(j, w[p].q, x0, x1, dot[p]);
    }
    UNROLL for (int p = 0; p < panels; p++) {
        int32_t *to = dots + p * TFM_PANEL;
        const __m512i sum = _mm512_mullo_epi32(dot[p], w[p].scale[0]);
        _mm512_store_si512(to, _mm512_add_epi32(sum, _mm512_load_si512(to)));
    }
}

/* As multiply_rows of the other types. dots: [rows][panels][16] */
INLINE void multiply_parts(const tfm_dtype t, const bool paired, const kquant_part *w,
                           const uint8_t *lines, int i, size_t stride, size_t rows,
                           const int panels, const uint8_t *ahead, size_t panel_bytes,
                           int32_t *dots) {
    const uint8_t *last = ahead + kquant_part_bytes(t);
    for (; rows > 0; rows--, lines += stride, dots += panels * TFM_PANEL) {
        UNROLL for (int p = 0; p < panels; p++) {
            _mm_prefetch(ahead + (size_t)p * panel_bytes, _MM_HINT_T0);
        }
        ahead = ahead + 64 < last ? ahead + 64 : last;
        _mm_prefetch(kquant_line_at(lines)->q + 32 * i + 64, _MM_HINT_T0);
        if (paired)
            multiply_paired_part(w, kquant_line_at(lines), i, panels, dots);
        else
            multiply_part(t, w, kquant_line_at(lines), i, panels, dots);
    }
}

/* The end of a block: sums [rows][panels][16] take the dots, which are 0 again. less [panels]: of
 * paired products, 0 where there are none. */
INLINE void add_blocks(const tfm_dtype t, const bool paired, const uint8_t *packed,
                       size_t panel_bytes, const uint8_t *lines, size_t stride, size_t rows,
                       const int panels, const __m512i *less, int32_t *dots, float *sums) {
    kquant_tail w[2];
    UNROLL for (int p = 0; p < panels; p++) {
        decode_tail(t, packed + (size_t)p * panel_bytes, &w[p]);
        /* q3_K: the dots are negated (decode_q3_k) */
        if (t == TFM_Q3_K) w[p].d = _mm512_sub_ps(_mm512_setzero_ps(), w[p].d);
    }
    for (; rows > 0; rows--, lines += stride) {
        const kquant_line *x = kquant_line_at(lines);
        UNROLL for (int p = 0; p < panels; p++, dots += TFM_PANEL, sums += TFM_PANEL) {
            __m512i dot = _mm512_load_si512(dots);
            if (t == TFM_Q3_K) dot = _mm512_add_epi32(dot, _mm512_set1_epi32(x->less_128));
            if (paired) dot = _mm512_sub_epi32(dot, less[p]);
            _mm512_store_ps(sums, add_block(t, &w[p], x, dot, _mm512_load_ps(sums)));
            _mm512_store_si512(dots, _mm512_setzero_si512());
        }
    }
}

/* All columns of `panels` panels meet many rows. sums: [rows][panels][16] */
INLINE void kquant_panels(const tfm_dtype t, const bool paired, const tfm_cpu_linear *a,
                          const uint8_t *w, const uint8_t *lines, size_t rows, const int panels,
                          float *sums) {
    int32_t dots[QUANT_ROWS * 2 * TFM_PANEL] __attribute__((aligned(64)));
    const uint8_t *end = w + a->panel_bytes; /* of the first panel */
    const size_t bytes = kquant_part_bytes(t);
    memset(dots, 0, rows * (size_t)panels * TFM_PANEL * sizeof *dots);
    for (uint32_t k = 0; k < a->k; k += 256) {
        const uint8_t *packed = w + 8 * bytes;
        __m512i less[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (int i = 0; i < 8; i++, w += bytes) {
            kquant_part part[2];
            UNROLL for (int p = 0; p < panels; p++) {
                const size_t at = (size_t)p * a->panel_bytes;
                decode_kquant(t, paired, w + at, packed + at, i, &part[p]);
                if (paired) less[p] = _mm512_add_epi32(less[p], part[p].less_paired);
            }
            multiply_parts(t, paired, part, lines, i, a->act_stride, rows, panels,
                           find_ahead(a, w, end, panels), a->panel_bytes, dots);
        }
        add_blocks(t, paired, packed, a->panel_bytes, lines, a->act_stride, rows, panels, less,
                   dots, sums);
        w += kquant_block_bytes(t) - 8 * bytes, lines += sizeof(kquant_line);
    }
}

/* ---- a single row ---- */

/* Eight vectors of a part's codes as they are stored, q3_K's with their high bit; iq4_xs's values
 * with a bias of 128. */
INLINE void decode_plain(const tfm_dtype t, const uint8_t *part, __m512i q[8]) {
    if (t == TFM_Q6_K) {
        decode_q6_k(part, q);
    } else if (kquant_groups_32(t)) {
        decode_nibbles(part, q, 0);
        if (t == TFM_Q5_K) decode_high_bits(part + 256, q, 16);
        if (t == TFM_IQ4_XS) look_up_nibbles(t, q);
    } else {
        UNROLL for (int j = 0; j < 8; j++) {
            const __m512i four = load_q(part + 64 * (j / 4));
            q[j] = _mm512_and_si512(_mm512_srli_epi32(four, (unsigned)(j % 4 * 2)), bytes_q(3));
        }
        if (t == TFM_Q3_K) decode_high_bits(part + 128, q, 4);
    }
}

/* The sums of codes times activations: of 16 columns each, or of 32 in dot[0]. */
INLINE void row_dots(const tfm_dtype t, const uint8_t *part, const kquant_line *x, int i,
                     __m512i dot[2]) {
    __m512i q[8];
    decode_plain(t, part, q);
    UNROLL for (int g = 0; g < 2; g++) {
        const int32_t start = x->less_32[2 * i + g]; /* the bias of q6_K; that of q3_K is 4 */
        dot[g] = t == TFM_Q6_K     ? _mm512_set1_epi32(start)
                 : t == TFM_Q3_K   ? _mm512_set1_epi32(start / 8)
                 : t == TFM_IQ4_XS ? _mm512_set1_epi32(start * 4)
                                   : _mm512_setzero_si512();
        UNROLL for (int j = 4 * g; j < 4 * g + 4; j++) {
            dot[g] = _mm512_dpbusd_epi32(dot[g], q[j], broadcast_four(x->q + 32 * i + 4 * j));
        }
    }
    if (kquant_groups_32(t)) dot[0] = _mm512_add_epi32(dot[0], dot[1]);
}

/* sum + the dots of part i times their small scales. The dots of q2_K and q3_K, at most 16 products
 * of 4 * 127, fit in int16: both are multiplied at once. */
INLINE __m512i scale_dots(const tfm_dtype t, const uint8_t *packed, int i, const __m512i dot[2],
                          __m512i sum) {
    __m128i scale[2];
    if (kquant_groups_32(t)) {
        return _mm512_add_epi32(sum, _mm512_mullo_epi32(dot[0], scale_of_32(t, packed, i)));
    }
    UNROLL for (int g = 0; g < 2; g++) {
        if (t == TFM_Q3_K)
            scale[g] = scale_q3_k(packed, 2 * i + g);
        else
            scale[g] = packed_at(packed, 2 * i + g);
        if (t == TFM_Q2_K) scale[g] = _mm_and_si128(scale[g], _mm_set1_epi8(15));
        if (t != TFM_Q6_K) continue;
        sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(dot[g], _mm512_cvtepi8_epi32(scale[g])));
    }
    if (t == TFM_Q6_K) return sum;
    const __m512i both =
        _mm512_mask_blend_epi16(0x55555555u, _mm512_slli_epi32(dot[1], 16), dot[0]);
    return _mm512_dpwssd_epi32(sum, both, pair_bytes(true, scale[0], scale[1]));
}

/* One panel; the scales, which lie behind the codes, are looked at behind them (quant_row). */
INLINE void kquant_row(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *w,
                       const uint8_t *lines, float *sums) {
    const size_t bytes = kquant_part_bytes(t);
    __m512 acc = _mm512_setzero_ps();
    for (uint32_t k = 0; k < a->k; k += 256) {
        const kquant_line *x = kquant_line_at(lines);
        const uint8_t *packed = w + 8 * bytes;
        __m512i dot[8][2], sum = _mm512_setzero_si512();
        kquant_tail tail;
        UNROLL for (int i = 0; i < 8; i++) row_dots(t, w + (size_t)i * bytes, x, i, dot[i]);
        UNROLL for (int i = 0; i < 8; i++) sum = scale_dots(t, packed, i, dot[i], sum);
        decode_tail(t, packed, &tail);
        acc = add_block(t, &tail, x, sum, acc);
        w += kquant_block_bytes(t), lines += sizeof(kquant_line);
    }
    _mm512_store_ps(sums, acc);
}
