/* steps.c - the table of step kinds and their attributes, and the reader of one step.
 *
 * A new kind of step is an enum value in backend_internal.h, a line here, and its widths in
 * graph.c; reading, describing and the messages follow from the table.
 */
#include "arch/steps_internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const index_words[] = {"token", "position", "fixed", NULL};
static const char *const norm_words[] = {"rms", "layer", NULL};
static const char *const mode_words[] = {"neox", "interleaved", NULL};
static const char *const scaling_words[] = {"none", "linear", "dynamic", "yarn", "longrope", NULL};
static const char *const score_words[] = {"softmax", "sigmoid", NULL};
static const char *const softmax_words[] = {"before", "after", "remaining", NULL};
static const char *const weigh_words[] = {"output", "input", NULL};
static const char *const activation_words[] = {"silu",  "gelu", "gelu_tanh", "gelu_quick", "relu",
                                               "relu2", "tanh", "sigmoid",   "elu",        NULL};

#define WIDTH_MAX 16777216.0
#define HEADS_MAX 65536.0
#define FINITE 1e30

#define NUM(key, slot, fallback, lo, hi)                                                           \
    { key, TFM_ATTR_NUM, slot, false, fallback, lo, hi, NULL, NULL }
#define NEED_NUM(key, slot, lo, hi)                                                                \
    { key, TFM_ATTR_NUM, slot, true, NAN, lo, hi, NULL, NULL }
#define INT(key, slot, fallback, lo, hi)                                                           \
    { key, TFM_ATTR_INT, slot, false, fallback, lo, hi, NULL, NULL }
#define NEED_INT(key, slot, lo, hi)                                                                \
    { key, TFM_ATTR_INT, slot, true, NAN, lo, hi, NULL, NULL }
#define WORD(key, slot, fallback, words)                                                           \
    { key, TFM_ATTR_WORD, slot, false, fallback, 0, 0, words, NULL }
#define NEED_WORD(key, slot, words)                                                                \
    { key, TFM_ATTR_WORD, slot, true, NAN, 0, 0, words, NULL }
#define FLAG(key, slot)                                                                            \
    { key, TFM_ATTR_FLAG, slot, false, 0, 0, 1, NULL, NULL }
#define TENSOR(key, slot, suffix)                                                                  \
    { key, TFM_ATTR_TENSOR, slot, false, 0, 0, 0, NULL, suffix }
#define NEED_TENSOR(key, slot, suffix)                                                             \
    { key, TFM_ATTR_TENSOR, slot, true, 0, 0, 0, NULL, suffix }
#define ATTR_END                                                                                   \
    { NULL, TFM_ATTR_NUM, 0, false, 0, 0, 0, NULL, NULL }

static const tfm_attr gather_attrs[] = {WORD("index", TFM_N_INDEX, 0, index_words),
                                        INT("offset", TFM_N_OFFSET, 0, 0, 65536),
                                        NEED_TENSOR("weight", TFM_T_WEIGHT, ".weight"), ATTR_END};
static const tfm_attr norm_attrs[] = {
    NEED_WORD("kind", TFM_N_KIND, norm_words),    NEED_NUM("eps", TFM_N_EPS, 0, 1),
    INT("groups", TFM_N_GROUPS, 1, 1, HEADS_MAX), TENSOR("weight", TFM_T_WEIGHT, ".weight"),
    TENSOR("bias", TFM_T_BIAS, ".bias"),          ATTR_END};
static const tfm_attr linear_attrs[] = {NEED_TENSOR("weight", TFM_T_WEIGHT, ".weight"),
                                        TENSOR("bias", TFM_T_BIAS, ".bias"), ATTR_END};
static const tfm_attr split_attrs[] = {
    {"sizes", TFM_ATTR_SIZES, TFM_N_SIZE0, true, 0, 1, WIDTH_MAX, NULL, NULL},
    INT("groups", TFM_N_PARTS, 1, 1, HEADS_MAX),
    ATTR_END};
