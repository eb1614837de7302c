/* test_arch_resolve.c - architecture files applied to a checkpoint: recipes, macros, per-layer
 * lists, and that every mistake in a file is refused with its line.
 *
 * Owns: variants of share/arch/llama.yaml over one tiny checkpoint. What the shipped files compute
 * is judged by test_golden.c.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "arch/arch_internal.h"
#include "unit.h"

static const char folder[] = "tests/golden/hf/llama-tied";
static char base[8192], path[] = "/tmp/tfm-arch-XXXXXX";
static tfm_error err;

/* base with the first `from` replaced by `to` ("" appends `to`), applied to the folder. */
static tfm_model *variant(const char *from, const char *to) {
    tfm_load_options o = {.share_dir = "share", .arch_file = path};
    const char *at = *from ? strstr(base, from) : base + strlen(base);
    tfm_model *m = NULL;
    FILE *f = fopen(path, "w");
    memset(&err, 0, sizeof err);
    if (!CHECK(at != NULL) || !CHECK(f != NULL)) return NULL;
    fprintf(f, "%.*s%s%s", (int)(at - base), base, to, at + strlen(from));
    fclose(f);
    return tfm_load(&m, folder, &o, &err) == TFM_OK ? m : NULL;
}

static bool describes(const tfm_model *m, const char *text) {
    if (m != NULL && strstr(tfm_model_description(m, NULL), text) != NULL) return true;
    printf("%s\n%s\n", err.message, m ? tfm_model_description(m, NULL) : "");
    return false;
}

static bool runs(const tfm_model *m) {
    tfm_graph *g;
    if (m == NULL || tfm_graph_new(&g, m, 0, &err) != TFM_OK) {
        printf("%s\n", err.message);
        return false;
    }
    tfm_graph_free(g);
    return true;
}

/* ---- recipes ---- */

static void fill(tfm_recipe *r, tfm_tensor *s, uint32_t rows, uint32_t cols, const float *data) {
    *s = (tfm_tensor){.name = "s",
                      .dtype = TFM_F32,
                      .rank = cols ? 2 : 1,
                      .dims = {rows, cols ? cols : 1, 1, 1},
                      .data = data};
    s->bytes = (uint64_t)4 * rows * (cols ? cols : 1);
    *r = (tfm_recipe){.out = *s, .source = s, .matrices = 1, .rows = rows, .out_rows = rows};
}

static void recipe_transpose_and_rows(void) {
    static const float a[6] = {1, 2, 3, 4, 5, 6}; /* [2 in, 3 out] */
    float out[6] = {0};
    tfm_tensor s;
    tfm_recipe r;
    fill(&r, &s, 2, 3, a);
    r.transpose = true;
    r.out.dims[0] = r.rows = r.out_rows = 3;
    r.out.dims[1] = 2;
    r.out.bytes = 24;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    CHECK(out[0] == 1 && out[1] == 4 && out[2] == 2 && out[3] == 5 && out[4] == 3 && out[5] == 6);
    r.row_first = 2; /* the last output only */
    r.row_count = 1;
    r.row_every = 3;
    r.out.dims[0] = r.out_rows = 1;
    r.out.bytes = 8;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    CHECK(out[0] == 3 && out[1] == 6);
}

/* Rows of two heads as [q q k v]: k is row 2 of each 4. */
static void recipe_every(void) {
    static const float a[8] = {0, 1, 2, 3, 10, 11, 12, 13};
    float out[4] = {0};
    tfm_tensor s;
    tfm_recipe r;
    fill(&r, &s, 8, 1, a);
    r.row_every = 4;
    r.row_count = 2;
    r.out.dims[0] = r.out_rows = 4;
    r.out.bytes = 16;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    CHECK(out[0] == 0 && out[1] == 1 && out[2] == 10 && out[3] == 11);
}

/* Two groups of rows a a b c: all a, all b, all c. */
static void recipe_groups(void) {
    static const float want[8] = {0, 1, 4, 5, 2, 6, 3, 7};
    float a[8], out[8];
    tfm_tensor s;
    tfm_recipe r;
    for (int i = 0; i < 8; i++) a[i] = (float)i;
    fill(&r, &s, 8, 1, a);
    r.part[0] = 2;
    r.part[1] = r.part[2] = 1;
    r.n_parts = 3;
    r.out.bytes = 32;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    for (int i = 0; i < 8; i++) CHECK(out[i] == want[i]);
    r.row_first = 4; /* of the sorted ones: b */
    r.row_count = 2;
    r.row_every = 8;
    r.out.dims[0] = r.out_rows = 2;
    r.out.bytes = 8;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    CHECK(out[0] == 2 && out[1] == 6);
}

