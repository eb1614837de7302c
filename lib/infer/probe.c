/* probe.c - what a probe asks for: globs, and the rows of the files it was given.
 *
 * Owns the lists and what was read. Names are only looked up when there is a graph (probe_graph.c);
 * until then a file is rows under a name. Of files whose mean counts only sums are kept, so that
 * the taps of a whole corpus may be one.
 */
#include <stdlib.h>
#include <string.h>

#include "infer/probe_internal.h"

#define MAX_NAMES 8192u /* different names in one file */

tfm_status tfm_probe_new(tfm_probe **out, tfm_error *err) {
    *out = NULL;
    TFM_TRY(tfm_alloc((void **)out, 1, sizeof **out, err));
    (*out)->to = UINT32_MAX;
    return TFM_OK;
}

static void table_free(probe_table *t) {
    for (size_t i = 0; i < t->n; i++) {
        tfm_free(t->entry[i].name);
        tfm_free(t->entry[i].sum);
        tfm_free(t->entry[i].row);
        tfm_free(t->entry[i].data);
    }
    tfm_free(t->entry);
}

static void list_free(char **list, size_t n) {
    for (size_t i = 0; i < n; i++) tfm_free(list[i]);
    tfm_free(list);
}

void tfm_probe_free(tfm_probe *p) {
    if (!p) return;
    list_free(p->tap.glob, p->tap.n);
    list_free(p->ablate.glob, p->ablate.n);
    list_free(p->skip.glob, p->skip.n);
    table_free(&p->mean);
    table_free(&p->patch);
    for (size_t i = 0; i < p->n_steer; i++) table_free(&p->steer[i].table);
    tfm_free(p->steer);
    list_free(p->file, p->n_files);
    tfm_free(p);
}

static tfm_status add_text(char ***list, size_t *n, size_t *cap, const char *text, tfm_error *err) {
    TFM_TRY(tfm_grow((void **)list, cap, *n + 1, sizeof **list, err));
    TFM_TRY(tfm_strdup(&(*list)[*n], text, err));
    ++*n;
    return TFM_OK;
}

static tfm_status add_glob(probe_globs *g, const char *glob, tfm_error *err) {
    return add_text(&g->glob, &g->n, &g->cap, glob, err);
}

tfm_status tfm_probe_tap(tfm_probe *p, const char *glob, tfm_error *err) {
    return add_glob(&p->tap, glob, err);
}
tfm_status tfm_probe_ablate(tfm_probe *p, const char *glob, tfm_error *err) {
    return add_glob(&p->ablate, glob, err);
}
tfm_status tfm_probe_skip(tfm_probe *p, const char *glob, tfm_error *err) {
    return add_glob(&p->skip, glob, err);
}

void tfm_probe_positions(tfm_probe *p, uint32_t first, uint32_t last) {
    p->from = first;
    p->to = last;
}

/* ---- files ---- */

/* The entry of that name; taps of a model come in the same order at every position, so the one
 * behind the last is looked at first. */
static tfm_status entry_of(probe_table *t, const char *name, const char *file, uint32_t width,
                           probe_rows **out, tfm_error *err) {
    for (size_t i = 0; i < t->n; i++) {
        size_t at = (t->last + 1 + i) % t->n;
        if (strcmp(t->entry[at].name, name) != 0) continue;
        t->last = at;
        *out = &t->entry[at];
        if ((*out)->width != width) (*out)->width = 0; /* matters only if the name is asked for */
        return TFM_OK;
    }
    if (t->n == MAX_NAMES)
        return tfm_fail(err, TFM_LIMIT, "%s: more than %u different names", file, MAX_NAMES);
    TFM_TRY(tfm_grow((void **)&t->entry, &t->cap, t->n + 1, sizeof *t->entry, err));
    probe_rows *e = &t->entry[t->n];
    *e = (probe_rows){.file = file, .width = width};
    TFM_TRY(tfm_strdup(&e->name, name, err));
    t->last = t->n++;
    *out = e;
    return tfm_alloc((void **)&e->sum, width, sizeof *e->sum, err);
}

static void add_sums(probe_rows *e, const float *x, uint32_t n) {
    for (uint32_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < e->width; i++) e->sum[i] += (double)x[(size_t)r * e->width + i];
    e->count += n;
}

static tfm_status add_rows(probe_rows *e, const tfm_record *rec, const float *x, uint32_t n,
                           uint32_t width, tfm_error *err) {
    size_t have = (size_t)e->count, more;

    if (!tfm_mul_size(n, width, &more) || more > SIZE_MAX - e->n_data)
        return tfm_fail(err, TFM_NOMEM, "%s: too many rows", e->file);
    TFM_TRY(tfm_grow((void **)&e->row, &e->row_cap, have + n, sizeof *e->row, err));
    TFM_TRY(tfm_grow((void **)&e->data, &e->data_cap, e->n_data + more, sizeof *e->data, err));
    memcpy(e->data + e->n_data, x, more * sizeof *x);
    e->n_data += more;
    for (uint32_t r = 0; r < n; r++)
        e->row[have + r] =
            (tfm_edit_row){.group = rec->group, .position = rec->position + r, .width = width};
    e->count += n;
    return TFM_OK;
}

