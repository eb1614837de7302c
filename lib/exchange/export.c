/* export.c - streams to files: JSON lines at once, arrays joined, the manifest beside them.
 *
 *     record -- jsonl ----------------------------------------------> line
 *        |
 *        +-- manifest: the line, with the place of the values
 *        +-- part: the rows of one group and name so far -- group ends --> member, spool, npy
 *
 * A part ends with its group, with the stream, or when a record does not continue it (another shape
 * or dtype, a position that is not the next); then a new one begins, whose name gets a number. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exchange/exchange_internal.h"
#include "tfm/group_map.h"

enum { LINES_HELD = 1 << 16 }; /* bytes of JSON lines that gather before they are written */
/* As many as the reader of safetensors takes under its memory bound. */
enum { SAFETENSORS_MAX = 32768 };

typedef struct part {
    struct part *next; /* of the same group */
    uint64_t serial;
    const char *array; /* its name, in the arena */
    tfm_record first;
    uint64_t rows;
    tfm_buf data;
} part;

struct tfm_exporter {
    int fd;
    char *name;
    tfm_export_options o;
    uint64_t n_streams, n_records, n_groups, n_arrays;
    bool is_open;
    tfm_buf lines;         /* jsonl: not written yet; else the manifest */
    tfm_group_map *groups; /* of part lists */
    tfm_arena *arena;
    tfm_names names;
    uint32_t *used; /* [names.n]: how often the name was asked for again */
    size_t cap_used;
    const char *last_array; /* for the message of npy */
    tfm_zip_writer zip;
    tfm_buf entries; /* safetensors: the header's members */
    uint64_t spooled;
};

tfm_exchange tfm_exchange_parse(const char *name) {
    static const char *const names[] = {"", "npy", "npz", "jsonl", "safetensors"};
    for (unsigned i = 1; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0) return (tfm_exchange)i;
    return TFM_EXCHANGE_NONE;
}

tfm_exchange tfm_exchange_of_path(const char *path) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    if (!dot) return TFM_EXCHANGE_NONE;
    if (strcmp(dot, ".json") == 0 || strcmp(dot, ".ndjson") == 0) return TFM_EXCHANGE_JSONL;
    return tfm_exchange_parse(dot + 1);
}

tfm_status tfm_export_new(tfm_exporter **out, int fd, const char *name, const tfm_export_options *o,
                          tfm_error *err) {
    void *p;
    *out = NULL;
    if (o->format == TFM_EXCHANGE_NONE)
        return tfm_fail(err, TFM_USAGE, "%s: no format was chosen", name);
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_exporter), err));
    tfm_exporter *e = p;
    e->fd = fd;
    e->o = *o;
    tfm_status st = tfm_strdup(&e->name, name, err);
    if (st == TFM_OK) st = tfm_group_map_new(&e->groups, err);
    if (st == TFM_OK) st = tfm_arena_new(&e->arena, err);
    if (st != TFM_OK) {
        tfm_export_free(e);
        return st;
    }
    e->zip = (tfm_zip_writer){.fd = fd, .name = e->name};
    *out = e;
    return TFM_OK;
}

static void free_part(part *p) {
    tfm_buf_free(&p->data);
    tfm_free(p);
}

void tfm_export_free(tfm_exporter *e) {
    if (!e) return;
    size_t at = 0;
    for (part *p, *next; e->groups && (p = tfm_group_map_next(e->groups, &at)) != NULL;)
        for (; p; p = next) {
            next = p->next;
            free_part(p);
        }
    tfm_group_map_free(e->groups);
    tfm_arena_free(e->arena);
    tfm_names_free(&e->names);
    tfm_free(e->used);
    tfm_buf_free(&e->lines);
    tfm_buf_free(&e->entries);
    tfm_buf_free(&e->zip.directory);
    tfm_free(e->name);
    tfm_free(e);
}

static tfm_status flush_lines(tfm_exporter *e, size_t above, tfm_error *err) {
    if (e->o.format != TFM_EXCHANGE_JSONL || e->lines.len <= above) return TFM_OK;
    tfm_status st = tfm_fd_write_full(e->fd, e->name, e->lines.data, e->lines.len, err);
    tfm_buf_clear(&e->lines);
    return st;
}

