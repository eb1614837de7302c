/* loop.c - tfm-embed --loop: the first stage of the generation loop as a program.
 *
 * Owns the files, the headers, and what happens when the loop breaks. That is not necessarily a
 * failure: a reader behind tfm-detok that has seen enough ends detok and tee by SIGPIPE, and then
 * the loop. So embed goes on writing empty records: each stage that finds its reader gone ends by
 * SIGPIPE, up to this one, as in any pipeline. If all of them are still there after some seconds
 * the loop alone was cut, and that is an error. */
#include <fcntl.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "embed.h"
#include "tfm/loop.h"

enum {
    PIPE_BYTES = 65536, /* where the system does not say */
    QUICK_TRIES = 50,   /* every 10 ms: more than a long pipeline has stages */
    SLOW_TRIES = 25,    /* then every 100 ms, for stages that compute; all together fill no pipe */
    QUICK_NS = 10000000,
    SLOW_NS = 100000000
};

typedef struct loop_run {
    tfm_loop_options opt;
    tfm_reader *in; /* the loop */
} loop_run;

/* Never more groups than have room in the loop's pipe. A pipe is filled page by page, and a page
 * may stay half empty. */
static uint32_t fit(uint32_t sequences, int fd) {
    int size = fcntl(fd, F_GETPIPE_SZ);
    uint32_t most = (uint32_t)(size > 0 ? size : PIPE_BYTES) / 2 / TFM_LOOP_BYTES;

    if (sequences == 0) sequences = 64;
    return sequences < most ? sequences : most ? most : 1;
}

/* Waits for the signal that says that nobody reads any more. Returns only if somebody does. */
static tfm_status reader_left(tfm_writer *w, tfm_error *err) {
    const tfm_record note = TFM_FLUSH_NOTE;

    if (!tfm_writer_is_open(w)) raise(SIGPIPE); /* all was written: nobody is left to tell */
    for (int i = 0; i < QUICK_TRIES + SLOW_TRIES; i++) {
        struct timespec wait = {.tv_nsec = i < QUICK_TRIES ? QUICK_NS : SLOW_NS};
        TFM_TRY(tfm_writer_record(w, &note, NULL, err));
        nanosleep(&wait, NULL);
    }
    return TFM_OK;
}

/* One stream. */
static tfm_status run(void *ctx, tfm_stage *s, tfm_prompts *prompts, tfm_writer *w,
                      tfm_error *err) {
    loop_run *r = ctx;
    tfm_error other = {0};
    bool is_cut;

    tfm_status st = tfm_loop_run(s, prompts, r->in, w, &r->opt, &is_cut, err);
    if (!is_cut || reader_left(w, &other) == TFM_OK) return st;
    return tfm_fail(err, other.status, "%s", other.message);
}

int embed_loop(tfm_cli *c, tfm_stage_options *o, const loop_options *loop) {
    loop_run r = {
        .opt = {.sequences = fit(loop->sequences, loop->fd), .program = c->program->name}};
    tfm_error err = {0};

    tfm_status st = tfm_reader_new(&r.in, loop->fd, "loop", &err);
    if (st != TFM_OK) return tfm_cli_finish(c, st, NULL, &err);
    tfm_reader_writer(r.in, "tfm-sample");
    int status = tfm_cli_stage_prompts(c, o, run, &r);
    tfm_reader_free(r.in);
    return status;
}
