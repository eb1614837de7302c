/* output.c - from scores to lines and records.
 *
 * Owns the four forms. Texts are reported in the order they were added, so what has to be kept of
 * each until then (the records that came with it, who failed) is a queue.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "score.h"

typedef struct pending {
    struct pending *next;
    char *program; /* who failed, or NULL */
    bool started;  /* what came with it was written */
    size_t n_passed;
    tfm_passed *passed; /* [n_passed] */
} pending;

struct score_output {
    tfm_cli *cli;
    score_form form;
    FILE *text;    /* of the TSV forms */
    tfm_writer *w; /* of the others */
    const tfm_vocab *vocab;
    uint32_t n_vocab;
    pending *first, **last;
    double nll; /* of all groups */
    uint64_t n_tokens;
};

/* ---- the queue ---- */

static void pending_free(pending *p) {
    if (!p) return;
    for (size_t i = 0; i < p->n_passed; i++) free(p->passed[i].payload);
    free(p->passed);
    free(p->program);
    free(p);
}

static tfm_status no_memory(tfm_error *err) {
    return tfm_fail(err, TFM_NOMEM, "out of memory");
}

static bool keep_passed(pending *p, const tfm_prompt *from) {
    p->passed = calloc(from->n_passed + 1, sizeof *p->passed);
    if (!p->passed) return false;
    for (size_t i = 0; i < from->n_passed; i++, p->n_passed++) {
        const tfm_passed *one = &from->passed[i];
        size_t bytes = (size_t)one->record.bytes;
        p->passed[i].record = one->record;
        p->passed[i].payload = malloc(bytes + 1);
        if (!p->passed[i].payload) return false;
        if (bytes) memcpy(p->passed[i].payload, one->payload, bytes);
    }
    return true;
}

tfm_status score_output_add(score_output *o, const tfm_prompt *from, tfm_error *err) {
    pending *p = calloc(1, sizeof *p);

    if (!p || (o->w && !keep_passed(p, from)) ||
        (from->program && !(p->program = strdup(from->program)))) {
        pending_free(p);
        return no_memory(err);
    }
    *o->last = p;
    o->last = &p->next;
    return TFM_OK;
}

static void drop_first(score_output *o) {
    pending *p = o->first;
    o->first = p->next;
    if (!o->first) o->last = &o->first;
    pending_free(p);
}

/* ---- making, opening, closing ---- */

tfm_status score_output_new(score_output **out, tfm_cli *c, score_form form, tfm_error *err) {
    score_output *o = *out = calloc(1, sizeof *o);
    const char *name;
    int fd;

    if (!o) return no_memory(err);
    o->cli = c;
    o->form = form;
    o->last = &o->first;
    if (form == FORM_SCORES || form == FORM_ROWS) {
        TFM_TRY(tfm_cli_open_output(c, true, &fd, &name, err));
        return tfm_writer_new(&o->w, fd, name, err);
    }
    TFM_TRY(tfm_cli_open_text(c, &o->text, err));
    fputs(form == FORM_PPL ? "group\ttokens\tnll\tperplexity\n"
                           : "group\tposition\tid\tpiece\tlogprob\n",
          o->text);
    return TFM_OK;
}

void score_output_free(score_output *o) {
    if (!o) return;
    while (o->first) drop_first(o);
    tfm_writer_free(o->w);
    free(o);
}

tfm_writer *score_output_writer(score_output *o) {
    return o ? o->w : NULL;
}