static const tfm_attr concat_attrs[] = {
    {"sizes", TFM_ATTR_SIZES, TFM_N_SIZE0, false, 0, 1, WIDTH_MAX, NULL, NULL},
    INT("groups", TFM_N_PARTS, 1, 1, HEADS_MAX),
    ATTR_END};
static const tfm_attr rope_attrs[] = {
    NEED_WORD("mode", TFM_N_MODE, mode_words),
    NEED_INT("heads", TFM_N_ROPE_HEADS, 1, HEADS_MAX),
    NEED_INT("head_dim", TFM_N_ROPE_DIM, 2, 65536),
    INT("first", TFM_N_FIRST, 0, 0, 65536),
    INT("rot", TFM_N_ROT, 0, 0, 65536),
    NEED_NUM("base", TFM_N_BASE, 1.0001, FINITE),
    WORD("scaling", TFM_N_SCALING, TFM_SCALING_NONE, scaling_words),
    NUM("factor", TFM_N_FACTOR, 1, 1e-3, 1e6),
    INT("original", TFM_N_ORIGINAL, 0, 0, 4294967295.0),
    NUM("attn_factor", TFM_N_ATTN_FACTOR, 0, 0, 1e3),
    NUM("beta_fast", TFM_N_BETA_FAST, 32, 1e-3, 1e6),
    NUM("beta_slow", TFM_N_BETA_SLOW, 1, 1e-3, 1e6),
    INT("truncate", TFM_N_TRUNCATE, 1, 0, 1),
    TENSOR("factors", TFM_T_FACTORS, NULL),
    TENSOR("factors_long", TFM_T_FACTORS_LONG, NULL),
    TENSOR("factors_short", TFM_T_FACTORS_SHORT, NULL),
    ATTR_END};
static const tfm_attr attend_attrs[] = {NEED_INT("heads", TFM_N_HEADS, 1, HEADS_MAX),
                                        NEED_INT("kv_heads", TFM_N_KV_HEADS, 1, HEADS_MAX),
                                        NEED_INT("k_dim", TFM_N_K_DIM, 1, 65536),
                                        NEED_INT("v_dim", TFM_N_V_DIM, 1, 65536),
                                        NEED_NUM("scale", TFM_N_SCALE, -1e6, 1e6),
                                        NUM("softcap", TFM_N_SOFTCAP, 0, 0, 1e6),
                                        INT("window", TFM_N_WINDOW, 0, 0, 4294967295.0),
                                        INT("chunk", TFM_N_CHUNK, 0, 0, 4294967295.0),
                                        NUM("alibi", TFM_N_ALIBI, 0, 0, 1e4),
                                        FLAG("alibi_before_scale", TFM_N_ALIBI_BEFORE),
                                        TENSOR("sinks", TFM_T_SINKS, NULL),
                                        ATTR_END};
static const tfm_attr activation_attrs[] = {NEED_WORD("kind", TFM_N_KIND, activation_words),
                                            ATTR_END};
static const tfm_attr scale_attrs[] = {
    NEED_NUM("by", TFM_N_BY, -FINITE, FINITE), NUM("growth", TFM_N_GROWTH, 0, -1e6, 1e6),
    INT("every", TFM_N_EVERY, 1, 1, 4294967295.0),
    INT("first", TFM_N_GROWTH_FIRST, 0, 0, 4294967295.0), ATTR_END};
static const tfm_attr softcap_attrs[] = {NEED_NUM("cap", TFM_N_BY, 1e-6, 1e6), ATTR_END};
static const tfm_attr clip_attrs[] = {NEED_NUM("lo", TFM_N_LO, -FINITE, FINITE),
                                      NEED_NUM("hi", TFM_N_HI, -FINITE, FINITE), ATTR_END};
