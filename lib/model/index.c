/* index.c - the INDEX of model.bin: its lines, and whether the records of a stream are those it
 * names.
 *
 * A model is opened by its INDEX and the heads of its tensor records are not looked at (container.c
 * says why); so a file can be a good stream, CRC by CRC, whose weights are not where the INDEX has
 * them. tfm_index_check finds that in one pass over the stream, also out of a pipe. */
#include <stdio.h>
#include <string.h>

#include "model/container_internal.h"
#include "model/names_internal.h"

/* ---- lines ---- */

/* Cuts the next field off *at, which ends at `sep`; NULL if there is none before the line's end. */
static char *cut(char **at, char sep) {
    char *start = *at;
    char *end = start + strcspn(start, " \n");
    if (*end != sep || end == start) return NULL;
    *end = '\0';
    *at = end + 1;
    return start;
}

static bool number(char **at, char sep, uint64_t hi, uint64_t *out) {
    const char *text = cut(at, sep);
    return text && text[0] >= '0' && text[0] <= '9' && tfm_parse_u64(text, 0, hi, out);
}

bool tfm_index_line(char **at, tfm_tensor *t, uint64_t *offset) {
    const char *dtype, *layout;
    uint64_t v;
    for (unsigned i = 0; i < TFM_MAX_RANK; i++) t->dims[i] = 1;
    if (!(t->name = cut(at, ' ')) || !(dtype = cut(at, ' ')) || !(layout = cut(at, ' ')))
        return false;
    if ((t->dtype = tfm_dtype_parse(dtype)) == TFM_DTYPE_NONE) return false;
    if (!tfm_layout_parse(layout, &t->layout)) return false;
    if (!number(at, ' ', TFM_MAX_RANK, &v)) return false;
    t->rank = (unsigned)v;
    for (unsigned i = 0; i < t->rank; i++) {
        if (!number(at, ' ', UINT32_MAX, &v)) return false;
        t->dims[i] = (uint32_t)v;
    }
    return number(at, ' ', UINT64_MAX, offset) && number(at, '\n', UINT64_MAX, &t->bytes);
}

tfm_status tfm_index_copy(char **copy, const void *text, uint64_t n, size_t *lines,
                          tfm_error *err) {
    *lines = 0;
    if (n == 0 || n > TFM_INDEX_MAX)
        return tfm_fail(err, TFM_LIMIT, "an index of %llu bytes (1 to %u are possible)",
                        (unsigned long long)n, TFM_INDEX_MAX);
    TFM_TRY(tfm_strndup(copy, text, (size_t)n, err));
    if (strlen(*copy) != n || (*copy)[n - 1] != '\n')
        return tfm_fail(err, TFM_FORMAT, "the index is no text");
    for (const char *s = *copy; (s = strchr(s, '\n')) != NULL; s++) ++*lines;
    if (*lines > TFM_MAX_TENSORS)
        return tfm_fail(err, TFM_LIMIT, "%zu tensors, at most %u are possible", *lines,
                        TFM_MAX_TENSORS);
    return TFM_OK;
}

/* ---- index and records ---- */

struct tfm_index_check {
    uint64_t start; /* offset of the header */
    bool has_description;
    char *text; /* the INDEX, or NULL */
    char *at;   /* the next line */
    size_t n_lines, n_taken;
    tfm_names names;
};

tfm_status tfm_index_check_new(tfm_index_check **out, uint64_t start, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_index_check), err));
    *out = p;
    (*out)->start = start;
    return TFM_OK;
}

void tfm_index_check_free(tfm_index_check *c) {
    if (!c) return;
    tfm_names_free(&c->names);
    tfm_free(c->text);
    tfm_free(c);
}

