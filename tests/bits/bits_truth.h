/* bits_truth.h - what a model gives for a few streams of tokens, each run whole, alone and fused on
 * one thread: hidden states before every block, and the logits of every position.
 *
 * Attention looks back only, so row i of the truth holds for every sequence that begins with the
 * stream's first i + 1 tokens: a test sequence of any length is a prefix. */
#ifndef TFM_TESTS_BITS_TRUTH_H
#define TFM_TESTS_BITS_TRUTH_H

#include "bits_model.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "infer/infer_internal.h"
#include "tfm/probe.h"

enum { BITS_STREAMS = 3 };

typedef struct bits_truth {
    const char *device;
    tfm_dtype kv_type;
    uint32_t width;
    int n_streams;
    uint32_t n[BITS_STREAMS];                     /* positions */
    int32_t *token[BITS_STREAMS];                 /* [n] */
    float *hidden[BITS_STREAMS][BITS_BLOCKS + 1]; /* [n, width], before block b, or NULL */
    float *logits[BITS_STREAMS];                  /* [n, BITS_VOCAB] */
} bits_truth;

/* Of all truths: it is the same whatever the size of a page. */
static uint32_t bits_digest;

/* The taps of every engine made from now on: none, or all there are. */
static tfm_probe *bits_probe;
static uint64_t bits_kv_bytes; /* its cache's budget; 0: none */

/* Called with the backend of every engine: a test may put other kernels in. */
static void (*bits_hook)(tfm_backend *be);

static inline tfm_engine *bits_engine(tfm_model *model, const bits_truth *t, unsigned threads,
                                      tfm_model_range range) {
    const tfm_engine_options o = {.device = t->device,
                                  .threads = threads,
                                  .kv_type = t->kv_type,
                                  .range = range,
                                  .kv_bytes = bits_kv_bytes,
                                  .prefix_cache = !bits_probe && threads > 1, /* generators' */
                                  .probe = bits_probe};
    tfm_engine *e;
    tfm_error err;
    if (tfm_engine_new(&e, model, &o, &err) != TFM_OK) ops_die("engine", &err);
    if (bits_hook != NULL) bits_hook(tfm_engine_backend(e));
    return e;
}

/* One stream through embedding and blocks [0, blocks), and the head behind the last. */
static inline void bits_truth_pass(bits_truth *t, tfm_model *model, int stream, uint32_t blocks) {
    const bool head = blocks == BITS_BLOCKS;
    const tfm_model_range range = {
        .is_part = true, .has_embed = true, .has_head = head, .end_block = blocks};
    tfm_engine *e = bits_engine(model, t, 1, range);
    const uint32_t n = t->n[stream], row_start[2] = {0, n};
    uint32_t *number = ops_alloc(n * sizeof *number);
    tfm_seq seq = {0};
    tfm_error err;
    for (uint32_t i = 0; i < n; i++) number[i] = i;
    if (tfm_seq_extend(tfm_engine_pages(e), &seq, n, &err) != TFM_OK) ops_die("pages", &err);
    const uint32_t *page = seq.page;
    float *hidden = ops_alloc((size_t)n * t->width * sizeof(float));
    tfm_batch b = {.n_rows = n, .n_seqs = 1, .row_start = row_start, .token = t->token[stream]};
    b.position = number;
    b.page = &page;
    b.hidden_out = t->hidden[stream][blocks] = hidden;
    if (head) {
        b.out_row = number;
        b.n_out = n;
        b.logits = t->logits[stream] = ops_alloc((size_t)n * BITS_VOCAB * sizeof(float));
    }
    if (tfm_engine_run(e, &b, &err) != TFM_OK) ops_die("truth", &err);
    bits_digest = tfm_crc32(bits_digest, hidden, (size_t)n * t->width * sizeof(float));
    if (head)
        bits_digest = tfm_crc32(bits_digest, b.logits, (size_t)n * BITS_VOCAB * sizeof(float));
    tfm_seq_release(tfm_engine_pages(e), &seq);
    tfm_engine_free(e);
    free(number);
}

/* Streams for batches of n_seqs sequences: the first has n positions, the others no more, the
 * second at most 1025, the third at most 65. Hidden states before the blocks of the mask `inner`,
 * and behind the last. */
static inline void bits_truth_new(bits_truth *t, const bits_model *m, const char *device,
                                  tfm_dtype kv_type, uint32_t n, uint32_t n_seqs, unsigned inner) {
    static const uint32_t most[BITS_STREAMS] = {UINT32_MAX, 1025, 65};
    uint64_t random = 77;
    *t = (bits_truth){.device = device, .kv_type = kv_type, .width = m->width};
    t->n_streams = n_seqs < BITS_STREAMS ? (int)n_seqs : BITS_STREAMS;
    for (int s = 0; s < t->n_streams; s++) {
        t->n[s] = n < most[s] ? n : most[s];
        t->token[s] = ops_alloc(t->n[s] * sizeof(int32_t));
        for (uint32_t i = 0; i < t->n[s]; i++) {
            t->token[s][i] = (int32_t)(ops_next(&random) % BITS_VOCAB);
        }
        for (uint32_t b = 0; b <= BITS_BLOCKS; b++) {
            if (b == BITS_BLOCKS || (inner >> b & 1u) != 0) bits_truth_pass(t, m->model, s, b);
        }
    }
}

