/* avx2_kquant_internal.h - rows times panels of 16 outputs, for the k-quants, AVX2.
 *
 * Included by avx2_quant_internal.h, whose head says how codes and rows meet. The numerics are
 * those of kquant_line_internal.h: the vpmaddwd that widens sums of products multiplies by the
 * group's small scale as well, so a row's integer sum over a block of 256 columns costs nothing
 * more. What pairs of groups need, mins or the biases of codes, is multiplied at the block's
 * end. */

/* ---- decoding ---- */

INLINE void decode_crumbs(const uint8_t *part, int v, uint8_t (*to)[64]) {
    UNROLL for (int j = 0; j < 2; j++) {
        const __m256i four = load_q(part + 64 * j + 32 * v);
        UNROLL for (int f = 0; f < 4; f++) {
            const __m256i q = _mm256_and_si256(_mm256_srli_epi32(four, 2 * f), bytes_q(3));
            store_q(to[4 * j + f] + 32 * v, q);
        }
    }
}

INLINE void decode_high_crumbs(const uint8_t *high, int v, uint8_t (*to)[64]) {
    UNROLL for (int j = 0; j < 2; j++) {
        const __m256i h = load_q(high + 64 * j + 32 * v);
        const __m256i at[4] = {_mm256_slli_epi32(h, 4), _mm256_slli_epi32(h, 2), h,
                               _mm256_srli_epi32(h, 2)};
        UNROLL for (int f = 0; f < 4; f++) {
            uint8_t *q = to[4 * j + f] + 32 * v;
            store_q(q, _mm256_or_si256(load_q(q), _mm256_and_si256(at[f], bytes_q(0x30))));
        }
    }
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
    case TFM_IQ4_XS:
        low = low_bits(packed_at(packed, 2 + j / 2, v), j % 2 * 4, 4);
        high = low_bits(packed_at(packed, j / 4, v), j % 4 * 2, 2);
        low = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
        return _mm256_sub_epi32(low, _mm256_set1_epi32(32));
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

/* iq4_xs: nibbles to what they stand for, signed. */
INLINE void decode_values(int v, uint8_t (*to)[64]) {
    const __m128i_u *values = (const __m128i_u *)(const void *)tfm_iq4_values;
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128(values));
    UNROLL for (int j = 0; j < 8; j++) {
        uint8_t *q = to[j] + 32 * v;
        store_q(q, _mm256_shuffle_epi8(table, load_q(q)));
    }
}

/* 32 columns of one panel: 4 columns of 16 outputs in 64 bytes; the small scale of each group,
 * twice an output. */
typedef struct kquant_part {
    uint8_t q[8][64];
    int16_t scale[2][32];
} __attribute__((aligned(64))) kquant_part;

/* What the end of a block needs. pairs: of groups 2 p and 2 p + 1 the small mins, or the scales of
 * types whose codes have a bias. */
typedef struct kquant_tail {
    int16_t pairs[8][32];
    float d[TFM_PANEL], dmin[TFM_PANEL];
} __attribute__((aligned(64))) kquant_tail;

/* Part i of a block; of types with groups of 16 columns its pair, too. */
INLINE void decode_kquant(const tfm_dtype t, const uint8_t *part, const uint8_t *packed, int i,
                          kquant_part *w, kquant_tail *tail) {
    const int groups = kquant_groups_32(t) ? 1 : 2;
    UNROLL for (int v = 0; v < 2; v++) {
        __m256i s[2];
        if (t == TFM_Q2_K || t == TFM_Q3_K)
            decode_crumbs(part, v, w->q);
        else
            decode_nibbles(part, v, w->q);
        if (t == TFM_Q3_K) decode_high_bits(part + 128, v, 4, w->q);
        if (t == TFM_Q5_K) decode_high_bits(part + 256, v, 16, w->q);
        if (t == TFM_Q6_K) decode_high_crumbs(part + 256, v, w->q);
        if (t == TFM_IQ4_XS) decode_values(v, w->q);
        UNROLL for (int g = 0; g < groups; g++) {
            s[g] = small_scale(t, packed, groups * i + g, v);
            store_q(&w->scale[g][16 * v], twice(s[g], s[g]));
            if (t == TFM_Q2_K) s[g] = small_min(t, packed, 2 * i + g, v);
        }
        if (groups == 2) store_q(&tail->pairs[i][16 * v], twice(s[0], s[1]));
    }
}

