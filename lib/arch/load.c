/* load.c - opens anything as a model: model.bin as it is, foreign checkpoints in place.
 *
 * A tensor that lies in the checkpoint as the model wants it is used where it lies; one that must
 * be transposed, cut or reordered is made in memory, once, at opening.
 */
#include "arch/assemble_internal.h"

#include <string.h>

/* What a model made from a foreign checkpoint keeps alive. */
typedef struct holder {
    tfm_assembly a;
    void **made;        /* [a.n_parts] bytes of tensors that a recipe made, or NULL */
    tfm_tensor *tensor; /* [a.n_parts] */
} holder;

static void holder_free(void *p) {
    holder *h = p;
    if (h == NULL) return;
    for (size_t i = 0; h->made && i < h->a.n_parts; i++) tfm_free(h->made[i]);
    tfm_free(h->made);
    tfm_free(h->tensor);
    tfm_assembly_free(&h->a);
    tfm_free(h);
}

static tfm_status make_tensors(holder *h, tfm_error *err) {
    void *p;
    TFM_TRY(tfm_alloc(&p, h->a.n_parts, sizeof *h->made, err));
    h->made = p;
    TFM_TRY(tfm_alloc(&p, h->a.n_parts, sizeof *h->tensor, err));
    h->tensor = p;
    for (size_t i = 0; i < h->a.n_parts; i++) {
        const tfm_part *part = &h->a.part[i];
        h->tensor[i] = part->t;
        if (part->recipe == NULL) continue;
        TFM_TRY(tfm_alloc_aligned(&h->made[i], 64, (size_t)part->t.bytes, 1, err));
        TFM_TRY(tfm_recipe_run(part->recipe, h->made[i], err));
        h->tensor[i].data = h->made[i];
    }
    return TFM_OK;
}

/* A vocabulary alone is no model that a stream could name: its id is zeros. */
static tfm_status to_model(holder *h, const char *path, bool vocab_only, tfm_model **out,
                           tfm_error *err) {
    char id[65] = "0000000000000000000000000000000000000000000000000000000000000000";
    tfm_model_parts parts = {.path = path, .id = id, .owner = h, .free_owner = holder_free};
    TFM_TRY(make_tensors(h, err));
    if (!vocab_only) TFM_TRY(tfm_assembly_id(&h->a, "as is", false, id, err));
    parts.vocab_id = h->a.vocab_id;
    parts.description = h->a.description;
    parts.description_len = h->a.description_len;
    parts.tensor = h->tensor;
    parts.n_tensors = h->a.n_parts;
    return tfm_model_from_parts(out, &parts, err);
}

static tfm_status load(tfm_model **out, const char *path, const tfm_load_options *o,
                       bool vocab_only, tfm_error *err) {
    holder *h;
    void *p;
    tfm_status st;
    bool native;
    *out = NULL;
    TFM_TRY(tfm_is_model_file(path, &native, err));
    if (native && (o == NULL || o->tokenizer_path == NULL)) return tfm_model_open(out, path, err);
    TFM_TRY(tfm_alloc(&p, 1, sizeof *h, err));
    h = p;
    st = tfm_assemble(&h->a, path, o, vocab_only, err);
    if (st == TFM_OK) st = to_model(h, path, vocab_only, out, err);
    if (st != TFM_OK) holder_free(h);
    return st;
}

tfm_status tfm_load(tfm_model **out, const char *path, const tfm_load_options *o, tfm_error *err) {
    return load(out, path, o, false, err);
}

tfm_status tfm_load_vocab(const char *path, const tfm_load_options *o, tfm_model **out,
                          tfm_error *err) {
    return load(out, path, o, true, err);
}
