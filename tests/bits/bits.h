/* bits.h - the determinism harness: composed equals fused, whatever the batch (law 2).
 *
 *     for each model {f32 f16 bf16 q8_0 q4_0 q4_K} x forms, cache {f16, f32}, on one device:
 *         truth    each stream of tokens whole, alone, fused, on one thread
 *         fused    1, 3, 32 sequences, whole, by 1, 7, 64 and cut at random; threads 1, 2, 3;
 *                  weights in rows and in panels; pages in random order, forks, going back;
 *                  taps on everything, or none
 *         staged   the same through embed | attend ... | unembed with every cut of the blocks
 *         texts    generators against a plain loop, greedy and drawn
 *
 * All by memcmp. `make check` takes a sample of the matrix, LONG all of it. test_bits.c runs it on
 * cpu and proves that wrong kernels are caught; test_bits_ref.c runs it on ref. */
#ifndef TFM_TESTS_BITS_H
#define TFM_TESTS_BITS_H

#include "../unit/unit.h"
#include "bits_fused.h"
#include "bits_generated.h"
#include "bits_staged.h"

static const tfm_dtype bits_types[] = {TFM_F32, TFM_F16, TFM_BF16, TFM_Q8_0, TFM_Q4_0, TFM_Q4_K};
enum { BITS_TYPES = 6 };
static const uint32_t bits_widths[] = {1, 3, 32}; /* sequences of a batch */

typedef struct bits_effort {
    uint32_t n;      /* positions of the truth */
    unsigned every;  /* of the ways, one in so many */
    bool long_batch; /* 3 and 32 sequences of long lengths, too */
} bits_effort;

/* Fifteen ways: cuts x sequences; threads, layout and seed change along. */
static inline bits_way bits_way_of(bits_model model[2], unsigned i) {
    return (bits_way){.model = model[i % 2].model,
                      .cut = &bits_cuts[i % BITS_CUTS],
                      .n_seqs = bits_widths[i % 3],
                      .threads = 1 + i % 4 % 3,
                      .taps = i % 7 == 3 || i % 15 == 1,
                      .seed = 100 + i};
}

static inline void bits_say_where(const bits_truth *t, const bits_model *m, const bits_way *w,
                                  const char *how) {
    printf("  in: %s %s on %s, cache %s, %s, %s, %u sequences, %u threads%s, seed %llu\n",
           tfm_dtype_name(m->type), bits_form_name[m->form], t->device, tfm_dtype_name(t->kv_type),
           how, w->cut->name, w->n_seqs, w->threads, w->taps ? ", tapped" : "",
           (unsigned long long)w->seed);
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

/* All the ways of one model; `from` chooses which ones a sample takes. */
static inline void bits_check_model(bits_model model[2], const bits_truth *t, unsigned from,
                                    const bits_effort *effort) {
    for (unsigned i = from % effort->every; i < 15; i += effort->every) {
        const bits_way w = bits_way_of(model, i);
        if (w.n_seqs > 1 && t->n > 130 && !effort->long_batch) continue;
        bits_tap(w.taps && t->n <= 130);
        if (!CHECK_INT(bits_run_fused(t, &w), 0)) bits_say_where(t, &model[0], &w, "fused");
        if (!CHECK_INT(bits_run_staged(t, &w, i / 2 % 4), 0)) {
            bits_say_where(t, &model[0], &w, "staged");
        }
        bits_tap(false);
    }
}

/* BITS_SAMPLINGS x 3 widths, in ways as above. */
static inline void bits_check_texts(bits_model model[2], const bits_truth *t, unsigned from,
                                    const bits_effort *effort) {
    for (unsigned s = from % effort->every; s < BITS_SAMPLINGS; s += effort->every) {
        bits_texts x;
        bits_texts_new(&x, t, model[0].model, &bits_sampling[s]);
        for (unsigned i = s; i < s + 3; i++) {
            const bits_way w = bits_way_of(model, i);
            bits_tap(w.taps);
            if (!CHECK_INT(bits_run_generated(&x, t, &w, &bits_sampling[s]), 0)) {
                bits_say_where(t, &model[0], &w, "generated");
            }
            bits_tap(false);
        }
    }
}

/* Are the heads whole blocks of a q8_0 cache? */
static inline bool bits_has_cache_blocks(bits_form form, tfm_dtype type) {
    bits_model m;
    bits_model_new(&m, form, type, TFM_LAYOUT_ROWS);
    const bool whole = m.head_dim % 32 == 0;
    bits_model_free(&m);
    return whole;
}

static inline void bits_models_new(bits_model model[2], bits_form form, tfm_dtype type) {
    bits_model_new(&model[0], form, type, TFM_LAYOUT_ROWS);
    bits_model_new(&model[1], form, type, TFM_LAYOUT_P16);
}

/* One model in both layouts. */
static inline void bits_check(const char *device, bits_form form, tfm_dtype type, tfm_dtype kv,
                              unsigned from, const bits_effort *effort) {
    bits_model model[2];
    bits_truth t;
    bits_models_new(model, form, type);
    bits_truth_new(&t, &model[0], device, kv, effort->n);
    bits_check_model(model, &t, from, effort);
    bits_check_texts(model, &t, from, effort);
    bits_truth_free(&t);
    bits_model_free(&model[0]);
    bits_model_free(&model[1]);
}

/* Every type and form, or one in `every` of them (no factor of BITS_TYPES, so that all types come);
 * every cache, or (sampled) one of them: q8_0 wherever the heads are as it wants them. */
static inline void bits_check_all(const char *device, unsigned every, bool all_caches,
                                  const bits_effort *effort) {
    for (unsigned i = 0; i < BITS_TYPES * BITS_FORMS; i += every) {
        const bits_form form = (bits_form)(i / BITS_TYPES);
        const tfm_dtype type = bits_types[i % BITS_TYPES];
        const bool blocks = bits_has_cache_blocks(form, type);
        if (blocks) bits_check(device, form, type, TFM_Q8_0, i, effort);
        if (all_caches || (!blocks && (i / every) % 2 == 0)) {
            bits_check(device, form, type, TFM_F16, i, effort);
        }
        if (all_caches || (!blocks && (i / every) % 2 == 1)) {
            bits_check(device, form, type, TFM_F32, i, effort);
        }
    }
}

static inline bool bits_is_long(void) {
    const char *s = getenv("LONG");
    return s != NULL && *s != '\0' && strcmp(s, "0") != 0;
}

#endif