static const tfm_attr route_attrs[] = {NEED_INT("used", TFM_N_USED, 1, 4096),
                                       WORD("softmax", TFM_N_SOFTMAX, 0, softmax_words),
                                       FLAG("renormalise", TFM_N_RENORMALISE),
                                       NUM("scale", TFM_N_ROUTE_SCALE, 1, -1e6, 1e6),
                                       WORD("score", TFM_N_SCORE, 0, score_words),
                                       TENSOR("choose", TFM_T_CHOOSE, NULL),
                                       INT("groups", TFM_N_ROUTE_GROUPS, 1, 1, 4096),
                                       INT("groups_used", TFM_N_GROUPS_USED, 1, 1, 4096),
                                       INT("group_sum", TFM_N_GROUP_SUM, 1, 1, 4096),
                                       NUM("near", TFM_N_NEAR, 0, 0, 1e6),
                                       NEED_TENSOR("weight", TFM_T_WEIGHT, ".weight"),
                                       TENSOR("bias", TFM_T_BIAS, ".bias"),
                                       ATTR_END};
static const tfm_attr experts_attrs[] = {WORD("kind", TFM_N_KIND, -1, activation_words),
                                         TENSOR("gate", TFM_T_GATE, NULL),
                                         NEED_TENSOR("up", TFM_T_UP, NULL),
                                         TENSOR("down", TFM_T_DOWN, NULL),
                                         TENSOR("gate_bias", TFM_T_GATE_BIAS, NULL),
                                         TENSOR("up_bias", TFM_T_UP_BIAS, NULL),
                                         TENSOR("down_bias", TFM_T_DOWN_BIAS, NULL),
                                         NUM("limit", TFM_N_LIMIT, 0, 0, 1e6),
                                         NUM("shift", TFM_N_SHIFT, 0, -1e6, 1e6),
                                         WORD("weigh", TFM_N_WEIGH, 0, weigh_words),
                                         ATTR_END};
static const tfm_attr no_attrs[] = {ATTR_END};

const tfm_op_info tfm_op_table[TFM_OP_COUNT] = {
    [TFM_OP_GATHER] = {"gather", 0, 0, 1, 1, gather_attrs},
    [TFM_OP_NORM] = {"norm", 1, 1, 1, 1, norm_attrs},
    [TFM_OP_LINEAR] = {"linear", 1, 1, 1, 1, linear_attrs},
    [TFM_OP_SPLIT] = {"split", 1, 1, 1, TFM_STEP_MAX_OUT, split_attrs},
    [TFM_OP_CONCAT] = {"concat", 1, TFM_STEP_MAX_IN, 1, 1, concat_attrs},
    [TFM_OP_ROPE] = {"rope", 1, 1, 1, 1, rope_attrs},
    [TFM_OP_ATTEND] = {"attend", 3, 3, 1, 1, attend_attrs},
    [TFM_OP_ACTIVATION] = {"activation", 1, 1, 1, 1, activation_attrs},
    [TFM_OP_MULTIPLY] = {"multiply", 2, 2, 1, 1, no_attrs},
    [TFM_OP_ADD] = {"add", 2, 2, 1, 1, no_attrs},
    [TFM_OP_SCALE] = {"scale", 1, 1, 1, 1, scale_attrs},
    [TFM_OP_CLIP] = {"clip", 1, 1, 1, 1, clip_attrs},
    [TFM_OP_SOFTCAP] = {"softcap", 1, 1, 1, 1, softcap_attrs},
    [TFM_OP_MOE_ROUTE] = {"moe-route", 1, 1, 2, 2, route_attrs},
    [TFM_OP_MOE_FFN] = {"moe-ffn", 3, 3, 1, 1, experts_attrs},
};

tfm_op tfm_op_parse(const char *name) {
    int op = 0;
    while (op < TFM_OP_COUNT && strcmp(tfm_op_table[op].name, name) != 0) op++;
    return (tfm_op)op;
}

tfm_status tfm_component_name(tfm_arena *a, const char **out, const char *name, char letter, int n,
                              tfm_error *err) {
    char buf[256];
    size_t len = 0, size = strlen(name);
    for (size_t i = 0; i < size && len + 12 < sizeof buf; i++) {
        bool alone = name[i] == letter && (i == 0 || name[i - 1] == '.') &&
                     (name[i + 1] == '.' || name[i + 1] == '\0');
        if (alone && n >= 0)
            len += (size_t)snprintf(buf + len, 12, "%d", n);
        else
            buf[len++] = name[i];
    }
    if (size > 200) return tfm_fail(err, TFM_LIMIT, "tensor name '%.40s...' is too long", name);
    return tfm_arena_strndup(a, out, buf, len, err);
}

