/* hf_tokenizer.c - tokenizer.json of Hugging Face's tokenizers, model BPE.
 *
 * Added tokens stay in jansson's tree, which the draft keeps until its tables are built; merges are
 * read by hf_merges.c. What the stages around the model mean is in hf_pipeline.c. */
#include <string.h>

#include "model/hf_scan_internal.h"
#include "model/tokenizer_names_internal.h"

static tfm_status check_model(const json_t *model, tfm_error *err) {
    const char *type = tfm_json_text(model, "type", NULL);
    if (!json_is_object(model))
        return tfm_fail(err, TFM_FORMAT, "no tokenizer.json: it has no model");
    /* Files older than the type key are told apart by what they hold. */
    if (type ? strcmp(type, "BPE") != 0 : !json_object_get(model, "merges"))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "tokenizer model %s (BPE, Unigram, WordPiece and WordLevel are taken)",
                        type ? type : "without merges");
    if (json_number_value(json_object_get(model, "dropout")) != 0)
        return tfm_fail(err, TFM_UNSUPPORTED, "tokenizer model with dropout");
    return TFM_OK;
}

/* One more than the highest id of vocab and added tokens. An id far beyond the number of pieces
 * would make tables out of nothing, so there may be no more holes than pieces. */
static tfm_status count_ids(json_t *vocab, const json_t *added, uint64_t *n, tfm_error *err) {
    uint64_t pieces = json_object_size(vocab) + json_array_size(added);
    json_int_t top = -1;
    for (void *at = json_object_iter(vocab); at; at = json_object_iter_next(vocab, at)) {
        const json_t *id = json_object_iter_value(at);
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return tfm_fail(err, TFM_FORMAT, "piece '%s' has no id", json_object_iter_key(at));
        if (json_integer_value(id) > top) top = json_integer_value(id);
    }
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *id = json_object_get(json_array_get(added, i), "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return tfm_fail(err, TFM_FORMAT, "added token %zu has no id", i);
        if (json_integer_value(id) > top) top = json_integer_value(id);
    }
    if ((uint64_t)(top + 1) > 2 * pieces)
        return tfm_fail(err, TFM_LIMIT, "%llu pieces with ids up to %lld",
                        (unsigned long long)pieces, (long long)top);
    *n = (uint64_t)(top + 1);
    return TFM_OK;
}

/* Copies them, so that the tree, which takes ten times the room, can go before tables are built. */
static tfm_status take_pieces(tfm_draft *d, json_t *vocab, tfm_error *err) {
    size_t total = 0;
    void *block;
    for (void *at = json_object_iter(vocab); at; at = json_object_iter_next(vocab, at))
        total += strlen(json_object_iter_key(at)) + 1;
    TFM_TRY(tfm_arena_alloc(d->arena, &block, total, err));
    char *copy = block;
    for (uint32_t i = 0; i < d->src.n; i++) d->flags[i] = TFM_TOKEN_UNUSED;
    for (void *at = json_object_iter(vocab); at; at = json_object_iter_next(vocab, at)) {
        const char *piece = json_object_iter_key(at);
        json_int_t id = json_integer_value(json_object_iter_value(at));
        if (d->flags[id] != TFM_TOKEN_UNUSED)
            return tfm_fail(err, TFM_FORMAT, "two pieces have the id %lld", (long long)id);
        size_t n = strlen(piece);
        memcpy(copy, piece, n + 1); /* messages print it */
        d->piece[id] = copy;
        d->piece_len[id] = (uint32_t)n;
        d->flags[id] = 0;
        copy += n + 1;
    }
    json_object_clear(vocab);
    return TFM_OK;
}

tfm_status tfm_hf_take_vocab(tfm_draft *d, json_t *vocab, const json_t *added, tfm_error *err) {
    uint64_t n = 0;
    TFM_TRY(count_ids(vocab, added, &n, err));
    TFM_TRY(tfm_draft_pieces(d, n, false, err));
    return take_pieces(d, vocab, err);
}

static tfm_status set_matching(tfm_draft *d, uint32_t id, unsigned matching, tfm_error *err) {
    void *p = d->matching;
    if (p == NULL) TFM_TRY(tfm_arena_alloc(d->arena, &p, d->src.n, err));
    d->src.matching = d->matching = p;
    d->matching[id] = (uint8_t)matching;
    return TFM_OK;
}

