/* block_internal.h - one block of any quantised type as integers and scales.
 *
 *     int8_t q[TFM_BLOCK_MAX];
 *     float scale[TFM_BLOCK_GROUPS], min[TFM_BLOCK_GROUPS];
 *     tfm_block_decode(TFM_Q4_K, block, q, scale, min);
 *     x[i] = scale[i / group] * (float)q[i] - min[i / group];      // group = tfm_block_group(t)
 *
 * That one formula, with both roundings, is bit for bit ggml's dequantisation of every block type.
 * The reference kernels and the p16 layout use these functions; fast kernels read blocks directly.
 * `block` may have any alignment; its size is tfm_dtype_block_bytes(t). t must be a block type. */
#ifndef TFM_BLOCK_INTERNAL_H
#define TFM_BLOCK_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "tfm/tensor.h"

enum {
    TFM_BLOCK_MAX = 256,       /* elements of the largest block */
    TFM_BLOCK_BYTES_MAX = 210, /* q6_K */
    TFM_BLOCK_GROUPS = 16      /* scales of one block, at most */
};

/* A bit field that is spread over bytes: element i of `count` has its `bits` bits in byte
 * (i / chunk) * stride + i % stride, from bit bits * (i % chunk / stride) up, where
 * chunk = stride * 8 / bits. Every quant field of every block type has this shape, and so has the
 * p16 layout (there with stride 4). bits 0: no such field. */
typedef struct tfm_bitfield {
    uint8_t offset; /* of its first byte in the block */
    uint8_t stride;
    uint8_t bits; /* 0, 1, 2, 4, 8 */
} tfm_bitfield;

/* Where the parts of a block are. A code is the unsigned number that is stored:
 * low | high << low.bits; the quant is the code less `bias`, or values[code]. */
typedef struct tfm_block_form {
    tfm_bitfield low, high;
    uint8_t bias;
    uint8_t group;               /* elements per scale */
    uint8_t scales_at, n_scales; /* packed scale bytes of k-quants; n_scales 0: none */
    uint8_t d_at, m_at;          /* f16 scale; f16 min (dmin for k-quants) */
    bool has_min;
    const int8_t *values; /* [16], or NULL */
    bool is_e8m0;         /* the scale is one byte, tfm_e8m0_half */
} tfm_block_form;

/* What the 16 codes of iq4_nl and iq4_xs are, ascending, and those of mxfp4: twice the e2m1 floats
 * 0 0.5 1 1.5 2 3 4 6 and their negatives, so that they are integers. */
extern const int8_t tfm_iq4_values[16], tfm_fp4_values[16];
/* 2^(e - 128): half of what the byte of a block of mxfp4 means, for its values are doubled. */
float tfm_e8m0_half(uint8_t e);

/* NULL if t is not a block type. */
const tfm_block_form *tfm_block_form_of(tfm_dtype t);

/* Do activations that meet weights of type t go to 120 (tfm_act_most)? Then a code less 8, at least
 * -8, and an activation have a sum of 8 bits: avx512_quant_internal.h. */
static inline bool tfm_act_is_short(tfm_dtype t) {
    return t == TFM_Q4_0 || t == TFM_Q4_1 || t == TFM_Q4_K;
}

/* codes[0..count) |= the field's values << shift; the inverse sets the field's bits (the bytes must
 * be zero before). p is the field's first byte; count is a multiple of 4. */
void tfm_bits_get(tfm_bitfield f, const uint8_t *p, uint32_t count, unsigned shift, uint8_t *codes);
void tfm_bits_put(tfm_bitfield f, uint8_t *p, uint32_t count, unsigned shift, const uint8_t *codes);

/* All codes of one block. codes: [block]. */
void tfm_block_codes(tfm_dtype t, const uint8_t *block, uint8_t *codes);
/* Sets the quant bits of a block that is zero there; scales are not touched. */
void tfm_block_put_codes(tfm_dtype t, uint8_t *block, const uint8_t *codes);
/* Elements per scale: 16 or 32. */
uint32_t tfm_block_group(tfm_dtype t);
/* q: [block]; scale, min: [block / group]; min is 0 for types without one. */
void tfm_block_decode(tfm_dtype t, const uint8_t *block, int8_t *q, float *scale, float *min);
/* The scales alone. */
void tfm_block_scales(tfm_dtype t, const uint8_t *block, float *scale, float *min);

/* Does a block hold 32 codes of 4 bits, one scale and nothing else? Then such a block from codes in
 * their order, two in a byte, the first one in the low half, and the scale as the block has it. */
enum { TFM_PAIRS_BYTES = 16 };
bool tfm_block_is_pairs(tfm_dtype t);
void tfm_block_from_pairs(tfm_dtype t, const uint8_t *pairs, const uint8_t *scale, uint8_t *block);

/* Types with `values` only (quant_table.c): the finite numbers x of a block, with weights w, to a
 * block that is zero, of least error. */
void tfm_block_encode_values(tfm_dtype t, const float *x, const float *w, uint8_t *block);

/* k-quants only (kquants.c): the scales of a 256-block. */
void tfm_kquant_scales(tfm_dtype t, const tfm_block_form *form, const uint8_t *block, float *scale,
                       float *min);
/* The inverse: packs the integers of all groups (16, or 8 of q4_K and q5_K; min NULL where there is
 * none) into scale bytes that are zero. */
void tfm_kquant_put_scales(tfm_dtype t, uint8_t *packed, const int *scale, const int *min);

#endif
