/* main.c - tfm-embed: tokens in, hidden out, the embedding in front of the first block. */
#include "cli/cli.h"

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {'c', "ctx", "N", "context of the whole pipeline (default: the model's, 4096 at most)"},
    TFM_OPT_PROBE,
    TFM_OPT_END};

static const tfm_program program = {"tfm-embed", "[options] [FILE...]",
                                    "token and position embedding: tokens to hidden", options};

int main(int argc, char **argv) {
    tfm_stage_options o = {.part = TFM_PART_EMBED};
    tfm_cli cli;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int opt; (opt = tfm_cli_next(&cli)) != 0;)
        if (!tfm_cli_probe_take(&cli, opt) && opt == 'c')
            o.engine.ctx = tfm_cli_u32(&cli, 1, UINT32_MAX);
    return tfm_cli_stage(&cli, &o);
}
