/* tokenizer_names_internal.h - what share/tokenizers.yaml says, for the readers that need it.
 *
 *     const tfm_tokenizer_names *names;
 *     TFM_TRY(tfm_source_tokenizers(s, &names, err));
 *     const tfm_gguf_kind *kind = tfm_tokenizer_names_gguf_kind(names, "...", n);
 *
 * The names of formats and of ways to split text are data, as architectures are: no code has them.
 * What is returned lives as long as the names. */
#ifndef TFM_TOKENIZER_NAMES_INTERNAL_H
#define TFM_TOKENIZER_NAMES_INTERNAL_H

#include "base/yaml_internal.h"
#include "model/source_internal.h"

/* One way of splitting text. */
typedef struct tfm_split {
    const tfm_yaml *names; /* NULL: of one encoding only */
    const char *normaliser;
    bool ignore_merges, add_bos;
    bool characters;      /* symbols are characters and spaces U+2581; else bytes */
    const char **pattern; /* [n_patterns] */
    uint32_t n_patterns;
} tfm_split;

/* A value of tokenizer.ggml.model, and what holds where a file does not say it. */
typedef struct tfm_gguf_kind {
    const char *name;
    tfm_vocab_type type;
    int32_t bos, eos, unk, pad; /* -1: none */
    bool add_bos, add_eos, add_space_prefix;
} tfm_gguf_kind;

/* What a file of tiktoken does not say. */
typedef struct tfm_encoding {
    const tfm_yaml *names;
    int64_t vocab_size; /* of the checkpoint; 0: any */
    const tfm_split *split;
    const tfm_yaml *tokens;   /* mapping of texts to ids, or NULL */
    const tfm_yaml *next;     /* list: they get the ids from the first free one on, or NULL */
    const tfm_yaml *reserved; /* a numbered token for each free id of a range, or NULL */
} tfm_encoding;

/* Read on the first call, from s's share_dir; owned by s. */
tfm_status tfm_source_tokenizers(tfm_source *s, const tfm_tokenizer_names **out,
                                 tfm_error *err) TFM_MUST_CHECK;

/* Lets src split so. */
void tfm_split_apply(const tfm_split *split, tfm_vocab_source *src);
/* The i-th way that has names; NULL behind the last. */
const tfm_split *tfm_tokenizer_names_split_at(const tfm_tokenizer_names *t, size_t i);

/* NULL if there is none; of a type: the first one. */
const tfm_gguf_kind *tfm_tokenizer_names_gguf_kind(const tfm_tokenizer_names *t, const char *name,
                                                   size_t n);
const tfm_gguf_kind *tfm_tokenizer_names_gguf_of_type(const tfm_tokenizer_names *t,
                                                      tfm_vocab_type type);

/* The way in which a vocab.json of this class (NULL: not known) is split; NULL if none is known. */
const tfm_split *tfm_tokenizer_names_merges_split(const tfm_tokenizer_names *t, const char *kind);
/* Does this class (NULL: not known) read a vocab.txt as WordPiece? */
bool tfm_tokenizer_names_is_wordpiece(const tfm_tokenizer_names *t, const char *kind);

/* The encoding of a file of this name; NULL if there is none. */
const tfm_encoding *tfm_tokenizer_names_encoding(const tfm_tokenizer_names *t, const char *name,
                                                 size_t n, int64_t vocab_size);
/* A list of words that encodings share; NULL if there is none of that name. */
const char *tfm_tokenizer_names_words(const tfm_tokenizer_names *t, const char *name);

/* "a, b, c": what is known, as far as it fits. */
void tfm_tokenizer_names_list_kinds(const tfm_tokenizer_names *t, char *out, size_t size);
void tfm_tokenizer_names_list_encodings(const tfm_tokenizer_names *t, char *out, size_t size);

#endif
