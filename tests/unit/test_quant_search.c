/* test_quant_search.c - quantising with searched scales: that it is better than the plain way, that
 * weights are heeded, and that odd rows come out sane. */
#include <math.h>
#include <stdlib.h>

#include "tfm/tensor.h"
#include "unit.h"

enum { COLUMNS = 512, ROWS = 32, COUNT = COLUMNS * ROWS };

static const tfm_dtype types[] = {TFM_Q4_0, TFM_Q4_1, TFM_Q5_0, TFM_Q5_1, TFM_IQ4_NL, TFM_MXFP4,
                                  TFM_Q2_K, TFM_Q3_K, TFM_Q4_K, TFM_Q5_K, TFM_Q6_K,   TFM_IQ4_XS};
enum { N_TYPES = sizeof types / sizeof *types };

static float x[COUNT], y[COUNT];
static unsigned char blocks[COUNT * 2];

/* About normal, of differing spread and mean from group to group. */
static void fill(void) {
    unsigned s = 1;
    for (int i = 0; i < COUNT; i++) {
        double a = 0.0;
        for (int k = 0; k < 6; k++) {
            s = s * 1664525u + 1013904223u;
            a += (double)(s >> 8) / (1 << 24) - 0.5;
        }
        x[i] = (float)(0.05 * a * (1.0 + i / 32 % 7) + 0.002 * (i / 16 % 5));
    }
}

/* Quantises x and reads it back into y. */
static bool there_and_back(tfm_dtype t, const float *importance) {
    tfm_error err = {0};
    const bool good =
        CHECK_INT(tfm_quantise(t, x, ROWS, COLUMNS, importance, blocks, &err), TFM_OK) &&
        CHECK_INT(tfm_to_f32(t, blocks, COUNT, y, &err), TFM_OK);
    if (!good) printf("# %s: %s\n", tfm_dtype_name(t), err.message);
    return good;
}

/* Sum of squared errors over power, of columns [from, to). */
static double error_of(unsigned from, unsigned to) {
    double e = 0.0, p = 0.0;
    for (unsigned i = 0; i < COUNT; i++) {
        if (i % COLUMNS < from || i % COLUMNS >= to) continue;
        e += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        p += (double)x[i] * (double)x[i];
    }
    return e / p;
}

/* A group stored in b bits without search has a step of its whole range / (2^b - 1), and so an
 * error of step^2 / 12 at best for numbers spread evenly; a group's range is about 4.5 standard
 * deviations here. Each type must stay below that, (4.5 / (2^b - 1))^2 / 12 of the power. The
 * numbers of mxfp4 are floats of one bit: in a binade from 1 the step is 1/2, so (1/2)^2 / 12 at
 * most. */
static void beats_plain_rounding(void) {
    static const int bits[N_TYPES] = {4, 4, 5, 5, 4, 4, 2, 3, 4, 5, 6, 4};
    tfm_error err = {0};
    fill();
    for (int i = 0; i < N_TYPES; i++) {
        const double step = types[i] == TFM_MXFP4 ? 0.5 : 4.5 / ((1 << bits[i]) - 1);
        there_and_back(types[i], NULL);
        if (!CHECK(error_of(0, COLUMNS) < step * step / 12.0))
            printf("# %s: %g of %g\n", tfm_dtype_name(types[i]), error_of(0, COLUMNS),
                   step * step / 12.0);
    }
    /* the same type by its reference formula */
    there_and_back(TFM_Q4_0, NULL);
    const double searched = error_of(0, COLUMNS);
    CHECK_INT(tfm_from_f32(TFM_Q4_0, x, COUNT, blocks, &err), TFM_OK);
    CHECK_INT(tfm_to_f32(TFM_Q4_0, blocks, COUNT, y, &err), TFM_OK);
    CHECK(searched < 0.95 * error_of(0, COLUMNS));
    /* iq4_nl takes the place of q3_K where q4_0 could: it must be worth it */
    there_and_back(TFM_IQ4_NL, NULL);
    CHECK(error_of(0, COLUMNS) < 0.95 * searched);
}

/* What lies exactly on a grid comes back (nearly: scales are fitted in floats). */
static void keeps_its_own_grid(void) {
    fill();
    for (int i = 0; i < N_TYPES; i++) {
        fill();
        there_and_back(types[i], NULL);
        const double once = error_of(0, COLUMNS);
        memcpy(x, y, sizeof x);
        there_and_back(types[i], NULL);
        if (!CHECK(error_of(0, COLUMNS) < 0.05 * once))
            printf("# %s: %g after %g\n", tfm_dtype_name(types[i]), error_of(0, COLUMNS), once);
    }
}

/* Columns that count 100 times as much get a smaller error than without weights; mxfp4 has only a
 * few powers of two to choose from. */
