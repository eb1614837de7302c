/* generation.c - reads the generation section of a description. */
#include "arch/arch_internal.h"
#include "base/yaml_internal.h"
#include "tfm/load.h"

#define MAX_IDS 65536u

static tfm_status read_ids(tfm_arena *a, const tfm_yaml *section, const char *key,
                           const int32_t **ids, size_t *n, tfm_error *err) {
    const tfm_yaml *list = tfm_yaml_get(section, key);
    int32_t *id;
    void *p;
    *ids = NULL;
    *n = 0;
    if (list == NULL) return TFM_OK;
    if (list->kind != TFM_YAML_LIST || list->n > MAX_IDS)
        return tfm_yaml_fail(list, err, TFM_FORMAT, "'%s' is a list of ids", key);
    TFM_TRY(tfm_arena_alloc(a, &p, (list->n + 1) * sizeof *id, err));
    id = p;
    for (size_t i = 0; i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value;
        int64_t v;
        if (y->kind != TFM_YAML_SCALAR || !tfm_parse_i64(y->text, 0, INT32_MAX, &v))
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s': not an id", key);
        id[i] = (int32_t)v;
    }
    *ids = id;
    *n = list->n;
    return TFM_OK;
}

static tfm_status read_all(tfm_generation *g, const tfm_model *m, tfm_error *err) {
    const tfm_yaml *doc, *section;
    size_t len;
    const char *text = tfm_model_description(m, &len);
    TFM_TRY(tfm_yaml_parse(&doc, g->arena, tfm_model_path(m), text, len, err));
    section = tfm_yaml_get(doc, "generation");
    TFM_TRY(read_ids(g->arena, section, "start", &g->start, &g->n_start, err));
    TFM_TRY(read_ids(g->arena, section, "forced", &g->forced, &g->n_forced, err));
    TFM_TRY(read_ids(g->arena, section, "suppressed", &g->suppressed, &g->n_suppressed, err));
    return read_ids(g->arena, section, "end", &g->end, &g->n_end, err);
}

tfm_status tfm_generation_read(tfm_generation *out, const tfm_model *m, tfm_error *err) {
    tfm_status st;
    *out = (tfm_generation){.arena = NULL};
    TFM_TRY(tfm_arena_new(&out->arena, err));
    st = read_all(out, m, err);
    if (st != TFM_OK) tfm_generation_free(out);
    return st;
}

void tfm_generation_free(tfm_generation *g) {
    tfm_arena_free(g->arena);
    *g = (tfm_generation){.arena = NULL};
}

tfm_status tfm_model_ends(const tfm_model *m, tfm_ids *ids, tfm_error *err) {
    tfm_status st = TFM_OK;
    tfm_generation g;
    size_t len;

    tfm_model_description(m, &len);
    if (len == 0) return TFM_OK; /* a vocabulary alone */
    TFM_TRY(tfm_generation_read(&g, m, err));
    for (size_t i = 0; st == TFM_OK && i < g.n_end; i++) st = tfm_ids_push(ids, g.end[i], err);
    tfm_generation_free(&g);
    return st;
}
