/* graph.c - from a description to a graph: the list of steps that backends run.
 *
 * Owns: which step belongs to which block, value ids and widths, weight ids, cache numbers. A value
 * is known by (name, width): a name may be written again, and a block whose heads differ from its
 * neighbour's writes a `q` of its own. Names live for one block; only `x`, the residual stream,
 * goes from block to block, so that any range of blocks can be run on its own.
 * Does not own: whether shapes fit a step in all detail; tfm_graph_check (backend) has the last
 * word. Descriptions come from files: nothing here trusts one.
 */
#include "arch/graph_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/math_internal.h"

#define MAX_VALUES 512u
#define MAX_LIVE 64u /* names of one block */
#define HIDDEN "x"
#define LOGITS "logits"

/* A rope table that was computed before: layers share theirs. */
typedef struct rope_memo {
    const tfm_astep *step;
    const tfm_step *made;
} rope_memo;

typedef struct compiler {
    tfm_arena *arena;
    const char *file;
    tfm_graph *g;
    const tfm_tensors *tensors;
    tfm_scope scope;
    const tfm_yaml *const *origin; /* of the steps; NULL: the description's own lines */
    const tfm_yaml **where;        /* [g->n_steps] for messages */
    uint32_t ctx;
    size_t cap_steps, cap_where, cap_weights, cap_kv;
    /* names of the present block */
    const char *live_name[MAX_LIVE];
    int live[MAX_LIVE];
    size_t n_live;
    rope_memo rope[4];
    size_t n_rope;
} compiler;

static tfm_status grow_array(compiler *c, void **array, size_t *cap, size_t n, size_t size,
                             tfm_error *err) {
    void *bigger;
    size_t want = *cap ? *cap * 2 : 64;
    if (n < *cap) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(c->arena, &bigger, want * size, err));
    if (n > 0) memcpy(bigger, *array, n * size);
    *array = bigger;
    *cap = want;
    return TFM_OK;
}

/* ---- values ---- */

static int live_find(const compiler *c, const char *name) {
    for (size_t i = 0; i < c->n_live; i++)
        if (strcmp(c->live_name[i], name) == 0) return c->live[i];
    return TFM_NONE;
}

static tfm_status read_value(compiler *c, const tfm_astep *s, const char *name, int *id,
                             tfm_error *err) {
    *id = live_find(c, name);
    if (*id == TFM_NONE)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                             "step '%s' reads '%s', which no earlier "
                             "step of this block writes (only 'x' comes from the block before)",
                             s->name, name);
    return TFM_OK;
}

static tfm_status value_id(compiler *c, const tfm_astep *s, const char *name, uint32_t width,
                           int *id, tfm_error *err) {
    tfm_graph *g = c->g;
    for (size_t i = 0; i < g->n_values; i++)
        if (g->value[i].width == width && strcmp(g->value[i].name, name) == 0) {
            *id = (int)i;
            return TFM_OK;
        }
    if (g->n_values == MAX_VALUES)
        return tfm_yaml_fail(s->where, err, TFM_LIMIT, "more than %u different values", MAX_VALUES);
    g->value[g->n_values] = (tfm_value){.name = name, .width = width};
    *id = (int)g->n_values++;
    return TFM_OK;
}

static tfm_status write_value(compiler *c, const tfm_astep *s, const char *name, uint32_t width,
                              int *id, tfm_error *err) {
    size_t at = 0;
    if (width == 0)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT, "step '%s' gives '%s' no width", s->name,
                             name);
    TFM_TRY(value_id(c, s, name, width, id, err));
    while (at < c->n_live && strcmp(c->live_name[at], name) != 0) at++;
    if (at == c->n_live) {
        if (at == MAX_LIVE)
            return tfm_yaml_fail(s->where, err, TFM_LIMIT, "more than %u names in one block",
                                 MAX_LIVE);
        c->n_live++;
    }
    c->live_name[at] = name;
    c->live[at] = *id;
    return TFM_OK;
}

