/* arch_internal.h - from architecture file and checkpoint to description, from description to graph.
 *
 *     share/arch/x.yaml + tfm_source --tfm_arch_resolve--> description (YAML) + tensor recipes
 *     description + tensors          --tfm_graph_new-->    tfm_graph (steps)
 *
 * The description is complete in itself: hyper-parameters, values and one flat list of steps with
 * their numbers, per block. Nothing below this layer knows an architecture's name.
 */
#ifndef TFM_ARCH_INTERNAL_H
#define TFM_ARCH_INTERNAL_H

#include "backend/backend_internal.h"
#include "base/base_internal.h"
#include "tfm/load.h"
#include "tfm/model.h"

/* How one canonical tensor is made from one of the checkpoint's. */
typedef struct tfm_recipe {
    const char *name; /* canonical: "blk.0.attn_q.weight" */
    const tfm_tensor *source;
    bool transpose;             /* [in, out] -> [out, in] (Conv1D), before taking rows */
    uint32_t row_first, n_rows; /* n_rows 0: all */
    uint32_t rope_heads; /* > 0: rows of each of so many heads from halves (neox) to pairs */
} tfm_recipe;

typedef struct tfm_resolved {
    char *description;
    size_t description_len;
    tfm_recipe *recipe;
    size_t n_recipes;
    tfm_arena *arena; /* owns all of it */
} tfm_resolved;

/* Finds the architecture (or reads arch_file), checks that every tensor of the checkpoint is used
 * or expressly ignored, and resolves. TFM_UNSUPPORTED names what is missing. */
tfm_status tfm_arch_resolve(tfm_resolved *out, const tfm_source *s, const tfm_load_options *o,
                            tfm_error *err) TFM_MUST_CHECK;
void tfm_resolved_free(tfm_resolved *r);

/* Compiles the description of m. ctx: the context in force (length-dependent rope scaling is fixed
 * from it), 0: min(the model's, 4096). The graph borrows m's tensors. */
tfm_status tfm_graph_new(tfm_graph **out, const tfm_model *m, uint32_t ctx, tfm_error *err)
    TFM_MUST_CHECK;
void tfm_graph_free(tfm_graph *g);

#endif
