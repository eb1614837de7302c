/* make_logits.c - makes logits.tfms, the input of tfm-sample in contract.bats (no program of this
 * version writes logits):
 *
 *     cc -std=c11 -Iinclude tests/contract/make_logits.c build/lib/libtfm.a -lyaml -lpcre2-8 \
 *         -lutf8proc -ljansson -lz -lm -pthread -o make_logits
 *     ./make_logits >tests/contract/logits.tfms
 *
 * 40 groups, two rows of 32 logits each; the largest is at (7 * group + row) % 32. */
#include <stdio.h>

#include "tfm/stream.h"

static tfm_status make(tfm_error *err) {
    tfm_writer *w;
    tfm_header *h;
    TFM_TRY(tfm_header_new(&h, "logits", err));
    TFM_TRY(tfm_header_set(h, "tool", "make_logits", err));
    TFM_TRY(tfm_writer_new(&w, 1, "stdout", err));
    TFM_TRY(tfm_writer_header(w, h, err));
    for (unsigned group = 0; group < 40; group++) {
        float logits[2][32];
        tfm_record rec = {.type = TFM_REC_TENSOR,
                          .dtype = TFM_F32,
                          .rank = 2,
                          .flags = TFM_FLAG_LAST,
                          .group = group,
                          .position = 5,
                          .dims = {2, 32, 1, 1},
                          .name = "logits"};
        for (unsigned row = 0; row < 2; row++)
            for (unsigned i = 0; i < 32; i++)
                logits[row][i] = i == (7 * group + row) % 32 ? 4.0f : (float)i / 16.0f;
        TFM_TRY(tfm_writer_record(w, &rec, logits, err));
        TFM_TRY(tfm_writer_group_end(w, group, 7, TFM_END_OPEN, err));
    }
    TFM_TRY(tfm_writer_end(w, err));
    tfm_writer_free(w);
    tfm_header_free(h);
    return TFM_OK;
}

int main(void) {
    tfm_error err = {0};
    if (make(&err) == TFM_OK) return 0;
    fprintf(stderr, "make_logits: %s\n", err.message);
    return 1;
}
