/* gguf_put_vocab.c - a vocabulary as GGUF metadata (tokenizer.*): the way back of gguf_vocab.c.
 *
 * What GGUF cannot say is refused, so that a vocabulary that was written is, read again, the same.
 * A pre-tokenizer has only a name there: the patterns are compared with those of each one in
 * share/tokenizers.yaml, which has the names of the kinds, too. */
#include <string.h>

#include "model/gguf_internal.h"
#include "model/tokenizer_names_internal.h"
#include "text/text_internal.h"

#define KEY "tokenizer.ggml."

static tfm_status put_text(tfm_buf *b, const char *key, const char *s, uint64_t *n_kv,
                           tfm_error *err) {
    TFM_TRY(tfm_gguf_put_key(b, key, TFM_GGUF_STRING, n_kv, err));
    return tfm_gguf_put_string(b, s, strlen(s), err);
}

static tfm_status put_bool(tfm_buf *b, const char *key, bool v, uint64_t *n_kv, tfm_error *err) {
    TFM_TRY(tfm_gguf_put_key(b, key, TFM_GGUF_BOOL, n_kv, err));
    return tfm_buf_byte(b, v, err);
}

static tfm_status put_id(tfm_buf *b, const char *key, int32_t id, uint64_t *n_kv, tfm_error *err) {
    if (id < 0) return TFM_OK;
    TFM_TRY(tfm_gguf_put_key(b, key, TFM_GGUF_U32, n_kv, err));
    return tfm_gguf_put_u32(b, (uint32_t)id, err);
}

static tfm_status put_array(tfm_buf *b, const char *key, uint32_t type, uint64_t n, uint64_t *n_kv,
                            tfm_error *err) {
    TFM_TRY(tfm_gguf_put_key(b, key, TFM_GGUF_ARRAY, n_kv, err));
    TFM_TRY(tfm_gguf_put_u32(b, type, err));
    return tfm_gguf_put_u64(b, n, err);
}

/* ---- the pre-tokenizer's name ---- */

static bool same_splitting(const tfm_vocab_settings *s, const tfm_split *split) {
    if (s->n_patterns != split->n_patterns || s->ignore_merges != split->ignore_merges ||
        s->byte_level == split->characters ||
        strcmp(tfm_norm_name(s->norm), split->normaliser) != 0)
        return false;
    for (uint32_t i = 0; i < s->n_patterns; i++)
        if (strcmp(s->pattern[i], split->pattern[i]) != 0) return false;
    return true;
}

static tfm_status find_pre(const tfm_tokenizer_names *names, const tfm_vocab_settings *s,
                           const char **name, tfm_error *err) {
    const tfm_split *split;
    for (size_t i = 0; (split = tfm_tokenizer_names_split_at(names, i)) != NULL; i++) {
        *name = split->names->entry[0].value->text;
        if (same_splitting(s, split)) return TFM_OK;
    }
    return tfm_fail(err, TFM_UNSUPPORTED,
                    "GGUF has no name for the way in which this vocabulary splits text");
}

/* ---- pieces and merges ---- */

static uint32_t ggml_type(unsigned flags) {
    if (flags & TFM_TOKEN_UNKNOWN) return 2;
    if (flags & TFM_TOKEN_CONTROL) return 3;
    if (flags & TFM_TOKEN_ADDED) return 4;
    if (flags & TFM_TOKEN_BYTE) return 6;
    if (flags & TFM_TOKEN_UNUSED) return 5;
    return 1;
}

static bool is_name(const char *s, size_t n) {
    return n > 2 && s[0] == '[' && s[n - 1] == ']';
}

/* WordPiece: U+2581 before what begins a word, instead of "##" before what goes on
 * (gguf_vocab.c). */
static tfm_status put_word_piece(tfm_buf *b, const char *piece, size_t len, unsigned flags,
                                 tfm_error *err) {
    tfm_buf text = {0};
    if (len == 0 || is_name(piece, len) || (flags & (TFM_TOKEN_CONTROL | TFM_TOKEN_UNKNOWN)))
        return tfm_gguf_put_string(b, piece, len, err);
    if (len > 2 && memcmp(piece, "##", 2) == 0)
        return tfm_gguf_put_string(b, piece + 2, len - 2, err);
    tfm_status st = tfm_buf_add(&text, TFM_META, TFM_META_LEN, err);
    if (st == TFM_OK) st = tfm_buf_add(&text, piece, len, err);
    if (st == TFM_OK) st = tfm_gguf_put_string(b, text.data, text.len, err);
    tfm_buf_free(&text);
    return st;
}

