/* reader.c - one end of an edge: goes through streams record by record and believes nothing.
 *
 *     header, (head + name, payload, CRC, padding) ..., END, [the next header ...]
 *
 * A payload is used in the input buffer when it lies there as a whole, else it is read straight
 * into a buffer of its own, which grows with what has arrived: a lying length costs nothing. The
 * first failure sticks: every later call returns it again. */
#include <string.h>

#include "stream/stream_internal.h"

enum { PAYLOAD_START = 1 << 20 }; /* first size of a payload buffer */

enum state { BETWEEN_STREAMS, IN_STREAM, FAILED };

struct tfm_reader {
    tfm_input *in;
    tfm_header *header;
    enum state state;
    tfm_status failure; /* when FAILED, with its message */
    char *message;
    const char *writer; /* who writes such streams as a rule, or NULL */
    bool is_model, any_stream;
    uint32_t next_seq;
    uint64_t n_records, n_group_ends; /* of this stream */
    /* the payload of the present record */
    uint64_t left;        /* bytes not taken yet */
    bool trailer_pending; /* its CRC was not checked yet */
    bool taken_in_pieces;
    uint32_t crc;
    uint64_t record_at; /* offset of the record, for messages */
    size_t held; /* bytes of the input buffer that the caller may look at until the next call */
    const void *payload;
    unsigned char *own; /* a payload that does not fit in the input buffer; aligned within raw */
    void *raw;
    size_t own_cap;
    tfm_record rec;
};

tfm_status tfm_reader_new(tfm_reader **out, int fd, const char *name, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_reader), err));
    tfm_reader *r = p;
    tfm_status st = tfm_input_new(&r->in, fd, name, err);
    if (st != TFM_OK) {
        tfm_reader_free(r);
        return st;
    }
    *out = r;
    return TFM_OK;
}

void tfm_reader_free(tfm_reader *r) {
    if (!r) return;
    tfm_input_free(r->in);
    tfm_header_free(r->header);
    tfm_free(r->message);
    tfm_free(r->raw);
    tfm_free(r);
}

void tfm_reader_writer(tfm_reader *r, const char *tools) {
    r->writer = tools;
}

const tfm_header *tfm_reader_header(const tfm_reader *r) {
    return r->header;
}

bool tfm_reader_pending(const tfm_reader *r) {
    return tfm_input_pending(r->in, r->held);
}

uint64_t tfm_reader_offset(const tfm_reader *r) {
    return tfm_input_offset(r->in);
}

/* ---- failures ---- */

/* Keeps the failure in *e for later calls and hands it to the caller. */
static tfm_status stick(tfm_reader *r, tfm_status st, const tfm_error *e, tfm_error *err) {
    r->state = FAILED;
    r->failure = st;
    tfm_free(r->message);
    r->message = NULL;
    /* Without memory for the text the status alone must do. */
    if (tfm_strdup(&r->message, e->message, NULL) != TFM_OK) r->message = NULL;
    return tfm_fail(err, st, "%s", e->message);
}

static tfm_status repeat_failure(const tfm_reader *r, tfm_error *err) {
    return tfm_fail(err, r->failure, "%s", r->message ? r->message : "the stream failed before");
}

/* The input ended inside a stream: says which stage was lost. */
static tfm_status cut(const tfm_reader *r, tfm_error *err) {
    const char *tool = r->header ? tfm_header_get(r->header, "tool") : NULL;
    if (!tool)
        return tfm_fail(err, TFM_TRUNCATED,
                        "%s: the stream ends before its END: the stage that wrote it died or the "
                        "file was cut",
                        tfm_input_name(r->in));
    return tfm_fail(err, TFM_TRUNCATED,
                    "%s: the stream of %s ends before its END: that stage died or the file was cut",
                    tfm_input_name(r->in), tool);
}

/* "stdin: record 3 at byte 512: what" before the message of *e. */
static tfm_status in_record(const tfm_reader *r, tfm_status st, tfm_error *e) {
    return tfm_error_prefix(e, st, "%s: record %llu at byte %llu", tfm_input_name(r->in),
                            (unsigned long long)r->n_records, (unsigned long long)r->record_at);
}

/* ---- payload ---- */

/* Gives back to the input what the caller was allowed to look at. */
static void release_held(tfm_reader *r) {
    if (r->held) tfm_input_take(r->in, r->held);
    r->held = 0;
}

/* The CRC block after a payload is at p. */
static tfm_status check_trailer(const tfm_reader *r, const unsigned char *p, size_t n,
                                tfm_error *e) {
    if (tfm_load_u32(p) != r->crc)
        return in_record(
            r, tfm_fail(e, TFM_FORMAT, "damaged: the CRC of its payload does not match"), e);
    for (size_t i = 4; i < n; i++)
        if (p[i] != 0)
            return in_record(r, tfm_fail(e, TFM_FORMAT, "the padding of its payload is not zero"),
                             e);
    return TFM_OK;
}

