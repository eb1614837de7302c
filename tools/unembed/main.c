/* main.c - tfm-unembed: hidden in, logits out, the final norm and the output projection. */
#include "cli/cli.h"

enum { OPT_ALL = TFM_LONG, OPT_LENS };

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {OPT_ALL, "all", NULL, "logits of every row, not only of the last of a turn"},
    {OPT_LENS, "lens", NULL, "take the stream before any block, as if it were the last"},
    TFM_OPT_PROBE,
    TFM_OPT_END};

static const tfm_program program = {"tfm-unembed", "[options] [FILE...]",
                                    "final norm and output projection: hidden to logits", options};

int main(int argc, char **argv) {
    tfm_stage_options o = {.part = TFM_PART_HEAD};
    tfm_cli cli;

    tfm_cli_start(&cli, &program, argc, argv);
    for (int opt; (opt = tfm_cli_next(&cli)) != 0;) {
        if (tfm_cli_probe_take(&cli, opt)) continue;
        if (opt == OPT_ALL) o.all_rows = true;
        if (opt == OPT_LENS) o.any_block = true;
    }
    return tfm_cli_stage(&cli, &o);
}
