/* tokenizer_util.h - small vocabularies for the tests of the text layer.
 *
 *     small s = small_bpe("a b ab abc", ...);      see below
 *     small_open(&s);                              builds the tables, opens them, makes a tokenizer
 *     CHECK_STR(ids_of(&s, "abc", 0), "3");
 *     small_close(&s);
 */
#ifndef TFM_TESTS_TOKENIZER_UTIL_H
#define TFM_TESTS_TOKENIZER_UTIL_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tfm/model.h"
#include "unit.h"

/* src splits as share/tokenizers.yaml says for the name. */
static inline tfm_status split_as(tfm_vocab_source *src, const char *name, tfm_error *err) {
    static tfm_tokenizer_names *names;
    if (names == NULL) TFM_TRY(tfm_tokenizer_names_open(&names, "share", err));
    return tfm_tokenizer_names_split(names, name, src, err);
}

enum { SMALL_PIECES = 700, SMALL_MERGES = 700 };

typedef struct small {
    tfm_vocab_source src;
    const char *piece[SMALL_PIECES];
    uint32_t piece_len[SMALL_PIECES];
    float score[SMALL_PIECES];
    uint8_t flags[SMALL_PIECES];
    const char *left[SMALL_MERGES], *right[SMALL_MERGES];
    uint32_t left_len[SMALL_MERGES], right_len[SMALL_MERGES];
    const char *pattern[4];
    tfm_vocab_tables *tables;
    tfm_vocab *v;
    tfm_tokenizer *t;
    char *made[SMALL_PIECES]; /* pieces that small_byte_pieces made */
    size_t n_made;
} small;

static inline void small_init(small *s, tfm_vocab_type type) {
    memset(s, 0, sizeof *s);
    s->src.type = type;
    s->src.bos = s->src.eos = s->src.unk = s->src.pad = -1;
    s->src.normaliser = "none";
    s->src.byte_level = type == TFM_VOCAB_BPE;
    s->src.piece = s->piece;
    s->src.piece_len = s->piece_len;
    s->src.score = s->score;
    s->src.flags = s->flags;
    s->src.merge_left = s->left;
    s->src.merge_right = s->right;
    s->src.merge_left_len = s->left_len;
    s->src.merge_right_len = s->right_len;
    s->src.pattern = s->pattern;
}

/* Appends a piece; returns its id. */
static inline int32_t small_piece(small *s, const char *piece, float score, unsigned flags) {
    uint32_t i = s->src.n++;
    s->piece[i] = piece;
    s->piece_len[i] = (uint32_t)strlen(piece);
    s->score[i] = score;
    s->flags[i] = (uint8_t)flags;
    return (int32_t)i;
}

static inline void small_merge(small *s, const char *left, const char *right) {
    uint32_t i = s->src.n_merges++;
    s->left[i] = left;
    s->right[i] = right;
    s->left_len[i] = (uint32_t)strlen(left);
    s->right_len[i] = (uint32_t)strlen(right);
}

