/* graph_check.c - is a graph sound? Asked once, so that no backend needs to ask again.
 *
 * A graph comes from a description in a file, so every id, width and number in it is untrusted.
 * After this check: ids are in range, every width and weight shape fits its step, weight bytes are
 * all there, and no block reads a value that it or an earlier step of it did not write, except the
 * residual stream: that is what makes a model cuttable between any two blocks. */
#include <math.h>
#include <string.h>

#include "backend/plan_internal.h"

/* Beyond these it is no model but a lie; products of two of them stay inside 64 bits. */
enum { MAX_WIDTH = 1 << 26, MAX_HEADS = 1 << 16, MAX_EXPERTS = 4096 };
/* Angles stay inside the domain of tfm_sincos: 2^32 positions times this. */
static const float MAX_FREQUENCY = 8.0f;

typedef struct check {
    const tfm_graph *g;
    const tfm_step *s;
    tfm_error *err;
} check;

static const char *step_name(const check *c) {
    return c->s->name != NULL ? c->s->name : "?";
}

/* What is wrong with the step, with two numbers that say it. */
static tfm_status bad_numbers(const check *c, const char *what, uint64_t a, const char *other,
                              uint64_t b) {
    return tfm_fail(c->err, TFM_FORMAT, "graph: block %d, step %s: %s (%llu%s%llu)", c->s->block,
                    step_name(c), what, (unsigned long long)a, other, (unsigned long long)b);
}

static tfm_status bad(const check *c, const char *what) {
    return tfm_fail(c->err, TFM_FORMAT, "graph: block %d, step %s: %s", c->s->block, step_name(c),
                    what);
}

static uint32_t width(const check *c, int value) {
    return c->g->value[value].width;
}

static bool value_ok(const tfm_graph *g, int id) {
    return id >= 0 && (size_t)id < g->n_values;
}

static tfm_status tensor_whole(const check *c, const tfm_tensor *t) {
    uint64_t bytes;
    if (t == NULL || t->data == NULL) return bad(c, "a weight is missing");
    if (tfm_layout_bytes(t->dtype, t->layout, t->rank, t->dims, &bytes, c->err) != TFM_OK) {
        return tfm_error_prefix(c->err, TFM_FORMAT, "graph: weight of step %s", step_name(c));
    }
    return bytes <= t->bytes ? TFM_OK : bad(c, "a weight has fewer bytes than its shape needs");
}

static tfm_status weight_in(const check *c, int id) {
    if (id == TFM_NONE) return TFM_OK;
    if (id < 0 || (size_t)id >= c->g->n_weights) return bad(c, "no such weight");
    return tensor_whole(c, c->g->weight[id].tensor);
}

/* A vector of n or (other != 0) of `other` numbers in layout rows; TFM_NONE is fine. */
static tfm_status vector(const check *c, int id, uint64_t n, uint64_t other, const char *what) {
    if (id == TFM_NONE) return TFM_OK;
    const tfm_tensor *t = c->g->weight[id].tensor;
    const uint64_t count = tfm_weight_count(t);
    if (t->layout != TFM_LAYOUT_ROWS || (count != n && (other == 0 || count != other))) {
        return bad(c, what);
    }
    return TFM_OK;
}

/* Exactly so many inputs and outputs, all of them values. */
static tfm_status arity(const check *c, int n_in, int n_out) {
    const tfm_step *s = c->s;
    if ((n_in >= 0 && s->n_in != n_in) || (n_out >= 0 && s->n_out != n_out) || s->n_in < 0 ||
        s->n_out < 1 || s->n_in > TFM_STEP_MAX_IN || s->n_out > TFM_STEP_MAX_OUT) {
        return bad(c, "wrong number of inputs or outputs");
    }
    for (int i = 0; i < s->n_in; i++) {
        if (!value_ok(c->g, s->in[i])) return bad(c, "no such input value");
    }
    for (int i = 0; i < s->n_out; i++) {
        if (!value_ok(c->g, s->out[i])) return bad(c, "no such output value");
    }
    return TFM_OK;
}

/* n_in inputs and one output, all of the same width. */
static tfm_status elementwise(const check *c, int n_in) {
    TFM_TRY(arity(c, n_in, 1));
    for (int i = 0; i < n_in; i++) {
        if (width(c, c->s->in[i]) != width(c, c->s->out[0])) return bad(c, "widths differ");
    }
    return TFM_OK;
}

