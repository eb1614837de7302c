/* stage_check.c - what a stage may be given: kind, model, block range, side, context, rows.
 *
 * Owns the keys by which one stage knows another's output: `model` (id), `next-block` (the block
 * before which a hidden stream stands), `side` (dec, for decoders), and the context within
 * `numerics`, because length-dependent rope scaling is fixed from it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "arch/arch_internal.h"
#include "infer/stage_internal.h"

static const char *kind_in(const tfm_stage *s) {
    return s->options.part == TFM_PART_EMBED ? "tokens" : "hidden";
}

static const char *source(const tfm_header *h) {
    const char *tool = tfm_header_get(h, "tool");
    return tool ? tool : "an unnamed tool";
}

uint32_t tfm_header_ctx(const tfm_header *h) {
    const char *numerics = tfm_header_get(h, "numerics");
    const char *at = numerics ? strstr(numerics, "ctx=") : NULL;
    uint64_t ctx;

    if (!at) return 0;
    return tfm_parse_u64(at + 4, 1, UINT32_MAX, &ctx) ? (uint32_t)ctx : 0;
}

tfm_status tfm_stage_settle(tfm_stage *s, const tfm_header *in, tfm_error *err) {
    tfm_model_range *r = &s->options.engine.range;
    tfm_graph *g;

    TFM_TRY(tfm_header_expect(in, kind_in(s), err));
    if (s->options.engine.ctx == 0) s->options.engine.ctx = tfm_header_ctx(in);
    TFM_TRY(tfm_graph_new(&g, s->model, s->options.engine.ctx, err));
    uint32_t n = g->n_blocks;
    tfm_graph_free(g);
    *r = (tfm_model_range){.is_part = true};
    switch (s->options.part) {
    case TFM_PART_EMBED: r->has_embed = true; break;
    case TFM_PART_HEAD:
        r->has_head = true;
        r->first_block = r->end_block = n;
        break;
    case TFM_PART_BLOCKS:
        r->first_block = s->options.first_block;
        r->end_block = s->options.end_block ? s->options.end_block : n;
        if (r->first_block >= r->end_block || r->end_block > n)
            return tfm_fail(err, TFM_USAGE, "blocks %u-%u: %s has blocks 0-%u", r->first_block,
                            r->end_block - 1, tfm_model_path(s->model), n - 1);
        break;
    }
    return TFM_OK;
}

static tfm_status check_hidden(const tfm_stage *s, const tfm_header *in, tfm_error *err) {
    const char *next = tfm_header_get(in, "next-block"), *side = tfm_header_get(in, "side");
    uint32_t first = s->options.engine.range.first_block;
    uint64_t at;

    if (!next || !tfm_parse_u64(next, 0, UINT32_MAX, &at))
        return tfm_fail(err, TFM_MISMATCH, "the hidden stream of %s has no key next-block",
                        source(in));
    if (at != first && !s->options.any_block)
        return tfm_fail(err, TFM_MISMATCH,
                        "the hidden stream of %s stands before block %" PRIu64
                        ", this stage begins at block %u",
                        source(in), at, first);
    if (side && strcmp(side, "dec") != 0)
        return tfm_fail(err, TFM_MISMATCH,
                        "the hidden stream of %s is of side %s, this stage of dec", source(in),
                        side);
    return TFM_OK;
}

bool tfm_stage_is_raw(const tfm_stage *s, const tfm_header *in) {
    const char *vocab = tfm_header_get(in, "vocab");

    return s->options.part == TFM_PART_EMBED && vocab && strcmp(vocab, "raw-bytes") == 0 &&
           *tfm_model_vocab_id(s->model);
}

tfm_status tfm_stage_check(const tfm_stage *s, const tfm_header *in, tfm_error *err) {
    const char *model = tfm_header_get(in, "model"), *vocab = tfm_header_get(in, "vocab");
    uint32_t ctx = tfm_header_ctx(in), own = tfm_engine_ctx(s->engine);

    TFM_TRY(tfm_header_expect(in, kind_in(s), err));
    if (ctx && ctx != own && s->options.part != TFM_PART_EMBED)
        return tfm_fail(err, TFM_MISMATCH,
                        "the stream of %s is of context %u, this stage of %u; give --ctx %u",
                        source(in), ctx, own, ctx);
    if (s->options.part == TFM_PART_EMBED) {
        const char *mine = tfm_model_vocab_id(s->model);
        if (vocab && *mine && strcmp(vocab, mine) != 0 && !tfm_stage_is_raw(s, in))
            return tfm_fail(err, TFM_MISMATCH,
                            "the tokens are of vocabulary %s (from %s), %s has %s; tokenize with "
                            "-m %s",
                            vocab, source(in), tfm_model_path(s->model), mine,
                            tfm_model_path(s->model));
        return TFM_OK;
    }
    if (!model || strcmp(model, tfm_model_id(s->model)) != 0)
        return tfm_fail(err, TFM_MISMATCH,
                        "the hidden stream of %s is of model %.16s, %s is model %.16s", source(in),
                        model ? model : "(none)", tfm_model_path(s->model), tfm_model_id(s->model));
    return check_hidden(s, in, err);
}

tfm_status tfm_stage_header(const tfm_stage *s, tfm_header *h, tfm_error *err) {
    const tfm_model_range *r = &s->options.engine.range;
    bool is_head = s->options.part == TFM_PART_HEAD;
    char next[16];

    snprintf(next, sizeof next, "%u", r->end_block);
    TFM_TRY(tfm_header_set_kind(h, is_head ? "logits" : "hidden", err));
    TFM_TRY(tfm_header_set(h, "tokenize", NULL, err));
    if (*tfm_model_vocab_id(s->model))
        TFM_TRY(tfm_header_set(h, "vocab", tfm_model_vocab_id(s->model), err));
    TFM_TRY(tfm_header_set(h, "model", tfm_model_id(s->model), err));
    TFM_TRY(tfm_header_set(h, "model-hint", tfm_model_path(s->model), err));
    TFM_TRY(tfm_header_set(h, "next-block", is_head ? NULL : next, err));
    TFM_TRY(tfm_header_set(h, "side", is_head ? NULL : "dec", err));
    return tfm_header_set(h, "numerics", tfm_engine_numerics(s->engine), err);
}

tfm_status tfm_stage_check_rows(const tfm_stage *s, const tfm_record *rec, tfm_error *err) {
    if (s->options.part == TFM_PART_EMBED) {
        if (rec->dtype == TFM_I32 && rec->rank == 1) return TFM_OK;
        return tfm_fail(err, TFM_FORMAT,
                        "record %u: tokens must be i32 of rank 1, not %s of rank %u", rec->seq,
                        tfm_dtype_name((tfm_dtype)rec->dtype), rec->rank);
    }
    uint32_t width = tfm_engine_width(s->engine);
    if (rec->dtype == TFM_F32 && rec->rank == 2 && rec->dims[1] == width) return TFM_OK;
    return tfm_fail(err, TFM_FORMAT,
                    "record %u: hidden must be f32 of shape [n, %u], not %s of rank %u, width %u",
                    rec->seq, width, tfm_dtype_name((tfm_dtype)rec->dtype), rec->rank,
                    rec->dims[1]);
}

void tfm_stage_refuse(const tfm_stage *s, const stage_group *g, const tfm_record *rec,
                      const void *payload, char *text, size_t size) {
    uint32_t n = rec->dims[0], ctx = tfm_engine_ctx(s->engine);
    const int32_t *ids = payload;

    if (rec->position > g->len)
        snprintf(text, size, "positions %u to %u are missing", g->len, rec->position - 1);
    else if ((uint64_t)rec->position + n > ctx)
        snprintf(text, size,
                 "the prompt has %" PRIu64 " tokens, the context is %u; give a longer "
                 "--ctx",
                 (uint64_t)rec->position + n, ctx);
    for (uint32_t i = 0; !*text && s->options.part == TFM_PART_EMBED && i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= tfm_engine_n_vocab(s->engine))
            snprintf(text, size, "id %d at position %u is outside the vocabulary of %u",
                     (int)ids[i], rec->position + i, tfm_engine_n_vocab(s->engine));
}
