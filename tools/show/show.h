/* show.h - the parts of tfm-show: what is computed of a record, and how it is printed. */
#ifndef TFM_TOOLS_SHOW_H
#define TFM_TOOLS_SHOW_H

#include <stdio.h>

#include "cli/cli.h"
#include "tfm/stream.h"
#include "tfm/tokenizer.h"

enum { SHOW_FIRST = 8 }; /* values shown of a tensor */

/* What a record holds. Tensors above TFM_PAYLOAD_MAX (they occur in models) are not looked into. */
typedef struct show_values {
    bool has_stats, is_integer;
    uint64_t n, n_nan;
    double min, max, mean; /* of the values that are not NaN */
    unsigned n_first;
    double first[SHOW_FIRST];
    const char *text; /* TEXT, META, INDEX, ERROR: the payload, text_len bytes; else NULL */
    size_t text_len;
} show_values;

/* Fills v from the payload of rec (NULL if it was not read). */
tfm_status show_compute(const tfm_record *rec, const void *payload, show_values *v,
                        tfm_error *err) TFM_MUST_CHECK;

/* ---- format.c: the three forms; `stream` counts from 1 ---- */

void show_header_text(FILE *out, const tfm_header *h, const char *name, size_t stream);
void show_record_text(FILE *out, const tfm_record *rec, const show_values *v);
void show_columns_tsv(FILE *out);
void show_record_tsv(FILE *out, size_t stream, const tfm_record *rec, const show_values *v);
void show_header_json(FILE *out, const tfm_header *h, size_t stream);
void show_record_json(FILE *out, size_t stream, const tfm_record *rec, const show_values *v);
/* The type's name; "ancillary" or a number where there is none. */
const char *show_type(const tfm_record *rec);

/* ---- ids.c: the token ids of groups ---- */

typedef struct show_ids show_ids;
tfm_status show_ids_new(show_ids **out, tfm_error *err) TFM_MUST_CHECK;
/* Keeps the ids of a `tokens` record; prints a group's line when it ends. */
tfm_status show_ids_add(show_ids *s, FILE *out, const tfm_record *rec, const void *payload,
                        tfm_error *err) TFM_MUST_CHECK;
/* The stream ended: prints the groups that are still open, in order of appearance. */
tfm_status show_ids_end(show_ids *s, FILE *out, tfm_error *err) TFM_MUST_CHECK;
void show_ids_free(show_ids *s);
/* One line a token: group, position, id, piece. An id outside v shows as "?". */
void show_pieces(FILE *out, const tfm_vocab *v, const tfm_record *rec, const void *payload);
bool show_is_tokens(const tfm_record *rec);

/* ---- heat.c: tensors as pictures ---- */

typedef struct show_heat_options {
    bool pgm;           /* images; else text */
    bool ascii, colour; /* neither: Unicode shades */
    uint32_t width;     /* columns of the terminal */
} show_heat_options;
typedef struct show_heat show_heat;
tfm_status show_heat_new(show_heat **out, const show_heat_options *o,
                         tfm_error *err) TFM_MUST_CHECK;
void show_heat_free(show_heat *h);
/* Takes a record; draws what it completes. TFM_LIMIT: too many values for a picture. */
tfm_status show_heat_add(show_heat *h, FILE *out, const tfm_record *rec, const void *payload,
                         tfm_error *err) TFM_MUST_CHECK;
/* The stream ended: draws what is left. */
void show_heat_end(show_heat *h, FILE *out);

#endif
