/* steps_internal.h - one step as architecture files and descriptions write it.
 *
 *     - {linear: attn_q, in: h, out: q, weight: blk.N.attn_q.weight}
 *
 * The first key is the kind of step and its value the step's name (the tap name); then values in
 * and out, then the attributes of that kind (table in steps.c, meaning in tfm-arch(5)). Both files
 * use the same words: a description is what remains when macros, conditions, expressions and
 * defaults have been worked out.
 */
#ifndef TFM_ARCH_STEPS_INTERNAL_H
#define TFM_ARCH_STEPS_INTERNAL_H

#include "arch/expr_internal.h"
#include "backend/backend_internal.h"

#define TFM_MAX_LAYERS 1024u
#define TFM_MAX_BLOCK_STEPS 256u /* of one block, and of embed and head */
#define TFM_MAX_STEPS 32768u     /* of a whole model */
#define TFM_STEP_NUMS 16
#define TFM_STEP_TENSORS 6

typedef struct tfm_astep {
    const tfm_yaml *where;
    tfm_op op;
    const char *name;
    int n_in, n_out;
    const char *in[TFM_STEP_MAX_IN], *out[TFM_STEP_MAX_OUT];
    const char *tensor[TFM_STEP_TENSORS]; /* by slot; with the component N in blocks; or NULL */
    double num[TFM_STEP_NUMS];            /* by slot */
} tfm_astep;

/* Slots of tensors and numbers. */
enum { TFM_T_WEIGHT = 0, TFM_T_BIAS = 1, TFM_T_CHOOSE = 2 };
enum { TFM_T_FACTORS = 0, TFM_T_FACTORS_LONG = 1, TFM_T_FACTORS_SHORT = 2 };
enum { TFM_T_SINKS = 0 };
enum { TFM_N_INDEX, TFM_N_OFFSET };           /* gather */
enum { TFM_N_KIND, TFM_N_EPS, TFM_N_GROUPS }; /* norm; activation: kind */
enum { TFM_N_SIZE0, TFM_N_PARTS = 4 };        /* split, concat: four sizes (0: none), groups */
enum {                                        /* rope */
       TFM_N_MODE,
       TFM_N_ROPE_HEADS,
       TFM_N_ROPE_DIM,
       TFM_N_ROT,
       TFM_N_BASE,
       TFM_N_SCALING,
       TFM_N_FACTOR,
       TFM_N_ORIGINAL,
       TFM_N_ATTN_FACTOR,
       TFM_N_BETA_FAST,
       TFM_N_BETA_SLOW,
       TFM_N_TRUNCATE,
       TFM_N_FIRST
};
enum { /* attend */
       TFM_N_HEADS,
       TFM_N_KV_HEADS,
       TFM_N_K_DIM,
       TFM_N_V_DIM,
       TFM_N_SCALE,
       TFM_N_SOFTCAP,
       TFM_N_WINDOW,
       TFM_N_ALIBI,
       TFM_N_ALIBI_BEFORE,
       TFM_N_CHUNK
};
enum { TFM_N_BY, TFM_N_GROWTH, TFM_N_EVERY, TFM_N_GROWTH_FIRST }; /* scale; softcap: cap */
enum { TFM_N_LO, TFM_N_HI };                                      /* clip */
enum {                                                            /* moe-ffn: kind */
       TFM_T_GATE = 0,
       TFM_T_UP = 1,
       TFM_T_DOWN = 2,
       TFM_T_GATE_BIAS,
       TFM_T_UP_BIAS,
       TFM_T_DOWN_BIAS
};
enum { TFM_N_LIMIT = TFM_N_KIND + 1, TFM_N_SHIFT, TFM_N_WEIGH };
enum {
    TFM_N_USED,
    TFM_N_SOFTMAX,
    TFM_N_RENORMALISE,
    TFM_N_ROUTE_SCALE,
    TFM_N_SCORE,
    TFM_N_ROUTE_GROUPS,
    TFM_N_GROUPS_USED,
    TFM_N_GROUP_SUM,
    TFM_N_NEAR
}; /* moe-route */

typedef enum tfm_rope_scaling {
    TFM_SCALING_NONE,
    TFM_SCALING_LINEAR,
    TFM_SCALING_DYNAMIC,
    TFM_SCALING_YARN,
    TFM_SCALING_LONGROPE
} tfm_rope_scaling;

typedef enum tfm_attr_kind {
    TFM_ATTR_NUM,
    TFM_ATTR_INT,
    TFM_ATTR_WORD, /* one of `words` */
    TFM_ATTR_FLAG,
    TFM_ATTR_TENSOR,
    TFM_ATTR_SIZES /* a list of up to four integers in consecutive slots */
} tfm_attr_kind;

typedef struct tfm_attr {
    const char *key;
    tfm_attr_kind kind;
    int slot;
    bool required;
    double fallback, lo, hi;  /* numbers; a value that equals its fallback is not written */
    const char *const *words; /* NULL-terminated */
    const char *suffix;       /* tensors: the default is the step's name + suffix; or NULL */
} tfm_attr;

typedef struct tfm_op_info {
    const char *name;
    int min_in, max_in, min_out, max_out;
    const tfm_attr *attr; /* ends with key NULL */
} tfm_op_info;

extern const tfm_op_info tfm_op_table[TFM_OP_COUNT];

/* The kind of that name, or TFM_OP_COUNT. */
tfm_op tfm_op_parse(const char *name);

/* What a step is read against. */
typedef struct tfm_step_env {
    const tfm_scope *scope; /* names in expressions, and has() */
    tfm_arena *arena;
    int layer;       /* of a block; -1 for embed and head */
    bool strict;     /* a description: tensors are never found by default names */
    size_t at, n_at; /* place in, and length of, lists that give one number per layer */
} tfm_step_env;

/* Reads one step. */
tfm_status tfm_step_parse(tfm_astep *out, const tfm_yaml *y, const tfm_step_env *env,
                          tfm_error *err) TFM_MUST_CHECK;
/* name with each component that is `letter` alone replaced by n (>= 0). */
tfm_status tfm_component_name(tfm_arena *a, const char **out, const char *name, char letter, int n,
                              tfm_error *err) TFM_MUST_CHECK;
/* The same for `N`, the layer. */
tfm_status tfm_layer_name(tfm_arena *a, const char **out, const char *name, int n,
                          tfm_error *err) TFM_MUST_CHECK;

#endif
