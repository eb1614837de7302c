/* kernel_internal.h - the table of kernels: what one instruction set has to bring.
 *
 *     const tfm_cpu_kernels *k = tfm_cpu_kernels_find("generic");
 *     k->linear(&args, panel, panel_end, row, row_end, scratch);
 *
 * A kernel is one thread's work on a fixed piece (a panel of 16 outputs, a few rows, one head);
 * cpu.c and its neighbours cut steps into such pieces and never compute themselves. A further
 * instruction set is one more file that fills this table.
 *
 * The orders of sums are written at each kernel in body_*.h, and are one for all numerics. madd(a,
 * b, c) is a * b + c with two roundings in `generic` and one (fma) in `avx2` and `avx512`. The same
 * bodies are compiled for 4, 8 and 16 lanes a vector: lanes never mix except in the fixed trees, so
 * the width changes no bit, and `generic` has two tables of which either may serve. `avx2` and
 * `avx512` replace what pays by kernels of their own (avx2_*.h, avx512_*.h), in the same orders but
 * for the scales of quantised weights, whose order there is in quant_line_internal.h and
 * kquant_line_internal.h. */
#ifndef TFM_CPU_KERNEL_INTERNAL_H
#define TFM_CPU_KERNEL_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backend/backend_internal.h"

enum {
    TFM_PANEL = 16,          /* outputs of one weight panel, keys of one K panel */
    TFM_KEY_CHUNK = 1024,    /* keys whose sums form one partial, by absolute position */
    TFM_ATTEND_QUERIES = 24, /* most queries of one attend call: 24 = 3 * 8 = 4 * 6 fills tiles */
    TFM_NORM_CHUNK = 4096    /* numbers whose sum forms one partial of a row reduction */
};

/* A linear step on a batch. Activations are rows as `prepare` left them, or (act_bytes 0) f32. */
typedef struct tfm_cpu_linear {
    tfm_dtype type;
    const uint8_t *w; /* p16 panels */
    size_t panel_bytes;
    uint32_t k, n_out;
    const float *bias;  /* [n_out] or NULL */
    const uint8_t *act; /* [rows] of act_stride bytes */
    size_t act_stride;
    float *out; /* [rows, n_out] */
} tfm_cpu_linear;

/* One kv head and up to TFM_ATTEND_QUERIES queries of one sequence. Inside a page the head has,
 * from k_at and v_at on, multiples of 64 bytes where k_dim and v_dim are multiples of 32:
 *
 *     f32, f16   K [PAGE/16][k_dim][16]          V [PAGE][v_dim]
 *     q8_0       K codes int8 [PAGE/16][k_dim][16], then scales f16 [PAGE/16][k_dim/32][16]
 *                V codes int8 [PAGE][v_dim],        then scales f16 [PAGE][v_dim/32]
 *
 * with PAGE = TFM_KV_PAGE. A number of q8_0 is (float)code * (float)scale, exact in f32: attention
 * computes with these numbers as with those of any other cache. k_dim and v_dim are then multiples
 * of 32. A page's slots behind the last position hold anything. */
typedef struct tfm_cpu_attend {
    tfm_dtype kv_type;
    uint32_t k_dim, v_dim;
    float scale, softcap; /* softcap 0: none */
    uint32_t window;      /* 0: all */
    uint32_t chunk;       /* 0: all */
    bool alibi_before_scale;
    bool has_sink;
    unsigned char *const *page; /* the cache's pages */
    const uint32_t *table;      /* table[p / TFM_KV_PAGE] is the page of position p */
    size_t k_at, v_at;          /* byte offset of this head's K and V in a page */
    uint32_t n_queries;
    struct {
        const float *q; /* [k_dim] */
        float *out;     /* [v_dim] */
        uint32_t position;
        float slope, sink;
    } query[TFM_ATTEND_QUERIES];
} tfm_cpu_attend;

