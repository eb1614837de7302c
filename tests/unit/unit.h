/* unit.h - the checks of a C unit test.
 *
 *     static void adds(void) { CHECK_INT(1 + 1, 2); }
 *
 *     int main(void) {
 *         UNIT_RUN(adds);                     // one line "ok - adds" or "not ok - adds"
 *         if (unit_asset("gpt2") == NULL) UNIT_SKIP("needs $TFM_ASSETS/gpt2");
 *         return unit_done();
 *     }
 *
 * A test program is a main() in tests/unit/test_X.c that exits 0 or 1. Checks outside UNIT_RUN
 * belong to one more test that has the program's name. A failed check prints "file:line: ..." and
 * the program goes on. A test that checks nothing and skips nothing is a failure: it proves
 * nothing. A skip is a failure under REQUIRE_ASSETS=1; that is the runner's business
 * (tests/run.sh), which counts the "ok", "not ok" and "ok ... # SKIP" lines. UNIT_SKIP only
 * reports: it does not return. Checks may be made from several threads at once.
 */
#ifndef TFM_TESTS_UNIT_H
#define TFM_TESTS_UNIT_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counts since the program began. */
static atomic_uint unit_checks, unit_failures, unit_skips;

/* After this many lines a test only counts its failures: a wrong kernel fails in every element. */
enum { UNIT_MAX_LINES = 50 };

static inline int unit_report(void) {
    return atomic_fetch_add(&unit_failures, 1) < UNIT_MAX_LINES;
}

static inline int unit_check(const char *file, int line, const char *text, int good) {
    atomic_fetch_add(&unit_checks, 1);
    if (!good && unit_report()) printf("%s:%d: CHECK(%s)\n", file, line, text);
    return good;
}

static inline int unit_check_int(const char *file, int line, const char *text, long long got,
                                 long long want) {
    atomic_fetch_add(&unit_checks, 1);
    if (got != want && unit_report())
        printf("%s:%d: %s is %lld, not %lld\n", file, line, text, got, want);
    return got == want;
}

static inline int unit_check_str(const char *file, int line, const char *text, const char *got,
                                 const char *want) {
    int good = (got == NULL || want == NULL) ? got == want : strcmp(got, want) == 0;
    atomic_fetch_add(&unit_checks, 1);
    if (!good && unit_report())
        printf("%s:%d: %s is %s%s%s, not %s%s%s\n", file, line, text, got ? "\"" : "",
               got ? got : "NULL", got ? "\"" : "", want ? "\"" : "", want ? want : "NULL",
               want ? "\"" : "");
    return good;
}

/* Each gives 1 if the check held, so that a test can stop before it would crash:
 * `if (!CHECK(p != NULL)) return;` */
#define CHECK(cond) unit_check(__FILE__, __LINE__, #cond, (cond) ? 1 : 0)
#define CHECK_INT(got, want)                                                                       \
    unit_check_int(__FILE__, __LINE__, #got, (long long)(got), (long long)(want))
#define CHECK_STR(got, want) unit_check_str(__FILE__, __LINE__, #got, (got), (want))

#define UNIT_SKIP(reason) unit_skip(__FILE__, __LINE__, (reason))
static inline void unit_skip(const char *file, int line, const char *reason) {
    const char *base = strrchr(file, '/');
    atomic_fetch_add(&unit_skips, 1);
    printf("ok - %s:%d # SKIP %s\n", base ? base + 1 : file, line, reason);
}

/* Runs one test function and prints its line. */
#define UNIT_RUN(fn) unit_run(#fn, (fn))
static unsigned unit_run_checks, unit_run_failures, unit_run_skips, unit_runs;
static inline void unit_run(const char *name, void (*fn)(void)) {
    unsigned checks = unit_checks, failures = unit_failures, skips = unit_skips;
    fn();
    checks = unit_checks - checks;
    failures = unit_failures - failures;
    skips = unit_skips - skips;
    unit_runs++;
    unit_run_checks += checks;
    unit_run_failures += failures;
    unit_run_skips += skips;
    if (checks == 0 && skips == 0) {
        printf("%s: checked nothing\n", name);
        atomic_fetch_add(&unit_failures, 1);
        unit_run_failures++;
        failures = 1;
    }
    if (failures)
        printf("not ok - %s: %u of %u checks failed\n", name, failures, checks);
    else if (checks)
        printf("ok - %s\n", name);
    fflush(stdout);
}

/* The exit status of main; prints the line of the checks that no UNIT_RUN covered. */
#define unit_done() unit_finish(__FILE__)
static inline int unit_finish(const char *file) {
    const char *base = strrchr(file, '/');
    unsigned checks = unit_checks - unit_run_checks;
    unsigned failures = unit_failures - unit_run_failures;
    unsigned skips = unit_skips - unit_run_skips;
    base = base ? base + 1 : file;
    if (checks == 0 && skips == 0 && unit_runs == 0) {
        printf("%s: checked nothing\n", base);
        failures = 1;
    }
    if (failures)
        printf("not ok - %s: %u of %u checks failed\n", base, failures, checks);
    else if (checks)
        printf("ok - %s\n", base);
    return failures || unit_failures ? 1 : 0;
}

/* "$TFM_ASSETS/path" in a static buffer if it can be read, else NULL (then UNIT_SKIP). */
static inline const char *unit_asset(const char *path) {
    static char full[4096];
    const char *dir = getenv("TFM_ASSETS");
    FILE *f;
    if (dir == NULL || *dir == '\0') return NULL;
    if (snprintf(full, sizeof full, "%s/%s", dir, path) >= (int)sizeof full) return NULL;
    f = fopen(full, "rb");
    if (f == NULL) return NULL;
    fclose(f);
    return full;
}

#endif
