/* main.c - tfm-prompt: conversations to token ids, by the model's chat template.
 *
 *     JSON -> variables -> [template] -> text, its origins -> [vocabulary] -> tokens stream
 *
 * Records are numbered in input order; each becomes one group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "prompt.h"

enum {
    OPT_FIRST = TFM_LONG,
    OPT_FLUSH,
    OPT_TOOLS,
    OPT_TEMPLATE,
    OPT_NO_GENERATION,
    OPT_CONTINUE,
    OPT_SET,
    OPT_TEXT,
    OPT_DATE
};

static const tfm_option option_table[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    {'l', "lines", NULL, "each line is a record"},
    {'0', "null", NULL, "each NUL-terminated string is a record"},
    {'j', "jsonl", "FIELD", "each line is a JSON object; the messages are its FIELD"},
    {OPT_CONTINUE, "continue-final", NULL,
     "end the prompt with the last message, to be gone on with"},
    {OPT_DATE, "date", "DATE", "what strftime_now tells: YYYY-MM-DD[THH:MM:SS] (default: now)"},
    {OPT_FIRST, "first", "N", "skip N records, number the rest from N (default: 0)"},
    {OPT_FLUSH, "flush", NULL, "ask for the result of each record before the next"},
    {OPT_NO_GENERATION, "no-generation-prompt", NULL, "do not begin the assistant's answer"},
    {OPT_SET, "set", "KEY=JSON", "a variable of the template; may repeat"},
    {OPT_TEMPLATE, "template", "NAME|FILE",
     "the model's template of that name, one that ships, or a file"},
    {OPT_TEXT, "text", NULL, "write the prompt as text instead of tokens"},
    {OPT_TOOLS, "tools", "FILE", "a JSON array of tools that the model may call"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-prompt", "[options] [FILE...]",
                                    "turn conversations into token ids", option_table};

typedef struct output {
    tfm_cli *cli;
    const options *opt;
    const fixed *fixed;
    const tfm_template *template;
    const tfm_tokenizer *tok;
    tfm_writer *w; /* NULL: text goes to `out` */
    FILE *out;
    uint64_t record; /* number of the next record */
    uint64_t unknown;
    tfm_ids ids;
    conversation conversation;
} output;

/* ---- options ---- */

