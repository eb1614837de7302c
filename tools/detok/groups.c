/* groups.c - records of interleaved groups in, texts in the order of groups out.
 *
 * Groups are numbered from the header's `first` (0), times its `samples`. The lowest that is not
 * yet written is the head: its text is written as it comes in the whole frame, and as one line, by
 * one write, when it ends in the others. The rest wait in memory. A number that never comes (a
 * selection of groups) holds the later ones back until the stream ends. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "detok.h"

enum { OUT_BYTES = 1 << 16 };

static void group_free(group *gr) {
    if (gr == NULL) return;
    tfm_detok_free(gr->detok);
    bytes_free(&gr->text);
    bytes_free(&gr->source);
    bytes_free(&gr->tail);
    bytes_free(&gr->error);
    free(gr);
}

void groups_close(groups *g) {
    for (size_t i = g->head; i < g->n_open; i++) group_free(g->open[i]);
    free(g->open);
    bytes_free(&g->out);
    bytes_free(&g->last_source);
    bytes_free(&g->first_failed);
}

/* ---- the open groups ---- */

static tfm_status make_room(groups *g, tfm_error *err) {
    if (g->head > 0 && g->head >= g->n_open / 2) {
        memmove(g->open, g->open + g->head, (g->n_open - g->head) * sizeof *g->open);
        g->n_open -= g->head;
        g->head = 0;
    }
    if (g->n_open < g->cap) return TFM_OK;
    size_t cap = g->cap ? g->cap * 2 : 64;
    group **grown = realloc(g->open, cap * sizeof *grown);
    if (grown == NULL) return tfm_fail(err, TFM_NOMEM, "out of memory");
    g->open = grown;
    g->cap = cap;
    return TFM_OK;
}

/* The group of this number, made if it is new. */
static tfm_status find(groups *g, uint32_t number, group **out, tfm_error *err) {
    size_t lo = g->head, hi = g->n_open;
    if (lo < hi && g->open[hi - 1]->number < number) lo = hi; /* nearly always: a new last one */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (g->open[mid]->number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo < g->n_open && g->open[lo]->number == number) {
        *out = g->open[lo];
        return TFM_OK;
    }
    if (number < g->next)
        return tfm_fail(err, TFM_FORMAT,
                        "group %u: a record after its end, or before the first group", number);
    size_t from_head = lo - g->head;
    TFM_TRY(make_room(g, err));
    lo = g->head + from_head;
    group *gr = calloc(1, sizeof *gr);
    if (gr == NULL) return tfm_fail(err, TFM_NOMEM, "out of memory");
    gr->number = number;
    memmove(g->open + lo + 1, g->open + lo, (g->n_open - lo) * sizeof *g->open);
    g->open[lo] = gr;
    g->n_open++;
    *out = gr;
    return TFM_OK;
}

/* ---- writing ---- */

static tfm_status write_out(groups *g, tfm_error *err) {
    return bytes_write(&g->out, g->fd, g->out_name, err);
}

tfm_status groups_flush(groups *g, tfm_error *err) {
    return write_out(g, err);
}

/* The text as a line: terminators inside it become spaces, or with --escape a backslash and a
 * letter. */
static tfm_status add_line(groups *g, const bytes *text, tfm_error *err) {
    char end = g->frame == FRAME_NUL ? '\0' : '\n';
    size_t done = 0;
    for (size_t i = 0; i < text->len; i++) {
        char c = text->data[i];
        if (c != end && !(g->opt->escape && c == '\\')) continue;
        TFM_TRY(bytes_add(&g->out, text->data + done, i - done, err));
        done = i + 1;
        if (!g->opt->escape) g->n_replaced++;
        TFM_TRY(bytes_str(&g->out,
                          !g->opt->escape ? " "
                          : c == '\\'     ? "\\\\"
                          : end           ? "\\n"
                                          : "\\0",
                          err));
    }
    TFM_TRY(bytes_add(&g->out, text->data + done, text->len - done, err));
    return bytes_add(&g->out, &end, 1, err);
}

/* What the whole frame can write of the head before it ends. */
static tfm_status stream_head(groups *g, group *gr, tfm_error *err) {
    TFM_TRY(bytes_add(&g->out, gr->text.data, gr->text.len, err));
    gr->text.len = 0;
    return g->out.len >= OUT_BYTES ? write_out(g, err) : TFM_OK;
}

static tfm_status write_json(groups *g, group *gr, tfm_error *err) {
    if (gr->has_source) { /* kept for the samples that follow */
        bytes old = g->last_source;
        g->last_source = gr->source;
        gr->source = old;
    } else if (gr->number % g->samples == 0) {
        g->last_source.len = 0;
    }
    return json_line(g, gr, &g->last_source, err);
}

