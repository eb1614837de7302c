/* layout.c - the layouts of a 2-D weight: sizes, rows <-> p16, single rows.
 *
 * p16 puts 16 output rows side by side, so that one vector register holds the same few k of 16
 * rows: a dot-product kernel reads memory strictly forward and needs no shuffles across lanes. It
 * is a pure permutation of the bits of `rows`: nothing is rounded, scales keep their packing.
 *
 * A tensor [rows, k] is ceil(rows / 16) panels, one after another; panel p holds rows 16p..16p+15,
 * rows past the end are zero bytes. A panel is ceil(k / step) pieces in ascending k:
 *
 *   type         step  a piece (numbers in brackets are extents, slowest first)
 *   f32, f16        1  [16] numbers, one a row
 *   bf16            2  [16][2] numbers: k, k+1 of each row; an odd k is padded by zero
 *   q8_0           32  Q8, f16 d[16]
 *   q4_0           32  Q4, f16 d[16]
 *   q4_1           32  Q4, f16 d[16], f16 m[16]
 *   q5_0           32  Q4, H1, f16 d[16]
 *   q5_1           32  Q4, H1, f16 d[16], f16 m[16]
 *   iq4_nl         32  Q4, f16 d[16]
 *   mxfp4          32  Q4, u8 e[16]
 *   q2_K          256  8 x Q2, u8 scales[16][16], f16 d[16], f16 dmin[16]
 *   q3_K          256  8 x (Q2, H1), u8 scales[12][16], f16 d[16]
 *   q4_K          256  8 x Q4, u8 scales[12][16], f16 d[16], f16 dmin[16]
 *   q5_K          256  8 x (Q4, H1), u8 scales[12][16], f16 d[16], f16 dmin[16]
 *   q6_K          256  8 x (Q4, H2), i8 scales[16][16], f16 d[16]
 *   iq4_xs        256  8 x Q4, u8 scales[6][16], f16 d[16]
 *
 * where one Q or H part covers 32 consecutive k (q[0..31]) of 16 rows, its last extent being 4
 * bytes of one row, that is one 32-bit lane:
 *
 *   Q8  [8][16][4]  byte (j, row, b) = q[4j + b], signed
 *   Q4  [4][16][4]  byte (j, row, b): low nibble q[8j + b], high nibble q[8j + 4 + b]
 *   Q2  [2][16][4]  byte (j, row, b): bits 2f..2f+1 = q[16j + 4f + b], f = 0..3
 *   H2  [2][16][4]  as Q2: the upper two bits (weight 16) of q6_K
 *   H1  u32 [16]    bit i of a row's word = the upper bit of q[i] (weight 16; 4 in q3_K)
 *
 * A quant in a part is the unsigned code that `rows` stores (q4_0 has offset 8, and so on). The
 * scale bytes are those of the block: byte i of 16 rows stands together as scales[i]. */
#include <string.h>

#include "base/base_internal.h"
#include "tensor/block_forms_internal.h"
#include "tensor/float16_internal.h"

#define PANEL 16u /* rows a panel */
#define SUB 32u   /* k of one quant part */

const char *tfm_layout_name(tfm_layout l) {
    return l == TFM_LAYOUT_ROWS ? "rows" : l == TFM_LAYOUT_P16 ? "p16" : "?";
}

bool tfm_layout_parse(const char *name, tfm_layout *out) {
    if (strcmp(name, "rows") == 0) {
        *out = TFM_LAYOUT_ROWS;
    } else if (strcmp(name, "p16") == 0) {
        *out = TFM_LAYOUT_P16;
    } else {
        return false;
    }
    return true;
}

static bool has_p16(tfm_dtype t) {
    return t == TFM_F32 || t == TFM_F16 || t == TFM_BF16 || tfm_block_form_of(t) != NULL;
}

/* Bytes of one row inside a panel: k padded to even for bf16. k is whole blocks. */
static uint64_t p16_row_bytes(tfm_dtype t, uint32_t k) {
    const uint64_t padded = t == TFM_BF16 ? (uint64_t)k + (k & 1u) : k;
    return padded / tfm_dtype_block(t) * tfm_dtype_block_bytes(t);
}

