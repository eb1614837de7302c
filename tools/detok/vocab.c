/* vocab.c - the vocabulary of a stream: -m, else $TFM_MODEL, else the model that the header names
 * (if a regular file is there and its vocabulary is the right one), else an error with the cure.
 * Tokens of another vocabulary than the given model's are an error: they would read as nonsense. */
#include <string.h>
#include <sys/stat.h>

#include "detok.h"

static bool is_given_by_option(const tfm_cli *c) {
    for (size_t i = 0; i < c->n_given; i++)
        if (c->given[i].option->letter == 'm') return true;
    return false;
}

void vocab_close(vocab *v) {
    tfm_tokenizer_free(v->tok);
    tfm_vocab_free(v->raw);
    tfm_model_free(v->model);
    v->tok = NULL;
    v->raw = NULL;
    v->model = NULL;
}

/* *found is NULL if the model has none. */
static tfm_status load(vocab *v, const char *path, const tfm_vocab **found, tfm_error *err) {
    const tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    *found = NULL;
    TFM_TRY(tfm_load_vocab(path, &lo, &v->model, err));
    return tfm_model_vocab(v->model, found, err);
}

static tfm_status load_given(vocab *v, const char *id, const char *tool, const tfm_vocab **found,
                             tfm_error *err) {
    const char *path = v->cli->model;
    TFM_TRY(load(v, path, found, err));
    if (*found == NULL) return tfm_fail(err, TFM_NOTFOUND, "%s: has no vocabulary", path);
    if (strcmp(tfm_vocab_id(*found), id) == 0) return TFM_OK;
    return tfm_fail(err, TFM_MISMATCH,
                    "the tokens are of vocabulary %s (stream written by %s), but %s (%s) has "
                    "vocabulary %s: give the model that made them",
                    id, tool ? tool : "an unnamed tool", path,
                    is_given_by_option(v->cli) ? "-m" : "$TFM_MODEL", tfm_vocab_id(*found));
}

static tfm_status load_hint(vocab *v, const char *id, const char *hint, const tfm_vocab **found,
                            tfm_error *err) {
    struct stat s;
    if (hint != NULL && stat(hint, &s) == 0 && S_ISREG(s.st_mode)) {
        tfm_status st = load(v, hint, found, err);
        if (st == TFM_NOMEM) return st;
        if (st == TFM_OK && *found && strcmp(tfm_vocab_id(*found), id) == 0) {
            tfm_cli_say((tfm_cli *)v->cli, "vocabulary of %s, which the stream names", hint);
            return TFM_OK;
        }
    }
    return tfm_fail(err, TFM_NOTFOUND,
                    "needs vocabulary %s to read these tokens: give -m MODEL or set TFM_MODEL", id);
}

tfm_status vocab_for(vocab *v, const tfm_header *h, tfm_error *err) {
    const char *id = tfm_header_get(h, "vocab");
    const tfm_vocab *found = NULL;
    if (id == NULL)
        return tfm_fail(err, TFM_FORMAT, "the stream does not say of which vocabulary it is");
    if (v->tok && strcmp(tfm_vocab_id(tfm_tokenizer_vocab(v->tok)), id) == 0) return TFM_OK;
    vocab_close(v);
    if (strcmp(id, "raw-bytes") == 0) {
        TFM_TRY(tfm_vocab_raw_bytes(&v->raw, err));
        found = v->raw;
    } else if (v->cli->model != NULL) {
        TFM_TRY(load_given(v, id, tfm_header_get(h, "tool"), &found, err));
    } else {
        TFM_TRY(load_hint(v, id, tfm_header_get(h, "model-hint"), &found, err));
    }
    return tfm_tokenizer_new(&v->tok, found, err);
}
