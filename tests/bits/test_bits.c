/* test_bits.c - the determinism harness on cpu, and the proof that it finds what is wrong. */
#include "bits.h"

#include "bits_wrong.h"

/* Rows that differ from the truth in fused and in staged runs of all kinds. */
static void count_wrong(tfm_dtype type, size_t *fused, size_t *staged) {
    bits_subject s;
    *fused = *staged = 0;
    bits_quiet = true;
    bits_hook = bits_use_wrong;
    unsigned t = 0;
    while (bits_types[t] != type) t++;
    bits_subject_new(&s, "cpu", BITS_USUAL, t, BITS_PLAIN, 0);
    bits_subject_run(&s, 65, BITS_STREAMS, ~0u);
    for (unsigned i = 0; i < BITS_CUTS; i++) {
        bits_way w = {.model = s.model[i % 2].model,
                      .length = 65,
                      .cut = &bits_cuts[i],
                      .n_seqs = bits_widths[i % 3],
                      .threads = 1 + i % 3,
                      .seed = i};
        *fused += bits_run(&s, &w);
        w.stages = 1 + i % BITS_BLOCKS;
        *staged += bits_run(&s, &w);
    }
    bits_subject_free(&s);
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

    bits_wrong_table.attend_finish = bits_panels_by_batch;
    count_wrong(TFM_F16, &fused, &staged);
    CHECK(fused > 50);
    CHECK(staged > 50);

    bits_wrong_table = *bits_good;
    bits_wrong_table.linear = bits_linear_by_rows;
    count_wrong(TFM_Q8_0, &fused, &staged);
    CHECK(fused > 50);
    CHECK(staged > 50);

    bits_wrong_table = *bits_good;
    bits_wrong_table.elementwise = bits_activation_by_tail;
    count_wrong(TFM_F32, &fused, &staged);
    CHECK(fused > 50);
    CHECK(staged > 50);
}

int main(int argc, char **argv) {
    if (argc == 1) UNIT_RUN(kernels_that_depend_on_the_batch_are_caught);
    return bits_main(argc, argv, "cpu:");
}
