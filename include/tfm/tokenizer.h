/* tokenizer.h - text to token ids and back.
 *
 *     tfm_tokenizer *t;
 *     TFM_TRY(tfm_tokenizer_new(&t, vocab, err));                 // vocab: tensors, see below
 *     TFM_TRY(tfm_tokenize(t, text, n, TFM_TOK_ADD_SPECIAL, &ids, err));
 *     tfm_detok *d;
 *     TFM_TRY(tfm_detok_new(&d, t, 0, err));
 *     TFM_TRY(tfm_detok_push(d, ids.data[i], &bytes, &n_bytes, err));   // whole characters only
 *
 * A tokenizer is immutable after creation and may be used from many threads.
 *
 * A vocabulary is a set of named tensors plus a few settings (struct tfm_vocab), made once by
 * tfm-convert and used in place from the mapped model, so that opening costs no parse. All look-up
 * tables (hash tables of pieces and merges) are part of it. The readers of GGUF, tokenizer.json,
 * SentencePiece and llama2.c fill a tfm_vocab_builder, which computes the tables.
 */
#ifndef TFM_TOKENIZER_H
#define TFM_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"
#include "tfm/tensor.h"

/* ---- vocabulary: settings as text, tables as tensors ---- */

/* Where tensors come from: returns false if there is none of that name. The data must outlive the
 * vocabulary. Names are "vocab.pieces", "vocab.offsets", ...: text/vocab.c lists them all. */
typedef bool (*tfm_tensor_lookup)(void *ctx, const char *name, tfm_tensor *out);

typedef struct tfm_vocab tfm_vocab;
/* Opens from the tensors of a model; checks shapes and every offset lazily or in bulk such that a
 * hostile file cannot make any later call read out of bounds. `settings` is the YAML text of the
 * description's `tokenizer:` section (see tfm-model(5)). O(1) in the vocabulary's size where
 * possible: < 5 ms for 262,144 pieces. */
TFM_API tfm_status tfm_vocab_open(tfm_vocab **out, const char *settings, size_t settings_len,
                                  tfm_tensor_lookup lookup, void *ctx,
                                  tfm_error *err) TFM_MUST_CHECK;
