/* corpus.h - streams put together by hand, with rules broken on demand: test_corpus.c needs them,
 * since the writer of the library refuses to break a rule. Functions append to a `stream`; those
 * that make a record give the offset at which it begins. */
#ifndef TFM_TESTS_CORPUS_H
#define TFM_TESTS_CORPUS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stream/stream_internal.h"

typedef struct stream {
    tfm_buf b;
    uint32_t seq;
    uint64_t group_ends;
} stream;

static void add(stream *s, const void *p, size_t n) {
    if (tfm_buf_add(&s->b, p, n, NULL) != TFM_OK) abort();
}

static void pad(stream *s, unsigned char c) {
    while (s->b.len % TFM_ALIGN) add(s, &c, 1);
}

/* Closes a header whose lines begin at `from`. */
static void end_header(stream *s, size_t from) {
    char line[32];
    snprintf(line, sizeof line, "end %08x\n", tfm_crc32(0, s->b.data + from, s->b.len - from));
    add(s, line, strlen(line));
    pad(s, '\n');
    s->seq = 0;
    s->group_ends = 0;
}

static void header(stream *s, const char *text) {
    size_t from = s->b.len;
    add(s, text, strlen(text));
    end_header(s, from);
}

#define TOKENS "TFMSTRM1\nkind tokens\nneeds 1.0\ntool tfm-tokenize\nframe whole\nvocab raw-bytes\n"

/* The CRC of the head and name at `at`, after a field was changed. */
static void seal(stream *s, size_t at) {
    unsigned char *p = (unsigned char *)s->b.data + at;
    uint32_t crc = tfm_crc32(0, p, 60);
    crc = tfm_crc32(crc, p + 64, (size_t)tfm_pad64(p[7]));
    tfm_store_u32(p + 60, crc);
}

/* A record as it stands in rec, whose bytes and payload need not fit; returns where it begins. */
static size_t raw_record(stream *s, const tfm_record *rec, const void *payload, size_t n) {
    unsigned char head[TFM_HEAD_MAX], crc[4];
    size_t at = s->b.len;
    add(s, head, tfm_record_format(rec, head));
    add(s, payload, n);
    tfm_store_u32(crc, tfm_crc32(0, payload, n));
    add(s, crc, 4);
    pad(s, 0);
    s->seq++;
    if (rec->type == TFM_REC_GROUP_END) s->group_ends++;
    return at;
}

static size_t record(stream *s, tfm_record rec, const void *payload, size_t n) {
    for (unsigned i = rec.rank; i < TFM_MAX_RANK; i++) rec.dims[i] = 1;
    rec.seq = s->seq;
    rec.bytes = n;
    return raw_record(s, &rec, payload, n);
}

static tfm_record tokens_record(uint32_t group, uint32_t position, uint32_t n) {
    return (tfm_record){.type = TFM_REC_TENSOR,
                        .dtype = TFM_I32,
                        .rank = 1,
                        .group = group,
                        .position = position,
                        .dims = {n, 1, 1, 1},
                        .name = "tokens"};
}

/* "Hi!" as raw bytes, from `position` on. */
static size_t tokens(stream *s, uint32_t group, uint32_t position) {
    static const unsigned char ids[12] = {'H', 0, 0, 0, 'i', 0, 0, 0, '!', 0, 0, 0};
    return record(s, tokens_record(group, position, 3), ids, sizeof ids);
}

static size_t text(stream *s, uint32_t group, const char *name, const char *t) {
    tfm_record rec = {.type = TFM_REC_TEXT, .dtype = TFM_U8, .rank = 1, .group = group};
    rec.dims[0] = (uint32_t)strlen(t);
    snprintf(rec.name, sizeof rec.name, "%s", name);
    return record(s, rec, t, strlen(t));
}

static size_t group_end(stream *s, uint32_t group, uint16_t status) {
    return record(
        s, (tfm_record){.type = TFM_REC_GROUP_END, .group = group, .status = status, .position = 3},
        "", 0);
}

static size_t error(stream *s, uint32_t group, const char *message) {
    tfm_record rec = {.type = TFM_REC_ERROR, .dtype = TFM_U8, .rank = 1, .group = group};
    rec.dims[0] = (uint32_t)strlen(message);
    strcpy(rec.name, "tfm-embed");
    return record(s, rec, message, strlen(message));
}

static size_t end_counting(stream *s, uint64_t records, uint64_t groups) {
    unsigned char counts[16];
    tfm_store_u64(counts, records);
    tfm_store_u64(counts + 8, groups);
    return record(s, (tfm_record){.type = TFM_REC_END, .dtype = TFM_I64, .rank = 1, .dims = {2}},
                  counts, 16);
}

static size_t end(stream *s) {
    return end_counting(s, s->seq, s->group_ends);
}

/* A whole small stream; returns where its tokens record begins. */
static size_t small(stream *s) {
    header(s, TOKENS);
    size_t at = tokens(s, 0, 0);
    group_end(s, 0, TFM_END_OPEN);
    end(s);
    return at;
}

/* A small stream whose tokens record has one byte of its head or name changed and sealed again. */
static void small_with(stream *s, size_t offset, unsigned char value) {
    size_t at = small(s);
    s->b.data[at + offset] = (char)value;
    seal(s, at);
}

/* The same with a byte flipped and nothing sealed: damage. */
static void small_damaged(stream *s, size_t offset) {
    size_t at = small(s);
    s->b.data[at + offset] ^= 0x10;
}

static void with_record(stream *s, tfm_record rec, const void *payload, size_t n) {
    header(s, TOKENS);
    record(s, rec, payload, n);
    end(s);
}

#endif
