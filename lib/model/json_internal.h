/* json_internal.h - JSON files of a Hugging Face folder, read by jansson under a memory bound. */
#ifndef TFM_JSON_INTERNAL_H
#define TFM_JSON_INTERNAL_H

#include <jansson.h>

#include "model/source_internal.h"

/* Parses an object. TFM_LIMIT if its values would need much more memory than the text is long;
 * duplicate keys are refused. `name` is for messages. Freed by json_decref. */
tfm_status tfm_json_parse(json_t **out, const void *text, uint64_t n, const char *name,
                          tfm_error *err) TFM_MUST_CHECK;
/* Adds every value of an object as metadata, keys joined by dots behind `prefix` ("" or "x."). */
tfm_status tfm_json_flatten(tfm_source *s, const json_t *object, const char *prefix,
                            tfm_error *err) TFM_MUST_CHECK;
/* Members of an object; NULL or the fallback if absent (or null), or of another type. */
const char *tfm_json_text(const json_t *object, const char *key, size_t *len);
bool tfm_json_bool(const json_t *object, const char *key, bool fallback);
/* The text of a token that is either a string or an object with "content"; NULL otherwise. */
const char *tfm_json_token(const json_t *object, const char *key, size_t *len);

/* The tensors of a safetensors file: names and metadata are in the tree, data in the file's
 * bytes. */
typedef struct tfm_safetensors_entry {
    const char *name; /* in the tree */
    tfm_tensor t; /* bytes as the offsets say: whether the dims agree is the caller's to check */
    uint64_t from, to;
} tfm_safetensors_entry;
typedef struct tfm_safetensors {
    json_t *tree;                 /* the header; "__metadata__" is among its members */
    tfm_safetensors_entry *entry; /* [n], in the order of their data */
    size_t n;
    uint64_t head; /* bytes before the data */
} tfm_safetensors;
/* Reads p[0..size), which is borrowed; `name` is for messages. Dimensions may be 0. On failure
 * nothing is left to close. */
tfm_status tfm_safetensors_open(tfm_safetensors *s, const unsigned char *p, uint64_t size,
                                const char *name, tfm_error *err) TFM_MUST_CHECK;
void tfm_safetensors_close(tfm_safetensors *s);
/* Adds the tensors of the safetensors file `path`. */
tfm_status tfm_safetensors_read(tfm_source *s, const char *path, tfm_error *err) TFM_MUST_CHECK;

/* ---- parts of tokenizer.json (hf_pipeline.c): they set fields of d->src ---- */