static void heeds_importance(void) {
    static float importance[COLUMNS];
    fill();
    for (unsigned i = 0; i < COLUMNS; i++) importance[i] = i % 8 == 0 ? 100.0f : 1.0f;
    for (int t = 0; t < N_TYPES; t++) {
        double heavy[2] = {0, 0};
        for (int with = 0; with < 2; with++) {
            there_and_back(types[t], with ? importance : NULL);
            for (unsigned i = 0; i < COUNT; i += 8)
                heavy[with] += ((double)x[i] - (double)y[i]) * ((double)x[i] - (double)y[i]);
        }
        if (!CHECK(heavy[1] < (types[t] == TFM_MXFP4 ? 1.0 : 0.9) * heavy[0]))
            printf("# %s: %g of %g\n", tfm_dtype_name(types[t]), heavy[1], heavy[0]);
    }
}

/* Rows are independent: one alone gives the bytes that it has among others. */
static void rows_are_independent(void) {
    static unsigned char alone[COLUMNS * 2];
    tfm_error err = {0};
    fill();
    for (int i = 0; i < N_TYPES; i++) {
        uint64_t bytes;
        there_and_back(types[i], NULL);
        CHECK(tfm_dtype_bytes(types[i], COLUMNS, &bytes));
        CHECK_INT(tfm_quantise(types[i], x + 7 * COLUMNS, 1, COLUMNS, NULL, alone, &err), TFM_OK);
        CHECK(memcmp(alone, blocks + 7 * bytes, (size_t)bytes) == 0);
    }
}

/* Constant, one-sided, tiny, huge and zero rows: finite, and no further off than the row is
 * wide. */
static void odd_rows(void) {
    fill();
    for (unsigned i = 0; i < COUNT; i++) {
        switch (i / COLUMNS % 10) {
        case 0: x[i] = 0.0f; break;
        case 1: x[i] = 0.25f; break;
        case 2: x[i] = -0.25f; break;
        case 3: x[i] = i % 37 ? 0.0f : 3.0f; break;
        case 4: x[i] = 1.0f + fabsf(x[i]); break; /* far from zero */
        case 5: x[i] = -1.0f - fabsf(x[i]); break;
        case 6: x[i] *= 1e-9f; break; /* beyond what f16 scales resolve */
        case 7: x[i] = 60000.0f * (i % 2 ? 1.0f : -1.0f); break;
        case 8: x[i] = i % 256 < 240 ? 0.0f : x[i]; break;
        default: x[i] = 1e-40f; break;
        }
    }
    for (int t = 0; t < N_TYPES; t++) {
        there_and_back(types[t], NULL);
        for (unsigned row = 0; row < ROWS; row++) {
            float most = 0.0f, off = 0.0f;
            for (unsigned i = row * COLUMNS; i < (row + 1) * COLUMNS; i++) {
                most = fmaxf(most, fabsf(x[i]));
                off = isfinite(y[i]) ? fmaxf(off, fabsf(x[i] - y[i])) : INFINITY;
            }
            /* rows 6 and 9 of ten are below what f16 scales resolve: they may become zero */
            const bool is_tiny = row % 10 == 6 || row % 10 == 9;
            if (!CHECK(off <= (is_tiny ? 1.0f : 0.5f) * most))
                printf("# %s row %u: %g off of %g\n", tfm_dtype_name(types[t]), row, (double)off,
                       (double)most);
        }
    }
}

static void refuses(void) {
    tfm_error err = {0};
    fill();
    x[1000] = NAN;
    CHECK_INT(tfm_quantise(TFM_Q4_K, x, ROWS, COLUMNS, NULL, blocks, &err), TFM_FORMAT);
    CHECK(strstr(err.message, "element 1000") != NULL);
    x[1000] = -INFINITY;
    CHECK_INT(tfm_quantise(TFM_Q5_0, x, ROWS, COLUMNS, NULL, blocks, &err), TFM_FORMAT);
    x[1000] = 1e6f;
    CHECK_INT(tfm_quantise(TFM_Q6_K, x, ROWS, COLUMNS, NULL, blocks, &err), TFM_LIMIT);
    fill();
    CHECK_INT(tfm_quantise(TFM_Q6_K, x, ROWS, 384, NULL, blocks, &err), TFM_FORMAT);
    CHECK_INT(tfm_quantise(TFM_Q8_0, x, ROWS, COLUMNS, NULL, blocks, &err), TFM_UNSUPPORTED);
    CHECK_INT(tfm_quantise(TFM_F16, x, ROWS, COLUMNS, NULL, blocks, &err), TFM_UNSUPPORTED);
}

int main(void) {
    UNIT_RUN(beats_plain_rounding);
    UNIT_RUN(keeps_its_own_grid);
    UNIT_RUN(heeds_importance);
    UNIT_RUN(rows_are_independent);
    UNIT_RUN(odd_rows);
    UNIT_RUN(refuses);
    return unit_done();
}