/* ---- names of arrays: [sSTREAM/]gGROUP/NAME[@POSITION][.N] ---- */

/* The record's name with what a path could mean taken out: components "", "." and "..". */
static tfm_status put_name(tfm_buf *b, const char *name, tfm_error *err) {
    do {
        size_t n = strcspn(name, "/");
        bool is_odd = n == 0 || (n <= 2 && strspn(name, ".") >= n);
        TFM_TRY(is_odd ? tfm_buf_byte(b, '_', err) : tfm_buf_add(b, name, n, err));
        name += n;
        if (*name == '/') TFM_TRY(tfm_buf_byte(b, '/', err));
    } while (*name++ == '/');
    return TFM_OK;
}

static tfm_status base_name(const tfm_exporter *e, const tfm_record *rec, tfm_buf *b,
                            tfm_error *err) {
    if (e->n_streams > 1) TFM_TRY(tfm_buf_printf(b, err, "s%" PRIu64 "/", e->n_streams - 1));
    TFM_TRY(tfm_buf_printf(b, err, "g%" PRIu32 "/", rec->group));
    TFM_TRY(put_name(b, rec->name[0] ? rec->name : "tensor", err));
    return e->o.each ? tfm_buf_printf(b, err, "@%" PRIu32, rec->position) : TFM_OK;
}

/* Keeps the name; false in *is_new if it is there already, then *id is its index. */
static tfm_status keep_name(tfm_exporter *e, const tfm_buf *b, const char **out, uint32_t *id,
                            bool *is_new, tfm_error *err) {
    void *p = e->used;
    *id = tfm_names_find(&e->names, b->data, b->len);
    *is_new = *id == TFM_NO_NAME;
    if (!*is_new) return TFM_OK;
    *id = (uint32_t)e->names.n;
    tfm_status st = tfm_grow(&p, &e->cap_used, e->names.n + 1, sizeof *e->used, err);
    e->used = p;
    if (st != TFM_OK) return st;
    e->used[*id] = 0;
    TFM_TRY(tfm_arena_strndup(e->arena, out, b->data, b->len, err));
    return tfm_names_add(&e->names, *out, b->len, *id, err);
}

static tfm_status array_name(tfm_exporter *e, const tfm_record *rec, const char **out,
                             tfm_error *err) {
    tfm_buf b = {0};
    uint32_t id = 0, other;
    bool is_new = false;
    tfm_status st = base_name(e, rec, &b, err);
    size_t base = b.len;
    if (st == TFM_OK) st = keep_name(e, &b, out, &id, &is_new, err);
    while (st == TFM_OK && !is_new) {
        b.len = base;
        st = tfm_buf_printf(&b, err, ".%" PRIu32, ++e->used[id]);
        if (st == TFM_OK) st = keep_name(e, &b, out, &other, &is_new, err);
    }
    tfm_buf_free(&b);
    return st;
}

/* ---- parts ---- */

static tfm_status put_safetensors(tfm_exporter *e, const char *name, const tfm_array *a,
                                  const tfm_buf *data, tfm_error *err) {
    static const char *const dtypes[] = {
        [TFM_EL_F32] = "F32", [TFM_EL_F16] = "F16", [TFM_EL_BF16] = "BF16", [TFM_EL_I8] = "I8",
        [TFM_EL_U8] = "U8",   [TFM_EL_I32] = "I32", [TFM_EL_I64] = "I64"};
    tfm_buf *b = &e->entries;
    if (e->n_arrays > SAFETENSORS_MAX)
        return tfm_fail(err, TFM_LIMIT, "%s: more than %d arrays: use npz", e->name,
                        SAFETENSORS_MAX);
    TFM_TRY(tfm_buf_byte(b, ',', err));
    TFM_TRY(tfm_json_quote(b, name, strlen(name), err));
    TFM_TRY(tfm_buf_printf(b, err, ":{\"dtype\":\"%s\",\"shape\":[", dtypes[a->element]));
    for (unsigned i = 0; i < a->rank; i++)
        TFM_TRY(tfm_buf_printf(b, err, "%s%" PRIu64, i ? "," : "", a->dims[i]));
    TFM_TRY(tfm_buf_printf(b, err, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", e->spooled,
                           e->spooled + data->len));
    e->spooled += data->len;
    return tfm_fd_write_full(e->o.spool, "the temporary file", data->data, data->len, err);
}

