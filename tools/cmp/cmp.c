/* cmp.c - tfm-cmp: are two streams the same? Goes through both side by side.
 *
 * "The same" is what the toolkit promises of composed and fused pipelines: names, groups,
 * positions, payloads and their order; not the header's provenance, not the flags, which tell of
 * batching. The differences are the program's data and go to stdout. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cmp.h"

enum { OPT_ABS = TFM_LONG, OPT_REL, OPT_STATS, MAX_REPORTS = 10 };
enum { PIECE_BYTES = CMP_PIECE * 8 }; /* of the widest dtype; block types need less */

static const tfm_option options[] = {
    {OPT_ABS, "abs", "X", "values may differ by X (default: 0)"},
    {OPT_REL, "rel", "X", "values may differ by X times the larger of the two (default: 0)"},
    {OPT_STATS, "stats", NULL, "print NMSE, and of logits KL divergence and top-1 agreement"},
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-cmp", "[options] A B",
                                    "Compare two tensor streams record by record.", options};

typedef struct side {
    tfm_reader *r;
    const unsigned char *chunk; /* left of what the reader gave */
    size_t n_chunk;
    unsigned char piece[PIECE_BYTES];
    const char *name;
    int fd;
    tfm_record rec;
} side;

typedef struct comparison {
    tfm_cli cli;
    FILE *out;
    side a, b;
    cmp_tolerance tolerance;
    cmp_stats *stats; /* NULL without --stats */
    uint64_t n_records;
    unsigned n_reports;
    bool any_values; /* values differ, which --stats does not report one by one */
} comparison;

/* Notes a difference; true if it is to be printed. */
static bool report(comparison *c) {
    tfm_cli_answer_no(&c->cli);
    return c->n_reports++ < MAX_REPORTS && !c->cli.quiet;
}

/* As report, and begins the line with the present record of A. */
static bool report_record(comparison *c) {
    const tfm_record *rec = &c->a.rec;
    if (!report(c)) return false;
    fprintf(c->out, "record %" PRIu32 " '%s' of group %" PRIu32 " at %" PRIu32 ": ", rec->seq,
            rec->name, rec->group, rec->position);
    return true;
}

/* One field of the two records. */
static bool same_number(comparison *c, const char *what, uint64_t a, uint64_t b) {
    if (a != b && report_record(c)) fprintf(c->out, "%s %" PRIu64 " and %" PRIu64 "\n", what, a, b);
    return a == b;
}

static bool same_word(comparison *c, const char *what, const char *a, const char *b) {
    bool same = strcmp(a, b) == 0;
    if (!same && report_record(c)) fprintf(c->out, "%s '%s' and '%s'\n", what, a, b);
    return same;
}

static bool same_fields(comparison *c) {
    const tfm_record *a = &c->a.rec, *b = &c->b.rec;
    bool same = same_number(c, "type", a->type, b->type) &&
                same_word(c, "name", a->name, b->name) &&
                same_number(c, "group", a->group, b->group) &&
                same_number(c, "position", a->position, b->position) &&
                same_word(c, "status", tfm_end_name(a->status), tfm_end_name(b->status)) &&
                same_word(c, "dtype", tfm_dtype_name((tfm_dtype)a->dtype),
                          tfm_dtype_name((tfm_dtype)b->dtype)) &&
                same_number(c, "rank", a->rank, b->rank);
    for (int i = 0; i < TFM_MAX_RANK && same; i++)
        same = same_number(c, "dimension", a->dims[i], b->dims[i]);
    return same;
}

/* The next n bytes of the side's payload, into its piece. */
static tfm_status fill(side *s, size_t n, tfm_error *err) {
    for (size_t have = 0, k; have < n; have += k) {
        if (s->n_chunk == 0) {
            const void *p;
            TFM_TRY(tfm_reader_chunk(s->r, &p, &s->n_chunk, err));
            s->chunk = p;
        }
        k = s->n_chunk < n - have ? s->n_chunk : n - have;
        memcpy(s->piece + have, s->chunk, k);
        s->chunk += k;
        s->n_chunk -= k;
    }
    return TFM_OK;
}