static tfm_status put_pieces(tfm_buf *b, const tfm_vocab *v, uint64_t *n_kv, tfm_error *err) {
    uint32_t n = tfm_vocab_size(v);
    size_t len;
    TFM_TRY(put_array(b, KEY "tokens", TFM_GGUF_STRING, n, n_kv, err));
    for (uint32_t i = 0; i < n; i++) {
        const char *piece = tfm_vocab_piece(v, i, &len);
        TFM_TRY(tfm_vocab_kind(v) == TFM_VOCAB_WORDPIECE
                    ? put_word_piece(b, piece, len, tfm_vocab_flags(v, i), err)
                    : tfm_gguf_put_string(b, piece, len, err));
    }
    if (tfm_vocab_kind(v) == TFM_VOCAB_SPM) {
        TFM_TRY(put_array(b, KEY "scores", TFM_GGUF_F32, n, n_kv, err));
        for (uint32_t i = 0; i < n; i++) {
            float score = tfm_vocab_score(v, i);
            uint32_t bits;
            memcpy(&bits, &score, sizeof bits);
            TFM_TRY(tfm_gguf_put_u32(b, bits, err));
        }
    }
    TFM_TRY(put_array(b, KEY "token_type", TFM_GGUF_I32, n, n_kv, err));
    for (uint32_t i = 0; i < n; i++) {
        unsigned flags = tfm_vocab_flags(v, i);
        if (flags & (TFM_TOKEN_LSTRIP | TFM_TOKEN_RSTRIP))
            return tfm_fail(err, TFM_UNSUPPORTED,
                            "GGUF cannot say that token %u takes white space along", i);
        TFM_TRY(tfm_gguf_put_u32(b, ggml_type(flags), err));
    }
    return TFM_OK;
}

/* The table of merges by rank; pairs that were listed twice keep their first rank. */
static tfm_status put_merge_list(tfm_buf *b, const tfm_vocab *v, const uint32_t *slot_of,
                                 uint64_t n, uint64_t *n_kv, tfm_error *err) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; i++) count += slot_of[i] != 0;
    TFM_TRY(put_array(b, KEY "merges", TFM_GGUF_STRING, count, n_kv, err));
    for (uint64_t i = 0; i < n; i++) {
        size_t left_len, right_len;
        if (slot_of[i] == 0) continue;
        const tfm_merge_slot *m = &v->merges[slot_of[i] - 1];
        const char *left = tfm_vocab_piece(v, (uint32_t)m->left, &left_len);
        const char *right = tfm_vocab_piece(v, (uint32_t)m->right, &right_len);
        TFM_TRY(tfm_gguf_put_u64(b, left_len + 1 + right_len, err));
        TFM_TRY(tfm_buf_add(b, left, left_len, err));
        TFM_TRY(tfm_buf_byte(b, ' ', err));
        TFM_TRY(tfm_buf_add(b, right, right_len, err));
    }
    return TFM_OK;
}

static tfm_status put_merges(tfm_buf *b, const tfm_vocab *v, uint64_t *n_kv, tfm_error *err) {
    uint64_t slots = v->merges ? (uint64_t)v->merge_mask + 1 : 0, top = 0;
    void *p;
    for (uint64_t i = 0; i < slots; i++)
        if (v->merges[i].rank1 > top) top = v->merges[i].rank1;
    if (top > 4 * slots) return tfm_fail(err, TFM_FORMAT, "the table of merges is broken");
    TFM_TRY(tfm_alloc(&p, (size_t)top, sizeof(uint32_t), err));
    uint32_t *slot_of = p; /* [top] slot + 1 of each rank */
    tfm_status st = TFM_OK;
    for (uint64_t i = 0; i < slots && st == TFM_OK; i++) {
        const tfm_merge_slot *m = &v->merges[i];
        if (m->rank1 == 0) continue;
        if (slot_of[m->rank1 - 1] != 0 && st == TFM_OK)
            st = tfm_fail(err, TFM_UNSUPPORTED,
                          "GGUF cannot say that several pairs have one rank (as tiktoken has it)");
        slot_of[m->rank1 - 1] = (uint32_t)i + 1;
        if (m->left < 0 || m->right < 0 || (uint32_t)m->left >= v->set.n ||
            (uint32_t)m->right >= v->set.n)
            st = tfm_fail(err, TFM_FORMAT, "the table of merges is broken");
    }
    if (st == TFM_OK) st = put_merge_list(b, v, slot_of, top, n_kv, err);
    tfm_free(p);
    return st;
}