/* ---- weights ---- */

/* NULL if the step has none in this slot. */
static tfm_status find_tensor(compiler *c, const tfm_astep *s, int slot, int layer,
                              const tfm_tensor **tensor, tfm_error *err) {
    const char *name;
    *tensor = NULL;
    if (s->tensor[slot] == NULL) return TFM_OK;
    TFM_TRY(tfm_layer_name(c->arena, &name, s->tensor[slot], layer, err));
    *tensor = c->tensors->find(c->tensors, name);
    if (*tensor != NULL) return TFM_OK;
    return tfm_yaml_fail(s->where, err, TFM_NOTFOUND, "step '%s': there is no tensor '%s'", s->name,
                         name);
}

static tfm_status weight_id(compiler *c, const tfm_astep *s, int slot, int layer, int *id,
                            const tfm_tensor **tensor, tfm_error *err) {
    tfm_graph *g = c->g;
    const tfm_tensor *t;
    void *p = g->weight;
    *id = TFM_NONE;
    TFM_TRY(find_tensor(c, s, slot, layer, tensor, err));
    t = *tensor;
    if (t == NULL) return TFM_OK;
    for (size_t i = 0; i < g->n_weights; i++)
        if (g->weight[i].tensor == t) {
            *id = (int)i;
            return TFM_OK;
        }
    TFM_TRY(grow_array(c, &p, &c->cap_weights, g->n_weights, sizeof *g->weight, err));
    g->weight = p;
    g->weight[g->n_weights].tensor = t;
    *id = (int)g->n_weights++;
    return TFM_OK;
}

static tfm_status need_matrix(const tfm_astep *s, const tfm_tensor *t, tfm_error *err) {
    if (t != NULL && t->rank == 2) return TFM_OK;
    return tfm_yaml_fail(s->where, err, TFM_FORMAT, "step '%s': the weight must have two dims",
                         s->name);
}

/* ---- one step ---- */

static uint32_t as_u32(double v) {
    return v <= 0 ? 0 : v >= 4294967295.0 ? UINT32_MAX : (uint32_t)v;
}

/* Slopes of ALiBi (Press et al. 2021): a geometric series for the largest power of two of heads,
 * then every other term of the series of twice as many. */
static tfm_status alibi_slopes(compiler *c, uint32_t heads, double max_bias, const float **out,
                               tfm_error *err) {
    uint32_t whole = 1;
    void *p;
    float *slope;
    TFM_TRY(tfm_arena_alloc(c->arena, &p, heads * sizeof(float), err));
    slope = p;
    while (whole <= heads / 2) whole *= 2;
    for (uint32_t h = 0; h < heads; h++)
        slope[h] =
            (float)tfm_pow(2, h < whole ? -max_bias * (h + 1) / whole
                                        : -max_bias * (2.0 * (h - whole) + 1) / (2.0 * whole));
    *out = slope;
    return TFM_OK;
}

static tfm_status put_attend(compiler *c, const tfm_astep *s, tfm_step *st, tfm_error *err) {
    tfm_graph *g = c->g;
    void *p = g->kv;
    st->u.attend.heads = as_u32(s->num[TFM_N_HEADS]);
    st->u.attend.kv_heads = as_u32(s->num[TFM_N_KV_HEADS]);
    st->u.attend.k_dim = as_u32(s->num[TFM_N_K_DIM]);
    st->u.attend.v_dim = as_u32(s->num[TFM_N_V_DIM]);
    st->u.attend.scale = (float)s->num[TFM_N_SCALE];
    st->u.attend.softcap = (float)s->num[TFM_N_SOFTCAP];
    st->u.attend.window = as_u32(s->num[TFM_N_WINDOW]);
    st->u.attend.chunk = as_u32(s->num[TFM_N_CHUNK]);
    st->u.attend.alibi_before_scale = s->num[TFM_N_ALIBI_BEFORE] != 0;
    if (s->num[TFM_N_ALIBI] > 0)
        TFM_TRY(alibi_slopes(c, st->u.attend.heads, s->num[TFM_N_ALIBI], &st->u.attend.alibi, err));
    if (st->block < 0)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT, "step '%s': attend stands in a block only",
                             s->name);
    TFM_TRY(grow_array(c, &p, &c->cap_kv, g->n_kv, sizeof *g->kv, err));
    g->kv = p;
    g->kv[g->n_kv] = (tfm_kv_shape){.kv_heads = st->u.attend.kv_heads,
                                    .k_dim = st->u.attend.k_dim,
                                    .v_dim = st->u.attend.v_dim,
                                    .block = st->block};
    st->u.attend.kv_layer = (int)g->n_kv++;
    return TFM_OK;
}