static size_t trailer_size(const tfm_reader *r) {
    return (size_t)(tfm_pad64(r->rec.bytes + 4) - r->rec.bytes);
}

static tfm_status take_trailer(tfm_reader *r, tfm_error *e) {
    const unsigned char *p;
    size_t n = trailer_size(r), have;
    if (!r->trailer_pending) return TFM_OK;
    TFM_TRY(tfm_input_need(r->in, n, &p, &have, e));
    if (have < n) return cut(r, e);
    TFM_TRY(check_trailer(r, p, n, e));
    tfm_input_take(r->in, n);
    r->trailer_pending = false;
    return TFM_OK;
}

/* Room for n bytes in r->own, contents kept. realloc moves large blocks without copying; only the
 * alignment within them may shift. */
static tfm_status grow_own(tfm_reader *r, size_t used, size_t n, tfm_error *e) {
    if (n <= r->own_cap) return TFM_OK;
    void *raw = r->raw;
    size_t old = r->raw ? (size_t)(r->own - (unsigned char *)r->raw) : 0;
    TFM_TRY(tfm_realloc(&raw, n + TFM_ALIGN, 1, e));
    r->raw = raw;
    r->own = (unsigned char *)raw + (TFM_ALIGN - (uintptr_t)raw % TFM_ALIGN) % TFM_ALIGN;
    r->own_cap = n;
    if (r->own != (unsigned char *)raw + old) memmove(r->own, (unsigned char *)raw + old, used);
    return TFM_OK;
}

/* Reads the whole payload into r->own. */
static tfm_status read_payload(tfm_reader *r, tfm_error *e) {
    if (r->rec.bytes > SIZE_MAX - 2 * TFM_ALIGN)
        return in_record(r, tfm_fail(e, TFM_NOMEM, "its payload does not fit in memory"), e);
    size_t total = (size_t)r->rec.bytes, used = 0, got;
    while (used < total) {
        if (used == r->own_cap || r->own_cap == 0) {
            size_t want = r->own_cap ? r->own_cap * 2 : PAYLOAD_START;
            TFM_TRY(grow_own(r, used, want < total && want > used ? want : total, e));
        }
        size_t room = r->own_cap < total ? r->own_cap : total;
        TFM_TRY(tfm_input_read(r->in, r->own + used, room - used, &got, e));
        if (got == 0) return cut(r, e);
        r->crc = tfm_crc32(r->crc, r->own + used, got);
        used += got;
    }
    r->left = 0;
    r->payload = r->own;
    return take_trailer(r, e);
}

/* The payload in the input buffer if it is there, or fits there, as a whole with its CRC. */
static tfm_status find_payload(tfm_reader *r, tfm_error *e) {
    const unsigned char *p;
    size_t have;
    enum { SMALL = 32 * 1024 }; /* worth waiting for in the buffer */
    TFM_TRY(tfm_input_need(r->in, 0, &p, &have, e));
    uint64_t all = tfm_pad64(r->rec.bytes + 4);
    if (have < all && all > SMALL) return read_payload(r, e);
    TFM_TRY(tfm_input_need(r->in, (size_t)all, &p, &have, e));
    if (have < all) return cut(r, e);
    size_t n = (size_t)r->rec.bytes;
    r->crc = tfm_crc32(0, p, n);
    TFM_TRY(check_trailer(r, p + n, (size_t)all - n, e));
    r->payload = p;
    r->held = (size_t)all;
    r->left = 0;
    r->trailer_pending = false;
    return TFM_OK;
}

tfm_status tfm_reader_payload(tfm_reader *r, const void **payload, tfm_error *err) {
    tfm_error e = {0};
    *payload = NULL;
    if (r->state == FAILED) return repeat_failure(r, err);
    if (r->taken_in_pieces || r->state != IN_STREAM || r->n_records == 0)
        return tfm_fail(err, TFM_USAGE, "there is no whole payload to read");
    if (!r->payload) {
        tfm_status st = find_payload(r, &e);
        if (st != TFM_OK) return stick(r, st, &e, err);
    }
    *payload = r->payload;
    return TFM_OK;
}

static tfm_status next_chunk(tfm_reader *r, const void **p, size_t *n, tfm_error *e) {
    const unsigned char *at;
    size_t have;
    release_held(r);
    if (r->left == 0) return take_trailer(r, e);
    TFM_TRY(tfm_input_need(r->in, 1, &at, &have, e));
    if (have == 0) return cut(r, e);
    if (have > r->left) have = (size_t)r->left;
    r->crc = tfm_crc32(r->crc, at, have);
    r->left -= have;
    r->held = have;
    *p = at;
    *n = have;
    return TFM_OK;
}

