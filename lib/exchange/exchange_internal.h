/* exchange_internal.h - what the files of the exchange layer share.
 *
 *     export.c  streams to files           import.c  files to streams
 *     arrays.c  joins records to arrays    plain.c   arrays without a manifest
 *     json_write.c, json_read.c            a record as a line of JSON
 *     npy.c                                the header of an array
 *     zip_write.c                          npz (read by model/zip_internal.h)
 *
 * The layer knows of streams and of foreign containers, not of models; it stands above the layer
 * `model` because it uses that one's readers of safetensors, of zip archives and of JSON under a
 * memory bound. */
#ifndef TFM_EXCHANGE_INTERNAL_H
#define TFM_EXCHANGE_INTERNAL_H

#include "base/base_internal.h"
#include "model/names_internal.h"
#include "model/zip_internal.h"
#include "tfm/exchange.h"

/* The manifest's member in an npz, and its key in the metadata of a safetensors file. */
#define TFM_MANIFEST_MEMBER "tfm.jsonl"
#define TFM_MANIFEST_KEY "tfm"
/* One array: what a record is joined to may grow to this, then a new array begins. */
#define TFM_ARRAY_MAX ((uint64_t)1 << 30)

/* ---- arrays ---- */

/* Element types of NumPy that are met; the first seven are those of a stream. */
typedef enum tfm_element {
    TFM_EL_F32,
    TFM_EL_F16,
    TFM_EL_I8,
    TFM_EL_U8,
    TFM_EL_I32,
    TFM_EL_I64,
    TFM_EL_U16,  /* also: the bits of bf16 */
    TFM_EL_BF16, /* safetensors only */
    TFM_EL_F64,
    TFM_EL_BOOL,
    TFM_EL_I16,
    TFM_EL_U32,
    TFM_EL_U64,
    TFM_EL_TEXT /* '|S7': bytes; the manifest comes so when NumPy has saved it */
} tfm_element;

enum { TFM_ARRAY_RANK = 8 }; /* dimensions of an array that is read */

typedef struct tfm_array {
    const char *name; /* borrowed; NULL for a bare npy */
    tfm_element element;
    size_t element_bytes;
    unsigned rank;
    uint64_t dims[TFM_ARRAY_RANK]; /* slowest first */
    uint64_t count, bytes;         /* elements, bytes of data */
    const unsigned char *data;     /* any alignment */
} tfm_array;

/* The element type that a dtype is written as (block types: U8), and the dims then: the last one
 * counts bytes; a shape that does not split into whole blocks a row becomes one of rank 1. */
tfm_element tfm_array_of_dtype(tfm_dtype t, unsigned rank, const uint32_t *dims, tfm_array *a);
const char *tfm_element_name(tfm_element e); /* "float32", as NumPy calls it */

/* ---- npy.c: format 1.0 to 3.0 of numpy.lib.format ---- */

/* Magic, version and header of an array, padded to 64 bytes, appended to b. */
tfm_status tfm_npy_header(tfm_buf *b, const tfm_array *a, tfm_error *err) TFM_MUST_CHECK;
/* Parses p[0..n), a whole file; a->data points into it. */
tfm_status tfm_npy_parse(tfm_array *a, const unsigned char *p, uint64_t n,
                         tfm_error *err) TFM_MUST_CHECK;

/* ---- json_write.c ---- */

/* Each appends one line. A record's values: as numbers (payload, as_base64 false), as base64, or,
 * with array != NULL, as the place `row` of that array. */
tfm_status tfm_json_header(tfm_buf *b, const tfm_header *h, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_json_record(tfm_buf *b, const tfm_record *rec, const void *payload, bool as_base64,
                           const char *array, uint64_t row, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_json_end(tfm_buf *b, uint64_t records, uint64_t groups,
                        tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_json_quote(tfm_buf *b, const char *text, size_t n, tfm_error *err) TFM_MUST_CHECK;

/* ---- json_read.c ---- */

typedef enum tfm_json_kind { TFM_JSON_HEADER, TFM_JSON_RECORD, TFM_JSON_END } tfm_json_kind;

typedef struct tfm_json_item {
    tfm_json_kind kind;
    tfm_header *header; /* HEADER: the caller's */
    tfm_record rec;     /* RECORD */
    tfm_buf payload;    /* RECORD: its bytes, reused from line to line */
    char *array;        /* RECORD: its values are there; the caller's; else NULL */
    uint64_t row;
    bool has_flags;           /* RECORD: the line says its flags */
    uint64_t records, groups; /* END */
} tfm_json_item;

/* One line, without its newline. */
tfm_status tfm_json_item_read(tfm_json_item *item, const char *line, size_t n,
                              tfm_error *err) TFM_MUST_CHECK;
void tfm_json_item_clear(tfm_json_item *item); /* header and array, not payload's memory */

/* ---- zip ---- */

typedef struct tfm_zip_writer {
    int fd;
    const char *name; /* for messages */
    uint64_t offset, n;
    tfm_buf directory; /* the central directory so far */
} tfm_zip_writer;
/* One stored member, head and body being its contents, at most UINT32_MAX - 1 bytes together. */
tfm_status tfm_zip_add(tfm_zip_writer *z, const char *name, const void *head, size_t n_head,
                       const void *body, size_t n_body, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_zip_finish(tfm_zip_writer *z, tfm_error *err) TFM_MUST_CHECK;

/* ---- plain.c: arrays without a manifest ---- */

typedef struct tfm_plain {
    const tfm_import_options *o; /* borrowed */
    const tfm_array *array;      /* [n], borrowed */
    size_t n, i;                 /* i: the present array */
    uint64_t batch, row;         /* of the present array: index on the first axis, next row */
    uint32_t *group;             /* [n]: the group of each array (of its first batch entry) */
    tfm_buf values;              /* of the present record, where they had to be converted */
} tfm_plain;
tfm_status tfm_plain_open(tfm_plain *p, const tfm_import_options *o, const tfm_array *array,
                          size_t n, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_plain_next(tfm_plain *p, tfm_record *rec, const void **payload,
                          tfm_error *err) TFM_MUST_CHECK;
void tfm_plain_close(tfm_plain *p);

#endif
