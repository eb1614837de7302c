/* fuzz_use.h - does with a hostile checkpoint, model or vocabulary what the programs would do.
 *
 * Whatever opened must be usable: every tensor is read as f32, every metadata value looked at, text
 * goes through the vocabulary and back. Statuses do not matter, only that the calls come back. */
#ifndef TFM_TESTS_FUZZ_USE_H
#define TFM_TESTS_FUZZ_USE_H

#include "fuzz_util.h"
#include "tfm/infer.h"
#include "tfm/load.h"
#include "tfm/model.h"
#include "tfm/tokenizer.h"

enum { FUZZ_WIDEST_ROW = 1 << 16 };

/* First and last row as f32, if it is a matrix; else its first elements. */
static inline void fuzz_use_tensor(const tfm_tensor *t) {
    static float row[FUZZ_WIDEST_ROW];
    tfm_status st = TFM_OK;
    uint64_t count = 0;
    if (t->rank == 2 && t->dims[0] > 0 && t->dims[1] <= FUZZ_WIDEST_ROW) {
        st = tfm_tensor_row_f32(t, 0, row, NULL);
        if (st == TFM_OK) st = tfm_tensor_row_f32(t, t->dims[0] - 1, row, NULL);
    } else if (t->layout == TFM_LAYOUT_ROWS && tfm_dims_count(t->rank, t->dims, &count)) {
        const uint64_t block = tfm_dtype_block(t->dtype);
        if (count > FUZZ_WIDEST_ROW) count = FUZZ_WIDEST_ROW;
        if (block > 0) st = tfm_to_f32(t->dtype, t->data, count / block * block, row, NULL);
    }
    (void)st;
}

static inline void fuzz_detokenise(const tfm_tokenizer *t, const tfm_ids *ids) {
    tfm_detok *d;
    const char *bytes;
    size_t n;
    if (tfm_detok_new(&d, t, TFM_DETOK_SHOW_SPECIAL, NULL) != TFM_OK) return;
    tfm_status st = TFM_OK;
    for (size_t i = 0; i < ids->len && st == TFM_OK; i++) {
        st = tfm_detok_push(d, ids->data[i], &bytes, &n, NULL);
    }
    if (st == TFM_OK) st = tfm_detok_finish(d, &bytes, &n, NULL);
    (void)st;
    tfm_detok_free(d);
}

/* Text of several kinds there and back, and a walk over all pieces. */
static inline void fuzz_use_vocab(const tfm_vocab *v) {
    static const char text[] = "The cat's 1234 words,\n\n  na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd"
                               " \xf0\x9f\x98\x80 <s></s><|end|><0x0A> \xff\x80 aaaaaaaaaaaaaaaaaaa"
                               "abababababababab                 \t x";
    tfm_tokenizer *t;
    tfm_ids ids = {0};
    uint64_t unknown = 0;
    for (uint32_t id = 0; id < tfm_vocab_size(v); id++) {
        size_t len = 0;
        const char *piece = tfm_vocab_piece(v, id, &len);
        volatile unsigned sum = tfm_vocab_flags(v, id);
        for (size_t i = 0; piece != NULL && i < len; i++) sum = sum + (unsigned char)piece[i];
        if (piece != NULL && id % 16 == 0) (void)tfm_vocab_find(v, piece, len);
        (void)tfm_vocab_score(v, id);
    }
    if (tfm_tokenizer_new(&t, v, NULL) != TFM_OK) return;
    const unsigned flags = TFM_TOK_ADD_SPECIAL | TFM_TOK_PARSE_SPECIAL;
    tfm_status st = tfm_tokenize(t, text, sizeof text - 1, flags, &ids, &unknown, NULL);
    if (st == TFM_OK) fuzz_detokenise(t, &ids);
    ids.len = 0; /* valid UTF-8, for vocabularies that have no bytes */
    st = tfm_tokenize(t, text, 50, 0, &ids, NULL, NULL);
    if (st == TFM_OK) fuzz_detokenise(t, &ids);
    tfm_ids_free(&ids);
    tfm_tokenizer_free(t);
}

/* Generates a few tokens from a prompt of three. */
static inline void fuzz_run(tfm_model *m, const char *device) {
    static const int32_t prompt[3] = {1, 0, 2};
    const tfm_engine_options engine_options = {.device = device, .threads = 1};
    const tfm_generate_options o = {.has_max_tokens = true, .max_tokens = 3, .ignore_eog = true};
    tfm_engine *e;
    tfm_generator *g = NULL;
    tfm_event event;
    if (tfm_engine_new(&e, m, &engine_options, NULL) != TFM_OK) return;
    tfm_status st = tfm_generator_new(&g, e, &o, NULL);
    if (st == TFM_OK) st = tfm_generator_add(g, 0, prompt, 3, NULL);
    while (st == TFM_OK) st = tfm_generator_next(g, &event, NULL);
    tfm_generator_free(g);
    tfm_engine_free(e);
}

/* ---- a model that opened ---- */

