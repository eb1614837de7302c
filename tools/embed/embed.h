/* embed.h - what main.c (options) and loop.c (the generation loop) of tfm-embed share. */
#ifndef TFM_EMBED_H
#define TFM_EMBED_H

#include "cli/cli.h"

typedef struct loop_options {
    int fd; /* -1: no loop */
    uint32_t sequences;
} loop_options;

/* The rest of main, with a loop. Returns the exit status. */
int embed_loop(tfm_cli *c, tfm_stage_options *o, const loop_options *loop);

#endif