tfm_status tfm_layer_name(tfm_arena *a, const char **out, const char *name, int n, tfm_error *err) {
    return tfm_component_name(a, out, name, 'N', n, err);
}

/* ---- reading ---- */

/* Names are taps and appear on command lines: letters, digits, '_', '.', '-'. */
static tfm_status check_name(const tfm_yaml *y, const char *what, tfm_error *err) {
    if (y->kind != TFM_YAML_SCALAR || y->len == 0 || y->len > 63)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "%s must be one name of 1 to 63 characters", what);
    for (const char *p = y->text; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              *p == '_' || *p == '.' || *p == '-'))
            return tfm_yaml_fail(y, err, TFM_FORMAT, "%s '%s' may hold letters, digits, _ . - only",
                                 what, y->text);
    return TFM_OK;
}

static tfm_status read_values(const tfm_yaml *step, const char *key, int lo, int hi,
                              const char **name, int *n, tfm_error *err) {
    const tfm_yaml *y = tfm_yaml_get(step, key);
    size_t count = y == NULL ? 0 : y->kind == TFM_YAML_LIST ? y->n : 1;
    if (count < (size_t)lo || count > (size_t)hi)
        return tfm_yaml_fail(step, err, TFM_FORMAT, "a %s step has %d to %d values under '%s'",
                             step->entry[0].key, lo, hi, key);
    for (size_t i = 0; i < count; i++) {
        const tfm_yaml *v = y->kind == TFM_YAML_LIST ? y->entry[i].value : y;
        TFM_TRY(check_name(v, key, err));
        name[i] = v->text;
    }
    *n = (int)count;
    return TFM_OK;
}

static tfm_status eval(const tfm_yaml *y, const tfm_step_env *env, tfm_val *out, tfm_error *err) {
    if (y->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "expected a number or an expression");
    return tfm_expr_eval(y, y->text, env->scope, out, err);
}

/* One number, or with a list one per layer. none leaves the fallback. */
static tfm_status read_number(const tfm_attr *at, const tfm_yaml *y, const tfm_step_env *env,
                              double *out, tfm_error *err) {
    tfm_val v;
    if (y->kind == TFM_YAML_LIST) {
        if (env->n_at == 0 || y->n != env->n_at)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' has %zu numbers for %zu layers", at->key,
                                 y->n, env->n_at);
        y = y->entry[env->at].value;
    }
    TFM_TRY(eval(y, env, &v, err));
    if (v.kind == TFM_VAL_NONE) {
        if (at->required)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' is needed: '%s' is not set", at->key,
                                 y->text);
        return TFM_OK;
    }
    if (v.kind != TFM_VAL_NUM)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' must be a number", at->key);
    if (!(v.num >= at->lo && v.num <= at->hi))
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' is %.9g; it must be from %.9g to %.9g",
                             at->key, v.num, at->lo, at->hi);
    if (at->kind != TFM_ATTR_NUM && v.num != floor(v.num))
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' is %.9g; it must be a whole number", at->key,
                             v.num);
    *out = v.num;
    return TFM_OK;
}

