/* input.c - records out of files: whole files, lines, NUL-terminated strings, JSON lines.
 *
 * A batch is what has already arrived: it blocks only while not one record is complete, so a line
 * that someone types goes on at once, and what is written never depends on that. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tokenize.h"

enum { READ_BYTES = 1 << 20 };

static size_t limit(const input *in) {
    return in->opt->frame == FRAME_JSONL ? (size_t)LINE_MAX_JSON : (size_t)TEXT_MAX;
}

static tfm_status next_file(input *in, tfm_error *err) {
    const char *path = in->opt->n_files ? in->opt->files[in->file + 1] : NULL;
    in->file++;
    in->at_end = in->skipping = false;
    in->start = in->scanned = in->end = 0;
    return tfm_cli_open_input(in->cli, path, &in->fd, &in->name, err);
}

static void close_file(input *in) {
    if (in->fd > STDIN_FILENO) close(in->fd);
    in->fd = -1;
}

static bool has_file(const input *in) {
    return in->file + 1 < (in->opt->n_files ? in->opt->n_files : 1);
}

bool input_is_last(const input *in) {
    return !has_file(in);
}

/* Reads more bytes behind buf[end), moving what is not yet taken to the front. */
static tfm_status read_more(input *in, tfm_error *err) {
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

static void take(input *in, size_t len, size_t terminator) {
    span *s = &in->span[in->n++];
    *s = (span){.at = in->start, .len = len, .is_long = in->skipping || len > limit(in)};
    in->skipping = false;
    in->start += len + terminator;
    in->scanned = in->start;
}

/* Takes all complete records of the line and NUL frames. */
static void take_lines(input *in) {
    int terminator = in->opt->frame == FRAME_NUL ? '\0' : '\n';
    while (in->n < BATCH_RECORDS) {
        char *from = in->buf + in->scanned;
        char *p = in->end > in->scanned ? memchr(from, terminator, in->end - in->scanned) : NULL;
        if (p == NULL) break;
        take(in, (size_t)(p - (in->buf + in->start)), 1);
    }
    if (in->n == BATCH_RECORDS) return;
    in->scanned = in->end;
    if (in->at_end && (in->end > in->start || in->skipping)) take(in, in->end - in->start, 0);
    if (in->end - in->start > limit(in)) { /* the rest of this record is not kept either */
        in->skipping = true;
        in->start = in->scanned = in->end;
    }
}

/* A whole file is one record; one LF at its end belongs to the frame. */
static tfm_status take_whole(input *in, tfm_error *err) {
    size_t len = in->end - in->start;
    if (len > limit(in))
        return tfm_fail(err, TFM_LIMIT, "%s: more than %d bytes; use -l or split it", in->name,
                        TEXT_MAX);
    if (!in->at_end) return TFM_OK;
    bool has_tail = len > 0 && in->buf[in->end - 1] == '\n';
    take(in, len - has_tail, has_tail);
    in->span[in->n - 1].has_tail = has_tail;
    return TFM_OK;
}

tfm_status input_batch(input *in, tfm_error *err) {
    in->n = 0;
    for (;;) {
        if (in->fd < 0) {
            if (!has_file(in)) return TFM_DONE;
            TFM_TRY(next_file(in, err));
        }
        if (in->opt->frame != FRAME_WHOLE)
            take_lines(in);
        else if (in->at_end || in->end > in->start)
            TFM_TRY(take_whole(in, err));
        if (in->n > 0 && in->opt->frame == FRAME_WHOLE) close_file(in);
        if (in->n > 0) return TFM_OK;
        if (in->at_end)
            close_file(in);
        else
            TFM_TRY(read_more(in, err));
    }
}

void input_close(input *in) {
    close_file(in);
    free(in->buf);
    in->buf = NULL;
}
