/* model.h - the model container model.bin, and the readers and writers of foreign checkpoints.
 *
 *     tfm_model *m;
 *     TFM_TRY(tfm_model_open(&m, "story.tfms", err));          // maps, reads no weight page
 *     const tfm_tensor *t = tfm_model_tensor(m, "blk.0.attn_q.weight");
 *     ...
 *     tfm_model_free(m);
 *
 * A tfm_model is a description (YAML text, see tfm-model(5)), a vocabulary and named tensors that
 * are used where they lie. It comes from model.bin (this file), or straight from a foreign
 * checkpoint (tfm/load.h, which needs the architecture layer).
 *
 * The description is written by lib/arch; its top-level keys stand in column 0. Two of its sections
 * are read by this layer, both in block style, every line indented by exactly two spaces more:
 *     tokenizer:                            what tfm_vocab_build gave as settings, indented by two
 *     gguf:                                 metadata for a GGUF made from another source, in order;
 *       general.architecture: {str: "llama"}      one key a line, types as GGUF names them:
 *       llama.block_count: {u32: 5}               u32 i32 u64 i64 f32 bool str, and arrays of them
 *       llama.rope.freq_base: {f32: 10000}        as {f32: [1, 2]}; str is always double-quoted
 * Either may be absent (no vocabulary; no GGUF equivalent known). Neither section is nested deeper.
 *
 * A tfm_source is a foreign checkpoint before anybody has said what its tensors mean: metadata,
 * tensors under their own names, a vocabulary, and the raw metadata bytes that are kept so that
 * GGUF -> model.bin -> GGUF is exact.
 */
#ifndef TFM_MODEL_H
#define TFM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"
#include "tfm/stream.h"
#include "tfm/tensor.h"
#include "tfm/tokenizer.h"

#define TFM_DESCRIPTION_MAX (256u << 10) /* bytes */
#define TFM_MAX_TENSORS 65536u
#define TFM_INDEX_MAX (32u << 20) /* bytes: 65,536 lines of the longest kind fit */

/* ---- an open model ---- */

typedef struct tfm_model tfm_model;

/* Opens a model.bin (regular file): checks header, description, INDEX against the file size, and
 * that every tensor's bytes lie inside the file, aligned to 64. Weight CRCs are tfm-check's. */
