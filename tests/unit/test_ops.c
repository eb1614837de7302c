/* test_ops.c - every kind of step: cpu against ref within a derived bound, always the same bits.
 *
 * For each case: |cpu - ref| <= the bound derived at bound_*() below; and on each backend the
 * output is equal byte for byte whether rows run all at once, one by one, in random cuts, sequence
 * by sequence, with 1, 2 or 3 threads, with pages in any order, and with vectors of 4 or 8 lanes.
 * At the end, kernels that are wrong on purpose must be caught by these same checks.
 *
 * u = 2^-24 is the unit roundoff of f32. ref sums in double and rounds once: its own error, at most
 * u |result|, is inside the small constants added to each count of roundings. */
#include "../ops/attend.h"
#include "../ops/ops.h"

#include "backend/cpu/cpu_internal.h"
#include "tensor/block_internal.h"
#include "unit.h"

static const double U = 0x1p-24;

/* bound for element `col` of row `row` */
typedef double (*bound_fn)(const ops_case *c, uint32_t row, uint32_t col, double ref);

/* Elements of got that are farther from want than the bound (a NaN is). */
static size_t count_far(const ops_case *c, const float *want, const float *got, bound_fn bound) {
    size_t far = 0;
    for (uint32_t r = 0; r < c->n_rows; r++) {
        for (uint32_t i = 0; i < c->g.n_vocab; i++) {
            const size_t at = (size_t)r * c->g.n_vocab + i;
            const double diff = fabs((double)want[at] - (double)got[at]);
            if (!(diff <= bound(c, r, i, want[at]))) {
                if (far++ == 0 && ops_hook == NULL) {
                    printf("%s: row %u, %u: %.9g, ref %.9g, bound %.3g\n", c->name, r, i,
                           (double)got[at], (double)want[at], bound(c, r, i, want[at]));
                }
            }
        }
    }
    return far;
}

static size_t out_bytes(const ops_case *c) {
    return (size_t)c->n_rows * c->g.n_vocab * sizeof(float);
}

static bool same_bytes(const ops_case *c, const char *device, unsigned threads,
                       const ops_cutting *cut, const float *base) {
    float *other = ops_run(c, device, threads, cut);
    const bool same = memcmp(base, other, out_bytes(c)) == 0;
    if (!same && ops_hook == NULL) {
        printf("%s: other bytes on %s, %u threads, at most %u rows%s\n", c->name, device, threads,
               cut->most, cut->at_random ? ", random cuts" : "");
    }
    free(other);
    return same;
}

static void use_narrow_kernels(tfm_backend *be) {
    ((cpu_backend *)be)->kernels = &tfm_cpu_kernels_generic;
}

/* On one instruction set, or none of this processor's. */
static void check_device(const ops_case *c, bound_fn bound, const char *device, const float *ref) {
    const ops_cutting cuts[] = {{1, false, false, 5},
                                {7, true, false, 11},
                                {0, false, true, 3},
                                {40, true, true, 17},
                                {16, false, false, 2}};
    if (tfm_cpu_kernels_find(strchr(device, ':') + 1) == NULL) return;
    float *cpu = ops_run(c, device, 1, &ops_whole);
    CHECK_INT(count_far(c, ref, cpu, bound), 0);
    CHECK(same_bytes(c, device, 2, &ops_whole, cpu));
    CHECK(same_bytes(c, device, 3, &ops_whole, cpu));
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        CHECK(same_bytes(c, device, 1 + (unsigned)i % 3, &cuts[i], cpu));
        if (i < 2) CHECK(same_bytes(c, "ref", 1, &cuts[i], ref));
    }
    if (strcmp(device, "cpu:generic") == 0) {
        ops_hook = use_narrow_kernels;
        CHECK(same_bytes(c, device, 1, &ops_whole, cpu));
        ops_hook = NULL;
    }
    free(cpu);
}

/* Everything about one case, which it frees. */
static void check_case(ops_case *c, bound_fn bound) {
    float *ref = ops_run(c, "ref", 1, &ops_whole);
    check_device(c, bound, "cpu:generic", ref);
    check_device(c, bound, "cpu:avx2", ref);
    check_device(c, bound, "cpu:avx512", ref);
    free(ref);
    ops_case_free(c);
}

/* ---- linear ---- */

/* Float weights: each output is a chain of k multiplications and k additions, then the bias. The
 * error of a sum of n rounded products in any order is at most gamma(n) sum |w x|, gamma(n) = n u /
 * (1 - n u); one more for the bias and one for ref's rounding: (k + 3) u (sum |w x| + |b|), with 1%
 * for the higher orders. Quantised weights: B blocks, each one product and, if there is a minimum,
 * another; each has three roundings (d * sx; the integer to float, which is exact for blocks of 32;
 * the product, if not fused) before it is added: (2 B + 5) u sum of |terms|, whose sum over a
 * block's groups is not less than its magnitude. */
