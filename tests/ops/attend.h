/* attend.h - forms of attention, a case for each, and the bound of what cpu may differ by. */
#ifndef TFM_TESTS_OPS_ATTEND_H
#define TFM_TESTS_OPS_ATTEND_H

#include "ops.h"

typedef struct attend_form {
    uint32_t heads, kv_heads, k_dim, v_dim, window, chunk;
    float softcap;
    bool alibi, alibi_before, sink, f32_cache, q8_0_cache;
    uint32_t start[2], length[2];
} attend_form;

/* q and k are at most 1 in size, so a score is a chain of k_dim products with an error of at most
 * (k_dim + 2) u k_dim before the scale; scale, alibi and softcap round 8 times at most what they
 * hold: delta = u (|scale| (k_dim + 2 + 8) k_dim + 8 |bias|). softmax is a ratio: with weights off
 * by a factor 1 +- e each, e = delta + u |s - m| + 4 u + (keys + 16) u for the chains of the sums,
 * the result moves by at most 2 e max|v|, max|v| <= 1 (1% more for rounding the ratio). */
static inline double bound_attend(const ops_case *c, uint32_t row, uint32_t col, double ref) {
    const double u = 0x1p-24;
    const tfm_step *s = &c->step[1];
    const double d = s->u.attend.k_dim;
    const double keys = c->start[1] + c->length[1] + c->start[0] + c->length[0];
    double bias = 0.0;
    (void)row, (void)col, (void)ref;
    for (uint32_t h = 0; s->u.attend.alibi != NULL && h < s->u.attend.heads; h++) {
        bias = fmax(bias, fabs((double)s->u.attend.alibi[h]) * keys);
    }
    const double scale = fabs((double)s->u.attend.scale);
    const double range = 2 * (scale * d + bias) + 4;
    const double delta = u * (scale * (d + 10) * (d + bias) + 8 * bias);
    return 2.02 * (delta + u * range + (keys + 20) * u);
}

static inline void attend_case(ops_case *c, const attend_form *f) {
    tfm_step *s = ops_begin(c, TFM_OP_ATTEND, f->heads * 131 + f->k_dim);
    snprintf(c->name, sizeof c->name, "attend %u/%u heads %u,%u wide window %u/%u cap %g%s%s%s",
             f->heads, f->kv_heads, f->k_dim, f->v_dim, f->window, f->chunk, (double)f->softcap,
             f->alibi ? " alibi" : "", f->alibi_before ? " before" : "", f->sink ? " sink" : "");
    if (f->sink) s->extra = ops_weight(c, TFM_F32, TFM_LAYOUT_ROWS, 0, f->heads);
    if (f->alibi) {
        c->alibi = ops_alloc(f->heads * sizeof(float));
        for (uint32_t h = 0; h < f->heads; h++) c->alibi[h] = 0.5f / (float)(h + 1);
    }
    s->u.attend.heads = f->heads;
    s->u.attend.kv_heads = f->kv_heads;
    s->u.attend.k_dim = f->k_dim;
    s->u.attend.v_dim = f->v_dim;
    s->u.attend.scale = 1.0f / sqrtf((float)f->k_dim);
    s->u.attend.softcap = f->softcap;
    s->u.attend.window = f->window;
    s->u.attend.chunk = f->chunk;
    s->u.attend.alibi = c->alibi;
    s->u.attend.alibi_before_scale = f->alibi_before;
    c->kv = (tfm_kv_shape){f->kv_heads, f->k_dim, f->v_dim, 0};
    c->kv_type = f->f32_cache ? TFM_F32 : f->q8_0_cache ? TFM_Q8_0 : TFM_F16;
    for (int i = 0; i < 2; i++) ops_sequence(c, f->start[i], f->length[i]);
    const uint32_t widths[4] = {f->heads * f->k_dim, f->kv_heads * f->k_dim, f->kv_heads * f->v_dim,
                                0};
    ops_finish(c, widths, f->heads * f->v_dim, 1.0f);
}

