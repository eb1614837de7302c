/* stream.h - the tensor stream: what flows on every edge of a pipeline. Format: tfm-stream(5).
 *
 *     tfm_reader *r;                                    // copy a stream
 *     tfm_writer *w;
 *     TFM_TRY(tfm_reader_new(&r, 0, "stdin", err));
 *     TFM_TRY(tfm_writer_new(&w, 1, "stdout", err));
 *     while ((st = tfm_reader_stream(r, err)) == TFM_OK) {        // every stream of `cat a b`
 *         TFM_TRY(tfm_writer_header(w, tfm_reader_header(r), err));
 *         tfm_record rec;
 *         while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
 *             const void *payload;
 *             TFM_TRY(tfm_reader_payload(r, &payload, err));
 *             TFM_TRY(tfm_writer_record(w, &rec, payload, err));
 *         }
 *         if (st != TFM_DONE) return st;                 // truncated, broken, or upstream failed
 *         TFM_TRY(tfm_writer_end(w, err));
 *     }
 *     if (st != TFM_DONE) return st;
 *
 * A reader checks everything: magic, version, critical keys, sequence numbers, lengths, padding,
 * every CRC, counts in END. A reader buffers; ask tfm_reader_pending before polling its fd.
 */
#ifndef TFM_STREAM_H
#define TFM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tfm/status.h"
#include "tfm/tensor.h"

/* ---- header: an ordered list of key-value lines ---- */

/* First line "TFMSTRM1", then "kind K", "needs 1.0", then "key value" lines in the order they were
 * added (a key may repeat: prov), then "end CRC". Keys: [A-Za-z0-9_-]{1,64}; an upper-case first
 * letter makes the key critical. Values: UTF-8 without control characters, may hold spaces.
 * Kinds: text, tokens, hidden, logits, scores, embedding, cache, tensor (anything), model, and
 * error: from a stage that failed before it had a header, nothing but a stream ERROR. */
typedef struct tfm_header tfm_header;

#define TFM_HEADER_MAX (1u << 20)   /* bytes */
#define TFM_PAYLOAD_MAX (16u << 20) /* bytes of one payload when kind is not model */
#define TFM_GROUP_ALL UINT32_MAX    /* group of an ERROR that ends the whole stream */
#define TFM_NAME_MAX 255

TFM_API tfm_status tfm_header_new(tfm_header **out, const char *kind,
                                  tfm_error *err) TFM_MUST_CHECK;
