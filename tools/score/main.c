/* main.c - tfm-score: tokens in, the log-probability of each out, as TSV or as a stream.
 *
 * Owns the options and the order of reading and writing; what is scored from where (--from,
 * --given) is settled here, how is the library's, how it looks is output.c's.
 */
#include <string.h>
#include <unistd.h>

#include "score.h"
#include "tfm/load.h"

#define TEXTS_AHEAD 4u /* times -b: texts read ahead, so that batches are full */

enum { OPT_PPL = TFM_LONG, OPT_STREAM, OPT_ROWS, OPT_FROM, OPT_GIVEN, OPT_STRIDE };

static const tfm_option options[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_DEVICE,
    TFM_OPT_THREADS,
    {OPT_PPL, "ppl", NULL, "a line a group: tokens, negative log-likelihood, perplexity; then all"},
    {OPT_STREAM, "stream", NULL, "write a stream of kind scores, f32 [n] a group"},
    {OPT_ROWS, "distributions", NULL, "write a stream of kind logits: every log-softmax whole"},
    {OPT_FROM, "from", "N", "score only the tokens from position N on (default: 1)"},
    {OPT_GIVEN, "given", "FILE", "score only what differs from the tokens of the group in FILE"},
    {OPT_STRIDE, "stride", "N", "texts longer than the context: windows that begin every N tokens"},
    {'b', "sequences", "N", "texts in one batch at most; never changes results (default: 64)"},
    {'c', "ctx", "N", "the context (default: the model's, 4096 at most)"},
    TFM_OPT_KV,
    TFM_OPT_EDITS,
    TFM_OPT_END};

static const tfm_program program = {"tfm-score", "[options] [FILE...]",
                                    "log-probabilities of given text: tokens to scores", options};

/* The texts of one input on their way through. */
typedef struct run {
    tfm_cli *cli;
    const score_options *opt;
    tfm_model *model;
    tfm_engine *engine;
    score_output *out;
    tfm_reader *given; /* NULL without --given */
    int given_fd;
} run;

/* One form; but --stream may stand beside --distributions, which says what the stream is of. */
static void set_form(tfm_cli *c, score_options *o, score_form form) {
    if (o->form == FORM_ROWS && form == FORM_SCORES) return;
    if (o->form != FORM_TOKENS && o->form != form && !(o->form == FORM_SCORES && form == FORM_ROWS))
        tfm_cli_usage(c, "%s: only one form can be asked for", c->option);
    o->form = form;
}

static void parse(tfm_cli *c, score_options *o) {
    o->from = 1;
    for (int opt; (opt = tfm_cli_next(c)) != 0;) {
        if (tfm_cli_probe_take(c, opt)) continue;
        switch (opt) {
        case OPT_PPL: set_form(c, o, FORM_PPL); break;
        case OPT_STREAM: set_form(c, o, FORM_SCORES); break;
        case OPT_ROWS: set_form(c, o, FORM_ROWS); break;
        case OPT_FROM: o->from = tfm_cli_u32(c, 0, UINT32_MAX); break;
        case OPT_GIVEN: o->given = c->arg; break;
        case OPT_STRIDE: o->score.stride = tfm_cli_u32(c, 1, UINT32_MAX); break;
        case 'b': o->score.sequences = tfm_cli_u32(c, 1, 65536); break;
        case 'c': o->engine.ctx = tfm_cli_u32(c, 1, UINT32_MAX); break;
        case TFM_OPTION_KV: o->engine.kv_type = tfm_cli_kv(c); break;
        }
    }
    o->score.rows = o->form == FORM_ROWS;
    o->engine.device = c->device;
    o->engine.threads = c->threads;
    if (!c->model) tfm_cli_usage(c, "no model: give -m FILE or set TFM_MODEL");
}

/* How many tokens of p are given: those that it begins with in FILE's group of the same number. */
static tfm_status given_tokens(const run *r, tfm_prompts *given, const tfm_prompt *p, size_t *from,
                               const char **failed, tfm_error *err) {
    tfm_prompt q;
    size_t n = 0;

    tfm_status st = tfm_prompts_next(given, &q, err);
    if (st == TFM_DONE)
        return tfm_fail(err, TFM_MISMATCH, "%s: has no group %u, the text has", r->opt->given,
                        p->group);
    if (st != TFM_OK) return st;
    if (q.group != p->group)
        return tfm_fail(err, TFM_MISMATCH,
                        "%s: group %u comes where the text has group %u; both must have the same "
                        "groups in the same order",
                        r->opt->given, q.group, p->group);
    *failed = q.message;
    while (n < p->n && n < q.n && p->ids[n] == q.ids[n]) n++;
    if (n > *from) *from = n;
    return TFM_OK;
}

static tfm_status add_text(run *r, tfm_scorer *s, tfm_prompts *given, const tfm_prompt *p,
                           tfm_error *err) {
    const char *failed = NULL;
    size_t from = r->opt->from;

    if (given) TFM_TRY(given_tokens(r, given, p, &from, &failed, err));
    TFM_TRY(score_output_add(r->out, p, err));
    if (p->message) failed = p->message;
    if (failed) return tfm_scorer_add_failed(s, p->group, failed, err);
    return tfm_scorer_add(s, p->group, p->ids, p->n, from, err);
}

