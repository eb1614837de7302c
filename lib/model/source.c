/* source.c - a foreign checkpoint: which reader takes it, and the questions it answers.
 *
 * The readers fill metadata, tensors and blobs when the source is opened, and touch no weight. The
 * vocabulary is read only when it is asked for: a converter needs it, a look at tensors does not.
 *
 * Owns the mapped files and the arena that all names and small arrays live in. */
#include <string.h>
#include <sys/stat.h>

#include "model/gguf_internal.h"
#include "model/source_internal.h"
#include "model/tokenizer_names_internal.h"

void tfm_source_free(tfm_source *s) {
    if (!s) return;
    tfm_vocab_tables_free(s->vocab);
    tfm_tokenizer_names_free(s->tokenizers);
    tfm_names_free(&s->tensor_names);
    tfm_names_free(&s->meta_names);
    tfm_free(s->tensor);
    tfm_free(s->meta);
    for (size_t i = 0; i < s->n_files; i++) tfm_map_close(&s->file[i].map);
    tfm_free(s->file);
    tfm_arena_free(s->arena);
    tfm_free(s);
}

tfm_status tfm_source_tokenizers(tfm_source *s, const tfm_tokenizer_names **out, tfm_error *err) {
    if (!s->tokenizers) TFM_TRY(tfm_tokenizer_names_open(&s->tokenizers, s->share_dir, err));
    *out = s->tokenizers;
    return TFM_OK;
}

/* ---- what the readers add ---- */

tfm_status tfm_source_map(tfm_source *s, const char *path, tfm_source_file **file, tfm_error *err) {
    void *p = s->file;
    if (s->n_files >= TFM_SOURCE_MAX_FILES)
        return tfm_fail(err, TFM_LIMIT, "more than %u files", TFM_SOURCE_MAX_FILES);
    TFM_TRY(tfm_grow(&p, &s->cap_files, s->n_files + 1, sizeof *s->file, err));
    s->file = p;
    tfm_source_file *f = &s->file[s->n_files];
    *f = (tfm_source_file){.head = UINT64_MAX};
    TFM_TRY(tfm_arena_strndup(s->arena, &f->path, path, strlen(path), err));
    TFM_TRY(tfm_map_open(&f->map, path, err));
    s->n_files++;
    *file = f;
    return TFM_OK;
}

tfm_status tfm_source_add_meta(tfm_source *s, const tfm_meta *m, tfm_error *err) {
    void *p = s->meta;
    if (s->n_meta >= TFM_SOURCE_MAX_META)
        return tfm_fail(err, TFM_LIMIT, "more than %u metadata keys", TFM_SOURCE_MAX_META);
    TFM_TRY(tfm_grow(&p, &s->cap_meta, s->n_meta + 1, sizeof *s->meta, err));
    s->meta = p;
    tfm_status st = tfm_names_add(&s->meta_names, m->key, strlen(m->key), (uint32_t)s->n_meta, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "metadata key");
    s->meta[s->n_meta++] = *m;
    return TFM_OK;
}

tfm_status tfm_source_add_tensor(tfm_source *s, const tfm_tensor *t, tfm_error *err) {
    void *p = s->tensor;
    uint64_t bytes;
    if (s->n_tensors >= TFM_MAX_TENSORS)
        return tfm_fail(err, TFM_LIMIT, "more than %u tensors", TFM_MAX_TENSORS);
    tfm_status st = tfm_layout_bytes(t->dtype, t->layout, t->rank, t->dims, &bytes, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "tensor %s", t->name);
    if (bytes != t->bytes)
        return tfm_fail(err, TFM_FORMAT, "tensor %s has %llu bytes, its dimensions say %llu",
                        t->name, (unsigned long long)t->bytes, (unsigned long long)bytes);
    TFM_TRY(tfm_grow(&p, &s->cap_tensors, s->n_tensors + 1, sizeof *s->tensor, err));
    s->tensor = p;
    st = tfm_names_add(&s->tensor_names, t->name, strlen(t->name), (uint32_t)s->n_tensors, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "tensor");
    s->tensor[s->n_tensors++] = *t;
    return TFM_OK;
}

