/* import.c - files to streams: JSON lines as they come, arrays through their manifest, or plain.
 *
 *     bytes -- sniff --+-- JSON lines ------------------------------+--> header, records
 *                      +-- npz, safetensors: arrays + manifest -----+
 *                      +-- npy, or arrays without a manifest: plain.c
 *
 * A stream that began with a header line must end with an end line whose counts are right: a file
 * that was cut is noticed. Lines of records alone (made by jq, say) are a stream of the kind asked
 * for, that ends with the file; its groups are then ended here, and tensors without flags are the
 * last of their turn. */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "exchange/exchange_internal.h"
#include "model/json_internal.h"
#include "tfm/group_map.h"

enum { READ_STEP = 1 << 16, LINE_BYTES = 128 << 20 }; /* 16 MiB of f32 are some 70 MiB of text */

/* Groups that were begun and must be ended here, in the order in which they began. */
typedef struct open_group {
    uint32_t group;
    bool has_ended;
    uint64_t length;
} open_group;

struct tfm_importer {
    tfm_import_options o;
    int fd;
    char *name;
    tfm_exchange format;
    /* lines: of the descriptor (in), or of a manifest (text) */
    tfm_buf in;
    size_t at, searched; /* in in.data: the next line; what was looked at for its end */
    bool is_at_end;
    const char *text;
    size_t n_text;
    uint64_t n_lines;
    tfm_json_item item;
    bool has_item; /* read ahead */
    /* the stream */
    tfm_header *header;
    bool is_open, is_bare; /* bare: without a header line */
    bool any_stream;
    uint64_t n_records, n_groups;
    /* a file of arrays */
    const unsigned char *file;
    uint64_t n_file;
    void *map;
    tfm_zip zip;
    tfm_safetensors st;
    tfm_array *array;
    size_t n_arrays;
    tfm_names names;
    char **array_names; /* [n_arrays], or NULL where they are borrowed */
    bool is_plain;
    tfm_plain plain;
    /* groups that are ended here */
    open_group *open;
    size_t n_open, cap_open, next_end;
    tfm_group_map *open_at; /* group to index + 1 */
};

void tfm_import_free(tfm_importer *im) {
    if (!im) return;
    tfm_json_item_clear(&im->item);
    tfm_buf_free(&im->item.payload);
    tfm_header_free(im->header);
    tfm_zip_close(&im->zip);
    if (im->st.tree) tfm_safetensors_close(&im->st);
    for (size_t i = 0; im->array_names && i < im->n_arrays; i++) tfm_free(im->array_names[i]);
    tfm_free(im->array_names);
    tfm_free(im->array);
    tfm_names_free(&im->names);
    tfm_plain_close(&im->plain);
    if (im->map) munmap(im->map, (size_t)im->n_file);
    tfm_buf_free(&im->in);
    tfm_free(im->open);
    tfm_group_map_free(im->open_at);
    tfm_free(im->name);
    tfm_free(im);
}

/* ---- the bytes ---- */

static tfm_status read_more(tfm_importer *im, tfm_error *err) {
    size_t got;
    TFM_TRY(tfm_buf_reserve(&im->in, READ_STEP, err));
    TFM_TRY(tfm_fd_read_some(im->fd, im->name, im->in.data + im->in.len, READ_STEP, &got, err));
    im->in.len += got;
    im->is_at_end = got == 0;
    return TFM_OK;
}

/* All of a file that is no JSON lines: mapped if it is regular, read otherwise. */
static tfm_status take_file(tfm_importer *im, tfm_error *err) {
    struct stat info;
    if (fstat(im->fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
        (uint64_t)info.st_size >= im->in.len) {
        void *p = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, im->fd, 0);
        /* The descriptor may not have stood at the beginning of its file. */
        if (p != MAP_FAILED && memcmp(p, im->in.data, im->in.len) == 0) {
            im->map = p;
            im->file = p;
            im->n_file = (uint64_t)info.st_size;
            return TFM_OK;
        }
        if (p != MAP_FAILED) munmap(p, (size_t)info.st_size);
    }
    while (!im->is_at_end) TFM_TRY(read_more(im, err));
    im->file = (const unsigned char *)im->in.data;
    im->n_file = im->in.len;
    return TFM_OK;
}

