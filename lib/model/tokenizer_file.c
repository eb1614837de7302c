/* tokenizer_file.c - which reader takes a tokenizer's file or folder, by what the bytes are.
 *
 * In a folder the first of these counts: tokenizer.json, tokenizer.model, vocab.json + merges.txt,
 * encoder.json + vocab.bpe, tokenizer.bin. tokenizer.json comes first because it says how text is
 * split and normalised, which the older files leave to their program. */
#include <string.h>

#include "model/source_internal.h"

static tfm_status read_file(tfm_source *s, const char *path, tfm_draft *d, tfm_error *err) {
    tfm_source_file *f;
    TFM_TRY(tfm_source_map(s, path, &f, err));
    const tfm_map *m = &f->map;
    if (tfm_llama2c_tokenizer_matches(m->data, m->size))
        return tfm_llama2c_tokenizer(d, m->data, m->size, err);
    return tfm_fail(err, TFM_FORMAT, "no tokenizer that is known here");
}

tfm_status tfm_tokenizer_at(tfm_source *s, const char *path, tfm_draft *d, bool *found,
                            tfm_error *err) {
    static const char *const names[] = {"tokenizer.bin"};
    const char *file = path;
    *found = true;
    if (tfm_path_is_dir(path)) {
        *found = false;
        for (size_t i = 0; i < sizeof names / sizeof *names && !*found; i++) {
            TFM_TRY(tfm_source_beside(s, path, true, names[i], &file, err));
            *found = tfm_path_is_file(file);
        }
        if (!*found) return TFM_OK;
    }
    tfm_status st = read_file(s, file, d, err);
    return st == TFM_OK ? st : tfm_error_prefix(err, st, "%s", file);
}
