/* sample.h - what the parts of tfm-sample share: main.c (options, streams), turn.c (what is written
 * for one record), draw.c (groups and their tokens). */
#ifndef TFM_SAMPLE_H
#define TFM_SAMPLE_H

#include "cli/cli.h"
#include "tfm/group_map.h"
#include "tfm/stop.h"

#define SAMPLE_MAX_STOPS 64

typedef struct sample_options {
    tfm_sampling sampling;
    bool has_max, all, ignore_end;
    uint32_t max;
    const char *stop[SAMPLE_MAX_STOPS];
    size_t n_stop;
} sample_options;

/* The records written for one record that came in. The last is kept back until the turn is over,
 * because it carries the FLUSH of what came in. */
typedef struct turn {
    tfm_writer *w;
    tfm_record last;
    const void *payload;
    int32_t id; /* payload of a token */
    bool has_last;
} turn;

/* The payload is borrowed until the turn ends or the next record is added; a token's is copied. */
tfm_status turn_add(turn *t, const tfm_record *rec, const void *payload, tfm_error *err);
/* flags: of the record that came in. A FLUSH that no record can carry goes on alone. */
tfm_status turn_end(turn *t, uint16_t flags, tfm_error *err);

/* One stream on its way through. */
typedef struct stage {
    tfm_cli *cli;
    const sample_options *opt;
    const tfm_vocab *vocab; /* or NULL */
    tfm_ids ends;           /* end tokens that the vocabulary does not know of */
    tfm_stop_set *stops;    /* or NULL */
    tfm_reader *r;
    turn turn;
    tfm_group_map *groups; /* of group_state */
    size_t n_forked;       /* ids that these have from one another */
    tfm_sampler *sampler;  /* made when the width is known */
    uint32_t n_vocab;
    uint32_t ctx;  /* of the stream, 0 if it names none */
    tfm_error why; /* why the last group failed: payload of its ERROR */
} stage;

/* The present record of g->r: logits to draw from, tokens to remember, a group that begins with
 * what another remembers (not passed on: its rows are not in the output), or anything else. */
tfm_status draw_logits(stage *g, const tfm_record *rec, tfm_error *err);
tfm_status draw_remember(stage *g, const tfm_record *rec, tfm_error *err);
tfm_status draw_fork(stage *g, const tfm_record *rec, tfm_error *err);
tfm_status draw_pass(stage *g, const tfm_record *rec, tfm_error *err);
/* Forgets all groups. */
void draw_close(stage *g);

#endif