/* Is text[0..n) of the form's digits (0) and signs? */
static bool has_form(const char *text, size_t n, const char *form) {
    if (n != strlen(form)) return false;
    for (size_t i = 0; i < n; i++)
        if (form[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != form[i]) return false;
    return true;
}

static void parse_date(tfm_cli *c, tfm_template_time *t) {
    const size_t n = strlen(c->arg), n_day = strcspn(c->arg, "T");
    bool good = has_form(c->arg, n_day, "0000-00-00") &&
                (n == n_day || has_form(c->arg + n_day, n - n_day, "T00:00:00"));
    *t = (tfm_template_time){0};
    if (good)
        good = sscanf(c->arg, "%4d-%2d-%2dT%2d:%2d:%2d", &t->year, &t->month, &t->day, &t->hour,
                      &t->minute, &t->second) >= 3;
    if (!good || !tfm_template_is_time(t))
        tfm_cli_usage(c, "--date: %s: is not YYYY-MM-DD or YYYY-MM-DDTHH:MM:SS", c->arg);
}

static void set_now(tfm_template_time *t) {
    struct tm tm;
    time_t now = time(NULL);
    if (t->year != 0 || localtime_r(&now, &tm) == NULL) return;
    *t = (tfm_template_time){tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                             tm.tm_hour,        tm.tm_min,     tm.tm_sec};
}

static void parse(tfm_cli *c, options *o) {
    for (int opt; (opt = tfm_cli_next(c)) != 0;) switch (opt) {
        case 'l': tfm_cli_frame_take(c, &o->frame, TFM_FRAME_LINE); break;
        case '0': tfm_cli_frame_take(c, &o->frame, TFM_FRAME_NUL); break;
        case 'j':
            tfm_cli_frame_take(c, &o->frame, TFM_FRAME_JSONL);
            o->field = c->arg;
            break;
        case OPT_CONTINUE: o->continues = true; break;
        case OPT_DATE: parse_date(c, &o->now); break;
        case OPT_FIRST: o->first = tfm_cli_u64(c, 0, TFM_GROUP_ALL - 1); break;
        case OPT_FLUSH: o->flush_each = true; break;
        case OPT_NO_GENERATION: o->no_generation = true; break;
        case OPT_SET:
            if (o->n_sets == SETS_MAX) tfm_cli_usage(c, "--set: more than %d of them", SETS_MAX);
            o->set[o->n_sets++] = c->arg;
            break;
        case OPT_TEMPLATE: o->template_path = c->arg; break;
        case OPT_TEXT: o->text = true; break;
        case OPT_TOOLS: o->tools_path = c->arg; break;
        }
    o->n_files = tfm_cli_operands(c, &o->files);
    set_now(&o->now);
    if (c->model == NULL && !(o->text && o->template_path))
        tfm_cli_usage(c, "whose template? give -m MODEL or set TFM_MODEL");
}

/* ---- the template ---- */

/* Index of the model's template of that name, or the number of templates. */
static size_t find_template(const tfm_chat *chat, const char *wanted) {
    size_t n = chat ? tfm_chat_n_templates(chat) : 0, i = 0, len;
    for (const char *name; i < n; i++) {
        tfm_chat_template(chat, i, &name, &len);
        if (strcmp(name, wanted) == 0) break;
    }
    return i;
}

static tfm_status open_template(tfm_cli *c, const options *o, const tfm_chat *chat, bool with_tools,
                                tfm_template **out, tfm_error *err) {
    size_t n_templates = chat ? tfm_chat_n_templates(chat) : 0, len;
    const char *wanted = o->template_path, *name;
    size_t i = find_template(chat, wanted ? wanted : with_tools ? "tool_use" : "default");
    if (i == n_templates && wanted == NULL) i = find_template(chat, "default");
    if (i < n_templates) {
        const char *text = tfm_chat_template(chat, i, &name, &len);
        return tfm_template_new(out, c->model, text, len, err);
    }
    if (wanted == NULL && n_templates > 0) {
        tfm_chat_template(chat, 0, &name, &len);
        return tfm_fail(err, TFM_NOTFOUND,
                        "%s: none of its chat templates is the default; choose one: --template %s",
                        c->model, name);
    }
    if (wanted == NULL)
        return tfm_fail(err, TFM_NOTFOUND,
                        "%s: has no chat template; give one: --template NAME or FILE", c->model);
    char *text, shipped[4096];
    snprintf(shipped, sizeof shipped, "%s/templates/%s.jinja", tfm_cli_share_dir(), wanted);
    bool is_shipped = strchr(wanted, '/') == NULL && access(shipped, R_OK) == 0;
    TFM_TRY(tfm_cli_read_file(c, is_shipped ? shipped : wanted, RECORD_MAX, &text, &len, err));
    tfm_status st = tfm_template_new(out, wanted, text ? text : "", len, err);
    free(text);
    return st;
}

/* ---- one record ---- */

static tfm_status render(output *o, const tfm_cli_record *r, tfm_rendered *out, tfm_error *err) {
    conversation *c = &o->conversation;
    tfm_status st = conversation_read(c, o->fixed, r->text, r->n, err);
    if (st == TFM_OK) {
        tfm_template_input in = {.variable = c->variable, .n_variables = c->n, .now = &o->opt->now};
        st = tfm_template_render(o->template, &in, out, err);
    }
    if (st == TFM_OK && c->continues)
        st = tfm_rendered_continue(out, c->messages, c->messages_len, err);
    conversation_free(c);
    return st;
}

static void write_text(output *o, const tfm_rendered *t) {
    if (o->opt->frame == TFM_FRAME_LINE || o->opt->frame == TFM_FRAME_JSONL) {
        tfm_cli_escaped(o->out, t->text, t->n);
        fputc('\n', o->out);
        return;
    }
    if (t->n) fwrite(t->text, 1, t->n, o->out);
    if (o->opt->frame == TFM_FRAME_NUL) fputc('\0', o->out);
}

static tfm_status write_failed(output *o, uint32_t group, const tfm_error *why, tfm_error *err) {
    tfm_cli_record_failed(o->cli);
    tfm_cli_warn(o->cli, "record %u: %s", group, why->message);
    if (o->w == NULL) { /* no text, but its terminator */
        tfm_rendered none = {0};
        write_text(o, &none);
        return TFM_OK;
    }
    TFM_TRY(tfm_writer_error(o->w, group, o->cli->program->name, why->message, err));
    return tfm_writer_group_end(o->w, group, 0, TFM_END_ERROR, err);
}

static tfm_status write_group(output *o, const tfm_cli_record *r, const tfm_rendered *t,
                              uint32_t group, tfm_error *err) {
    bool flush = o->opt->flush_each || (o->opt->frame == TFM_FRAME_WHOLE && r->is_last);
    tfm_error why = {0};
    o->ids.len = 0;
    tfm_status st =
        tfm_tokenize_marked(o->tok, t->text, t->own, t->n, 0, &o->ids, &o->unknown, &why);
    if (st == TFM_RECORD) return write_failed(o, group, &why, err);
    if (st != TFM_OK) return tfm_fail(err, st, "%s", why.message);
    TFM_TRY(tfm_cli_write_tokens(o->w, group, &o->ids,
                                 TFM_FLAG_LAST | (flush ? TFM_FLAG_FLUSH : 0u), err));
    if (r->has_tail) TFM_TRY(tfm_writer_text(o->w, group, "tail", "\n", 1, err));
    return tfm_writer_group_end(o->w, group, (uint32_t)o->ids.len, TFM_END_OPEN, err);
}

static tfm_status one_record(output *o, const tfm_cli_record *r, const char *name, tfm_error *err) {
    bool whole = o->opt->frame == TFM_FRAME_WHOLE;
    uint32_t group = (uint32_t)o->record;
    tfm_error why = {0};
    tfm_rendered t = {0};
    if (o->record >= TFM_GROUP_ALL)
        return tfm_fail(err, TFM_LIMIT, "more than %u records", TFM_GROUP_ALL);
    if (r->is_long) {
        tfm_fail(&why, TFM_RECORD, "longer than %d bytes", RECORD_MAX);
        return write_failed(o, group, &why, err);
    }
    if (o->opt->frame == TFM_FRAME_JSONL && o->w)
        TFM_TRY(tfm_writer_text(o->w, group, "source", r->text, r->n, err));
    if (whole && r->n == 0) return tfm_fail(err, TFM_TRUNCATED, "%s: the input is empty", name);
    tfm_status st = render(o, r, &t, &why);
    if (st != TFM_OK) tfm_rendered_free(&t); /* of a message that could not be continued */
    /* A file that is no JSON is a bad input; one such line among others is a bad record. */
    if (st == TFM_FORMAT && whole) return tfm_fail(err, st, "%s: %s", name, why.message);
    if (st == TFM_RECORD || st == TFM_FORMAT) return write_failed(o, group, &why, err);
    if (st != TFM_OK) return tfm_fail(err, st, "%s", why.message);
    if (o->w)
        st = write_group(o, r, &t, group, err);
    else
        write_text(o, &t);
    tfm_rendered_free(&t);
    return st;
}

/* What was written goes on before the next read may block. */
static tfm_status next(tfm_cli_records *in, const output *o, tfm_cli_record *r, tfm_error *err) {
    while (!tfm_cli_records_take(in, r)) {
        if (o->w) TFM_TRY(tfm_writer_flush(o->w, err));
        TFM_TRY(tfm_cli_records_more(in, err));
    }
    return TFM_OK;
}

static tfm_status run(tfm_cli_records *in, output *o, const tfm_header *h, tfm_error *err) {
    tfm_cli_record r;
    tfm_status st;
    if (o->w) TFM_TRY(tfm_writer_header(o->w, h, err));
    while ((st = next(in, o, &r, err)) == TFM_OK) {
        if (o->record >= o->opt->first) TFM_TRY(one_record(o, &r, in->name, err));
        o->record++;
    }
    if (st != TFM_DONE) return st;
    tfm_cli_warn_unknown(o->cli, o->unknown);
    tfm_cli_say(o->cli, "%llu record%s", (unsigned long long)o->record, tfm_cli_plural(o->record));
    return o->w ? tfm_writer_end(o->w, err) : TFM_OK;
}

/* ---- the parts, and main ---- */

/* Where the output goes: a stream, or text. */
static tfm_status open_output(tfm_cli *c, output *o, tfm_error *err) {
    int fd;
    const char *name;
    if (o->opt->text) return tfm_cli_open_text(c, &o->out, err);
    TFM_TRY(tfm_cli_open_output(c, true, &fd, &name, err));
    return tfm_writer_new(&o->w, fd, name, err);
}

static tfm_status open_model(tfm_cli *c, tfm_model **model, tfm_chat **chat, const tfm_vocab **v,
                             tfm_tokenizer **tok, tfm_error *err) {
    const tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    if (c->model == NULL) return TFM_OK;
    TFM_TRY(tfm_load_vocab(c->model, &lo, model, err));
    TFM_TRY(tfm_model_vocab(*model, v, err));
    if (*v == NULL) return tfm_fail(err, TFM_NOTFOUND, "%s: has no vocabulary", c->model);
    TFM_TRY(tfm_chat_open(chat, *model, err));
    return tfm_tokenizer_new(tok, *v, err);
}

int main(int argc, char **argv) {
    static output out;
    tfm_cli c;
    options o = {0};
    tfm_error err = {0};
    tfm_model *model = NULL;
    tfm_chat *chat = NULL;
    const tfm_vocab *v = NULL;
    tfm_tokenizer *tok = NULL;
    tfm_template *template = NULL;
    tfm_header *h = NULL;
    static fixed constant;
    tfm_cli_records in;

    tfm_cli_start(&c, &program, argc, argv);
    parse(&c, &o);
    tfm_cli_records_start(&in, &c, o.frame, RECORD_MAX, o.files, o.n_files);
    out.cli = &c;
    out.opt = &o;
    out.fixed = &constant;
    tfm_status st = open_output(&c, &out, &err);
    if (st == TFM_OK) st = open_model(&c, &model, &chat, &v, &tok, &err);
    if (st == TFM_OK) st = fixed_open(&constant, &c, &o, chat, &err);
    if (st == TFM_OK) st = open_template(&c, &o, chat, constant.tools != NULL, &template, &err);
    if (st == TFM_OK && out.w) st = tfm_cli_tokens_header(&c, model, v, o.frame, o.first, &h, &err);
    if (st == TFM_OK && out.w) st = tfm_cli_provenance(&c, h, &err);
    out.template = template;
    out.tok = tok;
    if (st == TFM_OK) st = run(&in, &out, h, &err);
    if (out.out) {
        tfm_error closing = {0};
        tfm_status close_st = tfm_cli_close_text(&c, out.out, &closing);
        if (st == TFM_OK && close_st != TFM_OK) {
            st = close_st;
            err = closing;
        }
    }
    int status = tfm_cli_finish(&c, st, out.w, &err);
    tfm_cli_records_close(&in);
    fixed_close(&constant);
    tfm_ids_free(&out.ids);
    tfm_writer_free(out.w);
    tfm_header_free(h);
    tfm_template_free(template);
    tfm_tokenizer_free(tok);
    tfm_chat_free(chat);
    tfm_model_free(model);
    return status;
}
