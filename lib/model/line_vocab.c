/* line_vocab.c - vocabularies that are a list of tokens, one a line, the line's number (from 0)
 * being the id: BERT's vocab.txt, CTranslate2's vocabularies, one's own; and the character
 * vocabularies of a vocab.json (token to id).
 *
 * A list does not say how a text is cut. Two kinds say it by what they hold: with [UNK] among the
 * tokens (or a configuration beside it) it is WordPiece; where every token is one character, but
 * for names in brackets such as <unk> and [PAD], each character is a token. Any other list came
 * with a program that cuts, and is refused. A token that is a line feed can stand in a vocab.json
 * only. */
#include <stdlib.h>
#include <string.h>

#include "base/utf8_internal.h"
#include "model/json_internal.h"

bool tfm_is_line_vocab(const char *path) {
    static const char *const ends[] = {"vocab.txt", "vocabulary.txt"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t k = strlen(ends[i]);
        if (n >= k && strcmp(path + n - k, ends[i]) == 0) return true;
    }
    return false;
}

/* ---- characters ---- */

typedef struct name {
    const char *text;
    size_t role; /* offset of the field of tfm_vocab_source, or NONE */
} name;
#define NONE SIZE_MAX

/* Names of control tokens in lists in use; of two for one role the first in the list counts. */
static const name names[] = {
    {"<unk>", offsetof(tfm_vocab_source, unk)},         {"[UNK]", offsetof(tfm_vocab_source, unk)},
    {"<s>", offsetof(tfm_vocab_source, bos)},           {"<bos>", offsetof(tfm_vocab_source, bos)},
    {"[BOS]", offsetof(tfm_vocab_source, bos)},         {"[CLS]", offsetof(tfm_vocab_source, bos)},
    {"</s>", offsetof(tfm_vocab_source, eos)},          {"<eos>", offsetof(tfm_vocab_source, eos)},
    {"[EOS]", offsetof(tfm_vocab_source, eos)},         {"[SEP]", offsetof(tfm_vocab_source, eos)},
    {"<|endoftext|>", offsetof(tfm_vocab_source, eos)}, {"<pad>", offsetof(tfm_vocab_source, pad)},
    {"<blank>", offsetof(tfm_vocab_source, pad)},       {"[PAD]", offsetof(tfm_vocab_source, pad)}};

/* <name> or [name] */
static bool is_bracketed(const char *s, size_t n) {
    return n > 2 && ((s[0] == '<' && s[n - 1] == '>') || (s[0] == '[' && s[n - 1] == ']'));
}

static void take_role(tfm_draft *d, uint32_t id) {
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strlen(names[i].text) != d->piece_len[id] ||
            memcmp(names[i].text, d->piece[id], d->piece_len[id]) != 0)
            continue;
        int32_t *role = (int32_t *)(void *)((char *)&d->src + names[i].role);
        if (*role < 0) *role = (int32_t)id;
    }
}

tfm_status tfm_character_list(tfm_draft *d, const json_t *config, tfm_error *err) {
    tfm_vocab_source *v = &d->src;
    for (uint32_t i = 0; i < v->n; i++) {
        uint32_t cp;
        bool ok;
        size_t n = d->piece_len[i];
        if (n == 0 || (d->flags[i] & TFM_TOKEN_UNUSED)) {
            d->flags[i] = TFM_TOKEN_UNUSED;
        } else if (is_bracketed(d->piece[i], n)) {
            tfm_draft_flag(d, i, TFM_TOKEN_CONTROL);
            take_role(d, i);
        } else if (tfm_utf8_decode((const unsigned char *)d->piece[i], n, &cp, &ok) != n) {
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "token %u, '%.*s', is more than one character, and a list does not say "
                            "how text is cut into such; give the tokenizer that cuts it",
                            i, (int)(n < 60 ? n : 60), d->piece[i]);
        }
    }
    v->type = TFM_VOCAB_CHARACTERS;
    tfm_hf_config_tokens(d, config, true);
    if (v->unk >= 0) d->flags[v->unk] = TFM_TOKEN_UNKNOWN;
    return TFM_OK;
}

/* ---- lists ---- */

/* What the lists are sorted by, to find two lines that are the same. */
typedef struct line {
    const char *text;
    uint32_t len, id;
} line;

static int by_text(const void *x, const void *y) {
    const line *a = x, *b = y;
    if (a->len != b->len) return a->len < b->len ? -1 : 1;
    int c = a->len ? memcmp(a->text, b->text, a->len) : 0;
    return c ? c : a->id < b->id ? -1 : 1;
}

static tfm_status check_twins(const tfm_draft *d, tfm_error *err) {
    void *p;
    tfm_status st = TFM_OK;
    TFM_TRY(tfm_alloc(&p, d->src.n, sizeof(line), err));
    line *l = p;
    for (uint32_t i = 0; i < d->src.n; i++) l[i] = (line){d->piece[i], d->piece_len[i], i};
    qsort(l, d->src.n, sizeof *l, by_text);
    for (uint32_t i = 1; i < d->src.n && st == TFM_OK; i++)
        if (l[i].len > 0 && l[i].len == l[i - 1].len &&
            memcmp(l[i].text, l[i - 1].text, l[i].len) == 0)
            st = tfm_fail(err, TFM_FORMAT, "lines %u and %u are the same token", l[i - 1].id + 1,
                          l[i].id + 1);
    tfm_free(p);
    return st;
}

/* Lines end with LF; where the first ends with CR LF, so do all. */
static tfm_status take_lines(tfm_draft *d, const char *s, size_t n, tfm_error *err) {
    size_t bad, count = 0;
    if (!tfm_utf8_valid(s, n, &bad)) return tfm_fail(err, TFM_FORMAT, "byte %zu is not UTF-8", bad);
    for (size_t i = 0; i < n; i++) count += s[i] == '\n' || i + 1 == n;
    TFM_TRY(tfm_draft_pieces(d, count, false, err));
    const char *first = memchr(s, '\n', n);
    const bool has_cr = first && first > s && first[-1] == '\r';
    uint32_t id = 0;
    for (size_t at = 0; at < n && id < d->src.n; id++) {
        const char *end = memchr(s + at, '\n', n - at);
        size_t len = end ? (size_t)(end - s) - at : n - at;
        d->piece[id] = s + at;
        d->piece_len[id] = (uint32_t)(has_cr && len > 0 && s[at + len - 1] == '\r' ? len - 1 : len);
        at += len + 1;
    }
    return check_twins(d, err);
}

tfm_status tfm_line_vocab(tfm_source *s, tfm_draft *d, const tfm_map *file, const json_t *config,
                          const json_t *added, const char *kind, tfm_error *err) {
    if (file->size > UINT32_MAX)
        return tfm_fail(err, TFM_LIMIT, "a list of %llu bytes", (unsigned long long)file->size);
    TFM_TRY(take_lines(d, (const char *)file->data, (size_t)file->size, err));
    if (json_object_get(config, "do_lower_case") || tfm_draft_find(d, "[UNK]", 5) >= 0 ||
        json_array_size(added) > 0)
        return tfm_wordpiece_list(s, d, config, added, kind, err);
    return tfm_character_list(d, config, err);
}
