/* resolve.c - applies an architecture file to a checkpoint: parameters, tensors, steps per layer,
 * then the description; and proves the description by compiling it.
 */
#include "arch/resolve_internal.h"

#include <stdio.h>
#include <string.h>

static bool has_recipe(const tfm_scope *s, const char *name, size_t len) {
    const tfm_resolver *r = (const tfm_resolver *)s;
    char text[256];
    const char *full;
    if (len >= sizeof text) return false;
    memcpy(text, name, len);
    text[len] = '\0';
    if (tfm_layer_name(r->arena, &full, text, r->layer, NULL) != TFM_OK) return false;
    return tfm_names_find(&r->names, full, strlen(full)) != TFM_NO_NAME;
}

/* The steps of one section for r->layer: conditions decided, expressions evaluated. */
static tfm_status evaluate_steps(tfm_resolver *r, const tfm_yaml *list, tfm_step_list *out,
                                 tfm_error *err) {
    tfm_step_env env = {.scope = &r->scope, .arena = r->arena, .layer = r->layer};
    void *p;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (list->n + 1) * sizeof(tfm_astep), err));
    out->step = p;
    out->n = 0;
    for (size_t i = 0; i < list->n; i++) {
        const tfm_yaml *y = list->entry[i].value, *when = tfm_yaml_get(y, "if");
        bool yes = true;
        if (when != NULL) TFM_TRY(tfm_expr_true(when, when->text, &r->scope, &yes, err));
        if (yes) TFM_TRY(tfm_step_parse(&out->step[out->n++], y, &env, err));
    }
    return TFM_OK;
}

static tfm_status section_steps(tfm_resolver *r, const char *name, const tfm_yaml **out,
                                tfm_error *err) {
    const tfm_yaml *list = tfm_yaml_get(r->arch, name);
    if (list == NULL)
        return tfm_yaml_fail(r->arch, err, TFM_FORMAT, "the section '%s' is missing", name);
    return tfm_arch_expand(r, list, out, err);
}

static tfm_status all_steps(tfm_resolver *r, tfm_error *err) {
    const tfm_yaml *embed, *block, *head;
    void *p;
    tfm_status st = TFM_OK;
    TFM_TRY(section_steps(r, "embed", &embed, err));
    TFM_TRY(section_steps(r, "block", &block, err));
    TFM_TRY(section_steps(r, "head", &head, err));
    if (r->n_layers * block->n > TFM_MAX_STEPS)
        return tfm_yaml_fail(block, err, TFM_LIMIT,
                             "%u layers of %zu steps; at most %u steps are "
                             "possible",
                             r->n_layers, block->n, TFM_MAX_STEPS);
    TFM_TRY(tfm_arena_alloc(r->arena, &p, r->n_layers * sizeof *r->block, err));
    r->block = p;
    r->scope.has = has_recipe;
    TFM_TRY(evaluate_steps(r, embed, &r->embed, err));
    for (uint32_t n = 0; n < r->n_layers && st == TFM_OK; n++) {
        r->layer = (int)n;
        st = evaluate_steps(r, block, &r->block[n], err);
    }
    r->layer = -1;
    if (st != TFM_OK) return st;
    return evaluate_steps(r, head, &r->head, err);
}

/* `generation:` ids, each entry one or a list of them. */
static tfm_status check_generation(tfm_resolver *r, tfm_error *err) {
    static const char *const known[] = {"start", "forced", "suppressed", "end", NULL};
    const tfm_yaml *section;
    void *p;
    TFM_TRY(tfm_arch_section(r, "generation", &section, err));
    TFM_TRY(tfm_yaml_keys(section, known, err));
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (section->n + 1) * sizeof *r->generation, err));
    r->generation = p;
    for (size_t i = 0; i < section->n; i++) {
        const tfm_yaml *y = section->entry[i].value;
        tfm_param *g = &r->generation[r->n_generation];
        if (y->kind != TFM_YAML_SCALAR)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "expected one expression: an id or a list");
        g->name = section->entry[i].key;
        TFM_TRY(tfm_expr_eval(y, y->text, &r->scope, &g->value, err));
        if (g->value.kind == TFM_VAL_STR)
            return tfm_yaml_fail(y, err, TFM_FORMAT, "'%s' must be an id or a list of ids",
                                 g->name);
        if (g->value.kind != TFM_VAL_NONE) r->n_generation++;
    }
    return TFM_OK;
}

/* ---- proving the description ---- */

typedef struct proof {
    const tfm_resolver *r;
    tfm_tensor *tensor; /* [n_recipes] */
    bool *used;         /* [n_recipes] */
} proof;

static const tfm_tensor *find_proof(const tfm_tensors *t, const char *name) {
    const proof *p = t->ctx;
    uint32_t i = tfm_names_find(&p->r->names, name, strlen(name));
    if (i == TFM_NO_NAME) return NULL;
    p->used[i] = true;
    return &p->tensor[i];
}

