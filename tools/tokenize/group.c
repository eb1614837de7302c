/* group.c - records to groups of the stream: source line, tokens, tail, GROUP-END; or ERROR.
 *
 * Records of a batch are tokenized in parallel and written in their order. What cannot be tokenized
 * becomes an ERROR record of its own group, and the batch goes on. */
#include <jansson.h>
#include <string.h>

#include "tokenize.h"

enum {
    PARALLEL_BYTES = 1 << 16 /* below this, starting threads costs more than it saves */
};

/* ---- the text of a record ---- */

/* Field of a JSON line; the value stays alive with *root. */
static void read_json(const output *o, const char *line, size_t len, tfm_tok_item *it,
                      json_t **root) {
    json_error_t why;
    /* Of numbers nothing is wanted: one of more than 64 bits does no harm as a real. */
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL;
    tfm_status st = tfm_cli_json(root, line, len, flags, &why, &it->err);
    const json_t *value = json_object_get(*root, o->opt->field);
    if (st == TFM_NOMEM) return;
    if (st != TFM_OK)
        tfm_fail(&it->err, TFM_RECORD, "not JSON: %s (column %d)", why.text, why.column);
    else if (!json_is_object(*root))
        tfm_fail(&it->err, TFM_RECORD, "not a JSON object");
    else if (value == NULL)
        tfm_fail(&it->err, TFM_RECORD, "no field \"%s\"", o->opt->field);
    else if (!json_is_string(value))
        tfm_fail(&it->err, TFM_RECORD, "field \"%s\" is not a string", o->opt->field);
    if (it->err.status != TFM_OK) return;
    it->text = json_string_value(value);
    it->len = json_string_length(value);
}

static bool is_separator(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',';
}

/* Decimal ids, separated by white space or commas. */
static tfm_status read_ids(const output *o, tfm_tok_item *it) {
    const char *p = it->text, *end = p + it->len;
    it->ids.len = 0;
    while (p < end) {
        uint64_t id = 0;
        const char *from = p;
        while (p < end && *p >= '0' && *p <= '9' && id < o->n_vocab)
            id = id * 10 + (uint64_t)(*p++ - '0');
        if (p > from && (p == end || is_separator(*p)) && id < o->n_vocab) {
            TFM_TRY(tfm_ids_push(&it->ids, (int32_t)id, &it->err));
        } else if (p > from || !is_separator(*p)) {
            return tfm_fail(&it->err, TFM_RECORD, "offset %zu: not an id below %u",
                            (size_t)(from - it->text), o->n_vocab);
        } else {
            p++;
        }
    }
    return TFM_OK;
}

static void prepare(output *o, const batch *b, size_t i) {
    const tfm_cli_record *r = &b->record[i];
    tfm_tok_item *it = &o->item[i];
    it->text = r->text;
    it->len = r->n;
    it->err.status = TFM_OK;
    if (r->is_long)
        tfm_fail(&it->err, TFM_RECORD, "longer than %d bytes",
                 o->opt->frame == TFM_FRAME_JSONL ? LINE_MAX_JSON : TEXT_MAX);
    else if (o->opt->frame == TFM_FRAME_JSONL)
        read_json(o, it->text, it->len, it, (json_t **)&o->json[i]);
    it->skip = it->err.status != TFM_OK || o->record + i < o->opt->first;
}

static tfm_status tokenize(output *o, const batch *b, tfm_error *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < b->n; i++) {
        prepare(o, b, i);
        if (o->item[i].skip) continue;
        bytes += o->item[i].len;
        if (!o->opt->from_ids) continue;
        tfm_status st = read_ids(o, &o->item[i]);
        if (st != TFM_OK && st != TFM_RECORD)
            return tfm_fail(err, st, "%s", o->item[i].err.message);
    }
    if (o->opt->from_ids) return TFM_OK;
    return tfm_tokenize_many(o->tok, o->item, b->n, o->opt->tok,
                             bytes < PARALLEL_BYTES ? 1 : o->threads, err);
}

/* ---- writing ---- */

static tfm_status write_failed(output *o, uint32_t group, const tfm_error *why, tfm_error *err) {
    o->turn_open = false;
    tfm_cli_record_failed(o->cli);
    tfm_cli_warn(o->cli, "record %u: %s", group, why->message);
    TFM_TRY(tfm_writer_error(o->w, group, o->cli->program->name, why->message, err));
    return tfm_writer_group_end(o->w, group, 0, TFM_END_ERROR, err);
}

static tfm_status write_group(output *o, const batch *b, size_t i, uint32_t group, tfm_error *err) {
    const tfm_cli_record *r = &b->record[i];
    tfm_tok_item *it = &o->item[i];
    bool whole = o->opt->frame == TFM_FRAME_WHOLE;
    bool flush = o->opt->flush_each || o->opt->turns || (whole && r->is_last);
    if (o->opt->frame == TFM_FRAME_JSONL && !r->is_long)
        TFM_TRY(tfm_writer_text(o->w, group, "source", r->text, r->n, err));
    if (o->opt->strict_unk && it->err.status == TFM_OK && it->unknown > 0)
        it->err.status =
            tfm_fail(&it->err, TFM_RECORD, "characters that are not in the vocabulary: %llu",
                     (unsigned long long)it->unknown);
    if (it->err.status == TFM_RECORD) return write_failed(o, group, &it->err, err);
    if (it->err.status != TFM_OK) return tfm_fail(err, it->err.status, "%s", it->err.message);
    /* Raw bytes may yet get a begin token from the model that reads them. */
    if (whole && it->ids.len == 0 && !r->has_tail && o->cli->model != NULL)
        return tfm_fail(err, TFM_TRUNCATED, "%s: the input is empty and gives no token",
                        b->in.name);
    o->unknown += it->unknown;
    TFM_TRY(tfm_cli_write_tokens(o->w, group, &it->ids,
                                 TFM_FLAG_LAST | (flush ? TFM_FLAG_FLUSH : 0u), err));
    o->turn_open = o->opt->turns;
    o->turn_length = (uint32_t)it->ids.len;
    if (o->turn_open) return TFM_OK;
    if (r->has_tail) TFM_TRY(tfm_writer_text(o->w, group, "tail", "\n", 1, err));
    return tfm_writer_group_end(o->w, group, (uint32_t)it->ids.len, TFM_END_OPEN, err);
}

tfm_status output_batch(output *o, const batch *b, tfm_error *err) {
    tfm_status st = tokenize(o, b, err);
    if (b->n > o->n_used) o->n_used = b->n;
    for (size_t i = 0; i < b->n && st == TFM_OK; i++, o->record++) {
        if (o->record < o->opt->first) continue;
        if (o->record >= TFM_GROUP_ALL)
            st = tfm_fail(err, TFM_LIMIT, "more than %u records", TFM_GROUP_ALL);
        else
            st = write_group(o, b, i, o->opt->turns ? 0 : (uint32_t)o->record, err);
    }
    for (size_t i = 0; i < b->n; i++) {
        json_decref(o->json[i]);
        o->json[i] = NULL;
    }
    /* What has been read goes on before the next read may block. */
    return st == TFM_OK ? tfm_writer_flush(o->w, err) : st;
}

tfm_status output_end(output *o, tfm_error *err) {
    if (!o->turn_open) return TFM_OK;
    return tfm_writer_group_end(o->w, 0, o->turn_length, TFM_END_OPEN, err);
}

void output_close(output *o) {
    for (size_t i = 0; i < o->n_used; i++) tfm_ids_free(&o->item[i].ids);
}
