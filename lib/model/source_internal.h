/* source_internal.h - what the readers of foreign checkpoints share: one growing tfm_source, and a
 * draft of a vocabulary.
 *
 *     source.c     decides by what lies at the path, owns the object, answers the questions
 *       gguf.c, hf.c, llama2c.c             fill metadata and tensors
 *       gguf_vocab.c, hf_tokenizer.c, ...   fill a draft, when the vocabulary is asked for
 *
 * All strings and arrays live in the source's arena or in its mapped files. */
#ifndef TFM_SOURCE_INTERNAL_H
#define TFM_SOURCE_INTERNAL_H

#include "base/base_internal.h"
#include "model/names_internal.h"
#include "tfm/model.h"

#define TFM_SOURCE_MAX_FILES 4096u /* shards */
#define TFM_SOURCE_MAX_META 65536u /* keys */
#define TFM_SOURCE_MAX_BLOBS 8u
#define TFM_SOURCE_MAX_VOCAB (4u << 20) /* pieces: sixteen times the largest in use */

/* tfm_meta.items_form of an array whose items are tfm_meta; other values are GGUF's (gguf.c). */
#define TFM_ITEMS_META UINT32_MAX

typedef struct tfm_source_file {
    tfm_map map;
    const char *path;
    uint64_t head; /* bytes at the start that a digest without weights covers */
} tfm_source_file;

struct tfm_source {
    tfm_source_format format;
    const char *path;
    const char *tokenizer_path;      /* NULL: what lies beside the checkpoint */
    const char *share_dir;           /* or NULL */
    tfm_tokenizer_names *tokenizers; /* or NULL: not read yet */
    tfm_arena *arena;
    tfm_source_file *file;
    size_t n_files, cap_files;
    size_t n_checkpoint_files; /* of them, those that tfm_source_open mapped */
    tfm_meta *meta;
    size_t n_meta, cap_meta;
    tfm_names meta_names;
    tfm_tensor *tensor;
    size_t n_tensors, cap_tensors;
    tfm_names tensor_names;
    tfm_tensor blob[TFM_SOURCE_MAX_BLOBS];
    size_t n_blobs;
    bool vocab_done;
    tfm_vocab_tables *vocab;
};

/* Maps a file and keeps it. head: see above; SIZE_MAX: all of it. *file is good until the next call
 * (the maps themselves do not move). */
tfm_status tfm_source_map(tfm_source *s, const char *path, tfm_source_file **file,
                          tfm_error *err) TFM_MUST_CHECK;
/* Adds m (strings already in the arena). TFM_FORMAT: the key is there already. */
tfm_status tfm_source_add_meta(tfm_source *s, const tfm_meta *m, tfm_error *err) TFM_MUST_CHECK;
/* Adds a view; name already in the arena. Sizes are checked against dims. */
tfm_status tfm_source_add_tensor(tfm_source *s, const tfm_tensor *t, tfm_error *err) TFM_MUST_CHECK;
/* Keeps raw bytes (borrowed, alive as long as s) as "source.NAME". Empty ones are not kept. */
tfm_status tfm_source_add_blob(tfm_source *s, const char *name, const void *p, uint64_t n,
                               tfm_error *err) TFM_MUST_CHECK;
/* "DIR/NAME" in the arena, DIR being the folder of path, or path itself if is_dir. */
tfm_status tfm_source_beside(tfm_source *s, const char *path, bool is_dir, const char *name,
                             const char **out, tfm_error *err) TFM_MUST_CHECK;
bool tfm_path_is_dir(const char *path);
bool tfm_path_is_file(const char *path);
/* A metadata value by key as a whole number; `fallback` if it is absent or of another type. */
int64_t tfm_source_int(const tfm_source *s, const char *key, int64_t fallback);
/* A string value by key, NULL if it is absent or of another type. */
const char *tfm_source_text(const tfm_source *s, const char *key);

/* ---- readers: fill s from s->path or the given file ---- */

