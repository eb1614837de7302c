/* digest.c - the SHA-256 of a checkpoint, full or without its weights.
 *
 * Each file counts as its size and its bytes (or its first bytes: header, metadata, tensor table),
 * in the order in which the reader opened them, which does not depend on where the files lie. */
#include "model/source_internal.h"

tfm_status tfm_source_digest(const tfm_source *s, bool full, char out[65], tfm_error *err) {
    (void)err; /* mapped bytes cannot fail; the interface leaves room for readers that can */
    tfm_sha256 h;
    tfm_sha256_init(&h);
    for (size_t i = 0; i < s->n_checkpoint_files; i++) {
        const tfm_source_file *f = &s->file[i];
        unsigned char size[8];
        tfm_store_u64(size, f->map.size);
        tfm_sha256_add(&h, size, sizeof size);
        size_t n = full || f->head > f->map.size ? f->map.size : (size_t)f->head;
        tfm_sha256_add(&h, f->map.data, n);
    }
    tfm_sha256_hex(&h, out);
    return TFM_OK;
}
