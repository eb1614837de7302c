/* test_arch_novel.c - an architecture that nobody has: the example of tfm-arch(5), taken from the
 * page, applied to a checkpoint made here, against a forward pass written out in double.
 *
 * What must be right together: rows of a fused projection that is interleaved by groups, neox rope,
 * layer norm with bias, parallel residuals, a window in every other layer, scaled embedding, capped
 * logits, a tied output. That the page's example is tested keeps the page true.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tfm/infer.h"
#include "tfm/load.h"
#include "unit.h"

enum { V = 17, W = 12, L = 3, H = 4, KV = 2, D = 4, F = 20, T = 11, SPAN = 3 };
enum { QKV = (H + 2 * KV) * D, GROUP = H / KV };
#define BASE 100.0
#define CAP 3.0
#define EPS 1e-5

typedef struct matrix {
    const char *name; /* with %d for the layer */
    int rows, cols;   /* cols 0: a vector */
    int per_layer;
    float *data;
} matrix;

enum { EMBED, NORM_W, NORM_B, FUSED, FUSED_B, OUT, UP, DOWN, FINAL_W, FINAL_B, N_MATRICES };
static matrix m[N_MATRICES] = {
    {"embed.weight", V, W, 1, NULL},         {"layers.%d.norm.weight", W, 0, L, NULL},
    {"layers.%d.norm.bias", W, 0, L, NULL},  {"layers.%d.qkv.weight", QKV, W, L, NULL},
    {"layers.%d.qkv.bias", QKV, 0, L, NULL}, {"layers.%d.out.weight", W, H *D, L, NULL},
    {"layers.%d.up.weight", F, W, L, NULL},  {"layers.%d.down.weight", W, F, L, NULL},
    {"norm.weight", W, 0, 1, NULL},          {"norm.bias", W, 0, 1, NULL},
};
static const int token[T] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 16};
static char dir[] = "/tmp/tfm-novel-XXXXXX", path[3][80];
static tfm_error err;

static int size_of(const matrix *a) {
    return a->rows * (a->cols ? a->cols : 1);
}

/* Row o of layer l. */
static const float *row(int i, int l, int o) {
    return m[i].data + l * size_of(&m[i]) + o * (m[i].cols ? m[i].cols : 1);
}

/* ---- the checkpoint ---- */

static bool make_weights(void) {
    uint32_t state = 7;
    for (int i = 0; i < N_MATRICES; i++) {
        int n = size_of(&m[i]) * m[i].per_layer;
        m[i].data = malloc((size_t)n * sizeof(float));
        if (m[i].data == NULL) return false;
        for (int k = 0; k < n; k++) {
            state = state * 1664525u + 1013904223u;
            m[i].data[k] = (float)((double)(state >> 8) / (1 << 24) - 0.5) + (m[i].cols ? 0 : 1);
        }
    }
    return true;
}

static bool write_safetensors(void) {
    char head[16384], name[80];
    size_t n = 1, at = 0;
    FILE *f = fopen(path[0], "wb");
    unsigned char len[8] = {0};
    if (f == NULL) return false;
    head[0] = '{';
    for (int i = 0; i < N_MATRICES; i++)
        for (int l = 0; l < m[i].per_layer; l++) {
            size_t bytes = (size_t)size_of(&m[i]) * 4;
            snprintf(name, sizeof name, m[i].name, l);
            n += (size_t)snprintf(head + n, sizeof head - n,
                                  "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%d%s%.0d],"
                                  "\"data_offsets\":[%zu,%zu]}",
                                  n > 1 ? "," : "", name, m[i].rows, m[i].cols ? "," : "",
                                  m[i].cols, at, at + bytes);
            at += bytes;
        }
    head[n++] = '}';
    for (int i = 0; i < 8; i++) len[i] = (unsigned char)(n >> (8 * i));
    fwrite(len, 1, 8, f);
    fwrite(head, 1, n, f);
    for (int i = 0; i < N_MATRICES; i++)
        fwrite(m[i].data, 4, (size_t)(size_of(&m[i]) * m[i].per_layer), f);
    return fclose(f) == 0;
}

static bool write_config(void) {
    FILE *f = fopen(path[1], "w");
    if (f == NULL) return false;
    fprintf(f,
            "{\"model_type\": \"novel\", \"architectures\": [\"NovelForCausalLM\"],"
            " \"max_position_embeddings\": 64, \"hidden_size\": %d, \"num_hidden_layers\": %d,"
            " \"intermediate_size\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d,"
            " \"head_dim\": %d, \"vocab_size\": %d, \"layer_norm_eps\": 1e-5, \"rope_theta\": 100,"
            " \"hidden_act\": \"gelu\", \"tie_word_embeddings\": true, \"sliding_window\": %d,"
            " \"final_logit_softcapping\": 3.0, \"eos_token_id\": 2}",
            W, L, F, H, KV, D, V, SPAN);
    return fclose(f) == 0;
}

/* The literal block of the page that begins with its name. */
static bool write_arch(void) {
    static char page[65536];
    FILE *f = fopen("man/tfm-arch.5", "r");
    size_t n = f ? fread(page, 1, sizeof page - 1, f) : 0;
    char *start = strstr(page, "architecture: novel"), *end = start ? strstr(start, ".Ed") : NULL;
    if (f != NULL) fclose(f);
    if (n == 0 || end == NULL) return false;
    f = fopen(path[2], "w");
    if (f == NULL) return false;
    fwrite(start, 1, (size_t)(end - start), f);
    return fclose(f) == 0;
}

/* ---- the reference ---- */