static tfm_status put_npy(tfm_exporter *e, const char *name, const tfm_array *a,
                          const tfm_buf *data, tfm_error *err) {
    tfm_buf head = {0}, member = {0};
    tfm_status st = tfm_npy_header(&head, a, err);
    if (st == TFM_OK && e->o.format == TFM_EXCHANGE_NPY) {
        st = tfm_fd_write_full(e->fd, e->name, head.data, head.len, err);
        if (st == TFM_OK) st = tfm_fd_write_full(e->fd, e->name, data->data, data->len, err);
    } else if (st == TFM_OK) {
        st = tfm_buf_printf(&member, err, "%s.npy", name);
        if (st == TFM_OK)
            st = tfm_zip_add(&e->zip, member.data, head.data, head.len, data->len ? data->data : "",
                             data->len, err);
    }
    tfm_buf_free(&head);
    tfm_buf_free(&member);
    return st;
}

/* Writes the array of a part whose rows are complete. */
static tfm_status write_part(tfm_exporter *e, const part *p, tfm_error *err) {
    uint32_t dims[TFM_MAX_RANK];
    tfm_array a;
    memcpy(dims, p->first.dims, sizeof dims);
    if (p->first.rank > 0) dims[0] = (uint32_t)p->rows;
    tfm_array_of_dtype((tfm_dtype)p->first.dtype, p->first.rank, dims, &a);
    return e->o.format == TFM_EXCHANGE_SAFETENSORS ? put_safetensors(e, p->array, &a, &p->data, err)
                                                   : put_npy(e, p->array, &a, &p->data, err);
}

/* Does rec go on where p ends? Block types join by whole rows only. */
static bool continues(const part *p, const tfm_record *rec) {
    const tfm_record *first = &p->first;
    uint32_t block = tfm_dtype_block((tfm_dtype)rec->dtype);
    if (rec->dtype != first->dtype || rec->rank != first->rank || rec->rank == 0) return false;
    if (block > 1 && (rec->rank < 2 || rec->dims[rec->rank - 1] % block != 0)) return false;
    for (unsigned i = 1; i < rec->rank; i++)
        if (rec->dims[i] != first->dims[i]) return false;
    return rec->position == first->position + p->rows && p->rows + rec->dims[0] <= UINT32_MAX &&
           p->data.len + rec->bytes <= TFM_ARRAY_MAX;
}

static tfm_status new_part(tfm_exporter *e, const tfm_record *rec, part **out, tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(part), err));
    part *made = p;
    made->serial = e->n_arrays++;
    made->first = *rec;
    tfm_status st = array_name(e, rec, &made->array, err);
    if (st == TFM_OK && e->o.format == TFM_EXCHANGE_NPY && e->n_arrays > 1)
        st = tfm_fail(err, TFM_LIMIT,
                      "npy holds one tensor, here are %s, %s, ...: choose one by tfm-select, or "
                      "use npz",
                      e->last_array, made->array);
    if (st != TFM_OK) {
        free_part(made);
        return st;
    }
    e->last_array = made->array;
    *out = made;
    return TFM_OK;
}

static tfm_status end_part(tfm_exporter *e, part *p, tfm_error *err) {
    tfm_status st = write_part(e, p, err);
    free_part(p);
    return st;
}

/* Where in the group's list the open part of rec's name is, or the end of the list. */
static part **find_part(part **list, const char *name) {
    while (*list && strcmp((*list)->first.name, name) != 0) list = &(*list)->next;
    return list;
}

