/* test_families.c - a tiny random model of every architecture, against Hugging Face transformers.
 *
 * Owns: making the weights of tests/golden/families by the rule of make_families.py, and holding
 * `ref` and `cpu` to the bound on the logits: from the Hugging Face folder, from GGUF written of
 * it, and converted to panels. A model of quantised weights is converted to f32, which is exact:
 * their products round activations. The bound's derivation stands in tests/golden/MANIFEST.md.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tfm/infer.h"
#include "tfm/load.h"
#include "unit.h"

enum { ROWS_MAX = 64, VOCAB_MAX = 1024, TENSORS_MAX = 256 };

static const char families[] = "tests/golden/families";
static const double bound = 1e-4; /* of the row's largest |logit| */
static const tfm_load_options load_options = {.share_dir = "share"};

typedef struct family {
    char name[64], folder[256], file[300]; /* folder: temporary; file: weights in it */
    unsigned ctx, gguf;
    tfm_dtype type; /* to compare in; NONE: the model's own */
    int32_t ids[ROWS_MAX];
    size_t rows, vocab;
    float *want; /* [rows, vocab] */
} family;

typedef struct weight {
    char name[160], type[8];
    double mean, spread;
    uint64_t dims[4], n;
    unsigned rank;
} weight;

/* ---- the rule ---- */

static uint64_t name_hash(const char *s) {
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
    for (; *s != '\0'; s++) h = (h ^ (unsigned char)*s) * 0x100000001B3u;
    return h;
}

