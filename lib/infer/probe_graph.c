/* probe_graph.c - the graph with a probe in it: EDIT and KEEP steps behind the steps whose values
 * they touch, blocks that are skipped left out.
 *
 * Owns the order: behind a step its changes (ablation, patch, steering), then its taps, so that a
 * tap sees what the model goes on with. The steps are copies; everything they point to is borrowed
 * from the graph or from the probe, but for the vectors of means and steering, which are made here.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "infer/probe_internal.h"

typedef struct insert {
    size_t after; /* step */
    tfm_step step;
    uint32_t pattern; /* no step: the one at `after` keeps its pattern, as number pattern - 1 */
} insert;

typedef struct builder {
    tfm_probe *probe;
    probe_nodes nodes;
    probe_graph *out;
    insert *insert; /* [n], in the order in which they were asked for */
    size_t n, cap;
    bool *skipped; /* [n_blocks] */
} builder;

/* ---- inserted steps ---- */

static tfm_status add_insert(builder *b, const probe_node *n, tfm_step step, tfm_error *err) {
    const tfm_step *s = &b->nodes.g->step[n->step];

    TFM_TRY(tfm_grow((void **)&b->insert, &b->cap, b->n + 1, sizeof *b->insert, err));
    step.block = s->block;
    step.weight = step.bias = step.extra = TFM_NONE;
    b->insert[b->n++] = (insert){.after = n->step, .step = step};
    return TFM_OK;
}

/* Rows of a pattern are as long as their positions: there is no vector that fits all of them. */
static tfm_status no_vector(const char *what, const probe_node *n, tfm_error *err) {
    return tfm_fail(err, TFM_USAGE,
                    "%s: %s has rows of different lengths; it can be patched or set to zero, or "
                    "take q, k or heads",
                    what, n->name[n->n_names - 1]);
}

/* An edit of the whole pattern that the step behind n makes; where it is kept is known later. */
static tfm_step pattern_step(const builder *b, const probe_node *n, const tfm_edit *edit) {
    const tfm_step *attend = &b->nodes.g->step[n->step];
    tfm_step step = {.op = TFM_OP_PATTERN, .n_in = 1, .n_out = 1};

    step.in[0] = step.out[0] = attend->out[0];
    step.u.pattern.edit = edit;
    step.u.pattern.heads = attend->u.attend.heads;
    step.u.pattern.kv_heads = attend->u.attend.kv_heads;
    step.u.pattern.v_dim = attend->u.attend.v_dim;
    step.u.pattern.kv_layer = attend->u.attend.kv_layer;
    return step;
}

/* A copy of `edit` in the arena, as a step behind the target's. */
static tfm_status add_edit(builder *b, const probe_target *t, const char *what, tfm_edit edit,
                           tfm_error *err) {
    tfm_step step = {.op = TFM_OP_EDIT, .n_in = 1, .n_out = 1};
    void *p;

    if (!tfm_probe_in_range(&b->nodes, t->node)) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(b->out->arena, &p, sizeof edit, err));
    edit.first = t->first;
    edit.width = t->width;
    memcpy(p, &edit, sizeof edit);
    step.in[0] = step.out[0] = t->node->value;
    step.u.edit = p;
    if (t->node->value == TFM_NONE) step = pattern_step(b, t->node, p);
    step.name = what;
    return add_insert(b, t->node, step, err);
}

/* ---- ablation ---- */

static const probe_rows *table_find(const probe_table *t, const char *name) {
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->entry[i].name, name) == 0) return &t->entry[i];
    return NULL;
}

/* sum / count * scale of columns [first, first + width). */
static tfm_status make_vector(builder *b, const probe_rows *r, uint32_t first, uint32_t width,
                              double scale, const float **out, tfm_error *err) {
    void *p;
    float *v;

    TFM_TRY(tfm_arena_alloc(b->out->arena, &p, width * sizeof *v, err));
    v = p;
    for (uint32_t i = 0; i < width; i++)
        v[i] = (float)(r->sum[first + i] / (double)r->count * scale);
    *out = v;
    return TFM_OK;
}

