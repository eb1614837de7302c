/* run.c - the runs of a tokenizer: the memory that one call of tfm_tokenize works in, kept for the
 * next call (buffers, the cache of words, PCRE2's match data).
 *
 * A tokenizer is used from many threads at once; each call takes a run that no other has, so there
 * are as many as calls were ever under way together. The lock is held to take one and to give it
 * back. */
#include "text/text_internal.h"

enum {
    KEPT_SYMBOLS = 1 << 16, /* symbols and heap keys a waiting run may hold: 2 MiB */
    KEPT_BYTES = 1 << 20,   /* bytes of each of its buffers */
    CUTS_AFTER = 1 << 15    /* bytes of text a tokenizer is given before cuts.c pays */
};

tfm_status tfm_runs_new(tfm_tokenizer *t, tfm_error *err) {
    void *p;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_runs), err));
    t->runs = p;
    pthread_mutex_init(&t->runs->lock, NULL);
    return TFM_OK;
}

static void free_run(tfm_tok_run *r) {
    tfm_free(r->sym);
    tfm_free(r->heap);
    tfm_free(r->best);
    tfm_free(r->decomposed);
    tfm_buf_free(&r->text);
    tfm_buf_free(&r->word);
    tfm_buf_free(&r->normal);
    tfm_buf_free(&r->spare);
    for (unsigned i = 0; r->part && i < TFM_STEPS_MAX; i++) tfm_buf_free(&r->part[i]);
    tfm_free(r->part);
    tfm_words_free(r);
    tfm_free(r->pairs);
    tfm_pretok_run_free(r);
    tfm_free(r);
}

void tfm_runs_free(tfm_tokenizer *t) {
    tfm_runs *runs = t->runs;
    if (runs == NULL) return;
    for (tfm_tok_run *r = runs->idle, *next; r; r = next) {
        next = r->next;
        free_run(r);
    }
    tfm_cuts_free(runs->cuts);
    pthread_mutex_destroy(&runs->lock);
    tfm_free(runs);
}

/* SentencePiece and BPE over characters: cuts, as soon as they pay. With the lock held. */
static tfm_status want_cuts(const tfm_tokenizer *t, size_t n, tfm_error *err) {
    tfm_runs *runs = t->runs;
    if (runs->cuts || t->v->hash == NULL || t->v->set.splitter.n > 0 ||
        t->v->set.type == TFM_VOCAB_UNIGRAM || t->v->set.type == TFM_VOCAB_WORDPIECE ||
        t->v->set.type == TFM_VOCAB_WORDS || t->v->set.type == TFM_VOCAB_CHARACTERS ||
        (t->v->set.type == TFM_VOCAB_BPE && t->v->set.byte_level))
        return TFM_OK;
    runs->n_bytes += n;
    return runs->n_bytes < CUTS_AFTER ? TFM_OK : tfm_cuts_new(&runs->cuts, t->v, err);
}

tfm_status tfm_run_take(tfm_tok_run **out, const tfm_tokenizer *t, size_t n, tfm_error *err) {
    tfm_runs *runs = t->runs;
    pthread_mutex_lock(&runs->lock);
    tfm_status st = want_cuts(t, n, err);
    tfm_tok_run *r = runs->idle;
    if (r) runs->idle = r->next;
    const tfm_cuts *cuts = runs->cuts;
    pthread_mutex_unlock(&runs->lock);
    if (r == NULL && st == TFM_OK) {
        void *p;
        st = tfm_alloc(&p, 1, sizeof(tfm_tok_run), err);
        r = p;
    }
    if (st != TFM_OK) {
        if (r) free_run(r);
        return st;
    }
    r->t = t;
    r->v = t->v;
    r->cuts = cuts;
    r->unknown = 0;
    r->steps = r->steps_max = 0;
    r->parts_bytes = 0;
    r->n_waiting = 0; /* an error may have left some */
    *out = r;
    return TFM_OK;
}

void tfm_run_give(tfm_tok_run *r) {
    tfm_runs *runs = r->t->runs;
    if (r->sym_cap > KEPT_SYMBOLS || r->heap_cap > KEPT_SYMBOLS) {
        tfm_free(r->sym);
        tfm_free(r->heap);
        r->sym = NULL;
        r->heap = NULL;
        r->sym_cap = r->heap_cap = 0;
    }
    if (r->best_cap > KEPT_SYMBOLS) {
        tfm_free(r->best);
        r->best = NULL;
        r->best_cap = 0;
    }
    if (r->decomposed_cap > KEPT_BYTES / sizeof *r->decomposed) {
        tfm_free(r->decomposed);
        r->decomposed = NULL;
        r->decomposed_cap = 0;
    }
    if (r->text.cap > KEPT_BYTES) tfm_buf_free(&r->text);
    if (r->word.cap > KEPT_BYTES) tfm_buf_free(&r->word);
    if (r->normal.cap > KEPT_BYTES) tfm_buf_free(&r->normal);
    if (r->spare.cap > KEPT_BYTES) tfm_buf_free(&r->spare);
    for (unsigned i = 0; r->part && i < TFM_STEPS_MAX; i++)
        if (r->part[i].cap > KEPT_BYTES) tfm_buf_free(&r->part[i]);
    pthread_mutex_lock(&runs->lock);
    r->next = runs->idle;
    runs->idle = r;
    pthread_mutex_unlock(&runs->lock);
}
