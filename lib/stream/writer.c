/* writer.c - the other end of an edge: writes streams that every reader accepts.
 *
 * Small records gather in a buffer; a payload too large for what is left of it is written from
 * where it lies. Each record is held to the rules that a reader checks, so that a mistake shows in
 * the tool that made it. */
#include <stdlib.h>
#include <string.h>

#include "stream/stream_internal.h"
#include "tfm/group_map.h"

enum {
    WRITER_BUFFER = 64 * 1024,
    /* A model is written in pieces of 2 MiB that begin at multiples of it: of what is written at
     * once Linux keeps a file's pages together in memory, and a model in huge pages is read
     * faster. */
    MODEL_BUFFER = 2 << 20
};

struct tfm_writer {
    int fd;
    char *name;
    unsigned char *buf; /* [cap] */
    size_t cap, fill;
    uint64_t offset; /* of everything, the buffered bytes included */
    bool is_open, is_model;
    uint64_t n_records, n_group_ends;
    tfm_group_map *open; /* groups with records and no GROUP-END; the value is number + 1 */
    /* the record being written in pieces */
    bool in_record, flush_after;
    uint64_t left, bytes;
    uint32_t crc;
};

tfm_status tfm_writer_new(tfm_writer **out, int fd, const char *name, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_writer), err));
    tfm_writer *w = p;
    w->fd = fd;
    tfm_status st = tfm_strdup(&w->name, name, err);
    if (st == TFM_OK) st = tfm_alloc(&p, WRITER_BUFFER, 1, err);
    if (st != TFM_OK) {
        tfm_writer_free(w);
        return st;
    }
    w->buf = p;
    w->cap = WRITER_BUFFER;
    *out = w;
    return TFM_OK;
}

void tfm_writer_free(tfm_writer *w) {
    if (!w) return;
    tfm_group_map_free(w->open);
    tfm_free(w->buf);
    tfm_free(w->name);
    tfm_free(w);
}

uint64_t tfm_writer_offset(const tfm_writer *w) {
    return w->offset;
}

bool tfm_writer_is_open(const tfm_writer *w) {
    return w->is_open;
}

tfm_status tfm_writer_flush(tfm_writer *w, tfm_error *err) {
    size_t n = w->fill;
    w->fill = 0; /* also on failure: the same bytes must not go out twice */
    return n ? tfm_fd_write_full(w->fd, w->name, w->buf, n, err) : TFM_OK;
}

/* The pieces of a model: what fills the buffer, and of what is larger all whole pieces. The buffer
 * holds the end of [0, offset), never more than began in the present piece. */
static tfm_status put_model(tfm_writer *w, const unsigned char *p, size_t n, tfm_error *err) {
    while (n > 0) {
        const size_t room = MODEL_BUFFER - (size_t)(w->offset % MODEL_BUFFER);
        size_t now = n < room ? n : room;
        if (w->fill == 0 && room == MODEL_BUFFER && n >= MODEL_BUFFER) {
            now = n / MODEL_BUFFER * MODEL_BUFFER;
            TFM_TRY(tfm_fd_write_full(w->fd, w->name, p, now, err));
        } else {
            memcpy(w->buf + w->fill, p, now);
            w->fill += now;
            if (now == room) TFM_TRY(tfm_writer_flush(w, err));
        }
        w->offset += now, p += now, n -= now;
    }
    return TFM_OK;
}

static tfm_status put(tfm_writer *w, const void *p, size_t n, tfm_error *err) {
    if (w->cap == MODEL_BUFFER) return put_model(w, p, n, err);
    w->offset += n;
    if (n > WRITER_BUFFER - w->fill) {
        TFM_TRY(tfm_writer_flush(w, err));
        if (n >= WRITER_BUFFER / 2) return tfm_fd_write_full(w->fd, w->name, p, n, err);
    }
    if (n) memcpy(w->buf + w->fill, p, n);
    w->fill += n;
    return TFM_OK;
}

static tfm_status grow_for_model(tfm_writer *w, tfm_error *err) {
    void *p;
    if (w->cap == MODEL_BUFFER) return TFM_OK;
    TFM_TRY(tfm_writer_flush(w, err));
    TFM_TRY(tfm_alloc(&p, MODEL_BUFFER, 1, err));
    tfm_free(w->buf);
    w->buf = p;
    w->cap = MODEL_BUFFER;
    return TFM_OK;
}