tfm_status tfm_layout_bytes(tfm_dtype t, tfm_layout layout, unsigned rank,
                            const uint32_t dims[TFM_MAX_RANK], uint64_t *bytes, tfm_error *err) {
    uint64_t count, total;
    if (!tfm_dtype_known((unsigned)t)) {
        return tfm_fail(err, TFM_UNSUPPORTED, "unknown element type %u", (unsigned)t);
    }
    if (layout != TFM_LAYOUT_ROWS && layout != TFM_LAYOUT_P16) {
        return tfm_fail(err, TFM_UNSUPPORTED, "unknown layout %u", (unsigned)layout);
    }
    if (!tfm_dims_count(rank, dims, &count)) {
        return tfm_fail(err, TFM_LIMIT, "the dimensions are too large (rank %u)", rank);
    }
    const uint32_t width = rank > 0 ? dims[rank - 1] : 1;
    if (width % tfm_dtype_block(t) != 0) {
        return tfm_fail(err, TFM_FORMAT, "row width %u is not whole %s blocks of %u", width,
                        tfm_dtype_name(t), tfm_dtype_block(t));
    }
    if (layout == TFM_LAYOUT_P16) {
        if (rank != 2 || !has_p16(t)) {
            return tfm_fail(err, TFM_UNSUPPORTED, "layout p16 is not for rank %u %s tensors", rank,
                            tfm_dtype_name(t));
        }
        const uint64_t panels = ((uint64_t)dims[0] + PANEL - 1) / PANEL;
        if (!tfm_mul_u64(panels, PANEL * p16_row_bytes(t, width), &total)) {
            return tfm_fail(err, TFM_LIMIT, "%u x %u is too large", dims[0], width);
        }
    } else if (!tfm_dtype_bytes(t, count, &total)) {
        return tfm_fail(err, TFM_LIMIT, "the dimensions are too large (rank %u)", rank);
    }
    *bytes = total;
    return TFM_OK;
}

#define INLINE __attribute__((always_inline)) static inline
#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

/* ---- quant parts of one row in a panel ---- */

/* Copies n units of `unit` bytes between a row's own bytes and its places in [n][16][unit]. */
INLINE void spread(uint8_t *panel, const uint8_t *own, unsigned row, unsigned n, unsigned unit) {
    UNROLL for (unsigned i = 0; i < n; i++) {
        memcpy(panel + (i * PANEL + row) * unit, own + i * unit, unit);
    }
}

static void collect(const uint8_t *panel, uint8_t *own, unsigned row, unsigned n, unsigned unit) {
    for (unsigned i = 0; i < n; i++) {
        memcpy(own + i * unit, panel + (i * PANEL + row) * unit, unit);
    }
}

/* The fields of the Q and H parts of one row before interleaving: 4 bytes are one lane. */
static void part_fields(const tfm_block_form *form, tfm_bitfield *low, tfm_bitfield *high) {
    *low = (tfm_bitfield){0, 4, form->low.bits};
    *high = (tfm_bitfield){(uint8_t)(SUB * form->low.bits / 8), 4, form->high.bits};
    if (form->high.bits == 1) high->stride = 1; /* H1: bit i of the word is element i */
}

/* The same four elements at a time: a quad is their codes, one a byte. Packing runs at every open
 * of a checkpoint, so it has a fast way; the inverse is plain. */
enum { QUADS = SUB / 4 };
static const uint32_t EACH_BYTE = 0x01010101u;

