/* stream_internal.h - what the files of the stream layer share; the format itself: tfm-stream(5).
 *
 *     input.c   bytes of a descriptor, inflated if gzipped, in a buffer that keeps alignment
 *     header.c  the text header          record.c  the 64-byte head, every rule on its fields
 *     groups.c  open groups              reader.c, writer.c  the two ends of an edge
 */
#ifndef TFM_STREAM_INTERNAL_H
#define TFM_STREAM_INTERNAL_H

#include "base/base_internal.h"
#include "tfm/stream.h"

enum {
    TFM_ALIGN = 64,     /* header, head + name, payload + CRC: multiples */
    TFM_HEAD_SIZE = 64, /* the fixed part of a record */
    TFM_HEAD_MAX = TFM_HEAD_SIZE + TFM_NAME_MAX + 1 /* with the longest name, padded: 320 */
};
#define TFM_REC_MAGIC "\x89TFR"
#define TFM_STREAM_MAGIC "TFMSTRM1\n"
#define TFM_VERSION_MAJOR 1u
#define TFM_VERSION_MINOR 0u

/* n rounded up to the alignment; n must be at most UINT64_MAX - 63. */
uint64_t tfm_pad64(uint64_t n);
/* UTF-8 without control characters (C0, DEL, C1)? */
bool tfm_is_plain_utf8(const char *s, size_t n);

/* ---- header.c ---- */

/* Where the header at p[0..n) ends: *total = its padded length once the end line is in sight, else
 * 0 (more bytes are needed). `from` bytes were searched before. Fails as soon as the first bytes
 * cannot be a header, or past TFM_HEADER_MAX. */
tfm_status tfm_header_extent(const unsigned char *p, size_t n, size_t from, size_t *total,
                             tfm_error *err) TFM_MUST_CHECK;
/* The header's bytes, CRC and padding included, appended to the empty buffer b. */
tfm_status tfm_header_format(const tfm_header *h, tfm_buf *b, tfm_error *err) TFM_MUST_CHECK;

/* ---- record.c ---- */

/* Checks every field of rec against the others (the stored sizes excepted) and computes the
 * payload's bytes. The rules are the same for what is read and for what is written. */
tfm_status tfm_record_check(const tfm_record *rec, bool is_model, uint64_t *bytes,
                            tfm_error *err) TFM_MUST_CHECK;
/* Head and name of a checked record; returns their padded size. out: [TFM_HEAD_MAX]. */
size_t tfm_record_format(const tfm_record *rec, unsigned char *out);
const char *tfm_rec_type_name(unsigned type); /* "tensor", ..., "unknown" */

/* ---- input.c ---- */

/* buf is 64-byte aligned and the stream's byte i always lies at an address that is i modulo 64, so
 * a payload that is in the buffer as a whole can be used where it is. */
typedef struct tfm_input tfm_input;
enum { TFM_INPUT_PEEK = 128 * 1024 };
tfm_status tfm_input_new(tfm_input **out, int fd, const char *name, tfm_error *err) TFM_MUST_CHECK;
void tfm_input_free(tfm_input *in);
const char *tfm_input_name(const tfm_input *in);
/* Buffers until n bytes are there or the input ends; *p and *have are what is buffered then. */
tfm_status tfm_input_need(tfm_input *in, size_t n, const unsigned char **p, size_t *have,
                          tfm_error *err) TFM_MUST_CHECK;
/* Buffers up to n bytes (n at most TFM_INPUT_PEEK) as far as they are there without waiting. False:
 * fewer are, and more may come; true also if only a read can tell. */
bool tfm_input_peek(tfm_input *in, size_t n, const unsigned char **p, size_t *have);
/* Takes n buffered bytes. */
void tfm_input_take(tfm_input *in, size_t n);
/* Copies up to n bytes to dst and takes them, past the buffer once that is empty; *got = 0 only at
 * the end. */
tfm_status tfm_input_read(tfm_input *in, void *dst, size_t n, size_t *got,
                          tfm_error *err) TFM_MUST_CHECK;
/* Is there more than the first `held` bytes without reading from the descriptor? */
bool tfm_input_pending(const tfm_input *in, size_t held);
uint64_t tfm_input_offset(const tfm_input *in);

#endif