static double bound_linear(const ops_case *c, uint32_t row, uint32_t col, double ref) {
    static float w[1 << 12], x[1 << 12], scale[1 << 7];
    static int8_t q[1 << 12];
    const tfm_tensor *t = &c->tensor[0];
    const uint32_t k = t->dims[1], each = tfm_dtype_block(t->dtype);
    const float *in = c->hidden + (size_t)row * k;
    tfm_error err;
    double sum = 0.0, n = k + 3;
    (void)ref;
    const uint8_t *packed = (const uint8_t *)t->data + t->bytes / t->dims[0] * col; /* rows */
    if (each == 1) {
        if (tfm_to_f32(t->dtype, packed, k, w, &err) != TFM_OK) ops_die("row", &err);
        for (uint32_t i = 0; i < k; i++) {
            x[i] = t->dtype == TFM_BF16 ? tfm_bf16_to_f32(tfm_f32_to_bf16(in[i])) : in[i];
            sum += fabs((double)w[i] * x[i]);
        }
    } else {
        const uint32_t group = tfm_block_group(t->dtype);
        tfm_quantize_act_i8(t->dtype, in, k, q, scale);
        for (uint32_t at = 0; at < k; at += each) {
            int8_t codes[TFM_BLOCK_MAX];
            float s[TFM_BLOCK_GROUPS], m[TFM_BLOCK_GROUPS];
            tfm_block_decode(t->dtype, packed + at / each * tfm_dtype_block_bytes(t->dtype), codes,
                             s, m);
            for (uint32_t g = 0; g < each / group; g++) {
                int dot = 0, total = 0;
                for (uint32_t i = g * group; i < (g + 1) * group; i++) {
                    dot += codes[i] * q[at + i];
                    total += q[at + i];
                }
                const double sx = scale[at / each];
                sum += fabs((double)s[g] * sx * dot) + fabs((double)m[g] * sx * total);
            }
        }
        n = 2.0 * k / each + 5;
    }
    if (c->step[1].bias != TFM_NONE) sum += fabs((double)((const float *)c->tensor[1].data)[col]);
    return 1.01 * n * U * sum;
}

static void linear_case(ops_case *c, tfm_dtype t, tfm_layout layout, uint32_t n_out, uint32_t k,
                        bool bias) {
    tfm_step *s = ops_begin(c, TFM_OP_LINEAR, 7 * n_out + k);
    snprintf(c->name, sizeof c->name, "linear %s %s %ux%u", tfm_dtype_name(t),
             tfm_layout_name(layout), n_out, k);
    s->weight = ops_weight(c, t, layout, n_out, k);
    if (bias) s->bias = ops_weight(c, TFM_F32, TFM_LAYOUT_ROWS, 0, n_out);
    ops_sequence(c, 0, 33);
    ops_sequence(c, 9, 1);
    ops_sequence(c, 3, 6);
    ops_finish(c, (uint32_t[4]){k}, n_out, 3.0f);
}

/* Both layouts must agree byte for byte, so the bound is looked at in one. */
static void check_linear(tfm_dtype t, uint32_t n_out, uint32_t k, bool bias) {
    ops_case a, b;
    linear_case(&a, t, TFM_LAYOUT_ROWS, n_out, k, bias);
    linear_case(&b, t, TFM_LAYOUT_P16, n_out, k, bias);
    float *cpu = ops_run(&a, "cpu", 1, &ops_whole), *ref = ops_run(&a, "ref", 1, &ops_whole);
    CHECK(same_bytes(&b, "cpu", 2, &ops_whole, cpu));
    CHECK(same_bytes(&b, "cpu", 1, &(ops_cutting){5, true, false, 9}, cpu));
    CHECK(same_bytes(&b, "ref", 1, &ops_whole, ref));
    free(cpu), free(ref);
    ops_case_free(&b);
    check_case(&a, bound_linear);
}

static void linear_float_weights(void) {
    const tfm_dtype types[] = {TFM_F32, TFM_F16, TFM_BF16};
    const uint32_t shape[][2] = {{1, 1}, {16, 16}, {17, 15}, {40, 33}, {5, 256}, {33, 301}};
    for (int t = 0; t < 3; t++) {
        for (int i = 0; i < 6; i++) check_linear(types[t], shape[i][0], shape[i][1], i % 2 == 0);
    }
}

