/* test_arch_language.c - the YAML reader, the expressions, and rotary frequencies: the parts of
 * lib/arch that need no checkpoint.
 */
#include <math.h>
#include <string.h>

#include "arch/graph_internal.h"
#include "unit.h"

static tfm_arena *arena;
static tfm_error err;

static const tfm_yaml *parse(const char *text) {
    const tfm_yaml *doc;
    memset(&err, 0, sizeof err);
    return tfm_yaml_parse(&doc, arena, "x.yaml", text, strlen(text), &err) == TFM_OK ? doc : NULL;
}

static void yaml_tree(void) {
    const tfm_yaml *doc = parse("a: 1\nb: [x, 'y z', {c: d}]\n\ne:\n  f: \"null\"\n  g: null\n");
    const tfm_yaml *b, *e;
    if (!CHECK(doc != NULL)) return;
    CHECK_INT(doc->n, 3);
    CHECK_STR(tfm_yaml_get(doc, "a")->text, "1");
    b = tfm_yaml_get(doc, "b");
    CHECK_INT(b->kind, TFM_YAML_LIST);
    CHECK_INT(b->line, 2);
    CHECK_STR(b->entry[1].value->text, "y z");
    CHECK_STR(tfm_yaml_get(b->entry[2].value, "c")->text, "d");
    e = tfm_yaml_get(doc, "e");
    CHECK_INT(tfm_yaml_get(e, "f")->line, 5);
    CHECK(!tfm_yaml_is_null(tfm_yaml_get(e, "f")));
    CHECK(tfm_yaml_is_null(tfm_yaml_get(e, "g")));
    CHECK(tfm_yaml_get(doc, "nothing") == NULL);
    CHECK(tfm_yaml_get(b, "a") == NULL);
    doc = parse("");
    CHECK(doc != NULL && doc->kind == TFM_YAML_MAP && doc->n == 0);
}

static void yaml_refused(void) {
    static const struct {
        const char *text, *message;
        tfm_status status;
    } bad[] = {
        {"a: &x 1\nb: *x\n", "x.yaml:1: anchors", TFM_UNSUPPORTED},
        {"a: [*x]\n", "aliases", TFM_UNSUPPORTED},
        {"a: !!int 1\n", "tags", TFM_UNSUPPORTED},
        {"a: 1\nb: 2\na: 3\n", "key 'a' stands twice", TFM_FORMAT},
        {"{[a]: 1}", "a key must be", TFM_FORMAT},
        {"a: 1\n---\nb: 2\n", "second document", TFM_FORMAT},
        {"a: [1,\n", "x.yaml:2: not YAML", TFM_FORMAT},
        {"a: \"\\0\"\n", "NUL", TFM_FORMAT},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]", "24 deep", TFM_LIMIT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(parse(bad[i].text) == NULL);
        CHECK_INT(err.status, bad[i].status);
        if (!CHECK(strstr(err.message, bad[i].message) != NULL)) printf("%s\n", err.message);
    }
}

/* A document of the largest size with the most nodes: refused or read, but at once. */
static void yaml_limits(void) {
    const tfm_yaml *doc;
    static char big[TFM_YAML_MAX_BYTES + 2];
    memset(big, ' ', sizeof big);
    CHECK_INT(tfm_yaml_parse(&doc, arena, "x.yaml", big, TFM_YAML_MAX_BYTES + 1, &err), TFM_LIMIT);
    for (size_t i = 0; i < TFM_YAML_MAX_BYTES; i++) big[i] = i % 2 ? 'a' : ',';
    big[0] = '[';
    CHECK_INT(tfm_yaml_parse(&doc, arena, "x.yaml", big, TFM_YAML_MAX_BYTES, &err), TFM_LIMIT);
    CHECK(strstr(err.message, "100000 values") != NULL);
    memset(big, '[', TFM_YAML_MAX_BYTES);
    CHECK(tfm_yaml_parse(&doc, arena, "x.yaml", big, TFM_YAML_MAX_BYTES, &err) != TFM_OK);
}

/* ---- expressions ---- */

