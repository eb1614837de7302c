/* quant.c - whole rows between f32 and every stored type.
 *
 * Owns: tfm_to_f32, tfm_from_f32 and the int8 quantisation of activations. Block anatomy is in
 * block.c. Sources may have any alignment (GGUF aligns to 32 bytes at best); all data is
 * little-endian on disk. */
#include <math.h>

#include "base/base_internal.h"
#include "tensor/block_internal.h"
#include "tensor/float16_internal.h"

/* ---- to f32 ---- */

static void blocks_to_f32(tfm_dtype t, const uint8_t *src, uint64_t n_blocks, float *dst) {
    const uint32_t count = tfm_dtype_block(t), bytes = tfm_dtype_block_bytes(t);
    const uint32_t group = tfm_block_group(t);
    for (uint64_t b = 0; b < n_blocks; b++, src += bytes) {
        int8_t q[TFM_BLOCK_MAX];
        float scale[TFM_BLOCK_GROUPS], min[TFM_BLOCK_GROUPS];
        tfm_block_decode(t, src, q, scale, min);
        for (uint32_t g = 0; g < count / group; g++, dst += group) {
            for (uint32_t i = 0; i < group; i++) {
                dst[i] = scale[g] * (float)q[g * group + i] - min[g];
            }
        }
    }
}

tfm_status tfm_to_f32(tfm_dtype t, const void *src, uint64_t count, float *dst, tfm_error *err) {
    const uint8_t *p = src;
    uint64_t bytes;
    if (!tfm_dtype_known((unsigned)t)) {
        return tfm_fail(err, TFM_UNSUPPORTED, "unknown element type %u", (unsigned)t);
    }
    if (!tfm_dtype_bytes(t, count, &bytes)) {
        return tfm_fail(err, TFM_FORMAT, "%llu elements are not whole %s blocks of %u",
                        (unsigned long long)count, tfm_dtype_name(t), tfm_dtype_block(t));
    }
    switch (t) {
    case TFM_F32:
        for (uint64_t i = 0; i < count; i++)
            dst[i] = tfm_bits_to_f32(tfm_inline_load_u32(p + 4 * i));
        break;
    case TFM_F16:
        for (uint64_t i = 0; i < count; i++) {
            dst[i] = tfm_inline_f16_to_f32(tfm_inline_load_u16(p + 2 * i));
        }
        break;
    case TFM_BF16:
        for (uint64_t i = 0; i < count; i++) {
            dst[i] = tfm_inline_bf16_to_f32(tfm_inline_load_u16(p + 2 * i));
        }
        break;
    case TFM_I8:
        for (uint64_t i = 0; i < count; i++) dst[i] = (float)(int8_t)p[i];
        break;
    case TFM_U8:
        for (uint64_t i = 0; i < count; i++) dst[i] = (float)p[i];
        break;
    case TFM_I32:
        for (uint64_t i = 0; i < count; i++)
            dst[i] = (float)(int32_t)tfm_inline_load_u32(p + 4 * i);
        break;
    case TFM_I64:
        for (uint64_t i = 0; i < count; i++) dst[i] = (float)(int64_t)tfm_load_u64(p + 8 * i);
        break;
    default: blocks_to_f32(t, p, count / tfm_dtype_block(t), dst); break;
    }
    return TFM_OK;
}

static tfm_status narrow_to_f64(tfm_dtype t, const uint8_t *p, uint64_t count, double *dst,
                                tfm_error *err) {
    enum { PIECE = 1024 }; /* whole blocks of every type */
    float f[PIECE];
    for (uint64_t at = 0; at < count; at += PIECE) {
        const uint64_t n = count - at < PIECE ? count - at : PIECE;
        uint64_t bytes = 0;
        TFM_TRY(tfm_to_f32(t, p, n, f, err));
        for (uint64_t i = 0; i < n; i++) dst[at + i] = (double)f[i];
        if (tfm_dtype_bytes(t, n, &bytes)) p += bytes;
    }
    return TFM_OK;
}

tfm_status tfm_to_f64(tfm_dtype t, const void *src, uint64_t count, double *dst, tfm_error *err) {
    const uint8_t *p = src;
    if (t != TFM_I32 && t != TFM_I64) return narrow_to_f64(t, p, count, dst, err);
    for (uint64_t i = 0; i < count; i++) {
        dst[i] = t == TFM_I32 ? (double)(int32_t)tfm_inline_load_u32(p + 4 * i)
                              : (double)(int64_t)tfm_load_u64(p + 8 * i);
    }
    return TFM_OK;
}

/* ---- from f32 ---- */

static void store_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v & 0xff);
    p[1] = (uint8_t)(v >> 8);
}

/* The reciprocal that the reference quantisers use. A scale so small that its reciprocal
 * overflows is 0 as f16 anyway, so the quants do not matter: 0 keeps them defined. */
static float reciprocal(float d) {
    const float r = d != 0.0f ? 1.0f / d : 0.0f;
    return isfinite(r) ? r : 0.0f;
}

/* The nearest integer, halves away from zero, for |v| < 2^23: v - t is exact. As C's roundf, which
 * is a call where the processor has no such instruction. */
static int round_away(float v) {
    const int t = (int)v;
    const float rest = v - (float)t;
    return t + (rest >= 0.5f) - (rest <= -0.5f);
}

/* d = amax / 127, q = round(x / d), halves away from zero. */
static void block_from_f32_q8_0(const float *x, uint8_t *dst) {
    float amax = 0.0f;
    for (unsigned i = 0; i < 32; i++) amax = fabsf(x[i]) > amax ? fabsf(x[i]) : amax;
    const float d = amax / 127.0f;
    const float r = reciprocal(d);
    store_u16(dst, tfm_inline_f32_to_f16(d));
    for (unsigned i = 0; i < 32; i++) dst[2 + i] = (uint8_t)round_away(x[i] * r);
}