/* a [rows, width] times b of the same width, or of one column. */
static tfm_status check_multiply(const check *c) {
    TFM_TRY(arity(c, 2, 1));
    const uint32_t w = width(c, c->s->in[0]), b = width(c, c->s->in[1]);
    if (w != width(c, c->s->out[0]) || (b != w && b != 1)) return bad(c, "widths differ");
    return b != w && c->s->in[1] == c->s->out[0] ? bad(c, "cannot work in place") : TFM_OK;
}

static tfm_status check_gather(const check *c) {
    TFM_TRY(arity(c, 0, 1));
    if (c->s->weight == TFM_NONE) return bad(c, "needs a table");
    const tfm_tensor *t = c->g->weight[c->s->weight].tensor;
    if (t->rank != 2 || t->dims[1] != width(c, c->s->out[0])) {
        return bad(c, "the table's rows are not as wide as the value");
    }
    const tfm_index index = c->s->u.gather.index;
    if (index != TFM_INDEX_TOKEN && index != TFM_INDEX_POSITION && index != TFM_INDEX_FIXED) {
        return bad(c, "index kind");
    }
    return index == TFM_INDEX_FIXED && c->s->u.gather.offset >= t->dims[0]
               ? bad(c, "the row is not inside the table")
               : TFM_OK;
}

static tfm_status check_norm(const check *c) {
    TFM_TRY(elementwise(c, 1));
    const uint32_t w = width(c, c->s->in[0]), groups = c->s->u.norm.groups;
    if (groups < 1 || w % groups != 0) {
        return bad_numbers(c, "groups do not divide the width", groups, " of ", w);
    }
    if (!(c->s->u.norm.eps >= 0.0f && c->s->u.norm.eps <= 1.0f)) {
        return bad(c, "eps must be from 0 to 1");
    }
    if (c->s->u.norm.kind != TFM_NORM_RMS && c->s->u.norm.kind != TFM_NORM_LAYER) {
        return bad(c, "norm kind");
    }
    TFM_TRY(vector(c, c->s->weight, w, w / groups, "the weight does not fit the width"));
    return vector(c, c->s->bias, w, w / groups, "the bias does not fit the width");
}

static tfm_status check_linear(const check *c) {
    TFM_TRY(arity(c, 1, 1));
    if (c->s->weight == TFM_NONE) return bad(c, "needs a weight");
    if (c->s->in[0] == c->s->out[0]) return bad(c, "cannot work in place");
    const tfm_tensor *t = c->g->weight[c->s->weight].tensor;
    if (t->rank != 2 || t->dims[0] != width(c, c->s->out[0]) ||
        t->dims[1] != width(c, c->s->in[0])) {
        return bad_numbers(c, "the weight is not [width out, width in]", width(c, c->s->out[0]),
                           ", ", width(c, c->s->in[0]));
    }
    return vector(c, c->s->bias, t->dims[0], 0, "the bias does not fit the output");
}

/* One wide value, n narrow ones that make it up; none twice. */
static tfm_status check_parts(const check *c, int wide, const int *part, int n) {
    const uint64_t groups = c->s->u.parts.groups > 1 ? c->s->u.parts.groups : 1;
    uint64_t sum = 0;
    if (groups > MAX_HEADS) return bad(c, "too many groups");
    for (int i = 0; i < n; i++) {
        const uint64_t w = width(c, part[i]), size = groups > 1 ? c->s->u.parts.size[i] : w;
        if (w != groups * size && (c->s->op == TFM_OP_SPLIT || w != size)) {
            return bad(c, "a part is not as wide as its groups");
        }
        sum += groups * size;
        if (part[i] == wide) return bad(c, "cannot work in place");
        for (int j = 0; j < i; j++) {
            if (c->s->op == TFM_OP_SPLIT && part[i] == part[j]) return bad(c, "a part twice");
        }
    }
    return n > 0 && sum == width(c, wide) ? TFM_OK : bad(c, "the parts do not make up the whole");
}

