/* body_vector_internal.h - vectors of LANES numbers, and 16-lane panels made of them.
 *
 * Included by body_internal.h only, once for each compilation: LANES (4, 8 or 16) and KERNEL
 * (function attributes) are set there. GNU vector extensions: gcc and clang keep these in registers
 * at -O2, where they would not vectorise a loop over a 16-element array. A panel is NV vectors. */

#define NV (TFM_PANEL / LANES)

#if defined(__clang__)
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 24")
#endif

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
typedef int16_t vs __attribute__((vector_size(4 * LANES)));  /* 2 LANES of them */
typedef uint16_t vh __attribute__((vector_size(2 * LANES))); /* LANES halves */
typedef uint8_t vb __attribute__((vector_size(LANES)));
typedef int8_t vc __attribute__((vector_size(LANES)));
/* The same in memory at any alignment. */
typedef float mem_vf __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef uint32_t mem_vu __attribute__((vector_size(4 * LANES), aligned(1), may_alias));
typedef uint16_t mem_vh __attribute__((vector_size(2 * LANES), aligned(1), may_alias));
typedef uint8_t mem_vb __attribute__((vector_size(LANES), aligned(1), may_alias));
typedef int8_t mem_vc __attribute__((vector_size(LANES), aligned(1), may_alias));

#define INLINE KERNEL __attribute__((always_inline)) static inline

INLINE vf load(const void *p) {
    return *(const mem_vf *)p;
}
INLINE void store(void *p, vf v) {
    *(mem_vf *)p = v;
}
INLINE vu load_u(const void *p) {
    return *(const mem_vu *)p;
}
INLINE void store_u(void *p, vu v) {
    *(mem_vu *)p = v;
}
/* (not {0} + x, which is another number for -0 and an addition for the processor) */
INLINE vf splat(float x) {
#if LANES == 4
    return (vf){x, x, x, x};
#elif LANES == 8
    return (vf){x, x, x, x, x, x, x, x};
#else
    return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#endif
}
INLINE vu splat_u(uint32_t x) {
    return (vu){0} + x;
}

/* a * b + c: one rounding where the table's numerics say fma (FMA is set), else two. */
INLINE vf madd(vf a, vf b, vf c) {
#if defined(FMA)
    return (vf)FMA(a, b, c);
#else
    return a * b + c;
#endif
}
INLINE float madd_one(float a, float b, float c) {
#if defined(FMA)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

/* mask lanes are all ones or zero */
INLINE vf pick(vi mask, vf yes, vf no) {
    return (vf)(((vu)mask & (vu)yes) | (~(vu)mask & (vu)no));
}

/* s > m ? s : m; a NaN in s never gets through. */
INLINE vf larger(vf s, vf m) {
#if defined(LARGER)
    return (vf)LARGER(s, m);
#else
    return pick(s > m, s, m);
#endif
}

/* LANES halves to f32: the same bits as tfm_inline_f16_to_f32, but that a signalling NaN may stay
 * one until the next operation. FROM_F16 is the processor's own instruction, if it has one. */
INLINE vf from_f16(const void *p) {
#if defined(FROM_F16)
    return (vf)FROM_F16(p);
#else
    const vu h = __builtin_convertvector(*(const mem_vh *)p, vu), mag = h & 0x7fffu;
    const vu huge = (vu)((vi)mag >= 0x7c00) & (112u << 23); /* infinity, NaN: exponent 255 */
    const vu normal = (mag << 13) + (112u << 23) + huge;
    /* As if it had an implicit one, and that taken off: no f32 subnormal arises. */
    const vf subnormal = (vf)(normal + (1u << 23)) - 0x1p-14f;
    return (vf)((vu)pick((vi)mag < 0x400, subnormal, (vf)normal) | (h ^ mag) << 16);
#endif
}

/* Each 32-bit lane: the two int16 products of that lane, added. Exact, except for four times -2^15.
 * ADD_PAIRS is the processor's own instruction, if it has one. */
INLINE vi add_pairs(vs a, vs b) {
#if defined(ADD_PAIRS)
    return (vi)ADD_PAIRS(a, b);
#else
    const vi low = (((vi)a << 16) >> 16) * (((vi)b << 16) >> 16);
    return low + ((vi)a >> 16) * ((vi)b >> 16);
#endif
}

/* n floats (f32 or f16 at src) to dst; n is a multiple of 16. */
INLINE void decode_floats(tfm_dtype t, const unsigned char *src, size_t n, float *dst) {
    for (size_t i = 0; i < n; i += LANES) {
        store(dst + i, t == TFM_F32 ? load(src + 4 * i) : from_f16(src + 2 * i));
    }
}

/* The fixed tree: lane l takes l + 8, then l + 4, l + 2, l + 1. */
INLINE float tree_sum(const float lane[TFM_PANEL]) {
    float s[8];
    for (int i = 0; i < 8; i++) s[i] = lane[i] + lane[i + 8];
    for (int i = 0; i < 4; i++) s[i] = s[i] + s[i + 4];
    return (s[0] + s[2]) + (s[1] + s[3]);
}
