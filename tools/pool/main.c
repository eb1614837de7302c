/* main.c - tfm-pool: hidden in, one vector a group out.
 *
 * Owns the options and the records; the sums are the library's. The vector of a group is written at
 * its GROUP-END, or at END where there was none, in ascending order of groups. Records named
 * `tokens` (tfm-embed passes them on) end here, others go on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "tfm/group_map.h"
#include "tfm/pool.h"

enum { OPT_CLS = TFM_LONG, OPT_LAST, OPT_NORMALISE };

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    {OPT_CLS, "cls", NULL, "the first row, instead of the mean of all"},
    {OPT_LAST, "last", NULL, "the last row, instead of the mean of all"},
    {OPT_NORMALISE, "normalise", NULL, "divide each vector by its Euclidean norm"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-pool", "[options] [FILE...]",
                                    "one vector of each group: hidden to embedding", options};

/* A group without GROUP-END so far. */
typedef struct open_group {
    uint32_t number;
    bool has_failed;
} open_group;

typedef struct pool_run {
    tfm_cli *cli;
    tfm_pool_options opt;
    tfm_reader *r;
    tfm_writer *w;
    tfm_pooler *pooler;
    tfm_group_map *open; /* of open_group */
} pool_run;

static tfm_status open_get(pool_run *p, uint32_t group, open_group **out, tfm_error *err) {
    void **slot;

    TFM_TRY(tfm_group_map_slot(p->open, group, &slot, err));
    if (!*slot) {
        open_group *o = calloc(1, sizeof *o);
        if (!o) {
            tfm_group_map_remove(p->open, group);
            return tfm_fail(err, TFM_NOMEM, "out of memory");
        }
        o->number = group;
        *slot = o;
    }
    *out = *slot;
    return TFM_OK;
}

static tfm_status fail_group(pool_run *p, open_group *o, const char *why, tfm_error *err) {
    o->has_failed = true;
    tfm_pooler_drop(p->pooler, o->number);
    tfm_cli_group_failed(p->cli, o->number, why);
    return tfm_writer_error(p->w, o->number, program.name, why, err);
}

static tfm_status take_hidden(pool_run *p, const tfm_record *rec, const void *payload,
                              tfm_error *err) {
    tfm_error why = {0};
    open_group *o;

    if (rec->dtype != TFM_F32 || rec->rank != 2 || rec->dims[1] == 0)
        return tfm_fail(err, TFM_FORMAT,
                        "record %u: hidden must be f32 of shape [n, width], not %s of rank %u",
                        rec->seq, tfm_dtype_name((tfm_dtype)rec->dtype), rec->rank);
    TFM_TRY(open_get(p, rec->group, &o, err));
    if (o->has_failed) return TFM_OK;
    tfm_status st = tfm_pooler_take(p->pooler, rec->group, rec->position, payload, rec->dims[0],
                                    rec->dims[1], &why);
    if (st == TFM_RECORD) return fail_group(p, o, why.message, err);
    return st == TFM_OK ? st : tfm_fail(err, st, "%s", why.message);
}

static tfm_status write_vector(pool_run *p, const float *vector, uint32_t width, uint32_t group,
                               tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_F32,
                      .rank = 1,
                      .group = group,
                      .dims = {width, 1, 1, 1},
                      .name = "embedding"};
    return tfm_writer_record(p->w, &rec, vector, err);
}

/* The vector of a group, or why there is none, and its end. */
static tfm_status end_group(pool_run *p, open_group *o, uint16_t flags, tfm_error *err) {
    tfm_record end = {
        .type = TFM_REC_GROUP_END, .flags = flags, .group = o->number, .dims = {1, 1, 1, 1}};
    tfm_error why = {0};
    const float *vector;
    uint32_t width, n_rows;

    if (!o->has_failed) {
        tfm_status st = tfm_pooler_end(p->pooler, o->number, &vector, &width, &n_rows, &why);
        if (st == TFM_RECORD)
            TFM_TRY(fail_group(p, o, why.message, err));
        else if (st != TFM_OK)
            return tfm_fail(err, st, "%s", why.message);
        else
            TFM_TRY(write_vector(p, vector, width, o->number, err));
        end.position = st == TFM_OK ? n_rows : 0;
    }
    end.status = o->has_failed ? TFM_END_ERROR : TFM_END_OPEN;
    tfm_group_map_remove(p->open, o->number);
    free(o);
    return tfm_writer_record(p->w, &end, NULL, err);
}

