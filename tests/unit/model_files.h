/* model_files.h - what the tests of the model layer share: temporary files, a small GGUF made in
 * memory, and a model made of a source without the architecture layer. */
#ifndef TFM_TESTS_MODEL_FILES_H
#define TFM_TESTS_MODEL_FILES_H

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "model/gguf_internal.h"
#include "tfm/model.h"
#include "unit.h"

static char dir[64];

/* DIR/name; good until the fourth call after this one. */
static inline const char *in_dir(const char *name) {
    static char path[4][256];
    static unsigned turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir, name);
    return path[turn];
}

static inline void make_dir(const char *name) {
    snprintf(dir, sizeof dir, "/tmp/tfm-test-%s-%ld", name, (long)getpid());
    CHECK(mkdir(dir, 0700) == 0);
}

static inline void put_file(const char *name, const void *data, size_t n) {
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(write(fd, data, n) == (ssize_t)n);
    close(fd);
}

static inline void put_text(const char *name, const char *text) {
    put_file(name, text, strlen(text));
}

static inline void remove_file(const char *name) {
    unlink(in_dir(name));
}

static const tfm_source_options from_share = {.share_dir = "share"};

/* The status of opening DIR/name as a source, its vocabulary included. */
static inline tfm_status try_source(const char *name, tfm_error *err) {
    tfm_source *s;
    const tfm_vocab_tables *v;
    tfm_status st = tfm_source_open(&s, in_dir(name), &from_share, err);
    if (st == TFM_OK) st = tfm_source_vocab(s, &v, err);
    tfm_source_free(s);
    return st;
}

/* A model of a source's tensors, vocabulary and blobs under their own names. */
static inline tfm_status model_of(tfm_model **out, tfm_source *s, const char *section,
                                  tfm_error *err) {
    static const char id[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    static tfm_tensor t[256];
    const tfm_vocab_tables *v;
    tfm_buf text = {0};
    size_t n = 0;
    TFM_TRY(tfm_source_vocab(s, &v, err));
    for (size_t i = 0; v && i < v->n_tensors; i++) t[n++] = v->tensor[i];
    for (size_t i = 0; i < tfm_source_n_tensors(s); i++) t[n++] = *tfm_source_tensor_at(s, i);
    for (size_t i = 0; i < tfm_source_n_blobs(s); i++) t[n++] = *tfm_source_blob_at(s, i);
    TFM_TRY(tfm_buf_str(&text, section, err));
    TFM_TRY(tfm_buf_str(&text, "tokenizer:\n", err));
    for (const char *line = v ? v->settings : ""; *line;) {
        size_t len = strcspn(line, "\n");
        TFM_TRY(tfm_buf_printf(&text, err, "%s%.*s\n", len ? "  " : "", (int)len, line));
        line += len + (line[len] == '\n');
    }
    tfm_model_parts parts = {.path = "test",
                             .id = id,
                             .vocab_id = v ? v->id : "",
                             .description = text.data,
                             .description_len = text.len,
                             .tensor = t,
                             .n_tensors = n};
    tfm_status st = tfm_model_from_parts(out, &parts, err);
    tfm_buf_free(&text);
    return st;
}

static inline tfm_status write_gguf(tfm_model *m, const char *name, tfm_error *err) {
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    tfm_status st = tfm_gguf_write(m, "share", fd, name, err);
    close(fd);
    return st;
}

/* ---- a GGUF in memory ---- */

static inline void put_u32(tfm_buf *b, uint32_t v) {
    CHECK(tfm_gguf_put_u32(b, v, NULL) == TFM_OK);
}

static inline void put_u64(tfm_buf *b, uint64_t v) {
    CHECK(tfm_gguf_put_u64(b, v, NULL) == TFM_OK);
}

static inline void put_str(tfm_buf *b, const char *s) {
    CHECK(tfm_gguf_put_string(b, s, strlen(s), NULL) == TFM_OK);
}

static inline void put_bytes(tfm_buf *b, const void *p, size_t n) {
    CHECK(tfm_buf_add(b, p, n, NULL) == TFM_OK);
}

static inline void gguf_start(tfm_buf *b, uint32_t version, uint64_t tensors, uint64_t pairs) {
    b->len = 0;
    put_bytes(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, tensors);
    put_u64(b, pairs);
}

static inline void gguf_key(tfm_buf *b, const char *key, uint32_t type) {
    put_str(b, key);
    put_u32(b, type);
}

static inline void gguf_tensor(tfm_buf *b, const char *name, uint32_t rank, uint64_t d0,
                               uint64_t d1, uint32_t type, uint64_t offset) {
    put_str(b, name);
    put_u32(b, rank);
    if (rank > 0) put_u64(b, d0);
    if (rank > 1) put_u64(b, d1);
    for (uint32_t i = 2; i < rank && i < 8; i++) put_u64(b, 1);
    put_u32(b, type);
    put_u64(b, offset);
}

static inline void pad_to(tfm_buf *b, size_t step) {
    while (b->len % step) put_bytes(b, "", 1);
}

#endif
