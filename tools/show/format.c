/* format.c - a record as a line: for people, as TSV, as JSON.
 *
 * Whatever comes from the stream is escaped, so that a line stays a line and a terminal is safe.
 * JSON numbers are %.9g, which gives every f32 back exactly; what JSON has no number for is a
 * string. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "show.h"

enum { TEXT_SHOWN = 60 }; /* bytes of a text in the form for people; messages are shown whole */

static const struct {
    unsigned flag;
    const char *name;
} flag_names[] = {
    {TFM_FLAG_FLUSH, "flush"}, {TFM_FLAG_LAST, "last"}, {TFM_FLAG_CONTINUES, "continues"}};
enum { N_FLAGS = sizeof flag_names / sizeof *flag_names };

const char *show_type(const tfm_record *rec) {
    static const char *const names[] = {"?",         "tensor", "text", "meta",
                                        "group-end", "error",  "fork", "index"};
    return rec->type < sizeof names / sizeof *names ? names[rec->type] : "ancillary";
}

static void put_flags(FILE *out, const tfm_record *rec, const char *before, const char *between) {
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (!(rec->flags & flag_names[i].flag)) continue;
        fprintf(out, "%s%s", before, flag_names[i].name);
        before = between;
    }
}

static void put_dims(FILE *out, const tfm_record *rec, const char *between) {
    for (unsigned i = 0; i < rec->rank; i++)
        fprintf(out, "%s%" PRIu32, i ? between : "", rec->dims[i]);
}

/* How many digits are shown of a value: all of them if it is an integer (to 10^17). */
static int digits(const show_values *v, int of_a_float) {
    return v->is_integer ? 17 : of_a_float;
}

/* ---- for people ---- */

void show_header_text(FILE *out, const tfm_header *h, const char *name, size_t stream) {
    fprintf(out, "%s: stream %zu, kind %s\n", name, stream, tfm_header_kind(h));
    for (size_t i = 0; i < tfm_header_count(h); i++)
        if (strcmp(tfm_header_key(h, i), "prov") != 0)
            fprintf(out, "    %s %s\n", tfm_header_key(h, i), tfm_header_value(h, i));
}

static void put_values(FILE *out, const show_values *v) {
    for (unsigned i = 0; i < v->n_first; i++) fprintf(out, " %.*g", digits(v, 6), v->first[i]);
    if (v->n > v->n_first) fputs(" ...", out);
    if (v->has_stats && v->n > 1)
        fprintf(out, " (min %.*g max %.*g mean %.6g)", digits(v, 6), v->min, digits(v, 6), v->max,
                v->mean);
    if (v->n_nan) fprintf(out, " (%" PRIu64 " NaN)", v->n_nan);
}

void show_record_text(FILE *out, const tfm_record *rec, const show_values *v) {
    fprintf(out, "%6" PRIu32 " %-9s", rec->seq, show_type(rec));
    fprintf(out, " %s%s", rec->name[0] ? rec->name : "-", rec->dtype ? " " : "");
    if (rec->dtype) {
        fprintf(out, "%s [", tfm_dtype_name((tfm_dtype)rec->dtype));
        put_dims(out, rec, ", ");
        fputc(']', out);
    }
    if (rec->group == TFM_GROUP_ALL)
        fputs(" group all", out);
    else
        fprintf(out, " group %" PRIu32, rec->group);
    fprintf(out, " at %" PRIu32, rec->position);
    put_flags(out, rec, " ", " ");
    if (rec->type == TFM_REC_GROUP_END) fprintf(out, " %s", tfm_end_name(rec->status));
    if (v->n > 0 || v->text) fputc(':', out);
    put_values(out, v);
    if (v->text) {
        bool whole = rec->type == TFM_REC_ERROR || v->text_len < TEXT_SHOWN;
        size_t n = whole ? v->text_len : TEXT_SHOWN;
        fputs(" \"", out);
        tfm_cli_escaped(out, v->text, n);
        fputs(n < v->text_len ? "\"..." : "\"", out);
    }
    fputc('\n', out);
}

/* ---- TSV ---- */

void show_columns_tsv(FILE *out) {
    fputs("stream\tseq\ttype\tname\tdtype\tdims\tgroup\tposition\tflags\tstatus\tbytes\tmin\tmax"
          "\tmean\tfirst\n",
          out);
}

