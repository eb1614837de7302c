/* select.c - tfm-select: a part of a stream, by group, name, type and position, as a valid stream.
 *
 * GROUP-END and ERROR records are bound to their group alone: without its ERROR a failed group
 * would look like a good one. A tensor that reaches out of the positions is cut by rows. */
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { OPT_NAME = TFM_LONG, OPT_POS, OPT_TYPE };
enum { MAX_RANGES = 4096, MAX_NAMES = 256 }; /* of one command line */

static const tfm_option options[] = {
    {'g', "groups", "LIST", "only these groups: 0-3,7,9- (default: all)"},
    {OPT_NAME, "name", "GLOB", "only tensors and texts of this name; may be given again"},
    {OPT_POS, "pos", "A-B", "only these positions of tensors, both included"},
    {OPT_TYPE, "type", "LIST", "of tensor, text, meta, fork, ancillary only these"},
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-select", "[options] [FILE...]",
                                    "Pass on a part of a tensor stream.", options};

typedef struct range {
    uint32_t from, to; /* both included */
} range;

typedef struct selection {
    tfm_cli cli;
    range group[MAX_RANGES];
    size_t n_groups; /* 0: all */
    const char *name[MAX_NAMES];
    size_t n_names; /* 0: all */
    range pos;
    bool has_pos;
    unsigned types; /* bit (1 << tfm_rec_type), bit 0 for ancillary; 0: all */
} selection;

/* ---- options ---- */

/* A number at *s, at most UINT32_MAX - 1 (a group or a position). */
static bool take_number(const char **s, uint32_t *out) {
    uint64_t v = 0;
    const char *p = *s;
    for (; *p >= '0' && *p <= '9'; p++)
        if ((v = v * 10 + (uint64_t)(*p - '0')) >= UINT32_MAX) return false;
    if (p == *s) return false;
    *s = p;
    *out = (uint32_t)v;
    return true;
}

/* "A", "A-B", "A-" at *s. */
static bool take_range(const char **s, range *out) {
    if (!take_number(s, &out->from)) return false;
    out->to = out->from;
    if (**s != '-') return true;
    ++*s;
    if (**s == '\0' || **s == ',')
        out->to = UINT32_MAX;
    else if (!take_number(s, &out->to))
        return false;
    return out->from <= out->to;
}

static void parse_groups(selection *sel) {
    const char *s = sel->cli.arg;
    do {
        if (sel->n_groups == MAX_RANGES)
            tfm_cli_usage(&sel->cli, "%s: more than %d ranges", sel->cli.option, MAX_RANGES);
        if (!take_range(&s, &sel->group[sel->n_groups++]) || (*s != ',' && *s != '\0'))
            tfm_cli_usage(&sel->cli, "%s %s: must be numbers and ranges, as in 0-3,7,9-",
                          sel->cli.option, sel->cli.arg);
    } while (*s++ != '\0');
}

static void parse_types(selection *sel) {
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"tensor", 1u << TFM_REC_TENSOR},
                 {"text", 1u << TFM_REC_TEXT},
                 {"meta", 1u << TFM_REC_META},
                 {"fork", 1u << TFM_REC_FORK},
                 {"ancillary", 1u}};
    const char *s = sel->cli.arg;
    for (;;) {
        size_t n = strcspn(s, ","), i = 0, count = sizeof known / sizeof *known;
        while (i < count && (strlen(known[i].name) != n || memcmp(known[i].name, s, n) != 0)) i++;
        if (i == count)
            tfm_cli_usage(&sel->cli, "%s: '%.*s' is none of tensor, text, meta, fork, ancillary",
                          sel->cli.option, (int)n, s);
        else
            sel->types |= known[i].bit;
        if (s[n] == '\0') return;
        s += n + 1;
    }
}

static void take_option(selection *sel, int c) {
    const char *s = sel->cli.arg;
    switch (c) {
    case 'g': parse_groups(sel); break;
    case OPT_NAME:
        if (sel->n_names == MAX_NAMES)
            tfm_cli_usage(&sel->cli, "%s: more than %d times", sel->cli.option, MAX_NAMES);
        sel->name[sel->n_names++] = s;
        break;
    case OPT_POS:
        if (!take_range(&s, &sel->pos) || *s != '\0')
            tfm_cli_usage(&sel->cli, "%s %s: must be A, A-B or A-", sel->cli.option, sel->cli.arg);
        sel->has_pos = true;
        break;
    case OPT_TYPE: parse_types(sel); break;
    default: break;
    }
}

/* ---- the choice ---- */

static bool has_group(const selection *sel, uint32_t group) {
    if (sel->n_groups == 0) return true;
    for (size_t i = 0; i < sel->n_groups; i++)
        if (group >= sel->group[i].from && group <= sel->group[i].to) return true;
    return false;
}

