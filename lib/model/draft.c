/* draft.c - a vocabulary while it is read: arrays in the source's arena, what all readers share.
 *
 * Also the one place that turns a draft into tables (tfm_source_vocab), after it has gathered from
 * the metadata which tokens end a generation. */
#include <jansson.h>
#include <string.h>

#include "model/source_internal.h"

static tfm_status array(tfm_arena *a, void **out, size_t n, size_t size, tfm_error *err) {
    size_t bytes;
    if (!tfm_mul_size(n, size, &bytes)) return tfm_fail(err, TFM_LIMIT, "too many pieces");
    return tfm_arena_alloc(a, out, bytes, err);
}

tfm_status tfm_draft_pieces(tfm_draft *d, uint64_t n, bool scores, tfm_error *err) {
    void *piece, *len, *flags, *score = NULL;
    if (n == 0 || n > TFM_SOURCE_MAX_VOCAB)
        return tfm_fail(err, TFM_LIMIT, "a vocabulary of %llu pieces; 1 to %u are possible",
                        (unsigned long long)n, TFM_SOURCE_MAX_VOCAB);
    TFM_TRY(array(d->arena, &piece, (size_t)n, sizeof *d->piece, err));
    TFM_TRY(array(d->arena, &len, (size_t)n, sizeof *d->piece_len, err));
    TFM_TRY(array(d->arena, &flags, (size_t)n, sizeof *d->flags, err));
    if (scores) TFM_TRY(array(d->arena, &score, (size_t)n, sizeof *d->score, err));
    d->piece = piece;
    d->piece_len = len;
    d->flags = flags;
    d->score = score;
    for (uint64_t i = 0; i < n; i++) d->piece[i] = "";
    d->src = (tfm_vocab_source){.n = (uint32_t)n,
                                .piece = d->piece,
                                .piece_len = d->piece_len,
                                .flags = d->flags,
                                .score = d->score,
                                .bos = -1,
                                .eos = -1,
                                .unk = -1,
                                .pad = -1,
                                .normaliser = "none"};
    return TFM_OK;
}

tfm_status tfm_draft_merges(tfm_draft *d, uint64_t n, tfm_error *err) {
    void *left, *right, *left_len, *right_len;
    if (n > TFM_SOURCE_MAX_VOCAB)
        return tfm_fail(err, TFM_LIMIT, "%llu merges; at most %u are possible",
                        (unsigned long long)n, TFM_SOURCE_MAX_VOCAB);
    TFM_TRY(array(d->arena, &left, (size_t)n, sizeof *d->left, err));
    TFM_TRY(array(d->arena, &right, (size_t)n, sizeof *d->right, err));
    TFM_TRY(array(d->arena, &left_len, (size_t)n, sizeof *d->left_len, err));
    TFM_TRY(array(d->arena, &right_len, (size_t)n, sizeof *d->right_len, err));
    d->left = left;
    d->right = right;
    d->left_len = left_len;
    d->right_len = right_len;
    d->src.n_merges = (uint32_t)n;
    d->src.merge_left = d->left;
    d->src.merge_right = d->right;
    d->src.merge_left_len = d->left_len;
    d->src.merge_right_len = d->right_len;
    return TFM_OK;
}

tfm_status tfm_draft_merge_text(tfm_draft *d, uint32_t i, const char *s, size_t n, tfm_error *err) {
    const char *space = n > 1 ? memchr(s + 1, ' ', n - 1) : NULL;
    if (!space || space + 1 == s + n || n > UINT32_MAX)
        return tfm_fail(err, TFM_FORMAT, "merge %u is not two pieces with a space between", i);
    d->left[i] = s;
    d->left_len[i] = (uint32_t)(space - s);
    d->right[i] = space + 1;
    d->right_len[i] = (uint32_t)(n - (size_t)(space - s) - 1);
    return TFM_OK;
}

tfm_status tfm_draft_pattern(tfm_draft *d, const char *pattern, size_t n, tfm_error *err) {
    void *p;
    if (!d->pattern) {
        TFM_TRY(array(d->arena, &p, TFM_DRAFT_PATTERNS, sizeof *d->pattern, err));
        d->pattern = p;
    }
    if (d->src.n_patterns >= TFM_DRAFT_PATTERNS)
        return tfm_fail(err, TFM_LIMIT, "more than %u pre-tokenizer patterns", TFM_DRAFT_PATTERNS);
    if (memchr(pattern, '\0', n))
        return tfm_fail(err, TFM_UNSUPPORTED, "a pre-tokenizer pattern holds a NUL byte");
    TFM_TRY(tfm_arena_strndup(d->arena, &d->pattern[d->src.n_patterns], pattern, n, err));
    d->src.pattern = d->pattern;
    d->src.n_patterns++;
    return TFM_OK;
}

