/* test_arch_graph.c - descriptions to graphs: what a good one gives, and that bad ones are refused
 * with a line number. Tensors are views of one zeroed buffer; nothing is run.
 */
#include <math.h>
#include <string.h>

#include "arch/graph_internal.h"
#include "unit.h"

static const float zeros[4096];
static tfm_tensor tensors[] = {
    {.name = "token_embd.weight", .rank = 2, .dims = {10, 8}},
    {.name = "position_embd.weight", .rank = 2, .dims = {20, 8}},
    {.name = "blk.0.q.weight", .rank = 2, .dims = {8, 8}},
    {.name = "blk.1.q.weight", .rank = 2, .dims = {16, 8}},
    {.name = "blk.0.down.weight", .rank = 2, .dims = {8, 8}},
    {.name = "blk.1.down.weight", .rank = 2, .dims = {8, 16}},
    {.name = "blk.0.q.bias", .rank = 1, .dims = {8}},
    {.name = "blk.1.q.bias", .rank = 1, .dims = {16}},
    {.name = "table.weight", .rank = 1, .dims = {2}},
};

static const tfm_tensor *find(const tfm_tensors *t, const char *name) {
    (void)t;
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++)
        if (strcmp(tensors[i].name, name) == 0) return &tensors[i];
    return NULL;
}

static const tfm_tensors source = {find, NULL};
static tfm_error err;

static tfm_graph *compile(const char *text) {
    tfm_graph *g = NULL;
    memset(&err, 0, sizeof err);
    if (tfm_graph_compile(&g, "m.tfms", text, strlen(text), NULL, &source, 64, &err) == TFM_OK)
        return g;
    CHECK(g == NULL);
    return NULL;
}

#define TOP "description: 1\nparameters: {context: 32}\n"
#define EMBED "embed:\n  - {gather: e, out: x, weight: token_embd.weight}\n"
#define HEAD "head:\n  - {linear: out, in: x, out: logits, weight: token_embd.weight}\n"
#define ATTEND                                                                                     \
    "      - {attend: a, in: [q, q, q], out: a, heads: 4, kv_heads: 4, k_dim: [2, 4],"             \
    " v_dim: [2, 4], scale: [0.5, 0.25], window: [0, 7]}\n"
#define GOOD                                                                                       \
    TOP EMBED                                                                                      \
        "blocks:\n  - layers: 0-1\n    steps:\n"                                                   \
        "      - {linear: q, in: x, out: q, weight: blk.N.q.weight, bias: blk.N.q.bias}\n" ATTEND  \
        "      - {linear: down, in: a, out: d, weight: blk.N.down.weight}\n"                       \
        "      - {add: sum, in: [x, d], out: x}\n" HEAD

/* Layers of different widths: one name, two values; numbers per layer from lists. */
static void groups_of_layers(void) {
    tfm_graph *g = compile(GOOD);
    const tfm_step *a, *b;
    if (!CHECK(g != NULL)) {
        printf("%s\n", err.message);
        return;
    }
    CHECK_INT(g->n_blocks, 2);
    CHECK_INT(g->n_steps, 10);
    CHECK_INT(g->block_start[0], 1);
    CHECK_INT(g->block_start[1], 5);
    CHECK_INT(g->block_start[2], 9);
    CHECK_INT(g->width, 8);
    CHECK_INT(g->n_vocab, 10);
    CHECK_INT(g->ctx_train, 32);
    CHECK(g->max_position == UINT32_MAX);
    a = &g->step[2];
    b = &g->step[6];
    CHECK_STR(a->name, "a");
    CHECK_INT(a->block, 0);
    CHECK_INT(b->block, 1);
    CHECK(a->in[0] != b->in[0]);
    CHECK_INT(g->value[a->in[0]].width, 8);
    CHECK_INT(g->value[b->in[0]].width, 16);
    CHECK(a->u.attend.scale == 0.5f && b->u.attend.scale == 0.25f);
    CHECK_INT(a->u.attend.window, 0);
    CHECK_INT(b->u.attend.window, 7);
    CHECK_INT(g->n_kv, 2);
    CHECK_INT(g->kv[1].k_dim, 4);
    CHECK_INT(g->kv[1].block, 1);
    CHECK_INT(b->u.attend.kv_layer, 1);
    /* the embedding is one weight in both of its uses */
    CHECK_INT(g->step[0].weight, g->step[9].weight);
    CHECK_INT(g->n_weights, 7);
    tfm_graph_free(g);
}