static bool same_rope(const tfm_astep *a, const tfm_astep *b) {
    for (int i = TFM_N_ROPE_DIM; i <= TFM_N_FIRST; i++)
        if (a->num[i] != b->num[i]) return false;
    for (int i = 0; i < TFM_STEP_TENSORS; i++) {
        if ((a->tensor[i] == NULL) != (b->tensor[i] == NULL)) return false;
        /* a table of its own per layer is not shared */
        if (a->tensor[i] &&
            (strcmp(a->tensor[i], b->tensor[i]) != 0 || strstr(a->tensor[i], ".N.")))
            return false;
    }
    return true;
}

static tfm_status put_rope(compiler *c, const tfm_astep *s, tfm_step *st, tfm_error *err) {
    const tfm_tensor *factor[TFM_STEP_TENSORS] = {NULL};
    uint32_t rot = as_u32(s->num[TFM_N_ROT]), first = as_u32(s->num[TFM_N_FIRST]);
    tfm_astep *copy;
    void *p;
    st->u.rope.mode = (tfm_rope)(int)s->num[TFM_N_MODE];
    st->u.rope.heads = as_u32(s->num[TFM_N_ROPE_HEADS]);
    st->u.rope.head_dim = as_u32(s->num[TFM_N_ROPE_DIM]);
    if (rot == 0 && first < st->u.rope.head_dim) rot = st->u.rope.head_dim - first;
    if (rot == 0 || rot % 2 != 0 || first + rot > st->u.rope.head_dim)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                             "step '%s': rot is %u; it must be even and, with 'first', %u, "
                             "at most head_dim, %u",
                             s->name, rot, first, st->u.rope.head_dim);
    st->u.rope.first = first;
    st->u.rope.rot = rot;
    for (size_t i = 0; i < c->n_rope; i++)
        if (same_rope(c->rope[i].step, s)) {
            st->u.rope.inv_freq = c->rope[i].made->u.rope.inv_freq;
            st->u.rope.magnitude = c->rope[i].made->u.rope.magnitude;
            return TFM_OK;
        }
    /* Tables are consumed here; they are no weights of the graph. */
    for (int i = 0; i < TFM_STEP_TENSORS; i++)
        TFM_TRY(find_tensor(c, s, i, st->block, &factor[i], err));
    TFM_TRY(tfm_arena_alloc(c->arena, &p, rot / 2 * sizeof(float), err));
    TFM_TRY(tfm_rope_frequencies(s, rot, c->ctx, factor, p, &st->u.rope.magnitude, err));
    st->u.rope.inv_freq = p;
    if (c->n_rope == sizeof c->rope / sizeof c->rope[0]) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(c->arena, &p, sizeof *s + sizeof *st, err));
    copy = p;
    *copy = *s;
    memcpy(copy + 1, st, sizeof *st);
    c->rope[c->n_rope++] = (rope_memo){.step = copy, .made = (tfm_step *)(copy + 1)};
    return TFM_OK;
}