static inline void fuzz_use_model(tfm_model *m) {
    const tfm_vocab *v = NULL;
    size_t len = 0;
    for (size_t i = 0; i < tfm_model_n_tensors(m); i++) {
        const tfm_tensor *t = tfm_model_tensor_at(m, i);
        fuzz_must(tfm_model_tensor(m, t->name) == t, "a tensor is not found by its name");
        fuzz_use_tensor(t);
    }
    fuzz_must(tfm_model_description(m, &len)[len] == '\0', "the description has no end");
    if (tfm_model_vocab(m, &v, NULL) == TFM_OK && v != NULL) fuzz_use_vocab(v);
    fuzz_run(m, "ref");
    fuzz_run(m, "cpu");
}

/* Opens a checkpoint as a model, with an architecture file or the one that matches. */
static inline void fuzz_use_load(const char *path, const char *share_dir, const char *arch_file) {
    const tfm_load_options o = {.share_dir = share_dir, .arch_file = arch_file};
    tfm_model *m;
    if (tfm_load(&m, path, &o, NULL) != TFM_OK) return;
    fuzz_use_model(m);
    tfm_model_free(m);
}

/* ---- a checkpoint that opened ---- */

static inline void fuzz_use_meta(const tfm_meta *m) {
    volatile unsigned sum = 0;
    tfm_meta item;
    for (size_t i = 0; m->type == TFM_META_STRING && i < m->s_len; i++) {
        sum = sum + (unsigned char)m->s[i];
    }
    for (size_t i = 0; i < 4096 && tfm_meta_item(m, i, &item); i++) {
        if (item.type == TFM_META_STRING && item.s_len > 0) {
            sum = sum + (unsigned char)item.s[item.s_len - 1];
        }
    }
}

static inline bool fuzz_lookup(void *ctx, const char *name, tfm_tensor *out) {
    const tfm_vocab_tables *tables = ctx;
    for (size_t i = 0; i < tables->n_tensors; i++) {
        if (strcmp(tables->tensor[i].name, name) != 0) continue;
        *out = tables->tensor[i];
        return true;
    }
    return false;
}

static inline void fuzz_use_source_with(const char *path, const tfm_source_options *o) {
    tfm_source *s;
    const tfm_vocab_tables *tables;
    tfm_vocab *v;
    char digest[65];
    if (tfm_source_open(&s, path, o, NULL) != TFM_OK) return;
    for (size_t i = 0; i < tfm_source_n_meta(s); i++) fuzz_use_meta(tfm_source_meta_at(s, i));
    for (size_t i = 0; i < tfm_source_n_tensors(s); i++)
        fuzz_use_tensor(tfm_source_tensor_at(s, i));
    for (size_t i = 0; i < tfm_source_n_blobs(s); i++) fuzz_use_tensor(tfm_source_blob_at(s, i));
    if (tfm_source_digest(s, true, digest, NULL) == TFM_OK) {
        fuzz_must(strlen(digest) == 64, "a digest is not 64 digits");
    }
    if (tfm_source_vocab(s, &tables, NULL) == TFM_OK && tables != NULL &&
        tfm_vocab_open(&v, tables->settings, tables->settings_len, fuzz_lookup,
                       (void *)(uintptr_t)tables, NULL) == TFM_OK) {
        fuzz_use_vocab(v);
        tfm_vocab_free(v);
    }
    tfm_source_free(s);
}

static inline void fuzz_use_source(const char *path, const char *tokenizer_path) {
    const tfm_source_options o = {.tokenizer_path = tokenizer_path, .share_dir = "share"};
    fuzz_use_source_with(path, &o);
}

/* ---- conversion: what is accepted must give a file that opens ---- */

static inline int fuzz_create(const char *path) {
    const int fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
    fuzz_must(fd >= 0, "open");
    return fd;
}

static inline void fuzz_to_gguf(tfm_model *m) {
    const char *path = fuzz_put("out.gguf", NULL, 0);
    const int fd = fuzz_create(path);
    tfm_source *s = NULL;
    const tfm_status st = tfm_gguf_write(m, "share", fd, "out.gguf", NULL);
    close(fd);
    if (st != TFM_OK) return;
    fuzz_must(tfm_source_open(&s, path, NULL, NULL) == TFM_OK, "a written GGUF does not open");
    tfm_source_free(s);
}

static inline void fuzz_convert(const char *from, tfm_dtype type, tfm_layout layout) {
    const tfm_convert_options o = {.load = {.share_dir = "share"}, .type = type, .layout = layout};
    const char *path = fuzz_put("out.tfms", NULL, 0);
    const int fd = fuzz_create(path);
    tfm_header *h = NULL;
    tfm_writer *w = NULL;
    tfm_model *m = NULL;
    tfm_status st = tfm_header_new(&h, "model", NULL);
    if (st == TFM_OK) st = tfm_writer_new(&w, fd, "out.tfms", NULL);
    if (st == TFM_OK) st = tfm_convert(from, &o, h, w, NULL);
    tfm_writer_free(w);
    tfm_header_free(h);
    close(fd);
    if (st != TFM_OK) return;
    fuzz_must(tfm_model_open(&m, path, NULL) == TFM_OK, "a converted model does not open");
    fuzz_use_model(m);
    fuzz_to_gguf(m);
    tfm_model_free(m);
}

#endif
