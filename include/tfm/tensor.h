/* tensor.h - element types, shapes, layouts and conversions.
 *
 *     uint64_t n;
 *     if (!tfm_dtype_bytes(TFM_Q8_0, rows * width, &n)) ...      // width must be whole blocks
 *     TFM_TRY(tfm_to_f32(TFM_Q8_0, src, count, dst, err));
 *
 * A tensor in tfm is a dtype, up to four dims (slowest first, as in C) and bytes in one of two
 * layouts. Nothing here owns tensor memory.
 */
#ifndef TFM_TENSOR_H
#define TFM_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"

/* Pinned: these numbers stand in records on disk. Block formats are bit for bit those of GGUF
 * (ggml-common.h of llama.cpp documents them); a "block" is the smallest whole unit. */
typedef enum tfm_dtype {
    TFM_DTYPE_NONE = 0,
    TFM_F32 = 1,
    TFM_F16 = 2,
    TFM_BF16 = 3,
    TFM_I8 = 4,
    TFM_U8 = 5,
    TFM_I32 = 6,
    TFM_I64 = 7,
    /* block-quantised: elements per block, bytes per block */
    TFM_Q4_0 = 16,   /* 32, 18: f16 d, 16 bytes of nibbles */
    TFM_Q4_1 = 17,   /* 32, 20: f16 d, f16 m, nibbles */
    TFM_Q5_0 = 18,   /* 32, 22: f16 d, 4 bytes of high bits, nibbles */
    TFM_Q5_1 = 19,   /* 32, 24: f16 d, f16 m, high bits, nibbles */
    TFM_Q8_0 = 20,   /* 32, 34: f16 d, 32 int8 */
    TFM_IQ4_NL = 21, /* 32, 18: f16 d, nibbles that number 16 values from -127 to 113 */
    TFM_MXFP4 = 22,  /* 32, 17: power of two as one byte, nibbles that are e2m1 floats */
    TFM_Q2_K = 24,   /* 256, 84: 16 scale/min nibble pairs, 64 bytes of quants, f16 d, f16 dmin */
    TFM_Q3_K = 25,   /* 256, 110: 32 high bits, 64 quants, 12 scales, f16 d */
    TFM_Q4_K = 26,   /* 256, 144: f16 d, f16 dmin, 12 scales/mins, 128 quants */
    TFM_Q5_K = 27,   /* 256, 176: as q4_K with 32 high-bit bytes before the quants */
    TFM_Q6_K = 28,   /* 256, 210: 128 low nibbles, 64 high pairs, 16 int8 scales, f16 d */
    TFM_IQ4_XS = 29  /* 256, 136: f16 d, 6 bytes of 6-bit scales, nibbles as those of iq4_nl */
} tfm_dtype;

/* How the bytes of a 2-D weight [rows, k] lie.
 * rows: row after row (blocks along k), exactly as GGUF has it.
 * p16: panels of 16 output rows (DESIGN 4), rows padded with zero rows to a multiple of 16 and, for
 *      bf16, k to a multiple of 2. An exact bijection of `rows` for the unpadded part. Every byte
 *      of it is described at the head of lib/tensor/layout.c and in tfm-model(5). */
typedef enum tfm_layout { TFM_LAYOUT_ROWS = 0, TFM_LAYOUT_P16 = 1 } tfm_layout;

#define TFM_MAX_RANK 4

/* A borrowed view of a tensor. name and data belong to someone else. */
typedef struct tfm_tensor {
    const char *name; /* "blk.0.attn_q.weight"; may be NULL */
    tfm_dtype dtype;
    tfm_layout layout;
    unsigned rank;               /* 0..4 */
    uint32_t dims[TFM_MAX_RANK]; /* slowest first; unused are 1 */
    const void *data;            /* 64-byte aligned in model.bin; any alignment from a GGUF */
    uint64_t bytes;              /* size of data, padding of p16 included */
} tfm_tensor;

/* "f32", "q4_K", ...; "?" for an unknown number. */
TFM_API const char *tfm_dtype_name(tfm_dtype t);
/* TFM_DTYPE_NONE if the name is unknown. Exact, case-sensitive. */
TFM_API tfm_dtype tfm_dtype_parse(const char *name);
TFM_API bool tfm_dtype_known(unsigned t);
/* i8, u8, i32, i64 */
TFM_API bool tfm_dtype_is_integer(tfm_dtype t);
TFM_API uint32_t tfm_dtype_block(tfm_dtype t);       /* elements per block: 1, 32, 256 */
TFM_API uint32_t tfm_dtype_block_bytes(tfm_dtype t); /* bytes per block */
/* Bytes of `count` elements; false if count is not whole blocks or overflows. */
TFM_API bool tfm_dtype_bytes(tfm_dtype t, uint64_t count, uint64_t *bytes);
/* Product of dims; false on overflow. */
TFM_API bool tfm_dims_count(unsigned rank, const uint32_t dims[TFM_MAX_RANK], uint64_t *count);
/* Bytes a tensor takes in `layout` (p16 is for rank-2 tensors of float or block types only). */
TFM_API tfm_status tfm_layout_bytes(tfm_dtype t, tfm_layout layout, unsigned rank,
                                    const uint32_t dims[TFM_MAX_RANK], uint64_t *bytes,
                                    tfm_error *err) TFM_MUST_CHECK;
