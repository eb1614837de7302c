/* main.c - tfm-embed: tokens in, hidden out, the embedding in front of the first block. */
#include <fcntl.h>
#include <limits.h>

#include "embed.h"

enum { OPT_LOOP = TFM_LONG, MAX_SEQUENCES = 65536 };

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {'b', "sequences", "N", "with --loop: sequences in flight at once (default: 64)"},
    {'c', "ctx", "N", "context of the whole pipeline (default: the model's, 4096 at most)"},
    {OPT_LOOP, "loop", "FD", "generate: read what tfm-sample drew from the open descriptor FD"},
    TFM_OPT_PROBE,
    TFM_OPT_END};

static const tfm_program program = {"tfm-embed", "[options] [FILE...]",
                                    "token and position embedding: tokens to hidden", options};

int main(int argc, char **argv) {
    tfm_stage_options o = {.part = TFM_PART_EMBED};
    loop_options loop = {.fd = -1};
    tfm_cli cli;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int opt; (opt = tfm_cli_next(&cli)) != 0;) {
        if (tfm_cli_probe_take(&cli, opt)) continue;
        switch (opt) {
        case 'b': loop.sequences = tfm_cli_u32(&cli, 1, MAX_SEQUENCES); break;
        case 'c': o.engine.ctx = tfm_cli_u32(&cli, 1, UINT32_MAX); break;
        case OPT_LOOP:
            loop.fd = (int)tfm_cli_u32(&cli, 3, INT_MAX);
            if (fcntl(loop.fd, F_GETFD) < 0)
                tfm_cli_usage(&cli, "--loop: descriptor %d is not open; add %d<FIFO", loop.fd,
                              loop.fd);
            break;
        }
    }
    if (loop.fd >= 0) return embed_loop(&cli, &o, &loop);
    if (loop.sequences) tfm_cli_usage(&cli, "-b: goes with --loop");
    return tfm_cli_stage(&cli, &o);
}