tfm_status tfm_gguf_read(tfm_source *s, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_llama2c_read(tfm_source *s, tfm_error *err) TFM_MUST_CHECK;
/* s->path is a folder, or one file of weights: safetensors, or is_pytorch. */
tfm_status tfm_hf_read(tfm_source *s, bool is_pytorch, tfm_error *err) TFM_MUST_CHECK;
/* Adds the tensors of a file that torch.save wrote (pytorch.c). */
tfm_status tfm_pytorch_read(tfm_source *s, const char *path, tfm_error *err) TFM_MUST_CHECK;
/* The bytes are in a format of PyTorch: a zip archive, or one from before 1.6. */
bool tfm_pytorch_matches(const unsigned char *p, uint64_t n);
/* Do the bytes have the form of a llama2.c checkpoint (either header), size included? */
bool tfm_llama2c_matches(const unsigned char *p, uint64_t n);
bool tfm_llama2c_tokenizer_matches(const unsigned char *p, uint64_t n);
bool tfm_spm_model_matches(const unsigned char *p, uint64_t n);
bool tfm_tiktoken_matches(const unsigned char *p, uint64_t n);
bool tfm_is_line_vocab(const char *path); /* a list of tokens, by its name */

/* ---- vocabularies ---- */

/* A vocabulary being read: src's pointers are the arrays below once they are sized. */
typedef struct tfm_draft {
    tfm_arena *arena;
    tfm_vocab_source src;
    const char **piece;             /* [src.n] */
    uint32_t *piece_len;            /* [src.n] */
    float *score;                   /* [src.n], or NULL */
    uint8_t *flags;                 /* [src.n] */
    uint8_t *matching;              /* [src.n], src has it, too; or NULL */
    const char **left, **right;     /* [src.n_merges] */
    uint32_t *left_len, *right_len; /* [src.n_merges] */
    bool prefix_always; /* a space is put before every stretch of text, not only the first */
    bool exact; /* normaliser, splitter and decoder are lists of steps, as the file has them */
    const char **pattern; /* [src.n_patterns], room for TFM_DRAFT_PATTERNS */
    void *json;           /* json_t that texts of it point into, or NULL */
    void *added;          /* another */
} tfm_draft;

#define TFM_DRAFT_PATTERNS 16u

/* Frees what is not in the arena. */
void tfm_draft_clear(tfm_draft *d);
/* Appends a pre-tokenizer pattern (copied into the arena). */
tfm_status tfm_draft_pattern(tfm_draft *d, const char *pattern, size_t n,
                             tfm_error *err) TFM_MUST_CHECK;
/* The id of an exact piece, -1 if there is none. Linear: for a handful of special tokens. */
int32_t tfm_draft_find(const tfm_draft *d, const char *s, size_t n);

/* Room for n pieces, all empty; scores only if asked for. Every bos.. is set to -1. */
tfm_status tfm_draft_pieces(tfm_draft *d, uint64_t n, bool scores, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_draft_merges(tfm_draft *d, uint64_t n, tfm_error *err) TFM_MUST_CHECK;
/* Splits "left right" at the first space that is not at the start into merge i. */
tfm_status tfm_draft_merge_text(tfm_draft *d, uint32_t i, const char *s, size_t n,
                                tfm_error *err) TFM_MUST_CHECK;
void tfm_draft_flag(tfm_draft *d, int64_t id, unsigned flags);
/* Marks as EOG the eos and every control or added token with a name known to end a turn. */
void tfm_draft_mark_eog(tfm_draft *d);
/* "<0x0A>", 0 to 255: the byte; else -1. */
int tfm_byte_piece(const char *s, size_t n);

/* Each fills d, whose arena is set; the bytes stay mapped while d lives. */
tfm_status tfm_gguf_vocab(tfm_source *s, tfm_draft *d, bool *found, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_llama2c_tokenizer(tfm_draft *d, const unsigned char *p, uint64_t n,
                                 tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_spm_model(tfm_draft *d, const unsigned char *p, uint64_t n,
                         tfm_error *err) TFM_MUST_CHECK;
/* A tiktoken file, which is mapped; path and s for what lies beside it. */
tfm_status tfm_tiktoken(tfm_source *s, const char *path, const tfm_map *file, tfm_draft *d,
                        tfm_error *err) TFM_MUST_CHECK;
/* The tokenizer at a path (file or folder); *found false if there is none in that folder. */
tfm_status tfm_tokenizer_at(tfm_source *s, const char *path, tfm_draft *d, bool *found,
                            tfm_error *err) TFM_MUST_CHECK;
/* The tokenizer's file in a folder (or beside a file); NULL if there is none. */
tfm_status tfm_tokenizer_in(tfm_source *s, const char *path, const char **out,
                            tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_llama2c_find_tokenizer(tfm_source *s, const char **path,
                                      tfm_error *err) TFM_MUST_CHECK;

#endif
