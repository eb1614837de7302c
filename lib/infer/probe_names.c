/* probe_names.c - names of values: of every step's output, and of what it is in any architecture.
 *
 * A step's name comes from the description (`attn_q`), so it differs between architectures. What a
 * value is can be seen from the graph: q, k and v are what ATTEND reads; resid is what the last
 * writer of the residual stream wrote; what a part adds is found by following its results through
 * the block to the first ADD of which the other side does not come from that part. The feed-forward
 * part are the steps whose names begin with `ffn_`, as the canonical tensor names do.
 */
#include <fnmatch.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "infer/probe_internal.h"

/* ---- the list of nodes ---- */

static tfm_status name_of(tfm_arena *a, int block, const char *step, const char *value,
                          const char **out, tfm_error *err) {
    char text[TFM_NAME_MAX + 1], front[32] = "";
    int n;

    if (block >= 0) snprintf(front, sizeof front, "blk.%d.", block);
    n = snprintf(text, sizeof text, "%s%s%s%s", front, step, value ? "." : "", value ? value : "");
    if (n < 0 || (size_t)n >= sizeof text)
        return tfm_fail(err, TFM_LIMIT, "the name of step '%.40s...' is too long for a tap", step);
    return tfm_arena_strndup(a, out, text, (size_t)n, err);
}

static tfm_status add_name(probe_nodes *all, size_t node, int block, const char *what,
                           tfm_error *err) {
    probe_node *n;

    if (node == SIZE_MAX) return TFM_OK;
    n = &all->node[node];
    if (n->n_names == PROBE_NAMES) return TFM_OK;
    return name_of(all->arena, block, what, NULL, &n->name[n->n_names++], err);
}

static tfm_status add_node(probe_nodes *all, size_t step, int value, const char *part,
                           tfm_error *err) {
    const tfm_step *s = &all->g->step[step];
    probe_node *n = &all->node[all->n++];

    *n = (probe_node){.step = step, .value = value, .n_names = 1};
    if (value != TFM_NONE) n->width = all->g->value[value].width;
    return name_of(all->arena, s->block, s->name ? s->name : "step", part, &n->name[0], err);
}

static tfm_status add_step(probe_nodes *all, size_t i, tfm_error *err) {
    const tfm_step *s = &all->g->step[i];

    for (int j = 0; j < s->n_out; j++) {
        const char *part = s->n_out > 1 ? all->g->value[s->out[j]].name : NULL;
        TFM_TRY(add_node(all, i, s->out[j], part, err));
    }
    if (s->op != TFM_OP_ATTEND) return TFM_OK;
    probe_node *heads = &all->node[all->n - 1];
    heads->heads = s->u.attend.heads;
    heads->dim = s->u.attend.v_dim;
    TFM_TRY(name_of(all->arena, s->block, "head", NULL, &heads->head, err));
    TFM_TRY(add_name(all, all->n - 1, s->block, "heads", err));
    TFM_TRY(add_node(all, i, TFM_NONE, "pattern", err));
    all->node[all->n - 1].heads = s->u.attend.heads;
    return add_name(all, all->n - 1, s->block, "pattern", err);
}

/* ---- what a value is ---- */

/* The node that wrote the value last, of steps [from, to); SIZE_MAX if none did. */
static size_t writer_of(const probe_nodes *all, size_t from, size_t to, int value) {
    for (size_t i = all->n; i-- > 0 && all->node[i].step >= from;)
        if (all->node[i].step < to && all->node[i].value == value) return i;
    return SIZE_MAX;
}

static bool is_ffn(const tfm_step *s) {
    if (s->name && strncmp(s->name, "attn_", 5) == 0) return false; /* experts of attention */
    if (s->op == TFM_OP_MOE_ROUTE || s->op == TFM_OP_MOE_FFN) return true;
    return s->name && strncmp(s->name, "ffn_", 4) == 0 && s->op != TFM_OP_NORM &&
           s->op != TFM_OP_ADD;
}

/* The node whose value the part adds to something that is not of the part. */
static size_t added_by(const probe_nodes *all, size_t from, size_t to, bool is_ffn_part,
                       unsigned char *of_part) {
    memset(of_part, 0, all->g->n_values);
    for (size_t i = from; i < to; i++) {
        const tfm_step *s = &all->g->step[i];
        bool any = is_ffn_part ? is_ffn(s) : s->op == TFM_OP_ATTEND;
        if (s->op == TFM_OP_ADD && of_part[s->in[0]] != of_part[s->in[1]])
            return writer_of(all, from, i, of_part[s->in[0]] ? s->in[0] : s->in[1]);
        for (int j = 0; j < s->n_in; j++) any |= of_part[s->in[j]];
        for (int j = 0; j < s->n_out; j++) of_part[s->out[j]] = any;
    }
    return SIZE_MAX;
}