/* ---- the rest ---- */

/* Tokens other than EOS that end a generation: GGUF has two keys for them. A reader knows more by
 * their names, so those that do not fit are left to that. */
static tfm_status put_ends(tfm_buf *b, const tfm_vocab *v, uint64_t *n_kv, tfm_error *err) {
    static const char *const keys[] = {KEY "eot_token_id", KEY "eom_token_id"};
    size_t n = 0;
    for (uint32_t i = 0; i < tfm_vocab_size(v) && n < 2; i++)
        if ((tfm_vocab_flags(v, i) & TFM_TOKEN_EOG) && (int32_t)i != tfm_vocab_eos(v))
            TFM_TRY(put_id(b, keys[n++], (int32_t)i, n_kv, err));
    return TFM_OK;
}

/* Under the keys that GGUF has: the default one, and each other by its name with a list of them. */
static tfm_status put_chat(tfm_buf *b, const tfm_chat *chat, uint64_t *n_kv, tfm_error *err) {
    static const char key[] = "tokenizer.chat_template";
    const size_t n_templates = tfm_chat_n_templates(chat);
    const char *name;
    size_t n, n_named = 0;
    for (size_t i = 0; i < n_templates; i++) {
        const char *text = tfm_chat_template(chat, i, &name, &n);
        const bool is_default = strcmp(name, "default") == 0;
        tfm_buf named = {0};
        tfm_status st = tfm_buf_printf(&named, err, "%s.%s", key, name);
        if (st == TFM_OK)
            st = tfm_gguf_put_key(b, is_default ? key : named.data, TFM_GGUF_STRING, n_kv, err);
        tfm_buf_free(&named);
        if (st == TFM_OK) st = tfm_gguf_put_string(b, text, n, err);
        if (st != TFM_OK) return st;
        n_named += !is_default;
    }
    if (n_named == 0) return TFM_OK;
    TFM_TRY(put_array(b, "tokenizer.chat_templates", TFM_GGUF_STRING, n_named, n_kv, err));
    for (size_t i = 0; i < n_templates; i++) {
        tfm_chat_template(chat, i, &name, &n);
        if (strcmp(name, "default") != 0) TFM_TRY(tfm_gguf_put_string(b, name, strlen(name), err));
    }
    return TFM_OK;
}

/* The chat templates of the source, wherever they stood there. */
static tfm_status put_templates(tfm_buf *b, tfm_model *m, uint64_t *n_kv, tfm_error *err) {
    tfm_chat *chat;
    TFM_TRY(tfm_chat_open(&chat, m, err));
    tfm_status st = put_chat(b, chat, n_kv, err);
    tfm_chat_free(chat);
    return st;
}

static tfm_status check_kind(const tfm_vocab *v, tfm_error *err) {
    const tfm_vocab_settings *s = &v->set;
    if (s->steps.n > 0 || s->decoder.n > 0 || s->before.n > 0 || s->after.n > 0 ||
        s->splitter.n > 0 || s->split_spaces)
        return tfm_fail(err, TFM_UNSUPPORTED,
                        "GGUF has no words for the steps of this vocabulary's normaliser, decoder "
                        "or template");
    bool spm = s->type == TFM_VOCAB_SPM && s->n_patterns == 0 && s->norm == TFM_NORM_NONE &&
               s->space_to_meta;
    bool bpe = s->type == TFM_VOCAB_BPE && s->byte_level && !s->space_to_meta;
    bool wordpiece = s->type == TFM_VOCAB_WORDPIECE && strcmp(s->inner_prefix, "##") == 0 &&
                     s->max_word == 100 && s->clean_text && s->split_cjk && s->clean_spaces;
    if (spm || bpe || wordpiece) return TFM_OK;
    return tfm_fail(err, TFM_UNSUPPORTED, "GGUF has no model for this vocabulary (%s)",
                    s->type == TFM_VOCAB_BYTES        ? "bytes"
                    : s->type == TFM_VOCAB_BPE        ? "BPE by merges over characters"
                    : s->type == TFM_VOCAB_CHARACTERS ? "characters"
                    : s->type == TFM_VOCAB_WORDPIECE  ? "WordPiece with other settings than GGUF's"
                                                      : "SentencePiece with other normalisation");
}