static tfm_status read_word(const tfm_attr *at, const tfm_yaml *y, const tfm_step_env *env,
                            double *out, tfm_error *err) {
    tfm_val v = {0};
    char list[200] = "";
    if (y->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' must be one word", at->key);
    if (y->text[0] == '=') {
        TFM_TRY(tfm_expr_eval(y, y->text + 1, env->scope, &v, err));
        if (v.kind == TFM_VAL_NONE && !at->required) return TFM_OK;
    } else {
        v = (tfm_val){.kind = TFM_VAL_STR, .str = y->text, .len = y->len};
    }
    for (int i = 0; at->words[i] != NULL; i++) {
        size_t used = strlen(list);
        if (v.kind == TFM_VAL_STR && strlen(at->words[i]) == v.len &&
            memcmp(at->words[i], v.str, v.len) == 0) {
            *out = i;
            return TFM_OK;
        }
        snprintf(list + used, sizeof list - used, " %s", at->words[i]);
    }
    return tfm_yaml_fail(y, err, TFM_UNSUPPORTED, "'%s' is '%.*s'; supported:%s", at->key,
                         v.kind == TFM_VAL_STR ? (int)(v.len > 60 ? 60 : v.len) : 1,
                         v.kind == TFM_VAL_STR ? v.str : "?", list);
}

static tfm_status read_sizes(const tfm_attr *at, const tfm_yaml *y, const tfm_step_env *env,
                             double *out, tfm_error *err) {
    tfm_step_env plain = *env;
    plain.n_at = 0;
    if (y->kind != TFM_YAML_LIST || y->n == 0 || y->n > TFM_STEP_MAX_OUT)
        return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' is a list of 1 to %d widths", at->key,
                             TFM_STEP_MAX_OUT);
    for (size_t i = 0; i < y->n; i++)
        TFM_TRY(read_number(at, y->entry[i].value, &plain, &out[i], err));
    return TFM_OK;
}

/* Does the tensor `name` (with its N) exist for this layer? */
static tfm_status exists(const tfm_step_env *env, const char *name, bool *yes, tfm_error *err) {
    const char *full;
    TFM_TRY(tfm_layer_name(env->arena, &full, name, env->layer, err));
    *yes = env->scope->has(env->scope, full, strlen(full));
    return TFM_OK;
}

static tfm_status default_tensor(const tfm_attr *at, const char *step, const tfm_step_env *env,
                                 const char **out, tfm_error *err) {
    char name[128];
    int n =
        snprintf(name, sizeof name, "%s%s%s", env->layer >= 0 ? "blk.N." : "", step, at->suffix);
    return tfm_arena_strndup(env->arena, out, name, (size_t)n, err);
}

/* y: NULL (default name), `none`, a name, or a list of names of which the first that is there is
 * taken. */
static tfm_status read_tensor(const tfm_attr *at, const tfm_yaml *step, const tfm_yaml *y,
                              const tfm_step_env *env, const char *step_name, const char **out,
                              tfm_error *err) {
    const char *name = NULL;
    size_t n = y == NULL ? 1 : y->kind == TFM_YAML_LIST ? y->n : 1;
    *out = NULL;
    if (y == NULL && (env->strict || at->suffix == NULL)) {
        if (at->required) return tfm_yaml_fail(step, err, TFM_FORMAT, "'%s' is missing", at->key);
        return TFM_OK;
    }
    for (size_t i = 0; i < n && *out == NULL; i++) {
        bool yes;
        if (y == NULL) {
            TFM_TRY(default_tensor(at, step_name, env, &name, err));
        } else {
            const tfm_yaml *v = y->kind == TFM_YAML_LIST ? y->entry[i].value : y;
            if (v->kind != TFM_YAML_SCALAR)
                return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' must be a tensor's name", at->key);
            name = v->text;
            if (strcmp(name, "none") == 0) return TFM_OK;
        }
        TFM_TRY(exists(env, name, &yes, err));
        if (yes) *out = name;
    }
    if (*out == NULL && (at->required || env->strict)) {
        TFM_TRY(tfm_layer_name(env->arena, &name, name ? name : "", env->layer, err));
        return tfm_yaml_fail(step, err, TFM_UNSUPPORTED,
                             "tensor '%s' is needed by step '%s', and "
                             "the checkpoint has none",
                             name, step_name);
    }
    return TFM_OK;
}

static tfm_status read_attr(const tfm_attr *at, tfm_astep *s, const tfm_yaml *y,
                            const tfm_step_env *env, tfm_error *err) {
    const tfm_yaml *v = tfm_yaml_get(y, at->key);
    double *num = &s->num[at->slot];
    if (at->kind == TFM_ATTR_TENSOR)
        return read_tensor(at, y, v, env, s->name, &s->tensor[at->slot], err);
    if (at->kind != TFM_ATTR_SIZES) *num = at->fallback;
    if (v == NULL) {
        if (at->required)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "a %s step needs '%s'",
                                 tfm_op_table[s->op].name, at->key);
        return TFM_OK;
    }
    if (at->kind == TFM_ATTR_WORD) return read_word(at, v, env, num, err);
    if (at->kind == TFM_ATTR_SIZES) return read_sizes(at, v, env, num, err);
    return read_number(at, v, env, num, err);
}

