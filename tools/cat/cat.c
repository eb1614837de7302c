/* cat.c - tfm-cat: joins streams, and recovers what is whole of a cut one.
 *
 * Salvage goes through each input twice. The mark of a recovered stream stands in its header, which
 * comes before the records, so the first pass finds out which stream is broken and how many of its
 * records are whole. What cannot be read twice is copied to a temporary file first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

enum { OPT_SALVAGE = TFM_LONG };

static const tfm_option options[] = {
    {OPT_SALVAGE, "salvage", NULL, "keep the whole records of a cut or damaged stream"},
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-cat", "[options] [FILE...]",
                                    "Join tensor streams; recover the whole records of a cut one.",
                                    options};

/* How far the first pass came. */
typedef struct survey {
    size_t n_streams;   /* whole ones, before the broken one */
    uint64_t n_records; /* whole ones of the broken stream */
    bool is_broken;     /* a stream is broken after its header */
    tfm_error why;
} survey;

/* A model's header goes on as it is: its index counts bytes from the beginning of the file. */
static tfm_status copy_header(tfm_cli *cli, tfm_writer *w, const tfm_header *from,
                              const char *salvaged, tfm_error *err) {
    tfm_header *h;
    if (!salvaged && strcmp(tfm_header_kind(from), "model") == 0)
        return tfm_writer_header(w, from, err);
    TFM_TRY(tfm_header_copy(&h, from, err));
    tfm_status st = tfm_cli_provenance(cli, h, err);
    if (st == TFM_OK && salvaged) st = tfm_header_set(h, "salvaged", salvaged, err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    tfm_header_free(h);
    return st;
}

/* Copies at most `most` records of the present stream; TFM_DONE at its END. */
static tfm_status copy_records(tfm_cli *cli, tfm_reader *r, tfm_writer *w, uint64_t most,
                               tfm_error *err) {
    tfm_record rec;
    for (uint64_t i = 0; i < most; i++) {
        TFM_TRY(tfm_reader_next(r, &rec, err));
        if (rec.type == TFM_REC_ERROR) tfm_cli_record_failed(cli);
        TFM_TRY(tfm_writer_copy(w, &rec, r, err));
    }
    return TFM_OK;
}

/* Copies all streams of r; s, if not NULL, says where the broken one begins and ends. */
static tfm_status copy_streams(tfm_cli *cli, tfm_reader *r, tfm_writer *w, const survey *s,
                               tfm_error *err) {
    tfm_status st = TFM_OK;
    size_t n = 0, open_groups = 0;
    while ((!s || n < s->n_streams) && (st = tfm_reader_stream(r, err)) == TFM_OK) {
        TFM_TRY(copy_header(cli, w, tfm_reader_header(r), NULL, err));
        st = copy_records(cli, r, w, UINT64_MAX, err);
        if (st != TFM_DONE) return st;
        TFM_TRY(tfm_writer_end(w, err));
        n++;
    }
    if (st != TFM_OK && st != TFM_DONE) return st;
    if (!s || !s->is_broken) return TFM_OK;
    TFM_TRY(tfm_reader_stream(r, err));
    TFM_TRY(copy_header(cli, w, tfm_reader_header(r), s->why.message, err));
    TFM_TRY(copy_records(cli, r, w, s->n_records, err));
    TFM_TRY(tfm_writer_fail_groups(w, program.name, "its stream was cut", &open_groups, err));
    return tfm_writer_end(w, err);
}

/* ---- salvage ---- */

static bool is_damage(tfm_status st) {
    return st == TFM_TRUNCATED || st == TFM_FORMAT || st == TFM_UPSTREAM || st == TFM_LIMIT;
}

/* Reads every payload of the present stream; counts the whole records. */
static tfm_status survey_records(tfm_reader *r, survey *s) {
    tfm_record rec;
    tfm_status st;
    const void *p;
    size_t n;
    while ((st = tfm_reader_next(r, &rec, &s->why)) == TFM_OK) {
        do TFM_TRY(tfm_reader_chunk(r, &p, &n, &s->why));
        while (n > 0);
        s->n_records++;
    }
    return st;
}

/* The first pass. Fails only when nothing can be recovered. */
static tfm_status survey_streams(int fd, const char *name, survey *s, tfm_error *err) {
    tfm_reader *r;
    tfm_status st;
    TFM_TRY(tfm_reader_new(&r, fd, name, err));
    while ((st = tfm_reader_stream(r, &s->why)) == TFM_OK) {
        s->n_records = 0;
        st = survey_records(r, s);
        s->is_broken = st != TFM_DONE;
        if (s->is_broken) break;
        s->n_streams++;
    }
    tfm_reader_free(r);
    bool is_something = s->n_streams > 0 || s->is_broken;
    if (st == TFM_DONE || (is_damage(st) && is_something)) return TFM_OK;
    *err = s->why;
    return st;
}

/* *fd = a descriptor that can be read twice: fd itself, or a temporary copy of it. */
static tfm_status make_seekable(int *fd, const char *name, FILE **temp, tfm_error *err) {
    static char buf[65536];
    if (lseek(*fd, 0, SEEK_CUR) >= 0) return TFM_OK;
    *temp = tmpfile();
    if (!*temp) return tfm_fail_errno(err, TFM_IO, "%s: cannot make a temporary copy", name);
    for (;;) {
        ssize_t n = read(*fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return tfm_fail_errno(err, TFM_IO, "%s: read", name);
        if (n == 0) break;
        if (fwrite(buf, 1, (size_t)n, *temp) != (size_t)n)
            return tfm_fail_errno(err, TFM_IO, "%s: cannot write a temporary copy", name);
    }
    if (fflush(*temp) != 0) return tfm_fail_errno(err, TFM_IO, "%s: temporary copy", name);
    *fd = fileno(*temp);
    return lseek(*fd, 0, SEEK_SET) == 0 ? TFM_OK : tfm_fail_errno(err, TFM_IO, "%s", name);
}

static tfm_status salvage(tfm_cli *cli, int fd, const char *name, tfm_writer *w, tfm_error *err) {
    survey s = {0};
    FILE *temp = NULL;
    tfm_reader *r = NULL;
    off_t start = 0;
    tfm_status st = make_seekable(&fd, name, &temp, err);
    if (st == TFM_OK) start = lseek(fd, 0, SEEK_CUR);
    if (st == TFM_OK) st = survey_streams(fd, name, &s, err);
    if (st == TFM_OK && lseek(fd, start, SEEK_SET) != start)
        st = tfm_fail_errno(err, TFM_IO, "%s", name);
    if (st == TFM_OK) st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) st = copy_streams(cli, r, w, &s, err);
    if (st == TFM_OK && s.why.message[0]) {
        const uint64_t n_records = s.is_broken ? s.n_records : 0;
        tfm_cli_warn(cli, "%s (kept %zu whole stream%s and %llu record%s of the broken one)",
                     s.why.message, s.n_streams, tfm_cli_plural(s.n_streams),
                     (unsigned long long)n_records, tfm_cli_plural(n_records));
        tfm_cli_record_failed(cli);
    }
    tfm_reader_free(r);
    if (temp) fclose(temp);
    return st;
}

/* ---- main ---- */

static tfm_status cat_file(tfm_cli *cli, const char *path, bool do_salvage, tfm_writer *w,
                           tfm_error *err) {
    tfm_reader *r = NULL;
    const char *name;
    int fd;
    TFM_TRY(tfm_cli_open_input(cli, path, &fd, &name, err));
    tfm_status st;
    if (do_salvage) {
        st = salvage(cli, fd, name, w, err);
    } else {
        st = tfm_reader_new(&r, fd, name, err);
        if (st == TFM_OK) st = copy_streams(cli, r, w, NULL, err);
        tfm_reader_free(r);
    }
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

int main(int argc, char **argv) {
    tfm_cli cli;
    tfm_error err = {0};
    tfm_writer *w = NULL;
    const char *name;
    char **files;
    bool do_salvage = false;
    int fd;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int c; (c = tfm_cli_next(&cli)) != 0;)
        if (c == OPT_SALVAGE) do_salvage = true;
    int n = tfm_cli_operands(&cli, &files);
    tfm_status st = tfm_cli_open_output(&cli, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, name, &err);
    if (st == TFM_OK && n == 0) st = cat_file(&cli, NULL, do_salvage, w, &err);
    for (int i = 0; i < n && st == TFM_OK; i++) st = cat_file(&cli, files[i], do_salvage, w, &err);
    int code = tfm_cli_finish(&cli, st, w, &err);
    tfm_writer_free(w);
    return code;
}
