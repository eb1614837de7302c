/* quant_types_internal.h - rows and panels cut into blocks, one function a quantised type.
 *
 * Included at the end of avx2_quant_internal.h and avx512_quant_internal.h, which have
 * quant_block. */

/* A block of rows passes over all panels before the next one comes: the piece's panels stay in L2,
 * and so do the block's lines. */
INLINE void quant_piece(const tfm_dtype t, const tfm_cpu_linear *a, uint32_t panel,
                        uint32_t panel_end, uint32_t row, uint32_t row_end) {
    for (; row < row_end; row += QUANT_ROWS) {
        const size_t rows = row_end - row < QUANT_ROWS ? row_end - row : QUANT_ROWS;
        int panels = 1;
        for (uint32_t p = panel; p < panel_end; p += (uint32_t)panels) {
            panels = rows > 1 && panel_end - p > 1 ? 2 : 1;
            quant_block(t, a, p, panels, row, rows);
        }
    }
}

/* One function a type, so that every shift and mask above is a constant. */
#define QUANT_TYPE(name, type)                                                                     \
    KERNEL static void name(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end,           \
                            uint32_t row, uint32_t row_end) {                                      \
        quant_piece(type, a, panel, panel_end, row, row_end);                                      \
    }

QUANT_TYPE(linear_q4_0, TFM_Q4_0)
QUANT_TYPE(linear_q4_1, TFM_Q4_1)
QUANT_TYPE(linear_q5_0, TFM_Q5_0)
QUANT_TYPE(linear_q5_1, TFM_Q5_1)
QUANT_TYPE(linear_q8_0, TFM_Q8_0)
QUANT_TYPE(linear_iq4_nl, TFM_IQ4_NL)
QUANT_TYPE(linear_mxfp4, TFM_MXFP4)
QUANT_TYPE(linear_q2_k, TFM_Q2_K)
QUANT_TYPE(linear_q3_k, TFM_Q3_K)
QUANT_TYPE(linear_q4_k, TFM_Q4_K)
QUANT_TYPE(linear_q5_k, TFM_Q5_K)
QUANT_TYPE(linear_q6_k, TFM_Q6_K)
QUANT_TYPE(linear_iq4_xs, TFM_IQ4_XS)

static void linear_quant_all(const tfm_cpu_linear *a, uint32_t panel, uint32_t panel_end,
                             uint32_t row, uint32_t row_end) {
    switch (a->type) {
    case TFM_Q4_0: linear_q4_0(a, panel, panel_end, row, row_end); break;
    case TFM_Q4_1: linear_q4_1(a, panel, panel_end, row, row_end); break;
    case TFM_Q5_0: linear_q5_0(a, panel, panel_end, row, row_end); break;
    case TFM_Q5_1: linear_q5_1(a, panel, panel_end, row, row_end); break;
    case TFM_Q8_0: linear_q8_0(a, panel, panel_end, row, row_end); break;
    case TFM_IQ4_NL: linear_iq4_nl(a, panel, panel_end, row, row_end); break;
    case TFM_MXFP4: linear_mxfp4(a, panel, panel_end, row, row_end); break;
    case TFM_Q2_K: linear_q2_k(a, panel, panel_end, row, row_end); break;
    case TFM_Q3_K: linear_q3_k(a, panel, panel_end, row, row_end); break;
    case TFM_Q4_K: linear_q4_k(a, panel, panel_end, row, row_end); break;
    case TFM_Q5_K: linear_q5_k(a, panel, panel_end, row, row_end); break;
    case TFM_IQ4_XS: linear_iq4_xs(a, panel, panel_end, row, row_end); break;
    default: linear_q6_k(a, panel, panel_end, row, row_end); break;
    }
}