/* All 256 byte pieces: "<0x00>" ... for SentencePiece, the byte alphabet for byte-level BPE. */
static inline void small_byte_pieces(small *s) {
    for (unsigned b = 0, other = 0; b < 256; b++) {
        char *p = malloc(8);
        if (p == NULL) abort();
        if (s->src.type == TFM_VOCAB_SPM) {
            snprintf(p, 8, "<0x%02X>", b);
        } else {
            bool plain =
                (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
            unsigned cp = plain ? b : 256 + other++;
            if (cp < 0x80)
                snprintf(p, 8, "%c", (int)cp);
            else
                snprintf(p, 8, "%c%c", (int)(0xc0 | cp >> 6), (int)(0x80 | (cp & 63)));
        }
        s->made[s->n_made++] = p;
        small_piece(s, p, 0, s->src.type == TFM_VOCAB_SPM ? TFM_TOKEN_BYTE : 0);
    }
}

static inline bool small_lookup(void *ctx, const char *name, tfm_tensor *out) {
    const tfm_vocab_tables *t = ctx;
    for (size_t i = 0; i < t->n_tensors; i++)
        if (strcmp(t->tensor[i].name, name) == 0) {
            *out = t->tensor[i];
            return true;
        }
    return false;
}

/* SentencePiece's table of replacements "A" -> "a", "B" -> "b ": p[4 + 0x400 * 4 + 5]. Returns its
 * bytes. The root's children begin at 0x100 (by exclusive or), their values 0x200 further. */
static inline size_t small_charsmap(unsigned char *p) {
    uint32_t unit[0x400] = {0}, bytes = sizeof unit;
    unit[0] = 0x100u << 10;
    unit[0x100 ^ 'A'] = 0x200u << 10 | 1u << 8 | 'A';
    unit[0x300 ^ 'A'] = 1u << 31 | 0;
    unit[0x100 ^ 'B'] = 0x200u << 10 | 1u << 8 | 'B';
    unit[0x300 ^ 'B'] = 1u << 31 | 2;
    memcpy(p, &bytes, 4);
    memcpy(p + 4, unit, sizeof unit);
    memcpy(p + 4 + sizeof unit, "a\0b ", 5);
    return 4 + sizeof unit + 5;
}

/* Builds, opens, makes the tokenizer; false (and a failed check) if that does not go. */
static inline bool small_open(small *s) {
    tfm_error err = {0};
    tfm_status st = tfm_vocab_build(&s->tables, &s->src, &err);
    if (st == TFM_OK)
        st = tfm_vocab_open(&s->v, s->tables->settings, s->tables->settings_len, small_lookup,
                            s->tables, &err);
    if (st == TFM_OK) st = tfm_tokenizer_new(&s->t, s->v, &err);
    if (st != TFM_OK) printf("%s\n", err.message);
    return CHECK(st == TFM_OK);
}

static inline void small_close(small *s) {
    tfm_tokenizer_free(s->t);
    tfm_vocab_free(s->v);
    tfm_vocab_tables_free(s->tables);
    for (size_t i = 0; i < s->n_made; i++) free(s->made[i]);
}

/* The ids of a text as "1 2 3", or "!message"; in a static buffer. */
static inline const char *ids_of_n(const tfm_tokenizer *t, const char *text, size_t n,
                                   unsigned flags) {
    static char out[4096];
    tfm_ids ids = {0};
    tfm_error err = {0};
    size_t at = 0;
    out[0] = '\0';
    if (tfm_tokenize(t, text, n, flags, &ids, NULL, &err) != TFM_OK) {
        snprintf(out, sizeof out, "!%s", err.message);
        tfm_ids_free(&ids);
        return out;
    }
    for (size_t i = 0; i < ids.len && at < sizeof out - 16; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, i ? " %d" : "%d", (int)ids.data[i]);
    tfm_ids_free(&ids);
    return out;
}

static inline const char *ids_of(const small *s, const char *text, unsigned flags) {
    return ids_of_n(s->t, text, strlen(text), flags);
}

/* The text of ids, all pushes and the finish together; malloc'd, *n its length, NULL on failure. */
static inline char *text_of(const tfm_tokenizer *t, const int32_t *ids, size_t n_ids,
                            unsigned flags, size_t *n) {
    tfm_detok *d = NULL;
    const char *bytes;
    size_t len, cap = 64;
    char *out = malloc(cap);
    tfm_status st = tfm_detok_new(&d, t, flags, NULL);
    *n = 0;
    for (size_t i = 0; i <= n_ids && st == TFM_OK && out; i++) {
        st = i < n_ids ? tfm_detok_push(d, ids[i], &bytes, &len, NULL)
                       : tfm_detok_finish(d, &bytes, &len, NULL);
        if (st != TFM_OK) break;
        if (*n + len + 1 > cap) {
            cap = (*n + len + 1) * 2;
            char *grown = realloc(out, cap);
            if (grown == NULL) abort();
            out = grown;
        }
        memcpy(out + *n, bytes, len);
        *n += len;
    }
    tfm_detok_free(d);
    if (st != TFM_OK || out == NULL) {
        free(out);
        return NULL;
    }
    out[*n] = '\0';
    return out;
}

/* Does tokenize, then detokenize, give these bytes back? */
static inline bool survives(const tfm_tokenizer *t, const char *text, size_t n) {
    tfm_ids ids = {0};
    size_t len = 0;
    char *back = NULL;
    if (tfm_tokenize(t, text, n, TFM_TOK_ADD_SPECIAL, &ids, NULL, NULL) == TFM_OK)
        back = text_of(t, ids.data, ids.len, 0, &len);
    bool same = back && len == n && memcmp(back, text, n) == 0;
    free(back);
    tfm_ids_free(&ids);
    return same;
}

/* How many characters of a text the vocabulary does not have. */
static inline uint64_t small_unknown(const small *s, const char *text, size_t n) {
    tfm_ids ids = {0};
    uint64_t unknown = 0;
    CHECK_INT(tfm_tokenize(s->t, text, n, 0, &ids, &unknown, NULL), TFM_OK);
    tfm_ids_free(&ids);
    return unknown;
}

/* A small deterministic generator (xorshift64), so that a failure can be seen again. */
static inline uint32_t small_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

#endif