/* Two matrices [2 in, 4 out]: transposed, every other row. */
static void recipe_matrices(void) {
    static const float want[8] = {1, 5, 3, 7, 9, 13, 11, 15};
    float a[16], out[8];
    tfm_tensor s;
    tfm_recipe r;
    for (int i = 0; i < 16; i++) a[i] = (float)i;
    fill(&r, &s, 4, 4, a);
    r.matrices = 2;
    r.transpose = true;
    r.rows = 4;
    r.row_first = r.row_count = 1;
    r.row_every = 2;
    r.out.rank = 3;
    r.out.dims[0] = r.out.dims[1] = r.out.dims[2] = r.out_rows = 2;
    r.out.bytes = 32;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    for (int i = 0; i < 8; i++) CHECK(out[i] == want[i]);
}

/* Two heads of six rows, four of which turn: halves 0 1 | 2 3 become pairs 0 2 1 3. */
static void recipe_pairs(void) {
    static const float want[12] = {0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10, 11};
    float a[12], out[12];
    tfm_tensor s;
    tfm_recipe r;
    for (int i = 0; i < 12; i++) a[i] = (float)i;
    fill(&r, &s, 12, 0, a);
    r.rope_heads = 2;
    r.rope_rot = 4;
    r.out.bytes = 48;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    for (int i = 0; i < 12; i++) CHECK(out[i] == want[i]);
}

/* Two rows of two blocks of q4_0, codes and scales apart; the second row is the result. */
static void recipe_blocks(void) {
    uint8_t codes[64], out[2][18], want[16];
    uint16_t scales[2][2] = {{1, 2}, {3, 4}};
    for (unsigned i = 0; i < sizeof codes; i++) codes[i] = (uint8_t)(i * 37 + 5);
    const tfm_tensor s = {.data = codes, .bytes = sizeof codes};
    const tfm_tensor d = {.data = scales, .bytes = sizeof scales};
    tfm_recipe r = {.source = &s, .scales = &d, .matrices = 1, .rows = 2, .out_rows = 1};
    r.out = (tfm_tensor){.dtype = TFM_Q4_0, .rank = 2, .dims = {1, 64, 1, 1}, .bytes = 36};
    r.row_first = r.row_count = 1;
    r.row_every = 2;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    for (unsigned b = 0; b < 2; b++) {
        const uint8_t *from = codes + 32 + 16 * b;
        for (unsigned i = 0; i < 16; i++) { /* elements i and i + 16 */
            const unsigned low = i % 2 == 0 ? from[i / 2] & 15u : from[i / 2] >> 4;
            const unsigned high = i % 2 == 0 ? from[8 + i / 2] & 15u : from[8 + i / 2] >> 4;
            want[i] = (uint8_t)(low | high << 4);
        }
        CHECK(memcmp(out[b], &scales[1][b], 2) == 0 && memcmp(out[b] + 2, want, 16) == 0);
    }
}

static void recipe_widens(void) {
    static const uint16_t a[4] = {0x3f80, 0x4000, 0x4040, 0x4080}; /* bf16 1 2 3 4 */
    float out[4];
    tfm_tensor s;
    tfm_recipe r;
    fill(&r, &s, 4, 0, (const float *)(const void *)a);
    s.dtype = TFM_BF16;
    r.to_f32 = true;
    r.rope_heads = 1;
    r.rope_rot = 4;
    r.out.bytes = 16;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    CHECK(out[0] == 1 && out[1] == 3 && out[2] == 2 && out[3] == 4);
    r.add = 1;
    CHECK_INT(tfm_recipe_run(&r, out, &err), TFM_OK);
    CHECK(out[0] == 2 && out[1] == 4 && out[2] == 3 && out[3] == 5);
}

/* ---- macros and parameters ---- */

#define BLOCK "[pre_norm_block: {norm: rms, attention: split_attention, ffn: gated_or_expert_ffn}]"