static tfm_status names(const tfm_scope *s, const char *name, size_t len, tfm_val *out, bool *known,
                        tfm_error *e) {
    static const tfm_val list[] = {{.kind = TFM_VAL_NUM, .num = 10},
                                   {.kind = TFM_VAL_NUM, .num = 20}};
    (void)s, (void)e;
    *known = true;
    if (len == 5 && memcmp(name, "width", 5) == 0)
        *out = (tfm_val){.kind = TFM_VAL_NUM, .num = 64};
    else if (len == 3 && memcmp(name, "act", 3) == 0)
        *out = (tfm_val){.kind = TFM_VAL_STR, .str = "silu", .len = 4};
    else if (len == 4 && memcmp(name, "list", 4) == 0)
        *out = (tfm_val){.kind = TFM_VAL_LIST, .item = list, .n = 2};
    else if (len == 5 && memcmp(name, "unset", 5) == 0)
        *out = (tfm_val){0};
    else
        *known = false;
    return TFM_OK;
}

static bool has(const tfm_scope *s, const char *tensor, size_t len) {
    (void)s;
    return len == 12 && memcmp(tensor, "blk.N.weight", 12) == 0;
}

static tfm_status stored(const tfm_scope *s, const tfm_yaml *where, const char *name, size_t len,
                         bool all, const tfm_tensor **out, tfm_error *e) {
    static const float numbers[] = {1, 2, 3};
    static const tfm_tensor three = {
        .dtype = TFM_F32, .rank = 1, .dims = {3, 1, 1, 1}, .data = numbers, .bytes = 12};
    static const uint16_t halves[] = {0x3f80, 0x4000, 0xbf80, 0x3f80};
    static const tfm_tensor four = {
        .dtype = TFM_BF16, .rank = 2, .dims = {2, 2, 1, 1}, .data = halves, .bytes = 8};
    (void)s, (void)all;
    *out = len == 3 && memcmp(name, "a.b", 3) == 0 ? &three : &four;
    return len == 3 ? TFM_OK : tfm_yaml_fail(where, e, TFM_UNSUPPORTED, "no such tensor");
}

static const tfm_scope scope = {names, has, stored};

static double value(const char *text) {
    tfm_val v;
    tfm_yaml where = {.file = "x.yaml", .line = 7};
    memset(&err, 0, sizeof err);
    if (tfm_expr_eval(&where, text, &scope, &v, &err) != TFM_OK) return -1000;
    return v.kind == TFM_VAL_NUM ? v.num : -2000;
}

static void expressions(void) {
    static const struct {
        const char *text;
        double value;
    } good[] = {
        {"1", 1},
        {" -2.5e-1 ", -0.25},
        {"1 + 2 * 3", 7},
        {"(1 + 2) * 3", 9},
        {"7 - 2 - 1", 4},
        {"2 / 4 / 2", 0.25},
        {"7 % 4", 3},
        {"--3", 3},
        {"-width / 2", -32},
        {"sqrt(width)", 8},
        {"log2(width)", 6},
        {"floor(2.7) + ceil(2.1)", 5},
        {"log2(0.125) + log2(3 * pow(2, 40)) - log2(3)", 37},
        {"pow(2, 10)", 1024},
        {"pow(-3, 3) + pow(3, -2) * 9 + pow(7, 0)", -25},
        {"pow(4, 1.5) + pow(0, 0.5)", 8},
        {"min(1, 2) + max(3, 4)", 5},
        {"clamp(5, 0, 1) + clamp(-5, 0, 1)", 1},
        {"exp(0) + log(1)", 1},
        {"width == 64", 1},
        {"width != 64", 0},
        {"1 < 2", 1},
        {"2 <= 2", 1},
        {"1 > 2", 0},
        {"2 >= 3", 0},
        {"act == 'silu'", 1},
        {"act != 'silu'", 0},
        {"act == 'silua'", 0},
        {"unset == none", 1},
        {"width == none", 0},
        {"act == 1", 0},
        {"not 1", 0},
        {"not not 1", 1},
        {"1 and 0", 0},
        {"1 and 2", 1},
        {"0 or 3", 1},
        {"0 or 0", 0},
        {"not 0 and 1", 1},
        {"true and not false", 1},
        {"unset or 1", 1},
        {"if(width > 3, 5, 6)", 5},
        {"if(0, 1/0, 6)", 6},
        {"if(1, 7, nobody)", 7},
        {"0 and nobody", 0},
        {"1 or 1/0", 1},
        {"first(unset, unset, 4, 1/0)", 4},
        {"list[0] + list[1]", 30},
        {"width[3]", 64},
        {"len(list)", 2},
        {"in(list[1], list)", 1},
        {"in(99, list)", 0},
        {"in(1, none)", 0},
        {"has(blk.N.weight)", 1},
        {"has(blk.N.bias)", 0},
        {"unset != none", 0},
        {"ifs", -1000},
        {"orwidth", -1000},
        {"if(0, list[9], 1)", 1},
        {"floor(pi * 100)", 314},
        {"sin(0) + cos(0)", 1},
        {"sin(pi / 2) - cos(pi)", 2},
        {"stored(a.b, 0) + 10 * stored(a.b, 2)", 31},
        {"stored(c.d, 2)", -1},
        {"dot(a.b, a.b)", 14},
        {"dot(c.d, c.d)", 7},
        {"if(0, dot(nobody, a.b), 5)", 5},
    };
    /* Our pow is exp(y log x): within 6e-16 (1 + |y log x|) of the value (math_internal.h), which
     * is under 2e-15 for the ones here; everything else is exact. */
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        if (!CHECK(fabs(value(good[i].text) - good[i].value) <=
                   (strstr(good[i].text, "pow") ? 2e-15 * fabs(good[i].value) : 0)))
            printf("%s gives %g (%s)\n", good[i].text, value(good[i].text), err.message);
}

