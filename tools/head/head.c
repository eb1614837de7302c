/* head.c - tfm-head: the first groups of a stream, as a stream.
 *
 * Groups may interleave, so reading goes on until every group that was let through has ended; then
 * the program ends at once and the stage before it learns by SIGPIPE. */
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "tfm/group_map.h"

enum { OPT_RECORDS = TFM_LONG, DEFAULT_GROUPS = 10 /* as head(1) */ };

static const tfm_option options[] = {
    {'g', "groups", "N", "the first N groups (default: 10)"},
    {OPT_RECORDS, "records", "N", "the first N records instead, groups cut short are failed"},
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-head", "[options] [FILE...]",
                                    "Pass on the first groups of a tensor stream.", options};

typedef struct head {
    tfm_cli cli;
    uint64_t groups_left;  /* not met yet */
    uint64_t records_left; /* UINT64_MAX: no limit */
    tfm_group_map *open;   /* groups that were let through and have not ended; of `head` itself */
} head;

/* Is the record one of ours? */
static tfm_status admit(head *h, const tfm_record *rec, bool *ours, tfm_error *err) {
    *ours = true;
    if (h->records_left != UINT64_MAX || !tfm_record_has_group(rec)) return TFM_OK;
    if (!tfm_group_map_find(h->open, rec->group)) {
        void **slot;
        *ours = h->groups_left > 0;
        if (!*ours) return TFM_OK;
        TFM_TRY(tfm_group_map_slot(h->open, rec->group, &slot, err));
        *slot = h;
        h->groups_left--;
    }
    if (rec->type == TFM_REC_GROUP_END) tfm_group_map_remove(h->open, rec->group);
    return TFM_OK;
}

static bool is_enough(const head *h) {
    if (h->records_left != UINT64_MAX) return h->records_left == 0;
    return h->groups_left == 0 && tfm_group_map_count(h->open) == 0;
}

/* The present stream, up to what is asked; TFM_DONE when it came to its END. */
static tfm_status copy_records(head *h, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    tfm_record rec;
    bool ours;
    while (!is_enough(h)) {
        TFM_TRY(tfm_reader_next(r, &rec, err));
        TFM_TRY(admit(h, &rec, &ours, err));
        if (!ours) continue;
        if (rec.type == TFM_REC_ERROR) tfm_cli_record_failed(&h->cli);
        TFM_TRY(tfm_writer_copy(w, &rec, r, err));
        if (h->records_left != UINT64_MAX) h->records_left--;
    }
    return TFM_OK;
}

static tfm_status copy_streams(head *h, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    tfm_status st = TFM_OK;
    while (st == TFM_OK && (st = tfm_reader_stream(r, err)) == TFM_OK) {
        tfm_header *header;
        TFM_TRY(tfm_header_copy(&header, tfm_reader_header(r), err));
        st = tfm_cli_provenance(&h->cli, header, err);
        if (st == TFM_OK) st = tfm_writer_header(w, header, err);
        tfm_header_free(header);
        tfm_group_map_free(h->open);
        h->open = NULL;
        if (st == TFM_OK) st = tfm_group_map_new(&h->open, err);
        if (st == TFM_OK) st = copy_records(h, r, w, err);
        if (st != TFM_OK && st != TFM_DONE) return st;
        size_t cut = 0;
        if (h->records_left == 0)
            TFM_TRY(tfm_writer_fail_groups(w, program.name, "cut by --records", &cut, err));
        if (cut > 0) tfm_cli_record_failed(&h->cli);
        TFM_TRY(tfm_writer_end(w, err));
        st = is_enough(h) ? TFM_DONE : TFM_OK;
    }
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status head_file(head *h, const char *path, tfm_writer *w, tfm_error *err) {
    tfm_reader *r;
    const char *name;
    int fd;
    TFM_TRY(tfm_cli_open_input(&h->cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) st = copy_streams(h, r, w, err);
    tfm_reader_free(r);
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

int main(int argc, char **argv) {
    head h = {.groups_left = DEFAULT_GROUPS, .records_left = UINT64_MAX};
    tfm_error err = {0};
    tfm_writer *w = NULL;
    const char *name;
    char **files;
    int fd;

    tfm_cli_start(&h.cli, &program, argc, argv);
    for (int c; (c = tfm_cli_next(&h.cli)) != 0;) {
        if (c == 'g') h.groups_left = tfm_cli_u32(&h.cli, 1, UINT32_MAX);
        if (c == OPT_RECORDS) h.records_left = tfm_cli_u32(&h.cli, 1, UINT32_MAX);
    }
    int n = tfm_cli_operands(&h.cli, &files);
    tfm_status st = tfm_cli_open_output(&h.cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, name, &err);
    if (st == TFM_OK && n == 0) st = head_file(&h, NULL, w, &err);
    for (int i = 0; i < n && st == TFM_OK && !is_enough(&h); i++)
        st = head_file(&h, files[i], w, &err);
    int code = tfm_cli_finish(&h.cli, st, w, &err);
    tfm_writer_free(w);
    tfm_group_map_free(h.open);
    return code;
}