static const attend_form attend_forms[] = {
    {.heads = 1, .kv_heads = 1, .k_dim = 1, .v_dim = 1, .length = {1, 20}},
    {.heads = 4, .kv_heads = 4, .k_dim = 16, .v_dim = 16, .length = {70, 33}},
    {.heads = 6, .kv_heads = 2, .k_dim = 8, .v_dim = 20, .length = {66, 5}},
    {.heads = 40, .kv_heads = 2, .k_dim = 6, .v_dim = 34, .length = {18, 3}, .f32_cache = true},
    {.heads = 4, .kv_heads = 2, .k_dim = 7, .v_dim = 5, .length = {80, 1}, .window = 19},
    {.heads = 2, .kv_heads = 1, .k_dim = 32, .v_dim = 64, .length = {40, 90}, .window = 1},
    {.heads = 2, .kv_heads = 2, .k_dim = 16, .v_dim = 16, .length = {50, 9}, .softcap = 1.5f},
    {.heads = 3, .kv_heads = 3, .k_dim = 8, .v_dim = 8, .length = {77, 9}, .alibi = true},
    {.heads = 3,
     .kv_heads = 1,
     .k_dim = 8,
     .v_dim = 8,
     .length = {77, 9},
     .alibi = true,
     .alibi_before = true,
     .f32_cache = true},
    {.heads = 4, .kv_heads = 2, .k_dim = 8, .v_dim = 8, .length = {40, 2}, .sink = true},
    {.heads = 6, .kv_heads = 2, .k_dim = 64, .v_dim = 32, .length = {66, 5}, .q8_0_cache = true},
    {.heads = 3,
     .kv_heads = 3,
     .k_dim = 32,
     .v_dim = 96,
     .length = {70, 140},
     .window = 21,
     .q8_0_cache = true},
    {.heads = 4,
     .kv_heads = 2,
     .k_dim = 8,
     .v_dim = 8,
     .length = {90, 17},
     .window = 33,
     .softcap = 2.0f,
     .sink = true,
     .alibi = true},
    {.heads = 2,
     .kv_heads = 1,
     .k_dim = 16,
     .v_dim = 16,
     .start = {1000, 2030},
     .length = {40, 30}},
    {.heads = 1, .kv_heads = 1, .k_dim = 4, .v_dim = 4, .length = {2100, 3}, .window = 1500},
    /* chunks: within a panel, of no round number, with a window, longer than those of sums */
    {.heads = 2, .kv_heads = 1, .k_dim = 8, .v_dim = 8, .length = {70, 9}, .chunk = 5},
    {.heads = 3,
     .kv_heads = 1,
     .k_dim = 32,
     .v_dim = 32,
     .start = {60, 7},
     .length = {90, 20},
     .chunk = 37,
     .window = 21,
     .q8_0_cache = true},
    {.heads = 2,
     .kv_heads = 2,
     .k_dim = 8,
     .v_dim = 8,
     .start = {1010, 2050},
     .length = {50, 20},
     .chunk = 1032},
    /* more query heads of a group than one call takes; every size of tile */
    {.heads = 62, .kv_heads = 2, .k_dim = 5, .v_dim = 65, .length = {37, 2}},
    {.heads = 23, .kv_heads = 1, .k_dim = 16, .v_dim = 48, .length = {67, 3}, .window = 20},
    {.heads = 7, .kv_heads = 1, .k_dim = 33, .v_dim = 31, .length = {130, 26}, .window = 70},
    /* several chunks, few calls: threads share them */
    {.heads = 2, .kv_heads = 1, .k_dim = 8, .v_dim = 24, .length = {1040, 3}, .sink = true},
    {.heads = 5,
     .kv_heads = 1,
     .k_dim = 32,
     .v_dim = 32,
     .start = {2040, 3060},
     .length = {20, 30},
     .alibi = true,
     .q8_0_cache = true},
    {.heads = 1,
     .kv_heads = 1,
     .k_dim = 16,
     .v_dim = 16,
     .start = {1990, 1000},
     .length = {70, 40},
     .window = 1030,
     .softcap = 3.0f,
     .sink = true,
     .f32_cache = true},
};

#endif