/* What failed here is told at once; what failed upstream was told there, and is counted. */
static tfm_status tell_failed(groups *g, const group *gr, tfm_error *err) {
    char which[40];
    if (!gr->is_told) {
        tfm_cli_warn(g->cli, "record %u: %.*s", gr->number / g->samples, (int)gr->error.len,
                     gr->error.len ? gr->error.data : "");
        return TFM_OK;
    }
    if (g->n_failed++ > 0) return TFM_OK;
    snprintf(which, sizeof which, "record %u: ", gr->number / g->samples);
    TFM_TRY(bytes_str(&g->first_failed, which, err));
    return bytes_add(&g->first_failed, gr->error.data, gr->error.len, err);
}

static tfm_status write_group(groups *g, group *gr, tfm_error *err) {
    const char *held;
    size_t n;
    if (gr->detok && !gr->failed) {
        TFM_TRY(tfm_detok_finish(gr->detok, &held, &n, err));
        TFM_TRY(bytes_add(&gr->text, held, n, err));
    }
    if (gr->failed) {
        tfm_cli_record_failed(g->cli);
        TFM_TRY(tell_failed(g, gr, err));
    }
    switch (g->frame) {
    case FRAME_LINE:
    case FRAME_NUL:
        if (gr->failed) gr->text.len = 0;
        if (g->has_turns && !gr->failed && gr->text.len == 0) return write_out(g, err);
        TFM_TRY(add_line(g, &gr->text, err));
        return write_out(g, err);
    case FRAME_JSONL: TFM_TRY(write_json(g, gr, err)); return write_out(g, err);
    default:
        TFM_TRY(stream_head(g, gr, err));
        return bytes_add(&g->out, gr->tail.data, gr->tail.len, err);
    }
}

static tfm_status write_first(groups *g, tfm_error *err) {
    group *gr = g->open[g->head++];
    tfm_status st = write_group(g, gr, err);
    g->next = (uint64_t)gr->number + 1;
    group_free(gr);
    return st;
}

/* Writes all that can be written now. */
static tfm_status advance(groups *g, tfm_error *err) {
    while (g->head < g->n_open && g->open[g->head]->number == g->next) {
        group *gr = g->open[g->head];
        if (!gr->ended) return g->frame == FRAME_WHOLE ? stream_head(g, gr, err) : TFM_OK;
        TFM_TRY(write_first(g, err));
    }
    return TFM_OK;
}

/* ---- records ---- */

static tfm_status fail_group(group *gr, const char *message, size_t n, tfm_error *err) {
    gr->failed = true;
    gr->error.len = 0;
    return bytes_add(&gr->error, message, n, err);
}

static tfm_status add_tokens(groups *g, group *gr, const tfm_record *rec, const int32_t *ids,
                             tfm_error *err) {
    tfm_error why = {0};
    if (gr->failed) return TFM_OK;
    if (gr->detok == NULL) {
        unsigned flags = g->opt->show_special ? TFM_DETOK_SHOW_SPECIAL : 0;
        if (rec->flags & TFM_FLAG_CONTINUES) flags |= TFM_DETOK_CONTINUES;
        TFM_TRY(tfm_detok_new(&gr->detok, g->vocab->tok, flags, err));
    }
    for (uint64_t i = 0; i < rec->bytes / sizeof *ids; i++) {
        const char *text;
        size_t n;
        tfm_status st = tfm_detok_push(gr->detok, ids[i], &text, &n, &why);
        if (st == TFM_RECORD) return fail_group(gr, why.message, strlen(why.message), err);
        if (st != TFM_OK) return tfm_fail(err, st, "%s", why.message);
        TFM_TRY(bytes_add(&gr->text, text, n, err));
    }
    return TFM_OK;
}

static tfm_status add_error(group *gr, const tfm_record *rec, const char *message, tfm_error *err) {
    gr->is_told = true;
    TFM_TRY(fail_group(gr, rec->name, strlen(rec->name), err));
    TFM_TRY(bytes_str(&gr->error, ": ", err));
    return bytes_add(&gr->error, message, (size_t)rec->bytes, err);
}

static tfm_status add_text(group *gr, const tfm_record *rec, const char *text, tfm_error *err) {
    if (strcmp(rec->name, "source") == 0) {
        gr->has_source = true;
        return bytes_add(&gr->source, text, (size_t)rec->bytes, err);
    }
    if (strcmp(rec->name, "tail") == 0) return bytes_add(&gr->tail, text, (size_t)rec->bytes, err);
    return TFM_OK;
}

/* The answer to a turn is complete: its text is written at once, also if other groups are open,
 * because who asked is waiting. */