/* Control tokens of WordPiece have keys of their own; [UNK] is one of them there. */
static tfm_status put_wordpiece(tfm_buf *b, const tfm_vocab *v, uint64_t *n_kv, tfm_error *err) {
    TFM_TRY(put_text(b, KEY "pre", "default", n_kv, err));
    TFM_TRY(put_pieces(b, v, n_kv, err));
    TFM_TRY(put_id(b, KEY "bos_token_id", tfm_vocab_bos(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "cls_token_id", tfm_vocab_bos(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "eos_token_id", tfm_vocab_eos(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "seperator_token_id", tfm_vocab_eos(v), n_kv, err)); /* so spelled */
    TFM_TRY(put_id(b, KEY "unknown_token_id", tfm_vocab_unk(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "padding_token_id", tfm_vocab_pad(v), n_kv, err));
    TFM_TRY(put_bool(b, KEY "add_bos_token", v->set.add_bos, n_kv, err));
    TFM_TRY(put_bool(b, KEY "add_eos_token", v->set.add_eos, n_kv, err));
    TFM_TRY(put_bool(b, KEY "add_sep_token", v->set.add_eos, n_kv, err));
    TFM_TRY(put_bool(b, KEY "normalizer.lowercase", v->set.lowercase, n_kv, err));
    return put_bool(b, KEY "normalizer.strip_accents", v->set.strip_accents, n_kv, err);
}

tfm_status tfm_gguf_put_vocab(tfm_buf *b, tfm_model *m, const tfm_vocab *v,
                              const tfm_tokenizer_names *names, uint64_t *n_kv, tfm_error *err) {
    const tfm_gguf_kind *kind = tfm_tokenizer_names_gguf_of_type(names, v->set.type);
    const char *pre = "default";
    TFM_TRY(check_kind(v, err));
    if (!kind)
        return tfm_fail(err, TFM_UNSUPPORTED, "tokenizers.yaml has no name for this vocabulary");
    TFM_TRY(put_text(b, KEY "model", kind->name, n_kv, err));
    if (v->set.type == TFM_VOCAB_WORDPIECE) return put_wordpiece(b, v, n_kv, err);
    bool spm = v->set.type == TFM_VOCAB_SPM;
    if (!spm) TFM_TRY(find_pre(names, &v->set, &pre, err));
    TFM_TRY(put_text(b, KEY "pre", pre, n_kv, err));
    TFM_TRY(put_pieces(b, v, n_kv, err));
    if (!spm) TFM_TRY(put_merges(b, v, n_kv, err));
    TFM_TRY(put_id(b, KEY "bos_token_id", tfm_vocab_bos(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "eos_token_id", tfm_vocab_eos(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "unknown_token_id", tfm_vocab_unk(v), n_kv, err));
    TFM_TRY(put_id(b, KEY "padding_token_id", tfm_vocab_pad(v), n_kv, err));
    TFM_TRY(put_ends(b, v, n_kv, err));
    TFM_TRY(put_bool(b, KEY "add_bos_token", v->set.add_bos, n_kv, err));
    TFM_TRY(put_bool(b, KEY "add_eos_token", v->set.add_eos, n_kv, err));
    bool prefix = spm ? v->set.add_space_prefix : v->set.add_prefix_space;
    TFM_TRY(put_bool(b, KEY "add_space_prefix", prefix, n_kv, err));
    if (v->set.remove_extra_spaces)
        TFM_TRY(put_bool(b, KEY "remove_extra_whitespaces", true, n_kv, err));
    return put_templates(b, m, n_kv, err);
}
