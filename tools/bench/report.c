/* report.c - the figures as a table for people and as JSON lines for programs. */
#include <math.h>
#include <string.h>

#include "bench.h"

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

/* ---- table ---- */

static void percent(FILE *out, bool known, double share) {
    if (known)
        fprintf(out, " %6.1f %%", 100 * share);
    else
        fprintf(out, " %8s", "-");
}

static void table_case(FILE *out, const bench_figures *f, const bench_case *c) {
    const bench_spread rate = bench_rate(f, c);
    const double per_token = bench_tokens(c) / rate.median; /* seconds of the median */
    char name[64];

    bench_case_name(c, name, sizeof name);
    fprintf(out, "%-26s %10.2f %10.2f %10.2f %8.2f %8.1f", name, rate.median, rate.lowest,
            rate.highest, bench_gb(f, c) / per_token, bench_gop(f, c) / per_token);
    percent(out, f->has_limits, f->has_limits ? bench_share_read(f, c).median : 0);
    percent(out, f->has_limits, f->has_limits ? bench_share_ops(f, c).median : 0);
    if (f->price > 0) fprintf(out, " %12.4f", bench_price_of_million(f, c));
    fputc('\n', out);
}

static void table_limits(FILE *out, const bench_figures *f) {
    fprintf(out, "limits (%s):", f->limit_set);
    for (size_t i = 0; i < 4; i++) {
        const bench_spread l = bench_limit(f, i);
        fprintf(out, "%s %s %.*f %s (%.*f to %.*f)", i ? "," : "", bench_limit_name[i], i ? 0 : 1,
                l.median, i ? "GOP/s" : "GB/s", i ? 0 : 1, l.lowest, i ? 0 : 1, l.highest);
    }
    fputc('\n', out);
}

void bench_table(FILE *out, const bench_figures *f) {
    const tfm_cost *k = &f->cost;
    char of_type[16];

    fprintf(out, "%s, %s, %u thread%s; %s, %u processor%s, load %.1f\n", base_name(f->model),
            f->numerics, k->threads, tfm_cli_plural(k->threads), f->processor, f->cores,
            tfm_cli_plural(f->cores), f->load);
    fprintf(out,
            "%s: %.1f million numbers in the blocks' matrices, %.1f in the head's; %.1f MB read a "
            "step, %.1f kB of cache a position\n\n",
            tfm_dtype_name(k->type), 1e-6 * (double)k->block_weights,
            1e-6 * (double)k->head_weights, 1e-6 * (double)(k->block_bytes + k->head_bytes),
            1e-3 * (double)k->kv_bytes);
    snprintf(of_type, sizeof of_type, "of %s", bench_limit_name[bench_limit_of_type(k->type)]);
    fprintf(out, "%-26s %10s %10s %10s %8s %8s %8s %8s", "", "tokens/s", "lowest", "highest",
            "GB/s", "GOP/s", "of read", of_type);
    if (f->price > 0) fprintf(out, " %12s", "a million");
    fputc('\n', out);
    for (size_t i = 0; i < f->n_cases; i++) table_case(out, f, &f->cases[i]);
    fputc('\n', out);
    if (f->has_limits) table_limits(out, f);
    if (f->has_start) {
        const bench_spread s = bench_spread_of(f->start, f->repeat);
        fprintf(out, "start-up: %.1f ms (%.1f to %.1f); ", 1e3 * s.median, 1e3 * s.lowest,
                1e3 * s.highest);
    }
    fprintf(out, "peak memory: %.1f MB; median of %u\n", 1e-6 * (double)f->peak_bytes, f->repeat);
}

/* ---- JSON lines ---- */

static void text(FILE *out, const char *key, const char *s) {
    fprintf(out, ",\"%s\":", key);
    tfm_cli_json_string(out, s, strlen(s));
}

/* DESIGN 8: %.9g, and what is not finite as a string. */
static void number(FILE *out, double x) {
    if (isfinite(x))
        fprintf(out, "%.9g", x);
    else
        fprintf(out, "\"%s\"", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
}

static void field(FILE *out, const char *key, double x) {
    fprintf(out, ",\"%s\":", key);
    number(out, x);
}

static void spread(FILE *out, const char *key, bench_spread s) {
    fprintf(out, ",\"%s\":{\"median\":", key);
    number(out, s.median);
    fputs(",\"lowest\":", out);
    number(out, s.lowest);
    fputs(",\"highest\":", out);
    number(out, s.highest);
    fputc('}', out);
}

static void json_case(FILE *out, const bench_figures *f, const bench_case *c) {
    const bench_spread rate = bench_rate(f, c);
    const double seconds = bench_tokens(c) / rate.median;

    fprintf(out, "{\"type\":\"case\",\"case\":\"%s\",\"tokens\":%u,\"sequences\":%u,\"depth\":%u",
            c->is_prompt ? "prompt" : "generate", c->tokens, c->sequences, c->depth);
    spread(out, "tokens_per_s", rate);
    fputs(",\"seconds\":[", out);
    for (uint32_t i = 0; i < f->repeat; i++) {
        if (i) fputc(',', out);
        number(out, c->seconds[i]);
    }
    fputc(']', out);
    field(out, "gb_per_s", bench_gb(f, c) / seconds);
    field(out, "gop_per_s", bench_gop(f, c) / seconds);
    if (f->has_limits) {
        spread(out, "share_of_read", bench_share_read(f, c));
        spread(out, "share_of_compute", bench_share_ops(f, c));
    }
    if (f->price > 0) field(out, "price_of_million", bench_price_of_million(f, c));
    fputs("}\n", out);
}

static void json_limits(FILE *out, const bench_figures *f) {
    for (uint32_t i = 0; i <= f->repeat; i++) {
        const tfm_limit_figures *l = &f->limit[i];
        fprintf(out, "{\"type\":\"limits\",\"before\":%u,\"instruction_set\":\"%s\"", i,
                f->limit_set);
        field(out, "read_gb_per_s", l->read);
        field(out, "f32_gop_per_s", l->f32);
        field(out, "bf16_gop_per_s", l->bf16);
        field(out, "int8_gop_per_s", l->int8);
        fputs("}\n", out);
    }
}

void bench_json(FILE *out, const bench_figures *f) {
    const tfm_cost *k = &f->cost;

    fprintf(out, "{\"type\":\"machine\",\"version\":\"%s\"", TFM_VERSION);
    text(out, "processor", f->processor);
    fprintf(out, ",\"processors\":%u,\"threads\":%u", f->cores, k->threads);
    field(out, "load", f->load);
    text(out, "numerics", f->numerics);
    fputs("}\n{\"type\":\"model\"", out);
    text(out, "model", base_name(f->model));
    fprintf(out, ",\"weights\":\"%s\"", tfm_dtype_name(k->type));
    field(out, "block_weights", (double)k->block_weights);
    field(out, "head_weights", (double)k->head_weights);
    field(out, "step_bytes", (double)(k->block_bytes + k->head_bytes));
    field(out, "kv_bytes", (double)k->kv_bytes);
    fprintf(out, ",\"compute_limit\":\"%s\"}\n", bench_limit_name[bench_limit_of_type(k->type)]);
    if (f->has_limits) json_limits(out, f);
    for (size_t i = 0; i < f->n_cases; i++) json_case(out, f, &f->cases[i]);
    fputs("{\"type\":\"process\"", out);
    if (f->has_start) spread(out, "start_up_s", bench_spread_of(f->start, f->repeat));
    field(out, "peak_bytes", (double)f->peak_bytes);
    fprintf(out, ",\"repetitions\":%u}\n", f->repeat);
}