static tfm_status check_width(const probe_rows *r, uint32_t width, tfm_error *err) {
    if (r->width == width) return TFM_OK;
    if (r->width == 0)
        return tfm_fail(err, TFM_MISMATCH, "%s: rows of %s have different widths", r->file,
                        r->name);
    return tfm_fail(err, TFM_MISMATCH, "%s: rows of %s are %u wide, the model's are %u", r->file,
                    r->name, r->width, width);
}

/* The mean that is to be set, found by the head's own name or by one of the whole value. */
static tfm_status find_mean(builder *b, const probe_target *t, const char *name, const float **out,
                            tfm_error *err) {
    const probe_table *mean = &b->probe->mean;
    const probe_rows *r = table_find(mean, name);

    if (r) {
        TFM_TRY(check_width(r, t->width, err));
        return make_vector(b, r, 0, t->width, 1.0, out, err);
    }
    for (int i = 0; i < t->node->n_names; i++) {
        if (!(r = table_find(mean, t->node->name[i]))) continue;
        TFM_TRY(check_width(r, t->node->width, err));
        return make_vector(b, r, t->first, t->width, 1.0, out, err);
    }
    return tfm_fail(err, TFM_MISMATCH, "--mean %s: has no rows of %s", mean->entry[0].file, name);
}

static tfm_status ablate(builder *b, const probe_target *t, const char *name, tfm_error *err) {
    tfm_edit e = {.kind = TFM_EDIT_SET, .from = b->probe->from, .to = b->probe->to};

    if (b->probe->has_mean) TFM_TRY(find_mean(b, t, name, &e.data, err));
    return add_edit(b, t, "--ablate", e, err);
}

/* Every head of the node that the glob matches. */
static tfm_status ablate_heads(builder *b, const probe_node *n, const char *glob, bool *any,
                               tfm_error *err) {
    char name[TFM_NAME_MAX + 1];

    for (uint32_t h = 0; n->head && h < n->heads; h++) {
        probe_target t = {.node = n, .first = h * n->dim, .width = n->dim};
        snprintf(name, sizeof name, "%s.%u", n->head, h);
        if (fnmatch(glob, name, 0) != 0) continue;
        *any = true;
        TFM_TRY(ablate(b, &t, name, err));
    }
    return TFM_OK;
}

static tfm_status ablate_glob(builder *b, const char *glob, tfm_error *err) {
    probe_nearest near = {.glob = glob};
    char name[TFM_NAME_MAX + 1];
    const probe_node *pattern = NULL;
    bool any = false;

    for (size_t i = 0; i < b->nodes.n; i++) {
        const probe_node *n = &b->nodes.node[i];
        const char *matched = tfm_probe_match(n, glob);
        if (!tfm_probe_in_range(&b->nodes, n)) continue;
        if (matched && n->value == TFM_NONE && b->probe->has_mean) {
            pattern = n;
        } else if (matched) {
            any = true;
            TFM_TRY(ablate(b, &(probe_target){.node = n, .width = n->width}, matched, err));
        }
        TFM_TRY(ablate_heads(b, n, glob, &any, err));
    }
    if (any) return TFM_OK;
    if (pattern) return no_vector("--mean", pattern, err);
    tfm_probe_nearest_values(&near, &b->nodes);
    for (size_t i = 0; i < b->nodes.n; i++) {
        const probe_node *n = &b->nodes.node[i];
        for (uint32_t h = 0; n->head && h < n->heads && tfm_probe_in_range(&b->nodes, n); h++) {
            snprintf(name, sizeof name, "%s.%u", n->head, h);
            tfm_probe_nearest_add(&near, name);
        }
    }
    return tfm_probe_nearest_fail(&near, "--ablate", TFM_USAGE, err);
}

/* ---- skipping ---- */