/* Layers may be listed in any grouping; their order is theirs. */
static void groups_interleaved(void) {
    static const char text[] = TOP EMBED
        "blocks:\n"
        "  - layers: 1,3\n    steps:\n      - {scale: s, in: x, out: x, by: [2, 4]}\n"
        "  - layers: 0,2\n    steps:\n      - {scale: s, in: x, out: x, by: [1, 3]}\n" HEAD;
    tfm_graph *g = compile(text);
    if (!CHECK(g != NULL)) return;
    for (int i = 0; i < 4; i++) CHECK(g->step[1 + i].u.scale.by == (float)(i + 1));
    tfm_graph_free(g);
}

static void positions(void) {
    static const char text[] = TOP EMBED
        "  - {gather: p, out: p, index: position, offset: 2, weight: position_embd.weight}\n"
        "  - {add: e, in: [x, p], out: x}\n"
        "blocks:\n  - layers: 0\n    steps: [{scale: s, in: x, out: x, by: 1}]\n" HEAD;
    tfm_graph *g = compile(text);
    if (!CHECK(g != NULL)) return;
    CHECK_INT(g->max_position, 18);
    CHECK_INT(g->step[1].u.gather.offset, 2);
    tfm_graph_free(g);
}

/* Slopes for 6 heads: those of 4 heads, then every other one of 8 (Press et al. 2021). */
static void alibi(void) {
    static const double want[] = {0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125};
    static const char text[] =
        TOP EMBED "blocks:\n  - layers: 0\n    steps:\n"
                  "      - {concat: c, in: [x, x, x], out: c}\n"
                  "      - {attend: a, in: [c, c, c], out: a, heads: 6, kv_heads: 6, k_dim: 4, "
                  "v_dim: 4, scale: 1, alibi: 8}\n"
                  "      - {split: s, in: a, out: [x, rest], sizes: [8, 16]}\n" HEAD;
    tfm_graph *g = compile(text);
    if (!CHECK(g != NULL)) {
        printf("%s\n", err.message);
        return;
    }
    for (int h = 0; h < 6; h++) CHECK(fabs((double)g->step[2].u.attend.alibi[h] - want[h]) < 1e-7);
    tfm_graph_free(g);
}

/* Two rope steps with the same numbers share one table. */
static void rope_shared(void) {
    static const char text[] =
        TOP EMBED "blocks:\n  - layers: 0-1\n    steps:\n"
                  "      - {rope: r, in: x, out: x, mode: neox, heads: 2, head_dim: 4, base: 100,"
                  " factors: table.weight}\n"
                  "      - {rope: s, in: x, out: x, mode: neox, heads: 4, head_dim: 2, base: [100,"
                  " 50]}\n" HEAD;
    tfm_graph *g;
    static const float factors[2] = {1, 2};
    tensors[8].data = factors;
    g = compile(text);
    tensors[8].data = zeros;
    if (!CHECK(g != NULL)) {
        printf("%s\n", err.message);
        return;
    }
    CHECK_INT(g->step[1].u.rope.rot, 4);
    CHECK(fabsf(g->step[1].u.rope.inv_freq[1] - 0.05f) < 1e-7f);
    CHECK(g->step[1].u.rope.inv_freq == g->step[3].u.rope.inv_freq);
    CHECK(g->step[2].u.rope.inv_freq != g->step[4].u.rope.inv_freq);
    CHECK(g->step[1].u.rope.magnitude == 1);
    CHECK_INT(g->n_weights, 1);
    tfm_graph_free(g);
}