/* Reads texts and writes reports until the present stream has ended and all is written. */
static tfm_status pump(run *r, tfm_prompts *prompts, tfm_prompts *given, tfm_scorer *s,
                       tfm_error *err) {
    uint32_t sequences = r->opt->score.sequences ? r->opt->score.sequences : 64;
    size_t ahead = (size_t)sequences * TEXTS_AHEAD;
    tfm_scored report;
    tfm_prompt p;
    tfm_status st = TFM_OK;

    while (st != TFM_DONE) {
        bool flush = false;
        while (!flush && tfm_scorer_open(s) < ahead) {
            st = tfm_prompts_next(prompts, &p, err);
            if (st == TFM_DONE) break;
            if (st != TFM_OK) return st;
            flush = p.flush;
            TFM_TRY(add_text(r, s, given, &p, err));
        }
        size_t keep = flush || st == TFM_DONE ? 0 : ahead - 1;
        while (tfm_scorer_open(s) > keep) {
            TFM_TRY(tfm_scorer_next(s, &report, err));
            TFM_TRY(score_output_take(r->out, &report, err));
        }
        if (flush) TFM_TRY(score_output_flush(r->out, err));
    }
    return TFM_OK;
}

/* The stream of --given that belongs to this one of the text. */
static tfm_status start_given(run *r, const tfm_vocab *vocab, tfm_prompts **out, tfm_error *err) {
    if (!r->given) return TFM_OK;
    tfm_status st = tfm_reader_stream(r->given, err);
    if (st == TFM_DONE)
        return tfm_fail(err, TFM_MISMATCH, "%s: has fewer streams than the text", r->opt->given);
    if (st != TFM_OK) return st;
    st = tfm_prompts_new(out, r->given, vocab, tfm_model_path(r->model), err);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", r->opt->given);
}

/* What is left of the stream of --given, so that its checksums count and the next one can be
 * read. */
static tfm_status end_given(run *r, tfm_prompts *given, tfm_error *err) {
    tfm_prompt p;

    if (!given) return TFM_OK;
    tfm_status st = tfm_prompts_next(given, &p, err);
    if (st == TFM_OK)
        return tfm_fail(err, TFM_MISMATCH, "%s: has a group %u, the text has not", r->opt->given,
                        p.group);
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status run_stream(void *ctx, tfm_reader *in, tfm_error *err) {
    run *r = ctx;
    const tfm_vocab *vocab;
    tfm_prompts *prompts = NULL, *given = NULL;
    tfm_scorer *s = NULL;
    tfm_status st = tfm_model_vocab(r->model, &vocab, err);

    if (st == TFM_OK) st = tfm_prompts_new(&prompts, in, vocab, tfm_model_path(r->model), err);
    if (st == TFM_OK) st = start_given(r, vocab, &given, err);
    if (st == TFM_OK) st = tfm_scorer_new(&s, r->engine, &r->opt->score, err);
    if (st == TFM_OK)
        st = score_output_start(r->out, tfm_reader_header(in), r->model, r->engine, vocab, err);
    tfm_cli_note_salvaged(r->cli, tfm_reader_header(in));
    if (st == TFM_OK) st = pump(r, prompts, given, s, err);
    if (st == TFM_OK) st = end_given(r, given, err);
    if (st == TFM_OK) st = score_output_end(r->out, prompts, err);
    tfm_scorer_free(s);
    tfm_prompts_free(given);
    tfm_prompts_free(prompts);
    return st;
}

static tfm_status open_given(run *r, char **files, int n_files, tfm_error *err) {
    const char *name;
    bool text_is_stdin = n_files == 0;

    r->given_fd = -1;
    for (int i = 0; i < n_files; i++) text_is_stdin = text_is_stdin || strcmp(files[i], "-") == 0;
    if (r->opt->given && strcmp(r->opt->given, "-") == 0 && text_is_stdin)
        tfm_cli_usage(r->cli, "--given: -: standard input is the text; give one of them as a file");
    if (!r->opt->given) return TFM_OK;
    TFM_TRY(tfm_cli_open_input(r->cli, r->opt->given, &r->given_fd, &name, err));
    return tfm_reader_new(&r->given, r->given_fd, name, err);
}

int main(int argc, char **argv) {
    tfm_cli cli;
    score_options o = {0};
    tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    run r = {.cli = &cli, .opt = &o};
    tfm_error err = {0}, closing = {0};
    char **files;

    tfm_cli_start(&cli, &program, argc, argv);
    parse(&cli, &o);
    int n_files = tfm_cli_operands(&cli, &files);
    tfm_status st = score_output_new(&r.out, &cli, o.form, &err);
    if (st == TFM_OK) st = open_given(&r, files, n_files, &err);
    tfm_writer *no_taps;
    if (st == TFM_OK) st = tfm_cli_probe_open(&cli, &o.engine.probe, &no_taps, &err);
    if (st == TFM_OK) st = tfm_load(&r.model, cli.model, &lo, &err);
    if (st == TFM_OK) st = tfm_engine_new(&r.engine, r.model, &o.engine, &err);
    if (st == TFM_OK) st = tfm_cli_streams(&cli, files, n_files, NULL, run_stream, &r, &err);
    tfm_status closed = score_output_close(r.out, st == TFM_OK, &closing);
    if (st == TFM_OK && closed != TFM_OK) {
        st = closed;
        err = closing;
    }
    tfm_engine_free(r.engine);
    st = tfm_cli_probe_close(&cli, st, &err);
    int status = tfm_cli_finish(&cli, st, score_output_writer(r.out), &err);
    score_output_free(r.out);
    tfm_reader_free(r.given);
    if (r.given_fd > 0) close(r.given_fd);
    tfm_model_free(r.model);
    return status;
}
