/* llama2c_tokenizer.c - llama2.c's tokenizer.bin: SentencePiece pieces with scores, nothing else.
 *
 *     u32 longest piece in bytes, then for each id: f32 score, i32 bytes, the bytes
 *
 * The file does not say how many pieces there are: it ends after the last. Ids 0, 1, 2 are unknown,
 * BOS, EOS by the format's convention, and ids 3 to 258 the bytes. U+2581 was written as a space by
 * llama2.c's exporter; it is put back, so that the vocabulary is the one that was trained. A text
 * ends where the model writes BOS: llama2.c stops there, so BOS ends a generation here too. */
#include <dirent.h>
#include <string.h>

#include "model/source_internal.h"

#define META_SPACE "\xe2\x96\x81" /* U+2581 */

enum { MAX_PIECE = 1 << 16 }; /* bytes */

/* The piece at p[*at..]; false at the end or if its length is wrong. */
static bool next_piece(const unsigned char *p, uint64_t n, uint64_t *at, float *score,
                       const char **piece, uint32_t *len) {
    if (n - *at < 8) return false;
    uint32_t bits = tfm_load_u32(p + *at);
    memcpy(score, &bits, sizeof *score);
    *len = tfm_load_u32(p + *at + 4);
    if (*len == 0 || *len > MAX_PIECE || *len > n - *at - 8) return false;
    *piece = (const char *)p + *at + 8;
    *at += 8 + (uint64_t)*len;
    return true;
}

/* Pieces in the file; 0 if it is not exactly a list of them. */
static uint64_t count_pieces(const unsigned char *p, uint64_t n) {
    uint64_t at = 4, count = 0;
    float score;
    const char *piece;
    uint32_t len;
    if (n < 4 || tfm_load_u32(p) > MAX_PIECE) return 0;
    while (at < n) {
        if (!next_piece(p, n, &at, &score, &piece, &len) || len > tfm_load_u32(p)) return 0;
        count++;
    }
    return count;
}

bool tfm_llama2c_tokenizer_matches(const unsigned char *p, uint64_t n) {
    return count_pieces(p, n) >= 3;
}

/* A copy with every space as U+2581. */
static tfm_status spaces_to_meta(tfm_arena *a, const char **piece, uint32_t *len, tfm_error *err) {
    const char *s = *piece;
    uint32_t n = *len, spaces = 0;
    void *p;
    for (uint32_t i = 0; i < n; i++) spaces += s[i] == ' ';
    if (spaces == 0) return TFM_OK;
    TFM_TRY(tfm_arena_alloc(a, &p, (size_t)n + 2 * (size_t)spaces, err));
    char *to = p;
    *piece = p;
    *len = n + 2 * spaces;
    for (uint32_t i = 0; i < n; i++) {
        if (s[i] == ' ') {
            memcpy(to, META_SPACE, 3);
            to += 3;
        } else {
            *to++ = s[i];
        }
    }
    return TFM_OK;
}

tfm_status tfm_llama2c_tokenizer(tfm_draft *d, const unsigned char *p, uint64_t n, tfm_error *err) {
    uint64_t count = count_pieces(p, n), at = 4;
    if (count < 3)
        return tfm_fail(err, TFM_FORMAT, "no llama2.c tokenizer: a piece is cut off or too long");
    TFM_TRY(tfm_draft_pieces(d, count, true, err));
    for (uint32_t i = 0; i < d->src.n; i++) {
        if (!next_piece(p, n, &at, &d->score[i], &d->piece[i], &d->piece_len[i])) break;
        if (i >= 3 && tfm_byte_piece(d->piece[i], d->piece_len[i]) == (int)i - 3)
            d->flags[i] = TFM_TOKEN_BYTE;
        TFM_TRY(spaces_to_meta(d->arena, &d->piece[i], &d->piece_len[i], err));
    }
    d->flags[0] = TFM_TOKEN_UNKNOWN;
    d->flags[1] = d->flags[2] = TFM_TOKEN_CONTROL | TFM_TOKEN_EOG;
    d->src.type = TFM_VOCAB_SPM;
    d->src.unk = 0;
    d->src.bos = 1;
    d->src.eos = 2;
    d->src.add_bos = true;
    d->src.add_space_prefix = true;
    d->src.space_to_meta = true;
    return TFM_OK;
}

/* "tok*.bin", and not the checkpoint itself */
static bool is_tokenizer_name(const char *name, const char *checkpoint) {
    const char *slash = strrchr(checkpoint, '/');
    size_t n = strlen(name);
    if (strcmp(name, slash ? slash + 1 : checkpoint) == 0) return false;
    return n > 7 && memcmp(name, "tok", 3) == 0 && strcmp(name + n - 4, ".bin") == 0;
}

tfm_status tfm_llama2c_find_tokenizer(tfm_source *s, const char **path, tfm_error *err) {
    const char *folder, *usual;
    size_t n = 0;
    tfm_status st = TFM_OK;
    *path = NULL;
    TFM_TRY(tfm_source_beside(s, s->path, false, "tokenizer.bin", &usual, err));
    if (tfm_path_is_file(usual)) {
        *path = usual;
        return TFM_OK;
    }
    TFM_TRY(tfm_source_beside(s, s->path, false, ".", &folder, err));
    DIR *dir = opendir(folder);
    if (!dir) return tfm_fail_errno(err, TFM_IO, "%s", folder);
    for (struct dirent *e; st == TFM_OK && (e = readdir(dir)) != NULL;) {
        if (!is_tokenizer_name(e->d_name, s->path)) continue;
        n++;
        st = tfm_source_beside(s, s->path, false, e->d_name, path, err);
    }
    closedir(dir);
    if (st == TFM_OK && n > 1)
        st =
            tfm_fail(err, TFM_NOTFOUND,
                     "%s: %zu files tok*.bin lie beside it; name one with --tokenizer", s->path, n);
    return st;
}