/* What stands in front of the tensors: the description, then the INDEX. */
static tfm_status take_first(tfm_index_check *c, const tfm_record *rec, const void *payload,
                             tfm_error *err) {
    const bool is_index = c->has_description;
    const char *want = is_index ? TFM_INDEX_NAME : TFM_DESCRIPTION_NAME;
    if (rec->type != (is_index ? TFM_REC_INDEX : TFM_REC_META) || strcmp(rec->name, want) != 0)
        return tfm_fail(err, TFM_FORMAT, "record %u ('%s') stands where a model has its %s",
                        rec->seq, rec->name, want);
    c->has_description = true;
    if (!is_index) return TFM_OK;
    TFM_TRY(tfm_index_copy(&c->text, payload, rec->bytes, &c->n_lines, err));
    c->at = c->text;
    return tfm_names_reserve(&c->names, c->n_lines, err);
}

static void dims_text(char out[64], unsigned rank, const uint32_t *dims) {
    size_t n = 0;
    out[0] = '\0';
    for (unsigned i = 0; i < rank; i++)
        n += (size_t)snprintf(out + n, 64 - n, "%s%u", i ? "x" : "", dims[i]);
}

static tfm_status compare(const tfm_tensor *t, uint64_t offset, const tfm_record *rec,
                          uint64_t payload_at, tfm_error *err) {
    uint32_t stored[TFM_MAX_RANK];
    char want[64], got[64];
    if (strcmp(t->name, rec->name) != 0)
        return tfm_fail(err, TFM_FORMAT, "tensor %s stands where the index has %s", rec->name,
                        t->name);
    TFM_TRY(tfm_tensor_check(t, err));
    TFM_TRY(tfm_stored_dims(t, stored, err));
    if (rec->dtype != t->dtype || rec->rank != t->rank ||
        memcmp(rec->dims, stored, sizeof stored) != 0) {
        dims_text(want, t->rank, stored);
        dims_text(got, rec->rank, rec->dims);
        return tfm_fail(err, TFM_FORMAT, "tensor %s is %s %s, in the index %s %s", t->name,
                        tfm_dtype_name((tfm_dtype)rec->dtype), got, tfm_dtype_name(t->dtype), want);
    }
    if (offset != payload_at)
        return tfm_fail(err, TFM_FORMAT, "tensor %s is at byte %llu, in the index at %llu", t->name,
                        (unsigned long long)payload_at, (unsigned long long)offset);
    return TFM_OK;
}

tfm_status tfm_index_check_record(tfm_index_check *c, const tfm_record *rec, uint64_t payload_at,
                                  const void *payload, tfm_error *err) {
    tfm_tensor t = {0};
    uint64_t offset;
    if (rec->type & TFM_REC_ANCILLARY) return TFM_OK;
    if (c->text == NULL) return take_first(c, rec, payload, err);
    if (rec->type != TFM_REC_TENSOR)
        return tfm_fail(err, TFM_FORMAT, "record %u ('%s') is of type %u, no tensor", rec->seq,
                        rec->name, rec->type);
    if (c->n_taken == c->n_lines)
        return tfm_fail(err, TFM_FORMAT, "tensor %s is not in the index", rec->name);
    c->n_taken++;
    if (!tfm_index_line(&c->at, &t, &offset))
        return tfm_fail(err, TFM_FORMAT, "the index is wrong in line %zu", c->n_taken);
    TFM_TRY(tfm_names_add(&c->names, t.name, strlen(t.name), (uint32_t)c->n_taken, err));
    return compare(&t, offset, rec, payload_at - c->start, err);
}

tfm_status tfm_index_check_end(tfm_index_check *c, tfm_error *err) {
    tfm_tensor t = {0};
    uint64_t offset;
    if (c->text == NULL)
        return tfm_fail(err, TFM_FORMAT, "a model without %s",
                        c->has_description ? "an index" : "a description");
    if (c->n_taken == c->n_lines) return TFM_OK;
    if (!tfm_index_line(&c->at, &t, &offset))
        return tfm_fail(err, TFM_FORMAT, "the index is wrong in line %zu", c->n_taken + 1);
    return tfm_fail(err, TFM_FORMAT, "tensor %s of the index is not there", t.name);
}