static tfm_exchange sniff(const unsigned char *p, size_t n) {
    size_t i = 0;
    if (n >= 6 && memcmp(p, "\x93NUMPY", 6) == 0) return TFM_EXCHANGE_NPY;
    if (n >= 4 && (memcmp(p, "PK\3\4", 4) == 0 || memcmp(p, "PK\5\6", 4) == 0))
        return TFM_EXCHANGE_NPZ;
    if (n >= 9 && p[8] == '{' && tfm_load_u64(p) < (uint64_t)1 << 32)
        return TFM_EXCHANGE_SAFETENSORS;
    while (i < n && (p[i] == ' ' || p[i] == '\n' || p[i] == '\t' || p[i] == '\r')) i++;
    return i < n && p[i] == '{' ? TFM_EXCHANGE_JSONL : TFM_EXCHANGE_NONE;
}

/* ---- arrays ---- */

static tfm_status alloc_arrays(tfm_importer *im, size_t n, tfm_error *err) {
    void *p;
    TFM_TRY(tfm_alloc(&p, n, sizeof *im->array, err));
    im->array = p;
    TFM_TRY(tfm_alloc(&p, n, sizeof *im->array_names, err));
    im->array_names = p;
    return TFM_OK;
}

static tfm_status name_array(tfm_importer *im, const char *name, size_t n, tfm_error *err) {
    char **copy = &im->array_names[im->n_arrays];
    TFM_TRY(tfm_strndup(copy, name, n, err));
    im->array[im->n_arrays].name = *copy;
    uint32_t index = (uint32_t)im->n_arrays++;
    return tfm_names_add(&im->names, *copy, n, index, err);
}

/* The manifest, as we write it or as NumPy writes the bytes that it read: a scalar of type S. */
static bool take_manifest(tfm_importer *im, const tfm_zip_member *m, const tfm_array *a) {
    const unsigned char *p = m->data;
    size_t n = (size_t)m->size;
    if (strcmp(m->name, TFM_MANIFEST_MEMBER ".npy") == 0 && a && a->element == TFM_EL_TEXT &&
        a->count == 1) {
        p = a->data;
        n = (size_t)a->bytes;
    } else if (strcmp(m->name, TFM_MANIFEST_MEMBER) != 0) {
        return false;
    }
    im->text = (const char *)p;
    im->n_text = n;
    return true;
}

static tfm_status open_member(tfm_importer *im, size_t i, tfm_error *err) {
    const tfm_zip_member *m = &im->zip.member[i];
    size_t n = strlen(m->name);
    tfm_array a;
    bool is_npy = n > 4 && strcmp(m->name + n - 4, ".npy") == 0;
    TFM_TRY(tfm_zip_data(&im->zip, i, err));
    if (is_npy) {
        tfm_status st = tfm_npy_parse(&a, m->data, m->size, err);
        if (st != TFM_OK) return tfm_error_prefix(err, st, "%s", m->name);
    }
    if (take_manifest(im, m, is_npy ? &a : NULL)) return TFM_OK;
    if (!is_npy) return TFM_OK; /* of another program: passed over */
    im->array[im->n_arrays] = a;
    return name_array(im, m->name, n - 4, err);
}

static tfm_status open_npz(tfm_importer *im, tfm_error *err) {
    TFM_TRY(tfm_zip_open(&im->zip, im->file, im->n_file, err));
    TFM_TRY(alloc_arrays(im, im->zip.n_members, err));
    for (size_t i = 0; i < im->zip.n_members; i++) TFM_TRY(open_member(im, i, err));
    return TFM_OK;
}

