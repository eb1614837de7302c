/* bits_staged.h - sequences as a token stream through a chain of stages, each a tfm_stage of its
 * own with its own cache, threads and row budget; a file in memory stands for every pipe.
 *
 *     tokens -> embed -> blocks 0-0 -> blocks 1-2 -> head -> logits
 *
 * Records of the groups interleave in random order, with FLUSH here and there. Cut at random,
 * groups also go back (a record at an earlier position) and fork. Every hidden stream on the way is
 * compared, and the logits of every row. */
#ifndef TFM_TESTS_BITS_STAGED_H
#define TFM_TESTS_BITS_STAGED_H

#include "bits_truth.h"
#include "infer/stage_internal.h"

typedef struct bits_group {
    int stream;
    uint32_t length, done, sent; /* sent: the furthest that was ever sent, or forked from */
} bits_group;

typedef struct bits_staged {
    const bits_truth *t;
    const bits_way *way;
    bits_group group[BITS_SEQS];
    uint64_t random;
    size_t wrong;
} bits_staged;

/* ---- the prompt stream ---- */

static inline void bits_write_fork(bits_staged *s, uint32_t g, tfm_writer *w) {
    const uint32_t parent = (uint32_t)(ops_next(&s->random) % s->way->n_seqs);
    const bits_group *from = &s->group[parent];
    tfm_error err;
    if (from->stream != s->group[g].stream || from->done == 0) return;
    const uint32_t most = from->done < s->group[g].length ? from->done : s->group[g].length - 1;
    const int32_t payload[2] = {(int32_t)parent, (int32_t)(ops_next(&s->random) % (most + 1))};
    const tfm_record rec = {
        .type = TFM_REC_FORK, .dtype = TFM_I32, .rank = 1, .dims = {2, 1, 1, 1}, .group = g};
    if (tfm_writer_record(w, &rec, payload, &err) != TFM_OK) ops_die("fork", &err);
    s->group[g].done = s->group[g].sent = (uint32_t)payload[1];
}

/* The next record of group g; at its end GROUP-END. */
static inline void bits_write_rows(bits_staged *s, uint32_t g, tfm_writer *w) {
    bits_group *p = &s->group[g];
    tfm_error err;
    if (s->way->cut->at_random && p->sent == 0) bits_write_fork(s, g, w);
    if (s->way->cut->at_random && p->done > 0 && ops_next(&s->random) % 8 == 0) {
        const uint32_t back = (uint32_t)(ops_next(&s->random) % 20);
        p->done -= back < p->done ? back : p->done;
    }
    const uint32_t n = bits_take(s->way->cut, p->length - p->done, &s->random);
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_I32,
                      .rank = 1,
                      .group = g,
                      .position = p->done,
                      .dims = {n, 1, 1, 1},
                      .name = "tokens"};
    if (ops_next(&s->random) % 5 == 0) rec.flags |= TFM_FLAG_FLUSH;
    if (p->done + n == p->length) rec.flags |= TFM_FLAG_LAST;
    if (tfm_writer_record(w, &rec, s->t->token[p->stream] + p->done, &err) != TFM_OK) {
        ops_die("tokens", &err);
    }
    p->done += n;
    if (p->done > p->sent) p->sent = p->done;
}

static inline void bits_write_tokens(bits_staged *s, int fd) {
    tfm_writer *w = bits_writer(fd, "tokens");
    tfm_error err;
    uint32_t open = s->way->n_seqs;
    while (open > 0) {
        const uint32_t g = (uint32_t)(ops_next(&s->random) % s->way->n_seqs);
        if (s->group[g].done < s->group[g].length) {
            bits_write_rows(s, g, w);
            if (s->group[g].done == s->group[g].length) open--;
        }
    }
    for (uint32_t g = 0; g < s->way->n_seqs; g++) {
        if (tfm_writer_group_end(w, g, s->group[g].length, TFM_END_OPEN, &err) != TFM_OK) {
            ops_die("group end", &err);
        }
    }
    if (tfm_writer_end(w, &err) != TFM_OK) ops_die("token stream", &err);
    tfm_writer_free(w);
}

/* ---- taps ---- */

/* Residual streams and logits that were tapped; what else there is has no truth to compare with. */
static inline void bits_compare_tap(bits_staged *s, const tfm_record *rec, const float *row) {
    const int stream = s->group[rec->group].stream;
    const size_t width = s->t->width, p = rec->position;
    unsigned block;
    int end = 0;
    if (strcmp(rec->name, "logits") == 0) {
        s->wrong += bits_differs(s->t->logits[stream] + p * BITS_VOCAB, row, BITS_VOCAB,
                                 "tapped logits", stream, rec->position);
    } else if (strcmp(rec->name, "embedding") == 0) {
        s->wrong += bits_differs(s->t->hidden[stream][0] + p * width, row, width,
                                 "tapped embedding", stream, rec->position);
    } else if (sscanf(rec->name, "blk.%u.resid%n", &block, &end) == 1 && rec->name[end] == '\0' &&
               end > 0 && s->t->hidden[stream][block + 1] != NULL) {
        s->wrong += bits_differs(s->t->hidden[stream][block + 1] + p * width, row, width,
                                 "tapped residual stream", stream, rec->position);
    }
}