INLINE uint32_t load_word(const uint8_t *p) {
    uint32_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* quad[0..8) |= the field's values of elements [k, k + 32) << shift. stride 1 has one bit. */
INLINE void quads_get(tfm_bitfield f, const uint8_t *p, uint32_t k, unsigned shift,
                      uint32_t quad[QUADS]) {
    if (f.bits == 0) return;
    if (f.stride == 1) {
        const uint32_t bits = load_word(p + k / 8);
        UNROLL for (unsigned i = 0; i < QUADS; i++) {
            const uint32_t four = bits >> 4 * i & 15u, two = four | four << 7;
            quad[i] |= ((two | two << 14) & EACH_BYTE) << shift;
        }
        return;
    }
    const uint32_t chunk = f.stride * 8u / f.bits, mask = ((1u << f.bits) - 1u) * EACH_BYTE;
    const uint32_t each = f.stride < SUB ? f.stride : SUB; /* elements from neighbouring bytes */
    UNROLL for (uint32_t i = 0; i < SUB; i += each) {
        const uint32_t e = k + i, bit = e % chunk / f.stride * f.bits;
        const uint8_t *at = p + e / chunk * f.stride + e % f.stride;
        UNROLL for (uint32_t j = 0; j < each; j += 4) {
            quad[(i + j) / 4] |= (load_word(at + j) >> bit & mask) << shift;
        }
    }
}

/* Lanes of the p16 field that holds `bits` bits of each code, from bit `shift` of it. */
INLINE uint8_t *quads_put(unsigned bits, unsigned shift, const uint32_t quad[QUADS],
                          uint8_t *lane) {
    if (bits == 0) return lane;
    if (bits == 1) {
        uint32_t word = 0;
        UNROLL for (unsigned i = 0; i < QUADS; i++) { /* the four bits meet in the highest ones */
            const uint32_t four = (quad[i] >> shift & EACH_BYTE) * 0x10204080u >> 28;
            word |= four << 4 * i;
        }
        memcpy(lane, &word, sizeof word);
        return lane + PANEL * sizeof word;
    }
    const uint32_t mask = ((1u << bits) - 1u) * EACH_BYTE;
    UNROLL for (unsigned i = 0; i < QUADS; lane += PANEL * sizeof(uint32_t)) {
        uint32_t word = 0;
        UNROLL for (unsigned bit = 0; bit < 8; bit += bits, i++) word |= (quad[i] >> shift & mask)
                                                                         << bit;
        memcpy(lane, &word, sizeof word);
    }
    return lane;
}

/* Scales, d and m are plain bytes; how far they are into a panel piece, and how they interleave. */
typedef struct tail_field {
    unsigned at, n, unit; /* offset in the block, units, bytes a unit */
} tail_field;

INLINE unsigned tail_fields(const tfm_block_form *form, tail_field fields[3]) {
    unsigned n = 0;
    if (form->n_scales != 0) fields[n++] = (tail_field){form->scales_at, form->n_scales, 1};
    fields[n++] = (tail_field){form->d_at, 1, form->is_e8m0 ? 1 : 2};
    if (form->has_min) fields[n++] = (tail_field){form->m_at, 1, 2};
    return n;
}

/* Row `row`'s block goes into the panel piece at dst (16 blocks large). */
INLINE void block_into_panel(const tfm_block_form *form, uint32_t count, const uint8_t *block,
                             uint8_t *dst, unsigned row) {
    tail_field tail[3];
    const unsigned part = SUB * (form->low.bits + form->high.bits) / 8u;
    UNROLL for (uint32_t k = 0; k < count; k += SUB, dst += PANEL * part) {
        uint32_t quad[QUADS] = {0};
        quads_get(form->low, block + form->low.offset, k, 0, quad);
        quads_get(form->high, block + form->high.offset, k, form->low.bits, quad);
        uint8_t *lane = quads_put(form->low.bits, 0, quad, dst + row * sizeof(uint32_t));
        quads_put(form->high.bits, form->low.bits, quad, lane);
    }
    const unsigned n_tail = tail_fields(form, tail);
    UNROLL for (unsigned i = 0; i < n_tail; i++) {
        spread(dst, block + tail[i].at, row, tail[i].n, tail[i].unit);
        dst += PANEL * tail[i].n * tail[i].unit;
    }
}

/* The inverse: builds row `row`'s block from the panel piece at src. */
static void block_from_panel(tfm_dtype t, const uint8_t *src, uint8_t *block, unsigned row) {
    const tfm_block_form *form = tfm_block_form_of(t);
    uint8_t codes[TFM_BLOCK_MAX] = {0};
    tfm_bitfield low, high;
    tail_field tail[3];
    part_fields(form, &low, &high);
    const unsigned part = SUB * (low.bits + high.bits) / 8u;
    for (uint32_t k = 0; k < tfm_dtype_block(t); k += SUB, src += PANEL * part) {
        uint8_t own[SUB];
        collect(src, own, row, part / 4, 4);
        tfm_bits_get(low, own, SUB, 0, codes + k);
        tfm_bits_get(high, own + high.offset, SUB, low.bits, codes + k);
    }
    memset(block, 0, tfm_dtype_block_bytes(t));
    tfm_block_put_codes(t, block, codes);
    const unsigned n_tail = tail_fields(form, tail);
    for (unsigned i = 0; i < n_tail; i++) {
        collect(src, block + tail[i].at, row, tail[i].n, tail[i].unit);
        src += PANEL * tail[i].n * tail[i].unit;
    }
}

/* ---- whole tensors ---- */

/* How a type interleaves: `unit` bytes of a row stand together; 0 for block types. */
static unsigned p16_unit(tfm_dtype t) {
    return t == TFM_F32 || t == TFM_BF16 ? 4 : t == TFM_F16 ? 2 : 0;
}

/* All blocks of n rows into one panel, piece by piece: what is written stays in the nearest
 * cache. */
INLINE void blocks_into_panel(const tfm_dtype t, uint32_t n, uint32_t k, const uint8_t *src,
                              uint64_t row_bytes, uint8_t *panel) {
    const tfm_block_form *form = &tfm_block_forms[t];
    const uint32_t count = form->n_scales != 0 ? TFM_BLOCK_MAX : SUB;
    const uint64_t bytes = tfm_dtype_block_bytes(t);
    for (uint64_t b = 0; b < k / count; b++, panel += PANEL * bytes) {
        for (uint32_t r = 0; r < n; r++) {
            block_into_panel(form, count, src + r * row_bytes + b * bytes, panel, r);
        }
    }
}

/* n rows (at most 16) into one panel, piece by piece: what is written stays in the nearest
 * cache. */
static void rows_into_panel(tfm_dtype t, uint32_t n, uint32_t k, const uint8_t *src,
                            uint64_t row_bytes, uint8_t *panel) {
    enum { UNITS = 16 }; /* of a piece */
    const unsigned unit = p16_unit(t);
    const uint32_t bytes = tfm_dtype_block_bytes(t);
    switch (t) { /* code for each: with the fields' places constant a block is a few dozen moves */
    case TFM_Q4_0: blocks_into_panel(TFM_Q4_0, n, k, src, row_bytes, panel); return;
    case TFM_Q4_1: blocks_into_panel(TFM_Q4_1, n, k, src, row_bytes, panel); return;
    case TFM_Q5_0: blocks_into_panel(TFM_Q5_0, n, k, src, row_bytes, panel); return;
    case TFM_Q5_1: blocks_into_panel(TFM_Q5_1, n, k, src, row_bytes, panel); return;
    case TFM_Q8_0: blocks_into_panel(TFM_Q8_0, n, k, src, row_bytes, panel); return;
    case TFM_IQ4_NL: blocks_into_panel(TFM_IQ4_NL, n, k, src, row_bytes, panel); return;
    case TFM_MXFP4: blocks_into_panel(TFM_MXFP4, n, k, src, row_bytes, panel); return;
    case TFM_Q2_K: blocks_into_panel(TFM_Q2_K, n, k, src, row_bytes, panel); return;
    case TFM_Q3_K: blocks_into_panel(TFM_Q3_K, n, k, src, row_bytes, panel); return;
    case TFM_Q4_K: blocks_into_panel(TFM_Q4_K, n, k, src, row_bytes, panel); return;
    case TFM_Q5_K: blocks_into_panel(TFM_Q5_K, n, k, src, row_bytes, panel); return;
    case TFM_IQ4_XS: blocks_into_panel(TFM_IQ4_XS, n, k, src, row_bytes, panel); return;
    case TFM_Q6_K: blocks_into_panel(TFM_Q6_K, n, k, src, row_bytes, panel); return;
    default: break;
    }
    const uint64_t whole = (uint64_t)k * bytes / unit;
    for (uint64_t from = 0; from < whole; from += UNITS) {
        const unsigned units = whole - from < UNITS ? (unsigned)(whole - from) : UNITS;
        for (uint32_t r = 0; r < n; r++) {
            const uint8_t *own = src + r * row_bytes + from * unit;
            if (unit == 4) /* a constant each: a copy is one move */
                spread(panel + from * PANEL * 4, own, r, units, 4);
            else
                spread(panel + from * PANEL * 2, own, r, units, 2);
        }
    }
    if (t != TFM_BF16 || (k & 1u) == 0) return;
    for (uint32_t r = 0; r < n; r++) {
        uint8_t *last = panel + (whole * PANEL + r) * unit;
        memcpy(last, src + r * row_bytes + whole * unit, 2);
        memset(last + 2, 0, 2);
    }
}

static void row_from_panel(tfm_dtype t, uint32_t k, const uint8_t *panel, uint8_t *dst,
                           unsigned row) {
    const unsigned unit = p16_unit(t);
    const uint32_t bytes = tfm_dtype_block_bytes(t);
    if (unit == 0) {
        for (uint64_t b = 0; b < k / tfm_dtype_block(t); b++) {
            block_from_panel(t, panel + b * PANEL * bytes, dst + b * bytes, row);
        }
        return;
    }
    const uint64_t whole = (uint64_t)k * bytes / unit;
    for (uint64_t i = 0; i < whole; i++) {
        memcpy(dst + i * unit, panel + (i * PANEL + row) * unit, unit);
    }
    if (t == TFM_BF16 && (k & 1u) != 0) {
        memcpy(dst + whole * unit, panel + (whole * PANEL + row) * unit, 2);
    }
}

tfm_status tfm_pack_p16(tfm_dtype t, uint32_t rows, uint32_t k, const void *src, void *dst,
                        tfm_error *err) {
    const uint32_t dims[TFM_MAX_RANK] = {rows, k, 1, 1};
    const uint8_t *from = src;
    uint8_t *to = dst;
    uint64_t from_bytes, to_bytes;
    TFM_TRY(tfm_layout_bytes(t, TFM_LAYOUT_P16, 2, dims, &to_bytes, err));
    TFM_TRY(tfm_layout_bytes(t, TFM_LAYOUT_ROWS, 2, dims, &from_bytes, err));
    const uint64_t row_bytes = rows > 0 ? from_bytes / rows : 0;
    const uint64_t panel_bytes = PANEL * p16_row_bytes(t, k);
    for (uint32_t r = 0; r < rows; r += PANEL, to += panel_bytes) {
        const uint32_t n = rows - r < PANEL ? rows - r : PANEL;
        if (n < PANEL) memset(to, 0, panel_bytes);
        rows_into_panel(t, n, k, from + r * row_bytes, row_bytes, to);
    }
    return TFM_OK;
}

tfm_status tfm_unpack_p16(tfm_dtype t, uint32_t rows, uint32_t k, const void *src, void *dst,
                          tfm_error *err) {
    const uint32_t dims[TFM_MAX_RANK] = {rows, k, 1, 1};
    const uint8_t *from = src;
    uint8_t *to = dst;
    uint64_t from_bytes, to_bytes;
    TFM_TRY(tfm_layout_bytes(t, TFM_LAYOUT_P16, 2, dims, &from_bytes, err));
    TFM_TRY(tfm_layout_bytes(t, TFM_LAYOUT_ROWS, 2, dims, &to_bytes, err));
    const uint64_t row_bytes = rows > 0 ? to_bytes / rows : 0;
    const uint64_t panel_bytes = PANEL * p16_row_bytes(t, k);
    for (uint32_t r = 0; r < rows; r++) {
        row_from_panel(t, k, from + r / PANEL * panel_bytes, to + r * row_bytes, r % PANEL);
    }
    return TFM_OK;
}

/* ---- one row ---- */

/* panel: the one that holds the row; row: 0..15. */
static tfm_status panel_row_f32(tfm_dtype t, uint32_t k, const uint8_t *panel, unsigned row,
                                float *dst, tfm_error *err) {
    const uint32_t count = tfm_dtype_block(t), bytes = tfm_dtype_block_bytes(t);
    if (p16_unit(t) == 0) {
        for (uint64_t b = 0; b < k / count; b++) {
            uint8_t block[TFM_BLOCK_BYTES_MAX];
            block_from_panel(t, panel + b * PANEL * bytes, block, row);
            TFM_TRY(tfm_to_f32(t, block, count, dst + b * count, err));
        }
        return TFM_OK;
    }
    for (uint64_t i = 0; i < k; i++) {
        if (t == TFM_F32) {
            dst[i] = tfm_bits_to_f32(tfm_inline_load_u32(panel + (i * PANEL + row) * 4));
        } else if (t == TFM_F16) {
            dst[i] = tfm_inline_f16_to_f32(tfm_inline_load_u16(panel + (i * PANEL + row) * 2));
        } else {
            const uint8_t *pair = panel + (i / 2 * PANEL + row) * 4;
            dst[i] = tfm_inline_bf16_to_f32(tfm_inline_load_u16(pair + 2 * (i & 1u)));
        }
    }
    return TFM_OK;
}

tfm_status tfm_tensor_row_f32(const tfm_tensor *t, uint32_t row, float *dst, tfm_error *err) {
    const uint8_t *data = t->data;
    const char *name = t->name != NULL ? t->name : "tensor";
    uint64_t bytes;
    TFM_TRY(tfm_layout_bytes(t->dtype, t->layout, t->rank, t->dims, &bytes, err));
    if (t->rank != 2 || t->bytes < bytes) {
        return tfm_fail(err, TFM_MISMATCH, "%s: not a whole matrix (rank %u, %llu bytes)", name,
                        t->rank, (unsigned long long)t->bytes);
    }
    if (row >= t->dims[0]) {
        return tfm_fail(err, TFM_MISMATCH, "%s: row %u is past the last of %u rows", name, row,
                        t->dims[0]);
    }
    const uint32_t k = t->dims[1];
    if (t->layout == TFM_LAYOUT_ROWS) {
        return tfm_to_f32(t->dtype, data + bytes / t->dims[0] * row, k, dst, err);
    }
    const uint64_t panel_bytes = PANEL * p16_row_bytes(t->dtype, k);
    return panel_row_f32(t->dtype, k, data + row / PANEL * panel_bytes, row % PANEL, dst, err);
}
