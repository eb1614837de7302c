/* bits_fused.h - sequences through one engine in batches of every kind.
 *
 * Rows of several sequences in random order, cut as the way says; page numbers from a shuffled free
 * list; some rows want logits, some batches want hidden states. Cut at random, sequences also
 * pause, go back some positions and run them again, and begin as forks of one another. */
#ifndef TFM_TESTS_BITS_FUSED_H
#define TFM_TESTS_BITS_FUSED_H

#include "bits_truth.h"

enum { BITS_SEQS = 32 };

typedef struct bits_seq {
    int stream;
    uint32_t length, done;
    tfm_seq seq;
} bits_seq;

typedef struct bits_fused {
    const bits_truth *t;
    const bits_way *way;
    tfm_engine *e;
    bits_seq seq[BITS_SEQS];
    uint64_t random;
    uint32_t n_rows, n_seqs;
    uint32_t row_start[BITS_SEQS + 1], take[BITS_SEQS];
    const uint32_t *page[BITS_SEQS];
    uint32_t of[BITS_SEQS]; /* sequence of the batch -> seq */
    size_t wrong;
} bits_fused;

/* Leaves the list of free pages in random order, and pages full of old numbers. */
static inline void bits_fused_stir(bits_fused *f) {
    tfm_seq decoy[40] = {{0}};
    uint32_t order[40];
    tfm_error err;
    bits_shuffle(order, 40, &f->random);
    for (int i = 0; i < 40; i++) {
        const uint32_t len = 1 + (uint32_t)(ops_next(&f->random) % 300);
        if (tfm_seq_extend(tfm_engine_pages(f->e), &decoy[i], len, &err) != TFM_OK) {
            ops_die("decoy", &err);
        }
    }
    for (int i = 0; i < 40; i++) tfm_seq_release(tfm_engine_pages(f->e), &decoy[order[i]]);
}

/* A new sequence may begin as another one of its stream does, a running one may go back. */
static inline void bits_fused_disturb(bits_fused *f, bits_seq *s) {
    tfm_pages *pages = tfm_engine_pages(f->e);
    tfm_error err;
    if (s->done > 0 && ops_next(&f->random) % 8 == 0) {
        const uint32_t back = (uint32_t)(ops_next(&f->random) % 20);
        s->done -= back < s->done ? back : s->done;
        tfm_seq_truncate(pages, &s->seq, s->done);
        return;
    }
    const bits_seq *from = &f->seq[ops_next(&f->random) % f->way->n_seqs];
    if (s->done > 0 || from->stream != s->stream || from->done == 0) return;
    s->done = (uint32_t)(ops_next(&f->random) % from->done);
    if (s->done >= s->length) s->done = s->length - 1;
    tfm_seq_release(pages, &s->seq);
    if (tfm_seq_fork(pages, &s->seq, &from->seq, s->done, &err) != TFM_OK) ops_die("fork", &err);
}

/* Chooses the rows of the next batch; false when all sequences are done. */
static inline bool bits_fused_deal(bits_fused *f) {
    uint32_t order[BITS_SEQS];
    bool left = false;
    tfm_error err;
    f->n_rows = f->n_seqs = 0;
    bits_shuffle(order, f->way->n_seqs, &f->random);
    for (uint32_t i = 0; i < f->way->n_seqs; i++) {
        bits_seq *s = &f->seq[order[i]];
        left = left || s->done < s->length;
        if (s->done == s->length) continue;
        if (f->way->cut->at_random && ops_next(&f->random) % 3 == 0) continue;
        if (f->way->cut->at_random) bits_fused_disturb(f, s);
        const uint32_t n = bits_take(f->way->cut, s->length - s->done, &f->random);
        if (tfm_seq_extend(tfm_engine_pages(f->e), &s->seq, s->done + n, &err) != TFM_OK) {
            ops_die("pages", &err);
        }
        f->of[f->n_seqs] = order[i];
        f->take[f->n_seqs] = n;
        f->row_start[f->n_seqs++] = f->n_rows;
        f->n_rows += n;
    }
    f->row_start[f->n_seqs] = f->n_rows;
    for (uint32_t i = 0; i < f->n_seqs; i++) f->page[i] = f->seq[f->of[i]].seq.page;
    return left;
}

