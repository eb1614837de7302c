/* bench.h - tfm-bench inside: what is measured (measure.c), by whom else (others.c), how it is told
 * (report.c, svg.c).
 *
 *     options -> cases -> [limits] case case [limits] case case [limits] -> figures -> report
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/cli.h"
#include "tfm/bench.h"
#include "tfm/load.h"

/* Cases: a prompt, a generation for each of -b, both for each of --depth. */
enum { MAX_LIST = 16, MAX_CASES = 1 + MAX_LIST + 2 * MAX_LIST, MAX_REPEAT = 1000 };

typedef struct bench_options {
    uint32_t prompt, generate, context;            /* tokens; prompt, generate 0: not measured */
    uint32_t sequences[MAX_LIST], depth[MAX_LIST]; /* of generation; -b and --depth */
    size_t n_sequences, n_depth;
    uint32_t repeat;
    tfm_dtype kv_type;
    double price; /* of an hour; 0: not given */
    bool json, with_limits, with_start, once;
    const char *svg; /* or NULL */
} bench_options;

/* One thing measured: `tokens` rows of each of `sequences`, behind `depth` others. */
typedef struct bench_case {
    bool is_prompt; /* one batch of `tokens` rows; else `tokens` batches of one row a sequence */
    uint32_t tokens, sequences, depth;
    double seconds[MAX_REPEAT];
} bench_case;

typedef struct bench_spread {
    double median, lowest, highest;
} bench_spread;
bench_spread bench_spread_of(const double *x, size_t n);

/* Everything that was found out. */
typedef struct bench_figures {
    const char *model; /* the path as given */
    char numerics[128], processor[128];
    uint32_t cores;
    double load; /* processes that wanted to run in the minute before; negative: not known */
    tfm_cost cost;
    bench_case *cases; /* [n_cases] */
    size_t n_cases;
    uint32_t repeat;
    tfm_limit_figures limit[MAX_REPEAT + 1]; /* before repetition i, and behind the last */
    char limit_set[16];                      /* their instruction set */
    bool has_limits, has_start;
    tfm_dtype kv_type;        /* as asked for, or none */
    double start[MAX_REPEAT]; /* seconds of a whole process that computes one token */
    uint64_t peak_bytes;      /* of this process */
    double price;
} bench_figures;

/* Derived of one case and repetition. */
double bench_tokens(const bench_case *c);                                   /* of a repetition */
double bench_gb(const bench_figures *f, const bench_case *c);               /* read by it */
double bench_gop(const bench_figures *f, const bench_case *c);              /* computed by it */
bench_spread bench_rate(const bench_figures *f, const bench_case *c);       /* tokens/s */
bench_spread bench_share_read(const bench_figures *f, const bench_case *c); /* of the limit, 0-1 */
bench_spread bench_share_ops(const bench_figures *f, const bench_case *c);
bench_spread bench_limit(const bench_figures *f, size_t which); /* 0-3: read f32 bf16 int8 */
/* Which of the limits the arithmetic of the weights' type is measured by: 1-3, and its name. */
size_t bench_limit_of_type(tfm_dtype t);
extern const char *const bench_limit_name[4];
double bench_price_of_million(const bench_figures *f, const bench_case *c);
/* "prompt 512", "generate 32 x 128 at 1024" */
void bench_case_name(const bench_case *c, char *out, size_t n);

/* ---- measure.c ---- */

/* Cases of the options; *ctx: positions that they need. */
void bench_cases(const bench_options *o, bench_figures *f, uint32_t *ctx);
struct bench_prober;
/* Runs all cases `repeat` times, interleaved, limits between (prober may be NULL). */
tfm_status bench_measure(tfm_cli *c, bench_figures *f, tfm_engine *e, struct bench_prober *prober,
                         tfm_error *err) TFM_MUST_CHECK;
/* --once: one token behind one. */
tfm_status bench_once(tfm_engine *e, tfm_error *err) TFM_MUST_CHECK;

/* ---- others.c: what runs in processes of its own ---- */

/* A child that measures the limits when asked, so that its buffer is not counted as the model's
 * memory. To be started before any thread. */
tfm_status bench_prober_start(struct bench_prober **out, const char *device, unsigned threads,
                              tfm_error *err) TFM_MUST_CHECK;
tfm_status bench_prober_ask(struct bench_prober *p, tfm_limit_figures *out,
                            tfm_error *err) TFM_MUST_CHECK;
const char *bench_prober_set(const struct bench_prober *p);
void bench_prober_stop(struct bench_prober *p);
/* Seconds from the start to the end of `tfm-bench --once` of the same model, device, threads and
 * type of cache (kv_type none: the model's). */
tfm_status bench_start_up(const tfm_cli *c, tfm_dtype kv_type, double *seconds,
                          tfm_error *err) TFM_MUST_CHECK;
uint64_t bench_peak_bytes(void);
void bench_processor(char *out, size_t n);

/* ---- report.c, svg.c ---- */

void bench_table(FILE *out, const bench_figures *f);
void bench_json(FILE *out, const bench_figures *f);
void bench_svg(FILE *out, const bench_figures *f);

#endif
