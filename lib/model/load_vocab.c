/* load_vocab.c - the vocabulary of whatever lies at a path, and nothing else: tokenize and detok need
 * no architecture and read no weight. A model.bin is opened as it is; of anything else the tables
 * are built in memory and put into a model of their own. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/base_internal.h"
#include "tfm/load.h"

/* A model made of a vocabulary alone has no identity. */
static const char no_id[] = "0000000000000000000000000000000000000000000000000000000000000000";

typedef struct owner {
    tfm_source *source;
    tfm_buf description;
} owner;

static void owner_free(void *p) {
    owner *o = p;
    tfm_source_free(o->source);
    tfm_buf_free(&o->description);
    tfm_free(o);
}

/* Is it a tensor stream? Whatever else is wrong with the file is for its reader to say. */
static bool is_stream(const char *path) {
    static const char magic[] = "TFMSTRM1\n";
    char head[sizeof magic - 1];
    size_t got = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return false;
    tfm_status st = tfm_fd_read_full(fd, path, head, sizeof head, &got, NULL);
    close(fd);
    return st == TFM_OK && got == sizeof head && memcmp(head, magic, sizeof head) == 0;
}

/* "tokenizer:" and the settings, indented by two. */
static tfm_status describe(tfm_buf *b, const tfm_vocab_tables *t, tfm_error *err) {
    TFM_TRY(tfm_buf_str(b, "tokenizer:\n", err));
    for (size_t at = 0; at < t->settings_len;) {
        const char *line = t->settings + at;
        const char *end = memchr(line, '\n', t->settings_len - at);
        size_t n = end ? (size_t)(end - line) + 1 : t->settings_len - at;
        TFM_TRY(tfm_buf_str(b, "  ", err));
        TFM_TRY(tfm_buf_add(b, line, n, err));
        at += n;
    }
    return TFM_OK;
}

static tfm_status from_source(const char *path, const char *tokenizer_path, owner *o,
                              tfm_model **out, tfm_error *err) {
    const tfm_vocab_tables *t;
    TFM_TRY(tfm_source_open(&o->source, path, tokenizer_path, err));
    TFM_TRY(tfm_source_vocab(o->source, &t, err));
    if (t == NULL)
        return tfm_fail(err, TFM_NOTFOUND,
                        "%s: no vocabulary in it or beside it; name the file that has it", path);
    TFM_TRY(describe(&o->description, t, err));
    tfm_model_parts parts = {.path = path,
                             .id = no_id,
                             .vocab_id = t->id,
                             .description = o->description.data,
                             .description_len = o->description.len,
                             .tensor = t->tensor,
                             .n_tensors = t->n_tensors,
                             .owner = o,
                             .free_owner = owner_free};
    return tfm_model_from_parts(out, &parts, err);
}

tfm_status tfm_load_vocab(const char *path, const tfm_load_options *o, tfm_model **out,
                          tfm_error *err) {
    void *p;
    const char *tokenizer_path = o ? o->tokenizer_path : NULL;
    *out = NULL;
    if (tokenizer_path == NULL && is_stream(path)) return tfm_model_open(out, path, err);
    TFM_TRY(tfm_alloc(&p, 1, sizeof(owner), err));
    tfm_status st = from_source(path, tokenizer_path, p, out, err);
    if (st != TFM_OK) owner_free(p);
    return st;
}
