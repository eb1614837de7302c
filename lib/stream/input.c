/* input.c - the bytes of a descriptor, through one buffer, inflated on the way if they are gzipped.
 *
 *     fd --read--> raw --inflate--> buf      gzip: raw holds compressed bytes
 *     fd --read-------------------> buf      plain
 *     fd --read-------------------> payload  plain and large: no copy
 *
 * Reads take what there is: a stage must see a record as soon as it was written. */
#include <string.h>
#include <zlib.h>

#include "stream/stream_internal.h"

enum { BUFFER_SIZE = 256 * 1024, RAW_SIZE = 64 * 1024 };

enum coding { CODING_UNKNOWN, CODING_PLAIN, CODING_GZIP };

struct tfm_input {
    int fd;
    char *name;
    unsigned char *buf;    /* [cap], aligned */
    size_t pos, fill, cap; /* buffered: buf[pos..fill); pos = offset modulo 64 */
    uint64_t offset;       /* of buf[pos] in the stream */
    bool eof;
    enum coding coding;
    unsigned char *raw; /* [RAW_SIZE] */
    z_stream z;         /* next_in, avail_in: what of raw is not inflated yet */
    bool member_open;   /* inside a gzip member */
};

tfm_status tfm_input_new(tfm_input **out, int fd, const char *name, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_input), err));
    tfm_input *in = p;
    in->fd = fd;
    tfm_status st = tfm_strdup(&in->name, name, err);
    if (st == TFM_OK) st = tfm_alloc_aligned(&p, TFM_ALIGN, BUFFER_SIZE, 1, err);
    if (st != TFM_OK) {
        tfm_input_free(in);
        return st;
    }
    in->buf = p;
    in->cap = BUFFER_SIZE;
    *out = in;
    return TFM_OK;
}

void tfm_input_free(tfm_input *in) {
    if (!in) return;
    if (in->coding == CODING_GZIP) inflateEnd(&in->z);
    tfm_free(in->raw);
    tfm_free(in->buf);
    tfm_free(in->name);
    tfm_free(in);
}

const char *tfm_input_name(const tfm_input *in) {
    return in->name;
}

/* The next gzip member begins, or the input ends. */
static tfm_status begin_member(tfm_input *in, tfm_error *err) {
    if (inflateReset(&in->z) != Z_OK)
        return tfm_fail(err, TFM_NOMEM, "%s: inflate cannot be reset", in->name);
    in->member_open = true;
    return TFM_OK;
}

/* Inflates some bytes into dst. */
static tfm_status inflate_some(tfm_input *in, void *dst, size_t n, size_t *got, tfm_error *err) {
    in->z.next_out = dst;
    in->z.avail_out = n < (1u << 30) ? (uInt)n : (1u << 30);
    const uInt room = in->z.avail_out;
    *got = 0;
    while (in->z.avail_out == room) {
        if (in->z.avail_in == 0) {
            size_t k;
            TFM_TRY(tfm_fd_read_some(in->fd, in->name, in->raw, RAW_SIZE, &k, err));
            if (k == 0 && in->member_open)
                return tfm_fail(err, TFM_TRUNCATED, "%s: the gzip data ends early", in->name);
            if (k == 0) {
                in->eof = true;
                return TFM_OK;
            }
            in->z.next_in = in->raw;
            in->z.avail_in = (uInt)k;
        }
        if (!in->member_open) TFM_TRY(begin_member(in, err));
        int rc = inflate(&in->z, Z_NO_FLUSH);
        if (rc == Z_STREAM_END)
            in->member_open = false;
        else if (rc == Z_MEM_ERROR)
            return tfm_fail(err, TFM_NOMEM, "%s: out of memory to inflate", in->name);
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return tfm_fail(err, TFM_FORMAT, "%s: the gzip data is damaged: %s", in->name,
                            in->z.msg ? in->z.msg : "it does not decode");
    }
    *got = room - in->z.avail_out;
    return TFM_OK;
}

static tfm_status source_read(tfm_input *in, void *dst, size_t n, size_t *got, tfm_error *err) {
    if (in->eof) {
        *got = 0;
        return TFM_OK;
    }
    if (in->coding == CODING_GZIP) return inflate_some(in, dst, n, got, err);
    TFM_TRY(tfm_fd_read_some(in->fd, in->name, dst, n, got, err));
    if (*got == 0) in->eof = true;
    return TFM_OK;
}

