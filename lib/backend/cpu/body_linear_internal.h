/* body_linear_internal.h - rows times panels of 16 outputs, for f32, f16 and bf16 weights.
 *
 *     acc[r][o] = 0; for k ascending: acc[r][o] = madd(w[k][o], x[r][k], acc[r][o])
 *     out[r][o] = acc[r][o] + bias[o]
 *
 * bf16 where the processor multiplies pairs (DOT_BF16): acc = dot(w[k], w[k+1]; x[k], x[k+1]; acc),
 * whatever that instruction rounds, k ascending by two; activations are then bf16, else bf16 values
 * as f32.
 *
 * Each output has one accumulator and one order, so how many rows and panels are worked on together
 * is free. A tile's sums stay in registers over K_BLOCK columns (a single row's over all); those
 * columns of GROUP_PANELS panels fit in a quarter of an L2 cache and serve all rows. f16 and bf16
 * become f32 (exactly) in registers, or where that is dear and rows are many, in memory once. */

enum {
    K_BLOCK = 1024,
    ROW_BLOCK = 512,                   /* rows whose sums are kept between K_BLOCKs */
    GROUP_PANELS = LANES == 4 ? 2 : 4, /* share the columns of one K_BLOCK; one row: a tile */
    TILE_PANELS = LANES == 16 ? 4 : 1, /* of a tile of many rows */
    TILE_ROWS = LANES == 4 ? 2 : 6,    /* so that the sums fit in registers */
    GROUP_WIDTH = GROUP_PANELS * TFM_PANEL,
    ASK_EACH = 8,     /* columns of a single row for which a line is asked for, */
    ASK_AHEAD = 4096, /* a page ahead: the processor's own requests end with the page */
    DECODE_ROWS = LANES == 4 ? 4 : 0 /* from here on decoding to memory pays; 0: never */
};

/* How a panel's columns lie in memory: a dtype, or pairs for DOT_BF16. */
enum { COLUMNS_F32, COLUMNS_F16, COLUMNS_BF16, COLUMNS_DOT };

#if defined(DOT_BF16)
static const int BF16_FORM = COLUMNS_DOT;
#else
static const int BF16_FORM = COLUMNS_BF16;
#define DOT_BF16(acc, w, x) (acc) /* never reached */
#endif

/* Bytes of n columns; n is even for the bf16 forms. */
INLINE size_t columns_bytes(const int form, size_t n) {
    return n * TFM_PANEL * (form == COLUMNS_F32 ? 4 : 2);
}

/* Column `sub` of the `per` that share vector v of `at`. */
INLINE vf column_of(const int form, const uint8_t *at, int v, int sub) {
    switch (form) {
    case COLUMNS_F16: return from_f16(at + v * LANES * 2);
    case COLUMNS_BF16: {
        const vu both = load_u(at + v * LANES * 4);
        return (vf)(sub == 0 ? both << 16 : both & 0xffff0000u);
    }
    default: return load(at + v * LANES * 4);
    }
}

/* panels times rows sums over n columns. w: panels at w_stride bytes; x: rows at x_stride numbers,
 * each number f32 or (DOT) a pair; acc: [rows][acc_stride], carried over calls. */
