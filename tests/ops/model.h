/* model.h - a small random Llama as a graph, made by hand.
 *
 *     ops_model m; ops_model_new(&m, &(ops_shape){.blocks = 2, .width = 64, ...});
 *     ... tfm_graph *g = &m.g ...
 *     ops_model_free(&m);
 *
 * For tests of whole plans and for benchmarks; needs no file and no lib/arch. */
#ifndef TFM_TESTS_MODEL_H
#define TFM_TESTS_MODEL_H

#include "ops.h"

#include "backend/math_internal.h"

typedef struct ops_shape {
    uint32_t blocks, width, heads, kv_heads, head_dim, ffn, vocab, window;
    tfm_dtype type;
    tfm_layout layout;
} ops_shape;

enum { M_X, M_H, M_Q, M_K, M_V, M_ATT, M_GATE, M_UP, M_LOGITS, M_VALUES };
enum { M_BLOCK_STEPS = 16, M_BLOCK_WEIGHTS = 9 };

typedef struct ops_model {
    tfm_graph g;
    tfm_value value[M_VALUES];
    tfm_step *step;
    tfm_weight *weight;
    tfm_tensor *tensor;
    size_t *block_start;
    tfm_kv_shape *kv;
    float *inv_freq;
    uint64_t random;
    ops_shape shape;
} ops_model;

static inline int model_weight(ops_model *m, tfm_dtype t, tfm_layout layout, uint32_t rows,
                               uint32_t k) {
    const int id = (int)m->g.n_weights++;
    m->tensor[id] = ops_tensor(&m->random, t, layout, rows, k, rows > 0 ? 0.05f : 1.0f);
    m->weight[id].tensor = &m->tensor[id];
    return id;
}

static inline int model_matrix(ops_model *m, uint32_t rows, uint32_t k) {
    return model_weight(m, m->shape.type, m->shape.layout, rows, k);
}

static inline tfm_step *model_step(ops_model *m, tfm_op op, int block, const char *name, int in,
                                   int out) {
    tfm_step *s = &m->step[m->g.n_steps++];
    *s = (tfm_step){.op = op, .block = block, .name = name, .n_in = in >= 0 ? 1 : 0, .n_out = 1};
    s->weight = s->bias = s->extra = TFM_NONE;
    s->in[0] = in;
    s->out[0] = out;
    return s;
}

static inline void model_norm(ops_model *m, int block, int in, int out) {
    tfm_step *s = model_step(m, TFM_OP_NORM, block, "norm", in, out);
    s->u.norm.kind = TFM_NORM_RMS;
    s->u.norm.eps = 1e-5f;
    s->u.norm.groups = 1;
    s->weight = model_weight(m, TFM_F32, TFM_LAYOUT_ROWS, 0, m->shape.width);
}

static inline void model_linear(ops_model *m, int block, int in, int out) {
    tfm_step *s = model_step(m, TFM_OP_LINEAR, block, "linear", in, out);
    s->weight = model_matrix(m, m->value[out].width, m->value[in].width);
}

static inline void model_rope(ops_model *m, int block, int value, uint32_t heads) {
    tfm_step *s = model_step(m, TFM_OP_ROPE, block, "rope", value, value);
    s->u.rope.mode = TFM_ROPE_NEOX;
    s->u.rope.heads = heads;
    s->u.rope.head_dim = s->u.rope.rot = m->shape.head_dim;
    s->u.rope.inv_freq = m->inv_freq;
    s->u.rope.magnitude = 1.0f;
}

static inline void model_two(ops_model *m, tfm_op op, int block, int a, int b, int out) {
    tfm_step *s = model_step(m, op, block, op == TFM_OP_ADD ? "add" : "multiply", a, out);
    s->n_in = 2;
    s->in[1] = b;
}