static void linear_block_weights(void) {
    const tfm_dtype types[] = {TFM_Q4_0,   TFM_Q4_1,  TFM_Q5_0,  TFM_Q5_1, TFM_Q8_0,
                               TFM_IQ4_NL, TFM_MXFP4, TFM_Q2_K,  TFM_Q3_K, TFM_Q4_K,
                               TFM_Q5_K,   TFM_Q6_K,  TFM_IQ4_XS};
    for (int t = 0; t < 13; t++) {
        const uint32_t each = tfm_dtype_block(types[t]);
        check_linear(types[t], 16, each, false);
        check_linear(types[t], 19, 3 * each, true);
        check_linear(types[t], 1, 2 * each, true);
    }
}

/* Codes and activations at their extremes: the 16-bit products of the kernels must not overflow. */
static void linear_extremes(void) {
    const tfm_dtype types[] = {TFM_Q4_0,   TFM_Q4_1,  TFM_Q5_0,  TFM_Q5_1, TFM_Q8_0,
                               TFM_IQ4_NL, TFM_MXFP4, TFM_Q2_K,  TFM_Q3_K, TFM_Q4_K,
                               TFM_Q5_K,   TFM_Q6_K,  TFM_IQ4_XS};
    for (int t = 0; t < 26; t++) {
        ops_case c;
        const tfm_dtype type = types[t / 2];
        linear_case(&c, type, TFM_LAYOUT_ROWS, 16, 256, false);
        const uint32_t bytes = tfm_dtype_block_bytes(type);
        uint8_t codes[TFM_BLOCK_MAX], *data = (uint8_t *)(uintptr_t)c.tensor[0].data;
        const unsigned top = type == TFM_Q8_0 ? (t % 2 ? 0x80 : 0x7f) : t % 2 ? 0xff : 0;
        const tfm_block_form *form = tfm_block_form_of(type);
        const unsigned bits = form->low.bits + form->high.bits;
        memset(codes, (int)(top & ((1u << bits) - 1u)), sizeof codes);
        for (uint64_t at = 0; at < c.tensor[0].bytes; at += bytes) {
            uint8_t fresh[TFM_BLOCK_BYTES_MAX] = {0};
            tfm_block_put_codes(type, fresh, codes);
            uint8_t *block = data + at;
            uint8_t mask[TFM_BLOCK_BYTES_MAX] = {0}, ones[TFM_BLOCK_MAX];
            memset(ones, (int)((1u << bits) - 1u), sizeof ones);
            tfm_block_put_codes(type, mask, ones); /* the quant bits of the block */
            for (uint32_t i = 0; i < bytes; i++) {
                block[i] = (uint8_t)((block[i] & ~mask[i]) | fresh[i]);
            }
        }
        for (size_t i = 0; i < (size_t)c.n_rows * 256; i++) c.hidden[i] = i / 256 % 2 ? 5.f : -5.f;
        check_case(&c, bound_linear);
    }
}

/* ---- norm ---- */

/* Sums of n numbers in 64 chains: n/64 + 10 additions deep (tree and partials included), so their
 * relative error is (n/64 + 10) u of the sum of magnitudes. rms: half of it through the root, a few
 * roundings more. layer: the mean is off by (n/64 + 11) u max|x|, which shifts every output by that
 * times s |w|; together c u (max|x| s |w| + |y| + |b|), c = n/64 + 24. */
