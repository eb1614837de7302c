/* spm.c - tokenizers whose symbols are characters: SentencePiece BPE, and BPE over characters as
 * tokenizer.json has it for the same models. Spaces may be written as U+2581, a space may be put
 * before the text, and what no piece spells becomes byte tokens (<0x0A>) or the unknown token.
 *
 * Where there are byte tokens, a U+2581 that stands in the text itself is spelled by them: as a
 * piece it would come back as a space. */
#include "text/text_internal.h"

/* A stretch of the text that no piece spells: byte tokens if all are there, else the unknown token,
 * one for a run of such characters, as SentencePiece does. */
tfm_status tfm_spell(tfm_tok_run *r, const unsigned char *s, size_t n, bool after_unknown) {
    bool bytes = true;
    for (size_t i = 0; i < n; i++) bytes = bytes && tfm_vocab_byte(r->v, s[i]) >= 0;
    for (size_t i = 0; i < n && bytes; i++)
        TFM_TRY(tfm_ids_push(r->ids, tfm_vocab_byte(r->v, s[i]), r->err));
    if (bytes) return TFM_OK;
    if (r->v->set.unk < 0)
        return tfm_fail(r->err, TFM_RECORD, "the vocabulary cannot spell \"%.*s\"",
                        (int)(n < 16 ? n : 16), (const char *)s);
    r->unknown++;
    return after_unknown ? TFM_OK : tfm_ids_push(r->ids, r->v->set.unk, r->err);
}

/* Characters as symbols, merged and appended. */
static tfm_status merge_chars(tfm_tok_run *r, const unsigned char *s, size_t n) {
    size_t count = 0;
    TFM_TRY(tfm_run_syms(r, n));
    for (size_t i = 0; i < n;) {
        uint32_t cp;
        size_t len = tfm_utf8_decode(s + i, n - i, &cp, NULL);
        r->sym[count].id = tfm_vocab_lookup_text(r->v, s + i, len);
        r->sym[count++].start = (uint32_t)i;
        i += len;
    }
    if (count == 0) return TFM_OK;
    TFM_TRY(tfm_merge(r, s, n, count));
    for (uint32_t i = 0; i != UINT32_MAX; i = r->sym[i].next) {
        const tfm_sym *sym = &r->sym[i];
        size_t end = sym->next == UINT32_MAX ? n : r->sym[sym->next].start;
        uint64_t before = r->unknown;
        if (sym->id >= 0)
            TFM_TRY(tfm_ids_push(r->ids, sym->id, r->err));
        else
            TFM_TRY(tfm_spell(r, s + sym->start, end - sym->start, r->after_unknown));
        r->after_unknown = r->unknown != before;
    }
    return TFM_OK;
}

/* A stretch that no merge leaves. One with unknown characters is not kept: they are counted, and
 * what they become depends on what stands before. */
static tfm_status char_word(tfm_tok_run *r, const unsigned char *s, size_t n) {
    bool found;
    tfm_word *home = tfm_words_home(r, s, n);
    uint64_t unknown = r->unknown;
    TFM_TRY(tfm_words_find(r, home, s, n, &found));
    if (found) {
        r->after_unknown = false;
        return TFM_OK;
    }
    size_t before = r->ids->len;
    TFM_TRY(merge_chars(r, s, n));
    if (r->unknown == unknown)
        tfm_words_keep(home, s, n, r->ids->data + before, r->ids->len - before);
    return TFM_OK;
}

static tfm_status char_piece(tfm_tok_run *r, const unsigned char *s, size_t n) {
    size_t done = 0, i = 0;
    uint32_t left, right;
    r->after_unknown = false;
    if (n == 0) return TFM_OK;
    if (r->cuts)
        for (i = tfm_utf8_decode(s, n, &left, NULL); i < n; left = right) {
            size_t len = tfm_utf8_decode(s + i, n - i, &right, NULL);
            if (tfm_cuts_between(r->cuts, left, right)) {
                TFM_TRY(char_word(r, s + done, i - done));
                done = i;
            }
            i += len;
        }
    return char_word(r, s + done, n - done);
}

static tfm_status flush(tfm_tok_run *r) {
    if (r->text.len == 0) return TFM_OK;
    TFM_TRY(tfm_pretok_split(r, (const unsigned char *)r->text.data, r->text.len,
                             r->v->set.type == TFM_VOCAB_UNIGRAM ? tfm_unigram_piece : char_piece));
    tfm_buf_clear(&r->text);
    return TFM_OK;
}

static tfm_status add_space(tfm_tok_run *r) {
    return r->v->set.space_to_meta ? tfm_buf_add(&r->text, TFM_META, TFM_META_LEN, r->err)
                                   : tfm_buf_byte(&r->text, ' ', r->err);
}

/* With remove_extra_spaces: is the space at s[i] one to leave out? */
static bool is_extra(const unsigned char *s, size_t i, size_t n) {
    if (i == 0 || s[i - 1] == ' ') return true;
    while (i < n && s[i] == ' ') i++;
    return i == n;
}

/* One character or broken byte at s[i]; *len = its bytes. */
static tfm_status add_char(tfm_tok_run *r, const unsigned char *s, size_t i, size_t n,
                           size_t *len) {
    uint32_t cp;
    bool ok;
    *len = tfm_utf8_decode(s + i, n - i, &cp, &ok);
    if (cp == ' ') {
        if (r->v->set.remove_extra_spaces && is_extra(s, i, n)) return TFM_OK;
        return add_space(r);
    }
    if (ok && !(cp == 0x2581 && r->t->meta_by_bytes))
        return tfm_buf_add(&r->text, s + i, *len, r->err);
    TFM_TRY(flush(r));
    for (size_t k = 0; k < *len; k++) TFM_TRY(tfm_run_byte(r, s + i + k));
    return TFM_OK;
}

/* Is the text given a space? With add_prefix_space not if it begins with one. */
static bool wants_space(const tfm_vocab_settings *s, const unsigned char *text, size_t n) {
    if (!s->add_prefix_space) return s->add_space_prefix;
    return text[0] != ' ' && (n < TFM_META_LEN || memcmp(text, TFM_META, TFM_META_LEN) != 0);
}

static tfm_status add_part(tfm_tok_run *r, const unsigned char *text, size_t n, bool first) {
    tfm_buf_clear(&r->text);
    if (n > 0 && first && wants_space(&r->v->set, text, n)) TFM_TRY(add_space(r));
    for (size_t i = 0, len; i < n; i += len) TFM_TRY(add_char(r, text, i, n, &len));
    return flush(r);
}

/* The words between white space, each by itself. */
static tfm_status add_words(tfm_tok_run *r, const unsigned char *text, size_t n, bool first) {
    size_t done = 0;
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp;
        len = tfm_utf8_decode(text + i, n - i, &cp, NULL);
        if (!tfm_is_space(cp)) continue;
        if (i > done) TFM_TRY(add_part(r, text + done, i - done, first));
        done = i + len;
    }
    return done < n ? add_part(r, text + done, n - done, first) : TFM_OK;
}

tfm_status tfm_char_fragment(tfm_tok_run *r, const unsigned char *text, size_t n, bool first) {
    if (r->v->set.norm == TFM_NORM_CHARSMAP) return tfm_charsmap_fragment(r, text, n, first, flush);
    TFM_TRY(tfm_normalise(r, &text, &n));
    return (r->v->set.split_spaces ? add_words : add_part)(r, text, n, first);
}