/* splitmix64 (Steele et al. 2014), number i of the sequence. */
static uint64_t mix(uint64_t seed, uint64_t i) {
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* f32: mean + spread * u, u in [-1, 1); u8: the top byte. */
static void put_weight(const weight *w, FILE *f) {
    const uint64_t seed = name_hash(w->name);
    for (uint64_t i = 0; i < w->n; i++) {
        const uint64_t z = mix(seed, i);
        const float v = (float)(w->mean + w->spread * ((double)(z >> 40) / 8388608.0 - 1));
        if (strcmp(w->type, "u8") == 0)
            fputc((int)(w->mean + (double)(z >> 40) * w->spread / 16777216.0), f);
        else
            fwrite(&v, sizeof v, 1, f);
    }
}

/* No dims: a single number. */
static bool read_weight(weight *w, const char *line) {
    int at = 0, used;
    if (sscanf(line, "%159s %7s %lf %lf%n", w->name, w->type, &w->mean, &w->spread, &at) != 4)
        return false;
    w->n = 1;
    for (w->rank = 0; w->rank < 4; w->rank++, at += used) {
        unsigned long d;
        if (sscanf(line + at, " %lu%n", &d, &used) != 1) break;
        w->n *= w->dims[w->rank] = d;
    }
    return true;
}

static size_t read_weights(const family *c, weight *w) {
    char path[256], line[512];
    size_t n = 0;
    snprintf(path, sizeof path, "%s/%s/tensors.txt", families, c->name);
    FILE *f = fopen(path, "r");
    while (f != NULL && n < TENSORS_MAX && fgets(line, sizeof line, f) != NULL)
        n += read_weight(&w[n], line);
    if (f != NULL) fclose(f);
    return n;
}

/* The folder's model.safetensors. */
static bool put_safetensors(const family *c) {
    static weight w[TENSORS_MAX];
    static char head[TENSORS_MAX * 320];
    const size_t n = read_weights(c, w);
    size_t len = 0;
    uint64_t at = 0;
    FILE *f = fopen(c->file, "wb");
    if (f == NULL || n == 0) return false;
    for (size_t i = 0; i < n; i++) {
        const bool bytes = strcmp(w[i].type, "u8") == 0;
        const uint64_t end = at + w[i].n * (bytes ? 1 : sizeof(float));
        len += (size_t)snprintf(head + len, sizeof head - len,
                                "%c\"%s\":{\"dtype\":\"%s\",\"shape\":[", i == 0 ? '{' : ',',
                                w[i].name, bytes ? "U8" : "F32");
        for (unsigned k = 0; k < w[i].rank; k++)
            len += (size_t)snprintf(head + len, sizeof head - len, "%s%llu", k ? "," : "",
                                    (unsigned long long)w[i].dims[k]);
        len += (size_t)snprintf(head + len, sizeof head - len, "],\"data_offsets\":[%llu,%llu]}",
                                (unsigned long long)at, (unsigned long long)end);
        at = end;
    }
    head[len++] = '}';
    while (len % 8 != 0) head[len++] = ' ';
    const uint64_t size =
        len; /* the format is little-endian, as are the machines that this runs on */
    fwrite(&size, sizeof size, 1, f);
    fwrite(head, 1, len, f);
    for (size_t i = 0; i < n; i++) put_weight(&w[i], f);
    return fclose(f) == 0;
}

static bool copy_config(const family *c) {
    char from[256], to[300], text[8192];
    snprintf(from, sizeof from, "%s/%s/config.json", families, c->name);
    snprintf(to, sizeof to, "%s/config.json", c->folder);
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    size_t n = in ? fread(text, 1, sizeof text, in) : 0;
    bool good = n > 0 && n < sizeof text && out && fwrite(text, 1, n, out) == n;
    if (in != NULL) fclose(in);
    if (out != NULL) good = fclose(out) == 0 && good;
    return good;
}

static bool make_folder(family *c) {
    const char *tmp = getenv("TMPDIR");
    snprintf(c->folder, sizeof c->folder, "%.200s/tfm-family-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (mkdtemp(c->folder) == NULL) return false;
    snprintf(c->file, sizeof c->file, "%s/model.safetensors", c->folder);
    return copy_config(c) && put_safetensors(c);
}

static void remove_folder(const family *c) {
    static const char *const file[] = {"model.safetensors", "config.json", "model.gguf"};
    char path[300];
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        snprintf(path, sizeof path, "%s/%s", c->folder, file[i]);
        unlink(path);
    }
    rmdir(c->folder);
}

/* ---- comparing ---- */

static bool read_expected(family *c) {
    char path[256];
    snprintf(path, sizeof path, "%s/ids.txt", families);
    FILE *f = fopen(path, "r");
    while (f != NULL && c->rows < ROWS_MAX && fscanf(f, "%d", &c->ids[c->rows]) == 1) c->rows++;
    if (f != NULL) fclose(f);
    snprintf(path, sizeof path, "%s/%s/logits.f32", families, c->name);
    f = fopen(path, "rb");
    if (f == NULL || c->rows == 0) return false;
    c->want = malloc(c->rows * VOCAB_MAX * sizeof *c->want);
    size_t n = c->want ? fread(c->want, sizeof *c->want, c->rows * VOCAB_MAX, f) : 0;
    fclose(f);
    c->vocab = n / c->rows;
    return c->vocab > 0 && c->vocab * c->rows == n;
}

static size_t best(const float *row, size_t n) {
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (row[i] > row[at]) at = i;
    return at;
}

/* The worst row's max|a-b| / max|b|; infinite where a number is not finite, or where another id
 * leads though the margin is above the bound. */
static double worst_row(const family *c, const float *got) {
    double worst = 0;
    for (size_t r = 0; r < c->rows; r++) {
        const float *a = got + r * c->vocab, *b = c->want + r * c->vocab;
        double difference = 0, largest = 0;
        for (size_t i = 0; i < c->vocab; i++) {
            difference =
                fmax(difference, isfinite(a[i]) ? fabs((double)a[i] - (double)b[i]) : INFINITY);
            largest = fmax(largest, fabs((double)b[i]));
        }
        const size_t mine = best(a, c->vocab), theirs = best(b, c->vocab);
        if ((double)(b[theirs] - b[mine]) > bound * largest) difference = INFINITY;
        worst = fmax(worst, difference / largest);
    }
    return worst;
}

static void check_engine(const family *c, tfm_model *m, const char *how, const char *device) {
    tfm_error err = {0};
    tfm_engine *engine = NULL;
    tfm_engine_options o = {.device = device, .threads = 2, .kv_type = TFM_F32, .ctx = c->ctx};
    float *got = calloc(c->rows * c->vocab, sizeof *got);
    if (!CHECK(got != NULL)) return;
    tfm_status st = tfm_engine_new(&engine, m, &o, &err);
    if (st == TFM_OK && CHECK_INT(tfm_engine_n_vocab(engine), c->vocab)) {
        st = tfm_engine_logits(engine, c->ids, c->rows, got, &err);
        if (st == TFM_OK && !CHECK(worst_row(c, got) <= bound))
            printf("%s, %s, %s: a row is wrong by %.2e\n", c->name, how, device, worst_row(c, got));
    }
    if (st != TFM_OK) {
        CHECK_STR(err.message, "");
        printf("  in: %s, %s\n", c->name, how);
    }
    tfm_engine_free(engine);
    free(got);
}

/* path: a folder or a GGUF file; converted: through tfm_convert_load. NULL if it failed. */
static tfm_model *open_model(const family *c, const char *path, const char *how, bool converted) {
    tfm_error err = {0};
    tfm_model *m = NULL;
    const tfm_convert_options o = {.load = load_options,
                                   .layout = converted ? TFM_LAYOUT_P16 : TFM_LAYOUT_ROWS,
                                   .type = c->type};
    tfm_status st = converted || c->type != TFM_DTYPE_NONE
                        ? tfm_convert_load(&m, path, &o, &err)
                        : tfm_load(&m, path, &load_options, &err);
    if (st == TFM_OK) return m;
    CHECK_STR(err.message, "");
    printf("  in: %s, %s\n", c->name, how);
    return NULL;
}

/* A model that is not compared in its own type goes into GGUF as it is: with the blocks it has. */
static void check_blocks(const family *c, const tfm_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < tfm_model_n_tensors(m); i++)
        n += tfm_dtype_block(tfm_model_tensor_at(m, i)->dtype) > 1;
    CHECK_INT(n > 0, c->type != TFM_DTYPE_NONE);
}

