/* input.c - conversations out of files: whole files, lines, NUL-terminated strings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prompt.h"

enum { READ_BYTES = 1 << 16 };

static void close_file(input *in) {
    if (in->fd > STDIN_FILENO) close(in->fd);
    in->fd = -1;
}

static bool has_file(const input *in) {
    return in->file + 1 < (in->opt->n_files ? in->opt->n_files : 1);
}

static tfm_status next_file(input *in, tfm_error *err) {
    const char *path = in->opt->n_files ? in->opt->files[in->file + 1] : NULL;
    in->file++;
    in->at_end = false;
    in->start = in->scanned = in->end = 0;
    return tfm_cli_open_input(in->cli, path, &in->fd, &in->name, err);
}

static tfm_status read_more(input *in, tfm_error *err) {
    ssize_t got;
    if (in->start > 0) memmove(in->buf, in->buf + in->start, in->end - in->start);
    in->end -= in->start;
    in->scanned -= in->start;
    in->start = 0;
    if (in->end > (size_t)RECORD_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: a conversation of more than %d bytes", in->name,
                        RECORD_MAX);
    if (in->cap - in->end < READ_BYTES) {
        size_t cap = in->cap + in->cap / 2 + READ_BYTES;
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

static bool take(input *in, size_t n, size_t terminator, record *out) {
    *out = (record){.text = in->buf + in->start, .n = n};
    in->start += n + terminator;
    in->scanned = in->start;
    return true;
}

/* Takes a record if one is complete. */
static bool complete(input *in, record *out) {
    if (in->opt->frame == FRAME_WHOLE) {
        if (!in->at_end) return false;
        bool tail = in->end > 0 && in->buf[in->end - 1] == '\n';
        take(in, in->end - tail, tail, out);
        out->has_tail = tail;
        out->is_last = !has_file(in);
        close_file(in);
        return true;
    }
    int terminator = in->opt->frame == FRAME_NUL ? '\0' : '\n';
    char *p = in->end > in->scanned
                  ? memchr(in->buf + in->scanned, terminator, in->end - in->scanned)
                  : NULL;
    if (p) return take(in, (size_t)(p - (in->buf + in->start)), 1, out);
    in->scanned = in->end;
    return in->at_end && in->end > in->start && take(in, in->end - in->start, 0, out);
}

tfm_status input_next(input *in, record *out, tfm_status (*idle)(void *ctx, tfm_error *err),
                      void *ctx, tfm_error *err) {
    for (;;) {
        if (in->fd < 0) {
            if (!has_file(in)) return TFM_DONE;
            TFM_TRY(next_file(in, err));
        }
        if (complete(in, out)) return TFM_OK;
        if (in->at_end) {
            close_file(in);
            continue;
        }
        TFM_TRY(idle(ctx, err));
        TFM_TRY(read_more(in, err));
    }
}

static tfm_status never_idle(void *ctx, tfm_error *err) {
    (void)ctx, (void)err;
    return TFM_OK;
}

tfm_status input_file(tfm_cli *c, const char *path, char **text, size_t *n, tfm_error *err) {
    char *one[] = {(char *)path};
    options opt = {.frame = FRAME_WHOLE, .files = one, .n_files = 1};
    input in = {.cli = c, .opt = &opt, .file = -1, .fd = -1};
    record r;
    tfm_status st = input_next(&in, &r, never_idle, NULL, err);
    close_file(&in);
    *text = in.buf;
    *n = st == TFM_OK ? r.n + r.has_tail : 0;
    if (st == TFM_OK) return TFM_OK;
    free(in.buf);
    *text = NULL;
    return st;
}

void input_close(input *in) {
    close_file(in);
    free(in->buf);
    in->buf = NULL;
}
