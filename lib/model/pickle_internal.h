/* pickle_internal.h - a pickle as data: what torch.save writes, and nothing that could run.
 *
 *     tfm_pickle k;
 *     st = tfm_pickle_read(&k, bytes, n, find_storage, ctx, err);     // k.top: a dict, say
 *     ... tfm_pickle_text(&k.top.u.items->v[0], "state_dict") ...
 *     tfm_pickle_free(&k);
 *
 * A pickle is a program for a stack machine that may import any name and call it. This machine
 * knows no import: a name is one of a fixed list (tensors and plain containers, pickle_torch.c),
 * and every other name or opcode is TFM_UNSUPPORTED, named in the message. It calls nothing, and it
 * does not recurse, whatever is nested.
 *
 *     pickle.c        opcodes, stack, memo, limits
 *     pickle_torch.c  the names that are known, and what "calling" them builds
 *     pytorch.c       the archive around it, and tensors for a tfm_source */
#ifndef TFM_PICKLE_INTERNAL_H
#define TFM_PICKLE_INTERNAL_H

#include "base/base_internal.h"
#include "tfm/tensor.h"

/* Values pushed, and memo entries: the largest checkpoints in one file have some 20,000 tensors, a
 * tensor takes about 24. Memory stays below 64 MiB whatever the pickle says. */
#define TFM_PICKLE_MAX_VALUES (1u << 19)
#define TFM_PICKLE_MAX_DEPTH 1000u    /* open marks; Python's own writer nests less */
#define TFM_PICKLE_MAX_TENSORS 65536u /* of one pickle */

typedef enum tfm_pickle_kind {
    TFM_PICKLE_NONE,
    TFM_PICKLE_BOOL,
    TFM_PICKLE_INT,
    TFM_PICKLE_FLOAT,
    TFM_PICKLE_TEXT,  /* str or bytes */
    TFM_PICKLE_TUPLE, /* items */
    TFM_PICKLE_LIST,
    TFM_PICKLE_SET,
    TFM_PICKLE_DICT, /* items: key, value, key, value, ... */
    TFM_PICKLE_NAME, /* a known name, i: its index in the list of pickle_torch.c */
    TFM_PICKLE_STORAGE,
    TFM_PICKLE_TENSOR
} tfm_pickle_kind;

typedef struct tfm_pickle_value {
    uint8_t kind;
    uint32_t n; /* bytes of a text */
    union {
        int64_t i; /* of BOOL and INT */
        double f;
        const char *text; /* in the pickle's bytes, not terminated */
        struct tfm_pickle_items *items;
        const struct tfm_pickle_storage *storage;
        const struct tfm_pickle_tensor *tensor;
    } u;
} tfm_pickle_value;

typedef struct tfm_pickle_items {
    tfm_pickle_value *v; /* [n] */
    uint32_t n, cap;
} tfm_pickle_items;

/* Elements that lie elsewhere, in an archive's member. */
typedef struct tfm_pickle_storage {
    tfm_dtype dtype;           /* TFM_DTYPE_NONE: a type that tfm has not, see type_name */
    const char *type_name;     /* "DoubleStorage" */
    unsigned element;          /* bytes */
    const unsigned char *data; /* [count * element] */
    uint64_t count;
} tfm_pickle_storage;

/* A view of a storage, proved to lie within it. */
typedef struct tfm_pickle_tensor {
    const tfm_pickle_storage *storage;
    unsigned rank;
    uint32_t dims[TFM_MAX_RANK];   /* slowest first, unused are 1 */
    uint64_t stride[TFM_MAX_RANK]; /* in elements */
    uint64_t offset;               /* in elements */
} tfm_pickle_tensor;

/* Finds the bytes that belong to a storage's key ("0", "1", ...). */
typedef tfm_status (*tfm_pickle_find)(void *ctx, const char *key, size_t n,
                                      const unsigned char **data, uint64_t *bytes, tfm_error *err);

typedef struct tfm_pickle {
    const unsigned char *p; /* [n], borrowed: texts point into it */
    size_t n, at;
    tfm_pickle_find find;
    void *find_ctx;
    tfm_arena *arena; /* everything but the three arrays */
    tfm_pickle_value *stack, *memo;
    uint32_t *mark; /* [TFM_PICKLE_MAX_DEPTH] heights of the stack */
    size_t n_stack, cap_stack, n_memo, cap_memo;
    uint32_t n_marks, n_values, n_items, n_tensors;
    tfm_pickle_value top; /* the result */
} tfm_pickle;

/* Runs the pickle p[0..n), which must outlive k. k must be freed, even after a failure. */
tfm_status tfm_pickle_read(tfm_pickle *k, const void *p, size_t n, tfm_pickle_find find,
                           void *find_ctx, tfm_error *err) TFM_MUST_CHECK;
void tfm_pickle_free(tfm_pickle *k);
/* Is v the text s? */
bool tfm_pickle_text(const tfm_pickle_value *v, const char *s);
/* "a list", "a tensor", ... for messages. */
const char *tfm_pickle_kind_name(const tfm_pickle_value *v);

/* ---- pickle_torch.c, for pickle.c ---- */

/* *out = the known name MODULE.NAME; TFM_UNSUPPORTED, and the name in the message, for others. */
tfm_status tfm_pickle_name(tfm_pickle_value *out, const char *module, size_t n_module,
                           const char *name, size_t n_name, tfm_error *err) TFM_MUST_CHECK;
/* What torch and collections would build of callable(*args). */
tfm_status tfm_pickle_call(tfm_pickle *k, const tfm_pickle_value *callable,
                           const tfm_pickle_value *args, tfm_pickle_value *out,
                           tfm_error *err) TFM_MUST_CHECK;
/* A storage of its persistent id, ('storage', class, key, location, elements). */
tfm_status tfm_pickle_persistent(tfm_pickle *k, const tfm_pickle_value *id, tfm_pickle_value *out,
                                 tfm_error *err) TFM_MUST_CHECK;
/* An empty container; appending n values to one. */
tfm_status tfm_pickle_container(tfm_pickle *k, tfm_pickle_kind kind, tfm_pickle_value *out,
                                tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_pickle_append(tfm_pickle *k, const tfm_pickle_value *to, const tfm_pickle_value *v,
                             size_t n, tfm_error *err) TFM_MUST_CHECK;

#endif