static void expressions_refused(void) {
    static const char *const bad[] = {
        "",
        "1 +",
        "(1",
        "1)",
        "1 2",
        "nobody",
        "1 / 0",
        "1 % 0",
        "'open",
        "sqrt(-1)",
        "log(0)",
        "log2(0)",
        "pow(0, -1)",
        "pow(-2, 0.5)",
        "sqrt()",
        "sqrt(1, 2)",
        "pow(1)",
        "unknown(1)",
        "list[2]",
        "list[-1]",
        "list[0.5]",
        "list[",
        "unset + 1",
        "act + 1",
        "not act",
        "list and 1",
        "if(1, 2)",
        "first(",
        "has(",
        "len(3)",
        "in(3, 3)",
        "in(3)",
        "stored(a.b)",
        "stored(a.b, 3)",
        "stored(a.b, 0.5)",
        "stored(a.b, -1)",
        "stored(nobody, 0)",
        "dot(a.b)",
        "dot(a.b, c.d)",
        "dot(a.b, nobody)",
        "1e999",
        "0x10",
        "1..2",
        "exp(1000)",
        "$x",
        "1 = 1",
        "act < 'b'",
        "list + 1",
        "((((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))))",
        "- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - 1",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!CHECK(value(bad[i]) == -1000)) printf("%s is not refused\n", bad[i]);
        CHECK(strncmp(err.message, "x.yaml:7: ", 10) == 0);
    }
}

/* ---- rotary frequencies: numbers computed with Python's floats from the papers' formulas ---- */

static tfm_astep rope(tfm_rope_scaling kind, double factor, double original) {
    static const tfm_yaml where = {.file = "x.yaml", .line = 1};
    tfm_astep s = {.where = &where, .op = TFM_OP_ROPE, .name = "rope"};
    s.num[TFM_N_BASE] = 10000;
    s.num[TFM_N_SCALING] = kind;
    s.num[TFM_N_FACTOR] = factor;
    s.num[TFM_N_ORIGINAL] = original;
    s.num[TFM_N_BETA_FAST] = 32;
    s.num[TFM_N_BETA_SLOW] = 1;
    s.num[TFM_N_TRUNCATE] = 1;
    return s;
}

static void near(const float *got, const double *want, int n, const char *what) {
    for (int i = 0; i < n; i++)
        if (!CHECK(fabs((double)got[i] - want[i]) <= 1e-6 * want[i]))
            printf("%s %d: %.9g, not %.9g\n", what, i, (double)got[i], want[i]);
}

static void rope_scaling(void) {
    static const double plain[] = {1, 0.1, 0.01, 0.001};
    static const double linear[] = {0.25, 0.025, 0.0025, 0.00025};
    const tfm_tensor *none[TFM_STEP_TENSORS] = {NULL};
    float f[4], magnitude;
    tfm_astep s = rope(TFM_SCALING_NONE, 1, 0);
    CHECK_INT(tfm_rope_frequencies(&s, 8, 4096, none, f, &magnitude, &err), TFM_OK);
    near(f, plain, 4, "none");
    CHECK(magnitude == 1);
    s = rope(TFM_SCALING_LINEAR, 4, 0);
    CHECK_INT(tfm_rope_frequencies(&s, 8, 4096, none, f, &magnitude, &err), TFM_OK);
    near(f, linear, 4, "linear");
    /* Dynamic: nothing changes up to the original context; beyond it the base grows. */
    s = rope(TFM_SCALING_DYNAMIC, 2, 2048);
    CHECK_INT(tfm_rope_frequencies(&s, 8, 2048, none, f, &magnitude, &err), TFM_OK);
    near(f, plain, 4, "dynamic, short");
    CHECK_INT(tfm_rope_frequencies(&s, 8, 4096, none, f, &magnitude, &err), TFM_OK);
    for (int i = 0; i < 4; i++) {
        double base = 10000 * pow(2.0 * 4096 / 2048 - 1, 8.0 / 6), want = pow(base, -i / 4.0);
        near(&f[i], &want, 1, "dynamic, long");
    }
    s = rope(TFM_SCALING_DYNAMIC, 2, 0);
    CHECK_INT(tfm_rope_frequencies(&s, 8, 4096, none, f, &magnitude, &err), TFM_FORMAT);
}

