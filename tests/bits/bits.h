/* bits.h - the determinism harness: composed equals fused, whatever the batch (law 2).
 *
 *     a model     {f32 f16 bf16 q8_0 q4_0 q4_K} x {plain, grouped heads, window, soft cap, alibi,
 *                 q/k norm, experts}, cache {f16, f32, q8_0}: 126, each on one device
 *     its truth   a few streams of tokens, each whole, alone, fused, on one thread
 *     a way       length of the first sequence; whole, by 1, 7, 64 or cut at random; 1, 3 or 32
 *                 sequences; threads 1, 2, 3; fused, or embed | 1, 2 or 3 stages | unembed;
 *                 everything tapped, or nothing; weights in rows or in panels
 *     a manner    of generating: six drawings (greedy, penalties, top-p with a seed, stop strings,
 *                 ...); row budget; in order or not; a cache that is roomy or holds one group
 *
 * Whatever is in a batch comes in random order on pages in random order; cut at random, sequences
 * also pause, go back and fork. Hidden states, logits and ids are compared with the truth by
 * memcmp.
 *
 * What is a full product and what is pairwise (bits_cover.h: every two values of any two axes occur
 * together in some run, three need not):
 *
 *     short   lengths 1 2 15 16 17 63 64 65       pairwise over model and way, all axes
 *     full    the same lengths, dealt around      every model x half of (pairwise over the rest of
 *                                                 the way): each type and form meets all of it
 *     long    1023 1024 1025 2048 2049 2050       pairwise over model and way, slim models
 *     texts   prompts of the short lengths        pairwise over model, way and manner
 *
 * `make check` runs short, a quarter of texts and a few of the long ones; LONG=1 all of it. The
 * size of a page of the cache is a constant of the build: tests/long/bits.bats runs the same with
 * small ones. The programs, as processes with pipes between them, are in tests/bits.bats.
 * test_bits.c runs this on every instruction set of cpu that the machine has and proves that wrong
 * kernels are caught; test_bits_ref.c runs it on ref; -d DEVICE on any. */
#ifndef TFM_TESTS_BITS_H
#define TFM_TESTS_BITS_H

#include "../unit/unit.h"
#include "bits_cover.h"
#include "bits_fused.h"
#include "bits_generated.h"
#include "bits_staged.h"

#include <time.h>

static const tfm_dtype bits_types[] = {TFM_F32,  TFM_F16,  TFM_BF16, TFM_Q8_0,
                                       TFM_Q4_0, TFM_Q4_K, TFM_MXFP4};
static const tfm_dtype bits_caches[] = {TFM_F16, TFM_F32, TFM_Q8_0};
static const uint32_t bits_widths[] = {1, 3, 32}; /* sequences of a batch */
static const uint32_t bits_budgets[] = {0, 1, 7, 33};
enum { BITS_TYPES = 7, BITS_CACHES = 3, BITS_MODELS = BITS_TYPES * BITS_FORMS * BITS_CACHES };

/* Axes and their sizes: of a way, of a model, of a manner. */
enum { LENGTH, CUT, WIDTH, THREADS, STAGES, TAPS, LAYOUT, WAY_AXES };
enum { TYPE = WAY_AXES, FORM, CACHE, MODEL_AXES };
enum { DRAWING = MODEL_AXES, BUDGET, MANNER_AXES }; /* LENGTH: order and cache */
static const unsigned bits_short_axes[] = {
    BITS_SHORT, BITS_CUTS, 3, 3, BITS_BLOCKS + 1, 2, 2, BITS_TYPES, BITS_FORMS, BITS_CACHES};
static const unsigned bits_long_axes[] = {BITS_LENGTHS - BITS_SHORT,
                                          BITS_CUTS,
                                          3,
                                          3,
                                          BITS_BLOCKS + 1,
                                          2,
                                          2,
                                          BITS_TYPES,
                                          BITS_FORMS,
                                          BITS_CACHES};
static const unsigned bits_full_axes[] = {1, BITS_CUTS, 3, 3, BITS_BLOCKS + 1, 2, 2};
static const unsigned bits_text_axes[] = {
    4, 1, 3, 3, 1, 2, 2, BITS_TYPES, BITS_FORMS, BITS_CACHES, BITS_DRAWINGS, 4};

/* One model in both layouts, and its truth. */
typedef struct bits_subject {
    bits_model model[2];
    bits_truth truth;
} bits_subject;

static size_t bits_runs;

/* Of processor time since the last call. */
static inline double bits_seconds(void) {
    static clock_t last;
    const clock_t before = last;
    last = clock();
    return (double)(last - before) / CLOCKS_PER_SEC;
}