static inline void bits_fused_compare(bits_fused *f, const tfm_batch *b) {
    const bits_truth *t = f->t;
    uint32_t out = 0;
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        const int stream = f->seq[f->of[i]].stream;
        for (uint32_t r = b->row_start[i]; r < b->row_start[i + 1]; r++) {
            const uint32_t p = b->position[r];
            if (b->hidden_out != NULL) {
                f->wrong += bits_differs(t->hidden[stream][BITS_BLOCKS] + (size_t)p * t->width,
                                         b->hidden_out + (size_t)r * t->width, t->width,
                                         "hidden state", stream, p);
            }
            if (out < b->n_out && b->out_row[out] == r) {
                f->wrong += bits_differs(t->logits[stream] + (size_t)p * BITS_VOCAB,
                                         b->logits + (size_t)out++ * BITS_VOCAB, BITS_VOCAB,
                                         "logits", stream, p);
            }
        }
    }
}

static inline void bits_fused_batch(bits_fused *f) {
    const size_t n = f->n_rows;
    int32_t *token = ops_alloc(n * sizeof *token);
    uint32_t *position = ops_alloc(n * sizeof *position), *out = ops_alloc(n * sizeof *out);
    float *hidden = ops_alloc(n * f->t->width * sizeof *hidden);
    float *logits = ops_alloc(n * BITS_VOCAB * sizeof *logits);
    const bool all = ops_next(&f->random) % 2 == 0; /* rows; else about half of them */
    tfm_error err;
    tfm_batch b = {.n_rows = f->n_rows, .n_seqs = f->n_seqs, .row_start = f->row_start};
    for (uint32_t i = 0; i < f->n_seqs; i++) {
        const bits_seq *s = &f->seq[f->of[i]];
        for (uint32_t k = 0; k < f->take[i]; k++) {
            const uint32_t r = f->row_start[i] + k;
            position[r] = s->done + k;
            token[r] = f->t->token[s->stream][position[r]];
            if (all || ops_next(&f->random) % 2 == 0) out[b.n_out++] = r;
        }
    }
    b.token = token;
    b.position = position;
    b.page = f->page;
    b.out_row = out;
    b.logits = logits;
    if (ops_next(&f->random) % 2 == 0) b.hidden_out = hidden;
    if (tfm_engine_run(f->e, &b, &err) != TFM_OK) ops_die("run", &err);
    bits_fused_compare(f, &b);
    for (uint32_t i = 0; i < f->n_seqs; i++) f->seq[f->of[i]].done += f->take[i];
    free(token), free(position), free(out), free(hidden), free(logits);
}

/* How many rows differ from the truth. */
static inline size_t bits_run_fused(const bits_truth *t, const bits_way *way) {
    bits_fused f = {.t = t, .way = way, .random = way->seed};
    f.e = bits_engine(way->model, t, way->threads, (tfm_model_range){.is_part = false});
    bits_fused_stir(&f);
    for (uint32_t s = 0; s < way->n_seqs; s++) {
        f.seq[s].stream = (int)(s % BITS_STREAMS);
        f.seq[s].length = bits_seq_length(t, way, s, &f.random);
    }
    while (bits_fused_deal(&f)) {
        if (f.n_rows > 0) bits_fused_batch(&f);
    }
    for (uint32_t s = 0; s < way->n_seqs; s++) {
        tfm_seq_release(tfm_engine_pages(f.e), &f.seq[s].seq);
    }
    tfm_engine_free(f.e);
    return f.wrong;
}

#endif