TFM_API tfm_status tfm_model_open(tfm_model **out, const char *path, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_model_free(tfm_model *m);
/* The path as it was given. */
TFM_API const char *tfm_model_path(const tfm_model *m);
/* 64 hex digits: SHA-256 over description, vocabulary id, target type and the source's digest;
 * stored by tfm-convert, never recomputed. */
TFM_API const char *tfm_model_id(const tfm_model *m);
TFM_API const char *tfm_model_vocab_id(const tfm_model *m); /* 16 hex digits, or "" for none */
TFM_API const tfm_header *tfm_model_header(const tfm_model *m);
/* YAML text, NUL-terminated, borrowed. */
TFM_API const char *tfm_model_description(const tfm_model *m, size_t *len);
/* NULL if there is none. O(1). */
TFM_API const tfm_tensor *tfm_model_tensor(const tfm_model *m, const char *name);
TFM_API size_t tfm_model_n_tensors(const tfm_model *m);
TFM_API const tfm_tensor *tfm_model_tensor_at(const tfm_model *m, size_t i); /* in file order */
/* The vocabulary, opened on the first call (not thread-safe), owned by m. NULL *out and TFM_OK if
 * the model has none. */
TFM_API tfm_status tfm_model_vocab(tfm_model *m, const tfm_vocab **out,
                                   tfm_error *err) TFM_MUST_CHECK;

/* What a model is made of, for those who make one in memory (tfm/load.h). Takes ownership of
 * nothing; `owner` is freed with free_owner when the model is freed and must keep all of it alive.
 * tensors are copied as views. */
typedef struct tfm_model_parts {
    const char *path;
    const char *id;          /* 64 hex digits */
    const char *vocab_id;    /* or "" */
    const char *description; /* YAML */
    size_t description_len;
    const tfm_tensor *tensor; /* [n_tensors] */
    size_t n_tensors;
    void *owner;
    void (*free_owner)(void *owner);
} tfm_model_parts;
TFM_API tfm_status tfm_model_from_parts(tfm_model **out, const tfm_model_parts *parts,
                                        tfm_error *err) TFM_MUST_CHECK;

/* Writes a model stream: header h (kind model; `model` and `vocab` keys must be set), META, INDEX,
 * the tensors, END. Sizes must be known: tensor[i].bytes; the bytes come from emit(ctx, i, w),
 * which passes exactly that many to tfm_writer_data. emit NULL: tensor[i].data is written. */
typedef tfm_status (*tfm_tensor_emit)(void *ctx, size_t i, tfm_writer *w, tfm_error *err);
TFM_API tfm_status tfm_model_write(tfm_writer *w, const tfm_header *h, const char *description,
                                   size_t description_len, const tfm_tensor *tensor,
                                   size_t n_tensors, tfm_tensor_emit emit, void *ctx,
                                   tfm_error *err) TFM_MUST_CHECK;

/* ---- is a stream of kind model one? ---- */

typedef struct tfm_index_check tfm_index_check;
/* Compares the INDEX with the records, as a stream is read; tfm_model_open believes the INDEX.
 * start: tfm_reader_offset before the header. */
TFM_API tfm_status tfm_index_check_new(tfm_index_check **out, uint64_t start,
                                       tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_index_check_free(tfm_index_check *c);
/* Every record in turn. payload_at: tfm_reader_offset when tfm_reader_next has given it, before
 * its payload is read. payload: of the INDEX, if it has at most TFM_INDEX_MAX bytes; else not
 * looked at. TFM_FORMAT names the record that the INDEX has otherwise, or not. */
TFM_API tfm_status tfm_index_check_record(tfm_index_check *c, const tfm_record *rec,
                                          uint64_t payload_at, const void *payload,
                                          tfm_error *err) TFM_MUST_CHECK;
/* At the END: is every line of the INDEX there? */
TFM_API tfm_status tfm_index_check_end(tfm_index_check *c, tfm_error *err) TFM_MUST_CHECK;

/* ---- a foreign checkpoint ---- */

typedef enum tfm_source_format {
    TFM_SOURCE_GGUF,   /* v2, v3 */
    TFM_SOURCE_HF,     /* a folder with config.json and *.safetensors or *.bin */
    TFM_SOURCE_LLAMA2C /* .bin, version 0 and 1 headers */
} tfm_source_format;

typedef enum tfm_meta_type {
    TFM_META_INT, /* every integer type and bool (is_bool) */
    TFM_META_FLOAT,
    TFM_META_STRING,
    TFM_META_ARRAY /* of INT, FLOAT or STRING: n elements */
} tfm_meta_type;

/* One metadata value, flattened: GGUF keys as they are ("llama.block_count"); config.json with dots
 * ("rope_scaling.factor", arrays stay arrays), generation_config.json behind "generation.",
 * tokenizer_config.json behind "tokenizer_config."; llama2.c's header fields by name ("dim").
 * A JSON null is an absent key. The two last fields belong to tfm_meta_item. */
typedef struct tfm_meta {
    const char *key;         /* NULL in an item */
    tfm_meta_type type;      /* of the value, or TFM_META_ARRAY */
    tfm_meta_type item_type; /* of the elements of an array (JSON: of the first) */
    bool is_bool;
    int64_t i;     /* a u64 past INT64_MAX is INT64_MAX */
    double f;      /* set for INT too */
    const char *s; /* a value's is NUL-terminated, an item's need not be: use s_len */
    size_t s_len;
    size_t n; /* elements of an array */
    const void *items;
    uint32_t items_form;
} tfm_meta;

typedef struct tfm_source tfm_source;

/* What lies at `path` decides: a GGUF file (magic); a folder, or a .safetensors or PyTorch file in
 * it (HF; PyTorch's are read as data, nothing in them is run); a llama2.c checkpoint (either
 * header, size checked). A tokenizer alone is a source without tensors: tokenizer.json,
 * tokenizer.model (SentencePiece), vocab.json, llama2.c's tokenizer.bin, a GGUF without tensors, a
 * folder with tokenizer files only.
 * o (may be NULL) is copied. */
typedef struct tfm_source_options {
    /* NULL, or such a file or folder that is used instead of what lies beside the checkpoint;
     * llama2.c checkpoints without one look for tokenizer.bin, then tok*.bin if it is the only one,
     * in the same folder. */
    const char *tokenizer_path;
    /* Holds tokenizers.yaml, which is read when a vocabulary that is known by name only is asked
     * for: a GGUF's, a tiktoken file, vocab.json with merges.txt, vocab.txt. NULL: these are
     * TFM_USAGE. */
    const char *share_dir;
} tfm_source_options;
TFM_API tfm_status tfm_source_open(tfm_source **out, const char *path, const tfm_source_options *o,
                                   tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_source_free(tfm_source *s);
TFM_API tfm_source_format tfm_source_get_format(const tfm_source *s);
TFM_API const char *tfm_source_format_name(tfm_source_format f); /* "gguf" "hf" "llama2c" */
TFM_API const tfm_meta *tfm_source_meta(const tfm_source *s, const char *key); /* or NULL */
TFM_API size_t tfm_source_n_meta(const tfm_source *s);
TFM_API const tfm_meta *tfm_source_meta_at(const tfm_source *s, size_t i);
/* Element i of an array value, as INT, FLOAT (f set) or STRING. false if out of range. */
TFM_API bool tfm_meta_item(const tfm_meta *array, size_t i, tfm_meta *out);
/* Tensors under the checkpoint's names, layout rows, dims slowest first (GGUF's are reversed). */
TFM_API const tfm_tensor *tfm_source_tensor(const tfm_source *s, const char *name); /* or NULL */
TFM_API size_t tfm_source_n_tensors(const tfm_source *s);
TFM_API const tfm_tensor *tfm_source_tensor_at(const tfm_source *s, size_t i);
/* The vocabulary's tables, built on the first call; NULL *out and TFM_OK if there is none. Owned by
 * s. The settings also carry eog ids (end of generation) gathered from all metadata. */
TFM_API tfm_status tfm_source_vocab(tfm_source *s, const tfm_vocab_tables **out,
                                    tfm_error *err) TFM_MUST_CHECK;
/* Raw metadata kept in the model as u8 tensors "source.NAME": gguf header bytes, config.json,
 * tokenizer_config.json, generation_config.json, chat_template.jinja. Borrowed. */
TFM_API size_t tfm_source_n_blobs(const tfm_source *s);
TFM_API const tfm_tensor *tfm_source_blob_at(const tfm_source *s, size_t i);
/* SHA-256 over the checkpoint's files (names do not matter; the vocabulary has its own id). full:
 * every byte; else metadata, tensor table and sizes only (an "open without conversion" must not
 * read the weights). */
TFM_API tfm_status tfm_source_digest(const tfm_source *s, bool full, char out[65],
                                     tfm_error *err) TFM_MUST_CHECK;

/* ---- names of tokenizers ---- */

/* SHARE_DIR/tokenizers.yaml (see tfm-tokenizers(5)), read: what files call their vocabulary and the
 * way in which it splits text. Immutable. */
typedef struct tfm_tokenizer_names tfm_tokenizer_names;
TFM_API tfm_status tfm_tokenizer_names_open(tfm_tokenizer_names **out, const char *share_dir,
                                            tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_tokenizer_names_free(tfm_tokenizer_names *t);
/* Fills normaliser, patterns and flags of src for a name of tokenizer.ggml.pre. The strings belong
 * to t. TFM_UNSUPPORTED names the unknown one and lists known ones. */
TFM_API tfm_status tfm_tokenizer_names_split(const tfm_tokenizer_names *t, const char *name,
                                             tfm_vocab_source *src, tfm_error *err) TFM_MUST_CHECK;

/* ---- chat templates ---- */

/* The chat templates that came with a model's source (GGUF's metadata, tokenizer_config.json,
 * chat_template.jinja), and the special tokens that templates name. See tfm/template.h. */
typedef struct tfm_chat tfm_chat;
/* Opens the vocabulary. A model without templates is good: there are none. Copies what it needs. */
TFM_API tfm_status tfm_chat_open(tfm_chat **out, tfm_model *m, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_chat_free(tfm_chat *c);
TFM_API size_t tfm_chat_n_templates(const tfm_chat *c);
/* Template i: its text of *n bytes; a source with one calls it "default". Borrowed. */
TFM_API const char *tfm_chat_template(const tfm_chat *c, size_t i, const char **name, size_t *n);
TFM_API size_t tfm_chat_n_tokens(const tfm_chat *c);
/* Variable i (bos_token, eos_token, ...): its value as JSON text. Borrowed. */
TFM_API const char *tfm_chat_token(const tfm_chat *c, size_t i, const char **name, size_t *n);

/* ---- GGUF out ---- */

/* Writes m as GGUF to fd. If m came from a GGUF ("source.gguf" blob) and no tensor changed its
 * type, the file is byte for byte the original; if types changed, its metadata is the original's
 * but for general.file_type. Otherwise it is made from the description's `gguf:` section and the
 * vocabulary (which this opens), whose names there stand in SHARE_DIR/tokenizers.yaml. p16 tensors
 * are unpacked. */
TFM_API tfm_status tfm_gguf_write(tfm_model *m, const char *share_dir, int fd, const char *name,
                                  tfm_error *err) TFM_MUST_CHECK;

#endif