static tfm_status open_npy(tfm_importer *im, tfm_error *err) {
    TFM_TRY(alloc_arrays(im, 1, err));
    TFM_TRY(tfm_npy_parse(&im->array[0], im->file, im->n_file, err));
    im->n_arrays = 1;
    return TFM_OK;
}

static tfm_status open_safetensors(tfm_importer *im, tfm_error *err) {
    TFM_TRY(tfm_safetensors_open(&im->st, im->file, im->n_file, "header", err));
    TFM_TRY(alloc_arrays(im, im->st.n, err));
    for (size_t i = 0; i < im->st.n; i++) {
        const tfm_safetensors_entry *e = &im->st.entry[i];
        tfm_array *a = &im->array[im->n_arrays];
        uint64_t count = 0;
        bool is_sized = tfm_dims_count(e->t.rank, e->t.dims, &count);
        tfm_array_of_dtype(e->t.dtype, e->t.rank, e->t.dims, a);
        if (!is_sized || !tfm_mul_u64(count, a->element_bytes, &a->bytes) || a->bytes != e->t.bytes)
            return tfm_fail(err, TFM_FORMAT, "tensor %s: its shape and its data_offsets disagree",
                            e->name);
        a->data = e->t.data;
        TFM_TRY(name_array(im, e->name, strlen(e->name), err));
    }
    const json_t *kept = json_object_get(im->st.tree, "__metadata__");
    im->text = tfm_json_text(kept, TFM_MANIFEST_KEY, &im->n_text);
    return TFM_OK;
}

static tfm_status open_arrays(tfm_importer *im, tfm_error *err) {
    tfm_status st = take_file(im, err);
    if (st == TFM_OK && im->format == TFM_EXCHANGE_NPZ) st = open_npz(im, err);
    if (st == TFM_OK && im->format == TFM_EXCHANGE_NPY) st = open_npy(im, err);
    if (st == TFM_OK && im->format == TFM_EXCHANGE_SAFETENSORS) st = open_safetensors(im, err);
    /* Whoever says a kind means the arrays, not what they once were. */
    im->is_plain = !im->text || im->o.kind != NULL;
    if (st == TFM_OK && im->is_plain)
        st = tfm_plain_open(&im->plain, &im->o, im->array, im->n_arrays, err);
    return st == TFM_OK ? TFM_OK : tfm_error_prefix(err, st, "%s", im->name);
}

static tfm_status open_input(tfm_importer *im, tfm_error *err) {
    while (im->in.len < 16 && !im->is_at_end) TFM_TRY(read_more(im, err));
    if (im->in.len == 0)
        return tfm_fail(err, TFM_TRUNCATED,
                        "%s: no byte at all: the program before failed, or "
                        "the file is empty",
                        im->name);
    const unsigned char *p = (const unsigned char *)im->in.data;
    im->format = im->o.format ? im->o.format : sniff(p, im->in.len);
    if (im->format == TFM_EXCHANGE_NONE)
        return tfm_fail(err, TFM_FORMAT, "%s: %s", im->name,
                        im->in.len > 8 && memcmp(p, "TFMSTRM1", 8) == 0
                            ? "is a tensor stream already"
                            : "neither npy, npz, JSON lines nor safetensors");
    return im->format == TFM_EXCHANGE_JSONL ? TFM_OK : open_arrays(im, err);
}

tfm_status tfm_import_new(tfm_importer **out, int fd, const char *name, const tfm_import_options *o,
                          tfm_error *err) {
    void *p;
    *out = NULL;
    TFM_TRY(tfm_alloc(&p, 1, sizeof(tfm_importer), err));
    tfm_importer *im = p;
    im->fd = fd;
    im->o = *o;
    tfm_status st = tfm_strdup(&im->name, name, err);
    if (st == TFM_OK) st = tfm_group_map_new(&im->open_at, err);
    if (st == TFM_OK) st = open_input(im, err);
    if (st != TFM_OK) {
        tfm_import_free(im);
        return st;
    }
    *out = im;
    return TFM_OK;
}