static inline void bits_truth_free(bits_truth *t) {
    for (int s = 0; s < t->n_streams; s++) {
        free(t->token[s]);
        free(t->logits[s]);
        for (int b = 0; b <= BITS_BLOCKS; b++) free(t->hidden[s][b]);
    }
}

/* ---- lengths and cuts ---- */

static const uint32_t bits_length[] = {1,  2,    15,   16,   17,   63,   64,
                                       65, 1023, 1024, 1025, 2048, 2049, 2050};
enum { BITS_SHORT = 8, BITS_LENGTHS = 14 }; /* the first ones are short */

/* One of the lengths that are at most `most` (and `most` itself counts as one). */
static inline uint32_t bits_pick_length(uint64_t *random, uint32_t most) {
    size_t n = 0;
    while (n < BITS_LENGTHS && bits_length[n] < most) n++;
    const size_t i = ops_next(random) % (n + 1);
    return i == n ? most : bits_length[i];
}

/* Rows of a sequence that come together. */
typedef struct bits_cut {
    const char *name;
    uint32_t most;  /* 0: all there are */
    bool at_random; /* 1 to most rows; sequences pause, go back and fork */
} bits_cut;

static const bits_cut bits_cuts[] = {{"whole", 0, false},
                                     {"by 1", 1, false},
                                     {"by 7", 7, false},
                                     {"by 64", 64, false},
                                     {"cut at random", 90, true}};
enum { BITS_CUTS = 5 };

static inline uint32_t bits_take(const bits_cut *cut, uint32_t rest, uint64_t *random) {
    uint32_t n = cut->most > 0 && cut->most < rest ? cut->most : rest;
    if (cut->at_random && n > 0) n = 1 + (uint32_t)(ops_next(random) % n);
    return n;
}

/* A way of running that must make no difference. */
typedef struct bits_way {
    tfm_model *model; /* in any layout */
    uint32_t length;  /* of the first sequence, no more than the truth has */
    const bits_cut *cut;
    uint32_t n_seqs;
    unsigned threads;
    uint32_t stages; /* 0: fused; else that many for the blocks, between embedding and head */
    bool taps;       /* everything is tapped */
    uint64_t seed;
} bits_way;

/* Bit b is set where a new stage begins at block b + 1. */
static inline unsigned bits_cuts_of(const bits_way *way) {
    if (way->stages == 2) return 1u << way->seed % (BITS_BLOCKS - 1);
    return way->stages == 1 ? 0 : (1u << (BITS_BLOCKS - 1)) - 1;
}

/* The blocks before which a way gives hidden states. */
static inline unsigned bits_inner_of(const bits_way *way) {
    return way->stages == 0 ? 0 : 1u | bits_cuts_of(way) << 1;
}

/* Length of sequence s. The first three may be long; of the others one in eight passes a page. */
static inline uint32_t bits_seq_length(const bits_truth *t, const bits_way *way, uint32_t s,
                                       uint64_t *random) {
    const uint32_t known = t->n[s % BITS_STREAMS];
    if (s == 0) return way->length;
    const uint32_t most = s < 3 ? 2050 : s % 8 == 0 ? 65 : 17;
    return bits_pick_length(random, most < known ? most : known);
}

static inline void bits_shuffle(uint32_t *order, uint32_t n, uint64_t *random) {
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t j = (uint32_t)(ops_next(random) % (i + 1));
        order[i] = order[j];
        order[j] = i;
    }
}

/* ---- streams in memory ---- */

static inline int bits_memory_file(void) {
    const int fd = memfd_create("bits", 0);
    if (fd < 0) ops_die("memfd_create", NULL);
    return fd;
}

/* A writer to fd with a stream of that kind open. */
static inline tfm_writer *bits_writer(int fd, const char *kind) {
    tfm_header *h;
    tfm_writer *w;
    tfm_error err;
    if (tfm_header_new(&h, kind, &err) != TFM_OK ||
        tfm_header_set(h, "tool", "test", &err) != TFM_OK ||
        tfm_writer_new(&w, fd, kind, &err) != TFM_OK || tfm_writer_header(w, h, &err) != TFM_OK) {
        ops_die(kind, &err);
    }
    tfm_header_free(h);
    return w;
}

/* A reader of fd from its start, at the first record. */
static inline tfm_reader *bits_reader(int fd) {
    tfm_reader *r;
    tfm_error err;
    lseek(fd, 0, SEEK_SET);
    if (tfm_reader_new(&r, fd, "memory", &err) != TFM_OK || tfm_reader_stream(r, &err) != TFM_OK) {
        ops_die("a stream in memory", &err);
    }
    return r;
}

/* ---- comparing ---- */

static bool bits_quiet;            /* differences are expected */
static size_t bits_rows, bits_ids; /* compared so far */

/* 1 if the row differs. */
static inline size_t bits_differs(const float *want, const float *got, size_t n, const char *what,
                                  int stream, uint32_t position) {
    static int lines;
    bits_rows++;
    if (memcmp(want, got, n * sizeof *got) == 0) return 0;
    if (!bits_quiet && lines++ < 20) {
        size_t i = 0;
        while (memcmp(&want[i], &got[i], sizeof *got) == 0) i++;
        printf("  %s of stream %d, position %u, element %zu: %.9g, not %.9g\n", what, stream,
               position, i, (double)got[i], (double)want[i]);
    }
    return 1;
}

#endif
