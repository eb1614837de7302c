/* stop.c - stop strings: hold tokens back while they may be part of one, cut exactly.
 *
 * Owns the bytes of every id (computed once for all samples) and, for each sample, the tokens held
 * back with their text. Text is compared as bytes of the generated part only; a control token
 * spells nothing. Where a stop string begins inside a token, the part before it is spelled anew by
 * ids of the vocabulary, longest first, so that detok writes exactly that text.
 */
#include <string.h>

#include "infer/infer_internal.h"

#define MAX_STOPS 64
#define MAX_STOP_BYTES 4096

struct tfm_stop_set {
    const char *const *string; /* [n] borrowed */
    size_t n, longest;
    tfm_buf bytes;  /* of all ids, one after another */
    size_t *offset; /* [n_vocab + 1] */
    uint32_t n_vocab;
};

struct tfm_stop {
    const tfm_stop_set *set;
    tfm_buf text; /* of the tokens held back */
    tfm_ids held;
};

tfm_status tfm_seq_ids_add(tfm_ids *ids, int32_t id, tfm_error *err) {
    TFM_TRY(tfm_grow((void **)&ids->data, &ids->cap, ids->len + 1, sizeof *ids->data, err));
    ids->data[ids->len++] = id;
    return TFM_OK;
}

/* The bytes of every id, one by one through the detokenizer, so that both always agree. */
static tfm_status spell_all(tfm_stop_set *set, const tfm_vocab *vocab, tfm_error *err) {
    tfm_tokenizer *t = NULL;
    tfm_detok *d = NULL;
    tfm_status st = tfm_tokenizer_new(&t, vocab, err);

    if (st == TFM_OK) st = tfm_detok_new(&d, t, TFM_DETOK_CONTINUES, err);
    for (uint32_t id = 0; st == TFM_OK && id < set->n_vocab; id++) {
        const char *p;
        size_t n;
        set->offset[id] = set->bytes.len;
        st = tfm_detok_push(d, (int32_t)id, &p, &n, err);
        if (st == TFM_OK) st = tfm_buf_add(&set->bytes, p, n, err);
        if (st == TFM_OK) st = tfm_detok_finish(d, &p, &n, err);
        if (st == TFM_OK) st = tfm_buf_add(&set->bytes, p, n, err);
    }
    set->offset[set->n_vocab] = set->bytes.len;
    tfm_detok_free(d);
    tfm_tokenizer_free(t);
    return st;
}

tfm_status tfm_stop_set_new(tfm_stop_set **out, const tfm_vocab *vocab, const char *const *strings,
                            size_t n, tfm_error *err) {
    tfm_stop_set *set = NULL;
    tfm_status st;

    *out = NULL;
    if (n > MAX_STOPS) return tfm_fail(err, TFM_USAGE, "more than %d stop strings", MAX_STOPS);
    if (!vocab)
        return tfm_fail(err, TFM_USAGE, "--stop needs a vocabulary, and the model has none");
    TFM_TRY(tfm_alloc((void **)&set, 1, sizeof *set, err));
    set->string = strings;
    set->n = n;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(strings[i]);
        if (len == 0 || len > MAX_STOP_BYTES) {
            st = tfm_fail(err, TFM_USAGE, "stop string %zu has %zu bytes; give 1 to %d", i + 1, len,
                          MAX_STOP_BYTES);
            goto fail;
        }
        if (len > set->longest) set->longest = len;
    }
    set->n_vocab = tfm_vocab_size(vocab);
    st = tfm_alloc((void **)&set->offset, (size_t)set->n_vocab + 1, sizeof *set->offset, err);
    if (st != TFM_OK) goto fail;
    if ((st = spell_all(set, vocab, err)) != TFM_OK) goto fail;
    *out = set;
    return TFM_OK;
fail:
    tfm_stop_set_free(set);
    return st;
}

void tfm_stop_set_free(tfm_stop_set *set) {
    if (!set) return;
    tfm_buf_free(&set->bytes);
    tfm_free(set->offset);
    tfm_free(set);
}

tfm_status tfm_stop_new(tfm_stop **out, const tfm_stop_set *set, tfm_error *err) {
    tfm_stop *s = NULL;

    *out = NULL;
    TFM_TRY(tfm_alloc((void **)&s, 1, sizeof *s, err));
    s->set = set;
    *out = s;
    return TFM_OK;
}

