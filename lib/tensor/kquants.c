/* kquants.c - the packed scales of the k-quants (256 elements, 16 or 8 groups).
 *
 * The scale of a group is d times a small integer; the integers are packed three ways (facts of
 * the GGUF format):
 *   q2_K  16 bytes: low nibble scale, high nibble min of group i
 *   q3_K  12 bytes: 16 numbers of 6 bits, biased by 32; low nibbles in bytes 0-7 (groups 0-7 in
 *         the low half, 8-15 in the high), upper two bits of group i in byte 8 + i % 4, from bit
 *         2 * (i / 4)
 *   q4_K, q5_K  12 bytes: 8 scales and 8 mins of 6 bits; groups 0-3 in the low six bits of bytes
 *         0-3 (scale) and 4-7 (min); groups 4-7 have their low nibbles in bytes 8-11 (low half
 *         scale, high half min) and their upper two bits on top of bytes 0-3 and 4-7
 *   q6_K  16 signed bytes
 *   iq4_xs  6 bytes: 8 numbers of 6 bits, biased by 32; the upper two bits of group i in byte i / 4
 *         from bit 2 * (i % 4), low nibbles in byte 2 + i / 2, even groups in the low half */
#include "tensor/block_internal.h"
#include "tensor/float16_internal.h"

static float load_f16(const uint8_t *p) {
    return tfm_inline_f16_to_f32(tfm_inline_load_u16(p));
}

static void scales_q2_k(const uint8_t *packed, float d, float dmin, float *scale, float *min) {
    for (unsigned i = 0; i < 16; i++) {
        scale[i] = d * (float)(packed[i] & 15);
        min[i] = dmin * (float)(packed[i] >> 4);
    }
}

static void scales_q3_k(const uint8_t *packed, float d, float *scale, float *min) {
    for (unsigned i = 0; i < 16; i++) {
        const unsigned low = (unsigned)packed[i % 8] >> (i / 8 * 4) & 15u;
        const unsigned high = (unsigned)packed[8 + i % 4] >> (i / 4 * 2) & 3u;
        scale[i] = d * (float)((int)(low | high << 4) - 32);
        min[i] = 0.0f;
    }
}

static void scales_q4_k(const uint8_t *packed, float d, float dmin, float *scale, float *min) {
    for (unsigned i = 0; i < 4; i++) {
        scale[i] = d * (float)(packed[i] & 63);
        min[i] = dmin * (float)(packed[4 + i] & 63);
        scale[4 + i] = d * (float)((packed[8 + i] & 15) | (packed[i] >> 6) << 4);
        min[4 + i] = dmin * (float)(packed[8 + i] >> 4 | (packed[4 + i] >> 6) << 4);
    }
}

static void scales_q6_k(const uint8_t *packed, float d, float *scale, float *min) {
    for (unsigned i = 0; i < 16; i++) {
        scale[i] = d * (float)(int8_t)packed[i];
        min[i] = 0.0f;
    }
}

static void scales_iq4_xs(const uint8_t *packed, float d, float *scale, float *min) {
    for (unsigned i = 0; i < 8; i++) {
        const unsigned low = (unsigned)packed[2 + i / 2] >> (i % 2 * 4) & 15u;
        const unsigned high = (unsigned)packed[i / 4] >> (i % 4 * 2) & 3u;
        scale[i] = d * (float)((int)(low | high << 4) - 32);
        min[i] = 0.0f;
    }
}

void tfm_kquant_scales(tfm_dtype t, const tfm_block_form *form, const uint8_t *block, float *scale,
                       float *min) {
    const uint8_t *packed = block + form->scales_at;
    const float d = load_f16(block + form->d_at);
    const float dmin = form->has_min ? load_f16(block + form->m_at) : 0.0f;
    if (t == TFM_Q2_K) {
        scales_q2_k(packed, d, dmin, scale, min);
    } else if (t == TFM_Q3_K) {
        scales_q3_k(packed, d, scale, min);
    } else if (t == TFM_Q6_K) {
        scales_q6_k(packed, d, scale, min);
    } else if (t == TFM_IQ4_XS) {
        scales_iq4_xs(packed, d, scale, min);
    } else {
        scales_q4_k(packed, d, dmin, scale, min);
    }
}

/* ---- the inverse ---- */

static void put_q3_k(uint8_t *packed, const int *scale) {
    for (unsigned i = 0; i < 16; i++) {
        const unsigned v = (unsigned)(scale[i] + 32);
        packed[i % 8] = (uint8_t)(packed[i % 8] | (v & 15u) << (i / 8 * 4));
        packed[8 + i % 4] = (uint8_t)(packed[8 + i % 4] | (v >> 4) << (i / 4 * 2));
    }
}

static void put_q4_k(uint8_t *packed, const int *scale, const int *min) {
    for (unsigned i = 0; i < 4; i++) {
        const unsigned s = (unsigned)scale[4 + i], m = (unsigned)min[4 + i];
        packed[i] = (uint8_t)((unsigned)scale[i] | (s >> 4) << 6);
        packed[4 + i] = (uint8_t)((unsigned)min[i] | (m >> 4) << 6);
        packed[8 + i] = (uint8_t)((s & 15u) | (m & 15u) << 4);
    }
}

static void put_iq4_xs(uint8_t *packed, const int *scale) {
    for (unsigned i = 0; i < 8; i++) {
        const unsigned v = (unsigned)(scale[i] + 32);
        packed[2 + i / 2] = (uint8_t)(packed[2 + i / 2] | (v & 15u) << (i % 2 * 4));
        packed[i / 4] = (uint8_t)(packed[i / 4] | (v >> 4) << (i % 4 * 2));
    }
}

void tfm_kquant_put_scales(tfm_dtype t, uint8_t *packed, const int *scale, const int *min) {
    if (t == TFM_Q3_K) {
        put_q3_k(packed, scale);
    } else if (t == TFM_IQ4_XS) {
        put_iq4_xs(packed, scale);
    } else if (t == TFM_Q4_K || t == TFM_Q5_K) {
        put_q4_k(packed, scale, min);
    } else {
        for (unsigned i = 0; i < 16; i++)
            packed[i] = (uint8_t)(t == TFM_Q2_K ? scale[i] | min[i] << 4 : scale[i] & 255);
    }
}
