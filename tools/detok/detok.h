/* detok.h - the parts of tfm-detok: the vocabulary of a stream; its groups; their text. */
#ifndef TFM_TOOLS_DETOK_H
#define TFM_TOOLS_DETOK_H

#include "cli/cli.h"
#include "tfm/load.h"
#include "tfm/tokenizer.h"

typedef enum frame { FRAME_HEADER, FRAME_WHOLE, FRAME_LINE, FRAME_NUL, FRAME_JSONL } frame;

typedef struct options {
    frame frame; /* FRAME_HEADER: what the stream says */
    bool escape, show_special;
} options;

/* ---- bytes.c: growing byte strings, and writing them ---- */

typedef struct bytes {
    char *data;
    size_t len, cap;
} bytes;
tfm_status bytes_add(bytes *b, const void *p, size_t n, tfm_error *err) TFM_MUST_CHECK;
tfm_status bytes_str(bytes *b, const char *s, tfm_error *err) TFM_MUST_CHECK;
void bytes_free(bytes *b);
/* All of it to the file, then empty. */
tfm_status bytes_write(bytes *b, int fd, const char *name, tfm_error *err) TFM_MUST_CHECK;

/* ---- vocab.c: which vocabulary ---- */

typedef struct vocab {
    const tfm_cli *cli;
    tfm_model *model;
    tfm_vocab *raw;
    tfm_tokenizer *tok;
} vocab;
/* Opens the vocabulary that the stream's tokens belong to, unless it is open already. */
tfm_status vocab_for(vocab *v, const tfm_header *h, tfm_error *err) TFM_MUST_CHECK;
void vocab_close(vocab *v);

/* ---- groups.c: records gathered by group, text given out in the order of groups ---- */

typedef struct group {
    uint32_t number;
    tfm_detok *detok; /* NULL before the first tokens */
    bytes text, source, tail, error;
    bool has_source, failed, ended;
    bool is_told; /* failed upstream, where somebody said so */
    tfm_end how;
} group;

typedef struct groups {
    tfm_cli *cli;
    const options *opt;
    vocab *vocab;
    int fd;
    const char *out_name;
    frame frame;
    bool has_turns;   /* an answer ends with the flags LAST and FLUSH, its group goes on */
    uint32_t samples; /* samples of each record */
    uint64_t next;    /* the group whose text comes next */
    group **open;     /* [n_open] ascending by number, from open + head */
    size_t head, n_open, cap;
    bytes out;           /* what is to be written */
    bytes last_source;   /* source line of sample 0, for samples that carry none */
    uint64_t n_replaced; /* terminators in the text written as spaces */
    uint64_t n_failed;   /* groups that failed upstream */
    bytes first_failed;  /* which, and why */
    uint64_t n_taken;    /* source lines that have a key of the result already */
    uint64_t n_broken;   /* bytes of the text that JSON cannot hold */
} groups;

/* A new stream begins. */
tfm_status groups_begin(groups *g, const tfm_header *h, tfm_error *err) TFM_MUST_CHECK;
tfm_status groups_record(groups *g, const tfm_record *rec, const void *payload,
                         tfm_error *err) TFM_MUST_CHECK;
/* The stream has ended: what is left is written. */
tfm_status groups_finish(groups *g, tfm_error *err) TFM_MUST_CHECK;
/* Writes what is ready: nothing else has arrived. */
tfm_status groups_flush(groups *g, tfm_error *err) TFM_MUST_CHECK;
void groups_close(groups *g);

/* ---- json.c ---- */

/* The line of a finished group, LF included. */
tfm_status json_line(groups *g, const group *gr, const bytes *source,
                     tfm_error *err) TFM_MUST_CHECK;

#endif
