/* model_options.c - options about a model that several tools share: the cache's type, a block
 * range. */
#include <string.h>

#include "base/base_internal.h"
#include "cli/cli.h"

tfm_dtype tfm_cli_kv(tfm_cli *c) {
    tfm_dtype t = tfm_dtype_parse(c->arg);

    if (t != TFM_F16 && t != TFM_F32 && t != TFM_Q8_0)
        tfm_cli_usage(c, "%s: '%s' is no type of the cache: give f16, f32 or q8_0", c->option,
                      c->arg);
    return t;
}

void tfm_cli_layers(tfm_cli *c, uint32_t *first, uint32_t *end) {
    const char *dash = strchr(c->arg, '-');
    char text[16] = "";
    uint64_t a, b;

    if (!dash) dash = c->arg + strlen(c->arg); /* one block */
    if ((size_t)(dash - c->arg) < sizeof text) memcpy(text, c->arg, (size_t)(dash - c->arg));
    if (!tfm_parse_u64(text, 0, UINT32_MAX - 1, &a) ||
        !tfm_parse_u64(*dash ? dash + 1 : text, a, UINT32_MAX - 1, &b))
        tfm_cli_usage(c, "%s: '%s' is no range of blocks: give A-B, both included, from 0",
                      c->option, c->arg);
    *first = (uint32_t)a;
    *end = (uint32_t)b + 1;
}
