/* bits_model.h - tiny random models, made in memory: a description and its tensors.
 *
 *     bits_model m;
 *     bits_model_new(&m, BITS_WINDOW, TFM_Q4_K, TFM_LAYOUT_ROWS, TFM_F16, BITS_USUAL);
 *     ... m.model ...
 *     bits_model_free(&m);
 *
 * Three blocks, so that there are other ways to cut them than whole and one by one. The numbers
 * come from form, type and shape alone: the same model in another layout holds the same weights,
 * and both must give the same bits. Widths of the usual size are the smallest that a block type
 * allows, none a round number of panels where it need not be. A slim one has as little as can be of
 * everything but positions: two thousand of them are dear where attention is plain.
 *
 * The vocabulary has a piece of one character for most ids and of two for the last, so that a stop
 * string may begin inside a token. */
#ifndef TFM_TESTS_BITS_MODEL_H
#define TFM_TESTS_BITS_MODEL_H

#include <stdarg.h>

#include "../ops/ops.h"
#include "tfm/model.h"

typedef enum bits_form {
    BITS_PLAIN,
    BITS_GROUPED, /* two key heads for four query heads */
    BITS_WINDOW, /* of 21 positions: no multiple of a panel, less than a page; or in chunks, q times
                     a factor that grows with the position */
    BITS_SOFTCAP, /* of the scores and of the logits */
    BITS_ALIBI,   /* three heads, no rope; elu; the same row of a table for all */
    BITS_QK_NORM, /* norms of q and k for each head */
    BITS_EXPERTS, /* five, of which a row takes two, weighed one after the other; limits; times one
                     number a row */
    BITS_PARTS, /* split and concat in heads, rope of a head's last columns, groups of experts that
                     weigh what goes in */
    BITS_FORMS
} bits_form;

static const char *const bits_form_name[] = {"plain", "grouped heads", "window",  "softcap",
                                             "alibi", "q/k norm",      "experts", "parts"};

typedef enum bits_size { BITS_USUAL, BITS_SLIM } bits_size;

enum {
    BITS_BLOCKS = 3,
    BITS_VOCAB = 67,
    BITS_LETTERS = 60, /* pieces of one character */
    BITS_CONTEXT = 4096,
    BITS_TENSORS = 80,
    BITS_SHARED = 8 /* columns of k that all heads share, in BITS_PARTS; as many of q turn */
};

typedef struct bits_model {
    tfm_model *model;
    bits_form form;
    tfm_dtype type;
    tfm_layout layout;
    uint32_t width, ffn, heads, kv_heads, head_dim;
    char text[8192]; /* the description */
    size_t len;
    tfm_tensor tensor[BITS_TENSORS];
    char name[BITS_TENSORS][48];
    size_t n_tensors;         /* the first ones: owned */
    tfm_vocab_tables *tables; /* the rest: its tensors */
    char piece[BITS_VOCAB][3];
    uint64_t random;
} bits_model;

/* ---- tensors ---- */

/* The f16 scales that ops_random_blocks gave a q4_K tensor, smaller: weights of usual size keep
 * activations where a wrong bit shows. d and dmin stand first in a block. */
static inline void bits_tame_q4_k(uint8_t *p, size_t n_blocks, uint64_t *random) {
    for (size_t b = 0; b < n_blocks; b++, p += tfm_dtype_block_bytes(TFM_Q4_K)) {
        for (int i = 0; i < 2; i++) {
            const uint16_t h = tfm_f32_to_f16(0.0006f * ops_uniform(random));
            p[2 * i] = (uint8_t)h;
            p[2 * i + 1] = (uint8_t)(h >> 8);
        }
    }
}

/* count weights of `type` in (-size, size), in layout rows. */
static inline uint8_t *bits_weights(bits_model *m, tfm_dtype type, size_t count, float size) {
    uint64_t bytes;
    tfm_error err;
    if (!tfm_dtype_bytes(type, count, &bytes)) ops_die("a row is no whole number of blocks", NULL);
    uint8_t *data = ops_alloc(bytes);
    if (type == TFM_Q4_K) {
        ops_random_blocks(&m->random, type, data, count / tfm_dtype_block(type));
        bits_tame_q4_k(data, count / tfm_dtype_block(type), &m->random);
        return data;
    }
    float *f = ops_random_row(&m->random, count, size);
    const tfm_status st = type == TFM_MXFP4
                              ? tfm_quantise(type, f, count / 32, 32, NULL, data, &err)
                              : tfm_from_f32(type, f, count, data, &err);
    if (st != TFM_OK) ops_die("weight", &err);
    free(f);
    return data;
}

