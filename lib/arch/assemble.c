/* assemble.c - gathers what a model is made of from a model.bin or a foreign checkpoint.
 *
 * The vocabulary comes first among the tensors, so that tokenizing touches the first pages of a
 * file only; the source's raw metadata comes last, because only a writer of that format reads it.
 */
#include "arch/assemble_internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Failing to look is an error: a model.bin that could not be read for a moment must not be taken
 * for something else. O_NONBLOCK: a FIFO is refused by the reader, not waited for. */
tfm_status tfm_is_model_file(const char *path, bool *yes, tfm_error *err) {
    static const char magic[] = "TFMSTRM1\n";
    char start[sizeof magic - 1];
    size_t got = 0;
    struct stat info;
    tfm_status st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    *yes = false;
    if (fd < 0) return tfm_fail_errno(err, TFM_IO, "%s", path);
    if (fstat(fd, &info) == 0 && !S_ISREG(info.st_mode)) {
        close(fd);
        return TFM_OK;
    }
    st = tfm_fd_read_full(fd, path, start, sizeof start, &got, err);
    close(fd);
    *yes = st == TFM_OK && got == sizeof start && memcmp(start, magic, sizeof start) == 0;
    return st;
}

static tfm_status parts_new(tfm_assembly *a, size_t n, tfm_error *err) {
    void *p;
    TFM_TRY(tfm_alloc(&p, n, sizeof *a->part, err));
    a->part = p;
    a->n_parts = n;
    return TFM_OK;
}

static tfm_status from_model(tfm_assembly *a, tfm_error *err) {
    size_t n = tfm_model_n_tensors(a->model);
    a->description = tfm_model_description(a->model, &a->description_len);
    a->vocab_id = tfm_model_vocab_id(a->model);
    a->has_steps =
        strncmp(a->description, "blocks:", 7) == 0 || strstr(a->description, "\nblocks:") != NULL;
    TFM_TRY(parts_new(a, n, err));
    for (size_t i = 0; i < n; i++) a->part[i].t = *tfm_model_tensor_at(a->model, i);
    return TFM_OK;
}

static tfm_status list_parts(tfm_assembly *a, const tfm_vocab_tables *vocab, tfm_error *err) {
    size_t n_vocab = vocab ? vocab->n_tensors : 0, n_recipes = a->resolved.n_recipes;
    size_t n_blobs = tfm_source_n_blobs(a->source), at = 0;
    TFM_TRY(parts_new(a, n_vocab + n_recipes + n_blobs, err));
    for (size_t i = 0; i < n_vocab; i++) a->part[at++].t = vocab->tensor[i];
    for (size_t i = 0; i < n_recipes; i++) {
        const tfm_recipe *r = &a->resolved.recipe[i];
        a->part[at].t = r->out;
        a->part[at++].recipe = r->out.data ? NULL : r;
    }
    for (size_t i = 0; i < n_blobs; i++) a->part[at++].t = *tfm_source_blob_at(a->source, i);
    return TFM_OK;
}

static tfm_status from_source(tfm_assembly *a, const char *path, const tfm_load_options *o,
                              bool vocab_only, tfm_error *err) {
    const tfm_vocab_tables *vocab;
    TFM_TRY(tfm_source_vocab(a->source, &vocab, err));
    a->has_steps = !vocab_only && tfm_source_n_tensors(a->source) > 0;
    if (!a->has_steps && vocab == NULL)
        return tfm_fail(err, TFM_NOTFOUND,
                        "%s: there is no vocabulary in it or beside it; give one "
                        "with --tokenizer FILE",
                        path);
    if (a->has_steps) {
        TFM_TRY(tfm_arch_resolve(&a->resolved, a->source, vocab, o, err));
        a->description = a->resolved.description;
        a->description_len = a->resolved.description_len;
    } else {
        TFM_TRY(tfm_describe_vocab(vocab, &a->vocab_only, err));
        a->description = a->vocab_only.data;
        a->description_len = a->vocab_only.len;
    }
    a->vocab_id = vocab ? vocab->id : "";
    return list_parts(a, vocab, err);
}

tfm_status tfm_assemble(tfm_assembly *out, const char *path, const tfm_load_options *o,
                        bool vocab_only, tfm_error *err) {
    tfm_assembly a = {0};
    bool native;
    tfm_status st;
    *out = a;
    TFM_TRY(tfm_is_model_file(path, &native, err));
    if (native && o != NULL && o->tokenizer_path != NULL)
        return tfm_fail(err, TFM_USAGE,
                        "%s: a model file has its vocabulary already; --tokenizer is "
                        "for foreign checkpoints",
                        path);
    if (native) {
        st = tfm_model_open(&a.model, path, err);
        if (st == TFM_OK) st = from_model(&a, err);
    } else {
        const tfm_source_options so = {.tokenizer_path = o ? o->tokenizer_path : NULL,
                                       .share_dir = o ? o->share_dir : NULL};
        st = tfm_source_open(&a.source, path, &so, err);
        if (st == TFM_OK) {
            st = from_source(&a, path, o, vocab_only, err);
            if (st != TFM_OK && (err == NULL || strstr(err->message, path) == NULL))
                st = tfm_error_prefix(err, st, "%s", path);
        }
    }
    if (st == TFM_OK)
        *out = a;
    else
        tfm_assembly_free(&a);
    return st;
}

void tfm_assembly_free(tfm_assembly *a) {
    tfm_free(a->part);
    tfm_buf_free(&a->vocab_only);
    if (a->resolved.arena != NULL) tfm_resolved_free(&a->resolved);
    tfm_source_free(a->source);
    tfm_model_free(a->model);
    *a = (tfm_assembly){0};
}

tfm_status tfm_assembly_id(const tfm_assembly *a, const char *type, bool full, char out[65],
                           tfm_error *err) {
    char digest[65];
    tfm_sha256 sha;
    if (a->model != NULL)
        memcpy(digest, tfm_model_id(a->model), sizeof digest);
    else
        TFM_TRY(tfm_source_digest(a->source, full, digest, err));
    tfm_sha256_init(&sha);
    tfm_sha256_add(&sha, a->description, a->description_len);
    tfm_sha256_add(&sha, "\n", 1);
    tfm_sha256_add(&sha, a->vocab_id, strlen(a->vocab_id) + 1);
    tfm_sha256_add(&sha, type, strlen(type) + 1);
    tfm_sha256_add(&sha, digest, 64);
    tfm_sha256_hex(&sha, out);
    return TFM_OK;
}