tfm_status tfm_hf_take_added(tfm_draft *d, const json_t *added, tfm_error *err) {
    for (size_t i = 0; i < json_array_size(added); i++) {
        const json_t *token = json_array_get(added, i);
        json_int_t id = json_integer_value(json_object_get(token, "id"));
        size_t n;
        unsigned flags, matching;
        const char *content = tfm_json_text(token, "content", &n);
        if (id < 0 || id >= d->src.n)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "added token %lld lies behind the %u pieces of "
                            "this file; save a tokenizer.json",
                            (long long)id, d->src.n);
        if (!content || n == 0 || n > UINT32_MAX)
            return tfm_fail(err, TFM_FORMAT, "added token %lld has no content", (long long)id);
        if (d->flags[id] != TFM_TOKEN_UNUSED &&
            (d->piece_len[id] != n || memcmp(d->piece[id], content, n) != 0))
            return tfm_fail(err, TFM_FORMAT, "added token '%s' has the id of piece '%s'", content,
                            d->piece[id]);
        TFM_TRY(tfm_hf_added_flags(d, token, &flags, &matching, err));
        if (matching != 0) TFM_TRY(set_matching(d, (uint32_t)id, matching, err));
        /* What is not always found as written must not be found as a piece instead. */
        if (d->flags[id] == TFM_TOKEN_UNUSED && d->exact && (flags & TFM_TOKEN_ADDED))
            flags |= TFM_TOKEN_UNUSED;
        d->piece[id] = content;
        d->piece_len[id] = (uint32_t)n;
        d->flags[id] = (uint8_t)flags;
    }
    return TFM_OK;
}

/* What no piece spells: byte tokens, or the unknown token as tfm gives it (one for a run). */
static tfm_status take_unknown(tfm_draft *d, const json_t *model, tfm_error *err) {
    size_t n;
    const char *unk = tfm_json_text(model, "unk_token", &n);
    bool fallback = tfm_json_bool(model, "byte_fallback", false);
    if (unk && (d->src.unk = tfm_draft_find(d, unk, n)) >= 0)
        tfm_draft_flag(d, d->src.unk, TFM_TOKEN_UNKNOWN);
    unsigned bytes = 0;
    for (uint32_t i = 0; i < d->src.n && fallback && !d->src.byte_level; i++)
        if (tfm_byte_piece(d->piece[i], d->piece_len[i]) >= 0) {
            d->flags[i] = TFM_TOKEN_BYTE;
            bytes++;
        }
    if (!d->src.byte_level && bytes < 256 && !tfm_json_bool(model, "fuse_unk", false))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "tokenizer model with neither fuse_unk nor all byte tokens");
    return TFM_OK;
}

/* A member of the model that may be null or "", without NUL; NULL if it is. */
static tfm_status affix(const json_t *model, const char *key, const char **out, tfm_error *err) {
    size_t n;
    const char *s = tfm_json_text(model, key, &n);
    *out = s && n > 0 ? s : NULL;
    if (*out && strlen(s) != n)
        return tfm_fail(err, TFM_UNSUPPORTED, "tokenizer model: %s has a NUL", key);
    return TFM_OK;
}

static tfm_status by_settings(tfm_draft *d, const json_t *j, tfm_error *err) {
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    const json_t *model = json_object_get(j, "model");
    const char *text;
    for (size_t i = 0; i < 2; i++) {
        TFM_TRY(affix(model, affixes[i], &text, err));
        if (text) return tfm_fail(err, TFM_UNSUPPORTED, "tokenizer model with %s", affixes[i]);
    }
    TFM_TRY(tfm_hf_normalizer(d, json_object_get(j, "normalizer"), err));
    TFM_TRY(tfm_hf_pretokenizer(d, json_object_get(j, "pre_tokenizer"), err));
    TFM_TRY(tfm_hf_decoder(d, json_object_get(j, "decoder"), err));
    if (d->src.ignore_merges && !d->src.byte_level)
        return tfm_fail(err, TFM_UNSUPPORTED, "tokenizer model with ignore_merges");
    TFM_TRY(tfm_hf_take_added(d, json_object_get(j, "added_tokens"), err));
    return take_unknown(d, model, err);
}

/* Whatever is unknown, it is as the model says: char_bpe.c. */
static tfm_status by_steps(tfm_draft *d, const json_t *j, tfm_error *err) {
    const json_t *model = json_object_get(j, "model");
    const char *prefix;
    size_t n;
    TFM_TRY(tfm_hf_stages(d, j, err));
    TFM_TRY(affix(model, "end_of_word_suffix", &d->src.word_suffix, err));
    TFM_TRY(affix(model, "continuing_subword_prefix", &prefix, err));
    d->src.word_prefix = prefix;
    d->src.merge_skip = prefix ? (uint32_t)strlen(prefix) : 0;
    for (size_t i = 0; i < d->src.merge_skip; i++) /* Hugging Face's program skips characters */
        if ((unsigned char)prefix[i] >= 0x80)
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "tokenizer model: continuing_subword_prefix is not ASCII");
    const char *unk = tfm_json_text(model, "unk_token", &n);
    if (unk && (d->src.unk = tfm_draft_find(d, unk, n)) >= 0)
        tfm_draft_flag(d, d->src.unk, TFM_TOKEN_UNKNOWN);
    d->src.fuse_unknown = tfm_json_bool(model, "fuse_unk", false);
    for (uint32_t i = 0; i < d->src.n && tfm_json_bool(model, "byte_fallback", false); i++)
        if (d->flags[i] == 0 && tfm_byte_piece(d->piece[i], d->piece_len[i]) >= 0)
            d->flags[i] = TFM_TOKEN_BYTE;
    return TFM_OK;
}

