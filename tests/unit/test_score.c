/* test_score.c - scores against the golden logits, windows against texts of their own, pooling.
 *
 * The log-probabilities that are expected are computed here in long double with libm from the
 * logits of Hugging Face transformers (tests/golden/MANIFEST.md), which have nothing in common with
 * ours.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "tfm/load.h"
#include "tfm/pool.h"
#include "tfm/score.h"
#include "unit.h"

enum { ROWS = 40, VOCAB_MAX = 1024 };

static const tfm_load_options load_options = {.share_dir = "share"};
static int32_t ids[ROWS];
static float logits[ROWS * VOCAB_MAX];
static size_t n_vocab;

static bool read_golden(const char *name) {
    char path[256];
    size_t n;
    snprintf(path, sizeof path, "tests/golden/expected/%s/ids.txt", name);
    FILE *f = fopen(path, "r");
    if (!CHECK(f != NULL)) return false;
    for (n = 0; n < ROWS && fscanf(f, "%d", &ids[n]) == 1; n++) {
    }
    fclose(f);
    if (!CHECK_INT(n, ROWS)) return false;
    snprintf(path, sizeof path, "tests/golden/expected/%s/logits.f32", name);
    f = fopen(path, "rb");
    if (!CHECK(f != NULL)) return false;
    n_vocab = fread(logits, sizeof *logits, ROWS * VOCAB_MAX, f) / ROWS;
    fclose(f);
    return CHECK(n_vocab > 1);
}

static double expected_score(size_t i, double *largest) {
    const float *x = logits + (i - 1) * n_vocab;
    long double sum = 0;
    *largest = 0;
    for (size_t k = 0; k < n_vocab; k++) {
        sum += expl((long double)x[k]);
        *largest = fmax(*largest, fabs((double)x[k]));
    }
    return (double)((long double)x[ids[i]] - logl(sum));
}

static tfm_engine *engine_of(tfm_model **model, const char *path, uint32_t ctx) {
    tfm_engine_options o = {.device = "cpu", .threads = 1, .kv_type = TFM_F32, .ctx = ctx};
    tfm_engine *e = NULL;
    tfm_error err = {0};
    if (tfm_load(model, path, &load_options, &err) != TFM_OK ||
        tfm_engine_new(&e, *model, &o, &err) != TFM_OK)
        CHECK_STR(err.message, "");
    return e;
}

/* Scores n ids; returns the number of scores, -1 on failure. */
static long score(tfm_engine *e, const tfm_score_options *o, const int32_t *text, size_t n,
                  size_t from, double *out) {
    tfm_scorer *s = NULL;
    tfm_scored r = {0};
    tfm_error err = {0};
    long got = -1;
    if (tfm_scorer_new(&s, e, o, &err) != TFM_OK ||
        tfm_scorer_add(s, 7, text, n, from, &err) != TFM_OK ||
        tfm_scorer_next(s, &r, &err) != TFM_OK)
        CHECK_STR(err.message, "");
    else if (CHECK_INT(r.group, 7) && r.type == TFM_SCORED_TEXT) {
        got = (long)(r.n - r.from);
        if (got) memcpy(out, r.score, (size_t)got * sizeof *out);
        CHECK_INT(tfm_scorer_next(s, &r, &err), TFM_DONE);
    }
    tfm_scorer_free(s);
    return got;
}

/* A logit is right within 1e-4 of the row's largest (MANIFEST.md); a log-probability is a logit
 * less a mean of logits, so it is right within twice that. The perplexity follows from their
 * sum. */
static void golden_scores(void) {
    static const char *const name[] = {"llama-f16", "gpt2-f32"};
    for (size_t c = 0; c < 2; c++) {
        tfm_model *model = NULL;
        double got[ROWS], nll = 0, want_nll = 0, bound = 0;
        char path[128];
        if (!read_golden(name[c])) return;
        snprintf(path, sizeof path, "tests/golden/gguf/%s.gguf", name[c]);
        tfm_engine *e = engine_of(&model, path, 0);
        if (e && CHECK_INT(score(e, &(tfm_score_options){0}, ids, ROWS, 0, got), ROWS - 1)) {
            for (size_t i = 1; i < ROWS; i++) {
                double largest, want = expected_score(i, &largest);
                CHECK(fabs(got[i - 1] - want) <= 2e-4 * largest);
                nll -= got[i - 1];
                want_nll -= want;
                bound += 2e-4 * largest;
            }
            CHECK(fabs(nll - want_nll) <= bound);
            double ppl = exp(want_nll / (ROWS - 1));
            CHECK(fabs(tfm_perplexity(nll, ROWS - 1) - ppl) <= ppl * expm1(bound / (ROWS - 1)));
        }
        tfm_engine_free(e);
        tfm_model_free(model);
    }
}