static inline tfm_tensor *bits_tensor(bits_model *m, const char *name, int block) {
    tfm_tensor *t = &m->tensor[m->n_tensors];
    char *to = m->name[m->n_tensors++];
    if (block >= 0)
        snprintf(to, sizeof m->name[0], "blk.%d.%s.weight", block, name);
    else
        snprintf(to, sizeof m->name[0], "%s.weight", name);
    *t = (tfm_tensor){.name = to, .dims = {1, 1, 1, 1}};
    return t;
}

/* Another type where rows of k are no whole number of blocks. */
static inline tfm_dtype bits_type_for(const bits_model *m, uint32_t k) {
    if (k % tfm_dtype_block(m->type) == 0) return m->type;
    return k % tfm_dtype_block(TFM_Q8_0) == 0 ? TFM_Q8_0 : TFM_F32;
}

/* In BITS_PARTS three groups of two. */
static inline uint32_t bits_n_experts(const bits_model *m) {
    return m->form == BITS_PARTS ? 6 : 5;
}

/* The feed-forward matrices of all experts, [experts, rows, k], in rows. */
static inline void bits_expert_matrices(bits_model *m, const char *name, int block, uint32_t rows,
                                        uint32_t k) {
    tfm_tensor *t = bits_tensor(m, name, block);
    t->dtype = bits_type_for(m, k);
    t->rank = 3;
    t->dims[0] = bits_n_experts(m);
    t->dims[1] = rows;
    t->dims[2] = k;
    t->bytes = ops_bytes(t, TFM_LAYOUT_ROWS);
    t->data = bits_weights(m, t->dtype, (size_t)t->dims[0] * rows * k, 2.0f / sqrtf((float)k));
}

/* The router, [experts, width], f32. */
static inline void bits_router(bits_model *m, int block) {
    tfm_tensor *t = bits_tensor(m, "ffn_gate_inp", block);
    t->dtype = TFM_F32;
    t->rank = 2;
    t->dims[0] = bits_n_experts(m);
    t->dims[1] = m->width;
    t->bytes = ops_bytes(t, TFM_LAYOUT_ROWS);
    t->data = bits_weights(m, TFM_F32, (size_t)t->dims[0] * m->width, 0.3f);
}

/* [rows, k] of the model's layout and type. */
static inline void bits_matrix(bits_model *m, const char *name, int block, uint32_t rows,
                               uint32_t k) {
    tfm_tensor *t = bits_tensor(m, name, block);
    tfm_error err;
    const tfm_dtype type = t->dtype = bits_type_for(m, k);
    t->rank = 2;
    t->dims[0] = rows;
    t->dims[1] = k;
    uint8_t *data = bits_weights(m, type, (size_t)rows * k, 2.0f / sqrtf((float)k));
    t->bytes = ops_bytes(t, TFM_LAYOUT_ROWS);
    if (m->layout == TFM_LAYOUT_P16) {
        t->layout = TFM_LAYOUT_P16;
        t->bytes = ops_bytes(t, TFM_LAYOUT_P16);
        uint8_t *packed = ops_alloc(t->bytes);
        if (tfm_pack_p16(type, rows, k, data, packed, &err) != TFM_OK) ops_die(name, &err);
        free(data);
        data = packed;
    }
    t->data = data;
}

/* [n], f32, near 1. */
static inline void bits_vector(bits_model *m, const char *name, int block, uint32_t n) {
    tfm_tensor *t = bits_tensor(m, name, block);
    float *f = ops_random_row(&m->random, n, 0.3f);
    for (uint32_t i = 0; i < n; i++) f[i] += 1.0f;
    t->dtype = TFM_F32;
    t->rank = 1;
    t->dims[0] = n;
    t->bytes = n * sizeof *f;
    t->data = f;
}