static tfm_status check_rope(const check *c) {
    TFM_TRY(elementwise(c, 1));
    const uint32_t heads = c->s->u.rope.heads, dim = c->s->u.rope.head_dim;
    const uint32_t rot = c->s->u.rope.rot, first = c->s->u.rope.first;
    if (heads < 1 || heads > MAX_HEADS || (uint64_t)heads * dim != width(c, c->s->in[0])) {
        return bad_numbers(c, "heads do not fit the width", (uint64_t)heads * dim, " of ",
                           width(c, c->s->in[0]));
    }
    if (rot < 2 || rot > dim || rot % 2 != 0 || first > dim - rot) {
        return bad(c, "turned part of the head");
    }
    if (c->s->u.rope.mode != TFM_ROPE_NEOX && c->s->u.rope.mode != TFM_ROPE_INTERLEAVED) {
        return bad(c, "rope mode");
    }
    if (c->s->u.rope.inv_freq == NULL) return bad(c, "needs frequencies");
    for (uint32_t i = 0; i < rot / 2; i++) {
        if (!(fabsf(c->s->u.rope.inv_freq[i]) <= MAX_FREQUENCY)) return bad(c, "frequency");
    }
    return isfinite(c->s->u.rope.magnitude) ? TFM_OK : bad(c, "magnitude");
}

static tfm_status check_attend(const check *c) {
    TFM_TRY(arity(c, 3, 1));
    const tfm_step *s = c->s;
    const uint64_t heads = s->u.attend.heads, kv_heads = s->u.attend.kv_heads;
    const uint64_t k_dim = s->u.attend.k_dim, v_dim = s->u.attend.v_dim;
    if (kv_heads < 1 || heads < 1 || heads > MAX_HEADS || heads % kv_heads != 0 || k_dim < 1 ||
        v_dim < 1) {
        return bad(c, "heads");
    }
    if (heads * k_dim != width(c, s->in[0]) || kv_heads * k_dim != width(c, s->in[1]) ||
        kv_heads * v_dim != width(c, s->in[2]) || heads * v_dim != width(c, s->out[0])) {
        return bad_numbers(c, "heads do not fit the widths of q, k and v: k has",
                           width(c, s->in[1]), ", wanted ", kv_heads * k_dim);
    }
    if (s->u.attend.kv_layer < 0 || (uint32_t)s->u.attend.kv_layer >= c->g->n_kv) {
        return bad(c, "no such cache layer");
    }
    const tfm_kv_shape *kv = &c->g->kv[s->u.attend.kv_layer];
    if (kv->kv_heads != kv_heads || kv->k_dim != k_dim || kv->v_dim != v_dim) {
        return bad(c, "the cache layer has another shape");
    }
    if (!isfinite(s->u.attend.scale)) return bad(c, "scale");
    if (!(s->u.attend.softcap >= 0.0f && isfinite(s->u.attend.softcap))) return bad(c, "softcap");
    if (s->u.attend.keep_pattern > c->g->n_kept) return bad(c, "no such kept pattern");
    for (uint64_t h = 0; s->u.attend.alibi != NULL && h < heads; h++) {
        if (!isfinite(s->u.attend.alibi[h])) return bad(c, "alibi slope");
    }
    return vector(c, s->extra, heads, 0, "one attention sink a head");
}

static tfm_status check_edit(const check *c) {
    const tfm_edit *e = c->s->u.edit;
    TFM_TRY(elementwise(c, 1));
    if (c->s->in[0] != c->s->out[0]) return bad(c, "works in place only");
    if (e == NULL || (uint64_t)e->first + e->width > width(c, c->s->in[0])) {
        return bad(c, "edits columns that the value has not");
    }
    const bool needs_data = e->kind == TFM_EDIT_ADD;
    return needs_data && e->data == NULL ? bad(c, "nothing to add") : TFM_OK;
}