/* With a stride, each token's score is that of its window as a text of its own. */
static void windows(void) {
    enum { CTX = 16 };
    tfm_model *model = NULL;
    tfm_engine *e = engine_of(&model, "tests/golden/gguf/llama-f16.gguf", CTX);
    if (!e || !read_golden("llama-f16")) goto out;
    for (uint32_t stride = 1; stride < CTX; stride += 7) {
        double got[ROWS], want[CTX];
        size_t reached = 1;
        long n =
            score(e, &(tfm_score_options){.stride = stride, .row_budget = 5}, ids, ROWS, 1, got);
        if (!CHECK_INT(n, ROWS - 1)) break;
        for (size_t begin = 0; reached < ROWS; begin += stride) {
            size_t end = begin + CTX < ROWS ? begin + CTX : ROWS;
            CHECK_INT(score(e, &(tfm_score_options){0}, ids + begin, end - begin, 1, want),
                      (long)(end - begin - 1));
            for (size_t i = reached; i < end; i++) CHECK(got[i - 1] == want[i - begin - 1]);
            reached = end;
        }
        double late[ROWS];
        n = score(e, &(tfm_score_options){.stride = stride}, ids, ROWS, 33, late);
        CHECK_INT(n, ROWS - 33);
        CHECK(n != ROWS - 33 || memcmp(late, got + 32, (ROWS - 33) * sizeof *late) == 0);
    }
    CHECK_INT(score(e, &(tfm_score_options){0}, ids, ROWS, 1, (double[ROWS]){0}), -1);
    CHECK_INT(score(e, &(tfm_score_options){0}, ids, 1, 1, (double[1]){0}), 0);
    CHECK_INT(score(e, &(tfm_score_options){0}, NULL, 0, 1, (double[1]){0}), 0);
    tfm_scorer *s = NULL;
    CHECK_INT(tfm_scorer_new(&s, e, &(tfm_score_options){.stride = CTX}, NULL), TFM_USAGE);
out:
    tfm_engine_free(e);
    tfm_model_free(model);
}

/* ---- pooling ---- */

static void pool(tfm_pool_how how, bool normalise, const float *want) {
    static const float rows[4][2] = {{1, 2}, {3, 5}, {-4, 0.5f}, {3, 4}};
    for (uint32_t piece = 1; piece <= 4; piece++) {
        tfm_pooler *p = NULL;
        tfm_error err = {0};
        const float *got;
        uint32_t width, n_rows;
        if (!CHECK_INT(tfm_pooler_new(&p, &(tfm_pool_options){how, normalise}, &err), TFM_OK))
            return;
        for (uint32_t at = 0; at < 4; at += piece) {
            uint32_t n = 4 - at < piece ? 4 - at : piece;
            CHECK_INT(tfm_pooler_take(p, 3, at, rows[at], n, 2, &err), TFM_OK);
            CHECK_INT(tfm_pooler_take(p, 9, at, rows[at], n, 2, &err), TFM_OK);
        }
        if (CHECK_INT(tfm_pooler_end(p, 3, &got, &width, &n_rows, &err), TFM_OK)) {
            CHECK_INT(width, 2);
            CHECK_INT(n_rows, 4);
            CHECK(got[0] == want[0] && got[1] == want[1]);
        }
        CHECK_INT(tfm_pooler_end(p, 3, &got, &width, &n_rows, &err), TFM_RECORD);
        tfm_pooler_free(p);
    }
}

static void pools(void) {
    pool(TFM_POOL_MEAN, false, (float[]){0.75f, 2.875f});
    pool(TFM_POOL_CLS, false, (float[]){1, 2});
    pool(TFM_POOL_LAST, false, (float[]){3, 4});
    pool(TFM_POOL_LAST, true, (float[]){0.6f, 0.8f});
}

static void pool_refuses(void) {
    static const float rows[4] = {1, 2, 3, 4};
    tfm_pooler *p = NULL;
    tfm_error err = {0};
    const float *v;
    uint32_t width, n;
    if (!CHECK_INT(tfm_pooler_new(&p, &(tfm_pool_options){0}, &err), TFM_OK)) return;
    CHECK_INT(tfm_pooler_take(p, 0, 1, rows, 1, 2, &err), TFM_RECORD); /* a gap */
    CHECK_INT(tfm_pooler_take(p, 1, 0, rows, 2, 2, &err), TFM_OK);
    CHECK_INT(tfm_pooler_take(p, 1, 1, rows, 1, 2, &err), TFM_RECORD); /* back */
    CHECK_INT(tfm_pooler_take(p, 1, 2, rows, 1, 3, &err), TFM_RECORD); /* another width */
    tfm_pooler_drop(p, 1);
    CHECK_INT(tfm_pooler_end(p, 1, &v, &width, &n, &err), TFM_RECORD);
    tfm_pooler_free(p);
    CHECK_INT(tfm_pooler_new(&p, &(tfm_pool_options){.how = TFM_POOL_LAST}, &err), TFM_OK);
    CHECK_INT(tfm_pooler_take(p, 1, 0, rows, 2, 2, &err), TFM_OK);
    CHECK_INT(tfm_pooler_take(p, 1, 1, rows, 1, 2, &err), TFM_OK);
    CHECK_INT(tfm_pooler_end(p, 1, &v, &width, &n, &err), TFM_OK);
    CHECK(v[0] == 1 && n == 2);
    tfm_pooler_free(p);
}

int main(void) {
    UNIT_RUN(golden_scores);
    UNIT_RUN(windows);
    UNIT_RUN(pools);
    UNIT_RUN(pool_refuses);
    return unit_done();
}