static void norm(const double *x, const float *w, const float *b, double *out) {
    double mean = 0, var = 0;
    for (int i = 0; i < W; i++) mean += x[i] / W;
    for (int i = 0; i < W; i++) var += (x[i] - mean) * (x[i] - mean) / W;
    for (int i = 0; i < W; i++)
        out[i] = (x[i] - mean) / sqrt(var + EPS) * (double)w[i] + (double)b[i];
}

static double dot(const float *w, const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)w[i] * x[i];
    return sum;
}

static void turn(double *head, int position) {
    for (int i = 0; i < D / 2; i++) {
        double a = position * pow(BASE, -2.0 * i / D), x = head[i], y = head[i + D / 2];
        head[i] = x * cos(a) - y * sin(a);
        head[i + D / 2] = x * sin(a) + y * cos(a);
    }
}

/* Group g has rows [q of its heads, k, v] in the fused projection. */
static void project(int l, int t, const double *h, double q[H * D], double k[KV * D],
                    double v[KV * D]) {
    double all[QKV];
    for (int o = 0; o < QKV; o++)
        all[o] = dot(row(FUSED, l, o), h, W) + (double)*row(FUSED_B, l, o);
    for (int g = 0; g < KV; g++) {
        const double *part = all + g * (GROUP + 2) * D;
        memcpy(q + g * GROUP * D, part, sizeof(double) * GROUP * D);
        memcpy(k + g * D, part + GROUP * D, sizeof(double) * D);
        memcpy(v + g * D, part + (GROUP + 1) * D, sizeof(double) * D);
    }
    for (int i = 0; i < H; i++) turn(q + i * D, t);
    for (int i = 0; i < KV; i++) turn(k + i * D, t);
}

static void attend(const double *q, double (*k)[KV * D], double (*v)[KV * D], int t, int window,
                   double *out) {
    for (int i = 0; i < H; i++) {
        double p[T], max = -1e30, sum = 0;
        int first = window > 0 && t - window + 1 > 0 ? t - window + 1 : 0;
        const int g = i / GROUP * D;
        for (int s = first; s <= t; s++) {
            p[s] = 0;
            for (int d = 0; d < D; d++) p[s] += q[i * D + d] * k[s][g + d] / sqrt(D);
            if (p[s] > max) max = p[s];
        }
        for (int s = first; s <= t; s++) sum += p[s] = exp(p[s] - max);
        for (int d = 0; d < D; d++) {
            out[i * D + d] = 0;
            for (int s = first; s <= t; s++) out[i * D + d] += p[s] / sum * v[s][g + d];
        }
    }
}

static void reference(double out[T][V]) {
    static double x[T][W], k[L][T][KV * D], v[L][T][KV * D];
    for (int t = 0; t < T; t++) {
        double h[W], q[H * D], a[H * D], u[F];
        for (int i = 0; i < W; i++) x[t][i] = (double)row(EMBED, 0, token[t])[i] * sqrt(W);
        for (int l = 0; l < L; l++) {
            norm(x[t], row(NORM_W, l, 0), row(NORM_B, l, 0), h);
            project(l, t, h, q, k[l][t], v[l][t]);
            attend(q, k[l], v[l], t, l % 2 == 0 ? SPAN : 0, a);
            for (int o = 0; o < F; o++) {
                u[o] = dot(row(UP, l, o), h, W);
                u[o] = u[o] / 2 * (1 + erf(u[o] / sqrt(2)));
            }
            for (int i = 0; i < W; i++)
                x[t][i] += dot(row(OUT, l, i), a, H * D) + dot(row(DOWN, l, i), u, F);
        }
        norm(x[t], row(FINAL_W, 0, 0), row(FINAL_B, 0, 0), h);
        for (int o = 0; o < V; o++) out[t][o] = CAP * tanh(dot(row(EMBED, 0, o), h, W) / CAP);
    }
}

/* ---- */

static void same_logits(void) {
    tfm_load_options o = {.share_dir = "share", .arch_file = path[2]};
    tfm_engine_options eo = {.device = "ref", .kv_type = TFM_F32};
    tfm_model *model = NULL;
    tfm_engine *e = NULL;
    static double want[T][V];
    static float got[T][V];
    int32_t ids[T];
    double worst = 0;
    for (int t = 0; t < T; t++) ids[t] = token[t];
    if (!CHECK(tfm_load(&model, dir, &o, &err) == TFM_OK) ||
        !CHECK(tfm_engine_new(&e, model, &eo, &err) == TFM_OK) ||
        !CHECK(tfm_engine_logits(e, ids, T, &got[0][0], &err) == TFM_OK)) {
        printf("%s\n", err.message);
    } else {
        reference(want);
        for (int t = 0; t < T; t++)
            for (int i = 0; i < V; i++) {
                double d = fabs((double)got[t][i] - want[t][i]);
                if (!(d <= worst)) worst = d;
            }
        /* logits are below CAP; 1e-5 of that is 100 times what float rounding makes here */
        if (!CHECK(worst <= 1e-5 * CAP)) printf("off by %g\n", worst);
    }
    tfm_engine_free(e);
    tfm_model_free(model);
}

int main(void) {
    static const char *const file[3] = {"model.safetensors", "config.json", "novel.yaml"};
    if (!CHECK(mkdtemp(dir) != NULL)) return unit_done();
    for (int i = 0; i < 3; i++) snprintf(path[i], sizeof path[i], "%s/%s", dir, file[i]);
    CHECK(make_weights() && write_safetensors() && write_config() && write_arch());
    UNIT_RUN(same_logits);
    for (int i = 0; i < 3; i++) unlink(path[i]);
    rmdir(dir);
    for (int i = 0; i < N_MATRICES; i++) free(m[i].data);
    return unit_done();
}
