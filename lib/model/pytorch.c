/* pytorch.c - the tensors of a file that torch.save wrote (PyTorch 1.6 or newer).
 *
 *     NAME/data.pkl      a pickle: the state dict, its tensors views of storages
 *     NAME/data/KEY      the storages, stored, aligned to 64
 *     NAME/byteorder     "little" or "big"
 *
 * in a zip archive. Storages are used where they lie; a tensor whose strides are not those of a row
 * after a row is copied once, at opening. CRCs are not checked here, as no weight is to be read at
 * opening, and as torch may be told not to compute them.
 *
 * The state dict is the pickle's dict itself, or a member "state_dict", "model_state_dict", "model"
 * or "module" of it if the dict holds no tensor; what else there is (an optimiser's state, a number
 * of steps) is no part of the model. */
#include <string.h>

#include "model/pickle_internal.h"
#include "model/source_internal.h"
#include "model/zip_internal.h"

/* The first bytes of torch.save's format before 1.6: protocol 2, then a magic number of ten
 * bytes. */
static const unsigned char legacy_magic[] = {0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c,
                                             0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static bool is_legacy(const unsigned char *p, uint64_t n) {
    return n >= sizeof legacy_magic && memcmp(p, legacy_magic, sizeof legacy_magic) == 0;
}

bool tfm_pytorch_matches(const unsigned char *p, uint64_t n) {
    return tfm_zip_matches(p, n) || is_legacy(p, n);
}

/* ---- the archive ---- */

typedef struct archive {
    tfm_zip zip;
    tfm_names names; /* of members */
    const char *prefix;
    size_t n_prefix;   /* "NAME/" */
    size_t pickle;     /* index of data.pkl */
    uint64_t copy_max; /* bytes that copies of tensors may still take */
} archive;

static bool ends_with(const char *s, const char *end) {
    const size_t n = strlen(s), k = strlen(end);
    return n >= k && strcmp(s + (n - k), end) == 0;
}

static tfm_status list_members(archive *a, tfm_error *err) {
    bool found = false;
    TFM_TRY(tfm_names_reserve(&a->names, a->zip.n_members, err));
    for (size_t i = 0; i < a->zip.n_members; i++) {
        const char *name = a->zip.member[i].name;
        TFM_TRY(tfm_names_add(&a->names, name, strlen(name), (uint32_t)i, err));
        if (!ends_with(name, "/data.pkl")) continue;
        if (found) return tfm_fail(err, TFM_FORMAT, "two members are named data.pkl");
        found = true;
        a->pickle = i;
        a->prefix = name;
        a->n_prefix = strlen(name) - strlen("data.pkl");
    }
    if (!found)
        return tfm_fail(err, TFM_FORMAT, "a zip archive without data.pkl: not by torch.save");
    return TFM_OK;
}

/* The member "NAME/" folder key; NULL if there is none. */
static tfm_status find_member(const archive *a, const char *folder, const char *key, size_t n,
                              const tfm_zip_member **out, tfm_error *err) {
    tfm_buf name = {0};
    *out = NULL;
    tfm_status st = tfm_buf_add(&name, a->prefix, a->n_prefix, err);
    if (st == TFM_OK) st = tfm_buf_str(&name, folder, err);
    if (st == TFM_OK) st = tfm_buf_add(&name, key, n, err);
    if (st == TFM_OK) {
        const uint32_t i = tfm_names_find(&a->names, name.data, name.len);
        if (i != TFM_NO_NAME) *out = &a->zip.member[i];
    }
    tfm_buf_free(&name);
    return st;
}

static tfm_status check_stored(const tfm_zip_member *m, tfm_error *err) {
    if (!m->is_deflated) return TFM_OK;
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "%s is compressed, and a model is used in place: save it again with torch.save",
                    m->name);
}