static inline void bits_subject_new(bits_subject *s, const char *device, bits_size size,
                                    unsigned type, unsigned form, unsigned cache) {
    const tfm_dtype kv = bits_caches[cache], w = bits_types[type];
    bits_model_new(&s->model[0], (bits_form)form, w, TFM_LAYOUT_ROWS, kv, size);
    bits_model_new(&s->model[1], (bits_form)form, w, TFM_LAYOUT_P16, kv, size);
    s->truth = (bits_truth){.device = device, .kv_type = kv};
}

/* The truth for that many positions and sequences. */
static inline void bits_subject_run(bits_subject *s, uint32_t n, uint32_t n_seqs, unsigned inner) {
    const bits_truth *t = &s->truth;
    bits_truth_new(&s->truth, &s->model[0], t->device, t->kv_type, n, n_seqs, inner);
}

static inline void bits_subject_free(bits_subject *s) {
    bits_truth_free(&s->truth);
    bits_model_free(&s->model[0]);
    bits_model_free(&s->model[1]);
}

/* The way that a row of a cover is; seed makes its random choices. */
static inline bits_way bits_way_of(const bits_subject *s, const uint8_t *row, unsigned base,
                                   uint64_t seed) {
    return (bits_way){.model = s->model[row[LAYOUT]].model,
                      .length = bits_length[base + row[LENGTH]],
                      .cut = &bits_cuts[row[CUT]],
                      .n_seqs = bits_widths[row[WIDTH]],
                      .threads = 1 + row[THREADS],
                      .stages = row[STAGES],
                      .taps = row[TAPS] != 0,
                      .seed = 100 + seed};
}

static inline void bits_say_where(const bits_subject *s, const bits_way *w, const char *how) {
    const bits_model *m = &s->model[0];
    printf(
        "  in: %s %s in %s on %s, cache %s, length %u %s, %u sequences, %u threads, %u stages%s, "
        "seed %llu%s%s\n",
        tfm_dtype_name(m->type), bits_form_name[m->form], w->model == m->model ? "rows" : "panels",
        s->truth.device, tfm_dtype_name(s->truth.kv_type), w->length, w->cut->name, w->n_seqs,
        w->threads, w->stages, w->taps ? ", tapped" : "", (unsigned long long)w->seed,
        *how != '\0' ? ", " : "", how);
}

/* ref is plain: no fusion, no panels of its own; slim models have all that it can get wrong. */
static inline bool bits_is_plain(const char *device) {
    return strcmp(device, "ref") == 0;
}
static inline bits_size bits_size_for(const char *device) {
    return bits_is_plain(device) ? BITS_SLIM : BITS_USUAL;
}

/* Everything is tapped, or nothing. Taps change no bit. */
static inline void bits_tap(bool on) {
    tfm_error err;
    tfm_probe_free(bits_probe);
    bits_probe = NULL;
    if (!on) return;
    if (tfm_probe_new(&bits_probe, &err) != TFM_OK ||
        tfm_probe_tap(bits_probe, "*", &err) != TFM_OK) {
        ops_die("taps", &err);
    }
}

/* How many rows differ. */
static inline size_t bits_run(const bits_subject *s, const bits_way *w) {
    bits_runs++;
    bits_tap(w->taps);
    const size_t wrong =
        w->stages == 0 ? bits_run_fused(&s->truth, w) : bits_run_staged(&s->truth, w);
    bits_tap(false);
    return wrong;
}

static inline void bits_check_way(const bits_subject *s, const bits_way *w) {
    if (!CHECK_INT(bits_run(s, w), 0)) bits_say_where(s, w, "");
}

/* Every model x half of what is pairwise over the way but its length, the other half with the next
 * cache. */
static inline void bits_check_full(const char *device) {
    bits_cover c;
    bits_cover_new(&c, WAY_AXES, bits_full_axes);
    for (unsigned i = 0; i < BITS_MODELS; i++) {
        const unsigned type = i % BITS_TYPES, cache = i / BITS_TYPES / BITS_FORMS;
        const bool wide = tfm_dtype_block(bits_types[type]) == 256; /* too dear for so many runs */
        bits_subject s;
        bits_subject_new(&s, device, wide ? BITS_SLIM : bits_size_for(device), type,
                         i / BITS_TYPES % BITS_FORMS, cache);
        bits_subject_run(&s, 65, BITS_STREAMS, ~0u);
        for (unsigned k = cache % 2; k < c.n_rows; k += 2) {
            bits_way w = bits_way_of(&s, c.row[k], 0, i * BITS_ROWS + k);
            w.length = bits_length[(i + k) % BITS_SHORT];
            bits_check_way(&s, &w);
        }
        bits_subject_free(&s);
    }
}

