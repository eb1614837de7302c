/* sampling.c - the sampling options, the same in every tool that draws. */
#include <float.h>

#include "cli/cli.h"

void tfm_cli_sampling_start(tfm_cli_sampling *s) {
    *s = (tfm_cli_sampling){.has_temperature = false, .is_drawn = false};
}

bool tfm_cli_sampling_take(tfm_cli *c, int option, tfm_cli_sampling *s) {
    tfm_sampling *o = &s->sampling;

    switch (option) {
    case 's': o->seed = tfm_cli_u64(c, 0, UINT64_MAX); break;
    case 'T':
        o->temperature = (float)tfm_cli_double(c, 0, 1e6);
        s->has_temperature = true;
        break;
    case 'k':
        o->top_k = tfm_cli_u32(c, 0, UINT32_MAX);
        s->is_drawn = true;
        break;
    case 'p':
        o->top_p = (float)tfm_cli_double(c, 0, 1);
        if (o->top_p == 0) o->top_p = FLT_MIN; /* the library's 0 is "not set": draws from all */
        s->is_drawn = true;
        break;
    case TFM_OPTION_MIN_P:
        o->min_p = (float)tfm_cli_double(c, 0, 1);
        s->is_drawn = true;
        break;
    case TFM_OPTION_REPEAT: o->repeat_penalty = (float)tfm_cli_double(c, 1e-6, 1e6); break;
    case TFM_OPTION_PRESENCE: o->presence_penalty = (float)tfm_cli_double(c, -1e6, 1e6); break;
    case TFM_OPTION_FREQUENCY: o->frequency_penalty = (float)tfm_cli_double(c, -1e6, 1e6); break;
    case TFM_OPTION_LAST: o->penalty_last = tfm_cli_u32(c, 0, UINT32_MAX); break;
    default: return false;
    }
    return true;
}

tfm_sampling tfm_cli_sampling_end(const tfm_cli_sampling *s) {
    tfm_sampling o = s->sampling;
    if (!s->has_temperature && s->is_drawn) o.temperature = 1.0f;
    return o;
}
