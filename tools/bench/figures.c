/* figures.c - from seconds to rates, shares and prices.
 *
 * What is counted: of a prompt, 2 operations for each number of the blocks' matrices and each row,
 * and of the head for the one row whose logits are wanted. Of generation, the head for every row;
 * bytes are those of all matrices once a step, and of each sequence's cache as far as it has grown.
 * Attention's own operations, norms and activations are left out, so the shares are those of the
 * linear layers and the true ones a little higher. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

const char *const bench_limit_name[4] = {"read", "f32", "bf16", "int8"};

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bench_spread bench_spread_of(const double *x, size_t n) {
    double sorted[MAX_REPEAT + 1];
    if (n == 0) return (bench_spread){0};
    memcpy(sorted, x, n * sizeof *x);
    qsort(sorted, n, sizeof *sorted, ascending);
    const double median = n % 2 == 1 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
    return (bench_spread){median, sorted[0], sorted[n - 1]};
}

double bench_tokens(const bench_case *c) {
    return (double)c->tokens * c->sequences;
}

double bench_gb(const bench_figures *f, const bench_case *c) {
    const tfm_cost *k = &f->cost;
    /* Row i of a sequence reads depth + i + 1 positions of the cache; a prompt's rows share
     * them. */
    if (c->is_prompt)
        return 1e-9 * ((double)(k->block_bytes + k->head_bytes) +
                       (double)k->kv_bytes * ((double)c->depth + c->tokens));
    const double positions = c->tokens * (c->depth + 0.5 * (c->tokens + 1.0));
    return 1e-9 * ((double)(k->block_bytes + k->head_bytes) * c->tokens +
                   (double)k->kv_bytes * positions * c->sequences);
}

double bench_gop(const bench_figures *f, const bench_case *c) {
    const tfm_cost *k = &f->cost;
    const double heads = c->is_prompt ? c->sequences : bench_tokens(c);
    return 2e-9 * ((double)k->block_weights * bench_tokens(c) + (double)k->head_weights * heads);
}

bench_spread bench_rate(const bench_figures *f, const bench_case *c) {
    double x[MAX_REPEAT];
    for (uint32_t i = 0; i < f->repeat; i++) x[i] = bench_tokens(c) / c->seconds[i];
    return bench_spread_of(x, f->repeat);
}

static double limit_at(const bench_figures *f, uint32_t i, size_t which) {
    const tfm_limit_figures *l = &f->limit[i];
    return which == 0 ? l->read : which == 1 ? l->f32 : which == 2 ? l->bf16 : l->int8;
}

/* Each repetition against the limits before and behind it. */
static bench_spread share(const bench_figures *f, const bench_case *c, double amount,
                          size_t which) {
    double x[MAX_REPEAT];
    for (uint32_t i = 0; i < f->repeat; i++) {
        const double limit = 0.5 * (limit_at(f, i, which) + limit_at(f, i + 1, which));
        x[i] = amount / c->seconds[i] / limit;
    }
    return bench_spread_of(x, f->repeat);
}

bench_spread bench_share_read(const bench_figures *f, const bench_case *c) {
    return share(f, c, bench_gb(f, c), 0);
}

bench_spread bench_share_ops(const bench_figures *f, const bench_case *c) {
    return share(f, c, bench_gop(f, c), bench_limit_of_type(f->cost.type));
}

bench_spread bench_limit(const bench_figures *f, size_t which) {
    double x[MAX_REPEAT + 1];
    for (uint32_t i = 0; i <= f->repeat; i++) x[i] = limit_at(f, i, which);
    return bench_spread_of(x, (size_t)f->repeat + 1);
}

size_t bench_limit_of_type(tfm_dtype t) {
    return t == TFM_F32 || t == TFM_F16 ? 1 : t == TFM_BF16 ? 2 : 3;
}

double bench_price_of_million(const bench_figures *f, const bench_case *c) {
    return f->price / 3600.0 / bench_rate(f, c).median * 1e6;
}

void bench_case_name(const bench_case *c, char *out, size_t n) {
    if (c->is_prompt)
        snprintf(out, n, c->depth ? "prompt %u at %u" : "prompt %u", c->tokens, c->depth);
    else if (c->sequences == 1)
        snprintf(out, n, "generate %u at %u", c->tokens, c->depth);
    else
        snprintf(out, n, "generate %u x %u at %u", c->sequences, c->tokens, c->depth);
}
