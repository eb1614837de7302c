/* tokenize.c - a tokenizer and one run of it: special tokens are cut out, the stretches between
 * them go to bpe.c or spm.c, begin and end tokens are put around. */
#include "base/threads_internal.h"
#include "text/text_internal.h"

tfm_status tfm_tokenizer_new(tfm_tokenizer **out, const tfm_vocab *v, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_tokenizer), err));
    tfm_tokenizer *t = p;
    t->v = v;
    t->spells_bytes = true;
    for (int i = 0; i < 256; i++)
        t->spells_bytes = t->spells_bytes && tfm_vocab_byte(v, (unsigned)i) >= 0;
    /* In a unigram model it is as good as a space, and what normalising does has no way back. */
    t->meta_by_bytes = v->set.type != TFM_VOCAB_UNIGRAM && v->set.space_to_meta &&
                       tfm_vocab_byte(v, 0xe2) >= 0 && tfm_vocab_byte(v, 0x96) >= 0 &&
                       tfm_vocab_byte(v, 0x81) >= 0;
    tfm_special_index(t);
    if (v->set.type == TFM_VOCAB_UNIGRAM) tfm_unigram_scores(t);
    if (v->set.type == TFM_VOCAB_WORDPIECE) tfm_wordpiece_start(t);
    tfm_status st = tfm_runs_new(t, err);
    if (st == TFM_OK &&
        v->set.n_patterns + v->set.steps.n + v->set.splitter.n + v->set.decoder.n > 0)
        st = tfm_pretok_new(&t->pretok, &v->set, true, err);
    if (st != TFM_OK) {
        tfm_tokenizer_free(t);
        return st;
    }
    *out = t;
    return TFM_OK;
}

void tfm_tokenizer_free(tfm_tokenizer *t) {
    if (t == NULL) return;
    tfm_runs_free(t);
    tfm_pretok_free(t->pretok);
    tfm_free(t);
}

const tfm_vocab *tfm_tokenizer_vocab(const tfm_tokenizer *t) {
    return t->v;
}
bool tfm_tokenizer_spells_bytes(const tfm_tokenizer *t) {
    return t->spells_bytes;
}

/* ---- what the steps share ---- */

tfm_status tfm_ids_push(tfm_ids *ids, int32_t id, tfm_error *err) {
    TFM_TRY(tfm_ids_room(ids, 1, err));
    ids->data[ids->len++] = id;
    return TFM_OK;
}

void tfm_ids_free(tfm_ids *ids) {
    tfm_free(ids->data);
    *ids = (tfm_ids){NULL, 0, 0};
}

tfm_status tfm_run_syms(tfm_tok_run *r, size_t n) {
    if (n <= r->sym_cap) return TFM_OK;
    void *p = r->sym;
    tfm_status st = tfm_grow(&p, &r->sym_cap, n, sizeof *r->sym, r->err);
    r->sym = p;
    return st;
}

tfm_status tfm_run_byte(tfm_tok_run *r, const unsigned char *p) {
    int32_t id = tfm_vocab_byte(r->v, *p);
    if (id >= 0) return tfm_ids_push(r->ids, id, r->err);
    uintptr_t at = (uintptr_t)p - (uintptr_t)r->src; /* huge if p lies in a normalised copy */
    if (at < r->src_len)
        return tfm_fail(r->err, TFM_RECORD,
                        "byte 0x%02x at offset %zu: the vocabulary cannot spell it", *p,
                        (size_t)at);
    return tfm_fail(r->err, TFM_RECORD, "byte 0x%02x: the vocabulary cannot spell it", *p);
}

size_t tfm_text_span(const char *text, size_t n) {
    return tfm_utf8_span((const unsigned char *)text, n);
}

size_t tfm_utf8_span(const unsigned char *s, size_t n) {
    size_t i = 0;
    while (i < n) {
        uint32_t cp;
        bool ok;
        if (s[i] < 0x80) {
            i++;
            continue;
        }
        size_t len = tfm_utf8_decode(s + i, n - i, &cp, &ok);
        if (!ok) break;
        i += len;
    }
    return i;
}

/* ---- one text ---- */

static tfm_status fragment(tfm_tok_run *r, const unsigned char *s, size_t n, bool first) {
    if (n == 0) return TFM_OK;
    if (r->v->set.splitter.n > 0) return tfm_split_fragment(r, s, n, first);
    switch (r->v->set.type) {
    case TFM_VOCAB_BYTES:
        for (size_t i = 0; i < n; i++) TFM_TRY(tfm_run_byte(r, s + i));
        return TFM_OK;
    case TFM_VOCAB_BPE:
        return r->v->set.byte_level ? tfm_byte_fragment(r, s, n, first)
                                    : tfm_char_fragment(r, s, n, first);
    case TFM_VOCAB_WORDPIECE: return tfm_basic_fragment(r, s, n);
    case TFM_VOCAB_CHARACTERS: return tfm_characters_fragment(r, s, n);
    default: return tfm_char_fragment(r, s, n, first);
    }
}