INLINE void tile(const int form, const uint8_t *w, size_t w_stride, size_t n, const float *x,
                 size_t x_stride, float *acc, size_t acc_stride, const int panels, const int rows) {
    const int per = form == COLUMNS_BF16 ? 2 : 1; /* columns of one load */
    const size_t step = form == COLUMNS_F32 ? 64 : form == COLUMNS_F16 ? 32 : 64;
    vf sum[TILE_ROWS][GROUP_PANELS][NV];
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int p = 0; p < panels; p++) {
            UNROLL for (int v = 0; v < NV; v++) {
                sum[r][p][v] = load(acc + (size_t)r * acc_stride + p * TFM_PANEL + v * LANES);
            }
        }
    }
    for (size_t i = 0; i < n; i += (size_t)per, w += step) {
        if (rows == 1 && i % ASK_EACH == 0) {
            UNROLL for (int p = 0; p < panels; p++) {
                __builtin_prefetch(w + (size_t)p * w_stride + ASK_AHEAD, 0, 2);
            }
        }
        UNROLL for (int sub = 0; sub < per; sub++) {
            vf column[GROUP_PANELS][NV];
            UNROLL for (int p = 0; p < panels; p++) {
                UNROLL for (int v = 0; v < NV; v++) {
                    column[p][v] = column_of(form, w + (size_t)p * w_stride, v, sub);
                }
            }
            UNROLL for (int r = 0; r < rows; r++) {
                const vf a = splat(x[(size_t)r * x_stride + i + (size_t)sub]);
                UNROLL for (int p = 0; p < panels; p++) {
                    UNROLL for (int v = 0; v < NV; v++) {
                        sum[r][p][v] = form == COLUMNS_DOT
                                           ? (vf)DOT_BF16(sum[r][p][v], column[p][v], a)
                                           : madd(column[p][v], a, sum[r][p][v]);
                    }
                }
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        UNROLL for (int p = 0; p < panels; p++) {
            UNROLL for (int v = 0; v < NV; v++) {
                store(acc + (size_t)r * acc_stride + p * TFM_PANEL + v * LANES, sum[r][p][v]);
            }
        }
    }
}

/* Any number of rows, in tiles as equal as can be: a small one would wait for its own sums. */
INLINE void tiles(const int form, const uint8_t *w, size_t w_stride, size_t n, const float *x,
                  size_t x_stride, float *acc, size_t acc_stride, const int panels, size_t rows) {
#define TILE(r)                                                                                    \
    case r: tile(form, w, w_stride, n, x, x_stride, acc, acc_stride, panels, r); break
    for (size_t left = (rows + TILE_ROWS - 1) / TILE_ROWS; left > 0; left--) {
        const size_t now = (rows + left - 1) / left;
        switch (now) {
            TILE(1);
#if LANES != 4
            TILE(2);
            TILE(3);
            TILE(4);
            TILE(5);
#endif
        default: tile(form, w, w_stride, n, x, x_stride, acc, acc_stride, panels, TILE_ROWS); break;
        }
        x += now * x_stride;
        acc += now * acc_stride;
        rows -= now;
    }
#undef TILE
}

/* For each form: rows times TILE_PANELS panels, rows times one, and one row times a group. */
typedef void (*tiles_fn)(const uint8_t *w, size_t w_stride, size_t n, const float *x,
                         size_t x_stride, float *acc, size_t rows);
#define TILES(name, form)                                                                          \
    KERNEL static void name(const uint8_t *w, size_t w_stride, size_t n, const float *x,           \
                            size_t x_stride, float *acc, size_t rows) {                            \
        tiles(form, w, w_stride, n, x, x_stride, acc, GROUP_WIDTH, TILE_PANELS, rows);             \
    }                                                                                              \
    KERNEL static void name##_one(const uint8_t *w, size_t w_stride, size_t n, const float *x,     \
                                  size_t x_stride, float *acc, size_t rows) {                      \
        tiles(form, w, w_stride, n, x, x_stride, acc, GROUP_WIDTH, 1, rows);                       \
    }                                                                                              \
    KERNEL static void name##_row(const uint8_t *w, size_t w_stride, size_t n, const float *x,     \
                                  size_t x_stride, float *acc, size_t rows) {                      \
        (void)rows;                                                                                \
        tile(form, w, w_stride, n, x, x_stride, acc, GROUP_WIDTH, GROUP_PANELS, 1);                \
    }
TILES(tiles_f32, COLUMNS_F32)
TILES(tiles_f16, COLUMNS_F16)
TILES(tiles_bf16, BF16_FORM)

INLINE int form_of(tfm_dtype t) {
    return t == TFM_F32 ? COLUMNS_F32 : t == TFM_F16 ? COLUMNS_F16 : BF16_FORM;
}

/* The function for these panels and rows, and how many panels it takes. */
static tiles_fn tiles_of(int form, int panels, size_t rows, int *each) {
    static const tiles_fn table[3][3] = {{tiles_f32, tiles_f32_one, tiles_f32_row},
                                         {tiles_f16, tiles_f16_one, tiles_f16_row},
                                         {tiles_bf16, tiles_bf16_one, tiles_bf16_row}};
    const int row = form == COLUMNS_F32 ? 0 : form == COLUMNS_F16 ? 1 : 2;
    const bool whole = panels == GROUP_PANELS;
    *each = !whole ? 1 : rows == 1 ? GROUP_PANELS : TILE_PANELS;
    return table[row][!whole ? 1 : rows == 1 ? 2 : 0];
}

/* n columns of `panels` panels as f32 [panels][K_BLOCK][16]. */
KERNEL static void decode_columns(int form, const uint8_t *w, size_t w_stride, size_t n, int panels,
                                  float *to) {
    for (int p = 0; p < panels; p++, w += w_stride, to += (size_t)K_BLOCK * TFM_PANEL) {
        if (form == COLUMNS_F16) {
            decode_floats(TFM_F16, w, n * TFM_PANEL, to);
            continue;
        }
        for (size_t i = 0; i < n; i += 2) { /* bf16: a lane is a pair of columns */
            UNROLL for (int v = 0; v < NV; v++) {
                const uint8_t *at = w + columns_bytes(COLUMNS_BF16, i);
                store(to + i * TFM_PANEL + v * LANES, column_of(COLUMNS_BF16, at, v, 0));
                store(to + (i + 1) * TFM_PANEL + v * LANES, column_of(COLUMNS_BF16, at, v, 1));
            }
        }
    }
}