static void macros(void) {
    tfm_model *m =
        variant(BLOCK, "[parallel_block: {norm: rms, ffn: gated_ffn, two_norms: 'true'}]");
    CHECK(describes(m, "- {add: parallel_sum, in: [o, f], out: o}\n"
                       "      - {add: residual, in: [x, o], out: x}\n"));
    CHECK(runs(m));
    tfm_model_free(m);
    /* without its second norm the checkpoint's would be lost: that is an error */
    m = variant(BLOCK, "[parallel_block: {norm: rms, ffn: gated_ffn}]");
    CHECK(m == NULL && strstr(err.message, "no step uses tensor 'blk.0.ffn_norm.weight'") != NULL);
    m = variant("block: " BLOCK,
                "block: [post_norm_block: {norm: rms, ffn: gated_ffn}]\n"
                "macros:\n"
                "  post_norm_block:\n"
                "    arguments: {norm: layer, ffn: plain_ffn}\n"
                "    steps:\n"
                "      - split_attention: {from: x}\n"
                "      - {add: r, in: [x, o], out: x}\n"
                "      - {norm: attn_norm, in: x, out: x, kind: $norm, eps: norm_eps}\n"
                "      - $ffn: {from: x}\n"
                "      - {add: s, in: [x, f], out: x}\n"
                "      - {norm: ffn_norm, in: x, out: x, kind: $norm, eps: norm_eps}\n");
    CHECK(describes(m, "- {linear: attn_q, in: x, out: q, weight: blk.N.attn_q.weight}\n"));
    CHECK(runs(m));
    tfm_model_free(m);
}

/* Layers that differ in a number stay one group; layers that differ in a step become two. */
static void layers_differ(void) {
    tfm_model *m =
        variant("  rope_mode", "  window: {each: \"if(n % 2 == 0, 0, 9)\"}\n  rope_mode");
    CHECK(describes(m, "- layers: 0-1\n"));
    CHECK(describes(m, "window: [0, 9]}"));
    CHECK(runs(m));
    tfm_model_free(m);
    m = variant(BLOCK, "\n  - {scale: odd, in: x, out: x, by: 2, if: n == 1}\n"
                       "  - pre_norm_block: {ffn: gated_ffn}\n");
    CHECK(describes(m, "- layers: 0\n"));
    CHECK(describes(m, "- layers: 1\n    steps:\n      - {scale: odd, in: x, out: x, by: 2}\n"));
    CHECK(runs(m));
    tfm_model_free(m);
}

/* k and v cut out of one matrix: rows 0-11 of each 24, and rows 12-35. */
static void fused_rows(void) {
    tfm_model *m = variant(
        "tensors: {use: [llama, experts, rope]}\nignore: {use: rotary}",
        "tensors:\n  use: [llama, experts, rope]\n"
        "  blk.N.attn_k: {hf: {name: model.layers.N.self_attn.q_proj, rows: [0, 12, 24]}}\n"
        "  blk.N.attn_v: {hf: {name: model.layers.N.self_attn.q_proj, rows: [head_dim, 24]}}\n"
        "ignore: {hf: [model.layers.N.self_attn.k_proj.weight,"
        " model.layers.N.self_attn.v_proj.weight]}");
    if (!CHECK(m == NULL && strstr(err.message, "step rope_k") != NULL))
        puts(err.message); /* four heads, rows for two */
    char *at = strstr(base, "  rope_mode");
    char saved[sizeof base];
    memcpy(saved, base, sizeof base);
    memmove(at + 14, at, strlen(at) + 1);
    memcpy(at, "  kv_heads: 2\n", 14);
    m = variant(
        "tensors: {use: [llama, experts, rope]}\nignore: {use: rotary}",
        "tensors:\n  use: [llama, experts, rope]\n"
        "  blk.N.attn_k: {hf: {name: model.layers.N.self_attn.q_proj, rows: [0, 12, 24]}}\n"
        "  blk.N.attn_v: {hf: {name: model.layers.N.self_attn.q_proj, rows: [head_dim, 24]}}\n"
        "ignore: {hf: [model.layers.N.self_attn.k_proj.weight,"
        " model.layers.N.self_attn.v_proj.weight]}");
    memcpy(base, saved, sizeof base);
    tfm_source *src = NULL;
    if (!CHECK(runs(m)) || tfm_source_open(&src, folder, NULL, &err) != TFM_OK) return;
    const char *q = tfm_source_tensor(src, "model.layers.1.self_attn.q_proj.weight")->data;
    const char *k = tfm_model_tensor(m, "blk.1.attn_k.weight")->data;
    const char *v = tfm_model_tensor(m, "blk.1.attn_v.weight")->data;
    const size_t row = 48 * sizeof(float);
    CHECK_INT(tfm_model_tensor(m, "blk.1.attn_k.weight")->dims[0], 24);
    CHECK(memcmp(k, q, 12 * row) == 0 && memcmp(k + 12 * row, q + 24 * row, 12 * row) == 0);
    CHECK(memcmp(v, q + 12 * row, 24 * row) == 0);
    tfm_source_free(src);
    tfm_model_free(m);
}