static tfm_status skip_part(builder *b, size_t node, bool *any, tfm_error *err) {
    const probe_node *n = &b->nodes.node[node];
    tfm_edit e = {.kind = TFM_EDIT_SET, .to = UINT32_MAX};

    *any = true;
    return add_edit(b, &(probe_target){.node = n, .width = n->width}, "--skip", e, err);
}

static tfm_status skip_glob(builder *b, const char *glob, tfm_error *err) {
    static const char *const part[3] = {"", ".attn", ".ffn"};
    const tfm_graph *g = b->nodes.g;
    probe_nearest near = {.glob = glob};
    bool any = false;

    for (uint32_t l = 0; l < g->n_blocks; l++) {
        if (g->block_start[l] < b->nodes.first || g->block_start[l + 1] > b->nodes.end) continue;
        for (int i = 0; i < 3; i++) {
            size_t node = i == 1 ? b->nodes.attn_out[l] : b->nodes.ffn_out[l];
            char name[32];
            if (i > 0 && node == SIZE_MAX) continue;
            snprintf(name, sizeof name, "blk.%u%s", l, part[i]);
            tfm_probe_nearest_add(&near, name);
            if (fnmatch(glob, name, 0) != 0) continue;
            if (i == 0) any = b->skipped[l] = true;
            if (i > 0) TFM_TRY(skip_part(b, node, &any, err));
        }
    }
    return any ? TFM_OK : tfm_probe_nearest_fail(&near, "--skip", TFM_USAGE, err);
}

/* ---- files: patch and steering ---- */

/* Rows to be put into a pattern: [heads, position + 1] each. */
static tfm_status check_pattern(const probe_rows *r, const probe_node *n, tfm_error *err) {
    for (size_t i = 0; r->row && i < r->count; i++) {
        const tfm_edit_row *row = &r->row[i];
        const uint64_t keys = (uint64_t)row->position + 1;
        if (row->width == n->heads * keys) continue;
        return tfm_fail(err, TFM_MISMATCH,
                        "%s: %s of group %u at position %u has %u numbers; %u heads and %" PRIu64
                        " keys make %" PRIu64,
                        r->file, r->name, row->group, row->position, row->width, n->heads, keys,
                        n->heads * keys);
    }
    return TFM_OK;
}

static tfm_status find_named(builder *b, const probe_rows *r, probe_target *t, tfm_error *err) {
    probe_nearest near = {.glob = r->name};

    if (tfm_probe_find(&b->nodes, r->name, t))
        return t->node->value == TFM_NONE ? check_pattern(r, t->node, err)
                                          : check_width(r, t->width, err);
    tfm_probe_nearest_values(&near, &b->nodes);
    return tfm_probe_nearest_fail(&near, r->file, TFM_MISMATCH, err);
}

/* Ascending by group and position; of rows that are given twice the later one. */
static int by_place(const void *a, const void *b) {
    const tfm_edit_row *x = a, *y = b;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    if (x->position != y->position) return x->position < y->position ? -1 : 1;
    return x->data < y->data ? -1 : x->data > y->data;
}

static void sort_rows(probe_rows *r) {
    const float *at = r->data;
    size_t n = 0;

    for (size_t i = 0; i < r->count && r->row[i].data == NULL; i++) { /* as read */
        r->row[i].data = at;
        at += r->row[i].width;
    }
    qsort(r->row, (size_t)r->count, sizeof *r->row, by_place);
    for (size_t i = 0; i < r->count; i++) {
        bool again = n > 0 && r->row[n - 1].group == r->row[i].group &&
                     r->row[n - 1].position == r->row[i].position;
        r->row[again ? n - 1 : n++] = r->row[i];
    }
    r->count = n;
}

static tfm_status patch_all(builder *b, tfm_error *err) {
    for (size_t i = 0; i < b->probe->patch.n; i++) {
        probe_rows *r = &b->probe->patch.entry[i];
        probe_target t;
        TFM_TRY(find_named(b, r, &t, err));
        sort_rows(r);
        tfm_edit e = {
            .kind = TFM_EDIT_ROWS, .to = UINT32_MAX, .row = r->row, .n_rows = (size_t)r->count};
        r->is_used = tfm_probe_in_range(&b->nodes, t.node);
        TFM_TRY(add_edit(b, &t, "--patch", e, err));
    }
    return TFM_OK;
}