int32_t tfm_draft_find(const tfm_draft *d, const char *s, size_t n) {
    for (uint32_t i = 0; i < d->src.n; i++)
        if (d->piece_len[i] == n && memcmp(d->piece[i], s, n) == 0) return (int32_t)i;
    return -1;
}

void tfm_draft_clear(tfm_draft *d) {
    json_decref(d->json);
    json_decref(d->added);
    d->json = d->added = NULL;
}

void tfm_draft_flag(tfm_draft *d, int64_t id, unsigned flags) {
    if (id >= 0 && id < d->src.n) d->flags[id] = (uint8_t)(d->flags[id] | flags);
}

/* Names under which models in use end a turn or a text. They count only for control and added
 * tokens: a piece that is plain text never ends anything. */
static const char *const eog_names[] = {
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<end_of_turn>",
    "<|return|>",
    "<|call|>",
    "<EOT>",
    "_<EOT>",
    "<|EOT|>",
    ("<\xef\xbd\x9c"
     "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
    "<end_of_utterance>",
};

static bool ends_turn(const char *s, size_t n) {
    for (size_t i = 0; i < sizeof eog_names / sizeof *eog_names; i++)
        if (strlen(eog_names[i]) == n && memcmp(eog_names[i], s, n) == 0) return true;
    return false;
}

void tfm_draft_mark_eog(tfm_draft *d) {
    tfm_draft_flag(d, d->src.eos, TFM_TOKEN_EOG);
    for (uint32_t i = 0; i < d->src.n; i++)
        if ((d->flags[i] & (TFM_TOKEN_CONTROL | TFM_TOKEN_ADDED)) != 0 &&
            ends_turn(d->piece[i], d->piece_len[i]))
            tfm_draft_flag(d, i, TFM_TOKEN_EOG);
}

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int tfm_byte_piece(const char *s, size_t n) {
    if (n != 6 || memcmp(s, "<0x", 3) != 0 || s[5] != '>') return -1;
    return hex(s[3]) < 0 || hex(s[4]) < 0 ? -1 : hex(s[3]) * 16 + hex(s[4]);
}

/* ---- from draft to tables ---- */

/* Ids that a checkpoint's own metadata names as ends: one number or an array of them. */
static void mark_meta(const tfm_source *s, tfm_draft *d, const char *key) {
    const tfm_meta *m = tfm_source_meta(s, key);
    tfm_meta item;
    if (m && m->type == TFM_META_INT) tfm_draft_flag(d, m->i, TFM_TOKEN_EOG);
    for (size_t i = 0; m && tfm_meta_item(m, i, &item); i++)
        if (item.type == TFM_META_INT) tfm_draft_flag(d, item.i, TFM_TOKEN_EOG);
}

static tfm_status fill(tfm_source *s, tfm_draft *d, bool *found, tfm_error *err) {
    const char *path = s->tokenizer_path;
    *found = false;
    if (!path && s->format == TFM_SOURCE_GGUF) {
        tfm_status st = tfm_gguf_vocab(s, d, found, err);
        return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", s->path);
    }
    if (!path && s->format == TFM_SOURCE_HF) path = s->path;
    if (!path) TFM_TRY(tfm_llama2c_find_tokenizer(s, &path, err));
    if (path) TFM_TRY(tfm_tokenizer_at(s, path, d, found, err));
    int64_t want = s->format == TFM_SOURCE_LLAMA2C ? tfm_source_int(s, "vocab_size", 0) : 0;
    if (*found && want != 0 && want != d->src.n)
        return tfm_fail(err, TFM_MISMATCH, "%s has %u pieces, %s has a vocabulary of %lld", path,
                        d->src.n, s->path, (long long)want);
    return TFM_OK;
}

static tfm_status build(tfm_source *s, tfm_draft *d, tfm_error *err) {
    bool found;
    TFM_TRY(fill(s, d, &found, err));
    if (!found) return TFM_OK;
    mark_meta(s, d, "eos_token_id");
    mark_meta(s, d, "generation.eos_token_id");
    tfm_draft_mark_eog(d);
    tfm_status st = tfm_vocab_build(&s->vocab, &d->src, err);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", s->path);
}

tfm_status tfm_source_vocab(tfm_source *s, const tfm_vocab_tables **out, tfm_error *err) {
    tfm_draft d = {.arena = s->arena};
    tfm_status st = s->vocab_done ? TFM_OK : build(s, &d, err);
    tfm_draft_clear(&d);
    if (st == TFM_OK) s->vocab_done = true;
    *out = s->vocab;
    return st;
}