static void description_is_stable(void) {
    tfm_model *a = variant("", ""), *b = variant("", "\n# a comment\n");
    if (CHECK(a != NULL) && CHECK(b != NULL)) {
        CHECK_STR(tfm_model_description(a, NULL), tfm_model_description(b, NULL));
        CHECK_STR(tfm_model_id(a), tfm_model_id(b));
    }
    tfm_model_free(a);
    tfm_model_free(b);
}

static void generation(void) {
    tfm_generation g;
    tfm_model *m = variant("generation: {use: decoder}",
                           "generation: {use: decoder, start: 3, forced: none, suppressed: eos}\n");
    CHECK(m == NULL && strstr(err.message, "no parameter of that name") != NULL);
    m = variant("generation: {use: decoder}",
                "generation: {use: decoder, start: 3, forced: none}\n");
    if (!CHECK(m != NULL) || !CHECK(tfm_generation_read(&g, m, &err) == TFM_OK)) return;
    CHECK_INT(g.n_start, 1);
    CHECK_INT(g.start[0], 3);
    CHECK_INT(g.n_end, 1);
    CHECK_INT(g.end[0], 1); /* eos_token_id of config.json */
    CHECK_INT(g.n_forced, 0);
    CHECK_INT(g.n_suppressed, 0);
    tfm_generation_free(&g);
    tfm_model_free(m);
}

/* ---- mistakes ---- */