/* ---- lines ---- */

static tfm_status next_text_line(tfm_importer *im, const char **line, size_t *n) {
    if (im->n_text == 0) return TFM_DONE;
    const char *end = memchr(im->text, '\n', im->n_text);
    *line = im->text;
    *n = end ? (size_t)(end - im->text) : im->n_text;
    size_t all = end ? *n + 1 : *n;
    im->text += all;
    im->n_text -= all;
    return TFM_OK;
}

/* The next line, without its newline, borrowed until the next call. */
static tfm_status next_line(tfm_importer *im, const char **line, size_t *n, tfm_error *err) {
    if (im->format != TFM_EXCHANGE_JSONL) return next_text_line(im, line, n);
    const char *end;
    while ((end = im->searched < im->in.len
                      ? memchr(im->in.data + im->searched, '\n', im->in.len - im->searched)
                      : NULL) == NULL &&
           !im->is_at_end) {
        im->searched = im->in.len;
        if (im->at > 0) { /* what was read goes, so that only one line is held */
            memmove(im->in.data, im->in.data + im->at, im->in.len - im->at);
            im->in.len -= im->at;
            im->searched -= im->at;
            im->at = 0;
        }
        if (im->in.len > LINE_BYTES)
            return tfm_fail(err, TFM_LIMIT, "a line of more than %d bytes", LINE_BYTES);
        TFM_TRY(read_more(im, err));
    }
    *line = im->in.data + im->at;
    *n = end ? (size_t)(end - *line) : im->in.len - im->at;
    if (!end && *n == 0) return TFM_DONE;
    im->at = im->searched = im->at + *n + (end ? 1 : 0);
    return TFM_OK;
}

/* "stdin: line 3: what" */
static tfm_status in_line(const tfm_importer *im, tfm_status st, tfm_error *err) {
    return tfm_error_prefix(err, st, "%s: %s %" PRIu64, im->name,
                            im->format == TFM_EXCHANGE_JSONL ? "line" : "manifest, line",
                            im->n_lines);
}