tfm_status tfm_writer_header(tfm_writer *w, const tfm_header *h, tfm_error *err) {
    tfm_buf b = {0};
    if (w->is_open)
        return tfm_fail(err, TFM_USAGE, "%s: the stream before has no END yet", w->name);
    const bool is_model = strcmp(tfm_header_kind(h), "model") == 0;
    if (is_model) TFM_TRY(grow_for_model(w, err));
    tfm_status st = tfm_header_format(h, &b, err);
    if (st == TFM_OK) st = put(w, b.data, b.len, err);
    if (st == TFM_OK && !is_model) st = tfm_writer_flush(w, err);
    tfm_buf_free(&b);
    if (st != TFM_OK) return st;
    w->is_open = true;
    w->is_model = is_model;
    w->n_records = w->n_group_ends = 0;
    tfm_group_map_free(w->open);
    return tfm_group_map_new(&w->open, err);
}

/* "stdout: record 3 'tokens' of group 0: what" */
static tfm_status bad_record(const tfm_writer *w, const tfm_record *rec, tfm_status st,
                             tfm_error *err) {
    return tfm_error_prefix(err, st, "%s: record %llu '%.64s' of group %u", w->name,
                            (unsigned long long)w->n_records, rec->name, rec->group);
}

/* Keeps count of the groups that are open. */
static tfm_status note_group(tfm_writer *w, const tfm_record *rec, tfm_error *err) {
    void **slot;
    bool opens = rec->type == TFM_REC_TENSOR || rec->type == TFM_REC_TEXT ||
                 rec->type == TFM_REC_FORK || rec->type == TFM_REC_ERROR;

    if (rec->type == TFM_REC_GROUP_END) tfm_group_map_remove(w->open, rec->group);
    if (!opens || rec->group == TFM_GROUP_ALL) return TFM_OK;
    TFM_TRY(tfm_group_map_slot(w->open, rec->group, &slot, err));
    *slot = (void *)((uintptr_t)rec->group + 1);
    return TFM_OK;
}

/* Checks the record and writes its head. The END record is counted by nobody. */
static tfm_status put_head(tfm_writer *w, const tfm_record *given, tfm_error *err) {
    unsigned char head[TFM_HEAD_MAX];
    tfm_record rec = *given;
    if (!w->is_open || w->in_record)
        return tfm_fail(err, TFM_USAGE, "%s: a record %s", w->name,
                        w->in_record ? "inside another" : "outside a stream");
    for (unsigned i = rec.rank; i < TFM_MAX_RANK; i++) rec.dims[i] = 1;
    tfm_status st = tfm_record_check(&rec, w->is_model, &rec.bytes, err);
    if (st == TFM_OK && w->n_records == UINT32_MAX)
        st = tfm_fail(err, TFM_LIMIT, "more than %u records in one stream", UINT32_MAX);
    if (st == TFM_OK) st = note_group(w, &rec, err);
    if (st != TFM_OK) return bad_record(w, given, st, err);
    rec.seq = (uint32_t)w->n_records;
    TFM_TRY(put(w, head, tfm_record_format(&rec, head), err));
    w->in_record = true;
    w->flush_after = (rec.flags & TFM_FLAG_FLUSH) != 0;
    w->left = w->bytes = rec.bytes;
    w->crc = 0;
    w->n_records++;
    if (rec.type == TFM_REC_GROUP_END) w->n_group_ends++;
    return TFM_OK;
}

tfm_status tfm_writer_begin(tfm_writer *w, const tfm_record *rec, tfm_error *err) {
    if (rec->type == TFM_REC_END)
        return tfm_fail(err, TFM_USAGE, "%s: an END record is written by tfm_writer_end", w->name);
    return put_head(w, rec, err);
}

tfm_status tfm_writer_data(tfm_writer *w, const void *p, size_t n, tfm_error *err) {
    if (!w->in_record || n > w->left)
        return tfm_fail(err, TFM_USAGE, "%s: more data than the record's dimensions say", w->name);
    w->crc = tfm_crc32(w->crc, p, n);
    w->left -= n;
    return put(w, p, n, err);
}

tfm_status tfm_writer_finish(tfm_writer *w, tfm_error *err) {
    unsigned char trailer[TFM_ALIGN + 4] = {0};
    if (!w->in_record || w->left > 0)
        return tfm_fail(err, TFM_USAGE, "%s: less data than the record's dimensions say", w->name);
    tfm_store_u32(trailer, w->crc);
    TFM_TRY(put(w, trailer, (size_t)(tfm_pad64(w->bytes + 4) - w->bytes), err));
    w->in_record = false;
    return w->flush_after ? tfm_writer_flush(w, err) : TFM_OK;
}

