/* show.c - tfm-show: what is in a stream, for people and for scripts. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "show.h"
#include "tfm/load.h"

enum {
    OPT_JSON = TFM_LONG,
    OPT_TSV,
    OPT_IDS,
    OPT_PIECES,
    OPT_PROV,
    OPT_TEXT,
    OPT_META,
    OPT_HEAT,
    OPT_PGM,
    OPT_ASCII,
    OPT_COLOUR,
    OPT_WIDTH
};

static const tfm_option options[] = {
    {OPT_JSON, "json", NULL, "JSON lines: one object a header, one a record"},
    {OPT_TSV, "tsv", NULL, "a table of the records, columns named in its first line"},
    {OPT_IDS, "ids", NULL, "token ids only, one line a group"},
    {OPT_PIECES, "pieces", NULL, "a line a token: group, position, id, piece"},
    {OPT_PROV, "prov", NULL, "the provenance lines of the headers only"},
    {OPT_TEXT, "text", NULL, "the payloads of text records only, each ended by a newline"},
    {OPT_META, "meta", NULL, "the payloads of META records only: a model's whole description"},
    {OPT_HEAT, "heat", NULL, "draw tensors in shades, a picture for each matrix"},
    {OPT_PGM, "pgm", NULL, "tensors as PGM images"},
    {OPT_ASCII, "ascii", NULL, "--heat: with ASCII characters"},
    {OPT_COLOUR, "colour", NULL, "--heat: in the 256 colours of terminals"},
    {OPT_WIDTH, "width", "N", "--heat: columns that may be used (default: 80)"},
    TFM_OPT_MODEL,
    TFM_OPT_COMMON,
    TFM_OPT_END};
static const tfm_program program = {"tfm-show", "[options] [FILE...]",
                                    "Show the header and the records of tensor streams.", options};

typedef struct show {
    tfm_cli cli;
    FILE *out;
    int form; /* OPT_*, 0 for the form for people */
    show_heat_options picture;
    show_heat *heat;
    size_t n_streams;
    show_ids *ids;
    /* --pieces: the vocabulary of the present stream */
    tfm_model *model;
    tfm_vocab *bytes;
    const tfm_vocab *vocab; /* borrowed from one of them */
} show;

/* ---- the vocabulary of --pieces ---- */

static void forget_vocab(show *s) {
    tfm_model_free(s->model);
    tfm_vocab_free(s->bytes);
    s->model = NULL;
    s->bytes = NULL;
    s->vocab = NULL;
}

static tfm_status open_vocab(show *s, const char *path, const char *wanted, tfm_error *err) {
    const tfm_load_options lo = {.share_dir = tfm_cli_share_dir()};
    TFM_TRY(tfm_load_vocab(path, &lo, &s->model, err));
    TFM_TRY(tfm_model_vocab(s->model, &s->vocab, err));
    if (!s->vocab) return tfm_fail(err, TFM_NOTFOUND, "%s: has no vocabulary", path);
    if (wanted && strcmp(wanted, tfm_vocab_id(s->vocab)) != 0)
        return tfm_fail(err, TFM_MISMATCH, "%s: its vocabulary is %s, the stream's is %s", path,
                        tfm_vocab_id(s->vocab), wanted);
    return TFM_OK;
}

static tfm_status find_vocab(show *s, const tfm_header *h, tfm_error *err) {
    const char *wanted = tfm_header_get(h, "vocab"), *hint = tfm_header_get(h, "model-hint");
    struct stat info;
    forget_vocab(s);
    if (wanted && strcmp(wanted, "raw-bytes") == 0) {
        TFM_TRY(tfm_vocab_raw_bytes(&s->bytes, err));
        s->vocab = s->bytes;
        return TFM_OK;
    }
    if (s->cli.model) return open_vocab(s, s->cli.model, wanted, err);
    if (hint && wanted && stat(hint, &info) == 0 && S_ISREG(info.st_mode))
        return open_vocab(s, hint, wanted, err);
    return tfm_fail(err, TFM_NOTFOUND, "--pieces: the stream does not say its model: use -m MODEL");
}

/* ---- one stream ---- */

static tfm_status show_header(show *s, const tfm_header *h, const char *name, tfm_error *err) {
    switch (s->form) {
    case 0: show_header_text(s->out, h, name, s->n_streams); break;
    case OPT_JSON: show_header_json(s->out, h, s->n_streams); break;
    case OPT_PIECES: return find_vocab(s, h, err);
    case OPT_PROV:
        for (size_t i = 0; i < tfm_header_count(h); i++)
            if (strcmp(tfm_header_key(h, i), "prov") == 0)
                fprintf(s->out, "%s\n", tfm_header_value(h, i));
        break;
    default: break;
    }
    return TFM_OK;
}