/* Bytes that are no tensor. */
static tfm_status compare_bytes(comparison *c, tfm_error *err) {
    bool same = true;
    for (uint64_t left = c->a.rec.bytes; left > 0;) {
        size_t n = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        TFM_TRY(fill(&c->a, n, err));
        TFM_TRY(fill(&c->b, n, err));
        same = same && memcmp(c->a.piece, c->b.piece, n) == 0;
        left -= n;
    }
    if (!same && report_record(c)) fprintf(c->out, "the payloads differ\n");
    return TFM_OK;
}

static tfm_status compare_values(comparison *c, cmp_result *d, tfm_error *err) {
    static double a[CMP_PIECE], b[CMP_PIECE];
    const tfm_dtype t = (tfm_dtype)c->a.rec.dtype;
    const size_t most = CMP_PIECE / tfm_dtype_block(t) * tfm_dtype_block_bytes(t);
    *d = (cmp_result){0};
    for (uint64_t left = c->a.rec.bytes; left > 0;) {
        size_t bytes = left < most ? (size_t)left : most;
        size_t n = bytes / tfm_dtype_block_bytes(t) * tfm_dtype_block(t);
        TFM_TRY(fill(&c->a, bytes, err));
        TFM_TRY(fill(&c->b, bytes, err));
        TFM_TRY(cmp_values(t, c->a.piece, c->b.piece, n, &c->tolerance, d, a, b, err));
        if (c->stats) cmp_stats_add(c->stats, a, b, n);
        left -= bytes;
    }
    cmp_values_end(t, &c->tolerance, d);
    return TFM_OK;
}

static bool is_logits(const comparison *c) {
    return strcmp(c->a.rec.name, "logits") == 0 ||
           strcmp(tfm_header_kind(tfm_reader_header(c->a.r)), "logits") == 0;
}

/* Compares the payloads of two records whose fields are the same. */
static tfm_status compare_payloads(comparison *c, tfm_error *err) {
    cmp_result d;
    c->a.n_chunk = c->b.n_chunk = 0;
    if (c->a.rec.type != TFM_REC_TENSOR) return compare_bytes(c, err);
    if (c->stats) TFM_TRY(cmp_stats_begin(c->stats, &c->a.rec, is_logits(c), err));
    TFM_TRY(compare_values(c, &d, err));
    if (d.n_different == 0) return TFM_OK;
    if (c->stats) { /* the table says how far they are apart */
        tfm_cli_answer_no(&c->cli);
        c->any_values = true;
        return TFM_OK;
    }
    if (!report_record(c)) return TFM_OK;
    if (d.max_abs == 0 && d.n_nan == 0)
        fprintf(c->out, "the values are equal, their bits are not\n");
    else
        fprintf(c->out,
                "%" PRIu64 " of %" PRIu64 " values differ: max abs %.9g, max rel %.9g, first at "
                "%" PRIu64 ": %.9g and %.9g\n",
                d.n_different, d.n, d.max_abs, d.max_rel, d.first, d.first_a, d.first_b);
    return TFM_OK;
}

/* What both sides came to: the failure of one, TFM_OK, or TFM_DONE when both ended. If only one
 * ended that is a difference, and TFM_DONE. */
static tfm_status both(comparison *c, tfm_status a, tfm_status b, const char *what) {
    if (a != TFM_OK && a != TFM_DONE) return a;
    if (b != TFM_OK && b != TFM_DONE) return b;
    if (a != b && report(c))
        fprintf(c->out, "%s has no more %s, %s has\n", a == TFM_DONE ? c->a.name : c->b.name, what,
                a == TFM_DONE ? c->b.name : c->a.name);
    return a == b ? a : TFM_DONE;
}