/* Appends the tensor to its part; *array and *row say where it went. */
static tfm_status add_tensor(tfm_exporter *e, const tfm_record *rec, const void *payload,
                             const char **array, uint64_t *row, tfm_error *err) {
    void **slot;
    TFM_TRY(tfm_group_map_slot(e->groups, rec->group, &slot, err));
    part *list = *slot, **at = find_part(&list, rec->name), *p = *at;
    tfm_status st = TFM_OK;
    if (p && (e->o.each || !continues(p, rec))) {
        *at = p->next;
        st = end_part(e, p, err);
        p = NULL;
    }
    if (!p && st == TFM_OK) {
        st = new_part(e, rec, &p, err);
        if (p) {
            p->next = list;
            list = p;
        }
    }
    *slot = list;
    if (st != TFM_OK) return st;
    *array = p->array;
    *row = p->rows;
    p->rows += rec->rank > 0 ? rec->dims[0] : 1;
    return tfm_buf_add(&p->data, payload, (size_t)rec->bytes, err);
}

static int by_serial(const void *x, const void *y) {
    const part *a = *(part *const *)x, *b = *(part *const *)y;
    return (a->serial > b->serial) - (a->serial < b->serial);
}

/* Writes the parts of a list in the order in which they began, and frees them. */
static tfm_status end_parts(tfm_exporter *e, part *list, tfm_error *err) {
    size_t n = 0, i = 0;
    void *table = NULL;
    for (part *p = list; p; p = p->next) n++;
    tfm_status st = tfm_alloc(&table, n, sizeof(part *), err);
    part **sorted = table;
    for (part *p = list, *next; p; p = next) {
        next = p->next;
        if (st == TFM_OK)
            sorted[i++] = p;
        else
            free_part(p);
    }
    if (st == TFM_OK) qsort(sorted, n, sizeof *sorted, by_serial);
    for (size_t k = 0; k < i; k++) {
        if (st == TFM_OK)
            st = end_part(e, sorted[k], err);
        else
            free_part(sorted[k]);
    }
    tfm_free(table);
    return st;
}

static tfm_status end_group(tfm_exporter *e, uint32_t group, tfm_error *err) {
    return end_parts(e, tfm_group_map_remove(e->groups, group), err);
}

static tfm_status end_all(tfm_exporter *e, tfm_error *err) {
    tfm_group_map *old = e->groups, *fresh;
    part *all = NULL;
    size_t at = 0;
    TFM_TRY(tfm_group_map_new(&fresh, err));
    e->groups = fresh;
    for (part *p; (p = tfm_group_map_next(old, &at)) != NULL;) {
        part *last = p;
        while (last->next) last = last->next;
        last->next = all;
        all = p;
    }
    tfm_group_map_free(old);
    return end_parts(e, all, err);
}

/* ---- the stream ---- */

tfm_status tfm_export_header(tfm_exporter *e, const tfm_header *h, tfm_error *err) {
    if (e->is_open) return tfm_fail(err, TFM_USAGE, "%s: the stream before has not ended", e->name);
    if (strcmp(tfm_header_kind(h), "model") == 0)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "a model is no stream of results: tfm-convert --to gguf writes it for "
                        "others");
    e->is_open = true;
    e->n_streams++;
    e->n_records = e->n_groups = 0;
    if (e->o.format == TFM_EXCHANGE_NPY) return TFM_OK;
    TFM_TRY(tfm_json_header(&e->lines, h, err));
    return flush_lines(e, 0, err);
}

tfm_status tfm_export_record(tfm_exporter *e, const tfm_record *rec, const void *payload,
                             tfm_error *err) {
    const char *array = NULL;
    uint64_t row = 0;
    if (!e->is_open) return tfm_fail(err, TFM_USAGE, "%s: a record outside a stream", e->name);
    e->n_records++;
    if (rec->type == TFM_REC_GROUP_END) e->n_groups++;
    bool has_arrays = e->o.format != TFM_EXCHANGE_JSONL;
    if (has_arrays && rec->type == TFM_REC_TENSOR)
        TFM_TRY(add_tensor(e, rec, payload, &array, &row, err));
    if (has_arrays && rec->type == TFM_REC_GROUP_END) TFM_TRY(end_group(e, rec->group, err));
    if (e->o.format == TFM_EXCHANGE_NPY) return TFM_OK;
    TFM_TRY(tfm_json_record(&e->lines, rec, payload, e->o.base64, array, row, err));
    return flush_lines(e, rec->flags & TFM_FLAG_FLUSH ? 0 : LINES_HELD, err);
}

