/* json.c - the line of a JSONL group: the source line's own bytes, with the result put in before
 * its last brace. It is parsed only to be sure that it is an object that lacks the keys of the
 * result (a key twice is read by every program as it likes): numbers, key order and spacing
 * stay. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "detok.h"

/* A JSON string. Bytes that are no UTF-8 cannot stand in JSON: U+FFFD stands for each. */
static tfm_status add_string(groups *g, const char *s, size_t n, tfm_error *err) {
    bytes *out = &g->out;
    size_t valid = 0; /* s[i..valid) is UTF-8 */
    TFM_TRY(bytes_add(out, "\"", 1, err));
    for (size_t i = 0; i < n;) {
        size_t run = 0;
        if (i >= valid) valid = i + tfm_text_span(s + i, n - i);
        while (i + run < valid && (unsigned char)s[i + run] >= 0x20 && s[i + run] != '"' &&
               s[i + run] != '\\')
            run++;
        TFM_TRY(bytes_add(out, s + i, run, err));
        i += run;
        if (i == n) break;
        char escape[8];
        unsigned char c = (unsigned char)s[i++];
        if (i > valid) {
            g->n_broken++;
            TFM_TRY(bytes_str(out, "\xef\xbf\xbd", err));
            continue;
        }
        if (c == '"' || c == '\\')
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n')
            snprintf(escape, sizeof escape, "\\n");
        else if (c == '\t')
            snprintf(escape, sizeof escape, "\\t");
        else if (c == '\r')
            snprintf(escape, sizeof escape, "\\r");
        else
            snprintf(escape, sizeof escape, "\\u%04x", c);
        TFM_TRY(bytes_str(out, escape, err));
    }
    return bytes_add(out, "\"", 1, err);
}

/* Would the result give the object a key twice? */
static bool has_key(const groups *g, const group *gr, const json_t *object) {
    if (g->samples > 1 && json_object_get(object, "sample")) return true;
    if (gr->failed) return json_object_get(object, "error") != NULL;
    return json_object_get(object, "output") || json_object_get(object, "finish");
}

/* *brace: where the last brace of the object is; the line's length if it is no JSON object, or has
 * no room for the result. */
static tfm_status last_brace(groups *g, const group *gr, const bytes *line, size_t *brace,
                             bool *is_empty, tfm_error *err) {
    json_t *json;
    *brace = line->len;
    /* Of numbers nothing is wanted: one of more than 64 bits does no harm as a real. */
    const size_t flags = JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL;
    tfm_status st = tfm_cli_json(&json, line->data, line->len, flags, NULL, err);
    if (st == TFM_NOMEM) return st;
    if (json_is_object(json) && has_key(g, gr, json)) {
        g->n_taken++;
    } else if (json_is_object(json)) {
        *is_empty = json_object_size(json) == 0;
        while (line->data[--*brace] != '}') continue;
    }
    json_decref(json);
    return TFM_OK;
}

static tfm_status add_result(groups *g, const group *gr, tfm_error *err) {
    char sample[32];
    if (gr->failed) {
        TFM_TRY(bytes_str(&g->out, "\"error\":", err));
        TFM_TRY(add_string(g, gr->error.data, gr->error.len, err));
    } else {
        TFM_TRY(bytes_str(&g->out, "\"output\":", err));
        TFM_TRY(add_string(g, gr->text.data, gr->text.len, err));
        TFM_TRY(bytes_str(&g->out, ",\"finish\":\"", err));
        TFM_TRY(bytes_str(&g->out, tfm_end_name(gr->how), err));
        TFM_TRY(bytes_add(&g->out, "\"", 1, err));
    }
    if (g->samples <= 1) return TFM_OK;
    snprintf(sample, sizeof sample, ",\"sample\":%u", gr->number % g->samples);
    return bytes_str(&g->out, sample, err);
}

tfm_status json_line(groups *g, const group *gr, const bytes *source, tfm_error *err) {
    bool is_empty = false;
    size_t brace = 0;
    if (source->len) TFM_TRY(last_brace(g, gr, source, &brace, &is_empty, err));
    if (brace < source->len) {
        TFM_TRY(bytes_add(&g->out, source->data, brace, err));
        if (!is_empty) TFM_TRY(bytes_add(&g->out, ",", 1, err));
        TFM_TRY(add_result(g, gr, err));
        TFM_TRY(bytes_add(&g->out, source->data + brace, source->len - brace, err));
        return bytes_add(&g->out, "\n", 1, err);
    }
    /* No object to put it in: a line of our own, so that lines still correspond. */
    TFM_TRY(bytes_add(&g->out, "{", 1, err));
    TFM_TRY(add_result(g, gr, err));
    if (source->len > 0) {
        TFM_TRY(bytes_str(&g->out, ",\"source\":", err));
        TFM_TRY(add_string(g, source->data, source->len, err));
    }
    return bytes_add(&g->out, "}\n", 2, err);
}