static void mistakes(void) {
    static const struct {
        const char *from, *to, *message;
    } bad[] = {
        {"", "colour: red\n", "unknown key 'colour'"},
        {"architecture: llama", "architecture: [a]", "'architecture' (its name)"},
        {"class: LlamaForCausalLM", "class: Other", "'LlamaForCausalLM', which this file"},
        {"unwindowed, rms, rope, activation]", "nobody]", "no set of parameters"},
        {"unwindowed, rms, rope, activation]", "rope, activation]",
         "parameter 'norm_eps' is needed; sets that have it: rms layer_norm"},
        {"  rope_mode", "  a: nobody + 1\n  rope_mode", "no parameter of that name"},
        {"  rope_mode", "  a: stored(lm_head.weight, 0)\n  rope_mode", "in 'fill' only"},
        {"  rope_mode", "  a: b\n  b: a\n  rope_mode", "parameter 'a' is defined by itself"},
        {"  rope_mode", "  a: {hf: nothing}\n  rope_mode", "the checkpoint has no 'nothing'"},
        {"  rope_mode", "  a: {gguf: nothing}\n  rope_mode", "a hf checkpoint does not have it"},
        {"  rope_mode", "  a: {hf: vocab_size, max: 5}\n  rope_mode", "a is 128; it must be from"},
        {"  rope_mode", "  a: {hf: vocab_size, oor: 5}\n  rope_mode", "unknown key 'oor'"},
        {"  rope_mode", "  a: {hf: model_type, map: {x: y}}\n  rope_mode", "supported: x"},
        {"  rope_mode", "  a: {or: [1]}\n  rope_mode", "'or' takes one expression"},
        {"  rope_mode", "  layers: 0\n  rope_mode", "'layers' must be 1 to"},
        {"  rope_mode", "  layers: 3\n  rope_mode",
         "no tensor 'model.layers.2.input_layernorm.weight', which is needed"},
        {"  rope_mode", "  layers: 1\n  rope_mode", "does not know 9 tensors"},
        {"'interleaved'", "'sideways'", "supported: neox interleaved"},
        {"tensors: {use: [llama, experts, rope]}", "tensors: {use: rope}",
         "does not know 20 tensors"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, rope], output_norm: {hf: {name: model.norm, stack: 0}}}",
         "nothing to stack"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, rope], output_norm: {hf: {name: model.norm, stack: 99999}}}",
         "whole number from 0 to 4096"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, rope], output_norm: {hf: {name: model.norm, stack: 2}}}",
         "the weight does not fit the width"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, rope], blk.N.ffn_up: {hf: {name: model.E.x, stack: 2}}}",
         "no tensor 'model.0.x.weight'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, rope], output_norm: {hf: {name: x.E, stack: 2, rows: [0, 1]}}}",
         "cannot go with 'rows'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], blk.N.attn_q: {hf: {name: lm, rows: [0, 1]}}}",
         "no tensor 'lm.weight'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, rows: [40, "
         "9]}}}",
         "does not fit"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, rope_pairs: "
         "5}}}",
         "does not fit"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, turn: 5}}}",
         "unknown key 'turn'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {fill: 1, count: 2, "
         "rows: [0, 1]}}}",
         "'fill' cannot go with 'rows'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {fill: 1}}}",
         "'fill' needs either 'count' or 'shape'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], a: {hf: {count: 1, fill: \"stored(b, 0)\"}}}",
         "the checkpoint has no tensor 'b'"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], a: {hf: {count: 60000, fill: "
         "\"dot(model.norm.weight, model.norm.weight)\"}}}",
         "more than 4194304 numbers"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {fill: 1, shape: [256, "
         "257]}}}",
         "whole number from 1 to 256"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, blocks: "
         "mxfp4}}}",
         "'blocks' is [type, name of the scales]"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, blocks: "
         "[q4_1, x]}}}",
         "'q4_1' is no type whose blocks are codes of 4 bits and a scale"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, blocks: "
         "[mxfp4, x]}}}",
         "no tensor 'x.weight', which is needed"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: {name: model.norm, blocks: "
         "[mxfp4, model.norm]}}}",
         "are not the codes and the scales of mxfp4 blocks"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: [{name: x, if: false}, y]}}",
         "a list of names, or one of mappings"},
        {"tensors: {use: [llama, experts, rope]}",
         "tensors: {use: [llama, experts, rope], output_norm: {hf: [{name: x, if: false}, {name: "
         "y}, {name: z}]}}",
         "no tensor 'y.weight'"},
        {"  rope_mode: \"'interleaved'\"\n", "",
         "parameter 'rope_mode' must be given: 'neox', 'interleaved', or 'none'"},
        {BLOCK, "3", "expected a list of steps"},
        {BLOCK, "[no_such_block: {}]", "no kind of step and no macro"},
        {BLOCK, "[pre_norm_block: {nrom: rms}]", "no argument 'nrom'"},
        {BLOCK, "[pre_norm_block: rms]", "arguments of a macro are a mapping"},
        {BLOCK, "[{pre_norm_block: {}, norm: rms}]", "stand under its name"},
        {BLOCK, "[again: {}]\nmacros: {again: {steps: [again: {}]}}", "more than 12 deep"},
        {BLOCK, "[pre_norm_block: {ffn: gated_ffn}, {scale: s, in: x, out: x, by: 1, if: act}]",
         "no parameter of that name"},
        {BLOCK, "[pre_norm_block: {norm: rms, ffn: plain_ffn}]", "no step uses tensor"},
        {BLOCK,
         "[pre_norm_block: {norm: rms}, {norm: s, in: x, out: x, kind: rms, eps: 0, groups: 7}]",
         "groups do not divide the width (7 of "},
        {"head: [lm_head: {norm: rms}]", "head: []", "must write 'logits'"},
        {"head: [lm_head: {norm: rms}]\n", "", "the section 'head' is missing"},
        {"", "refuse: [{if: heads == 4, say: four heads are too many}]\n",
         "four heads are too many"},
        {"gguf: {architecture: llama", "gguf: {arch: llama", "unknown key 'arch'"},
        {"embed: ", "embed: &a ", "anchors"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        tfm_model *m = variant(bad[i].from, bad[i].to);
        if (!CHECK(m == NULL) || !CHECK(strstr(err.message, bad[i].message) != NULL))
            printf("%s -> %s: %s\n", bad[i].from, bad[i].to, err.message);
        tfm_model_free(m);
    }
}

int main(void) {
    FILE *f = fopen("share/arch/llama.yaml", "r");
    size_t n = f ? fread(base, 1, sizeof base - 1, f) : 0;
    int fd = mkstemp(path);
    if (f != NULL) fclose(f);
    if (!CHECK(n > 0) || !CHECK(fd >= 0)) return unit_done();
    close(fd);
    UNIT_RUN(recipe_transpose_and_rows);
    UNIT_RUN(recipe_every);
    UNIT_RUN(recipe_groups);
    UNIT_RUN(recipe_matrices);
    UNIT_RUN(recipe_pairs);
    UNIT_RUN(recipe_blocks);
    UNIT_RUN(recipe_widens);
    UNIT_RUN(macros);
    UNIT_RUN(layers_differ);
    UNIT_RUN(fused_rows);
    UNIT_RUN(description_is_stable);
    UNIT_RUN(generation);
    UNIT_RUN(mistakes);
    unlink(path);
    return unit_done();
}