tfm_status tfm_source_add_blob(tfm_source *s, const char *name, const void *p, uint64_t n,
                               tfm_error *err) {
    tfm_buf full = {0};
    tfm_tensor *t = &s->blob[s->n_blobs];
    if (n == 0) return TFM_OK;
    if (s->n_blobs >= TFM_SOURCE_MAX_BLOBS || n > UINT32_MAX)
        return tfm_fail(err, TFM_LIMIT, "too much metadata: %llu bytes of %s",
                        (unsigned long long)n, name);
    *t = (tfm_tensor){
        .dtype = TFM_U8, .rank = 1, .dims = {(uint32_t)n, 1, 1, 1}, .data = p, .bytes = n};
    tfm_status st = tfm_buf_printf(&full, err, "source.%s", name);
    if (st == TFM_OK) st = tfm_arena_strndup(s->arena, &t->name, full.data, full.len, err);
    tfm_buf_free(&full);
    if (st == TFM_OK) s->n_blobs++;
    return st;
}

tfm_status tfm_source_beside(tfm_source *s, const char *path, bool is_dir, const char *name,
                             const char **out, tfm_error *err) {
    tfm_buf b = {0};
    tfm_status st;
    const char *slash = strrchr(path, '/');
    if (is_dir)
        st = tfm_buf_printf(&b, err, "%s/%s", path, name);
    else if (slash)
        st = tfm_buf_printf(&b, err, "%.*s/%s", (int)(slash - path), path, name);
    else
        st = tfm_buf_str(&b, name, err);
    if (st == TFM_OK) st = tfm_arena_strndup(s->arena, out, b.data, b.len, err);
    tfm_buf_free(&b);
    return st;
}

bool tfm_path_is_dir(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool tfm_path_is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

int64_t tfm_source_int(const tfm_source *s, const char *key, int64_t fallback) {
    const tfm_meta *m = tfm_source_meta(s, key);
    return m && m->type == TFM_META_INT ? m->i : fallback;
}

const char *tfm_source_text(const tfm_source *s, const char *key) {
    const tfm_meta *m = tfm_source_meta(s, key);
    return m && m->type == TFM_META_STRING ? m->s : NULL;
}

/* ---- opening ---- */

/* A .safetensors file starts with the length of its JSON header. */
static bool is_safetensors(const unsigned char *p, uint64_t n) {
    return n > 9 && p[8] == '{' && tfm_load_u64(p) <= n - 8;
}

static bool is_json(const unsigned char *p, uint64_t n) {
    uint64_t i = 0;
    while (i < n && i < 64 && (p[i] == ' ' || p[i] == '\n' || p[i] == '\r' || p[i] == '\t')) i++;
    return i < n && p[i] == '{';
}

/* A regular file, already mapped as the first one. */
static tfm_status open_file(tfm_source *s, tfm_error *err) {
    const tfm_map *m = &s->file[0].map;
    const unsigned char *p = m->data;
    if (m->size >= 4 && memcmp(p, "GGUF", 4) == 0) {
        s->format = TFM_SOURCE_GGUF;
        return tfm_gguf_read(s, err);
    }
    if (m->size >= 4 && memcmp(p, "FUGG", 4) == 0)
        return tfm_fail(err, TFM_UNSUPPORTED, "a big-endian GGUF file");
    if (m->size >= 2 && p[0] == 0x1f && p[1] == 0x8b)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "is gzipped, and a model is used in place: gunzip it first");
    if (is_safetensors(p, m->size)) {
        s->format = TFM_SOURCE_HF;
        tfm_map_close(&s->file[--s->n_files].map); /* its reader maps it, after config.json */
        return tfm_hf_read(s, false, err);
    }
    if (tfm_pytorch_matches(p, m->size)) {
        s->format = TFM_SOURCE_HF;
        tfm_map_close(&s->file[--s->n_files].map);
        return tfm_hf_read(s, true, err);
    }
    if (tfm_llama2c_matches(p, m->size)) {
        s->format = TFM_SOURCE_LLAMA2C;
        return tfm_llama2c_read(s, err);
    }
    if (is_json(p, m->size) || tfm_spm_model_matches(p, m->size) || tfm_is_line_vocab(s->path) ||
        tfm_tiktoken_matches(p, m->size)) {
        s->format = TFM_SOURCE_HF;
    } else if (tfm_llama2c_tokenizer_matches(p, m->size)) {
        s->format = TFM_SOURCE_LLAMA2C;
    } else {
        return tfm_fail(err, m->size ? TFM_FORMAT : TFM_TRUNCATED, "%s",
                        m->size ? "no checkpoint that is known here (GGUF, safetensors, PyTorch, "
                                  "llama2.c), and no tokenizer"
                                : "the file is empty");
    }
    if (!s->tokenizer_path) s->tokenizer_path = s->path;
    return TFM_OK;
}

