/* block.c - the anatomy of the block-quantised types: one table, four short functions.
 *
 * Owns where the quants of each type are (facts of the GGUF format, documented in ggml-common.h).
 * Does not own the packed scales of the k-quants (kquants.c) nor whole rows (quant.c).
 * All formats differ only in where bit fields lie, so they are data; a new type is a new line. */
#include <string.h>

#include "tensor/block_forms_internal.h"
#include "tensor/float16_internal.h"

const int8_t tfm_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                   1,    13,   25,  38,  53,  69,  89,  113};
const int8_t tfm_fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/* The two smallest are subnormal floats. */
float tfm_e8m0_half(uint8_t e) {
    return tfm_bits_to_f32(e < 2 ? 0x00200000u << e : ((uint32_t)e - 1u) << 23);
}

const tfm_block_form *tfm_block_form_of(tfm_dtype t) {
    const unsigned i = (unsigned)t;
    if (i >= sizeof tfm_block_forms / sizeof tfm_block_forms[0] || tfm_block_forms[i].group == 0)
        return NULL;
    return &tfm_block_forms[i];
}

void tfm_bits_get(tfm_bitfield f, const uint8_t *p, uint32_t count, unsigned shift,
                  uint8_t *codes) {
    if (f.bits == 0) return;
    const unsigned mask = (1u << f.bits) - 1u;
    for (uint32_t k = 0; k < count; p += f.stride) {
        for (unsigned s = 0; s < 8 && k < count; s += f.bits, k += f.stride) {
            for (unsigned i = 0; i < f.stride; i++) {
                codes[k + i] = (uint8_t)(codes[k + i] | ((p[i] >> s & mask) << shift));
            }
        }
    }
}

void tfm_bits_put(tfm_bitfield f, uint8_t *p, uint32_t count, unsigned shift,
                  const uint8_t *codes) {
    if (f.bits == 0) return;
    const unsigned mask = (1u << f.bits) - 1u;
    for (uint32_t k = 0; k < count; p += f.stride) {
        for (unsigned s = 0; s < 8 && k < count; s += f.bits, k += f.stride) {
            for (unsigned i = 0; i < f.stride; i++) {
                p[i] = (uint8_t)(p[i] | (codes[k + i] >> shift & mask) << s);
            }
        }
    }
}

void tfm_block_codes(tfm_dtype t, const uint8_t *block, uint8_t *codes) {
    const tfm_block_form *form = tfm_block_form_of(t);
    const uint32_t count = tfm_dtype_block(t);
    memset(codes, 0, count);
    tfm_bits_get(form->low, block + form->low.offset, count, 0, codes);
    tfm_bits_get(form->high, block + form->high.offset, count, form->low.bits, codes);
}

void tfm_block_put_codes(tfm_dtype t, uint8_t *block, const uint8_t *codes) {
    const tfm_block_form *form = tfm_block_form_of(t);
    const uint32_t count = tfm_dtype_block(t);
    tfm_bits_put(form->low, block + form->low.offset, count, 0, codes);
    tfm_bits_put(form->high, block + form->high.offset, count, form->low.bits, codes);
}

bool tfm_block_is_pairs(tfm_dtype t) {
    const tfm_block_form *form = tfm_block_form_of(t);
    return form != NULL && form->low.bits == 4 && form->low.stride == TFM_PAIRS_BYTES &&
           form->high.bits == 0 && form->n_scales == 0 && !form->has_min;
}

void tfm_block_from_pairs(tfm_dtype t, const uint8_t *pairs, const uint8_t *scale, uint8_t *block) {
    const tfm_block_form *form = tfm_block_form_of(t);
    uint8_t *to = block + form->low.offset;
    memcpy(block + form->d_at, scale, tfm_dtype_block_bytes(t) - TFM_PAIRS_BYTES);
    for (unsigned i = 0; i < TFM_PAIRS_BYTES / 2; i++) { /* codes k and k + 16 share a byte */
        const unsigned first = pairs[i], second = pairs[TFM_PAIRS_BYTES / 2 + i];
        to[2 * i] = (uint8_t)((first & 15u) | second << 4);
        to[2 * i + 1] = (uint8_t)(first >> 4 | (second & 0xf0u));
    }
}

uint32_t tfm_block_group(tfm_dtype t) {
    return tfm_block_form_of(t)->group;
}

void tfm_block_scales(tfm_dtype t, const uint8_t *block, float *scale, float *min) {
    const tfm_block_form *form = tfm_block_form_of(t);
    if (form->n_scales != 0) {
        tfm_kquant_scales(t, form, block, scale, min);
        return;
    }
    scale[0] = form->is_e8m0 ? tfm_e8m0_half(block[form->d_at])
                             : tfm_inline_f16_to_f32(tfm_inline_load_u16(block + form->d_at));
    /* These types add their minimum, the k-quants subtract it: x - (-m) is x + m, bit for bit. */
    min[0] = form->has_min ? -tfm_inline_f16_to_f32(tfm_inline_load_u16(block + form->m_at)) : 0.0f;
}

void tfm_block_decode(tfm_dtype t, const uint8_t *block, int8_t *q, float *scale, float *min) {
    uint8_t codes[TFM_BLOCK_MAX];
    const tfm_block_form *form = tfm_block_form_of(t);
    const uint32_t count = tfm_dtype_block(t);
    tfm_block_codes(t, block, codes);
    /* q8_0 stores two's complement and has bias 0: the cast is right for all types. */
    for (uint32_t i = 0; i < count; i++) {
        q[i] = form->values != NULL ? form->values[codes[i]]
                                    : (int8_t)(uint8_t)(codes[i] - form->bias);
    }
    tfm_block_scales(t, block, scale, min);
}