static tfm_status check_pattern(const check *c) {
    const tfm_step *s = c->s;
    const tfm_edit *e = s->u.pattern.edit;
    const uint64_t heads = s->u.pattern.heads, kv_heads = s->u.pattern.kv_heads;
    TFM_TRY(elementwise(c, 1));
    if (s->in[0] != s->out[0]) return bad(c, "works in place only");
    if (kv_heads < 1 || heads < 1 || heads > MAX_HEADS || heads % kv_heads != 0 ||
        heads * s->u.pattern.v_dim != width(c, s->in[0])) {
        return bad(c, "heads do not fit the width");
    }
    if (s->u.pattern.kv_layer < 0 || (uint32_t)s->u.pattern.kv_layer >= c->g->n_kv) {
        return bad(c, "no such cache layer");
    }
    const tfm_kv_shape *kv = &c->g->kv[s->u.pattern.kv_layer];
    if (kv->kv_heads != kv_heads || kv->v_dim != s->u.pattern.v_dim) {
        return bad(c, "the cache layer has another shape");
    }
    if (s->u.pattern.keep >= c->g->n_kept) return bad(c, "no such kept pattern");
    if (e == NULL || e->kind == TFM_EDIT_ADD || e->data != NULL) {
        return bad(c, "a pattern is set to 0 or to given rows");
    }
    for (size_t i = 0; e->kind == TFM_EDIT_ROWS && i < e->n_rows; i++) {
        if (e->row[i].width != heads * ((uint64_t)e->row[i].position + 1)) {
            return bad(c, "a row is not [heads, position + 1]");
        }
    }
    return TFM_OK;
}

/* of: experts */
static tfm_status check_route_groups(const check *c, uint32_t of) {
    const tfm_step *s = c->s;
    const uint32_t groups = s->u.route.groups, each = groups > 1 ? of / groups : 0;
    if (groups <= 1) return TFM_OK;
    if (groups > of || of % groups != 0) return bad(c, "groups do not divide the experts");
    if (s->u.route.groups_used < 1 || s->u.route.groups_used > groups ||
        s->u.route.used > s->u.route.groups_used * each) {
        return bad(c, "the groups in use have too few experts");
    }
    if (s->u.route.group_sum < 1 || s->u.route.group_sum > each) return bad(c, "sum of a group");
    if (s->u.route.softmax == TFM_SOFTMAX_BEFORE) return TFM_OK;
    return bad(c, "a softmax after the choice knows no groups");
}

static tfm_status check_remaining(const check *c) {
    const bool remaining = c->s->u.route.softmax == TFM_SOFTMAX_REMAINING;
    const float near = c->s->u.route.near;
    if (!(near >= 0.0f) || !isfinite(near) || (near > 0.0f && !remaining)) return bad(c, "near");
    if (!remaining || !c->s->u.route.renormalise) return TFM_OK;
    return bad(c, "each slot has a softmax of its own, their sum is not 1");
}

static tfm_status check_route(const check *c) {
    TFM_TRY(arity(c, 1, 2));
    const tfm_step *s = c->s;
    if (s->weight == TFM_NONE) return bad(c, "needs a weight");
    const tfm_tensor *t = c->g->weight[s->weight].tensor;
    if (t->rank != 2 || t->layout != TFM_LAYOUT_ROWS || t->dims[1] != width(c, s->in[0])) {
        return bad(c, "the weight is not [experts, width in], in rows");
    }
    const uint32_t used = s->u.route.used;
    if (t->dims[0] > MAX_EXPERTS || used < 1 || used > t->dims[0]) return bad(c, "experts");
    if (width(c, s->out[0]) != used || width(c, s->out[1]) != used) return bad(c, "widths differ");
    if (s->out[0] == s->out[1] || s->in[0] == s->out[0] || s->in[0] == s->out[1]) {
        return bad(c, "cannot work in place");
    }
    if (!isfinite(s->u.route.scale)) return bad(c, "factor");
    TFM_TRY(vector(c, s->extra, t->dims[0], 0, "one number for the choice an expert"));
    TFM_TRY(check_route_groups(c, t->dims[0]));
    if (s->u.route.softmax < TFM_SOFTMAX_BEFORE || s->u.route.softmax > TFM_SOFTMAX_REMAINING) {
        return bad(c, "unknown softmax");
    }
    if (s->u.route.softmax != TFM_SOFTMAX_BEFORE && (s->u.route.sigmoid || s->extra != TFM_NONE)) {
        return bad(c, "a softmax after the choice is by logits alone");
    }
    TFM_TRY(check_remaining(c));
    return vector(c, s->bias, t->dims[0], 0, "the bias does not fit the experts");
}

/* A tensor [experts, out, in] in rows. */
static tfm_status experts(const check *c, int id, uint32_t n, uint32_t out, uint32_t in) {
    const tfm_tensor *t = c->g->weight[id].tensor;
    if (t->rank == 3 && t->layout == TFM_LAYOUT_ROWS && t->dims[0] == n && t->dims[1] == out &&
        t->dims[2] == in) {
        return TFM_OK;
    }
    return bad(c, "the weights are not [experts, out, in], in rows");
}

