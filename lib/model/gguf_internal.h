/* gguf_internal.h - the pieces of a GGUF header, read one after another from memory.
 *
 *     tfm_gguf_cursor c = {.p = bytes, .n = size};
 *     TFM_TRY(tfm_gguf_start(&c, &head, err));
 *     for (i < head.n_kv) TFM_TRY(tfm_gguf_next_kv(&c, &kv, err));
 *     for (i < head.n_tensors) TFM_TRY(tfm_gguf_next_info(&c, &info, err));
 *
 * Shared by the reader (gguf.c) and the writer, which parses the header that a model has kept. */
#ifndef TFM_GGUF_INTERNAL_H
#define TFM_GGUF_INTERNAL_H

#include "base/base_internal.h"
#include "tfm/model.h"

#define TFM_GGUF_ALIGNMENT 32u /* unless general.alignment says otherwise */

/* Value types, numbers from the GGUF specification. */
enum {
    TFM_GGUF_U8 = 0,
    TFM_GGUF_I8 = 1,
    TFM_GGUF_U16 = 2,
    TFM_GGUF_I16 = 3,
    TFM_GGUF_U32 = 4,
    TFM_GGUF_I32 = 5,
    TFM_GGUF_F32 = 6,
    TFM_GGUF_BOOL = 7,
    TFM_GGUF_STRING = 8,
    TFM_GGUF_ARRAY = 9,
    TFM_GGUF_U64 = 10,
    TFM_GGUF_I64 = 11,
    TFM_GGUF_F64 = 12
};

typedef struct tfm_gguf_cursor {
    const unsigned char *p;
    uint64_t n, at;
} tfm_gguf_cursor;

typedef struct tfm_gguf_head {
    uint32_t version;
    uint64_t n_tensors, n_kv;
} tfm_gguf_head;

typedef struct tfm_gguf_kv {
    const char *key; /* not NUL-terminated */
    size_t key_len;
    uint32_t type, item_type;   /* item_type: of an array's elements */
    uint64_t n;                 /* elements of an array, bytes of a string */
    const unsigned char *value; /* the number, the string's bytes, the array's first element */
    uint64_t from, to;          /* where the whole pair stands */
} tfm_gguf_kv;

typedef struct tfm_gguf_info {
    const char *name; /* not NUL-terminated */
    size_t name_len;
    tfm_dtype dtype;
    unsigned rank;
    uint32_t dims[TFM_MAX_RANK]; /* slowest first: GGUF's reversed */
    uint64_t bytes, offset;      /* offset from the start of the data */
} tfm_gguf_info;

tfm_status tfm_gguf_start(tfm_gguf_cursor *c, tfm_gguf_head *head, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_gguf_next_kv(tfm_gguf_cursor *c, tfm_gguf_kv *kv, tfm_error *err) TFM_MUST_CHECK;
/* TFM_UNSUPPORTED names an element type that tfm has not. */
tfm_status tfm_gguf_next_info(tfm_gguf_cursor *c, tfm_gguf_info *info,
                              tfm_error *err) TFM_MUST_CHECK;
/* A string: u64 length, bytes. false at the end of the bytes. */
bool tfm_gguf_string(tfm_gguf_cursor *c, const char **s, uint64_t *n);
/* The number of ggml's type for a dtype; -1 if it has none (u8). */
int tfm_gguf_type_number(tfm_dtype t);
/* Bytes of one value of a fixed-size type; 0 for strings, arrays and unknown types. */
uint64_t tfm_gguf_value_bytes(uint32_t type);
/* The number at p, of a fixed-size type, as INT or FLOAT. */
void tfm_gguf_number(uint32_t type, const unsigned char *p, tfm_meta *out);
/* ---- writing (gguf_meta.c): values appended to a header ---- */

tfm_status tfm_gguf_put_u32(tfm_buf *b, uint32_t v, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_gguf_put_u64(tfm_buf *b, uint64_t v, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_gguf_put_string(tfm_buf *b, const char *s, size_t n, tfm_error *err) TFM_MUST_CHECK;
/* Key and type; the value follows. Counts the pair in *n_kv. */
tfm_status tfm_gguf_put_key(tfm_buf *b, const char *key, uint32_t type, uint64_t *n_kv,
                            tfm_error *err) TFM_MUST_CHECK;
/* The pairs of a description's `gguf:` section (cut out, without indentation). */
tfm_status tfm_gguf_put_section(tfm_buf *b, const tfm_buf *section, uint64_t *n_kv,
                                tfm_error *err) TFM_MUST_CHECK;
/* The pairs tokenizer.* of a model's vocabulary. */
tfm_status tfm_gguf_put_vocab(tfm_buf *b, tfm_model *m, const tfm_vocab *v,
                              const tfm_tokenizer_names *names, uint64_t *n_kv,
                              tfm_error *err) TFM_MUST_CHECK;

/* Element i < array->n of an array that gguf.c made. */
void tfm_gguf_item(const tfm_meta *array, size_t i, tfm_meta *out);

#endif