/* d = m / -8 where m is the number of largest magnitude, the first one if there are several;
 * q = floor(x / d + 8.5), at most 15. Element i is the low nibble of byte i, i + 16 the high. */
static void block_from_f32_q4_0(const float *x, uint8_t *dst) {
    float amax = 0.0f, m = 0.0f;
    for (unsigned i = 0; i < 32; i++) {
        if (fabsf(x[i]) > amax) {
            amax = fabsf(x[i]);
            m = x[i];
        }
    }
    const float d = m / -8.0f;
    const float r = reciprocal(d);
    store_u16(dst, tfm_inline_f32_to_f16(d));
    for (unsigned i = 0; i < 16; i++) {
        const float low = x[i] * r + 8.5f, high = x[16 + i] * r + 8.5f;
        const unsigned q0 = low < 15.0f ? (unsigned)low : 15u;
        const unsigned q1 = high < 15.0f ? (unsigned)high : 15u;
        dst[2 + i] = (uint8_t)(q0 | q1 << 4);
    }
}

/* A NaN or an infinity has no place in a block, and a scale beyond f16 would turn 32 good numbers
 * into infinities: both are errors, not silent changes. */
static tfm_status check_block(tfm_dtype t, const float *x, uint64_t at, float levels,
                              tfm_error *err) {
    for (unsigned i = 0; i < 32; i++) {
        if (!isfinite(x[i])) {
            return tfm_fail(err, TFM_FORMAT, "element %llu is not finite: %s cannot hold it",
                            (unsigned long long)(at + i), tfm_dtype_name(t));
        }
        /* 65520 and above round to infinity in f16. */
        if (fabsf(x[i]) / levels >= 65520.0f) {
            return tfm_fail(err, TFM_LIMIT, "element %llu (%g) is too large for %s",
                            (unsigned long long)(at + i), (double)x[i], tfm_dtype_name(t));
        }
    }
    return TFM_OK;
}

static tfm_status blocks_from_f32(tfm_dtype t, const float *src, uint64_t count, uint8_t *dst,
                                  tfm_error *err) {
    const uint32_t bytes = tfm_dtype_block_bytes(t);
    for (uint64_t at = 0; at < count; at += 32, dst += bytes) {
        TFM_TRY(check_block(t, src + at, at, t == TFM_Q8_0 ? 127.0f : 8.0f, err));
        if (t == TFM_Q8_0) {
            block_from_f32_q8_0(src + at, dst);
        } else {
            block_from_f32_q4_0(src + at, dst);
        }
    }
    return TFM_OK;
}

tfm_status tfm_from_f32(tfm_dtype t, const float *src, uint64_t count, void *dst, tfm_error *err) {
    uint8_t *p = dst;
    uint64_t bytes;
    if (t != TFM_F32 && t != TFM_F16 && t != TFM_BF16 && t != TFM_Q8_0 && t != TFM_Q4_0) {
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "cannot make %s: the types to convert to are f32 f16 bf16 q8_0 q4_0",
                        tfm_dtype_name(t));
    }
    if (!tfm_dtype_bytes(t, count, &bytes)) {
        return tfm_fail(err, TFM_FORMAT, "%llu elements are not whole %s blocks of %u",
                        (unsigned long long)count, tfm_dtype_name(t), tfm_dtype_block(t));
    }
    switch (t) {
    case TFM_F32:
        for (uint64_t i = 0; i < count; i++) tfm_store_u32(p + 4 * i, tfm_f32_to_bits(src[i]));
        return TFM_OK;
    case TFM_F16:
        for (uint64_t i = 0; i < count; i++) store_u16(p + 2 * i, tfm_inline_f32_to_f16(src[i]));
        return TFM_OK;
    case TFM_BF16:
        for (uint64_t i = 0; i < count; i++) store_u16(p + 2 * i, tfm_inline_f32_to_bf16(src[i]));
        return TFM_OK;
    default: return blocks_from_f32(t, src, count, p, err);
    }
}

/* ---- activations ---- */

int tfm_act_most(tfm_dtype t) {
    return tfm_act_is_short(t) ? 120 : 127;
}

/* Adding and taking off 1.5 * 2^23 rounds to the nearest integer, ties to even, as the SIMD
 * conversion instructions do. */
void tfm_quantize_act_i8(tfm_dtype t, const float *src, uint64_t k, int8_t *q, float *scale) {
    const uint32_t block = tfm_dtype_block(t);
    const float most = (float)tfm_act_most(t);
    for (uint64_t b = 0; b < k / block; b++, src += block, q += block) {
        uint32_t amax_bits = 0; /* magnitudes order like their bits, NaN above all */
        for (uint32_t i = 0; i < block; i++) {
            const uint32_t mag = tfm_f32_to_bits(src[i]) & 0x7fffffffu;
            amax_bits = mag > amax_bits ? mag : amax_bits;
        }
        if (amax_bits >= 0x7f800000u) {
            scale[b] = NAN;
            memset(q, 0, block);
            continue;
        }
        const float s = tfm_bits_to_f32(amax_bits) / most;
        scale[b] = s;
        for (uint32_t i = 0; i < block; i++) {
            float r = s > 0.0f ? src[i] / s : 0.0f;
            /* A subnormal scale is so coarse that the quotient can pass it. */
            r = r > most ? most : r < -most ? -most : r;
            q[i] = (int8_t)((r + 0x1.8p23f) - 0x1.8p23f);
        }
    }
}