static inline void bits_tensors(bits_model *m) {
    const uint32_t q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    bits_matrix(m, "token_embd", -1, BITS_VOCAB, m->width);
    for (int b = 0; b < BITS_BLOCKS; b++) {
        bits_vector(m, "attn_norm", b, m->width);
        if (m->form == BITS_PARTS) {
            bits_matrix(m, "attn_qkv", b, 3 * q - m->heads * BITS_SHARED, m->width);
            bits_matrix(m, "attn_shared", b, BITS_SHARED, m->width);
        } else {
            bits_matrix(m, "attn_q", b, q, m->width);
            bits_matrix(m, "attn_k", b, kv, m->width);
            bits_matrix(m, "attn_v", b, kv, m->width);
        }
        bits_matrix(m, "attn_output", b, m->width, q);
        if (m->form == BITS_QK_NORM) {
            bits_vector(m, "attn_q_norm", b, m->head_dim);
            bits_vector(m, "attn_k_norm", b, m->head_dim);
        }
        bits_vector(m, "ffn_norm", b, m->width);
        if (m->form == BITS_EXPERTS || m->form == BITS_PARTS) {
            bits_router(m, b);
            bits_expert_matrices(m, "ffn_gate_exps", b, m->ffn, m->width);
            bits_expert_matrices(m, "ffn_up_exps", b, m->ffn, m->width);
            bits_expert_matrices(m, "ffn_down_exps", b, m->width, m->ffn);
            bits_matrix(m, "ffn_share", b, 1, m->width); /* one number a row */
            continue;
        }
        bits_matrix(m, "ffn_gate", b, m->ffn, m->width);
        bits_matrix(m, "ffn_up", b, m->ffn, m->width);
        bits_matrix(m, "ffn_down", b, m->width, m->ffn);
    }
    bits_vector(m, "output_norm", -1, m->width);
    bits_matrix(m, "output", -1, BITS_VOCAB, m->width);
}

/* ---- description ---- */

