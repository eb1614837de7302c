/* test_golden.c - the logits of every golden model, against Hugging Face transformers.
 *
 * Owns: reading tests/golden/cases.txt and holding `ref` and `cpu` to its bounds; each model is run
 * from the checkpoint in place and from model.bin in both layouts. What the models are, and why the
 * bounds are what they are, stands in tests/golden/MANIFEST.md. Greedy text is for golden.bats.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "tfm/infer.h"
#include "tfm/load.h"
#include "unit.h"

enum { ROWS_MAX = 64, VOCAB_MAX = 1024 };

static const char golden[] = "tests/golden";
static const tfm_load_options load_options = {.share_dir = "share"};

typedef struct golden_case {
    char name[64], file[96], type[16], logits[32];
    double worst, middle; /* bounds of the worst and of the median row */
    int32_t ids[ROWS_MAX];
    size_t rows;
    float *want; /* [rows, vocab] */
    size_t vocab;
} golden_case;

static FILE *open_expected(const golden_case *c, const char *file) {
    char path[256];
    snprintf(path, sizeof path, "%s/expected/%s/%s", golden, c->name, file);
    return fopen(path, "rb");
}

static bool read_expected(golden_case *c) {
    FILE *f = open_expected(c, "ids.txt");
    if (f == NULL) return false;
    for (c->rows = 0; c->rows < ROWS_MAX && fscanf(f, "%d", &c->ids[c->rows]) == 1; c->rows++) {
    }
    fclose(f);
    f = open_expected(c, c->logits);
    if (f == NULL || c->rows == 0) return false;
    size_t most = c->rows * VOCAB_MAX;
    c->want = malloc(most * sizeof *c->want);
    size_t n = c->want ? fread(c->want, sizeof *c->want, most, f) : 0;
    fclose(f);
    c->vocab = n / c->rows;
    return c->vocab > 0 && c->vocab * c->rows == n;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Each row's error: max|a-b| / max|b|; a value that is not finite counts as infinitely wrong. */
static void row_errors(const golden_case *c, const float *got, double errors[ROWS_MAX]) {
    for (size_t r = 0; r < c->rows; r++) {
        double difference = 0, largest = 0;
        for (size_t i = r * c->vocab; i < (r + 1) * c->vocab; i++) {
            double d = fabs((double)got[i] - (double)c->want[i]);
            if (!isfinite(got[i])) d = INFINITY;
            difference = fmax(difference, d);
            largest = fmax(largest, fabs((double)c->want[i]));
        }
        errors[r] = difference / largest;
    }
}

static void check_engine(const golden_case *c, tfm_model *model, const char *how,
                         const char *device, unsigned threads) {
    tfm_error err = {0};
    tfm_engine *engine = NULL;
    tfm_engine_options o = {.device = device, .threads = threads, .kv_type = TFM_F32};
    float *got = NULL;
    if (tfm_engine_new(&engine, model, &o, &err) != TFM_OK) {
        CHECK_STR(err.message, "");
        goto out;
    }
    if (!CHECK_INT(tfm_engine_n_vocab(engine), c->vocab)) goto out;
    got = calloc(c->rows * c->vocab, sizeof *got);
    if (!CHECK(got != NULL)) goto out;
    if (tfm_engine_logits(engine, c->ids, c->rows, got, &err) != TFM_OK) {
        CHECK_STR(err.message, "");
        goto out;
    }
    double errors[ROWS_MAX];
    row_errors(c, got, errors);
    size_t worst_row = 0;
    for (size_t r = 0; r < c->rows; r++)
        if (errors[r] > errors[worst_row]) worst_row = r;
    double worst = errors[worst_row];
    qsort(errors, c->rows, sizeof *errors, ascending);
    double middle = errors[c->rows / 2];
    if (!CHECK(worst <= c->worst && middle <= c->middle))
        printf("%s, type %s, %s, %s, %u threads: row %zu is wrong by %.2e (bound %.2e), "
               "the middle row by %.2e (bound %.2e)\n",
               c->file, c->type, how, device, threads, worst_row, worst, c->worst, middle,
               c->middle);
out:
    free(got);
    tfm_engine_free(engine);
}

static void check_devices(const golden_case *c, tfm_model *model, const char *how) {
    check_engine(c, model, how, "ref", 1);
    check_engine(c, model, how, "cpu", 1);
    check_engine(c, model, how, "cpu", 2);
}

static void check_in_place(const golden_case *c) {
    tfm_error err = {0};
    tfm_model *model = NULL;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", golden, c->file);
    if (tfm_load(&model, path, &load_options, &err) != TFM_OK)
        CHECK_STR(err.message, "");
    else
        check_devices(c, model, "in place");
    tfm_model_free(model);
}

static tfm_status convert(const golden_case *c, tfm_layout layout, int fd, tfm_error *err) {
    char path[256];
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    tfm_convert_options o = {.load = load_options, .layout = layout};
    o.type = strcmp(c->type, "-") == 0 ? TFM_DTYPE_NONE : tfm_dtype_parse(c->type);
    snprintf(path, sizeof path, "%s/%s", golden, c->file);
    tfm_status st = tfm_header_new(&h, "model", err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, "golden", err);
    if (st == TFM_OK) st = tfm_convert(path, &o, h, w, err);
    if (st == TFM_OK && tfm_writer_is_open(w)) st = tfm_writer_end(w, err);
    tfm_writer_free(w);
    tfm_header_free(h);
    return st;
}

static void check_converted(const golden_case *c, tfm_layout layout) {
    tfm_error err = {0};
    tfm_model *model = NULL;
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/tfm-golden-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkstemp(path);
    if (!CHECK(fd >= 0)) return;
    if (convert(c, layout, fd, &err) != TFM_OK || tfm_model_open(&model, path, &err) != TFM_OK)
        CHECK_STR(err.message, "");
    else
        check_devices(c, model, tfm_layout_name(layout));
    tfm_model_free(model);
    close(fd);
    unlink(path);
}

static void run_case(golden_case *c) {
    if (!CHECK(read_expected(c))) {
        printf("%s: expected/%s is not whole\n", c->name, c->logits);
        return;
    }
    if (strcmp(c->type, "-") == 0) check_in_place(c);
    check_converted(c, TFM_LAYOUT_ROWS);
    check_converted(c, TFM_LAYOUT_P16);
}

static void every_case(void) {
    char path[256], line[256];
    unsigned n = 0;
    snprintf(path, sizeof path, "%s/cases.txt", golden);
    FILE *f = fopen(path, "r");
    if (!CHECK(f != NULL)) return;
    while (fgets(line, sizeof line, f) != NULL) {
        golden_case c = {.want = NULL};
        if (line[0] == '#') continue;
        if (!CHECK_INT(sscanf(line, "%63s %95s %15s %31s %lf %lf", c.name, c.file, c.type, c.logits,
                              &c.worst, &c.middle),
                       6))
            continue;
        unsigned failures = unit_failures;
        run_case(&c);
        if (unit_failures != failures) printf("  in: %s", line);
        free(c.want);
        n++;
    }
    fclose(f);
    CHECK(n > 0);
}

int main(void) {
    UNIT_RUN(every_case);
    return unit_done();
}