tfm_status score_output_start(score_output *o, const tfm_header *in, const tfm_model *m,
                              const tfm_engine *e, const tfm_vocab *vocab, tfm_error *err) {
    const char *vocab_id = tfm_model_vocab_id(m);
    tfm_header *h;

    o->vocab = vocab;
    o->n_vocab = tfm_engine_n_vocab(e);
    if (!o->w) return TFM_OK;
    TFM_TRY(tfm_header_copy(&h, in, err));
    tfm_status st = tfm_header_set_kind(h, o->form == FORM_ROWS ? "logits" : "scores", err);
    if (st == TFM_OK) st = tfm_header_set(h, "tokenize", NULL, err);
    if (st == TFM_OK && *vocab_id) st = tfm_header_set(h, "vocab", vocab_id, err);
    if (st == TFM_OK) st = tfm_header_set(h, "model", tfm_model_id(m), err);
    /* A path that no header can hold (TFM_FORMAT) is no hint; nothing depends on it. */
    if (st == TFM_OK) st = tfm_header_set(h, "model-hint", o->cli->model, err);
    if (st == TFM_FORMAT) st = tfm_header_set(h, "model-hint", NULL, err);
    if (st == TFM_OK) st = tfm_header_set(h, "numerics", tfm_engine_numerics(e), err);
    if (st == TFM_OK) st = tfm_cli_provenance(o->cli, h, err);
    if (st == TFM_OK) st = tfm_writer_header(o->w, h, err);
    tfm_header_free(h);
    return st;
}

tfm_status score_output_flush(score_output *o, tfm_error *err) {
    if (o->w) return tfm_writer_flush(o->w, err);
    if (fflush(o->text) == 0) return TFM_OK;
    return tfm_fail_errno(err, TFM_IO, "%s", o->cli->output ? o->cli->output : "stdout");
}

/* ---- TSV ---- */

static void put_ppl(score_output *o, double nll, uint64_t n) {
    double p = tfm_perplexity(nll, n);
    fprintf(o->text, "\t%" PRIu64 "\t%.9g\t", n, nll);
    if (isnan(p))
        fputs("nan\n", o->text); /* the sign of a NaN is nobody's business */
    else
        fprintf(o->text, "%.9g\n", p);
}

tfm_status score_output_close(score_output *o, bool complete, tfm_error *err) {
    FILE *text = o ? o->text : NULL;

    if (!text) return TFM_OK;
    if (complete && o->form == FORM_PPL) {
        fputs("total", text);
        put_ppl(o, o->nll, o->n_tokens);
    }
    o->text = NULL;
    return tfm_cli_close_text(o->cli, text, err);
}

static void put_tokens(const score_output *o, const tfm_scored *r) {
    for (uint32_t i = r->from; i < r->n; i++) {
        size_t len = 0;
        const char *piece = "";
        uint32_t id = (uint32_t)r->ids[i];
        if (o->vocab && id < tfm_vocab_size(o->vocab)) piece = tfm_vocab_piece(o->vocab, id, &len);
        fprintf(o->text, "%" PRIu32 "\t%" PRIu32 "\t%" PRIu32 "\t", r->group, i, id);
        tfm_cli_escaped(o->text, piece, len);
        fprintf(o->text, "\t%.9g\n", (double)(float)r->score[i - r->from]);
    }
}

static void put_group(score_output *o, const tfm_scored *r) {
    double nll = 0;

    for (uint32_t i = r->from; i < r->n; i++) nll -= r->score[i - r->from];
    fprintf(o->text, "%" PRIu32, r->group);
    put_ppl(o, nll, r->n - r->from);
    o->nll += nll;
    o->n_tokens += r->n - r->from;
}

static tfm_status take_text(score_output *o, const tfm_scored *r, tfm_error *err) {
    if (r->type == TFM_SCORED_TEXT && o->form == FORM_PPL) put_group(o, r);
    if (r->type == TFM_SCORED_TEXT && o->form == FORM_TOKENS) put_tokens(o, r);
    if (r->type == TFM_SCORED_ERROR) {
        const char *program = o->first->program;
        tfm_cli_warn(o->cli, "group %" PRIu32 ": %s%s%s", r->group, program ? program : "",
                     program ? ": " : "", r->message);
        if (o->form == FORM_PPL) fprintf(o->text, "%" PRIu32 "\t0\tnan\tnan\n", r->group);
    }
    if (!ferror(o->text)) return TFM_OK;
    return tfm_fail(err, TFM_IO, "%s: could not be written in full",
                    o->cli->output ? o->cli->output : "stdout");
}

/* ---- streams ---- */

static tfm_status write_passed(score_output *o, const tfm_passed *p, tfm_error *err) {
    tfm_record rec = p->record;

    rec.flags = 0;
    return tfm_writer_record(o->w, &rec, p->payload, err);
}

