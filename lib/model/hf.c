/* hf.c - a Hugging Face folder: its configurations and its shards of safetensors or of PyTorch's
 * own format (pytorch.c), whichever is there; safetensors if both are.
 *
 * The tokenizer files of the folder are read later, when the vocabulary is asked for. A folder with
 * a tokenizer and no weights is a source without tensors. */
#include <stdlib.h>
#include <string.h>

#include "model/json_internal.h"

enum { CONFIG_MAX = 16 << 20 }; /* bytes; the largest chat templates are some 100 KB */

/* Reads DIR/name if it is there: kept as a blob, flattened as metadata. */
static tfm_status read_config(tfm_source *s, bool is_dir, const char *name, const char *prefix,
                              bool *found, tfm_error *err) {
    tfm_source_file *f;
    const char *path;
    json_t *j;
    TFM_TRY(tfm_source_beside(s, s->path, is_dir, name, &path, err));
    *found = tfm_path_is_file(path);
    if (!*found) return TFM_OK;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    const tfm_map map = f->map;
    if (map.size > CONFIG_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: longer than %d bytes", path, CONFIG_MAX);
    TFM_TRY(tfm_source_add_blob(s, name, map.data, map.size, err));
    TFM_TRY(tfm_json_parse(&j, map.data, map.size, path, err));
    json_object_del(j, "added_tokens_decoder"); /* the tokenizer's, not the model's */
    tfm_status st = tfm_json_flatten(s, j, prefix, err);
    json_decref(j);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", path);
}

/* A newer folder's chat template, kept as a blob. */
static tfm_status read_template(tfm_source *s, bool is_dir, tfm_error *err) {
    tfm_source_file *f;
    const char *path;
    TFM_TRY(tfm_source_beside(s, s->path, is_dir, "chat_template.jinja", &path, err));
    if (!tfm_path_is_file(path)) return TFM_OK;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    if (f->map.size > CONFIG_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: longer than %d bytes", path, CONFIG_MAX);
    return tfm_source_add_blob(s, "chat_template.jinja", f->map.data, f->map.size, err);
}

static int by_text(const void *x, const void *y) {
    return strcmp(*(const char *const *)x, *(const char *const *)y);
}

/* The distinct file names in weight_map's values, sorted. names: [json_object_size(map)] */
static tfm_status shard_names(json_t *map, const char **names, size_t *n, tfm_error *err) {
    size_t count = 0;
    *n = 0;
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at)) {
        const char *name = json_string_value(json_object_iter_value(at));
        if (!name || !name[0] || strchr(name, '/'))
            return tfm_fail(err, TFM_FORMAT, "tensor %s: its shard is no file name of this folder",
                            json_object_iter_key(at));
        names[count++] = name;
    }
    qsort(names, count, sizeof *names, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(names[i], names[i - 1]) != 0) names[(*n)++] = names[i];
    return TFM_OK;
}

/* Every tensor that the index lists must have come from the shard that it names. */
static tfm_status check_map(const tfm_source *s, json_t *map, tfm_error *err) {
    for (void *at = json_object_iter(map); at; at = json_object_iter_next(map, at))
        if (!tfm_source_tensor(s, json_object_iter_key(at)))
            return tfm_fail(err, TFM_FORMAT, "tensor %s is listed but not in %s",
                            json_object_iter_key(at),
                            json_string_value(json_object_iter_value(at)));
    return TFM_OK;
}

/* Adds the tensors of one file, of either format. */
typedef tfm_status (*file_reader)(tfm_source *s, const char *path, tfm_error *err);

static tfm_status read_shards(tfm_source *s, bool is_dir, json_t *index, file_reader read,
                              tfm_error *err) {
    json_t *map = json_object_get(index, "weight_map");
    size_t n;
    void *p;
    const char *path;
    if (!json_is_object(map) || json_object_size(map) > TFM_MAX_TENSORS)
        return tfm_fail(err, TFM_FORMAT, "no weight_map, or one of more than %u tensors",
                        TFM_MAX_TENSORS);
    TFM_TRY(tfm_alloc(&p, json_object_size(map), sizeof(char *), err));
    const char **names = p;
    tfm_status st = shard_names(map, names, &n, err);
    for (size_t i = 0; i < n && st == TFM_OK; i++) {
        st = tfm_source_beside(s, s->path, is_dir, names[i], &path, err);
        if (st == TFM_OK && !tfm_path_is_file(path))
            st = tfm_fail(err, TFM_NOTFOUND, "shard %s is not there", names[i]);
        if (st == TFM_OK) st = read(s, path, err);
    }
    tfm_free(p);
    return st == TFM_OK ? check_map(s, map, err) : st;
}

static tfm_status read_index(tfm_source *s, bool is_dir, const char *path, file_reader read,
                             tfm_error *err) {
    tfm_source_file *f;
    json_t *index;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    TFM_TRY(tfm_json_parse(&index, f->map.data, f->map.size, path, err));
    tfm_status st = read_shards(s, is_dir, index, read, err);
    json_decref(index);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", path);
}

/* In a folder: the first of these that is there. */
static const struct {
    const char *name;
    bool is_index;
    file_reader read;
} weights[] = {{"model.safetensors", false, tfm_safetensors_read},
               {"model.safetensors.index.json", true, tfm_safetensors_read},
               {"pytorch_model.bin", false, tfm_pytorch_read},
               {"pytorch_model.bin.index.json", true, tfm_pytorch_read},
               {"model.pt", false, tfm_pytorch_read},
               {"model.pth", false, tfm_pytorch_read}};

static tfm_status read_folder(tfm_source *s, bool *found, tfm_error *err) {
    const char *path;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        TFM_TRY(tfm_source_beside(s, s->path, true, weights[i].name, &path, err));
        if (!tfm_path_is_file(path)) continue;
        *found = true;
        if (weights[i].is_index) return read_index(s, true, path, weights[i].read, err);
        return weights[i].read(s, path, err);
    }
    *found = false;
    return TFM_OK;
}

tfm_status tfm_hf_read(tfm_source *s, bool is_pytorch, tfm_error *err) {
    bool is_dir = tfm_path_is_dir(s->path), has_config, has_weights = true, other;
    const char *path;
    TFM_TRY(read_config(s, is_dir, "config.json", "", &has_config, err));
    TFM_TRY(read_config(s, is_dir, "generation_config.json", "generation.", &other, err));
    TFM_TRY(read_config(s, is_dir, "tokenizer_config.json", "tokenizer_config.", &other, err));
    TFM_TRY(read_template(s, is_dir, err));
    if (is_dir)
        TFM_TRY(read_folder(s, &has_weights, err));
    else
        TFM_TRY((is_pytorch ? tfm_pytorch_read : tfm_safetensors_read)(s, s->path, err));
    if (has_weights && !has_config)
        return tfm_fail(err, TFM_NOTFOUND, "%s: weights, but no config.json beside them", s->path);
    if (has_weights || s->tokenizer_path) return TFM_OK;
    TFM_TRY(tfm_tokenizer_in(s, s->path, &path, err));
    if (!path)
        return tfm_fail(
            err, TFM_NOTFOUND,
            "%s: neither model.safetensors nor pytorch_model.bin (or their index) nor a "
            "tokenizer in it",
            s->path);
    return TFM_OK;
}