static tfm_status take(pool_run *p, const tfm_record *rec, const void *payload, tfm_error *err) {
    bool is_tensor = rec->type == TFM_REC_TENSOR;
    open_group *o;

    if (is_tensor && strcmp(rec->name, "tokens") == 0) return TFM_OK;
    if (is_tensor && strcmp(rec->name, "hidden") == 0) return take_hidden(p, rec, payload, err);
    if (rec->type == TFM_REC_FORK)
        return tfm_fail(
            err, TFM_UNSUPPORTED,
            "record %u: a FORK of a group cannot be pooled: give each text as a group of "
            "its own",
            rec->seq);
    if (rec->type == TFM_REC_GROUP_END) {
        TFM_TRY(open_get(p, rec->group, &o, err));
        return end_group(p, o, rec->flags, err);
    }
    if (rec->type == TFM_REC_ERROR) {
        TFM_TRY(open_get(p, rec->group, &o, err));
        o->has_failed = true;
        tfm_pooler_drop(p->pooler, rec->group);
        tfm_cli_record_failed(p->cli);
    }
    return tfm_writer_record(p->w, rec, payload, err);
}

static int ascending(const void *a, const void *b) {
    const open_group *x = *(open_group *const *)a, *y = *(open_group *const *)b;
    return (x->number > y->number) - (x->number < y->number);
}

/* At END: the groups that had no GROUP-END. */
static tfm_status end_rest(pool_run *p, tfm_error *err) {
    size_t n = tfm_group_map_count(p->open), at = 0, i = 0;
    open_group **rest = calloc(n + 1, sizeof(open_group *));
    tfm_status st = TFM_OK;

    if (!rest) return tfm_fail(err, TFM_NOMEM, "out of memory");
    for (open_group *o; (o = tfm_group_map_next(p->open, &at)) != NULL;) rest[i++] = o;
    qsort(rest, n, sizeof(open_group *), ascending);
    for (i = 0; st == TFM_OK && i < n; i++) st = end_group(p, rest[i], 0, err);
    free(rest);
    return st;
}

static tfm_status write_header(pool_run *p, tfm_error *err) {
    const tfm_header *in = tfm_reader_header(p->r);
    tfm_header *h;

    TFM_TRY(tfm_header_expect(in, "hidden", err));
    TFM_TRY(tfm_header_copy(&h, in, err));
    tfm_status st = tfm_header_set_kind(h, "embedding", err);
    if (st == TFM_OK) st = tfm_cli_provenance(p->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(p->w, h, err);
    tfm_header_free(h);
    return st;
}

static tfm_status run_records(pool_run *p, tfm_error *err) {
    const void *payload;
    tfm_record rec;
    tfm_status st;

    while ((st = tfm_reader_next(p->r, &rec, err)) == TFM_OK) {
        TFM_TRY(tfm_reader_payload(p->r, &payload, err));
        TFM_TRY(take(p, &rec, payload, err));
        if (rec.flags & TFM_FLAG_FLUSH) TFM_TRY(tfm_writer_flush(p->w, err));
    }
    if (st != TFM_DONE) return st;
    TFM_TRY(end_rest(p, err));
    return tfm_writer_end(p->w, err);
}

static tfm_status run_stream(void *ctx, tfm_reader *r, tfm_error *err) {
    pool_run *p = ctx;
    size_t at = 0;

    p->r = r;
    TFM_TRY(write_header(p, err));
    tfm_status st = tfm_group_map_new(&p->open, err);
    if (st == TFM_OK) st = tfm_pooler_new(&p->pooler, &p->opt, err);
    if (st == TFM_OK) st = run_records(p, err);
    for (open_group *o; p->open && (o = tfm_group_map_next(p->open, &at)) != NULL;) free(o);
    tfm_group_map_free(p->open);
    tfm_pooler_free(p->pooler);
    p->open = NULL;
    p->pooler = NULL;
    return st;
}

static void set_how(tfm_cli *c, pool_run *p, tfm_pool_how how) {
    if (p->opt.how != TFM_POOL_MEAN && p->opt.how != how)
        tfm_cli_usage(c, "%s: only one of --cls and --last can be asked for", c->option);
    p->opt.how = how;
}

int main(int argc, char **argv) {
    tfm_cli cli;
    pool_run p = {.cli = &cli, .opt = {.how = TFM_POOL_MEAN}};
    tfm_error err = {0};
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int opt; (opt = tfm_cli_next(&cli)) != 0;) {
        if (opt == OPT_CLS) set_how(&cli, &p, TFM_POOL_CLS);
        if (opt == OPT_LAST) set_how(&cli, &p, TFM_POOL_LAST);
        if (opt == OPT_NORMALISE) p.opt.normalise = true;
    }
    int n_files = tfm_cli_operands(&cli, &files);
    tfm_status st = tfm_cli_open_output(&cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&p.w, fd, name, &err);
    if (st == TFM_OK) st = tfm_cli_streams(&cli, files, n_files, NULL, run_stream, &p, &err);
    int status = tfm_cli_finish(&cli, st, p.w, &err);
    tfm_writer_free(p.w);
    return status;
}