/* Moves what is buffered to the front (keeping its place modulo 64) and makes room for n bytes. */
static tfm_status make_room(tfm_input *in, size_t n, tfm_error *err) {
    size_t front = in->pos % TFM_ALIGN, have = in->fill - in->pos, need = front + n;
    if (need > in->cap) {
        void *p;
        size_t cap = in->cap * 2 > need ? in->cap * 2 : need;
        TFM_TRY(tfm_alloc_aligned(&p, TFM_ALIGN, cap, 1, err));
        memcpy((unsigned char *)p + front, in->buf + in->pos, have);
        tfm_free(in->buf);
        in->buf = p;
        in->cap = cap;
    } else if (in->pos != front) {
        memmove(in->buf + front, in->buf + in->pos, have);
    }
    in->pos = front;
    in->fill = front + have;
    return TFM_OK;
}

static tfm_status fill_some(tfm_input *in, tfm_error *err) {
    size_t got;
    TFM_TRY(source_read(in, in->buf + in->fill, in->cap - in->fill, &got, err));
    in->fill += got;
    return TFM_OK;
}

/* Looks at the first two bytes: gzip or plain. What was read so far becomes raw if gzip. */
static tfm_status detect(tfm_input *in, tfm_error *err) {
    while (!in->eof && (in->fill == 0 || (in->fill == 1 && in->buf[0] == 0x1f))) {
        /* No more than RAW_SIZE, so that it fits into raw. */
        size_t got;
        TFM_TRY(source_read(in, in->buf + in->fill, RAW_SIZE - in->fill, &got, err));
        in->fill += got;
    }
    in->coding = CODING_PLAIN;
    if (in->fill < 2 || in->buf[0] != 0x1f || in->buf[1] != 0x8b) return TFM_OK;
    void *p;
    TFM_TRY(tfm_alloc(&p, RAW_SIZE, 1, err));
    in->raw = p;
    if (inflateInit2(&in->z, 15 + 16) != Z_OK) /* the largest window; gzip framing only */
        return tfm_fail(err, TFM_NOMEM, "%s: out of memory to inflate", in->name);
    in->coding = CODING_GZIP;
    memcpy(in->raw, in->buf, in->fill);
    in->z.next_in = in->raw;
    in->z.avail_in = (uInt)in->fill;
    in->member_open = true;
    in->fill = 0;
    return TFM_OK;
}

tfm_status tfm_input_need(tfm_input *in, size_t n, const unsigned char **p, size_t *have,
                          tfm_error *err) {
    *p = NULL;
    *have = 0;
    if (in->coding == CODING_UNKNOWN) TFM_TRY(detect(in, err));
    if (in->fill - in->pos < n && in->cap - in->pos < n) TFM_TRY(make_room(in, n, err));
    while (in->fill - in->pos < n && !in->eof) {
        /* Little room left behind: gather it in front rather than read a few bytes at a time. */
        if (in->cap - in->fill < TFM_ALIGN) TFM_TRY(make_room(in, n, err));
        TFM_TRY(fill_some(in, err));
    }
    *p = in->buf + in->pos;
    *have = in->fill - in->pos;
    return TFM_OK;
}

bool tfm_input_peek(tfm_input *in, size_t n, const unsigned char **p, size_t *have) {
    bool is_known = in->coding == CODING_PLAIN;
    if (is_known && in->fill - in->pos < n && in->cap - in->pos < n + TFM_ALIGN)
        is_known = make_room(in, n + TFM_ALIGN, NULL) == TFM_OK;
    while (is_known && in->fill - in->pos < n && !in->eof && tfm_fd_is_readable(in->fd))
        is_known = fill_some(in, NULL) == TFM_OK; /* an error comes again when it is asked for */
    *p = in->buf + in->pos;
    *have = in->fill - in->pos;
    return !is_known || *have >= n || in->eof;
}

void tfm_input_take(tfm_input *in, size_t n) {
    in->pos += n;
    in->offset += n;
    if (in->pos == in->fill) in->pos = in->fill = in->offset % TFM_ALIGN;
}

tfm_status tfm_input_read(tfm_input *in, void *dst, size_t n, size_t *got, tfm_error *err) {
    size_t have = in->fill - in->pos;
    *got = 0;
    if (have == 0 && n >= BUFFER_SIZE / 2 && in->coding != CODING_UNKNOWN) {
        TFM_TRY(source_read(in, dst, n, got, err));
        in->offset += *got;
        in->pos = in->fill = in->offset % TFM_ALIGN;
        return TFM_OK;
    }
    const unsigned char *p;
    if (have == 0) TFM_TRY(tfm_input_need(in, 1, &p, &have, err));
    *got = have < n ? have : n;
    if (*got) memcpy(dst, in->buf + in->pos, *got);
    tfm_input_take(in, *got);
    return TFM_OK;
}

bool tfm_input_pending(const tfm_input *in, size_t held) {
    return in->fill - in->pos > held || (in->coding == CODING_GZIP && in->z.avail_in > 0);
}

uint64_t tfm_input_offset(const tfm_input *in) {
    return in->offset;
}