/* q, k and v of the block's first attention; the input of its first feed-forward step. */
static tfm_status name_inputs(probe_nodes *all, int block, size_t from, size_t to, tfm_error *err) {
    static const char *const role[3] = {"q", "k", "v"};
    bool has_attention = false, has_ffn = false;

    for (size_t i = from; i < to; i++) {
        const tfm_step *s = &all->g->step[i];
        if (s->op == TFM_OP_ATTEND && !has_attention) {
            has_attention = true;
            for (int j = 0; j < 3; j++) {
                size_t at = writer_of(all, from, i, s->in[j]);
                TFM_TRY(add_name(all, at, block, role[j], err));
                if (at == SIZE_MAX) continue;
                all->node[at].heads = j == 0 ? s->u.attend.heads : s->u.attend.kv_heads;
                all->node[at].dim = j == 2 ? s->u.attend.v_dim : s->u.attend.k_dim;
            }
        } else if (is_ffn(s) && s->n_in > 0 && !has_ffn) {
            has_ffn = true;
            TFM_TRY(add_name(all, writer_of(all, from, i, s->in[0]), block, "ffn_in", err));
        }
    }
    return TFM_OK;
}

static tfm_status name_block(probe_nodes *all, int block, unsigned char *scratch, tfm_error *err) {
    const tfm_graph *g = all->g;
    size_t from = g->block_start[block], to = g->block_start[block + 1];

    TFM_TRY(name_inputs(all, block, from, to, err));
    all->attn_out[block] = added_by(all, from, to, false, scratch);
    TFM_TRY(add_name(all, all->attn_out[block], block, "attn_out", err));
    all->ffn_out[block] = added_by(all, from, to, true, scratch);
    TFM_TRY(add_name(all, all->ffn_out[block], block, "ffn_out", err));
    return add_name(all, writer_of(all, from, to, g->hidden), block, "resid", err);
}

tfm_status tfm_probe_nodes(probe_nodes *out, const tfm_graph *g, size_t first, size_t end,
                           tfm_arena *arena, tfm_error *err) {
    size_t n = 0, head = g->block_start[g->n_blocks];
    void *p, *scratch;

    *out = (probe_nodes){.g = g, .arena = arena, .first = first, .end = end};
    for (size_t i = 0; i < g->n_steps; i++)
        n += (size_t)g->step[i].n_out + (g->step[i].op == TFM_OP_ATTEND);
    TFM_TRY(tfm_arena_alloc(arena, &p, n * sizeof *out->node, err));
    out->node = p;
    TFM_TRY(tfm_arena_alloc(arena, &p, 2 * g->n_blocks * sizeof(size_t), err));
    out->attn_out = p;
    out->ffn_out = out->attn_out + g->n_blocks;
    TFM_TRY(tfm_arena_alloc(arena, &scratch, g->n_values, err));
    for (size_t i = 0; i < g->n_steps; i++) TFM_TRY(add_step(out, i, err));
    for (uint32_t b = 0; b < g->n_blocks; b++) TFM_TRY(name_block(out, (int)b, scratch, err));
    TFM_TRY(add_name(out, writer_of(out, 0, g->block_start[0], g->hidden), -1, "embedding", err));
    return add_name(out, writer_of(out, head, g->n_steps, g->logits), -1, "logits", err);
}

/* ---- looking up ---- */

bool tfm_probe_in_range(const probe_nodes *nodes, const probe_node *n) {
    return n->step >= nodes->first && n->step < nodes->end;
}

const char *tfm_probe_match(const probe_node *n, const char *glob) {
    for (int i = n->n_names; i-- > 0;)
        if (fnmatch(glob, n->name[i], 0) == 0) return n->name[i];
    return NULL;
}

/* Is name "blk.N.head.H" of this node? */
static bool is_head(const probe_node *n, const char *name, uint32_t *head) {
    size_t len = n->head ? strlen(n->head) : 0;
    uint64_t h;

    if (!n->head || strncmp(name, n->head, len) != 0 || name[len] != '.') return false;
    if (!tfm_parse_u64(name + len + 1, 0, n->heads - 1, &h)) return false;
    *head = (uint32_t)h;
    return true;
}

bool tfm_probe_find(const probe_nodes *nodes, const char *name, probe_target *out) {
    for (size_t i = 0; i < nodes->n; i++) {
        const probe_node *n = &nodes->node[i];
        uint32_t head;
        for (int j = 0; j < n->n_names; j++)
            if (strcmp(n->name[j], name) == 0) {
                *out = (probe_target){.node = n, .width = n->width};
                return true;
            }
        if (is_head(n, name, &head)) {
            *out = (probe_target){.node = n, .first = head * n->dim, .width = n->dim};
            return true;
        }
    }
    return false;
}

