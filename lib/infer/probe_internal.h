/* probe_internal.h - what probe.c (what is asked for), probe_names.c (which value that is),
 * probe_graph.c (the rewritten graph) and taps.c (what is kept, as records) share. */
#ifndef TFM_PROBE_INTERNAL_H
#define TFM_PROBE_INTERNAL_H

#include "infer/infer_internal.h"
#include "tfm/probe.h"

/* ---- what is asked for ---- */

/* All rows of one name in one file. */
typedef struct probe_rows {
    char *name;
    const char *file; /* for messages */
    uint32_t width;   /* 0: rows of different widths, as those of a pattern are: no sums */
    double *sum;      /* [width] over all rows; mean and steer */
    uint64_t count;   /* rows */
    /* patch only: */
    tfm_edit_row *row; /* [count]; data is NULL until the graph is made: one after another in */
    float *data;       /* [n_data] */
    size_t n_data, row_cap, data_cap;
    bool is_used, met; /* the value is in the engine's range; a batch had one of the rows */
} probe_rows;

typedef struct probe_table {
    probe_rows *entry; /* [n] */
    size_t n, cap;
    size_t last; /* where the last record's name was */
} probe_table;

typedef struct probe_globs {
    char **glob; /* [n] */
    size_t n, cap;
} probe_globs;

typedef struct probe_steer {
    probe_table table;
    double scale;
} probe_steer;

struct tfm_probe {
    probe_globs tap, ablate, skip;
    probe_table mean, patch;
    probe_steer *steer; /* [n_steer] */
    size_t n_steer, steer_cap;
    bool has_mean;
    uint32_t from, to; /* positions of ablation and steering */
    char **file;       /* [n_files] names for messages, owned */
    size_t n_files, file_cap;
};

/* ---- which value that is ---- */

enum { PROBE_NAMES = 4 }; /* of one value: the step's, and what it is */

/* One output of one step. */
typedef struct probe_node {
    size_t step;
    int value;           /* id in the graph; TFM_NONE: the pattern of an attention */
    uint32_t width;      /* of a row; 0 for a pattern */
    uint32_t heads, dim; /* heads 0: a row is [width], else [heads, dim]; a pattern's dim is 0 */
    const char *name[PROBE_NAMES];
    int n_names;
    const char *head; /* "blk.N.head", where a row is what the heads give; or NULL */
} probe_node;

typedef struct probe_nodes {
    const tfm_graph *g;
    tfm_arena *arena; /* borrowed: the names are there */
    probe_node *node; /* [n], in the order of the steps */
    size_t n;
    size_t *attn_out, *ffn_out; /* [n_blocks] node of what is added, SIZE_MAX if there is none */
    size_t first, end;          /* steps that count */
} probe_nodes;

tfm_status tfm_probe_nodes(probe_nodes *out, const tfm_graph *g, size_t first, size_t end,
                           tfm_arena *arena, tfm_error *err) TFM_MUST_CHECK;
/* The name of the node that the glob matches (the last of them: what it is, rather than the
 * step's), or NULL. */
const char *tfm_probe_match(const probe_node *n, const char *glob);
bool tfm_probe_in_range(const probe_nodes *nodes, const probe_node *n);
/* Columns of a value. */
typedef struct probe_target {
    const probe_node *node;
    uint32_t first, width;
} probe_target;
/* By exact name, blk.N.head.H included, in the whole graph; false if there is none. */
bool tfm_probe_find(const probe_nodes *nodes, const char *name, probe_target *out);
/* The names nearest to one that matches nothing, for the message. */
typedef struct probe_nearest {
    const char *glob;
    char name[3][TFM_NAME_MAX + 1]; /* the nearest first */
    unsigned distance[3];
    int n;
} probe_nearest;
void tfm_probe_nearest_add(probe_nearest *near, const char *name);
/* Adds all names of values in range. */
void tfm_probe_nearest_values(probe_nearest *near, const probe_nodes *nodes);
/* Fails: `what` (an option, a file), the glob, the nearest names. */
tfm_status tfm_probe_nearest_fail(const probe_nearest *near, const char *what, tfm_status status,
                                  tfm_error *err);

/* ---- the rewritten graph ---- */

/* A value to be kept. */
typedef struct probe_tap {
    const char *name;           /* NULL: a pattern that is changed, not written */
    uint32_t width, heads, dim; /* as of its node */
} probe_tap;

typedef struct probe_graph {
    tfm_graph graph; /* steps and block starts of its own, the rest borrowed */
    tfm_arena *arena;
    size_t first, end; /* the range in the new steps */
    probe_tap *tap;    /* [graph.n_kept], in the order of the steps */
} probe_graph;

/* p and g are borrowed as long as the result is used. */
tfm_status tfm_probe_apply(probe_graph *out, tfm_probe *p, const tfm_graph *g, size_t first,
                           size_t end, tfm_error *err) TFM_MUST_CHECK;
void tfm_probe_graph_free(probe_graph *g);
/* Notes which names of patches have a row in the batch, also one that nobody wants computed. */
void tfm_probe_meet(tfm_probe *p, const tfm_batch *b);

/* ---- what is kept ---- */

typedef struct tfm_taps {
    const probe_tap *tap; /* [n], borrowed */
    uint32_t n, n_written;
    float **kept; /* [n] of the last batch */
    size_t *cap;  /* [n] */
    uint64_t *keys_at;
    size_t keys_cap;
} tfm_taps;

tfm_status tfm_taps_init(tfm_taps *t, const probe_graph *g, tfm_error *err) TFM_MUST_CHECK;
void tfm_taps_free(tfm_taps *t);
/* Sets b's places for what is kept. */
tfm_status tfm_taps_prepare(tfm_taps *t, tfm_batch *b, tfm_error *err) TFM_MUST_CHECK;
/* As tfm_engine_tap_rows and tfm_engine_tap_write. */
tfm_status tfm_taps_rows(const tfm_taps *t, uint32_t first, uint32_t n, uint32_t position,
                         tfm_buf *to, tfm_error *err) TFM_MUST_CHECK;
tfm_status tfm_taps_write(const tfm_taps *t, uint32_t group, uint32_t position, uint32_t n,
                          const tfm_buf *rows, tfm_writer *w, tfm_error *err) TFM_MUST_CHECK;

#endif
