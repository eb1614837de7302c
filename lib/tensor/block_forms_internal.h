/* block_forms_internal.h - where the quants of each block-quantised type are, as constants.
 *
 * Facts of the GGUF format (ggml-common.h documents them). All formats differ only in where bit
 * fields lie, so they are data; a new type is a new line. Included where a compiler that sees the
 * numbers makes faster code; others call tfm_block_form_of. */
#ifndef TFM_BLOCK_FORMS_INTERNAL_H
#define TFM_BLOCK_FORMS_INTERNAL_H

#include "tensor/block_internal.h"

/*  type            low field     high field   bias group scales      d    m   min    values e8m0 */
static const tfm_block_form tfm_block_forms[] = {
    [TFM_Q4_0] = {{2, 16, 4}, {0, 0, 0}, 8, 32, 0, 0, 0, 0, false, NULL, false},
    [TFM_Q4_1] = {{4, 16, 4}, {0, 0, 0}, 0, 32, 0, 0, 0, 2, true, NULL, false},
    [TFM_Q5_0] = {{6, 16, 4}, {2, 1, 1}, 16, 32, 0, 0, 0, 0, false, NULL, false},
    [TFM_Q5_1] = {{8, 16, 4}, {4, 1, 1}, 0, 32, 0, 0, 0, 2, true, NULL, false},
    [TFM_Q8_0] = {{2, 32, 8}, {0, 0, 0}, 0, 32, 0, 0, 0, 0, false, NULL, false},
    [TFM_IQ4_NL] = {{2, 16, 4}, {0, 0, 0}, 0, 32, 0, 0, 0, 0, false, tfm_iq4_values, false},
    [TFM_MXFP4] = {{1, 16, 4}, {0, 0, 0}, 0, 32, 0, 0, 0, 0, false, tfm_fp4_values, true},
    [TFM_Q2_K] = {{16, 32, 2}, {0, 0, 0}, 0, 16, 0, 16, 80, 82, true, NULL, false},
    [TFM_Q3_K] = {{32, 32, 2}, {0, 32, 1}, 4, 16, 96, 12, 108, 0, false, NULL, false},
    [TFM_Q4_K] = {{16, 32, 4}, {0, 0, 0}, 0, 32, 4, 12, 0, 2, true, NULL, false},
    [TFM_Q5_K] = {{48, 32, 4}, {16, 32, 1}, 0, 32, 4, 12, 0, 2, true, NULL, false},
    [TFM_Q6_K] = {{0, 64, 4}, {128, 32, 2}, 32, 16, 192, 16, 208, 0, false, NULL, false},
    [TFM_IQ4_XS] = {{8, 16, 4}, {0, 0, 0}, 0, 32, 2, 6, 0, 0, false, tfm_iq4_values, false},
};

#endif