/* The vocabulary in which id = byte: 256 pieces, no special tokens, id "raw-bytes". */
TFM_API tfm_status tfm_vocab_raw_bytes(tfm_vocab **out, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_vocab_free(tfm_vocab *v);
TFM_API uint32_t tfm_vocab_size(const tfm_vocab *v);
/* 16 hex digits of the SHA-256 over settings and tables; "raw-bytes" for that one. Stored at
 * conversion, not recomputed at open. */
TFM_API const char *tfm_vocab_id(const tfm_vocab *v);

/* Token kinds, as bit flags of one id. */
enum {
    TFM_TOKEN_CONTROL = 1, /* never printed unless asked: <s>, <|im_start|> */
    TFM_TOKEN_BYTE = 2,    /* <0x0A> of byte fallback */
    TFM_TOKEN_UNKNOWN = 4,
    TFM_TOKEN_ADDED = 8,   /* added token: matched in the text before anything else */
    TFM_TOKEN_UNUSED = 16, /* never text; with ADDED: found as such, but no piece of the model */
    TFM_TOKEN_EOG = 32,    /* generation ends here (eos, eot, eom) */
    TFM_TOKEN_LSTRIP = 64, /* with ADDED or CONTROL: takes the white space before it along */
    TFM_TOKEN_RSTRIP = 128 /* ... and the white space behind it */
};
/* How an added or control token is found in a text, besides. */
enum {
    TFM_MATCH_WORD = 1,      /* only where no character of a word stands beside it */
    TFM_MATCH_NORMALISED = 2 /* its normalised form, in the normalised text; added tokens only */
};
TFM_API unsigned tfm_vocab_flags(const tfm_vocab *v, uint32_t id);
/* The piece as it stands in the vocabulary (byte-level and U+2581 alphabet not undone). */
TFM_API const char *tfm_vocab_piece(const tfm_vocab *v, uint32_t id, size_t *len);
/* The id of an exact piece, or -1. */
TFM_API int32_t tfm_vocab_find(const tfm_vocab *v, const char *piece, size_t len);
TFM_API float tfm_vocab_score(const tfm_vocab *v, uint32_t id);
/* -1 where there is none. */
TFM_API int32_t tfm_vocab_bos(const tfm_vocab *v);
TFM_API int32_t tfm_vocab_eos(const tfm_vocab *v);
TFM_API int32_t tfm_vocab_unk(const tfm_vocab *v);
TFM_API int32_t tfm_vocab_pad(const tfm_vocab *v);

typedef enum tfm_vocab_type {
    TFM_VOCAB_BYTES,
    TFM_VOCAB_BPE,
    TFM_VOCAB_SPM,        /* SentencePiece BPE */
    TFM_VOCAB_UNIGRAM,    /* SentencePiece unigram */
    TFM_VOCAB_WORDPIECE,  /* BERT */
    TFM_VOCAB_CHARACTERS, /* each character is a token */
    TFM_VOCAB_WORDS       /* each word is a token */
} tfm_vocab_type;
TFM_API tfm_vocab_type tfm_vocab_kind(const tfm_vocab *v);

/* ---- building (tfm-convert) ---- */

/* One step of normalising text or of putting pieces together, by name, with up to two texts (NULL:
 * none). tfm-model(5) lists the names. */
typedef struct tfm_vocab_step {
    const char *kind, *a, *b;
} tfm_vocab_step;
enum { TFM_PAIR_NO_TEXT = -2 };
enum { TFM_VOCAB_AROUND = 16 }; /* tokens that are put before or after a text, at most */

/* What a reader of a foreign vocabulary knows. All pointers borrowed during tfm_vocab_build. */
typedef struct tfm_vocab_source {
    tfm_vocab_type type;
    uint32_t n;
    const char *const *piece;  /* [n], may hold NUL bytes */
    const uint32_t *piece_len; /* [n] */
    const float *score;        /* [n] or NULL (BPE) */
    const uint8_t *flags;      /* [n] TFM_TOKEN_* */
    const uint8_t *matching;   /* [n] TFM_MATCH_*, with a splitter; or NULL: none */
    uint32_t n_merges;         /* BPE: rank order, "left right" as two pieces */
    const char *const *merge_left, *const *merge_right;
    const uint32_t *merge_left_len, *merge_right_len;
    /* BPE: instead of merges, any two pieces merge that together are a piece, whose id is the
     * rank. */
    bool merge_all;
    int32_t bos, eos, unk, pad; /* -1: none */
    bool add_bos, add_eos;      /* what special=add puts around a text */
    /* SPM and BPE normalisation */
    bool add_space_prefix; /* put U+2581 before the text */
    bool space_to_meta;    /* ' ' -> U+2581 */
    bool remove_extra_spaces;
    const char *normaliser; /* "none" | "nfc" | "nfkc" | "nfd" | "nfkd" | "charsmap" | "steps" */
    const void *charsmap;   /* [charsmap_len] SentencePiece's precompiled_charsmap, or NULL */
    uint64_t charsmap_len;
    const tfm_vocab_step *step; /* [n_steps] of normaliser "steps", as tokenizer.json has them */
    uint32_t n_steps;
    /* [n] unigram: sums are of double precision, NaN: the model does not have this piece; or
     * NULL */
    const double *wide_score;
    bool ignore_merges; /* a pre-token that is a whole piece is taken as it is (Llama 3) */
    bool byte_level;    /* GPT-2's byte alphabet */
    /* Pre-tokenizer: PCRE2 patterns applied one after another; each splits isolated. */
    uint32_t n_patterns;
    const char *const *pattern;
    /* ByteLevel(add_prefix_space); over characters (Metaspace): a space before a text that does not
     * begin with one, and behind control tokens only if add_space_prefix is set, too. */
    bool add_prefix_space;
    bool split_spaces; /* the text is cut at white space, which is left out */
    /* What special=add puts around a text, where that is not bos and eos alone: add_bos and add_eos
     * are not looked at if either is set. */
    uint32_t n_before, n_after;
    const int32_t *before, *after;
    const tfm_vocab_step
        *decoder; /* [n_decoder] how pieces become text; none: by the fields above */
    uint32_t n_decoder;
    /* [n_splitter] how a text is split, as the pre-tokenizers of a tokenizer.json say; then of the
     * fields above that say how text is normalised or split only normaliser and step count, and
     * decoder must say how pieces become text. The four below are for BPE with it. */
    const tfm_vocab_step *splitter;
    uint32_t n_splitter;
    const char *word_suffix; /* of what ends a word ("</w>"), */
    const char *word_prefix; /* of what does not begin one, or NULL */
    uint32_t merge_skip;     /* bytes at the start of the right piece of a merge that go */
    bool fuse_unknown;       /* unknown characters in a row are one token, else one each */
    /* Unigram: the model that cuts text, where it is not over this vocabulary's own pieces (then
     * score is not looked at), and which id each of its pieces is: -1 none, TFM_PAIR_NO_TEXT never
     * text. */
    uint32_t n_source;
    const char *const *source_piece; /* [n_source] */
    const uint32_t *source_len;
    const float *source_score;
    const int32_t *source_id;
    /* WordPiece: how a text becomes words, and what is known of pieces */
    bool clean_text, split_cjk, strip_accents, lowercase;
    const char *inner_prefix; /* of pieces that go on within a word: "##" */
    uint32_t max_word;        /* a word of more characters is unknown */
    bool clean_spaces;        /* no space before punctuation and 's when detokenizing */
} tfm_vocab_source;

/* One tensor of the built vocabulary; data owned by the builder's result. */
typedef struct tfm_vocab_tables {
    char *settings; /* YAML for the description's `tokenizer:` section, without that key */
    size_t settings_len;
    tfm_tensor *tensor; /* [n_tensors] */
    size_t n_tensors;
    char id[17];
    void *owner; /* what frees the data */
} tfm_vocab_tables;
TFM_API tfm_status tfm_vocab_build(tfm_vocab_tables **out, const tfm_vocab_source *src,
                                   tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_vocab_tables_free(tfm_vocab_tables *t);

/* ---- text to ids ---- */

typedef struct tfm_tokenizer tfm_tokenizer;
/* Borrows v. Compiles the patterns (PCRE2 JIT), nothing else. */
TFM_API tfm_status tfm_tokenizer_new(tfm_tokenizer **out, const tfm_vocab *v,
                                     tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_tokenizer_free(tfm_tokenizer *t);
TFM_API const tfm_vocab *tfm_tokenizer_vocab(const tfm_tokenizer *t);
/* Can every byte string be spelled, so that text survives tokenizing exactly? */
TFM_API bool tfm_tokenizer_spells_bytes(const tfm_tokenizer *t);

enum {
    TFM_TOK_ADD_SPECIAL = 1,  /* BOS, EOS as the vocabulary asks */
    TFM_TOK_PARSE_SPECIAL = 2 /* control tokens spelled in the text become their ids */
};
/* {0} is empty; freed by tfm_ids_free. */
typedef struct tfm_ids {
    int32_t *data;
    size_t len, cap;
} tfm_ids;
/* Appends the ids of text[0..n) to *ids. n log n at worst. `unknown`, if not NULL, is increased by
 * the characters that only unk could spell. Bytes that are not UTF-8 are kept where the vocabulary
 * can spell bytes, else TFM_RECORD with the offset of the first. */
TFM_API tfm_status tfm_tokenize(const tfm_tokenizer *t, const char *text, size_t n, unsigned flags,
                                tfm_ids *ids, uint64_t *unknown, tfm_error *err) TFM_MUST_CHECK;
/* The same for a text of which only some parts may hold control tokens: marks[i] is not 0 where the
 * byte text[i] may belong to one; a token counts where all of its bytes may. TFM_TOK_PARSE_SPECIAL
 * is not looked at; marks NULL: exactly tfm_tokenize. All else is as in one text: what is no
 * control token runs across the marks. */
TFM_API tfm_status tfm_tokenize_marked(const tfm_tokenizer *t, const char *text,
                                       const unsigned char *marks, size_t n, unsigned flags,
                                       tfm_ids *ids, uint64_t *unknown,
                                       tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_ids_push(tfm_ids *ids, int32_t id, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_ids_free(tfm_ids *ids);
/* Bytes of valid UTF-8 at the start of text[0..n). */
TFM_API size_t tfm_text_span(const char *text, size_t n);

/* One of many texts. text is borrowed; ids is the caller's ({0} at first, may be used again and
 * again). err.status: TFM_OK or why this one failed. An item with `skip` set is
 * left as it is. */
typedef struct tfm_tok_item {
    const char *text;
    size_t len;
    bool skip;
    tfm_ids ids;
    uint64_t unknown;
    tfm_error err;
} tfm_tok_item;
/* Tokenizes n texts on up to n_threads threads (0: as many as this process may use). The results
 * depend on the texts alone. Fails only if no threads can be had; each item has its own status. */
TFM_API tfm_status tfm_tokenize_many(const tfm_tokenizer *t, tfm_tok_item *item, size_t n,
                                     unsigned flags, unsigned n_threads,
                                     tfm_error *err) TFM_MUST_CHECK;

/* ---- ids to text ---- */

typedef struct tfm_detok tfm_detok;
enum {
    TFM_DETOK_SHOW_SPECIAL = 1, /* print control tokens */
    TFM_DETOK_CONTINUES = 2     /* the text goes on after a prompt: strip no leading space */
};
/* Borrows t. */
TFM_API tfm_status tfm_detok_new(tfm_detok **out, const tfm_tokenizer *t, unsigned flags,
                                 tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_detok_free(tfm_detok *d);
/* The bytes that this id completes: whole characters only; an unfinished character is held back
 * (at most 3 bytes). Borrowed until the next call. An id outside the vocabulary is TFM_RECORD. */
TFM_API tfm_status tfm_detok_push(tfm_detok *d, int32_t id, const char **bytes, size_t *n,
                                  tfm_error *err) TFM_MUST_CHECK;
/* What is held back, as the raw bytes it is (exactness before prettiness); resets for a new
 * text. */
TFM_API tfm_status tfm_detok_finish(tfm_detok *d, const char **bytes, size_t *n,
                                    tfm_error *err) TFM_MUST_CHECK;

#endif