/* iq4_xs has no mins, and its values no bias. */
INLINE int kquant_pairs(const tfm_dtype t) {
    return t == TFM_IQ4_XS ? 0 : kquant_groups_32(t) ? 4 : 8;
}

/* What is left of it behind the parts. */
INLINE void decode_tail(const tfm_dtype t, const uint8_t *packed, kquant_tail *w) {
    const uint8_t *halves = packed + kquant_scale_bytes(t);
    const int pairs = kquant_groups_32(t) ? kquant_pairs(t) : 0;
    UNROLL for (int v = 0; v < 2; v++) {
        UNROLL for (int p = 0; p < pairs; p++) {
            const __m256i first = small_min(t, packed, 2 * p, v);
            store_q(&w->pairs[p][16 * v], twice(first, small_min(t, packed, 2 * p + 1, v)));
        }
        _mm256_store_ps(&w->d[8 * v], load_halves(halves + 16 * v));
        if (!kquant_has_min(t)) continue;
        _mm256_store_ps(&w->dmin[8 * v], load_halves(halves + 32 + 16 * v));
    }
}

/* ---- multiplication ---- */

/* As multiply_part, of values up to 127 in magnitude: two products fit in int16. */
INLINE void multiply_values(const kquant_part *w, const uint8_t *lines, int i, size_t stride,
                            const int rows, int32_t *dots, size_t dots_stride) {
    __m256i sum[QUANT_LINES][2];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 2; v++) {
            sum[r][v] = load_q(dots + (size_t)r * dots_stride + 8 * v);
        }
    }
    UNROLL for (int j = 0; j < 8; j++) {
        UNROLL for (int v = 0; v < 2; v++) {
            const __m256i q = hold(load_q(w->q[j] + 32 * v)), size = hold(_mm256_abs_epi8(q));
            const __m256i scale = load_q(&w->scale[0][16 * v]);
            UNROLL for (int r = 0; r < rows; r++) {
                int32_t four;
                memcpy(&four, kquant_line_at(lines + (size_t)r * stride)->q + 32 * i + 4 * j,
                       sizeof four);
                const __m256i x = _mm256_sign_epi8(_mm256_set1_epi32(four), q);
                const __m256i product = _mm256_madd_epi16(_mm256_maddubs_epi16(size, x), scale);
                sum[r][v] = hold(_mm256_add_epi32(sum[r][v], product));
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < 2; v++) {
            store_q(dots + (size_t)r * dots_stride + 8 * v, sum[r][v]);
        }
    }
}

/* rows (at most QUANT_LINES) lines at `stride` bytes meet part i. dots: rows of 16 at
 * dots_stride. */
INLINE void multiply_part(const tfm_dtype t, const kquant_part *w, const uint8_t *lines, int i,
                          size_t stride, const int rows, int32_t *dots, size_t dots_stride) {
    __m256i pairs[QUANT_LINES][2];
    const int count = quads_at_once(t);
    if (t == TFM_IQ4_XS) {
        multiply_values(w, lines, i, stride, rows, dots, dots_stride);
        return;
    }
    UNROLL for (int first = 0; first < 8; first += count) {
        const int group = kquant_groups_32(t) ? 0 : first / 4;
        multiply_quads(w->q, kquant_line_at(lines)->q + 32 * i, stride, rows, first, count, pairs);
        UNROLL for (int r = 0; r < rows; r++) {
            UNROLL for (int v = 0; v < 2; v++) {
                int32_t *to = dots + (size_t)r * dots_stride + 8 * v;
                const __m256i scale = load_q(&w->scale[group][16 * v]);
                store_q(to, _mm256_add_epi32(load_q(to), _mm256_madd_epi16(pairs[r][v], scale)));
            }
        }
    }
}