void tfm_stop_free(tfm_stop *s) {
    if (!s) return;
    tfm_buf_free(&s->text);
    tfm_ids_free(&s->held);
    tfm_free(s);
}

static size_t id_bytes(const tfm_stop_set *set, int32_t id) {
    return set->offset[id + 1] - set->offset[id];
}

/* Where the first stop string that is complete in the text begins; SIZE_MAX if none. Of those that
 * begin together any will do: the text before is the same. */
static size_t find_stop(const tfm_stop *s) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < s->set->n; i++) {
        const char *hit =
            memmem(s->text.data, s->text.len, s->set->string[i], strlen(s->set->string[i]));
        if (hit && (size_t)(hit - s->text.data) < best) best = (size_t)(hit - s->text.data);
    }
    return best;
}

/* The offset from which the text may be the beginning of a stop string; its length if it can't. */
static size_t find_doubt(const tfm_stop *s) {
    size_t n = s->text.len;
    size_t at = n >= s->set->longest ? n - s->set->longest + 1 : 0;

    for (; at < n; at++)
        for (size_t i = 0; i < s->set->n; i++) {
            size_t len = strlen(s->set->string[i]), rest = n - at;
            if (rest < len && memcmp(s->text.data + at, s->set->string[i], rest) == 0) return at;
        }
    return n;
}

/* Releases held tokens that end at or before `end`; returns the bytes released. */
static tfm_status release(tfm_stop *s, size_t end, tfm_ids *ready, size_t *released,
                          tfm_error *err) {
    size_t at = 0, k = 0;

    while (k < s->held.len && at + id_bytes(s->set, s->held.data[k]) <= end) {
        TFM_TRY(tfm_seq_ids_add(ready, s->held.data[k], err));
        at += id_bytes(s->set, s->held.data[k++]);
    }
    if (k) {
        memmove(s->held.data, s->held.data + k, (s->held.len - k) * sizeof *s->held.data);
        s->held.len -= k;
        memmove(s->text.data, s->text.data + at, s->text.len - at);
        s->text.len -= at;
    }
    *released = at;
    return TFM_OK;
}

/* Ids whose bytes together are p[0..n), longest first, lowest id on a tie. */
static tfm_status spell(const tfm_stop_set *set, const char *p, size_t n, tfm_ids *ready,
                        tfm_error *err) {
    while (n) {
        int32_t best = -1;
        size_t best_len = 0;
        for (uint32_t id = 0; id < set->n_vocab; id++) {
            size_t len = id_bytes(set, (int32_t)id);
            if (len > best_len && len <= n && !memcmp(set->bytes.data + set->offset[id], p, len)) {
                best = (int32_t)id;
                best_len = len;
            }
        }
        if (best < 0)
            return tfm_fail(err, TFM_RECORD,
                            "the vocabulary cannot spell the text before the stop string");
        TFM_TRY(tfm_seq_ids_add(ready, best, err));
        p += best_len;
        n -= best_len;
    }
    return TFM_OK;
}

tfm_status tfm_stop_push(tfm_stop *s, int32_t id, tfm_ids *ready, bool *stopped, tfm_error *err) {
    size_t released;

    *stopped = false;
    if (id < 0 || (uint32_t)id >= s->set->n_vocab)
        return tfm_fail(err, TFM_RECORD, "id %d is outside the vocabulary", (int)id);
    TFM_TRY(tfm_seq_ids_add(&s->held, id, err));
    TFM_TRY(
        tfm_buf_add(&s->text, s->set->bytes.data + s->set->offset[id], id_bytes(s->set, id), err));
    size_t at = find_stop(s);
    if (at != SIZE_MAX) {
        *stopped = true;
        TFM_TRY(release(s, at, ready, &released, err));
        TFM_TRY(spell(s->set, s->text.data, at - released, ready, err));
        s->held.len = 0;
        s->text.len = 0;
        return TFM_OK;
    }
    return release(s, find_doubt(s), ready, &released, err);
}

tfm_status tfm_stop_flush(tfm_stop *s, tfm_ids *ready, tfm_error *err) {
    for (size_t i = 0; i < s->held.len; i++) TFM_TRY(tfm_seq_ids_add(ready, s->held.data[i], err));
    s->held.len = 0;
    s->text.len = 0;
    return TFM_OK;
}
