/* tfm-detok - token ids to text.
 *
 *     tokens stream -> [vocabulary] -> text, a group after the other, framed as it was read
 */
#include "detok.h"

enum { OPT_ESCAPE = TFM_LONG, OPT_SHOW_SPECIAL, OPT_WHOLE };

static const tfm_option option_table[] = {
    TFM_OPT_COMMON,
    TFM_OPT_MODEL,
    {'l', "lines", NULL, "write each record as a line (default: as the stream says)"},
    {'0', "null", NULL, "end each record with a NUL"},
    {OPT_WHOLE, "whole", NULL, "write records one after another, with nothing between"},
    {OPT_ESCAPE, "escape", NULL, "write \\n and \\\\ for newline and backslash inside a line"},
    {OPT_SHOW_SPECIAL, "show-special", NULL, "write control tokens too"},
    TFM_OPT_END};

static const tfm_program program = {"tfm-detok", "[options] [FILE...]", "turn token ids into text",
                                    option_table};

static void parse(tfm_cli *c, options *o) {
    for (int opt; (opt = tfm_cli_next(c)) != 0;) {
        frame f = opt == 'l' ? FRAME_LINE : opt == '0' ? FRAME_NUL : FRAME_WHOLE;
        switch (opt) {
        case OPT_ESCAPE: o->escape = true; break;
        case OPT_SHOW_SPECIAL: o->show_special = true; break;
        default:
            if (o->frame != FRAME_HEADER && o->frame != f)
                tfm_cli_usage(c, "%s: only one of -l, -0 and --whole can be given", c->option);
            o->frame = f;
        }
    }
}

/* One stream, header to END. ctx: groups. */
static tfm_status read_stream(void *ctx, tfm_reader *r, tfm_error *err) {
    groups *g = ctx;
    tfm_record rec;
    const void *payload;
    tfm_status st;
    const tfm_header *h = tfm_reader_header(r);
    TFM_TRY(tfm_header_expect(h, "tokens", err));
    tfm_cli_note_salvaged(g->cli, h);
    TFM_TRY(vocab_for(g->vocab, h, err));
    TFM_TRY(groups_begin(g, h, err));
    for (;;) {
        if (!tfm_reader_pending(r)) TFM_TRY(groups_flush(g, err));
        if ((st = tfm_reader_next(r, &rec, err)) != TFM_OK) break;
        TFM_TRY(tfm_reader_payload(r, &payload, err));
        TFM_TRY(groups_record(g, &rec, payload, err));
    }
    if (st == TFM_DONE) return groups_finish(g, err);
    /* What was complete is given out; then the caller says what went wrong. */
    tfm_error ignored = {0};
    if (groups_flush(g, &ignored) != TFM_OK)
        return tfm_fail(err, ignored.status, "%s", ignored.message);
    return st;
}

int main(int argc, char **argv) {
    tfm_cli c;
    options o = {0};
    tfm_error err = {0};
    char **files;

    tfm_cli_start(&c, &program, argc, argv);
    parse(&c, &o);
    int n = tfm_cli_operands(&c, &files);
    vocab v = {.cli = &c};
    groups g = {.cli = &c, .opt = &o, .vocab = &v};
    tfm_status st = tfm_cli_open_output(&c, false, &g.fd, &g.out_name, &err);
    if (st == TFM_OK)
        st = tfm_cli_streams(&c, files, n, "tfm-sample or tfm-run", read_stream, &g, &err);
    if (g.n_failed > 0)
        tfm_cli_warn(&c, "%llu record%s failed upstream, the first: %.*s",
                     (unsigned long long)g.n_failed, tfm_cli_plural(g.n_failed),
                     (int)g.first_failed.len, g.first_failed.data);
    if (g.n_taken > 0)
        tfm_cli_warn(&c,
                     "%llu line%s a key of the result already: the result is a line of its own, "
                     "with that line as \"source\"",
                     (unsigned long long)g.n_taken, g.n_taken == 1 ? " has" : "s have");
    if (g.n_replaced > 0)
        tfm_cli_warn(&c, "%llu %s%s inside records written as %s (--escape keeps them)",
                     (unsigned long long)g.n_replaced, g.frame == FRAME_NUL ? "NUL" : "newline",
                     tfm_cli_plural(g.n_replaced), g.n_replaced == 1 ? "a space" : "spaces");
    if (g.n_broken > 0)
        tfm_cli_warn(&c, "%llu byte%s no UTF-8 written as U+FFFD: JSON cannot hold them",
                     (unsigned long long)g.n_broken, g.n_broken == 1 ? " that is" : "s that are");
    int status = tfm_cli_finish(&c, st, NULL, &err);
    groups_close(&g);
    vocab_close(&v);
    return status;
}
