/* expr_internal.h - the little expressions of architecture files: "width / heads", "window[n] > 0",
 * "if(tied, 1, 0)", "has(blk.N.attn_q_norm.weight)". Grammar and functions: tfm-arch(5).
 *
 * A value is a number (booleans are 0 and 1), a text, a list, or none. No loops, no assignment, no
 * side effects: an expression costs time proportional to its length. */
#ifndef TFM_ARCH_EXPR_INTERNAL_H
#define TFM_ARCH_EXPR_INTERNAL_H

#include "base/yaml_internal.h"
#include "tfm/tensor.h"

typedef enum tfm_val_kind { TFM_VAL_NONE, TFM_VAL_NUM, TFM_VAL_STR, TFM_VAL_LIST } tfm_val_kind;

typedef struct tfm_val tfm_val;
struct tfm_val {
    tfm_val_kind kind;
    double num;
    const char *str; /* not NUL-terminated */
    size_t len;
    const tfm_val *item; /* [n] numbers and texts */
    size_t n;
};

/* Where names come from. */
typedef struct tfm_scope {
    /* Sets *out (maybe to none). *known false: nobody knows the name. NULL: there are no names. */
    tfm_status (*name)(const struct tfm_scope *s, const char *name, size_t len, tfm_val *out,
                       bool *known, tfm_error *err);
    /* Is there a tensor of that canonical name? NULL: has() is an error here. */
    bool (*has)(const struct tfm_scope *s, const char *tensor, size_t len);
    /* The checkpoint's tensor of that name, of which one number is read, or all. NULL: stored() and
     * dot() are errors here. */
    tfm_status (*stored)(const struct tfm_scope *s, const tfm_yaml *where, const char *name,
                         size_t len, bool all, const tfm_tensor **out, tfm_error *err);
} tfm_scope;

/* Evaluates `text`; messages name `where`. Texts and lists in *out are borrowed from `text` and
 * from the scope. */
tfm_status tfm_expr_eval(const tfm_yaml *where, const char *text, const tfm_scope *s, tfm_val *out,
                         tfm_error *err) TFM_MUST_CHECK;
/* As a condition: none is false, a text is an error. */
tfm_status tfm_expr_true(const tfm_yaml *where, const char *text, const tfm_scope *s, bool *out,
                         tfm_error *err) TFM_MUST_CHECK;

#endif