static tfm_status show_record(show *s, const tfm_record *rec, const void *payload, tfm_error *err) {
    show_values v;
    switch (s->form) {
    case OPT_PROV: return TFM_OK;
    case OPT_IDS: return show_ids_add(s->ids, s->out, rec, payload, err);
    case OPT_PIECES:
        if (show_is_tokens(rec)) show_pieces(s->out, s->vocab, rec, payload);
        return TFM_OK;
    case OPT_HEAT:
    case OPT_PGM: return show_heat_add(s->heat, s->out, rec, payload, err);
    case OPT_TEXT:
    case OPT_META:
        if (rec->type != (s->form == OPT_TEXT ? TFM_REC_TEXT : TFM_REC_META) || !payload)
            return TFM_OK;
        fwrite(payload, 1, (size_t)rec->bytes, s->out);
        fputc('\n', s->out);
        return TFM_OK;
    default: break;
    }
    TFM_TRY(show_compute(rec, payload, &v, err));
    if (s->form == OPT_JSON)
        show_record_json(s->out, s->n_streams, rec, &v);
    else if (s->form == OPT_TSV)
        show_record_tsv(s->out, s->n_streams, rec, &v);
    else
        show_record_text(s->out, rec, &v);
    return TFM_OK;
}

static tfm_status show_records(show *s, tfm_reader *r, tfm_error *err) {
    tfm_record rec;
    const void *payload;
    for (;;) {
        TFM_TRY(tfm_reader_next(r, &rec, err));
        if (rec.type == TFM_REC_ERROR) tfm_cli_record_failed(&s->cli);
        payload = NULL;
        if (rec.bytes <= TFM_PAYLOAD_MAX) TFM_TRY(tfm_reader_payload(r, &payload, err));
        TFM_TRY(show_record(s, &rec, payload, err));
        if (ferror(s->out))
            return tfm_fail_errno(err, TFM_IO, "%s", s->cli.output ? s->cli.output : "stdout");
    }
}

static tfm_status show_streams(show *s, tfm_reader *r, const char *name, tfm_error *err) {
    tfm_status st;
    while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
        s->n_streams++;
        TFM_TRY(show_header(s, tfm_reader_header(r), name, err));
        st = show_records(s, r, err);
        if (st == TFM_DONE && s->form == OPT_IDS) TFM_TRY(show_ids_end(s->ids, s->out, err));
        if (st == TFM_DONE) show_heat_end(s->heat, s->out);
        if (st != TFM_DONE) return st;
    }
    return st == TFM_DONE ? TFM_OK : st;
}

static tfm_status show_file(show *s, const char *path, tfm_error *err) {
    tfm_reader *r;
    const char *name;
    int fd;
    TFM_TRY(tfm_cli_open_input(&s->cli, path, &fd, &name, err));
    tfm_status st = tfm_reader_new(&r, fd, name, err);
    if (st == TFM_OK) st = show_streams(s, r, name, err);
    tfm_reader_free(r);
    if (fd != STDIN_FILENO) close(fd);
    return st;
}

static void take_option(show *s, int c) {
    switch (c) {
    case OPT_ASCII: s->picture.ascii = true; break;
    case OPT_COLOUR: s->picture.colour = true; break;
    case OPT_WIDTH: s->picture.width = tfm_cli_u32(&s->cli, 10, 10000); break;
    default:
        if (s->form != 0 && s->form != c)
            tfm_cli_usage(&s->cli, "%s: only one form can be asked for", s->cli.option);
        s->form = c;
    }
}

static void check_options(show *s) {
    if (s->form != OPT_HEAT && (s->picture.ascii || s->picture.colour || s->picture.width != 80))
        tfm_cli_usage(&s->cli, "--ascii, --colour and --width are for --heat");
    if (s->picture.ascii && s->picture.colour)
        tfm_cli_usage(&s->cli, "--ascii and --colour: only one can be asked for");
    if (s->form == OPT_PGM && !s->cli.output && isatty(STDOUT_FILENO))
        tfm_cli_usage(&s->cli,
                      "--pgm: stdout is a terminal, the output is binary: use -o FILE or a pipe");
}

int main(int argc, char **argv) {
    show s = {.picture.width = 80};
    tfm_error err = {0}, closing;
    char **files;

    tfm_cli_start(&s.cli, &program, argc, argv);
    for (int c; (c = tfm_cli_next(&s.cli)) != 0;) take_option(&s, c);
    check_options(&s);
    int n = tfm_cli_operands(&s.cli, &files);
    tfm_status st = tfm_cli_open_text(&s.cli, &s.out, &err);
    if (st == TFM_OK) st = show_ids_new(&s.ids, &err);
    s.picture.pgm = s.form == OPT_PGM;
    if (st == TFM_OK) st = show_heat_new(&s.heat, &s.picture, &err);
    if (st == TFM_OK && s.form == OPT_TSV) show_columns_tsv(s.out);
    if (st == TFM_OK && n == 0) st = show_file(&s, NULL, &err);
    for (int i = 0; i < n && st == TFM_OK; i++) st = show_file(&s, files[i], &err);
    tfm_status closed = tfm_cli_close_text(&s.cli, s.out, &closing);
    if (st == TFM_OK && closed != TFM_OK) {
        st = closed;
        err = closing;
    }
    show_heat_free(s.heat);
    show_ids_free(s.ids);
    forget_vocab(&s);
    return tfm_cli_finish(&s.cli, st, NULL, &err);
}