/* SPLIT, CONCAT: how the parts lie in the whole, and the widths of what is written. */
static tfm_status put_parts(compiler *c, const tfm_astep *s, tfm_step *st, uint32_t *width,
                            tfm_error *err) {
    const double groups = s->num[TFM_N_PARTS];
    const bool split = s->op == TFM_OP_SPLIT;
    double sum = 0;
    st->u.parts.groups = as_u32(groups);
    for (int i = 0; i < (split ? s->n_out : s->n_in); i++) {
        double size = s->num[TFM_N_SIZE0 + i];
        if (size == 0) size = c->g->value[st->in[i]].width; /* a concat of values as they are */
        if (split) width[i] = as_u32(groups * size);
        st->u.parts.size[i] = as_u32(size);
        sum += groups * size;
    }
    if (!split)
        width[0] = as_u32(sum);
    else if (sum != c->g->value[st->in[0]].width)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT, "step '%s' splits %u columns into %.0f",
                             s->name, c->g->value[st->in[0]].width, sum);
    return TFM_OK;
}

/* Sets the parameters of a step and the widths of what it writes. */
static tfm_status put_parameters(compiler *c, const tfm_astep *s, tfm_step *st,
                                 const tfm_tensor *weight, uint32_t *width, tfm_error *err) {
    uint32_t w0 = s->n_in > 0 ? c->g->value[st->in[0]].width : 0;
    for (int i = 0; i < s->n_out; i++) width[i] = w0;
    switch (s->op) {
    case TFM_OP_GATHER:
        TFM_TRY(need_matrix(s, weight, err));
        st->u.gather.index = (tfm_index)(int)s->num[TFM_N_INDEX];
        st->u.gather.offset = as_u32(s->num[TFM_N_OFFSET]);
        width[0] = weight->dims[1];
        if (st->u.gather.index != TFM_INDEX_TOKEN && weight->dims[0] <= st->u.gather.offset)
            return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                                 "step '%s': the offset is not inside the table", s->name);
        if (st->u.gather.index == TFM_INDEX_POSITION &&
            weight->dims[0] - st->u.gather.offset < c->g->max_position)
            c->g->max_position = weight->dims[0] - st->u.gather.offset;
        return TFM_OK;
    case TFM_OP_LINEAR:
        TFM_TRY(need_matrix(s, weight, err));
        width[0] = weight->dims[0];
        return TFM_OK;
    case TFM_OP_NORM:
        st->u.norm.kind = (tfm_norm)(int)s->num[TFM_N_KIND];
        st->u.norm.eps = (float)s->num[TFM_N_EPS];
        st->u.norm.groups = as_u32(s->num[TFM_N_GROUPS]);
        return TFM_OK;
    case TFM_OP_SPLIT:
    case TFM_OP_CONCAT: return put_parts(c, s, st, width, err);
    case TFM_OP_ROPE: return put_rope(c, s, st, err);
    case TFM_OP_ATTEND:
        TFM_TRY(put_attend(c, s, st, err));
        width[0] = as_u32(s->num[TFM_N_HEADS] * s->num[TFM_N_V_DIM]);
        return TFM_OK;
    case TFM_OP_ACTIVATION:
        st->u.activation = (tfm_activation)(int)s->num[TFM_N_KIND];
        return TFM_OK;
    case TFM_OP_SCALE:
        st->u.scale.by = (float)s->num[TFM_N_BY];
        st->u.scale.growth = (float)s->num[TFM_N_GROWTH];
        st->u.scale.every = as_u32(s->num[TFM_N_EVERY]);
        st->u.scale.first = as_u32(s->num[TFM_N_GROWTH_FIRST]);
        return TFM_OK;
    case TFM_OP_SOFTCAP: st->u.softcap = (float)s->num[TFM_N_BY]; return TFM_OK;
    case TFM_OP_MOE_ROUTE:
        st->u.route.used = as_u32(s->num[TFM_N_USED]);
        st->u.route.softmax = (tfm_softmax)(int)s->num[TFM_N_SOFTMAX];
        st->u.route.near = (float)s->num[TFM_N_NEAR];
        st->u.route.renormalise = s->num[TFM_N_RENORMALISE] != 0;
        st->u.route.scale = (float)s->num[TFM_N_ROUTE_SCALE];
        st->u.route.sigmoid = s->num[TFM_N_SCORE] != 0;
        st->u.route.groups = as_u32(s->num[TFM_N_ROUTE_GROUPS]);
        st->u.route.groups_used = as_u32(s->num[TFM_N_GROUPS_USED]);
        st->u.route.group_sum = as_u32(s->num[TFM_N_GROUP_SUM]);
        width[0] = width[1] = st->u.route.used;
        return TFM_OK;
    case TFM_OP_MOE_FFN:
        if (s->num[TFM_N_KIND] >= 0) st->u.experts.kind = (tfm_activation)(int)s->num[TFM_N_KIND];
        st->u.experts.limit = (float)s->num[TFM_N_LIMIT];
        st->u.experts.shift = (float)s->num[TFM_N_SHIFT];
        st->u.experts.weigh_input = s->num[TFM_N_WEIGH] != 0;
        if (st->extra == TFM_NONE && st->bias != TFM_NONE)
            width[0] = c->g->weight[st->bias].tensor->dims[1];
        return TFM_OK; /* else as wide as its input: the experts of a block keep its width */
    case TFM_OP_CLIP:
        st->u.clip.lo = (float)s->num[TFM_N_LO];
        st->u.clip.hi = (float)s->num[TFM_N_HI];
        return TFM_OK;
    default: return TFM_OK;
    }
}

