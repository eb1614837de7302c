/* arch_internal.h - from architecture file and checkpoint to description, from description to
 * graph.
 *
 *     share/arch/x.yaml + tfm_source --tfm_arch_resolve--> description (YAML) + tensor recipes
 *     description + tensors          --tfm_graph_new-->    tfm_graph (steps)
 *
 * The description is complete in itself: hyper-parameters, values and one flat list of steps with
 * their numbers, per group of equal blocks. Nothing below this layer knows an architecture's name,
 * and nothing in this layer's code does either: names stand in share/arch only.
 */
#ifndef TFM_ARCH_INTERNAL_H
#define TFM_ARCH_INTERNAL_H

#include "backend/backend_internal.h"
#include "base/base_internal.h"
#include "tfm/load.h"
#include "tfm/model.h"

#define TFM_RECIPE_PARTS 4

/* How one canonical tensor is made from one of the checkpoint's; applied in the order of the
 * fields. */
typedef struct tfm_recipe {
    tfm_tensor out;           /* canonical name ("blk.0.attn_q.weight"), type, dims; data if it can
                                 be used where it lies, else NULL */
    const tfm_tensor *source; /* NULL: out.data was computed here */
    const tfm_tensor *scales; /* the source has codes, this the scales of blocks of out.dtype; or
                                 NULL */
    uint32_t
        matrices;   /* the source is so many, one behind the other; what follows is done with each
                          by itself */
    bool transpose; /* [in, out] -> [out, in] */
    uint32_t rows, out_rows; /* of a matrix, after that; of one that is made */
    /* n_parts > 0: the rows are groups, each of consecutive parts of so many rows; they become all
     * first parts, all second ones, ... */
    uint32_t part[TFM_RECIPE_PARTS], n_parts;
    uint32_t row_first, row_count, row_every; /* of each row_every rows, row_count from row_first;
                                                 row_count 0: all rows */
    uint32_t rope_heads, rope_rot; /* heads > 0: in each of so many heads the first rope_rot rows go
                                      from halves to pairs: row i + j * rot/2 becomes 2 * i + j */
    const tfm_tensor *const *stack; /* [n_stack] put one behind the other, out is [n_stack, ...];
                                       nothing else is done with them; or NULL */
    uint32_t n_stack;
    bool kept;   /* no step uses it; a GGUF's tensor that is written back only */
    bool to_f32; /* a 16-bit vector (norm, bias) widened, which is exact */
    float add;   /* with to_f32: added to every element */
} tfm_recipe;

/* The tensor's bytes in layout rows at dst, which has recipe->out.bytes. Only for recipes whose
 * out.data is NULL. */
tfm_status tfm_recipe_run(const tfm_recipe *r, void *dst, tfm_error *err) TFM_MUST_CHECK;

typedef struct tfm_resolved {
    const char *description; /* NUL-terminated */
    size_t description_len;
    tfm_recipe *recipe;
    size_t n_recipes;
    tfm_arena *arena; /* owns all of it */
} tfm_resolved;

/* Finds the architecture (or reads arch_file), checks that every tensor of the checkpoint is used
 * or expressly ignored, and resolves. TFM_UNSUPPORTED names what is missing. The recipes borrow
 * from s. vocab may be NULL; its settings become the description's tokenizer section. */
tfm_status tfm_arch_resolve(tfm_resolved *out, const tfm_source *s, const tfm_vocab_tables *vocab,
                            const tfm_load_options *o, tfm_error *err) TFM_MUST_CHECK;
void tfm_resolved_free(tfm_resolved *r);

/* The description of a model that has a vocabulary and no steps. */
tfm_status tfm_describe_vocab(const tfm_vocab_tables *vocab, tfm_buf *out,
                              tfm_error *err) TFM_MUST_CHECK;

/* Compiles the description of m. ctx: the context in force (length-dependent rope scaling is fixed
 * from it), 0: min(the model's, 4096). The graph borrows m's tensors. */
tfm_status tfm_graph_new(tfm_graph **out, const tfm_model *m, uint32_t ctx,
                         tfm_error *err) TFM_MUST_CHECK;
void tfm_graph_free(tfm_graph *g);

/* The description's generation section: what the checkpoint says of how texts begin and end. Each
 * list may be empty; ids are not checked against a vocabulary. */
typedef struct tfm_generation {
    const int32_t *start, *forced, *suppressed, *end;
    size_t n_start, n_forced, n_suppressed, n_end;
    tfm_arena *arena;
} tfm_generation;
tfm_status tfm_generation_read(tfm_generation *out, const tfm_model *m,
                               tfm_error *err) TFM_MUST_CHECK;
void tfm_generation_free(tfm_generation *g);

#endif