static tfm_status run_text(tfm_tok_run *r, const unsigned char *s, size_t n) {
    bool first = true;
    size_t done = 0, at = 0;
    tfm_special_hit hit;
    while (tfm_special_next(r, false, s, n, done, &at, &hit)) {
        const unsigned flags = r->v->flags[hit.id];
        if (hit.begin > done) TFM_TRY(fragment(r, s + done, hit.begin - done, first));
        /* SentencePiece's own symbols are text: the space goes before one, too. */
        if (first && hit.begin == done && r->v->set.norm == TFM_NORM_CHARSMAP &&
            (flags & TFM_TOKEN_ADDED))
            TFM_TRY(tfm_char_fragment(r, s + done, 0, true));
        TFM_TRY(tfm_ids_push(r->ids, hit.id, r->err));
        /* SentencePiece puts its space prefix before the text and, as the models' own templates
         * expect, behind control tokens; not behind added tokens, which are text themselves.
         * Metaspace of scheme "first" (add_prefix_space alone) means the text only, of scheme
         * "always" (both) every stretch. */
        first = r->v->set.add_space_prefix &&
                ((flags & TFM_TOKEN_CONTROL) != 0 || r->v->set.add_prefix_space);
        done = hit.end;
    }
    return fragment(r, s + done, n - done, first);
}

static tfm_status push_all(tfm_tok_run *r, const tfm_around *a) {
    for (uint32_t i = 0; i < a->n; i++) TFM_TRY(tfm_ids_push(r->ids, a->id[i], r->err));
    return TFM_OK;
}

static tfm_status run_all(tfm_tok_run *r) {
    const tfm_vocab_settings *set = &r->v->set;
    bool special = (r->flags & TFM_TOK_ADD_SPECIAL) != 0;
    if (special && set->add_bos) TFM_TRY(tfm_ids_push(r->ids, set->bos, r->err));
    if (special) TFM_TRY(push_all(r, &set->before));
    TFM_TRY(run_text(r, r->src, r->src_len));
    if (special && set->add_eos) TFM_TRY(tfm_ids_push(r->ids, set->eos, r->err));
    return special ? push_all(r, &set->after) : TFM_OK;
}

/* The text of a run. */
static void set_text(tfm_tok_run *r, const void *text, size_t n, tfm_error *err) {
    const tfm_norm norm = r->v->set.norm;
    r->err = err;
    r->src = text;
    r->src_len = n;
    r->is_utf8 = norm != TFM_NORM_NONE && norm != TFM_NORM_CHARSMAP && tfm_utf8_span(text, n) == n;
}

tfm_status tfm_normal_text(const tfm_tokenizer *t, const unsigned char *s, size_t n, tfm_buf *out,
                           tfm_error *err) {
    tfm_tok_run *r;
    TFM_TRY(tfm_run_take(&r, t, n, err));
    set_text(r, s, n, err);
    tfm_status st = tfm_normalise(r, &s, &n);
    if (st == TFM_OK && n > 0) st = tfm_buf_add(out, s, n, err);
    tfm_run_give(r);
    return st;
}

tfm_status tfm_tokenize(const tfm_tokenizer *t, const char *text, size_t n, unsigned flags,
                        tfm_ids *ids, uint64_t *unknown, tfm_error *err) {
    return tfm_tokenize_marked(t, text, NULL, n, flags, ids, unknown, err);
}

tfm_status tfm_tokenize_marked(const tfm_tokenizer *t, const char *text, const unsigned char *marks,
                               size_t n, unsigned flags, tfm_ids *ids, uint64_t *unknown,
                               tfm_error *err) {
    size_t before = ids->len;
    if (n > TFM_TEXT_MAX)
        return tfm_fail(err, TFM_LIMIT, "a text of %zu bytes; at most %u are taken", n,
                        TFM_TEXT_MAX);
    tfm_tok_run *r;
    TFM_TRY(tfm_run_take(&r, t, n, err));
    r->flags = flags;
    r->marks = marks;
    r->ids = ids;
    set_text(r, text, n, err);
    tfm_status st = run_all(r);
    uint64_t n_unknown = r->unknown;
    tfm_run_give(r);
    if (st != TFM_OK)
        ids->len = before;
    else if (unknown)
        *unknown += n_unknown;
    return st;
}

/* ---- many texts ---- */

typedef struct many {
    const tfm_tokenizer *t;
    tfm_tok_item *item;
    unsigned flags;
} many;

static void one_of_many(void *arg, size_t chunk, unsigned worker) {
    many *m = arg;
    tfm_tok_item *it = &m->item[chunk];
    (void)worker;
    if (it->skip) return;
    it->ids.len = 0;
    it->unknown = 0;
    it->err.status =
        tfm_tokenize(m->t, it->text, it->len, m->flags, &it->ids, &it->unknown, &it->err);
}

tfm_status tfm_tokenize_many(const tfm_tokenizer *t, tfm_tok_item *item, size_t n, unsigned flags,
                             unsigned n_threads, tfm_error *err) {
    many m = {t, item, flags};
    tfm_pool *pool;
    if (n_threads == 0) n_threads = tfm_threads_default();
    if (n_threads > n) n_threads = (unsigned)n;
    if (n_threads <= 1) {
        for (size_t i = 0; i < n; i++) one_of_many(&m, i, 0);
        return TFM_OK;
    }
    TFM_TRY(tfm_pool_new(&pool, n_threads, err));
    tfm_pool_run(pool, n, one_of_many, &m);
    tfm_pool_free(pool);
    return TFM_OK;
}