/* Pairwise over model and way; one row in `every`, the first among them. */
static inline void bits_check_pairs(const char *device, bool is_long, unsigned every) {
    const unsigned base = is_long ? BITS_SHORT : 0;
    bits_cover c;
    bits_cover_new(&c, MODEL_AXES, is_long ? bits_long_axes : bits_short_axes);
    for (unsigned k = 0; k < c.n_rows; k += every) {
        const uint8_t *row = c.row[k];
        const uint32_t n_seqs = bits_widths[row[WIDTH]];
        const uint32_t n = n_seqs == 1 || is_long ? bits_length[base + row[LENGTH]] : 65;
        bits_subject s;
        bits_subject_new(&s, device, is_long ? BITS_SLIM : bits_size_for(device), row[TYPE],
                         row[FORM], row[CACHE]);
        const bits_way w = bits_way_of(&s, row, base, k);
        bits_subject_run(&s, n, n_seqs, bits_inner_of(&w));
        bits_check_way(&s, &w);
        bits_subject_free(&s);
    }
}

/* Pairwise over model, way and manner; one row in `every`. */
static inline void bits_check_texts(const char *device, unsigned every) {
    bits_cover c;
    bits_cover_new(&c, MANNER_AXES, bits_text_axes);
    for (unsigned k = 0; k < c.n_rows; k += every) {
        const uint8_t *row = c.row[k];
        const bits_manner how = {.drawing = &bits_drawings[row[DRAWING]],
                                 .row_budget = bits_budgets[row[BUDGET]],
                                 .unordered = row[LENGTH] % 2 != 0,
                                 .tight = row[LENGTH] / 2 != 0};
        bits_subject s;
        bits_texts x;
        bits_subject_new(&s, device, bits_size_for(device), row[TYPE], row[FORM], row[CACHE]);
        bits_subject_run(&s, 65, BITS_STREAMS, 0);
        bits_texts_new(&x, &s.truth, &s.model[0], how.drawing);
        bits_way w = bits_way_of(&s, row, 0, k);
        w.length = 65;
        bits_tap(w.taps);
        bits_runs++;
        if (!CHECK_INT(bits_run_generated(&x, &s.truth, &w, &how), 0)) {
            bits_say_where(&s, &w, how.drawing->name);
        }
        bits_tap(false);
        bits_subject_free(&s);
    }
}

static inline bool bits_is_long(void) {
    const char *s = getenv("LONG");
    return s != NULL && *s != '\0' && strcmp(s, "0") != 0;
}

/* ---- the tests of a device ---- */

static const char *bits_device; /* what they run on */

static void every_batch_and_every_pipe_gives_the_same_bits(void) {
    bits_check_pairs(bits_device, false, 1);
    printf("# short: %.1f s\n", bits_seconds());
    if (!bits_is_long()) return;
    bits_check_full(bits_device);
    printf("# full: %.1f s\n", bits_seconds());
}

/* Past the first chunk of 1024 keys, and past the second. */
static void long_sequences_too(void) {
    const unsigned sample = bits_is_plain(bits_device) ? BITS_ROWS : 12;
    bits_check_pairs(bits_device, true, bits_is_long() ? 1 : sample);
    printf("# long: %.1f s\n", bits_seconds());
}

static void generators_give_the_ids_of_a_plain_loop(void) {
    bits_check_texts(bits_device, bits_is_long() ? 1 : 4);
    printf("# texts: %.1f s\n", bits_seconds());
}

static inline void bits_test_device(const char *device) {
    bits_device = device;
    bits_runs = bits_rows = bits_ids = bits_digest = 0;
    printf("# %s\n", device);
    UNIT_RUN(every_batch_and_every_pipe_gives_the_same_bits);
    UNIT_RUN(long_sequences_too);
    UNIT_RUN(generators_give_the_ids_of_a_plain_loop);
    printf("# %s: %zu runs, %zu rows and %zu ids compared, truth %08x\n", device, bits_runs,
           bits_rows, bits_ids, bits_digest);
}

/* Every device that this machine can run and whose name begins with `prefix`. */
static inline void bits_test_devices(const char *prefix) {
    const char *name;
    tfm_backend *be;
    tfm_error err;
    for (size_t i = 0; (name = tfm_backend_device(i)) != NULL; i++) {
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        if (tfm_backend_new(&be, name, 1, &err) == TFM_OK)
            bits_test_device(name);
        else if (err.status == TFM_DEVICE)
            printf("# %s\n", err.message);
        else
            ops_die(name, &err);
        tfm_backend_free(be);
    }
}

/* `-d DEVICE` chooses one device, else all that begin with prefix. */
static inline int bits_main(int argc, char **argv, const char *prefix) {
    if (argc == 3 && strcmp(argv[1], "-d") == 0)
        bits_test_device(argv[2]);
    else if (argc == 1)
        bits_test_devices(prefix);
    else
        ops_die("usage: [-d DEVICE]", NULL);
    return unit_done();
}

#endif