/* Ends the taps of one stage, reads them and closes the file. */
static inline void bits_compare_taps(bits_staged *s, tfm_writer *w, int fd) {
    tfm_record rec;
    tfm_status st;
    tfm_error err;
    const void *payload;
    if (w == NULL) return;
    if (tfm_writer_end(w, &err) != TFM_OK) ops_die("taps", &err);
    tfm_writer_free(w);
    tfm_reader *r = bits_reader(fd);
    while ((st = tfm_reader_next(r, &rec, &err)) == TFM_OK) {
        if (rec.type != TFM_REC_TENSOR) continue;
        if (tfm_reader_payload(r, &payload, &err) != TFM_OK) ops_die("taps", &err);
        bits_compare_tap(s, &rec, payload);
    }
    if (st != TFM_DONE) ops_die("taps", &err);
    tfm_reader_free(r);
    close(fd);
}

/* ---- one stage ---- */

/* From `in` (read from its start) to a new file, which is returned. */
static inline int bits_stage(bits_staged *s, int in, tfm_part part, uint32_t first, uint32_t end) {
    static const uint32_t budget[] = {1, 5, 64, 512};
    const int fd = bits_memory_file(), tap_fd = bits_probe != NULL ? bits_memory_file() : -1;
    const uint64_t dice = ops_next(&s->random);
    tfm_stage_options o = {.part = part, .first_block = first, .end_block = end, .all_rows = true};
    tfm_reader *r = bits_reader(in);
    tfm_writer *w;
    tfm_header *h;
    tfm_stage *stage;
    tfm_error err;
    o.engine.device = s->t->device;
    o.engine.threads = 1 + (unsigned)(dice + s->way->threads) % 3;
    o.engine.kv_type = s->t->kv_type;
    o.row_budget = budget[dice / 3 % 4];
    o.engine.probe = bits_probe;
    if (tap_fd >= 0) o.tap_out = bits_writer(tap_fd, "tensor");
    o.program = "stage";
    if (tfm_stage_new(&stage, s->way->model, &o, tfm_reader_header(r), &err) != TFM_OK ||
        tfm_header_copy(&h, tfm_reader_header(r), &err) != TFM_OK ||
        tfm_stage_header(stage, h, &err) != TFM_OK ||
        tfm_writer_new(&w, fd, "out", &err) != TFM_OK || tfm_writer_header(w, h, &err) != TFM_OK) {
        ops_die("stage", &err);
    }
    if (bits_hook != NULL) bits_hook(tfm_engine_backend(stage->engine));
    if (tfm_stage_run(stage, r, w, &err) != TFM_OK) ops_die("stage", &err);
    s->wrong += tfm_stage_n_failed(stage);
    bits_compare_taps(s, o.tap_out, tap_fd);
    tfm_stage_free(stage);
    tfm_writer_free(w);
    tfm_header_free(h);
    tfm_reader_free(r);
    close(in);
    return fd;
}

/* Every row of a hidden stream that stands before block `block`, or (BITS_BLOCKS + 1) of logits.
 * All positions of all groups must have come. */
static inline void bits_compare_stream(bits_staged *s, int fd, uint32_t block) {
    const bool logits = block > BITS_BLOCKS;
    const uint32_t width = logits ? BITS_VOCAB : s->t->width;
    uint32_t seen[BITS_SEQS] = {0};
    tfm_reader *r = bits_reader(fd);
    tfm_record rec;
    tfm_status st;
    tfm_error err;
    const void *payload;
    while ((st = tfm_reader_next(r, &rec, &err)) == TFM_OK) {
        if (rec.type == TFM_REC_FORK && tfm_reader_payload(r, &payload, &err) == TFM_OK) {
            seen[rec.group] = ((const uint32_t *)payload)[1];
        }
        if (rec.type != TFM_REC_TENSOR || rec.dtype != TFM_F32) continue;
        if (tfm_reader_payload(r, &payload, &err) != TFM_OK) ops_die("compared stream", &err);
        const int stream = s->group[rec.group].stream;
        const float *want = logits ? s->t->logits[stream] : s->t->hidden[stream][block];
        for (uint32_t i = 0; i < rec.dims[0]; i++) {
            const uint32_t p = rec.position + i;
            s->wrong +=
                bits_differs(want + (size_t)p * width, (const float *)payload + (size_t)i * width,
                             width, logits ? "staged logits" : "staged hidden state", stream, p);
        }
        if (rec.position + rec.dims[0] > seen[rec.group]) {
            seen[rec.group] = rec.position + rec.dims[0];
        }
    }
    if (st != TFM_DONE) ops_die("compared stream", &err);
    for (uint32_t g = 0; g < s->way->n_seqs; g++) s->wrong += seen[g] != s->group[g].length;
    tfm_reader_free(r);
}

/* How many rows differ. */
static inline size_t bits_run_staged(const bits_truth *t, const bits_way *way) {
    const unsigned cut = bits_cuts_of(way);
    bits_staged s = {.t = t, .way = way, .random = way->seed};
    for (uint32_t g = 0; g < way->n_seqs; g++) {
        s.group[g].stream = (int)(g % BITS_STREAMS);
        s.group[g].length = bits_seq_length(t, way, g, &s.random);
    }
    int fd = bits_memory_file();
    bits_write_tokens(&s, fd);
    fd = bits_stage(&s, fd, TFM_PART_EMBED, 0, 0);
    bits_compare_stream(&s, fd, 0);
    for (uint32_t first = 0, b = 0; b < BITS_BLOCKS; b++) {
        if (b + 1 < BITS_BLOCKS && (cut >> b & 1u) == 0) continue;
        fd = bits_stage(&s, fd, TFM_PART_BLOCKS, first, b + 1);
        bits_compare_stream(&s, fd, b + 1);
        first = b + 1;
    }
    fd = bits_stage(&s, fd, TFM_PART_HEAD, 0, 0);
    bits_compare_stream(&s, fd, BITS_BLOCKS + 1);
    close(fd);
    return s.wrong;
}

#endif
