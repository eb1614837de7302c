/* test_bits_ref.c - the determinism harness on ref. It has no fusion and no threads; what can go
 * wrong is who sees which key, and everything between the backend and the pipes. */
#include "bits.h"

static void every_batch_and_every_pipe_gives_the_same_bits(void) {
    if (bits_is_long())
        bits_check_all("ref", 1, true, &(bits_effort){.n = 66, .every = 7});
    else
        bits_check_all("ref", 11, false, &(bits_effort){.n = 17, .every = 7});
}

/* One sequence, each form cut in another way. */
static void long_sequences_too(void) {
    const bits_effort effort = {.n = 2049, .every = 15};
    if (!bits_is_long()) {
        bits_check("ref", BITS_WINDOW, TFM_F16, TFM_F16, 1, &(bits_effort){.n = 66, .every = 15});
        return;
    }
    for (int form = 0; form < BITS_FORMS; form++) {
        bits_check("ref", (bits_form)form, bits_types[form % BITS_TYPES],
                   form % 2 == 0 ? TFM_F16 : TFM_F32, 3 * ((unsigned)form % BITS_CUTS), &effort);
    }
}

int main(void) {
    UNIT_RUN(every_batch_and_every_pipe_gives_the_same_bits);
    UNIT_RUN(long_sequences_too);
    printf("# %zu rows compared\n", bits_rows);
    return unit_done();
}
