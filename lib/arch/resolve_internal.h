/* resolve_internal.h - an architecture file being applied to one checkpoint.
 *
 *   match.c    which file                        files.c    named sets, macros
 *   params.c   hyper-parameters                  tensors.c  checkpoint tensors to recipes
 *   resolve.c  steps per layer, in order         describe.c the description's text
 */
#ifndef TFM_ARCH_RESOLVE_INTERNAL_H
#define TFM_ARCH_RESOLVE_INTERNAL_H

#include "arch/graph_internal.h"
#include "model/names_internal.h"

#define TFM_MAX_PARAMS 256u
#define TFM_MAX_LIST 4096u /* elements of a list parameter */

typedef struct tfm_param {
    const char *name;
    const tfm_yaml *spec;
    tfm_val value;
    enum { TFM_PARAM_NEW, TFM_PARAM_BUSY, TFM_PARAM_DONE } state;
} tfm_param;

/* Steps of embed, of one layer, or of head. */
typedef struct tfm_step_list {
    tfm_astep *step;
    size_t n;
} tfm_step_list;

typedef struct tfm_resolver {
    tfm_scope scope; /* first: callbacks get back to the resolver from it */
    tfm_arena *arena;
    const tfm_source *source;
    const char *format;     /* "gguf", "hf", "llama2c" */
    const char *gguf_arch;  /* general.architecture: what $arch stands for */
    const tfm_yaml *arch;   /* the architecture file */
    const tfm_yaml *shared; /* macros.yaml */
    tfm_param *param;
    size_t n_params;
    int layer;         /* value of n; -1: none */
    int64_t index;     /* value of i; -1: none */
    uint32_t n_stored; /* numbers of the checkpoint that expressions have read */
    uint32_t n_layers;
    tfm_recipe *recipe;
    size_t n_recipes, cap_recipes;
    tfm_names names;       /* canonical name -> recipe */
    bool *source_used;     /* [tensors of source] */
    tfm_param *generation; /* start, forced, suppressed, end: those that are set */
    size_t n_generation;
    tfm_step_list embed, head, *block; /* block: [n_layers] */
} tfm_resolver;

/* files.c */

/* A section of the architecture file with its `use:` sets of macros.yaml merged in: sets first,
 * own entries after, or in place of a set's entry of the same name. Never NULL. */
tfm_status tfm_arch_section(const tfm_resolver *r, const char *name, const tfm_yaml **out,
                            tfm_error *err) TFM_MUST_CHECK;
/* The steps of a list with all macros expanded; conditions are kept as `if`. */
tfm_status tfm_arch_expand(const tfm_resolver *r, const tfm_yaml *list, const tfm_yaml **out,
                           tfm_error *err) TFM_MUST_CHECK;
/* text with each $name that `get` knows replaced. */
typedef const char *(*tfm_subst)(const void *ctx, const char *name, size_t len);
tfm_status tfm_substitute(tfm_arena *a, const char **out, const char *text, tfm_subst get,
                          const void *ctx, tfm_error *err) TFM_MUST_CHECK;
/* text with $arch replaced. */
tfm_status tfm_arch_key(const tfm_resolver *r, const char **out, const char *text,
                        tfm_error *err) TFM_MUST_CHECK;

/* match.c */
tfm_status tfm_arch_match(tfm_resolver *r, const tfm_load_options *o,
                          tfm_error *err) TFM_MUST_CHECK;

/* params.c */
tfm_status tfm_params_load(tfm_resolver *r, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_param_get(tfm_resolver *r, const char *name, size_t len, tfm_val *out, bool *known,
                         tfm_error *err) TFM_MUST_CHECK;

/* tensors.c */
tfm_status tfm_tensors_map(tfm_resolver *r, tfm_error *err) TFM_MUST_CHECK;

/* describe.c */
tfm_status tfm_describe(const tfm_resolver *r, const tfm_vocab_tables *vocab, tfm_buf *out,
                        tfm_error *err) TFM_MUST_CHECK;

#endif
