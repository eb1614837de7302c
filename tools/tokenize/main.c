/* tfm-tokenize - text to token ids.
 *
 *     text -> [frame: whole, line, NUL, JSONL] -> [vocabulary, or raw bytes] -> tokens stream
 *
 * Records are numbered in input order; each becomes one group. */
#include <stdio.h>
#include <string.h>

#include "tokenize.h"

enum {
    OPT_NO_SPECIAL = TFM_LONG,
    OPT_PARSE_SPECIAL,
    OPT_FROM_IDS,
    OPT_FIRST,
    OPT_FLUSH,
    OPT_STRICT_UNK,
    OPT_TURNS
};

static const tfm_option option_table[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    TFM_OPT_THREADS,
    TFM_OPT_PROGRESS,
    {'l', "lines", NULL, "each line is a record"},
    {'0', "null", NULL, "each NUL-terminated string is a record"},
    {'j', "jsonl", "FIELD", "each line is a JSON object; the text is its string FIELD"},
    {OPT_FIRST, "first", "N", "skip N records, number the rest from N (default: 0)"},
    {OPT_FLUSH, "flush", NULL, "ask for the result of each record before the next"},
    {OPT_FROM_IDS, "from-ids", NULL, "the text is decimal ids (needs a model)"},
    {OPT_NO_SPECIAL, "no-special", NULL, "add no begin and end tokens"},
    {OPT_PARSE_SPECIAL, "parse-special", NULL, "control tokens spelled in the text are meant"},
    {OPT_STRICT_UNK, "strict-unk", NULL, "a record with unknown characters fails"},
    {OPT_TURNS, "turns", NULL,
     "records are turns of one text, each all of it so far; with -l or -0"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-tokenize", "[options] [FILE...]",
                                    "turn text into token ids", option_table};

static void parse(tfm_cli *c, options *o) {
    o->tok = TFM_TOK_ADD_SPECIAL;
    for (int opt; (opt = tfm_cli_next(c)) != 0;) switch (opt) {
        case 'l': tfm_cli_frame_take(c, &o->frame, TFM_FRAME_LINE); break;
        case '0': tfm_cli_frame_take(c, &o->frame, TFM_FRAME_NUL); break;
        case 'j':
            tfm_cli_frame_take(c, &o->frame, TFM_FRAME_JSONL);
            o->field = c->arg;
            break;
        case OPT_FIRST: o->first = tfm_cli_u64(c, 0, TFM_GROUP_ALL - 1); break;
        case OPT_FLUSH: o->flush_each = true; break;
        case OPT_FROM_IDS: o->from_ids = true; break;
        case OPT_NO_SPECIAL: o->tok &= ~(unsigned)TFM_TOK_ADD_SPECIAL; break;
        case OPT_STRICT_UNK: o->strict_unk = true; break;
        case OPT_TURNS: o->turns = true; break;
        case OPT_PARSE_SPECIAL: o->tok |= TFM_TOK_PARSE_SPECIAL; break;
        }
    if (o->turns && ((o->frame != TFM_FRAME_LINE && o->frame != TFM_FRAME_NUL) || o->first))
        tfm_cli_usage(c, "--turns: needs -l or -0, and no --first");
    o->n_files = tfm_cli_operands(c, &o->files);
    if (o->from_ids && c->model == NULL)
        tfm_cli_usage(c, "--from-ids: ids of which vocabulary? give -m MODEL or set TFM_MODEL");
}

/* The vocabulary of -m, or raw bytes. *model or *own is what must be freed. */
static tfm_status open_vocab(const tfm_cli *c, tfm_model **model, tfm_vocab **own,
                             const tfm_vocab **v, tfm_error *err) {
    const tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    if (c->model == NULL) {
        TFM_TRY(tfm_vocab_raw_bytes(own, err));
        *v = *own;
        return TFM_OK;
    }
    TFM_TRY(tfm_load_vocab(c->model, &lo, model, err));
    TFM_TRY(tfm_model_vocab(*model, v, err));
    if (*v == NULL) return tfm_fail(err, TFM_NOTFOUND, "%s: has no vocabulary", c->model);
    return TFM_OK;
}

static tfm_status make_header(tfm_cli *c, const options *o, const tfm_model *model,
                              const tfm_vocab *v, tfm_header **out, tfm_error *err) {
    char how[64];
    TFM_TRY(tfm_cli_tokens_header(c, model, v, o->frame, o->first, out, err));
    if (model == NULL) {
        snprintf(how, sizeof how, "special=%s parse-special=%s%s",
                 o->tok & TFM_TOK_ADD_SPECIAL ? "add" : "none",
                 o->tok & TFM_TOK_PARSE_SPECIAL ? "yes" : "no",
                 o->strict_unk ? " strict-unk=yes" : "");
        TFM_TRY(tfm_header_set(*out, "tokenize", how, err));
    }
    if (o->turns) TFM_TRY(tfm_header_set(*out, "turns", "yes", err));
    return tfm_cli_provenance(c, *out, err);
}

static tfm_status read_batch(batch *b, tfm_error *err) {
    for (b->n = 0;;) {
        while (b->n < BATCH_RECORDS && tfm_cli_records_take(&b->in, &b->record[b->n])) b->n++;
        if (b->n > 0) return TFM_OK;
        TFM_TRY(tfm_cli_records_more(&b->in, err));
    }
}

static tfm_status run(batch *b, output *out, const tfm_header *h, tfm_error *err) {
    tfm_status st;
    TFM_TRY(tfm_writer_header(out->w, h, err));
    while ((st = read_batch(b, err)) == TFM_OK) {
        TFM_TRY(output_batch(out, b, err));
        tfm_cli_progress(out->cli, "records", out->record, 0);
    }
    if (st != TFM_DONE) return st;
    TFM_TRY(output_end(out, err));
    tfm_cli_warn_unknown(out->cli, out->unknown);
    const uint64_t n = out->record > out->opt->first ? out->record - out->opt->first : 0;
    tfm_cli_say(out->cli, "%llu record%s, vocabulary %s", (unsigned long long)n, tfm_cli_plural(n),
                tfm_vocab_id(tfm_tokenizer_vocab(out->tok)));
    return tfm_writer_end(out->w, err);
}

int main(int argc, char **argv) {
    static batch b;
    static output out;
    tfm_cli c;
    options o = {0};
    tfm_error err = {0};
    tfm_model *model = NULL;
    tfm_vocab *raw = NULL;
    const tfm_vocab *v = NULL;
    tfm_tokenizer *tok = NULL;
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    int fd;
    const char *name;

    tfm_cli_start(&c, &program, argc, argv);
    parse(&c, &o);
    tfm_status st = tfm_cli_open_output(&c, true, &fd, &name, &err);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, name, &err);
    if (st == TFM_OK) st = open_vocab(&c, &model, &raw, &v, &err);
    if (st == TFM_OK) st = tfm_tokenizer_new(&tok, v, &err);
    if (st == TFM_OK) st = make_header(&c, &o, model, v, &h, &err);
    if (st == TFM_OK) {
        tfm_cli_records_start(&b.in, &c, o.frame,
                              o.frame == TFM_FRAME_JSONL ? LINE_MAX_JSON : TEXT_MAX, o.files,
                              o.n_files);
        out.cli = &c;
        out.opt = &o;
        out.tok = tok;
        out.n_vocab = tfm_vocab_size(v);
        out.w = w;
        out.threads = c.threads;
        st = run(&b, &out, h, &err);
    }
    int status = tfm_cli_finish(&c, st, w, &err);
    tfm_cli_records_close(&b.in);
    output_close(&out);
    tfm_writer_free(w);
    tfm_header_free(h);
    tfm_tokenizer_free(tok);
    tfm_vocab_free(raw);
    tfm_model_free(model);
    return status;
}