static tfm_status take_all(tfm_draft *d, json_t *j, tfm_error *err) {
    const json_t *model = json_object_get(j, "model");
    TFM_TRY(check_model(model, err));
    TFM_TRY(tfm_hf_take_vocab(d, json_object_get(model, "vocab"),
                              json_object_get(j, "added_tokens"), err));
    d->src.type = TFM_VOCAB_BPE;
    d->src.ignore_merges = tfm_json_bool(model, "ignore_merges", false);
    TFM_TRY(tfm_hf_either(d, j, by_settings, by_steps, err));
    return tfm_hf_postprocessor(d, json_object_get(j, "post_processor"), err);
}

/* Parses the text without what stands in [from, to). */
static tfm_status parse_without(json_t **out, const tfm_map *file, uint64_t from, uint64_t to,
                                tfm_error *err) {
    tfm_buf rest = {0};
    tfm_status st = tfm_buf_reserve(&rest, file->size - (size_t)(to - from), err);
    if (st == TFM_OK) st = tfm_buf_add(&rest, file->data, (size_t)from, err);
    if (st == TFM_OK) st = tfm_buf_add(&rest, file->data + to, file->size - (size_t)to, err);
    if (st == TFM_OK) st = tfm_json_parse(out, rest.data, rest.len, "tokenizer.json", err);
    tfm_buf_free(&rest);
    return st;
}

tfm_status tfm_hf_tokenizer(tfm_draft *d, const tfm_map *file, tfm_error *err) {
    uint64_t from = 0, to = 0;
    json_t *j = NULL;
    bool is_list = tfm_hf_find_array(file, "vocab", &from, &to);
    bool found = !is_list && tfm_hf_find_array(file, "merges", &from, &to);
    TFM_TRY(parse_without(&j, file, from, to, err));
    d->json = j; /* freed with the draft */
    if (is_list) return tfm_hf_unigram(d, j, file->data + from, to - from, err);
    if (tfm_hf_is_wordlevel(json_object_get(j, "model"))) return tfm_hf_wordlevel(d, j, err);
    if (tfm_hf_is_wordpiece(json_object_get(j, "model"))) return tfm_hf_wordpiece(d, j, err);
    TFM_TRY(take_all(d, j, err));
    if (!found) return tfm_fail(err, TFM_FORMAT, "the model has no array of merges");
    return tfm_hf_take_merges(d, file->data + from, to - from, err);
}

/* ---- vocab.json and merges.txt ---- */

/* Lines "left right"; "#version" lines and empty ones are no merges. */
static tfm_status take_merge_lines(tfm_draft *d, const char *s, size_t n, tfm_error *err) {
    uint64_t lines = 0;
    for (size_t i = 0; i < n; i++) lines += s[i] == '\n';
    TFM_TRY(tfm_draft_merges(d, lines + 1, err));
    uint32_t count = 0;
    for (size_t at = 0; at < n;) {
        const char *line = s + at, *end = memchr(line, '\n', n - at);
        size_t len = end ? (size_t)(end - line) : n - at;
        at += len + 1;
        if (len > 0 && line[len - 1] == '\r') len--;
        if (len == 0 || (len >= 8 && memcmp(line, "#version", 8) == 0)) continue;
        TFM_TRY(tfm_draft_merge_text(d, count++, line, len, err));
    }
    d->src.n_merges = count;
    return TFM_OK;
}

tfm_status tfm_bpe_files(tfm_source *s, tfm_draft *d, const tfm_map *vocab, const tfm_map *merges,
                         const json_t *added, const char *kind, tfm_error *err) {
    static const char end[] = "<|endoftext|>";
    const tfm_tokenizer_names *names;
    json_t *j;
    TFM_TRY(tfm_source_tokenizers(s, &names, err));
    const tfm_split *split = tfm_tokenizer_names_merges_split(names, kind);
    if (!split)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "vocab.json of %s: how it splits text is not known; save a tokenizer.json",
                        kind ? kind : "a tokenizer without a class");
    TFM_TRY(tfm_json_parse(&j, vocab->data, vocab->size, "vocab.json", err));
    d->json = j;
    TFM_TRY(tfm_hf_take_vocab(d, j, added, err));
    TFM_TRY(take_merge_lines(d, (const char *)merges->data, merges->size, err));
    d->src.type = TFM_VOCAB_BPE;
    d->src.byte_level = true;
    tfm_split_apply(split, &d->src);
    d->src.eos = d->src.bos = tfm_draft_find(d, end, sizeof end - 1);
    tfm_draft_flag(d, d->src.eos, TFM_TOKEN_CONTROL);
    return tfm_hf_take_added(d, added, err);
}