static tfm_status put_record(tfm_writer *w, const tfm_record *rec, const void *payload,
                             tfm_error *err) {
    TFM_TRY(put_head(w, rec, err));
    if (w->left > 0) TFM_TRY(tfm_writer_data(w, payload, (size_t)w->left, err));
    return tfm_writer_finish(w, err);
}

tfm_status tfm_writer_record(tfm_writer *w, const tfm_record *rec, const void *payload,
                             tfm_error *err) {
    if (rec->type == TFM_REC_END)
        return tfm_fail(err, TFM_USAGE, "%s: an END record is written by tfm_writer_end", w->name);
    return put_record(w, rec, payload, err);
}

tfm_status tfm_writer_copy(tfm_writer *w, const tfm_record *rec, tfm_reader *r, tfm_error *err) {
    const void *p;
    size_t n;
    TFM_TRY(tfm_writer_begin(w, rec, err));
    do {
        TFM_TRY(tfm_reader_chunk(r, &p, &n, err));
        if (n > 0) TFM_TRY(tfm_writer_data(w, p, n, err));
    } while (n > 0);
    return tfm_writer_finish(w, err);
}

static tfm_status set_name(tfm_record *rec, const char *name, tfm_error *err) {
    size_t n = strlen(name);
    if (n > TFM_NAME_MAX)
        return tfm_fail(err, TFM_LIMIT, "a record name of %zu bytes is above the limit of %u", n,
                        TFM_NAME_MAX);
    memcpy(rec->name, name, n + 1);
    return TFM_OK;
}

tfm_status tfm_writer_text(tfm_writer *w, uint32_t group, const char *name, const void *text,
                           size_t n, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TEXT, .dtype = TFM_U8, .rank = 1, .group = group};
    if (n > TFM_PAYLOAD_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: a text of %zu bytes is above the limit of %u", w->name,
                        n, TFM_PAYLOAD_MAX);
    rec.dims[0] = (uint32_t)n;
    TFM_TRY(set_name(&rec, name, err));
    return tfm_writer_record(w, &rec, text, err);
}

tfm_status tfm_writer_group_end(tfm_writer *w, uint32_t group, uint32_t position, tfm_end how,
                                tfm_error *err) {
    tfm_record rec = {
        .type = TFM_REC_GROUP_END, .group = group, .position = position, .status = (uint16_t)how};
    return tfm_writer_record(w, &rec, NULL, err);
}

tfm_status tfm_writer_error(tfm_writer *w, uint32_t group, const char *program, const char *message,
                            tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_ERROR, .dtype = TFM_U8, .rank = 1, .group = group};
    size_t n = strnlen(message, sizeof(((tfm_error *)0)->message));
    rec.dims[0] = (uint32_t)n;
    TFM_TRY(set_name(&rec, program, err));
    TFM_TRY(tfm_writer_record(w, &rec, message, err));
    if (group != TFM_GROUP_ALL) return TFM_OK;
    w->is_open = false;
    return tfm_writer_flush(w, err);
}

static int by_number(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

tfm_status tfm_writer_fail_groups(tfm_writer *w, const char *program, const char *message,
                                  size_t *n, tfm_error *err) {
    uint32_t *group = NULL; /* [count]: closing changes the map, so they are listed before */
    size_t count = 0, at = 0;
    tfm_status st = TFM_OK;
    if (n) *n = 0;
    TFM_TRY(tfm_alloc((void **)&group, tfm_group_map_count(w->open), sizeof *group, err));
    for (void *v; (v = tfm_group_map_next(w->open, &at)) != NULL;)
        group[count++] = (uint32_t)((uintptr_t)v - 1);
    qsort(group, count, sizeof *group, by_number);
    for (size_t i = 0; i < count && st == TFM_OK; i++) {
        st = tfm_writer_error(w, group[i], program, message, err);
        if (st == TFM_OK) st = tfm_writer_group_end(w, group[i], 0, TFM_END_ERROR, err);
    }
    tfm_free(group);
    if (n && st == TFM_OK) *n = count;
    return st;
}

tfm_status tfm_writer_end(tfm_writer *w, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_END, .dtype = TFM_I64, .rank = 1, .dims = {2}};
    unsigned char counts[16];
    tfm_store_u64(counts, w->n_records);
    tfm_store_u64(counts + 8, w->n_group_ends);
    TFM_TRY(put_record(w, &rec, counts, err));
    w->is_open = false;
    return tfm_writer_flush(w, err);
}