/* ---- the nearest names ---- */

/* Edits (Levenshtein) that make name of the glob, in which a * stands for anything. */
static unsigned distance(const char *glob, const char *name) {
    unsigned row[TFM_NAME_MAX + 1];
    size_t n = strlen(name);

    for (size_t j = 0; j <= n; j++) row[j] = (unsigned)j;
    for (size_t i = 0; i < TFM_NAME_MAX && glob[i] != '\0'; i++) {
        unsigned diagonal = row[0];
        bool any = glob[i] == '*';
        if (!any) row[0]++;
        for (size_t j = 1; j <= n; j++) {
            bool same = glob[i] == '?' || glob[i] == name[j - 1];
            unsigned best = diagonal + !same;
            diagonal = row[j];
            if (row[j] + !any < best) best = row[j] + !any;
            if (row[j - 1] + !any < best) best = row[j - 1] + !any;
            row[j] = best;
        }
    }
    return row[n];
}

void tfm_probe_nearest_add(probe_nearest *near, const char *name) {
    unsigned d = distance(near->glob, name);
    int at = near->n;

    for (int i = 0; i < near->n; i++)
        if (strcmp(near->name[i], name) == 0) return;
    while (at > 0 && near->distance[at - 1] > d) at--;
    if (at == 3) return;
    if (near->n < 3) near->n++;
    for (int i = near->n - 1; i > at; i--) {
        memcpy(near->name[i], near->name[i - 1], sizeof near->name[i]);
        near->distance[i] = near->distance[i - 1];
    }
    snprintf(near->name[at], sizeof near->name[at], "%s", name);
    near->distance[at] = d;
}

void tfm_probe_nearest_values(probe_nearest *near, const probe_nodes *nodes) {
    for (size_t i = 0; i < nodes->n; i++)
        for (int j = 0; tfm_probe_in_range(nodes, &nodes->node[i]) && j < nodes->node[i].n_names;
             j++)
            tfm_probe_nearest_add(near, nodes->node[i].name[j]);
}

tfm_status tfm_probe_nearest_fail(const probe_nearest *near, const char *what, tfm_status status,
                                  tfm_error *err) {
    const char *sep[3] = {near->n > 1 ? ", " : "", near->n > 2 ? ", " : "", ""};

    return tfm_fail(err, status, "%s: '%s' matches nothing here; the nearest: %s%s%s%s%s", what,
                    near->glob, near->n > 0 ? near->name[0] : "(none)", sep[0],
                    near->n > 1 ? near->name[1] : "", sep[1], near->n > 2 ? near->name[2] : "");
}

/* ---- the list for people ---- */

static tfm_status list_node(const probe_node *n, tfm_probe_name_fn fn, void *ctx, tfm_error *err) {
    char shape[48];

    if (n->value == TFM_NONE)
        snprintf(shape, sizeof shape, "[%" PRIu32 ", keys]", n->heads);
    else if (n->heads)
        snprintf(shape, sizeof shape, "[%" PRIu32 ", %" PRIu32 "]", n->heads, n->dim);
    else
        snprintf(shape, sizeof shape, "[%" PRIu32 "]", n->width);
    for (int i = 0; i < n->n_names; i++) TFM_TRY(fn(ctx, n->name[i], shape, err));
    return TFM_OK;
}

tfm_status tfm_probe_list(tfm_model *m, const tfm_model_range *range, tfm_probe_name_fn fn,
                          void *ctx, tfm_error *err) {
    tfm_arena *arena = NULL;
    probe_nodes nodes;
    tfm_graph *g;
    tfm_model_range r = *range;
    size_t first, end;

    TFM_TRY(tfm_graph_new(&g, m, 0, err));
    if (r.first_block > g->n_blocks) r.first_block = g->n_blocks;
    if (r.end_block > g->n_blocks) r.end_block = g->n_blocks;
    tfm_status st = tfm_range_steps(g, tfm_model_path(m), &r, &first, &end, err);
    if (st == TFM_OK) st = tfm_arena_new(&arena, err);
    if (st == TFM_OK) st = tfm_probe_nodes(&nodes, g, first, end, arena, err);
    for (size_t i = 0; st == TFM_OK && i < nodes.n; i++)
        if (tfm_probe_in_range(&nodes, &nodes.node[i]))
            st = list_node(&nodes.node[i], fn, ctx, err);
    if (arena) tfm_arena_free(arena);
    tfm_graph_free(g);
    return st;
}
