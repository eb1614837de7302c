/* match.c - which architecture file is for this checkpoint.
 *
 * Every file of share/arch says itself what it matches; two that claim the same checkpoint are an
 * error, because the choice would hang on a file's name.
 */
#include "arch/resolve_internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILES 1024u
#define SHARED "macros.yaml"

static bool meta_is(const tfm_source *s, const char *key, const char *text) {
    const tfm_meta *m = tfm_source_meta(s, key);
    return m != NULL && m->type == TFM_META_STRING && strlen(text) == m->s_len &&
           memcmp(m->s, text, m->s_len) == 0;
}

/* y: a word or a list of words. */
static bool any_is(const tfm_source *s, const char *key, const tfm_yaml *y) {
    if (y == NULL) return false;
    if (y->kind == TFM_YAML_SCALAR) return meta_is(s, key, y->text);
    for (size_t i = 0; i < y->n; i++)
        if (y->entry[i].value->kind == TFM_YAML_SCALAR && meta_is(s, key, y->entry[i].value->text))
            return true;
    return false;
}

static bool matches(const tfm_resolver *r, const tfm_yaml *arch) {
    const tfm_yaml *match = tfm_yaml_get(arch, "match"), *llama2c;
    switch (tfm_source_get_format(r->source)) {
    case TFM_SOURCE_GGUF:
        return any_is(r->source, "general.architecture", tfm_yaml_get(match, "gguf"));
    case TFM_SOURCE_HF: return any_is(r->source, "model_type", tfm_yaml_get(match, "hf"));
    case TFM_SOURCE_LLAMA2C:
        llama2c = tfm_yaml_get(match, "llama2c");
        return llama2c != NULL && llama2c->kind == TFM_YAML_SCALAR &&
               strcmp(llama2c->text, "true") == 0;
    }
    return false;
}

/* A Hugging Face config names the class of its head: one for another task must not be taken for a
 * language model. */
static tfm_status check_class(const tfm_resolver *r, tfm_error *err) {
    const tfm_yaml *known = tfm_yaml_get(tfm_yaml_get(r->arch, "match"), "class");
    const tfm_meta *list = tfm_source_meta(r->source, "architectures");
    tfm_meta item;
    if (known == NULL || list == NULL || strcmp(r->format, "hf") != 0) return TFM_OK;
    if (list->type != TFM_META_ARRAY || !tfm_meta_item(list, 0, &item)) return TFM_OK;
    for (size_t i = 0; tfm_meta_item(list, i, &item); i++)
        for (size_t k = 0; k < (known->kind == TFM_YAML_LIST ? known->n : 1); k++) {
            const tfm_yaml *y = known->kind == TFM_YAML_LIST ? known->entry[k].value : known;
            if (item.type == TFM_META_STRING && y->kind == TFM_YAML_SCALAR &&
                y->len == item.s_len && memcmp(y->text, item.s, item.s_len) == 0)
                return TFM_OK;
        }
    (void)tfm_meta_item(list, 0, &item);
    return tfm_yaml_fail(known, err, TFM_UNSUPPORTED,
                         "the checkpoint is a '%.*s', which this file "
                         "does not cover",
                         item.type == TFM_META_STRING ? (int)(item.s_len < 80 ? item.s_len : 80)
                                                      : 1,
                         item.type == TFM_META_STRING ? item.s : "?");
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_yaml(const char *name) {
    size_t n = strlen(name);
    return n > 5 && strcmp(name + n - 5, ".yaml") == 0 && name[0] != '.';
}

/* Names of the .yaml files of a folder, sorted; each and the list freed by the caller. */
static tfm_status list_files(const char *dir, char ***out, size_t *n, tfm_error *err) {
    DIR *d = opendir(dir);
    struct dirent *e;
    void *list = NULL;
    size_t cap = 0;
    tfm_status st = TFM_OK;
    *n = 0;
    *out = NULL;
    if (d == NULL)
        return tfm_fail_errno(err, TFM_IO, "architectures: cannot open folder '%s'", dir);
    while (st == TFM_OK && (e = readdir(d)) != NULL) {
        if (!is_yaml(e->d_name)) continue;
        st = *n == MAX_FILES ? tfm_fail(err, TFM_LIMIT, "%s: more than %u files", dir, MAX_FILES)
                             : tfm_grow(&list, &cap, *n + 1, sizeof(char *), err);
        if (st == TFM_OK) st = tfm_strdup(&((char **)list)[*n], e->d_name, err);
        if (st == TFM_OK) ++*n;
    }
    closedir(d);
    *out = list;
    if (list != NULL) qsort(list, *n, sizeof(char *), by_name);
    return st;
}

static tfm_status no_match(const tfm_resolver *r, const char *dir, tfm_error *err) {
    const char *key = strcmp(r->format, "gguf") == 0 ? "general.architecture" : "model_type";
    const tfm_meta *m = tfm_source_meta(r->source, key);
    if (m == NULL || m->type != TFM_META_STRING)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "the checkpoint has no %s; name its architecture with "
                        "--arch FILE",
                        key);
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "no file in %s is for architecture '%.*s'; --arch FILE "
                    "gives one (see tfm-arch(5))",
                    dir, (int)(m->s_len < 60 ? m->s_len : 60), m->s);
}