/* Every key must be known: a misspelt attribute would otherwise be lost in silence. */
static tfm_status check_keys(const tfm_op_info *info, const tfm_yaml *y, tfm_error *err) {
    for (size_t i = 1; i < y->n; i++) {
        const char *key = y->entry[i].key;
        const tfm_attr *at = info->attr;
        if (strcmp(key, "in") == 0 || strcmp(key, "out") == 0 || strcmp(key, "if") == 0) continue;
        while (at->key != NULL && strcmp(at->key, key) != 0) at++;
        if (at->key == NULL)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "a %s step has no '%.40s'", info->name, key);
    }
    return TFM_OK;
}

/* One width for each part; a concat that has no groups needs none. */
static tfm_status check_sizes(const tfm_astep *s, tfm_error *err) {
    const bool split = s->op == TFM_OP_SPLIT;
    const int parts = split ? s->n_out : s->n_in;
    int n = 0;
    while (n < TFM_STEP_MAX_OUT && s->num[TFM_N_SIZE0 + n] != 0) n++;
    if (n == parts || (!split && n == 0 && s->num[TFM_N_PARTS] == 1)) return TFM_OK;
    return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                         "'sizes' needs one width for each value under '%s'", split ? "out" : "in");
}

/* Both, or neither for up alone; a tensor that was asked for must be there. */
static tfm_status check_experts(const tfm_astep *s, const tfm_step_env *env, tfm_error *err) {
    const tfm_yaml *down = tfm_yaml_get(s->where, "down");
    const bool kind = s->num[TFM_N_KIND] >= 0;
    const char *name = "";
    if (kind == (s->tensor[TFM_T_DOWN] != NULL)) return TFM_OK;
    if (!kind || down == NULL || down->kind != TFM_YAML_SCALAR)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT, "a moe-ffn step needs '%s'",
                             kind ? "down" : "kind");
    TFM_TRY(tfm_layer_name(env->arena, &name, down->text, env->layer, err));
    return tfm_yaml_fail(s->where, err, TFM_UNSUPPORTED,
                         "tensor '%s' is needed by step '%s', and the checkpoint has none", name,
                         s->name);
}

tfm_status tfm_step_parse(tfm_astep *out, const tfm_yaml *y, const tfm_step_env *env,
                          tfm_error *err) {
    const tfm_op_info *info;
    memset(out, 0, sizeof *out);
    if (y->kind != TFM_YAML_MAP || y->n == 0)
        return tfm_yaml_fail(y, err, TFM_FORMAT,
                             "a step is a mapping like {norm: attn_norm, in: x, "
                             "out: h}");
    out->where = y;
    out->op = tfm_op_parse(y->entry[0].key);
    if (out->op == TFM_OP_COUNT)
        return tfm_yaml_fail(y, err, TFM_UNSUPPORTED, "'%.40s' is no kind of step and no macro",
                             y->entry[0].key);
    info = &tfm_op_table[out->op];
    TFM_TRY(check_name(y->entry[0].value, "the name of a step", err));
    out->name = y->entry[0].value->text;
    TFM_TRY(check_keys(info, y, err));
    TFM_TRY(read_values(y, "in", info->min_in, info->max_in, out->in, &out->n_in, err));
    TFM_TRY(read_values(y, "out", info->min_out, info->max_out, out->out, &out->n_out, err));
    for (const tfm_attr *at = info->attr; at->key != NULL; at++)
        TFM_TRY(read_attr(at, out, y, env, err));
    if (out->op == TFM_OP_MOE_FFN) return check_experts(out, env, err);
    return out->op == TFM_OP_SPLIT || out->op == TFM_OP_CONCAT ? check_sizes(out, err) : TFM_OK;
}