static tfm_status find_storage(void *ctx, const char *key, size_t n, const unsigned char **data,
                               uint64_t *bytes, tfm_error *err) {
    enum { KEY_MAX = 100 }; /* torch numbers them */
    const archive *a = ctx;
    const tfm_zip_member *m = NULL;
    if (n <= KEY_MAX) TFM_TRY(find_member(a, "data/", key, n, &m, err));
    if (!m)
        return tfm_fail(err, TFM_FORMAT, "storage %.*s is not in the archive",
                        n < KEY_MAX ? (int)n : KEY_MAX, key);
    TFM_TRY(check_stored(m, err));
    *data = a->zip.p + m->from;
    *bytes = m->size;
    return TFM_OK;
}

static tfm_status check_kind(const archive *a, tfm_error *err) {
    const tfm_zip_member *m;
    TFM_TRY(check_stored(&a->zip.member[a->pickle], err));
    TFM_TRY(find_member(a, "", "byteorder", 9, &m, err));
    if (m) TFM_TRY(check_stored(m, err));
    if (m && (m->size != 6 || memcmp(a->zip.p + m->from, "little", 6) != 0))
        return tfm_fail(err, TFM_UNSUPPORTED, "its numbers are big-endian");
    TFM_TRY(find_member(a, "", "constants.pkl", 13, &m, err));
    if (m)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "a TorchScript program, not a checkpoint: save its state_dict() with "
                        "torch.save");
    return TFM_OK;
}

/* ---- the state dict ---- */

static bool holds_tensors(const tfm_pickle_value *dict) {
    for (uint32_t i = 1; dict->kind == TFM_PICKLE_DICT && i < dict->u.items->n; i += 2)
        if (dict->u.items->v[i].kind == TFM_PICKLE_TENSOR) return true;
    return false;
}

static tfm_status state_dict(const tfm_pickle_value *top, const tfm_pickle_items **out,
                             tfm_error *err) {
    static const char *const wrappers[] = {"state_dict", "model_state_dict", "model", "module"};
    *out = top->u.items;
    if (holds_tensors(top)) return TFM_OK;
    if (top->kind != TFM_PICKLE_DICT)
        return tfm_fail(err, TFM_UNSUPPORTED, "it holds %s, not a dict of tensors",
                        tfm_pickle_kind_name(top));
    for (size_t w = 0; w < sizeof wrappers / sizeof *wrappers; w++)
        for (uint32_t i = 0; i + 1 < top->u.items->n; i += 2) {
            const tfm_pickle_value *v = &top->u.items->v[i];
            if (!tfm_pickle_text(&v[0], wrappers[w]) || !holds_tensors(&v[1])) continue;
            *out = v[1].u.items;
            return TFM_OK;
        }
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "its dict holds no tensors, nor does a state_dict, model_state_dict, model or "
                    "module in it");
}

/* ---- tensors ---- */

/* Rows after rows? A dimension of 1 may have any stride. */
static bool is_contiguous(const tfm_pickle_tensor *t) {
    uint64_t want = 1;
    for (unsigned i = t->rank; i-- > 0;) {
        if (t->dims[i] != 1 && t->stride[i] != want) return false;
        want *= t->dims[i]; /* bounded by the storage's count, see check_inside */
    }
    return true;
}

/* to[i0][i1][i2][i3] = storage[offset + sum of i * stride] */
static void gather(const tfm_pickle_tensor *t, unsigned char *to) {
    const size_t width = t->storage->element;
    const uint32_t *d = t->dims;
    for (uint32_t i = 0; i < d[0]; i++)
        for (uint32_t j = 0; j < d[1]; j++)
            for (uint32_t k = 0; k < d[2]; k++)
                for (uint32_t l = 0; l < d[3]; l++, to += width) {
                    const uint64_t at = t->offset + i * t->stride[0] + j * t->stride[1] +
                                        k * t->stride[2] + l * t->stride[3];
                    memcpy(to, t->storage->data + at * width, width);
                }
}