/* The records of the present streams; *go_on = did both come to their END in step? */
static tfm_status compare_records(comparison *c, bool *go_on, tfm_error *err) {
    *go_on = false;
    for (;;) {
        tfm_status a = tfm_reader_next(c->a.r, &c->a.rec, err);
        if (a != TFM_OK && a != TFM_DONE) return a;
        tfm_status b = tfm_reader_next(c->b.r, &c->b.rec, err);
        tfm_status st = both(c, a, b, "records");
        if (st != TFM_OK) {
            *go_on = a == b;
            return st;
        }
        c->n_records++;
        if (!same_fields(c)) return TFM_DONE;
        TFM_TRY(compare_payloads(c, err));
        if (c->n_reports >= MAX_REPORTS) {
            if (!c->cli.quiet) fprintf(c->out, "stopped after %d differences\n", MAX_REPORTS);
            return TFM_DONE;
        }
    }
}

static tfm_status compare(comparison *c, tfm_error *err) {
    bool go_on = true;
    while (go_on) {
        tfm_status a = tfm_reader_stream(c->a.r, err);
        if (a != TFM_OK && a != TFM_DONE) return a;
        tfm_status b = tfm_reader_stream(c->b.r, err);
        tfm_status st = both(c, a, b, "streams");
        if (st != TFM_OK) return st == TFM_DONE ? TFM_OK : st;
        const char *kind_a = tfm_header_kind(tfm_reader_header(c->a.r));
        const char *kind_b = tfm_header_kind(tfm_reader_header(c->b.r));
        if (strcmp(kind_a, kind_b) != 0) {
            if (report(c)) fprintf(c->out, "kind %s and %s\n", kind_a, kind_b);
            return TFM_OK;
        }
        st = compare_records(c, &go_on, err);
        if (st != TFM_DONE) return st;
    }
    return TFM_OK;
}

static tfm_status open_side(tfm_cli *cli, side *s, const char *path, tfm_error *err) {
    TFM_TRY(tfm_cli_open_input(cli, path, &s->fd, &s->name, err));
    return tfm_reader_new(&s->r, s->fd, s->name, err);
}

static void close_side(side *s) {
    tfm_reader_free(s->r);
    if (s->fd > STDERR_FILENO) close(s->fd);
}

int main(int argc, char **argv) {
    static comparison c; /* its pieces are too much for a stack frame */
    tfm_error err = {0};
    char **files;
    bool want_stats = false;

    tfm_cli_start(&c.cli, &program, argc, argv);
    for (int o; (o = tfm_cli_next(&c.cli)) != 0;) {
        if (o == OPT_ABS) c.tolerance.abs = tfm_cli_double(&c.cli, 0, 1e300);
        if (o == OPT_STATS) want_stats = true;
        if (o == OPT_REL) c.tolerance.rel = tfm_cli_double(&c.cli, 0, 1e300);
    }
    if (tfm_cli_operands(&c.cli, &files) != 2) tfm_cli_usage(&c.cli, "needs two files, A and B");
    if (strcmp(files[0], "-") == 0 && strcmp(files[1], "-") == 0)
        tfm_cli_usage(&c.cli, "only one of A and B can be stdin");
    tfm_status st = tfm_cli_open_text(&c.cli, &c.out, &err);
    if (st == TFM_OK && want_stats) st = cmp_stats_new(&c.stats, &err);
    if (st == TFM_OK) st = open_side(&c.cli, &c.a, files[0], &err);
    if (st == TFM_OK) st = open_side(&c.cli, &c.b, files[1], &err);
    if (st == TFM_OK) st = compare(&c, &err);
    if (st == TFM_OK && c.stats && !c.cli.quiet) cmp_stats_print(c.stats, c.out);
    if (st == TFM_OK && c.n_reports == 0 && !c.any_values)
        tfm_cli_say(&c.cli, "the same: %" PRIu64 " records", c.n_records);
    if (st == TFM_OK) st = tfm_cli_close_text(&c.cli, c.out, &err);
    cmp_stats_free(c.stats);
    close_side(&c.a);
    close_side(&c.b);
    return tfm_cli_finish(&c.cli, st, NULL, &err);
}
