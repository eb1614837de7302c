/* test_ops_quant.c - the quantised kernels of the processor against their definition, bit for bit.
 *
 * The definition is the table of formulas in lib/backend/cpu/quant_line_internal.h and
 * kquant_line_internal.h, written here once more as scalar C with fmaf, from blocks in layout
 * `rows`. test_ops.c holds the same kernels to derived bounds and to equal bits for any cutting;
 * here no bit may differ from what is documented, whatever the number of rows and panels of a call
 * and whatever the alignment of the weights. */
#include "../ops/ops.h"

#include "backend/cpu/kernel_internal.h"
#include "tensor/block_internal.h"
#include "tensor/float16_internal.h"
#include "unit.h"

enum { N_OUT = 53, MOST_K = 1024, MOST_ROWS = 131 };

static const tfm_dtype types[] = {TFM_Q4_0,   TFM_Q4_1,  TFM_Q5_0,  TFM_Q5_1, TFM_Q8_0,
                                  TFM_IQ4_NL, TFM_MXFP4, TFM_Q2_K,  TFM_Q3_K, TFM_Q4_K,
                                  TFM_Q5_K,   TFM_Q6_K,  TFM_IQ4_XS};

static int dot(const int8_t *a, const int8_t *b, int n) {
    int sum = 0;
    for (int i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static int total(const int8_t *a, int n) {
    int sum = 0;
    for (int i = 0; i < n; i++) sum += a[i];
    return sum;
}

/* acc + a block of 32 columns w times x. */
static float add_32(tfm_dtype t, const int8_t *w, float scale, float min, const int8_t *x, float sx,
                    float acc) {
    acc = fmaf((float)dot(w, x, 32), scale * sx, acc);
    return tfm_block_form_of(t)->has_min ? fmaf(-min, sx * (float)total(x, 32), acc) : acc;
}

/* The integer that was multiplied by d; any where d is 0. */
static int small(float scaled, float d) {
    return d != 0.0f ? (int)(scaled / d) : 0;
}

/* acc + a block of 256 columns w times x; scale and min: of its groups. */
static float add_256(tfm_dtype t, const uint8_t *block, const int8_t *w, const float *scale,
                     const float *min, const int8_t *x, float sx, float acc) {
    const tfm_block_form *form = tfm_block_form_of(t);
    const uint32_t group = tfm_block_group(t);
    const float d = tfm_inline_f16_to_f32(tfm_inline_load_u16(block + form->d_at));
    int dots = 0, mins = 0;
    for (uint32_t j = 0; j < 256 / group; j++) {
        dots += small(scale[j], d) * dot(w + j * group, x + j * group, (int)group);
    }
    acc = fmaf((float)dots, d * sx, acc);
    if (!form->has_min) return acc;
    const float dmin = tfm_inline_f16_to_f32(tfm_inline_load_u16(block + form->m_at));
    for (uint32_t j = 0; j < 256 / group; j++) {
        mins += small(min[j], dmin) * total(x + j * group, (int)group);
    }
    return fmaf((float)mins, -(dmin * sx), acc);
}

/* One output: a row of blocks times a row of activations. */
static float defined(tfm_dtype t, const uint8_t *row, const float *src, uint32_t k) {
    static int8_t x[MOST_K];
    static float sx[MOST_K / 32];
    const uint32_t each = tfm_dtype_block(t);
    float acc = 0.0f;
    tfm_quantize_act_i8(t, src, k, x, sx);
    for (uint32_t at = 0; at < k; at += each, row += tfm_dtype_block_bytes(t)) {
        int8_t w[TFM_BLOCK_MAX];
        float scale[TFM_BLOCK_GROUPS], min[TFM_BLOCK_GROUPS];
        tfm_block_decode(t, row, w, scale, min);
        if (each == 32)
            acc = add_32(t, w, scale[0], min[0], x + at, sx[at / 32], acc);
        else
            acc = add_256(t, row, w, scale, min, x + at, sx[at / 256], acc);
    }
    return acc;
}

typedef struct quant_case {
    tfm_tensor rows; /* [N_OUT, k] */
    uint8_t *panels; /* the same in p16, two bytes off every alignment */
    float *x, *bias, *want;
    uint32_t k;
} quant_case;

static quant_case make_case(tfm_dtype t, uint32_t k) {
    uint64_t random = 3 * (uint64_t)t + k;
    quant_case c = {.k = k, .rows = ops_tensor(&random, t, TFM_LAYOUT_ROWS, N_OUT, k, 1.0f)};
    tfm_error err;
    c.panels = (uint8_t *)ops_alloc(ops_bytes(&c.rows, TFM_LAYOUT_P16) + 2) + 2;
    if (tfm_pack_p16(t, N_OUT, k, c.rows.data, c.panels, &err) != TFM_OK) ops_die("pack", &err);
    c.x = ops_random_row(&random, (size_t)MOST_ROWS * k, 3.0f);
    for (uint32_t r = 0; r < MOST_ROWS; r += 5) { /* large and small ones, zeros, a tiny scale */
        float *row = c.x + (size_t)r * k;
        for (uint32_t i = 0; i < 32; i++) row[i] *= r % 2 == 0 ? 1e4f : 0.0f;
        for (uint32_t i = k - 32; i < k; i++) row[i] *= r % 3 == 0 ? 1e-41f : -1e-3f;
    }
    for (uint32_t r = 3; r < MOST_ROWS; r += 5) { /* codes as large as they come, of either sign */
        float *row = c.x + (size_t)r * k;
        for (uint32_t i = 0; i < k; i++) row[i] = copysignf(1.0f, row[i]);
    }
    c.bias = ops_random_row(&random, N_OUT, 1.0f);
    c.want = ops_alloc((size_t)MOST_ROWS * N_OUT * sizeof(float));
    const size_t row_bytes = c.rows.bytes / N_OUT;
    for (uint32_t r = 0; r < MOST_ROWS; r++) {
        for (uint32_t o = 0; o < N_OUT; o++) {
            c.want[r * N_OUT + o] =
                defined(t, (const uint8_t *)c.rows.data + o * row_bytes, c.x + (size_t)r * k, k) +
                c.bias[o];
        }
    }
    return c;
}

static void free_case(quant_case *c) {
    free((void *)(uintptr_t)c->rows.data);
    free(c->panels - 2), free(c->x), free(c->bias), free(c->want);
}

/* Rows [row, row_end) and panels in calls of `panels_each`: are these outputs the defined ones? */
static bool same(const tfm_cpu_kernels *kernels, const quant_case *c, uint32_t row,
                 uint32_t row_end, uint32_t panels_each) {
    const tfm_dtype t = c->rows.dtype;
    const size_t stride = (kernels->act_bytes(t, c->k) + 63) / 64 * 64;
    const uint32_t n_panels = (N_OUT + TFM_PANEL - 1) / TFM_PANEL;
    uint8_t *act = ops_alloc(stride * MOST_ROWS);
    float *out = ops_alloc((size_t)MOST_ROWS * N_OUT * sizeof(float));
    void *scratch = ops_alloc(kernels->linear_bytes(t, c->k));
    for (uint32_t r = 0; r < MOST_ROWS; r++) {
        kernels->prepare(t, c->k, c->x + (size_t)r * c->k, act + r * stride);
    }
    const tfm_cpu_linear a = {.type = t,
                              .w = c->panels,
                              .panel_bytes = ops_bytes(&c->rows, TFM_LAYOUT_P16) / n_panels,
                              .k = c->k,
                              .n_out = N_OUT,
                              .bias = c->bias,
                              .act = act,
                              .act_stride = stride,
                              .out = out};
    for (uint32_t p = 0; p < n_panels; p += panels_each) {
        const uint32_t end = n_panels - p < panels_each ? n_panels : p + panels_each;
        kernels->linear(&a, p, end, row, row_end, scratch);
    }
    bool good = true;
    for (size_t i = 0; i < (size_t)MOST_ROWS * N_OUT; i++) {
        const bool asked = i / N_OUT >= row && i / N_OUT < row_end;
        const float want = asked ? c->want[i] : 0.0f; /* nothing else is written */
        if (memcmp(&out[i], &want, sizeof want) == 0) continue;
        if (good) {
            printf("%s %s, k %u, rows %u-%u: row %zu, output %zu is %.9g, not %.9g\n",
                   kernels->name, tfm_dtype_name(t), c->k, row, row_end, i / N_OUT, i % N_OUT,
                   (double)out[i], (double)want);
        }
        good = false;
    }
    free(act), free(out), free(scratch);
    return good;
}

static void check_kernels(const char *name) {
    const tfm_cpu_kernels *kernels = tfm_cpu_kernels_find(name);
    if (kernels == NULL) return;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const uint32_t each = tfm_dtype_block(types[i]);
        const uint32_t widths[] = {each, 3 * each};
        for (int w = 0; w < 2; w++) {
            quant_case c = make_case(types[i], widths[w]);
            CHECK(same(kernels, &c, 0, MOST_ROWS, 4));
            CHECK(same(kernels, &c, 3, 4, 1));
            CHECK(same(kernels, &c, 64, 131, 3));
            for (uint32_t n = 2; n < 18; n++) CHECK(same(kernels, &c, n, 2 * n, 2));
            free_case(&c);
        }
    }
}

/* An activation that is not finite shows in every output of its row, alone and among others, and in
 * no output of the others. */
static void not_finite(const char *name, tfm_dtype t) {
    enum { ROWS = 12, BAD = 7 };
    const float bad[] = {INFINITY, -INFINITY, NAN};
    const uint32_t k = 2 * tfm_dtype_block(t);
    const tfm_cpu_kernels *kernels = tfm_cpu_kernels_find(name);
    for (int i = 0; kernels != NULL && i < 3; i++) {
        quant_case c = make_case(t, k);
        c.x[BAD * k + 40] = bad[i];
        const size_t stride = (kernels->act_bytes(t, k) + 63) / 64 * 64;
        uint8_t *act = ops_alloc(stride * ROWS);
        for (uint32_t r = 0; r < ROWS; r++) {
            kernels->prepare(t, k, c.x + (size_t)r * k, act + r * stride);
        }
        float out[ROWS][N_OUT];
        const tfm_cpu_linear a = {.type = t,
                                  .w = c.panels,
                                  .panel_bytes = ops_bytes(&c.rows, TFM_LAYOUT_P16) / 4,
                                  .k = k,
                                  .n_out = N_OUT,
                                  .act = act,
                                  .act_stride = stride,
                                  .out = out[0]};
        kernels->linear(&a, 0, 4, BAD, BAD + 1, NULL);
        for (int o = 0; o < N_OUT; o++) CHECK(isnan(out[BAD][o]));
        kernels->linear(&a, 0, 4, 0, ROWS, NULL);
        for (int r = 0; r < ROWS; r++) {
            for (int o = 0; o < N_OUT; o++) CHECK_INT(isnan(out[r][o]) != 0, r == BAD);
        }
        free(act);
        free_case(&c);
    }
}

int main(void) {
    CHECK(tfm_cpu_kernels_find(NULL) != NULL);
    check_kernels("avx2");
    check_kernels("avx512");
    not_finite("avx2", TFM_Q4_1);
    not_finite("avx2", TFM_Q3_K);
    not_finite("avx512", TFM_Q4_1);
    not_finite("avx512", TFM_Q4_K);
    not_finite("avx512", TFM_Q3_K);
    return unit_done();
}