static tfm_status place(tfm_source *s, archive *a, const tfm_pickle_tensor *t, tfm_tensor *out,
                        tfm_error *err) {
    void *p;
    if (is_contiguous(t)) {
        out->data = t->storage->data + t->offset * t->storage->element;
        return TFM_OK;
    }
    if (out->bytes > a->copy_max)
        return tfm_fail(err, TFM_LIMIT,
                        "too many tensors with strides: save them with .contiguous()");
    a->copy_max -= out->bytes;
    TFM_TRY(tfm_arena_alloc(s->arena, &p, (size_t)out->bytes, err));
    gather(t, p);
    out->data = p;
    return TFM_OK;
}

static tfm_status add_tensor(tfm_source *s, archive *a, const char *name,
                             const tfm_pickle_tensor *t, tfm_error *err) {
    tfm_tensor out = {.name = name, .dtype = t->storage->dtype, .rank = t->rank};
    uint64_t count;
    if (out.dtype == TFM_DTYPE_NONE)
        return tfm_fail(err, TFM_UNSUPPORTED, "tensor %s: element type %s is not supported", name,
                        t->storage->type_name);
    memcpy(out.dims, t->dims, sizeof out.dims);
    if (!tfm_dims_count(t->rank, t->dims, &count) || !tfm_dtype_bytes(out.dtype, count, &out.bytes))
        return tfm_fail(err, TFM_LIMIT, "tensor %s is too large", name);
    if (count == 0) return tfm_fail(err, TFM_FORMAT, "tensor %s has a dimension of 0", name);
    TFM_TRY(place(s, a, t, &out, err));
    return tfm_source_add_tensor(s, &out, err);
}

/* One entry of the state dict. Numbers and flags may stand among the tensors; more may not. */
static tfm_status add_entry(tfm_source *s, archive *a, const tfm_pickle_value *key,
                            const tfm_pickle_value *v, tfm_error *err) {
    const char *name;
    if (key->kind != TFM_PICKLE_TEXT || key->n == 0 || key->n > TFM_NAME_MAX ||
        memchr(key->u.text, '\0', key->n))
        return tfm_fail(err, TFM_FORMAT, "a tensor's name is no text of 1 to %d bytes",
                        TFM_NAME_MAX);
    if (v->kind <= TFM_PICKLE_TEXT) return TFM_OK;
    TFM_TRY(tfm_arena_strndup(s->arena, &name, key->u.text, key->n, err));
    if (v->kind != TFM_PICKLE_TENSOR)
        return tfm_fail(err, TFM_UNSUPPORTED, "'%s' is %s, not a tensor", name,
                        tfm_pickle_kind_name(v));
    return add_tensor(s, a, name, v->u.tensor, err);
}

static tfm_status read_pickle(tfm_source *s, archive *a, tfm_error *err) {
    const tfm_zip_member *m = &a->zip.member[a->pickle];
    const tfm_pickle_items *dict;
    tfm_pickle k;
    tfm_status st = tfm_pickle_read(&k, a->zip.p + m->from, (size_t)m->size, find_storage, a, err);
    if (st == TFM_OK) st = state_dict(&k.top, &dict, err);
    for (uint32_t i = 0; st == TFM_OK && i + 1 < dict->n; i += 2)
        st = add_entry(s, a, &dict->v[i], &dict->v[i + 1], err);
    tfm_pickle_free(&k);
    return st;
}

static tfm_status read_archive(tfm_source *s, archive *a, const unsigned char *p, uint64_t n,
                               uint64_t *head, tfm_error *err) {
    if (is_legacy(p, n))
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "in the format of PyTorch before 1.6: read it with torch.load there and "
                        "save it again with torch.save");
    TFM_TRY(tfm_zip_open(&a->zip, p, n, err));
    TFM_TRY(list_members(a, err));
    TFM_TRY(check_kind(a, err));
    *head = a->zip.member[a->pickle].from + a->zip.member[a->pickle].size;
    return read_pickle(s, a, err);
}

tfm_status tfm_pytorch_read(tfm_source *s, const char *path, tfm_error *err) {
    tfm_source_file *f;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    archive a = {.copy_max = f->map.size};
    tfm_status st = read_archive(s, &a, f->map.data, f->map.size, &f->head, err);
    tfm_names_free(&a.names);
    tfm_zip_close(&a.zip);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", path);
}
