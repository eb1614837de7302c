/* test_bits.c - the determinism harness on cpu, and the proof that it finds what is wrong. */
#include "bits.h"

#include "bits_wrong.h"

static void every_batch_and_every_pipe_gives_the_same_bits(void) {
    if (bits_is_long())
        bits_check_all("cpu", 1, true, &(bits_effort){.n = 129, .every = 1});
    else
        bits_check_all("cpu", 5, false, &(bits_effort){.n = 66, .every = 7});
}

/* Past the first chunk of 1024 keys, and past the second. */
static void long_sequences_too(void) {
    const bits_effort sample = {.n = 1026, .every = 15}, all = {2049, 7, true};
    if (!bits_is_long()) {
        bits_check("cpu", BITS_PLAIN, TFM_F16, TFM_F16, 9, &sample); /* cut at random */
        return;
    }
    for (int i = 0; i < BITS_TYPES * BITS_FORMS; i++) {
        const bits_form form = (bits_form)(i % BITS_FORMS);
        const tfm_dtype type = bits_types[i / BITS_FORMS], kv = i % 2 == 0 ? TFM_F16 : TFM_F32;
        bits_check("cpu", form, type, bits_has_cache_blocks(form, type) ? TFM_Q8_0 : kv,
                   (unsigned)i, &all);
    }
}

/* Rows that differ from the truth in fused and in staged runs of all kinds. */
static void count_wrong(tfm_dtype type, size_t *fused, size_t *staged) {
    bits_model model[2];
    bits_truth t;
    *fused = *staged = 0;
    bits_quiet = true;
    bits_hook = bits_use_wrong;
    bits_models_new(model, BITS_PLAIN, type);
    bits_truth_new(&t, &model[0], "cpu", TFM_F16, 66);
    for (unsigned i = 0; i < 5; i++) {
        const bits_way w = bits_way_of(model, i);
        *fused += bits_run_fused(&t, &w);
        *staged += bits_run_staged(&t, &w, i % 4);
    }
    bits_truth_free(&t);
    bits_model_free(&model[0]);
    bits_model_free(&model[1]);
    bits_hook = NULL;
    bits_quiet = false;
}

static void kernels_that_depend_on_the_batch_are_caught(void) {
    size_t fused, staged;
    bits_good = tfm_cpu_kernels_find(NULL);
    bits_wrong_table = *bits_good;
    count_wrong(TFM_F16, &fused, &staged);
    CHECK_INT(fused, 0); /* the good ones, put in the same way */
    CHECK_INT(staged, 0);

    bits_wrong_table.attend = bits_panels_by_batch;
    count_wrong(TFM_F16, &fused, &staged);
    CHECK(fused > 100);
    CHECK(staged > 100);

    bits_wrong_table = *bits_good;
    bits_wrong_table.linear = bits_linear_by_rows;
    count_wrong(TFM_Q8_0, &fused, &staged);
    CHECK(fused > 100);
    CHECK(staged > 100);

    bits_wrong_table = *bits_good;
    bits_wrong_table.elementwise = bits_activation_by_tail;
    count_wrong(TFM_F32, &fused, &staged);
    CHECK(fused > 100);
    CHECK(staged > 100);
}

int main(void) {
    UNIT_RUN(kernels_that_depend_on_the_batch_are_caught);
    UNIT_RUN(every_batch_and_every_pipe_gives_the_same_bits);
    UNIT_RUN(long_sequences_too);
    printf("# %zu rows compared\n", bits_rows);
    return unit_done();
}
