/* provenance.c - the `prov` line a tool adds to the header of what it writes.
 *
 * Owns the rule of what goes in: what changes results, nothing that does not (threads, batch size,
 * where the output goes), and nothing private (a folder's name, a prompt). So the same command
 * gives the same line on every machine. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/base_internal.h"
#include "base/json_text_internal.h"
#include "base/utf8_internal.h"
#include "cli/cli_internal.h"

static bool changes_results(int letter) {
    return letter != 't' && letter != 'b' && letter != 'q' && letter != 'o' && letter != 'v' &&
           letter != 'm' && letter != 'd' && letter != TFM_OPT_NO_PROV &&
           letter != TFM_OPT_PROGRESS_SECS && letter != TFM_OPTION_KV_MEMORY &&
           letter != TFM_OPTION_PREFIX_CACHE &&
           (letter < TFM_OPTION_TAP || letter > TFM_OPTION_LIST_TAPS);
}

static json_t *hash_of(const char *text) {
    char hex[65];
    tfm_sha256 sha;
    tfm_sha256_init(&sha);
    tfm_sha256_add(&sha, text, strlen(text));
    tfm_sha256_hex(&sha, hex);
    return json_sprintf("sha256:%.16s", hex);
}

/* As text, or what is not UTF-8 (a file may have any name) as its hash. NULL: out of memory. */
static json_t *text_or_hash(const char *s) {
    return tfm_utf8_valid(s, strlen(s), NULL) ? json_string(s) : hash_of(s);
}

/* The last component of a path. */
static json_t *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return text_or_hash(slash != NULL && slash[1] != '\0' ? slash + 1 : path);
}

static json_t *value_of(const tfm_cli_given *g) {
    if (g->arg == NULL) return json_true();
    if (strcmp(g->option->arg, "FILE") == 0) return base_name(g->arg);
    return strcmp(g->option->arg, "TEXT") == 0 ? hash_of(g->arg) : text_or_hash(g->arg);
}

/* Sets options[name]; a repeated option becomes an array of its values. 0 if memory lasted. */
static int add_option(json_t *options, const char *name, json_t *value) {
    json_t *old = json_object_get(options, name), *list;
    if (old == NULL || !json_is_string(value)) return json_object_set_new(options, name, value);
    if (json_is_array(old)) return json_array_append_new(old, value);
    list = json_pack("[O,o]", old, value);
    return json_object_set_new(options, name, list);
}

/* *out is the caller's to free(). */
static tfm_status prov_json(const tfm_cli *c, char **out, tfm_error *err) {
    json_t *root = json_object(), *options = json_object(), *inputs = json_array();
    tfm_status st;
    int bad = 0;

    bad |= json_object_set_new(root, "tool", json_string(c->program->name));
    bad |= json_object_set_new(root, "version", json_string(TFM_VERSION));
    if (tfm_cli_has_option(c->program, 'm') && c->model != NULL)
        bad |= json_object_set_new(options, "model", base_name(c->model));
    if (tfm_cli_has_option(c->program, 'd'))
        bad |= json_object_set_new(options, "device", json_string(c->device));
    for (size_t i = 0; i < c->n_given; i++)
        if (changes_results(c->given[i].option->letter))
            bad |= add_option(options, c->given[i].option->name, value_of(&c->given[i]));
    for (int i = c->next; i < c->argc; i++)
        bad |= json_array_append_new(inputs, base_name(c->argv[i]));
    if (json_object_size(options) > 0) bad |= json_object_set(root, "options", options);
    if (json_array_size(inputs) > 0) bad |= json_object_set(root, "inputs", inputs);
    *out = NULL;
    if (bad == 0)
        st = tfm_json_dump(out, root, JSON_COMPACT | JSON_ENSURE_ASCII, err);
    else
        st = tfm_fail(err, TFM_NOMEM, "provenance: out of memory");
    json_decref(options);
    json_decref(inputs);
    json_decref(root);
    return st;
}

void tfm_cli_note_salvaged(tfm_cli *c, const tfm_header *h) {
    if (tfm_header_get(h, "salvaged") != NULL) tfm_cli_record_failed(c);
}

tfm_status tfm_cli_provenance(tfm_cli *c, tfm_header *h, tfm_error *err) {
    char *text;
    tfm_status status;

    tfm_cli_note_salvaged(c, h);
    TFM_TRY(tfm_header_set(h, "tool", c->program->name, err));
    if (c->no_prov) return TFM_OK;
    TFM_TRY(prov_json(c, &text, err));
    status = tfm_header_add(h, "prov", text, err);
    free(text);
    return status;
}

tfm_status tfm_cli_json(json_t **out, const char *text, size_t n, size_t flags, json_error_t *why,
                        tfm_error *err) {
    return tfm_json_load(out, text, n, flags, why, err);
}

tfm_status tfm_cli_json_dump(char **out, const json_t *j, size_t flags, tfm_error *err) {
    return tfm_json_dump(out, j, flags, err);
}
