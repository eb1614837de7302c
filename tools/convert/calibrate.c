/* calibrate.c - what flows into a model's matrices while it reads random tokens: taps for
 * tfm_convert, so that columns count without an --imatrix.
 *
 *     thread: model -> generator -> taps --pipe--> tfm_convert
 *
 * Which columns are large is mostly the weights' doing (norms, a few neurons of enormous output),
 * so even text without sense finds them. Short texts in turn: only the taps of one are in memory.
 *
 * Device cpu:generic and an f32 cache: the same taps, and so the same bytes, on every machine and
 * for any number of threads. */
#include "calibrate.h"

#include <signal.h>
#include <unistd.h>

#include "tfm/infer.h"
#include "tfm/model.h"
#include "tfm/probe.h"
#include "tfm/tokenizer.h"

enum { TEXTS = 16, TOKENS = 32 };

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The token that begins texts, if there is one, and random ones. */
static tfm_status add_texts(tfm_generator *g, const tfm_engine *e, const tfm_vocab *vocab,
                            tfm_error *err) {
    const uint32_t room = tfm_engine_ctx(e), n = room < TOKENS ? room : TOKENS;
    const uint32_t n_vocab = tfm_engine_n_vocab(e);
    const int32_t bos = vocab ? tfm_vocab_bos(vocab) : -1;
    int32_t ids[TOKENS];
    uint64_t state = 0;
    for (uint32_t text = 0; text < TEXTS; text++) {
        for (uint32_t i = 0; i < n; i++) ids[i] = (int32_t)(next_random(&state) % n_vocab);
        if (bos >= 0 && (uint32_t)bos < n_vocab) ids[0] = bos; /* tokenizers can be larger */
        TFM_TRY(tfm_generator_add(g, text, ids, n, err));
    }
    return TFM_OK;
}

static tfm_status generate(tfm_generator *g, tfm_writer *w, tfm_error *err) {
    tfm_event ev;
    tfm_status st;
    while ((st = tfm_generator_next(g, &ev, err)) == TFM_OK) {
        if (ev.type == TFM_EVENT_ERROR) return tfm_fail(err, TFM_MISMATCH, "%s", ev.message);
        if (ev.type == TFM_EVENT_END)
            TFM_TRY(tfm_writer_group_end(w, ev.group, ev.position, ev.end, err));
    }
    return st == TFM_DONE ? tfm_writer_end(w, err) : st;
}

/* ---- the thread ---- */

static tfm_status run(calibration *c, tfm_writer *w, tfm_header *h, tfm_error *err) {
    tfm_model *model = NULL;
    tfm_engine *engine = NULL;
    tfm_generator *g = NULL;
    const tfm_vocab *vocab = NULL;
    const tfm_engine_options eo = {.device = "cpu:generic",
                                   .threads = c->threads,
                                   .ctx = 0,
                                   .kv_type = TFM_F32,
                                   .probe = c->probe};
    const tfm_generate_options go = {.has_max_tokens = true, .sequences = 1, .tap_out = w};
    tfm_status st = tfm_load(&model, c->in, c->load, err);
    if (st == TFM_OK) st = tfm_model_vocab(model, &vocab, err);
    if (st == TFM_OK) st = tfm_engine_new(&engine, model, &eo, err);
    if (st == TFM_OK) st = tfm_generator_new(&g, engine, &go, err);
    if (st == TFM_OK) st = tfm_writer_header(w, h, err);
    if (st == TFM_OK) st = add_texts(g, engine, vocab, err);
    if (st == TFM_OK) st = generate(g, w, err);
    tfm_generator_free(g);
    tfm_engine_free(engine);
    tfm_model_free(model);
    return st;
}

static void *thread_main(void *arg) {
    calibration *c = arg;
    tfm_writer *w = NULL;
    tfm_header *h = NULL;
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, NULL); /* a conversion that failed reads no more */
    c->status = tfm_header_new(&h, "tensor", &c->error);
    if (c->status == TFM_OK) c->status = tfm_writer_new(&w, c->fd[1], "calibration", &c->error);
    if (c->status == TFM_OK) c->status = run(c, w, h, &c->error);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(c->fd[1]);
    return NULL;
}

/* ---- the conversion's side ---- */

tfm_status calibration_start(void *ctx, const char *const *name, size_t n, tfm_reader **out,
                             tfm_error *err) {
    calibration *c = ctx;
    TFM_TRY(tfm_probe_new(&c->probe, err));
    for (size_t i = 0; i < n; i++) TFM_TRY(tfm_probe_tap(c->probe, name[i], err));
    if (pipe(c->fd) != 0) return tfm_fail_errno(err, TFM_IO, "pipe");
    c->has_pipe = true;
    const int failed = pthread_create(&c->thread, NULL, thread_main, c);
    if (failed) {
        close(c->fd[1]);
        return tfm_fail(err, TFM_NOMEM, "no thread for it");
    }
    c->has_thread = true;
    TFM_TRY(tfm_reader_new(&c->reader, c->fd[0], "calibration", err));
    *out = c->reader;
    return TFM_OK;
}

tfm_status calibration_end(calibration *c, tfm_status st, tfm_error *err) {
    tfm_reader_free(c->reader);
    if (c->has_pipe) close(c->fd[0]);
    if (c->has_thread) pthread_join(c->thread, NULL);
    tfm_probe_free(c->probe);
    /* Taps that were cut short are cut because of what happened in the thread. */
    if (!c->has_thread || st != TFM_TRUNCATED || c->status == TFM_OK) return st;
    *err = c->error;
    return tfm_error_prefix(err, c->status, "calibration, which --imatrix none does without");
}