static tfm_status end_turn(groups *g, group *gr, tfm_error *err) {
    const char *held;
    size_t n;
    if (gr->failed) return TFM_OK;
    if (gr->detok) {
        TFM_TRY(tfm_detok_finish(gr->detok, &held, &n, err));
        TFM_TRY(bytes_add(&gr->text, held, n, err));
        tfm_detok_free(gr->detok);
        gr->detok = NULL;
    }
    if (g->frame == FRAME_WHOLE)
        TFM_TRY(stream_head(g, gr, err));
    else
        TFM_TRY(add_line(g, &gr->text, err));
    gr->text.len = 0;
    return write_out(g, err);
}

tfm_status groups_record(groups *g, const tfm_record *rec, const void *payload, tfm_error *err) {
    group *gr = NULL;
    bool is_tokens = rec->type == TFM_REC_TENSOR && strcmp(rec->name, "tokens") == 0;
    if (!is_tokens && rec->type != TFM_REC_TEXT && rec->type != TFM_REC_ERROR &&
        rec->type != TFM_REC_GROUP_END)
        return TFM_OK;
    if (is_tokens && (rec->dtype != TFM_I32 || rec->rank != 1))
        return tfm_fail(err, TFM_FORMAT, "group %u: tokens are not a list of i32", rec->group);
    TFM_TRY(find(g, rec->group, &gr, err));
    if (gr->ended) return tfm_fail(err, TFM_FORMAT, "group %u: a record after its end", rec->group);
    if (is_tokens) TFM_TRY(add_tokens(g, gr, rec, payload, err));
    const unsigned turn = TFM_FLAG_LAST | TFM_FLAG_FLUSH;
    if (is_tokens && g->has_turns && (rec->flags & turn) == turn) TFM_TRY(end_turn(g, gr, err));
    if (rec->type == TFM_REC_TEXT) TFM_TRY(add_text(gr, rec, payload, err));
    if (rec->type == TFM_REC_ERROR) TFM_TRY(add_error(gr, rec, payload, err));
    if (rec->type == TFM_REC_GROUP_END) {
        gr->ended = true;
        gr->how = (tfm_end)rec->status;
        if (gr->how == TFM_END_ERROR && !gr->failed)
            TFM_TRY(fail_group(gr, "failed", strlen("failed"), err));
    }
    TFM_TRY(advance(g, err));
    return rec->flags & TFM_FLAG_FLUSH ? write_out(g, err) : TFM_OK;
}

/* ---- a stream begins and ends ---- */

/* A decimal number of the header, `missing` if the key is not there. */
static tfm_status header_number(const tfm_header *h, const char *key, uint32_t missing,
                                uint32_t *out, tfm_error *err) {
    const char *value = tfm_header_get(h, key);
    char *end;
    *out = missing;
    if (value == NULL) return TFM_OK;
    unsigned long long n = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || n > UINT32_MAX)
        return tfm_fail(err, TFM_FORMAT, "header: %s %s is no number", key, value);
    *out = (uint32_t)n;
    return TFM_OK;
}

static tfm_status header_frame(const tfm_header *h, frame *out, tfm_error *err) {
    static const char *const names[] = {"whole", "line", "nul", "jsonl"};
    const char *value = tfm_header_get(h, "frame");
    *out = FRAME_WHOLE;
    if (value == NULL) return TFM_OK;
    for (int i = 0; i < 4; i++)
        if (strcmp(value, names[i]) == 0) {
            *out = (frame)(FRAME_WHOLE + i);
            return TFM_OK;
        }
    return tfm_fail(err, TFM_UNSUPPORTED, "header: frame %s is not known", value);
}

tfm_status groups_begin(groups *g, const tfm_header *h, tfm_error *err) {
    uint32_t first;
    TFM_TRY(header_number(h, "first", 0, &first, err));
    TFM_TRY(header_number(h, "samples", 1, &g->samples, err));
    TFM_TRY(header_frame(h, &g->frame, err));
    if (g->opt->frame != FRAME_HEADER) g->frame = g->opt->frame;
    if (g->samples == 0) g->samples = 1;
    g->next = (uint64_t)first * g->samples;
    g->last_source.len = 0;
    g->has_turns = tfm_header_get(h, "turns") != NULL;
    if (g->has_turns && g->frame == FRAME_JSONL)
        return tfm_fail(err, TFM_UNSUPPORTED, "a stream of turns cannot be written as JSON lines");
    return TFM_OK;
}

tfm_status groups_finish(groups *g, tfm_error *err) {
    while (g->head < g->n_open) TFM_TRY(write_first(g, err));
    return write_out(g, err);
}