static bool has_name(const selection *sel, const char *name) {
    if (sel->n_names == 0) return true;
    for (size_t i = 0; i < sel->n_names; i++)
        if (fnmatch(sel->name[i], name, 0) == 0) return true;
    return false;
}

static bool is_chosen(const selection *sel, const tfm_record *rec) {
    bool is_ancillary = (rec->type & TFM_REC_ANCILLARY) != 0;
    if (rec->type == TFM_REC_GROUP_END || rec->type == TFM_REC_ERROR)
        return has_group(sel, rec->group);
    if (rec->type == TFM_REC_INDEX) return false; /* it lists offsets that no longer hold */
    if (sel->types && !(sel->types & (is_ancillary ? 1u : 1u << rec->type))) return false;
    /* META is about the stream; what the fields of an ancillary record mean nobody knows. */
    if (is_ancillary || rec->type == TFM_REC_META) return true;
    if (!has_group(sel, rec->group)) return false;
    return rec->type == TFM_REC_FORK || has_name(sel, rec->name);
}

/* Writes the rows of the tensor that lie in the positions asked for, if any. */
static tfm_status copy_rows(const selection *sel, tfm_reader *r, tfm_writer *w, tfm_record *rec,
                            tfm_error *err) {
    const void *payload;
    uint32_t rows = rec->rank > 0 ? rec->dims[0] : 1;
    uint64_t from = rec->position, to = from + rows; /* to: excluded */
    uint64_t first = from > sel->pos.from ? from : sel->pos.from;
    uint64_t end = to < (uint64_t)sel->pos.to + 1 ? to : (uint64_t)sel->pos.to + 1;
    if (first >= end) return TFM_OK;
    if (first == from && end == to) return tfm_writer_copy(w, rec, r, err);
    if (rec->rank == 1 && tfm_dtype_block((tfm_dtype)rec->dtype) > 1)
        return tfm_fail(err, TFM_UNSUPPORTED, "--pos: record %u '%s' has no whole rows to cut",
                        rec->seq, rec->name);
    TFM_TRY(tfm_reader_payload(r, &payload, err));
    size_t row = (size_t)(rec->bytes / rows);
    const unsigned char *p = (const unsigned char *)payload + (size_t)(first - from) * row;
    rec->dims[0] = (uint32_t)(end - first);
    rec->position = (uint32_t)first;
    if (end < to) rec->flags &= (uint16_t)~TFM_FLAG_LAST; /* the last row of the turn is gone */
    return tfm_writer_record(w, rec, p, err);
}

static tfm_status copy_records(selection *sel, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    tfm_record rec;
    for (;;) {
        TFM_TRY(tfm_reader_next(r, &rec, err));
        if (!is_chosen(sel, &rec)) continue;
        if (rec.type == TFM_REC_ERROR) tfm_cli_record_failed(&sel->cli);
        bool may_cut = rec.type == TFM_REC_TENSOR && sel->has_pos;
        TFM_TRY(may_cut ? copy_rows(sel, r, w, &rec, err) : tfm_writer_copy(w, &rec, r, err));
    }
}

static tfm_status copy_streams(selection *sel, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    tfm_status st;
    while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
        tfm_header *h;
        TFM_TRY(tfm_header_copy(&h, tfm_reader_header(r), err));
        st = tfm_cli_provenance(&sel->cli, h, err);
        if (st == TFM_OK) st = tfm_writer_header(w, h, err);
        tfm_header_free(h);
        if (st == TFM_OK) st = copy_records(sel, r, w, err);
        if (st != TFM_DONE) return st;
        TFM_TRY(tfm_writer_end(w, err));
    }
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status select_file(selection *sel, const char *path, tfm_writer *w, tfm_error *err) {
    tfm_reader *r;
    const char *name;
    int fd;
    TFM_TRY(tfm_cli_open_input(&sel->cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) st = copy_streams(sel, r, w, err);
    tfm_reader_free(r);
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

int main(int argc, char **argv) {
    static selection sel; /* its ranges are too much for a stack frame */
    tfm_error err = {0};
    tfm_writer *w = NULL;
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&sel.cli, &program, argc, argv);
    for (int c; (c = tfm_cli_next(&sel.cli)) != 0;) take_option(&sel, c);
    int n = tfm_cli_operands(&sel.cli, &files);
    tfm_status st = tfm_cli_open_output(&sel.cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, name, &err);
    if (st == TFM_OK && n == 0) st = select_file(&sel, NULL, w, &err);
    for (int i = 0; i < n && st == TFM_OK; i++) st = select_file(&sel, files[i], w, &err);
    int code = tfm_cli_finish(&sel.cli, st, w, &err);
    tfm_writer_free(w);
    return code;
}
