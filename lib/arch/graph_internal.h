/* graph_internal.h - pieces of the description compiler that resolve uses too. */
#ifndef TFM_ARCH_GRAPH_INTERNAL_H
#define TFM_ARCH_GRAPH_INTERNAL_H

#include "arch/arch_internal.h"
#include "arch/steps_internal.h"

/* Where the compiler finds tensors. */
typedef struct tfm_tensors {
    const tfm_tensor *(*find)(const struct tfm_tensors *t, const char *name);
    const void *ctx;
} tfm_tensors;

/* Compiles a description; `file` is for messages. origin: where each step, in the graph's order,
 * was written, for messages about it; NULL: in the description. The graph borrows the tensors. */
tfm_status tfm_graph_compile(tfm_graph **out, const char *file, const char *description, size_t len,
                             const tfm_yaml *const *origin, const tfm_tensors *tensors,
                             uint32_t ctx, tfm_error *err) TFM_MUST_CHECK;

/* inv_freq [rot/2] and the magnitude of a rope step, all scaling applied, for context `ctx`.
 * factor: the tensors by slot (TFM_T_FACTORS, ...), each f32 [rot/2] or NULL. */
tfm_status tfm_rope_frequencies(const tfm_astep *s, uint32_t rot, uint32_t ctx,
                                const tfm_tensor *const factor[TFM_STEP_TENSORS], float *inv_freq,
                                float *magnitude, tfm_error *err) TFM_MUST_CHECK;

#endif