INLINE void multiply_parts(const tfm_dtype t, const kquant_part *w, const uint8_t *lines, int i,
                           size_t stride, size_t rows, int32_t *dots, size_t dots_stride) {
    for (; rows >= QUANT_LINES; rows -= QUANT_LINES) {
        UNROLL for (int r = 0; r < QUANT_LINES; r++) {
            const int8_t *x = kquant_line_at(lines + (size_t)r * stride)->q;
            _mm_prefetch(x + 32 * i + 64, _MM_HINT_T0);
        }
        multiply_part(t, w, lines, i, stride, QUANT_LINES, dots, dots_stride);
        lines += QUANT_LINES * stride;
        dots += QUANT_LINES * dots_stride;
    }
    for (; rows > 0; rows--, lines += stride, dots += dots_stride) {
        multiply_part(t, w, lines, i, stride, 1, dots, dots_stride);
    }
}

/* Outputs 8 v .. 8 v + 7 of one row: acc + the float operations of a block. */
INLINE __m256 add_block(const tfm_dtype t, const kquant_tail *w, const kquant_line *x, int v,
                        __m256i dots, __m256 acc) {
    const int16_t *sums = kquant_groups_32(t) ? x->sum_32 : x->sum_16;
    const __m256 sx = _mm256_set1_ps(x->scale);
    const int n_pairs = kquant_pairs(t);
    __m256i pairs = _mm256_setzero_si256();
    UNROLL for (int p = 0; p < n_pairs; p++) {
        const __m256i sum = _mm256_set1_epi32(sum_pair(sums, p));
        pairs = _mm256_add_epi32(pairs, _mm256_madd_epi16(load_q(&w->pairs[p][16 * v]), sum));
    }
    if (t == TFM_Q3_K || t == TFM_Q6_K) { /* codes are 4 or 32 too large */
        dots = _mm256_sub_epi32(dots, _mm256_slli_epi32(pairs, t == TFM_Q3_K ? 2 : 5));
    }
    const __m256 scale = _mm256_mul_ps(_mm256_load_ps(&w->d[8 * v]), sx);
    acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), scale, acc);
    if (!kquant_has_min(t)) return acc;
    const __m256 min = _mm256_mul_ps(_mm256_load_ps(&w->dmin[8 * v]), sx);
    return _mm256_fnmadd_ps(_mm256_cvtepi32_ps(pairs), min, acc);
}

/* The end of a block: sums take the dots, both [rows][panels][16], which are 0 again. */
INLINE void add_blocks(const tfm_dtype t, const kquant_tail *w, const uint8_t *lines, size_t stride,
                       size_t rows, int32_t *dots, float *sums, size_t width) {
    for (; rows > 0; rows--, lines += stride, dots += width, sums += width) {
        UNROLL for (int v = 0; v < 2; v++) {
            const __m256 acc = _mm256_load_ps(sums + 8 * v);
            _mm256_store_ps(sums + 8 * v,
                            add_block(t, w, kquant_line_at(lines), v, load_q(dots + 8 * v), acc));
            store_q(dots + 8 * v, _mm256_setzero_si256());
        }
    }
}

/* All columns of `panels` panels. sums: [rows][panels][16] */
INLINE void kquant_panels(const tfm_dtype t, const tfm_cpu_linear *a, const uint8_t *w,
                          const uint8_t *lines, size_t rows, int panels, float *sums) {
    int32_t dots[QUANT_ROWS * 2 * TFM_PANEL] __attribute__((aligned(64)));
    const size_t bytes = kquant_part_bytes(t), width = (size_t)panels * TFM_PANEL;
    memset(dots, 0, rows * width * sizeof *dots);
    for (uint32_t k = 0; k < a->k; k += 256) {
        for (int p = 0; p < panels; p++) {
            const uint8_t *part = w + (size_t)p * a->panel_bytes, *packed = part + 8 * bytes;
            kquant_tail tail;
            for (int i = 0; i < 8; i++, part += bytes) {
                kquant_part codes;
                decode_kquant(t, part, packed, i, &codes, &tail);
                multiply_parts(t, &codes, lines, i, a->act_stride, rows, dots + p * TFM_PANEL,
                               width);
            }
            decode_tail(t, packed, &tail);
            add_blocks(t, &tail, lines, a->act_stride, rows, dots + p * TFM_PANEL,
                       sums + p * TFM_PANEL, width);
        }
        w += kquant_block_bytes(t), lines += sizeof(kquant_line);
    }
}
