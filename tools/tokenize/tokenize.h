/* tokenize.h - the parts of tfm-tokenize: options; batches of records; groups to a stream. */
#ifndef TFM_TOOLS_TOKENIZE_H
#define TFM_TOOLS_TOKENIZE_H

#include "cli/cli.h"
#include "tfm/load.h"
#include "tfm/tokenizer.h"

typedef struct options {
    tfm_cli_frame frame;
    const char *field; /* of JSONL */
    unsigned tok;      /* TFM_TOK_* */
    bool from_ids, flush_each;
    bool strict_unk; /* a record with unknown characters fails */
    bool turns;      /* every record is the whole text so far of one group */
    uint64_t first;
    char **files;
    int n_files;
} options;

enum {
    BATCH_RECORDS = 4096,     /* short lines, too, fill a batch that threads can share */
    LINE_MAX_JSON = 16 << 20, /* bytes of a JSONL line: one TEXT record carries it */
    TEXT_MAX = 1 << 30        /* bytes of any other record */
};

/* The records that have arrived: all that are complete, so that they can be tokenized at once. */
typedef struct batch {
    tfm_cli_records in;
    tfm_cli_record record[BATCH_RECORDS];
    size_t n;
} batch;

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
    size_t n_used; /* of item: the longest batch so far */
    tfm_tok_item item[BATCH_RECORDS];
    void *json[BATCH_RECORDS];
} output;

/* After the last batch: the end of a group of turns. */
tfm_status output_end(output *o, tfm_error *err) TFM_MUST_CHECK;
/* Tokenizes and writes one batch. */
tfm_status output_batch(output *o, const batch *b, tfm_error *err) TFM_MUST_CHECK;
void output_close(output *o);

#endif