static tfm_status put_step(compiler *c, const tfm_astep *s, int layer, tfm_error *err) {
    tfm_graph *g = c->g;
    const tfm_tensor *weight = NULL, *other;
    uint32_t width[TFM_STEP_MAX_OUT];
    tfm_step *st;
    void *p = g->step;
    if (g->n_steps == TFM_MAX_STEPS)
        return tfm_yaml_fail(s->where, err, TFM_LIMIT, "more than %u steps", TFM_MAX_STEPS);
    TFM_TRY(grow_array(c, &p, &c->cap_steps, g->n_steps, sizeof *g->step, err));
    g->step = p;
    p = c->where;
    TFM_TRY(grow_array(c, &p, &c->cap_where, g->n_steps, sizeof *c->where, err));
    c->where = p;
    c->where[g->n_steps] = s->where;
    st = &g->step[g->n_steps];
    memset(st, 0, sizeof *st);
    *st = (tfm_step){.op = s->op,
                     .block = layer,
                     .name = s->name,
                     .n_in = s->n_in,
                     .n_out = s->n_out,
                     .weight = TFM_NONE,
                     .bias = TFM_NONE,
                     .extra = TFM_NONE};
    for (int i = 0; i < s->n_in; i++) TFM_TRY(read_value(c, s, s->in[i], &st->in[i], err));
    if (s->op == TFM_OP_ATTEND) {
        TFM_TRY(weight_id(c, s, TFM_T_SINKS, layer, &st->extra, &other, err));
    } else if (s->op != TFM_OP_ROPE) {
        TFM_TRY(weight_id(c, s, TFM_T_WEIGHT, layer, &st->weight, &weight, err));
        TFM_TRY(weight_id(c, s, TFM_T_BIAS, layer, &st->bias, &other, err));
    }
    if (s->op == TFM_OP_MOE_ROUTE)
        TFM_TRY(weight_id(c, s, TFM_T_CHOOSE, layer, &st->extra, &other, err));
    if (s->op == TFM_OP_MOE_FFN) {
        TFM_TRY(weight_id(c, s, TFM_T_DOWN, layer, &st->extra, &other, err));
    }
    TFM_TRY(put_parameters(c, s, st, weight, width, err));
    for (int i = 0; s->op == TFM_OP_MOE_FFN && i < 3; i++) {
        int id;
        TFM_TRY(weight_id(c, s, TFM_T_GATE_BIAS + i, layer, &id, &other, err));
        st->u.experts.bias[i] = (uint32_t)(id + 1);
    }
    for (int i = 0; i < s->n_out; i++)
        TFM_TRY(write_value(c, s, s->out[i], width[i], &st->out[i], err));
    if (s->op == TFM_OP_ATTEND)
        for (int i = 0; i < 3; i++)
            if (st->in[i] == st->out[0])
                return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                                     "step '%s': attend cannot write "
                                     "what it reads",
                                     s->name);
    g->n_steps++;
    return TFM_OK;
}

