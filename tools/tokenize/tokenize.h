/* tokenize.h - the parts of tfm-tokenize: options; records from files; groups to a stream. */
#ifndef TFM_TOOLS_TOKENIZE_H
#define TFM_TOOLS_TOKENIZE_H

#include "cli/cli.h"
#include "tfm/load.h"
#include "tfm/tokenizer.h"

typedef enum frame { FRAME_WHOLE, FRAME_LINE, FRAME_NUL, FRAME_JSONL } frame;

typedef struct options {
    frame frame;
    const char *field; /* of JSONL */
    unsigned tok;      /* TFM_TOK_* */
    bool from_ids, flush_each;
    bool strict_unk; /* a record with unknown characters fails */
    bool turns;      /* every record is the whole text so far of one group */
    uint64_t first;
    char **files;
    int n_files;
} options;

/* ---- input.c: records, a batch at a time ---- */

enum {
    BATCH_RECORDS = 1024,
    LINE_MAX_JSON = 16 << 20, /* bytes of a JSONL line: one TEXT record carries it */
    TEXT_MAX = 1 << 30        /* bytes of any other record */
};

/* One record as it stands in the input, terminator taken off. */
typedef struct span {
    size_t at, len; /* in the input's buffer */
    bool has_tail;  /* whole frame: the input ended with LF */
    bool is_long;   /* longer than the limit: its bytes were thrown away */
} span;

typedef struct input {
    tfm_cli *cli;
    const options *opt;
    int file, fd; /* index of the open file, -1 before the first */
    const char *name;
    bool at_end, skipping;
    char *buf;
    size_t start, scanned, end, cap; /* buf[start..end) is not yet taken */
    span span[BATCH_RECORDS];
    size_t n;
} input;

/* Reads until at least one record is complete, then takes all that are. TFM_DONE: no more. */
tfm_status input_batch(input *in, tfm_error *err) TFM_MUST_CHECK;
/* Was the last batch the end of the input? Only known for the whole frame. */
bool input_is_last(const input *in);
void input_close(input *in);

/* ---- group.c: records to groups ---- */

typedef struct output {
    tfm_cli *cli;
    const options *opt;
    const tfm_tokenizer *tok;
    uint32_t n_vocab;
    tfm_writer *w;
    unsigned threads;
    uint64_t record; /* number of the next record, skipped ones counted */
    uint64_t unknown;
    bool turn_open; /* turns: the group has records and no GROUP-END */
    uint32_t turn_length;
    tfm_tok_item item[BATCH_RECORDS];
    void *json[BATCH_RECORDS];
} output;

/* After the last batch: the end of a group of turns. */
tfm_status output_end(output *o, tfm_error *err) TFM_MUST_CHECK;
/* Tokenizes and writes one batch. */
tfm_status output_batch(output *o, const input *in, tfm_error *err) TFM_MUST_CHECK;
void output_close(output *o);

#endif