static inline void bits_say(bits_model *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void bits_say(bits_model *m, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    m->len += (size_t)vsnprintf(m->text + m->len, sizeof m->text - m->len, format, ap);
    va_end(ap);
    if (m->len >= sizeof m->text) ops_die("the description is too long", NULL);
}

static inline void bits_say_norm(bits_model *m, const char *name, const char *in, const char *out) {
    bits_say(m,
             "      - {norm: %s, in: %s, out: %s, kind: rms, eps: 1e-5, weight: blk.N.%s.weight}\n",
             name, in, out, name);
}

static inline void bits_say_linear(bits_model *m, const char *name, const char *in,
                                   const char *out) {
    bits_say(m, "      - {linear: %s, in: %s, out: %s, weight: blk.N.%s.weight}\n", name, in, out,
             name);
}

/* Norm and rope of q or k. */
static inline void bits_say_turn(bits_model *m, const char *value, uint32_t heads) {
    if (m->form == BITS_QK_NORM) {
        bits_say(m,
                 "      - {norm: attn_%s_norm, in: %s, out: %s, kind: rms, eps: 1e-5, groups: %u, "
                 "weight: blk.N.attn_%s_norm.weight}\n",
                 value, value, value, heads, value);
    }
    if (m->form != BITS_ALIBI) {
        bits_say(m,
                 "      - {rope: rope_%s, in: %s, out: %s, mode: %s, heads: %u, head_dim: %u, "
                 "base: 10000}\n",
                 value, value, value, m->form == BITS_GROUPED ? "interleaved" : "neox", heads,
                 m->head_dim);
    }
}

/* q, k and v of a head stand together; the last columns of k are the same in all heads. */
static inline void bits_say_parts(bits_model *m) {
    const uint32_t own = m->head_dim - BITS_SHARED;
    bits_say_linear(m, "attn_qkv", "h", "y");
    bits_say_linear(m, "attn_shared", "h", "s");
    bits_say(m,
             "      - {split: attn_split, in: y, out: [q, c, v], groups: %u, sizes: [%u, %u, %u]}\n"
             "      - {rope: rope_q, in: q, out: q, mode: interleaved, heads: %u, head_dim: %u, "
             "first: %u, rot: %d, base: 10000}\n"
             "      - {rope: rope_k, in: s, out: s, mode: interleaved, heads: 1, head_dim: %d, "
             "base: 10000}\n"
             "      - {concat: attn_k, in: [c, s], out: k, groups: %u, sizes: [%u, %d]}\n",
             m->heads, m->head_dim, own, m->head_dim, m->heads, m->head_dim, own, BITS_SHARED,
             BITS_SHARED, m->heads, own, BITS_SHARED);
}

static inline void bits_say_attention(bits_model *m) {
    bits_say_norm(m, "attn_norm", "x", "h");
    if (m->form == BITS_PARTS) {
        bits_say_parts(m);
    } else {
        bits_say_linear(m, "attn_q", "h", "q");
        bits_say_linear(m, "attn_k", "h", "k");
        bits_say_linear(m, "attn_v", "h", "v");
        bits_say_turn(m, "q", m->heads);
        if (m->form == BITS_WINDOW) {
            bits_say(m,
                     "      - {scale: attn_growth, in: q, out: q, by: 0.9, growth: 0.3, every: 13, "
                     "first: 1}\n");
        }
        bits_say_turn(m, "k", m->kv_heads);
    }
    bits_say(m, "      - {attend: attn, in: [q, k, v], out: a, heads: %u, kv_heads: %u, k_dim: %u",
             m->heads, m->kv_heads, m->head_dim);
    bits_say(m, ", v_dim: %u, scale: %.9g", m->head_dim, 1.0 / sqrt(m->head_dim));
    if (m->form == BITS_WINDOW) bits_say(m, ", window: [21, 0, 33], chunk: [0, 43, 70]");
    if (m->form == BITS_SOFTCAP) bits_say(m, ", softcap: 2.5");
    if (m->form == BITS_ALIBI) bits_say(m, ", alibi: 8");
    bits_say(m, "}\n");
    bits_say_linear(m, "attn_output", "a", "o");
    bits_say(m, "      - {add: attn_residual, in: [x, o], out: x}\n");
}

static inline void bits_say_experts(bits_model *m) {
    bits_say(
        m,
        "      - {moe-route: ffn_route, in: h, out: [e, p], used: 2, %s, weight: "
        "blk.N.ffn_gate_inp.weight}\n"
        "      - {moe-ffn: ffn_experts, in: [h, e, p], out: f, kind: silu, limit: 1.5, shift: "
        "0.5, weigh: %s, gate: blk.N.ffn_gate_exps.weight, up: blk.N.ffn_up_exps.weight, down: "
        "blk.N.ffn_down_exps.weight}\n%s",
        m->form == BITS_PARTS
            ? "renormalise: 1, score: sigmoid, groups: 3, groups_used: 2, group_sum: 2"
            : "softmax: remaining, near: 0.7",
        m->form == BITS_PARTS ? "input" : "output",
        m->form == BITS_PARTS ? ""
                              : "      - {moe-ffn: ffn_more, in: [f, e, p], out: i, up: "
                                "blk.N.ffn_up_exps.weight}\n"
                                "      - {moe-ffn: ffn_back, in: [i, e, p], out: f, up: "
                                "blk.N.ffn_down_exps.weight}\n");
    bits_say_linear(m, "ffn_share", "h", "t");
    bits_say(m, "      - {multiply: ffn_weigh, in: [f, t], out: f}\n");
}

static inline void bits_say_dense(bits_model *m) {
    bits_say_linear(m, "ffn_gate", "h", "g");
    bits_say_linear(m, "ffn_up", "h", "u");
    bits_say(m, "      - {activation: ffn_act, in: g, out: g, kind: silu}\n"
                "      - {multiply: ffn_mul, in: [g, u], out: g}\n");
    bits_say_linear(m, "ffn_down", "g", "f");
    if (m->form == BITS_ALIBI)
        bits_say(m, "      - {gather: ffn_row, out: c, index: fixed, offset: 3, weight: "
                    "token_embd.weight}\n"
                    "      - {activation: ffn_elu, in: f, out: f, kind: elu}\n"
                    "      - {multiply: ffn_times, in: [f, c], out: f}\n");
}

static inline void bits_say_ffn(bits_model *m) {
    bits_say_norm(m, "ffn_norm", "x", "h");
    if (m->form == BITS_EXPERTS || m->form == BITS_PARTS)
        bits_say_experts(m);
    else
        bits_say_dense(m);
    bits_say(m, "      - {add: ffn_residual, in: [x, f], out: x}\n");
}

static inline void bits_describe(bits_model *m) {
    bits_say(m,
             "description: 1\nparameters:\n  context: %d\nembed:\n"
             "  - {gather: token_embd, out: x, weight: token_embd.weight}\n"
             "blocks:\n  - layers: 0-%d\n    steps:\n",
             BITS_CONTEXT, BITS_BLOCKS - 1);
    bits_say_attention(m);
    bits_say_ffn(m);
    bits_say(m,
             "head:\n  - {norm: output_norm, in: x, out: h, kind: rms, eps: 1e-5, weight: "
             "output_norm.weight}\n"
             "  - {linear: output, in: h, out: %s, weight: output.weight}\n",
             m->form == BITS_SOFTCAP ? "l" : "logits");
    if (m->form == BITS_SOFTCAP) {
        bits_say(m, "  - {softcap: output_cap, in: l, out: logits, cap: 3}\n");
    }
}

/* ---- vocabulary ---- */

static inline void bits_vocabulary(bits_model *m) {
    static const char *const none[1] = {""};
    static const uint32_t zero[1] = {0};
    const char *piece[BITS_VOCAB];
    uint32_t len[BITS_VOCAB];
    const uint8_t flags[BITS_VOCAB] = {0};
    tfm_error err;
    for (int i = 0; i < BITS_VOCAB; i++) {
        const bool two = i >= BITS_LETTERS;
        snprintf(m->piece[i], sizeof m->piece[i], "%c%.1s", '0' + (two ? 11 * (i - 59) % 60 : i),
                 two ? m->piece[i - 40] : "");
        piece[i] = m->piece[i];
        len[i] = (uint32_t)strlen(piece[i]);
    }
    const tfm_vocab_source src = {.type = TFM_VOCAB_BPE,
                                  .n = BITS_VOCAB,
                                  .piece = piece,
                                  .piece_len = len,
                                  .flags = flags,
                                  .merge_left = none,
                                  .merge_right = none,
                                  .merge_left_len = zero,
                                  .merge_right_len = zero,
                                  .bos = -1,
                                  .eos = -1,
                                  .unk = -1,
                                  .pad = -1,
                                  .normaliser = "none",
                                  .byte_level = true};
    if (tfm_vocab_build(&m->tables, &src, &err) != TFM_OK) ops_die("vocabulary", &err);
    bits_say(m, "tokenizer:\n");
    for (const char *s = m->tables->settings, *end; *s != '\0'; s = end) {
        end = s + strcspn(s, "\n");
        end += *end == '\n';
        bits_say(m, "  %.*s", (int)(end - s), s);
    }
    if (m->n_tensors + m->tables->n_tensors > BITS_TENSORS) ops_die("too many tensors", NULL);
    memcpy(m->tensor + m->n_tensors, m->tables->tensor, m->tables->n_tensors * sizeof m->tensor[0]);
}

/* ---- the model ---- */

/* A cache of blocks wants heads of whole ones. */
static inline void bits_shape(bits_model *m, bits_size size, tfm_dtype cache) {
    const bool wide = tfm_dtype_block(m->type) == 256, slim = size == BITS_SLIM;
    const bool blocks = tfm_dtype_block(cache) > 1;
    m->width = wide ? 256 : slim ? 32 : 64;
    m->ffn = slim ? 32 : wide ? 256 : 96;
    m->heads = m->kv_heads = 4;
    m->head_dim = wide ? 64 : blocks ? 32 : 24;
    if (m->form == BITS_GROUPED) m->kv_heads = 2;
    if (m->form == BITS_ALIBI && !wide) { /* 256 has no three equal parts */
        m->heads = m->kv_heads = 3;
        m->head_dim = 32;
    }
    if (!slim) return;
    m->heads = m->form == BITS_GROUPED ? 2 : 1;
    m->kv_heads = 1;
    m->head_dim = blocks ? 32 : 16 / m->heads;
}

static inline void bits_model_new(bits_model *m, bits_form form, tfm_dtype type, tfm_layout layout,
                                  tfm_dtype cache, bits_size size) {
    tfm_error err;
    memset(m, 0, sizeof *m);
    m->form = form;
    m->type = type;
    m->layout = layout;
    m->random = 1000 * (uint64_t)form + (uint64_t)type;
    bits_shape(m, size, cache);
    bits_tensors(m);
    bits_describe(m);
    bits_vocabulary(m);
    const tfm_model_parts parts = {
        .path = bits_form_name[form],
        .id = "b175b175b175b175b175b175b175b175b175b175b175b175b175b175b175b175",
        .vocab_id = "",
        .description = m->text,
        .description_len = m->len,
        .tensor = m->tensor,
        .n_tensors = m->n_tensors + m->tables->n_tensors};
    if (tfm_model_from_parts(&m->model, &parts, &err) != TFM_OK) ops_die(m->text, &err);
}

static inline void bits_model_free(bits_model *m) {
    tfm_model_free(m->model);
    for (size_t i = 0; i < m->n_tensors; i++) free((void *)(uintptr_t)m->tensor[i].data);
    tfm_vocab_tables_free(m->tables);
}

#endif