/* The records that came with the group, before anything of our own. */
static tfm_status prologue(score_output *o, tfm_error *err) {
    pending *p = o->first;

    if (p->started) return TFM_OK;
    p->started = true;
    for (size_t i = 0; i < p->n_passed; i++) TFM_TRY(write_passed(o, &p->passed[i], err));
    return TFM_OK;
}

/* n values from position `at` on, in records of at most TFM_PAYLOAD_MAX. */
static tfm_status write_values(score_output *o, uint32_t group, const char *name, tfm_dtype dtype,
                               const void *values, uint32_t at, uint32_t n, tfm_error *err) {
    const uint32_t most = TFM_PAYLOAD_MAX / 4; /* both types have four bytes */
    tfm_record rec = {.type = TFM_REC_TENSOR, .dtype = (uint8_t)dtype, .rank = 1, .group = group};

    snprintf(rec.name, sizeof rec.name, "%s", name);
    for (uint32_t done = 0, some; done < n; done += some) {
        some = n - done < most ? n - done : most;
        rec.position = at + done;
        rec.dims[0] = some;
        rec.dims[1] = rec.dims[2] = rec.dims[3] = 1;
        TFM_TRY(tfm_writer_record(o->w, &rec, (const char *)values + (size_t)done * 4, err));
    }
    return TFM_OK;
}

static tfm_status write_scores(score_output *o, const tfm_scored *r, tfm_error *err) {
    uint32_t n = r->n - r->from;
    float *score = malloc(((size_t)n + 1) * sizeof *score);

    if (!score) return no_memory(err);
    for (uint32_t i = 0; i < n; i++) score[i] = (float)r->score[i];
    tfm_status st = write_values(o, r->group, "tokens", TFM_I32, r->ids, 0, r->n, err);
    if (st == TFM_OK) st = write_values(o, r->group, "scores", TFM_F32, score, r->from, n, err);
    free(score);
    return st;
}

static tfm_status write_row(score_output *o, const tfm_scored *r, tfm_error *err) {
    tfm_record rec = {.type = TFM_REC_TENSOR,
                      .dtype = TFM_F32,
                      .rank = 2,
                      .group = r->group,
                      .position = r->position,
                      .dims = {1, o->n_vocab, 1, 1},
                      .name = "logits"};
    return tfm_writer_record(o->w, &rec, r->row, err);
}

static tfm_status write_report(score_output *o, const tfm_scored *r, tfm_error *err) {
    const char *program = o->first->program ? o->first->program : "tfm-score";

    TFM_TRY(prologue(o, err));
    switch (r->type) {
    case TFM_SCORED_ROW: return write_row(o, r, err);
    case TFM_SCORED_TEXT:
        if (o->form == FORM_SCORES) TFM_TRY(write_scores(o, r, err));
        return tfm_writer_group_end(o->w, r->group, r->n, TFM_END_OPEN, err);
    case TFM_SCORED_ERROR:
        TFM_TRY(tfm_writer_error(o->w, r->group, program, r->message, err));
        return tfm_writer_group_end(o->w, r->group, 0, TFM_END_ERROR, err);
    }
    return TFM_OK;
}

tfm_status score_output_take(score_output *o, const tfm_scored *r, tfm_error *err) {
    if (r->type == TFM_SCORED_ERROR) tfm_cli_record_failed(o->cli);
    TFM_TRY(o->w ? write_report(o, r, err) : take_text(o, r, err));
    if (r->type != TFM_SCORED_ROW) drop_first(o);
    return TFM_OK;
}

tfm_status score_output_end(score_output *o, const tfm_prompts *prompts, tfm_error *err) {
    size_t n;
    const tfm_passed *p = tfm_prompts_rest(prompts, &n);

    tfm_cli_warn_unknown(o->cli, tfm_prompts_unknown(prompts));
    if (!o->w) return TFM_OK;
    for (size_t i = 0; i < n; i++) TFM_TRY(write_passed(o, p + i, err));
    return tfm_writer_end(o->w, err);
}
