/* tokenizer_file.c - which reader takes a tokenizer's file or folder, by what the bytes are.
 *
 * In a folder the first of these counts: tokenizer.json, tokenizer.model, source.spm + vocab.json,
 * vocab.json + merges.txt, encoder.json + vocab.bpe, vocab.txt, tokenizer.bin. A vocab.json without
 * merges is one of single characters. tokenizer.json comes first because it says how text is split
 * and normalised, which the older files leave to their program. tokenizer_config.json beside it
 * names the special tokens. */
#include <string.h>

#include "model/json_internal.h"

static const struct {
    const char *name, *merges;
} known[] = {{"tokenizer.json", NULL},     {"tokenizer.model", NULL},     {"source.spm", NULL},
             {"vocab.json", "merges.txt"}, {"encoder.json", "vocab.bpe"}, {"vocab.txt", NULL},
             {"tokenizer.bin", NULL}};
enum { N_KNOWN = sizeof known / sizeof *known };

tfm_status tfm_tokenizer_in(tfm_source *s, const char *path, const char **out, tfm_error *err) {
    bool is_dir = tfm_path_is_dir(path);
    for (size_t i = 0; i < N_KNOWN; i++) {
        TFM_TRY(tfm_source_beside(s, path, is_dir, known[i].name, out, err));
        if (tfm_path_is_file(*out)) return TFM_OK;
    }
    *out = NULL;
    return TFM_OK;
}

/* The name of the merges' file if `path` is a vocab.json or encoder.json; else NULL. */
static const char *merges_of(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    for (size_t i = 0; i < N_KNOWN; i++)
        if (known[i].merges && strcmp(known[i].name, base) == 0) return known[i].merges;
    return NULL;
}

/* tokenizer_config.json beside path, or NULL. */
static tfm_status read_config(tfm_source *s, const char *path, json_t **out, tfm_error *err) {
    const char *name;
    tfm_source_file *f;
    *out = NULL;
    TFM_TRY(tfm_source_beside(s, path, false, "tokenizer_config.json", &name, err));
    if (!tfm_path_is_file(name)) return TFM_OK;
    TFM_TRY(tfm_source_map(s, name, &f, err));
    return tfm_json_parse(out, f->map.data, f->map.size, name, err);
}

/* vocab.json without merges. */
static tfm_status read_characters(tfm_draft *d, const char *path, const tfm_map *file,
                                  const json_t *config, tfm_error *err) {
    json_t *j;
    TFM_TRY(tfm_json_parse(&j, file->data, file->size, "vocab.json", err));
    d->json = j;
    TFM_TRY(tfm_hf_take_vocab(d, j, NULL, err));
    tfm_status st = tfm_character_list(d, config, err);
    return st == TFM_UNSUPPORTED
               ? tfm_error_prefix(err, st, "its merges, %s, are not beside it", merges_of(path))
               : st;
}

/* A list of pieces: vocab.json with its merges, or a SentencePiece model. Tokens that were added to
 * it later are listed in tokenizer_config.json; older folders have added_tokens.json instead, which
 * does not say what they are. */
static tfm_status read_list(tfm_source *s, const char *path, const tfm_map *file,
                            const json_t *config, tfm_draft *d, tfm_error *err) {
    const char *name, *kind = tfm_json_text(config, "tokenizer_class", NULL);
    tfm_source_file *f;
    json_t *added;
    if (!kind) kind = tfm_source_text(s, "model_type");
    TFM_TRY(tfm_source_beside(s, path, false, "added_tokens.json", &name, err));
    if (tfm_path_is_file(name) && !json_object_get(config, "added_tokens_decoder"))
        return tfm_fail(err, TFM_UNSUPPORTED, "added_tokens.json beside it; save a tokenizer.json");
    tfm_status st = tfm_hf_added_list(config, &added, err);
    d->added = added; /* freed with the draft */
    if (st != TFM_OK) return st;
    if (tfm_is_line_vocab(path)) return tfm_line_vocab(s, d, file, config, added, kind, err);
    if (!merges_of(path)) {
        TFM_TRY(tfm_spm_model(d, file->data, file->size, err));
        TFM_TRY(tfm_hf_take_added(d, added, err));
    } else {
        TFM_TRY(tfm_source_beside(s, path, false, merges_of(path), &name, err));
        if (!tfm_path_is_file(name)) return read_characters(d, path, file, config, err);
        TFM_TRY(tfm_source_map(s, name, &f, err));
        TFM_TRY(tfm_bpe_files(s, d, file, &f->map, added, kind, err));
    }
    tfm_hf_config_tokens(d, config, true);
    return TFM_OK;
}

static bool starts_object(const tfm_map *m) {
    size_t i = 0;
    while (i < m->size && strchr(" \t\r\n", m->data[i]) && m->data[i]) i++;
    return i < m->size && m->data[i] == '{';
}

static tfm_status read_file(tfm_source *s, const char *path, tfm_map m, const json_t *config,
                            tfm_draft *d, tfm_error *err) {
    bool is_pair;
    TFM_TRY(tfm_spm_pair_beside(s, path, &is_pair, err));
    if (is_pair) return tfm_spm_pair(s, path, &m, config, d, err);
    if (merges_of(path) || tfm_is_line_vocab(path) || tfm_spm_model_matches(m.data, m.size))
        return read_list(s, path, &m, config, d, err);
    if (tfm_tiktoken_matches(m.data, m.size)) {
        TFM_TRY(tfm_tiktoken(s, path, &m, d, err));
        tfm_hf_config_tokens(d, config, true);
        return TFM_OK;
    }
    if (starts_object(&m)) {
        TFM_TRY(tfm_hf_tokenizer(d, &m, err));
        tfm_hf_config_tokens(d, config, false);
        return TFM_OK;
    }
    if (tfm_llama2c_tokenizer_matches(m.data, m.size))
        return tfm_llama2c_tokenizer(d, m.data, m.size, err);
    return tfm_fail(err, TFM_FORMAT, "no tokenizer that is known here");
}

/* The model's own configuration fills in what the tokenizer's files do not say. */
static void ids_from_model(const tfm_source *s, tfm_draft *d) {
    int64_t bos = tfm_source_int(s, "bos_token_id", -1),
            eos = tfm_source_int(s, "eos_token_id", -1);
    if (d->src.bos < 0 && bos >= 0 && bos < d->src.n) d->src.bos = (int32_t)bos;
    if (d->src.eos < 0 && eos >= 0 && eos < d->src.n) d->src.eos = (int32_t)eos;
}

tfm_status tfm_tokenizer_at(tfm_source *s, const char *path, tfm_draft *d, bool *found,
                            tfm_error *err) {
    const char *file = path;
    json_t *config;
    tfm_source_file *f;
    if (tfm_path_is_dir(path) ||
        (s->format == TFM_SOURCE_HF && strcmp(path, s->path) == 0 && s->n_tensors > 0))
        TFM_TRY(tfm_tokenizer_in(s, path, &file, err));
    *found = file != NULL;
    if (!file) return TFM_OK;
    TFM_TRY(tfm_source_map(s, file, &f, err)); /* a failure names the file */
    const tfm_map m = f->map;                  /* f moves when another file is mapped */
    TFM_TRY(read_config(s, file, &config, err));
    tfm_status st = read_file(s, file, m, config, d, err);
    json_decref(config);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "%s", file);
    ids_from_model(s, d);
    return TFM_OK;
}