static tfm_status search(tfm_resolver *r, const char *dir, tfm_error *err) {
    char path[4096];
    const char *found = NULL;
    char **name;
    size_t n;
    tfm_status st = list_files(dir, &name, &n, err);
    for (size_t i = 0; st == TFM_OK && i < n; i++) {
        const tfm_yaml *y = NULL;
        if (strcmp(name[i], SHARED) == 0) continue;
        if (snprintf(path, sizeof path, "%s/%s", dir, name[i]) >= (int)sizeof path)
            st = tfm_fail(err, TFM_LIMIT, "path '%.80s...' is too long", dir);
        if (st == TFM_OK) st = tfm_yaml_file(&y, r->arena, path, err);
        if (st != TFM_OK || !matches(r, y)) continue;
        if (found != NULL)
            st = tfm_fail(err, TFM_MISMATCH,
                          "both %s and %s match the checkpoint; choose with "
                          "--arch FILE",
                          found, name[i]);
        found = name[i];
        r->arch = y;
    }
    if (st == TFM_OK && found == NULL) st = no_match(r, dir, err);
    for (size_t i = 0; i < n; i++) tfm_free(name[i]);
    tfm_free(name);
    return st;
}

tfm_status tfm_arch_match(tfm_resolver *r, const tfm_load_options *o, tfm_error *err) {
    static const char *const known[] = {
        "architecture", "about", "match", "parameters", "refuse", "prefix",     "tensors", "ignore",
        "macros",       "embed", "block", "head",       "gguf",   "generation", "within",  NULL};
    char dir[4000], path[4096];
    const tfm_meta *name = tfm_source_meta(r->source, "general.architecture");
    if (o == NULL || o->share_dir == NULL)
        return tfm_fail(err, TFM_USAGE,
                        "a foreign checkpoint needs the folder of architectures "
                        "(share_dir)");
    if (snprintf(dir, sizeof dir, "%s/arch", o->share_dir) >= (int)sizeof dir)
        return tfm_fail(err, TFM_LIMIT, "path '%.80s...' is too long", o->share_dir);
    snprintf(path, sizeof path, "%s/%s", dir, SHARED);
    TFM_TRY(tfm_yaml_file(&r->shared, r->arena, path, err));
    if (o->arch_file != NULL)
        TFM_TRY(tfm_yaml_file(&r->arch, r->arena, o->arch_file, err));
    else
        TFM_TRY(search(r, dir, err));
    TFM_TRY(tfm_yaml_keys(r->arch, known, err));
    TFM_TRY(check_class(r, err));
    r->gguf_arch = "none";
    if (name != NULL && name->type == TFM_META_STRING && name->s_len < 64)
        TFM_TRY(tfm_arena_strndup(r->arena, &r->gguf_arch, name->s, name->s_len, err));
    return TFM_OK;
}