/* Biases of the experts: [experts, out] each. */
static tfm_status expert_biases(const check *c, uint32_t n, uint32_t ffn) {
    for (int i = 0; i < 3; i++) {
        const uint32_t id = c->s->u.experts.bias[i];
        const uint64_t each = i == 2 ? width(c, c->s->out[0]) : ffn;
        if (id == 0) continue;
        if (id > c->g->n_weights) return bad(c, "no such weight");
        TFM_TRY(weight_in(c, (int)id - 1));
        TFM_TRY(vector(c, (int)id - 1, n * each, 0, "the bias does not fit the experts"));
        if (i == 0 && c->s->weight == TFM_NONE) return bad(c, "a bias of no gate");
    }
    return TFM_OK;
}

static tfm_status check_experts(const check *c) {
    TFM_TRY(arity(c, 3, 1));
    const tfm_step *s = c->s;
    if (s->bias == TFM_NONE) return bad(c, "needs up");
    const tfm_tensor *up = c->g->weight[s->bias].tensor;
    const uint32_t n = up->dims[0], ffn = up->rank == 3 ? up->dims[1] : 0;
    if (n < 1 || n > MAX_EXPERTS || ffn < 1 || ffn > MAX_WIDTH) return bad(c, "experts");
    TFM_TRY(experts(c, s->bias, n, ffn, width(c, s->in[0])));
    if (s->weight != TFM_NONE) TFM_TRY(experts(c, s->weight, n, ffn, width(c, s->in[0])));
    if (s->extra != TFM_NONE) TFM_TRY(experts(c, s->extra, n, width(c, s->out[0]), ffn));
    if (width(c, s->in[1]) != width(c, s->in[2])) return bad(c, "widths differ");
    if (width(c, s->in[1]) > MAX_EXPERTS) return bad(c, "experts");
    for (int i = 0; i < 3; i++) {
        if (s->in[i] == s->out[0]) return bad(c, "cannot work in place");
    }
    if (s->extra == TFM_NONE) {
        const bool alone = s->weight == TFM_NONE && s->u.experts.bias[2] == 0 &&
                           s->u.experts.limit == 0.0f && s->u.experts.shift == 0.0f;
        if (!alone || ffn != width(c, s->out[0])) return bad(c, "without down there is up alone");
    } else if (s->u.experts.kind < TFM_ACT_SILU || s->u.experts.kind > TFM_ACT_ELU) {
        return bad(c, "unknown activation");
    }
    if (!(s->u.experts.limit >= 0.0f) || !isfinite(s->u.experts.limit) ||
        !isfinite(s->u.experts.shift)) {
        return bad(c, "limits");
    }
    return expert_biases(c, n, ffn);
}

static tfm_status check_step(const check *c) {
    const tfm_step *s = c->s;
    TFM_TRY(weight_in(c, s->weight));
    TFM_TRY(weight_in(c, s->bias));
    TFM_TRY(weight_in(c, s->extra));
    switch (s->op) {
    case TFM_OP_GATHER: return check_gather(c);
    case TFM_OP_NORM: return check_norm(c);
    case TFM_OP_LINEAR: return check_linear(c);
    case TFM_OP_SPLIT: TFM_TRY(arity(c, 1, -1)); return check_parts(c, s->in[0], s->out, s->n_out);
    case TFM_OP_CONCAT: TFM_TRY(arity(c, -1, 1)); return check_parts(c, s->out[0], s->in, s->n_in);
    case TFM_OP_ROPE: return check_rope(c);
    case TFM_OP_MOE_ROUTE: return check_route(c);
    case TFM_OP_MOE_FFN: return check_experts(c);
    case TFM_OP_ATTEND: return check_attend(c);
    case TFM_OP_ACTIVATION:
        if (s->u.activation < TFM_ACT_SILU || s->u.activation > TFM_ACT_ELU) {
            return bad(c, "unknown activation");
        }
        return elementwise(c, 1);
    case TFM_OP_MULTIPLY: return check_multiply(c);
    case TFM_OP_ADD: return elementwise(c, 2);
    case TFM_OP_SCALE:
        if (!isfinite(s->u.scale.by) || !isfinite(s->u.scale.growth)) return bad(c, "factor");
        if (s->u.scale.growth != 0.0f && s->u.scale.every < 1) return bad(c, "growth");
        return elementwise(c, 1);
    case TFM_OP_CLIP:
        if (!(s->u.clip.lo <= s->u.clip.hi)) return bad(c, "limits");
        return elementwise(c, 1);
    case TFM_OP_SOFTCAP:
        if (!(s->u.softcap > 0.0f && isfinite(s->u.softcap))) return bad(c, "cap");
        return elementwise(c, 1);
    case TFM_OP_EDIT: return check_edit(c);
    case TFM_OP_PATTERN: return check_pattern(c);
    case TFM_OP_KEEP:
        if (s->n_in != 1 || s->n_out != 0 || !value_ok(c->g, s->in[0])) return bad(c, "one input");
        return s->u.keep < c->g->n_kept ? TFM_OK : bad(c, "no such kept value");
    }
    return bad(c, "unknown kind");
}

