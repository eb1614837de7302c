/* rope.c - the frequencies of rotary position embedding and their length scaling.
 *
 * inv_freq[i] = base^(-2i/rot), then by kind of scaling:
 *   linear    inv_freq / factor                                (Chen et al. 2023, arXiv 2306.15595)
 *   dynamic   base grows with the context beyond `original`    (NTK-aware, fixed from ctx here)
 *   yarn      a ramp between inv_freq and inv_freq / factor    (Peng et al. 2023, arXiv 2309.00071)
 *   longrope  divided by factors_long or factors_short         (Ding et al. 2024, arXiv 2402.13753)
 * and always divided by `factors` where there are (some families scale by such a table alone).
 * Computed in double and rounded once. What depends on length depends on the context in force,
 * never on how long a text has become: else a result would depend on how the prompt was fed.
 */
#include "arch/graph_internal.h"

#include <math.h>
#include <string.h>

#include "backend/math_internal.h"

#define TWO_PI 6.283185307179586476925

/* YaRN: the (fractional) dimension that turns `turns` times over the original context. */
static double turns_to_dim(double turns, double rot, double base, double original) {
    return rot * tfm_log(original / (turns * TWO_PI)) / (2 * tfm_log(base));
}

/* The share of i that keeps its frequency: 1 for fast dimensions, 0 for slow ones. */
static double yarn_keep(const tfm_astep *s, uint32_t i, double rot, double base, double original) {
    double lo = turns_to_dim(s->num[TFM_N_BETA_FAST], rot, base, original);
    double hi = turns_to_dim(s->num[TFM_N_BETA_SLOW], rot, base, original);
    double ramp;
    if (s->num[TFM_N_TRUNCATE] != 0) {
        lo = floor(lo);
        hi = ceil(hi);
    }
    if (lo < 0) lo = 0;
    if (hi > rot - 1) hi = rot - 1;
    if (hi - lo < 1e-3) hi = lo + 1e-3;
    ramp = ((double)i - lo) / (hi - lo);
    return 1 - (ramp < 0 ? 0 : ramp > 1 ? 1 : ramp);
}

static tfm_status factor_table(const tfm_astep *s, const tfm_tensor *t, uint32_t half,
                               const char **bytes, tfm_error *err) {
    *bytes = NULL;
    if (t == NULL) return TFM_OK;
    if (t->dtype != TFM_F32 || t->rank != 1 || t->dims[0] != half || t->data == NULL)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                             "step '%s': tensor '%s' must be f32 of %u factors", s->name,
                             t->name ? t->name : "?", half);
    *bytes = t->data;
    return TFM_OK;
}

static double magnitude_of(const tfm_astep *s, tfm_rope_scaling kind, double factor,
                           double original) {
    if (s->num[TFM_N_ATTN_FACTOR] > 0) return s->num[TFM_N_ATTN_FACTOR];
    if (kind == TFM_SCALING_YARN && factor > 1) return 0.1 * tfm_log(factor) + 1;
    if (kind == TFM_SCALING_LONGROPE && factor > 1)
        return sqrt(1 + tfm_log(factor) / tfm_log(original));
    return 1;
}

tfm_status tfm_rope_frequencies(const tfm_astep *s, uint32_t rot, uint32_t ctx,
                                const tfm_tensor *const factor[TFM_STEP_TENSORS], float *inv_freq,
                                float *magnitude, tfm_error *err) {
    tfm_rope_scaling kind = (tfm_rope_scaling)(int)s->num[TFM_N_SCALING];
    double base = s->num[TFM_N_BASE], by = s->num[TFM_N_FACTOR];
    double original = s->num[TFM_N_ORIGINAL];
    uint32_t half = rot / 2;
    int extra = (double)ctx > original ? TFM_T_FACTORS_LONG : TFM_T_FACTORS_SHORT;
    const char *table, *more;
    if (kind >= TFM_SCALING_DYNAMIC && original < 2)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                             "step '%s': this scaling needs 'original', "
                             "the context it was made from",
                             s->name);
    if (kind == TFM_SCALING_LONGROPE && factor[extra] == NULL)
        return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                             "step '%s': longrope needs factors_long and "
                             "factors_short",
                             s->name);
    if (kind == TFM_SCALING_DYNAMIC && (double)ctx > original && rot > 2)
        base *= tfm_pow(by * ctx / original - (by - 1), (double)rot / (rot - 2.0));
    TFM_TRY(factor_table(s, factor[TFM_T_FACTORS], half, &table, err));
    TFM_TRY(factor_table(s, kind == TFM_SCALING_LONGROPE ? factor[extra] : NULL, half, &more, err));
    for (uint32_t i = 0; i < half; i++) {
        double f = tfm_pow(base, -2.0 * i / rot);
        float d;
        if (kind == TFM_SCALING_LINEAR) f /= by;
        if (kind == TFM_SCALING_YARN) {
            double keep = yarn_keep(s, i, rot, base, original);
            f = f / by * (1 - keep) + f * keep;
        }
        if (table != NULL) memcpy(&d, table + 4 * (size_t)i, 4), f /= (double)d;
        if (more != NULL) memcpy(&d, more + 4 * (size_t)i, 4), f /= (double)d;
        if (!isfinite(f) || fabs(f) > 1e6)
            return tfm_yaml_fail(s->where, err, TFM_FORMAT,
                                 "step '%s': frequency %u is no usable "
                                 "number",
                                 s->name, i);
        inv_freq[i] = (float)f;
    }
    *magnitude = (float)magnitude_of(s, kind, by, original);
    return TFM_OK;
}
