/* tokens.c - what the programs that make prompts write: the header of a stream of tokens, and the
 * ids of a record in pieces. */
#include <stdio.h>
#include <string.h>

#include "cli/cli_internal.h"

tfm_status tfm_cli_tokens_header(tfm_cli *c, const tfm_model *model, const tfm_vocab *v,
                                 tfm_cli_frame frame, uint64_t first, tfm_header **out,
                                 tfm_error *err) {
    char number[24];
    TFM_TRY(tfm_header_new(out, "tokens", err));
    tfm_header *h = *out;
    if (model != NULL) {
        const char *id = tfm_model_id(model);
        if (strspn(id, "0") < strlen(id)) TFM_TRY(tfm_header_set(h, "model", id, err));
        /* A path that no header can hold (TFM_FORMAT) is no hint; nothing depends on it. */
        tfm_status st = tfm_header_set(h, "model-hint", c->model, err);
        if (st != TFM_OK && st != TFM_FORMAT) return st;
    }
    TFM_TRY(tfm_header_set(h, "vocab", tfm_vocab_id(v), err));
    TFM_TRY(tfm_header_set(h, "frame", tfm_cli_frame_name(frame), err));
    if (first == 0) return TFM_OK;
    snprintf(number, sizeof number, "%llu", (unsigned long long)first);
    return tfm_header_set(h, "first", number, err);
}

tfm_status tfm_cli_write_tokens(tfm_writer *w, uint32_t group, const tfm_ids *ids, unsigned flags,
                                tfm_error *err) {
    const size_t most = TFM_PAYLOAD_MAX / 4; /* i32 rows of one record */
    size_t at = 0;
    do {
        size_t n = ids->len - at < most ? ids->len - at : most;
        tfm_record rec = {.type = TFM_REC_TENSOR,
                          .dtype = TFM_I32,
                          .rank = 1,
                          .flags = (uint16_t)(at + n == ids->len ? flags : 0),
                          .group = group,
                          .position = (uint32_t)at,
                          .dims = {(uint32_t)n, 1, 1, 1},
                          .name = "tokens"};
        TFM_TRY(tfm_writer_record(w, &rec, n ? ids->data + at : NULL, err));
        at += n;
    } while (at < ids->len);
    return TFM_OK;
}

void tfm_cli_warn_unknown(tfm_cli *c, uint64_t n) {
    if (n > 0)
        tfm_cli_warn(c, "%llu character%s not in the vocabulary: the unknown token stands there",
                     (unsigned long long)n, n == 1 ? " is" : "s are");
}