/* Width 64, base 10000, original 2048, factor 4: the ramp of the paper goes from dimension
 * floor(64 ln(2048 / (32 * 2 pi)) / (2 ln 10000)) = 8 to ceil(64 ln(2048 / (2 pi)) / (2 ln 10000))
 * = 21. */
static void rope_yarn(void) {
    const tfm_tensor *none[TFM_STEP_TENSORS] = {NULL};
    float f[32], magnitude;
    tfm_astep s = rope(TFM_SCALING_YARN, 4, 2048);
    CHECK_INT(tfm_rope_frequencies(&s, 64, 8192, none, f, &magnitude, &err), TFM_OK);
    for (int i = 0; i < 32; i++) {
        double inv = pow(10000, -i / 32.0), ramp = i <= 8 ? 0 : i >= 21 ? 1 : (i - 8) / 13.0;
        double want = inv / 4 * ramp + inv * (1 - ramp);
        near(&f[i], &want, 1, "yarn");
    }
    CHECK(fabsf(magnitude - 1.13862944f) < 1e-6f);
    s.num[TFM_N_ATTN_FACTOR] = 0.5;
    CHECK_INT(tfm_rope_frequencies(&s, 64, 8192, none, f, &magnitude, &err), TFM_OK);
    CHECK(magnitude == 0.5f);
}

static void rope_tables(void) {
    static const float a[4] = {1, 2, 4, 8}, b[4] = {3, 3, 3, 3};
    static const double divided[] = {1, 0.05, 0.0025, 0.000125};
    static const double thirds[] = {1 / 3.0, 0.1 / 3, 0.01 / 3, 0.001 / 3};
    tfm_tensor ta = {.name = "a",
                     .dtype = TFM_F32,
                     .rank = 1,
                     .dims = {4, 1, 1, 1},
                     .data = a,
                     .bytes = 16},
               tb = ta, wrong = ta;
    const tfm_tensor *factors[TFM_STEP_TENSORS] = {&ta, NULL, NULL};
    float f[4], magnitude;
    tfm_astep s = rope(TFM_SCALING_NONE, 1, 0);
    tb.data = b;
    CHECK_INT(tfm_rope_frequencies(&s, 8, 99, factors, f, &magnitude, &err), TFM_OK);
    near(f, divided, 4, "factors");
    s = rope(TFM_SCALING_LONGROPE, 4, 1024);
    factors[TFM_T_FACTORS] = NULL;
    CHECK_INT(tfm_rope_frequencies(&s, 8, 99, factors, f, &magnitude, &err), TFM_FORMAT);
    factors[TFM_T_FACTORS_LONG] = &ta;
    factors[TFM_T_FACTORS_SHORT] = &tb;
    CHECK_INT(tfm_rope_frequencies(&s, 8, 1024, factors, f, &magnitude, &err), TFM_OK);
    near(f, thirds, 4, "short");
    CHECK_INT(tfm_rope_frequencies(&s, 8, 1025, factors, f, &magnitude, &err), TFM_OK);
    near(f, divided, 4, "long");
    CHECK(fabs((double)magnitude - sqrt(1 + log(4) / log(1024))) < 1e-6);
    wrong.dims[0] = 3;
    factors[TFM_T_FACTORS_LONG] = &wrong;
    CHECK_INT(tfm_rope_frequencies(&s, 8, 1025, factors, f, &magnitude, &err), TFM_FORMAT);
}

int main(void) {
    if (tfm_arena_new(&arena, &err) != TFM_OK) return 1;
    UNIT_RUN(yaml_tree);
    UNIT_RUN(yaml_refused);
    UNIT_RUN(yaml_limits);
    UNIT_RUN(expressions);
    UNIT_RUN(expressions_refused);
    UNIT_RUN(rope_scaling);
    UNIT_RUN(rope_yarn);
    UNIT_RUN(rope_tables);
    tfm_arena_free(arena);
    return unit_done();
}