TFM_API const char *tfm_layout_name(tfm_layout l); /* "rows", "p16" */
TFM_API bool tfm_layout_parse(const char *name, tfm_layout *out);

/* ---- single numbers; round to nearest, ties to even; a NaN stays one and becomes quiet (the same
 * bits as the F16C instructions for every input) ---- */
TFM_API float tfm_f16_to_f32(uint16_t h);
TFM_API uint16_t tfm_f32_to_f16(float f);
TFM_API float tfm_bf16_to_f32(uint16_t h);
TFM_API uint16_t tfm_f32_to_bf16(float f);

/* ---- whole rows, layout `rows`; count in elements, a whole number of blocks ---- */

/* Any float or block type (and i8, u8, i32, i64) to f32. Exactly ggml's dequantisation. */
TFM_API tfm_status tfm_to_f32(tfm_dtype t, const void *src, uint64_t count, float *dst,
                              tfm_error *err) TFM_MUST_CHECK;
/* The same to double; i32 and i64 exactly up to 2^53. */
TFM_API tfm_status tfm_to_f64(tfm_dtype t, const void *src, uint64_t count, double *dst,
                              tfm_error *err) TFM_MUST_CHECK;
/* f32 to f32, f16, bf16, q8_0, q4_0 (ggml's reference quantisers, bit for bit), other targets
 * TFM_UNSUPPORTED. A NaN or infinity for q8_0 or q4_0 is TFM_FORMAT, a block whose scale does not
 * fit f16 TFM_LIMIT; the message names the element. dst may have any alignment. */
TFM_API tfm_status tfm_from_f32(tfm_dtype t, const float *src, uint64_t count, void *dst,
                                tfm_error *err) TFM_MUST_CHECK;

/* Can tfm_quantise make it: q4_0, q4_1, q5_0, q5_1, iq4_nl, iq4_xs, mxfp4 and the k-quants. */
TFM_API bool tfm_can_quantise(tfm_dtype t);
/* f32 rows [n_rows, k] to blocks whose scales are searched for the least squared error, weighted by
 * column: importance [k], not negative (the mean square of what the column is multiplied with), or
 * NULL. Rows do not depend on each other, so any may be made by any thread. A number that is not
 * finite is TFM_FORMAT, one beyond f16 TFM_LIMIT; the message names the element. The same bytes on
 * every machine. */
TFM_API tfm_status tfm_quantise(tfm_dtype t, const float *src, uint64_t n_rows, uint32_t k,
                                const float *importance, void *dst, tfm_error *err) TFM_MUST_CHECK;

/* The largest magnitude of an int8 activation that meets weights of block type t: 120 for q4_0,
 * q4_1 and q4_K, so that an activation and a weight of 4 bits can be added in 8, else 127. */
TFM_API int tfm_act_most(tfm_dtype t);
/* One activation row to int8, the numerics of all quantised linears, for weights of block type t:
 * in blocks as long as those of the weights, 32 or 256 for k-quants. Per block, with most =
 * tfm_act_most(t): scale = amax / most (f32), q = round-half-even(x / scale), at most `most` in
 * magnitude (0 when scale is 0). A block that holds a NaN or an infinity gets scale NaN and q 0, so
 * that it stays visible.
 * src: [k] f32, k a multiple of t's block; q: [k] int8; scale: [k/block] f32. */
TFM_API void tfm_quantize_act_i8(tfm_dtype t, const float *src, uint64_t k, int8_t *q,
                                 float *scale);

/* ---- layouts ---- */

/* rows -> p16 and back. src and dst are whole tensors [rows, k] of type t, sizes as
 * tfm_layout_bytes says; they must not overlap. Panels are independent: rows 16p..16p+15 may be
 * converted on their own, by any thread. */
TFM_API tfm_status tfm_pack_p16(tfm_dtype t, uint32_t rows, uint32_t k, const void *src, void *dst,
                                tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_unpack_p16(tfm_dtype t, uint32_t rows, uint32_t k, const void *src,
                                  void *dst, tfm_error *err) TFM_MUST_CHECK;
/* Row `row` of a rank-2 tensor in any layout, as f32. dst: [k]. Used by gather. */
TFM_API tfm_status tfm_tensor_row_f32(const tfm_tensor *t, uint32_t row, float *dst,
                                      tfm_error *err) TFM_MUST_CHECK;

#endif
