/* main.c - tfm-attend: hidden in, hidden out, a range of Transformer blocks with their cache. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {'L', "layers", "A-B", "the blocks A to B, both included, from 0 (default: all)"},
    {'c', "ctx", "N", "context (default: that of the input)"},
    TFM_OPT_KV,
    TFM_OPT_KV_MEMORY,
    TFM_OPT_PROBE,
    TFM_OPT_END};

static const tfm_program program = {"tfm-attend", "[options] [FILE...]",
                                    "a range of Transformer blocks: hidden to hidden", options};

int main(int argc, char **argv) {
    tfm_stage_options o = {.part = TFM_PART_BLOCKS};
    tfm_cli cli;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int opt; (opt = tfm_cli_next(&cli)) != 0;) {
        if (tfm_cli_probe_take(&cli, opt)) continue;
        switch (opt) {
        case 'L': tfm_cli_layers(&cli, &o.first_block, &o.end_block); break;
        case 'c': o.engine.ctx = tfm_cli_u32(&cli, 1, UINT32_MAX); break;
        case TFM_OPTION_KV: o.engine.kv_type = tfm_cli_kv(&cli); break;
        case TFM_OPTION_KV_MEMORY: o.engine.kv_bytes = tfm_cli_size(&cli); break;
        }
    }
    if (cli.model && !o.engine.kv_bytes) o.engine.kv_bytes = tfm_cli_default_kv_memory(&cli);
    return tfm_cli_stage(&cli, &o);
}