/* Adds the bias and writes the outputs that there are. acc: [rows][stride], of panels [panel,
 * end). */
INLINE void finish_panels(const tfm_cpu_linear *a, uint32_t panel, uint32_t end, const float *acc,
                          size_t stride, uint32_t row, size_t rows) {
    const size_t at = (size_t)panel * TFM_PANEL, all = (size_t)end * TFM_PANEL;
    const size_t n = (all < a->n_out ? all : a->n_out) - at;
    for (size_t r = 0; r < rows; r++, acc += stride) {
        float *out = a->out + (row + r) * (size_t)a->n_out + at;
        size_t o = 0;
        for (; o + LANES <= n; o += LANES) {
            const vf x = load(acc + o);
            store(out + o, a->bias == NULL ? x : x + load(a->bias + at + o));
        }
        for (; o < n; o++) out[o] = a->bias == NULL ? acc[o] : acc[o] + a->bias[at + o];
    }
}

/* Panels [panel, end), at most GROUP_PANELS of them, and at most ROW_BLOCK rows. */
KERNEL static void linear_block(const tfm_cpu_linear *a, uint32_t panel, uint32_t end, uint32_t row,
                                size_t rows, float *acc, float *decoded) {
    const int form = form_of(a->type), panels = (int)(end - panel);
    const size_t decode_from = DECODE_ROWS;
    const bool decode =
        decode_from > 0 && rows >= decode_from && (form == COLUMNS_F16 || form == COLUMNS_BF16);
    int each;
    const tiles_fn run = tiles_of(decode ? COLUMNS_F32 : form, panels, rows, &each);
    const size_t pair = form == COLUMNS_DOT ? 2 : 1; /* columns of one number of x */
    const size_t k_all = form == COLUMNS_F32 || form == COLUMNS_F16 ? a->k : a->k + (a->k & 1u);
    /* A single row reads weights once: forward, not in blocks, which cost a third of reading. */
    const size_t block = rows == 1 && !decode ? k_all : K_BLOCK;
    memset(acc, 0, rows * GROUP_WIDTH * sizeof *acc);
    for (size_t k = 0; k < k_all; k += block) {
        const size_t n = k_all - k < block ? k_all - k : block;
        const uint8_t *w = a->w + panel * a->panel_bytes + columns_bytes(form, k);
        const float *x = (const float *)(const void *)(a->act + row * a->act_stride) + k / pair;
        size_t w_stride = a->panel_bytes;
        if (decode) {
            decode_columns(form, w, w_stride, n, panels, decoded);
            w = (const uint8_t *)decoded;
            w_stride = columns_bytes(COLUMNS_F32, K_BLOCK);
        }
        for (int p = 0; p < panels; p += each) {
            run(w + (size_t)p * w_stride, w_stride, n / pair, x, a->act_stride / sizeof *x,
                acc + p * TFM_PANEL, rows);
        }
    }
    finish_panels(a, panel, end, acc, GROUP_WIDTH, row, rows);
}

static size_t linear_float_bytes(void) {
    return ((size_t)ROW_BLOCK * GROUP_WIDTH + (size_t)GROUP_PANELS * K_BLOCK * TFM_PANEL) *
           sizeof(float);
}

static void linear_float(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end, uint32_t row,
                         uint32_t row_end, void *scratch) {
    float *acc = scratch, *decoded = acc + (size_t)ROW_BLOCK * GROUP_WIDTH;
    for (; row < row_end; row += ROW_BLOCK) {
        const size_t rows = row_end - row < ROW_BLOCK ? row_end - row : ROW_BLOCK;
        for (uint32_t p = panel; p < panel_end; p += GROUP_PANELS) {
            const uint32_t end = panel_end - p < GROUP_PANELS ? panel_end : p + GROUP_PANELS;
            linear_block(a, p, end, row, rows, acc, decoded);
        }
    }
}

/* ---- activations for bf16 weights ---- */

static size_t bf16_act_bytes(uint32_t k) {
    return BF16_FORM == COLUMNS_DOT ? ((size_t)k + (k & 1u)) * 2
                                    : ((size_t)k + (k & 1u)) * sizeof(float);
}

/* Rounded to bf16; an odd k gets a zero behind it. */
KERNEL static void prepare_bf16(uint32_t k, const float *src, uint8_t *act) {
    float *x = (float *)(void *)act;
    uint16_t *pairs = (uint16_t *)(void *)act;
    if (BF16_FORM == COLUMNS_DOT) {
        for (uint32_t i = 0; i < k; i++) pairs[i] = tfm_inline_f32_to_bf16(src[i]);
        if (k & 1u) pairs[k] = 0;
        return;
    }
    for (uint32_t i = 0; i < k; i++) {
        x[i] = tfm_inline_bf16_to_f32(tfm_inline_f32_to_bf16(src[i]));
    }
    if (k & 1u) x[k] = 0.0f;
}