typedef struct tfm_cpu_norm {
    tfm_norm kind;
    float eps;
    uint32_t n;         /* numbers of one group */
    uint32_t groups;    /* of one row */
    const float *w, *b; /* NULL, [n], or [groups, n] with step n */
    uint32_t w_step, b_step;
} tfm_cpu_norm;

typedef struct tfm_cpu_kernels {
    const char *name;
    /* Bytes of one row of k activations as linear wants them for `type`; 0: the f32 row itself. */
    size_t (*act_bytes)(tfm_dtype type, uint32_t k);
    void (*prepare)(tfm_dtype type, uint32_t k, const float *src, uint8_t *act);
    /* Bytes of scratch of one linear call; 0: none. */
    size_t (*linear_bytes)(tfm_dtype type, uint32_t k);
    /* Rows [row, row_end), any number, times panels [panel, panel_end): how they are blocked is the
     * kernel's. scratch: linear_bytes, 64-byte aligned, the calling thread's own. */
    void (*linear)(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end, uint32_t row,
                   uint32_t row_end, void *scratch);
    /* Attention in three steps, so that one long context can be shared by threads. Panels [from,
     * to) are 16 positions each, from is that of the first visible key. Scratch: attend_bytes,
     * 64-byte aligned, the calling thread's own; nothing is carried over in it. */
    size_t (*attend_bytes)(uint32_t k_dim, uint32_t v_dim);
    /* score [to - from][n_queries][16] and each query's largest, the sink included: max
     * [n_queries]. Panels that a query sees nothing of may stay as they are. */
    void (*attend_scores)(const tfm_cpu_attend *a, uint32_t from, uint32_t to, float *score,
                          float *max, void *scratch);
    /* Panels of one chunk; max is that of all chunks. The scores become the weights exp(score -
     * max), sum [n_queries] theirs, out [n_queries][v_dim] the weighted V. */
    void (*attend_values)(const tfm_cpu_attend *a, uint32_t from, uint32_t to, float *score,
                          const float *max, float *sum, float *out, void *scratch);
    /* The chunks' sums [n_chunks][n_queries] and outs [n_chunks][n_queries][v_dim], added
     * ascending; out of each query is written, total [n_queries] is what the weights were divided
     * by. */
    void (*attend_finish)(const tfm_cpu_attend *a, size_t n_chunks, const float *sum,
                          const float *out, const float *max, float *total);
    /* One head of one position, n numbers, to slot `slot` of the page where `head` has it, in
     * panels of `panel` positions: 16 for K, 1 for V. q8_0: as tfm_kv_round_q8_0. */
    void (*attend_store)(tfm_dtype type, size_t n, const float *src, void *head, size_t slot,
                         size_t panel);
    void (*norm)(const tfm_cpu_norm *a, const float *x, float *out); /* one row */
    /* n numbers; out may be an input. b is for MULTIPLY and ADD. */
    void (*elementwise)(const tfm_step *s, size_t n, const float *a, const float *b, float *out);
    /* The heads of one row: pairs turned by cos_sin [2][rot/2], cos first. out may be x. */
    void (*rope)(const tfm_step *s, const float *cos_sin, const float *x, float *out);
    void (*exp)(size_t n, const float *x, float *out);
} tfm_cpu_kernels;

extern const tfm_cpu_kernels tfm_cpu_kernels_generic;
#if defined(__x86_64__)
extern const tfm_cpu_kernels tfm_cpu_kernels_generic_avx2; /* the same bits, 8 lanes */
extern const tfm_cpu_kernels tfm_cpu_kernels_avx2;         /* needs avx2, fma, f16c */
extern const tfm_cpu_kernels tfm_cpu_kernels_avx512;       /* F, BW, VL, DQ, VNNI, BF16 */
#endif

/* The table for the numerics `instruction_set`, "generic", "avx2" or "avx512", NULL for the best of
 * this processor. NULL if this build or processor has none. */
const tfm_cpu_kernels *tfm_cpu_kernels_find(const char *instruction_set);

#endif