/* ---- sections ---- */

/* Steps of one layer (or of embed, head: layer -1). at, n_at: place in lists per layer. */
static tfm_status put_list(compiler *c, const tfm_yaml *list, int layer, size_t at, size_t n_at,
                           tfm_error *err) {
    tfm_step_env env = {.scope = &c->scope,
                        .arena = c->arena,
                        .layer = layer,
                        .strict = true,
                        .at = at,
                        .n_at = n_at};
    if (list->kind != TFM_YAML_LIST || list->n > TFM_MAX_BLOCK_STEPS)
        return tfm_yaml_fail(list, err, TFM_FORMAT, "expected a list of at most %u steps",
                             TFM_MAX_BLOCK_STEPS);
    for (size_t i = 0; i < list->n; i++) {
        tfm_astep s;
        TFM_TRY(tfm_step_parse(&s, list->entry[i].value, &env, err));
        if (c->origin != NULL) s.where = c->origin[c->g->n_steps];
        TFM_TRY(put_step(c, &s, layer, err));
    }
    return TFM_OK;
}

/* "0-3,5": calls for each layer in order. group[l] is set to `mark`, which must have been 0. */
static tfm_status read_layers(const tfm_yaml *y, unsigned mark, unsigned *group, size_t *count,
                              tfm_error *err) {
    const char *p = y->text;
    *count = 0;
    if (y->kind != TFM_YAML_SCALAR || y->len == 0)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'layers' is a list of ranges like 0-3,5");
    while (*p != '\0') {
        unsigned long v[2] = {0, 0};
        for (int k = 0; k < 2; k++) {
            const char *start = p;
            while (*p >= '0' && *p <= '9' && v[k] < 1000000)
                v[k] = v[k] * 10 + (unsigned)(*p++ - '0');
            if (p == start)
                return tfm_yaml_fail(y, err, TFM_FORMAT, "'layers': a number is missing");
            if (k == 0 && *p != '-') {
                v[1] = v[0];
                break;
            }
            if (k == 0) p++;
        }
        if (v[1] >= TFM_MAX_LAYERS || v[0] > v[1])
            return tfm_yaml_fail(y, err, TFM_LIMIT, "'layers': at most %u, ascending",
                                 TFM_MAX_LAYERS);
        for (unsigned long l = v[0]; l <= v[1]; l++) {
            if (group[l] != 0)
                return tfm_yaml_fail(y, err, TFM_FORMAT, "layer %lu stands twice", l);
            group[l] = mark;
            ++*count;
        }
        if (*p == ',')
            p++;
        else if (*p != '\0')
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'layers': expected a ','");
    }
    return TFM_OK;
}

/* Names are forgotten between blocks; x stays. */
static void start_block(compiler *c, bool keep_hidden) {
    c->n_live = 0;
    if (!keep_hidden) return;
    c->live_name[0] = HIDDEN;
    c->live[0] = c->g->hidden;
    c->n_live = 1;
}

static tfm_status end_block(compiler *c, const tfm_yaml *where, tfm_error *err) {
    int id = live_find(c, HIDDEN);
    if (id == TFM_NONE || (c->g->hidden != TFM_NONE && id != c->g->hidden))
        return tfm_yaml_fail(where, err, TFM_FORMAT,
                             "the steps must leave the residual stream in "
                             "'x', of one width throughout");
    c->g->hidden = id;
    return TFM_OK;
}