/* The same logits from GGUF as we write it. */
static void check_gguf(const family *c, tfm_model *m) {
    tfm_error err = {0};
    char path[300];
    snprintf(path, sizeof path, "%s/model.gguf", c->folder);
    FILE *f = fopen(path, "wb");
    if (!CHECK(f != NULL)) return;
    tfm_status st = tfm_gguf_write(m, "share", fileno(f), path, &err);
    fclose(f);
    if (c->gguf == 0) {
        if (!CHECK_INT(st, TFM_UNSUPPORTED)) printf("  in: %s: GGUF cannot say this\n", c->name);
        return;
    }
    if (st != TFM_OK) {
        CHECK_STR(err.message, "");
        printf("  in: %s, writing GGUF\n", c->name);
        return;
    }
    tfm_model *blocks = NULL, *again = open_model(c, path, "gguf", false);
    if (again != NULL && CHECK_INT(tfm_load(&blocks, path, &load_options, &err), TFM_OK))
        check_blocks(c, blocks);
    tfm_model_free(blocks);
    if (again != NULL) check_engine(c, again, "gguf", "cpu");
    tfm_model_free(again);
}

static void check_family(family *c) {
    if (!CHECK(read_expected(c))) return;
    if (CHECK(make_folder(c))) {
        tfm_model *m = open_model(c, c->folder, "folder", false);
        tfm_model *as_is = NULL, *packed = open_model(c, c->folder, "converted", true);
        tfm_error err = {0};
        CHECK_INT(tfm_load(&as_is, c->folder, &load_options, &err), TFM_OK);
        if (m != NULL) {
            check_engine(c, m, "folder", "ref");
            check_engine(c, m, "folder", "cpu");
            check_engine(c, m, "folder", "cpu:generic");
        }
        if (as_is != NULL) check_gguf(c, as_is);
        if (packed != NULL) check_engine(c, packed, "converted", "cpu");
        tfm_model_free(packed);
        tfm_model_free(as_is);
        tfm_model_free(m);
    }
    remove_folder(c);
    free(c->want);
}

static void every_family(void) {
    char path[256], line[256];
    const char *only = getenv("FAMILY");
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/cases.txt", families);
    FILE *f = fopen(path, "r");
    if (!CHECK(f != NULL)) return;
    while (fgets(line, sizeof line, f) != NULL) {
        family c = {.want = NULL};
        if (line[0] == '#') continue;
        char type[8];
        if (!CHECK_INT(sscanf(line, "%63s %u %u %7s", c.name, &c.ctx, &c.gguf, type), 4)) continue;
        c.type = tfm_dtype_parse(type);
        if (only != NULL && strcmp(only, c.name) != 0) continue;
        unsigned failures = unit_failures;
        check_family(&c);
        if (unit_failures != failures) printf("  family: %s\n", c.name);
        n++;
    }
    fclose(f);
    CHECK(n > 0);
}

int main(void) {
    UNIT_RUN(every_family);
    return unit_done();
}