static tfm_status steer_all(builder *b, tfm_error *err) {
    for (size_t i = 0; i < b->probe->n_steer; i++) {
        const probe_steer *s = &b->probe->steer[i];
        for (size_t j = 0; j < s->table.n; j++) {
            const probe_rows *r = &s->table.entry[j];
            tfm_edit e = {.kind = TFM_EDIT_ADD, .from = b->probe->from, .to = b->probe->to};
            probe_target t;
            TFM_TRY(find_named(b, r, &t, err));
            if (t.node->value == TFM_NONE && tfm_probe_in_range(&b->nodes, t.node))
                return no_vector("--steer", t.node, err);
            if (t.node->value == TFM_NONE) continue;
            TFM_TRY(make_vector(b, r, 0, r->width, s->scale, &e.data, err));
            TFM_TRY(add_edit(b, &t, "--steer", e, err));
        }
    }
    return TFM_OK;
}

/* ---- taps ---- */

static bool is_skipped(const builder *b, size_t step) {
    int block = b->nodes.g->step[step].block;
    return block >= 0 && b->skipped[block];
}

static tfm_status check_taps(const builder *b, tfm_error *err) {
    for (size_t i = 0; i < b->probe->tap.n; i++) {
        probe_nearest near = {.glob = b->probe->tap.glob[i]};
        bool any = false;
        for (size_t j = 0; j < b->nodes.n && !any; j++)
            any = tfm_probe_in_range(&b->nodes, &b->nodes.node[j]) &&
                  !is_skipped(b, b->nodes.node[j].step) &&
                  tfm_probe_match(&b->nodes.node[j], near.glob) != NULL;
        if (any) continue;
        tfm_probe_nearest_values(&near, &b->nodes);
        return tfm_probe_nearest_fail(&near, "--tap", TFM_USAGE, err);
    }
    return TFM_OK;
}

static bool is_edited_pattern(const builder *b, const probe_node *n) {
    for (size_t i = 0; n->value == TFM_NONE && i < b->n; i++)
        if (b->insert[i].after == n->step && b->insert[i].step.op == TFM_OP_PATTERN) return true;
    return false;
}

/* Nodes that a glob matches get a number, in the order of the steps, and a KEEP step behind
 * everything that was inserted so far; a pattern is kept by its ATTEND (rebuild), also where it is
 * changed only. */
static tfm_status tap_all(builder *b, tfm_error *err) {
    const probe_globs *globs = &b->probe->tap;
    probe_graph *out = b->out;
    void *p;

    TFM_TRY(check_taps(b, err));
    TFM_TRY(tfm_arena_alloc(out->arena, &p, (b->nodes.n + 1) * sizeof *out->tap, err));
    out->tap = p;
    for (size_t i = 0; i < b->nodes.n; i++) {
        const probe_node *n = &b->nodes.node[i];
        const char *name = NULL;
        for (size_t j = 0; j < globs->n && !name; j++) name = tfm_probe_match(n, globs->glob[j]);
        if (!name && !is_edited_pattern(b, n)) continue;
        if (!tfm_probe_in_range(&b->nodes, n) || is_skipped(b, n->step)) continue;
        tfm_step keep = {.op = TFM_OP_KEEP, .name = "tap", .n_in = 1, .in = {n->value}};
        keep.u.keep = out->graph.n_kept;
        out->tap[out->graph.n_kept++] = (probe_tap){name, n->width, n->heads, n->dim};
        TFM_TRY(add_insert(b, n, keep, err));
        if (n->value == TFM_NONE) b->insert[b->n - 1].pattern = out->graph.n_kept;
    }
    return TFM_OK;
}

/* ---- the new list of steps ---- */