static tfm_status put_blocks(compiler *c, const tfm_yaml *blocks, tfm_error *err) {
    unsigned group[TFM_MAX_LAYERS] = {0};
    size_t *count, *seen;
    void *p;
    uint32_t n = 0;
    if (blocks->kind != TFM_YAML_LIST || blocks->n > TFM_MAX_LAYERS)
        return tfm_yaml_fail(blocks, err, TFM_FORMAT, "'blocks' is a list of groups of layers");
    TFM_TRY(tfm_arena_alloc(c->arena, &p, 2 * (blocks->n + 1) * sizeof(size_t), err));
    count = p;
    seen = count + blocks->n + 1;
    for (size_t i = 0; i < blocks->n; i++) {
        const tfm_yaml *b = blocks->entry[i].value;
        const tfm_yaml *layers = tfm_yaml_get(b, "layers");
        if (layers == NULL || tfm_yaml_get(b, "steps") == NULL)
            return tfm_yaml_fail(b, err, TFM_FORMAT, "a group of blocks has 'layers' and 'steps'");
        TFM_TRY(read_layers(layers, (unsigned)i + 1, group, &count[i], err));
        n += (uint32_t)count[i];
    }
    TFM_TRY(tfm_arena_alloc(c->arena, &p, (n + 1) * sizeof(size_t), err));
    c->g->block_start = p;
    c->g->n_blocks = n;
    for (uint32_t l = 0; l < n; l++) {
        size_t i = group[l] - 1;
        if (group[l] == 0) return tfm_yaml_fail(blocks, err, TFM_FORMAT, "layer %u is missing", l);
        c->g->block_start[l] = c->g->n_steps;
        start_block(c, true);
        TFM_TRY(put_list(c, tfm_yaml_get(blocks->entry[i].value, "steps"), (int)l, seen[i]++,
                         count[i], err));
        TFM_TRY(end_block(c, blocks->entry[i].value, err));
    }
    c->g->block_start[n] = c->g->n_steps;
    return TFM_OK;
}

/* ---- the whole description ---- */

static tfm_status read_context(compiler *c, const tfm_yaml *doc, uint32_t ctx, tfm_error *err) {
    const tfm_yaml *y = tfm_yaml_get(tfm_yaml_get(doc, "parameters"), "context");
    uint64_t v;
    if (y == NULL || y->kind != TFM_YAML_SCALAR || !tfm_parse_u64(y->text, 1, UINT32_MAX, &v))
        return tfm_yaml_fail(y ? y : doc, err, TFM_FORMAT,
                             "parameters: context (the model's own, in positions) is missing");
    c->g->ctx_train = (uint32_t)v;
    c->ctx = ctx != 0 ? ctx : v < 4096 ? (uint32_t)v : 4096;
    return TFM_OK;
}

static tfm_status put_all(compiler *c, const tfm_yaml *doc, tfm_error *err) {
    tfm_graph *g = c->g;
    const tfm_yaml *embed = tfm_yaml_get(doc, "embed");
    const tfm_yaml *blocks = tfm_yaml_get(doc, "blocks");
    const tfm_yaml *head = tfm_yaml_get(doc, "head");
    if (embed == NULL || blocks == NULL || head == NULL)
        return tfm_fail(err, TFM_FORMAT, "%s: a description has 'embed', 'blocks' and 'head'",
                        c->file);
    start_block(c, false);
    TFM_TRY(put_list(c, embed, -1, 0, 0, err));
    TFM_TRY(end_block(c, embed, err));
    TFM_TRY(put_blocks(c, blocks, err));
    start_block(c, true);
    TFM_TRY(put_list(c, head, -1, 0, 0, err));
    g->logits = live_find(c, LOGITS);
    if (g->logits == TFM_NONE || g->n_steps == 0 || head->n == 0 ||
        g->step[g->n_steps - 1].out[0] != g->logits)
        return tfm_yaml_fail(head, err, TFM_FORMAT, "the last step of 'head' must write 'logits'");
    g->width = g->value[g->hidden].width;
    g->n_vocab = g->value[g->logits].width;
    return TFM_OK;
}