/* Steps [from, to) read only hidden and what an earlier one of them wrote. */
static tfm_status check_segment(const tfm_graph *g, size_t from, size_t to, unsigned char *written,
                                tfm_error *err) {
    memset(written, 0, g->n_values);
    for (size_t i = from; i < to; i++) {
        const check c = {g, &g->step[i], err};
        for (int j = 0; j < c.s->n_in; j++) {
            const int v = c.s->in[j];
            if (v != g->hidden && !written[v]) {
                return bad(&c, "reads a value that its block has not written");
            }
        }
        for (int j = 0; j < c.s->n_out; j++) written[c.s->out[j]] = 1;
    }
    return TFM_OK;
}

static tfm_status check_frame(const tfm_graph *g, tfm_error *err) {
    if (g->n_values > INT32_MAX || g->n_weights > INT32_MAX || g->block_start == NULL) {
        return tfm_fail(err, TFM_FORMAT, "graph: too many values or no blocks");
    }
    for (size_t i = 0; i < g->n_values; i++) {
        if (g->value[i].width < 1 || g->value[i].width > MAX_WIDTH) {
            return tfm_fail(err, TFM_LIMIT, "graph: a value of width %u", g->value[i].width);
        }
    }
    for (uint32_t b = 0; b <= g->n_blocks; b++) {
        const size_t before = b > 0 ? g->block_start[b - 1] : 0;
        if (g->block_start[b] < before || g->block_start[b] > g->n_steps) {
            return tfm_fail(err, TFM_FORMAT, "graph: block %u starts at step %zu of %zu", b,
                            g->block_start[b], g->n_steps);
        }
    }
    if (!value_ok(g, g->hidden) || g->value[g->hidden].width != g->width) {
        return tfm_fail(err, TFM_FORMAT, "graph: the residual stream is not %u wide", g->width);
    }
    if (!value_ok(g, g->logits) || g->value[g->logits].width != g->n_vocab || g->n_steps == 0) {
        return tfm_fail(err, TFM_FORMAT, "graph: the logits are not %u wide", g->n_vocab);
    }
    return TFM_OK;
}

tfm_status tfm_graph_check_step(const tfm_graph *g, size_t i, tfm_error *err) {
    const check c = {g, &g->step[i], err};
    return check_step(&c);
}

tfm_status tfm_graph_check(const tfm_graph *g, tfm_error *err) {
    void *written;
    TFM_TRY(check_frame(g, err));
    for (size_t i = 0; i < g->n_steps; i++) TFM_TRY(tfm_graph_check_step(g, i, err));
    const tfm_step *last = &g->step[g->n_steps - 1];
    while (last > g->step && last->op == TFM_OP_KEEP) last--;
    if (last->out[0] != g->logits) {
        return tfm_fail(err, TFM_FORMAT, "graph: the last step does not write the logits");
    }
    TFM_TRY(tfm_alloc(&written, g->n_values, 1, err));
    tfm_status st = check_segment(g, 0, g->block_start[0], written, err);
    for (uint32_t b = 0; st == TFM_OK && b < g->n_blocks; b++) {
        st = check_segment(g, g->block_start[b], g->block_start[b + 1], written, err);
    }
    if (st == TFM_OK) {
        st = check_segment(g, g->block_start[g->n_blocks], g->n_steps, written, err);
    }
    tfm_free(written);
    return st;
}