/* Reads the next item; lines of blanks are passed over. TFM_DONE: there is none. */
static tfm_status read_item(tfm_importer *im, tfm_error *err) {
    const char *line = NULL;
    size_t n = 0;
    if (im->has_item) {
        im->has_item = false;
        return TFM_OK;
    }
    for (;;) {
        tfm_status st = next_line(im, &line, &n, err);
        if (st != TFM_OK) return st == TFM_DONE ? st : in_line(im, st, err);
        im->n_lines++;
        size_t i = 0;
        while (i < n && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r')) i++;
        if (i == n) continue;
        st = tfm_json_item_read(&im->item, line, n, err);
        return st == TFM_OK ? TFM_OK : in_line(im, st, err);
    }
}

/* ---- streams ---- */

static tfm_status bare_header(tfm_importer *im, tfm_error *err) {
    if (!im->o.kind)
        return tfm_fail(err, TFM_USAGE,
                        "%s: no header line: say what the records are by --kind (tokens, hidden, "
                        "logits, scores, embedding, text, tensor)",
                        im->name);
    im->is_bare = true;
    return tfm_header_new(&im->header, im->o.kind, err);
}

static tfm_status line_header(tfm_importer *im, tfm_error *err) {
    tfm_status st = read_item(im, err);
    if (st == TFM_DONE && im->any_stream) return TFM_DONE;
    if (st == TFM_DONE) return tfm_fail(err, TFM_TRUNCATED, "%s: no line at all", im->name);
    if (st != TFM_OK) return st;
    if (im->item.kind == TFM_JSON_HEADER) {
        im->header = im->item.header;
        im->item.header = NULL;
        im->is_bare = false;
        return im->o.kind ? tfm_header_set_kind(im->header, im->o.kind, err) : TFM_OK;
    }
    if (im->item.kind == TFM_JSON_END || im->any_stream)
        return in_line(
            im, tfm_fail(err, TFM_FORMAT, "comes outside a stream: no header line before"), err);
    im->has_item = true;
    return bare_header(im, err);
}

tfm_status tfm_import_stream(tfm_importer *im, const tfm_header **h, tfm_error *err) {
    *h = NULL;
    if (im->is_open)
        return tfm_fail(err, TFM_USAGE, "%s: the stream before was not read to its end", im->name);
    tfm_header_free(im->header);
    im->header = NULL;
    if (im->is_plain) {
        if (im->any_stream) return TFM_DONE;
        TFM_TRY(bare_header(im, err));
    } else {
        TFM_TRY(line_header(im, err));
    }
    im->is_open = im->any_stream = true;
    im->n_records = im->n_groups = 0;
    *h = im->header;
    return TFM_OK;
}

/* ---- records ---- */

/* The values of the present item, which lie in an array. */
static tfm_status find_values(const tfm_importer *im, const void **payload, tfm_error *err) {
    const tfm_record *rec = &im->item.rec;
    const char *name = im->item.array;
    uint32_t i = tfm_names_find(&im->names, name, strlen(name));
    tfm_array want;
    if (i == TFM_NO_NAME) return tfm_fail(err, TFM_NOTFOUND, "array '%.80s' is not there", name);
    const tfm_array *a = &im->array[i];
    tfm_array_of_dtype((tfm_dtype)rec->dtype, rec->rank, rec->dims, &want);
    if (want.element != a->element && !(want.element == TFM_EL_BF16 && a->element == TFM_EL_U16))
        return tfm_fail(err, TFM_MISMATCH,
                        "array '%.80s' is %s now, the record was %s: convert it back by astype",
                        name, tfm_element_name(a->element), tfm_element_name(want.element));
    bool same = want.rank == a->rank;
    for (unsigned k = 1; k < want.rank && same; k++) same = want.dims[k] == a->dims[k];
    if (!same)
        return tfm_fail(err, TFM_MISMATCH, "array '%.80s' has another shape than the record", name);
    uint64_t rows = want.rank > 0 ? want.dims[0] : 1, have = a->rank > 0 ? a->dims[0] : 1, at;
    if (im->item.row > have || rows > have - im->item.row)
        return tfm_fail(err, TFM_MISMATCH,
                        "array '%.80s' has %" PRIu64 " rows, the record wants %" PRIu64
                        " from %" PRIu64,
                        name, have, rows, im->item.row);
    if (rec->bytes == 0) return TFM_OK;
    if (!tfm_mul_u64(im->item.row, rec->bytes / rows, &at) || at > a->bytes ||
        rec->bytes > a->bytes - at)
        return tfm_fail(err, TFM_FORMAT, "array '%.80s' ends before the record", name);
    *payload = a->data + at;
    return TFM_OK;
}

/* Keeps count of what must be ended when there is no end line. */
static tfm_status note_group(tfm_importer *im, const tfm_record *rec, tfm_error *err) {
    void **slot, *p = im->open;
    if (rec->type & TFM_REC_ANCILLARY || rec->type == TFM_REC_META) return TFM_OK;
    if (rec->type == TFM_REC_GROUP_END) {
        size_t i = (size_t)(uintptr_t)tfm_group_map_remove(im->open_at, rec->group);
        if (i > 0) im->open[i - 1].has_ended = true;
        return TFM_OK;
    }
    TFM_TRY(tfm_group_map_slot(im->open_at, rec->group, &slot, err));
    if (!*slot) {
        tfm_status st = tfm_grow(&p, &im->cap_open, im->n_open + 1, sizeof *im->open, err);
        im->open = p;
        if (st != TFM_OK) return st;
        im->open[im->n_open++] = (open_group){.group = rec->group};
        *slot = (void *)(uintptr_t)im->n_open;
    }
    open_group *g = &im->open[(size_t)(uintptr_t)*slot - 1];
    uint64_t end = (uint64_t)rec->position + (rec->rank > 0 ? rec->dims[0] : 1);
    /* The vector of an embedding is one row. */
    if (strcmp(tfm_header_kind(im->header), "embedding") == 0) end = (uint64_t)rec->position + 1;
    if (rec->type == TFM_REC_TENSOR && end > g->length) g->length = end;
    return TFM_OK;
}

/* The GROUP-END of the next group that is still open. */
static tfm_status end_next(tfm_importer *im, tfm_record *rec) {
    while (im->next_end < im->n_open && im->open[im->next_end].has_ended) im->next_end++;
    if (im->next_end == im->n_open) {
        im->is_open = false;
        return TFM_DONE;
    }
    const open_group *g = &im->open[im->next_end++];
    *rec = (tfm_record){.type = TFM_REC_GROUP_END, .group = g->group, .dims = {1, 1, 1, 1}};
    rec->position = g->length > UINT32_MAX ? UINT32_MAX : (uint32_t)g->length;
    return TFM_OK;
}

static tfm_status next_line_record(tfm_importer *im, tfm_record *rec, const void **payload,
                                   tfm_error *err) {
    tfm_status st = read_item(im, err);
    if (st == TFM_DONE && im->is_bare) return TFM_DONE;
    if (st == TFM_DONE)
        return tfm_fail(err, TFM_TRUNCATED,
                        "%s: ends before the end line of its stream: it was cut", im->name);
    if (st != TFM_OK) return st;
    if (im->item.kind == TFM_JSON_HEADER)
        return in_line(im, tfm_fail(err, TFM_FORMAT, "a header inside a stream"), err);
    if (im->item.kind == TFM_JSON_END && im->is_bare)
        return in_line(im, tfm_fail(err, TFM_FORMAT, "an end without a header before"), err);
    if (im->item.kind == TFM_JSON_END) {
        if ((im->item.records != UINT64_MAX && im->item.records != im->n_records) ||
            (im->item.groups != UINT64_MAX && im->item.groups != im->n_groups))
            return in_line(im,
                           tfm_fail(err, TFM_FORMAT,
                                    "counts %" PRIu64 " records and %" PRIu64
                                    " groups, there were %" PRIu64 " and %" PRIu64,
                                    im->item.records, im->item.groups, im->n_records, im->n_groups),
                           err);
        im->is_open = false;
        return TFM_DONE;
    }
    *rec = im->item.rec;
    *payload = rec->dtype ? im->item.payload.data : NULL;
    im->n_records++;
    if (rec->type == TFM_REC_GROUP_END) im->n_groups++;
    if (im->is_bare && !im->item.has_flags && rec->type == TFM_REC_TENSOR)
        rec->flags = TFM_FLAG_LAST;
    if (!im->item.array) return TFM_OK;
    if (im->format == TFM_EXCHANGE_JSONL)
        return in_line(im, tfm_fail(err, TFM_FORMAT, "array: there are no arrays beside the lines"),
                       err);
    st = find_values(im, payload, err);
    return st == TFM_OK ? TFM_OK : in_line(im, st, err);
}

tfm_status tfm_import_next(tfm_importer *im, tfm_record *rec, const void **payload,
                           tfm_error *err) {
    tfm_status st;
    *payload = NULL;
    if (!im->is_open) return tfm_fail(err, TFM_USAGE, "%s: no stream is open", im->name);
    if (im->next_end > 0) return end_next(im, rec);
    if (im->is_plain) {
        st = tfm_plain_next(&im->plain, rec, payload, err);
        if (st != TFM_OK && st != TFM_DONE) st = tfm_error_prefix(err, st, "%s", im->name);
    } else {
        st = next_line_record(im, rec, payload, err);
    }
    if (st == TFM_OK && im->is_bare) st = note_group(im, rec, err);
    return st == TFM_DONE && im->is_bare ? end_next(im, rec) : st;
}
