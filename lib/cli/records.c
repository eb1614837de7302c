/* records.c - records out of text files: whole files, lines, NUL-terminated strings, JSON lines.
 *
 * Nothing is read while a record is complete, so a line that someone types goes on at once, and
 * what a program makes of it never depends on how the bytes arrived. A record that is too long is
 * still one record: its bytes are thrown away, those behind it are counted as ever. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

enum { READ_BYTES = 1 << 20 };

const char *tfm_cli_frame_name(tfm_cli_frame f) {
    static const char *const names[] = {"whole", "line", "nul", "jsonl"};
    return names[f];
}

void tfm_cli_frame_take(tfm_cli *c, tfm_cli_frame *frame, tfm_cli_frame f) {
    if (*frame != TFM_FRAME_WHOLE && *frame != f)
        tfm_cli_usage(c, "%s: only one of -l, -0 and -j can be given", c->option);
    *frame = f;
}

void tfm_cli_records_start(tfm_cli_records *in, tfm_cli *c, tfm_cli_frame frame, size_t most,
                           char **files, int n_files) {
    *in = (tfm_cli_records){.cli = c,
                            .frame = frame,
                            .most = most,
                            .files = files,
                            .n_files = n_files,
                            .file = -1,
                            .fd = -1};
}

static void close_file(tfm_cli_records *in) {
    if (in->fd > STDIN_FILENO) close(in->fd);
    in->fd = -1;
}

void tfm_cli_records_close(tfm_cli_records *in) {
    close_file(in);
    free(in->buf);
    in->buf = NULL;
}

static bool has_file(const tfm_cli_records *in) {
    return in->file + 1 < (in->n_files ? in->n_files : 1);
}

static tfm_status next_file(tfm_cli_records *in, tfm_error *err) {
    const char *path = in->n_files ? in->files[in->file + 1] : NULL;
    in->file++;
    in->at_end = in->skipping = false;
    in->start = in->scanned = in->end = 0;
    return tfm_cli_open_input(in->cli, path, &in->fd, &in->name, err);
}

/* ---- records that are there ---- */

static void give(tfm_cli_records *in, size_t n, size_t terminator, tfm_cli_record *out) {
    *out = (tfm_cli_record){.text = in->buf ? in->buf + in->start : "",
                            .n = n,
                            .is_long = in->skipping || n > in->most};
    in->skipping = false;
    in->start += n + terminator;
    in->scanned = in->start;
}

/* A file is one record; one LF at its end belongs to the frame. */
static bool take_whole(tfm_cli_records *in, tfm_cli_record *out) {
    if (!in->at_end) return false;
    const bool has_tail = in->end > 0 && in->buf[in->end - 1] == '\n';
    give(in, in->end - has_tail, has_tail, out);
    out->has_tail = has_tail;
    out->is_last = !has_file(in);
    close_file(in);
    return true;
}

bool tfm_cli_records_take(tfm_cli_records *in, tfm_cli_record *out) {
    if (in->fd < 0) return false;
    if (in->frame == TFM_FRAME_WHOLE) return take_whole(in, out);
    const int terminator = in->frame == TFM_FRAME_NUL ? '\0' : '\n';
    const char *p = in->end > in->scanned
                        ? memchr(in->buf + in->scanned, terminator, in->end - in->scanned)
                        : NULL;
    if (p) {
        give(in, (size_t)(p - (in->buf + in->start)), 1, out);
        return true;
    }
    in->scanned = in->end;
    if (in->at_end && (in->end > in->start || in->skipping)) {
        give(in, in->end - in->start, 0, out);
        return true;
    }
    if (in->end - in->start > in->most) { /* the rest of this record is not kept either */
        in->skipping = true;
        in->start = in->scanned = in->end;
    }
    return false;
}

/* ---- reading on ---- */

/* More bytes behind buf[end), after what is not yet taken was moved to the front. */
static tfm_status read_more(tfm_cli_records *in, tfm_error *err) {
    ssize_t got;
    if (in->start > 0) memmove(in->buf, in->buf + in->start, in->end - in->start);
    in->end -= in->start;
    in->scanned -= in->start;
    in->start = 0;
    if (in->cap - in->end < READ_BYTES) {
        size_t cap = in->cap + (in->cap / 2 > READ_BYTES ? in->cap / 2 : READ_BYTES);
        char *p = realloc(in->buf, cap);
        if (p == NULL) return tfm_fail(err, TFM_NOMEM, "%s: out of memory", in->name);
        in->buf = p;
        in->cap = cap;
    }
    do got = read(in->fd, in->buf + in->end, READ_BYTES);
    while (got < 0 && errno == EINTR);
    if (got < 0) return tfm_fail_errno(err, TFM_IO, "%s: read", in->name);
    in->end += (size_t)got;
    in->at_end = got == 0;
    return TFM_OK;
}

tfm_status tfm_cli_records_more(tfm_cli_records *in, tfm_error *err) {
    if (in->fd < 0) return has_file(in) ? next_file(in, err) : TFM_DONE;
    if (in->at_end) {
        close_file(in);
        return TFM_OK;
    }
    TFM_TRY(read_more(in, err));
    if (in->frame == TFM_FRAME_WHOLE && in->end > in->most + 1)
        return tfm_fail(err, TFM_LIMIT, "%s: more than %zu bytes in one record; split it", in->name,
                        in->most);
    return TFM_OK;
}

tfm_status tfm_cli_read_file(tfm_cli *c, const char *path, size_t most, char **text, size_t *n,
                             tfm_error *err) {
    char *one[] = {(char *)(uintptr_t)path};
    tfm_cli_records in;
    tfm_cli_record r;
    tfm_cli_records_start(&in, c, TFM_FRAME_WHOLE, most, one, 1);
    tfm_status st = TFM_OK;
    while (st == TFM_OK && !tfm_cli_records_take(&in, &r)) st = tfm_cli_records_more(&in, err);
    *text = in.buf;
    *n = st == TFM_OK ? r.n + r.has_tail : 0;
    if (st == TFM_OK) return TFM_OK;
    tfm_cli_records_close(&in);
    *text = NULL;
    return st;
}