tfm_status tfm_reader_chunk(tfm_reader *r, const void **p, size_t *n, tfm_error *err) {
    tfm_error e = {0};
    *p = NULL;
    *n = 0;
    if (r->state == FAILED) return repeat_failure(r, err);
    if (r->payload || r->state != IN_STREAM || r->n_records == 0)
        return tfm_fail(err, TFM_USAGE, "there is no payload to read in pieces");
    r->taken_in_pieces = true;
    tfm_status st = next_chunk(r, p, n, &e);
    return st == TFM_OK ? TFM_OK : stick(r, st, &e, err);
}

/* Reads and checks what the caller left of the last payload. */
static tfm_status skip_payload(tfm_reader *r, tfm_error *e) {
    const void *p;
    size_t n;
    release_held(r);
    while (r->left > 0 || r->trailer_pending) TFM_TRY(next_chunk(r, &p, &n, e));
    return TFM_OK;
}

/* ---- streams ---- */

/* The input ended before a header said whose it is. */
static tfm_status no_header(const tfm_reader *r, const char *what, const char *file, tfm_error *e) {
    return tfm_fail(
        e, TFM_TRUNCATED,
        "%s: %s: the stage before%s%s%s died before it wrote a header, or the file is %s",
        tfm_input_name(r->in), what, r->writer ? " (as a rule " : "", r->writer ? r->writer : "",
        r->writer ? ")" : "", file);
}

static tfm_status read_header(tfm_reader *r, tfm_error *e) {
    const unsigned char *p;
    const char *name = tfm_input_name(r->in);
    size_t have, searched = 0, total = 0, used, want = 1;
    for (;;) {
        TFM_TRY(tfm_input_need(r->in, want, &p, &have, e));
        if (have == 0 && r->any_stream) return TFM_DONE;
        if (have == 0) return no_header(r, "no stream at all", "empty", e);
        tfm_status st = TFM_OK;
        if (total == 0) st = tfm_header_extent(p, have, searched, &total, e);
        if (st == TFM_FORMAT && r->any_stream)
            return tfm_fail(e, TFM_FORMAT, "%s: after the END at byte %llu comes no other stream",
                            name, (unsigned long long)tfm_input_offset(r->in));
        if (st != TFM_OK) return tfm_error_prefix(e, st, "%s", name);
        if (total > 0 && total <= have) break;
        if (have < want) return no_header(r, "ends inside a stream header", "cut", e);
        searched = have;
        want = total ? total : have + 1;
    }
    tfm_header_free(r->header);
    r->header = NULL;
    tfm_status st = tfm_header_parse(&r->header, p, total, &used, e);
    if (st != TFM_OK) return tfm_error_prefix(e, st, "%s", name);
    tfm_input_take(r->in, used);
    return TFM_OK;
}

tfm_status tfm_reader_stream(tfm_reader *r, tfm_error *err) {
    tfm_error e = {0};
    if (r->state == FAILED) return repeat_failure(r, err);
    if (r->state == IN_STREAM)
        return tfm_fail(err, TFM_USAGE, "the stream before has not been read to its end");
    tfm_status st = read_header(r, &e);
    if (st == TFM_DONE) return TFM_DONE;
    if (st != TFM_OK) return stick(r, st, &e, err);
    r->state = IN_STREAM;
    r->any_stream = true;
    r->is_model = strcmp(tfm_header_kind(r->header), "model") == 0;
    r->next_seq = 0;
    r->n_records = r->n_group_ends = 0;
    r->left = 0;
    r->trailer_pending = r->taken_in_pieces = false;
    r->payload = NULL;
    if (strcmp(tfm_header_kind(r->header), "error") != 0) return TFM_OK;
    /* A stage that failed before it knew what it would write: there is only its ERROR. */
    tfm_record rec;
    st = tfm_reader_next(r, &rec, err);
    if (st != TFM_OK && st != TFM_DONE) return st;
    tfm_fail(&e, TFM_FORMAT, "%s: a stream of kind error without one", tfm_input_name(r->in));
    return stick(r, TFM_FORMAT, &e, err);
}

