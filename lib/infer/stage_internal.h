/* stage_internal.h - what stage.c (batches) and stage_check.c (what fits) share. */
#ifndef TFM_STAGE_INTERNAL_H
#define TFM_STAGE_INTERNAL_H

#include "infer/infer_internal.h"
#include "tfm/group_map.h"
#include "tfm/stage.h"

typedef struct stage_group {
    tfm_seq seq;
    uint32_t number;
    uint32_t len; /* positions taken, gathered ones included */
    bool has_failed;
    bool in_batch; /* while a batch is laid out */
    uint32_t rows_in_batch, batch_row;
} stage_group;

/* A record on its way through. */
typedef struct stage_entry {
    tfm_record record;
    void *payload;   /* [record.bytes] */
    uint32_t n_rows; /* 0: only passed on */
    uint32_t row;    /* of the batch, its first */
    stage_group *group;
} stage_entry;

struct tfm_stage {
    tfm_stage_options options;
    tfm_model *model;
    tfm_engine *engine;
    tfm_group_map *groups; /* of stage_group */
    stage_entry *entry;    /* [n_entries] */
    size_t n_entries, entry_cap;
    uint32_t n_rows; /* gathered */
    uint64_t n_failed;
    /* one batch */
    stage_group **batch_group; /* [n_seqs] */
    int32_t *token;            /* [rows] */
    uint32_t *position;        /* [rows] */
    uint32_t *row_start;       /* [n_seqs + 1] */
    const uint32_t **page;     /* [n_seqs] */
    uint32_t *group;           /* [n_seqs] */
    uint32_t *out_row;         /* [n_out] */
    uint32_t *out_index;       /* [rows]: which of out_row a row is */
    float *hidden_in;          /* [rows, width] */
    float *result;             /* [rows, width] or [n_out, vocabulary] */
    size_t batch_group_cap, token_cap, position_cap, row_start_cap, page_cap, out_row_cap;
    size_t out_index_cap, hidden_in_cap, result_cap, group_cap;
    tfm_buf taps; /* scratch: the kept rows of one entry */
    uint32_t n_seqs;
};

/* Fills options.engine from the part and from the input's header. */
tfm_status tfm_stage_settle(tfm_stage *s, const tfm_header *in, tfm_error *err) TFM_MUST_CHECK;
/* Does the stream fit this stage? */
tfm_status tfm_stage_check(const tfm_stage *s, const tfm_header *in, tfm_error *err) TFM_MUST_CHECK;
/* Are the stream's tokens raw bytes that this stage has to tokenize? */
bool tfm_stage_is_raw(const tfm_stage *s, const tfm_header *in);
/* Is the record what rows look like? */
tfm_status tfm_stage_check_rows(const tfm_stage *s, const tfm_record *rec,
                                tfm_error *err) TFM_MUST_CHECK;
/* Why the group cannot take these rows, in text; "" if it can. */
void tfm_stage_refuse(const tfm_stage *s, const stage_group *g, const tfm_record *rec,
                      const void *payload, char *text, size_t size);

#endif
