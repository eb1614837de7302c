/* body_linear_internal.h - rows times one panel of 16 outputs, for f32, f16 and bf16 weights.
 *
 *     acc[r][o] = 0; for k ascending: acc[r][o] = acc[r][o] + w[k][o] * x[r][k]
 *     out[r][o] = acc[r][o] + bias[o]
 *
 * Each output has one accumulator and one order, so how many rows are worked on together is free.
 * K_BLOCK columns of the panel at a time: decoded once to f32 (exactly), used by every row. */

enum {
    K_BLOCK = 256,
    ROW_BLOCK = 32,
    TILE_ROWS = LANES == 4 ? 2 : 4
}; /* a tile's sums fit in 16 registers */

/* w: [n][16] f32, x: rows of n at x_stride, acc: [rows][16], both carried over K_BLOCKs. */
INLINE void tile(const float *w, size_t n, const float *x, size_t x_stride, float *acc,
                 const int rows) {
    vf sum[TILE_ROWS][NV];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < NV; v++) sum[r][v] = load(acc + r * TFM_PANEL + v * LANES);
    }
    for (size_t i = 0; i < n; i++) {
        vf column[NV];
        UNROLL for (int v = 0; v < NV; v++) column[v] = load(w + i * TFM_PANEL + v * LANES);
        UNROLL for (int r = 0; r < rows; r++) {
            const float a = x[(size_t)r * x_stride + i];
            UNROLL for (int v = 0; v < NV; v++) sum[r][v] = madd(column[v], splat(a), sum[r][v]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int v = 0; v < NV; v++) store(acc + r * TFM_PANEL + v * LANES, sum[r][v]);
    }
}

KERNEL static void rows_times_panel(const float *w, size_t n, const float *x, size_t x_stride,
                                    float *acc, size_t rows) {
    size_t r = 0;
    for (; r + TILE_ROWS <= rows; r += TILE_ROWS) {
        tile(w, n, x + r * x_stride, x_stride, acc + r * TFM_PANEL, TILE_ROWS);
    }
    for (; r < rows; r++) tile(w, n, x + r * x_stride, x_stride, acc + r * TFM_PANEL, 1);
}

/* Columns [from, from + n) of a panel as f32 [n][16]; from is even. */
KERNEL static const float *decode_columns(tfm_dtype t, const uint8_t *panel, size_t from, size_t n,
                                          float *to) {
    if (t == TFM_F32) return (const float *)(const void *)(panel + from * TFM_PANEL * 4);
    if (t == TFM_F16) {
        decode_floats(TFM_F16, panel + from * TFM_PANEL * 2, n * TFM_PANEL, to);
        return to;
    }
    for (size_t i = 0; i < n; i += 2) { /* bf16: [k/2][16][2], a lane is a pair of columns */
        const uint8_t *pair = panel + (from + i) * TFM_PANEL * 2;
        UNROLL for (int v = 0; v < NV; v++) {
            const vu both = load_u(pair + v * LANES * 4);
            store_u(to + i * TFM_PANEL + v * LANES, both << 16);
            store_u(to + (i + 1) * TFM_PANEL + v * LANES, both & 0xffff0000u);
        }
    }
    return to;
}

/* Sums [rows][16] of one panel to their places, bias added; the last panel may have padding. */
INLINE void finish_panel(const tfm_cpu_linear *a, uint32_t panel, const float *acc, uint32_t row,
                         size_t rows) {
    const size_t at = (size_t)panel * TFM_PANEL;
    const size_t n = a->n_out - at < TFM_PANEL ? a->n_out - at : TFM_PANEL;
    for (size_t r = 0; r < rows; r++, acc += TFM_PANEL) {
        float *out = a->out + (row + r) * (size_t)a->n_out + at;
        for (size_t o = 0; o < n; o++) out[o] = a->bias != NULL ? acc[o] + a->bias[at + o] : acc[o];
    }
}

KERNEL static void linear_float(const tfm_cpu_linear *a, uint32_t panel, uint32_t row,
                                uint32_t row_end) {
    float acc[ROW_BLOCK * TFM_PANEL] __attribute__((aligned(64)));
    float columns[(K_BLOCK + 1) * TFM_PANEL] __attribute__((aligned(64))); /* + 1: an odd bf16 k */
    const uint8_t *w = a->w + panel * a->panel_bytes;
    const size_t rows = row_end - row, x_stride = a->act_stride / sizeof(float);
    memset(acc, 0, rows * TFM_PANEL * sizeof *acc);
    for (size_t k = 0; k < a->k; k += K_BLOCK) {
        const size_t n = a->k - k < K_BLOCK ? a->k - k : K_BLOCK;
        const float *x = (const float *)(const void *)(a->act + row * a->act_stride) + k;
        rows_times_panel(decode_columns(a->type, w, k, n, columns), n, x, x_stride, acc, rows);
    }
    finish_panel(a, panel, acc, row, rows);
}