tfm_status tfm_export_end(tfm_exporter *e, tfm_error *err) {
    if (!e->is_open) return tfm_fail(err, TFM_USAGE, "%s: no stream is open", e->name);
    e->is_open = false;
    if (e->o.format != TFM_EXCHANGE_JSONL) TFM_TRY(end_all(e, err));
    if (e->o.format == TFM_EXCHANGE_NPY) return TFM_OK;
    TFM_TRY(tfm_json_end(&e->lines, e->n_records, e->n_groups, err));
    return flush_lines(e, 0, err);
}

/* ---- the end of the file ---- */

static tfm_status copy_spool(tfm_exporter *e, tfm_error *err) {
    enum { PIECE = 1 << 18 };
    void *p;
    size_t got = PIECE;
    TFM_TRY(tfm_alloc(&p, PIECE, 1, err));
    tfm_status st = TFM_OK;
    if (lseek(e->o.spool, 0, SEEK_SET) != 0) st = tfm_fail_errno(err, TFM_IO, "the temporary file");
    while (st == TFM_OK && got == PIECE) {
        st = tfm_fd_read_full(e->o.spool, "the temporary file", p, PIECE, &got, err);
        if (st == TFM_OK) st = tfm_fd_write_full(e->fd, e->name, p, got, err);
    }
    tfm_free(p);
    return st;
}

/* The length, {"__metadata__":{"tfm":MANIFEST},ENTRIES} padded by spaces to 8 bytes, the data. */
static tfm_status finish_safetensors(tfm_exporter *e, tfm_error *err) {
    tfm_buf b = {0};
    unsigned char length[8];
    tfm_status st = tfm_buf_add(&b, "\0\0\0\0\0\0\0\0", 8, err);
    if (st == TFM_OK) st = tfm_buf_str(&b, "{\"__metadata__\":{\"" TFM_MANIFEST_KEY "\":", err);
    if (st == TFM_OK) st = tfm_json_quote(&b, e->lines.data, e->lines.len, err);
    if (st == TFM_OK) st = tfm_buf_byte(&b, '}', err);
    if (st == TFM_OK) st = tfm_buf_add(&b, e->entries.data, e->entries.len, err);
    if (st == TFM_OK) st = tfm_buf_byte(&b, '}', err);
    while (st == TFM_OK && b.len % 8 != 0) st = tfm_buf_byte(&b, ' ', err);
    if (st == TFM_OK && b.len > (size_t)100 << 20) /* the format's own limit */
        st = tfm_fail(err, TFM_LIMIT, "%s: a header above 100 MiB: use npz", e->name);
    if (st == TFM_OK) {
        tfm_store_u64(length, b.len - 8);
        memcpy(b.data, length, 8);
        st = tfm_fd_write_full(e->fd, e->name, b.data, b.len, err);
    }
    tfm_buf_free(&b);
    return st == TFM_OK ? copy_spool(e, err) : st;
}

tfm_status tfm_export_finish(tfm_exporter *e, tfm_error *err) {
    if (e->is_open) return tfm_fail(err, TFM_USAGE, "%s: the stream has not ended", e->name);
    switch (e->o.format) {
    case TFM_EXCHANGE_NPY:
        return e->n_arrays > 0 ? TFM_OK
                               : tfm_fail(err, TFM_NOTFOUND, "there is no tensor for an npy");
    case TFM_EXCHANGE_NPZ:
        TFM_TRY(tfm_zip_add(&e->zip, TFM_MANIFEST_MEMBER, "", 0, e->lines.data, e->lines.len, err));
        return tfm_zip_finish(&e->zip, err);
    case TFM_EXCHANGE_SAFETENSORS: return finish_safetensors(e, err);
    default: return flush_lines(e, 0, err);
    }
}