#define BLOCK(step) TOP EMBED "blocks:\n  - layers: 0\n    steps:\n      - " step "\n" HEAD
#define ROPE "{rope: r, in: x, out: x, mode: neox, base: 100, heads: 2, head_dim: 4, "

static void refused(void) {
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"", "version 1"},
        {"description: 2\n", "version 1"},
        {"description: 1\nblocks: []\nembed: []\nhead: []\n", "context"},
        {"description: 1\nparameters: {context: 0}\nblocks: []\n", "m.tfms:2: "},
        {TOP "blocks: []\nhead: []\n", "'embed', 'blocks' and 'head'"},
        {TOP "embed: []\nblocks: []\nhead: []\n", "residual stream in 'x'"},
        {TOP EMBED "blocks: 3\n" HEAD, "list of groups"},
        {TOP EMBED "blocks: [{layers: 0}]\n" HEAD, "'layers' and 'steps'"},
        {TOP EMBED "blocks: [{layers: 1, steps: []}]\n" HEAD, "layer 0 is missing"},
        {TOP EMBED "blocks: [{layers: \"0-2,1\", steps: []}]\n" HEAD, "layer 1 stands twice"},
        {TOP EMBED "blocks: [{layers: 0-99999999999999999999, steps: []}]\n" HEAD, "at most"},
        {TOP EMBED "blocks: [{layers: 2-1, steps: []}]\n" HEAD, "ascending"},
        {TOP EMBED "blocks: [{layers: 0;1, steps: []}]\n" HEAD, "expected a ','"},
        {TOP EMBED "blocks: [{layers: a, steps: []}]\n" HEAD, "a number is missing"},
        {TOP EMBED "blocks: []\nhead: [{scale: s, in: x, out: y, by: 1}]\n", "must write 'logits'"},
        {BLOCK("{nothing: s, in: x, out: x}"), "m.tfms:8: 'nothing' is no kind of step"},
        {BLOCK("{scale: s, in: y, out: x, by: 1}"), "step 's' reads 'y'"},
        {BLOCK("{scale: s, in: x, out: x}"), "needs 'by'"},
        {BLOCK("{scale: s, in: x, out: x, by: 1, bye: 2}"), "has no 'bye'"},
        {BLOCK("{scale: s, in: x, out: x, by: one}"), "no parameter of that name"},
        {BLOCK("{scale: s, in: x, out: x, by: [1, 2]}"), "2 numbers for 1 layers"},
        {BLOCK("{scale: s, in: x, out: x, by: 1e31}"), "must be from"},
        {BLOCK("{scale: s, in: [x, x], out: x, by: 1}"), "1 to 1 values under 'in'"},
        {BLOCK("{scale: 's t', in: x, out: x, by: 1}"), "may hold letters"},
        {BLOCK("{split: s, in: x, out: [a, b], sizes: [4, 5]}"), "splits 8 columns into 9"},
        {BLOCK("{split: s, in: x, out: [a, b], sizes: [8]}"), "one width for each"},
        {BLOCK("{split: s, in: x, out: [a], sizes: [4, 4]}"), "one width for each"},
        {BLOCK("{split: s, in: x, out: [a, b], sizes: [1, 2], groups: 2}"), "8 columns into 6"},
        {BLOCK("{concat: s, in: [x, x], out: y, groups: 2}"), "each value under 'in'"},
        {BLOCK("{concat: s, in: [x, x], out: y, sizes: [4, 5], groups: 2}"), "wide as its groups"},
        {BLOCK("{concat: s, in: [x, x], out: y, sizes: [16777216, 16777216], groups: 65536}"), ""},
        {BLOCK("{norm: s, in: x, out: x, kind: max, eps: 0}"), "supported: rms layer"},
        {BLOCK("{norm: s, in: x, out: x, kind: rms, eps: 0, groups: 3}"),
         "m.tfms:8: graph: block 0, step s: groups do not divide the width (3 of 8)"},
        {BLOCK("{norm: s, in: x, out: x, kind: rms, eps: 0, groups: 2.5}"), "whole number"},
        {BLOCK("{linear: s, in: x, out: y, weight: nobody.weight}"), "'nobody.weight' is needed"},
        {BLOCK("{linear: s, in: x, out: y}"), "'weight' is missing"},
        {BLOCK("{linear: s, in: x, out: y, weight: table.weight}"), "two dims"},
        {BLOCK("{linear: s, in: x, out: x, weight: blk.N.down.weight, bias: table.weight}"), "s"},
        {BLOCK("{add: s, in: [x, x], out: y}\n      - {concat: x, in: [x, y], out: x}"),
         "of one width throughout"},
        {BLOCK("{moe-ffn: s, in: [x, x, x], out: y, up: table.weight, down: table.weight}"),
         "a moe-ffn step needs 'kind'"},
        {BLOCK("{moe-ffn: s, in: [x, x, x], out: y, up: table.weight, kind: silu}"),
         "a moe-ffn step needs 'down'"},
        {BLOCK("{moe-ffn: s, in: [x, x, x], out: y, up: table.weight}"), "step s: experts"},
        {BLOCK(ROPE "rot: 3}"), "must be even"},
        {BLOCK("{rope: r, in: x, out: x, mode: neox, base: 100, heads: 3, head_dim: 4}"),
         "heads do not fit the width (12 of 8)"},
        {BLOCK(ROPE "rot: 6}"), "at most head_dim"},
        {BLOCK(ROPE "rot: 2, first: 3}"), "at most head_dim"},
        {BLOCK(ROPE "first: 4}"), "at most head_dim"},
        {BLOCK(ROPE "factors: table.weight}"), "no usable number"},
        {BLOCK(ROPE "scaling: yarn, factor: 2}"), "needs 'original'"},
        {BLOCK(ROPE "scaling: longrope, original: 8}"), "factors_long and"},
        {BLOCK("{attend: s, in: [x, x, x], out: x, heads: 3, kv_heads: 2, k_dim: 2, v_dim: 2, "
               "scale: 1}"),
         "s"},
        {TOP "embed:\n  - {gather: e, out: x, weight: token_embd.weight}\n"
             "  - {attend: s, in: [x, x, x], out: x, heads: 4, kv_heads: 4, k_dim: 2, v_dim: 2, "
             "scale: 1}\nblocks: []\n" HEAD,
         "in a block only"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tfm_graph *g = compile(bad[i].text);
        if (!CHECK(g == NULL) || !CHECK(strstr(err.message, bad[i].message) != NULL))
            printf("%zu: %s (wanted '%s')\n", i, err.message, bad[i].message);
        CHECK(err.status != TFM_OK);
        tfm_graph_free(g);
    }
}

