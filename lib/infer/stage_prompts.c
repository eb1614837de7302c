/* stage_prompts.c - the first stage over tokens of the neutral vocabulary `raw-bytes`.
 *
 * The model's tokens are known only when a group's text is whole, so groups are gathered by
 * tfm_prompts and then taken as the records that tfm-tokenize with this model would have written,
 * except that what else a group holds comes before its tokens.
 */
#include <stdio.h>
#include <string.h>

#include "infer/stage_internal.h"
#include "tfm/prompts.h"

static tfm_status take_failed(tfm_stage *s, const tfm_prompt *p, tfm_writer *w, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_ERROR, .dtype = TFM_U8, .rank = 1, .group = p->group};

    rec.bytes = strlen(p->message);
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) rec.dims[i] = i ? 1 : (uint32_t)rec.bytes;
    snprintf(rec.name, sizeof rec.name, "%s", p->program ? p->program : s->options.program);
    return tfm_stage_take(s, &rec, p->message, w, err);
}

static tfm_status take_tokens(tfm_stage *s, const tfm_prompt *p, tfm_writer *w, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .flags = TFM_FLAG_LAST,
                      .group = p->group,
                      .name = "tokens",
                      .bytes = p->n * sizeof *p->ids,
                      .dims = {(uint32_t)p->n, 1, 1, 1}};

    if (p->n > UINT32_MAX)
        return tfm_fail(err, TFM_LIMIT, "group %u: a prompt of %zu tokens", p->group, p->n);
    return tfm_stage_take(s, &rec, p->ids, w, err);
}

static tfm_status take_prompt(tfm_stage *s, const tfm_prompt *p, tfm_writer *w, tfm_error *err) {
    tfm_record end = {.type = TFM_REC_GROUP_END,
                      .group = p->group,
                      .position = (uint32_t)p->n,
                      .status = p->message ? TFM_END_ERROR : TFM_END_OPEN,
                      .flags = p->flush ? TFM_FLAG_FLUSH : 0,
                      .dims = {1, 1, 1, 1}};

    for (size_t i = 0; i < p->n_passed; i++) {
        tfm_record rec = p->passed[i].record;
        rec.flags &= (uint16_t)~TFM_FLAG_FLUSH; /* the group's last record carries it */
        TFM_TRY(tfm_stage_take(s, &rec, p->passed[i].payload, w, err));
    }
    TFM_TRY(p->message ? take_failed(s, p, w, err) : take_tokens(s, p, w, err));
    return tfm_stage_take(s, &end, NULL, w, err);
}

bool tfm_stage_is_raw(const tfm_stage *s, const tfm_header *in) {
    const char *vocab = tfm_header_get(in, "vocab");

    return s->options.part == TFM_PART_EMBED && vocab && strcmp(vocab, "raw-bytes") == 0 &&
           *tfm_model_vocab_id(s->model);
}

tfm_status tfm_stage_take_prompts(tfm_stage *s, tfm_reader *r, tfm_writer *w, tfm_error *err) {
    const tfm_vocab *vocab;
    tfm_prompts *prompts;
    tfm_prompt p;
    tfm_status st;

    TFM_TRY(tfm_model_vocab(s->model, &vocab, err));
    TFM_TRY(tfm_prompts_new(&prompts, r, vocab, tfm_model_path(s->model), err));
    while ((st = tfm_prompts_next(prompts, &p, err)) == TFM_OK)
        if ((st = take_prompt(s, &p, w, err)) != TFM_OK) break;
    tfm_prompts_free(prompts);
    return st == TFM_DONE ? TFM_OK : st;
}