static bool has_tensor(const tfm_scope *s, const char *name, size_t len) {
    const compiler *c = (const compiler *)((const char *)s - offsetof(compiler, scope));
    char buf[256];
    if (len >= sizeof buf) return false;
    memcpy(buf, name, len);
    buf[len] = '\0';
    return c->tensors->find(c->tensors, buf) != NULL;
}

static tfm_status compile(compiler *c, const char *description, size_t len, uint32_t ctx,
                          tfm_error *err) {
    const tfm_yaml *doc, *version;
    void *p;
    TFM_TRY(tfm_arena_alloc(c->arena, &p, sizeof *c->g, err));
    c->g = p;
    c->g->owner = c->arena;
    c->g->hidden = c->g->logits = TFM_NONE;
    c->g->max_position = UINT32_MAX;
    TFM_TRY(tfm_arena_alloc(c->arena, &p, MAX_VALUES * sizeof(tfm_value), err));
    c->g->value = p;
    TFM_TRY(tfm_yaml_parse(&doc, c->arena, c->file, description, len, err));
    version = tfm_yaml_get(doc, "description");
    if (version == NULL || version->kind != TFM_YAML_SCALAR || strcmp(version->text, "1") != 0)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "%s: its description is not of version 1: convert it "
                        "again with this tfm-convert",
                        c->file);
    if (tfm_yaml_get(doc, "blocks") == NULL)
        return tfm_fail(err, TFM_UNSUPPORTED, "%s: has no steps to run, only a vocabulary",
                        c->file);
    TFM_TRY(read_context(c, doc, ctx, err));
    return put_all(c, doc, err);
}

/* The last word on the graph's soundness; a message about a step says where the step stands. */
static tfm_status check_graph(const compiler *c, tfm_error *err) {
    tfm_error step = {0};
    const tfm_status st = tfm_graph_check(c->g, err);
    if (st == TFM_OK) return st;
    for (size_t i = 0; i < c->g->n_steps; i++) {
        const tfm_status one = tfm_graph_check_step(c->g, i, &step);
        if (one != TFM_OK) return tfm_yaml_fail(c->where[i], err, one, "%s", step.message);
    }
    return st;
}

tfm_status tfm_graph_compile(tfm_graph **out, const char *file, const char *description, size_t len,
                             const tfm_yaml *const *origin, const tfm_tensors *tensors,
                             uint32_t ctx, tfm_error *err) {
    compiler c = {.file = file, .origin = origin, .tensors = tensors};
    c.scope.has = has_tensor;
    tfm_status st;
    *out = NULL;
    TFM_TRY(tfm_arena_new(&c.arena, err));
    st = compile(&c, description, len, ctx, err);
    if (st == TFM_OK) st = check_graph(&c, err);
    if (st != TFM_OK) {
        tfm_arena_free(c.arena);
        return st;
    }
    *out = c.g;
    return TFM_OK;
}

static const tfm_tensor *find_in_model(const tfm_tensors *t, const char *name) {
    return tfm_model_tensor(t->ctx, name);
}

tfm_status tfm_graph_new(tfm_graph **out, const tfm_model *m, uint32_t ctx, tfm_error *err) {
    tfm_tensors tensors = {find_in_model, m};
    size_t len;
    const char *text = tfm_model_description(m, &len);
    return tfm_graph_compile(out, tfm_model_path(m), text, len, NULL, &tensors, ctx, err);
}

void tfm_graph_free(tfm_graph *g) {
    if (g != NULL) tfm_arena_free(g->owner);
}
