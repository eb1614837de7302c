/* exchange.h - streams as files of other programs: npy, npz, JSON lines, safetensors; and back.
 *
 *     tfm_exporter *e;                           // r stands before its first stream
 *     tfm_export_options o = {.format = TFM_EXCHANGE_NPZ};
 *     TFM_TRY(tfm_export_new(&e, 1, "stdout", &o, err));
 *     while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
 *         TFM_TRY(tfm_export_header(e, tfm_reader_header(r), err));
 *         while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
 *             TFM_TRY(tfm_reader_payload(r, &payload, err));
 *             TFM_TRY(tfm_export_record(e, &rec, payload, err));
 *         }
 *         if (st != TFM_DONE) return st;
 *         TFM_TRY(tfm_export_end(e, err));
 *     }
 *     TFM_TRY(tfm_export_finish(e, err));
 *
 *     tfm_importer *im;
 *     TFM_TRY(tfm_import_new(&im, 0, "stdin", &options, err));
 *     while ((st = tfm_import_stream(im, &header, err)) == TFM_OK) {
 *         TFM_TRY(tfm_writer_header(w, header, err));
 *         while ((st = tfm_import_next(im, &rec, &payload, err)) == TFM_OK)
 *             TFM_TRY(tfm_writer_record(w, &rec, payload, err));
 *         if (st != TFM_DONE) return st;
 *         TFM_TRY(tfm_writer_end(w, err));
 *     }
 *
 * JSON lines hold everything. npz and safetensors hold the tensors as arrays, and beside them a
 * manifest: the same JSON lines, in which a record names the array and the row where its values
 * lie. So these three give back the same headers, records and bytes; npy holds the values of one
 * tensor and nothing else. The forms are specified in tfm-export(1).
 */
#ifndef TFM_EXCHANGE_H
#define TFM_EXCHANGE_H

#include "tfm/stream.h"

typedef enum tfm_exchange {
    TFM_EXCHANGE_NONE = 0,
    TFM_EXCHANGE_NPY = 1,
    TFM_EXCHANGE_NPZ = 2,
    TFM_EXCHANGE_JSONL = 3,
    TFM_EXCHANGE_SAFETENSORS = 4
} tfm_exchange;

/* "npy", "npz", "jsonl", "safetensors"; TFM_EXCHANGE_NONE for another name. */
TFM_API tfm_exchange tfm_exchange_parse(const char *name);
/* By the suffix of a file's name (.json counts as jsonl, too); TFM_EXCHANGE_NONE if it says
 * nothing. */
TFM_API tfm_exchange tfm_exchange_of_path(const char *path);

/* ---- export ---- */

typedef struct tfm_export_options {
    tfm_exchange format;
    bool each;   /* an array for each record; else the rows of a group and name are joined */
    bool base64; /* jsonl: payloads of tensors as base64 instead of numbers */
    int spool;   /* safetensors: a descriptor of an empty temporary file, borrowed */
} tfm_export_options;

typedef struct tfm_exporter tfm_exporter;

/* Writes to fd, which is borrowed, as `name` in messages. */
TFM_API tfm_status tfm_export_new(tfm_exporter **out, int fd, const char *name,
                                  const tfm_export_options *o, tfm_error *err) TFM_MUST_CHECK;
/* Starts a stream. TFM_UNSUPPORTED: a model, which tfm-convert is for. */
TFM_API tfm_status tfm_export_header(tfm_exporter *e, const tfm_header *h,
                                     tfm_error *err) TFM_MUST_CHECK;
/* One record with its whole payload (NULL if it has none). Memory: arrays that are being joined
 * are held until their group ends; everything else goes out at once. */
TFM_API tfm_status tfm_export_record(tfm_exporter *e, const tfm_record *rec, const void *payload,
                                     tfm_error *err) TFM_MUST_CHECK;
/* The stream ended. */
TFM_API tfm_status tfm_export_end(tfm_exporter *e, tfm_error *err) TFM_MUST_CHECK;
/* All streams ended: completes the file. npy: TFM_NOTFOUND without a tensor. */
TFM_API tfm_status tfm_export_finish(tfm_exporter *e, tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_export_free(tfm_exporter *e);

/* ---- import ---- */

/* For arrays that come without a manifest. */
typedef struct tfm_import_options {
    tfm_exchange format; /* TFM_EXCHANGE_NONE: told by the first bytes */
    const char *kind;    /* NULL: the manifest says it; without one that is an error */
    const char *name;    /* of the records; NULL: that of the array, or what the kind uses */
    uint32_t group;      /* of the first array's record, or of the first of a batch */
    uint32_t position;   /* of row 0 */
    bool bf16;           /* 16-bit unsigned integers are bf16 */
    bool round;          /* float64 is rounded to f32 */
} tfm_import_options;

typedef struct tfm_importer tfm_importer;

/* Reads fd, which is borrowed. JSON lines are read as they come; of the other formats a regular
 * file is mapped, and what comes by a pipe is read whole. Strings of o are borrowed. */
TFM_API tfm_status tfm_import_new(tfm_importer **out, int fd, const char *name,
                                  const tfm_import_options *o, tfm_error *err) TFM_MUST_CHECK;
/* The next stream: its header, borrowed until the next call. TFM_DONE: there is none. */
TFM_API tfm_status tfm_import_stream(tfm_importer *im, const tfm_header **h,
                                     tfm_error *err) TFM_MUST_CHECK;
/* The next record of the stream, its payload (NULL if it has none) borrowed until the next call.
 * TFM_DONE: the stream is complete. */
TFM_API tfm_status tfm_import_next(tfm_importer *im, tfm_record *rec, const void **payload,
                                   tfm_error *err) TFM_MUST_CHECK;
TFM_API void tfm_import_free(tfm_importer *im);

#endif
