/* spm_pair.c - Marian's tokenizer: a SentencePiece model for each of two languages (source.spm,
 * target.spm) and one vocabulary of pieces for both (vocab.json).
 *
 * The model of one language cuts the text, vocab.json says the ids; pieces that it does not list
 * are unknown. Which language follows from the file that is opened: a folder means the source. The
 * way back is the same for both, if both models treat spaces alike: that is checked. Tokens that
 * name a language (">>fra<<") are control tokens. */
#include <string.h>

#include "model/json_internal.h"

static bool is_spm(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

tfm_status tfm_spm_pair_beside(tfm_source *s, const char *path, bool *found, tfm_error *err) {
    const char *vocab;
    *found = is_spm(path, "source.spm") || is_spm(path, "target.spm");
    if (!*found) return TFM_OK;
    TFM_TRY(tfm_source_beside(s, path, false, "vocab.json", &vocab, err));
    *found = tfm_path_is_file(vocab);
    return TFM_OK;
}

/* A control token by the configuration, or by its usual name. */
static int32_t control_token(tfm_draft *d, const json_t *config, const char *key,
                             const char *usual) {
    size_t n;
    const char *name = tfm_json_token(config, key, &n);
    int32_t id = name ? tfm_draft_find(d, name, n) : tfm_draft_find(d, usual, strlen(usual));
    tfm_draft_flag(d, id, TFM_TOKEN_CONTROL);
    return id;
}

static tfm_status take_specials(tfm_draft *d, const json_t *config, tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t n = d->piece_len[i];
        if (n > 4 && memcmp(d->piece[i], ">>", 2) == 0 && memcmp(d->piece[i] + n - 2, "<<", 2) == 0)
            tfm_draft_flag(d, i, TFM_TOKEN_CONTROL);
    }
    v->eos = control_token(d, config, "eos_token", "</s>");
    v->pad = control_token(d, config, "pad_token", "<pad>");
    v->unk = control_token(d, config, "unk_token", "<unk>");
    v->add_eos = true;
    if (v->unk < 0 || v->eos < 0)
        return tfm_fail(err, TFM_FORMAT, "vocab.json has no %s", v->eos < 0 ? "</s>" : "<unk>");
    d->flags[v->unk] = TFM_TOKEN_UNKNOWN;
    return TFM_OK;
}

/* Which id each piece of the model is. */
static tfm_status map_pieces(tfm_draft *d, const tfm_draft *model, tfm_error *err) {
    const unsigned no_text = TFM_TOKEN_CONTROL | TFM_TOKEN_UNKNOWN | TFM_TOKEN_UNUSED;
    tfm_names names = {0};
    void *p;
    tfm_status st = tfm_arena_alloc(d->arena, &p, model->src.n * sizeof(int32_t), err);
    int32_t *id = st == TFM_OK ? p : NULL;
    for (uint32_t i = 0; i < d->src.n && st == TFM_OK; i++)
        if (d->piece_len[i] > 0) st = tfm_names_add(&names, d->piece[i], d->piece_len[i], i, err);
    for (uint32_t i = 0; i < model->src.n && st == TFM_OK; i++) {
        uint32_t at = tfm_names_find(&names, model->piece[i], model->piece_len[i]);
        id[i] = at == TFM_NO_NAME ? -1 : (int32_t)at;
        if (model->flags[i] & no_text) id[i] = TFM_PAIR_NO_TEXT;
        if (model->flags[i] & (TFM_TOKEN_ADDED | TFM_TOKEN_BYTE))
            st = tfm_fail(err, TFM_UNSUPPORTED, "piece %u is a user-defined or byte piece", i);
    }
    tfm_names_free(&names);
    d->src.source_id = id;
    return st;
}

static tfm_status take_model(tfm_draft *d, const tfm_draft *model, tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    const tfm_vocab_source *m = &model->src;
    if (m->type != TFM_VOCAB_UNIGRAM)
        return tfm_fail(err, TFM_UNSUPPORTED, "not a unigram model, beside a vocab.json");
    v->type = TFM_VOCAB_UNIGRAM;
    v->n_source = m->n;
    v->source_piece = model->piece;
    v->source_len = model->piece_len;
    v->source_score = model->score;
    v->normaliser = m->normaliser;
    v->charsmap = m->charsmap;
    v->charsmap_len = m->charsmap_len;
    v->add_space_prefix = m->add_space_prefix;
    v->remove_extra_spaces = m->remove_extra_spaces;
    v->space_to_meta = m->space_to_meta;
    return map_pieces(d, model, err);
}

/* The model of the other language writes text in the same way. */
static tfm_status check_other(tfm_source *s, const char *path, const tfm_draft *model,
                              tfm_error *err) {
    tfm_draft other = {.arena = model->arena};
    tfm_source_file *f;
    const char *name;
    TFM_TRY(tfm_source_beside(
        s, path, false, is_spm(path, "source.spm") ? "target.spm" : "source.spm", &name, err));
    if (!tfm_path_is_file(name)) return tfm_fail(err, TFM_NOTFOUND, "%s is not there", name);
    TFM_TRY(tfm_source_map(s, name, &f, err));
    tfm_status st = tfm_spm_model(&other, f->map.data, f->map.size, err);
    if (st == TFM_OK && (other.src.space_to_meta != model->src.space_to_meta ||
                         other.src.add_space_prefix != model->src.add_space_prefix))
        st = tfm_fail(err, TFM_UNSUPPORTED,
                      "add_dummy_prefix or escape_whitespaces is not as in the other model");
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", name);
}

tfm_status tfm_spm_pair(tfm_source *s, const char *path, const tfm_map *file, const json_t *config,
                        tfm_draft *d, tfm_error *err) {
    tfm_draft model = {.arena = d->arena};
    tfm_source_file *f;
    const char *name;
    json_t *vocab;
    if (tfm_json_bool(config, "separate_vocabs", false))
        return tfm_fail(err, TFM_UNSUPPORTED, "tokenizer_config.json: separate_vocabs");
    TFM_TRY(tfm_spm_model(&model, file->data, file->size, err));
    TFM_TRY(check_other(s, path, &model, err));
    TFM_TRY(tfm_source_beside(s, path, false, "vocab.json", &name, err));
    TFM_TRY(tfm_source_map(s, name, &f, err));
    TFM_TRY(tfm_json_parse(&vocab, f->map.data, f->map.size, name, err));
    d->json = vocab; /* freed with the draft */
    TFM_TRY(tfm_hf_take_vocab(d, vocab, NULL, err));
    TFM_TRY(take_specials(d, config, err));
    return take_model(d, &model, err);
}