/* Head and name of the next record, checked. */
static tfm_status read_head(tfm_reader *r, tfm_error *e) {
    const unsigned char *p;
    size_t have, size;
    uint64_t payload_at, next;
    r->record_at = tfm_input_offset(r->in);
    TFM_TRY(tfm_input_need(r->in, TFM_HEAD_SIZE, &p, &have, e));
    if (have >= TFM_HEAD_SIZE && memcmp(p, TFM_REC_MAGIC, 4) == 0) {
        size = TFM_HEAD_SIZE + (size_t)tfm_pad64(p[7]); /* the name's length */
        TFM_TRY(tfm_input_need(r->in, size, &p, &have, e));
    }
    tfm_status st = tfm_record_parse(&r->rec, p, have, r->is_model, &payload_at, &next, e);
    if (st == TFM_TRUNCATED) return cut(r, e);
    if (st == TFM_OK && r->rec.seq != r->next_seq)
        st = tfm_fail(e, TFM_FORMAT, "has sequence number %u: records before it are missing",
                      r->rec.seq);
    if (st != TFM_OK) return in_record(r, st, e);
    tfm_input_take(r->in, (size_t)payload_at);
    r->left = r->rec.bytes;
    r->trailer_pending = true;
    r->taken_in_pieces = false;
    r->payload = NULL;
    r->crc = 0;
    return TFM_OK;
}

/* The counts in END must be those of the stream. */
static tfm_status check_end(tfm_reader *r, tfm_error *e) {
    TFM_TRY(find_payload(r, e));
    const unsigned char *p = r->payload;
    uint64_t records = tfm_load_u64(p), groups = tfm_load_u64(p + 8);
    if (records != r->n_records || groups != r->n_group_ends)
        return in_record(
            r,
            tfm_fail(e, TFM_FORMAT,
                     "END counts %llu records and %llu groups, there were %llu and %llu",
                     (unsigned long long)records, (unsigned long long)groups,
                     (unsigned long long)r->n_records, (unsigned long long)r->n_group_ends),
            e);
    release_held(r);
    return TFM_OK;
}

/* An earlier stage failed. Its message may itself be about a stage before it: that one is named. */
static tfm_status upstream_failed(tfm_reader *r, tfm_error *e) {
    TFM_TRY(find_payload(r, e));
    const char *text = r->payload;
    int n = r->rec.bytes > 500 ? 500 : (int)r->rec.bytes;
    if (n > 9 && memcmp(text, "upstream ", 9) == 0)
        return tfm_fail(e, TFM_UPSTREAM, "%.*s", n, text);
    return tfm_fail(e, TFM_UPSTREAM, "upstream %s: %.*s", r->rec.name, n, text);
}

static tfm_status next_record(tfm_reader *r, tfm_error *e) {
    TFM_TRY(skip_payload(r, e));
    TFM_TRY(read_head(r, e));
    if (r->rec.type == TFM_REC_ERROR && r->rec.group == TFM_GROUP_ALL) return upstream_failed(r, e);
    if (r->rec.type == TFM_REC_END) {
        TFM_TRY(check_end(r, e));
        r->state = BETWEEN_STREAMS;
        return TFM_DONE;
    }
    r->next_seq++;
    r->n_records++;
    if (r->rec.type == TFM_REC_GROUP_END) r->n_group_ends++;
    return TFM_OK;
}

tfm_status tfm_reader_next(tfm_reader *r, tfm_record *rec, tfm_error *err) {
    tfm_error e = {0};
    if (r->state == FAILED) return repeat_failure(r, err);
    if (r->state != IN_STREAM) return tfm_fail(err, TFM_USAGE, "no stream is open to read from");
    tfm_status st = next_record(r, &e);
    if (st == TFM_DONE) return TFM_DONE;
    if (st != TFM_OK) return stick(r, st, &e, err);
    *rec = r->rec;
    return TFM_OK;
}

bool tfm_reader_ready(tfm_reader *r) {
    const unsigned char *p;
    tfm_record rec;
    uint64_t payload_at, next;
    size_t have;
    if (r->state != IN_STREAM) return true;
    release_held(r);
    uint64_t skip = r->left > 0 || r->trailer_pending ? r->left + trailer_size(r) : 0;
    if (skip > TFM_INPUT_PEEK - TFM_HEAD_MAX) return true;
    size_t at = (size_t)skip;
    bool is_there = tfm_input_peek(r->in, at + TFM_HEAD_SIZE, &p, &have);
    if (have < at + TFM_HEAD_SIZE) return is_there;
    is_there = tfm_input_peek(r->in, at + TFM_HEAD_SIZE + (size_t)tfm_pad64(p[at + 7]), &p, &have);
    tfm_status st =
        tfm_record_parse(&rec, p + at, have - at, r->is_model, &payload_at, &next, NULL);
    if (st == TFM_TRUNCATED) return is_there;
    if (st != TFM_OK || next > TFM_INPUT_PEEK - at) return true;
    return tfm_input_peek(r->in, at + (size_t)next, &p, &have);
}
