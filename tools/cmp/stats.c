/* stats.c - how far B is from A, per tensor name and in total: all in double, in one pass.
 *
 *     NMSE   sum (a - b)^2 / sum a^2
 *     KL     the mean over rows of sum p_i (ln p_i - ln q_i), p = softmax(a), q = softmax(b);
 *            natural logarithm, so in nats
 *     top-1  the share of rows in which a and b have their maximum at the same index, the lower of
 *            equal ones
 *
 * A row of logits may be long, so it is not held. With m the maximum so far, Z = sum exp(a - m) and
 * D = sum exp(a - m) (a - b) are kept and scaled when m grows; KL = D / Z - ln sum exp a + ln sum
 * exp b. Pairs in which one is NaN are left out of NMSE, and a row that holds one out of KL and
 * top-1; they are counted. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmp.h"

enum { MAX_NAMES = 16384 };

typedef struct sums {
    char *name;
    uint64_t n_records, n, n_nan, n_rows, n_bad_rows, n_agree;
    double max_abs, error, power, kl; /* error: sum (a-b)^2; power: sum a^2; kl: over the rows */
} sums;

/* One softmax, as far as the row has come. */
typedef struct online {
    double max, z; /* z: sum exp(x - max) */
    uint64_t at;   /* index of max */
} online;

struct cmp_stats {
    sums *name; /* [n] */
    size_t n, cap, now;
    /* the present row of logits */
    bool is_logits, is_bad;
    uint64_t width, at;
    online a, b;
    double d; /* sum exp(a - a.max) (a - b) */
};

tfm_status cmp_stats_new(cmp_stats **out, tfm_error *err) {
    *out = calloc(1, sizeof **out);
    return *out ? TFM_OK : tfm_fail(err, TFM_NOMEM, "out of memory");
}

void cmp_stats_free(cmp_stats *s) {
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) free(s->name[i].name);
    free(s->name);
    free(s);
}

static void start_row(cmp_stats *s) {
    s->a = s->b = (online){.max = -INFINITY};
    s->d = 0;
    s->at = 0;
    s->is_bad = false;
}

static tfm_status new_name(cmp_stats *s, const char *name, tfm_error *err) {
    if (s->n == MAX_NAMES)
        return tfm_fail(err, TFM_LIMIT, "--stats: more than %d names: choose some by tfm-select",
                        MAX_NAMES);
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        void *p = reallocarray(s->name, cap, sizeof *s->name);
        if (!p) return tfm_fail(err, TFM_NOMEM, "out of memory");
        s->name = p;
        s->cap = cap;
    }
    s->name[s->n] = (sums){.name = strdup(name)};
    if (!s->name[s->n].name) return tfm_fail(err, TFM_NOMEM, "out of memory");
    s->n++;
    return TFM_OK;
}

tfm_status cmp_stats_begin(cmp_stats *s, const tfm_record *rec, bool is_logits, tfm_error *err) {
    /* Streams repeat their names in the same order, so the one after the last is tried first. */
    size_t tried = 0;
    for (s->now = s->n ? (s->now + 1) % s->n : 0; tried < s->n; tried++) {
        if (strcmp(s->name[s->now].name, rec->name) == 0) break;
        s->now = (s->now + 1) % s->n;
    }
    if (tried == s->n) {
        TFM_TRY(new_name(s, rec->name, err));
        s->now = s->n - 1;
    }
    s->name[s->now].n_records++;
    const tfm_dtype t = (tfm_dtype)rec->dtype;
    s->is_logits = is_logits && rec->rank > 0 && !tfm_dtype_is_integer(t); /* tokens pass by */
    s->width = s->is_logits ? rec->dims[rec->rank - 1] : 0;
    start_row(s);
    return TFM_OK;
}

/* Takes x into the softmax and returns its exp(x - max); *scale is what earlier terms must be
 * multiplied by. */
static double take(online *o, double x, uint64_t at, double *scale) {
    *scale = 1;
    if (x > o->max) {
        *scale = exp(o->max - x); /* 0 for the first number */
        o->z *= *scale;
        o->max = x;
        o->at = at;
    }
    double e = x == -INFINITY ? 0 : exp(x - o->max);
    o->z += e;
    return e;
}

static void end_row(cmp_stats *s, sums *t) {
    t->n_rows++;
    if (s->is_bad || !isfinite(s->a.max) || !isfinite(s->b.max)) {
        t->n_bad_rows++;
    } else {
        double kl = s->d / s->a.z - (s->a.max + log(s->a.z)) + (s->b.max + log(s->b.z));
        t->kl += kl > 0 ? kl : 0; /* rounding can leave a little below 0 */
        t->n_agree += s->a.at == s->b.at;
    }
    start_row(s);
}

static void add_logit(cmp_stats *s, sums *t, double a, double b) {
    double scale, ignored;
    if (isnan(a) || isnan(b)) s->is_bad = true;
    if (!s->is_bad) {
        double e = take(&s->a, a, s->at, &scale);
        take(&s->b, b, s->at, &ignored);
        s->d *= scale;
        if (e > 0) s->d += e * (a - b); /* a logit of minus infinity has no weight */
    }
    if (++s->at == s->width) end_row(s, t);
}

void cmp_stats_add(cmp_stats *s, const double *a, const double *b, size_t n) {
    sums *t = &s->name[s->now];
    t->n += n;
    for (size_t i = 0; i < n; i++) {
        double d = a[i] == b[i] ? 0 : a[i] - b[i];
        if (s->is_logits) add_logit(s, t, a[i], b[i]);
        if (isnan(d)) {
            t->n_nan++;
            continue;
        }
        if (fabs(d) > t->max_abs) t->max_abs = fabs(d);
        if (isfinite(a[i])) t->power += a[i] * a[i];
        t->error += d * d;
    }
}

/* x, or nothing where there was nothing to measure. */
static void put(FILE *out, bool is_there, double x) {
    if (is_there)
        fprintf(out, "\t%.9g", x);
    else
        fputc('\t', out);
}

static void print_line(FILE *out, const char *name, const sums *t) {
    uint64_t good = t->n_rows - t->n_bad_rows;
    fprintf(out, "%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64, name[0] ? name : "-", t->n_records, t->n,
            t->n_nan);
    put(out, t->n > t->n_nan, t->max_abs);
    /* 0 / 0 is no error at all. */
    put(out, t->n > t->n_nan, t->error == 0 ? 0 : t->error / t->power);
    if (t->n_rows > 0)
        fprintf(out, "\t%" PRIu64, t->n_rows);
    else
        fputc('\t', out);
    put(out, good > 0, t->kl / (double)good);
    put(out, good > 0, (double)t->n_agree / (double)good);
    fputc('\n', out);
}

void cmp_stats_print(const cmp_stats *s, FILE *out) {
    sums all = {0};
    fputs("name\trecords\tvalues\tnan\tmax_abs\tnmse\trows\tkl\ttop1\n", out);
    for (size_t i = 0; i < s->n; i++) {
        const sums *t = &s->name[i];
        print_line(out, t->name, t);
        all.n_records += t->n_records;
        all.n += t->n;
        all.n_nan += t->n_nan;
        all.n_rows += t->n_rows;
        all.n_bad_rows += t->n_bad_rows;
        all.n_agree += t->n_agree;
        if (t->max_abs > all.max_abs) all.max_abs = t->max_abs;
        all.error += t->error;
        all.power += t->power;
        all.kl += t->kl;
    }
    print_line(out, "total", &all);
}