static tfm_status take_record(probe_table *t, const char *file, const tfm_record *rec,
                              const void *payload, bool keep_rows, tfm_buf *scratch,
                              tfm_error *err) {
    uint32_t n = rec->rank > 1 ? rec->dims[0] : 1;
    size_t width = 1;
    probe_rows *e = NULL;

    if (rec->rank == 0 ||
        (rec->dtype != TFM_F32 && rec->dtype != TFM_F16 && rec->dtype != TFM_BF16))
        return tfm_fail(err, TFM_MISMATCH, "%s: record %u, %s: %s of rank %u is no row of floats",
                        file, rec->seq, rec->name, tfm_dtype_name((tfm_dtype)rec->dtype),
                        rec->rank);
    for (unsigned i = rec->rank > 1 ? 1 : 0; i < rec->rank; i++) width *= rec->dims[i];
    if (n == 0 || width == 0) return TFM_OK; /* width <= payload limit: the reader has checked */
    tfm_buf_clear(scratch);
    TFM_TRY(tfm_buf_reserve(scratch, n * width * sizeof(float), err));
    float *x = (float *)(void *)scratch->data;
    TFM_TRY(tfm_to_f32((tfm_dtype)rec->dtype, payload, n * width, x, err));
    TFM_TRY(entry_of(t, rec->name, file, (uint32_t)width, &e, err));
    if (keep_rows) return add_rows(e, rec, x, n, (uint32_t)width, err);
    if (e->width == 0) return TFM_OK;
    add_sums(e, x, n);
    return TFM_OK;
}

static tfm_status read_records(tfm_probe *p, probe_table *t, tfm_reader *r, const char *name,
                               bool keep_rows, tfm_error *err) {
    tfm_buf scratch = {0};
    const void *payload;
    const char *file;
    tfm_record rec;
    tfm_status st = add_text(&p->file, &p->n_files, &p->file_cap, name, err);

    if (st != TFM_OK) return st;
    file = p->file[p->n_files - 1];
    while ((st = tfm_reader_stream(r, err)) == TFM_OK) {
        if (strcmp(tfm_header_kind(tfm_reader_header(r)), "model") == 0) {
            st = tfm_fail(err, TFM_MISMATCH, "%s: a model, no stream of values", file);
            break;
        }
        while ((st = tfm_reader_next(r, &rec, err)) == TFM_OK) {
            if (rec.type != TFM_REC_TENSOR) continue;
            if ((st = tfm_reader_payload(r, &payload, err)) != TFM_OK) break;
            st = take_record(t, file, &rec, payload, keep_rows, &scratch, err);
            if (st != TFM_OK) break;
        }
        if (st != TFM_DONE) break;
    }
    tfm_buf_free(&scratch);
    if (st != TFM_DONE) return st;
    return t->n ? TFM_OK : tfm_fail(err, TFM_MISMATCH, "%s: holds no tensor", file);
}

tfm_status tfm_probe_mean(tfm_probe *p, tfm_reader *r, const char *name, tfm_error *err) {
    p->has_mean = true;
    return read_records(p, &p->mean, r, name, false, err);
}

tfm_status tfm_probe_patch(tfm_probe *p, tfm_reader *r, const char *name, tfm_error *err) {
    return read_records(p, &p->patch, r, name, true, err);
}

static int by_place(const void *key, const void *row) {
    const tfm_edit_row *x = key, *y = row;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static bool meets(const probe_rows *r, const tfm_batch *b) {
    for (uint32_t s = 0; s < b->n_seqs; s++)
        for (uint32_t i = b->row_start[s]; i < b->row_start[s + 1]; i++) {
            const tfm_edit_row key = {.group = b->group ? b->group[s] : 0,
                                      .position = b->position[i]};
            if (bsearch(&key, r->row, (size_t)r->count, sizeof *r->row, by_place)) return true;
        }
    return false;
}

void tfm_probe_meet(tfm_probe *p, const tfm_batch *b) {
    for (size_t i = 0; i < p->patch.n; i++) {
        probe_rows *r = &p->patch.entry[i];
        if (r->is_used && !r->met) r->met = meets(r, b);
    }
}

bool tfm_probe_unmet(const tfm_probe *p, const char **file, const char **name) {
    for (size_t i = 0; i < p->patch.n; i++) {
        const probe_rows *r = &p->patch.entry[i];
        if (!r->is_used || r->met) continue;
        *file = r->file;
        *name = r->name;
        return true;
    }
    return false;
}

tfm_status tfm_probe_steer(tfm_probe *p, tfm_reader *r, const char *name, double scale,
                           tfm_error *err) {
    TFM_TRY(tfm_grow((void **)&p->steer, &p->steer_cap, p->n_steer + 1, sizeof *p->steer, err));
    probe_steer *s = &p->steer[p->n_steer++];
    *s = (probe_steer){.scale = scale};
    TFM_TRY(read_records(p, &s->table, r, name, false, err));
    for (size_t i = 0; i < s->table.n; i++)
        if (s->table.entry[i].count != 1)
            return tfm_fail(err, TFM_MISMATCH, "%s: %s has %llu rows; one is wanted", name,
                            s->table.entry[i].name, (unsigned long long)s->table.entry[i].count);
    return TFM_OK;
}