static tfm_status open_path(tfm_source *s, tfm_error *err) {
    tfm_source_file *f;
    if (tfm_path_is_dir(s->path)) {
        s->format = TFM_SOURCE_HF;
        return tfm_hf_read(s, false, err);
    }
    TFM_TRY(tfm_source_map(s, s->path, &f, err));
    tfm_status st = open_file(s, err);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", s->path);
}

static tfm_status copy_path(tfm_source *s, const char *path, const char **out, tfm_error *err) {
    return path ? tfm_arena_strndup(s->arena, out, path, strlen(path), err) : TFM_OK;
}

tfm_status tfm_source_open(tfm_source **out, const char *path, const tfm_source_options *o,
                           tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_source), err));
    tfm_source *s = p;
    tfm_status st = tfm_arena_new(&s->arena, err);
    if (st == TFM_OK) st = copy_path(s, path, &s->path, err);
    if (st == TFM_OK && o) st = copy_path(s, o->tokenizer_path, &s->tokenizer_path, err);
    if (st == TFM_OK && o) st = copy_path(s, o->share_dir, &s->share_dir, err);
    if (st == TFM_OK) st = open_path(s, err);
    s->n_checkpoint_files = s->n_files;
    if (st == TFM_OK)
        *out = s;
    else
        tfm_source_free(s);
    return st;
}

/* ---- looking ---- */

tfm_source_format tfm_source_get_format(const tfm_source *s) {
    return s->format;
}

const char *tfm_source_format_name(tfm_source_format f) {
    switch (f) {
    case TFM_SOURCE_GGUF: return "gguf";
    case TFM_SOURCE_HF: return "hf";
    case TFM_SOURCE_LLAMA2C: return "llama2c";
    }
    return "?";
}

const tfm_meta *tfm_source_meta(const tfm_source *s, const char *key) {
    uint32_t i = tfm_names_find(&s->meta_names, key, strlen(key));
    return i == TFM_NO_NAME ? NULL : &s->meta[i];
}

size_t tfm_source_n_meta(const tfm_source *s) {
    return s->n_meta;
}

const tfm_meta *tfm_source_meta_at(const tfm_source *s, size_t i) {
    return i < s->n_meta ? &s->meta[i] : NULL;
}

bool tfm_meta_item(const tfm_meta *array, size_t i, tfm_meta *out) {
    *out = (tfm_meta){0};
    if (array->type != TFM_META_ARRAY || i >= array->n) return false;
    if (array->items_form != TFM_ITEMS_META) {
        tfm_gguf_item(array, i, out);
        return true;
    }
    *out = ((const tfm_meta *)array->items)[i];
    return true;
}

const tfm_tensor *tfm_source_tensor(const tfm_source *s, const char *name) {
    uint32_t i = tfm_names_find(&s->tensor_names, name, strlen(name));
    return i == TFM_NO_NAME ? NULL : &s->tensor[i];
}

size_t tfm_source_n_tensors(const tfm_source *s) {
    return s->n_tensors;
}

const tfm_tensor *tfm_source_tensor_at(const tfm_source *s, size_t i) {
    return i < s->n_tensors ? &s->tensor[i] : NULL;
}

size_t tfm_source_n_blobs(const tfm_source *s) {
    return s->n_blobs;
}

const tfm_tensor *tfm_source_blob_at(const tfm_source *s, size_t i) {
    return i < s->n_blobs ? &s->blob[i] : NULL;
}