tfm_status tfm_hf_normalizer(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_hf_pretokenizer(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_hf_decoder(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
/* The same as lists of steps, for what the fixed settings do not say (hf_steps.c). */
tfm_status tfm_hf_normalizer_steps(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_hf_decoder_steps(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
/* The pre_tokenizer as such a list, behind the normalizer (hf_split.c). */
tfm_status tfm_hf_splitter_steps(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
/* All that tokenizer.json says but for its model's own tables and its post_processor: by the fixed
 * settings if these have words for it, else by lists of steps. Each of the two reads it all from
 * the whole file j; the first leaves what it does not know to the second (TFM_UNSUPPORTED). */
typedef tfm_status (*tfm_hf_reader)(tfm_draft *d, const json_t *j, tfm_error *err);
tfm_status tfm_hf_either(tfm_draft *d, const json_t *j, tfm_hf_reader fixed, tfm_hf_reader steps,
                         tfm_error *err) TFM_MUST_CHECK;
/* normalizer, pre_tokenizer, decoder and added tokens of j, as steps. */
tfm_status tfm_hf_stages(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
/* A stage "X" of the file is not supported as it stands in j. */
tfm_status tfm_hf_refuse(tfm_error *err, const char *stage, const json_t *j) TFM_MUST_CHECK;
/* The members of a Sequence, under `key`; NULL if it is none. */
const json_t *tfm_hf_sequence(const json_t *j, const char *key);
bool tfm_hf_is_type(const json_t *j, const char *type);
/* Is j[key] this text? */
bool tfm_hf_text_is(const json_t *j, const char *key, const char *want);
tfm_status tfm_hf_postprocessor(tfm_draft *d, const json_t *j, tfm_error *err) TFM_MUST_CHECK;
/* One added token: its flags, and how it is found in a text (TFM_MATCH_*). */
tfm_status tfm_hf_added_flags(const tfm_draft *d, const json_t *token, unsigned *flags,
                              unsigned *matching, tfm_error *err) TFM_MUST_CHECK;
/* bos, eos, unk, pad by name from tokenizer_config.json (may be NULL). is_list: the tokenizer's own
 * file is a bare list of pieces, so add_bos_token and add_eos_token count, too; tokenizer.json says
 * that itself. */
void tfm_hf_config_tokens(tfm_draft *d, const json_t *config, bool is_list);
/* The added tokens that tokenizer_config.json lists (for files that have no list of their own), in
 * the form of tokenizer.json's added_tokens. *out must be freed even on failure. */
tfm_status tfm_hf_added_list(const json_t *config, json_t **out, tfm_error *err) TFM_MUST_CHECK;
/* Sizes the draft and puts the pieces of a vocab (piece to id) into it; ids of added tokens
 * count. */
tfm_status tfm_hf_take_vocab(tfm_draft *d, json_t *vocab, const json_t *added,
                             tfm_error *err) TFM_MUST_CHECK;
/* Puts added tokens (an array as in tokenizer.json) into their places. */
tfm_status tfm_hf_take_added(tfm_draft *d, const json_t *added, tfm_error *err) TFM_MUST_CHECK;

/* Parses the elements of model.merges, "a b" or ["a", "b"]. The text may go afterwards. */
tfm_status tfm_hf_take_merges(tfm_draft *d, const unsigned char *text, uint64_t n,
                              tfm_error *err) TFM_MUST_CHECK;

/* Model Unigram: j is the whole file but for the array model.vocab, of which vocab[0..len) is the
 * inside. */
tfm_status tfm_hf_unigram(tfm_draft *d, const json_t *j, const unsigned char *vocab, uint64_t len,
                          tfm_error *err) TFM_MUST_CHECK;

/* ---- whole files ---- */

/* tokenizer.json of the models WordPiece and WordLevel: the whole tree, from which the pieces are
 * taken away and in which added tokens stay. */
bool tfm_hf_is_wordpiece(const json_t *model);
bool tfm_hf_is_wordlevel(const json_t *model);
tfm_status tfm_hf_wordlevel(tfm_draft *d, json_t *j, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_hf_wordpiece(tfm_draft *d, json_t *j, tfm_error *err) TFM_MUST_CHECK;
/* The pieces, already in d, are those of a vocab.txt: the rest. kind as in tfm_bpe_files. */
tfm_status tfm_wordpiece_list(tfm_source *s, tfm_draft *d, const json_t *config,
                              const json_t *added, const char *kind, tfm_error *err) TFM_MUST_CHECK;

/* tokenizer.json. */
tfm_status tfm_hf_tokenizer(tfm_draft *d, const tfm_map *file, tfm_error *err) TFM_MUST_CHECK;
/* Is it source.spm or target.spm with a vocab.json beside it? Then the second reads all of them. */
tfm_status tfm_spm_pair_beside(tfm_source *s, const char *path, bool *found,
                               tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_spm_pair(tfm_source *s, const char *path, const tfm_map *file, const json_t *config,
                        tfm_draft *d, tfm_error *err) TFM_MUST_CHECK;
/* A list of tokens, one a line; config and added: see below, or NULL. */
tfm_status tfm_line_vocab(tfm_source *s, tfm_draft *d, const tfm_map *file, const json_t *config,
                          const json_t *added, const char *kind, tfm_error *err) TFM_MUST_CHECK;
/* The pieces, already in d, are characters and names in brackets: the rest. */
tfm_status tfm_character_list(tfm_draft *d, const json_t *config, tfm_error *err) TFM_MUST_CHECK;
/* vocab.json (encoder.json) with merges.txt (vocab.bpe). kind: the tokenizer's class or the model's
 * type, which tokenizers.yaml has; NULL: not known. added: see tfm_hf_added_list. */
tfm_status tfm_bpe_files(tfm_source *s, tfm_draft *d, const tfm_map *vocab, const tfm_map *merges,
                         const json_t *added, const char *kind, tfm_error *err) TFM_MUST_CHECK;

#endif