/* Views of all recipes. The compiler reads vectors only, and those are there; an address that
 * nobody follows stands for a matrix that is not made yet. */
static tfm_status proof_tensors(proof *p, tfm_error *err) {
    void *mem;
    TFM_TRY(tfm_arena_alloc(p->r->arena, &mem, (p->r->n_recipes + 1) * sizeof *p->tensor, err));
    p->tensor = mem;
    TFM_TRY(tfm_arena_alloc(p->r->arena, &mem, p->r->n_recipes + 1, err));
    p->used = mem;
    for (size_t i = 0; i < p->r->n_recipes; i++) {
        p->tensor[i] = p->r->recipe[i].out;
        if (p->tensor[i].data == NULL) p->tensor[i].data = p;
    }
    return TFM_OK;
}

/* Where the steps stand in the architecture's files, in the graph's order. */
static tfm_status step_origins(const tfm_resolver *r, const tfm_yaml ***out, tfm_error *err) {
    size_t n = r->embed.n + r->head.n, at = 0;
    const tfm_yaml **origin;
    void *p;
    for (uint32_t l = 0; l < r->n_layers; l++) n += r->block[l].n;
    TFM_TRY(tfm_arena_alloc(r->arena, &p, (n + 1) * sizeof *origin, err));
    *out = origin = p;
    for (size_t i = 0; i < r->embed.n; i++) origin[at++] = r->embed.step[i].where;
    for (uint32_t l = 0; l < r->n_layers; l++)
        for (size_t i = 0; i < r->block[l].n; i++) origin[at++] = r->block[l].step[i].where;
    for (size_t i = 0; i < r->head.n; i++) origin[at++] = r->head.step[i].where;
    return TFM_OK;
}

/* Compiles the text as the runtime will, and checks that every mapped tensor is used by a step: a
 * bias that no step adds would be lost in silence. */
static tfm_status prove(const tfm_resolver *r, const tfm_buf *text, tfm_error *err) {
    proof p = {.r = r};
    tfm_tensors tensors = {find_proof, &p};
    const tfm_yaml **origin;
    tfm_graph *g;
    tfm_status st;
    TFM_TRY(proof_tensors(&p, err));
    TFM_TRY(step_origins(r, &origin, err));
    st = tfm_graph_compile(&g, "description", text->data, text->len, origin, &tensors, 0, err);
    if (st != TFM_OK) return tfm_error_prefix(err, st, "%s", r->arch->file);
    tfm_graph_free(g);
    for (size_t i = 0; i < r->n_recipes; i++)
        if (!p.used[i] && !r->recipe[i].kept)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "%s: no step uses tensor '%s': the result would "
                            "be wrong without",
                            r->arch->file, r->recipe[i].out.name);
    return TFM_OK;
}

static tfm_status resolve(tfm_resolver *r, tfm_resolved *out, const tfm_vocab_tables *vocab,
                          const tfm_load_options *o, tfm_error *err) {
    tfm_buf text = {0};
    const char *copy;
    tfm_status st;
    TFM_TRY(tfm_arch_match(r, o, err));
    TFM_TRY(tfm_params_load(r, err));
    TFM_TRY(tfm_tensors_map(r, err));
    TFM_TRY(all_steps(r, err));
    TFM_TRY(check_generation(r, err));
    st = tfm_describe(r, vocab, &text, err);
    if (st == TFM_OK && text.len > TFM_DESCRIPTION_MAX)
        st = tfm_fail(err, TFM_LIMIT, "%s: the description takes %zu bytes; at most %u are allowed",
                      r->arch->file, text.len, TFM_DESCRIPTION_MAX);
    if (st == TFM_OK) st = prove(r, &text, err);
    if (st == TFM_OK) st = tfm_arena_strndup(r->arena, &copy, text.data, text.len, err);
    if (st == TFM_OK)
        *out = (tfm_resolved){.description = copy,
                              .description_len = text.len,
                              .recipe = r->recipe,
                              .n_recipes = r->n_recipes,
                              .arena = r->arena};
    tfm_buf_free(&text);
    return st;
}

tfm_status tfm_arch_resolve(tfm_resolved *out, const tfm_source *s, const tfm_vocab_tables *vocab,
                            const tfm_load_options *o, tfm_error *err) {
    tfm_resolver r = {.source = s,
                      .layer = -1,
                      .index = -1,
                      .format = tfm_source_format_name(tfm_source_get_format(s))};
    tfm_status st;
    *out = (tfm_resolved){0};
    TFM_TRY(tfm_arena_new(&r.arena, err));
    st = resolve(&r, out, vocab, o, err);
    tfm_names_free(&r.names);
    if (st != TFM_OK) {
        tfm_arena_free(r.arena);
        *out = (tfm_resolved){0};
    }
    return st;
}

void tfm_resolved_free(tfm_resolved *r) {
    tfm_arena_free(r->arena);
    *r = (tfm_resolved){0};
}
