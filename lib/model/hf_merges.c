/* hf_merges.c - the merges of a tokenizer.json, from the text of their array (hf_scan.c). */
#include <string.h>

#include "model/hf_scan_internal.h"

tfm_status tfm_hf_take_merges(tfm_draft *d, const unsigned char *text, uint64_t n, tfm_error *err) {
    tfm_hf_scan s = {.p = text, .n = n};
    void *block;
    TFM_TRY(tfm_draft_merges(d, tfm_hf_scan_count(s), err));
    TFM_TRY(tfm_arena_alloc(d->arena, &block, (size_t)n, err));
    char *out = block;
    for (uint32_t i = 0; i < d->src.n_merges; i++) {
        const char *both;
        uint32_t len;
        bool good = i == 0 || tfm_hf_scan_take(&s, ',');
        if (good && tfm_hf_scan_take(&s, '[')) { /* ["a", "b"] */
            good = tfm_hf_scan_string(&s, &out, &d->left[i], &d->left_len[i]) &&
                   tfm_hf_scan_take(&s, ',') &&
                   tfm_hf_scan_string(&s, &out, &d->right[i], &d->right_len[i]) &&
                   tfm_hf_scan_take(&s, ']');
        } else if (good && (good = tfm_hf_scan_string(&s, &out, &both, &len))) { /* "a b" */
            TFM_TRY(tfm_draft_merge_text(d, i, both, len, err));
        }
        if (!good) return tfm_fail(err, TFM_FORMAT, "merge %u is not two pieces", i);
    }
    tfm_hf_scan_space(&s);
    return s.at == s.n ? TFM_OK : tfm_fail(err, TFM_FORMAT, "the merges are no list of pairs");
}