static inline void model_block(ops_model *m, int b) {
    const ops_shape *p = &m->shape;
    m->block_start[b] = m->g.n_steps;
    m->kv[b] = (tfm_kv_shape){p->kv_heads, p->head_dim, p->head_dim, b};
    model_norm(m, b, M_X, M_H);
    model_linear(m, b, M_H, M_Q);
    model_linear(m, b, M_H, M_K);
    model_linear(m, b, M_H, M_V);
    model_rope(m, b, M_Q, p->heads);
    model_rope(m, b, M_K, p->kv_heads);
    tfm_step *s = model_step(m, TFM_OP_ATTEND, b, "attend", M_Q, M_ATT);
    s->n_in = 3;
    s->in[1] = M_K;
    s->in[2] = M_V;
    s->u.attend.heads = p->heads;
    s->u.attend.kv_heads = p->kv_heads;
    s->u.attend.k_dim = s->u.attend.v_dim = p->head_dim;
    s->u.attend.scale = 1.0f / sqrtf((float)p->head_dim);
    s->u.attend.window = p->window;
    s->u.attend.kv_layer = b;
    model_linear(m, b, M_ATT, M_H);
    model_two(m, TFM_OP_ADD, b, M_X, M_H, M_X);
    model_norm(m, b, M_X, M_H);
    model_linear(m, b, M_H, M_GATE);
    model_linear(m, b, M_H, M_UP);
    model_step(m, TFM_OP_ACTIVATION, b, "act", M_GATE, M_GATE)->u.activation = TFM_ACT_SILU;
    model_two(m, TFM_OP_MULTIPLY, b, M_GATE, M_UP, M_GATE);
    model_linear(m, b, M_GATE, M_H);
    model_two(m, TFM_OP_ADD, b, M_X, M_H, M_X);
}

static inline void ops_model_new(ops_model *m, const ops_shape *p) {
    const uint32_t q = p->heads * p->head_dim, kv = p->kv_heads * p->head_dim;
    const size_t n = p->blocks;
    memset(m, 0, sizeof *m);
    m->shape = *p;
    m->random = 42;
    m->step = ops_alloc((n * M_BLOCK_STEPS + 3) * sizeof *m->step);
    m->weight = ops_alloc((n * M_BLOCK_WEIGHTS + 3) * sizeof *m->weight);
    m->tensor = ops_alloc((n * M_BLOCK_WEIGHTS + 3) * sizeof *m->tensor);
    m->block_start = ops_alloc((n + 1) * sizeof *m->block_start);
    m->kv = ops_alloc(n * sizeof *m->kv);
    m->inv_freq = ops_alloc(p->head_dim / 2 * sizeof(float));
    for (uint32_t i = 0; i < p->head_dim / 2; i++) {
        m->inv_freq[i] = (float)tfm_pow(10000.0, -2.0 * i / p->head_dim); /* libm would differ */
    }
    const uint32_t widths[M_VALUES] = {p->width, p->width, q, kv, kv, q, p->ffn, p->ffn, p->vocab};
    for (int i = 0; i < M_VALUES; i++) m->value[i] = (tfm_value){"value", widths[i]};
    m->g = (tfm_graph){.value = m->value,
                       .n_values = M_VALUES,
                       .weight = m->weight,
                       .step = m->step,
                       .block_start = m->block_start,
                       .n_blocks = p->blocks,
                       .hidden = M_X,
                       .logits = M_LOGITS,
                       .kv = m->kv,
                       .n_kv = p->blocks,
                       .width = p->width,
                       .n_vocab = p->vocab,
                       .max_position = UINT32_MAX};
    model_step(m, TFM_OP_GATHER, -1, "embed", -1, M_X)->weight =
        model_matrix(m, p->vocab, p->width);
    for (uint32_t b = 0; b < p->blocks; b++) model_block(m, (int)b);
    m->block_start[n] = m->g.n_steps;
    model_norm(m, -1, M_X, M_H);
    model_linear(m, -1, M_H, M_LOGITS);
}

static inline void ops_model_free(ops_model *m) {
    for (size_t i = 0; i < m->g.n_weights; i++) free((void *)(uintptr_t)m->tensor[i].data);
    free(m->step), free(m->weight), free(m->tensor), free(m->block_start), free(m->kv);
    free(m->inv_freq);
}

#endif
