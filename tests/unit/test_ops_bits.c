/* test_ops_bits.c - the generic numerics give these very bits, whatever compiler or machine.
 *
 * A small random Llama runs over two sequences, cut into prompts and single tokens, on one thread
 * and on two; the CRC-32 of all logits is compared with the table. IEEE 754 fixes every operation
 * and the code fixes their order, so gcc, clang, -O0, -O3, 4 lanes or 8 must all agree. A change of
 * this table is a change of the numerics of `cpu generic`: it needs a reason, a line in NEWS and,
 * once a version is out, a new value in the `numerics` header key. Made by running this
 * program: it prints what it got. */
#include "../ops/model.h"

#include "backend/cpu/cpu_internal.h"
#include "unit.h"

enum { LENGTH = 90, VOCAB = 67 };

static const struct {
    tfm_dtype type;
    uint32_t window, crc;
} golden[] = {
    {TFM_F32, 0, 0x43202e28},   {TFM_F32, 40, 0xcd4792f7},   {TFM_F16, 0, 0x1099a11a},
    {TFM_BF16, 0, 0x5479678a},  {TFM_Q8_0, 0, 0x28e35688},   {TFM_Q4_0, 0, 0x0bb6a0a2},
    {TFM_Q4_1, 0, 0xdb561fb7},  {TFM_Q5_0, 0, 0xbf0e0814},   {TFM_Q5_1, 0, 0x7a47d241},
    {TFM_Q2_K, 0, 0x5c05c41b},  {TFM_Q3_K, 0, 0x7089db4d},   {TFM_Q4_K, 0, 0xd7429996},
    {TFM_Q5_K, 0, 0xc4a694f9},  {TFM_Q6_K, 0, 0x187b22eb},   {TFM_IQ4_NL, 0, 0xb6fb011b},
    {TFM_MXFP4, 0, 0xa664a797}, {TFM_IQ4_XS, 0, 0x7fe95ee4},
};

/* Logits of both sequences, `step` tokens of each at a time. */
static uint32_t logits_crc(const ops_model *m, unsigned threads, uint32_t step, bool narrow) {
    static float logits[2][LENGTH][VOCAB], out[2 * LENGTH * VOCAB];
    const uint32_t pages[2][2] = {{3, 0}, {1, 2}};
    const uint32_t *const page[2] = {pages[0], pages[1]};
    tfm_backend *be = NULL;
    tfm_kv *kv = NULL;
    tfm_plan *plan = NULL;
    tfm_error err;
    if (tfm_backend_new(&be, "cpu:generic", threads, &err) != TFM_OK) ops_die("backend", &err);
    if (narrow) ((cpu_backend *)be)->kernels = &tfm_cpu_kernels_generic;
    if (be->ops->kv_new(be, &m->g, 0, m->g.n_blocks, TFM_F16, &kv, &err) != TFM_OK ||
        be->ops->kv_reserve(kv, 4, &err) != TFM_OK ||
        be->ops->plan_new(be, &m->g, 0, m->g.n_steps, kv, &plan, &err) != TFM_OK) {
        ops_die("plan", &err);
    }
    for (uint32_t from = 0; from < LENGTH; from += step) {
        const uint32_t n = LENGTH - from < step ? LENGTH - from : step;
        const uint32_t row_start[3] = {0, n, 2 * n};
        uint32_t position[2 * LENGTH], row[2 * LENGTH];
        int32_t token[2 * LENGTH];
        for (uint32_t r = 0; r < 2 * n; r++) {
            position[r] = from + r % n;
            row[r] = r;
            token[r] = (int32_t)((position[r] * 31 + r / n * 17 + position[r] / 7) % VOCAB);
        }
        const tfm_batch b = {.n_rows = 2 * n,
                             .n_seqs = 2,
                             .row_start = row_start,
                             .token = token,
                             .position = position,
                             .page = page,
                             .out_row = row,
                             .n_out = 2 * n,
                             .logits = out};
        if (be->ops->plan_run(plan, &b, &err) != TFM_OK) ops_die("run", &err);
        for (uint32_t s = 0; s < 2; s++) {
            memcpy(logits[s][from], out + s * n * VOCAB, n * VOCAB * sizeof(float));
        }
    }
    be->ops->plan_free(plan);
    be->ops->kv_free(kv);
    tfm_backend_free(be);
    return tfm_crc32(0, logits, sizeof logits);
}

static void the_same_bits_everywhere(void) {
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        ops_model m;
        ops_model_new(&m, &(ops_shape){.blocks = 2,
                                       .width = 256,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .head_dim = 64,
                                       .ffn = 512,
                                       .vocab = VOCAB,
                                       .window = golden[i].window,
                                       .type = golden[i].type});
        const uint32_t whole = logits_crc(&m, 1, LENGTH, false);
        if (!CHECK_INT(whole, golden[i].crc)) {
            printf("  %s window %u: got 0x%08x\n", tfm_dtype_name(golden[i].type), golden[i].window,
                   whole);
        }
        CHECK_INT(logits_crc(&m, 2, 1, false), whole);
        CHECK_INT(logits_crc(&m, 3, 13, false), whole);
        CHECK_INT(logits_crc(&m, 1, 33, true), whole);
        ops_model_free(&m);
    }
}

int main(void) {
    UNIT_RUN(the_same_bits_everywhere);
    return unit_done();
}