static double bound_norm(const ops_case *c, uint32_t row, uint32_t col, double ref) {
    const tfm_step *s = &c->step[1];
    const uint32_t n = c->g.width / s->u.norm.groups;
    static struct { /* of the last group looked at: columns of one group come one after another */
        uint32_t row, group;
        double top, scale;
    } at;
    double w = 1.0, b = 0.0;
    if (col % n == 0 || at.row != row || at.group != col / n) {
        const float *x = c->hidden + (size_t)row * c->g.width + col / n * n;
        double sum = 0.0, square = 0.0;
        at.row = row, at.group = col / n, at.top = 0.0;
        for (uint32_t i = 0; i < n; i++) {
            at.top = fmax(at.top, fabs((double)x[i]));
            sum += x[i];
        }
        const double mean = s->u.norm.kind == TFM_NORM_LAYER ? sum / n : 0.0;
        for (uint32_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
        at.scale = 1.0 / sqrt(square / n + (double)s->u.norm.eps);
    }
    if (s->weight != TFM_NONE) {
        const uint64_t count = c->tensor[s->weight].dims[0];
        w = tfm_f16_to_f32(((const uint16_t *)c->tensor[s->weight].data)[col % count]);
    }
    if (s->bias != TFM_NONE) {
        b = ((const float *)c->tensor[s->bias].data)[col % c->tensor[s->bias].dims[0]];
    }
    return (n / 64.0 + 24) * U * (at.top * at.scale * fabs(w) + fabs(ref) + fabs(b));
}

static void check_norm(tfm_norm kind, uint32_t width, uint32_t groups, bool each, bool w, bool b) {
    ops_case c;
    tfm_step *s = ops_begin(&c, TFM_OP_NORM, width + groups);
    snprintf(c.name, sizeof c.name, "norm %d width %u groups %u", (int)kind, width, groups);
    s->u.norm.kind = kind;
    s->u.norm.eps = 1e-5f;
    s->u.norm.groups = groups;
    if (w) {
        s->weight = ops_weight(&c, TFM_F16, TFM_LAYOUT_ROWS, 0, each ? width : width / groups);
    }
    if (b) s->bias = ops_weight(&c, TFM_F32, TFM_LAYOUT_ROWS, 0, each ? width : width / groups);
    ops_sequence(&c, 0, 9);
    ops_sequence(&c, 5, 2);
    ops_finish(&c, (uint32_t[4]){width}, width, 2.0f);
    check_case(&c, bound_norm);
}

static void norms(void) {
    const uint32_t widths[] = {1, 3, 16, 63, 64, 65, 288, 4096, 4097, 9000};
    for (int i = 0; i < 10; i++) {
        check_norm(TFM_NORM_RMS, widths[i], 1, false, true, false);
        check_norm(TFM_NORM_LAYER, widths[i], 1, false, true, true);
    }
    check_norm(TFM_NORM_RMS, 96, 4, false, true, false);
    check_norm(TFM_NORM_RMS, 96, 4, true, true, false);
    check_norm(TFM_NORM_LAYER, 60, 3, true, true, true);
    check_norm(TFM_NORM_LAYER, 64, 1, false, false, false);
    check_norm(TFM_NORM_RMS, 64, 2, false, false, true);
}

/* ---- element-wise steps ---- */

static double bound_exact(const ops_case *c, uint32_t row, uint32_t col, double ref) {
    (void)c, (void)row, (void)col, (void)ref;
    return 0.0;
}

/* exp is good to 3 u relative, tanh to 4 u, erf to 3 u absolute (test_ops_math.c); the argument of
 * gelu's tanh carries 5 roundings, damped by |a| sech^2 a <= 0.45. All are x times something in
 * [0, 1] with an absolute error below 8 u, tanh and sigmoid 8 u by themselves. Where exp leaves the
 * range of f32 it gives 0 or infinity: 1e-35 covers what is lost. */
static double bound_smooth(const ops_case *c, uint32_t row, uint32_t col, double ref) {
    const double x = fabs((double)c->hidden[(size_t)row * c->g.width + col]);
    const tfm_step *s = &c->step[1];
    if (s->op == TFM_OP_SOFTCAP) return 8 * U * fabs(ref) + 1e-35; /* tanh is good relatively */
    if (s->u.activation == TFM_ACT_RELU || s->u.activation == TFM_ACT_RELU2) return 0.0;
    /* exp(x) - 1 loses digits near 0, but no more than exp has around 1 */
    if (s->u.activation == TFM_ACT_ELU) return ref > 0 ? 0.0 : 4 * U;
    const bool bounded = s->u.activation == TFM_ACT_TANH || s->u.activation == TFM_ACT_SIGMOID;
    return 8 * U * (bounded ? fabs(ref) : x) + 1e-35;
}

static tfm_step *elementwise_case(ops_case *c, tfm_op op, uint32_t width, float size) {
    tfm_step *s = ops_begin(c, op, 31 + (uint64_t)op);
    snprintf(c->name, sizeof c->name, "elementwise %d width %u size %g", (int)op, width,
             (double)size);
    ops_sequence(c, 0, 19);
    const bool two = op == TFM_OP_ADD || op == TFM_OP_MULTIPLY;
    ops_finish(c, (uint32_t[4]){width, two ? width : 0}, width, size);
    return s;
}

/* a row times one number of its own */
static void multiply_by_column(ops_case *c, uint32_t width) {
    ops_begin(c, TFM_OP_MULTIPLY, width);
    snprintf(c->name, sizeof c->name, "multiply by a column, width %u", width);
    ops_sequence(c, 0, 19);
    ops_finish(c, (uint32_t[4]){width, 1}, width, 3.0f);
}

/* The factor is made in double and rounded once, by all backends. */
static void growing_scale(ops_case *c, uint32_t width) {
    tfm_step *s = ops_begin(c, TFM_OP_SCALE, 3 * width);
    snprintf(c->name, sizeof c->name, "scale that grows, width %u", width);
    s->u.scale.by = 0.7f;
    s->u.scale.growth = 0.4f;
    s->u.scale.every = 7;
    s->u.scale.first = 3;
    ops_sequence(c, 0, 19);
    ops_sequence(c, 100, 30);
    ops_finish(c, (uint32_t[4]){width}, width, 3.0f);
}

/* 0.5 (1 + 2 ln(1 + floor((position + 1) / 4))), of a row of ones */
static void scale_grows_by_hand(void) {
    const char *const devices[] = {"ref", "cpu"};
    for (int d = 0; d < 2; d++) {
        ops_case c;
        growing_scale(&c, 1);
        tfm_step *s = &c.step[1];
        s->u.scale.by = 0.5f;
        s->u.scale.growth = 2;
        s->u.scale.every = 4;
        s->u.scale.first = 1;
        for (uint32_t r = 0; r < c.n_rows; r++) c.hidden[r] = 1.0f;
        float *out = ops_run(&c, devices[d], 1, &ops_whole);
        CHECK(out[0] == 0.5f && out[2] == 0.5f);
        CHECK(fabs((double)out[3] - 1.1931471805599453) < 1e-7);  /* ln 2 */
        CHECK(fabs((double)out[18] - 2.1094379124341003) < 1e-7); /* position 18: ln 5 */
        CHECK(fabs((double)out[19] - 3.7580965380214820) < 1e-6); /* position 100: ln 26 */
        free(out);
        ops_case_free(&c);
    }
}

static void elementwise_steps(void) {
    ops_case c;
    const uint32_t widths[] = {1, 7, 64, 1501};
    for (int i = 0; i < 4; i++) {
        elementwise_case(&c, TFM_OP_ADD, widths[i], 3.0f);
        check_case(&c, bound_exact);
        elementwise_case(&c, TFM_OP_MULTIPLY, widths[i], 3.0f);
        check_case(&c, bound_exact);
        multiply_by_column(&c, widths[i]);
        check_case(&c, bound_exact);
        elementwise_case(&c, TFM_OP_SCALE, widths[i], 3.0f)->u.scale.by = 0.7f;
        check_case(&c, bound_exact);
        growing_scale(&c, widths[i]);
        check_case(&c, bound_exact);
        tfm_step *s = elementwise_case(&c, TFM_OP_CLIP, widths[i], 3.0f);
        s->u.clip.lo = -1.25f;
        s->u.clip.hi = 2.0f;
        check_case(&c, bound_exact);
        elementwise_case(&c, TFM_OP_SOFTCAP, widths[i], 90.0f)->u.softcap = 30.0f;
        check_case(&c, bound_smooth);
        for (int a = TFM_ACT_SILU; a <= TFM_ACT_ELU; a++) {
            const float sizes[] = {1e-3f, 1.0f, 8.0f, 120.0f};
            tfm_step *act = elementwise_case(&c, TFM_OP_ACTIVATION, widths[i], sizes[(i + a) % 4]);
            act->u.activation = (tfm_activation)a;
            check_case(&c, bound_smooth);
        }
    }
}

/* ---- moving numbers ---- */

static void gathers(void) {
    for (int t = 0; t < 3; t++) {
        const tfm_dtype types[] = {TFM_F32, TFM_BF16, TFM_Q4_K};
        for (int by = TFM_INDEX_TOKEN; by <= TFM_INDEX_FIXED; by++) {
            ops_case c;
            const bool p16 = by == TFM_INDEX_POSITION;
            tfm_step *s = ops_begin(&c, TFM_OP_GATHER, 5);
            snprintf(c.name, sizeof c.name, "gather %s by %d", tfm_dtype_name(types[t]), by);
            s->weight = ops_weight(&c, types[t], p16 ? TFM_LAYOUT_P16 : TFM_LAYOUT_ROWS, 45, 256);
            s->u.gather.index = (tfm_index)by;
            s->u.gather.offset = 2;
            ops_sequence(&c, 0, 20);
            ops_sequence(&c, 30, 13);
            ops_finish(&c, (uint32_t[4]){0}, 256, 1.0f);
            for (uint32_t r = 0; r < c.n_rows; r++) {
                c.token[r] = (int32_t)(ops_next(&c.random) % 45);
            }
            float *out = ops_run(&c, "cpu", 1, &ops_whole), want[256];
            tfm_error err;
            const uint32_t row[] = {(uint32_t)c.token[32], 44, 2};
            CHECK(tfm_tensor_row_f32(&c.tensor[0], row[by], want, &err) == TFM_OK);
            CHECK(memcmp(out + 32 * 256, want, sizeof want) == 0);
            free(out);
            check_case(&c, bound_exact);
        }
    }
}

static void concats(void) { /* SPLIT stands before every step with two inputs */
    ops_case c;
    ops_begin(&c, TFM_OP_CONCAT, 8);
    snprintf(c.name, sizeof c.name, "concat");
    ops_sequence(&c, 0, 21);
    ops_finish(&c, (uint32_t[4]){3, 17, 64, 1}, 85, 1.0f);
    float *out = ops_run(&c, "cpu", 1, &ops_whole);
    CHECK(memcmp(out, c.hidden, out_bytes(&c)) == 0);
    free(out);
    check_case(&c, bound_exact);
}

/* Three groups of [3 | 17 | 5], the last part the same for all. */
static void concats_in_groups(void) {
    const uint32_t groups = 3, size[3] = {3, 17, 5}, in = 3 * 3 + 3 * 17 + 5;
    ops_case c;
    tfm_step *s = ops_begin(&c, TFM_OP_CONCAT, 8);
    snprintf(c.name, sizeof c.name, "concat in groups");
    s->u.parts.groups = groups;
    memcpy(s->u.parts.size, size, sizeof size);
    ops_sequence(&c, 0, 21);
    ops_finish(&c, (uint32_t[4]){9, 51, 5}, 75, 1.0f);
    float *out = ops_run(&c, "cpu", 1, &ops_whole);
    for (uint32_t r = 0; r < c.n_rows; r++) {
        for (uint32_t i = 0; i < 75; i++) {
            const uint32_t g = i / 25, at = i % 25;
            const uint32_t want = at < 3    ? 3 * g + at
                                  : at < 20 ? 9 + 17 * g + at - 3
                                            : 60 + at - 20;
            CHECK(out[r * 75 + i] == c.hidden[r * in + want]);
        }
    }
    free(out);
    check_case(&c, bound_exact);
}

/* What a concat in groups puts together, a split in groups takes apart. */
static void splits_in_groups(void) {
    ops_case c;
    ops_begin(&c, TFM_OP_SPLIT, 9);
    snprintf(c.name, sizeof c.name, "split in groups");
    ops_sequence(&c, 0, 21);
    ops_finish(&c, (uint32_t[4]){75}, 75, 1.0f);
    c.step[0] = c.step[1];
    c.step[0].u.parts.groups = 3;
    c.step[0].n_out = 2;
    for (int i = 0; i < 2; i++) {
        c.step[0].u.parts.size[i] = i == 0 ? 8 : 17;
        c.step[0].out[i] = 2 + i;
        c.value[2 + i].width = 3 * c.step[0].u.parts.size[i];
    }
    c.step[1] = (tfm_step){.op = TFM_OP_CONCAT, .name = "beside", .n_in = 2, .n_out = 1};
    c.step[1].weight = c.step[1].bias = c.step[1].extra = TFM_NONE;
    c.step[1].in[0] = 2;
    c.step[1].in[1] = 3;
    c.step[1].out[0] = 1;
    c.g.step = c.step;
    c.g.n_steps = c.block_start[1] = 2;
    float *out = ops_run(&c, "cpu", 1, &ops_whole);
    for (uint32_t r = 0; r < c.n_rows; r++) {
        for (uint32_t i = 0; i < 75; i++) {
            const uint32_t want =
                i < 24 ? i / 8 * 25 + i % 8 : (i - 24) / 17 * 25 + 8 + (i - 24) % 17;
            CHECK(out[r * 75 + i] == c.hidden[r * 75 + want]);
        }
    }
    free(out);
    check_case(&c, bound_exact);
}

/* cos and sin are rounded to f32 (u each), two products and a sum: 3 u (|a| + |b|) |magnitude|. */
static double bound_rope(const ops_case *c, uint32_t row, uint32_t col, double ref) {
    (void)row, (void)col, (void)ref;
    return 3.1 * U * 2.0 * 2.0 * fabs((double)c->step[1].u.rope.magnitude); /* |a|, |b| <= 2 */
}

static void check_rope_from(uint32_t first, tfm_rope mode, uint32_t heads, uint32_t dim,
                            uint32_t rot, float magnitude) {
    ops_case c;
    tfm_step *s = ops_begin(&c, TFM_OP_ROPE, heads + dim);
    snprintf(c.name, sizeof c.name, "rope %d heads %u dim %u rot %u at %u", (int)mode, heads, dim,
             rot, first);
    c.inv_freq = ops_alloc(rot / 2 * sizeof(float));
    for (uint32_t i = 0; i < rot / 2; i++) {
        c.inv_freq[i] = (float)pow(10000.0, -2.0 * i / (double)rot);
    }
    s->u.rope.mode = mode;
    s->u.rope.heads = heads;
    s->u.rope.head_dim = dim;
    s->u.rope.first = first;
    s->u.rope.rot = rot;
    s->u.rope.inv_freq = c.inv_freq;
    s->u.rope.magnitude = magnitude;
    ops_sequence(&c, 0, 21);
    ops_sequence(&c, 100000, 3);
    ops_finish(&c, (uint32_t[4]){heads * dim}, heads * dim, 2.0f);
    float *out = ops_run(&c, "cpu", 1, &ops_whole);
    for (uint32_t i = 0; magnitude == 1.0f && i < heads * dim; i++) {
        CHECK(out[i] == c.hidden[i]); /* position 0 turns nothing */
    }
    for (size_t i = 0; i < (size_t)c.n_rows * heads * dim; i++) {
        if (i % dim < first || i % dim >= first + rot) CHECK(out[i] == c.hidden[i]);
    }
    free(out);
    check_case(&c, bound_rope);
}

static void check_rope(tfm_rope mode, uint32_t heads, uint32_t dim, uint32_t rot, float magnitude) {
    check_rope_from(0, mode, heads, dim, rot, magnitude);
}

static void ropes(void) {
    check_rope_from(12, TFM_ROPE_NEOX, 3, 20, 8, 1.0f);
    check_rope_from(7, TFM_ROPE_INTERLEAVED, 2, 78, 66, 1.0f);
    check_rope(TFM_ROPE_NEOX, 3, 16, 16, 1.0f);
    check_rope(TFM_ROPE_INTERLEAVED, 3, 16, 16, 1.0f);
    check_rope(TFM_ROPE_NEOX, 2, 20, 10, 1.19f);
    check_rope(TFM_ROPE_INTERLEAVED, 1, 7, 2, 1.0f);
    check_rope(TFM_ROPE_NEOX, 2, 128, 128, 1.0f);
    check_rope(TFM_ROPE_INTERLEAVED, 2, 128, 128, 1.0f);
    check_rope(TFM_ROPE_NEOX, 3, 96, 78, 1.0f); /* vectors and a rest */
    check_rope(TFM_ROPE_INTERLEAVED, 3, 96, 78, 1.0f);
}

/* ---- attention ---- */

static void attention(void) {
    for (size_t i = 0; i < sizeof attend_forms / sizeof *attend_forms; i++) {
        ops_case c;
        attend_case(&c, &attend_forms[i]);
        check_case(&c, bound_attend);
    }
}

/* Scores far apart, infinite V that no query may see: a masked key contributes exactly nothing. */
static void attention_ignores_what_it_may_not_see(uint32_t window, uint32_t chunk,
                                                  const char *device) {
    const attend_form form = {.heads = 1,
                              .kv_heads = 1,
                              .k_dim = 4,
                              .v_dim = 4,
                              .window = window,
                              .chunk = chunk,
                              .length = {60, 1},
                              .f32_cache = true};
    ops_case c;
    attend_case(&c, &form);
    float *clean = ops_run(&c, device, 1, &ops_whole);
    for (int i = 0; i < 12; i++) c.hidden[40 * 12 + i] = i < 4 ? c.hidden[40 * 12 + i] : INFINITY;
    float *dirty = ops_run(&c, device, 1, &ops_whole);
    for (uint32_t r = 0; r < 60; r++) {
        const bool sees = r >= 40 && (window == 0 || r < 40 + window) && (chunk == 0 || r < 44);
        const bool same = memcmp(clean + r * 4, dirty + r * 4, 4 * sizeof(float)) == 0;
        CHECK_INT(same, !sees);
    }
    free(clean), free(dirty);
    ops_case_free(&c);
}

/* The chunk of key 40 ends with key 43. */
static void masked_keys_count_nothing(void) {
    for (int i = 0; i < 2; i++) {
        const char *device = i == 0 ? "cpu" : "ref";
        attention_ignores_what_it_may_not_see(5, 0, device);
        attention_ignores_what_it_may_not_see(0, 11, device);
        attention_ignores_what_it_may_not_see(0, 22, device);
        attention_ignores_what_it_may_not_see(3, 22, device);
    }
}

/* ---- wrong on purpose ---- */

static tfm_cpu_kernels wrong;

static void use_wrong_kernels(tfm_backend *be) {
    if (strcmp(be->ops->name, "cpu") == 0) ((cpu_backend *)be)->kernels = &wrong;
}

static void linear_without_last_column(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end,
                                       uint32_t row, uint32_t end, void *scratch) {
    tfm_cpu_linear b = *a;
    b.k -= 1;
    tfm_cpu_kernels_generic.linear(&b, panel, panel_end, row, end, scratch);
}

static void linear_by_row_count(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end,
                                uint32_t row, uint32_t end, void *scratch) {
    tfm_cpu_kernels_generic.linear(a, panel, panel_end, row, end, scratch);
    if (end - row == 1) {
        float *out = &a->out[(size_t)row * a->n_out + panel * TFM_PANEL];
        *out = nextafterf(*out, INFINITY);
    }
}

static void attend_without_own_key(const tfm_cpu_attend *a, uint32_t from, uint32_t to,
                                   float *score, const float *max, float *sum, float *out,
                                   void *scratch) {
    tfm_cpu_attend b = *a;
    if (b.query[0].position > 0) b.query[0].position -= 1;
    tfm_cpu_kernels_generic.attend_values(&b, from, to, score, max, sum, out, scratch);
}

static void norm_without_eps(const tfm_cpu_norm *a, const float *x, float *out) {
    tfm_cpu_norm b = *a;
    b.eps = 0.0f;
    tfm_cpu_kernels_generic.norm(&b, x, out);
}

static void rope_backwards(const tfm_step *s, const float *cos_sin, const float *x, float *out) {
    tfm_step t = *s;
    t.u.rope.mode = s->u.rope.mode == TFM_ROPE_NEOX ? TFM_ROPE_INTERLEAVED : TFM_ROPE_NEOX;
    tfm_cpu_kernels_generic.rope(&t, cos_sin, x, out);
}

static void elementwise_imprecise(const tfm_step *s, size_t n, const float *a, const float *b,
                                  float *out) {
    tfm_cpu_kernels_generic.elementwise(s, n, a, b, out);
    for (size_t i = 0; i < n; i++) out[i] *= 1.0f + 0x1p-20f;
}

/* How many elements the check finds with `wrong` in place. */
static size_t caught(ops_case *c, bound_fn bound) {
    float *ref = ops_run(c, "ref", 1, &ops_whole);
    ops_hook = use_wrong_kernels;
    float *cpu = ops_run(c, "cpu", 1, &ops_whole);
    const size_t far = count_far(c, ref, cpu, bound);
    ops_hook = NULL;
    free(ref), free(cpu);
    ops_case_free(c);
    return far;
}

static void wrong_kernels_are_caught(void) {
    const attend_form form = {.heads = 2, .kv_heads = 1, .k_dim = 8, .v_dim = 8, .length = {40, 2}};
    const tfm_cpu_kernels good = tfm_cpu_kernels_generic;
    ops_case c;
    wrong = good;
    wrong.linear = linear_without_last_column;
    linear_case(&c, TFM_F32, TFM_LAYOUT_ROWS, 40, 33, true);
    CHECK(caught(&c, bound_linear) > 100);

    wrong = good;
    wrong.linear = linear_by_row_count;
    linear_case(&c, TFM_F32, TFM_LAYOUT_ROWS, 40, 33, true);
    ops_hook = use_wrong_kernels;
    float *all = ops_run(&c, "cpu", 1, &ops_whole);
    CHECK(!same_bytes(&c, "cpu", 1, &(ops_cutting){1, false, false, 1}, all));
    ops_hook = NULL;
    free(all);
    ops_case_free(&c);

    wrong = good;
    wrong.attend_values = attend_without_own_key;
    attend_case(&c, &form);
    CHECK(caught(&c, bound_attend) > 20);

    wrong = good;
    wrong.norm = norm_without_eps;
    tfm_step *s = ops_begin(&c, TFM_OP_NORM, 3);
    s->u.norm.eps = 1e-5f;
    s->u.norm.groups = 1;
    ops_sequence(&c, 0, 9);
    ops_finish(&c, (uint32_t[4]){64}, 64, 0.5f);
    CHECK(caught(&c, bound_norm) > 20);

    wrong = good;
    wrong.elementwise = elementwise_imprecise;
    elementwise_case(&c, TFM_OP_ACTIVATION, 64, 3.0f)->u.activation = TFM_ACT_GELU;
    CHECK(caught(&c, bound_smooth) > 20);

    wrong = good;
    wrong.rope = rope_backwards;
    c.inv_freq = NULL;
    s = ops_begin(&c, TFM_OP_ROPE, 3);
    c.inv_freq = ops_alloc(8 * sizeof(float));
    for (int i = 0; i < 8; i++) c.inv_freq[i] = 1.0f / (float)(1 + i);
    s->u.rope.heads = 1;
    s->u.rope.head_dim = s->u.rope.rot = 16;
    s->u.rope.magnitude = 1.0f;
    s->u.rope.inv_freq = c.inv_freq;
    ops_sequence(&c, 0, 9);
    ops_finish(&c, (uint32_t[4]){16}, 16, 1.0f);
    CHECK(caught(&c, bound_rope) > 20);
}

int main(void) {
    UNIT_RUN(linear_float_weights);
    UNIT_RUN(linear_block_weights);
    UNIT_RUN(linear_extremes);
    UNIT_RUN(norms);
    UNIT_RUN(elementwise_steps);
    UNIT_RUN(scale_grows_by_hand);
    UNIT_RUN(gathers);
    UNIT_RUN(concats);
    UNIT_RUN(concats_in_groups);
    UNIT_RUN(splits_in_groups);
    UNIT_RUN(ropes);
    UNIT_RUN(attention);
    UNIT_RUN(masked_keys_count_nothing);
    UNIT_RUN(wrong_kernels_are_caught);
    return unit_done();
}