/* A copy: the kind and all keys in their order. */
TFM_API tfm_status tfm_header_copy(tfm_header **out, const tfm_header *h,
                                   tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_header_free(tfm_header *h);
TFM_API const char *tfm_header_kind(const tfm_header *h);
/* TFM_OK if h is of `kind`; else TFM_MISMATCH that names the tool whose stream it is, both kinds,
 * and what makes the wanted one. */
TFM_API tfm_status tfm_header_expect(const tfm_header *h, const char *kind,
                                     tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_header_set_kind(tfm_header *h, const char *kind,
                                       tfm_error *err) TFM_MUST_CHECK;
/* Value of the first line with this key, or NULL. Borrowed until the header changes. */
TFM_API const char *tfm_header_get(const tfm_header *h, const char *key);
/* Replaces the first line with this key, else appends one. value NULL removes all of the key. */
TFM_API tfm_status tfm_header_set(tfm_header *h, const char *key, const char *value,
                                  tfm_error *err) TFM_MUST_CHECK;
/* Always appends. */
TFM_API tfm_status tfm_header_add(tfm_header *h, const char *key, const char *value,
                                  tfm_error *err) TFM_MUST_CHECK;
TFM_API size_t tfm_header_count(const tfm_header *h); /* key lines, kind and needs not counted */
TFM_API const char *tfm_header_key(const tfm_header *h, size_t i);
TFM_API const char *tfm_header_value(const tfm_header *h, size_t i);

/* ---- records ---- */

typedef enum tfm_rec_type {
    TFM_REC_TENSOR = 1,    /* dims and dtype say the payload */
    TFM_REC_TEXT = 2,      /* u8, rank 1: bytes (source line, frame tail, text) */
    TFM_REC_META = 3,      /* u8, rank 1: YAML */
    TFM_REC_GROUP_END = 4, /* no payload; status is a tfm_end */
    TFM_REC_ERROR = 5,     /* name = program, payload = message (u8), group or TFM_GROUP_ALL */
    TFM_REC_FORK = 6,      /* u8 none; i32 [2] payload: parent group, length; group = the new one */
    TFM_REC_INDEX = 7,     /* model only: u8, the text index of tensors */
    TFM_REC_END = 8        /* i64 [2]: records before this one, GROUP-END records among them */
} tfm_rec_type;
#define TFM_REC_ANCILLARY 0x80u /* bit 7 of an unknown type: pass it on */
/* Ancillary, of the generation loop: "held" (i32 [1]: a token drawn that is not certain yet) and
 * "flush" (nothing but its flag, where no other record can carry it). */
#define TFM_REC_LOOP 0x81u

enum {
    TFM_FLAG_FLUSH = 1,     /* the writer will now wait for results */
    TFM_FLAG_LAST = 2,      /* the last row of this turn */
    TFM_FLAG_CONTINUES = 4, /* tokens that follow a prompt not in this stream: strip no space */
    TFM_FLAG_ALL = 7
};

/* How a group ended: status of GROUP-END. */
typedef enum tfm_end {
    TFM_END_OPEN = 0,    /* input complete, nothing generated */
    TFM_END_STOP = 1,    /* a --stop string */
    TFM_END_TOKEN = 2,   /* an end-of-generation token ("end") */
    TFM_END_LENGTH = 3,  /* -n reached */
    TFM_END_CONTEXT = 4, /* the context is full */
    TFM_END_ERROR = 5    /* an ERROR record of this group came before */
} tfm_end;
TFM_API const char *
tfm_end_name(unsigned status); /* "open" "stop" "end" "length" "context" "error" */

typedef struct tfm_record {
    uint8_t type;    /* tfm_rec_type, bit 7 = ancillary */
    uint8_t dtype;   /* tfm_dtype; 0 when there is no payload */
    uint8_t rank;    /* 0..4 */
    uint16_t flags;  /* TFM_FLAG_* */
    uint16_t status; /* GROUP-END: tfm_end; else 0 */
    uint32_t group;
    uint32_t position; /* of row 0 */
    uint32_t seq;      /* set by the reader; the writer counts its own */
    uint64_t bytes;    /* payload bytes; set by the reader; the writer computes it from dims */
    uint32_t dims[TFM_MAX_RANK];
    char name[TFM_NAME_MAX + 1]; /* NUL-terminated; UTF-8, no control characters */
} tfm_record;
/* Does the record belong to the group that it names? Not INDEX, END, META and ancillary ones, which
 * are of the stream; an ancillary record's group means what its type says. */
TFM_API bool tfm_record_has_group(const tfm_record *rec);

/* Carries FLUSH alone. */
#define TFM_FLUSH_NOTE                                                                             \
    { .type = TFM_REC_LOOP, .flags = TFM_FLAG_FLUSH, .name = "flush" }

/* ---- reader ---- */

typedef struct tfm_reader tfm_reader;

/* Reads from fd, which is borrowed (never closed). `name` is for messages. Gzipped input is
 * recognised by its magic and inflated. */
TFM_API tfm_status tfm_reader_new(tfm_reader **out, int fd, const char *name,
                                  tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_reader_free(tfm_reader *r);
/* Who writes what is wanted here, as a rule ("tfm-embed"): named when the input ends before a
 * header has said whose it is. Borrowed. */
TFM_API void tfm_reader_writer(tfm_reader *r, const char *tools);
/* Goes to the next header. TFM_OK: one was read. TFM_DONE: the input ended cleanly after an END.
 * Input with no byte at all is TFM_TRUNCATED; a stream of kind error is TFM_UPSTREAM. May only be
 * called at the start or after tfm_reader_next gave TFM_DONE. */
TFM_API tfm_status tfm_reader_stream(tfm_reader *r, tfm_error *err) TFM_MUST_CHECK;
/* The present header, borrowed until the next tfm_reader_stream. */
TFM_API const tfm_header *tfm_reader_header(const tfm_reader *r);
/* The next record without its payload; what was left unread of the last payload is read and
 * checked first. TFM_DONE: END was read and its counts are right. A stream ERROR (TFM_GROUP_ALL)
 * is returned as TFM_UPSTREAM with the message "upstream PROGRAM: MESSAGE"; a truncation as
 * TFM_TRUNCATED naming the `tool` of the header as the stage that was lost. Group ERROR records
 * come as records. */
TFM_API tfm_status tfm_reader_next(tfm_reader *r, tfm_record *rec, tfm_error *err) TFM_MUST_CHECK;
/* The whole payload of the present record, 64-byte aligned, CRC checked; borrowed until the next
 * call on r. Memory grows as bytes arrive, so a lying length costs nothing. */
TFM_API tfm_status tfm_reader_payload(tfm_reader *r, const void **payload,
                                      tfm_error *err) TFM_MUST_CHECK;
/* The next piece of the payload; *n = 0 at its end (then the CRC has been checked). */
TFM_API tfm_status tfm_reader_chunk(tfm_reader *r, const void **p, size_t *n,
                                    tfm_error *err) TFM_MUST_CHECK;
/* Are bytes buffered, so that the next call may not block even if the fd has nothing? */
TFM_API bool tfm_reader_pending(const tfm_reader *r);
/* Do tfm_reader_next and tfm_reader_payload give the next record of the present stream without
 * waiting for its writer? Reads what is there. True also where only reading can tell: a very large
 * record, a gzipped input, a failure. The present payload is gone after it. */
TFM_API bool tfm_reader_ready(tfm_reader *r);
/* Bytes of input consumed so far (offset of the next record in an uncompressed file). */
TFM_API uint64_t tfm_reader_offset(const tfm_reader *r);

/* ---- writer ---- */

typedef struct tfm_writer tfm_writer;

TFM_API tfm_status tfm_writer_new(tfm_writer **out, int fd, const char *name,
                                  tfm_error *err) TFM_MUST_CHECK;
/* Frees without writing anything more: what was not flushed is lost. */
TFM_API void tfm_writer_free(tfm_writer *w);
/* Starts a stream; flushed at once, so that the next stage can start. */
TFM_API tfm_status tfm_writer_header(tfm_writer *w, const tfm_header *h,
                                     tfm_error *err) TFM_MUST_CHECK;
/* Writes one record. rec->bytes and rec->seq are ignored (computed); payload may be NULL when the
 * dims give 0 bytes or rec->dtype is 0. A record with TFM_FLAG_FLUSH is flushed. */
TFM_API tfm_status tfm_writer_record(tfm_writer *w, const tfm_record *rec, const void *payload,
                                     tfm_error *err) TFM_MUST_CHECK;
/* A record in pieces: begin, any number of data, finish. payload_bytes as the dims say (model
 * streams may exceed TFM_PAYLOAD_MAX). */
TFM_API tfm_status tfm_writer_begin(tfm_writer *w, const tfm_record *rec,
                                    tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_writer_data(tfm_writer *w, const void *p, size_t n,
                                   tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_writer_finish(tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;
/* Writes `rec` (of the same payload size) with the payload of r's present record, in pieces. */
TFM_API tfm_status tfm_writer_copy(tfm_writer *w, const tfm_record *rec, tfm_reader *r,
                                   tfm_error *err) TFM_MUST_CHECK;
/* Shorthands. */
TFM_API tfm_status tfm_writer_text(tfm_writer *w, uint32_t group, const char *name,
                                   const void *text, size_t n, tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_writer_group_end(tfm_writer *w, uint32_t group, uint32_t position,
                                        tfm_end how, tfm_error *err) TFM_MUST_CHECK;
/* An ERROR record; group TFM_GROUP_ALL ends the stream (no END follows, the writer is flushed).
 * Inside an unfinished record it fails with TFM_USAGE: then only a cut stream can tell. */
TFM_API tfm_status tfm_writer_error(tfm_writer *w, uint32_t group, const char *program,
                                    const char *message, tfm_error *err) TFM_MUST_CHECK;
/* Closes every group that has records but no GROUP-END yet, in ascending order: an ERROR record of
 * `program` and a GROUP-END with TFM_END_ERROR. *n (may be NULL) = how many. For those who must end
 * a stream whose source was lost. */
TFM_API tfm_status tfm_writer_fail_groups(tfm_writer *w, const char *program, const char *message,
                                          size_t *n, tfm_error *err) TFM_MUST_CHECK;
/* END with its counts, then flush. Another header may follow. */
TFM_API tfm_status tfm_writer_end(tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;
TFM_API tfm_status tfm_writer_flush(tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;
/* Bytes written so far, buffered ones included: the offset of the next record. */
TFM_API uint64_t tfm_writer_offset(const tfm_writer *w);
/* Is a stream open (header written, no END, no stream ERROR yet)? */
TFM_API bool tfm_writer_is_open(const tfm_writer *w);

/* ---- pieces for those who place records themselves (the model container, salvage) ---- */

/* Parses a header at p[0..n): *used = its length padded to 64. TFM_TRUNCATED if more is needed. */
TFM_API tfm_status tfm_header_parse(tfm_header **out, const void *p, size_t n, size_t *used,
                                    tfm_error *err) TFM_MUST_CHECK;
/* Parses the 64-byte head and the name at p[0..n): *payload_at = offset of the payload from p,
 * *next = offset of the next record. Checks magic, CRC, flags, padding, dims against bytes; not the
 * payload CRC. is_model lifts TFM_PAYLOAD_MAX. */
TFM_API tfm_status tfm_record_parse(tfm_record *rec, const void *p, size_t n, bool is_model,
                                    uint64_t *payload_at, uint64_t *next,
                                    tfm_error *err) TFM_MUST_CHECK;

#endif