/* 1024 layers of 256 steps would be 262,144: the limit stops that before memory is used. */
static void step_limit(void) {
    tfm_buf text = {0};
    tfm_status st = tfm_buf_str(&text, TOP EMBED "blocks:\n  - layers: 0-1023\n    steps:\n", &err);
    for (int i = 0; i < 200 && st == TFM_OK; i++)
        st = tfm_buf_str(&text, "      - {scale: s, in: x, out: x, by: 1}\n", &err);
    if (st == TFM_OK) st = tfm_buf_str(&text, HEAD, &err);
    if (!CHECK(st == TFM_OK)) return;
    CHECK(compile(text.data) == NULL);
    CHECK_INT(err.status, TFM_LIMIT);
    tfm_buf_free(&text);
}

int main(void) {
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        tfm_tensor *t = &tensors[i];
        t->dtype = TFM_F32;
        t->data = zeros;
        for (unsigned k = t->rank; k < TFM_MAX_RANK; k++) t->dims[k] = 1;
        t->bytes = 4ull * t->dims[0] * t->dims[1];
    }
    UNIT_RUN(groups_of_layers);
    UNIT_RUN(groups_interleaved);
    UNIT_RUN(positions);
    UNIT_RUN(alibi);
    UNIT_RUN(rope_shared);
    UNIT_RUN(refused);
    UNIT_RUN(step_limit);
    return unit_done();
}