void show_record_tsv(FILE *out, size_t stream, const tfm_record *rec, const show_values *v) {
    fprintf(out, "%zu\t%" PRIu32 "\t%s\t", stream, rec->seq, show_type(rec));
    tfm_cli_escaped(out, rec->name, strlen(rec->name));
    fprintf(out, "\t%s\t", rec->dtype ? tfm_dtype_name((tfm_dtype)rec->dtype) : "");
    put_dims(out, rec, "x");
    fprintf(out, "\t%" PRIu32 "\t%" PRIu32 "\t", rec->group, rec->position);
    put_flags(out, rec, "", ",");
    fprintf(out, "\t%s\t%" PRIu64 "\t",
            rec->type == TFM_REC_GROUP_END ? tfm_end_name(rec->status) : "", rec->bytes);
    if (v->has_stats)
        fprintf(out, "%.*g\t%.*g\t%.9g\t", digits(v, 9), v->min, digits(v, 9), v->max, v->mean);
    else
        fputs("\t\t\t", out);
    for (unsigned i = 0; i < v->n_first; i++)
        fprintf(out, "%s%.*g", i ? "," : "", digits(v, 9), v->first[i]);
    fputc('\n', out);
}

/* ---- JSON ---- */

static void json_number(FILE *out, double x, int n_digits) {
    if (isfinite(x))
        fprintf(out, "%.*g", n_digits, x);
    else
        fputs(isnan(x) ? "\"nan\"" : x > 0 ? "\"inf\"" : "\"-inf\"", out);
}

void show_header_json(FILE *out, const tfm_header *h, size_t stream) {
    fprintf(out, "{\"stream\":%zu,\"kind\":\"%s\",\"header\":[", stream, tfm_header_kind(h));
    for (size_t i = 0; i < tfm_header_count(h); i++) {
        fprintf(out, "%s[\"%s\",", i ? "," : "", tfm_header_key(h, i));
        tfm_cli_json_string(out, tfm_header_value(h, i), strlen(tfm_header_value(h, i)));
        fputc(']', out);
    }
    fputs("]}\n", out);
}

void show_record_json(FILE *out, size_t stream, const tfm_record *rec, const show_values *v) {
    fprintf(out, "{\"stream\":%zu,\"seq\":%" PRIu32 ",\"type\":\"%s\"", stream, rec->seq,
            show_type(rec));
    if (rec->type & TFM_REC_ANCILLARY) fprintf(out, ",\"number\":%u", rec->type);
    fputs(",\"name\":", out);
    tfm_cli_json_string(out, rec->name, strlen(rec->name));
    if (rec->dtype) {
        fprintf(out, ",\"dtype\":\"%s\",\"dims\":[", tfm_dtype_name((tfm_dtype)rec->dtype));
        put_dims(out, rec, ",");
        fputc(']', out);
    }
    fprintf(out, ",\"group\":%" PRIu32 ",\"position\":%" PRIu32 ",\"flags\":[", rec->group,
            rec->position);
    put_flags(out, rec, "\"", "\",\"");
    fputs(rec->flags ? "\"]" : "]", out);
    if (rec->type == TFM_REC_GROUP_END)
        fprintf(out, ",\"status\":\"%s\"", tfm_end_name(rec->status));
    fprintf(out, ",\"bytes\":%" PRIu64, rec->bytes);
    if (v->has_stats) {
        fputs(",\"min\":", out), json_number(out, v->min, digits(v, 9));
        fputs(",\"max\":", out), json_number(out, v->max, digits(v, 9));
        fputs(",\"mean\":", out), json_number(out, v->mean, 9);
    }
    if (v->n_nan) fprintf(out, ",\"nan\":%" PRIu64, v->n_nan);
    for (unsigned i = 0; i < v->n_first; i++) {
        fputs(i ? "," : ",\"first\":[", out);
        json_number(out, v->first[i], digits(v, 9));
    }
    if (v->n_first) fputc(']', out);
    if (v->text) {
        fputs(",\"text\":", out);
        tfm_cli_json_string(out, v->text, v->text_len);
    }
    fputs("}\n", out);
}