static int by_step(const void *a, const void *b) {
    const insert *const *x = a, *const *y = b;
    const bool first = (*x)->step.op == TFM_OP_PATTERN, second = (*y)->step.op == TFM_OP_PATTERN;
    if ((*x)->after != (*y)->after) return (*x)->after < (*y)->after ? -1 : 1;
    if (first != second) return first ? -1 : 1; /* it makes what the others change */
    return *x < *y ? -1 : *x > *y;              /* as asked for */
}

/* Pointers to the inserted steps, in their order in the graph. */
static tfm_status sorted(builder *b, const insert ***out, tfm_error *err) {
    void *p;

    TFM_TRY(tfm_arena_alloc(b->out->arena, &p, (b->n + 1) * sizeof **out, err));
    *out = p;
    for (size_t i = 0; i < b->n; i++) (*out)[i] = &b->insert[i];
    if (b->n) qsort((void *)*out, b->n, sizeof **out, by_step);
    return TFM_OK;
}

static tfm_status rebuild(builder *b, tfm_error *err) {
    const tfm_graph *g = b->nodes.g;
    tfm_graph *to = &b->out->graph;
    const insert **order;
    size_t at = 0, next = 0, from;
    uint32_t block = 0;
    void *p;

    TFM_TRY(sorted(b, &order, err));
    TFM_TRY(tfm_arena_alloc(b->out->arena, &p, (g->n_steps + b->n) * sizeof *to->step, err));
    to->step = p;
    TFM_TRY(tfm_arena_alloc(b->out->arena, &p, (g->n_blocks + 1) * sizeof(size_t), err));
    to->block_start = p;
    for (size_t i = 0; i <= g->n_steps; i++) {
        while (block <= g->n_blocks && g->block_start[block] == i) to->block_start[block++] = at;
        if (i == b->nodes.first) b->out->first = at;
        if (i == b->nodes.end) b->out->end = at;
        if (i == g->n_steps) break;
        const bool gone = is_skipped(b, i);
        tfm_step *own = &to->step[at];
        if (!gone) to->step[at++] = g->step[i];
        from = at;
        for (; next < b->n && order[next]->after == i; next++) {
            if (gone) continue;
            if (order[next]->pattern)
                own->u.attend.keep_pattern = order[next]->pattern;
            else
                to->step[at++] = order[next]->step;
        }
        for (; from < at && to->step[from].op == TFM_OP_PATTERN; from++)
            to->step[from].u.pattern.keep = own->u.attend.keep_pattern - 1;
    }
    to->n_steps = at;
    return TFM_OK;
}

static tfm_status build(builder *b, tfm_error *err) {
    const tfm_probe *p = b->probe;
    void *skipped;

    TFM_TRY(tfm_arena_alloc(b->out->arena, &skipped, b->nodes.g->n_blocks + 1, err));
    b->skipped = skipped;
    for (size_t i = 0; i < p->ablate.n; i++) TFM_TRY(ablate_glob(b, p->ablate.glob[i], err));
    for (size_t i = 0; i < p->skip.n; i++) TFM_TRY(skip_glob(b, p->skip.glob[i], err));
    TFM_TRY(patch_all(b, err));
    TFM_TRY(steer_all(b, err));
    TFM_TRY(tap_all(b, err));
    return rebuild(b, err);
}

tfm_status tfm_probe_apply(probe_graph *out, tfm_probe *p, const tfm_graph *g, size_t first,
                           size_t end, tfm_error *err) {
    builder b = {.probe = p, .out = out};

    *out = (probe_graph){.graph = *g};
    out->graph.n_kept = 0;
    TFM_TRY(tfm_arena_new(&out->arena, err));
    tfm_status st = tfm_probe_nodes(&b.nodes, g, first, end, out->arena, err);
    if (st == TFM_OK) st = build(&b, err);
    tfm_free(b.insert);
    if (st != TFM_OK) tfm_probe_graph_free(out);
    return st;
}

void tfm_probe_graph_free(probe_graph *g) {
    if (g->arena) tfm_arena_free(g->arena);
    *g = (probe_graph){0};
}
